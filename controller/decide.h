/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The heart of a worker: request in, verdict out. Pure but for the flow table, which it reads and
 * fills. Whatever is not as it must be is a deny that is counted.
 *
 * Threads: one at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "codec/codec.h"
#include "controller/directory.h"
#include "controller/flow.h"
#include "controller/quarantine.h"
#include "policy/policy.h"

/* clang-format off */
/* X(name, doc) */
#define DECIDE_COUNTER_LIST(X)                                                                 \
	X(requests,          "requests decided")                                               \
	X(allowed,           "verdicts: allow")                                                \
	X(denied,            "verdicts: deny or reject")                                       \
	X(quarantined,       "verdicts: deny, one end is in quarantine")                       \
	X(provisional,       "verdicts left to the far end")                                   \
	X(waited,            "far ends that waited for their near end")                        \
	X(flow_found,        "far ends whose near end was known")                              \
	X(several_destinations, "near ends to an address that several endpoints have")         \
	X(no_notice,         "far ends of an enrolled source whose near end said nothing in time") \
	X(newborn,           "the same, of a new container: to be asked again")                  \
	X(ambiguous,         "far ends that fit several near ends")                            \
	X(foreign_reporter,  "requests for an endpoint of another agent: denied")              \
	X(unknown_reporter,  "requests for an endpoint that is not in the directory: denied")  \
	X(foreign_source,    "near ends whose wire source belongs to another host: not noted") \
	X(notices,           "near ends told by notice")                                       \
	X(notices_foreign_reporter, "notices for an endpoint that is not the agent's: refused") \
	X(notices_foreign_source, "notices of a wire source that is not the host's own: refused") \
	X(no_policy,         "requests before a policy was loaded: denied")
/* clang-format on */

struct decide_counters {
#define X(name, doc) uint64_t name;
	DECIDE_COUNTER_LIST(X)
#undef X
};

struct decide_context {
	const directory_t *directory;
	flow_table_t *flows;
	const policy_image_t *image;             /* NULL: none yet, everything is denied */
	policy_cache_t *cache;                   /* of this worker; NULL: without */
	const struct quarantine_set *quarantine; /* NULL: nobody */
	struct decide_counters *counters;
	uint64_t now_ns;      /* monotonic */
	uint64_t now_wall_ns; /* for rules that expire */
};

enum decide_result {
	DECIDE_DONE,
	DECIDE_WAIT, /* keep it until its near end comes, FLOW_WAIT_NS at most, then ask again */
};

/**
 * Decide one request.
 *
 * @param agent        Whose key asks; must speak for the request's reporter.
 * @param may_wait     False: it has waited long enough.
 * @param ret_verdict  Filled for DECIDE_DONE.
 */
enum decide_result decide_request(const struct decide_context *context,
                                  const struct codec_request *request, const struct pr_uuid *agent,
                                  bool may_wait, struct codec_verdict *ret_verdict);

/**
 * Note a near end that a notice tells of. Only the agent of the reporter may, and only for an
 * address of the reporter's own host; anything else is counted.
 *
 * @return false: refused.
 */
bool decide_notice(const struct decide_context *context, const struct codec_notice *notice,
                   const struct pr_uuid *agent);

/** The flow key of a request. */
struct flow_key decide_flow_key(const struct codec_request *request);
/** The flow key of a notice. */
struct flow_key decide_notice_key(const struct codec_notice *notice);
