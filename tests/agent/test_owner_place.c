/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose is a process in a namespace, by its control groups: the table of containers is written
 * here, the texts are what /proc/PID/cgroup would say; and the recorded ones of tests/base/cgroups
 * as if all of their containers were in the host's namespace.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/owner_internal.h"
#include "base/cgroup.h"
#include "base/err.h"
#include "tests/base/cgroup_trees.h"
#include "tests/tap.h"

#define HOST  0 /* slots */
#define WEB   1
#define BOX   2
#define SPACE 3
#define ID_A  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID_B  "ff23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID_C  "ee23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static owner_t *owner;

static struct pr_uuid id_of(uint8_t number)
{
	return (struct pr_uuid){ { [0] = 0x70, [15] = number } };
}

/* A container with these groups; NULL: they could not be read. */
static void member(uint32_t slot, uint8_t number, const char *id, const char *own)
{
	struct owner_member_options options = {
		.slot = slot, .endpoint = id_of(number), .container_id = id, .pid = -1
	};

	ok(owner_member_add(owner, &options) == PR_OK, "container %u in slot %u", number, slot);
	if (own != NULL) {
		struct owner_member *added = &owner->members[owner->member_count - 1];
		added->own = strdup(own);
		added->named = pr_cgroup_named(own, id);
		owner->spaces[slot].untold--;
		owner->spaces[slot].unsure += !added->named;
	}
}

/* "main", "nobody", or the container's number. */
static const char *whose(uint32_t slot, const char *text)
{
	static char said[16];
	struct part_owner found = { 0 };
	struct owner_group group;

	if (text != NULL) {
		owner_group_resolve(owner, text, &group);
	} else {
		group = (struct owner_group){ .kind = OWNER_GROUP_UNREAD };
	}
	owner_place_set(owner, slot, &group, &found);
	(void)snprintf(said, sizeof(said), "%s",
	               found.place == PART_PLACE_MAIN      ? "main"
	               : found.place == PART_PLACE_UNKNOWN ? "nobody"
	                                                   : "");
	if (said[0] == '\0') {
		(void)snprintf(said, sizeof(said), "%u", found.container.bytes[15]);
	}
	return said;
}

static void is(uint32_t slot, const char *text, const char *wanted, const char *why)
{
	const char *got = whose(slot, text);

	ok(strcmp(got, wanted) == 0, "%s: %s (%s)", why, wanted, got);
}

static void test_alone(void)
{
	is(HOST, "0::/system.slice/ssh.service\n", "main", "the host alone, its process");
	is(HOST, "0::/docker/" ID_A "\n", "nobody",
	   "a container that is not known yet is not the host");
	is(HOST, NULL, "main", "a process that cannot be read, where nobody else lives");
	owner->config.engine = false;
	is(HOST, "0::/docker/" ID_A "\n", "main",
	   "no engine: what runs in containers is the host's");
	owner->config.engine = true;
	(void)snprintf(owner->own_container, sizeof(owner->own_container), "%s", ID_C);
	is(HOST, "0::/docker/" ID_C "\n", "main", "we run in a container, and the host with us");
	owner->own_container[0] = '\0';
}

static void test_host(void)
{
	member(HOST, 1, ID_A, "pids:/docker/" ID_A "\n:/docker/" ID_A "\n");
	member(HOST, 2, ID_B, "pids:/docker/" ID_B "\n:/docker/" ID_B "\n");
	ok(owner_space_shared(owner, HOST), "the host's namespace is shared");
	is(HOST, "8:pids:/docker/" ID_A "\n0::/docker/" ID_A "\n", "1", "one");
	is(HOST, "8:pids:/docker/" ID_B "/x/y\n0::/docker/" ID_B "\n", "2", "the other, nested");
	is(HOST, "8:pids:/\n0::/\n", "main", "the host");
	is(HOST, "8:pids:/docker/" ID_A "\n0::/docker/" ID_B "\n", "nobody", "half in each");
	is(HOST, "8:pids:/docker/" ID_A "\n0::/\n", "nobody", "half out");
	is(HOST, "8:pids:/foo/docker-" ID_A ".scope\n0::/foo/docker-" ID_A ".scope\n", "nobody",
	   "a host's group with a container's name");
	is(HOST, "8:pids:/docker/" ID_C "\n0::/docker/" ID_C "\n", "nobody",
	   "a container that is not known");
	is(HOST, "8:pids:/docker/" ID_A "/docker/" ID_C "\n0::/docker/" ID_A "/docker/" ID_C "\n",
	   "1", "a container inside a container is the outer one's");
	is(HOST, "", "main", "no groups at all");
	is(HOST, NULL, "nobody", "a process that cannot be read, where others live");
	ok(owner_place_default(owner, HOST) == PART_PLACE_UNKNOWN &&
	           owner_place_default(owner, UINT32_MAX) == PART_PLACE_MAIN,
	   "nobody is found: nobody's");
}

