/* SPDX-License-Identifier: GPL-2.0-or-later */
#define LOG_COMPONENT "speaker"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/speaker/internal.h"
#include "base/log.h"

static const char *kind_name(enum link_kind kind)
{
	switch (kind) {
	case LINK_CONTROLLER:
		return "controller";
	case LINK_WORKER:
		return "worker";
	default:
		return "recorder";
	}
}

/* ---- the set ---- */

static void link_destroy(speaker_t *speaker, struct link **link_p)
{
	struct link *link = *link_p;
	if (link == NULL) {
		return;
	}
	if (link->client != NULL) {
		(void)epoll_ctl(speaker->epoll_fd, EPOLL_CTL_DEL, link->fd, NULL);
		bus_client_destroy(&link->client);
	}
	free(link);
	*link_p = NULL;
}

static int link_new(speaker_t *speaker, enum link_kind kind, const struct speaker_service *service)
{
	struct link *link = calloc(1, sizeof(*link));
	if (link == NULL) {
		return PR_ENOMEM;
	}
	const struct bus_client_options options = {
		.endpoint = service->endpoint,
		.server_key = service->key,
		.key = &speaker->key,
		.frame_max_bytes =
			kind == LINK_CONTROLLER ? CODEC_DOC_MAX_BYTES : CODEC_FRAME_MAX_BYTES,
		.high_water_mark = SPEAKER_HIGH_WATER,
		.source = speaker->source[0] != '\0' ? speaker->source : NULL,
		.waits_for_wake = true,
	};
	link->kind = kind;
	link->service = *service;
	link->stays = true;
	int ret = bus_client_new(speaker->context, &options, &link->client);
	if (ret == PR_OK) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = link };
		link->fd = bus_client_fd(link->client);
		if (epoll_ctl(speaker->epoll_fd, EPOLL_CTL_ADD, link->fd, &event) != 0) {
			ret = -errno;
		}
	}
	if (ret != PR_OK) {
		log_warn("cannot connect to %s %s: %s, trying again with the next directory",
		         kind_name(kind), service->endpoint, pr_strerror(ret));
		link_destroy(speaker, &link);
		return ret;
	}
	speaker->links[speaker->link_count++] = link;
	return PR_OK;
}

static struct link *link_find(speaker_t *speaker, enum link_kind kind,
                              const struct speaker_service *service)
{
	for (size_t i = 0; i < speaker->link_count; i++) {
		struct link *link = speaker->links[i];
		/* A configured controller has no UUID until the directory names it. */
		if (link->kind == kind && strcmp(link->service.endpoint, service->endpoint) == 0 &&
		    memcmp(link->service.key, service->key, BUS_KEY_BYTES) == 0) {
			return link;
		}
	}
	return NULL;
}

/* Keep or make a link. */
static int link_want(speaker_t *speaker, enum link_kind kind, const struct speaker_service *service,
                     unsigned worker)
{
	struct link *link = link_find(speaker, kind, service);
	int ret = PR_OK;

	if (link == NULL && speaker->link_count < LINKS_MAX) {
		ret = link_new(speaker, kind, service);
		link = ret == PR_OK ? speaker->links[speaker->link_count - 1] : NULL;
	}
	if (link != NULL) {
		link->stays = true;
		link->worker = worker;
		link->service.id = service->id;
	}
	return ret;
}

static void links_sweep(speaker_t *speaker)
{
	size_t kept = 0;

	for (size_t i = 0; i < speaker->link_count; i++) {
		if (speaker->links[i]->stays) {
			speaker->links[kept++] = speaker->links[i];
		} else {
			link_destroy(speaker, &speaker->links[i]);
		}
	}
	speaker->link_count = kept;
}

static void workers_tell(speaker_t *speaker)
{
	const struct services *services = speaker->services;
	struct pr_uuid ids[SPEAKER_WORKERS_MAX];
	uint32_t groups[SPEAKER_WORKERS_MAX];

	for (size_t i = 0; i < services->worker_count; i++) {
		ids[i] = services->workers[i].id;
		groups[i] = (uint32_t)i; /* a controller's workers have its key */
		for (size_t k = i; k > 0; k--) {
			if (memcmp(services->workers[k - 1].key, services->workers[i].key,
			           BUS_KEY_BYTES) == 0) {
				groups[i] = groups[k - 1];
			}
		}
	}
	requests_workers_set(speaker->requests, ids, groups, services->worker_count);
	for (size_t i = 0; i < speaker->link_count; i++) {
		const struct link *link = speaker->links[i];
		if (link->kind == LINK_WORKER) {
			requests_worker_up(speaker->requests, link->worker,
			                   link->state == BUS_LINK_UP);
		}
	}
}

/* A configured controller that is up; another address of it in the directory is not needed. */
static bool controller_reached(speaker_t *speaker, const struct speaker_service *service)
{
	for (size_t i = 0; i < speaker->configured_count; i++) {
		const struct speaker_service *configured = &speaker->configured[i];
		const struct link *link = link_find(speaker, LINK_CONTROLLER, configured);
		if (memcmp(configured->key, service->key, BUS_KEY_BYTES) == 0 && link != NULL &&
		    link->state == BUS_LINK_UP &&
		    strcmp(configured->endpoint, service->endpoint) != 0) {
			return true;
		}
	}
	return false;
}

