"""driver.py - runs build/tests/docker/driver (the module docker-sandbox on a small host of its own)
and talks to it, for the tests beside it."""
import atexit
import binascii
import contextlib
import json
import os
import queue
import resource
import shutil
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get('LISTENER_BUILD', 'build'))
DOCKER_HOST = os.environ.get('DOCKER_HOST', 'unix:///var/run/docker.sock')
os.environ['DOCKER_HOST'] = DOCKER_HOST
SOCKET = DOCKER_HOST[len('unix://') :]
LISTENER = 'dt%d' % os.getpid()
SLOW = 4 if 'build-' in BUILD else 1
WAIT = 30 * SLOW


def docker(*args):
    return subprocess.run(('docker',) + args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def containers(all_states=True):
    found = docker(
        'ps', '-q', '--no-trunc', '--filter', 'label=org.indigo.listener=' + LISTENER, *(['-a'] if all_states else [])
    )
    return found.stdout.split()


def folders(driver):
    """What lies in its folder of sandboxes; what all of them share stays."""
    return [name for name in os.listdir(driver.folder + '/run') if name not in ('resolv.conf', 'empty')]


def place_of(container):
    return docker('inspect', '-f', '{{index .Config.Labels "org.indigo.sandbox"}}', container).stdout.strip()


def container_of(place):
    return 'lsn-%s-sandbox-%s' % (LISTENER, place)


def tables():
    found = subprocess.run(['nft', 'list', 'tables'], stdout=subprocess.PIPE, universal_newlines=True).stdout
    return [line.split()[2] for line in found.splitlines() if line.startswith('table inet listenerd_%s_' % LISTENER)]


def wait_for(what, condition, seconds=WAIT):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError('waited %d s in vain for %s' % (seconds, what() if callable(what) else what))


def nothing_left(found):
    """free() leaves the removal to a process of its own: wait until FOUND() gives empty lists."""
    last = []

    def empty():
        last[:] = found()
        return not any(last)

    wait_for(lambda: 'the end of %r' % last, empty)


class Done:
    def __init__(self, words):
        self.outcome, self.status, self.signal, self.duration = words[0], int(words[1]), int(words[2]), int(words[3])
        self.out = b'' if words[4] == '-' else binascii.unhexlify(words[4])
        self.err = b'' if words[5] == '-' else binascii.unhexlify(words[5])
        self.message = words[6] if len(words) > 6 else ''

    def __repr__(self):
        return '<%s status=%d signal=%d out=%r err=%r %r>' % (
            self.outcome,
            self.status,
            self.signal,
            self.out[-300:],
            self.err[-600:],
            self.message,
        )


class Driver:
    """One run of the driver. Jobs are numbered by the caller; scripts are texts."""

    folder = None

    def __init__(self, libexec=None, socket=SOCKET, expect='started', through=(), **options):
        if Driver.folder is None:
            Driver.folder = tempfile.mkdtemp(prefix='docker-sandbox-test.')
            atexit.register(shutil.rmtree, Driver.folder, True)
        settings = dict(socket=socket, dns='192.0.2.53', orphan_grace='20s')
        settings.update(options)
        argv = list(through) + [
            os.path.join(BUILD, 'tests/docker/driver'),
            os.path.join(BUILD, 'executors/docker-sandbox.so'),
            self.folder + '/run',
            libexec or os.path.join(BUILD, 'libexec'),
            LISTENER,
        ] + ['%s=%s' % pair for pair in settings.items()]
        os.makedirs(self.folder + '/run', exist_ok=True)
        self.log = open(self.folder + '/log', 'a+')
        self.log_start = self.log.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, universal_newlines=True
        )
        self.lines, self.places, self.results, self.refused, self.other = queue.Queue(), {}, {}, {}, []
        self.begun = set()
        threading.Thread(target=self._read, daemon=True).start()
        first = self.lines.get(timeout=WAIT)
        if not first.startswith(expect):
            raise AssertionError('the driver says %r' % first)
        self.first = first

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip('\n'))
        self.lines.put('eof')

    def _take(self, timeout):
        try:
            line = self.lines.get(timeout=timeout)
        except queue.Empty:
            return False
        verb, _, rest = line.partition(' ')
        words = rest.split(' ', 7)
        if verb == 'reserved':
            self.places[int(words[0])] = words[1]
        elif verb == 'running':
            self.begun.add(int(words[0]))
        elif verb == 'done':
            if int(words[0]) in self.results:
                raise AssertionError('done twice: ' + line)
            self.results[int(words[0])] = Done(words[1:])
        elif verb == 'refused':
            self.refused[int(words[0])] = rest.partition(' ')[2]
        elif verb == 'broken':
            raise AssertionError(line)
        else:
            self.other.append(line)
        return line != 'eof'

    def until(self, what, condition, seconds=WAIT):
        end = time.monotonic() + seconds
        while not condition():
            if not self._take(0.1) and (time.monotonic() > end or self.process.poll() is not None):
                raise AssertionError('waited in vain for %s; %s' % (what, self.tail()))

    def tail(self):
        with open(self.folder + '/log') as f:
            return f.read()[-6000:]

    def said(self, text):
        """How often it has logged TEXT."""
        with open(self.folder + '/log') as f:
            f.seek(self.log_start)
            return f.read().count(text)

    def send(self, *words):
        self.process.stdin.write('\t'.join(str(w) for w in words) + '\n')
        self.process.stdin.flush()

    def _job_words(self, job, script, payload, timeout, memory, capture, topic, name):
        path = os.path.join(self.folder, '%s.py' % (name or 'script%d' % (hash(script) & 0xFFFFFF)))
        if not os.path.exists(path):  # the driver may be reading it
            with open(path + '.new', 'w') as f:
                f.write(script)
            os.rename(path + '.new', path)
        return job, path, topic, payload, int(timeout * 1000), memory, int(capture)

    def job(
        self, job, script, payload='', timeout=10, memory=64 << 20, capture=True, topic='create/resource/x', name=None
    ):
        self.send('job', *self._job_words(job, script, payload, timeout, memory, capture, topic, name))

    def recover(self, job, script, place, payload='', timeout=10, memory=64 << 20, capture=True, started=None):
        started = int(time.time() * 1e6) if started is None else started
        self.send(
            'recover',
            *self._job_words(job, script, payload, timeout, memory, capture, 'create/resource/x', None),
            place,
            started
        )

    def running(self, job):
        self.until('job %d to run' % job, lambda: job in self.begun)
        return self.places[job]

    def done(self, job, seconds=WAIT):
        self.until('job %d' % job, lambda: job in self.results, seconds)
        return self.results[job]

    def run(self, job, script, **kw):
        self.job(job, script, **kw)
        return self.done(job)

    def describe(self):
        self.other = []
        self.send('describe')
        self.until('describe', lambda: 'end' in self.other)
        return {line.split(' ', 2)[1]: line.split(' ', 2)[2] for line in self.other if line.startswith('describe ')}

    def probe(self):
        self.other = []
        self.send('probe')
        self.until('probe', lambda: 'end' in self.other)
        return [(int(line.split(' ', 2)[1]), line.split(' ', 2)[2]) for line in self.other if line.startswith('probe ')]

    def close(self):
        for f in (self.process.stdin, self.process.stdout, self.log):
            try:
                f.close()
            except OSError:
                pass

    @contextlib.contextmanager
    def without_descriptors(self):
        """It cannot open any more than it has."""
        soft, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (1, hard))
        try:
            yield
        finally:
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (soft, hard))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self, how='quit'):
        """0 if nothing of the host was left in use."""
        if self.process.poll() is None:
            self.send(how)
            self.process.stdin.close()
        self.process.wait(timeout=WAIT)
        return self.process.returncode


def inspect(container):
    return json.loads(docker('inspect', container).stdout)[0]


def there(place):
    return docker('inspect', container_of(place)).returncode == 0


def clean_up():
    for c in containers():
        docker('rm', '-f', c)
    for n in docker('network', 'ls', '-q', '--filter', 'label=org.indigo.listener=' + LISTENER).stdout.split():
        docker('network', 'rm', n)
    for name in tables():
        subprocess.run(['nft', 'delete', 'table', 'inet', name], stderr=subprocess.DEVNULL)
