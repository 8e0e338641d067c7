/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/internal.h"

#define PREFIX_MIN_BYTES 4
#define CANDIDATES_MAX   50

/* What the agent told and what the controller knows beside. */
static int send_endpoint(struct call *call, const struct directory_endpoint *endpoint)
{
	struct admin *admin = call->admin;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	const struct pr_uuid *id = &endpoint->policy.id;
	struct pr_uuid agent = { 0 };
	size_t size_bytes = 0;

	int ret = store_endpoint_get(admin->setup.store, id, &agent, &data, &size_bytes);
	if (ret == PR_OK) {
		ret = codec_doc_decode(data, size_bytes, &document);
	}
	if (ret != PR_OK) {
		return ret == PR_ENOENT ? PR_OK : ret; /* gone meanwhile */
	}
	const struct session *session = session_find(admin, &agent);
	codec_doc_set_u64(document, CODEC_ENDPOINT_ID, call->id);
	if (!endpoint->stopped) {
		codec_doc_set_text(document, CODEC_ENDPOINT_STATUS,
		                   session_is_active(admin, session) ? "active" : "silent");
	}
	if (session != NULL) {
		codec_doc_set_u64(document, CODEC_ENDPOINT_REPORTED, session->heard_wall_ns);
	} else {
		struct store_peer peer = { 0 };
		if (store_peer_get(admin->setup.store, &agent, &peer) == PR_OK) {
			codec_doc_set_u64(document, CODEC_ENDPOINT_REPORTED, peer.seen_wall_ns);
		}
	}
	const policy_image_t *image = admin->view.image;
	if (image != NULL) {
		const char *group = NULL;
		codec_doc_set_text(document, CODEC_ENDPOINT_MODE,
		                   policy_mode_name(policy_image_endpoint_mode(image, id)));
		for (size_t i = 0; (group = policy_image_endpoint_group(image, id, i)) != NULL;
		     i++) {
			codec_doc_add_text(document, CODEC_ENDPOINT_GROUPS, group);
		}
	}
	call->sent++;
	return call_send(call, document);
}

/* ---- names ---- */

enum way {
	WAY_EXACT,     /* the whole name or UUID */
	WAY_PREFIX,    /* of UUID or container id */
	WAY_SUBSTRING, /* of the name */
	_WAY_MAX,
};

struct search {
	const char *name;
	enum way way;
	const struct directory_endpoint **found;
	size_t count, max;
	bool failed;
};

static bool matches(const struct search *search, const struct directory_endpoint *endpoint)
{
	const char *name = endpoint->policy.name != NULL ? endpoint->policy.name : "";
	char id[PR_UUID_TEXT_BYTES];

	(void)pr_uuid_format(&endpoint->policy.id, id);
	switch (search->way) {
	case WAY_EXACT:
		return strcmp(name, search->name) == 0 || strcasecmp(id, search->name) == 0;
	case WAY_PREFIX:
		return strlen(search->name) >= PREFIX_MIN_BYTES &&
		       strncasecmp(id, search->name, strlen(search->name)) == 0;
	default:
		return strcasestr(name, search->name) != NULL;
	}
}

static bool gather(void *arg, const struct directory_endpoint *endpoint)
{
	struct search *search = arg;

	if (search->name != NULL && !matches(search, endpoint)) {
		return true;
	}
	if (search->count == search->max) {
		size_t max = search->max != 0 ? search->max * 2 : 64;
		const struct directory_endpoint **grown =
			realloc(search->found, max * sizeof(*grown));
		if (grown == NULL) {
			search->failed = true;
			return false;
		}
		search->found = grown;
		search->max = max;
	}
	search->found[search->count++] = endpoint;
	return true;
}

static const char *text_of(const char *text)
{
	return text != NULL ? text : "";
}

/* Hosts in order of name, each followed by its containers. */
static int by_host_and_name(const void *a, const void *b)
{
	const struct policy_endpoint *left =
		&(*(const struct directory_endpoint *const *)a)->policy;
	const struct policy_endpoint *right =
		&(*(const struct directory_endpoint *const *)b)->policy;
	int order = strcmp(text_of(left->kind == POLICY_HOST ? left->name : left->host_name),
	                   text_of(right->kind == POLICY_HOST ? right->name : right->host_name));

	if (order == 0) {
		order = memcmp(&left->host_id, &right->host_id, sizeof(left->host_id));
	}
	if (order == 0) {
		order = (int)left->kind - (int)right->kind;
	}
	if (order == 0) {
		order = strcmp(text_of(left->name), text_of(right->name));
	}
	return order != 0 ? order : memcmp(&left->id, &right->id, sizeof(left->id));
}

/* A container id is not in the directory, only its UUID: the store's documents have it. */
struct id_search {
	struct search *search;
	directory_t *directory;
};

