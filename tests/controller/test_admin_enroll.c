/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Tokens, enrolment, approval, revocation, and the signed directory. */

#include "tests/controller/harness.h"

static struct bus_peer ana;

static struct bus_token token_new(const char *role, const char *name, bool approved)
{
	codec_doc_t *ask = codec_doc_new(CODEC_TOKEN_NEW);
	struct bus_token token = { .role = BUS_ROLE_NONE };

	codec_doc_set_u64(ask, CODEC_TOKEN_NEW_ID, 7);
	codec_doc_set_text(ask, CODEC_TOKEN_NEW_ROLE, role);
	codec_doc_set_text(ask, CODEC_TOKEN_NEW_NAME, name);
	codec_doc_set_u64(ask, CODEC_TOKEN_NEW_APPROVED, approved);
	say(&ana, ask);
	const codec_doc_t *got = answer();
	ok(is_type(got, CODEC_OK) && codec_doc_u64(got, CODEC_OK_ID) == 7, "token for %s", role);
	must(got != NULL && bus_token_parse(codec_doc_text(got, CODEC_OK_TEXT), &token) == PR_OK,
	     "token");
	sent_clear();
	return token;
}

/* The peer that a token's key is, as the bus would name it. */
static bool admitted(const uint8_t *public_key, struct bus_peer *ret_peer)
{
	return bus_keyring_find(bench.keyring, public_key, ret_peer) == PR_OK;
}

static codec_doc_t *enroll_doc(const char *name, const struct bus_key *key)
{
	codec_doc_t *ask = codec_doc_new(CODEC_ENROLL);
	struct pr_uuid id = id_of(name);

	codec_doc_set_u64(ask, CODEC_ENROLL_ID, 9);
	codec_doc_set_uuid(ask, CODEC_ENROLL_UUID, &id);
	codec_doc_set_blob(ask, CODEC_ENROLL_PUBLIC_KEY, key->public_key, BUS_KEY_BYTES);
	codec_doc_set_text(ask, CODEC_ENROLL_NAME, name);
	return ask;
}

static void peer_set(const char *name, const char *status)
{
	codec_doc_t *ask = codec_doc_new(CODEC_PEER_SET);

	codec_doc_set_text(ask, CODEC_PEER_SET_NAME, name);
	codec_doc_set_text(ask, CODEC_PEER_SET_STATUS, status);
	say(&ana, ask);
}

static void test_token(void)
{
	struct bus_peer enrolling;
	struct bus_token token = token_new("agent", "", true);

	ok(strcmp(token.endpoint, "tcp://192.0.2.250:7400") == 0, "the advertised address");
	ok(memcmp(token.server_key, bench.keys.curve.public_key, BUS_KEY_BYTES) == 0,
	   "the controller's key");
	ok(admitted(token.key.public_key, &enrolling) && enrolling.role == BUS_ROLE_ENROLLING,
	   "ZAP admits the token's key, to enrol only");
	ok(token.expires_wall_ns == START_WALL + bench.now_ns + 3600 * PR_NS_PER_S, "for one hour");
}

static void test_bad_tokens(void)
{
	static const char *const bad[] = { "", "worker", "controller", "enrolling", "king" };

	for (size_t i = 0; i < PR_ARRAY_LEN(bad); i++) {
		codec_doc_t *ask = codec_doc_new(CODEC_TOKEN_NEW);
		codec_doc_set_text(ask, CODEC_TOKEN_NEW_ROLE, bad[i]);
		say(&ana, ask);
		ok(is_error(answer(), "PR_EINVAL"), "no token for role '%s'", bad[i]);
	}
	codec_doc_t *ask = codec_doc_new(CODEC_TOKEN_NEW);
	codec_doc_set_text(ask, CODEC_TOKEN_NEW_ROLE, "agent");
	codec_doc_set_text(ask, CODEC_TOKEN_NEW_NAME, "evil\x1b[2J");
	say(&ana, ask);
	ok(is_error(answer(), "PR_EINVAL"), "no control characters in names");
	sent_clear();
}

