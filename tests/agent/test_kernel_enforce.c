/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Enforce on the real kernel: what was not allowed does not arrive, what was allowed does, and live
 * flows go on through every change. Judged at the receiver.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/agent/bench.h"
#include "tests/tap.h"

/* From observe, tracking off, with live flows, into enforce. */
static void test_transition(struct bench *b)
{
	char text[32];
	int left = b->world.left;
	int right = b->world.right;

	bench_set(b, KEEPER_OBSERVE, "observe");
	bench_stream_connect(&b->out4, left, right, RIGHT4, 9000);
	int idle_listener = end_listen(left, SOCK_STREAM, LEFT6, 9001);
	int idle_client = end_connect(right, SOCK_STREAM, LEFT6, 9001, WAIT);
	int idle_server = end_accept(idle_listener, WAIT);
	bench_stream_connect(&b->in6, right, left, LEFT6, 9002);
	int udp_server = end_listen(right, SOCK_DGRAM, RIGHT4, 9003);
	int udp_client = end_connect(left, SOCK_DGRAM, RIGHT4, 9003, WAIT);
	int lo_listener = end_listen(left, SOCK_STREAM, "127.0.0.1", 9004);
	int lo_client = end_connect(left, SOCK_STREAM, "127.0.0.1", 9004, WAIT);
	int lo_server = end_accept(lo_listener, WAIT);
	ok(stream_alive(&b->out4, WAIT) && stream_alive(&b->in6, WAIT), "both streams run");

	bench_gate_open(b, STAND_IN_DENY);
	bench_set(b, KEEPER_ENFORCE, "enforce");
	ok(stream_alive(&b->out4, WAIT) && stream_alive(&b->in6, WAIT), "both streams go on");
	ok(atomic_load(&b->out4.wrong) == 0 && atomic_load(&b->in6.wrong) == 0, "no word lost");
	printf("# longest silence: %.1f ms, %.1f ms\n", (double)b->out4.gap_ns / 1e6,
	       (double)b->in6.gap_ns / 1e6);
	ok(b->out4.gap_ns < 200000000 && b->in6.gap_ns < 200000000, "no retransmission timeout");
	ok(b->passed.all == 5 && b->passed.tcp == 4 && b->passed.udp == 1 && b->passed.inbound == 2,
	   "five flows reported once each: %u, tcp %u, udp %u, inbound %u", b->passed.all,
	   b->passed.tcp, b->passed.udp, b->passed.inbound);
	ok(b->passed.sockets >= 3, "idle ones are known from their sockets: %u", b->passed.sockets);

	ok(send(idle_client, "x", 1, 0) == 1 &&
	           end_receive(idle_server, text, sizeof(text), SHORT) == 1 &&
	           send(idle_server, "y", 1, 0) == 1 &&
	           end_receive(idle_client, text, sizeof(text), SHORT) == 1,
	   "a connection that was idle goes on both ways");
	ok(send(udp_client, "x", 1, 0) == 1 &&
	           end_receive(udp_server, text, sizeof(text), SHORT) == 1,
	   "a connected UDP socket goes on");
	ok(send(lo_client, "x", 1, 0) == 1 &&
	           end_receive(lo_server, text, sizeof(text), SHORT) == 1,
	   "a loopback connection goes on");
	ok(atomic_load(&b->gate.packets) == 0, "and nothing of it was asked");
	ok(close(idle_client) == 0 && end_receive(idle_server, text, sizeof(text), SHORT) == 0,
	   "its close arrives");
	world_read(left, "/proc/sys/net/netfilter/nf_conntrack_tcp_loose", text, sizeof(text));
	ok(text[0] == '0', "mid-stream pick-up is off");
	(void)close(idle_server);
	(void)close(idle_listener);
	(void)close(udp_server);
	(void)close(udp_client);
	(void)close(lo_listener);
	(void)close(lo_client);
	(void)close(lo_server);
}

