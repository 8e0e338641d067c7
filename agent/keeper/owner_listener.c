/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listeners seen before. Who holds one's socket is searched for in /proc once; from then on the
 * kernel is asked by eBPF whether it is still so: the same socket takes the flow, each holder still
 * has it and has executed nothing since, and nobody else has got it. The last is certain if its
 * file has as many references as there are holders. It may have more, of calls that wait at this
 * moment, or of a descriptor under another number: then, as long as there are not more than before,
 * it is believed until the table of processes would be read again.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/owner_internal.h"

#define DESCRIPTORS_MAX 256 /* that all listeners together keep open */

static uint64_t cookie_of(const struct owner_socket *socket)
{
	return (uint64_t)socket->cookie[1] << 32 | socket->cookie[0];
}

static void listener_drop(struct owner_listener *listener)
{
	for (size_t i = 0; i < listener->holder_count; i++) {
		(void)close(listener->holders[i].folder);
	}
	*listener = (struct owner_listener){ 0 };
}

void owner_listeners_drop(owner_t *owner, uint32_t slot)
{
	for (size_t i = 0; i < OWNER_LISTENERS_MAX; i++) {
		struct owner_listener *listener = &owner->listeners[i];
		if (listener->used && (listener->slot == slot || slot == UINT32_MAX)) {
			listener_drop(listener);
		}
	}
}

/* The kernel's tables of other protocols are not looked into. */
static bool is_asked(const owner_t *owner, const struct part_flow *flow)
{
	return owner->config.origin != NULL && !flow->live &&
	       (flow->proto == IPPROTO_TCP || flow->proto == IPPROTO_UDP);
}

static bool same_place(const struct part_flow *a, const struct part_flow *b)
{
	return a->proto == b->proto && a->dst_port == b->dst_port && a->interface == b->interface &&
	       pr_addr_equal(&a->dst, &b->dst);
}

/* By its cookie; without one, by where it has taken a flow. */
static struct owner_listener *listener_find(owner_t *owner, uint32_t slot, uint64_t cookie,
                                            const struct part_flow *flow)
{
	for (size_t i = 0; i < OWNER_LISTENERS_MAX; i++) {
		struct owner_listener *listener = &owner->listeners[i];
		if (listener->used && listener->slot == slot &&
		    (cookie != 0 ? listener->cookie == cookie
		                 : same_place(&listener->flow, flow))) {
			return listener;
		}
	}
	return NULL;
}

/* ------------------------------------------------------------------------------ asking the kernel
 */

static bool ask(owner_t *owner, const struct owner_listener *listener, const struct part_flow *flow,
                uint64_t cookie, struct origin_answer *ret_answer)
{
	const struct owner_space *space = &owner->spaces[listener->slot];
	struct origin_question question = {
		.netns_cookie = space->cookie,
		.socket_cookie = cookie,
		.space_fd = space->diag,
		.src_port = flow->src_port,
		.dst_port = flow->dst_port,
		.proto = flow->proto,
		.v4 = pr_addr_is_v4(&flow->dst),
		.holder_count = (uint32_t)listener->holder_count,
	};
	memcpy(question.src, flow->src.bytes, sizeof(question.src));
	memcpy(question.dst, flow->dst.bytes, sizeof(question.dst));
	for (size_t i = 0; i < listener->holder_count; i++) {
		question.holders[i].folder_fd = listener->holders[i].folder;
		question.holders[i].socket_fd = listener->holders[i].socket_fd;
	}
	return space->cookie != 0 && origin_listener(owner->config.origin, &question, ret_answer);
}

static bool all_hold(const struct owner_listener *listener, const struct origin_answer *answer)
{
	return answer->socket_cookie == listener->cookie &&
	       answer->holders == (1U << listener->holder_count) - 1;
}

static bool unchanged(const struct owner_listener *listener, const struct origin_answer *answer)
{
	for (size_t i = 0; i < listener->holder_count; i++) {
		if (answer->executed[i] != listener->holders[i].executed) {
			return false;
		}
	}
	return all_hold(listener, answer) && answer->uid == listener->owner.uid;
}

static bool alone_hold(const owner_t *owner, const struct owner_listener *listener,
                       const struct origin_answer *answer)
{
	return answer->references == listener->holder_count ||
	       (answer->references <= listener->references &&
	        owner->now_ns - listener->found_ns < owner->config.table_keep_ns);
}

