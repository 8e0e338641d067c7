/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/book.h"
#include "agent/gate/gate.h"
#include "agent/internal.h"
#include "agent/inventory/inventory.h"
#include "agent/keeper/owner.h"
#include "agent/keeper/thread.h"
#include "agent/outbox.h"
#include "agent/passed.h"
#include "agent/reach.h"
#include "agent/speaker/speaker.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/program.h"

#define LOG_COMPONENT  "agent"
#define STOP_NS        (5 * PR_NS_PER_S)
#define TURN_MAX_MS    1000
#define REPORTS_A_TURN 256
#define CHANGES_A_TURN 64

#define WATCHED_MAX 5 /* descriptors of the loop */

struct agent {
	const struct agent_config *config;
	struct agent_identity identity;
	bus_context_t *context;
	speaker_t *speaker;
	gate_kernel_real_t *kernel;
	gate_t *gate;
	owner_t *owner;
	keeper_thread_t *keeper;
	outbox_t *orders; /* those that the keeper could not take yet */
	inventory_t *inventory;
	book_t *book;
	struct part_counters kernel_counters[PART_NAMESPACE_MAX];
	struct reach reach;
	struct codec_verdict *verdicts; /* come in while the speaker turns, for the gate after it */
	size_t verdict_count;
	uint64_t revision; /* logged last, once revision_said */
	bool revision_said;
	int signal_fd, epoll_fd;
	bool stop_asked, keeper_stopped;
};

/* ---- what the parts say, and to whom ---- */

static void order_give(void *context, const struct part_order *order)
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

static void lifeline_order(agent_t *agent)
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
	order_give(agent, &order);
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
	lifeline_order(agent);
	book_state(agent->book, state);
	gate_decided_forget(agent->gate);
}

static void on_services(void *context)
{
	lifeline_order(context);
}

static void reach_say(enum reach_news news)
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
	reach_say(reach_set(&agent->reach, reachable, pr_clock_monotonic_ns()));
	gate_controller_set(agent->gate, reachable);
}

static void gate_ask(void *context, const struct codec_request *request)
{
	speaker_request(((agent_t *)context)->speaker, request, pr_clock_monotonic_ns());
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

/* ---- counters for `portreeve status` ---- */

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

static void on_counters(void *context, codec_doc_t *doc)
{
	const agent_t *agent = context;
	struct gate_counters gate;
	struct owner_counters owner;
	size_t count;

	gate_counters(agent->gate, &gate);
	const struct gate_counter_row *rows = gate_counter_rows(&count);
	for (size_t i = 0; i < count; i++) {
		uint64_t value;
		memcpy(&value, (const char *)&gate + rows[i].offset, sizeof(value));
		codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "%s %llu", rows[i].name,
		               (unsigned long long)value);
	}
	owner_counters(agent->owner, &owner);
	const struct owner_counter_row *owner_rows = owner_counter_rows(&count);
	for (size_t i = 0; i < count; i++) {
		uint64_t value;
		memcpy(&value, (const char *)&owner + owner_rows[i].offset, sizeof(value));
		codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "%s %llu", owner_rows[i].name,
		               (unsigned long long)value);
	}
	counters_add_kernel(agent, doc);
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "endpoints %zu", book_count(agent->book));
	codec_doc_addf(doc, CODEC_STATE_GET_COUNTERS, "questions_open %u",
	               gate_pending(agent->gate));
}

/* ---- the keeper's reports ---- */

static void namespace_take(agent_t *agent, struct part_report *report)
{
	const struct part_namespace space = {
		.slot = report->slot,
		.inode = report->inode,
		.endpoint = report->endpoint,
		.is_host = report->is_host,
		.mode = report->mode,
		.descriptors = report->descriptors,
	};
	int diag = report->descriptors.diag;
	int ret = gate_namespace_add(agent->gate, &space);
	if (ret == PR_OK && diag >= 0) {
		ret = owner_namespace_add(agent->owner, report->slot, report->inode, diag,
		                          book_pid(agent->book, &report->endpoint));
	}
	if (ret != PR_OK) {
		log_error("namespace %llu: %s; its held packets are dropped",
		          (unsigned long long)report->inode, pr_strerror(ret));
	}
	gate_mode_set(agent->gate, &report->endpoint, report->mode);
}

