/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Paths that fit and that do not; enumeration names; the table itself. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"
#include "tests/tap.h"

static void test_paths(void)
{
	char text[129], other[129], longest[200];

	codec_path_set(text, sizeof(text), "/usr/sbin/apache2");
	ok(strcmp(text, "/usr/sbin/apache2") == 0, "a short path stays as it is");
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[128] = '\0';
	codec_path_set(text, sizeof(text), longest);
	ok(strcmp(text, longest) == 0, "a path of 128 bytes still fits");
	longest[128] = 'b';
	longest[129] = '\0';
	codec_path_set(text, sizeof(text), longest);
	ok(text[0] == '#' && strlen(text) == 37, "a path of 129 bytes becomes # and a UUID");
	codec_path_set(other, sizeof(other), longest);
	ok(strcmp(text, other) == 0, "the same path gives the same UUID");
	longest[128] = 'c';
	codec_path_set(other, sizeof(other), longest);
	ok(strcmp(text, other) != 0, "another path gives another");
	codec_path_set(text, sizeof(text), "/tmp/\x1b[2J\n");
	ok(strcmp(text, "/tmp/\x1b[2J\n") == 0, "control characters stay as they are");
	codec_path_set(text, sizeof(text), "/tmp/100%\xff");
	ok(strcmp(text, ":/tmp/100%25%FF") == 0, "what is not UTF-8 is told byte by byte");
	codec_path_set(text, sizeof(text), ":/tmp/%FF");
	codec_path_set(other, sizeof(other), "#5f0c0000-0000-0000-0000-000000000000");
	ok(strcmp(text, "::/tmp/%25FF") == 0 &&
	           strcmp(other, ":#5f0c0000-0000-0000-0000-000000000000") == 0,
	   "what is no path looks like no other form");
	memset(longest, 0xff, 50);
	longest[0] = '/';
	longest[43] = '\0';
	codec_path_set(text, sizeof(text), longest);
	ok(text[0] == ':' && strlen(text) == 128, "43 bytes, 42 of them not UTF-8, fit");
	longest[43] = 'a';
	longest[44] = '\0';
	codec_path_set(text, sizeof(text), longest);
	ok(text[0] == '#', "one more is a UUID");
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Of all sequences of these, no two have one text, and each comes back. */
static void test_bytes(void)
{
	static const char letters[] = {
		'a', ':', '%', '4', '1', '\xff', '\xc2', '\x85', '\0', '\n'
	};
	static char texts[11111][16];
	char bytes[4], back[4];
	size_t texts_count = 0, count;
	bool good = true, unique = true;

	for (size_t length = 0, many = 1; length <= 4; length++, many *= sizeof(letters)) {
		for (size_t number = 0; number < many; number++) {
			size_t rest = number;
			for (size_t i = 0; i < length; i++, rest /= sizeof(letters)) {
				bytes[i] = letters[rest % sizeof(letters)];
			}
			char *text = texts[texts_count++];
			good &= codec_bytes_format(bytes, length, text, sizeof(texts[0]));
			good &= codec_bytes_parse(text, back, sizeof(back), &count) &&
			        count == length && memcmp(back, bytes, length) == 0;
		}
	}
	qsort(texts, texts_count, sizeof(texts[0]), compare);
	for (size_t i = 1; i < texts_count; i++) {
		unique &= strcmp(texts[i - 1], texts[i]) != 0;
	}
	ok(good && texts_count == 11111, "any bytes come back from their text");
	ok(unique, "and no others have it");
	ok(codec_bytes_format("an\xc3\xa4", 4, texts[0], 5) &&
	           strcmp(texts[0], "an\xc3\xa4") == 0 &&
	           !codec_bytes_format("anna", 4, texts[0], 4) && texts[0][0] == '\0' &&
	           codec_bytes_format("a\xff", 2, texts[0], 6) && strcmp(texts[0], ":a%FF") == 0 &&
	           !codec_bytes_format("a\xff", 2, texts[0], 5) && texts[0][0] == '\0',
	   "what does not fit has none");
	ok(!codec_bytes_parse(":%4", back, 4, &count) &&
	           !codec_bytes_parse(":%ff", back, 4, &count) &&
	           !codec_bytes_parse("12345", back, 4, &count) &&
	           codec_bytes_parse("%4", back, 4, &count) && count == 2,
	   "no such form, more than there is room for; without the mark all is itself");
}

static void test_enums(void)
{
	unsigned value = 99;

	ok(strcmp(codec_enum_text(CODEC_SET_EVENT_VERDICT, CODEC_EVENT_VERDICT_WOULD_DENY),
	          "would-deny") == 0,
	   "a value has its text");
	ok(strcmp(codec_enum_text(CODEC_SET_END, 3), "?") == 0 &&
	           strcmp(codec_enum_text((enum codec_enum_set)77, 0), "?") == 0 &&
	           strcmp(codec_enum_text(CODEC_SET_END, 4000000), "?") == 0,
	   "a value outside is a question mark");
	ok(codec_enum_parse(CODEC_SET_DECIDED_BY, "queue-full", &value) == PR_OK &&
	           value == CODEC_DECIDED_BY_QUEUE_FULL,
	   "a text has its value");
	ok(codec_enum_parse(CODEC_SET_DECIDED_BY, "luck", &value) == PR_ENOENT &&
	           value == CODEC_DECIDED_BY_QUEUE_FULL,
	   "an unknown text has none");
}

static void test_event_texts(void)
{
	char text[CODEC_EVENT_TEXT_BYTES];
	struct pr_uuid agent = { { 0x5f, 0x0c } };

	ok(strcmp(codec_event_id_format(&agent, UINT64_MAX, text),
	          "5f0c0000-0000-0000-0000-000000000000-18446744073709551615") == 0,
	   "an event's id is its agent and number");
	ok(strcmp(codec_connection_format(0x1f, text), "000000000000001f") == 0 &&
	           strcmp(codec_connection_format(0, text), "") == 0,
	   "a connection is 16 hex digits, none is empty");
	ok(strcmp(codec_service_format(6, 80, text), "tcp/80") == 0 &&
	           strcmp(codec_service_format(17, 53, text), "udp/53") == 0 &&
	           strcmp(codec_service_format(1, 8 * 256, text), "icmp/8") == 0 &&
	           strcmp(codec_service_format(58, 128 * 256 + 3, text), "icmp6/128") == 0 &&
	           strcmp(codec_service_format(47, 9, text), "proto/47") == 0,
	   "services as policy writes them");
	ok(strcmp(codec_proto_format(6, text), "tcp") == 0 &&
	           strcmp(codec_proto_format(132, text), "132") == 0,
	   "protocols by name or number");
}

static void test_table(void)
{
	size_t count = 0;
	const struct codec_message *messages = codec_messages(&count);
	bool rising = true, few = true, unique = true;

	for (size_t i = 0; i < count; i++) {
		const struct codec_message *message = &messages[i];
		rising &= i == 0 || message->type > messages[i - 1].type;
		few &= message->field_count <= 64;
		for (size_t k = 0; k < message->field_count; k++) {
			for (size_t n = 0; n < k; n++) {
				unique &= strcmp(message->fields[k].name,
				                 message->fields[n].name) != 0;
			}
		}
	}
	ok(count >= 40, "the table has %zu messages", count);
	ok(rising, "they stand in order of their numbers");
	ok(few, "none has more fields than a decoder reads");
	ok(unique, "no field stands twice in a message");
	ok(codec_message_find(CODEC_EVENT_ROW) != NULL &&
	           codec_message_find((enum codec_type)999) == NULL,
	   "a message is found by number");
	ok(strcmp(codec_message_find(CODEC_POLICY)->fields[CODEC_POLICY_AUTHOR].name, "author") ==
	                   0 &&
	           strcmp(codec_message_find(CODEC_END)->fields[CODEC_END_TEXT].name, "text") == 0,
	   "positions of fields agree with the table");
}

int main(void)
{
	test_paths();
	test_bytes();
	test_enums();
	test_event_texts();
	test_table();
	return tap_done();
}
