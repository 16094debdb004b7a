"""A script from the archive writes metadata back to it, from inside its sandbox, through port 80.
The update this causes is an event like any other."""
import json
import os

import cdmi
import harness
from harness import check, equal

EXAMPLE = open(os.path.join(harness.ROOT, 'examples/round_trip.py')).read()


def gateway(t, daemon):
    """The address of this machine that the sandboxes see; no other machine reaches it."""

    def found():
        ids = harness.docker(
            'network', 'ls', '-q', '--filter', 'label=%s=%s' % (harness.LABEL, daemon.identity)
        ).split()
        networks = json.loads(harness.docker('network', 'inspect', *ids)) if ids else []
        return [
            config['Gateway']
            for network in networks
            for config in network['IPAM']['Config']
            if ':' not in config.get('Gateway', ':')
        ]

    return t.wait(found, 'the network of the sandboxes')[0]


def world(t, topic, ini=None, edit=lambda text: text):
    w = cdmi.World(t, docker={}, ini=ini)
    w.archive.make('/test')
    w.start()
    door = cdmi.cdmi_server.Server(w.archive, port=80, user='scripts', host=gateway(t, w.daemon))
    try:
        door.start()
    except OSError as error:
        raise harness.Skip('cannot listen on port 80: %s' % error)
    t.stack.callback(door.stop)
    text = EXAMPLE.replace('http://archive.example.org/api/cdmi', door.url.replace(':80/', '/'))
    check(text != EXAMPLE, 'the example names no archive')
    text = edit(text)
    w.archive.cdmi_put('/scripts/round_trip.py', {'value': text, 'metadata': {'topic': topic, 'output': 'capture'}})
    w.becomes({'round_trip.py': topic})
    return w


def test_metadata_written_back(t):
    w = world(t, 'create/+/test/#')
    w.archive.http_put('/test/a +%ä?.csv', b'1,2,3\n', 'text/csv')
    job = w.daemon.wait_jobs(1, 60)[0]
    equal(job['outcome'], 'success', w.daemon.output(job['id']))
    node = w.archive.nodes['/test/a +%ä?.csv']
    equal(node.metadata, {'seen_by_listener': job['topic']})
    equal(w.archive.events[-1][0].split('/')[:3], ['update', 'resource', 'test'])
    w.archive.cdmi_put('/test/b.csv', {'value': 'x', 'mimetype': 'text/csv', 'metadata': {'title': 'kept'}})
    w.archive.cdmi_put_container('/test/sub', {'metadata': {'title': 'kept too'}})
    jobs = w.daemon.wait_jobs(3, 60)
    equal({job['outcome'] for job in jobs}, {'success'})
    equal(w.archive.nodes['/test/b.csv'].metadata['title'], 'kept')
    equal(
        w.archive.nodes['/test/sub'].metadata, {'title': 'kept too', 'seen_by_listener': 'create/collection/test/sub'}
    )
    # the updates: two of the archive's own, three of the script's
    w.daemon.wait_counter('unmatched', 5)
    equal(len(w.daemon.all_jobs()), 3, 'jobs')


def test_again_if_its_topic_says_so(t):
    w = world(t, '+/resource/test/#')
    w.archive.http_put('/test/a.csv', b'1,2,3\n', 'text/csv')
    jobs = w.daemon.wait_jobs(2, 60)
    equal([job['topic'] for job in jobs], ['create/resource/test/a.csv', 'update/resource/test/a.csv'])
    equal({job['outcome'] for job in jobs}, {'success'})
    check('seen before' in w.daemon.output(jobs[1]['id']).decode(), w.daemon.output(jobs[1]['id']))


def without_look(text):
    """The example, but it writes to what is called loop again and again, and to nothing else."""
    edited = text.replace("if 'seen_by_listener' in metadata:", "if not state['name'].startswith('loop'):")
    check(edited != text, 'the example does not look for its mark')
    return edited


def test_a_loop_is_held(t):
    limit = 9  # fewer than usual, so that the pauses before the last are short
    w = world(t, '+/resource/test/#', {'dispatcher': {'loop_limit': str(limit)}}, without_look)
    d = w.daemon
    w.archive.http_put('/test/loop.csv', b'1,2,3\n', 'text/csv')
    holds = t.wait(lambda: d.ctl('holds'), lambda: 'the loop to be held: %s' % d.jobs(), 90)
    equal(
        [(hold['kind'], hold['scope'], hold['name']) for hold in holds], [('loop', 'object', 'resource/test/loop.csv')]
    )
    check('round_trip.py' in holds[0]['reason'], holds[0])
    runs = len([job for job in d.jobs() if job['state'] == 'finished'])
    check(limit <= runs <= 30, '%d runs' % runs)
    failures = {row['id'] for row in d.status()['conditions'] if row['level'] == 'failure'}
    check('loop' in failures, failures)
    # Others go on, and a death changes nothing.
    d.kill()
    d.start()
    w.archive.http_put('/test/other.csv', b'1,2,3\n', 'text/csv')

    def other():
        jobs = [job for job in d.jobs() if job['topic'].endswith('/other.csv')]
        return jobs and all(job['state'] == 'finished' for job in jobs)

    t.wait(other, 'another object to be served', 60)
    kept = d.ctl('release', '--object', 'resource/test/loop.csv')
    equal({row['waits_for'] for row in kept if 'waits_for' in row}, {'held'})
    # Let go, it loops on. Paused and discarded, it does not.
    d.ctl('release', '--object', 'resource/test/loop.csv', '--run')
    t.wait(lambda: len(d.jobs('--topic', 'update/#')) > runs + 3, 'the loop to go on', 60)
    equal(d.ctl('holds'), [])
    d.ctl('pause', '--object', 'resource/test/loop.csv')
    t.wait(lambda: d.status()['jobs']['running'] == 0, 'what runs to end', 60)
    d.ctl('release', '--object', 'resource/test/loop.csv', '--discard')
    equal((d.ctl('holds'), d.status()['jobs']['held']), ([], 0))
    d.settle()
    outcomes = {job['outcome'] for job in d.jobs()}
    check(outcomes <= {'success', 'cancelled'} and 'cancelled' in outcomes, outcomes)


harness.main()