static void report_take(agent_t *agent, struct part_report *report)
{
	char id[PR_UUID_TEXT_BYTES];

	switch (report->kind) {
	case PART_REPORT_OPENED:
		log_info("watching %s %s in %s%s", report->is_host ? "host" : "container",
		         pr_uuid_format(&report->endpoint, id),
		         codec_enum_text(CODEC_SET_MODE, report->mode),
		         report->adopted ? ", rules adopted" : "");
		namespace_take(agent, report);
		break;
	case PART_REPORT_MODE:
		namespace_take(agent, report);
		break;
	case PART_REPORT_PASSED: {
		struct codec_event event;
		passed_event(report, agent->owner, pr_clock_wall_ns(), &event);
		if (gate_lifeline_fits(agent->gate, report->slot, &report->flow)) {
			event.decided_by = CODEC_DECIDED_BY_BUILT_IN;
		}
		speaker_event(agent->speaker, &event);
		break;
	}
	case PART_REPORT_CLOSED:
		owner_namespace_remove(agent->owner, report->slot);
		gate_namespace_remove(agent->gate, report->slot);
		gate_endpoint_remove(agent->gate, &report->endpoint);
		break;
	case PART_REPORT_FAILED:
		if (book_report(agent->book, report)) {
			log_error("rules of %s: %s (%s)", pr_uuid_format(&report->endpoint, id),
			          report->text, pr_strerror(report->error));
		}
		return;
	case PART_REPORT_COUNTERS:
		if (report->slot < PART_NAMESPACE_MAX) {
			agent->kernel_counters[report->slot] = report->counters;
		}
		break;
	case PART_REPORT_STOPPED:
		agent->keeper_stopped = true;
		break;
	}
	(void)book_report(agent->book, report);
}

static bool reports_drain(agent_t *agent)
{
	struct part_report report;

	for (unsigned i = 0; i < REPORTS_A_TURN; i++) {
		int ret = keeper_thread_report(agent->keeper, &report);
		if (ret != PR_OK) {
			return ret == PR_EAGAIN;
		}
		report_take(agent, &report);
	}
	return true;
}

static void inventory_drain(agent_t *agent)
{
	struct inventory_change change;

	for (unsigned i = 0;
	     i < CHANGES_A_TURN && inventory_next(agent->inventory, &change) == PR_OK; i++) {
		if (change.kind == INVENTORY_ENGINE) {
			if (change.engine_up) {
				log_info("the Docker engine answers");
			} else {
				log_warn("no Docker engine, trying on: %s", change.text);
			}
		}
		book_inventory(agent->book, &change);
	}
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
		.counters = on_counters,
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
	const struct book_outlet book = {
		.context = agent,
		.order = order_give,
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
		ret = book_new(&agent->identity.id, agent_config_docker_socket(config)[0] != '\0',
		               &book, &agent->book);
	}
	return ret;
}

static int gate_open(agent_t *agent)
{
	struct owner_config owner;
	struct gate_config config;
	struct gate_kernel kernel;

	owner_config_default(&owner);
	int ret = owner_new(&owner, &agent->owner);
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
	const struct gate_outlet outlet = { agent, gate_ask, gate_drop, gate_event };
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
	const struct inventory_options options = {
		.docker_socket = agent_config_docker_socket(agent->config),
		.host = agent->identity.id,
		.host_name = name,
		.agent_version = PACKAGE_VERSION,
	};
	return inventory_start(&options, &agent->inventory);
}

static int loop_open(agent_t *agent)
{
	const int watched[WATCHED_MAX] = { agent->signal_fd, gate_fd(agent->gate),
		                           speaker_fd(agent->speaker),
		                           keeper_thread_fd(agent->keeper),
		                           inventory_fd(agent->inventory) };

	agent->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (agent->epoll_fd < 0) {
		return -errno;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(watched); i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = watched[i] };
		if (epoll_ctl(agent->epoll_fd, EPOLL_CTL_ADD, watched[i], &event) != 0) {
			return -errno;
		}
	}
	return PR_OK;
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
	agent->epoll_fd = -1;
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
		ret = loop_open(agent);
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
	gate_kernel_real_destroy(&agent->kernel);
	book_destroy(&agent->book);
	speaker_destroy(&agent->speaker);
	bus_context_destroy(&agent->context);
	pr_fd_close(&agent->epoll_fd);
	agent_identity_wipe(&agent->identity);
	free(agent->verdicts);
	free(agent);
	*agent_p = NULL;
}

static void signals_read(agent_t *agent)
{
	struct signalfd_siginfo info;

	while (read(agent->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
			agent->stop_asked = true;
		}
	}
}

