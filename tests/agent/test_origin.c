/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the kernel's notes, over memory that the test writes as the kernel would. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/origin_internal.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/tap.h"

#define COOKIE 77
#define NOW    (100 * PR_NS_PER_S)
#define AGE    PR_NS_PER_S

static struct origin_entry entries[ORIGIN_ENTRIES];
static struct origin_entry sockets[ORIGIN_SOCKETS];
static struct origin_bucket buckets[ORIGIN_BUCKETS];
static struct origin_bucket socket_buckets[ORIGIN_SOCKET_BUCKETS];
static struct origin_program programs[ORIGIN_PROGRAMS];
static uint64_t watched[ORIGIN_WATCHED];
static struct origin_counts counts;
static origin_t *origin;

static struct pr_addr address(const char *text)
{
	struct pr_addr addr = { 0 };
	(void)!pr_addr_parse(text, &addr);
	return addr;
}

static struct part_flow flow_of(uint16_t src_port)
{
	return (struct part_flow){ .proto = IPPROTO_TCP,
		                   .outbound = true,
		                   .held = true,
		                   .src = address("10.1.0.1"),
		                   .dst = address("10.1.0.2"),
		                   .src_port = src_port,
		                   .dst_port = 80 };
}

/* Write a note into one of the eight places of a flow. */
static struct origin_entry *entry_put(unsigned way, const struct part_flow *flow, uint32_t pid)
{
	struct origin_place place;

	origin_flow_place(COOKIE, flow, &place);
	struct origin_entry *entry = &entries[place.bucket * ORIGIN_WAYS + way];
	uint32_t sequence = entry->sequence;
	buckets[place.bucket].tags[way] = place.tag;
	buckets[place.bucket].places[way] = (uint16_t)(entry - entries);
	*entry = (struct origin_entry){ .sequence = sequence + 2,
		                        .pid = pid,
		                        .netns_cookie = COOKIE,
		                        .src_port = flow->src_port,
		                        .dst_port = flow->dst_port,
		                        .uid = 1000,
		                        .start_boot_ns = 5 * PR_NS_PER_S,
		                        .time_ns = NOW,
		                        .socket_cookie = pid * 10ULL,
		                        .program_id = 1,
		                        .program_at = 4,
		                        .mount_namespace = 9,
		                        .proto = flow->proto };
	memcpy(entry->src, flow->src.bytes, sizeof(entry->src));
	memcpy(entry->dst, flow->dst.bytes, sizeof(entry->dst));
	return entry;
}

static void program_put(uint32_t at, uint64_t id, const char *names, uint32_t names_bytes,
                        const char *group, uint32_t group_bytes)
{
	programs[at] = (struct origin_program){ .sequence = programs[at].sequence + 2,
		                                .id = id,
		                                .path_bytes = names_bytes,
		                                .group_bytes = { group_bytes } };
	memcpy(programs[at].path, names, names_bytes);
	memcpy(programs[at].group[0], group, group_bytes);
}

#define NAMES(text) text, (uint32_t)sizeof(text)

static bool find(const struct part_flow *flow, struct origin_found *found)
{
	return origin_find(origin, COOKIE, flow, NOW, AGE, found);
}

static void test_answer(void)
{
	struct part_flow flow = flow_of(4000);
	struct origin_found found;

	ok(!find(&flow, &found), "nobody is noted");
	entry_put(0, &flow, 42);
	ok(find(&flow, &found) && found.fresh && found.same_peer && found.pid == 42 &&
	           found.uid == 1000 && found.start_ticks == 500 && found.socket_cookie == 420,
	   "process, user, start time, socket");
	ok(strcmp(found.exe, "/usr/bin/curl") == 0, "the path from its names: %s", found.exe);
	ok(find(&flow, &found) && !found.fresh && found.socket_cookie == 420,
	   "a second packet with the same addresses is only as good as its socket");
	entry_put(0, &flow, 43);
	ok(find(&flow, &found) && found.fresh && found.pid == 43, "noted anew: fresh again");
	struct part_flow other = flow;
	other.proto = IPPROTO_UDP;
	ok(!find(&other, &found), "another protocol: nobody");
	ok(!origin_find(origin, COOKIE + 1, &flow, NOW, AGE, &found), "another namespace: nobody");
	ok(!origin_find(origin, 0, &flow, NOW, AGE, &found), "no namespace: nobody");
	entry_put(0, &flow, 0);
	ok(!find(&flow, &found), "a note without a process is none");
}

