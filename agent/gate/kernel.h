/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What the gate needs of the kernel, as a struct of functions: the real one is kernel_real.c, the
 * fake one stands in tests/. Bytes are netlink messages as the kernel writes them; reading and
 * writing them is netlink.c's, which is pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/part.h"
#include "base/defs.h"

#define GATE_DATAGRAM_MAX_BYTES 8192 /* kernel messages are far below: copies are cut at 256 */
#define GATE_RECEIVE_MAX        64   /* datagrams of one receive() */

enum gate_source {
	GATE_SOURCE_QUEUE,
	GATE_SOURCE_LOG,
};

enum gate_datagram_state {
	GATE_DATAGRAM_WHOLE,
	GATE_DATAGRAM_CUT,     /* longer than GATE_DATAGRAM_MAX_BYTES; the first part is there */
	GATE_DATAGRAM_OVERRUN, /* no bytes: the kernel dropped messages here (ENOBUFS) */
	GATE_DATAGRAM_FAILED,  /* no bytes: reading failed */
	GATE_DATAGRAM_FOREIGN, /* not from the kernel: a process forged it */
};

/** One datagram of a queue or log socket; bytes valid until the next receive(). */
struct gate_datagram {
	uint32_t slot;
	enum gate_source source;
	enum gate_datagram_state state;
	const uint8_t *data;
	size_t size_bytes;
};

struct gate_kernel {
	void *context;
	/* CLOCK_MONOTONIC and CLOCK_REALTIME, ns. */
	uint64_t (*now_ns)(void *context);
	uint64_t (*wall_ns)(void *context);
	/* Descriptor to poll for packets; -1: none. */
	int (*fd)(void *context);
	/* Take the descriptors of a namespace (also after a failure) and watch them. */
	int (*attach)(void *context, const struct part_namespace *space);
	/* Close them. */
	void (*detach)(void *context, uint32_t slot);
	/* Up to GATE_RECEIVE_MAX datagrams of any namespace, without blocking. 0: nothing waits. */
	size_t (*receive)(void *context, struct gate_datagram *datagrams, size_t capacity);
	/* One or many verdict messages to the queue of @slot. PR_OK or -errno. */
	int (*send)(void *context, uint32_t slot, const uint8_t *data, size_t size_bytes);
	/* The flow before translation, as the host's connection table has it: found by the packet
	   behind the translation. PR_ENOENT: none. */
	int (*original)(void *context, const struct part_flow *seen,
	                struct part_flow *ret_original);
	/* The flow as it left the host, as the host's connection table has it: found by the packet
	   that an endpoint sent. @ret_closed: the connection is over, or it is an earlier one with
	   the same tuple. PR_ENOENT: the packet has not passed (yet). */
	int (*translated)(void *context, const struct part_flow *sent, struct part_flow *ret_wire,
	                  bool *ret_closed);
	/* Is this an address of the host's own namespace? true also where that cannot be told. */
	bool (*is_local)(void *context, const struct pr_addr *address);
};

typedef struct gate_kernel_real gate_kernel_real_t;

/** The real one. @p ret_table's context is the handle; destroy the gate first. */
int gate_kernel_real_new(gate_kernel_real_t **ret_kernel,
                         struct gate_kernel *ret_table) _must_check_;
/** Closes the descriptors that are still attached. */
void gate_kernel_real_destroy(gate_kernel_real_t **kernel_p);
