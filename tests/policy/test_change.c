/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file One rule more, less, moved, switched; all other bytes of the text stay. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/change.h"
#include "tests/tap.h"

#define TEXT                                                        \
	"# head\n"                                                  \
	"mode  observe   default\n"                                 \
	"group web select name web_*\n"                             \
	"group web select name www_*\n"                             \
	"group db  select name db_*\n"                              \
	"\n"                                                        \
	"rule 10 allow from any to web tcp/80   # the \"page\"\n"   \
	"rule 30  deny from any to db any comment \"a # b\" # no\n" \
	"# tail\n"

static struct policy_errors errors;

static void bail(const char *why)
{
	printf("Bail out! %s\n", why);
	exit(1);
}

static policy_model_t *model, *changed;

static void reset(void)
{
	policy_model_destroy(&model);
	policy_model_destroy(&changed);
	if (policy_text_parse(TEXT, strlen(TEXT), &errors, &model) != PR_OK) {
		bail("the text of this test has an error");
	}
}

/* Is the changed text TEXT with @p old once replaced by @p new? */
static bool replaced(const char *old, const char *new)
{
	_cleanup_(pr_free) char *text = NULL;
	char wanted[2048];
	const char *at = strstr(TEXT, old);
	size_t size_bytes = 0;

	if (changed == NULL || at == NULL ||
	    policy_text_format(changed, &text, &size_bytes) != PR_OK) {
		return false;
	}
	(void)snprintf(wanted, sizeof(wanted), "%.*s%s%s", (int)(at - TEXT), TEXT, new,
	               at + strlen(old));
	if (strcmp(text, wanted) != 0) {
		printf("# got:\n%s# wanted:\n%s", text, wanted);
	}
	return strcmp(text, wanted) == 0;
}

static int add(const char *line, uint32_t *ret_number)
{
	size_t at = 0;

	reset();
	return policy_change_add(model, line, &errors, &changed, ret_number, &at);
}

static void test_add(void)
{
	uint32_t number = 0;

	ok(add("allow from web to db tcp/3306", &number) == PR_OK && number == 40 &&
	           replaced("# tail\n", "rule 40 allow from web to db tcp/3306\n# tail\n"),
	   "a rule without a number goes behind the last one");
	ok(add("  20 allow from web to db tcp/3306", &number) == PR_OK && number == 20 &&
	           replaced("rule 30 ", "rule 20 allow from web to db tcp/3306\nrule 30 "),
	   "one with a number goes to its place");
	ok(add("rule 5 deny from any to web tcp/81", &number) == PR_OK && number == 5 &&
	           replaced("rule 10 ", "rule 5 deny from any to web tcp/81\nrule 10 "),
	   "a lower one in front");
	ok(add("group mail select name mail", &number) == PR_OK && number == 0 &&
	           replaced("\nrule 10 ", "group mail select name mail\n\nrule 10 "),
	   "a group goes behind the groups");
	ok(add("rule 10 deny from any to web any", &number) == PR_EPOLICY && errors.count == 1,
	   "a number that is taken: %s", errors.items[0].message);
	ok(add("alow from any to web any", &number) == PR_EPOLICY && errors.count > 0,
	   "a wrong word: %s", errors.items[0].message);
	ok(add("allow from any to web any\nrule 1 allow from any to any any", NULL) == PR_EINVAL,
	   "two lines are refused");
	ok(add("999999999 allow from any to web tcp/1", &number) == PR_OK, "the last number");
	reset();
}

static void test_add_to_the_last(void)
{
	policy_model_t *more = NULL;
	uint32_t number = 0;

	(void)add("999999999 allow from any to web tcp/1", &number);
	ok(policy_change_add(changed, "allow from any to web tcp/2", &errors, &more, &number,
	                     NULL) == PR_ETOOBIG,
	   "behind the last number there is none");
	policy_model_destroy(&more);
	if (policy_text_parse("", 0, &errors, &more) != PR_OK) {
		bail("an empty text has an error");
	}
	policy_model_destroy(&changed);
	ok(policy_change_add(more, "allow from any to any tcp/2", &errors, &changed, &number,
	                     NULL) == PR_OK &&
	           number == 10,
	   "the first rule of an empty text is 10");
	policy_model_destroy(&more);
}

static void test_remove(void)
{
	reset();
	ok(policy_change_remove(model, 10, &errors, &changed) == PR_OK &&
	           replaced("rule 10 allow from any to web tcp/80   # the \"page\"\n", ""),
	   "a rule less");
	ok(policy_change_remove(model, 11, &errors, &changed) == PR_ENOENT, "none of that number");
	reset();
	ok(policy_change_group_remove(model, "web", &errors, &changed) == PR_EPOLICY,
	   "a group that is used stays: %s", errors.items[0].message);
	ok(policy_change_group_remove(model, "nobody", &errors, &changed) == PR_ENOENT,
	   "no such group");
	policy_model_t *without = NULL;
	if (policy_change_remove(model, 10, &errors, &without) == PR_OK &&
	    policy_change_group_remove(without, "web", &errors, &changed) == PR_OK) {
		ok(policy_model_group_count(changed) == 1, "one that is not goes, all its lines");
	}
	policy_model_destroy(&without);
}

