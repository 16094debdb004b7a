"""plan.py - what happens when, from a seed alone: the messages and each lane of faults."""
import hashlib
import json
import random

STEPS = (
    'after-read',
    'after-commit',
    'after-ack',
    'after-intent',
    'after-handover',
    'after-result',
    'after-result-commit',
)

CLOCK_OFFSETS = (3600, -3600, 86400, -86400)

# name, filter, executor, text of the script: what runs on which topics
SCRIPTS = (
    ('report.py', 'update/resource/box/#', 'docker-sandbox'),
    ('again.py', 'update/resource/box/both/#', 'docker-sandbox'),
    ('slow.py', 'update/resource/slow/#', 'docker-sandbox'),
    ('line.py', 'create/#', 'json-lines'),
    ('other.py', 'create/+/line/#', 'json-lines'),
)


def scripts_for(topic):
    """The scripts of an event; the topics are chosen so that this needs no matcher."""
    kind = topic.split('/')
    names = {'box': ['report.py'], 'slow': ['slow.py'], 'line': ['line.py', 'other.py']}[kind[2]]
    return names + (['again.py'] if kind[2:4] == ['box', 'both'] else [])


def lane(seed, name):
    return random.Random('%s/%s' % (seed, name))


def digest(topic, payload):
    return hashlib.sha256(topic.encode() + b'\0' + payload.encode()).hexdigest()[:16]


def message(r, number):
    kind = r.random()
    if kind < 0.74:
        topic = 'create/%s/line/%d' % (r.choice(('resource', 'collection')), number % 97)
    elif kind < 0.97:
        topic = 'update/resource/box/%s/%d' % (r.choice(('one', 'one', 'both')), number % 97)
    else:
        topic = 'update/resource/slow/%d' % (number % 97)
    payload = {'n': number}
    if kind >= 0.97:
        payload['sleep'] = round(r.uniform(0.3, 4), 2)
    if r.random() < 0.05:
        payload['pad'] = 'x' * r.randrange(20000)
    return topic, json.dumps(payload)


def messages(seed, seconds, rate):
    """[{at, topic, payload, qos}], by time. One in eight is published two or three times, at once
    or later: equal events that must all run."""
    r, plan, number = lane(seed, 'messages'), [], 0

    def add(at):
        topic, payload = message(r, len(plan))
        copies = 1 if r.random() > 0.12 else r.choice((2, 2, 3))
        for copy in range(copies):
            plan.append({'at': at, 'topic': topic, 'payload': payload, 'qos': r.randrange(2)})
            at += r.choice((0, 0.001, 0.3, 1, 4))

    at = 0.0
    while at < seconds:
        # now and then many at once
        for _ in range(r.randrange(50, 300) if r.random() < 0.002 else 1):
            add(at)
            number += 1
        at += r.expovariate(rate / 1.55)  # copies and bursts make up the rest
    plan.sort(key=lambda m: m['at'])
    return plan


def lives(seed):
    """Of listenerd, without end: (fault or None, seconds until it is killed, signal)."""
    r = lane(seed, 'listenerd')
    while True:
        step = r.choice(STEPS) if r.random() < 0.5 else None
        yield '%s:%d' % (step, r.choice((1, 1, 2, 3, 5, 8, 13))) if step else None, r.uniform(
            0.15, 5.5
        ), 'TERM' if r.random() < 0.04 else 'KILL'


def broker_faults(seed):
    """(seconds until, what, how long)."""
    r = lane(seed, 'mosquitto')
    while True:
        yield r.uniform(8, 30), r.choice(('kill', 'kill', 'kill', 'kill', 'restart', 'freeze')), r.uniform(0, 2.5)


def network_faults(seed):
    r = lane(seed, 'network')
    while True:
        yield r.uniform(3, 20), r.choice(('cut', 'cut', 'stall')), r.uniform(0, 3)


def disk_faults(seed):
    r = lane(seed, 'disk')
    while True:
        yield r.uniform(15, 50), r.choice(('full', 'nearly full')), r.uniform(0.5, 4)


def reloads(seed):
    r = lane(seed, 'reload')
    while True:
        yield r.uniform(3, 15), r.choice(('log_level', 'per_script', 'nothing')), 0


def engine_faults(seed, seconds):
    """live-restore on and off in turn; a restart takes some time, so not too many."""
    r, pause = lane(seed, 'dockerd'), min(90, seconds / 4)
    live = True
    while True:
        yield r.uniform(0.7, 1.3) * pause, ('live ' if live else '') + r.choice(('kill', 'stop')), r.uniform(0, 2)
        # beyond each limit of a job, if there is time for that
        yield r.uniform(0.2, 0.4) * pause, 'live hang', r.choice((3, min(75, seconds / 10)))
        live = not live


def clock_steps(seed):
    """(seconds until, offset of the daemon's wall clock in seconds, for how long)."""
    r = lane(seed, 'clock')
    while True:
        yield r.uniform(3, 12), r.choice(CLOCK_OFFSETS), r.uniform(0.5, 8)


def name_faults(seed):
    r = lane(seed, 'names')
    while True:
        yield r.uniform(15, 40), 'silent', r.uniform(2, 14)


def descriptor_faults(seed):
    r = lane(seed, 'descriptors')
    while True:
        yield r.uniform(10, 30), r.randrange(4), r.uniform(0.3, 4)


def operator_acts(seed):
    r = lane(seed, 'operator')
    while True:
        yield r.uniform(1, 5), r.choice(('cancel', 'cancel', 'retry', 'retry', 'replay')), 0


def pauses(seed):
    """(seconds until, what is paused, for how long)."""
    r = lane(seed, 'pauses')
    while True:
        yield r.uniform(3, 12), r.choice(('all', 'executor', 'pattern', 'script', 'script')), r.uniform(0.3, 3)


def reader_acts(seed):
    r = lane(seed, 'readers')
    while True:
        yield r.uniform(5, 20), r.choice(('greedy', 'silent')), r.uniform(1, 8)
