/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Drafts changed line by line, commits on trial, what a commit would cut, questions, and the
 * log of changes. */

#include "tests/controller/harness.h"

static struct bus_peer ana, bob, alpha, beta;
static char alpha_id[PR_UUID_TEXT_BYTES], beta_id[PR_UUID_TEXT_BYTES];

static const codec_doc_t *change(const struct bus_peer *peer, const char *what, const char *line,
                                 uint64_t number, uint64_t to)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_EDIT);

	sent_clear();
	codec_doc_set_text(ask, CODEC_POLICY_EDIT_CHANGE, what);
	codec_doc_set_text(ask, CODEC_POLICY_EDIT_LINE, line);
	codec_doc_set_u64(ask, CODEC_POLICY_EDIT_NUMBER, number);
	codec_doc_set_u64(ask, CODEC_POLICY_EDIT_TO, to);
	say(peer, ask);
	return answer();
}

static const codec_doc_t *commit(const struct bus_peer *peer, uint64_t confirm_s, bool force,
                                 const char *connection)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_COMMIT);

	sent_clear();
	codec_doc_set_text(ask, CODEC_POLICY_COMMIT_MESSAGE, "because");
	codec_doc_set_u64(ask, CODEC_POLICY_COMMIT_CONFIRM, confirm_s);
	codec_doc_set_u64(ask, CODEC_POLICY_COMMIT_FORCE, force);
	if (connection != NULL) {
		codec_doc_add_text(ask, CODEC_POLICY_COMMIT_CONNECTIONS, connection);
	}
	say(peer, ask);
	return answer();
}

static const char *text_of(uint64_t revision, uint64_t *ret_number)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_GET);

	sent_clear();
	codec_doc_set_u64(ask, CODEC_POLICY_GET_REVISION, revision);
	say(&ana, ask);
	const codec_doc_t *got = answer();
	if (ret_number != NULL) {
		*ret_number = codec_doc_u64(got, CODEC_POLICY_REVISION);
	}
	return codec_doc_text(got, CODEC_POLICY_TEXT);
}

static uint64_t head(void)
{
	uint64_t number = 0;

	(void)text_of(0, &number);
	return number;
}

static bool ok_says(const codec_doc_t *got, const char *words)
{
	bool says =
		is_type(got, CODEC_OK) && strstr(codec_doc_text(got, CODEC_OK_TEXT), words) != NULL;

	if (!says && got != NULL) {
		printf("# %s\n", is_type(got, CODEC_OK) ? codec_doc_text(got, CODEC_OK_TEXT)
		                                        : codec_doc_text(got, CODEC_ERROR_TEXT));
	}
	return says;
}

static bool error_says(const codec_doc_t *got, const char *code, const char *words)
{
	return is_error(got, code) && strstr(codec_doc_text(got, CODEC_ERROR_TEXT), words) != NULL;
}

/* ---- drafts ---- */

static void test_changes(void)
{
	char wanted[256];

	(void)snprintf(wanted, sizeof(wanted), "rule 10 allow from %s to %s tcp/80\n", alpha_id,
	               beta_id);
	ok(ok_says(change(&ana, "add", "allow from alpha to beta tcp/80", 0, 0),
	           "undo: portreeve policy rm 10"),
	   "a rule, and how to undo it");
	ok(strstr(text_of(CODEC_REVISION_DRAFT, NULL), wanted) != NULL, "names became UUIDs");
	ok(head() == 1, "nothing is in force yet");
	ok(ok_says(change(&ana, "disable", "", 10, 0), "undo: portreeve policy enable 10"), "off");
	ok(ok_says(change(&ana, "stage", "", 10, 0), "undo: portreeve policy disable 10"),
	   "staged");
	ok(ok_says(change(&ana, "enable", "", 10, 0), "undo: portreeve policy stage 10"), "on");
	ok(is_error(change(&ana, "enable", "", 10, 0), "PR_EEXIST"), "on twice");
	ok(ok_says(change(&ana, "mv", "", 10, 20), "undo: portreeve policy mv 20 10"), "moved");
	ok(ok_says(change(&ana, "rm", "", 20, 0),
	           "undo: portreeve policy add 'rule 20 allow from "),
	   "removed");
	ok(is_error(change(&ana, "rm", "", 20, 0), "PR_ENOENT"), "removed twice");
	ok(ok_says(change(&ana, "add", "allow from any to beta tcp/1 comment \"it's\"", 0, 0),
	           "rm 10") &&
	           ok_says(change(&ana, "rm", "", 10, 0), "comment \"it'\\''s\"'"),
	   "a quote in a command of the shell");
	ok(ok_says(change(&ana, "add", "group web select name alpha", 0, 0),
	           "undo: portreeve policy rm group web"),
	   "a group");
	ok(ok_says(change(&ana, "rm-group", "web", 0, 0), "group web is out"), "and none");
	ok(is_error(change(&ana, "rm-group", "web", 0, 0), "PR_ENOENT"), "and none twice");
}

