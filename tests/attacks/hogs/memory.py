# A memory hog: many at once, and all of it touched.
import os

for _ in range(4):
    try:
        os.fork()
    except OSError:
        pass
kept = []
while True:
    kept.append(bytearray(os.urandom(4096) * 1024))
