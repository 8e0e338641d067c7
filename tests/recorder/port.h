/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The parts of a recorder without a bus, on a directory of their own. For tests. */

#include "base/err.h"
#include "recorder/comments.h"
#include "recorder/groups.h"
#include "recorder/ingest.h"
#include "recorder/names.h"
#include "tests/store/events.h"

struct port {
	char base[PATH_MAX];
	store_t *store;
	store_history_t *history;
	recorder_names_t *names;
	recorder_comments_t *comments;
	recorder_groups_t *groups;
	recorder_ingest_t *ingest;
	uint64_t acks;         /* acknowledgements sent */
	uint64_t acknowledged; /* number in the last one */
	uint64_t rows;         /* committed for the first time */
	struct store_row last_row;
	char last_names[256];
};

static inline void port_on_ack(void *arg, const struct bus_route *route, uint64_t seq)
{
	struct port *port = arg;
	(void)route;
	port->acks++;
	port->acknowledged = seq;
}

static inline void port_on_row(void *arg, const struct store_row *row)
{
	struct port *port = arg;
	port->rows++;
	port->last_row = *row;
	(void)snprintf(port->last_names, sizeof(port->last_names), "%s(%s) %s(%s) '%s'",
	               row->src.name, row->src.kind, row->dst.name, row->dst.kind,
	               row->rule_comment == NULL ? "" : row->rule_comment);
}

static inline void port_stores_open(struct port *port, uint64_t map_bytes)
{
	char path[PATH_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/store", port->base);
	port->store = store_at(path, 0);
	(void)snprintf(path, sizeof(path), "%s/history", port->base);
	port->history =
		history_at(&(struct store_history_options){ .path = path, .map_bytes = map_bytes });
	if (port->store == NULL || port->history == NULL ||
	    recorder_names_new(port->store, &port->names) != PR_OK) {
		exit(99);
	}
	port->comments = recorder_comments_new(port->store);
	port->groups = recorder_groups_new(port->store, port->names);
	const struct recorder_ingest_setup setup = { .history = port->history,
		                                     .names = port->names,
		                                     .comments = port->comments,
		                                     .arg = port,
		                                     .acknowledge = port_on_ack,
		                                     .committed = port_on_row };
	port->ingest = recorder_ingest_new(&setup);
}

static inline void port_stores_close(struct port *port)
{
	recorder_ingest_destroy(&port->ingest);
	recorder_groups_destroy(&port->groups);
	recorder_comments_destroy(&port->comments);
	recorder_names_destroy(&port->names);
	store_history_destroy(&port->history);
	store_destroy(&port->store);
}

static inline void port_open(struct port *port)
{
	*port = (struct port){ .acks = 0 };
	dir_make(port->base);
	port_stores_open(port, 64 << 20);
}

static inline void port_close(struct port *port)
{
	port_stores_close(port);
	dir_remove(port->base);
}

/** A frame of events first..first+count-1 from an agent. */
static inline int port_events(struct port *port, unsigned agent, uint64_t first, size_t count,
                              uint64_t now_ns)
{
	static struct codec_event events[CODEC_BATCH_MAX];
	static uint8_t frame[CODEC_FRAME_MAX_BYTES];
	const struct bus_route route = { .bytes = { (uint8_t)agent }, .size_bytes = 5 };
	struct pr_uuid id = id_of(agent);
	size_t size_bytes;

	for (size_t i = 0; i < count; i++) {
		events[i] = row_of(first + i, (first + i) * 1000 + agent).event;
	}
	int err =
		codec_records_encode(CODEC_EVENT, events, count, frame, sizeof(frame), &size_bytes);
	return err != PR_OK ? err
	                    : recorder_ingest_events(port->ingest, &id, &route, frame, size_bytes,
	                                             now_ns);
}

static inline struct store_agent port_state(struct port *port, unsigned agent)
{
	struct pr_uuid id = id_of(agent);
	struct store_agent state = { 0 };
	(void)!store_history_agent(port->history, &id, &state);
	return state;
}
