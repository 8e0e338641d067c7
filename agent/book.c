/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/book.h"
#include "base/clock.h"
#include "base/err.h"

#define RETRY_NS (2 * PR_NS_PER_S)

struct entry {
	struct pr_uuid id;
	codec_doc_t *endpoint; /* NULL: not named by the inventory yet (the host at start) */
	int32_t pid;
	uint64_t start_ticks;
	bool host_network, guest;
	char container_id[65];
	char *path;                          /* file of a named namespace; NULL: by pid */
	uint64_t inode;                      /* of that namespace */
	uint8_t source;                      /* of the inventory, that named it last */
	unsigned generation;                 /* of the source's listing that named it last */
	bool watched;                        /* a WATCH order was sent */
	bool stopped;                        /* it is there, and does not run */
	bool failed;                         /* and the keeper could not do the last order */
	char enforced[PART_TEXT_BYTES + 16]; /* what the keeper said last */
	uint8_t mode;                        /* as ordered */
};

struct book {
	struct book_outlet outlet;
	struct pr_uuid host;
	size_t source_count;
	struct {
		bool settled; /* it has listed, or is away */
		unsigned generation;
	} sources[INVENTORY_SOURCE_MAX];
	bool listed;           /* what runs was named once, or cannot be */
	struct entry *entries; /* the first is the host */
	size_t count, capacity;
	uint64_t retry_ns;
	/* copy of what the authority said */
	bool state_known;
	uint8_t default_mode;
	struct speaker_mode *modes;
	size_t mode_count;
};

int book_new(const struct pr_uuid *host, size_t sources, const struct book_outlet *outlet,
             book_t **ret_book)
{
	_cleanup_(book_destroy) book_t *book = calloc(1, sizeof(*book));
	if (sources == 0 || sources > INVENTORY_SOURCE_MAX) {
		return PR_EINVAL;
	}
	if (book == NULL) {
		return PR_ENOMEM;
	}
	book->entries = calloc(64, sizeof(*book->entries));
	if (book->entries == NULL) {
		return PR_ENOMEM;
	}
	book->capacity = 64;
	book->outlet = *outlet;
	book->host = *host;
	book->source_count = sources;
	book->entries[book->count++] = (struct entry){ .id = *host };
	*ret_book = take_ptr(book);
	return PR_OK;
}

void book_destroy(book_t **book_p)
{
	book_t *book = *book_p;
	if (book == NULL) {
		return;
	}
	for (size_t i = 0; i < book->count; i++) {
		codec_doc_destroy(&book->entries[i].endpoint);
		free(book->entries[i].path);
	}
	free(book->entries);
	free(book->modes);
	free(book);
	*book_p = NULL;
}

static struct entry *entry_find(const book_t *book, const struct pr_uuid *id)
{
	for (size_t i = 0; i < book->count; i++) {
		if (pr_uuid_equal(&book->entries[i].id, id)) {
			return &book->entries[i];
		}
	}
	return NULL;
}

static struct entry *entry_take(book_t *book, const struct pr_uuid *id)
{
	struct entry *entry = entry_find(book, id);
	if (entry != NULL) {
		return entry;
	}
	if (book->count == book->capacity) {
		struct entry *grown = realloc(book->entries, 2 * book->capacity * sizeof(*grown));
		if (grown == NULL) {
			return NULL;
		}
		book->entries = grown;
		book->capacity *= 2;
	}
	entry = &book->entries[book->count++];
	*entry = (struct entry){ .id = *id };
	return entry;
}

static uint8_t mode_of(const book_t *book, const struct pr_uuid *id)
{
	for (size_t i = 0; i < book->mode_count; i++) {
		if (pr_uuid_equal(&book->modes[i].endpoint, id)) {
			return book->modes[i].mode;
		}
	}
	return book->state_known ? book->default_mode : CODEC_MODE_OBSERVE;
}

static void order_watch(book_t *book, struct entry *entry)
{
	entry->mode = mode_of(book, &entry->id);
	entry->watched = true;
	entry->failed = false;
	struct part_order order = {
		.kind = PART_ORDER_WATCH,
		.endpoint = entry->id,
		.pid = entry->pid,
		.start_ticks = entry->start_ticks,
		.inode = entry->inode,
		.is_host = entry->host_network || pr_uuid_equal(&entry->id, &book->host),
		.guest = entry->guest,
		.mode = entry->mode,
	};
	(void)snprintf(order.path, sizeof(order.path), "%s",
	               entry->path != NULL ? entry->path : "");
	book->outlet.order(book->outlet.context, &order);
}

