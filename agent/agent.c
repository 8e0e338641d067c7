/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/internal.h"
#include "agent/loop.h"
#include "base/clock.h"
#include "base/err.h"

#define LOG_COMPONENT "agent"
#include "base/log.h"

/* ---- what the parts say, and to whom ---- */

void agent_order_give(void *context, const struct part_order *order)
{
	agent_t *agent = context;
	if (outbox_put(agent->orders, order) != PR_OK) {
		log_error("out of memory: an order for the keeper is lost, a restart repeats it");
	}
}

static void lifeline_add(struct part_order *order, const struct part_lifeline *entry)
{
	if (order->lifeline_count == PART_LIFELINE_MAX) {
		log_warn("more than %d lifeline entries: the rest is not exempt",
		         PART_LIFELINE_MAX);
		return;
	}
	order->lifeline[order->lifeline_count++] = *entry;
}

/* A service of the bus on this host proves itself over loopback before it serves. */
static void lifeline_add_loopback(struct part_order *order, const struct part_lifeline *inbound)
{
	static const char *const own[] = { "127.0.0.0/8", "::1/128" };

	for (size_t i = 0; i < PR_ARRAY_LEN(own); i++) {
		struct part_lifeline entry = *inbound;
		entry.inbound = false;
		if (pr_prefix_parse(own[i], &entry.peer) == PR_OK) {
			lifeline_add(order, &entry);
		}
	}
}

void agent_lifeline_order(agent_t *agent)
{
	const struct speaker_state *state = speaker_state_held(agent->speaker);
	struct part_order order = { .kind = PART_ORDER_LIFELINE };

	order.lifeline_count =
		(uint32_t)speaker_lifeline(agent->speaker, order.lifeline, PART_LIFELINE_MAX);
	for (uint32_t i = 0; state != NULL && i < state->lifeline_count; i++) {
		lifeline_add(&order, &state->lifeline[i]);
		if (state->lifeline[i].inbound) {
			lifeline_add_loopback(&order, &state->lifeline[i]);
		}
	}
	agent_order_give(agent, &order);
	gate_lifeline_set(agent->gate, order.lifeline, order.lifeline_count);
}

/* The gate answers with events, which the speaker may not be given inside its own turn. */
static void on_verdict(void *context, const struct codec_verdict *verdict)
{
	agent_t *agent = context;

	/* One for each question at most, and there are no more of those. */
	if (agent->verdict_count < agent->config->questions_max) {
		agent->verdicts[agent->verdict_count++] = *verdict;
	}
}

static void on_state(void *context, const struct speaker_state *state)
{
	agent_t *agent = context;
	/* A state comes with every container, too. */
	if (!agent->revision_said || state->revision != agent->revision) {
		log_info("policy revision %llu holds, state %llu",
		         (unsigned long long)state->revision, (unsigned long long)state->number);
	}
	agent->revision = state->revision;
	agent->revision_said = true;
	agent_lifeline_order(agent);
	book_state(agent->book, state);
	gate_decided_forget(agent->gate);
}

static void on_services(void *context)
{
	agent_lifeline_order(context);
}

void agent_reach_say(enum reach_news news)
{
	if (news == REACH_ANSWERS) {
		log_info("a worker answers");
	} else if (news == REACH_LOST) {
		log_warn("no worker answers: what is in enforce follows its lost-controller mode");
	}
}

static void on_reachable(void *context, bool reachable)
{
	agent_t *agent = context;
	agent_reach_say(reach_set(&agent->reach, reachable, pr_clock_monotonic_ns()));
	gate_controller_set(agent->gate, reachable);
}

static void gate_ask(void *context, const struct codec_request *request)
{
	speaker_request(((agent_t *)context)->speaker, request, pr_clock_monotonic_ns());
}

static void gate_notice(void *context, const struct codec_notice *notice)
{
	speaker_notice(((agent_t *)context)->speaker, notice);
}

static void gate_drop(void *context, uint64_t request_id)
{
	speaker_drop(((agent_t *)context)->speaker, request_id);
}

static void gate_event(void *context, const struct codec_event *event)
{
	speaker_event(((agent_t *)context)->speaker, event);
}

static void find_begin(void *context)
{
	owner_begin(context);
}

static void find_initiator(void *context, uint32_t slot, const struct part_flow *flow,
                           uint32_t uid_hint, struct part_owner *ret_owner)
{
	owner_initiator(context, slot, flow, uid_hint, ret_owner);
}

