/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of state on the real kernel under load, with translation, and with others at work. */
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/agent/bench.h"
#include "tests/tap.h"

/* Connections one after the other through every change of state: not one fails or waits long. */
struct churn {
	struct bench *bench;
	atomic_bool stop;
	unsigned int done, failed;
	uint64_t slowest_ns;
};

static void *churn_main(void *arg)
{
	struct churn *churn = arg;
	while (!atomic_load(&churn->stop)) {
		uint16_t port = (uint16_t)(20000 + churn->done % 1000);
		uint64_t start_ns = world_now_ns();
		const char *ip = churn->done % 2 == 0 ? RIGHT4 : RIGHT6;
		int error = churn->done % 4 < 2
		                    ? end_talk(churn->bench->world.left, churn->bench->world.right,
		                               ip, port, WAIT)
		                    : end_datagram(churn->bench->world.left,
		                                   churn->bench->world.right, ip, port, WAIT);
		uint64_t took_ns = world_now_ns() - start_ns;
		churn->slowest_ns = took_ns > churn->slowest_ns ? took_ns : churn->slowest_ns;
		churn->failed += error < 0;
		churn->done++;
	}
	return NULL;
}

/* Tcp: RetransSegs is the 12th number of the second line that begins with "Tcp:". */
static unsigned int retransmissions(int space)
{
	char text[8192];
	world_read(space, "/proc/thread-self/net/snmp", text, sizeof(text));
	const char *line = strstr(text, "\nTcp:");
	line = line == NULL ? NULL : strstr(line + 1, "\nTcp:");
	for (int i = 0; i < 12 && line != NULL; i++) {
		line = strchr(line + 1, ' ');
	}
	return line == NULL ? 1000000 : (unsigned int)strtoul(line, NULL, 10);
}

static void test_churn(struct bench *b)
{
	struct churn churn = { .bench = b };
	pthread_t thread;
	int error = PR_OK;
	unsigned int again = retransmissions(b->world.left) + retransmissions(b->world.right);

	bench_verdict_set(b, STAND_IN_ALLOW);
	(void)pthread_create(&thread, NULL, churn_main, &churn);
	for (int i = 0; i < 5 && error == PR_OK; i++) {
		error = keeper_state_set(b->keeper, KEEPER_OBSERVE, NULL, NULL, &b->error);
		(void)poll(NULL, 0, 50);
		if (error == PR_OK) {
			error = keeper_state_set(b->keeper, KEEPER_ENFORCE, NULL, NULL, &b->error);
		}
		(void)poll(NULL, 0, 50);
	}
	atomic_store(&churn.stop, true);
	(void)pthread_join(thread, NULL);
	ok(error == PR_OK, "observe and enforce five times: %s", b->error.text);
	again = retransmissions(b->world.left) + retransmissions(b->world.right) - again;
	ok(again == 0, "%u segments were sent again", again);
	ok(churn.failed == 0 && churn.slowest_ns < 500000000,
	   "%u connections meanwhile, %u failed, slowest %.1f ms", churn.done, churn.failed,
	   (double)churn.slowest_ns / 1e6);
}

/* Somebody flushes everything: noticed, and closed again without cutting live flows. */
static void test_flushed(struct bench *b)
{
	struct keeper_counters counters;

	(void)RUN(b->world.left, "nft", "flush", "ruleset");
	ok(keeper_counters_read(b->keeper, &counters, &b->error) == PR_ENOENT &&
	           keeper_state(b->keeper) == KEEPER_NONE,
	   "a flushed table is noticed: %s", b->error.text);
	bench_set(b, KEEPER_ENFORCE, "enforce again");
	ok(stream_alive(&b->out4, WAIT) && stream_alive(&b->in6, WAIT), "streams go on");
	bench_verdict_set(b, STAND_IN_DENY);
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8700, SHORT) == -ETIMEDOUT,
	   "new ones are asked again");
}

static void test_foreign_table(struct bench *b)
{
	struct keeper_place place = { .path = b->world.left_path };

	keeper_destroy(&b->keeper);
	(void)RUN(b->world.left, "nft", "delete table inet portreeve; add table inet portreeve");
	ok(keeper_open(&b->config, &place, &b->keeper, &b->error) == PR_EBUSY,
	   "a table of that name by somebody else: %s", b->error.text);
	place.path = "/etc/passwd";
	ok(keeper_open(&b->config, &place, &b->keeper, &b->error) == PR_ENOENT,
	   "a file that is no namespace: %s", b->error.text);
	place = (struct keeper_place){ .pid = 0x7ffffff0 };
	ok(keeper_open(&b->config, &place, &b->keeper, &b->error) == PR_ENOENT,
	   "a process that is gone: %s", b->error.text);
}

