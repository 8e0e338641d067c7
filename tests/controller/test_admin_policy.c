/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Drafts, commits, conflicts, roll-backs and modes; on the store, then on a fake authority.
 */

#include "tests/controller/harness.h"

static struct bus_peer ana, bob, vera;

static const codec_doc_t *text_ask(const struct bus_peer *peer, enum codec_type type,
                                   unsigned field, const char *text)
{
	codec_doc_t *ask = codec_doc_new(type);

	sent_clear();
	codec_doc_set_text(ask, field, text);
	say(peer, ask);
	return answer();
}

static const codec_doc_t *import(const struct bus_peer *peer, const char *text)
{
	return text_ask(peer, CODEC_POLICY_IMPORT, CODEC_POLICY_IMPORT_TEXT, text);
}

static const codec_doc_t *commit(const struct bus_peer *peer, const char *message)
{
	return text_ask(peer, CODEC_POLICY_COMMIT, CODEC_POLICY_COMMIT_MESSAGE, message);
}

static const codec_doc_t *get(uint64_t revision)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_GET);

	sent_clear();
	codec_doc_set_u64(ask, CODEC_POLICY_GET_REVISION, revision);
	say(&ana, ask);
	return answer();
}

static void test_import(void)
{
	const codec_doc_t *got =
		import(&ana, "mode observe default\nrule 10 alow from any to any any\n"
	                     "rule 20 allow from nobody to any any\n");
	ok(is_error(got, "PR_EPOLICY") && codec_doc_count(got, CODEC_ERROR_DETAILS) == 2,
	   "every error of a text");
	ok(got != NULL && strncmp(codec_doc_item(got, CODEC_ERROR_DETAILS, 0), "2:9: ", 5) == 0,
	   "with line and column: %s", codec_doc_item(got, CODEC_ERROR_DETAILS, 0));
	ok(is_error(commit(&ana, "x"), "PR_ENOENT"), "a text with errors is no draft");
	ok(is_type(import(&ana, "mode observe default\nrule 10 allow from any to any tcp/80\n"),
	           CODEC_OK),
	   "a good one is");
	const codec_doc_t *draft = get(CODEC_REVISION_DRAFT);
	ok(is_type(draft, CODEC_POLICY) && codec_doc_u64(draft, CODEC_POLICY_DRAFT) == 1 &&
	           strstr(codec_doc_text(draft, CODEC_POLICY_TEXT), "tcp/80") != NULL,
	   "and can be read back");
	const codec_doc_t *none =
		text_ask(&bob, CODEC_POLICY_COMMIT, CODEC_POLICY_COMMIT_MESSAGE, "mine");
	ok(is_error(none, "PR_ENOENT"), "another's draft is not mine");
}

static void test_commit(void)
{
	ok(is_error(commit(&ana, ""), "PR_EINVAL"), "no commit without a reason");
	ok(is_error(commit(&ana, " \n"), "PR_EINVAL"), "blanks are none");
	size_t hints = bench.changed;
	const codec_doc_t *done = commit(&ana, "open the web");
	ok(is_type(done, CODEC_OK) && codec_doc_u64(done, CODEC_OK_NUMBER) == 2, "revision 2");
	ok(bench.changed > hints, "workers are told");
	const codec_doc_t *head = get(0);
	ok(codec_doc_u64(head, CODEC_POLICY_REVISION) == 2 &&
	           strcmp(codec_doc_text(head, CODEC_POLICY_AUTHOR), "ana") == 0 &&
	           strcmp(codec_doc_text(head, CODEC_POLICY_MESSAGE), "open the web") == 0 &&
	           codec_doc_u64(head, CODEC_POLICY_RULES) == 1 &&
	           codec_doc_u64(head, CODEC_POLICY_TIME) > START_WALL,
	   "with author, message, time and rules");
	ok(is_error(get(CODEC_REVISION_DRAFT), "PR_ENOENT"), "the draft has ended");
	ok(is_error(get(99), "PR_ENOENT"), "there is no revision 99");
}

