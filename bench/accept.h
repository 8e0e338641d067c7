/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The limit of interception: programs that accept everything that comes to an NFQUEUE queue and do
 * nothing else, written to be as fast as can be. Only the number of a packet is copied, the verdict
 * is a message made beforehand. Functions for stage_serve().
 */

#include <stdbool.h>
#include <stdint.h>

struct accept_plan {
	uint16_t queue_first;
	unsigned queues; /* one thread each */
	bool batched;    /* recvmmsg(), many verdicts in one send; else one and one */
};

/** stage_fn: ready when all queues are bound. */
void accept_all(const void *plan, int fd);
