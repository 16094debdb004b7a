"""brokers.py - brokers that nobody here wrote, each in the version of a Debian release or of npm,
on a free loopback port.

    broker = brokers.start(t, 'rabbitmq')           # or 'nats', 'aedes', 'mosquitto';
    suite='trixie'
    daemon = t.listener(broker, ini=broker.ini)
    broker.stop(), broker.kill(), broker.start()    # keeps what it has on disk

Debian's come from tools/test-root, aedes from npm into build/. `versions` says what speaks which
MQTT."""
import collections
import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import debian
import harness
from harness import Skip, check, end_process, free_port, wait


class Server(harness.Broker):
    """What all of them share; a class below says what is written to disk and how it is started."""

    name, versions, seconds = '', ('3.1.1',), 30
    suite = None
    quiet = 1.5  # seconds without a repeat, after which none comes
    # What the broker cannot do, so that the daemon's settings for it differ from the shipped ones.
    subscriptions = 'create/# update/# delete/#'

    def __init__(self, folder, version=None):
        self.folder, self.process, self.port = folder, None, free_port()
        self.version = version or self.versions[0]
        self.log = os.path.join(folder, self.name + '.log')
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        self.configure()

    @property
    def ini(self):
        return {'broker': {'version': '5' if self.version == '5' else '3.1.1', 'subscriptions': self.subscriptions}}

    def configure(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def environment(self):
        return dict(os.environ)

    def start(self):
        with open(self.log, 'ab') as out:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=self.environment()
            )
        wait(self.answers, lambda: '%s; it says: %s' % (self.name, self.tail()), self.seconds, 0.05)
        return self

    def tail(self):
        with open(self.log, errors='replace') as f:
            return f.read()[-800:]

    def answers(self):
        """An MQTT connection is accepted: a port that listens may belong to a broker that is not
        ready."""
        check(self.process.poll() is None, '%s ended: %s' % (self.name, self.tail()))
        with contextlib.suppress(OSError, harness.Failed), harness.Publisher(self.port):
            return True
        return False

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, 'w') as f:
            f.write(text)
        return path


class Mosquitto(Server):
    name, versions = 'mosquitto', ('3.1.1', '5')

    def configure(self):
        text = 'user root\nlistener %d 127.0.0.1\nallow_anonymous true\npersistence_location %s/\n' % (
            self.port,
            self.folder,
        )
        for name in sorted(glob.glob(harness.DROP_IN + '/*.conf')):
            with open(name) as f:
                text += '\n' + f.read()
        self.conf = self.file('mosquitto.conf', text)

    def command(self):
        if self.suite is None and (shutil.which('mosquitto') or os.path.exists('/usr/sbin/mosquitto')):
            return [shutil.which('mosquitto') or '/usr/sbin/mosquitto', '-c', self.conf]
        debian.install('mosquitto', suite=self.suite)
        return debian.command('mosquitto', '-c', self.conf, suite=self.suite)


class Nats(Server):
    """Its MQTT is 3.1.1. What is not acknowledged it sends again after ack_wait, new events
    first."""

    name, quiet = 'nats', 4

    def configure(self):
        debian.install('nats-server', suite=self.suite)
        self.conf = self.file(
            'nats.conf',
            'server_name: test\nlisten: "127.0.0.1:%d"\njetstream { store_dir: "%s/store" }\n'
            'mqtt { listen: "127.0.0.1:%d", ack_wait: "2s", max_ack_pending: 1000 }\n'
            % (free_port(), self.folder, self.port),
        )

    def command(self):
        return debian.command('nats-server', '-c', self.conf, suite=self.suite)


