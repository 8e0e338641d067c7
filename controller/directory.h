/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The identity directory: which endpoint has an address, seen from where. Addresses are scoped: an
 * address of a container network means something only on its host, so two hosts may use the same
 * networks; global addresses mean the same everywhere. Endpoints are known by UUID, never by
 * address.
 *
 * An address names a destination. It never makes a source an enrolled endpoint: see flow.h.
 *
 * Threads: one at a time. Pure: no socket, no clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/defs.h"
#include "base/id.h"
#include "codec/codec.h"
#include "policy/policy.h"

#define DIRECTORY_ADDRESSES_MAX 4096 /* of one endpoint */
#define DIRECTORY_LABELS_MAX    1024
#define DIRECTORY_NEW_NS        (1 * PR_NS_PER_S)
#define DIRECTORY_COMING_NS     (10 * PR_NS_PER_S)

struct directory_address {
	struct pr_addr addr;
	uint8_t bits;           /* of the prefix, in the 16 byte form */
	bool global;            /* false: only on its host, in network */
	struct pr_uuid network; /* of a container network; zero when global */
};

struct directory_endpoint {
	struct policy_endpoint policy; /* id, kind, name, labels, host: what selectors see */
	struct pr_uuid agent;          /* who speaks for it */
	uint64_t namespace_inode; /* equal for endpoints of one host that share it; 0 unknown */
	bool stopped;             /* known, but has no addresses now */
	const struct directory_address *addresses;
	size_t address_count;
};

typedef struct directory directory_t;

/** Empty. NULL: out of memory. */
directory_t *directory_new(void);
void directory_destroy(directory_t **directory_p);

/** What is put from now on is put at this time; 0, as at first: it has been there for long. */
void directory_time_set(directory_t *directory, uint64_t now_ns);
/**
 * May this container have begun to talk a moment ago? One that has come, run again or got another
 * namespace within DIRECTORY_NEW_NS, or that has none yet (DIRECTORY_COMING_NS at most). A host:
 * has a container of it come, and so on, within DIRECTORY_NEW_NS?
 */
bool directory_is_new(const directory_t *directory, const struct pr_uuid *id, uint64_t now_ns);

/** Add or replace by id. Everything is copied. PR_ENOMEM: the old one stays. */
int directory_put(directory_t *directory, const struct directory_endpoint *endpoint) _must_check_;
/** Remove by id; not there is fine. */
void directory_remove(directory_t *directory, const struct pr_uuid *id);
void directory_clear(directory_t *directory);

size_t directory_count(const directory_t *directory);
/** NULL: not known. Valid until the next put, remove or clear of that id. */
const struct directory_endpoint *directory_find(const directory_t *directory,
                                                const struct pr_uuid *id);
/** All, in no order; false stops. */
void directory_each(const directory_t *directory,
                    bool (*visit)(void *arg, const struct directory_endpoint *endpoint), void *arg);

enum directory_match {
	DIRECTORY_NONE,      /* nobody that we know has this address */
	DIRECTORY_FOUND,     /* exactly one endpoint */
	DIRECTORY_AMBIGUOUS, /* several, none of which comes before the others */
};

/**
 * Whose is an address, seen by an endpoint? In this order: loopback and its own addresses: itself;
 * addresses in container networks of its host (where several have it, one in a network of its own;
 * then the host); global addresses (where several endpoints of one host have it, the host). A
 * reporter without addresses sees what those see whose network namespace it lives in.
 *
 * Whoever else lives in the found one's namespace has the address, too: directory_each_sharer().
 *
 * @param ret_endpoint  Only for DIRECTORY_FOUND.
 */
enum directory_match directory_lookup(const directory_t *directory,
                                      const struct directory_endpoint *reporter,
                                      const struct pr_addr *addr,
                                      const struct directory_endpoint **ret_endpoint);

/**
 * Who lives in the same network namespace of the same host as this endpoint, itself left out (a
 * host's host-network containers, the host of such a one, containers that joined another)? In no
 * order; false stops.
 */
void directory_each_sharer(const directory_t *directory, const struct directory_endpoint *endpoint,
                           bool (*visit)(void *arg, const struct directory_endpoint *sharer),
                           void *arg);

/** The endpoint itself, or, if it has no address of its own, who has one in its namespace. */
const struct directory_endpoint *directory_addressed(const directory_t *directory,
                                                     const struct directory_endpoint *endpoint);

/** Does an address belong to a container network of a host, by exact address or prefix? */
bool directory_is_local(const directory_t *directory, const struct pr_uuid *host,
                        const struct pr_addr *addr);

/**
 * Is an address a host's own, on the wire: of the host or one of its containers, and of nobody on
 * another host? One that two hosts claim is neither's.
 */
bool directory_is_own(const directory_t *directory, const struct pr_uuid *host,
                      const struct pr_addr *addr);

/** Fingerprint of all that policy selectors can see: equal means that groups are equal. */
uint64_t directory_policy_fingerprint(const directory_t *directory);

/**
 * Endpoints for policy_image_compile(), in no order.
 * @param ret_endpoints  malloc'd, the caller frees the array; strings are borrowed from the
 *                       directory.
 */
int directory_policy_endpoints(const directory_t *directory, struct policy_endpoint **ret_endpoints,
                               size_t *ret_count) _must_check_;

/* ---- documents ---- */

/**
 * Read "SCOPE ADDRESS/BITS MAC INTERFACE".
 * @retval PR_EINVAL  Any other form.
 */
int directory_address_parse(const char *text, struct directory_address *ret_address) _must_check_;

/**
 * Put an endpoint message into the directory.
 *
 * @param agent  Who sent it.
 *
 * @retval PR_EMALF  Not an endpoint message; kind, UUID, address or label malformed; too many.
 */
int directory_put_document(directory_t *directory, const struct pr_uuid *agent,
                           const codec_doc_t *document) _must_check_;

/** Check an endpoint message as directory_put_document() would. @p ret_reason is static. */
int directory_document_check(const codec_doc_t *document, const char **ret_reason) _must_check_;
