/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/view.h"

#define BIT(field) (1U << (field))

/* ---- candidates: rules that all fields' views have, in order ---- */

struct scan {
	const struct policy_field_view *fields[_POLICY_FIELD_MAX]; /* those that exclude any rule */
	unsigned field_count;
	uint32_t block_count;
	uint32_t block; /* of the next summary */
	uint64_t summary;
	uint32_t word; /* of bits */
	uint64_t bits;
};

static void scan_start(const struct policy_views *views, struct scan *scan)
{
	*scan = (struct scan){ .block_count = views->image->block_count };
	uint32_t active = views->active;
	if (active & BIT(POLICY_FIELD_PORT)) {
		active &= ~BIT(POLICY_FIELD_PROTO); /* its class has only rules of the protocol */
	}
	for (; active != 0; active &= active - 1) {
		scan->fields[scan->field_count++] = &views->fields[__builtin_ctz(active)];
	}
}

static bool scan_block(struct scan *scan)
{
	while (scan->block < scan->block_count) {
		uint64_t summary = ~0ULL;
		for (unsigned i = 0; i < scan->field_count; i++) {
			summary &= policy_field_summary(scan->fields[i], scan->block);
		}
		scan->block++;
		if (summary != 0) {
			scan->summary = summary;
			return true;
		}
	}
	return false;
}

static uint64_t scan_word(const struct scan *scan, uint32_t word)
{
	uint64_t bits = ~0ULL;
	for (unsigned i = 0; i < scan->field_count && bits != 0; i++) {
		bits &= policy_field_word(scan->fields[i], word);
	}
	return bits;
}

/* POLICY_NO_INDEX: no more. Without a field that excludes any, bits may lie beyond the last rule.
 */
static uint32_t scan_next(struct scan *scan, uint32_t rule_count)
{
	while (scan->bits == 0) {
		if (scan->summary == 0 && !scan_block(scan)) {
			return POLICY_NO_INDEX;
		}
		scan->word = (scan->block - 1) * 64 + (uint32_t)__builtin_ctzll(scan->summary);
		scan->summary &= scan->summary - 1;
		if (scan->word * 64 >= rule_count) {
			return POLICY_NO_INDEX;
		}
		scan->bits = scan_word(scan, scan->word);
	}
	uint32_t index = scan->word * 64 + (uint32_t)__builtin_ctzll(scan->bits);
	scan->bits &= scan->bits - 1;
	return index < rule_count ? index : POLICY_NO_INDEX;
}

/* ---- outcome ---- */

struct outcome {
	uint32_t decider; /* index; POLICY_NO_INDEX: the default */
	uint32_t staged;  /* index of the first staged rule that matches */
	uint32_t perhaps_count;
	bool perhaps_allow; /* a rule that may match allows */
	bool perhaps_deny, perhaps_reject;
	bool path_compared; /* with a pattern */
	uint32_t depends;
	uint64_t valid_until_wall_ns;
};

static void depend_on(struct outcome *outcome, const struct policy_image_rule *rule)
{
	outcome->depends |= rule->constrained;
	if (rule->expires_wall_ns != 0 && (outcome->valid_until_wall_ns == 0 ||
	                                   rule->expires_wall_ns < outcome->valid_until_wall_ns)) {
		outcome->valid_until_wall_ns = rule->expires_wall_ns;
	}
}

static uint32_t rule_patterns(const struct policy_image_rule *rule)
{
	return (rule->process != 0 ? BIT(POLICY_FIELD_PROCESS) : 0) |
	       (rule->to_process != 0 ? BIT(POLICY_FIELD_TO_PROCESS) : 0);
}

