"""What each action on the scripts collection publishes, and what the registry makes of it.
tests/cdmi_server.py publishes as Indigo does."""
import hashlib

import cdmi
import harness
from harness import check, equal

NO_TOPIC = ('no-topic', None)


def since(world):
    """What was published since the last call, as "operation type"."""
    events, world.archive.events = world.archive.events, []
    return [' '.join(topic.split('/')[:2]) for topic, _ in events]


def version_is(world, name, content):
    world.t.wait(lambda: world.version(name) == hashlib.sha256(content).hexdigest(), 'the new content of ' + name)


def test_web_form(t):
    w = cdmi.World(t).start()
    w.archive.web_create('/scripts/a.py', cdmi.TEXT, {'topic': 'create/resource/a/#'})
    w.becomes({'a.py': 'create/resource/a/#'})
    equal(since(w), ['create resource'])
    w.archive.web_edit('/scripts/a.py', {'topic': 'update/user/+'})
    w.becomes({'a.py': 'update/user/+'})
    equal(since(w), ['update resource'])
    w.archive.web_edit('/scripts/a.py', {'title': 'no topic any more'})
    w.becomes({'a.py': NO_TOPIC})
    check('topic' in w.reason('a.py'), w.reason('a.py'))
    w.archive.web_create('/scripts/sub', None, {'title': 'a folder'})
    w.archive.web_create('/scripts/sub/b.py', cdmi.TEXT, {'topic': ['create/#']})
    w.becomes({'a.py': NO_TOPIC, 'sub/b.py': 'create/#'})


def test_several_topics(t):
    w = cdmi.World(t).start()
    topics = ['create/resource/p/#', 'update/resource/p/#', '+/resource/+/x']
    w.archive.web_create('/scripts/a.py', cdmi.TEXT, {'topic': topics})
    w.becomes({'a.py': topics[0]})
    equal(w.daemon.ctl('scripts', 'a.py')[0]['topics'], topics)
    w.archive.web_create('/p', None, {})
    w.archive.http_put('/p/x', b'1', 'text/plain')
    w.archive.http_put('/p/x', b'2', 'text/plain')
    w.archive.http_put('/p/y', b'3', 'text/plain')
    jobs = w.daemon.wait_jobs(3)
    equal(
        sorted((job['topic'], job['filter']) for job in jobs),
        [
            ('create/resource/p/x', topics[0]),
            ('create/resource/p/y', topics[0]),
            ('update/resource/p/x', topics[1]),
        ],
    )
    w.archive.web_edit('/scripts/a.py', {'topic': [topics[0], 'a/#/b']})
    t.wait(lambda: 'topic 2 of 2' in w.reason('a.py'), 'the bad filter to be named')


def test_http_put(t):
    w = cdmi.World(t).start()
    equal(w.archive.http_put('/scripts/a.py', cdmi.TEXT, 'text/x-python'), 201)
    w.becomes({'a.py': NO_TOPIC})
    equal(since(w), ['create resource'])
    w.archive.cdmi_put('/scripts/a.py', {'metadata': {'topic': '/create//resource/x/'}})
    w.becomes({'a.py': 'create/resource/x'})  # surplus slashes go, as in the publisher
    equal(since(w), ['update resource'])
    equal(w.archive.http_put('/scripts/a.py', b'print(2)\n'), 204)  # metadata kept
    equal(since(w), ['update resource'])
    version_is(w, 'a.py', b'print(2)\n')
    w.becomes({'a.py': 'create/resource/x'})


def test_cdmi_put(t):
    w = cdmi.World(t).start()
    equal(
        w.archive.cdmi_put(
            '/scripts/a.py',
            {
                'mimetype': 'text/x-python',
                'valuetransferencoding': 'base64',
                'value': 'cHJpbnQoMSkK',
                'metadata': {'topic': 'create/#', 'title': 'x'},
            },
        ),
        201,
    )
    w.becomes({'a.py': 'create/#'})
    equal(since(w), ['create resource', 'update resource'])
    version_is(w, 'a.py', b'print(1)\n')
    w.archive.cdmi_put('/scripts/a.py', {'metadata': {'topic': 'update/#'}})  # replaced, not merged
    w.becomes({'a.py': 'update/#'})
    equal(since(w), ['update resource'])
    w.archive.cdmi_put('/scripts/a.py', {'value': 'print(2)\n'})  # the metadata is lost
    equal(since(w), ['update resource', 'update resource'])
    w.becomes({'a.py': NO_TOPIC})
    w.archive.cdmi_put('/scripts/a.py', {'metadata': {'topic': 'update/#'}})
    w.becomes({'a.py': 'update/#'})
    version_is(w, 'a.py', b'print(2)\n')
    # stored and published all the same
    equal(w.archive.cdmi_put('/scripts/a.py', {'metadata': {'topic': 'update/+', 'size': {'a': 1}}}), 500)
    w.becomes({'a.py': 'update/+'})


