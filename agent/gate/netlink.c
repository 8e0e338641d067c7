/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <string.h>

#include "agent/gate/netlink.h"
#include "base/defs.h"

#define TYPE(subsystem, message) (((subsystem) << 8) | (message))
#define TYPE_PACKET              TYPE(NFNL_SUBSYS_QUEUE, NFQNL_MSG_PACKET)
#define TYPE_COPY                TYPE(NFNL_SUBSYS_ULOG, NFULNL_MSG_PACKET)
#define TYPE_VERDICT             TYPE(NFNL_SUBSYS_QUEUE, NFQNL_MSG_VERDICT)
#define HOOK_UNKNOWN             0xff

/* Where an attribute's value goes; one row each, for both subsystems. */
struct field {
	uint16_t queue_type, log_type; /* 0: not there */
	size_t offset;
};

static const struct field fields[] = {
	{ NFQA_MARK, NFULA_MARK, offsetof(struct gate_message, mark) },
	{ NFQA_UID, NFULA_UID, offsetof(struct gate_message, uid) },
	{ NFQA_IFINDEX_INDEV, NFULA_IFINDEX_INDEV, offsetof(struct gate_message, in_device) },
	{ NFQA_IFINDEX_OUTDEV, NFULA_IFINDEX_OUTDEV, offsetof(struct gate_message, out_device) },
};

static uint32_t load32(const uint8_t *data)
{
	uint32_t value;
	memcpy(&value, data, sizeof(value));
	return ntohl(value);
}

static void header_take(const uint8_t *value, struct gate_message *message)
{
	if (message->kind == GATE_MESSAGE_PACKET) {
		struct nfqnl_msg_packet_hdr header;
		memcpy(&header, value, sizeof(header));
		message->id = ntohl(header.packet_id);
		message->has_id = true;
		message->hook = header.hook;
	} else {
		struct nfulnl_msg_packet_hdr header;
		memcpy(&header, value, sizeof(header));
		message->hook = header.hook;
	}
}

/* One attribute. False: its length does not fit its kind. */
static bool attribute_take(uint16_t type, const uint8_t *value, size_t value_bytes,
                           struct gate_message *message)
{
	bool queue = message->kind == GATE_MESSAGE_PACKET;

	if (type == (queue ? NFQA_PACKET_HDR : NFULA_PACKET_HDR)) {
		size_t least = queue ? sizeof(struct nfqnl_msg_packet_hdr)
		                     : sizeof(struct nfulnl_msg_packet_hdr);
		if (value_bytes < least) {
			return false;
		}
		header_take(value, message);
		return true;
	}
	if (type == (queue ? NFQA_PAYLOAD : NFULA_PAYLOAD)) {
		message->payload = value;
		message->payload_bytes = value_bytes;
		return true;
	}
	if (queue && type == NFQA_CAP_LEN) {
		if (value_bytes < sizeof(uint32_t)) {
			return false;
		}
		message->original_bytes = load32(value);
		return true;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(fields); i++) {
		if (type == (queue ? fields[i].queue_type : fields[i].log_type)) {
			if (value_bytes < sizeof(uint32_t)) {
				return false;
			}
			uint32_t number = load32(value);
			memcpy((uint8_t *)message + fields[i].offset, &number, sizeof(number));
			return true;
		}
	}
	return true;
}

static bool attributes_take(const uint8_t *data, size_t size_bytes, struct gate_message *message)
{
	size_t at = 0;

	while (size_bytes - at >= NLA_HDRLEN) {
		struct nlattr header;
		memcpy(&header, data + at, sizeof(header));
		if (header.nla_len < NLA_HDRLEN || header.nla_len > size_bytes - at) {
			return false;
		}
		if (!attribute_take(header.nla_type & NLA_TYPE_MASK, data + at + NLA_HDRLEN,
		                    header.nla_len - NLA_HDRLEN, message)) {
			return false;
		}
		size_t step = NLA_ALIGN(header.nla_len);
		if (step >= size_bytes - at) {
			return true;
		}
		at += step;
	}
	return at == size_bytes;
}

/* The length of a whole IP packet whose copy was cut: NFLOG does not say it, its header does. */
static size_t length_claimed(const uint8_t *payload, size_t payload_bytes)
{
	if (payload_bytes >= 4 && payload[0] >> 4 == 4) {
		return (size_t)((payload[2] << 8) | payload[3]);
	}
	if (payload_bytes >= 6 && payload[0] >> 4 == 6) {
		return 40 + (size_t)((payload[4] << 8) | payload[5]);
	}
	return 0;
}

