/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state directory and what is in it: what is missing, malformed or open to others is refused.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity.h"
#include "agent/internal.h"
#include "base/err.h"
#include "tests/tap.h"

static char folder[] = "/tmp/prt-agent-identity-XXXXXX";
static char state[128];
static char key_text[BUS_KEY_TEXT_BYTES];
static struct agent_config config = { .state_directory = state };
static struct agent_problem problem;

static void file_write(const char *name, const char *text)
{
	char path[AGENT_PATH_BYTES];
	agent_path(&config, name, path);
	FILE *file = fopen(path, "we");
	if (file != NULL) {
		(void)fputs(text, file);
		(void)fclose(file);
	}
}

static void joined_write(const char *format)
{
	char text[1024];
	char *at = text;
	const char *from = format;

	/* Each % stands for a good key. */
	for (; *from != '\0' && at < text + sizeof(text) - BUS_KEY_TEXT_BYTES; from++) {
		if (*from == '%') {
			memcpy(at, key_text, BUS_KEY_TEXT_BYTES - 1);
			at += BUS_KEY_TEXT_BYTES - 1;
		} else {
			*at++ = *from;
		}
	}
	*at = '\0';
	file_write(AGENT_JOINED_FILE, text);
}

static int load(struct agent_identity *identity)
{
	problem.text[0] = '\0';
	return agent_identity_load(&config, identity, &problem);
}

static void test_directory(void)
{
	struct stat info;
	char other[160];

	(void)snprintf(state, sizeof(state), "%s/a/b/agent", folder);
	ok(agent_state_directory(&config, &problem) == PR_OK && stat(state, &info) == 0 &&
	           (info.st_mode & 07777) == 0700,
	   "made with its parents, mode 0700: %s", problem.text);
	ok(agent_state_directory(&config, &problem) == PR_OK, "and taken again");
	static const mode_t modes[] = { 0750, 0705, 0710, 0701, 0777 };
	for (size_t i = 0; i < PR_ARRAY_LEN(modes); i++) {
		(void)chmod(state, modes[i]);
		ok(agent_state_directory(&config, &problem) == PR_EACCES &&
		           strstr(problem.text, "0700") != NULL,
		   "%04o: refused: %s", (unsigned int)modes[i], problem.text);
	}
	(void)chmod(state, 0700);
	if (geteuid() == 0) {
		ok(chown(state, 12345, 0) == 0 &&
		           agent_state_directory(&config, &problem) == PR_EACCES,
		   "another user's is refused");
		(void)!chown(state, 0, 0);
	} else {
		skip("not root: cannot give a folder away");
	}
	(void)snprintf(other, sizeof(other), "%s/link", folder);
	ok(symlink(state, other) == 0, "a link to it");
	config.state_directory = other;
	ok(agent_state_directory(&config, &problem) == PR_EACCES, "is refused");
	(void)unlink(other);
	FILE *file = fopen(other, "we");
	(void)fclose(file);
	ok(agent_state_directory(&config, &problem) == PR_EACCES, "so is a file in its place");
	(void)unlink(other);
	config.state_directory = state;
}

static void test_missing(void)
{
	struct agent_identity identity;
	char path[AGENT_PATH_BYTES];

	ok(load(&identity) == PR_ENOENT && strstr(problem.text, "--enroll") != NULL,
	   "not enrolled: says what to do: %s", problem.text);
	joined_write("controller = \"tcp://192.0.2.1:7400 %\"\nauthority_key = \"%\"\n");
	ok(load(&identity) == PR_EKEYFILE && strstr(problem.text, "agent.key") != NULL,
	   "joined without a key: %s", problem.text);
	struct bus_key key;
	struct pr_uuid id = { { 1, 2, 3 } };
	agent_path(&config, AGENT_KEY_FILE, path);
	ok(bus_key_new(&key) == PR_OK && bus_key_save(path, &id, &key) == PR_OK, "a key");
	ok(load(&identity) == PR_OK && pr_uuid_equal(&identity.id, &id) &&
	           memcmp(&identity.key, &key, sizeof(key)) == 0,
	   "is loaded with its name");
	ok(identity.controller_count == 1 &&
	           strcmp(identity.controllers[0].endpoint, "tcp://192.0.2.1:7400") == 0,
	   "and so is the controller");
	agent_identity_wipe(&identity);
	static const struct bus_key nothing;
	ok(memcmp(&identity.key, &nothing, sizeof(nothing)) == 0, "wiped");
	(void)chmod(path, 0640);
	ok(load(&identity) == PR_EKEYFILE, "a key that others may read: %s", problem.text);
	(void)chmod(path, 0600);
}

