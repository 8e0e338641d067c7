/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "codec/codec.h"
#include "controller/view.h"

#define LOG_COMPONENT "view"

int view_init(struct view *view, store_t *store, struct authority authority)
{
	*view = (struct view){ .store = store, .authority = authority };
	view->directory = directory_new();
	return view->directory != NULL ? PR_OK : PR_ENOMEM;
}

void view_done(struct view *view)
{
	policy_image_destroy(&view->image);
	policy_model_destroy(&view->model);
	directory_destroy(&view->directory);
	quarantine_set_done(&view->quarantine);
}

/* An endpoint that cannot be read is not there: its requests are denied. */
static bool take_endpoint(void *arg, const struct store_endpoint *endpoint)
{
	struct view *view = arg;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;

	if (endpoint->data == NULL) {
		directory_remove(view->directory, &endpoint->id);
		return true;
	}
	int ret = codec_doc_decode(endpoint->data, endpoint->size_bytes, &document);
	if (ret == PR_OK) {
		ret = directory_put_document(view->directory, &endpoint->agent, document);
	}
	if (ret != PR_OK) {
		char text[PR_UUID_TEXT_BYTES];
		log_error("endpoint %s in the store: %s, left out",
		          pr_uuid_format(&endpoint->id, text), pr_strerror(ret));
		directory_remove(view->directory, &endpoint->id);
		view->counters.bad_endpoints++;
	}
	return true;
}

int view_refresh_directory(struct view *view, bool *ret_changed)
{
	uint64_t version = view->directory_version;

	/* What is read at the start has been there before. */
	directory_time_set(view->directory, version != 0 ? pr_clock_monotonic_ns() : 0);
	int ret = store_endpoint_changes(view->store, view->directory_version, take_endpoint, view,
	                                 &version);
	if (ret == PR_EOLD) {
		directory_clear(view->directory);
		directory_time_set(view->directory, 0);
		ret = store_endpoint_changes(view->store, 0, take_endpoint, view, &version);
	}
	if (ret == PR_OK) {
		if (ret_changed != NULL) {
			*ret_changed = *ret_changed || version != view->directory_version;
		}
		view->directory_version = version;
	}
	return ret;
}

static int read_model(struct view *view, uint64_t revision)
{
	_cleanup_(store_revision_done) struct store_revision source = { 0 };
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	policy_model_t *model = NULL;

	if (errors == NULL) {
		return PR_ENOMEM;
	}
	int ret = view->authority.read(view->authority.self, revision, &source);
	if (ret == PR_OK) {
		ret = policy_text_parse(source.text, source.text_bytes, errors, &model);
	}
	if (ret != PR_OK) {
		return ret;
	}
	policy_model_destroy(&view->model);
	view->model = model;
	view->revision = source.revision;
	view->rule_count = policy_model_rule_count(model);
	return PR_OK;
}

static int compile(struct view *view)
{
	_cleanup_(pr_free) struct policy_endpoint *endpoints = NULL;
	policy_image_t *image = NULL;
	size_t count = 0;

	int ret = directory_policy_endpoints(view->directory, &endpoints, &count);
	if (ret == PR_OK) {
		ret = policy_image_compile(view->model, endpoints, count, view->revision, &image);
	}
	if (ret != PR_OK) {
		return ret;
	}
	policy_image_destroy(&view->image);
	view->image = image;
	view->fingerprint = directory_policy_fingerprint(view->directory);
	view->counters.compiles++;
	return PR_OK;
}

static int refresh_policy(struct view *view, bool *ret_changed)
{
	uint64_t head = view->revision;
	int ret = view->authority.watch(view->authority.self, &head);

	if (ret == PR_OK && head > view->revision) {
		ret = read_model(view, head);
	}
	bool stale = view->image == NULL || policy_image_revision(view->image) != view->revision ||
	             view->fingerprint != directory_policy_fingerprint(view->directory);
	if (view->model != NULL && stale) {
		int compiled = compile(view);
		*ret_changed |= compiled == PR_OK;
		ret = ret != PR_OK ? ret : compiled;
	}
	return ret;
}

int view_refresh(struct view *view, bool *ret_changed)
{
	bool changed = false;
	int ret = PR_OK;

	view->counters.refreshes++;
	if (view->store != NULL) {
		ret = view_refresh_directory(view, &changed);
		int policy = refresh_policy(view, &changed);
		int quarantine = quarantine_set_refresh(&view->quarantine, view->store, &changed);
		ret = ret != PR_OK ? ret : policy;
		ret = ret != PR_OK ? ret : quarantine;
	}
	if (ret != PR_OK) {
		view->counters.failures++;
	}
	if (ret_changed != NULL) {
		*ret_changed = changed;
	}
	return ret;
}