static void test_expect(void)
{
	static const char rules[] = "mode observe default\nrule 10 allow from any to any tcp/80\n";
	char text[512];

	(void)snprintf(text, sizeof(text), "%sexpect deny from any to 203.0.113.9 tcp/80\n", rules);
	const codec_doc_t *error =
		text_ask(&ana, CODEC_POLICY_CHECK, CODEC_POLICY_CHECK_TEXT, text);
	ok(is_error(error, "PR_EPOLICY") && codec_doc_count(error, CODEC_ERROR_DETAILS) == 1 &&
	           strcmp(codec_doc_item(error, CODEC_ERROR_DETAILS, 0),
	                  "3:1: expected deny; from any to 203.0.113.9 tcp/80: allowed by rule "
	                  "10") == 0,
	   "check runs expect lines: %s", codec_doc_item(error, CODEC_ERROR_DETAILS, 0));
	ok(is_type(import(&ana, text), CODEC_OK), "a draft may have a test that fails");
	ok(is_error(commit(&ana, "untested"), "PR_EPOLICY"), "its commit is refused");
	ok(codec_doc_u64(get(0), CODEC_POLICY_REVISION) == 2, "and changes nothing");
	(void)snprintf(text, sizeof(text),
	               "%sexpect allow from any to 203.0.113.9 tcp/80\n"
	               "expect deny from any to 203.0.113.9 tcp/81\n",
	               rules);
	const codec_doc_t *good = text_ask(&ana, CODEC_POLICY_CHECK, CODEC_POLICY_CHECK_TEXT, text);
	ok(is_type(good, CODEC_OK) &&
	           strstr(codec_doc_text(good, CODEC_OK_TEXT), "expect lines 2") != NULL,
	   "those that hold are counted");
}

static void test_conflict(void)
{
	ok(is_type(import(&ana, "mode observe default\n# ana\n"), CODEC_OK), "ana edits");
	ok(is_type(import(&bob, "mode observe default\n# bob\n"), CODEC_OK), "bob edits");
	ok(is_type(commit(&ana, "ana's"), CODEC_OK), "ana commits");
	const codec_doc_t *error = commit(&bob, "bob's");
	ok(is_error(error, "PR_ECONFLICT"), "bob's was made from an older one");
	ok(strstr(codec_doc_text(get(0), CODEC_POLICY_TEXT), "# ana") != NULL, "ana's stands");
	ok(is_type(import(&bob, "mode observe default\n# ana\n# bob\n"), CODEC_OK) &&
	           is_type(commit(&bob, "bob's, merged"), CODEC_OK),
	   "bob merges and commits");
}

static void test_log(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_LOG);
	uint64_t last = UINT64_MAX;
	size_t entries = 0;
	const codec_doc_t *entry = NULL;
	bool falling = true, textless = true;

	sent_clear();
	say(&vera, ask);
	while (is_type(entry = answer(), CODEC_POLICY)) {
		falling &= codec_doc_u64(entry, CODEC_POLICY_REVISION) < last;
		textless &= codec_doc_text(entry, CODEC_POLICY_TEXT)[0] == '\0';
		last = codec_doc_u64(entry, CODEC_POLICY_REVISION);
		entries++;
	}
	ok(entries == 4 && falling && last == 1, "four revisions, newest first");
	ok(textless, "without their texts");
	ok(is_type(entry, CODEC_END) && codec_doc_u64(entry, CODEC_END_COMPLETE) == 1, "complete");
	ask = codec_doc_new(CODEC_POLICY_LOG);
	codec_doc_set_u64(ask, CODEC_POLICY_LOG_LIMIT, 2);
	sent_clear();
	say(&vera, ask);
	(void)answer();
	(void)answer();
	entry = answer();
	ok(is_type(entry, CODEC_END) && codec_doc_u64(entry, CODEC_END_COMPLETE) == 0,
	   "two of them: not complete");
}

static void test_rollback(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_POLICY_ROLLBACK);

	sent_clear();
	codec_doc_set_u64(ask, CODEC_POLICY_ROLLBACK_REVISION, 2);
	say(&ana, ask);
	const codec_doc_t *done = answer();
	ok(is_type(done, CODEC_OK) && codec_doc_u64(done, CODEC_OK_NUMBER) == 5,
	   "a roll-back is a commit");
	ok(strstr(codec_doc_text(get(0), CODEC_POLICY_TEXT), "tcp/80") != NULL, "of the old text");
	ask = codec_doc_new(CODEC_POLICY_ROLLBACK);
	codec_doc_set_u64(ask, CODEC_POLICY_ROLLBACK_REVISION, 77);
	sent_clear();
	say(&ana, ask);
	ok(is_error(answer(), "PR_ENOENT"), "to a revision that is not there: no");
	sent_clear();
	say(&ana, codec_doc_new(CODEC_POLICY_ROLLBACK));
	ok(is_error(answer(), "PR_ENOENT"), "to none: no");
}

static const codec_doc_t *mode_set(const char *mode, const char *group)
{
	codec_doc_t *ask = codec_doc_new(CODEC_MODE_SET);

	sent_clear();
	codec_doc_set_text(ask, CODEC_MODE_SET_MODE, mode);
	codec_doc_set_text(ask, CODEC_MODE_SET_GROUP, group);
	say(&ana, ask);
	return answer();
}

