"""update/user/user1: exactly one topic."""
import json
import sys

event = json.load(sys.stdin)
joined = sorted(set(event['post']['groups']) - set(event['pre']['groups']))
print('%s joined: %s' % (event['post']['name'], ', '.join(joined) or 'nothing'))
