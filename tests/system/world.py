"""world.py - a network of the test's own: this process and all it starts are in a namespace of
their own (an engine, the listener, the broker), connected by a veth pair to another one that plays
the outside world and holds real servers. Nothing of the machine's own network or firewall is
touched."""
import contextlib
import ctypes
import os
import re
import shlex
import socket
import struct
import subprocess
import threading

import debian
import harness
from harness import Skip, check

OUTSIDE, INSIDE = '198.51.100.2', '198.51.100.1'
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def enter(fd):
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), 'setns')


class World:
    def __init__(self, t, engine_args=''):
        if os.getuid() != 0:
            raise Skip('needs root for network namespaces')
        self.t, self.folder = t, os.path.join(t.folder, 'world')
        os.makedirs(self.folder)
        home = os.open('/proc/self/ns/net', os.O_RDONLY)
        t.stack.callback(lambda: (enter(home), os.close(home)))
        if libc.unshare(CLONE_NEWNET) != 0:
            raise Skip('no network namespaces here: ' + os.strerror(ctypes.get_errno()))
        self.holder = t.process('unshare', '-n', 'sleep', '3600', stdin=subprocess.DEVNULL)
        t.wait(
            lambda: os.readlink('/proc/%d/ns/net' % self.holder.pid) != os.readlink('/proc/self/ns/net')
            and open('/proc/%d/comm' % self.holder.pid).read() == 'sleep\n',
            'the outside',
        )
        self.connect()
        self.start_engine(engine_args)

    def connect(self):
        self.run('ip link set lo up')
        self.run('ip link add out0 type veth peer name in0 netns %d' % self.holder.pid)
        self.run('ip addr add %s/24 dev out0' % INSIDE)
        self.run('ip link set out0 up')
        self.outside('ip link set lo up')
        self.outside('ip addr add %s/24 dev in0' % OUTSIDE)
        self.outside('ip link set in0 up')
        self.outside('ip route add default via ' + INSIDE)
        with open('/proc/sys/net/ipv4/ip_forward', 'w') as f:
            f.write('1')

    @staticmethod
    def run(command, **options):
        done = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
        )
        check(done.returncode == 0, '%s: %s' % (command, done.stdout.decode(errors='replace')[-1000:]))
        return done.stdout.decode(errors='replace')

    def outside(self, command):
        return self.run('nsenter -t %d -n %s' % (self.holder.pid, command))

    def server(self, *command, name=None):
        """A server in the outside world, ended with the test."""
        log = open(os.path.join(self.folder, (name or os.path.basename(command[0])) + '.log'), 'ab')
        return self.t.process(
            'nsenter',
            '-t',
            str(self.holder.pid),
            '-n',
            *command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def debian(self, *program, suite=None):
        """The same with a program from the root of tools/test-root; its packages have been
        installed there before."""
        return self.server(*debian.command(*program, suite=suite), name=os.path.basename(program[0]))

    def in_outside(self, function):
        """Run FUNCTION in a thread that lives in the outside world; what it returns. Sockets it
        makes stay there."""
        result = []

        def work():
            with contextlib.closing(os.fdopen(os.open('/proc/%d/ns/net' % self.holder.pid, os.O_RDONLY))) as f:
                enter(f.fileno())
            result.append(function())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        check(result, 'nothing came back from outside')
        return result[0]

    # --------------------------------------------------------------------------------------- engine
    def start_engine(self, args):
        self.engine = os.path.join(self.folder, 'engine')
        self.t.stack.callback(lambda: subprocess.run(['tools/private-engine', 'stop', self.engine], cwd=harness.ROOT))
        done = subprocess.run(
            ['tools/private-engine', 'start', self.engine],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=harness.ROOT,
            env=dict(os.environ, LISTENER_ENGINE_ARGS=args),
        )
        check(done.returncode == 0, 'no engine of our own: ' + done.stderr.decode()[-500:])
        self.socket = done.stdout.decode().strip()
        old = harness.DOCKER_SOCKET
        harness.DOCKER_SOCKET = self.socket
        self.t.stack.callback(lambda: setattr(harness, 'DOCKER_SOCKET', old))
        image = subprocess.run(
            ['tools/build-image', '--if-missing', '--keep', 'build/image.tar'],
            cwd=harness.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, DOCKER_HOST='unix://' + self.socket, LISTENER_DOCKER_SOCKET=self.socket),
        )
        check(image.returncode == 0, 'no image: ' + image.stdout.decode()[-500:])

    def engine_pid(self):
        with open(self.engine + '/engine') as f:
            return int(re.search(r'^dockerd=(\d+)', f.read(), re.MULTILINE).group(1))

    def restart_engine(self, meanwhile=lambda: None):
        """End dockerd and start it again just as it was, as a package's update does; MEANWHILE() is
        called while it is not there."""
        pid = self.engine_pid()
        with open('/proc/%d/cmdline' % pid, 'rb') as f:
            command = f.read().rstrip(b'\0').split(b'\0')
        os.kill(pid, 15)
        self.t.wait(lambda: harness.has_ended(pid), 'the engine to end', 40)
        meanwhile()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=open(self.engine + '/dockerd.log', 'ab'),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with open(self.engine + '/engine') as f:
            text = f.read()
        with open(self.engine + '/engine', 'w') as f:
            f.write(re.sub(r'^dockerd=\d+', 'dockerd=%d' % process.pid, text, flags=re.MULTILINE))
        self.t.wait(
            lambda: subprocess.run(
                ['docker', 'version'],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(os.environ, DOCKER_HOST='unix://' + self.socket),
            ).returncode
            == 0,
            'the engine to be back',
            60,
        )


