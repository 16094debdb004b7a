/* router.c - a trie of filter prefixes, kept not as linked nodes but as a hash table of
 * prefixes.
 *
 * A prefix "create / + / projects" is known by a keyed 64-bit hash that is computed level by
 * level:
 *
 *     hash(prefix, level) = mix(hash(prefix) ^ hash(level))
 *     with hashes of their own for '+', '#' and the end
 *
 * so the walk of a topic needs no pointer to find a child: it knows the hash, looks into the
 * table, and can ask for several cache lines at once. A slot of the table (12 bytes) holds 32
 * bits of the hash and one word, which is one of
 *
 *     INNER   a prefix that two or more filters share: how many pass through, and what kinds of
 *             children there are
 *     LEAF    the one filter that continues here, with all of its remaining levels unexpanded
 *     VALUE   a further value of a filter that has several (so that adding the same value twice is
 *             noticed in one lookup)
 *
 * A topic visits, level by level, the literal child and the '+' child of each INNER prefix it
 * reached, never more than the trie has, so a hostile set of "+/+/+/..." filters costs at most
 * what a scan of all filters would. Leaves are compared with the topic text, all of it: a hash
 * that two prefixes share by chance merges their slots and costs a comparison, never a wrong
 * answer.
 *
 * The table grows by linear hashing: one bucket (a cache line) is split per addition, in memory
 * that is never moved. So there is no pause, and a lookup looks into one bucket and its rare
 * overflow. The hash is keyed with random words, so that nobody who may choose topics or filters
 * can choose collisions. */
#include "router.h"

#include <assert.h>
#include <cleanup.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "arena.h"
#include "topic.h"

#define BUCKET_SLOTS 5
#define LOAD_NUMERATOR 5 /* slots per bucket we aim at: 5/2 */
#define LOAD_DENOMINATOR 2
#define SEGMENT0_LOG 4
/* buckets in the first segment; each further one doubles what there is */
#define SEGMENT0 (1u << SEGMENT0_LOG)
/* prefixes of one depth that are visited together, so that their cache misses overlap */
#define BATCH 6u
#define LARGE 8192u /* buckets, 512 KiB */
#define CHILDREN 3u /* at most, that one visit pushes: '#', literal, '+' */

/* A slot's word: 0 = free, else a pointer or a count with the kind in the lowest bits. */
#define KIND_MASK UINT64_C(3)
enum word_kind { KIND_LEAF = 1, KIND_VALUE = 2, KIND_INNER = 3 };
#define INNER_PLUS (UINT64_C(1) << 2)
#define INNER_HASH (UINT64_C(1) << 3)
#define INNER_END (UINT64_C(1) << 4) /* a filter ends here */
#define INNER_ONE (UINT64_C(1) << 6) /* counts the filters that pass through, in 26 bits */
#define INNER_COUNT (UINT64_C(0xffffffff) & ~(INNER_ONE - 1))
#define FILTERS_MAX ((UINT32_C(1) << 26) - 2)
/* The upper half of an inner word says which children by name there may be: bit (hash & 31).
 * Most prefixes have few, and the question after one that is not there is answered without going
 * to memory. Bits are never taken back while the prefix lives. */
#define INNER_NAMED(hash) (UINT64_C(1) << (32 + ((hash)&31)))

struct bucket {
	/* upper half of the prefix's hash; its low bits choose the bucket */
	uint32_t tag[BUCKET_SLOTS];
	uint32_t next; /* overflow bucket + 1, 0 = none */
	uint64_t word[BUCKET_SLOTS];
};
_Static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");

struct buckets { /* an array in segments that never move */
	struct bucket *segment[32 - SEGMENT0_LOG]; /* up to 2^31 buckets */
};

struct value { /* the second and further values of a filter */
	void *value;
	struct filter *filter;
	struct value *prev, *next;
};

struct filter {
	void *value; /* the first */
	struct value *others;
	uint32_t low; /* lower half of the hash of the prefix it stands at */
	uint16_t depth; /* levels of that prefix */
	uint16_t size;
	char text[];
};

struct state { /* a prefix still to be visited */
	uint64_t hash;
	uint32_t depth;
};

