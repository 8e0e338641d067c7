/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/program.h"
#include "controller/admin.h"
#include "controller/pace.h"
#include "controller/process.h"
#include "controller/view.h"
#include "controller/worker.h"

#define LOG_COMPONENT "worker"
#define FRAMES_A_TURN 256
#define HIGH_WATER    8192
#define REFRESH_NS    (100 * PR_NS_PER_MS) /* also without a hint */
#define LOOK_AGAIN_NS PR_NS_PER_MS         /* for a directory version that is not there */
#define PUBLISH_NS    (500 * PR_NS_PER_MS)

struct worker_process {
	const struct process *process;
	unsigned index;
	int signal_fd;
	store_t *store;
	bus_keyring_t *keyring;
	bus_context_t *context;
	bus_server_t *server;
	struct view view;
	bool view_good;
	bool behind;      /* the directory has changed, its pace did not allow it yet */
	struct pace pace; /* of following it */
	worker_t *worker;
	uint64_t peers_counter;
	uint64_t refreshed_ns, looked_ns, published_ns;
	struct pr_log_limit refresh_limit;
};

static void done(struct worker_process *self)
{
	worker_destroy(&self->worker);
	if (self->view_good) {
		view_done(&self->view);
	}
	bus_server_destroy(&self->server);
	bus_context_destroy(&self->context);
	bus_keyring_destroy(&self->keyring);
	store_destroy(&self->store);
	pr_fd_close(&self->signal_fd);
}

/* A policy at once; endpoints, who may be thousands at the same time, at their pace. */
static int view_follow(struct worker_process *self, const struct store_versions *versions,
                       bool urgent)
{
	bool policy = versions->policy_revision != self->view.revision || self->view.image == NULL;
	uint64_t now_ns = pr_clock_monotonic_ns();

	if (!policy && versions->directory_version == self->view.directory_version) {
		return PR_OK;
	}
	if (!policy && !urgent && !pace_due(&self->pace, now_ns)) {
		self->behind = true;
		return PR_OK;
	}
	int ret = view_refresh(&self->view, NULL);
	uint64_t end_ns = pr_clock_monotonic_ns();
	pace_done(&self->pace, end_ns, end_ns - now_ns);
	self->behind = false;
	return ret;
}

/* Take over what the admin service has written. Urgent: somebody waits for it. */
static void refresh(struct worker_process *self, bool urgent)
{
	struct store_versions versions = { 0 };
	uint64_t suppressed = 0;

	self->refreshed_ns = pr_clock_monotonic_ns();
	int ret = store_versions(self->store, &versions);
	if (ret == PR_OK && versions.peers_counter != self->peers_counter) {
		ret = admin_keyring_fill(self->store, BUS_ROLE_AGENT, self->keyring);
		if (ret == PR_OK) {
			self->peers_counter = versions.peers_counter;
		}
	}
	int viewed = view_follow(self, &versions, urgent);
	ret = ret != PR_OK ? ret : viewed;
	if (ret != PR_OK && pr_log_limited(&self->refresh_limit, &suppressed)) {
		log_error("worker %u cannot read the store: %s, going on with revision %llu",
		          self->index, pr_strerror(ret), (unsigned long long)self->view.revision);
	}
}

static struct worker_sight look(void *arg, uint64_t directory_wanted)
{
	struct worker_process *self = arg;

	if (directory_wanted > self->view.directory_version) {
		/* An agent may name a version that will never be: not at its own pace. */
		uint64_t now_ns = pr_clock_monotonic_ns();
		if (now_ns - self->looked_ns >= LOOK_AGAIN_NS) {
			self->looked_ns = now_ns;
			refresh(self, true);
		}
	}
	return (struct worker_sight){ .directory = self->view.directory,
		                      .image = self->view.image,
		                      .quarantine = &self->view.quarantine };
}

static int send_frame(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	struct worker_process *self = arg;

	return bus_server_send(self->server, route, data, size_bytes);
}

/* ---- start ---- */

static int open_store(struct worker_process *self)
{
	char path[CONTROLLER_PATH_BYTES];

	controller_shared_path(self->process->conf, CONTROLLER_STORE_FOLDER, path);
	struct store_options options = { .path = path, .read_only = true };
	int ret = store_open(&options, &self->store);
	if (ret == PR_OK) {
		ret = view_init(&self->view, self->store, authority_of_store(self->store));
		self->view_good = ret == PR_OK;
	}
	if (ret != PR_OK) {
		log_error("%s: %s%s", path, pr_strerror(ret),
		          ret == PR_ENOENT ? ": run portreeve-controller --init first" : "");
	}
	return ret;
}

static int open_server(struct worker_process *self)
{
	const struct controller_conf *conf = self->process->conf;
	char endpoint[160];
	struct bus_server_options options = {
		.endpoint = endpoint,
		.key = &self->process->keys->curve,
		.roles = BUS_ROLE_AGENT,
		.frame_max_bytes = CODEC_FRAME_MAX_BYTES,
		.high_water_mark = HIGH_WATER,
	};

	controller_endpoint(conf->listen, (unsigned)conf->worker_port + self->index, endpoint,
	                    sizeof(endpoint));
	int ret = bus_server_new(self->context, &options, &self->server);
	if (ret != PR_OK) {
		log_error("worker %u cannot listen on %s: %s", self->index, endpoint,
		          pr_strerror(ret));
	}
	return ret;
}

