/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "tests/policy/naive.h"

/* In order of strength: a rule is as good as the worst of its clauses. */
enum match { NO, PERHAPS, YES };

void naive_init(struct naive *naive, const policy_model_t *model,
                const struct policy_endpoint *endpoints, size_t endpoint_count)
{
	size_t groups = policy_model_group_count(model);
	*naive = (struct naive){ .model = model,
		                 .endpoints = endpoints,
		                 .endpoint_count = endpoint_count };
	naive->membership = calloc(groups * endpoint_count + 1, sizeof(bool));
	for (size_t i = 0; i < groups; i++) {
		for (size_t j = 0; j < endpoint_count; j++) {
			naive->membership[i * endpoint_count + j] =
				policy_group_matches(policy_model_group(model, i), &endpoints[j]);
		}
	}
}

void naive_done(struct naive *naive)
{
	free(naive->membership);
}

static enum match worse(enum match a, enum match b)
{
	return a < b ? a : b;
}

/* What a clause gives when its field is not known; YES when it is, to be compared. */
static enum match by_knowledge(const struct policy_request *request, enum policy_field field)
{
	switch (request->known[field]) {
	case POLICY_KNOWN:
		return YES;
	case POLICY_PENDING:
		return PERHAPS;
	default:
		return NO;
	}
}

static long endpoint_index(const struct naive *naive, const struct pr_uuid *id)
{
	for (size_t i = 0; i < naive->endpoint_count; i++) {
		if (pr_uuid_equal(&naive->endpoints[i].id, id)) {
			return (long)i;
		}
	}
	return -1;
}

static bool endpoint_fits(const struct naive *naive, const struct policy_operand *operand,
                          const struct pr_uuid *id)
{
	long index = endpoint_index(naive, id);
	if (pr_uuid_is_null(id)) {
		return false;
	}
	if (operand->kind == POLICY_OPERAND_ENDPOINT) {
		return pr_uuid_equal(&operand->endpoint, id);
	}
	if (operand->kind == POLICY_OPERAND_HOST) {
		return index >= 0 && naive->endpoints[index].kind == POLICY_HOST &&
		       strcmp(naive->endpoints[index].name, operand->name) == 0;
	}
	if (index >= 0) {
		return naive->membership[operand->group * naive->endpoint_count + (size_t)index];
	}
	const struct policy_group *group = policy_model_group(naive->model, operand->group);
	for (size_t i = 0; i < group->term_count; i++) {
		if (group->terms[i].selector_count == 0 &&
		    pr_uuid_equal(&group->terms[i].member, id)) {
			return true;
		}
	}
	return false;
}

static bool address_fits(const struct pr_prefix *prefix, const struct pr_addr *addr)
{
	bool v4 = prefix->bits >= 96 && pr_addr_is_v4(&prefix->addr);
	if (v4 != pr_addr_is_v4(addr)) {
		return false;
	}
	for (unsigned i = 0; i < prefix->bits; i++) {
		unsigned mask = 0x80U >> i % 8;
		if ((prefix->addr.bytes[i / 8] & mask) != (addr->bytes[i / 8] & mask)) {
			return false;
		}
	}
	return true;
}

static enum match operand_match(const struct naive *naive, const struct policy_request *request,
                                const struct policy_operand *operand, bool source)
{
	enum policy_field field = source ? POLICY_FIELD_SOURCE : POLICY_FIELD_DESTINATION;
	enum match known = YES;
	if (operand->kind == POLICY_OPERAND_ANY) {
		return YES;
	}
	if (operand->kind == POLICY_OPERAND_PREFIX) {
		field = source ? POLICY_FIELD_SOURCE_ADDR : POLICY_FIELD_DESTINATION_ADDR;
		known = by_knowledge(request, field);
		const struct pr_addr *addr =
			source ? &request->source_addr : &request->destination_addr;
		return known != YES ? known : address_fits(&operand->prefix, addr) ? YES : NO;
	}
	known = by_knowledge(request, field);
	const struct pr_uuid *id = source ? &request->source : &request->destination;
	return known != YES ? known : endpoint_fits(naive, operand, id) ? YES : NO;
}

