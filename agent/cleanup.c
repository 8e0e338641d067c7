/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "agent/internal.h"
#include "agent/inventory/inventory.h"
#include "agent/keeper/keeper.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#define LOG_COMPONENT "cleanup"
#define LISTING_NS    (10 * PR_NS_PER_S)

struct cleanup {
	struct keeper_config config;
	unsigned removed;
	int first_error;
};

/* From enforce a namespace goes by way of observe: a hook may not vanish under held packets. */
static void place_clean(struct cleanup *cleanup, const struct keeper_place *place, const char *name)
{
	struct keeper_error error = { "" };
	keeper_t *keeper = NULL;

	int ret = keeper_open(&cleanup->config, place, &keeper, &error);
	if (ret == PR_ENOENT) {
		return; /* a container that has gone took its rules along */
	}
	if (ret == PR_OK && keeper_state(keeper) != KEEPER_NONE) {
		ret = keeper_state_set(keeper, KEEPER_OBSERVE, NULL, NULL, &error);
		if (ret == PR_OK) {
			ret = keeper_state_set(keeper, KEEPER_NONE, NULL, NULL, &error);
		}
		if (ret == PR_OK) {
			cleanup->removed++;
			(void)printf("rules removed: %s\n", name);
		}
	}
	keeper_destroy(&keeper);
	if (ret != PR_OK) {
		log_error("rules of %s: %s", name,
		          error.text[0] != '\0' ? error.text : pr_strerror(ret));
		cleanup->first_error = cleanup->first_error != PR_OK ? cleanup->first_error : ret;
	}
}

/* True: the change's source has nothing more to list. */
static bool change_clean(struct cleanup *cleanup, struct inventory_change *change)
{
	if (change->kind == INVENTORY_UP && !change->host_network) {
		struct keeper_place place = { .pid = change->pid, .path = change->path };
		char name[160];
		(void)snprintf(name, sizeof(name), "container %.120s",
		               codec_doc_text(change->endpoint, CODEC_ENDPOINT_NAME));
		place_clean(cleanup, &place, name);
	}
	bool over = change->kind == INVENTORY_SYNCED ||
	            (change->kind == INVENTORY_ENGINE && !change->engine_up);
	inventory_change_done(change);
	return over;
}

static int containers_clean(struct cleanup *cleanup, const struct agent_config *config)
{
	_cleanup_(inventory_destroy) inventory_t *inventory = NULL;
	struct inventory_options options = agent_config_inventory(config);
	bool over[INVENTORY_SOURCE_MAX] = { false };
	size_t left = inventory_sources(&options);

	options.agent_version = PACKAGE_VERSION;
	uint64_t end_ns = pr_clock_monotonic_ns() + LISTING_NS;
	int ret = inventory_start(&options, &inventory);
	while (ret == PR_OK && left > 0 && pr_clock_monotonic_ns() < end_ns) {
		struct pollfd ready = { .fd = inventory_fd(inventory), .events = POLLIN };
		struct inventory_change change;
		(void)poll(&ready, 1, 200);
		while (inventory_next(inventory, &change) == PR_OK) {
			uint8_t source = change.source;
			if (change_clean(cleanup, &change) && !over[source]) {
				over[source] = true;
				left--;
			}
		}
	}
	return ret;
}

int agent_rules_remove(const struct agent_config *config, struct agent_problem *ret_problem)
{
	struct cleanup cleanup = { .first_error = PR_OK };
	const struct keeper_place host = { .path = "/proc/thread-self/ns/net" };

	keeper_config_default(&cleanup.config);
	cleanup.config.mark_mask = (uint32_t)config->mark_mask;
	cleanup.config.mark_allow = (uint32_t)config->mark_allow;
	cleanup.config.mark_reject = (uint32_t)config->mark_reject;
	cleanup.config.queue_first = (uint16_t)config->queue;
	cleanup.config.log_group = (uint16_t)config->log_group;
	cleanup.config.host = true;
	place_clean(&cleanup, &host, "this host");
	cleanup.config.host = false;
	int ret = containers_clean(&cleanup, config);
	if (ret != PR_OK) {
		return agent_fail(ret_problem, ret, "list of containers: %s", pr_strerror(ret));
	}
	if (cleanup.first_error != PR_OK) {
		return agent_fail(ret_problem, cleanup.first_error,
		                  "some rules could not be removed, see above");
	}
	if (cleanup.removed == 0) {
		(void)printf("no rules of ours were there\n");
	}
	return PR_OK;
}
