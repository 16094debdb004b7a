"""steps.py - what is proved in the virtual machine, step by step. Each step is a function that
raises Failed.

The witness outside counts each run of a script: its begin and its end."""
import json
import os
import re
import time

from machine import Failed
from witness import ADDRESS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = '/var/lib/listenerd/scripts/'
LIFE = (
    '''import json, sys, time, urllib.request
event = json.load(sys.stdin)["post"]
def tell(what):
    body = ("%%s %%s" %% (what, event["name"])).encode()
    urllib.request.urlopen(urllib.request.Request("http://%s/", body), timeout=60).read()
tell("begin")
time.sleep(event["sleep"])
tell("end")
'''
    % ADDRESS
)
# Emulation is slow: making a sandbox takes many seconds there, and no figure of this file is one of
# speed.
SLOW = '[limits]\ntimeout_max = 10min\n'
EMULATED = SLOW + '[executor docker-sandbox]\nstart_timeout = 5min\nengine_timeout = 5min\nconcurrency = 3\n'


def check(condition, what):
    if not condition:
        raise Failed(what)


class World:
    def __init__(self, suite, machine, witness):
        self.suite, self.machine, self.witness, self.number = suite, machine, witness, 0

    @property
    def native(self):
        return self.machine.accelerator == 'kvm'

    @property
    def slowness(self):
        return 1 if self.native else 10

    def run(self, command):
        return self.machine.run(command)

    def until(self, condition, what, seconds=60):
        """What condition() gives when it is true. A command that fails meanwhile, as listenerctl
        does while the daemon is away, is tried again."""
        end, trouble = time.monotonic() + seconds * self.slowness, ''
        while True:
            try:
                value = condition()
            except Failed as failed:
                value, trouble = None, '; the last failure: %s' % failed
            if value:
                return value
            if time.monotonic() > end:
                raise Failed('waited in vain for %s%s; the journal ends:\n%s' % (what, trouble, self.journal()))
            time.sleep(1 if self.native else 5)  # asking costs an emulated processor a second

    def journal(self, lines=40):
        return self.machine.ssh('sudo journalctl -u listenerd -o short-precise --no-pager -n %d' % lines, True)[1]

    def write(self, path, text):
        """As an administrator does: root's file, with root's mask."""
        self.run("printf '%%s' '%s' | sudo tee %s >/dev/null" % (text.replace("'", "'\\''"), path))

    def ctl(self, words):
        text = self.run('sudo listenerctl --json ' + words)
        return [json.loads(line) for line in text.splitlines() if line.startswith('{')]

    # ----------------------------------------------------------------------------------------- events
    def publish(self, step, count, sleep):
        """COUNT events of their own, in one connection; returns their names."""
        self.number += 1
        names = ['%s-%d-%d' % (step, self.number, i) for i in range(count)]
        lines = ''.join(json.dumps({'pre': {}, 'post': {'name': name, 'sleep': sleep}}) + '\n' for name in names)
        self.run("printf '%%s' '%s' | mosquitto_pub -t create/resource/life/%s-%d -l" % (lines, step, self.number))
        return names

    def begun(self, names):
        return [name for name in names if self.witness.told['begin ' + name]]

    def jobs(self, names):
        topics = {'create/resource/life/' + name.rsplit('-', 1)[0] for name in names}
        return [job for topic in topics for job in self.ctl('jobs --limit 1000 --topic ' + topic)]

    def settled(self, names):
        def ended():
            jobs = self.jobs(names)
            return (
                jobs if len(jobs) >= len(names) and all(job['state'] in ('finished', 'lost') for job in jobs) else None
            )

        return self.until(ended, '%d jobs to end' % len(names), 240)

    def check_each_ran_once(self, names):
        jobs = self.settled(names)
        counts = {what: self.witness.count(what, names) for what in ('begin', 'end')}
        wrong = {
            name: (counts['begin'][name], counts['end'][name])
            for name in names
            if (counts['begin'][name], counts['end'][name]) != (1, 1)
        }
        check(not wrong, 'not begun once and ended once, by the witness: %s\n%s' % (wrong, self.journal()))
        check(len(jobs) == len(names), '%d jobs for %d events' % (len(jobs), len(names)))
        bad = [job for job in jobs if job['outcome'] != 'success']
        check(not bad, 'jobs without success: %s\n%s' % (bad, self.journal()))


