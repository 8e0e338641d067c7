/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>

#include <libnftnl/batch.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

#define DUMP_TRIES     10
#define SEEN_GC_MS     5000
#define SEEN_TIMEOUT_S 30
/* Data types of nft's own listing: five fields of six bits. */
#define TYPE_SEEN4 ((((7U << 6 | 7U) << 6 | 13U) << 6 | 13U) << 6 | 12U)
#define TYPE_SEEN6 ((((8U << 6 | 8U) << 6 | 13U) << 6 | 13U) << 6 | 12U)
#define KEY_SEEN4  20
#define KEY_SEEN6  44

/* One nf_tables transaction. Sticky error. */
struct transaction {
	char *data;
	size_t used;
	uint32_t sequence_first; /* of the first message after the batch header */
	uint32_t sequence;
	struct nlmsghdr *last;
	int error;
};

static int transaction_begin(struct keeper *keeper, struct transaction *t)
{
	*t = (struct transaction){ .data = malloc(KEEPER_BATCH_BYTES) };
	if (t->data == NULL) {
		return PR_ENOMEM;
	}
	/* Room for every message that a transaction of ours can hold. */
	t->sequence = keeper->sequence + 1;
	keeper->sequence += RULEBOOK_MAX + 256;
	t->used = nftnl_batch_begin(t->data, t->sequence++)->nlmsg_len;
	t->sequence_first = t->sequence;
	return PR_OK;
}

static struct nlmsghdr *transaction_put(struct transaction *t, uint16_t type, uint16_t flags)
{
	t->last =
		nftnl_nlmsg_build_hdr(t->data + t->used, type, NFPROTO_INET, flags, t->sequence++);
	return t->last;
}

static void transaction_close(struct transaction *t)
{
	t->used += MNL_ALIGN(t->last->nlmsg_len);
	if (t->used > KEEPER_BATCH_BYTES - 65536) {
		t->error = PR_ETOOBIG;
		t->used = 0;
	}
}

static int transaction_commit(struct keeper *keeper, struct transaction *t,
                              uint32_t *ret_failed_index)
{
	struct netlink_batch batch = { .sequence_first = t->sequence_first,
		                       .count = t->sequence - t->sequence_first };
	int error = t->error;

	if (error == PR_OK) {
		t->last->nlmsg_flags |= NLM_F_ACK;
		t->used += nftnl_batch_end(t->data + t->used, t->sequence)->nlmsg_len;
		error = netlink_transact(keeper->rules, t->data, t->used, &batch);
	}
	if (ret_failed_index != NULL) {
		*ret_failed_index =
			batch.first_error == PR_OK ? UINT32_MAX : batch.first_error_index;
	}
	free(t->data);
	t->data = NULL;
	return error;
}

/* ---------------------------------------------------------------------------------- messages */

static void put_table(struct transaction *t, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *message = transaction_put(t, type, flags);
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, KEEPER_TABLE);
	transaction_close(t);
}

struct hook {
	const char *chain;
	uint32_t number;
	bool save;
};

static const struct hook hooks[] = {
	{ CHAIN_OUTPUT, NF_INET_LOCAL_OUT, false },
	{ CHAIN_INPUT, NF_INET_LOCAL_IN, false },
	{ CHAIN_OUTPUT_SAVE, NF_INET_LOCAL_OUT, true },
	{ CHAIN_INPUT_SAVE, NF_INET_LOCAL_IN, true },
};

static void put_chain(struct transaction *t, const char *name, const struct hook *hook,
                      const struct about *about)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	if (chain == NULL) {
		t->error = PR_ENOMEM;
		return;
	}
	(void)nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, KEEPER_TABLE);
	(void)nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
	if (hook != NULL) {
		(void)nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, "filter");
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, hook->number);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO,
		                    hook->save ? about->priority_save : about->priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	struct nlmsghdr *message = transaction_put(t, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	nftnl_chain_nlmsg_build_payload(message, chain);
	transaction_close(t);
	nftnl_chain_free(chain);
}

