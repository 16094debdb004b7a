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


def world(t, topic):
    w = cdmi.World(t, docker={})
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


harness.main()