/* Bus and kernel, in the one order that both loops keep. True: packets are left. */
static bool traffic_turn(agent_t *agent, bool packets)
{
	bool due = packets || gate_timeout_ns(agent->gate) <= pr_clock_monotonic_ns();
	bool more = due && gate_turn(agent->gate);

	speaker_turn(agent->speaker, pr_clock_monotonic_ns());
	for (size_t i = 0; i < agent->verdict_count; i++) {
		gate_verdict(agent->gate, &agent->verdicts[i]);
	}
	agent->verdict_count = 0;
	speaker_flush(agent->speaker);
	gate_flush(agent->gate);
	return more;
}

static bool is_ready(const struct epoll_event *events, int count, int fd)
{
	for (int i = 0; i < count; i++) {
		if (events[i].data.fd == fd) {
			return true;
		}
	}
	return false;
}

/* Milliseconds that the loop may sleep. */
static int sleep_ms(const agent_t *agent, bool more)
{
	uint64_t now_ns = pr_clock_monotonic_ns();
	uint64_t gate_ns = gate_timeout_ns(agent->gate);
	uint64_t speaker_ns = speaker_timeout_ns(agent->speaker);
	uint64_t due_ns = gate_ns < speaker_ns ? gate_ns : speaker_ns;

	if (more || due_ns <= now_ns) {
		return 0;
	}
	uint64_t wait_ms = (due_ns - now_ns) / PR_NS_PER_MS + 1;
	if (!outbox_empty(agent->orders) && wait_ms > 10) {
		return 10;
	}
	return wait_ms > TURN_MAX_MS ? TURN_MAX_MS : (int)wait_ms;
}

/* What is not readable is not touched: each look would be a system call, each turn. */
static int turn(agent_t *agent, bool *more)
{
	struct epoll_event events[WATCHED_MAX];

	int count = epoll_wait(agent->epoll_fd, events, WATCHED_MAX, sleep_ms(agent, *more));
	if (count < 0 && errno != EINTR) {
		return -errno;
	}
	if (is_ready(events, count, agent->signal_fd)) {
		signals_read(agent);
	}
	*more = traffic_turn(agent, *more || is_ready(events, count, gate_fd(agent->gate)));
	if (is_ready(events, count, keeper_thread_fd(agent->keeper)) && !reports_drain(agent) &&
	    !agent->keeper_stopped) {
		log_error("the keeper's thread has ended: nothing would set rules any more");
		return PR_EIO;
	}
	if (is_ready(events, count, inventory_fd(agent->inventory))) {
		inventory_drain(agent);
	}
	book_turn(agent->book, pr_clock_monotonic_ns());
	reach_say(reach_look(&agent->reach, pr_clock_monotonic_ns()));
	outbox_send(agent->orders, agent->keeper);
	return PR_OK;
}

/* Rules of namespaces in observe are taken out; answers go on meanwhile. */
static int stop(agent_t *agent)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + STOP_NS;
	bool more = true;
	int ret = PR_OK;

	pr_program_notify("STOPPING=1");
	log_info(
		"stopping; rules in enforce stay, new connections there drop until an agent comes");
	speaker_hurry(agent->speaker);
	inventory_destroy(&agent->inventory);
	const struct part_order order = { .kind = PART_ORDER_STOP, .remove = true };
	order_give(agent, &order);
	while (ret == PR_OK && !agent->keeper_stopped && pr_clock_monotonic_ns() < end_ns) {
		outbox_send(agent->orders, agent->keeper);
		(void)reports_drain(agent);
		more = traffic_turn(agent, /* packets= */ true);
		if (!more) {
			struct epoll_event event;
			(void)epoll_wait(agent->epoll_fd, &event, 1, 10);
		}
	}
	if (!agent->keeper_stopped) {
		log_warn("the keeper did not stop in time; rules may be left: run portreeve-agent "
		         "--remove-rules");
	}
	return ret;
}

int agent_run(agent_t *agent)
{
	bool more = false;
	int ret = PR_OK;

	/* The bus's own packets are exempt before the first rule stands. */
	lifeline_order(agent);
	book_start(agent->book);
	outbox_send(agent->orders, agent->keeper);
	pr_program_notify("READY=1");
	log_info("ready");
	while (ret == PR_OK && !agent->stop_asked) {
		ret = turn(agent, &more);
	}
	return ret == PR_OK ? stop(agent) : ret;
}
