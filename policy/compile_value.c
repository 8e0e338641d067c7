/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "policy/image.h"

/* ---- services ---- */

static void compile_ports(struct policy_builder *builder, uint8_t proto)
{
	struct policy_array spans = { 0 };
	for (uint32_t i = 0; i < builder->rule_count; i++) {
		const struct policy_rule *rule = builder->rules[i];
		for (size_t j = 0; j < rule->service_count; j++) {
			const struct policy_service *service = &rule->services[j];
			if (service->any || service->proto != proto) {
				continue;
			}
			struct policy_span *span = policy_array_add(&spans, sizeof(*span));
			if (span == NULL) {
				builder->no_memory = true;
				break;
			}
			span->first.low = service->first;
			span->last.low = service->whole ? UINT16_MAX : service->last;
			span->rule = i;
		}
	}
	builder->image.ports[policy_port_table_of(proto)] = policy_builder_ports(builder, &spans);
	policy_array_done(&spans);
}

static bool names_protocol(const struct policy_rule *rule, unsigned proto, bool whole)
{
	for (size_t i = 0; i < rule->service_count; i++) {
		const struct policy_service *service = &rule->services[i];
		if (!service->any && service->proto == proto && (service->whole || !whole)) {
			return true;
		}
	}
	return false;
}

static uint32_t protocol_class(struct policy_builder *builder, unsigned proto, bool whole)
{
	for (uint32_t i = 0; i < builder->rule_count; i++) {
		if (names_protocol(builder->rules[i], proto, whole)) {
			policy_scratch_set(builder, i);
		}
	}
	return policy_builder_class(builder);
}

void policy_compile_services(struct policy_builder *builder)
{
	bool named[256] = { false };
	for (uint32_t i = 0; i < builder->rule_count; i++) {
		const struct policy_rule *rule = builder->rules[i];
		for (size_t j = 0; j < rule->service_count; j++) {
			named[rule->services[j].proto] |= !rule->services[j].any;
		}
	}
	for (unsigned proto = 0; proto < 256; proto++) {
		if (!named[proto]) {
			continue;
		}
		builder->image.proto_classes[proto] = protocol_class(builder, proto, false);
		builder->image.proto_whole_classes[proto] = protocol_class(builder, proto, true);
		if (policy_port_table_of((uint8_t)proto) != _POLICY_PORTS_MAX) {
			compile_ports(builder, (uint8_t)proto);
		}
	}
}

/* ---- addresses ---- */

struct policy_key policy_key_of(const struct pr_addr *addr)
{
	uint64_t halves[2];
	memcpy(halves, addr->bytes, sizeof(halves));
	return (struct policy_key){ .high = be64toh(halves[0]), .low = be64toh(halves[1]) };
}

static struct policy_key prefix_end(const struct pr_prefix *prefix)
{
	struct pr_addr addr = prefix->addr;
	for (unsigned i = prefix->bits; i < 128; i++) {
		addr.bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
	}
	return policy_key_of(&addr);
}

static void compile_side(struct policy_builder *builder, enum policy_side side, bool v4,
                         struct policy_intervals *ret_intervals)
{
	struct policy_array spans = { 0 };
	for (uint32_t i = 0; i < builder->rule_count; i++) {
		const struct policy_operand *operand = policy_rule_side(builder->rules[i], side);
		const struct pr_prefix *prefix = &operand->prefix;
		bool is_v4 = prefix->bits >= 96 && pr_addr_is_v4(&prefix->addr);
		if (operand->kind != POLICY_OPERAND_PREFIX || is_v4 != v4) {
			continue;
		}
		struct policy_span *span = policy_array_add(&spans, sizeof(*span));
		if (span == NULL) {
			builder->no_memory = true;
			break;
		}
		*span = (struct policy_span){ .first = policy_key_of(&prefix->addr),
			                      .last = prefix_end(prefix),
			                      .rule = i };
	}
	policy_builder_intervals(builder, &spans, ret_intervals);
	policy_array_done(&spans);
}

void policy_compile_addresses(struct policy_builder *builder)
{
	for (unsigned side = 0; side < _POLICY_SIDE_MAX; side++) {
		compile_side(builder, side, true, &builder->image.v4[side]);
		compile_side(builder, side, false, &builder->image.v6[side]);
	}
}

/* ---- users and processes ---- */

static int compare_links(const void *left, const void *right)
{
	const struct policy_link *a = left, *b = right;
	if (a->text == NULL || b->text == NULL) {
		if ((a->text == NULL) != (b->text == NULL)) {
			return a->text == NULL ? -1 : 1;
		}
		return a->number == b->number ? 0 : a->number < b->number ? -1 : 1;
	}
	return strcmp(a->text, b->text);
}

static uint32_t entry_hash(const void *bytes, uint32_t entries, uint32_t index)
{
	const struct policy_entry *entry = POLICY_AT(bytes, entries, struct policy_entry) + index;
	if (entry->text == 0) {
		return policy_hash(&entry->number, sizeof(entry->number));
	}
	const char *text = POLICY_AT(bytes, entry->text, char);
	return policy_hash(text, strlen(text));
}

