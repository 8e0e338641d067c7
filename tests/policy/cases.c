/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"
#include "tests/policy/cases.h"

/* xorshift64*: the same cases at each run. */
uint32_t cases_random_below(struct cases_random *random, uint32_t bound)
{
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return (uint32_t)((random->state * 0x2545f4914f6cdd1dULL) >> 33) % bound;
}

#define PICK(random, pool) ((pool)[cases_random_below((random), PR_ARRAY_LEN(pool))])

static const struct policy_label labels[] = { { "tier", "front" }, { "team", "blue" } };

static struct policy_endpoint endpoints[CASES_ENDPOINTS] = {
	{ .kind = POLICY_HOST, .name = "hosta", .cgroup = "/" },
	{ .kind = POLICY_HOST, .name = "hostb", .cgroup = "/" },
	{ .kind = POLICY_CONTAINER,
	  .name = "web_1",
	  .compose_project = "shop",
	  .compose_service = "web" },
	{ .kind = POLICY_CONTAINER,
	  .name = "web_2",
	  .compose_project = "shop",
	  .compose_service = "web" },
	{ .kind = POLICY_CONTAINER, .name = "db_1", .compose_project = "shop" },
	{ .kind = POLICY_CONTAINER, .name = "cache", .cgroup = "/docker/cache" },
	{ .kind = POLICY_CONTAINER, .name = "batch", .labels = labels, .label_count = 2 },
	{ .kind = POLICY_CONTAINER, .name = "api", .labels = labels, .label_count = 1 },
	{ .kind = POLICY_CONTAINER, .name = "mail", .compose_project = "mail" },
	{ .kind = POLICY_CONTAINER, .name = "dns", .image = "dns:1" },
	{ .kind = POLICY_CONTAINER, .name = "proxy", .image = "web:1" },
	{ .kind = POLICY_CONTAINER, .name = "odd", .image = "odd" },
};

const struct policy_endpoint *cases_endpoints(void)
{
	for (unsigned i = 0; i < CASES_ENDPOINTS; i++) {
		bool host = endpoints[i].kind == POLICY_HOST;
		endpoints[i].id.bytes[0] = 0xee;
		endpoints[i].id.bytes[15] = (uint8_t)(i + 1);
		endpoints[i].host_name = host ? NULL : i % 2 == 0 ? "hosta" : "hostb";
	}
	return endpoints;
}

static const char groups[] =
	"group web select compose.service web\n"
	"group shop select compose.project shop member ee000000-0000-0000-0000-000000000006\n"
	"group front select label.tier front\n"
	"group hosts select kind host\n"
	"group ona select host hosta kind container\n"
	"group strange member dd000000-0000-0000-0000-000000000001 select image odd\n"
	"group nobody\n" CASES_USERGROUPS;

static const char *const operands[] = {
	"web",        "shop",         "front",      "hosts",
	"ona",        "strange",      "host hosta", "nobody",
	"10.0.0.0/8", "192.0.2.0/24", "192.0.2.7",  "10.1.0.0/16",
	"fd00::/8",   "fd00:1::/32",  "0.0.0.0/0",  "ee000000-0000-0000-0000-000000000005",
};
static const char *const services[] = {
	"tcp/80", "tcp/80,443", "tcp/22,1000-2000",  "udp/53",
	"tcp",    "icmp/8",     "udp/53 tcp/53",     "icmp6/128 udp/1-100",
	"icmp",   "proto/132",  "tcp/1500-1600 udp", "tcp/443,1024-65535",
};
static const char *const users[] = { "ana",    "bob",    "carl",     "1001",  "33",    "0",
	                             "@staff", "@staff", "@daemons", "@both", "@noone" };
static const char *const processes[] = { "/usr/sbin/web", "/usr/bin/curl", "/usr/**",
	                                 "/usr/sbin/*",   "**/java",       "kernel" };
static const char *const dates[] = { "2027-01-20", "2027-02-01", "2027-03-01" };
static const char *const actions[] = { "allow", "deny", "reject" };

struct text {
	char *bytes;
	size_t used, size;
};

static void put(struct text *text, const char *format, ...) _printf_(2, 3);

static void put(struct text *text, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int bytes = vsnprintf(text->bytes + text->used, text->size - text->used, format, args);
	va_end(args);
	if (bytes < 0 || (size_t)bytes >= text->size - text->used) {
		abort();
	}
	text->used += (size_t)bytes;
}

static bool one_in(struct cases_random *random, uint32_t bound)
{
	return cases_random_below(random, bound) == 0;
}

static void put_rule(struct cases_random *random, struct text *text, unsigned number)
{
	put(text, "rule %u %s%s", number, one_in(random, 12) ? "staged " : "",
	    PICK(random, actions));
	put(text, " from %s", one_in(random, 2) ? "any" : PICK(random, operands));
	put(text, " to %s", one_in(random, 2) ? "any" : PICK(random, operands));
	put(text, " %s", one_in(random, 3) ? "any" : PICK(random, services));
	if (one_in(random, 3)) {
		put(text, " user %s", PICK(random, users));
	}
	if (one_in(random, 3)) {
		put(text, " process %s", PICK(random, processes));
	}
	if (one_in(random, 4)) {
		put(text, " to-user %s", PICK(random, users));
	}
	if (one_in(random, 4)) {
		put(text, " to-process %s", PICK(random, processes));
	}
	if (one_in(random, 4)) {
		put(text, " expires %s", PICK(random, dates));
	}
	put(text, "\n");
}

