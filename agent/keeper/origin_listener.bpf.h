/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Part of origin.bpf.c: which socket would take a flow, and do these processes hold it? Run by the
 * agent when it has to know, over the kernel's own tables of sockets and descriptors. They are read
 * without locks: what does not fit together is no answer, and the agent asks sock_diag and /proc.
 */

#define STATE_LISTEN 10
#define CHAIN_FIRST  (1U << 29) /* LISTENING_NULLS_BASE */
#define CHAIN_MAX    128
#define UNSURE       100 /* more than one */
#define JHASH_FIRST  0xdeadbeefU

/* libbpf maps them into the agent: one question at a time. */
struct origin_question question;
struct origin_answer answer;

static uint64_t taker; /* the socket found; 0: none */

/* --------------------------------------------------------------------- the kernel's own hashes */

static __always_inline uint32_t turned(uint32_t word, unsigned by)
{
	return word << by | word >> (32 - by);
}

/* jhash's last step, and that of one word. */
static __always_inline uint32_t jhash_end(uint32_t a, uint32_t b, uint32_t c)
{
	c = (c ^ b) - turned(b, 14);
	a = (a ^ c) - turned(c, 11);
	b = (b ^ a) - turned(a, 25);
	c = (c ^ b) - turned(b, 16);
	a = (a ^ c) - turned(c, 4);
	b = (b ^ a) - turned(a, 14);
	return (c ^ b) - turned(b, 24);
}

static __always_inline uint32_t jhash_word(uint32_t word, uint32_t first)
{
	uint32_t start = first + JHASH_FIRST + (1 << 2);

	return jhash_end(word + start, start, start);
}

/* One of the six steps that mix three words more. */
static __always_inline void jhash_step(uint32_t *a, uint32_t *b, uint32_t *c, unsigned by)
{
	*a = (*a - *c) ^ turned(*c, by);
	*c += *b;
}

static __always_inline uint32_t jhash_address(const uint32_t *words, uint32_t first)
{
	uint32_t start = first + JHASH_FIRST + (4 << 2);
	uint32_t a = start + words[0];
	uint32_t b = start + words[1];
	uint32_t c = start + words[2];

	jhash_step(&a, &b, &c, 4);
	jhash_step(&b, &c, &a, 6);
	jhash_step(&c, &a, &b, 8);
	jhash_step(&a, &b, &c, 16);
	jhash_step(&b, &c, &a, 19);
	jhash_step(&c, &a, &b, 4);
	return jhash_end(a + words[3], b, c);
}

/* ------------------------------------------------------------------------------------- sockets */

