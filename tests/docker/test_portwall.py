#!/usr/bin/env python3
"""test_portwall.py - the privileged helper alone, in a network namespace of its own: what it
refuses, and that no flush leaves a moment without rules."""
import os
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from driver import BUILD

BRIDGE = 'lsn00112233'
TABLE = 'listenerd_a_b_00112233_0001'
UP = 'up table=%s bridge=%s ports=80,443,21 dns=10.0.0.53,fd00::53 allow= deny=10.9.0.0/16 ftp=%%s' % (TABLE, BRIDGE)


def sh(command):
    return subprocess.run(
        command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    ).stdout


# In the neighbour's namespace: one attempt, the name of its error, "open" or "silence".
KNOCK = '''import errno, socket, sys
kind, host, port = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, getattr(socket, 'SOCK_' + kind))
s.settimeout(2)
try:
    s.connect((host, int(port)))
    if kind == 'DGRAM':
        s.send(b'x')
        s.recv(1)
    print('open')
except socket.timeout:
    print('silence')
except OSError as e:
    print(errno.errorcode[e.errno])
'''
QUESTIONS = '''import socket, sys
sent = 0
kept = []
for n in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent += s.sendto(b'x', (sys.argv[1], 53))
    kept.append(s)
print(sent)
'''
CALLS = '''import socket, sys
begun = tried = 0
for n in range(int(sys.argv[2])):
    tried += 1
    try:
        socket.create_connection((sys.argv[1], 80), 5).close()
        begun += 1
    except OSError:
        pass
print(begun, tried)
'''
# What another program's nf_tables message looks like, byte by byte: no tool writes what a later
# tool would.
NEW_TABLE, DELETE_TABLE, NEW_SET, BATCH_BEGIN, BATCH_END = 0xA00, 0xA02, 0xA09, 0x10, 0x11


def attribute(kind, data):
    return struct.pack('=HH', len(data) + 4, kind) + data + bytes(-len(data) % 4)


def text(kind, value):
    return attribute(kind, value.encode() + b'\0')


def number(kind, value):
    return attribute(kind, struct.pack('>I', value))


def message(kind, body, flags=0, family=1, resource=0):
    return struct.pack('=IHHIIBBH', 20 + len(body), kind, 1 | flags, 1, 0, family, 0, socket.htons(resource)) + body


def commit(*messages):
    begin, end = (message(kind, b'', family=0, resource=10) for kind in (BATCH_BEGIN, BATCH_END))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as s:
        s.bind((0, 0))
        s.settimeout(5)
        s.send(begin + b''.join(messages) + end)
        status = struct.unpack('=i', s.recv(8192)[16:20])[0]
    if status:
        raise OSError(-status, 'nf_tables refuses it')


def put_strange_set(table):
    """A set whose note about the type of its keys and data is of a kind that libnftables before
    1.1.2 does not know."""
    typeof = bytes([0, 4]) + struct.pack('=I', 200) + bytes([1, 4]) + bytes(4)
    note = bytes([3, len(typeof)]) + typeof + bytes([4, len(typeof)]) + typeof
    fields = text(1, table) + text(2, 'odd') + number(3, 0) + number(4, 7) + number(5, 4) + number(10, 1)
    commit(message(NEW_TABLE, text(1, table), 0x400), message(NEW_SET, fields + attribute(13, note), 0x400 | 4))


