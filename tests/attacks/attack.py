"""attack.py - what goes before every attack: counting, and ways to try things that may not
return."""
import ctypes
import errno
import json
import os
import signal
import socket
import stat
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
attempts = through = 0
MACHINE = os.uname().machine


def got(what):
    """Something got through."""
    global through
    through += 1
    if through <= 200:
        print('THROUGH: ' + what, flush=True)


def attempt(what, function):
    """function() gets through if it returns; an exception is a wall that holds. What it returns is
    closed if it is a descriptor of ours."""
    global attempts
    attempts += 1
    try:
        value = function()
    except (OSError, ValueError, AttributeError, UnicodeError, RuntimeError):
        return None
    got(what)
    return value


def syscall(number, *args):
    """The result, or OSError."""
    result = libc.syscall(
        ctypes.c_long(number),
        *[
            a
            if isinstance(a, bytes) or a is None or hasattr(a, '_type_')
            else a
            if isinstance(a, ctypes.Array)
            else ctypes.c_long(a)
            for a in args
        ]
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def in_child(what, function, seconds=5):
    """The same in a process of its own: it may be killed, hang, or change what it is. It gets
    through if function() returns."""
    global attempts
    attempts += 1
    try:
        pid = os.fork()
    except OSError:
        return False
    if pid == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            os._exit(1)
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return False
        time.sleep(0.002)
    if status == 0:
        got(what)
    return status == 0


def wants():
    """What the test says on stdin, an object; {} without."""
    try:
        value = json.loads(sys.stdin.buffer.read() or b'{}')
        return value if isinstance(value, dict) else {}
    except ValueError:
        return {}


def others():
    """Process ids that are not ours, nor our children's."""
    mine = {os.getpid()}
    return [int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) not in mine]


def end():
    print('attempts=%d through=%d' % (attempts, through), flush=True)
    sys.exit(0)
