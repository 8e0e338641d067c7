/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The keeper's book of namespaces and endpoints, and what an order does to them. No thread and no
 * socket of its own: reports go to a function. Inside agent/keeper/ and its tests only.
 */

#include "agent/keeper/keeper.h"
#include "agent/part.h"

typedef struct watch watch_t;

/** Takes the descriptors of the report. */
typedef void (*watch_report_fn)(void *arg, struct part_report *report);

int watch_new(const struct keeper_config *config, const struct keeper_ops *ops,
              watch_report_fn report, void *arg, watch_t **ret_watch) _must_check_;
/** Closes every handle; rules stay. */
void watch_destroy(watch_t **watch_p);

/** Carry out one order. Returns false after STOP. */
bool watch_order(watch_t *watch, const struct part_order *order);

/** Read counters, set rules again that somebody removed. Call every second. */
void watch_look(watch_t *watch);
