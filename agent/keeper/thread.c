/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/keeper/thread.h"
#include "agent/keeper/watch.h"
#include "base/clock.h"
#include "base/err.h"

#define LOOK_EVERY_NS PR_NS_PER_S

struct keeper_thread {
	int fd, far_fd; /* ours, the thread's */
	pthread_t thread;
	bool started;
	watch_t *watch;
};

/* ---- a report and its descriptors ---- */

static int *descriptor_at(struct part_descriptors *descriptors, unsigned index)
{
	int *all[PART_DESCRIPTORS] = { &descriptors->queue, &descriptors->log, &descriptors->diag,
		                       &descriptors->conntrack };
	return all[index];
}

/* The numbers in the report become 0 for "comes along" and -1 for "none". */
static void report_send(void *arg, struct part_report *report)
{
	keeper_thread_t *thread = arg;
	int fds[PART_DESCRIPTORS];
	unsigned count = 0;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control = { 0 };

	for (unsigned i = 0; i < PART_DESCRIPTORS; i++) {
		int *fd = descriptor_at(&report->descriptors, i);
		if (*fd >= 0) {
			fds[count++] = *fd;
			*fd = 0;
		}
	}
	struct iovec data = { report, sizeof(*report) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
	if (count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	}
	ssize_t sent;
	do {
		sent = sendmsg(thread->far_fd, &message, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	for (unsigned i = 0; i < count; i++) {
		pr_fd_close(&fds[i]);
	}
}

static void descriptors_take(struct msghdr *message, struct part_descriptors *descriptors)
{
	int fds[PART_DESCRIPTORS];
	unsigned count = 0, taken = 0;
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		count = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(header), count * sizeof(int));
	}
	for (unsigned i = 0; i < PART_DESCRIPTORS; i++) {
		int *fd = descriptor_at(descriptors, i);
		*fd = *fd >= 0 && taken < count ? fds[taken++] : -1;
	}
}

int keeper_thread_report(keeper_thread_t *thread, struct part_report *ret_report)
{
	struct part_report report;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(PART_DESCRIPTORS * sizeof(int))];
	} control;
	struct iovec data = { &report, sizeof(report) };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};

	ssize_t size = recvmsg(thread->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (size < 0) {
		return errno == EAGAIN || errno == EINTR ? PR_EAGAIN : -errno;
	}
	if (size != (ssize_t)sizeof(report)) {
		return PR_EIO;
	}
	descriptors_take(&message, &report.descriptors);
	*ret_report = report;
	return PR_OK;
}

/* ---- the thread ---- */

static void *thread_run(void *arg)
{
	keeper_thread_t *thread = arg;
	struct pollfd orders = { .fd = thread->far_fd, .events = POLLIN };
	uint64_t look_ns = pr_clock_monotonic_ns() + LOOK_EVERY_NS;

	for (;;) {
		uint64_t now_ns = pr_clock_monotonic_ns();
		int timeout_ms =
			look_ns > now_ns ? (int)((look_ns - now_ns) / PR_NS_PER_MS) + 1 : 0;
		if (poll(&orders, 1, timeout_ms) > 0) {
			struct part_order order;
			ssize_t size = recv(thread->far_fd, &order, sizeof(order), 0);
			if (size != (ssize_t)sizeof(order) || !watch_order(thread->watch, &order)) {
				return NULL; /* closed, or told to stop */
			}
		}
		if (pr_clock_monotonic_ns() >= look_ns) {
			watch_look(thread->watch);
			look_ns = pr_clock_monotonic_ns() + LOOK_EVERY_NS;
		}
	}
}

int keeper_thread_start(const struct keeper_config *config, const struct keeper_ops *ops,
                        keeper_thread_t **ret_thread)
{
	int pair[2];
	_cleanup_(keeper_thread_destroy) keeper_thread_t *thread = calloc(1, sizeof(*thread));
	if (thread == NULL) {
		return PR_ENOMEM;
	}
	thread->fd = thread->far_fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		return -errno;
	}
	thread->fd = pair[0];
	thread->far_fd = pair[1];
	int ret = watch_new(config, ops, report_send, thread, &thread->watch);
	if (ret != PR_OK) {
		return ret;
	}
	ret = pthread_create(&thread->thread, NULL, thread_run, thread);
	if (ret != 0) {
		return -ret;
	}
	thread->started = true;
	*ret_thread = take_ptr(thread);
	return PR_OK;
}

void keeper_thread_destroy(keeper_thread_t **thread_p)
{
	keeper_thread_t *thread = *thread_p;
	if (thread == NULL) {
		return;
	}
	if (thread->fd >= 0) {
		/* Ends its poll, and a send that waits for us to read. */
		(void)shutdown(thread->fd, SHUT_RDWR);
	}
	if (thread->started) {
		(void)pthread_join(thread->thread, NULL);
	}
	watch_destroy(&thread->watch);
	pr_fd_close(&thread->fd);
	pr_fd_close(&thread->far_fd);
	free(thread);
	*thread_p = NULL;
}

int keeper_thread_fd(const keeper_thread_t *thread)
{
	return thread->fd;
}

int keeper_thread_order(keeper_thread_t *thread, const struct part_order *order)
{
	ssize_t size = send(thread->fd, order, sizeof(*order), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (size == (ssize_t)sizeof(*order)) {
		return PR_OK;
	}
	return errno == EAGAIN || errno == ENOBUFS ? PR_EAGAIN : -errno;
}
