"""What the archive answers, and what becomes of the script: every status, the habits of Indigo and
of its relatives and standards."""
import hashlib
import json

import cdmi
import harness
from harness import check, equal

TOPIC = {'topic': 'create/#'}


def sha(content):
    return hashlib.sha256(content).hexdigest()


def simple(t, names=('a.py',), **options):
    w = cdmi.World(t, **options)
    for name in names:
        w.archive.make('/scripts/' + name, cdmi.TEXT, dict(TOPIC))
    return w


# ------------------------------------------------------------------------------------------- Indigo


def test_requests_are_what_indigo_wants(t):
    """Version header and an explicit Accept for the description; neither for the content; slash
    after containers; credentials at once; no Range; of a container only its children, for its
    metadata is anybody's."""
    w = simple(t, ('a.py', 'sub/b.py')).start()
    equal(sorted(w.active()), ['a.py', 'sub/b.py'])
    for request in w.server.requests:
        check(request.authorization, 'the credentials come with every request')
        check('range' not in request.headers, request.target)
        equal(request.query, 'children' if request.mode == 'list' else '', 'the query of ' + request.target)
        header, accept = request.headers.get('x-cdmi-specification-version'), request.headers.get('accept')
        should = {
            'list': ('1.1', 'application/cdmi-container'),
            'metadata': ('1.1', 'application/cdmi-object'),
            'content': (None, '*/*'),
        }
        equal((header, accept), should[request.mode], request.target)
        equal(request.raw_path.endswith('/'), request.mode == 'list', 'the slash of ' + request.target)


def test_contents(t):
    """As it stands, whatever its size; what is no script is refused with a reason."""
    w = cdmi.World(t, scripts={'size_max': '3M'})
    large = b'#' * (2 << 20) + b'\n'
    contents = {
        'large.py': large,
        'utf8.py': 'print("é😀")\r\n'.encode(),
        'mime.txt': b'pass\n',
        'over.py': b'#' * (3 << 20) + b'\n\n',
        'binary.py': b'\x7fELF\x00\x01',
        'latin1.py': b'print("\xe9")\n',
        'empty.py': b'',
    }
    for name, content in contents.items():
        w.archive.make('/scripts/' + name, content, dict(TOPIC), mimetype='text/plain' if name == 'mime.txt' else None)
    w.start()
    equal(sorted(w.active()), ['large.py', 'mime.txt', 'utf8.py'])
    for name in w.active():
        equal(w.version(name), sha(contents[name]), name)
    for name, words in {'over.py': 'size_max', 'binary.py': 'NUL', 'latin1.py': 'UTF-8', 'empty.py': 'empty'}.items():
        check(words in w.reason(name), '%s: %s' % (name, w.reason(name)))
    w.server.reset()
    w.rescan()
    equal(w.server.count('content'), 0, 'contents read by a rescan that finds nothing new')
    w.archive.mute = True
    w.archive.web_edit('/scripts/empty.py', {'topic': 'update/#'})
    w.rescan()
    equal(w.server.count('content'), 1, 'what was refused and has changed is read again')


def test_topics_of_any_type(t):
    w = cdmi.World(t)
    topics = {
        'string.py': 'create/#',
        'array1.py': ['update/#'],
        'array2.py': ['create/#', 'update/#'],
        'mixed.py': ['create/#', 5],
        'number.py': 5,
        'object.py': {'a': 'b'},
        'true.py': True,
        'bad.py': 'create/#/x',
        'nul.py': 'create/\0',
    }
    for name, topic in topics.items():
        w.archive.make('/scripts/' + name, cdmi.TEXT, {'topic': topic})
    w.archive.make('/scripts/none.py', cdmi.TEXT, {'title': 'x'})
    w.start()
    equal(w.active(), {'string.py': 'create/#', 'array1.py': 'update/#', 'array2.py': 'create/#'})
    for name in ('mixed.py', 'number.py', 'object.py', 'true.py', 'bad.py', 'nul.py'):
        equal(w.registry()[name][0], 'refused', name)
        check('topic' in w.reason(name), w.reason(name))
    equal(w.registry()['none.py'][0], 'no-topic')
    equal(
        {r.raw_path.split('/')[-1] for r in w.server.requests if r.mode == 'content'},
        {'string.py', 'array1.py', 'array2.py', 'bad.py'},
        'what content was read of',
    )


