/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/query_internal.h"

#define ID_START_MIN_BYTES 6
#define SHOWN(text)        policy_shown_bytes(text), (text)
#define HINT_BYTES         96
#define FIELD_WORDS_MAX    64
#define PREFIX_TEXT_BYTES  64

struct reader {
	policy_query_t *query;
	const char *text;
	size_t at;
	unsigned depth, term_count;
	struct policy_query_error *error;
	bool failed;
	char buffer[POLICY_QUERY_MAX_BYTES + 1];
};

static void *fail(struct reader *reader, size_t at, const char *format, ...) _printf_(3, 4);

/* The first error stands. Always NULL. */
static void *fail(struct reader *reader, size_t at, const char *format, ...)
{
	if (!reader->failed && reader->error != NULL) {
		va_list args;
		va_start(args, format);
		(void)vsnprintf(reader->error->message, sizeof(reader->error->message), format,
		                args);
		va_end(args);
		reader->error->position = at + 1;
	}
	reader->failed = true;
	return NULL;
}

static void *arena_alloc(struct reader *reader, size_t size_bytes)
{
	return policy_arena_alloc(&reader->query->arena, size_bytes);
}

static void skip_spaces(struct reader *reader)
{
	reader->at += strspn(reader->text + reader->at, " \t\r\n");
}

/* ---- values ---- */

static bool decimal(const char *text, size_t count, uint64_t *ret_number)
{
	uint64_t number = 0;
	if (count == 0 || count > 19) {
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (text[i] < '0' || text[i] > '9') {
			return false;
		}
		number = number * 10 + (uint64_t)(text[i] - '0');
	}
	*ret_number = number;
	return true;
}

/* N, N-M, N- */
static bool read_range(const char *text, struct policy_query_choice *choice)
{
	size_t bytes = strcspn(text, "-");
	if (!decimal(text, bytes, &choice->first)) {
		return false;
	}
	choice->last = choice->first;
	if (text[bytes] == '-') {
		const char *end = text + bytes + 1;
		choice->last = UINT64_MAX;
		if (end[0] != '\0' && !decimal(end, strlen(end), &choice->last)) {
			return false;
		}
	}
	choice->has_range = choice->first <= choice->last;
	return choice->has_range;
}

/* As a rule's prefix, but bits beyond the length do no harm in a question. */
static bool read_prefix(const char *text, struct policy_query_choice *choice)
{
	char address[PREFIX_TEXT_BYTES];
	uint64_t bits = 0;
	const char *slash = strchr(text, '/');
	size_t bytes = slash != NULL ? (size_t)(slash - text) : strlen(text);
	if (bytes >= sizeof(address)) {
		return false;
	}
	memcpy(address, text, bytes);
	address[bytes] = '\0';
	bool v4 = strchr(address, ':') == NULL;
	if (pr_addr_parse(address, &choice->prefix.addr) != PR_OK) {
		return false;
	}
	choice->prefix.bits = 128;
	if (slash != NULL) {
		if (!decimal(slash + 1, strlen(slash + 1), &bits) || bits > (v4 ? 32 : 128)) {
			return false;
		}
		choice->prefix.bits = (uint8_t)(bits + (v4 ? 96 : 0));
	}
	choice->has_prefix = true;
	return true;
}

static void lower(char *text)
{
	for (; *text != '\0'; text++) {
		*text = *text >= 'A' && *text <= 'Z' ? (char)(*text + ('a' - 'A')) : *text;
	}
}

static bool one_of_words(struct reader *reader, const struct policy_query_field_spec *spec,
                         struct policy_query_choice *choice, size_t at)
{
	const char *said[FIELD_WORDS_MAX];
	char hint[HINT_BYTES];
	size_t count = 0;
	for (size_t i = 0; spec->words[i] != NULL; i += 2) {
		if (strcmp(spec->words[i], choice->text) == 0) {
			choice->text = spec->words[i + 1];
			return true;
		}
		said[count++] = spec->words[i];
	}
	(void)policy_hint(choice->text, said, count, hint, sizeof(hint));
	(void)fail(reader, at, "\"%.*s\" is no %s%s", SHOWN(choice->text), spec->word, hint);
	return false;
}

