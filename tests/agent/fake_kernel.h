/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The gate's kernel without a kernel: datagrams put in by the test, verdicts taken out by it, a
 * clock that moves when told. It keeps the kernel's own books: a packet is held until a verdict
 * names it, and a verdict for none is refused.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/gate/kernel.h"
#include "tests/agent/packets.h"

#define FAKE_DATAGRAMS_MAX 512
#define FAKE_VERDICTS_MAX  1024

struct fake_verdict {
	uint32_t slot;
	struct verdict_seen seen;
	bool held; /* false: the kernel knew no such packet */
};

struct fake_kernel {
	uint64_t now_ns, wall_ns;
	uint32_t slots_attached, slots_detached;
	bool send_fails;
	bool has_original;
	struct part_flow original;
	bool has_wire, wire_closed;
	struct part_flow wire;  /* as translated on the way out */
	struct pr_addr foreign; /* the one address that is not the host's own */
	size_t datagram_first, datagram_count;
	struct gate_datagram datagrams[FAKE_DATAGRAMS_MAX];
	struct bytes buffers[FAKE_DATAGRAMS_MAX];
	size_t verdict_count;
	struct fake_verdict verdicts[FAKE_VERDICTS_MAX];
	size_t held_count;
	struct {
		uint32_t slot, id;
	} held[FAKE_VERDICTS_MAX];
	unsigned int sends; /* send() calls */
	bool bad_send;      /* something that is no verdict message was sent */
};

void fake_kernel_init(struct fake_kernel *kernel, struct gate_kernel *ret_table);
/** Let a datagram arrive; an NFQUEUE message also holds its packet. */
void fake_kernel_arrive(struct fake_kernel *kernel, uint32_t slot, const struct message_spec *spec,
                        const struct bytes *packet);
/** Let any bytes, or a state without bytes, arrive. */
void fake_kernel_arrive_raw(struct fake_kernel *kernel, uint32_t slot, enum gate_source source,
                            enum gate_datagram_state state, const struct bytes *datagram);
