/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "tests/tap.h"

#define CONTAINER "4f1d2c3b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f001"

static void test_container(void)
{
	char text[PR_UUID_TEXT_BYTES];
	struct pr_uuid id = pr_uuid_of_container(CONTAINER);
	struct pr_uuid other = pr_uuid_of_container("4f1d2c3b5a69");

	/* If this fails, every enrolled container would lose its identity: do not change it. */
	ok(strcmp(pr_uuid_format(&id, text), "29c64277-b8b9-5969-804d-4db1930f520c") == 0,
	   "a container's UUID is known: %s", text);
	ok((id.bytes[6] >> 4) == 5 && (id.bytes[8] >> 6) == 2, "version 5, RFC 4122 variant");
	struct pr_uuid again = pr_uuid_of_container(CONTAINER);
	ok(pr_uuid_equal(&id, &again), "the same twice");
	ok(!pr_uuid_equal(&id, &other), "another text, another UUID");
}

static void test_namespace(void)
{
	char text[PR_UUID_TEXT_BYTES];
	struct pr_uuid host = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };
	struct pr_uuid other = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17 } };
	struct pr_uuid id = pr_uuid_of_namespace(&host, "build");
	struct pr_uuid renamed = pr_uuid_of_namespace(&host, "built");
	struct pr_uuid elsewhere = pr_uuid_of_namespace(&other, "build");

	/* As a container's: do not change it. */
	ok(strcmp(pr_uuid_format(&id, text), "234c374c-44aa-517c-88d7-2776deaaa1ab") == 0,
	   "a named namespace's UUID is known: %s", text);
	ok(!pr_uuid_equal(&id, &renamed) && !pr_uuid_equal(&id, &elsewhere),
	   "another name, another host: another UUID");
}

static void test_bytes(void)
{
	struct pr_uuid exe = pr_uuid_of_bytes("exe", "/bin/sh", 7);
	struct pr_uuid network = pr_uuid_of_bytes("network", "/bin/sh", 7);
	struct pr_uuid shorter = pr_uuid_of_bytes("exe", "/bin/sh", 6);
	struct pr_uuid empty = pr_uuid_of_bytes("exe", "", 0);

	ok(!pr_uuid_equal(&exe, &network), "kinds are apart");
	ok(!pr_uuid_equal(&exe, &shorter) && !pr_uuid_equal(&exe, &empty), "sizes are apart");
	ok(!pr_uuid_is_null(&empty), "no bytes still have a UUID");
}

static void test_random(void)
{
	struct pr_uuid a = pr_uuid_new();
	struct pr_uuid b = pr_uuid_new();

	ok(!pr_uuid_equal(&a, &b) && !pr_uuid_is_null(&a), "two random ones differ");
	ok((a.bytes[6] >> 4) == 4, "version 4");
}

static void test_text(void)
{
	static const char *const refused[] = {
		"",
		"5f0c1d2e-0000-4000-8000-00000000000",
		"5f0c1d2e-0000-4000-8000-0000000000000",
		"5f0c1d2e00004000800000000000000000000",
		"5f0c1d2e-0000-4000-8000-00000000000g",
		"{5f0c1d2e-0000-4000-8000-0000000000}",
		" 5f0c1d2e-0000-4000-8000-00000000000",
	};
	char text[PR_UUID_TEXT_BYTES];
	struct pr_uuid id = pr_uuid_new();
	struct pr_uuid back = { { 0 } };
	struct pr_uuid null = { { 0 } };

	ok(pr_uuid_parse(pr_uuid_format(&id, text), &back) == PR_OK && pr_uuid_equal(&id, &back),
	   "text round-trips");
	ok(pr_uuid_parse("5F0C1D2E-0000-4000-8000-00000000000A", &back) == PR_OK &&
	           strcmp(pr_uuid_format(&back, text), "5f0c1d2e-0000-4000-8000-00000000000a") == 0,
	   "upper case is read, lower case is written");
	ok(pr_uuid_is_null(&null) && !pr_uuid_is_null(&id), "null is told apart");
	for (size_t i = 0; i < PR_ARRAY_LEN(refused); i++) {
		ok(pr_uuid_parse(refused[i], &back) == PR_EINVAL, "'%s' is refused", refused[i]);
	}
}

int main(void)
{
	test_container();
	test_namespace();
	test_bytes();
	test_random();
	test_text();
	return tap_done();
}
