/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/inventory/internal.h"
#include "base/err.h"

struct item {
	struct item *next;
	struct inventory_change change;
};

struct changes {
	pthread_mutex_t lock;
	struct item *head, **tail;
	int fd;
};

void eventfd_raise(int fd)
{
	uint64_t one = 1;
	(void)!write(fd, &one, sizeof(one));
}

void eventfd_clear(int fd)
{
	uint64_t count;
	(void)!read(fd, &count, sizeof(count));
}

int changes_new(changes_t **ret_changes)
{
	changes_t *changes = calloc(1, sizeof(*changes));
	if (changes == NULL) {
		return PR_ENOMEM;
	}
	changes->tail = &changes->head;
	changes->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (changes->fd < 0) {
		int error = -errno;
		free(changes);
		return error;
	}
	(void)pthread_mutex_init(&changes->lock, NULL);
	*ret_changes = changes;
	return PR_OK;
}

void changes_destroy(changes_t **changes_p)
{
	changes_t *changes = *changes_p;
	struct inventory_change change;
	if (changes == NULL) {
		return;
	}
	while (changes_next(changes, &change) == PR_OK) {
		inventory_change_done(&change);
	}
	pr_fd_close(&changes->fd);
	(void)pthread_mutex_destroy(&changes->lock);
	free(changes);
	*changes_p = NULL;
}

void changes_push(changes_t *changes, const struct inventory_change *change)
{
	struct item *item = calloc(1, sizeof(*item));
	if (item == NULL) {
		struct inventory_change lost = *change;
		inventory_change_done(&lost);
		return;
	}
	item->change = *change;
	(void)pthread_mutex_lock(&changes->lock);
	*changes->tail = item;
	changes->tail = &item->next;
	(void)pthread_mutex_unlock(&changes->lock);
	eventfd_raise(changes->fd);
}

int changes_next(changes_t *changes, struct inventory_change *ret_change)
{
	(void)pthread_mutex_lock(&changes->lock);
	struct item *item = changes->head;
	if (item != NULL) {
		changes->head = item->next;
		if (changes->head == NULL) {
			changes->tail = &changes->head;
		}
	} else {
		eventfd_clear(changes->fd);
	}
	(void)pthread_mutex_unlock(&changes->lock);
	if (item == NULL) {
		return PR_EAGAIN;
	}
	*ret_change = item->change;
	free(item);
	return PR_OK;
}

int changes_fd(const changes_t *changes)
{
	return changes->fd;
}

void inventory_change_done(struct inventory_change *change)
{
	codec_doc_destroy(&change->endpoint);
	free(change->path);
	change->path = NULL;
}
