/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "policy/query_internal.h"

/* What may be said, what is meant. */
static const char *const verdict_words[] = {
	"allowed", "allowed", "allow",      "allowed",    "denied",   "denied",  "deny",
	"denied",  "reject",  "rejected",   "rejected",   "rejected", "blocked", "denied",
	"block",   "denied",  "would-deny", "would-deny", NULL,
};
static const char *const mode_words[] = { "observe", "observe", "enforce", "enforce", NULL };
static const char *const kind_words[] = { "host",      "host",      "external", "external",
	                                  "container", "container", NULL };
static const char *const reporter_words[] = { "initiator",  "initiator",  "near", "initiator",
	                                      "terminator", "terminator", "far",  "terminator",
	                                      "boundary",   "boundary",   NULL };
static const char *const decided_words[] = {
	"worker",          "worker",          "lease",      "lease",
	"observe",         "observe",         "built-in",   "built-in",
	"quarantine",      "quarantine",      "deadline",   "deadline",
	"lost-controller", "lost-controller", "queue-full", "queue-full",
	"boundary",        "boundary",        NULL,
};
static const char *const is_words[] = { "new",         "new",         "stale",    "stale",
	                                "quarantined", "quarantined", "external", "external",
	                                "container",   "container",   "host",     "host",
	                                "unknown",     "unknown",     "staged",   "staged",
	                                NULL };

#define BOTH(name) POLICY_QUERY_SRC_##name, POLICY_QUERY_DST_##name
#define ONE(name)  POLICY_QUERY_##name, -1

/* Fields of an end: `src.`, `dst.`, `host.` or nothing may stand before. */
static const struct policy_query_field_spec end_fields[] = {
	{ "name", POLICY_QUERY_WORDS, BOTH(NAME), NULL },
	{ "uuid", POLICY_QUERY_IDS, BOTH(UUID), NULL },
	{ "ip", POLICY_QUERY_ADDRS, BOTH(IP), NULL },
	{ "port", POLICY_QUERY_NUMBERS, BOTH(PORT), NULL },
	{ "group", POLICY_QUERY_WORDS, BOTH(GROUP), NULL },
	{ "image", POLICY_QUERY_WORDS, BOTH(IMAGE), NULL },
	{ "kind", POLICY_QUERY_ENUM, BOTH(KIND), kind_words },
	{ "host", POLICY_QUERY_WORDS, BOTH(HOST), NULL },
	{ "container", POLICY_QUERY_IDS, BOTH(CONTAINER), NULL },
};

/* Names, as selectors have them, of what Compose writes into labels. */
static const struct {
	const char *word, *label;
} compose_labels[] = { { "compose.project", POLICY_COMPOSE_PROJECT_LABEL },
	               { "compose.service", POLICY_COMPOSE_SERVICE_LABEL } };

static const struct policy_query_field_spec label_field = { "label.KEY", POLICY_QUERY_WORDS,
	                                                    BOTH(LABEL), NULL };
static const struct policy_query_field_spec who_field = { "src", POLICY_QUERY_WHO, -1, -1, NULL };
static const struct policy_query_field_spec service_port = { "port", POLICY_QUERY_NUMBERS,
	                                                     ONE(DST_PORT), NULL };

static const struct policy_query_field_spec fields[] = {
	{ "user", POLICY_QUERY_MIXED, ONE(USER), NULL },
	{ "proc", POLICY_QUERY_WORDS, ONE(PROCESS), NULL },
	{ "process", POLICY_QUERY_WORDS, ONE(PROCESS), NULL },
	{ "pid", POLICY_QUERY_NUMBERS, ONE(PID), NULL },
	{ "service", POLICY_QUERY_WORDS, ONE(SERVICE), NULL },
	{ "proto", POLICY_QUERY_MIXED, ONE(PROTO), NULL },
	{ "verdict", POLICY_QUERY_ENUM, ONE(VERDICT), verdict_words },
	{ "rule", POLICY_QUERY_NUMBERS, ONE(RULE), NULL },
	{ "comment", POLICY_QUERY_WORDS, ONE(COMMENT), NULL },
	{ "mode", POLICY_QUERY_ENUM, ONE(MODE), mode_words },
	{ "conn", POLICY_QUERY_IDS, ONE(CONNECTION), NULL },
	{ "connection", POLICY_QUERY_IDS, ONE(CONNECTION), NULL },
	{ "id", POLICY_QUERY_IDS, ONE(ID), NULL },
	{ "seq", POLICY_QUERY_NUMBERS, ONE(SEQ), NULL },
	{ "agent", POLICY_QUERY_WORDS, ONE(AGENT), NULL },
	{ "decided_by", POLICY_QUERY_ENUM, ONE(DECIDED_BY), decided_words },
	{ "unknown", POLICY_QUERY_WORDS, ONE(UNKNOWN), NULL },
	{ "reporter", POLICY_QUERY_ENUM, ONE(REPORTER), reporter_words },
	{ "revision", POLICY_QUERY_NUMBERS, ONE(REVISION), NULL },
	{ "latency_us", POLICY_QUERY_NUMBERS, ONE(LATENCY_US), NULL },
	{ "is", POLICY_QUERY_ENUM, ONE(IS), is_words },
};

