/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs in the kernel, in the process that calls connect(), once its socket has both addresses and
 * before the first packet is made: notes who it is where the agent can read it. It holds, changes
 * and refuses nothing. Outside watched namespaces it ends after one look.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include "agent/keeper/origin_kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "agent/keeper/origin_layout.h"

#define FAMILY_V4    2
#define FAMILY_V6    10
#define PROTO_TCP    6
#define PROTO_UDP    17
#define DEVICE_MINOR 20 /* bits, inside the kernel */

/* libbpf maps them into the agent. */
struct origin_entry entries[ORIGIN_ENTRIES];
struct origin_entry sockets[ORIGIN_SOCKETS];
struct origin_bucket buckets[ORIGIN_BUCKETS];
struct origin_bucket socket_buckets[ORIGIN_SOCKET_BUCKETS];
struct origin_program programs[ORIGIN_PROGRAMS];
uint64_t watched[ORIGIN_WATCHED]; /* cookies of namespaces; 0: free */
struct origin_counts counts;

static __always_inline bool is_watched(uint64_t cookie)
{
	for (int i = 0; i < ORIGIN_WATCHED_TRIES; i++) {
		if (watched[(cookie + i) % ORIGIN_WATCHED] == cookie) {
			return true;
		}
	}
	return false;
}

static __always_inline uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ (hash >> 29);
}

/* ------------------------------------------------------------------- the executable, once each */

struct key {
	uint64_t inode, changed_ns, mount, group_id[ORIGIN_GROUPS];
	uint32_t device;
};

/* Typed pointers are followed by plain loads; a helper's call for each would take longer than the
 * rest. */
static __always_inline uint64_t inode_changed_ns(struct inode *inode)
{
	struct inode___since_6_11 *now = (void *)inode;
	struct inode___since_6_6 *middle = (void *)inode;
	struct inode___before_6_6 *before = (void *)inode;

	if (bpf_core_field_exists(now->i_ctime_sec)) {
		return (uint64_t)now->i_ctime_sec * 1000000000ULL + now->i_ctime_nsec;
	}
	if (bpf_core_field_exists(middle->__i_ctime)) {
		return (uint64_t)middle->__i_ctime.tv_sec * 1000000000ULL +
		       (uint64_t)middle->__i_ctime.tv_nsec;
	}
	return (uint64_t)before->i_ctime.tv_sec * 1000000000ULL + (uint64_t)before->i_ctime.tv_nsec;
}

/* With the old hierarchies any controller's group says it; engines use all of them. */
static __always_inline struct kernfs_node *group_of(struct task_struct *task, int which)
{
	struct css_set *set = task->cgroups;

	if (which != 0) {
		return set->dfl_cgrp->kn;
	}
	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		return 0;
	}
	struct cgroup_subsys_state *state =
		*(struct cgroup_subsys_state **)((void *)&set->subsys +
	                                         bpf_core_enum_value(enum cgroup_subsys_id,
	                                                             pids_cgrp_id) *
	                                                 sizeof(state));
	return state != 0 ? state->cgroup->kn : 0;
}

static __always_inline bool key_read(struct task_struct *task, struct key *key)
{
	struct mm_struct *mm = task->mm;
	struct file *file = mm != 0 ? mm->exe_file : 0;

	if (file == 0) {
		return false; /* a thread of the kernel */
	}
	struct inode *inode = file->f_inode;
	key->inode = inode->i_ino;
	key->device = inode->i_sb->s_dev;
	key->changed_ns = inode_changed_ns(inode);
	/* Only a number here, which a typed pointer may not become. */
	bpf_core_read(&key->mount, sizeof(key->mount), &file->f_path.mnt);
	for (int i = 0; i < ORIGIN_GROUPS; i++) {
		struct kernfs_node *group = group_of(task, i);
		key->group_id[i] = group != 0 ? group->id : 0;
	}
	return true;
}

static __always_inline bool key_is(const struct origin_program *program, const struct key *key)
{
	return program->inode == key->inode && program->device == key->device &&
	       program->changed_ns == key->changed_ns && program->mount == key->mount &&
	       program->group_id[0] == key->group_id[0] && program->group_id[1] == key->group_id[1];
}

