/* window.c - see window.h.
 *
 * The list is a piece of one growing array: entries come on at `end`, go off at `head`, and the
 * piece is moved back to the front when the array is used up (so each entry is moved about once,
 * however long the daemon runs). Thus it is always in one piece and window_save() copies
 * nothing. The slot before `head` is never a live entry: window_save() writes the header of the
 * saved form there.
 *
 * The index finds an entry by packet id: open addressing, positions relative to `base`, so
 * moving the list does not touch it. Brokers hand out packet ids one after the other; used as
 * they are they would fill one long stretch of the index, and dropping an entry looks through
 * the stretch it is in.
 *
 * The index knows the youngest entry of an id only; older ones have settled. Late repeats of those
 * are looked for entry by entry: they are rare.
 *
 * Saved form, and the form in memory: 18-byte records, least significant byte first. Record 0:
 * "LSNW", version, what is known of the broker, count (4), 8 zeros. Then the entries: packet id
 * (2), digest (16): COUNT of them, and any number that were added later. The lowest bit of a digest
 * is not its own: it says that the entry is live. */
#include "window.h"
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#define FORMAT_VERSION 1
#define SLOTS_FIRST 64
/* A broker that counts packet ids upwards comes back to an id after 65,535 publications. One
 * entry less, and the id it uses next is never in the list. */
#define ENTRIES_LIMIT 65534
#define LIVE 1u /* in the digest's last byte */
/* What is known of the broker, as saved. */
enum manner {
	SHOWS_DUP = 1 << 0, /* a repeat came with DUP 1 */
	NUMBERS_ANEW = 1 << 1, /* repeats count packet ids from 1 on in each connection */
	KEEPS_IDS = 1 << 2, /* a repeat under its old packet id, or a connection's first publication, had another
			     * than counting from 1 gives */
	MANNER_ALL = SHOWS_DUP | NUMBERS_ANEW | KEEPS_IDS,
};

struct entry {
	uint8_t id[2];
	uint8_t digest[EVENT_DIGEST_SIZE];
};
_Static_assert(sizeof(struct entry) == 2 + EVENT_DIGEST_SIZE, "the saved form has no padding");

struct window {
	struct entry *slots;
	/* by slot: came on this connection, or a repeat of this connection was this one */
	bool *used;
	size_t slots_size; /* allocated */
	size_t head, end; /* in the list: [head, end); head >= 1 */
	size_t settled; /* [head, settled): confirmed, as far as a packet id that is used again proves it */
	uint32_t base; /* number of slots[0]; wraps */
	uint32_t *index; /* number of the entry, 0 = free; by packet id */
	size_t index_mask, entries_max;
	unsigned index_shift;
	uint8_t manner;
	uint32_t received; /* publications with a packet id, on this connection */
	bool open; /* the beginning of a resumed session */
	bool beyond; /* a repeat of this connection was one that nobody has recorded */
	bool whole; /* what was stored is no beginning of the list any more */
	size_t fresh; /* entries at the end that window_take() has not given out */
	/* once one came: slots [run, cursor) were repeats. cursor 0: none yet */
	size_t run, cursor;
};

static uint16_t entry_id(const struct entry *entry) { return (uint16_t)(entry->id[0] | entry->id[1] << 8); }

static void entry_set_id(struct entry *entry, uint16_t id)
{
	entry->id[0] = (uint8_t)id;
	entry->id[1] = (uint8_t)(id >> 8);
}

/* ---------------------------------------------------------------------------------------- index */

static uint32_t number_of(const struct window *window, size_t slot) { return window->base + (uint32_t)slot; }
static size_t slot_of(const struct window *window, uint32_t number) { return number - window->base; }

/* digest_home - where ID's entry should be: multiplying by an odd number scatters neighbours, and
 * is one to one in 16 bits. */
static size_t digest_home(const struct window *window, uint16_t id)
{
	return (uint16_t)(id * UINT32_C(40503)) >> window->index_shift;
}

/* index_seek - the place of ID's entry, or the free place where it would go. */
static size_t index_seek(const struct window *window, uint16_t id)
{
	size_t i = digest_home(window, id);
	while (window->index[i] && entry_id(&window->slots[slot_of(window, window->index[i])]) != id)
		i = (i + 1) & window->index_mask;
	return i;
}

