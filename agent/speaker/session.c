/* SPDX-License-Identifier: GPL-2.0-or-later */
#define LOG_COMPONENT "speaker"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/speaker/internal.h"
#include "base/log.h"

/* ---- inventory to a peer ---- */

void transfer_begin(speaker_t *speaker, struct transfer *transfer, bool full)
{
	transfer->running = true;
	transfer->full = full;
	transfer->index = 0;
	transfer->until = speaker->inventory.change;
}

static int gone_send(struct link *link, const struct entry *entry)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = codec_doc_new(CODEC_ENDPOINT_GONE);

	if (document != NULL) {
		codec_doc_set_uuid(document, CODEC_ENDPOINT_GONE_UUID, &entry->id);
		codec_doc_set_u64(document, CODEC_ENDPOINT_GONE_REMOVED, entry->removed);
	}
	return link_send_document(link, document);
}

int transfer_run(speaker_t *speaker, struct link *link, struct transfer *transfer)
{
	const struct inventory_cache *cache = &speaker->inventory;

	for (; transfer->index < cache->count; transfer->index++) {
		const struct entry *entry = &cache->entries[transfer->index];
		int ret = PR_OK;
		if (!transfer->full && entry->change <= transfer->sent) {
			continue;
		}
		if (entry->frame != NULL) {
			ret = bus_client_send(link->client, entry->frame, entry->frame_bytes);
		} else if (!transfer->full && link->kind == LINK_CONTROLLER) {
			ret = gone_send(link, entry);
		}
		if (ret == PR_EAGAIN) {
			return ret;
		}
	}
	transfer->running = false;
	transfer->sent = transfer->until;
	return PR_OK;
}

static int hello_send(speaker_t *speaker, struct link *link)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *hello = codec_doc_new(CODEC_HELLO);

	if (hello != NULL) {
		codec_doc_set_u64(hello, CODEC_HELLO_ID, speaker->next_id++);
		codec_doc_set_uuid(hello, CODEC_HELLO_UUID, &speaker->id);
		codec_doc_set_text(hello, CODEC_HELLO_VERSION, speaker->version);
		codec_doc_set_u64(hello, CODEC_HELLO_EPOCH, speaker->epoch);
	}
	return link_send_document(link, hello);
}

/*
 * Longer each time. A controller that is slow because all of its agents have come at once
 * only gets slower if each of them tells everything again.
 */
static uint64_t ack_wait_ns(struct session *session)
{
	session->inventory_backoff.first_ns = SPEAKER_INVENTORY_ACK_NS;
	session->inventory_backoff.longest_ns = SPEAKER_INVENTORY_MAX_NS;
	return pr_backoff_next_ns(&session->inventory_backoff, pr_backoff_chance());
}

static int inventory_end_send(speaker_t *speaker, struct link *link)
{
	struct session *session = &link->session;
	_cleanup_(codec_doc_destroy) codec_doc_t *end = codec_doc_new(CODEC_INVENTORY_END);
	uint64_t id = speaker->next_id;

	if (end != NULL) {
		codec_doc_set_u64(end, CODEC_INVENTORY_END_ID, id);
		codec_doc_set_u64(end, CODEC_INVENTORY_END_FULL, session->transfer.full);
	}
	int ret = link_send_document(link, end);
	if (ret == PR_OK) {
		speaker->next_id++;
		session->inventory_id = id;
		session->ending = session->transfer.until;
		session->inventory_due_ns = speaker->now_ns + ack_wait_ns(session);
	}
	return ret;
}

