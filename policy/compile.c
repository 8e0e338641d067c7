/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/image.h"

#define BIT(field) (1U << (field))

static bool is_live(const struct policy_rule *rule)
{
	return rule->status != POLICY_DISABLED;
}

static void take_lifelines(struct policy_builder *builder)
{
	const struct policy_line *lines = builder->model->lines.items;
	for (size_t i = 0; i < builder->model->lines.count; i++) {
		if (lines[i].kind == POLICY_LINE_LIFELINE) {
			const struct policy_lifeline *lifeline = lines[i].lifeline;
			builder->lifelines[builder->lifeline_count++] = (struct policy_rule){
				.action = POLICY_ALLOW,
				.source = lifeline->source,
				.destination = lifeline->destination,
				.services = lifeline->services,
				.service_count = lifeline->service_count,
			};
		}
	}
}

/* Lifelines first, then what is not disabled, by number. */
static void take_rules(struct policy_builder *builder)
{
	const struct policy_rule_ref *refs = builder->model->rules.items;
	size_t count = builder->model->rules.count;
	take_lifelines(builder);
	builder->rules = policy_builder_temporary(builder, count + builder->lifeline_count,
	                                          sizeof(builder->rules[0]));
	if (builder->rules == NULL) {
		return;
	}
	for (uint32_t i = 0; i < builder->lifeline_count; i++) {
		builder->rules[builder->rule_count++] = &builder->lifelines[i];
	}
	for (size_t i = 0; i < count; i++) {
		if (is_live(refs[i].rule)) {
			builder->rules[builder->rule_count++] = refs[i].rule;
		}
	}
	builder->word_count = (builder->rule_count + 63) / 64;
	builder->block_count = (builder->word_count + 63) / 64;
	builder->scratch = policy_builder_temporary(builder, builder->word_count, sizeof(uint64_t));
}

static uint32_t operand_fields(const struct policy_operand *operand, enum policy_side side)
{
	bool source = side == POLICY_SIDE_SOURCE;
	switch (operand->kind) {
	case POLICY_OPERAND_ANY:
		return 0;
	case POLICY_OPERAND_PREFIX:
		return BIT(source ? POLICY_FIELD_SOURCE_ADDR : POLICY_FIELD_DESTINATION_ADDR);
	default:
		return BIT(source ? POLICY_FIELD_SOURCE : POLICY_FIELD_DESTINATION);
	}
}

static uint32_t service_fields(const struct policy_rule *rule)
{
	uint32_t fields = 0;
	for (size_t i = 0; i < rule->service_count; i++) {
		if (rule->services[i].any) {
			return 0;
		}
		fields |= BIT(POLICY_FIELD_PROTO);
		fields |= rule->services[i].whole ? 0 : BIT(POLICY_FIELD_PORT);
	}
	return fields;
}

static uint32_t rule_fields(const struct policy_rule *rule)
{
	uint32_t fields = service_fields(rule);
	fields |= operand_fields(&rule->source, POLICY_SIDE_SOURCE);
	fields |= operand_fields(&rule->destination, POLICY_SIDE_DESTINATION);
	fields |= rule->user.kind != POLICY_USER_ANY ? BIT(POLICY_FIELD_USER) : 0;
	fields |= rule->to_user.kind != POLICY_USER_ANY ? BIT(POLICY_FIELD_TO_USER) : 0;
	fields |= rule->process.path != NULL ? BIT(POLICY_FIELD_PROCESS) : 0;
	fields |= rule->to_process.path != NULL ? BIT(POLICY_FIELD_TO_PROCESS) : 0;
	return fields;
}

static uint32_t pattern_text(struct policy_builder *builder,
                             const struct policy_process_match *process)
{
	return process->glob ? policy_builder_text(builder, process->path) : 0;
}

static void write_rules(struct policy_builder *builder)
{
	uint32_t offset = policy_builder_alloc(builder, builder->rule_count *
	                                                        sizeof(struct policy_image_rule));
	builder->image.rules = offset;
	for (uint32_t i = 0; i < builder->rule_count && policy_builder_good(builder); i++) {
		const struct policy_rule *rule = builder->rules[i];
		struct policy_image_rule written = {
			.expires_wall_ns = rule->expires_wall_ns,
			.number = rule->number,
			.comment = policy_builder_text(builder, rule->comment),
			.owner = policy_builder_text(builder, rule->owner),
			.process = pattern_text(builder, &rule->process),
			.to_process = pattern_text(builder, &rule->to_process),
			.constrained = (uint16_t)rule_fields(rule),
			.action = (uint8_t)rule->action,
			.status = (uint8_t)rule->status,
		};
		((struct policy_image_rule *)(builder->bytes + offset))[i] = written;
		builder->image.used |= written.constrained;
	}
}

/*
 * For each field the rules that do not name it, dense: words, then summary. A port's classes tell
 * the protocol too, so that a known port needs no look at the protocol: there, those that do not
 * name a protocol.
 */
