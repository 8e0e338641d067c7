/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/watch.h"
#include "base/err.h"
#include "base/process.h"

#define ENDPOINT_MAX (4 * PART_NAMESPACE_MAX)
#define HOST_PLACE   "/proc/thread-self/ns/net"
#define NO_SLOT      UINT32_MAX

struct slot {
	keeper_t *keeper; /* NULL: free */
	struct keeper_identity identity;
	bool host;
	bool log_bound, queue_bound; /* descriptors given to the gate */
	unsigned int renew_looks;    /* looks until enforce is renewed; 0: it was */
};

struct endpoint {
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
	struct slot slots[PART_NAMESPACE_MAX];
	struct endpoint endpoints[ENDPOINT_MAX];
};

int watch_new(const struct keeper_config *config, const struct keeper_ops *ops,
              watch_report_fn report, void *arg, watch_t **ret_watch)
{
	watch_t *watch = calloc(1, sizeof(*watch));
	if (watch == NULL) {
		return PR_ENOMEM;
	}
	watch->config = *config;
	watch->config.lifeline_count = 0;
	watch->ops = ops;
	watch->report = report;
	watch->report_arg = arg;
	*ret_watch = watch;
	return PR_OK;
}

void watch_destroy(watch_t **watch_p)
{
	watch_t *watch = *watch_p;
	if (watch == NULL) {
		return;
	}
	for (size_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		watch->ops->destroy(&watch->slots[i].keeper);
	}
	free(watch);
	*watch_p = NULL;
}

/* ---- reports ---- */

static struct part_report report_of(enum part_report_kind kind, const struct pr_uuid *endpoint)
{
	struct part_report report = {
		.kind = kind,
		.slot = NO_SLOT,
		.descriptors = { .queue = -1, .log = -1, .diag = -1, .conntrack = -1 },
	};
	if (endpoint != NULL) {
		report.endpoint = *endpoint;
	}
	return report;
}

static void report_failed(watch_t *watch, const struct pr_uuid *endpoint, uint32_t slot, int error,
                          const char *text)
{
	struct part_report report = report_of(PART_REPORT_FAILED, endpoint);
	report.slot = slot;
	report.error = error;
	(void)snprintf(report.text, sizeof(report.text), "%s",
	               text[0] != '\0' ? text : pr_strerror(error));
	watch->report(watch->report_arg, &report);
}

/* ---- the book ---- */

static struct endpoint *endpoint_find(watch_t *watch, const struct pr_uuid *id)
{
	for (size_t i = 0; i < ENDPOINT_MAX; i++) {
		if (pr_uuid_equal(&watch->endpoints[i].id, id)) {
			return &watch->endpoints[i];
		}
	}
	return NULL;
}

static uint32_t slot_find(const watch_t *watch, const struct keeper_identity *identity)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		const struct slot *slot = &watch->slots[i];
		if (slot->keeper != NULL && slot->identity.device == identity->device &&
		    slot->identity.inode == identity->inode) {
			return i;
		}
	}
	return NO_SLOT;
}

static uint32_t slot_free(const watch_t *watch)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		if (watch->slots[i].keeper == NULL) {
			return i;
		}
	}
	return NO_SLOT;
}

/* The strictest mode of the endpoints that share a namespace; observe when there are none. */
static uint8_t slot_mode(const watch_t *watch, uint32_t slot)
{
	for (size_t i = 0; i < ENDPOINT_MAX; i++) {
		const struct endpoint *endpoint = &watch->endpoints[i];
		if (!pr_uuid_is_null(&endpoint->id) && endpoint->slot == slot &&
		    endpoint->mode == CODEC_MODE_ENFORCE) {
			return CODEC_MODE_ENFORCE;
		}
	}
	return CODEC_MODE_OBSERVE;
}

static uint8_t mode_in_force(const watch_t *watch, uint32_t slot)
{
	enum keeper_state state = watch->ops->state(watch->slots[slot].keeper);
	return state == KEEPER_ENFORCE ? CODEC_MODE_ENFORCE : CODEC_MODE_OBSERVE;
}

