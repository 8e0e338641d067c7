/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/backoff.h"
#include "base/clock.h"
#include "base/defs.h"
#include "tests/tap.h"

#define S PR_NS_PER_S

static void test_spread(void)
{
	unsigned low = 0, high = 0;
	bool within = true;

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t wait_ns = pr_backoff_spread_ns(S, pr_backoff_chance());
		within = within && wait_ns >= S / 2 && wait_ns <= S;
		low += wait_ns < S * 5 / 8;
		high += wait_ns > S * 7 / 8;
	}
	ok(within, "a wait lies between its half and itself");
	ok(low > 150 && high > 150, "by chance: %u of 1,000 in its first quarter, %u in its last",
	   low, high);
	ok(pr_backoff_spread_ns(0, UINT64_MAX) == 0 && pr_backoff_spread_ns(1, UINT64_MAX) <= 1,
	   "nothing stays nothing");
	ok(pr_backoff_spread_ns(UINT64_MAX, 0) == UINT64_MAX, "the longest there is");
}

static void test_growth(void)
{
	static const uint64_t wanted_s[] = { 1, 2, 4, 8, 10, 10, 10 };
	struct pr_backoff backoff = { .first_ns = S, .longest_ns = 10 * S };
	bool good = true, least = true;

	for (size_t i = 0; i < PR_ARRAY_LEN(wanted_s); i++) {
		struct pr_backoff same = backoff;
		good = good && pr_backoff_next_ns(&backoff, 0) == wanted_s[i] * S;
		/* The chance that takes all of the upper half away. */
		least = least &&
		        pr_backoff_next_ns(&same, wanted_s[i] * S / 2) == wanted_s[i] * S / 2;
	}
	ok(good, "each wait is twice the one before, up to the longest");
	ok(least, "and at least half of that");
	for (unsigned i = 0; i < 100000; i++) {
		good = good && pr_backoff_next_ns(&backoff, 0) == 10 * S;
	}
	ok(good, "there it stays, however often");
	pr_backoff_reset(&backoff);
	ok(pr_backoff_next_ns(&backoff, 0) == S, "after a success it begins anew");
	backoff = (struct pr_backoff){ .first_ns = UINT64_MAX / 3, .longest_ns = UINT64_MAX };
	for (unsigned i = 0; i < 5; i++) {
		good = good && pr_backoff_next_ns(&backoff, 0) >= UINT64_MAX / 3;
	}
	ok(good, "nothing runs over");
	backoff = (struct pr_backoff){ .first_ns = 5 * S, .longest_ns = S };
	ok(pr_backoff_next_ns(&backoff, 0) == S, "a first wait above the longest is the longest");
}

int main(void)
{
	test_spread();
	test_growth();
	return tap_done();
}
