/* SPDX-License-Identifier: GPL-2.0-or-later */
#define LOG_COMPONENT "speaker"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/speaker/internal.h"
#include "base/log.h"

/* ---- begin and end ---- */

static int options_take(speaker_t *speaker, const struct speaker_options *options)
{
	struct pr_addr addr;
	uint16_t port;

	if (options->controller_count > SPEAKER_CONTROLLERS_MAX) {
		return PR_EINVAL;
	}
	for (size_t i = 0; i < options->controller_count; i++) {
		if (signed_endpoint_parse(options->controllers[i].endpoint, &addr, &port) !=
		    PR_OK) {
			return PR_EINVAL;
		}
		speaker->configured[i] = options->controllers[i];
	}
	speaker->configured_count = options->controller_count;
	speaker->state_folder = options->state_folder;
	speaker->id = options->id;
	speaker->key = *options->key;
	memcpy(speaker->authority_key, options->authority_key, BUS_KEY_BYTES);
	(void)snprintf(speaker->version, sizeof(speaker->version), "%s", options->version);
	if (options->source != NULL) {
		if (pr_addr_parse(options->source, &addr) != PR_OK) {
			return PR_EINVAL;
		}
		(void)snprintf(speaker->source, sizeof(speaker->source), "%s", options->source);
	}
	return PR_OK;
}

static int parts_open(speaker_t *speaker, const struct speaker_options *options)
{
	speaker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (speaker->epoll_fd < 0) {
		return -errno;
	}
	int ret = keep_open(options->state_folder, &speaker->keep);
	if (ret == PR_OK) {
		ret = requests_new(options->requests_max, &speaker->requests);
	}
	if (ret == PR_OK) {
		ret = events_open(speaker, options->spool_max_bytes);
	}
	return ret;
}

int speaker_new(bus_context_t *context, const struct speaker_options *options,
                const struct speaker_outlet *outlet, speaker_t **ret_speaker)
{
	_cleanup_(speaker_destroy) speaker_t *speaker = calloc(1, sizeof(*speaker));
	if (speaker == NULL) {
		return PR_ENOMEM;
	}
	speaker->epoll_fd = -1;
	speaker->way_fd = -1;
	speaker->context = context;
	speaker->outlet = *outlet;
	speaker->epoch = pr_clock_wall_ns();
	speaker->next_id = 1;
	speaker->services = calloc(1, sizeof(*speaker->services));
	if (speaker->services == NULL) {
		return PR_ENOMEM;
	}
	int ret = options_take(speaker, options);
	if (ret == PR_OK) {
		ret = parts_open(speaker, options);
	}
	if (ret != PR_OK) {
		return ret;
	}
	speaker->way_fd = way_open(speaker->epoll_fd);
	session_load(speaker);
	speaker->services_fresh = false;
	(void)!links_update(speaker);
	if (speaker->link_count == 0) {
		return PR_EINVAL;
	}
	*ret_speaker = take_ptr(speaker);
	return PR_OK;
}

void speaker_destroy(speaker_t **speaker_p)
{
	speaker_t *speaker = *speaker_p;
	if (speaker == NULL) {
		return;
	}
	events_close(speaker);
	keep_destroy(&speaker->keep);
	links_destroy(speaker);
	pr_fd_close(&speaker->way_fd);
	requests_destroy(&speaker->requests);
	inventory_cache_done(&speaker->inventory);
	signed_state_done(&speaker->state);
	if (speaker->epoll_fd >= 0) {
		(void)close(speaker->epoll_fd);
	}
	free(speaker->services);
	bus_key_wipe(&speaker->key, sizeof(speaker->key));
	free(speaker);
	*speaker_p = NULL;
}

/* ---- a turn ---- */

static int records_send(speaker_t *speaker, unsigned worker, enum codec_type type,
                        const void *records, size_t count)
{
	size_t size_bytes = 0;

	for (size_t i = 0; i < speaker->link_count; i++) {
		struct link *link = speaker->links[i];
		if (link->kind != LINK_WORKER || link->worker != worker) {
			continue;
		}
		int ret = codec_records_encode(type, records, count, speaker->events.frame,
		                               sizeof(speaker->events.frame), &size_bytes);
		return ret == PR_OK
		               ? bus_client_send(link->client, speaker->events.frame, size_bytes)
		               : ret;
	}
	return PR_EUNREACH;
}

