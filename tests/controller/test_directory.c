/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "controller/directory.h"
#include "tests/tap.h"

#define NET_A "aaaaaaaa-0000-4000-8000-000000000001"
#define NET_B "bbbbbbbb-0000-4000-8000-000000000001"

static directory_t *directory;

static struct pr_uuid id_of(const char *name)
{
	return pr_uuid_of_bytes("test", name, strlen(name));
}

static struct pr_addr addr_of(const char *text)
{
	struct pr_addr addr = { 0 };

	if (pr_addr_parse(text, &addr) != PR_OK) {
		abort();
	}
	return addr;
}

/* Put an endpoint with its addresses ("global 192.0.2.1/24", "NET 172.18.0.3/16", NULL). */
static void put(const char *name, const char *host, uint64_t namespace_inode,
                const char *const *addresses)
{
	struct directory_address parsed[8];
	struct directory_endpoint endpoint = {
		.policy = { .id = id_of(name),
		            .kind = strcmp(name, host) == 0 ? POLICY_HOST : POLICY_CONTAINER,
		            .name = name,
		            .host_id = id_of(host),
		            .host_name = host },
		.agent = id_of(host),
		.namespace_inode = namespace_inode,
		.addresses = parsed,
	};

	for (; addresses[endpoint.address_count] != NULL; endpoint.address_count++) {
		size_t at = endpoint.address_count;
		if (directory_address_parse(addresses[at], &parsed[at]) != PR_OK) {
			abort();
		}
	}
	if (directory_put(directory, &endpoint) != PR_OK) {
		abort();
	}
}

#define PUT(name, host, inode, ...) \
	put(name, host, inode, (const char *const[]){ __VA_ARGS__, NULL })

/* Whose is an address for a reporter? The name; "none" or "ambiguous". */
static const char *whose(const char *reporter, const char *addr)
{
	struct pr_uuid id = id_of(reporter);
	struct pr_addr address = addr_of(addr);
	const struct directory_endpoint *from = directory_find(directory, &id);
	const struct directory_endpoint *found = NULL;

	if (from == NULL) {
		return "no reporter";
	}
	switch (directory_lookup(directory, from, &address, &found)) {
	case DIRECTORY_FOUND:
		return found->policy.name;
	case DIRECTORY_AMBIGUOUS:
		return "ambiguous";
	case DIRECTORY_NONE:
		break;
	}
	return "none";
}

static void is(const char *reporter, const char *addr, const char *expected, const char *why)
{
	const char *got = whose(reporter, addr);

	ok(strcmp(got, expected) == 0, "%s: %s asks for %s: %s (got %s)", why, reporter, addr,
	   expected, got);
}

/* Two Docker hosts that use the same network, and a client host. */
static void put_hosts(void)
{
	PUT("alpha", "alpha", 1, "global 192.0.2.1/24 02:00:00:00:00:01 eth0",
	    NET_A " 172.18.0.1/16 02:42:00:00:00:01 br-1", "global 2001:db8::1/64 - eth0");
	PUT("web", "alpha", 11, NET_A " 172.18.0.2/16 - eth0");
	PUT("db", "alpha", 12, NET_A " 172.18.0.3/16 - eth0");
	PUT("beta", "beta", 1, "global 192.0.2.2/24 - eth0", NET_B " 172.18.0.1/16 - br-2");
	PUT("web2", "beta", 21, NET_B " 172.18.0.3/16 - eth0");
	PUT("client", "client", 1, "global 192.0.2.9/24 - eth0");
}

static void test_scopes(void)
{
	put_hosts();
	ok(directory_count(directory) == 6, "six endpoints");
	is("web", "172.18.0.3", "db", "same host, same network");
	is("web2", "172.18.0.2", "none", "another host's container network");
	is("web2", "172.18.0.3", "web2", "its own address");
	is("web", "172.18.0.1", "alpha", "the bridge gateway is the host");
	is("web2", "172.18.0.1", "beta", "each host has its own gateway");
	is("alpha", "172.18.0.3", "db", "a host sees its containers");
	is("beta", "172.18.0.3", "web2", "so does the other");
	is("client", "172.18.0.3", "none", "an outsider sees no container network");
	is("web", "192.0.2.2", "beta", "global addresses from a container");
	is("client", "2001:db8::1", "alpha", "IPv6");
	is("web", "127.0.0.1", "web", "loopback is the reporter");
	is("web", "::1", "web", "IPv6 loopback too");
	is("beta", "127.0.0.53", "beta", "all of 127/8");
	is("client", "198.51.100.7", "none", "the world");
}

