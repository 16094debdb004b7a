"""+/resource/demo/report.csv: any operation on one resource. The first level is the operation, '+'
stands for any."""
import json
import sys

operation = sys.argv[1].split('/')[0]
event = json.load(sys.stdin)
before, after = event['pre'], event['post']
if operation == 'update' and before['url'] != after['url']:
    print('new content: %s' % after['url'])
elif operation == 'update':
    changed = {key: value for key, value in after['metadata'].items() if before['metadata'].get(key) != value}
    print('changed metadata: %s' % json.dumps(changed, sort_keys=True))
else:
    print('%sd' % operation)