static void test_container(void)
{
	member(WEB, 3, ID_C, ":/docker/" ID_C "\n");
	ok(!owner_space_shared(owner, WEB), "one container lives alone");
	is(WEB, "0::/docker/" ID_C "\n", "3", "its process");
	is(WEB, "0::/system.slice/docker.service\n", "main",
	   "the engine's own, for the container's names");
	is(WEB, "8:pids:/docker/" ID_A "\n0::/docker/" ID_A "\n", "nobody",
	   "another container's process that came in");
	is(HOST, "0::/docker/" ID_C "\n", "nobody", "its process in the host's namespace");
	ok(owner_place_default(owner, WEB) == PART_PLACE_MAIN, "nobody is found: the container's");
	struct pr_uuid second = id_of(2);
	uint64_t before = owner->generation;
	owner_member_remove(owner, &second);
	ok(owner->generation != before, "what was looked up before is looked up again");
	is(HOST, "8:pids:/docker/" ID_B "\n0::/docker/" ID_B "\n", "nobody", "one that went");
	owner_members_drop(owner, HOST);
	ok(!owner_space_shared(owner, HOST) && owner->member_count == 1,
	   "all of a namespace go with it");
}

/* A container in a namespace that the configuration names, whichever of them came first. */
static void test_named(void)
{
	struct pr_uuid build = id_of(7);

	owner->spaces[SPACE].used = true;
	member(SPACE, 6, ID_A, ":/libpod_parent/libpod-" ID_A "\n");
	ok(owner_place_default(owner, SPACE) == PART_PLACE_MAIN, "the container came first");
	member(SPACE, 7, "", NULL);
	ok(owner_space_shared(owner, SPACE) && owner_space_named(owner, SPACE) &&
	           owner_place_default(owner, SPACE) == PART_PLACE_UNKNOWN,
	   "the namespace is another endpoint: nobody is found, nobody's");
	is(SPACE, "0::/libpod_parent/libpod-" ID_A "\n", "6", "the container's process");
	is(SPACE, "0::/user.slice\n", "main", "the namespace's");
	is(SPACE, "0::/docker/" ID_B "\n", "nobody", "one of a container that is not known");
	owner_members_drop(owner, SPACE);
	member(SPACE, 7, "", NULL);
	ok(!owner_space_shared(owner, SPACE) &&
	           owner_place_default(owner, SPACE) == PART_PLACE_MAIN,
	   "a named namespace alone");
	is(SPACE, "0::/docker/" ID_B "\n", "nobody", "what is of an unknown container is not its");
	owner_member_remove(owner, &build);
	ok(!owner_space_named(owner, SPACE) && owner->spaces[SPACE].members == 0 &&
	           owner->spaces[SPACE].untold == 0,
	   "it goes");
}

/* First processes that have gone, and such as were given no groups of their own. */
static void test_untold(void)
{
	member(BOX, 4, ID_A, NULL);
	is(BOX, "0::/docker/" ID_A "\n", "main", "groups that are not known, alone: as before");
	member(BOX, 5, ID_B, ":/user.slice/session-1.scope\n");
	is(BOX, "0::/docker/" ID_A "\n", "nobody", "beside another: nobody");
	is(BOX, "0::/user.slice/session-1.scope\n", "nobody",
	   "a container in the groups of who started it: it, or he, or his other one");
	is(BOX, "0::/user.slice/session-1.scope/x\n", "nobody", "below them");
	is(BOX, "0::/user.slice/session-10.scope\n", "main", "another path");
	is(BOX, "0::/foo/docker-" ID_B ".scope\n", "nobody", "a group with its name is not its");
	is(WEB, "0::/user.slice/session-1.scope\n", "main",
	   "in a namespace where it does not live: of that");
	is(WEB, "0::/docker/" ID_C "\n", "3", "and who has groups is told as before");
	owner_members_drop(owner, BOX);
	member(BOX, 5, ID_B, ":/user.slice/session-1.scope\n");
	is(BOX, "0::/user.slice/session-1.scope\n", "main", "alone in its namespace: its own");
	member(BOX, 4, ID_A, "");
	is(BOX, "0::/\n", "nobody", "one at the top of all: everybody may be it");
	is(BOX, "0::/system.slice/ssh.service\n", "nobody", "whoever it is");
	is(HOST, "0::/system.slice/ssh.service\n", "main", "but not elsewhere");
	owner_members_drop(owner, BOX);
	ok(owner->spaces[BOX].unsure == 0 && owner->spaces[BOX].untold == 0 &&
	           owner->spaces[BOX].members == 0,
	   "they go");
	struct owner_member_options options = { .slot = 9, .container_id = ID_A };
	ok(owner_member_add(owner, &options) == PR_EINVAL, "no such slot");
}

