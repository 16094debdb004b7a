#!/usr/bin/env python3
"""test_portwall.py - the privileged helper alone, in a network namespace of its own: what it refuses, and that no flush leaves a moment without rules."""
import os
import socket
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


class Portwall(unittest.TestCase):
    def setUp(self):
        sh(
            'nft flush ruleset; ip link add %s type bridge; ip link set %s up; ip link set lo up; ip addr add 10.7.0.1/24 dev %s'
            % (BRIDGE, BRIDGE, BRIDGE)
        )
        self.start()

    def start(self):
        self.s, theirs = socket.socketpair()
        self.s.settimeout(5)
        self.process = subprocess.Popen([os.path.join(BUILD, 'libexec/portwall')], stdin=theirs, stdout=theirs)
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
            'down now',
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

    def test_line_without_end(self):
        self.s.sendall(b'up ' + b'x' * 20000)
        self.assertEqual(self.line(), 'gone')

    def test_down_removes_its_own_only(self):
        sh('nft add table inet other; nft add table inet listenerd_a_b_00112233')
        self.assertTrue(self.ask(UP % 'related').startswith('ok up'))
        self.assertIn(TABLE, self.tables())
        self.assertEqual(self.ask('down'), 'ok down')
        self.assertEqual(self.tables(), ['other', 'listenerd_a_b_00112233'])

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
        """A sender in another namespace behind the bridge, closed port, 300 flushes: nothing may arrive."""
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
        self.s.sendall(b'down\n')
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
