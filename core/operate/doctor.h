/* doctor.h - the parts of `listenerctl doctor`. Each part says what it found to a sink, one row
 * at a time; doctor.c puts them together.
 *
 *   doctor_checks.c     what the daemon knows or can look up at once; on the loop, does not block
 *   doctor_disk.c       how long the journal's disk takes to store something; in the child
 *   doctor_reach.c      whether events reach the daemon; in the child, and the daemon's intake
 *   doctor_broker.c     what the broker does with probe messages (doctor_client.c is one MQTT
 *                       client, doctor_probes.c a pair of them); in the child
 *   doctor_resend.c     whether what it sends again is recognised; in the child
 *   doctor_limits.c     how much it sends, keeps and takes; in the child
 *   doctor_mosquitto.c  what can be seen of a mosquitto on this machine; in the child
 *   doctor_report.c     one row
 *   doctor_child.c      runs a part that blocks in a process of its own and relays its rows */
#ifndef CORE_DOCTOR_H
#define CORE_DOCTOR_H

#include "doctor_event.h"
#include "wiring.h"

/* where rows go.
 * WHAT and REMEDY are borrowed for the call; REMEDY is NULL if OK */
struct doctor_sink {
	void (*row)(void *data, enum lsn_probe_level level, const char *area, const char *what, const char *remedy);
	void *data;
};

/* doctor_report - one row.
 * REMEDY (not a format) may be NULL if LEVEL is OK. */
void doctor_report(const struct doctor_sink *sink, enum lsn_probe_level level, const char *area, const char *remedy,
		   const char *format, ...) __attribute__((format(printf, 5, 6)));

/* ------------------------------------------------------------------------ what the daemon knows */

/* reads the configuration files */
void doctor_config(const struct doctor_sink *sink, const struct daemon *daemon);
void doctor_limits(const struct doctor_sink *sink, const struct config *config);
void doctor_loop(const struct doctor_sink *sink);

void doctor_clock(const struct doctor_sink *sink, uint64_t started_realtime_usec, uint64_t started_monotonic_usec);
void doctor_journal(const struct doctor_sink *sink, const struct daemon *daemon);
void doctor_connection(const struct doctor_sink *sink, const struct daemon *daemon);

/* doctor_source - after a scan that was asked for now; ANSWERED: it has ended. */
void doctor_source(const struct doctor_sink *sink, const struct daemon *daemon, bool answered);

/* ----------------------------------------------------------------------------- what takes its time
 * These block and stop early when doctor_child_stopping(). */

void doctor_disk(const struct doctor_sink *sink, const char *journal_path);

/* doctor_reach - one event that runs nothing for each subscription: does it reach the daemon?
 * EVENTS: what its intake notes.
 * Takes at most LIMIT_USEC. */
void doctor_reach(const struct doctor_sink *sink, const struct broker_config *config, struct doctor_events *events,
		  uint64_t limit_usec);

/* doctor_broker - tries the broker with two clients of its own and topics nobody else uses, and
 * takes away after itself what the broker would keep for them.
 * One of them is as large as PAYLOAD_MAX_BYTES, at most 1 MiB.
 * Takes some seconds, at most LIMIT_USEC and a few more. */
void doctor_broker(const struct doctor_sink *sink, const struct broker_config *config, uint64_t payload_max_bytes,
		   uint64_t limit_usec);

/* doctor_persistence - does the broker keep its queue over its own restart?
 * SINCE_REALTIME_USEC: it had much to save since then. */
void doctor_persistence(const struct doctor_sink *sink, const struct broker_config *config,
			uint64_t since_realtime_usec);

/* doctor_child_start - run WORK(sink, data) in a child; its rows come to SINK, and after the
 * last END is called once, on the loop thread.
 * If the child takes longer than LIMIT_USEC or crashes, a row says so.
 * DATA is as it was at the call (the child has a copy of everything).
 * 0 or a negative errno. */
typedef void (*doctor_work)(const struct doctor_sink *sink, const void *data);
struct doctor_child;
int doctor_child_start(sd_event *loop, doctor_work work, const void *data, uint64_t limit_usec,
		       const struct doctor_sink *sink, void (*end)(void *data), struct doctor_child **ret);

/* doctor_child_free - asks a child that is still at work to tidy up and go; END (called with
 * SINK's data) is not called any more.
 * NULL is allowed. */
void doctor_child_free(struct doctor_child *child);

/* doctor_child_stopping - in the child: somebody wants us to end. */
bool doctor_child_stopping(void);

#endif
