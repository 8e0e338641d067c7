/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "codec/codec.h"
#include "policy/policy.h"
#include "recorder/comments.h"

#define REVISIONS_MAX 8  /* in memory */
#define WANTED_MAX    32 /* an agent may name revisions that never were */
#define ASK_AGAIN_NS  (60 * PR_NS_PER_S)

struct comment {
	uint32_t rule;
	size_t text_at;
};

/* The comments of one revision, in order of rules. */
struct revision_comments {
	uint64_t revision; /* 0: free */
	uint64_t used;     /* order of use */
	struct comment *comments;
	size_t count;
	char *texts; /* one after another, each with its NUL */
};

struct wanted {
	uint64_t revision; /* 0: free */
	uint64_t asked_ns; /* 0: not yet */
};

struct recorder_comments {
	store_t *store;
	uint64_t uses;
	uint64_t held; /* what was used after it stays */
	struct revision_comments revisions[REVISIONS_MAX];
	struct wanted wanted[WANTED_MAX];
};

static void revision_done(struct revision_comments *revision)
{
	free(revision->comments);
	free(revision->texts);
	*revision = (struct revision_comments){ 0 };
}

recorder_comments_t *recorder_comments_new(store_t *store)
{
	recorder_comments_t *comments = calloc(1, sizeof(*comments));
	if (comments != NULL) {
		comments->store = store;
	}
	return comments;
}

void recorder_comments_destroy(recorder_comments_t **comments_p)
{
	if (*comments_p == NULL) {
		return;
	}
	for (size_t i = 0; i < REVISIONS_MAX; i++) {
		revision_done(&(*comments_p)->revisions[i]);
	}
	free(*comments_p);
	*comments_p = NULL;
}

static int comments_copy(const policy_model_t *model, struct revision_comments *revision)
{
	size_t rules = policy_model_rule_count(model);
	size_t text_bytes = 0;

	for (size_t i = 0; i < rules; i++) {
		const char *comment = policy_model_rule(model, i)->comment;
		text_bytes += comment != NULL ? strlen(comment) + 1 : 0;
	}
	revision->comments = calloc(rules + 1, sizeof(*revision->comments));
	revision->texts = malloc(text_bytes + 1);
	if (revision->comments == NULL || revision->texts == NULL) {
		return PR_ENOMEM;
	}
	size_t at = 0;
	for (size_t i = 0; i < rules; i++) {
		const struct policy_rule *rule = policy_model_rule(model, i);
		if (rule->comment != NULL) {
			size_t length = strlen(rule->comment) + 1;
			memcpy(revision->texts + at, rule->comment, length);
			revision->comments[revision->count++] =
				(struct comment){ .rule = rule->number, .text_at = at };
			at += length;
		}
	}
	return PR_OK;
}

void recorder_comments_hold(recorder_comments_t *comments)
{
	comments->held = comments->uses;
}

/* The place used longest ago, emptied; NULL: all are held. */
static struct revision_comments *place_free(recorder_comments_t *comments)
{
	struct revision_comments *oldest = &comments->revisions[0];
	for (size_t i = 1; i < REVISIONS_MAX; i++) {
		if (comments->revisions[i].used < oldest->used) {
			oldest = &comments->revisions[i];
		}
	}
	if (oldest->used > comments->held) {
		return NULL;
	}
	revision_done(oldest);
	return oldest;
}

static int text_take(recorder_comments_t *comments, uint64_t number, const char *text,
                     size_t text_bytes)
{
	struct revision_comments *place = place_free(comments);
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));

	if (place == NULL) {
		return PR_EBUSY;
	}
	if (errors == NULL) {
		return PR_ENOMEM;
	}
	int err = policy_text_parse(text, text_bytes, errors, &model);
	if (err == PR_OK) {
		err = comments_copy(model, place);
	}
	if (err != PR_OK && err != PR_EPOLICY) {
		revision_done(place);
		return err;
	}
	/* A text that we cannot read (of a newer version, say) has no comments for us. */
	place->revision = number;
	place->used = ++comments->uses;
	return PR_OK;
}

static struct wanted *wanted_find(recorder_comments_t *comments, uint64_t revision)
{
	for (size_t i = 0; i < WANTED_MAX; i++) {
		if (comments->wanted[i].revision == revision) {
			return &comments->wanted[i];
		}
	}
	return NULL;
}

static void want(recorder_comments_t *comments, uint64_t revision, uint64_t now_ns)
{
	struct wanted *place = wanted_find(comments, 0);

	for (size_t i = 0; i < WANTED_MAX && place == NULL; i++) {
		struct wanted *wanted = &comments->wanted[i];
		if (wanted->asked_ns != 0 && now_ns - wanted->asked_ns > ASK_AGAIN_NS) {
			place = wanted;
		}
	}
	if (place != NULL) {
		*place = (struct wanted){ .revision = revision };
	}
}

static struct revision_comments *revision_load(recorder_comments_t *comments, uint64_t number,
                                               uint64_t now_ns)
{
	_cleanup_(store_revision_done) struct store_revision stored = { 0 };

	for (size_t i = 0; i < REVISIONS_MAX; i++) {
		if (comments->revisions[i].revision == number) {
			return &comments->revisions[i];
		}
	}
	if (wanted_find(comments, number) != NULL) {
		return NULL;
	}
	int err = store_policy_get(comments->store, number, &stored);
	if (err == PR_OK) {
		err = text_take(comments, number, stored.text, stored.text_bytes);
	}
	if (err == PR_OK) {
		return revision_load(comments, number, now_ns);
	}
	if (err == PR_ENOENT) {
		want(comments, number, now_ns);
	}
	return NULL;
}

static int comment_compare(const void *key, const void *item)
{
	uint32_t rule = *(const uint32_t *)key;
	const struct comment *comment = item;
	return rule < comment->rule ? -1 : rule > comment->rule;
}

const char *recorder_comments_find(recorder_comments_t *comments, uint64_t revision, uint32_t rule,
                                   uint64_t now_ns)
{
	if (revision == 0 || revision == CODEC_REVISION_DRAFT) {
		return NULL;
	}
	struct revision_comments *place = revision_load(comments, revision, now_ns);
	if (place == NULL || place->count == 0) {
		return NULL;
	}
	place->used = ++comments->uses;
	const struct comment *found = bsearch(&rule, place->comments, place->count,
	                                      sizeof(*place->comments), comment_compare);
	return found != NULL ? place->texts + found->text_at : NULL;
}

uint64_t recorder_comments_wanted(recorder_comments_t *comments, uint64_t now_ns)
{
	for (size_t i = 0; i < WANTED_MAX; i++) {
		struct wanted *wanted = &comments->wanted[i];
		if (wanted->revision != 0 &&
		    (wanted->asked_ns == 0 || now_ns - wanted->asked_ns > ASK_AGAIN_NS)) {
			wanted->asked_ns = now_ns;
			return wanted->revision;
		}
	}
	return 0;
}

int recorder_comments_put(recorder_comments_t *comments, const struct store_revision *revision)
{
	struct wanted *wanted = wanted_find(comments, revision->revision);

	if (revision->revision == 0 || wanted == NULL) {
		return PR_EINVAL;
	}
	int err = store_policy_cache(comments->store, revision);
	if (err == PR_OK) {
		*wanted = (struct wanted){ 0 };
	}
	return err;
}
