/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file The text form: what parses, what is refused and where, what comes back out. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/policy.h"
#include "tests/tap.h"

#define U1 "5f0c0000-0000-4000-8000-000000000001"
#define U2 "77b20000-0000-4000-8000-000000000002"

static struct policy_errors errors;

/* The design's own example, and what it does not show. */
static const char example[] =
	"mode  enforce default                      # or: observe default\n"
	"mode  observe group staging\n"
	"lost  deny group wordpress_db              # default: last-known 10m\n"
	"lost  last-known 30m default\n"
	"lifeline from 192.0.2.0/24 to dockersrv tcp/22   # never cut\n"
	"\n"
	"group staging\n"
	"group apache       select compose.service apache\n"
	"group wordpress_db member " U1 " member " U2 "\n"
	"group dockersrv    select host dockersrv\n"
	"group mixed        select name \"web *\" image nginx* select label.com.acme/tier front\n"
	"group mixed        member " U1 " select kind container compose.project p cgroup /a\n"
	"group caf\xc3\xa9   select host a\n"
	"usergroup admins   member ana, bob,1000\n"
	"\n"
	"\t# a comment of its own\n"
	"rule 10 allow from any    to apache       tcp/80   comment \"Allow Apache server\"\n"
	"rule 20 allow from apache to wordpress_db tcp/3306 process /usr/sbin/apache2\n"
	"rule 30 deny  user macuser from any to dockersrv tcp/22,2200-2299 "
	"expires 2027-01-31 owner ana  disabled\n"
	"rule 40 staged deny from any to 10.0.0.0/8 any  comment \"dry run: \\\"x\\\" # no\"\n"
	"rule 50 reject from host \"a b\" to " U2 " tcp/80 udp icmp icmp/8 icmp6 proto/132,47\n"
	"rule 45 deny to any any from any to-process /usr/**/x to-user 33 user @admins staged\n"
	"rule 60 allow from fd00::/8 to ::1 any process kernel\r\n"
	"rule 70 allow from caf\xc3\xa9 to any tcp expires 2027-01-31T18:30:00Z\n"
	"rule 80 allow user \"\\x1b[2J\\\"\\\\\" from any to any tcp process \"/a "
	"\\u{202e}\\x7F\\u{0AD}\"\n"
	"rule 90 allow user :an%FF%25 from any to any tcp process \":/a b/%FF*\"\n"
	"expect allow from apache to wordpress_db tcp/3306 process /usr/sbin/apache2\n"
	"expect deny from any to wordpress_db tcp/22 user root to-user @admins";

/* What rules look like in canonical form, by number. */
static const char *const canonical[] = {
	"rule 10 allow from any to apache tcp/80 comment \"Allow Apache server\"",
	"rule 20 allow from apache to wordpress_db tcp/3306 process /usr/sbin/apache2",
	"rule 30 deny user macuser from any to dockersrv tcp/22,2200-2299 expires 2027-01-31 "
	"owner ana disabled",
	"rule 40 staged deny from any to 10.0.0.0/8 any comment \"dry run: \\\"x\\\" # no\"",
	"rule 45 staged deny user @admins from any to any any to-user 33 to-process /usr/**/x",
	"rule 50 reject from host \"a b\" to " U2
	" tcp/80 udp icmp icmp/8 icmp6 proto/132 proto/47",
	"rule 60 allow from fd00::/8 to ::1 any process kernel",
	"rule 70 allow from caf\xc3\xa9 to any tcp expires 2027-01-31T18:30:00.000Z",
	"rule 80 allow user \"\\x1b[2J\\\"\\\\\" from any to any tcp process \"/a "
	"\\u{202e}\\x7f\\u{ad}\"",
	"rule 90 allow user :an%FF%25 from any to any tcp process \":/a b/%FF*\"",
};

