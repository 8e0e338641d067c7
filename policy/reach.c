/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/reach.h"

#define PROTOCOLS 256
#define PORTS     65536

/* Where the rules change their mind, by protocol: a set bit begins a range of ports. */
struct cuts {
	uint64_t *starts[PROTOCOLS]; /* NULL: no rule names the protocol */
	uint8_t other;               /* a protocol that no rule names */
};

struct run {
	const policy_image_t *image;
	uint64_t now_wall_ns;
	uint32_t tries_left;
	bool stopped;
	struct policy_request request;
	struct policy_reach_row row; /* being gathered */
	bool row_open;
	bool (*visit)(void *arg, const struct policy_reach_row *row);
	void *arg;
};

static void cuts_done(struct cuts *cuts)
{
	for (size_t i = 0; i < PROTOCOLS; i++) {
		free(cuts->starts[i]);
	}
}

static bool is_set(const uint64_t *bits, uint32_t bit)
{
	return (bits[bit / 64] >> bit % 64 & 1) != 0;
}

static int cut(struct cuts *cuts, uint8_t proto, uint32_t port)
{
	if (cuts->starts[proto] == NULL) {
		cuts->starts[proto] = calloc(PORTS / 64, sizeof(uint64_t));
		if (cuts->starts[proto] == NULL) {
			return PR_ENOMEM;
		}
		cuts->starts[proto][0] = 1;
	}
	if (port < PORTS) {
		cuts->starts[proto][port / 64] |= 1ULL << port % 64;
	}
	return PR_OK;
}

static int cuts_services(struct cuts *cuts, const struct policy_service *services, size_t count)
{
	int ret = PR_OK;

	for (size_t i = 0; i < count && ret == PR_OK; i++) {
		if (services[i].any) {
			continue;
		}
		ret = cut(cuts, services[i].proto, services[i].whole ? 0 : services[i].first);
		if (ret == PR_OK && !services[i].whole) {
			ret = cut(cuts, services[i].proto, services[i].last + 1U);
		}
	}
	return ret;
}

static int cuts_make(const policy_model_t *model, struct cuts *cuts)
{
	const struct policy_line *line = NULL;
	int ret = cut(cuts, IPPROTO_TCP, 0);

	if (ret == PR_OK) {
		ret = cut(cuts, IPPROTO_UDP, 0);
	}
	for (size_t i = 0; ret == PR_OK && (line = policy_model_line(model, i)) != NULL; i++) {
		if (line->kind == POLICY_LINE_RULE) {
			ret = cuts_services(cuts, line->rule->services, line->rule->service_count);
		} else if (line->kind == POLICY_LINE_LIFELINE) {
			ret = cuts_services(cuts, line->lifeline->services,
			                    line->lifeline->service_count);
		}
	}
	for (unsigned proto = PROTOCOLS - 1; proto > 0; proto--) {
		if (cuts->starts[proto] == NULL) {
			cuts->other = (uint8_t)proto;
			break;
		}
	}
	return ret;
}

static void row_close(struct run *run)
{
	if (run->row_open && !run->stopped) {
		run->stopped = !run->visit(run->arg, &run->row);
	}
	run->row_open = false;
}

/* The first rule that may allow, where the outcome is open. */
static bool first_allow(void *arg, const struct policy_explanation *explanation)
{
	uint32_t *rule = arg;

	if (explanation->mismatch == 0 && !explanation->expired &&
	    explanation->rule.status == POLICY_ENABLED &&
	    explanation->rule.action == POLICY_ALLOW) {
		*rule = explanation->rule.number;
		return false;
	}
	return true;
}

static void range_try(struct run *run, uint32_t first, uint32_t last)
{
	struct policy_verdict verdict;
	struct policy_reach_row *row = &run->row;

	run->request.port = (uint16_t)first;
	policy_image_evaluate(run->image, &run->request, run->now_wall_ns, &verdict);
	if (verdict.policy_action != POLICY_ALLOW) {
		row_close(run);
		return;
	}
	uint32_t rule = verdict.rule;
	bool conditional = verdict.provisional &&
	                   !policy_image_allows_anyway(run->image, &run->request, run->now_wall_ns);
	if (verdict.provisional) {
		policy_image_explain(run->image, &run->request, run->now_wall_ns, first_allow,
		                     &rule);
	}
	if (run->row_open && row->rule == rule && row->conditional == conditional) {
		row->last = (uint16_t)last;
	} else {
		row_close(run);
		row->first = (uint16_t)first;
		row->last = (uint16_t)last;
		row->rule = rule;
		row->conditional = conditional;
		run->row_open = true;
	}
	row->whole = row->first == 0 && row->last == PORTS - 1;
}

