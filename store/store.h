/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What must outlive a process, in one LMDB environment: policy, identity directory, enrolled keys,
 * small named values. The event history has a handle of its own: store/history.h.
 *
 * Every write function is one transaction: it is on disk (fsync) when it returns PR_OK, and has
 * changed nothing when it returns anything else. One process writes; any number of others read
 * while it does, each with a handle of its own that it opened after its fork. A reader sees the
 * state at one instant and never waits for the writer.
 *
 * Limits: a name at most STORE_NAME_MAX_BYTES, a value as large as the map allows.
 *
 * Errors that any function may return beside those named: PR_ENOMEM, PR_EIO, PR_ECORRUPT (a stored
 * value does not check), PR_ENOSPC (map or disk is full; nothing was changed, try again later),
 * PR_EPERM (a write on a handle opened read-only), PR_EINVAL.
 *
 * Threads: a handle may be used by any threads; writes wait for each other. Never use a handle that
 * was opened before a fork, not even to destroy it, and open a directory once a process (LMDB).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/id.h"

#define STORE_NAME_MAX_BYTES 255
#define STORE_KEY_BYTES      32
#define STORE_TOMBSTONES_MAX 10000
#define STORE_MAP_MIN_BYTES  (1ULL << 20)
#define STORE_SCHEMA         1

typedef struct store store_t;

struct store_options {
	const char *path;   /* directory; a writer creates it 0700 (its parent must exist) */
	uint64_t map_bytes; /* upper bound of the data; 0: 1 GiB, or, read-only, as it is */
	bool read_only;
};

/**
 * Open the environment; a writer creates what is absent (directory 0700, files 0600).
 *
 * @param ret_store  Caller owns it.
 *
 * @retval PR_ENOENT    Read-only, and there is none yet; or the parent directory is absent.
 * @retval PR_EVERS     Written by a newer version of this program: STORE_SCHEMA is lower.
 * @retval PR_ECORRUPT  Not a store.
 * @retval PR_EACCES    The directory is open to others, or not ours.
 */
int store_open(const struct store_options *options, store_t **ret_store) _must_check_;

/** Close and free. NULL and half-built handles are fine. */
void store_destroy(store_t **store_p);

/**
 * Free what readers that were killed still hold. Done when the store is opened and when it is full;
 * a writer calls it once a minute, too. Returns how many were freed, or a negative error.
 */
int store_readers_check(store_t *store);

struct store_stats {
	uint64_t map_bytes;  /* upper bound */
	uint64_t used_bytes; /* of it, at the highest; the file's size. Freed pages are reused */
	unsigned readers, readers_max;
};
int store_stats(store_t *store, struct store_stats *ret_stats) _must_check_;

/** What a reader polls to see what has changed: one short transaction, about a microsecond. */
struct store_versions {
	uint64_t policy_revision;   /* store_policy_head() */
	uint64_t directory_version; /* of the last change of an endpoint */
	uint64_t peers_counter;     /* rises with every change of a peer but `seen` */
};
int store_versions(store_t *store, struct store_versions *ret_versions) _must_check_;

/* ---- policy ---- */

struct store_revision {
	uint64_t revision;     /* from 1; given by the store at commit */
	uint64_t time_wall_ns; /* when */
	char *author;          /* name of the key that committed */
	char *message;         /* why */
	char *text;            /* NUL-terminated; NULL in a list */
	size_t text_bytes;     /* without the NUL; also filled in a list */
};

/** Free the strings of what store_policy_get() gave. */
void store_revision_done(struct store_revision *revision);

/** Number of the last revision; 0: none yet. */
int store_policy_head(store_t *store, uint64_t *ret_revision) _must_check_;

/**
 * A revision.
 * @param revision  0: the last one.
 * @retval PR_ENOENT
 * Owns: strings of @p ret_revision; store_revision_done().
 */
int store_policy_get(store_t *store, uint64_t revision,
                     struct store_revision *ret_revision) _must_check_;

/**
 * Revisions without their texts, newest first.
 * @param limit  0: all.
 * @param visit  Strings are borrowed for the call; false stops. May not write to the store.
 */
int store_policy_list(store_t *store, size_t limit,
                      bool (*visit)(void *arg, const struct store_revision *revision),
                      void *arg) _must_check_;

