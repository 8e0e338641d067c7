/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Control groups as /proc/PID/cgroup names them: which container's group a process is in. Texts in,
 * answers out (pure but for pr_cgroup_own_read()); any of the two versions and both at once,
 * whoever made the groups.
 *
 * A container's groups are those that its first process is in, as far as they carry the container's
 * id; a process is the container's if it is in or below all of them. Where there are others, a
 * named hierarchy of version 1 (name=systemd) need not be among these, for crun does not move there
 * whom it executes in a container; it alone makes nobody the container's. A group is never taken
 * for a container's because of its name alone. Threads: any. Source: cgroups(7).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PR_CGROUP_TEXT_BYTES 8192 /* of /proc/PID/cgroup; a longer one is cut */
#define PR_CGROUP_ID_BYTES   65   /* 64 hexadecimal digits and NUL */

enum pr_cgroup_place {
	PR_CGROUP_OUTSIDE, /* in none of them */
	PR_CGROUP_INSIDE,  /* in or below all of them; see above */
	PR_CGROUP_PARTLY,  /* in some, or they cannot be compared */
};

/**
 * A container's own groups, by the text of its first process: lines "CONTROLLERS:PATH", each path
 * up to the group with the container's id (its processes may be below). If no line has the id, all
 * lines but those at the top.
 *
 * @param ret_own  Empty if there are none, or there is no room.
 * @return false: empty.
 */
bool pr_cgroup_own(const char *text, const char *container_id, char *ret_own, size_t size_bytes);

/** The same of the container whose first process is @p pid, read from /proc. */
bool pr_cgroup_own_read(int32_t pid, const char *container_id, char *ret_own, size_t size_bytes);

/** Do its own groups carry the container's id? Else others may be in them, too. */
bool pr_cgroup_named(const char *own, const char *container_id);

/** Where is the process with this text, to the container with these own groups? */
enum pr_cgroup_place pr_cgroup_compare(const char *own, const char *text);

/**
 * On a machine where a process has this text, do the hierarchy of pids and the unified one tell its
 * containers apart? Not with version 1 without pids: engines then have their groups elsewhere.
 */
bool pr_cgroup_two_tell(const char *text);

/** One path for people and selectors: of the unified hierarchy, else of systemd's, else the first.
 */
void pr_cgroup_shown(const char *own, char *ret_path, size_t size_bytes);

/**
 * The next id that a group on the way is named after, as engines do it: a guess that may say that a
 * process is some container's, never which endpoint it is. Monitors of engines (conmon) are outside
 * their container; a pod is no container.
 *
 * @return Where to look for another one; NULL: there is none (any more).
 */
const char *pr_cgroup_guess(const char *text, char ret_id[PR_CGROUP_ID_BYTES]);
