/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which container's group is a process in? */
#include "tests/base/cgroup_trees.h"

static char owns[TREE_CONTAINERS_MAX][PR_CGROUP_TEXT_BYTES];

/* The containers that a process is in, or "partly", or "outside". */
static const char *place_find(const struct tree *tree, const char *text)
{
	static char got[256];
	bool partly = false;

	got[0] = '\0';
	for (size_t i = 0; i < tree->container_count; i++) {
		size_t used = strlen(got);
		enum pr_cgroup_place place = pr_cgroup_compare(owns[i], text);
		if (place == PR_CGROUP_INSIDE) {
			(void)snprintf(got + used, sizeof(got) - used, "%s%s",
			               used > 0 ? " and " : "", tree->containers[i].name);
		}
		partly |= place == PR_CGROUP_PARTLY;
	}
	return got[0] != '\0' ? got : partly ? "partly" : "outside";
}

static void tree_play(const struct tree *tree)
{
	for (size_t i = 0; i < tree->container_count; i++) {
		const struct tree_container *container = &tree->containers[i];
		ok(pr_cgroup_own(container->first, container->id, owns[i], sizeof(owns[i])),
		   "%s: groups of %s", tree->file, container->name);
	}
	for (size_t i = 0; i < tree->container_count; i++) {
		const char *got = place_find(tree, tree->containers[i].first);
		ok(strcmp(got, tree->containers[i].name) == 0,
		   "%s: container %s: its first process (%s)", tree->file, tree->containers[i].name,
		   got);
	}
	for (size_t i = 0; i < tree->process_count; i++) {
		const struct tree_process *process = &tree->processes[i];
		bool stranger = strcmp(process->name, "stranger") == 0;
		const char *got = place_find(tree, process->text);
		ok(strcmp(got, stranger ? "outside" : process->name) == 0, "%s: %s (%s)",
		   tree->file, process->head, got);
	}
}

static void test_trees(void)
{
	ok(trees_each("", tree_play) >= 18, "all trees");
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

static void test_named(void)
{
	static const char own[] = "name=systemd:/a/" ID_A "\ncpu:/a/" ID_A "\n";

	ok(pr_cgroup_compare(own, "2:name=systemd:/x.service\n1:cpu:/a/" ID_A "\n") ==
	           PR_CGROUP_INSIDE,
	   "executed in a container by crun: left in the named hierarchy where he was");
	ok(pr_cgroup_compare(own, "2:name=systemd:/a/" ID_A "\n1:cpu:/x\n") == PR_CGROUP_PARTLY,
	   "the named one alone makes nobody its");
	ok(pr_cgroup_compare(own, "2:name=systemd:/x\n1:cpu:/x\n") == PR_CGROUP_OUTSIDE,
	   "none of them");
	ok(pr_cgroup_compare("name=systemd:/a/" ID_A "\n", "1:cpu:/\n0::/\n") == PR_CGROUP_PARTLY,
	   "no hierarchy to compare");
	ok(pr_cgroup_compare("name=systemd:/a/" ID_A "\n", "1:name=systemd:/a/" ID_A "\n") ==
	           PR_CGROUP_INSIDE,
	   "but it counts where the container has no other");
}

static void tree_two_tell(const struct tree *tree)
{
	bool told = true;

	for (size_t i = 0; i < tree->container_count; i++) {
		told &= pr_cgroup_two_tell(tree->containers[i].first);
	}
	ok(told, "%s: pids or the unified hierarchy", tree->file);
}

/* eBPF notes two hierarchies. */
static void test_two_tell(void)
{
	ok(trees_each("recorded-", tree_two_tell) == 6, "recorded trees");
	ok(pr_cgroup_two_tell("0::/a\n") && pr_cgroup_two_tell("1:name=systemd:/\n0::/a\n"),
	   "the unified one alone, systemd's beside it");
	ok(pr_cgroup_two_tell("3:cpu,cpuacct:/\n2:misc,pids:/a\n1:name=systemd:/\n0::/\n"),
	   "version 1, pids with another controller");
	ok(!pr_cgroup_two_tell("3:cpu,cpuacct:/a\n1:name=systemd:/a\n0::/\n") &&
	           !pr_cgroup_two_tell("2:rpids:/a\n0::/\n"),
	   "version 1 without pids: what is noted says nothing");
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
	test_named();
	test_two_tell();
	test_guess();
	return tap_done();
}
