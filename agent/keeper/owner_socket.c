/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which socket a packet belongs to, asked of the kernel by sock_diag. */
#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/keeper/owner_internal.h"
#include "base/err.h"

#define ANSWER_BYTES    32768
#define STALE_READS_MAX 16
#define DUMP_READS_MAX  256
#define DUMP_WAIT_MS    20

typedef void (*socket_fn)(const struct owner_socket *socket, void *arg);

static bool is_any(const struct pr_addr *address)
{
	static const struct pr_addr any6;
	return pr_addr_equal(address, &any6) ||
	       (pr_addr_is_v4(address) && pr_addr_to_v4(address) == 0);
}

/* ---------------------------------------------------------------------------------- asking */

static bool request_send(int fd, const uint8_t *request, size_t size_bytes)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	return sendto(fd, request, size_bytes, MSG_DONTWAIT, (const struct sockaddr *)&kernel,
	              sizeof(kernel)) == (ssize_t)size_bytes;
}

/* A datagram of the kernel; 0: nothing waits, -errno: failed. */
static ssize_t answer_receive(int fd, uint8_t *answer)
{
	struct sockaddr_nl from = { 0 };
	socklen_t from_bytes = sizeof(from);
	ssize_t got = recvfrom(fd, answer, ANSWER_BYTES, MSG_DONTWAIT, (struct sockaddr *)&from,
	                       &from_bytes);

	if (got < 0) {
		return errno == EAGAIN ? 0 : -errno;
	}
	/* Whoever may write to our port may not answer for the kernel. */
	return from.nl_pid == 0 ? got : -EINTR;
}

/* One exact look-up. The kernel answers before sendto() returns. */
static int ask_one(owner_t *owner, uint32_t slot, struct owner_query *query,
                   struct owner_socket *ret_socket)
{
	uint8_t data[ANSWER_BYTES] __attribute__((aligned(8)));
	int fd = owner->spaces[slot].diag;

	query->sequence = ++owner->sequence;
	size_t size_bytes = owner_diag_write(query, data);
	if (!request_send(fd, data, size_bytes)) {
		owner->counters.owner_diag_errors++;
		return PR_EIO;
	}
	for (int reads = 0; reads < STALE_READS_MAX; reads++) {
		size_t offset = 0;
		ssize_t got = answer_receive(fd, data);
		if (got == 0) {
			break;
		}
		while (got > 0) {
			enum owner_diag_state state = owner_diag_read(data, (size_t)got, &offset,
			                                              query->sequence, ret_socket);
			if (state == OWNER_DIAG_SOCKET) {
				return PR_OK;
			}
			if (state == OWNER_DIAG_NONE) {
				return PR_ENOENT;
			}
			if (state == OWNER_DIAG_END) {
				break;
			}
		}
	}
	owner->counters.owner_diag_errors++;
	return PR_EIO;
}

/* Every socket with a local port. Longer, so it is the way out when the exact look-up fails. */
static void ask_all(owner_t *owner, uint32_t slot, struct owner_query *query, socket_fn fn,
                    void *arg)
{
	uint8_t data[ANSWER_BYTES] __attribute__((aligned(8)));
	int fd = owner->spaces[slot].diag;

	query->dump = true;
	query->sequence = ++owner->sequence;
	size_t size_bytes = owner_diag_write(query, data);
	if (!owner_read_allowed(owner) || !request_send(fd, data, size_bytes)) {
		owner->counters.owner_diag_errors++;
		return;
	}
	for (int reads = 0; reads < DUMP_READS_MAX; reads++) {
		struct owner_socket socket;
		size_t offset = 0;
		ssize_t got = answer_receive(fd, data);
		if (got == 0) {
			struct pollfd wait = { .fd = fd, .events = POLLIN };
			if (poll(&wait, 1, DUMP_WAIT_MS) != 1) {
				break;
			}
			continue;
		}
		while (got > 0) {
			enum owner_diag_state state = owner_diag_read(data, (size_t)got, &offset,
			                                              query->sequence, &socket);
			if (state == OWNER_DIAG_SOCKET) {
				fn(&socket, arg);
			} else if (state == OWNER_DIAG_NONE) {
				return;
			} else if (state == OWNER_DIAG_END) {
				break;
			}
		}
	}
	owner->counters.owner_diag_errors++;
}

