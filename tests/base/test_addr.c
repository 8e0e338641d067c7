/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "tests/tap.h"

static void test_address_round_trip(void)
{
	static const char *const texts[] = {
		"0.0.0.0", "172.18.0.3", "255.255.255.255",   "::",
		"::1",     "fe80::1",    "2001:db8::ff00:42", "fd00:1:2:3:4:5:6:7"
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(texts); i++) {
		char text[PR_ADDR_TEXT_BYTES];
		struct pr_addr addr;
		ok(pr_addr_parse(texts[i], &addr) == PR_OK &&
		           strcmp(pr_addr_format(&addr, text), texts[i]) == 0,
		   "%s round-trips", texts[i]);
	}
}

static void test_address_refused(void)
{
	static const char *const texts[] = { "",           "1.2.3",    "1.2.3.256", "1.2.3.4.5",
		                             "1.2.3.4/32", " 1.2.3.4", "1.2.3.4 ",  "0x7f.1",
		                             "fe80::1%lo", ":::",      "g::1",      "localhost" };

	for (size_t i = 0; i < PR_ARRAY_LEN(texts); i++) {
		struct pr_addr addr = { .bytes = { 7 } };
		ok(pr_addr_parse(texts[i], &addr) == PR_EINVAL && addr.bytes[0] == 7,
		   "'%s' is refused, result untouched", texts[i]);
	}
}

static void test_families(void)
{
	struct pr_addr v4 = pr_addr_from_v4(htonl(0xac120003));
	struct pr_addr addr, mapped;

	ok(pr_addr_is_v4(&v4) && pr_addr_to_v4(&v4) == htonl(0xac120003), "IPv4 goes in and out");
	ok(pr_addr_parse("::ffff:172.18.0.3", &mapped) == PR_OK && pr_addr_equal(&v4, &mapped),
	   "the mapped form is the same address");
	ok(pr_addr_parse("172.18.0.4", &addr) == PR_OK && !pr_addr_equal(&v4, &addr),
	   "another address is another");
	ok(pr_addr_parse("fe80::1", &addr) == PR_OK && !pr_addr_is_v4(&addr), "IPv6 is not IPv4");
	ok(pr_addr_parse("127.9.9.9", &addr) == PR_OK && pr_addr_is_loopback(&addr),
	   "127/8 is loopback");
	ok(pr_addr_parse("::1", &addr) == PR_OK && pr_addr_is_loopback(&addr), "::1 is loopback");
	ok(pr_addr_parse("128.0.0.1", &addr) == PR_OK && !pr_addr_is_loopback(&addr) &&
	           pr_addr_parse("::2", &addr) == PR_OK && !pr_addr_is_loopback(&addr),
	   "their neighbours are not");
}

struct prefix_case {
	const char *text;
	const char *shown; /* NULL: refused */
	uint8_t bits;
};

static void test_prefix_parse(void)
{
	static const struct prefix_case cases[] = {
		{ "10.0.0.0/8", "10.0.0.0/8", 104 },
		{ "0.0.0.0/0", "0.0.0.0/0", 96 },
		{ "192.0.2.1", "192.0.2.1", 128 },
		{ "192.0.2.1/32", "192.0.2.1", 128 },
		{ "192.0.2.128/25", "192.0.2.128/25", 121 },
		{ "::/0", "::/0", 0 },
		{ "fd00::/8", "fd00::/8", 8 },
		{ "2001:db8::1/128", "2001:db8::1", 128 },
		{ "192.0.2.129/25", NULL, 0 },
		{ "10.0.0.0/33", NULL, 0 },
		{ "fd00::/129", NULL, 0 },
		{ "10.0.0.0/", NULL, 0 },
		{ "10.0.0.0/08", NULL, 0 },
		{ "10.0.0.0/+8", NULL, 0 },
		{ "10.0.0.0/-1", NULL, 0 },
		{ "10.0.0.0/4294967304", NULL, 0 },
		{ "10.0.0.0/8/8", NULL, 0 },
		{ "fd00::1/8", NULL, 0 },
		{ "/8", NULL, 0 },
		{ "", NULL, 0 },
		{ "11111111111111111111111111111111111111111111111111/8", NULL, 0 },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		struct pr_prefix prefix = { .bits = 77 };
		char text[PR_ADDR_TEXT_BYTES];
		int ret = pr_prefix_parse(cases[i].text, &prefix);
		if (cases[i].shown == NULL) {
			ok(ret == PR_EINVAL && prefix.bits == 77, "'%s' is refused", cases[i].text);
			continue;
		}
		ok(ret == PR_OK && prefix.bits == cases[i].bits &&
		           strcmp(pr_prefix_format(&prefix, text), cases[i].shown) == 0,
		   "'%s' is '%s'", cases[i].text, cases[i].shown);
	}
}

static bool contains(const char *prefix_text, const char *addr_text)
{
	struct pr_prefix prefix;
	struct pr_addr addr;

	if (!ok(pr_prefix_parse(prefix_text, &prefix) == PR_OK &&
	                pr_addr_parse(addr_text, &addr) == PR_OK,
	        "%s and %s parse", prefix_text, addr_text)) {
		return false;
	}
	return pr_prefix_contains(&prefix, &addr);
}

static void test_prefix_contains(void)
{
	ok(contains("10.0.0.0/8", "10.255.255.255"), "last address of 10/8");
	ok(!contains("10.0.0.0/8", "11.0.0.0"), "first address behind 10/8");
	ok(contains("192.0.2.128/25", "192.0.2.200"), "inside a /25");
	ok(!contains("192.0.2.128/25", "192.0.2.127"), "just before a /25");
	ok(contains("192.0.2.1", "192.0.2.1") && !contains("192.0.2.1", "192.0.2.0"),
	   "one address contains itself alone");
	ok(contains("::/0", "1.2.3.4") && contains("::/0", "fe80::1"), "::/0 contains everything");
	ok(contains("0.0.0.0/0", "1.2.3.4") && !contains("0.0.0.0/0", "fe80::1"),
	   "0.0.0.0/0 contains IPv4 alone");
	ok(contains("fd00::/8", "fdff::") && !contains("fd00::/8", "fe00::"), "fd00::/8");
}

int main(void)
{
	test_address_round_trip();
	test_address_refused();
	test_families();
	test_prefix_parse();
	test_prefix_contains();
	return tap_done();
}
