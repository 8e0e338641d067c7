/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity.h"
#include "agent/internal.h"
#include "base/err.h"

struct joined {
	struct pr_conf_list controllers;
	char *authority_key;
};

static const struct pr_conf_row joined_rows[] = {
	{ .name = "controller",
	  .type = PR_CONF_LIST,
	  .offset = offsetof(struct joined, controllers),
	  .max = AGENT_CONTROLLERS_MAX,
	  .fallback = "",
	  .doc = "Address and key." },
	{ .name = "authority_key",
	  .type = PR_CONF_STRING,
	  .offset = offsetof(struct joined, authority_key),
	  .fallback = "",
	  .doc = "Key that signs." },
};

int agent_fail(struct agent_problem *problem, int err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(problem->text, sizeof(problem->text), format, args);
	va_end(args);
	return err;
}

void agent_path(const struct agent_config *config, const char *name,
                char path[static AGENT_PATH_BYTES])
{
	(void)snprintf(path, AGENT_PATH_BYTES, "%s/%s", config->state_directory, name);
}

void agent_name(const struct agent_config *config, char *name, size_t size_bytes)
{
	(void)snprintf(name, size_bytes, "%s", config->name != NULL ? config->name : "");
	if (name[0] == '\0' && gethostname(name, size_bytes - 1) != 0) {
		(void)snprintf(name, size_bytes, "host");
	}
	name[size_bytes - 1] = '\0';
}

int agent_state_directory(const struct agent_config *config, struct agent_problem *ret_problem)
{
	struct stat info;
	const char *path = config->state_directory;

	for (const char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
		char parent[AGENT_PATH_BYTES];
		(void)snprintf(parent, sizeof(parent), "%.*s", (int)(at - path), path);
		if (mkdir(parent, 0755) != 0 && errno != EEXIST) {
			return agent_fail(ret_problem, -errno, "%s: %s", parent,
			                  pr_strerror(-errno));
		}
	}
	if (mkdir(path, 0700) != 0 && errno != EEXIST) {
		return agent_fail(ret_problem, -errno, "%s: %s", path, pr_strerror(-errno));
	}
	if (lstat(path, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
	    (info.st_mode & 077) != 0) {
		return agent_fail(ret_problem, PR_EACCES,
		                  "%s: not a folder of ours that nobody else may enter: chown it "
		                  "to this user and chmod it 0700",
		                  path);
	}
	return PR_OK;
}

static int controller_parse(const char *line, struct speaker_service *ret_service)
{
	char key[BUS_KEY_TEXT_BYTES + 1];
	char more[2];
	struct speaker_service service = { .id = { { 0 } } };

	if (sscanf(line, "%127s %41s %1s", service.endpoint, key, more) != 2) {
		return PR_EINVAL;
	}
	int ret = bus_key_parse(key, service.key);
	if (ret == PR_OK) {
		*ret_service = service;
	}
	return ret;
}

static int trust_parse(const struct pr_conf_list *controllers, const char *authority_key,
                       struct agent_identity *identity, struct agent_problem *ret_problem)
{
	for (size_t i = 0; i < controllers->count && i < AGENT_CONTROLLERS_MAX; i++) {
		struct speaker_service *service =
			&identity->controllers[identity->controller_count];
		if (controller_parse(controllers->items[i], service) != PR_OK) {
			return agent_fail(ret_problem, PR_ECONF,
			                  "controller = %.160s: not of the form tcp://ADDRESS:PORT "
			                  "KEY (40 characters of Z85)",
			                  controllers->items[i]);
		}
		identity->controller_count++;
	}
	if (identity->controller_count == 0) {
		return agent_fail(ret_problem, PR_ECONF,
		                  "no controller is named: joined.conf is damaged; remove it and "
		                  "enroll again, or set `controller` in the configuration");
	}
	if (authority_key == NULL ||
	    bus_key_parse(authority_key, identity->authority_key) != PR_OK) {
		return agent_fail(ret_problem, PR_ECONF,
		                  "authority_key = %.60s: not a key (40 characters of Z85)",
		                  authority_key != NULL ? authority_key : "");
	}
	return PR_OK;
}

static int trust_load(const struct agent_config *config, struct agent_identity *identity,
                      struct agent_problem *ret_problem)
{
	char path[AGENT_PATH_BYTES];
	struct joined joined = { { NULL, 0 }, NULL };
	struct pr_conf_error error = { "" };
	bool need = config->controllers.count == 0 || config->authority_key == NULL;
	int ret = PR_OK;

	agent_path(config, AGENT_JOINED_FILE, path);
	if (need && access(path, F_OK) != 0) {
		return agent_fail(ret_problem, PR_ENOENT,
		                  "this agent has not joined yet: get a token with `portreeve "
		                  "enroll` and run `portreeve-agent --enroll TOKEN`");
	}
	if (need) {
		ret = pr_conf_load(joined_rows, PR_ARRAY_LEN(joined_rows), path, &joined, &error);
		if (ret != PR_OK) {
			(void)agent_fail(ret_problem, ret, "%s", error.text);
		}
	}
	if (ret == PR_OK) {
		ret = trust_parse(config->controllers.count > 0 ? &config->controllers
		                                                : &joined.controllers,
		                  config->authority_key != NULL ? config->authority_key
		                                                : joined.authority_key,
		                  identity, ret_problem);
	}
	pr_conf_done(joined_rows, PR_ARRAY_LEN(joined_rows), &joined);
	return ret;
}

int agent_identity_load(const struct agent_config *config, struct agent_identity *ret_identity,
                        struct agent_problem *ret_problem)
{
	char path[AGENT_PATH_BYTES];
	struct agent_identity identity = { .controller_count = 0 };

	int ret = trust_load(config, &identity, ret_problem);
	if (ret != PR_OK) {
		return ret;
	}
	agent_path(config, AGENT_KEY_FILE, path);
	ret = bus_key_load(path, &identity.id, &identity.key);
	if (ret != PR_OK) {
		return agent_fail(ret_problem, ret,
		                  "%s: %s; it must be this user's own regular file, mode 0600",
		                  path, pr_strerror(ret));
	}
	*ret_identity = identity;
	agent_identity_wipe(&identity);
	return PR_OK;
}

void agent_identity_wipe(struct agent_identity *identity)
{
	bus_key_wipe(&identity->key, sizeof(identity->key));
}