/* How the text of a value is compared, by the kind of its field. */
static bool read_choice(struct reader *reader, const struct policy_query_field_spec *spec,
                        struct policy_query_choice *choice, bool quoted, size_t at)
{
	const char *text = choice->text;
	bool glob = !quoted && strpbrk(text, "*?") != NULL;
	choice->compare = glob ? POLICY_QUERY_GLOB : POLICY_QUERY_EQUAL;
	if (text[0] == '\0') {
		return fail(reader, at, "a value is missing after \"%s\"", spec->word) != NULL;
	}
	if (!quoted && strcmp(text, "none") == 0) {
		choice->compare = POLICY_QUERY_NONE;
		return true;
	}
	switch (spec->kind) {
	case POLICY_QUERY_NUMBERS:
		if (!read_range(text, choice)) {
			return fail(reader, at, "\"%.*s\" is not a number or range like 1024-2048",
			            SHOWN(text)) != NULL;
		}
		choice->compare = POLICY_QUERY_RANGE;
		return true;
	case POLICY_QUERY_ADDRS:
		if (!glob && !read_prefix(text, choice)) {
			return fail(reader, at, "\"%.*s\" is not an address or prefix",
			            SHOWN(text)) != NULL;
		}
		choice->compare = glob ? POLICY_QUERY_GLOB : POLICY_QUERY_PREFIX;
		return true;
	case POLICY_QUERY_ENUM:
		return glob || one_of_words(reader, spec, choice, at);
	case POLICY_QUERY_MIXED:
		(void)read_range(text, choice);
		return true;
	case POLICY_QUERY_WHO:
		(void)read_prefix(text, choice);
		choice->id_start = !glob && strlen(text) >= ID_START_MIN_BYTES;
		return true;
	case POLICY_QUERY_IDS:
	case POLICY_QUERY_WORDS:
		break;
	}
	if (spec->kind == POLICY_QUERY_IDS && !glob && strlen(text) >= ID_START_MIN_BYTES) {
		choice->compare = POLICY_QUERY_START;
	}
	return true;
}

/*
 * One value up to a comma, space or parenthesis, or in quotes. Returns NULL on error; @p ret_quoted
 * tells whether there were quotes.
 */
static const char *read_value(struct reader *reader, const char *ends, bool *ret_quoted)
{
	const char *text = reader->text;
	size_t start = reader->at, bytes = 0;
	*ret_quoted = text[start] == '"';
	if (*ret_quoted) {
		size_t i = start + 1;
		while (text[i] != '"' && text[i] != '\0') {
			size_t taken = text[i] == '\\'
			                       ? policy_escape_read(text + i, strlen(text + i),
			                                            reader->buffer, &bytes)
			                       : 0;
			if (taken > 0) {
				i += taken;
				continue;
			}
			i += text[i] == '\\' && text[i + 1] != '\0';
			reader->buffer[bytes++] = text[i++];
		}
		if (text[i] == '\0') {
			return fail(reader, start, "quotes are not closed");
		}
		reader->at = i + 1;
	} else {
		bytes = strcspn(text + start, ends);
		memcpy(reader->buffer, text + start, bytes);
		reader->at = start + bytes;
	}
	reader->buffer[bytes] = '\0';
	lower(reader->buffer);
	return policy_arena_text(&reader->query->arena, reader->buffer, bytes);
}

