/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

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
	int fd = netns_file_open(keeper->namespace_fd, KEEPER_QUEUES_PATH);

	if (fd == PR_ENOENT) {
		int error = sockets_queue_load(keeper->rules);
		fd = error == PR_OK ? netns_file_open(keeper->namespace_fd, KEEPER_QUEUES_PATH)
		                    : error;
	}
	if (fd < 0) {
		return keeper_fail(ret_error, fd, KEEPER_QUEUES_PATH " cannot be opened: %s",
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

struct about keeper_about_new(const struct keeper_config *config)
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
	keeper->about = keeper_about_new(config);
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

/* ------------------------------------------------------------------------------------ sockets */

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
