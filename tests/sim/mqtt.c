/* mqtt.c - a broker with one subscriber, and how it sends again what was not acknowledged. Four
 * kinds, as measured:
 *
 * mosquitto   first, in order, under the old packet ids, DUP 1
 * rabbitmq    first, in order, under new packet ids from 1, DUP 1
 * nats        new ones first; the old ones some time later, also on a living connection, under
 *             their old packet ids, which new ones have used meanwhile, DUP 1
 * aedes       first, in order, under the old packet ids, DUP 0
 *
 * The broker loses nothing, unless a step says that it has lost the session. Now and then mosquitto
 * counts on from a packet id of earlier, as it does when it was killed.
 * Acknowledgements are under way for a while, and those that are under way when the connection is
 * cut may be lost. So may publications that the daemon has not read. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define ACK_WAIT_USEC (30 * USEC_PER_SEC) /* of nats */
#define BATCH_MAX 64

struct message {
	unsigned serial;
	char topic[28];
	uint16_t id; /* the last one it was sent under */
	bool sent, acked; /* as far as the broker knows */
	bool here; /* sent on this connection, or waits to be sent again on it */
	bool given; /* the daemon has got it */
	bool told; /* the daemon has acknowledged it */
	bool gone; /* with its session */
	uint64_t due_usec; /* nats: when it is sent again */
};

static struct {
	struct message *messages;
	size_t count, size;
	size_t first; /* all before are acknowledged */
	size_t next; /* the first that was never sent */
	size_t *again; /* to be sent again on this connection */
	size_t again_count, again_next;
	size_t batch[BATCH_MAX], batch_count;
	size_t *wire; /* acknowledgements under way */
	size_t wire_count, wire_size;
	uint16_t last_id;
	uint64_t connects;
	bool restored; /* it has counted on from an older id */
	bool connected, held, paused;
	struct mqtt_figures figures;
} mqtt;

static size_t in_flight_max(void) { return world.profile.broker == BROKER_RABBITMQ ? 10 : 20; }

void mqtt_begin(void)
{
	uint64_t state = mix(world.seed, 0x3177);

	mqtt_end();
	static const unsigned before_the_end[] = { UINT16_MAX, 100, 5 };
	unsigned distance = before_the_end[draw(&state, ELEMENTSOF(before_the_end))];
	mqtt.last_id = distance == UINT16_MAX ? 0 : (uint16_t)(UINT16_MAX - draw(&state, distance));
}

void mqtt_end(void)
{
	free(mqtt.messages);
	free(mqtt.again);
	free(mqtt.wire);
	memset(&mqtt, 0, sizeof mqtt);
}

const struct mqtt_figures *mqtt_get_figures(void) { return &mqtt.figures; }
bool mqtt_connected(void) { return mqtt.connected; }

void mqtt_publish(unsigned serial, const char *topic)
{
	if (mqtt.count == mqtt.size) {
		mqtt.size = mqtt.size ? 2 * mqtt.size : 256;
		mqtt.messages = realloc(mqtt.messages, mqtt.size * sizeof *mqtt.messages);
	}
	struct message *m = &mqtt.messages[mqtt.count++];
	*m = (struct message){ .serial = serial };
	(void)snprintf(m->topic, sizeof m->topic, "%s", topic);
	mqtt.figures.published++;
}

/* ----------------------------------------------------------------------------------- packet ids */

static bool id_in_use(uint16_t id)
{
	for (size_t i = mqtt.first; i < mqtt.next; i++)
		if (mqtt.messages[i].here && !mqtt.messages[i].acked && mqtt.messages[i].id == id)
			return true;
	return false;
}

/* had_equal - an event equal to M had this id before. After restore() that cannot be told from a
 * repeat: docs/exactly-once.md names it as the price of a broker that is killed. */
static bool had_equal(const struct message *m, uint16_t id)
{
	for (const struct message *other = mqtt.messages; other < m; other++)
		if (other->sent && other->id == id && other->serial == m->serial && streq(other->topic, m->topic))
			return true;
	return false;
}

static uint16_t id_next(const struct message *m)
{
	do
		mqtt.last_id = mqtt.last_id == UINT16_MAX ? 1 : (uint16_t)(mqtt.last_id + 1);
	while (id_in_use(mqtt.last_id) || (mqtt.restored && had_equal(m, mqtt.last_id)));
	return mqtt.last_id;
}

static size_t in_flight(void)
{
	size_t n = 0;

	for (size_t i = mqtt.first; i < mqtt.next; i++)
		n += mqtt.messages[i].here && !mqtt.messages[i].acked;
	return n;
}

/* --------------------------------------------------------------------------------- connect, cut */

