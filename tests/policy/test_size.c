/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Large policies: size asserted, times printed. */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "policy/policy.h"
#include "tests/tap.h"

#define REQUESTS        50000U
#define ENDPOINTS_MAX   10000U
#define MIB             (1024.0 * 1024.0)
#define NAME_BYTES      32
#define RULE_TEXT_BYTES 240UL

struct world {
	struct policy_endpoint *endpoints;
	char (*names)[NAME_BYTES];
	size_t endpoint_count;
	unsigned groups;
};

static void world_make(struct world *world, size_t endpoints, unsigned groups)
{
	*world = (struct world){ .endpoint_count = endpoints, .groups = groups };
	world->endpoints = calloc(endpoints, sizeof(*world->endpoints));
	world->names = calloc(endpoints, NAME_BYTES);
	for (size_t i = 0; i < endpoints; i++) {
		(void)snprintf(world->names[i], NAME_BYTES, "app%zu-%zu", i % groups, i);
		memcpy(world->endpoints[i].id.bytes, &(uint64_t){ i + 1 }, sizeof(uint64_t));
		world->endpoints[i].kind = POLICY_CONTAINER;
		world->endpoints[i].name = world->names[i];
		world->endpoints[i].compose_service = world->names[(i * 7) % groups];
		world->endpoints[i].image = "registry/app:1";
	}
}

static void world_done(struct world *world)
{
	free(world->endpoints);
	free(world->names);
}

/* Groups by name and by compose service; rules of every kind, none of which ends the walk early. */
static char *make_policy(const struct world *world, unsigned rules)
{
	static const char *const tails[] = { "", " process /usr/sbin/app%u", " user user%u",
		                             " to-process /usr/**/srv%u", " to-user %u" };
	size_t size = 4096 + rules * RULE_TEXT_BYTES + world->groups * RULE_TEXT_BYTES;
	char *text = malloc(size);
	size_t used = (size_t)snprintf(text, size, "mode enforce default\n");
	for (unsigned i = 0; i < world->groups; i++) {
		used += (size_t)snprintf(text + used, size - used,
		                         "group g%u select name app%u-* select compose.service "
		                         "app%u-%u\n",
		                         i, i, i, i);
	}
	for (unsigned i = 0; i < rules; i++) {
		unsigned from = i * 31 % world->groups, to = i * 17 % world->groups;
		used += (size_t)snprintf(text + used, size - used, "rule %u %s", i + 1,
		                         i % 3 == 0 ? "deny" : "allow");
		if (i % 4 == 0) {
			used += (size_t)snprintf(text + used, size - used, " from 10.%u.%u.0/24",
			                         i / 256 % 256, i % 256);
		} else {
			used += (size_t)snprintf(text + used, size - used, " from g%u", from);
		}
		used += (size_t)snprintf(text + used, size - used, " to g%u tcp/%u,%u-%u", to,
		                         1 + i % 60000, 2000 + i % 1000, 3000 + i % 2000);
		if (tails[i % 5][0] != '\0') {
			const char *tail = tails[i % 5];
			size_t words = strcspn(tail, "%");
			used += (size_t)snprintf(text + used, size - used, "%.*s%u", (int)words,
			                         tail, i % 500);
		}
		used += (size_t)snprintf(text + used, size - used, " comment \"rule number %u\"\n",
		                         i + 1);
	}
	return text;
}

static double evaluate_ns(const struct world *world, const policy_image_t *image,
                          unsigned *ret_matched)
{
	uint64_t start_ns = 0;
	unsigned matched = 0;
	for (unsigned i = 0; i < 2 * REQUESTS; i++) {
		if (i == REQUESTS) { /* the first half warms up */
			start_ns = pr_clock_monotonic_ns();
		}
		size_t from = i * 7919UL % world->endpoint_count;
		size_t to = i * 104729UL % world->endpoint_count;
		struct policy_request request = {
			.asker = POLICY_END_BOTH,
			.proto = 6,
			.port = (uint16_t)(i * 31 % 6000),
			.source = world->endpoints[from].id,
			.destination = world->endpoints[to].id,
			.source_addr = pr_addr_from_v4(htonl(0x0a000000U + i % 65536 * 256)),
			.user = { .uid = 1000, .name = "user7" },
			.to_user = { .uid = i % 500 },
			.process = "/usr/sbin/app9",
			.to_process = "/usr/lib/x/srv",
		};
		struct policy_verdict verdict;
		memset(request.known, POLICY_KNOWN, sizeof(request.known));
		policy_image_evaluate(image, &request, 1, &verdict);
		matched += verdict.rule != 0;
	}
	*ret_matched = matched;
	return (double)(pr_clock_monotonic_ns() - start_ns) / REQUESTS;
}

static void try_size(unsigned rules, size_t endpoints, unsigned groups, double max_mib)
{
	static struct policy_errors errors;
	struct world world;
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(policy_image_destroy) policy_image_t *image = NULL;
	world_make(&world, endpoints, groups);
	_cleanup_(pr_free) char *text = make_policy(&world, rules);
	uint64_t start_ns = pr_clock_monotonic_ns();
	int err = policy_text_parse(text, strlen(text), &errors, &model);
	uint64_t parsed_ns = pr_clock_monotonic_ns();
	if (err == PR_OK) {
		err = policy_image_compile(model, world.endpoints, endpoints, 1, &image);
	}
	uint64_t compiled_ns = pr_clock_monotonic_ns();
	if (!ok(err == PR_OK, "%u rules of %zu bytes parse and compile for %zu endpoints", rules,
	        strlen(text), endpoints)) {
		printf("# %s, line %u: %s\n", pr_strerror(err), errors.items[0].line,
		       errors.items[0].message);
		world_done(&world);
		return;
	}
	unsigned matched = 0;
	double ns = evaluate_ns(&world, image, &matched);
	double mib = (double)policy_image_size_bytes(image) / MIB;
	printf("# rules=%u endpoints=%zu groups=%u parse_ms=%.1f compile_ms=%.1f image_mib=%.2f "
	       "evaluate_ns=%.0f matched=%.0f%%\n",
	       rules, endpoints, groups, (double)(parsed_ns - start_ns) / PR_NS_PER_MS,
	       (double)(compiled_ns - parsed_ns) / PR_NS_PER_MS, mib, ns,
	       50.0 * matched / REQUESTS);
	ok(mib < max_mib, "the image takes %.2f MiB, less than %.0f", mib, max_mib);
	world_done(&world);
}

int main(void)
{
	try_size(10, 10, 3, 1);
	try_size(1000, 100, 50, 2);
	try_size(10000, 1000, 300, 30);
	try_size(10000, ENDPOINTS_MAX, 1000, 60);
	try_size(100000, 1000, 300, 200);
	return tap_done();
}
