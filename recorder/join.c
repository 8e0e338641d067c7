/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "recorder/join.h"

#define KEYS_FIRST 64U

enum join_phase {
	JOIN_COUNTS,
	JOIN_SHOWS,
	JOIN_LIVE,
};

struct recorder_join {
	enum join_phase phase;
	struct store_range range; /* wanted */
	uint64_t limit;
	uint64_t wanted; /* connections to be found before counting ends */
	uint64_t secret;
	recorder_pairs_t *pairs;
	uint64_t clock_ns;           /* of the rows read; UINT64_MAX: all have been */
	struct store_row_key *found; /* matching ones, while counting */
	size_t count, room;
	struct store_row_key first; /* to be shown; zero: no bound */
	struct recorder_pairs_counters counters;
};

static uint64_t secret_new(void)
{
	struct pr_uuid id = pr_uuid_new();
	uint64_t secret;

	memcpy(&secret, id.bytes, sizeof(secret));
	return secret;
}

recorder_join_t *recorder_join_new(const struct store_range *range, uint64_t limit, bool more)
{
	recorder_join_t *join = calloc(1, sizeof(*join));

	if (join == NULL) {
		return NULL;
	}
	join->phase = limit != 0 ? JOIN_COUNTS : JOIN_SHOWS;
	join->range = *range;
	join->limit = limit;
	join->wanted = limit + (more ? 1 : 0);
	join->secret = secret_new();
	join->pairs = recorder_pairs_new(join->secret);
	if (join->pairs == NULL) {
		recorder_join_destroy(&join);
	}
	return join;
}

void recorder_join_destroy(recorder_join_t **join_p)
{
	if (*join_p != NULL) {
		recorder_pairs_destroy(&(*join_p)->pairs);
		free((*join_p)->found);
		free(*join_p);
		*join_p = NULL;
	}
}

struct store_range recorder_join_range(const recorder_join_t *join)
{
	uint64_t since_wall_ns = join->first.time_wall_ns > join->range.since_wall_ns
	                                 ? join->first.time_wall_ns
	                                 : join->range.since_wall_ns;
	uint64_t until_wall_ns = join->range.until_wall_ns;

	return (struct store_range){
		.since_wall_ns =
			since_wall_ns > RECORDER_PAIR_NS ? since_wall_ns - RECORDER_PAIR_NS : 0,
		.until_wall_ns = until_wall_ns == 0 || until_wall_ns > UINT64_MAX - RECORDER_PAIR_NS
		                         ? 0
		                         : until_wall_ns + RECORDER_PAIR_NS,
		.newest_first = join->phase == JOIN_COUNTS,
	};
}

/* ---- ends ---- */

/* The host of an endpoint; an endpoint that nobody told of may be a host. */
static struct pr_uuid host_of(const recorder_names_t *names, const struct pr_uuid *endpoint)
{
	const codec_doc_t *doc = recorder_names_find(names, endpoint);
	struct pr_uuid host = { 0 };

	if (doc != NULL) {
		host = codec_doc_uuid(doc, CODEC_ENDPOINT_HOST);
	}
	return pr_uuid_is_null(&host) ? *endpoint : host;
}

static struct recorder_end end_of(const struct store_row *row, const recorder_names_t *names)
{
	static const struct pr_addr none;
	const struct codec_event *event = &row->event;
	bool translated = !pr_addr_equal(&event->translated, &none);
	const struct pr_uuid *at = event->reporter == CODEC_REPORTER_INITIATOR
	                                   ? &event->src_endpoint
	                                   : &event->dst_endpoint;
	struct pr_uuid host = host_of(names, at);

	return (struct recorder_end){
		.key = store_row_key_of(row),
		.connection = event->connection,
		.src = event->src,
		.dst = event->dst,
		.wire_dst = translated ? event->translated : event->dst,
		.src_endpoint = event->src_endpoint,
		.dst_endpoint = event->dst_endpoint,
		.dst_host = host_of(names, &event->dst_endpoint),
		.pid = event->pid,
		.uid = event->uid,
		.src_port = event->src_port,
		.wire_dst_port = translated ? event->translated_port : event->dst_port,
		.proto = event->proto,
		.reporter = event->reporter,
		.verdict = event->verdict,
		.unknown = event->unknown,
		.own = !pr_uuid_is_null(at) && pr_uuid_equal(&host, &row->agent),
	};
}