static void test_enroll(void)
{
	struct bus_token token = token_new("agent", "", true);
	struct bus_peer enrolling, alpha;
	struct bus_key key;

	must(bus_key_new(&key) == PR_OK && admitted(token.key.public_key, &enrolling), "key");
	say(&enrolling, enroll_doc("alpha", &key));
	const codec_doc_t *welcome = answer();
	ok(is_type(welcome, CODEC_ENROLLED) && codec_doc_u64(welcome, CODEC_ENROLLED_ID) == 9,
	   "enrolled");
	ok(strcmp(codec_doc_text(welcome, CODEC_ENROLLED_ROLE), "agent") == 0 &&
	           codec_doc_u64(welcome, CODEC_ENROLLED_PENDING) == 0,
	   "as an agent, approved");
	size_t bytes = 0;
	const uint8_t *authority = codec_doc_blob(welcome, CODEC_ENROLLED_AUTHORITY_KEY, &bytes);
	ok(bytes == BUS_KEY_BYTES && memcmp(authority, bench.keys.authority.public_key, bytes) == 0,
	   "with the authority's key");
	ok(admitted(key.public_key, &alpha) && alpha.role == BUS_ROLE_AGENT &&
	           strcmp(alpha.name, "alpha") == 0,
	   "its own key is admitted now");
	ok(admitted(token.key.public_key, &alpha) && alpha.role == BUS_ROLE_ENROLLING,
	   "the token's key stays until the answer is read");
	say(&enrolling, enroll_doc("beta", &key));
	const codec_doc_t *again = answer();
	ok(is_error(again, "PR_ENOENT"), "but a token works once, even on a live session");
	bench.now_ns += 4 * PR_NS_PER_S;
	tick();
	ok(!admitted(token.key.public_key, &alpha), "then it is not admitted any more");
	ok(admitted(key.public_key, &alpha), "the new key is");
	sent_clear();
}

static void test_enroll_twice(void)
{
	struct bus_token token = token_new("agent", "", true);
	struct bus_peer enrolling;
	struct bus_key key;

	must(bus_key_new(&key) == PR_OK && admitted(token.key.public_key, &enrolling), "key");
	say(&enrolling, enroll_doc("alpha", &key));
	ok(is_error(answer(), "PR_EEXIST"), "a uuid that is enrolled cannot be taken");
	ok(admitted(token.key.public_key, &enrolling), "the token is still good");
	codec_doc_t *short_key = enroll_doc("beta", &key);
	codec_doc_set_blob(short_key, CODEC_ENROLL_PUBLIC_KEY, key.public_key, 31);
	say(&enrolling, short_key);
	ok(is_error(answer(), "PR_EINVAL"), "a key of 31 bytes is none");
	sent_clear();
}

static void test_expiry(void)
{
	struct bus_token token = token_new("viewer", "", true);
	struct bus_peer enrolling;
	struct bus_key key;

	must(bus_key_new(&key) == PR_OK && admitted(token.key.public_key, &enrolling), "key");
	bench.now_ns += 3601 * PR_NS_PER_S;
	say(&enrolling, enroll_doc("late", &key));
	ok(is_error(answer(), "PR_EEXPIRED"), "an expired token enrols nobody");
	tick();
	struct store_peer found = { 0 };
	ok(store_peer_find(bench.store, token.key.public_key, &found) == PR_ENOENT,
	   "and is thrown away");
	sent_clear();
}

static void test_approval(void)
{
	struct bus_token token = token_new("recorder", "the recorder", false);
	struct bus_peer enrolling, peer;
	struct bus_key key;

	must(bus_key_new(&key) == PR_OK && admitted(token.key.public_key, &enrolling), "key");
	say(&enrolling, enroll_doc("rec1", &key));
	ok(codec_doc_u64(answer(), CODEC_ENROLLED_PENDING) == 1, "pending without approval");
	ok(!admitted(key.public_key, &peer), "a pending key is not admitted");
	sent_clear();
	peer_set("the recorder", "approved");
	ok(is_type(answer(), CODEC_OK), "approved by the name of its token");
	ok(admitted(key.public_key, &peer) && peer.role == BUS_ROLE_RECORDER, "now it is");
	sent_clear();
	peer_set("the recorder", "revoked");
	ok(is_type(answer(), CODEC_OK) && !admitted(key.public_key, &peer),
	   "revoked: out at once, live sessions too");
	peer_set("the recorder", "approved");
	sent_clear();
	peer_set("nobody", "approved");
	ok(is_error(answer(), "PR_ENOENT"), "nobody of that name");
	peer_set("ana", "revoked");
	ok(is_error(answer(), "PR_EINVAL"), "not one's own key");
	peer_set("ana", "crowned");
	ok(is_error(answer(), "PR_EINVAL"), "approved or revoked, nothing else");
	sent_clear();
}

