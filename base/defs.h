/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Compiler attributes and the few macros that everybody uses. */

#include <stddef.h>

#define _cleanup_(fn)   __attribute__((cleanup(fn)))
#define _must_check_    __attribute__((warn_unused_result))
#define _printf_(f, a)  __attribute__((format(printf, f, a)))
#define _unused_        __attribute__((unused))
#define PR_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/** Hand a pointer over to the caller: returns it and clears the local. */
#define take_ptr(p)                         \
	({                                  \
		__typeof__(p) _taken = (p); \
		(p) = NULL;                 \
		_taken;                     \
	})

/** Hand a file descriptor over to the caller: returns it and leaves -1. */
#define take_fd(fd)                   \
	({                            \
		int _taken_fd = (fd); \
		(fd) = -1;            \
		_taken_fd;            \
	})

/** For _cleanup_: close a descriptor unless it is negative; leaves -1 and errno as it was. */
void pr_fd_close(int *fd_p);

/** For _cleanup_: free memory; leaves NULL. Takes the address of any pointer. */
void pr_free(void *ptr_p);