static void test_local(void)
{
	struct pr_uuid alpha = id_of("alpha"), client = id_of("client");
	struct pr_addr known = addr_of("172.18.0.3"), in_prefix = addr_of("172.18.44.1");
	struct pr_addr global = addr_of("192.0.2.1");

	ok(directory_is_local(directory, &alpha, &known), "an address of a container is local");
	ok(directory_is_local(directory, &alpha, &in_prefix), "so is the rest of the network");
	ok(!directory_is_local(directory, &client, &known), "not on a host without that network");
	ok(!directory_is_local(directory, &alpha, &global), "a global address is not local");
	ok(directory_is_own(directory, &alpha, &known), "a container's address is its host's own");
	ok(!directory_is_own(directory, &alpha, &in_prefix), "the rest of the network is nobody's");
	ok(directory_is_own(directory, &alpha, &global) &&
	           !directory_is_own(directory, &client, &global),
	   "a global address is its host's, and no other's");
}

static void test_change(void)
{
	PUT("db", "alpha", 12, NET_A " 172.18.0.7/16 - eth0");
	is("web", "172.18.0.3", "none", "the old address is gone after a change");
	is("web", "172.18.0.7", "db", "the new one is there");
	struct pr_uuid db = id_of("db");
	directory_remove(directory, &db);
	is("web", "172.18.0.7", "none", "gone with its endpoint");
	directory_remove(directory, &db);
	ok(directory_count(directory) == 5, "removing twice is harmless");
}

static void test_ambiguous(void)
{
	PUT("thief", "thief", 1, "global 192.0.2.9/24 - eth0");
	is("web", "192.0.2.9", "ambiguous", "two hosts claim a global address");
	is("thief", "192.0.2.9", "thief", "for itself it is its own");
	PUT("hostnet", "alpha", 1, "global 192.0.2.1/24 - eth0");
	is("client", "192.0.2.1", "alpha", "a host comes before a container that shares it");
	PUT("pod", "alpha", 11, NET_A " 172.18.0.2/16 - eth0");
	is("alpha", "172.18.0.2", "ambiguous", "two containers that share a namespace");
	PUT("vlan", "alpha", 31, "global 192.0.2.77/24 - eth0");
	is("client", "192.0.2.77", "vlan", "macvlan is global");
	PUT("other", "alpha", 32, "cccccccc-0000-4000-8000-000000000001 172.18.0.2/16 - eth1");
	PUT("near", "alpha", 33, "cccccccc-0000-4000-8000-000000000001 172.18.0.4/16 - eth1");
	is("near", "172.18.0.2", "other", "a network of its own comes first");
}

static void test_stopped(void)
{
	struct directory_address address;
	struct directory_endpoint endpoint = {
		.policy = { .id = id_of("gone"),
		            .name = "gone",
		            .host_id = id_of("beta"),
		            .kind = POLICY_CONTAINER },
		.stopped = true,
		.addresses = &address,
		.address_count = 1,
	};

	ok(directory_address_parse(NET_B " 172.18.0.99/16", &address) == PR_OK, "parse");
	ok(directory_put(directory, &endpoint) == PR_OK, "put a stopped one");
	is("beta", "172.18.0.99", "none", "a stopped endpoint has no address");
}

#define S(seconds) ((seconds)*PR_NS_PER_S)

static void put_in_namespace(uint64_t inode)
{
	struct directory_endpoint endpoint = { .policy = { .id = id_of("born"),
		                                           .name = "born",
		                                           .host_id = id_of("beta"),
		                                           .kind = POLICY_CONTAINER },
		                               .namespace_inode = inode };

	ok(directory_put(directory, &endpoint) == PR_OK, "put in namespace %u", (unsigned)inode);
}