static bool read_choices(struct reader *reader, const struct policy_query_field_spec *spec,
                         struct policy_query_term *term)
{
	struct policy_array choices = { 0 };
	bool good = true, more = true;
	while (good && more) {
		bool quoted = false;
		size_t at = reader->at;
		struct policy_query_choice *choice = policy_array_add(&choices, sizeof(*choice));
		const char *text =
			choice == NULL ? NULL : read_value(reader, " \t\r\n(),", &quoted);
		if (choice == NULL || text == NULL) {
			reader->query->arena.failed |= !reader->failed;
			good = false;
			break;
		}
		choice->text = text;
		good = read_choice(reader, spec, choice, quoted, at);
		more = reader->text[reader->at] == ',';
		reader->at += more;
		reader->term_count++;
		if (good && reader->term_count > POLICY_QUERY_TERMS_MAX) {
			good = fail(reader, at, "more than %u terms and values",
			            POLICY_QUERY_TERMS_MAX) != NULL;
		}
	}
	if (good) {
		term->choices =
			policy_arena_copy(&reader->query->arena, choices.items,
		                          choices.count * sizeof(struct policy_query_choice));
		term->choice_count = choices.count;
		good = term->choices != NULL;
	}
	policy_array_done(&choices);
	return good;
}

/* `count>100`, `>=`, `<`, `<=`: a range. */
static bool read_comparison(struct reader *reader, const struct policy_query_field_spec *spec,
                            struct policy_query_term *term)
{
	bool greater = reader->text[reader->at++] == '>', quoted = false;
	bool equal = reader->text[reader->at] == '=';
	reader->at += equal;
	size_t at = reader->at;
	const char *text = read_value(reader, " \t\r\n()", &quoted);
	struct policy_query_choice *choice = arena_alloc(reader, sizeof(*choice));
	uint64_t number = 0;
	if (text == NULL || choice == NULL) {
		return false;
	}
	if (spec->kind != POLICY_QUERY_NUMBERS) {
		return fail(reader, at - 1, "\"%s\" is not a number: only \":\" may follow it",
		            spec->word) != NULL;
	}
	if (!decimal(text, strlen(text), &number)) {
		return fail(reader, at, "\"%.*s\" is not a number", SHOWN(text)) != NULL;
	}
	choice->compare = POLICY_QUERY_RANGE;
	choice->has_range = greater || equal || number > 0;
	choice->first = greater ? number + !equal : 0;
	choice->last = greater ? UINT64_MAX : number - !equal;
	term->choices = choice;
	term->choice_count = 1;
	return true;
}

/* ---- terms ---- */

static bool read_bare(struct reader *reader, struct policy_query_term *term)
{
	static const uint8_t looked_at[] = { POLICY_QUERY_SRC_NAME, POLICY_QUERY_DST_NAME,
		                             POLICY_QUERY_PROCESS, POLICY_QUERY_SRC_IP,
		                             POLICY_QUERY_DST_IP };
	struct policy_query_choice *choice = arena_alloc(reader, sizeof(*choice));
	bool quoted = false;
	size_t at = reader->at;
	const char *text = read_value(reader, " \t\r\n()", &quoted);
	if (choice == NULL || text == NULL) {
		return false;
	}
	if (text[0] == '\0') {
		return fail(reader, at, "a word is empty") != NULL;
	}
	bool glob = !quoted && strpbrk(text, "*?") != NULL;
	choice->text = text;
	choice->compare = glob ? POLICY_QUERY_GLOB : POLICY_QUERY_PART;
	if (!quoted && strchr(text, '/') != NULL && text[0] != '/') {
		(void)read_prefix(text, choice);
	}
	memcpy(term->fields, looked_at, sizeof(looked_at));
	term->field_count = sizeof(looked_at);
	term->choices = choice;
	term->choice_count = 1;
	return true;
}

static bool unknown_field(struct reader *reader, const char *word, size_t at)
{
	const char *words[FIELD_WORDS_MAX];
	char hint[HINT_BYTES];
	const char *name = word;
	if (strncmp(word, "src.", 4) == 0 || strncmp(word, "dst.", 4) == 0) {
		name += 4;
	}
	size_t count = policy_query_field_words(words, PR_ARRAY_LEN(words));
	(void)policy_hint(name, words, count, hint, sizeof(hint));
	return fail(reader, at, "unknown field \"%.*s\"%s", SHOWN(word), hint) != NULL;
}

