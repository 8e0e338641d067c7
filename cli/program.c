/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that do for us what they were made for: diff, diff3, the editor. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"

/* Open for the program, too: no MFD_CLOEXEC. */
int cli_text_fd(const char *text)
{
	int fd = memfd_create("portreeve", 0);
	size_t size_bytes = strlen(text), done = 0;

	while (fd >= 0 && done < size_bytes) {
		ssize_t wrote = write(fd, text + done, size_bytes - done);
		if (wrote < 0 && errno == EINTR) {
			continue;
		}
		if (wrote < 0) {
			int err = -errno;
			close(fd);
			return err;
		}
		done += (size_t)wrote;
	}
	if (fd >= 0) {
		(void)lseek(fd, 0, SEEK_SET);
	}
	return fd >= 0 ? fd : -errno;
}

static char *output_read(int fd)
{
	char *text = NULL;
	size_t room = 0, used = 0;
	ssize_t got = 0;

	do {
		used += (size_t)got;
		if (room - used < 2) {
			room = room == 0 ? 4096 : 2 * room;
			char *larger = realloc(text, room);
			if (larger == NULL) {
				free(text);
				return NULL;
			}
			text = larger;
		}
		do {
			got = read(fd, text + used, room - used - 1);
		} while (got < 0 && errno == EINTR);
	} while (got > 0);
	text[used] = '\0';
	return text;
}

static int program_start(const char *const *argv, int out_fd, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	int err = posix_spawn_file_actions_init(&actions);

	if (err != 0) {
		return -err;
	}
	if (out_fd >= 0) {
		err = posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
	}
	if (err == 0) {
		err = posix_spawnp(ret_pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv,
		                   environ);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	return -err;
}

int cli_program_run(struct cli *cli, const char *const *argv, int *ret_exit, char **ret_output)
{
	int ends[2] = { -1, -1 }, wait_status = 0;
	char *output = NULL;
	pid_t pid = -1;

	fflush(cli->out);
	if (ret_output != NULL && pipe2(ends, O_CLOEXEC) != 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s", argv[0], pr_strerror(-errno));
	}
	int err = program_start(argv, ends[1], &pid);
	if (ends[1] >= 0) {
		close(ends[1]);
	}
	if (err == 0 && ret_output != NULL) {
		output = output_read(ends[0]);
	}
	if (ends[0] >= 0) {
		close(ends[0]);
	}
	if (err != 0) {
		return cli_fail(cli, CLI_ERROR, "cannot run %s: %s", argv[0], pr_strerror(err));
	}
	while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
	}
	*ret_exit = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128;
	if (ret_output != NULL) {
		if (output == NULL) {
			return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
		}
		*ret_output = output;
	}
	return CLI_DONE;
}
