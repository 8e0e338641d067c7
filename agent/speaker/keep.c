/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/speaker/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

#define RETRY_S 1
#define END_S   2

static const char *const names[_KEEP_MAX] = {
	[KEEP_STATE] = "state",
	[KEEP_DIRECTORY] = "directory",
	[KEEP_NUMBERS] = "numbers",
};

struct slot {
	uint8_t *data; /* waits to be written; NULL: nothing does */
	size_t size_bytes;
	uint64_t ticket, written;
};

struct keep {
	int folder_fd;
	pthread_t thread;
	bool thread_runs;
	bool lock_made;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* monotonic clock */
	struct slot slots[_KEEP_MAX];
	uint64_t errors;
	bool stop;
};

/* ---- the writer ---- */

static int write_all(int fd, const uint8_t *data, size_t size_bytes)
{
	while (size_bytes > 0) {
		ssize_t wrote = write(fd, data, size_bytes);
		if (wrote < 0 && errno == EINTR) {
			continue;
		}
		if (wrote <= 0) {
			return wrote < 0 ? -errno : PR_EIO;
		}
		data += wrote;
		size_bytes -= (size_t)wrote;
	}
	return fsync(fd) == 0 ? PR_OK : -errno;
}

static int file_replace(int folder_fd, const char *name, const uint8_t *data, size_t size_bytes)
{
	char beside[32];

	(void)snprintf(beside, sizeof(beside), "%s.new", name);
	(void)unlinkat(folder_fd, beside, 0);
	_cleanup_(pr_fd_close) int fd = openat(
		folder_fd, beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		return -errno;
	}
	int ret = write_all(fd, data, size_bytes);
	if (ret == PR_OK &&
	    (renameat(folder_fd, beside, folder_fd, name) != 0 || fsync(folder_fd) != 0)) {
		ret = -errno;
	}
	if (ret != PR_OK) {
		(void)unlinkat(folder_fd, beside, 0);
	}
	return ret;
}

/* Write one slot; called with the lock held, which is given up meanwhile. */
static int slot_write(keep_t *keep, enum keep_file file)
{
	struct slot *slot = &keep->slots[file];
	uint8_t *data = take_ptr(slot->data);
	size_t size_bytes = slot->size_bytes;
	uint64_t ticket = slot->ticket;

	(void)pthread_mutex_unlock(&keep->lock);
	int ret = file_replace(keep->folder_fd, names[file], data, size_bytes);
	(void)pthread_mutex_lock(&keep->lock);
	if (ret == PR_OK) {
		slot->written = ticket;
	} else {
		keep->errors++;
		if (slot->data == NULL) {
			slot->data = take_ptr(data);
		}
	}
	free(data);
	(void)pthread_cond_broadcast(&keep->changed);
	return ret;
}

static struct timespec after_s(unsigned seconds)
{
	struct timespec at;

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += seconds;
	return at;
}

static void *writer_run(void *arg)
{
	keep_t *keep = arg;

	(void)pthread_setname_np(pthread_self(), "keep");
	(void)pthread_mutex_lock(&keep->lock);
	for (;;) {
		bool waits = false, failed = false;
		for (enum keep_file file = 0; file < _KEEP_MAX; file++) {
			if (keep->slots[file].data != NULL) {
				waits = true;
				failed = slot_write(keep, file) != PR_OK || failed;
			}
		}
		if (keep->stop && (!waits || failed)) {
			break;
		}
		if (failed) {
			struct timespec at = after_s(RETRY_S);
			(void)pthread_cond_timedwait(&keep->changed, &keep->lock, &at);
		} else if (!waits) {
			(void)pthread_cond_wait(&keep->changed, &keep->lock);
		}
	}
	(void)pthread_mutex_unlock(&keep->lock);
	return NULL;
}

/* ---- open and close ---- */

static int folder_open(const char *folder, int *ret_fd)
{
	struct stat info;
	_cleanup_(pr_fd_close) int fd =
		open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &info) != 0 || (info.st_mode & 077) != 0 ||
	    info.st_uid != geteuid()) {
		return PR_EACCES;
	}
	*ret_fd = take_fd(fd);
	return PR_OK;
}

static int writer_start(keep_t *keep)
{
	pthread_condattr_t attributes;
	sigset_t all, before;

	if (pthread_mutex_init(&keep->lock, NULL) != 0) {
		return PR_ENOMEM;
	}
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&keep->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	keep->lock_made = true;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(&keep->thread, NULL, writer_run, keep);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	keep->thread_runs = code == 0;
	return -code;
}

