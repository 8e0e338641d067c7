/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/internal.h"
#include "base/clock.h"
#include "base/err.h"

#define LOG_COMPONENT "keeper"
#include "base/log.h"

#define LOOSE_PATH "/proc/sys/net/netfilter/nf_conntrack_tcp_loose"
#define QUEUE_PATH "/proc/thread-self/net/netfilter/nfnetlink_queue"

/* ------------------------------------------------------------------------------ configuration */

void keeper_config_default(struct keeper_config *config)
{
	*config = (struct keeper_config){
		.mark_mask = 0x30000000,
		.mark_allow = 0x10000000,
		.mark_reject = 0x20000000,
		.queue_first = 7400,
		.queue_count = 1,
		.log_group = 7400,
		.priority = -90,
		.priority_save = -85,
		.seen_max = 32768,
		.queue_length_packets = 16384,
		.copy_bytes = 256,
		.receive_buffer_bytes = 16U << 20,
	};
}

static bool lifeline_valid(const struct keeper_lifeline *line)
{
	bool ports = line->protocol == IPPROTO_TCP || line->protocol == IPPROTO_UDP;

	return (ports || (line->protocol == 0 && line->port_last == 0)) &&
	       line->port_first <= line->port_last &&
	       (line->port_first != 0 || line->port_last == 0) && line->peer.bits <= 128;
}

int keeper_config_check(const struct keeper_config *config, struct keeper_error *ret_error)
{
	uint32_t allow = config->mark_allow;
	uint32_t reject = config->mark_reject;

	if (allow == 0 || reject == 0 || allow == reject ||
	    ((allow | reject) & ~config->mark_mask) != 0) {
		return keeper_fail(ret_error, PR_EINVAL,
		                   "marks: allow 0x%" PRIx32 " and reject 0x%" PRIx32
		                   " must differ, not be 0 and lie within mask 0x%" PRIx32,
		                   allow, reject, config->mark_mask);
	}
	/* After DNAT at OUTPUT (-100), before the filters (0); the save hooks come later. */
	if (config->priority <= -100 || config->priority >= config->priority_save ||
	    config->priority_save >= 0) {
		return keeper_fail(ret_error, PR_EINVAL,
		                   "priorities %" PRId32 " and %" PRId32
		                   " must rise and lie between -100 and 0",
		                   config->priority, config->priority_save);
	}
	if (config->queue_count < 1 || config->queue_count > KEEPER_QUEUE_MAX ||
	    config->queue_first > UINT16_MAX - KEEPER_QUEUE_MAX) {
		return keeper_fail(ret_error, PR_EINVAL, "queues: %u from number %u on",
		                   config->queue_count, config->queue_first);
	}
	if (config->seen_max < 16 || config->seen_max > 1U << 20 || config->copy_bytes < 64 ||
	    config->copy_bytes > 4096 || config->queue_length_packets < 16 ||
	    config->receive_buffer_bytes > 1U << 30) {
		return keeper_fail(ret_error, PR_EINVAL, "a limit is out of bounds");
	}
	if (config->lifeline_count > KEEPER_LIFELINE_MAX) {
		return keeper_fail(ret_error, PR_EINVAL, "more than %d lifelines",
		                   KEEPER_LIFELINE_MAX);
	}
	for (unsigned int i = 0; i < config->lifeline_count; i++) {
		if (!lifeline_valid(&config->lifeline[i])) {
			return keeper_fail(
				ret_error, PR_EINVAL,
				"lifeline %u: TCP or UDP with ports, or neither, is needed", i);
		}
	}
	return PR_OK;
}

/* ------------------------------------------------------------------------------ open and close */

static int sockets_open(struct keeper *keeper)
{
	const struct {
		int bus;
		struct mnl_socket **socket;
	} wanted[] = {
		{ NETLINK_NETFILTER, &keeper->rules },  { NETLINK_NETFILTER, &keeper->conntrack },
		{ NETLINK_NETFILTER, &keeper->change }, { NETLINK_SOCK_DIAG, &keeper->diag },
		{ NETLINK_ROUTE, &keeper->route },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(wanted); i++) {
		int error =
			netns_socket_open(keeper->namespace_fd, wanted[i].bus, wanted[i].socket);
		if (error != PR_OK) {
			return error;
		}
	}
	return PR_OK;
}

static int queues_open(struct keeper *keeper, struct keeper_error *ret_error)
{
	int fd = netns_file_open(keeper->namespace_fd, QUEUE_PATH);

	if (fd == PR_ENOENT) {
		int error = sockets_queue_load(keeper->rules);
		fd = error == PR_OK ? netns_file_open(keeper->namespace_fd, QUEUE_PATH) : error;
	}
	if (fd < 0) {
		return keeper_fail(ret_error, fd, QUEUE_PATH " cannot be opened: %s",
		                   pr_strerror(fd));
	}
	keeper->queues_fd = fd;
	return PR_OK;
}