static __always_inline bool is_root(struct dentry *dentry)
{
	return dentry == BPF_CORE_READ(dentry, d_parent);
}

/* As d_path() goes: from the file upwards, over mount points, to the top of its mount tree. */
static __noinline int path_write(struct origin_program *program, struct file *file)
{
	if (program == 0) {
		return 0;
	}
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct vfsmount *seen = BPF_CORE_READ(file, f_path.mnt);
	struct mount *mount = (void *)seen - bpf_core_field_offset(struct mount, mnt);
	uint32_t at = 0;

	program->deleted = BPF_CORE_READ(dentry, d_hash.pprev) == 0 && !is_root(dentry);
	program->partial = 1;
	for (int depth = 0; depth < ORIGIN_PATH_DEPTH; depth++) {
		if (dentry == BPF_CORE_READ(mount, mnt.mnt_root) || is_root(dentry)) {
			struct mount *parent = BPF_CORE_READ(mount, mnt_parent);
			if (parent == mount || parent == 0) {
				program->partial = 0;
				break;
			}
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = parent;
			continue;
		}
		if (at >= ORIGIN_PATH_BYTES) {
			break;
		}
		long got = bpf_probe_read_kernel_str(&program->path[at & (ORIGIN_PATH_BYTES - 1)],
		                                     ORIGIN_NAME_BYTES,
		                                     BPF_CORE_READ(dentry, d_name.name));
		if (got <= 1) {
			break;
		}
		at += got;
		dentry = BPF_CORE_READ(dentry, d_parent);
	}
	program->path_bytes = at;
	return 0;
}

static __always_inline struct kernfs_node *group_parent(struct kernfs_node *node)
{
	struct kernfs_node___since_6_15 *now = (void *)node;
	struct kernfs_node___before_6_15 *before = (void *)node;

	if (bpf_core_field_exists(now->__parent)) {
		return BPF_CORE_READ(now, __parent);
	}
	return BPF_CORE_READ(before, parent);
}

static __noinline int group_write(struct origin_program *program, struct kernfs_node *node,
                                  int which)
{
	uint32_t at = 0;
	uint8_t partial = 1;

	if (program == 0) {
		return 0;
	}
	for (int depth = 0; depth < ORIGIN_GROUP_DEPTH && node != 0; depth++) {
		if (at >= ORIGIN_GROUP_BYTES) {
			break;
		}
		char *to =
			&program->group[which & (ORIGIN_GROUPS - 1)][at & (ORIGIN_GROUP_BYTES - 1)];
		long got =
			bpf_probe_read_kernel_str(to, ORIGIN_NAME_BYTES, BPF_CORE_READ(node, name));
		if (got <= 1) {
			partial = 0; /* the top has no name */
			break;
		}
		at += got;
		node = group_parent(node);
	}
	program->group_partial[which & (ORIGIN_GROUPS - 1)] = partial;
	program->group_bytes[which & (ORIGIN_GROUPS - 1)] = at;
	return 0;
}

static __always_inline struct origin_program *program_claim(uint64_t hash, uint32_t *ret_at)
{
	uint32_t chosen = hash % ORIGIN_PROGRAMS;
	uint64_t oldest = ~0ULL;

	for (int i = 0; i < ORIGIN_PROGRAM_WAYS; i++) {
		uint32_t at = (hash + i) % ORIGIN_PROGRAMS;
		if (programs[at].time_ns < oldest) {
			oldest = programs[at].time_ns;
			chosen = at;
		}
	}
	struct origin_program *program = &programs[chosen % ORIGIN_PROGRAMS];
	uint32_t sequence = program->sequence;
	if ((sequence & 1) != 0 ||
	    __sync_val_compare_and_swap(&program->sequence, sequence, sequence + 1) != sequence) {
		return 0;
	}
	*ret_at = chosen;
	return program;
}