/*
 * Both configured controllers and those of the directory: either list may be out of date. But one
 * link to each, for a controller has one session for an agent.
 */
static int controllers_want(speaker_t *speaker)
{
	const struct services *services = speaker->services;
	int ret, first = PR_OK;

	for (size_t i = 0; i < speaker->configured_count; i++) {
		ret = link_want(speaker, LINK_CONTROLLER, &speaker->configured[i], 0);
		first = first == PR_OK ? ret : first;
	}
	for (size_t i = 0; i < services->controller_count; i++) {
		if (!controller_reached(speaker, &services->controllers[i])) {
			ret = link_want(speaker, LINK_CONTROLLER, &services->controllers[i], 0);
			first = first == PR_OK ? ret : first;
		}
	}
	return first;
}

int links_update(speaker_t *speaker)
{
	const struct services *services = speaker->services;
	int ret, first;

	speaker->links_stale = false;
	for (size_t i = 0; i < speaker->link_count; i++) {
		speaker->links[i]->stays = false;
	}
	first = controllers_want(speaker);
	for (size_t i = 0; i < services->worker_count; i++) {
		ret = link_want(speaker, LINK_WORKER, &services->workers[i], (unsigned)i);
		first = first == PR_OK ? ret : first;
	}
	if (services->recorder_count > 0) {
		ret = link_want(speaker, LINK_RECORDER, &services->recorders[0], 0);
		first = first == PR_OK ? ret : first;
	}
	links_sweep(speaker);
	workers_tell(speaker);
	return first;
}

void links_destroy(speaker_t *speaker)
{
	while (speaker->link_count > 0) {
		link_destroy(speaker, &speaker->links[--speaker->link_count]);
	}
}

struct link *links_recorder(speaker_t *speaker)
{
	for (size_t i = 0; i < speaker->link_count; i++) {
		if (speaker->links[i]->kind == LINK_RECORDER) {
			return speaker->links[i];
		}
	}
	return NULL;
}

/* ---- up and down ---- */

static void link_up(speaker_t *speaker, struct link *link)
{
	link->source_known = way_source(link->service.endpoint, &link->source);
	switch (link->kind) {
	case LINK_CONTROLLER:
		session_begin(speaker, link);
		break;
	case LINK_WORKER:
		requests_worker_up(speaker->requests, link->worker, true);
		break;
	case LINK_RECORDER:
		transfer_begin(speaker, &link->transfer, true);
		events_link_up(speaker);
		break;
	}
}

void links_check(speaker_t *speaker)
{
	for (size_t i = 0; i < speaker->link_count; i++) {
		struct link *link = speaker->links[i];
		enum bus_link state = bus_client_link(link->client);
		uint64_t connection = bus_client_connection(link->client);
		if (state == link->state && connection == link->connection) {
			continue;
		}
		bool was_up = link->state == BUS_LINK_UP;
		link->connection = connection;
		speaker->links_stale = speaker->links_stale || link->kind == LINK_CONTROLLER;
		link->state = state;
		log_debug("%s %s: %s", kind_name(link->kind), link->service.endpoint,
		          state == BUS_LINK_UP        ? "connected"
		          : state == BUS_LINK_REFUSED ? "refused our key, or is not who it was"
		                                      : "not connected");
		if (was_up && link->kind == LINK_WORKER) {
			requests_worker_up(speaker->requests, link->worker, false);
		}
		if (state == BUS_LINK_UP) {
			link_up(speaker, link);
		}
	}
}

/* In its place: positions in the set mean nothing, but the sweep of one does. */
static void link_renew(speaker_t *speaker, size_t index)
{
	struct link *old = speaker->links[index];
	const struct speaker_service service = old->service;
	enum link_kind kind = old->kind;
	unsigned worker = old->worker;

	if (kind == LINK_WORKER) {
		requests_worker_up(speaker->requests, worker, false);
	}
	link_destroy(speaker, &speaker->links[index]);
	speaker->links[index] = speaker->links[--speaker->link_count];
	if (link_new(speaker, kind, &service) != PR_OK) {
		speaker->links_stale = true; /* said; the set is made whole again */
		return;
	}
	speaker->links[speaker->link_count - 1]->worker = worker;
}

void links_reroute(speaker_t *speaker)
{
	size_t renewed = 0;

	for (size_t i = speaker->link_count; i > 0; i--) {
		struct link *link = speaker->links[i - 1];
		struct pr_addr now;
		if (link->source_known && way_source(link->service.endpoint, &now) &&
		    !pr_addr_equal(&now, &link->source)) {
			link_renew(speaker, i - 1);
			renewed++;
		}
	}
	if (renewed > 0) {
		log_info("this host's address has changed: %zu connections are made anew", renewed);
	}
}

/* ---- frames ---- */

