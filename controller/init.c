/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/privilege.h"
#include "controller/process.h"
#include "store/store.h"

#define LOG_COMPONENT "controller"

static const char first_policy[] =
	"# Portreeve policy. Grammar: doc/policy.md. Everything is observed, nothing is held.\n"
	"mode  observe default\n";

static int failed(const char *what, int err)
{
	log_error("%s: %s", what, pr_strerror(err));
	return err;
}

static void said(const char *path, bool made)
{
	(void)printf("%s %s\n", made ? "made" : "kept", path);
}

/* Make a folder and those above it; only the last one is ours alone. */
static int make_folders(char *path)
{
	for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
		*at = '\0';
		int ret = mkdir(path, 0755) == 0 || errno == EEXIST ? PR_OK : -errno;
		if (ret != PR_OK) {
			(void)failed(path, ret);
		}
		*at = '/';
		if (ret != PR_OK) {
			return ret;
		}
	}
	return PR_OK;
}

/* The daemon's user writes the store here. The keys stay root's, who reads them before it becomes
 * that user. */
static int give_away(const struct controller_conf *conf, const char *path)
{
	if (geteuid() != 0 || conf->user == NULL) {
		return PR_OK;
	}
	const struct passwd *entry = getpwnam(conf->user);
	if (entry == NULL) {
		log_error("user '%s' of the configuration does not exist", conf->user);
		return PR_ENOENT;
	}
	return chown(path, entry->pw_uid, entry->pw_gid) == 0 ? PR_OK : failed(path, -errno);
}

static int make_directory(const struct controller_conf *conf)
{
	char path[CONTROLLER_PATH_BYTES];
	struct stat info;

	(void)snprintf(path, sizeof(path), "%s", conf->state_directory);
	mode_t mask = umask(022);
	int ret = make_folders(path);
	(void)umask(mask);
	if (ret != PR_OK) {
		return ret;
	}
	bool made = mkdir(path, 0700) == 0;
	if (!made && errno != EEXIST) {
		return failed(path, -errno);
	}
	if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode) || (info.st_mode & 077) != 0) {
		log_error("%s: others may enter, or it is no directory: chmod 0700 it", path);
		return PR_EACCES;
	}
	said(path, made);
	return give_away(conf, path);
}

/* Load what is there, make what is not. */
static int take_keys(const struct controller_conf *conf, struct controller_keys *keys,
                     bool *ret_new_curve, bool *ret_new_authority)
{
	char path[CONTROLLER_PATH_BYTES];
	int ret = PR_OK;

	controller_path(conf, CONTROLLER_KEY_FILE, path);
	*ret_new_curve = access(path, F_OK) != 0;
	if (*ret_new_curve) {
		keys->id = pr_uuid_new();
		ret = bus_key_new(&keys->curve);
	} else {
		ret = bus_key_load(path, &keys->id, &keys->curve);
	}
	if (ret != PR_OK) {
		return failed(path, ret);
	}
	controller_shared_path(conf, CONTROLLER_AUTHORITY_FILE, path);
	*ret_new_authority = conf->share == NULL && access(path, F_OK) != 0;
	ret = *ret_new_authority ? bus_sign_key_new(&keys->authority)
	                         : bus_sign_key_load(path, &keys->authority);
	return ret == PR_OK ? PR_OK : failed(path, ret);
}

static int save_keys(const struct controller_conf *conf, const struct controller_keys *keys,
                     bool new_curve, bool new_authority)
{
	char path[CONTROLLER_PATH_BYTES];
	int ret = PR_OK;

	controller_path(conf, CONTROLLER_KEY_FILE, path);
	if (new_curve) {
		ret = bus_key_save(path, &keys->id, &keys->curve);
	}
	if (ret != PR_OK) {
		return failed(path, ret);
	}
	said(path, new_curve);
	controller_shared_path(conf, CONTROLLER_AUTHORITY_FILE, path);
	if (new_authority) {
		ret = bus_sign_key_save(path, &keys->authority);
	}
	if (ret != PR_OK) {
		return failed(path, ret);
	}
	said(path, new_authority);
	return PR_OK;
}

/* ---- the first administrator ---- */

struct first_admin {
	struct pr_uuid id; /* zero: its files are elsewhere, none of our business */
	struct bus_key key;
};

static int write_admin_config(const struct controller_conf *conf,
                              const struct controller_keys *keys, const char *path,
                              const char *key_path)
{
	char endpoint[160], controller_key[BUS_KEY_TEXT_BYTES], authority_key[BUS_KEY_TEXT_BYTES];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (file == NULL) {
		int err = -errno;
		if (fd >= 0) {
			(void)close(fd);
		}
		return failed(path, err);
	}
	controller_endpoint(conf->advertise, (unsigned)conf->port, endpoint, sizeof(endpoint));
	(void)fprintf(
		file,
		"# CLI configuration of the first administrator, made by "
		"portreeve-controller --init.\n"
		"key = \"%s\"\ncontroller = %s\ncontroller_key = \"%s\"\nauthority_key = \"%s\"\n",
		key_path, endpoint, bus_key_format(keys->curve.public_key, controller_key),
		bus_key_format(keys->authority.public_key, authority_key));
	bool good = fflush(file) == 0 && fsync(fd) == 0;
	good = fclose(file) == 0 && good;
	return good ? PR_OK : failed(path, PR_EIO);
}

static int make_admin(const struct controller_conf *conf, const struct controller_keys *keys,
                      struct first_admin *ret_admin)
{
	char path[CONTROLLER_PATH_BYTES], key_path[CONTROLLER_PATH_BYTES];
	struct first_admin admin = { .id = pr_uuid_new() };

