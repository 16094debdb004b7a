"""delete/#: a script that misbehaves: it ignores the polite signal, tries to write where it can,
leaves a child behind, and never ends."""
import os
import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
for name in ('/tmp/x', '/scripts/x', '/dev/shm/x', '/etc/passwd'):
    try:
        open(name, 'a').close()
        print('wrote %s: that should not be possible' % name, flush=True)
    except OSError as error:
        print(error, flush=True)
print('I am uid %d gid %d' % (os.getuid(), os.getgid()), flush=True)
if os.fork() == 0:
    os.setsid()
while True:
    time.sleep(0.01)
