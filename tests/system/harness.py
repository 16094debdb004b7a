"""harness.py - whole-daemon tests on real parts: a private mosquitto with the shipped drop-in, the
real listenerd, real executors.

A test is a function test_NAME(t) in a file NN-area-behaviour.py that ends with `harness.main()`.
`t` makes what is needed and takes all of it down again:

    def test_something(t):
        broker = t.broker()
        # json-lines as executor; t.listener(broker, docker={}) for docker-sandbox
        daemon = t.listener(broker).start()
        daemon.script('a.py', 'print(1)', topic='create/#', output='capture')
        # as Indigo does: QoS 0, one connection per message
        broker.publish('create/resource/a', b'{}')
        job = daemon.wait_jobs(1)[0]

Wait for a condition with a deadline (t.wait), never sleep and hope. A daemon that ends badly, or
says something a sanitizer would say, fails the test whatever it checked itself. Python's standard
library and mosquitto's own clients only."""
import base64
import contextlib
import glob
import hashlib
import inspect
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get('LISTENER_BUILD', 'build'))
DROP_IN = os.path.join(ROOT, 'conf.d/mosquitto')
DOCKER_SOCKET = os.environ.get('LISTENER_DOCKER_SOCKET', '/var/run/docker.sock')
SLOW = 5 if 'build-' in BUILD else 1  # sanitizers

# where LISTENER_FAILPOINT can end the daemon between a message and its result, in their order
STEPS = (
    'after-read',
    'after-intent',
    'after-commit',
    'after-ack',
    'after-handover',
    'after-result',
    'after-result-commit',
)
LABEL = 'org.indigo.listener'


class Failed(Exception):
    """What a test says when something is not as it should be."""


class Skip(Exception):
    """Why a test cannot run here."""


