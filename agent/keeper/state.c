/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <time.h>

#include "agent/keeper/internal.h"
#include "base/clock.h"
#include "base/err.h"

#define LOG_COMPONENT "keeper"
#include "base/log.h"

#define LOOSE_PATH "/proc/sys/net/netfilter/nf_conntrack_tcp_loose"

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
		int error = keeper_queue_counters_read(keeper, &counters);
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
		keeper->about = keeper_about_new(&keeper->config);
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
