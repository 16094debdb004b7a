"""The port wall under fire: the whole rule set flushed and the engine restarted while jobs try
closed ports, all in a namespace of the test's own, with a capture in the outside world: not one
packet may get there but to the open ports. And the wall's manners: what it leaves behind, what it
leaves alone."""
import json
import os
import socket
import subprocess
import threading
import time

import harness
import world as worlds
from harness import check, equal

OPEN = {80, 443, 21, 22, 25, 587, 465}
# Tries without pause, TCP and UDP, closed ports and one that is open, until its time is up; prints
# what got an answer.
KNOCK = r'''
import json, socket, sys, time
want = json.load(sys.stdin)
end, number, through = time.time() + want['seconds'], 0, set()
while time.time() < end:
    for port in want['tcp'] + [80]:
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((want['host'], port))
        time.sleep(0.001)
        try:
            s.getpeername()
            through.add(port)
        except OSError:
            pass
        s.close()
        number += 1
    for port in want['udp']:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
            try:
                u.sendto(b'x', (want['host'], port))
            except OSError:
                pass
        number += 1
print(json.dumps({'tries': number, 'through': sorted(through)}))
'''


def set_up(t, engine_args='', **docker):
    world = worlds.World(t, engine_args)
    outside = worlds.Outside(world, 20)
    web = world.in_outside(lambda: listen(80))
    t.stack.callback(web.close)
    broker = t.broker()
    daemon = t.listener(
        broker,
        docker=dict({'socket': world.socket, 'dns': worlds.OUTSIDE, 'pool_min': 2, 'start_timeout': '60s'}, **docker),
        ini={'limits': {'timeout': '1min', 'timeout_max': '1min'}},
    ).start()
    daemon.script('knock.py', KNOCK, topic='create/#', output='capture', timeout='1min')
    return world, outside, broker, daemon


