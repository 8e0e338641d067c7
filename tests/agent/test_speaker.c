/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The whole speaker against a controller, two workers and a recorder on real sockets. */

#include <fcntl.h>

#include "tests/agent/speaker_fake.h"

static struct fake fake;
static uint64_t next_request = 1;

static codec_doc_t *endpoint_make(unsigned number, const char *name)
{
	codec_doc_t *endpoint = codec_doc_new(CODEC_ENDPOINT);
	struct pr_uuid id = pr_uuid_of_bytes("endpoint", &number, sizeof(number));

	codec_doc_set_uuid(endpoint, CODEC_ENDPOINT_UUID, &id);
	codec_doc_set_uuid(endpoint, CODEC_ENDPOINT_HOST, &fake.agent);
	codec_doc_set_text(endpoint, CODEC_ENDPOINT_KIND, "container");
	codec_doc_set_text(endpoint, CODEC_ENDPOINT_NAME, name);
	return endpoint;
}

static void endpoint_put(unsigned number, const char *name)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *endpoint = endpoint_make(number, name);
	if (speaker_endpoint_put(fake.speaker, endpoint) != PR_OK) {
		ok(false, "endpoint %s", name);
	}
}

static void ask(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct codec_request request = { .id = next_request++, .proto = 6 };
		memcpy(request.wire_src.bytes, &request.id, sizeof(request.id));
		speaker_request(fake.speaker, &request, pr_clock_monotonic_ns());
	}
}

static void record(unsigned count)
{
	struct codec_event event = { .time_wall_ns = 1, .proto = 6, .exe = "/usr/bin/true" };

	for (unsigned i = 0; i < count; i++) {
		event.pid = i;
		speaker_event(fake.speaker, &event);
	}
}

static struct speaker_counters counters_now(void)
{
	struct speaker_counters counters;

	speaker_counters(fake.speaker, &counters);
	return counters;
}

static void test_start(void)
{
	char status[256];

	ok(fake_speaker(&fake, 0, false) == PR_EINVAL, "without any controller it does not start");
	int ret = fake_speaker(&fake, 0, true);
	ok(ret == PR_OK, "a speaker: %s", pr_strerror(ret));
	ok(speaker_state_held(fake.speaker) == NULL, "nothing is known at first");
	ok(fake_until(&fake, 5000, fake.reachable), "directory fetched, workers reached");
	ok(fake_until(&fake, 5000, fake.states == 1) && fake.state.number == 1 &&
	           fake.state.default_mode == CODEC_MODE_ENFORCE && fake.state.lifeline_count == 1,
	   "state fetched");
	ok(fake.hellos == 0, "no inventory before it is complete");
	endpoint_put(1, "one");
	endpoint_put(2, "two");
	speaker_inventory_complete(fake.speaker);
	ok(fake_until(&fake, 3000, fake.inventories == 1 && fake.names == 2) && fake.hellos == 1 &&
	           fake.endpoints == 2,
	   "hello and inventory; the recorder has the names");
	ok(fake.services == 1, "the directory was told");
	struct part_lifeline lifeline[8];
	ok(speaker_lifeline(fake.speaker, lifeline, 8) == 4 && lifeline[0].port > 0 &&
	           !lifeline[0].inbound && lifeline[0].proto == 6,
	   "lifelines to controller, workers and recorder");
	speaker_status_format(fake.speaker, status, sizeof(status));
	ok(strstr(status, "controllers 1 of 1 up, workers 2 of 2, recorders 1 of 1") != NULL,
	   "status: %s", status);
}