static __always_inline bool words_equal(const uint32_t *a, const uint32_t *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* As the kernel compares it. Bound to the destination, or @any: to no address. */
static __always_inline bool local_fits(struct sock_common *socket, bool any)
{
	const uint32_t *dst = (const uint32_t *)question.dst;
	const uint32_t none[4] = {};
	uint32_t local[4];

	if (question.v4) {
		return BPF_CORE_READ_BITFIELD_PROBED(socket, skc_ipv6only) == 0 &&
		       BPF_CORE_READ(socket, skc_rcv_saddr) == (any ? 0 : dst[3]);
	}
	bpf_core_read(local, sizeof(local), &socket->skc_v6_rcv_saddr);
	return BPF_CORE_READ(socket, skc_family) == FAMILY_V6 &&
	       words_equal(local, any ? none : dst);
}

/* Not connected, or to whom the flow comes from. */
static __always_inline bool peer_fits(struct sock_common *socket)
{
	const uint32_t *src = (const uint32_t *)question.src;
	uint16_t port = bpf_ntohs(BPF_CORE_READ(socket, skc_dport));
	uint32_t peer[4];

	if (port == 0) {
		return true;
	}
	if (question.v4) {
		return port == question.src_port && BPF_CORE_READ(socket, skc_daddr) == src[3];
	}
	bpf_core_read(peer, sizeof(peer), &socket->skc_v6_daddr);
	return port == question.src_port && words_equal(peer, src);
}

/* Of the wanted port in this namespace, and with a wanted cookie the very socket. */
static __always_inline bool is_candidate(struct sock_common *socket, uint64_t net)
{
	return BPF_CORE_READ(socket, skc_num) == question.dst_port &&
	       (uint64_t)BPF_CORE_READ(socket, skc_net.net) == net &&
	       (question.socket_cookie == 0 || socket_is(socket, question.socket_cookie));
}

/* Which of several is chosen, and what a device means, sock_diag knows. */
static __always_inline uint32_t candidate_take(struct sock_common *socket)
{
	bool device = BPF_CORE_READ(socket, skc_bound_dev_if) != 0;

	taker = (uint64_t)socket;
	return question.socket_cookie == 0 && device ? UNSURE : 1;
}

/* How many sockets of one chain accept what the flow begins. */
__noinline int origin_listeners_look(uint64_t net, uint32_t hash, uint32_t any)
{
	struct inet_hashinfo *tables =
		BPF_CORE_READ((struct net *)net, ipv4.tcp_death_row.hashinfo);
	uint32_t slot = hash & BPF_CORE_READ(tables, lhash2_mask);
	struct inet_listen_hashbucket *bucket =
		(void *)BPF_CORE_READ(tables, lhash2) +
		slot * bpf_core_type_size(struct inet_listen_hashbucket);
	struct hlist_nulls_node *node = BPF_CORE_READ(bucket, nulls_head.first);
	uint32_t count = 0;

	for (int i = 0; i < CHAIN_MAX && ((uint64_t)node & 1) == 0; i++) {
		struct sock_common *socket =
			(void *)node - bpf_core_field_offset(struct sock_common, skc_nulls_node);
		if (is_candidate(socket, net) && BPF_CORE_READ(socket, skc_state) == STATE_LISTEN &&
		    local_fits(socket, any != 0)) {
			count += candidate_take(socket);
		}
		node = BPF_CORE_READ(node, next);
	}
	/* A chain ends with its own number: we may have been led into another one. */
	return ((uint64_t)node & 1) != 0 && (uint64_t)node >> 1 == slot + CHAIN_FIRST ? count
	                                                                              : UNSURE;
}

static __always_inline uint32_t listeners_count(uint64_t net)
{
	const uint32_t *dst = (const uint32_t *)question.dst;
	uint32_t mixed = BPF_CORE_READ((struct net *)net, hash_mix);
	uint32_t hash = question.v4 ? jhash_word(dst[3], mixed) : jhash_address(dst, mixed);
	uint32_t count = origin_listeners_look(net, hash ^ question.dst_port, 0);

	return count != 0 ? count
	                  : origin_listeners_look(net, jhash_word(0, mixed) ^ question.dst_port, 1);
}

/* The same of datagram sockets, which are chained by their port. */
__noinline int origin_datagrams_look(uint64_t net)
{
	if (!bpf_core_field_exists(struct netns_ipv4, udp_table)) {
		return UNSURE;
	}
	struct udp_table *table = BPF_CORE_READ((struct net *)net, ipv4.udp_table);
	uint32_t slot = (question.dst_port + BPF_CORE_READ((struct net *)net, hash_mix)) &
	                BPF_CORE_READ(table, mask);
	struct udp_hslot *bucket =
		(void *)BPF_CORE_READ(table, hash) + slot * bpf_core_type_size(struct udp_hslot);
	struct hlist_node *node = BPF_CORE_READ(bucket, head.first);
	uint32_t count = 0;
	int seen = 0;

	for (; seen < CHAIN_MAX && node != 0; seen++) {
		struct sock_common *socket =
			(void *)node - bpf_core_field_offset(struct sock_common, skc_node);
		if (is_candidate(socket, net) && peer_fits(socket) &&
		    (local_fits(socket, false) || local_fits(socket, true))) {
			count += candidate_take(socket);
		}
		node = BPF_CORE_READ(node, next);
	}
	return seen == BPF_CORE_READ(bucket, count) ? count : UNSURE;
}

/* --------------------------------------------------------------------------------- descriptors */

static __always_inline struct file *file_of(struct task_struct *task, int32_t fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file *file = 0;

	if (fd >= 0 && (uint32_t)fd < BPF_CORE_READ(table, max_fds)) {
		(void)bpf_probe_read_kernel(&file, sizeof(file), BPF_CORE_READ(table, fd) + fd);
	}
	return file;
}

/* Descriptors of it in all processes, and whoever uses one at this moment. */
static __always_inline uint64_t references_of(struct file *file)
{
	struct file___since_6_13 *now = (void *)file;
	struct file___before_6_13 *before = (void *)file;

	if (bpf_core_field_exists(now->f_ref)) {
		return BPF_CORE_READ(now, f_ref.refcnt.counter) + 1;
	}
	return BPF_CORE_READ(before, f_count.counter);
}

/* The process whose folder in /proc the agent holds open. NULL: it has ended. */
static __always_inline struct task_struct *task_of(int32_t folder_fd)
{
	struct file *folder = file_of(bpf_get_current_task_btf(), folder_fd);
	struct inode *inode = BPF_CORE_READ(folder, f_inode);
	struct proc_inode *entry =
		(void *)inode - bpf_core_field_offset(struct proc_inode, vfs_inode);
	struct hlist_node *node = BPF_CORE_READ(entry, pid, tasks[0].first);

	return node != 0 ? (void *)node - bpf_core_field_offset(struct task_struct, pid_links) : 0;
}

/* Which of the processes asked about hold the file under the number that is theirs. */
static __always_inline void holders_look(struct file *file)
{
	for (uint32_t i = 0; i < ORIGIN_HOLDERS; i++) {
		if (i >= question.holder_count) {
			break;
		}
		struct task_struct *task = task_of(question.holders[i].folder_fd);
		if (task != 0 && file_of(task, question.holders[i].socket_fd) == file) {
			answer.holders |= 1U << i;
			answer.executed[i] = BPF_CORE_READ(task, self_exec_id);
		}
	}
}

SEC("syscall")
int origin_listener_ask(void *context)
{
	(void)context;
	answer = (struct origin_answer){};
	taker = 0;
	struct file *opened = file_of(bpf_get_current_task_btf(), question.space_fd);
	struct socket *space = BPF_CORE_READ(opened, private_data);
	struct net *net = BPF_CORE_READ(space, sk, __sk_common.skc_net.net);
	if (BPF_CORE_READ(net, net_cookie) != question.netns_cookie) {
		return 0;
	}
	/* A program of somebody else's may choose among listeners. */
	if (BPF_CORE_READ(net, bpf.run_array[1]) != 0) {
		return 0;
	}
	answer.candidates = question.proto == PROTO_TCP ? listeners_count((uint64_t)net)
	                                                : origin_datagrams_look((uint64_t)net);
	struct sock *socket = (void *)taker;
	if (answer.candidates != 1 || socket == 0) {
		return 0;
	}
	struct file *file = BPF_CORE_READ(socket, sk_socket, file);
	if (file == 0) {
		return 0;
	}
	answer.uid = BPF_CORE_READ(socket, sk_uid.val);
	answer.socket_inode = BPF_CORE_READ(file, f_inode, i_ino);
	holders_look(file);
	answer.references = references_of(file);
	if (BPF_CORE_READ(socket, sk_socket, file) == file) {
		answer.socket_cookie = BPF_CORE_READ(socket, __sk_common.skc_cookie.counter);
	}
	return 1;
}
