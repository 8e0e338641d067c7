/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Inventories, who may speak for what, and the signed states that follow. */

#include "controller/pace.h"
#include "tests/controller/harness.h"

#define NET "aaaaaaaa-0000-4000-8000-000000000001"

static struct bus_peer ana, alpha, beta;

static void hello(const struct bus_peer *agent, const struct pr_uuid *claimed)
{
	codec_doc_t *ask = codec_doc_new(CODEC_HELLO);

	codec_doc_set_u64(ask, CODEC_HELLO_ID, 1);
	codec_doc_set_uuid(ask, CODEC_HELLO_UUID, claimed);
	codec_doc_set_text(ask, CODEC_HELLO_VERSION, "0.1");
	say(agent, ask);
}

static struct pr_uuid host_say(const struct bus_peer *agent, const char *address)
{
	codec_doc_t *ask = codec_doc_new(CODEC_ENDPOINT);

	codec_doc_set_uuid(ask, CODEC_ENDPOINT_UUID, &agent->id);
	codec_doc_set_uuid(ask, CODEC_ENDPOINT_HOST, &agent->id);
	codec_doc_set_text(ask, CODEC_ENDPOINT_KIND, "host");
	codec_doc_set_text(ask, CODEC_ENDPOINT_NAME, agent->name);
	codec_doc_addf(ask, CODEC_ENDPOINT_ADDRESSES, "global %s/24 02:00:00:00:00:01 eth0",
	               address);
	say(agent, ask);
	return agent->id;
}

static codec_doc_t *container_doc(const struct bus_peer *agent, const char *name,
                                  const char *container_id)
{
	codec_doc_t *ask = codec_doc_new(CODEC_ENDPOINT);
	struct pr_uuid id = pr_uuid_of_container(container_id);

	codec_doc_set_u64(ask, CODEC_ENDPOINT_ID, 5);
	codec_doc_set_uuid(ask, CODEC_ENDPOINT_UUID, &id);
	codec_doc_set_uuid(ask, CODEC_ENDPOINT_HOST, &agent->id);
	codec_doc_set_text(ask, CODEC_ENDPOINT_KIND, "container");
	codec_doc_set_text(ask, CODEC_ENDPOINT_NAME, name);
	codec_doc_set_text(ask, CODEC_ENDPOINT_HOST_NAME, agent->name);
	codec_doc_set_text(ask, CODEC_ENDPOINT_CONTAINER_ID, container_id);
	codec_doc_add_text(ask, CODEC_ENDPOINT_ADDRESSES, NET " 172.18.0.3/16 - eth0");
	codec_doc_add_text(ask, CODEC_ENDPOINT_LABELS, "com.docker.compose.service=web");
	return ask;
}

/* End an inventory; the acknowledged directory version, 0: refused. */
static uint64_t inventory_end(const struct bus_peer *agent, bool full)
{
	codec_doc_t *ask = codec_doc_new(CODEC_INVENTORY_END);
	const codec_doc_t *ack = NULL, *last = NULL;

	codec_doc_set_u64(ask, CODEC_INVENTORY_END_ID, 2);
	codec_doc_set_u64(ask, CODEC_INVENTORY_END_FULL, full);
	say(agent, ask);
	while ((last = answer()) != NULL) {
		ack = is_type(last, CODEC_INVENTORY_ACK) ? last : ack;
	}
	return ack != NULL ? codec_doc_u64(ack, CODEC_INVENTORY_ACK_DIRECTORY) : 0;
}

/* The endpoint of a name as people see it; NULL: not one. */
static const codec_doc_t *endpoint_get(const char *name)
{
	codec_doc_t *ask = codec_doc_new(CODEC_ENDPOINTS_GET);

	sent_clear();
	codec_doc_set_text(ask, CODEC_ENDPOINTS_GET_NAME, name);
	say(&ana, ask);
	const codec_doc_t *got = answer();
	return is_type(got, CODEC_ENDPOINT) ? got : NULL;
}

