/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/owner_internal.h"
#include "base/cgroup.h"
#include "base/clock.h"
#include "base/err.h"
#include "codec/codec.h"

#define KERNEL_NAME "kernel"

#define QUESTION_MAX_NS (30 * PR_NS_PER_US) /* of CPU: asking for the socket */
#define READ_MAX_NS     (5 * PR_NS_PER_US)  /* of CPU: one look into /proc */

static const struct owner_counter_row counter_rows[] = {
#define X(name, unit, doc) { #name, (unit), (doc), offsetof(struct owner_counters, name) },
	OWNER_COUNTER_LIST(X)
#undef X
};

const struct owner_counter_row *owner_counter_rows(size_t *ret_count)
{
	*ret_count = PR_ARRAY_LEN(counter_rows);
	return counter_rows;
}

void owner_config_default(struct owner_config *config)
{
	*config = (struct owner_config){
		.reads_max = 20000,
		.second_budget_ns = 400 * PR_NS_PER_MS,
		.name_keep_ns = 5 * PR_NS_PER_S,
		.table_keep_ns = 100 * PR_NS_PER_MS,
	};
}

/* Should we run in a container ourselves, its name in a group says nothing of others. */
static void own_groups_read(owner_t *owner)
{
	char text[PR_CGROUP_TEXT_BYTES];
	bool read = owner_proc_read(owner, owner->proc, "self/cgroup", text, sizeof(text));

	if (!read || pr_cgroup_guess(text, owner->own_container) == NULL) {
		owner->own_container[0] = '\0';
	}
	owner->notes_tell = read && pr_cgroup_two_tell(text);
}

int owner_new(const struct owner_config *config, owner_t **ret_owner)
{
	_cleanup_(owner_destroy) owner_t *owner = calloc(1, sizeof(*owner));
	if (owner == NULL) {
		return PR_ENOMEM;
	}
	owner->config = *config;
	owner->reads_left = config->reads_max;
	owner->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (owner->proc < 0) {
		return -errno;
	}
	if (!owner_proc_link(owner, owner->proc, "self/ns/mnt", "mnt", &owner->own_mount_inode)) {
		return PR_EIO;
	}
	owner->generation = 1;
	own_groups_read(owner);
	*ret_owner = take_ptr(owner);
	return PR_OK;
}

void owner_destroy(owner_t **owner_p)
{
	owner_t *owner = *owner_p;
	if (owner == NULL) {
		return;
	}
	owner_hints_drop(owner, UINT32_MAX);
	owner_listeners_drop(owner, UINT32_MAX);
	pr_fd_close(&owner->proc);
	for (size_t i = 0; i < owner->member_count; i++) {
		free(owner->members[i].own);
	}
	free(owner->members);
	free(owner->processes);
	free(owner->old_processes);
	free(owner);
	*owner_p = NULL;
}

/* What cannot be watched is looked for in /proc. */
static void space_watch(owner_t *owner, struct owner_space *space)
{
	if (owner->config.origin == NULL ||
	    origin_watch(owner->config.origin, space->diag, &space->cookie) != PR_OK) {
		space->cookie = 0;
	}
}

void owner_origin_set(owner_t *owner, origin_t *origin)
{
	owner->config.origin = origin;
	for (size_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		if (owner->spaces[i].used) {
			space_watch(owner, &owner->spaces[i]);
		}
	}
}

int owner_namespace_add(owner_t *owner, uint32_t slot, uint64_t inode, int diag, int32_t pid)
{
	if (slot >= PART_NAMESPACE_MAX || diag < 0) {
		return PR_EINVAL;
	}
	owner_namespace_remove(owner, slot);
	owner->spaces[slot] = (struct owner_space){
		.used = true,
		.host = pid == 0,
		.inode = inode,
		.diag = diag,
		.pid = pid != 0 ? pid : getpid(),
		.first_pid = pid != 0 ? pid : getpid(),
	};
	space_watch(owner, &owner->spaces[slot]);
	return PR_OK;
}

void owner_namespace_remove(owner_t *owner, uint32_t slot)
{
	if (slot < PART_NAMESPACE_MAX) {
		owner_hints_drop(owner, slot);
		owner_members_drop(owner, slot);
		owner_listeners_drop(owner, slot);
		if (owner->spaces[slot].cookie != 0) {
			origin_unwatch(owner->config.origin, owner->spaces[slot].cookie);
		}
		owner->spaces[slot] = (struct owner_space){ .diag = -1 };
	}
}

void owner_counters(const owner_t *owner, struct owner_counters *ret_counters)
{
	*ret_counters = owner->counters;
}

/* ----------------------------------------------------------------------------- one question */