struct router {
	uint64_t key[4]; /* levels; prefixes are mixed with key[3] */
	uint64_t token_plus, token_hash, token_end, root_hash, value_hash;
	uint64_t root; /* an INNER word */
	struct buckets home, overflow;
	uint32_t home_count, overflow_count; /* buckets in use, ever used */
	uint32_t home_mask; /* the bits that home_count - 1 has */
	uint32_t overflow_free, overflow_free_count; /* list through bucket.next */
	size_t slots; /* in use */
	size_t values;
	struct arena arena; /* of filters and further values */
	uint32_t depth_max; /* deepest filter seen, in tokens */
	struct state *stack; /* scratch of a match: room for depth_max */
	uint64_t *level_hash;
};

/* -------------------------------------------------------------------------------------- hashing */

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 p = (unsigned __int128)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t word_load(const char *p)
{
	uint64_t x;
	memcpy(&x, p, 8);
	return le64toh(x);
}

/* The bytes from I on, at most 8, and if they are fewer a '/' behind them. */
static inline uint64_t load_word(const char *text, size_t size, size_t i)
{
	size_t left = size - i;
	if (left >= 8)
		return word_load(text + i);
	uint64_t x = 0;
	if (left > 0 && size >= 8)
		x = word_load(text + size - 8) >> (64 - 8 * left);
	else
		for (size_t k = 0; k < left; k++)
			x |= (uint64_t)(unsigned char)text[i + k] << (8 * k);
	return x | (uint64_t)'/' << (8 * left);
}

/* Finds the end of the level at POS (its '/', or SIZE) and the level's hash in one go. */
static inline size_t scan_level(const struct router *r, const char *text, size_t size, size_t pos, uint64_t *ret_hash)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t h = r->key[0];
	for (size_t i = pos;; i += 8) {
		uint64_t w = load_word(text, size, i), x = w ^ (ones * '/'), zero = (x - ones) & ~x & (ones << 7);
		if (zero) {
			unsigned n = (unsigned)__builtin_ctzll(zero) / 8;
			w &= (UINT64_C(1) << (8 * n)) - 1;
			i += n;
			*ret_hash = hash_mix(h ^ w, r->key[2] + (i - pos) * r->key[1]);
			return i;
		}
		h = hash_mix(h ^ w, r->key[1]);
	}
}

static inline uint64_t child_hash(const struct router *r, uint64_t prefix, uint64_t level)
{
	return hash_mix(prefix ^ level, r->key[3]);
}

static inline uint32_t tag_of(uint64_t hash) { return (uint32_t)(hash >> 32); }

/* The levels of a filter as tokens; after the last level comes the end, unless that was '#'. */
struct token {
	uint64_t hash;
	uint64_t wildcard; /* INNER_PLUS, _HASH, _END; 0: a name */
	bool last;
};

struct tokens {
	const char *text;
	size_t size, pos; /* pos > size: all levels read */
};

static struct token tokens_next(const struct router *r, struct tokens *t)
{
	if (t->pos > t->size)
		return (struct token){ r->token_end, INNER_END, true };
	uint64_t hash;
	size_t start = t->pos, end = scan_level(r, t->text, t->size, start, &hash);
	t->pos = end + 1;
	if (end - start == 1 && t->text[start] == '+')
		return (struct token){ r->token_plus, INNER_PLUS, false };
	if (end - start == 1 && t->text[start] == '#')
		return (struct token){ r->token_hash, INNER_HASH, true };
	return (struct token){ hash, 0, false };
}

/* What the parent of TOKEN's prefix, which has the hash HASH, is marked with. */
static uint64_t parent_mark(struct token token, uint64_t hash)
{
	return token.wildcard ? token.wildcard : INNER_NAMED(hash);
}

static uint32_t count_tokens(const char *text, size_t size)
{
	uint32_t n = 2; /* the last level and the end */
	for (size_t i = 0; i < size; i++)
		n += text[i] == '/';
	return n;
}

/* -------------------------------------------------------------------------- buckets in segments */

static inline struct bucket *bucket_at(const struct buckets *b, uint32_t i)
{
	if (i < SEGMENT0)
		return b->segment[0] + i;
	unsigned log = 31u - (unsigned)__builtin_clz(i);
	return b->segment[log - SEGMENT0_LOG + 1] + (i - (1u << log));
}

static size_t segment_bytes(unsigned segment)
{
	return ((size_t)SEGMENT0 << (segment ? segment - 1 : 0)) * sizeof(struct bucket);
}

static unsigned segment_of(uint32_t i)
{
	return i < SEGMENT0 ? 0 : 31u - (unsigned)__builtin_clz(i) - SEGMENT0_LOG + 1;
}

/* Makes sure that the segment of bucket I is there. Large ones are mapped untouched, so that
 * this takes no time in proportion. */
