/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading what the program in the kernel has noted. No system call. */
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/origin_internal.h"
#include "agent/keeper/owner_parse.h"
#include "base/err.h"
#include "codec/codec.h"

#define NS_PER_TICK 10000000ULL /* of field 22 in /proc/PID/stat: USER_HZ is 100 */

int origin_new_in(const struct origin_memory *memory, origin_t **ret_origin)
{
	origin_t *origin = calloc(1, sizeof(*origin));
	if (origin == NULL) {
		return PR_ENOMEM;
	}
	origin->memory = *memory;
	origin->listener_fd = -1;
	*ret_origin = origin;
	return PR_OK;
}

void origin_counts(const origin_t *origin, struct origin_counts *ret_counts)
{
	*ret_counts = *origin->memory.counts;
}

/* ------------------------------------------------------------------------------ namespaces */

int origin_watch_cookie(origin_t *origin, uint64_t cookie)
{
	uint64_t *watched = origin->memory.watched;

	if (cookie == 0) {
		return PR_EINVAL;
	}
	for (int i = 0; i < ORIGIN_WATCHED_TRIES; i++) {
		uint64_t *place = &watched[(cookie + (uint64_t)i) % ORIGIN_WATCHED];
		if (*place == 0 || *place == cookie) {
			__atomic_store_n(place, cookie, __ATOMIC_RELEASE);
			return PR_OK;
		}
	}
	return PR_ENOSPC;
}

void origin_unwatch(origin_t *origin, uint64_t cookie)
{
	uint64_t *watched = origin->memory.watched;

	for (int i = 0; i < ORIGIN_WATCHED_TRIES; i++) {
		uint64_t *place = &watched[(cookie + (uint64_t)i) % ORIGIN_WATCHED];
		if (*place == cookie) {
			__atomic_store_n(place, 0, __ATOMIC_RELEASE);
		}
	}
}

/* ------------------------------------------------------------------------------- programs */

/* Copy what is written under a sequence number. False: it is being written. */
static bool copy_whole(const uint32_t *sequence, const void *from, void *to, size_t size_bytes,
                       uint32_t *ret_sequence)
{
	uint32_t before = __atomic_load_n(sequence, __ATOMIC_ACQUIRE);

	memcpy(to, from, size_bytes);
	atomic_thread_fence(memory_order_acquire);
	*ret_sequence = before;
	return (before & 1) == 0 && __atomic_load_n(sequence, __ATOMIC_RELAXED) == before;
}

/* Names from the leaf upwards become a path. False: none, or there is no room. */
static bool path_join(const char *names, size_t names_bytes, char *path, size_t path_bytes)
{
	size_t at = path_bytes - 1;

	path[at] = '\0';
	for (size_t from = 0; from < names_bytes;) {
		size_t name_bytes = strnlen(names + from, names_bytes - from);
		if (name_bytes == 0 || from + name_bytes == names_bytes || name_bytes + 1 > at) {
			return false;
		}
		at -= name_bytes;
		memcpy(path + at, names + from, name_bytes);
		path[--at] = '/';
		from += name_bytes + 1;
	}
	memmove(path, path + at, path_bytes - at);
	return path[0] != '\0';
}

/* As readlink() of /proc/PID/exe says it. */
static bool exe_set(const struct origin_program *program, char exe[static 129])
{
	static const char deleted[] = " (deleted)";
	char path[sizeof(program->path) + sizeof(deleted) + 1];

	if (program->partial != 0 || program->path_bytes > sizeof(program->path) ||
	    !path_join(program->path, program->path_bytes, path, sizeof(program->path) + 1)) {
		return false;
	}
	if (program->deleted != 0) {
		memcpy(path + strlen(path), deleted, sizeof(deleted));
	}
	codec_path_set(exe, 129, path);
	return true;
}

/* "1:pids:/a/b" and "0::/a/b", as in /proc/PID/cgroup. A group at the top has no names. */
bool origin_groups(const origin_t *origin, const struct origin_found *found,
                   char ret_text[static ORIGIN_GROUPS_TEXT_BYTES])
{
	static const char *const heads[ORIGIN_GROUPS] = { "1:pids:", "0::" };
	struct origin_program program;
	uint32_t sequence;
	size_t used = 0;

	const struct origin_program *place = &origin->memory.programs[found->program_at];
	if (!copy_whole(&place->sequence, place, &program, sizeof(program), &sequence) ||
	    program.id != found->program_id) {
		return false;
	}
	for (int i = 0; i < ORIGIN_GROUPS; i++) {
		char path[sizeof(program.group[i]) + 1] = "/";
		uint32_t size_bytes = program.group_bytes[i];
		if (program.group_id[i] == 0) {
			continue; /* there is no such hierarchy */
		}
		if (program.group_partial[i] != 0 || size_bytes > sizeof(program.group[i]) ||
		    (size_bytes > 0 &&
		     !path_join(program.group[i], size_bytes, path, sizeof(path)))) {
			return false;
		}
		int wrote = snprintf(ret_text + used, ORIGIN_GROUPS_TEXT_BYTES - used, "%s%s\n",
		                     heads[i], path);
		if (wrote < 0 || (size_t)wrote >= ORIGIN_GROUPS_TEXT_BYTES - used) {
			return false;
		}
		used += (size_t)wrote;
	}
	return used > 0;
}