static void test_verdicts(struct bench *b)
{
	static const struct {
		const char *name, *left, *right;
	} families[] = { { "IPv4", LEFT4, RIGHT4 }, { "IPv6", LEFT6, RIGHT6 } };
	int left = b->world.left;
	int right = b->world.right;

	for (int i = 0; i < 2; i++) {
		const char *name = families[i].name;
		const char *to_right = families[i].right;
		const char *to_left = families[i].left;

		bench_verdict_set(b, STAND_IN_DENY);
		(void)capture_read(&b->right, -1, 0);
		ok(end_talk(left, right, to_right, 8080, SHORT) == -ETIMEDOUT &&
		           end_datagram(left, right, to_right, 8080, SHORT) == -ETIMEDOUT,
		   "%s denied out: TCP and UDP hear nothing", name);
		ok(capture_read(&b->right, -1, 8080).matched == 0, "and nothing arrives");
		(void)capture_read(&b->right, -1, 0);
		ok(end_talk(right, left, to_left, 8080, SHORT) == -ETIMEDOUT &&
		           end_datagram(right, left, to_left, 8080, SHORT) == -ETIMEDOUT,
		   "%s denied in: TCP and UDP hear nothing", name);
		ok(capture_read(&b->right, -1, 8080).matched == 0, "and nothing is answered");
		ok(end_ping(left, to_right, 5, SHORT) == -ETIMEDOUT &&
		           end_ping(right, to_left, 5, SHORT) == -ETIMEDOUT,
		   "%s denied: ping", name);
		ok(atomic_load(&b->gate.packets) >= 6, "each was asked: %u",
		   atomic_load(&b->gate.packets));

		bench_verdict_set(b, STAND_IN_ALLOW);
		ok(end_talk(left, right, to_right, 8081, WAIT) == 0, "%s allowed: TCP out", name);
		ok(end_talk(right, left, to_left, 8081, WAIT) == 0, "%s allowed: TCP in", name);
		ok(atomic_load(&b->gate.packets) == 2, "one question a connection: %u",
		   atomic_load(&b->gate.packets));
		ok(end_datagram(left, right, to_right, 8081, WAIT) > 0, "%s allowed: UDP out",
		   name);
		ok(end_datagram(right, left, to_left, 8081, WAIT) > 0, "%s allowed: UDP in", name);
		ok(end_ping(left, to_right, 6, WAIT) == 0 && end_ping(right, to_left, 6, WAIT) == 0,
		   "%s allowed: ping", name);
		ok(atomic_load(&b->gate.packets) == 6, "one question a flow: %u",
		   atomic_load(&b->gate.packets));

		int client = end_connect(left, SOCK_DGRAM, to_right, 8082, WAIT);
		(void)send(client, "x", 1, 0);
		char text[8];
		ok(end_receive(client, text, sizeof(text), WAIT) == -ECONNREFUSED,
		   "%s: the ICMP error of an allowed flow comes back", name);
		(void)close(client);
		ok(end_connect(left, SOCK_STREAM, to_right, 8082, WAIT) == -ECONNREFUSED,
		   "%s: the RST of an allowed flow comes back", name);
	}
}

static void test_reject(struct bench *b)
{
	static const struct {
		const char *name, *left, *right;
	} families[] = { { "IPv4", LEFT4, RIGHT4 }, { "IPv6", LEFT6, RIGHT6 } };
	int left = b->world.left;
	int right = b->world.right;

	bench_verdict_set(b, STAND_IN_REJECT);
	for (int i = 0; i < 2; i++) {
		struct {
			const char *what;
			int from, to;
			const char *ip;
		} cases[] = { { "out", left, right, families[i].right },
			      { "in", right, left, families[i].left },
			      { "loopback", left, left, families[i].left } };
		for (size_t j = 0; j < PR_ARRAY_LEN(cases); j++) {
			uint64_t start_ns = world_now_ns();
			int result = end_talk(cases[j].from, cases[j].to, cases[j].ip, 8090, WAIT);
			double took_ms = (double)(world_now_ns() - start_ns) / 1e6;
			ok(result == -ECONNREFUSED && took_ms < 100,
			   "%s TCP %s is refused at once: %s, %.1f ms", families[i].name,
			   cases[j].what, strerror(-result), took_ms);
			result = end_datagram(cases[j].from, cases[j].to, cases[j].ip, 8090, SHORT);
			ok(result == -EHOSTUNREACH || result == -EACCES || result == -ECONNREFUSED,
			   "%s UDP %s is refused: %s", families[i].name, cases[j].what,
			   strerror(-result));
		}
	}
	struct keeper_counters counters = bench_counters(b);
	ok(counters.rejected >= 12 && counters.builtin_refusal > 0,
	   "counted: %llu refused, %llu answers of ours", (unsigned long long)counters.rejected,
	   (unsigned long long)counters.builtin_refusal);
}