static void test_usergroup_changes(void)
{
	ok(ok_says(change(&ana, "add", "usergroup ops member ana, from, alpha", 0, 0),
	           "added: usergroup ops member ana, from, alpha; undo: portreeve policy rm "
	           "usergroup ops"),
	   "a usergroup, its members' names as they are, and how to undo it");
	ok(ok_says(change(&ana, "add", "usergroup ops member 1000", 0, 0),
	           "undo: portreeve policy edit"),
	   "one line more is not undone by taking all out");
	ok(ok_says(change(&ana, "add", "allow user @ops from alpha to beta tcp/22", 0, 0), "rm 10"),
	   "a rule on it");
	ok(is_error(change(&ana, "rm-usergroup", "ops", 0, 0), "PR_EPOLICY"),
	   "one that is named stays");
	ok(is_error(change(&ana, "add", "deny user ops from any to any any", 0, 0), "PR_EPOLICY"),
	   "its name without the mark is refused");
	ok(ok_says(change(&ana, "rm", "", 10, 0), "rule 10 is out") &&
	           ok_says(change(&ana, "rm-usergroup", "@ops", 0, 0),
	                   "usergroup ops is out; undo: portreeve policy edit"),
	   "then it goes, both lines");
	ok(error_says(change(&ana, "rm-usergroup", "ops", 0, 0), "PR_ENOENT",
	              "there is no usergroup 'ops'"),
	   "and not twice");
	ok(ok_says(change(&ana, "add", "usergroup ops member ana", 0, 0), "ops") &&
	           ok_says(change(&ana, "rm-usergroup", "ops", 0, 0),
	                   "undo: portreeve policy add 'usergroup ops member ana'"),
	   "one of one line is put back by a command");
}

static void test_wrong_changes(void)
{
	ok(error_says(change(&ana, "add", "allow from alpa to beta tcp/80", 0, 0), "PR_ENOENT",
	              "did you mean 'alpha'"),
	   "a wrong name");
	ok(is_error(change(&ana, "add", "allow from a to beta tcp/80", 0, 0), "PR_EAMBIG"),
	   "an ambiguous one");
	ok(is_error(change(&ana, "add", "rule x", 0, 0), "PR_EPOLICY"), "a wrong line");
	ok(is_error(change(&ana, "add", "allow from any to any any\nrule 1 x", 0, 0), "PR_EINVAL"),
	   "two lines");
	ok(is_error(change(&ana, "frob", "", 1, 0), "PR_EINVAL"), "no such change");
	ok(is_error(change(&ana, "mv", "", 1, UINT64_MAX), "PR_EINVAL"), "a number too large");
	ok(is_error(change(&ana, "mv", "", 1, 0), "PR_ENOENT"), "no such rule");
}

/* ---- trials ---- */

static void seconds_pass(unsigned seconds)
{
	bench.now_ns += seconds * PR_NS_PER_S;
	tick();
}

