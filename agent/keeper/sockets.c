/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

#define LOG_FLUSH_CS     1 /* hundredths of a second: the bound when the threshold does not act */
#define LOG_THRESHOLD    1
#define LOG_BUFFER_BYTES 65536

struct setting {
	uint16_t type;
	const void *data;
	size_t size_bytes;
};

/* One request for each setting, each with its own ack: an unknown flag refuses a whole message. */
static int configure(struct mnl_socket *socket, uint8_t subsystem, uint8_t type, uint16_t resource,
                     const struct setting *settings, size_t count)
{
	char buffer[256] __attribute__((aligned(8)));
	struct nlmsghdr *message =
		netlink_header(buffer, subsystem, type, NLM_F_ACK, AF_UNSPEC, resource, 1);

	for (size_t i = 0; i < count; i++) {
		mnl_attr_put(message, settings[i].type, settings[i].size_bytes, settings[i].data);
	}
	return netlink_ask(socket, message, NULL, NULL);
}

static void receive_buffer_set(struct mnl_socket *socket, uint32_t size_bytes)
{
	int size = (int)size_bytes;
	int fd = mnl_socket_get_fd(socket);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0) {
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
}

static int queue_flag_set(struct mnl_socket *socket, uint16_t queue, uint32_t flag)
{
	uint32_t wire = htonl(flag);
	const struct setting settings[] = {
		{ NFQA_CFG_FLAGS, &wire, sizeof(wire) },
		{ NFQA_CFG_MASK, &wire, sizeof(wire) },
	};
	return configure(socket, NFNL_SUBSYS_QUEUE, NFQNL_MSG_CONFIG, queue, settings,
	                 PR_ARRAY_LEN(settings));
}

int sockets_queue_load(struct mnl_socket *socket)
{
	/* Does nothing but be spoken to. */
	struct nfqnl_msg_config_cmd nothing = { .command = NFQNL_CFG_CMD_PF_BIND };
	const struct setting setting = { NFQA_CFG_CMD, &nothing, sizeof(nothing) };

	return configure(socket, NFNL_SUBSYS_QUEUE, NFQNL_MSG_CONFIG, 0, &setting, 1);
}

int sockets_queue_configure(struct mnl_socket *socket, const struct keeper_config *config,
                            uint16_t queue, struct keeper_error *ret_error)
{
	struct nfqnl_msg_config_cmd bind = { .command = NFQNL_CFG_CMD_BIND };
	struct nfqnl_msg_config_params copy = { .copy_range = htonl(config->copy_bytes),
		                                .copy_mode = NFQNL_COPY_PACKET };
	uint32_t length = htonl(config->queue_length_packets);
	const struct setting settings[] = {
		{ NFQA_CFG_CMD, &bind, sizeof(bind) },
		{ NFQA_CFG_PARAMS, &copy, sizeof(copy) },
		{ NFQA_CFG_QUEUE_MAXLEN, &length, sizeof(length) },
	};

	receive_buffer_set(socket, config->receive_buffer_bytes);
	for (size_t i = 0; i < PR_ARRAY_LEN(settings); i++) {
		int error = configure(socket, NFNL_SUBSYS_QUEUE, NFQNL_MSG_CONFIG, queue,
		                      &settings[i], 1);
		if (i == 0 && (error == PR_EPERM || error == PR_EBUSY)) {
			return keeper_fail(ret_error, PR_EBUSY,
			                   "queue number %u is bound by another program (see "
			                   "/proc/net/netfilter/nfnetlink_queue): set another one",
			                   queue);
		}
		if (error != PR_OK) {
			return keeper_fail(ret_error, error, "queue %u, setting %zu: %s", queue, i,
			                   pr_strerror(error));
		}
	}
	/* Wanted, not needed: a kernel without them still decides. Fail-open is never asked for. */
	(void)queue_flag_set(socket, queue, NFQA_CFG_F_UID_GID);
	(void)queue_flag_set(socket, queue, NFQA_CFG_F_GSO);
	return PR_OK;
}

int sockets_log_configure(struct mnl_socket *socket, const struct keeper_config *config,
                          struct keeper_error *ret_error)
{
	struct nfulnl_msg_config_cmd bind = { .command = NFULNL_CFG_CMD_BIND };
	struct nfulnl_msg_config_mode copy = { .copy_range = htonl(config->copy_bytes),
		                               .copy_mode = NFULNL_COPY_PACKET };
	uint32_t flush = htonl(LOG_FLUSH_CS);
	uint32_t threshold = htonl(LOG_THRESHOLD);
	uint32_t room = htonl(LOG_BUFFER_BYTES);
	uint16_t flags = htons(NFULNL_CFG_F_SEQ);
	const struct setting settings[] = {
		{ NFULA_CFG_CMD, &bind, sizeof(bind) },
		{ NFULA_CFG_MODE, &copy, sizeof(copy) },
		{ NFULA_CFG_NLBUFSIZ, &room, sizeof(room) },
		{ NFULA_CFG_TIMEOUT, &flush, sizeof(flush) },
		{ NFULA_CFG_QTHRESH, &threshold, sizeof(threshold) },
		{ NFULA_CFG_FLAGS, &flags, sizeof(flags) },
	};

	receive_buffer_set(socket, config->receive_buffer_bytes);
	for (size_t i = 0; i < PR_ARRAY_LEN(settings); i++) {
		int error = configure(socket, NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG,
		                      config->log_group, &settings[i], 1);
		if (i == 0 && (error == PR_EPERM || error == PR_EBUSY)) {
			return keeper_fail(ret_error, PR_EBUSY,
			                   "log group %u is bound by another program (see "
			                   "/proc/net/netfilter/nfnetlink_log): set another one",
			                   config->log_group);
		}
		if (error != PR_OK) {
			return keeper_fail(ret_error, error, "log group %u, setting %zu: %s",
			                   config->log_group, i, pr_strerror(error));
		}
	}
	return PR_OK;
}
