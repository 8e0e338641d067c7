/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Before a commit: would it take out a lifeline, or cut the one who commits off? The controller's
 * own ports are a lifeline of every agent by themselves; what is judged here are the lifelines of
 * the policy, and connections that the committer says he needs (an SSH session).
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/internal.h"

#define CONNECTIONS_MAX 16
#define SERVICES_BYTES  (POLICY_LINE_MAX_BYTES + 1)

static void lifeline_format(const struct policy_lifeline *lifeline, char *text, size_t size_bytes)
{
	char from[POLICY_VALUE_MAX_BYTES + 16], to[POLICY_VALUE_MAX_BYTES + 16];
	char services[SERVICES_BYTES];

	(void)policy_operand_format(&lifeline->source, from, sizeof(from));
	(void)policy_operand_format(&lifeline->destination, to, sizeof(to));
	(void)policy_services_format(lifeline->services, lifeline->service_count, services,
	                             sizeof(services));
	(void)snprintf(text, size_bytes, "from %s to %s %s", from, to, services);
}

static bool has_lifeline(const policy_model_t *model, const char *wanted)
{
	char text[2 * SERVICES_BYTES];
	const struct policy_line *line = NULL;

	for (size_t i = 0; (line = policy_model_line(model, i)) != NULL; i++) {
		if (line->kind == POLICY_LINE_LIFELINE) {
			lifeline_format(line->lifeline, text, sizeof(text));
			if (strcmp(text, wanted) == 0) {
				return true;
			}
		}
	}
	return false;
}

static int lifelines_check(struct call *call, const policy_model_t *model)
{
	const policy_model_t *current = call->admin->view.model;
	char text[2 * SERVICES_BYTES];
	const struct policy_line *line = NULL;
	size_t cut = 0;

	for (size_t i = 0; current != NULL && (line = policy_model_line(current, i)) != NULL; i++) {
		if (line->kind != POLICY_LINE_LIFELINE) {
			continue;
		}
		lifeline_format(line->lifeline, text, sizeof(text));
		if (!has_lifeline(model, text)) {
			call_detail(call, "lifeline %s", text);
			cut++;
		}
	}
	if (cut == 0) {
		return PR_OK;
	}
	return call_fail(call, PR_EPERM,
	                 "this would take out %zu lifeline%s, nothing was changed; --force does it",
	                 cut, cut == 1 ? "" : "s");
}

/* ---- the committer's own connections ---- */

struct connection {
	uint8_t proto;
	struct pr_addr source, destination;
	uint16_t port;
};