def test_settings_from_metadata(t):
    w = cdmi.World(t, ini={'limits': {'timeout_max': '60s', 'memory_max': '1G'}})
    w.archive.make(
        '/scripts/a.py',
        cdmi.TEXT,
        {'topic': 'create/#', 'timeout': '5s', 'memory': ['64M'], 'title': 'mine', 'dc_creator': ['A', 'B']},
    )
    w.archive.make('/scripts/n.py', cdmi.TEXT, {'topic': 'create/#', 'timeout': 7})
    w.archive.make('/scripts/bad.py', cdmi.TEXT, {'topic': 'create/#', 'timeout': ['5s', '6s']})
    w.archive.make('/scripts/over.py', cdmi.TEXT, {'topic': 'create/#', 'timeout': '1h'})
    w.start()
    row = w.daemon.script_row('a.py')
    equal((row['timeout_usec'], row['memory_bytes']), (5000000, 64 << 20))
    equal(w.daemon.script_row('n.py')['timeout_usec'], 7000000)
    for name in ('bad.py', 'over.py'):
        equal(w.registry()[name][0], 'refused', name)
        check('timeout' in w.reason(name), w.reason(name))


NO_JSON = {
    'n': 10**19,
    'huge': 10**400,
    'nan': float('nan'),
    'inf': [float('-inf')],
    'half': 'a\ud800b',
    '\udfff': {'k\0': '\0'},
    'deep': json.loads('[' * 900 + ']' * 900),
}


def test_metadata_that_json_parsers_refuse(t):
    """Anybody may set it: it takes neither the script nor the collection away, and no setting that
    is somebody else's is touched."""
    w = cdmi.World(t)
    w.archive.nodes['/scripts'].metadata.update(NO_JSON)
    w.archive.make('/scripts/a.py', cdmi.TEXT, dict(NO_JSON, topic='create/#'))
    w.archive.make('/scripts/b.py', cdmi.TEXT, {'topic': 'create/#', 'timeout': 10**19})
    w.start()
    equal(w.active(), {'a.py': 'create/#'})
    check('10000000000000000000' in w.reason('b.py'), w.reason('b.py'))
    w.archive.cdmi_put('/scripts/a.py', {'metadata': dict(NO_JSON, topic='update/#')})
    t.wait(lambda: w.active() == {'a.py': 'update/#'}, lambda: 'the new topic: %s' % w.registry())
    w.archive.delete('/scripts/a.py')
    t.wait(lambda: w.active() == {}, 'it to be withdrawn', 5)


def test_a_server_that_does_not_list_children_alone(t):
    """It may refuse the question, or answer another one; the collection's metadata comes along
    then."""
    for answer in (
        lambda r: cdmi.cdmi_server.Reply(400) if r.query else None,
        lambda r: cdmi.cdmi_server.Reply(406) if r.query else None,
        lambda r: cdmi.cdmi_server.Reply(200, b'{"objectName": "scripts"}') if r.query else None,
    ):
        w = cdmi.World(t)
        w.archive.nodes['/scripts'].metadata.update(NO_JSON)
        w.archive.make('/scripts/a.py', cdmi.TEXT, {'topic': 'create/#'})
        w.server.fault('/scripts/$', answer)
        w.start()
        equal(w.active(), {'a.py': 'create/#'})


