/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of users. A container has its own password file, and may have written anything there. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/keeper/owner_internal.h"
#include "codec/codec.h"

#define PASSWD_BYTES 262144
#define MOUNTS_BYTES 65536
#define MAP_BYTES    4096

static bool file_read(int fd, char *text, size_t size_bytes, size_t *ret_bytes)
{
	struct stat info;
	size_t used = 0;

	if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
		return false;
	}
	while (used < size_bytes) {
		ssize_t got = read(fd, text + used, size_bytes - used);
		if (got < 0) {
			return false;
		}
		if (got == 0) {
			break;
		}
		used += (size_t)got;
	}
	*ret_bytes = used;
	return true;
}

static bool passwd_read(owner_t *owner, int fd, uint32_t uid, char ret_name[static 33])
{
	static char text[PASSWD_BYTES];
	size_t size_bytes;

	owner->counters.owner_names_read++;
	return file_read(fd, text, sizeof(text), &size_bytes) &&
	       owner_passwd_find(text, size_bytes, uid, ret_name);
}

/* Our own users: the file first, so that a name service behind the network is asked last. */
static void name_here(owner_t *owner, uint32_t uid, char ret_name[static 33])
{
	_cleanup_(pr_fd_close) int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct passwd entry;
	struct passwd *found = NULL;
	char buffer[4096];

	if (fd >= 0 && passwd_read(owner, fd, uid, ret_name)) {
		return;
	}
	if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found != NULL) {
		(void)codec_bytes_format(entry.pw_name, strlen(entry.pw_name), ret_name, 33);
	}
}

/* A user of a user namespace has another number inside. */
static uint32_t uid_inside(owner_t *owner, int proc, uint32_t uid)
{
	char text[MAP_BYTES];
	return owner_proc_read(owner, proc, "uid_map", text, sizeof(text))
	               ? owner_uid_map(text, uid)
	               : UINT32_MAX;
}

/* The container's own file, without following a link out of it or into a file system that hangs. */
static void name_there(owner_t *owner, int proc, uint32_t uid, char ret_name[static 33])
{
	static char mounts[MOUNTS_BYTES];
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};

	if (!owner_proc_read(owner, proc, "mountinfo", mounts, sizeof(mounts)) ||
	    owner_mounts_risky(mounts)) {
		return;
	}
	uint32_t inside = uid_inside(owner, proc, uid);
	_cleanup_(pr_fd_close) int root = openat(proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || inside == UINT32_MAX) {
		return;
	}
	_cleanup_(pr_fd_close) int fd =
		(int)syscall(SYS_openat2, root, "etc/passwd", &how, sizeof(how));
	if (fd >= 0) {
		(void)passwd_read(owner, fd, inside, ret_name);
	}
}

/* Without asking a file system that may hang: the kernel's own idea of the root is enough. */
static void root_identify(int proc, struct owner_name *key)
{
	struct statx info = { 0 };
	if (statx(proc, "root", AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &info) == 0) {
		key->root_device = ((uint64_t)info.stx_dev_major << 32) | info.stx_dev_minor;
		key->root_inode = info.stx_ino;
	}
}

static struct owner_name *place_of(const owner_t *owner, const struct owner_name *key)
{
	uint64_t at = (key->mount_inode * 31 + key->uid + key->noted) % OWNER_NAMES_MAX;

	return (struct owner_name *)&owner->names[at];
}

bool owner_name_known(const owner_t *owner, const struct owner_name *key, char ret_name[static 33])
{
	const struct owner_name *name = place_of(owner, key);

	if (name->noted != key->noted || name->mount_inode != key->mount_inode ||
	    name->root_device != key->root_device || name->root_inode != key->root_inode ||
	    name->uid != key->uid || name->until_ns <= owner->now_ns) {
		return false;
	}
	memcpy(ret_name, name->name, sizeof(name->name));
	return true;
}

void owner_name_read(owner_t *owner, int proc, const struct owner_name *key,
                     char ret_name[static 33])
{
	struct owner_name *name = place_of(owner, key);

	*name = *key;
	name->until_ns = owner->now_ns + owner->config.name_keep_ns;
	if (key->mount_inode == owner->own_mount_inode) {
		name_here(owner, key->uid, name->name);
	} else {
		name_there(owner, proc, key->uid, name->name);
	}
	memcpy(ret_name, name->name, sizeof(name->name));
}

/* Of the host: by its own files and services, whatever the process sees. */
static void name_of_host(owner_t *owner, uint32_t uid, char ret_name[static 33])
{
	const struct owner_name key = { .mount_inode = owner->own_mount_inode, .uid = uid };

	if (!owner_name_known(owner, &key, ret_name)) {
		owner_name_read(owner, -1, &key, ret_name);
	}
}

/* Of a container: as its first process sees it, while that is there. */
static void name_of_member(owner_t *owner, const struct owner_member *member, uint32_t uid,
                           char ret_name[static 33])
{
	const struct owner_name key = { .noted = true,
		                        .mount_inode = member->serial,
		                        .root_device = UINT64_MAX, /* no device has this number */
		                        .uid = uid };
	uint64_t start_ticks;

	if (owner_name_known(owner, &key, ret_name)) {
		return;
	}
	_cleanup_(pr_fd_close) int proc = owner_proc_open(owner, member->pid);
	bool same = proc >= 0 &&
	            (member->start_ticks == 0 || (owner_start_read(owner, proc, &start_ticks) &&
	                                          start_ticks == member->start_ticks));
	if (same) {
		owner_name_read(owner, proc, &key, ret_name);
	}
}

bool owner_name_place(owner_t *owner, uint32_t slot, struct part_owner *ret_owner)
{
	const struct owner_member *member = NULL;

	ret_owner->user[0] = '\0';
	switch (ret_owner->place) {
	case PART_PLACE_MAIN:
		if (!owner_space_named(owner, slot)) {
			return false;
		}
		name_of_host(owner, ret_owner->uid, ret_owner->user);
		return true;
	case PART_PLACE_CONTAINER:
		member = owner_member_of(owner, &ret_owner->container);
		if (member == NULL) {
			return false;
		}
		name_of_member(owner, member, ret_owner->uid, ret_owner->user);
		return true;
	default:
		/* Nobody's: in the host's namespace the number's name is the host's. */
		if (owner_space_named(owner, slot)) {
			name_of_host(owner, ret_owner->uid, ret_owner->user);
		}
		return true;
	}
}

void owner_name_find(owner_t *owner, int proc, uint32_t uid, char ret_name[static 33])
{
	struct owner_name key = { .uid = uid };

	ret_name[0] = '\0';
	if (!owner_proc_link(owner, proc, "ns/mnt", "mnt", &key.mount_inode)) {
		return;
	}
	root_identify(proc, &key);
	if (!owner_name_known(owner, &key, ret_name)) {
		owner_name_read(owner, proc, &key, ret_name);
	}
}
