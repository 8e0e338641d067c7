/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

static void queue_lines_parse(const char *text, const struct keeper_config *config,
                              struct keeper_counters *counters)
{
	while (*text != '\0') {
		unsigned int queue, port, held, mode, range, full, user;
		if (sscanf(text, "%u %u %u %u %u %u %u", &queue, &port, &held, &mode, &range, &full,
		           &user) == 7 &&
		    queue >= config->queue_first &&
		    queue < (unsigned int)config->queue_first + config->queue_count) {
			counters->queue_held += held;
			counters->queue_full_dropped += full;
			counters->queue_send_dropped += user;
			counters->queues_bound++;
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

int keeper_queue_counters_read(struct keeper *keeper, struct keeper_counters *counters)
{
	char text[8192];
	ssize_t got = pread(keeper->queues_fd, text, sizeof(text) - 1, 0);

	if (got < 0) {
		return -errno;
	}
	text[got] = '\0';
	counters->queue_held = 0;
	queue_lines_parse(text, &keeper->config, counters);
	return PR_OK;
}

int keeper_counters_read(keeper_t *keeper, struct keeper_counters *ret_counters,
                         struct keeper_error *ret_error)
{
	uint64_t values[_COUNTER_MAX] = { 0 };
	struct keeper_counters counters = { 0 };
	int error = PR_OK;

	keeper_error_clear(ret_error);
	if (keeper->about.state != KEEPER_NONE) {
		error = ruleset_counters_read(keeper, values);
	}
	if (error == PR_ENOENT) {
		/* "nft flush ruleset" does that: the next state_set() makes it anew. */
		keeper->about.state = KEEPER_NONE;
		return keeper_fail(ret_error, error,
		                   "table 'inet " KEEPER_TABLE "' was removed by another program");
	}
	if (error != PR_OK) {
		return keeper_fail(ret_error, error, "counters cannot be read: %s",
		                   pr_strerror(error));
	}
#define X(name, doc) counters.name = values[COUNTER_##name];
	KEEPER_COUNTER_LIST(X)
#undef X
	error = keeper_queue_counters_read(keeper, &counters);
	if (error != PR_OK) {
		return keeper_fail(ret_error, error, KEEPER_QUEUES_PATH " cannot be read: %s",
		                   pr_strerror(error));
	}
	*ret_counters = counters;
	return PR_OK;
}
