/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Groups, selectors, modes, globs and the three-valued cases, by hand. */

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "policy/policy.h"
#include "tests/tap.h"

#define NOW_NS (1000 * PR_NS_PER_S)

static struct policy_errors errors;

enum who { HOSTA, HOSTB, WEB, DB, BATCH, _WHO_MAX };

static const struct policy_label labels[] = { { "tier", "front" }, { "empty", "" } };

static struct policy_endpoint endpoints[_WHO_MAX] = {
	[HOSTA] = { .kind = POLICY_HOST, .name = "hosta", .cgroup = "/" },
	[HOSTB] = { .kind = POLICY_HOST, .name = "hostb" },
	[WEB] = { .kind = POLICY_CONTAINER,
	          .name = "web_1",
	          .image = "registry/web:1.2",
	          .compose_project = "shop",
	          .compose_service = "web",
	          .host_name = "hosta",
	          .cgroup = "/docker/w",
	          .labels = labels,
	          .label_count = 2 },
	[DB] = { .kind = POLICY_CONTAINER,
	         .name = "db_1",
	         .image = "db",
	         .compose_project = "shop",
	         .compose_service = "db",
	         .host_name = "hosta" },
	[BATCH] = { .kind = POLICY_CONTAINER, .name = "hosta", .host_name = "hostb" },
};

static void make_endpoints(void)
{
	for (unsigned i = 0; i < _WHO_MAX; i++) {
		endpoints[i].id.bytes[0] = 0xee;
		endpoints[i].id.bytes[15] = (uint8_t)(i + 1);
	}
}

static policy_image_t *compile(const char *text)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	policy_image_t *image = NULL;
	if (policy_text_parse(text, strlen(text), &errors, &model) != PR_OK ||
	    policy_image_compile(model, endpoints, _WHO_MAX, 42, &image) != PR_OK) {
		printf("# %u:%u: %s\n", errors.items[0].line, errors.items[0].column,
		       errors.items[0].message);
		(void)fflush(stdout);
		abort();
	}
	return image;
}

/* ---- selectors and groups ---- */

static const struct {
	const char *terms;
	unsigned members; /* bit per endpoint */
} selections[] = {
	{ "", 0 },
	{ "select name web_1", 1U << WEB },
	{ "select name *_1", 1U << WEB | 1U << DB },
	{ "select name web_?", 1U << WEB },
	{ "select name web_", 0 },
	{ "select name hosta", 1U << HOSTA | 1U << BATCH },
	{ "select name hosta kind host", 1U << HOSTA },
	{ "select name hosta kind container", 1U << BATCH },
	{ "select host hosta", 1U << HOSTA },
	{ "select host hosta kind container", 1U << WEB | 1U << DB },
	{ "select host hosta kind host", 1U << HOSTA },
	{ "select host host* name *", 31 },
	{ "select host host*", 1U << HOSTA | 1U << HOSTB },
	{ "select kind container", 1U << WEB | 1U << DB | 1U << BATCH },
	{ "select image registry/*", 1U << WEB },
	{ "select image *", 1U << WEB | 1U << DB },
	{ "select label.tier front", 1U << WEB },
	{ "select label.tier back", 0 },
	{ "select label.empty *", 1U << WEB },
	{ "select label.none *", 0 },
	{ "select compose.project shop", 1U << WEB | 1U << DB },
	{ "select compose.project shop compose.service db", 1U << DB },
	{ "select compose.service web select compose.service db", 1U << WEB | 1U << DB },
	{ "select cgroup /docker/*", 1U << WEB },
	{ "member ee000000-0000-0000-0000-000000000004", 1U << DB },
	{ "member ee000000-0000-0000-0000-000000000004 select name db_1", 1U << DB },
	{ "member ee000000-0000-0000-0000-000000000004 select name web_1", 1U << WEB | 1U << DB },
};

static void test_selections(void)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(selections); i++) {
		char text[256];
		struct pr_uuid ids[_WHO_MAX];
		unsigned members = 0;
		(void)snprintf(text, sizeof(text), "group g %s", selections[i].terms);
		_cleanup_(policy_image_destroy) policy_image_t *image = compile(text);
		long count = policy_image_group_members(image, "g", ids, _WHO_MAX);
		for (long j = 0; j < count; j++) {
			members |= 1U << (ids[j].bytes[15] - 1);
		}
		ok(members == selections[i].members &&
		           count == __builtin_popcount(selections[i].members),
		   "group g %s", selections[i].terms);
	}
}

