/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/defs.h"

#define ID_DIGITS (PR_CGROUP_ID_BYTES - 1)
#define DELETED   " (deleted)" /* behind a path whose group has been removed */

/* "HIERARCHY:CONTROLLERS:PATH", or our own "CONTROLLERS:PATH". */
struct line {
	const char *controllers, *path;
	size_t controllers_length, path_length;
};

static void path_trim(struct line *line)
{
	size_t length = sizeof(DELETED) - 1;

	if (line->path_length > length &&
	    memcmp(line->path + line->path_length - length, DELETED, length) == 0) {
		line->path_length -= length;
	}
	while (line->path_length > 1 && line->path[line->path_length - 1] == '/') {
		line->path_length--;
	}
}

/* The next line that is one; a path may hold colons. @numbered: as in /proc. */
static bool line_next(const char **text_p, bool numbered, struct line *ret_line)
{
	while (**text_p != '\0') {
		const char *at = *text_p;
		const char *end = at + strcspn(at, "\n");
		*text_p = *end == '\n' ? end + 1 : end;
		const char *first = memchr(at, ':', (size_t)(end - at));
		if (numbered && first != NULL) {
			at = first + 1;
			first = memchr(at, ':', (size_t)(end - at));
		}
		if (first == NULL || first + 1 == end || first[1] != '/') {
			continue;
		}
		*ret_line = (struct line){ .controllers = at,
			                   .controllers_length = (size_t)(first - at),
			                   .path = first + 1,
			                   .path_length = (size_t)(end - first - 1) };
		path_trim(ret_line);
		return true;
	}
	return false;
}

/* Where the container's id ends in a path, at the end of its component's; 0: it is not there. */
static size_t id_end(const struct line *line, const char *id)
{
	size_t length = strlen(id);

	for (size_t i = 0; length > 0 && i + length <= line->path_length; i++) {
		if (memcmp(line->path + i, id, length) != 0) {
			continue;
		}
		bool begins = i > 0 && isxdigit((unsigned char)line->path[i - 1]) == 0;
		size_t end = i + length;
		bool ends =
			end == line->path_length || isxdigit((unsigned char)line->path[end]) == 0;
		while (end < line->path_length && line->path[end] != '/') {
			end++;
		}
		if (begins && ends) {
			return end;
		}
	}
	return 0;
}

static bool own_add(const struct line *line, size_t path_length, char *own, size_t size_bytes)
{
	size_t used = strlen(own);
	int wrote = snprintf(own + used, size_bytes - used, "%.*s:%.*s\n",
	                     (int)line->controllers_length, line->controllers, (int)path_length,
	                     line->path);

	return wrote > 0 && (size_t)wrote < size_bytes - used;
}

bool pr_cgroup_own(const char *text, const char *container_id, char *ret_own, size_t size_bytes)
{
	bool good = true;

	ret_own[0] = '\0';
	for (int by_id = 1; by_id >= 0 && ret_own[0] == '\0' && good; by_id--) {
		const char *at = text;
		struct line line;
		while (good && line_next(&at, true, &line)) {
			size_t length = by_id != 0 ? id_end(&line, container_id) : line.path_length;
			if (length > 1) {
				good = own_add(&line, length, ret_own, size_bytes);
			}
		}
	}
	if (!good) {
		ret_own[0] = '\0'; /* half of them would let in who is in that half */
	}
	return ret_own[0] != '\0';
}

bool pr_cgroup_own_read(int32_t pid, const char *container_id, char *ret_own, size_t size_bytes)
{
	char path[64], text[PR_CGROUP_TEXT_BYTES];

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	FILE *file = fopen(path, "re");
	size_t got = file != NULL ? fread(text, 1, sizeof(text), file) : 0;
	if (file != NULL) {
		(void)fclose(file);
	}
	ret_own[0] = '\0';
	if (got == sizeof(text)) {
		return false; /* cut */
	}
	text[got] = '\0';
	return pr_cgroup_own(text, container_id, ret_own, size_bytes);
}

bool pr_cgroup_named(const char *own, const char *container_id)
{
	return strstr(own, container_id) != NULL;
}

/* Hierarchies are known by their controllers; several may be mounted as one. */
static bool same_hierarchy(const struct line *a, const struct line *b)
{
	if (a->controllers_length == 0 || b->controllers_length == 0) {
		return a->controllers_length == b->controllers_length;
	}
	for (size_t i = 0; i < a->controllers_length;) {
		const char *word = a->controllers + i;
		size_t length = 0;
		while (i + length < a->controllers_length && word[length] != ',') {
			length++;
		}
		for (size_t j = 0; length > 0 && j + length <= b->controllers_length; j++) {
			bool begins = j == 0 || b->controllers[j - 1] == ',';
			bool ends = j + length == b->controllers_length ||
			            b->controllers[j + length] == ',';
			if (begins && ends && memcmp(b->controllers + j, word, length) == 0) {
				return true;
			}
		}
		i += length + 1;
	}
	return false;
}

