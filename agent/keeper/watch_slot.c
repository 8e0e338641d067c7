/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "agent/keeper/watch_internal.h"
#include "base/err.h"
#include "base/process.h"

#define HOST_PLACE "/proc/thread-self/ns/net"

/* ---- its mode ---- */

struct passed {
	watch_t *watch;
	const struct pr_uuid *endpoint;
	uint32_t slot;
};

static void flow_passed(const struct keeper_flow *flow, void *arg)
{
	const struct passed *passed = arg;
	struct part_report report = watch_report_of(PART_REPORT_PASSED, passed->endpoint);
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
	struct watch_slot *slot = &watch->slots[index];
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

void watch_descriptors_close(struct part_descriptors *descriptors)
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

int watch_slot_mode_set(watch_t *watch, uint32_t index, uint8_t mode, struct part_report *report,
                        struct keeper_error *error)
{
	struct watch_slot *slot = &watch->slots[index];
	int ret = sockets_bind(watch, index, mode, &report->descriptors, error);
	if (ret == PR_OK) {
		ret = rules_set(watch, index, mode, &report->endpoint, error);
	}
	if (ret == PR_OK) {
		return PR_OK;
	}
	slot->queue_bound = slot->queue_bound && report->descriptors.queue < 0;
	slot->log_bound = slot->log_bound && report->descriptors.log < 0;
	watch_descriptors_close(&report->descriptors);
	return ret;
}

void watch_mode_bring(watch_t *watch, const struct watch_endpoint *endpoint)
{
	struct part_report report = watch_report_of(PART_REPORT_MODE, &endpoint->id);
	struct keeper_error error = { "" };
	uint32_t index = endpoint->slot;

	int ret = watch_slot_mode_set(watch, index, watch_slot_mode(watch, index), &report, &error);
	if (ret != PR_OK) {
		watch_report_failed(watch, &endpoint->id, index, ret, error.text);
		return;
	}
	watch_report_fill(watch, endpoint, &report);
	watch->report(watch->report_arg, &report);
}

/* ---- opening ---- */

int watch_slot_open(watch_t *watch, const struct part_order *order, uint32_t *ret_slot,
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
	uint32_t index = watch_slot_find(watch, &identity);
	if (index != WATCH_NO_SLOT) {
		watch->ops->destroy(&keeper);
		*ret_slot = index;
		*ret_new = false;
		return PR_OK;
	}
	index = watch_slot_free(watch);
	if (index == WATCH_NO_SLOT) {
		watch->ops->destroy(&keeper);
		(void)snprintf(error->text, sizeof(error->text), "more than %d network namespaces",
		               PART_NAMESPACE_MAX);
		return PR_ENOSPC;
	}
	watch->slots[index] = (struct watch_slot){
		.keeper = keeper,
		.identity = identity,
		.host = order->is_host,
	};
	*ret_slot = index;
	*ret_new = true;
	return PR_OK;
}

int watch_slot_equip(watch_t *watch, uint32_t index, struct part_descriptors *descriptors,
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

/* ---- looking after it ---- */

static void slot_restore(watch_t *watch, uint32_t index)
{
	struct part_report report = watch_report_of(PART_REPORT_MODE, NULL);
	struct keeper_error error = { "" };

	int ret = watch_slot_mode_set(watch, index, watch_slot_mode(watch, index), &report, &error);
	watch_descriptors_close(&report.descriptors);
	watch_report_failed(watch, NULL, index, ret == PR_OK ? PR_ECONFLICT : ret,
	                    ret == PR_OK ? "another program removed our rules: set again"
	                                 : error.text);
}

/* Enforce once more: the rule for packets that were on their way when it began goes. */
static void slot_renew(watch_t *watch, uint32_t index)
{
	struct watch_slot *slot = &watch->slots[index];
	struct keeper_error error = { "" };

	if (slot->renew_looks == 0 || --slot->renew_looks > 0 ||
	    watch->ops->state(slot->keeper) != KEEPER_ENFORCE) {
		return;
	}
	int ret = watch->ops->state_set(slot->keeper, KEEPER_ENFORCE, NULL, NULL, &error);
	if (ret != PR_OK) {
		slot->renew_looks = 1;
		watch_report_failed(watch, NULL, index, ret, error.text);
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
	struct part_report report = watch_report_of(PART_REPORT_COUNTERS, NULL);
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
