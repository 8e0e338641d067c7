/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The speaker: the agent's side of the bus. It needs no capability.
 *
 * - Requests go to the worker that the flow key chooses; all of one turn go in one frame a worker.
 *   A worker that does not answer for 300 ms is passed over: the next one gets the same request
 *   under the same id, and later requests too until the silent one answers again. The first answer
 *   counts. Whoever asks sets the deadline and calls speaker_drop().
 * - Events are numbered, written to a spool on disk, sent to the recorder and kept until it says
 *   that they are on its disk. A full spool drops the newest and says how many.
 * - Inventory, heartbeat and signed state and directory go over the controllers' admin ports. State
 *   and directory are checked with the authority's key, must be newer than what is held, and are
 *   kept in the state folder with their signatures.
 *
 * Files in the state folder (root-only): `state` and `directory` (as received, signed), `numbers`
 * (event numbers reserved ahead), `events/` (the spool). What is written when:
 * agent/speaker/README.md.
 *
 * Threads: one, the main loop's, shared with the gate; beside it a thread of the speaker's own that
 * only writes and syncs small files, so that a slow disk does not hold a verdict.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/part.h"
#include "base/addr.h"
#include "base/defs.h"
#include "base/id.h"
#include "bus/bus.h"
#include "codec/codec.h"

#define SPEAKER_ENDPOINT_BYTES  128
#define SPEAKER_CONTROLLERS_MAX 16
#define SPEAKER_WORKERS_MAX     64

typedef struct speaker speaker_t;

/** A service of the bus. */
struct speaker_service {
	char endpoint[SPEAKER_ENDPOINT_BYTES]; /* tcp://ADDRESS:PORT; an address, not a name */
	uint8_t key[BUS_KEY_BYTES];
	struct pr_uuid id; /* zero: not known (configured) */
};

/** What holds for an endpoint. */
struct speaker_mode {
	struct pr_uuid endpoint;
	uint8_t mode; /* CODEC_MODE_OBSERVE or CODEC_MODE_ENFORCE */
	struct part_lost lost;
};

/** What holds for this agent's endpoints, as the authority signed it. */
struct speaker_state {
	uint64_t number;
	uint64_t revision;
	uint8_t default_mode; /* of endpoints that are not named */
	size_t mode_count;
	struct speaker_mode *modes;
	uint32_t lifeline_count;
	struct part_lifeline lifeline[PART_LIFELINE_MAX];
};

/** Where answers go. Called from speaker_turn() alone; none may call back into the speaker. */
struct speaker_outlet {
	void *context;
	void (*verdict)(void *context, const struct codec_verdict *verdict);
	/* A newer state holds; also once at the first turn if one was kept from before. */
	void (*state)(void *context, const struct speaker_state *state);
	/* The set of services changed: see speaker_lifeline(). */
	void (*services)(void *context);
	/* Is there a worker to ask? */
	void (*reachable)(void *context, bool reachable);
	/* Add "NAME VALUE" lines to CODEC_STATE_GET_COUNTERS. May be NULL. */
	void (*counters)(void *context, codec_doc_t *state_get);
};

struct speaker_options {
	const char *state_folder; /* exists, mode 0700; kept by reference */
	struct pr_uuid id;        /* of this agent (its host) */
	const struct bus_key *key;
	const uint8_t *authority_key; /* BUS_KEY_BYTES, Ed25519 */
	const struct speaker_service *controllers;
	size_t controller_count; /* at least one, or a directory from before */
	const char *version;     /* of the agent */
	const char *source;      /* address to connect from; NULL: the kernel's choice */
	uint64_t spool_max_bytes;
	uint32_t requests_max; /* open at once */
};