static void test_inventory(void)
{
	unsigned endpoints = fake.endpoints;
	struct pr_uuid id;

	(void)fake_until(&fake, 100, false);
	endpoint_put(2, "two");
	ok(speaker_timeout_ns(fake.speaker) != 0, "the same again is no news");
	endpoint_put(3, "three");
	ok(speaker_timeout_ns(fake.speaker) == 0, "news makes a turn due");
	ok(fake_until(&fake, 3000, fake.deltas == 1) && fake.endpoints == endpoints + 1,
	   "only what changed is sent");
	unsigned number = 1;
	id = pr_uuid_of_bytes("endpoint", &number, sizeof(number));
	speaker_endpoint_gone(fake.speaker, &id, true);
	speaker_endpoint_gone(fake.speaker, &id, true);
	ok(fake_until(&fake, 3000, fake.deltas == 2) && fake.gone == 1, "an end is told");
	(void)fake_until(&fake, 50, false);
	ok(fake.gone == 1, "once");
	endpoint_put(3, "three");
	number = 2;
	id = pr_uuid_of_bytes("endpoint", &number, sizeof(number));
	speaker_endpoint_gone(fake.speaker, &id, false);
	ok(fake_until(&fake, 3000, fake.gone == 2), "a container stops");
	(void)fake_until(&fake, 100, false); /* forgotten here, as all have heard of it */
	speaker_endpoint_gone(fake.speaker, &id, true);
	ok(fake_until(&fake, 3000, fake.gone == 3), "and is removed later: told again");
	for (unsigned i = 0; i < 3000; i++) {
		endpoint_put(10 + i, "many");
		if (i % 1000 == 999) {
			fake_turn(&fake);
		}
	}
	endpoints = fake.endpoints;
	ok(fake_until(&fake, 10000, fake.deltas >= 3 && fake.endpoints >= 3002), "3,000 at once");
	(void)fake_until(&fake, 100, false);
	ask(1);
	unsigned verdicts = fake.verdicts;
	ok(fake_until(&fake, 2000, fake.verdicts == verdicts + 1), "asked");
	uint64_t directory = fake.workers[0].directory > fake.workers[1].directory
	                             ? fake.workers[0].directory
	                             : fake.workers[1].directory;
	ok(directory == fake.directory_version, "requests name the directory version: %u",
	   (unsigned)directory);

	/* A new endpoint's first request waits until the directory has it. */
	fake.mute_inventory = true;
	endpoint_put(5, "five");
	number = 5;
	struct codec_request request = { .id = next_request++ };
	request.reporter = pr_uuid_of_bytes("endpoint", &number, sizeof(number));
	verdicts = fake.verdicts;
	speaker_request(fake.speaker, &request, pr_clock_monotonic_ns());
	(void)fake_until(&fake, 200, false);
	ok(fake.verdicts == verdicts, "a newborn endpoint's request waits");
	ok(fake_until(&fake, 1000, fake.verdicts == verdicts + 1), "but not for ever");
	fake.mute_inventory = false;
	ok(fake_until(&fake, 6000, fake.hellos == 2) &&
	           fake_until(&fake, 6000, fake.inventories == 2),
	   "acknowledged");
	(void)fake_until(&fake, 100, false);
	endpoint_put(6, "six");
	number = 6;
	request.id = next_request++;
	request.reporter = pr_uuid_of_bytes("endpoint", &number, sizeof(number));
	uint64_t version = fake.directory_version;
	speaker_request(fake.speaker, &request, pr_clock_monotonic_ns());
	(void)fake_until(&fake, 3000, fake.verdicts == verdicts + 2);
	directory = fake.workers[0].directory > fake.workers[1].directory
	                    ? fake.workers[0].directory
	                    : fake.workers[1].directory;
	ok(fake.verdicts == verdicts + 2 && directory == version + 1,
	   "then asked under the version that has it");

	/* A controller that does not acknowledge is told everything again. */
	unsigned hellos = fake.hellos;
	fake.mute_inventory = true;
	endpoint_put(4, "four");
	ok(fake_until(&fake, 6000, fake.hellos > hellos), "no acknowledgement: from hello again");
	/* Less and less often: 2 to 4 s, then 4 to 8, then 8 to 16. */
	hellos = fake.hellos;
	(void)fake_until(&fake, 11000, false);
	ok(fake.hellos - hellos <= 2, "%u times more in 11 s", fake.hellos - hellos);
	fake.mute_inventory = false;
	unsigned inventories = fake.inventories;
	ok(fake_until(&fake, 17000, fake.inventories > inventories), "a full inventory");
}

