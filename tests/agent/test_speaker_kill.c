/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * kill -9 of the agent at any moment: no number is ever given to two events, nothing that was
 * acknowledged or sent is missing, and every number is either stored or reported as lost. This
 * program is both sides: the recorder, and, run by itself with arguments, the agent.
 */

#include <signal.h>
#include <sys/wait.h>

#include "tests/agent/speaker_fake.h"

#define KILLS     20
#define FLUSH_RUN (KILLS + 1)

static struct fake fake;
static uint64_t content[FAKE_EVENTS_MAX]; /* of each number: run * 2^32 + count in the run */
static unsigned reused, disorder;

/* ---- the agent ---- */

static void nothing_verdict(void *context, const struct codec_verdict *verdict)
{
	(void)context;
	(void)verdict;
}

static void nothing_state(void *context, const struct speaker_state *state)
{
	(void)context;
	(void)state;
}

static void nothing_services(void *context)
{
	(void)context;
}

static void nothing_reachable(void *context, bool reachable)
{
	(void)context;
	(void)reachable;
}

static int agent_run(char **argv)
{
	struct bus_key key;
	struct pr_uuid id;
	uint8_t authority[BUS_KEY_BYTES];
	char key_path[128];
	bus_context_t *context = NULL;
	speaker_t *speaker = NULL;
	const struct speaker_outlet outlet = { .verdict = nothing_verdict,
		                               .state = nothing_state,
		                               .services = nothing_services,
		                               .reachable = nothing_reachable };
	uint64_t run = strtoull(argv[3], NULL, 10) << 32;

	(void)snprintf(key_path, sizeof(key_path), "%s/key", argv[1]);
	if (bus_key_load(key_path, &id, &key) != PR_OK ||
	    bus_key_parse(argv[2], authority) != PR_OK ||
	    bus_context_new(NULL, &context) != PR_OK) {
		return 1;
	}
	const struct speaker_options options = { .state_folder = argv[1],
		                                 .id = id,
		                                 .key = &key,
		                                 .authority_key = authority,
		                                 .version = "test",
		                                 .spool_max_bytes = 16 << 20,
		                                 .requests_max = 16 };
	if (speaker_new(context, &options, &outlet, &speaker) != PR_OK) {
		return 2;
	}
	if (run >> 32 == FLUSH_RUN) {
		for (unsigned i = 0; i < 5; i++) {
			const struct codec_event event = { .connection = ++run };
			speaker_event(speaker, &event);
		}
		speaker_flush(speaker);
		(void)raise(SIGKILL); /* before a turn */
	}
	for (unsigned turn = 0; turn < 20000; turn++) {
		for (unsigned i = 0; i < 5; i++) {
			const struct codec_event event = { .connection = ++run };
			speaker_event(speaker, &event);
		}
		speaker_turn(speaker, pr_clock_monotonic_ns(), true);
		(void)poll(NULL, 0, 1);
	}
	return 3;
}

static pid_t agent_start(const char *self, unsigned run)
{
	char key[BUS_KEY_TEXT_BYTES], number[16];

	(void)bus_key_format(fake.authority.public_key, key);
	(void)snprintf(number, sizeof(number), "%u", run);
	(void)fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		(void)execl(self, self, fake.folder, key, number, (char *)NULL);
		_exit(127);
	}
	return child;
}

/* ---- the recorder ---- */

static void events_note(const struct bus_frame *frame)
{
	static struct codec_event events[CODEC_BATCH_MAX];
	size_t count = 0;
	enum codec_type type;

	if (codec_frame_type(frame->data, frame->size_bytes, &type) != PR_OK ||
	    type != CODEC_EVENT ||
	    codec_records_decode(CODEC_EVENT, frame->data, frame->size_bytes, events, &count) !=
	            PR_OK) {
		return;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t seq = events[i].seq;
		if (seq >= FAKE_EVENTS_MAX) {
			continue;
		}
		reused += content[seq] != 0 && content[seq] != events[i].connection;
		content[seq] = events[i].connection;
		disorder += seq > 1 && content[seq - 1] != 0 && content[seq - 1] > content[seq];
	}
}

