/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * Plays tests/scenario/NAME.scn: endpoints, policy and requests in, verdicts out, through a
 * worker's real frames with a fake clock. The language is in tests/scenario/README.md.
 */

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/controller/scenario.h"
#include "tests/tap.h"

#define WORDS_MAX  32
#define LINE_BYTES 1024

static void do_wait(const char *text)
{
	play.now_ns += strtoull(text, NULL, 10) * PR_NS_PER_MS;
	worker_turn_end(play.worker, play.now_ns, START_WALL_NS + play.now_ns);
}

static int by_id(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pr_uuid));
}

/* "quarantine NAME [MS]": for so long from the start of the scenario's clock. */
static void do_quarantine(char **words, size_t count)
{
	struct quarantine *item = &play.isolated[play.quarantine.count++];

	if (play.quarantine.count > PR_ARRAY_LEN(play.isolated)) {
		play_fatal("too many in quarantine");
	}
	*item = (struct quarantine){ .id = play_id_of(words[1]) };
	if (count == 3) {
		item->until_wall_ns = START_WALL_NS + strtoull(words[2], NULL, 10) * PR_NS_PER_MS;
	}
	qsort(play.isolated, play.quarantine.count, sizeof(*play.isolated), by_id);
}

static void do_endpoint(char **words, size_t count)
{
	if (strcmp(words[0], "host") == 0 && count >= 3) {
		struct place *place = play_place_new(words[1], words[1], 1);
		for (size_t i = 2; i < count; i++) {
			play_address_add(place, "global", words[i]);
		}
	} else if (strcmp(words[0], "network") == 0 && count == 4) {
		play_address_add(play_place_of(words[1]), words[2], words[3]);
	} else if ((strcmp(words[0], "container") == 0 || strcmp(words[0], "born") == 0) &&
	           count >= 5) {
		directory_time_set(play.directory, words[0][0] == 'b' ? play.now_ns : 0);
		struct place *place = play_place_new(words[1], words[2], 100 + play.place_count);
		for (size_t i = 3; i + 1 < count; i += 2) {
			play_address_add(place, words[i], words[i + 1]);
		}
	} else if (strcmp(words[0], "lives-with") == 0 && count == 3) {
		const struct place *with = play_place_of(words[2]);
		(void)play_place_new(words[1], with->host, with->namespace_inode);
	} else {
		play_fatal("unknown line");
	}
}

static void do_line(char **words, size_t count)
{
	if (strcmp(words[0], "ask") == 0 && count >= 6) {
		play_ask(words, count);
	} else if (strcmp(words[0], "notice") == 0 && count >= 5) {
		play_notice(words, count);
	} else if (strcmp(words[0], "restart") == 0 && count == 1) {
		play_worker_restart();
	} else if (strcmp(words[0], "counter") == 0 && count == 3) {
		play_counter(words);
	} else if (strcmp(words[0], "expect") == 0 && count >= 3) {
		play_expect(words, count);
	} else if (strcmp(words[0], "wait") == 0 && count == 2) {
		do_wait(words[1]);
	} else if (strcmp(words[0], "quarantine") == 0 && (count == 2 || count == 3)) {
		do_quarantine(words, count);
	} else if (strcmp(words[0], "release") == 0 && count == 1) {
		play.quarantine.count = 0;
	} else if (strcmp(words[0], "gone") == 0 && count == 2) {
		struct pr_uuid id = play_id_of(words[1]);
		directory_remove(play.directory, &id);
	} else {
		do_endpoint(words, count);
	}
}

/* Read the lines of a policy up to "end". */
static void read_policy(FILE *file)
{
	static char text[65536];
	char line[LINE_BYTES];
	size_t used = 0;

	while (fgets(line, sizeof(line), file) != NULL && strcmp(line, "end\n") != 0) {
		size_t length = strlen(line);
		play.line++;
		if (used + length >= sizeof(text)) {
			play_fatal("policy too long");
		}
		memcpy(text + used, line, length + 1);
		used += length;
	}
	play.line++;
	text[used] = '\0';
	play_policy_set(text);
}

static size_t split(char *line, char **words)
{
	size_t count = 0;
	char *save = NULL;

	for (char *word = strtok_r(line, " \t\n", &save); word != NULL && count < WORDS_MAX;
	     word = strtok_r(NULL, " \t\n", &save)) {
		if (word[0] == '#') {
			break;
		}
		words[count++] = word;
	}
	return count;
}

static unsigned play_file(const char *folder, const char *name)
{
	char path[8192], line[LINE_BYTES];
	char *words[WORDS_MAX];
	unsigned scenarios = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "r");
	play.file = name;
	play.line = 0;
	if (file == NULL) {
		play_fatal("cannot be read");
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		play.line++;
		if (strncmp(line, "scenario ", 9) == 0) {
			play_reset();
			(void)snprintf(play.title, sizeof(play.title), "%.*s",
			               (int)strcspn(line + 9, "\n"), line + 9);
			scenarios++;
			continue;
		}
		size_t count = split(line, words);
		if (count == 1 && strcmp(words[0], "policy") == 0) {
			read_policy(file);
		} else if (count > 0) {
			do_line(words, count);
		}
	}
	(void)fclose(file);
	return scenarios;
}

static int is_scenario(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot != NULL && strcmp(dot, ".scn") == 0;
}

int main(void)
{
	const char *srcdir = getenv("srcdir");
	struct dirent **entries = NULL;
	char folder[4096];
	unsigned scenarios = 0;

	(void)snprintf(folder, sizeof(folder), "%s/tests/scenario", srcdir != NULL ? srcdir : ".");
	int count = scandir(folder, &entries, is_scenario, alphasort);
	for (int i = 0; i < count; i++) {
		scenarios += play_file(folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	ok(scenarios >= 30, "%u scenarios in %s", scenarios, folder);
	worker_destroy(&play.worker);
	policy_image_destroy(&play.image);
	directory_destroy(&play.directory);
	return tap_done();
}
