/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of processes by network namespace, and the search through it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/owner_internal.h"
#include "base/clock.h"

#define FOLDER_BYTES  16384
#define PROCESSES_MAX 65536
#define YOUNG_NS      PR_NS_PER_S /* so long a process may still enter a namespace or execute */

/* --------------------------------------------------------------------- the table of processes */

static bool room_make(struct owner_process **processes_p, size_t *room_p, size_t wanted)
{
	if (wanted <= *room_p) {
		return true;
	}
	size_t room = *room_p == 0 ? 512 : *room_p * 2;
	struct owner_process *grown =
		room > PROCESSES_MAX ? NULL : realloc(*processes_p, room * sizeof(*grown));
	if (grown == NULL) {
		return false;
	}
	*processes_p = grown;
	*room_p = room;
	return true;
}

static int32_t pid_parse(const char *name)
{
	int32_t pid = 0;
	for (; *name >= '0' && *name <= '9' && pid < 100000000; name++) {
		pid = pid * 10 + (*name - '0');
	}
	return *name == '\0' ? pid : 0;
}

/* What a process is: its network namespace, and whether it is a thread of the kernel. */
static void process_look(owner_t *owner, struct owner_process *process)
{
	char name[48];
	char exe[8];

	(void)snprintf(name, sizeof(name), "%d/ns/net", process->pid);
	process->net_inode = 0;
	process->kernel = false;
	if (!owner_proc_link(owner, owner->proc, name, "net", &process->net_inode)) {
		return;
	}
	(void)snprintf(name, sizeof(name), "%d/exe", process->pid);
	process->kernel =
		owner_read_allowed(owner) && readlinkat(owner->proc, name, exe, sizeof(exe)) < 0;
}

static const struct owner_process *process_old(const owner_t *owner, size_t *at_p, size_t count,
                                               int32_t pid)
{
	while (*at_p < count && owner->old_processes[*at_p].pid < pid) {
		(*at_p)++;
	}
	return *at_p < count && owner->old_processes[*at_p].pid == pid
	               ? &owner->old_processes[*at_p]
	               : NULL;
}

static void table_add(owner_t *owner, int32_t pid, const struct owner_process *old, bool full)
{
	if (!room_make(&owner->processes, &owner->process_room, owner->process_count + 1)) {
		return;
	}
	struct owner_process *process = &owner->processes[owner->process_count++];
	if (old != NULL && !full && owner->now_ns - old->seen_ns > YOUNG_NS) {
		*process = *old;
		process->fresh = false;
		return;
	}
	*process = (struct owner_process){ .pid = pid,
		                           .seen_ns = old != NULL ? old->seen_ns : owner->now_ns };
	process_look(owner, process);
	process->fresh = old == NULL || old->net_inode != process->net_inode;
}

/* Read /proc; numbers come in order. @full: look at known processes again as well. */
static void table_read(owner_t *owner, bool full)
{
	uint8_t buffer[FOLDER_BYTES] __attribute__((aligned(8)));
	size_t old_count = owner->process_count;
	size_t old_at = 0;

	struct owner_process *swap = owner->old_processes;
	size_t swap_room = owner->old_room;
	owner->old_processes = owner->processes;
	owner->old_room = owner->process_room;
	owner->processes = swap;
	owner->process_room = swap_room;
	owner->process_count = 0;
	owner->table_ns = owner->now_ns;
	owner->table_full = owner->table_full || full;
	if (lseek(owner->proc, 0, SEEK_SET) != 0) {
		return;
	}
	for (;;) {
		ssize_t got = getdents64(owner->proc, buffer, sizeof(buffer));
		if (got <= 0) {
			return;
		}
		for (ssize_t at = 0; at < got;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
			int32_t pid = pid_parse(entry->d_name);
			if (pid > 0) {
				table_add(owner, pid, process_old(owner, &old_at, old_count, pid),
				          full);
			}
			at += entry->d_reclen;
		}
	}
}

static bool process_inside(owner_t *owner, int32_t pid, uint64_t net_inode)
{
	char name[48];
	uint64_t inode;
	(void)snprintf(name, sizeof(name), "%d/ns/net", pid);
	return owner_proc_link(owner, owner->proc, name, "net", &inode) && inode == net_inode;
}

int32_t owner_process_of(owner_t *owner, uint64_t net_inode)
{
	for (int tries = 0; tries < 2; tries++) {
		for (size_t i = owner->process_count; i > 0; i--) {
			const struct owner_process *process = &owner->processes[i - 1];
			if (process->net_inode == net_inode &&
			    process_inside(owner, process->pid, net_inode)) {
				return process->pid;
			}
		}
		table_read(owner, true);
	}
	return 0;
}

int32_t owner_space_pid(owner_t *owner, uint32_t slot)
{
	struct owner_space *space = &owner->spaces[slot];
	if (space->pid == 0 || !process_inside(owner, space->pid, space->inode)) {
		space->pid = owner_process_of(owner, space->inode);
	}
	return space->pid;
}