char *cases_policy(struct cases_random *random, unsigned rules)
{
	struct text text = { .size = 4096 + rules * 256UL };
	text.bytes = calloc(1, text.size);
	if (text.bytes == NULL) {
		abort();
	}
	put(&text, "mode %s default\n", one_in(random, 3) ? "observe" : "enforce");
	put(&text, "mode observe group web\nmode enforce group shop\nmode observe group hosts\n");
	put(&text, "lifeline from 192.0.2.7 to hosts tcp/22\n%s", groups);
	for (unsigned i = 0; i < rules; i++) {
		put_rule(random, &text, (i + 1) * 10);
	}
	return text.bytes;
}

/* ---- requests ---- */

static void draw_endpoint(struct cases_random *random, struct pr_uuid *id)
{
	uint32_t index = cases_random_below(random, CASES_ENDPOINTS + 3);
	*id = (struct pr_uuid){ 0 };
	if (index < CASES_ENDPOINTS) {
		*id = endpoints[index].id;
	} else if (index < CASES_ENDPOINTS + 2) {
		id->bytes[0] = 0xdd; /* only the policy names the first, nobody the second */
		id->bytes[15] = (uint8_t)(index - CASES_ENDPOINTS + 1);
	}
}

static void draw_addr(struct cases_random *random, struct pr_addr *addr)
{
	static const char *const texts[] = { "192.0.2.7",    "192.0.2.8",   "10.1.2.3",
		                             "10.2.0.1",     "fd00:1::1",   "fd00:2::1",
		                             "::1",          "203.0.113.9", "10.255.0.0",
		                             "9.255.255.255" };
	if (pr_addr_parse(PICK(random, texts), addr) != PR_OK) {
		abort();
	}
}

static void draw_user(struct cases_random *random, struct policy_user *user)
{
	static const char *const names[] = { "ana", "bob", "carl", "dora", "", NULL };
	static const uint32_t uids[] = { 0, 33, 999, 1001, 1002, 4294967295 };
	user->uid = PICK(random, uids);
	user->name = PICK(random, names);
}

static const char *draw_process(struct cases_random *random)
{
	static const char *const paths[] = { "/usr/sbin/web",      "/usr/bin/curl", "/opt/x/java",
		                             "/usr/sbin/deep/web", "/bin/sh",       "kernel",
		                             "/usr/sbin/other" };
	return PICK(random, paths);
}

static uint8_t draw_known(struct cases_random *random)
{
	static const uint8_t known[] = { POLICY_KNOWN,   POLICY_KNOWN,  POLICY_KNOWN, POLICY_KNOWN,
		                         POLICY_KNOWN,   POLICY_KNOWN,  POLICY_KNOWN, POLICY_KNOWN,
		                         POLICY_UNKNOWN, POLICY_PENDING };
	return PICK(random, known);
}

void cases_vary(struct cases_random *random, unsigned field, struct policy_request *request,
                uint64_t *now_wall_ns)
{
	static const uint8_t protos[] = { 6, 6, 6, 17, 17, 1, 58, 132, 47 };
	static const uint16_t ports[] = { 80, 443, 22, 53, 8, 128, 1500, 1600, 1601, 2000, 65535 };
	static const uint64_t days[] = { 0, 5, 10, 20, 40, 60 };
	if (field < _POLICY_FIELD_MAX) {
		request->known[field] = draw_known(random);
	}
	switch (field) {
	case POLICY_FIELD_PROTO:
		request->proto = PICK(random, protos);
		break;
	case POLICY_FIELD_PORT:
		request->port = PICK(random, ports);
		break;
	case POLICY_FIELD_DESTINATION:
		draw_endpoint(random, &request->destination);
		break;
	case POLICY_FIELD_DESTINATION_ADDR:
		draw_addr(random, &request->destination_addr);
		break;
	case POLICY_FIELD_SOURCE:
		draw_endpoint(random, &request->source);
		break;
	case POLICY_FIELD_SOURCE_ADDR:
		draw_addr(random, &request->source_addr);
		break;
	case POLICY_FIELD_USER:
		draw_user(random, &request->user);
		break;
	case POLICY_FIELD_PROCESS:
		request->process = draw_process(random);
		break;
	case POLICY_FIELD_TO_USER:
		draw_user(random, &request->to_user);
		break;
	case POLICY_FIELD_TO_PROCESS:
		request->to_process = draw_process(random);
		break;
	default:
		*now_wall_ns = CASES_NOW_NS + PICK(random, days) * 86400000000000ULL;
		break;
	}
}

void cases_request(struct cases_random *random, struct policy_request *request,
                   uint64_t *now_wall_ns)
{
	*request = (struct policy_request){ .asker = cases_random_below(random, 3) };
	for (unsigned field = 0; field <= _POLICY_FIELD_MAX; field++) {
		cases_vary(random, field, request, now_wall_ns);
	}
}

bool cases_same(const struct policy_verdict *a, const struct policy_verdict *b)
{
	return a->action == b->action && a->policy_action == b->policy_action &&
	       a->mode == b->mode && a->provisional == b->provisional && a->several == b->several &&
	       a->would_deny == b->would_deny && a->lifeline == b->lifeline && a->rule == b->rule &&
	       a->staged_rule == b->staged_rule && a->staged_action == b->staged_action &&
	       a->revision == b->revision && a->valid_until_wall_ns == b->valid_until_wall_ns;
}

bool cases_identical(const struct policy_verdict *a, const struct policy_verdict *b)
{
	return cases_same(a, b) && a->depends == b->depends;
}
