/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file `expect` lines: what holds, what fails and why, what stays open. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/expect.h"
#include "tests/tap.h"

enum who { HOSTA, WEB1, WEB2, DB, _WHO_MAX };

static struct policy_endpoint endpoints[_WHO_MAX] = {
	[HOSTA] = { .kind = POLICY_HOST, .name = "hosta" },
	[WEB1] = { .kind = POLICY_CONTAINER, .name = "web_1", .host_name = "hosta" },
	[WEB2] = { .kind = POLICY_CONTAINER, .name = "web_2", .host_name = "hosta" },
	[DB] = { .kind = POLICY_CONTAINER, .name = "db_1", .host_name = "hosta" },
};

#define GROUPS                          \
	"group web select name web_*\n" \
	"group db select name db_*\n"   \
	"group gone select name none\n"

static struct policy_errors errors;
static struct policy_expect_failure failure;
static struct policy_expect_result result;

static void failed(void *arg, const struct policy_expect_failure *found)
{
	(void)arg;
	failure = *found;
}

static int run(const char *rules)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(policy_image_destroy) policy_image_t *image = NULL;
	char text[2048];

	failure = (struct policy_expect_failure){ 0 };
	(void)snprintf(text, sizeof(text), "%s%s", GROUPS, rules);
	if (policy_text_parse(text, strlen(text), &errors, &model) != PR_OK ||
	    policy_image_compile(model, endpoints, _WHO_MAX, 1, &image) != PR_OK) {
		printf("# %u:%u: %s\n", errors.items[0].line, errors.items[0].column,
		       errors.items[0].message);
		return PR_EPOLICY;
	}
	return policy_expect_run(model, image, endpoints, _WHO_MAX, 1, failed, NULL, &result);
}

static bool holds(const char *rules)
{
	return run(rules) == PR_OK && result.lines == 1 && result.failed == 0 &&
	       result.untried == 0;
}

static bool fails(const char *rules, enum policy_expect_outcome outcome, uint32_t rule)
{
	return run(rules) == PR_OK && result.failed == 1 &&
	       failure.line == result.lines + 3 + (rule != 0) && failure.outcome == outcome &&
	       (outcome == POLICY_EXPECT_OPEN || failure.rule == rule);
}

#define RULE  "rule 10 allow from web to db tcp/3306 process "
#define SURE  "expect allow from web to db tcp/3306 process "
#define NOT   "expect deny from web to db tcp/3306 process "
#define MYSQL "rule 10 allow from web to db tcp/3306 process /usr/sbin/apache2\n"

static void test_who(void)
{
	ok(holds(MYSQL "expect allow from web to db tcp/3306 process /usr/sbin/apache2\n"),
	   "what a rule allows");
	ok(holds(MYSQL "expect deny from web to db tcp/3306 process /bin/sh\n"), "another process");
	ok(holds(RULE "\"/tmp/\\x1b[2J\"\n" SURE "\"/tmp/\\u{1b}[2J\"\n") &&
	           holds(RULE "\"/tmp/\\x1b[2J\"\n" NOT "\"/tmp/\\\\x1b[2J\"\n") &&
	           holds(RULE "\"/tmp/\\\\x1b[2J\"\n" NOT "\"/tmp/\\x1b[2J\"\n"),
	   "a path with an escape sequence is itself, and not what it is shown as");
	ok(holds(RULE ":/tmp/%FF\n" SURE ":/tmp/%FF\n") &&
	           holds(RULE ":/tmp/%FF\n" NOT "/tmp/%FF\n") &&
	           holds(RULE "/tmp/%FF\n" NOT ":/tmp/%FF\n") &&
	           holds(RULE "\"/tmp/\\u{ff}\"\n" NOT ":/tmp/%FF\n"),
	   "a path that is not UTF-8 is itself, and not what its form says");
	ok(holds(RULE "/tmp/*\n" SURE ":/tmp/%FF\n") &&
	           holds(RULE ":/tmp/%FF*\n" SURE ":/tmp/%FFa\n") &&
	           holds(RULE ":/tmp/%FF*\n" NOT "/tmp/a\n"),
	   "patterns hold for its bytes");
	ok(holds(MYSQL "expect deny from db to web any\n"), "the other way, whatever the service");
	ok(holds(MYSQL "expect deny from host hosta to db tcp\n"), "a host, a whole protocol");
	ok(holds(MYSQL "expect deny from 203.0.113.9 to db tcp/3306\n"), "a stranger's address");
	ok(holds("rule 5 allow from any to web tcp/80\nexpect allow from any to web tcp/80\n"),
	   "anybody");
	ok(holds("rule 5 allow from 10.0.0.0/8 to web tcp/80\n"
	         "expect deny from db to web tcp/80\n"),
	   "an endpoint is tested by who it is");
}

