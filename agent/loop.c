/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's one loop: what is readable, in which order, and the end of it. */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/loop.h"
#include "agent/passed.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/program.h"

#define LOG_COMPONENT "agent"
#include "base/log.h"

#define STOP_NS         (5 * PR_NS_PER_S)
#define TURN_MAX_NS     (1 * PR_NS_PER_S)
#define ORDERS_AGAIN_NS (10 * PR_NS_PER_MS)
#define REPORTS_A_TURN  256
#define CHANGES_A_TURN  64

#define WATCHED_MAX 7 /* descriptors of the loop */

/* ---- the keeper's reports ---- */

/* Its processes are known by their control groups; a named namespace's, by having none. */
static void member_take(agent_t *agent, const struct part_report *report)
{
	struct book_container container;

	if (!book_container(agent->book, &report->endpoint, &container)) {
		return;
	}
	const struct owner_member_options member = { .slot = report->slot,
		                                     .endpoint = report->endpoint,
		                                     .container_id = container.container_id,
		                                     .pid = container.pid,
		                                     .start_ticks = container.start_ticks };
	int ret = owner_member_add(agent->owner, &member);
	if (ret != PR_OK) {
		log_error("container %s: %s; its processes are nobody's", container.container_id,
		          pr_strerror(ret));
	}
}

struct begun {
	gate_t *gate;
	uint32_t slot;
};

static void namespace_take(agent_t *agent, struct part_report *report)
{
	struct book_container container = { 0 };
	const struct part_namespace space = {
		.slot = report->slot,
		.inode = report->inode,
		.endpoint = report->endpoint,
		.is_host = report->is_host,
		.guest = report->guest,
		.mode = report->mode,
		.descriptors = report->descriptors,
	};
	int diag = report->descriptors.diag;
	int ret = gate_namespace_add(agent->gate, &space);
	if (ret == PR_OK && diag >= 0) {
		(void)book_container(agent->book, &report->endpoint, &container);
		ret = owner_namespace_add(agent->owner, report->slot, report->inode, diag,
		                          report->is_host ? 0 : container.pid);
	}
	if (report->kind == PART_REPORT_OPENED) {
		member_take(agent, report);
	}
	if (ret != PR_OK) {
		log_error("namespace %llu: %s; its held packets are dropped",
		          (unsigned long long)report->inode, pr_strerror(ret));
	}
	gate_mode_set(agent->gate, &report->endpoint, report->mode);
}

static void begun_ask(const struct part_flow *flow, void *arg)
{
	const struct begun *begun = arg;

	gate_begun(begun->gate, begun->slot, flow);
}

/* A container runs before its namespace is watched: what it began until then was not seen. */
static void begun_look(agent_t *agent, const struct part_report *report, bool fresh)
{
	struct begun begun = { agent->gate, report->slot };

	if (fresh && !report->is_host && !report->adopted) {
		owner_begun(agent->owner, report->slot, begun_ask, &begun);
	}
}

static void report_take(agent_t *agent, struct part_report *report)
{
	bool fresh = report->descriptors.diag >= 0;
	char id[PR_UUID_TEXT_BYTES];

	switch (report->kind) {
	case PART_REPORT_OPENED:
		log_info("watching %s %s in %s%s",
		         !report->is_host ? "container"
		         : report->guest  ? "container in the host's namespace"
		                          : "host",
		         pr_uuid_format(&report->endpoint, id),
		         codec_enum_text(CODEC_SET_MODE, report->mode),
		         report->adopted ? ", rules adopted" : "");
		namespace_take(agent, report);
		begun_look(agent, report, fresh);
		break;
	case PART_REPORT_MODE:
		namespace_take(agent, report);
		break;
	case PART_REPORT_PASSED: {
		struct codec_event event;
		struct part_owner found;
		passed_event(report, agent->owner, pr_clock_wall_ns(), &event, &found);
		struct pr_uuid whose = gate_endpoint_of(agent->gate, report->slot, &found);
		passed_endpoint_set(report, &whose, &event);
		if (gate_lifeline_fits(agent->gate, report->slot, &report->flow)) {
			event.decided_by = CODEC_DECIDED_BY_BUILT_IN;
		}
		speaker_event(agent->speaker, &event);
		break;
	}
	case PART_REPORT_LEFT:
		owner_member_remove(agent->owner, &report->endpoint);
		gate_endpoint_remove(agent->gate, &report->endpoint);
		break;
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
			if (change.engine_up || change.expected) {
				log_info("%s", change.text);
			} else {
				log_warn("%s", change.text);
			}
		}
		book_inventory(agent->book, &change);
	}
}

/* ---- the loop ---- */

