/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/change.h"
#include "policy/merge.h"

/* Lines of a model in order of their texts. */
struct lines {
	const struct policy_line **items;
	size_t count;
};

struct changes {
	const struct policy_line *items[POLICY_MERGE_CHANGES_MAX];
	size_t count;
};

static int by_text(const struct policy_line *a, const struct policy_line *b)
{
	size_t bytes = a->size_bytes < b->size_bytes ? a->size_bytes : b->size_bytes;
	int order = memcmp(a->text, b->text, bytes);

	return order != 0 ? order
	                  : (a->size_bytes > b->size_bytes) - (a->size_bytes < b->size_bytes);
}

static int by_item(const void *a, const void *b)
{
	return by_text(*(const struct policy_line *const *)a,
	               *(const struct policy_line *const *)b);
}

static void lines_done(struct lines *lines)
{
	free(lines->items);
}

static int lines_sort(const policy_model_t *model, struct lines *lines)
{
	size_t count = policy_model_line_count(model);

	lines->items = calloc(count + 1, sizeof(const struct policy_line *));
	if (lines->items == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		lines->items[i] = policy_model_line(model, i);
	}
	lines->count = count;
	if (count > 0) {
		qsort(lines->items, count, sizeof(const struct policy_line *), by_item);
	}
	return PR_OK;
}

/* An empty line means nothing; a remark's place means something that cannot be merged. */
static int change_take(struct changes *changes, const struct policy_line *line)
{
	if (line->kind == POLICY_LINE_BLANK) {
		size_t blanks = 0;
		while (blanks < line->size_bytes && strchr(" \t\r", line->text[blanks]) != NULL) {
			blanks++;
		}
		return blanks == line->size_bytes ? PR_OK : PR_ECONFLICT;
	}
	if (changes->count == POLICY_MERGE_CHANGES_MAX) {
		return PR_ECONFLICT;
	}
	changes->items[changes->count++] = line;
	return PR_OK;
}

/* What @p from has and @p to has not, and the other way round. */
static int lines_compare(const struct lines *from, const struct lines *to, struct changes *removed,
                         struct changes *added)
{
	size_t i = 0, k = 0;
	int ret = PR_OK;

	while (ret == PR_OK && (i < from->count || k < to->count)) {
		int order = i == from->count ? 1
		            : k == to->count ? -1
		                             : by_text(from->items[i], to->items[k]);
		if (order < 0) {
			ret = change_take(removed, from->items[i++]);
		} else if (order > 0) {
			ret = change_take(added, to->items[k++]);
		} else {
			i++;
			k++;
		}
	}
	return ret;
}

static bool find(const policy_model_t *model, const struct policy_line *wanted, size_t *ret_index)
{
	for (size_t i = 0; i < policy_model_line_count(model); i++) {
		if (by_text(policy_model_line(model, i), wanted) == 0) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

/* A model in change: each step makes the next one. */
struct merge {
	const policy_model_t *model; /* own, or theirs at first */
	policy_model_t *own;
	struct policy_errors *errors;
};

static void merge_take(struct merge *merge, policy_model_t *next)
{
	policy_model_destroy(&merge->own);
	merge->own = next;
	merge->model = next;
}

static int line_remove(struct merge *merge, const struct policy_line *line)
{
	struct policy_edit edit = { .remove_count = 1 };
	policy_model_t *next = NULL;

	if (!find(merge->model, line, &edit.line)) {
		/* Gone there, too; or there it says something else now. */
		bool other = line->kind == POLICY_LINE_RULE &&
		             policy_model_rule_find(merge->model, line->rule->number, NULL) != NULL;
		return other || line->kind != POLICY_LINE_RULE ? PR_ECONFLICT : PR_OK;
	}
	int ret = policy_model_edit(merge->model, &edit, merge->errors, &next);
	if (ret == PR_OK) {
		merge_take(merge, next);
	}
	return ret;
}

static int line_add(struct merge *merge, const struct policy_line *line)
{
	char text[POLICY_LINE_MAX_BYTES + 1];
	policy_model_t *next = NULL;
	size_t at = 0, bytes = line->size_bytes;

	if (find(merge->model, line, &at)) {
		return PR_OK; /* both said it */
	}
	if (line->kind == POLICY_LINE_RULE &&
	    policy_model_rule_find(merge->model, line->rule->number, NULL) != NULL) {
		return PR_ECONFLICT;
	}
	bytes -= bytes > 0 && line->text[bytes - 1] == '\r';
	memcpy(text, line->text, bytes);
	text[bytes] = '\0';
	int ret = policy_change_add(merge->model, text, merge->errors, &next, NULL, NULL);
	if (ret == PR_OK) {
		merge_take(merge, next);
	}
	return ret;
}

/*
 * Texts between two steps may have errors that the next step mends (a group that moves): additions
 * come first, but for rules and lines that only change.
 */
static int changes_apply(struct merge *merge, const struct changes *removed,
                         const struct changes *added)
{
	int ret = PR_OK;

	for (size_t i = 0; ret == PR_OK && i < added->count; i++) {
		if (added->items[i]->kind == POLICY_LINE_GROUP ||
		    added->items[i]->kind == POLICY_LINE_USERGROUP) {
			ret = line_add(merge, added->items[i]);
		}
	}
	for (size_t i = 0; ret == PR_OK && i < removed->count; i++) {
		if (removed->items[i]->kind != POLICY_LINE_GROUP &&
		    removed->items[i]->kind != POLICY_LINE_USERGROUP) {
			ret = line_remove(merge, removed->items[i]);
		}
	}
	for (size_t i = 0; ret == PR_OK && i < added->count; i++) {
		ret = line_add(merge, added->items[i]);
	}
	for (size_t i = 0; ret == PR_OK && i < removed->count; i++) {
		if (removed->items[i]->kind == POLICY_LINE_GROUP ||
		    removed->items[i]->kind == POLICY_LINE_USERGROUP) {
			ret = line_remove(merge, removed->items[i]);
		}
	}
	return ret;
}

/* Nothing of mine: theirs, as a model of its own. */
static int copy(const policy_model_t *model, struct policy_errors *errors,
                policy_model_t **ret_model)
{
	struct policy_edit nothing = { .line = 0 };

	return policy_model_edit(model, &nothing, errors, ret_model);
}

int policy_merge(const policy_model_t *base, const policy_model_t *mine,
                 const policy_model_t *theirs, struct policy_errors *errors,
                 policy_model_t **ret_model)
{
	_cleanup_(lines_done) struct lines from = { 0 }, to = { 0 };
	_cleanup_(pr_free) struct changes *removed = calloc(1, sizeof(*removed));
	_cleanup_(pr_free) struct changes *added = calloc(1, sizeof(*added));
	struct merge merge = { .model = theirs, .errors = errors };

	*errors = (struct policy_errors){ 0 };
	if (removed == NULL || added == NULL) {
		return PR_ENOMEM;
	}
	int ret = lines_sort(base, &from);
	if (ret == PR_OK) {
		ret = lines_sort(mine, &to);
	}
	if (ret == PR_OK) {
		ret = lines_compare(&from, &to, removed, added);
	}
	if (ret == PR_OK) {
		ret = changes_apply(&merge, removed, added);
	}
	if (ret == PR_OK && merge.own == NULL) {
		return copy(theirs, errors, ret_model);
	}
	if (ret != PR_OK) {
		policy_model_destroy(&merge.own);
		return ret;
	}
	*ret_model = merge.own;
	return PR_OK;
}