static const codec_doc_t *rollback(uint64_t revision)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_ROLLBACK);

	codec_doc_set_u64(ask, CODEC_POLICY_ROLLBACK_REVISION, revision);
	sent_clear();
	say(&ana, ask);
	return answer();
}

static void test_trial(void)
{
	must(is_type(change(&ana, "add", "30 allow from any to beta tcp/1", 0, 0), CODEC_OK),
	     "add");
	ok(ok_says(commit(&ana, 60, false, NULL), "for 60 s"), "a commit on trial");
	ok(head() == 2, "is in force");
	must(is_type(change(&bob, "add", "40 allow from any to beta tcp/2", 0, 0), CODEC_OK),
	     "add");
	ok(error_says(commit(&bob, 0, false, NULL), "PR_EBUSY", "on trial"), "another waits");
	seconds_pass(59);
	ok(head() == 2, "59 s later it still is");
	seconds_pass(2);
	ok(head() == 3 && strstr(text_of(0, NULL), "rule 30") == NULL, "61 s later it is not");
	seconds_pass(60);
	ok(head() == 3, "once is enough");
	ok(is_error(commit(&bob, 0, false, NULL), "PR_ECONFLICT"), "bob's was made from the trial");

	must(is_type(change(&ana, "add", "30 allow from any to beta tcp/1", 0, 0), CODEC_OK),
	     "add");
	must(is_type(commit(&ana, 60, false, NULL), CODEC_OK), "commit");
	sent_clear();
	say(&ana, codec_doc_new(CODEC_POLICY_CONFIRM));
	ok(ok_says(answer(), "revision 4 stays"), "a confirmation");
	seconds_pass(120);
	ok(head() == 4, "keeps it");
	sent_clear();
	say(&ana, codec_doc_new(CODEC_POLICY_CONFIRM));
	ok(is_error(answer(), "PR_ENOENT"), "there is nothing to confirm twice");
}

/* A controller that dies during a trial takes it back when it starts again. */
static void test_trial_restart(void)
{
	must(is_type(change(&ana, "add", "31 allow from any to beta tcp/9", 0, 0), CODEC_OK),
	     "add");
	must(is_type(commit(&ana, 60, false, NULL), CODEC_OK), "commit");
	bench.now_ns += 90 * PR_NS_PER_S;
	bench_admin(authority_of_store(bench.store));
	seconds_pass(1);
	ok(head() == 6 && strstr(text_of(0, NULL), "rule 31") == NULL,
	   "a trial ends over a restart, too");
	must(is_type(change(&ana, "add", "31 allow from any to beta tcp/9", 0, 0), CODEC_OK),
	     "add");
	must(is_type(commit(&ana, 60, false, NULL), CODEC_OK), "commit");
	ok(ok_says(rollback(6), "the text of revision 6 is back, revision 8"),
	   "a roll-back ends it");
	seconds_pass(120);
	ok(head() == 8, "for good");
	ok(is_error(commit(&ana, 60, false, NULL), "PR_ENOENT"), "no draft");
	must(is_type(change(&ana, "add", "99 allow from any to any tcp/5", 0, 0), CODEC_OK), "add");
	ok(is_error(commit(&ana, 86401, false, NULL), "PR_EINVAL"), "a trial of over a day");
}