static void test_time(void)
{
	struct part_flow flow = flow_of(4001);
	struct origin_found found;

	struct origin_entry *entry = entry_put(0, &flow, 42);
	entry->time_ns = NOW - AGE - 1;
	ok(find(&flow, &found) && !found.fresh, "too old to answer for a packet");
	entry->time_ns = NOW - AGE;
	ok(find(&flow, &found) && found.fresh, "just young enough");
	entry_put(0, &flow, 42)->time_ns = NOW + 5;
	ok(find(&flow, &found) && found.fresh, "written after our look at the clock");
	entry_put(0, &flow, 42)->sequence++;
	ok(!find(&flow, &found), "while it is written it is not read");
}

/* Two datagram sockets with one port, one after the other: connected elsewhere, then not at all. */
static void test_port_of_two(void)
{
	struct part_flow elsewhere = flow_of(4040), flow = flow_of(4040), any = flow_of(4040);
	struct origin_found found;

	flow.proto = elsewhere.proto = any.proto = IPPROTO_UDP;
	elsewhere.dst_port = 81;
	any.src = pr_addr_from_v4(0);
	any.dst = pr_addr_from_v4(0);
	any.dst_port = 0;
	entry_put(0, &elsewhere, 42)->time_ns = NOW - AGE / 2;
	ok(find(&flow, &found) && !found.fresh && !found.same_peer,
	   "a socket connected elsewhere has not sent it");
	struct origin_entry *entry = entry_put(1, &any, 43);
	ok(find(&flow, &found) && found.fresh && found.pid == 43,
	   "but a later one of the same port, which was not connected");
	ok(find(&elsewhere, &found) && found.fresh && found.pid == 42,
	   "and what the first has sent is still its own");
	entry->time_ns = NOW - AGE / 2 - 1;
	ok(find(&flow, &found) && !found.same_peer, "an earlier one has not");
}

/* As if no key were known: only the places are looked at. */
static void buckets_forget(const struct part_flow *flow)
{
	struct origin_place place;

	origin_flow_place(COOKIE, flow, &place);
	memset(buckets[place.bucket].tags, 0, sizeof(buckets[place.bucket].tags));
}

static void test_translated(void)
{
	struct part_flow flow = flow_of(4002);
	struct part_flow wanted = flow;
	struct origin_found found;

	wanted.dst = address("192.0.2.9");
	wanted.dst_port = 8000;
	entry_put(1, &wanted, 50);
	ok(find(&flow, &found) && !found.fresh && !found.same_peer && found.peer_port == 8000 &&
	           pr_addr_equal(&found.peer, &wanted.dst),
	   "another destination: only for its socket, and where that wanted to go");
	entry_put(2, &flow, 51);
	ok(find(&flow, &found) && found.fresh && found.pid == 51,
	   "the packet's own destination comes first");
	entry_put(1, &wanted, 53)->time_ns = NOW;
	entry_put(3, &wanted, 52)->time_ns = NOW + 1;
	buckets_forget(&flow);
	entry_put(2, &wanted, 54)->time_ns = NOW - 1;
	ok(find(&flow, &found) && found.pid == 52 && !found.same_peer,
	   "of several others the newest");
}

static void test_programs(void)
{
	static const char id[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\0docker";
	struct part_flow flow = flow_of(4003);
	char text[ORIGIN_GROUPS_TEXT_BYTES];
	struct origin_found found;

	program_put(4, 2, NAMES("apache2\0sbin\0usr"), id, sizeof(id));
	struct origin_entry *entry = entry_put(0, &flow, 42);
	entry->program_id = 99;
	ok(!find(&flow, &found), "another executable took the place: nobody");
	entry->program_id = 2;
	programs[4].group_id[0] = 7;
	programs[4].group_id[1] = 1;
	ok(find(&flow, &found) && strcmp(found.exe, "/usr/sbin/apache2") == 0 &&
	           origin_groups(origin, &found, text) &&
	           strcmp(text, "1:pids:/docker/0123456789abcdef0123456789abcdef0123456789abcdef"
	                        "0123456789abcdef\n0::/\n") == 0,
	   "its control groups as /proc says them");
	programs[4].group_id[1] = 0;
	ok(origin_groups(origin, &found, text) && strstr(text, "0::") == NULL,
	   "a hierarchy that is not there is not said");
	programs[4].group_partial[0] = 1;
	ok(!origin_groups(origin, &found, text), "groups deeper than there was room: none");
	programs[4].group_partial[0] = 0;
	programs[4].group_bytes[0] = 70000;
	ok(!origin_groups(origin, &found, text), "more bytes than there is room: none");
	programs[4].id = 9;
	ok(!origin_groups(origin, &found, text), "overwritten meanwhile: none");
	programs[4].deleted = 1;
	programs[4].id = entry->program_id = 3;
	ok(find(&flow, &found) && strcmp(found.exe, "/usr/sbin/apache2 (deleted)") == 0,
	   "unlinked meanwhile, said as /proc says it");
	programs[4].partial = 1;
	programs[4].id = entry->program_id = 4;
	ok(!find(&flow, &found), "a path that was too long is no path");
	entry->program_at = ORIGIN_PROGRAMS;
	ok(!find(&flow, &found), "a place that is none");
}

/* Nothing that can stand in the memory leads out of it. */
static void test_broken(void)
{
	static const struct {
		const char *what, *names;
		uint32_t copied_bytes, names_bytes;
	} rows[] = {
		{ "no name at all", "", 0, 0 },
		{ "an empty name", "a\0\0b", 5, 5 },
		{ "a name without its end", "abc", 3, 3 },
		{ "more bytes than there is room", "a", 2, 70000 },
	};
	struct part_flow flow = flow_of(4004);
	struct origin_found found;

	program_put(4, 1, NAMES("curl\0bin\0usr"), "", 0);

	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		program_put(4, 10 + i, "", 0, "", 0);
		memcpy(programs[4].path, rows[i].names, rows[i].copied_bytes);
		programs[4].path_bytes = rows[i].names_bytes;
		programs[4].group_bytes[0] = UINT32_MAX;
		entry_put(0, &flow, 42)->program_id = 10 + i;
		ok(!find(&flow, &found), "%s: no path", rows[i].what);
	}
	program_put(4, 20, NAMES("evil\n\x1b[31m\0tmp"), "", 0);
	entry_put(0, &flow, 42)->program_id = 20;
	bool known = find(&flow, &found);
	ok(known && strcmp(found.exe, "/tmp/evil\n\x1b[31m") == 0,
	   "a name with control bytes: exactly");
	program_put(4, 21, NAMES("evil\xff\0tmp"), "", 0);
	entry_put(0, &flow, 42)->program_id = 21;
	ok(find(&flow, &found) && strcmp(found.exe, ":/tmp/evil%FF") == 0,
	   "a name that is not UTF-8: in the form that comes back");
}

