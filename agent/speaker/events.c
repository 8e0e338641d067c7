/* SPDX-License-Identifier: GPL-2.0-or-later */
#define LOG_COMPONENT "speaker"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/speaker/internal.h"
#include "base/log.h"

#define FIRST_NUMBERS_MS 10000

/* ---- numbers ---- */

static int numbers_put(speaker_t *speaker, uint64_t reserved, bool clean)
{
	struct events *events = &speaker->events;
	const struct numbers numbers = {
		.reserved = reserved,
		.next = spool_next_seq(events->spool),
		.clean = clean,
		.boot = events->boot,
	};
	char text[NUMBERS_TEXT_BYTES];
	size_t size_bytes = numbers_format(&numbers, text);

	int ret = keep_put(speaker->keep, KEEP_NUMBERS, text, size_bytes, &events->ticket);
	if (ret == PR_OK) {
		events->reserving = reserved;
	}
	return ret;
}

/* Reserve the next block well before this one ends. */
static void numbers_extend(speaker_t *speaker)
{
	struct events *events = &speaker->events;
	uint64_t next = spool_next_seq(events->spool);

	if (events->reserving > events->reserved &&
	    keep_written(speaker->keep, KEEP_NUMBERS) >= events->ticket) {
		events->reserved = events->reserving;
	}
	if (next + NUMBERS_MARGIN > events->reserving) {
		(void)!numbers_put(speaker, next + NUMBERS_BLOCK, false);
	}
}

static int numbers_load(speaker_t *speaker, struct numbers *ret_numbers)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	int ret = keep_load(speaker->keep, KEEP_NUMBERS, &data, &size_bytes);
	if (ret == PR_OK) {
		ret = numbers_parse((const char *)data, size_bytes, ret_numbers);
	}
	return ret;
}

int events_open(speaker_t *speaker, uint64_t max_bytes)
{
	struct events *events = &speaker->events;
	char folder[PATH_MAX];
	struct numbers numbers;
	struct spool_options options = { .folder = folder, .max_bytes = max_bytes };

	if (snprintf(folder, sizeof(folder), "%s/events", speaker->state_folder) >=
	    (int)sizeof(folder)) {
		return -ENAMETOOLONG;
	}
	events->boot = numbers_boot();
	int ret = numbers_load(speaker, &numbers);
	if (ret == PR_OK) {
		numbers_resume(&numbers, &events->boot, &options.first_seq, &options.empty_seq);
	} else if (ret != PR_ENOENT) {
		log_debug("numbers of events: %s, going on behind the spool", pr_strerror(ret));
	}
	ret = spool_open(&options, &events->spool);
	if (ret == PR_OK) {
		ret = numbers_put(speaker, spool_next_seq(events->spool) + NUMBERS_BLOCK, false);
	}
	if (ret == PR_OK) {
		/* No number is used before its reservation is on disk. */
		ret = keep_wait(speaker->keep, KEEP_NUMBERS, events->ticket, FIRST_NUMBERS_MS);
	}
	if (ret == PR_OK) {
		events->reserved = events->reserving;
	}
	return ret == PR_ETIMEOUT ? PR_EIO : ret;
}

void events_close(speaker_t *speaker)
{
	if (speaker->events.spool == NULL) {
		return;
	}
	events_flush(speaker);
	(void)!numbers_put(speaker, speaker->events.reserving, true);
	spool_destroy(&speaker->events.spool);
}

/* ---- into the spool ---- */

void events_flush(speaker_t *speaker)
{
	struct events *events = &speaker->events;
	size_t count = events->pending_count, size_bytes = 0;

	numbers_extend(speaker);
	if (count == 0) {
		return;
	}
	events->pending_count = 0;
	uint64_t seq = spool_next_seq(events->spool);
	if (seq + count > events->reserved) {
		/* The disk does not take the reservation: it would not take the events either. */
		spool_lose(events->spool, (uint32_t)count);
		speaker->counters.events_lost += count;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		events->pending[i].seq = seq + i;
	}
	int ret = codec_records_encode(CODEC_EVENT, events->pending, count, events->frame,
	                               sizeof(events->frame), &size_bytes);
	if (ret == PR_OK) {
		ret = spool_append(events->spool, (uint32_t)count, events->frame, size_bytes);
	} else {
		spool_lose(events->spool, (uint32_t)count);
	}
	if (ret == PR_OK) {
		speaker->counters.events += count;
	} else {
		speaker->counters.events_lost += count;
	}
}

/* As many as fit a frame. */
static size_t batch_max(void)
{
	size_t count = CODEC_BATCH_MAX;

	while (count > 1 && codec_frame_bytes(CODEC_EVENT, count) > CODEC_FRAME_MAX_BYTES) {
		count--;
	}
	return count;
}

void events_add(speaker_t *speaker, const struct codec_event *event)
{
	struct events *events = &speaker->events;

	if (events->pending_count >= batch_max()) {
		events_flush(speaker);
	}
	events->pending[events->pending_count++] = *event;
}

/* ---- to the recorder ---- */

static int lost_send(struct link *link, const struct spool_frame *frame)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = codec_doc_new(CODEC_SPOOL_LOST);

	if (document != NULL) {
		codec_doc_set_u64(document, CODEC_SPOOL_LOST_FIRST, frame->first_seq);
		codec_doc_set_u64(document, CODEC_SPOOL_LOST_COUNT, frame->count);
	}
	return link_send_document(link, document);
}

