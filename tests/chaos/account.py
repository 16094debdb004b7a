"""account.py - published, acknowledged, journalled, run: compares what four independent witnesses
say.

  published     the publisher's plan and what became of each message
  acknowledged  what the listener acknowledged, as seen on the wire
  journalled    events and jobs in the journal, read after the end
  run           what scripts reported to the ledger, and the lines of json-lines, by job and attempt
  asked for     what operators told jobs to do, written down before they did

Equal messages are told apart by counting: for each content (topic and payload) so many were
published, acknowledged, journalled, run.

  ran_twice      runs of an attempt beyond the first, further attempts and replays that nobody
                 asked for, and events journalled more often than published
  missing        acknowledged and not journalled, journalled without the jobs of its scripts, or a
                 job that did not run and is not reported as lost
  lost_reported  jobs in state lost
  broker_lost    published and never acknowledged: the broker died with it. The listener never had
                 it, so it cannot be missing."""
import collections
import json
import os
import sqlite3

import people
import plan

CANCELLED = 8  # LSN_OUTCOME_CANCELLED
JOB = ('id', 'event', 'script', 'state', 'outcome', 'message', 'finished', 'started', 'attempts', 'replay_of')
RUN_MAX = 600  # seconds from a job's start to its report, an absence of the engine included
# seconds around a broker's death in which it may lose what it took
AT_RISK_BEFORE, AT_RISK_AFTER = 30, 15


