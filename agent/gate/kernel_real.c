/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/gate/kernel.h"
#include "agent/gate/translation.h"
#include "base/clock.h"
#include "base/err.h"

#define STALE_ANSWERS_MAX 16 /* of earlier look-ups, read away before giving up */
#define PLACE_NONE        UINT64_MAX
#define GUESSES           16
#define SLOT_NONE         UINT32_MAX

struct space {
	bool used;
	struct part_descriptors descriptors;
};

struct gate_kernel_real {
	int epoll;
	uint64_t place;   /* that epoll named last */
	unsigned guesses; /* times that it may be tried without asking */
	uint32_t host_slot;
	uint32_t sequence;
	struct space spaces[PART_NAMESPACE_MAX];
	struct mmsghdr messages[GATE_RECEIVE_MAX];
	struct iovec vectors[GATE_RECEIVE_MAX];
	struct sockaddr_nl senders[GATE_RECEIVE_MAX];
	uint8_t buffers[GATE_RECEIVE_MAX][GATE_DATAGRAM_MAX_BYTES];
};

static uint64_t now_ns(void *context)
{
	(void)context;
	return pr_clock_monotonic_ns();
}

static uint64_t wall_ns(void *context)
{
	(void)context;
	return pr_clock_wall_ns();
}

static int epoll_of(void *context)
{
	const gate_kernel_real_t *kernel = context;
	return kernel->epoll;
}

/* ------------------------------------------------------------------------------- attaching */

