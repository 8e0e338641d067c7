/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Endpoints that are isolated, let go, forgotten: what agents are told, and for how long. */

#include "tests/controller/harness.h"

static struct bus_peer ana, alpha, beta;

static const codec_doc_t *quarantine(const char *name, const char *reason, uint64_t seconds,
                                     const char *connection)
{
	codec_doc_t *ask = codec_doc_new(CODEC_QUARANTINE_SET);

	sent_clear();
	codec_doc_set_text(ask, CODEC_QUARANTINE_SET_NAME, name);
	codec_doc_set_text(ask, CODEC_QUARANTINE_SET_REASON, reason);
	codec_doc_set_u64(ask, CODEC_QUARANTINE_SET_SECONDS, seconds);
	if (connection != NULL) {
		codec_doc_add_text(ask, CODEC_QUARANTINE_SET_CONNECTIONS, connection);
	}
	say(&ana, ask);
	return answer();
}

static const codec_doc_t *release(const char *name)
{
	codec_doc_t *ask = codec_doc_new(CODEC_QUARANTINE_RELEASE);

	sent_clear();
	codec_doc_set_text(ask, CODEC_QUARANTINE_RELEASE_NAME, name);
	say(&ana, ask);
	return answer();
}

static const codec_doc_t *forget(const char *name, bool force)
{
	codec_doc_t *ask = codec_doc_new(CODEC_ENDPOINT_REMOVE);

	sent_clear();
	codec_doc_set_text(ask, CODEC_ENDPOINT_REMOVE_NAME, name);
	codec_doc_set_text(ask, CODEC_ENDPOINT_REMOVE_REASON, "gone");
	codec_doc_set_u64(ask, CODEC_ENDPOINT_REMOVE_FORCE, force);
	say(&ana, ask);
	return answer();
}

/* "observe last-known" of an agent's own host, as its signed state says; the state's number. */
static uint64_t state_of(const struct bus_peer *agent, char mode[static 32])
{
	_cleanup_(codec_doc_destroy) codec_doc_t *state = NULL;
	const codec_doc_t *got = NULL;
	size_t bytes = 0;

	sent_clear();
	say(agent, codec_doc_new(CODEC_STATE_GET));
	while ((got = answer()) != NULL && !is_type(got, CODEC_STATE)) {
	}
	must(got != NULL, "a state");
	const uint8_t *body = codec_doc_blob(got, CODEC_STATE_BODY, &bytes);
	must(codec_doc_decode(body, bytes, &state) == PR_OK, "a body");
	mode[0] = '\0';
	if (codec_doc_count(state, CODEC_AGENT_STATE_MODES) > 0) {
		(void)sscanf(codec_doc_item(state, CODEC_AGENT_STATE_MODES, 0), "%*s %31[^0-9]",
		             mode);
	}
	return codec_doc_u64(state, CODEC_AGENT_STATE_NUMBER);
}

static bool is_isolated(const char *name)
{
	codec_doc_t *ask = codec_doc_new(CODEC_ENDPOINTS_GET);

	sent_clear();
	codec_doc_set_text(ask, CODEC_ENDPOINTS_GET_NAME, name);
	say(&ana, ask);
	const codec_doc_t *got = answer();
	return is_type(got, CODEC_ENDPOINT) && codec_doc_u64(got, CODEC_ENDPOINT_QUARANTINED) == 1;
}

static bool explain_says_quarantine(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_EXPLAIN_GET);
	const codec_doc_t *got = NULL;

	sent_clear();
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_SRC, "beta");
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_DST, "alpha");
	codec_doc_set_text(ask, CODEC_EXPLAIN_GET_SERVICE, "tcp/80");
	say(&ana, ask);
	while ((got = answer()) != NULL && !is_type(got, CODEC_EXPLANATION)) {
	}
	return got != NULL && codec_doc_u64(got, CODEC_EXPLANATION_QUARANTINED) == 1 &&
	       strcmp(codec_doc_text(got, CODEC_EXPLANATION_VERDICT), "denied") == 0;
}