static void test_ambiguous(void)
{
	struct store_peer twin = { .status = STORE_PEER_PENDING, .name = "twin", .role = "agent" };

	twin.id = id_of("twin1");
	memcpy(twin.public_key, twin.id.bytes, sizeof(twin.id.bytes));
	must(store_peer_put(bench.store, &twin) == PR_OK, "twin");
	twin.id = id_of("twin2");
	memcpy(twin.public_key, twin.id.bytes, sizeof(twin.id.bytes));
	must(store_peer_put(bench.store, &twin) == PR_OK, "twin");
	peer_set("twin", "approved");
	const codec_doc_t *error = answer();
	ok(is_error(error, "PR_EAMBIG") && codec_doc_count(error, CODEC_ERROR_DETAILS) == 2,
	   "two of that name: both are listed");
	char id[PR_UUID_TEXT_BYTES];
	(void)pr_uuid_format(&twin.id, id);
	id[8] = '\0';
	peer_set(id, "approved");
	ok(is_type(answer(), CODEC_OK), "the beginning of a uuid is enough");
	sent_clear();
}

/* ---- directory of services ---- */

static codec_doc_t *services_now(uint64_t *ret_number)
{
	codec_doc_t *services = NULL;
	size_t body_bytes = 0, signature_bytes = 0;

	say(&ana, codec_doc_new(CODEC_DIRECTORY_GET));
	const codec_doc_t *directory = answer();
	must(is_type(directory, CODEC_DIRECTORY), "directory");
	const uint8_t *body = codec_doc_blob(directory, CODEC_DIRECTORY_BODY, &body_bytes);
	const uint8_t *signature =
		codec_doc_blob(directory, CODEC_DIRECTORY_SIGNATURE, &signature_bytes);
	ok(bus_sign_verify(bench.keys.authority.public_key, body, body_bytes, signature,
	                   signature_bytes) == PR_OK,
	   "the directory is signed by the authority");
	must(codec_doc_decode(body, body_bytes, &services) == PR_OK, "services");
	*ret_number = codec_doc_u64(services, CODEC_SERVICES_NUMBER);
	sent_clear();
	return services;
}

/* Another controller on this store offers itself, and leaves. */
static void test_second_controller(void)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *offer = codec_doc_new(CODEC_SERVICES);
	_cleanup_(codec_doc_destroy) codec_doc_t *both = NULL, *alone = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	const char *name = "controller.offer.ffffffff-0000-4000-8000-000000000001";
	const char *line = "tcp://192.0.2.77:7400 key uuid";
	uint64_t before = 0, after = 0, ignored = 0;
	size_t size_bytes = 0;

	alone = services_now(&before);
	codec_doc_add_text(offer, CODEC_SERVICES_CONTROLLERS, line);
	codec_doc_add_text(offer, CODEC_SERVICES_WORKERS, "tcp://192.0.2.77:7410 key uuid");
	must(codec_doc_encode(offer, &data, &size_bytes) == PR_OK, "encode");
	must(store_value_put(bench.store, name, data, size_bytes) == PR_OK &&
	             store_number_next(bench.store, "controller.offers", &ignored) == PR_OK,
	     "offer");
	bench.now_ns += PR_NS_PER_S;
	tick();
	both = services_now(&after);
	ok(after > before && codec_doc_count(both, CODEC_SERVICES_CONTROLLERS) == 2 &&
	           strcmp(codec_doc_item(both, CODEC_SERVICES_CONTROLLERS, 1), line) == 0 &&
	           codec_doc_count(both, CODEC_SERVICES_WORKERS) ==
	                   codec_doc_count(alone, CODEC_SERVICES_WORKERS) + 1,
	   "a second controller is in the directory, under a newer number");
	bench.now_ns += PR_NS_PER_S;
	tick();
	codec_doc_destroy(&both);
	both = services_now(&ignored);
	ok(ignored == after, "which stays while nothing changes");
	must(store_value_delete(bench.store, name) == PR_OK &&
	             store_number_next(bench.store, "controller.offers", &ignored) == PR_OK,
	     "gone");
	bench.now_ns += PR_NS_PER_S;
	tick();
	codec_doc_destroy(&alone);
	alone = services_now(&before);
	ok(before > after && codec_doc_count(alone, CODEC_SERVICES_CONTROLLERS) == 1,
	   "and out of it when it has left");
}

