"""create/+/test/#: write metadata back to what was created, over CDMI. Set ARCHIVE and LOGIN; the
user needs the right to edit below /test, no other.

The update that this causes is an event too, "update/...": it does not run this script again,
because its topic asks for create only."""
import json
import sys
from urllib.parse import quote

import requests

ARCHIVE = 'http://archive.example.org/api/cdmi'
LOGIN = ('scripts', 's3cret')

topic, event = sys.argv[1], json.load(sys.stdin)
state = event['post']
kind = 'object' if 'url' in state else 'container'
levels = [level for level in state['container'].split('/') if level] + [state['name']]
address = ARCHIVE + '/' + '/'.join(quote(level, safe='') for level in levels) + ('/' if kind == 'container' else '')

archive = requests.Session()
archive.auth = LOGIN
archive.headers = {
    'X-CDMI-Specification-Version': '1.1',
    'Accept': 'application/cdmi-' + kind,
    'Content-Type': 'application/cdmi-' + kind,
}

# Ask instead of using the event's metadata: an object that comes by CDMI is announced without any,
# they follow a moment later.
answer = archive.get(address, timeout=5)
answer.raise_for_status()
metadata = {key: value for key, value in answer.json()['metadata'].items() if key != 'cdmi_acl'}
if 'seen_by_listener' in metadata:
    print('%s has been seen before' % address)
    sys.exit(0)

# The archive replaces all metadata by what it is sent: send what was there, too.
metadata['seen_by_listener'] = topic
answer = archive.put(address, data=json.dumps({'metadata': metadata}), timeout=5)
answer.raise_for_status()
print('wrote to %s: %d' % (address, answer.status_code))
