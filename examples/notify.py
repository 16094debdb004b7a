"""update/resource/demo/#: tell a web server, if the resource's metadata ask for it ("notify": URL).
Ports 80 and 443 are open; most others are not."""
import json
import os
import socket
import sys
from urllib.parse import urlsplit

import requests

after = json.load(sys.stdin)['post']
url = after.get('metadata', {}).get('notify')
if not url:
    sys.exit(0)
answer = requests.post(
    url, json={'topic': sys.argv[1], 'uuid': after['uuid'], 'event': os.environ['LISTENER_EVENT']}, timeout=5
)
print('told %s: %d %s' % (url, answer.status_code, answer.text.strip()))
try:
    socket.create_connection((urlsplit(url).hostname, 8080), timeout=3)
    print('port 8080 is open: it should not be')
except OSError as error:
    print('port 8080: %s' % error)
