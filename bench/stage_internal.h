/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Inside of stage*.c. */

#include "bench/stage.h"

#define STAGE_PREFIX        "prt-bench-"
#define STAGE_RUN           "/run/prt-bench"
#define STAGE_LOCK          STAGE_RUN "/lock"
#define STAGE_PIDS          STAGE_RUN "/pids"
#define STAGE_FOLDERS       "/var/tmp/portreeve-bench."
#define STAGE_SPACES_MAX    32
#define STAGE_PROCESSES_MAX 256

struct stage {
	char folder[STAGE_PATH_BYTES];
	char spaces[STAGE_SPACES_MAX][STAGE_LABEL_BYTES];
	size_t space_count;
	pid_t processes[STAGE_PROCESSES_MAX];
	size_t process_count;
	int lock_fd;
	bool keep;  /* the folder: somebody will want its logs */
	bool owner; /* the lock is ours: so are the notes */
};

/** Room for one more? PR_ENOSPC: a process that is not noted could not be ended. */
int stage_process_room(const struct stage *stage) _must_check_;
void stage_process_note(struct stage *stage, pid_t pid);
