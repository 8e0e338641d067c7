/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"
#include "controller/flow.h"
#include "tests/tap.h"

static struct pr_uuid id_of(const char *name)
{
	return pr_uuid_of_bytes("test", name, strlen(name));
}

static struct flow_key key_of(const char *src, const char *dst, uint16_t port)
{
	struct flow_key key = { .proto = 6, .wire_dst_port = port };

	if (pr_addr_parse(src, &key.wire_src) != PR_OK ||
	    pr_addr_parse(dst, &key.wire_dst) != PR_OK) {
		abort();
	}
	return key;
}

static struct flow_near near_of(const char *who, const char *host, uint16_t src_port, uint64_t id)
{
	struct flow_near near_end = { .initiator = id_of(who),
		                      .host = id_of(host),
		                      .namespace_inode = 7,
		                      .request_id = id,
		                      .src_port = src_port,
		                      .from_state = CODEC_KNOWN_KNOWN,
		                      .uid = 1000 };
	(void)snprintf(near_end.exe, sizeof(near_end.exe), "/bin/%s", who);
	return near_end;
}

static struct flow_query query_of(const char *host, uint16_t src_port)
{
	return (struct flow_query){ .host = id_of(host),
		                    .src_port = src_port,
		                    .namespace_inode = 7 };
}

static bool found_is(const struct flow_near *found, const char *who)
{
	struct pr_uuid id = id_of(who);

	return found != NULL && pr_uuid_equal(&found->initiator, &id);
}

static void test_find(void)
{
	_cleanup_(flow_table_destroy) flow_table_t *table = flow_table_new(100, 42);
	struct flow_key key = key_of("192.0.2.1", "192.0.2.2", 80);
	struct flow_key other = key_of("192.0.2.1", "192.0.2.2", 81);
	struct flow_near near_end = near_of("curl", "alpha", 40000, 1);
	struct flow_query query = query_of("beta", 40000), wrong = query_of("beta", 40001);
	struct flow_query no_port = query_of("beta", 0);
	const struct flow_near *found = NULL;

	ok(flow_table_find(table, &key, &query, 0, &found) == FLOW_NONE, "empty: none");
	uint64_t connection = flow_table_put(table, &key, &near_end, 0);
	ok(connection != 0, "a connection has an id");
	ok(flow_table_find(table, &key, &query, 1, &found) == FLOW_FOUND && found_is(found, "curl"),
	   "the far end finds who started it");
	ok(found->connection == connection && found->uid == 1000 &&
	           strcmp(found->exe, "/bin/curl") == 0,
	   "with connection, user and process");
	ok(flow_table_find(table, &other, &query, 1, &found) == FLOW_NONE, "another port: none");
	ok(flow_table_find(table, &key, &wrong, 1, &found) == FLOW_NONE,
	   "another source port: none");
	ok(flow_table_find(table, &key, &no_port, 1, &found) == FLOW_NONE,
	   "a far end without a source port does not guess");
	near_end.src_port = 0;
	near_end.request_id = 2;
	ok(flow_table_put(table, &other, &near_end, 1) != connection &&
	           flow_table_find(table, &other, &query, 1, &found) == FLOW_FOUND,
	   "a near end that does not know the source port fits any");
}

static void test_expiry(void)
{
	_cleanup_(flow_table_destroy) flow_table_t *table = flow_table_new(100, 42);
	struct flow_key key = key_of("192.0.2.1", "192.0.2.2", 80);
	struct flow_near near_end = near_of("curl", "alpha", 40000, 1);
	struct flow_query query = query_of("beta", 40000);
	const struct flow_near *found = NULL;

	(void)flow_table_put(table, &key, &near_end, 1000);
	ok(flow_table_find(table, &key, &query, 1000 + FLOW_LIFE_NS, &found) == FLOW_FOUND,
	   "there until its life ends");
	ok(flow_table_find(table, &key, &query, 1001 + FLOW_LIFE_NS, &found) == FLOW_NONE,
	   "gone after it");
	ok(flow_table_count(table) == 0 && flow_table_counters(table)->expired == 1, "counted");
}

static void test_same_connection(void)
{
	_cleanup_(flow_table_destroy) flow_table_t *table = flow_table_new(100, 42);
	_cleanup_(flow_table_destroy) flow_table_t *second = flow_table_new(100, 99);
	struct flow_key key = key_of("192.0.2.1", "192.0.2.2", 80);
	struct flow_near first = near_of("curl", "alpha", 40000, 1);
	struct flow_near again = near_of("curl", "alpha", 40000, 2);
	struct flow_query query = query_of("beta", 40000);
	const struct flow_near *found = NULL;

	uint64_t connection = flow_table_put(table, &key, &first, 0);
	ok(flow_table_put(table, &key, &first, 1) == connection, "the same request: the same id");
	ok(flow_table_put(second, &key, &first, 1) == connection,
	   "another worker gives the same id for the same request");
	ok(flow_table_put(table, &key, &again, 2) == connection,
	   "a retransmission before the far end asked is the same connection");
	ok(flow_table_find(table, &key, &query, 3, &found) == FLOW_FOUND, "the far end asks");
	ok(flow_table_find(table, &key, &query, 4, &found) == FLOW_FOUND &&
	           found->connection == connection,
	   "and asks again: the same id");
	ok(flow_table_put(table, &key, &again, 5) == connection,
	   "the same request once more, after that: still the same");
	struct flow_near reused = near_of("curl", "alpha", 40000, 3);
	ok(flow_table_put(table, &key, &reused, 6) != connection,
	   "the port used again later is another connection");
	ok(flow_table_count(table) == 1, "one entry through all of it");
	struct flow_near portless = near_of("ping", "alpha", 0, 10);
	uint64_t ping = flow_table_put(table, &key, &portless, 7);
	portless.request_id = 11;
	ok(flow_table_put(table, &key, &portless, 8) != ping,
	   "without ports each request is a connection");
}

