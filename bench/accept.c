/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/defs.h"
#include "bench/accept.h"

#define BATCH         64
#define PACKET_BYTES  512
#define RECEIVE_BYTES (16 << 20)
#define QUEUE_PACKETS 16384
#define QUEUES_MAX    8

struct verdict {
	struct nlmsghdr header;
	struct nfgenmsg extra;
	struct nlattr attr;
	struct nfqnl_msg_verdict_hdr verdict;
} __attribute__((packed));

struct one {
	int fd;
	uint16_t queue;
	bool batched;
	pthread_t thread;
};

/* ---- set-up ---- */

static int configure(int fd, uint16_t queue, uint16_t type, const void *data, size_t size_bytes)
{
	char buffer[256] __attribute__((aligned(8)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG;
	message->nlmsg_flags = NLM_F_REQUEST;
	struct nfgenmsg *extra = mnl_nlmsg_put_extra_header(message, sizeof(*extra));
	extra->res_id = htons(queue);
	mnl_attr_put(message, type, size_bytes, data);
	return send(fd, buffer, message->nlmsg_len, 0) > 0 ? 0 : -1;
}

static int queue_open(uint16_t queue)
{
	static const int on = 1, receive_bytes = RECEIVE_BYTES;
	struct nfqnl_msg_config_cmd bind_command = { .command = NFQNL_CFG_CMD_BIND,
		                                     .pf = htons(AF_INET) };
	struct nfqnl_msg_config_params params = { .copy_mode = NFQNL_COPY_META };
	uint32_t length = htonl(QUEUE_PACKETS);
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) != 0 ||
	    configure(fd, queue, NFQA_CFG_CMD, &bind_command, sizeof(bind_command)) != 0 ||
	    configure(fd, queue, NFQA_CFG_PARAMS, &params, sizeof(params)) != 0 ||
	    configure(fd, queue, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof(length)) != 0) {
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof(receive_bytes));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on));
	return fd;
}

/* ---- the loops ---- */

static struct verdict verdict_make(uint16_t queue)
{
	return (struct verdict){
		.header = { .nlmsg_len = sizeof(struct verdict),
		            .nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT,
		            .nlmsg_flags = NLM_F_REQUEST },
		.extra = { .res_id = htons(queue) },
		.attr = { .nla_len = NLA_HDRLEN + sizeof(struct nfqnl_msg_verdict_hdr),
		          .nla_type = NFQA_VERDICT_HDR },
		.verdict = { .verdict = htonl(NF_ACCEPT) },
	};
}

/* The packet's number stands first in every message: NFQA_PACKET_HDR. */
static bool number_of(const char *packet, ssize_t size_bytes, uint32_t *ret_number)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)packet;

	if (size_bytes < (ssize_t)(NLMSG_HDRLEN + sizeof(struct nfgenmsg) + NLA_HDRLEN + 4) ||
	    header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)) {
		return false;
	}
	memcpy(ret_number, packet + NLMSG_HDRLEN + sizeof(struct nfgenmsg) + NLA_HDRLEN, 4);
	return true;
}

static void run_single(const struct one *one)
{
	struct verdict verdict = verdict_make(one->queue);
	char packet[PACKET_BYTES] __attribute__((aligned(8)));

	for (;;) {
		ssize_t got = recv(one->fd, packet, sizeof(packet), 0);
		uint32_t number;
		if (number_of(packet, got, &number)) {
			verdict.verdict.id = number;
			(void)send(one->fd, &verdict, sizeof(verdict), 0);
		}
	}
}

static void run_batched(const struct one *one)
{
	static __thread char packets[BATCH][PACKET_BYTES] __attribute__((aligned(8)));
	struct verdict verdicts[BATCH];
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec data[BATCH];

	for (size_t i = 0; i < BATCH; i++) {
		verdicts[i] = verdict_make(one->queue);
		data[i] = (struct iovec){ packets[i], PACKET_BYTES };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &data[i], .msg_iovlen = 1 };
	}
	for (;;) {
		int count = recvmmsg(one->fd, messages, BATCH, MSG_WAITFORONE, NULL);
		size_t ready = 0;
		for (int i = 0; i < count; i++) {
			uint32_t number;
			if (number_of(packets[i], messages[i].msg_len, &number)) {
				verdicts[ready++].verdict.id = number;
			}
		}
		if (ready > 0) {
			(void)send(one->fd, verdicts, ready * sizeof(*verdicts), 0);
		}
	}
}

static void *one_run(void *arg)
{
	const struct one *one = arg;

	if (one->batched) {
		run_batched(one);
	} else {
		run_single(one);
	}
	return NULL;
}

void accept_all(const void *plan_data, int fd)
{
	const struct accept_plan *plan = plan_data;
	struct one ones[QUEUES_MAX];

	if (plan->queues == 0 || plan->queues > QUEUES_MAX) {
		return;
	}
	for (unsigned i = 0; i < plan->queues; i++) {
		ones[i] = (struct one){ .queue = (uint16_t)(plan->queue_first + i),
			                .batched = plan->batched };
		ones[i].fd = queue_open(ones[i].queue);
		if (ones[i].fd < 0) {
			return;
		}
	}
	if (write(fd, "r", 1) != 1) {
		return;
	}
	for (unsigned i = 1; i < plan->queues; i++) {
		(void)pthread_create(&ones[i].thread, NULL, one_run, &ones[i]);
	}
	(void)one_run(&ones[0]);
}
