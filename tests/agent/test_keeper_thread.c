/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Orders to the keeper's thread and its reports, on the real kernel. */
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/thread.h"
#include "base/err.h"
#include "tests/agent/world.h"
#include "tests/tap.h"

#define RIGHT4 "10.99.0.2"
#define WAIT   1000

struct bench {
	struct world world;
	struct keeper_config config;
	keeper_thread_t *thread;
	pid_t pid; /* a process of the left namespace */
	unsigned int passed, counters;
	struct part_counters last;
};

static pid_t process_in(int space)
{
	int ready[2];
	char byte;

	if (pipe(ready) != 0) {
		return -1;
	}
	pid_t pid = fork();
	if (pid == 0) {
		if (setns(space, CLONE_NEWNET) != 0 || write(ready[1], "x", 1) != 1) {
			_exit(1);
		}
		for (;;) {
			(void)pause();
		}
	}
	(void)close(ready[1]);
	ssize_t got = read(ready[0], &byte, 1);
	(void)close(ready[0]);
	return got == 1 ? pid : -1;
}

/* Next report that is neither a flow nor counters; those are counted. */
static struct part_report next(struct bench *b, int wait_ms)
{
	struct part_report report = { .kind = PART_REPORT_STOPPED, .error = PR_ETIMEOUT };
	uint64_t end_ns = world_now_ns() + (uint64_t)wait_ms * 1000000ULL;

	while (world_now_ns() < end_ns) {
		struct pollfd wait = { .fd = keeper_thread_fd(b->thread), .events = POLLIN };
		struct part_report got;
		(void)poll(&wait, 1, 20);
		if (keeper_thread_report(b->thread, &got) != PR_OK) {
			continue;
		}
		if (got.kind == PART_REPORT_PASSED) {
			b->passed++;
		} else if (got.kind == PART_REPORT_COUNTERS) {
			b->counters++;
			b->last = got.counters;
		} else {
			return got;
		}
	}
	return report;
}

static void order(struct bench *b, const struct part_order *given)
{
	int error = keeper_thread_order(b->thread, given);
	ok(error == PR_OK, "order %d taken: %s", (int)given->kind, pr_strerror(error));
}

static void test_observe(struct bench *b, const struct pr_uuid *first, const struct pr_uuid *second,
                         int *ret_log)
{
	struct copies copies = { 0 };

	order(b, &(struct part_order){ .kind = PART_ORDER_WATCH,
	                               .endpoint = *first,
	                               .pid = b->pid,
	                               .mode = CODEC_MODE_OBSERVE });
	struct part_report report = next(b, WAIT);
	ok(report.kind == PART_REPORT_OPENED && report.mode == CODEC_MODE_OBSERVE &&
	           !report.adopted && pr_uuid_equal(&report.endpoint, first),
	   "opened in observe: %s", report.text);
	ok(report.descriptors.log >= 0 && report.descriptors.queue < 0 &&
	           report.descriptors.diag >= 0 && report.descriptors.conntrack >= 0,
	   "with a log, and no queue");
	*ret_log = report.descriptors.log;
	(void)close(report.descriptors.diag);
	(void)close(report.descriptors.conntrack);
	(void)end_talk(b->world.left, b->world.right, RIGHT4, 8080, WAIT);
	copies_read(*ret_log, 100, &copies);
	ok(copies.output == 1, "a connection is copied to that log: %u", copies.output);

	order(b, &(struct part_order){ .kind = PART_ORDER_WATCH,
	                               .endpoint = *second,
	                               .pid = b->pid,
	                               .guest = true,
	                               .mode = CODEC_MODE_OBSERVE });
	struct part_report shared = next(b, WAIT);
	ok(shared.kind == PART_REPORT_OPENED && shared.slot == report.slot &&
	           shared.descriptors.log < 0 && shared.descriptors.diag < 0,
	   "another endpoint of the same namespace shares its slot");
}

/* The rule for packets that were between our hooks when enforce began. */
static bool late_rule(const struct bench *b)
{
	return RUN(b->world.left, "sh", "-c",
	           "nft list chain inet portreeve output_save | grep -q 'ct state'") == 0;
}

static void test_enforce(struct bench *b, const struct pr_uuid *second)
{
	struct stream stream;
	struct stand_in gate;
	int listener = end_listen(b->world.right, SOCK_STREAM, RIGHT4, 9000);
	int client = end_connect(b->world.left, SOCK_STREAM, RIGHT4, 9000, WAIT);
	stream_start(&stream, client, end_accept(listener, WAIT));

	order(b, &(struct part_order){ .kind = PART_ORDER_MODE,
	                               .endpoint = *second,
	                               .mode = CODEC_MODE_ENFORCE });
	struct part_report report = next(b, 2 * WAIT);
	ok(report.kind == PART_REPORT_MODE && report.mode == CODEC_MODE_ENFORCE &&
	           report.descriptors.queue >= 0,
	   "enforce as soon as one endpoint wants it, with a queue: %s", report.text);
	ok(b->passed >= 1, "live flows were reported: %u", b->passed);
	ok(late_rule(b), "packets on their way are let by");
	for (int i = 0; i < 40 && late_rule(b); i++) {
		(void)poll(NULL, 0, 100);
	}
	ok(!late_rule(b), "and soon no more");
	stand_in_start(&gate, report.descriptors.queue, &b->config, STAND_IN_ALLOW);
	ok(stream_alive(&stream, WAIT), "a stream goes on");
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8081, WAIT) == 0 &&
	           atomic_load(&gate.packets) == 1,
	   "a new connection is asked");

	(void)RUN(b->world.left, "nft", "flush", "ruleset");
	report = next(b, 3 * WAIT);
	ok(report.kind == PART_REPORT_FAILED && report.error == PR_ECONFLICT,
	   "rules that somebody removed are set again: %s", report.text);
	atomic_store(&gate.verdict, STAND_IN_DENY);
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8082, 200) == -110, "closed again");
	ok(stream_alive(&stream, WAIT) && atomic_load(&stream.wrong) == 0, "the stream goes on");

	order(b, &(struct part_order){ .kind = PART_ORDER_MODE,
	                               .endpoint = *second,
	                               .mode = CODEC_MODE_OBSERVE });
	report = next(b, 2 * WAIT);
	ok(report.kind == PART_REPORT_MODE && report.mode == CODEC_MODE_OBSERVE, "observe: %s",
	   report.text);
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8083, WAIT) == 0, "open again");
	stand_in_stop(&gate);
	stream_stop(&stream);
	(void)close(listener);
}

