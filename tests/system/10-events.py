"""Which events run which scripts, with what. json-lines where only that counts, docker-sandbox
where the script itself must tell."""
import base64
import hashlib
import os
import time

import harness
import indigo
from harness import check, equal

FILTERS = {
    'all.py': '#',
    'one-resource.py': '+/resource/projects/p1/a.csv',  # the mission's first example
    'created-below.py': 'create/+/projects/#',  # its second
    'user.py': 'update/user/user1',  # its third
    'any-user.py': '+/user/+',
    'below.py': 'update/collection/projects/p1/#',  # the parent level matches too
    'groups.py': '+/group/curators',
    'deleted.py': 'delete/#',
    'other.py': 'create/resource/elsewhere/#',
    'case.py': 'create/Collection/#',
}


def expected(messages):
    return sorted(
        (name, topic) for name, filter_ in FILTERS.items() for topic, _ in messages if indigo.matches(filter_, topic)
    )


def test_indigos_messages_run_what_they_should(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    for name, filter_ in FILTERS.items():
        daemon.script(name, 'pass\n', topic=filter_)
    messages = indigo.messages()
    equal(len(messages), 12)
    for topic, payload in messages:
        broker.publish(topic, payload)
    should = expected(messages)
    daemon.wait_jobs(len(should))
    lines = daemon.json_lines()
    equal(sorted((line['script'], line['topic']) for line in lines), should, 'what ran')
    for topic, payload in messages:
        for line in lines:
            if line['topic'] == topic:
                equal(line['payload'].encode(), payload, 'payload of ' + topic)
    counters = daemon.counters()
    equal((counters['events'], counters['matched'], counters['unmatched'], counters['jobs']), (12, 12, 0, len(should)))


def test_scripts_see_argv_and_stdin_byte_for_byte(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script('all.py', harness.WITNESS, topic='#', output='capture')
    daemon.script('sub/user.py', harness.WITNESS, topic='update/user/user1', output='capture')
    messages = indigo.messages()
    for topic, payload in messages:
        broker.publish(topic, payload)
    jobs = daemon.wait_jobs(13, 120)
    seen = {(job['script'], job['topic']): harness.witnessed(daemon, job['id']) for job in jobs}
    for topic, payload in messages:
        equal(seen[('all.py', topic)], (['all.py', topic, payload.decode()], payload), topic)
    topic, payload = 'update/user/user1', dict(messages)['update/user/user1']
    equal(seen[('sub/user.py', topic)][1], payload)
    equal({job['outcome'] for job in jobs}, {'success'})


def test_nothing_runs_for_the_scripts_collection(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    for number, filter_ in enumerate(
        ('#', '+/+/scripts', '+/+/scripts/#', 'create/resource/scripts/a.py', '+/collection/+', 'update/#')
    ):
        daemon.script('s%d.py' % number, 'pass\n', topic=filter_)
    shielded = [
        '%s/%s/scripts%s' % (operation, kind, below)
        for operation in ('create', 'update', 'delete', 'update_object', 'update_metadata')
        for kind in ('resource', 'collection')
        for below in ('', '/a.py', '/sub/a.py', '/', '//a.py')
    ]
    for topic in shielded:
        broker.publish(topic, b'{"pre": {}, "post": {}}')
    near = ['create/resource/scripts2/a', 'create/resource/a/scripts', 'create/user/scripts', 'create/group/scripts']
    for topic in near:
        broker.publish(topic, b'{}')
    daemon.wait_counter('events', len(shielded) + len(near))
    daemon.settle()
    ran = {line['topic'] for line in daemon.json_lines()}
    equal(ran, set(near), 'topics that ran something')
    equal(daemon.counters()['shielded'], len(shielded))


def test_payloads_of_every_kind(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script(
        'size.py',
        '''import hashlib, sys
data = sys.stdin.buffer.read()
print(len(data), hashlib.sha256(data).hexdigest(), len(sys.argv))
''',
        topic='create/#',
        output='capture',
    )
    payloads = {
        'empty': b'',
        'blank': b' ',
        'not-json': b'hello, world\n',
        'nul': b'{"a": "\x00"}\x00',
        'not-utf8': bytes(range(256)),
        'below-128k': b'x' * (128 * 1024 - 1),
        '128k': b'y' * (128 * 1024),
        '1m': bytes(i * 7 % 256 for i in range(1 << 20)),
    }
    for name, payload in payloads.items():
        broker.publish('create/resource/' + name, payload)
    for job in daemon.wait_jobs(len(payloads), 120):
        payload = payloads[job['topic'].split('/')[-1]]
        equal(job['outcome'], 'success', job['topic'] + ': ' + job['message'])
        size, digest, arguments = daemon.output(job['id']).decode().split()
        equal((int(size), digest), (len(payload), hashlib.sha256(payload).hexdigest()), job['topic'])
        as_argument = len(payload) < 128 * 1024 and b'\0' not in payload
        equal(int(arguments), 3 if as_argument else 2, 'arguments of ' + job['topic'])


def test_standard_input_is_what_the_script_asks_for(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    text = 'import os, stat\nprint(stat.S_ISFIFO(os.fstat(0).st_mode), sum(map(len, iter(lambda: os.read(0, 99999), b""))))\n'
    for name, more in ('plain.py', {}), ('pipe.py', {'stdin': 'pipe'}), ('file.py', {'stdin': 'file'}):
        daemon.script(name, text, topic='create/#', output='capture', **more)
    broker.publish('create/resource/a', b'x' * 300000)
    outputs = {job['script']: daemon.output(job['id']) for job in daemon.wait_jobs(3)}
    equal(outputs, {'plain.py': b'True 300000\n', 'pipe.py': b'True 300000\n', 'file.py': b'False 300000\n'})


def test_output_is_kept_up_to_its_limit(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}, ini={'limits': {'output_max': '1K'}}).start()
    daemon.script('a.py', 'print("a" * 5000)\n', topic='create/#', output='capture')

    def kept(number):
        broker.publish('create/resource/%d' % number, b'{}')
        daemon.wait_jobs(number)
        job = max(daemon.all_jobs(), key=lambda j: j['id'])
        equal(job['outcome'], 'success', job['message'])
        run = daemon.show(job['id'])['runs'][-1]
        return len(run['out']), run['out_truncated']

    equal(kept(1), (1024, True), 'output_max = 1K')
    daemon.change({'limits': {'output_max': '200K'}})
    daemon.reload()
    equal(kept(2), (5001, False), 'output_max = 200K')


def test_payload_over_the_limit_is_recorded(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'listener': {'payload_max': '64K'}}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/large', b'x' * 65537)
    broker.publish('create/resource/fits', b'x' * 65536)
    daemon.wait_jobs(1)
    rejected = daemon.ctl('rejected')
    equal([row['topic'] for row in rejected], ['create/resource/large'])
    check('payload_max' in rejected[0]['reason'], rejected[0]['reason'])


def test_topics_of_every_kind(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('all.py', 'pass\n', topic='create/#')
    topics = [
        'create',
        'create/',
        'create//',
        'create/resource//a//b/',
        'create/resource/\u00e9t\u00e9/\u65e5\u672c/\U0001f600',
        'create/resource/a b%20?;$&"\'\\',
        'create/resource/' + 'x' * (65535 - 16),
        'create' + '/' * 190,
    ]
    for topic in topics:
        broker.publish(topic, b'{}')
    daemon.wait_jobs(len(topics))
    equal(sorted(line['topic'] for line in daemon.json_lines()), sorted(topics))
    for bad in (b'create/resource/\xff\xfe', b'create/resource/\xed\xa0\x80'):
        try:  # the broker may refuse it; the daemon must serve on in any case
            broker.publish(bad, b'{}')
        except (harness.Failed, OSError):
            pass
    broker.publish('create/resource/last', b'{}')
    daemon.wait_jobs(len(topics) + 1)


def test_retained_messages_are_no_events(t):
    broker = t.broker()
    broker.publish('create/resource/old', b'{}', retain=True)
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='#')
    daemon.wait_counter('retained', 1)
    broker.publish('create/resource/new', b'{}')
    daemon.wait_jobs(1)
    equal([line['topic'] for line in daemon.json_lines()], ['create/resource/new'])


def test_equal_events_all_run(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='update/#')
    for _ in range(50):
        broker.publish('update/resource/same', b'{"same": 1}')
    daemon.wait_jobs(50)
    equal(daemon.counters()['repeats'], 0)


def test_scripts_come_change_and_go(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    began = time.monotonic()
    daemon.script('a.py', 'first\n', topic='create/#')
    check(time.monotonic() - began < 2 * harness.SLOW, 'a new script took more than a second to count')
    broker.publish('create/1', b'{}')
    daemon.wait_jobs(1)
    daemon.script('a.py', 'second\n', topic='create/#')
    broker.publish('create/2', b'{}')
    daemon.wait_jobs(2)
    daemon.script('a.py', 'second\n', topic='update/#')
    broker.publish('create/3', b'{}')
    broker.publish('update/4', b'{}')
    daemon.wait_jobs(3)
    daemon.wait_counter('events', 4)
    equal([line['topic'] for line in daemon.json_lines()], ['create/1', 'create/2', 'update/4'])
    equal(len({line['version'] for line in daemon.json_lines()}), 2, 'versions that ran')
    daemon.put('a.py.meta', b'output = discard\n')
    daemon.wait_script('a.py', lambda row: row['state'] == 'no-topic')
    daemon.put('a.py.meta', b'topic = update/#/x\n')
    row = daemon.wait_script('a.py', lambda row: row['state'] == 'refused')
    check('#' in row['reason'], row['reason'])
    daemon.put('a.py.meta', b'topic = update/#\n')
    daemon.wait_script('a.py', lambda row: row['state'] == 'active')
    os.unlink(os.path.join(daemon.scripts, 'a.py'))
    t.wait(lambda: daemon.script_row('a.py') is None, 'the script to be gone')
    broker.publish('update/5', b'{}')
    daemon.wait_counter('unmatched', 1)
    equal(len(daemon.json_lines()), 3)


def test_payload_bytes_reach_an_executor_unchanged(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/binary', bytes(range(256)))
    daemon.wait_jobs(1)
    equal(base64.b64decode(daemon.json_lines()[0]['payload_base64']), bytes(range(256)))


def test_json_lines_keep_every_byte(t):
    """Text stands in the line as text, NUL and controls escaped; what is no UTF-8 in base64."""
    payloads = [
        b'',
        bytes(range(128)),
        bytes(range(256)),
        b'"\\\n' * 1000,
        '\u00e4\U0001f600\x7f'.encode(),
        b'\xed\xa0\x80',
        b'\xc0\x80',
        b'x' * 300000,
    ]
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    for number, payload in enumerate(payloads):
        broker.publish('create/%d' % number, payload, qos=1)
    daemon.wait_jobs(len(payloads))
    lines = {line['topic']: line for line in daemon.json_lines()}
    for number, payload in enumerate(payloads):
        line = lines['create/%d' % number]
        kept = line['payload'].encode() if 'payload' in line else base64.b64decode(line['payload_base64'])
        equal(kept, payload, 'payload %d' % number)
        equal('payload' in line, is_utf8(payload), 'payload %d is kept as text' % number)


def is_utf8(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


if __name__ == '__main__':
    harness.main()
