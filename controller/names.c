/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/names.h"

#define PREFIX_MIN_BYTES 4
#define CANDIDATES_MAX   50
#define SUGGESTED_MAX    4096

enum way {
	WAY_EXACT,     /* the whole name or UUID */
	WAY_PREFIX,    /* of UUID or container id */
	WAY_SUBSTRING, /* of the name */
	_WAY_MAX,
};

struct search {
	struct names *names;
	directory_t *directory;
	const char *name;
	enum way way;
};

void names_done(struct names *names)
{
	free(names->found);
	*names = (struct names){ 0 };
}

const char *names_text(const char *text)
{
	return text != NULL ? text : "";
}

bool names_take(void *arg, const struct directory_endpoint *endpoint)
{
	struct names *names = arg;

	if (names->count == names->max) {
		size_t max = names->max != 0 ? names->max * 2 : 64;
		const struct directory_endpoint **grown =
			realloc(names->found, max * sizeof(*grown));
		if (grown == NULL) {
			names->failed = true;
			return false;
		}
		names->found = grown;
		names->max = max;
	}
	names->found[names->count++] = endpoint;
	return true;
}

/* Hosts in order of name, each followed by its containers. */
static int by_host_and_name(const void *a, const void *b)
{
	const struct policy_endpoint *left =
		&(*(const struct directory_endpoint *const *)a)->policy;
	const struct policy_endpoint *right =
		&(*(const struct directory_endpoint *const *)b)->policy;
	int order = strcmp(names_text(left->kind == POLICY_HOST ? left->name : left->host_name),
	                   names_text(right->kind == POLICY_HOST ? right->name : right->host_name));

	if (order == 0) {
		order = memcmp(&left->host_id, &right->host_id, sizeof(left->host_id));
	}
	if (order == 0) {
		order = (int)left->kind - (int)right->kind;
	}
	if (order == 0) {
		order = strcmp(names_text(left->name), names_text(right->name));
	}
	return order != 0 ? order : memcmp(&left->id, &right->id, sizeof(left->id));
}

void names_sort(struct names *names)
{
	if (names->count > 0) {
		qsort(names->found, names->count, sizeof(*names->found), by_host_and_name);
	}
}

static bool matches(const struct search *search, const struct directory_endpoint *endpoint)
{
	const char *name = names_text(endpoint->policy.name);
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

static bool look(void *arg, const struct directory_endpoint *endpoint)
{
	struct search *search = arg;

	return !matches(search, endpoint) || names_take(search->names, endpoint);
}

/* A container id is not in the directory, only its UUID: the store's documents have it. */
static bool look_at_container_id(void *arg, const struct store_endpoint *endpoint)
{
	struct search *search = arg;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;

	if (endpoint->data == NULL ||
	    codec_doc_decode(endpoint->data, endpoint->size_bytes, &document) != PR_OK) {
		return true;
	}
	const char *container = codec_doc_text(document, CODEC_ENDPOINT_CONTAINER_ID);
	const struct directory_endpoint *known = directory_find(search->directory, &endpoint->id);
	if (known == NULL || strncasecmp(container, search->name, strlen(search->name)) != 0) {
		return true;
	}
	return names_take(search->names, known);
}

int names_find(struct admin *admin, const char *name, struct names *ret_names)
{
	struct search search = { .names = ret_names,
		                 .directory = admin->view.directory,
		                 .name = name };
	uint64_t version = 0;

	for (; search.way < _WAY_MAX && ret_names->count == 0 && name[0] != '\0'; search.way++) {
		directory_each(search.directory, look, &search);
		if (search.way == WAY_PREFIX && ret_names->count == 0 &&
		    strlen(name) >= PREFIX_MIN_BYTES) {
			int ret = store_endpoint_changes(admin->setup.store, 0,
			                                 look_at_container_id, &search, &version);
			if (ret != PR_OK) {
				return ret;
			}
		}
	}
	return ret_names->failed ? PR_ENOMEM : PR_OK;
}

static int say_ambiguous(struct call *call, const char *name, const struct names *names)
{
	for (size_t i = 0; i < names->count && i < CANDIDATES_MAX; i++) {
		const struct policy_endpoint *policy = &names->found[i]->policy;
		char id[PR_UUID_TEXT_BYTES];
		bool host = policy->kind == POLICY_HOST;
		call_detail(call, "%s %s %s %s", names_text(policy->name),
		            host ? "host" : "container",
		            names_text(host ? policy->name : policy->host_name),
		            pr_uuid_format(&policy->id, id));
	}
	return call_fail(call, PR_EAMBIG,
	                 "'%.64s' may be %zu endpoints: use more of the name, or "
	                 "the uuid",
	                 name, names->count);
}

static int say_unknown(struct call *call, const char *name, const policy_model_t *groups)
{
	_cleanup_(names_done) struct names all = { 0 };
	_cleanup_(pr_free) const char **words = calloc(SUGGESTED_MAX, sizeof(*words));
	size_t count = 0, group_count = groups != NULL ? policy_model_group_count(groups) : 0;

	for (size_t i = 0; words != NULL && i < group_count && count < SUGGESTED_MAX; i++) {
		words[count++] = policy_model_group(groups, i)->name;
	}
	directory_each(call->admin->view.directory, names_take, &all);
	for (size_t i = 0; words != NULL && i < all.count && count < SUGGESTED_MAX; i++) {
		words[count] = names_text(all.found[i]->policy.name);
		count += words[count][0] != '\0';
	}
	const char *near = words != NULL ? policy_suggest(name, words, count) : NULL;
	return call_fail(call, PR_ENOENT, "no %shost or container is called '%.64s'%s%.64s%s",
	                 groups != NULL ? "group, " : "", name,
	                 near != NULL ? ", did you mean '" : "", near != NULL ? near : "",
	                 near != NULL ? "'?" : "");
}

int names_find_one(struct call *call, const char *name, const policy_model_t *groups,
                   const struct directory_endpoint **ret_endpoint)
{
	_cleanup_(names_done) struct names names = { 0 };

	int ret = names_find(call->admin, name, &names);
	if (ret != PR_OK) {
		return ret;
	}
	if (names.count == 0) {
		return say_unknown(call, name, groups);
	}
	if (names.count > 1) {
		names_sort(&names);
		return say_ambiguous(call, name, &names);
	}
	*ret_endpoint = names.found[0];
	return PR_OK;
}
