/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "controller/quarantine.h"

#define LOG_COMPONENT "quarantine"
#define NUMBER_NAME   "quarantine"
#define VALUE_PREFIX  "quarantine."
#define NAME_BYTES    (sizeof(VALUE_PREFIX) + PR_UUID_TEXT_BYTES)
#define TEXT_BYTES    (QUARANTINE_BY_BYTES + QUARANTINE_REASON_BYTES + 64)

void quarantine_set_done(struct quarantine_set *set)
{
	free(set->items);
	*set = (struct quarantine_set){ 0 };
}

static int by_id(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pr_uuid));
}

struct reading {
	struct quarantine *items;
	size_t count, max;
	int ret;
};

/* "SINCE UNTIL\nBY\nREASON" */
static bool item_parse(const char *name, const char *text, struct quarantine *ret_item)
{
	int at = 0;

	*ret_item = (struct quarantine){ 0 };
	if (pr_uuid_parse(name + strlen(VALUE_PREFIX), &ret_item->id) != PR_OK ||
	    sscanf(text, "%" SCNu64 " %" SCNu64 "%n", &ret_item->since_wall_ns,
	           &ret_item->until_wall_ns, &at) != 2 ||
	    text[at] != '\n') {
		return false;
	}
	const char *by = text + at + 1;
	size_t bytes = strcspn(by, "\n");
	(void)snprintf(ret_item->by, sizeof(ret_item->by), "%.*s", (int)bytes, by);
	(void)snprintf(ret_item->reason, sizeof(ret_item->reason), "%s",
	               by[bytes] == '\n' ? by + bytes + 1 : "");
	return true;
}

static bool item_take(void *arg, const char *name, const uint8_t *data, size_t size_bytes)
{
	struct reading *reading = arg;
	char text[TEXT_BYTES];

	if (reading->count == reading->max) {
		size_t max = reading->max != 0 ? 2 * reading->max : 16;
		struct quarantine *grown =
			max <= 2 * QUARANTINE_MAX
				? realloc(reading->items, max * sizeof(*reading->items))
				: NULL;
		if (grown == NULL) {
			reading->ret = PR_ENOMEM;
			return false;
		}
		reading->items = grown;
		reading->max = max;
	}
	(void)snprintf(text, sizeof(text), "%.*s", (int)size_bytes, (const char *)data);
	if (!item_parse(name, text, &reading->items[reading->count])) {
		log_error("a value of quarantine cannot be read: %s", name);
		reading->ret = PR_ECORRUPT;
		return false;
	}
	reading->count++;
	return true;
}

int quarantine_set_refresh(struct quarantine_set *set, store_t *store, bool *ret_changed)
{
	struct reading reading = { .ret = PR_OK };
	uint64_t number = 0;

	int ret = store_number_get(store, NUMBER_NAME, &number);
	if (ret != PR_OK || number == set->number) {
		return ret;
	}
	ret = store_value_list(store, VALUE_PREFIX, item_take, &reading);
	ret = ret != PR_OK ? ret : reading.ret;
	if (ret != PR_OK) {
		free(reading.items); /* who was in quarantine stays there */
		return ret;
	}
	if (reading.count > 0) {
		qsort(reading.items, reading.count, sizeof(*reading.items), by_id);
	}
	free(set->items);
	*set = (struct quarantine_set){ .items = reading.items,
		                        .count = reading.count,
		                        .number = number };
	*ret_changed = true;
	return PR_OK;
}

const struct quarantine *quarantine_find(const struct quarantine_set *set, const struct pr_uuid *id)
{
	return set->count > 0 ? bsearch(id, set->items, set->count, sizeof(*set->items), by_id)
	                      : NULL;
}

static bool holds_by_itself(const struct quarantine_set *set, const struct pr_uuid *id,
                            uint64_t now_wall_ns)
{
	const struct quarantine *found = quarantine_find(set, id);

	return found != NULL && (found->until_wall_ns == 0 || now_wall_ns < found->until_wall_ns);
}

bool quarantine_holds(const struct quarantine_set *set, const struct directory_endpoint *endpoint,
                      uint64_t now_wall_ns)
{
	return set->count > 0 && endpoint != NULL &&
	       (holds_by_itself(set, &endpoint->policy.id, now_wall_ns) ||
	        holds_by_itself(set, &endpoint->policy.host_id, now_wall_ns));
}

static void name_of(const struct pr_uuid *id, char name[static NAME_BYTES])
{
	char text[PR_UUID_TEXT_BYTES];

	(void)snprintf(name, NAME_BYTES, "%s%s", VALUE_PREFIX, pr_uuid_format(id, text));
}

/* The number comes last: who sees it sees the value, too. */
static int number_raise(store_t *store)
{
	uint64_t number = 0;

	return store_number_next(store, NUMBER_NAME, &number);
}

int quarantine_put(store_t *store, const struct quarantine *quarantine)
{
	char name[NAME_BYTES], text[TEXT_BYTES];

	name_of(&quarantine->id, name);
	int length = snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 "\n%s\n%s",
	                      quarantine->since_wall_ns, quarantine->until_wall_ns, quarantine->by,
	                      quarantine->reason);
	int ret = store_value_put(store, name, text, (size_t)length);
	if (ret == PR_OK) {
		ret = number_raise(store);
		if (ret != PR_OK) {
			/* Refused is refused: it must not come in force with the next change. */
			(void)!store_value_delete(store, name);
		}
	}
	return ret;
}

int quarantine_delete(store_t *store, const struct pr_uuid *id)
{
	char name[NAME_BYTES];

	name_of(id, name);
	int ret = store_value_delete(store, name);
	return ret == PR_OK ? number_raise(store) : ret;
}