static int buckets_ensure(struct buckets *b, uint32_t i)
{
	unsigned segment = segment_of(i);
	if (segment >= sizeof b->segment / sizeof b->segment[0])
		return -ENOMEM;
	if (b->segment[segment])
		return 0;
	size_t bytes = segment_bytes(segment);
	void *p;
	if (bytes >= HUGE_BYTES) {
		p = huge_map(bytes);
		if (!p)
			return -ENOMEM;
	} else {
		p = aligned_alloc(sizeof(struct bucket), bytes);
		if (!p)
			return -ENOMEM;
		memset(p, 0, bytes);
	}
	b->segment[segment] = p;
	return 0;
}

static void segment_free(struct buckets *b, unsigned segment)
{
	if (!b->segment[segment])
		return;
	if (segment_bytes(segment) >= HUGE_BYTES)
		huge_unmap(b->segment[segment], segment_bytes(segment));
	else
		free(b->segment[segment]);
	b->segment[segment] = NULL;
}

static void buckets_done(struct buckets *b)
{
	for (unsigned i = 0; i < sizeof b->segment / sizeof b->segment[0]; i++)
		segment_free(b, i);
}

/* ------------------------------------------------------------------------------------ the table */

static void set_home_count(struct router *r, uint32_t count)
{
	r->home_count = count;
	r->home_mask = UINT32_MAX >> __builtin_clz(count - 1);
}

/* Linear hashing: with 2^k + p buckets, those below p and above 2^k are split by bit k already. */
static inline uint32_t home_index(const struct router *r, uint32_t tag)
{
	uint32_t i = tag & r->home_mask;
	return i < r->home_count ? i : i & (r->home_mask >> 1);
}

static inline struct bucket *bucket_home(const struct router *r, uint32_t tag)
{
	return bucket_at(&r->home, home_index(r, tag));
}

static inline struct bucket *next_bucket(const struct router *r, const struct bucket *b)
{
	return b->next ? bucket_at(&r->overflow, b->next - 1) : NULL;
}

/* overflow_reserve - have N overflow buckets at hand, so that the next N slot_insert() cannot
 * fail. */
static int overflow_reserve(struct router *r, uint32_t n)
{
	while (r->overflow_free_count < n) {
		if (buckets_ensure(&r->overflow, r->overflow_count) < 0)
			return -ENOMEM;
		struct bucket *b = bucket_at(&r->overflow, r->overflow_count++);
		b->next = r->overflow_free;
		r->overflow_free = r->overflow_count;
		r->overflow_free_count++;
	}
	return 0;
}

static void overflow_release(struct router *r, uint32_t index1)
{
	struct bucket *b = bucket_at(&r->overflow, index1 - 1);
	memset(b, 0, sizeof *b);
	b->next = r->overflow_free;
	r->overflow_free = index1;
	r->overflow_free_count++;
}

static uint64_t *slot_insert(struct router *r, uint32_t tag, uint64_t word)
{
	struct bucket *home = bucket_home(r, tag), *b;
	for (b = home; b; b = next_bucket(r, b))
		for (unsigned i = 0; i < BUCKET_SLOTS; i++)
			if (!b->word[i]) {
				b->tag[i] = tag;
				b->word[i] = word;
				return &b->word[i];
			}
	/* a bucket has its slots, and the overflow is reserved by whoever calls */
	assert(home && r->overflow_free_count > 0);
	uint32_t index1 = r->overflow_free;
	b = bucket_at(&r->overflow, index1 - 1);
	r->overflow_free = b->next;
	r->overflow_free_count--;
	b->next = home->next;
	home->next = index1;
	b->tag[0] = tag;
	b->word[0] = word;
	return &b->word[0];
}

/* Goes through the slots with TAG; start with *I = 0 and *B = bucket_home(). NULL at the end. */
static inline uint64_t *slot_next(const struct router *r, uint32_t tag, struct bucket **b, unsigned *i)
{
	for (; *b; *b = next_bucket(r, *b), *i = 0)
		while (*i < BUCKET_SLOTS) {
			unsigned at = (*i)++;
			if ((*b)->tag[at] == tag && (*b)->word[at])
				return &(*b)->word[at];
		}
	return NULL;
}

#define FOR_EACH_SLOT(r, t, word)                                                                                      \
	for (struct bucket *b_ = bucket_home(r, t), *once_ = b_; once_; once_ = NULL)                                  \
		for (unsigned i_ = 0; ((word) = slot_next(r, t, &b_, &i_));)

