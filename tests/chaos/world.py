"""world.py - everything the harness starts: engine, broker, network, disk, witness, listener; and
how each is hurt."""
import contextlib
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

import harness
import people
import plan

HERE = os.path.dirname(os.path.abspath(__file__))
SUBNET, GATEWAY = '10.213.77.0/24', '10.213.77.1'
NAME_SERVER = '192.0.2.54'
SMALL_BYTES = 160 << 20  # the file system under the journal
DISK_FREE_MIN = 8 << 20
DEAFNESS = 20  # seconds for a process to do as told

SCRIPT = (
    '''import hashlib, json, os, sys, time, urllib.request
payload = sys.stdin.buffer.read()
topic = sys.argv[1]
body = {"job": int(os.environ["LISTENER_JOB"]), "attempt": int(os.environ["LISTENER_ATTEMPT"]), "event": int(os.environ["LISTENER_EVENT"]), "topic": topic,
        "content": hashlib.sha256(topic.encode() + b"\\0" + payload).hexdigest()[:16]}
urllib.request.urlopen(urllib.request.Request("http://%s/", json.dumps(body).encode(), method="POST"), timeout=10).read()
time.sleep(json.loads(payload).get("sleep", 0))
'''
    % GATEWAY
)


class Names:
    """What harness.Listener wants of a test."""

    number = 0

    def count(self):
        self.number += 1
        return self.number


