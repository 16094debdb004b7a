"""case.py - what the tests of docker-sandbox have in common: drivers that are ended, results that
are looked at, scripts that are often run."""
import os
import shutil
import tempfile
import unittest

from driver import BUILD, Driver, clean_up, docker

ECHO = 'import sys\nsys.stdout.write(sys.argv[1] + " " + sys.stdin.read())\n'


def sleeper(seconds, word='slept'):
    return 'import time\ntime.sleep(%s)\nprint("%s")\n' % (seconds, word)


def need_image():
    if docker('image', 'inspect', 'listener-sandbox:latest').returncode != 0:
        raise unittest.SkipTest('no Docker Engine with the image listener-sandbox:latest')


def init_of(case, text):
    """A folder of programs in which TEXT is sandbox-init."""
    folder = tempfile.mkdtemp(prefix='libexec.')
    case.addCleanup(shutil.rmtree, folder, True)
    for name in os.listdir(BUILD + '/libexec'):
        if name != 'sandbox-init':
            shutil.copy(os.path.join(BUILD, 'libexec', name), folder)
    with open(folder + '/sandbox-init', 'w') as f:
        f.write(text)
    os.chmod(folder + '/sandbox-init', 0o755)
    os.chmod(folder, 0o755)
    return folder


class Case(unittest.TestCase):
    options = {}  # of every driver

    def setUp(self):
        self.drivers = []

    def tearDown(self):
        for d in self.drivers:
            if d.process.poll() is None:
                d.kill()
            self.assertNotRegex(d.tail(), 'Sanitizer|runtime error')
            d.close()
        clean_up()

    def driver(self, **options):
        d = Driver(**dict(self.options, **options))
        self.drivers.append(d)
        return d

    def check(self, result, outcome, **more):
        self.assertEqual(result.outcome, outcome, repr(result))
        for key, value in more.items():
            self.assertEqual(getattr(result, key), value, repr(result))
