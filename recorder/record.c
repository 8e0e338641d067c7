/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"
#include "recorder/record.h"

void recorder_record_fill(struct recorder_record *record, const struct store_row *row,
                          const recorder_names_t *names, recorder_comments_t *comments,
                          recorder_groups_t *groups, char scratch[static RECORDER_SCRATCH_BYTES],
                          uint64_t now_ns)
{
	const struct codec_event *event = &row->event;

	*record = (struct recorder_record){
		.row = *row, .names = names, .groups = groups, .scratch = scratch
	};
	if (row->src.name[0] == '\0') {
		recorder_names_fill(names, &event->src_endpoint, &record->row.src);
	}
	if (row->dst.name[0] == '\0') {
		recorder_names_fill(names, &event->dst_endpoint, &record->row.dst);
	}
	if (row->rule_comment == NULL || row->rule_comment[0] == '\0') {
		record->row.rule_comment =
			recorder_comments_find(comments, event->revision, event->rule, now_ns);
	}
	if (record->row.rule_comment == NULL) {
		record->row.rule_comment = "";
	}
}

static bool is_text(const char *text, struct policy_query_value *ret_value)
{
	*ret_value = (struct policy_query_value){ .type = POLICY_QUERY_TEXT, .text = text };
	return text != NULL && text[0] != '\0';
}

static bool is_number(uint64_t number, struct policy_query_value *ret_value)
{
	*ret_value = (struct policy_query_value){ .type = POLICY_QUERY_NUMBER, .number = number };
	return true;
}

static bool is_addr(const struct pr_addr *addr, struct policy_query_value *ret_value)
{
	*ret_value = (struct policy_query_value){ .type = POLICY_QUERY_ADDR, .addr = *addr };
	return true;
}

static bool is_id(const struct recorder_record *record, const struct pr_uuid *id,
                  struct policy_query_value *ret_value)
{
	if (pr_uuid_is_null(id)) {
		return false;
	}
	return is_text(pr_uuid_format(id, record->scratch), ret_value);
}

/* Value of a label; the one of now, rows do not have them. */
static bool is_label(const struct recorder_record *record, const struct pr_uuid *id,
                     const char *key, struct policy_query_value *ret_value)
{
	const codec_doc_t *doc = recorder_names_find(record->names, id);
	size_t length = key != NULL ? strlen(key) : 0;

	if (doc == NULL || length == 0) {
		return false;
	}
	for (size_t i = 0; i < codec_doc_count(doc, CODEC_ENDPOINT_LABELS); i++) {
		const char *label = codec_doc_item(doc, CODEC_ENDPOINT_LABELS, i);
		if (strncmp(label, key, length) == 0 && label[length] == '=') {
			return is_text(label + length + 1, ret_value);
		}
	}
	return false;
}

static bool is_translated(const struct codec_event *event)
{
	static const struct pr_addr none;
	return !pr_addr_equal(&event->translated, &none);
}

