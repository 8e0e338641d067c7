/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <string.h>

#include "policy/parser.h"

static const struct {
	const char *word;
	uint8_t proto;
	uint16_t max; /* of its numbers */
	uint16_t min;
	const char *number; /* what its numbers are called */
} protocols[] = {
	{ "tcp", POLICY_PROTO_TCP, 65535, 1, "port" },
	{ "udp", POLICY_PROTO_UDP, 65535, 1, "port" },
	{ "icmp", POLICY_PROTO_ICMP, 255, 0, "ICMP type" },
	{ "icmp6", POLICY_PROTO_ICMP6, 255, 0, "ICMP type" },
	{ "proto", 0, 255, 0, "protocol" },
};

static int protocol_of(const char *word, size_t bytes)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(protocols); i++) {
		if (strlen(protocols[i].word) == bytes &&
		    memcmp(protocols[i].word, word, bytes) == 0) {
			return (int)i;
		}
	}
	return -1;
}

bool policy_word_is_service(const char *word)
{
	return strcmp(word, "any") == 0 || protocol_of(word, strcspn(word, "/")) >= 0;
}

static bool unknown_service(struct policy_parser *parser)
{
	static const char *const words[] = { "any",     "tcp",       "udp",   "icmp",    "icmp6",
		                             "from",    "to",        "user",  "process", "to-user",
		                             "comment", "expires",   "owner", "staged",  "disabled",
		                             "proto",   "to-process" };
	const char *text = parser->token.text;
	char changed[POLICY_NAME_MAX_BYTES], hint[POLICY_HINT_BYTES];
	size_t bytes = 0;
	for (; text[bytes] != '\0' && bytes < sizeof(changed) - 1; bytes++) {
		char c = (char)tolower((unsigned char)text[bytes]);
		changed[bytes] = c == ':' ? '/' : c;
	}
	changed[bytes] = '\0';
	if (text[bytes] == '\0' && strcmp(text, changed) != 0 && policy_word_is_service(changed)) {
		return policy_token_error(parser,
		                          "unknown service \"%.*s\", did you mean \"%.*s\"?",
		                          POLICY_SHOWN(text), POLICY_SHOWN(changed));
	}
	(void)policy_hint(text, words, PR_ARRAY_LEN(words), hint, sizeof(hint));
	if (hint[0] == '\0' && (strchr(text, '/') != NULL || isdigit((unsigned char)text[0]))) {
		return policy_token_error(parser,
		                          "unknown service \"%.*s\": write tcp/80, udp/53, icmp, "
		                          "proto/132 or any",
		                          POLICY_SHOWN(text));
	}
	return policy_token_error(parser, "unknown word \"%.*s\"%s", POLICY_SHOWN(text), hint);
}

static bool add_range(struct policy_parser *parser, const struct policy_service *range)
{
	if (parser->services.count == POLICY_SERVICES_MAX) {
		return policy_token_error(parser, "more than %u services in one line",
		                          POLICY_SERVICES_MAX);
	}
	struct policy_service *added = policy_array_add(&parser->services, sizeof(*range));
	if (added == NULL) {
		return policy_parser_no_memory(parser);
	}
	*added = *range;
	return true;
}

/* One number; @p text_p moves behind it. */
static bool read_number(struct policy_parser *parser, int protocol, const char **text_p,
                        uint16_t *ret_number)
{
	const char *text = *text_p;
	size_t digits = strspn(text, "0123456789");
	unsigned long number = 0;
	if (digits == 0) {
		return policy_token_error(parser, "\"%.*s\": %s %s must be a number",
		                          POLICY_SHOWN(parser->token.text),
		                          protocols[protocol].number[0] == 'I' ? "an" : "a",
		                          protocols[protocol].number);
	}
	for (size_t i = 0; i < digits && number <= UINT16_MAX; i++) {
		number = number * 10 + (unsigned long)(text[i] - '0');
	}
	if (number > protocols[protocol].max || number < protocols[protocol].min) {
		return policy_token_error(parser, "\"%.*s\": %s is not between %u and %u",
		                          POLICY_SHOWN(parser->token.text),
		                          protocols[protocol].number, protocols[protocol].min,
		                          protocols[protocol].max);
	}
	*text_p = text + digits;
	*ret_number = (uint16_t)number;
	return true;
}

static bool add_numbers(struct policy_parser *parser, int protocol, uint16_t first, uint16_t last)
{
	if (protocols[protocol].proto != 0) {
		return add_range(parser,
		                 &(struct policy_service){ .proto = protocols[protocol].proto,
		                                           .first = first,
		                                           .last = last });
	}
	for (unsigned proto = first; proto <= last; proto++) {
		if (!add_range(parser, &(struct policy_service){ .proto = (uint8_t)proto,
		                                                 .whole = true })) {
			return false;
		}
	}
	return true;
}

static bool read_list(struct policy_parser *parser, int protocol, const char *text)
{
	for (;;) {
		uint16_t first = 0, last = 0;
		if (!read_number(parser, protocol, &text, &first)) {
			return false;
		}
		last = first;
		if (*text == '-') {
			text++;
			if (!read_number(parser, protocol, &text, &last)) {
				return false;
			}
		}
		if (last < first) {
			return policy_token_error(parser,
			                          "\"%.*s\": the range runs backwards, did you "
			                          "mean %u-%u?",
			                          POLICY_SHOWN(parser->token.text), last, first);
		}
		if (!add_numbers(parser, protocol, first, last)) {
			return false;
		}
		if (*text == '\0') {
			return true;
		}
		if (*text != ',') {
			return policy_token_error(parser,
			                          "\"%.*s\": write numbers as 80,443,2200-2299",
			                          POLICY_SHOWN(parser->token.text));
		}
		text++;
	}
}

bool policy_value_service(struct policy_parser *parser)
{
	const char *text = parser->token.text;
	if (policy_token_is(parser, "any")) {
		return add_range(parser, &(struct policy_service){ .any = true }) &&
		       policy_token_next(parser);
	}
	if (parser->token.kind == POLICY_TOKEN_STRING) {
		return policy_token_error(parser,
		                          "\"%.*s\": no word of the language stands in quotes",
		                          POLICY_SHOWN(text));
	}
	size_t bytes = strcspn(text, "/");
	int protocol = protocol_of(text, bytes);
	if (protocol < 0) {
		return unknown_service(parser);
	}
	if (text[bytes] == '/') {
		return read_list(parser, protocol, text + bytes + 1) && policy_token_next(parser);
	}
	if (protocols[protocol].proto == 0) {
		return policy_token_error(parser, "write a protocol number: proto/132");
	}
	return add_range(parser, &(struct policy_service){ .proto = protocols[protocol].proto,
	                                                   .whole = true }) &&
	       policy_token_next(parser);
}

bool policy_services_take(struct policy_parser *parser, const struct policy_service **ret_services,
                          size_t *ret_count)
{
	size_t count = parser->services.count;
	if (count == 0) {
		return policy_token_error(parser, "no service: write tcp/80, udp/53, icmp or any");
	}
	parser->service_count += count;
	if (parser->service_count > POLICY_SERVICES_ALL_MAX) {
		return policy_token_error(parser, "more than %u services in the policy",
		                          POLICY_SERVICES_ALL_MAX);
	}
	*ret_services = policy_arena_copy(&parser->model->arena, parser->services.items,
	                                  count * sizeof(struct policy_service));
	*ret_count = count;
	parser->services.count = 0;
	return *ret_services != NULL || policy_parser_no_memory(parser);
}
