"""create/+/demo/#: a new resource or collection anywhere below /demo. '+' is one level (the type),
'#' all that is below, and /demo itself."""
import json
import sys

new = json.load(sys.stdin)['post']
print('%s: %s, in %s' % (sys.argv[1].split('/')[1], new['name'], new['container']))