static int about_fits(const struct about *about, const struct keeper_config *config,
                      struct keeper_error *ret_error)
{
	if (about->priority != config->priority || about->priority_save != config->priority_save) {
		return keeper_fail(ret_error, PR_EBUSY,
		                   "our table is there with priorities %" PRId32 " and %" PRId32
		                   ": remove it, or set these",
		                   about->priority, about->priority_save);
	}
	if (about->state != KEEPER_OBSERVE &&
	    (about->mark_mask != config->mark_mask || about->mark_allow != config->mark_allow ||
	     about->mark_reject != config->mark_reject ||
	     about->queue_first != config->queue_first)) {
		return keeper_fail(ret_error, PR_EBUSY,
		                   "our table enforces there with mark mask 0x%" PRIx32
		                   " and queue %u: set these, or go to observe first",
		                   about->mark_mask, about->queue_first);
	}
	return PR_OK;
}

static struct about about_new(const struct keeper_config *config)
{
	return (struct about){
		.state = KEEPER_NONE,
		.priority = config->priority,
		.priority_save = config->priority_save,
		.mark_mask = config->mark_mask,
		.mark_allow = config->mark_allow,
		.mark_reject = config->mark_reject,
		.queue_first = config->queue_first,
		.loose_before = -1,
	};
}

static int table_adopt(struct keeper *keeper, struct keeper_error *ret_error)
{
	struct about about;
	int error = ruleset_find(keeper, &about, ret_error);

	if (error == PR_ENOENT) {
		return PR_OK;
	}
	if (error != PR_OK) {
		return error;
	}
	error = about_fits(&about, &keeper->config, ret_error);
	if (error == PR_OK) {
		keeper->about.state = about.state;
		keeper->about.conntrack_before = about.conntrack_before;
		keeper->about.loose_before = about.loose_before;
		keeper->adopted = true;
	}
	return error;
}

int keeper_open(const struct keeper_config *config, const struct keeper_place *place,
                keeper_t **ret_keeper, struct keeper_error *ret_error)
{
	char where[64];
	keeper_error_clear(ret_error);
	int error = keeper_config_check(config, ret_error);
	if (error != PR_OK) {
		return error;
	}
	_cleanup_(keeper_destroy) struct keeper *keeper = calloc(1, sizeof(*keeper));
	if (keeper == NULL) {
		return keeper_fail(ret_error, PR_ENOMEM, "out of memory");
	}
	keeper->config = *config;
	keeper->about = about_new(config);
	keeper->namespace_fd = -1;
	keeper->queues_fd = -1;
	(void)snprintf(where, sizeof(where), "process %d", place->pid);

	error = netns_open(place, &keeper->namespace_fd);
	if (error == PR_OK) {
		error = netns_identify(keeper->namespace_fd, &keeper->identity);
	}
	if (error == PR_OK) {
		error = sockets_open(keeper);
	}
	if (error != PR_OK) {
		return keeper_fail(ret_error, error, "network namespace of %s cannot be opened: %s",
		                   place->path != NULL ? place->path : where,
		                   error == PR_ENOENT ? "it is not there, or has gone"
		                                      : pr_strerror(error));
	}
	error = queues_open(keeper, ret_error);
	if (error == PR_OK) {
		error = table_adopt(keeper, ret_error);
	}
	if (error != PR_OK) {
		return error;
	}
	error = ruleset_backend_probe(keeper, &keeper->backend);
	if (error != PR_OK) {
		return keeper_fail(ret_error, error, "nf_tables cannot be probed: %s",
		                   pr_strerror(error));
	}
	*ret_keeper = take_ptr(keeper);
	return PR_OK;
}

void keeper_destroy(keeper_t **keeper_p)
{
	struct keeper *keeper = *keeper_p;
	if (keeper == NULL) {
		return;
	}
	struct mnl_socket *sockets[] = { keeper->rules, keeper->conntrack, keeper->change,
		                         keeper->diag, keeper->route };
	for (size_t i = 0; i < PR_ARRAY_LEN(sockets); i++) {
		if (sockets[i] != NULL) {
			(void)mnl_socket_close(sockets[i]);
		}
	}
	pr_fd_close(&keeper->queues_fd);
	pr_fd_close(&keeper->namespace_fd);
	free(keeper);
	*keeper_p = NULL;
}