static void test_inventory(void)
{
	hello(&alpha, &alpha.id);
	ok(answer() == NULL, "hello is not answered");
	(void)host_say(&alpha, "192.0.2.1");
	say(&alpha, container_doc(&alpha, "web_1", "c1"));
	size_t hints = bench.changed;
	uint64_t version = inventory_end(&alpha, true);
	ok(version > 0, "a full inventory is acknowledged with its directory version");
	ok(bench.changed > hints, "and workers are told");
	const codec_doc_t *web = endpoint_get("web_1");
	ok(web != NULL && strcmp(codec_doc_text(web, CODEC_ENDPOINT_STATUS), "active") == 0 &&
	           strcmp(codec_doc_text(web, CODEC_ENDPOINT_MODE), "enforce") == 0 &&
	           codec_doc_count(web, CODEC_ENDPOINT_GROUPS) == 1,
	   "people see status, mode and groups");
	sent_clear();
	hello(&alpha, &alpha.id);
	(void)host_say(&alpha, "192.0.2.1");
	say(&alpha, container_doc(&alpha, "web_1", "c1"));
	ok(inventory_end(&alpha, true) == version, "the same again changes nothing");
	say(&alpha, container_doc(&alpha, "web_2", "c2"));
	ok(inventory_end(&alpha, false) > version, "a delta adds");
	ok(endpoint_get("web_1") != NULL && endpoint_get("web_2") != NULL, "both are there");
	hello(&alpha, &alpha.id);
	(void)host_say(&alpha, "192.0.2.1");
	say(&alpha, container_doc(&alpha, "web_1", "c1"));
	(void)inventory_end(&alpha, true);
	ok(endpoint_get("web_2") == NULL, "not named in a full inventory: gone");
	sent_clear();
}

static void test_refusals(void)
{
	struct pr_uuid other = id_of("nobody");

	hello(&alpha, &beta.id);
	ok(is_error(answer(), "PR_EPERM"), "hello with another's uuid");
	say(&alpha, container_doc(&beta, "theirs", "c9"));
	ok(is_error(answer(), "PR_EPERM"), "a container on another host");
	codec_doc_t *ask = container_doc(&alpha, "liar", "c9");
	codec_doc_set_uuid(ask, CODEC_ENDPOINT_UUID, &other);
	say(&alpha, ask);
	ok(is_error(answer(), "PR_EPERM"), "a uuid that is not of its container id");
	ask = container_doc(&alpha, "liar", "");
	say(&alpha, ask);
	ok(is_error(answer(), "PR_EPERM"), "neither a container id nor the uuid of a namespace");
	ask = container_doc(&alpha, "build", "");
	other = pr_uuid_of_namespace(&beta.id, "build");
	codec_doc_set_uuid(ask, CODEC_ENDPOINT_UUID, &other);
	say(&alpha, ask);
	ok(is_error(answer(), "PR_EPERM"), "the uuid of another host's namespace");
	ask = container_doc(&alpha, "build", "");
	other = pr_uuid_of_namespace(&alpha.id, "build");
	codec_doc_set_uuid(ask, CODEC_ENDPOINT_UUID, &other);
	say(&alpha, ask);
	ok(answer() == NULL, "its own is taken");
	ask = container_doc(&alpha, "odd", "c9");
	codec_doc_add_text(ask, CODEC_ENDPOINT_ADDRESSES, "somewhere over the rainbow");
	say(&alpha, ask);
	const codec_doc_t *error = answer();
	ok(is_error(error, "PR_EMALF") && codec_doc_u64(error, CODEC_ERROR_ID) == 5 &&
	           strstr(codec_doc_text(error, CODEC_ERROR_TEXT), "address") != NULL,
	   "a malformed address is named");
	ask = container_doc(&alpha, "odd", "c9");
	codec_doc_set_text(ask, CODEC_ENDPOINT_KIND, "toaster");
	say(&alpha, ask);
	ok(is_error(answer(), "PR_EMALF"), "neither host nor container");
	ask = codec_doc_new(CODEC_INVENTORY_END);
	codec_doc_set_u64(ask, CODEC_INVENTORY_END_FULL, 1);
	sent_clear();
	say(&beta, ask);
	ok(is_error(answer(), "PR_EINVAL"), "a full inventory without hello would wipe: refused");
	sent_clear();
}

