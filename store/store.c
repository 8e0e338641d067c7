/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "base/err.h"
#include "store/handle.h"

#define MAP_DEFAULT_BYTES (1ULL << 30)

static const char *const database_names[_STORE_DB_MAX] = {
	[STORE_DB_META] = "meta",
	[STORE_DB_POLICY] = "policy",
	[STORE_DB_POLICY_TEXT] = "policy_text",
	[STORE_DB_DRAFT] = "draft",
	[STORE_DB_ENDPOINT] = "endpoint",
	[STORE_DB_ENDPOINT_VERSION] = "endpoint_version",
	[STORE_DB_ENDPOINT_AGENT] = "endpoint_agent",
	[STORE_DB_TOMBSTONE] = "tombstone",
	[STORE_DB_PEER] = "peer",
	[STORE_DB_PEER_KEY] = "peer_key",
	[STORE_DB_VALUE] = "value",
	[STORE_DB_NUMBER] = "number",
	[STORE_DB_AUDIT] = "audit",
};

int store_open(const struct store_options *options, store_t **ret_store)
{
	_cleanup_(store_destroy) store_t *store = calloc(1, sizeof(*store));
	if (store == NULL) {
		return PR_ENOMEM;
	}
	struct store_env_options env_options = {
		.path = options->path,
		.map_bytes = options->map_bytes,
		.schema = STORE_SCHEMA,
		.read_only = options->read_only,
		.databases = database_names,
		.database_count = _STORE_DB_MAX,
	};
	if (options->map_bytes == 0 && !options->read_only) {
		env_options.map_bytes = MAP_DEFAULT_BYTES;
	}
	if (options->map_bytes != 0 && options->map_bytes < STORE_MAP_MIN_BYTES) {
		return PR_EINVAL;
	}
	int err = store_env_open(&store->env, &env_options);
	if (err == PR_OK) {
		*ret_store = take_ptr(store);
	}
	return err;
}

void store_destroy(store_t **store_p)
{
	if (*store_p == NULL) {
		return;
	}
	store_env_done(&(*store_p)->env);
	free(*store_p);
	*store_p = NULL;
}

int store_readers_check(store_t *store)
{
	return store_env_readers_check(&store->env);
}

int store_stats(store_t *store, struct store_stats *ret_stats)
{
	MDB_envinfo info;
	MDB_stat stat;

	int ret = mdb_env_info(store->env.env, &info);
	if (ret == MDB_SUCCESS) {
		ret = mdb_env_stat(store->env.env, &stat);
	}
	if (ret != MDB_SUCCESS) {
		return store_err(ret);
	}
	*ret_stats = (struct store_stats){
		.map_bytes = info.me_mapsize,
		.used_bytes = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize,
		.readers = info.me_numreaders,
		.readers_max = info.me_maxreaders,
	};
	return PR_OK;
}

int store_versions(store_t *store, struct store_versions *ret_versions)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	struct store_versions versions = {
		.policy_revision = store_policy_last(&txn),
		.directory_version = store_txn_number(&txn, STORE_DB_META, STORE_META_DIRECTORY),
		.peers_counter = store_txn_number(&txn, STORE_DB_META, STORE_META_PEERS),
	};
	if (txn.err == PR_OK) {
		*ret_versions = versions;
	}
	return txn.err;
}