def test_what_the_parser_says(t):
    w = cdmi.World(t)
    w.archive.make('/scripts/a.py', cdmi.TEXT, {'topic': 'create/#'})
    w.server.fault(
        'a.py',
        lambda r: cdmi.cdmi_server.Reply(200, b'{"metadata": {"topic": "create/#",}}', 'application/cdmi-object'),
        mode='metadata',
    )
    w.start()
    check('line 1, byte 35' in w.reason('a.py') and "'}'" in w.reason('a.py'), w.reason('a.py'))
    check('url' not in w.reason('a.py'), 'the address is not to blame: ' + w.reason('a.py'))


def test_children_that_are_no_scripts(t):
    """References, broken children, names that cannot be used: listed with the reason, and in
    nobody's way."""
    w = simple(t)
    w.archive.make('/scripts/ref.py', b'', dict(TOPIC), kind='reference', url='http://192.0.2.1/x')
    w.archive.make('/scripts/broken.py', b'', dict(TOPIC)).broken = True
    w.archive.make('/scripts/denied.py', cdmi.TEXT, dict(TOPIC)).denied = True
    w.archive.make('/scripts/closed', None).denied = True
    w.archive.make('/scripts/closed/x.py', cdmi.TEXT, dict(TOPIC))
    real = w.archive.children
    w.archive.children = (
        lambda path: ['../', '//', *real(path), '..', '.', '', 'a/b', 'nul\0x', 'ctl\n', 7, None, {'a': 1}]
        if path == '/scripts'
        else real(path)
    )
    w.start()
    registry = w.registry()
    equal({name for name, (state, _) in registry.items() if state == 'active'}, {'a.py'})
    check(all(state in ('active', 'refused') for state, _ in registry.values()), registry)
    for name, words in {'ref.py': 'reference', 'broken.py': 'not there', 'denied.py': 'right'}.items():
        check(words in w.reason(name), '%s: %s' % (name, w.reason(name)))
    check(len(registry) >= 9, 'the unusable names are shown: %s' % registry)
    check('closed' in w.source()['error'], 'the unreadable sub-collection is told: %s' % w.source())
    equal(w.source()['state'], 'current')
    check(
        not any('192.0.2.1' in r.target or r.raw_path.endswith('/..') for r in w.server.requests),
        'nothing of that was followed',
    )


def test_sub_collections_by_choice(t):
    w = simple(t, ('a.py', 'sub/b.py', 'sub/deep/c.py'), scripts={'recursive': 'no'}).start()
    equal(sorted(w.registry()), ['a.py'])
    w.archive.web_create('/scripts/sub/d.py', cdmi.TEXT, dict(TOPIC))
    w.archive.web_create('/scripts/e.py', cdmi.TEXT, dict(TOPIC))
    w.becomes({'a.py': 'create/#', 'e.py': 'create/#'})


def test_another_collection(t):
    w = cdmi.World(t, scripts={'collection': '/admin//my scripts/'})
    w.archive.make('/admin/my scripts/a.py', cdmi.TEXT, dict(TOPIC))
    w.start()
    equal(w.active(), {'a.py': 'create/#'})
    w.archive.web_create('/admin/my scripts/sub/b.py', cdmi.TEXT, dict(TOPIC))
    w.archive.web_create('/scripts/c.py', cdmi.TEXT, dict(TOPIC))  # an event like any other
    w.becomes({'a.py': 'create/#', 'sub/b.py': 'create/#'})
    equal({job['topic'] for job in w.daemon.wait_jobs(2)}, {'create/resource/scripts/c.py'})


# --------------------------------------------------------------------------------- status by status


def status_of(t, mode, status, state, words, error=None, **options):
    """A script that gets STATUS in MODE ends in STATE with WORDS as reason; its neighbour is active
    in any case."""
    w = simple(t, ('a.py', 'z.py'), **options)
    w.server.fault('a.py', status, mode=mode)
    w.start()
    equal(w.registry()['a.py'][0], state, 'state after %s' % status)
    check(words in w.reason('a.py'), w.reason('a.py'))
    equal(w.registry()['z.py'][0], 'active', 'the neighbour')
    return w