/* One candidate. Returns true when it decides. */
static bool judge_rule(const struct policy_views *views, uint32_t index, struct outcome *outcome)
{
	const struct policy_image_rule *rule = policy_views_rule(views, index);
	if (policy_views_expired(views, rule)) {
		return false;
	}
	if ((rule_patterns(rule) & ~views->pending) != 0) {
		uint32_t mismatch = policy_views_pattern_mismatch(views, index);
		outcome->path_compared = true;
		if (mismatch != 0) {
			bool idle =
				rule->status == POLICY_STAGED && outcome->staged != POLICY_NO_INDEX;
			outcome->depends |= idle ? 0 : mismatch & ~(mismatch - 1);
			return false;
		}
	}
	bool perhaps = policy_views_pending(views, index) != 0;
	if (rule->status == POLICY_STAGED) {
		if (!perhaps && outcome->staged == POLICY_NO_INDEX) {
			outcome->staged = index;
			depend_on(outcome, rule);
		}
		return false;
	}
	depend_on(outcome, rule);
	if (perhaps) {
		outcome->perhaps_count++;
		outcome->perhaps_allow |= rule->action == POLICY_ALLOW;
		outcome->perhaps_deny |= rule->action == POLICY_DENY;
		outcome->perhaps_reject |= rule->action == POLICY_REJECT;
		return false;
	}
	outcome->decider = index;
	return true;
}

static void judge(const struct policy_views *views, struct outcome *ret_outcome)
{
	struct scan scan;
	uint32_t rule_count = views->image->rule_count;
	scan_start(views, &scan);
	for (uint32_t index = scan_next(&scan, rule_count); index != POLICY_NO_INDEX;
	     index = scan_next(&scan, rule_count)) {
		if (judge_rule(views, index, ret_outcome)) {
			break;
		}
	}
}

/* ---- what the decision depended on ---- */

/* A port's class excludes by the protocol too. */
static uint32_t with_protocol(unsigned field)
{
	return field == POLICY_FIELD_PORT ? BIT(POLICY_FIELD_PORT) | BIT(POLICY_FIELD_PROTO)
	                                  : BIT(field);
}

/* A field whose class does not have a rule; 0: all have it. */
static uint32_t excluding_class(const struct policy_views *views, uint32_t index)
{
	for (uint32_t fields = views->active; fields != 0; fields &= fields - 1) {
		unsigned field = (unsigned)__builtin_ctz(fields);
		if (!policy_field_has(&views->fields[field], index)) {
			return with_protocol(field);
		}
	}
	return 0;
}

/* Does it matter whether an earlier rule matches? Not if it has expired, or another is reported. */
static bool counts(const struct policy_views *views, uint32_t index, const struct outcome *outcome)
{
	const struct policy_image_rule *rule = policy_views_rule(views, index);
	return !policy_views_expired(views, rule) &&
	       !(rule->status == POLICY_STAGED && index > outcome->staged);
}

/* The rules of a word that none of the fields excludes. */
static uint64_t left_in_word(const struct policy_views *views, uint32_t fields, uint32_t word)
{
	uint64_t left = ~0ULL;
	for (fields &= views->active; fields != 0 && left != 0; fields &= fields - 1) {
		left &= policy_field_word(&views->fields[__builtin_ctz(fields)], word);
	}
	return left;
}

static uint64_t left_in_block(const struct policy_views *views, uint32_t fields, uint32_t block)
{
	uint64_t left = ~0ULL;
	for (fields &= views->active; fields != 0; fields &= fields - 1) {
		left &= policy_field_summary(&views->fields[__builtin_ctz(fields)], block);
	}
	return left;
}

/* Fields added so that every rule of a word before @p limit is excluded or counted. */
static uint32_t depend_word(const struct policy_views *views, const struct outcome *outcome,
                            uint32_t fields, uint32_t word, uint32_t limit)
{
	uint64_t before = limit - word * 64 < 64 ? (1ULL << limit % 64) - 1 : ~0ULL;
	uint64_t left = before & left_in_word(views, fields, word);
	while (left != 0) {
		uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(left);
		uint32_t more = counts(views, index, outcome) ? excluding_class(views, index) : 0;
		left &= left - 1;
		left &= left_in_word(views, more & ~fields, word);
		fields |= more;
	}
	return fields;
}

/*
 * The fields of the rules that matched, and for every earlier rule one field that excludes it:
 * whoever agrees in these is excluded, and matched, by the same rules.
 */