static void rewind_all(struct events *events)
{
	events->out_bytes = 0;
	events->out_count = 0;
	spool_rewind(events->spool);
}

static void send_again(speaker_t *speaker)
{
	speaker->events.progress_ns = speaker->now_ns;
	speaker->counters.events_repeated++;
	rewind_all(&speaker->events);
}

/*
 * Join what stands in the spool until a frame is full. A hole has a message of its own, and so has
 * what is no frame of events of ours.
 */
static void out_fill(struct events *events, struct spool_frame *ret_hole)
{
	struct spool_frame frame;

	while (spool_peek(events->spool, &frame) == PR_OK) {
		if (frame.lost || codec_records_join(CODEC_EVENT, events->out, &events->out_bytes,
		                                     frame.data, frame.size_bytes) != PR_OK) {
			*ret_hole = events->out_bytes == 0 ? frame : *ret_hole;
			return;
		}
		events->out_count += frame.count;
		spool_advance(events->spool);
	}
}

/* One message. PR_EAGAIN: nothing is left, or the recorder's queue is full. */
static int out_send(speaker_t *speaker, struct link *link)
{
	struct events *events = &speaker->events;
	struct spool_frame hole = { 0 };
	int ret;

	if (events->out_bytes == 0) {
		out_fill(events, &hole);
	}
	if (hole.count > 0) {
		ret = lost_send(link, &hole);
		if (ret == PR_OK) {
			spool_advance(events->spool);
		}
		return ret;
	}
	if (events->out_bytes == 0) {
		return PR_EAGAIN;
	}
	ret = bus_client_send(link->client, events->out, events->out_bytes);
	if (ret == PR_OK) {
		speaker->counters.events_sent += events->out_count;
		events->out_bytes = 0;
		events->out_count = 0;
	}
	return ret;
}

/* A frame for each event would cost the recorder and us more than the event. */
static bool send_is_due(speaker_t *speaker)
{
	struct events *events = &speaker->events;
	uint64_t unsent = spool_next_seq(events->spool) - 1 - spool_sent_seq(events->spool) +
	                  events->out_count;

	if (unsent == 0) {
		events->unsent_ns = 0;
		return false;
	}
	if (events->unsent_ns == 0) {
		events->unsent_ns = speaker->now_ns;
	}
	return events->eager || unsent >= CODEC_BATCH_MAX ||
	       speaker->now_ns - events->unsent_ns >= SPEAKER_EVENT_DELAY_NS;
}

void events_turn(speaker_t *speaker)
{
	struct events *events = &speaker->events;
	struct link *link = links_recorder(speaker);

	events_flush(speaker);
	if (link == NULL || link->state != BUS_LINK_UP || link->transfer.running) {
		events->unsent_ns = 0; /* no timer runs for what cannot go */
		return;
	}
	uint64_t sent = spool_sent_seq(events->spool);
	uint64_t acknowledged = spool_acknowledged_seq(events->spool);
	if (sent <= acknowledged) {
		events->progress_ns = speaker->now_ns;
	} else if (speaker->now_ns - events->progress_ns >= SPEAKER_EVENT_ACK_NS) {
		send_again(speaker);
	}
	if (!send_is_due(speaker)) {
		return;
	}
	while (spool_sent_seq(events->spool) < acknowledged + SPEAKER_EVENT_WINDOW &&
	       out_send(speaker, link) == PR_OK) {
	}
	events->unsent_ns = 0; /* what is left waits for the recorder, not for company */
}

uint64_t events_timeout_ns(const speaker_t *speaker)
{
	const struct events *events = &speaker->events;

	if (events->unsent_ns != 0) {
		return events->unsent_ns + SPEAKER_EVENT_DELAY_NS;
	}
	if (spool_sent_seq(events->spool) > spool_acknowledged_seq(events->spool)) {
		return events->progress_ns + SPEAKER_EVENT_ACK_NS;
	}
	return UINT64_MAX;
}

void events_link_up(speaker_t *speaker)
{
	if (spool_sent_seq(speaker->events.spool) > spool_acknowledged_seq(speaker->events.spool)) {
		speaker->counters.events_repeated++;
	}
	rewind_all(&speaker->events);
	speaker->events.progress_ns = speaker->now_ns;
}

void events_acknowledged(speaker_t *speaker, uint64_t seq)
{
	struct events *events = &speaker->events;
	uint64_t before = spool_acknowledged_seq(events->spool);

	int ret = spool_acknowledge(events->spool, seq);
	if (ret == PR_EMALF) {
		speaker->counters.frames_malformed++;
		return;
	}
	if (ret == PR_EOLD) {
		log_warn("the recorder has events up to %" PRIu64
		         " that this spool does not know: going on behind them; events that "
		         "waited to be sent are lost",
		         seq);
	}
	if (seq > before) {
		events->progress_ns = speaker->now_ns;
		speaker->counters.events_acknowledged += seq - before;
	} else if (spool_sent_seq(events->spool) > before &&
	           speaker->now_ns - events->progress_ns >= SPEAKER_EVENT_HINT_NS) {
		/* The recorder says the same again: it did not get what came next. */
		send_again(speaker);
	}
}
