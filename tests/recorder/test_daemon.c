/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real program over loopback, beside a controller that only answers it. */
#include "tests/recorder/fake.h"
#include "tests/store/events.h"

static struct bus_key agent_key, viewer_key, other_key;
static bus_client_t *agent, *viewer;

static int send_events(struct fake *fake, bus_client_t *client, uint64_t first, size_t count,
                       const struct pr_uuid *src)
{
	static struct codec_event events[CODEC_BATCH_MAX];
	static uint8_t frame[CODEC_FRAME_MAX_BYTES];
	size_t size_bytes;

	for (size_t i = 0; i < count; i++) {
		events[i] = row_of(first + i, (first + i) * PR_NS_PER_S).event;
		events[i].src_endpoint = *src;
	}
	int err =
		codec_records_encode(CODEC_EVENT, events, count, frame, sizeof(frame), &size_bytes);
	for (unsigned i = 0; i < 1000 && err == PR_OK; i++) {
		err = bus_client_send(client, frame, size_bytes);
		if (err != PR_EAGAIN) {
			break;
		}
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
		err = PR_OK;
	}
	return err;
}

/* The number in the last acknowledgement within a time; 0: none came. */
static uint64_t acknowledged(struct fake *fake, bus_client_t *client, uint64_t until)
{
	struct codec_event_ack acks[CODEC_BATCH_MAX];
	const uint8_t *data;
	size_t size_bytes, count;
	uint64_t last = 0;

	while (last < until && fake_receive(fake, client, 3000, &data, &size_bytes)) {
		if (codec_records_decode(CODEC_EVENT_ACK, data, size_bytes, acks, &count) ==
		    PR_OK) {
			last = acks[count - 1].seq;
		}
	}
	return last;
}

static void test_config(struct fake *fake)
{
	int status;

	fake_start(fake, NULL, "");
	status = fake_wait(fake);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 1 && fake_log_has(fake, "--enroll TOKEN"),
	   "without a key it does not start, and says what to do");
	fake_start(fake, "portreeve-1-nonsense", "");
	status = fake_wait(fake);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 1 &&
	           fake_log_has(fake, "no enrolment token"),
	   "nor with a token that is none");
	fake_start(fake, NULL, "listn = x\n");
	status = fake_wait(fake);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 1 && fake_log_has(fake, ":3:"),
	   "nor with an unknown key in the configuration: file and line are named");
	fake->pid = 0;
}

static void test_enroll(struct fake *fake)
{
	fake_peer(fake, BUS_ROLE_AGENT, &agent_key);
	fake_peer(fake, BUS_ROLE_VIEWER, &viewer_key);
	if (!ok(fake_run(fake), "it asks for the keys of peers")) {
		fake_log_print(fake);
	}
	agent = fake_client(fake, &agent_key);
	viewer = fake_client(fake, &viewer_key);
	ok(fake_up(fake, agent) && fake_up(fake, viewer), "an agent and a viewer get in");
}

/* Joining again beside the running daemon changes nothing. */
static void test_again(struct fake *fake)
{
	char token[BUS_TOKEN_TEXT_BYTES];
	pid_t daemon = fake->pid;

	(void)!bus_token_format(&fake->token, token);
	fake_start(fake, token, "");
	int status = fake_wait(fake);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0 && fake_log_has(fake, "joined already"),
	   "who has joined does not join again");
	fake->pid = daemon;
}