static void order_forget(book_t *book, struct entry *entry)
{
	if (!entry->watched) {
		return;
	}
	entry->watched = false;
	const struct part_order order = { .kind = PART_ORDER_FORGET, .endpoint = entry->id };
	book->outlet.order(book->outlet.context, &order);
}

void book_start(book_t *book)
{
	order_watch(book, &book->entries[0]);
}

/* ---- inventory ---- */

static void entry_remove(book_t *book, struct entry *entry, bool removed)
{
	struct pr_uuid id = entry->id;

	order_forget(book, entry);
	codec_doc_destroy(&entry->endpoint);
	free(entry->path);
	*entry = book->entries[--book->count];
	book->outlet.gone(book->outlet.context, &id, removed);
}

static void endpoint_say(book_t *book, const struct entry *entry)
{
	if (entry->endpoint != NULL) {
		book->outlet.endpoint(book->outlet.context, entry->endpoint);
	}
}

static void endpoint_replace(struct entry *entry, codec_doc_t *endpoint)
{
	codec_doc_set_text(endpoint, CODEC_ENDPOINT_ENFORCED, entry->enforced);
	codec_doc_destroy(&entry->endpoint);
	entry->endpoint = endpoint;
}

/* One that begins is new, whatever was known of it: the first that it does waits for the directory.
 */
static void entry_begin(book_t *book, struct entry *entry)
{
	if (entry->stopped) {
		entry->stopped = false;
		book->outlet.gone(book->outlet.context, &entry->id, false);
	}
}

static void container_stopped(book_t *book, struct inventory_change *change)
{
	struct entry *entry = entry_take(book, &change->id);
	if (entry == NULL) {
		return;
	}
	order_forget(book, entry);
	entry->source = change->source;
	entry->generation = book->sources[change->source].generation;
	entry->stopped = true;
	entry->enforced[0] = '\0';
	endpoint_replace(entry, take_ptr(change->endpoint));
	endpoint_say(book, entry);
}

/* Told before there is anything to watch. */
static void container_coming(book_t *book, struct inventory_change *change)
{
	struct entry *entry = entry_take(book, &change->id);
	if (entry == NULL || entry->watched) {
		return; /* out of memory, or old news */
	}
	entry_begin(book, entry);
	entry->source = change->source;
	entry->generation = book->sources[change->source].generation;
	endpoint_replace(entry, take_ptr(change->endpoint));
	endpoint_say(book, entry);
}

static void container_up(book_t *book, struct inventory_change *change)
{
	struct entry *entry = entry_take(book, &change->id);
	if (entry == NULL) {
		return; /* out of memory: the next listing names it again */
	}
	entry_begin(book, entry);
	entry->source = change->source;
	entry->generation = book->sources[change->source].generation;
	endpoint_replace(entry, take_ptr(change->endpoint));
	endpoint_say(book, entry);
	if (entry->watched && entry->pid == change->pid && entry->inode == change->inode &&
	    entry->start_ticks == change->start_ticks) {
		return;
	}
	order_forget(book, entry);
	entry->pid = change->pid;
	entry->start_ticks = change->start_ticks;
	entry->inode = change->inode;
	free(entry->path);
	entry->path = take_ptr(change->path);
	entry->host_network = change->host_network;
	entry->guest = change->host_network || change->joined;
	memcpy(entry->container_id, change->container_id, sizeof(entry->container_id));
	order_watch(book, entry);
}

static void order_mode(book_t *book, struct entry *entry)
{
	entry->mode = mode_of(book, &entry->id);
	const struct part_order order = {
		.kind = PART_ORDER_MODE,
		.endpoint = entry->id,
		.mode = entry->mode,
	};
	book->outlet.order(book->outlet.context, &order);
}

/* Now everybody who may live in the host's namespace has said what it needs there. */
static void book_listed(book_t *book)
{
	bool first = !book->listed;

	book->listed = true;
	if (first && book->state_known && book->entries[0].watched) {
		order_mode(book, &book->entries[0]);
	}
}

/* One that another source named meanwhile is that one's. */
static void listing_complete(book_t *book, uint8_t source)
{
	for (size_t i = book->count; i-- > 1;) {
		const struct entry *entry = &book->entries[i];
		if (entry->source == source &&
		    entry->generation != book->sources[source].generation) {
			entry_remove(book, &book->entries[i], false);
		}
	}
}

/* A controller takes what is not named until the list is complete for gone. */
static void source_settle(book_t *book, uint8_t source)
{
	book->sources[source].settled = true;
	for (size_t i = 0; i < book->source_count; i++) {
		if (!book->sources[i].settled) {
			return;
		}
	}
	book_listed(book);
	book->outlet.complete(book->outlet.context);
}