static int request_send(void *context, unsigned worker, const struct codec_request *requests,
                        size_t count)
{
	return records_send(context, worker, CODEC_REQUEST, requests, count);
}

static int notice_send(void *context, unsigned worker, const struct codec_notice *notices,
                       size_t count)
{
	return records_send(context, worker, CODEC_NOTICE, notices, count);
}

static struct requests_sink requests_sink_of(speaker_t *speaker)
{
	return (struct requests_sink){ .context = speaker,
		                       .send = request_send,
		                       .notify = notice_send };
}

static void outlet_tell(speaker_t *speaker)
{
	const struct speaker_outlet *outlet = &speaker->outlet;

	if (speaker->services_fresh) {
		speaker->services_fresh = false;
		if (links_update(speaker) != PR_OK) {
			/* Said already; the next directory brings another try. */
			speaker->counters.directory_refused++;
		}
		outlet->services(outlet->context);
	} else if (speaker->links_stale) {
		(void)!links_update(speaker);
	}
	if (speaker->state_fresh) {
		speaker->state_fresh = false;
		outlet->state(outlet->context, &speaker->state);
	}
	bool reachable = requests_reachable(speaker->requests);
	if (!speaker->reachable_told || reachable != speaker->reachable) {
		speaker->reachable_told = true;
		speaker->reachable = reachable;
		outlet->reachable(outlet->context, reachable);
	}
}

/* Names first, so that the recorder knows them when the events come. */
static void recorder_turn(speaker_t *speaker)
{
	struct link *link = links_recorder(speaker);

	if (link != NULL && link->state == BUS_LINK_UP) {
		if (!link->transfer.running && link->transfer.sent < speaker->inventory.change) {
			transfer_begin(speaker, &link->transfer, false);
		}
		if (link->transfer.running) {
			(void)!transfer_run(speaker, link, &link->transfer);
		}
	}
	events_turn(speaker);
}

static void newborns_turn(speaker_t *speaker);

static void all_send(speaker_t *speaker)
{
	const struct requests_sink sink = requests_sink_of(speaker);

	newborns_turn(speaker);
	requests_turn(speaker->requests, speaker->now_ns, &sink);
	for (size_t i = 0; i < speaker->link_count; i++) {
		struct link *link = speaker->links[i];
		if (link->kind == LINK_CONTROLLER && link->state == BUS_LINK_UP) {
			session_turn(speaker, link);
		}
	}
	recorder_turn(speaker);
}

/* What everybody has heard of. A controller that is away gets everything when it comes back. */
static void inventory_compact(speaker_t *speaker)
{
	uint64_t sent = speaker->inventory.change;

	for (size_t i = 0; i < speaker->link_count; i++) {
		const struct link *link = speaker->links[i];
		const struct transfer *transfer =
			link->kind == LINK_CONTROLLER ? &link->session.transfer : &link->transfer;
		if (link->kind == LINK_WORKER || link->state != BUS_LINK_UP) {
			continue;
		}
		if (transfer->running) {
			return;
		}
		sent = transfer->sent < sent ? transfer->sent : sent;
	}
	inventory_cache_compact(&speaker->inventory, sent);
}

void speaker_turn(speaker_t *speaker, uint64_t now_ns, bool readable)
{
	speaker->now_ns = now_ns;
	speaker->more = false;
	/* One that was not named keeps the descriptor readable. */
	bool guessed = readable && links_wake_asked(speaker);
	if (readable && !guessed) {
		links_wake(speaker);
	}
	if (speaker->way_due && way_changed(speaker->way_fd)) {
		links_reroute(speaker);
	}
	speaker->way_due = false;
	/* A send can take a wake-up with it: receive until nothing is left after it. */
	for (unsigned round = 0;; round++) {
		links_check(speaker);
		bool any = links_receive(speaker);
		outlet_tell(speaker);
		all_send(speaker);
		if (!any && guessed && round == 0) {
			links_wake(speaker);
		} else if (!any && !links_due(speaker)) {
			break;
		}
		if (round == SPEAKER_ROUNDS_MAX) {
			speaker->more = true;
			break;
		}
	}
	inventory_compact(speaker);
}

