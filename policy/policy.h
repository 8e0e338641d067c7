/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Policy: text form and model (model.h), compiled image, evaluation.
 *
 *   text -> policy_text_parse() -> model
 *   model + endpoints -> policy_image_compile() -> image
 *   image + request + wall time -> policy_image_evaluate() -> verdict
 *
 * A model is immutable: an edit makes a new one. An image is immutable too and one allocation: a
 * worker makes a new one for each revision or change of the endpoints and swaps the pointer.
 * The grammar and the semantics, for people, are in doc/policy.md.
 *
 * Everything here is pure: no sockets, no files, no clock (wall time is an argument).
 * Threads: a model or an image may be read by any number of threads at once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/id.h"
#include "policy/model.h"

/* ---- image ---- */

typedef struct policy_image policy_image_t;

/**
 * Compile a model for the endpoints that are known now.
 *
 * @param endpoints  Borrowed for the call. A second one with the same id is ignored. Endpoints that
 *                   only the policy names (by UUID) are known to the image without being listed.
 * @param revision   Kept, and named in every verdict.
 * @param ret_image  Caller owns it. Does not refer to model or endpoints.
 *
 * @retval PR_OK
 * @retval PR_ETOOBIG  Over POLICY_IMAGE_MAX_BYTES or POLICY_ENDPOINTS_MAX.
 * @retval PR_ENOMEM
 */
int policy_image_compile(const policy_model_t *model, const struct policy_endpoint *endpoints,
                         size_t endpoint_count, uint64_t revision,
                         policy_image_t **ret_image) _must_check_;

void policy_image_destroy(policy_image_t **image_p);

uint64_t policy_image_revision(const policy_image_t *image);
size_t policy_image_size_bytes(const policy_image_t *image);

/** Mode of an endpoint; of one that is not known, or NULL: the default's. */
enum policy_mode policy_image_endpoint_mode(const policy_image_t *image,
                                            const struct pr_uuid *endpoint);
/** Lost-controller mode of an endpoint; of one that is not known, or NULL: the default's. */
struct policy_lost policy_image_endpoint_lost(const policy_image_t *image,
                                              const struct pr_uuid *endpoint);
/** Could an endpoint of this policy be in enforce (default or any group)? */
bool policy_image_enforces(const policy_image_t *image);

/** Name of the @p nth group (from 0, in order of the text) that an endpoint is in. NULL: no more.
 */
const char *policy_image_endpoint_group(const policy_image_t *image, const struct pr_uuid *endpoint,
                                        size_t nth);

/**
 * Members of a group.
 * @param ids  At most @p max are written; NULL only counts.
 * @return Number of all members, also if it is more than @p max.
 * @retval PR_ENOENT  No such group.
 */
long policy_image_group_members(const policy_image_t *image, const char *group, struct pr_uuid *ids,
                                size_t max);

/** What an event needs of a rule. */
struct policy_rule_info {
	uint32_t number; /* 0: a lifeline */
	enum policy_action action;
	enum policy_status status;
	uint64_t expires_wall_ns;
	const char *comment; /* NULL: none; valid as long as the image */
	const char *owner;   /* NULL: none */
};

/** @return false: no such rule in the image (disabled ones are not). */
bool policy_image_rule_find(const policy_image_t *image, uint32_t number,
                            struct policy_rule_info *ret_info);

/* ---- evaluation ---- */

/** What a rule can depend on. Bit (1 << field) in masks. */
enum policy_field {
	POLICY_FIELD_PROTO,
	POLICY_FIELD_PORT, /* destination port or ICMP type */
	POLICY_FIELD_DESTINATION,
	POLICY_FIELD_DESTINATION_ADDR,
	POLICY_FIELD_SOURCE,
	POLICY_FIELD_SOURCE_ADDR,
	POLICY_FIELD_USER,
	POLICY_FIELD_PROCESS,
	POLICY_FIELD_TO_USER,
	POLICY_FIELD_TO_PROCESS,
	_POLICY_FIELD_MAX,
};

/** "source", "to-process", ... */
const char *policy_field_name(enum policy_field field);

/**
 * What the asker knows of a field. Unknown matches no rule that names the field, allow or deny.
 * Pending: the other end will know it and decide.
 */
enum policy_known { POLICY_UNKNOWN, POLICY_KNOWN, POLICY_PENDING };

/** Which end asks. BOTH: one agent speaks for both, and decides both. */
enum policy_end { POLICY_END_NEAR, POLICY_END_FAR, POLICY_END_BOTH };

/** All zero: everything is unknown. The protocol is always taken as known. */
struct policy_request {
	enum policy_end asker;
	uint8_t known[_POLICY_FIELD_MAX]; /* enum policy_known by enum policy_field */
	uint8_t proto;
	uint16_t port;                      /* destination port or ICMP type */
	struct pr_uuid source, destination; /* all zero is taken as unknown */
	struct pr_addr source_addr, destination_addr;
	struct policy_user user, to_user;
	const char *process, *to_process; /* path of the executable; NULL is taken as unknown */
};