static void test_loopback_once(struct bench *b)
{
	bench_verdict_set(b, STAND_IN_ALLOW);
	ok(end_talk(b->world.left, b->world.left, "127.0.0.1", 8100, WAIT) == 0, "loopback TCP");
	ok(atomic_load(&b->gate.packets) == 1, "asked once: %u", atomic_load(&b->gate.packets));
	bench_verdict_set(b, STAND_IN_DENY);
	ok(end_talk(b->world.left, b->world.left, "::1", 8101, SHORT) == -ETIMEDOUT,
	   "loopback TCP denied");
}

static void raw_send(int from, const char *to, int protocol, const void *data, size_t size_bytes,
                     uint32_t mark)
{
	struct sockaddr_storage address;
	socklen_t size = end_address(to, 0, &address);
	int fd = world_socket(from, address.ss_family, SOCK_RAW, protocol);
	(void)setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	(void)sendto(fd, data, size_bytes, 0, (struct sockaddr *)&address, size);
	(void)close(fd);
}

static void test_strays(struct bench *b)
{
	static const uint8_t ack[20] = { 3, 232, 3, 233, [12] = 0x50, [13] = 0x10 };
	static const uint8_t answer[8] = { 0, 0, 0, 0, 1, 2, 0, 0 };
	struct keeper_counters before = bench_counters(b);

	bench_verdict_set(b, STAND_IN_ALLOW);
	(void)capture_read(&b->right, -1, 0);
	raw_send(b->world.left, RIGHT4, IPPROTO_TCP, ack, sizeof(ack), 0);
	raw_send(b->world.left, RIGHT6, IPPROTO_TCP, ack, sizeof(ack), 0);
	raw_send(b->world.right, LEFT4, IPPROTO_TCP, ack, sizeof(ack), 0);
	raw_send(b->world.left, RIGHT4, IPPROTO_ICMP, answer, sizeof(answer), 0);
	(void)poll(NULL, 0, 50);
	struct keeper_counters after = bench_counters(b);
	ok(capture_read(&b->right, IPPROTO_TCP, 1001).matched == 0,
	   "TCP of no connection does not arrive, nor an answer to it");
	ok(after.dropped_invalid + after.dropped_midstream >=
	           before.dropped_invalid + before.dropped_midstream + 4,
	   "and is counted: %llu invalid, %llu mid-stream",
	   (unsigned long long)(after.dropped_invalid - before.dropped_invalid),
	   (unsigned long long)(after.dropped_midstream - before.dropped_midstream));
	ok(atomic_load(&b->gate.packets) == 0, "and not asked");

	bench_verdict_set(b, STAND_IN_DENY);
	static const uint8_t data[16];
	raw_send(b->world.left, RIGHT4, 253, data, sizeof(data), b->config.mark_allow);
	raw_send(b->world.left, RIGHT4, 253, data, sizeof(data), b->config.mark_reject);
	(void)poll(NULL, 0, 50);
	ok(capture_read(&b->right, 253, 0).matched == 0 && atomic_load(&b->gate.packets) == 2,
	   "a process cannot set our mark itself");
}