static void test_events(struct fake *fake)
{
	struct pr_uuid id = fake->peers[0].id;
	codec_doc_t *name = codec_doc_new(CODEC_ENDPOINT);
	unsigned rows = 0;
	bool complete = false;
	char text[128] = "";

	codec_doc_set_uuid(name, CODEC_ENDPOINT_UUID, &id);
	codec_doc_set_uuid(name, CODEC_ENDPOINT_HOST, &id);
	codec_doc_set_text(name, CODEC_ENDPOINT_KIND, "host");
	codec_doc_set_text(name, CODEC_ENDPOINT_NAME, "dockersrv");
	fake_send(fake, agent, name);
	ok(send_events(fake, agent, 1, 50, &id) == PR_OK && acknowledged(fake, agent, 50) == 50,
	   "events of an agent are acknowledged");
	for (unsigned i = 0; i < 3000 && fake->policies_asked == 0; i++) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	ok(fake->policies_asked == 1, "it asks for the text of their revision");
	(void)poll(NULL, 0, 50);
	fake_send(fake, viewer, fake_events_get(5, "src.name:dockersrv rule:20", 0, false));
	for (;;) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
		if (doc == NULL || codec_doc_type(doc) == CODEC_END) {
			complete = doc != NULL && codec_doc_u64(doc, CODEC_END_COMPLETE) == 1 &&
			           codec_doc_u64(doc, CODEC_END_COUNT) == 50;
			break;
		}
		rows += fake_row_event(doc).seq == rows + 1;
		(void)snprintf(text, sizeof(text), "%s %s '%s'",
		               codec_doc_text(doc, CODEC_EVENT_ROW_SRC_NAME),
		               codec_doc_text(doc, CODEC_EVENT_ROW_DST_KIND),
		               codec_doc_text(doc, CODEC_EVENT_ROW_RULE_COMMENT));
	}
	ok(rows == 50 && complete, "a viewer gets them all, oldest first, and the end");
	ok(strcmp(text, "dockersrv external 'Allow MySQL server'") == 0,
	   "with names and the rule's comment: %s", text);
}

static codec_doc_t *users_get(const char *name)
{
	codec_doc_t *request = codec_doc_new(CODEC_USERS_GET);

	codec_doc_set_u64(request, CODEC_USERS_GET_ID, 6);
	codec_doc_set_text(request, CODEC_USERS_GET_NAME, name);
	return request;
}

static void test_users(struct fake *fake)
{
	unsigned rows = 0, newest = 0;

	fake_send(fake, viewer, users_get("www-data"));
	_cleanup_(codec_doc_destroy) codec_doc_t *seen = fake_doc(fake, viewer, 3000);
	ok(seen != NULL && codec_doc_type(seen) == CODEC_USER_SEEN &&
	           codec_doc_u64(seen, CODEC_USER_SEEN_CONNECTIONS) == 50 &&
	           codec_doc_u64(seen, CODEC_USER_SEEN_UID) == 33 &&
	           strcmp(codec_doc_text(seen, CODEC_USER_SEEN_ENDPOINT_NAME), "dockersrv") == 0,
	   "a viewer is told where a user was seen, and how often");
	for (;;) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
		if (doc == NULL || codec_doc_type(doc) != CODEC_EVENT_ROW) {
			ok(doc != NULL && codec_doc_type(doc) == CODEC_END &&
			           codec_doc_u64(doc, CODEC_END_COUNT) == 9,
			   "and the end");
			break;
		}
		newest += rows == 0 && fake_row_event(doc).seq == 50;
		rows++;
	}
	ok(rows == 8 && newest == 1, "and his last connections, newest first");
	fake_send(fake, agent, users_get(""));
	_cleanup_(codec_doc_destroy) codec_doc_t *refused = fake_doc(fake, agent, 3000);
	ok(refused != NULL && codec_doc_type(refused) == CODEC_ERROR &&
	           strcmp(codec_doc_text(refused, CODEC_ERROR_CODE), "PR_EROLE") == 0,
	   "an agent is not");
}

static unsigned rows_of(struct fake *fake, uint64_t id, uint64_t *ret_first, bool *ret_complete)
{
	unsigned rows = 0;

	*ret_complete = false;
	for (;;) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
		if (doc == NULL || codec_doc_type(doc) != CODEC_EVENT_ROW) {
			*ret_complete = doc != NULL && codec_doc_u64(doc, CODEC_END_COMPLETE) == 1;
			break;
		}
		if (codec_doc_u64(doc, CODEC_EVENT_ROW_ID) == id && rows++ == 0) {
			*ret_first = fake_row_event(doc).seq;
		}
	}
	return rows;
}