/* What would have ended a trial but failed leaves it on trial. */
static void test_trial_failure(void)
{
	char author[] = "etcd", message[] = "first", text[] = "mode observe default\n";
	struct store_revision first = { .author = author, .message = message, .text = text };
	uint64_t number = 0;

	first.text_bytes = strlen(text);
	must(fake_commit(&bench.fake, 0, &first, NULL, &number) == PR_OK, "first");
	bench_admin(authority_fake(&bench.fake));
	sent_clear();
	say(&ana, codec_doc_new(CODEC_POLICY_DISCARD));
	must(is_type(change(&ana, "add", "allow from any to any tcp/1", 0, 0), CODEC_OK), "add");
	must(is_type(commit(&ana, 60, false, NULL), CODEC_OK), "a trial");
	bench.fake.fail = PR_EUNREACH;
	ok(is_error(rollback(1), "PR_EUNREACH"), "a roll-back that fails");
	bench.fake.fail = PR_OK;
	must(is_type(change(&ana, "add", "allow from any to any tcp/2", 0, 0), CODEC_OK), "add");
	ok(is_error(commit(&ana, 0, false, NULL), "PR_EBUSY"), "does not end the trial");
	ok(is_error(commit(&ana, 60, true, NULL), "PR_EBUSY"),
	   "nor is there a second one by force");
	bench.fake.fail = PR_EUNREACH;
	seconds_pass(61);
	ok(bench.fake.count == 2, "an authority that is away is waited for");
	bench.fake.fail = PR_OK;
	seconds_pass(1);
	ok(bench.fake.count == 3 && strstr(bench.fake.revisions[2].text, "tcp/1") == NULL,
	   "then it goes back");
	fake_done(&bench.fake);
	bench_admin(authority_of_store(bench.store));
	sent_clear();
	say(&ana, codec_doc_new(CODEC_POLICY_DISCARD));
}

/* ---- guard ---- */

static void test_guard(void)
{
	const char *ssh = "tcp 192.0.2.77 40000 192.0.2.2 22";

	must(is_type(change(&ana, "add", "lifeline from any to host beta tcp/2222", 0, 0),
	             CODEC_OK) &&
	             is_type(commit(&ana, 0, false, ssh), CODEC_OK),
	     "observe cuts nobody");
	codec_doc_t *ask = codec_doc_new(CODEC_MODE_SET);
	codec_doc_set_text(ask, CODEC_MODE_SET_MODE, "enforce");
	codec_doc_set_text(ask, CODEC_MODE_SET_GROUP, "default");
	codec_doc_add_text(ask, CODEC_MODE_SET_CONNECTIONS, ssh);
	uint64_t before = head();
	sent_clear();
	say(&ana, ask);
	ok(error_says(answer(), "PR_EPERM", "your own connection"), "enforce would");
	ok(head() == before, "and is not");
	must(is_type(change(&ana, "add", "50 allow user root from any to host beta tcp/22", 0, 0),
	             CODEC_OK) &&
	             is_type(commit(&ana, 0, false, ssh), CODEC_OK),
	     "a rule for it");
	ask = codec_doc_new(CODEC_MODE_SET);
	codec_doc_set_text(ask, CODEC_MODE_SET_MODE, "enforce");
	codec_doc_set_text(ask, CODEC_MODE_SET_GROUP, "default");
	codec_doc_add_text(ask, CODEC_MODE_SET_CONNECTIONS, ssh);
	sent_clear();
	say(&ana, ask);
	ok(is_type(answer(), CODEC_OK), "a rule that may allow it will do");
	must(is_type(change(&ana, "add", "1 deny from any to host beta tcp/22", 0, 0), CODEC_OK),
	     "add");
	ok(error_says(commit(&ana, 0, false, ssh), "PR_EPERM", "rule 1 denies it"),
	   "a rule that denies it is named");
	ok(is_type(commit(&ana, 0, false, "tcp 192.0.2.77 40000 192.0.2.2 2222"), CODEC_OK),
	   "a lifeline is never cut");
	ok(is_error(commit(&ana, 0, false, ssh), "PR_ENOENT"), "its draft has ended");
}

static void test_lifeline(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_IMPORT);

	codec_doc_set_text(ask, CODEC_POLICY_IMPORT_TEXT, "mode observe default\n");
	sent_clear();
	say(&ana, ask);
	ok(is_type(answer(), CODEC_OK), "a text without the lifeline");
	ok(error_says(commit(&ana, 0, false, NULL), "PR_EPERM", "1 lifeline"), "is refused");
	ok(is_type(commit(&ana, 0, true, NULL), CODEC_OK), "without force");
}