/* window_find_entry - the slot of ID's youngest entry, or 0. */
static size_t window_find_entry(const struct window *window, uint16_t id)
{
	uint32_t number = window->index[index_seek(window, id)];
	return number ? slot_of(window, number) : 0;
}

/* index_drop - free ID's place and close the gap, so that no later entry of the same chain
 * becomes unreachable. */
static void index_drop(struct window *window, uint16_t id)
{
	size_t mask = window->index_mask, gap = index_seek(window, id);

	/* With a place for each id nothing was ever displaced. */
	for (size_t i = (gap + 1) & mask; window->index_shift > 0 && window->index[i]; i = (i + 1) & mask) {
		size_t home = digest_home(window, entry_id(&window->slots[slot_of(window, window->index[i])]));
		if (((i - home) & mask) >= ((i - gap) & mask)) {
			window->index[gap] = window->index[i];
			gap = i;
		}
	}
	window->index[gap] = 0;
}

static void index_rebuild(struct window *window)
{
	memset(window->index, 0, (window->index_mask + 1) * sizeof *window->index);
	for (size_t slot = window->head; slot < window->end; slot++)
		window->index[index_seek(window, entry_id(&window->slots[slot]))] = number_of(window, slot);
}

/* ----------------------------------------------------------------------------------------- list */

static void forget_all(struct window *window)
{
	window->whole = true;
	window->fresh = 0;
	window->head = window->end = window->settled = 1;
	window->base = 0;
	memset(window->index, 0, (window->index_mask + 1) * sizeof *window->index);
}

/* forget_oldest - drop the first entry. The index may know a younger one of its id. */
static void forget_oldest(struct window *window)
{
	uint16_t id = entry_id(&window->slots[window->head]);

	if (window_find_entry(window, id) == window->head)
		index_drop(window, id);
	window->head++;
	if (window->settled < window->head)
		window->settled = window->head;
}

/* make_room - for one more entry at the end. */
static int make_room(struct window *window)
{
	size_t live = window->end - window->head;

	if (window->end < window->slots_size)
		return 0;
	if (live + 1 <= window->slots_size / 2) {
		size_t shift = window->head - 1;
		memmove(window->slots + 1, window->slots + window->head, live * sizeof *window->slots);
		memmove(window->used + 1, window->used + window->head, live * sizeof *window->used);
		window->head -= shift;
		window->end -= shift;
		window->settled -= shift;
		window->base += (uint32_t)shift;
		/* 0 means "free" in the index: start the numbers again long before they wrap. */
		if (window->base > UINT32_MAX / 2) {
			window->base = 0;
			index_rebuild(window);
		}
		return 0;
	}
	size_t size = window->slots_size ? window->slots_size * 2 : SLOTS_FIRST;
	struct entry *slots = realloc(window->slots, size * sizeof *slots);
	if (!slots)
		return -ENOMEM;
	window->slots = slots;
	bool *used = realloc(window->used, size * sizeof *used);
	if (!used)
		return -ENOMEM;
	window->used = used;
	window->slots_size = size;
	return 0;
}

static void slots_swap(struct window *window, size_t a, size_t b)
{
	struct entry entry = window->slots[a];
	bool used = window->used[a];

	window->slots[a] = window->slots[b];
	window->used[a] = window->used[b];
	window->slots[b] = entry;
	window->used[b] = used;
}

/* close_window - the beginning of the connection is over. What was repeated in it was delivered
 * again, after everything else in the list, so it goes to the end: the list stays in order of
 * delivery, and the rule of window_add() ("all before it") stays true when a broker that was
 * restored from an older state uses packet ids again which stand behind the repeats in the list. */
static void close_window(struct window *window)
{
	size_t run = window->run, cursor = window->cursor;

	window->open = false;
	window->run = window->cursor = 0;
	if (cursor == 0 || cursor == window->end)
		return;
	window->whole = true;
	/* Rotate by three reversals: no memory, once per connection. */
	struct {
		size_t from, to;
	} parts[] = { { run, cursor }, { cursor, window->end }, { run, window->end } };
	for (size_t p = 0; p < 3; p++) {
		for (size_t a = parts[p].from, b = parts[p].to; a + 1 < b; a++, b--)
			slots_swap(window, a, b - 1);
	}
	index_rebuild(window);
}

