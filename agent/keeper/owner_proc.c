/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads of /proc, each one counted against the question's bound. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/owner_internal.h"
#include "codec/codec.h"

#define LINK_BYTES 64
#define STAT_BYTES 1024

bool owner_read_allowed(owner_t *owner)
{
	if (owner->reads_left == 0) {
		return false;
	}
	owner->reads_left--;
	owner->counters.owner_reads++;
	return true;
}

int owner_proc_open(owner_t *owner, int32_t pid)
{
	char name[16];

	if (!owner_read_allowed(owner)) {
		return -1;
	}
	(void)snprintf(name, sizeof(name), "%d", pid);
	return openat(owner->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

bool owner_proc_read(owner_t *owner, int folder, const char *name, char *text, size_t size_bytes)
{
	size_t used = 0;

	if (!owner_read_allowed(owner)) {
		return false;
	}
	_cleanup_(pr_fd_close) int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && used < size_bytes - 1) {
		ssize_t got = read(fd, text + used, size_bytes - 1 - used);
		if (got < 0) {
			return false;
		}
		if (got == 0) {
			break;
		}
		used += (size_t)got;
	}
	text[used] = '\0';
	return used > 0;
}

bool owner_proc_link(owner_t *owner, int folder, const char *name, const char *kind,
                     uint64_t *ret_inode)
{
	char text[LINK_BYTES];

	if (!owner_read_allowed(owner)) {
		return false;
	}
	ssize_t got = readlinkat(folder, name, text, sizeof(text) - 1);
	if (got <= 0) {
		return false;
	}
	text[got] = '\0';
	return owner_link_parse(text, kind, ret_inode);
}

bool owner_link_match(struct owner_find *find, int folder, const char *name)
{
	uint64_t inode;
	return owner_proc_link(find->owner, folder, name, "socket", &inode) && inode == find->inode;
}

bool owner_start_read(owner_t *owner, int proc, uint64_t *ret_start_ticks)
{
	char text[STAT_BYTES];

	return owner_proc_read(owner, proc, "stat", text, sizeof(text)) &&
	       owner_stat_parse(text, ret_start_ticks);
}

bool owner_exe_read(owner_t *owner, int folder, char exe[static 129])
{
	char path[PATH_MAX];

	if (!owner_read_allowed(owner)) {
		return false;
	}
	ssize_t got = readlinkat(folder, "exe", path, sizeof(path) - 1);
	if (got <= 0) {
		return false;
	}
	path[got] = '\0';
	codec_path_set(exe, 129, path);
	return true;
}

/* Once more after the program was read: the process still lives and still holds the socket. */
static bool still_holds(struct owner_find *find, int folder, int socket_fd)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "fd/%d", socket_fd);
	return owner_link_match(find, folder, name);
}

/* The folder of /proc pins the process: another one with its number does not answer here. */
bool owner_holder_add(struct owner_find *find, int proc, int32_t pid, int socket_fd)
{
	_cleanup_(pr_fd_close) int folder = proc;
	struct owner_holder holder = { .pid = pid,
		                       .socket_fd = socket_fd,
		                       .socket_inode = find->inode };
	uint64_t start_after;

	if (find->holder_count == OWNER_HOLDERS_MAX ||
	    !owner_start_read(find->owner, folder, &holder.start_ticks) ||
	    !owner_exe_read(find->owner, folder, holder.exe) ||
	    !still_holds(find, folder, socket_fd) ||
	    !owner_start_read(find->owner, folder, &start_after) ||
	    start_after != holder.start_ticks) {
		return false;
	}
	holder.proc = take_fd(folder);
	find->holders[find->holder_count++] = holder;
	return true;
}

/*
 * The program first, then the socket: the socket is older than the question, so whoever executes
 * another program between the two reads had opened it under the first. For the same reason one
 * reading of the program answers for all packets that were received before it.
 */
static bool hint_exe_read(owner_t *owner, struct owner_hint *hint)
{
	if (hint->exe_batch != 0 && hint->exe_batch == owner->batch) {
		return true;
	}
	bool good = owner_exe_read(owner, hint->proc, hint->exe);
	hint->exe_batch = good ? owner->batch : 0;
	return good;
}

bool owner_holder_add_hinted(struct owner_find *find, struct owner_hint *hint, int socket_fd)
{
	struct owner_holder holder = { .pid = hint->pid,
		                       .socket_fd = socket_fd,
		                       .socket_inode = find->inode,
		                       .start_ticks = hint->start_ticks,
		                       .facts = hint->facts };

	if (find->holder_count == OWNER_HOLDERS_MAX || !hint_exe_read(find->owner, hint) ||
	    !still_holds(find, hint->proc, socket_fd)) {
		return false;
	}
	memcpy(holder.exe, hint->exe, sizeof(holder.exe));
	/* Trying further hints can close this one's descriptor. */
	holder.borrowed = find->single;
	holder.proc = find->single ? hint->proc : dup(hint->proc);
	if (holder.proc < 0) {
		return false;
	}
	find->holders[find->holder_count++] = holder;
	return true;
}
