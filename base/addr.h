/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * IP addresses and prefixes. One form for both families: 16 bytes in network order, IPv4 mapped
 * into ::ffff:0:0/96. Threads: any.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

#define PR_ADDR_TEXT_BYTES 48

struct pr_addr {
	uint8_t bytes[16];
};

struct pr_prefix {
	struct pr_addr addr; /* host bits zero */
	uint8_t bits;        /* 0..128, of the 16 byte form (an IPv4 /8 is 104) */
};

struct pr_addr pr_addr_from_v4(uint32_t network_order);
bool pr_addr_is_v4(const struct pr_addr *addr);
/** The IPv4 address in network order; only if pr_addr_is_v4(). */
uint32_t pr_addr_to_v4(const struct pr_addr *addr);
bool pr_addr_equal(const struct pr_addr *a, const struct pr_addr *b);
bool pr_addr_is_loopback(const struct pr_addr *addr);
/** Text as people write it: 172.18.0.3, fe80::1. Returns @p text. */
const char *pr_addr_format(const struct pr_addr *addr, char text[static PR_ADDR_TEXT_BYTES]);
int pr_addr_parse(const char *text, struct pr_addr *ret_addr) _must_check_;
/** "10.0.0.0/8", "fd00::/8", or a bare address. Host bits must be zero. PR_EINVAL otherwise. */
int pr_prefix_parse(const char *text, struct pr_prefix *ret_prefix) _must_check_;
bool pr_prefix_contains(const struct pr_prefix *prefix, const struct pr_addr *addr);
/** Text with the family's own bit count; "/32" and "/128" are left out. */
const char *pr_prefix_format(const struct pr_prefix *prefix, char text[static PR_ADDR_TEXT_BYTES]);