static void recorder_run(unsigned ms)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + ms * PR_NS_PER_MS;
	struct bus_frame frame;

	while (pr_clock_monotonic_ns() < end_ns) {
		while (bus_server_receive(fake.recorder, &frame) == PR_OK) {
			events_note(&frame);
			fake_recorder_frame(&fake, &frame);
		}
		(void)poll(NULL, 0, 1);
	}
}

/* What an agent finds in its folder: key and signed directory. */
static void folder_fill(void)
{
	char path[128];
	uint8_t *data = NULL;
	size_t size_bytes = 0;
	codec_doc_t *directory = fake_directory(&fake);

	(void)snprintf(path, sizeof(path), "%s/key", fake.folder);
	ok(bus_key_save(path, &fake.agent, &fake.agent_key) == PR_OK, "a key file");
	(void)snprintf(path, sizeof(path), "%s/directory", fake.folder);
	FILE *file = fopen(path, "w");
	ok(codec_doc_encode(directory, &data, &size_bytes) == PR_OK && file != NULL &&
	           fchmod(fileno(file), 0600) == 0 && fwrite(data, size_bytes, 1, file) == 1 &&
	           fclose(file) == 0,
	   "a signed directory");
	free(data);
	codec_doc_destroy(&directory);
}

static void flushed_kill(const char *self)
{
	int status = 0;
	pid_t child = agent_start(self, FLUSH_RUN);

	ok(waitpid(child, &status, 0) == child && WIFSIGNALED(status),
	   "an agent dies right after it was told to flush, before any turn");
}

static void test_kills(const char *self)
{
	unsigned killed = 0, holes = 0;
	uint64_t state = 88172645463325252ULL;

	for (unsigned run = 1; run <= KILLS; run++) {
		pid_t child = agent_start(self, run);
		int status = 0;
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		/* Early ones hit the start itself. */
		recorder_run(run % 4 == 0 ? (unsigned)(state % 30) : 150 + (unsigned)(state % 300));
		(void)kill(child, SIGKILL);
		killed += waitpid(child, &status, 0) == child && WIFSIGNALED(status);
	}
	ok(killed == KILLS, "%u agents were killed", killed);
	flushed_kill(self);
	/* One more sends what the others left. */
	pid_t child = agent_start(self, FLUSH_RUN + 1);
	recorder_run(3000);
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	recorder_run(200);
	for (uint64_t seq = 1; seq <= fake.last_seq && seq < FAKE_EVENTS_MAX; seq++) {
		holes += content[seq] == 0;
	}
	ok(fake.last_seq > 1000 && fake.last_seq < FAKE_EVENTS_MAX, "%u events",
	   (unsigned)fake.last_seq);
	ok(reused == 0, "no number was given to two events: %u", reused);
	ok(disorder == 0, "numbers rise with time: %u", disorder);
	ok(holes == fake.lost, "%u numbers without an event, %u reported as lost", holes,
	   (unsigned)fake.lost);
	unsigned flushed = 0;
	for (uint64_t seq = 1; seq <= fake.last_seq && seq < FAKE_EVENTS_MAX; seq++) {
		flushed += content[seq] >> 32 == FLUSH_RUN;
	}
	ok(flushed == 5, "what was flushed is not lost: %u of 5", flushed);
	unsigned runs = 0;
	for (uint64_t seq = 2; seq <= fake.last_seq && seq < FAKE_EVENTS_MAX; seq++) {
		runs += content[seq - 1] >> 32 != content[seq] >> 32;
	}
	ok(runs >= KILLS / 2, "of %u runs", runs + 1);
}

int main(int argc, char **argv)
{
	if (argc == 4) {
		return agent_run(argv);
	}
	fake_open(&fake);
	folder_fill();
	test_kills(argv[0]);
	fake_folder_remove(&fake);
	fake_close(&fake);
	return tap_done();
}
