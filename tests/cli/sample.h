/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Sample rows for the tests of the command line. */

#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "codec/codec.h"

#define SAMPLE_AGENT "5f0cbf16-6a3e-4a58-9e7c-0d6a3c1c7a11"
#define SAMPLE_SRC   "11111111-2222-4333-8444-555555555555"
#define SAMPLE_DST   "66666666-7777-4888-9999-aaaaaaaaaaaa"

static inline struct pr_uuid sample_uuid(const char *text)
{
	struct pr_uuid id = { 0 };

	if (pr_uuid_parse(text, &id) < 0) {
		id.bytes[0] = 0xff;
	}
	return id;
}

static inline struct pr_addr sample_addr(const char *text)
{
	struct pr_addr addr = { 0 };

	if (pr_addr_parse(text, &addr) < 0) {
		addr.bytes[0] = 0xff;
	}
	return addr;
}

/** Apache to its database, allowed by rule 20, seen by the terminator. */
static inline struct codec_event sample_event(uint64_t seq)
{
	struct codec_event event = {
		.seq = seq,
		.time_wall_ns = 1795476245123000000ULL,
		.latency_us = 217,
		.reporter = CODEC_REPORTER_TERMINATOR,
		.proto = 6,
		.src = sample_addr("172.18.0.3"),
		.src_port = 45678,
		.dst = sample_addr("172.18.0.2"),
		.dst_port = 3306,
		.src_endpoint = sample_uuid(SAMPLE_SRC),
		.dst_endpoint = sample_uuid(SAMPLE_DST),
		.uid = 999,
		.user = "mysql",
		.pid = 4711,
		.exe = "/usr/sbin/mysqld",
		.verdict = CODEC_EVENT_VERDICT_ALLOWED,
		.mode = CODEC_MODE_ENFORCE,
		.rule = 20,
		.revision = 42,
		.decided_by = CODEC_DECIDED_BY_WORKER,
		.connection = 0x1234abcd,
	};

	return event;
}

/** The row of an event; caller destroys. */
static inline codec_doc_t *sample_row(const struct codec_event *event)
{
	codec_doc_t *row = codec_doc_new(CODEC_EVENT_ROW);
	struct pr_uuid agent = sample_uuid(SAMPLE_AGENT);
	uint8_t frame[1024];
	size_t size_bytes = 0;

	if (codec_records_encode(CODEC_EVENT, event, 1, frame, sizeof(frame), &size_bytes) < 0) {
		size_bytes = 0;
	}
	codec_doc_set_blob(row, CODEC_EVENT_ROW_EVENT, frame, size_bytes);
	codec_doc_set_uuid(row, CODEC_EVENT_ROW_AGENT, &agent);
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_NAME, "wordpress_apache_1");
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_KIND, "container");
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_HOST, "dockersrv");
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_CONTAINER_ID, "aa11");
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_IMAGE, "wordpress:6");
	codec_doc_set_text(row, CODEC_EVENT_ROW_DST_NAME, "wordpress_db_1");
	codec_doc_set_text(row, CODEC_EVENT_ROW_DST_KIND, "container");
	codec_doc_set_text(row, CODEC_EVENT_ROW_DST_HOST, "dockersrv");
	codec_doc_set_text(row, CODEC_EVENT_ROW_DST_CONTAINER_ID, "bb22");
	codec_doc_set_text(row, CODEC_EVENT_ROW_DST_IMAGE, "mysql:8");
	codec_doc_set_text(row, CODEC_EVENT_ROW_RULE_COMMENT, "Allow MySQL server");
	return row;
}

/** An endpoint of a list; caller destroys. */
static inline codec_doc_t *sample_endpoint(const char *name, const char *kind)
{
	codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	struct pr_uuid id = sample_uuid(SAMPLE_SRC), host = sample_uuid(SAMPLE_DST);

	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, strcmp(kind, "host") == 0 ? &host : &id);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_HOST, &host);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, kind);
	codec_doc_set_text(doc, CODEC_ENDPOINT_NAME, name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_HOST_NAME, "dockersrv");
	codec_doc_set_text(doc, CODEC_ENDPOINT_IMAGE, "wordpress:6");
	codec_doc_set_text(doc, CODEC_ENDPOINT_STATUS, "active");
	codec_doc_set_text(doc, CODEC_ENDPOINT_MODE, "enforce");
	codec_doc_set_text(doc, CODEC_ENDPOINT_ENFORCED, "enforce");
	codec_doc_set_text(doc, CODEC_ENDPOINT_PLATFORM, "Linux 6.1.0");
	codec_doc_add_text(doc, CODEC_ENDPOINT_ADDRESSES, "global 127.0.0.1/8 - lo");
	codec_doc_add_text(doc, CODEC_ENDPOINT_ADDRESSES,
	                   "global 172.18.0.3/16 02:42:ac:12:00:03 eth0");
	codec_doc_add_text(doc, CODEC_ENDPOINT_LISTENERS, "tcp/80 4711 apache2");
	codec_doc_add_text(doc, CODEC_ENDPOINT_GROUPS, "apache");
	codec_doc_add_text(doc, CODEC_ENDPOINT_GROUPS, "web");
	if (strcmp(kind, "host") == 0) {
		codec_doc_add_text(doc, CODEC_ENDPOINT_SESSIONS,
		                   "1795476245 4711 pts/0 ana 192.0.2.7");
		codec_doc_add_text(doc, CODEC_ENDPOINT_SESSIONS,
		                   "1795476245 4712 %2D a%20b%1B[2J%FF -");
		codec_doc_set_text(doc, CODEC_ENDPOINT_SESSIONS_LACK, "3 more are left out");
	}
	codec_doc_set_u64(doc, CODEC_ENDPOINT_REPORTED, 1795476245123000000ULL);
	return doc;
}
