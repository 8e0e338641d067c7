/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * A storm of short lives, for judging attribution: processes that make a connection and are gone,
 * each connection with a source port that no other has, and the storm's own log says whose it was.
 * Programs are copies of one (storm_client.c) under several names; what they say of themselves
 * (comm, argv) is a lie. They live in a process namespace with few numbers, each used again and
 * again.
 *
 * Of 20 connections 2 are made by a process that ends when connect() has returned, 2 by one that
 * does not wait for the answer and ends, 1 by one that executes another program with the socket
 * open, 1 by one that does so without having waited, 1 by one that gives the socket to another
 * process and ends; the others by processes that make up to four and stay for half a millisecond.
 */

#include <stdbool.h>
#include <stdint.h>

#define STORM_PROGRAMS   8
#define STORM_PORT_FIRST 10000
#define STORM_PORTS      50000 /* of one source address */
#define STORM_WORD       "storm-worker"
#define STORM_LOG        "storm.log"
#define STORM_PROGRAM    "%.256s/storm-program-%u"
#define STORM_PATH_BYTES 300

struct storm_plan {
	char client[256]; /* the program that is copied: storm-client */
	char folder[256]; /* for the copies and the log */
	char server[46];
	uint8_t source[4]; /* first source address; the next ones follow it */
	uint16_t port;     /* of the server */
	uint32_t count;
};

struct storm_result {
	uint64_t made, elapsed_ns;
};

/** What the storm says of one connection; its number is the source's: address, then port. */
struct storm_line {
	uint8_t made;    /* connect() was called and did not fail at once */
	uint8_t kind;    /* enum storm_kind */
	uint8_t program; /* which copy called it */
	uint32_t pid;    /* in the machine's first namespace */
	uint32_t uid;
};

enum storm_kind {
	STORM_STAYS,
	STORM_ENDS,
	STORM_ENDS_AT_ONCE,
	STORM_BECOMES_ANOTHER,
	STORM_BECOMES_ANOTHER_AT_ONCE,
	STORM_PASSES_IT_ON,
	STORM_KINDS,
};

const char *storm_kind_name(unsigned kind);
/** The path of a copy. */
void storm_program(const char *folder, unsigned program, char path[static STORM_PATH_BYTES]);

/** stage_fn: struct storm_plan in, struct storm_result out. */
void storm_run(const void *plan, int fd);
/** The log of a storm of @p count connections, mapped. NULL: there is none. */
const struct storm_line *storm_log_open(const char *folder, uint32_t count);
