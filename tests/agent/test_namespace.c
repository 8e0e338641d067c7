/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Namespaces that the configuration names, real ones, as they come, change and go. */

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/inventory/inventory.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/agent/world.h"
#include "tests/tap.h"

#define PLACE "/tmp/build"

/* A private /tmp and a network namespace for the host. */
static bool stage(void)
{
	return unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", "/tmp", "tmpfs", 0, NULL) == 0;
}

/* As `ip netns add` does: a file first, then the mount. */
static bool space_make(const char *path)
{
	int status = -1;
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* not if it is a namespace */
	pid_t child = fork();

	if (child == 0) {
		bool made = unshare(CLONE_NEWNET) == 0 &&
		            mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) == 0;
		_exit(made ? 0 : 1);
	}
	if (fd >= 0) {
		close(fd);
	}
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* The next change that speaks of a namespace; false: none in the time. */
static bool next(inventory_t *inventory, uint64_t wait_ns, struct inventory_change *ret_change)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + wait_ns;

	while (pr_clock_monotonic_ns() < end_ns) {
		struct inventory_change change;
		while (inventory_next(inventory, &change) == PR_OK) {
			if (change.kind == INVENTORY_UP || change.kind == INVENTORY_DOWN) {
				*ret_change = change;
				return true;
			}
			inventory_change_done(&change);
		}
		(void)poll(NULL, 0, 1);
	}
	return false;
}

static uint64_t inode_of(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0 ? info.st_ino : 0;
}

static void test_life(void)
{
	static const char build[] = "build " PLACE;
	static const char *const lines[] = { build, "own /proc/self/ns/net", "none /tmp/nothing" };
	struct pr_uuid host = { { 1, 2, 3 } }, other = { { 1, 2, 4 } };
	const struct inventory_options options = { .host = host,
		                                   .host_name = "buildsrv",
		                                   .agent_version = "1",
		                                   .namespaces = lines,
		                                   .namespace_count = 3 };
	_cleanup_(inventory_destroy) inventory_t *inventory = NULL;
	struct inventory_change up, change;

	if (!ok(inventory_start(&options, &inventory) == PR_OK, "inventory starts")) {
		return;
	}
	ok(!next(inventory, PR_NS_PER_S / 2, &change),
	   "nothing there, the host's own is the host: no endpoint");
	uint64_t since_ns = pr_clock_monotonic_ns();
	ok(space_make(PLACE) && next(inventory, 10 * PR_NS_PER_S, &up) && up.kind == INVENTORY_UP,
	   "one is made: it is up");
	uint64_t took_ns = pr_clock_monotonic_ns() - since_ns;
	ok(took_ns < PR_NS_PER_S, "within a second (%llu ms)",
	   (unsigned long long)(took_ns / PR_NS_PER_MS));
	ok(up.source == 0 && up.pid == 0 && up.inode == inode_of(PLACE) && up.path != NULL &&
	           strcmp(up.path, PLACE) == 0,
	   "with its file and inode");
	ok(strcmp(codec_doc_text(up.endpoint, CODEC_ENDPOINT_NAME), "build") == 0 &&
	           strcmp(codec_doc_text(up.endpoint, CODEC_ENDPOINT_KIND), "container") == 0 &&
	           strcmp(codec_doc_text(up.endpoint, CODEC_ENDPOINT_MODEL), "namespace") == 0 &&
	           strcmp(codec_doc_text(up.endpoint, CODEC_ENDPOINT_HOST_NAME), "buildsrv") == 0,
	   "named, a container of this host, model namespace");
	struct pr_uuid id = up.id;
	inventory_change_done(&up);
	ok(!pr_uuid_is_null(&id) && !pr_uuid_equal(&id, &host) && !pr_uuid_equal(&id, &other),
	   "an identity of its own");

	ok(umount2(PLACE, MNT_DETACH) == 0 && next(inventory, 10 * PR_NS_PER_S, &change) &&
	           change.kind == INVENTORY_DOWN && pr_uuid_equal(&change.id, &id),
	   "it goes: down");
	ok(space_make(PLACE) && next(inventory, 10 * PR_NS_PER_S, &up) && up.kind == INVENTORY_UP &&
	           pr_uuid_equal(&up.id, &id),
	   "another one under the name: the same endpoint");
	inventory_change_done(&up);
	/* Without a gap that a look could see. */
	int before = open(PLACE, O_RDONLY | O_CLOEXEC); /* or its inode's number is used again */
	uint64_t inode = inode_of(PLACE);
	ok(before >= 0 && space_make(PLACE) && next(inventory, 10 * PR_NS_PER_S, &up) &&
	           up.kind == INVENTORY_UP && up.inode != inode && pr_uuid_equal(&up.id, &id),
	   "mounted over: told with the new inode");
	inventory_change_done(&up);
	close(before);
	ok(!next(inventory, 3 * PR_NS_PER_S, &change), "what does not change is not told");
}

/* A host's name does not go into it, its UUID does. */
static struct pr_uuid id_on(struct pr_uuid host, const char *line, size_t *ret_global)
{
	const struct inventory_options options = {
		.host = host, .agent_version = "1", .namespaces = &line, .namespace_count = 1
	};
	_cleanup_(inventory_destroy) inventory_t *inventory = NULL;
	struct inventory_change up = { .id = { { 0 } } };

	if (inventory_start(&options, &inventory) != PR_OK ||
	    !next(inventory, 10 * PR_NS_PER_S, &up)) {
		return (struct pr_uuid){ { 0 } };
	}
	*ret_global = 0;
	for (size_t i = 0; i < codec_doc_count(up.endpoint, CODEC_ENDPOINT_ADDRESSES); i++) {
		const char *address = codec_doc_item(up.endpoint, CODEC_ENDPOINT_ADDRESSES, i);
		*ret_global += strncmp(address, "global 10.99.0.1/24 ", 20) == 0;
	}
	inventory_change_done(&up);
	return up.id;
}

static void test_identity(void)
{
	struct pr_uuid a = { { 1 } }, b = { { 2 } };
	size_t ours = 9, all = 9;
	char line[128];
	struct world world;

	if (world_open(&world) != 0) {
		ok(false, "a world");
		return;
	}
	(void)snprintf(line, sizeof(line), "build %s", world.left_path);
	struct pr_uuid first = id_on(a, line, &ours);
	struct pr_uuid elsewhere = id_on(b, line, &ours);
	(void)snprintf(line, sizeof(line), "build %s global", world.left_path);
	struct pr_uuid again = id_on(a, line, &all);
	(void)snprintf(line, sizeof(line), "built %s", world.left_path);
	struct pr_uuid renamed = id_on(a, line, &ours);
	ok(!pr_uuid_is_null(&first) && pr_uuid_equal(&first, &again), "the same after a restart");
	ok(!pr_uuid_equal(&first, &renamed), "another name is another endpoint");
	ok(!pr_uuid_equal(&first, &elsewhere), "the same name on another host, too");
	ok(ours == 0 && all == 1, "its addresses mean something on this host alone, unless global");
	world_close(&world);
}

int main(void)
{
	const char *missing = world_missing();
	if (missing != NULL || !stage()) {
		skip("%s", missing != NULL ? missing : "no namespaces here");
		return tap_done();
	}
	test_life();
	test_identity();
	return tap_done();
}
