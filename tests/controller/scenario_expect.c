/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "tests/controller/scenario.h"
#include "tests/tap.h"

static bool endpoint_is(const struct pr_uuid *id, const char *name)
{
	struct pr_uuid expected = play_id_of(name);

	return strcmp(name, "none") == 0 ? pr_uuid_is_null(id) : pr_uuid_equal(id, &expected);
}

/* Does a verdict have this property? */
static bool holds(const struct codec_verdict *verdict, const char *key, const char *value)
{
	if (strcmp(key, "rule") == 0) {
		return verdict->rule ==
		       (strcmp(value, "none") == 0 ? CODEC_NO_RULE : strtoul(value, NULL, 10));
	}
	if (strcmp(key, "staged") == 0) {
		return verdict->staged_rule ==
		       (strcmp(value, "none") == 0 ? CODEC_NO_RULE : strtoul(value, NULL, 10));
	}
	if (strcmp(key, "mode") == 0) {
		return strcmp(codec_enum_text(CODEC_SET_MODE, verdict->mode), value) == 0;
	}
	if (strcmp(key, "by") == 0) {
		return strcmp(codec_enum_text(CODEC_SET_DECIDED_BY, verdict->decided_by), value) ==
		       0;
	}
	if (strcmp(key, "source") == 0) {
		return endpoint_is(&verdict->src_endpoint, value);
	}
	if (strcmp(key, "destination") == 0) {
		return endpoint_is(&verdict->dst_endpoint, value);
	}
	if (strcmp(key, "revision") == 0) {
		return verdict->revision == strtoull(value, NULL, 10);
	}
	if (strcmp(key, "unknown") == 0) {
		return verdict->unknown ==
		       (strcmp(value, "no-notice") == 0  ? CODEC_UNKNOWN_NO_NOTICE
		        : strcmp(value, "endpoint") == 0 ? CODEC_UNKNOWN_ENDPOINT
		        : strcmp(value, "newborn") == 0  ? CODEC_UNKNOWN_NEWBORN
		                                         : CODEC_UNKNOWN_NONE);
	}
	const struct asked *other = play_asked_of(value);
	if (other == NULL) {
		play_fatal("expect: no such key or request");
	}
	if (strcmp(key, "connection") == 0) {
		return verdict->connection == other->verdict.connection;
	}
	if (strcmp(key, "other-connection") == 0) {
		return verdict->connection != other->verdict.connection;
	}
	play_fatal("expect: no such key");
	return false;
}

static bool word_holds(const struct asked *asked, char *word)
{
	const struct codec_verdict *verdict = &asked->verdict;
	char *equals = strchr(word, '=');

	if (strcmp(word, "waits") == 0) {
		return !asked->answered;
	}
	if (!asked->answered) {
		return false;
	}
	if (strcmp(word, "final") == 0 || strcmp(word, "provisional") == 0) {
		return verdict->final == (word[0] == 'f');
	}
	if (equals == NULL) {
		return strcmp(codec_enum_text(CODEC_SET_ACTION, verdict->action), word) == 0;
	}
	*equals = '\0';
	bool good = holds(verdict, word, equals + 1);
	*equals = '=';
	return good;
}

void play_expect(char **words, size_t count)
{
	const struct asked *asked = play_asked_of(words[1]);

	if (asked == NULL) {
		play_fatal("expect: no such request");
	}
	for (size_t i = 2; i < count; i++) {
		ok(word_holds(asked, words[i]), "%s:%zu: %s: %s: %s", play.file, play.line,
		   play.title, words[1], words[i]);
	}
}

void play_counter(char **words)
{
	const struct decide_counters *counters = &worker_counters(play.worker)->decide;
	static const char *const names[] = {
#define X(name, doc) #name,
		DECIDE_COUNTER_LIST(X)
#undef X
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(names); i++) {
		if (strcmp(names[i], words[1]) == 0) {
			uint64_t value;
			memcpy(&value, (const uint64_t *)counters + i, sizeof(value));
			ok(value == strtoull(words[2], NULL, 10), "%s:%zu: %s: %s is %llu",
			   play.file, play.line, play.title, words[1], (unsigned long long)value);
			return;
		}
	}
	play_fatal("no such counter");
}
