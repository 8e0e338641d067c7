/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which accepted connection may have led to one that was opened. */

#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "tests/tap.h"

#define MS   PR_NS_PER_MS
#define S    PR_NS_PER_S
#define MOST 16

static struct cli_hop hops[MOST];
static bool fits[MOST];
static size_t hop_count, found;

/* 'A' accepts, 'O' opens, in order of time. */
static void hop(char what, uint64_t time_ns, uint32_t pid, const char *exe)
{
	hops[hop_count] = (struct cli_hop){ .endpoint = { .bytes = { 7 } },
		                            .agent = { .bytes = { 8 } },
		                            .time_wall_ns = 100 * S + time_ns,
		                            .pid = pid,
		                            .exe = exe,
		                            .of = &hops[hop_count],
		                            .accepted = what == 'A',
		                            .opened = what == 'O' };
	hop_count++;
}

static enum cli_hop_kind causes(size_t opened)
{
	return cli_hop_causes(hops, hop_count, opened, fits, &found);
}

static void test_server(void)
{
	hop_count = 0;
	hop('A', 0, 50, "/usr/sbin/nginx");
	hop('O', 3 * MS, 50, "/usr/sbin/nginx");
	ok(causes(1) == CLI_HOP_PROCESS && found == 1 && fits[0], "the same process");
	hops[1].pid = 51;
	ok(causes(1) == CLI_HOP_PROGRAM && found == 1, "another process of the same program");
	hops[0].pid = hops[1].pid = 0;
	ok(causes(1) == CLI_HOP_PROGRAM, "of unknown processes no more than the program is said");
	hops[1].exe = "/usr/bin/curl";
	ok(causes(1) == CLI_HOP_NONE && found == 0, "another program has nothing to do with it");
	hops[0].exe = hops[1].exe = "";
	ok(causes(1) == CLI_HOP_NONE, "two unknown programs are not the same one");
	hops[0].exe = hops[1].exe = "/usr/sbin/nginx";
	hops[1].endpoint.bytes[0] = 9;
	ok(causes(1) == CLI_HOP_NONE, "nor the same program in another container");
	hops[1].endpoint = hops[0].endpoint;
	hops[1].agent.bytes[0] = 9;
	ok(causes(1) == CLI_HOP_NONE, "nor one that another agent speaks of");
	hops[1].agent = hops[0].agent;
	hops[1].time_wall_ns = hops[0].time_wall_ns - 1;
	ok(causes(1) == CLI_HOP_NONE, "what was opened before it was accepted");
	hops[1].time_wall_ns = hops[0].time_wall_ns + CLI_HOP_NS;
	ok(causes(1) == CLI_HOP_PROGRAM, "10 s later it may be");
	hops[1].time_wall_ns++;
	ok(causes(1) == CLI_HOP_NONE, "but no later");
	hops[0].latency_ns = 5 * MS;
	ok(causes(1) == CLI_HOP_PROGRAM, "counted from its verdict");
	hops[0].accepted = false;
	ok(causes(1) == CLI_HOP_NONE, "what was denied leads to nothing");
	hops[0].accepted = true;
	hops[1].of = hops[0].of;
	ok(causes(1) == CLI_HOP_NONE, "no connection leads to itself");
}

static void test_busy(void)
{
	hop_count = 0;
	hop('A', 0, 50, "/usr/sbin/nginx");
	hop('A', 1 * MS, 50, "/usr/sbin/nginx");
	hop('A', 2 * MS, 50, "/usr/sbin/nginx");
	hop('O', 3 * MS, 50, "/usr/sbin/nginx");
	hop('A', 4 * MS, 50, "/usr/sbin/nginx");
	ok(causes(3) == CLI_HOP_PROCESS && found == 3 && !fits[4],
	   "three clients at once: one of three, not of those that came after it");
	hops[2].pid = 51;
	ok(causes(3) == CLI_HOP_PROCESS && found == 2 && !fits[2],
	   "where the process tells, other processes of the program are out");
}

static void test_proxy(void)
{
	static const char proxy[] = "/usr/bin/docker-proxy";

	hop_count = 0;
	hop('A', 0, 12, proxy);
	hop('O', MS, 12, proxy);
	hop('A', 2 * MS, 12, proxy);
	hop('O', 3 * MS, 12, proxy);
	ok(causes(1) == CLI_HOP_PROCESS && found == 1 && fits[0] && causes(3) == CLI_HOP_PROCESS &&
	           found == 1 && fits[2],
	   "docker-proxy passes each on once: what is done with is out");
	hop('A', 4 * MS, 12, proxy);
	hop('A', 5 * MS, 12, proxy);
	hop('O', 6 * MS, 12, proxy);
	hop('O', 7 * MS, 12, proxy);
	ok(causes(6) == CLI_HOP_PROCESS && found == 2 && causes(7) == CLI_HOP_PROCESS &&
	           found == 2 && fits[4] && fits[5],
	   "two at once: each is one of two");
	hop('A', 8 * MS, 12, proxy);
	hop('O', 9 * MS, 12, proxy);
	ok(causes(9) == CLI_HOP_PROCESS && found == 1 && fits[8], "afterwards it is clear again");
	hops[9].time_wall_ns = hops[8].time_wall_ns + CLI_HOP_ONCE_NS + 1;
	ok(causes(9) == CLI_HOP_NONE, "and it is at once or not at all");
	hop_count = 0;
	hop('A', 0, 12, proxy);
	hop('A', MS, 13, proxy);
	hop('O', 2 * MS, 12, proxy);
	ok(causes(2) == CLI_HOP_PROCESS && found == 1 && fits[0],
	   "the proxy of another port is another process");
}

int main(void)
{
	test_server();
	test_busy();
	test_proxy();
	return tap_done();
}
