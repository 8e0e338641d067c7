/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/inventory/internal.h"
#include "base/err.h"

#define LOG_COMPONENT "inventory"
#include "base/log.h"

#define HOST_SOURCE 0

/* A namespace as it is named, and what was last seen there. */
struct space {
	struct inventory_namespace named;
	struct pr_uuid id, scope;
	bool up, refused;
	uint64_t inode;
	uint8_t *bytes; /* last document sent, to see a change */
	size_t size_bytes;
};

struct spaces {
	struct shared *shared;
	int mounts_fd;
	struct space *items;
	size_t count;
};

/* ---- the configuration's line ---- */

static bool is_name(const char *name)
{
	if (isalnum((unsigned char)name[0]) == 0) {
		return false;
	}
	return name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	                         "_.-")] == '\0';
}

/* The next word of a line, cut to the buffer; returns its full length. */
static size_t word_next(const char **line_p, char *word, size_t size_bytes)
{
	const char *at = *line_p + strspn(*line_p, " \t");
	size_t length = strcspn(at, " \t");

	(void)snprintf(word, size_bytes, "%.*s", (int)(length < size_bytes ? length : 0), at);
	*line_p = at + length;
	return length;
}

int inventory_namespace_read(const char *line, struct inventory_namespace *ret_namespace,
                             const char **ret_why)
{
	struct inventory_namespace named = { .global = false };
	char last[sizeof("global")], rest[2];
	const char *why = NULL;

	size_t name_length = word_next(&line, named.name, sizeof(named.name));
	size_t path_length = word_next(&line, named.path, sizeof(named.path));
	size_t last_length = word_next(&line, last, sizeof(last));
	named.global = strcmp(last, "global") == 0;
	if (name_length == 0 || path_length == 0 || word_next(&line, rest, sizeof(rest)) != 0) {
		why = "is not NAME PATH, or NAME PATH global";
	} else if (name_length >= sizeof(named.name)) {
		why = "has a name of more than 63 bytes";
	} else if (!is_name(named.name)) {
		why = "has a name that is not of letters, digits, '_', '.' and '-'";
	} else if (path_length >= sizeof(named.path)) {
		why = "has a path of more than 199 bytes";
	} else if (named.path[0] != '/') {
		why = "has a path that is not absolute";
	} else if (last_length != 0 && !named.global) {
		why = "has a third word that is not 'global'";
	}
	if (why != NULL) {
		*ret_why = why;
		return PR_EINVAL;
	}
	*ret_namespace = named;
	return PR_OK;
}

/* ---- life ---- */

int spaces_new(struct shared *shared, const char *const *lines, size_t count, spaces_t **ret_spaces)
{
	_cleanup_(spaces_destroy) spaces_t *spaces = calloc(1, sizeof(*spaces));
	const char *why;
	if (spaces == NULL) {
		return PR_ENOMEM;
	}
	spaces->shared = shared;
	spaces->mounts_fd = -1;
	spaces->items = calloc(count + 1, sizeof(*spaces->items));
	if (spaces->items == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		struct space *space = &spaces->items[i];
		int ret = inventory_namespace_read(lines[i], &space->named, &why);
		if (ret != PR_OK) {
			return ret;
		}
		space->id = pr_uuid_of_namespace(&shared->host.id, space->named.name);
		space->scope =
			pr_uuid_of_bytes("network", space->id.bytes, sizeof(space->id.bytes));
		spaces->count++;
	}
	if (count > 0) {
		spaces->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	}
	*ret_spaces = take_ptr(spaces);
	return PR_OK;
}

void spaces_destroy(spaces_t **spaces_p)
{
	spaces_t *spaces = *spaces_p;
	if (spaces == NULL) {
		return;
	}
	for (size_t i = 0; i < spaces->count; i++) {
		free(spaces->items[i].bytes);
	}
	pr_fd_close(&spaces->mounts_fd);
	free(spaces->items);
	free(spaces);
	*spaces_p = NULL;
}

int spaces_fd(const spaces_t *spaces)
{
	return spaces->mounts_fd;
}

/* ---- looks ---- */