# ------------------------------------------------------------------------------------------------------ README
def readme_commands():
    """The lines of "Five minutes", as they stand, without their remarks."""
    with open(os.path.join(ROOT, 'README.md')) as f:
        part = re.search(r'^## Five minutes.*?$(.*?)^## ', f.read(), re.MULTILINE | re.DOTALL).group(1)
    lines = [re.sub(r'\s{2,}# .*', '', line[4:]).rstrip() for line in part.splitlines() if line.startswith('    ')]
    commands = []
    for line in lines:  # a command that ends in | or && or \ goes on in the next line
        unfinished = commands and re.search(r'(\||&&|\\)$', commands[-1])
        commands[-1:] = [commands[-1] + '\n' + line] if unfinished else commands[-1:] + [line]
    return commands


def readme(world):
    """Every line ends well, and the script printed what the README says it prints."""
    before, shell, shown = units(world), world.machine.shell(), ''
    shell.type('cd main')
    for number, line in enumerate(readme_commands()):
        if 'listenerctl jobs' in line:
            world.until(lambda: any(job['state'] == 'finished' for job in world.ctl('jobs')), 'the script to run', 60)
        print('    $ ' + line, flush=True)
        status, text = shell.type(line)
        shown = text if 'listenerctl show' in line else shown
        if status == 2 and 'doctor' in line and not world.native:
            # In emulation the first sandbox takes minutes, and doctor says so.
            world.until(lambda: world.machine.ssh('sudo listenerctl doctor', True)[0] <= 1, 'doctor to find no failure')
            status = 0
        # doctor's 1 is a warning: a machine that has just booted may have no synchronised clock
        # yet.
        check(status == 0 or 'doctor' in line and status == 1, '"%s" ended with status %d' % (line, status))
        if number == 0:
            new = units(world) - before
            check(not new, 'make deps or install left services: %s' % sorted(new))
            if not world.native:
                world.write('/etc/listenerd/conf.d/60-slow.ini', EMULATED)
    shell.close()
    printed = 'create/resource/projects/p1/a.csv a.csv'
    check(printed in shown, '"listenerctl show" does not show what the script printed')
    if world.native:
        world.write('/etc/listenerd/conf.d/60-slow.ini', SLOW)
    world.run('sudo listenerctl reload')
    register(world, 'life.py', LIFE, 'life', '10min')


def units(world):
    """What runs, and what starts at boot."""
    text = world.run(
        'systemctl list-unit-files --state=enabled --no-legend --plain; '
        'systemctl list-units --type=service,socket --state=active --no-legend --plain'
    )
    return {
        line.split()[0]
        for line in text.splitlines()
        if not re.match(r'session-|user@|user-|run-|systemd-|ssh|apt-|man-db', line)
    }


# -------------------------------------------------------------------------------------------- what systemd does
def life(name, act, sleep=20):
    def step(world):
        names = world.publish(name, 200 if world.native else 9, sleep)
        world.until(lambda: len(world.begun(names)) >= (16 if world.native else 3), 'the first runs to begin', 120)
        act(world)
        world.check_each_ran_once(names)

    return name, step


def took(world, command):
    began = time.monotonic()
    world.run(command)
    return time.monotonic() - began


def restart(world):
    seconds = took(world, 'sudo systemctl restart listenerd')
    check(seconds < 10 * world.slowness, 'systemctl restart took %.0f s' % seconds)


def stop_and_start(world):
    seconds = took(world, 'sudo systemctl stop listenerd')
    check(seconds < 10 * world.slowness, 'systemctl stop took %.0f s' % seconds)
    check(world.run('systemctl show listenerd -p Result --value').strip() == 'success', 'the unit did not stop well')
    time.sleep(10)
    world.run('sudo systemctl start listenerd')


def kill(world):
    pid = world.run('systemctl show listenerd -p MainPID --value').strip()
    world.run('sudo kill -9 ' + pid)
    world.until(
        lambda: world.run('systemctl show listenerd -p MainPID --value').strip() not in ('0', pid),
        'systemd to start it again',
    )