static void test_protocols(struct bench *b)
{
	static const uint8_t data[40];
	static const enum stand_in_verdict verdicts[] = { STAND_IN_DENY, STAND_IN_ALLOW };
	int step = getenv("TEST_FULL") != NULL ? 1 : 7;

	for (int v6 = 0; v6 < 2; v6++) {
		for (size_t j = 0; j < PR_ARRAY_LEN(verdicts); j++) {
			unsigned int sent = 0;
			bench_verdict_set(b, verdicts[j]);
			struct keeper_counters before = bench_counters(b);
			(void)capture_read(&b->right, -1, 0);
			for (int protocol = 1; protocol < 255; protocol += step) {
				raw_send(b->world.left, v6 ? RIGHT6 : RIGHT4, protocol, data,
				         sizeof(data), 0);
				(void)poll(NULL, 0, 1);
				sent++;
				(void)poll(NULL, 0, 1);
			}
			(void)poll(NULL, 0, 50);
			struct capture_count here = capture_read(&b->right, -1, 0);
			/* Live streams and neighbour discovery arrive all the time. */
			unsigned int arrived = here.all - here.by_protocol[IPPROTO_TCP] -
			                       here.by_protocol[IPPROTO_ICMPV6];
			struct keeper_counters after = bench_counters(b);
			uint64_t dropped = after.dropped_invalid - before.dropped_invalid +
			                   after.dropped_midstream - before.dropped_midstream;
			printf("# IPv%d: %u sent, %u asked, %llu dropped, %u frames arrived\n",
			       v6 ? 6 : 4, sent, atomic_load(&b->gate.packets),
			       (unsigned long long)dropped, arrived);
			ok(atomic_load(&b->gate.packets) + dropped >= sent - 2,
			   "IPv%d: every protocol is asked or dropped", v6 ? 6 : 4);
			ok(j == 0 ? arrived == 0 : arrived == atomic_load(&b->gate.packets),
			   "%u of %u arrive when %s", arrived, sent, j == 0 ? "denied" : "allowed");
		}
	}
}

/* The gate is killed, then the keeper: new ones drop, marked ones go on, the next one adopts. */
static void test_kill(struct bench *b)
{
	uint64_t wrong = atomic_load(&b->out4.wrong) + atomic_load(&b->in6.wrong);

	stand_in_stop(&b->gate);
	(void)capture_read(&b->right, -1, 0);
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8200, SHORT) == -ETIMEDOUT &&
	           end_datagram(b->world.left, b->world.right, RIGHT6, 8200, SHORT) == -ETIMEDOUT,
	   "without a gate new flows drop");
	ok(capture_read(&b->right, -1, 8200).matched == 0, "nothing of them arrives");
	ok(stream_alive(&b->out4, WAIT) && stream_alive(&b->in6, WAIT), "live ones go on");

	/* No lifeline cut: the bus reconnects and ssh works while nothing answers. */
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 7401, WAIT) == 0, "the lifeline out");
	ok(end_talk(b->world.right, b->world.left, LEFT4, 22, WAIT) == 0, "the lifeline in, IPv4");
	ok(RUN(b->world.left, "ip", "neigh", "flush", "all") == 0 &&
	           RUN(b->world.right, "ip", "neigh", "flush", "all") == 0 &&
	           end_talk(b->world.right, b->world.left, LEFT6, 22, WAIT) == 0,
	   "the lifeline in, IPv6, with neighbours to be discovered anew");
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 7411, SHORT) == -ETIMEDOUT,
	   "a port beside the lifeline's drops");
	(void)capture_read(&b->left, -1, 0);
	ok(end_talk(b->world.right, b->world.left, LEFT4, 7401, SHORT) == -ETIMEDOUT,
	   "nobody comes in by an outbound lifeline");

	keeper_destroy(&b->keeper);
	ok(stream_alive(&b->out4, WAIT), "rules outlive the agent");
	struct keeper_config other = b->config;
	other.mark_mask = 0x0c000000;
	other.mark_allow = 0x04000000;
	other.mark_reject = 0x08000000;
	struct keeper_place place = { .path = b->world.left_path };
	int error = keeper_open(&other, &place, &b->keeper, &b->error);
	ok(error == PR_EBUSY && b->keeper == NULL, "other marks do not adopt: %s", b->error.text);
	error = keeper_open(&b->config, &place, &b->keeper, &b->error);
	ok(error == PR_OK && keeper_adopted(b->keeper) && keeper_state(b->keeper) == KEEPER_ENFORCE,
	   "the next agent finds enforce: %s", b->error.text);
	bench_gate_open(b, STAND_IN_ALLOW);
	struct passed before = b->passed;
	for (int i = 0; i < 20; i++) {
		error = keeper_state_set(b->keeper, KEEPER_ENFORCE, bench_flow, &b->passed,
		                         &b->error);
		if (error != PR_OK) {
			break;
		}
		(void)poll(NULL, 0, 5);
	}
	ok(error == PR_OK, "rules are renewed 20 times: %s", b->error.text);
	ok(memcmp(&before, &b->passed, sizeof(before)) == 0, "nothing is passed by that");
	ok(stream_alive(&b->out4, WAIT) && stream_alive(&b->in6, WAIT), "live ones go on");
	ok(atomic_load(&b->out4.wrong) + atomic_load(&b->in6.wrong) == wrong, "without a loss");
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8201, WAIT) == 0, "new ones are asked");
	printf("# longest silence up to here: %.1f ms, %.1f ms\n", (double)b->out4.gap_ns / 1e6,
	       (double)b->in6.gap_ns / 1e6);
}