static bool is_below(const struct line *process, const struct line *own)
{
	return process->path_length >= own->path_length &&
	       memcmp(process->path, own->path, own->path_length) == 0 &&
	       (process->path_length == own->path_length || process->path[own->path_length] == '/');
}

/* A hierarchy without controllers of version 1, as systemd has one. */
static bool is_named(const struct line *line)
{
	static const char name[] = "name=";

	return line->controllers_length >= sizeof(name) - 1 &&
	       memcmp(line->controllers, name, sizeof(name) - 1) == 0;
}

bool pr_cgroup_two_tell(const char *text)
{
	static const struct line pids = { .controllers = "pids", .controllers_length = 4 };
	bool others = false;
	struct line line;

	while (line_next(&text, true, &line)) {
		if (line.controllers_length == 0 || is_named(&line)) {
			continue;
		}
		if (same_hierarchy(&pids, &line)) {
			return true;
		}
		others = true;
	}
	return !others;
}

struct tally {
	unsigned int below, compared;
};

static void tally_add(struct tally *tally, const struct line *own, const char *text)
{
	struct line line;

	while (line_next(&text, true, &line)) {
		if (same_hierarchy(own, &line)) {
			tally->compared++;
			tally->below += is_below(&line, own);
			return;
		}
	}
}

/* An engine may leave who enters a container in a named hierarchy where he was (crun exec). */
enum pr_cgroup_place pr_cgroup_compare(const char *own, const char *text)
{
	struct tally named = { 0 }, other = { 0 };
	struct line mine;

	while (line_next(&own, false, &mine)) {
		tally_add(is_named(&mine) ? &named : &other, &mine, text);
	}
	const struct tally *judge = other.compared > 0 ? &other : &named;
	if (judge->compared == 0) {
		return PR_CGROUP_PARTLY;
	}
	if (judge->below == judge->compared) {
		return PR_CGROUP_INSIDE;
	}
	return named.below + other.below > 0 ? PR_CGROUP_PARTLY : PR_CGROUP_OUTSIDE;
}

void pr_cgroup_shown(const char *own, char *ret_path, size_t size_bytes)
{
	static const char systemd[] = "name=systemd";
	struct line line, best = { 0 };
	int best_rank = -1;

	while (line_next(&own, false, &line)) {
		bool named = line.controllers_length == sizeof(systemd) - 1 &&
		             memcmp(line.controllers, systemd, sizeof(systemd) - 1) == 0;
		int rank = line.controllers_length == 0 ? 2 : named ? 1 : 0;
		if (rank > best_rank) {
			best = line;
			best_rank = rank;
		}
	}
	(void)snprintf(ret_path, size_bytes, "%.*s", (int)best.path_length,
	               best.path != NULL ? best.path : "");
}

static bool is_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/*
 * Monitors ("libpod-conmon-ID.scope"), and Podman's pods in front of their containers
 * ("libpod_parent/ID/libpod-ID", "libpod_pod_ID.slice/libpod-ID.scope"), have ids in their names
 * and are no containers.
 */
static bool is_other(const char *text, const char *digits)
{
	static const char *const before[] = { "conmon-", "libpod_parent/", "libpod_pod_" };

	for (size_t i = 0; i < PR_ARRAY_LEN(before); i++) {
		size_t length = strlen(before[i]);
		if ((size_t)(digits - text) >= length &&
		    memcmp(digits - length, before[i], length) == 0) {
			return true;
		}
	}
	return false;
}

const char *pr_cgroup_guess(const char *text, char ret_id[PR_CGROUP_ID_BYTES])
{
	size_t run = 0;

	for (const char *at = text;; at++) {
		if (is_digit(*at)) {
			run++;
			continue;
		}
		bool ends = *at == '\0' || *at == '\n' || *at == '/' || *at == '.' || *at == ' ';
		if (run == ID_DIGITS && ends && !is_other(text, at - ID_DIGITS)) {
			memcpy(ret_id, at - ID_DIGITS, ID_DIGITS);
			ret_id[ID_DIGITS] = '\0';
			return at;
		}
		if (*at == '\0') {
			return NULL;
		}
		run = 0;
	}
}
