/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Load on a recorder, and the judgement by numbers afterwards. For tests. */

#include "tests/recorder/fake.h"

#define AGENTS 2
#define RATE   3000

struct load {
	struct bus_key key;
	struct pr_uuid id;
	pid_t pid;
	int fd;
	uint64_t acknowledged;
	char line[256];
	size_t line_bytes;
};

static struct load loads[AGENTS];

static inline void load_start(struct fake *fake, struct load *load, unsigned number)
{
	char path[PATH_MAX + 16], key[BUS_KEY_TEXT_BYTES], rate[16];
	int ends[2];

	(void)snprintf(path, sizeof(path), "%s/agent%u", fake->base, number);
	(void)!bus_key_save(path, &load->id, &load->key);
	(void)bus_key_format(fake->recorder_key, key);
	(void)snprintf(rate, sizeof(rate), "%u", RATE);
	if (pipe2(ends, O_NONBLOCK) != 0) {
		exit(99);
	}
	load->pid = fork();
	if (load->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(ends[1], 1);
		execl(fake_program("tests/tools/event-load"), "event-load", fake->recorder, key,
		      path, "0", rate, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	load->fd = ends[0];
}

/* Take what the generator says. */
static inline void load_read(struct load *load)
{
	char bytes[4096];
	ssize_t got;

	while ((got = read(load->fd, bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < got; i++) {
			if (bytes[i] != '\n') {
				load->line[load->line_bytes++ % (sizeof(load->line) - 1)] =
					bytes[i];
				continue;
			}
			load->line[load->line_bytes % sizeof(load->line)] = '\0';
			load->line_bytes = 0;
			if (strncmp(load->line, "ack ", 4) == 0) {
				load->acknowledged = strtoull(load->line + 4, NULL, 10);
			}
		}
	}
}

static inline void run_ms(struct fake *fake, unsigned ms)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + ms * PR_NS_PER_MS;

	while (pr_clock_monotonic_ns() < end_ns) {
		fake_turn(fake);
		for (unsigned i = 0; i < AGENTS; i++) {
			load_read(&loads[i]);
		}
		(void)poll(NULL, 0, 2);
	}
}

static inline bool acknowledged_again(struct fake *fake, uint64_t before)
{
	for (unsigned i = 0; i < 400 && loads[0].acknowledged <= before; i++) {
		run_ms(fake, 25);
	}
	return loads[0].acknowledged > before;
}

/* Every number from 1 on once, of each agent. */
static inline void judge(struct fake *fake, const struct bus_key *viewer_key)
{
	bus_client_t *viewer = fake_client(fake, viewer_key);
	static uint8_t *seen[AGENTS];
	uint64_t missing = 0, twice = 0, total = 0, rows = 0;
	bool ended = false;

	for (unsigned i = 0; i < AGENTS; i++) {
		seen[i] = calloc(1, loads[i].acknowledged + 100000);
		total += loads[i].acknowledged;
	}
	(void)fake_up(fake, viewer);
	fake_send(fake, viewer, fake_events_get(1, "", 0, false));
	while (!ended) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 5000);
		if (doc == NULL || codec_doc_type(doc) != CODEC_EVENT_ROW) {
			ok(doc != NULL && codec_doc_type(doc) == CODEC_END,
			   "the whole history is read: %llu rows, then %s",
			   (unsigned long long)rows,
			   doc == NULL                        ? "nothing"
			   : codec_doc_type(doc) == CODEC_END ? "the end"
			                                      : "another answer");
			break;
		}
		struct pr_uuid id = codec_doc_uuid(doc, CODEC_EVENT_ROW_AGENT);
		uint64_t seq = fake_row_event(doc).seq;
		for (unsigned i = 0; i < AGENTS; i++) {
			if (pr_uuid_equal(&id, &loads[i].id) &&
			    seq < loads[i].acknowledged + 100000) {
				twice += seen[i][seq]++ != 0;
			}
		}
		rows++;
	}
	for (unsigned i = 0; i < AGENTS; i++) {
		for (uint64_t seq = 1; seq <= loads[i].acknowledged; seq++) {
			missing += seen[i][seq] == 0;
		}
		free(seen[i]);
	}
	ok(total > 1000 && missing == 0, "of %llu acknowledged events %llu are missing",
	   (unsigned long long)total, (unsigned long long)missing);
	ok(twice == 0, "and %llu are there twice", (unsigned long long)twice);
	bus_client_destroy(&viewer);
}

/** A recorder that runs, with keys for the agents and a viewer, under load. */
static inline void load_run(struct fake *fake, struct bus_key *viewer_key)
{
	for (unsigned i = 0; i < AGENTS; i++) {
		loads[i].id = fake_peer(fake, BUS_ROLE_AGENT, &loads[i].key)->id;
	}
	fake_peer(fake, BUS_ROLE_VIEWER, viewer_key);
	ok(fake_run(fake), "and runs");
	for (unsigned i = 0; i < AGENTS; i++) {
		load_start(fake, &loads[i], i);
	}
	ok(acknowledged_again(fake, 0), "events are acknowledged");
}

static inline void load_stop(void)
{
	for (unsigned i = 0; i < AGENTS; i++) {
		kill(loads[i].pid, SIGTERM);
		waitpid(loads[i].pid, NULL, 0);
		load_read(&loads[i]);
	}
}
