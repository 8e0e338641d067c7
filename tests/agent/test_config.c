/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "agent/config.h"
#include "base/err.h"
#include "tests/tap.h"

/* Load defaults, put @p text into a file and load that. */
static int load(const char *text, struct agent_config *config, struct pr_conf_error *error)
{
	char path[] = "/tmp/prt-agent-config-XXXXXX";
	int fd = mkstemp(path);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (file == NULL) {
		return PR_EIO;
	}
	(void)fputs(text, file);
	(void)fclose(file);
	*config = (struct agent_config){ 0 };
	int ret = pr_conf_load(agent_config_rows, agent_config_row_count, path, config, error);
	(void)remove(path);
	return ret;
}

static void test_check(const char *text, const char *complaint, const char *what)
{
	struct agent_config config;
	struct pr_conf_error error = { "" };

	int ret = load(text, &config, &error);
	bool loaded = ret == PR_OK;
	if (loaded) {
		ret = agent_config_check(&config, &error);
	}
	if (complaint == NULL) {
		ok(loaded && ret == PR_OK && error.text[0] == '\0', "%s: %s", what, error.text);
	} else {
		ok(ret == PR_ECONF && strstr(error.text, complaint) != NULL, "%s: %s", what,
		   error.text);
	}
	pr_conf_done(agent_config_rows, agent_config_row_count, &config);
}

static void test_namespaces(void)
{
	char text[512] = "namespace = ";

	test_check("namespace = build /run/netns/build\nnamespace = lab /run/netns/lab global\n",
	           NULL, "two namespaces");
	test_check("namespace = build\n", "'build' is not NAME PATH", "no path");
	test_check("namespace = \"\"\n", "'' is not NAME PATH", "nothing");
	test_check("namespace = build /a global more\n", "is not NAME PATH", "a fourth word");
	test_check("namespace = build /a local\n", "third word", "an unknown third word");
	test_check("namespace = build /a globally\n", "third word", "a longer one");
	test_check("namespace = build run/netns/build\n", "not absolute", "a relative path");
	test_check("namespace = -build /a\n", "letters, digits", "a name that begins with a dash");
	test_check("namespace = b(C) /a\n", "letters, digits", "a name that passes for another");
	test_check("namespace = a /a\nnamespace = a /b\n", "name that is given twice",
	           "a name twice");
	test_check("namespace = a /a\nnamespace = b /a\n", "path that is given twice",
	           "a path twice");
	memset(text + 12, 'n', 63);
	memcpy(text + 75, " /a", 4);
	test_check(text, NULL, "a name of 63 bytes");
	memset(text + 12, 'n', 64);
	memcpy(text + 76, " /a", 4);
	test_check(text, "more than 63 bytes", "a name of 64");
	memcpy(text + 12, "a /", 3);
	memset(text + 15, 'p', 198);
	text[213] = '\0';
	test_check(text, NULL, "a path of 199 bytes");
	memset(text + 15, 'p', 199);
	text[214] = '\0';
	test_check(text, "more than 199 bytes", "a path of 200");
}

int main(void)
{
	struct agent_config config;
	struct pr_conf_error error = { "" };
	char text[512] = "name = ";

	ok(load("", &config, &error) == PR_OK && config.mark_mask == 0x30000000 &&
	           config.queue == 7400 && config.deadline_ns == 5000000000ULL &&
	           config.controllers.count == 0 && config.authority_key == NULL,
	   "an empty file: the defaults");
	struct inventory_options watched = agent_config_inventory(&config);
	ok(strcmp(watched.docker_socket, "/var/run/docker.sock") == 0 &&
	           watched.podman_count == 1 &&
	           strcmp(watched.podman_sockets[0], "/run/podman/podman.sock") == 0 &&
	           watched.namespace_count == 0 && inventory_sources(&watched) == 3,
	   "the engines' usual sockets, no namespaces");
	pr_conf_done(agent_config_rows, agent_config_row_count, &config);
	ok(load("docker_socket = none\npodman_socket =\n", &config, &error) == PR_OK, "no engines");
	watched = agent_config_inventory(&config);
	ok(watched.docker_socket[0] == '\0' && watched.podman_count == 0 &&
	           inventory_sources(&watched) == 1,
	   "the host alone");
	pr_conf_done(agent_config_rows, agent_config_row_count, &config);

	test_check("", NULL, "the defaults are good");
	test_check("mark_allow = 0x20000000\nmark_reject = 0x10000000\n", NULL, "marks swapped");
	test_check("mark_allow = 0x40000000\n", "within mark_mask", "a mark beside the mask");
	test_check("mark_reject = 0x60000000\n", "within mark_mask", "a mark half beside it");
	test_check("mark_allow = 0x30000000\n", "different bits", "marks that share a bit");
	test_check("mark_reject = 0x10000000\n", "different bits", "equal marks");
	test_check("docker_socket = run/docker.sock\n", "absolute", "a relative socket path");
	test_check("docker_socket = None\n", "absolute", "almost none");
	test_check("docker_socket = none\n", NULL, "none");
	test_check("podman_socket = /a\npodman_socket = /b\n", NULL, "two Podman engines");
	test_check("podman_socket = /a\npodman_socket = /a\n", "'/a' is given twice", "one twice");
	test_check("podman_socket = none\n", "'none' must be an absolute", "a relative one");
	test_namespaces();
	test_check("utmp = run/utmp\n", "utmp must be an absolute path", "a relative utmp");
	test_check("utmp = none\n", NULL, "no utmp");
	memset(text + 7, 'n', 200);
	test_check(text, NULL, "a name of 200 bytes");
	text[207] = 'n';
	test_check(text, "200 bytes", "a name of 201");
	test_check("deadline = 100ms\n", "deadline", "a deadline below its bound");
	test_check("log_group = 0\n", "log_group", "log group 0");
	test_check("queue = 65536\n", "queue", "a queue number too large");
	test_check("quueue = 1\n", "quueue", "an unknown word");
	return tap_done();
}
