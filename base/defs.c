/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/defs.h"

void pr_fd_close(int *fd_p)
{
	if (*fd_p < 0) {
		return;
	}
	int saved_errno = errno;
	(void)close(*fd_p);
	*fd_p = -1;
	errno = saved_errno;
}

void pr_free(void *ptr_p)
{
	void *ptr = NULL;
	/* Copied by bytes: the caller's pointer may be of any type. */
	memcpy(&ptr, ptr_p, sizeof(ptr));
	free(ptr);
	ptr = NULL;
	memcpy(ptr_p, &ptr, sizeof(ptr));
}
