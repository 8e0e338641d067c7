/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/reach.h"

void reach_begin(struct reach *reach, uint64_t now_ns)
{
	*reach = (struct reach){ .start_ns = now_ns };
}

enum reach_news reach_look(struct reach *reach, uint64_t now_ns)
{
	if (reach->reachable || reach->said ||
	    (!reach->ever && now_ns - reach->start_ns < REACH_PATIENCE_NS)) {
		return REACH_NOTHING;
	}
	reach->said = true;
	return REACH_LOST;
}

enum reach_news reach_set(struct reach *reach, bool reachable, uint64_t now_ns)
{
	bool news = reachable && !reach->reachable;

	reach->reachable = reachable;
	if (reachable) {
		reach->ever = true;
		reach->said = false;
		return news ? REACH_ANSWERS : REACH_NOTHING;
	}
	return reach_look(reach, now_ns);
}