/* ---------------------------------------------------------------------------------- sending */

struct sending {
	const struct part_flow *flow;
	struct owner_sockets *sockets;
	bool translated; /* take sockets that wanted another peer */
};

static void sockets_add(struct owner_sockets *sockets, const struct owner_socket *socket)
{
	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->items[i].inode == socket->inode) {
			return;
		}
	}
	if (sockets->count < OWNER_SOCKETS_MAX && socket->inode != 0) {
		sockets->items[sockets->count++] = *socket;
	}
}

static bool local_fits(const struct owner_socket *socket, const struct pr_addr *address,
                       uint16_t port)
{
	return socket->local_port == port &&
	       (is_any(&socket->local) || pr_addr_equal(&socket->local, address));
}

static void sending_take(const struct owner_socket *socket, void *arg)
{
	struct sending *sending = arg;
	const struct part_flow *flow = sending->flow;
	bool connected = socket->remote_port != 0;
	bool same_peer =
		socket->remote_port == flow->dst_port && pr_addr_equal(&socket->remote, &flow->dst);

	if (!local_fits(socket, &flow->src, flow->src_port) ||
	    socket->state == OWNER_STATE_LISTEN || socket->state == TCP_TIME_WAIT) {
		return;
	}
	if (flow->proto == IPPROTO_TCP && !connected) {
		return;
	}
	if (!connected || same_peer || sending->translated) {
		sockets_add(sending->sockets, socket);
	}
}

static void ask_port(owner_t *owner, uint32_t slot, const struct part_flow *flow, bool translated,
                     struct owner_sockets *ret_sockets)
{
	struct sending sending = { .flow = flow, .sockets = ret_sockets, .translated = translated };
	struct owner_query query = { .proto = flow->proto, .local_port = flow->src_port };

	if (pr_addr_is_v4(&flow->src)) {
		ask_all(owner, slot, &query, sending_take, &sending);
	}
	query.v6 = true; /* those that take both families, too */
	ask_all(owner, slot, &query, sending_take, &sending);
}

/* The way a flow's own socket sees it. */
static struct owner_query query_of(const struct part_flow *flow, bool sending)
{
	return (struct owner_query){
		.proto = flow->proto,
		.local = sending ? flow->src : flow->dst,
		.remote = sending ? flow->dst : flow->src,
		.local_port = sending ? flow->src_port : flow->dst_port,
		.remote_port = sending ? flow->dst_port : flow->src_port,
		.interface = flow->interface,
	};
}

/*
 * A socket with the packet's source but another peer: translated on its way out, or the sender has
 * gone and another connection uses its port. What we know to be translated on its way out is a
 * connection to an address of this very host (a published port); several such say nothing. For a
 * copy the gate has asked the connection table, which is certain, and cheaper than this.
 */
static void translated_check(owner_t *owner, uint32_t slot, struct owner_sockets *sockets)
{
	if (sockets->count == 0) {
		return;
	}
	const struct owner_socket *socket = &sockets->items[0];
	bool waits = socket->state == TCP_SYN_SENT || sockets->proto != IPPROTO_TCP;
	sockets->translated = sockets->count == 1 && socket->remote_port != 0 && waits &&
	                      owner_address_local(owner, slot, &socket->remote);
	if (!sockets->translated) {
		sockets->count = 0;
	}
}

