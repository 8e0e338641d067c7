/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts from files, and files for the user's hand. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "policy/policy.h"

int cli_file_read(struct cli *cli, const char *path, char **ret_text, size_t *ret_bytes)
{
	_cleanup_(pr_fd_close) int fd = -1;
	_cleanup_(pr_free) char *text = NULL;
	size_t used = 0, room = 0;
	ssize_t got;

	fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s", path, pr_strerror(-errno));
	}
	do {
		if (room - used < 2) {
			room = room == 0 ? 64 * 1024 : 2 * room;
			char *larger = room > 2 * (size_t)POLICY_TEXT_MAX_BYTES
			                       ? NULL
			                       : realloc(text, room);
			if (larger == NULL) {
				return cli_fail(cli, CLI_ERROR, "%s: larger than %u MiB", path,
				                POLICY_TEXT_MAX_BYTES >> 20);
			}
			text = larger;
		}
		got = read(fd, text + used, room - used - 1);
		used += got > 0 ? (size_t)got : 0;
	} while (got > 0 || (got < 0 && errno == EINTR));
	if (got < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s", path, pr_strerror(-errno));
	}
	text[used] = '\0';
	if (strlen(text) != used) {
		return cli_fail(cli, CLI_ERROR, "%s: holds a NUL byte: not a policy text", path);
	}
	*ret_text = take_ptr(text);
	if (ret_bytes != NULL) {
		*ret_bytes = used;
	}
	return CLI_DONE;
}

int cli_file_make(struct cli *cli, const char *text, char path[static CLI_PATH_BYTES])
{
	const char *folder = getenv("TMPDIR");
	size_t size_bytes = strlen(text), done = 0;

	(void)snprintf(path, CLI_PATH_BYTES, "%s/portreeve-XXXXXX.policy",
	               folder != NULL && folder[0] == '/' ? folder : "/tmp");
	_cleanup_(pr_fd_close) int fd = mkostemps(path, (int)strlen(".policy"), O_CLOEXEC);
	while (fd >= 0 && done < size_bytes) {
		ssize_t wrote = write(fd, text + done, size_bytes - done);
		if (wrote < 0) {
			break;
		}
		done += (size_t)wrote;
	}
	return fd >= 0 && done == size_bytes
	               ? CLI_DONE
	               : cli_fail(cli, CLI_ERROR, "%s: %s", path, pr_strerror(-errno));
}