/* On a host: tracking was on, flows are translated, others are only forwarded. */
static void test_translated(void)
{
	static struct bench b;
	char text[64];
	struct keeper_counters counters;

	bench_open(&b, true);
	ok(RUN(b.world.left, "nft",
	       "add table inet n; add chain inet n o { type nat hook output priority -100; }; add "
	       "chain inet n p { type nat hook prerouting priority -100; }; add rule inet n o ip "
	       "daddr 10.99.0.77 tcp dport 80 dnat ip to 10.99.0.2:9100; add rule inet n p tcp "
	       "dport 81 redirect to :9101") == 0,
	   "translation");
	bench_set(&b, KEEPER_OBSERVE, "observe");
	int out_listener = end_listen(b.world.right, SOCK_STREAM, RIGHT4, 9100);
	int in_listener = end_listen(b.world.left, SOCK_STREAM, LEFT4, 9101);
	int out_client = end_connect(b.world.left, SOCK_STREAM, "10.99.0.77", 80, WAIT);
	int out_server = end_accept(out_listener, WAIT);
	int in_client = end_connect(b.world.right, SOCK_STREAM, LEFT4, 81, WAIT);
	int in_server = end_accept(in_listener, WAIT);
	ok(out_server >= 0 && in_server >= 0, "one translated connection each way");

	bench_gate_open(&b, STAND_IN_DENY);
	bench_set(&b, KEEPER_ENFORCE, "enforce");
	ok(b.passed.all == 2 && b.passed.sockets == 0 && b.passed.inbound == 1,
	   "both reported once, from conntrack: %u, %u from sockets", b.passed.all,
	   b.passed.sockets);
	ok(send(out_client, "x", 1, 0) == 1 &&
	           end_receive(out_server, text, sizeof(text), SHORT) == 1 &&
	           send(in_client, "x", 1, 0) == 1 &&
	           end_receive(in_server, text, sizeof(text), SHORT) == 1,
	   "both go on");
	world_read(b.world.left, "/proc/sys/net/netfilter/nf_conntrack_tcp_loose", text,
	           sizeof(text));
	ok(text[0] == '1', "the host's own tcp_loose is left alone");
	ok(end_connect(b.world.left, SOCK_STREAM, "10.99.0.77", 80, SHORT) == -110 &&
	           end_accept(out_listener, 50) < 0,
	   "a new translated one is denied");
	bench_verdict_set(&b, STAND_IN_ALLOW);
	int again = end_connect(b.world.left, SOCK_STREAM, "10.99.0.77", 80, WAIT);
	ok(again >= 0 && atomic_load(&b.gate.packets) == 1, "and allowed with one question");

	/* The host's DHCP client may renew at its server's own address. */
	int server = end_listen(b.world.right, SOCK_DGRAM, RIGHT4, 67);
	int client = end_listen(b.world.left, SOCK_DGRAM, LEFT4, 68);
	struct sockaddr_storage to;
	socklen_t size = end_address(RIGHT4, 67, &to);
	bench_verdict_set(&b, STAND_IN_DENY);
	(void)sendto(client, "renew", 5, 0, (struct sockaddr *)&to, size);
	ok(end_receive(server, text, sizeof(text), SHORT) == 5, "DHCP renewal of a host");
	ok(keeper_counters_read(b.keeper, &counters, &b.error) == PR_OK &&
	           counters.queues_bound == 1,
	   "one queue is bound");
	int fds[] = { out_listener, in_listener, out_client, out_server, in_client,
		      in_server,    again,       server,     client };
	for (size_t i = 0; i < PR_ARRAY_LEN(fds); i++) {
		(void)close(fds[i]);
	}
	stand_in_stop(&b.gate);
	bench_close(&b);
}

/* Two queues: a flow's packets are spread by CPU, each socket answers its own. */
static void test_two_queues(struct bench *b)
{
	struct stand_in second;
	int fd = -1;
	unsigned int good = 0;

	b->config.queue_count = 2;
	int error = keeper_config_set(b->keeper, &b->config, &b->error);
	ok(error == PR_OK, "a second queue: %s", b->error.text);
	error = keeper_socket_open(b->keeper, KEEPER_SOCKET_QUEUE, 1, &fd, &b->error);
	ok(error == PR_OK, "bound: %s", b->error.text);
	stand_in_start(&second, fd, &b->config, STAND_IN_ALLOW);
	bench_verdict_set(b, STAND_IN_ALLOW);
	for (int i = 0; i < 40; i++) {
		good += end_talk(b->world.left, b->world.right, RIGHT4, (uint16_t)(21000 + i),
		                 WAIT) == 0;
	}
	ok(good == 40 && atomic_load(&b->gate.packets) + atomic_load(&second.packets) == 40,
	   "40 connections, one question each: %u and %u", atomic_load(&b->gate.packets),
	   atomic_load(&second.packets));
	ok(bench_counters(b).queues_bound == 2, "two queues are bound");
	b->config.queue_count = 1;
	error = keeper_config_set(b->keeper, &b->config, &b->error);
	ok(error == PR_OK, "back to one: %s", b->error.text);
	stand_in_stop(&second);
	struct keeper_config other = b->config;
	other.queue_first = 7500;
	ok(keeper_config_set(b->keeper, &other, &b->error) == PR_EINVAL,
	   "the queue number stays: %s", b->error.text);
}