/* One wrong thing each. */
static const struct {
	const char *text;
	uint32_t line, column;
	const char *message;
} wrong[] = {
	{ "rul 10 deny from any to any any", 1, 1, "unknown word \"rul\", did you mean \"rule\"?" },
	{ "\n\nxyzzy", 3, 1,
	  "unknown word \"xyzzy\": a line starts with mode, lost, lifeline, group, usergroup, rule "
	  "or expect" },
	{ "mode enforc default", 1, 6, "a mode is observe or enforce, did you mean \"enforce\"?" },
	{ "mode enforce", 1, 13, "write default or group NAME" },
	{ "mode enforce defualt", 1, 14, "write default or group NAME, did you mean \"default\"?" },
	{ "mode enforce group nobody", 1, 20, "unknown group \"nobody\"" },
	{ "mode enforce default x", 1, 22, "\"x\" is too much here" },
	{ "mode enforce default\nmode observe default", 2, 1,
	  "said already at line 1: one of the two must go" },
	{ "group g\nlost deny group g\n\nlost allow group g", 4, 1,
	  "said already at line 2: one of the two must go" },
	{ "lost never default", 1, 6, "a lost mode is deny, last-known or allow" },
	{ "lost last-known 10x default", 1, 17, "\"10x\" is not a time: write 90s, 10m, 2h or 1d" },
	{ "lost last-known 31d default", 1, 17, "time \"31d\" is not between 1s and 30d" },
	{ "lost last-known 0s default", 1, 17, "time \"0s\" is not between 1s and 30d" },
	{ "lost last-known 99999999999999999999d default", 1, 17,
	  "time \"99999999999999999999d\" is not between 1s and 30d" },
	{ "group", 1, 6, "group is missing" },
	{ "group \"\"", 1, 7, "group is empty" },
	{ "group any", 1, 7, "\"any\" is a word of the language, not a name for a group" },
	{ "group -x", 1, 7,
	  "group \"-x\": a name has letters, digits, \"_\" and, not first, \"-\" and \".\"" },
	{ "group \"a b\"", 1, 7,
	  "group \"a b\": a name has letters, digits, \"_\" and, not first, \"-\" and \".\"" },
	{ "group 10.0.0.1", 1, 7,
	  "a group cannot be called \"10.0.0.1\": it reads as an address or a UUID" },
	{ "group " U1, 1, 7,
	  "a group cannot be called \"" U1 "\": it reads as an address or a UUID" },
	{ "group g members x", 1, 9,
	  "\"members\": write member UUID or select SELECTOR VALUE, did you mean \"member\"?" },
	{ "group g member web", 1, 16, "\"web\" is not a UUID: write 32 hex digits as 8-4-4-4-12" },
	{ "group g member 00000000-0000-0000-0000-000000000000", 1, 16,
	  "the UUID of all zeros is nobody's" },
	{ "group g select", 1, 15, "a selector is missing, e.g. select name web*" },
	{ "group g select select name x", 1, 16, "a selector is missing, e.g. select name web*" },
	{ "group g select imag x", 1, 16, "unknown selector \"imag\", did you mean \"image\"?" },
	{ "group g select name", 1, 20, "selector's value is missing" },
	{ "group g select name \"\"", 1, 21, "selector's value is empty" },
	{ "group g select label. x", 1, 16, "a label's key has 1 to 255 bytes" },
	{ "group g select kind hosts", 1, 21,
	  "a kind is host or container, did you mean \"host\"?" },
	{ "usergroup u ana", 1, 13, "write member and user names or uids" },
	{ "usergroup u member ana,", 1, 24, "a user is missing" },
	{ "usergroup u member ,", 1, 20, "user is empty" },
	{ "usergroup u member 4294967295", 1, 20,
	  "uid 4294967295 is not between 0 and 4294967294" },
	{ "usergroup a member x\nusergroup b member y, a", 2, 23,
	  "a usergroup cannot be a member of a usergroup: \"a\"" },
	{ "usergroup a member x\nusergroup b member y,@a", 2, 22,
	  "a usergroup cannot be a member of a usergroup: \"a\"" },
	{ "usergroup ops member x\nrule 1 deny user @opz from any to any any", 2, 18,
	  "unknown usergroup \"opz\", did you mean \"ops\"?" },
	{ "rule 1 deny from any to any any to-user @", 1, 41,
	  "the usergroup's name is missing behind @" },
	{ "usergroup ops member x\nrule 1 deny from any to any any to-user ops", 2, 41,
	  "\"ops\" is a usergroup: write @ops, or the uid of a user of that name" },
	{ "usergroup ops member x\nexpect deny from any to any any user @oops", 2, 38,
	  "unknown usergroup \"oops\", did you mean \"ops\"?" },
	{ "rule", 1, 5, "rule number is missing" },
	{ "rule x deny from any to any any", 1, 6, "rule number \"x\" is not a number" },
	{ "rule 0 deny from any to any any", 1, 6, "rule number 0 is not between 1 and 999999999" },
	{ "rule 18446744073709551617 deny from any to any any", 1, 6,
	  "rule number 18446744073709551617 is not between 1 and 999999999" },
	{ "rule -1 deny from any to any any", 1, 6, "rule number \"-1\" is not a number" },
	{ "rule 1", 1, 7, "the action is missing: allow, deny or reject" },
	{ "rule 1 alow from any to any any", 1, 8,
	  "\"alow\" is not an action, did you mean \"allow\"?" },
	{ "rule 1 deny to any any", 1, 23, "no source: write \"from any\" to mean all" },
	{ "rule 1 deny from any any", 1, 25, "no destination: write \"to any\" to mean all" },
	{ "rule 1 deny from any to any", 1, 28, "no service: write tcp/80, udp/53, icmp or any" },
	{ "rule 1 deny from any to any TCP:80", 1, 29,
	  "unknown service \"TCP:80\", did you mean \"tcp/80\"?" },
	{ "rule 1 deny from any to any tcq/80", 1, 29,
	  "unknown service \"tcq/80\": write tcp/80, udp/53, icmp, proto/132 or any" },
	{ "rule 1 deny from any to any any proces /x", 1, 33,
	  "unknown word \"proces\", did you mean \"process\"?" },
	{ "rule 1 deny from any to any tcp/", 1, 29, "\"tcp/\": a port must be a number" },
	{ "rule 1 deny from any to any tcp/http", 1, 29, "\"tcp/http\": a port must be a number" },
	{ "rule 1 deny from any to any tcp/0", 1, 29,
	  "\"tcp/0\": port is not between 1 and 65535" },
	{ "rule 1 deny from any to any tcp/65536", 1, 29,
	  "\"tcp/65536\": port is not between 1 and 65535" },
	{ "rule 1 deny from any to any tcp/18446744073709551697", 1, 29,
	  "\"tcp/18446744073709551697\": port is not between 1 and 65535" },
	{ "rule 1 deny from any to any tcp/80,", 1, 29, "\"tcp/80,\": a port must be a number" },
	{ "rule 1 deny from any to any tcp/80-", 1, 29, "\"tcp/80-\": a port must be a number" },
	{ "rule 1 deny from any to any tcp/80;90", 1, 29,
	  "\"tcp/80;90\": write numbers as 80,443,2200-2299" },
	{ "rule 1 deny from any to any tcp/90-80", 1, 29,
	  "\"tcp/90-80\": the range runs backwards, did you mean 80-90?" },
	{ "rule 1 deny from any to any icmp/256", 1, 29,
	  "\"icmp/256\": ICMP type is not between 0 and 255" },
	{ "rule 1 deny from any to any proto", 1, 29, "write a protocol number: proto/132" },
	{ "rule 1 deny from any to any proto/256", 1, 29,
	  "\"proto/256\": protocol is not between 0 and 255" },
	{ "rule 1 deny from any to any proto/0-255", 1, 29, "more than 64 services in one line" },
	{ "rule 1 deny from any to any \"any\"", 1, 29,
	  "\"any\": no word of the language stands in quotes" },
	{ "group apache\nrule 1 deny from apche to any any", 2, 18,
	  "unknown group \"apche\", did you mean \"apache\"?" },
	{ "rule 1 deny from group x to any any", 1, 18, "write the group's name alone" },
	{ "rule 1 deny from 10.1.2.3/8 to any any", 1, 18,
	  "\"10.1.2.3/8\" has bits set beyond its length, did you mean \"10.0.0.0/8\"?" },
	{ "rule 1 deny from fd00::1/8 to any any", 1, 18,
	  "\"fd00::1/8\" has bits set beyond its length, did you mean \"fd00::/8\"?" },
	{ "rule 1 deny from 10.0.0.0/33 to any any", 1, 18,
	  "\"10.0.0.0/33\" is not an address or prefix" },
	{ "rule 1 deny from 300.0.0.1 to any any", 1, 18,
	  "\"300.0.0.1\" is not an address or prefix" },
	{ "rule 1 deny from host to any any", 1, 33,
	  "no destination: write \"to any\" to mean all" },
	{ "rule 1 deny from any from any to any any", 1, 22, "\"from\" is given twice" },
	{ "rule 1 staged deny from any to any any staged", 1, 40, "\"staged\" is given twice" },
	{ "rule 1 staged deny from any to any any disabled", 1, 40,
	  "a rule is staged or disabled, not both" },
	{ "rule 1 deny from any to any any user", 1, 37, "user is missing" },
	{ "rule 1 deny from any to any any user 4294967295", 1, 38,
	  "uid 4294967295 is not between 0 and 4294967294" },
	{ "rule 1 deny from any to any any process apache2", 1, 41,
	  "process \"apache2\" must be a full path, \"**\" and a part of one, or \"kernel\"" },
	{ "rule 1 deny from any to any any process *apache2", 1, 41,
	  "process \"*apache2\" must be a full path, \"**\" and a part of one, or \"kernel\"" },
	{ "rule 1 deny from any to any any expires tomorrow", 1, 41,
	  "\"tomorrow\" is not a date: write 2027-01-31 or 2027-01-31T18:00:00Z" },
	{ "rule 1 deny from any to any any expires 2027-02-30", 1, 41,
	  "\"2027-02-30\" is not a date: write 2027-01-31 or 2027-01-31T18:00:00Z" },
	{ "rule 1 deny from any to any any comment \"x", 1, 41, "quotes are not closed" },
	{ "rule 1 deny from any to any any comment \"x\"y", 1, 44,
	  "a space must follow the closing quotes" },
	{ "rule 1 deny from any to any any comment \"\\n\"", 1, 42,
	  "only \\\", \\\\, \\x01 to \\x7f and \\u{1} to \\u{10ffff} may stand in quotes" },
	{ "rule 1 deny from any to any any comment \"\\xff\"", 1, 42,
	  "only \\\", \\\\, \\x01 to \\x7f and \\u{1} to \\u{10ffff} may stand in quotes" },
	{ "rule 1 deny from any to any any comment \"\\x00\"", 1, 42,
	  "only \\\", \\\\, \\x01 to \\x7f and \\u{1} to \\u{10ffff} may stand in quotes" },
	{ "rule 1 deny from any to any any comment \"\\u{d800}\"", 1, 42,
	  "only \\\", \\\\, \\x01 to \\x7f and \\u{1} to \\u{10ffff} may stand in quotes" },
	{ "rule 1 deny from any to any any comment \"\\u{41\"", 1, 42,
	  "only \\\", \\\\, \\x01 to \\x7f and \\u{1} to \\u{10ffff} may stand in quotes" },
	{ "rule 1 deny from any to any any process :/tmp/%41", 1, 41,
	  "process \":/tmp/%41\" must be a full path, \"**\" and a part of one, or \"kernel\"" },
	{ "rule 1 deny from any to any any process :tmp/%FF", 1, 41,
	  "process \":tmp/%FF\" must be a full path, \"**\" and a part of one, or \"kernel\"" },
	{ "rule 1 deny from any to any any user :an%ff", 1, 38,
	  "no user is called \":an%ff\": several make a usergroup, a uid is a bare number" },
	{ "rule 1 deny from any to any any comment=\"x\"", 1, 41,
	  "quotes inside a word: put the whole value in quotes" },
	{ "rule 7 deny from any to any any\n# x\nrule 7 allow from any to any any", 3, 1,
	  "rule 7 stands already at line 1: give one of them another number" },
	{ "lifeline from any to any tcp/22", 1, 1,
	  "a lifeline from any to any would switch the policy off" },
	{ "lifeline from 10.0.0.1 to any tcp/22 user x", 1, 38,
	  "\"user\" does not belong in this line" },
	{ "expect reject from any to any tcp/1", 1, 8, "\"reject\" is not an action" },
	{ "expect deny from any to any tcp/1 process /usr/*", 1, 43,
	  "a pattern is not a process: write one path" },
	{ "expect deny from any to any tcp/1 comment x", 1, 35,
	  "\"comment\" does not belong in this line" },
	{ "# \033[31m", 1, 3, "control or invisible character U+001B is not allowed" },
	{ "group a\xe2\x80\xae", 1, 8, "control or invisible character U+202E is not allowed" },
	{ "# \xc3\xa9\xc3\xa9\xff", 1, 5, "byte 0xff is not valid UTF-8" },
	{ "# \xc0\xaf", 1, 3, "byte 0xc0 is not valid UTF-8" },
	{ "\xc3\xa9 x", 1, 1,
	  "unknown word \"\xc3\xa9\": a line starts with mode, lost, lifeline, group, usergroup, "
	  "rule "
	  "or expect" },
	{ "group caf\xc3\xa9 x", 1, 12, "\"x\": write member UUID or select SELECTOR VALUE" },
	{ "#\rrule", 1, 2, "control or invisible character U+000D is not allowed" },
};