/* A translated flow's notice goes out at once, to one worker, with the directory version. */
static void test_notice(void)
{
	struct codec_notice notice = { .id = next_request++, .proto = 6, .wire_src_port = 51000 };
	(void)fake_until(&fake, 100, false); /* what was told before is acknowledged */
	unsigned before = fake.workers[0].notices + fake.workers[1].notices;

	speaker_notice(fake.speaker, &notice);
	ok(speaker_timeout_ns(fake.speaker) == 0, "a notice makes a turn due");
	ok(fake_until(&fake, 2000, fake.workers[0].notices + fake.workers[1].notices == before + 1),
	   "and is sent, once");
	const struct codec_notice *got = fake.workers[0].notice.id == notice.id
	                                         ? &fake.workers[0].notice
	                                         : &fake.workers[1].notice;
	ok(got->id == notice.id && got->wire_src_port == 51000 &&
	           got->directory == fake.directory_version,
	   "naming the directory version");
	ok(counters_now().notices_sent >= 1 && counters_now().notices_lost == 0, "counted");
}

static void test_requests(void)
{
	unsigned verdicts = fake.verdicts, frames = fake.workers[0].frames + fake.workers[1].frames;

	ask(100);
	ok(fake_until(&fake, 3000, fake.verdicts == verdicts + 100), "100 requests, 100 verdicts");
	frames = fake.workers[0].frames + fake.workers[1].frames - frames;
	ok(frames <= 4, "in %u frames", frames);
	ok(fake.workers[0].requests > 20 && fake.workers[1].requests > 20, "by both workers");

	/* A worker stops, its connection stays. */
	verdicts = fake.verdicts;
	fake.workers[0].frozen = true;
	uint64_t start_ns = pr_clock_monotonic_ns();
	ask(50);
	ok(fake_until(&fake, 3000, fake.verdicts == verdicts + 50), "frozen: all are answered");
	uint64_t took_ms = (fake.last_verdict_ns - start_ns) / PR_NS_PER_MS;
	ok(took_ms >= 300, "after %u ms", (unsigned)took_ms);
	start_ns = pr_clock_monotonic_ns();
	ask(50);
	ok(fake_until(&fake, 3000, fake.verdicts == verdicts + 100), "the next are answered");
	took_ms = (fake.last_verdict_ns - start_ns) / PR_NS_PER_MS;
	ok(took_ms < 300, "without that delay: %u ms", (unsigned)took_ms);
	fake.workers[0].frozen = false;
	ok(fake_until(&fake, 3000, counters_now().verdicts_unasked > 0) &&
	           fake.verdicts == verdicts + 100,
	   "it wakes up: its late answers are ignored");
	unsigned requests = fake.workers[0].requests;
	ask(50);
	ok(fake_until(&fake, 3000, fake.verdicts == verdicts + 150) &&
	           fake.workers[0].requests > requests + 10,
	   "and it is asked again");
	ok(counters_now().workers_silent == 1, "counted");

	/* A worker ends. */
	unsigned port = bus_server_port(fake.workers[0].server);
	verdicts = fake.verdicts;
	bus_server_destroy(&fake.workers[0].server);
	start_ns = pr_clock_monotonic_ns();
	ask(50);
	ok(fake_until(&fake, 3000, fake.verdicts == verdicts + 50), "gone: all are answered");
	took_ms = (fake.last_verdict_ns - start_ns) / PR_NS_PER_MS;
	ok(took_ms < 300, "after %u ms", (unsigned)took_ms);
	fake.workers[0].server = fake_server(&fake, port);
	requests = fake.workers[0].requests;
	for (unsigned i = 0; i < 300 && fake.workers[0].requests == requests; i++) {
		ask(10);
		for (unsigned j = 0; j < 20; j++) {
			fake_turn(&fake);
		}
	}
	ok(fake.workers[0].requests > requests, "back: it is asked again");

	/* No worker at all. */
	fake.workers[0].frozen = fake.workers[1].frozen = true;
	verdicts = fake.verdicts;
	ask(10);
	(void)fake_until(&fake, 400, false);
	for (uint64_t id = next_request - 5; id < next_request; id++) {
		speaker_drop(fake.speaker, id);
	}
	fake.workers[0].frozen = fake.workers[1].frozen = false;
	(void)fake_until(&fake, 1000, fake.verdicts == verdicts + 10);
	ok(fake.verdicts == verdicts + 5, "what was dropped meanwhile gets no verdict");
}

