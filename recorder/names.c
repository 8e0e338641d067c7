/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "recorder/map.h"
#include "recorder/names.h"

struct name {
	struct pr_uuid id;
	struct pr_uuid agent;
	codec_doc_t *doc;
	uint8_t *data; /* doc, encoded */
	size_t data_bytes;
	struct name *next_new; /* in the list of those to be written */
	bool is_new;
};

struct recorder_names {
	store_t *store;
	struct recorder_map map;
	struct name *new_names;
	uint64_t changes;
};

static const unsigned kept_texts[] = { CODEC_ENDPOINT_KIND,      CODEC_ENDPOINT_NAME,
	                               CODEC_ENDPOINT_HOST_NAME, CODEC_ENDPOINT_CONTAINER_ID,
	                               CODEC_ENDPOINT_IMAGE,     CODEC_ENDPOINT_CGROUP };

static void name_destroy(struct name **name_p)
{
	if (*name_p == NULL) {
		return;
	}
	codec_doc_destroy(&(*name_p)->doc);
	free((*name_p)->data);
	free(*name_p);
	*name_p = NULL;
}

/* The part of a document that is kept. */
static codec_doc_t *doc_reduce(const codec_doc_t *doc)
{
	codec_doc_t *kept = codec_doc_new(CODEC_ENDPOINT);
	if (kept == NULL) {
		return NULL;
	}
	struct pr_uuid id = codec_doc_uuid(doc, CODEC_ENDPOINT_UUID);
	struct pr_uuid host = codec_doc_uuid(doc, CODEC_ENDPOINT_HOST);
	codec_doc_set_uuid(kept, CODEC_ENDPOINT_UUID, &id);
	codec_doc_set_uuid(kept, CODEC_ENDPOINT_HOST, &host);
	for (size_t i = 0; i < PR_ARRAY_LEN(kept_texts); i++) {
		codec_doc_set_text(kept, kept_texts[i], codec_doc_text(doc, kept_texts[i]));
	}
	for (size_t i = 0; i < codec_doc_count(doc, CODEC_ENDPOINT_LABELS); i++) {
		codec_doc_add_text(kept, CODEC_ENDPOINT_LABELS,
		                   codec_doc_item(doc, CODEC_ENDPOINT_LABELS, i));
	}
	return kept;
}

static int name_new(const struct pr_uuid *agent, const codec_doc_t *doc, struct name **ret_name)
{
	_cleanup_(name_destroy) struct name *name = calloc(1, sizeof(*name));
	if (name == NULL) {
		return PR_ENOMEM;
	}
	name->agent = *agent;
	name->id = codec_doc_uuid(doc, CODEC_ENDPOINT_UUID);
	name->doc = doc_reduce(doc);
	if (name->doc == NULL) {
		return PR_ENOMEM;
	}
	int err = codec_doc_encode(name->doc, &name->data, &name->data_bytes);
	if (err == PR_OK) {
		*ret_name = take_ptr(name);
	}
	return err;
}

static void list_new(recorder_names_t *names, struct name *name)
{
	if (!name->is_new) {
		name->is_new = true;
		name->next_new = names->new_names;
		names->new_names = name;
	}
}

/* Put a name in the place of the one that is there. */
static int name_take(recorder_names_t *names, struct name **name_p, bool is_new)
{
	struct name *old = recorder_map_find(&names->map, &(*name_p)->id);
	if (old == NULL) {
		if (names->map.count >= RECORDER_NAMES_MAX) {
			return PR_ENOSPC;
		}
		int err = recorder_map_add(&names->map, &(*name_p)->id, *name_p);
		if (err != PR_OK) {
			return err;
		}
		old = take_ptr(*name_p);
	} else if (old->data_bytes == (*name_p)->data_bytes &&
	           memcmp(old->data, (*name_p)->data, old->data_bytes) == 0) {
		return PR_OK;
	} else {
		codec_doc_destroy(&old->doc);
		free(old->data);
		old->agent = (*name_p)->agent;
		old->doc = take_ptr((*name_p)->doc);
		old->data = take_ptr((*name_p)->data);
		old->data_bytes = (*name_p)->data_bytes;
	}
	names->changes++;
	if (is_new) {
		list_new(names, old);
	}
	return PR_OK;
}

