/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"
#include "policy/image.h"

uint64_t policy_image_revision(const policy_image_t *image)
{
	return image->revision;
}

size_t policy_image_size_bytes(const policy_image_t *image)
{
	return image->size_bytes;
}

bool policy_image_enforces(const policy_image_t *image)
{
	return image->enforces;
}

const struct policy_image_endpoint *policy_image_endpoint_find(const policy_image_t *image,
                                                               const struct pr_uuid *id)
{
	const struct policy_endpoint_slot *slot = policy_image_slot_find(image, id);
	return slot != NULL
	               ? POLICY_AT(image, image->endpoints.entries, struct policy_image_endpoint) +
	                         slot->index - 1
	               : NULL;
}

static const struct policy_image_endpoint *find_endpoint(const policy_image_t *image,
                                                         const struct pr_uuid *id)
{
	return id != NULL ? policy_image_endpoint_find(image, id) : NULL;
}

enum policy_mode policy_image_endpoint_mode(const policy_image_t *image,
                                            const struct pr_uuid *endpoint)
{
	const struct policy_image_endpoint *found = find_endpoint(image, endpoint);
	return found != NULL ? found->mode : image->default_mode;
}

struct policy_lost policy_image_endpoint_lost(const policy_image_t *image,
                                              const struct pr_uuid *endpoint)
{
	const struct policy_image_endpoint *found = find_endpoint(image, endpoint);
	if (found == NULL) {
		return image->default_lost;
	}
	return (struct policy_lost){ .kind = found->lost_kind,
		                     .last_known_s = found->last_known_s };
}

const char *policy_image_endpoint_group(const policy_image_t *image, const struct pr_uuid *endpoint,
                                        size_t nth)
{
	const struct policy_image_endpoint *found = find_endpoint(image, endpoint);
	if (found == NULL || nth >= found->group_count) {
		return NULL;
	}
	uint32_t index =
		POLICY_AT(image, image->endpoint_groups, uint32_t)[found->group_first + nth];
	const struct policy_image_group *groups =
		POLICY_AT(image, image->groups.entries, struct policy_image_group);
	return POLICY_AT(image, groups[index].name, char);
}

static const struct policy_image_group *find_group(const policy_image_t *image, const char *name)
{
	const struct policy_table *table = &image->groups;
	const uint32_t *slots = POLICY_AT(image, table->slots, uint32_t);
	const struct policy_image_group *groups =
		POLICY_AT(image, table->entries, struct policy_image_group);
	uint32_t slot = policy_hash(name, strlen(name)) & table->slot_mask;
	while (slots[slot] != 0) {
		const struct policy_image_group *group = &groups[slots[slot] - 1];
		if (strcmp(POLICY_AT(image, group->name, char), name) == 0) {
			return group;
		}
		slot = (slot + 1) & table->slot_mask;
	}
	return NULL;
}

long policy_image_group_members(const policy_image_t *image, const char *group, struct pr_uuid *ids,
                                size_t max)
{
	const struct policy_image_group *found = find_group(image, group);
	if (found == NULL) {
		return PR_ENOENT;
	}
	const uint32_t *members = POLICY_AT(image, image->members, uint32_t) + found->member_first;
	const struct policy_image_endpoint *endpoints =
		POLICY_AT(image, image->endpoints.entries, struct policy_image_endpoint);
	for (uint32_t i = 0; ids != NULL && i < found->member_count && i < max; i++) {
		ids[i] = endpoints[members[i]].id;
	}
	return (long)found->member_count;
}

void policy_image_rule_info(const policy_image_t *image, uint32_t index,
                            struct policy_rule_info *ret_info)
{
	const struct policy_image_rule *rule =
		POLICY_AT(image, image->rules, struct policy_image_rule) + index;
	*ret_info = (struct policy_rule_info){
		.number = rule->number,
		.action = rule->action,
		.status = rule->status,
		.expires_wall_ns = rule->expires_wall_ns,
		.comment = rule->comment != 0 ? POLICY_AT(image, rule->comment, char) : NULL,
		.owner = rule->owner != 0 ? POLICY_AT(image, rule->owner, char) : NULL,
	};
}

bool policy_image_rule_find(const policy_image_t *image, uint32_t number,
                            struct policy_rule_info *ret_info)
{
	const struct policy_image_rule *rules =
		POLICY_AT(image, image->rules, struct policy_image_rule);
	uint32_t low = 0, high = image->rule_count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (rules[middle].number < number) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (number == 0 || low == image->rule_count || rules[low].number != number) {
		return false;
	}
	policy_image_rule_info(image, low, ret_info);
	return true;
}

uint32_t policy_image_epoch(const policy_image_t *image, uint64_t now_wall_ns)
{
	const uint64_t *expiries = POLICY_AT(image, image->expiries, uint64_t);
	uint32_t low = 0, high = image->expiry_count;
	while (low < high) { /* the first that has not come */
		uint32_t middle = low + (high - low) / 2;
		if (expiries[middle] <= now_wall_ns) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

uint32_t policy_intervals_find(const policy_image_t *image,
                               const struct policy_intervals *intervals, struct policy_key key)
{
	const struct policy_key *keys = POLICY_AT(image, intervals->keys, struct policy_key);
	uint32_t low = 0, high = intervals->count;
	while (low < high) { /* the last start that is not behind the key */
		uint32_t middle = low + (high - low) / 2;
		if (policy_key_compare(&keys[middle], &key) <= 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low == 0 ? 0 : POLICY_AT(image, intervals->classes, uint32_t)[low - 1];
}

uint32_t policy_table_find_text(const policy_image_t *image, const struct policy_table *table,
                                const char *text)
{
	if (table->count == 0) {
		return 0;
	}
	const uint32_t *slots = POLICY_AT(image, table->slots, uint32_t);
	const struct policy_entry *entries = POLICY_AT(image, table->entries, struct policy_entry);
	uint32_t slot = policy_hash(text, strlen(text)) & table->slot_mask;
	while (slots[slot] != 0) {
		const struct policy_entry *entry = &entries[slots[slot] - 1];
		if (strcmp(POLICY_AT(image, entry->text, char), text) == 0) {
			return entry->class_offset;
		}
		slot = (slot + 1) & table->slot_mask;
	}
	return 0;
}

uint32_t policy_table_find_number(const policy_image_t *image, const struct policy_table *table,
                                  uint32_t number)
{
	if (table->count == 0) {
		return 0;
	}
	const uint32_t *slots = POLICY_AT(image, table->slots, uint32_t);
	const struct policy_entry *entries = POLICY_AT(image, table->entries, struct policy_entry);
	uint32_t slot = policy_hash(&number, sizeof(number)) & table->slot_mask;
	while (slots[slot] != 0) {
		const struct policy_entry *entry = &entries[slots[slot] - 1];
		if (entry->number == number) {
			return entry->class_offset;
		}
		slot = (slot + 1) & table->slot_mask;
	}
	return 0;
}
