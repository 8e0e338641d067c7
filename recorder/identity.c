/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "recorder/identity.h"

bool recorder_key_path(const struct recorder_conf *conf, char *path, size_t size_bytes)
{
	int length = conf->key_file != NULL && conf->key_file[0] != '\0'
	                     ? snprintf(path, size_bytes, "%s", conf->key_file)
	                     : snprintf(path, size_bytes, "%s/key", conf->state_directory);
	return length > 0 && (size_t)length < size_bytes;
}

int recorder_controller_parse(const char *text, struct recorder_controller *ret_controller)
{
	struct recorder_controller controller = { 0 };
	const char *space = strchr(text, ' ');

	if (space == NULL || (size_t)(space - text) >= sizeof(controller.endpoint) ||
	    strncmp(text, "tcp://", 6) != 0) {
		return PR_EINVAL;
	}
	memcpy(controller.endpoint, text, (size_t)(space - text));
	int err = bus_key_parse(space + strspn(space, " "), controller.server_key);
	if (err == PR_OK) {
		*ret_controller = controller;
	}
	return err;
}

static int controllers_load(const struct recorder_conf *conf, store_t *store,
                            struct recorder_identity *identity, struct recorder_problem *problem)
{
	_cleanup_(pr_free) uint8_t *kept = NULL;
	size_t kept_bytes;

	for (size_t i = 0; i < conf->controllers.count; i++) {
		const char *text = conf->controllers.items[i];
		if (i >= RECORDER_CONTROLLERS_MAX ||
		    recorder_controller_parse(text, &identity->controllers[i]) != PR_OK) {
			(void)snprintf(problem->text, sizeof(problem->text),
			               "controller '%s': must be tcp://ADDRESS:PORT KEY", text);
			return PR_ECONF;
		}
		identity->controller_count++;
	}
	if (identity->controller_count > 0) {
		return PR_OK;
	}
	if (store_value_get(store, RECORDER_VALUE_CONTROLLER, &kept, &kept_bytes) != PR_OK ||
	    recorder_controller_parse((const char *)kept, &identity->controllers[0]) != PR_OK) {
		(void)snprintf(
			problem->text, sizeof(problem->text),
			"no controller is known: run it once with --enroll TOKEN (`portreeve "
			"enroll --role recorder` prints one), or set `controller`");
		return PR_ECONF;
	}
	identity->controller_count = 1;
	return PR_OK;
}

static int authority_load(const struct recorder_conf *conf, store_t *store,
                          struct recorder_identity *identity, struct recorder_problem *problem)
{
	_cleanup_(pr_free) uint8_t *kept = NULL;
	const char *text = conf->authority_key;
	size_t kept_bytes;

	if (text == NULL || text[0] == '\0') {
		int err = store_value_get(store, RECORDER_VALUE_AUTHORITY, &kept, &kept_bytes);
		text = err == PR_OK ? (const char *)kept : "";
	}
	if (bus_key_parse(text, identity->authority_key) != PR_OK) {
		(void)snprintf(problem->text, sizeof(problem->text),
		               "authority_key '%s': not a key of 40 characters", text);
		return PR_ECONF;
	}
	return PR_OK;
}

int recorder_identity_load(const struct recorder_conf *conf, store_t *store,
                           struct recorder_identity *ret_identity, struct recorder_problem *problem)
{
	struct recorder_identity identity = { 0 };
	char path[4096];

	int err = recorder_key_path(conf, path, sizeof(path))
	                  ? bus_key_load(path, &identity.id, &identity.key)
	                  : PR_EKEYFILE;
	if (err != PR_OK) {
		(void)snprintf(problem->text, sizeof(problem->text),
		               "%.300s: %s; run it once with --enroll TOKEN", path,
		               pr_strerror(err));
		return err;
	}
	err = controllers_load(conf, store, &identity, problem);
	if (err == PR_OK) {
		err = authority_load(conf, store, &identity, problem);
	}
	if (err == PR_OK) {
		*ret_identity = identity;
	}
	bus_key_wipe(&identity.key, sizeof(identity.key));
	return err;
}