static void test_takeover(void)
{
	hello(&beta, &beta.id);
	(void)host_say(&beta, "192.0.2.2");
	say(&beta, container_doc(&beta, "stolen", "c1"));
	ok(is_error(answer(), "PR_ECONFLICT"), "the active agent's container is not given away");
	(void)inventory_end(&beta, true);
	sent_clear();
	bench.now_ns += 6 * PR_NS_PER_S;
	hello(&beta, &beta.id);
	(void)host_say(&beta, "192.0.2.2");
	say(&beta, container_doc(&beta, "moved", "c1"));
	ok(inventory_end(&beta, true) > 0, "once its agent is silent, it moves");
	const codec_doc_t *moved = endpoint_get("moved");
	struct pr_uuid host = { 0 };
	if (moved != NULL) {
		host = codec_doc_uuid(moved, CODEC_ENDPOINT_HOST);
	}
	ok(pr_uuid_equal(&host, &beta.id), "and lives on the new host");
	const codec_doc_t *silent = endpoint_get("alpha");
	ok(silent != NULL && strcmp(codec_doc_text(silent, CODEC_ENDPOINT_STATUS), "silent") == 0,
	   "an agent not heard for 5 s is silent");
	sent_clear();
}

static void gone(const struct bus_peer *agent, const char *container_id, bool removed)
{
	codec_doc_t *ask = codec_doc_new(CODEC_ENDPOINT_GONE);
	struct pr_uuid id = pr_uuid_of_container(container_id);

	codec_doc_set_uuid(ask, CODEC_ENDPOINT_GONE_UUID, &id);
	codec_doc_set_u64(ask, CODEC_ENDPOINT_GONE_REMOVED, removed);
	say(agent, ask);
}

static void test_gone(void)
{
	gone(&alpha, "c1", true);
	ok(endpoint_get("moved") != NULL, "another's container cannot be removed");
	sent_clear();
	gone(&alpha, "c1", false);
	ok(is_error(answer(), "PR_EPERM"), "nor stopped");
	gone(&beta, "c1", false);
	const codec_doc_t *stopped = endpoint_get("moved");
	ok(stopped != NULL &&
	           strcmp(codec_doc_text(stopped, CODEC_ENDPOINT_STATUS), "stopped") == 0 &&
	           codec_doc_count(stopped, CODEC_ENDPOINT_ADDRESSES) == 0,
	   "stopped: known, without addresses");
	hello(&beta, &beta.id);
	(void)host_say(&beta, "192.0.2.2");
	codec_doc_t *ask = container_doc(&beta, "moved", "c1");
	codec_doc_set_text(ask, CODEC_ENDPOINT_STATUS, "stopped");
	say(&beta, ask);
	(void)inventory_end(&beta, true);
	stopped = endpoint_get("moved");
	ok(stopped != NULL &&
	           strcmp(codec_doc_text(stopped, CODEC_ENDPOINT_STATUS), "stopped") == 0 &&
	           codec_doc_count(stopped, CODEC_ENDPOINT_ADDRESSES) == 0,
	   "its agent begins anew and says that it is stopped: the same");
	ask = container_doc(&beta, "moved", "c1");
	codec_doc_set_text(ask, CODEC_ENDPOINT_STATUS, "revoked");
	say(&beta, ask);
	(void)inventory_end(&beta, false);
	stopped = endpoint_get("moved");
	ok(stopped != NULL && strcmp(codec_doc_text(stopped, CODEC_ENDPOINT_STATUS), "active") == 0,
	   "no other status is an agent's to say");
	gone(&beta, "c1", true);
	ok(endpoint_get("moved") == NULL, "removed: gone");
	gone(&beta, "c1", true);
	gone(&beta, "never", false);
	sent_clear();
}