static bool on_stored(void *arg, const struct store_endpoint *endpoint)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
	_cleanup_(name_destroy) struct name *name = NULL;

	/* What cannot be read is as good as not known. */
	if (codec_doc_decode(endpoint->data, endpoint->size_bytes, &doc) != PR_OK ||
	    codec_doc_type(doc) != CODEC_ENDPOINT ||
	    name_new(&endpoint->agent, doc, &name) != PR_OK) {
		return true;
	}
	return name_take(arg, &name, /* is_new= */ false) != PR_ENOMEM;
}

int recorder_names_new(store_t *store, recorder_names_t **ret_names)
{
	_cleanup_(recorder_names_destroy) recorder_names_t *names = calloc(1, sizeof(*names));
	uint64_t version;

	if (names == NULL) {
		return PR_ENOMEM;
	}
	names->store = store;
	int err = store_endpoint_changes(store, 0, on_stored, names, &version);
	if (err == PR_OK) {
		*ret_names = take_ptr(names);
	}
	return err;
}

void recorder_names_destroy(recorder_names_t **names_p)
{
	recorder_names_t *names = *names_p;
	if (names == NULL) {
		return;
	}
	for (size_t i = 0; i < names->map.room; i++) {
		struct name *name = names->map.slots[i].value;
		name_destroy(&name);
	}
	recorder_map_done(&names->map);
	free(names);
	*names_p = NULL;
}

int recorder_names_put(recorder_names_t *names, const struct pr_uuid *agent, const codec_doc_t *doc)
{
	_cleanup_(name_destroy) struct name *name = NULL;

	if (!codec_endpoint_is_of(doc, agent)) {
		return PR_EROLE;
	}
	int err = name_new(agent, doc, &name);
	return err == PR_OK ? name_take(names, &name, /* is_new= */ true) : err;
}

int recorder_names_flush(recorder_names_t *names, uint64_t now_wall_ns)
{
	while (names->new_names != NULL) {
		struct name *name = names->new_names;
		struct store_endpoint endpoint = { .id = name->id,
			                           .data = name->data,
			                           .size_bytes = name->data_bytes };
		struct store_change change;
		int err = store_endpoint_put(names->store, &name->agent, &endpoint, 1, now_wall_ns,
		                             &change);
		if (err != PR_OK) {
			return err;
		}
		names->new_names = name->next_new;
		name->is_new = false;
	}
	return PR_OK;
}

const codec_doc_t *recorder_names_find(const recorder_names_t *names, const struct pr_uuid *id)
{
	const struct name *name = recorder_map_find(&names->map, id);
	return name != NULL ? name->doc : NULL;
}

const struct pr_uuid *recorder_names_owner(const recorder_names_t *names, const struct pr_uuid *id)
{
	const struct name *name = recorder_map_find(&names->map, id);
	return name != NULL ? &name->agent : NULL;
}

void recorder_names_fill(const recorder_names_t *names, const struct pr_uuid *id,
                         struct store_end_names *ret_end)
{
	*ret_end = (struct store_end_names){ "", "", "", "", "" };
	if (pr_uuid_is_null(id)) {
		ret_end->kind = "external";
		return;
	}
	const codec_doc_t *doc = recorder_names_find(names, id);
	if (doc != NULL) {
		ret_end->name = codec_doc_text(doc, CODEC_ENDPOINT_NAME);
		ret_end->kind = codec_doc_text(doc, CODEC_ENDPOINT_KIND);
		ret_end->container_id = codec_doc_text(doc, CODEC_ENDPOINT_CONTAINER_ID);
		ret_end->image = codec_doc_text(doc, CODEC_ENDPOINT_IMAGE);
		ret_end->host = codec_doc_text(doc, CODEC_ENDPOINT_HOST_NAME);
	}
}

uint64_t recorder_names_changes(const recorder_names_t *names)
{
	return names->changes;
}

size_t recorder_names_count(const recorder_names_t *names)
{
	return names->map.count;
}
