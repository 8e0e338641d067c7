/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Users and their names, against real processes with users and password files of their own. */
#include <sys/prctl.h>

#include "agent/keeper/owner_internal.h"
#include "base/err.h"
#include "tests/agent/owner_stage.h"

/* A process in another mount namespace, with a root and a password file of its own. */
static pid_t contained_start(const char *root, int keep_fd)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid != 0) {
		pause_ms(50);
		return pid;
	}
	(void)fcntl(keep_fd, F_SETFD, 0);
	if (setns(world.left, CLONE_NEWNET) != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount(root, root, NULL, MS_BIND, NULL) != 0 || chdir(root) != 0 || chroot(".") != 0) {
		_exit(1);
	}
	for (;;) {
		(void)pause();
	}
}

static void text_write(const char *path, const char *text)
{
	_cleanup_(pr_fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	(void)!write(fd, text, strlen(text));
}

static void test_names(void)
{
	char root[PATH_MAX + 16];
	char path[PATH_MAX + 64];
	struct part_flow flow;

	(void)snprintf(root, sizeof(root), "%s/root", folder);
	(void)mkdir(root, 0755);
	(void)snprintf(path, sizeof(path), "%s/etc", root);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/etc/passwd", root);
	text_write(path, "inside:x:0:0::/:/bin/sh\n");
	int fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4000, &flow);
	pid_t pid = contained_start(root, fd);
	(void)close(fd);
	struct part_owner found = initiator(&flow, 0);
	ok(found.pid == (uint32_t)pid && strcmp(found.user, "inside") == 0,
	   "a container's user has the container's name for it: '%s'", found.user);
	owner_t *known = owner;
	struct owner_config own;
	owner_config_default(&own);
	int own_diag = diag_open();
	(void)!owner_new(&own, &owner);
	(void)!owner_namespace_add(owner, SLOT, space_inode(world.left), own_diag, pid);
	flow.src_port++;
	found = initiator(&flow, 0);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE && strcmp(found.user, "inside") == 0,
	   "also when only the number is left: '%s'", found.user);
	end_process(pid);
	owner_destroy(&owner);
	(void)!owner_new(&own, &owner);
	(void)!owner_namespace_add(owner, SLOT, space_inode(world.left), own_diag, pid);
	found = initiator(&flow, 0);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE && found.user[0] == '\0',
	   "without a process in it nobody else's file names it: '%s'", found.user);
	owner_destroy(&owner);
	(void)close(own_diag);
	owner = known;

	/* No name of this container is known any more: its file is read again. */
	owner_t *kept = owner;
	struct owner_config config;
	owner_config_default(&config);
	config.name_keep_ns = 0;
	int diag = diag_open();
	(void)!owner_new(&config, &owner);
	(void)!owner_namespace_add(owner, SLOT, space_inode(world.left), diag, getpid());
	/* A link out of the root, or to something that hangs, is not followed. */
	(void)unlink(path);
	(void)!symlink("/etc/passwd", path);
	fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4001, &flow);
	pid = contained_start(root, fd);
	(void)close(fd);
	found = initiator(&flow, 0);
	ok(found.pid == (uint32_t)pid && found.user[0] == '\0', "a link is no password file");
	end_process(pid);
	(void)unlink(path);
	(void)mkfifo(path, 0644);
	fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4002, &flow);
	pid = contained_start(root, fd);
	(void)close(fd);
	found = initiator(&flow, 0);
	ok(found.pid == (uint32_t)pid && found.user[0] == '\0', "nor is a pipe, and nothing hangs");
	end_process(pid);
	owner_destroy(&owner);
	owner = kept;
	(void)close(diag);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/etc", root);
	(void)rmdir(path);
	(void)rmdir(root);
}

/*
 * User 33 makes a user namespace in which it is root, with mounts and a password file of its own
 * that says so, and connects. Its pid; @p flow is what it sent.
 */