class Engine:
    """A Docker Engine of our own, restarted by its process id with or without live-restore."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, 'engine')
        os.environ['LISTENER_PRIVATE_ENGINE'] = '1'
        os.makedirs(self.folder)
        self.write(False)
        os.environ['LISTENER_ENGINE_ARGS'] = '--config-file ' + self.folder + '/daemon.json'
        self.tool = os.path.join(harness.ROOT, 'tools/private-engine')
        self.socket = (
            subprocess.run([self.tool, 'start', self.folder], check=True, stdout=subprocess.PIPE)
            .stdout.decode()
            .strip()
        )
        os.environ['DOCKER_HOST'] = 'unix://' + self.socket
        harness.DOCKER_SOCKET = self.socket
        subprocess.run(
            [
                os.path.join(harness.ROOT, 'tools/build-image'),
                '--if-missing',
                '--keep',
                os.path.join(harness.ROOT, 'build/image.tar'),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        words = dict(line.rstrip().split('=', 1) for line in open(self.folder + '/engine'))
        self.process, self.pid = None, int(words['dockerd'])
        self.words = [w for w in open('/proc/%d/cmdline' % self.pid).read().split('\0') if w]

    def end(self, signal_number):
        os.kill(self.pid, signal_number)
        if self.process:
            return harness.end_process(self.process, signal_number, 40)
        harness.wait(lambda: harness.has_ended(self.pid), 'dockerd to end', 40)

    def write(self, live):
        with open(self.folder + '/daemon.json', 'w') as f:
            json.dump({'live-restore': live}, f)

    def set_live(self, live):
        """live-restore can be switched while it runs; the one that comes after it reads the same
        file."""
        self.write(live)
        os.kill(self.pid, signal.SIGHUP)
        harness.wait(
            lambda: subprocess.run(
                ['docker', 'info', '--format', '{{.LiveRestoreEnabled}}'], stdout=subprocess.PIPE
            ).stdout.strip()
            == str(live).lower().encode(),
            'live-restore',
            10,
            0.1,
        )

    def begin(self):
        path = os.path.join(os.path.dirname(self.socket), 'docker.pid')
        if os.path.exists(path):  # of a killed one; its number may be somebody else's now
            os.unlink(path)
        self.process = subprocess.Popen(
            self.words,
            stdin=subprocess.DEVNULL,
            stdout=open(self.folder + '/dockerd.log', 'ab'),
            stderr=subprocess.STDOUT,
        )
        self.pid = self.process.pid
        harness.wait(
            lambda: subprocess.run(
                ['docker', 'version'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ).returncode
            == 0,
            'dockerd',
            60,
            0.1,
        )

    def stop(self):
        if self.process:
            harness.end_process(self.process, signal.SIGTERM, 30)
        subprocess.run([self.tool, 'stop', self.folder])


class World:
    def __init__(self, folder, seed, seconds):
        self.folder, self.seed, self.seconds = folder, seed, seconds
        self.counts, self.steps = {}, dict.fromkeys(plan.STEPS, 0)
        self.broker_deaths, self.broker_stops, self.outages = [], [], []
        self.over = threading.Event()  # no more faults
        self.threads, self.problems = [], []
        self.lock = threading.Lock()
        self.began = time.monotonic()

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def say(self, text):
        with self.lock:
            print('%7.2f  %s' % (time.monotonic() - self.began, text), file=self.diary, flush=True)

    # --------------------------------------------------------------------------------------- set up
    def build(self):
        self.diary = open(os.path.join(self.folder, 'diary'), 'w')
        self.small = os.path.join(self.folder, 'small')
        os.makedirs(self.small)
        subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', 'size=%d,mode=755' % SMALL_BYTES, 'listener-chaos', self.small], check=True
        )
        self.engine = Engine(self.folder)
        self.broker = harness.Broker(os.path.join(self.folder, 'mosquitto')).start()
        self.proxy_port = harness.free_port()
        self.proxy = self.helper('proxy.py', self.proxy_port, self.broker.port, self.path('wire'))
        self.ledger = self.helper('ledger.py', '0.0.0.0', 80, self.path('ledger'))
        self.make_names()
        self.make_listener()
        self.people = people.People(self.path('acts'), lambda: self.listener.socket, self.count)
        self.listener.start()
        # save: a broker that dies now knows the session
        self.broker.process.send_signal(signal.SIGUSR1)

    def path(self, name):
        return os.path.join(self.folder, name)

    def helper(self, name, *words):
        process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, name)] + [str(w) for w in words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(self.path(name + '.err'), 'wb'),
        )
        if name != 'publisher.py' and process.stdout.readline() != b'ready\n':
            raise harness.Failed(name + ' does not start: ' + open(self.path(name + '.err')).read())
        return process

    def make_names(self):
        """Our name server is that of this mount namespace. What the engine tells containers about
        names is said in the configuration."""
        subprocess.run(['ip', 'addr', 'add', NAME_SERVER + '/32', 'dev', 'lo'], check=True)
        with open(self.path('resolv.conf'), 'w') as f:
            f.write('nameserver %s\n' % NAME_SERVER)
        subprocess.run(['mount', '--bind', self.path('resolv.conf'), os.path.realpath('/etc/resolv.conf')], check=True)
        self.names = self.helper('names.py', NAME_SERVER, '127.0.0.1')

    def set_clock(self, seconds):
        with open(self.path('clock'), 'r+b') as f:
            f.write(struct.pack('=q', seconds * 1000000))

    def make_listener(self):
        docker = {
            'subnet': SUBNET,
            'pool_max': '6',
            'preload': 'hashlib, json, urllib.request',
            'engine_timeout': '10s',
            'dns': '192.0.2.53',
        }
        ini = {
            'broker': {
                'host': 'broker.chaos.example',
                'port': self.proxy_port,
                'keepalive': '5s',
                'reconnect_max': '500ms',
            },
            'journal': {'path': self.small + '/journal.db', 'disk_free_min': str(DISK_FREE_MIN)},
            'executor json-lines': {'path': self.path('jobs.jsonl')},
            'limits': {'timeout': '30s', 'timeout_max': '30s'},
        }
        with open(self.path('clock'), 'wb') as f:
            f.write(bytes(8))
        env = {'LD_PRELOAD': os.path.join(harness.BUILD, 'tests/chaos/clock.so'), 'CHAOS_CLOCK': self.path('clock')}
        self.listener = harness.Listener(Names(), self.folder, self.broker, docker, ini, env)
        for name, topic, executor in plan.SCRIPTS:
            self.listener.script(
                name, SCRIPT if executor == 'docker-sandbox' else 'pass\n', topic=topic, executor=executor
            )

    # --------------------------------------------------------------------------------------- faults
    def lane(self, faults, act):
        """Run one lane of the plan until the end."""
        for pause, what, how_long in faults:
            if self.over.wait(pause):
                return
            try:
                act(what, how_long)
            except Exception as problem:  # a lane that stands still would show fewer faults than it claims
                self.say('problem in a lane: %r' % problem)
                self.problems.append('%s %s: %r' % (act.__name__, what, problem))
                self.count('problems')

    def supervise(self):
        """Lives and deaths of listenerd."""
        for fault, seconds, signal_name in plan.lives(self.seed):
            process = self.listener.process
            until = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < until and not self.over.is_set():
                time.sleep(0.01)
            if self.over.is_set():
                return
            if process.poll() is None:
                process.send_signal(getattr(signal, 'SIG' + signal_name))
                self.death(process, signal_name)
            else:
                self.death(process, None)
            self.revive(fault)

    def death(self, process, signal_name):
        armed = getattr(process, 'fault', None)
        status = process.wait()
        if signal_name == 'TERM' and status == 0:
            self.count('listenerd stopped')
        elif status == -signal.SIGKILL:
            self.count('listenerd')
            if signal_name is None and armed:
                self.steps[armed.split(':')[0]] += 1
        elif status == -signal.SIGHUP:
            self.count('listenerd reloaded before it was up')
        elif status > 0:
            self.count('listenerd refused to start')  # a full disk, say
            time.sleep(0.1)
        else:
            self.count('listenerd crashed')
            self.say('listenerd ended with status %s' % status)
        self.say('listenerd is gone: %s %s' % (status, armed if signal_name is None else signal_name))

    def revive(self, fault):
        self.listener.start(ready=False, env={'LISTENER_FAILPOINT': fault or ''})
        self.listener.process.fault = fault

    def hurt_broker(self, what, how_long):
        process = self.broker.process
        self.say('mosquitto: %s for %.1f s' % (what, how_long))
        if what == 'freeze':
            process.send_signal(signal.SIGSTOP)
            time.sleep(how_long)
            process.send_signal(signal.SIGCONT)
            self.count('mosquitto frozen')
            return
        (self.broker_deaths if what == 'kill' else self.broker_stops).append(time.time())
        self.broker.stop(signal.SIGKILL if what == 'kill' else signal.SIGTERM)
        time.sleep(how_long)
        self.broker.start()
        self.count('mosquitto' if what == 'kill' else 'mosquitto restarted')

    def hurt_network(self, what, how_long):
        self.say('network: %s for %.1f s' % (what, how_long))
        self.proxy.stdin.write(b'%s %.3f\n' % (what.encode(), how_long))
        self.proxy.stdin.flush()
        time.sleep(how_long)
        self.count('network ' + what)

    def hurt_engine(self, what, how_long):
        live = what.startswith('live')
        self.say('dockerd: %s for %.1f s' % (what, how_long))
        if what == 'live hang':
            self.hang_engine(how_long)
            return
        self.engine.set_live(live)
        since = time.time()
        self.engine.end(signal.SIGKILL if what.endswith('kill') else signal.SIGTERM)
        time.sleep(how_long)
        self.engine.begin()
        self.outages.append((since, time.time(), what))
        self.count('dockerd' + (' with live-restore' if live else ''))
        self.say('dockerd is back')

    def hang_engine(self, how_long):
        """It answers nobody, and then goes on where it was."""
        os.kill(self.engine.pid, signal.SIGSTOP)
        try:
            self.over.wait(how_long)
        finally:
            os.kill(self.engine.pid, signal.SIGCONT)
        self.count('dockerd hung')

    def step_clock(self, offset, how_long):
        self.say('clock: %+d s for %.1f s' % (offset, how_long))
        self.set_clock(offset)
        self.over.wait(how_long)
        self.set_clock(0)
        self.count('clock stepped', 2)

    def hurt_names(self, what, how_long):
        self.say('name server: %s for %.1f s' % (what, how_long))
        self.names.stdin.write(b'%s %.3f\n' % (what.encode(), how_long))
        self.names.stdin.flush()
        self.proxy.stdin.write(b'cut 0.5\n')  # so that the name is looked up
        self.proxy.stdin.flush()
        self.over.wait(how_long)
        self.count('name server ' + what)

    def hurt_descriptors(self, spare, how_long):
        """No more descriptors than it has, and SPARE."""
        pid = self.listener.process.pid
        try:
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            few = len(os.listdir('/proc/%d/fd' % pid)) + spare
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, hard))
            self.say('descriptors: %d for %.1f s' % (few, how_long))
            self.count('descriptors ran out')
            self.over.wait(how_long)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        except (ProcessLookupError, FileNotFoundError):
            pass  # killed meanwhile

    def hurt_disk(self, what, how_long):
        ballast = os.path.join(self.small, 'ballast')
        self.say('disk: %s for %.1f s' % (what, how_long))
        space = os.statvfs(self.small)
        leave = DISK_FREE_MIN // 2 if what == 'nearly full' else 0
        size = space.f_bavail * space.f_frsize - leave
        with open(ballast, 'wb') as f:
            if size > 0:
                with contextlib.suppress(OSError):  # full before all of it is there
                    os.posix_fallocate(f.fileno(), 0, size)
        time.sleep(how_long)
        os.unlink(ballast)
        self.count('disk ' + what)

    def reload(self, what, how_long):
        if what == 'log_level':
            self.listener.change(
                {
                    'listener': {
                        'log_level': 'info' if self.listener.ini['listener']['log_level'] == 'debug' else 'debug'
                    }
                }
            )
        elif what == 'per_script':
            self.listener.change(
                {
                    'dispatcher': {
                        'per_script': '8' if self.listener.ini['dispatcher'].get('per_script') != '8' else '16'
                    }
                }
            )
        process = self.listener.process
        if process and process.poll() is None:
            process.send_signal(signal.SIGHUP)
            self.count('reloads')

    # ------------------------------------------------------------------------------------------ run
    def run(self, rate):
        with open(self.path('plan'), 'w') as f:
            for m in plan.messages(self.seed, self.seconds, rate):
                f.write(json.dumps(m) + '\n')
        open(self.path('published'), 'w').close()
        lanes = [
            (self.supervise, ()),
            (self.lane, (plan.broker_faults(self.seed), self.hurt_broker)),
            (self.lane, (plan.network_faults(self.seed), self.hurt_network)),
            (self.lane, (plan.engine_faults(self.seed, self.seconds), self.hurt_engine)),
            (self.lane, (plan.disk_faults(self.seed), self.hurt_disk)),
            (self.lane, (plan.reloads(self.seed), self.reload)),
            (self.lane, (plan.clock_steps(self.seed), self.step_clock)),
            (self.lane, (plan.name_faults(self.seed), self.hurt_names)),
            (self.lane, (plan.descriptor_faults(self.seed), self.hurt_descriptors)),
            (self.lane, (plan.operator_acts(self.seed), self.people.operate)),
            (self.lane, (plan.pauses(self.seed), self.people.pause)),
            (self.lane, (plan.reader_acts(self.seed), self.people.read)),
        ]
        self.began = time.monotonic()
        self.publisher = self.helper('publisher.py', self.broker.port, self.path('plan'), self.path('published'))
        self.threads = [threading.Thread(target=target, args=words, daemon=True) for target, words in lanes]
        for thread in self.threads:
            thread.start()
        self.over.wait(self.seconds)
        self.end_lanes()
        harness.check(not any(thread.is_alive() for thread in self.threads), 'a lane of faults does not end')

    def end_lanes(self):
        self.over.set()
        for thread in self.threads:
            thread.join(120)
        self.set_clock(0)

    def calm_down(self):
        """No more faults: everything is up, everything published is taken, everything taken is
        run."""
        listener = self.listener
        if listener.process.poll() is not None:
            self.death(listener.process, None)
        elif getattr(listener.process, 'fault', None):
            listener.process.kill()
            self.death(listener.process, 'KILL')
        if listener.process.poll() is not None:
            self.revive(None)
        self.people.resume_all()
        harness.wait(lambda: self.publisher.poll() is not None, 'the publisher to end', 120)
        seen = [None, 0.0]

        def calm():
            try:
                status = listener.status()
            except harness.Failed:
                return False
            now = (status['counters'], os.path.getsize(self.path('wire')))
            busy = sum(status['jobs'][name] for name in ('queued', 'running', 'backoff'))
            if now != seen[0] or busy or status['broker']['state'] != 'connected':
                seen[:] = [now, time.monotonic()]
                return False
            return time.monotonic() - seen[1] > 3

        # a busy machine has worked off less than came, perhaps little of it
        patience = 240 + self.seconds
        harness.wait(calm, lambda: 'everything to settle; status: %s' % listener.status(), patience, 0.3)
        listener.stop()

    def tear_down(self):
        def attempt(name, act):
            try:
                act()
            except Exception as problem:
                print('chaos: taking down %s: %s' % (name, problem), file=sys.stderr)

        attempt('the lanes', self.end_lanes)
        if hasattr(self, 'publisher'):
            attempt('the publisher', lambda: harness.end_process(self.publisher, signal.SIGKILL))
        if hasattr(self, 'listener'):
            attempt('the listener', lambda: self.listener.process and self.listener.kill())
            attempt('its containers', self.listener.clean_docker)
            attempt('its folder', lambda: shutil.rmtree(self.listener.run_dir, ignore_errors=True))
        for name in ('proxy', 'ledger', 'names'):
            if hasattr(self, name):
                attempt(name, lambda: harness.end_process(getattr(self, name), signal.SIGKILL))
        if hasattr(self, 'broker'):
            attempt('mosquitto', self.broker.kill)
        if hasattr(self, 'engine'):
            attempt('the engine', self.engine.stop)
        subprocess.run(['umount', '-l', self.path('small')], stderr=subprocess.DEVNULL)
