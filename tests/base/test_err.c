/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/err.h"
#include "tests/tap.h"

static void test_codes(void)
{
	static const int codes[] = {
#define X(name, value, text) value,
		PR_ERR_LIST(X)
#undef X
	};
	bool negative = true;
	bool distinct = true;

	for (size_t i = 0; i < PR_ARRAY_LEN(codes); i++) {
		negative = negative && codes[i] < 0;
		for (size_t j = 0; j < i; j++) {
			distinct = distinct && codes[i] != codes[j];
		}
	}
	ok(negative, "every code is negative");
	ok(distinct, "no code is there twice");
	ok(strcmp(pr_err_name(PR_EMALF), "PR_EMALF") == 0 &&
	           strcmp(pr_strerror(PR_EMALF), "malformed message") == 0,
	   "an own code has name and message");
	ok(strcmp(pr_strerror(PR_OK), "ok") == 0 && strcmp(pr_err_name(0), "PR_OK") == 0,
	   "so has success");
	ok(strcmp(pr_strerror(-ECHILD), "No child processes") == 0 &&
	           strcmp(pr_err_name(-ECHILD), "errno") == 0,
	   "an errno that is not in the list has the system's message");
	ok(pr_strerror(-99999) != NULL && pr_strerror(12345) != NULL, "nonsense has a message too");
}

static void test_cleanup(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int copy = fd;
	char *memory = malloc(8);

	errno = EAGAIN;
	pr_fd_close(&fd);
	ok(fd == -1 && errno == EAGAIN && fcntl(copy, F_GETFD) == -1,
	   "a descriptor is closed once, errno stays");
	pr_fd_close(&fd);
	ok(fd == -1, "closing none is fine");
	char *taken = take_ptr(memory);
	ok(memory == NULL && taken != NULL, "take_ptr() hands over");
	pr_free(&taken);
	ok(taken == NULL, "pr_free() leaves NULL");
	pr_free(&taken);
	int held = dup(STDOUT_FILENO);
	int handed = take_fd(held);
	ok(held == -1 && handed >= 0, "take_fd() hands over");
	pr_fd_close(&handed);
}

int main(void)
{
	test_codes();
	test_cleanup();
	return tap_done();
}
