/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/internal.h"

#define ALIVE_NS (2 * PR_NS_PER_S) /* a worker whose loop did not turn for longer is not alive */

static void fact(codec_doc_t *document, const char *name, uint64_t value)
{
	codec_doc_addf(document, CODEC_STATUS_FACTS, "%s %" PRIu64, name, value);
}

static codec_doc_t *status_doc(const struct call *call, const char *service)
{
	codec_doc_t *document = call_doc(call, CODEC_STATUS);

	if (document != NULL) {
		codec_doc_set_text(document, CODEC_STATUS_SERVICE, service);
	}
	return document;
}

static void count_active(struct admin *admin, uint64_t *ret_agents, uint64_t *ret_active)
{
	*ret_agents = *ret_active = 0;
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		for (struct session *session = admin->sessions[i]; session != NULL;
		     session = session->next) {
			if (session->role == BUS_ROLE_AGENT) {
				(*ret_agents)++;
				*ret_active += session_is_active(admin, session);
			}
		}
	}
}

static int send_controller(struct call *call)
{
	struct admin *admin = call->admin;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = status_doc(call, "controller");
	struct store_stats stats = { 0 };
	uint64_t agents = 0, active = 0;

	if (document == NULL) {
		return PR_ENOMEM;
	}
	count_active(admin, &agents, &active);
	fact(document, "uptime_s", (admin->now_wall_ns - admin->started_wall_ns) / PR_NS_PER_S);
	fact(document, "pid", (uint64_t)getpid());
	fact(document, "revision", admin->view.revision);
	fact(document, "rules", admin->view.rule_count);
	fact(document, "directory", admin->view.directory_version);
	fact(document, "services", admin->services_number);
	fact(document, "endpoints", directory_count(admin->view.directory));
	fact(document, "agents_heard", agents);
	fact(document, "agents_active", active);
	fact(document, "rss_bytes", shared_rss_bytes());
	if (admin->view.image != NULL) {
		fact(document, "image_bytes", policy_image_size_bytes(admin->view.image));
	}
	if (store_stats(admin->setup.store, &stats) == PR_OK) {
		fact(document, "store_bytes", stats.used_bytes);
		fact(document, "store_max_bytes", stats.map_bytes);
	}
	fact(document, "frames", admin->frames);
	fact(document, "frames_malformed", admin->frames_malformed);
	fact(document, "refused_role", admin->refused_role);
	fact(document, "refused_endpoints", admin->refused_endpoints);
	fact(document, "errors", admin->errors);
	fact(document, "send_failed", admin->send_failed);
	fact(document, "view_failures", admin->view.counters.failures);
	if (admin->setup.ops.doors != NULL) {
		struct admin_doors doors = { 0 };
		admin->setup.ops.doors(admin->setup.ops.arg, &doors);
		fact(document, "handshakes_refused", doors.refused);
		fact(document, "handshakes_failed", doors.failed);
		fact(document, "messages_revoked", doors.revoked);
		fact(document, "frames_dropped", doors.dropped);
	}
	if (admin->setup.shared != NULL) {
		fact(document, "starts", admin->setup.shared->admin_starts);
	}
	call->sent++;
	return call_send(call, document);
}

static void worker_facts(codec_doc_t *document, const struct shared_worker *worker, uint64_t now_ns)
{
	static const char *const names[] = {
#define X(name, doc) #name,
		WORKER_COUNTER_LIST(X) DECIDE_COUNTER_LIST(X)
#undef X
#define X(name, doc) "policy_" #name,
			POLICY_CACHE_COUNTER_LIST(X)
#undef X
	};

	_Static_assert(PR_ARRAY_LEN(names) == SHARED_COUNTERS_MAX, "a name for each counter");
	uint64_t alive_ns = worker->alive_ns;
	bool alive = alive_ns != 0 && now_ns - alive_ns < ALIVE_NS;
	codec_doc_addf(document, CODEC_STATUS_FACTS, "state %s", alive ? "active" : "silent");
	fact(document, "pid", worker->pid);
	fact(document, "starts", worker->starts);
	fact(document, "revision", worker->revision);
	fact(document, "directory", worker->directory);
	fact(document, "waiting", worker->waiting);
	fact(document, "flows", worker->flows);
	fact(document, "rss_bytes", worker->rss_bytes);
	fact(document, "handshakes_refused", worker->refused);
	fact(document, "handshakes_failed", worker->failed);
	fact(document, "messages_revoked", worker->revoked);
	fact(document, "frames_dropped", worker->dropped);
	for (size_t i = 0; i < PR_ARRAY_LEN(names); i++) {
		fact(document, names[i], worker->counters[i]);
	}
}

static int send_workers(struct call *call)
{
	struct admin *admin = call->admin;
	int ret = PR_OK;

	for (unsigned i = 0; ret == PR_OK && i < admin->setup.conf->workers; i++) {
		char service[32];
		(void)snprintf(service, sizeof(service), "worker %u", i);
		_cleanup_(codec_doc_destroy) codec_doc_t *document = status_doc(call, service);
		if (document == NULL) {
			return PR_ENOMEM;
		}
		worker_facts(document, &admin->setup.shared->workers[i], admin->now_ns);
		call->sent++;
		ret = call_send(call, document);
	}
	return ret;
}

static bool send_agent(void *arg, const struct store_peer *peer)
{
	struct call *call = arg;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
	char service[80];

	if (strcmp(peer->role, bus_role_name(BUS_ROLE_AGENT)) != 0) {
		return true;
	}
	const struct session *session = session_find(call->admin, &peer->id);
	(void)snprintf(service, sizeof(service), "agent %.63s", peer->name);
	document = status_doc(call, service);
	if (document == NULL) {
		return false;
	}
	const char *state = "silent";
	if (peer->status != STORE_PEER_APPROVED) {
		state = peer->status == STORE_PEER_REVOKED ? "revoked" : "pending";
	} else if (session_is_active(call->admin, session)) {
		state = "active";
	}
	codec_doc_addf(document, CODEC_STATUS_FACTS, "state %s", state);
	fact(document, "seen_wall_ns",
	     session != NULL ? session->heard_wall_ns : peer->seen_wall_ns);
	if (session != NULL && session->counters != NULL) {
		size_t count = codec_doc_count(session->counters, CODEC_STATE_GET_COUNTERS);
		for (size_t i = 0; i < count; i++) {
			codec_doc_add_text(
				document, CODEC_STATUS_FACTS,
				codec_doc_item(session->counters, CODEC_STATE_GET_COUNTERS, i));
		}
	}
	call->sent++;
	return call_send(call, document) == PR_OK;
}

int admin_status_get(struct call *call)
{
	int ret = send_controller(call);

	if (ret == PR_OK && call->admin->setup.shared != NULL) {
		ret = send_workers(call);
	}
	if (ret == PR_OK) {
		ret = store_peer_list(call->admin->setup.store, send_agent, call);
	}
	return ret == PR_OK ? call_end(call, true) : ret;
}
