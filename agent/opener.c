/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/opener.h"
#include "base/err.h"

struct opener {
	pthread_t thread;
	int done_fd;
	/* The thread's until done_fd is readable, then the caller's. */
	int result;
	origin_t *origin;
	char why[ORIGIN_WHY_BYTES];
};

static void *open_origin(void *arg)
{
	opener_t *opener = arg;
	uint64_t one = 1;

	opener->result = origin_new(&opener->origin, opener->why);
	(void)!write(opener->done_fd, &one, sizeof(one));
	return NULL;
}

int opener_start(opener_t **ret_opener)
{
	opener_t *opener = calloc(1, sizeof(*opener));
	if (opener == NULL) {
		return PR_ENOMEM;
	}
	opener->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int error = opener->done_fd < 0
	                    ? errno
	                    : pthread_create(&opener->thread, NULL, open_origin, opener);
	if (error != 0) {
		pr_fd_close(&opener->done_fd);
		free(opener);
		return -error;
	}
	*ret_opener = opener;
	return PR_OK;
}

void opener_destroy(opener_t **opener_p)
{
	opener_t *opener = *opener_p;
	if (opener == NULL) {
		return;
	}
	(void)pthread_join(opener->thread, NULL);
	origin_destroy(&opener->origin);
	pr_fd_close(&opener->done_fd);
	free(opener);
	*opener_p = NULL;
}

int opener_fd(const opener_t *opener)
{
	return opener->done_fd;
}

int opener_take(opener_t *opener, origin_t **ret_origin, char ret_why[static ORIGIN_WHY_BYTES])
{
	uint64_t count;

	if (read(opener->done_fd, &count, sizeof(count)) != (ssize_t)sizeof(count)) {
		return PR_EAGAIN;
	}
	memcpy(ret_why, opener->why, ORIGIN_WHY_BYTES);
	if (opener->result == PR_OK) {
		*ret_origin = take_ptr(opener->origin);
	}
	return opener->result;
}