def test_cdmi_put_of_a_container(t):
    w = cdmi.World(t).start()
    equal(w.archive.cdmi_put_container('/scripts/sub', {}), 201)
    equal(since(w), ['create collection'])
    equal(w.archive.cdmi_put_container('/scripts/sub2', {'metadata': {'topic': 'create/#'}}), 201)
    equal(since(w), ['create collection', 'update collection'])
    w.archive.http_put('/scripts/sub/a.py', cdmi.TEXT)
    w.archive.cdmi_put('/scripts/sub/a.py', {'metadata': {'topic': 'create/#'}})
    w.becomes({'sub/a.py': 'create/#'})


def test_delete_from_pre(t):
    w = cdmi.World(t)
    w.archive.make('/scripts/a.py', cdmi.TEXT, {'topic': 'create/#'})
    w.archive.make('/scripts/b.py', cdmi.TEXT, {'topic': 'create/#'})
    w.start()
    w.becomes({'a.py': 'create/#', 'b.py': 'create/#'})
    w.archive.delete('/scripts/a.py')
    w.becomes({'b.py': 'create/#'})
    equal(w.archive.events[-1][1]['post'], {})
    w.archive.web_create('/scripts/a.py', cdmi.TEXT, {'topic': 'update/#'})
    w.becomes({'a.py': 'update/#', 'b.py': 'create/#'})


def test_delete_of_a_collection(t):
    w = cdmi.World(t)
    for name in ('a.py', 'sub/b.py', 'sub/deep/c.py', 'sub2/d.py', 'sub.py'):
        w.archive.make('/scripts/' + name, cdmi.TEXT, {'topic': 'create/#'})
    w.start()
    equal(sorted(w.active()), ['a.py', 'sub.py', 'sub/b.py', 'sub/deep/c.py', 'sub2/d.py'])
    w.archive.delete('/scripts/sub')
    equal(since(w), ['delete resource', 'delete resource', 'delete collection', 'delete collection'])
    w.becomes(dict.fromkeys(('a.py', 'sub.py', 'sub2/d.py'), 'create/#'))
    # of a collection alone, as if the events of what was below got lost
    w.archive.mute = True
    for path in ('/scripts/sub2/d.py',):
        w.archive.delete(path)
    w.archive.mute = False
    w.archive.delete('/scripts/sub2')
    w.becomes(dict.fromkeys(('a.py', 'sub.py'), 'create/#'))
    w.archive.delete('/scripts')
    w.becomes({})
    w.archive.web_create('/scripts')
    w.archive.web_create('/scripts/new.py', cdmi.TEXT, {'topic': 'create/#'})
    w.becomes({'new.py': 'create/#'})


def test_users_and_groups_are_not_the_collections_affair(t):
    """Rows of the table that do not concern scripts: they are events like any other, with UUID or
    name as Indigo has it."""
    w = cdmi.World(t)
    w.archive.make('/scripts/user.py', cdmi.TEXT, {'topic': '+/user/+'})
    w.archive.make('/scripts/group.py', cdmi.TEXT, {'topic': '+/group/curators'})
    w.start()
    a = w.archive
    a.create_user('scripts')
    a.create_group('curators')
    a.add_to_group('scripts', 'curators', web=True)
    a.modify_user('scripts', email='n@example.org', password='x', active=False)
    a.remove_from_group('scripts', 'curators')
    a.delete_group('curators')
    a.delete_user('scripts')
    events = since(w)
    equal(
        events,
        [
            'create user',
            'create group',
            'update user',
            'update group',
            'update user',
            'update user',
            'update user',
            'update user',
            'delete group',
            'delete user',
        ],
    )
    jobs = w.daemon.wait_jobs(len(events))
    equal(sum(job['script'] == 'group.py' for job in jobs), 3)
    equal(sum(job['script'] == 'user.py' for job in jobs), 7)


def test_old_operations(t):
    """Older builds say update_object and update_metadata for update."""
    w = cdmi.World(t)
    w.archive.make('/scripts/a.py', cdmi.TEXT, {'topic': 'create/#'})
    w.start()
    w.archive.web_edit('/scripts/a.py', {'topic': 'update/#'}, 'update_metadata')
    w.becomes({'a.py': 'update/#'})
    w.archive.update(
        '/scripts/a.py', 'update_object', content=b'print(2)\n', url='cassandra://' + cdmi.cdmi_server.cdmi_id()
    )
    version_is(w, 'a.py', b'print(2)\n')