static uint32_t depended_fields(const struct policy_views *views, const struct outcome *outcome)
{
	uint32_t fields = outcome->depends;
	uint32_t limit = views->image->rule_count;
	if ((views->active & ~fields) == 0) {
		return fields; /* no other field excludes any rule */
	}
	if (outcome->decider != POLICY_NO_INDEX) {
		limit = outcome->decider;
	}
	for (uint32_t block = 0; block * 64 * 64 < limit; block++) {
		uint64_t left = left_in_block(views, fields, block);
		while (left != 0) {
			uint32_t word = block * 64 + (uint32_t)__builtin_ctzll(left);
			if (word * 64 >= limit) {
				break;
			}
			uint32_t more = depend_word(views, outcome, fields, word, limit);
			left &= left - 1;
			if (more != fields) {
				left &= left_in_block(views, more & ~fields, block);
				fields = more;
			}
		}
	}
	return fields;
}

/* ---- few candidates ---- */

/* A field that excludes a rule of the few; 0: none does. */
static uint32_t excluding_few(const struct policy_tuple *tuple, uint32_t fields, uint32_t index)
{
	for (; fields != 0; fields &= fields - 1) {
		unsigned field = (unsigned)__builtin_ctz(fields);
		if (!policy_tuple_has(tuple, field, index)) {
			return with_protocol(field);
		}
	}
	return 0;
}

/* Out of line: rare, and its views would cost every request their stack. */
__attribute__((noinline)) static bool judge_one(const struct policy_tuple *tuple,
                                                uint64_t now_wall_ns, uint32_t index,
                                                struct outcome *outcome)
{
	struct policy_views views;
	policy_views_make(tuple, now_wall_ns, &views);
	return judge_rule(&views, index, outcome);
}

/*
 * One field leaves few rules: look at them one by one, and gather what excludes each on the way.
 * All others are excluded by that field. The same rules match as by judge().
 */
static uint32_t judge_few(const struct policy_tuple *tuple, const struct policy_few *few,
                          uint64_t now_wall_ns, struct outcome *ret_outcome)
{
	uint32_t depends = with_protocol(few->field);
	uint32_t fields = tuple->active & ~BIT(few->field);
	if (tuple->active & BIT(POLICY_FIELD_PORT)) {
		fields &= ~BIT(POLICY_FIELD_PROTO);
	}
	for (uint32_t i = 0; i < few->count; i++) {
		uint32_t excluding = excluding_few(tuple, fields, few->rules[i]);
		depends |= excluding;
		if (excluding == 0 && judge_one(tuple, now_wall_ns, few->rules[i], ret_outcome)) {
			break;
		}
	}
	return depends | ret_outcome->depends;
}

/* ---- verdict ---- */

static enum policy_mode asker_mode(const struct policy_tuple *tuple, uint32_t *fields)
{
	enum policy_mode near = tuple->modes[POLICY_SIDE_SOURCE];
	enum policy_mode far = tuple->modes[POLICY_SIDE_DESTINATION];
	bool differ = tuple->image->modes_differ;
	uint32_t both = BIT(POLICY_FIELD_SOURCE) | BIT(POLICY_FIELD_DESTINATION);
	switch (tuple->request->asker) {
	case POLICY_END_NEAR:
		*fields |= differ ? BIT(POLICY_FIELD_SOURCE) : 0;
		return near;
	case POLICY_END_FAR:
		*fields |= differ ? BIT(POLICY_FIELD_DESTINATION) : 0;
		return far;
	default:
		*fields |= differ ? both : 0;
		return near > far ? near : far;
	}
}

static const struct policy_image_rule *rule_at(const policy_image_t *image, uint32_t index)
{
	return POLICY_AT(image, image->rules, struct policy_image_rule) + index;
}

