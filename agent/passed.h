/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The event of a flow that was alive when its namespace went to enforce. */

#include <stdint.h>

#include "agent/keeper/owner.h"
#include "agent/part.h"

/**
 * Allowed, decided by observe: nobody was asked. The owner is looked up now, and says to which
 * endpoint of the namespace it belongs: whoever knows them puts that into the event.
 */
void passed_event(const struct part_report *report, owner_t *owner, uint64_t wall_ns,
                  struct codec_event *ret_event, struct part_owner *ret_owner);
/** Put the endpoint in; zero: it cannot be told. */
void passed_endpoint_set(const struct part_report *report, const struct pr_uuid *endpoint,
                         struct codec_event *event);