static inline bool node_level_is(uint64_t word, enum word_kind kind) { return (word & KIND_MASK) == (uint64_t)kind; }

static inline void *word_pointer(uint64_t word) { return (void *)(uintptr_t)(word & ~KIND_MASK); }

static uint64_t pointer_word(const void *p, enum word_kind kind) { return (uint64_t)(uintptr_t)p | (uint64_t)kind; }

static bool tag_exists(const struct router *r, uint32_t tag)
{
	uint64_t *word;
	FOR_EACH_SLOT(r, tag, word)
	return true;
	return false;
}

static uint32_t chain_length(const struct router *r, const struct bucket *b)
{
	uint32_t n = 0;
	while ((b = next_bucket(r, b)))
		n++;
	return n;
}

/* Frees the slot WORD of a TAG, and its overflow bucket if that is empty now. */
static void slot_clear(struct router *r, uint32_t tag, uint64_t *word)
{
	*word = 0;
	r->slots--;
	for (struct bucket *b = bucket_home(r, tag); b->next;) {
		const struct bucket *o = bucket_at(&r->overflow, b->next - 1);
		bool empty = true;
		for (unsigned i = 0; i < BUCKET_SLOTS; i++)
			empty &= o->word[i] == 0;
		if (!empty) {
			b = bucket_at(&r->overflow, b->next - 1);
			continue;
		}
		uint32_t index1 = b->next;
		b->next = o->next;
		overflow_release(r, index1);
	}
}

/* Puts every slot of the chain that began with the home bucket FIRST (a copy) where it belongs
 * now. */
static void buckets_redistribute(struct router *r, const struct bucket *first)
{
	struct bucket copy = *first;
	for (;;) {
		for (unsigned i = 0; i < BUCKET_SLOTS; i++)
			if (copy.word[i])
				(void)slot_insert(r, copy.tag[i], copy.word[i]);
		uint32_t index1 = copy.next;
		if (!index1)
			return;
		copy = *bucket_at(&r->overflow, index1 - 1);
		overflow_release(r, index1);
	}
}

/* One bucket more: its elder twin is split. If there is no memory for it the table stays as it
 * is and works on. */
static void router_table_grow(struct router *r)
{
	if (r->home_count == UINT32_C(1) << 31 || buckets_ensure(&r->home, r->home_count) < 0)
		return;
	uint32_t twin = r->home_count - (UINT32_C(1) << (31 - __builtin_clz(r->home_count)));
	struct bucket *old = bucket_at(&r->home, twin);
	if (overflow_reserve(r, chain_length(r, old) + 1) < 0)
		return;
	struct bucket copy = *old;
	memset(old, 0, sizeof *old);
	set_home_count(r, r->home_count + 1);
	buckets_redistribute(r, &copy);
}

/* One bucket less: the last is merged into its elder twin. */
static void table_shrink(struct router *r)
{
	struct bucket *last = bucket_at(&r->home, r->home_count - 1);
	if (overflow_reserve(r, chain_length(r, last) + 1) < 0)
		return;
	struct bucket copy = *last;
	memset(last, 0, sizeof *last);
	set_home_count(r, r->home_count - 1);
	buckets_redistribute(r, &copy);
	/* Keep one empty segment, so that a count that swings around its border does not
	 * allocate each time. */
	unsigned segment = segment_of(r->home_count) + 2;
	if (segment < sizeof r->home.segment / sizeof r->home.segment[0])
		segment_free(&r->home, segment);
}

static void table_balance(struct router *r)
{
	for (unsigned i = 0; i < 4 && r->slots * LOAD_DENOMINATOR > (size_t)r->home_count * LOAD_NUMERATOR; i++)
		router_table_grow(r);
	for (unsigned i = 0; i < 4 && r->home_count > SEGMENT0 &&
			     r->slots * LOAD_DENOMINATOR * 2 < (size_t)r->home_count * LOAD_NUMERATOR;
	     i++)
		table_shrink(r);
}

/* -------------------------------------------------------------------------------------- filters */

static uint64_t *find_inner(const struct router *r, uint64_t hash)
{
	uint64_t *word;
	FOR_EACH_SLOT(r, tag_of(hash), word)
	if (node_level_is(*word, KIND_INNER))
		return word;
	return NULL;
}