class Account:
    def __init__(self, folder, deaths, stops, engine_outages):
        """deaths, stops: when mosquitto was killed, and stopped in order. engine_outages: (from,
        to, how) of Docker restarts."""
        self.folder, self.deaths, self.stops, self.outages = folder, deaths, stops, engine_outages
        self.notes = []
        self.messages = [json.loads(line) for line in open(os.path.join(folder, 'plan'))]
        for m in self.messages:
            m['content'] = plan.digest(m['topic'], m['payload'])
        for line in open(os.path.join(folder, 'published')):
            known = json.loads(line)
            self.messages[known['number']].update(sent=known['at'], known=known['known'])
        self.published = collections.Counter(m['content'] for m in self.messages if 'sent' in m)
        self.acked = self.read_wire()
        self.read_journal()
        self.runs = self.read_runs()
        self.acts = people.read_acts(os.path.join(folder, 'acts'))

    def note(self, text):
        self.notes.append(text)

    def read_wire(self):
        """Publications acknowledged, by content. An acknowledgement of the packet id and content
        that the id stood for before is of a repeat."""
        counts, last = collections.Counter(), {}
        for line in open(os.path.join(self.folder, 'wire')):
            when, connection, packet, dup, content = line.split()
            before = last.get(packet)
            last[packet] = (connection, content)
            if not (before and before[1] == content and (before[0] != connection or dup == '1')):
                counts[content] += 1
        return counts

    def read_journal(self):
        db = sqlite3.connect(os.path.join(self.folder, 'small/journal.db'))
        self.events = {
            id_: plan.digest(as_text(topic), as_text(payload))
            for id_, topic, payload in db.execute('SELECT id, topic, payload FROM events WHERE state = 0')
        }
        self.topics = {id_: as_text(topic) for id_, topic in db.execute('SELECT id, topic FROM events WHERE state = 0')}
        self.rejected = db.execute('SELECT count(*) FROM events WHERE state != 0').fetchone()[0]
        self.jobs = [
            dict(zip(JOB, row))
            for row in db.execute(
                'SELECT j.id, j.event, n.name, j.state, j.outcome, j.message, j.finished, u.started, j.attempt, j.replay_of FROM jobs j'
                ' JOIN script_names n ON n.id = j.script LEFT JOIN runs u ON u.job = j.id AND u.attempt = j.attempt'
            )
        ]
        problems = [row[0] for row in db.execute('PRAGMA integrity_check')]
        if problems != ['ok']:
            self.note('the journal is damaged: %s' % problems)
        db.close()
        self.journalled = collections.Counter(self.events.values())

    def read_runs(self):
        runs = collections.Counter()
        contents = {}
        for name in ('ledger', 'jobs.jsonl'):
            path = os.path.join(self.folder, name)
            for line in open(path, errors='replace') if os.path.exists(path) else ():
                try:
                    run = json.loads(line)
                except ValueError:
                    self.note('%s has a broken line: %.100r' % (name, line))
                    continue
                runs[int(run['job']), int(run['attempt'])] += 1
                contents[int(run['job'])] = run.get('content') or plan.digest(run['topic'], run['payload'])
        for job in self.jobs:
            if contents.get(job['id'], self.events.get(job['event'])) != self.events.get(job['event']):
                self.note('job %d ran with another event\'s topic or payload' % job['id'])
        known = {job['id'] for job in self.jobs}
        self.unknown_runs = sorted(run for run in runs if run[0] not in known)
        return runs

    def at_risk(self, m):
        # At QoS 0 nobody says that a broker about to stop did not read the message.
        if m['qos'] == 0 and any(stop - 1 <= m['sent'] <= stop + 3 for stop in self.stops):
            return True
        return m['known'] == 'unknown' or any(
            death - AT_RISK_BEFORE <= m['sent'] <= death + AT_RISK_AFTER for death in self.deaths
        )

    def explained(self, job):
        """Lost or cut short, and rightly so: Docker was restarted without live-restore while it
        ran, or an operator cancelled it. Either time may have been taken while the clock was
        wrong."""
        if job['outcome'] == CANCELLED:
            return self.acts['cancel'][job['id']] > 0
        return any(
            started <= to + 1 and finished >= since - 1
            for since, to, how in self.outages
            if 'live' not in how
            for started, finished in possible_times(job, to)
        )

    def repeats(self, job):
        """How often an attempt ran again, or was made without being asked for."""
        times = [self.runs[job['id'], n] for n in range(1, job['attempts'] + 2)]
        twice = sum(n - 1 for n in times if n > 1)
        if twice:
            self.note('attempts of job %(id)d of %(script)s ran %(times)s times' % dict(job, times=times))
        unasked = job['attempts'] - 1 - self.acts['retry'][job['id']]
        if unasked > 0:
            twice += unasked
            self.note('job %(id)d of %(script)s has %(attempts)d attempts, nobody asked for so many' % job)
        return twice

    def settle_replays(self):
        made, twice = collections.Counter(job['replay_of'] for job in self.jobs if job['replay_of']), 0
        for job, times in made.items():
            asked = self.acts['replay'][job]
            if times > asked:
                twice += times - asked
                self.note('job %d was replayed %d times and told so %d times' % (job, times, asked))
        return twice

    def settle(self):
        twice = missing = lost = unexplained = once = cut_short = 0
        expected = collections.defaultdict(list)
        twice += self.settle_replays()
        for job in self.jobs:
            if not job['replay_of']:
                expected[job['event']].append(job['script'])
            twice += self.repeats(job)
            times = self.runs[job['id'], job['attempts']]
            if job['state'] == 6:
                lost += 1
                if not self.explained(job):
                    unexplained += 1
                    self.note(
                        'job %(id)d of %(script)s is lost (started %(started)s, reported %(finished)s): %(message)s'
                        % job
                    )
            elif job['state'] != 5:
                missing += 1
                self.note('job %(id)d of %(script)s has not ended: state %(state)d' % job)
            elif times == 0 and self.explained(job) and job['outcome'] != 0:
                cut_short += 1
            elif times == 0:
                missing += 1
                self.note('job %(id)d of %(script)s did not run: outcome %(outcome)s, %(message)s' % job)
            else:
                once += times == 1
                if job['outcome'] != 0 and not self.explained(job):
                    unexplained += 1
                    self.note('job %(id)d of %(script)s ran and ended with outcome %(outcome)s: %(message)s' % job)
        for event, topic in self.topics.items():
            if sorted(expected[event]) != sorted(plan.scripts_for(topic)):
                missing += max(0, len(plan.scripts_for(topic)) - len(expected[event]))
                self.note('event %d (%s) has jobs of %s' % (event, topic, expected[event]))
        for content in self.published | self.journalled | self.acked:
            p, a, j = self.published[content], self.acked[content], self.journalled[content]
            if j > p:
                twice += j - p
                self.note('content %s was published %d times and journalled %d times' % (content, p, j))
            if a > j:
                missing += a - j
                self.note(
                    'content %s was acknowledged %d times and journalled %d times (published %d times)'
                    % (content, a, j, p)
                )
        broker_lost = self.settle_broker()
        if self.unknown_runs:
            missing += len(self.unknown_runs)
            self.note('runs of jobs the journal does not know: %s' % self.unknown_runs[:20])
        return {
            'events': sum(self.published.values()),
            'journalled': len(self.events),
            'rejected': self.rejected,
            'jobs': len(self.jobs),
            'cancelled': sum(job['outcome'] == CANCELLED for job in self.jobs),
            'attempts_asked_for': sum(job['attempts'] > 1 for job in self.jobs),
            'replays': sum(job['replay_of'] > 0 for job in self.jobs),
            'ran_once': once,
            'ran_twice': twice,
            'missing': missing,
            'lost_reported': lost,
            'cut_short': cut_short,
            'broker_lost': broker_lost[0],
            'unexplained': unexplained + broker_lost[1],
            'equal_events': sum(n for n in self.published.values() if n > 1),
            'published': dict(
                collections.Counter('qos %d %s' % (m['qos'], m['known']) for m in self.messages if 'sent' in m)
            ),
        }

    def settle_broker(self):
        by_content, lost, unexplained = collections.defaultdict(list), 0, 0
        for m in self.messages:
            if 'sent' in m:
                by_content[m['content']].append(m)
        for content, copies in by_content.items():
            short = len(copies) - max(self.journalled[content], self.acked[content])
            risky = sum(self.at_risk(m) for m in copies)
            lost += max(0, short)
            if short > risky:
                unexplained += short - risky
                self.note(
                    'content %s: %d of %d never reached the listener although the broker lived; sent at %s'
                    % (content, short, len(copies), [round(m['sent'], 3) for m in copies])
                )
        return lost, unexplained


def possible_times(job, outage_end):
    """When it started and was reported, whichever clock told: those that make a run of a possible
    length. A start that is not known was at any time; then the report came soon after the
    outage."""
    ends = [job['finished'] / 1e6 - offset for offset in (0,) + plan.CLOCK_OFFSETS]
    if not job['started']:
        return [(0, end) for end in ends if end <= outage_end + 40]
    starts = [job['started'] / 1e6 - offset for offset in (0,) + plan.CLOCK_OFFSETS]
    return [(start, end) for start in starts for end in ends if 0 <= end - start <= RUN_MAX]


def as_text(value):
    return value.decode(errors='replace') if isinstance(value, bytes) else value or ''
