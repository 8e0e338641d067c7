/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "agent/keeper/watch_internal.h"
#include "base/err.h"

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

/* ---- orders ---- */

/*
 * A container's new namespace is watched in observe at first: on the way to enforce it is open for
 * KEEPER_SETTLE_MS anyway, and what it begins meanwhile is seen.
 */
static uint8_t mode_at_first(watch_t *watch, uint32_t index, bool new_slot, bool closed)
{
	return new_slot && !closed && !watch->slots[index].host ? CODEC_MODE_OBSERVE
	                                                        : watch_slot_mode(watch, index);
}

static void order_watch(watch_t *watch, const struct part_order *order)
{
	struct part_report report = watch_report_of(PART_REPORT_OPENED, &order->endpoint);
	struct keeper_error error = { "" };
	uint32_t index = WATCH_NO_SLOT;
	bool new_slot = false;

	struct watch_endpoint *endpoint = watch_endpoint_find(watch, &order->endpoint);
	if (endpoint == NULL) {
		endpoint = watch_endpoint_find(watch, &(struct pr_uuid){ { 0 } });
	}
	if (endpoint == NULL) {
		watch_report_failed(watch, &order->endpoint, WATCH_NO_SLOT, PR_ENOSPC,
		                    "too many endpoints");
		return;
	}
	int ret = watch_slot_open(watch, order, &index, &new_slot, &error);
	if (ret == PR_OK && new_slot) {
		ret = watch_slot_equip(watch, index, &report.descriptors, &error);
	}
	if (ret == PR_OK) {
		bool closed =
			new_slot && watch_slot_mode_in_force(watch, index) == CODEC_MODE_ENFORCE;
		*endpoint = (struct watch_endpoint){
			.id = order->endpoint,
			.slot = index,
			.mode = closed ? CODEC_MODE_ENFORCE : order->mode,
			.guest = order->guest,
		};
		report.adopted = closed;
		ret = watch_slot_mode_set(watch, index,
		                          mode_at_first(watch, index, new_slot, closed), &report,
		                          &error);
	}
	if (ret != PR_OK) {
		watch_descriptors_close(&report.descriptors);
		if (index != WATCH_NO_SLOT && new_slot) {
			watch->ops->destroy(&watch->slots[index].keeper);
			*endpoint = (struct watch_endpoint){ 0 };
		}
		watch_report_failed(watch, &order->endpoint, WATCH_NO_SLOT, ret, error.text);
		return;
	}
	watch_report_fill(watch, endpoint, &report);
	watch->report(watch->report_arg, &report);
	if (report.mode != watch_slot_mode(watch, index)) {
		watch_mode_bring(watch, endpoint);
	}
}

static void order_mode(watch_t *watch, const struct part_order *order)
{
	struct watch_endpoint *endpoint = watch_endpoint_find(watch, &order->endpoint);

	if (endpoint == NULL || pr_uuid_is_null(&order->endpoint)) {
		return; /* not watched: it says its mode when it comes */
	}
	endpoint->mode = order->mode;
	watch_mode_bring(watch, endpoint);
}

/* One of several went: who stays may need less than it did. */
static void slot_relax(watch_t *watch, const struct watch_endpoint *stays)
{
	if (watch_slot_mode(watch, stays->slot) != watch_slot_mode_in_force(watch, stays->slot)) {
		watch_mode_bring(watch, stays);
	}
}

static void order_forget(watch_t *watch, const struct part_order *order)
{
	struct watch_endpoint *endpoint = watch_endpoint_find(watch, &order->endpoint);
	if (endpoint == NULL || pr_uuid_is_null(&order->endpoint)) {
		return;
	}
	struct part_report report = watch_report_of(PART_REPORT_LEFT, &order->endpoint);
	uint32_t index = endpoint->slot;
	*endpoint = (struct watch_endpoint){ 0 };
	for (size_t i = 0; i < WATCH_ENDPOINT_MAX; i++) {
		const struct watch_endpoint *other = &watch->endpoints[i];
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
		watch_report_failed(watch, NULL, WATCH_NO_SLOT, PR_ETOOBIG,
		                    "lifeline: too many entries");
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
		struct watch_slot *slot = &watch->slots[i];
		struct keeper_error error = { "" };
		if (slot->keeper == NULL || !slot->host) {
			continue;
		}
		struct keeper_config config = watch->config;
		config.host = true;
		int ret = watch->ops->config_set(slot->keeper, &config, &error);
		if (ret != PR_OK) {
			watch_report_failed(watch, NULL, i, ret, error.text);
		}
	}
}

static void order_stop(watch_t *watch, const struct part_order *order)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		struct watch_slot *slot = &watch->slots[i];
		struct keeper_error error = { "" };
		if (slot->keeper == NULL || !order->remove ||
		    watch->ops->state(slot->keeper) != KEEPER_OBSERVE) {
			continue;
		}
		int ret = watch->ops->state_set(slot->keeper, KEEPER_NONE, NULL, NULL, &error);
		if (ret != PR_OK) {
			watch_report_failed(watch, NULL, i, ret, error.text);
		}
	}
	struct part_report report = watch_report_of(PART_REPORT_STOPPED, NULL);
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
	watch_report_failed(watch, &order->endpoint, WATCH_NO_SLOT, PR_EINVAL, "unknown order");
	return true;
}
