/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * Plays every *.scn of $srcdir/tests/scenario-agent against the gate with a fake kernel, clock,
 * attribution and bus. README.md there has the language. One result a scenario; a line that an
 * `expect` does not match, or output that nobody expected, fails it. After each scenario the books
 * must balance: every packet held was answered exactly once.
 */

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/scenario-agent/play.h"
#include "tests/tap.h"

struct play play;

static void verdicts_say(void)
{
	for (; play.verdicts_said < play.kernel.verdict_count; play.verdicts_said++) {
		const struct fake_verdict *verdict = &play.kernel.verdicts[play.verdicts_said];
		uint32_t ours = verdict->seen.mark & 0x30000000;
		if (!verdict->held) {
			play_fail("answered twice, or never held", "");
		}
		if (verdict->seen.id < 100000) {
			play_say("%s %u slot=%u mark=0x%x",
			         verdict->seen.verdict == 0 ? "drop"
			         : ours == 0x10000000       ? "accept"
			         : ours == 0x20000000       ? "reject"
			                                    : "unmarked",
			         verdict->seen.id, verdict->slot, verdict->seen.mark);
		}
	}
}

static void line_play(char *line)
{
	char *words[WORDS_MAX];
	int count = 0;
	char *rest = line;

	for (char *word = strsep(&rest, " \t\n"); word != NULL && count < WORDS_MAX;
	     word = strsep(&rest, " \t\n")) {
		if (word[0] == '#') {
			break;
		}
		if (word[0] != '\0') {
			words[count++] = word;
		}
	}
	if (count == 0) {
		return;
	}
	if (strcmp(words[0], "expect") == 0 && count > 1) {
		play_expect(words, count);
		return;
	}
	if (strcmp(words[0], "counter") == 0 && count > 2) {
		play_counter(words);
		return;
	}
	if (play.expected < play.outputs) {
		play_fail("not expected", play.output[play.expected]);
	}
	play_act(words, count);
	while (gate_turn(play.gate)) {
	}
	verdicts_say();
}

static void stage_open(const char *name)
{
	struct gate_kernel kernel;

	memset(&play, 0, sizeof(play));
	play.name = name;
	play.initiator.unknown = CODEC_UNKNOWN_NO_SOCKET;
	play.initiator.uid = CODEC_NO_UID;
	play.listener.unknown = CODEC_UNKNOWN_NO_LISTENER;
	play.listener.uid = CODEC_NO_UID;
	fake_kernel_init(&play.kernel, &kernel);
	gate_config_default(&play.config);
	play.config.pending_max = 256;
	play.config.pending_namespace_max = 200;
	if (gate_new(&play.config, &kernel, &play_attribution, &play_outlet, &play.gate) != PR_OK) {
		play_fail("no gate", "");
		return;
	}
	gate_controller_set(play.gate, true);
}

static void stage_close(void)
{
	if (play.expected < play.outputs) {
		play_fail("not expected", play.output[play.expected]);
	}
	play.flood_id = 1;
	gate_destroy(&play.gate);
	play.expected = play.outputs;
	if (play.kernel.held_count > 0 && !play.kernel.send_fails) {
		play_fail("a packet was never answered", "");
	}
	if (play.kernel.bad_send) {
		play_fail("something else than verdicts was sent", "");
	}
	if (play.kernel.slots_attached != 0 && play.kernel.slots_detached == 0) {
		play_fail("descriptors were not given back", "");
	}
}

static void scenario_play(const char *folder, const char *name)
{
	char path[PATH_MAX];
	char line[LINE_BYTES];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "re");
	stage_open(name);
	if (file == NULL) {
		play_fail("cannot open", path);
	}
	while (file != NULL && play.gate != NULL && fgets(line, sizeof(line), file) != NULL) {
		play.line++;
		line_play(line);
	}
	if (file != NULL) {
		(void)fclose(file);
	}
	stage_close();
	ok(!play.failed, "%s", name);
}

static int is_scenario(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);
	return length > 4 && strcmp(entry->d_name + length - 4, ".scn") == 0;
}

int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	char folder[PATH_MAX];
	const char *source = getenv("srcdir");

	(void)snprintf(folder, sizeof(folder), "%s/tests/scenario-agent",
	               source != NULL ? source : ".");
	if (argc > 1) {
		scenario_play(folder, argv[1]);
		return tap_done();
	}
	int count = scandir(folder, &entries, is_scenario, alphasort);
	ok(count >= 25, "%d scenarios found, at least 25", count);
	for (int i = 0; i < count; i++) {
		scenario_play(folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return tap_done();
}