static void find_listener(void *context, uint32_t slot, const struct part_flow *flow,
                          struct part_owner *ret_owner)
{
	owner_listener(context, slot, flow, ret_owner);
}

static void book_endpoint(void *context, const codec_doc_t *endpoint)
{
	agent_t *agent = context;
	int ret = speaker_endpoint_put(agent->speaker, endpoint);
	if (ret != PR_OK) {
		log_error("endpoint '%s' cannot be sent: %s",
		          codec_doc_text(endpoint, CODEC_ENDPOINT_NAME), pr_strerror(ret));
	}
}

static void book_gone(void *context, const struct pr_uuid *id, bool removed)
{
	speaker_endpoint_gone(((agent_t *)context)->speaker, id, removed);
}

static void book_complete(void *context)
{
	speaker_inventory_complete(((agent_t *)context)->speaker);
}

static void book_lost(void *context, const struct part_lost *lost)
{
	gate_lost_set(((agent_t *)context)->gate, lost);
}

/* ---- life ---- */

static int parts_new(agent_t *agent)
{
	const struct agent_config *config = agent->config;
	const struct speaker_outlet outlet = {
		.context = agent,
		.verdict = on_verdict,
		.state = on_state,
		.services = on_services,
		.reachable = on_reachable,
		.counters = agent_counters_add,
	};
	const struct speaker_options options = {
		.state_folder = config->state_directory,
		.id = agent->identity.id,
		.key = &agent->identity.key,
		.authority_key = agent->identity.authority_key,
		.controllers = agent->identity.controllers,
		.controller_count = agent->identity.controller_count,
		.version = PACKAGE_VERSION,
		.source = config->source,
		.spool_max_bytes = config->spool_bytes,
		.requests_max = (uint32_t)config->questions_max,
	};
	const struct inventory_options watched = agent_config_inventory(config);
	const struct book_outlet book = {
		.context = agent,
		.order = agent_order_give,
		.endpoint = book_endpoint,
		.gone = book_gone,
		.complete = book_complete,
		.lost = book_lost,
	};
	int ret = bus_context_new(NULL, &agent->context);
	if (ret == PR_OK) {
		ret = speaker_new(agent->context, &options, &outlet, &agent->speaker);
	}
	if (ret == PR_OK) {
		ret = book_new(&agent->identity.id, inventory_sources(&watched), &book,
		               &agent->book);
	}
	return ret;
}

/* Without it attribution goes on by /proc; people are told once here, and by `portreeve status`. */
void agent_origin_set(agent_t *agent, origin_t *origin, const char *why)
{
	(void)snprintf(agent->origin_why, sizeof(agent->origin_why), "%s", why);
	agent->origin = origin;
	if (origin != NULL) {
		owner_origin_set(agent->owner, origin);
		log_info("attribution: by eBPF, else by /proc");
	} else {
		log_warn("attribution: by /proc alone, because %s; processes that end at once may "
		         "stay unknown",
		         why);
	}
}

static int origin_open(agent_t *agent)
{
	if (!agent->config->ebpf) {
		agent_origin_set(agent, NULL, "ebpf = no in the configuration");
		return PR_OK;
	}
	(void)snprintf(agent->origin_why, sizeof(agent->origin_why), "%s", "eBPF is being loaded");
	return opener_start(&agent->opener);
}

static int gate_open(agent_t *agent)
{
	struct owner_config owner;
	struct gate_config config;
	struct gate_kernel kernel;

	owner_config_default(&owner);
	const struct inventory_options watched = agent_config_inventory(agent->config);
	owner.engine = inventory_engines(&watched) > 0;
	int ret = origin_open(agent);
	if (ret == PR_OK) {
		ret = owner_new(&owner, &agent->owner);
	}
	if (ret == PR_OK) {
		ret = gate_kernel_real_new(&agent->kernel, &kernel);
	}
	if (ret != PR_OK) {
		return ret;
	}
	const struct gate_attribution attribution = { .context = agent->owner,
		                                      .begin = find_begin,
		                                      .initiator = find_initiator,
		                                      .listener = find_listener };
	const struct gate_outlet outlet = { agent, gate_ask, gate_notice, gate_drop, gate_event };
	gate_config_default(&config);
	config.mark_mask = (uint32_t)agent->config->mark_mask;
	config.mark_allow = (uint32_t)agent->config->mark_allow;
	config.mark_reject = (uint32_t)agent->config->mark_reject;
	config.deadline_ns = agent->config->deadline_ns;
	config.pending_max = (uint32_t)agent->config->questions_max;
	return gate_new(&config, &kernel, &attribution, &outlet, &agent->gate);
}

