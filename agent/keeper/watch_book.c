/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "agent/keeper/watch_internal.h"
#include "base/err.h"

/* ---- reports ---- */

struct part_report watch_report_of(enum part_report_kind kind, const struct pr_uuid *endpoint)
{
	struct part_report report = {
		.kind = kind,
		.slot = WATCH_NO_SLOT,
		.descriptors = { .queue = -1, .log = -1, .diag = -1, .conntrack = -1 },
	};
	if (endpoint != NULL) {
		report.endpoint = *endpoint;
	}
	return report;
}

void watch_report_failed(watch_t *watch, const struct pr_uuid *endpoint, uint32_t slot, int error,
                         const char *text)
{
	struct part_report report = watch_report_of(PART_REPORT_FAILED, endpoint);
	report.slot = slot;
	report.error = error;
	(void)snprintf(report.text, sizeof(report.text), "%s",
	               text[0] != '\0' ? text : pr_strerror(error));
	watch->report(watch->report_arg, &report);
}

/* ---- who and where ---- */

struct watch_endpoint *watch_endpoint_find(watch_t *watch, const struct pr_uuid *id)
{
	for (size_t i = 0; i < WATCH_ENDPOINT_MAX; i++) {
		if (pr_uuid_equal(&watch->endpoints[i].id, id)) {
			return &watch->endpoints[i];
		}
	}
	return NULL;
}

uint32_t watch_slot_find(const watch_t *watch, const struct keeper_identity *identity)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		const struct watch_slot *slot = &watch->slots[i];
		if (slot->keeper != NULL && slot->identity.device == identity->device &&
		    slot->identity.inode == identity->inode) {
			return i;
		}
	}
	return WATCH_NO_SLOT;
}

uint32_t watch_slot_free(const watch_t *watch)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		if (watch->slots[i].keeper == NULL) {
			return i;
		}
	}
	return WATCH_NO_SLOT;
}

uint8_t watch_slot_mode(const watch_t *watch, uint32_t slot)
{
	for (size_t i = 0; i < WATCH_ENDPOINT_MAX; i++) {
		const struct watch_endpoint *endpoint = &watch->endpoints[i];
		if (!pr_uuid_is_null(&endpoint->id) && endpoint->slot == slot &&
		    endpoint->mode == CODEC_MODE_ENFORCE) {
			return CODEC_MODE_ENFORCE;
		}
	}
	return CODEC_MODE_OBSERVE;
}

uint8_t watch_slot_mode_in_force(const watch_t *watch, uint32_t slot)
{
	enum keeper_state state = watch->ops->state(watch->slots[slot].keeper);
	return state == KEEPER_ENFORCE ? CODEC_MODE_ENFORCE : CODEC_MODE_OBSERVE;
}

void watch_report_fill(const watch_t *watch, const struct watch_endpoint *endpoint,
                       struct part_report *report)
{
	uint32_t slot = endpoint->slot;

	report->slot = slot;
	report->inode = watch->slots[slot].identity.inode;
	report->is_host = watch->slots[slot].host;
	report->guest = endpoint->guest;
	report->mode = watch_slot_mode_in_force(watch, slot) == CODEC_MODE_ENFORCE
	                       ? endpoint->mode
	                       : CODEC_MODE_OBSERVE;
}
