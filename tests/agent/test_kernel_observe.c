/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Observe on the real kernel: everything arrives, every new flow is copied once each direction. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/agent/world.h"
#include "tests/tap.h"

#define LEFT4  "10.99.0.1"
#define RIGHT4 "10.99.0.2"
#define LEFT6  "fd99::1"
#define RIGHT6 "fd99::2"
#define WAIT   1000

struct bench {
	struct world world;
	struct keeper_config config;
	keeper_t *keeper;
	struct keeper_error error;
	int log;
};

static struct copies copies_now(struct bench *b)
{
	struct copies copies = { 0 };
	copies_read(b->log, 100, &copies);
	return copies;
}

static void bench_open(struct bench *b, uint32_t seen_max)
{
	memset(b, 0, sizeof(*b));
	b->log = -1;
	ok(world_open(&b->world) == 0, "two namespaces and a veth pair");
	keeper_config_default(&b->config);
	b->config.seen_max = seen_max;
	struct keeper_place place = { .path = b->world.left_path };
	int error = keeper_open(&b->config, &place, &b->keeper, &b->error);
	ok(error == PR_OK, "keeper_open: %s %s", pr_strerror(error), b->error.text);
}

static void bench_observe(struct bench *b)
{
	int error = keeper_socket_open(b->keeper, KEEPER_SOCKET_LOG, 0, &b->log, &b->error);
	ok(error == PR_OK, "log socket: %s %s", pr_strerror(error), b->error.text);
	error = keeper_state_set(b->keeper, KEEPER_OBSERVE, NULL, NULL, &b->error);
	ok(error == PR_OK, "observe: %s %s", pr_strerror(error), b->error.text);
	(void)copies_now(b);
}

static void bench_close(struct bench *b)
{
	keeper_destroy(&b->keeper);
	(void)close(b->log);
	world_close(&b->world);
}

static void test_flows(struct bench *b)
{
	static const struct {
		const char *name, *left, *right;
	} families[] = { { "IPv4", LEFT4, RIGHT4 }, { "IPv6", LEFT6, RIGHT6 } };
	int left = b->world.left;
	int right = b->world.right;

	for (int i = 0; i < 2; i++) {
		const char *name = families[i].name;
		int icmp = i == 0 ? IPPROTO_ICMP : IPPROTO_ICMPV6;

		ok(end_talk(left, right, families[i].right, 8080, WAIT) == 0, "%s TCP out", name);
		struct copies c = copies_now(b);
		ok(c.output == 1 && c.input == 0 && c.by_protocol[IPPROTO_TCP] == 1,
		   "%s TCP out is copied once: %u out %u in", name, c.output, c.input);
		ok(end_talk(right, left, families[i].left, 8080, WAIT) == 0, "%s TCP in", name);
		c = copies_now(b);
		ok(c.output == 0 && c.input == 1, "%s TCP in is copied once: %u out %u in", name,
		   c.output, c.input);

		ok(end_datagram(left, right, families[i].right, 5353, WAIT) > 0, "%s UDP out",
		   name);
		c = copies_now(b);
		ok(c.output == 1 && c.input == 0 && c.by_protocol[IPPROTO_UDP] == 1,
		   "%s UDP out with its answer is copied once: %u out %u in", name, c.output,
		   c.input);
		ok(end_datagram(right, left, families[i].left, 5354, WAIT) > 0, "%s UDP in", name);
		c = copies_now(b);
		ok(c.output == 0 && c.input == 1,
		   "%s UDP in with its answer is copied once: %u out %u in", name, c.output,
		   c.input);

		ok(end_ping(left, families[i].right, 77, WAIT) == 0, "%s ping out", name);
		c = copies_now(b);
		ok(c.output == 1 && c.input == 0 && c.by_protocol[icmp] == 1,
		   "%s ping out with its answer is copied once: %u out %u in", name, c.output,
		   c.input);
		ok(end_ping(right, families[i].left, 78, WAIT) == 0, "%s ping in", name);
		c = copies_now(b);
		ok(c.output == 0 && c.input == 1, "%s ping in is copied once: %u out %u in", name,
		   c.output, c.input);
		(void)end_ping(left, families[i].right, 79, WAIT);
		(void)end_ping(left, families[i].right, 79, WAIT);
		c = copies_now(b);
		ok(c.output == 1, "%s another ping's id is another flow, its second packet not: %u",
		   name, c.output);
	}
}

