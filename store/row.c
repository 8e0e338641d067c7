/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/err.h"
#include "store/row.h"

#define KEY_AGENT_AT 8
#define KEY_SEQ_AT   24
#define KEY_BYTES    32

struct store_row_key store_row_key_of(const struct store_row *row)
{
	return (struct store_row_key){ row->event.time_wall_ns, row->agent, row->event.seq };
}

int store_row_key_compare(const struct store_row_key *a, const struct store_row_key *b)
{
	if (a->time_wall_ns != b->time_wall_ns) {
		return a->time_wall_ns < b->time_wall_ns ? -1 : 1;
	}
	int order = memcmp(a->agent.bytes, b->agent.bytes, sizeof(a->agent.bytes));
	if (order != 0) {
		return order;
	}
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* Every field of an event but those of the key, from the message table. */
#define WRITE_U8(name)      store_write_u8(writer, event->name);
#define WRITE_U16(name)     store_write_u16(writer, event->name);
#define WRITE_U32(name)     store_write_u32(writer, event->name);
#define WRITE_U64(name)     store_write_u64(writer, event->name);
#define WRITE_UUID(name)    store_write_uuid(writer, &event->name);
#define WRITE_ADDR(name)    store_write_bytes(writer, event->name.bytes, sizeof(event->name.bytes));
#define WRITE_TEXT32(name)  store_write_text(writer, event->name);
#define WRITE_TEXT128(name) store_write_text(writer, event->name);

#define READ_U8(name)      event->name = store_read_u8(reader);
#define READ_U16(name)     event->name = store_read_u16(reader);
#define READ_U32(name)     event->name = store_read_u32(reader);
#define READ_U64(name)     event->name = store_read_u64(reader);
#define READ_UUID(name)    event->name = store_read_uuid(reader);
#define READ_ADDR(name)    store_read_bytes(reader, event->name.bytes, sizeof(event->name.bytes));
#define READ_TEXT32(name)  store_read_array(reader, event->name, sizeof(event->name));
#define READ_TEXT128(name) store_read_array(reader, event->name, sizeof(event->name));

#define IN_REQUEST(what)
#define IN_VERDICT(what)
#define IN_EVENT(what) what
#define IN_EVENT_ACK(what)
#define IN_NOTICE(what)

static void event_write(struct store_writer *writer, const struct codec_event *event)
{
#define HOT_FIELD(M, NAME, name, kind, unit, doc) IN_##M(WRITE_##kind(name))
#include "codec/msg.def"
}

static void event_read(struct store_reader *reader, struct codec_event *event)
{
#define HOT_FIELD(M, NAME, name, kind, unit, doc) IN_##M(READ_##kind(name))
#include "codec/msg.def"
}

static void end_write(struct store_writer *writer, const struct store_end_names *end)
{
	store_write_text(writer, end->name);
	store_write_text(writer, end->kind);
	store_write_text(writer, end->container_id);
	store_write_text(writer, end->image);
	store_write_text(writer, end->host);
}

static void end_read(struct store_reader *reader, struct store_end_names *end)
{
	end->name = store_read_text(reader);
	end->kind = store_read_text(reader);
	end->container_id = store_read_text(reader);
	end->image = store_read_text(reader);
	end->host = store_read_text(reader);
}

void store_row_write(struct store_writer *writer, const struct store_row *row)
{
	event_write(writer, &row->event);
	end_write(writer, &row->src);
	end_write(writer, &row->dst);
	store_write_text(writer, row->rule_comment);
}

int store_row_read(const struct store_cursor *cursor, struct store_row *ret_row)
{
	const uint8_t *key = cursor->key.mv_data;
	struct store_row row = { 0 };
	struct store_reader reader;

	if (cursor->key.mv_size != KEY_BYTES || store_cursor_value(cursor, &reader) != PR_OK) {
		return PR_ECORRUPT;
	}
	memcpy(row.agent.bytes, key + KEY_AGENT_AT, sizeof(row.agent.bytes));
	event_read(&reader, &row.event);
	end_read(&reader, &row.src);
	end_read(&reader, &row.dst);
	row.rule_comment = store_read_text(&reader);
	if (store_reader_end(&reader) != PR_OK || row.event.time_wall_ns != store_u64_load(key) ||
	    row.event.seq != store_u64_load(key + KEY_SEQ_AT)) {
		return PR_ECORRUPT;
	}
	*ret_row = row;
	return PR_OK;
}