def test_status_302_403_404_400_405_406(t):
    for status, words in (
        (302, 'reference'),
        (403, 'right'),
        (404, 'not there'),
        (410, 'not there'),
        (400, 'url'),
        (405, 'url'),
        (406, 'url'),
    ):
        w = status_of(t, 'metadata', status, 'refused', words)
        equal(w.source()['state'], 'current')
        w.server.heal()
        w.rescan()
        equal(w.registry()['a.py'][0], 'active', 'after the archive was healed')
        w.daemon.stop()
    w = status_of(t, 'content', 403, 'refused', 'right')
    w.server.heal()
    w.rescan()
    equal(w.registry()['a.py'][0], 'active', 'after the archive was healed')


def test_status_5xx(t):
    """Tried again, then the script is shown as unreadable and its older version serves on; the
    others are not concerned."""
    w = simple(t, ('a.py', 'z.py')).start()
    w.server.fault('a.py', 500, times=2)
    w.archive.replace('/scripts/a.py', b'print(2)\n')
    t.wait(lambda: w.version('a.py') == sha(b'print(2)\n'), 'the new content after two failures')
    faults = (500, 502, 503, 504, 'drop', 'cut', 'short')
    names = ['s%s.py' % fault for fault in faults]
    for name, fault in zip(names, faults):
        w.archive.make('/scripts/' + name, cdmi.TEXT, dict(TOPIC))
    w.rescan()
    for name, fault in zip(names, faults):
        w.server.fault(name, fault, mode='content')
        w.archive.replace('/scripts/' + name, b'print("%s")\n' % name.encode())
    failed = dict.fromkeys(names, 'fetch-failed')
    t.wait(
        lambda: failed == {name: state for name, (state, _) in w.registry().items() if name in failed},
        lambda: 'all to fail: %s' % w.registry(),
    )
    equal(w.source()['state'], 'incomplete')
    check(w.source()['error'], 'the error is shown')
    equal({w.version(name) for name in names}, {sha(cdmi.TEXT)}, 'the older versions serve')
    equal({w.registry()[name][0] for name in ('a.py', 'z.py')}, {'active'})
    w.server.heal()
    w.rescan()
    equal([w.version(name) for name in names], [sha(b'print("%s")\n' % name.encode()) for name in names])
    equal((w.source()['state'], w.source()['error']), ('current', ''))


def test_what_could_not_be_read_is_tried_again_by_itself(t):
    w = simple(t, ('a.py', 'z.py'))
    w.server.fault('a.py', 500, mode='content')
    w.start()
    equal(w.source()['state'], 'incomplete')
    scans = w.source()['scans']
    w.server.heal()
    w.becomes({'a.py': 'create/#', 'z.py': 'create/#'}, 20)
    equal((w.source()['state'], w.source()['scans']), ('current', scans))


def test_one_bad_script_does_not_hurry_the_start(t):
    """The daemon waits for its first scan before it takes events; one script that fails in it does
    not mean that the scan has failed."""
    w = cdmi.World(t)
    for number in range(100):
        w.archive.make('/scripts/s%03d.py' % number, cdmi.TEXT, dict(TOPIC))
    w.server.fault('s000.py', 500)
    w.server.fault('s099.py', 500, mode='metadata', times=1)
    w.daemon.start(ready=False)
    t.wait(lambda: status(w) and w.daemon.status()['state'] == 'running', 'the daemon to take events', 30)
    equal(len(w.active()), 99, 'scripts when it began to take events')


def test_emptied_by_http_put(t):
    """Indigo answers 500 for good: one such object must not stop the others, nor the withdrawal of
    what is gone."""
    w = simple(t, ('a.py', 'z.py', 'gone.py')).start()
    w.archive.http_put('/scripts/a.py', b'')
    t.wait(lambda: w.registry()['a.py'][0] == 'fetch-failed', 'fetch-failed')
    w.archive.mute = True
    w.archive.delete('/scripts/gone.py')
    w.rescan()
    equal(sorted(w.registry()), ['a.py', 'z.py'])


