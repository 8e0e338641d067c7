/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of the keeper's watch share; watch.h documents the whole. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/watch.h"

#define WATCH_ENDPOINT_MAX (4 * PART_NAMESPACE_MAX)
#define WATCH_NO_SLOT      UINT32_MAX

/** A network namespace, whoever lives in it. */
struct watch_slot {
	keeper_t *keeper; /* NULL: free */
	struct keeper_identity identity;
	bool host;
	bool log_bound, queue_bound; /* descriptors given to the gate */
	unsigned int renew_looks;    /* looks until enforce is renewed; 0: it was */
};

/** Who lives in one. */
struct watch_endpoint {
	struct pr_uuid id; /* null: free */
	uint32_t slot;
	uint8_t mode;
	bool guest;
};

struct watch {
	struct keeper_config config; /* lifeline: of the host's namespace */
	const struct keeper_ops *ops;
	watch_report_fn report;
	void *report_arg;
	struct watch_slot slots[PART_NAMESPACE_MAX];
	struct watch_endpoint endpoints[WATCH_ENDPOINT_MAX];
};

/* ------------------------------------------------------------------------------ watch_book.c */

/** A report without a namespace and without descriptors; @p endpoint may be NULL. */
struct part_report watch_report_of(enum part_report_kind kind, const struct pr_uuid *endpoint);
/** Tell that something failed; an empty @p text stands for what @p error means. */
void watch_report_failed(watch_t *watch, const struct pr_uuid *endpoint, uint32_t slot, int error,
                         const char *text);
/** What an endpoint's namespace is, into a report; in observe nobody's mode bites. */
void watch_report_fill(const watch_t *watch, const struct watch_endpoint *endpoint,
                       struct part_report *report);

/** NULL: not there. The null UUID finds a free place. */
struct watch_endpoint *watch_endpoint_find(watch_t *watch, const struct pr_uuid *id);
/** WATCH_NO_SLOT: not there. */
uint32_t watch_slot_find(const watch_t *watch, const struct keeper_identity *identity);
/** WATCH_NO_SLOT: all are taken. */
uint32_t watch_slot_free(const watch_t *watch);

/** The strictest mode of the endpoints that share a namespace; observe when there are none. */
uint8_t watch_slot_mode(const watch_t *watch, uint32_t slot);
/** The mode that its rules have now. */
uint8_t watch_slot_mode_in_force(const watch_t *watch, uint32_t slot);

/* ------------------------------------------------------------------------------ watch_slot.c */

/** Enter the namespace of an order; @p ret_new false: it has a slot already. */
int watch_slot_open(watch_t *watch, const struct part_order *order, uint32_t *ret_slot,
                    bool *ret_new, struct keeper_error *error) _must_check_;
/** Sockets that a namespace has from the start. */
int watch_slot_equip(watch_t *watch, uint32_t index, struct part_descriptors *descriptors,
                     struct keeper_error *error) _must_check_;
/**
 * Bring a namespace to a mode. New descriptors go into @p report; after a failure none is left
 * there and what was bound for it is free again.
 */
int watch_slot_mode_set(watch_t *watch, uint32_t index, uint8_t mode, struct part_report *report,
                        struct keeper_error *error) _must_check_;
/** Bring an endpoint's namespace to the mode that it has to have, and say so. */
void watch_mode_bring(watch_t *watch, const struct watch_endpoint *endpoint);
void watch_descriptors_close(struct part_descriptors *descriptors);