static int protocol_run(struct run *run, const uint64_t *starts)
{
	for (uint32_t first = 0; first < PORTS && !run->stopped;) {
		uint32_t next = first + 1;
		while (next < PORTS && !is_set(starts, next)) {
			next += next % 64 == 0 && starts[next / 64] == 0 ? 64 : 1;
		}
		if (run->tries_left == 0) {
			return PR_ETOOBIG;
		}
		run->tries_left--;
		range_try(run, first, next - 1);
		first = next;
	}
	row_close(run);
	return PR_OK;
}

static int pair_run(struct run *run, const struct cuts *cuts)
{
	static const uint64_t whole[PORTS / 64] = { 1 };
	int ret = PR_OK;

	run->row.other_protocols = false;
	for (unsigned proto = 0; proto < PROTOCOLS && ret == PR_OK && !run->stopped; proto++) {
		if (cuts->starts[proto] != NULL) {
			run->row.proto = run->request.proto = (uint8_t)proto;
			ret = protocol_run(run, cuts->starts[proto]);
		}
	}
	if (ret == PR_OK && cuts->other != 0 && !run->stopped) {
		run->row.other_protocols = true;
		run->row.proto = run->request.proto = cuts->other;
		ret = protocol_run(run, whole);
	}
	return ret;
}

static uint8_t known(bool is)
{
	return is ? POLICY_KNOWN : POLICY_UNKNOWN;
}

static void ends_set(struct policy_request *request, const struct policy_reach_end *source,
                     const struct policy_reach_end *destination)
{
	static const enum policy_field pending[] = { POLICY_FIELD_USER, POLICY_FIELD_PROCESS,
		                                     POLICY_FIELD_TO_USER,
		                                     POLICY_FIELD_TO_PROCESS };

	*request = (struct policy_request){
		.asker = POLICY_END_NEAR,
		.source = source->id,
		.destination = destination->id,
		.source_addr = source->address,
		.destination_addr = destination->address,
	};
	request->known[POLICY_FIELD_PROTO] = request->known[POLICY_FIELD_PORT] = POLICY_KNOWN;
	request->known[POLICY_FIELD_SOURCE] = known(!pr_uuid_is_null(&source->id));
	request->known[POLICY_FIELD_DESTINATION] = known(!pr_uuid_is_null(&destination->id));
	request->known[POLICY_FIELD_SOURCE_ADDR] = known(source->has_address);
	request->known[POLICY_FIELD_DESTINATION_ADDR] = known(destination->has_address);
	for (size_t i = 0; i < PR_ARRAY_LEN(pending); i++) {
		request->known[pending[i]] = POLICY_PENDING;
	}
}

int policy_reach_run(const policy_model_t *model, const policy_image_t *image,
                     const struct policy_reach_end *sources, size_t source_count,
                     const struct policy_reach_end *destinations, size_t destination_count,
                     uint64_t now_wall_ns,
                     bool (*visit)(void *arg, const struct policy_reach_row *row), void *arg)
{
	_cleanup_(cuts_done) struct cuts cuts = { 0 };
	struct run run = { .image = image,
		           .now_wall_ns = now_wall_ns,
		           .tries_left = POLICY_REACH_TRIES_MAX,
		           .visit = visit,
		           .arg = arg };
	int ret = cuts_make(model, &cuts);

	for (size_t i = 0; i < source_count; i++) {
		for (size_t k = 0; k < destination_count && ret == PR_OK && !run.stopped; k++) {
			if (pr_uuid_equal(&sources[i].id, &destinations[k].id) &&
			    !pr_uuid_is_null(&sources[i].id)) {
				continue; /* itself: nothing is between */
			}
			ends_set(&run.request, &sources[i], &destinations[k]);
			run.row.source = i;
			run.row.destination = k;
			ret = pair_run(&run, &cuts);
		}
	}
	return ret;
}