def watchdog(world):
    pid = world.run('systemctl show listenerd -p MainPID --value').strip()
    world.run('sudo kill -STOP ' + pid)
    world.until(
        lambda: world.run('systemctl show listenerd -p MainPID --value').strip() not in ('0', pid), 'the watchdog', 120
    )


def failed_start(world):
    """Stop, a configuration that cannot work, a start that fails, mended, start: the reason stands
    in the journal once, at error level."""
    world.run('sudo systemctl stop listenerd')
    world.write('/etc/listenerd/conf.d/99-wrong.ini', '[listener]\ndrain = soon\n')
    began = world.run('date +%s').strip()
    status, _ = world.machine.ssh('sudo systemctl start listenerd', True)
    check(status != 0, 'a broken configuration starts')
    time.sleep(5)
    errors = world.run(
        'sudo journalctl -u listenerd -p err --since @%s -o cat --no-pager | grep 99-wrong.ini || true' % began
    ).splitlines()
    check(
        len(errors) == 1 and '99-wrong.ini:2' in errors[0],
        'the journal says at error level: %s\n%s' % (errors, world.journal()),
    )
    check(world.run('systemctl show listenerd -p NRestarts --value').strip() == '0', 'it was started again')
    world.run(
        'sudo rm /etc/listenerd/conf.d/99-wrong.ini; sudo systemctl reset-failed listenerd; sudo systemctl start listenerd'
    )


def upgrade(world):
    """Another build in the place of the first, while the daemon runs; then a restart."""
    world.run(
        "cd main && sed -i '0,/^## [0-9][0-9.]*/s//## 99.0/' CHANGELOG.md && make all >/dev/null && sudo make install PREFIX=/usr >/dev/null"
    )
    world.run('sudo systemctl restart listenerd')
    version = world.ctl('status')[0]['version']
    check(version == '99.0', 'the version after the upgrade is ' + version)


def reload(world):
    world.run('sudo systemctl reload listenerd')


def reboot(world):
    """Running jobs are lost, and not run again; waiting ones run once."""
    long = world.publish('reboot', 16 if world.native else 3, 500)
    world.until(lambda: len(world.begun(long)) == len(long), 'the first runs to begin', 120)
    running, names = set(long), long + world.publish('waiting', 16, 1)
    world.machine.reboot()
    world.until(lambda: world.run('systemctl is-active listenerd || true').strip() == 'active', 'the service')
    jobs = world.settled(names)
    outcomes = sorted(job['state'] if job['state'] == 'lost' else job['outcome'] for job in jobs)
    begun, ended = world.witness.count('begin', names), world.witness.count('end', names)
    check(all(count <= 1 for count in begun.values()), 'begun more than once: %s' % begun)
    check(len(jobs) == len(names), '%d jobs for %d events' % (len(jobs), len(names)))
    lost = [name for name in names if begun[name] and not ended[name]]
    check(
        set(lost) >= running, 'runs that the reboot ended and that are told otherwise: %s' % sorted(running - set(lost))
    )
    check(
        outcomes.count('lost') == len(lost),
        '%d lost runs by the witness, jobs end as %s\n%s' % (len(lost), outcomes, world.journal()),
    )


# ----------------------------------------------------------------------------------------------- limits, the wall
LIMITS = '''import json, os, sys, time
what = json.load(sys.stdin)["post"]["name"]
if what == "memory":
    held = bytearray()
    while True:
        held += os.urandom(1 << 20)
elif what == "processes":
    children = []
    while True:
        pid = os.fork()
        if pid == 0:
            time.sleep(300)
            os._exit(0)
elif what == "timeout":
    time.sleep(1000)
elif what == "cpu":
    while True:
        pass
elif what == "write":
    for path in ("/tmp/x", "/var/tmp/x", "/dev/shm/x", "/scripts/x", "/x", "/sys/fs/cgroup/cgroup.procs", "/proc/self/oom_score_adj"):
        try:
            open(path, "w").write("1")
            sys.exit("written: " + path)
        except OSError:
            pass
    print(os.getuid(), os.getgid(), open("/proc/self/status").read().split("CapBnd:")[1].split()[0])
'''


