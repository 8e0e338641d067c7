/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A client, docker-proxy, Apache, MariaDB: the story's connections as joined rows. */

#include <stdio.h>
#include <string.h>

#include "codec/codec.h"
#include "tests/cli/sample.h"

#define CHAIN_COUNT 3U
#define CHAIN_TIME  1795476245123000000ULL

/** An end: who is there. */
struct chain_end {
	uint8_t id; /* of endpoint; its host's is host */
	uint8_t host;
	const char *name, *kind, *host_name, *user, *exe;
	uint32_t pid;
};

static inline struct pr_uuid chain_uuid(uint8_t number)
{
	return (struct pr_uuid){ .bytes = { number, [15] = 1 } };
}

static inline struct codec_event chain_event(const struct chain_end *src,
                                             const struct chain_end *dst, bool near_end,
                                             unsigned number, uint16_t port)
{
	const struct chain_end *at = near_end ? src : dst;
	struct codec_event event = {
		.seq = number * 2ULL + !near_end,
		.time_wall_ns = CHAIN_TIME + number * 1500000ULL + !near_end * 200000ULL,
		.latency_us = 150,
		.reporter = near_end ? CODEC_REPORTER_INITIATOR : CODEC_REPORTER_TERMINATOR,
		.proto = 6,
		.src = sample_addr("192.0.2.1"),
		.src_port = (uint16_t)(40000 + number),
		.dst = sample_addr("192.0.2.2"),
		.dst_port = port,
		.src_endpoint = chain_uuid(src->id),
		.dst_endpoint = chain_uuid(dst->id),
		.uid = 1000,
		.pid = at->pid,
		.verdict = CODEC_EVENT_VERDICT_ALLOWED,
		.mode = CODEC_MODE_ENFORCE,
		.rule = number * 10 + 10,
		.revision = 42,
		.decided_by = CODEC_DECIDED_BY_WORKER,
		.connection = 0xa0 + number,
	};

	(void)snprintf(event.user, sizeof(event.user), "%s", at->user);
	(void)snprintf(event.exe, sizeof(event.exe), "%s", at->exe);
	return event;
}

static inline void chain_event_set(codec_doc_t *row, unsigned field,
                                   const struct codec_event *event)
{
	uint8_t frame[1024];
	size_t size_bytes = 0;

	(void)!codec_records_encode(CODEC_EVENT, event, 1, frame, sizeof(frame), &size_bytes);
	codec_doc_set_blob(row, field, frame, size_bytes);
}

/** Names of the two ends in a row. */
static inline void chain_names_set(codec_doc_t *row, const struct chain_end *src,
                                   const struct chain_end *dst)
{
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_NAME, src->name);
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_KIND, src->kind);
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_HOST, src->host_name);
	codec_doc_set_text(row, CODEC_EVENT_ROW_DST_NAME, dst->name);
	codec_doc_set_text(row, CODEC_EVENT_ROW_DST_KIND, dst->kind);
	codec_doc_set_text(row, CODEC_EVENT_ROW_DST_HOST, dst->host_name);
}

/** Connection 0, 1 or 2 of the story, @p again: a second visitor's, in the same 10 ms. */
static inline codec_doc_t *chain_row(unsigned number, bool again)
{
	static const struct chain_end ends[][2] = {
		{ { 1, 1, "mymacbook", "host", "mymacbook", "macuser", "/usr/bin/curl", 5123 },
		  { 2, 2, "dockersrv", "host", "dockersrv", "root", "/usr/bin/docker-proxy",
		    812 } },
		{ { 2, 2, "dockersrv", "host", "dockersrv", "root", "/usr/bin/docker-proxy", 812 },
		  { 3, 2, "wordpress_apache_1", "container", "dockersrv", "root",
		    "/usr/sbin/apache2", 33 } },
		{ { 3, 2, "wordpress_apache_1", "container", "dockersrv", "www-data",
		    "/usr/sbin/apache2", 40 },
		  { 4, 2, "wordpress_db_1", "container", "dockersrv", "mysql", "/usr/sbin/mariadbd",
		    77 } },
	};
	static const uint16_t ports[] = { 8000, 80, 3306 };
	const struct chain_end *src = &ends[number][0], *dst = &ends[number][1];
	codec_doc_t *row = codec_doc_new(CODEC_EVENT_ROW);
	struct pr_uuid src_host = chain_uuid(src->host), dst_host = chain_uuid(dst->host);
	struct codec_event near_end = chain_event(src, dst, true, number, ports[number]);
	struct codec_event far_end = chain_event(src, dst, false, number, ports[number]);

	if (again) {
		near_end.seq += 100;
		far_end.seq += 100;
		near_end.time_wall_ns += 100000;
		far_end.time_wall_ns += 100000;
		near_end.connection = far_end.connection = 0xb0 + number;
	}
	chain_event_set(row, CODEC_EVENT_ROW_EVENT, &near_end);
	chain_event_set(row, CODEC_EVENT_ROW_FAR_EVENT, &far_end);
	codec_doc_set_uuid(row, CODEC_EVENT_ROW_AGENT, &src_host);
	codec_doc_set_uuid(row, CODEC_EVENT_ROW_FAR_AGENT, &dst_host);
	codec_doc_set_text(row, CODEC_EVENT_ROW_FAR_RULE_COMMENT,
	                   number == 2 ? "Allow MySQL server" : "");
	codec_doc_set_text(row, CODEC_EVENT_ROW_RULE_COMMENT,
	                   number == 2 ? "Allow MySQL server" : "");
	chain_names_set(row, src, dst);
	if (again) { /* and has chosen its name with care */
		codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_NAME, "evil\033[2J\n");
	}
	return row;
}

/** Connection 1 with its near end alone. */
static inline codec_doc_t *chain_row_alone(unsigned join)
{
	codec_doc_t *row = chain_row(1, false);

	codec_doc_set_blob(row, CODEC_EVENT_ROW_FAR_EVENT, "", 0);
	codec_doc_set_u64(row, CODEC_EVENT_ROW_JOIN, join);
	return row;
}
