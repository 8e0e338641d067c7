/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/privilege.h"
#include "base/program.h"
#include "recorder/daemon.h"
#include "recorder/recorder.h"

#define LOG_COMPONENT   "recorder"
#define STORE_MAP_BYTES (1ULL << 30) /* names, keys and texts of revisions */
#define FRAMES_A_TURN   512
#define ADMITTED        (BUS_ROLE_AGENT | BUS_ROLE_ADMIN | BUS_ROLE_VIEWER | BUS_ROLE_SUBSCRIBER)
#define POLL_MAX_NS     (200 * PR_NS_PER_MS)
#define POLL_WAITING_NS (10 * PR_NS_PER_MS)
#define READERS_NS      (60 * PR_NS_PER_S)

/* ---- what ingest and answers call ---- */

static void on_acknowledge(void *arg, const struct bus_route *route, uint64_t seq)
{
	struct daemon *daemon = arg;
	const struct codec_event_ack ack = { .seq = seq };
	uint8_t frame[64];
	size_t size_bytes;

	if (codec_records_encode(CODEC_EVENT_ACK, &ack, 1, frame, sizeof(frame), &size_bytes) ==
	    PR_OK) {
		/* One that does not arrive is made good by the next. */
		(void)!bus_server_send(daemon->server, route, frame, size_bytes);
	}
}

static void on_committed(void *arg, const struct store_row *row)
{
	struct daemon *daemon = arg;
	recorder_answers_row(daemon->answers, row, daemon->now_ns);
}

int daemon_send(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	struct daemon *daemon = arg;
	return bus_server_send(daemon->server, route, data, size_bytes);
}

void daemon_commit(struct daemon *daemon)
{
	int err = recorder_ingest_commit(daemon->ingest, daemon->now_ns, pr_clock_wall_ns());

	if (err != PR_OK && err != daemon->commit_err) {
		log_error("events cannot be stored: %s; not acknowledged, agents keep theirs, "
		          "trying again",
		          pr_strerror(err));
	}
	if (err == PR_OK && daemon->commit_err != PR_OK) {
		log_info("events are stored again");
	}
	daemon->commit_err = err;
}

/* ---- start ---- */

static int fail(const char *what, int err)
{
	log_error("%s: %s", what, pr_strerror(err));
	return err;
}

/* The state directory, its parent too; made by root it goes to the user that we become. */
static int state_directory_make(const struct recorder_conf *conf)
{
	_cleanup_(pr_free) char *parent = strdup(conf->state_directory);
	const struct passwd *user =
		conf->user != NULL && conf->user[0] != '\0' ? getpwnam(conf->user) : NULL;

	if (parent == NULL) {
		return fail(conf->state_directory, PR_ENOMEM);
	}
	char *slash = strrchr(parent, '/');
	if (slash != parent) {
		*slash = '\0';
		mode_t mask = umask(022);
		(void)mkdir(parent, 0755);
		(void)umask(mask);
	}
	if (mkdir(conf->state_directory, 0700) != 0) {
		return errno == EEXIST ? PR_OK : fail(conf->state_directory, -errno);
	}
	if (user != NULL && geteuid() == 0 &&
	    lchown(conf->state_directory, user->pw_uid, user->pw_gid) != 0) {
		return fail(conf->state_directory, -errno);
	}
	return PR_OK;
}

static int stores_open(struct daemon *daemon)
{
	const struct recorder_conf *conf = &daemon->conf;
	char path[4096];

	if ((size_t)snprintf(path, sizeof(path), "%s/store", conf->state_directory) >=
	    sizeof(path)) {
		return fail(conf->state_directory, PR_ETOOBIG);
	}
	struct store_options options = { .path = path, .map_bytes = STORE_MAP_BYTES };
	int err = store_open(&options, &daemon->store);
	if (err != PR_OK) {
		return fail(path, err);
	}
	(void)snprintf(path, sizeof(path), "%s/history", conf->state_directory);
	struct store_history_options history = { .path = path,
		                                 .map_bytes = conf->map_bytes,
		                                 .keep_bytes = conf->keep_bytes,
		                                 .keep_events = conf->keep_events };
	err = store_history_open(&history, &daemon->history);
	return err == PR_OK ? PR_OK : fail(path, err);
}