def limits(world):
    check(world.run('stat -fc %T /sys/fs/cgroup').strip() == 'cgroup2fs', 'control groups v2 are not alone here')
    register(world, 'limits.py', LIMITS, 'limits')
    wrong = []
    for what, wanted in [
        ('memory', 'memory'),
        ('processes', 'processes'),
        ('timeout', 'timeout'),
        ('write', 'success'),
    ]:
        run = run_of(world, 'limits', what)
        print(
            '    %-10s %s'
            % (what, {key: run.get(key) for key in ('outcome', 'message', 'out', 'duration_usec', 'memory_peak')}),
            flush=True,
        )
        if run['outcome'] != wanted:
            wrong.append('%s ended as %s' % (what, run['outcome']))
    check(not wrong, '; '.join(wrong))


PROBE = '''import socket
for port in (443, 8080, 1883):
    s = socket.socket(); s.settimeout(60)
    try: s.connect(("%s", port)); print(port, "open")
    except OSError as e: print(port, "closed")
'''


def wall(world):
    """Without Landlock before it: a plain container on the sandboxes' network, next to this
    release's own Docker rules."""
    network = world.run('sudo docker network ls --format "{{.Name}}" --filter label=org.indigo.listener').split()[0]
    gateway = json.loads(world.run('sudo docker network inspect ' + network))[0]['IPAM']['Config'][0]['Gateway']
    for port in (443, 8080):
        world.run('sudo systemd-run -q --unit=probe-%d python3 -m http.server -b %s %d' % (port, gateway, port))
    world.write('/tmp/probe.py', PROBE % gateway)

    def probe(when):
        text = world.run(
            'sudo docker run --rm --network %s -v /tmp/probe.py:/probe.py:ro listener-sandbox:latest python3 /probe.py'
            % network
        )
        seen = dict(line.split(' ', 1) for line in text.splitlines())
        print('    %s: %s' % (when, seen), flush=True)
        check(seen == {'443': 'open', '8080': 'closed', '1883': 'closed'}, '%s: %s' % (when, seen))

    try:
        probe('as it is')
        world.run('sudo nft flush ruleset')
        probe('after nft flush ruleset')
        world.run('sudo systemctl restart docker')
        time.sleep(5)
        world.until(lambda: 'up' in world.run('sudo listenerctl executors'), 'the executor')
        world.until(lambda: world.machine.ssh('sudo docker version', True)[0] == 0, 'the engine')
        probe('after systemctl restart docker')
    finally:
        world.run('sudo systemctl stop probe-443 probe-8080')


WHOLE = '''import errno, json, mmap, os, signal, socket, sys
what = json.load(sys.stdin)["post"]["name"]
if what == "crash":
    for i in range(50):
        if os.fork() == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        os.wait()
    os.kill(os.getpid(), signal.SIGSEGV)
elif what == "huge":
    for kind in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
        try:
            mmap.mmap(-1, 2 << 20, flags=kind | mmap.MAP_ANONYMOUS | 0x40000)
            print("taken")
        except OSError as e:
            print(errno.errorcode[e.errno])
elif what == "connections":
    for i in range(30000):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("198.18.%d.%d" % (i // 250 % 250, i % 250 + 1), 80))
        s.close()
    print("tried")
'''
CORES = '/var/tmp/core-helpers'  # a byte for each helper that the kernel started
HELPER = '#!/bin/sh\nprintf x >>%s\n' % CORES
CONNECTIONS = 4096  # the default of the key


def whole_machine(world):
    """What settings of the whole machine lay open: a core_pattern that is a pipe, reserved huge
    pages, a table of connections that one script could fill."""
    world.write('/usr/local/sbin/core-helper', HELPER)
    world.run(
        'sudo chmod 755 /usr/local/sbin/core-helper; sudo touch %s; '
        'sudo sysctl -qw "kernel.core_pattern=|/usr/local/sbin/core-helper" vm.nr_hugepages=16' % CORES
    )
    register(world, 'whole.py', WHOLE, 'whole', '3min')
    helpers_for_crashes(world)
    no_huge_pages(world)
    connections_are_counted(world)


def register(world, name, text, topic, timeout='1min'):
    world.write(
        SCRIPTS + name + '.meta', 'topic = create/resource/%s/#\noutput = capture\ntimeout = %s\n' % (topic, timeout)
    )
    world.write(SCRIPTS + name, text)
    world.until(lambda: [s for s in world.ctl('scripts ' + name) if s['state'] == 'active'], name + ' to be registered')