int keep_open(const char *folder, keep_t **ret_keep)
{
	_cleanup_(keep_destroy) keep_t *keep = calloc(1, sizeof(*keep));
	if (keep == NULL) {
		return PR_ENOMEM;
	}
	keep->folder_fd = -1;
	int ret = folder_open(folder, &keep->folder_fd);
	if (ret == PR_OK) {
		ret = writer_start(keep);
	}
	if (ret == PR_OK) {
		*ret_keep = take_ptr(keep);
	}
	return ret;
}

void keep_destroy(keep_t **keep_p)
{
	keep_t *keep = *keep_p;
	if (keep == NULL) {
		return;
	}
	if (keep->thread_runs) {
		(void)pthread_mutex_lock(&keep->lock);
		keep->stop = true;
		(void)pthread_cond_broadcast(&keep->changed);
		(void)pthread_mutex_unlock(&keep->lock);
		(void)pthread_join(keep->thread, NULL);
	}
	if (keep->lock_made) {
		(void)pthread_mutex_destroy(&keep->lock);
		(void)pthread_cond_destroy(&keep->changed);
	}
	for (size_t i = 0; i < _KEEP_MAX; i++) {
		free(keep->slots[i].data);
	}
	pr_fd_close(&keep->folder_fd);
	free(keep);
	*keep_p = NULL;
}

/* ---- for the caller ---- */

int keep_put(keep_t *keep, enum keep_file file, const void *data, size_t size_bytes,
             uint64_t *ret_ticket)
{
	uint8_t *copy = malloc(size_bytes + 1);

	if (copy == NULL) {
		return PR_ENOMEM;
	}
	memcpy(copy, data, size_bytes);
	(void)pthread_mutex_lock(&keep->lock);
	struct slot *slot = &keep->slots[file];
	free(slot->data);
	slot->data = copy;
	slot->size_bytes = size_bytes;
	*ret_ticket = ++slot->ticket;
	(void)pthread_cond_broadcast(&keep->changed);
	(void)pthread_mutex_unlock(&keep->lock);
	return PR_OK;
}

uint64_t keep_written(keep_t *keep, enum keep_file file)
{
	(void)pthread_mutex_lock(&keep->lock);
	uint64_t written = keep->slots[file].written;
	(void)pthread_mutex_unlock(&keep->lock);
	return written;
}

int keep_wait(keep_t *keep, enum keep_file file, uint64_t ticket, int timeout_ms)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + (uint64_t)timeout_ms * PR_NS_PER_MS;
	struct timespec at = { .tv_sec = (time_t)(end_ns / PR_NS_PER_S),
		               .tv_nsec = (long)(end_ns % PR_NS_PER_S) };
	int code = 0;

	(void)pthread_mutex_lock(&keep->lock);
	while (keep->slots[file].written < ticket && code == 0) {
		code = pthread_cond_timedwait(&keep->changed, &keep->lock, &at);
	}
	bool done = keep->slots[file].written >= ticket;
	(void)pthread_mutex_unlock(&keep->lock);
	return done ? PR_OK : PR_ETIMEOUT;
}

uint64_t keep_errors(keep_t *keep)
{
	(void)pthread_mutex_lock(&keep->lock);
	uint64_t errors = keep->errors;
	(void)pthread_mutex_unlock(&keep->lock);
	return errors;
}

int keep_load(const keep_t *keep, enum keep_file file, uint8_t **ret_data, size_t *ret_bytes)
{
	struct stat info;
	_cleanup_(pr_fd_close) int fd = openat(keep->folder_fd, names[file],
	                                       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		return errno == ENOENT ? PR_ENOENT : PR_EACCES;
	}
	if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || (info.st_mode & 077) != 0 ||
	    info.st_uid != geteuid() || info.st_size > KEEP_MAX_BYTES) {
		return PR_EACCES;
	}
	size_t size_bytes = (size_t)info.st_size;
	uint8_t *data = malloc(size_bytes + 1);
	if (data == NULL) {
		return PR_ENOMEM;
	}
	if (read(fd, data, size_bytes) != (ssize_t)size_bytes) {
		free(data);
		return PR_EIO;
	}
	data[size_bytes] = '\0';
	*ret_data = data;
	*ret_bytes = size_bytes;
	return PR_OK;
}