def listen(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((worlds.OUTSIDE, port))
    s.listen(128)
    return s


def knock(broker, outside, number, seconds):
    broker.publish(
        'create/resource/%d' % number,
        json.dumps(
            {'host': worlds.OUTSIDE, 'tcp': outside.tcp[:10], 'udp': outside.udp + [53, 123], 'seconds': seconds}
        ).encode(),
    )


def knock_without_landlock(t, daemon, outside, seconds):
    """The same from an ordinary container in the sandboxes' network: there the wall stands alone.
    Its process."""
    network = t.wait(
        lambda: harness.docker(
            'network', 'ls', '--filter', 'label=org.indigo.listener=' + daemon.identity, '--format', '{{.Name}}'
        ).strip(),
        'the network of the sandboxes',
    )
    process = t.process(
        'docker',
        '-H',
        'unix://' + harness.DOCKER_SOCKET,
        'run',
        '--rm',
        '-i',
        '--network',
        network,
        '--entrypoint',
        'python3',
        'listener-sandbox:latest',
        '-c',
        KNOCK,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdin.write(
        json.dumps(
            {'host': worlds.OUTSIDE, 'tcp': outside.tcp[:10], 'udp': outside.udp + [53, 123], 'seconds': seconds}
        ).encode()
    )
    process.stdin.close()
    return process


def leaks(capture):
    """What arrived that should not have: not ICMP and the like of the host itself, which the kernel
    sends by its own will (protocol 58: neighbours)."""
    return {
        key: n
        for key, n in capture.seen.items()
        if not (key[0] == 6 and key[1] in OPEN) and key != (17, 53) and key[0] not in (0, 2, 58)
    }


def rules():
    return subprocess.run(['nft', 'list', 'ruleset'], stdout=subprocess.PIPE).stdout.decode()


def test_nothing_leaves_while_the_firewall_is_flushed(t):
    world, outside, broker, daemon = set_up(t)
    capture = worlds.Capture(world)
    alone = knock_without_landlock(t, daemon, outside, 10)
    for number in range(2):
        knock(broker, outside, number, 8)
    t.wait(lambda: capture.seen.get((6, 80)), 'the first packet to port 80', 60)
    flushes = 0
    end = time.monotonic() + 6
    while time.monotonic() < end:
        subprocess.run(['nft', 'flush', 'ruleset'], check=True)
        flushes += 1
        time.sleep(0.05)
    jobs = daemon.wait_jobs(2, 90)
    check_knocks(daemon, jobs)
    seen = json.loads(alone.stdout.read())
    check(set(seen['through']) == {80} and seen['tries'] > 100, 'without Landlock: %r' % seen)
    capture.stop()
    print('     %d flushes, arrived outside: %s' % (flushes, capture.seen), flush=True)
    check(not leaks(capture), 'packets got out: %r' % leaks(capture))
    check(flushes > 20, 'hardly any flush')
    t.wait(lambda: 'table inet listenerd_' in rules(), 'the plain table to be back')


def check_knocks(daemon, jobs):
    for job in jobs:
        equal(job['outcome'], 'success', job['message'])
        seen = json.loads(daemon.output(job['id']).decode())
        check(set(seen['through']) <= {80}, 'a script was let through: %r' % seen)
        check(seen['tries'] > 100, 'hardly any try: %r' % seen)


def test_nothing_leaves_while_the_engine_restarts(t):
    """An engine that manages the firewall itself, restarted under running jobs, and all rules
    flushed while it is away: the jobs are lost, or live on; new ones run afterwards."""
    world, outside, broker, daemon = set_up(t, '--iptables=true')
    capture = worlds.Capture(world)
    knock(broker, outside, 0, 20)
    t.wait(lambda: capture.seen.get((6, 80)), 'the first packet to port 80', 60)
    world.restart_engine(lambda: subprocess.run(['nft', 'flush', 'ruleset'], check=True))
    t.wait(lambda: daemon.jobs()[-1]['state'] in ('finished', 'lost'), 'the first job to end', 90)
    print(
        '     the job under the restart: %s' % (daemon.jobs()[-1]['outcome'] or daemon.jobs()[-1]['state']), flush=True
    )
    knock(broker, outside, 1, 3)
    check_knocks(daemon, [job for job in daemon.wait_jobs(2, 120) if job['topic'] == 'create/resource/1'])
    capture.stop()
    check(not leaks(capture), 'packets got out: %r' % leaks(capture))


ASK = r'''
import json, socket, struct, sys
seen = []


def ask(kind, server, name, record):
    question = b'\x12\x34\x01\0\0\1\0\0\0\0\0\0' + b''.join(bytes([len(w)]) + w for w in name.encode().split(b'.'))
    question += b'\0' + struct.pack('>HH', record, 1)
    try:
        with socket.socket(socket.AF_INET, kind) as s:
            s.settimeout(2)
            s.connect((server, 53))
            s.send((struct.pack('>H', len(question)) if kind == socket.SOCK_STREAM else b'') + question)
            if s.recv(100):
                seen.append('%s answers %s for %s' % (server, kind, name))
    except OSError:
        pass


try:
    seen.append(socket.gethostbyname('server.test'))
except OSError:
    pass
for server in sys.stdin.read().split():
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        ask(kind, server, 'server.test', 1)
        ask(kind, server, '2.0.0.172.in-addr.arpa', 12)
print(json.dumps(seen))
'''


def resolver_on_loopback(t):
    """What systemd-resolved is: the only name server that this process and its children know.
    Who asks it, by UDP or TCP, is noted."""
    path, asked = os.path.join(t.folder, 'resolv.conf'), []
    with open(path, 'w') as f:
        f.write('nameserver 127.0.0.53\n')
    check(worlds.libc.unshare(0x20000) == 0, 'no mount namespace of our own')
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)
    subprocess.run(['mount', '--bind', path, os.path.realpath('/etc/resolv.conf')], check=True)
    t.stack.callback(lambda: subprocess.run(['umount', os.path.realpath('/etc/resolv.conf')], check=True))
    return asked


def note_questions(t, asked):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        s = socket.socket(socket.AF_INET, kind)
        s.bind(('127.0.0.53', 53))
        if kind == socket.SOCK_STREAM:
            s.listen(8)
        threading.Thread(target=answer_questions, args=(s, asked), daemon=True).start()
        t.stack.callback(s.close)


def answer_questions(s, asked):
    while True:
        try:
            if s.type == socket.SOCK_STREAM:
                asked.append(s.accept()[1])
                continue
            question, peer = s.recvfrom(2000)
            asked.append(peer)
            s.sendto(question[:2] + b'\x81\x80' + question[4:], peer)
        except OSError:
            return


def test_no_name_by_any_way(t):
    """The only name server of this host is on loopback, where no sandbox may ask: nothing asks for
    it either."""
    asked = resolver_on_loopback(t)
    world = worlds.World(t)
    note_questions(t, asked)
    broker = t.broker()
    daemon = t.listener(
        broker, docker={'socket': world.socket, 'pool_min': 1}, ini={'limits': {'timeout_max': '1min'}}
    ).start()
    daemon.script('ask.py', ASK, topic='create/#', output='capture', timeout='50s')
    network = t.wait(
        lambda: harness.docker(
            'network', 'ls', '--filter', 'label=org.indigo.listener=' + daemon.identity, '--format', '{{.Name}}'
        ).strip(),
        'the network of the sandboxes',
    )
    gateway = harness.docker('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', network).strip()
    servers = '127.0.0.11 127.0.0.53 127.0.0.1 ' + gateway
    broker.publish('create/resource/1', servers.encode())
    job = daemon.wait_jobs(1, 120)[0]
    equal(job['outcome'], 'success', job['message'])
    equal(json.loads(daemon.output(job['id']).decode()), [], 'answers')
    equal(asked, [], 'questions to the name server of the host')
    plain = ['docker', '-H', 'unix://' + world.socket, 'run', '--rm', '-i', '--network', network]
    plain += ['--entrypoint', 'python3', 'listener-sandbox:latest', '-c', ASK]
    done = subprocess.run(plain, input=servers.encode(), stdout=subprocess.PIPE)
    check(json.loads(done.stdout.decode()), 'an ordinary container gets no answer either: this shows nothing')


def test_doctor_says_that_nothing_is_forwarded(t):
    """In a namespace of the test's own, as everything here."""
    daemon = set_up(t, pool_min=1)[3]

    def failures():
        return [
            row for row in ctl_anyhow(daemon, 'doctor') if row.get('level') == 'failure' and 'ip_forward' in row['what']
        ]

    equal(failures(), [], 'complaints while packets are forwarded')
    with open('/proc/sys/net/ipv4/ip_forward', 'w') as f:
        f.write('0')
    found = failures()
    equal(len(found), 1, 'complaints while none is')
    check('sysctl' in found[0]['remedy'], found)


def ctl_anyhow(daemon, *words):
    """Rows of listenerctl --json, whatever its status: doctor's is 1 if it found a failure."""
    return [json.loads(line) for line in daemon.ctl_run('--json', *words).stdout.decode().splitlines()]


def test_no_wall_no_sandbox(t):
    """Rules that cannot be put back: nothing starts. The helper killed: they stay, and it comes
    again."""
    world, outside, broker, daemon = set_up(t)
    knock(broker, outside, 0, 1)
    check_knocks(daemon, daemon.wait_jobs(1, 60))
    before = rules()
    helper = subprocess.run(['pgrep', '-P', str(daemon.process.pid), 'portwall'], stdout=subprocess.PIPE).stdout.split()
    equal(len(helper), 1, 'helpers of this daemon')
    os.kill(int(helper[0]), 9)
    check('table inet listenerd_' in rules(), 'with the helper the rules have gone')
    daemon.wait_log('the helper portwall has ended')
    knock(broker, outside, 1, 1)
    check_knocks(daemon, daemon.wait_jobs(2, 60))
    check(before.count('table inet') == rules().count('table inet'), 'tables pile up: ' + rules())


def test_sandboxes_that_could_meet_are_not_made(t):
    """Where bridged frames pass no hook of ours nothing would keep neighbours apart: the wall says
    so and does not count as up."""
    world = worlds.World(t)
    before = [open('/proc/sys/net/bridge/bridge-nf-call-' + name).read().strip() for name in ('iptables', 'ip6tables')]
    for name in ('iptables', 'ip6tables'):
        with open('/proc/sys/net/bridge/bridge-nf-call-' + name, 'w') as f:
            f.write('0')
    daemon = t.listener(t.broker(), docker={'socket': world.socket, 'dns': worlds.OUTSIDE}).start()
    found = daemon.wait_log('sandboxes could reach each other|port wall up .*bridge-table=yes', 30)
    if 'bridge-table=yes' in found.group(0):
        raise harness.Skip('this kernel has tables for bridges: they keep neighbours apart by themselves')
    check(
        not harness.docker('ps', '-aq', '--filter', 'label=org.indigo.listener=' + daemon.identity).split(),
        'a sandbox was made',
    )
    equal(before, ['1', '1'])


def test_leaves_the_hosts_rules_alone(t):
    world, outside, broker, daemon = set_up(t)
    subprocess.run(
        [
            'nft',
            'add table inet mine; add chain inet mine c { type filter hook forward priority 0 ; policy accept ; }; '
            'add rule inet mine c tcp dport 8080 counter accept',
        ],
        check=True,
    )
    knock(broker, outside, 0, 1)
    check_knocks(daemon, daemon.wait_jobs(1, 60))
    daemon.stop()
    left = rules()
    check('listenerd_' not in left, 'rules were left behind: ' + left)
    check('table inet mine' in left and 'dport 8080' in left, 'the rules of the host have changed: ' + left)


if __name__ == '__main__':
    harness.main()
