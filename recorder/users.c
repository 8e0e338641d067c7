/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "recorder/record.h"
#include "recorder/users.h"

struct users {
	const struct recorder_users_setup *setup;
	const struct bus_route *route;
	uint64_t id;
	const char *name; /* "": everybody */
	uint32_t uid;     /* CODEC_NO_UID: the name is no number */
	uint64_t sent, max;
	bool gone; /* the peer takes no more */
};

static void doc_send(struct users *users, const codec_doc_t *doc)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes;

	if (!users->gone && codec_doc_encode(doc, &data, &size_bytes) == PR_OK) {
		users->gone = users->setup->send(users->setup->arg, users->route, data,
		                                 size_bytes) != PR_OK;
	}
}

/* ---- one user at one endpoint ---- */

/* What the endpoint is called, if this agent told of it. */
static void place_fill(const struct users *users, const struct store_user *user, codec_doc_t *doc)
{
	const recorder_names_t *names = users->setup->names;
	const struct pr_uuid *owner = recorder_names_owner(names, &user->endpoint);
	struct store_end_names host, at = { "", "", "", "", "" };

	recorder_names_fill(names, &user->agent, &host);
	if (owner != NULL && pr_uuid_equal(owner, &user->agent)) {
		recorder_names_fill(names, &user->endpoint, &at);
	}
	codec_doc_set_text(doc, CODEC_USER_SEEN_ENDPOINT_NAME, at.name);
	codec_doc_set_text(doc, CODEC_USER_SEEN_KIND, at.kind);
	codec_doc_set_text(doc, CODEC_USER_SEEN_HOST_NAME, host.name);
}

static void user_send(struct users *users, const struct store_user *user)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_USER_SEEN);

	if (doc == NULL) {
		return;
	}
	codec_doc_set_u64(doc, CODEC_USER_SEEN_ID, users->id);
	codec_doc_set_uuid(doc, CODEC_USER_SEEN_AGENT, &user->agent);
	codec_doc_set_uuid(doc, CODEC_USER_SEEN_ENDPOINT, &user->endpoint);
	codec_doc_set_u64(doc, CODEC_USER_SEEN_UID, user->uid);
	codec_doc_set_text(doc, CODEC_USER_SEEN_NAME, user->name);
	codec_doc_set_u64(doc, CODEC_USER_SEEN_CONNECTIONS, user->connections);
	codec_doc_set_u64(doc, CODEC_USER_SEEN_DENIED, user->denied);
	codec_doc_set_u64(doc, CODEC_USER_SEEN_FIRST, user->first_wall_ns);
	codec_doc_set_u64(doc, CODEC_USER_SEEN_LAST, user->last_wall_ns);
	codec_doc_set_u64(doc, CODEC_USER_SEEN_PROGRAMS_GONE, user->programs_gone);
	for (size_t i = 0; i < user->program_count; i++) {
		codec_doc_addf(doc, CODEC_USER_SEEN_PROGRAMS, "%" PRIu64 " %" PRIu64 " %s",
		               user->programs[i].connections, user->programs[i].last_wall_ns,
		               user->programs[i].exe);
	}
	place_fill(users, user, doc);
	doc_send(users, doc);
	users->sent++;
}

/* ---- his last connections ---- */

static bool row_send(void *arg, const struct store_row *row)
{
	struct users *users = arg;
	const struct recorder_users_setup *setup = users->setup;
	_cleanup_(pr_free) uint8_t *data = NULL;
	char scratch[RECORDER_SCRATCH_BYTES];
	struct recorder_record record;
	size_t size_bytes;

	recorder_record_fill(&record, row, setup->names, setup->comments, setup->groups, scratch,
	                     setup->now_ns);
	if (!users->gone &&
	    recorder_record_encode(&record, users->id, &data, &size_bytes) == PR_OK) {
		users->gone = setup->send(setup->arg, users->route, data, size_bytes) != PR_OK;
		users->sent++;
	}
	return true;
}

static bool is_wanted(const struct users *users, const struct store_user *user)
{
	return users->name[0] == '\0' || strcmp(users->name, user->name) == 0 ||
	       (users->uid != CODEC_NO_UID && users->uid == user->uid);
}

static bool on_user(void *arg, const struct store_user *user)
{
	struct users *users = arg;

	if (!is_wanted(users, user)) {
		return true;
	}
	user_send(users, user);
	/* Those that were thrown away meanwhile are left out. */
	for (size_t i = 0; users->name[0] != '\0' && i < user->last_count; i++) {
		(void)!store_history_row(users->setup->history, &user->last[i], row_send, users);
	}
	return !users->gone && --users->max > 0;
}

/* ---- the answer ---- */

static void end_send(struct users *users, const struct store_user_place *place, bool more)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *next = codec_doc_new(CODEC_USERS_MORE);
	_cleanup_(codec_doc_destroy) codec_doc_t *end = codec_doc_new(CODEC_END);

	if (next == NULL || end == NULL) {
		return;
	}
	if (more) {
		codec_doc_set_u64(next, CODEC_USERS_MORE_ID, users->id);
		codec_doc_set_blob(next, CODEC_USERS_MORE_AFTER, place->bytes, place->size_bytes);
		doc_send(users, next);
	}
	codec_doc_set_u64(end, CODEC_END_ID, users->id);
	codec_doc_set_u64(end, CODEC_END_COUNT, users->sent);
	codec_doc_set_u64(end, CODEC_END_COMPLETE, !more);
	doc_send(users, end);
}

static uint32_t uid_of(const char *name)
{
	size_t digits = strspn(name, "0123456789");
	unsigned long long uid = CODEC_NO_UID;

	if (digits > 0 && digits <= 10 && name[digits] == '\0') {
		uid = strtoull(name, NULL, 10);
	}
	return uid < CODEC_NO_UID ? (uint32_t)uid : CODEC_NO_UID;
}

int recorder_users_answer(const struct recorder_users_setup *setup, const struct bus_route *route,
                          const codec_doc_t *request)
{
	struct users users = { .setup = setup,
		               .route = route,
		               .id = codec_doc_u64(request, CODEC_USERS_GET_ID),
		               .name = codec_doc_text(request, CODEC_USERS_GET_NAME) };
	struct store_user_place place = { .size_bytes = 0 };
	size_t after_bytes = 0;
	const uint8_t *after = codec_doc_blob(request, CODEC_USERS_GET_AFTER, &after_bytes);
	bool more = false;

	if (after_bytes > sizeof(place.bytes)) {
		return PR_EINVAL;
	}
	if (after_bytes > 0) {
		memcpy(place.bytes, after, after_bytes);
		place.size_bytes = after_bytes;
	}
	users.uid = uid_of(users.name);
	users.max = users.name[0] == '\0' ? RECORDER_USERS_SENT : RECORDER_USERS_ONE;
	int err = store_history_users(setup->history, &place, RECORDER_USERS_READ, on_user, &users,
	                              &more);
	if (err == PR_OK) {
		end_send(&users, &place, more);
	}
	return err;
}
