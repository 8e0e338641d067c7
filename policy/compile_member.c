/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "policy/image.h"

/* Who is in which group. */

uint32_t policy_builder_endpoint_find(const struct policy_builder *builder,
                                      const struct pr_uuid *id)
{
	uint32_t slot = policy_uuid_hash(id) & builder->endpoint_slot_mask;
	while (builder->endpoint_slots[slot] != 0) {
		uint32_t index = builder->endpoint_slots[slot] - 1;
		if (pr_uuid_equal(&builder->endpoint_ids[index], id)) {
			return index;
		}
		slot = (slot + 1) & builder->endpoint_slot_mask;
	}
	return POLICY_NO_INDEX;
}

static void add_endpoint(struct policy_builder *builder, const struct pr_uuid *id,
                         const struct policy_endpoint *endpoint)
{
	if (pr_uuid_is_null(id) || policy_builder_endpoint_find(builder, id) != POLICY_NO_INDEX) {
		return;
	}
	uint32_t slot = policy_uuid_hash(id) & builder->endpoint_slot_mask;
	while (builder->endpoint_slots[slot] != 0) {
		slot = (slot + 1) & builder->endpoint_slot_mask;
	}
	builder->endpoint_ids[builder->endpoint_count] = *id;
	builder->endpoints[builder->endpoint_count] = endpoint;
	builder->endpoint_slots[slot] = ++builder->endpoint_count;
}

static size_t named_endpoints_max(const struct policy_builder *builder)
{
	size_t count = (size_t)builder->rule_count * 2;
	for (size_t i = 0; i < builder->model->groups.count; i++) {
		count += policy_model_group(builder->model, i)->term_count;
	}
	return count;
}

static bool prepare(struct policy_builder *builder, size_t max)
{
	uint32_t slots = 16;
	while (slots < max * 2) {
		slots *= 2;
	}
	builder->endpoints = policy_builder_temporary(builder, max, sizeof(builder->endpoints[0]));
	builder->endpoint_ids =
		policy_builder_temporary(builder, max, sizeof(builder->endpoint_ids[0]));
	builder->endpoint_slots =
		policy_builder_temporary(builder, slots, sizeof(builder->endpoint_slots[0]));
	builder->endpoint_slot_mask = slots - 1;
	return policy_builder_good(builder);
}

/* Those that are known, then those that only the policy names. */
static void collect_endpoints(struct policy_builder *builder,
                              const struct policy_endpoint *endpoints, size_t endpoint_count)
{
	if (!prepare(builder, endpoint_count + named_endpoints_max(builder))) {
		return;
	}
	for (size_t i = 0; i < endpoint_count; i++) {
		add_endpoint(builder, &endpoints[i].id, &endpoints[i]);
	}
	for (size_t i = 0; i < builder->model->groups.count; i++) {
		const struct policy_group *group = policy_model_group(builder->model, i);
		for (size_t j = 0; j < group->term_count; j++) {
			add_endpoint(builder, &group->terms[j].member, NULL);
		}
	}
	for (uint32_t i = 0; i < builder->rule_count; i++) {
		add_endpoint(builder, &builder->rules[i]->source.endpoint, NULL);
		add_endpoint(builder, &builder->rules[i]->destination.endpoint, NULL);
	}
}

static void add_member(struct policy_builder *builder, uint32_t endpoint, uint32_t *stamps,
                       uint32_t stamp)
{
	if (endpoint == POLICY_NO_INDEX || stamps[endpoint] == stamp) {
		return;
	}
	stamps[endpoint] = stamp;
	if (builder->members.count > POLICY_IMAGE_MAX_BYTES / sizeof(uint32_t)) {
		builder->too_big = true;
		return;
	}
	uint32_t *member = policy_array_add(&builder->members, sizeof(*member));
	if (member == NULL) {
		builder->no_memory = true;
		return;
	}
	*member = endpoint;
}

static void collect_group(struct policy_builder *builder, uint32_t index, uint32_t *stamps)
{
	const struct policy_group *group = policy_model_group(builder->model, index);
	for (size_t i = 0; i < group->term_count && policy_builder_good(builder); i++) {
		const struct policy_group_term *term = &group->terms[i];
		if (term->selector_count == 0) {
			add_member(builder, policy_builder_endpoint_find(builder, &term->member),
			           stamps, index + 1);
			continue;
		}
		for (uint32_t j = 0; j < builder->endpoint_count; j++) {
			if (builder->endpoints[j] != NULL &&
			    policy_term_matches(term, builder->endpoints[j])) {
				add_member(builder, j, stamps, index + 1);
			}
		}
	}
}

/* The same the other way round: groups of each endpoint, in order of the text. */
static void invert(struct policy_builder *builder)
{
	const uint32_t *members = builder->members.items;
	uint32_t groups = (uint32_t)builder->model->groups.count;
	uint32_t *first =
		policy_builder_temporary(builder, builder->endpoint_count + 2UL, sizeof(*first));
	builder->endpoint_group_first = first;
	builder->endpoint_groups =
		policy_builder_temporary(builder, builder->members.count, sizeof(uint32_t));
	if (!policy_builder_good(builder)) {
		return;
	}
	for (size_t i = 0; i < builder->members.count; i++) {
		first[members[i] + 2]++;
	}
	for (uint32_t i = 2; i < builder->endpoint_count + 2; i++) {
		first[i] += first[i - 1];
	}
	for (uint32_t group = 0; group < groups; group++) {
		for (uint32_t i = builder->member_first[group];
		     i < builder->member_first[group + 1]; i++) {
			builder->endpoint_groups[first[members[i] + 1]++] = group;
		}
	}
}

void policy_compile_members(struct policy_builder *builder, const struct policy_endpoint *endpoints,
                            size_t endpoint_count)
{
	uint32_t groups = (uint32_t)builder->model->groups.count;
	collect_endpoints(builder, endpoints, endpoint_count);
	builder->member_first = policy_builder_temporary(builder, groups + 1UL, sizeof(uint32_t));
	_cleanup_(pr_free) uint32_t *stamps =
		policy_builder_temporary(builder, builder->endpoint_count, sizeof(*stamps));
	for (uint32_t i = 0; i < groups && policy_builder_good(builder); i++) {
		builder->member_first[i] = (uint32_t)builder->members.count;
		collect_group(builder, i, stamps);
		builder->member_first[i + 1] = (uint32_t)builder->members.count;
	}
	if (policy_builder_good(builder)) {
		invert(builder);
	}
}
