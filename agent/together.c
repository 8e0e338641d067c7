/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/together.h"

void together_begin(struct together *together, uint64_t now_ns)
{
	*together = (struct together){ .looked_ns = now_ns, .busy_ns = now_ns };
}

bool together_due(const struct together *together, uint64_t now_ns)
{
	return now_ns - together->looked_ns >= TOGETHER_LOOK_NS;
}

bool together_look(struct together *together, uint64_t now_ns, uint64_t ran_ns, uint64_t waited_ns)
{
	uint64_t percent_ns = (now_ns - together->looked_ns) / 100;
	uint64_t ran = ran_ns - together->ran_ns, waited = waited_ns - together->waited_ns;
	bool crowded =
		waited > TOGETHER_CROWDED * percent_ns ||
		(waited > TOGETHER_HELD_UP * percent_ns && waited > TOGETHER_HELD_UP_TIMES * ran);

	if (crowded || ran > TOGETHER_CALM * percent_ns) {
		together->busy_ns = now_ns;
	}
	if (crowded || ran > TOGETHER_BUSY * percent_ns) {
		together->together = false;
	} else if (now_ns - together->busy_ns >= TOGETHER_CALM_NS) {
		together->together = true;
	}
	together->looked_ns = now_ns;
	together->ran_ns = ran_ns;
	together->waited_ns = waited_ns;
	return together->together;
}