int agent_loop_open(agent_t *agent)
{
	const int watched[WATCHED_MAX] = { agent->signal_fd,
		                           gate_fd(agent->gate),
		                           speaker_fd(agent->speaker),
		                           keeper_thread_fd(agent->keeper),
		                           inventory_fd(agent->inventory),
		                           agent->timer.fd,
		                           agent->opener != NULL ? opener_fd(agent->opener) : -1 };

	agent->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (agent->epoll_fd < 0) {
		return -errno;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(watched) && watched[i] >= 0; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = watched[i] };
		if (epoll_ctl(agent->epoll_fd, EPOLL_CTL_ADD, watched[i], &event) != 0) {
			return -errno;
		}
	}
	return PR_OK;
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

/* Bus and kernel, in the one order that both loops keep. True: packets are left. @bus: it has news.
 */
static bool traffic_turn(agent_t *agent, bool packets, bool bus)
{
	bool due = packets || gate_timeout_ns(agent->gate) <= pr_clock_monotonic_ns();
	bool more = due && gate_turn(agent->gate);

	speaker_turn(agent->speaker, pr_clock_monotonic_ns(), bus);
	for (size_t i = 0; i < agent->verdict_count; i++) {
		gate_verdict(agent->gate, &agent->verdicts[i]);
	}
	agent->verdict_count = 0;
	speaker_flush(agent->speaker);
	gate_flush(agent->gate);
	speaker_tell(agent->speaker);
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

/* How the loop may sleep, for epoll: not at all, or until the timer rings. */
static int sleep_ms(agent_t *agent, bool more)
{
	uint64_t now_ns = pr_clock_monotonic_ns();
	uint64_t due_ns = now_ns + (outbox_empty(agent->orders) ? TURN_MAX_NS : ORDERS_AGAIN_NS);
	uint64_t gate_ns = gate_timeout_ns(agent->gate);
	uint64_t speaker_ns = speaker_timeout_ns(agent->speaker);

	due_ns = gate_ns < due_ns ? gate_ns : due_ns;
	due_ns = speaker_ns < due_ns ? speaker_ns : due_ns;
	if (more || due_ns <= now_ns) {
		return 0;
	}
	/* Without the timer it turns too often, never too late. */
	return loop_timer_set(&agent->timer, due_ns) == PR_OK ? -1 : 1;
}

/* The eBPF programs are in the kernel, or never will be. */
static void opener_drain(agent_t *agent)
{
	char why[ORIGIN_WHY_BYTES] = "";
	origin_t *origin = NULL;

	int ret = opener_take(agent->opener, &origin, why);
	if (ret == PR_EAGAIN) {
		return;
	}
	agent_origin_set(agent, origin, ret != PR_OK && why[0] == '\0' ? pr_strerror(ret) : why);
	(void)epoll_ctl(agent->epoll_fd, EPOLL_CTL_DEL, opener_fd(agent->opener), NULL);
	opener_destroy(&agent->opener);
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
	if (is_ready(events, count, agent->timer.fd)) {
		loop_timer_rang(&agent->timer);
	}
	*more = traffic_turn(agent, *more || is_ready(events, count, gate_fd(agent->gate)),
	                     is_ready(events, count, speaker_fd(agent->speaker)));
	if (is_ready(events, count, keeper_thread_fd(agent->keeper)) && !reports_drain(agent) &&
	    !agent->keeper_stopped) {
		log_error("the keeper's thread has ended: nothing would set rules any more");
		return PR_EIO;
	}
	if (is_ready(events, count, inventory_fd(agent->inventory))) {
		inventory_drain(agent);
	}
	if (agent->opener != NULL && is_ready(events, count, opener_fd(agent->opener))) {
		opener_drain(agent);
	}
	if (agent->cpus != NULL) {
		cpus_turn(agent->cpus, pr_clock_monotonic_ns());
	}
	book_turn(agent->book, pr_clock_monotonic_ns());
	agent_reach_say(reach_look(&agent->reach, pr_clock_monotonic_ns()));
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
	agent_order_give(agent, &order);
	while (ret == PR_OK && !agent->keeper_stopped && pr_clock_monotonic_ns() < end_ns) {
		outbox_send(agent->orders, agent->keeper);
		(void)reports_drain(agent);
		more = traffic_turn(agent, /* packets= */ true, /* bus= */ true);
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
	agent_lifeline_order(agent);
	book_start(agent->book);
	outbox_send(agent->orders, agent->keeper);
	pr_program_notify("READY=1");
	log_info("ready");
	while (ret == PR_OK && !agent->stop_asked) {
		ret = turn(agent, &more);
	}
	return ret == PR_OK ? stop(agent) : ret;
}
