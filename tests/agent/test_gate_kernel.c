/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * The gate against the real kernel: two namespaces, the keeper's rules in the left one, and a
 * policy of three lines in place of the bus.
 */

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/gate/gate.h"
#include "agent/keeper/keeper.h"
#include "agent/keeper/owner.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/agent/world.h"
#include "tests/tap.h"

#define PORT_ALLOW  8001
#define PORT_DENY   8002
#define PORT_REJECT 8003
#define PORT_SILENT 8004

struct stage {
	struct world world;
	struct keeper_config config;
	keeper_t *keeper;
	gate_kernel_real_t *kernel;
	gate_t *gate;
	struct codec_verdict verdicts[256];
	size_t verdict_count;
	struct codec_event events[256];
	size_t event_count;
	struct codec_request last;
	owner_t *owner; /* NULL: nobody is asked who it was */
	unsigned int asked, known;
	int diag;
};

static struct stage stage;

static void on_ask(void *context, const struct codec_request *request)
{
	(void)context;
	stage.last = *request;
	stage.asked++;
	stage.known += request->from_state == CODEC_KNOWN_KNOWN;
	if (request->dst_port == PORT_SILENT || stage.verdict_count == 256) {
		return;
	}
	stage.verdicts[stage.verdict_count++] = (struct codec_verdict){
		.id = request->id,
		.action = request->dst_port == PORT_DENY     ? CODEC_ACTION_DENY
		          : request->dst_port == PORT_REJECT ? CODEC_ACTION_REJECT
		                                             : CODEC_ACTION_ALLOW,
		.mode = request->held ? CODEC_MODE_ENFORCE : CODEC_MODE_OBSERVE,
		.rule = request->dst_port,
	};
}

static void on_notice(void *context, const struct codec_notice *notice)
{
	(void)context;
	(void)notice;
}

static void on_drop(void *context, uint64_t id)
{
	(void)context;
	(void)id;
}

static void on_event(void *context, const struct codec_event *event)
{
	(void)context;
	/* The kernel's own multicast reports come when they like. */
	if (event->proto == IPPROTO_TCP && stage.event_count < 256) {
		stage.events[stage.event_count++] = *event;
	}
}

static void on_initiator(void *context, uint32_t slot, const struct part_flow *flow,
                         uint32_t uid_hint, struct part_owner *ret_owner)
{
	(void)context;
	if (stage.owner != NULL) {
		owner_initiator(stage.owner, slot, flow, uid_hint, ret_owner);
		return;
	}
	*ret_owner = (struct part_owner){ .uid = uid_hint, .unknown = CODEC_UNKNOWN_NOT_TRIED };
}

static void on_listener(void *context, uint32_t slot, const struct part_flow *flow,
                        struct part_owner *ret_owner)
{
	on_initiator(context, slot, flow, CODEC_NO_UID, ret_owner);
}

/* What else happened, for whoever reads a failure. */
static void events_print(void)
{
	for (size_t i = 0; i < stage.event_count; i++) {
		const struct codec_event *event = &stage.events[i];
		char dst[PR_ADDR_TEXT_BYTES];
		printf("# event %zu: proto %u to %s %u, verdict %u, reporter %u, decided by %u\n",
		       i, event->proto, pr_addr_format(&event->dst, dst), event->dst_port,
		       event->verdict, event->reporter, event->decided_by);
	}
}

/* Let the gate work until @p fd is ready for @p events or the time is over. */
static bool work(int fd, short events, int wait_ms)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + (uint64_t)wait_ms * PR_NS_PER_MS;

	for (;;) {
		struct pollfd fds[] = { { .fd = gate_fd(stage.gate), .events = POLLIN },
			                { .fd = fd, .events = events } };
		(void)poll(fds, fd >= 0 ? 2 : 1, 5);
		(void)gate_turn(stage.gate);
		for (size_t i = 0; i < stage.verdict_count; i++) {
			gate_verdict(stage.gate, &stage.verdicts[i]);
		}
		stage.verdict_count = 0;
		gate_flush(stage.gate);
		if (fd >= 0 && poll(&fds[1], 1, 0) == 1) {
			return true;
		}
		if (pr_clock_monotonic_ns() >= end_ns) {
			return false;
		}
	}
}