/* restore - the broker was killed and knows an older number: ids are used again before their time.
 */
static void restore(void)
{
	unsigned back = (unsigned)(mix(world.seed, mqtt.connects + 1) % 200);

	sim_say("the broker counts on from %u less", back);
	mqtt.last_id = (uint16_t)((mqtt.last_id + UINT16_MAX - back) % UINT16_MAX);
	mqtt.restored = true;
}

void mqtt_connect(bool session_present)
{
	if (mqtt.connected || mqtt.paused || !life.intake || world.dead)
		return;
	sim_say("connected, session %s", session_present ? "resumed" : "new");
	if (!session_present) {
		for (size_t i = mqtt.first; i < mqtt.count; i++)
			mqtt.messages[i].gone = !mqtt.messages[i].acked;
		for (size_t i = mqtt.first; i < mqtt.count; i++)
			mqtt.messages[i].acked = mqtt.messages[i].sent = true;
		mqtt.first = mqtt.next = mqtt.count;
		mqtt.last_id = 0;
	}
	if (world.profile.broker == BROKER_RABBITMQ || world.profile.broker == BROKER_NATS)
		mqtt.last_id = 0;
	else if (world.profile.broker == BROKER_MOSQUITTO && mix(world.seed, ++mqtt.connects) % 4 == 0)
		restore();
	free(mqtt.again);
	mqtt.again = calloc(mqtt.next - mqtt.first + 1, sizeof *mqtt.again);
	mqtt.again_count = mqtt.again_next = 0;
	for (size_t i = mqtt.first; i < mqtt.next; i++) {
		struct message *m = &mqtt.messages[i];
		if (m->acked)
			continue;
		m->here = world.profile.broker != BROKER_NATS;
		if (m->here)
			mqtt.again[mqtt.again_count++] = i;
	}
	mqtt.connected = true;
	mqtt.held = false;
	mqtt.batch_count = 0;
	intake_connected(life.intake, session_present);
}

/* send_unread - some more were on their way, and the daemon never sees them. */
static void send_unread(unsigned n)
{
	for (; n > 0 && mqtt.next < mqtt.count && in_flight() < in_flight_max(); n--) {
		struct message *m = &mqtt.messages[mqtt.next++];
		m->id = id_next(m);
		m->sent = m->here = true;
		m->due_usec = world.monotonic_usec + ACK_WAIT_USEC;
	}
}

void mqtt_cut(uint32_t chance)
{
	if (!mqtt.connected)
		return;
	mqtt_hear_acknowledgements(chance % ((unsigned)mqtt.wire_count + 1));
	mqtt.wire_count = 0;
	if (mqtt.again_next == mqtt.again_count)
		send_unread((chance >> 8) % 6);
	sim_say("the connection is cut");
	mqtt.connected = mqtt.held = false;
	mqtt.batch_count = 0;
	if (life.turn && !world.dead)
		turn_disconnected(life.turn);
}

/* --------------------------------------------------------------------------------- publications */

static void give(struct message *m, bool dup)
{
	char payload[32];
	const struct broker_message message = {
		.topic = m->topic,
		.payload = payload,
		.payload_size = (size_t)snprintf(payload, sizeof payload, "{\"n\":%u}", m->serial),
		.packet_id = m->id,
		.qos = 1,
		.dup = dup,
	};

	mqtt.figures.delivered += !m->given;
	m->given = m->sent = m->here = true;
	m->due_usec = world.monotonic_usec + ACK_WAIT_USEC;
	sim_say("publication n=%u id=%u dup=%d topic=%s", m->serial, m->id, dup, m->topic);
	intake_message(life.intake, &message);
}

/* overdue - nats: one that has waited for its acknowledgement for too long, and whose packet id is
 * free. */
static struct message *overdue(void)
{
	for (size_t i = mqtt.first; i < mqtt.next; i++) {
		struct message *m = &mqtt.messages[i];
		if (m->acked || m->due_usec > world.monotonic_usec || (!m->here && id_in_use(m->id)))
			continue;
		return m;
	}
	return NULL;
}

static struct message *choose(bool *ret_dup)
{
	struct message *m;

	*ret_dup = world.profile.broker != BROKER_AEDES;
	if (mqtt.again_next < mqtt.again_count) {
		m = &mqtt.messages[mqtt.again[mqtt.again_next++]];
		if (world.profile.broker == BROKER_RABBITMQ)
			m->id = ++mqtt.last_id;
		return m;
	}
	if (world.profile.broker == BROKER_NATS && (m = overdue()))
		return m;
	if (mqtt.next == mqtt.count || in_flight() >= in_flight_max())
		return NULL;
	*ret_dup = false;
	m = &mqtt.messages[mqtt.next++];
	m->id = id_next(m);
	return m;
}