/* The place of the task's executable; it is written if it has none. False: it has no place now. */
static __always_inline bool program_find(struct task_struct *task, struct origin_entry *to)
{
	struct key key = {};

	if (!key_read(task, &key)) {
		return false;
	}
	uint64_t hash = mix(mix(mix(key.inode, key.mount), key.group_id[0]), key.group_id[1]);
	for (int i = 0; i < ORIGIN_PROGRAM_WAYS; i++) {
		uint32_t at = (hash + i) % ORIGIN_PROGRAMS;
		struct origin_program *program = &programs[at];
		uint32_t sequence = *(volatile uint32_t *)&program->sequence;
		uint64_t id = *(volatile uint64_t *)&program->id;
		if ((sequence & 1) == 0 && id != 0 && key_is(program, &key) &&
		    *(volatile uint32_t *)&program->sequence == sequence) {
			to->program_at = at;
			to->program_id = id;
			return true;
		}
	}
	struct origin_program *program = program_claim(hash, &to->program_at);
	if (program == 0) {
		return false;
	}
	program->id = __sync_fetch_and_add(&counts.programs, 1) + 1;
	program->inode = key.inode;
	program->device = key.device;
	program->changed_ns = key.changed_ns;
	program->mount = key.mount;
	program->time_ns = bpf_ktime_get_ns();
	path_write(program, task->mm->exe_file);
	for (int i = 0; i < ORIGIN_GROUPS; i++) {
		program->group_id[i] = key.group_id[i];
		group_write(program, group_of(task, i), i);
	}
	to->program_id = program->id;
	__sync_fetch_and_add(&program->sequence, 1);
	return true;
}

/* -------------------------------------------------------------------------------- connections */

static __always_inline void address_mapped(uint32_t *to, uint32_t v4)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = v4;
}

/*
 * False: neither IPv4 nor IPv6. Fields are read before anything branches: the verifier takes no
 * pointer into the context that the compiler has chosen.
 */
static __always_inline bool tuple_read(struct bpf_sock_ops *ops, struct origin_entry *to)
{
	uint32_t *src = (uint32_t *)to->src;
	uint32_t *dst = (uint32_t *)to->dst;
	uint32_t family = ops->family;
	uint32_t local_v4 = ops->local_ip4;
	uint32_t remote_v4 = ops->remote_ip4;

	barrier_var(local_v4);
	barrier_var(remote_v4);
	to->src_port = ops->local_port;
	to->dst_port = bpf_ntohl(ops->remote_port);
	if (family == FAMILY_V4) {
		address_mapped(src, local_v4);
		address_mapped(dst, remote_v4);
		return true;
	}
	if (family != FAMILY_V6) {
		return false;
	}
	dst[0] = ops->remote_ip6[0];
	dst[1] = ops->remote_ip6[1];
	dst[2] = ops->remote_ip6[2];
	dst[3] = ops->remote_ip6[3];
	src[0] = ops->local_ip6[0];
	src[1] = ops->local_ip6[1];
	src[2] = ops->local_ip6[2];
	src[3] = ops->local_ip6[3];
	if (dst[0] == 0 && dst[1] == 0 && dst[2] == bpf_htonl(0xffff)) {
		address_mapped(src, local_v4);
	}
	return true;
}

static __always_inline void process_read(struct task_struct *task, struct origin_entry *to)
{
	struct dentry *root = task->fs != 0 ? task->fs->root.dentry : 0;

	to->pid = task->tgid;
	to->start_boot_ns = task->group_leader->start_boottime;
	if (task->nsproxy != 0) {
		to->mount_namespace = task->nsproxy->mnt_ns->ns.inum;
	}
	if (root != 0) {
		to->root_inode = root->d_inode->i_ino;
		to->root_device = root->d_inode->i_sb->s_dev;
	}
}

/* The way of a tag, else the next one in turn, which is its own from now on. */
static __always_inline uint32_t way_of(struct origin_bucket *bucket, uint32_t tag, bool *ret_own)
{
	*ret_own = true;
	for (uint32_t i = 0; i < ORIGIN_WAYS; i++) {
		if (bucket->tags[i] == tag) {
			return i;
		}
	}
	*ret_own = false;
	return bucket->turn++ % ORIGIN_WAYS;
}