/* The only endpoint in enforce goes: who stays observes, and packets are not held any more. */
static void test_leave(struct bench *b, const struct pr_uuid *first, const struct pr_uuid *second)
{
	order(b, &(struct part_order){ .kind = PART_ORDER_MODE,
	                               .endpoint = *second,
	                               .mode = CODEC_MODE_ENFORCE });
	struct part_report report = next(b, 2 * WAIT);
	ok(report.kind == PART_REPORT_MODE && report.mode == CODEC_MODE_ENFORCE && report.guest,
	   "a guest enforces: %s", report.text);
	order(b, &(struct part_order){
			 .kind = PART_ORDER_MODE, .endpoint = *first, .mode = CODEC_MODE_OBSERVE });
	report = next(b, 2 * WAIT);
	ok(report.kind == PART_REPORT_MODE && report.mode == CODEC_MODE_OBSERVE && !report.guest &&
	           pr_uuid_equal(&report.endpoint, first),
	   "in the same namespace the other's own mode is observe");
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8084, 200) == -110, "packets are held");
	order(b, &(struct part_order){ .kind = PART_ORDER_FORGET, .endpoint = *second });
	report = next(b, 2 * WAIT);
	ok(report.kind == PART_REPORT_LEFT && pr_uuid_equal(&report.endpoint, second),
	   "it leaves, the namespace stays");
	report = next(b, 2 * WAIT);
	ok(report.kind == PART_REPORT_MODE && report.mode == CODEC_MODE_OBSERVE &&
	           pr_uuid_equal(&report.endpoint, first),
	   "who stays is told: %s", report.text);
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8085, WAIT) == 0,
	   "packets are not held any more");
}

static void test_errors(struct bench *b)
{
	struct pr_uuid none = pr_uuid_new();

	order(b, &(struct part_order){ .kind = PART_ORDER_WATCH,
	                               .endpoint = none,
	                               .pid = 0x7ffffff0,
	                               .mode = CODEC_MODE_OBSERVE });
	struct part_report report = next(b, WAIT);
	ok(report.kind == PART_REPORT_FAILED && report.error == PR_ENOENT,
	   "a container that has gone: %s", report.text);
	order(b, &(struct part_order){ .kind = PART_ORDER_WATCH,
	                               .endpoint = none,
	                               .pid = b->pid,
	                               .start_ticks = 1,
	                               .mode = CODEC_MODE_OBSERVE });
	report = next(b, WAIT);
	ok(report.kind == PART_REPORT_FAILED && report.error == PR_ENOENT,
	   "a number that another process has now: %s", report.text);
}

int main(void)
{
	const char *missing = world_missing();
	if (missing != NULL) {
		skip("%s", missing);
		return tap_done();
	}
	static struct bench b;
	struct pr_uuid first = pr_uuid_new();
	struct pr_uuid second = pr_uuid_new();
	int log = -1;

	ok(world_open(&b.world) == 0, "two namespaces and a veth pair");
	b.pid = process_in(b.world.left);
	keeper_config_default(&b.config);
	int error = keeper_thread_start(&b.config, &keeper_kernel_ops, &b.thread);
	ok(error == PR_OK, "the thread: %s", pr_strerror(error));
	if (error == PR_OK && ok(b.pid > 0, "a process inside")) {
		test_observe(&b, &first, &second, &log);
		test_errors(&b);
		test_enforce(&b, &second);
		test_leave(&b, &first, &second);
		(void)next(&b, 1500);
		ok(b.counters > 0, "counters come every second: %u", b.counters);
		order(&b, &(struct part_order){ .kind = PART_ORDER_STOP, .remove = true });
		struct part_report report = next(&b, 2 * WAIT);
		ok(report.kind == PART_REPORT_STOPPED && report.error == PR_OK, "stopped");
		ok(RUN(b.world.left, "nft", "list", "table", "inet", "portreeve") != 0,
		   "and no table of ours stays");
	}
	keeper_thread_destroy(&b.thread);
	(void)close(log);
	(void)kill(b.pid, SIGKILL);
	(void)waitpid(b.pid, NULL, 0);
	world_close(&b.world);
	return tap_done();
}
