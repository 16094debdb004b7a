#!/usr/bin/env python3
"""test_pythons.py - the tests of test_sandbox.py with the Pythons of other Debian releases than the
default image's.

    test_pythons.py [WORD...]
        what scripts are promised, with the other supported releases: `make check`
    test_pythons.py --images SUITE...
        all of it, with these, as far as the mirror has them: `make check-images`

WORD: only if a name contains one of them. Any other interpreter: docs/pythons.md."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OTHERS = ['trixie']


def build_image(suite):
    """The image's name, or None: the mirror has no such release."""
    sources = subprocess.run(
        [ROOT + '/tools/debian-sources', suite], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    if not sources.strip():
        return None
    tag = 'listener-sandbox:' + suite
    keep = ['--keep', os.path.join(ROOT, 'build/image-%s.tar' % suite)]
    subprocess.run(
        [ROOT + '/tools/build-image', '--if-missing', '--from-debian', suite, '--tag', tag, *keep], check=True
    )
    return tag


def run_tests(suite, tag, words):
    """The exit status; names carry the release."""
    environment = dict(os.environ, SANDBOX_IMAGE=tag, PYTHONUNBUFFERED='1')
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, 'tests/sandbox/test_sandbox.py'), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    for line in process.stdout:
        print(re.sub(r'^((?:ok|FAIL)\s+test_\w+)', r'\1.' + suite, line), end='', flush=True)
    return process.wait()


def main():
    words = sys.argv[1:]
    suites, named = OTHERS, words[:1] == ['--images']
    if named:
        suites, words = words[1:], []
    status = 0
    for suite in suites:
        if words and not any(word in 'pythons contract ' + suite for word in words):
            continue
        tag = build_image(suite)
        if tag:
            status |= run_tests(suite, tag, [] if named else ['contract'])
        else:
            print('skip test_pythons.%s: the mirror has no Debian %s that is valid' % (suite, suite), flush=True)
            status |= 0 if named else 1
    sys.exit(status)


if __name__ == '__main__':
    main()
