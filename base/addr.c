/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"

#define V4_PREFIX_BITS 96 /* of the mapped form, before the IPv4 address */

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

struct pr_addr pr_addr_from_v4(uint32_t network_order)
{
	struct pr_addr addr;
	memcpy(addr.bytes, v4_prefix, sizeof(v4_prefix));
	memcpy(addr.bytes + sizeof(v4_prefix), &network_order, sizeof(network_order));
	return addr;
}

bool pr_addr_is_v4(const struct pr_addr *addr)
{
	return memcmp(addr->bytes, v4_prefix, sizeof(v4_prefix)) == 0;
}

uint32_t pr_addr_to_v4(const struct pr_addr *addr)
{
	uint32_t network_order;
	memcpy(&network_order, addr->bytes + sizeof(v4_prefix), sizeof(network_order));
	return network_order;
}

bool pr_addr_equal(const struct pr_addr *a, const struct pr_addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool pr_addr_is_loopback(const struct pr_addr *addr)
{
	static const struct pr_addr v6_loopback = { .bytes = { [15] = 1 } };

	if (pr_addr_is_v4(addr)) {
		return addr->bytes[12] == 127;
	}
	return pr_addr_equal(addr, &v6_loopback);
}

const char *pr_addr_format(const struct pr_addr *addr, char text[static PR_ADDR_TEXT_BYTES])
{
	if (pr_addr_is_v4(addr)) {
		(void)inet_ntop(AF_INET, addr->bytes + 12, text, PR_ADDR_TEXT_BYTES);
	} else {
		(void)inet_ntop(AF_INET6, addr->bytes, text, PR_ADDR_TEXT_BYTES);
	}
	return text;
}

int pr_addr_parse(const char *text, struct pr_addr *ret_addr)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*ret_addr = pr_addr_from_v4(v4.s_addr);
		return PR_OK;
	}
	if (inet_pton(AF_INET6, text, &v6) == 1) {
		memcpy(ret_addr->bytes, &v6, sizeof(ret_addr->bytes));
		return PR_OK;
	}
	return PR_EINVAL;
}

/* One to three digits and nothing else, at most @p max. */
static int parse_bits(const char *text, unsigned int max, uint8_t *ret_bits)
{
	size_t length = strlen(text);
	unsigned int bits = 0;

	if (length < 1 || length > 3 || (length > 1 && text[0] == '0')) {
		return PR_EINVAL;
	}
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9') {
			return PR_EINVAL;
		}
		bits = bits * 10 + (unsigned int)(*text - '0');
	}
	if (bits > max) {
		return PR_EINVAL;
	}
	*ret_bits = (uint8_t)bits;
	return PR_OK;
}

static bool host_bits_are_zero(const struct pr_addr *addr, uint8_t bits)
{
	for (size_t i = 0; i < sizeof(addr->bytes); i++) {
		unsigned int first = (unsigned int)i * 8;
		unsigned int kept = bits <= first ? 0 : bits - first >= 8 ? 8 : bits - first;
		if ((addr->bytes[i] & (0xff >> kept)) != 0) {
			return false;
		}
	}
	return true;
}

int pr_prefix_parse(const char *text, struct pr_prefix *ret_prefix)
{
	char address[PR_ADDR_TEXT_BYTES];
	struct pr_prefix prefix = { .bits = 128 };
	const char *slash = strchr(text, '/');
	size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);

	if (length >= sizeof(address)) {
		return PR_EINVAL;
	}
	memcpy(address, text, length);
	address[length] = '\0';
	if (pr_addr_parse(address, &prefix.addr) != PR_OK) {
		return PR_EINVAL;
	}
	if (slash != NULL) {
		bool v4 = strchr(address, ':') == NULL;
		if (parse_bits(slash + 1, v4 ? 32 : 128, &prefix.bits) != PR_OK) {
			return PR_EINVAL;
		}
		prefix.bits += v4 ? V4_PREFIX_BITS : 0;
	}
	if (!host_bits_are_zero(&prefix.addr, prefix.bits)) {
		return PR_EINVAL;
	}
	*ret_prefix = prefix;
	return PR_OK;
}

bool pr_prefix_contains(const struct pr_prefix *prefix, const struct pr_addr *addr)
{
	size_t whole = prefix->bits / 8;
	unsigned int rest = prefix->bits % 8;

	if (memcmp(prefix->addr.bytes, addr->bytes, whole) != 0) {
		return false;
	}
	if (rest == 0) {
		return true;
	}
	uint8_t mask = (uint8_t)(0xff << (8 - rest));
	return ((prefix->addr.bytes[whole] ^ addr->bytes[whole]) & mask) == 0;
}

const char *pr_prefix_format(const struct pr_prefix *prefix, char text[static PR_ADDR_TEXT_BYTES])
{
	bool v4 = pr_addr_is_v4(&prefix->addr) && prefix->bits >= V4_PREFIX_BITS;
	unsigned int bits = prefix->bits - (v4 ? V4_PREFIX_BITS : 0);

	(void)pr_addr_format(&prefix->addr, text);
	if (prefix->bits < 128) {
		size_t length = strlen(text);
		(void)snprintf(text + length, PR_ADDR_TEXT_BYTES - length, "/%u", bits);
	}
	return text;
}