/* Descriptor of the namespace that is there now; negative: none. */
static int space_open(const struct space *space, uint64_t *ret_inode)
{
	struct stat info;
	_cleanup_(pr_fd_close) int fd =
		open(space->named.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	/* `ip netns add` makes an empty file first. */
	if (fd < 0 || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET || fstat(fd, &info) != 0) {
		return PR_ENOENT;
	}
	*ret_inode = info.st_ino;
	return take_fd(fd);
}

static void space_down(spaces_t *spaces, struct space *space)
{
	if (space->up) {
		changes_push(spaces->shared->changes,
		             &(struct inventory_change){ .kind = INVENTORY_DOWN,
		                                         .source = HOST_SOURCE,
		                                         .id = space->id });
	}
	space->up = false;
	free(space->bytes);
	space->bytes = NULL;
}

struct visit {
	codec_doc_t *doc;
	const char *scope;
};

static int addresses_run(void *arg)
{
	const struct visit *visit = arg;

	host_addresses_add(visit->doc, visit->scope);
	return PR_OK;
}

static codec_doc_t *space_document(const spaces_t *spaces, const struct space *space,
                                   listeners_t *listeners, int fd)
{
	char inside[64], scope[PR_UUID_TEXT_BYTES] = "global";
	codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	struct visit visit = { .doc = doc, .scope = scope };
	if (doc == NULL) {
		return NULL;
	}
	host_part_set(doc, &spaces->shared->host);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, &space->id);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, "container");
	codec_doc_set_text(doc, CODEC_ENDPOINT_NAME, space->named.name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_MODEL, "namespace");
	codec_doc_set_text(doc, CODEC_ENDPOINT_MANUFACTURER, space->named.path);
	codec_doc_set_u64(doc, CODEC_ENDPOINT_NAMESPACE, space->inode);
	if (!space->named.global) {
		(void)pr_uuid_format(&space->scope, scope);
	}
	(void)snprintf(inside, sizeof(inside), "/proc/thread-self/fd/%d", fd);
	if (listeners_visit(listeners, inside, addresses_run, &visit) != PR_OK) {
		codec_doc_destroy(&doc);
		return NULL;
	}
	(void)listeners_add(listeners, inside, NULL, doc);
	return doc;
}

/* Sends the document when it differs from the last one. */
static void space_send(spaces_t *spaces, struct space *space, codec_doc_t *doc)
{
	uint8_t *bytes = NULL;
	size_t size_bytes = 0;
	struct inventory_change change = { .kind = INVENTORY_UP,
		                           .source = HOST_SOURCE,
		                           .id = space->id,
		                           .inode = space->inode,
		                           .endpoint = doc,
		                           .path = strdup(space->named.path) };

	if (change.path == NULL || codec_doc_encode(doc, &bytes, &size_bytes) != PR_OK ||
	    (space->bytes != NULL && size_bytes == space->size_bytes &&
	     memcmp(bytes, space->bytes, size_bytes) == 0)) {
		free(bytes);
		inventory_change_done(&change);
		return;
	}
	free(space->bytes);
	space->bytes = bytes;
	space->size_bytes = size_bytes;
	space->up = true;
	changes_push(spaces->shared->changes, &change);
}

static void space_look(spaces_t *spaces, struct space *space, listeners_t *listeners)
{
	uint64_t inode = 0;
	_cleanup_(pr_fd_close) int fd = space_open(space, &inode);

	if (fd < 0) {
		space_down(spaces, space);
		space->refused = false;
		return;
	}
	if (inode == spaces->shared->host.namespace) {
		if (!space->refused) {
			log_warn("namespace %s: %s is the host's own, and is the host already",
			         space->named.name, space->named.path);
		}
		space_down(spaces, space);
		space->refused = true;
		return;
	}
	space->refused = false;
	space->inode = inode;
	codec_doc_t *doc = space_document(spaces, space, listeners, fd);
	if (doc != NULL) {
		space_send(spaces, space, doc);
	}
}

void spaces_look(spaces_t *spaces, listeners_t *listeners)
{
	for (size_t i = 0; listeners != NULL && i < spaces->count; i++) {
		space_look(spaces, &spaces->items[i], listeners);
	}
}