/* HELLO and everything; later what changed. One list at a time. */
static void inventory_turn(speaker_t *speaker, struct link *link)
{
	struct session *session = &link->session;

	if (session->inventory_id != 0) {
		if (speaker->now_ns < session->inventory_due_ns) {
			return;
		}
		session->inventory_id = 0;
		session->greeted = false;
	}
	if (!speaker->inventory.complete) {
		return;
	}
	if (!session->greeted) {
		if (hello_send(speaker, link) != PR_OK) {
			return;
		}
		session->greeted = true;
		transfer_begin(speaker, &session->transfer, true);
	} else if (!session->transfer.running &&
	           session->transfer.sent < speaker->inventory.change) {
		transfer_begin(speaker, &session->transfer, false);
	}
	if (!session->transfer.running) {
		return;
	}
	/* If the last message finds no room, the list is sent once more: an endpoint twice is fine.
	 */
	uint64_t sent = session->transfer.sent;
	if (transfer_run(speaker, link, &session->transfer) == PR_OK &&
	    inventory_end_send(speaker, link) != PR_OK) {
		session->transfer.sent = sent;
		session->greeted = session->greeted && !session->transfer.full;
	}
}

/* ---- heartbeat and directory ---- */

static void own_counters_add(speaker_t *speaker, codec_doc_t *document)
{
	struct speaker_counters counters;

	speaker_counters(speaker, &counters);
#define X(name, unit, doc) \
	codec_doc_addf(document, CODEC_STATE_GET_COUNTERS, #name " %" PRIu64, counters.name);
	SPEAKER_COUNTER_LIST(X)
#undef X
	if (speaker->outlet.counters != NULL) {
		speaker->outlet.counters(speaker->outlet.context, document);
	}
}

static int state_get_send(speaker_t *speaker, struct link *link)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = codec_doc_new(CODEC_STATE_GET);

	if (document != NULL) {
		codec_doc_set_u64(document, CODEC_STATE_GET_ID, speaker->next_id++);
		codec_doc_set_u64(document, CODEC_STATE_GET_NUMBER, speaker->state.number);
		own_counters_add(speaker, document);
	}
	return link_send_document(link, document);
}

static int directory_get_send(speaker_t *speaker, struct link *link)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = codec_doc_new(CODEC_DIRECTORY_GET);

	if (document != NULL) {
		codec_doc_set_u64(document, CODEC_DIRECTORY_GET_ID, speaker->next_id++);
	}
	return link_send_document(link, document);
}

void session_begin(speaker_t *speaker, struct link *link)
{
	link->session = (struct session){
		.acknowledged = link->session.acknowledged,
		.directory = link->session.directory,
		.state_due_ns = speaker->now_ns,
		.directory_due_ns = speaker->now_ns,
	};
}

void session_turn(speaker_t *speaker, struct link *link)
{
	struct session *session = &link->session;

	if (speaker->now_ns >= session->directory_due_ns &&
	    directory_get_send(speaker, link) == PR_OK) {
		session->directory_due_ns = speaker->now_ns + SPEAKER_DIRECTORY_GET_NS;
	}
	inventory_turn(speaker, link);
	if (speaker->now_ns >= session->state_due_ns && state_get_send(speaker, link) == PR_OK) {
		session->state_due_ns = speaker->now_ns + SPEAKER_STATE_GET_NS;
	}
}

uint64_t session_timeout_ns(const struct link *link)
{
	const struct session *session = &link->session;
	uint64_t due_ns = session->state_due_ns;

	if (session->directory_due_ns < due_ns) {
		due_ns = session->directory_due_ns;
	}
	if (session->inventory_id != 0 && session->inventory_due_ns < due_ns) {
		due_ns = session->inventory_due_ns;
	}
	return due_ns;
}

/* ---- what controllers say ---- */

static void refused_log(const char *what, int ret, uint64_t *counter)
{
	static struct pr_log_limit limit;
	uint64_t suppressed;

	++*counter;
	if (pr_log_limited(&limit, &suppressed)) {
		log_warn("%s refused: %s; the one that is held stays in force", what,
		         pr_strerror(ret));
	}
}

static void kept(speaker_t *speaker, enum keep_file file, const uint8_t *frame, size_t frame_bytes)
{
	uint64_t ticket;

	if (keep_put(speaker->keep, file, frame, frame_bytes, &ticket) != PR_OK) {
		speaker->counters.write_errors++;
	}
}