/* A packet that waits while rules are swapped is still decided. */
static void test_held(struct bench *b)
{
	char text[8];
	bench_verdict_set(b, STAND_IN_HOLD);
	int server = end_listen(b->world.right, SOCK_DGRAM, RIGHT4, 8300);
	int client = end_connect(b->world.left, SOCK_DGRAM, RIGHT4, 8300, WAIT);
	(void)send(client, "x", 1, 0);
	(void)poll(NULL, 0, 100);
	ok(bench_counters(b).queue_held == 1, "one packet waits");
	bench_set(b, KEEPER_ENFORCE, "rules renewed meanwhile");
	ok(end_receive(server, text, sizeof(text), 50) == 0, "it still waits");
	stand_in_release(&b->gate, STAND_IN_ALLOW);
	ok(end_receive(server, text, sizeof(text), WAIT) == 1, "it arrives when allowed");
	(void)send(client, "y", 1, 0);
	ok(end_receive(server, text, sizeof(text), WAIT) == 1, "its flow is marked");
	(void)close(server);
	(void)close(client);
}

/* The same tuple again, while conntrack still knows the old connection as established. */
static void test_same_tuple(struct bench *b)
{
	struct sockaddr_storage local;
	socklen_t size = end_address(LEFT4, 33333, &local);
	struct sockaddr_storage remote;
	socklen_t remote_size = end_address(RIGHT4, 8400, &remote);
	int yes = 1;
	struct linger abrupt = { .l_onoff = 1 };

	bench_verdict_set(b, STAND_IN_ALLOW);
	int listener = end_listen(b->world.right, SOCK_STREAM, RIGHT4, 8400);
	int client = world_socket(b->world.left, AF_INET, SOCK_STREAM, 0);
	(void)setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	(void)bind(client, (struct sockaddr *)&local, size);
	ok(connect(client, (struct sockaddr *)&remote, remote_size) == 0, "first connection");
	int server = end_accept(listener, WAIT);
	/* Both ends forget it unseen: the client's RST is dropped before conntrack learns of it. */
	(void)RUN(b->world.left, "nft",
	          "add table ip t; add chain ip t o { type filter hook output "
	          "priority -300; }; add rule ip t o tcp flags rst drop");
	(void)setsockopt(client, SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
	(void)close(client);
	(void)setsockopt(server, SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
	(void)RUN(b->world.right, "nft",
	          "add table ip t; add chain ip t o { type filter hook output "
	          "priority -300; }; add rule ip t o tcp flags rst drop");
	(void)close(server);
	(void)RUN(b->world.left, "nft", "delete table ip t");
	(void)RUN(b->world.right, "nft", "delete table ip t");

	bench_verdict_set(b, STAND_IN_DENY);
	client = world_socket(b->world.left, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	(void)setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	(void)bind(client, (struct sockaddr *)&local, size);
	(void)connect(client, (struct sockaddr *)&remote, remote_size);
	ok(end_accept(listener, SHORT) < 0 && atomic_load(&b->gate.packets) >= 1,
	   "a new connection on the tuple of an old one is asked: %u",
	   atomic_load(&b->gate.packets));
	(void)close(client);
	(void)close(listener);
}

static void test_builtin(struct bench *b)
{
	char text[64];
	struct sockaddr_storage to;
	socklen_t size = end_address("255.255.255.255", 67, &to);
	int yes = 1;
	int server = end_listen(b->world.right, SOCK_DGRAM, "0.0.0.0", 67);
	int client = end_listen(b->world.left, SOCK_DGRAM, "0.0.0.0", 68);

	bench_verdict_set(b, STAND_IN_DENY);
	(void)setsockopt(client, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes));
	(void)setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, "prt-l", 6);
	(void)sendto(client, "dhcp", 4, 0, (struct sockaddr *)&to, size);
	ok(end_receive(server, text, sizeof(text), SHORT) == 4, "DHCP goes out by a built-in rule");
	size = end_address(LEFT4, 68, &to);
	(void)sendto(server, "offer", 5, 0, (struct sockaddr *)&to, size);
	ok(end_receive(client, text, sizeof(text), SHORT) == 5, "and its answer comes in");
	size = end_address(RIGHT4, 67, &to);
	(void)sendto(client, "leak", 4, 0, (struct sockaddr *)&to, size);
	ok(end_receive(server, text, sizeof(text), SHORT) == 0,
	   "to a host of its choice a container's is asked");
	(void)close(server);
	(void)close(client);

	ok(end_datagram(b->world.left, b->world.left, "127.0.0.11", 53, SHORT) > 0,
	   "the engine's DNS answers");
	ok(end_datagram(b->world.left, b->world.left, "127.0.0.11", 54, SHORT) == -ETIMEDOUT,
	   "another port there is asked");
	/* As the engine sets it up: DNAT from port 53 to a port of its own. */
	(void)RUN(b->world.left, "nft",
	          "add table ip n; add chain ip n o { type nat hook output "
	          "priority -100; }; add rule ip n o ip daddr 127.0.0.11 udp "
	          "dport 53 dnat to 127.0.0.11:40053");
	server = end_listen(b->world.left, SOCK_DGRAM, "127.0.0.11", 40053);
	client = end_connect(b->world.left, SOCK_DGRAM, "127.0.0.11", 53, WAIT);
	(void)send(client, "query", 5, 0);
	socklen_t peer_size = sizeof(to);
	(void)poll(NULL, 0, 20);
	ok(recvfrom(server, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&to, &peer_size) ==
	                   5 &&
	           sendto(server, "answer", 6, 0, (struct sockaddr *)&to, peer_size) == 6 &&
	           end_receive(client, text, sizeof(text), SHORT) == 6,
	   "behind the engine's DNAT too");
	(void)close(server);
	(void)close(client);
	(void)RUN(b->world.left, "nft", "delete table ip n");
	struct keeper_counters counters = bench_counters(b);
	ok(counters.builtin_dhcp == 2 && counters.builtin_engine_dns == 2 &&
	           counters.builtin_neighbour > 0,
	   "each is counted by name: dhcp %llu, dns %llu, neighbours %llu",
	   (unsigned long long)counters.builtin_dhcp,
	   (unsigned long long)counters.builtin_engine_dns,
	   (unsigned long long)counters.builtin_neighbour);
	/* A neighbour message from a raw socket to a far address is no neighbour discovery. */
	static const uint8_t solicitation[24] = { 135 };
	int hops = 255;
	struct sockaddr_storage far;
	socklen_t far_size = end_address(RIGHT6, 0, &far);
	int raw = world_socket(b->world.left, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
	(void)setsockopt(raw, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops));
	bench_verdict_set(b, STAND_IN_DENY);
	(void)sendto(raw, solicitation, sizeof(solicitation), 0, (struct sockaddr *)&far, far_size);
	(void)poll(NULL, 0, 50);
	ok(atomic_load(&b->gate.packets) == 1, "a process's own neighbour message is asked: %u",
	   atomic_load(&b->gate.packets));
	(void)close(raw);
}

/* The namespace's own link-local address, with its interface. */
static struct sockaddr_in6 link_local(int space)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
	char text[4096];
	char *rest = text;

	world_read(space, "/proc/thread-self/net/if_inet6", text, sizeof(text));
	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		if (strncmp(line, "fe80", 4) != 0) {
			continue;
		}
		for (int i = 0; i < 16; i++) {
			char pair[3] = { line[2 * i], line[2 * i + 1], 0 };
			address.sin6_addr.s6_addr[i] = (uint8_t)strtoul(pair, NULL, 16);
		}
		address.sin6_scope_id = (uint32_t)strtoul(line + 33, NULL, 16);
	}
	return address;
}

