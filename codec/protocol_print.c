/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdlib.h>

#include "base/err.h"
#include "codec/internal.h"
#include "codec/protocol_print.h"

static const struct {
	const char *name;
	uint8_t tag_bytes, value_bytes; /* of the hot form */
} kinds[] = {
	[CODEC_KIND_U8] = { "U8", 1, 1 },
	[CODEC_KIND_U16] = { "U16", 1, 2 },
	[CODEC_KIND_U32] = { "U32", 1, 4 },
	[CODEC_KIND_U64] = { "U64", 1, 8 },
	[CODEC_KIND_BOOL] = { "BOOL", 0, 0 },
	[CODEC_KIND_UUID] = { "UUID", 2, 16 },
	[CODEC_KIND_ADDR] = { "ADDR", 2, 16 },
	[CODEC_KIND_TEXT32] = { "TEXT32", 2, 32 },
	[CODEC_KIND_TEXT128] = { "TEXT128", 2, 128 },
	[CODEC_KIND_TEXT] = { "TEXT", 0, 0 },
	[CODEC_KIND_BLOB] = { "BLOB", 0, 0 },
	[CODEC_KIND_TEXTS] = { "TEXTS", 0, 0 },
};

static void upper_print(FILE *out, const char *name)
{
	for (; *name != '\0'; name++) {
		fputc(toupper((unsigned char)*name), out);
	}
}

/* A bar would end the table's cell. */
static void cell_print(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		fprintf(out, *text == '|' ? "\\|" : "%c", *text);
	}
	fputs(" |", out);
}

static void enums_print(FILE *out)
{
	static const char *const names[] = {
		[CODEC_SET_END] = "end",
		[CODEC_SET_KNOWN] = "known",
		[CODEC_SET_ACTION] = "action",
		[CODEC_SET_MODE] = "mode",
		[CODEC_SET_REPORTER] = "reporter",
		[CODEC_SET_EVENT_VERDICT] = "event_verdict",
		[CODEC_SET_DECIDED_BY] = "decided_by",
		[CODEC_SET_UNKNOWN] = "unknown",
		[CODEC_SET_JOIN] = "join",
	};

	fputs("## Enumerations\n\n| name | values |\n|---|---|\n", out);
	for (unsigned set = 0; set < PR_ARRAY_LEN(names); set++) {
		fprintf(out, "| %s |", names[set]);
		for (unsigned value = 0;; value++) {
			const char *text = codec_enum_text((enum codec_enum_set)set, value);
			if (strcmp(text, "?") == 0) {
				break;
			}
			fprintf(out, "%s %u %s", value > 0 ? "," : "", value,
			        text[0] == '\0' ? "none" : text);
		}
		fputs(" |\n", out);
	}
}

static void overview_print(FILE *out, const struct codec_message *messages, size_t count)
{
	fputs("\n## All messages\n\n"
	      "Directions: A agent, W worker, C controller, R recorder, M admin or viewer, "
	      "S subscriber; `X>Y` from X to Y.\n\n"
	      "| number | name | form | direction | meaning |\n|---|---|---|---|---|\n",
	      out);
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "| %d | ", messages[i].type);
		upper_print(out, messages[i].name);
		fprintf(out, " | %s | ", messages[i].hot ? "hot" : "control");
		cell_print(out, messages[i].direction);
		fputc(' ', out);
		cell_print(out, messages[i].doc);
		fputc('\n', out);
	}
}

static void message_print(FILE *out, const struct codec_message *message)
{
	size_t at = 3;

	fputs("\n### ", out);
	upper_print(out, message->name);
	fprintf(out, " (%d)\n\n%s%s Direction: %s.", message->type, message->doc,
	        message->doc[strlen(message->doc) - 1] == '?' ? "" : ".", message->direction);
	if (message->hot) {
		fprintf(out, " A record takes %zu bytes: `dc 00 %02zx`, then:",
		        codec_record_bytes(message->type), message->field_count);
	}
	fprintf(out, "\n\n| %sfield | type | unit | meaning |\n|%s---|---|---|---|\n",
	        message->hot ? "offset | " : "", message->hot ? "---|" : "");
	for (size_t i = 0; i < message->field_count; i++) {
		const struct codec_field *field = &message->fields[i];
		fputs("| ", out);
		if (message->hot) {
			fprintf(out, "%zu | ", at + kinds[field->kind].tag_bytes);
			at += kinds[field->kind].tag_bytes + kinds[field->kind].value_bytes;
		}
		fprintf(out, "%s | %s | ", field->name, kinds[field->kind].name);
		cell_print(out, field->unit);
		fputc(' ', out);
		cell_print(out, field->doc);
		fputc('\n', out);
	}
}

static void bytes_print(FILE *out, const char *title, const uint8_t *data, size_t size_bytes)
{
	fprintf(out, "\n%s\n\n   ", title);
	for (size_t i = 0; i < size_bytes; i++) {
		fprintf(out, "%s %02x", i > 0 && i % 24 == 0 ? "\n   " : "", data[i]);
	}
	fputc('\n', out);
}

static int examples_print(FILE *out)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_EVENTS_GET);
	_cleanup_(pr_free) uint8_t *data = NULL;
	struct codec_event_ack ack = { .seq = 4711 };
	uint8_t frame[64];
	size_t size_bytes;
	int ret;

	fputs("\n## Examples, byte by byte\n", out);
	ret = codec_records_encode(CODEC_EVENT_ACK, &ack, 1, frame, sizeof(frame), &size_bytes);
	if (ret < 0) {
		return ret;
	}
	bytes_print(out, "EVENT_ACK of number 4711:", frame, size_bytes);
	if (doc == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_ID, 1);
	codec_doc_set_text(doc, CODEC_EVENTS_GET_QUERY, "verdict:denied");
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_FOLLOW, true);
	ret = codec_doc_encode(doc, &data, &size_bytes);
	if (ret < 0) {
		return ret;
	}
	bytes_print(out,
	            "EVENTS_GET with id 1, query `verdict:denied` and follow "
	            "(`[80, 256, {\"id\": 1, \"query\": \"verdict:denied\", \"follow\": true}]`):",
	            data, size_bytes);
	return PR_OK;
}

static int preamble_print(FILE *out, const char *path)
{
	FILE *in = fopen(path, "re");
	int c;

	if (in == NULL) {
		return PR_EIO;
	}
	while ((c = fgetc(in)) != EOF) {
		fputc(c, out);
	}
	c = ferror(in);
	fclose(in);
	return c != 0 ? PR_EIO : PR_OK;
}

int codec_protocol_print(FILE *out, const char *preamble_path)
{
	size_t count;
	const struct codec_message *messages = codec_messages(&count);
	int ret = preamble_print(out, preamble_path);

	if (ret < 0) {
		return ret;
	}
	fputs("\n---\n\n", out);
	enums_print(out);
	overview_print(out, messages, count);
	fputs("\n## Hot messages\n", out);
	for (size_t i = 0; i < count; i++) {
		if (messages[i].hot) {
			message_print(out, &messages[i]);
		}
	}
	fputs("\n## Control messages\n", out);
	for (size_t i = 0; i < count; i++) {
		if (!messages[i].hot) {
			message_print(out, &messages[i]);
		}
	}
	ret = examples_print(out);
	return ret < 0 ? ret : ferror(out) != 0 ? PR_EIO : PR_OK;
}