static void test_loopback(struct bench *b)
{
	static const char *const addresses[] = { "127.0.0.1", "::1", LEFT4, LEFT6 };
	int left = b->world.left;

	for (size_t i = 0; i < PR_ARRAY_LEN(addresses); i++) {
		ok(end_talk(left, left, addresses[i], 8081, WAIT) == 0 &&
		           end_datagram(left, left, addresses[i], 5355, WAIT) > 0 &&
		           end_ping(left, addresses[i], 80, WAIT) == 0,
		   "TCP, UDP and ping to %s inside", addresses[i]);
		struct copies c = copies_now(b);
		ok(c.output == 3 && c.input == 0, "each is copied once: %u out, %u in", c.output,
		   c.input);
	}
}

static void test_fragments(struct bench *b)
{
	static char large[4000];
	char got[8192];
	static const char *const to[] = { RIGHT4, RIGHT6, LEFT4, LEFT6 };

	for (size_t i = 0; i < PR_ARRAY_LEN(to); i++) {
		bool out = i < 2;
		int from = out ? b->world.left : b->world.right;
		int server =
			end_listen(out ? b->world.right : b->world.left, SOCK_DGRAM, to[i], 5400);
		int client = end_connect(from, SOCK_DGRAM, to[i], 5400, WAIT);
		(void)send(client, large, sizeof(large), 0);
		ok(end_receive(server, got, sizeof(got), WAIT) == (int)sizeof(large),
		   "a datagram of 4,000 bytes to %s arrives", to[i]);
		struct copies c = copies_now(b);
		ok(c.output + c.input == 1, "and is copied once: %u out %u in", c.output, c.input);
		(void)close(server);
		(void)close(client);
	}
}

static void raw_send(int from, const char *to, int protocol, const void *data, size_t size_bytes)
{
	struct sockaddr_storage address;
	socklen_t size = end_address(to, 0, &address);
	int fd = world_socket(from, address.ss_family, SOCK_RAW, protocol);
	(void)sendto(fd, data, size_bytes, 0, (struct sockaddr *)&address, size);
	(void)close(fd);
}

static void test_protocols(struct bench *b)
{
	static const uint8_t protocols[] = { 1, 2, 4, 41, 47, 50, 51, 60, 89, 103, 132, 135, 253 };
	static const uint8_t data[40];
	struct capture capture;

	capture_open(&capture, b->world.right, "prt-r");
	for (int v6 = 0; v6 < 2; v6++) {
		unsigned int arrived = 0;
		unsigned int copied = 0;
		unsigned int count = 0;
		for (size_t i = 0; i < PR_ARRAY_LEN(protocols); i++) {
			if (protocols[i] == 1) {
				continue;
			}
			raw_send(b->world.left, v6 ? RIGHT6 : RIGHT4, protocols[i], data,
			         sizeof(data));
			raw_send(b->world.left, v6 ? RIGHT6 : RIGHT4, protocols[i], data,
			         sizeof(data));
			(void)poll(NULL, 0, 2);
			count++;
			unsigned int here = capture_read(&capture, protocols[i], 0).matched;
			arrived += here;
			struct copies c = { 0 };
			copies_read(b->log, 20, &c);
			copied += c.output;
			if (here != 2 || c.output != 1) {
				printf("# protocol %u: %u arrived, %u copied\n", protocols[i], here,
				       c.output);
			}
		}
		ok(arrived == 2 * count, "IPv%d: %u packets of %u protocols arrive", v6 ? 6 : 4,
		   arrived, count);
		ok(copied == count, "each protocol is copied once: %u", copied);
	}
	capture_close(&capture);
}

