/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A controller and a recorder that say what the tests of the command line want to hear. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/id.h"
#include "bus/bus.h"

struct fake {
	struct bus_key controller_key, recorder_key, client_key;
	struct bus_sign_key authority;
	struct pr_uuid client;
	unsigned controller_port, recorder_port; /* 0: any; set when it runs */
	bool forged;                             /* the directory is signed by somebody else */
	uint64_t first_seq;                      /* of a follower's list */
};

/** Keys; false: failed. */
bool fake_init(struct fake *fake);
/** Start a process that serves; its port is filled in. -1: failed. */
pid_t fake_controller_start(struct fake *fake);
pid_t fake_recorder_start(struct fake *fake);