int link_send_document(struct link *link, const codec_doc_t *document)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	if (document == NULL) {
		return PR_ENOMEM;
	}
	int ret = codec_doc_encode(document, &data, &size_bytes);
	return ret == PR_OK ? bus_client_send(link->client, data, size_bytes) : ret;
}

static int verdicts_take(speaker_t *speaker, const struct link *link, const uint8_t *data,
                         size_t size_bytes)
{
	size_t count = 0;
	int ret = codec_records_decode(CODEC_VERDICT, data, size_bytes, speaker->verdicts, &count);

	if (ret != PR_OK) {
		return ret;
	}
	for (size_t i = 0; i < count; i++) {
		struct codec_verdict *verdict = &speaker->verdicts[i];
		bool newborn = verdict->unknown == CODEC_UNKNOWN_NEWBORN;
		if ((newborn || verdict->unknown == CODEC_UNKNOWN_NO_NOTICE) &&
		    requests_ask_again(speaker->requests, link->worker, verdict->id, newborn,
		                       speaker->now_ns)) {
			continue;
		}
		if (newborn) {
			verdict->unknown = CODEC_UNKNOWN_NO_NOTICE; /* it was asked long enough */
		}
		if (requests_answered(speaker->requests, link->worker, verdict->id,
		                      verdict->connection, speaker->now_ns)) {
			speaker->outlet.verdict(speaker->outlet.context, verdict);
		}
	}
	return PR_OK;
}

static int acks_take(speaker_t *speaker, const uint8_t *data, size_t size_bytes)
{
	struct codec_event_ack acks[CODEC_BATCH_MAX];
	size_t count = 0;
	int ret = codec_records_decode(CODEC_EVENT_ACK, data, size_bytes, acks, &count);

	for (size_t i = 0; ret == PR_OK && i < count; i++) {
		events_acknowledged(speaker, acks[i].seq);
	}
	return ret;
}

static int document_take(speaker_t *speaker, struct link *link, const uint8_t *data,
                         size_t size_bytes)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
	int ret = codec_doc_decode(data, size_bytes, &document);

	if (ret != PR_OK) {
		return ret;
	}
	if (link->kind == LINK_CONTROLLER) {
		session_document(speaker, link, data, size_bytes, document);
	} else if (codec_doc_type(document) == CODEC_ERROR) {
		speaker->counters.errors_received++;
	}
	return PR_OK;
}

/* Each kind of link may say what belongs to it, and nothing else. */
static int frame_take(speaker_t *speaker, struct link *link, const uint8_t *data, size_t size_bytes)
{
	enum codec_type type;
	int ret = codec_frame_type(data, size_bytes, &type);

	if (ret != PR_OK) {
		return ret;
	}
	switch (type) {
	case CODEC_VERDICT:
		return link->kind == LINK_WORKER ? verdicts_take(speaker, link, data, size_bytes)
		                                 : PR_EMALF;
	case CODEC_EVENT_ACK:
		return link->kind == LINK_RECORDER ? acks_take(speaker, data, size_bytes)
		                                   : PR_EMALF;
	case CODEC_REQUEST:
	case CODEC_NOTICE:
	case CODEC_EVENT:
		return PR_EMALF;
	default:
		return document_take(speaker, link, data, size_bytes);
	}
}

/* Whose descriptor is readable; the rest has nothing to say. */
void links_wake(speaker_t *speaker)
{
	struct epoll_event events[LINKS_MAX + 1];
	int count = epoll_wait(speaker->epoll_fd, events, PR_ARRAY_LEN(events), 0);

	for (int i = 0; i < count; i++) {
		struct link *link = events[i].data.ptr;
		if (link != NULL) {
			bus_client_wake(link->client);
		} else {
			speaker->way_due = true;
		}
	}
}

/* One question is on its way: it is probably its answer that woke us. */
bool links_wake_asked(speaker_t *speaker)
{
	unsigned worker = requests_only_worker(speaker->requests);

	for (size_t i = 0; worker < SPEAKER_WORKERS_MAX && i < speaker->link_count; i++) {
		struct link *link = speaker->links[i];
		if (link->kind == LINK_WORKER && link->worker == worker) {
			bus_client_wake(link->client);
			return true;
		}
	}
	return false;
}

bool links_due(const speaker_t *speaker)
{
	for (size_t i = 0; i < speaker->link_count; i++) {
		if (bus_client_due(speaker->links[i]->client)) {
			return true;
		}
	}
	return false;
}

bool links_receive(speaker_t *speaker)
{
	bool any = false;

	for (size_t i = 0; i < speaker->link_count; i++) {
		struct link *link = speaker->links[i];
		const uint8_t *data;
		size_t size_bytes;
		while (bus_client_receive(link->client, &data, &size_bytes) == PR_OK) {
			any = true;
			if (frame_take(speaker, link, data, size_bytes) != PR_OK) {
				speaker->counters.frames_malformed++;
			}
			if (link->kind == LINK_WORKER && requests_open(speaker->requests) == 0) {
				bus_client_leave(link->client);
			}
		}
	}
	return any;
}