static void packet_read(const uint8_t *body, size_t body_bytes, struct gate_message *message)
{
	struct nfgenmsg header;

	if (body_bytes < sizeof(header)) {
		message->kind = GATE_MESSAGE_BAD;
		return;
	}
	memcpy(&header, body, sizeof(header));
	message->queue = ntohs(header.res_id);
	size_t skip = NLMSG_ALIGN(sizeof(header));
	bool fits = attributes_take(body + skip, body_bytes - skip, message);
	if (message->kind == GATE_MESSAGE_COPY) {
		message->original_bytes = length_claimed(message->payload, message->payload_bytes);
	}
	if (message->original_bytes < message->payload_bytes) {
		message->original_bytes = message->payload_bytes;
	}
	if (!fits || (message->kind == GATE_MESSAGE_PACKET && !message->has_id)) {
		message->kind = GATE_MESSAGE_BAD;
	}
}

static void error_read(const uint8_t *body, size_t body_bytes, struct gate_message *message)
{
	struct nlmsgerr error;

	message->kind = GATE_MESSAGE_OTHER;
	if (body_bytes < sizeof(error)) {
		message->kind = GATE_MESSAGE_BAD;
		return;
	}
	memcpy(&error, body, sizeof(error));
	if (error.error != 0) {
		message->kind = GATE_MESSAGE_REFUSED;
		message->error = error.error;
	}
}

bool gate_message_next(const uint8_t *data, size_t size_bytes, size_t *offset_p,
                       struct gate_message *ret_message)
{
	struct nlmsghdr header;
	size_t left = size_bytes - *offset_p;

	if (*offset_p > size_bytes || left < sizeof(header)) {
		return false;
	}
	const uint8_t *start = data + *offset_p;
	memcpy(&header, start, sizeof(header));
	*ret_message = (struct gate_message){
		.kind = GATE_MESSAGE_OTHER,
		.hook = HOOK_UNKNOWN,
		.uid = GATE_NO_UID,
	};
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > left) {
		ret_message->kind = GATE_MESSAGE_BAD;
		*offset_p = size_bytes;
		return true;
	}
	size_t step = NLMSG_ALIGN((size_t)header.nlmsg_len);
	*offset_p += step < left ? step : left;

	const uint8_t *body = start + NLMSG_HDRLEN;
	size_t body_bytes = header.nlmsg_len - NLMSG_HDRLEN;
	switch (header.nlmsg_type) {
	case TYPE_PACKET:
		ret_message->kind = GATE_MESSAGE_PACKET;
		packet_read(body, body_bytes, ret_message);
		break;
	case TYPE_COPY:
		ret_message->kind = GATE_MESSAGE_COPY;
		packet_read(body, body_bytes, ret_message);
		break;
	case NLMSG_ERROR:
		error_read(body, body_bytes, ret_message);
		break;
	default:
		break;
	}
	return true;
}

bool gate_verdicts_add(struct gate_verdicts *verdicts, uint16_t queue, uint32_t id,
                       enum gate_answer answer, uint32_t mark)
{
	struct {
		struct nlmsghdr header;
		struct nfgenmsg family;
		struct nlattr verdict_header;
		struct nfqnl_msg_verdict_hdr verdict;
		struct nlattr mark_header;
		uint32_t mark;
	} message = {
		.header = { .nlmsg_len = sizeof(message),
		            .nlmsg_type = TYPE_VERDICT,
		            .nlmsg_flags = NLM_F_REQUEST },
		.family = { .version = NFNETLINK_V0, .res_id = htons(queue) },
		.verdict_header = { .nla_len = NLA_HDRLEN + sizeof(message.verdict),
		                    .nla_type = NFQA_VERDICT_HDR },
		.verdict = { .verdict = htonl(answer == GATE_ANSWER_ACCEPT ? NF_ACCEPT : NF_DROP),
		             .id = htonl(id) },
		.mark_header = { .nla_len = NLA_HDRLEN + sizeof(uint32_t), .nla_type = NFQA_MARK },
		.mark = htonl(mark),
	};
	_Static_assert(sizeof(message) == GATE_VERDICT_BYTES, "one verdict message");

	if (sizeof(verdicts->data) - verdicts->size_bytes < sizeof(message)) {
		return false;
	}
	memcpy(verdicts->data + verdicts->size_bytes, &message, sizeof(message));
	verdicts->size_bytes += sizeof(message);
	return true;
}
