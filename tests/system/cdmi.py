"""cdmi.py - a daemon whose scripts live in an archive (tests/cdmi_server.py)."""
import os
import sys

import harness

sys.path.insert(0, os.path.join(harness.ROOT, 'tests'))
sys.dont_write_bytecode = True
import cdmi_server  # noqa: E402

TEXT = b'print("hello")\n'


class World:
    """A broker, an archive that publishes to it, and a listener that reads it."""

    def __init__(self, t, flavour='indigo', docker=None, archive=None, ini=None, scripts=None, mqtt_level=3, **server):
        self.t = t
        self.broker = t.broker()
        self.archive = archive or cdmi_server.Archive(self.broker.port, flavour, mqtt_level)
        self.archive.broker_port = self.broker.port
        self.server = cdmi_server.Server(self.archive, **server)
        self.server.start()
        t.stack.callback(self.server.stop)
        self.daemon = t.listener(
            self.broker, docker=docker, ini=dict({'scripts': self.settings(scripts)}, **(ini or {}))
        )

    def settings(self, scripts=None):
        settings = {
            'source': 'cdmi',
            'directory': None,
            'url': self.server.url,
            'user': 'listener',
            'password': 's3cret',
            'rescan': '1h',
            'timeout': '5s',
        }
        settings.update(scripts or {})
        return {key: value for key, value in settings.items() if value is not None}

    def start(self, **named):
        self.daemon.start(**named)
        self.idle()
        return self

    def source(self):
        return self.daemon.status()['scripts']['source']

    def idle(self, seconds=30):
        """The scan that a new session with the broker causes is over too."""
        return self.t.wait(
            lambda: self.source()['state'] in ('current', 'incomplete'),
            lambda: 'the source to be current: %s' % self.source(),
            seconds,
        )

    def registry(self):
        return {row['name']: (row['state'], row.get('topic')) for row in self.daemon.ctl('scripts')}

    def active(self):
        return {name: topic for name, (state, topic) in self.registry().items() if state == 'active'}

    def becomes(self, registry, seconds=15):
        """Until the registry is REGISTRY: name -> topic of an active script, or (state, topic)."""
        should = {name: ('active', value) if isinstance(value, str) else value for name, value in registry.items()}
        self.t.wait(
            lambda: self.registry() == should,
            lambda: 'the registry to be %s; it is %s' % (should, self.registry()),
            seconds,
        )

    def reason(self, name):
        return self.daemon.script_row(name)['reason']

    def version(self, name):
        return (self.daemon.script_row(name) or {}).get('version')

    def rescan(self):
        scans = self.source()['scans']
        self.daemon.ctl('rescan')
        self.t.wait(lambda: self.source()['scans'] > scans, lambda: 'a rescan: %s' % self.source(), 30)
        self.idle()
