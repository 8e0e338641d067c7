/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The texts of /proc/PID/cgroup in tests/base/cgroups/: "container NAME ID" and its first process's
 * lines, then "process NAME: what", that container's and no other's. NAME may be "outside",
 * "partly" (some of a container's groups), or "stranger" (of a container that is not in the file).
 * Files called recorded-* are as tests/tools/cgroup_machine.sh found them.
 */

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/defs.h"
#include "tests/tap.h"

#define TREE_CONTAINERS_MAX 24
#define TREE_PROCESSES_MAX  48

struct tree_container {
	char name[32], id[PR_CGROUP_ID_BYTES], first[PR_CGROUP_TEXT_BYTES];
};

struct tree_process {
	char name[32], head[256], text[PR_CGROUP_TEXT_BYTES];
};

struct tree {
	const char *file;
	struct tree_container containers[TREE_CONTAINERS_MAX];
	struct tree_process processes[TREE_PROCESSES_MAX];
	size_t container_count, process_count;
};

static inline struct tree_container *tree_container_add(struct tree *tree, const char *line)
{
	struct tree_container *container = &tree->containers[tree->container_count];

	if (tree->container_count == TREE_CONTAINERS_MAX ||
	    sscanf(line, "container %31s %64s", container->name, container->id) != 2) {
		return NULL;
	}
	tree->container_count++;
	return container;
}

static inline struct tree_process *tree_process_add(struct tree *tree, const char *line)
{
	struct tree_process *process = &tree->processes[tree->process_count];

	if (tree->process_count == TREE_PROCESSES_MAX ||
	    sscanf(line, "process %31[^:]", process->name) != 1) {
		return NULL;
	}
	(void)snprintf(process->head, sizeof(process->head), "%.*s", (int)strcspn(line, "\n"),
	               line);
	tree->process_count++;
	return process;
}

/* False: it cannot be read as a whole. */
static inline bool tree_read(FILE *file, struct tree *tree)
{
	char line[1024], *text = NULL;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (line[0] == '#') {
			continue;
		}
		if (strncmp(line, "container ", 10) == 0) {
			struct tree_container *added = tree_container_add(tree, line);
			text = added != NULL ? added->first : NULL;
		} else if (strncmp(line, "process ", 8) == 0) {
			struct tree_process *added = tree_process_add(tree, line);
			text = added != NULL ? added->text : NULL;
		} else if (text != NULL) {
			size_t used = strlen(text);
			(void)snprintf(text + used, PR_CGROUP_TEXT_BYTES - used, "%s", line);
			continue;
		}
		if (text == NULL) {
			return false;
		}
	}
	return tree->container_count > 0;
}

/** Each file whose name begins so, also as results of the test. Returns how many there are. */
static inline size_t trees_each(const char *prefix, void (*play)(const struct tree *tree))
{
	static struct tree tree;
	char path[2 * PATH_MAX];
	const char *source = getenv("srcdir");
	struct dirent **names = NULL;
	size_t played = 0;

	(void)snprintf(path, sizeof(path), "%s/tests/base/cgroups", source != NULL ? source : ".");
	size_t folder = strlen(path);
	int count = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		const char *name = names[i]->d_name;
		if (name[0] != '.' && strncmp(name, prefix, strlen(prefix)) == 0) {
			(void)snprintf(path + folder, sizeof(path) - folder, "/%s", name);
			FILE *file = fopen(path, "re");
			memset(&tree, 0, sizeof(tree));
			tree.file = name;
			if (ok(tree_read(file, &tree), "%s: read", name)) {
				play(&tree);
			}
			if (file != NULL) {
				(void)fclose(file);
			}
			played++;
		}
		free(names[i]);
	}
	free(names);
	return played;
}