static void test_births(void)
{
	struct directory_endpoint stopped = { .policy = { .id = id_of("born"),
		                                          .name = "born",
		                                          .host_id = id_of("beta"),
		                                          .kind = POLICY_CONTAINER },
		                              .stopped = true };
	struct pr_uuid alpha = id_of("alpha"), beta = id_of("beta");
	const struct pr_uuid *born = &stopped.policy.id;

	ok(!directory_is_new(directory, &beta, S(1)),
	   "what came at a time that nobody knows is not new");
	directory_time_set(directory, S(10));
	put_in_namespace(0);
	ok(directory_is_new(directory, born, S(20)) &&
	           !directory_is_new(directory, born, S(20) + 1),
	   "a container without a namespace is about to run, not for ever");
	ok(directory_is_new(directory, &beta, S(11)) &&
	           !directory_is_new(directory, &beta, S(11) + 1) &&
	           !directory_is_new(directory, &alpha, S(10)),
	   "its host has a new one, no other host has");
	directory_time_set(directory, S(15));
	put_in_namespace(7);
	ok(directory_is_new(directory, born, S(16)) &&
	           !directory_is_new(directory, born, S(16) + 1) &&
	           directory_is_new(directory, &beta, S(16)),
	   "one that runs is new for a second");
	directory_time_set(directory, S(20));
	put_in_namespace(7);
	PUT("beta", "beta", 2, "global 192.0.2.2/24 - eth0", NET_B " 172.18.0.1/16 - br0");
	ok(!directory_is_new(directory, born, S(20)) && directory_is_new(directory, &beta, S(16)) &&
	           !directory_is_new(directory, &beta, S(20)),
	   "other news of them make it neither new nor old");
	ok(directory_put(directory, &stopped) == PR_OK && !directory_is_new(directory, born, S(20)),
	   "nor does its end");
	put_in_namespace(7);
	ok(directory_is_new(directory, born, S(21)) && directory_is_new(directory, &beta, S(21)),
	   "one that runs again is new");
	directory_remove(directory, &stopped.policy.id);
	directory_time_set(directory, 0);
}

static void test_fingerprint(void)
{
	uint64_t before = directory_policy_fingerprint(directory);

	PUT("web", "alpha", 11, NET_A " 172.18.0.20/16 - eth0");
	ok(directory_policy_fingerprint(directory) == before, "an address does not change groups");
	PUT("newcomer", "alpha", 40, NET_A " 172.18.0.40/16 - eth0");
	ok(directory_policy_fingerprint(directory) != before, "a new endpoint may");
	struct pr_uuid id = id_of("newcomer");
	directory_remove(directory, &id);
	ok(directory_policy_fingerprint(directory) == before, "and back");
}

static void test_many(void)
{
	size_t wrong = 0;

	directory_clear(directory);
	for (unsigned i = 0; i < 2000; i++) {
		char name[32], address[64];
		(void)snprintf(name, sizeof(name), "c%u", i);
		(void)snprintf(address, sizeof(address), NET_A " 10.0.%u.%u/8 - eth0", i / 250,
		               i % 250 + 1);
		PUT(name, "alpha", i, address);
	}
	for (unsigned i = 0; i < 2000; i++) {
		char name[32], address[64];
		(void)snprintf(name, sizeof(name), "c%u", i);
		(void)snprintf(address, sizeof(address), "10.0.%u.%u", i / 250, i % 250 + 1);
		wrong += strcmp(whose("c7", address), name) != 0;
	}
	ok(wrong == 0, "2,000 endpoints, each found by its address");
	struct policy_endpoint *endpoints = NULL;
	size_t count = 0;
	ok(directory_policy_endpoints(directory, &endpoints, &count) == PR_OK && count == 2000,
	   "all of them for the compiler");
	free(endpoints);
}

static void test_address_lines(void)
{
	static const char *const bad[] = {
		"",
		"global",
		"global x",
		"planet 192.0.2.1/24",
		"global 192.0.2.1/33",
		"global 192.0.2.1/",
		"global 2001:db8::1/129",
		"global 192.0.2.1/2x",
		"global 192.0.2.1/0000024",
		"aaaaaaaa-0000-4000-8000 192.0.2.1/24",
	};
	struct directory_address address = { 0 };

	for (size_t i = 0; i < PR_ARRAY_LEN(bad); i++) {
		ok(directory_address_parse(bad[i], &address) == PR_EINVAL, "refused: '%s'", bad[i]);
	}
	ok(directory_address_parse("global 192.0.2.1/24 02:42:ac:12:00:03 eth0", &address) ==
	                   PR_OK &&
	           address.global && address.bits == 120,
	   "IPv4 prefix in the 16 byte form");
}

int main(void)
{
	directory = directory_new();
	if (directory == NULL) {
		abort();
	}
	test_scopes();
	test_local();
	test_change();
	test_ambiguous();
	test_stopped();
	test_births();
	test_fingerprint();
	test_many();
	test_address_lines();
	directory_destroy(&directory);
	directory_destroy(&directory);
	return tap_done();
}
