/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Every message of every role: what design and messages allow, and nothing else. */

#include "tests/controller/harness.h"

#define ALL                                                                                        \
	(BUS_ROLE_AGENT | BUS_ROLE_WORKER | BUS_ROLE_RECORDER | BUS_ROLE_ADMIN | BUS_ROLE_VIEWER | \
	 BUS_ROLE_SUBSCRIBER)
#define PEOPLE (BUS_ROLE_ADMIN | BUS_ROLE_VIEWER)

static const struct {
	enum codec_type type;
	unsigned roles;
} allowed[] = {
	{ CODEC_ENROLL, BUS_ROLE_ENROLLING },
	{ CODEC_DIRECTORY_GET, ALL },
	{ CODEC_HELLO, BUS_ROLE_AGENT },
	{ CODEC_ENDPOINT, BUS_ROLE_AGENT },
	{ CODEC_ENDPOINT_GONE, BUS_ROLE_AGENT },
	{ CODEC_INVENTORY_END, BUS_ROLE_AGENT },
	{ CODEC_STATE_GET, BUS_ROLE_AGENT },
	{ CODEC_STATUS_GET, PEOPLE },
	{ CODEC_ENDPOINTS_GET, PEOPLE },
	{ CODEC_POLICY_CHECK, PEOPLE },
	{ CODEC_POLICY_GET, PEOPLE | BUS_ROLE_RECORDER },
	{ CODEC_POLICY_LOG, PEOPLE },
	{ CODEC_GROUP_MEMBERS, PEOPLE },
	{ CODEC_PEERS_GET, PEOPLE | BUS_ROLE_RECORDER },
	{ CODEC_GROUPS_GET, PEOPLE },
	{ CODEC_USERGROUPS_GET, PEOPLE },
	{ CODEC_GROUP_PREVIEW, PEOPLE },
	{ CODEC_EXPLAIN_GET, PEOPLE },
	{ CODEC_REACH_GET, PEOPLE },
	{ CODEC_AUDIT_GET, PEOPLE },
	{ CODEC_POLICY_IMPORT, BUS_ROLE_ADMIN },
	{ CODEC_POLICY_EDIT, BUS_ROLE_ADMIN },
	{ CODEC_POLICY_DISCARD, BUS_ROLE_ADMIN },
	{ CODEC_POLICY_CONFIRM, BUS_ROLE_ADMIN },
	{ CODEC_POLICY_COMMIT, BUS_ROLE_ADMIN },
	{ CODEC_POLICY_ROLLBACK, BUS_ROLE_ADMIN },
	{ CODEC_QUARANTINE_SET, BUS_ROLE_ADMIN },
	{ CODEC_QUARANTINE_RELEASE, BUS_ROLE_ADMIN },
	{ CODEC_ENDPOINT_REMOVE, BUS_ROLE_ADMIN },
	{ CODEC_MODE_SET, BUS_ROLE_ADMIN },
	{ CODEC_TOKEN_NEW, BUS_ROLE_ADMIN },
	{ CODEC_PEER_SET, BUS_ROLE_ADMIN },
};

static const enum bus_role roles[] = {
	BUS_ROLE_AGENT,  BUS_ROLE_WORKER,     BUS_ROLE_RECORDER,  BUS_ROLE_ADMIN,
	BUS_ROLE_VIEWER, BUS_ROLE_SUBSCRIBER, BUS_ROLE_ENROLLING, BUS_ROLE_CONTROLLER,
};

static unsigned allowed_roles(enum codec_type type)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(allowed); i++) {
		if (allowed[i].type == type) {
			return allowed[i].roles;
		}
	}
	return 0;
}

static void test_one(const struct codec_message *message, enum bus_role role)
{
	bool may = (allowed_roles(message->type) & role) != 0;
	struct bus_peer peer = { .id = id_of(bus_role_name(role)), .role = role };
	uint64_t before = 0, after = 0;

	must(store_policy_head(bench.store, &before) == PR_OK, "head");
	say(&peer, codec_doc_new(message->type));
	const codec_doc_t *first = answer();
	must(store_policy_head(bench.store, &after) == PR_OK, "head");
	ok(is_error(first, "PR_EROLE") == !may, "%s as %s: %s", message->name, bus_role_name(role),
	   may ? "taken" : "refused");
	ok(before == after, "%s as %s, empty: no new revision", message->name, bus_role_name(role));
	sent_clear();
}

/* A hot message on the admin port, as any role. */
static void test_hot(void)
{
	static uint8_t data[CODEC_FRAME_MAX_BYTES];
	struct codec_request request = { .id = 1 };
	size_t size_bytes = 0;

	must(codec_records_encode(CODEC_REQUEST, &request, 1, data, sizeof(data), &size_bytes) ==
	             PR_OK,
	     "encode");
	for (size_t i = 0; i < PR_ARRAY_LEN(roles); i++) {
		struct bus_peer peer = { .id = id_of(bus_role_name(roles[i])), .role = roles[i] };
		frame_from(&peer, data, size_bytes);
		ok(is_error(answer(), "PR_EROLE"), "a request on the admin port as %s: refused",
		   bus_role_name(roles[i]));
		sent_clear();
	}
}

static void test_garbage(void)
{
	struct bus_peer admin = peer_of("ana", BUS_ROLE_ADMIN);
	static const uint8_t garbage[] = { 0xff, 0x00, 0xc1 };
	static uint8_t big[ADMIN_AGENT_FRAME_BYTES + 64];
	static const uint8_t newer[] = { 0x93, 0xcd, 0x00, 42, 0xcd, 0x7f, 0x00, 0x80 };
	struct bus_peer agent = peer_of("alpha", BUS_ROLE_AGENT);

	frame_from(&admin, garbage, sizeof(garbage));
	ok(is_error(answer(), "PR_EMALF"), "garbage: a named error");
	frame_from(&admin, newer, sizeof(newer));
	ok(is_error(answer(), "PR_EVERS"), "a newer major version: a named error");
	memcpy(big, (const uint8_t[]){ 0x93, 0xcd, 0x00, CODEC_ENDPOINT, 0xcd, 0x01, 0x00 }, 7);
	frame_from(&agent, big, sizeof(big));
	ok(is_error(answer(), "PR_ETOOBIG"), "an agent's frame over 1 MiB is not even decoded");
	sent_clear();
}

int main(void)
{
	size_t count = 0;

	pr_log_set_level(PR_LOG_ERROR);
	bench_start("mode observe default\n");
	const struct codec_message *messages = codec_messages(&count);
	for (size_t i = 0; i < count; i++) {
		if (messages[i].hot) {
			continue;
		}
		for (size_t j = 0; j < PR_ARRAY_LEN(roles); j++) {
			test_one(&messages[i], roles[j]);
		}
		ok(admin_roles_of(messages[i].type) == allowed_roles(messages[i].type),
		   "%s: the table says the same", messages[i].name);
	}
	test_hot();
	test_garbage();
	bench_stop();
	return tap_done();
}