def test_names_come_from_the_payload(t):
    w = cdmi.World(t).start()
    names = [
        'c++.py',
        '#1.py',
        '+',
        'a b.py',
        'ä?.py',
        'per%20cent.py',
        'semi;colon&.py',
        '%2e%2e',
        "quote'.py",
        '😀.py',
    ]
    for number, name in enumerate(names):
        w.archive.web_create('/scripts//' + name, b'print(%d)\n' % number, {'topic': 'create/#'})
    w.becomes(dict.fromkeys(names, 'create/#'))
    for number, name in enumerate(names):
        equal(w.version(name), hashlib.sha256(b'print(%d)\n' % number).hexdigest(), name)
        w.archive.delete('/scripts/' + name)
    w.becomes({})
    equal(w.source()['scans'] <= 3, True, 'no scan was needed')


def test_a_neighbour_with_the_same_topics(t):
    """/scripts+ publishes the topics of /scripts: nothing fires, nothing is registered."""
    w = cdmi.World(t).start()
    w.archive.make('/scripts+')
    scans = w.source()['scans']
    w.archive.web_create('/scripts+/x.py', cdmi.TEXT, {'topic': 'create/#'})
    w.archive.web_create('/scripts/y.py', cdmi.TEXT, {'topic': 'create/#'})
    w.becomes({'y.py': 'create/#'})
    equal(w.source()['scans'], scans)


def test_metadata_changes_fetch_no_content(t):
    w = cdmi.World(t)
    w.archive.make('/scripts/a.py', cdmi.TEXT, {'topic': 'create/#'})
    w.start()
    w.server.reset()
    for number in range(5):
        w.archive.web_edit('/scripts/a.py', {'topic': 'create/%d/#' % number})
        w.becomes({'a.py': 'create/%d/#' % number})
    equal(w.server.count('content'), 0)
    w.archive.replace('/scripts/a.py', b'print(2)\n')
    version_is(w, 'a.py', b'print(2)\n')
    equal(w.server.count('content'), 1)
    w.archive.web_edit('/scripts/a.py', {'topic': 'delete/#'})
    w.becomes({'a.py': 'delete/#'})
    equal(w.server.count('content'), 1)


def test_bursts_are_coalesced(t):
    w = cdmi.World(t)
    w.archive.make('/scripts/a.py', cdmi.TEXT, {'topic': 'create/#'})
    w.start()
    w.server.fault('a.py', 'slow:0.5', mode='metadata')
    w.server.reset()
    for number in range(40):
        w.archive.replace('/scripts/a.py', b'print(%d)\n' % number)
    version_is(w, 'a.py', b'print(39)\n')
    check(w.server.count('content') <= 4, '%d contents were read' % w.server.count('content'))


def test_odd_payloads_do_no_harm(t):
    w = cdmi.World(t)
    w.archive.make('/scripts/a.py', cdmi.TEXT, {'topic': 'create/#'})
    w.start()
    for payload in (
        b'',
        b'{',
        b'[]',
        b'null',
        b'{"pre": 1, "post": []}',
        b'{"pre": {}, "post": {"container": 3, "name": null}}',
        b'{"pre": {}, "post": {"container": "/scripts", "name": "../x"}}',
        b'{"pre": {}, "post": {"container": "/scripts", "name": ".."}}',
        b'{"pre": {}, "post": {"container": "/scripts", "name": "a\\u0000b"}}',
        b'{"pre": {}, "post": {"container": "/scripts", "name": "' + b'x' * 5000 + b'"}}',
        b'{"pre": {}, "post": {"container": "/scripts", "name": "none.py", "metadata": {"topic": {"a": 1}}}}',
        b'\xff\xfe',
        b'[' * 3000,
    ):
        for topic in ('create/resource/scripts/x', 'update/collection/scripts', 'delete/resource/scripts/x'):
            w.broker.publish(topic, payload)
    w.archive.web_create('/scripts/b.py', cdmi.TEXT, {'topic': 'create/#'})
    w.becomes({'a.py': 'create/#', 'b.py': 'create/#'})
    w.idle()
    equal(w.daemon.counters()['jobs'], 0)


