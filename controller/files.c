/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"
#include "controller/process.h"

#define LOG_COMPONENT "controller"

void controller_path(const struct controller_conf *conf, const char *name,
                     char path[static CONTROLLER_PATH_BYTES])
{
	(void)snprintf(path, CONTROLLER_PATH_BYTES, "%s/%s", conf->state_directory, name);
}

void controller_shared_path(const struct controller_conf *conf, const char *name,
                            char path[static CONTROLLER_PATH_BYTES])
{
	(void)snprintf(path, CONTROLLER_PATH_BYTES, "%s/%s",
	               conf->share != NULL ? conf->share : conf->state_directory, name);
}

/* A folder that others may enter is as good as keys that they may read. */
static int check_directory(const struct controller_conf *conf)
{
	struct stat info;

	if (stat(conf->state_directory, &info) != 0 || !S_ISDIR(info.st_mode)) {
		log_error("%s: there is no such directory: run portreeve-controller --init first",
		          conf->state_directory);
		return PR_EKEYFILE;
	}
	if ((info.st_mode & 077) != 0) {
		log_error("%s: others may enter (mode %04o): chmod 0700 it", conf->state_directory,
		          (unsigned)info.st_mode & 07777U);
		return PR_EKEYFILE;
	}
	return PR_OK;
}

static int explain(const char *path, int err)
{
	log_error("%s: %s; it must be a file of ours with mode 0600, made by "
	          "portreeve-controller --init",
	          path, pr_strerror(err));
	return err;
}

int controller_keys_load(const struct controller_conf *conf, struct controller_keys *ret_keys)
{
	struct controller_keys keys = { 0 };
	char path[CONTROLLER_PATH_BYTES];

	int ret = check_directory(conf);
	if (ret != PR_OK) {
		return ret;
	}
	controller_path(conf, CONTROLLER_KEY_FILE, path);
	ret = bus_key_load(path, &keys.id, &keys.curve);
	if (ret == PR_OK) {
		controller_shared_path(conf, CONTROLLER_AUTHORITY_FILE, path);
		ret = bus_sign_key_load(path, &keys.authority);
	}
	if (ret != PR_OK) {
		controller_keys_wipe(&keys);
		return explain(path, ret);
	}
	*ret_keys = keys;
	controller_keys_wipe(&keys);
	return PR_OK;
}

void controller_keys_wipe(struct controller_keys *keys)
{
	bus_key_wipe(keys, sizeof(*keys));
}

struct pr_uuid controller_worker_id(const struct pr_uuid *controller, unsigned index)
{
	uint8_t data[PR_UUID_BYTES + 4];

	memcpy(data, controller->bytes, PR_UUID_BYTES);
	for (unsigned i = 0; i < 4; i++) {
		data[PR_UUID_BYTES + i] = (uint8_t)(index >> (8 * i));
	}
	return pr_uuid_of_bytes("worker", data, sizeof(data));
}

void controller_endpoint(const char *address, unsigned port, char *text, size_t size_bytes)
{
	bool bracket = strchr(address, ':') != NULL;

	(void)snprintf(text, size_bytes, "tcp://%s%s%s:%u", bracket ? "[" : "", address,
	               bracket ? "]" : "", port);
}