static struct filter *find_filter(const struct router *r, const char *text, size_t size)
{
	struct tokens t = { text, size, 0 };
	uint64_t hash = r->root_hash;
	for (;;) {
		struct token token = tokens_next(r, &t);
		uint64_t *word;
		bool inner = false;
		hash = child_hash(r, hash, token.hash);
		FOR_EACH_SLOT(r, tag_of(hash), word)
		{
			struct filter *f = word_pointer(*word);
			if (node_level_is(*word, KIND_LEAF) && f->low == (uint32_t)hash && f->size == size &&
			    memcmp(f->text, text, size) == 0)
				return f;
			inner |= node_level_is(*word, KIND_INNER);
		}
		if (!inner || token.last)
			return NULL;
	}
}

/* The leaf of another filter that stands at the prefix HASH; NULL: none. */
static uint64_t *find_rival(const struct router *r, uint64_t hash, uint32_t depth)
{
	uint64_t *word;
	FOR_EACH_SLOT(r, tag_of(hash), word)
	{
		const struct filter *f = word_pointer(*word);
		if (node_level_is(*word, KIND_LEAF) && f->low == (uint32_t)hash && f->depth == depth)
			return word;
	}
	return NULL;
}

static void place_leaf(struct router *r, struct filter *f, uint64_t hash, uint32_t depth)
{
	f->low = (uint32_t)hash;
	f->depth = (uint16_t)depth;
	(void)slot_insert(r, tag_of(hash), pointer_word(f, KIND_LEAF));
	r->slots++;
}

/* A second filter comes through the leaf WORD: it becomes an INNER prefix and its filter moves
 * one level down (or more, past inner prefixes it meets by a chance collision). T stands after
 * the prefix, at HASH. Needs one reserved overflow bucket. Returns the inner slot. */
static uint64_t *push_down(struct router *r, uint64_t *word, struct tokens t, uint64_t hash, uint32_t depth)
{
	struct filter *f = word_pointer(*word);
	uint64_t *result = word;
	*word = INNER_ONE | KIND_INNER;
	t.text = f->text;
	t.size = f->size;
	for (;;) {
		struct token token = tokens_next(r, &t);
		hash = child_hash(r, hash, token.hash);
		*word |= parent_mark(token, hash);
		depth++;
		uint64_t *inner = token.last ? NULL : find_inner(r, hash);
		if (!inner)
			break;
		*inner += INNER_ONE;
		word = inner;
	}
	place_leaf(r, f, hash, depth);
	return result;
}

static bool runs_through(const struct filter *f, size_t prefix)
{
	return f->size == prefix || (f->size > prefix && f->text[prefix] == '/');
}

/* who shares how many bytes with the filter that is being inserted; it may have to give way
 * level by level */
struct rival {
	const struct filter *filter;
	size_t common;
};

/* The inner slot at HASH that the filter F (read up to T) passes, made from a rival's leaf if
 * need be; NULL: F can be a leaf here. */
static uint64_t *inner_for(struct router *r, const struct filter *f, const struct tokens *t, uint64_t hash,
			   uint32_t depth, struct rival *rival)
{
	uint64_t *word = find_inner(r, hash);
	if (word || !(word = find_rival(r, hash, depth)))
		return word;
	const struct filter *other = word_pointer(*word);
	size_t prefix = t->pos - 1;
	assert(other); /* a leaf points to its filter */
	if (rival->filter != other) {
		rival->filter = other;
		for (rival->common = 0; rival->common < f->size && rival->common < other->size; rival->common++)
			if (f->text[rival->common] != other->text[rival->common])
				break;
	}
	if (rival->common < prefix || !runs_through(other, prefix))
		return NULL; /* equal hashes of different prefixes: both may be leaves */
	return push_down(r, word, *t, hash, depth);
}

/* Takes F's part back out of the inner prefixes on its way, DEPTH of them. */
static void state_unwind(struct router *r, const struct filter *f, uint32_t depth, uint64_t *ret_hash,
			 struct token *ret_token, uint64_t **ret_parent)
{
	struct tokens t = { f->text, f->size, 0 };
	uint64_t hash = r->root_hash, *parent = &r->root;
	struct token token = tokens_next(r, &t);
	r->root -= INNER_ONE;
	for (uint32_t d = 0; d < depth; d++, token = tokens_next(r, &t)) {
		hash = child_hash(r, hash, token.hash);
		uint64_t *inner = find_inner(r, hash);
		assert(inner);
		*inner -= INNER_ONE;
		if (*inner & INNER_COUNT) {
			parent = inner;
			continue;
		}
		slot_clear(r, tag_of(hash), inner);
		if (parent && token.wildcard && !tag_exists(r, tag_of(hash)))
			*parent &= ~token.wildcard;
		parent = NULL;
	}
	*ret_hash = child_hash(r, hash, token.hash);
	*ret_token = token;
	*ret_parent = parent;
}

