/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which container's group is a process in? Texts of /proc/PID/cgroup as engines make them, in
 * tests/base/cgroups/: "container NAME ID" and its first process's lines, then "process NAME: what"
 * (of that container and no other), "process outside: what" or "process partly: what".
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/defs.h"
#include "tests/tap.h"

#define CONTAINERS_MAX 4

struct container {
	char name[32], id[PR_CGROUP_ID_BYTES], own[PR_CGROUP_TEXT_BYTES];
};

struct tree {
	const char *file;
	struct container containers[CONTAINERS_MAX];
	size_t count;
	/* what is being read */
	char head[256], text[PR_CGROUP_TEXT_BYTES];
};

static void container_take(struct tree *tree)
{
	struct container *container = &tree->containers[tree->count++];

	ok(sscanf(tree->head, "container %31s %64s", container->name, container->id) == 2 &&
	           pr_cgroup_own(tree->text, container->id, container->own, sizeof(container->own)),
	   "%s: groups of %s", tree->file, container->name);
}

static void process_take(const struct tree *tree)
{
	char wanted[32] = "", got[64] = "outside";

	(void)sscanf(tree->head, "process %31[^:]", wanted);
	for (size_t i = 0; i < tree->count; i++) {
		enum pr_cgroup_place place = pr_cgroup_compare(tree->containers[i].own, tree->text);
		if (place == PR_CGROUP_INSIDE) {
			(void)snprintf(got, sizeof(got), "%s%s", tree->containers[i].name,
			               strcmp(got, "outside") == 0 ? "" : " and another");
		} else if (place == PR_CGROUP_PARTLY && strcmp(got, "outside") == 0) {
			(void)snprintf(got, sizeof(got), "partly");
		}
	}
	ok(strcmp(got, wanted) == 0, "%s: %s (%s)", tree->file, tree->head, got);
}

static void block_end(struct tree *tree)
{
	if (strncmp(tree->head, "container ", 10) == 0) {
		container_take(tree);
	} else if (strncmp(tree->head, "process ", 8) == 0) {
		process_take(tree);
	}
	tree->text[0] = '\0';
}

static void file_play(const char *folder, const char *name)
{
	static struct tree tree;
	char path[2 * PATH_MAX], line[1024];

	tree = (struct tree){ .file = name };
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (line[0] == '#') {
			continue;
		}
		if (strncmp(line, "container ", 10) != 0 && strncmp(line, "process ", 8) != 0) {
			size_t used = strlen(tree.text);
			(void)snprintf(tree.text + used, sizeof(tree.text) - used, "%s", line);
			continue;
		}
		block_end(&tree);
		line[strcspn(line, "\n")] = '\0';
		memcpy(tree.head, line, sizeof(tree.head) - 1);
	}
	block_end(&tree);
	if (file != NULL) {
		(void)fclose(file);
	}
	ok(tree.count > 0, "%s: read", name);
}

static void test_trees(void)
{
	char folder[PATH_MAX];
	const char *source = getenv("srcdir");
	struct dirent **names = NULL;

	(void)snprintf(folder, sizeof(folder), "%s/tests/base/cgroups",
	               source != NULL ? source : ".");
	int count = scandir(folder, &names, NULL, alphasort);
	ok(count > 10, "recorded trees in %s", folder);
	for (int i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.') {
			file_play(folder, names[i]->d_name);
		}
		free(names[i]);
	}
	free(names);
}

#define ID_A "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID_B "ff23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_own(void)
{
	char own[512], shown[128], small[32];

	ok(pr_cgroup_own("1:cpu:/docker/" ID_A "/init.scope\n0::/\n", ID_A, own, sizeof(own)) &&
	           strcmp(own, "cpu:/docker/" ID_A "\n") == 0,
	   "up to the group with the id; the top is nobody's own");
	pr_cgroup_shown(own, shown, sizeof(shown));
	ok(strcmp(shown, "/docker/" ID_A) == 0, "shown: the only one");
	ok(pr_cgroup_own("2:name=systemd:/b/" ID_A "\n1:cpu:/a/" ID_A "\n0::/c/" ID_A "\n", ID_A,
	                 own, sizeof(own)),
	   "three hierarchies");
	pr_cgroup_shown(own, shown, sizeof(shown));
	ok(strcmp(shown, "/c/" ID_A) == 0, "shown: the unified one");
	ok(!pr_cgroup_own("0::/\n", ID_A, own, sizeof(own)) && own[0] == '\0' &&
	           !pr_cgroup_own("", ID_A, own, sizeof(own)) &&
	           !pr_cgroup_own("rubbish", ID_A, own, sizeof(own)),
	   "at the top: no group of its own");
	ok(!pr_cgroup_own("1:a:/docker/" ID_A "\n", ID_A, small, sizeof(small)) && small[0] == '\0',
	   "no room: none, rather than half of them");
	pr_cgroup_shown("", shown, sizeof(shown));
	ok(shown[0] == '\0', "nothing to show");
}

static void test_guess(void)
{
	char id[PR_CGROUP_ID_BYTES] = "", own[512];
	const char *at = pr_cgroup_guess("0::/docker/" ID_A "/docker/" ID_B "\n", id);

	ok(at != NULL && strcmp(id, ID_A) == 0, "the outer container");
	at = at != NULL ? pr_cgroup_guess(at, id) : NULL;
	ok(at != NULL && strcmp(id, ID_B) == 0, "then the inner one");
	ok(at != NULL && pr_cgroup_guess(at, id) == NULL, "then none");
	ok(pr_cgroup_guess("0::/system.slice/docker-" ID_A ".scope\n", id) != NULL &&
	           strcmp(id, ID_A) == 0,
	   "by systemd's name");
	ok(pr_cgroup_guess("0::/user.slice\n", id) == NULL &&
	           pr_cgroup_guess("0::/docker/" ID_A "0\n", id) == NULL &&
	           pr_cgroup_guess("", id) == NULL &&
	           pr_cgroup_guess("0::/libpod-conmon-" ID_A ".scope\n", id) == NULL,
	   "none: a login, another name, nothing, a monitor");
#define POD "b8e08d42b40baaf7afabb568fd03a711c010b65bb7d4f7e9a20790489355af19"
	ok(pr_cgroup_guess("0::/libpod_parent/" POD "/libpod-" ID_A "\n", id) != NULL &&
	           strcmp(id, ID_A) == 0,
	   "Podman, in a pod: the container, not the pod");
	ok(pr_cgroup_guess("0::/machine.slice/machine-libpod_pod_" POD ".slice/libpod-" ID_A
	                   ".scope/container\n",
	                   id) != NULL &&
	           strcmp(id, ID_A) == 0,
	   "the same by systemd");
	ok(pr_cgroup_guess("0::/libpod_parent/libpod-" ID_A "\n", id) != NULL &&
	           strcmp(id, ID_A) == 0,
	   "Podman, in no pod");
	ok(pr_cgroup_guess("0::/libpod_parent/" POD "\n", id) == NULL, "a pod is no container");
	ok(pr_cgroup_own("0::/libpod_parent/" POD "/libpod-" ID_A "/x\n", ID_A, own, sizeof(own)) &&
	           strcmp(own, ":/libpod_parent/" POD "/libpod-" ID_A "\n") == 0,
	   "whose own group is its alone, not the pod's");
}

int main(void)
{
	test_trees();
	test_own();
	test_guess();
	return tap_done();
}