static int watch(gate_kernel_real_t *kernel, int fd, uint32_t slot, enum gate_source source)
{
	struct epoll_event event = { .events = EPOLLIN,
		                     .data.u64 = ((uint64_t)slot << 1) | (unsigned)source };
	if (fd < 0) {
		return PR_OK;
	}
	return epoll_ctl(kernel->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? PR_OK : -errno;
}

static void guess_forget(gate_kernel_real_t *kernel)
{
	kernel->place = PLACE_NONE;
	kernel->guesses = 0;
}

/* A new descriptor takes the place of the old; none keeps it. */
static void replace(int *fd_p, int fd)
{
	if (fd >= 0) {
		pr_fd_close(fd_p);
		*fd_p = fd;
	}
}

static void detach(void *context, uint32_t slot)
{
	gate_kernel_real_t *kernel = context;
	struct space *space = &kernel->spaces[slot];

	if (!space->used) {
		return;
	}
	pr_fd_close(&space->descriptors.queue);
	pr_fd_close(&space->descriptors.log);
	pr_fd_close(&space->descriptors.diag);
	pr_fd_close(&space->descriptors.conntrack);
	space->used = false;
	guess_forget(kernel);
	if (kernel->host_slot == slot) {
		kernel->host_slot = SLOT_NONE;
	}
}

static int attach(void *context, const struct part_namespace *added)
{
	gate_kernel_real_t *kernel = context;
	struct space *space = &kernel->spaces[added->slot];

	guess_forget(kernel);
	if (!space->used) {
		space->used = true;
		space->descriptors = (struct part_descriptors){
			.queue = -1, .log = -1, .diag = -1, .conntrack = -1
		};
	}
	replace(&space->descriptors.queue, added->descriptors.queue);
	replace(&space->descriptors.log, added->descriptors.log);
	replace(&space->descriptors.diag, added->descriptors.diag);
	replace(&space->descriptors.conntrack, added->descriptors.conntrack);
	if (added->is_host) {
		kernel->host_slot = added->slot;
	}
	int error = watch(kernel, added->descriptors.queue, added->slot, GATE_SOURCE_QUEUE);
	if (error == PR_OK) {
		error = watch(kernel, added->descriptors.log, added->slot, GATE_SOURCE_LOG);
	}
	if (error != PR_OK) {
		detach(kernel, added->slot);
	}
	return error;
}

/* ------------------------------------------------------------------------ packets, verdicts */

static size_t failed(struct gate_datagram *datagram)
{
	if (errno == EAGAIN || errno == EINTR) {
		return 0;
	}
	datagram->state = errno == ENOBUFS ? GATE_DATAGRAM_OVERRUN : GATE_DATAGRAM_FAILED;
	return 1;
}

/* Read from one descriptor; 0: nothing waits there. */
static size_t receive_from(gate_kernel_real_t *kernel, uint64_t place,
                           struct gate_datagram *datagrams, size_t capacity)
{
	uint32_t slot = (uint32_t)(place >> 1);
	enum gate_source source = (place & 1) != 0 ? GATE_SOURCE_LOG : GATE_SOURCE_QUEUE;
	const struct part_descriptors *descriptors = &kernel->spaces[slot].descriptors;
	int fd = source == GATE_SOURCE_QUEUE ? descriptors->queue : descriptors->log;

	for (size_t i = 0; i < GATE_RECEIVE_MAX; i++) {
		kernel->messages[i].msg_hdr.msg_namelen = sizeof(kernel->senders[i]);
	}
	if (capacity > GATE_RECEIVE_MAX) {
		capacity = GATE_RECEIVE_MAX;
	}
	datagrams[0] = (struct gate_datagram){ .slot = slot, .source = source };
	int count = recvmmsg(fd, kernel->messages, (unsigned int)capacity, MSG_DONTWAIT, NULL);
	if (count < 0) {
		return failed(&datagrams[0]);
	}
	for (int i = 0; i < count; i++) {
		bool cut = (kernel->messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
		datagrams[i] = (struct gate_datagram){
			.slot = slot,
			.source = source,
			.state = kernel->senders[i].nl_pid != 0 ? GATE_DATAGRAM_FOREIGN
			         : cut                          ? GATE_DATAGRAM_CUT
			                                        : GATE_DATAGRAM_WHOLE,
			.data = kernel->buffers[i],
			.size_bytes = kernel->messages[i].msg_len,
		};
	}
	return (size_t)count;
}

/*
 * Ready descriptors take turns: epoll puts the one it named at the end of its list. One that it has
 * named twice running is tried some times without asking: a system call less for each packet.
 */
static size_t receive(void *context, struct gate_datagram *datagrams, size_t capacity)
{
	gate_kernel_real_t *kernel = context;
	struct epoll_event event;

	if (kernel->guesses > 0) {
		kernel->guesses--;
		size_t count = receive_from(kernel, kernel->place, datagrams, capacity);
		if (count > 0) {
			return count;
		}
		guess_forget(kernel);
	}
	if (epoll_wait(kernel->epoll, &event, 1, 0) != 1) {
		return 0;
	}
	kernel->guesses = event.data.u64 == kernel->place ? GUESSES : 0;
	kernel->place = event.data.u64;
	return receive_from(kernel, event.data.u64, datagrams, capacity);
}

static int send_bytes(int fd, const uint8_t *data, size_t size_bytes)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	ssize_t sent;

	do {
		sent = sendto(fd, data, size_bytes, 0, (const struct sockaddr *)&to, sizeof(to));
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : PR_OK;
}

static int send_verdicts(void *context, uint32_t slot, const uint8_t *data, size_t size_bytes)
{
	const gate_kernel_real_t *kernel = context;
	int fd = kernel->spaces[slot].descriptors.queue;

	return fd < 0 ? PR_ENOENT : send_bytes(fd, data, size_bytes);
}

/* ------------------------------------------------------------------------------ translation */

static int entry_find(gate_kernel_real_t *kernel, const struct part_flow *flow, bool sent,
                      struct translation_entry *ret_entry)
{
	uint8_t request[TRANSLATION_REQUEST_MAX_BYTES];
	uint8_t answer[GATE_DATAGRAM_MAX_BYTES];

	int fd = kernel->host_slot == SLOT_NONE
	                 ? -1
	                 : kernel->spaces[kernel->host_slot].descriptors.conntrack;
	uint32_t sequence = ++kernel->sequence;
	size_t size_bytes = translation_request_write(flow, sent, sequence, request);
	if (fd < 0 || size_bytes == 0) {
		return PR_ENOENT;
	}
	int error = send_bytes(fd, request, size_bytes);
	if (error != PR_OK) {
		return error;
	}
	/* The kernel has answered before sendto() came back. */
	for (int reads = 0; reads < STALE_ANSWERS_MAX; reads++) {
		struct sockaddr_nl from = { 0 };
		socklen_t from_bytes = sizeof(from);
		ssize_t got = recvfrom(fd, answer, sizeof(answer), MSG_DONTWAIT,
		                       (struct sockaddr *)&from, &from_bytes);
		if (got < 0 && errno != EINTR) {
			return -errno;
		}
		if (got < 0 || from.nl_pid != 0) {
			continue;
		}
		error = translation_answer_read(answer, (size_t)got, sequence, ret_entry);
		if (error != PR_EAGAIN) {
			return error;
		}
	}
	return PR_ENOENT;
}

static int original(void *context, const struct part_flow *seen, struct part_flow *ret_original)
{
	struct translation_entry entry;
	int error = entry_find(context, seen, false, &entry);

	if (error == PR_OK) {
		*ret_original = entry.original;
	}
	return error;
}

/* The table finds an entry by either direction: the packet must have begun it. */
static int translated(void *context, const struct part_flow *sent, struct part_flow *ret_wire,
                      bool *ret_closed)
{
	struct translation_entry entry;
	int error = entry_find(context, sent, true, &entry);

	if (error != PR_OK) {
		return error;
	}
	if (entry.original.src_port != sent->src_port ||
	    entry.original.dst_port != sent->dst_port ||
	    !pr_addr_equal(&entry.original.src, &sent->src) ||
	    !pr_addr_equal(&entry.original.dst, &sent->dst)) {
		return PR_ENOENT;
	}
	*ret_wire = entry.wire;
	*ret_closed = entry.closed;
	return PR_OK;
}

/* What may be bound to is an address of ours; this thread is in the host's namespace. */
static bool is_local(void *context, const struct pr_addr *address)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	bool is_v4 = pr_addr_is_v4(address);
	const struct sockaddr *name = is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;

	(void)context;
	v4.sin_addr.s_addr = is_v4 ? pr_addr_to_v4(address) : 0;
	memcpy(&v6.sin6_addr, address->bytes, sizeof(v6.sin6_addr));
	_cleanup_(pr_fd_close) int fd = socket(name->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd < 0 || bind(fd, name, is_v4 ? sizeof(v4) : sizeof(v6)) == 0 ||
	       errno != EADDRNOTAVAIL;
}

/* ------------------------------------------------------------------------------ life cycle */

static void vectors_init(gate_kernel_real_t *kernel)
{
	for (size_t i = 0; i < GATE_RECEIVE_MAX; i++) {
		kernel->vectors[i] = (struct iovec){ .iov_base = kernel->buffers[i],
			                             .iov_len = GATE_DATAGRAM_MAX_BYTES };
		kernel->messages[i].msg_hdr = (struct msghdr){
			.msg_name = &kernel->senders[i],
			.msg_namelen = sizeof(kernel->senders[i]),
			.msg_iov = &kernel->vectors[i],
			.msg_iovlen = 1,
		};
	}
}

int gate_kernel_real_new(gate_kernel_real_t **ret_kernel, struct gate_kernel *ret_table)
{
	_cleanup_(gate_kernel_real_destroy) gate_kernel_real_t *kernel = calloc(1, sizeof(*kernel));
	if (kernel == NULL) {
		return PR_ENOMEM;
	}
	kernel->host_slot = SLOT_NONE;
	guess_forget(kernel);
	vectors_init(kernel);
	kernel->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (kernel->epoll < 0) {
		return -errno;
	}
	*ret_table = (struct gate_kernel){
		.context = kernel,
		.now_ns = now_ns,
		.wall_ns = wall_ns,
		.fd = epoll_of,
		.attach = attach,
		.detach = detach,
		.receive = receive,
		.send = send_verdicts,
		.original = original,
		.translated = translated,
		.is_local = is_local,
	};
	*ret_kernel = take_ptr(kernel);
	return PR_OK;
}

void gate_kernel_real_destroy(gate_kernel_real_t **kernel_p)
{
	gate_kernel_real_t *kernel = *kernel_p;
	if (kernel == NULL) {
		return;
	}
	for (uint32_t slot = 0; slot < PART_NAMESPACE_MAX; slot++) {
		detach(kernel, slot);
	}
	pr_fd_close(&kernel->epoll);
	free(kernel);
	*kernel_p = NULL;
}
