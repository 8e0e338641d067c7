/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The query language: `verdict:denied dst.port:3306 -user:root`.
 *
 * Terms `field:value`; a space is AND; `OR`; `-` or `NOT`; parentheses; "quotes"; `*` and `?`
 * globs; lists `dst.port:80,443`; ranges `dst.port:1024-`; prefixes `ip:172.18.0.0/16`;
 * comparisons `latency_us>100`; a bare word is a part of a name, process or address. Text compares
 * without regard to ASCII case. Fields `name uuid ip group image kind container label.KEY` without
 * `src.` or `dst.` (or with `host.`) mean either end; `port` is the destination's. A field that a
 * record does not have matches nothing but `field:none`. doc/policy.md has it for people.
 *
 * Pure. Threads: a parsed query may be used by any number of threads.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"

#define POLICY_QUERY_MAX_BYTES     4096U
#define POLICY_QUERY_TERMS_MAX     256U
#define POLICY_QUERY_DEPTH_MAX     32U
#define POLICY_QUERY_MESSAGE_BYTES 192U

/** What a query can ask of a record. The accessor answers for each. */
enum policy_query_field {
	POLICY_QUERY_SRC_NAME,
	POLICY_QUERY_DST_NAME,
	POLICY_QUERY_SRC_UUID, /* text form */
	POLICY_QUERY_DST_UUID,
	POLICY_QUERY_SRC_IP, /* address; also the translated one as a further value */
	POLICY_QUERY_DST_IP,
	POLICY_QUERY_SRC_PORT, /* number; also the translated one */
	POLICY_QUERY_DST_PORT,
	POLICY_QUERY_SRC_GROUP,
	POLICY_QUERY_DST_GROUP,
	POLICY_QUERY_SRC_IMAGE,
	POLICY_QUERY_DST_IMAGE,
	POLICY_QUERY_SRC_KIND, /* "host", "container", "external" */
	POLICY_QUERY_DST_KIND,
	POLICY_QUERY_SRC_HOST, /* name of the host it runs on */
	POLICY_QUERY_DST_HOST,
	POLICY_QUERY_SRC_CONTAINER, /* full container ID; a hex prefix of 6 or more matches */
	POLICY_QUERY_DST_CONTAINER,
	POLICY_QUERY_SRC_LABEL, /* value of label `key` */
	POLICY_QUERY_DST_LABEL,
	POLICY_QUERY_USER,    /* name and uid as two values */
	POLICY_QUERY_PROCESS, /* path and name as two values */
	POLICY_QUERY_PID,
	POLICY_QUERY_SERVICE, /* "tcp/80" */
	POLICY_QUERY_PROTO,   /* "tcp", and the number as a further value */
	POLICY_QUERY_VERDICT, /* "allowed", "denied", "rejected", "would-deny" */
	POLICY_QUERY_RULE,    /* number */
	POLICY_QUERY_COMMENT, /* rule_comment */
	POLICY_QUERY_MODE,    /* "observe", "enforce" */
	POLICY_QUERY_CONNECTION,
	POLICY_QUERY_ID,
	POLICY_QUERY_SEQ,
	POLICY_QUERY_AGENT,      /* UUID text and host name as two values */
	POLICY_QUERY_DECIDED_BY, /* "worker", "lease", ... */
	POLICY_QUERY_UNKNOWN,    /* reason */
	POLICY_QUERY_REPORTER,   /* "initiator", "terminator", "boundary" */
	POLICY_QUERY_REVISION,
	POLICY_QUERY_LATENCY_US,
	POLICY_QUERY_IS, /* words: new quarantined stale external container host unknown staged */
	_POLICY_QUERY_FIELD_MAX,
};

enum policy_query_type { POLICY_QUERY_TEXT, POLICY_QUERY_NUMBER, POLICY_QUERY_ADDR };

/** One value of a field. */
struct policy_query_value {
	enum policy_query_type type;
	const char *text; /* TEXT: NUL-terminated, valid until the next call */
	uint64_t number;
	struct pr_addr addr;
};

/**
 * How a query reads a record.
 *
 * @param record  What policy_query_match() was given.
 * @param key     Label key for the LABEL fields, NULL otherwise.
 * @param index   0 for the first value; a field may have several (groups, user name and uid).
 * @return false if there is no such value (no more, or none at all); never an empty text.
 */
typedef bool (*policy_query_accessor_fn)(const void *record, enum policy_query_field field,
                                         const char *key, unsigned index,
                                         struct policy_query_value *ret_value);

struct policy_query_error {
	size_t position;                          /* byte, 1 is the first */
	char message[POLICY_QUERY_MESSAGE_BYTES]; /* `unknown field "prt", did you mean "port"?` */
};

typedef struct policy_query policy_query_t;

/**
 * Parse a query. An empty one matches everything.
 *
 * @param text       NUL-terminated, borrowed for the call.
 * @param error      Filled on PR_EINVAL. May be NULL.
 *
 * @retval PR_OK
 * @retval PR_EINVAL  See @p error.
 * @retval PR_ENOMEM
 */
int policy_query_parse(const char *text, struct policy_query_error *error,
                       policy_query_t **ret_query) _must_check_;

void policy_query_destroy(policy_query_t **query_p);

bool policy_query_match(const policy_query_t *query, policy_query_accessor_fn accessor,
                        const void *record);

/** Does the query name a field anywhere? So that a reader loads only what is asked. */
bool policy_query_uses(const policy_query_t *query, enum policy_query_field field);