static void remove_filter(struct router *r, struct filter *f)
{
	uint64_t hash, *parent, *word;
	struct token token;
	state_unwind(r, f, f->depth - 1u, &hash, &token, &parent);
	FOR_EACH_SLOT(r, tag_of(hash), word)
	if (*word == pointer_word(f, KIND_LEAF)) {
		slot_clear(r, tag_of(hash), word);
		break;
	}
	if (parent && token.wildcard && !tag_exists(r, tag_of(hash)))
		*parent &= ~token.wildcard;
	arena_free(&r->arena, f, sizeof *f + f->size);
	table_balance(r);
}

static int insert_filter(struct router *r, struct filter *f)
{
	struct tokens t = { f->text, f->size, 0 };
	struct rival rival = { NULL, 0 };
	uint64_t hash = r->root_hash, *parent = &r->root;
	r->root += INNER_ONE;
	for (uint32_t depth = 1;; depth++) {
		if (overflow_reserve(r, 2) < 0) {
			struct token token;
			state_unwind(r, f, depth - 1, &hash, &token, &parent);
			return -ENOMEM;
		}
		struct token token = tokens_next(r, &t);
		hash = child_hash(r, hash, token.hash);
		*parent |= parent_mark(token, hash);
		uint64_t *inner = token.last ? NULL : inner_for(r, f, &t, hash, depth, &rival);
		if (!inner) {
			place_leaf(r, f, hash, depth);
			return 0;
		}
		*inner += INNER_ONE;
		parent = inner;
	}
}

/* --------------------------------------------------------------------------------------- values */

static uint64_t value_hash(const struct router *r, const struct filter *f, const void *value)
{
	return child_hash(r, child_hash(r, r->value_hash, (uintptr_t)f), (uintptr_t)value);
}

static uint64_t *find_value(const struct router *r, const struct filter *f, const void *value)
{
	uint64_t *word;
	FOR_EACH_SLOT(r, tag_of(value_hash(r, f, value)), word)
	{
		const struct value *v = word_pointer(*word);
		if (node_level_is(*word, KIND_VALUE) && v->filter == f && v->value == value)
			return word;
	}
	return NULL;
}

static int add_value(struct router *r, struct filter *f, void *value)
{
	if (f->value == value || find_value(r, f, value))
		return -EEXIST;
	if (overflow_reserve(r, 1) < 0)
		return -ENOMEM;
	struct value *v = arena_alloc(&r->arena, sizeof *v);
	if (!v)
		return -ENOMEM;
	*v = (struct value){ value, f, NULL, f->others };
	if (f->others)
		f->others->prev = v;
	f->others = v;
	(void)slot_insert(r, tag_of(value_hash(r, f, value)), pointer_word(v, KIND_VALUE));
	r->slots++;
	return 0;
}

static void remove_value(struct router *r, uint64_t *word)
{
	struct value *v = word_pointer(*word);
	if (v->prev)
		v->prev->next = v->next;
	else
		v->filter->others = v->next;
	if (v->next)
		v->next->prev = v->prev;
	slot_clear(r, tag_of(value_hash(r, v->filter, v->value)), word);
	arena_free(&r->arena, v, sizeof *v);
}

/* ------------------------------------------------------------------------------ the public part */

int router_new(struct router **ret)
{
	_cleanup_free_ struct router *r = calloc(1, sizeof *r);
	uint64_t random[9];
	if (!r)
		return -ENOMEM;
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return -errno;
	for (unsigned i = 0; i < 4; i++)
		r->key[i] = random[i] | 1; /* some are factors */
	r->token_plus = random[4];
	r->token_hash = random[5];
	r->token_end = random[6];
	r->root_hash = random[7];
	r->value_hash = random[8];
	r->root = KIND_INNER;
	if (buckets_ensure(&r->home, 0) < 0)
		return -ENOMEM;
	set_home_count(r, SEGMENT0);
	*ret = TAKE_PTR(r);
	return 0;
}

/* Only what is too large for the arena must be found to be freed. */
static void free_slots(struct router *r, struct bucket *b)
{
	for (unsigned i = 0; i < BUCKET_SLOTS; i++)
		if (node_level_is(b->word[i], KIND_LEAF)) {
			struct filter *f = word_pointer(b->word[i]);
			arena_free(&r->arena, f, sizeof *f + f->size);
		}
}