/* NULL: another executable has its place by now, or its path could not be noted. */
static const struct origin_facts *facts_of(origin_t *origin, uint32_t at, uint64_t id)
{
	struct origin_program program;
	uint32_t sequence;

	if (at >= ORIGIN_PROGRAMS || id == 0) {
		return NULL;
	}
	struct origin_facts *facts = &origin->facts[at];
	if (facts->id != id) {
		const struct origin_program *place = &origin->memory.programs[at];
		if (!copy_whole(&place->sequence, place, &program, sizeof(program), &sequence) ||
		    program.id != id) {
			return NULL;
		}
		*facts = (struct origin_facts){ .id = id };
		facts->good = exe_set(&program, facts->exe);
	}
	return facts->good ? facts : NULL;
}

/* ----------------------------------------------------------------------------- connections */

/* As origin.bpf.c does it. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ (hash >> 29);
}

static uint32_t last_word(const struct pr_addr *address)
{
	uint32_t last;

	memcpy(&last, address->bytes + 12, sizeof(last));
	return last;
}

static uint64_t hash_of(uint64_t cookie, const struct pr_addr *src, uint16_t src_port)
{
	return mix(mix(cookie, last_word(src)), src_port);
}

static bool source_fits(const struct origin_entry *entry, uint64_t cookie,
                        const struct pr_addr *src, const struct part_flow *flow)
{
	return entry->netns_cookie == cookie && entry->src_port == flow->src_port &&
	       entry->proto == flow->proto &&
	       memcmp(entry->src, src->bytes, sizeof(entry->src)) == 0;
}

static bool peer_fits(const struct origin_entry *entry, const struct part_flow *flow)
{
	bool any = entry->dst_port == 0 && entry->proto == IPPROTO_UDP;

	return any || (entry->dst_port == flow->dst_port &&
	               memcmp(entry->dst, flow->dst.bytes, sizeof(entry->dst)) == 0);
}

/* Copy an entry; false: it is being written. Its sequence is the one it was copied under. */
static bool entry_copy(const struct origin_entry *place, struct origin_entry *ret_entry)
{
	uint32_t sequence;
	bool whole = copy_whole(&place->sequence, place, ret_entry, sizeof(*ret_entry), &sequence);

	ret_entry->sequence = sequence;
	return whole;
}

static void place_of(uint64_t cookie, const struct pr_addr *src, const struct part_flow *flow,
                     struct origin_place *ret_place)
{
	uint64_t hash = hash_of(cookie, src, flow->src_port);

	ret_place->bucket = (uint32_t)(hash % ORIGIN_BUCKETS);
	ret_place->tag =
		(uint32_t)(mix(mix(hash, last_word(&flow->dst)), flow->dst_port) >> 32) | 1;
}

void origin_flow_place(uint64_t cookie, const struct part_flow *flow,
                       struct origin_place *ret_place)
{
	place_of(cookie, &flow->src, flow, ret_place);
}

void origin_socket_place(uint64_t socket_cookie, struct origin_place *ret_place)
{
	uint64_t hash = mix(0, socket_cookie);

	ret_place->bucket = (uint32_t)(hash % ORIGIN_SOCKET_BUCKETS);
	ret_place->tag = (uint32_t)(hash >> 32) | 1;
}

/* The flow's own note, with this source. -1: none. */
static int flow_find(origin_t *origin, uint64_t cookie, const struct pr_addr *src,
                     const struct part_flow *flow, struct origin_entry *ret_entry)
{
	struct origin_place place;

	place_of(cookie, src, flow, &place);
	const struct origin_bucket *bucket = &origin->memory.buckets[place.bucket];
	for (uint32_t way = 0; way < ORIGIN_WAYS; way++) {
		uint32_t i = bucket->places[way] % ORIGIN_ENTRIES;
		if (bucket->tags[way] == place.tag &&
		    entry_copy(&origin->memory.entries[i], ret_entry) &&
		    source_fits(ret_entry, cookie, src, flow) && peer_fits(ret_entry, flow)) {
			return (int)i;
		}
	}
	return -1;
}

/* Of one source, whatever its destination, the newest note. -1: none. */
static int source_find(origin_t *origin, uint64_t cookie, const struct pr_addr *src,
                       const struct part_flow *flow, struct origin_entry *ret_entry)
{
	uint64_t hash = hash_of(cookie, src, flow->src_port);
	const struct origin_bucket *bucket = &origin->memory.buckets[hash % ORIGIN_BUCKETS];
	int found = -1;

	for (uint32_t way = 0; way < ORIGIN_WAYS; way++) {
		uint32_t i = bucket->places[way] % ORIGIN_ENTRIES;
		struct origin_entry entry;
		if (entry_copy(&origin->memory.entries[i], &entry) &&
		    source_fits(&entry, cookie, src, flow) &&
		    (found < 0 || entry.time_ns > ret_entry->time_ns)) {
			*ret_entry = entry;
			found = (int)i;
		}
	}
	return found;
}