struct keeper_identity keeper_identity(const keeper_t *keeper)
{
	return keeper->identity;
}

enum keeper_state keeper_state(const keeper_t *keeper)
{
	return keeper->about.state;
}

enum keeper_backend keeper_backend(const keeper_t *keeper)
{
	return keeper->backend;
}

bool keeper_adopted(const keeper_t *keeper)
{
	return keeper->adopted;
}

static void queue_lines_parse(const char *text, const struct keeper_config *config,
                              struct keeper_counters *counters)
{
	while (*text != '\0') {
		unsigned int queue, port, held, mode, range, full, user;
		if (sscanf(text, "%u %u %u %u %u %u %u", &queue, &port, &held, &mode, &range, &full,
		           &user) == 7 &&
		    queue >= config->queue_first &&
		    queue < (unsigned int)config->queue_first + config->queue_count) {
			counters->queue_held += held;
			counters->queue_full_dropped += full;
			counters->queue_send_dropped += user;
			counters->queues_bound++;
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

static int queue_counters_read(struct keeper *keeper, struct keeper_counters *counters)
{
	char text[8192];
	ssize_t got = pread(keeper->queues_fd, text, sizeof(text) - 1, 0);

	if (got < 0) {
		return -errno;
	}
	text[got] = '\0';
	counters->queue_held = 0;
	queue_lines_parse(text, &keeper->config, counters);
	return PR_OK;
}

/* -------------------------------------------------------------------------------------- states */

static int apply(struct keeper *keeper, enum keeper_state state, struct keeper_error *ret_error)
{
	struct about about = keeper->about;
	about.state = state;
	about.conntrack_held = state == KEEPER_OBSERVE && about.conntrack_held;
	about.late_marked = state == KEEPER_ENFORCE && about.late_marked;
	int error = ruleset_apply(keeper, &about, ret_error);
	if (error == PR_OK) {
		keeper->about.state = state;
	}
	return error;
}

/* Only before our own rules exist can others' conntrack be told from ours. */
static int before_first_rule(struct keeper *keeper, struct keeper_error *ret_error)
{
	if (keeper->about.state != KEEPER_NONE) {
		return PR_OK;
	}
	int error = conntrack_probe(keeper, &keeper->about.conntrack_before);
	return error == PR_OK ? PR_OK
	                      : keeper_fail(ret_error, error, "conntrack cannot be probed: %s",
	                                    pr_strerror(error));
}

static int loose_close(struct keeper *keeper)
{
	char text[16];

	/* The host's own also rules routed traffic, which is not ours; there a rule drops alone. */
	if (keeper->config.host || keeper->about.loose_before >= 0) {
		return PR_OK;
	}
	int error = netns_file_read(keeper->namespace_fd, LOOSE_PATH, text, sizeof(text));
	if (error == PR_OK) {
		keeper->about.loose_before = text[0] == '0' ? 0 : 1;
		error = netns_file_write(keeper->namespace_fd, LOOSE_PATH, "0\n");
	}
	/* The rule against mid-stream packets holds without it: /proc/sys may be read-only. */
	return error == PR_ENOENT || error == -EROFS || error == PR_EACCES ? PR_OK : error;
}

static void loose_restore(struct keeper *keeper)
{
	if (keeper->about.loose_before > 0) {
		int error = netns_file_write(keeper->namespace_fd, LOOSE_PATH, "1\n");
		if (error != PR_OK) {
			log_debug(LOOSE_PATH " stays 0: %s", pr_strerror(error));
		}
	}
	keeper->about.loose_before = -1;
}

static int queue_wait(struct keeper *keeper)
{
	struct keeper_counters counters = { .queue_held = 1 };
	struct timespec wait = { .tv_nsec = 10 * PR_NS_PER_MS };
	uint64_t end_ns = pr_clock_monotonic_ns() + KEEPER_DRAIN_MS * PR_NS_PER_MS;

	for (;;) {
		int error = queue_counters_read(keeper, &counters);
		if (error != PR_OK || counters.queue_held == 0) {
			return error;
		}
		if (pr_clock_monotonic_ns() >= end_ns) {
			return PR_ETIMEOUT;
		}
		(void)nanosleep(&wait, NULL);
	}
}

/*
 * When tracking goes off its hooks go, and with any hook the kernel drops every packet that waits
 * in a queue of the namespace. So tracking is held on until the gate has answered them.
 */
static int tracking_release(struct keeper *keeper, struct keeper_error *ret_error)
{
	int error = queue_wait(keeper);
	if (error == PR_ETIMEOUT) {
		log_debug("packets still wait in the queue: tracking stays on until the next time");
		return PR_OK;
	}
	keeper->about.conntrack_held = false;
	return apply(keeper, KEEPER_OBSERVE, ret_error);
}

static int go_observe(struct keeper *keeper, struct keeper_error *ret_error)
{
	enum keeper_state from = keeper->about.state;
	int error = before_first_rule(keeper, ret_error);

	if (error == PR_OK && from >= KEEPER_PREPARE) {
		loose_restore(keeper);
		keeper->about.conntrack_held = true;
	}
	if (error == PR_OK) {
		error = apply(keeper, KEEPER_OBSERVE, ret_error);
	}
	if (error == PR_OK && from >= KEEPER_PREPARE) {
		/* A mark that stayed would let a later flow with the same tuple pass unseen. */
		error = conntrack_mark_all(keeper, 0, NULL, NULL, NULL);
		if (error != PR_OK) {
			return keeper_fail(ret_error, error,
			                   "observing, but old conntrack marks stay: %s",
			                   pr_strerror(error));
		}
	}
	if (error == PR_OK && keeper->about.conntrack_held) {
		error = tracking_release(keeper, ret_error);
	}
	return error;
}

static int go_prepare(struct keeper *keeper, struct keeper_error *ret_error)
{
	int error = keeper_conflict_check(keeper, ret_error);

	if (error == PR_OK) {
		error = before_first_rule(keeper, ret_error);
	}
	if (error != PR_OK) {
		return error;
	}
	if (keeper->about.state == KEEPER_ENFORCE) {
		loose_restore(keeper);
	}
	return apply(keeper, KEEPER_PREPARE, ret_error);
}

/* Answers on their way when tracking came on pass now and get their entry and mark. */
static void settle(int error)
{
	struct timespec wait = { .tv_nsec = KEEPER_SETTLE_MS * PR_NS_PER_MS };

	while (error == PR_OK && nanosleep(&wait, &wait) != 0 && errno == EINTR) {
	}
}

static int go_enforce(struct keeper *keeper, keeper_flow_fn on_flow, void *arg,
                      struct keeper_error *ret_error)
{
	int error = PR_OK;

	if (keeper->backend == KEEPER_BACKEND_NONE) {
		return keeper_fail(
			ret_error, PR_ENOTSUP,
			"this kernel has neither nft 'queue' nor the NFQUEUE target with "
			"nft_compat: enforce is not possible");
	}
	if (keeper->about.state != KEEPER_ENFORCE) {
		if (keeper->about.state != KEEPER_PREPARE) {
			error = go_prepare(keeper, ret_error);
			settle(error);
		}
		if (error == PR_OK) {
			error = flows_pass(keeper, on_flow, arg, ret_error);
		}
		if (error != PR_OK) {
			return error;
		}
		error = loose_close(keeper);
		if (error != PR_OK) {
			return keeper_fail(ret_error, error, LOOSE_PATH " cannot be set: %s",
			                   pr_strerror(error));
		}
		/* Both hooks change at once, but a packet between them was let by by the first. */
		keeper->about.late_marked = true;
	}
	error = apply(keeper, KEEPER_ENFORCE, ret_error);
	keeper->about.late_marked = false;
	return error;
}

static int go_none(struct keeper *keeper, struct keeper_error *ret_error)
{
	if (keeper->about.state == KEEPER_NONE) {
		return PR_OK;
	}
	if (keeper->about.state != KEEPER_OBSERVE) {
		return keeper_fail(ret_error, PR_EBUSY,
		                   "rules are removed from observe only: held packets would drop");
	}
	int error = ruleset_delete(keeper, ret_error);
	if (error == PR_OK) {
		keeper->about = about_new(&keeper->config);
	}
	return error;
}

int keeper_state_set(keeper_t *keeper, enum keeper_state state, keeper_flow_fn on_flow, void *arg,
                     struct keeper_error *ret_error)
{
	keeper_error_clear(ret_error);
	switch (state) {
	case KEEPER_NONE:
		return go_none(keeper, ret_error);
	case KEEPER_OBSERVE:
		return go_observe(keeper, ret_error);
	case KEEPER_PREPARE:
		return go_prepare(keeper, ret_error);
	case KEEPER_ENFORCE:
		return go_enforce(keeper, on_flow, arg, ret_error);
	default:
		return keeper_fail(ret_error, PR_EINVAL, "no such state: %d", (int)state);
	}
}

int keeper_config_set(keeper_t *keeper, const struct keeper_config *config,
                      struct keeper_error *ret_error)
{
	const struct keeper_config *old = &keeper->config;
	keeper_error_clear(ret_error);
	int error = keeper_config_check(config, ret_error);

	if (error != PR_OK) {
		return error;
	}
	if (config->mark_mask != old->mark_mask || config->mark_allow != old->mark_allow ||
	    config->mark_reject != old->mark_reject || config->priority != old->priority ||
	    config->priority_save != old->priority_save ||
	    config->queue_first != old->queue_first || config->host != old->host) {
		return keeper_fail(
			ret_error, PR_EINVAL,
			"marks, priorities and queue number are fixed while rules are in "
			"the kernel");
	}
	struct keeper_config before = keeper->config;
	keeper->config = *config;
	if (keeper->about.state == KEEPER_NONE) {
		return PR_OK;
	}
	error = apply(keeper, keeper->about.state, ret_error);
	if (error != PR_OK) {
		keeper->config = before;
	}
	return error;
}

/* ------------------------------------------------------------------------ sockets and counters */

static int socket_configure(const struct keeper *keeper, enum keeper_socket kind,
                            unsigned int index, struct mnl_socket *socket,
                            struct keeper_error *ret_error)
{
	if (kind == KEEPER_SOCKET_QUEUE) {
		return sockets_queue_configure(socket, &keeper->config,
		                               (uint16_t)(keeper->config.queue_first + index),
		                               ret_error);
	}
	if (kind == KEEPER_SOCKET_LOG) {
		return sockets_log_configure(socket, &keeper->config, ret_error);
	}
	return PR_OK;
}

int keeper_socket_open(keeper_t *keeper, enum keeper_socket kind, unsigned int index, int *ret_fd,
                       struct keeper_error *ret_error)
{
	struct mnl_socket *socket = NULL;
	int bus = kind == KEEPER_SOCKET_DIAG ? NETLINK_SOCK_DIAG : NETLINK_NETFILTER;

	keeper_error_clear(ret_error);
	if (index >= (kind == KEEPER_SOCKET_QUEUE ? keeper->config.queue_count : 1U)) {
		return keeper_fail(ret_error, PR_EINVAL, "no socket %u of that kind", index);
	}
	int error = netns_socket_open(keeper->namespace_fd, bus, &socket);
	if (error != PR_OK) {
		return keeper_fail(ret_error, error, "a netlink socket cannot be opened: %s",
		                   pr_strerror(error));
	}
	error = socket_configure(keeper, kind, index, socket, ret_error);
	_cleanup_(pr_fd_close) int fd = -1;
	if (error == PR_OK) {
		/* The library gives no way to let go of a descriptor. */
		fd = fcntl(mnl_socket_get_fd(socket), F_DUPFD_CLOEXEC, 3);
		if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
			error = keeper_fail(ret_error, -errno, "a socket cannot be kept: %s",
			                    pr_strerror(-errno));
		}
	}
	(void)mnl_socket_close(socket);
	if (error == PR_OK) {
		*ret_fd = take_fd(fd);
	}
	return error;
}

int keeper_counters_read(keeper_t *keeper, struct keeper_counters *ret_counters,
                         struct keeper_error *ret_error)
{
	uint64_t values[_COUNTER_MAX] = { 0 };
	struct keeper_counters counters = { 0 };
	int error = PR_OK;

	keeper_error_clear(ret_error);
	if (keeper->about.state != KEEPER_NONE) {
		error = ruleset_counters_read(keeper, values);
	}
	if (error == PR_ENOENT) {
		/* "nft flush ruleset" does that: the next state_set() makes it anew. */
		keeper->about.state = KEEPER_NONE;
		return keeper_fail(ret_error, error,
		                   "table 'inet " KEEPER_TABLE "' was removed by another program");
	}
	if (error != PR_OK) {
		return keeper_fail(ret_error, error, "counters cannot be read: %s",
		                   pr_strerror(error));
	}
#define X(name, doc) counters.name = values[COUNTER_##name];
	KEEPER_COUNTER_LIST(X)
#undef X
	error = queue_counters_read(keeper, &counters);
	if (error != PR_OK) {
		return keeper_fail(ret_error, error, QUEUE_PATH " cannot be read: %s",
		                   pr_strerror(error));
	}
	*ret_counters = counters;
	return PR_OK;
}

int keeper_conntrack_active(keeper_t *keeper, bool *ret_active)
{
	return conntrack_probe(keeper, ret_active);
}

const struct keeper_ops keeper_kernel_ops = {
	.open = keeper_open,
	.destroy = keeper_destroy,
	.identity = keeper_identity,
	.state = keeper_state,
	.state_set = keeper_state_set,
	.config_set = keeper_config_set,
	.socket_open = keeper_socket_open,
	.counters_read = keeper_counters_read,
	.conflict_check = keeper_conflict_check,
};
