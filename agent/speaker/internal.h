/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The speaker's inside. Never included outside of agent/speaker/ and its tests. */

#include "agent/speaker/keep.h"
#include "agent/speaker/numbers.h"
#include "agent/speaker/requests.h"
#include "agent/speaker/signed.h"
#include "agent/speaker/spool.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/err.h"

/* ---- tunables ---- */

#define SPEAKER_STATE_GET_NS     (1 * PR_NS_PER_S) /* heartbeat */
#define SPEAKER_DIRECTORY_GET_NS (5 * PR_NS_PER_S)
#define SPEAKER_INVENTORY_ACK_NS (4 * PR_NS_PER_S)  /* unanswered: from HELLO again, */
#define SPEAKER_INVENTORY_MAX_NS (60 * PR_NS_PER_S) /* later and later */
#define SPEAKER_BORN_NS          (1 * PR_NS_PER_S) /* requests of a newborn endpoint wait so long */
#define SPEAKER_BORN_MAX         256               /* of them; others do not wait */
#define SPEAKER_EVENT_ACK_NS     (2 * PR_NS_PER_S) /* no progress: send again */
#define SPEAKER_LINK_TICK_NS     (50 * PR_NS_PER_MS)  /* while a link is not up */
#define SPEAKER_EVENT_HINT_NS    (200 * PR_NS_PER_MS) /* the same acknowledged again: likewise */
#define SPEAKER_EVENT_DELAY_NS   (10 * PR_NS_PER_MS)  /* few events wait for others to go with */
#define SPEAKER_EVENT_WINDOW     8192                 /* sent and not acknowledged */
#define SPEAKER_HIGH_WATER       8192                 /* frames each way of a link */
#define SPEAKER_RETRY_NS         (10 * PR_NS_PER_MS)  /* after a full queue */
#define SPEAKER_ROUNDS_MAX       8                    /* of receive and send in one turn */

/* ---- links ---- */

enum link_kind {
	LINK_CONTROLLER,
	LINK_WORKER,
	LINK_RECORDER,
};

#define LINKS_MAX (3 * SPEAKER_CONTROLLERS_MAX + 2 * SPEAKER_WORKERS_MAX + 2)

/** An endpoint list on its way to one peer. */
struct transfer {
	bool running;
	bool full;      /* everything, not only what changed */
	size_t index;   /* next entry to look at */
	uint64_t until; /* change number of the inventory when it began */
	uint64_t sent;  /* changes up to this one were sent */
};

/** What is going on with one controller. */
struct session {
	bool greeted; /* HELLO was sent on this link */
	struct transfer transfer;
	uint64_t inventory_id; /* of the INVENTORY_END that waits for its answer; 0: none */
	uint64_t inventory_due_ns;
	struct pr_backoff inventory_backoff;
	uint64_t ending;       /* changes that the waiting INVENTORY_END covers */
	uint64_t acknowledged; /* changes that are in the identity directory */
	uint64_t directory;    /* identity directory version of the last INVENTORY_ACK */
	uint64_t state_due_ns, directory_due_ns;
};

struct link {
	enum link_kind kind;
	struct speaker_service service;
	bus_client_t *client;
	int fd;
	enum bus_link state;
	uint64_t connection;   /* bus_client_connection() then */
	struct pr_addr source; /* from where it was connected */
	bool source_known;
	unsigned worker;          /* LINK_WORKER: its position in the directory */
	struct session session;   /* LINK_CONTROLLER */
	struct transfer transfer; /* LINK_RECORDER: names for its events */
	bool stays;               /* while the set is compared with a new directory */
};

/* ---- way (way.c) ---- */

/** A descriptor, in the epoll, that way_changed() reads; -1, said: none can be had. */
int way_open(int epoll_fd);
/** Has an address or route changed since the last call? */
bool way_changed(int fd);
/** The address that a connection to a service would be made from now. False: none. */
bool way_source(const char *endpoint, struct pr_addr *ret_source);

/* ---- inventory ---- */

struct entry {
	struct pr_uuid id;
	uint8_t *frame; /* encoded ENDPOINT; NULL: gone */
	size_t frame_bytes;
	bool removed; /* gone for good */
	uint64_t change;
	uint64_t born; /* the change that brought it */
};

struct inventory_cache {
	struct entry *entries;
	size_t count, room;
	uint64_t change; /* number of the last one */
	uint64_t born;   /* of the newest entry */
	bool complete;
};

int inventory_cache_put(struct inventory_cache *cache, const codec_doc_t *endpoint) _must_check_;
/** The change that brought an endpoint; 0: not here. */
uint64_t inventory_cache_born(const struct inventory_cache *cache, const struct pr_uuid *id);
void inventory_cache_gone(struct inventory_cache *cache, const struct pr_uuid *id, bool removed);
/** Forget entries that are gone and whose end everybody with @p sent or more has heard. */
void inventory_cache_compact(struct inventory_cache *cache, uint64_t sent);
void inventory_cache_done(struct inventory_cache *cache);