void router_free(struct router *router)
{
	if (!router)
		return;
	for (uint32_t i = 0; i < router->home_count; i++)
		free_slots(router, bucket_at(&router->home, i));
	for (uint32_t i = 0; i < router->overflow_count; i++)
		free_slots(router, bucket_at(&router->overflow, i));
	buckets_done(&router->home);
	buckets_done(&router->overflow);
	arena_done(&router->arena);
	free(router->stack);
	free(router->level_hash);
	free(router);
}

/* Room for a match that goes DEPTH tokens deep: of each depth at most one batch's children wait. */
static int scratch_ensure(struct router *r, uint32_t depth)
{
	if (depth <= r->depth_max)
		return 0;
	struct state *stack = malloc((depth + 1) * BATCH * CHILDREN * sizeof *stack);
	uint64_t *level_hash = malloc((depth + 1) * sizeof *level_hash);
	if (!stack || !level_hash) {
		free(stack);
		free(level_hash);
		return -ENOMEM;
	}
	free(r->stack);
	free(r->level_hash);
	r->stack = stack;
	r->level_hash = level_hash;
	r->depth_max = depth;
	return 0;
}

int router_add(struct router *router, const char *filter, size_t size, void *value)
{
	struct filter *f = find_filter(router, filter, size);
	int r;
	if (f) {
		r = add_value(router, f, value);
	} else {
		if (size > TOPIC_MAX || router->values >= FILTERS_MAX ||
		    scratch_ensure(router, count_tokens(filter, size)) < 0)
			return -ENOMEM;
		f = arena_alloc(&router->arena, sizeof *f + size);
		if (!f)
			return -ENOMEM;
		*f = (struct filter){ .value = value, .size = (uint16_t)size };
		memcpy(f->text, filter, size);
		r = insert_filter(router, f);
		if (r < 0)
			arena_free(&router->arena, f, sizeof *f + size);
	}
	if (r < 0)
		return r;
	router->values++;
	table_balance(router);
	return 0;
}

int router_remove(struct router *router, const char *filter, size_t size, void *value)
{
	struct filter *f = find_filter(router, filter, size);
	if (!f)
		return -ENOENT;
	if (f->value != value) {
		uint64_t *word = find_value(router, f, value);
		if (!word)
			return -ENOENT;
		remove_value(router, word);
		table_balance(router);
	} else if (f->others) {
		f->value = f->others->value;
		remove_value(router, find_value(router, f, f->value));
		table_balance(router);
	} else {
		remove_filter(router, f);
	}
	router->values--;
	return 0;
}

/* ------------------------------------------------------------------------------------- matching */

#define CANDIDATES 16u

struct walk {
	const struct router *r;
	const char *topic;
	size_t size, pos; /* levels before POS are hashed */
	uint32_t known; /* so many */
	uint32_t stacked, candidates;
	router_match_fn fn;
	void *data;
	size_t matches;
	struct {
		const struct filter *filter;
		uint32_t low, depth;
	} candidate[CANDIDATES];
};

static inline void walk_init(struct walk *w, const struct router *r, const char *topic, size_t size, router_match_fn fn,
			     void *data)
{
	w->r = r;
	w->topic = topic;
	w->size = size;
	w->fn = fn;
	w->data = data;
	w->pos = w->matches = 0;
	/* candidate[] needs no clearing, which would take longer than a level */
	w->known = w->stacked = w->candidates = 0;
}

/* Hashes level D if that has not happened yet; false: the topic has no such level. */
static inline bool walk_level(struct walk *w, uint32_t d)
{
	while (w->known <= d) {
		if (w->pos > w->size)
			return false;
		w->pos = scan_level(w->r, w->topic, w->size, w->pos, &w->r->level_hash[w->known++]) + 1;
	}
	return true;
}

static inline void walk_push(struct walk *w, uint64_t hash, uint32_t depth)
{
	__builtin_prefetch(bucket_home(w->r, tag_of(hash)));
	w->r->stack[w->stacked++] = (struct state){ hash, depth };
}