/* A value of one end; fields of the two ends alternate. */
static bool end_value(const struct recorder_record *record, enum policy_query_field field,
                      const char *key, unsigned index, struct policy_query_value *ret_value)
{
	const struct codec_event *event = &record->row.event;
	bool is_dst = field % 2 == 1;
	const struct store_end_names *end = is_dst ? &record->row.dst : &record->row.src;
	const struct pr_uuid *id = is_dst ? &event->dst_endpoint : &event->src_endpoint;
	bool second = is_dst && index == 1 && is_translated(event);

	if (field - is_dst == POLICY_QUERY_SRC_GROUP) {
		return is_text(
			recorder_groups_name(record->groups, event->revision, id, end->name, index),
			ret_value);
	}
	if (index > 0 && !second) {
		return false;
	}
	switch (field - is_dst) {
	case POLICY_QUERY_SRC_IP:
		return is_addr(second   ? &event->translated
		               : is_dst ? &event->dst
		                        : &event->src,
		               ret_value);
	case POLICY_QUERY_SRC_PORT:
		return is_number(second   ? event->translated_port
		                 : is_dst ? event->dst_port
		                          : event->src_port,
		                 ret_value);
	default:
		break;
	}
	if (index > 0) {
		return false;
	}
	switch (field - is_dst) {
	case POLICY_QUERY_SRC_NAME:
		return is_text(end->name, ret_value);
	case POLICY_QUERY_SRC_UUID:
		return is_id(record, id, ret_value);
	case POLICY_QUERY_SRC_IMAGE:
		return is_text(end->image, ret_value);
	case POLICY_QUERY_SRC_KIND:
		return is_text(end->kind, ret_value);
	case POLICY_QUERY_SRC_HOST:
		return is_text(end->host, ret_value);
	case POLICY_QUERY_SRC_CONTAINER:
		return is_text(end->container_id, ret_value);
	case POLICY_QUERY_SRC_LABEL:
		return is_label(record, id, key, ret_value);
	default:
		return false;
	}
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static bool process_value(const struct codec_event *event, unsigned index,
                          struct policy_query_value *ret_value)
{
	if (index == 0) {
		return is_text(event->exe, ret_value);
	}
	return index == 1 && is_text(base_name(event->exe), ret_value);
}

static bool user_value(const struct codec_event *event, unsigned index,
                       struct policy_query_value *ret_value)
{
	bool named = event->user[0] != '\0';
	if (named && index == 0) {
		return is_text(event->user, ret_value);
	}
	return index == (named ? 1 : 0) && event->uid != CODEC_NO_UID &&
	       is_number(event->uid, ret_value);
}

static bool agent_value(const struct recorder_record *record, unsigned index,
                        struct policy_query_value *ret_value)
{
	if (index == 0) {
		return is_id(record, &record->row.agent, ret_value);
	}
	const codec_doc_t *doc = recorder_names_find(record->names, &record->row.agent);
	return index == 1 && doc != NULL &&
	       is_text(codec_doc_text(doc, CODEC_ENDPOINT_NAME), ret_value);
}

/* Words that hold of a record, one after the other. */
static bool is_value(const struct recorder_record *record, unsigned index,
                     struct policy_query_value *ret_value)
{
	const struct store_row *row = &record->row;
	const struct {
		const char *word;
		bool holds;
	} words[] = {
		{ "unknown", row->event.unknown != CODEC_UNKNOWN_NONE },
		{ "external", strcmp(row->src.kind, "external") == 0 ||
		                      strcmp(row->dst.kind, "external") == 0 },
		{ "container", strcmp(row->src.kind, "container") == 0 ||
		                       strcmp(row->dst.kind, "container") == 0 },
		{ "host",
		  strcmp(row->src.kind, "host") == 0 || strcmp(row->dst.kind, "host") == 0 },
		{ "quarantined", row->event.decided_by == CODEC_DECIDED_BY_QUARANTINE },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(words); i++) {
		if (words[i].holds && index-- == 0) {
			return is_text(words[i].word, ret_value);
		}
	}
	return false;
}

/* Fields with one value. */
static bool single_value(const struct recorder_record *record, enum policy_query_field field,
                         struct policy_query_value *ret_value)
{
	const struct codec_event *event = &record->row.event;
	char *scratch = record->scratch;

	switch ((int)field) {
	case POLICY_QUERY_PID:
		return event->pid != 0 && is_number(event->pid, ret_value);
	case POLICY_QUERY_SERVICE:
		return is_text(codec_service_format(event->proto, event->dst_port, scratch),
		               ret_value);
	case POLICY_QUERY_VERDICT:
		return is_text(codec_enum_text(CODEC_SET_EVENT_VERDICT, event->verdict), ret_value);
	case POLICY_QUERY_RULE:
		return event->rule != CODEC_NO_RULE && is_number(event->rule, ret_value);
	case POLICY_QUERY_COMMENT:
		return is_text(record->row.rule_comment, ret_value);
	case POLICY_QUERY_MODE:
		return is_text(codec_enum_text(CODEC_SET_MODE, event->mode), ret_value);
	case POLICY_QUERY_CONNECTION:
		return is_text(codec_connection_format(event->connection, scratch), ret_value);
	case POLICY_QUERY_ID:
		return is_text(codec_event_id_format(&record->row.agent, event->seq, scratch),
		               ret_value);
	case POLICY_QUERY_SEQ:
		return is_number(event->seq, ret_value);
	case POLICY_QUERY_DECIDED_BY:
		return is_text(codec_enum_text(CODEC_SET_DECIDED_BY, event->decided_by), ret_value);
	case POLICY_QUERY_UNKNOWN:
		return is_text(codec_enum_text(CODEC_SET_UNKNOWN, event->unknown), ret_value);
	case POLICY_QUERY_REPORTER:
		return is_text(codec_enum_text(CODEC_SET_REPORTER, event->reporter), ret_value);
	case POLICY_QUERY_REVISION:
		return is_number(event->revision, ret_value);
	case POLICY_QUERY_LATENCY_US:
		return is_number(event->latency_us, ret_value);
	default:
		return false;
	}
}

bool recorder_record_value(const void *given, enum policy_query_field field, const char *key,
                           unsigned index, struct policy_query_value *ret_value)
{
	const struct recorder_record *record = given;
	const struct codec_event *event = &record->row.event;

	if (field <= POLICY_QUERY_DST_LABEL) {
		return end_value(record, field, key, index, ret_value);
	}
	switch ((int)field) {
	case POLICY_QUERY_USER:
		return user_value(event, index, ret_value);
	case POLICY_QUERY_PROCESS:
		return process_value(event, index, ret_value);
	case POLICY_QUERY_AGENT:
		return agent_value(record, index, ret_value);
	case POLICY_QUERY_IS:
		return is_value(record, index, ret_value);
	case POLICY_QUERY_PROTO:
		if (index == 0) {
			return is_text(codec_proto_format(event->proto, record->scratch),
			               ret_value);
		}
		return index == 1 && is_number(event->proto, ret_value);
	default:
		return index == 0 && single_value(record, field, ret_value);
	}
}

static void end_encode(codec_doc_t *doc, const struct store_end_names *end, unsigned name,
                       unsigned host)
{
	/* Name, kind, container and image of an end stand side by side in the table. */
	codec_doc_set_text(doc, name, end->name);
	codec_doc_set_text(doc, name + 1, end->kind);
	codec_doc_set_text(doc, name + 2, end->container_id);
	codec_doc_set_text(doc, name + 3, end->image);
	codec_doc_set_text(doc, host, end->host);
}

_Static_assert(CODEC_EVENT_ROW_SRC_IMAGE == CODEC_EVENT_ROW_SRC_NAME + 3 &&
                       CODEC_EVENT_ROW_DST_IMAGE == CODEC_EVENT_ROW_DST_NAME + 3,
               "end_encode() counts on it");

static bool event_encode(const struct codec_event *event, unsigned field, codec_doc_t *doc)
{
	uint8_t data[1024];
	size_t size_bytes;

	if (codec_records_encode(CODEC_EVENT, event, 1, data, sizeof(data), &size_bytes) != PR_OK) {
		return false;
	}
	codec_doc_set_blob(doc, field, data, size_bytes);
	return true;
}

codec_doc_t *recorder_record_doc(const struct recorder_record *record, uint64_t request_id)
{
	codec_doc_t *doc = codec_doc_new(CODEC_EVENT_ROW);

	if (doc == NULL || !event_encode(&record->row.event, CODEC_EVENT_ROW_EVENT, doc)) {
		codec_doc_destroy(&doc);
		return NULL;
	}
	codec_doc_set_u64(doc, CODEC_EVENT_ROW_ID, request_id);
	codec_doc_set_uuid(doc, CODEC_EVENT_ROW_AGENT, &record->row.agent);
	end_encode(doc, &record->row.src, CODEC_EVENT_ROW_SRC_NAME, CODEC_EVENT_ROW_SRC_HOST);
	end_encode(doc, &record->row.dst, CODEC_EVENT_ROW_DST_NAME, CODEC_EVENT_ROW_DST_HOST);
	codec_doc_set_text(doc, CODEC_EVENT_ROW_RULE_COMMENT, record->row.rule_comment);
	return doc;
}

int recorder_record_far(const struct recorder_record *record, codec_doc_t *doc)
{
	if (!event_encode(&record->row.event, CODEC_EVENT_ROW_FAR_EVENT, doc)) {
		return PR_EMALF;
	}
	codec_doc_set_uuid(doc, CODEC_EVENT_ROW_FAR_AGENT, &record->row.agent);
	end_encode(doc, &record->row.dst, CODEC_EVENT_ROW_DST_NAME, CODEC_EVENT_ROW_DST_HOST);
	codec_doc_set_text(doc, CODEC_EVENT_ROW_FAR_RULE_COMMENT, record->row.rule_comment);
	return PR_OK;
}

int recorder_record_encode(const struct recorder_record *record, uint64_t request_id,
                           uint8_t **ret_data, size_t *ret_bytes)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = recorder_record_doc(record, request_id);

	return doc == NULL ? PR_ENOMEM : codec_doc_encode(doc, ret_data, ret_bytes);
}