def run_of(world, topic, name):
    """The last run of the job for this one event."""
    world.run(
        "mosquitto_pub -t create/resource/%s/%s -m '%s'"
        % (topic, name, json.dumps({'pre': {}, 'post': {'name': name}}))
    )
    jobs = 'jobs --topic create/resource/%s/%s' % (topic, name)
    job = world.until(lambda: [j for j in world.ctl(jobs) if j['state'] in ('finished', 'lost')], name, 180)[0]
    return world.ctl('show %d' % job['id'])[0]['runs'][-1]


def helpers_for_crashes(world):
    def helpers():
        return len(world.run('sudo cat ' + CORES))

    world.machine.ssh("python3 -c 'import os; os.kill(os.getpid(), 11)'", True)
    world.until(lambda: helpers() == 1, 'the helper for a crash outside of a sandbox')
    run = run_of(world, 'whole', 'crash')
    check(run['outcome'] == 'signal', 'the crash ended as %s' % run)
    time.sleep(3)
    check(helpers() == 1, 'crashes in a sandbox started %d helpers' % (helpers() - 1))


def no_huge_pages(world):
    take = 'import mmap; mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)'
    world.run("python3 -c '%s'" % take)  # there are some
    run = run_of(world, 'whole', 'huge')
    check(run.get('out', '').split() == ['EPERM', 'EPERM'], 'huge pages: %s' % run)


def connections_are_counted(world):
    def tracked():
        return int(world.run('cat /proc/sys/net/netfilter/nf_conntrack_count'))

    before = tracked()
    run = run_of(world, 'whole', 'connections')
    check('tried' in run.get('out', ''), 'connections: %s' % run)
    more = tracked() - before
    print('    %d connections were tried, %d are tracked' % (30000, more), flush=True)
    # After that many, a twentieth of it each second.
    most = CONNECTIONS * (1 + run['duration_usec'] / 20e6) * 1.1
    check(CONNECTIONS / 2 < more < most, '%d connections are tracked, at most %d may be' % (more, most))


# --------------------------------------------------------------------------------------------- unit, doctor, end
def unit(world):
    text = world.run('systemd-analyze security --no-pager listenerd.service | tail -n 1')
    print('    ' + text.strip(), flush=True)
    level = float(re.search(r'(\d+\.\d)', text).group(1))
    check(level <= 2.0, 'exposure %.1f' % level)


def doctor(world):
    status, text = world.machine.ssh('sudo listenerctl doctor')
    check('does not tell whether the clock' not in text, 'doctor cannot ask for the clock')
    check(status <= 1, 'doctor ended with status %d' % status)
    check(
        'deprecat' not in world.run('sudo journalctl -u docker --no-pager | grep -i "no-new-privileges" || true'),
        'the engine calls an option deprecated',
    )


def uninstall(world):
    world.run('cd main && sudo make uninstall PREFIX=/usr')
    left = world.run(
        'systemctl is-active listenerd || true; ls /usr/sbin/listenerd /usr/bin/listenerctl /usr/lib/listenerd /run/listenerd '
        '/usr/lib/systemd/system/listenerd.service /usr/lib/sysusers.d/listenerd.conf /usr/include/listener 2>/dev/null || true; '
        'sudo docker ps -aq --filter label=org.indigo.listener; pgrep -l listenerd || true; sudo nft list tables | grep listenerd || true'
    )
    check(left.split() == ['inactive'], 'uninstall left: ' + left)
    check(
        world.run('sudo ls /etc/listenerd/listenerd.ini && sudo ls /var/lib/listenerd/journal.db'),
        'uninstall took what is the administrator\'s',
    )


ALL = [
    ('readme', readme),
    ('doctor', doctor),
    life('reload', reload),
    life('restart', restart),
    life('stop_and_start', stop_and_start),
    life('kill', kill),
    life('failed_start', failed_start),
    ('limits', limits),
    ('wall', wall),
    ('whole_machine', whole_machine),
    life('watchdog', watchdog),
    life('upgrade', upgrade),
    ('reboot', reboot),
    ('unit', unit),
    ('uninstall', uninstall),
]