static void put_set(struct transaction *t, const char *name, uint32_t id, uint32_t type,
                    uint32_t key_bytes, uint32_t max)
{
	struct nftnl_set *set = nftnl_set_alloc();
	if (set == NULL) {
		t->error = PR_ENOMEM;
		return;
	}
	(void)nftnl_set_set_str(set, NFTNL_SET_TABLE, KEEPER_TABLE);
	(void)nftnl_set_set_str(set, NFTNL_SET_NAME, name);
	nftnl_set_set_u32(set, NFTNL_SET_ID, id);
	nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, NFT_SET_TIMEOUT | NFT_SET_EVAL);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, type);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, key_bytes);
	nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, max);
	nftnl_set_set_u64(set, NFTNL_SET_TIMEOUT, SEEN_TIMEOUT_S * 1000ULL);
	nftnl_set_set_u32(set, NFTNL_SET_GC_INTERVAL, SEEN_GC_MS);
	struct nlmsghdr *message = transaction_put(t, NFT_MSG_NEWSET, NLM_F_CREATE);
	nftnl_set_nlmsg_build_payload(message, set);
	transaction_close(t);
	nftnl_set_free(set);
}

static void put_set_removal(struct transaction *t, const char *name)
{
	struct nlmsghdr *message = transaction_put(t, NFT_MSG_DELSET, 0);
	mnl_attr_put_strz(message, NFTA_SET_TABLE, KEEPER_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_NAME, name);
	transaction_close(t);
}

/* They stay when rules are swapped, and "nft list counters" shows them by name. */
static void put_counter(struct transaction *t, enum counter_id id)
{
	struct nftnl_udata_buf *comment = nftnl_udata_buf_alloc(NFTNL_UDATA_COMMENT_MAXLEN * 2);
	struct nftnl_obj *counter = nftnl_obj_alloc();

	if (counter == NULL || comment == NULL ||
	    !nftnl_udata_put_strz(comment, NFTNL_UDATA_OBJ_COMMENT, counter_docs[id])) {
		t->error = PR_ENOMEM;
	} else {
		nftnl_obj_set_str(counter, NFTNL_OBJ_TABLE, KEEPER_TABLE);
		nftnl_obj_set_str(counter, NFTNL_OBJ_NAME, counter_names[id]);
		nftnl_obj_set_u32(counter, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
		nftnl_obj_set_data(counter, NFTNL_OBJ_USERDATA, nftnl_udata_buf_data(comment),
		                   nftnl_udata_buf_len(comment));
		nftnl_obj_set_u64(counter, NFTNL_OBJ_CTR_PKTS, 0);
		nftnl_obj_set_u64(counter, NFTNL_OBJ_CTR_BYTES, 0);
		struct nlmsghdr *message = transaction_put(t, NFT_MSG_NEWOBJ, NLM_F_CREATE);
		nftnl_obj_nlmsg_build_payload(message, counter);
		transaction_close(t);
	}
	nftnl_udata_buf_free(comment);
	nftnl_obj_free(counter);
}

static void put_flush(struct transaction *t)
{
	struct nlmsghdr *message = transaction_put(t, NFT_MSG_DELRULE, 0);
	mnl_attr_put_strz(message, NFTA_RULE_TABLE, KEEPER_TABLE);
	transaction_close(t);
}

static void put_rule(struct transaction *t, struct nftnl_rule *rule)
{
	struct nlmsghdr *message = transaction_put(t, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	nftnl_rule_nlmsg_build_payload(message, rule);
	transaction_close(t);
}

/* -------------------------------------------------------------------------------------- dumps */

struct rule_walk {
	int (*fn)(struct nftnl_rule *rule, void *arg);
	void *arg;
};

static int rule_walk_message(const struct nlmsghdr *message, void *arg)
{
	struct rule_walk *walk = arg;
	struct nftnl_rule *rule = nftnl_rule_alloc();

	if (rule == NULL) {
		return PR_ENOMEM;
	}
	int error = nftnl_rule_nlmsg_parse(message, rule) == 0 ? walk->fn(rule, walk->arg) : PR_OK;
	nftnl_rule_free(rule);
	return error;
}

int ruleset_walk(struct keeper *keeper, const char *table,
                 int (*fn)(struct nftnl_rule *rule, void *arg), void *arg)
{
	char buffer[512] __attribute__((aligned(8)));
	struct rule_walk walk = { .fn = fn, .arg = arg };
	uint8_t family = table == NULL ? NFPROTO_UNSPEC : NFPROTO_INET;

	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETRULE, family,
	                                                 NLM_F_DUMP, ++keeper->sequence);
	if (table != NULL) {
		mnl_attr_put_strz(message, NFTA_RULE_TABLE, table);
	}
	return netlink_ask(keeper->rules, message, rule_walk_message, &walk);
}

static int comment_take(const struct nftnl_udata *attr, void *arg)
{
	const char **text = arg;
	if (nftnl_udata_type(attr) == NFTNL_UDATA_RULE_COMMENT && nftnl_udata_len(attr) > 0) {
		const char *value = nftnl_udata_get(attr);
		if (value[nftnl_udata_len(attr) - 1] == '\0') {
			*text = value;
		}
	}
	return 0;
}

const char *ruleset_comment(struct nftnl_rule *rule)
{
	uint32_t size = 0;
	const char *text = NULL;
	const void *data = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &size);

	if (data != NULL && nftnl_udata_parse(data, size, comment_take, &text) < 0) {
		return NULL;
	}
	return text;
}