static void test_groups(void)
{
	static const struct pr_uuid stranger = { { 0xdd, [15] = 1 } }, nobody = { { 1 } };
	_cleanup_(policy_image_destroy) policy_image_t *image =
		compile("group z select name web_1\ngroup a select name web*\n"
	                "group s member dd000000-0000-0000-0000-000000000001\ngroup empty");
	struct pr_uuid id;
	ok(strcmp(policy_image_endpoint_group(image, &endpoints[WEB].id, 0), "z") == 0 &&
	           strcmp(policy_image_endpoint_group(image, &endpoints[WEB].id, 1), "a") == 0 &&
	           policy_image_endpoint_group(image, &endpoints[WEB].id, 2) == NULL,
	   "an endpoint's groups come in order of the text");
	ok(policy_image_endpoint_group(image, &endpoints[DB].id, 0) == NULL &&
	           policy_image_endpoint_group(image, &nobody, 0) == NULL &&
	           policy_image_endpoint_group(image, NULL, 0) == NULL,
	   "who is in none has none");
	ok(policy_image_group_members(image, "s", &id, 1) == 1 && pr_uuid_equal(&id, &stranger),
	   "a member that has not enrolled is one");
	ok(policy_image_group_members(image, "empty", NULL, 0) == 0, "an empty group has none");
	ok(policy_image_group_members(image, "nix", NULL, 0) == PR_ENOENT,
	   "an unknown group is not");
	ok(policy_image_group_members(image, "z", NULL, 0) == 1, "members can be counted only");
}

/* ---- modes ---- */

static void test_modes(void)
{
	_cleanup_(policy_image_destroy) policy_image_t *plain = compile("");
	struct policy_lost lost = policy_image_endpoint_lost(plain, &endpoints[WEB].id);
	ok(policy_image_endpoint_mode(plain, &endpoints[WEB].id) == POLICY_OBSERVE &&
	           policy_image_endpoint_mode(plain, NULL) == POLICY_OBSERVE &&
	           !policy_image_enforces(plain),
	   "without a line the mode is observe");
	ok(lost.kind == POLICY_LOST_LAST_KNOWN && lost.last_known_s == 600,
	   "and lost is last-known 10m");
	_cleanup_(policy_image_destroy) policy_image_t *image = compile(
		"mode enforce default\nmode observe group shop\nmode enforce group db\n"
		"mode observe group all\nlost allow default\nlost last-known 20m group shop\n"
		"lost last-known 5m group all\nlost deny group db\n"
		"group shop select compose.project shop\ngroup db select compose.service db\n"
		"group all select kind container");
	ok(policy_image_endpoint_mode(image, &endpoints[HOSTA].id) == POLICY_ENFORCE,
	   "who is in no group has the default");
	ok(policy_image_endpoint_mode(image, &endpoints[WEB].id) == POLICY_OBSERVE,
	   "a group's line beats the default");
	ok(policy_image_endpoint_mode(image, &endpoints[DB].id) == POLICY_ENFORCE,
	   "enforce stands over observe");
	lost = policy_image_endpoint_lost(image, &endpoints[HOSTA].id);
	ok(lost.kind == POLICY_LOST_ALLOW, "lost: the default");
	lost = policy_image_endpoint_lost(image, &endpoints[WEB].id);
	ok(lost.kind == POLICY_LOST_LAST_KNOWN && lost.last_known_s == 300,
	   "lost: of two times the shorter");
	lost = policy_image_endpoint_lost(image, &endpoints[DB].id);
	ok(lost.kind == POLICY_LOST_DENY, "lost: deny over last-known");
	_cleanup_(policy_image_destroy) policy_image_t *some =
		compile("group g\nmode enforce group g");
	ok(policy_image_enforces(some), "a group in enforce makes a policy that enforces");
}

/* ---- evaluation ---- */

static struct policy_request known(enum policy_end asker, enum who from, enum who to, uint16_t port)
{
	struct policy_request request = {
		.asker = asker,
		.proto = 6,
		.port = port,
		.source = endpoints[from].id,
		.destination = endpoints[to].id,
		.source_addr = pr_addr_from_v4(0x0100000a), /* 10.0.0.1 */
		.destination_addr = pr_addr_from_v4(0x0200000a),
		.user = { .uid = 33, .name = "www-data" },
		.process = "/usr/sbin/apache2",
	};
	memset(request.known, POLICY_KNOWN, sizeof(request.known));
	request.known[POLICY_FIELD_TO_USER] = POLICY_UNKNOWN;
	request.known[POLICY_FIELD_TO_PROCESS] = POLICY_UNKNOWN;
	return request;
}