/* ---- events ---- */

struct events {
	spool_t *spool;
	struct codec_event pending[CODEC_BATCH_MAX]; /* of this turn */
	size_t pending_count;
	uint64_t reserved;  /* numbers up to this one are reserved on disk */
	uint64_t reserving; /* and up to this one when @ticket is written */
	uint64_t ticket;
	struct pr_uuid boot;
	uint64_t progress_ns; /* of the last acknowledgement that moved, or of sending to nothing */
	uint64_t unsent_ns;   /* since when events wait to be sent; 0: none does */
	bool eager;           /* send them without delay */
	uint8_t frame[CODEC_FRAME_MAX_BYTES];
	uint8_t out[CODEC_FRAME_MAX_BYTES]; /* frames of the spool, joined */
	size_t out_bytes;                   /* 0: none is ready */
	uint32_t out_count;
};

/* ---- all ---- */

struct speaker {
	bus_context_t *context;
	struct speaker_outlet outlet;
	const char *state_folder;
	struct pr_uuid id;
	struct bus_key key;
	uint8_t authority_key[BUS_KEY_BYTES];
	char version[32];
	char source[PR_ADDR_TEXT_BYTES]; /* empty: the kernel's choice */
	uint64_t epoch;
	uint64_t next_id; /* of control messages */
	struct speaker_service configured[SPEAKER_CONTROLLERS_MAX];
	size_t configured_count;
	struct services *services; /* the directory in force; number 0: none */
	struct link *links[LINKS_MAX];
	size_t link_count;
	int epoll_fd;
	int way_fd;   /* says that an address or route changed; -1: cannot be had */
	bool way_due; /* it is readable */
	keep_t *keep;
	requests_t *requests;
	struct events events;
	struct inventory_cache inventory;
	/* Requests of endpoints that no controller has put into the directory yet. */
	struct newborn {
		struct codec_request request;
		uint64_t born, since_ns;
	} newborns[SPEAKER_BORN_MAX];
	size_t newborn_count;
	struct speaker_state state; /* number 0: none */
	bool state_fresh;           /* not yet given out */
	bool services_fresh;
	bool links_stale; /* a controller came or went */
	bool reachable, reachable_told;
	bool more; /* the last turn left something */
	uint64_t now_ns;
	struct codec_verdict verdicts[CODEC_BATCH_MAX];
	struct speaker_counters counters;
};

/* links.c */
/** Bring the set of links in line with configuration and directory. */
int links_update(speaker_t *speaker) _must_check_;
void links_destroy(speaker_t *speaker);
/** Notice what came up or went down. */
/** Connect anew what would be connected from another address now. */
void links_reroute(speaker_t *speaker);
void links_check(speaker_t *speaker);
/** Tell the links whose descriptor is readable. */
void links_wake(speaker_t *speaker);
bool links_wake_asked(speaker_t *speaker);
/** Take what waits on every link; true: something did. */
bool links_receive(speaker_t *speaker);
/** Must there be another look before the descriptor can be trusted? */
bool links_due(const speaker_t *speaker);
struct link *links_recorder(speaker_t *speaker);
/** Encode and send a document; the document may be NULL (out of memory). */
int link_send_document(struct link *link, const codec_doc_t *document) _must_check_;

/* session.c */
void session_begin(speaker_t *speaker, struct link *link);
/** Send what is due to this controller. */
void session_turn(speaker_t *speaker, struct link *link);
/** When session_turn() is due. */
uint64_t session_timeout_ns(const struct link *link);
/** A document from a controller. */
void session_document(speaker_t *speaker, struct link *link, const uint8_t *frame,
                      size_t frame_bytes, const codec_doc_t *document);
/** Load what an earlier run kept. */
void session_load(speaker_t *speaker);
/**
 * Send endpoints.
 * @retval PR_OK      The list is complete.
 * @retval PR_EAGAIN  The link's queue is full: go on at the next turn.
 */
int transfer_run(speaker_t *speaker, struct link *link, struct transfer *transfer) _must_check_;
void transfer_begin(speaker_t *speaker, struct transfer *transfer, bool full);

/* events.c */
int events_open(speaker_t *speaker, uint64_t max_bytes) _must_check_;
void events_close(speaker_t *speaker);
void events_add(speaker_t *speaker, const struct codec_event *event);
/** Write what came this turn to the spool. */
void events_flush(speaker_t *speaker);
/** Send what the recorder has room for. */
void events_turn(speaker_t *speaker);
uint64_t events_timeout_ns(const speaker_t *speaker);
void events_link_up(speaker_t *speaker);
void events_acknowledged(speaker_t *speaker, uint64_t seq);
