/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "controller/internal.h"

#define LINES_MAX    64 /* what an agent takes */
#define PREFIXES_MAX 64

/* The lines of one agent's lifeline as they come together. */
struct lifeline {
	struct admin *admin;
	const struct directory_endpoint *host; /* NULL: not known yet */
	codec_doc_t *state;
};

static void add(struct lifeline *lifeline, const char *direction, const struct pr_prefix *prefix,
                const char *service)
{
	char peer[PR_ADDR_TEXT_BYTES];
	bool v4 = pr_addr_is_v4(&prefix->addr) && prefix->bits >= 96;
	unsigned bits = prefix->bits - (v4 ? 96U : 0U);

	if (codec_doc_count(lifeline->state, CODEC_AGENT_STATE_LIFELINE) < LINES_MAX) {
		codec_doc_addf(lifeline->state, CODEC_AGENT_STATE_LIFELINE, "%s %s/%u %s",
		               direction, pr_addr_format(&prefix->addr, peer), bits, service);
	}
}

static void add_anybody(struct lifeline *lifeline, const char *direction, const char *service)
{
	struct pr_prefix v4 = { .addr = pr_addr_from_v4(0), .bits = 96 };
	struct pr_prefix v6 = { .bits = 0 };

	add(lifeline, direction, &v4, service);
	add(lifeline, direction, &v6, service);
}

static bool has_global(const struct directory_endpoint *endpoint, const struct pr_addr *addr)
{
	for (size_t i = 0; endpoint != NULL && i < endpoint->address_count; i++) {
		if (endpoint->addresses[i].global &&
		    pr_addr_equal(&endpoint->addresses[i].addr, addr)) {
			return true;
		}
	}
	return false;
}

/* A service of ours: everybody may reach it, and its own host lets everybody in. */
static void add_service(struct lifeline *lifeline, const char *endpoint)
{
	struct pr_prefix prefix = { .bits = 128 };
	uint16_t port = 0;
	char service[16];

	if (admin_address_parse(endpoint, &prefix.addr, &port) != PR_OK) {
		return;
	}
	(void)snprintf(service, sizeof(service), "tcp/%u", port);
	add(lifeline, "OUT", &prefix, service);
	if (pr_addr_is_loopback(&prefix.addr)) {
		add(lifeline, "IN", &prefix, service);
	} else if (has_global(lifeline->host, &prefix.addr)) {
		add_anybody(lifeline, "IN", service);
	}
}

/* Every controller, worker and recorder of the directory. */
static void add_services(struct lifeline *lifeline)
{
	static const unsigned fields[] = { CODEC_SERVICES_CONTROLLERS, CODEC_SERVICES_WORKERS,
		                           CODEC_SERVICES_RECORDERS };
	const struct admin *admin = lifeline->admin;
	_cleanup_(codec_doc_destroy) codec_doc_t *services = NULL;
	char endpoint[160];

	if (codec_doc_decode(admin->services_body, admin->services_bytes, &services) != PR_OK) {
		return;
	}
	if (codec_doc_count(services, CODEC_SERVICES_RECORDERS) == 0) {
		add_service(lifeline, admin->setup.conf->recorder); /* not enrolled yet */
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(fields); i++) {
		for (size_t k = 0; k < codec_doc_count(services, fields[i]); k++) {
			const char *line = codec_doc_item(services, fields[i], k);
			(void)snprintf(endpoint, sizeof(endpoint), "%.*s", (int)strcspn(line, " "),
			               line);
			add_service(lifeline, endpoint);
		}
	}
}

/* ---- lifelines of the policy ---- */

static bool in_group(const policy_image_t *image, const struct pr_uuid *endpoint, const char *group)
{
	for (size_t i = 0;; i++) {
		const char *name = policy_image_endpoint_group(image, endpoint, i);
		if (name == NULL) {
			return false;
		}
		if (strcmp(name, group) == 0) {
			return true;
		}
	}
}

static bool covers(struct admin *admin, const struct policy_operand *operand,
                   const struct directory_endpoint *endpoint)
{
	switch (operand->kind) {
	case POLICY_OPERAND_ANY:
		return true;
	case POLICY_OPERAND_GROUP:
		return in_group(admin->view.image, &endpoint->policy.id, operand->name);
	case POLICY_OPERAND_ENDPOINT:
		return pr_uuid_equal(&endpoint->policy.id, &operand->endpoint);
	case POLICY_OPERAND_HOST:
		return endpoint->policy.kind == POLICY_HOST && endpoint->policy.name != NULL &&
		       strcmp(endpoint->policy.name, operand->name) == 0;
	case POLICY_OPERAND_PREFIX:
		break;
	}
	for (size_t i = 0; i < endpoint->address_count; i++) {
		if (pr_prefix_contains(&operand->prefix, &endpoint->addresses[i].addr)) {
			return true;
		}
	}
	return false;
}