struct counter_walk {
	uint64_t *values;
	bool ours; /* at least one counter is there */
};

static int counter_take(const struct nlmsghdr *message, void *arg)
{
	struct counter_walk *walk = arg;
	struct nftnl_obj *counter = nftnl_obj_alloc();

	if (counter == NULL) {
		return PR_ENOMEM;
	}
	if (nftnl_obj_nlmsg_parse(message, counter) == 0) {
		const char *name = nftnl_obj_get_str(counter, NFTNL_OBJ_NAME);
		walk->ours = true;
		for (int i = 0; name != NULL && i < _COUNTER_MAX; i++) {
			if (strcmp(name, counter_names[i]) == 0) {
				walk->values[i] = nftnl_obj_get_u64(counter, NFTNL_OBJ_CTR_PKTS);
			}
		}
	}
	nftnl_obj_free(counter);
	return PR_OK;
}

int ruleset_counters_read(struct keeper *keeper, uint64_t values[_COUNTER_MAX])
{
	char buffer[256] __attribute__((aligned(8)));
	struct counter_walk walk = { .values = values };
	int error = PR_EINTR;

	for (int i = 0; i < DUMP_TRIES && error == PR_EINTR; i++) {
		struct nlmsghdr *message = nftnl_nlmsg_build_hdr(
			buffer, NFT_MSG_GETOBJ, NFPROTO_INET, NLM_F_DUMP, ++keeper->sequence);
		mnl_attr_put_strz(message, NFTA_OBJ_TABLE, KEEPER_TABLE);
		mnl_attr_put_u32(message, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
		error = netlink_ask(keeper->rules, message, counter_take, &walk);
	}
	if (error == PR_OK && !walk.ours) {
		return PR_ENOENT;
	}
	return error == PR_EINTR ? PR_EAGAIN : error;
}

struct about_search {
	struct about about;
	bool found;
};

static int about_take(struct nftnl_rule *rule, void *arg)
{
	struct about_search *search = arg;
	const char *chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
	const char *comment = ruleset_comment(rule);

	if (chain != NULL && comment != NULL && strcmp(chain, CHAIN_ABOUT) == 0) {
		search->found = about_parse(comment, &search->about) == PR_OK;
	}
	return PR_OK;
}

int ruleset_find(struct keeper *keeper, struct about *ret_about, struct keeper_error *ret_error)
{
	char buffer[256] __attribute__((aligned(8)));
	struct about_search search = { .found = false };
	int error = PR_EINTR;

	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETTABLE, NFPROTO_INET,
	                                                 NLM_F_ACK, ++keeper->sequence);
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, KEEPER_TABLE);
	int found = netlink_ask(keeper->rules, message, NULL, NULL);
	if (found != PR_OK) {
		return found == PR_ENOENT
		               ? PR_ENOENT
		               : keeper_fail(ret_error, found, "nf_tables cannot be asked: %s",
		                             pr_strerror(found));
	}
	for (int i = 0; i < DUMP_TRIES && error == PR_EINTR; i++) {
		error = ruleset_walk(keeper, KEEPER_TABLE, about_take, &search);
	}
	if (error != PR_OK) {
		return keeper_fail(ret_error, error, "rules cannot be listed: %s",
		                   pr_strerror(error));
	}
	if (!search.found) {
		return keeper_fail(ret_error, PR_EBUSY,
		                   "a table 'inet " KEEPER_TABLE
		                   "' is there that no agent of this version made: look with 'nft "
		                   "list table inet " KEEPER_TABLE "' and remove it");
	}
	*ret_about = search.about;
	return PR_OK;
}

