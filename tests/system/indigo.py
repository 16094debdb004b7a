"""indigo.py - the messages an Indigo server really publishes (tools/listenerctl/samples.txt: topic
line, payload line), and MQTT's matching rules written down a second time, so that the daemon is not
checked against itself."""
import os


def messages():
    """(topic, payload) pairs, bytes as on the wire."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(root, 'tools/listenerctl/samples.txt'), 'rb') as f:
        lines = f.read().splitlines()
    return [(lines[i].decode(), lines[i + 1]) for i in range(0, len(lines), 2)]


def matches(filter_, topic):
    """MQTT 3.1.1, 4.7: '+' is one level, '#' the level before it and all below, neither matches a
    first level that starts with '$'."""
    wanted, levels = filter_.split('/'), topic.split('/')
    if levels[0].startswith('$') and wanted[0] in ('#', '+'):
        return False
    for i, word in enumerate(wanted):
        if word == '#':
            return True
        if i >= len(levels) or word not in ('+', levels[i]):
            return False
    return len(wanted) == len(levels)