static inline void walk_inner(struct walk *w, uint64_t word, uint64_t hash, uint32_t depth)
{
	bool wild = depth > 0 || w->size == 0 || w->topic[0] != '$';
	if (depth >= w->r->depth_max)
		return; /* only by a chance collision */
	if ((word & INNER_HASH) && wild)
		walk_push(w, child_hash(w->r, hash, w->r->token_hash), depth + 1);
	if (!walk_level(w, depth)) {
		if (word & INNER_END)
			walk_push(w, child_hash(w->r, hash, w->r->token_end), depth + 1);
		return;
	}
	uint64_t named = child_hash(w->r, hash, w->r->level_hash[depth]);
	if (word & INNER_NAMED(named)) {
		walk_push(w, named, depth + 1);
		/* In a table larger than the caches, ask for the line after next as well: its
		 * address is known before it is known to matter. */
		if (w->r->home_count >= LARGE && walk_level(w, depth + 1))
			__builtin_prefetch(
				bucket_home(w->r, tag_of(child_hash(w->r, named, w->r->level_hash[depth + 1]))));
	}
	if ((word & INNER_PLUS) && wild)
		walk_push(w, child_hash(w->r, hash, w->r->token_plus), depth + 1);
}

/* Compares the leaves found so far with the whole topic and reports those that match. */
static void walk_settle(struct walk *w)
{
	for (uint32_t i = 0; i < w->candidates; i++) {
		const struct filter *f = w->candidate[i].filter;
		/* A leaf reached by way of another prefix's tag is not to be reported here: it
		 * would be twice. */
		if (f->low != w->candidate[i].low || f->depth != w->candidate[i].depth)
			continue;
		if (!topic_matches_sized(f->text, f->size, w->topic, w->size))
			continue;
		w->fn(w->data, f->value);
		w->matches++;
		for (const struct value *v = f->others; v; v = v->next) {
			w->fn(w->data, v->value);
			w->matches++;
		}
	}
	w->candidates = 0;
}

static inline void walk_leaf(struct walk *w, const struct filter *f, const struct state *s)
{
	__builtin_prefetch(f);
	/* the text goes on there, and a line past the end does no harm */
	__builtin_prefetch((const char *)f + 64);
	if (w->candidates == CANDIDATES)
		walk_settle(w);
	w->candidate[w->candidates].filter = f;
	w->candidate[w->candidates].low = (uint32_t)s->hash;
	w->candidate[w->candidates++].depth = s->depth;
}

static inline void walk_visit(struct walk *w, const struct state *s)
{
	uint32_t tag = tag_of(s->hash);
	for (const struct bucket *b = bucket_home(w->r, tag); b; b = next_bucket(w->r, b)) {
		/* Without a branch per slot: nearly always none or one of them fits, which no
		 * branch predictor can know. */
		unsigned fits = (unsigned)(b->tag[0] == tag) | (unsigned)(b->tag[1] == tag) << 1 |
				(unsigned)(b->tag[2] == tag) << 2 | (unsigned)(b->tag[3] == tag) << 3 |
				(unsigned)(b->tag[4] == tag) << 4;
		for (; fits; fits &= fits - 1) {
			uint64_t word = b->word[__builtin_ctz(fits)];
			if (node_level_is(word, KIND_INNER))
				walk_inner(w, word, s->hash, s->depth);
			else if (node_level_is(word, KIND_LEAF))
				walk_leaf(w, word_pointer(word), s);
		}
	}
}

size_t router_match(const struct router *router, const char *topic, size_t size, router_match_fn fn, void *data)
{
	struct walk w;
	if (router->values == 0)
		return 0;
	walk_init(&w, router, topic, size, fn, data);
	walk_inner(&w, router->root, router->root_hash, 0);
	while (w.stacked > 0) {
		/* Deepest first, but a few of one depth together: their table lines were asked
		 * for when they were pushed. */
		struct state batch[BATCH];
		uint32_t n = 0, depth = router->stack[w.stacked - 1].depth;
		while (n < BATCH && w.stacked > 0 && router->stack[w.stacked - 1].depth == depth)
			batch[n++] = router->stack[--w.stacked];
		for (uint32_t i = 0; i < n; i++)
			walk_visit(&w, &batch[i]);
	}
	walk_settle(&w);
	return w.matches;
}

size_t router_count(const struct router *router) { return router->values; }

size_t router_memory_bytes(const struct router *router)
{
	size_t scratch = router->depth_max ? (router->depth_max + 1) *
						     (BATCH * CHILDREN * sizeof(struct state) + sizeof(uint64_t))
					   : 0;
	return sizeof *router + scratch + router->arena.bytes +
	       ((size_t)router->home_count + router->overflow_count) * sizeof(struct bucket);
}