static enum match service_match(const struct policy_request *request,
                                const struct policy_service *services, size_t count)
{
	enum match best = NO;
	for (size_t i = 0; i < count; i++) {
		const struct policy_service *service = &services[i];
		enum match match = YES;
		if (!service->any && service->proto != request->proto) {
			match = NO;
		} else if (!service->any && !service->whole) {
			match = by_knowledge(request, POLICY_FIELD_PORT);
			if (match == YES &&
			    (request->port < service->first || request->port > service->last)) {
				match = NO;
			}
		}
		best = match > best ? match : best;
	}
	return best;
}

static bool one_user_fits(const struct policy_user_match *match, const struct policy_user *user)
{
	if (match->kind == POLICY_USER_UID) {
		return match->uid == user->uid;
	}
	return user->name != NULL && strcmp(match->name, user->name) == 0;
}

static enum match user_match(const struct naive *naive, const struct policy_request *request,
                             const struct policy_user_match *match, bool source)
{
	enum policy_field field = source ? POLICY_FIELD_USER : POLICY_FIELD_TO_USER;
	const struct policy_user *user = source ? &request->user : &request->to_user;
	enum match known = by_knowledge(request, field);
	if (match->kind == POLICY_USER_ANY) {
		return YES;
	}
	if (known != YES) {
		return known;
	}
	if (match->kind != POLICY_USER_GROUP) {
		return one_user_fits(match, user) ? YES : NO;
	}
	const struct policy_usergroup *group =
		policy_model_usergroup(naive->model, match->usergroup);
	for (size_t i = 0; i < group->member_count; i++) {
		if (one_user_fits(&group->members[i], user)) {
			return YES;
		}
	}
	return NO;
}

static enum match process_match(const struct policy_request *request,
                                const struct policy_process_match *match, bool source)
{
	enum policy_field field = source ? POLICY_FIELD_PROCESS : POLICY_FIELD_TO_PROCESS;
	const char *path = source ? request->process : request->to_process;
	enum match known = by_knowledge(request, field);
	if (match->path == NULL) {
		return YES;
	}
	if (known != YES) {
		return known;
	}
	if (path == NULL) {
		return NO;
	}
	bool fits =
		match->glob ? policy_path_match(match->path, path) : strcmp(match->path, path) == 0;
	return fits ? YES : NO;
}

static enum match rule_match(const struct naive *naive, const struct policy_request *request,
                             const struct policy_rule *rule, uint64_t now_wall_ns)
{
	if (rule->status == POLICY_DISABLED ||
	    (rule->expires_wall_ns != 0 && now_wall_ns >= rule->expires_wall_ns)) {
		return NO;
	}
	enum match match = operand_match(naive, request, &rule->source, true);
	match = worse(match, operand_match(naive, request, &rule->destination, false));
	match = worse(match, service_match(request, rule->services, rule->service_count));
	match = worse(match, user_match(naive, request, &rule->user, true));
	match = worse(match, user_match(naive, request, &rule->to_user, false));
	match = worse(match, process_match(request, &rule->process, true));
	return worse(match, process_match(request, &rule->to_process, false));
}

static enum policy_mode endpoint_mode(const struct naive *naive, const struct pr_uuid *id,
                                      bool known)
{
	enum policy_mode standard = POLICY_OBSERVE, own = POLICY_OBSERVE;
	bool has_own = false;
	for (size_t i = 0; i < policy_model_line_count(naive->model); i++) {
		const struct policy_line *line = policy_model_line(naive->model, i);
		if (line->kind != POLICY_LINE_MODE) {
			continue;
		}
		struct policy_operand group = { .kind = POLICY_OPERAND_GROUP,
			                        .group = line->mode->group_index };
		if (line->mode->group == NULL) {
			standard = line->mode->mode;
		} else if (known && endpoint_fits(naive, &group, id)) {
			has_own = true;
			own = line->mode->mode == POLICY_ENFORCE ? POLICY_ENFORCE : own;
		}
	}
	return has_own ? own : standard;
}

struct outcomes {
	unsigned count, allow, reject;
	enum policy_action last;
	uint32_t rule, staged;
	enum policy_action staged_action;
	bool lifeline;
	uint64_t until;
};

static void limit_until(struct outcomes *out, uint64_t expires)
{
	if (expires != 0 && (out->until == 0 || expires < out->until)) {
		out->until = expires;
	}
}

