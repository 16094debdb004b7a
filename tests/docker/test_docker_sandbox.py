#!/usr/bin/env python3
"""test_docker_sandbox.py - the executor docker-sandbox against a real Docker Engine, through a
small host of its own (driver.c)."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from case import ECHO, Case, init_of, need_image, sleeper
from driver import (
    BUILD,
    LISTENER,
    SLOW,
    SOCKET,
    WAIT,
    clean_up,
    container_of,
    containers,
    docker,
    folders,
    inspect,
    tables,
    there,
    wait_for,
    nothing_left,
)


class Jobs(Case):
    def test_outcomes(self):
        d = self.driver()
        self.check(
            d.run(1, ECHO, payload='{"a": 1}', topic='update/user/ä'),
            'success',
            status=0,
            out='update/user/ä {"a": 1}'.encode(),
        )
        self.check(d.run(2, 'import sys; sys.exit(7)'), 'failure', status=7)
        self.check(d.run(3, 'raise ValueError("no")'), 'failure', status=1)
        self.assertIn(b'ValueError: no', d.results[3].err)
        self.check(d.run(4, 'import os; os.kill(os.getpid(), 9)'), 'signal', signal=9)
        self.check(d.run(5, 'print("x" * 200000)'), 'success')
        self.assertLess(len(d.results[5].out), 200000)  # cut, and the script went on
        self.check(d.run(6, 'print("seen by nobody")', capture=False), 'success', out=b'')
        self.check(d.run(7, 'b = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): b[i] = 1\n'), 'memory')
        self.assertEqual(d.end(), 0)
        nothing_left(lambda: (containers(), tables()))

    def test_timeouts(self):
        d = self.driver(grace='500ms')
        stubborn = 'import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint("here", flush=True)\ntime.sleep(60)\n'
        self.check(d.run(1, stubborn, timeout=1), 'timeout', out=b'here\n')
        self.check(d.run(2, sleeper(60), timeout=1), 'timeout')
        self.assertLess(d.results[2].duration, 3e6 * SLOW)
        self.check(d.run(3, stubborn + '#', timeout=1), 'timeout')  # its sandbox was replaced

    def test_stopped_init_is_killed_from_outside(self):
        d = self.driver(grace='200ms')
        d.job(1, sleeper(60), timeout=1)
        place = d.running(1)
        time.sleep(0.3)
        docker('pause', container_of(place))
        self.check(d.done(1), 'timeout')
        self.assertIn('whole container', d.results[1].message)
        self.assertFalse(there(place))
        self.check(d.run(2, ECHO), 'success')

    def test_parallel_and_reuse(self):
        d = self.driver(pool_max=4, starting=2)
        for i in range(1, 9):
            d.job(i, sleeper(0.5))
        for i in range(1, 9):
            self.check(d.done(i), 'success', out=b'slept\n')
        self.assertLessEqual(len(set(d.places.values())), 4)
        self.check(d.run(20, ECHO), 'success')
        places = {d.places[i] for i in range(1, 9)}
        self.assertNotIn(d.places[20], places)  # never two scripts in one sandbox
        self.check(d.run(21, ECHO), 'success')
        self.assertEqual(d.places[21], d.places[20])

    def test_reuse_never(self):
        d = self.driver(reuse='never', pool_min=2, pool_max=4)
        for i in range(1, 6):
            self.check(d.run(i, ECHO), 'success')
        self.assertEqual(len(set(d.places.values())), 5)
        wait_for('used sandboxes to go', lambda: not any(there(p) for p in d.places.values()))

    def test_memory_of_the_script(self):
        d = self.driver(memory_overhead='64M')
        self.check(d.run(1, ECHO, memory=64 << 20), 'success')
        self.check(d.run(2, ECHO, memory=200 << 20), 'success')
        self.assertEqual(inspect(container_of(d.places[2]))['HostConfig']['Memory'], 264 << 20)
        self.assertEqual(inspect(container_of(d.places[1]))['HostConfig']['Memory'], 128 << 20)

    def test_cancel(self):
        d = self.driver()
        d.job(1, sleeper(60), timeout=30)
        d.running(1)
        d.send('cancel', 1)
        self.check(d.done(1), 'cancelled')

    def test_one_place_for_three_scripts(self):
        d = self.driver(pool_max=1, pool_min=0)
        for i in range(1, 7):
            d.job(i, sleeper(0.05, 'script %d' % (i % 3)))
        for i in range(1, 7):
            self.check(d.done(i), 'success', out=b'script %d\n' % (i % 3))

    def test_light_script_is_not_starved(self):
        d = self.driver(pool_max=2, pool_min=0)
        for i in range(1, 41):
            d.job(i, sleeper(0.2, 'busy'))
        d.done(4)
        d.job(100, ECHO)
        self.check(d.done(100), 'success')
        self.assertLess(len(d.results), 35)

    def test_max_jobs(self):
        d = self.driver(max_jobs=2)
        for i in range(1, 6):
            self.check(d.run(i, ECHO), 'success')
        self.assertEqual(len(set(d.places.values())), 3)

    def test_idle_timeout(self):
        d = self.driver(idle_timeout='1s', pool_min=1)
        self.check(d.run(1, ECHO), 'success')
        wait_for('the idle one to go', lambda: not there(d.places[1]))
        # a job that came before the first spare was warm has made a second one, which goes as well
        wait_for('one spare to stay', lambda: '1 spare, 0 idle' in d.describe()['pool'])

    def test_exec(self):
        d = self.driver(start='exec')
        self.check(d.run(1, ECHO, payload='p'), 'success', out=b'create/resource/x p')
        self.check(d.run(2, '#!/bin/sh\necho shell $2 $LISTENER_JOB'), 'success')
        self.assertIn(b'2', d.results[2].out)


class Container(Case):
    def test_as_the_engine_sees_it(self):
        d = self.driver(pids=50, cpus='0.5')
        d.job(1, sleeper(5))
        c = inspect(container_of(d.running(1)))
        h = c['HostConfig']
        self.assertTrue(h['ReadonlyRootfs'])
        self.assertEqual(h['CapDrop'], ['ALL'])
        # init gives up the last two before anything else runs
        self.assertEqual(
            {x.replace('CAP_', '') for x in h['CapAdd']}, {'SETUID', 'SETGID', 'KILL', 'SETPCAP', 'NET_ADMIN'}
        )
        self.assertIn('no-new-privileges', h['SecurityOpt'])
        self.assertTrue(any(s.startswith('seccomp={') for s in h['SecurityOpt']))
        self.assertEqual(
            (h['IpcMode'], h['PidsLimit'], h['NanoCpus'], h['Memory'], h['MemorySwap']),
            ('none', 50, 500000000, 128 << 20, 128 << 20),
        )
        self.assertEqual(h['LogConfig']['Type'], 'none')
        self.assertEqual(c['Config']['Labels']['org.indigo.listener'], LISTENER)
        self.assertTrue(all(not m['RW'] for m in c['Mounts']))

    def test_killed_from_outside(self):
        d = self.driver()
        d.job(1, sleeper(30))
        docker('kill', container_of(d.running(1)))
        self.check(d.done(1), 'lost')
        self.check(d.run(2, ECHO), 'success')

    def test_idle_one_removed_from_outside(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        for c in containers():
            docker('rm', '-f', c)
        self.check(d.run(2, ECHO), 'success')

    def test_network_removed_from_outside(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        for c in containers():
            docker('rm', '-f', c)
        clean_up()
        self.check(d.run(2, ECHO), 'success')


class Restart(Case):
    def begin(self, script, **kw):
        d = self.driver()
        d.job(1, script, **kw)
        return d, d.running(1)

    def test_killed_daemon_running_job(self):
        d, place = self.begin(sleeper(4, 'survived'))
        time.sleep(0.5)
        d.kill()
        d = self.driver()
        d.recover(1, sleeper(4, 'survived'), place)
        self.check(d.done(1), 'success', out=b'survived\n')
        wait_for('the adopted one to be replaced', lambda: not there(place))
        self.check(d.run(2, ECHO), 'success')
        self.assertEqual(d.end(), 0)
        # free() does not wait for a slow engine
        wait_for('the containers to go', lambda: not containers())

    def test_killed_daemon_finished_job(self):
        d, place = self.begin(sleeper(0.5, 'finished alone'))
        d.kill()
        time.sleep(2)
        d = self.driver()
        d.recover(1, sleeper(0.5, 'finished alone'), place)
        self.check(d.done(1), 'success', out=b'finished alone\n')

    def test_killed_daemon_time_limit_holds(self):
        d, place = self.begin(sleeper(60), timeout=2)
        began = time.time()
        d.kill()
        d = self.driver()
        d.recover(1, sleeper(60), place, timeout=2, started=int(began * 1e6))
        self.check(d.done(1), 'timeout')
        self.assertLess(time.time() - began, 8 * SLOW)

    def test_never_received(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        place = d.places[1]
        d.describe()  # by then the first job is forgotten
        d.kill()
        d = self.driver()
        d.recover(2, ECHO, place)
        self.check(d.done(2), 'not-started')

    def test_container_gone(self):
        d, place = self.begin(sleeper(30))
        d.kill()
        docker('rm', '-f', container_of(place))
        d = self.driver()
        d.recover(1, sleeper(30), place)
        self.check(d.done(1), 'lost')

    def test_container_stopped(self):
        d, place = self.begin(sleeper(30))
        d.kill()
        docker('kill', container_of(place))
        d = self.driver()
        d.recover(1, sleeper(30), place)
        self.check(d.done(1), 'lost')

    def test_place_of_nobody(self):
        d = self.driver()
        d.recover(1, ECHO, '../../../etc')
        d.until('the refusal', lambda: 1 in d.refused)
        d.recover(2, ECHO, '0123456789abcdef')
        self.check(d.done(2), 'lost')

    def test_orphans_are_removed(self):
        d = self.driver(pool_min=2)
        self.check(d.run(1, ECHO), 'success')
        d.kill()
        left = set(containers())
        self.assertTrue(left)
        d = self.driver()
        wait_for('the orphans to go', lambda: not left & set(containers()))
        self.check(d.run(2, ECHO), 'success')
        self.assertEqual(d.end(), 0)
        nothing_left(lambda: (containers(), folders(d)))

    def test_neighbour_instance_is_left_alone(self):
        first = self.driver(pool_min=2)
        self.check(first.run(1, ECHO), 'success')
        second = self.driver()
        self.check(second.run(1, ECHO), 'success')
        time.sleep(2)
        self.check(first.run(2, ECHO), 'success')
        self.assertTrue(there(first.places[1]))
        self.assertEqual(second.end(), 0)
        self.check(first.run(3, ECHO), 'success')
        self.assertTrue(tables())

    def test_detach(self):
        d, place = self.begin(sleeper(4, 'detached'))
        self.assertEqual(d.end('detach'), 0)
        wait_for('only the running one to be left', lambda: len(containers()) == 1)
        self.assertTrue(tables())  # the wall still stands around it
        d = self.driver()
        d.recover(1, sleeper(4, 'detached'), place)
        self.check(d.done(1), 'success', out=b'detached\n')
        self.assertEqual(d.end(), 0)
        wait_for('the wall to be taken down', lambda: not tables(), 5)


CONNECT = '''
import errno, socket, sys, json
what = json.loads(sys.stdin.read())
seen = {}
for name, kind, host, port in what:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.settimeout(3)
    try:
        s.connect((host, port))
        if kind == "udp":
            s.send(b"x")
            s.recv(100)
        seen[name] = "open"
    except OSError as e:
        seen[name] = errno.errorcode.get(e.errno, str(e))
    s.close()
print(json.dumps(seen))
'''


RESOLVE = 'import socket\nprint(socket.gethostbyname("indigo.example"))\n'
RESOLVE_UNTIL = '''import socket, sys, time
wanted, end, answer = sys.stdin.read(), time.monotonic() + 25, None
while answer != wanted:
    assert time.monotonic() < end, answer
    time.sleep(0.1)
    try:
        answer = socket.gethostbyname("indigo.example")
    except socket.gaierror as e:  # at the moment of the change
        answer = e
'''
ASK = '''import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
try:
    s.connect((sys.stdin.read(), 53))
    s.send(b"??\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\1a\\0\\0\\1\\0\\1")
    print('answered', s.recv(512))
except OSError:
    print('refused')
'''


class Server:
    """Accepts on an address of this host until it is closed."""

    def __init__(self, address, port):
        self.socket = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(8)


class Wall(Case):
    def gateway(self):
        name = docker('network', 'ls', '-q', '--filter', 'label=org.indigo.listener=' + LISTENER).stdout.split()[0]
        return docker('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', name).stdout.strip()

    def bridge(self):
        name = docker('network', 'ls', '-q', '--filter', 'label=org.indigo.listener=' + LISTENER).stdout.split()[0]
        return docker(
            'network', 'inspect', '-f', '{{index .Options "com.docker.network.bridge.name"}}', name
        ).stdout.strip()

    def gateway_of_ipv6(self):
        """Of the bridge itself: the engine does not tell. It may be bound to once the kernel is
        sure that nobody else has it."""
        bridge = self.bridge()

        def sure():
            shown = subprocess.run(
                ['ip', '-6', '-o', 'addr', 'show', 'dev', bridge, 'scope', 'global', '-tentative'],
                stdout=subprocess.PIPE,
                universal_newlines=True,
            ).stdout.split()
            return [w.split('/')[0] for w in shown if w.startswith('fd')]

        return wait_for('an address', sure)[0]

    def connect(self, d, job, *what):
        result = d.run(job, CONNECT, payload=json.dumps(what), timeout=20)
        self.check(result, 'success')
        return json.loads(result.out.decode())

    def servers(self, address, *ports):
        servers = [Server(address, p) for p in ports]
        for s in servers:
            self.addCleanup(s.socket.close)

    def without_landlock(self):
        """A libexec folder whose init asks for no Landlock ports: what holds then is the port wall
        alone."""
        folder = tempfile.mkdtemp(prefix='libexec.')
        self.addCleanup(shutil.rmtree, folder, True)
        for name in os.listdir(BUILD + '/libexec'):
            shutil.copy(os.path.join(BUILD, 'libexec', name), folder)
        os.rename(folder + '/sandbox-init', folder + '/sandbox-init.real')
        with open(folder + '/sandbox-init', 'w') as f:
            f.write(
                '#!/usr/bin/python3\nimport os, sys\nports = ",".join(str(p) for p in [80, 443, 21, 22, 25, 53, 587, 465, 8080, 1883, 7, 9999])\n'
                'args = [a for a in sys.argv[1:] if not a.startswith("--ports")]\n'
                'os.execv("/listener/sandbox-init.real", ["sandbox-init", "--ports=" + ports] + args)\n'
            )
        os.chmod(folder + '/sandbox-init', 0o755)
        os.chmod(folder, 0o755)
        return folder

    def test_ports(self):
        d = self.driver(libexec=self.without_landlock())
        self.check(d.run(1, ECHO), 'success')
        gateway = self.gateway()
        self.servers(gateway, 80, 443, 21, 22, 25, 587, 465, 8080, 1883)
        seen = self.connect(d, 2, *[(str(p), 'tcp', gateway, p) for p in (80, 443, 21, 22, 25, 587, 465, 8080, 1883)])
        self.assertEqual(
            seen,
            {
                **{str(p): 'open' for p in (80, 443, 21, 22, 25, 587, 465)},
                '8080': 'ECONNREFUSED',
                '1883': 'ECONNREFUSED',
            },
        )

    def test_ports_of_ipv6(self):
        d = self.driver(libexec=self.without_landlock(), ipv6='yes', pool_min=2)
        d.job(
            1,
            'import socket, time\n'
            's = socket.socket(socket.AF_INET6)\ns.bind(("::", 8080))\ns.listen(1)\ntime.sleep(15)',
            timeout=20,
        )
        neighbour = inspect(container_of(d.running(1)))['NetworkSettings']['Networks'].popitem()[1]['GlobalIPv6Address']
        gateway = self.gateway_of_ipv6()
        self.servers(gateway, 80, 443, 21, 22, 25, 587, 465, 8080, 1883)
        udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        udp.bind((gateway, 9999))
        self.addCleanup(udp.close)
        seen = self.connect(
            d,
            2,
            *[(str(p), 'tcp', gateway, p) for p in (80, 443, 21, 22, 25, 587, 465, 8080, 1883)],
            ('udp', 'udp', gateway, 9999),
            ('neighbour80', 'tcp', neighbour, 80),
            ('neighbour8080', 'tcp', neighbour, 8080)
        )
        self.assertEqual(
            {k for k, v in seen.items() if v == 'open'}, {str(p) for p in (80, 443, 21, 22, 25, 587, 465)}, seen
        )
        self.assertEqual((seen['8080'], seen['1883']), ('ECONNREFUSED', 'ECONNREFUSED'))
        udp.setblocking(False)
        self.assertRaises(BlockingIOError, udp.recv, 10)

    def test_rest_is_closed(self):
        d = self.driver(libexec=self.without_landlock(), pool_min=2)
        d.job(
            1, 'import socket, time\ns = socket.socket()\ns.bind(("", 8080))\ns.listen(1)\ntime.sleep(15)', timeout=20
        )
        neighbour = inspect(container_of(d.running(1)))['NetworkSettings']['Networks'].popitem()[1]['IPAddress']
        gateway = self.gateway()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((gateway, 9999))
        self.addCleanup(udp.close)
        seen = self.connect(
            d,
            2,
            ('udp', 'udp', gateway, 9999),
            ('neighbour', 'tcp', neighbour, 80),
            ('neighbour8080', 'tcp', neighbour, 8080),
            ('metadata', 'tcp', '169.254.169.254', 80),
            ('v6', 'tcp', '2001:db8::1', 80),
            ('udp53', 'udp', gateway, 53),
        )
        self.assertNotIn('open', seen.values(), seen)
        self.assertEqual(seen['metadata'], 'ECONNREFUSED', seen)
        udp.setblocking(False)
        self.assertRaises(BlockingIOError, udp.recv, 10)

    def test_landlock_is_the_second_wall(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        gateway = self.gateway()
        self.servers(gateway, 80, 8080)
        # the owned one cannot be removed; so the denial that is seen must be Landlock's
        for name in tables():
            subprocess.run(['nft', 'delete', 'table', 'inet', name], stderr=subprocess.DEVNULL)
        seen = self.connect(d, 2, ('80', 'tcp', gateway, 80), ('8080', 'tcp', gateway, 8080))
        self.assertEqual(seen, {'80': 'open', '8080': 'EACCES'})

    def test_networks_and_fewer_ports(self):
        d = self.driver(
            ports='80', libexec=self.without_landlock(), subnet='172.31.250.0/24', deny_networks='172.31.250.1'
        )
        self.check(d.run(1, ECHO), 'success')
        self.servers('172.31.250.1', 80)
        self.assertEqual(self.connect(d, 2, ('80', 'tcp', '172.31.250.1', 80)), {'80': 'ECONNREFUSED'})
        self.assertEqual(d.end(), 0)
        d = self.driver(ports='80', libexec=self.without_landlock(), subnet='172.31.250.0/24')
        self.check(d.run(1, ECHO), 'success')
        self.servers('172.31.250.1', 443)
        self.assertEqual(
            self.connect(d, 2, ('80', 'tcp', '172.31.250.1', 80), ('443', 'tcp', '172.31.250.1', 443)),
            {'80': 'open', '443': 'ECONNREFUSED'},
        )

    def name_server(self, address, number):
        """Says of each name that it is 203.0.113.NUMBER; returns a list that grows with each
        question."""
        udp, asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), []
        udp.bind((address, 53))
        self.addCleanup(udp.close)

        def answer():
            while True:
                try:
                    query, peer = udp.recvfrom(512)
                except OSError:
                    return
                asked.append(peer)
                question = query[12 : query.index(b'\0', 12) + 5]
                head = query[:2] + b'\x81\x80' + query[4:6] + b'\0\1\0\0\0\0'
                udp.sendto(head + question + b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xcb\0\x71' + bytes([number]), peer)

        threading.Thread(target=answer, daemon=True).start()
        return asked

    def test_dns(self):
        d = self.driver(libexec=self.without_landlock(), subnet='172.31.251.0/24', dns='172.31.251.1')
        self.check(d.run(1, ECHO), 'success')
        self.name_server('172.31.251.1', 7)
        self.check(d.run(2, RESOLVE), 'success', out=b'203.0.113.7\n')

    def own_etc(self, d, addresses):
        """The resolv.conf of a driver with an /etc of its own is another file from now on."""
        with open(self.etc + '/resolv.conf.new', 'w') as f:
            f.writelines('nameserver %s\n' % address for address in addresses)
        os.rename(self.etc + '/resolv.conf.new', self.etc + '/resolv.conf')

    def test_name_servers_of_the_host_that_change(self):
        """Next job, next name server: in a sandbox that is there, and in a job that runs. The
        former one is closed."""
        self.etc = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.etc)
        for name in ('passwd', 'group', 'nsswitch.conf', 'ld.so.cache', 'hosts'):
            shutil.copy('/etc/' + name, self.etc)
        self.own_etc(None, ['172.31.254.1'])
        d = self.driver(
            libexec=self.without_landlock(),
            subnet='172.31.254.0/24',
            dns='',
            through=('unshare', '-m', 'sh', '-c', 'mount --bind "$0" /etc && exec "$@"', self.etc),
        )
        self.check(d.run(1, ECHO), 'success')
        first = self.name_server('172.31.254.1', 1)
        self.check(d.run(2, RESOLVE), 'success', out=b'203.0.113.1\n')
        self.assertTrue(first)
        subprocess.run(['ip', 'addr', 'add', '172.31.255.1/32', 'dev', self.bridge()], check=True)
        second = self.name_server('172.31.255.1', 2)
        d.job(3, RESOLVE_UNTIL, payload='203.0.113.2', timeout=WAIT)
        d.running(3)
        self.own_etc(d, ['172.31.255.1'])
        self.check(d.run(4, RESOLVE), 'success', out=b'203.0.113.2\n')
        self.assertTrue(second)
        self.check(d.done(3), 'success')
        self.assertEqual(d.places[2], d.places[4], 'a sandbox that was there serves on')
        del first[:]
        self.check(d.run(5, ASK, payload='172.31.254.1'), 'success', out=b'refused\n')
        self.assertEqual(first, [])
        self.assertEqual(d.describe()['name_servers'], '172.31.255.1')
        self.own_etc(d, [])  # none is no reason to forget one that answers
        self.check(d.run(6, RESOLVE), 'success', out=b'203.0.113.2\n')
        self.own_etc(d, ['172.31.255.1', '172.31.254.1'])
        self.assertEqual(d.describe()['name_servers'], '172.31.255.1, 172.31.254.1')
        self.check(d.run(7, RESOLVE), 'success', out=b'203.0.113.2\n')

    def test_rules_come_back(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        plain = [n for n in tables() if not n.endswith('_own')]
        self.assertEqual((len(tables()), len(plain)), (2, 1))
        subprocess.run(['nft', 'delete', 'table', 'inet', plain[0]], check=True)
        wait_for('the table to come back', lambda: plain[0] in tables(), 2)
        subprocess.run(['nft', 'flush', 'chain', 'inet', plain[0], 'from_sandbox'], check=True)
        wait_for(
            'the rules to come back',
            lambda: 'goto refuse'
            in subprocess.run(
                ['nft', 'list', 'chain', 'inet', plain[0], 'from_sandbox'],
                stdout=subprocess.PIPE,
                universal_newlines=True,
            ).stdout,
            2,
        )
        wait_for('the count', lambda: int(d.describe()['wall_restored']) >= 2, 5)
        # the helper is killed: the plain table holds, a new helper takes over
        helper = self.helper(d)
        os.kill(helper, signal.SIGKILL)
        wait_for('another helper', lambda: self.helper(d) not in (None, helper), 10)
        wait_for('the wall to be up', lambda: d.describe()['wall'].startswith('up'), 10)
        self.assertIn(plain[0], tables())
        self.check(d.run(2, ECHO), 'success')
        self.assertEqual(d.end(), 0)
        nothing_left(lambda: (tables(),))

    def helper(self, d):
        """Its process id, or None."""
        children = subprocess.run(
            ['ps', '--ppid', str(d.process.pid), '-o', 'pid=,stat='], stdout=subprocess.PIPE, universal_newlines=True
        ).stdout.splitlines()
        living = [int(line.split()[0]) for line in children if 'Z' not in line]
        self.assertLess(len(living), 2)
        return living[0] if living else None

    def test_a_helper_that_has_just_ended_leaves_no_rules(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        os.kill(self.helper(d), signal.SIGKILL)
        self.assertEqual(d.end(), 0)
        nothing_left(lambda: (tables(),))

    def test_no_wall_no_jobs(self):
        folder = self.without_landlock()
        with open(folder + '/portwall', 'w') as f:
            f.write('#!/bin/sh\nread line\necho "error other nothing works today"\nsleep 1\n')
        d = self.driver(libexec=folder)
        d.job(1, ECHO)
        wait_for('the reason', lambda: 'nothing works today' in d.describe()['problem'], 10)
        self.assertEqual((d.places, containers()), ({}, []))

    def test_a_helper_that_ends_says_how(self):
        folder = self.without_landlock()
        for end, told, remedy in (
            ('kill -SEGV $$', r'ended by signal 11 \(Segmentation fault\)', 'report it'),
            ('kill -KILL $$', r'ended by signal 9 \(Killed\)', 'memory'),
            ('kill -SYS $$', 'ended by signal 31', 'netlink'),
            ('exit 7', 'ended with status 7', 'log'),
        ):
            with self.subTest(end):
                with open(folder + '/portwall', 'w') as f:
                    f.write('#!/bin/sh\nread line\n%s\n' % end)
                d = self.driver(libexec=folder)
                wait_for('the reason', lambda: re.search(told, d.describe()['wall']), 30)
                self.assertRegex(d.tail(), 'port wall: [^\n]*%s[^\n]*%s' % (told, remedy))
                d.end()

    def test_no_network(self):
        d = self.driver(network='none')
        result = d.run(1, 'import socket\nsocket.create_connection(("192.0.2.1", 80), 2)')
        self.check(result, 'failure', status=1)
        self.assertRegex(result.err, b'unreachable|Permission')
        self.assertEqual(tables(), [])


class Settings(Case):
    def refused(self, **options):
        d = self.driver(expect='refused', **options)
        return d.first

    def test_bad_options(self):
        for options, word in (
            ({'ports': '80,8080'}, "port '8080' cannot be opened"),
            ({'network': 'host'}, "use 'bridge' or 'none'"),
            ({'nonsense': '1'}, "unknown key 'nonsense'"),
            ({'dns': 'localhost'}, 'not an IP address'),
            ({'allow_networks': '10.0.0.0/33'}, 'not a network'),
            ({'cpus': '0'}, 'not a number of CPUs'),
            ({'image': 'a b'}, 'not a name'),
            ({'reuse': 'always'}, "neither 'script' nor 'never'"),
            ({'preload': 'os;system'}, 'not the name of a Python module'),
            ({'idle_timeout': 'x'}, 'idle_timeout'),
        ):
            text = self.refused(**options)
            self.assertIn(word, text)
            self.assertIn('driver.ini:', text)

    def test_missing_image(self):
        self.assertIn(
            'image nobody/has-this:1 not found: build it with build-image, of the folder lib/listenerd',
            self.refused(image='nobody/has-this:1'),
        )

    def test_image_that_is_made_again(self):
        """Under the same name: whoever has no job is replaced, a job that runs goes on."""
        tag = 'listener-sandbox-test:%d' % os.getpid()
        self.addCleanup(docker, 'rmi', '-f', tag)

        def image():
            return docker('image', 'inspect', '-f', '{{.Id}}', tag).stdout.strip()

        def image_of(job):
            return inspect(container_of(d.places[job]))['Image']

        def make(mark):
            made = docker('create', '--label', 'org.indigo.listener=' + LISTENER, 'listener-sandbox:latest')
            docker('commit', '-c', 'LABEL mark=' + mark, made.stdout.strip(), tag)
            docker('rm', made.stdout.strip())
            return image()

        first = make('one')
        d = self.driver(image=tag, network='none', pool_min=1)
        self.check(d.run(1, ECHO), 'success')
        self.assertEqual(image_of(1), first)
        self.assertEqual(d.describe()['image_id'], first)
        d.job(2, sleeper(3))
        d.running(2)
        second = make('two')
        self.assertNotEqual(first, second)
        wait_for('the new image', lambda: d.describe()['image_id'] == second)
        self.check(d.run(3, ECHO), 'success')
        self.assertEqual(image_of(3), second)
        wait_for('idle ones of the old image to go', lambda: not there(d.places[1]))
        self.assertEqual(image_of(2), first)
        self.check(d.done(2), 'success', out=b'slept\n')
        wait_for('the last of the old image to go', lambda: not there(d.places[2]))
        self.assertEqual({inspect(c)['Image'] for c in containers()}, {second})
        self.assertEqual(d.describe()['problem'], 'none')

    def test_missing_files(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.assertIn('sandbox-init', self.refused(libexec=folder))

    def test_engine_comes_later(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        d = self.driver(socket=folder + '/docker.sock')
        d.job(1, ECHO)
        self.assertIn('waiting for the engine', d.describe()['state'])
        os.symlink(SOCKET, folder + '/docker.sock')
        self.check(d.done(1), 'success')
        os.unlink(folder + '/docker.sock')

    def test_what_it_says(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        said = d.describe()
        self.assertEqual(
            (said['state'], said['problem'], said['image'], said['jobs']),
            ('up', 'none', 'listener-sandbox:latest', '1'),
        )
        # whether the machine forwards packets is not this test's to set
        failures = [text for level, text in d.probe() if level > 1 and 'forwards no packets' not in text]
        self.assertEqual(failures, [])


DESK = '''import io, json, multiprocessing, os, socket, subprocess, sys, tempfile, time


def said(function):
    try:
        return repr(function())
    except BaseException as e:
        return type(e).__name__


def through_a_pipe():
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=there.send, args=(os.getpid(),))
    child.start()
    child.join()
    return here.recv() == os.getpid()


def seek():
    try:
        return sys.stdin.seek(0)
    except (OSError, io.UnsupportedOperation):
        return 'no'


print(json.dumps({
    'arguments': sys.argv[1:],
    'event': sys.stdin.read(),
    'seek': said(seek),
    'own file': said(lambda: open(__file__)),
    'own folder': said(lambda: os.listdir('.')),
    'user': said(lambda: (os.getuid(), os.geteuid())),
    'file': said(lambda: open('x', 'w')),
    'temporary file': said(tempfile.TemporaryFile),
    'lock': said(multiprocessing.Lock),
    'pool': said(lambda: multiprocessing.Pool(1)),
    'process': said(through_a_pipe),
    'subprocess': said(lambda: subprocess.check_output(['echo', 'x'])),
    'pair': said(lambda: len(socket.socketpair())),
    'listening': said(lambda: socket.socket().listen()),
    'zone': time.tzname,
    'modules': said(lambda: [__import__(m).__name__ for m in ('requests', 'requests_oauthlib', 'oauthlib')]),
    'a module that is not there': said(lambda: __import__('oauth2')),
    'input': said(input),
}))
'''


class Manual(Case):
    maxDiff = None

    def test_what_differs_from_your_own_machine(self):
        """docs/scripts.md, row by row."""
        result = self.driver().run(1, DESK, payload='{}', topic='create/resource/test/x', name='a')
        self.check(result, 'success')
        self.assertEqual(
            json.loads(result.out.decode()),
            {
                'arguments': ['create/resource/test/x', '{}'],
                'event': '{}',
                'input': 'EOFError',
                'seek': "'no'",
                'own file': 'FileNotFoundError',
                'own folder': '[]',
                'user': '(65534, 65534)',
                'file': 'OSError',
                'temporary file': 'FileNotFoundError',
                'lock': 'FileNotFoundError',
                'pool': 'FileNotFoundError',
                'process': 'True',
                'subprocess': "b'x\\n'",
                'pair': '2',
                'listening': 'PermissionError',
                'zone': ['UTC', 'UTC'],
                'modules': "['requests', 'requests_oauthlib', 'oauthlib']",
                'a module that is not there': 'ModuleNotFoundError',
            },
        )


class Probe(Case):
    """What `listenerctl doctor` shows. 0 ok, 1 warning, 2 failure."""

    def lines(self, d):
        began = time.monotonic()
        lines = d.probe()
        self.assertLess(time.monotonic() - began, 20)
        for level, text in lines:
            self.assertEqual(level > 0, ' - ' in text, text)
        return lines

    def find(self, lines, word, level):
        found = [text for at, text in lines if word in text and at == level]
        self.assertEqual(len(found), 1, lines)
        return found[0]

    def test_open_and_closed(self):
        d = self.driver()
        lines = self.lines(d)
        self.assertIn('live-restore', self.find(lines, 'engine "', 0))
        self.assertRegex(self.find(lines, 'runs Python', 0), r'Python 3\.\d+')
        self.assertIn('TCP port 80', self.find(lines, 'is open', 0))
        self.assertIn('EACCES, by Landlock', self.find(lines, 'TCP port 1883', 0))
        self.find(lines, 'UDP is closed', 0)
        self.find(lines, 'Landlock ABI', 0)
        self.find(lines, 'port wall: up', 0)
        wait_for('the sandbox of the trial to go', lambda: d.describe()['sandboxes'].split()[2] != '0')
        self.check(d.run(1, ECHO), 'success')
        self.lines(d)
        self.assertEqual(d.end(), 0)
        nothing_left(lambda: (containers(), tables()))

    def test_modules_the_image_lacks(self):
        d = self.driver(network='none', preload='json, no_such_module')
        self.assertIn('no Python module no_such_module', self.find(self.lines(d), 'preloaded', 1))

    def test_in_the_middle(self):
        d = self.driver()
        d.send('probe')
        time.sleep(1)
        self.assertEqual(d.end(), 0)
        # free() does not wait for a slow engine
        wait_for('the containers to go', lambda: not containers())

    def test_a_silent_engine(self):
        """It runs, so the remedy is not to start it."""
        with socket.socket(socket.AF_UNIX) as silent, tempfile.TemporaryDirectory() as folder:
            silent.bind(folder + '/sock')
            silent.listen(16)
            text = self.find(self.lines(self.driver(socket=folder + '/sock')), 'does not answer', 2)
            self.assertIn('journalctl -u docker', text)

    def test_what_this_kernel_does_not_count(self):
        """Buffers of sockets: what is asked for, what came of it, what is said of it."""
        d = self.driver(network='none')
        path = '/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes'
        seen = d.run(1, 'import os\nprint(open("%s").read() if os.path.exists("%s") else 0)' % (path, path))
        limit, told = int(seen.out), [text for level, text in d.probe() if 'buffers of sockets' in text]
        self.assertEqual(len(told), 1 if limit > 1 << 50 else 0, told)
        if limit:
            asked = docker('inspect', '-f', '{{.HostConfig.KernelMemoryTCP}}', *containers()).stdout.split()
            self.assertTrue(all(int(number) > 1 << 20 for number in asked), asked)

    def test_hole(self):
        """A wall that leaks is found: rules of the host's own let a closed port through, and init
        asks for too many."""
        folder = Wall.without_landlock(self)
        with open(folder + '/portwall', 'w') as f:
            f.write('#!/bin/sh\nread line\necho "ok up and full of holes"\nread line\n')
        lines = self.lines(self.driver(libexec=folder))
        self.find(lines, 'TCP port 1883', 2)
        self.find(lines, 'UDP port 1883', 2)

    def test_refused_by_the_host(self):
        d = self.driver(libexec=Wall.without_landlock(self), subnet='172.31.249.0/24')
        self.check(d.run(1, ECHO), 'success')
        rules = (
            'table inet %s_test { chain input { type filter hook input priority -300; ip saddr 172.31.249.0/24 tcp dport 80 reject with tcp reset; }; }'
            % LISTENER
        )
        subprocess.run(['nft', '-f', '-'], input=rules, universal_newlines=True, check=True)
        self.addCleanup(subprocess.run, ['nft', 'delete', 'table', 'inet', LISTENER + '_test'])
        self.assertIn('ECONNREFUSED', self.find(self.lines(d), 'should be open', 2))
        self.assertIn('by the port wall', self.find(self.lines(d), 'TCP port 1883', 0))

    def test_no_network(self):
        lines = self.lines(self.driver(network='none'))
        self.find(lines, 'no network', 0)
        self.find(lines, 'runs Python', 0)

    def test_all_busy(self):
        d = self.driver(pool_max=1)
        d.job(1, sleeper(40), timeout=60)
        d.running(1)
        self.find(self.lines(d), 'no sandbox became free in time', 2)
        d.send('cancel', 1)
        self.check(d.done(1), 'cancelled')

    def test_engine_away(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.find(self.lines(self.driver(socket=folder + '/none.sock')), 'engine at', 2)
        deaf = socket.socket(socket.AF_UNIX)
        self.addCleanup(deaf.close)
        deaf.bind(folder + '/deaf.sock')
        deaf.listen(8)
        self.find(self.lines(self.driver(socket=folder + '/deaf.sock')), 'engine at', 2)


HOSTILE = '''#!/usr/bin/python3
import array, os, socket, struct, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("/listener-control/socket")
def frame(kind, body=b"", magic=0x4c534231, size=None, version=1):
    return struct.pack("=IHHII", magic, kind, version, 16 + len(body) if size is None else size, 0) + body
def hello(state=0, job=0):
    return frame(1, struct.pack("=IIIIQQ", state, 0x3f, 7, 1, job, 0))
def result(job, outcome=0, status=0, signal=0, clean=1, out=0, err=0, message=b"ok"):
    return frame(3, struct.pack("=QIiiIIIQQQQQQQ128s", job, outcome, status, signal, 0, 0, clean, 1, 2, 3, 4, 5, out, err, message))
def send(data, *fds):
    s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
def begin():
    send(hello()); send(frame(2))
    run = s.recv(1 << 18)
    return struct.unpack_from("=Q", run, 16)[0]
def memfd(data, seal=True):
    import fcntl
    fd = os.memfd_create("x", 2)
    os.write(fd, data)
    if seal:
        fcntl.fcntl(fd, 1033, 15)
    return fd
%s
time.sleep(60)
'''


HOSTILE_END = '#!/usr/bin/python3\n%s\n'


class Hostile(Case):
    """The other direction: a sandbox whose init is the enemy's."""

    def libexec(self, body, text=HOSTILE):
        return init_of(self, text % body)

    def fate(self, body, **kw):
        d = self.driver(libexec=self.libexec(body), network='none')
        result = d.run(1, ECHO, **kw)
        fds = len(os.listdir('/proc/%d/fd' % d.process.pid))
        self.assertLess(fds, 60)
        self.assertEqual(d.end(), 0)
        return result

    def test_what_it_may_do(self):
        self.check(
            self.fate('j = begin()\nsend(result(j, out=3, err=0), memfd(b"abc"), memfd(b""))'), 'success', out=b'abc'
        )

    def test_frames(self):
        for body in (
            'begin(); send(b"x")',
            'begin(); send(frame(3))',
            'begin(); send(b"y" * 100000)',
            'begin(); send(frame(9))',
            'begin(); send(hello(magic=1) if 0 else frame(1, b"", magic=7))',
            'j = begin(); send(result(j + 1))',
            'j = begin(); send(result(j, outcome=10), memfd(b""), memfd(b""))',
            'j = begin(); send(result(j, outcome=77), memfd(b""), memfd(b""))',
            'j = begin(); send(result(j, outcome=0, status=3), memfd(b""), memfd(b""))',
            'j = begin(); send(result(j))',
            'j = begin(); send(result(j, out=10, message=b"m" * 128), memfd(b"0123456789"), memfd(b""))',
            'j = begin(); send(result(j, out=1 << 60), memfd(b"abc"), memfd(b""))',
            'j = begin(); send(result(j, out=3), memfd(b"abc", False), memfd(b""))',
            'j = begin(); send(result(j), os.open("/dev/zero", 0), memfd(b""))',
            'j = begin(); r, w = os.pipe(); send(result(j, out=1), r, r)',
            'j = begin(); send(result(j), *[memfd(b"") for i in range(3)])',
            'j = begin(); send(result(j), *[memfd(b"") for i in range(60)])',
            'j = begin(); send(hello(1, j + 5))',
            'j = begin(); send(frame(64, b"z" * 200))',
            'j = begin(); send(frame(3, version=2))',
        ):
            with self.subTest(body):
                self.check(self.fate(body, timeout=20), 'lost')

    def test_twice_is_once(self):
        d = self.driver(
            libexec=self.libexec(
                'j = begin()\nsend(result(j), memfd(b""), memfd(b""))\nsend(result(j), memfd(b""), memfd(b""))\n'
                's.recv(100)\nsend(result(j), memfd(b""), memfd(b""))'
            ),
            network='none',
        )
        self.check(d.run(1, ECHO), 'success')
        wait_for('it to be given up', lambda: not there(d.places[1]))

    def test_floods(self):
        for body in (
            'begin()\nwhile True: send(frame(2))',
            'begin()\nwhile True:\n  s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n  s.connect("/listener-control/socket")\n',
        ):
            with self.subTest(body):
                self.assertIn(self.fate(body, timeout=3).outcome, ('lost', 'timeout'))

    def test_output_again_on_each_connection(self):
        """What breaks is begun anew, and counted anew."""
        body = '''import fcntl
j = begin()
for n in range(20):
    for stream in (0, 1):
        for size in (32768, 32768, 0):
            send(frame(4, struct.pack("=QII", j, stream, 0) + b"o" * size, version=3))
    while fcntl.ioctl(s, 0x5411, bytes(4)) != bytes(4):  # SIOCOUTQ: not read yet
        time.sleep(0.001)
    if n < 19:
        s.close()
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect("/listener-control/socket")
        send(hello(2, j))
send(result(j, out=65536, err=65536))'''
        self.check(self.fate(body, timeout=20), 'success', out=b'o' * 65536)

    def test_end_without_a_word(self):
        """Its init ends before it connects: seen soon, not when the time for a start is over."""
        d = self.driver(libexec=self.libexec('', HOSTILE_END), network='none', start_timeout='60s')
        d.job(1, ECHO)
        wait_for('it to be given up', lambda: 'stopped' in d.describe()['problem'], 10)
        self.assertEqual(d.end(), 0)

    def test_silence(self):
        self.check(self.fate('begin()', timeout=1), 'timeout')


setUpModule = need_image


if __name__ == '__main__':
    unittest.main(verbosity=2)
