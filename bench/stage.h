/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Where a suite plays: network namespaces of our own named prt-bench-NAME, veth pairs between them,
 * processes in them, a folder for their files. All of it goes with stage_destroy(); what a run that
 * was killed left behind goes when the next stage is made. Processes are ended by id, and only
 * those that were started here (with it their start time is written down). Needs root. Threads:
 * one.
 *
 * Nothing is ever put into the namespace that the program itself runs in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/defs.h"

#define STAGE_PATH_BYTES   256
#define STAGE_LABEL_BYTES  32
#define STAGE_OUTPUT_BYTES 65536

typedef struct stage stage_t;

/**
 * @retval PR_EPERM   Not root, or namespaces are not allowed.
 * @retval PR_EBUSY   Another bench runs.
 */
int stage_new(stage_t **ret_stage) _must_check_;
void stage_destroy(stage_t **stage_p);

/** SIGINT or SIGTERM came: suites end early, then everything is cleaned up. */
bool stage_interrupted(void);
/** Folder for files, 0700, removed at the end. */
const char *stage_folder(const stage_t *stage);
/** Something failed: the folder stays until the next run, for its logs. Not after a signal. */
void stage_keep(stage_t *stage);
/** Folder with our other programs: the one that this program lies in. */
const char *stage_programs(void);

/** A namespace with loopback up. */
int stage_space_add(stage_t *stage, const char *name) _must_check_;
/** One end of a veth pair: with an address ("10.77.1.1/24"), or in a bridge. */
struct stage_end {
	const char *space, *device;
	const char *address;
	const char *bridge; /* NULL: address */
};
int stage_link(stage_t *stage, const struct stage_end *a, const struct stage_end *b) _must_check_;

/**
 * Run a shell line in a namespace (NULL: in none) and wait. Its output goes to @p output (NULL: to
 * the stage's log), cut to STAGE_OUTPUT_BYTES. 0, or a negative error, PR_EIO when it failed.
 */
int stage_shell(stage_t *stage, const char *space, char *output, const char *format,
                ...) _must_check_ _printf_(4, 5);
/** The same where failing does not matter: taking away what may not be there. */
void stage_try(stage_t *stage, const char *space, const char *format, ...) _printf_(3, 4);

/** Run a shell line in the background, output in the folder's LABEL.log. Returns the process. */
pid_t stage_spawn(stage_t *stage, const char *space, const char *label, const char *format, ...)
	_printf_(4, 5);
/**
 * Run a function in a process of its own in a namespace. It ends with us. @p fd is written to by
 * the function: one struct as its result, or one byte when it is ready.
 */
typedef void (*stage_fn)(const void *plan, int fd);
pid_t stage_fork(stage_t *stage, const char *space, stage_fn fn, const void *plan, int *ret_fd);
/** stage_fork(), then read a result of that size and wait. PR_EIO: it ended without one. */
int stage_call(stage_t *stage, const char *space, stage_fn fn, const void *plan, void *ret_result,
               size_t result_bytes) _must_check_;
/** stage_fork(), then wait until it says that it is ready. Negative: it ended before. */
pid_t stage_serve(stage_t *stage, const char *space, stage_fn fn, const void *plan);
/** SIGTERM, 5 s, SIGKILL. Processes that are not ours, or 0, are left alone. */
void stage_stop(stage_t *stage, pid_t pid);
/** us of CPU time that the living processes of this one's group have used so far, all threads. */
double stage_cpu_us(pid_t pid);
