/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "policy/query_internal.h"

#define VALUES_MAX 1024U /* of one field: bounds an accessor that never ends */

/* ASCII only: what else a locale calls lower case must not change an answer. */
static char folded(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Patterns are in lower case already. */
static bool starts(const char *pattern, const char *text)
{
	while (*pattern != '\0' && *pattern == folded(*text)) {
		pattern++;
		text++;
	}
	return *pattern == '\0';
}

static bool equals(const char *pattern, const char *text)
{
	return starts(pattern, text) && strlen(pattern) == strlen(text);
}

static bool is_part(const char *pattern, const char *text)
{
	for (; *text != '\0'; text++) {
		if (starts(pattern, text)) {
			return true;
		}
	}
	return false;
}

static bool glob(const char *pattern, const char *text)
{
	const char *star = NULL, *star_text = NULL;
	while (*text != '\0') {
		if (*pattern == '*') {
			star = ++pattern;
			star_text = text;
		} else if (*pattern == '?' || *pattern == folded(*text)) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star;
			text = ++star_text;
		} else {
			return false;
		}
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

static bool text_fits(const struct policy_query_choice *choice, const char *text)
{
	switch (choice->compare) {
	case POLICY_QUERY_EQUAL:
		return equals(choice->text, text);
	case POLICY_QUERY_GLOB:
		return glob(choice->text, text);
	case POLICY_QUERY_PART:
		return is_part(choice->text, text);
	case POLICY_QUERY_START:
		return starts(choice->text, text);
	default:
		return false;
	}
}

static bool address_fits(const struct policy_query_choice *choice, const struct pr_addr *addr)
{
	char text[PR_ADDR_TEXT_BYTES];
	if (choice->has_prefix) {
		return policy_prefix_matches(&choice->prefix, addr);
	}
	bool as_text = choice->compare == POLICY_QUERY_GLOB || choice->compare == POLICY_QUERY_PART;
	return as_text && text_fits(choice, pr_addr_format(addr, text));
}

static bool is_id(enum policy_query_field field)
{
	return field == POLICY_QUERY_SRC_UUID || field == POLICY_QUERY_DST_UUID ||
	       field == POLICY_QUERY_SRC_CONTAINER || field == POLICY_QUERY_DST_CONTAINER;
}

static bool value_fits(const struct policy_query_choice *choice, enum policy_query_field field,
                       const struct policy_query_value *value)
{
	switch (value->type) {
	case POLICY_QUERY_TEXT:
		if (value->text != NULL && choice->id_start && is_id(field)) {
			return starts(choice->text, value->text);
		}
		return value->text != NULL && text_fits(choice, value->text);
	case POLICY_QUERY_NUMBER:
		return choice->has_range && value->number >= choice->first &&
		       value->number <= choice->last;
	case POLICY_QUERY_ADDR:
		return address_fits(choice, &value->addr);
	}
	return false;
}

static bool any_fits(const struct policy_query_term *term, enum policy_query_field field,
                     const struct policy_query_value *value)
{
	for (size_t i = 0; i < term->choice_count; i++) {
		if (term->choices[i].compare != POLICY_QUERY_NONE &&
		    value_fits(&term->choices[i], field, value)) {
			return true;
		}
	}
	return false;
}

static bool asks_none(const struct policy_query_term *term)
{
	for (size_t i = 0; i < term->choice_count; i++) {
		if (term->choices[i].compare == POLICY_QUERY_NONE) {
			return true;
		}
	}
	return false;
}

static bool term_matches(const struct policy_query_term *term, policy_query_accessor_fn accessor,
                         const void *record)
{
	for (size_t i = 0; i < term->field_count; i++) {
		struct policy_query_value value = { 0 };
		unsigned index = 0;
		while (index < VALUES_MAX &&
		       accessor(record, term->fields[i], term->key, index, &value)) {
			if (any_fits(term, term->fields[i], &value)) {
				return true;
			}
			index++;
		}
		if (index == 0 && asks_none(term)) {
			return true;
		}
	}
	return false;
}

/* As deep as the parser let it become: terms and parentheses are bounded. */
static bool node_matches(const struct policy_query_node *node, policy_query_accessor_fn accessor,
                         const void *record)
{
	switch (node->kind) {
	case POLICY_QUERY_ALL:
		return true;
	case POLICY_QUERY_TERM:
		return term_matches(node->term, accessor, record);
	case POLICY_QUERY_NOT:
		return !node_matches(node->left, accessor, record);
	case POLICY_QUERY_AND:
		return node_matches(node->left, accessor, record) &&
		       node_matches(node->right, accessor, record);
	case POLICY_QUERY_OR:
		return node_matches(node->left, accessor, record) ||
		       node_matches(node->right, accessor, record);
	}
	return false;
}

bool policy_query_match(const policy_query_t *query, policy_query_accessor_fn accessor,
                        const void *record)
{
	return node_matches(query->root, accessor, record);
}
