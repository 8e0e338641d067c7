/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "policy/internal.h"

/* Nobody has an empty value, so that `name *` does not take in what has no name. */
static bool text_matches(const char *pattern, const char *text)
{
	return text != NULL && text[0] != '\0' && policy_glob_match(pattern, text);
}

static bool label_matches(const struct policy_selector *selector,
                          const struct policy_endpoint *endpoint)
{
	for (size_t i = 0; i < endpoint->label_count; i++) {
		if (strcmp(endpoint->labels[i].key, selector->key) == 0) {
			const char *value = endpoint->labels[i].value;
			return policy_glob_match(selector->value, value != NULL ? value : "");
		}
	}
	return false;
}

/* Alone it means the host itself; beside others, what runs on that host. */
static bool host_matches(const char *pattern, const struct policy_endpoint *endpoint, bool alone)
{
	bool host = endpoint->kind == POLICY_HOST;
	if (alone && !host) {
		return false;
	}
	return text_matches(pattern, host ? endpoint->name : endpoint->host_name);
}

static bool selector_matches(const struct policy_selector *selector,
                             const struct policy_endpoint *endpoint, bool alone)
{
	switch (selector->kind) {
	case POLICY_SELECT_NAME:
		return text_matches(selector->value, endpoint->name);
	case POLICY_SELECT_IMAGE:
		return text_matches(selector->value, endpoint->image);
	case POLICY_SELECT_LABEL:
		return label_matches(selector, endpoint);
	case POLICY_SELECT_COMPOSE_PROJECT:
		return text_matches(selector->value, endpoint->compose_project);
	case POLICY_SELECT_COMPOSE_SERVICE:
		return text_matches(selector->value, endpoint->compose_service);
	case POLICY_SELECT_HOST:
		return host_matches(selector->value, endpoint, alone);
	case POLICY_SELECT_CGROUP:
		return text_matches(selector->value, endpoint->cgroup);
	case POLICY_SELECT_KIND:
		return (endpoint->kind == POLICY_HOST) == (strcmp(selector->value, "host") == 0);
	case _POLICY_SELECT_MAX:
		break;
	}
	return false;
}

bool policy_term_matches(const struct policy_group_term *term,
                         const struct policy_endpoint *endpoint)
{
	if (term->selector_count == 0) {
		return pr_uuid_equal(&term->member, &endpoint->id);
	}
	for (uint32_t i = 0; i < term->selector_count; i++) {
		if (!selector_matches(&term->selectors[i], endpoint, term->selector_count == 1)) {
			return false;
		}
	}
	return true;
}

bool policy_group_matches(const struct policy_group *group, const struct policy_endpoint *endpoint)
{
	for (size_t i = 0; i < group->term_count; i++) {
		if (policy_term_matches(&group->terms[i], endpoint)) {
			return true;
		}
	}
	return false;
}