static void test_hosts(void)
{
	_cleanup_(flow_table_destroy) flow_table_t *table = flow_table_new(100, 42);
	struct flow_key key = key_of("172.18.0.3", "172.18.0.2", 80);
	struct flow_near alpha = near_of("a", "alpha", 40000, 1);
	struct flow_near beta = near_of("b", "beta", 40000, 1);
	struct flow_query query = query_of("beta", 40000);
	const struct flow_near *found = NULL;

	(void)flow_table_put(table, &key, &alpha, 0);
	query.local = true;
	ok(flow_table_find(table, &key, &query, 0, &found) == FLOW_NONE,
	   "a container network's flow on another host is not this one");
	(void)flow_table_put(table, &key, &beta, 0);
	ok(flow_table_find(table, &key, &query, 0, &found) == FLOW_FOUND && found_is(found, "b"),
	   "the one of this host is");
	query.local = false;
	ok(flow_table_find(table, &key, &query, 0, &found) == FLOW_AMBIGUOUS,
	   "not local, two that fit: ambiguous, never guessed");
}

static void test_loopback(void)
{
	_cleanup_(flow_table_destroy) flow_table_t *table = flow_table_new(100, 42);
	struct flow_key key = key_of("127.0.0.1", "127.0.0.1", 80);
	struct flow_near near_end = near_of("a", "alpha", 40000, 1);
	struct flow_query query = query_of("alpha", 40000);
	const struct flow_near *found = NULL;

	(void)flow_table_put(table, &key, &near_end, 0);
	query.loopback = true;
	ok(flow_table_find(table, &key, &query, 0, &found) == FLOW_FOUND, "same namespace");
	query.namespace_inode = 8;
	ok(flow_table_find(table, &key, &query, 0, &found) == FLOW_NONE,
	   "loopback of another namespace is another flow");
}

static void test_same_who(void)
{
	_cleanup_(flow_table_destroy) flow_table_t *table = flow_table_new(100, 42);
	struct flow_key key = key_of("192.0.2.1", "192.0.2.2", 80);
	struct flow_near one = near_of("curl", "alpha", 40000, 1);
	struct flow_near two = near_of("curl", "alpha", 0, 2);
	struct flow_near three = near_of("curl", "gamma", 40000, 3);
	struct flow_query query = query_of("beta", 40000);
	const struct flow_near *found = NULL;

	(void)flow_table_put(table, &key, &one, 0);
	(void)flow_table_put(table, &key, &two, 0);
	ok(flow_table_find(table, &key, &query, 0, &found) == FLOW_FOUND,
	   "two connections of one process: who it is, is clear");
	three.uid = 0;
	three.initiator = id_of("other");
	(void)flow_table_put(table, &key, &three, 0);
	ok(flow_table_find(table, &key, &query, 0, &found) == FLOW_AMBIGUOUS,
	   "another user among them: ambiguous");
}

static void test_bounds(void)
{
	_cleanup_(flow_table_destroy) flow_table_t *table = flow_table_new(1000, 42);
	const struct flow_near *found = NULL;
	size_t wrong = 0;

	for (unsigned i = 0; i < 5000; i++) {
		struct flow_key key = key_of("192.0.2.1", "192.0.2.2", (uint16_t)i);
		struct flow_near near_end = near_of("curl", "alpha", 40000, i);
		(void)flow_table_put(table, &key, &near_end, i);
	}
	ok(flow_table_count(table) == 1000 && flow_table_counters(table)->evicted == 4000,
	   "bounded: the oldest go and are counted");
	for (unsigned i = 4000; i < 5000; i++) {
		struct flow_key key = key_of("192.0.2.1", "192.0.2.2", (uint16_t)i);
		struct flow_query query = query_of("beta", 40000);
		wrong += flow_table_find(table, &key, &query, 5000, &found) != FLOW_FOUND ||
		         found->request_id != i;
	}
	ok(wrong == 0, "the youngest are all there");
	struct flow_key key = key_of("192.0.2.1", "192.0.2.2", 9);
	for (unsigned i = 0; i < 100; i++) {
		char name[16];
		(void)snprintf(name, sizeof(name), "n%u", i);
		struct flow_near near_end = near_of(name, name, 1000, i);
		(void)flow_table_put(table, &key, &near_end, 6000);
	}
	struct flow_query old = query_of("n0", 1000), young = query_of("n99", 1000);
	old.local = young.local = true;
	ok(flow_table_find(table, &key, &old, 6000, &found) == FLOW_NONE &&
	           flow_table_find(table, &key, &young, 6000, &found) == FLOW_FOUND,
	   "one key and port cannot hold the whole table");
	flow_table_expire(table, 6001 + FLOW_LIFE_NS);
	ok(flow_table_count(table) == 0, "all expire");
}

int main(void)
{
	test_find();
	test_expiry();
	test_same_connection();
	test_hosts();
	test_loopback();
	test_same_who();
	test_bounds();
	return tap_done();
}