/* Take a place for writing. NULL: somebody else writes there. */
static __always_inline struct origin_entry *entry_lock(struct origin_entry *entry)
{
	uint32_t sequence = entry->sequence;

	return (sequence & 1) == 0 && __sync_val_compare_and_swap(&entry->sequence, sequence,
	                                                          sequence + 1) == sequence
	               ? entry
	               : 0;
}

/* The place taken; all but its sequence is written. */
static __always_inline void entry_fill(struct origin_entry *entry, const struct origin_entry *new)
{
	uint64_t *to = (uint64_t *)entry;
	const uint64_t *from = (const uint64_t *)new;

	entry->pid = new->pid;
	for (unsigned i = 1; i < sizeof(*entry) / sizeof(*to); i++) {
		to[i] = from[i];
	}
	__sync_fetch_and_add(&entry->sequence, 1);
	__sync_fetch_and_add(&counts.written, 1);
}

/* By its source alone a packet finds its bucket, for its destination may be translated. */
static __always_inline void flow_write(const struct origin_entry *new)
{
	const uint32_t *source = (const uint32_t *)new->src;
	const uint32_t *destination = (const uint32_t *)new->dst;
	uint64_t hash = mix(mix(new->netns_cookie, source[3]), new->src_port);
	uint32_t tag = (uint32_t)(mix(mix(hash, destination[3]), new->dst_port) >> 32) | 1;
	uint32_t at = (uint32_t)(hash % ORIGIN_BUCKETS);
	bool own;
	uint32_t way = way_of(&buckets[at], tag, &own);
	struct origin_entry *entry =
		entry_lock(&entries[(at * ORIGIN_WAYS + way) % ORIGIN_ENTRIES]);

	if (entry == 0) {
		__sync_fetch_and_add(&counts.crowded, 1);
		return;
	}
	buckets[at].tags[way % ORIGIN_WAYS] = tag;
	entry_fill(entry, new);
}

/* A datagram socket's place; @ret_own: it has been noted there. */
static __always_inline struct origin_entry *socket_place(uint64_t cookie, bool claim, bool *ret_own)
{
	uint64_t hash = mix(0, cookie);
	uint32_t tag = (uint32_t)(hash >> 32) | 1;
	uint32_t at = (uint32_t)(hash % ORIGIN_SOCKET_BUCKETS);
	bool own;
	uint32_t way = way_of(&socket_buckets[at], tag, &own);
	struct origin_entry *entry = &sockets[(at * ORIGIN_WAYS + way) % ORIGIN_SOCKETS];

	*ret_own = own && entry->socket_cookie == cookie;
	if (claim) {
		socket_buckets[at].tags[way % ORIGIN_WAYS] = tag;
	}
	return entry;
}

/* ------------------------------------------------------------------------------------- TCP */

/* A function of its own: the kernel calls some ten times for a connection, nine times in vain. */
static __noinline int connect_note(struct bpf_sock_ops *ops)
{
	struct origin_entry new = { .proto = PROTO_TCP };

	new.netns_cookie = bpf_get_netns_cookie(ops);
	if (!is_watched(new.netns_cookie) || !tuple_read(ops, &new)) {
		return 1;
	}
	struct bpf_sock *socket = ops->sk;
	struct tcp_sock *tcp = socket != 0 ? bpf_skc_to_tcp_sock(socket) : 0;
	struct task_struct *task = bpf_get_current_task_btf();
	if (tcp == 0 || !program_find(task, &new)) {
		return 1;
	}
	new.uid = tcp->inet_conn.icsk_inet.sk.sk_uid.val;
	new.socket_cookie = bpf_get_socket_cookie(ops);
	new.time_ns = bpf_ktime_get_ns();
	process_read(task, &new);
	flow_write(&new);
	return 1;
}

SEC("sockops")
int origin_connect(struct bpf_sock_ops *ops)
{
	return ops->op == BPF_SOCK_OPS_TCP_CONNECT_CB ? connect_note(ops) : 1;
}

/* ------------------------------------------------------------------------------------- UDP */