void book_inventory(book_t *book, struct inventory_change *change)
{
	struct entry *entry = entry_find(book, &change->id);

	if (change->source >= book->source_count) {
		inventory_change_done(change);
		return;
	}
	switch (change->kind) {
	case INVENTORY_HOST:
		endpoint_replace(&book->entries[0], take_ptr(change->endpoint));
		endpoint_say(book, &book->entries[0]);
		break;
	case INVENTORY_COMING:
		container_coming(book, change);
		break;
	case INVENTORY_UP:
		container_up(book, change);
		break;
	case INVENTORY_STOPPED:
		container_stopped(book, change);
		break;
	case INVENTORY_DOWN:
	case INVENTORY_GONE:
		if (entry != NULL && entry != &book->entries[0]) {
			entry_remove(book, entry, change->kind == INVENTORY_GONE);
		} else if (change->kind == INVENTORY_GONE) {
			/* It had stopped before; now it is removed. */
			book->outlet.gone(book->outlet.context, &change->id, true);
		}
		break;
	case INVENTORY_SYNCED:
		listing_complete(book, change->source);
		source_settle(book, change->source);
		break;
	case INVENTORY_ENGINE:
		/* What its next listing does not name has gone meanwhile. Without it the rest is
		 * all there is to tell. */
		if (!change->engine_up) {
			book->sources[change->source].generation++;
			source_settle(book, change->source);
		}
		break;
	}
	inventory_change_done(change);
}

/* ---- state ---- */

void book_state(book_t *book, const struct speaker_state *state)
{
	struct speaker_mode *modes = calloc(state->mode_count + 1, sizeof(*modes));
	if (modes == NULL) {
		return; /* the old state stands; the next heartbeat brings it again */
	}
	memcpy(modes, state->modes, state->mode_count * sizeof(*modes));
	free(book->modes);
	book->modes = modes;
	book->mode_count = state->mode_count;
	book->default_mode = state->default_mode;
	book->state_known = true;

	for (size_t i = 0; i < book->mode_count; i++) {
		book->outlet.lost(book->outlet.context, &book->modes[i].lost);
	}
	for (size_t i = 0; i < book->count; i++) {
		struct entry *entry = &book->entries[i];
		bool early =
			i == 0 && !book->listed && mode_of(book, &entry->id) != CODEC_MODE_ENFORCE;
		/* Also when it is what was ordered before: the keeper may have adopted enforce. */
		if (entry->watched && !early) {
			order_mode(book, entry);
		}
	}
}

bool book_report(book_t *book, const struct part_report *report)
{
	char text[sizeof(((struct entry *)0)->enforced)];
	struct entry *entry = entry_find(book, &report->endpoint);

	if (entry == NULL) {
		return true;
	}
	switch (report->kind) {
	case PART_REPORT_OPENED:
	case PART_REPORT_MODE:
		entry->failed = false;
		(void)snprintf(text, sizeof(text), "%s",
		               codec_enum_text(CODEC_SET_MODE, report->mode));
		break;
	case PART_REPORT_FAILED:
		entry->failed = true;
		(void)snprintf(text, sizeof(text), "failed: %s", report->text);
		break;
	default:
		return true;
	}
	if (strcmp(text, entry->enforced) == 0) {
		return !entry->failed;
	}
	memcpy(entry->enforced, text, sizeof(text));
	if (entry->endpoint != NULL) {
		codec_doc_set_text(entry->endpoint, CODEC_ENDPOINT_ENFORCED, text);
		endpoint_say(book, entry);
	}
	return true;
}

void book_turn(book_t *book, uint64_t now_ns)
{
	if (now_ns < book->retry_ns) {
		return;
	}
	book->retry_ns = now_ns + RETRY_NS;
	for (size_t i = 0; i < book->count; i++) {
		if (book->entries[i].watched && book->entries[i].failed) {
			order_watch(book, &book->entries[i]);
		}
	}
}

bool book_container(const book_t *book, const struct pr_uuid *id,
                    struct book_container *ret_container)
{
	const struct entry *entry = entry_find(book, id);

	if (entry == NULL || entry == &book->entries[0] || entry->stopped) {
		return false;
	}
	*ret_container = (struct book_container){ .container_id = entry->container_id,
		                                  .pid = entry->pid,
		                                  .start_ticks = entry->start_ticks };
	return true;
}

size_t book_count(const book_t *book)
{
	size_t count = 0;

	for (size_t i = 0; i < book->count; i++) {
		count += book->entries[i].stopped ? 0 : 1;
	}
	return count;
}