/* What a namespace's slot is, to be reported for an endpoint of it; in observe nobody's mode bites.
 */
static void report_fill(const watch_t *watch, const struct endpoint *endpoint,
                        struct part_report *report)
{
	uint32_t slot = endpoint->slot;

	report->slot = slot;
	report->inode = watch->slots[slot].identity.inode;
	report->is_host = watch->slots[slot].host;
	report->guest = endpoint->guest;
	report->mode = mode_in_force(watch, slot) == CODEC_MODE_ENFORCE ? endpoint->mode
	                                                                : CODEC_MODE_OBSERVE;
}

/* ---- state of one namespace ---- */

struct passed {
	watch_t *watch;
	const struct pr_uuid *endpoint;
	uint32_t slot;
};

static void flow_passed(const struct keeper_flow *flow, void *arg)
{
	const struct passed *passed = arg;
	struct part_report report = report_of(PART_REPORT_PASSED, passed->endpoint);
	report.slot = passed->slot;
	report.inode = passed->watch->slots[passed->slot].identity.inode;
	report.is_host = passed->watch->slots[passed->slot].host;
	report.mode = CODEC_MODE_ENFORCE;
	report.flow = (struct part_flow){
		.proto = flow->protocol,
		.outbound = flow->outbound,
		.src = flow->source,
		.dst = flow->destination,
		.src_port = flow->source_port,
		.dst_port = flow->destination_port,
	};
	passed->watch->report(passed->watch->report_arg, &report);
}

static int sockets_bind(watch_t *watch, uint32_t index, uint8_t mode,
                        struct part_descriptors *descriptors, struct keeper_error *error)
{
	struct slot *slot = &watch->slots[index];
	int ret = PR_OK;

	if (mode == CODEC_MODE_ENFORCE && !slot->queue_bound) {
		ret = watch->ops->socket_open(slot->keeper, KEEPER_SOCKET_QUEUE, 0,
		                              &descriptors->queue, error);
		slot->queue_bound = ret == PR_OK;
	} else if (mode == CODEC_MODE_OBSERVE && !slot->log_bound) {
		ret = watch->ops->socket_open(slot->keeper, KEEPER_SOCKET_LOG, 0, &descriptors->log,
		                              error);
		slot->log_bound = ret == PR_OK;
	}
	return ret;
}

static void descriptors_close(struct part_descriptors *descriptors)
{
	pr_fd_close(&descriptors->queue);
	pr_fd_close(&descriptors->log);
	pr_fd_close(&descriptors->diag);
	pr_fd_close(&descriptors->conntrack);
}

static int rules_set(watch_t *watch, uint32_t index, uint8_t mode, const struct pr_uuid *endpoint,
                     struct keeper_error *error)
{
	keeper_t *keeper = watch->slots[index].keeper;
	struct passed passed = { watch, endpoint, index };
	int ret = PR_OK;

	if (mode != CODEC_MODE_ENFORCE) {
		return watch->ops->state_set(keeper, KEEPER_OBSERVE, NULL, NULL, error);
	}
	if (watch->ops->state(keeper) != KEEPER_ENFORCE) {
		ret = watch->ops->conflict_check(keeper, error);
		/* The first look may come at once, the second is a second later. */
		watch->slots[index].renew_looks = 2;
	}
	return ret == PR_OK
	               ? watch->ops->state_set(keeper, KEEPER_ENFORCE, flow_passed, &passed, error)
	               : ret;
}

/*
 * Bring a namespace to a mode. New descriptors go into @p report; after a failure none is left
 * there and what was bound for it is free again.
 */
static int slot_state_set(watch_t *watch, uint32_t index, uint8_t mode, struct part_report *report,
                          struct keeper_error *error)
{
	struct slot *slot = &watch->slots[index];
	int ret = sockets_bind(watch, index, mode, &report->descriptors, error);
	if (ret == PR_OK) {
		ret = rules_set(watch, index, mode, &report->endpoint, error);
	}
	if (ret == PR_OK) {
		return PR_OK;
	}
	slot->queue_bound = slot->queue_bound && report->descriptors.queue < 0;
	slot->log_bound = slot->log_bound && report->descriptors.log < 0;
	descriptors_close(&report->descriptors);
	return ret;
}