/* ---- questions ---- */

static const codec_doc_t *explain(const char *src, const char *dst, const char *service,
                                  const char *process)
{
	codec_doc_t *ask = codec_doc_new(CODEC_EXPLAIN_GET);
	const codec_doc_t *got = NULL;

	sent_clear();
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_SRC, src);
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_DST, dst);
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_SERVICE, service);
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_PROCESS, process);
	say(&ana, ask);
	while ((got = answer()) != NULL && is_type(got, CODEC_EXPLAIN_RULE)) {
	}
	return got;
}

static bool verdict_is(const codec_doc_t *got, const char *verdict, uint64_t rule)
{
	return is_type(got, CODEC_EXPLANATION) &&
	       strcmp(codec_doc_text(got, CODEC_EXPLANATION_VERDICT), verdict) == 0 &&
	       codec_doc_u64(got, CODEC_EXPLANATION_RULE) == rule;
}

static void policy_commit(const char *text)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_IMPORT);

	codec_doc_set_text(ask, CODEC_POLICY_IMPORT_TEXT, text);
	sent_clear();
	say(&ana, ask);
	must(is_type(answer(), CODEC_OK) && is_type(commit(&ana, 0, true, NULL), CODEC_OK),
	     "policy");
}

static void test_explain(void)
{
	policy_commit("group all select kind host\n"
	              "rule 10 allow from host alpha to host beta tcp/80 process /bin/web\n"
	              "rule 20 allow from all to host beta tcp/443\n"
	              "rule 30 allow from 198.51.100.0/24 to host beta tcp/25\n");
	ok(verdict_is(explain("alpha", "beta", "tcp/80", "/bin/web"), "allowed", 10), "by a rule");
	ok(verdict_is(explain("alpha", "beta", "tcp/80", "/bin/sh"), "denied", 0), "by none");
	ok(verdict_is(explain("alpha", "beta", "tcp/80", ""), "depends", 0), "on the process");
	ok(verdict_is(explain(alpha_id, "beta", "tcp/443", ""), "allowed", 20), "by UUID");
	ok(verdict_is(explain("198.51.100.7", "beta", "tcp/25", ""), "allowed", 30), "by address");
	ok(verdict_is(explain("198.51.101.7", "beta", "tcp/25", ""), "denied", 0),
	   "by another address");
	ok(verdict_is(explain("192.0.2.1", "beta", "tcp/443", ""), "allowed", 20),
	   "an address stands for its owner");
	ok(verdict_is(explain("external", "beta", "tcp/443", ""), "denied", 0), "nobody of ours");
	ok(is_error(explain("all", "beta", "tcp/80", "/bin/web"), "PR_EAMBIG"),
	   "a group whose members differ");
	ok(verdict_is(explain("all", "203.0.113.1", "tcp/80", ""), "denied", 0),
	   "one whose members do not");
	ok(is_error(explain("alpha", "beta", "tcp/1-2", ""), "PR_EINVAL") &&
	           is_error(explain("alpha", "beta", "any", ""), "PR_EINVAL") &&
	           is_error(explain("alpha", "beta", "tcp/80 udp/1", ""), "PR_EINVAL") &&
	           is_error(explain("alpha", "beta", "", ""), "PR_EINVAL"),
	   "one service at a time");
	ok(is_error(explain("", "beta", "tcp/1", ""), "PR_EINVAL"), "nobody");
	ok(error_says(explain("alpa", "beta", "tcp/1", ""), "PR_ENOENT", "did you mean 'alpha'"),
	   "a wrong name");
}

static const codec_doc_t *explain_user(const char *user)
{
	codec_doc_t *ask = codec_doc_new(CODEC_EXPLAIN_GET);

	sent_clear();
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_SRC, "alpha");
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_DST, "beta");
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_SERVICE, "tcp/22");
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_USER, user);
	say(&ana, ask);
	return answer();
}

