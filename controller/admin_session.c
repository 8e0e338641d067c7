/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT     "admin"
#define BACKLOG_MAX_BYTES (64U << 20)
#define SEEN_BATCH        1024
#define SILENT_NS         (600 * PR_NS_PER_S)

static struct session **chain_of(struct admin *admin, const struct pr_uuid *id)
{
	uint32_t word;

	memcpy(&word, id->bytes + 12, sizeof(word));
	return &admin->sessions[word % SESSION_BUCKETS];
}

struct session *session_find(struct admin *admin, const struct pr_uuid *id)
{
	for (struct session *session = *chain_of(admin, id); session != NULL;
	     session = session->next) {
		if (pr_uuid_equal(&session->id, id)) {
			return session;
		}
	}
	return NULL;
}

static bool route_equal(const struct bus_route *a, const struct bus_route *b)
{
	return a->size_bytes == b->size_bytes && memcmp(a->bytes, b->bytes, a->size_bytes) == 0;
}

static void backlog_clear(struct session *session)
{
	while (session->backlog != NULL) {
		struct backlog *next = session->backlog->next;
		free(session->backlog);
		session->backlog = next;
	}
	session->backlog_end = &session->backlog;
	session->backlog_bytes = 0;
}

/* An agent has one session, whatever its connection; of the others, whose commands may run side by
 * side under one key, each connection has its own. */
static struct session *find_of_frame(struct admin *admin, const struct bus_frame *frame)
{
	struct session *session = session_find(admin, &frame->peer.id);

	while (session != NULL && frame->peer.role != BUS_ROLE_AGENT &&
	       !(pr_uuid_equal(&session->id, &frame->peer.id) &&
	         route_equal(&session->route, &frame->route))) {
		session = session->next;
	}
	return session;
}

static struct session *session_new(struct admin *admin, const struct bus_frame *frame)
{
	struct session *session = calloc(1, sizeof(*session));

	if (session == NULL) {
		return NULL;
	}
	struct session **chain = chain_of(admin, &frame->peer.id);
	session->id = frame->peer.id;
	session->route = frame->route;
	session->backlog_end = &session->backlog;
	session->next = *chain;
	*chain = session;
	admin->session_count++;
	return session;
}

struct session *session_of(struct admin *admin, const struct bus_frame *frame)
{
	struct session *session = find_of_frame(admin, frame);

	if (session == NULL) {
		session = session_new(admin, frame);
		if (session == NULL) {
			return NULL;
		}
	}
	if (!route_equal(&session->route, &frame->route)) {
		/* Another connection: what the old one did not read is of no use to it, and what
		 * it was told it may not know. */
		backlog_clear(session);
		session->state_number = 0;
		session->state_asked = false;
		session->route = frame->route;
	}
	session->role = frame->peer.role;
	(void)snprintf(session->name, sizeof(session->name), "%s", frame->peer.name);
	(void)snprintf(session->address, sizeof(session->address), "%s", frame->address);
	session->heard_ns = admin->now_ns;
	session->heard_wall_ns = admin->now_wall_ns;
	return session;
}

void session_staged_clear(struct session *session)
{
	for (size_t i = 0; i < session->staged_count; i++) {
		free(session->staged[i].data);
	}
	free(session->staged);
	session->staged = NULL;
	session->staged_count = session->staged_max = session->staged_bytes = 0;
	session->full = false;
}

static void session_free(struct session *session)
{
	session_staged_clear(session);
	backlog_clear(session);
	codec_doc_destroy(&session->counters);
	free(session);
}

/* Take sessions out of a chain: those of @p id, or, without one, those that are long silent. */
static void chain_sweep(struct admin *admin, struct session **at, const struct pr_uuid *id)
{
	while (*at != NULL) {
		struct session *session = *at;
		bool silent = session->role != BUS_ROLE_AGENT &&
		              admin->now_ns - session->heard_ns > SILENT_NS;
		if (id != NULL ? pr_uuid_equal(&session->id, id) : silent) {
			*at = session->next;
			session_free(session);
			admin->session_count--;
		} else {
			at = &session->next;
		}
	}
}

void session_remove(struct admin *admin, const struct pr_uuid *id)
{
	chain_sweep(admin, chain_of(admin, id), id);
}

void sessions_sweep(struct admin *admin)
{
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		chain_sweep(admin, &admin->sessions[i], NULL);
	}
}