#define USERS                                                    \
	"usergroup ops member ana\n"                             \
	"usergroup ops member 1000\n"                            \
	"group ops\n"                                            \
	"rule 10 allow user @ops from any to any tcp/22 # why\n" \
	"expect allow from any to any tcp/22 to-user @ops\n"

static void test_usergroups(void)
{
	policy_model_t *without = NULL, *more = NULL;

	policy_model_destroy(&model);
	policy_model_destroy(&changed);
	if (policy_text_parse(USERS, strlen(USERS), &errors, &model) != PR_OK) {
		bail("the text of this test has an error");
	}
	ok(policy_change_usergroup_remove(model, "ops", &errors, &without) == PR_EPOLICY &&
	           errors.count == 2 && errors.items[0].line == 2 && errors.items[0].column == 20,
	   "a usergroup that is named stays, and it is said where: %s", errors.items[0].message);
	ok(policy_change_usergroup_remove(model, "web", &errors, &without) == PR_ENOENT,
	   "no such usergroup");
	ok(policy_change_add(model, "usergroup dev member bob", &errors, &more, NULL, NULL) ==
	                   PR_OK &&
	           policy_model_line(more, 2)->kind == POLICY_LINE_USERGROUP &&
	           policy_change_usergroup_remove(more, "dev", &errors, &without) == PR_OK &&
	           policy_model_line_count(without) == 5,
	   "one more goes behind the others, and out again");
	policy_model_destroy(&without);
	policy_model_destroy(&more);
	ok(policy_change_add(model, "allow user ops from any to any tcp/23", &errors, &more, NULL,
	                     NULL) == PR_EPOLICY,
	   "its name without the mark: %s", errors.items[0].message);
	ok(policy_change_move(model, 10, 20, &errors, &changed) == PR_OK &&
	           policy_model_rule(changed, 0)->user.kind == POLICY_USER_GROUP,
	   "a rule that moves keeps its usergroup");
	policy_model_destroy(&changed);
	ok(policy_change_group_remove(model, "ops", &errors, &changed) == PR_OK &&
	           policy_model_usergroup_count(changed) == 1,
	   "a group of the same name is another thing");
}

static void test_move(void)
{
	reset();
	ok(policy_change_move(model, 10, 40, &errors, &changed) == PR_OK &&
	           policy_model_rule(changed, 1)->number == 40,
	   "a rule moves");
	size_t line = 0;
	(void)policy_model_rule_find(changed, 40, &line);
	const struct policy_line *moved = policy_model_line(changed, line);
	ok(line == 7 && memmem(moved->text, moved->size_bytes, "# the \"page\"", 12) != NULL,
	   "to its place, with its remark");
	policy_model_destroy(&changed);
	ok(policy_change_move(model, 10, 30, &errors, &changed) == PR_EEXIST, "not onto another");
	ok(policy_change_move(model, 9, 40, &errors, &changed) == PR_ENOENT, "nor what is none");
	ok(policy_change_move(model, 10, 0, &errors, &changed) == PR_EPOLICY, "nor to 0");
}

static void test_status(void)
{
	reset();
	ok(policy_change_status(model, 30, POLICY_DISABLED, &errors, &changed) == PR_OK &&
	           replaced("rule 30  deny from any to db any comment \"a # b\" # no",
	                    "rule 30 deny from any to db any comment \"a # b\" disabled # no"),
	   "a rule is switched off, a # in quotes is no remark");
	policy_model_t *again = NULL;
	ok(policy_change_status(changed, 30, POLICY_ENABLED, &errors, &again) == PR_OK &&
	           policy_model_rule_find(again, 30, NULL)->status == POLICY_ENABLED,
	   "and on");
	policy_model_destroy(&again);
	policy_model_destroy(&changed);
	ok(policy_change_status(model, 30, POLICY_ENABLED, &errors, &changed) == PR_EEXIST,
	   "one that is on already");
	ok(policy_change_status(model, 30, POLICY_STAGED, &errors, &changed) == PR_OK &&
	           policy_model_rule_find(changed, 30, NULL)->status == POLICY_STAGED,
	   "or only watched");
}

int main(void)
{
	test_add();
	test_add_to_the_last();
	test_remove();
	test_usergroups();
	test_move();
	test_status();
	policy_model_destroy(&model);
	policy_model_destroy(&changed);
	return tap_done();
}