static void test_events(void)
{
	uint64_t seq = fake.last_seq;

	record(1000);
	ok(fake_until(&fake, 5000, counters_now().events_acknowledged == 1000) &&
	           fake.last_seq == seq + 1000 && fake.gaps == 0 && fake.duplicates == 0,
	   "1,000 events, in order, acknowledged");
	fake.recorder_mute = true;
	record(100);
	ok(fake_until(&fake, 3000, fake.last_seq == seq + 1100), "a recorder that says nothing");
	ok(fake_until(&fake, 4000, fake.duplicates >= 100), "gets them again after 2 s");
	fake.recorder_mute = false;
	ok(fake_until(&fake, 4000, counters_now().events_acknowledged == 1100), "until it does");

	unsigned port = bus_server_port(fake.recorder);
	bus_server_destroy(&fake.recorder);
	for (unsigned i = 0; i < 50; i++) {
		record(40);
		fake_turn(&fake);
	}
	ok(counters_now().spool_bytes > 100000, "recorder away: %u bytes on disk",
	   (unsigned)counters_now().spool_bytes);
	fake.recorder = fake_server(&fake, port);
	ok(fake_until(&fake, 10000, counters_now().events_acknowledged == 3100) && fake.gaps == 0,
	   "back: all of them come");
}

/* One event a turn, as with one connection at a time: few frames, none much later than the rest. */
static void test_frames_shared(void)
{
	uint64_t acknowledged = counters_now().events_acknowledged, frames = fake.event_frames;

	for (unsigned i = 0; i < 60; i++) {
		record(1);
		speaker_turn(fake.speaker, pr_clock_monotonic_ns(), true);
	}
	uint64_t start_ns = pr_clock_monotonic_ns();
	ok(fake_until(&fake, 3000, counters_now().events_acknowledged == acknowledged + 60) &&
	           fake.gaps == 0,
	   "60 turns of one event each: all acknowledged");
	frames = fake.event_frames - frames;
	ok(frames <= 10, "in %u frames", (unsigned)frames);
	ok(pr_clock_monotonic_ns() - start_ns < 500 * PR_NS_PER_MS, "and soon");
	speaker_hurry(fake.speaker);
	frames = fake.event_frames;
	record(1);
	speaker_turn(fake.speaker, pr_clock_monotonic_ns(), true);
	ok(fake_until(&fake, 3000, fake.event_frames == frames + 1), "in a hurry: at once");
}

/* A recorder that takes nothing: the agent's loop may sleep all the same. */
static void test_no_spin(void)
{
	uint64_t acknowledged = counters_now().events_acknowledged, now_ns = 0;
	unsigned awake = 0;

	fake.recorder_mute = true;
	for (unsigned i = 0; i < 300; i++) {
		record(40);
		fake_turn(&fake);
	}
	(void)fake_until(&fake, 300, false);
	for (unsigned i = 0; i < 50; i++) {
		now_ns = pr_clock_monotonic_ns();
		speaker_turn(fake.speaker, now_ns, true);
		awake += speaker_timeout_ns(fake.speaker) <= pr_clock_monotonic_ns();
	}
	ok(awake < 5, "12,000 events that nobody acknowledges: %u of 50 turns want another at once",
	   awake);
	fake.recorder_mute = false;
	ok(fake_until(&fake, 10000, counters_now().events_acknowledged >= acknowledged + 12000) &&
	           fake.gaps == 0 && counters_now().events_lost == 0,
	   "then all of them come");
}

/* The controller's connection goes and comes while the agent does not look: it is a new session. */
static void test_session_anew(void)
{
	unsigned hellos = fake.hellos;
	struct bus_peer peer = { .id = fake.agent, .role = BUS_ROLE_AGENT };

	memcpy(peer.public_key, fake.agent_key.public_key, BUS_KEY_BYTES);
	bus_keyring_remove(fake.keyring, peer.public_key);
	fake_controller_turn(&fake);
	ok(bus_keyring_put(fake.keyring, &peer) == PR_OK, "cut off, admitted again");
	for (unsigned i = 0; i < 60; i++) {
		(void)poll(NULL, 0, 20);
		fake_controller_turn(&fake);
	}
	ok(fake_until(&fake, 5000, fake.hellos == hellos + 1), "it says hello again");
	(void)fake_until(&fake, 300, false);
	ok(fake.hellos == hellos + 1, "once");
}