static int state_take(speaker_t *speaker, const codec_doc_t *document)
{
	struct speaker_state state;
	int ret = signed_state_take(document, speaker->authority_key, &speaker->id,
	                            speaker->state.number, &state);

	if (ret == PR_OK) {
		signed_state_done(&speaker->state);
		speaker->state = state;
		speaker->state_fresh = true;
	} else if (ret != PR_EEXIST) {
		refused_log("state", ret, &speaker->counters.state_refused);
	}
	return ret;
}

static int directory_take(speaker_t *speaker, const codec_doc_t *document)
{
	int ret = signed_services_take(document, speaker->authority_key, speaker->services->number,
	                               speaker->services);

	if (ret == PR_OK) {
		speaker->services_fresh = true;
	} else if (ret != PR_EEXIST) {
		refused_log("directory", ret, &speaker->counters.directory_refused);
	}
	return ret;
}

static void inventory_ack(struct link *link, const codec_doc_t *document)
{
	struct session *session = &link->session;

	if (session->inventory_id != 0 &&
	    codec_doc_u64(document, CODEC_INVENTORY_ACK_ID) == session->inventory_id) {
		session->inventory_id = 0;
		pr_backoff_reset(&session->inventory_backoff);
		session->acknowledged = session->ending;
		session->directory = codec_doc_u64(document, CODEC_INVENTORY_ACK_DIRECTORY);
	}
}

static void error_take(speaker_t *speaker, const struct link *link, const codec_doc_t *document)
{
	static struct pr_log_limit limit;
	uint64_t suppressed;
	char text[256];

	speaker->counters.errors_received++;
	if (pr_log_limited(&limit, &suppressed)) {
		log_warn("%s says: %s; going on", link->service.endpoint,
		         pr_log_escape(codec_doc_text(document, CODEC_ERROR_TEXT), text,
		                       sizeof(text)));
	}
}

void session_document(speaker_t *speaker, struct link *link, const uint8_t *frame,
                      size_t frame_bytes, const codec_doc_t *document)
{
	switch (codec_doc_type(document)) {
	case CODEC_STATE:
		if (state_take(speaker, document) == PR_OK) {
			kept(speaker, KEEP_STATE, frame, frame_bytes);
		}
		break;
	case CODEC_DIRECTORY:
		if (directory_take(speaker, document) == PR_OK) {
			kept(speaker, KEEP_DIRECTORY, frame, frame_bytes);
		}
		break;
	case CODEC_INVENTORY_ACK:
		inventory_ack(link, document);
		break;
	case CODEC_ERROR:
		error_take(speaker, link, document);
		break;
	default:
		/* OK of a HELLO, and what later versions may send. */
		break;
	}
}

/* ---- what an earlier run kept ---- */

static void kept_load(speaker_t *speaker, enum keep_file file, enum codec_type type,
                      int (*take)(speaker_t *speaker, const codec_doc_t *document))
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
	size_t size_bytes = 0;

	int ret = keep_load(speaker->keep, file, &data, &size_bytes);
	if (ret == PR_ENOENT) {
		return;
	}
	if (ret == PR_OK) {
		ret = codec_doc_decode(data, size_bytes, &document);
	}
	if (ret == PR_OK) {
		ret = codec_doc_type(document) == type ? take(speaker, document) : PR_EMALF;
	}
	if (ret != PR_OK) {
		log_warn("file '%s' in %s is not used: %s",
		         file == KEEP_STATE ? "state" : "directory", speaker->state_folder,
		         pr_strerror(ret));
	}
}

void session_load(speaker_t *speaker)
{
	kept_load(speaker, KEEP_STATE, CODEC_STATE, state_take);
	kept_load(speaker, KEEP_DIRECTORY, CODEC_DIRECTORY, directory_take);
}