struct prefixes {
	struct admin *admin;
	const struct policy_operand *operand;
	size_t count;
	struct pr_prefix items[PREFIXES_MAX];
};

static bool take_addresses(void *arg, const struct directory_endpoint *endpoint)
{
	struct prefixes *prefixes = arg;

	if (!covers(prefixes->admin, prefixes->operand, endpoint)) {
		return true;
	}
	for (size_t i = 0; i < endpoint->address_count && prefixes->count < PREFIXES_MAX; i++) {
		if (endpoint->addresses[i].global) {
			prefixes->items[prefixes->count++] =
				(struct pr_prefix){ .addr = endpoint->addresses[i].addr,
				                    .bits = 128 };
		}
	}
	return prefixes->count < PREFIXES_MAX;
}

/* The addresses of the other side. */
static void prefixes_of(struct prefixes *prefixes)
{
	switch (prefixes->operand->kind) {
	case POLICY_OPERAND_ANY:
		prefixes->items[0] = (struct pr_prefix){ .addr = pr_addr_from_v4(0), .bits = 96 };
		prefixes->items[1] = (struct pr_prefix){ .bits = 0 };
		prefixes->count = 2;
		return;
	case POLICY_OPERAND_PREFIX:
		prefixes->items[0] = prefixes->operand->prefix;
		prefixes->count = 1;
		return;
	default:
		directory_each(prefixes->admin->view.directory, take_addresses, prefixes);
		return;
	}
}

static void add_proto(struct lifeline *lifeline, const char *direction,
                      const struct prefixes *prefixes, const char *proto, unsigned first,
                      unsigned last)
{
	char service[32];

	if (first == last) {
		(void)snprintf(service, sizeof(service), "%s/%u", proto, first);
	} else {
		(void)snprintf(service, sizeof(service), "%s/%u-%u", proto, first, last);
	}
	for (size_t i = 0; i < prefixes->count; i++) {
		add(lifeline, direction, &prefixes->items[i], service);
	}
}

/* One side of a lifeline of the policy. Only TCP and UDP have one. */
static void add_side(struct lifeline *lifeline, const char *direction,
                     const struct policy_lifeline *line, const struct policy_operand *other)
{
	struct prefixes prefixes = { .admin = lifeline->admin, .operand = other };

	prefixes_of(&prefixes);
	for (size_t i = 0; i < line->service_count; i++) {
		const struct policy_service *service = &line->services[i];
		bool every_port = service->any || service->whole;
		unsigned first = every_port ? 0 : service->first;
		unsigned last = every_port ? UINT16_MAX : service->last;
		if (service->any || service->proto == IPPROTO_TCP) {
			add_proto(lifeline, direction, &prefixes, "tcp", first, last);
		}
		if (service->any || service->proto == IPPROTO_UDP) {
			add_proto(lifeline, direction, &prefixes, "udp", first, last);
		}
	}
}

/* A policy has few of them among many lines. */
static void find_lifelines(struct admin *admin)
{
	const struct policy_line *line = NULL;

	if (admin->lifelines_revision == admin->view.revision) {
		return;
	}
	admin->lifeline_count = 0;
	for (size_t i = 0; (line = policy_model_line(admin->view.model, i)) != NULL; i++) {
		if (line->kind == POLICY_LINE_LIFELINE &&
		    admin->lifeline_count < PR_ARRAY_LEN(admin->lifelines)) {
			admin->lifelines[admin->lifeline_count++] = line->lifeline;
		}
	}
	admin->lifelines_revision = admin->view.revision;
}

void admin_lifeline_add(struct admin *admin, const struct directory_endpoint *host,
                        codec_doc_t *state)
{
	struct lifeline lifeline = { .admin = admin, .host = host, .state = state };

	add_services(&lifeline);
	find_lifelines(admin);
	for (size_t i = 0; host != NULL && i < admin->lifeline_count; i++) {
		const struct policy_lifeline *line = admin->lifelines[i];
		if (covers(admin, &line->destination, host)) {
			add_side(&lifeline, "IN", line, &line->source);
		}
		if (covers(admin, &line->source, host)) {
			add_side(&lifeline, "OUT", line, &line->destination);
		}
	}
}