class Portwall(unittest.TestCase):
    def setUp(self):
        sh(
            'nft flush ruleset; ip link add %s type bridge; ip link set %s up; ip link set lo up; ip addr add 10.7.0.1/24 dev %s'
            % (BRIDGE, BRIDGE, BRIDGE)
        )
        self.start()

    def start(self, command=(os.path.join(BUILD, 'libexec/portwall'),)):
        self.s, theirs = socket.socketpair()
        self.s.settimeout(30)
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs)
        theirs.close()

    def stop(self):
        self.s.close()
        self.process.wait(timeout=5)

    def tearDown(self):
        self.stop()
        sh('nft flush ruleset; ip link del ' + BRIDGE)

    def line(self):
        text = b''
        while not text.endswith(b'\n'):
            try:
                more = self.s.recv(1)
            except ConnectionResetError:
                more = b''
            if not more:
                return 'gone'
            text += more
        return text.decode().strip()

    def ask(self, request):
        self.s.sendall(request.encode() + b'\n')
        return self.line()

    def tables(self):
        return [l.split()[2] for l in sh('nft list tables').splitlines() if l.startswith('table inet')]

    def test_refusals(self):
        for request in (
            '',
            'hello',
            'up',
            'down',
            'down now',
            'down table=filter',
            'up table=filter bridge=' + BRIDGE,
            'up table=%s bridge=eth0' % TABLE,
            UP % 'on',
            UP % 'off' + ' x=1',
            (UP % 'off').replace('443', '8080'),
            (UP % 'off').replace('443', '80'),
            (UP % 'off').replace('10.9.0.0/16', '10.9.0.0/33'),
            (UP % 'off').replace('10.0.0.53', '10.0.0.53/8'),
            (UP % 'off').replace('10.0.0.53', 'localhost'),
            (UP % 'off').replace(TABLE, TABLE + ';flush'),
            (UP % 'off').replace(TABLE, 'listenerd_' + 'x' * 200),
            (UP % 'off').replace('deny=', 'deny=' + '10.0.0.0/8,' * 300),
            (UP % 'off').replace(BRIDGE, 'lsn99999999'),
        ):
            with self.subTest(request[:60]):
                self.assertTrue(self.ask(request).startswith('error '))
        self.assertEqual(self.tables(), [])
        self.assertTrue(self.ask(UP % 'off').startswith('ok up'))

    def test_what_strangers_keep_is_not_read(self):
        """The nft command itself falls over such a set; ours is put up, repaired and taken down
        beside it."""
        for table in ('stranger', 'listenerd_z'):
            put_strange_set(table)
        self.assertLess(subprocess.call(['nft', 'list', 'ruleset'], stdout=subprocess.DEVNULL), 2)
        self.assertRegex(self.ask(UP % 'off'), '^ok up')
        commit(message(DELETE_TABLE, text(1, TABLE), 4))
        self.assertEqual(self.line(), 'restored')
        self.assertEqual(self.ask('down table=' + TABLE), 'ok down')
        self.assertIsNone(self.process.poll())

    def test_why_not(self):
        """Refusals begin with a word that decides what to do."""
        self.assertRegex(self.ask('up table=filter bridge=' + BRIDGE), '^error request ')
        self.assertRegex(self.ask((UP % 'off').replace(BRIDGE, 'lsn99999999')), '^error bridge .*lsn99999999')
        self.stop()
        program = os.path.join(BUILD, 'libexec/portwall')
        self.start(['setpriv', '--bounding-set=-net_admin', '--inh-caps=-all', program])
        self.assertRegex(self.ask(UP % 'off'), '^error right ')

    def sender(self):
        """A neighbour behind the bridge, 10.7.0.2 and fd07::2, with a route to everywhere by way of
        it."""
        sh(
            'ip netns add sender; ip link add veth0 type veth peer name veth1; ip link set veth0 master %s up;'
            'ip link set veth1 netns sender; ip -n sender addr add 10.7.0.2/24 dev veth1; ip -n sender link set lo up;'
            'ip -n sender addr add fd07::2/64 dev veth1 nodad; ip -n sender link set veth1 up;'
            'ip addr add fd07::1/64 dev %s nodad; ip -n sender route add default via 10.7.0.1;'
            'ip -n sender route add default via fd07::1' % (BRIDGE, BRIDGE)
        )
        self.addCleanup(sh, 'ip netns del sender; ip link del veth0')

    def run_there(self, program, *arguments):
        command = ['ip', 'netns', 'exec', 'sender', sys.executable, '-c', program] + [str(a) for a in arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True, timeout=120).stdout.strip()

    def test_closed_is_refused_at_once_where_nothing_is_forwarded(self):
        self.sender()
        with open('/proc/sys/net/ipv4/ip_forward') as f:
            self.assertEqual(f.read().strip(), '0')
        if 'early=yes' not in self.ask(UP % 'off'):
            self.skipTest('this kernel cannot refuse before it routes')
        for kind, host, port in (
            ('STREAM', '203.0.113.1', 8080),
            ('DGRAM', '203.0.113.1', 9999),
            ('STREAM', '169.254.169.254', 80),
            ('STREAM', '2001:db8::1', 8080),
            ('DGRAM', '2001:db8::1', 9999),
        ):
            with self.subTest('%s %s %d' % (kind, host, port)):
                self.assertRegex(self.run_there(KNOCK, kind, host, port), '^(ECONNREFUSED|EHOSTUNREACH|EACCES)$')

    def test_what_is_denied_is_denied_in_every_dress(self):
        """The addresses are this namespace's own, so that whatever passes the wall arrives."""
        self.sender()
        denied = (
            ('100.100.100.200', '168.63.129.16', '169.254.169.254', '192.0.0.192', '10.9.1.2')
            + ('fd00:ec2::254', 'fd20:ce::254', 'fd00:c1::a9fe:a9fe', 'fd00:42::42', 'fd00:a9fe:a9fe::1')
            + ('64:ff9b::a9fe:a9fe', '64:ff9b::6464:64c8', '64:ff9b::a09:102', '2002:a9fe:a9fe::1', '2002:a09:102::1')
            + ('64:ff9b:1::a9fe:a9fe', '64:ff9b:1:a9fe:a9:fe00::', '2001:0:1::2')
        )
        others = ('10.10.1.2', '100.100.100.201', '64:ff9b::a0a:102', '2002:a0a:102::1', 'fd20:ce::255')
        for address in denied + others:
            sh('ip addr add %s dev lo %s' % (address, 'nodad' if ':' in address else ''))
        with socket.socket(socket.AF_INET6) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(('::', 80))
            s.listen(100)
            for address in denied + others:  # without a wall, all of them
                self.assertEqual(self.run_there(KNOCK, 'STREAM', address, 80), 'open', address)
            self.assertRegex(self.ask(UP % 'off'), '^ok up')
            for address in denied:
                self.assertRegex(self.run_there(KNOCK, 'STREAM', address, 80), 'ECONNREFUSED|EHOSTUNREACH', address)
            for address in others:
                self.assertEqual(self.run_there(KNOCK, 'STREAM', address, 80), 'open', address)

    def test_connections_are_counted(self):
        self.sender()
        sh('ip addr add 10.0.0.53 dev lo')
        sh('nft add table t; nft add chain t c "{ type filter hook input priority 0; }"; nft add rule t c ct state new')
        if 'count=yes' not in self.ask(UP % 'off' + ' connections=50'):
            self.skipTest('this kernel cannot count connections')
        before = self.tracked()
        sent = int(self.run_there(QUESTIONS, '10.0.0.53', 300))
        self.assertEqual(sent, 300)
        self.assertLessEqual(self.tracked() - before, 51)
        self.assertGreaterEqual(self.tracked(), 40)  # up to there they may
        self.assertRegex(self.ask(UP % 'off' + ' connections=0'), 'ok up .*count=no')
        self.run_there(QUESTIONS, '10.0.0.53', 300)
        self.assertGreater(self.tracked(), 250)

    def test_connections_that_ended_fill_nothing_either(self):
        """The host's table keeps them for minutes: how many a sandbox may begin is bounded."""
        self.sender()
        if 'count=yes' not in self.ask(UP % 'off' + ' connections=100'):
            self.skipTest('this kernel cannot count connections')
        before = self.tracked()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(('10.7.0.1', 80))
            s.listen(2000)
            begun, tried = (int(n) for n in self.run_there(CALLS, '10.7.0.1', 1500).split())
        self.assertEqual(tried, 1500)
        self.assertGreaterEqual(begun, 100)
        self.assertLessEqual(self.tracked() - before, 600)  # a slow machine has time for more than the first hundred

    def tracked(self):
        with open('/proc/sys/net/netfilter/nf_conntrack_count') as f:
            return int(f.read())

    def test_line_without_end(self):
        self.s.sendall(b'up ' + b'x' * 20000)
        self.assertEqual(self.line(), 'gone')

    def test_down_removes_its_own_only(self):
        sh('nft add table inet other; nft add table inet listenerd_a_b_00112233')
        self.assertTrue(self.ask(UP % 'related').startswith('ok up'))
        self.assertIn(TABLE, self.tables())
        self.assertEqual(self.ask('down table=' + TABLE), 'ok down')
        self.assertEqual(self.tables(), ['other', 'listenerd_a_b_00112233'])

    def test_down_removes_what_an_earlier_helper_has_put_up(self):
        self.assertTrue(self.ask(UP % 'off').startswith('ok up'))
        self.process.kill()
        self.stop()
        self.start()
        self.assertEqual(self.ask('down table=' + TABLE), 'ok down')
        self.assertEqual(sh('nft list tables'), '')

    def test_rules_stay_when_it_goes_and_a_successor_takes_over(self):
        self.assertTrue(self.ask(UP % 'off').startswith('ok up'))
        self.process.kill()
        self.stop()
        self.assertEqual(self.tables(), [TABLE])
        self.start()
        self.assertTrue(self.ask((UP % 'off').replace('_0001', '_0002')).startswith('ok up'))
        self.assertNotIn(TABLE, self.tables())

    def test_flush(self):
        first = self.ask(UP % 'off')
        for i in range(20):
            sh('nft flush ruleset')
            if 'flush-proof=yes' in first:
                self.assertIn(TABLE + '_own', self.tables())
            self.assertEqual(self.line(), 'restored')
            self.assertIn(TABLE, self.tables())

    def test_tampering(self):
        self.ask(UP % 'off')
        for command in (
            'nft delete rule inet %s forward handle $(nft -a list chain inet %s forward | sed -n "s/.*goto from_sandbox # handle //p")'
            % (TABLE, TABLE),
            'nft insert rule inet %s from_sandbox accept' % TABLE,
            'nft add element inet %s ports { 8080 }' % TABLE,
            'nft flush chain inet %s refuse' % TABLE,
        ):
            before = sh('nft list table inet ' + TABLE)
            sh(command)
            self.assertEqual(self.line(), 'restored', command)
            self.assertEqual(sh('nft list table inet ' + TABLE), before)
        sh('nft add table ip foreign; nft add chain ip foreign x; nft delete table ip foreign')
        self.s.settimeout(0.5)
        self.assertRaises(socket.timeout, self.line)

    def test_tampering_during_repairs(self):
        self.ask(UP % 'off')
        before = sh('nft list table inet ' + TABLE)
        for i in range(20):
            sh('nft delete table inet %s' % TABLE)
            end = time.monotonic() + 0.03
            while time.monotonic() < end:
                sh('nft flush chain inet %s from_sandbox' % TABLE)
        end = time.monotonic() + 3
        while sh('nft list table inet ' + TABLE) != before:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_no_packet_while_flushed(self):
        """A sender in another namespace behind the bridge, closed port, 300 flushes: nothing may
        arrive."""
        if 'flush-proof=yes' not in self.ask(UP % 'off'):
            self.skipTest('this kernel has no owned tables')
        sh(
            'ip netns add sender; ip link add veth0 type veth peer name veth1; ip link set veth0 master %s up; ip link set veth1 netns sender;'
            'ip -n sender addr add 10.7.0.2/24 dev veth1; ip -n sender link set veth1 up' % BRIDGE
        )
        self.addCleanup(sh, 'ip netns del sender; ip link del veth0')
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(('10.7.0.1', 9999))
        udp.setblocking(False)
        sender = subprocess.Popen(
            [
                'ip',
                'netns',
                'exec',
                'sender',
                sys.executable,
                '-c',
                'import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nn = 0\nend = time.time() + 5\n'
                'while time.time() < end:\n  try:\n    s.sendto(b"x", ("10.7.0.1", 9999))\n    n += 1\n  except OSError:\n    n += 1\n'
                'print(n)',
            ],
            stdout=subprocess.PIPE,
        )
        while sender.poll() is None:
            sh('nft flush ruleset')
        self.assertGreater(int(sender.communicate()[0]), 1000)
        self.assertRaises(BlockingIOError, udp.recv, 10)
        udp.close()
        self.check_that_it_would_be_seen()

    def check_that_it_would_be_seen(self):
        self.s.sendall(b'down table=%s\n' % TABLE.encode())
        while self.line() != 'ok down':
            pass
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(('10.7.0.1', 9998))
        udp.settimeout(5)
        sh(
            'ip netns exec sender %s -c "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b\'x\', (\'10.7.0.1\', 9998))"'
            % sys.executable
        )
        self.assertEqual(udp.recv(10), b'x')
        udp.close()


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('skip portwall: needs root for a network namespace of its own')
        sys.exit(0)
    if '--inside' not in sys.argv:
        sys.exit(
            subprocess.call(
                ['unshare', '--net', '--mount', sys.executable, os.path.abspath(__file__), '--inside'] + sys.argv[1:]
            )
        )
    sys.argv.remove('--inside')
    sh('mount -t tmpfs none /run/netns || { mkdir -p /run/netns && mount -t tmpfs none /run/netns; }')
    unittest.main(verbosity=2)