int recorder_join_put(recorder_join_t *join, const struct store_row *row,
                      const recorder_names_t *names, bool matches, uint64_t now_ns)
{
	struct recorder_end end = end_of(row, names);

	end.matches = matches;
	if (join->phase == JOIN_LIVE) {
		return recorder_pairs_put(join->pairs, &end, now_ns);
	}
	join->clock_ns =
		join->phase == JOIN_COUNTS ? ~row->event.time_wall_ns : row->event.time_wall_ns;
	return recorder_pairs_put(join->pairs, &end, join->clock_ns);
}

void recorder_join_end(recorder_join_t *join)
{
	join->clock_ns = UINT64_MAX;
}

/* ---- connections ---- */

static bool is_wanted(const recorder_join_t *join, const struct recorder_pair *pair)
{
	const struct store_row_key *key = recorder_pair_key(pair);
	const struct store_range *range = &join->range;

	return (pair->first.matches || (pair->both && pair->second.matches)) &&
	       key->time_wall_ns >= range->since_wall_ns &&
	       (range->until_wall_ns == 0 || key->time_wall_ns < range->until_wall_ns) &&
	       store_row_key_compare(key, &join->first) >= 0;
}

bool recorder_join_next(recorder_join_t *join, uint64_t now_ns, struct recorder_pair *ret_pair,
                        bool *ret_wanted)
{
	uint64_t clock_ns = join->phase == JOIN_LIVE ? now_ns : join->clock_ns;
	bool found = recorder_pairs_next(join->pairs, clock_ns, ret_pair);

	*ret_wanted = found && is_wanted(join, ret_pair);
	return found;
}

static int newest_first(const void *a, const void *b)
{
	return store_row_key_compare(b, a);
}

static bool found_add(recorder_join_t *join, const struct store_row_key *key)
{
	if (join->count == join->room) {
		size_t room = join->room == 0 ? KEYS_FIRST : 2 * join->room;
		struct store_row_key *found = realloc(join->found, room * sizeof(*found));
		if (found == NULL) {
			return false;
		}
		join->found = found;
		join->room = room;
	}
	join->found[join->count++] = *key;
	return true;
}

/*
 * A pair is found at its earlier end, where reading has come to; one end alone only when reading is
 * RECORDER_PAIR_NS before it. So what is older than that may yet have something newer before it.
 */
bool recorder_join_counted(recorder_join_t *join, size_t most, bool *ret_more)
{
	struct recorder_pair pair;
	uint64_t read_wall_ns = ~join->clock_ns;

	*ret_more = false;
	for (size_t n = 0; recorder_pairs_next(join->pairs, join->clock_ns, &pair); n++) {
		if (is_wanted(join, &pair) && !found_add(join, recorder_pair_key(&pair))) {
			return true;
		}
		if (n + 1 == most) {
			*ret_more = true;
			return false;
		}
	}
	if (join->clock_ns == UINT64_MAX) {
		return true;
	}
	if (join->count < join->wanted) {
		return false;
	}
	qsort(join->found, join->count, sizeof(*join->found), newest_first);
	join->count = join->wanted;
	uint64_t last_wall_ns = join->found[join->wanted - 1].time_wall_ns;
	return last_wall_ns > read_wall_ns && last_wall_ns - read_wall_ns > RECORDER_PAIR_NS;
}

int recorder_join_show(recorder_join_t *join, bool *ret_more)
{
	recorder_pairs_t *pairs = recorder_pairs_new(join->secret);

	if (pairs == NULL) {
		return PR_ENOMEM;
	}
	recorder_pairs_destroy(&join->pairs);
	join->pairs = pairs;
	*ret_more = join->count > join->limit;
	if (join->count > 0) {
		qsort(join->found, join->count, sizeof(*join->found), newest_first);
		join->first = join->found[*ret_more ? join->limit - 1 : join->count - 1];
	}
	free(take_ptr(join->found));
	join->count = join->room = 0;
	join->clock_ns = 0;
	join->phase = JOIN_SHOWS;
	return PR_OK;
}

void recorder_join_live(recorder_join_t *join, uint64_t now_ns)
{
	join->phase = JOIN_LIVE;
	recorder_pairs_live(join->pairs, now_ns);
}

const struct recorder_pairs_counters *recorder_join_counters(const recorder_join_t *join)
{
	return recorder_pairs_counters(join->pairs);
}
