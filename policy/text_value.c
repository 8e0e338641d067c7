/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "codec/codec.h"
#include "policy/parser.h"

static const char *const reserved_names[] = { "any",    "host",   "group", "default",
	                                      "member", "select", "none" };

static bool all_digits(const char *text)
{
	return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Decimal, false beyond @p max. */
static bool decimal(const char *digits, size_t count, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;
	for (size_t i = 0; i < count; i++) {
		number = number * 10 + (uint64_t)(digits[i] - '0');
		if (number > max) {
			return false;
		}
	}
	*ret_number = number;
	return true;
}

static bool need_value(struct policy_parser *parser, const char *what)
{
	if (parser->token.kind == POLICY_TOKEN_END) {
		return policy_token_error(parser, "%s is missing", what);
	}
	if (parser->token.bytes == 0) {
		return policy_token_error(parser, "%s is empty", what);
	}
	return true;
}

bool policy_value_number(struct policy_parser *parser, const char *what, uint64_t min, uint64_t max,
                         uint64_t *ret_number)
{
	const struct policy_token *token = &parser->token;
	if (!need_value(parser, what)) {
		return false;
	}
	if (token->kind != POLICY_TOKEN_WORD || !all_digits(token->text)) {
		return policy_token_error(parser, "%s \"%.*s\" is not a number", what,
		                          POLICY_SHOWN(token->text));
	}
	uint64_t number = 0;
	if (!decimal(token->text, token->bytes, max, &number) || number < min) {
		return policy_token_error(parser, "%s %.*s is not between %llu and %llu", what,
		                          POLICY_SHOWN(token->text), (unsigned long long)min,
		                          (unsigned long long)max);
	}
	*ret_number = number;
	return policy_token_next(parser);
}

bool policy_value_is_uuid(const char *text)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		if (text[i] == '\0' || (form[i] == '-') != (text[i] == '-')) {
			return false;
		}
	}
	return text[sizeof(form) - 1] == '\0';
}

bool policy_value_uuid(struct policy_parser *parser, struct pr_uuid *ret_id)
{
	const struct policy_token *token = &parser->token;
	struct pr_uuid id;
	if (!need_value(parser, "UUID")) {
		return false;
	}
	if (pr_uuid_parse(token->text, &id) != PR_OK) {
		return policy_token_error(
			parser, "\"%.*s\" is not a UUID: write 32 hex digits as 8-4-4-4-12",
			POLICY_SHOWN(token->text));
	}
	if (pr_uuid_is_null(&id)) {
		return policy_token_error(parser, "the UUID of all zeros is nobody's");
	}
	*ret_id = id;
	return policy_token_next(parser);
}

bool policy_value_text(struct policy_parser *parser, const char *what, size_t max_bytes,
                       const char **ret_text)
{
	const struct policy_token *token = &parser->token;
	if (!need_value(parser, what)) {
		return false;
	}
	if (token->bytes > max_bytes) {
		return policy_token_error(parser, "%s of %zu bytes is longer than %zu", what,
		                          token->bytes, max_bytes);
	}
	*ret_text = policy_arena_text(&parser->model->arena, token->text, token->bytes);
	if (*ret_text == NULL) {
		return policy_parser_no_memory(parser);
	}
	return policy_token_next(parser);
}

static bool is_name_character(unsigned char c, bool first)
{
	bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
	return letter || c == '_' || c >= 0x80 || (!first && (c == '-' || c == '.'));
}

static bool check_name(struct policy_parser *parser, const char *what)
{
	const struct policy_token *token = &parser->token;
	struct pr_addr addr;
	for (size_t i = 0; i < token->bytes; i++) {
		if (!is_name_character((unsigned char)token->text[i], i == 0)) {
			return policy_token_error(parser,
			                          "%s \"%.*s\": a name has letters, digits, \"_\" "
			                          "and, not first, \"-\" and \".\"",
			                          what, POLICY_SHOWN(token->text));
		}
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(reserved_names); i++) {
		if (strcmp(token->text, reserved_names[i]) == 0) {
			return policy_token_error(parser,
			                          "\"%s\" is a word of the language, not "
			                          "a name for a %s",
			                          token->text, what);
		}
	}
	if (policy_value_is_uuid(token->text) || pr_addr_parse(token->text, &addr) == PR_OK) {
		return policy_token_error(parser,
		                          "a %s cannot be called \"%.*s\": it reads as an "
		                          "address or a UUID",
		                          what, POLICY_SHOWN(token->text));
	}
	return true;
}

bool policy_value_name(struct policy_parser *parser, const char *what, const char **ret_name)
{
	if (!need_value(parser, what)) {
		return false;
	}
	if (parser->token.bytes <= POLICY_NAME_MAX_BYTES && !check_name(parser, what)) {
		return false;
	}
	return policy_value_text(parser, what, POLICY_NAME_MAX_BYTES, ret_name);
}

