/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kill -9 of the real program under load: no acknowledged event is lost. 20 kills; or argument. */
#include "tests/recorder/load.h"

static void test_kills(struct fake *fake, unsigned kills)
{
	unsigned recovered = 0;
	uint64_t slowest_ms = 0;

	for (unsigned i = 0; i < kills; i++) {
		run_ms(fake, 100 + i * 37 % 200);
		int status = fake_stop(fake, SIGKILL);
		if (!WIFSIGNALED(status)) {
			break;
		}
		uint64_t before = loads[0].acknowledged;
		uint64_t start_ns = pr_clock_monotonic_ns();
		fake_start(fake, NULL, "");
		recovered += acknowledged_again(fake, before);
		uint64_t took_ms = (pr_clock_monotonic_ns() - start_ns) / PR_NS_PER_MS;
		slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
	}
	ok(recovered == kills, "%u of %u times it took up its work again, after %llu ms at most",
	   recovered, kills, (unsigned long long)slowest_ms);
}

int main(int argc, char **argv)
{
	unsigned kills = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20;
	struct bus_key viewer_key;
	struct fake fake;

	fake_open(&fake);
	load_run(&fake, &viewer_key);
	test_kills(&fake, kills);
	load_stop();
	judge(&fake, &viewer_key);
	if (tap_failed > 0) {
		fake_log_print(&fake);
	}
	fake_close(&fake);
	return tap_done();
}
