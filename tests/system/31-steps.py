"""Death at each named step, one test each: one event, one script in a sandbox and one in
json-lines, SIGKILL at the Nth passing of the step. Deterministic: the daemon dies there and nowhere
else, and whatever comes afterwards, each job has run once."""
import collections
import signal

import harness
from harness import equal

# A script cannot tell twice what it has told once, but it can leave a mark outside: its output is
# in the journal, once per run.
TEXT = 'import os\nprint(os.environ["LISTENER_JOB"], os.environ["LISTENER_ATTEMPT"])\n'


def die_and_recover(t, step, passes):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script('line.py', 'pass\n', topic='create/#', executor='json-lines')
    daemon.script('box.py', TEXT, topic='create/#', output='capture')
    daemon.stop()
    daemon.start(env={'LISTENER_FAILPOINT': '%s:%d' % (step, passes)})
    broker.publish('create/resource/a', b'{}')
    harness.wait(lambda: daemon.process.poll() is not None, 'the daemon to die at ' + step, 60)
    equal(daemon.process.returncode, -signal.SIGKILL, 'status')
    daemon.process = None
    daemon.start()
    jobs = daemon.wait_jobs(2, 60)
    equal(collections.Counter('%s/%s' % (job['state'], job['outcome']) for job in jobs), {'finished/success': 2})
    equal([len(daemon.show(job['id'])['runs']) for job in jobs], [1, 1], 'runs of each job')
    equal(len(daemon.json_lines()), 1, 'lines written')
    box = next(job for job in jobs if job['script'] == 'box.py')
    equal(daemon.output(box['id']), b'%d 1\n' % box['id'])
    # Nothing comes again later, and the daemon serves on.
    broker.publish('create/resource/a', b'{}')
    daemon.wait_jobs(4, 60)
    equal(len(daemon.json_lines()), 2, 'lines written')


def define(step, passes):
    name = 'test_%s_%d' % (step.replace('-', '_'), passes)

    def test(t):
        die_and_recover(t, step, passes)

    globals()[name] = test


for _step in harness.STEPS:
    define(_step, 1)
define('after-handover', 2)  # one of two jobs handed over
define('after-result', 2)  # one of two results committed
define('after-commit', 2)


def test_again_before_the_recovery_is_committed(t):
    """A job that certainly never began stays one, even if the daemon that found that out dies
    before it could say so."""
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script('box.py', TEXT, topic='create/#', output='capture')
    broker.publish('create/resource/warm', b'{}')
    daemon.wait_jobs(1, 60)
    daemon.stop()
    # the first is of the event, the second of the intent
    daemon.start(env={'LISTENER_FAILPOINT': 'after-commit:2'})
    broker.publish('create/resource/a', b'{}')
    for fault in ('after-intent', 'after-intent', None):
        harness.wait(lambda: daemon.process.poll() is not None, 'the daemon to die', 60)
        daemon.process = None
        daemon.start(ready=not fault, env={'LISTENER_FAILPOINT': fault or ''})
    job = daemon.wait_jobs(2, 60)[1]
    equal((job['state'], job['outcome'], job['message']), ('finished', 'success', ''))
    equal(daemon.output(job['id']), b'%d 1\n' % job['id'])


if __name__ == '__main__':
    harness.main()