static void count_unknown(owner_t *owner, uint8_t unknown)
{
	struct owner_counters *counters = &owner->counters;
	uint64_t *const places[] = {
		[CODEC_UNKNOWN_NONE] = &counters->owner_known,
		[CODEC_UNKNOWN_PROCESS_GONE] = &counters->owner_gone,
		[CODEC_UNKNOWN_NO_SOCKET] = &counters->owner_no_socket,
		[CODEC_UNKNOWN_AMBIGUOUS] = &counters->owner_ambiguous,
		[CODEC_UNKNOWN_KERNEL] = &counters->owner_kernel,
		[CODEC_UNKNOWN_NOT_TRIED] = &counters->owner_not_tried,
		[CODEC_UNKNOWN_NO_LISTENER] = &counters->owner_no_listener,
	};
	if (unknown < PR_ARRAY_LEN(places) && places[unknown] != NULL) {
		(*places[unknown])++;
	}
}

static void owner_set_kernel(struct part_owner *ret_owner)
{
	ret_owner->place = PART_PLACE_MAIN;
	ret_owner->unknown = CODEC_UNKNOWN_KERNEL;
	ret_owner->uid = CODEC_NO_UID;
	memcpy(ret_owner->exe, KERNEL_NAME, sizeof(KERNEL_NAME));
}

/* All holders run the same program: the one that started first is the master. NULL: they differ. */
static struct owner_holder *holder_choose(struct owner_find *find)
{
	struct owner_holder *chosen = &find->holders[0];

	for (size_t i = 1; i < find->holder_count; i++) {
		struct owner_holder *holder = &find->holders[i];
		if (strcmp(holder->exe, chosen->exe) != 0) {
			return NULL;
		}
		if (holder->start_ticks < chosen->start_ticks ||
		    (holder->start_ticks == chosen->start_ticks && holder->pid < chosen->pid)) {
			chosen = holder;
		}
	}
	return chosen;
}

/* Control group and name; kept with the hint for some seconds. */
static void facts_read(owner_t *owner, uint32_t slot, struct owner_holder *holder,
                       struct part_owner *ret_owner)
{
	struct owner_facts *facts = &holder->facts;
	uint32_t uid = ret_owner->uid;
	bool stale = !facts->known || facts->uid != uid || facts->name_until_ns <= owner->now_ns ||
	             facts->group.generation != owner->generation;

	if (stale) {
		owner_group_read(owner, holder->proc, &facts->group);
	}
	owner_place_set(owner, slot, &facts->group, ret_owner);
	if (stale) {
		if (owner_name_place(owner, slot, ret_owner)) {
			memcpy(facts->name, ret_owner->user, sizeof(facts->name));
		} else {
			owner_name_find(owner, holder->proc, uid, facts->name);
		}
		facts->uid = uid;
		facts->name_until_ns = owner->now_ns + owner->config.name_keep_ns;
	}
	memcpy(ret_owner->user, facts->name, sizeof(ret_owner->user));
	facts->known = true;
}

static void holder_describe(owner_t *owner, uint32_t slot, struct owner_holder *holder,
                            struct part_owner *ret_owner)
{
	facts_read(owner, slot, holder, ret_owner);
	ret_owner->unknown = CODEC_UNKNOWN_NONE;
	ret_owner->pid = (uint32_t)holder->pid;
	ret_owner->start_ticks = holder->start_ticks;
	ret_owner->socket_inode = holder->socket_inode;
	memcpy(ret_owner->exe, holder->exe, sizeof(ret_owner->exe));
	owner_hint_keep(owner, slot, ret_owner->uid, holder);
}

/* Several processes may hold a socket without being of one endpoint: then it is nobody's. */
static void holders_place(struct owner_find *find, struct part_owner *ret_owner)
{
	owner_t *owner = find->owner;
	struct part_owner first = { 0 };

	if (!owner_space_shared(owner, find->slot)) {
		return;
	}
	for (size_t i = 0; i < find->holder_count; i++) {
		struct part_owner other = { 0 };
		struct owner_group group;
		owner_group_read(owner, find->holders[i].proc, &group);
		owner_place_set(owner, find->slot, &group, &other);
		if (i == 0) {
			first = other;
		} else if (!owner_place_equal(&first, &other)) {
			first = (struct part_owner){ .place = PART_PLACE_UNKNOWN };
			break;
		}
	}
	if (find->holder_count > 0) {
		ret_owner->place = first.place;
		ret_owner->container = first.container;
	}
}

/* Sockets of another user cannot have sent what the kernel says this user sent. */
static void sockets_narrow(struct owner_sockets *sockets, uint32_t uid_hint)
{
	size_t kept = 0;

	if (uid_hint == CODEC_NO_UID) {
		return;
	}
	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->items[i].uid == uid_hint) {
			sockets->items[kept++] = sockets->items[i];
		}
	}
	sockets->count = kept;
}