static void test_sockets(void)
{
	struct origin_found found;
	struct origin_place place;

	program_put(4, 1, NAMES("dig\0bin\0usr"), "", 0);
	origin_socket_place(1234567, &place);
	struct origin_entry *entry = &sockets[place.bucket * ORIGIN_WAYS + 5];
	socket_buckets[place.bucket].tags[5] = place.tag;
	*entry = (struct origin_entry){ .sequence = 2,
		                        .pid = 7,
		                        .netns_cookie = COOKIE,
		                        .socket_cookie = 1234567,
		                        .program_at = 4,
		                        .program_id = 1,
		                        .proto = IPPROTO_UDP };
	ok(origin_socket_find(origin, COOKIE, 1234567, &found) && found.pid == 7 &&
	           strcmp(found.exe, "/usr/bin/dig") == 0,
	   "a datagram socket's process");
	ok(!origin_socket_find(origin, COOKIE, 1234568, &found) &&
	           !origin_socket_find(origin, COOKIE, 0, &found) &&
	           !origin_socket_find(origin, COOKIE + 1, 1234567, &found),
	   "another socket, none, another namespace: nobody");
	entry->shared = 1;
	ok(!origin_socket_find(origin, COOKIE, 1234567, &found),
	   "several processes send by it: nobody");
	entry->shared = 0;
	entry->sequence++;
	ok(!origin_socket_find(origin, COOKIE, 1234567, &found), "while it is written: nobody");
}

static void test_watch(void)
{
	uint64_t first = 5;
	bool good = true;

	for (uint64_t i = 0; i < ORIGIN_WATCHED_TRIES; i++) {
		good = good && origin_watch_cookie(origin, first + i * ORIGIN_WATCHED) == PR_OK;
	}
	ok(good, "namespaces whose cookies fall together");
	ok(origin_watch_cookie(origin, first + 9 * ORIGIN_WATCHED) == PR_ENOSPC,
	   "one too many is refused");
	ok(origin_watch_cookie(origin, first) == PR_OK, "one that is watched already is good");
	origin_unwatch(origin, first);
	ok(origin_watch_cookie(origin, first + 9 * ORIGIN_WATCHED) == PR_OK,
	   "a place that was given back");
	ok(origin_watch_cookie(origin, 0) == PR_EINVAL, "0 is no namespace");
}

int main(void)
{
	const struct origin_memory memory = {
		.entries = entries,
		.sockets = sockets,
		.buckets = buckets,
		.socket_buckets = socket_buckets,
		.programs = programs,
		.counts = &counts,
		.watched = watched,
	};

	ok(origin_new_in(&memory, &origin) == PR_OK, "a reader");
	program_put(4, 1, NAMES("curl\0bin\0usr"), "", 0);
	test_answer();
	test_time();
	test_port_of_two();
	test_translated();
	test_programs();
	test_broken();
	test_sockets();
	test_watch();
	origin_destroy(&origin);
	return tap_done();
}
