/* publish.c - publish a load as Indigo would, but at a chosen rate.
 *
 *     bench-publish PORT TOPIC COUNT RATE [SIZE [SCRIPTS [zipf]]]
 *
 * Topic TOPIC/N for event N, QoS 0, one connection; RATE events a second, 0: as fast as the
 * broker takes them. With SCRIPTS the topic is TOPIC/K/N: K goes round from 0 to SCRIPTS - 1, or,
 * with zipf, K comes about 1 / (K + 1) times as often as 0 does; the same each time. The payload
 * is a JSON object of about SIZE bytes (default 300) that begins {"t": MICROSECONDS since the
 * epoch at which it was handed to the broker. */
#include <mosquitto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now_usec(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void sleep_until(uint64_t usec)
{
	const struct timespec t = { .tv_sec = (time_t)(usec / 1000000), .tv_nsec = (long)(usec % 1000000) * 1000 };
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Which script event N is for. */
static unsigned long choose(unsigned long n, unsigned long scripts, bool zipf)
{
	static uint64_t state = 88172645463325252u; /* xorshift: the same load each time */
	double sum = 0, at = 0;

	if (!zipf)
		return n % scripts;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	for (unsigned long k = 0; k < scripts; k++)
		sum += 1 / (double)(k + 1);
	double mark = (double)(state >> 11) / (double)(UINT64_C(1) << 53) * sum;
	for (unsigned long k = 0; k < scripts; k++)
		if ((at += 1 / (double)(k + 1)) > mark)
			return k;
	return scripts - 1;
}

static int publish_one(struct mosquitto *mosq, const char *prefix, unsigned long n, size_t size)
{
	char topic[256], payload[65536];

	(void)snprintf(topic, sizeof topic, "%s/%lu", prefix, n);
	int used = snprintf(payload, sizeof payload,
			    "{\"t\": %llu, \"pre\": {}, \"post\": {\"name\": \"%lu\", \"fill\": \"",
			    (unsigned long long)now_usec(CLOCK_REALTIME), n);
	size_t fill = size > (size_t)used + 4 ? size - (size_t)used - 4 : 0;
	memset(payload + used, 'x', fill);
	memcpy(payload + (size_t)used + fill, "\"}}", 4);
	return mosquitto_publish(mosq, NULL, topic, (int)((size_t)used + fill + 3), payload, 0, false);
}

static void on_connect(struct mosquitto *mosq, void *data, int code)
{
	(void)mosq;
	*(int *)data = code == 0 ? 1 : -1;
}

/* A connection that is closed with the broker's CONNACK unread is reset, and what the broker had
 * not read of it by then is lost. */
static struct mosquitto *connected(int port)
{
	static int state;
	struct mosquitto *mosq = mosquitto_new(NULL, true, &state);

	if (!mosq)
		return NULL;
	mosquitto_connect_callback_set(mosq, on_connect);
	if (mosquitto_connect(mosq, "127.0.0.1", port, 60) != MOSQ_ERR_SUCCESS)
		return NULL;
	while (state == 0)
		if (mosquitto_loop(mosq, 1000, 1) != MOSQ_ERR_SUCCESS)
			return NULL;
	return state > 0 ? mosq : NULL;
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: bench-publish PORT TOPIC COUNT RATE [SIZE [SCRIPTS [zipf]]]\n");
		return 2;
	}
	unsigned long count = strtoul(argv[3], NULL, 10);
	double rate = strtod(argv[4], NULL);
	size_t size = argc > 5 ? strtoul(argv[5], NULL, 10) : 300;
	if (size > 60000)
		size = 60000;
	(void)mosquitto_lib_init();
	unsigned long scripts = argc > 6 ? strtoul(argv[6], NULL, 10) : 0;
	bool zipf = argc > 7;
	struct mosquitto *mosq = connected((int)strtol(argv[1], NULL, 10));
	if (!mosq)
		return 1;
	(void)mosquitto_int_option(mosq, MOSQ_OPT_TCP_NODELAY, 1);
	uint64_t start = now_usec(CLOCK_MONOTONIC);
	for (unsigned long n = 0; n < count; n++) {
		if (rate > 0)
			sleep_until(start + (uint64_t)((double)n * 1e6 / rate));
		char prefix[200];
		if (scripts > 0)
			(void)snprintf(prefix, sizeof prefix, "%s/%lu", argv[2], choose(n, scripts, zipf));
		else
			(void)snprintf(prefix, sizeof prefix, "%s", argv[2]);
		if (publish_one(mosq, prefix, n, size) != MOSQ_ERR_SUCCESS)
			return 1;
		while (mosquitto_want_write(mosq))
			if (mosquitto_loop(mosq, 0, 1) != MOSQ_ERR_SUCCESS)
				return 1;
	}
	(void)mosquitto_disconnect(mosq);
	while (mosquitto_loop(mosq, 100, 1) == MOSQ_ERR_SUCCESS)
		;
	printf("%.6f\n", (double)(now_usec(CLOCK_MONOTONIC) - start) / 1e6);
	return 0;
}
