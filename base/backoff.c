/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/random.h>

#include "base/backoff.h"
#include "base/clock.h"

uint64_t pr_backoff_spread_ns(uint64_t wait_ns, uint64_t chance)
{
	uint64_t half_ns = wait_ns / 2;

	return wait_ns - chance % (half_ns + 1);
}

uint64_t pr_backoff_next_ns(struct pr_backoff *backoff, uint64_t chance)
{
	uint64_t wait_ns = backoff->first_ns;

	for (unsigned i = 0; i < backoff->failures && wait_ns < backoff->longest_ns; i++) {
		/* Not past the longest one, and so never past 64 bits. */
		wait_ns = wait_ns > backoff->longest_ns / 2 ? backoff->longest_ns : 2 * wait_ns;
	}
	if (wait_ns < backoff->longest_ns) {
		backoff->failures++;
	} else {
		wait_ns = backoff->longest_ns;
	}
	return pr_backoff_spread_ns(wait_ns, chance);
}

void pr_backoff_reset(struct pr_backoff *backoff)
{
	backoff->failures = 0;
}

uint64_t pr_backoff_chance(void)
{
	uint64_t chance;

	/* Early in a machine's life there may be none; then the clock's last digits do. */
	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != (ssize_t)sizeof(chance)) {
		chance = pr_clock_monotonic_ns();
	}
	return chance;
}