static struct policy_verdict judge(const policy_image_t *image, struct policy_request request)
{
	struct policy_verdict verdict;
	policy_request_mark_pending(image, &request);
	policy_image_evaluate(image, &request, NOW_NS, &verdict);
	return verdict;
}

#define FAR_TEXT                                                                        \
	"mode enforce default\nmode observe group batch\ngroup web select name web_1\n" \
	"group db select name db_1\ngroup batch select kind container name hosta\n"

static void test_pending(void)
{
	_cleanup_(policy_image_destroy) policy_image_t *allow =
		compile(FAR_TEXT "rule 10 allow from web to any tcp/1 to-process /bin/db");
	struct policy_verdict verdict = judge(allow, known(POLICY_END_NEAR, WEB, DB, 1));
	ok(verdict.action == POLICY_ALLOW && verdict.provisional && verdict.rule == 0,
	   "near: a rule on the far process that allows: pass provisionally");
	verdict = judge(allow, known(POLICY_END_NEAR, WEB, DB, 2));
	ok(verdict.action == POLICY_DENY && !verdict.provisional && !verdict.several,
	   "near: where no outcome allows: deny");
	verdict = judge(allow, known(POLICY_END_NEAR, WEB, BATCH, 1));
	ok(verdict.action == POLICY_DENY && !verdict.provisional,
	   "near: a far end in observe decides nothing: its process is unknown");
	verdict = judge(allow, known(POLICY_END_FAR, WEB, DB, 1));
	ok(verdict.action == POLICY_DENY && !verdict.provisional,
	   "far: an unknown process matches no rule");
	struct policy_request request = known(POLICY_END_FAR, WEB, DB, 1);
	request.known[POLICY_FIELD_TO_PROCESS] = POLICY_KNOWN;
	request.to_process = "/bin/db";
	verdict = judge(allow, request);
	ok(verdict.action == POLICY_ALLOW && verdict.rule == 10, "far: decides and names the rule");

	_cleanup_(policy_image_destroy) policy_image_t *deny =
		compile(FAR_TEXT "rule 10 reject from web to db tcp/1 to-user 7\n"
	                         "rule 20 reject from web to db tcp/1\n"
	                         "rule 30 deny from web to db tcp/2 to-user 7\n"
	                         "rule 40 allow from web to db tcp/2");
	verdict = judge(deny, known(POLICY_END_NEAR, WEB, DB, 1));
	ok(verdict.action == POLICY_REJECT && verdict.several && verdict.rule == 20,
	   "near: all outcomes reject: reject, by one of several rules");
	verdict = judge(deny, known(POLICY_END_NEAR, WEB, DB, 2));
	ok(verdict.action == POLICY_ALLOW && verdict.provisional,
	   "near: a rule that may deny before one that allows: pass provisionally");
}

static void test_unknown(void)
{
	_cleanup_(policy_image_destroy) policy_image_t *image =
		compile(FAR_TEXT "rule 10 deny user 33 from any to any tcp/1\n"
	                         "rule 20 allow process /usr/sbin/apache2 from any to any tcp/2\n"
	                         "rule 30 deny from web to any tcp/3\n"
	                         "rule 40 allow from 10.0.0.0/8 to any tcp/3\n"
	                         "rule 50 allow from any to any tcp/1\n");
	struct policy_request request = known(POLICY_END_FAR, WEB, DB, 1);
	struct policy_verdict verdict = judge(image, request);
	ok(verdict.rule == 10, "a known user is denied");
	request.known[POLICY_FIELD_USER] = POLICY_UNKNOWN;
	verdict = judge(image, request);
	ok(verdict.rule == 50, "an unknown one is not that user");
	request = known(POLICY_END_FAR, WEB, DB, 2);
	request.known[POLICY_FIELD_PROCESS] = POLICY_UNKNOWN;
	verdict = judge(image, request);
	ok(verdict.rule == 0 && verdict.action == POLICY_DENY, "an unknown process is not allowed");
	request = known(POLICY_END_FAR, WEB, DB, 3);
	verdict = judge(image, request);
	ok(verdict.rule == 30, "a known source is in its group");
	request.known[POLICY_FIELD_SOURCE] = POLICY_UNKNOWN;
	verdict = judge(image, request);
	ok(verdict.rule == 40, "an unknown one is only its address");
	struct policy_request nothing = { 0 };
	verdict = judge(image, nothing);
	ok(verdict.action == POLICY_DENY && verdict.rule == 0, "a request of zeros is denied");
}