static bool add_reference(struct policy_parser *parser, const struct policy_reference *reference)
{
	struct policy_reference *added = policy_array_add(&parser->references, sizeof(*reference));
	if (added == NULL) {
		return policy_parser_no_memory(parser);
	}
	*added = *reference;
	added->line = parser->line;
	return true;
}

bool policy_value_group(struct policy_parser *parser, const char **ret_name, uint32_t *ret_index)
{
	uint32_t column = parser->token.column;
	if (!policy_value_name(parser, "group", ret_name)) {
		return false;
	}
	return add_reference(parser, &(struct policy_reference){ .name = *ret_name,
	                                                         .ret_index = ret_index,
	                                                         .column = column });
}

static bool looks_like_address(const char *text)
{
	return strpbrk(text, "/:") != NULL ||
	       (strchr(text, '.') != NULL && text[strspn(text, "0123456789.")] == '\0');
}

/* `10.1.2.3/8` is most often meant as 10.0.0.0/8: say so. */
static bool bad_prefix(struct policy_parser *parser)
{
	const char *text = parser->token.text;
	char address[PR_ADDR_TEXT_BYTES];
	struct pr_prefix prefix;
	const char *slash = strchr(text, '/');
	size_t bytes = slash != NULL ? (size_t)(slash - text) : 0;
	uint64_t bits = 0;
	if (bytes > 0 && bytes < sizeof(address) && all_digits(slash + 1) &&
	    decimal(slash + 1, strlen(slash + 1), 128, &bits)) {
		memcpy(address, text, bytes);
		address[bytes] = '\0';
		bool v4 = strchr(address, ':') == NULL;
		if (pr_addr_parse(address, &prefix.addr) == PR_OK && bits <= (v4 ? 32 : 128)) {
			prefix.bits = (uint8_t)(bits + (v4 ? 96 : 0));
			for (unsigned i = prefix.bits; i < 128; i++) {
				prefix.addr.bytes[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
			}
			return policy_token_error(parser,
			                          "\"%.*s\" has bits set beyond its length, did "
			                          "you mean \"%s\"?",
			                          POLICY_SHOWN(text),
			                          pr_prefix_format(&prefix, address));
		}
	}
	return policy_token_error(parser, "\"%.*s\" is not an address or prefix",
	                          POLICY_SHOWN(text));
}

bool policy_value_operand(struct policy_parser *parser, struct policy_operand *ret_operand)
{
	const char *text = parser->token.text;
	struct policy_operand *operand = ret_operand;
	operand->group = POLICY_NO_INDEX;
	if (!need_value(parser, "endpoint, group or address")) {
		return false;
	}
	if (policy_token_is(parser, "any")) {
		operand->kind = POLICY_OPERAND_ANY;
		return policy_token_next(parser);
	}
	if (policy_token_is(parser, "group")) {
		return policy_token_error(parser, "write the group's name alone");
	}
	if (policy_token_is(parser, "host")) {
		operand->kind = POLICY_OPERAND_HOST;
		return policy_token_next(parser) &&
		       policy_value_text(parser, "host name", POLICY_VALUE_MAX_BYTES,
		                         &operand->name);
	}
	if (policy_value_is_uuid(text)) {
		operand->kind = POLICY_OPERAND_ENDPOINT;
		return policy_value_uuid(parser, &operand->endpoint);
	}
	if (looks_like_address(text)) {
		operand->kind = POLICY_OPERAND_PREFIX;
		if (pr_prefix_parse(text, &operand->prefix) != PR_OK) {
			return bad_prefix(parser);
		}
		return policy_token_next(parser);
	}
	operand->kind = POLICY_OPERAND_GROUP;
	return policy_value_group(parser, &operand->name, &operand->group);
}

/* A name that is not UTF-8, in the form of codec_bytes_format(): another way to write it or another
 * name in it would match nobody. */
static bool is_carried(const char *text)
{
	char bytes[POLICY_PATH_MAX_BYTES], again[POLICY_PATH_MAX_BYTES + 1];
	size_t count = 0;
	return text[0] == ':' && codec_bytes_parse(text, bytes, sizeof(bytes), &count) &&
	       codec_bytes_format(bytes, count, again, sizeof(again)) && strcmp(again, text) == 0;
}

bool policy_user_from_text(struct policy_parser *parser, const char *text, uint32_t column,
                           bool in_usergroup, struct policy_user_match *user)
{
	size_t bytes = strlen(text);
	uint64_t uid = 0;
	if (bytes == 0) {
		return policy_parser_error_at(parser, column, "user is empty");
	}
	if (bytes - (text[0] == POLICY_USERGROUP_MARK) > POLICY_NAME_MAX_BYTES) {
		return policy_parser_error_at(parser, column, "user of %zu bytes is longer than %u",
		                              bytes, POLICY_NAME_MAX_BYTES);
	}
	if (all_digits(text)) {
		if (!decimal(text, bytes, UINT32_MAX - 1U, &uid)) {
			return policy_parser_error_at(parser, column,
			                              "uid %.*s is not between 0 and 4294967294",
			                              POLICY_SHOWN(text));
		}
		user->kind = POLICY_USER_UID;
		user->uid = (uint32_t)uid;
		return true;
	}
	bool carried = is_carried(text);
	if (strpbrk(carried ? text + 1 : text, carried ? ":" : ",:/ ") != NULL) {
		return policy_parser_error_at(parser, column,
		                              "no user is called \"%.*s\": several make a "
		                              "usergroup, a uid is a bare number",
		                              POLICY_SHOWN(text));
	}
	bool at = text[0] == POLICY_USERGROUP_MARK;
	if (at && in_usergroup) {
		return policy_parser_error_at(parser, column,
		                              "a usergroup cannot be a member of a usergroup: "
		                              "\"%.*s\"",
		                              POLICY_SHOWN(text + 1));
	}
	if (at && bytes == 1) {
		return policy_parser_error_at(parser, column,
		                              "the usergroup's name is missing behind @");
	}
	user->kind = at ? POLICY_USER_GROUP : POLICY_USER_NAME;
	user->name = policy_arena_text(&parser->model->arena, text + at, bytes - at);
	if (user->name == NULL) {
		return policy_parser_no_memory(parser);
	}
	return in_usergroup ||
	       add_reference(parser, &(struct policy_reference){
					     .name = user->name, .user = user, .column = column });
}

bool policy_value_user(struct policy_parser *parser, struct policy_user_match *ret_user)
{
	return need_value(parser, "user") &&
	       policy_user_from_text(parser, parser->token.text, parser->token.column, false,
	                             ret_user) &&
	       policy_token_next(parser);
}

/* The kernel never tells such a path: it would match nothing. */
static bool path_is_odd(const char *path)
{
	for (const char *at = strchr(path, '/'); at != NULL; at = strchr(at + 1, '/')) {
		size_t bytes = strcspn(at + 1, "/");
		if ((bytes == 0 && at[1] == '/') || (bytes == 1 && at[1] == '.') ||
		    (bytes == 2 && at[1] == '.' && at[2] == '.')) {
			return true;
		}
	}
	return false;
}

bool policy_value_process(struct policy_parser *parser, bool glob_allowed,
                          struct policy_process_match *ret_process)
{
	const char *text = parser->token.text;
	if (!need_value(parser, "process")) {
		return false;
	}
	bool glob = strpbrk(text, "*?") != NULL;
	if (glob && !glob_allowed) {
		return policy_token_error(parser, "a pattern is not a process: write one path");
	}
	if (text[0] != '/' && strncmp(text, "**", 2) != 0 && strcmp(text, "kernel") != 0 &&
	    !(text[1] == '/' && is_carried(text))) {
		return policy_token_error(parser,
		                          "process \"%.*s\" must be a full path, \"**\" and a "
		                          "part of one, or \"kernel\"",
		                          POLICY_SHOWN(text));
	}
	if (path_is_odd(text)) {
		return policy_token_error(parser,
		                          "process \"%.*s\" has \"//\", \".\" or \"..\" in it: "
		                          "write the path as the kernel tells it",
		                          POLICY_SHOWN(text));
	}
	ret_process->glob = glob;
	return policy_value_text(parser, "process", POLICY_PATH_MAX_BYTES, &ret_process->path);
}

bool policy_value_expires(struct policy_parser *parser, uint64_t *ret_wall_ns)
{
	uint64_t wall_ns = 0;
	if (!need_value(parser, "date")) {
		return false;
	}
	if (pr_clock_parse(parser->token.text, &wall_ns) != PR_OK || wall_ns == 0) {
		return policy_token_error(parser,
		                          "\"%.*s\" is not a date: write 2027-01-31 or "
		                          "2027-01-31T18:00:00Z",
		                          POLICY_SHOWN(parser->token.text));
	}
	*ret_wall_ns = wall_ns - wall_ns % PR_NS_PER_MS;
	return policy_token_next(parser);
}

bool policy_value_duration(struct policy_parser *parser, uint32_t *ret_s)
{
	static const struct {
		char unit;
		uint32_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	const struct policy_token *token = &parser->token;
	size_t digits = strspn(token->text, "0123456789");
	for (size_t i = 0; i < PR_ARRAY_LEN(units); i++) {
		uint64_t amount = 0;
		if (digits == 0 || token->bytes != digits + 1 ||
		    token->text[digits] != units[i].unit) {
			continue;
		}
		if (!decimal(token->text, digits, POLICY_LAST_KNOWN_MAX_S, &amount) ||
		    amount * units[i].seconds > POLICY_LAST_KNOWN_MAX_S || amount == 0) {
			return policy_token_error(parser, "time \"%.*s\" is not between 1s and 30d",
			                          POLICY_SHOWN(token->text));
		}
		*ret_s = (uint32_t)amount * units[i].seconds;
		return policy_token_next(parser);
	}
	return policy_token_error(parser, "\"%.*s\" is not a time: write 90s, 10m, 2h or 1d",
	                          POLICY_SHOWN(token->text));
}
