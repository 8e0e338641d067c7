/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Two changes of one policy: what comes together, and what is a conflict. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/merge.h"
#include "tests/tap.h"

#define BASE                                     \
	"# head\n"                               \
	"mode observe default\n"                 \
	"group web select name web\n"            \
	"rule 10 allow from any to web tcp/80\n" \
	"rule 20 allow from any to web tcp/81\n"

static struct policy_errors errors;
static char merged[4096];

static policy_model_t *model_of(const char *text)
{
	policy_model_t *model = NULL;

	if (policy_text_parse(text, strlen(text), &errors, &model) != PR_OK) {
		printf("Bail out! %s\n", errors.items[0].message);
		exit(1);
	}
	return model;
}

/* BASE with @p old replaced by @p new; "" appends. */
static const char *text_with(char text[static 4096], const char *old, const char *new)
{
	const char *at = old[0] != '\0' ? strstr(BASE, old) : strchr(BASE, '\0');

	(void)snprintf(text, 4096, "%.*s%s%s", (int)(at - BASE), BASE, new, at + strlen(old));
	return text;
}

static int merge(const char *mine_old, const char *mine_new, const char *theirs_old,
                 const char *theirs_new)
{
	char mine_text[4096], theirs_text[4096];
	_cleanup_(policy_model_destroy) policy_model_t *base = model_of(BASE);
	_cleanup_(policy_model_destroy) policy_model_t *mine =
		model_of(text_with(mine_text, mine_old, mine_new));
	_cleanup_(policy_model_destroy) policy_model_t *theirs =
		model_of(text_with(theirs_text, theirs_old, theirs_new));
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(pr_free) char *text = NULL;
	size_t size_bytes = 0;

	int ret = policy_merge(base, mine, theirs, &errors, &model);
	if (ret == PR_OK && policy_text_format(model, &text, &size_bytes) == PR_OK) {
		(void)snprintf(merged, sizeof(merged), "%s", text);
	}
	return ret;
}

#define R10 "rule 10 allow from any to web tcp/80\n"
#define R20 "rule 20 allow from any to web tcp/81\n"

int main(void)
{
	ok(merge("", "rule 30 deny from any to web tcp/1\n", "",
	         "rule 40 deny from any to web tcp/2\n") == PR_OK &&
	           strcmp(merged, BASE "rule 30 deny from any to web tcp/1\n"
	                               "rule 40 deny from any to web tcp/2\n") == 0,
	   "two rules behind the same one");
	ok(merge("", "rule 30 deny from any to web tcp/1\n", "",
	         "rule 30 deny from any to web tcp/2\n") == PR_ECONFLICT,
	   "one number for two rules");
	ok(merge("", "rule 30 deny from any to web tcp/1\n", "",
	         "rule 30 deny from any to web tcp/1\n") == PR_OK &&
	           strcmp(merged, BASE "rule 30 deny from any to web tcp/1\n") == 0,
	   "the same rule twice is one");
	ok(merge(R10, "rule 10 allow from any to web tcp/8080\n", R20, "") == PR_OK &&
	           strstr(merged, "tcp/8080") != NULL && strstr(merged, "rule 20") == NULL,
	   "one changed, another removed");
	ok(merge(R10, "rule 10 allow from any to web tcp/8080\n", R10,
	         "rule 10 allow from any to web tcp/8081\n") == PR_ECONFLICT,
	   "one rule changed by both");
	ok(merge(R10, "", R10, "rule 10 allow from any to web tcp/8081\n") == PR_ECONFLICT,
	   "removed here, changed there");
	ok(merge(R10, "", R10, "") == PR_OK && strstr(merged, "rule 10") == NULL,
	   "removed by both");
	ok(merge("mode observe default\n", "mode enforce default\n", "",
	         "group db select name db\n") == PR_OK &&
	           strstr(merged, "mode enforce default\n") != NULL &&
	           strstr(merged, "mode observe") == NULL && strstr(merged, "group db") != NULL,
	   "the mode here, a group there");
	ok(merge("mode observe default\n", "mode enforce default\n", "mode observe default\n",
	         "mode  enforce default\n") == PR_ECONFLICT,
	   "the mode by both");
	ok(merge("", "group db select name db\nrule 30 allow from web to db tcp/1\n", R10, "") ==
	                   PR_OK &&
	           strstr(merged, "group db") != NULL && strstr(merged, "rule 30") != NULL,
	   "a rule with its group");
	ok(merge("", "rule 30 allow from web to any tcp/1\n", "group web select name web\n" R10 R20,
	         "") == PR_EPOLICY &&
	           errors.count > 0,
	   "a rule whose group the other took out: %s", errors.items[0].message);
	ok(merge("", "usergroup ops member ana\nrule 30 allow user @ops from any to web tcp/1\n",
	         R10, "") == PR_OK &&
	           strstr(merged, "usergroup ops") != NULL && strstr(merged, "user @ops") != NULL,
	   "a rule with its usergroup");
	ok(merge("", "usergroup ops member ana\n", "",
	         "rule 30 allow user ops from any to web tcp/1\n") == PR_EPOLICY &&
	           errors.count == 1,
	   "a usergroup here, a user of its name there: %s", errors.items[0].message);
	ok(merge("# head\n", "# other\n", R10, "") == PR_ECONFLICT, "a remark is for a person");
	ok(merge("", "", R10, "") == PR_OK && strstr(merged, "rule 10") == NULL,
	   "nothing of mine is theirs");
	return tap_done();
}