static void test_invalid_passes(struct bench *b)
{
	/* An ACK of no connection: ports 1000 to 1001, data offset 5, flags ACK. */
	static const uint8_t ack[20] = { 3, 232, 3, 233, [12] = 0x50, [13] = 0x10 };
	struct capture capture;
	struct copies c = { 0 };

	capture_open(&capture, b->world.right, "prt-r");
	raw_send(b->world.left, RIGHT4, IPPROTO_TCP, ack, sizeof(ack));
	(void)poll(NULL, 0, 50);
	ok(capture_read(&capture, IPPROTO_TCP, 1001).matched >= 1,
	   "a TCP packet of no connection is not dropped");
	copies_read(b->log, 100, &c);
	ok(c.output == 0, "and is no new connection");
	capture_close(&capture);
}

static void test_untracked(struct bench *b)
{
	char text[4096];
	bool active = true;

	world_read(b->world.left, "/proc/thread-self/net/nf_conntrack", text, sizeof(text));
	ok(text[0] == '\0', "connection tracking stayed off: no entries: %s", text);
	ok(keeper_conntrack_active(b->keeper, &active) == PR_OK && !active,
	   "and a probe says that it is off");
}

static void test_seen_full(void)
{
	struct bench b;
	struct keeper_counters counters = { 0 };
	unsigned int arrived = 0;
	int clients[40]; /* all open to the end: a port that is given out again would be no new
	                    tuple */
	char text[16];

	bench_open(&b, 16);
	/* Without IPv6 nothing but the test sends. */
	ok(RUN(b.world.left, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1") == 0, "quiet");
	bench_observe(&b);
	int server = end_listen(b.world.right, SOCK_DGRAM, RIGHT4, 5500);
	for (int i = 0; i < 40; i++) {
		clients[i] = end_connect(b.world.left, SOCK_DGRAM, RIGHT4, 5500, WAIT);
		(void)send(clients[i], "x", 1, 0);
		arrived += end_receive(server, text, sizeof(text), WAIT) == 1;
	}
	for (int i = 0; i < 40; i++) {
		(void)close(clients[i]);
	}
	(void)close(server);
	ok(arrived == 40, "all 40 datagrams arrive: %u", arrived);
	struct copies c = copies_now(&b);
	ok(keeper_counters_read(b.keeper, &counters, &b.error) == PR_OK, "counters are readable");
	ok(c.output == 16 && counters.copied_output == 16, "16 are copied: %u, counted %llu",
	   c.output, (unsigned long long)counters.copied_output);
	ok(counters.seen_full == 24, "24 are counted as not copied: %llu",
	   (unsigned long long)counters.seen_full);

	b.config.seen_max = 4096;
	int error = keeper_config_set(b.keeper, &b.config, &b.error);
	ok(error == PR_OK, "the set can be made larger: %s", b.error.text);
	(void)end_datagram(b.world.left, b.world.right, RIGHT4, 5501, WAIT);
	c = copies_now(&b);
	ok(c.output == 1, "and copies again: %u", c.output);
	ok(keeper_counters_read(b.keeper, &counters, &b.error) == PR_OK &&
	           counters.copied_output == 17 && counters.seen_full == 24,
	   "counters went on over the change of rules");
	bench_close(&b);
}

static void test_tracked(void)
{
	struct bench b;
	bool active = false;

	bench_open(&b, 1024);
	ok(RUN(b.world.left, "nft",
	       "add table inet other; add chain inet other o { type filter "
	       "hook output priority 0; }; add rule inet other o ct state new "
	       "counter") == 0,
	   "another program's rule switches tracking on");
	ok(keeper_conntrack_active(b.keeper, &active) == PR_OK && active, "the probe sees it");
	bench_observe(&b);
	ok(end_datagram(b.world.left, b.world.right, RIGHT4, 5600, WAIT) > 0, "UDP out");
	struct copies c = copies_now(&b);
	ok(c.output == 1 && c.input == 0, "copied once: %u out %u in", c.output, c.input);
	bench_close(&b);
}

static void test_busy(void)
{
	struct bench b;
	int other = -1;

	bench_open(&b, 1024);
	bench_observe(&b);
	int error = keeper_socket_open(b.keeper, KEEPER_SOCKET_LOG, 0, &other, &b.error);
	ok(error == PR_EBUSY && strstr(b.error.text, "7400") != NULL,
	   "a log group that is taken: %s", b.error.text);
	int queue = -1;
	error = keeper_socket_open(b.keeper, KEEPER_SOCKET_QUEUE, 0, &queue, &b.error);
	ok(error == PR_OK, "the queue is free: %s", b.error.text);
	error = keeper_socket_open(b.keeper, KEEPER_SOCKET_QUEUE, 0, &other, &b.error);
	ok(error == PR_EBUSY && strstr(b.error.text, "7400") != NULL,
	   "a queue number that is taken: %s", b.error.text);
	(void)close(queue);

	ok(keeper_conflict_check(b.keeper, &b.error) == PR_OK, "no mark of others");
	(void)RUN(b.world.left, "nft",
	          "add table ip others; add chain ip others c { type filter "
	          "hook output priority -150; }; add rule ip others c meta mark "
	          "set 0x10000001");
	error = keeper_conflict_check(b.keeper, &b.error);
	ok(error == PR_EBUSY && strstr(b.error.text, "others") != NULL, "a packet mark: %s",
	   b.error.text);
	error = keeper_state_set(b.keeper, KEEPER_ENFORCE, NULL, NULL, &b.error);
	ok(error == PR_EBUSY && keeper_state(b.keeper) == KEEPER_OBSERVE,
	   "enforce is refused with it: %s", b.error.text);
	(void)RUN(b.world.left, "nft",
	          "flush chain ip others c; add rule ip others c meta mark set "
	          "mark and 0xfffffff0 or 0x1; add rule ip others c ct mark set "
	          "ct mark and 0xffffff00 or 0x3");
	ok(keeper_conflict_check(b.keeper, &b.error) == PR_OK, "marks that keep our bits: %s",
	   b.error.text);
	(void)RUN(b.world.left, "nft",
	          "flush chain ip others c; add rule ip others c ct mark set 1");
	error = keeper_conflict_check(b.keeper, &b.error);
	ok(error == PR_EBUSY && strstr(b.error.text, "conntrack") != NULL,
	   "a conntrack mark that overwrites: %s", b.error.text);
	(void)RUN(b.world.left, "nft", "delete table ip others");
	(void)RUN(b.world.left, "iptables-nft", "-t", "mangle", "-A", "OUTPUT", "-j", "CONNMARK",
	          "--set-mark", "5");
	error = keeper_conflict_check(b.keeper, &b.error);
	ok(error == PR_EBUSY && strstr(b.error.text, "mangle") != NULL,
	   "a CONNMARK of iptables: %s", b.error.text);
	bench_close(&b);
}

static void test_end(struct bench *b)
{
	ok(keeper_state_set(b->keeper, KEEPER_NONE, NULL, NULL, &b->error) == PR_OK, "none: %s",
	   b->error.text);
	ok(RUN(b->world.left, "nft", "list", "table", "inet", "portreeve") != 0,
	   "the table is gone");
}

int main(void)
{
	const char *missing = world_missing();
	if (missing != NULL) {
		skip("%s", missing);
		return tap_done();
	}
	struct bench b;
	bench_open(&b, 1024);
	bench_observe(&b);
	test_flows(&b);
	test_loopback(&b);
	test_fragments(&b);
	test_protocols(&b);
	test_invalid_passes(&b);
	test_untracked(&b);
	test_end(&b);
	bench_close(&b);
	test_seen_full();
	test_tracked();
	test_busy();
	return tap_done();
}