/* ---- states ---- */

static codec_doc_t *state_of(const codec_doc_t *message, uint64_t *ret_number)
{
	codec_doc_t *state = NULL;
	size_t body_bytes = 0, signature_bytes = 0;

	if (!is_type(message, CODEC_STATE)) {
		return NULL;
	}
	const uint8_t *body = codec_doc_blob(message, CODEC_STATE_BODY, &body_bytes);
	const uint8_t *signature = codec_doc_blob(message, CODEC_STATE_SIGNATURE, &signature_bytes);
	if (bus_sign_verify(bench.keys.authority.public_key, body, body_bytes, signature,
	                    signature_bytes) != PR_OK ||
	    codec_doc_decode(body, body_bytes, &state) != PR_OK) {
		return NULL;
	}
	*ret_number = codec_doc_u64(state, CODEC_AGENT_STATE_NUMBER);
	return state;
}

static void state_get(const struct bus_peer *agent, uint64_t number)
{
	codec_doc_t *ask = codec_doc_new(CODEC_STATE_GET);

	codec_doc_set_u64(ask, CODEC_STATE_GET_ID, 3);
	codec_doc_set_u64(ask, CODEC_STATE_GET_NUMBER, number);
	codec_doc_add_text(ask, CODEC_STATE_GET_COUNTERS, "asked 17");
	say(agent, ask);
}

static bool has_line(const codec_doc_t *document, unsigned field, const char *line)
{
	for (size_t i = 0; i < codec_doc_count(document, field); i++) {
		if (strcmp(codec_doc_item(document, field, i), line) == 0) {
			return true;
		}
	}
	return false;
}

static void test_state(void)
{
	uint64_t number = 0, next = 0;
	char id[PR_UUID_TEXT_BYTES], line[128];

	state_get(&alpha, 0);
	_cleanup_(codec_doc_destroy) codec_doc_t *state = state_of(answer(), &number);
	must(state != NULL, "a signed state");
	ok(number > 0, "a state has a number");
	ok(strcmp(codec_doc_text(state, CODEC_AGENT_STATE_DEFAULT_MODE), "observe") == 0,
	   "the default mode");
	(void)snprintf(line, sizeof(line), "%s observe last-known 600",
	               pr_uuid_format(&alpha.id, id));
	ok(has_line(state, CODEC_AGENT_STATE_MODES, line), "modes: %s", line);
	struct pr_uuid web = pr_uuid_of_container("c1");
	(void)snprintf(line, sizeof(line), "%s enforce deny 0", pr_uuid_format(&web, id));
	ok(has_line(state, CODEC_AGENT_STATE_MODES, line), "modes: %s", line);
	ok(has_line(state, CODEC_AGENT_STATE_LIFELINE, "OUT 192.0.2.250/32 tcp/7400") &&
	           has_line(state, CODEC_AGENT_STATE_LIFELINE, "OUT 192.0.2.250/32 tcp/7411") &&
	           has_line(state, CODEC_AGENT_STATE_LIFELINE, "OUT 192.0.2.251/32 tcp/7401"),
	   "lifeline: controller, workers, recorder");
	ok(has_line(state, CODEC_AGENT_STATE_LIFELINE, "IN 192.0.2.0/24 tcp/22"),
	   "lifeline: the policy's");
	sent_clear();
	state_get(&alpha, number);
	ok(is_type(answer(), CODEC_OK), "nothing newer: only a sign of life");
	policy_put("mode enforce default\n");
	bench_admin(authority_of_store(bench.store));
	sent_clear();
	state_get(&alpha, number);
	_cleanup_(codec_doc_destroy) codec_doc_t *newer = state_of(answer(), &next);
	ok(newer != NULL && next > number, "a new revision, over a restart: a higher number");
	ok(newer != NULL && !has_line(newer, CODEC_AGENT_STATE_LIFELINE, "IN 192.0.2.0/24 tcp/22"),
	   "and what it says");
	sent_clear();
}

