/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real threads on real CPUs: where the kernel says that they may run. */
#define LOG_COMPONENT "test"

#include <sched.h>
#include <unistd.h>

#include "agent/cpus.h"
#include "agent/timer.h"
#include "base/clock.h"
#include "base/err.h"
#include "bus/bus.h"
#include "tests/tap.h"

#define S PR_NS_PER_S

static int cpu_count(pid_t thread)
{
	cpu_set_t set;

	return sched_getaffinity(thread, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : -1;
}

static void test_together(cpus_t **cpus_p, uint64_t now_ns, pid_t io)
{
	int before = cpu_count(0);
	cpu_set_t main_set, io_set;
	cpus_t *cpus = *cpus_p;

	cpus_turn(cpus, now_ns + 20 * S);
	ok(cpu_count(0) == 1 && cpu_count(io) == 1, "on one CPU each after a calm time");
	(void)sched_getaffinity(0, sizeof(main_set), &main_set);
	(void)sched_getaffinity(io, sizeof(io_set), &io_set);
	ok(CPU_EQUAL(&main_set, &io_set), "the same one");
	/* A tenth of a second by that clock, in which the main thread ran for a fifth. */
	cpus_turn(cpus, now_ns + 20 * S + S / 10 + 1);
	for (uint64_t end_ns = pr_clock_monotonic_ns() + S / 5; pr_clock_monotonic_ns() < end_ns;) {
	}
	cpus_turn(cpus, now_ns + 20 * S + S / 5 + 2);
	ok(cpu_count(0) == before && cpu_count(io) == before, "all of them again when it is busy");
	cpus_turn(cpus, now_ns + 60 * S);
	ok(cpu_count(0) == 1, "one again");
	cpus_destroy(cpus_p);
	ok(cpu_count(0) == before && cpu_count(io) == before, "as it was, at the end");
}

/* The bus's thread names itself when it has begun to run, some time after the socket is there. */
static size_t io_threads_wait(pid_t threads[4])
{
	uint64_t end_ns = pr_clock_monotonic_ns() + 10 * S;
	size_t count;

	while ((count = bus_io_threads(threads, 4)) == 0 && pr_clock_monotonic_ns() < end_ns) {
		(void)usleep(1000);
	}
	return count;
}

/* What was given from outside counts. */
static void test_confined(void)
{
	uint64_t now_ns = pr_clock_monotonic_ns();
	cpu_set_t before, one;
	cpus_t *cpus = NULL;

	(void)sched_getaffinity(0, sizeof(before), &before);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	ok(cpus_new(now_ns, &cpus) == PR_ENOTSUP, "confined to one CPU: left alone");
	(void)sched_setaffinity(0, sizeof(before), &before);
}

static void test_timer(void)
{
	struct loop_timer timer = { .fd = -1 };
	uint64_t start_ns = pr_clock_monotonic_ns();
	uint64_t times;

	ok(loop_timer_open(&timer) == PR_OK && loop_timer_set(&timer, start_ns + S / 50) == PR_OK,
	   "a timer is set");
	ok(loop_timer_set(&timer, start_ns + S) == PR_OK && timer.rings_ns == start_ns + S / 50,
	   "what is due later leaves it as it is");
	ok(read(timer.fd, &times, sizeof(times)) < 0, "it does not ring yet");
	loop_timer_rang(&timer);
	ok(timer.rings_ns != 0, "nor does it count as having rung");
	ok(loop_timer_set(&timer, start_ns + S / 100) == PR_OK &&
	           timer.rings_ns == start_ns + S / 100,
	   "what is due sooner brings it forward");
	(void)usleep(30000);
	loop_timer_rang(&timer);
	ok(timer.rings_ns == 0, "it rang");
	ok(loop_timer_set(&timer, start_ns) == PR_OK, "a time that is over");
	(void)usleep(1000);
	ok(read(timer.fd, &times, sizeof(times)) == (ssize_t)sizeof(times), "rings at once");
	loop_timer_close(&timer);
	ok(timer.fd == -1, "closed");
}

int main(void)
{
	uint64_t now_ns = pr_clock_monotonic_ns();
	bus_context_t *context = NULL;
	bus_keyring_t *keyring = bus_keyring_new();
	cpus_t *cpus = NULL;
	pid_t io[4];

	ok(bus_io_threads(io, 4) == 0, "no thread of the bus before there is a bus");
	int ret = cpus_new(now_ns, &cpus);
	ok(ret == (cpu_count(0) < 2 ? PR_ENOTSUP : PR_OK),
	   "the bus's threads are looked for later");
	if (cpus != NULL) {
		cpus_turn(cpus, now_ns + 10 * S);
		ok(cpu_count(0) > 1, "the main thread alone is left as it is");
	}
	/* With a keyring it has sockets of its own. */
	ok(keyring != NULL && bus_context_new(keyring, &context) == PR_OK &&
	           io_threads_wait(io) == 1,
	   "one thread carries the bytes");
	if (cpus != NULL) {
		test_together(&cpus, now_ns + 10 * S, io[0]);
	}
	test_confined();
	test_timer();
	bus_context_destroy(&context);
	bus_keyring_destroy(&keyring);
	return tap_done();
}
