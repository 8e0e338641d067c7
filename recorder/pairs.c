/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "recorder/pairs.h"

#define ROOM_FIRST 1024U
#define ROOM_MAX   131072U /* above RECORDER_PAIR_COUNT by what comes between two looks */
#define KEEP_TIMES \
	2 /* an end stays so much longer than a pair may lie apart: to tell who is late */

enum entry_state {
	ENTRY_WAITS,
	ENTRY_SHOWN, /* alone; its other end may still come */
	ENTRY_DONE,  /* in a row with both */
};

struct entry {
	struct recorder_end end;
	uint64_t clock_ns;
	uint64_t older; /* number of the next in its bucket; below the first: none */
	enum entry_state state;
	unsigned several; /* CODEC_JOIN_SEVERAL_*, or 0: more than one fits, so none does */
	bool crowded;     /* too many claim its id: it is not looked at */
	bool forced;      /* shown before its time */
};

/* Entries are numbered as they come and leave in that order; entry N lies at N modulo room. */
struct recorder_pairs {
	struct entry *ring;
	uint64_t *buckets; /* number of the newest entry of a hash */
	uint64_t room;     /* of both, a power of two */
	uint64_t first, due, end;
	uint64_t secret, wait_ns, keep_ns, clock_ns;
	bool live;
	bool has_ready;
	struct recorder_pair ready;
	struct recorder_pairs_counters counters;
};

/* ---- what a row is ---- */

static bool is_near(const struct recorder_end *end)
{
	return end->reporter == CODEC_REPORTER_INITIATOR;
}

const struct recorder_end *recorder_pair_near(const struct recorder_pair *pair)
{
	return pair->both && !is_near(&pair->first) ? &pair->second : &pair->first;
}

const struct recorder_end *recorder_pair_far(const struct recorder_pair *pair)
{
	if (!pair->both) {
		return NULL;
	}
	return is_near(&pair->first) ? &pair->second : &pair->first;
}

const struct store_row_key *recorder_pair_key(const struct recorder_pair *pair)
{
	bool second = pair->both && store_row_key_compare(&pair->second.key, &pair->first.key) < 0;
	return second ? &pair->second.key : &pair->first.key;
}

/* ---- do two ends fit? ---- */