/* A listener report by a process, from the link-local address or a global one. */
static void mld_send(int from, const char *global, int hops)
{
	static const uint8_t report[24] = { 131 };
	struct sockaddr_in6 local = link_local(from);
	struct sockaddr_storage other;
	struct sockaddr_storage to;
	socklen_t other_size = end_address(global != NULL ? global : "::1", 0, &other);
	socklen_t size = end_address("ff02::1", 0, &to);
	int raw = world_socket(from, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);

	((struct sockaddr_in6 *)&to)->sin6_scope_id = local.sin6_scope_id;
	(void)setsockopt(raw, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops));
	if (bind(raw, global != NULL ? (struct sockaddr *)&other : (struct sockaddr *)&local,
	         global != NULL ? other_size : sizeof(local)) != 0 ||
	    sendto(raw, report, sizeof(report), 0, (struct sockaddr *)&to, size) < 0) {
		perror("# mld");
	}
	(void)close(raw);
	(void)poll(NULL, 0, 50);
}

/* Without it a switch that snoops stops forwarding neighbour solicitations. */
static void test_multicast_listener(struct bench *b)
{
	struct ipv6_mreq group = { .ipv6mr_interface = link_local(b->world.left).sin6_scope_id };

	bench_verdict_set(b, STAND_IN_DENY);
	uint64_t before = bench_counters(b).builtin_mld;
	(void)capture_read(&b->right, -1, 0);
	int member = world_socket(b->world.left, AF_INET6, SOCK_DGRAM, 0);
	(void)inet_pton(AF_INET6, "ff02::4242", &group.ipv6mr_multiaddr);
	ok(setsockopt(member, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group, sizeof(group)) == 0,
	   "a group is joined");
	/* Two reports, each after a random delay of up to a second. */
	uint64_t after = before;
	for (int i = 0; i < 60 && after < before + 2; i++) {
		(void)poll(NULL, 0, 50);
		after = bench_counters(b).builtin_mld;
	}
	ok(after == before + 2 && atomic_load(&b->gate.packets) == 0,
	   "the kernel's reports leave by a built-in rule: %llu, asked %u",
	   (unsigned long long)(after - before), atomic_load(&b->gate.packets));

	bench_verdict_set(b, STAND_IN_DENY);
	before = bench_counters(b).builtin_mld;
	mld_send(b->world.right, NULL, 1);
	after = bench_counters(b).builtin_mld;
	ok(after == before + 1 && atomic_load(&b->gate.packets) == 0,
	   "a neighbour's report comes in by it: %llu", (unsigned long long)(after - before));
	bench_verdict_set(b, STAND_IN_DENY);
	mld_send(b->world.right, RIGHT6, 1);
	mld_send(b->world.right, NULL, 64);
	ok(atomic_load(&b->gate.packets) == 2,
	   "from a global address, or with more hops, it is asked: %u",
	   atomic_load(&b->gate.packets));
	bench_verdict_set(b, STAND_IN_DENY);
	mld_send(b->world.left, NULL, 1);
	ok(atomic_load(&b->gate.packets) == 1, "a process's own report is asked: %u",
	   atomic_load(&b->gate.packets));
	(void)close(member);
}