static bool match_container_id(void *arg, const struct store_endpoint *endpoint)
{
	struct id_search *by_id = arg;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;

	if (endpoint->data == NULL ||
	    codec_doc_decode(endpoint->data, endpoint->size_bytes, &document) != PR_OK) {
		return true;
	}
	const char *container = codec_doc_text(document, CODEC_ENDPOINT_CONTAINER_ID);
	const struct directory_endpoint *known = directory_find(by_id->directory, &endpoint->id);
	if (known == NULL ||
	    strncasecmp(container, by_id->search->name, strlen(by_id->search->name)) != 0) {
		return true;
	}
	const char *name = by_id->search->name;
	by_id->search->name = NULL; /* it matches: take it whatever its name */
	bool more = gather(by_id->search, known);
	by_id->search->name = name;
	return more;
}

static int find(struct call *call, struct search *search)
{
	struct admin *admin = call->admin;
	uint64_t version = 0;

	for (search->way = 0; search->way < _WAY_MAX && search->count == 0; search->way++) {
		directory_each(admin->view.directory, gather, search);
		if (search->way == WAY_PREFIX && search->count == 0 &&
		    strlen(search->name) >= PREFIX_MIN_BYTES) {
			struct id_search by_id = { search, admin->view.directory };
			int ret = store_endpoint_changes(admin->setup.store, 0, match_container_id,
			                                 &by_id, &version);
			if (ret != PR_OK) {
				return ret;
			}
		}
	}
	return search->failed ? PR_ENOMEM : PR_OK;
}

static int ambiguous(struct call *call, const struct search *search)
{
	for (size_t i = 0; i < search->count && i < CANDIDATES_MAX; i++) {
		const struct policy_endpoint *policy = &search->found[i]->policy;
		char id[PR_UUID_TEXT_BYTES];
		bool host = policy->kind == POLICY_HOST;
		call_detail(call, "%s %s %s %s", text_of(policy->name), host ? "host" : "container",
		            text_of(host ? policy->name : policy->host_name),
		            pr_uuid_format(&policy->id, id));
	}
	return call_fail(call, PR_EAMBIG,
	                 "'%.64s' may be %zu endpoints: use more of the name, or "
	                 "the uuid",
	                 search->name, search->count);
}

static int send_found(struct call *call, struct search *search)
{
	int ret = PR_OK;

	if (search->count > 0) {
		qsort(search->found, search->count, sizeof(*search->found), by_host_and_name);
	}
	for (size_t i = 0; ret == PR_OK && i < search->count; i++) {
		ret = send_endpoint(call, search->found[i]);
	}
	return ret == PR_OK ? call_end(call, true) : ret;
}

int admin_endpoints_get(struct call *call)
{
	const char *name = codec_doc_text(call->document, CODEC_ENDPOINTS_GET_NAME);
	struct search search = { .name = name[0] != '\0' ? name : NULL };
	int ret = PR_OK;

	if (search.name == NULL) {
		directory_each(call->admin->view.directory, gather, &search);
		ret = search.failed ? PR_ENOMEM : PR_OK;
	} else {
		ret = find(call, &search);
		if (ret == PR_OK && search.count == 0) {
			ret = call_fail(call, PR_ENOENT, "no endpoint is called '%.64s'", name);
		} else if (ret == PR_OK && search.count > 1) {
			qsort(search.found, search.count, sizeof(*search.found), by_host_and_name);
			ret = ambiguous(call, &search);
		}
	}
	if (ret == PR_OK) {
		ret = send_found(call, &search);
	}
	free(search.found);
	return ret;
}

int admin_group_members(struct call *call)
{
	const char *group = codec_doc_text(call->document, CODEC_GROUP_MEMBERS_GROUP);
	const policy_image_t *image = call->admin->view.image;
	_cleanup_(pr_free) struct pr_uuid *ids = NULL;
	struct search search = { .name = NULL };
	int ret = PR_OK;

	long count = image != NULL ? policy_image_group_members(image, group, NULL, 0) : PR_ENOENT;
	if (count < 0) {
		return call_fail(call, (int)count,
		                 "there is no group '%.64s' in the policy in "
		                 "force",
		                 group);
	}
	ids = calloc((size_t)count + 1, sizeof(*ids));
	if (ids == NULL) {
		return PR_ENOMEM;
	}
	count = policy_image_group_members(image, group, ids, (size_t)count);
	for (long i = 0; i < count && !search.failed; i++) {
		const struct directory_endpoint *endpoint =
			directory_find(call->admin->view.directory, &ids[i]);
		if (endpoint != NULL) {
			(void)gather(&search, endpoint);
		}
	}
	ret = search.failed ? PR_ENOMEM : send_found(call, &search);
	free(search.found);
	return ret;
}
