"""The daemon as a user of its own: no root, the engine's group, CAP_NET_ADMIN in the port wall's
helper alone."""
import os
import shutil
import stat
import subprocess

import harness
import world as worlds
from harness import Skip, check, equal

UID, GID, ENGINE_GID = 61230, 61231, 61232  # nobody has them


def wrapper(uid=UID, gid=GID, more='--inh-caps=-all'):
    return (
        'setpriv --reuid=%d --regid=%d --groups=%d --bounding-set=-all,+net_admin %s' % (uid, gid, ENGINE_GID, more)
    ).split()


def set_up(t, with_capability=True, **ini):
    if not shutil.which('setpriv') or not (shutil.which('setcap') or os.path.exists('/usr/sbin/setcap')):
        raise Skip('setpriv or setcap is missing')
    world = worlds.World(t, '--group=%d' % ENGINE_GID)
    # a private engine's folder; the socket itself is for root and the group
    os.chmod(os.path.dirname(world.socket), 0o755)
    libexec = os.path.join(t.folder, 'libexec')
    shutil.copytree(harness.BUILD + '/libexec', libexec)
    os.chmod(libexec, 0o755)
    if with_capability:
        done = subprocess.run(
            [shutil.which('setcap') or '/usr/sbin/setcap', 'cap_net_admin+ep', libexec + '/portwall'],
            stderr=subprocess.PIPE,
        )
        if done.returncode != 0:
            raise Skip('this file system knows no capabilities: ' + done.stderr.decode())
    broker = t.broker()
    settings = {'listener': {'libexec_dir': libexec}}
    settings.update(ini)
    daemon = t.listener(broker, docker={'socket': world.socket, 'dns': worlds.OUTSIDE}, ini=settings)
    for path in (daemon.folder, daemon.scripts, daemon.state, daemon.modules, daemon.run_dir, daemon.file):
        shutil.chown(path, UID, GID)
    for top, folders, files in os.walk(daemon.modules):
        for name in files:
            shutil.chown(os.path.join(top, name), UID, GID)
    for folder in (t.folder, os.path.dirname(daemon.folder)):
        os.chmod(folder, 0o755)
    daemon.wrapper = wrapper()
    return world, broker, daemon


def capabilities(pid):
    with open('/proc/%s/status' % pid) as f:
        return {
            line.split(':')[0]: int(line.split()[1], 16)
            for line in f
            if line.startswith(('CapEff', 'CapPrm', 'CapAmb'))
        }


def test_serves_without_root(t):
    world, broker, daemon = set_up(t)
    daemon.start()
    daemon.script(
        'who.py',
        'import os\nprint(os.getresuid(), os.getresgid(), os.getgroups())\n',
        topic='create/#',
        output='capture',
    )
    for number in range(3):
        broker.publish('create/resource/%d' % number, b'{}')
    for job in daemon.wait_jobs(3, 60):
        equal(job['outcome'], 'success', job['message'])
        equal(daemon.output(job['id']), b'(65534, 65534, 65534) (65534, 65534, 65534) []\n')
    pid = daemon.process.pid
    equal(os.stat('/proc/%d' % pid).st_uid, UID)
    equal(set(capabilities(pid).values()), {0}, 'capabilities of the daemon')
    helper = subprocess.run(['pgrep', '-P', str(pid), 'portwall'], stdout=subprocess.PIPE).stdout.split()
    equal(len(helper), 1, 'helpers')
    equal(capabilities(helper[0].decode())['CapEff'], 1 << 12, 'capabilities of the helper')
    for folder, _, files in os.walk(daemon.run_dir):
        mode = os.stat(folder).st_mode
        check(not mode & stat.S_IWOTH, '%s can be written by others' % folder)
        if os.path.basename(folder) != os.path.basename(daemon.run_dir) and 'socket' in files:
            check(not mode & 0o007, '%s can be entered by others' % folder)


def test_what_systemd_gives_is_for_the_helper(t):
    """AmbientCapabilities=CAP_NET_ADMIN, as in the unit: the daemon passes it on and does not use
    it itself."""
    world, broker, daemon = set_up(t, with_capability=False)
    daemon.wrapper = wrapper(more='--inh-caps=-all,+net_admin --ambient-caps=-all,+net_admin')
    daemon.start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/1', b'{}')
    equal(daemon.wait_jobs(1, 60)[0]['outcome'], 'success')
    pid = daemon.process.pid
    equal(capabilities(pid)['CapEff'], 0, 'capabilities of the daemon')
    helper = subprocess.run(['pgrep', '-P', str(pid), 'portwall'], stdout=subprocess.PIPE).stdout.split()
    equal(capabilities(helper[0].decode())['CapEff'], 1 << 12, 'capabilities of the helper')


def test_without_the_capability_nothing_runs(t):
    world, broker, daemon = set_up(t, with_capability=False)
    daemon.start()
    daemon.wait_log('port wall: ', 30)
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/1', b'{}')
    daemon.wait_counter('jobs', 1)
    check(
        not harness.docker('ps', '-aq', '--filter', 'label=org.indigo.listener=' + daemon.identity).split(),
        'a sandbox was made without a wall',
    )
    equal(daemon.jobs()[0]['state'], 'queued')


def test_never_as_the_scripts_user(t):
    """A daemon that is nobody could be reached by every script: it must not start sandboxes."""
    world, broker, daemon = set_up(t)
    for path in (daemon.folder, daemon.scripts, daemon.state, daemon.modules, daemon.run_dir, daemon.file):
        shutil.chown(path, 65534, 65534)
    for name in os.listdir(daemon.modules):
        shutil.chown(os.path.join(daemon.modules, name), 65534, 65534)
    daemon.wrapper = wrapper(65534, 65534)
    daemon.start(ready=False)
    daemon.wait_log("the user of scripts", 30)
    t.wait(lambda: daemon.process.poll() is not None, 'the daemon to refuse')
    daemon.process = None


if __name__ == '__main__':
    harness.main()