static void test_mode(void)
{
	ok(is_type(import(&ana, "# top\nmode observe default # why\n"
	                        "mode enforce group web\n"
	                        "group web select name web*\ngroup db select name db*\n"),
	           CODEC_OK) &&
	           is_type(commit(&ana, "groups"), CODEC_OK),
	   "groups");
	const codec_doc_t *done = mode_set("enforce", "default");
	ok(is_type(done, CODEC_OK) && strstr(codec_doc_text(done, CODEC_OK_TEXT),
	                                     "portreeve policy rollback 6") != NULL,
	   "the default's mode, and how to undo it");
	const char *text = codec_doc_text(get(0), CODEC_POLICY_TEXT);
	ok(strstr(text, "mode  enforce default\n") != NULL &&
	           strstr(text, "observe default") == NULL && strncmp(text, "# top\n", 6) == 0,
	   "one line is another, the rest as it was");
	ok(is_type(mode_set("observe", "web"), CODEC_OK), "a group's mode");
	text = codec_doc_text(get(0), CODEC_POLICY_TEXT);
	ok(strstr(text, "mode  observe group web\n") != NULL &&
	           strstr(text, "enforce group web") == NULL,
	   "its line is another");
	ok(is_type(mode_set("enforce", "db"), CODEC_OK) &&
	           strstr(codec_doc_text(get(0), CODEC_POLICY_TEXT), "mode  enforce group db\n") !=
	                   NULL,
	   "a group that had none gets a line");
	ok(is_error(mode_set("enforce", "ghosts"), "PR_ENOENT"), "no such group");
	ok(is_error(mode_set("panic", "default"), "PR_EINVAL"), "no such mode");
	ok(is_error(mode_set("enforce", ""), "PR_ENOENT"), "no group at all");
}

static void test_check(void)
{
	const codec_doc_t *got = text_ask(&vera, CODEC_POLICY_CHECK, CODEC_POLICY_CHECK_TEXT,
	                                  "mode observe default\ngroup g select name x\n"
	                                  "rule 1 allow from g to any any\n");
	ok(is_type(got, CODEC_OK) && codec_doc_u64(got, CODEC_OK_NUMBER) == 1 &&
	           strstr(codec_doc_text(got, CODEC_OK_TEXT), "(g)") != NULL,
	   "check says how many rules, and which group is empty");
	ok(is_error(text_ask(&vera, CODEC_POLICY_CHECK, CODEC_POLICY_CHECK_TEXT, "nonsense\n"),
	            "PR_EPOLICY"),
	   "errors are errors");
}

static void test_group_members(void)
{
	const codec_doc_t *got =
		text_ask(&vera, CODEC_GROUP_MEMBERS, CODEC_GROUP_MEMBERS_GROUP, "web");
	ok(is_type(got, CODEC_END) && codec_doc_u64(got, CODEC_END_COUNT) == 0, "nobody in it");
	ok(is_error(text_ask(&vera, CODEC_GROUP_MEMBERS, CODEC_GROUP_MEMBERS_GROUP, "ghosts"),
	            "PR_ENOENT"),
	   "no such group");
}

/* The same service on another authority, without a change. */
static void test_fake_authority(void)
{
	char author[] = "etcd", message[] = "first";
	struct store_revision first = { .author = author, .message = message };
	uint64_t number = 0;

	first.text = copy_text("mode enforce default\n");
	first.text_bytes = strlen(first.text);
	must(fake_commit(&bench.fake, 0, &first, NULL, &number) == PR_OK, "first");
	free(first.text);
	bench_admin(authority_fake(&bench.fake));
	ok(codec_doc_u64(get(0), CODEC_POLICY_REVISION) == 1, "its revision 1 is in force");
	ok(is_type(import(&ana, "mode observe default\n"), CODEC_OK) &&
	           is_type(commit(&ana, "over there"), CODEC_OK) && bench.fake.count == 2,
	   "a commit goes to the authority");
	ok(strcmp(bench.fake.revisions[1].author, "ana") == 0, "with its author");
	bench.fake.fail = PR_EUNREACH;
	ok(is_type(import(&ana, "mode enforce default\n"), CODEC_OK) &&
	           is_error(commit(&ana, "when it is away"), "PR_EUNREACH"),
	   "an authority that is away is said so");
	bench.fake.fail = PR_OK;
	ok(codec_doc_u64(get(0), CODEC_POLICY_REVISION) == 2, "and nothing was changed");
	must(fake_commit(&bench.fake, 2, &bench.fake.revisions[0], NULL, &number) == PR_OK, "else");
	ok(is_error(commit(&ana, "too late"), "PR_ECONFLICT"),
	   "a commit by another controller is a conflict");
}

int main(void)
{
	pr_log_set_level(PR_LOG_ERROR);
	bench_start("mode observe default\n");
	ana = peer_of("ana", BUS_ROLE_ADMIN);
	bob = peer_of("bob", BUS_ROLE_ADMIN);
	vera = peer_of("vera", BUS_ROLE_VIEWER);
	test_import();
	test_commit();
	test_expect();
	test_conflict();
	test_log();
	test_rollback();
	test_mode();
	test_check();
	test_group_members();
	test_fake_authority();
	bench_stop();
	return tap_done();
}