def test_404_then_200_after_an_event(t):
    w = cdmi.World(t).start()
    w.server.fault('a.py', 404, mode='metadata', times=2)
    w.server.fault('a.py', 404, mode='content', times=1)
    w.archive.web_create('/scripts/a.py', cdmi.TEXT, dict(TOPIC))
    w.becomes({'a.py': 'create/#'})
    w.server.fault('a.py', 404)
    w.archive.web_edit('/scripts/a.py', {'topic': 'update/#'})
    w.becomes({}, 20)  # it stays away: deleted


def test_401(t):
    """No fast retry: one request, then half a minute of silence. Cached scripts serve."""
    w = simple(t, ['s%d.py' % n for n in range(20)]).start()
    w.server.accounts['listener'] = 'changed'
    w.server.reset()
    w.archive.replace('/scripts/s1.py', b'print(2)\n')
    t.wait(lambda: w.source()['state'] == 'away', 'the source to be away')
    for number in range(5):
        w.archive.replace('/scripts/s%d.py' % number, b'print(3)\n')
    w.broker.publish('create/user/x', b'{}')
    w.daemon.wait_jobs(20)
    equal(w.server.count(), 1, 'requests with a refused password')
    check('password' in w.source()['error'], w.source()['error'])
    w.server.accounts['listener'] = 's3cret'
    w.rescan()  # somebody has put it right
    t.wait(
        lambda: w.version('s1.py') == sha(b'print(3)\n') and w.version('s0.py') == sha(b'print(3)\n'),
        'all to be current',
    )
    equal((w.source()['state'], w.source()['error']), ('current', ''))


def test_401_from_the_start(t):
    w = simple(t, password='other')
    w.daemon.start(ready=False)
    t.wait(lambda: status(w) == 'away' and w.daemon.status()['broker']['state'] == 'connected', 'the source to be away')
    w.broker.stop()
    w.broker.start()
    w.daemon.wait_log('session resumed|connected to the broker(.|\n)*connected to the broker')
    check(w.server.count() <= 2, 'a new session causes no attempt, a resumed one an ordinary rescan')
    check('401' in w.source()['error'], w.source()['error'])


def status(w):
    try:
        return w.source()['state']
    except Exception:
        return None


def test_301(t):
    """Twice at most, the same host only, method and headers kept."""
    w = simple(t, ('a.py', 'loop.py', 'other.py', 'twice.py', 'thrice.py'))
    elsewhere = cdmi.cdmi_server.Server(w.archive).start()
    t.stack.callback(elsewhere.stop)

    for name, count in (('twice.py', 2), ('thrice.py', 3)):
        counts = {}

        def action(request, count=count, counts=counts):
            key = request.mode
            counts[key] = counts.get(key, 0) + 1
            return (
                cdmi.cdmi_server.Reply(301, b'', 'text/html', [('Location', request.raw_path)])
                if counts[key] % (count + 1)
                else None
            )

        w.server.fault(name, action)
    w.server.fault('loop.py', 'redirect:%')
    w.server.fault('other.py', 'redirect:http://127.0.0.1:%d%%' % elsewhere.port)
    w.start()
    equal(sorted(w.active()), ['a.py', 'twice.py'])
    for name in ('loop.py', 'other.py', 'thrice.py'):
        check('redirected' in w.reason(name), w.reason(name))
    equal(elsewhere.count(), 0, 'requests to the other server: neither they nor the credentials go there')
    for request in w.server.requests:
        if 'twice' in request.raw_path and request.mode == 'metadata':
            equal(request.headers.get('x-cdmi-specification-version'), '1.1')


