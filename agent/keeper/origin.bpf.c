/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs in the kernel, in the process that calls connect() or sendto(): notes who it is where the
 * agent can read it. It holds, changes and refuses nothing. Outside watched namespaces it ends
 * after one look.
 *
 * At connect() of a TCP socket its own port is not chosen yet. Programs that run later in
 * connect() are called some ten times a connection, of everybody (sockops), so the note waits
 * under the socket's cookie until the agent asks or the socket closes, and gets the addresses then.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include "agent/keeper/origin_kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "agent/keeper/origin_layout.h"

#define FAMILY_V4  2
#define FAMILY_V6  10
#define PROTO_TCP  6
#define PROTO_UDP  17
#define GIVE_UP_NS 1000000000ULL /* a connect() that failed at once */

/* libbpf maps them into the agent. */
struct origin_entry entries[ORIGIN_ENTRIES];
struct origin_entry sockets[ORIGIN_SOCKETS];
struct origin_bucket buckets[ORIGIN_BUCKETS];
struct origin_bucket socket_buckets[ORIGIN_SOCKET_BUCKETS];
struct origin_bucket entry_buckets[ORIGIN_BUCKETS]; /* of entries, by their sockets */
uint64_t waiting_bits[ORIGIN_WAITING_WORDS];        /* entries that have no addresses yet */
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

#include "agent/keeper/origin_program.bpf.h"

/* -------------------------------------------------------------------------------- connections */

static __always_inline void address_mapped(uint32_t *to, uint32_t v4)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = v4;
}

static __always_inline bool is_mapped(const uint32_t *address)
{
	return address[0] == 0 && address[1] == 0 && address[2] == bpf_htonl(0xffff);
}

static __always_inline void source_read(struct sock_common *socket, struct origin_entry *to,
                                        bool v4)
{
	if (v4) {
		address_mapped((uint32_t *)to->src, BPF_CORE_READ(socket, skc_rcv_saddr));
	} else {
		bpf_core_read(to->src, sizeof(to->src), &socket->skc_v6_rcv_saddr);
	}
}