int owner_space_open(owner_t *owner, uint32_t slot)
{
	const struct owner_space *space = &owner->spaces[slot];
	uint64_t inode;

	int proc = owner_proc_open(owner, space->first_pid);
	if (proc >= 0 &&
	    (!owner_proc_link(owner, proc, "ns/net", "net", &inode) || inode != space->inode)) {
		pr_fd_close(&proc);
	}
	return proc;
}

/* ---------------------------------------------------------------------------------- searching */

bool owner_process_sockets(struct owner_find *find, int proc, size_t most, owner_visit_fn visit,
                           void *arg)
{
	uint8_t buffer[FOLDER_BYTES] __attribute__((aligned(8)));

	if (!owner_read_allowed(find->owner)) {
		return false;
	}
	_cleanup_(pr_fd_close) int folder = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0) {
		return false;
	}
	for (;;) {
		ssize_t got = getdents64(folder, buffer, sizeof(buffer));
		if (got <= 0) {
			return false;
		}
		for (ssize_t at = 0; at < got;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
			uint64_t inode;
			at += entry->d_reclen;
			if (entry->d_name[0] == '.') {
				continue;
			}
			if (most-- == 0) {
				return false;
			}
			if (owner_proc_link(find->owner, folder, entry->d_name, "socket", &inode) &&
			    visit(arg, pid_parse(entry->d_name), inode)) {
				return true;
			}
			if (find->owner->reads_left == 0) {
				find->exhausted = true;
				return false;
			}
		}
	}
}

struct wanted {
	uint64_t inode;
	int fd;
};

static bool wanted_visit(void *arg, int fd, uint64_t inode)
{
	struct wanted *wanted = arg;

	wanted->fd = fd;
	return inode == wanted->inode;
}

static bool process_try(struct owner_find *find, const struct owner_process *process)
{
	struct wanted wanted = { .inode = find->inode };

	int proc = owner_proc_open(find->owner, process->pid);
	if (proc < 0) {
		return false;
	}
	if (!owner_process_sockets(find, proc, SIZE_MAX, wanted_visit, &wanted)) {
		(void)close(proc);
		return false;
	}
	return owner_holder_add(find, proc, process->pid, wanted.fd);
}

static bool inside(const struct owner_find *find, const struct owner_process *process)
{
	return process->net_inode == find->owner->spaces[find->slot].inode && !process->kernel;
}

static bool known(const struct owner_find *find, int32_t pid)
{
	for (size_t i = 0; i < find->holder_count; i++) {
		if (find->holders[i].pid == pid) {
			return true;
		}
	}
	return false;
}

/* Processes that came since the last look are tried first, the newest of all at once. */
static bool search_pass(struct owner_find *find, bool fresh, bool elsewhere)
{
	owner_t *owner = find->owner;

	for (size_t i = owner->process_count; i > 0 && !find->exhausted; i--) {
		const struct owner_process *process = &owner->processes[i - 1];
		bool wanted = inside(find, process) != elsewhere && !process->kernel;
		if (wanted && process->fresh == fresh && process_try(find, process)) {
			return true;
		}
		find->exhausted = owner->reads_left == 0;
	}
	return false;
}

/*
 * Who else holds it? A child gets its parent's descriptors under the same numbers, so one read a
 * process tells. What was passed over a unix socket may have another number: see owner.h.
 */
static void sharers_add(struct owner_find *find, int socket_fd)
{
	owner_t *owner = find->owner;

	for (size_t i = 0; i < owner->process_count; i++) {
		const struct owner_process *process = &owner->processes[i];
		char name[48];
		if (!inside(find, process) || known(find, process->pid)) {
			continue;
		}
		(void)snprintf(name, sizeof(name), "%d/fd/%d", process->pid, socket_fd);
		if (!owner_link_match(find, owner->proc, name)) {
			continue;
		}
		int proc = owner_proc_open(owner, process->pid);
		if (proc >= 0) {
			(void)owner_holder_add(find, proc, process->pid, socket_fd);
		}
	}
}

static bool search(struct owner_find *find)
{
	owner_t *owner = find->owner;

	owner->counters.owner_searches++;
	table_read(owner, false);
	if (search_pass(find, true, false) || search_pass(find, false, false)) {
		return true;
	}
	/* Processes change namespaces, and numbers are used again: look at all of them anew. */
	if (!find->exhausted && !owner->table_full) {
		table_read(owner, true);
		if (search_pass(find, true, false)) {
			return true;
		}
	}
	return false;
}

void owner_find_run(struct owner_find *find)
{
	owner_t *owner = find->owner;
	size_t first = find->holder_count;

	owner->table_full = false;
	find->by_hint = owner_hints_try(find);
	if (!find->by_hint && !search(find)) {
		return;
	}
	if (owner->now_ns - owner->table_ns >= owner->config.table_keep_ns) {
		table_read(owner, false);
	}
	sharers_add(find, find->holders[first].socket_fd);
}

void owner_find_elsewhere(struct owner_find *find)
{
	if (!find->exhausted) {
		(void)(search_pass(find, true, true) || search_pass(find, false, true));
	}
}

void owner_find_done(struct owner_find *find)
{
	for (size_t i = 0; i < find->holder_count; i++) {
		if (!find->holders[i].borrowed) {
			pr_fd_close(&find->holders[i].proc);
		}
	}
	find->holder_count = 0;
}
