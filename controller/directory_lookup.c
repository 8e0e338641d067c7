/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has an address, and who lives with whom. */
#include "controller/directory_internal.h"

/* ---- who lives together ---- */

void directory_each_sharer(const directory_t *directory, const struct directory_endpoint *endpoint,
                           bool (*visit)(void *arg, const struct directory_endpoint *sharer),
                           void *arg)
{
	if (!has_space(endpoint)) {
		return;
	}
	for (struct node *node = *space_chain(directory, endpoint); node != NULL;
	     node = node->space) {
		const struct directory_endpoint *other = &node->endpoint;
		if (other->namespace_inode == endpoint->namespace_inode &&
		    pr_uuid_equal(&other->policy.host_id, &endpoint->policy.host_id) &&
		    !pr_uuid_equal(&other->policy.id, &endpoint->policy.id) && !visit(arg, other)) {
			return;
		}
	}
}

/* The host first, so that one of several is always the same. */
static bool addressed_look(void *arg, const struct directory_endpoint *sharer)
{
	const struct directory_endpoint **found = arg;
	bool host = sharer->policy.kind == POLICY_HOST;

	if (sharer->address_count > 0 && ((*found)->address_count == 0 || host)) {
		*found = sharer;
	}
	return !host;
}

const struct directory_endpoint *directory_addressed(const directory_t *directory,
                                                     const struct directory_endpoint *endpoint)
{
	const struct directory_endpoint *found = endpoint;

	if (endpoint->address_count == 0) {
		directory_each_sharer(directory, endpoint, addressed_look, &found);
	}
	return found;
}

/* ---- look-up ---- */

static bool in_network_of(const struct directory_endpoint *endpoint, const struct pr_uuid *network)
{
	for (size_t i = 0; i < endpoint->address_count; i++) {
		if (!endpoint->addresses[i].global &&
		    pr_uuid_equal(&endpoint->addresses[i].network, network)) {
			return true;
		}
	}
	return false;
}

/* How far an address of a node comes before others for this reporter. */
static unsigned rank_of(const struct directory_endpoint *reporter, const struct link *link)
{
	unsigned rank = link->node->endpoint.policy.kind == POLICY_HOST ? 1 : 0;

	if (!link->address->global && in_network_of(reporter, &link->address->network)) {
		rank += 2;
	}
	return rank;
}

/* Of the endpoints with this address in this scope, the one that comes first. */
static enum directory_match lookup_scope(const directory_t *directory,
                                         const struct directory_endpoint *reporter,
                                         const struct pr_uuid *scope_host,
                                         const struct pr_addr *addr,
                                         const struct directory_endpoint **ret_endpoint)
{
	const struct directory_endpoint *best = NULL;
	unsigned best_rank = 0;
	bool tie = false, hosts_differ = false;

	for (struct link *link = *link_chain(directory, scope_host, addr); link != NULL;
	     link = link->next) {
		const struct directory_endpoint *endpoint = &link->node->endpoint;
		if (link->address->global != (scope_host == NULL) ||
		    !pr_addr_equal(&link->address->addr, addr) ||
		    (scope_host != NULL && !pr_uuid_equal(&endpoint->policy.host_id, scope_host))) {
			continue;
		}
		unsigned rank = rank_of(reporter, link);
		hosts_differ |= best != NULL &&
		                !pr_uuid_equal(&best->policy.host_id, &endpoint->policy.host_id);
		if (best == NULL || rank > best_rank) {
			best = endpoint;
			best_rank = rank;
			tie = false;
		} else if (rank == best_rank && endpoint != best) {
			tie = true;
		}
	}
	if (best == NULL) {
		return DIRECTORY_NONE;
	}
	if (tie || hosts_differ) {
		return DIRECTORY_AMBIGUOUS;
	}
	*ret_endpoint = best;
	return DIRECTORY_FOUND;
}

static bool is_own(const struct directory_endpoint *reporter, const struct pr_addr *addr)
{
	for (size_t i = 0; i < reporter->address_count; i++) {
		if (pr_addr_equal(&reporter->addresses[i].addr, addr)) {
			return true;
		}
	}
	return false;
}

enum directory_match directory_lookup(const directory_t *directory,
                                      const struct directory_endpoint *reporter,
                                      const struct pr_addr *addr,
                                      const struct directory_endpoint **ret_endpoint)
{
	if (pr_addr_is_loopback(addr)) {
		*ret_endpoint = reporter;
		return DIRECTORY_FOUND;
	}
	reporter = directory_addressed(directory, reporter);
	if (is_own(reporter, addr)) {
		*ret_endpoint = reporter;
		return DIRECTORY_FOUND;
	}
	enum directory_match match =
		lookup_scope(directory, reporter, &reporter->policy.host_id, addr, ret_endpoint);
	if (match != DIRECTORY_NONE) {
		return match;
	}
	return lookup_scope(directory, reporter, NULL, addr, ret_endpoint);
}

static bool endpoint_covers(const struct directory_endpoint *endpoint, const struct pr_addr *addr)
{
	for (size_t i = 0; i < endpoint->address_count; i++) {
		const struct directory_address *own = &endpoint->addresses[i];
		struct pr_prefix prefix = { .addr = own->addr, .bits = own->bits };
		if (!own->global && pr_prefix_contains(&prefix, addr)) {
			return true;
		}
	}
	return false;
}

/* Does an endpoint of this host have exactly this address in a container network? */
static bool has_local(const directory_t *directory, const struct pr_uuid *host,
                      const struct pr_addr *addr)
{
	for (struct link *link = *link_chain(directory, host, addr); link != NULL;
	     link = link->next) {
		if (!link->address->global && pr_addr_equal(&link->address->addr, addr) &&
		    pr_uuid_equal(&link->node->endpoint.policy.host_id, host)) {
			return true;
		}
	}
	return false;
}

bool directory_is_local(const directory_t *directory, const struct pr_uuid *host,
                        const struct pr_addr *addr)
{
	if (has_local(directory, host, addr)) {
		return true;
	}
	/* The host's own address in each of its networks carries the network's prefix. */
	const struct directory_endpoint *endpoint = directory_find(directory, host);
	return endpoint != NULL && endpoint_covers(endpoint, addr);
}

bool directory_is_own(const directory_t *directory, const struct pr_uuid *host,
                      const struct pr_addr *addr)
{
	bool found = pr_addr_is_loopback(addr) || has_local(directory, host, addr);

	for (struct link *link = *link_chain(directory, NULL, addr); link != NULL;
	     link = link->next) {
		if (!link->address->global || !pr_addr_equal(&link->address->addr, addr)) {
			continue;
		}
		if (!pr_uuid_equal(&link->node->endpoint.policy.host_id, host)) {
			return false;
		}
		found = true;
	}
	return found;
}