/* Of a datagram socket that took any address, in either way to say that; @found if there is none.
 */
static int any_source_find(origin_t *origin, uint64_t cookie, const struct part_flow *flow,
                           int found, struct origin_entry *ret_entry)
{
	const struct pr_addr any[] = { pr_addr_from_v4(0), { { 0 } } };
	struct origin_entry entry;

	for (size_t i = pr_addr_is_v4(&flow->src) ? 0 : 1; i < PR_ARRAY_LEN(any); i++) {
		int at = source_find(origin, cookie, &any[i], flow, &entry);
		if (at >= 0 && (found < 0 || entry.time_ns > ret_entry->time_ns)) {
			*ret_entry = entry;
			found = at;
		}
	}
	return found;
}

/*
 * A socket may have closed without an address of its own: a datagram socket that took any, a
 * connection that was refused.
 */
static int entry_find(origin_t *origin, uint64_t cookie, const struct part_flow *flow,
                      struct origin_entry *ret_entry)
{
	struct pr_addr any = pr_addr_is_v4(&flow->src) ? pr_addr_from_v4(0) : (struct pr_addr){ 0 };
	struct origin_entry other;
	int found = flow_find(origin, cookie, &flow->src, flow, ret_entry);
	int without = flow_find(origin, cookie, &any, flow, &other);

	if (without >= 0 && (found < 0 || other.time_ns > ret_entry->time_ns)) {
		*ret_entry = other;
		return without;
	}
	if (found < 0) {
		found = source_find(origin, cookie, &flow->src, flow, ret_entry);
	}
	/* Another socket had this port before, connected elsewhere: not what is looked for. */
	if (flow->proto == IPPROTO_UDP && (found < 0 || !peer_fits(ret_entry, flow))) {
		found = any_source_find(origin, cookie, flow, found, ret_entry);
	}
	return found;
}

static void found_set(const struct origin_entry *entry, const struct origin_facts *facts,
                      struct origin_found *ret_found)
{
	*ret_found = (struct origin_found){
		.pid = entry->pid,
		.uid = entry->uid,
		.start_ticks = entry->start_boot_ns / NS_PER_TICK,
		.socket_cookie = entry->socket_cookie,
		.peer_port = entry->dst_port,
		.exe = facts->exe,
		.program_id = entry->program_id,
		.program_at = entry->program_at,
		.mount_namespace = entry->mount_namespace,
		.root_device = entry->root_device,
		.root_inode = entry->root_inode,
	};
	memcpy(ret_found->peer.bytes, entry->dst, sizeof(entry->dst));
}

bool origin_find(origin_t *origin, uint64_t cookie, const struct part_flow *flow, uint64_t now_ns,
                 uint64_t max_age_ns, struct origin_found *ret_found)
{
	struct origin_entry entry = { 0 };

	if (cookie == 0) {
		return false;
	}
	int at = entry_find(origin, cookie, flow, &entry);
	const struct origin_facts *facts =
		at >= 0 ? facts_of(origin, entry.program_at, entry.program_id) : NULL;
	if (facts == NULL || entry.pid == 0) {
		return false;
	}
	bool first = origin->answered[at] != entry.sequence;
	bool recent = now_ns < entry.time_ns || now_ns - entry.time_ns <= max_age_ns;
	found_set(&entry, facts, ret_found);
	ret_found->same_peer = peer_fits(&entry, flow);
	ret_found->fresh = first && recent && ret_found->same_peer;
	if (ret_found->fresh) {
		origin->answered[at] = entry.sequence;
	}
	return true;
}

bool origin_socket_find(origin_t *origin, uint64_t cookie, uint64_t socket_cookie,
                        struct origin_found *ret_found)
{
	struct origin_place place;

	origin_socket_place(socket_cookie, &place);
	const struct origin_bucket *bucket = &origin->memory.socket_buckets[place.bucket];
	for (uint32_t way = 0; way < ORIGIN_WAYS && socket_cookie != 0; way++) {
		uint32_t i = place.bucket * ORIGIN_WAYS + way;
		struct origin_entry entry;
		if (bucket->tags[way] != place.tag ||
		    !entry_copy(&origin->memory.sockets[i], &entry) ||
		    entry.socket_cookie != socket_cookie || entry.netns_cookie != cookie ||
		    entry.shared != 0 || entry.pid == 0) {
			continue;
		}
		const struct origin_facts *facts =
			facts_of(origin, entry.program_at, entry.program_id);
		if (facts != NULL) {
			found_set(&entry, facts, ret_found);
		}
		return facts != NULL;
	}
	return false;
}
