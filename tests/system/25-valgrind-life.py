"""A whole life of the daemon - start, run, reload, stop - leaks nothing and reads nothing it should
not. Under valgrind, or in a build with sanitizers under them."""
import re
import shutil

import harness
from harness import check, equal

VALGRIND = [
    'valgrind',
    '--quiet',
    '--leak-check=full',
    '--errors-for-leak-kinds=definite,indirect,possible',
    '--show-leak-kinds=definite,indirect,possible',
    '--track-fds=yes',
    '--keep-debuginfo=yes',
    '--child-silent-after-fork=yes',
    '--error-exitcode=99',
    '--num-callers=30',
]
SANITIZED = harness.SLOW > 1


def watched(t, broker, **what):
    daemon = t.listener(broker, **what)
    if not SANITIZED:
        check(shutil.which('valgrind'), 'valgrind is missing: tools/deps installs it')
        daemon.wrapper = VALGRIND
    return daemon.start()


def ends_clean(daemon):
    log = daemon.log
    equal(daemon.stop(seconds=60), 0, 'exit status')
    text = open(log, errors='replace').read()
    # The daemon ends: what is open then was forgotten. Its log is standard error, and what it
    # inherited is not its own.
    forgotten = re.findall(r'==\d+== Open (?!.*<inherited from parent>).*\n(?:==\d+==    .*\n)+', text)
    forgotten = [place for place in forgotten if '<inherited from parent>' not in place]
    check(not forgotten, 'descriptors are left open:\n' + ''.join(forgotten))


def lead_a_life(daemon, broker, done):
    """Events that run, are refused, match nothing; scripts that come, change and go; a good reload
    and a bad one; all that can be asked."""
    daemon.script('a.py', 'print(1)\n', topic='create/#', output='capture')
    daemon.script('fails.py', 'raise SystemExit(3)\n', topic='update/#', retries='1', retry_delay='100ms')
    for i in range(5):
        broker.publish('create/resource/p/%d' % i, b'{"n": 1}')
    broker.publish('update/user/u', b'')
    broker.publish('delete/resource/nobody', b'\xff')
    broker.publish('update/resource/' + 'x' * 60000, b'x' * 100000)
    broker.publish('create/resource/scripts/self', b'{}')
    daemon.wait_jobs(7, 120)
    daemon.script('a.py', 'print(2)\n', topic='+/group/#')
    daemon.change({'dispatcher': {'max_running': 5}, 'broker': {'keepalive': '30s'}})
    daemon.reload()
    harness.wait(lambda: daemon.status()['broker']['state'] == 'connected', 'the new connection')
    daemon.change({'broker': {'port': 'many'}})
    equal(daemon.ctl_run('reload').returncode, 1, 'status of a reload that must fail')
    daemon.change({'broker': {'port': broker.port}})
    broker.publish('create/group/g', b'{}')
    daemon.wait_jobs(8, 120)
    job = daemon.ctl('jobs')[0]['id']
    for words in (
        ['status'],
        ['scripts'],
        ['executors'],
        ['jobs', '--topic', 'create/#'],
        ['show', job],
        ['rejected'],
        ['replay', job],
        ['rescan'],
    ):
        done_ = daemon.ctl_run(*words)
        equal(done_.returncode, 0, 'status of listenerctl %s (%r)' % (words, done_.stderr))
    daemon.ctl_run('cancel', 4711)
    daemon.wait_jobs(9, 120)
    done(daemon)


def test_json_lines_life_is_clean(t):
    broker = t.broker()
    daemon = watched(t, broker)

    def done(daemon):
        check(len(daemon.json_lines()) >= 9, 'jobs are missing in the file')
        shutil.copy(harness.BUILD + '/tests/plugins/good.so', daemon.modules)
        daemon.change({'executor good': {'places': '2'}})
        daemon.reload()
        daemon.change({'executor good': None})
        daemon.reload()

    lead_a_life(daemon, broker, done)
    ends_clean(daemon)


def test_docker_sandbox_life_is_clean(t):
    broker = t.broker()
    daemon = watched(t, broker, docker={})
    lead_a_life(
        daemon,
        broker,
        lambda daemon: equal({job['outcome'] for job in daemon.ctl('jobs', '--script', 'a.py')}, {'success'}),
    )
    ends_clean(daemon)


def test_life_without_a_broker_is_clean(t):
    broker = t.broker()
    daemon = watched(t, broker)
    broker.stop()
    daemon.wait_log('disconnected from the broker')
    daemon.reload()
    ends_clean(daemon)


if __name__ == '__main__':
    harness.main()