/* ------------------------------------------------------------------------------------ interface */

int window_new(size_t entries_max, struct window **ret)
{
	struct window *window = calloc(1, sizeof *window);
	size_t places = 64;

	if (!window)
		return -ENOMEM;
	window->index_shift = 10;
	if (entries_max < 1)
		entries_max = 1;
	window->entries_max = entries_max < ENTRIES_LIMIT ? entries_max : ENTRIES_LIMIT;
	/* At most half full; with 65,536 places each id has its own. One more entry than the
	 * limit lives for a moment in window_add(). */
	for (; places < 2 * (window->entries_max + 1) && places < 65536; window->index_shift--)
		places *= 2;
	window->index_mask = places - 1;
	window->index = calloc(places, sizeof *window->index);
	if (!window->index) {
		free(window);
		return -ENOMEM;
	}
	forget_all(window);
	*ret = window;
	return 0;
}

void window_free(struct window *window)
{
	if (!window)
		return;
	free(window->slots);
	free(window->used);
	free(window->index);
	free(window);
}

/* SHA-256, cut: publishers choose payloads, and who finds two with one digest could hide an
 * event. It is the one such function that processors have instructions for and that FIPS systems
 * do not refuse. The context is made once: making it costs more than the digest. */
void window_digest(const void *topic, size_t topic_size, const void *payload, size_t payload_size,
		   uint8_t ret[EVENT_DIGEST_SIZE])
{
	static EVP_MD_CTX *context;
	static EVP_MD *method;
	uint64_t sizes[2] = { topic_size, payload_size };
	unsigned char full[EVP_MAX_MD_SIZE];

	if (!context) {
		method = EVP_MD_fetch(NULL, "SHA256", NULL);
		context = EVP_MD_CTX_new();
	}
	/* Without a digest nothing can be told apart; going on would lose or repeat events. */
	if (!method || !context || !EVP_DigestInit_ex2(context, method, NULL) ||
	    !EVP_DigestUpdate(context, sizes, sizeof sizes) ||
	    (topic_size && !EVP_DigestUpdate(context, topic, topic_size)) ||
	    (payload_size && !EVP_DigestUpdate(context, payload, payload_size)) ||
	    !EVP_DigestFinal_ex(context, full, NULL))
		abort();
	memcpy(ret, full, EVENT_DIGEST_SIZE);
	ret[EVENT_DIGEST_SIZE - 1] &= (uint8_t)~LIVE;
}

void window_connected(struct window *window, bool session_present)
{
	window->run = window->cursor = 0;
	window->received = 0;
	window->beyond = false;
	window->open = session_present;
	if (!session_present) {
		forget_all(window);
		window->manner = 0; /* it may be another broker */
	} else if (window->used) {
		memset(window->used + window->head, 0, (window->end - window->head) * sizeof *window->used);
	}
}

/* ------------------------------------------------------------------------------------ questions */

static bool entry_is(const struct window *window, size_t slot, const uint8_t *digest)
{
	const uint8_t *own = window->slots[slot].digest;

	return memcmp(own, digest, EVENT_DIGEST_SIZE - 1) == 0 &&
	       ((own[EVENT_DIGEST_SIZE - 1] ^ digest[EVENT_DIGEST_SIZE - 1]) & ~LIVE) == 0;
}

static bool entry_is_live(const struct window *window, size_t slot)
{
	return window->slots[slot].digest[EVENT_DIGEST_SIZE - 1] & LIVE;
}

static void sender_learn(struct window *window, enum manner manner)
{
	window->whole |= !(window->manner & manner);
	window->manner |= (uint8_t)manner;
}

static void sender_keeps_ids(struct window *window)
{
	sender_learn(window, KEEPS_IDS);
	window->manner &= (uint8_t)~NUMBERS_ANEW;
}