/* An IPv6 address as a bare word has colons too. */
static bool is_address(struct reader *reader, size_t bytes)
{
	struct policy_query_choice choice = { 0 };
	char text[PREFIX_TEXT_BYTES];
	if (bytes >= sizeof(text)) {
		return false;
	}
	memcpy(text, reader->text + reader->at, bytes);
	text[bytes] = '\0';
	return read_prefix(text, &choice);
}

static bool read_term(struct reader *reader, struct policy_query_term *term)
{
	const char *text = reader->text + reader->at;
	size_t start = reader->at;
	size_t name_bytes = strcspn(text, ":<> \t\r\n()\"");
	size_t word_bytes = strcspn(text, " \t\r\n()");
	bool has_field = name_bytes > 0 && text[name_bytes] != '\0' &&
	                 strchr(":<>", text[name_bytes]) != NULL;
	if (!has_field || is_address(reader, word_bytes)) {
		return read_bare(reader, term);
	}
	memcpy(reader->buffer, text, name_bytes);
	reader->buffer[name_bytes] = '\0';
	const struct policy_query_field_spec *spec =
		policy_query_field_find(&reader->query->arena, reader->buffer, term);
	if (spec == NULL) {
		return unknown_field(reader, reader->buffer, start);
	}
	reader->at += name_bytes;
	if (reader->text[reader->at] != ':') {
		return read_comparison(reader, spec, term);
	}
	reader->at++;
	return read_choices(reader, spec, term);
}

/* ---- expressions ---- */

static const struct policy_query_node *read_or(struct reader *reader);

static const struct policy_query_node *new_node(struct reader *reader, enum policy_query_kind kind,
                                                const struct policy_query_node *left,
                                                const struct policy_query_node *right,
                                                const struct policy_query_term *term)
{
	struct policy_query_node *node = arena_alloc(reader, sizeof(*node));
	if (node != NULL) {
		*node = (struct policy_query_node){ kind, left, right, term };
	}
	return node;
}

/* Is this word next, alone? */
static bool at_word(const struct reader *reader, const char *word)
{
	size_t bytes = strlen(word);
	const char *text = reader->text + reader->at;
	return strncmp(text, word, bytes) == 0 && strchr(" \t\r\n()", text[bytes]) != NULL;
}

static bool take_word(struct reader *reader, const char *word)
{
	if (!at_word(reader, word)) {
		return false;
	}
	reader->at += strlen(word);
	skip_spaces(reader);
	return true;
}

static const struct policy_query_node *read_primary(struct reader *reader)
{
	size_t start = reader->at;
	if (reader->text[start] == '(') {
		if (++reader->depth > POLICY_QUERY_DEPTH_MAX) {
			return fail(reader, start, "more than %u parentheses in one another",
			            POLICY_QUERY_DEPTH_MAX);
		}
		reader->at++;
		const struct policy_query_node *inner = read_or(reader);
		if (inner == NULL) {
			return NULL;
		}
		if (reader->text[reader->at] != ')') {
			return fail(reader, start, "the parenthesis is not closed");
		}
		reader->at++;
		reader->depth--;
		return inner;
	}
	if (reader->text[start] == '\0' || reader->text[start] == ')' || at_word(reader, "OR") ||
	    at_word(reader, "AND")) {
		return fail(reader, start, "a term is missing");
	}
	if (++reader->term_count > POLICY_QUERY_TERMS_MAX) {
		return fail(reader, start, "more than %u terms and values", POLICY_QUERY_TERMS_MAX);
	}
	struct policy_query_term *term = arena_alloc(reader, sizeof(*term));
	if (term == NULL || !read_term(reader, term)) {
		return NULL;
	}
	for (size_t i = 0; i < term->field_count; i++) {
		reader->query->uses[term->fields[i]] = true;
	}
	return new_node(reader, POLICY_QUERY_TERM, NULL, NULL, term);
}