/* Out of enforce with a packet in the queue: it waits for its verdict and arrives. */
static void *release_later(void *arg)
{
	(void)poll(NULL, 0, 150);
	stand_in_release(arg, STAND_IN_ALLOW);
	return NULL;
}

static void test_held_to_observe(struct bench *b)
{
	char text[8];
	pthread_t thread;

	bench_verdict_set(b, STAND_IN_HOLD);
	int server = end_listen(b->world.right, SOCK_DGRAM, RIGHT4, 8300);
	int client = end_connect(b->world.left, SOCK_DGRAM, RIGHT4, 8300, WAIT);
	(void)send(client, "x", 1, 0);
	(void)poll(NULL, 0, 50);
	(void)pthread_create(&thread, NULL, release_later, &b->gate);
	bench_set(b, KEEPER_OBSERVE, "observe while a packet waits");
	(void)pthread_join(thread, NULL);
	ok(end_receive(server, text, sizeof(text), WAIT) == 1, "it arrives");
	bool active = true;
	for (int i = 0; i < 20 && active; i++) {
		/* The kernel lets go of a deleted rule a little later. */
		(void)poll(NULL, 0, 50);
		ok(keeper_conntrack_active(b->keeper, &active) == PR_OK, "probe");
	}
	ok(!active, "tracking is off then");
	bench_verdict_set(b, STAND_IN_ALLOW);
	bench_set(b, KEEPER_ENFORCE, "enforce");
	(void)close(server);
	(void)close(client);
}

/*
 * A packet that has passed our first hook under the rules of prepare comes to the second under
 * those of enforce: it is as good as any other that went out before, and its answer must come in.
 * Somebody else's queue between the two hooks holds it there.
 */
static void between_open(struct bench *b, struct stand_in *between,
                         const struct keeper_config *unmarking)
{
	int fd = -1;

	ok(RUN(b->world.left, "iptables-nft", "-t", "mangle", "-N", "BETWEEN") == 0 &&
	           RUN(b->world.left, "iptables-nft", "-t", "mangle", "-A", "BETWEEN", "-p", "udp",
	               "--dport", "8310", "-j", "NFQUEUE", "--queue-num", "7401") == 0 &&
	           RUN(b->world.left, "nft",
	               "add chain ip mangle between { type filter hook output priority -88; }; "
	               "add rule ip mangle between jump BETWEEN") == 0,
	   "a queue of somebody else between our hooks");
	b->config.queue_count = 2;
	int error = keeper_config_set(b->keeper, &b->config, &b->error);
	if (error == PR_OK) {
		error = keeper_socket_open(b->keeper, KEEPER_SOCKET_QUEUE, 1, &fd, &b->error);
	}
	ok(error == PR_OK, "bound: %s", b->error.text);
	stand_in_start(between, fd, unmarking, STAND_IN_HOLD);
}

static void between_close(struct bench *b, struct stand_in *between)
{
	stand_in_stop(between);
	(void)RUN(b->world.left, "nft", "delete table ip mangle");
	b->config.queue_count = 1;
	ok(keeper_config_set(b->keeper, &b->config, &b->error) == PR_OK, "one queue again");
}

static void test_between_hooks(struct bench *b)
{
	struct keeper_config unmarking = b->config;
	struct stand_in between;
	struct sockaddr_storage to;
	char text[8];

	unmarking.queue_first = 7401;
	unmarking.mark_allow = 0;
	bench_set(b, KEEPER_OBSERVE, "observe");
	between_open(b, &between, &unmarking);
	bench_set(b, KEEPER_PREPARE, "prepare");
	int server = end_listen(b->world.right, SOCK_DGRAM, RIGHT4, 8310);
	int client = end_listen(b->world.left, SOCK_DGRAM, LEFT4, 8311);
	socklen_t bytes = end_address(RIGHT4, 8310, &to);
	ok(sendto(client, "x", 1, 0, (const struct sockaddr *)&to, bytes) == 1, "a datagram");
	for (int i = 0; i < 100 && atomic_load(&between.held_count) == 0; i++) {
		(void)poll(NULL, 0, 10);
	}
	ok(atomic_load(&between.held_count) == 1, "waits between the hooks");
	int error = keeper_state_set(b->keeper, KEEPER_ENFORCE, NULL, NULL, &b->error);
	ok(error == PR_OK, "enforce meanwhile: %s", b->error.text);
	stand_in_release(&between, STAND_IN_ALLOW);
	ok(end_receive(server, text, sizeof(text), WAIT) == 1, "it arrives");
	bytes = end_address(LEFT4, 8311, &to);
	ok(sendto(server, "y", 1, 0, (const struct sockaddr *)&to, bytes) == 1 &&
	           end_receive(client, text, sizeof(text), WAIT) == 1,
	   "its answer comes in");
	between_close(b, &between);
	bench_set(b, KEEPER_ENFORCE, "renewed");
	bench_verdict_set(b, STAND_IN_DENY);
	bytes = end_address(RIGHT4, 8312, &to);
	ok(sendto(client, "z", 1, 0, (const struct sockaddr *)&to, bytes) == 1 &&
	           end_receive(client, text, sizeof(text), SHORT) == 0 &&
	           atomic_load(&b->gate.packets) == 1,
	   "a new one is asked about");
	bench_verdict_set(b, STAND_IN_ALLOW);
	(void)close(server);
	(void)close(client);
}