/* -------------------------------------------------------------------------------------- apply */

static int transaction_fill(struct keeper *keeper, struct transaction *t, const struct about *about,
                            const struct rulebook *book, bool new_sets, uint32_t *ret_rules_first)
{
	int error = transaction_begin(keeper, t);
	if (error != PR_OK) {
		return error;
	}
	put_table(t, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	for (size_t i = 0; i < PR_ARRAY_LEN(hooks); i++) {
		put_chain(t, hooks[i].chain, &hooks[i], about);
	}
	for (size_t i = 0; rulebook_chains[i] != NULL; i++) {
		put_chain(t, rulebook_chains[i], NULL, about);
	}
	for (int i = 0; i < _COUNTER_MAX; i++) {
		put_counter(t, (enum counter_id)i);
	}
	put_flush(t);
	if (new_sets) {
		put_set_removal(t, SET_SEEN4);
		put_set_removal(t, SET_SEEN6);
	}
	put_set(t, SET_SEEN4, 1, TYPE_SEEN4, KEY_SEEN4, keeper->config.seen_max);
	put_set(t, SET_SEEN6, 2, TYPE_SEEN6, KEY_SEEN6, keeper->config.seen_max);
	*ret_rules_first = t->sequence - t->sequence_first;
	for (size_t i = 0; i < book->count; i++) {
		put_rule(t, book->rules[i]);
	}
	return PR_OK;
}

static int apply_fail(struct keeper_error *ret_error, int error, uint32_t failed,
                      uint32_t rules_first, const struct rulebook *book)
{
	if (failed != UINT32_MAX && failed >= rules_first && failed - rules_first < book->count) {
		char text[160];
		struct nftnl_rule *rule = book->rules[failed - rules_first];
		(void)nftnl_rule_snprintf(text, sizeof(text), rule, NFTNL_OUTPUT_DEFAULT, 0);
		for (char *end = text; *end != '\0'; end++) {
			*end = *end == '\n' ? ' ' : *end;
		}
		return keeper_fail(ret_error, error == PR_ENOENT ? PR_ENOTSUP : error,
		                   "the kernel refused a rule (%s): %s", pr_strerror(error), text);
	}
	if (error == PR_EEXIST) {
		return keeper_fail(
			ret_error, PR_EBUSY,
			"table 'inet " KEEPER_TABLE
			"' exists with other hooks: use the priorities it was made with");
	}
	return keeper_fail(ret_error, error, "rules were not changed (transaction step %d): %s",
	                   failed == UINT32_MAX ? -1 : (int)failed, pr_strerror(error));
}

int ruleset_apply(struct keeper *keeper, const struct about *about, struct keeper_error *ret_error)
{
	struct rules_input input = { .config = &keeper->config,
		                     .about = *about,
		                     .backend = keeper->backend };
	uint32_t failed = UINT32_MAX;
	uint32_t rules_first = 0;
	int error = PR_OK;

	struct rulebook *book = calloc(1, sizeof(*book));
	if (book == NULL) {
		return keeper_fail(ret_error, PR_ENOMEM, "out of memory for rules");
	}
	error = rulebook_build(book, &input);
	for (int try = 0; error == PR_OK && try < 2; try++) {
		struct transaction t;
		error = transaction_fill(keeper, &t, about, book, try == 1, &rules_first);
		if (error == PR_OK) {
			error = transaction_commit(keeper, &t, &failed);
		}
		/* A set of another size: the two steps before the rules are the sets. */
		if (error != PR_EEXIST || failed + 2 < rules_first || failed >= rules_first) {
			break;
		}
		error = try == 0 ? PR_OK : error;
	}
	if (error != PR_OK) {
		error = apply_fail(ret_error, error, failed, rules_first, book);
	}
	rulebook_done(book);
	free(book);
	return error;
}

int ruleset_delete(struct keeper *keeper, struct keeper_error *ret_error)
{
	struct transaction t;
	int error = transaction_begin(keeper, &t);

	if (error == PR_OK) {
		put_table(&t, NFT_MSG_DELTABLE, 0);
		error = transaction_commit(keeper, &t, NULL);
	}
	if (error != PR_OK && error != PR_ENOENT) {
		return keeper_fail(ret_error, error,
		                   "table 'inet " KEEPER_TABLE "' was not deleted: %s",
		                   pr_strerror(error));
	}
	return PR_OK;
}

/* A transaction that always fails at its last step, so that nothing of it stays. */
static int backend_try(struct keeper *keeper, enum keeper_backend backend, bool *ret_works)
{
	static const char probe[] = "portreeve_probe";
	struct rulebook *book = calloc(1, sizeof(*book));
	struct transaction t;
	uint32_t failed = UINT32_MAX;

	if (book == NULL) {
		return PR_ENOMEM;
	}
	rule_begin(book, probe, COUNTER_NONE);
	rule_queue(book, backend, keeper->config.queue_first, keeper->config.queue_count);
	rule_end(book);
	int error = book->error != PR_OK ? book->error : transaction_begin(keeper, &t);
	if (error == PR_OK) {
		put_table(&t, NFT_MSG_NEWTABLE, NLM_F_CREATE);
		put_chain(&t, probe, NULL, NULL);
		put_rule(&t, book->rules[0]);
		put_set_removal(&t, probe);
		error = transaction_commit(keeper, &t, &failed);
		*ret_works = failed == 3;
		error = failed == 2 || failed == 3 ? PR_OK : error;
	}
	rulebook_done(book);
	free(book);
	return error;
}

int ruleset_backend_probe(struct keeper *keeper, enum keeper_backend *ret_backend)
{
	static const enum keeper_backend candidates[] = { KEEPER_BACKEND_NATIVE,
		                                          KEEPER_BACKEND_COMPAT };

	/* A property of the kernel: asked once, because a refused transaction waits for RCU. */
	static _Atomic int known = KEEPER_BACKEND_NONE;

	*ret_backend = (enum keeper_backend)atomic_load(&known);
	for (size_t i = 0; i < PR_ARRAY_LEN(candidates) && *ret_backend == KEEPER_BACKEND_NONE;
	     i++) {
		bool works = false;
		int error = backend_try(keeper, candidates[i], &works);
		if (error != PR_OK) {
			return error;
		}
		if (works) {
			*ret_backend = candidates[i];
		}
	}
	atomic_store(&known, (int)*ret_backend);
	return PR_OK;
}