static void test_fragments(struct bench *b)
{
	static char large[4000];
	char got[8192];
	static const char *const to[] = { RIGHT4, RIGHT6, LEFT4, LEFT6 };

	for (size_t i = 0; i < PR_ARRAY_LEN(to); i++) {
		for (int allow = 0; allow < 2; allow++) {
			int from = i < 2 ? b->world.left : b->world.right;
			int server = end_listen(i < 2 ? b->world.right : b->world.left, SOCK_DGRAM,
			                        to[i], 5400);
			int client = end_connect(from, SOCK_DGRAM, to[i], 5400, WAIT);
			bench_verdict_set(b, allow ? STAND_IN_ALLOW : STAND_IN_DENY);
			(void)send(client, large, sizeof(large), 0);
			int size = end_receive(server, got, sizeof(got), allow ? WAIT : SHORT);
			ok(size == (allow ? (int)sizeof(large) : 0) &&
			           atomic_load(&b->gate.packets) == 1,
			   "fragments to %s %s: asked %u times, %d bytes", to[i],
			   allow ? "allowed" : "denied", atomic_load(&b->gate.packets), size);
			(void)close(server);
			(void)close(client);
		}
	}
}

static void test_queue_full(struct bench *b)
{
	bench_verdict_set(b, STAND_IN_HOLD);
	for (int i = 0; i < 100; i++) {
		int client = end_connect(b->world.left, SOCK_DGRAM, RIGHT4, 8600, WAIT);
		(void)send(client, "x", 1, 0);
		(void)close(client);
	}
	(void)poll(NULL, 0, 50);
	struct keeper_counters counters = bench_counters(b);
	ok(counters.queue_held == b->config.queue_length_packets &&
	           counters.queue_full_dropped == 100 - counters.queue_held,
	   "a full queue drops and counts: %llu held, %llu dropped",
	   (unsigned long long)counters.queue_held,
	   (unsigned long long)counters.queue_full_dropped);
	stand_in_release(&b->gate, STAND_IN_DENY);
	(void)poll(NULL, 0, 50);
	ok(bench_counters(b).queue_held == 0, "and empties");
}

