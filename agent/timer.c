/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/timer.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

int loop_timer_open(struct loop_timer *timer)
{
	timer->rings_ns = 0;
	timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	return timer->fd < 0 ? -errno : PR_OK;
}

void loop_timer_close(struct loop_timer *timer)
{
	pr_fd_close(&timer->fd);
}

int loop_timer_set(struct loop_timer *timer, uint64_t due_ns)
{
	const struct itimerspec at = {
		.it_value = { .tv_sec = (time_t)(due_ns / PR_NS_PER_S),
		              .tv_nsec = (long)(due_ns % PR_NS_PER_S) },
	};

	if (timer->rings_ns != 0 && timer->rings_ns <= due_ns) {
		return PR_OK;
	}
	if (timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &at, NULL) != 0) {
		return -errno;
	}
	timer->rings_ns = due_ns;
	return PR_OK;
}

void loop_timer_rang(struct loop_timer *timer)
{
	uint64_t times;

	if (read(timer->fd, &times, sizeof(times)) == (ssize_t)sizeof(times)) {
		timer->rings_ns = 0;
	}
}
