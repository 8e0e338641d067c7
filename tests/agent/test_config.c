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

/* What a configuration with one text is: good, or refused with a complaint. */
static const struct {
	const char *text, *complaint; /* NULL: good */
	const char *what;
} rows[] = {
	{ "", NULL, "the defaults are good" },
	{ "mark_allow = 0x20000000\nmark_reject = 0x10000000\n", NULL, "marks swapped" },
	{ "mark_allow = 0x40000000\n", "within mark_mask", "a mark beside the mask" },
	{ "mark_reject = 0x60000000\n", "within mark_mask", "a mark half beside it" },
	{ "mark_allow = 0x30000000\n", "different bits", "marks that share a bit" },
	{ "mark_reject = 0x10000000\n", "different bits", "equal marks" },
	{ "docker_socket = run/docker.sock\n", "absolute", "a relative socket path" },
	{ "docker_socket = None\n", "absolute", "almost none" },
	{ "docker_socket = none\n", NULL, "none" },
	{ "podman_socket = /a\npodman_socket = /b\n", NULL, "two Podman engines" },
	{ "podman_socket = /a\npodman_socket = /a\n", "'/a' is given twice", "one twice" },
	{ "podman_socket = none\n", "'none' must be an absolute", "a relative one" },
	{ "namespace = build /run/netns/build\nnamespace = lab /run/netns/lab global\n", NULL,
	  "two namespaces" },
	{ "namespace = build\n", "'build' is not NAME PATH", "no path" },
	{ "namespace = \"\"\n", "'' is not NAME PATH", "nothing" },
	{ "namespace = build /a global more\n", "is not NAME PATH", "a fourth word" },
	{ "namespace = build /a local\n", "third word", "an unknown third word" },
	{ "namespace = build /a globally\n", "third word", "a longer one" },
	{ "namespace = build run/netns/build\n", "not absolute", "a relative path" },
	{ "namespace = -build /a\n", "letters, digits", "a name that begins with a dash" },
	{ "namespace = b(C) /a\n", "letters, digits", "a name that passes for another" },
	{ "namespace = a /a\nnamespace = a /b\n", "name that is given twice", "a name twice" },
	{ "namespace = a /a\nnamespace = b /a\n", "path that is given twice", "a path twice" },
	{ "utmp = run/utmp\n", "utmp must be an absolute path", "a relative utmp" },
	{ "utmp = none\n", NULL, "no utmp" },
	{ "deadline = 100ms\n", "deadline", "a deadline below its bound" },
	{ "log_group = 0\n", "log_group", "log group 0" },
	{ "queue = 65536\n", "queue", "a queue number too large" },
	{ "quueue = 1\n", "quueue", "an unknown word" },
};

/* The same of a text, then @p count bytes of @p fill, then @p end. */
static void test_long(const char *text, char fill, size_t count, const char *end,
                      const char *complaint, const char *what)
{
	char longer[512];
	size_t used = strlen(text);

	memcpy(longer, text, used);
	memset(longer + used, fill, count);
	(void)snprintf(longer + used + count, sizeof(longer) - used - count, "%s", end);
	test_check(longer, complaint, what);
}

static void test_defaults(void)
{
	struct agent_config config;
	struct pr_conf_error error = { "" };

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
}

int main(void)
{
	test_defaults();
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		test_check(rows[i].text, rows[i].complaint, rows[i].what);
	}
	test_long("namespace = ", 'n', 63, " /a\n", NULL, "a name of 63 bytes");
	test_long("namespace = ", 'n', 64, " /a\n", "more than 63 bytes", "a name of 64");
	test_long("namespace = a /", 'p', 198, "\n", NULL, "a path of 199 bytes");
	test_long("namespace = a /", 'p', 199, "\n", "more than 199 bytes", "a path of 200");
	test_long("name = ", 'n', 200, "\n", NULL, "a name of 200 bytes");
	test_long("name = ", 'n', 201, "\n", "200 bytes", "a name of 201");
	return tap_done();
}