/* This process as the first one of a container: its groups have no such id. */
static void test_read(void)
{
	struct owner_member_options options = {
		.slot = BOX, .endpoint = id_of(8), .container_id = ID_A, .pid = (int32_t)getpid()
	};

	ok(owner_member_add(owner, &options) == PR_OK && owner->spaces[BOX].unsure == 1,
	   "a running process in no group of its own: not sure");
	options.start_ticks = 1;
	ok(owner_member_add(owner, &options) == PR_OK && owner->spaces[BOX].unsure == 0 &&
	           owner->spaces[BOX].untold == 1,
	   "another process by now: not known");
	owner_members_drop(owner, BOX);
}

/* ------------------------------------------------------------------------- recorded machines */

#define NOBODY SIZE_MAX

static bool tree_noted; /* as eBPF notes it, not as /proc says it */

/* "1:pids:PATH" and "0::PATH", the one being the other where there is version 2 alone. */
static const char *note_of(const char *text)
{
	static char note[PR_CGROUP_TEXT_BYTES];
	const char *pids = strstr(text, ":pids:");
	const char *unified = strstr(text, "0::");

	pids = pids != NULL ? pids + strlen(":pids:") : unified + strlen("0::");
	unified = unified != NULL ? unified + strlen("0::") : "/";
	(void)snprintf(note, sizeof(note), "1:pids:%.*s\n0::%.*s\n", (int)strcspn(pids, "\n"), pids,
	               (int)strcspn(unified, "\n"), unified);
	return note;
}

static bool tree_is(const char *what, const char *text, const char *wanted)
{
	const char *got = whose(HOST, tree_noted ? note_of(text) : text);

	return strcmp(got, wanted) == 0 ||
	       (printf("# %s instead of %s: %s\n", got, wanted, what), false);
}

/* Of the container with this number; one that its engine has not named yet is nobody. */
static const char *tree_number(size_t number, size_t left_out)
{
	static char text[24];

	(void)snprintf(text, sizeof(text), "%zu", number + 1);
	return number == left_out ? "nobody" : text;
}

static bool tree_process_is(const struct tree *tree, const struct tree_process *process,
                            size_t left_out)
{
	if (strcmp(process->name, "outside") == 0) {
		return tree_is(process->head, process->text, "main");
	}
	if (strcmp(process->name, "stranger") == 0) {
		/* Where it is a group of systemd's hierarchy alone, eBPF does not note it. */
		return tree_noted || tree_is(process->head, process->text, "nobody");
	}
	for (size_t i = 0; i < tree->container_count; i++) {
		if (strcmp(process->name, tree->containers[i].name) == 0) {
			return tree_is(process->head, process->text, tree_number(i, left_out));
		}
	}
	return false;
}

static bool tree_members_are(const struct tree *tree, size_t left_out)
{
	bool good = true;

	for (size_t i = 0; i < tree->container_count; i++) {
		good &= tree_is(tree->containers[i].name, tree->containers[i].first,
		                tree_number(i, left_out));
	}
	for (size_t i = 0; i < tree->process_count; i++) {
		good &= tree_process_is(tree, &tree->processes[i], left_out);
	}
	return good;
}

static void tree_member(const struct tree_container *container, size_t number)
{
	char own[PR_CGROUP_TEXT_BYTES];

	(void)!pr_cgroup_own(container->first, container->id, own, sizeof(own));
	member(HOST, (uint8_t)(number + 1), container->id, own);
}

static void tree_play(const struct tree *tree)
{
	for (size_t i = 0; i < tree->container_count; i++) {
		tree_member(&tree->containers[i], i);
	}
	for (int noted = 0; noted < 2; noted++) {
		tree_noted = noted != 0;
		ok(tree_members_are(tree, NOBODY), "%s: %zu containers and the host told apart%s",
		   tree->file, tree->container_count, tree_noted ? ", as eBPF notes it" : "");
	}
	for (size_t i = 0; i < tree->container_count; i++) {
		struct pr_uuid endpoint = id_of((uint8_t)(i + 1));
		owner_member_remove(owner, &endpoint);
		tree_noted = false;
		bool good = tree_members_are(tree, i);
		tree_noted = true;
		ok(good && tree_members_are(tree, i),
		   "%s: %s is not known yet: its processes are nobody's, all else is as before",
		   tree->file, tree->containers[i].name);
		tree_member(&tree->containers[i], i);
	}
	owner_members_drop(owner, HOST);
}

int main(void)
{
	struct owner_config config;

	owner_config_default(&config);
	config.engine = true;
	if (!ok(owner_new(&config, &owner) == PR_OK, "attribution")) {
		return tap_done();
	}
	owner->own_container[0] = '\0';
	owner->spaces[HOST] = (struct owner_space){ .used = true, .host = true };
	owner->spaces[WEB] = owner->spaces[BOX] = (struct owner_space){ .used = true };
	test_alone();
	test_host();
	test_container();
	test_named();
	test_untold();
	test_read();
	ok(trees_each("recorded-", tree_play) >= 6, "recorded machines");
	owner_destroy(&owner);
	return tap_done();
}
