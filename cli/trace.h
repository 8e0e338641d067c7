/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A tree of connections: for trace.c and trace_text.c alone. */

#include "cli/cli.h"

#define TRACE_DEPTH_MAX  8
#define TRACE_SHOWN_MAX  64 /* connections of a tree */
#define TRACE_LINE_BYTES 4096

/** A row and what it says. */
struct connection {
	codec_doc_t *row;
	struct cli_joined joined;
};

struct list {
	struct connection *items;
	size_t count, room;
	bool complete;
	bool failed; /* no memory */
};

/** How a connection hangs in the tree. */
struct link {
	enum cli_hop_kind kind;
	size_t of; /* so many may have led to it; 0: it is the root */
	bool at_least;
	uint64_t delay_ns;
	const struct connection *cause;
};

struct trace {
	struct cli *cli;
	struct cli_peer *recorder;
	size_t shown;
	const char *branch, *last, *bar, *dot;
};

/* trace_text.c */

void trace_line_say(struct trace *trace, const char *prefix, const char *mark, const char *text);
/** Host or container, user and process at one end. */
void trace_end_format(const struct trace *trace, const struct connection *connection, bool src,
                      char text[static TRACE_LINE_BYTES]);
void trace_connection_format(const struct trace *trace, const struct connection *connection,
                             const struct link *link, char text[static TRACE_LINE_BYTES]);
/** One object a line. False: out of memory or not written. */
bool trace_connection_json(struct trace *trace, const struct connection *connection,
                           const struct link *link, size_t depth);