static void test_services(void)
{
	uint64_t number = 0, next = 0;
	_cleanup_(codec_doc_destroy) codec_doc_t *services = services_now(&number);

	ok(number > 0, "it has a number");
	ok(codec_doc_count(services, CODEC_SERVICES_CONTROLLERS) == 1 &&
	           strncmp(codec_doc_item(services, CODEC_SERVICES_CONTROLLERS, 0),
	                   "tcp://192.0.2.250:7400 ", 23) == 0,
	   "one controller");
	ok(codec_doc_count(services, CODEC_SERVICES_WORKERS) == 2 &&
	           strncmp(codec_doc_item(services, CODEC_SERVICES_WORKERS, 1),
	                   "tcp://192.0.2.250:7411 ", 23) == 0,
	   "two workers");
	ok(strcmp(codec_doc_item(services, CODEC_SERVICES_WORKERS, 0) + 23 + 41,
	          codec_doc_item(services, CODEC_SERVICES_WORKERS, 1) + 23 + 41) != 0,
	   "each with an id of its own");
	ok(codec_doc_count(services, CODEC_SERVICES_RECORDERS) == 1 &&
	           strncmp(codec_doc_item(services, CODEC_SERVICES_RECORDERS, 0),
	                   "tcp://192.0.2.251:7401 ", 23) == 0,
	   "the enrolled recorder");
	peer_set("the recorder", "revoked");
	sent_clear();
	_cleanup_(codec_doc_destroy) codec_doc_t *without = services_now(&next);
	ok(next > number && codec_doc_count(without, CODEC_SERVICES_RECORDERS) == 0,
	   "revoked: not listed, and the number has risen");
	bench_admin(authority_of_store(bench.store));
	_cleanup_(codec_doc_destroy) codec_doc_t *again = services_now(&number);
	ok(again != NULL && number == next, "a restart that changes nothing keeps the number");
	bench.conf.workers = 3;
	bench_admin(authority_of_store(bench.store));
	_cleanup_(codec_doc_destroy) codec_doc_t *three = services_now(&number);
	ok(number > next && codec_doc_count(three, CODEC_SERVICES_WORKERS) == 3,
	   "another worker: the number rises over the restart");
	bench.conf.workers = 2;
}

/* How many peers are sent to one who knows this state of the list? */
static size_t peers_known(uint64_t state)
{
	codec_doc_t *ask = codec_doc_new(CODEC_PEERS_GET);
	size_t peers = 0;

	sent_clear();
	codec_doc_set_u64(ask, CODEC_PEERS_GET_KNOWN, state);
	say(&ana, ask);
	while (is_type(answer(), CODEC_PEER)) {
		peers++;
	}
	return peers;
}

static void test_peers_list(void)
{
	size_t peers = 0;
	const codec_doc_t *item = NULL;

	say(&ana, codec_doc_new(CODEC_PEERS_GET));
	while (is_type(item = answer(), CODEC_PEER)) {
		peers++;
	}
	ok(is_type(item, CODEC_END) && codec_doc_u64(item, CODEC_END_COUNT) == peers && peers >= 5,
	   "%zu peers listed, tokens are not among them", peers);
	uint64_t state = codec_doc_u64(item, CODEC_END_NUMBER);
	sent_clear();
	ok(peers_known(state) == 0, "the same state: nothing is sent again");
	ok(peers_known(state + 1) == peers, "another state: all of them");
	peer_set("alpha", "revoked");
	sent_clear();
	ok(peers_known(state) == peers, "a revocation is another state");
	sent_clear();
}

int main(void)
{
	pr_log_set_level(PR_LOG_ERROR);
	bench_start("mode observe default\n");
	ana = peer_of("ana", BUS_ROLE_ADMIN);
	bench_admin(authority_of_store(bench.store));
	test_token();
	test_bad_tokens();
	test_enroll();
	test_enroll_twice();
	test_expiry();
	test_approval();
	test_ambiguous();
	test_services();
	test_second_controller();
	test_peers_list();
	bench_stop();
	return tap_done();
}
