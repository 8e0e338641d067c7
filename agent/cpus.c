/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/cpus.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/together.h"
#include "base/err.h"
#include "bus/bus.h"

#define LOG_COMPONENT "agent"
#include "base/log.h"

#define THREADS_MAX  4  /* the main one, and the bus's */
#define SEARCHES_MAX 50 /* of five seconds */

struct thread {
	pid_t id;
	int stat_fd;
	cpu_set_t allowed; /* as it was before it was put on one */
};

struct cpus {
	struct together decision;
	bool together; /* as it is */
	struct thread threads[THREADS_MAX];
	size_t thread_count;
	unsigned searches; /* for the bus's: they give themselves their names once they run */
	bool lost;         /* one of them has ended: nothing is done any more */
};

static int thread_add(cpus_t *cpus, pid_t id)
{
	struct thread *thread = &cpus->threads[cpus->thread_count];
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", id);
	thread->id = id;
	thread->stat_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (thread->stat_fd < 0) {
		return PR_ENOTSUP;
	}
	cpus->thread_count++;
	return sched_getaffinity(id, sizeof(thread->allowed), &thread->allowed) == 0 ? PR_OK
	                                                                             : -errno;
}

static bool figures_read(const cpus_t *cpus, uint64_t *ret_ran_ns, uint64_t *ret_waited_ns)
{
	*ret_ran_ns = *ret_waited_ns = 0;
	for (size_t i = 0; i < cpus->thread_count; i++) {
		char text[96];
		uint64_t ran_ns, waited_ns;
		ssize_t got = pread(cpus->threads[i].stat_fd, text, sizeof(text) - 1, 0);
		if (got <= 0) {
			return false;
		}
		text[got] = '\0';
		if (sscanf(text, "%" SCNu64 " %" SCNu64, &ran_ns, &waited_ns) != 2) {
			return false;
		}
		*ret_ran_ns += ran_ns;
		*ret_waited_ns += waited_ns;
	}
	return true;
}

int cpus_new(uint64_t now_ns, cpus_t **ret_cpus)
{
	_cleanup_(cpus_destroy) cpus_t *cpus = calloc(1, sizeof(*cpus));
	uint64_t ran_ns, waited_ns;

	if (cpus == NULL) {
		return PR_ENOMEM;
	}
	int ret = thread_add(cpus, gettid());
	if (ret == PR_OK && (CPU_COUNT(&cpus->threads[0].allowed) < 2 ||
	                     !figures_read(cpus, &ran_ns, &waited_ns))) {
		ret = PR_ENOTSUP;
	}
	if (ret == PR_OK) {
		together_begin(&cpus->decision, now_ns);
		*ret_cpus = take_ptr(cpus);
	}
	return ret;
}

static bool bus_threads_find(cpus_t *cpus)
{
	pid_t ids[THREADS_MAX - 1];

	if (cpus->thread_count == 1 && cpus->searches < SEARCHES_MAX) {
		cpus->searches++;
		size_t count = bus_io_threads(ids, PR_ARRAY_LEN(ids));
		for (size_t i = 0; i < count; i++) {
			cpus->lost |= thread_add(cpus, ids[i]) != PR_OK;
		}
	}
	return cpus->thread_count > 1;
}

static void together_leave(cpus_t *cpus)
{
	for (size_t i = 0; i < cpus->thread_count; i++) {
		(void)sched_setaffinity(cpus->threads[i].id, sizeof(cpus->threads[i].allowed),
		                        &cpus->threads[i].allowed);
	}
	cpus->together = false;
}

/* On the CPU that the scheduler has chosen for the main thread. */
static void together_go(cpus_t *cpus)
{
	int here = sched_getcpu();
	cpu_set_t one;

	if (here < 0 || here >= CPU_SETSIZE) {
		return;
	}
	CPU_ZERO(&one);
	CPU_SET(here, &one);
	cpus->together = true;
	for (size_t i = 0; i < cpus->thread_count; i++) {
		struct thread *thread = &cpus->threads[i];
		/* It may have been given others meanwhile. */
		if (sched_getaffinity(thread->id, sizeof(thread->allowed), &thread->allowed) != 0 ||
		    !CPU_ISSET(here, &thread->allowed) ||
		    sched_setaffinity(thread->id, sizeof(one), &one) != 0) {
			together_leave(cpus);
			return;
		}
	}
}

void cpus_turn(cpus_t *cpus, uint64_t now_ns)
{
	uint64_t ran_ns, waited_ns;

	if (cpus->lost || !together_due(&cpus->decision, now_ns)) {
		return;
	}
	bool found = bus_threads_find(cpus);
	cpus->lost |= !figures_read(cpus, &ran_ns, &waited_ns);
	bool together =
		together_look(&cpus->decision, now_ns, ran_ns, waited_ns) && found && !cpus->lost;
	if (together == cpus->together) {
		return;
	}
	log_debug("threads of the hot path %s", together ? "share a CPU" : "take what they get");
	if (together) {
		together_go(cpus);
	} else {
		together_leave(cpus);
	}
}

void cpus_destroy(cpus_t **cpus_p)
{
	cpus_t *cpus = *cpus_p;
	if (cpus == NULL) {
		return;
	}
	if (cpus->together) {
		together_leave(cpus);
	}
	for (size_t i = 0; i < cpus->thread_count; i++) {
		pr_fd_close(&cpus->threads[i].stat_fd);
	}
	free(cpus);
	*cpus_p = NULL;
}
