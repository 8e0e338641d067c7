/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <string.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

#define RECEIVE_BYTES 65536

static ssize_t receive(struct mnl_socket *socket, void *buffer, size_t size_bytes)
{
	struct pollfd wait = { .fd = mnl_socket_get_fd(socket), .events = POLLIN };
	int ready;
	do {
		ready = poll(&wait, 1, KEEPER_WAIT_MS);
	} while (ready < 0 && errno == EINTR);
	if (ready == 0) {
		return PR_ETIMEOUT;
	}
	ssize_t got = mnl_socket_recvfrom(socket, buffer, size_bytes);
	return got < 0 ? -errno : got;
}

/* Returns 1 to go on, 0 at the end, or an error. */
static int answer_take(const struct nlmsghdr *message, netlink_message_fn fn, void *arg)
{
	if (message->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);
		return error->error;
	}
	if (message->nlmsg_type == NLMSG_DONE) {
		const int *status = mnl_nlmsg_get_payload(message);
		return mnl_nlmsg_get_payload_len(message) >= sizeof(*status) && *status < 0
		               ? *status
		               : 0;
	}
	if (message->nlmsg_type < NLMSG_MIN_TYPE) {
		return 1;
	}
	int error = fn == NULL ? PR_OK : fn(message, arg);
	return error != PR_OK ? error : 1;
}

/* An error of our own callback must not leave the rest of a dump in the socket. */
static void drain(struct mnl_socket *socket, char *buffer, uint32_t sequence)
{
	for (;;) {
		ssize_t got = receive(socket, buffer, RECEIVE_BYTES);
		if (got < 0) {
			return;
		}
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		for (int left = (int)got; mnl_nlmsg_ok(message, left);
		     message = mnl_nlmsg_next(message, &left)) {
			if (message->nlmsg_seq == sequence &&
			    (message->nlmsg_type == NLMSG_DONE ||
			     message->nlmsg_type == NLMSG_ERROR)) {
				return;
			}
		}
	}
}

int netlink_ask(struct mnl_socket *socket, const struct nlmsghdr *request, netlink_message_fn fn,
                void *arg)
{
	char buffer[RECEIVE_BYTES] __attribute__((aligned(8)));
	bool interrupted = false;

	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0) {
		return -errno;
	}
	for (;;) {
		ssize_t got = receive(socket, buffer, sizeof(buffer));
		if (got < 0) {
			return (int)got;
		}
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		for (int left = (int)got; mnl_nlmsg_ok(message, left);
		     message = mnl_nlmsg_next(message, &left)) {
			if (message->nlmsg_seq != request->nlmsg_seq) {
				continue;
			}
			bool last = message->nlmsg_type == NLMSG_DONE ||
			            message->nlmsg_type == NLMSG_ERROR;
			interrupted |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			int result = answer_take(message, fn, arg);
			if (result <= 0) {
				if (!last) {
					drain(socket, buffer, request->nlmsg_seq);
				}
				return result == PR_OK && interrupted ? PR_EINTR : result;
			}
		}
	}
}

/* Returns 1 at the end, 0 to go on, or an error of the batch itself. */
static int acks_take(const char *buffer, ssize_t got, struct netlink_batch *batch)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;

	for (int left = (int)got; mnl_nlmsg_ok(message, left);
	     message = mnl_nlmsg_next(message, &left)) {
		uint32_t index = message->nlmsg_seq - batch->sequence_first;
		if (message->nlmsg_type != NLMSG_ERROR) {
			continue;
		}
		int error = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(message))->error;
		if (index >= batch->count) {
			if (error != 0 && index == UINT32_MAX) {
				return error; /* the kernel answers the batch's first header */
			}
			continue;
		}
		if (error != 0) {
			if (batch->first_error == PR_OK) {
				batch->first_error = error;
				batch->first_error_index = index;
			}
			if (batch->on_error != NULL) {
				batch->on_error(index, error, batch->arg);
			}
		}
		if (index == batch->count - 1) {
			return 1;
		}
	}
	return 0;
}

int netlink_transact(struct mnl_socket *socket, const void *data, size_t size_bytes,
                     struct netlink_batch *batch)
{
	char buffer[RECEIVE_BYTES] __attribute__((aligned(8)));

	batch->first_error = PR_OK;
	if (mnl_socket_sendto(socket, data, size_bytes) < 0) {
		return -errno;
	}
	for (;;) {
		ssize_t got = receive(socket, buffer, sizeof(buffer));
		int result = got < 0 ? (int)got : acks_take(buffer, got, batch);
		if (result < 0) {
			return batch->first_error != PR_OK ? batch->first_error : result;
		}
		if (result == 1) {
			return batch->first_error;
		}
	}
}

struct nlmsghdr *netlink_header(void *buffer, uint8_t subsystem, uint8_t type, uint16_t flags,
                                uint8_t family, uint16_t resource, uint32_t sequence)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = (uint16_t)((subsystem << 8) | type);
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	message->nlmsg_seq = sequence;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->nfgen_family = family;
	header->version = NFNETLINK_V0;
	header->res_id = htons(resource);
	return message;
}
