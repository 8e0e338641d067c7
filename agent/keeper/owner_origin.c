/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attribution by what the kernel noted at connect(): no look into /proc but for a new user's name.
 */
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/origin.h"
#include "agent/keeper/owner_internal.h"
#include "base/clock.h"

#define HELD_MAX_AGE_NS PR_NS_PER_S
#define COPY_MAX_AGE_NS (5 * PR_NS_PER_S) /* nothing bites on a copy, and it may come late */

/* The user's name where the process lives: known, or read while the process is still there. */
static void name_fill(owner_t *owner, const struct origin_found *found,
                      struct part_owner *ret_owner)
{
	const struct owner_name key = {
		.noted = true,
		.mount_inode = found->mount_namespace,
		.root_device = found->root_device,
		.root_inode = found->root_inode,
		.uid = ret_owner->uid,
	};
	if (owner_name_known(owner, &key, ret_owner->user)) {
		return;
	}
	_cleanup_(pr_fd_close) int proc = owner_proc_open(owner, (int32_t)found->pid);
	uint64_t start_ticks;
	if (proc >= 0 && owner_start_read(owner, proc, &start_ticks) &&
	    start_ticks == found->start_ticks) {
		owner_name_read(owner, proc, &key, ret_owner->user);
	}
}

/* By the note, made when it connected; where that has not all of it, by the process now. */
static void group_find(owner_t *owner, const struct origin_found *found,
                       struct owner_group *ret_group)
{
	char text[ORIGIN_GROUPS_TEXT_BYTES];
	struct owner_program_group *kept = &owner->programs[found->program_at];
	uint64_t start_ticks;

	if (kept->id == found->program_id && kept->group.generation == owner->generation) {
		*ret_group = kept->group;
		return;
	}
	if (owner->notes_tell && origin_groups(owner->config.origin, found, text)) {
		owner_group_resolve(owner, text, ret_group);
		*kept = (struct owner_program_group){ .id = found->program_id,
			                              .group = *ret_group };
		return;
	}
	*ret_group = (struct owner_group){ .kind = OWNER_GROUP_UNREAD };
	_cleanup_(pr_fd_close) int proc = owner_proc_open(owner, (int32_t)found->pid);
	if (proc >= 0 && owner_start_read(owner, proc, &start_ticks) &&
	    start_ticks == found->start_ticks) {
		owner_group_read(owner, proc, ret_group);
	}
}

static void fill(owner_t *owner, uint32_t slot, const struct origin_found *found, uint32_t uid,
                 struct part_owner *ret_owner)
{
	struct owner_group group;

	ret_owner->unknown = CODEC_UNKNOWN_NONE;
	ret_owner->uid = uid;
	ret_owner->pid = found->pid;
	ret_owner->start_ticks = found->start_ticks;
	group_find(owner, found, &group);
	owner_place_set(owner, slot, &group, ret_owner);
	memcpy(ret_owner->exe, found->exe, sizeof(ret_owner->exe));
	if (!owner_name_place(owner, slot, ret_owner)) {
		name_fill(owner, found, ret_owner);
	}
	owner->counters.owner_by_origin++;
}

/* All packets of a batch were sent before it began: once is enough for them. */
static void settle(owner_t *owner)
{
	if (owner->batch == 0 || owner->settled_batch != owner->batch) {
		owner->settled_batch = owner->batch;
		origin_settle(owner->config.origin);
	}
}

static bool find(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                 struct origin_found *ret_found)
{
	uint64_t max_age_ns = flow->held ? HELD_MAX_AGE_NS : COPY_MAX_AGE_NS;

	if (owner->config.origin == NULL) {
		return false;
	}
	settle(owner);
	return origin_find(owner->config.origin, owner->spaces[slot].cookie, flow, owner->now_ns,
	                   max_age_ns, ret_found);
}

bool owner_origin_packet(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                         uint32_t uid_hint, struct part_owner *ret_owner)
{
	struct origin_found found;

	if (flow->live || !find(owner, slot, flow, &found) || !found.fresh ||
	    (uid_hint != CODEC_NO_UID && uid_hint != found.uid)) {
		return false;
	}
	fill(owner, slot, &found, found.uid, ret_owner);
	return true;
}

bool owner_origin_socket(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                         const struct owner_sockets *sockets, struct part_owner *ret_owner)
{
	struct origin_found found;
	bool known;

	if (owner->config.origin == NULL || sockets->count != 1) {
		return false;
	}
	const struct owner_socket *socket = &sockets->items[0];
	uint64_t cookie = (uint64_t)socket->cookie[1] << 32 | socket->cookie[0];
	if (flow->proto == IPPROTO_TCP) {
		known = find(owner, slot, flow, &found) && found.socket_cookie == cookie;
	} else {
		known = origin_socket_find(owner->config.origin, owner->spaces[slot].cookie, cookie,
		                           &found);
	}
	if (known) {
		fill(owner, slot, &found, socket->uid, ret_owner);
	}
	return known;
}