/* Nobody inside holds the socket. If it is still there, somebody outside does, or the kernel. */
static uint8_t nobody(struct owner_find *find, const struct part_flow *flow,
                      const struct owner_socket *socket, uint32_t uid_hint)
{
	if (!owner_socket_alive(find->owner, find->slot, flow, socket)) {
		return CODEC_UNKNOWN_PROCESS_GONE;
	}
	owner_find_elsewhere(find);
	if (find->exhausted) {
		return CODEC_UNKNOWN_NOT_TRIED;
	}
	/* The kernel names no user for its own sockets. */
	return uid_hint == CODEC_NO_UID ? CODEC_UNKNOWN_KERNEL : CODEC_UNKNOWN_PROCESS_GONE;
}

/* Find the holders of all sockets. Why somebody is missing, or NONE. */
static uint8_t holders_find(struct owner_find *find, const struct part_flow *flow,
                            const struct owner_sockets *sockets, uint32_t uid_hint)
{
	for (size_t i = 0; i < sockets->count; i++) {
		const struct owner_socket *socket = &sockets->items[i];
		size_t before = find->holder_count;
		find->inode = socket->inode;
		find->uid = socket->uid;
		owner_find_run(find);
		uint8_t why = CODEC_UNKNOWN_NOT_TRIED;
		if (find->holder_count == before && !find->exhausted) {
			why = nobody(find, flow, socket, uid_hint);
		}
		if (find->holder_count == before) {
			return sockets->count > 1 ? CODEC_UNKNOWN_AMBIGUOUS : why;
		}
	}
	return CODEC_UNKNOWN_NONE;
}

static uint32_t uid_of(const struct owner_sockets *sockets)
{
	for (size_t i = 1; i < sockets->count; i++) {
		if (sockets->items[i].uid != sockets->items[0].uid) {
			return CODEC_NO_UID;
		}
	}
	return sockets->items[0].uid;
}

static void sockets_attribute(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                              const struct owner_sockets *sockets, uint32_t uid_hint,
                              bool listening, struct part_owner *ret_owner)
{
	struct owner_find find = { .owner = owner, .slot = slot, .single = sockets->count == 1 };

	ret_owner->uid = uid_of(sockets);
	ret_owner->unknown = holders_find(&find, flow, sockets, uid_hint);
	if (ret_owner->unknown == CODEC_UNKNOWN_KERNEL) {
		owner_set_kernel(ret_owner);
	} else if (ret_owner->unknown == CODEC_UNKNOWN_NONE) {
		struct owner_holder *holder = holder_choose(&find);
		if (holder == NULL || ret_owner->uid == CODEC_NO_UID) {
			ret_owner->unknown = CODEC_UNKNOWN_AMBIGUOUS;
			holders_place(&find, ret_owner);
		} else {
			owner->counters.owner_by_hint += find.by_hint;
			owner->counters.owner_by_search += !find.by_hint;
			struct owner_listener *kept =
				listening ? owner_listener_keep(&find, flow, sockets) : NULL;
			holder_describe(owner, slot, holder, ret_owner);
			if (find.holder_count > 1) {
				holders_place(&find, ret_owner);
			}
			if (kept != NULL) {
				kept->owner = *ret_owner;
			}
		}
	}
	owner_find_done(&find);
}

/* False: this second's work is done, or the namespace is not known; @p ret_owner says so. */
static bool question_begin(owner_t *owner, uint32_t slot, uint32_t uid,
                           struct part_owner *ret_owner)
{
	*ret_owner = (struct part_owner){ .unknown = CODEC_UNKNOWN_NOT_TRIED,
		                          .uid = uid,
		                          .place = owner_place_default(owner, slot) };
	owner->counters.owner_asked++;
	owner->now_ns = pr_clock_monotonic_ns();
	owner->reads_left = owner->config.reads_max;
	if (owner->now_ns - owner->window_ns >= PR_NS_PER_S) {
		owner->window_ns = owner->now_ns;
		owner->window_used_ns = 0;
	}
	return slot < PART_NAMESPACE_MAX && owner->spaces[slot].used &&
	       owner->window_used_ns < owner->config.second_budget_ns;
}

/*
 * What it cost: the time that went by, but no more than so many reads can take, for others may have
 * had the CPU meanwhile. (The clock of CPU time is a system call, twice a question.)
 */
static void question_end(owner_t *owner, const struct part_owner *answer)
{
	uint64_t reads = owner->config.reads_max - owner->reads_left;
	uint64_t most_ns = QUESTION_MAX_NS + reads * READ_MAX_NS;
	uint64_t took_ns = pr_clock_monotonic_ns() - owner->now_ns;

	owner->window_used_ns += took_ns < most_ns ? took_ns : most_ns;
	count_unknown(owner, answer->unknown);
}

