/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/together.h"
#include "tests/tap.h"

#define MS 1000000ULL

struct life {
	struct together together;
	uint64_t now_ns, ran_ns, waited_ns;
};

/* So many milliseconds, of which per cent of a CPU were had and waited for. */
static bool live(struct life *life, unsigned long_ms, unsigned ran, unsigned waited)
{
	bool together = life->together.together;

	for (unsigned ms = 0; ms < long_ms; ms++) {
		life->now_ns += MS;
		life->ran_ns += ran * MS / 100;
		life->waited_ns += waited * MS / 100;
		if (together_due(&life->together, life->now_ns)) {
			together = together_look(&life->together, life->now_ns, life->ran_ns,
			                         life->waited_ns);
		}
	}
	return together;
}

static struct life born(void)
{
	struct life life = { .now_ns = 5000 * MS };

	together_begin(&life.together, life.now_ns);
	return life;
}

int main(void)
{
	struct life life = born();

	ok(!together_due(&life.together, life.now_ns + 99 * MS) &&
	           together_due(&life.together, life.now_ns + 100 * MS),
	   "looked at ten times a second");
	ok(!live(&life, 900, 1, 0), "apart at first: the scheduler finds us a place");
	ok(live(&life, 200, 1, 0), "together after a calm second");
	ok(live(&life, 3000, 50, 30), "and while one connection comes after the other");
	ok(live(&life, 3000, 70, 45), "and a little more");
	ok(!live(&life, 100, 80, 0), "much to do: apart at the next look");
	ok(!live(&life, 5000, 65, 0), "and so it stays with a little less: no swinging");
	ok(!live(&life, 900, 20, 0) && live(&life, 200, 20, 0), "until a second is calm");
	ok(!live(&life, 100, 55, 55), "many wait for that CPU: apart at once");
	ok(!live(&life, 5000, 50, 70), "and as long as they do");
	ok(live(&life, 1200, 1, 0), "then together");
	ok(live(&life, 3000, 0, 1), "a wait now and then is nothing");
	ok(!live(&life, 100, 2, 5), "little to do, and somebody else holds the CPU: apart at once");

	life = born();
	(void)live(&life, 1000, 0, 0);
	life.now_ns += 60000 * MS;
	life.ran_ns += 500 * MS;
	ok(together_look(&life.together, life.now_ns, life.ran_ns, life.waited_ns),
	   "the share counts, however long ago the last look was");
	return tap_done();
}