static void test_example(void)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(pr_free) char *text = NULL;
	size_t size_bytes = 0;
	int err = policy_text_parse(example, strlen(example), &errors, &model);
	if (!ok(err == PR_OK && errors.total == 0, "the example parses")) {
		printf("# %u:%u: %s\n", errors.items[0].line, errors.items[0].column,
		       errors.items[0].message);
		return;
	}
	ok(policy_text_format(model, &text, &size_bytes) == PR_OK &&
	           size_bytes == strlen(example) && memcmp(text, example, size_bytes) == 0,
	   "it comes back out byte for byte");
	ok(policy_model_rule_count(model) == PR_ARRAY_LEN(canonical), "it has all its rules");
	for (size_t i = 0; i < PR_ARRAY_LEN(canonical); i++) {
		char line[POLICY_LINE_MAX_BYTES + 1];
		int bytes = policy_rule_format(policy_model_rule(model, i), line, sizeof(line));
		if (!ok(bytes > 0 && strcmp(line, canonical[i]) == 0, "%s", canonical[i])) {
			printf("# %s\n", line);
		}
	}
	size_t line = 0;
	ok(policy_model_rule_find(model, 45, &line) != NULL && line == 21 &&
	           policy_model_line(model, line)->rule->number == 45,
	   "a rule is found by number, with its line");
	ok(policy_model_rule_find(model, 46, NULL) == NULL, "one that is not there is not");
	const struct policy_group *group = policy_model_group_find(model, "mixed");
	ok(group != NULL && group->term_count == 4 && group->terms[0].selector_count == 2 &&
	           group->terms[2].selector_count == 0 && group->terms[3].selector_count == 3 &&
	           strcmp(group->terms[1].selectors[0].key, "com.acme/tier") == 0,
	   "a group's lines add up");
	ok(policy_model_usergroup_count(model) == 1 &&
	           policy_model_usergroup(model, 0)->member_count == 3,
	   "a usergroup has its members");
	const struct policy_usergroup *admins = policy_model_usergroup_find(model, "admins");
	ok(admins != NULL && policy_model_usergroup_find(model, "nobody") == NULL &&
	           policy_usergroup_member(admins, &(struct policy_user){ 1000, NULL }) ==
	                   &admins->members[2] &&
	           policy_usergroup_member(admins, &(struct policy_user){ 7, "bob" }) ==
	                   &admins->members[1] &&
	           policy_usergroup_member(admins, &(struct policy_user){ 7, "1000" }) == NULL &&
	           admins->members[1].line == 14,
	   "is found, and says which member a user is, and its line");
	char user[POLICY_NAME_MAX_BYTES + 2];
	ok(policy_user_format(&policy_model_rule_find(model, 45, NULL)->user, user, sizeof(user)) ==
	                   7 &&
	           strcmp(user, "@admins") == 0,
	   "a usergroup is shown with its mark");
}