static void test_verdict_modes(void)
{
	_cleanup_(policy_image_destroy) policy_image_t *image =
		compile("mode observe default\nmode enforce group db\ngroup db select name db_1\n"
	                "group web select name web_1\n"
	                "rule 5 staged deny from any to any tcp/7\n"
	                "rule 6 allow from any to any tcp/7\nrule 7 reject from any to any tcp/8\n"
	                "lifeline from web to db tcp/22\nrule 1 deny from any to any tcp/22");
	struct policy_verdict verdict = judge(image, known(POLICY_END_NEAR, WEB, HOSTB, 9));
	ok(verdict.action == POLICY_ALLOW && verdict.policy_action == POLICY_DENY &&
	           verdict.would_deny && verdict.mode == POLICY_OBSERVE && verdict.revision == 42,
	   "observe: no rule: pass, would deny");
	verdict = judge(image, known(POLICY_END_FAR, WEB, DB, 9));
	ok(verdict.action == POLICY_DENY && !verdict.would_deny && verdict.mode == POLICY_ENFORCE,
	   "enforce at the far end bites there");
	verdict = judge(image, known(POLICY_END_NEAR, WEB, DB, 9));
	ok(verdict.action == POLICY_ALLOW && verdict.would_deny,
	   "but not at a near end in observe");
	verdict = judge(image, known(POLICY_END_BOTH, WEB, DB, 8));
	ok(verdict.action == POLICY_REJECT && verdict.rule == 7,
	   "one agent for both: the stricter mode bites");
	verdict = judge(image, known(POLICY_END_FAR, WEB, DB, 7));
	ok(verdict.action == POLICY_ALLOW && verdict.rule == 6 && verdict.staged_rule == 5 &&
	           verdict.would_deny,
	   "a staged rule changes nothing and is told");
	verdict = judge(image, known(POLICY_END_FAR, WEB, DB, 22));
	ok(verdict.action == POLICY_ALLOW && verdict.lifeline && verdict.rule == 0,
	   "a lifeline stands before every rule");
	verdict = judge(image, known(POLICY_END_FAR, HOSTB, DB, 22));
	ok(verdict.action == POLICY_DENY && !verdict.lifeline, "for its own flow only");
}

static void test_time(void)
{
	_cleanup_(policy_image_destroy) policy_image_t *image = compile(
		"mode enforce default\nrule 1 allow from any to any any expires 2027-01-31\n"
		"rule 2 reject from any to any any disabled\nrule 3 deny from any to any any "
		"comment \"last\" owner ana");
	struct policy_request request = known(POLICY_END_BOTH, WEB, DB, 1);
	struct policy_verdict verdict;
	struct policy_rule_info info;
	uint64_t end_ns = 0;
	ok(pr_clock_parse("2027-01-31", &end_ns) == PR_OK, "a date is one");
	policy_image_evaluate(image, &request, end_ns - 1, &verdict);
	ok(verdict.rule == 1 && verdict.valid_until_wall_ns == end_ns,
	   "a rule holds until it expires, and so does the verdict");
	policy_image_evaluate(image, &request, end_ns, &verdict);
	ok(verdict.rule == 3 && verdict.valid_until_wall_ns == 0,
	   "then the next one does; a disabled one never");
	ok(policy_image_rule_find(image, 3, &info) && info.number == 3 &&
	           strcmp(info.comment, "last") == 0 && strcmp(info.owner, "ana") == 0 &&
	           info.action == POLICY_DENY,
	   "an image tells a rule's comment and owner");
	ok(!policy_image_rule_find(image, 2, &info) && !policy_image_rule_find(image, 0, &info) &&
	           policy_image_rule_find(image, 1, &info) && info.comment == NULL,
	   "not of one that is disabled");
}

static void test_depends(void)
{
	_cleanup_(policy_image_destroy) policy_image_t *image =
		compile("mode enforce default\ngroup web select name web_1\n"
	                "rule 1 deny user root from any to any tcp/22\n"
	                "rule 2 allow from web to any tcp/80\n");
	struct policy_verdict verdict = judge(image, known(POLICY_END_BOTH, WEB, DB, 80));
	ok(verdict.rule == 2 &&
	           verdict.depends == (1U << POLICY_FIELD_PROTO | 1U << POLICY_FIELD_PORT |
	                               1U << POLICY_FIELD_SOURCE),
	   "a verdict depends on protocol, port and source, not on the user");
	verdict = judge(image, known(POLICY_END_BOTH, WEB, DB, 22));
	ok(verdict.rule == 0 && verdict.depends & 1U << POLICY_FIELD_USER,
	   "another one on the user too");
}

