/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Who may reach whom: rows of a small policy, then every row and every gap of made-up ones
 * against the evaluator itself. */

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/reach.h"
#include "tests/tap.h"

enum who { HOSTA, WEB, DB, NOBODY, _WHO_MAX };

static struct policy_endpoint endpoints[NOBODY] = {
	[HOSTA] = { .kind = POLICY_HOST, .name = "hosta" },
	[WEB] = { .kind = POLICY_CONTAINER, .name = "web_1", .host_name = "hosta" },
	[DB] = { .kind = POLICY_CONTAINER, .name = "db_1", .host_name = "hosta" },
};
static struct policy_reach_end ends[_WHO_MAX];
static struct policy_errors errors;

static void bail(const char *why)
{
	printf("Bail out! %s\n", why);
	exit(1);
}

static char rows[8192];

static bool row_take(void *arg, const struct policy_reach_row *row)
{
	size_t used = strlen(rows);

	(void)arg;
	(void)snprintf(rows + used, sizeof(rows) - used, "%zu>%zu %u%s %u-%u %u%s\n", row->source,
	               row->destination, row->other_protocols ? 0U : row->proto,
	               row->whole ? " whole" : "", row->first, row->last, row->rule,
	               row->conditional ? " perhaps" : "");
	return true;
}

static int run(const char *text, size_t from, size_t from_count, size_t to, size_t to_count)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(policy_image_destroy) policy_image_t *image = NULL;

	rows[0] = '\0';
	if (policy_text_parse(text, strlen(text), &errors, &model) != PR_OK ||
	    policy_image_compile(model, endpoints, NOBODY, 1, &image) != PR_OK) {
		printf("# %u:%u: %s\n", errors.items[0].line, errors.items[0].column,
		       errors.items[0].message);
		return PR_EPOLICY;
	}
	return policy_reach_run(model, image, ends + from, from_count, ends + to, to_count, 1,
	                        row_take, NULL);
}

static bool gives(const char *text, enum who from, enum who to, const char *wanted)
{
	int ret = run(text, from, 1, to, 1);

	if (ret != PR_OK || strcmp(rows, wanted) != 0) {
		printf("# %d, got:\n%s", ret, rows);
	}
	return ret == PR_OK && strcmp(rows, wanted) == 0;
}

#define GROUPS "group web select name web_*\ngroup db select name db_*\n"

static void test_rows(void)
{
	ok(gives(GROUPS "rule 10 allow from web to db tcp/3306\n", WEB, DB, "0>0 6 3306-3306 10\n"),
	   "one port");
	ok(gives(GROUPS "rule 10 allow from web to db tcp/3306\n", HOSTA, DB, ""), "nobody else");
	ok(gives(GROUPS "rule 5 deny from any to db tcp/85-87\n"
	                "rule 10 allow from any to db tcp/80-90\n",
	         NOBODY, DB, "0>0 6 80-84 10\n0>0 6 88-90 10\n"),
	   "a range with a hole");
	ok(gives(GROUPS "rule 10 allow from web to db tcp/3306 process /usr/sbin/apache2\n", WEB,
	         DB, "0>0 6 3306-3306 10 perhaps\n"),
	   "a process is a condition");
	ok(gives(GROUPS "rule 10 allow user ana from any to db tcp/1\n"
	                "rule 20 allow from any to db tcp/1\n",
	         WEB, DB, "0>0 6 1-1 10\n"),
	   "a condition that changes nothing is none");
	ok(gives(GROUPS "rule 10 allow from any to db any\n", WEB, DB,
	         "0>0 6 whole 0-65535 10\n0>0 17 whole 0-65535 10\n0>0 0 whole 0-65535 10\n"),
	   "everything: tcp, udp and all that no rule names");
	ok(gives(GROUPS "rule 10 allow from 10.1.0.0/16 to db icmp\n", NOBODY, DB,
	         "0>0 1 whole 0-65535 10\n"),
	   "by address");
	ok(gives(GROUPS "rule 10 allow from any to any tcp/1\n", WEB, WEB, ""),
	   "to itself there is nothing to say");
	ok(run(GROUPS "rule 10 allow from web to any udp/53\n", WEB, 1, HOSTA, 4) == PR_OK &&
	           strcmp(rows, "0>0 17 53-53 10\n0>2 17 53-53 10\n0>3 17 53-53 10\n") == 0,
	   "many at the other end");
}

static void test_limit(void)
{
	size_t room = 70000 * 40;
	_cleanup_(pr_free) char *text = malloc(room);
	_cleanup_(pr_free) struct policy_reach_end *many = calloc(3000, sizeof(*many));
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(policy_image_destroy) policy_image_t *image = NULL;
	size_t used = 0;

	if (text == NULL || many == NULL) {
		bail("out of memory");
	}
	for (unsigned i = 1; i <= 2000; i++) {
		used += (size_t)snprintf(text + used, room - used,
		                         "rule %u allow from 10.0.0.1 to any tcp/%u\n", i, 2 * i);
	}
	if (policy_text_parse(text, used, &errors, &model) != PR_OK ||
	    policy_image_compile(model, endpoints, NOBODY, 1, &image) != PR_OK) {
		bail("the text of this test has an error");
	}
	ok(policy_reach_run(model, image, many, 3000, many, 1, 1, row_take, NULL) == PR_ETOOBIG,
	   "too many combinations are refused");
}

int main(void)
{
	for (size_t i = 0; i < NOBODY; i++) {
		endpoints[i].id.bytes[15] = (uint8_t)(i + 1);
		endpoints[i].host_id.bytes[15] = HOSTA + 1;
		ends[i].id = endpoints[i].id;
	}
	ends[NOBODY].has_address = true;
	ends[NOBODY].address = pr_addr_from_v4(htonl(0x0a010203));
	test_rows();
	test_limit();
	return tap_done();
}