/* 0, or the error of a connection tried for @p wait_ms; ETIMEDOUT when nothing came back. */
static int try_connect(int space, const char *ip, uint16_t port, int wait_ms)
{
	struct sockaddr_storage address;
	socklen_t bytes = end_address(ip, port, &address);
	int fd = world_socket(space, address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int error = ETIMEDOUT;
	socklen_t error_bytes = sizeof(error);

	if (connect(fd, (const struct sockaddr *)&address, bytes) == 0) {
		error = 0;
	} else if (work(fd, POLLOUT, wait_ms)) {
		(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes);
	}
	(void)close(fd);
	return error;
}

static int add_namespace(uint8_t mode)
{
	struct keeper_error error;
	struct part_namespace space = {
		.slot = 1,
		.endpoint = { .bytes = { 1 } },
		.is_host = true,
		.mode = mode,
		.descriptors = { .queue = -1, .log = -1, .diag = -1, .conntrack = -1 },
	};
	int failed = keeper_socket_open(stage.keeper, KEEPER_SOCKET_DIAG, 0,
	                                &space.descriptors.diag, &error);
	if (failed != PR_OK) {
		printf("# %s\n", error.text);
		return failed;
	}
	stage.diag = space.descriptors.diag;
	failed = mode == CODEC_MODE_ENFORCE
	                 ? keeper_socket_open(stage.keeper, KEEPER_SOCKET_QUEUE, 0,
	                                      &space.descriptors.queue, &error)
	                 : keeper_socket_open(stage.keeper, KEEPER_SOCKET_LOG, 0,
	                                      &space.descriptors.log, &error);
	if (failed == PR_OK) {
		failed = keeper_socket_open(stage.keeper, KEEPER_SOCKET_CONNTRACK, 0,
		                            &space.descriptors.conntrack, &error);
	}
	if (failed == PR_OK) {
		failed = gate_namespace_add(stage.gate, &space);
	}
	if (failed == PR_OK) {
		failed = keeper_state_set(
			stage.keeper, mode == CODEC_MODE_ENFORCE ? KEEPER_ENFORCE : KEEPER_OBSERVE,
			NULL, NULL, &error);
	}
	if (failed != PR_OK) {
		printf("# %s\n", error.text);
	}
	return failed;
}

static bool event_is(size_t index, uint8_t verdict, uint16_t port, uint8_t reporter)
{
	return stage.event_count > index && stage.events[index].verdict == verdict &&
	       stage.events[index].dst_port == port && stage.events[index].reporter == reporter;
}

static void test_enforce(const char *v, const char *left, const char *right)
{
	int out = end_listen(stage.world.right, SOCK_STREAM, right, PORT_ALLOW);
	int in = end_listen(stage.world.left, SOCK_STREAM, left, PORT_ALLOW);

	stage.event_count = 0;
	ok(try_connect(stage.world.left, right, PORT_ALLOW, 900) == 0, "%s out, allowed", v);
	ok(event_is(0, CODEC_EVENT_VERDICT_ALLOWED, PORT_ALLOW, CODEC_REPORTER_INITIATOR) &&
	           stage.event_count == 1 && stage.events[0].latency_us < 900000,
	   "%s: its event, %u us", v, stage.events[0].latency_us);
	ok(stage.last.from_uid == 0, "%s: the kernel says whose socket it is", v);
	stage.event_count = 0;
	ok(try_connect(stage.world.right, left, PORT_ALLOW, 900) == 0, "%s in, allowed", v);
	ok(event_is(0, CODEC_EVENT_VERDICT_ALLOWED, PORT_ALLOW, CODEC_REPORTER_TERMINATOR),
	   "%s: its event", v);
	stage.event_count = 0;
	ok(try_connect(stage.world.left, right, PORT_DENY, 1500) == ETIMEDOUT, "%s out, denied", v);
	if (!ok(event_is(0, CODEC_EVENT_VERDICT_DENIED, PORT_DENY, CODEC_REPORTER_INITIATOR) &&
	                stage.event_count == 1,
	        "%s: one event though the SYN came again", v)) {
		events_print();
	}
	stage.event_count = 0;
	ok(try_connect(stage.world.left, right, PORT_REJECT, 900) == ECONNREFUSED,
	   "%s out, rejected at once", v);
	ok(event_is(0, CODEC_EVENT_VERDICT_REJECTED, PORT_REJECT, CODEC_REPORTER_INITIATOR),
	   "%s: its event", v);
	(void)close(out);
	(void)close(in);
}

static void test_loopback(void)
{
	int listener = end_listen(stage.world.left, SOCK_STREAM, "127.0.0.1", PORT_ALLOW);

	stage.event_count = 0;
	ok(try_connect(stage.world.left, "127.0.0.1", PORT_ALLOW, 900) == 0, "loopback, allowed");
	(void)work(-1, 0, 50);
	ok(stage.event_count == 1 && stage.last.end == CODEC_END_BOTH,
	   "asked once for both ends, %zu events", stage.event_count);
	(void)close(listener);
}

static void test_deadline(void)
{
	int listener = end_listen(stage.world.right, SOCK_STREAM, "10.99.0.2", PORT_SILENT);
	struct part_lost lost = { .endpoint = { .bytes = { 1 } }, .mode = PART_LOST_ALLOW };

	stage.event_count = 0;
	gate_lost_set(stage.gate, &lost);
	uint64_t start_ns = pr_clock_monotonic_ns();
	ok(try_connect(stage.world.left, "10.99.0.2", PORT_SILENT, 3000) == 0,
	   "nobody answers, lost mode allow: passes at the deadline");
	uint64_t took_ms = (pr_clock_monotonic_ns() - start_ns) / PR_NS_PER_MS;
	ok(took_ms >= 1000 && took_ms < 1500, "after %d ms of 1000", (int)took_ms);
	ok(event_is(0, CODEC_EVENT_VERDICT_ALLOWED, PORT_SILENT, CODEC_REPORTER_INITIATOR) &&
	           stage.events[0].decided_by == CODEC_DECIDED_BY_DEADLINE,
	   "recorded as decided by the deadline");
	(void)close(listener);
}

static void test_observe(void)
{
	int listener = end_listen(stage.world.right, SOCK_STREAM, "10.99.0.2", PORT_DENY);

	stage.event_count = 0;
	ok(try_connect(stage.world.left, "10.99.0.2", PORT_DENY, 900) == 0,
	   "observe lets through what policy denies");
	(void)work(-1, 0, 200);
	ok(event_is(0, CODEC_EVENT_VERDICT_WOULD_DENY, PORT_DENY, CODEC_REPORTER_INITIATOR) &&
	           stage.event_count == 1 && stage.events[0].latency_us == 0,
	   "and records would-deny");
	(void)close(listener);
}

/* Connects, one after the other, and says how many it could not. */
static pid_t crowd_start(unsigned int total)
{
	struct sockaddr_storage to;
	socklen_t bytes = end_address("10.99.0.2", PORT_ALLOW, &to);

	fflush(stdout);
	pid_t pid = fork();
	if (pid != 0) {
		return pid;
	}
	unsigned int failed = 0;
	if (setns(stage.world.left, CLONE_NEWNET) != 0) {
		_exit(100);
	}
	for (unsigned int i = 0; i < total; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		failed += connect(fd, (const struct sockaddr *)&to, bytes) != 0;
		/* No TIME_WAIT: ports come again. */
		struct linger now = { .l_onoff = 1 };
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		(void)close(fd);
	}
	_exit(failed > 99 ? 99 : (int)failed);
}

static uint64_t cpu_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * PR_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Many connections with attribution: each decided, each with its process, none lost. */
static void test_crowd(unsigned int total)
{
	struct owner_config config;
	struct stat info;
	int listener = end_listen(stage.world.right, SOCK_STREAM, "10.99.0.2", PORT_ALLOW);
	int status = -1;

	owner_config_default(&config);
	config.second_budget_ns = PR_NS_PER_S;
	(void)fstat(stage.world.left, &info);
	(void)!owner_new(&config, &stage.owner);
	(void)!owner_namespace_add(stage.owner, 1, info.st_ino, stage.diag, 0);
	stage.asked = 0;
	stage.known = 0;
	uint64_t start_ns = pr_clock_monotonic_ns();
	uint64_t start_cpu_ns = cpu_ns();
	pid_t pid = crowd_start(total);
	while (waitpid(pid, &status, WNOHANG) == 0 &&
	       pr_clock_monotonic_ns() - start_ns < 60 * PR_NS_PER_S) {
		int accepted = work(listener, POLLIN, 2) ? accept(listener, NULL, NULL) : -1;
		if (accepted >= 0) {
			(void)close(accepted);
		}
	}
	uint64_t took_ns = pr_clock_monotonic_ns() - start_ns;
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%u connections, %d failed", total,
	   WEXITSTATUS(status));
	ok(stage.asked >= total && stage.known == stage.asked, "%u asked, %u with their process",
	   stage.asked, stage.known);
	printf("# %.0f connections/s, one at a time; %.1f us of CPU each in gate and attribution\n",
	       total * 1e9 / (double)took_ns, (double)(cpu_ns() - start_cpu_ns) / total / 1000.0);
	owner_destroy(&stage.owner);
	(void)close(listener);
}

