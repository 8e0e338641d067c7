/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "policy/image.h"

/* Which rules an endpoint satisfies, and its modes. */

/* Rules chained by what their operand names: head by value, next by rule; index + 1. */
struct chains {
	uint32_t *of_group, *of_endpoint;
	uint32_t *of_host; /* by index in hosts */
	uint32_t *next;
	struct policy_names hosts;
};

static void chains_done(struct chains *chains)
{
	free(chains->of_group);
	free(chains->of_endpoint);
	free(chains->of_host);
	free(chains->next);
	policy_names_done(&chains->hosts);
}

static void chain(uint32_t *head, uint32_t *next, uint32_t rule)
{
	next[rule] = *head;
	*head = rule + 1;
}

static uint32_t host_index(struct policy_builder *builder, struct chains *chains, const char *name)
{
	uint32_t index = policy_names_find(&chains->hosts, name);
	if (index == POLICY_NO_INDEX) {
		index = policy_names_add(&chains->hosts, name);
	}
	if (index == POLICY_NO_INDEX) {
		builder->no_memory = true;
	}
	return index;
}

static void chain_rule(struct policy_builder *builder, struct chains *chains, enum policy_side side,
                       uint32_t rule)
{
	const struct policy_operand *operand = policy_rule_side(builder->rules[rule], side);
	uint32_t index = 0;
	switch (operand->kind) {
	case POLICY_OPERAND_GROUP:
		chain(&chains->of_group[operand->group], chains->next, rule);
		break;
	case POLICY_OPERAND_ENDPOINT:
		index = policy_builder_endpoint_find(builder, &operand->endpoint);
		chain(&chains->of_endpoint[index], chains->next, rule);
		break;
	case POLICY_OPERAND_HOST:
		index = host_index(builder, chains, operand->name);
		if (index != POLICY_NO_INDEX) {
			chain(&chains->of_host[index], chains->next, rule);
		}
		break;
	default:
		break;
	}
}

static void set_chain(struct policy_builder *builder, const struct chains *chains, uint32_t head)
{
	while (head != 0) {
		policy_scratch_set(builder, head - 1);
		head = chains->next[head - 1];
	}
}

static uint32_t endpoint_class(struct policy_builder *builder, const struct chains *chains,
                               const uint32_t *group_classes, uint32_t index)
{
	const struct policy_endpoint *endpoint = builder->endpoints[index];
	uint32_t first = builder->endpoint_group_first[index];
	uint32_t last = builder->endpoint_group_first[index + 1];
	for (uint32_t i = first; i < last; i++) {
		policy_builder_class_or(builder, group_classes[builder->endpoint_groups[i]]);
	}
	set_chain(builder, chains, chains->of_endpoint[index]);
	if (endpoint != NULL && endpoint->kind == POLICY_HOST && endpoint->name != NULL) {
		uint32_t host = policy_names_find(&chains->hosts, endpoint->name);
		set_chain(builder, chains, host != POLICY_NO_INDEX ? chains->of_host[host] : 0);
	}
	return policy_builder_class(builder);
}

static void compile_side(struct policy_builder *builder, enum policy_side side, uint32_t entries)
{
	size_t groups = builder->model->groups.count;
	uint32_t size = sizeof(uint32_t);
	struct chains chains = {
		.of_group = policy_builder_temporary(builder, groups, size),
		.of_endpoint = policy_builder_temporary(builder, builder->endpoint_count, size),
		.of_host = policy_builder_temporary(builder, builder->rule_count, size),
		.next = policy_builder_temporary(builder, builder->rule_count, size),
	};
	_cleanup_(pr_free) uint32_t *group_classes =
		policy_builder_temporary(builder, groups, size);
	for (uint32_t i = 0; i < builder->rule_count && policy_builder_good(builder); i++) {
		chain_rule(builder, &chains, side, i);
	}
	for (size_t i = 0; i < groups && policy_builder_good(builder); i++) {
		set_chain(builder, &chains, chains.of_group[i]);
		group_classes[i] = policy_builder_class(builder);
	}
	for (uint32_t i = 0; i < builder->endpoint_count && policy_builder_good(builder); i++) {
		uint32_t class_offset = endpoint_class(builder, &chains, group_classes, i);
		struct policy_image_endpoint *written =
			(struct policy_image_endpoint *)(builder->bytes + entries) + i;
		written->classes[side] = class_offset;
	}
	chains_done(&chains);
}

/* ---- modes ---- */

struct group_mode {
	bool has_mode, has_lost;
	enum policy_mode mode;
	struct policy_lost lost;
};

static bool is_stricter(const struct policy_lost *a, const struct policy_lost *b)
{
	return a->kind != b->kind ? a->kind > b->kind : a->last_known_s < b->last_known_s;
}

static void read_mode_line(struct policy_image *image, struct group_mode *modes,
                           const struct policy_mode_line *line)
{
	image->enforces |= line->mode == POLICY_ENFORCE;
	if (line->group == NULL) {
		image->default_mode = (uint8_t)line->mode;
		return;
	}
	modes[line->group_index].has_mode = true;
	modes[line->group_index].mode = line->mode;
	image->modes_differ = true;
}

static void read_lost_line(struct policy_image *image, struct group_mode *modes,
                           const struct policy_lost_line *line)
{
	if (line->group == NULL) {
		image->default_lost = line->lost;
		return;
	}
	modes[line->group_index].has_lost = true;
	modes[line->group_index].lost = line->lost;
}