/* ---- orders ---- */

static int slot_open(watch_t *watch, const struct part_order *order, uint32_t *ret_slot,
                     bool *ret_new, struct keeper_error *error)
{
	const char *path = order->path[0] != '\0' ? order->path : HOST_PLACE;
	struct keeper_place place = { .pid = order->pid, .path = order->pid > 0 ? NULL : path };
	struct keeper_config config = watch->config;
	keeper_t *keeper = NULL;

	config.host = order->is_host;
	if (!order->is_host) {
		config.lifeline_count = 0;
	}
	int ret = watch->ops->open(&config, &place, &keeper, error);
	if (ret != PR_OK) {
		return ret;
	}
	/* The number may have been used again for another process before we entered. */
	if (order->pid > 0 && order->start_ticks != 0 &&
	    pr_process_start_ticks(order->pid) != order->start_ticks) {
		watch->ops->destroy(&keeper);
		(void)snprintf(error->text, sizeof(error->text), "process %d has gone",
		               (int)order->pid);
		return PR_ENOENT;
	}
	struct keeper_identity identity = watch->ops->identity(keeper);
	if (order->inode != 0 && order->inode != identity.inode) {
		watch->ops->destroy(&keeper);
		(void)snprintf(error->text, sizeof(error->text),
		               "another namespace is at %s by now", order->path);
		return PR_ENOENT;
	}
	uint32_t index = slot_find(watch, &identity);
	if (index != NO_SLOT) {
		watch->ops->destroy(&keeper);
		*ret_slot = index;
		*ret_new = false;
		return PR_OK;
	}
	index = slot_free(watch);
	if (index == NO_SLOT) {
		watch->ops->destroy(&keeper);
		(void)snprintf(error->text, sizeof(error->text), "more than %d network namespaces",
		               PART_NAMESPACE_MAX);
		return PR_ENOSPC;
	}
	watch->slots[index] = (struct slot){
		.keeper = keeper,
		.identity = identity,
		.host = order->is_host,
	};
	*ret_slot = index;
	*ret_new = true;
	return PR_OK;
}

/* Sockets that a namespace has from the start. */
static int slot_equip(watch_t *watch, uint32_t index, struct part_descriptors *descriptors,
                      struct keeper_error *error)
{
	keeper_t *keeper = watch->slots[index].keeper;
	int ret = watch->ops->socket_open(keeper, KEEPER_SOCKET_DIAG, 0, &descriptors->diag, error);
	if (ret == PR_OK) {
		ret = watch->ops->socket_open(keeper, KEEPER_SOCKET_CONNTRACK, 0,
		                              &descriptors->conntrack, error);
	}
	return ret;
}

/* Bring an endpoint's namespace to the mode that it has to have, and say so. */
static void mode_bring(watch_t *watch, const struct endpoint *endpoint)
{
	struct part_report report = report_of(PART_REPORT_MODE, &endpoint->id);
	struct keeper_error error = { "" };
	uint32_t index = endpoint->slot;

	int ret = slot_state_set(watch, index, slot_mode(watch, index), &report, &error);
	if (ret != PR_OK) {
		report_failed(watch, &endpoint->id, index, ret, error.text);
		return;
	}
	report_fill(watch, endpoint, &report);
	watch->report(watch->report_arg, &report);
}

/*
 * A container's new namespace is watched in observe at first: on the way to enforce it is open for
 * KEEPER_SETTLE_MS anyway, and what it begins meanwhile is seen.
 */
static uint8_t mode_at_first(watch_t *watch, uint32_t index, bool new_slot, bool closed)
{
	return new_slot && !closed && !watch->slots[index].host ? CODEC_MODE_OBSERVE
	                                                        : slot_mode(watch, index);
}

