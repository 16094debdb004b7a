"""engine.py - a Docker Engine of the test's own (tools/private-engine) that may be killed and come
again."""
import os
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, 'tools/private-engine')


def alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


class Engine:
    """Only dockerd is killed, as a crash, an update or systemctl restart does: containerd and the
    containers' shims live on."""

    def __init__(self, *args):
        self.folder = tempfile.mkdtemp(prefix='engine-test.')
        self.child = None
        environment = dict(os.environ, LISTENER_PRIVATE_ENGINE='1', LISTENER_ENGINE_ARGS=' '.join(args))
        started = subprocess.run(
            [TOOL, 'start', self.folder], env=environment, stdout=subprocess.PIPE, universal_newlines=True
        )
        if started.returncode != 0:
            shutil.rmtree(self.folder, True)
            raise RuntimeError('no engine of our own: needs root and dockerd')
        self.socket = started.stdout.strip()
        os.environ['DOCKER_HOST'] = 'unix://' + self.socket
        self.pid = int(self._notes()['dockerd'])
        with open('/proc/%d/cmdline' % self.pid) as f:
            self.words = f.read().split('\0')[:-1]
        made = subprocess.run(
            [os.path.join(ROOT, 'tools/build-image'), '--if-missing', '--keep', os.path.join(ROOT, 'build/image.tar')],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        if made.returncode != 0:
            self.stop()
            raise RuntimeError('no sandbox image: ' + made.stderr)

    def _notes(self):
        with open(self.folder + '/engine') as f:
            return dict(line.rstrip().split('=', 1) for line in f)

    def kill(self, sig=signal.SIGKILL):
        os.kill(self.pid, sig)
        end = time.monotonic() + 40
        while alive(self.pid):
            if time.monotonic() > end:
                raise AssertionError('dockerd does not end')
            time.sleep(0.02)
        if self.child:
            self.child.wait()
            self.child = None
        pidfile = dict(zip(self.words, self.words[1:])).get('--pidfile')
        if pidfile and os.path.exists(pidfile):
            # its number may be another process's by now: dockerd would not start
            os.unlink(pidfile)

    def start(self, *more):
        """Again, with the arguments it had, and these."""
        with open(self.folder + '/dockerd.log', 'ab') as log:
            self.child = subprocess.Popen(
                self.words + list(more), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.pid = self.child.pid
        notes = self._notes()
        notes['dockerd'] = str(self.pid)
        with open(self.folder + '/engine', 'w') as f:  # for private-engine stop
            f.write(''.join('%s=%s\n' % pair for pair in notes.items()))
        end = time.monotonic() + 60
        while (
            subprocess.run(['docker', 'version'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0
        ):
            if time.monotonic() > end or self.child.poll() is not None:
                raise AssertionError('dockerd does not come back')
            time.sleep(0.05)

    def restart(self, away=0.0, sig=signal.SIGKILL, more=()):
        self.kill(sig)
        time.sleep(away)
        self.start(*more)

    def stop(self):
        subprocess.run([TOOL, 'stop', self.folder])
        if self.child:
            self.child.wait()
        shutil.rmtree(self.folder, True)
