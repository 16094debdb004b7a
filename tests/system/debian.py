"""debian.py - programs from Debian's packages for tests, without installing anything on the
machine: what tools/test-root does, for Python.

    debian.install('nginx-light')                            # later calls take no time, no network
    t.process(*debian.command('nginx', '-c', conf), ...)     # the process is nginx itself
    t.process(*debian.command('mosquitto', '-c', conf, suite='trixie'), ...)

A program sees this source tree, /tmp (with the folder of the test) and a throw-away copy of the
rest of the root."""
import os
import subprocess

import harness
from harness import Skip, check

TOOL = os.path.join(harness.ROOT, 'tools/test-root')


def install(*packages, suite=None):
    """Have PACKAGES in the root of SUITE (the machine's own unless given); returns the root's
    path."""
    if os.getuid() != 0:
        raise Skip('needs root to unpack packages')
    done = subprocess.run(
        [TOOL] + release(suite) + ['install', *packages],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    check(
        done.returncode == 0, 'no root with %s: %s' % (' '.join(packages), done.stderr.decode(errors='replace')[-2000:])
    )
    return done.stdout.decode().strip()


def command(*program, suite=None, paths=()):
    """The argument vector that runs PROGRAM with its arguments from the root of SUITE. It sees
    PATHS of the machine too."""
    return [TOOL] + release(suite) + ['run'] + [word for path in paths for word in ('-b', path)] + [*program]


def release(suite):
    return ['-s', suite] if suite else []
