/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT "admin"

/* ---- endpoints by agent ---- */

static bool collect(void *arg, const struct directory_endpoint *endpoint)
{
	struct admin *admin = arg;

	admin->by_agent[admin->by_agent_count++] = endpoint;
	return true;
}

static int by_agent_and_id(const void *a, const void *b)
{
	const struct directory_endpoint *left = *(const struct directory_endpoint *const *)a;
	const struct directory_endpoint *right = *(const struct directory_endpoint *const *)b;
	int order = memcmp(&left->agent, &right->agent, sizeof(left->agent));

	return order != 0 ? order
	                  : memcmp(&left->policy.id, &right->policy.id, sizeof(left->policy.id));
}

static bool by_agent_refresh(struct admin *admin)
{
	size_t count = directory_count(admin->view.directory);

	if (admin->by_agent_good) {
		return true;
	}
	free(admin->by_agent);
	admin->by_agent_count = 0;
	admin->by_agent = calloc(count + 1, sizeof(*admin->by_agent));
	if (admin->by_agent == NULL) {
		return false;
	}
	directory_each(admin->view.directory, collect, admin);
	qsort(admin->by_agent, admin->by_agent_count, sizeof(*admin->by_agent), by_agent_and_id);
	admin->by_agent_good = true;
	return true;
}

const struct directory_endpoint **admin_endpoints_of(struct admin *admin,
                                                     const struct pr_uuid *agent, size_t *ret_count)
{
	size_t low = 0, high, count = 0;

	*ret_count = 0;
	if (!by_agent_refresh(admin)) {
		return NULL;
	}
	high = admin->by_agent_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (memcmp(&admin->by_agent[middle]->agent, agent, sizeof(*agent)) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	while (low + count < admin->by_agent_count &&
	       pr_uuid_equal(&admin->by_agent[low + count]->agent, agent)) {
		count++;
	}
	*ret_count = count;
	return &admin->by_agent[low];
}

/* ---- one agent's state ---- */

static uint64_t hash_bytes(const uint8_t *data, size_t size_bytes)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size_bytes; i++) {
		hash = (hash ^ data[i]) * 0x100000001b3ULL;
	}
	return hash;
}

/*
 * A state depends on policy, directory, services and quarantine, each of which has a stored number
 * that only rises: so their sum rises with every change, also over restarts, and needs no number of
 * its own.
 */
static uint64_t number_now(const struct admin *admin)
{
	return admin->view.revision + admin->view.directory_version + admin->services_number +
	       admin->view.quarantine.number;
}

/* In quarantine: held, and denied while no controller answers. */
static void add_mode(struct admin *admin, const struct directory_endpoint *directory_endpoint,
                     codec_doc_t *state)
{
	const policy_image_t *image = admin->view.image;
	const struct pr_uuid *endpoint = &directory_endpoint->policy.id;
	struct policy_lost lost = policy_image_endpoint_lost(image, endpoint);
	char id[PR_UUID_TEXT_BYTES];

	if (quarantine_holds(&admin->view.quarantine, directory_endpoint, admin->now_wall_ns)) {
		codec_doc_addf(state, CODEC_AGENT_STATE_MODES, "%s %s %s 0",
		               pr_uuid_format(endpoint, id), policy_mode_name(POLICY_ENFORCE),
		               policy_lost_name(POLICY_LOST_DENY));
		return;
	}
	codec_doc_addf(state, CODEC_AGENT_STATE_MODES, "%s %s %s %u", pr_uuid_format(endpoint, id),
	               policy_mode_name(policy_image_endpoint_mode(image, endpoint)),
	               policy_lost_name(lost.kind),
	               lost.kind == POLICY_LOST_LAST_KNOWN ? lost.last_known_s : 0);
}

/* Everything but the number. */
static codec_doc_t *state_document(struct admin *admin, const struct pr_uuid *agent)
{
	const policy_image_t *image = admin->view.image;
	codec_doc_t *state = codec_doc_new(CODEC_AGENT_STATE);
	size_t count = 0;

	if (state == NULL) {
		return NULL;
	}
	codec_doc_set_uuid(state, CODEC_AGENT_STATE_AGENT, agent);
	codec_doc_set_u64(state, CODEC_AGENT_STATE_REVISION, policy_image_revision(image));
	/* A container that starts on a host in quarantine is held from when it is first seen. */
	bool isolated =
		quarantine_holds(&admin->view.quarantine,
	                         directory_find(admin->view.directory, agent), admin->now_wall_ns);
	codec_doc_set_text(state, CODEC_AGENT_STATE_DEFAULT_MODE,
	                   policy_mode_name(isolated ? POLICY_ENFORCE
	                                             : policy_image_endpoint_mode(image, NULL)));
	const struct directory_endpoint **endpoints = admin_endpoints_of(admin, agent, &count);
	for (size_t i = 0; i < count; i++) {
		add_mode(admin, endpoints[i], state);
	}
	admin_lifeline_add(admin, directory_find(admin->view.directory, agent), state);
	return state;
}

struct signed_state {
	uint64_t number, hash;
	uint8_t *body;
	size_t body_bytes;
};