void sessions_each(struct admin *admin, void (*visit)(struct admin *admin, struct session *session))
{
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		struct session *next = NULL;
		for (struct session *session = admin->sessions[i]; session != NULL;
		     session = next) {
			next = session->next;
			visit(admin, session);
		}
	}
}

void sessions_done(struct admin *admin)
{
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		while (admin->sessions[i] != NULL) {
			struct session *next = admin->sessions[i]->next;
			session_free(admin->sessions[i]);
			admin->sessions[i] = next;
		}
	}
}

bool session_is_active(const struct admin *admin, const struct session *session)
{
	return session != NULL && admin->now_ns - session->heard_ns <= ADMIN_HEARD_NS;
}

/* ---- seen ---- */

static void save_batch(struct admin *admin, const struct store_seen *seen, size_t count)
{
	int ret = store_peer_seen(admin->setup.store, seen, count);

	if (ret != PR_OK) {
		log_warn("cannot note who was heard: %s, trying again in a minute",
		         pr_strerror(ret));
	}
}

void sessions_save_seen(struct admin *admin)
{
	_cleanup_(pr_free) struct store_seen *seen = calloc(SEEN_BATCH, sizeof(*seen));
	size_t count = 0;

	if (seen == NULL) {
		return;
	}
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		for (struct session *session = admin->sessions[i]; session != NULL;
		     session = session->next) {
			if (session->seen_wall_ns == session->heard_wall_ns) {
				continue;
			}
			session->seen_wall_ns = session->heard_wall_ns;
			struct store_seen *one = &seen[count++];
			*one = (struct store_seen){ .id = session->id,
				                    .seen_wall_ns = session->heard_wall_ns };
			(void)snprintf(one->address, sizeof(one->address), "%s", session->address);
			(void)snprintf(one->version, sizeof(one->version), "%.31s",
			               session->version);
			if (count == SEEN_BATCH) {
				save_batch(admin, seen, count);
				count = 0;
			}
		}
	}
	if (count > 0) {
		save_batch(admin, seen, count);
	}
}

/* ---- sending ---- */

static int backlog_put(struct session *session, const uint8_t *data, size_t size_bytes)
{
	if (session->backlog_bytes + size_bytes > BACKLOG_MAX_BYTES) {
		return PR_ETOOBIG;
	}
	struct backlog *waits = malloc(sizeof(*waits) + size_bytes);
	if (waits == NULL) {
		return PR_ENOMEM;
	}
	waits->next = NULL;
	waits->size_bytes = size_bytes;
	memcpy(waits->data, data, size_bytes);
	*session->backlog_end = waits;
	session->backlog_end = &waits->next;
	session->backlog_bytes += size_bytes;
	return PR_OK;
}

void session_send(struct admin *admin, struct session *session, const uint8_t *data,
                  size_t size_bytes)
{
	int ret = PR_EAGAIN;

	if (session->backlog == NULL) {
		ret = admin->setup.ops.send(admin->setup.ops.arg, &session->route, data,
		                            size_bytes);
	}
	if (ret == PR_EAGAIN) {
		ret = backlog_put(session, data, size_bytes);
		admin->backlogged = true;
	}
	if (ret != PR_OK) {
		admin->send_failed++;
	}
}

void session_send_doc(struct admin *admin, struct session *session, const codec_doc_t *document)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	if (codec_doc_encode(document, &data, &size_bytes) != PR_OK) {
		admin->send_failed++;
		return;
	}
	session_send(admin, session, data, size_bytes);
}

static void flush_one(struct admin *admin, struct session *session)
{
	while (session->backlog != NULL) {
		struct backlog *first = session->backlog;
		int ret = admin->setup.ops.send(admin->setup.ops.arg, &session->route, first->data,
		                                first->size_bytes);
		if (ret == PR_EAGAIN) {
			admin->backlogged = true;
			return;
		}
		if (ret != PR_OK) {
			admin->send_failed++;
			backlog_clear(session);
			return;
		}
		session->backlog = first->next;
		session->backlog_bytes -= first->size_bytes;
		if (session->backlog == NULL) {
			session->backlog_end = &session->backlog;
		}
		free(first);
	}
}

void sessions_flush(struct admin *admin)
{
	if (!admin->backlogged) {
		return;
	}
	admin->backlogged = false;
	sessions_each(admin, flush_one);
}
