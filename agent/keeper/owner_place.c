/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose is a process in a namespace that several endpoints share? Its control group says it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/owner_internal.h"
#include "base/cgroup.h"
#include "base/err.h"
#include "base/process.h"

/* ----------------------------------------------------------------------------------- members */

const struct owner_member *owner_member_of(const owner_t *owner, const struct pr_uuid *endpoint)
{
	for (size_t i = 0; i < owner->member_count; i++) {
		if (pr_uuid_equal(&owner->members[i].endpoint, endpoint)) {
			return &owner->members[i];
		}
	}
	return NULL;
}

static const struct owner_member *member_find_id(const owner_t *owner, const char *id)
{
	for (size_t i = 0; i < owner->member_count; i++) {
		if (strcmp(owner->members[i].id, id) == 0) {
			return &owner->members[i];
		}
	}
	return NULL;
}

/* Whose a process is may be another answer now. */
static void members_changed(owner_t *owner)
{
	owner->generation++;
	owner_listeners_drop(owner, UINT32_MAX);
}

/* An engine may give a container no groups of its own: it is where whoever started it was. */
static bool is_unsure(const struct owner_member *member)
{
	return member->id[0] != '\0' && member->own != NULL && !member->named;
}

/* One more in its namespace, or one less (-1). */
static void space_count(owner_t *owner, const struct owner_member *member, int32_t by)
{
	struct owner_space *space = &owner->spaces[member->slot];

	if (member->id[0] == '\0') {
		space->named += (uint32_t)by;
		return;
	}
	space->members += (uint32_t)by;
	space->untold += member->own == NULL ? (uint32_t)by : 0;
	space->unsure += is_unsure(member) ? (uint32_t)by : 0;
}

static void member_drop(owner_t *owner, struct owner_member *member)
{
	space_count(owner, member, -1);
	free(member->own);
	*member = owner->members[--owner->member_count];
	members_changed(owner);
}

/* The groups of its first process, while that is what it was. NULL: it has gone. */
static char *groups_of(const struct owner_member_options *options)
{
	char own[PR_CGROUP_TEXT_BYTES];
	bool read = pr_cgroup_own_read(options->pid, options->container_id, own, sizeof(own));
	uint64_t ticks = pr_process_start_ticks(options->pid);

	if (ticks == 0 || (options->start_ticks != 0 && options->start_ticks != ticks)) {
		return NULL;
	}
	return strdup(read ? own : "");
}

int owner_member_add(owner_t *owner, const struct owner_member_options *options)
{
	if (options->slot >= PART_NAMESPACE_MAX || !owner->spaces[options->slot].used) {
		return PR_EINVAL;
	}
	owner_member_remove(owner, &options->endpoint);
	if (owner->member_count == owner->member_room) {
		size_t room = owner->member_room == 0 ? 16 : 2 * owner->member_room;
		struct owner_member *grown = realloc(owner->members, room * sizeof(*grown));
		if (grown == NULL) {
			return PR_ENOMEM;
		}
		owner->members = grown;
		owner->member_room = room;
	}
	struct owner_member *member = &owner->members[owner->member_count++];
	*member = (struct owner_member){ .endpoint = options->endpoint,
		                         .slot = options->slot,
		                         .pid = options->pid,
		                         .start_ticks = options->start_ticks,
		                         .serial = ++owner->serial,
		                         .own = groups_of(options) };
	(void)snprintf(member->id, sizeof(member->id), "%s", options->container_id);
	member->named = member->own != NULL && pr_cgroup_named(member->own, options->container_id);
	space_count(owner, member, 1);
	members_changed(owner);
	return PR_OK;
}

void owner_member_remove(owner_t *owner, const struct pr_uuid *endpoint)
{
	const struct owner_member *member = owner_member_of(owner, endpoint);

	if (member != NULL) {
		member_drop(owner, &owner->members[member - owner->members]);
	}
}

void owner_members_drop(owner_t *owner, uint32_t slot)
{
	for (size_t i = owner->member_count; i > 0; i--) {
		if (owner->members[i - 1].slot == slot) {
			member_drop(owner, &owner->members[i - 1]);
		}
	}
}

/* ------------------------------------------------------------------- which container's groups */

struct search {
	const char *text;
	const struct owner_member *found;
	bool partly, stranger, unsure;
};

/* Of nested ones the innermost. */
static void member_try(struct search *search, const struct owner_member *member)
{
	switch (pr_cgroup_compare(member->own, search->text)) {
	case PR_CGROUP_INSIDE:
		if (search->found == NULL || strlen(member->own) > strlen(search->found->own)) {
			search->found = member;
		}
		break;
	case PR_CGROUP_PARTLY:
		search->partly = true;
		break;
	case PR_CGROUP_OUTSIDE:
		/* A group with a container's name is not the container's for that. */
		search->stranger = true;
		break;
	}
}

