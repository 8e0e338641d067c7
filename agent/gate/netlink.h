/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Kernel messages of NFQUEUE and NFLOG -> struct, and verdicts -> bytes. Pure: no socket. Lengths
 * are checked against the bytes given, so a bad message costs itself and nothing else.
 *
 * Verdicts: one NFQNL_MSG_VERDICT message a packet, many messages in one send; the kernel handles
 * each and answers only those it refuses. NFQNL_MSG_VERDICT_BATCH is never written: it would
 * answer every lower id. The packet itself is never given back changed.
 * Source: linux/netfilter/nfnetlink_queue.h, nfnetlink_log.h; netlink(7).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_HOOK_INPUT  1 /* NF_INET_LOCAL_IN */
#define GATE_HOOK_OUTPUT 3 /* NF_INET_LOCAL_OUT */

#define GATE_NO_UID UINT32_MAX

enum gate_message_kind {
	GATE_MESSAGE_PACKET,  /* held; id must be answered */
	GATE_MESSAGE_COPY,    /* from a log group */
	GATE_MESSAGE_REFUSED, /* the kernel refused one of our messages; error says why */
	GATE_MESSAGE_OTHER,   /* nothing for us (an acknowledgement, the end of a multi-part) */
	GATE_MESSAGE_BAD,     /* unreadable; if has_id, the packet can still be denied */
};

/** One message. Host byte order. Payload borrowed from the datagram. */
struct gate_message {
	enum gate_message_kind kind;
	bool has_id;
	uint16_t queue; /* number of the queue, or of the log group */
	uint8_t hook;   /* enum nf_inet_hooks; 0xff: not said */
	uint32_t id;
	uint32_t mark;
	uint32_t uid;        /* GATE_NO_UID: not said (no socket, or of the kernel) */
	uint32_t in_device;  /* interface index; 0: none */
	uint32_t out_device; /* interface index; 0: none */
	int error;           /* REFUSED: -errno */
	const uint8_t *payload;
	size_t payload_bytes;
	size_t original_bytes; /* of the packet, at least payload_bytes */
};

/**
 * Read the next message of a datagram.
 *
 * @param data, size_bytes  The whole datagram.
 * @param offset_p          Where to read, 0 at first; moved behind the message read.
 * @retval true   @p ret_message is filled.
 * @retval false  Nothing (readable) is left.
 */
bool gate_message_next(const uint8_t *data, size_t size_bytes, size_t *offset_p,
                       struct gate_message *ret_message);

#define GATE_VERDICT_BYTES      40 /* one verdict message */
#define GATE_VERDICTS_MAX_BYTES (128 * GATE_VERDICT_BYTES)

enum gate_answer {
	GATE_ANSWER_DROP,
	GATE_ANSWER_ACCEPT,
};

/** Verdict messages on their way, many a send. Zero is empty. */
struct gate_verdicts {
	size_t size_bytes;
	uint8_t data[GATE_VERDICTS_MAX_BYTES];
};

/**
 * Append one verdict.
 * @param mark  The whole packet mark to be set (the caller keeps the bits that are not ours).
 * @retval false  Full: send first. Nothing was appended.
 */
bool gate_verdicts_add(struct gate_verdicts *verdicts, uint16_t queue, uint32_t id,
                       enum gate_answer answer, uint32_t mark);
