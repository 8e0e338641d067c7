/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A controller and a recorder that say what the tests of the command line want to hear. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/id.h"
#include "bus/bus.h"

/** A revision with rules of many kinds; every other has none. */
#define FAKE_DRAFT          "mode observe default\n# draft\n" /* of revision 41 */
#define FAKE_RULES_REVISION 9
#define FAKE_RULES                                                                   \
	"mode observe default\ngroup web select name web\ngroup db select name db\n" \
	"rule 10 allow from web to db tcp/3306 process /usr/sbin/apache2 "           \
	"to-process /usr/sbin/mariadbd comment \"=HYPERLINK(1)\"\n"                  \
	"rule 20 deny user 7 from any to host a tcp/22,2200-2299 disabled\n"         \
	"rule 30 reject from 10.0.0.0/8 to any any expires 2020-01-31\n"

struct fake {
	struct bus_key controller_key, recorder_key, client_key;
	struct bus_sign_key authority;
	struct pr_uuid client;
	unsigned controller_port, recorder_port; /* 0: any; set when it runs */
	bool forged;                             /* the directory is signed by somebody else */
	bool busy;                               /* the story has a second visitor */
	uint64_t first_seq;                      /* of a follower's list */
};

/** Keys; false: failed. */
bool fake_init(struct fake *fake);
/** Start a process that serves; its port is filled in. -1: failed. */
pid_t fake_controller_start(struct fake *fake);
pid_t fake_recorder_start(struct fake *fake);