static pid_t pretender_start(const char *root, struct part_flow *flow)
{
	int ends[2];

	if (pipe(ends) != 0) {
		return -1;
	}
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		bool good = setns(world.left, CLONE_NEWNET) == 0 && setresgid(33, 33, 33) == 0 &&
		            setresuid(33, 33, 33) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0 &&
		            unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
		if (good) {
			text_write("/proc/self/uid_map", "0 33 1\n");
			good = getuid() == 0 && chroot(root) == 0 && chdir("/") == 0;
		}
		int fd = good ? half_open(-1, SOCK_STREAM, "10.99.0.8", 4003, flow) : -1;
		(void)!write(ends[1], flow, fd >= 0 ? sizeof(*flow) : 1);
		for (;;) {
			(void)pause();
		}
	}
	(void)close(ends[1]);
	ssize_t got = read(ends[0], flow, sizeof(*flow));
	(void)close(ends[0]);
	ok(got == (ssize_t)sizeof(*flow), "user 33, root in a user namespace of its own, connects");
	return pid;
}

static owner_t *owner_with(int diag, int32_t pid)
{
	struct owner_config config;
	owner_t *made = NULL;

	owner_config_default(&config);
	(void)!owner_new(&config, &made);
	(void)!owner_namespace_add(made, SLOT, space_inode(world.left), diag, pid);
	return made;
}

/* Users are the host's number; names are the host's or the container's, never the process's own. */
static void test_user_namespace(void)
{
	static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char fake[PATH_MAX + 16], real[PATH_MAX + 16], path[PATH_MAX + 64];
	const char *const roots[] = { fake, real };
	struct part_flow flow = { 0 };
	owner_t *kept = owner;
	int diag = diag_open();

	(void)snprintf(fake, sizeof(fake), "%s/fake", folder);
	(void)snprintf(real, sizeof(real), "%s/real", folder);
	for (size_t i = 0; i < 2; i++) {
		(void)mkdir(roots[i], 0755);
		(void)snprintf(path, sizeof(path), "%s/etc", roots[i]);
		(void)mkdir(path, 0755);
		(void)snprintf(path, sizeof(path), "%s/etc/passwd", roots[i]);
		text_write(path, i == 0 ? "root:x:0:0::/:\n" : "root:x:0:0::/:\nweb:x:33:33::/:\n");
	}
	(void)chmod(folder, 0755);
	pid_t first = contained_start(real, diag);
	pid_t pid = pretender_start(fake, &flow);

	owner = owner_with(diag, 0);
	struct part_owner found = initiator(&flow, 33);
	ok(found.pid == (uint32_t)pid && found.uid == 33 && strcmp(found.user, "www-data") == 0 &&
	           found.place == PART_PLACE_MAIN,
	   "on the host: the host's number and name for it: %u '%s'", found.uid, found.user);
	owner_destroy(&owner);

	owner = owner_with(diag, first);
	struct owner_member_options member = {
		.slot = SLOT, .endpoint = pr_uuid_of_container(id), .container_id = id, .pid = first
	};
	ok(owner_member_add(owner, &member) == PR_OK, "a container with its own users");
	struct part_owner inside = { .place = PART_PLACE_CONTAINER,
		                     .container = member.endpoint,
		                     .uid = 33 };
	ok(owner_name_place(owner, SLOT, &inside) && strcmp(inside.user, "web") == 0,
	   "in a container: the container's name, not what the process made of it: '%s'",
	   inside.user);
	end_process(first);
	struct part_owner cached = inside;
	owner->now_ns += 10 * PR_NS_PER_S;
	ok(owner_name_place(owner, SLOT, &cached) && cached.user[0] == '\0',
	   "when its first process has gone: no name");
	owner_destroy(&owner);
	owner = kept;
	end_process(pid);
	(void)close(diag);
	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/etc/passwd", roots[i]);
		(void)unlink(path);
		(void)snprintf(path, sizeof(path), "%s/etc", roots[i]);
		(void)rmdir(path);
		(void)rmdir(roots[i]);
	}
}

int main(int argc, char **argv)
{
	owner_stage_play(argc, argv);
	if (!owner_stage_open(NULL)) {
		return tap_done();
	}
	test_names();
	test_user_namespace();
	owner_stage_close();
	return tap_done();
}