static void test_wrong(void)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(wrong); i++) {
		_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
		int err = policy_text_parse(wrong[i].text, strlen(wrong[i].text), &errors, &model);
		const struct policy_error *first = &errors.items[0];
		bool good = err == PR_EPOLICY && model == NULL && errors.count >= 1 &&
		            first->line == wrong[i].line && first->column == wrong[i].column &&
		            strcmp(first->message, wrong[i].message) == 0;
		if (!ok(good, "%u:%u: %s", wrong[i].line, wrong[i].column, wrong[i].message)) {
			printf("# %u:%u: %s\n", first->line, first->column, first->message);
		}
	}
}

static void test_all_errors(void)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	static const char text[] = "rule 1 deny from nix to any any\nmode x\n"
				   "rule 1 deny from any to nox any\nrule 2\n";
	ok(policy_text_parse(text, strlen(text), &errors, &model) == PR_EPOLICY &&
	           errors.count == 5 && errors.total == 5,
	   "all errors are told at once");
	bool sorted = true;
	for (size_t i = 1; i < errors.count; i++) {
		sorted = sorted && errors.items[i].line >= errors.items[i - 1].line;
	}
	ok(sorted, "in order of lines");
	static char many[POLICY_ERRORS_MAX * 4 + 1];
	for (size_t i = 0; i < sizeof(many) - 2; i += 2) {
		memcpy(many + i, "x\n", 3);
	}
	ok(policy_text_parse(many, strlen(many), &errors, &model) == PR_EPOLICY &&
	           errors.count == POLICY_ERRORS_MAX && errors.total == POLICY_ERRORS_MAX * 2,
	   "no more than %u are kept, all are counted", POLICY_ERRORS_MAX);
}

