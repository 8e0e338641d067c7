/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which accepted connection led to one that was opened. Pure. */
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"

/* A process that opens one connection for each that it accepts, at once, and no others. */
static bool passes_on(const struct cli_hop *hop)
{
	const char *slash = strrchr(hop->exe, '/');

	return strcmp(slash != NULL ? slash + 1 : hop->exe, "docker-proxy") == 0;
}

/* Of the same host or container and program, and in time. */
static enum cli_hop_kind kind_of(const struct cli_hop *accepted, const struct cli_hop *opened)
{
	uint64_t length_ns =
		accepted->latency_ns + (passes_on(opened) ? CLI_HOP_ONCE_NS : CLI_HOP_NS);

	if (!accepted->accepted || !opened->opened || accepted->of == opened->of ||
	    accepted->exe[0] == '\0' || strcmp(accepted->exe, opened->exe) != 0 ||
	    !pr_uuid_equal(&accepted->endpoint, &opened->endpoint) ||
	    !pr_uuid_equal(&accepted->agent, &opened->agent) ||
	    accepted->time_wall_ns > opened->time_wall_ns ||
	    opened->time_wall_ns - accepted->time_wall_ns > length_ns) {
		return CLI_HOP_NONE;
	}
	return accepted->pid != 0 && accepted->pid == opened->pid ? CLI_HOP_PROCESS
	                                                          : CLI_HOP_PROGRAM;
}

static bool is_process(const struct cli_hop *a, const struct cli_hop *b)
{
	return a->pid == b->pid && pr_uuid_equal(&a->endpoint, &b->endpoint) &&
	       pr_uuid_equal(&a->agent, &b->agent) && strcmp(a->exe, b->exe) == 0;
}

/*
 * Where each accepted connection is passed on once, those before the last moment at which all had
 * been are done with.
 */
static size_t passed_on(const struct cli_hop *hops, size_t opened)
{
	size_t first = 0, open = 0;

	for (size_t i = 0; i < opened; i++) {
		if (!is_process(&hops[i], &hops[opened])) {
			continue;
		}
		if (hops[i].accepted) {
			open++;
		} else if (hops[i].opened && open > 0 && --open == 0) {
			first = i;
		}
	}
	return first;
}

enum cli_hop_kind cli_hop_causes(const struct cli_hop *hops, size_t count, size_t opened,
                                 bool *fits, size_t *ret_count)
{
	enum cli_hop_kind best = CLI_HOP_NONE;
	size_t first =
		hops[opened].opened && passes_on(&hops[opened]) ? passed_on(hops, opened) : 0;

	*ret_count = 0;
	for (size_t i = first; i < count; i++) {
		enum cli_hop_kind kind = kind_of(&hops[i], &hops[opened]);
		best = kind > best ? kind : best;
	}
	for (size_t i = 0; i < count; i++) {
		fits[i] = best != CLI_HOP_NONE && i >= first &&
		          kind_of(&hops[i], &hops[opened]) == best;
		*ret_count += fits[i];
	}
	return best;
}