static int state_make(struct admin *admin, const struct pr_uuid *agent,
                      struct signed_state *ret_state)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
	_cleanup_(pr_free) uint8_t *content = NULL;
	struct signed_state state = { .number = number_now(admin) };
	size_t content_bytes = 0;

	if (admin->view.image == NULL) {
		return PR_EAGAIN;
	}
	document = state_document(admin, agent);
	if (document == NULL) {
		return PR_ENOMEM;
	}
	int ret = codec_doc_encode(document, &content, &content_bytes);
	if (ret != PR_OK) {
		return ret;
	}
	state.hash = hash_bytes(content, content_bytes);
	codec_doc_set_u64(document, CODEC_AGENT_STATE_NUMBER, state.number);
	ret = codec_doc_encode(document, &state.body, &state.body_bytes);
	if (ret == PR_OK) {
		*ret_state = state;
	}
	return ret;
}

static int state_send(struct admin *admin, struct session *session, uint64_t id,
                      const struct signed_state *state)
{
	uint8_t signature[BUS_SIGNATURE_BYTES];
	_cleanup_(codec_doc_destroy) codec_doc_t *document = codec_doc_new(CODEC_STATE);

	if (document == NULL) {
		return PR_ENOMEM;
	}
	int ret =
		bus_sign(&admin->setup.keys->authority, state->body, state->body_bytes, signature);
	if (ret != PR_OK) {
		return ret;
	}
	codec_doc_set_u64(document, CODEC_STATE_ID, id);
	codec_doc_set_blob(document, CODEC_STATE_BODY, state->body, state->body_bytes);
	codec_doc_set_blob(document, CODEC_STATE_SIGNATURE, signature, sizeof(signature));
	session_send_doc(admin, session, document);
	session->state_number = state->number;
	session->state_hash = state->hash;
	return PR_OK;
}

/* To a STATE_GET, with @p known as the number that the agent has. */
static int state_answer(struct call *call, uint64_t known)
{
	struct admin *admin = call->admin;
	struct session *session = call->session;
	struct signed_state state = { 0 };
	_cleanup_(pr_free) uint8_t *body = NULL;

	int ret = state_make(admin, &session->id, &state);
	if (ret == PR_EAGAIN) {
		return call_fail(call, ret, "there is no policy yet");
	}
	if (ret != PR_OK) {
		return ret;
	}
	body = state.body;
	session->state_generation = admin->generation;
	if (session->state_number != 0 && known == session->state_number &&
	    session->state_hash == state.hash) {
		return call_ok(call, session->state_number, "%s", "");
	}
	return state_send(admin, session, call->id, &state);
}

static void counters_keep(struct session *session, const codec_doc_t *document)
{
	codec_doc_destroy(&session->counters);
	session->counters = codec_doc_new(CODEC_STATE_GET);
	for (size_t i = 0;
	     session->counters != NULL && i < codec_doc_count(document, CODEC_STATE_GET_COUNTERS);
	     i++) {
		codec_doc_add_text(session->counters, CODEC_STATE_GET_COUNTERS,
		                   codec_doc_item(document, CODEC_STATE_GET_COUNTERS, i));
	}
}

int admin_state_get(struct call *call)
{
	struct admin *admin = call->admin;
	struct session *session = call->session;
	uint64_t known = codec_doc_u64(call->document, CODEC_STATE_GET_NUMBER);

	counters_keep(session, call->document);
	if (session->state_number != 0 && known == session->state_number &&
	    session->state_generation == admin->generation) {
		return call_ok(call, session->state_number, "%s", "");
	}
	if (directory_find(admin->view.directory, &session->id) == NULL) {
		return call_fail(call, PR_ENOENT,
		                 "this controller has no inventory of yours: send hello and all "
		                 "endpoints");
	}
	if (pace_due(&admin->pace, admin->now_ns)) {
		admin_settle(admin);
	}
	if (!admin->unsettled) {
		return state_answer(call, known);
	}
	/* With the others who ask meanwhile; of its own questions the last one counts. */
	session->state_asked = true;
	session->state_asked_id = call->id;
	session->state_known = known;
	return PR_OK;
}

static void answer_asked(struct admin *admin, struct session *session)
{
	struct call call = { .admin = admin, .session = session, .id = session->state_asked_id };

	session->state_asked = false;
	int ret = state_answer(&call, session->state_known);
	if (ret != PR_OK) {
		call_error(&call, ret);
	}
	codec_doc_destroy(&call.error);
}

static void push_one(struct admin *admin, struct session *session)
{
	struct signed_state state = { 0 };
	_cleanup_(pr_free) uint8_t *body = NULL;

	if (session->role != BUS_ROLE_AGENT) {
		return;
	}
	if (session->state_asked) {
		answer_asked(admin, session);
		return;
	}
	if (session->state_number == 0 || session->state_generation == admin->generation) {
		return;
	}
	int ret = state_make(admin, &session->id, &state);
	body = state.body;
	if (ret == PR_OK && state.hash != session->state_hash) {
		ret = state_send(admin, session, 0, &state);
	}
	if (ret != PR_OK) {
		log_error("state of agent '%.64s': %s, it gets it when it asks", session->name,
		          pr_strerror(ret));
		return;
	}
	session->state_generation = admin->generation;
}

void admin_states_push(struct admin *admin)
{
	sessions_each(admin, push_one);
}