static void test_queries(struct fake *fake)
{
	uint64_t first = 0;
	bool complete;

	fake_send(fake, viewer, fake_events_get(6, "", 10, false));
	ok(rows_of(fake, 6, &first, &complete) == 10 && first == 41 && !complete,
	   "a limit gives the newest, oldest first, and says that there are more");
	fake_send(fake, viewer, fake_events_get(7, "seq<21", 30, false));
	ok(rows_of(fake, 7, &first, &complete) == 20 && first == 1 && complete,
	   "fewer than the limit: all, and the end says so");
	fake_send(fake, viewer, fake_events_get(8, "user:nobody-of-that-name", 10, false));
	ok(rows_of(fake, 8, &first, &complete) == 0 && complete, "nothing matches: only the end");
	fake_send(fake, viewer, fake_events_get(9, "prt:3", 0, false));
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
	ok(doc != NULL && codec_doc_type(doc) == CODEC_ERROR &&
	           codec_doc_u64(doc, CODEC_ERROR_ID) == 9 &&
	           strstr(codec_doc_text(doc, CODEC_ERROR_TEXT), "column") != NULL,
	   "a wrong query is an error with its place: %s",
	   doc != NULL ? codec_doc_text(doc, CODEC_ERROR_TEXT) : "");
}

static void test_follow(struct fake *fake)
{
	struct pr_uuid id = fake->peers[0].id;
	unsigned rows = 0;
	uint64_t last = 0;

	fake_send(fake, viewer, fake_events_get(10, "", 5, true));
	for (; rows < 5; rows++) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
		if (doc == NULL) {
			break;
		}
		last = fake_row_event(doc).seq;
	}
	ok(rows == 5 && last == 50, "a follower gets the last five");
	(void)!send_events(fake, agent, 51, 20, &id);
	for (; rows < 25; rows++) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
		if (doc == NULL || codec_doc_type(doc) != CODEC_EVENT_ROW) {
			break;
		}
		last = fake_row_event(doc).seq;
	}
	ok(rows == 25 && last == 70, "and then every new one");
	ok(acknowledged(fake, agent, 70) == 70, "which is acknowledged as ever");
	(void)!send_events(fake, agent, 61, 10, &id);
	(void)acknowledged(fake, agent, 70);
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 300);
	ok(doc == NULL, "one that is sent again is not shown again");
}

static void test_roles(struct fake *fake)
{
	struct pr_uuid id = fake->peers[0].id;

	(void)!send_events(fake, viewer, 1, 3, &id);
	_cleanup_(codec_doc_destroy) codec_doc_t *one = fake_doc(fake, viewer, 3000);
	ok(one != NULL && codec_doc_type(one) == CODEC_ERROR &&
	           strcmp(codec_doc_text(one, CODEC_ERROR_CODE), "PR_EROLE") == 0,
	   "a viewer may not report events");
	fake_send(fake, agent, fake_events_get(1, "", 0, false));
	_cleanup_(codec_doc_destroy) codec_doc_t *two = fake_doc(fake, agent, 3000);
	ok(two != NULL && codec_doc_type(two) == CODEC_ERROR &&
	           strcmp(codec_doc_text(two, CODEC_ERROR_CODE), "PR_EROLE") == 0,
	   "an agent may not read them");
	bus_client_t *stranger = NULL;
	(void)!bus_key_new(&other_key);
	stranger = fake_client(fake, &other_key);
	for (unsigned i = 0; i < 3000 && bus_client_link(stranger) == BUS_LINK_CONNECTING; i++) {
		(void)poll(NULL, 0, 1);
	}
	ok(bus_client_link(stranger) == BUS_LINK_REFUSED, "a stranger does not get in");
	bus_client_destroy(&stranger);
}