static enum window_answer entry_repeated(struct window *window, size_t slot)
{
	window->used[slot] = true;
	if (window->open && !window->cursor && slot >= window->settled)
		window->run = window->cursor = slot;
	if (slot == window->cursor)
		window->cursor++;
	return WINDOW_REPEAT;
}

/* find_late - one that has settled, as far as one could know, and is repeated all the same.
 * 0: none. */
static size_t find_late(const struct window *window, uint16_t id, const uint8_t *digest)
{
	for (size_t slot = window->settled; slot-- > window->head;)
		if (entry_id(&window->slots[slot]) == id && entry_is(window, slot, digest))
			return slot;
	return 0;
}

/* is_counted - ID is the one that a broker which numbers anew gives this publication. */
static bool is_counted(const struct window *window, uint16_t id)
{
	return id == (window->received - 1) % UINT16_MAX + 1;
}

/* find_renumbered - the next of the repeats, else the youngest that none has used up. 0: none. */
static size_t find_renumbered(const struct window *window, const uint8_t *digest)
{
	size_t next = window->cursor;

	if (next > window->settled && next < window->end && !window->used[next] && entry_is(window, next, digest))
		return next;
	for (size_t slot = window->end; slot-- > window->settled;)
		if (!window->used[slot] && entry_is(window, slot, digest))
			return slot;
	return 0;
}

/* entry_renumber - it was delivered again, as ID: its older id may be used again unacknowledged. */
static void entry_renumber(struct window *window, size_t slot, uint16_t id)
{
	struct entry *entry = &window->slots[slot];

	if (window_find_entry(window, entry_id(entry)) == slot)
		index_drop(window, entry_id(entry));
	entry_set_id(entry, id);
	window->index[index_seek(window, id)] = number_of(window, slot);
	window->whole = true;
}

/* find_same - with this packet id; 0: none. */
static size_t find_same(const struct window *window, uint16_t id, const uint8_t *digest)
{
	size_t slot = window_find_entry(window, id);

	return slot && entry_is(window, slot, digest) ? slot : find_late(window, id, digest);
}

/* ask_again - with DUP 1. Who takes a broker that keeps its packet ids for one that numbers anew
 * loses equal events; so the second is believed only of a publication that bears the number it
 * would give, and never again once the first has been seen. Nor after a repeat that is not known:
 * what was recorded was delivered before what was not, and such a broker repeats in that order. */
static enum window_answer ask_again(struct window *window, uint16_t id, const uint8_t *digest)
{
	bool counted = is_counted(window, id);
	size_t slot = counted && (window->manner & NUMBERS_ANEW) ? 0 : find_same(window, id, digest);

	sender_learn(window, SHOWS_DUP);
	if (slot && !counted)
		sender_keeps_ids(window);
	if (!slot && counted && !window->beyond && !(window->manner & KEEPS_IDS) &&
	    (slot = find_renumbered(window, digest))) {
		sender_learn(window, NUMBERS_ANEW);
		entry_renumber(window, slot, id);
	}
	window->beyond |= !slot;
	return slot ? entry_repeated(window, slot) : WINDOW_UNKNOWN_REPEAT;
}

/* count_received - a broker that numbers anew gives the first publication of each connection the
 * number 1. */
static void count_received(struct window *window, uint16_t packet_id)
{
	if (window->received++ == 0 && packet_id != 1)
		sender_keeps_ids(window);
}

enum window_answer window_ask(struct window *window, uint16_t packet_id, const uint8_t digest[EVENT_DIGEST_SIZE],
			      bool dup)
{
	if (packet_id == 0)
		return WINDOW_NEW;
	count_received(window, packet_id);
	if (dup)
		return ask_again(window, packet_id, digest);
	if (!window->open)
		return WINDOW_NEW;
	size_t slot = window_find_entry(window, packet_id);
	bool same = slot && slot >= window->settled && entry_is(window, slot, digest);
	if (same && (window->manner & SHOWS_DUP))
		same = !(window->manner & NUMBERS_ANEW) && !entry_is_live(window, slot);
	if (same && (!window->cursor || slot == window->cursor))
		return entry_repeated(window, slot);
	close_window(window);
	return same ? WINDOW_DOUBTFUL : WINDOW_NEW;
}