static void test_back(struct bench *b)
{
	char text[16384];

	ok(keeper_state_set(b->keeper, KEEPER_NONE, NULL, NULL, &b->error) == PR_EBUSY,
	   "none straight from enforce is refused: %s", b->error.text);
	bench_verdict_set(b, STAND_IN_DENY);
	bench_set(b, KEEPER_OBSERVE, "back to observe");
	ok(end_talk(b->world.left, b->world.right, RIGHT4, 8500, WAIT) == 0, "new ones pass");
	ok(stream_alive(&b->out4, WAIT) && stream_alive(&b->in6, WAIT), "streams go on");
	world_read(b->world.left, "/proc/sys/net/netfilter/nf_conntrack_tcp_loose", text,
	           sizeof(text));
	ok(text[0] == '1', "mid-stream pick-up is as it was");
	world_read(b->world.left, "/proc/thread-self/net/nf_conntrack", text, sizeof(text));
	ok(strstr(text, "mark=268435456") == NULL, "no mark of ours stays in conntrack");
	stand_in_stop(&b->gate);
	bench_set(b, KEEPER_NONE, "none");
	ok(RUN(b->world.left, "nft", "list", "table", "inet", "portreeve") != 0,
	   "no table of ours");
	ok(stream_alive(&b->out4, WAIT) && stream_alive(&b->in6, WAIT), "streams go on");
	ok(atomic_load(&b->out4.wrong) == 0 && atomic_load(&b->in6.wrong) == 0,
	   "not one word was lost in all this");
	stream_stop(&b->out4);
	stream_stop(&b->in6);
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
	test_transition(&b);
	test_verdicts(&b);
	/* They come when they like; before they had a rule of their own they were asked about. */
	printf("# multicast listener reports so far: %llu\n",
	       (unsigned long long)bench_counters(&b).builtin_mld);
	test_reject(&b);
	test_loopback_once(&b);
	test_strays(&b);
	test_protocols(&b);
	test_kill(&b);
	test_held(&b);
	test_same_tuple(&b);
	test_builtin(&b);
	test_multicast_listener(&b);
	test_fragments(&b);
	test_queue_full(&b);
	test_back(&b);
	bench_close(&b);
	return tap_done();
}