class Rabbitmq(Server):
    """Its MQTT is 3.1.1, from 3.13 on also 5. It has no $share and closes the connection where
    others refuse."""

    name, seconds = 'rabbitmq', 120

    def configure(self):
        root = debian.install('rabbitmq-server', suite=self.suite)
        self.ports = [free_port() for _ in range(3)]
        old = glob.glob(root + '/usr/lib/rabbitmq/lib/rabbitmq_server-3.*')
        anonymous = 'mqtt.default_user = guest\nmqtt.default_pass = guest\n' if old else ''
        self.conf = self.file(
            'rabbitmq.conf',
            'listeners.tcp.1 = 127.0.0.1:%d\nmqtt.listeners.tcp.1 = 127.0.0.1:%d\n'
            'mqtt.allow_anonymous = true\nmqtt.prefetch = 100\nloopback_users = none\n'
            'disk_free_limit.absolute = 1MB\nlog.console = true\nlog.file = false\n%s'
            % (self.ports[0], self.port, anonymous),
        )
        self.plugins = self.file('enabled_plugins', '[rabbitmq_mqtt].\n')

    def environment(self):
        return dict(
            os.environ,
            HOME=self.folder,
            ERL_EPMD_PORT=str(self.ports[1]),
            ERL_EPMD_ADDRESS='127.0.0.1',
            ERL_INETRC='',
            RABBITMQ_NODENAME='test%d@localhost' % self.port,
            RABBITMQ_DIST_PORT=str(self.ports[2]),
            RABBITMQ_CONFIG_FILE=self.conf,
            RABBITMQ_MNESIA_BASE=self.folder + '/mnesia',
            RABBITMQ_LOG_BASE=self.folder,
            RABBITMQ_ENABLED_PLUGINS_FILE=self.plugins,
            RABBITMQ_CONF_ENV_FILE='/dev/null',
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+S 2:2 +sbwt none',
        )

    def command(self):
        return debian.command('/usr/lib/rabbitmq/bin/rabbitmq-server', suite=self.suite)

    def control(self, *words):
        command = debian.command('/usr/lib/rabbitmq/bin/rabbitmqctl', *words, suite=self.suite)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment()
        )
        check(
            done.returncode == 0, 'rabbitmqctl %s: %s' % (' '.join(words), done.stdout.decode(errors='replace')[-800:])
        )
        return done.stdout.decode(errors='replace')

    def stop(self, signal_number=signal.SIGTERM):
        if self.process:
            end_process(self.process, signal_number, 60)
            self.process = None


AEDES = """
const serve = (broker) => require('net').createServer(broker.handle).listen(+process.argv[2], '127.0.0.1')
if (process.argv[3].startsWith('0')) serve(require('aedes')({ id: 'test' }))
else require('aedes').Aedes.createBroker({ id: 'test' }).then(serve)
"""


