/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of the player share. scenario.c documents it. */

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "agent/gate/gate.h"
#include "tests/agent/fake_kernel.h"

#define OUTPUT_MAX   256
#define LINE_BYTES   512
#define WORDS_MAX    40
#define QUESTION_MAX 600

struct play {
	const char *name;
	int line;
	bool failed;
	struct fake_kernel kernel;
	struct gate_config config;
	gate_t *gate;
	struct part_owner initiator, listener;
	uint64_t question_ids[QUESTION_MAX];
	unsigned int questions, answered;
	size_t verdicts_said;
	uint32_t flood_id;
	size_t outputs, expected;
	char output[OUTPUT_MAX][LINE_BYTES];
};

extern struct play play;

/* outlet.c: attribution and bus as the scenario says, and what it has to expect of them */
extern const struct gate_attribution play_attribution;
extern const struct gate_outlet play_outlet;
void play_fail(const char *why, const char *what);
void play_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* words.c: its language */
void play_act(char **words, int count);
void play_expect(char **words, int count);
void play_counter(char **words);