static const struct policy_query_node *read_not(struct reader *reader)
{
	bool negated = false;
	for (;;) {
		bool minus = reader->text[reader->at] == '-';
		if (!minus && !take_word(reader, "NOT")) {
			break;
		}
		if (minus) {
			reader->at++;
			skip_spaces(reader);
		}
		negated = !negated;
	}
	const struct policy_query_node *node = read_primary(reader);
	skip_spaces(reader);
	if (node == NULL || !negated) {
		return node;
	}
	return new_node(reader, POLICY_QUERY_NOT, node, NULL, NULL);
}

static const struct policy_query_node *read_and(struct reader *reader)
{
	const struct policy_query_node *node = read_not(reader);
	while (node != NULL && reader->text[reader->at] != '\0' &&
	       reader->text[reader->at] != ')' && !at_word(reader, "OR")) {
		(void)take_word(reader, "AND");
		const struct policy_query_node *right = read_not(reader);
		node = right == NULL ? NULL : new_node(reader, POLICY_QUERY_AND, node, right, NULL);
	}
	return node;
}

static const struct policy_query_node *read_or(struct reader *reader)
{
	skip_spaces(reader);
	const struct policy_query_node *node = read_and(reader);
	while (node != NULL && take_word(reader, "OR")) {
		const struct policy_query_node *right = read_and(reader);
		node = right == NULL ? NULL : new_node(reader, POLICY_QUERY_OR, node, right, NULL);
	}
	return node;
}

/* ---- whole query ---- */

static bool check_text(struct reader *reader, size_t bytes)
{
	size_t at = 0;
	if (bytes > POLICY_QUERY_MAX_BYTES) {
		return fail(reader, 0, "query of %zu bytes is longer than %u", bytes,
		            POLICY_QUERY_MAX_BYTES) != NULL;
	}
	while (at < bytes) {
		uint32_t code = 0;
		size_t character = policy_utf8_next(reader->text + at, bytes - at, &code);
		if (character == 0) {
			return fail(reader, at, "byte 0x%02x is not valid UTF-8",
			            (unsigned char)reader->text[at]) != NULL;
		}
		if (policy_code_is_hostile(code) && code != '\n' && code != '\r') {
			return fail(reader, at,
			            "control or invisible character U+%04X is not allowed",
			            code) != NULL;
		}
		at += character;
	}
	return true;
}

static void read_query(struct reader *reader)
{
	if (!check_text(reader, strlen(reader->text))) {
		return;
	}
	skip_spaces(reader);
	if (reader->text[reader->at] == '\0') {
		reader->query->root = new_node(reader, POLICY_QUERY_ALL, NULL, NULL, NULL);
		return;
	}
	reader->query->root = read_or(reader);
	if (reader->query->root != NULL && reader->text[reader->at] != '\0') {
		(void)fail(reader, reader->at, "this parenthesis closes nothing");
	}
}

int policy_query_parse(const char *text, struct policy_query_error *error,
                       policy_query_t **ret_query)
{
	_cleanup_(policy_query_destroy) policy_query_t *query = calloc(1, sizeof(*query));
	_cleanup_(pr_free) struct reader *reader = calloc(1, sizeof(*reader));
	if (query == NULL || reader == NULL) {
		return PR_ENOMEM;
	}
	reader->query = query;
	reader->text = text;
	reader->error = error;
	read_query(reader);
	if (reader->failed) {
		return PR_EINVAL;
	}
	if (query->root == NULL || query->arena.failed) {
		return PR_ENOMEM;
	}
	*ret_query = take_ptr(query);
	return PR_OK;
}

void policy_query_destroy(policy_query_t **query_p)
{
	policy_query_t *query = *query_p;
	if (query == NULL) {
		return;
	}
	policy_arena_done(&query->arena);
	free(query);
	*query_p = NULL;
}

bool policy_query_uses(const policy_query_t *query, enum policy_query_field field)
{
	return query->uses[field];
}