static void test_joined(void)
{
	static const struct {
		const char *what, *text;
	} bad[] = {
		{ "empty", "" },
		{ "cut in the middle", "controller = \"tcp://192.0.2.1:7400 %\"\nauthority_k" },
		{ "no authority key", "controller = \"tcp://192.0.2.1:7400 %\"\n" },
		{ "no controller", "authority_key = \"%\"\n" },
		{ "a short authority key",
		  "controller = \"tcp://a:1 %\"\nauthority_key = \"abc\"\n" },
		{ "a long authority key",
		  "controller = \"tcp://a:1 %\"\nauthority_key = \"%x\"\n" },
		{ "no key of the controller", "controller = tcp://a:1\nauthority_key = \"%\"\n" },
		{ "a bad key of it", "controller = \"tcp://a:1 x\"\nauthority_key = \"%\"\n" },
		{ "a long key of it", "controller = \"tcp://a:1 %%\"\nauthority_key = \"%\"\n" },
		{ "more words", "controller = \"tcp://a:1 % x\"\nauthority_key = \"%\"\n" },
		{ "an unknown name",
		  "controller = \"tcp://a:1 %\"\nauthority_key = \"%\"\nx = 1\n" },
		{ "the second controller bad",
		  "controller = \"tcp://a:1 %\"\ncontroller = b\nauthority_key = \"%\"\n" },
	};
	struct agent_identity identity = { .controller_count = 77 };

	for (size_t i = 0; i < PR_ARRAY_LEN(bad); i++) {
		joined_write(bad[i].text);
		identity.controller_count = 77;
		ok(load(&identity) == PR_ECONF && problem.text[0] != '\0' &&
		           identity.controller_count == 77,
		   "joined.conf, %s: %s", bad[i].what, problem.text);
	}
	char *own[] = { key_text };
	joined_write("controller = \"tcp://192.0.2.1:7400 %\"\nauthority_key = \"%\"\n");
	char line[128];
	(void)snprintf(line, sizeof(line), "tcp://192.0.2.9:7400 %s", key_text);
	own[0] = line;
	config.controllers = (struct pr_conf_list){ own, 1 };
	ok(load(&identity) == PR_OK && identity.controller_count == 1 &&
	           strcmp(identity.controllers[0].endpoint, "tcp://192.0.2.9:7400") == 0,
	   "the configuration's controller goes before");
	char path[AGENT_PATH_BYTES];
	agent_path(&config, AGENT_JOINED_FILE, path);
	(void)unlink(path);
	ok(load(&identity) == PR_ENOENT, "without joined.conf the authority's key is missing");
	config.authority_key = key_text;
	ok(load(&identity) == PR_OK, "with both configured it is not needed");
	config.controllers = (struct pr_conf_list){ NULL, 0 };
	config.authority_key = NULL;
}

static void test_name(void)
{
	char name[256];
	char here[256] = "";
	char named[] = "docker-7";

	(void)gethostname(here, sizeof(here) - 1);
	agent_name(&config, name, sizeof(name));
	ok(strcmp(name, here) == 0, "no name configured: the system's");
	config.name = named;
	agent_name(&config, name, sizeof(name));
	ok(strcmp(name, "docker-7") == 0, "configured");
	config.name = NULL;
}

int main(void)
{
	struct bus_key key;
	char path[AGENT_PATH_BYTES];

	if (!ok(mkdtemp(folder) != NULL && bus_key_new(&key) == PR_OK, "a place to work in")) {
		return tap_done();
	}
	(void)bus_key_format(key.public_key, key_text);
	test_directory();
	test_missing();
	test_joined();
	test_name();
	agent_path(&config, AGENT_KEY_FILE, path);
	(void)unlink(path);
	(void)rmdir(state);
	*strrchr(state, '/') = '\0';
	(void)rmdir(state);
	*strrchr(state, '/') = '\0';
	(void)rmdir(state);
	ok(rmdir(folder) == 0, "nothing is left behind");
	return tap_done();
}