/* One entry for each run of equal links. */
static void write_entries(struct policy_builder *builder, const struct policy_link *links,
                          size_t count, struct policy_table *ret_table)
{
	uint32_t entries = 0;
	for (size_t i = 0; i < count; i++) {
		entries += i == 0 || compare_links(&links[i - 1], &links[i]) != 0;
	}
	uint32_t offset = policy_builder_alloc(builder, entries * sizeof(struct policy_entry));
	uint32_t written = 0;
	size_t i = 0;
	while (i < count && policy_builder_good(builder)) {
		size_t first = i;
		for (; i < count && compare_links(&links[first], &links[i]) == 0; i++) {
			if (links[i].rule == POLICY_NO_INDEX) {
				policy_builder_class_or(builder, links[i].class_offset);
			} else {
				policy_scratch_set(builder, links[i].rule);
			}
		}
		struct policy_entry entry = { .number = links[first].number };
		entry.class_offset = policy_builder_class(builder);
		entry.text = policy_builder_text(builder, links[first].text);
		((struct policy_entry *)(builder->bytes + offset))[written++] = entry;
	}
	if (policy_builder_good(builder) && entries > 0) {
		policy_builder_table(builder, ret_table, offset, entries, entry_hash);
	}
}

void policy_builder_values(struct policy_builder *builder, const struct policy_array *links,
                           struct policy_values *ret_values)
{
	struct policy_link *all = links->items;
	size_t numbers = 0;
	if (links->count == 0) {
		return;
	}
	qsort(all, links->count, sizeof(*all), compare_links);
	while (numbers < links->count && all[numbers].text == NULL) {
		numbers++;
	}
	write_entries(builder, all, numbers, &ret_values->numbers);
	write_entries(builder, all + numbers, links->count - numbers, &ret_values->texts);
}

static void add_link(struct policy_builder *builder, struct policy_array *links,
                     const struct policy_link *link)
{
	struct policy_link *added = policy_array_add(links, sizeof(*link));
	if (added == NULL) {
		builder->no_memory = true;
	} else {
		*added = *link;
	}
}

static const struct policy_user_match *rule_user(const struct policy_rule *rule,
                                                 enum policy_side side)
{
	return side == POLICY_SIDE_SOURCE ? &rule->user : &rule->to_user;
}

static void link_usergroup(struct policy_builder *builder, enum policy_side side, uint32_t index,
                           struct policy_array *links)
{
	const struct policy_usergroup *usergroup = policy_model_usergroup(builder->model, index);
	for (uint32_t i = 0; i < builder->rule_count; i++) {
		const struct policy_user_match *user = rule_user(builder->rules[i], side);
		if (user->kind == POLICY_USER_GROUP && user->usergroup == index) {
			policy_scratch_set(builder, i);
		}
	}
	uint32_t class_offset = policy_builder_class(builder);
	for (size_t i = 0; class_offset != 0 && i < usergroup->member_count; i++) {
		const struct policy_user_match *member = &usergroup->members[i];
		add_link(builder, links,
		         &(struct policy_link){ .text = member->name,
		                                .number = member->uid,
		                                .rule = POLICY_NO_INDEX,
		                                .class_offset = class_offset });
	}
}

static void compile_users_of(struct policy_builder *builder, enum policy_side side)
{
	struct policy_array links = { 0 };
	size_t usergroups = builder->model->usergroups.count;
	_cleanup_(pr_free) bool *used =
		policy_builder_temporary(builder, usergroups, sizeof(*used));
	for (uint32_t i = 0; used != NULL && i < builder->rule_count; i++) {
		const struct policy_user_match *user = rule_user(builder->rules[i], side);
		if (user->kind == POLICY_USER_GROUP) {
			used[user->usergroup] = true;
		} else if (user->kind != POLICY_USER_ANY) {
			add_link(builder, &links,
			         &(struct policy_link){
					 .text = user->name, .number = user->uid, .rule = i });
		}
	}
	for (uint32_t i = 0; used != NULL && i < usergroups; i++) {
		if (used[i]) {
			link_usergroup(builder, side, i, &links);
		}
	}
	if (policy_builder_good(builder)) {
		policy_builder_values(builder, &links, &builder->image.users[side]);
	}
	policy_array_done(&links);
}

void policy_compile_users(struct policy_builder *builder)
{
	compile_users_of(builder, POLICY_SIDE_SOURCE);
	compile_users_of(builder, POLICY_SIDE_DESTINATION);
}

static void compile_processes_of(struct policy_builder *builder, enum policy_side side)
{
	struct policy_array links = { 0 };
	for (uint32_t i = 0; i < builder->rule_count; i++) {
		const struct policy_rule *rule = builder->rules[i];
		const struct policy_process_match *process =
			side == POLICY_SIDE_SOURCE ? &rule->process : &rule->to_process;
		if (process->path != NULL && process->glob) {
			policy_scratch_set(builder, i);
		} else if (process->path != NULL) {
			add_link(builder, &links,
			         &(struct policy_link){ .text = process->path, .rule = i });
		}
	}
	builder->image.processes[side].patterns = policy_builder_class(builder);
	if (policy_builder_good(builder)) {
		policy_builder_values(builder, &links, &builder->image.processes[side]);
	}
	policy_array_done(&links);
}

void policy_compile_processes(struct policy_builder *builder)
{
	compile_processes_of(builder, POLICY_SIDE_SOURCE);
	compile_processes_of(builder, POLICY_SIDE_DESTINATION);
}