static __always_inline void destination_read(struct sock_common *socket, struct origin_entry *to,
                                             bool v4)
{
	if (v4) {
		address_mapped((uint32_t *)to->dst, BPF_CORE_READ(socket, skc_daddr));
	} else {
		bpf_core_read(to->dst, sizeof(to->dst), &socket->skc_v6_daddr);
	}
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

static __always_inline void entry_addresses(struct origin_entry *entry,
                                            const struct origin_entry *from)
{
	for (unsigned i = 0; i < sizeof(entry->src) / sizeof(uint64_t); i++) {
		((uint64_t *)entry->src)[i] = ((const uint64_t *)from->src)[i];
		((uint64_t *)entry->dst)[i] = ((const uint64_t *)from->dst)[i];
	}
	entry->src_port = from->src_port;
	entry->dst_port = from->dst_port;
}

/* All but its sequence. */
static __always_inline void entry_copy(struct origin_entry *entry, const struct origin_entry *from)
{
	entry->pid = from->pid;
	for (unsigned i = 1; i < sizeof(*entry) / sizeof(uint64_t); i++) {
		((uint64_t *)entry)[i] = ((const uint64_t *)from)[i];
	}
}

/* The place taken; all but its sequence is written. */
static __always_inline void entry_fill(struct origin_entry *entry, const struct origin_entry *new)
{
	entry_copy(entry, new);
	__sync_fetch_and_add(&entry->sequence, 1);
}

/* By its source alone a packet finds its bucket, for its destination may be translated. */
static __always_inline void flow_write(uint32_t place, const struct origin_entry *new)
{
	const uint32_t *source = (const uint32_t *)new->src;
	const uint32_t *destination = (const uint32_t *)new->dst;
	uint64_t hash = mix(mix(new->netns_cookie, source[3]), new->src_port);
	uint32_t tag = (uint32_t)(mix(mix(hash, destination[3]), new->dst_port) >> 32) | 1;
	struct origin_bucket *bucket = &buckets[hash % ORIGIN_BUCKETS];
	bool own;
	uint32_t way = way_of(bucket, tag, &own) % ORIGIN_WAYS;
	struct origin_entry *old = &entries[bucket->places[way] % ORIGIN_ENTRIES];

	/* Whoever writes this late may have been interrupted. */
	if (!own || old->netns_cookie != new->netns_cookie || old->time_ns < new->time_ns) {
		bucket->places[way] = place;
		bucket->tags[way] = tag;
	}
	__sync_fetch_and_add(&counts.written, 1);
}

static __always_inline uint32_t bucket_of(uint64_t socket_cookie, uint32_t count, uint32_t *ret_tag)
{
	uint64_t hash = mix(0, socket_cookie);

	*ret_tag = (uint32_t)(hash >> 32) | 1;
	return (uint32_t)(hash % count);
}

/* A datagram socket's place; @ret_own: it has been noted there. */
static __always_inline uint32_t socket_place(uint64_t cookie, bool claim, bool *ret_own)
{
	uint32_t tag;
	uint32_t at = bucket_of(cookie, ORIGIN_SOCKET_BUCKETS, &tag);
	bool own;
	uint32_t way = way_of(&socket_buckets[at], tag, &own);
	uint32_t place = (at * ORIGIN_WAYS + way) % ORIGIN_SOCKETS;

	*ret_own = own && sockets[place].socket_cookie == cookie;
	if (claim) {
		socket_buckets[at].tags[way % ORIGIN_WAYS] = tag;
	}
	return place;
}

/* The last entry of a socket. False: there is none. */
static __always_inline bool entry_of(uint64_t cookie, uint32_t *ret_place)
{
	uint32_t tag;
	uint32_t at = bucket_of(cookie, ORIGIN_BUCKETS, &tag);

	for (uint32_t way = 0; way < ORIGIN_WAYS; way++) {
		uint32_t place = (at * ORIGIN_WAYS + way) % ORIGIN_ENTRIES;
		if (entry_buckets[at].tags[way] == tag && entries[place].socket_cookie == cookie) {
			*ret_place = place;
			return true;
		}
	}
	return false;
}

/* A new one; the socket's earlier one stays where its flow finds it. */
static __always_inline uint32_t entry_claim(uint64_t cookie)
{
	uint32_t tag;
	uint32_t at = bucket_of(cookie, ORIGIN_BUCKETS, &tag);
	struct origin_bucket *bucket = &entry_buckets[at];
	uint32_t way = bucket->turn++ % ORIGIN_WAYS;

	for (uint32_t i = 0; i < ORIGIN_WAYS; i++) {
		if (bucket->tags[i] == tag) {
			bucket->tags[i] = 0;
		}
	}
	bucket->tags[way] = tag;
	return (at * ORIGIN_WAYS + way) % ORIGIN_ENTRIES;
}

/* ------------------------------------------------------------------------------------- TCP */

/*
 * The addresses that the socket has by now, or had last. False: none yet, its first packet has not
 * been made. What refused or took back a connection makes the kernel forget where it went, and from
 * which address, but not from which port.
 */
static __always_inline bool connect_read(struct origin_entry *to)
{
	struct tcp_sock *tcp = (void *)to->socket;
	struct inet_sock *inet = &tcp->inet_conn.icsk_inet;
	struct sock_common *common = &inet->sk.__sk_common;
	bool v4 = is_mapped((const uint32_t *)to->dst);

	if (BPF_CORE_READ(tcp, write_seq) == to->memory) {
		return false;
	}
	uint16_t dst_port = bpf_ntohs(BPF_CORE_READ(common, skc_dport));
	to->src_port = BPF_CORE_READ(common, skc_num);
	if (to->src_port == 0) {
		to->src_port = bpf_ntohs(BPF_CORE_READ(inet, inet_sport));
	}
	source_read(common, to, v4);
	if (dst_port != 0) {
		to->dst_port = dst_port;
		destination_read(common, to, v4);
	}
	return true;
}

static __always_inline bool is_waiting(uint32_t place)
{
	return (waiting_bits[place / 64 % ORIGIN_WAITING_WORDS] & 1ULL << place % 64) != 0;
}

static __always_inline void waiting_end(uint32_t place)
{
	__sync_fetch_and_and(&waiting_bits[place / 64 % ORIGIN_WAITING_WORDS],
	                     ~(1ULL << place % 64));
}

static __always_inline void waiting_begin(uint32_t place)
{
	__sync_fetch_and_or(&waiting_bits[place / 64 % ORIGIN_WAITING_WORDS], 1ULL << place % 64);
}

static __always_inline bool socket_is(struct sock_common *socket, uint64_t cookie)
{
	return (uint64_t)BPF_CORE_READ(socket, skc_cookie.counter) == cookie;
}

/*
 * Give a note its addresses. 1: it must wait on; ORIGIN_BUSY more: another one does it just now.
 * Not static: verified once, not at each call.
 */
__noinline int origin_note_settle(uint32_t place, uint32_t over)
{
	struct origin_entry new;
	struct origin_entry *entry = &entries[place % ORIGIN_ENTRIES];
	uint32_t sequence = *(volatile uint32_t *)&entry->sequence;

	entry_copy(&new, entry);
	if ((sequence & 1) != 0 || *(volatile uint32_t *)&entry->sequence != sequence) {
		return 1 + ORIGIN_BUSY;
	}
	struct sock_common *socket = (void *)new.socket;
	bool same = socket_is(socket, new.socket_cookie);
	bool known = same && connect_read(&new);
	/* What has been read may be another socket's by now. */
	same = same && socket_is(socket, new.socket_cookie);
	if (!known && same && over == 0 && bpf_ktime_get_ns() - new.time_ns < GIVE_UP_NS) {
		return 1;
	}
	if (__sync_val_compare_and_swap(&entry->sequence, sequence, sequence + 1) != sequence) {
		return 1 + ORIGIN_BUSY;
	}
	/* Under the lock, for nobody may find it settled, but not written. */
	if (known && same && is_waiting(place)) {
		entry_addresses(entry, &new);
		flow_write(place, &new);
	}
	waiting_end(place);
	__sync_fetch_and_add(&entry->sequence, 1);
	return 0;
}

static __always_inline int connect_note(struct bpf_sock_addr *address, struct origin_entry *new)
{
	struct bpf_sock *socket = address->sk;
	struct tcp_sock *tcp = socket != 0 ? bpf_skc_to_tcp_sock(socket) : 0;
	struct task_struct *task = bpf_get_current_task_btf();
	uint32_t place;

	if (tcp == 0 || !program_find(task, new)) {
		return 1;
	}
	new->proto = PROTO_TCP;
	new->dst_port = bpf_ntohs(address->user_port);
	new->uid = tcp->inet_conn.icsk_inet.sk.sk_uid.val;
	new->memory = tcp->write_seq;
	new->socket = (uint64_t)tcp;
	new->socket_cookie = bpf_get_socket_cookie(address);
	new->time_ns = bpf_ktime_get_ns();
	process_read(task, new);
	if (entry_of(new->socket_cookie, &place) && is_waiting(place)) {
		(void)origin_note_settle(place, 1);
	}
	place = entry_claim(new->socket_cookie);
	if (is_waiting(place)) {
		(void)origin_note_settle(place, 0);
	}
	struct origin_entry *entry = entry_lock(&entries[place]);
	if (entry == 0) {
		__sync_fetch_and_add(&counts.crowded, 1);
		return 1;
	}
	entry_fill(entry, new);
	waiting_begin(place);
	__sync_fetch_and_add(&counts.begun, 1);
	return 1;
}

static const uint8_t bit_numbers[64] = {
	0,  1,  48, 2,  57, 49, 28, 3,  61, 58, 50, 42, 38, 29, 17, 4,  62, 55, 59, 36, 53, 51,
	43, 22, 45, 39, 33, 30, 24, 18, 12, 5,  63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21,
	44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,  13, 8,  7,  6,
};

/* The agent asks for what it waits for. Says how many it has to ask for again. */
__noinline int origin_word_settle(uint32_t word)
{
	uint64_t bits = waiting_bits[word % ORIGIN_WAITING_WORDS];
	int left = 0;

	for (int i = 0; i < 64 && bits != 0; i++) {
		uint64_t lowest = bits & -bits;
		/* Each of the 64 powers of two gives this product six other bits at its top. */
		left += origin_note_settle(
			word * 64 + bit_numbers[(lowest * 0x03f79d71b4cb0a89ULL) >> 58], 0);
		bits ^= lowest;
	}
	return left;
}

SEC("syscall")
int origin_settle_all(void *context)
{
	int left = 0;

	(void)context;
	for (uint32_t i = 0; i < ORIGIN_WAITING_WORDS; i++) {
		if (waiting_bits[i] != 0) {
			left += origin_word_settle(i);
		}
	}
	return left;
}

/* ------------------------------------------------------------------------------------- UDP */

/* Nearly always the process that used the socket last time: then there is nothing to write. */
static __always_inline int socket_note(struct bpf_sock_addr *address, struct origin_entry *new)
{
	struct task_struct *task = bpf_get_current_task_btf();
	bool own;

	new->proto = PROTO_UDP;
	new->socket_cookie = bpf_get_socket_cookie(address);
	process_read(task, new);
	bpf_core_read(&new->memory, sizeof(new->memory), &task->mm);
	uint32_t place = socket_place(new->socket_cookie, true, &own);
	struct origin_entry *entry = &sockets[place];
	bool same = own && entry->pid == new->pid && entry->memory == new->memory;
	if (same || (own && entry->shared != 0)) {
		return 1;
	}
	new->shared = own;
	new->time_ns = bpf_ktime_get_ns();
	if (!program_find(task, new)) {
		return 1;
	}
	entry = entry_lock(entry);
	if (entry != 0) {
		entry_fill(entry, new);
		__sync_fetch_and_add(&counts.written, 1);
	}
	return 1;
}

/* ------------------------------------------------------------------------------------ the hooks */

SEC("cgroup/connect4")
int origin_connect4(struct bpf_sock_addr *address)
{
	uint32_t protocol = address->protocol;
	uint64_t cookie = bpf_get_netns_cookie(address);

	if (!is_watched(cookie) || (protocol != PROTO_TCP && protocol != PROTO_UDP)) {
		return 1;
	}
	struct origin_entry new = { .netns_cookie = cookie };
	if (protocol == PROTO_UDP) {
		return socket_note(address, &new);
	}
	address_mapped((uint32_t *)new.dst, address->user_ip4);
	return connect_note(address, &new);
}

SEC("cgroup/connect6")
int origin_connect6(struct bpf_sock_addr *address)
{
	uint32_t protocol = address->protocol;
	uint64_t cookie = bpf_get_netns_cookie(address);

	if (!is_watched(cookie) || (protocol != PROTO_TCP && protocol != PROTO_UDP)) {
		return 1;
	}
	struct origin_entry new = { .netns_cookie = cookie };
	uint32_t *dst = (uint32_t *)new.dst;
	if (protocol == PROTO_UDP) {
		return socket_note(address, &new);
	}
	dst[0] = address->user_ip6[0];
	dst[1] = address->user_ip6[1];
	dst[2] = address->user_ip6[2];
	dst[3] = address->user_ip6[3];
	return connect_note(address, &new);
}

static __always_inline int send_note(struct bpf_sock_addr *address)
{
	struct origin_entry new = { .netns_cookie = bpf_get_netns_cookie(address) };

	return is_watched(new.netns_cookie) && address->protocol == PROTO_UDP
	               ? socket_note(address, &new)
	               : 1;
}

SEC("cgroup/sendmsg4")
int origin_sendmsg4(struct bpf_sock_addr *address)
{
	return send_note(address);
}

SEC("cgroup/sendmsg6")
int origin_sendmsg6(struct bpf_sock_addr *address)
{
	return send_note(address);
}

/* Not connected: with any destination. False: it never had a port. */
static __always_inline bool datagram_read(struct sock_common *socket, struct origin_entry *to)
{
	bool v4 = BPF_CORE_READ(socket, skc_family) == FAMILY_V4;

	to->src_port = BPF_CORE_READ(socket, skc_num);
	to->dst_port = bpf_ntohs(BPF_CORE_READ(socket, skc_dport));
	destination_read(socket, to, v4);
	v4 = v4 || is_mapped((const uint32_t *)to->dst);
	source_read(socket, to, v4);
	return to->src_port != 0;
}

/*
 * A socket goes; a packet of it may still be looked at. The context of such a program is the
 * kernel's own socket; of its fields the verifier hands out few.
 */
SEC("cgroup/sock_release")
int origin_release(struct bpf_sock *socket)
{
	uint32_t protocol = socket->protocol;
	uint32_t place;
	bool own;

	if ((protocol != PROTO_TCP && protocol != PROTO_UDP) ||
	    !is_watched(bpf_get_netns_cookie(socket))) {
		return 1;
	}
	uint64_t cookie = bpf_get_socket_cookie(socket);
	if (protocol == PROTO_TCP) {
		if (entry_of(cookie, &place) && is_waiting(place)) {
			(void)origin_note_settle(place, 1);
		}
		return 1;
	}
	struct origin_entry *entry = &sockets[socket_place(cookie, false, &own)];
	if (!own || entry->shared != 0) {
		return 1;
	}
	struct origin_entry new = {};
	entry_copy(&new, entry);
	new.uid = BPF_CORE_READ((struct sock *)socket, sk_uid.val);
	if (datagram_read(&((struct sock *)socket)->__sk_common, &new)) {
		new.time_ns = bpf_ktime_get_ns();
		place = entry_claim(cookie);
		if (is_waiting(place)) {
			(void)origin_note_settle(place, 0);
		}
		entry = entry_lock(&entries[place]);
		if (entry != 0) {
			entry_copy(entry, &new);
			flow_write(place, &new);
			__sync_fetch_and_add(&entry->sequence, 1);
			waiting_end(place);
		}
	}
	return 1;
}

#include "agent/keeper/origin_listener.bpf.h"

char _license[] SEC("license") = "GPL";