static void test_set(void)
{
	char mode[32];
	uint64_t before = state_of(&alpha, mode);

	ok(!is_isolated("alpha"), "an agent cannot say it of itself");
	ok(strcmp(mode, "observe last-known ") == 0, "by policy: %s", mode);
	ok(is_error(quarantine("alpha", "", 0, NULL), "PR_EINVAL"), "not without a reason");
	ok(is_error(quarantine("alpha", "a\nb", 0, NULL), "PR_EINVAL"), "of one line");
	ok(is_error(quarantine("ghost", "odd", 0, NULL), "PR_ENOENT"), "nobody of that name");
	ok(is_error(quarantine("alpha", "odd", 86400ULL * 400, NULL), "PR_EINVAL"), "too long");
	ok(is_error(quarantine("alpha", "odd", 0, "tcp 192.0.2.1 5000 198.51.100.1 22"),
	            "PR_EPERM"),
	   "it would cut the asker");
	ok(!explain_says_quarantine(), "explain knows of none");
	size_t hints = bench.changed;
	ok(is_type(quarantine("alpha", "odd traffic", 0, "tcp 192.0.2.9 5000 192.0.2.2 22"),
	           CODEC_OK),
	   "another's connection is no hindrance");
	ok(bench.changed > hints, "workers are told");
	ok(is_isolated("alpha") && !is_isolated("beta"), "it is isolated, it alone");
	ok(explain_says_quarantine(), "explain says so");
	uint64_t after = state_of(&alpha, mode);
	ok(strcmp(mode, "enforce deny ") == 0, "held, and denied without a controller: %s", mode);
	ok(after > before, "in a newer state");
	(void)state_of(&beta, mode);
	ok(strcmp(mode, "observe last-known ") == 0, "another host's is as it was");
	bench_admin(authority_of_store(bench.store));
	(void)state_of(&alpha, mode);
	ok(strcmp(mode, "enforce deny ") == 0, "over a restart, too");
}

static void test_release(void)
{
	char mode[32];

	ok(is_error(release("beta"), "PR_ENOENT"), "who is not isolated is not released");
	ok(is_type(release("alpha"), CODEC_OK) && !is_isolated("alpha"), "a release");
	(void)state_of(&alpha, mode);
	ok(strcmp(mode, "observe last-known ") == 0, "policy decides again");
	ok(is_type(quarantine("alpha", "for a while", 60, NULL), CODEC_OK), "for a minute");
	bench.now_ns += 59 * PR_NS_PER_S;
	tick();
	ok(is_isolated("alpha"), "59 s later it still is");
	bench.now_ns += 2 * PR_NS_PER_S;
	tick();
	ok(!is_isolated("alpha"), "61 s later it is not");
	(void)state_of(&alpha, mode);
	ok(strcmp(mode, "observe last-known ") == 0, "and its agent is told");
}

static void test_remove(void)
{
	char id[PR_UUID_TEXT_BYTES];
	struct store_peer peer = { 0 };

	host_put(&alpha, "192.0.2.1");
	host_put(&beta, "192.0.2.2");
	ok(is_type(quarantine("alpha", "then gone", 0, NULL), CODEC_OK), "isolated");
	ok(is_error(forget("alpha", false), "PR_EBUSY"), "one that is active is not forgotten");
	ok(is_type(forget("alpha", true), CODEC_OK), "but with force");
	ok(is_error(forget("alpha", true), "PR_ENOENT"), "once");
	ok(store_peer_get(bench.store, &alpha.id, &peer) == PR_OK &&
	           peer.status == STORE_PEER_REVOKED,
	   "its key is revoked");
	ok(is_type(release(pr_uuid_format(&alpha.id, id)), CODEC_OK),
	   "a release by UUID when nobody is there");
}

int main(void)
{
	pr_log_set_level(PR_LOG_ERROR);
	bench_start("mode observe default\n");
	ana = peer_of("ana", BUS_ROLE_ADMIN);
	alpha = peer_of("alpha", BUS_ROLE_AGENT);
	beta = peer_of("beta", BUS_ROLE_AGENT);
	host_put(&alpha, "192.0.2.1");
	host_put(&beta, "192.0.2.2");
	test_set();
	test_release();
	test_remove();
	bench_stop();
	return tap_done();
}
