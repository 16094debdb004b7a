"""+/group/#: everything that happens to groups."""
import json
import sys

operation, _, name = sys.argv[1].split('/', 2)
group = json.load(sys.stdin)['pre' if operation == 'delete' else 'post']
print('%s %s, members: %s' % (operation, name, ', '.join(group['members']) or 'none'))