static void order_watch(watch_t *watch, const struct part_order *order)
{
	struct part_report report = report_of(PART_REPORT_OPENED, &order->endpoint);
	struct keeper_error error = { "" };
	uint32_t index = NO_SLOT;
	bool new_slot = false;

	struct endpoint *endpoint = endpoint_find(watch, &order->endpoint);
	if (endpoint == NULL) {
		endpoint = endpoint_find(watch, &(struct pr_uuid){ { 0 } });
	}
	if (endpoint == NULL) {
		report_failed(watch, &order->endpoint, NO_SLOT, PR_ENOSPC, "too many endpoints");
		return;
	}
	int ret = slot_open(watch, order, &index, &new_slot, &error);
	if (ret == PR_OK && new_slot) {
		ret = slot_equip(watch, index, &report.descriptors, &error);
	}
	if (ret == PR_OK) {
		bool closed = new_slot && mode_in_force(watch, index) == CODEC_MODE_ENFORCE;
		*endpoint = (struct endpoint){
			.id = order->endpoint,
			.slot = index,
			.mode = closed ? CODEC_MODE_ENFORCE : order->mode,
			.guest = order->guest,
		};
		report.adopted = closed;
		ret = slot_state_set(watch, index, mode_at_first(watch, index, new_slot, closed),
		                     &report, &error);
	}
	if (ret != PR_OK) {
		descriptors_close(&report.descriptors);
		if (index != NO_SLOT && new_slot) {
			watch->ops->destroy(&watch->slots[index].keeper);
			*endpoint = (struct endpoint){ 0 };
		}
		report_failed(watch, &order->endpoint, NO_SLOT, ret, error.text);
		return;
	}
	report_fill(watch, endpoint, &report);
	watch->report(watch->report_arg, &report);
	if (report.mode != slot_mode(watch, index)) {
		mode_bring(watch, endpoint);
	}
}

static void order_mode(watch_t *watch, const struct part_order *order)
{
	struct endpoint *endpoint = endpoint_find(watch, &order->endpoint);

	if (endpoint == NULL || pr_uuid_is_null(&order->endpoint)) {
		return; /* not watched: it says its mode when it comes */
	}
	endpoint->mode = order->mode;
	mode_bring(watch, endpoint);
}

/* One of several went: who stays may need less than it did. */
static void slot_relax(watch_t *watch, const struct endpoint *stays)
{
	if (slot_mode(watch, stays->slot) != mode_in_force(watch, stays->slot)) {
		mode_bring(watch, stays);
	}
}

static void order_forget(watch_t *watch, const struct part_order *order)
{
	struct endpoint *endpoint = endpoint_find(watch, &order->endpoint);
	if (endpoint == NULL || pr_uuid_is_null(&order->endpoint)) {
		return;
	}
	struct part_report report = report_of(PART_REPORT_LEFT, &order->endpoint);
	uint32_t index = endpoint->slot;
	*endpoint = (struct endpoint){ 0 };
	for (size_t i = 0; i < ENDPOINT_MAX; i++) {
		const struct endpoint *other = &watch->endpoints[i];
		if (!pr_uuid_is_null(&other->id) && other->slot == index) {
			report.slot = index;
			watch->report(watch->report_arg, &report);
			slot_relax(watch, other); /* the namespace is still somebody's */
			return;
		}
	}
	/* Our sockets would keep the namespace alive. */
	watch->ops->destroy(&watch->slots[index].keeper);
	report.kind = PART_REPORT_CLOSED;
	report.slot = index;
	report.inode = watch->slots[index].identity.inode;
	watch->report(watch->report_arg, &report);
}

static void order_lifeline(watch_t *watch, const struct part_order *order)
{
	uint32_t count = order->lifeline_count;

	_Static_assert(PART_LIFELINE_MAX <= KEEPER_LIFELINE_MAX,
	               "an order's lifeline fits the rules");
	if (count > PART_LIFELINE_MAX) {
		report_failed(watch, NULL, NO_SLOT, PR_ETOOBIG, "lifeline: too many entries");
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct part_lifeline *from = &order->lifeline[i];
		watch->config.lifeline[i] = (struct keeper_lifeline){
			.peer = from->peer,
			.port_first = from->port,
			.port_last = from->port_last != 0 ? from->port_last : from->port,
			.protocol = from->proto,
			.inbound = from->inbound,
		};
	}
	watch->config.lifeline_count = (uint16_t)count;
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		struct slot *slot = &watch->slots[i];
		struct keeper_error error = { "" };
		if (slot->keeper == NULL || !slot->host) {
			continue;
		}
		struct keeper_config config = watch->config;
		config.host = true;
		int ret = watch->ops->config_set(slot->keeper, &config, &error);
		if (ret != PR_OK) {
			report_failed(watch, NULL, i, ret, error.text);
		}
	}
}

