/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

struct visit {
	int fd;
	int (*fn)(void *arg);
	void *arg;
	int result;
};

int netns_open(const struct keeper_place *place, int *ret_fd)
{
	char from_pid[32];
	const char *path = place->path;

	if ((place->pid > 0) == (path != NULL)) {
		return PR_EINVAL;
	}
	if (path == NULL) {
		(void)snprintf(from_pid, sizeof(from_pid), "/proc/%d/ns/net", place->pid);
		path = from_pid;
	}
	_cleanup_(pr_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		return errno == ESRCH ? PR_ENOENT : -errno;
	}
	/* Anything but a network namespace is refused here: setns() would join it. */
	int type = ioctl(fd, NS_GET_NSTYPE);
	if (type != CLONE_NEWNET) {
		return type < 0 && errno == EPERM ? PR_EPERM : PR_ENOENT;
	}
	*ret_fd = take_fd(fd);
	return PR_OK;
}

int netns_identify(int fd, struct keeper_identity *ret_identity)
{
	struct stat st;
	if (fstat(fd, &st) != 0) {
		return -errno;
	}
	*ret_identity = (struct keeper_identity){ .device = st.st_dev, .inode = st.st_ino };
	return PR_OK;
}

static bool netns_is_own(int fd)
{
	struct stat own;
	struct stat other;
	return stat("/proc/thread-self/ns/net", &own) == 0 && fstat(fd, &other) == 0 &&
	       own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

static void *visit_main(void *arg)
{
	struct visit *visit = arg;

	if (!netns_is_own(visit->fd) && setns(visit->fd, CLONE_NEWNET) != 0) {
		visit->result = -errno;
		return NULL;
	}
	visit->result = visit->fn(visit->arg);
	return NULL;
}

int netns_run(int fd, int (*fn)(void *arg), void *arg)
{
	/* A thread of its own: if going back failed, it ends, and nobody is left elsewhere. */
	struct visit visit = { .fd = fd, .fn = fn, .arg = arg, .result = PR_EIO };
	pthread_t thread;

	int error = pthread_create(&thread, NULL, visit_main, &visit);
	if (error != 0) {
		return -error;
	}
	(void)pthread_join(thread, NULL);
	return visit.result;
}

struct socket_visit {
	int bus;
	struct mnl_socket *socket;
};

static int socket_visit_run(void *arg)
{
	struct socket_visit *visit = arg;

	visit->socket = mnl_socket_open2(visit->bus, SOCK_CLOEXEC);
	if (visit->socket == NULL) {
		return -errno;
	}
	int size = KEEPER_SOCKET_BYTES;
	int fd = mnl_socket_get_fd(visit->socket);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (mnl_socket_bind(visit->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int error = -errno;
		(void)mnl_socket_close(visit->socket);
		visit->socket = NULL;
		return error;
	}
	return PR_OK;
}

int netns_socket_open(int fd, int bus, struct mnl_socket **ret_socket)
{
	struct socket_visit visit = { .bus = bus };
	int error = netns_run(fd, socket_visit_run, &visit);
	if (error == PR_OK) {
		*ret_socket = visit.socket;
	}
	return error;
}

struct file_visit {
	const char *path;
	char *text;
	size_t size_bytes;
	bool write;
};

static int file_visit_run(void *arg)
{
	struct file_visit *visit = arg;
	int flags = visit->write ? O_WRONLY : O_RDONLY;

	_cleanup_(pr_fd_close) int fd = open(visit->path, flags | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	if (visit->write) {
		size_t length = strlen(visit->text);
		return write(fd, visit->text, length) == (ssize_t)length ? PR_OK : -errno;
	}
	size_t used = 0;
	while (used < visit->size_bytes - 1) {
		ssize_t got = read(fd, visit->text + used, visit->size_bytes - 1 - used);
		if (got < 0) {
			return -errno;
		}
		if (got == 0) {
			break;
		}
		used += (size_t)got;
	}
	visit->text[used] = '\0';
	return PR_OK;
}

int netns_file_read(int fd, const char *path, char *text, size_t size_bytes)
{
	struct file_visit visit = { .path = path, .text = text, .size_bytes = size_bytes };
	return netns_run(fd, file_visit_run, &visit);
}

int netns_file_write(int fd, const char *path, const char *text)
{
	char copy[64];
	(void)snprintf(copy, sizeof(copy), "%s", text);
	struct file_visit visit = { .path = path, .text = copy, .write = true };
	return netns_run(fd, file_visit_run, &visit);
}

static int file_visit_open(void *arg)
{
	struct file_visit *visit = arg;
	int fd = open(visit->path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int netns_file_open(int fd, const char *path)
{
	struct file_visit visit = { .path = path };
	return netns_run(fd, file_visit_open, &visit);
}

int keeper_place_identify(const struct keeper_place *place, struct keeper_identity *ret_identity)
{
	_cleanup_(pr_fd_close) int fd = -1;
	int error = netns_open(place, &fd);
	return error == PR_OK ? netns_identify(fd, ret_identity) : error;
}
