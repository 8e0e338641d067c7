/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "controller/authority.h"

static int commit(void *self, uint64_t base, const struct store_revision *revision,
                  const struct pr_uuid *draft_of, uint64_t *ret_revision)
{
	return store_policy_commit(self, base, revision, draft_of, ret_revision);
}

static int read_revision(void *self, uint64_t revision, struct store_revision *ret_revision)
{
	return store_policy_get(self, revision, ret_revision);
}

static int list(void *self, size_t limit,
                bool (*visit)(void *arg, const struct store_revision *revision), void *arg)
{
	return store_policy_list(self, limit, visit, arg);
}

static int watch(void *self, uint64_t *ret_revision)
{
	return store_policy_head(self, ret_revision);
}

struct authority authority_of_store(store_t *store)
{
	return (struct authority){
		.self = store, .commit = commit, .read = read_revision, .list = list, .watch = watch
	};
}
