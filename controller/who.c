/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/who.h"

#define EXTERNAL "external"

void who_done(struct who *who)
{
	free(who->ends);
	free(who->endpoints);
	*who = (struct who){ 0 };
}

static int who_room(struct who *who, size_t count)
{
	who->ends = calloc(count + 1, sizeof(*who->ends));
	who->endpoints = calloc(count + 1, sizeof(*who->endpoints));
	return who->ends != NULL && who->endpoints != NULL ? PR_OK : PR_ENOMEM;
}

/* An endpoint is known by its first address, too; a host-network container by its host's. */
static void who_add(const struct call *call, struct who *who,
                    const struct directory_endpoint *endpoint)
{
	struct policy_reach_end *end = &who->ends[who->count];
	const struct directory_endpoint *addressed =
		directory_addressed(call->admin->view.directory, endpoint);

	end->id = endpoint->policy.id;
	if (addressed->address_count > 0) {
		end->has_address = true;
		end->address = addressed->addresses[0].addr;
	}
	who->endpoints[who->count++] = endpoint;
}

static int who_everybody(struct call *call, struct who *who)
{
	_cleanup_(names_done) struct names names = { 0 };

	directory_each(call->admin->view.directory, names_take, &names);
	int ret = names.failed ? PR_ENOMEM : who_room(who, names.count + 1);
	if (ret != PR_OK) {
		return ret;
	}
	names_sort(&names);
	for (size_t i = 0; i < names.count; i++) {
		who_add(call, who, names.found[i]);
	}
	who->count++; /* nobody who is enrolled */
	return PR_OK;
}

static int who_members(struct call *call, const struct draft_view *view, const char *group,
                       struct who *who)
{
	_cleanup_(pr_free) struct pr_uuid *ids = NULL;
	long count = policy_image_group_members(view->image, group, NULL, 0);

	ids = calloc((size_t)(count > 0 ? count : 0) + 1, sizeof(*ids));
	int ret = ids != NULL ? who_room(who, (size_t)(count > 0 ? count : 0)) : PR_ENOMEM;
	if (ret != PR_OK) {
		return ret;
	}
	count = policy_image_group_members(view->image, group, ids, (size_t)count);
	for (long i = 0; i < count; i++) {
		const struct directory_endpoint *endpoint =
			directory_find(call->admin->view.directory, &ids[i]);
		if (endpoint != NULL) {
			who_add(call, who, endpoint);
		} else {
			who->ends[who->count++].id = ids[i]; /* not enrolled yet */
		}
	}
	return who->count > 0 ? PR_OK
	                      : call_fail(call, PR_ENOENT, "nobody is in group '%.64s' now", group);
}

struct holder {
	const struct pr_addr *addr;
	const struct directory_endpoint *endpoint;
	size_t count;
};

static bool holder_look(void *arg, const struct directory_endpoint *endpoint)
{
	struct holder *holder = arg;

	for (size_t i = 0; i < endpoint->address_count; i++) {
		if (pr_addr_equal(&endpoint->addresses[i].addr, holder->addr)) {
			holder->endpoint = endpoint;
			holder->count++;
			break;
		}
	}
	return true;
}

struct sharing {
	const struct call *call;
	struct who *who;
};

static bool sharer_count(void *arg, const struct directory_endpoint *sharer)
{
	(void)sharer;
	(*(size_t *)arg)++;
	return true;
}

static bool sharer_add(void *arg, const struct directory_endpoint *sharer)
{
	const struct sharing *sharing = arg;

	who_add(sharing->call, sharing->who, sharer);
	return true;
}

static int who_address(struct call *call, const struct pr_addr *addr, struct who *who)
{
	const directory_t *directory = call->admin->view.directory;
	struct holder holder = { .addr = addr };
	struct sharing sharing = { call, who };
	size_t count = 1;

	directory_each(directory, holder_look, &holder);
	if (holder.count == 1) {
		directory_each_sharer(directory, holder.endpoint, sharer_count, &count);
	}
	int ret = who_room(who, count);
	if (ret != PR_OK) {
		return ret;
	}
	if (holder.count == 1) {
		who_add(call, who, holder.endpoint);
		directory_each_sharer(directory, holder.endpoint, sharer_add, &sharing);
	} else {
		who->count = 1;
	}
	for (size_t i = 0; i < who->count; i++) {
		who->ends[i].has_address = true;
		who->ends[i].address = *addr;
	}
	return PR_OK;
}

int who_find(struct call *call, const struct draft_view *view, const char *word,
             struct who *ret_who)
{
	const struct directory_endpoint *endpoint = NULL;
	struct pr_addr addr;

	if (word[0] == '\0') {
		return who_everybody(call, ret_who);
	}
	if (policy_model_group_find(view->model, word) != NULL) {
		return who_members(call, view, word, ret_who);
	}
	if (strcmp(word, EXTERNAL) == 0) {
		ret_who->count = 1;
		return who_room(ret_who, 1);
	}
	if (pr_addr_parse(word, &addr) == PR_OK) {
		return who_address(call, &addr, ret_who);
	}
	int ret = names_find_one(call, word, view->model, &endpoint);
	if (ret == PR_OK) {
		ret = who_room(ret_who, 1);
	}
	if (ret == PR_OK) {
		who_add(call, ret_who, endpoint);
	}
	return ret;
}

const char *who_format(const struct who *who, size_t index, char *text, size_t size_bytes)
{
	const struct directory_endpoint *endpoint = who->endpoints[index];
	const struct policy_reach_end *end = &who->ends[index];
	char address[PR_ADDR_TEXT_BYTES], id[PR_UUID_TEXT_BYTES];
	const char *name = EXTERNAL;

	if (endpoint != NULL && endpoint->policy.name != NULL) {
		name = endpoint->policy.name;
	} else if (!pr_uuid_is_null(&end->id)) {
		name = pr_uuid_format(&end->id, id);
	} else if (end->has_address) {
		name = pr_addr_format(&end->address, address);
	}
	(void)snprintf(text, size_bytes, "%s", name);
	return text;
}
