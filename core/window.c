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
 * Saved form, and the form in memory: 18-byte records, least significant byte first. Record 0:
 * "LSNW", version, 0, count (4), 8 zeros. Then the entries: packet id (2), digest (16): COUNT of
 * them, and any number that were added later. */
#include "window.h"
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#define FORMAT_VERSION 1
#define SLOTS_FIRST 64
/* A broker that counts packet ids upwards comes back to an id after 65,535 publications. One
 * entry less, and the id it uses next is never in the list. */
#define ENTRIES_LIMIT 65534

struct entry {
	uint8_t id[2];
	uint8_t digest[EVENT_DIGEST_SIZE];
};
_Static_assert(sizeof(struct entry) == 2 + EVENT_DIGEST_SIZE, "the saved form has no padding");

struct window {
	struct entry *slots;
	size_t slots_size; /* allocated */
	size_t head, end; /* live: [head, end); head >= 1 */
	uint32_t base; /* number of slots[0]; wraps */
	uint32_t *index; /* number of the entry, 0 = free; by packet id */
	size_t index_mask, entries_max;
	unsigned index_shift;
	bool open; /* repeats may still come */
	bool whole; /* what was stored is no beginning of the list any more */
	size_t fresh; /* entries at the end that window_take() has not given out */
	/* once one came: slots [run, cursor) were repeats. cursor 0: none yet */
	size_t run, cursor;
};

static uint16_t entry_id(const struct entry *entry) { return (uint16_t)(entry->id[0] | entry->id[1] << 8); }

/* ---------------------------------------------------------------------------------------- index */

static uint32_t number_of(const struct window *window, size_t slot) { return window->base + (uint32_t)slot; }
static size_t slot_of(const struct window *window, uint32_t number) { return number - window->base; }

/* digest_home - where ID's entry should be: multiplying by an odd number scatters neighbours, and is
 * one to one in 16 bits. */
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

/* entry_find - the slot of ID's entry, or 0. */
static size_t entry_find(const struct window *window, uint16_t id)
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
	window->head = window->end = 1;
	window->base = 0;
	memset(window->index, 0, (window->index_mask + 1) * sizeof *window->index);
}

/* forget_to - drop the entries before slot END. */
static void forget_to(struct window *window, size_t end)
{
	for (; window->head < end; window->head++)
		index_drop(window, entry_id(&window->slots[window->head]));
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
		window->head -= shift;
		window->end -= shift;
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
	window->slots_size = size;
	return 0;
}

/* close_window - no repeat can come any more on this connection. What was repeated was delivered
 * again, after everything else in the list, so it goes to the end: the list stays in order of
 * delivery, and the rule of window_add() ("all before it") stays true when a broker that was
 * restored from an older state uses packet ids again which stand behind the repeats in the list. */
static void close_window(struct window *window)
{
	size_t run = window->cursor ? window->cursor - window->run : 0, behind = window->end - window->cursor;

	window->open = false;
	if (run == 0 || behind == 0)
		return;
	window->whole = true;
	/* Rotate by three reversals: no memory, once per connection. */
	struct {
		size_t from, to;
	} parts[] = { { window->run, window->cursor }, { window->cursor, window->end }, { window->run, window->end } };
	for (size_t p = 0; p < 3; p++) {
		for (size_t a = parts[p].from, b = parts[p].to; a + 1 < b; a++, b--) {
			struct entry entry = window->slots[a];
			window->slots[a] = window->slots[b - 1];
			window->slots[b - 1] = entry;
		}
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
	ret[EVENT_DIGEST_SIZE - 1] &= (uint8_t)~WINDOW_MARK;
}

static bool is_equal(const uint8_t *added, const uint8_t *asked)
{
	uint8_t last = added[EVENT_DIGEST_SIZE - 1], other = asked[EVENT_DIGEST_SIZE - 1];

	return memcmp(added, asked, EVENT_DIGEST_SIZE - 1) == 0 && ((last ^ other) & ~WINDOW_MARK) == 0 &&
	       !(last & other & WINDOW_MARK);
}

void window_connected(struct window *window, bool session_present)
{
	window->run = window->cursor = 0;
	window->open = session_present;
	if (!session_present)
		forget_all(window);
}

bool window_is_repeat(struct window *window, uint16_t packet_id, const uint8_t digest[EVENT_DIGEST_SIZE])
{
	if (!window->open || packet_id == 0)
		return false;
	size_t slot = entry_find(window, packet_id);
	if (slot == 0 || !is_equal(window->slots[slot].digest, digest) || (window->cursor && slot != window->cursor)) {
		close_window(window);
		return false;
	}
	if (!window->cursor)
		window->run = slot;
	window->cursor = slot + 1;
	return true;
}

int window_add(struct window *window, uint16_t packet_id, const uint8_t digest[EVENT_DIGEST_SIZE])
{
	if (packet_id == 0)
		return 0;
	if (window->open)
		close_window(window);
	size_t older = entry_find(window, packet_id);
	if (older)
		forget_to(window, older + 1);
	int r = make_room(window);
	if (r < 0)
		return r;
	struct entry *entry = &window->slots[window->end];
	entry->id[0] = (uint8_t)packet_id;
	entry->id[1] = (uint8_t)(packet_id >> 8);
	memcpy(entry->digest, digest, EVENT_DIGEST_SIZE);
	window->index[index_seek(window, packet_id)] = number_of(window, window->end++);
	window->fresh++;
	if (window->end - window->head > window->entries_max)
		forget_to(window, window->head + 1);
	return 0;
}

/* ----------------------------------------------------------------------------------- saved form */

static void write_header(struct entry *record, uint32_t count)
{
	uint8_t bytes[sizeof *record] = { 'L',
					  'S',
					  'N',
					  'W',
					  FORMAT_VERSION,
					  0,
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

	write_header(record, (uint32_t)live);
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
	write_header(&wanted, count);
	return count <= ENTRIES_LIMIT && count <= size / sizeof wanted - 1 &&
	       memcmp(bytes, &wanted, sizeof wanted) == 0;
}

/* The first UNIQUE of them were a list at one time; what was added later may use their packet
 * ids again. */
static int load_entries(struct window *window, const struct entry *entries, size_t count, size_t unique)
{
	for (size_t i = 0; i < count; i++) {
		uint16_t id = entry_id(&entries[i]);
		if (id == 0 || (i < unique && entry_find(window, id)))
			return -EINVAL;
		int r = window_add(window, id, entries[i].digest);
		if (r < 0)
			return r;
	}
	return 0;
}

int window_load(struct window *window, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint32_t unique;

	if (!data || !header_valid(bytes, size, &unique))
		return -EINVAL;
	window->open = false;
	window->run = window->cursor = 0;
	forget_all(window);
	int r = load_entries(window, (const struct entry *)(bytes + sizeof(struct entry)),
			     size / sizeof(struct entry) - 1, unique);
	if (r < 0)
		forget_all(window);
	window->whole = true;
	return r;
}