static bool refused_for(const char *text, size_t bytes, const char *message)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	if (policy_text_parse(text, bytes, &errors, &model) != PR_EPOLICY) {
		return false;
	}
	return strcmp(errors.items[0].message, message) == 0 ||
	       (printf("# %s\n", errors.items[0].message), false);
}

/* @p count lines of a form with one number. */
static char *many_lines(unsigned count, const char *before, const char *after, size_t *ret_bytes)
{
	size_t each = strlen(before) + strlen(after) + 16;
	char *text = malloc(count * each + 1);
	size_t used = 0;
	for (unsigned i = 1; i <= count; i++) {
		used += (size_t)snprintf(text + used, each, "%s%u%s\n", before, i, after);
	}
	*ret_bytes = used;
	return text;
}

static void test_limits(void)
{
	size_t bytes = 0;
	_cleanup_(pr_free) char *rules =
		many_lines(POLICY_RULES_MAX + 1, "rule ", " deny from any to any any", &bytes);
	ok(refused_for(rules, bytes, "more than 100000 rules"), "100,001 rules are refused");
	_cleanup_(pr_free) char *groups = many_lines(POLICY_GROUPS_MAX + 1, "group g", "", &bytes);
	ok(refused_for(groups, bytes, "more than 10000 groups"), "10,001 groups are refused");
	_cleanup_(pr_free) char *lifelines = many_lines(
		POLICY_LIFELINES_MAX + 1, "lifeline from 10.0.0.", " to any any", &bytes);
	ok(refused_for(lifelines, bytes, "more than 16 lifelines"), "17 lifelines are refused");
	_cleanup_(pr_free) char *expects = many_lines(
		POLICY_EXPECTS_MAX + 1, "expect deny from any to any tcp/1 user u", "", &bytes);
	ok(refused_for(expects, bytes, "more than 10000 expect lines"),
	   "10,001 expect lines are refused");
	_cleanup_(pr_free) char *text = calloc(1, POLICY_TEXT_MAX_BYTES + 1);
	memset(text, '#', POLICY_TEXT_MAX_BYTES + 1);
	ok(refused_for(text, POLICY_TEXT_MAX_BYTES + 1,
	               "text of 33554433 bytes is longer than 33554432"),
	   "an overlong text is refused");
	ok(refused_for(text, POLICY_LINE_MAX_BYTES + 1, "line of 4097 bytes is longer than 4096"),
	   "an overlong line is refused");
	memset(text, '\n', POLICY_LINES_MAX + 1);
	ok(refused_for(text, POLICY_LINES_MAX + 1, "more than 400000 lines"),
	   "too many lines are refused");
	memcpy(text, "group ", 6);
	memset(text + 6, 'a', 65);
	ok(refused_for(text, 71, "group of 65 bytes is longer than 64"),
	   "an overlong name is refused");
	ok(refused_for("a\0b", 3, "control or invisible character U+0000 is not allowed"),
	   "a zero byte is refused");
}