class Outside:
    """Echo servers on many ports of the outside world, TCP and UDP."""

    def __init__(self, world, count=100):
        self.tcp, self.udp, self.sockets, self.stopped = [], [], [], False
        world.t.stack.callback(self.stop)
        world.in_outside(lambda: self.open(count))

    def open(self, count):
        for number in range(count + 6):
            kind = socket.SOCK_STREAM if number < count else socket.SOCK_DGRAM
            s = socket.socket(socket.AF_INET, kind)
            s.bind((OUTSIDE, 0))
            if kind == socket.SOCK_STREAM:
                s.listen(16)
                self.tcp.append(s.getsockname()[1])
            else:
                threading.Thread(target=self.echo, args=(s,), daemon=True).start()
                self.udp.append(s.getsockname()[1])
            self.sockets.append(s)
        return True

    def echo(self, s):
        while not self.stopped:
            try:
                data, peer = s.recvfrom(2000)
                s.sendto(data, peer)
            except OSError:
                return

    def stop(self):
        self.stopped = True
        for s in self.sockets:
            s.close()


class Capture:
    """Every IP packet that arrives in the outside world: {(protocol, destination port): count}."""

    def __init__(self, world):
        self.seen, self.stopped = {}, False
        self.socket = world.in_outside(lambda: self.open())
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        world.t.stack.callback(self.stop)

    @staticmethod
    def open():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE: a burst must not be lost
        s.bind(('in0', 3))
        s.settimeout(0.2)
        return s

    def read(self):
        while not self.stopped:
            try:
                packet, (_, protocol, kind, _, _) = self.socket.recvfrom(65536)
            except socket.timeout:
                continue
            except OSError:
                return
            if kind == 4:  # our own way out
                continue
            if protocol == 0x0800 and len(packet) >= 24:
                header = (packet[0] & 15) * 4
                self.note(packet[9], packet[header:])
            elif protocol == 0x86DD and len(packet) >= 44:
                self.note(packet[6], packet[40:])

    def note(self, protocol, rest):
        port = struct.unpack('!H', rest[2:4])[0] if protocol in (6, 17, 132, 136) and len(rest) >= 4 else 0
        self.seen[(protocol, port)] = self.seen.get((protocol, port), 0) + 1

    def lost(self):
        """Packets the kernel had no room for since it was asked last."""
        return struct.unpack('II', self.socket.getsockopt(263, 6, 8))[1]

    def stop(self):
        self.stopped = True
        self.thread.join()
        self.socket.close()


class Resolver:
    """A name server in the outside world that knows one name."""

    def __init__(self, world):
        self.socket = world.in_outside(self.open)
        threading.Thread(target=self.serve, daemon=True).start()
        world.t.stack.callback(self.socket.close)

    @staticmethod
    def open():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((OUTSIDE, 53))
        return s

    def serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(1500)
            except OSError:
                return
            end = query.find(b'\0', 12) + 5
            a = query[end - 4 : end - 2] == b'\0\1' and query[12 : end - 4] == b'\6server\4test\0'
            answer = b'\xc0\x0c\0\1\0\1\0\0\0\1\0\4' + socket.inet_aton(OUTSIDE) if a else b''
            with contextlib.suppress(OSError):
                self.socket.sendto(
                    query[:2] + b'\x81\x80\0\1\0' + (b'\1' if a else b'\0') + b'\0\0\0\0' + query[12:end] + answer, peer
                )


def wait_port(world, port, seconds=15):
    def there():
        def connect():
            with contextlib.closing(socket.socket()) as s:
                s.settimeout(1)
                return [s.connect_ex((OUTSIDE, port))]

        return world.in_outside(connect) == [0]

    harness.wait(there, 'port %d of the outside' % port, seconds)