/**
 * Mark as pending what a near end cannot know: to-user and to-process (if unknown) when the
 * destination is an endpoint in enforce. Leaves other askers' requests alone.
 */
void policy_request_mark_pending(const policy_image_t *image, struct policy_request *request);

struct policy_verdict {
	/** What the asking end does: policy_action, but allow where its mode is observe. */
	enum policy_action action;
	/** What rules and default say, whatever the mode. */
	enum policy_action policy_action;
	/** Mode that applied: source's (near), destination's (far), the stricter one (both). */
	enum policy_mode mode;
	bool provisional; /* allowed for now: the far end decides and names the rule */
	bool several;     /* denied, but pending fields leave open by which of several rules */
	bool would_deny;  /* action is allow; in enforce, or without `staged`, it would not be */
	bool lifeline;    /* a lifeline matched: rule is 0, action allow whatever the mode */
	uint32_t rule;    /* that decides (several: the last); 0: default, lifeline, provisional */
	uint32_t staged_rule; /* number of the first staged rule that would have decided; 0: none */
	enum policy_action staged_action;
	/**
	 * Fields the decision depended on, bit (1 << field): any request that agrees in them (same
	 * asker, same knowledge) gets this verdict under this revision. For leases.
	 */
	uint32_t depends;
	/** The verdict holds until then at most (a rule expires); 0: no end. */
	uint64_t valid_until_wall_ns;
	uint64_t revision;
};

/**
 * Decide one request. Never fails, never allocates.
 *
 * @param now_wall_ns  For `expires`.
 *
 * Threads: any, on one image at once.
 * Source:  bit vectors per field over rule order (Lakshman and Stiliadis, SIGCOMM 1998).
 */
void policy_image_evaluate(const policy_image_t *image, const struct policy_request *request,
                           uint64_t now_wall_ns, struct policy_verdict *ret_verdict);

/* ---- cache of verdicts ---- */

#define POLICY_CACHE_MIN_BYTES     (64U * 1024)
#define POLICY_CACHE_MAX_BYTES     (256U * 1024 * 1024)
#define POLICY_CACHE_DEFAULT_BYTES (8U * 1024 * 1024)

/**
 * Verdicts that were given, in front of policy_image_evaluate(). Exact: it keys them on all that
 * they depend on, and keeps none that depends on more (a path compared with a pattern). It is not
 * asked where some field leaves so few rules that to look at them takes no longer.
 *
 * It holds verdicts of one image, and empties itself when it is handed another one. Memory is taken
 * once, by policy_cache_new(), and touched as it fills: 32 bytes a verdict where rules name no more
 * than service, source and destination, else 64.
 *
 * Threads: one at a time; one cache for each.
 */
typedef struct policy_cache policy_cache_t;

/* clang-format off */
/* X(name, doc) */
#define POLICY_CACHE_COUNTER_LIST(X)                                                           \
	X(few,     "verdicts on a few rules, for which the cache was not asked")               \
	X(hits,    "verdicts that were found in the cache")                                    \
	X(misses,  "verdicts that were not in the cache")                                      \
	X(unkept,  "of these, verdicts that could not be kept: a path met a pattern")          \
	X(evicted, "verdicts that made room for others")                                       \
	X(emptied, "times that it was emptied for another image")
/* clang-format on */

struct policy_cache_counters {
#define X(name, doc) uint64_t name;
	POLICY_CACHE_COUNTER_LIST(X)
#undef X
};

/**
 * @param max_bytes  Brought within the limits above and down to a power of two.
 * @return NULL: out of memory. Caller owns it.
 */
policy_cache_t *policy_cache_new(size_t max_bytes);
void policy_cache_destroy(policy_cache_t **cache_p);
/** Valid as long as the cache. */
const struct policy_cache_counters *policy_cache_counters(const policy_cache_t *cache);

/**
 * policy_image_evaluate() through a cache: the same verdict, sooner if it was given before. Never
 * fails, never allocates.
 *
 * @param cache  NULL: without one.
 */
void policy_image_evaluate_cached(const policy_image_t *image, policy_cache_t *cache,
                                  const struct policy_request *request, uint64_t now_wall_ns,
                                  struct policy_verdict *ret_verdict);

/** Why one rule did or did not match. */
struct policy_explanation {
	struct policy_rule_info rule;
	uint32_t mismatch; /* fields that do not match, bit (1 << field); 0: it matches */
	uint32_t pending;  /* fields that another end must tell */
	bool expired;
	bool decides; /* the first live rule that matches; the walk ends after it */
};

/**
 * Walk the rules of an image in order, up to and with the deciding one.
 * @param visit  Called for each; false stops the walk.
 */
void policy_image_explain(const policy_image_t *image, const struct policy_request *request,
                          uint64_t now_wall_ns,
                          bool (*visit)(void *arg, const struct policy_explanation *explanation),
                          void *arg);

/**
 * Of a request with pending fields, whose verdict is provisional: do all rules that may match
 * allow, up to and with one that surely matches? Then it is allowed whatever is pending.
 */
bool policy_image_allows_anyway(const policy_image_t *image, const struct policy_request *request,
                                uint64_t now_wall_ns);