static void unsure_try(struct search *search, const struct owner_member *member)
{
	search->unsure |= member->own[0] == '\0' ||
	                  pr_cgroup_compare(member->own, search->text) != PR_CGROUP_OUTSIDE;
}

static void members_try(owner_t *owner, struct search *search)
{
	char id[PR_CGROUP_ID_BYTES], before[PR_CGROUP_ID_BYTES] = "";

	for (const char *at = pr_cgroup_guess(search->text, id); at != NULL;
	     at = pr_cgroup_guess(at, id)) {
		if (strcmp(id, before) == 0) {
			continue; /* the next hierarchy's line */
		}
		memcpy(before, id, sizeof(before));
		const struct owner_member *member = member_find_id(owner, id);
		if (member != NULL && member->named) {
			member_try(search, member);
		} else if (strcmp(id, owner->own_container) != 0) {
			search->stranger = true;
		}
	}
	for (size_t i = 0; i < owner->member_count; i++) {
		if (is_unsure(&owner->members[i])) {
			unsure_try(search, &owner->members[i]);
		}
	}
}

void owner_group_resolve(owner_t *owner, const char *text, struct owner_group *ret_group)
{
	struct search search = { .text = text };

	members_try(owner, &search);
	*ret_group = (struct owner_group){ .generation = owner->generation,
		                           .kind = OWNER_GROUP_OUTSIDE };
	if (search.partly) {
		ret_group->kind = OWNER_GROUP_STRANGER;
	} else if (search.found != NULL) {
		ret_group->kind = OWNER_GROUP_MEMBER;
		ret_group->slot = search.found->slot;
		ret_group->endpoint = search.found->endpoint;
	} else if (search.stranger) {
		ret_group->kind = OWNER_GROUP_STRANGER;
	} else if (search.unsure) {
		ret_group->kind = OWNER_GROUP_UNSURE;
	}
}

void owner_group_read(owner_t *owner, int proc, struct owner_group *ret_group)
{
	char text[PR_CGROUP_TEXT_BYTES];

	if (owner_proc_read(owner, proc, "cgroup", text, sizeof(text)) &&
	    strlen(text) < sizeof(text) - 1) {
		owner_group_resolve(owner, text, ret_group);
	} else {
		*ret_group = (struct owner_group){ .generation = owner->generation,
			                           .kind = OWNER_GROUP_UNREAD };
	}
}

/* ------------------------------------------------------------------------- which endpoint's it is
 */

bool owner_space_named(const owner_t *owner, uint32_t slot)
{
	return owner->spaces[slot].host || owner->spaces[slot].named > 0;
}

bool owner_space_shared(const owner_t *owner, uint32_t slot)
{
	const struct owner_space *space = &owner->spaces[slot];

	return space->members > (owner_space_named(owner, slot) ? 0U : 1U);
}

uint8_t owner_place_default(const owner_t *owner, uint32_t slot)
{
	return slot < PART_NAMESPACE_MAX && owner_space_shared(owner, slot) ? PART_PLACE_UNKNOWN
	                                                                    : PART_PLACE_MAIN;
}

void owner_place_set(const owner_t *owner, uint32_t slot, const struct owner_group *group,
                     struct part_owner *ret_owner)
{
	const struct owner_space *space = &owner->spaces[slot];
	bool alone = !owner_space_shared(owner, slot);

	ret_owner->place = PART_PLACE_UNKNOWN;
	switch (group->kind) {
	case OWNER_GROUP_OUTSIDE:
		ret_owner->place = PART_PLACE_MAIN;
		break;
	case OWNER_GROUP_MEMBER:
		if (group->slot == slot) {
			ret_owner->place = PART_PLACE_CONTAINER;
			ret_owner->container = group->endpoint;
		}
		break;
	case OWNER_GROUP_STRANGER:
		/* Where no engine is asked, what runs in containers is the host's. */
		if (alone && (!owner->config.engine || space->untold > 0)) {
			ret_owner->place = PART_PLACE_MAIN;
		}
		break;
	case OWNER_GROUP_UNSURE:
		if (alone || space->unsure == 0) {
			ret_owner->place = PART_PLACE_MAIN;
		}
		break;
	case OWNER_GROUP_UNREAD:
		if (alone) {
			ret_owner->place = PART_PLACE_MAIN;
		}
		break;
	}
}

bool owner_place_equal(const struct part_owner *a, const struct part_owner *b)
{
	return a->place == b->place && pr_uuid_equal(&a->container, &b->container);
}