static int identity_find(struct daemon *daemon)
{
	struct recorder_problem problem = { "" };
	int err = PR_OK;

	daemon->keyring = bus_keyring_new();
	if (daemon->keyring == NULL) {
		return fail("keyring", PR_ENOMEM);
	}
	err = bus_context_new(daemon->keyring, &daemon->context);
	if (err != PR_OK) {
		return fail("bus", err);
	}
	err = daemon->enroll_token != NULL
	              ? recorder_enroll(&daemon->conf, daemon->store, daemon->context,
	                                daemon->enroll_token, &problem)
	              : recorder_identity_load(&daemon->conf, daemon->store, &daemon->identity,
	                                       &problem);
	if (err != PR_OK) {
		log_error("%s", problem.text);
	}
	return err;
}

static int parts_make(struct daemon *daemon)
{
	int err = recorder_names_new(daemon->store, &daemon->names);
	if (err != PR_OK) {
		return fail("names of endpoints", err);
	}
	daemon->comments = recorder_comments_new(daemon->store);
	daemon->groups = recorder_groups_new(daemon->store, daemon->names);
	if (daemon->comments == NULL || daemon->groups == NULL) {
		return fail("policy texts", PR_ENOMEM);
	}
	const struct recorder_ingest_setup ingest = { .history = daemon->history,
		                                      .names = daemon->names,
		                                      .comments = daemon->comments,
		                                      .arg = daemon,
		                                      .acknowledge = on_acknowledge,
		                                      .committed = on_committed };
	const struct recorder_answers_setup answers = { .history = daemon->history,
		                                        .names = daemon->names,
		                                        .comments = daemon->comments,
		                                        .groups = daemon->groups,
		                                        .arg = daemon,
		                                        .send = daemon_send };
	daemon->ingest = recorder_ingest_new(&ingest);
	daemon->answers = recorder_answers_new(&answers);
	if (daemon->ingest == NULL || daemon->answers == NULL) {
		return fail("start", PR_ENOMEM);
	}
	const struct recorder_link_setup link = { .identity = &daemon->identity,
		                                  .context = daemon->context,
		                                  .keyring = daemon->keyring,
		                                  .store = daemon->store,
		                                  .comments = daemon->comments };
	err = recorder_link_new(&link, &daemon->link);
	return err == PR_OK ? PR_OK : fail("link to the controller", err);
}

static int serve(struct daemon *daemon)
{
	const struct bus_server_options options = { .endpoint = daemon->conf.listen,
		                                    .key = &daemon->identity.key,
		                                    .roles = ADMITTED,
		                                    .frame_max_bytes = CODEC_FRAME_MAX_BYTES };

	int err = bus_server_new(daemon->context, &options, &daemon->server);
	if (err != PR_OK) {
		log_error("listen '%s': %s", daemon->conf.listen,
		          err == PR_EBUSY ? "the port is taken by another program"
		                          : pr_strerror(err));
		return err;
	}
	log_info("listening on %s, port %u", daemon->conf.listen, bus_server_port(daemon->server));
	return PR_OK;
}

/* ---- loop ---- */

static void on_signal(struct daemon *daemon)
{
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
			daemon->stop = true;
		}
	}
}

/* Once a second: what no message starts. */
static void tick(struct daemon *daemon)
{
	if (daemon->now_ns - daemon->ticked_ns < PR_NS_PER_S) {
		return;
	}
	daemon->ticked_ns = daemon->now_ns;
	/* Also writes names that came without events. */
	if (recorder_ingest_due_ns(daemon->ingest) == 0) {
		daemon_commit(daemon);
	}
	if (daemon->now_ns - daemon->readers_ns >= READERS_NS) {
		daemon->readers_ns = daemon->now_ns;
		(void)store_readers_check(daemon->store);
		(void)store_history_readers_check(daemon->history);
	}
}

static bool frames_take(struct daemon *daemon)
{
	struct bus_frame frame;
	unsigned taken = 0;

	while (taken < FRAMES_A_TURN && bus_server_receive(daemon->server, &frame) == PR_OK) {
		daemon_frame(daemon, &frame);
		taken++;
	}
	return taken > 0;
}

/* True: there may be more; poll would miss it, as descriptors of zmq tell of changes only. */
static bool turn(struct daemon *daemon)
{
	daemon->now_ns = pr_clock_monotonic_ns();
	bool busy = frames_take(daemon);
	busy = recorder_link_run(daemon->link, daemon->now_ns) || busy;
	daemon->now_ns = pr_clock_monotonic_ns();
	uint64_t due_ns = recorder_ingest_due_ns(daemon->ingest);
	if (due_ns != 0 && due_ns <= daemon->now_ns) {
		daemon_commit(daemon);
		busy = true;
	}
	busy = recorder_answers_step(daemon->answers, daemon->now_ns) || busy;
	tick(daemon);
	return busy;
}

