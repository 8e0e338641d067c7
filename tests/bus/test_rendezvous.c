/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "bus/bus.h"
#include "tests/tap.h"

#define KEYS    20000
#define WORKERS 5

static struct pr_uuid ids[WORKERS];

static uint64_t key_of(unsigned number)
{
	return number * 0x9e3779b97f4a7c15ULL;
}

static void test_balance(void)
{
	unsigned first[WORKERS] = { 0 }, second[WORKERS] = { 0 }, order[WORKERS], good = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		bus_rendezvous_order(key_of(i), ids, WORKERS, order);
		unsigned seen = 0;
		for (unsigned j = 0; j < WORKERS; j++) {
			seen |= 1U << order[j];
		}
		good += seen == (1U << WORKERS) - 1;
		first[order[0]]++;
		second[order[1]]++;
	}
	ok(good == KEYS, "each order names each worker once");
	for (unsigned j = 0; j < WORKERS; j++) {
		ok(first[j] > KEYS / WORKERS * 9 / 10 && first[j] < KEYS / WORKERS * 11 / 10,
		   "worker %u is first for %u of %d keys", j, first[j], KEYS);
		ok(second[j] > KEYS / WORKERS * 9 / 10 && second[j] < KEYS / WORKERS * 11 / 10,
		   "and second for %u", second[j]);
	}
}

static void test_movement(void)
{
	unsigned all[WORKERS], fewer[WORKERS], wrong = 0, moved = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		bus_rendezvous_order(key_of(i), ids, WORKERS, all);
		bus_rendezvous_order(key_of(i), ids, WORKERS - 1, fewer);
		unsigned want = all[0] == WORKERS - 1 ? all[1] : all[0];
		wrong += fewer[0] != want;
		moved += fewer[0] != all[0];
	}
	ok(wrong == 0, "without a worker only its keys move, to their second");
	ok(moved > 0 && moved < KEYS / WORKERS * 11 / 10, "%u of %d keys moved", moved, KEYS);
}

static void test_input_order(void)
{
	struct pr_uuid turned[WORKERS];
	unsigned a[WORKERS], b[WORKERS], differ = 0;

	for (unsigned j = 0; j < WORKERS; j++) {
		turned[j] = ids[WORKERS - 1 - j];
	}
	for (unsigned i = 0; i < 1000; i++) {
		bus_rendezvous_order(key_of(i), ids, WORKERS, a);
		bus_rendezvous_order(key_of(i), turned, WORKERS, b);
		differ += a[0] != WORKERS - 1 - b[0];
	}
	ok(differ == 0, "the list's order does not matter");
	unsigned one = 9;
	bus_rendezvous_order(1, ids, 1, &one);
	ok(one == 0, "one worker");
	bus_rendezvous_order(1, ids, 0, &one);
	ok(one == 0, "no worker: nothing is written");
}

static void test_constant(void)
{
	unsigned order[WORKERS];
	char text[WORKERS + 1] = { 0 };

	bus_rendezvous_order(42, ids, WORKERS, order);
	for (unsigned j = 0; j < WORKERS; j++) {
		text[j] = (char)('0' + order[j]);
	}
	ok(strcmp(text, "42310") == 0, "agents and workers of any version agree: %s", text);
}

int main(void)
{
	for (unsigned j = 0; j < WORKERS; j++) {
		ids[j] = pr_uuid_of_bytes("worker", &(char){ (char)('a' + j) }, 1);
	}
	test_balance();
	test_movement();
	test_input_order();
	test_constant();
	return tap_done();
}
