/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tests/agent/world.h"

/* --------------------------------------------------------------------------------- log socket */

static void copy_take(const struct nlmsghdr *message, struct copies *copies)
{
	const struct nlattr *attr;
	const char *prefix = "";
	const uint8_t *packet = NULL;
	size_t size = 0;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attr) == NFULA_PREFIX) {
			prefix = mnl_attr_get_str(attr);
		} else if (mnl_attr_get_type(attr) == NFULA_PAYLOAD) {
			packet = mnl_attr_get_payload(attr);
			size = mnl_attr_get_payload_len(attr);
		}
	}
	copies->output += strcmp(prefix, KEEPER_LOG_PREFIX_OUT) == 0;
	copies->input += strcmp(prefix, KEEPER_LOG_PREFIX_IN) == 0;
	if (packet != NULL && size >= 20) {
		copies->by_protocol[packet[0] >> 4 == 6 ? packet[6] : packet[9]]++;
	}
}

void copies_read(int fd, int wait_ms, struct copies *copies)
{
	char buffer[65536] __attribute__((aligned(8)));
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	while (poll(&wait, 1, wait_ms) > 0) {
		ssize_t got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (got < 0) {
			copies->overruns += errno == ENOBUFS;
			continue;
		}
		int left = (int)got;
		for (const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		     mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			if ((message->nlmsg_type & 0xff) == NFULNL_MSG_PACKET &&
			    message->nlmsg_type >> 8 == NFNL_SUBSYS_ULOG) {
				copy_take(message, copies);
			}
		}
	}
}

/* ------------------------------------------------------------------------------- queue socket */

static void answer(struct stand_in *gate, uint16_t queue, uint32_t id, uint32_t mark,
                   enum stand_in_verdict verdict)
{
	char buffer[256] __attribute__((aligned(8)));
	const struct keeper_config *config = gate->config;
	struct nfqnl_msg_verdict_hdr header = {
		.verdict = htonl(verdict == STAND_IN_DENY ? NF_DROP : NF_ACCEPT), .id = id
	};
	uint32_t bits = verdict == STAND_IN_REJECT ? config->mark_reject : config->mark_allow;
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT;
	message->nlmsg_flags = NLM_F_REQUEST;
	struct nfgenmsg *extra = mnl_nlmsg_put_extra_header(message, sizeof(*extra));
	extra->res_id = htons(queue);
	mnl_attr_put(message, NFQA_VERDICT_HDR, sizeof(header), &header);
	mnl_attr_put_u32(message, NFQA_MARK, htonl((mark & ~config->mark_mask) | bits));
	(void)send(gate->fd, buffer, message->nlmsg_len, 0);
}

static void packet_take(struct stand_in *gate, const struct nlmsghdr *message)
{
	const struct nlattr *attr;
	const struct nfgenmsg *extra = mnl_nlmsg_get_payload(message);
	uint32_t id = 0;
	uint32_t mark = 0;
	int verdict = atomic_load(&gate->verdict);

	mnl_attr_for_each(attr, message, sizeof(*extra))
	{
		if (mnl_attr_get_type(attr) == NFQA_PACKET_HDR) {
			struct nfqnl_msg_packet_hdr header;
			memcpy(&header, mnl_attr_get_payload(attr), sizeof(header));
			id = header.packet_id;
		} else if (mnl_attr_get_type(attr) == NFQA_MARK) {
			mark = ntohl(mnl_attr_get_u32(attr));
		}
	}
	/* First the count: who waits for the packet's effect looks at it next. */
	atomic_fetch_add(&gate->packets, 1);
	if (verdict == STAND_IN_HOLD) {
		gate->held[atomic_load(&gate->held_count) % 1024] = id;
		atomic_fetch_add(&gate->held_count, 1);
	} else {
		answer(gate, ntohs(extra->res_id), id, mark, (enum stand_in_verdict)verdict);
	}
}