/* clang-format off */
/* X(name, unit, doc) */
#define SPEAKER_COUNTER_LIST(X)                                                                    \
	X(requests_sent,       "requests", "sent to a worker, repeats included")                   \
	X(requests_repeated,   "requests", "asked again of the next worker")                       \
	X(requests_probed,     "requests", "also sent to a silent worker, to see if it is back")    \
	X(notices_sent,        "notices", "near ends told: translated flows, and others when workers came or went") \
	X(notices_lost,        "notices", "not sent: too many at once, or the worker took none")    \
	X(notices_forgotten,   "notices", "younger than 5 s when their place was needed")          \
	X(requests_full,       "requests", "not taken: too many open")                             \
	X(workers_silent,      "times", "a worker became silent: an answer took over 300 ms")      \
	X(verdicts,            "verdicts", "answers to open requests")                             \
	X(verdicts_unasked,    "verdicts", "late, repeated or unknown answers, ignored")           \
	X(frames_malformed,    "frames", "from controllers, workers or recorder, ignored")         \
	X(events,              "events", "numbered and written to the spool")                      \
	X(events_sent,         "events", "sent to the recorder, repeats included")                 \
	X(events_acknowledged, "events", "on the recorder's disk")                                 \
	X(events_lost,         "events", "dropped: the spool was full or could not be written")    \
	X(events_repeated,     "times", "sending began again: no acknowledgement or a new link")   \
	X(spool_bytes,         "bytes", "in the spool now")                                        \
	X(spool_corrupt,       "times", "a part of the spool could not be read and was left out")  \
	X(state_refused,       "states", "unsigned, for another agent, older or malformed")        \
	X(directory_refused,   "directories", "unsigned, older or malformed")                      \
	X(errors_received,     "messages", "ERROR from a controller or recorder")                  \
	X(write_errors,        "times", "a file of the state folder could not be written")
/* clang-format on */

struct speaker_counters {
#define X(name, unit, doc) uint64_t name;
	SPEAKER_COUNTER_LIST(X)
#undef X
};

/**
 * Load what is kept and start to connect. Never waits for the network.
 *
 * @param options      Copied, but for state_folder.
 * @param ret_speaker  Untouched on failure. Caller destroys, before @p context.
 *
 * @retval PR_OK
 * @retval PR_EINVAL   An endpoint that is not tcp://ADDRESS:PORT; no controller at all.
 * @retval PR_EACCES   The state folder is missing or open to others.
 * @retval -errno      A file of it cannot be written.
 */
int speaker_new(bus_context_t *context, const struct speaker_options *options,
                const struct speaker_outlet *outlet, speaker_t **ret_speaker) _must_check_;
/** Writes what is still in memory to the spool and notes a clean end. */
void speaker_destroy(speaker_t **speaker_p);

/** Readable when a turn is due before its time (an epoll descriptor). */
int speaker_fd(const speaker_t *speaker);
/** When the next turn must run at the latest, pr_clock_monotonic_ns(); 0: at once. */
uint64_t speaker_timeout_ns(const speaker_t *speaker);
/**
 * Receive, give out answers, send what was asked since the last turn. Never blocks.
 * @param readable  speaker_fd() is; or it was not looked at. false saves a system call.
 */
void speaker_turn(speaker_t *speaker, uint64_t now_ns, bool readable);

/** Ask. Sent at the next turn; @p request's directory field is filled in. */
void speaker_request(speaker_t *speaker, const struct codec_request *request, uint64_t now_ns);
/** Tell the worker of the flow key on the wire; @p notice's directory field is filled in. */
void speaker_notice(speaker_t *speaker, const struct codec_notice *notice);
/** Send the notices now: a far end waits for them. Not from within a turn. */
void speaker_tell(speaker_t *speaker);
/** Stop asking. */
void speaker_drop(speaker_t *speaker, uint64_t request_id);
/** Record. Written and sent at the next turn; seq is filled in. */
void speaker_event(speaker_t *speaker, const struct codec_event *event);
/**
 * Events told so far are in the spool's file when this returns: an agent killed from then on does
 * not lose them. To be called before the kernel gets the verdicts that they are about.
 */
void speaker_flush(speaker_t *speaker);
/** The end is near: events no longer wait some milliseconds for others to share a frame with. */
void speaker_hurry(speaker_t *speaker);

/**
 * Add or replace an endpoint of this host by its UUID (an ENDPOINT document; borrowed). Sent to
 * every controller and to the recorder now and after each reconnect.
 */
int speaker_endpoint_put(speaker_t *speaker, const codec_doc_t *endpoint) _must_check_;
/** It stopped (@p removed: for good). */
void speaker_endpoint_gone(speaker_t *speaker, const struct pr_uuid *id, bool removed);
/** The list is complete: until this was called once, inventories are not sent as full ones. */
void speaker_inventory_complete(speaker_t *speaker);

/** What holds; NULL: nothing is known. Borrowed until the next turn. */
const struct speaker_state *speaker_state_held(const speaker_t *speaker);
/** Outbound lifelines to every service known now. Returns how many, at most @p capacity. */
size_t speaker_lifeline(const speaker_t *speaker, struct part_lifeline *lifeline, size_t capacity);

void speaker_counters(const speaker_t *speaker, struct speaker_counters *ret_counters);
/** One line for people: links that are up, what waits. */
void speaker_status_format(const speaker_t *speaker, char *text, size_t size_bytes);