static int connection_parse(const char *text, struct connection *ret_connection)
{
	char proto[8], source[PR_ADDR_TEXT_BYTES], destination[PR_ADDR_TEXT_BYTES];
	unsigned source_port = 0, port = 0;

	if (sscanf(text, "%7s %45s %u %45s %u", proto, source, &source_port, destination, &port) !=
	            5 ||
	    port > UINT16_MAX || pr_addr_parse(source, &ret_connection->source) != PR_OK ||
	    pr_addr_parse(destination, &ret_connection->destination) != PR_OK) {
		return PR_EINVAL;
	}
	ret_connection->proto = strcmp(proto, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP;
	ret_connection->port = (uint16_t)port;
	return PR_OK;
}

struct owner {
	const struct pr_addr *addr;
	const struct directory_endpoint *endpoint; /* a host before its containers */
};

static bool owner_look(void *arg, const struct directory_endpoint *endpoint)
{
	struct owner *owner = arg;

	for (size_t i = 0; i < endpoint->address_count; i++) {
		if (endpoint->addresses[i].global &&
		    pr_addr_equal(&endpoint->addresses[i].addr, owner->addr) &&
		    (owner->endpoint == NULL || endpoint->policy.kind == POLICY_HOST)) {
			owner->endpoint = endpoint;
		}
	}
	return true;
}

static const struct directory_endpoint *owner_of(struct admin *admin, const struct pr_addr *addr)
{
	struct owner owner = { .addr = addr };

	directory_each(admin->view.directory, owner_look, &owner);
	return owner.endpoint;
}

/* Denied at the end that @p asker is, whoever the user and the process are? */
static bool is_cut(struct admin *admin, const policy_image_t *image,
                   const struct connection *connection, enum policy_end asker,
                   struct policy_verdict *ret_verdict)
{
	const struct directory_endpoint *source = owner_of(admin, &connection->source);
	const struct directory_endpoint *destination = owner_of(admin, &connection->destination);
	struct policy_request request = {
		.asker = asker,
		.proto = connection->proto,
		.port = connection->port,
		.source_addr = connection->source,
		.destination_addr = connection->destination,
	};

	if ((asker == POLICY_END_NEAR ? source : destination) == NULL) {
		return false; /* nobody of ours holds it there */
	}
	memset(request.known, POLICY_KNOWN, sizeof(request.known));
	request.known[POLICY_FIELD_USER] = request.known[POLICY_FIELD_PROCESS] = POLICY_PENDING;
	request.known[POLICY_FIELD_TO_USER] = request.known[POLICY_FIELD_TO_PROCESS] =
		POLICY_PENDING;
	if (source != NULL) {
		request.source = source->policy.id;
	}
	if (destination != NULL) {
		request.destination = destination->policy.id;
	}
	policy_image_evaluate(image, &request, admin->now_wall_ns, ret_verdict);
	return ret_verdict->action != POLICY_ALLOW;
}

static int connection_check(struct call *call, const policy_image_t *image, const char *text)
{
	static const enum policy_end ends[] = { POLICY_END_NEAR, POLICY_END_FAR };
	struct connection connection = { 0 };
	struct policy_verdict verdict = { 0 };
	char rule[32] = "no rule allows it";

	if (connection_parse(text, &connection) != PR_OK) {
		return call_fail(call, PR_EINVAL, "'%.100s' is no connection", text);
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(ends); i++) {
		if (!is_cut(call->admin, image, &connection, ends[i], &verdict)) {
			continue;
		}
		if (verdict.rule != 0) {
			(void)snprintf(rule, sizeof(rule), "rule %u denies it", verdict.rule);
		}
		call_detail(call, "%s: %s", text, rule);
		return call_fail(call, PR_EPERM,
		                 "this would cut your own connection (%s), nothing was changed; "
		                 "--force does it",
		                 rule);
	}
	return PR_OK;
}

int admin_guard(struct call *call, const struct publish *publish, const policy_model_t *model,
                const policy_image_t *image)
{
	size_t count = codec_doc_count(call->document, publish->connections_field);

	int ret = lifelines_check(call, model);
	for (size_t i = 0; ret == PR_OK && i < count && i < CONNECTIONS_MAX; i++) {
		ret = connection_check(
			call, image, codec_doc_item(call->document, publish->connections_field, i));
	}
	return ret;
}

int admin_guard_quarantine(struct call *call, unsigned connections_field,
                           const struct directory_endpoint *endpoint)
{
	size_t count = codec_doc_count(call->document, connections_field);
	const policy_image_t *image = call->admin->view.image;
	struct policy_verdict verdict = { 0 };

	for (size_t i = 0; image != NULL && i < count && i < CONNECTIONS_MAX; i++) {
		const char *text = codec_doc_item(call->document, connections_field, i);
		struct connection connection = { 0 };
		if (connection_parse(text, &connection) != PR_OK) {
			return call_fail(call, PR_EINVAL, "'%.100s' is no connection", text);
		}
		if (owner_of(call->admin, &connection.source) != endpoint &&
		    owner_of(call->admin, &connection.destination) != endpoint) {
			continue;
		}
		(void)is_cut(call->admin, image, &connection, POLICY_END_FAR, &verdict);
		if (!verdict.lifeline) {
			call_detail(call, "%s", text);
			return call_fail(
				call, PR_EPERM,
				"this would cut your own connection, nothing was changed; a "
				"lifeline in the policy keeps it, --force does it");
		}
	}
	return PR_OK;
}