bool mqtt_deliver(unsigned limit)
{
	struct message *m;
	bool dup;

	if (!mqtt.connected || mqtt.held || world.dead)
		return false;
	while (mqtt.batch_count < limit && mqtt.batch_count < BATCH_MAX && mqtt.connected && (m = choose(&dup))) {
		mqtt.batch[mqtt.batch_count++] = (size_t)(m - mqtt.messages);
		give(m, dup);
		if (world.dead)
			return true;
	}
	if (mqtt.batch_count == 0)
		return false;
	mqtt.held = true;
	turn_batch(life.turn);
	return true;
}

void mqtt_hear_acknowledgements(unsigned limit)
{
	size_t n = limit < mqtt.wire_count ? limit : mqtt.wire_count;

	for (size_t i = 0; i < n; i++)
		mqtt.messages[mqtt.wire[i]].acked = true;
	if (n == 0)
		return;
	memmove(mqtt.wire, mqtt.wire + n, (mqtt.wire_count - n) * sizeof *mqtt.wire);
	mqtt.wire_count -= n;
	while (mqtt.first < mqtt.next && mqtt.messages[mqtt.first].acked)
		mqtt.first++;
}

uint64_t mqtt_next_usec(void)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = mqtt.first; world.profile.broker == BROKER_NATS && i < mqtt.next; i++)
		if (!mqtt.messages[i].acked && mqtt.messages[i].due_usec < next)
			next = mqtt.messages[i].due_usec;
	return next;
}

bool mqtt_idle(void) { return mqtt.connected && !mqtt.held && mqtt.wire_count == 0 && mqtt.first == mqtt.count; }

/* ------------------------------------------------------------------------ what the daemon calls */

void broker_ack(struct broker *broker)
{
	(void)broker;
	if (world.dead || !mqtt.held)
		return;
	for (size_t i = 0; i < mqtt.batch_count; i++) {
		struct message *m = &mqtt.messages[mqtt.batch[i]];
		mqtt.figures.acknowledged += !m->told;
		m->told = true;
		if (mqtt.wire_count == mqtt.wire_size) {
			mqtt.wire_size = mqtt.wire_size ? 2 * mqtt.wire_size : 256;
			mqtt.wire = realloc(mqtt.wire, mqtt.wire_size * sizeof *mqtt.wire);
		}
		mqtt.wire[mqtt.wire_count++] = mqtt.batch[i];
	}
	mqtt.batch_count = 0;
	mqtt.held = false;
	check_acknowledged();
}

void broker_pause(struct broker *broker, const char *reason)
{
	(void)broker;
	if (world.dead)
		return;
	sim_say("the daemon leaves the broker: %s", reason);
	mqtt_cut(0);
	mqtt.paused = true;
}

void broker_resume(struct broker *broker)
{
	(void)broker;
	mqtt.paused = false;
}

/* ---------------------------------------------------------------------------------- the account */

struct count {
	unsigned least, most, found;
};

static void check_serial(unsigned serial, const struct count *c)
{
	if (c->found < c->least)
		sim_fail("event n=%u was acknowledged %u times and is in the journal %u times: lost", serial, c->least,
			 c->found);
	if (c->found > c->most)
		sim_fail("event n=%u was sent %u times and is in the journal %u times: taken twice", serial, c->most,
			 c->found);
}

void mqtt_check_events(void)
{
	struct count *counts = calloc(mqtt.count + 1, sizeof *counts); /* serials are below the number of messages */
	sqlite3_stmt *stmt;

	for (size_t i = 0; i < mqtt.count; i++) {
		const struct message *m = &mqtt.messages[i];
		counts[m->serial].least += m->told;
		counts[m->serial].most += m->given;
	}
	if (sqlite3_prepare_v2(life_db(), "SELECT payload, count(*) FROM events GROUP BY payload", -1, &stmt, NULL) !=
	    SQLITE_OK)
		sim_fail("cannot read the events: %s", sqlite3_errmsg(life_db()));
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		unsigned serial = 0;
		(void)sscanf((const char *)sqlite3_column_text(stmt, 0), "{\"n\":%u}", &serial);
		if (serial >= mqtt.count)
			sim_fail("the journal has an event that nobody published: n=%u", serial);
		counts[serial].found = (unsigned)sqlite3_column_int(stmt, 1);
	}
	(void)sqlite3_finalize(stmt);
	for (unsigned serial = 0; serial < mqtt.count; serial++)
		check_serial(serial, &counts[serial]);
	free(counts);
}