/* ---- globs ---- */

static const struct {
	const char *pattern, *text;
	bool name, path; /* does it match as a name, as a path */
} globs[] = {
	{ "", "", true, true },
	{ "", "a", false, false },
	{ "a", "", false, false },
	{ "*", "", true, true },
	{ "**", "", true, true },
	{ "*", "abc", true, true },
	{ "a*c", "abbc", true, true },
	{ "a*c", "ab", false, false },
	{ "a?c", "abc", true, true },
	{ "a?c",
	  "a\xc3\xa9"
	  "c",
	  true, true },
	{ "a?c", "ac", false, false },
	{ "a?c", "a/c", true, false },
	{ "*a*b*c", "xaxbxc", true, true },
	{ "*a*b*c", "xaxcxb", false, false },
	{ "/usr/*/x", "/usr/lib/x", true, true },
	{ "/usr/*/x", "/usr/a/b/x", true, false },
	{ "/usr/**/x", "/usr/a/b/x", true, true },
	{ "/usr/**", "/usr/a/b/x", true, true },
	{ "/usr/**", "/us", false, false },
	{ "**/java", "/opt/jdk/bin/java", true, true },
	{ "**/java", "/opt/jdk/bin/javac", false, false },
	{ "/a/**/b/*/c", "/a/b/x/b/y/c", true, true },
	{ "/a/**/b/*/c", "/a/b/x/b/y/z/c", true, false },
	{ "/a/***", "/a/b/c", true, true },
	{ "/a/*b", "/a/b/b", true, false },
	{ "**a*b", "a/ab", true, true },
	{ "/tmp/*", ":/tmp/%FF", false, true },
	{ "/tmp/%FF", ":/tmp/%FF", false, false },
	{ ":/tmp/%FF*", ":/tmp/%FFa", true, true },
	{ ":/tmp/%FF*", "/tmp/%FFa", false, false },
	{ "**/a", ":/tmp/%FF/a", true, true },
	{ "/tmp/a?c", ":/tmp/a%FFc", false, true },
};

/* By trying every way, for comparison. */
static bool slow_path_match(const char *pattern, const char *path)
{
	if (pattern[0] == '\0') {
		return path[0] == '\0';
	}
	if (pattern[0] == '*') {
		bool deep = pattern[1] == '*';
		if (slow_path_match(pattern + 1 + deep, path)) {
			return true;
		}
		return path[0] != '\0' && (deep || path[0] != '/') &&
		       slow_path_match(pattern, path + 1);
	}
	if (path[0] == '\0' || (pattern[0] == '?' ? path[0] == '/' : pattern[0] != path[0])) {
		return false;
	}
	return slow_path_match(pattern + 1, path + 1);
}

static void test_globs(void)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(globs); i++) {
		ok(policy_glob_match(globs[i].pattern, globs[i].text) == globs[i].name &&
		           policy_path_match(globs[i].pattern, globs[i].text) == globs[i].path,
		   "`%s` and `%s`", globs[i].pattern, globs[i].text);
	}
	static const char pattern_letters[] = "ab/**?", text_letters[] = "aab/";
	uint64_t state = 12345;
	unsigned differences = 0, matches = 0;
	for (unsigned i = 0; i < 300000; i++) {
		char pattern[9], text[11];
		for (unsigned j = 0; j < sizeof(pattern) + sizeof(text); j++) {
			state = state * 6364136223846793005ULL + 1442695040888963407ULL;
			unsigned draw = (unsigned)(state >> 40);
			if (j < sizeof(pattern)) {
				pattern[j] = pattern_letters[draw % 6];
			} else {
				text[j - sizeof(pattern)] = text_letters[draw % 4];
			}
		}
		pattern[(state >> 20) % sizeof(pattern)] = '\0';
		text[(state >> 30) % sizeof(text)] = '\0';
		pattern[sizeof(pattern) - 1] = text[sizeof(text) - 1] = '\0';
		bool match = policy_path_match(pattern, text);
		matches += match;
		if (match != slow_path_match(pattern, text) && differences++ < 5) {
			printf("# `%s` `%s`\n", pattern, text);
		}
	}
	ok(differences == 0 && matches > 1000, "paths match as by trying every way, %u do",
	   matches);
}

int main(void)
{
	make_endpoints();
	test_selections();
	test_groups();
	test_modes();
	test_pending();
	test_unknown();
	test_verdict_modes();
	test_time();
	test_depends();
	test_globs();
	return tap_done();
}