static void test_usergroups(void)
{
	policy_commit("mode observe default\nusergroup ops member ana\nusergroup ops member 1000\n"
	              "usergroup empty\n"
	              "rule 10 allow user @ops from any to any tcp/22\n"
	              "rule 20 allow from host alpha to host beta tcp/80 process /bin/web\n");
	const codec_doc_t *rule = explain_user("1000");
	ok(is_type(rule, CODEC_EXPLAIN_RULE) &&
	           codec_doc_count(rule, CODEC_EXPLAIN_RULE_BECAUSE) == 1 &&
	           strcmp(codec_doc_item(rule, CODEC_EXPLAIN_RULE_BECAUSE, 0),
	                  "user 1000 is in @ops by line 3: usergroup ops member 1000") == 0 &&
	           verdict_is(answer(), "allowed", 10),
	   "explain says by which line a user is in a usergroup: %s",
	   codec_doc_item(rule, CODEC_EXPLAIN_RULE_BECAUSE, 0));
	rule = explain_user("carl");
	ok(codec_doc_count(rule, CODEC_EXPLAIN_RULE_BECAUSE) == 0 &&
	           strcmp(codec_doc_text(rule, CODEC_EXPLAIN_RULE_OUTCOME), "no") == 0,
	   "who is not in it is denied");
	sent_clear();
	say(&ana, codec_doc_new(CODEC_USERGROUPS_GET));
	const codec_doc_t *got = answer();
	ok(is_type(got, CODEC_USERGROUP) &&
	           strcmp(codec_doc_text(got, CODEC_USERGROUP_NAME), "ops") == 0 &&
	           codec_doc_u64(got, CODEC_USERGROUP_RULES) == 1 &&
	           codec_doc_count(got, CODEC_USERGROUP_LINES) == 2 &&
	           codec_doc_count(got, CODEC_USERGROUP_MEMBERS) == 2 &&
	           strcmp(codec_doc_item(got, CODEC_USERGROUP_MEMBERS, 1), "3 1000") == 0 &&
	           is_type(answer(), CODEC_USERGROUP) && is_type(answer(), CODEC_END),
	   "which usergroups there are, and who is in them by which line");
	codec_doc_t *ask = codec_doc_new(CODEC_USERGROUPS_GET);
	codec_doc_set_text(ask, CODEC_USERGROUPS_GET_NAME, "@empty");
	sent_clear();
	say(&ana, ask);
	got = answer();
	ok(is_type(got, CODEC_USERGROUP) && codec_doc_count(got, CODEC_USERGROUP_MEMBERS) == 0 &&
	           is_type(answer(), CODEC_END),
	   "one alone");
	ask = codec_doc_new(CODEC_USERGROUPS_GET);
	codec_doc_set_text(ask, CODEC_USERGROUPS_GET_NAME, "opz");
	sent_clear();
	say(&ana, ask);
	ok(is_error(answer(), "PR_ENOENT"), "none of that name");
}

static void test_reach(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_REACH_GET);
	char rows[1024] = "";
	const codec_doc_t *row = NULL;

	sent_clear();
	codec_doc_set_text(ask, CODEC_REACH_GET_TO, "beta");
	say(&ana, ask);
	while (is_type(row = answer(), CODEC_REACH)) {
		size_t used = strlen(rows);
		(void)snprintf(rows + used, sizeof(rows) - used, "%s %s %llu %s;",
		               codec_doc_text(row, CODEC_REACH_SRC),
		               codec_doc_text(row, CODEC_REACH_SERVICES),
		               (unsigned long long)codec_doc_u64(row, CODEC_REACH_RULE),
		               codec_doc_text(row, CODEC_REACH_CONDITION));
	}
	ok(strcmp(rows, "alpha tcp/80 10 process /bin/web;alpha tcp/443 20 ;") == 0 &&
	           is_type(row, CODEC_END),
	   "who may reach beta: %s", rows);
	sent_clear();
	say(&ana, codec_doc_new(CODEC_REACH_GET));
	ok(is_error(answer(), "PR_EINVAL"), "who and whom is too much");
}