static void test_failures(void)
{
	ok(fails("expect allow from web to db tcp/3306\n", POLICY_EXPECT_DENIED, 0),
	   "the default denies");
	ok(fails("rule 10 deny from web to db tcp\nexpect allow from web to db tcp/3306\n",
	         POLICY_EXPECT_DENIED, 10) &&
	           pr_uuid_equal(&failure.source, &endpoints[WEB1].id) && failure.port == 3306,
	   "a rule denies, and is named with the pair and the port");
	ok(fails("rule 10 allow from web to db tcp/80\nexpect deny from web to db tcp/1-100\n",
	         POLICY_EXPECT_ALLOWED, 10) &&
	           failure.port == 80,
	   "one port of a range is enough");
	ok(run("rule 10 deny user 1 from web to db tcp/3306\n"
	       "rule 20 allow from web to db tcp/3306\nexpect allow from web to db tcp/3306\n") ==
	                   PR_OK &&
	           result.failed == 1 && failure.outcome == POLICY_EXPECT_OPEN,
	   "open: some user is denied");
	ok(run(MYSQL "expect deny from web to db tcp/3306\n") == PR_OK && result.failed == 1 &&
	           failure.outcome == POLICY_EXPECT_OPEN,
	   "open: some process is allowed, so it is not denied");
	ok(run("rule 10 allow from web to any tcp/80\nexpect deny from any to db tcp/80\n") ==
	                   PR_OK &&
	           result.failed == 1 && failure.outcome == POLICY_EXPECT_OPEN,
	   "open: some source is allowed");
	ok(holds(MYSQL "rule 20 allow from web to db tcp/3306\n"
	               "expect allow from web to db tcp/3306\n"),
	   "not open if every rule that may match says the same");
}

static void test_each_member(void)
{
	char text[512];
	char id[PR_UUID_TEXT_BYTES];

	(void)snprintf(text, sizeof(text),
	               "group one member %s\nrule 10 allow from one to db tcp/22\n"
	               "expect allow from web to db tcp/22\n",
	               pr_uuid_format(&endpoints[WEB1].id, id));
	ok(run(text) == PR_OK && result.failed == 1 &&
	           pr_uuid_equal(&failure.source, &endpoints[WEB2].id),
	   "every member must pass: the second does not");
}

#define OPS "usergroup ops member ana, 1000\nrule 10 allow user @ops from web to db tcp/22\n"

static void test_usergroups(void)
{
	ok(run(OPS "expect allow user @ops from web to db tcp/22\n") == PR_OK &&
	           result.failed == 0 && result.untried == 0,
	   "a usergroup stands for each of its members");
	ok(run("usergroup ops member ana, 1000\nrule 10 allow user ana from web to db tcp/22\n"
	       "expect allow user @ops from web to db tcp/22\n") == PR_OK &&
	           result.failed == 1 && failure.outcome == POLICY_EXPECT_DENIED,
	   "one of them that is denied is enough");
	ok(run(OPS "expect deny user carl from web to db tcp/22\n") == PR_OK && result.failed == 0,
	   "who is no member is denied");
	ok(run("usergroup nil\nexpect deny to-user @nil from web to db tcp/22\n") == PR_OK &&
	           result.untried == 1,
	   "an empty one is nobody to try it with");
}

static void test_bounds(void)
{
	ok(run("expect allow from gone to db tcp/80\nexpect deny from host nosuch to db "
	       "tcp/80\n") == PR_OK &&
	           result.failed == 0 && result.untried == 2 && result.untried_first == 4,
	   "without anybody to try it with a line is counted as not tried");
	ok(run("expect deny from web to db tcp/1-65535 udp/1-65535\n"
	       "expect deny from web to web tcp/1-65535 udp/1-65535\n"
	       "expect deny from web to web tcp/1-65535 udp/1-65535\n") == PR_ETOOBIG,
	   "too many combinations are refused");
}

int main(void)
{
	for (unsigned i = 0; i < _WHO_MAX; i++) {
		endpoints[i].id.bytes[0] = 0xee;
		endpoints[i].id.bytes[15] = (uint8_t)(i + 1);
	}
	test_who();
	test_failures();
	test_each_member();
	test_usergroups();
	test_bounds();
	return tap_done();
}