static int keeper_open_thread(agent_t *agent)
{
	struct keeper_config config;

	keeper_config_default(&config);
	config.mark_mask = (uint32_t)agent->config->mark_mask;
	config.mark_allow = (uint32_t)agent->config->mark_allow;
	config.mark_reject = (uint32_t)agent->config->mark_reject;
	config.queue_first = (uint16_t)agent->config->queue;
	config.log_group = (uint16_t)agent->config->log_group;
	config.copy_bytes = (uint32_t)agent->config->copy_bytes;
	config.receive_buffer_bytes = (uint32_t)agent->config->receive_buffer_bytes;
	int ret = outbox_new(&agent->orders);
	return ret == PR_OK ? keeper_thread_start(&config, &keeper_kernel_ops, &agent->keeper)
	                    : ret;
}

static int inventory_open(agent_t *agent, char *name, size_t size_bytes)
{
	agent_name(agent->config, name, size_bytes);
	struct inventory_options options = agent_config_inventory(agent->config);
	options.host = agent->identity.id;
	options.host_name = name;
	options.agent_version = PACKAGE_VERSION;
	return inventory_start(&options, &agent->inventory);
}

/* A convenience: without it the kernel places the threads. */
static void cpus_open(agent_t *agent)
{
	int ret = agent->config->share_cpu ? cpus_new(pr_clock_monotonic_ns(), &agent->cpus)
	                                   : PR_ENOTSUP;
	if (ret != PR_OK) {
		log_debug("threads are not put on one CPU: %s", pr_strerror(ret));
	}
}

int agent_new(const struct agent_config *config, const struct agent_identity *identity,
              int signal_fd, agent_t **ret_agent, struct agent_problem *ret_problem)
{
	char name[256];
	_cleanup_(agent_destroy) agent_t *agent = calloc(1, sizeof(*agent));
	if (agent == NULL) {
		return agent_fail(ret_problem, PR_ENOMEM, "out of memory");
	}
	agent->config = config;
	agent->identity = *identity;
	agent->signal_fd = signal_fd;
	agent->epoll_fd = agent->timer.fd = -1;
	reach_begin(&agent->reach, pr_clock_monotonic_ns());
	agent->verdicts = calloc(config->questions_max, sizeof(*agent->verdicts));
	if (agent->verdicts == NULL) {
		return agent_fail(ret_problem, PR_ENOMEM, "out of memory");
	}

	const char *what = "bus and spool";
	int ret = parts_new(agent);
	if (ret == PR_OK) {
		what = "gate";
		ret = gate_open(agent);
	}
	if (ret == PR_OK) {
		what = "keeper";
		ret = keeper_open_thread(agent);
	}
	if (ret == PR_OK) {
		what = "inventory";
		ret = inventory_open(agent, name, sizeof(name));
	}
	if (ret == PR_OK) {
		what = "main loop";
		ret = loop_timer_open(&agent->timer);
		cpus_open(agent);
	}
	if (ret == PR_OK) {
		ret = agent_loop_open(agent);
	}
	if (ret != PR_OK) {
		return agent_fail(ret_problem, ret, "%s: %s", what, pr_strerror(ret));
	}
	*ret_agent = take_ptr(agent);
	return PR_OK;
}

void agent_destroy(agent_t **agent_p)
{
	agent_t *agent = *agent_p;
	if (agent == NULL) {
		return;
	}
	inventory_destroy(&agent->inventory);
	keeper_thread_destroy(&agent->keeper);
	outbox_destroy(&agent->orders);
	gate_destroy(&agent->gate);
	owner_destroy(&agent->owner);
	opener_destroy(&agent->opener);
	origin_destroy(&agent->origin);
	gate_kernel_real_destroy(&agent->kernel);
	book_destroy(&agent->book);
	cpus_destroy(&agent->cpus); /* before the bus's threads end */
	speaker_destroy(&agent->speaker);
	bus_context_destroy(&agent->context);
	loop_timer_close(&agent->timer);
	pr_fd_close(&agent->epoll_fd);
	agent_identity_wipe(&agent->identity);
	free(agent->verdicts);
	free(agent);
	*agent_p = NULL;
}
