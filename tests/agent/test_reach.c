/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/reach.h"
#include "tests/tap.h"

#define S 1000000000ULL

int main(void)
{
	struct reach reach;

	reach_begin(&reach, 100 * S);
	ok(reach_set(&reach, false, 100 * S) == REACH_NOTHING, "at the start: no warning");
	ok(reach_look(&reach, 102 * S) == REACH_NOTHING, "nor after two seconds");
	ok(reach_look(&reach, 103 * S) == REACH_LOST, "after three: a warning");
	ok(reach_look(&reach, 104 * S) == REACH_NOTHING &&
	           reach_set(&reach, false, 105 * S) == REACH_NOTHING,
	   "once");
	ok(reach_set(&reach, true, 106 * S) == REACH_ANSWERS, "a worker answers");
	ok(reach_set(&reach, true, 107 * S) == REACH_NOTHING &&
	           reach_look(&reach, 200 * S) == REACH_NOTHING,
	   "said once");
	ok(reach_set(&reach, false, 300 * S) == REACH_LOST, "lost after it was there: at once");
	ok(reach_set(&reach, true, 301 * S) == REACH_ANSWERS &&
	           reach_set(&reach, false, 302 * S) == REACH_LOST,
	   "and each time again");

	reach_begin(&reach, 100 * S);
	ok(reach_set(&reach, false, 100 * S) == REACH_NOTHING &&
	           reach_set(&reach, true, 101 * S) == REACH_ANSWERS &&
	           reach_set(&reach, false, 102 * S) == REACH_LOST,
	   "lost within the first seconds, but after an answer: at once");
	return tap_done();
}