static void *stand_in_main(void *arg)
{
	struct stand_in *gate = arg;
	char buffer[65536] __attribute__((aligned(8)));
	struct pollfd wait = { .fd = gate->fd, .events = POLLIN };

	while (!atomic_load(&gate->stop)) {
		if (poll(&wait, 1, 20) <= 0) {
			continue;
		}
		ssize_t got = recv(gate->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (got < 0) {
			atomic_fetch_add(&gate->overruns, errno == ENOBUFS);
			continue;
		}
		int left = (int)got;
		for (const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		     mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			if (message->nlmsg_type >> 8 == NFNL_SUBSYS_QUEUE) {
				packet_take(gate, message);
			}
		}
	}
	return NULL;
}

void stand_in_start(struct stand_in *gate, int fd, const struct keeper_config *config,
                    enum stand_in_verdict verdict)
{
	memset(gate, 0, sizeof(*gate));
	gate->fd = fd;
	gate->config = config;
	atomic_store(&gate->verdict, verdict);
	(void)pthread_create(&gate->thread, NULL, stand_in_main, gate);
}

void stand_in_stop(struct stand_in *gate)
{
	atomic_store(&gate->stop, true);
	(void)pthread_join(gate->thread, NULL);
	(void)close(gate->fd);
}

void stand_in_release(struct stand_in *gate, enum stand_in_verdict verdict)
{
	atomic_store(&gate->verdict, verdict);
	for (unsigned int i = 0; i < atomic_load(&gate->held_count); i++) {
		answer(gate, gate->config->queue_first, gate->held[i % 1024], 0, verdict);
	}
	atomic_store(&gate->held_count, 0);
}

/* ------------------------------------------------------------------------------------- stream */

#define STREAM_WORDS 64

static void *stream_send(void *arg)
{
	struct stream *stream = arg;
	uint64_t words[STREAM_WORDS];
	uint64_t next = 0;
	size_t sent = sizeof(words);

	while (!atomic_load(&stream->stop)) {
		if (sent == sizeof(words)) {
			for (size_t i = 0; i < STREAM_WORDS; i++) {
				words[i] = next++;
			}
			sent = 0;
			(void)poll(NULL, 0, 1);
		}
		struct pollfd wait = { .fd = stream->from, .events = POLLOUT };
		if (poll(&wait, 1, 50) <= 0) {
			continue;
		}
		ssize_t put = send(stream->from, (char *)words + sent, sizeof(words) - sent,
		                   MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put < 0 && errno != EAGAIN) {
			break;
		}
		sent += put > 0 ? (size_t)put : 0;
	}
	return NULL;
}

static void *stream_receive(void *arg)
{
	struct stream *stream = arg;
	uint64_t words[STREAM_WORDS];
	uint64_t expected = 0;
	size_t have = 0;
	uint64_t last_ns = world_now_ns();

	while (!atomic_load(&stream->stop)) {
		struct pollfd wait = { .fd = stream->to, .events = POLLIN };
		if (poll(&wait, 1, 50) <= 0) {
			continue;
		}
		ssize_t got =
			recv(stream->to, (char *)words + have, sizeof(words) - have, MSG_DONTWAIT);
		if (got <= 0) {
			if (got == 0 || errno != EAGAIN) {
				break;
			}
			continue;
		}
		uint64_t now_ns = world_now_ns();
		if (now_ns - last_ns > atomic_load(&stream->gap_ns)) {
			atomic_store(&stream->gap_ns, now_ns - last_ns);
		}
		last_ns = now_ns;
		have += (size_t)got;
		size_t whole = have / sizeof(words[0]);
		for (size_t i = 0; i < whole; i++) {
			atomic_fetch_add(&stream->wrong, words[i] != expected++);
		}
		atomic_fetch_add(&stream->received, whole);
		have -= whole * sizeof(words[0]);
		memmove(words, words + whole, have);
	}
	return NULL;
}

void stream_start(struct stream *stream, int from, int to)
{
	memset(stream, 0, sizeof(*stream));
	stream->from = from;
	stream->to = to;
	(void)pthread_create(&stream->sender, NULL, stream_send, stream);
	(void)pthread_create(&stream->receiver, NULL, stream_receive, stream);
}

void stream_stop(struct stream *stream)
{
	atomic_store(&stream->stop, true);
	(void)pthread_join(stream->sender, NULL);
	(void)pthread_join(stream->receiver, NULL);
	(void)close(stream->from);
	(void)close(stream->to);
}

bool stream_alive(struct stream *stream, int wait_ms)
{
	uint64_t before = atomic_load(&stream->received);
	uint64_t end_ns = world_now_ns() + (uint64_t)wait_ms * 1000000ULL;

	while (world_now_ns() < end_ns) {
		(void)poll(NULL, 0, 5);
		if (atomic_load(&stream->received) > before + STREAM_WORDS) {
			return true;
		}
	}
	return false;
}
