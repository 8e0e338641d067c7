/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/program.h"
#include "controller/admin.h"
#include "controller/process.h"

#define LOG_COMPONENT "admin"
#define FRAMES_A_TURN 256
#define HIGH_WATER    8192

/* Everything the admin process holds; any part may be missing. */
struct admin_process {
	const struct process *process;
	int signal_fd;
	store_t *store;
	bus_keyring_t *keyring;
	bus_context_t *context;
	bus_server_t *server;
	admin_t *admin;
};

static void done(struct admin_process *self)
{
	admin_destroy(&self->admin);
	bus_server_destroy(&self->server);
	bus_context_destroy(&self->context);
	bus_keyring_destroy(&self->keyring);
	store_destroy(&self->store);
	pr_fd_close(&self->signal_fd);
}

static int send_frame(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	struct admin_process *self = arg;

	return bus_server_send(self->server, route, data, size_bytes);
}

/* A frozen worker's counter only grows: nothing here can block. */
static void wake_workers(void *arg)
{
	const struct process *process = ((struct admin_process *)arg)->process;
	uint64_t one = 1;

	for (unsigned i = 0; i < process->conf->workers; i++) {
		(void)!write(process->hint_fds[i], &one, sizeof(one));
	}
}

static void look_at_doors(void *arg, struct admin_doors *ret_doors)
{
	struct admin_process *self = arg;
	struct bus_context_counters bus = { 0 };
	struct bus_server_counters server = { 0 };

	bus_context_counters(self->context, &bus);
	bus_server_counters(self->server, &server);
	*ret_doors = (struct admin_doors){
		.refused = bus.zap_refused_key + bus.zap_refused_role + bus.zap_refused_mechanism +
		           bus.zap_malformed,
		.failed = server.accepted - server.handshakes,
		.revoked = server.revoked,
		.dropped = server.malformed,
	};
}

static int open_store(struct admin_process *self)
{
	char path[CONTROLLER_PATH_BYTES];
	uint64_t head = 0;

	controller_shared_path(self->process->conf, CONTROLLER_STORE_FOLDER, path);
	struct store_options options = { .path = path,
		                         .map_bytes = self->process->conf->map_bytes };
	int ret = store_open(&options, &self->store);
	if (ret == PR_OK) {
		ret = store_policy_head(self->store, &head);
	}
	if (ret == PR_OK && head == 0) {
		ret = PR_ENOENT;
	}
	if (ret != PR_OK) {
		log_error("%s: %s%s", path, pr_strerror(ret),
		          ret == PR_ENOENT ? ": run portreeve-controller --init first" : "");
	}
	return ret;
}

static int open_server(struct admin_process *self)
{
	const struct controller_conf *conf = self->process->conf;
	char endpoint[160];
	struct bus_server_options options = {
		.endpoint = endpoint,
		.key = &self->process->keys->curve,
		.roles = BUS_ROLE_ENROLLING | BUS_ROLE_AGENT | BUS_ROLE_WORKER | BUS_ROLE_RECORDER |
		         BUS_ROLE_ADMIN | BUS_ROLE_VIEWER | BUS_ROLE_SUBSCRIBER,
		.frame_max_bytes = CODEC_DOC_MAX_BYTES,
		.high_water_mark = HIGH_WATER,
	};

	controller_endpoint(conf->listen, (unsigned)conf->port, endpoint, sizeof(endpoint));
	int ret = bus_server_new(self->context, &options, &self->server);
	if (ret != PR_OK) {
		log_error("cannot listen on %s: %s", endpoint, pr_strerror(ret));
	}
	return ret;
}

static int start(struct admin_process *self)
{
	struct admin_setup setup = {
		.ops = { .arg = self,
		         .send = send_frame,
		         .changed = wake_workers,
		         .doors = look_at_doors },
		.conf = self->process->conf,
		.keys = self->process->keys,
		.shared = self->process->shared,
	};

	int ret = open_store(self);
	if (ret != PR_OK) {
		return ret;
	}
	self->keyring = bus_keyring_new();
	ret = self->keyring != NULL ? bus_context_new(self->keyring, &self->context) : PR_ENOMEM;
	if (ret != PR_OK) {
		log_error("cannot start the bus: %s", pr_strerror(ret));
		return ret;
	}
	setup.store = self->store;
	setup.authority = authority_of_store(self->store);
	setup.keyring = self->keyring;
	ret = admin_new(&setup, pr_clock_monotonic_ns(), pr_clock_wall_ns(), &self->admin);
	if (ret != PR_OK) {
		log_error("cannot read the store: %s", pr_strerror(ret));
		return ret;
	}
	return open_server(self);
}

/* Frames until none waits: after a send the socket's descriptor does not tell of new ones. */
static void take_frames(struct admin_process *self)
{
	struct bus_frame frame;
	size_t taken;

	do {
		taken = 0;
		while (taken < FRAMES_A_TURN && bus_server_receive(self->server, &frame) == PR_OK) {
			admin_frame(self->admin, &frame, pr_clock_monotonic_ns(),
			            pr_clock_wall_ns());
			taken++;
		}
		admin_tick(self->admin, pr_clock_monotonic_ns(), pr_clock_wall_ns());
	} while (taken > 0);
}

static void loop(struct admin_process *self)
{
	struct pollfd fds[] = {
		{ .fd = self->signal_fd, .events = POLLIN },
		{ .fd = bus_server_fd(self->server), .events = POLLIN },
	};

	for (;;) {
		int ready = poll(fds, PR_ARRAY_LEN(fds), admin_tick_ms(self->admin));
		if (ready < 0 && errno != EINTR) {
			log_error("poll: %s, ending", pr_strerror(-errno));
			return;
		}
		if (ready > 0 && fds[0].revents != 0 && process_stop_asked(self->signal_fd)) {
			admin_leave(self->admin);
			return;
		}
		take_frames(self);
	}
}

int process_admin(const struct process *process)
{
	_cleanup_(done) struct admin_process self = { .process = process, .signal_fd = -1 };

	self.signal_fd = pr_program_signals(false);
	if (self.signal_fd < 0) {
		log_error("signals: %s", pr_strerror(self.signal_fd));
		return EXIT_FAILURE;
	}
	if (start(&self) != PR_OK) {
		return EXIT_FAILURE;
	}
	process_ready(process);
	loop(&self);
	return EXIT_SUCCESS;
}