static bool status_fact(const codec_doc_t *doc, const char *fact)
{
	for (size_t i = 0; i < codec_doc_count(doc, CODEC_STATUS_FACTS); i++) {
		if (strcmp(codec_doc_item(doc, CODEC_STATUS_FACTS, i), fact) == 0) {
			return true;
		}
	}
	return false;
}

static void test_status(struct fake *fake)
{
	codec_doc_t *request = codec_doc_new(CODEC_STATUS_GET);
	char id[PR_UUID_TEXT_BYTES], seq[64], gap[64];

	codec_doc_set_u64(request, CODEC_STATUS_GET_ID, 77);
	fake_send(fake, viewer, request);
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
	_cleanup_(codec_doc_destroy) codec_doc_t *end = fake_doc(fake, viewer, 3000);
	(void)pr_uuid_format(&fake->peers[0].id, id);
	(void)snprintf(seq, sizeof(seq), "seq.%s 70", id);
	(void)snprintf(gap, sizeof(gap), "gap.%s 0", id);
	ok(doc != NULL && codec_doc_type(doc) == CODEC_STATUS &&
	           codec_doc_u64(doc, CODEC_STATUS_ID) == 77 && status_fact(doc, "events 70") &&
	           status_fact(doc, "disk_full 0") && status_fact(doc, "followers 1") &&
	           status_fact(doc, seq) && status_fact(doc, gap) && end != NULL &&
	           codec_doc_type(end) == CODEC_END,
	   "status tells events, disk, followers and each agent's numbers");
	for (size_t i = 0; doc != NULL && i < codec_doc_count(doc, CODEC_STATUS_FACTS); i++) {
		printf("# %s\n", codec_doc_item(doc, CODEC_STATUS_FACTS, i));
	}
}

/* Anything that an enrolled peer may send: the answer is an error or nothing, and it lives on. */
static void test_garbage(struct fake *fake)
{
	static uint8_t frame[CODEC_FRAME_MAX_BYTES];
	bus_client_t *clients[] = { fake_client(fake, &agent_key), fake_client(fake, &viewer_key) };
	uint64_t random = 88172645463325252ULL;
	const struct codec_event event = row_of(1, 1).event;
	const uint8_t *data;
	size_t size_bytes, sent = 0;

	(void)!codec_records_encode(CODEC_EVENT, &event, 1, frame, sizeof(frame), &size_bytes);
	for (unsigned i = 0; i < 4000; i++) {
		bus_client_t *client = clients[i % 2];
		for (unsigned j = 0; j < 1 + i % 5; j++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			frame[random % (i % 3 == 0 ? 16 : size_bytes)] = (uint8_t)(random >> 32);
		}
		sent += bus_client_send(client, frame, 1 + random % size_bytes) == PR_OK;
		while (bus_client_receive(client, &data, &(size_t){ 0 }) == PR_OK) {
		}
		if (i % 100 == 0) {
			fake_turn(fake);
			(void)poll(NULL, 0, 1);
		}
	}
	for (size_t type = 0; type < 256; type++) {
		/* Empty documents of every type, known or not. */
		const uint8_t empty[] = { 0x93, 0xcd, 0x00, (uint8_t)type, 0xcd, 0x01, 0x00, 0x80 };
		sent += bus_client_send(clients[0], empty, sizeof(empty)) == PR_OK;
		sent += bus_client_send(clients[1], empty, sizeof(empty)) == PR_OK;
	}
	bus_client_destroy(&clients[0]);
	bus_client_destroy(&clients[1]);
	codec_doc_t *request = codec_doc_new(CODEC_STATUS_GET);
	fake_send(fake, viewer, request);
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
	_cleanup_(codec_doc_destroy) codec_doc_t *end = fake_doc(fake, viewer, 3000);
	ok(sent > 500 && doc != NULL && codec_doc_type(doc) == CODEC_STATUS && end != NULL,
	   "%zu frames of garbage later it answers as before", sent);
	ok(!status_fact(doc, "frames_malformed 0"), "and has counted them");
}