static void test_push(void)
{
	uint64_t number = 0;

	state_get(&alpha, 0);
	sent_clear();
	codec_doc_t *ask = codec_doc_new(CODEC_MODE_SET);
	codec_doc_set_text(ask, CODEC_MODE_SET_MODE, "observe");
	codec_doc_set_text(ask, CODEC_MODE_SET_GROUP, "default");
	say(&ana, ask);
	ok(is_type(answer(), CODEC_OK), "an administrator changes the mode");
	tick();
	_cleanup_(codec_doc_destroy) codec_doc_t *pushed = state_of(answer(), &number);
	ok(pushed != NULL &&
	           strcmp(codec_doc_text(pushed, CODEC_AGENT_STATE_DEFAULT_MODE), "observe") == 0,
	   "pushed at the end of the turn");
	sent_clear();
	say(&beta, container_doc(&beta, "noise", "c8"));
	(void)inventory_end(&beta, false);
	sent_clear();
	tick();
	ok(answer() == NULL, "another agent's container is nothing new for this one");
	state_get(&alpha, number);
	ok(is_type(answer(), CODEC_OK), "nor when it asks");
	sent_clear();
}

static void test_stranger_state(void)
{
	struct bus_peer gamma = peer_of("gamma", BUS_ROLE_AGENT);

	state_get(&gamma, 0);
	ok(is_error(answer(), "PR_ENOENT"), "an agent without an inventory is told to send one");
	sent_clear();
}

static void test_revoked(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_PEER_SET);

	codec_doc_set_text(ask, CODEC_PEER_SET_NAME, "beta");
	codec_doc_set_text(ask, CODEC_PEER_SET_STATUS, "revoked");
	say(&ana, ask);
	ok(is_type(answer(), CODEC_OK), "revoke an agent");
	ok(endpoint_get("beta") == NULL && endpoint_get("noise") == NULL,
	   "nothing of it stays in the directory");
	sent_clear();
}

/* Thousands of agents that join at once must not have everything made anew for each. */
static void test_paced(void)
{
	uint64_t number = 0;

	bench.now_ns += PR_NS_PER_S;
	tick();
	bench.now_ns += PR_NS_PER_S;
	sent_clear();
	say(&alpha, container_doc(&alpha, "burst_0", "b0"));
	(void)inventory_end(&alpha, false);
	state_get(&alpha, 0);
	_cleanup_(codec_doc_destroy) codec_doc_t *first = state_of(answer(), &number);
	ok(first != NULL, "the first change shows in the state at once");
	tick();
	sent_clear();
	say(&alpha, container_doc(&alpha, "burst_1", "b1"));
	ok(inventory_end(&alpha, false) > 0, "the next one is acknowledged at once");
	state_get(&alpha, 0);
	state_get(&alpha, 0);
	tick();
	ok(answer() == NULL, "a state of it is made later, within its pace");
	state_get(&alpha, number);
	ok(is_type(answer(), CODEC_OK), "who has the last one is told so meanwhile");
	sent_clear();
	bench.now_ns += PR_NS_PER_S;
	tick();
	_cleanup_(codec_doc_destroy) codec_doc_t *second = state_of(answer(), &number);
	ok(second != NULL && codec_doc_count(second, CODEC_AGENT_STATE_MODES) ==
	                             codec_doc_count(first, CODEC_AGENT_STATE_MODES) + 1,
	   "then it comes, with what has changed");
	ok(answer() == NULL, "once, however often it was asked for");
	say(&alpha, container_doc(&alpha, "burst_2", "b2"));
	(void)inventory_end(&alpha, false);
	say(&alpha, container_doc(&alpha, "burst_3", "b3"));
	(void)inventory_end(&alpha, false);
	ok(endpoint_get("burst_3") != NULL, "an administrator sees it at once");
	sent_clear();
}