/*
 * As tuple_read(), of a socket that closes. The context of such a program is the kernel's own
 * socket; of its fields the verifier hands out few.
 */
static __always_inline bool release_tuple(struct bpf_sock *context, struct origin_entry *to)
{
	struct sock_common *socket = &((struct sock *)context)->__sk_common;
	uint32_t *src = (uint32_t *)to->src;
	uint32_t *dst = (uint32_t *)to->dst;
	uint16_t family = BPF_CORE_READ(socket, skc_family);

	to->src_port = BPF_CORE_READ(socket, skc_num);
	to->dst_port = bpf_ntohs(BPF_CORE_READ(socket, skc_dport));
	bpf_core_read(src, sizeof(to->src), &socket->skc_v6_rcv_saddr);
	bpf_core_read(dst, sizeof(to->dst), &socket->skc_v6_daddr);
	if (family == FAMILY_V4 || (dst[0] == 0 && dst[1] == 0 && dst[2] == bpf_htonl(0xffff))) {
		address_mapped(src, BPF_CORE_READ(socket, skc_rcv_saddr));
		address_mapped(dst, BPF_CORE_READ(socket, skc_daddr));
	}
	return to->src_port != 0 && (family == FAMILY_V4 || family == FAMILY_V6);
}

/* Nearly always the process that used the socket last time: then there is nothing to write. */
static __always_inline int socket_note(struct bpf_sock_addr *address)
{
	struct origin_entry new = { .proto = PROTO_UDP };
	bool own;

	if (address->protocol != PROTO_UDP) {
		return 1;
	}
	new.netns_cookie = bpf_get_netns_cookie(address);
	if (!is_watched(new.netns_cookie)) {
		return 1;
	}
	struct task_struct *task = bpf_get_current_task_btf();
	new.socket_cookie = bpf_get_socket_cookie(address);
	process_read(task, &new);
	bpf_core_read(&new.memory, sizeof(new.memory), &task->mm);
	struct origin_entry *entry = socket_place(new.socket_cookie, true, &own);
	bool same = own && entry->pid == new.pid && entry->memory == new.memory;
	if (same || (own && entry->shared != 0)) {
		return 1;
	}
	new.shared = own;
	new.time_ns = bpf_ktime_get_ns();
	if (!program_find(task, &new)) {
		return 1;
	}
	entry = entry_lock(entry);
	if (entry != 0) {
		entry_fill(entry, &new);
	}
	return 1;
}

SEC("cgroup/connect4")
int origin_connect4(struct bpf_sock_addr *address)
{
	return socket_note(address);
}

SEC("cgroup/connect6")
int origin_connect6(struct bpf_sock_addr *address)
{
	return socket_note(address);
}

SEC("cgroup/sendmsg4")
int origin_sendmsg4(struct bpf_sock_addr *address)
{
	return socket_note(address);
}

SEC("cgroup/sendmsg6")
int origin_sendmsg6(struct bpf_sock_addr *address)
{
	return socket_note(address);
}

/* A socket goes; a packet of it may still be looked at. Not connected: with any destination. */
SEC("cgroup/sock_release")
int origin_release(struct bpf_sock *socket)
{
	struct origin_entry new = {};
	bool own;

	if (socket->protocol != PROTO_UDP) {
		return 1;
	}
	uint64_t netns_cookie = bpf_get_netns_cookie(socket);
	if (!is_watched(netns_cookie)) {
		return 1;
	}
	struct origin_entry *entry = socket_place(bpf_get_socket_cookie(socket), false, &own);
	if (!own || entry->shared != 0) {
		return 1;
	}
	for (unsigned i = 1; i < sizeof(new) / sizeof(uint64_t); i++) {
		((uint64_t *)&new)[i] = ((const uint64_t *)entry)[i];
	}
	new.pid = entry->pid;
	new.uid = BPF_CORE_READ((struct sock *)socket, sk_uid.val);
	if (release_tuple(socket, &new)) {
		new.time_ns = bpf_ktime_get_ns();
		flow_write(&new);
	}
	return 1;
}

char _license[] SEC("license") = "GPL";
