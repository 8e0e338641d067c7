/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/gate/decided.h"
#include "base/clock.h"
#include "base/err.h"

#define FORGET_TCP_NS   (DECIDED_FORGET_TCP_S * PR_NS_PER_S)
#define FORGET_OTHER_NS (DECIDED_FORGET_OTHER_S * PR_NS_PER_S)

struct place {
	struct gate_key key;
	struct decided_outcome outcome;
	uint64_t used_ns;
	uint64_t reuse_until_ns;
	uint64_t forget_ns;  /* 0: empty */
	uint64_t generation; /* reuse only in the table's present one */
};

struct decided {
	uint64_t secrets[2];
	uint64_t generation;
	uint32_t set_mask;
	struct place *places;
};

int decided_new(uint32_t capacity, const uint64_t secrets[static 2], decided_t **ret_decided)
{
	uint32_t sets = 1;
	while (sets < capacity / DECIDED_SET_PLACES && sets < (1U << 24)) {
		sets *= 2;
	}
	_cleanup_(decided_destroy) decided_t *decided = calloc(1, sizeof(*decided));
	if (decided == NULL) {
		return PR_ENOMEM;
	}
	memcpy(decided->secrets, secrets, sizeof(decided->secrets));
	decided->set_mask = sets - 1;
	decided->places = calloc((size_t)sets * DECIDED_SET_PLACES, sizeof(*decided->places));
	if (decided->places == NULL) {
		return PR_ENOMEM;
	}
	*ret_decided = take_ptr(decided);
	return PR_OK;
}

void decided_destroy(decided_t **decided_p)
{
	decided_t *decided = *decided_p;
	if (decided == NULL) {
		return;
	}
	free(decided->places);
	free(decided);
	*decided_p = NULL;
}

static struct place *set_of(decided_t *decided, const struct gate_key *key)
{
	uint64_t hash = gate_key_hash(key, decided->secrets) & decided->set_mask;
	return &decided->places[hash * DECIDED_SET_PLACES];
}

static struct place *find(decided_t *decided, const struct gate_key *key, uint64_t now_ns)
{
	struct place *set = set_of(decided, key);
	for (int i = 0; i < DECIDED_SET_PLACES; i++) {
		if (set[i].forget_ns > now_ns && gate_key_equal(&set[i].key, key)) {
			return &set[i];
		}
	}
	return NULL;
}

static struct place *oldest(decided_t *decided, const struct gate_key *key, uint64_t now_ns)
{
	struct place *set = set_of(decided, key);
	struct place *found = &set[0];
	for (int i = 0; i < DECIDED_SET_PLACES; i++) {
		if (set[i].forget_ns <= now_ns) {
			return &set[i];
		}
		if (set[i].used_ns < found->used_ns) {
			found = &set[i];
		}
	}
	return found;
}

void decided_put(decided_t *decided, const struct gate_key *key,
                 const struct decided_outcome *outcome, uint64_t now_ns, uint64_t reuse_until_ns)
{
	struct place *place = find(decided, key, now_ns);
	if (place == NULL) {
		place = oldest(decided, key, now_ns);
	}
	*place = (struct place){
		.key = *key,
		.outcome = *outcome,
		.used_ns = now_ns,
		.reuse_until_ns = reuse_until_ns,
		.forget_ns = now_ns + (key->proto == IPPROTO_TCP ? FORGET_TCP_NS : FORGET_OTHER_NS),
		.generation = decided->generation,
	};
}

bool decided_reuse(decided_t *decided, const struct gate_key *key, uint64_t now_ns,
                   struct decided_outcome *ret_outcome)
{
	struct place *place = find(decided, key, now_ns);
	if (place == NULL || place->reuse_until_ns <= now_ns ||
	    place->generation != decided->generation) {
		return false;
	}
	place->used_ns = now_ns;
	*ret_outcome = place->outcome;
	return true;
}

bool decided_recorded(decided_t *decided, const struct gate_key *key,
                      const struct decided_outcome *outcome, uint64_t now_ns)
{
	const struct place *place = find(decided, key, now_ns);
	return place != NULL && place->outcome.verdict == outcome->verdict &&
	       place->outcome.rule == outcome->rule && place->outcome.revision == outcome->revision;
}

void decided_expire(decided_t *decided)
{
	decided->generation++;
}