enum end { END_SOURCE = 1, END_DESTINATION = 2, END_EITHER = 3 };

static const struct {
	const char *word;
	enum end end;
} ends[] = { { "src", END_SOURCE }, { "dst", END_DESTINATION }, { "host", END_EITHER } };

static void look_at(struct policy_query_term *term, const struct policy_query_field_spec *spec,
                    enum end end)
{
	if (end & END_SOURCE) {
		term->fields[term->field_count++] = (uint8_t)spec->source;
	}
	if (end & END_DESTINATION) {
		term->fields[term->field_count++] = (uint8_t)spec->destination;
	}
}

/* `src:web`: its name, UUID, container or address. */
static const struct policy_query_field_spec *who(struct policy_query_term *term, enum end end)
{
	static const uint8_t source[] = { POLICY_QUERY_SRC_NAME, POLICY_QUERY_SRC_UUID,
		                          POLICY_QUERY_SRC_CONTAINER, POLICY_QUERY_SRC_IP };
	static const uint8_t destination[] = { POLICY_QUERY_DST_NAME, POLICY_QUERY_DST_UUID,
		                               POLICY_QUERY_DST_CONTAINER, POLICY_QUERY_DST_IP };
	for (size_t i = 0; i < PR_ARRAY_LEN(source); i++) {
		if (end & END_SOURCE) {
			term->fields[term->field_count++] = source[i];
		}
		if (end & END_DESTINATION) {
			term->fields[term->field_count++] = destination[i];
		}
	}
	return &who_field;
}

static const struct policy_query_field_spec *end_field(struct policy_arena *arena, const char *word,
                                                       enum end end, struct policy_query_term *term)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(end_fields); i++) {
		if (strcmp(end_fields[i].word, word) == 0) {
			look_at(term, &end_fields[i], end);
			return &end_fields[i];
		}
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(compose_labels); i++) {
		if (strcmp(compose_labels[i].word, word) == 0) {
			term->key = policy_arena_text(arena, compose_labels[i].label,
			                              strlen(compose_labels[i].label));
			look_at(term, &label_field, end);
			return &label_field;
		}
	}
	static const char label[] = "label.";
	if (strncmp(word, label, sizeof(label) - 1) == 0 && word[sizeof(label) - 1] != '\0') {
		const char *key = word + sizeof(label) - 1;
		term->key = policy_arena_text(arena, key, strlen(key));
		look_at(term, &label_field, end);
		return &label_field;
	}
	return NULL;
}

const struct policy_query_field_spec *policy_query_field_find(struct policy_arena *arena,
                                                              const char *word,
                                                              struct policy_query_term *term)
{
	term->field_count = 0;
	for (size_t i = 0; i < PR_ARRAY_LEN(ends); i++) {
		size_t bytes = strlen(ends[i].word);
		if (strcmp(word, ends[i].word) == 0) {
			return who(term, ends[i].end);
		}
		if (strncmp(word, ends[i].word, bytes) == 0 && word[bytes] == '.') {
			return end_field(arena, word + bytes + 1, ends[i].end, term);
		}
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(fields); i++) {
		if (strcmp(fields[i].word, word) == 0) {
			look_at(term, &fields[i], END_SOURCE);
			return &fields[i];
		}
	}
	if (strcmp(word, service_port.word) == 0) {
		look_at(term, &service_port, END_SOURCE);
		return &service_port;
	}
	return end_field(arena, word, END_EITHER, term);
}

size_t policy_query_field_words(const char **words, size_t max)
{
	size_t count = 0;
	for (size_t i = 0; i < PR_ARRAY_LEN(ends) && count < max; i++) {
		words[count++] = ends[i].word;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(end_fields) && count < max; i++) {
		words[count++] = end_fields[i].word;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(compose_labels) && count < max; i++) {
		words[count++] = compose_labels[i].word;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(fields) && count < max; i++) {
		words[count++] = fields[i].word;
	}
	return count;
}