static void order_stop(watch_t *watch, const struct part_order *order)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		struct slot *slot = &watch->slots[i];
		struct keeper_error error = { "" };
		if (slot->keeper == NULL || !order->remove ||
		    watch->ops->state(slot->keeper) != KEEPER_OBSERVE) {
			continue;
		}
		int ret = watch->ops->state_set(slot->keeper, KEEPER_NONE, NULL, NULL, &error);
		if (ret != PR_OK) {
			report_failed(watch, NULL, i, ret, error.text);
		}
	}
	struct part_report report = report_of(PART_REPORT_STOPPED, NULL);
	watch->report(watch->report_arg, &report);
}

bool watch_order(watch_t *watch, const struct part_order *order)
{
	switch (order->kind) {
	case PART_ORDER_WATCH:
		order_watch(watch, order);
		return true;
	case PART_ORDER_MODE:
		order_mode(watch, order);
		return true;
	case PART_ORDER_FORGET:
		order_forget(watch, order);
		return true;
	case PART_ORDER_LIFELINE:
		order_lifeline(watch, order);
		return true;
	case PART_ORDER_STOP:
		order_stop(watch, order);
		return false;
	}
	report_failed(watch, &order->endpoint, NO_SLOT, PR_EINVAL, "unknown order");
	return true;
}

/* ---- looking after them ---- */

static void slot_restore(watch_t *watch, uint32_t index)
{
	struct part_report report = report_of(PART_REPORT_MODE, NULL);
	struct keeper_error error = { "" };

	int ret = slot_state_set(watch, index, slot_mode(watch, index), &report, &error);
	descriptors_close(&report.descriptors);
	report_failed(watch, NULL, index, ret == PR_OK ? PR_ECONFLICT : ret,
	              ret == PR_OK ? "another program removed our rules: set again" : error.text);
}

/* Enforce once more: the rule for packets that were on their way when it began goes. */
static void slot_renew(watch_t *watch, uint32_t index)
{
	struct slot *slot = &watch->slots[index];
	struct keeper_error error = { "" };

	if (slot->renew_looks == 0 || --slot->renew_looks > 0 ||
	    watch->ops->state(slot->keeper) != KEEPER_ENFORCE) {
		return;
	}
	int ret = watch->ops->state_set(slot->keeper, KEEPER_ENFORCE, NULL, NULL, &error);
	if (ret != PR_OK) {
		slot->renew_looks = 1;
		report_failed(watch, NULL, index, ret, error.text);
	}
}

static void slot_look(watch_t *watch, uint32_t index)
{
	struct keeper_counters counters = { 0 };
	struct keeper_error error = { "" };

	int ret = watch->ops->counters_read(watch->slots[index].keeper, &counters, &error);
	if (ret == PR_ENOENT) {
		slot_restore(watch, index);
		return;
	}
	if (ret != PR_OK) {
		return; /* the namespace is going: a FORGET order follows */
	}
	struct part_report report = report_of(PART_REPORT_COUNTERS, NULL);
	report.slot = index;
	report.counters = (struct part_counters){
		.dropped_no_verdict = counters.dropped_unmarked,
		.dropped_invalid = counters.dropped_invalid,
		.dropped_queue_full = counters.queue_full_dropped + counters.queue_send_dropped,
		.copies_lost = counters.seen_full,
		.built_in = counters.builtin_neighbour + counters.builtin_mld +
		            counters.builtin_dhcp + counters.builtin_engine_dns,
		.lifeline = counters.lifeline,
	};
	watch->report(watch->report_arg, &report);
	slot_renew(watch, index);
}

void watch_look(watch_t *watch)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		if (watch->slots[i].keeper != NULL) {
			slot_look(watch, i);
		}
	}
}