void window_skip(struct window *window, uint16_t packet_id) { count_received(window, packet_id); }

int window_add(struct window *window, uint16_t packet_id, const uint8_t digest[EVENT_DIGEST_SIZE], bool live)
{
	if (packet_id == 0)
		return 0;
	if (window->open)
		close_window(window);
	size_t older = window_find_entry(window, packet_id);
	if (older >= window->settled)
		window->settled = older + 1;
	int r = make_room(window);
	if (r < 0)
		return r;
	struct entry *entry = &window->slots[window->end];
	entry_set_id(entry, packet_id);
	memcpy(entry->digest, digest, EVENT_DIGEST_SIZE);
	entry->digest[EVENT_DIGEST_SIZE - 1] =
		(uint8_t)((entry->digest[EVENT_DIGEST_SIZE - 1] & ~LIVE) | (live ? LIVE : 0));
	window->used[window->end] = true; /* brokers that number anew repeat after a reconnect only */
	window->index[index_seek(window, packet_id)] = number_of(window, window->end++);
	window->fresh++;
	if (window->end - window->head > window->entries_max)
		forget_oldest(window);
	return 0;
}

/* ----------------------------------------------------------------------------------- saved form */

static void write_header(struct entry *record, uint8_t manner, uint32_t count)
{
	uint8_t bytes[sizeof *record] = { 'L',
					  'S',
					  'N',
					  'W',
					  FORMAT_VERSION,
					  manner,
					  (uint8_t)count,
					  (uint8_t)(count >> 8),
					  (uint8_t)(count >> 16),
					  (uint8_t)(count >> 24) };
	memcpy(record, bytes, sizeof bytes);
}

void window_save(struct window *window, const void **ret, size_t *ret_size)
{
	static struct entry empty; /* while there has never been an entry */
	size_t live = window->end - window->head;
	struct entry *record = window->slots ? &window->slots[window->head - 1] : &empty;

	write_header(record, window->manner, (uint32_t)live);
	*ret = record;
	*ret_size = (live + 1) * sizeof *record;
}

void window_take(struct window *window, bool whole, const void **ret, size_t *ret_size, bool *ret_whole)
{
	size_t live = window->end - window->head;

	*ret_whole = whole || window->whole || window->fresh > live;
	if (*ret_whole) {
		window_save(window, ret, ret_size);
	} else {
		*ret = window->fresh ? &window->slots[window->end - window->fresh] : NULL;
		*ret_size = window->fresh * sizeof *window->slots;
	}
	window->whole = false;
	window->fresh = 0;
}

static bool header_valid(const uint8_t *bytes, size_t size, uint32_t *ret_count)
{
	struct entry wanted;

	if (size < sizeof wanted || size % sizeof wanted != 0)
		return false;
	uint32_t count = (uint32_t)bytes[6] | (uint32_t)bytes[7] << 8 | (uint32_t)bytes[8] << 16 |
			 (uint32_t)bytes[9] << 24;
	*ret_count = count;
	write_header(&wanted, bytes[5] & MANNER_ALL, count);
	return count <= ENTRIES_LIMIT && count <= size / sizeof wanted - 1 &&
	       memcmp(bytes, &wanted, sizeof wanted) == 0;
}

static int load_entries(struct window *window, const struct entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint16_t id = entry_id(&entries[i]);
		if (id == 0)
			return -EINVAL;
		int r = window_add(window, id, entries[i].digest, entries[i].digest[EVENT_DIGEST_SIZE - 1] & LIVE);
		if (r < 0)
			return r;
	}
	return 0;
}

int window_load(struct window *window, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint32_t count;

	if (!data || !header_valid(bytes, size, &count))
		return -EINVAL;
	window->open = false;
	window->run = window->cursor = 0;
	forget_all(window);
	window->manner = bytes[5];
	int r = load_entries(window, (const struct entry *)(bytes + sizeof(struct entry)),
			     size / sizeof(struct entry) - 1);
	if (r < 0)
		forget_all(window);
	window->whole = true;
	return r;
}