/**
 * Make the next revision. The number in @p revision is not looked at.
 *
 * @param base      The revision that the caller's text was made from.
 * @param draft_of  Author whose draft this ends, in the same transaction; NULL: none.
 *
 * @retval PR_ECONFLICT  The last revision is another than @p base.
 */
int store_policy_commit(store_t *store, uint64_t base, const struct store_revision *revision,
                        const struct pr_uuid *draft_of, uint64_t *ret_revision) _must_check_;

/**
 * Keep a copy of a revision of an authority elsewhere, under its own number. The same one again
 * is fine.
 * @retval PR_ECONFLICT  Another text is stored under that number.
 */
int store_policy_cache(store_t *store, const struct store_revision *revision) _must_check_;

struct store_draft {
	uint64_t base;         /* revision that it was made from; 0: none */
	uint64_t time_wall_ns; /* last change */
	char *text;            /* NUL-terminated */
	size_t text_bytes;
};

void store_draft_done(struct store_draft *draft);

/** Drafts: one an author (the UUID of the key). PR_ENOENT: none. store_draft_done() it. */
int store_draft_get(store_t *store, const struct pr_uuid *author,
                    struct store_draft *ret_draft) _must_check_;
int store_draft_put(store_t *store, const struct pr_uuid *author,
                    const struct store_draft *draft) _must_check_;
/** PR_OK also when there was none. */
int store_draft_delete(store_t *store, const struct pr_uuid *author) _must_check_;

/* ---- identity directory ---- */

/** An endpoint as its agent told it: an encoded document, not looked into here. */
struct store_endpoint {
	struct pr_uuid id;
	struct pr_uuid agent;     /* who speaks for it */
	uint64_t version;         /* of its last change; set by the store */
	uint64_t changed_wall_ns; /* when that was; set by the caller's time_wall_ns */
	const uint8_t *data;      /* NULL: gone (a tombstone) */
	size_t size_bytes;
};

/** What a change of the directory did. */
struct store_change {
	uint64_t version; /* of the directory, after it */
	size_t changed;   /* endpoints new or different; the same bytes again change nothing */
	size_t removed;
	size_t refused; /* left out: another agent speaks for that endpoint */
};

/**
 * Put endpoints of one agent; each that differs gets the next directory version.
 * @param endpoints  Only id, data and size_bytes are read. An endpoint that another agent speaks
 *                   for is left out and counted in refused.
 */
int store_endpoint_put(store_t *store, const struct pr_uuid *agent,
                       const struct store_endpoint *endpoints, size_t count, uint64_t time_wall_ns,
                       struct store_change *ret_change) _must_check_;

/**
 * As store_endpoint_put(), and the agent's endpoints that are not named become tombstones: a full
 * inventory. With a count of 0 everything of the agent goes, as when it is revoked.
 */
int store_endpoint_replace(store_t *store, const struct pr_uuid *agent,
                           const struct store_endpoint *endpoints, size_t count,
                           uint64_t time_wall_ns, struct store_change *ret_change) _must_check_;

/** Make one endpoint of an agent a tombstone. Not there, or not its own: removed stays 0. */
int store_endpoint_remove(store_t *store, const struct pr_uuid *agent, const struct pr_uuid *id,
                          uint64_t time_wall_ns, struct store_change *ret_change) _must_check_;

/** PR_ENOENT: not known, or gone. @p ret_data is malloc'd. */
int store_endpoint_get(store_t *store, const struct pr_uuid *id, struct pr_uuid *ret_agent,
                       uint8_t **ret_data, size_t *ret_bytes) _must_check_;

/**
 * Endpoints that changed after a version, in the order of their changes; each once, as it is now.
 *
 * @param since        0: all that are there, without tombstones.
 * @param visit        data is borrowed for the call; false stops (and then @p ret_version is that
 *                     of the last one visited). May not write to the store.
 * @param ret_version  To be given as @p since the next time.
 *
 * @retval PR_EOLD  Tombstones since then have been thrown away (over STORE_TOMBSTONES_MAX): forget
 *                  everything and start at 0.
 */
int store_endpoint_changes(store_t *store, uint64_t since,
                           bool (*visit)(void *arg, const struct store_endpoint *endpoint),
                           void *arg, uint64_t *ret_version) _must_check_;

/* ---- enrolled keys ---- */

enum store_peer_status {
	STORE_PEER_PENDING,
	STORE_PEER_APPROVED,
	STORE_PEER_REVOKED,
};