static void test_pace(void)
{
	struct pace pace = { 0 };

	ok(pace_due(&pace, 0), "the first time at once");
	pace_done(&pace, 1000, 10);
	ok(!pace_due(&pace, 1029) && pace_left_ns(&pace, 1029) == 1 && pace_due(&pace, 1030) &&
	           pace_left_ns(&pace, 1030) == 0,
	   "then it rests three times as long as it took");
	pace_done(&pace, 1000, 60 * PR_NS_PER_S);
	ok(pace_left_ns(&pace, 1000) == PACE_REST_MAX_NS, "but not for long, whatever it took");
}

static void test_backlog(void)
{
	bench.now_ns += PR_NS_PER_S;
	tick();
	state_get(&alpha, 0);
	sent_clear();
	bench.send_result = PR_EAGAIN;
	say(&ana, codec_doc_new(CODEC_ENDPOINTS_GET));
	ok(bench.sent_count == 0, "a full queue takes nothing");
	bench.send_result = PR_OK;
	tick();
	const codec_doc_t *last = NULL, *next = NULL;
	while ((next = answer()) != NULL) {
		last = next;
	}
	ok(is_type(last, CODEC_END), "what waited comes later, in order");
	sent_clear();
}

static void test_names(void)
{
	codec_doc_t *ask = codec_doc_new(CODEC_ENDPOINTS_GET);

	say(&alpha, container_doc(&alpha, "shop_web_1", "feedbeef01"));
	say(&alpha, container_doc(&alpha, "shop_web_2", "feedbeef02"));
	(void)inventory_end(&alpha, false);
	ok(endpoint_get("shop_web_1") != NULL, "the whole name");
	ok(endpoint_get("web_2") != NULL, "a part that only one has");
	ok(endpoint_get("feedbeef02") != NULL, "the container id");
	char id[PR_UUID_TEXT_BYTES];
	struct pr_uuid uuid = pr_uuid_of_container("feedbeef01");
	(void)pr_uuid_format(&uuid, id);
	ok(endpoint_get(id) != NULL, "the uuid");
	id[8] = '\0';
	ok(endpoint_get(id) != NULL, "its beginning");
	sent_clear();
	codec_doc_set_text(ask, CODEC_ENDPOINTS_GET_NAME, "shop_web");
	say(&ana, ask);
	const codec_doc_t *error = answer();
	ok(is_error(error, "PR_EAMBIG") && codec_doc_count(error, CODEC_ERROR_DETAILS) == 2,
	   "a part that two have: both are listed");
	ok(endpoint_get("zebra") == NULL, "nobody");
	sent_clear();
}

int main(void)
{
	pr_log_set_level(PR_LOG_ERROR);
	bench_start("mode observe default\nmode enforce group web\nlost deny group web\n"
	            "lifeline from 192.0.2.0/24 to host alpha tcp/22\n"
	            "group web select compose.service web\n");
	ana = peer_of("ana", BUS_ROLE_ADMIN);
	alpha = peer_of("alpha", BUS_ROLE_AGENT);
	beta = peer_of("beta", BUS_ROLE_AGENT);
	test_inventory();
	test_state();
	policy_put("mode observe default\n");
	bench_admin(authority_of_store(bench.store));
	hello(&alpha, &alpha.id);
	(void)host_say(&alpha, "192.0.2.1");
	say(&alpha, container_doc(&alpha, "web_1", "c1"));
	(void)inventory_end(&alpha, true);
	sent_clear();
	test_refusals();
	test_takeover();
	test_gone();
	test_push();
	test_stranger_state();
	test_revoked();
	test_pace();
	test_paced();
	test_backlog();
	test_names();
	bench_stop();
	return tap_done();
}
