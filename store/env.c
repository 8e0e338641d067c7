/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "store/internal.h"

#define READERS_MAX     254
#define LOCK_FILE_BYTES 32768 /* above what LMDB needs for READERS_MAX */

int store_err(int mdb_ret)
{
	switch (mdb_ret) {
	case MDB_SUCCESS:
		return PR_OK;
	case MDB_NOTFOUND:
		return PR_ENOENT;
	case MDB_KEYEXIST:
		return PR_EEXIST;
	case MDB_MAP_FULL:
		return PR_ENOSPC;
	case MDB_READERS_FULL:
		return PR_EBUSY;
	case MDB_TXN_FULL:
		return PR_ETOOBIG;
	case MDB_PANIC:
		return PR_EIO;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
		return PR_ECORRUPT;
	default:
		return mdb_ret > 0 ? -mdb_ret : PR_EINVAL;
	}
}

/* Ours alone, or nothing in it can be trusted. */
static int directory_check(const char *path, bool create)
{
	struct stat status;

	if (create && mkdir(path, 0700) != 0 && errno != EEXIST) {
		return -errno;
	}
	if (lstat(path, &status) != 0) {
		return -errno;
	}
	if (!S_ISDIR(status.st_mode)) {
		return -ENOTDIR;
	}
	if ((status.st_mode & 077) != 0 || (status.st_uid != geteuid() && geteuid() != 0)) {
		return PR_EACCES;
	}
	return PR_OK;
}

/* LMDB writes its lock file through a map: without blocks of its own a full disk is a SIGBUS. */
static int lock_file_allocate(const char *directory)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/lock.mdb", directory) >= sizeof(path)) {
		return -ENAMETOOLONG;
	}
	_cleanup_(pr_fd_close) int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		return -errno;
	}
	return -posix_fallocate(fd, 0, LOCK_FILE_BYTES);
}

/* What a writer finds or makes: nothing at all, or ours with a schema that we know. */
static int databases_open(struct store_env *env, const struct store_env_options *options,
                          struct store_txn *txn)
{
	unsigned flags = env->read_only ? 0 : MDB_CREATE;
	MDB_dbi main_dbi;
	MDB_stat stat;

	int err = store_err(mdb_dbi_open(txn->txn, NULL, 0, &main_dbi));
	if (err != PR_OK) {
		return err;
	}
	err = store_err(mdb_stat(txn->txn, main_dbi, &stat));
	if (err != PR_OK) {
		return err;
	}
	bool is_new = stat.ms_entries == 0;
	if (is_new && env->read_only) {
		return PR_ENOENT;
	}
	err = store_err(
		mdb_dbi_open(txn->txn, options->databases[0], is_new ? flags : 0, &env->dbi[0]));
	if (err != PR_OK) {
		return err == PR_ENOENT ? PR_ECORRUPT : err;
	}
	uint64_t schema = store_txn_number(txn, 0, "schema");
	if (txn->err != PR_OK) {
		return txn->err;
	}
	if (schema > options->schema) {
		return PR_EVERS;
	}
	if (schema == 0 && !is_new) {
		return PR_ECORRUPT;
	}
	for (size_t i = 1; i < options->database_count; i++) {
		err = store_err(mdb_dbi_open(txn->txn, options->databases[i], flags, &env->dbi[i]));
		if (err != PR_OK) {
			return err;
		}
	}
	if (is_new) {
		store_txn_number_set(txn, 0, "schema", options->schema);
	}
	return txn->err;
}

struct open_args {
	struct store_env *env;
	const struct store_env_options *options;
};

static int databases_make(struct store_txn *txn, void *arg)
{
	struct open_args *args = arg;
	return databases_open(args->env, args->options, txn);
}

static int databases_find(struct store_env *env, const struct store_env_options *options)
{
	struct store_txn txn;
	int err = store_txn_read(&txn, env);
	if (err != PR_OK) {
		return err;
	}
	err = databases_open(env, options, &txn);
	if (err == PR_OK) {
		/* Handles opened in a transaction live on only if it commits. */
		err = store_err(mdb_txn_commit(txn.txn));
		txn.txn = NULL;
	}
	store_txn_done(&txn);
	return err;
}

int store_env_open(struct store_env *env, const struct store_env_options *options)
{
	pthread_mutex_init(&env->begin, NULL);
	env->read_only = options->read_only;
	env->path = strdup(options->path);
	if (env->path == NULL) {
		return PR_ENOMEM;
	}
	int err = directory_check(options->path, !options->read_only);
	if (err == PR_OK && !options->read_only) {
		err = lock_file_allocate(options->path);
	}
	if (err != PR_OK) {
		return err;
	}
	int ret = mdb_env_create(&env->env);
	if (ret == MDB_SUCCESS) {
		ret = mdb_env_set_maxdbs(env->env, STORE_DATABASES_MAX);
	}
	if (ret == MDB_SUCCESS) {
		ret = mdb_env_set_maxreaders(env->env, READERS_MAX);
	}
	if (ret == MDB_SUCCESS && options->map_bytes != 0) {
		ret = mdb_env_set_mapsize(env->env, options->map_bytes);
	}
	if (ret == MDB_SUCCESS) {
		/* Neither WRITEMAP (a full disk would be SIGBUS) nor NOSYNC (a commit is kept). */
		unsigned flags = MDB_NOTLS | (options->read_only ? MDB_RDONLY : 0);
		ret = mdb_env_open(env->env, options->path, flags, 0600);
	}
	if (ret != MDB_SUCCESS) {
		return store_err(ret);
	}
	(void)store_env_readers_check(env);
	if (options->read_only) {
		return databases_find(env, options);
	}
	struct open_args args = { .env = env, .options = options };
	return store_env_write(env, databases_make, &args, /* ret_map_full= */ NULL);
}

void store_env_done(struct store_env *env)
{
	if (env->path == NULL) {
		return;
	}
	if (env->env != NULL) {
		mdb_env_close(env->env);
	}
	free(env->path);
	pthread_mutex_destroy(&env->begin);
	*env = (struct store_env){ 0 };
}

int store_env_readers_check(struct store_env *env)
{
	int dead = 0;
	int ret = mdb_reader_check(env->env, &dead);
	return ret == MDB_SUCCESS ? dead : store_err(ret);
}