/*
 * The process has gone, but the kernel still says whose socket it was: its name as the process that
 * the namespace was added with sees it, that is the host's or the container's own.
 */
static void user_name(owner_t *owner, uint32_t slot, struct part_owner *ret_owner)
{
	if (ret_owner->unknown == CODEC_UNKNOWN_NONE || ret_owner->uid == CODEC_NO_UID ||
	    ret_owner->user[0] != '\0' || slot >= PART_NAMESPACE_MAX) {
		return;
	}
	if (owner_space_named(owner, slot) || owner_space_shared(owner, slot)) {
		(void)owner_name_place(owner, slot, ret_owner);
		return;
	}
	_cleanup_(pr_fd_close) int proc = owner_space_open(owner, slot);
	if (proc >= 0) {
		owner_name_find(owner, proc, ret_owner->uid, ret_owner->user);
	}
}

static bool by_diag(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE;
}

static void initiator_find(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                           uint32_t uid_hint, struct part_owner *ret_owner)
{
	struct owner_sockets sockets = { 0 };

	/* Of a datagram, a live socket says more than the note of one that closed. */
	bool tcp = flow->proto == IPPROTO_TCP;

	if (tcp && owner_origin_packet(owner, slot, flow, uid_hint, ret_owner)) {
		return;
	}
	if (uid_hint != CODEC_NO_UID) {
		owner->uid_seen = true;
	} else if (owner->uid_seen && flow->outbound && !flow->live) {
		/* This kernel names the user of every packet that a program sent. */
		owner_set_kernel(ret_owner);
		return;
	}
	if (by_diag(flow->proto)) {
		owner_sockets_sending(owner, slot, flow, &sockets);
	}
	if (sockets.count == 0 && !sockets.gone) {
		owner_sockets_raw(owner, slot, flow, true, &sockets);
	}
	bool translated = sockets.translated;
	sockets_narrow(&sockets, uid_hint);
	if (sockets.count == 0 && !tcp &&
	    owner_origin_packet(owner, slot, flow, uid_hint, ret_owner)) {
		return;
	}
	if (sockets.count == 0) {
		ret_owner->unknown = uid_hint != CODEC_NO_UID || sockets.gone
		                             ? CODEC_UNKNOWN_PROCESS_GONE
		                             : CODEC_UNKNOWN_NO_SOCKET;
		return;
	}
	if (!owner_origin_socket(owner, slot, flow, &sockets, ret_owner)) {
		sockets_attribute(owner, slot, flow, &sockets, uid_hint, false, ret_owner);
	}
	if (translated) {
		ret_owner->peer = sockets.items[0].remote;
		ret_owner->peer_port = sockets.items[0].remote_port;
	}
}

void owner_begin(owner_t *owner)
{
	owner->batch++;
}

void owner_initiator(owner_t *owner, uint32_t slot, const struct part_flow *flow, uint32_t uid_hint,
                     struct part_owner *ret_owner)
{
	if (question_begin(owner, slot, uid_hint, ret_owner)) {
		initiator_find(owner, slot, flow, uid_hint, ret_owner);
		user_name(owner, slot, ret_owner);
	}
	question_end(owner, ret_owner);
}

static void terminator_find(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                            struct part_owner *ret_owner)
{
	struct owner_sockets sockets = { 0 };

	if (flow->proto == IPPROTO_ICMP || flow->proto == IPPROTO_ICMPV6) {
		owner_set_kernel(ret_owner); /* echoes are answered there */
		return;
	}
	if (by_diag(flow->proto)) {
		if (owner_listener_known(owner, slot, flow, NULL, ret_owner)) {
			return;
		}
		owner_sockets_receiving(owner, slot, flow, &sockets);
	} else {
		owner_sockets_raw(owner, slot, flow, false, &sockets);
	}
	if (sockets.count == 0) {
		ret_owner->unknown =
			sockets.gone ? CODEC_UNKNOWN_PROCESS_GONE : CODEC_UNKNOWN_NO_LISTENER;
		if (!sockets.gone) {
			ret_owner->place = PART_PLACE_MAIN; /* the kernel refuses it */
		}
	} else if (!owner_listener_known(owner, slot, flow, &sockets, ret_owner)) {
		sockets_attribute(owner, slot, flow, &sockets, CODEC_NO_UID, true, ret_owner);
	}
}

void owner_listener(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                    struct part_owner *ret_owner)
{
	if (question_begin(owner, slot, CODEC_NO_UID, ret_owner)) {
		terminator_find(owner, slot, flow, ret_owner);
		user_name(owner, slot, ret_owner);
	}
	question_end(owner, ret_owner);
}