static void decide(const policy_image_t *image, const struct outcome *outcome,
                   struct policy_verdict *verdict)
{
	enum policy_action last = POLICY_DENY;
	if (outcome->decider != POLICY_NO_INDEX) {
		const struct policy_image_rule *rule = rule_at(image, outcome->decider);
		last = rule->action;
		verdict->rule = rule->number;
		verdict->lifeline = rule->number == 0;
	}
	verdict->policy_action = last;
	if (outcome->perhaps_count == 0) {
		return;
	}
	verdict->lifeline = false;
	if (outcome->perhaps_allow || last == POLICY_ALLOW) {
		verdict->provisional = true;
		verdict->policy_action = POLICY_ALLOW;
		verdict->rule = 0;
		return;
	}
	verdict->several = true;
	bool reject = outcome->perhaps_reject && !outcome->perhaps_deny && last == POLICY_REJECT;
	verdict->policy_action = reject ? POLICY_REJECT : POLICY_DENY;
}

static void finish(const struct policy_tuple *tuple, const struct outcome *outcome,
                   uint32_t depends, struct policy_verdict *ret_verdict)
{
	const policy_image_t *image = tuple->image;
	struct policy_verdict verdict = { .revision = image->revision, .depends = depends };
	decide(image, outcome, &verdict);
	verdict.valid_until_wall_ns = outcome->valid_until_wall_ns;
	verdict.mode = asker_mode(tuple, &verdict.depends);
	verdict.action = verdict.mode == POLICY_ENFORCE ? verdict.policy_action : POLICY_ALLOW;
	verdict.would_deny = verdict.action != verdict.policy_action;
	if (outcome->staged != POLICY_NO_INDEX) {
		const struct policy_image_rule *rule = rule_at(image, outcome->staged);
		verdict.staged_rule = rule->number;
		verdict.staged_action = rule->action;
		verdict.would_deny |=
			verdict.action == POLICY_ALLOW && rule->action != POLICY_ALLOW;
	}
	*ret_verdict = verdict;
}

bool policy_tuple_evaluate(const struct policy_tuple *tuple, uint64_t now_wall_ns,
                           struct policy_verdict *ret_verdict)
{
	struct policy_views views;
	struct outcome outcome = { .decider = POLICY_NO_INDEX, .staged = POLICY_NO_INDEX };
	policy_views_make(tuple, now_wall_ns, &views);
	judge(&views, &outcome);
	finish(tuple, &outcome, depended_fields(&views, &outcome), ret_verdict);
	return !outcome.path_compared;
}

void policy_tuple_evaluate_few(const struct policy_tuple *tuple, const struct policy_few *few,
                               uint64_t now_wall_ns, struct policy_verdict *ret_verdict)
{
	struct outcome outcome = { .decider = POLICY_NO_INDEX, .staged = POLICY_NO_INDEX };
	uint32_t depends = judge_few(tuple, few, now_wall_ns, &outcome);
	finish(tuple, &outcome, depends, ret_verdict);
}

void policy_image_evaluate(const policy_image_t *image, const struct policy_request *request,
                           uint64_t now_wall_ns, struct policy_verdict *ret_verdict)
{
	struct policy_tuple tuple;
	struct policy_few few;
	policy_tuple_make(image, request, &tuple);
	if (policy_tuple_few(&tuple, &few)) {
		policy_tuple_evaluate_few(&tuple, &few, now_wall_ns, ret_verdict);
	} else {
		(void)policy_tuple_evaluate(&tuple, now_wall_ns, ret_verdict);
	}
}

void policy_request_mark_pending(const policy_image_t *image, struct policy_request *request)
{
	static const enum policy_field far_fields[] = { POLICY_FIELD_TO_USER,
		                                        POLICY_FIELD_TO_PROCESS };
	bool far_known = request->known[POLICY_FIELD_DESTINATION] == POLICY_KNOWN &&
	                 !pr_uuid_is_null(&request->destination);
	if (request->asker != POLICY_END_NEAR || !far_known ||
	    policy_image_endpoint_mode(image, &request->destination) != POLICY_ENFORCE) {
		return;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(far_fields); i++) {
		if (request->known[far_fields[i]] == POLICY_UNKNOWN) {
			request->known[far_fields[i]] = POLICY_PENDING;
		}
	}
}