/* Tracking off for long, a stream far beyond its old window, and on again: it must not stall. */
static void test_stale_windows(struct bench *b)
{
	static char large[262144];
	char got[262144];
	int listener = end_listen(b->world.right, SOCK_STREAM, RIGHT4, 8301);
	int client = end_connect(b->world.left, SOCK_STREAM, RIGHT4, 8301, WAIT);
	int server = end_accept(listener, WAIT);
	size_t moved = 0;

	ok(client >= 0 && server >= 0, "a connection in enforce");
	bench_set(b, KEEPER_OBSERVE, "observe");
	while (moved < 16 << 20) {
		ssize_t put = send(client, large, sizeof(large), MSG_DONTWAIT | MSG_NOSIGNAL);
		int have = end_receive(server, got, sizeof(got), WAIT);
		if (have <= 0) {
			break;
		}
		moved += (size_t)have;
		(void)put;
	}
	ok(moved >= 16 << 20, "16 MiB pass untracked");
	while (end_receive(server, got, sizeof(got), 50) > 0) {
	}
	bench_set(b, KEEPER_ENFORCE, "enforce");
	ok(send(client, "x", 1, 0) == 1 && end_receive(server, got, sizeof(got), SHORT) == 1 &&
	           send(server, "y", 1, 0) == 1 &&
	           end_receive(client, got, sizeof(got), SHORT) == 1,
	   "and the connection goes on both ways");
	(void)close(client);
	(void)close(server);
	(void)close(listener);
}

/* A lifeline that comes later is open at once, without a gate. */
static void test_lifeline_change(struct bench *b)
{
	struct keeper_config before = b->config;

	bench_verdict_set(b, STAND_IN_DENY);
	ok(end_talk(b->world.left, b->world.right, RIGHT6, 7420, SHORT) == -110, "no lifeline yet");
	b->config.lifeline[b->config.lifeline_count++] = (struct keeper_lifeline){
		.port_first = 7420, .port_last = 7420, .protocol = IPPROTO_TCP
	};
	int error = keeper_config_set(b->keeper, &b->config, &b->error);
	ok(error == PR_OK && end_talk(b->world.left, b->world.right, RIGHT6, 7420, WAIT) == 0,
	   "a new lifeline works at once: %s", b->error.text);
	error = keeper_config_set(b->keeper, &before, &b->error);
	b->config = before;
	ok(error == PR_OK && end_talk(b->world.left, b->world.right, RIGHT6, 7420, SHORT) == -110,
	   "and ends at once");
}

int main(void)
{
	const char *missing = world_missing();
	if (missing != NULL) {
		skip("%s", missing);
		return tap_done();
	}
	static struct bench b;
	bench_open(&b, false);
	bench_set(&b, KEEPER_OBSERVE, "observe");
	bench_stream_connect(&b.out4, b.world.left, b.world.right, RIGHT4, 9000);
	bench_stream_connect(&b.in6, b.world.right, b.world.left, LEFT6, 9002);
	bench_gate_open(&b, STAND_IN_ALLOW);
	bench_set(&b, KEEPER_ENFORCE, "enforce");
	test_churn(&b);
	test_held_to_observe(&b);
	test_between_hooks(&b);
	test_stale_windows(&b);
	test_two_queues(&b);
	test_lifeline_change(&b);
	test_flushed(&b);
	ok(atomic_load(&b.out4.wrong) == 0 && atomic_load(&b.in6.wrong) == 0, "not a word lost");
	stand_in_stop(&b.gate);
	stream_stop(&b.out4);
	stream_stop(&b.in6);
	test_foreign_table(&b);
	bench_close(&b);
	test_translated();
	return tap_done();
}