static int start(struct worker_process *self)
{
	struct worker_ops ops = { .arg = self, .send = send_frame, .look = look };
	struct pr_uuid random = pr_uuid_new();
	uint64_t secret;

	memcpy(&secret, random.bytes, sizeof(secret));
	self->worker = worker_new(&ops, secret);
	self->keyring = bus_keyring_new();
	if (self->worker == NULL || self->keyring == NULL) {
		log_error("worker %u: %s", self->index, pr_strerror(PR_ENOMEM));
		return PR_ENOMEM;
	}
	int ret = open_store(self);
	if (ret != PR_OK) {
		return ret;
	}
	self->peers_counter = UINT64_MAX;
	refresh(self, true);
	if (self->view.image == NULL) {
		log_error("worker %u has no policy: is the store of this version?", self->index);
		return PR_ENOENT;
	}
	ret = bus_context_new(self->keyring, &self->context);
	if (ret != PR_OK) {
		log_error("worker %u cannot start the bus: %s", self->index, pr_strerror(ret));
		return ret;
	}
	return open_server(self);
}

/* ---- loop ---- */

static void publish(struct worker_process *self, uint64_t now_ns)
{
	struct shared_worker *shared = &self->process->shared->workers[self->index];
	struct bus_context_counters bus = { 0 };
	struct bus_server_counters server = { 0 };
	uint64_t counters[SHARED_COUNTERS_MAX];

	shared->alive_ns = now_ns;
	shared->revision = self->view.revision;
	shared->directory = self->view.directory_version;
	if (now_ns - self->published_ns < PUBLISH_NS) {
		return;
	}
	self->published_ns = now_ns;
	bus_context_counters(self->context, &bus);
	bus_server_counters(self->server, &server);
	shared->pid = (uint64_t)getpid();
	shared->waiting = worker_waiting_count(self->worker);
	shared->flows = worker_flow_count(self->worker);
	shared->rss_bytes = shared_rss_bytes();
	shared->refused = bus.zap_refused_key + bus.zap_refused_role + bus.zap_refused_mechanism +
	                  bus.zap_malformed;
	shared->revoked = server.revoked;
	shared->failed = server.accepted - server.handshakes;
	shared->dropped = server.malformed;
	memcpy(counters, worker_counters(self->worker), sizeof(counters));
	for (size_t i = 0; i < SHARED_COUNTERS_MAX; i++) {
		shared->counters[i] = counters[i];
	}
}

/*
 * Frames until none waits: after a send the socket's descriptor does not tell of new ones. The
 * first is answered alone: there seldom is another, and to learn that takes two system calls.
 */
static void take_frames(struct worker_process *self)
{
	struct bus_frame frame;
	size_t taken, most = 1;

	do {
		taken = 0;
		while (taken < most && bus_server_receive(self->server, &frame) == PR_OK) {
			worker_frame(self->worker, &frame, pr_clock_monotonic_ns(),
			             pr_clock_wall_ns());
			taken++;
		}
		worker_turn_end(self->worker, pr_clock_monotonic_ns(), pr_clock_wall_ns());
		most = FRAMES_A_TURN;
	} while (taken > 0);
}

static int timeout_ms(const struct worker_process *self, uint64_t now_ns)
{
	uint64_t until_ns = self->refreshed_ns + REFRESH_NS;
	uint64_t deadline_ns = worker_deadline_ns(self->worker);

	if (self->behind && self->pace.due_ns < until_ns) {
		until_ns = self->pace.due_ns;
	}
	until_ns = deadline_ns < until_ns ? deadline_ns : until_ns;
	/* Rounded up, or the last millisecond would be spent turning. */
	return until_ns <= now_ns ? 0
	                          : (int)((until_ns - now_ns + PR_NS_PER_MS - 1) / PR_NS_PER_MS);
}

static void loop(struct worker_process *self)
{
	int hint_fd = self->process->hint_fds[self->index];
	struct pollfd fds[] = {
		{ .fd = self->signal_fd, .events = POLLIN },
		{ .fd = bus_server_fd(self->server), .events = POLLIN },
		{ .fd = hint_fd, .events = POLLIN },
	};

	for (;;) {
		uint64_t now_ns = pr_clock_monotonic_ns();
		publish(self, now_ns);
		int ready = poll(fds, PR_ARRAY_LEN(fds), timeout_ms(self, now_ns));
		if (ready < 0 && errno != EINTR) {
			log_error("worker %u: poll: %s, ending", self->index, pr_strerror(-errno));
			return;
		}
		if (ready > 0 && fds[0].revents != 0 && process_stop_asked(self->signal_fd)) {
			return;
		}
		uint64_t hints = 0;
		bool hinted = ready > 0 && fds[2].revents != 0 &&
		              read(hint_fd, &hints, sizeof(hints)) == sizeof(hints);
		if (hinted || pr_clock_monotonic_ns() - self->refreshed_ns >= REFRESH_NS ||
		    (self->behind && pace_due(&self->pace, pr_clock_monotonic_ns()))) {
			refresh(self, false);
		}
		take_frames(self);
	}
}

int process_worker(const struct process *process, unsigned index)
{
	_cleanup_(done) struct worker_process self = { .process = process,
		                                       .index = index,
		                                       .signal_fd = -1 };

	self.signal_fd = pr_program_signals(false);
	if (self.signal_fd < 0) {
		log_error("worker %u: signals: %s", index, pr_strerror(self.signal_fd));
		return EXIT_FAILURE;
	}
	if (start(&self) != PR_OK) {
		return EXIT_FAILURE;
	}
	process_ready(process);
	loop(&self);
	return EXIT_SUCCESS;
}
