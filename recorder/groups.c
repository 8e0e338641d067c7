/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/policy.h"
#include "recorder/groups.h"

#define MODELS_MAX  2
#define ANSWERS_MAX 256

struct model {
	uint64_t revision; /* 0: free */
	uint64_t used;
	policy_model_t *model;
};

/* The groups of one endpoint under one revision. */
struct answer {
	uint64_t revision; /* 0: free */
	struct pr_uuid endpoint;
	char *called;
	uint64_t changes; /* recorder_names_changes() then */
	uint32_t *groups;
	size_t count;
};

struct recorder_groups {
	store_t *store;
	const recorder_names_t *names;
	uint64_t uses;
	uint64_t missing; /* a revision that is not here, until recorder_groups_look() */
	struct model models[MODELS_MAX];
	struct answer answers[ANSWERS_MAX];
};

recorder_groups_t *recorder_groups_new(store_t *store, const recorder_names_t *names)
{
	recorder_groups_t *groups = calloc(1, sizeof(*groups));
	if (groups != NULL) {
		groups->store = store;
		groups->names = names;
	}
	return groups;
}

static void answer_done(struct answer *answer)
{
	free(answer->groups);
	free(answer->called);
	*answer = (struct answer){ 0 };
}

void recorder_groups_destroy(recorder_groups_t **groups_p)
{
	recorder_groups_t *groups = *groups_p;
	if (groups == NULL) {
		return;
	}
	for (size_t i = 0; i < MODELS_MAX; i++) {
		policy_model_destroy(&groups->models[i].model);
	}
	for (size_t i = 0; i < ANSWERS_MAX; i++) {
		answer_done(&groups->answers[i]);
	}
	free(groups);
	*groups_p = NULL;
}

void recorder_groups_look(recorder_groups_t *groups)
{
	groups->missing = 0;
}

static policy_model_t *model_parse(recorder_groups_t *groups, uint64_t revision)
{
	_cleanup_(store_revision_done) struct store_revision stored = { 0 };
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	policy_model_t *model = NULL;

	if (errors == NULL || store_policy_get(groups->store, revision, &stored) != PR_OK ||
	    policy_text_parse(stored.text, stored.text_bytes, errors, &model) != PR_OK) {
		return NULL;
	}
	return model;
}

static const policy_model_t *model_find(recorder_groups_t *groups, uint64_t revision)
{
	struct model *oldest = &groups->models[0];

	for (size_t i = 0; i < MODELS_MAX; i++) {
		struct model *model = &groups->models[i];
		if (model->revision == revision) {
			model->used = ++groups->uses;
			return model->model;
		}
		oldest = model->used < oldest->used ? model : oldest;
	}
	policy_model_t *parsed = groups->missing != revision ? model_parse(groups, revision) : NULL;
	if (parsed == NULL) {
		groups->missing = revision;
		return NULL;
	}
	policy_model_destroy(&oldest->model);
	*oldest = (struct model){ .revision = revision, .used = ++groups->uses, .model = parsed };
	return parsed;
}

/* Labels "KEY=VALUE" split in a copy of their own. */
struct labels {
	struct policy_label *items;
	char **texts;
	size_t count;
};

static void labels_done(struct labels *labels)
{
	for (size_t i = 0; labels->texts != NULL && i < labels->count; i++) {
		free(labels->texts[i]);
	}
	free(labels->texts);
	free(labels->items);
}

static int labels_split(const codec_doc_t *doc, struct labels *labels,
                        struct policy_endpoint *endpoint)
{
	labels->count = codec_doc_count(doc, CODEC_ENDPOINT_LABELS);
	labels->items = calloc(labels->count + 1, sizeof(*labels->items));
	labels->texts = calloc(labels->count + 1, sizeof(*labels->texts));
	if (labels->items == NULL || labels->texts == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < labels->count; i++) {
		char *key = strdup(codec_doc_item(doc, CODEC_ENDPOINT_LABELS, i));
		if (key == NULL) {
			return PR_ENOMEM;
		}
		labels->texts[i] = key;
		char *value = key + strcspn(key, "=");
		if (*value == '=') {
			*value++ = '\0';
		}
		labels->items[i] = (struct policy_label){ .key = key, .value = value };
		if (strcmp(key, POLICY_COMPOSE_PROJECT_LABEL) == 0) {
			endpoint->compose_project = value;
		} else if (strcmp(key, POLICY_COMPOSE_SERVICE_LABEL) == 0) {
			endpoint->compose_service = value;
		}
	}
	endpoint->labels = labels->items;
	endpoint->label_count = labels->count;
	return PR_OK;
}

static int answer_make(const policy_model_t *model, const codec_doc_t *doc, struct answer *answer)
{
	_cleanup_(labels_done) struct labels labels = { 0 };
	bool is_host = strcmp(codec_doc_text(doc, CODEC_ENDPOINT_KIND), "host") == 0;
	struct policy_endpoint endpoint = {
		.id = codec_doc_uuid(doc, CODEC_ENDPOINT_UUID),
		.kind = is_host ? POLICY_HOST : POLICY_CONTAINER,
		.name = answer->called[0] != '\0' ? answer->called
		                                  : codec_doc_text(doc, CODEC_ENDPOINT_NAME),
		.image = codec_doc_text(doc, CODEC_ENDPOINT_IMAGE),
		.cgroup = codec_doc_text(doc, CODEC_ENDPOINT_CGROUP),
		.host_id = codec_doc_uuid(doc, CODEC_ENDPOINT_HOST),
		.host_name = codec_doc_text(doc, CODEC_ENDPOINT_HOST_NAME),
	};
	size_t count = policy_model_group_count(model);

	int err = labels_split(doc, &labels, &endpoint);
	if (err != PR_OK) {
		return err;
	}
	answer->groups = calloc(count + 1, sizeof(*answer->groups));
	if (answer->groups == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		if (policy_group_matches(policy_model_group(model, i), &endpoint)) {
			answer->groups[answer->count++] = (uint32_t)i;
		}
	}
	return PR_OK;
}

const char *recorder_groups_name(recorder_groups_t *groups, uint64_t revision,
                                 const struct pr_uuid *endpoint, const char *called, unsigned nth)
{
	const codec_doc_t *doc = recorder_names_find(groups->names, endpoint);
	size_t at = (endpoint->bytes[15] ^ endpoint->bytes[3] ^ revision) % ANSWERS_MAX;
	struct answer *answer = &groups->answers[at];

	if (revision == 0 || revision == CODEC_REVISION_DRAFT || doc == NULL) {
		return NULL;
	}
	const policy_model_t *model = model_find(groups, revision);
	if (model == NULL) {
		return NULL;
	}
	uint64_t changes = recorder_names_changes(groups->names);
	if (answer->revision != revision || answer->changes != changes ||
	    !pr_uuid_equal(&answer->endpoint, endpoint) || strcmp(answer->called, called) != 0) {
		answer_done(answer);
		struct answer made = { .revision = revision,
			               .endpoint = *endpoint,
			               .called = strdup(called),
			               .changes = changes };
		if (made.called == NULL || answer_make(model, doc, &made) != PR_OK) {
			answer_done(&made);
			return NULL;
		}
		*answer = made;
	}
	return nth < answer->count ? policy_model_group(model, answer->groups[nth])->name : NULL;
}