static int poll_timeout_ms(const struct daemon *daemon)
{
	uint64_t wait_ns = POLL_MAX_NS;
	uint64_t due_ns = recorder_ingest_due_ns(daemon->ingest);
	uint64_t now_ns = pr_clock_monotonic_ns();

	if (recorder_answers_waiting(daemon->answers)) {
		wait_ns = POLL_WAITING_NS;
	}
	if (due_ns != 0) {
		uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
		wait_ns = left_ns < wait_ns ? left_ns : wait_ns;
	}
	return (int)((wait_ns + PR_NS_PER_MS - 1) / PR_NS_PER_MS);
}

static void loop(struct daemon *daemon)
{
	while (!daemon->stop) {
		bool busy = turn(daemon);
		struct pollfd fds[] = {
			{ .fd = daemon->signal_fd, .events = POLLIN },
			{ .fd = bus_server_fd(daemon->server), .events = POLLIN },
			{ .fd = recorder_link_fd(daemon->link), .events = POLLIN },
		};
		int ready = poll(fds, PR_ARRAY_LEN(fds), busy ? 0 : poll_timeout_ms(daemon));
		if (ready > 0 && fds[0].revents != 0) {
			on_signal(daemon);
		}
	}
}

static void daemon_done(struct daemon *daemon)
{
	recorder_link_destroy(&daemon->link);
	recorder_answers_destroy(&daemon->answers);
	recorder_ingest_destroy(&daemon->ingest);
	bus_server_destroy(&daemon->server);
	bus_context_destroy(&daemon->context);
	bus_keyring_destroy(&daemon->keyring);
	recorder_groups_destroy(&daemon->groups);
	recorder_comments_destroy(&daemon->comments);
	recorder_names_destroy(&daemon->names);
	store_history_destroy(&daemon->history);
	store_destroy(&daemon->store);
	bus_key_wipe(&daemon->identity.key, sizeof(daemon->identity.key));
	pr_fd_close(&daemon->signal_fd);
	pr_conf_done(recorder_conf_rows, recorder_conf_row_count, &daemon->conf);
}

static int run(struct daemon *daemon)
{
	pr_log_set_level((enum pr_log_level)daemon->conf.log_level);
	daemon->signal_fd = pr_program_signals(/* children= */ false);
	if (daemon->signal_fd < 0) {
		return fail("signals", daemon->signal_fd);
	}
	int err = state_directory_make(&daemon->conf);
	err = err == PR_OK ? pr_privilege_drop(daemon->conf.user) : err;
	err = err == PR_OK ? stores_open(daemon) : err;
	err = err == PR_OK ? identity_find(daemon) : err;
	if (daemon->enroll_token != NULL) {
		return err;
	}
	err = err == PR_OK ? parts_make(daemon) : err;
	err = err == PR_OK ? serve(daemon) : err;
	if (err != PR_OK) {
		return err;
	}
	daemon->started_ns = pr_clock_monotonic_ns();
	pr_program_notify("READY=1");
	loop(daemon);
	pr_program_notify("STOPPING=1");
	daemon->now_ns = pr_clock_monotonic_ns();
	daemon_commit(daemon);
	log_info("stopped");
	return PR_OK;
}

int recorder_main(int argc, char **argv)
{
	struct daemon daemon = { .signal_fd = -1 };
	const struct pr_program_option options[] = {
		{ "enroll", "TOKEN",
		  "join with a token of `portreeve enroll` (-: from standard input), and exit",
		  &daemon.enroll_token },
	};
	static const struct pr_man_example examples[] = {
		{ "portreeve enroll --role recorder | portreeve-recorder --enroll -",
		  "Enrol this recorder: the first command, on an administrator's machine, prints a "
		  "token." },
		{ "portreeve-recorder", "Run in the foreground, as a service manager starts it." },
	};
	const struct pr_program program = { .name = "portreeve-recorder",
		                            .examples = examples,
		                            .example_count = PR_ARRAY_LEN(examples),
		                            .summary = "Store the event history and serve it.",
		                            .rows = recorder_conf_rows,
		                            .row_count = recorder_conf_row_count,
		                            .options = options,
		                            .option_count = PR_ARRAY_LEN(options) };
	int status = EXIT_FAILURE;

	switch (pr_program_start(&program, argc, argv, &daemon.conf)) {
	case PR_PROGRAM_RUN:
		status = run(&daemon) == PR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
		break;
	case PR_PROGRAM_DONE:
		status = EXIT_SUCCESS;
		break;
	case PR_PROGRAM_USAGE:
		status = 2;
		break;
	case PR_PROGRAM_ERROR:
		break;
	}
	daemon_done(&daemon);
	return status;
}