static void test_state(void)
{
	unsigned states = fake.states;
	struct bus_sign_key stranger;

	fake.state_number = 2;
	fake.state_pending = true;
	ok(fake_until(&fake, 3000, fake.states == states + 1) && fake.state.number == 2,
	   "a newer state");
	ok(bus_sign_key_new(&stranger) == PR_OK, "another key");
	fake.signer = &stranger;
	fake.state_number = 3;
	fake.state_pending = true;
	ok(fake_until(&fake, 3000, counters_now().state_refused == 1) && fake.states == states + 1,
	   "one that another signed is refused");
	fake.signer = &fake.authority;
	fake.state_number = 1;
	fake.state_pending = true;
	ok(fake_until(&fake, 3000, counters_now().state_refused == 2) &&
	           fake.states == states + 1 && speaker_state_held(fake.speaker)->number == 2,
	   "an older one as well");
	ok(strstr(fake.counters, "gate_counter 1\n") != NULL &&
	           strstr(fake.counters, "state_refused 1\n") != NULL,
	   "the heartbeat carries counters");
	ok(fake.controller != NULL && fake.hellos < 10, "all over one session");
}

/* Everything again from disk, without controller. */
static void test_restart(void)
{
	uint64_t seq = fake.last_seq;
	char path[128];

	record(10);
	speaker_destroy(&fake.speaker);
	bus_server_destroy(&fake.controller);
	fake.states = fake.verdicts = 0;
	fake.reachable = false;
	int ret = fake_speaker(&fake, 0, false);
	ok(ret == PR_OK, "started from the directory that it kept: %s", pr_strerror(ret));
	ok(speaker_state_held(fake.speaker) != NULL &&
	           speaker_state_held(fake.speaker)->number == 2,
	   "with the state that it kept");
	ok(fake_until(&fake, 5000, fake.reachable && fake.states == 1), "told at the first turn");
	ask(10);
	ok(fake_until(&fake, 3000, fake.verdicts == 10), "workers answer without a controller");
	ok(fake_until(&fake, 5000, fake.last_seq == seq + 10), "events of before are sent");
	record(1);
	ok(fake_until(&fake, 5000, fake.last_seq == seq + 11) && fake.gaps == 0 && fake.lost == 0,
	   "the next number follows");

	speaker_destroy(&fake.speaker);
	(void)snprintf(path, sizeof(path), "%s/state", fake.folder);
	int fd = open(path, O_RDWR);
	uint8_t byte = 0;
	ok(fd >= 0 && pread(fd, &byte, 1, 60) == 1, "somebody changes the kept state");
	byte ^= 1;
	ok(pwrite(fd, &byte, 1, 60) == 1 && close(fd) == 0, "by a bit");
	ok(fake_speaker(&fake, 0, false) == PR_OK && speaker_state_held(fake.speaker) == NULL,
	   "it is not used");
	speaker_destroy(&fake.speaker);
}

/* A spool too small for what comes while the recorder is away. */
static void test_full(void)
{
	unsigned port = bus_server_port(fake.recorder);

	bus_server_destroy(&fake.recorder);
	ok(fake_speaker(&fake, 100000, false) == PR_OK, "a speaker with a small spool");
	uint64_t seq = fake.last_seq;
	for (unsigned i = 0; i < 100; i++) {
		record(40);
		fake_turn(&fake);
	}
	uint64_t lost = counters_now().events_lost;
	ok(lost > 1000 && lost < 4000, "%u of 4000 dropped", (unsigned)lost);
	fake.recorder = fake_server(&fake, port);
	(void)fake_until(&fake, 8000, fake.last_seq == seq + 4000);
	ok(fake.last_seq == seq + 4000 && fake.lost == lost && fake.gaps == 0,
	   "the recorder knows how many: %u", (unsigned)fake.lost);
	record(10);
	ok(fake_until(&fake, 4000, fake.last_seq == seq + 4010), "and on it goes");
}

int main(void)
{
	fake_open(&fake);
	test_start();
	test_inventory();
	test_notice();
	test_requests();
	test_events();
	test_frames_shared();
	test_no_spin();
	test_state();
	test_session_anew();
	test_restart();
	test_full();
	fake_close(&fake);
	fake_folder_remove(&fake);
	return tap_done();
}