int speaker_fd(const speaker_t *speaker)
{
	return speaker->epoll_fd;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t speaker_timeout_ns(const speaker_t *speaker)
{
	uint64_t due_ns = requests_timeout_ns(speaker->requests);

	if (speaker->more || due_ns == 0 || speaker->events.pending_count > 0) {
		return 0;
	}
	due_ns = earlier(due_ns, speaker->now_ns + SPEAKER_STATE_GET_NS);
	if (speaker->newborn_count > 0) {
		due_ns = earlier(due_ns, speaker->newborns[0].since_ns + SPEAKER_BORN_NS);
	}
	for (size_t i = 0; i < speaker->link_count; i++) {
		const struct link *link = speaker->links[i];
		due_ns = earlier(due_ns, bus_client_look_ns(link->client));
		if (link->state != BUS_LINK_UP) {
			due_ns = earlier(due_ns, speaker->now_ns + SPEAKER_LINK_TICK_NS);
		} else if (link->kind == LINK_CONTROLLER) {
			uint64_t session_ns = session_timeout_ns(link);
			uint64_t retry_ns = speaker->now_ns + SPEAKER_RETRY_NS;
			/* What is overdue found the link's queue full. */
			due_ns = earlier(due_ns, session_ns > retry_ns ? session_ns : retry_ns);
			if (link->session.transfer.running) {
				due_ns = earlier(due_ns, retry_ns);
			}
		} else if (link->kind == LINK_RECORDER) {
			due_ns = earlier(due_ns, events_timeout_ns(speaker));
		}
	}
	return due_ns;
}

/* ---- for the gate and the inventory ---- */

/* The newest identity directory that any controller has put our inventory into. */
static uint64_t directory_known(const speaker_t *speaker)
{
	uint64_t directory = 0;

	for (size_t i = 0; i < speaker->link_count; i++) {
		const struct link *link = speaker->links[i];
		if (link->kind == LINK_CONTROLLER && link->session.directory > directory) {
			directory = link->session.directory;
		}
	}
	return directory;
}

static void request_add(speaker_t *speaker, struct codec_request *request)
{
	request->directory = directory_known(speaker);
	if (requests_add(speaker->requests, request) == PR_EEXIST) {
		log_debug("a request id was used twice");
	}
}

/* Changes of the inventory that a controller which is there has in its directory. */
static uint64_t changes_known(const speaker_t *speaker)
{
	uint64_t known = 0;
	bool up = false;

	for (size_t i = 0; i < speaker->link_count; i++) {
		const struct link *link = speaker->links[i];
		if (link->kind == LINK_CONTROLLER && link->state == BUS_LINK_UP) {
			up = true;
			known = link->session.acknowledged > known ? link->session.acknowledged
			                                           : known;
		}
	}
	/* Nobody there to tell: nothing to wait for. */
	return up ? known : UINT64_MAX;
}

/*
 * The first connection of a new container can be faster than the news of it. A worker that has not
 * heard of its endpoint would refuse it, so such requests wait for the acknowledgement.
 */
void speaker_request(speaker_t *speaker, const struct codec_request *request, uint64_t now_ns)
{
	struct codec_request copy = *request;
	uint64_t known = changes_known(speaker);

	if (speaker->inventory.born > known && speaker->newborn_count < SPEAKER_BORN_MAX) {
		uint64_t born = inventory_cache_born(&speaker->inventory, &request->reporter);
		if (born > known) {
			speaker->newborns[speaker->newborn_count++] = (struct newborn){
				.request = copy, .born = born, .since_ns = now_ns
			};
			return;
		}
	}
	request_add(speaker, &copy);
}

void speaker_notice(speaker_t *speaker, const struct codec_notice *notice)
{
	struct codec_notice copy = *notice;

	copy.directory = directory_known(speaker);
	requests_notice(speaker->requests, &copy);
}

void speaker_tell(speaker_t *speaker)
{
	const struct requests_sink sink = requests_sink_of(speaker);

	if (requests_told(speaker->requests, speaker->now_ns, &sink)) {
		/* The send may have taken a wake-up with it. */
		speaker->more = speaker->more || links_due(speaker);
	}
}

static void newborns_turn(speaker_t *speaker)
{
	uint64_t known = changes_known(speaker);
	size_t kept = 0;

	for (size_t i = 0; i < speaker->newborn_count; i++) {
		struct newborn *newborn = &speaker->newborns[i];
		if (newborn->born <= known ||
		    speaker->now_ns - newborn->since_ns >= SPEAKER_BORN_NS) {
			request_add(speaker, &newborn->request);
		} else {
			speaker->newborns[kept++] = *newborn;
		}
	}
	speaker->newborn_count = kept;
}

void speaker_drop(speaker_t *speaker, uint64_t request_id)
{
	size_t kept = 0;

	for (size_t i = 0; i < speaker->newborn_count; i++) {
		if (speaker->newborns[i].request.id != request_id) {
			speaker->newborns[kept++] = speaker->newborns[i];
		}
	}
	speaker->newborn_count = kept;
	requests_drop(speaker->requests, request_id);
}

void speaker_event(speaker_t *speaker, const struct codec_event *event)
{
	events_add(speaker, event);
}

void speaker_hurry(speaker_t *speaker)
{
	speaker->events.eager = true;
}

void speaker_flush(speaker_t *speaker)
{
	events_flush(speaker);
}

/* News of an endpoint does not wait for the next turn that something else makes. */
static void inventory_changed(speaker_t *speaker, uint64_t before)
{
	speaker->more = speaker->more || speaker->inventory.change != before;
}

int speaker_endpoint_put(speaker_t *speaker, const codec_doc_t *endpoint)
{
	uint64_t before = speaker->inventory.change;
	int ret = inventory_cache_put(&speaker->inventory, endpoint);

	inventory_changed(speaker, before);
	return ret;
}

void speaker_endpoint_gone(speaker_t *speaker, const struct pr_uuid *id, bool removed)
{
	uint64_t before = speaker->inventory.change;

	inventory_cache_gone(&speaker->inventory, id, removed);
	inventory_changed(speaker, before);
}

void speaker_inventory_complete(speaker_t *speaker)
{
	speaker->inventory.complete = true;
}

const struct speaker_state *speaker_state_held(const speaker_t *speaker)
{
	return speaker->state.number != 0 ? &speaker->state : NULL;
}

size_t speaker_lifeline(const speaker_t *speaker, struct part_lifeline *lifeline, size_t capacity)
{
	size_t count = 0;

	for (size_t i = 0; i < speaker->link_count && count < capacity; i++) {
		struct part_lifeline line = { .proto = 6 };
		if (signed_endpoint_parse(speaker->links[i]->service.endpoint, &line.peer.addr,
		                          &line.port) == PR_OK) {
			line.peer.bits = 128;
			lifeline[count++] = line;
		}
	}
	return count;
}

void speaker_counters(const speaker_t *speaker, struct speaker_counters *ret_counters)
{
	struct requests_counters requests;
	struct speaker_counters counters = speaker->counters;

	requests_counters(speaker->requests, &requests);
	counters.requests_sent = requests.sent;
	counters.requests_repeated = requests.repeated;
	counters.requests_probed = requests.probed;
	counters.notices_sent = requests.notices;
	counters.notices_lost = requests.notices_lost;
	counters.notices_forgotten = requests.forgotten;
	counters.requests_full = requests.full;
	counters.workers_silent = requests.silent;
	counters.verdicts = requests.answered;
	counters.verdicts_unasked = requests.unasked;
	counters.spool_bytes = spool_bytes(speaker->events.spool);
	counters.spool_corrupt = spool_corrupt(speaker->events.spool);
	counters.write_errors += keep_errors(speaker->keep);
	*ret_counters = counters;
}

void speaker_status_format(const speaker_t *speaker, char *text, size_t size_bytes)
{
	size_t up[3] = { 0 }, all[3] = { 0 };
	uint64_t waits = spool_next_seq(speaker->events.spool) - 1 -
	                 spool_acknowledged_seq(speaker->events.spool);

	for (size_t i = 0; i < speaker->link_count; i++) {
		const struct link *link = speaker->links[i];
		all[link->kind]++;
		up[link->kind] += link->state == BUS_LINK_UP;
	}
	(void)snprintf(text, size_bytes,
	               "controllers %zu of %zu up, workers %zu of %zu, recorders %zu of %zu; "
	               "%zu requests open, %llu events not acknowledged",
	               up[LINK_CONTROLLER], all[LINK_CONTROLLER], up[LINK_WORKER], all[LINK_WORKER],
	               up[LINK_RECORDER], all[LINK_RECORDER], requests_open(speaker->requests),
	               (unsigned long long)waits);
}
