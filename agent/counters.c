/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `portreeve status` shows of an agent. */
#include <string.h>

#include "agent/loop.h"

static void counters_add_kernel(const agent_t *agent, codec_doc_t *doc)
{
	struct part_counters sum = { 0 };

	for (size_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		const struct part_counters *one = &agent->kernel_counters[i];
		sum.dropped_no_verdict += one->dropped_no_verdict;
		sum.dropped_invalid += one->dropped_invalid;
		sum.dropped_queue_full += one->dropped_queue_full;
		sum.copies_lost += one->copies_lost;
		sum.built_in += one->built_in;
		sum.lifeline += one->lifeline;
	}
#define ADD(name)                                                              \
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "kernel_" #name " %llu", \
	               (unsigned long long)sum.name)
	ADD(dropped_no_verdict);
	ADD(dropped_invalid);
	ADD(dropped_queue_full);
	ADD(copies_lost);
	ADD(built_in);
	ADD(lifeline);
#undef ADD
}

/* Reasons as words of a name. */
static void reasons_add(codec_doc_t *doc, const char *end, const char *what,
                        const uint64_t reasons[COMPLETENESS_REASONS])
{
	for (unsigned i = 0; i < COMPLETENESS_REASONS; i++) {
		char name[96];
		size_t used = 0;
		const char *text = codec_enum_text(CODEC_SET_UNKNOWN, i);
		if (reasons[i] == 0) {
			continue;
		}
		for (; text != NULL && *text != '\0' && used + 1 < sizeof(name); text++) {
			bool letter =
				(*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
			if (letter || (used > 0 && name[used - 1] != '_')) {
				name[used++] = letter ? *text : '_';
			}
		}
		name[used] = '\0';
		codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "%s_%s_unknown_%s %llu", end, what,
		               used > 0 ? name : "other", (unsigned long long)reasons[i]);
	}
}

static void share_add(codec_doc_t *doc, const char *end, const char *what, uint64_t known,
                      uint64_t seen)
{
	if (seen > 0) {
		codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "%s_%s_known_share %.6f", end, what,
		               (double)known / (double)seen);
	}
}

/* Of the connections reported at each end: the share with user, process and other end known. */
static void completeness_add_facts(const agent_t *agent, codec_doc_t *doc)
{
	const struct completeness *all = gate_completeness(agent->gate);

	for (unsigned i = 0; i < PR_ARRAY_LEN(all->ends); i++) {
		const struct completeness_end *end = &all->ends[i];
		const char *name = codec_enum_text(CODEC_SET_REPORTER, i);
		codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "%s_seen %llu", name,
		               (unsigned long long)end->seen);
		share_add(doc, name, "user", end->user, end->seen);
		share_add(doc, name, "process", end->process, end->seen);
		share_add(doc, name, "other_end", end->endpoint, end->seen - end->stranger);
		reasons_add(doc, name, "process", end->process_unknown);
		reasons_add(doc, name, "other_end", end->endpoint_unknown);
	}
}

/* Which way is in force, and why. */
static void attribution_add(const agent_t *agent, codec_doc_t *doc)
{
	struct origin_counts counts;

	if (agent->origin == NULL) {
		codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "attribution /proc (%s)",
		               agent->origin_why);
		return;
	}
	origin_counts(agent->origin, &counts);
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "attribution eBPF");
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "origin_noted %llu",
	               (unsigned long long)counts.written);
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "origin_crowded %llu",
	               (unsigned long long)counts.crowded);
}

/* One of a table's counters, which lies at its offset. */
static void counter_add(codec_doc_t *doc, const char *name, const void *counters, size_t offset)
{
	uint64_t value;

	memcpy(&value, (const char *)counters + offset, sizeof(value));
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "%s %llu", name, (unsigned long long)value);
}

void agent_counters_add(void *context, codec_doc_t *doc)
{
	const agent_t *agent = context;
	struct gate_counters gate;
	struct owner_counters owner;
	size_t count;

	gate_counters(agent->gate, &gate);
	const struct gate_counter_row *gate_rows = gate_counter_rows(&count);
	for (size_t i = 0; i < count; i++) {
		counter_add(doc, gate_rows[i].name, &gate, gate_rows[i].offset);
	}
	owner_counters(agent->owner, &owner);
	const struct owner_counter_row *owner_rows = owner_counter_rows(&count);
	for (size_t i = 0; i < count; i++) {
		counter_add(doc, owner_rows[i].name, &owner, owner_rows[i].offset);
	}
	completeness_add_facts(agent, doc);
	counters_add_kernel(agent, doc);
	attribution_add(agent, doc);
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "endpoints %zu", book_count(agent->book));
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "questions_open %u",
	               gate_pending(agent->gate));
}