def wait(condition, what, seconds=15, interval=0.02):
    """Wait until condition() is true and return what it gave."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed('waited %g s in vain for %s' % (seconds * SLOW, what() if callable(what) else what))
        time.sleep(interval)


def equal(is_, should, what='value'):
    if is_ != should:
        raise Failed('%s is %s, should be %s' % (what, shorten(is_), shorten(should)))


def check(condition, what):
    if not condition:
        raise Failed(what)


def shorten(value, size=1500):
    text = repr(value)
    return text if len(text) <= size else text[:size] + '... (%d characters)' % len(text)


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def has_ended(pid):
    """It is gone, or a zombie that its parent has not waited for."""
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] == 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return True


def end_process(process, signal_number=signal.SIGTERM, seconds=15):
    """End a process of ours and return its status; one that does not go is killed."""
    if process.poll() is None:
        process.send_signal(signal_number)
    try:
        return process.wait(seconds * SLOW)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 'killed: did not end within %g s' % (seconds * SLOW)


class Broker:
    """A mosquitto of our own on a free loopback port, with what conf.d/mosquitto ships."""

    def __init__(self, folder, extra='', drop_in=True):
        self.folder, self.process = folder, None
        self.port = free_port()
        self.log = os.path.join(folder, 'mosquitto.log')
        os.makedirs(folder, exist_ok=True)
        self.file = os.path.join(folder, 'mosquitto.conf')
        with open(self.file, 'w') as f:
            f.write(
                'user root\nlistener %d 127.0.0.1\nallow_anonymous true\npersistence_location %s/\nlog_dest file %s\n%s'
                % (self.port, folder, self.log, extra)
            )
            for name in sorted(glob.glob(DROP_IN + '/*.conf')) if drop_in else []:
                f.write('\n' + open(name).read())

    def start(self):
        # Debian's mosquitto lives in /usr/sbin, which is not in everybody's PATH.
        program = shutil.which('mosquitto') or '/usr/sbin/mosquitto'
        self.process = subprocess.Popen(
            [program, '-c', self.file],
            stdin=subprocess.DEVNULL,
            stdout=open(self.log + '.out', 'ab'),
            stderr=subprocess.STDOUT,
        )
        wait(self.answers, lambda: 'mosquitto; it says: ' + open(self.log + '.out').read()[-500:])
        return self

    def answers(self):
        check(self.process.poll() is None, 'mosquitto ended: ' + open(self.log + '.out').read()[-500:])
        with contextlib.closing(socket.socket()) as s:
            return s.connect_ex(('127.0.0.1', self.port)) == 0

    def stop(self, signal_number=signal.SIGTERM):
        if self.process:
            end_process(self.process, signal_number)
            self.process = None

    def kill(self):
        self.stop(signal.SIGKILL)

    def publish(self, topic, payload=b'', qos=0, retain=False):
        """One message as Indigo publishes: CONNECT, PUBLISH at QoS 0, DISCONNECT, keepalive 60
        (what paho's publish.single does)."""
        self.publish_all([(topic, payload)], qos, retain)

    def publish_all(self, messages, qos=0, retain=False):
        """(topic, payload) pairs over one connection, in order. Returns when the broker has taken
        them (QoS 0: was sent them and is gone)."""
        with Publisher(self.port) as publisher:
            for topic, payload in messages:
                publisher.publish(topic, payload, qos, retain)

    def queued(self, client_id):
        raise NotImplementedError


class Publisher:
    """MQTT 3.1.1 as little as publishing needs: tests send what paho and mosquitto_pub refuse to,
    such as ill-formed topics."""

    def __init__(self, port, client_id=None):
        self.packet = 0
        self.socket = socket.create_connection(('127.0.0.1', port), 10 * SLOW)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = (client_id or 'paho/' + base64.b64encode(os.urandom(13)).decode()[:18]).encode()
        body = self.string(b'MQTT') + bytes([4, 2, 0, 60]) + self.string(name)
        self.send(0x10, body)
        check(self.receive(4)[:1] == b'\x20', 'the broker did not accept the publisher')

    @staticmethod
    def string(data):
        return len(data).to_bytes(2, 'big') + data

    def send(self, first, body):
        size, length = len(body), b''
        while True:
            size, low = size >> 7, size & 0x7F
            length += bytes([low | (0x80 if size else 0)])
            if not size:
                break
        self.socket.sendall(bytes([first]) + length + body)

    def receive(self, size):
        data = b''
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            check(part, 'the broker closed the connection')
            data += part
        return data

    def publish(self, topic, payload=b'', qos=0, retain=False):
        topic = topic.encode() if isinstance(topic, str) else topic
        payload = payload.encode() if isinstance(payload, str) else payload
        self.packet = self.packet % 65535 + 1
        ident = self.packet.to_bytes(2, 'big') if qos else b''
        self.send(0x30 | qos << 1 | int(retain), self.string(topic) + ident + payload)
        if qos == 1:
            equal(self.receive(4), b'\x40\x02' + ident, 'PUBACK')

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        with contextlib.suppress(OSError):
            self.send(0xE0, b'')
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(4096):  # until the broker has read it all and closed
                pass
        self.socket.close()


class Listener:
    """A listenerd of our own. `ini` is {section: {key: value}}; None removes a default of ours."""

    def __init__(self, t, folder, broker, docker=None, ini=None, env=None, arguments=()):
        self.arguments, self.wrapper = list(arguments), os.environ.get('LISTENER_WRAPPER', '').split()
        self.t, self.folder, self.process, self.docker = t, folder, None, docker is not None
        self.env, self.starts = dict(env or {}), 0
        self.identity = 'test-%d-%d' % (os.getpid(), t.count())
        # Sockets have short names only, and containers reach theirs through a bind mount: /run, not
        # wherever the tests are.
        self.run_dir = tempfile.mkdtemp(prefix='lsn-test.', dir='/run' if os.access('/run', os.W_OK) else None)
        os.chmod(self.run_dir, 0o755)
        self.scripts, self.state = os.path.join(folder, 'scripts'), os.path.join(folder, 'state')
        self.modules = os.path.join(folder, 'executors')
        for name in (self.scripts, self.state, self.modules):
            os.makedirs(name, 0o755, exist_ok=True)
        for name in glob.glob(BUILD + '/executors/*.so'):
            shutil.copy(name, self.modules)
            os.chmod(os.path.join(self.modules, os.path.basename(name)), 0o755)
        self.lines = os.path.join(folder, 'jobs.jsonl')
        self.log, self.file = os.path.join(folder, 'listenerd.log'), os.path.join(folder, 'listenerd.ini')
        self.socket = os.path.join(self.run_dir, 'control')
        self.ini = self.defaults(broker, docker)
        self.change(ini or {})

    def defaults(self, broker, docker):
        ini = {
            'listener': {
                'identity': self.identity,
                'state_dir': self.state,
                'run_dir': self.run_dir,
                'libexec_dir': BUILD + '/libexec',
                'log_level': 'debug',
                'drain': '5s',
            },
            'broker': {
                'host': '127.0.0.1',
                'port': broker.port if broker else 1,
                'reconnect_min': '20ms',
                'reconnect_max': '200ms',
            },
            'journal': {'disk_free_min': '0'},
            'scripts': {'source': 'directory', 'directory': self.scripts},
            'executors': {'folder': self.modules},
            'dispatcher': {'default_executor': 'docker-sandbox' if docker is not None else 'json-lines'},
            'executor json-lines': {'path': self.lines, 'open': 'yes'},
        }
        if docker is not None:
            ini['executor docker-sandbox'] = dict({'socket': DOCKER_SOCKET, 'open': 'yes'}, **docker)
        return ini

    def change(self, ini):
        """Merge into the configuration and write the file; reload() makes it count."""
        for section, values in ini.items():
            mine = self.ini.setdefault(section, {})
            if values is None:
                del self.ini[section]
                continue
            for key, value in values.items():
                mine[key] = value
                if value is None:
                    del mine[key]
        with open(self.file + '.new', 'w') as f:
            for section, values in self.ini.items():
                f.write('[%s]\n%s\n' % (section, ''.join('%s = %s\n' % item for item in values.items())))
        os.chmod(self.file + '.new', 0o640)
        os.rename(self.file + '.new', self.file)
        return self

    # ------------------------------------------------------------------------------------- its life
    def start(self, ready=True, env=None):
        environment = dict(os.environ, **self.env)
        environment.update(env or {})
        environment.setdefault('ASAN_OPTIONS', 'detect_leaks=1:abort_on_error=0:exitcode=99')
        environment.setdefault('UBSAN_OPTIONS', 'print_stacktrace=1:halt_on_error=1:exitcode=99')
        self.starts += 1
        command = self.wrapper + [BUILD + '/listenerd', '-c', self.file] + self.arguments
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=open(self.log, 'ab'), stderr=subprocess.STDOUT, env=environment
        )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            check(self.process.poll() is None, lambda: '')
            try:
                status = self.status()
            except Failed:
                return None
            ready = (
                status['state'] == 'running'
                and status['broker']['state'] == 'connected'
                and status['scripts']['source']['scanned_realtime_usec'] > 0
            )
            return status if ready else None

        try:
            return wait(ready, 'the daemon to be ready', 30)
        except Failed:
            raise Failed(
                'the daemon is not ready (exit status %s); its log ends:\n%s'
                % (self.process.poll(), self.log_text()[-2500:])
            )

    def stop(self, signal_number=signal.SIGTERM, seconds=20):
        process, self.process = self.process, None
        status = end_process(process, signal_number, seconds) if process else 0
        if signal_number == signal.SIGTERM and status != 0:
            raise Failed('listenerd ended with status %s; its log ends:\n%s' % (status, self.log_text()[-2500:]))
        return status

    def kill(self):
        self.stop(signal.SIGKILL)

    def restart(self):
        self.stop()
        return self.start()

    def clean(self):
        """After a test: end it, take away what it left outside, complain about what it should not
        have done."""
        try:
            if self.process and self.process.poll() is not None:
                raise Failed(
                    'listenerd ended by itself with status %s; its log ends:\n%s'
                    % (self.process.returncode, self.log_text()[-2500:])
                )
            self.stop()
            found = re.search(
                r'(ERROR: (Address|Leak)Sanitizer|runtime error:|==\d+== (Invalid|Conditional)).*', self.log_text()
            )
            check(
                not found,
                lambda: 'a sanitizer found something:\n'
                + self.log_text()[max(0, found.start() - 200) : found.start() + 4000],
            )
        finally:
            if self.process:
                end_process(self.process, signal.SIGKILL)
            if self.docker:
                self.clean_docker()
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def clean_docker(self):
        label = 'label=%s=%s' % (LABEL, self.identity)
        for kind, remove in (('ps -a', 'rm -f'), ('network ls', 'network rm')):
            ids = docker(*(kind.split() + ['-q', '--filter', label])).split()
            if ids:
                docker(*(remove.split() + ids), check_status=False)

    def log_text(self):
        if not os.path.exists(self.log):
            return ''
        with open(self.log, errors='replace') as f:
            return f.read()

    def wait_log(self, pattern, seconds=15):
        return wait(
            lambda: re.search(pattern, self.log_text()),
            lambda: '%r in the log, which ends:\n%s' % (pattern, self.log_text()[-1500:]),
            seconds,
        )

    # ---------------------------------------------------------------------------------- listenerctl
    def ctl_run(self, *words, env=None):
        return subprocess.run(
            [BUILD + '/listenerctl', '-s', self.socket] + [str(w) for w in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, ASAN_OPTIONS='detect_leaks=0', **(env or {})),
            timeout=200,
        )

    def ctl(self, *words):
        """Rows of listenerctl --json; Failed with its message if it fails."""
        done = self.ctl_run('--json', *words)
        if done.returncode != 0:
            raise Failed(
                'listenerctl %s: status %d: %s'
                % (' '.join(map(str, words)), done.returncode, done.stderr.decode(errors='replace').strip())
            )
        return [json.loads(line) for line in done.stdout.decode().splitlines()]

    def ask(self, request):
        """The same without listenerctl: rows and the last object."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(30 * SLOW)
            s.connect(self.socket)
            s.sendall(json.dumps(request).encode() + b'\n')
            rows = []
            for line in s.makefile('rb'):
                rows.append(json.loads(line))
                if rows[-1].get('end'):
                    return rows[:-1], rows[-1]
        raise Failed('no whole answer to %r' % request)

    def status(self):
        return self.ctl('status')[0]

    def counters(self):
        return self.status()['counters']

    def jobs(self, *words):
        return self.ctl('jobs', '--limit', 1000, *words)

    def all_jobs(self):
        """Every job there is, oldest first."""
        jobs, before = [], 0
        while True:
            rows = self.ctl('jobs', '--limit', 1000, *(['--before', before] if before else []))
            if not rows:
                return jobs[::-1]
            jobs += rows
            before = rows[-1]['id']

    def show(self, job):
        return self.ctl('show', job)[0]

    def output(self, job):
        """What a job with output = capture printed, as bytes."""
        run = self.show(job)['runs'][-1]
        return base64.b64decode(run['out_base64']) if 'out_base64' in run else run.get('out', '').encode()

    def reload(self):
        return self.ctl('reload')

    def wait_counter(self, name, number, seconds=15):
        return wait(
            lambda: self.counters()[name] >= number,
            lambda: '%d %s; counters: %s' % (number, name, self.counters()),
            seconds,
        )

    def wait_jobs(self, number, seconds=30, state=('finished', 'lost')):
        """Until there are NUMBER jobs and all of them ended; returns them, oldest first. More than
        that many fail the test."""

        def ended():
            jobs = self.all_jobs()
            check(len(jobs) <= number, '%d jobs, should be %d: %s' % (len(jobs), number, shorten(jobs)))
            return jobs if len(jobs) == number and all(job['state'] in state for job in jobs) else None

        return wait(ended, lambda: '%d jobs to end; there are: %s' % (number, shorten(self.all_jobs())), seconds, 0.1)

    def settle(self):
        """Nothing under way: what the broker was sent has been taken, and all jobs have ended."""

        def idle():
            status = self.status()
            return all(status['jobs'][name] == 0 for name in ('queued', 'running'))

        wait(idle, 'the jobs to end', 60)

    # -------------------------------------------------------------------------------------- scripts
    def script(self, name, text, topic=None, ready=True, **settings):
        """Put a script into the folder as a careful user does (metadata first, renamed into place)
        and wait until the daemon knows it."""
        text = text.encode() if isinstance(text, str) else text
        if topic is not None:
            settings['topic'] = topic
        self.put(name + '.meta', ''.join('%s = %s\n' % item for item in settings.items()).encode())
        self.put(name, text)
        if ready and self.process:
            version = hashlib.sha256(text).hexdigest()
            began = time.time() * 1e6

            def registered(row):
                check(
                    row['state'] != 'refused' or row['updated_realtime_usec'] < began,
                    'script %s was refused: %s' % (name, row['reason']),
                )
                return (
                    row['state'] == 'active'
                    and row.get('version') == version
                    and row.get('topic') == settings.get('topic')
                )

            self.wait_script(name, registered)
        return self

    def put(self, name, data):
        path = os.path.join(self.scripts, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fresh = os.path.join(os.path.dirname(path), '.new-' + os.path.basename(path))
        with open(fresh, 'wb') as f:
            f.write(data)
        os.rename(fresh, path)

    def script_row(self, name):
        rows = self.ctl('scripts', name)
        return rows[0] if rows else None

    def wait_script(self, name, condition=lambda row: True, seconds=15):
        def known():
            row = self.script_row(name)
            return row if row and condition(row) else None

        return wait(known, lambda: 'script %s to be as it should; it is %s' % (name, self.script_row(name)), seconds)

    def json_lines(self):
        if not os.path.exists(self.lines):
            return []
        with open(self.lines) as f:
            return [json.loads(line) for line in f]


# Prints what a script is given, for output = capture.
WITNESS = '''import base64, json, sys
stdin = sys.stdin.buffer.read()
print(json.dumps({"argv": sys.argv, "stdin": base64.b64encode(stdin).decode()}))
'''


def witnessed(daemon, job):
    """What WITNESS saw: (argv, stdin)."""
    seen = json.loads(daemon.output(job).decode())
    return seen['argv'], base64.b64decode(seen['stdin'])


def docker(*words, check_status=True):
    done = subprocess.run(
        ['docker'] + list(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, DOCKER_HOST='unix://' + DOCKER_SOCKET),
    )
    if check_status and done.returncode != 0:
        raise Failed('docker %s: %s' % (' '.join(words), done.stderr.decode().strip()))
    return done.stdout.decode()


class Test:
    """What one test makes, and its end."""

    number = 0

    def __init__(self, name):
        self.name, self.stack, self.listeners = name, contextlib.ExitStack(), []
        self.folder = tempfile.mkdtemp(prefix='listener-test.')
        os.chmod(self.folder, 0o755)

    def count(self):
        Test.number += 1
        return Test.number

    def broker(self, extra='', drop_in=True):
        broker = Broker(os.path.join(self.folder, 'broker%d' % self.count()), extra, drop_in)
        self.stack.callback(broker.stop)
        return broker.start()

    def listener(self, broker, docker=None, ini=None, env=None, arguments=()):
        if docker is not None and not os.path.exists(DOCKER_SOCKET):
            raise Skip('no Docker Engine at %s' % DOCKER_SOCKET)
        listener = Listener(
            self, os.path.join(self.folder, 'listener%d' % self.count()), broker, docker, ini, env, arguments
        )
        self.listeners.append(listener)
        self.stack.callback(listener.clean)
        return listener

    def process(self, *command, **options):
        """A helper process, ended with the test."""
        process = subprocess.Popen(command, **options)
        self.stack.callback(end_process, process)
        return process

    wait = staticmethod(wait)

    def close(self, failed):
        try:
            self.stack.close()
        finally:
            if not (failed and os.environ.get('KEEP')):
                shutil.rmtree(self.folder, ignore_errors=True)


def run(name, function):
    """One test: True, False, or the reason of a skip."""
    began, failure, reason = time.monotonic(), None, None
    t = Test(name)
    try:
        function(t)
    except Skip as skip:
        reason = str(skip)
    except Failed as failed:
        failure = str(failed) + '\n' + ''.join(traceback.format_tb(failed.__traceback__)[1:2])
    except Exception:
        failure = traceback.format_exc()
    logs = ''.join(
        '\n--- %s ends:\n%s' % (l.log, l.log_text()[-3000:]) for l in t.listeners if failure and os.path.exists(l.log)
    )
    try:
        t.close(failure)
    except Exception as problem:
        failure = (failure + '\n' if failure else '') + str(problem)
    seconds = time.monotonic() - began
    if reason is not None:
        print('skip %s: %s' % (name, reason), flush=True)
        return reason
    print('%-4s %-60s %6.1f s' % ('FAIL' if failure else 'ok', name, seconds), flush=True)
    if failure:
        print('     ' + (failure + logs).replace('\n', '\n     '), flush=True)
    return not failure


def main():
    """Run the tests of the calling file whose names contain one of the arguments (all without)."""
    module = sys.modules['__main__']
    area = os.path.basename(module.__file__)[:-3]
    tests = [(name, f) for name, f in vars(module).items() if name.startswith('test_') and inspect.isfunction(f)]
    tests.sort(key=lambda item: item[1].__code__.co_firstlineno)
    bad = 0
    for name, function in tests:
        full = '%s.%s' % (area, name[5:])
        if sys.argv[1:] and not any(word in full for word in sys.argv[1:]):
            continue
        bad += run(full, function) is False
    sys.exit(1 if bad else 0)