def test_a_listing_that_is_redirected_elsewhere(t):
    w = simple(t)
    other = cdmi.cdmi_server.Server(w.archive, host='127.0.0.2').start()
    t.stack.callback(other.stop)
    w.server.fault('/scripts/$', 'redirect:http://127.0.0.2:%d%%' % other.port)
    w.daemon.start(ready=False)
    t.wait(lambda: status(w) == 'away', 'the source to be away')
    equal(other.count(), 0)
    check('redirected' in w.source()['error'], w.source()['error'])


def test_listings_that_are_none(t):
    """Nothing is withdrawn on the word of a confused server."""
    w = simple(t).start()
    for action in (
        'garbage',
        'cut',
        'short',
        'drop',
        500,
        503,
        403,
        404,
        406,
        lambda r: cdmi.cdmi_server.Reply(200, b'[]'),
        lambda r: cdmi.cdmi_server.Reply(200, b'{"children": {"a.py": 1}}'),
        lambda r: cdmi.cdmi_server.Reply(200, b'{"objectName": "scripts"}'),
    ):
        w.server.fault('/scripts/$', action)
        w.daemon.ctl('rescan')
        t.wait(lambda: w.source()['state'] == 'away', lambda: 'away after %s: %s' % (action, w.source()))
        equal(w.active(), {'a.py': 'create/#'})
        w.server.heal()
        w.rescan()
        equal((w.source()['state'], w.source()['error']), ('current', ''))


# -------------------------------------------------------------------------- relatives and standards


def relative(t, flavour):
    w = simple(t, ('a.py', 'sub/b.py'), flavour=flavour)
    w.archive.make('/scripts/ref.py', b'', dict(TOPIC), kind='reference', url='http://192.0.2.1/x')
    w.archive.make('/scripts/really?', cdmi.TEXT, dict(TOPIC))
    w.archive.make('/scripts/base64.py', 'print("é")\n'.encode(), {'topic': 'create/#', 'encoding': 'base64'})
    return w.start()


def test_radon(t):
    """Marks, other spelling of keys, 404 without the slash; its topics are not registration
    events."""
    w = relative(t, 'radon')
    w.archive.make('/scripts/broken.py', b'', dict(TOPIC)).broken = True
    w.rescan()
    equal(sorted(w.active()), ['a.py', 'base64.py', 'really?', 'sub/b.py'])
    check('reference' in w.reason('ref.py?'), w.reason('ref.py?'))
    check('not there' in w.reason('broken.py#'), w.reason('broken.py#'))
    w.archive.web_create('/scripts/new.py', cdmi.TEXT, dict(TOPIC))
    equal(w.archive.events[-1][0], 'create/success/resource/scripts/new.py')
    w.rescan()
    check('new.py' in w.active(), w.active())


def test_cdmi_1_1(t):
    """Values come with the description: one request per script."""
    w = relative(t, 'cdmi11')
    equal(sorted(w.active()), ['a.py', 'base64.py', 'really?', 'sub/b.py'])
    equal(w.version('base64.py'), sha('print("é")\n'.encode()))
    equal(w.server.count('content'), 0)
    w.archive.replace('/scripts/a.py', b'print(2)\n')  # there are no events
    w.rescan()
    equal(w.version('a.py'), sha(b'print(2)\n'))


def test_cdmi_2_0(t):
    """The version is in the path, the header must not be sent."""
    w = relative(t, 'cdmi20')
    equal(sorted(w.active()), ['a.py', 'base64.py', 'really?', 'sub/b.py'])
    equal(w.server.count('content'), 0)
    check(not any('x-cdmi-specification-version' in r.headers for r in w.server.requests), 'the header was sent')


def test_cdmi_2_0_behind_another_path(t):
    """Found out by the 400 that the header gets; and back again, if it was Indigo's trouble."""
    w = simple(t, flavour='cdmi20')
    w.server.root = '/archive'
    w.daemon.change({'scripts': {'url': w.server.url}})
    w.start()
    equal(w.active(), {'a.py': 'create/#'})
    w = simple(t)
    w.server.fault('/scripts/$', 400, times=1)
    w.start()
    equal(w.active(), {'a.py': 'create/#'})


harness.main()
