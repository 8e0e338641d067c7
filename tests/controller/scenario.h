/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of the player share. test_scenarios.c documents it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "controller/worker.h"

#define ASKED_MAX     64
#define ADDRESSES_MAX 16
#define START_WALL_NS (1800000000ULL * PR_NS_PER_S)

struct place {
	char name[32], host[32];
	uint64_t namespace_inode;
	struct directory_address addresses[ADDRESSES_MAX];
	size_t address_count;
};

struct asked {
	char name[32];
	uint64_t id;
	bool answered;
	struct codec_verdict verdict;
};

struct play {
	const char *file;
	size_t line;
	char title[256];
	directory_t *directory;
	policy_image_t *image;
	struct quarantine isolated[8];
	struct quarantine_set quarantine;
	worker_t *worker;
	struct place places[64];
	size_t place_count;
	struct asked asked[ASKED_MAX];
	size_t asked_count;
	uint64_t now_ns, revision;
};

extern struct play play;

/* scenario_world.c: worker, endpoints and policy */
void play_fatal(const char *what);
struct pr_uuid play_id_of(const char *name);
/** Another process takes the place of the worker: it knows directory and policy, and no flow. */
void play_worker_restart(void);
void play_reset(void);
struct place *play_place_of(const char *name);
struct place *play_place_new(const char *name, const char *host, uint64_t namespace_inode);
void play_address_add(struct place *place, const char *scope, const char *address);
void play_policy_set(const char *text);

/* scenario_ask.c: requests and notices */
/** NULL: nobody asked so. */
struct asked *play_asked_of(const char *name);
void play_ask(char **words, size_t count);
/** notice ID REPORTER src=A:P dst=A:P ...: of the near end that asked as ID, if it did. */
void play_notice(char **words, size_t count);

/* scenario_expect.c: what verdicts and counters have to be */
void play_expect(char **words, size_t count);
/** counter NAME VALUE: one of decide.h's. */
void play_counter(char **words);