static bool edits_to(const policy_model_t *model, size_t line, size_t remove_count,
                     const char *added, const char *expected)
{
	_cleanup_(policy_model_destroy) policy_model_t *edited = NULL;
	_cleanup_(pr_free) char *text = NULL;
	size_t bytes = 0;
	struct policy_edit edit = { line, remove_count, added };
	if (policy_model_edit(model, &edit, &errors, &edited) != PR_OK ||
	    policy_text_format(edited, &text, &bytes) != PR_OK) {
		return false;
	}
	return strcmp(text, expected) == 0 || (printf("# %s\n", text), false);
}

static void test_edit(void)
{
	static const char text[] = "# head\nrule 1 deny from any to any any\n# tail";
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(policy_model_destroy) policy_model_t *edited = NULL;
	if (!ok(policy_text_parse(text, strlen(text), &errors, &model) == PR_OK, "a text parses")) {
		return;
	}
	ok(edits_to(model, 1, 1, "rule 2 allow from any to any any",
	            "# head\nrule 2 allow from any to any any\n# tail"),
	   "a line is replaced");
	ok(edits_to(model, 1, 1, NULL, "# head\n# tail"), "a line is removed");
	ok(edits_to(model, 3, 0, "# more\n# and more",
	            "# head\nrule 1 deny from any to any any\n"
	            "# tail\n# more\n# and more\n"),
	   "lines are put at the end");
	ok(edits_to(model, 0, 3, NULL, ""), "all lines are removed");
	struct policy_edit bad = { 3, 0, "rule 1 deny from any to any any" };
	ok(policy_model_edit(model, &bad, &errors, &edited) == PR_EPOLICY &&
	           errors.items[0].line == 4,
	   "an edit that makes an error is refused");
	struct policy_edit far = { 2, 2, NULL };
	ok(policy_model_edit(model, &far, &errors, &edited) == PR_EINVAL,
	   "an edit beyond the end is refused");
}

static void test_empty(void)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	ok(policy_text_parse(NULL, 0, &errors, &model) == PR_OK &&
	           policy_model_line_count(model) == 0 && policy_model_rule(model, 0) == NULL &&
	           policy_model_line(model, 0) == NULL,
	   "an empty text is a policy");
}

int main(void)
{
	test_example();
	test_wrong();
	test_all_errors();
	test_limits();
	test_edit();
	test_empty();
	return tap_done();
}
