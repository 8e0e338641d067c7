/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Shall the threads that a decision goes through, the main one and the bus's, run on one CPU? To
 * wake a thread there takes 3 us; on an idle CPU of a virtual machine it takes 23 (two threads that
 * wake each other through an eventfd, doc/performance.md). While they have little to do that is the
 * most of what they take; with much to do, or beside a program that wants the same CPU, they need
 * all that they may have. Pure; times are the monotonic clock's.
 */

#include <stdbool.h>
#include <stdint.h>

#define TOGETHER_LOOK_NS 100000000ULL  /* between two looks */
#define TOGETHER_CALM_NS 1000000000ULL /* little to do for so long: together again */
/*
 * Per cent of the time, of all threads. With one connection after the other, as fast as they are
 * answered, they run for 50 and wait for 15 to 35, together and apart; with 64 at once they wait
 * for 75.
 */
#define TOGETHER_BUSY    75 /* they ran for more: apart */
#define TOGETHER_CALM    60 /* for less: little to do */
#define TOGETHER_CROWDED 50 /* they were ready for more, and had no CPU: apart */
/* Where they do little: waits that are many times as long as what they then do. */
#define TOGETHER_HELD_UP       1
#define TOGETHER_HELD_UP_TIMES 2

struct together {
	bool together;
	uint64_t looked_ns, busy_ns; /* last look; last that was not calm */
	uint64_t ran_ns, waited_ns;  /* then */
};

/** Apart at first, so that the kernel's scheduler finds a place for us. */
void together_begin(struct together *together, uint64_t now_ns);
bool together_due(const struct together *together, uint64_t now_ns);
/** @param ran_ns, waited_ns  Of all threads, since any time. @return Shall they be together now? */
bool together_look(struct together *together, uint64_t now_ns, uint64_t ran_ns, uint64_t waited_ns);