static void test_revoke(struct fake *fake)
{
	struct pr_uuid id = fake->peers[0].id;
	struct bus_key second_key;
	const uint8_t *data;
	size_t size_bytes;

	struct bus_peer *second = fake_peer(fake, BUS_ROLE_AGENT, &second_key);
	bus_client_t *client = fake_client(fake, &second_key);
	uint64_t start_ns = pr_clock_monotonic_ns();
	bool up = fake_up(fake, client);
	ok(up, "a key enrolled later gets in, after %llu ms",
	   (unsigned long long)((pr_clock_monotonic_ns() - start_ns) / PR_NS_PER_MS));
	ok(send_events(fake, client, 1, 3, &second->id) == PR_OK &&
	           acknowledged(fake, client, 3) == 3,
	   "and may report");
	unsigned listed = fake->peers_listed;
	second->expires_wall_ns = 1; /* the fake's word for revoked */
	fake->list_number++;
	start_ns = pr_clock_monotonic_ns();
	while (fake->peers_listed == listed &&
	       pr_clock_monotonic_ns() - start_ns < 3 * PR_NS_PER_S) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	ok(fake->peers_listed > listed, "a changed list is fetched within %llu ms",
	   (unsigned long long)((pr_clock_monotonic_ns() - start_ns) / PR_NS_PER_MS));
	(void)poll(NULL, 0, 100);
	(void)!send_events(fake, client, 4, 3, &id);
	ok(!fake_receive(fake, client, 500, &data, &size_bytes), "a revoked key is cut off");
	bus_client_destroy(&client);
	listed = fake->peers_asked;
	while (fake->peers_asked == listed) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	listed = fake->peers_asked;
	fake_doc_send(fake, &fake->recorder_route, codec_doc_new(CODEC_PEER));
	start_ns = pr_clock_monotonic_ns();
	while (fake->peers_asked == listed &&
	       pr_clock_monotonic_ns() - start_ns < 3 * PR_NS_PER_S) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	uint64_t took_ms = (pr_clock_monotonic_ns() - start_ns) / PR_NS_PER_MS;
	ok(took_ms < 900, "a change that is pushed is asked for at once: %llu ms",
	   (unsigned long long)took_ms);
}

static void test_alone(struct fake *fake)
{
	struct pr_uuid id = fake->peers[0].id;
	int status = fake_stop(fake, SIGTERM);

	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ends cleanly on SIGTERM");
	bus_client_destroy(&agent);
	bus_client_destroy(&viewer);
	bus_server_destroy(&fake->server);
	fake_start(fake, NULL, "");
	agent = fake_client(fake, &agent_key);
	ok(fake_up(fake, agent) && send_events(fake, agent, 71, 5, &id) == PR_OK &&
	           acknowledged(fake, agent, 75) == 75,
	   "started while the controller is away it goes on with the keys that it knew");
	fake_serve(fake);
	unsigned asked = fake->peers_asked;
	for (unsigned i = 0; i < 10000 && fake->peers_asked == asked; i++) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	ok(fake->peers_asked > asked, "and asks when the controller is back");
	bus_client_destroy(&agent);
}

int main(void)
{
	struct fake fake;

	fake_open(&fake);
	fake.policy = "group db select name db*\n"
		      "rule 20 allow from any to db tcp/3306 comment \"Allow MySQL server\"\n";
	test_config(&fake);
	test_enroll(&fake);
	if (agent != NULL && bus_client_link(agent) == BUS_LINK_UP) {
		test_again(&fake);
		test_events(&fake);
		test_users(&fake);
		test_queries(&fake);
		test_follow(&fake);
		test_roles(&fake);
		test_status(&fake);
		test_garbage(&fake);
		test_revoke(&fake);
		test_alone(&fake);
	}
	if (tap_failed > 0) {
		fake_log_print(&fake);
	}
	bus_client_destroy(&agent);
	bus_client_destroy(&viewer);
	fake_close(&fake);
	return tap_done();
}