static void test_groups(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_GROUP_PREVIEW);

	sent_clear();
	codec_doc_set_text(ask, CODEC_GROUP_PREVIEW_SELECTORS, "select name al*");
	say(&ana, ask);
	const codec_doc_t *got = answer();
	ok(is_type(got, CODEC_ENDPOINT) &&
	           strcmp(codec_doc_text(got, CODEC_ENDPOINT_NAME), "alpha") == 0 &&
	           is_type(answer(), CODEC_END),
	   "who would be in a group");
	ask = codec_doc_new(CODEC_GROUP_PREVIEW);
	codec_doc_set_text(ask, CODEC_GROUP_PREVIEW_SELECTORS, "selct name al*");
	sent_clear();
	say(&ana, ask);
	ok(is_error(answer(), "PR_EPOLICY"), "a wrong selector");
	ask = codec_doc_new(CODEC_GROUP_PREVIEW);
	codec_doc_set_text(ask, CODEC_GROUP_PREVIEW_SELECTORS,
	                   "select name x\nmode enforce default");
	sent_clear();
	say(&ana, ask);
	ok(is_error(answer(), "PR_EINVAL"), "more than a selector");
	sent_clear();
	say(&ana, codec_doc_new(CODEC_GROUPS_GET));
	got = answer();
	ok(is_type(got, CODEC_GROUP) && codec_doc_u64(got, CODEC_GROUP_COUNT) == 2 &&
	           codec_doc_u64(got, CODEC_GROUP_RULES) == 1 &&
	           codec_doc_count(got, CODEC_GROUP_LINES) == 1 && is_type(answer(), CODEC_END),
	   "which groups there are");
}

/* ---- the log of changes ---- */

static void test_audit(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_AUDIT_GET);
	const codec_doc_t *entry = NULL;
	uint64_t expected = 0;
	size_t backs = 0, anas = 0;

	sent_clear();
	say(&ana, ask);
	while (is_type(entry = answer(), CODEC_AUDIT)) {
		uint64_t number = codec_doc_u64(entry, CODEC_AUDIT_NUMBER);
		expected = expected == 0 ? number : expected;
		if (number != expected) {
			break;
		}
		expected--;
		backs += strcmp(codec_doc_text(entry, CODEC_AUDIT_ACTION), "go-back") == 0;
		anas += strcmp(codec_doc_text(entry, CODEC_AUDIT_NAME), "ana") == 0;
	}
	ok(expected == 0 && is_type(entry, CODEC_END), "newest first, without holes");
	ok(backs == 3, "what the controller did by itself is in it");
	ok(anas > 5, "and what people did");
	ask = codec_doc_new(CODEC_AUDIT_GET);
	codec_doc_set_u64(ask, CODEC_AUDIT_GET_LIMIT, 1);
	sent_clear();
	say(&ana, ask);
	ok(is_type(answer(), CODEC_AUDIT) && is_type(answer(), CODEC_END), "the newest one");
}

int main(void)
{
	pr_log_set_level(PR_LOG_ERROR);
	bench_start("mode observe default\n");
	ana = peer_of("ana", BUS_ROLE_ADMIN);
	bob = peer_of("bob", BUS_ROLE_ADMIN);
	alpha = peer_of("alpha", BUS_ROLE_AGENT);
	beta = peer_of("beta", BUS_ROLE_AGENT);
	(void)pr_uuid_format(&alpha.id, alpha_id);
	(void)pr_uuid_format(&beta.id, beta_id);
	host_put(&alpha, "192.0.2.1");
	host_put(&beta, "192.0.2.2");
	test_changes();
	test_usergroup_changes();
	test_wrong_changes();
	test_trial();
	test_trial_restart();
	test_trial_failure();
	test_guard();
	test_lifeline();
	test_explain();
	test_reach();
	test_groups();
	test_usergroups();
	test_audit();
	bench_stop();
	return tap_done();
}