static void perhaps(struct outcomes *out, enum policy_action action, uint64_t expires)
{
	out->count++;
	out->allow += action == POLICY_ALLOW;
	out->reject += action == POLICY_REJECT;
	limit_until(out, expires);
}

static bool walk_lifelines(const struct naive *naive, const struct policy_request *request,
                           struct outcomes *out)
{
	for (size_t i = 0; i < policy_model_line_count(naive->model); i++) {
		const struct policy_line *line = policy_model_line(naive->model, i);
		if (line->kind != POLICY_LINE_LIFELINE) {
			continue;
		}
		enum match match = operand_match(naive, request, &line->lifeline->source, true);
		match = worse(match,
		              operand_match(naive, request, &line->lifeline->destination, false));
		match = worse(match, service_match(request, line->lifeline->services,
		                                   line->lifeline->service_count));
		if (match == YES) {
			out->last = POLICY_ALLOW;
			out->lifeline = true;
			return true;
		}
		if (match == PERHAPS) {
			perhaps(out, POLICY_ALLOW, 0);
		}
	}
	return false;
}

static void walk_rules(const struct naive *naive, const struct policy_request *request,
                       uint64_t now_wall_ns, struct outcomes *out)
{
	for (size_t i = 0; i < policy_model_rule_count(naive->model); i++) {
		const struct policy_rule *rule = policy_model_rule(naive->model, i);
		enum match match = rule_match(naive, request, rule, now_wall_ns);
		if (match == NO) {
			continue;
		}
		if (rule->status == POLICY_STAGED) {
			if (match == YES && out->staged == 0) {
				out->staged = rule->number;
				out->staged_action = rule->action;
				limit_until(out, rule->expires_wall_ns);
			}
		} else if (match == PERHAPS) {
			perhaps(out, rule->action, rule->expires_wall_ns);
		} else {
			out->last = rule->action;
			out->rule = rule->number;
			limit_until(out, rule->expires_wall_ns);
			return;
		}
	}
}

static void conclude(const struct outcomes *out, struct policy_verdict *verdict)
{
	verdict->policy_action = out->last;
	verdict->rule = out->rule;
	verdict->lifeline = out->lifeline && out->count == 0;
	if (out->count == 0) {
		return;
	}
	if (out->allow > 0 || out->last == POLICY_ALLOW) {
		verdict->policy_action = POLICY_ALLOW;
		verdict->provisional = true;
		verdict->rule = 0;
		return;
	}
	bool reject = out->reject == out->count && out->last == POLICY_REJECT;
	verdict->policy_action = reject ? POLICY_REJECT : POLICY_DENY;
	verdict->several = true;
}

void naive_evaluate(const struct naive *naive, const struct policy_request *request,
                    uint64_t now_wall_ns, uint64_t revision, struct policy_verdict *verdict)
{
	struct outcomes out = { .last = POLICY_DENY };
	*verdict = (struct policy_verdict){ .revision = revision };
	if (!walk_lifelines(naive, request, &out)) {
		walk_rules(naive, request, now_wall_ns, &out);
	}
	conclude(&out, verdict);
	enum policy_mode near = endpoint_mode(naive, &request->source,
	                                      request->known[POLICY_FIELD_SOURCE] == POLICY_KNOWN);
	enum policy_mode far =
		endpoint_mode(naive, &request->destination,
	                      request->known[POLICY_FIELD_DESTINATION] == POLICY_KNOWN);
	bool enforce = (request->asker != POLICY_END_FAR && near == POLICY_ENFORCE) ||
	               (request->asker != POLICY_END_NEAR && far == POLICY_ENFORCE);
	verdict->mode = enforce ? POLICY_ENFORCE : POLICY_OBSERVE;
	verdict->action = enforce ? verdict->policy_action : POLICY_ALLOW;
	verdict->staged_rule = out.staged;
	verdict->staged_action = out.staged_action;
	verdict->would_deny = verdict->action == POLICY_ALLOW &&
	                      (verdict->policy_action != POLICY_ALLOW ||
	                       (out.staged != 0 && out.staged_action != POLICY_ALLOW));
	verdict->valid_until_wall_ns = out.until;
}