#define STORE_ROLE_BYTES 16

struct store_peer {
	struct pr_uuid id;
	uint8_t public_key[STORE_KEY_BYTES];
	char role[STORE_ROLE_BYTES];   /* bus_role_name() */
	char grants[STORE_ROLE_BYTES]; /* of a token (role enrolling): role to be given */
	bool grants_approved;          /* of a token: no approval needed */
	char name[64];                 /* for people */
	enum store_peer_status status; /* a token is approved */
	uint64_t created_wall_ns;      /* enrolled */
	uint64_t expires_wall_ns;      /* of a token; 0: never */
	uint64_t seen_wall_ns;         /* last heard; 0: never */
	char address[64];              /* from where */
	char version[32];              /* of its program */
};

/**
 * Add or replace by id.
 * @retval PR_EEXIST  Another peer has this public key.
 */
int store_peer_put(store_t *store, const struct store_peer *peer) _must_check_;
/** Many in one write: all of them or, at the first error, none. */
int store_peers_put(store_t *store, const struct store_peer *peers, size_t count) _must_check_;
/** PR_ENOENT: not there. */
int store_peer_get(store_t *store, const struct pr_uuid *id,
                   struct store_peer *ret_peer) _must_check_;
int store_peer_find(store_t *store, const uint8_t public_key[static STORE_KEY_BYTES],
                    struct store_peer *ret_peer) _must_check_;
/** PR_ENOENT: not there. */
int store_peer_delete(store_t *store, const struct pr_uuid *id) _must_check_;

/** All, in order of id. False stops. May not write to the store. */
int store_peer_list(store_t *store, bool (*visit)(void *arg, const struct store_peer *peer),
                    void *arg) _must_check_;

/**
 * A token is used: it goes and @p peer comes, in one transaction.
 * @retval PR_ENOENT  No such token: used before, or revoked.
 * @retval PR_EEXIST  The peer's id or public key is taken.
 */
int store_peer_enroll(store_t *store, const struct pr_uuid *token,
                      const struct store_peer *peer) _must_check_;

/** Delete tokens that expired before then, and count them. */
int store_peer_expire(store_t *store, uint64_t now_wall_ns, size_t *ret_count) _must_check_;

struct store_seen {
	struct pr_uuid id;
	uint64_t seen_wall_ns;
	char address[64];
	char version[32]; /* empty: as it was */
};

/** Note who was heard, many at once; unknown ids are skipped. Does not raise the counter. */
int store_peer_seen(store_t *store, const struct store_seen *seen, size_t count) _must_check_;

/* ---- small named values ---- */

/** Names are text, by custom "component.what" or "component.what.UUID". */
int store_value_put(store_t *store, const char *name, const void *data,
                    size_t size_bytes) _must_check_;
/** PR_ENOENT: none. @p ret_data is malloc'd, and NUL-terminated beyond its size. */
int store_value_get(store_t *store, const char *name, uint8_t **ret_data,
                    size_t *ret_bytes) _must_check_;
/** PR_OK also when there was none. */
int store_value_delete(store_t *store, const char *name) _must_check_;
/** Values whose name begins with @p prefix, in order of name; borrowed; false stops. */
int store_value_list(store_t *store, const char *prefix,
                     bool (*visit)(void *arg, const char *name, const uint8_t *data,
                                   size_t size_bytes),
                     void *arg) _must_check_;
/** Raise a number by one and return it: 1 the first time. For directory and state numbers. */
int store_number_next(store_t *store, const char *name, uint64_t *ret_number) _must_check_;
/** Its last value; 0: none yet. */
int store_number_get(store_t *store, const char *name, uint64_t *ret_number) _must_check_;

/* ---- audit: who changed what ---- */

struct store_audit {
	uint64_t number; /* from 1, no holes; set by the store */
	uint64_t time_wall_ns;
	struct pr_uuid key; /* null: the controller by itself */
	const char *name;   /* of the key then */
	const char *action, *target, *reason, *undo;
};

/** Append an entry; texts that are NULL are "". Entries are never changed or deleted. */
int store_audit_add(store_t *store, const struct store_audit *entry) _must_check_;
/** Newest first; texts are borrowed for the call; false stops. @param limit  0: all. */
int store_audit_list(store_t *store, size_t limit,
                     bool (*visit)(void *arg, const struct store_audit *entry),
                     void *arg) _must_check_;