def test_after_its_event_the_new_version_is_matched(t):
    """The ordering promise, with an archive that takes its time: events that could match wait for
    the fetch, others behind them too."""
    w = cdmi.World(t)
    w.archive.make('/scripts/a.py', b'print("old")\n', {'topic': 'create/resource/data/#'})
    w.archive.make('/scripts/b.py', b'print("b")\n', {'topic': 'delete/#'})
    w.start()
    w.server.fault('a.py|new.py', 'slow:0.4')
    w.archive.replace('/scripts/a.py', b'print("new")\n')
    w.broker.publish('create/resource/data/1', b'{}')
    w.archive.web_edit('/scripts/a.py', {'topic': 'update/resource/data/#'})
    w.broker.publish('create/resource/data/2', b'{}')
    w.broker.publish('update/resource/data/3', b'{}')
    w.archive.web_create('/scripts/new.py', b'print("created")\n', {'topic': 'create/user/+'})
    w.broker.publish('create/user/4', b'{}')
    w.archive.delete('/scripts/b.py')
    w.broker.publish('delete/user/5', b'{}')
    new = hashlib.sha256(b'print("new")\n').hexdigest()
    created = hashlib.sha256(b'print("created")\n').hexdigest()
    w.becomes({'a.py': 'update/resource/data/#', 'new.py': 'create/user/+'})
    w.daemon.settle()
    jobs = [(job['script'], job['topic'], job['version']) for job in w.daemon.all_jobs()]
    check(('a.py', 'update/resource/data/3', new) in jobs, jobs)
    check(('new.py', 'create/user/4', created) in jobs, jobs)
    check(not any(topic == 'create/resource/data/2' for _, topic, _ in jobs), 'the old filter matched: %s' % jobs)
    check(not any(script == 'b.py' for script, _, _ in jobs), 'a deleted script ran: %s' % jobs)
    check(all(version == new for script, _, version in jobs if script == 'a.py'), 'an old version ran: %s' % jobs)
    check(w.daemon.counters()['deferred'] > 0, 'nothing had to wait')


def test_events_wait_for_a_limited_time(t):
    w = cdmi.World(t)
    w.archive.make('/scripts/a.py', cdmi.TEXT, {'topic': 'create/user/+'})
    w.start()
    w.server.fault('a.py', 'slow:4.5', mode='metadata')
    w.archive.replace('/scripts/a.py', b'print("new")\n')
    w.broker.publish('create/user/1', b'{}')
    job = w.daemon.wait_jobs(1)[0]
    equal(job['version'], hashlib.sha256(cdmi.TEXT).hexdigest(), 'what served until then')
    version_is(w, 'a.py', b'print("new")\n')


def test_mqtt_311_publishers_too(t):
    w = cdmi.World(t, mqtt_level=4).start()
    w.archive.web_create('/scripts/a.py', cdmi.TEXT, {'topic': 'create/#'})
    w.becomes({'a.py': 'create/#'})


def test_references_by_event(t):
    """A reference has its bare name in the topic, NAME? in the payload: the scripts collection is
    not named at all in its topic."""
    w = cdmi.World(t).start()
    w.archive.web_reference('/scripts/ref.py', 'http://other.example.org/x', {'topic': 'create/#'})
    equal(w.archive.events[-1][0], 'create/resource/ref.py')
    w.rescan()
    w.becomes({'ref.py': ('refused', None)})
    check('reference' in w.reason('ref.py'), w.reason('ref.py'))
    w.broker.publish(
        'update/resource/scripts/ref.py',
        b'{"pre": {}, "post": {"container": "/scripts", "name": "ref.py?", "url": "http://x/"}}',
    )
    w.archive.web_create('/scripts/b.py', cdmi.TEXT, {'topic': 'delete/#'})
    w.becomes({'ref.py': ('refused', None), 'b.py': 'delete/#'})
    w.broker.publish(
        'delete/resource/scripts/ref.py',
        b'{"post": {}, "pre": {"container": "/scripts", "name": "ref.py?", "url": "http://x/"}}',
    )
    w.becomes({'b.py': 'delete/#'})


# --------------------------------------------------------------------------------------- relatives


def relatives_events(t, flavour, events):
    """Their events register changes at once, and the collection is shielded; scripts' filters meet
    topics as published."""
    w = cdmi.World(t, flavour=flavour, scripts={'events': events})
    w.archive.drastic = events == 'drastic'
    w.start()
    scans = w.source()['scans']
    w.archive.create('/scripts/a.py', cdmi.TEXT, {'topic': '#'})
    w.becomes({'a.py': '#'}, 5)
    w.archive.update('/scripts/a.py', metadata={'topic': 'create/#'})
    w.becomes({'a.py': 'create/#'}, 5)
    w.archive.create('/projects', None)
    w.daemon.wait_jobs(2 if events == 'radon' else 1)
    w.archive.delete('/scripts/a.py')
    w.becomes({}, 5)
    equal(w.source()['scans'], scans, 'no scan was needed')
    check(w.daemon.counters()['shielded'] >= 3, w.daemon.counters())
    equal({line['topic'].split('/')[-1] for line in w.daemon.json_lines()}, {'projects'}, 'what ran')


def test_events_of_drastic(t):
    relatives_events(t, 'indigo', 'drastic')


def test_events_of_radon(t):
    relatives_events(t, 'radon', 'radon')


harness.main()