class Aedes(Server):
    """Of npm, with its sessions in memory: a restart forgets them. It sends again without the DUP
    flag."""

    name, release = 'aedes', '0.51.3'

    def configure(self):
        if not shutil.which('npm'):
            raise Skip('no npm here')
        self.modules = os.path.join(harness.ROOT, 'build/npm/aedes-' + self.release)
        if not os.path.exists(self.modules + '/node_modules/aedes'):
            os.makedirs(self.modules, exist_ok=True)
            with open(self.modules + '/package.json', 'w') as f:
                json.dump({'private': True}, f)
            done = subprocess.run(
                ['npm', 'install', '--no-audit', '--no-fund', 'aedes@' + self.release],
                cwd=self.modules,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            check(done.returncode == 0, 'npm: ' + done.stdout.decode(errors='replace')[-800:])
        self.script = os.path.join(self.modules, 'broker.js')
        with open(self.script, 'w') as f:
            f.write(AEDES)

    def command(self):
        return ['node', self.script, str(self.port), self.release]


KINDS = {kind.name: kind for kind in (Mosquitto, Nats, Rabbitmq, Aedes)}


def start(t, name, suite=None, version=None, release=None):
    kind = type(name, (KINDS[name],), dict({'suite': suite}, **({'release': release} if release else {})))
    server = kind(os.path.join(t.folder, '%s-%d' % (name, t.count())), version)
    t.stack.callback(server.stop)
    return server.start()


def can_connect(port):
    with contextlib.closing(socket.socket()) as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


# ---------------------------------------------------------------------------------------- trouble


class Wire:
    """The network between a broker and the daemon: tests/chaos/proxy.py. `port` is where the daemon
    connects to."""

    def __init__(self, t, broker, *more):
        self.port = free_port()
        self.file = os.path.join(t.folder, 'wire-%d' % t.count())
        self.process = t.process(
            'python3',
            os.path.join(harness.ROOT, 'tests/chaos/proxy.py'),
            str(self.port),
            str(broker.port),
            self.file,
            *more,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        check(self.process.stdout.readline() == b'ready\n', 'the proxy did not start')

    def say(self, word, seconds):
        """cut: reset, and refuse for so long; stall: let nothing pass for so long, then reset."""
        self.process.stdin.write(b'%s %g\n' % (word.encode(), seconds))
        self.process.stdin.flush()


class Storm:
    """Events, some of them equal to the one before, with all that can go wrong between broker and
    daemon; and what came of them.

    twice: runs beyond the events that were published; lost: events that the broker confirmed and no
    script saw."""

    def __init__(self, t, broker, events, restarts=False, wire=()):
        self.t, self.broker, self.restarts = t, broker, restarts
        self.wire = Wire(t, broker, *wire)
        self.daemon = t.listener(broker, ini=dict(broker.ini, broker=dict(broker.ini['broker'], port=self.wire.port)))
        self.published, self.events, self.number = collections.Counter(), events, 0
        self.daemon.start()
        self.daemon.script('a.py', 'pass\n', topic='create/#')
        wait(self.subscribed, 'the subscriptions')

    def subscribed(self):
        return all(s['state'] == 'granted' for s in self.daemon.status()['broker']['subscriptions'])

    def publish(self, count, equal=0):
        """COUNT different events, and one of them EQUAL times more."""
        topics = ['create/resource/%d' % (self.number + i) for i in range(count)]
        topics[count // 2 : count // 2] = [topics[count // 2]] * equal
        self.number += count
        self.broker.publish_all([(topic, b'{"same": 1}') for topic in topics], qos=1)
        self.published.update(topics)

    def ran(self):
        return collections.Counter(line['topic'] for line in self.daemon.json_lines())

    def settle(self, seconds=60):
        """Until all have run, and a while longer: what runs twice may come late."""
        with contextlib.suppress(harness.Failed):
            wait(lambda: not self.published - self.ran(), 'all events', seconds, 0.1)
        count = -1
        while count != len(self.daemon.json_lines()):
            count = len(self.daemon.json_lines())
            time.sleep(self.broker.quiet)
        return {
            'twice': sum((self.ran() - self.published).values()),
            'lost': sum((self.published - self.ran()).values()),
        }

    # -- what goes wrong; each publishes a part of the events
    def cut(self, count):
        self.publish(count // 2, equal=3)
        self.wire.say('cut', 0.1)
        self.publish(count - count // 2)

    def stall(self, count):
        """Acknowledgements on their way are lost, for they never reach the broker."""
        self.wire.say('stall', 0.3)
        self.publish(count, equal=3)
        time.sleep(0.5)

    def die(self, step, count):
        """Between two steps, with events at hand; equal ones were published while the daemon was
        away."""
        self.daemon.stop()
        self.publish(count, equal=5)
        self.daemon.start(env={'LISTENER_FAILPOINT': step}, ready=False)
        wait(lambda: self.daemon.process.poll() is not None, 'the daemon to die at ' + step, 60)
        self.daemon.process = None
        self.daemon.start()

    def restart(self, count):
        self.publish(count // 2)
        self.broker.stop()
        self.broker.start()
        wait(
            lambda: self.daemon.status()['broker']['state'] == 'connected' and self.subscribed(),
            'the daemon to be back',
            60,
        )
        self.publish(count - count // 2, equal=2)

    def rage(self):
        part = self.events // 8
        self.publish(part, equal=4)
        self.cut(part)
        self.die('after-commit', part)
        self.stall(part)
        self.cut(part)
        self.die('after-commit:2', part)
        if self.restarts:
            self.restart(part)
        self.die('after-ack', part)
        return self.settle()