void owner_sockets_sending(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                           struct owner_sockets *ret_sockets)
{
	struct owner_query query = query_of(flow, true);
	struct owner_socket socket;

	*ret_sockets = (struct owner_sockets){ .proto = flow->proto };
	int error = ask_one(owner, slot, &query, &socket);
	if (error == PR_OK && socket.remote_port == flow->dst_port &&
	    pr_addr_equal(&socket.remote, &flow->dst)) {
		sockets_add(ret_sockets, &socket);
		ret_sockets->gone = socket.inode == 0;
		return;
	}
	if (flow->proto != IPPROTO_TCP) {
		/* Unconnected: several sockets may share the port, any of them may have sent. */
		ask_port(owner, slot, flow, false, ret_sockets);
	}
	if (ret_sockets->count == 0 && flow->held) {
		ask_port(owner, slot, flow, true, ret_sockets);
		translated_check(owner, slot, ret_sockets);
	}
}

/* -------------------------------------------------------------------------------- receiving */

void owner_sockets_receiving(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                             struct owner_sockets *ret_sockets)
{
	struct owner_query query = query_of(flow, false);
	struct owner_socket socket;

	*ret_sockets = (struct owner_sockets){ .proto = flow->proto };
	int error = ask_one(owner, slot, &query, &socket);
	if (flow->live && error == PR_OK && socket.remote_port == flow->src_port &&
	    pr_addr_equal(&socket.remote, &flow->src)) {
		/* Taken already. Until then (no inode) it is still its listener's. */
		sockets_add(ret_sockets, &socket);
		ret_sockets->gone = socket.inode == 0;
		if (!ret_sockets->gone) {
			return;
		}
	}
	if (flow->proto == IPPROTO_TCP && (error != PR_OK || socket.state != OWNER_STATE_LISTEN)) {
		/* An old connection from the same port answered: whoever listens takes the new. */
		query.remote =
			pr_addr_is_v4(&flow->dst) ? pr_addr_from_v4(0) : (struct pr_addr){ 0 };
		query.remote_port = 0;
		error = ask_one(owner, slot, &query, &socket);
		if (error == PR_OK && socket.state != OWNER_STATE_LISTEN) {
			error = PR_ENOENT;
		}
	}
	if (error == PR_OK && socket.local_port == flow->dst_port) {
		sockets_add(ret_sockets, &socket);
	}
}

bool owner_socket_alive(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                        const struct owner_socket *socket)
{
	struct owner_query query = {
		.proto = flow->proto,
		.local = is_any(&socket->local) ? (flow->outbound ? flow->src : flow->dst)
		                                : socket->local,
		.remote = socket->remote,
		.local_port = socket->local_port,
		.remote_port = socket->remote_port,
		.interface = flow->interface,
	};
	struct owner_socket now;

	/* Both of one family, as the look-up wants them. */
	if (pr_addr_is_v4(&query.local) != pr_addr_is_v4(&query.remote)) {
		query.remote =
			pr_addr_is_v4(&query.local) ? pr_addr_from_v4(0) : (struct pr_addr){ 0 };
	}
	return ask_one(owner, slot, &query, &now) == PR_OK && now.inode == socket->inode;
}

/* -------------------------------------------------------------------------------- begun */

struct begun {
	void (*fn)(const struct part_flow *flow, void *arg);
	void *arg;
};

static void begun_take(const struct owner_socket *socket, void *arg)
{
	const struct begun *begun = arg;
	const struct part_flow flow = {
		.proto = IPPROTO_TCP,
		.outbound = true,
		.live = true,
		.src = socket->local,
		.dst = socket->remote,
		.src_port = socket->local_port,
		.dst_port = socket->remote_port,
	};

	if (socket->state == TCP_SYN_SENT && !pr_addr_is_loopback(&flow.dst) &&
	    !pr_addr_equal(&flow.src, &flow.dst)) {
		begun->fn(&flow, begun->arg);
	}
}

void owner_begun(owner_t *owner, uint32_t slot, void (*fn)(const struct part_flow *flow, void *arg),
                 void *arg)
{
	struct begun begun = { fn, arg };
	struct owner_query query = { .proto = IPPROTO_TCP };

	if (slot >= PART_NAMESPACE_MAX || !owner->spaces[slot].used) {
		return;
	}
	ask_all(owner, slot, &query, begun_take, &begun);
	query.v6 = true;
	ask_all(owner, slot, &query, begun_take, &begun);
}