static void write_any(struct policy_builder *builder)
{
	for (uint32_t field = 0; field < _POLICY_FIELD_MAX; field++) {
		uint32_t named = BIT(field == POLICY_FIELD_PORT ? POLICY_FIELD_PROTO : field);
		uint32_t words = builder->word_count;
		uint32_t offset = policy_builder_alloc(builder, (words + builder->block_count) *
		                                                        sizeof(uint64_t));
		builder->image.any[field] = offset;
		if (!policy_builder_good(builder)) {
			return;
		}
		uint64_t *any = (uint64_t *)(builder->bytes + offset);
		const struct policy_image_rule *rules =
			POLICY_AT(builder->bytes, builder->image.rules, struct policy_image_rule);
		for (uint32_t i = 0; i < builder->rule_count; i++) {
			if (!(rules[i].constrained & named)) {
				any[i / 64] |= 1ULL << i % 64;
				policy_scratch_set(builder, i);
			}
		}
		for (uint32_t i = 0; i < words; i++) {
			any[words + i / 64] |= any[i] != 0 ? 1ULL << i % 64 : 0;
		}
		builder->image.any_classes[field] = policy_builder_class(builder);
	}
}

static int compare_times(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;
	return *a == *b ? 0 : *a < *b ? -1 : 1;
}

/* The times at which rules expire, each once, in order. */
static void write_expiries(struct policy_builder *builder)
{
	_cleanup_(pr_free) uint64_t *times =
		policy_builder_temporary(builder, builder->rule_count, sizeof(*times));
	uint32_t found = 0, count = 0;
	for (uint32_t i = 0; times != NULL && i < builder->rule_count; i++) {
		if (builder->rules[i]->expires_wall_ns != 0) {
			times[found++] = builder->rules[i]->expires_wall_ns;
		}
	}
	if (found > 0) {
		qsort(times, found, sizeof(*times), compare_times);
	}
	for (uint32_t i = 0; i < found; i++) {
		if (i == 0 || times[i] != times[count - 1]) {
			times[count++] = times[i];
		}
	}
	uint32_t offset = policy_builder_alloc(builder, count * sizeof(*times));
	if (offset != 0 && count > 0) {
		memcpy(builder->bytes + offset, times, count * sizeof(*times));
	}
	builder->image.expiries = offset;
	builder->image.expiry_count = count;
}

static void builder_done(struct policy_builder *builder)
{
	free(builder->bytes);
	free(builder->rules);
	free(builder->scratch);
	free(builder->class_slots);
	free(builder->endpoints);
	free(builder->endpoint_ids);
	free(builder->endpoint_slots);
	policy_array_done(&builder->members);
	free(builder->member_first);
	free(builder->endpoint_groups);
	free(builder->endpoint_group_first);
}

static void compile_all(struct policy_builder *builder, const struct policy_endpoint *endpoints,
                        size_t endpoint_count)
{
	static void (*const parts[])(struct policy_builder *) = {
		write_rules,
		write_any,
		write_expiries,
		policy_compile_services,
		policy_compile_addresses,
		policy_compile_users,
		policy_compile_processes,
		policy_compile_endpoints,
	};
	(void)policy_builder_alloc(builder, sizeof(struct policy_image));
	take_rules(builder);
	if (policy_builder_good(builder)) {
		policy_compile_members(builder, endpoints, endpoint_count);
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(parts) && policy_builder_good(builder); i++) {
		parts[i](builder);
	}
	(void)policy_builder_alloc(builder, sizeof(uint64_t)); /* one word is read beyond a class */
}

static uint64_t serial_next(void)
{
	static _Atomic uint64_t last;
	return ++last;
}

int policy_image_compile(const policy_model_t *model, const struct policy_endpoint *endpoints,
                         size_t endpoint_count, uint64_t revision, policy_image_t **ret_image)
{
	if (endpoint_count > POLICY_ENDPOINTS_MAX) {
		return PR_ETOOBIG;
	}
	struct policy_builder builder = { .model = model };
	compile_all(&builder, endpoints, endpoint_count);
	int err = builder.no_memory ? PR_ENOMEM : builder.too_big ? PR_ETOOBIG : PR_OK;
	if (err == PR_OK) {
		builder.image.size_bytes = builder.used_bytes;
		builder.image.serial = serial_next();
		builder.image.revision = revision;
		builder.image.rule_count = builder.rule_count;
		builder.image.word_count = builder.word_count;
		builder.image.block_count = builder.block_count;
		memcpy(builder.bytes, &builder.image, sizeof(builder.image));
		char *bytes = realloc(builder.bytes, builder.used_bytes);
		*ret_image = (policy_image_t *)(bytes != NULL ? bytes : builder.bytes);
		builder.bytes = NULL;
	}
	builder_done(&builder);
	return err;
}

void policy_image_destroy(policy_image_t **image_p)
{
	free(*image_p);
	*image_p = NULL;
}