	if (conf->admin_config != NULL) {
		(void)snprintf(path, sizeof(path), "%s", conf->admin_config);
	} else {
		controller_path(conf, CONTROLLER_ADMIN_FILE, path);
	}
	const char *slash = strrchr(path, '/');
	(void)snprintf(key_path, sizeof(key_path), "%.*s/admin.key", (int)(slash - path), path);
	if (access(path, F_OK) == 0) {
		/* Perhaps an earlier run ended before the store knew the key. */
		if (bus_key_load(key_path, &admin.id, &admin.key) == PR_OK) {
			bus_key_wipe(admin.key.secret_key, sizeof(admin.key.secret_key));
			*ret_admin = admin;
		}
		said(path, false);
		return PR_OK;
	}
	mode_t mask = umask(022);
	int ret = make_folders(path);
	(void)umask(mask);
	if (ret == PR_OK) {
		ret = bus_key_new(&admin.key);
	}
	if (ret == PR_OK) {
		ret = bus_key_save(key_path, &admin.id, &admin.key);
	}
	if (ret != PR_OK) {
		return failed(key_path, ret);
	}
	said(key_path, true);
	ret = write_admin_config(conf, keys, path, key_path);
	bus_key_wipe(admin.key.secret_key, sizeof(admin.key.secret_key));
	if (ret != PR_OK) {
		return ret;
	}
	said(path, true);
	*ret_admin = admin;
	return PR_OK;
}

/* The first controller's administrator, as he reaches this one: his key lies beside the file. */
static int make_shared_admin(const struct controller_conf *conf, const struct controller_keys *keys)
{
	char key_path[CONTROLLER_PATH_BYTES];
	const char *slash = strrchr(conf->admin_config, '/');

	(void)snprintf(key_path, sizeof(key_path), "%.*s/admin.key",
	               (int)(slash - conf->admin_config), conf->admin_config);
	if (access(conf->admin_config, F_OK) == 0) {
		said(conf->admin_config, false);
		return PR_OK;
	}
	int ret = write_admin_config(conf, keys, conf->admin_config, key_path);
	if (ret == PR_OK) {
		char endpoint[160], key[BUS_KEY_TEXT_BYTES];
		said(conf->admin_config, true);
		controller_endpoint(conf->advertise, (unsigned)conf->port, endpoint,
		                    sizeof(endpoint));
		(void)printf("to reach both from one file, add to the first one's: controller = "
		             "\"%s %s\"\n",
		             endpoint, bus_key_format(keys->curve.public_key, key));
	}
	return ret;
}

/* ---- the store ---- */

static int put_admin(store_t *store, const struct first_admin *admin)
{
	struct store_peer known = { 0 };
	struct store_peer peer = {
		.id = admin->id,
		.name = "admin",
		.status = STORE_PEER_APPROVED,
		.created_wall_ns = pr_clock_wall_ns(),
	};

	memcpy(peer.public_key, admin->key.public_key, sizeof(peer.public_key));
	(void)snprintf(peer.role, sizeof(peer.role), "%s", bus_role_name(BUS_ROLE_ADMIN));
	int ret = store_peer_get(store, &admin->id, &known);
	return ret == PR_ENOENT ? store_peer_put(store, &peer) : ret;
}

static int put_first_policy(store_t *store, bool *ret_made)
{
	char author[] = "init", message[] = "first start";
	char text[sizeof(first_policy)];
	struct store_revision revision = {
		.time_wall_ns = pr_clock_wall_ns(),
		.author = author,
		.message = message,
		.text = text,
		.text_bytes = sizeof(first_policy) - 1,
	};
	uint64_t head = 0;

	memcpy(text, first_policy, sizeof(first_policy));
	int ret = store_policy_head(store, &head);
	if (ret != PR_OK || head != 0) {
		return ret;
	}
	*ret_made = true;
	return store_policy_commit(store, 0, &revision, NULL, &head);
}

static int fill_store(const struct controller_conf *conf, const struct first_admin *admin)
{
	_cleanup_(store_destroy) store_t *store = NULL;
	char path[CONTROLLER_PATH_BYTES];
	bool made = false;

	controller_path(conf, CONTROLLER_STORE_FOLDER, path);
	struct store_options options = { .path = path, .map_bytes = conf->map_bytes };
	int ret = store_open(&options, &store);
	if (ret == PR_OK) {
		ret = put_first_policy(store, &made);
	}
	if (ret == PR_OK && !pr_uuid_is_null(&admin->id)) {
		ret = put_admin(store, admin);
	}
	if (ret != PR_OK) {
		return failed(path, ret);
	}
	said(path, made);
	return PR_OK;
}

int controller_init(const struct controller_conf *conf)
{
	struct controller_keys keys = { 0 };
	struct first_admin admin = { 0 };
	bool new_curve = false, new_authority = false;

	int ret = make_directory(conf);
	if (ret == PR_OK) {
		ret = take_keys(conf, &keys, &new_curve, &new_authority);
	}
	if (ret == PR_OK) {
		ret = save_keys(conf, &keys, new_curve, new_authority);
	}
	if (ret == PR_OK && conf->share == NULL) {
		ret = make_admin(conf, &keys, &admin);
	} else if (ret == PR_OK && conf->admin_config != NULL) {
		ret = make_shared_admin(conf, &keys);
	}
	/* LMDB's files must be the daemon's own. A shared store is there already. */
	if (ret == PR_OK && conf->share == NULL) {
		ret = pr_privilege_switch(conf->user);
	}
	controller_keys_wipe(&keys);
	return ret == PR_OK && conf->share == NULL ? fill_store(conf, &admin) : ret;
}