/* A process of the same namespace writes to our netlink port: nothing of it counts. */
static void test_forged(void)
{
	struct gate_counters before;
	struct gate_counters after;

	gate_counters(stage.gate, &before);
	(void)try_connect(stage.world.left, "10.99.0.2", PORT_DENY, 50);
	gate_counters(stage.gate, &after);
	ok(after.messages_malformed == 0 && after.messages_foreign == 0 && after.overruns == 0 &&
	           after.verdicts_refused == 0 && after.verdicts_unsent == 0,
	   "no message was unreadable, cut, forged, refused or lost");
}

int main(void)
{
	struct keeper_error error;
	struct gate_config config;
	struct gate_kernel kernel;
	const struct gate_attribution attribution = { .initiator = on_initiator,
		                                      .listener = on_listener };
	const struct gate_outlet outlet = {
		.ask = on_ask, .notice = on_notice, .drop = on_drop, .event = on_event
	};

	if (world_missing() != NULL) {
		skip("%s", world_missing());
		return tap_done();
	}
	if (!ok(world_open(&stage.world) == 0, "two namespaces")) {
		return tap_done();
	}
	keeper_config_default(&stage.config);
	struct keeper_place place = { .path = stage.world.left_path };
	gate_config_default(&config);
	config.deadline_ns = PR_NS_PER_S;
	if (!ok(keeper_open(&stage.config, &place, &stage.keeper, &error) == PR_OK, "keeper: %s",
	        error.text) ||
	    !ok(gate_kernel_real_new(&stage.kernel, &kernel) == PR_OK &&
	                gate_new(&config, &kernel, &attribution, &outlet, &stage.gate) == PR_OK,
	        "a gate on the real kernel")) {
		return tap_done();
	}
	gate_controller_set(stage.gate, true);
	if (ok(add_namespace(CODEC_MODE_OBSERVE) == PR_OK, "observe")) {
		test_observe();
	}
	gate_namespace_remove(stage.gate, 1);
	if (ok(add_namespace(CODEC_MODE_ENFORCE) == PR_OK, "enforce")) {
		test_enforce("IPv4", "10.99.0.1", "10.99.0.2");
		test_enforce("IPv6", "fd99::1", "fd99::2");
		test_loopback();
		test_deadline();
		test_crowd(2000);
		test_forged();
	}
	gate_destroy(&stage.gate);
	gate_kernel_real_destroy(&stage.kernel);
	keeper_destroy(&stage.keeper);
	world_close(&stage.world);
	return tap_done();
}
