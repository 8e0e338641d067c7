/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What origin.c (reading) and origin_load.c (the kernel) share. origin.h documents the
 * whole. */

#include "agent/keeper/origin.h"

#define ORIGIN_LINKS_MAX 8

struct origin_bpf; /* the generated skeleton */
struct bpf_link;

/** What an executable and its control group come to; made once for each id. */
struct origin_facts {
	uint64_t id; /* 0: none */
	bool good;
	char exe[129];
};

/** Where a key's notes lie, as origin.bpf.c finds it, too. */
struct origin_place {
	uint32_t bucket, tag;
};
void origin_flow_place(uint64_t cookie, const struct part_flow *flow,
                       struct origin_place *ret_place);
void origin_socket_place(uint64_t socket_cookie, struct origin_place *ret_place);

struct origin {
	struct origin_memory memory;
	struct origin_bpf *program; /* NULL: the memory is somebody else's */
	struct bpf_link *links[ORIGIN_LINKS_MAX];
	size_t link_count;
	int settle_fd;          /* the program; borrowed */
	int listener_fd;        /* the same; -1: this kernel does not take it */
	uint64_t settled_begun; /* connections begun when it ran last */
	uint32_t settle_left;   /* of them, those that had no addresses then */
	struct origin_facts facts[ORIGIN_PROGRAMS];
	uint32_t answered[ORIGIN_ENTRIES]; /* sequence under which an entry has answered */
};