/* False: not any more, and the listener may have been dropped. */
static bool believed(owner_t *owner, struct owner_listener *listener, const struct part_flow *flow,
                     const struct owner_sockets *sockets)
{
	struct origin_answer answer;
	uint64_t cookie = sockets != NULL ? listener->cookie : 0;
	bool certain = sockets != NULL || listener->alone;

	if (owner->now_ns - listener->found_ns > owner->config.name_keep_ns) {
		listener_drop(listener); /* its user may have another name by now */
		return false;
	}
	/* All packets of a batch were there before it: once is enough for them. */
	if (certain && owner->batch != 0 && listener->batch == owner->batch) {
		return true;
	}
	if (!ask(owner, listener, flow, cookie, &answer)) {
		return false;
	}
	if (!unchanged(listener, &answer)) {
		listener_drop(listener);
		return false;
	}
	if (!alone_hold(owner, listener, &answer)) {
		/* A child may have got it that is in no table yet. */
		owner->table_ns = answer.references > listener->references ? 0 : owner->table_ns;
		return false;
	}
	listener->batch = owner->batch;
	listener->flow = *flow;
	listener->alone = sockets == NULL && flow->proto == IPPROTO_TCP;
	return true;
}

bool owner_listener_known(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                          const struct owner_sockets *sockets, struct part_owner *ret_owner)
{
	if (!is_asked(owner, flow) || (sockets != NULL && sockets->count != 1)) {
		return false;
	}
	uint64_t cookie = sockets != NULL ? cookie_of(&sockets->items[0]) : 0;
	struct owner_listener *listener = listener_find(owner, slot, cookie, flow);
	if (listener == NULL || !believed(owner, listener, flow, sockets)) {
		return false;
	}
	listener->used_ns = owner->now_ns;
	*ret_owner = listener->owner;
	owner->counters.owner_by_table++;
	return true;
}

/* -------------------------------------------------------------------------------- remembering */

/* Its own, a free one, or the one used longest ago; with room for so many descriptors. */
static struct owner_listener *place_make(owner_t *owner, uint32_t slot, uint64_t cookie,
                                         size_t holders)
{
	struct owner_listener *own = listener_find(owner, slot, cookie, NULL);

	if (own != NULL) {
		listener_drop(own);
	}
	for (;;) {
		struct owner_listener *oldest = NULL, *place = NULL;
		size_t open = 0;
		for (size_t i = 0; i < OWNER_LISTENERS_MAX; i++) {
			struct owner_listener *listener = &owner->listeners[i];
			open += listener->holder_count;
			if (!listener->used) {
				place = listener;
			} else if (oldest == NULL || listener->used_ns < oldest->used_ns) {
				oldest = listener;
			}
		}
		if (place != NULL && open + holders <= DESCRIPTORS_MAX) {
			return place;
		}
		if (oldest == NULL) {
			return NULL;
		}
		listener_drop(oldest);
	}
}

/*
 * What was read in /proc is of before, the numbers are of now: only if nobody executes another
 * program in between do they belong together.
 */
static bool programs_are(struct owner_find *find, const struct owner_listener *listener)
{
	for (size_t i = 0; i < listener->holder_count; i++) {
		char exe[129];
		if (!owner_exe_read(find->owner, listener->holders[i].folder, exe) ||
		    strcmp(exe, find->holders[i].exe) != 0) {
			return false;
		}
	}
	return true;
}

struct owner_listener *owner_listener_keep(struct owner_find *find, const struct part_flow *flow,
                                           const struct owner_sockets *sockets)
{
	owner_t *owner = find->owner;
	struct origin_answer answer;

	if (!is_asked(owner, flow) || sockets->count != 1 ||
	    owner->spaces[find->slot].cookie == 0) {
		return NULL;
	}
	uint64_t cookie = cookie_of(&sockets->items[0]);
	struct owner_listener *listener = place_make(owner, find->slot, cookie, find->holder_count);
	if (listener == NULL) {
		return NULL;
	}
	*listener = (struct owner_listener){ .used = true, .slot = find->slot, .flow = *flow };
	listener->cookie = cookie;
	for (size_t i = 0; i < find->holder_count; i++) {
		int folder = fcntl(find->holders[i].proc, F_DUPFD_CLOEXEC, 0);
		if (folder < 0) {
			break;
		}
		listener->holders[i].folder = folder;
		listener->holders[i].socket_fd = find->holders[i].socket_fd;
		listener->holder_count++;
	}
	if (listener->holder_count != find->holder_count ||
	    !ask(owner, listener, flow, cookie, &answer) || !all_hold(listener, &answer) ||
	    !programs_are(find, listener)) {
		listener_drop(listener);
		return NULL;
	}
	for (size_t i = 0; i < listener->holder_count; i++) {
		listener->holders[i].executed = answer.executed[i];
	}
	listener->references = answer.references;
	listener->found_ns = listener->used_ns = owner->now_ns;
	return listener;
}
