/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kill -9 of the real program under load: no acknowledged event is lost. 20 kills; or argument. */
#include "store/history.h"
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

static bool on_user(void *arg, const struct store_user *user)
{
	*(uint64_t *)arg += user->connections;
	return true;
}

static bool on_agent(void *arg, const struct store_agent *state)
{
	*(uint64_t *)arg += state->stored;
	return true;
}

/* Each event that was ever stored has counted once for its user. */
static void judge_users(struct fake *fake)
{
	char path[PATH_MAX + 32];
	struct store_history_options options = { .path = path, .read_only = true };
	struct store_user_place place = { .size_bytes = 0 };
	store_history_t *history = NULL;
	uint64_t counted = 0, stored = 0;
	bool more = true;

	(void)fake_stop(fake, SIGTERM);
	(void)snprintf(path, sizeof(path), "%s/state/history", fake->base);
	bool read = store_history_open(&options, &history) == PR_OK &&
	            store_history_users(history, &place, 1000, on_user, &counted, &more) == PR_OK &&
	            store_history_agents(history, on_agent, &stored) == PR_OK;
	ok(read && !more && counted == stored && stored > 0,
	   "users were counted once for each event: %llu of %llu", (unsigned long long)counted,
	   (unsigned long long)stored);
	store_history_destroy(&history);
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
	judge_users(&fake);
	if (tap_failed > 0) {
		fake_log_print(&fake);
	}
	fake_close(&fake);
	return tap_done();
}