static void read_modes(struct policy_builder *builder, struct group_mode *modes)
{
	struct policy_image *image = &builder->image;
	image->default_mode = POLICY_OBSERVE;
	image->default_lost = (struct policy_lost){ .kind = POLICY_LOST_LAST_KNOWN,
		                                    .last_known_s = POLICY_LAST_KNOWN_DEFAULT_S };
	for (size_t i = 0; i < builder->model->lines.count; i++) {
		const struct policy_line *line = policy_model_line(builder->model, i);
		if (line->kind == POLICY_LINE_MODE) {
			read_mode_line(image, modes, line->mode);
		} else if (line->kind == POLICY_LINE_LOST) {
			read_lost_line(image, modes, line->lost);
		}
	}
}

/* The stricter of its groups' stands; a group's line beats the default. */
static void endpoint_modes(const struct policy_builder *builder, const struct group_mode *modes,
                           uint32_t index, struct policy_image_endpoint *endpoint)
{
	struct group_mode result = { .mode = builder->image.default_mode,
		                     .lost = builder->image.default_lost };
	for (uint32_t i = builder->endpoint_group_first[index];
	     i < builder->endpoint_group_first[index + 1]; i++) {
		const struct group_mode *group = &modes[builder->endpoint_groups[i]];
		if (group->has_mode && (!result.has_mode || group->mode > result.mode)) {
			result.has_mode = true;
			result.mode = group->mode;
		}
		if (group->has_lost &&
		    (!result.has_lost || is_stricter(&group->lost, &result.lost))) {
			result.has_lost = true;
			result.lost = group->lost;
		}
	}
	endpoint->mode = (uint8_t)result.mode;
	endpoint->lost_kind = (uint8_t)result.lost.kind;
	endpoint->last_known_s = result.lost.last_known_s;
}

/* ---- tables ---- */

/* At most a third full: a probe that goes on costs more than the room. */
static void write_slots(struct policy_builder *builder, uint32_t entries, uint32_t count)
{
	uint32_t slot_count = 8;
	while (slot_count < count * 3) {
		slot_count *= 2;
	}
	uint32_t offset =
		policy_builder_alloc(builder, slot_count * sizeof(struct policy_endpoint_slot));
	if (offset == 0) {
		return;
	}
	const struct policy_image_endpoint *endpoints =
		POLICY_AT(builder->bytes, entries, struct policy_image_endpoint);
	struct policy_endpoint_slot *slots =
		(struct policy_endpoint_slot *)(builder->bytes + offset);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t slot = policy_uuid_hash(&endpoints[i].id) & (slot_count - 1);
		while (slots[slot].index != 0) {
			slot = (slot + 1) & (slot_count - 1);
		}
		slots[slot] = (struct policy_endpoint_slot){
			.id = endpoints[i].id,
			.classes = { endpoints[i].classes[0], endpoints[i].classes[1] },
			.index = i + 1,
			.mode = endpoints[i].mode,
		};
	}
	builder->image.endpoints = (struct policy_table){
		.slots = offset, .slot_mask = slot_count - 1, .entries = entries, .count = count
	};
}

static uint32_t group_hash(const void *bytes, uint32_t entries, uint32_t index)
{
	const char *name = POLICY_AT(
		bytes, POLICY_AT(bytes, entries, struct policy_image_group)[index].name, char);
	return policy_hash(name, strlen(name));
}

static uint32_t copy_indexes(struct policy_builder *builder, const uint32_t *indexes, size_t count)
{
	uint32_t offset = policy_builder_alloc(builder, count * sizeof(*indexes));
	if (offset != 0 && count > 0) {
		memcpy(builder->bytes + offset, indexes, count * sizeof(*indexes));
	}
	return offset;
}

static void write_groups(struct policy_builder *builder)
{
	uint32_t groups = (uint32_t)builder->model->groups.count;
	uint32_t entries =
		policy_builder_alloc(builder, groups * sizeof(struct policy_image_group));
	for (uint32_t i = 0; i < groups && policy_builder_good(builder); i++) {
		const struct policy_group *group = policy_model_group(builder->model, i);
		struct policy_image_group written = {
			.name = policy_builder_text(builder, group->name),
			.member_first = builder->member_first[i],
			.member_count = builder->member_first[i + 1] - builder->member_first[i],
		};
		((struct policy_image_group *)(builder->bytes + entries))[i] = written;
	}
	builder->image.members =
		copy_indexes(builder, builder->members.items, builder->members.count);
	builder->image.endpoint_groups =
		copy_indexes(builder, builder->endpoint_groups, builder->members.count);
	if (policy_builder_good(builder)) {
		policy_builder_table(builder, &builder->image.groups, entries, groups, group_hash);
	}
}

void policy_compile_endpoints(struct policy_builder *builder)
{
	uint32_t count = builder->endpoint_count;
	uint32_t entries =
		policy_builder_alloc(builder, count * sizeof(struct policy_image_endpoint));
	_cleanup_(pr_free) struct group_mode *modes =
		policy_builder_temporary(builder, builder->model->groups.count, sizeof(*modes));
	if (!policy_builder_good(builder)) {
		return;
	}
	read_modes(builder, modes);
	for (uint32_t i = 0; i < count; i++) {
		struct policy_image_endpoint *endpoint =
			(struct policy_image_endpoint *)(builder->bytes + entries) + i;
		endpoint->id = builder->endpoint_ids[i];
		endpoint->group_first = builder->endpoint_group_first[i];
		endpoint->group_count =
			builder->endpoint_group_first[i + 1] - endpoint->group_first;
		endpoint_modes(builder, modes, i, endpoint);
	}
	compile_side(builder, POLICY_SIDE_SOURCE, entries);
	compile_side(builder, POLICY_SIDE_DESTINATION, entries);
	if (policy_builder_good(builder)) {
		write_slots(builder, entries, count);
	}
	write_groups(builder);
}