static uint64_t apart_ns(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* A port of one host, a container in its namespaces: the near end may only know the host. */
static bool same_destination(const struct recorder_end *near_end,
                             const struct recorder_end *far_end)
{
	return pr_uuid_is_null(&near_end->dst_endpoint) ||
	       pr_uuid_equal(&near_end->dst_endpoint, &far_end->dst_endpoint) ||
	       pr_uuid_equal(&near_end->dst_host, &far_end->key.agent);
}

/* The source is translated where it has another address at the far end; else its port is the
 * same. */
static bool same_source(const struct recorder_end *near_end, const struct recorder_end *far_end)
{
	return !pr_addr_equal(&near_end->src, &far_end->src) ||
	       near_end->src_port == far_end->src_port;
}

/* CODEC_JOIN_BOTH, or on what they disagree. */
static unsigned fit(const struct recorder_end *a, const struct recorder_end *b)
{
	const struct recorder_end *near_end = is_near(a) ? a : b;
	const struct recorder_end *far_end = is_near(a) ? b : a;

	if (near_end->proto != far_end->proto ||
	    near_end->wire_dst_port != far_end->wire_dst_port) {
		return CODEC_JOIN_OTHER_SERVICE;
	}
	if (!pr_addr_equal(&near_end->wire_dst, &far_end->wire_dst) ||
	    !same_source(near_end, far_end)) {
		return CODEC_JOIN_OTHER_ADDRESS;
	}
	if (!pr_uuid_equal(&near_end->src_endpoint, &far_end->src_endpoint) ||
	    !same_destination(near_end, far_end)) {
		return CODEC_JOIN_OTHER_ENDPOINT;
	}
	return apart_ns(near_end->key.time_wall_ns, far_end->key.time_wall_ns) > RECORDER_PAIR_NS
	               ? CODEC_JOIN_OTHER_TIME
	               : CODEC_JOIN_BOTH;
}

/* Does the near end not know to whom it went? Then another far end may yet fit as well. */
static bool is_open(const struct recorder_end *a, const struct recorder_end *b)
{
	return pr_uuid_is_null(is_near(a) ? &a->dst_endpoint : &b->dst_endpoint);
}

/* Why an end of which nobody else speaks is alone. */
static unsigned lone(const struct recorder_end *end)
{
	if (end->reporter == CODEC_REPORTER_BOUNDARY) {
		return CODEC_JOIN_BOUNDARY;
	}
	if (is_near(end)) {
		if (pr_uuid_equal(&end->src_endpoint, &end->dst_endpoint)) {
			return CODEC_JOIN_LOOPBACK;
		}
		if (end->verdict == CODEC_EVENT_VERDICT_DENIED ||
		    end->verdict == CODEC_EVENT_VERDICT_REJECTED) {
			return CODEC_JOIN_STOPPED;
		}
		if (end->connection == 0) {
			return CODEC_JOIN_NO_ID;
		}
		return pr_uuid_is_null(&end->dst_endpoint) ? CODEC_JOIN_FAR_STRANGE
		                                           : CODEC_JOIN_FAR_UNSEEN;
	}
	if (end->connection == 0) {
		return CODEC_JOIN_NO_ID;
	}
	if (!pr_uuid_is_null(&end->src_endpoint)) {
		return CODEC_JOIN_NEAR_UNSEEN;
	}
	if (end->unknown == CODEC_UNKNOWN_NO_NOTICE) {
		return CODEC_JOIN_UNTOLD;
	}
	/* What is not known of the owner hides what is not known of the source. */
	return end->unknown == CODEC_UNKNOWN_NONE ? CODEC_JOIN_NEAR_STRANGE
	                                          : CODEC_JOIN_NEAR_UNKNOWN;
}

/* ---- places ---- */

static struct entry *at(const recorder_pairs_t *pairs, uint64_t number)
{
	return &pairs->ring[number & (pairs->room - 1)];
}

static uint64_t *bucket_of(const recorder_pairs_t *pairs, uint64_t connection)
{
	uint64_t hash = (connection ^ pairs->secret) * 0x9e3779b97f4a7c15ULL;

	hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93ULL;
	return &pairs->buckets[(hash >> 32) & (pairs->room - 1)];
}

/* May it be found by another end? */
static bool is_linked(const struct entry *entry)
{
	return entry->end.connection != 0 && entry->end.own && !entry->crowded &&
	       entry->end.reporter != CODEC_REPORTER_BOUNDARY;
}

static void link_in(recorder_pairs_t *pairs, uint64_t number)
{
	struct entry *entry = at(pairs, number);

	if (is_linked(entry)) {
		uint64_t *bucket = bucket_of(pairs, entry->end.connection);
		entry->older = *bucket;
		*bucket = number;
	}
}

recorder_pairs_t *recorder_pairs_new(uint64_t secret)
{
	recorder_pairs_t *pairs = calloc(1, sizeof(*pairs));

	if (pairs == NULL) {
		return NULL;
	}
	pairs->room = ROOM_FIRST;
	pairs->ring = malloc(pairs->room * sizeof(*pairs->ring));
	pairs->buckets = calloc(pairs->room, sizeof(*pairs->buckets));
	if (pairs->ring == NULL || pairs->buckets == NULL) {
		recorder_pairs_destroy(&pairs);
		return NULL;
	}
	pairs->first = pairs->due = pairs->end = 1;
	pairs->secret = secret;
	pairs->wait_ns = RECORDER_PAIR_NS;
	pairs->keep_ns = KEEP_TIMES * RECORDER_PAIR_NS;
	return pairs;
}

void recorder_pairs_destroy(recorder_pairs_t **pairs_p)
{
	if (*pairs_p != NULL) {
		free((*pairs_p)->ring);
		free((*pairs_p)->buckets);
		free(*pairs_p);
		*pairs_p = NULL;
	}
}

static int grow(recorder_pairs_t *pairs)
{
	uint64_t room = 2 * pairs->room;
	struct entry *ring = NULL;
	uint64_t *buckets = NULL;

	if (room <= ROOM_MAX) {
		ring = malloc(room * sizeof(*ring));
		buckets = calloc(room, sizeof(*buckets));
	}
	if (ring == NULL || buckets == NULL) {
		free(ring);
		free(buckets);
		return PR_ENOMEM;
	}
	for (uint64_t number = pairs->first; number < pairs->end; number++) {
		ring[number & (room - 1)] = *at(pairs, number);
	}
	free(pairs->ring);
	free(pairs->buckets);
	pairs->ring = ring;
	pairs->buckets = buckets;
	pairs->room = room;
	for (uint64_t number = pairs->first; number < pairs->end; number++) {
		link_in(pairs, number);
	}
	return PR_OK;
}

/* Those that claim a connection, newest first: begin with entry NULL. */
static struct entry *next_same(const recorder_pairs_t *pairs, uint64_t connection,
                               const struct entry *entry)
{
	uint64_t number = entry == NULL ? *bucket_of(pairs, connection) : entry->older;

	while (number >= pairs->first && at(pairs, number)->end.connection != connection) {
		number = at(pairs, number)->older;
	}
	return number >= pairs->first ? at(pairs, number) : NULL;
}

/* ---- an end comes ---- */

/* The same end told again: a packet that was sent again. */
static bool is_repeat(const struct recorder_end *a, const struct recorder_end *b)
{
	return a->reporter == b->reporter && pr_uuid_equal(&a->key.agent, &b->key.agent) &&
	       a->proto == b->proto && pr_addr_equal(&a->src, &b->src) &&
	       a->src_port == b->src_port && pr_addr_equal(&a->dst, &b->dst) &&
	       a->wire_dst_port == b->wire_dst_port && pr_addr_equal(&a->wire_dst, &b->wire_dst) &&
	       a->pid == b->pid && a->uid == b->uid &&
	       pr_uuid_equal(&a->src_endpoint, &b->src_endpoint) &&
	       pr_uuid_equal(&a->dst_endpoint, &b->dst_endpoint) &&
	       apart_ns(a->key.time_wall_ns, b->key.time_wall_ns) <= RECORDER_PAIR_NS;
}

static void count_row(recorder_pairs_t *pairs, const struct recorder_pair *pair)
{
	struct recorder_pairs_counters *counters = &pairs->counters;

	counters->joined += pair->both;
	counters->single += !pair->both;
	counters->disagreed += pair->join >= CODEC_JOIN_TAKEN && pair->join <= CODEC_JOIN_NOT_OWN;
	counters->several +=
		pair->join == CODEC_JOIN_SEVERAL_NEAR || pair->join == CODEC_JOIN_SEVERAL_FAR;
	counters->crowded += pair->join == CODEC_JOIN_CROWDED;
}

/* What others say of an end's connection. */
struct others {
	struct entry *partner; /* the one that fits, or one of them */
	unsigned fitting;      /* that fit and are free */
	unsigned rivals;       /* that would fit the partner as well as the end does */
	unsigned problem;      /* CODEC_JOIN_*: of one that does not fit; 0: none */
	bool taken;            /* one fits that is in a row already */
};

static void others_find(const recorder_pairs_t *pairs, const struct entry *entry,
                        struct others *ret_others)
{
	struct others others = { 0 };
	uint64_t connection = entry->end.connection;

	for (struct entry *other = next_same(pairs, connection, NULL); other != NULL;
	     other = next_same(pairs, connection, other)) {
		if (other->end.reporter == entry->end.reporter) {
			continue;
		}
		unsigned join = fit(&entry->end, &other->end);
		if (join != CODEC_JOIN_BOTH) {
			others.problem = join;
		} else if (other->state == ENTRY_DONE) {
			others.taken = true;
		} else {
			others.fitting++;
			others.partner = other;
		}
	}
	for (struct entry *rival = next_same(pairs, connection, NULL);
	     rival != NULL && others.fitting == 1; rival = next_same(pairs, connection, rival)) {
		others.rivals += rival != entry && rival->state != ENTRY_DONE &&
		                 rival->end.reporter == entry->end.reporter &&
		                 fit(&rival->end, &others.partner->end) == CODEC_JOIN_BOTH;
	}
	*ret_others = others;
}

/* None of those that fit each other is joined, now or later. */
static void several_mark(const recorder_pairs_t *pairs, struct entry *entry,
                         const struct others *others)
{
	bool near_ends = is_near(&entry->end) == (others->rivals > 0);
	unsigned several = near_ends ? CODEC_JOIN_SEVERAL_NEAR : CODEC_JOIN_SEVERAL_FAR;
	uint64_t connection = entry->end.connection;

	entry->several = several;
	for (struct entry *other = next_same(pairs, connection, NULL); other != NULL;
	     other = next_same(pairs, connection, other)) {
		const struct entry *against =
			other->end.reporter == entry->end.reporter ? others->partner : entry;
		if (other != against && other->state != ENTRY_DONE &&
		    fit(&other->end, &against->end) == CODEC_JOIN_BOTH) {
			other->several = several;
		}
	}
}

static void entry_join(struct entry *entry, struct entry *partner, struct recorder_pair *ret_pair)
{
	bool late = entry->state == ENTRY_SHOWN || partner->state == ENTRY_SHOWN;
	bool swap = partner->clock_ns < entry->clock_ns;

	*ret_pair = (struct recorder_pair){ .first = swap ? partner->end : entry->end,
		                            .second = swap ? entry->end : partner->end,
		                            .both = true,
		                            .join = late ? CODEC_JOIN_LATE : CODEC_JOIN_BOTH };
	entry->state = ENTRY_DONE;
	partner->state = ENTRY_DONE;
}

/* The row of an end. False: it waits on (only when it may). */
static bool entry_resolve(recorder_pairs_t *pairs, struct entry *entry, bool may_wait,
                          struct recorder_pair *ret_pair)
{
	struct others others = { 0 };
	unsigned join = entry->several;

	if (join == 0 && is_linked(entry)) {
		others_find(pairs, entry, &others);
		if (others.fitting > 1 || others.rivals > 0) {
			several_mark(pairs, entry, &others);
			join = entry->several;
		} else if (others.fitting == 1 && others.partner->several == 0 &&
		           !(may_wait && is_open(&entry->end, &others.partner->end))) {
			entry_join(entry, others.partner, ret_pair);
			count_row(pairs, ret_pair);
			return true;
		}
	}
	if (may_wait) {
		return false;
	}
	if (join == 0 && others.fitting == 1) {
		join = others.partner->several;
	}
	if (join == 0) {
		join = entry->crowded || entry->forced ? CODEC_JOIN_CROWDED
		       : !entry->end.own               ? CODEC_JOIN_NOT_OWN
		       : others.taken                  ? CODEC_JOIN_TAKEN
		       : others.problem != 0           ? others.problem
		                                       : lone(&entry->end);
	}
	*ret_pair = (struct recorder_pair){ .first = entry->end, .join = join };
	entry->state = ENTRY_SHOWN;
	count_row(pairs, ret_pair);
	return true;
}

/* Is it a repeat of one that is here? Else how many claim the same. */
static bool repeat_find(recorder_pairs_t *pairs, const struct recorder_end *end, unsigned *ret_same)
{
	*ret_same = 0;
	for (struct entry *same = next_same(pairs, end->connection, NULL); same != NULL;
	     same = next_same(pairs, end->connection, same)) {
		if (is_repeat(&same->end, end)) {
			same->end.matches = same->end.matches || end->matches;
			pairs->counters.repeated++;
			return true;
		}
		++*ret_same;
	}
	return false;
}

int recorder_pairs_put(recorder_pairs_t *pairs, const struct recorder_end *end, uint64_t clock_ns)
{
	struct entry entry = { .end = *end };
	unsigned same = 0;

	if (is_linked(&entry) && repeat_find(pairs, end, &same)) {
		return PR_OK;
	}
	if (pairs->end - pairs->first == pairs->room) {
		int err = grow(pairs);
		if (err != PR_OK) {
			return err;
		}
	}
	pairs->clock_ns = clock_ns > pairs->clock_ns ? clock_ns : pairs->clock_ns;
	entry.clock_ns = pairs->clock_ns;
	entry.crowded = same >= RECORDER_PAIR_SAME_MAX;
	*at(pairs, pairs->end) = entry;
	link_in(pairs, pairs->end);
	pairs->end++;
	if (pairs->live && !pairs->has_ready) {
		pairs->has_ready =
			entry_resolve(pairs, at(pairs, pairs->end - 1), true, &pairs->ready);
	}
	return PR_OK;
}

/* ---- rows go ---- */

static bool is_past(uint64_t since_ns, uint64_t length_ns, uint64_t clock_ns)
{
	return clock_ns == UINT64_MAX || (clock_ns > since_ns && clock_ns - since_ns > length_ns);
}

static bool is_crowded(const recorder_pairs_t *pairs)
{
	return pairs->end - pairs->first > RECORDER_PAIR_COUNT;
}

bool recorder_pairs_next(recorder_pairs_t *pairs, uint64_t clock_ns, struct recorder_pair *ret_pair)
{
	if (pairs->has_ready) {
		*ret_pair = pairs->ready;
		pairs->has_ready = false;
		return true;
	}
	for (;;) {
		struct entry *oldest = at(pairs, pairs->first);
		bool kept = pairs->first < pairs->due;
		/* At the very end one that is late may still need another to say so. */
		bool past = kept && is_past(oldest->clock_ns, pairs->keep_ns, clock_ns) &&
		            (clock_ns != UINT64_MAX || pairs->due == pairs->end);
		if (past || (kept && is_crowded(pairs))) {
			pairs->first++;
			continue;
		}
		struct entry *due = at(pairs, pairs->due);
		bool forced = !kept && is_crowded(pairs);
		if (pairs->due == pairs->end ||
		    (!forced && !is_past(due->clock_ns, pairs->wait_ns, clock_ns))) {
			return false;
		}
		pairs->due++;
		due->forced = forced && !is_past(due->clock_ns, pairs->wait_ns, clock_ns);
		if (due->state == ENTRY_WAITS && entry_resolve(pairs, due, false, ret_pair)) {
			return true;
		}
	}
}

void recorder_pairs_live(recorder_pairs_t *pairs, uint64_t clock_ns)
{
	for (uint64_t number = pairs->first; number < pairs->end; number++) {
		at(pairs, number)->clock_ns = clock_ns;
	}
	pairs->live = true;
	pairs->clock_ns = clock_ns;
	pairs->wait_ns = RECORDER_PAIR_LIVE_NS;
	pairs->keep_ns = RECORDER_PAIR_NS;
}

size_t recorder_pairs_count(const recorder_pairs_t *pairs)
{
	return (size_t)(pairs->end - pairs->first);
}

const struct recorder_pairs_counters *recorder_pairs_counters(const recorder_pairs_t *pairs)
{
	return &pairs->counters;
}
