/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/accept.h"
#include "bench/arm.h"

#define SOURCES      100
#define PEER_WAIT_MS 10000

/* ---- the place ---- */

static int place_make(stage_t *stage, struct arm *arm)
{
	char client_address[32], server_address[32];
	unsigned n = arm->number;

	(void)snprintf(arm->client, sizeof(arm->client), "c%u", n);
	(void)snprintf(arm->server, sizeof(arm->server), "s%u", n);
	(void)snprintf(client_address, sizeof(client_address), "10.77.%u.2/24", n);
	(void)snprintf(server_address, sizeof(server_address), "10.77.%u.1/24", n);
	int ret = stage_space_add(stage, arm->client);
	if (ret == PR_OK) {
		ret = stage_space_add(stage, arm->server);
	}
	if (ret == PR_OK) {
		ret = stage_link(stage,
		                 &(struct stage_end){ .space = arm->client,
		                                      .device = "eth0",
		                                      .address = client_address },
		                 &(struct stage_end){ .space = arm->server,
		                                      .device = "eth0",
		                                      .address = server_address });
	}
	if (ret == PR_OK) {
		ret = stage_shell(
			stage, arm->client, NULL,
			"for i in $(seq 3 %u); do ip addr add 10.77.%u.$i/24 dev eth0; done",
			1 + SOURCES, n);
	}
	if (ret != PR_OK) {
		return ret;
	}
	arm->server_process = stage_serve(stage, arm->server, traffic_server, NULL);
	return arm->server_process > 0 ? PR_OK : (int)arm->server_process;
}

/* ---- the firewalls ---- */

static int accept_at(stage_t *stage, const char *space, const char *chain, bool batched)
{
	struct accept_plan plan = { .queues = batched ? 2 : 1, .batched = batched };
	pid_t pid = stage_serve(stage, space, accept_all, &plan);

	if (pid < 0) {
		return (int)pid;
	}
	/* The first hook, and no connection tracking: nothing is faster that sees each SYN. */
	return stage_shell(stage, space, NULL,
	                   "iptables-nft -t raw -A %s -p tcp --syn -j NFQUEUE %s", chain,
	                   batched ? "--queue-balance 0:1 --queue-cpu-fanout" : "--queue-num 0");
}

static int accept_open(stage_t *stage, const struct arm *arm)
{
	bool batched = arm->kind == ARM_BATCHED;
	int ret = accept_at(stage, arm->client, "OUTPUT", batched);

	return ret == PR_OK && arm->pair ? accept_at(stage, arm->server, "PREROUTING", batched)
	                                 : ret;
}

/* Its configuration is looked for in /etc: there it gets one, which only it sees. */
static int opensnitch_open(stage_t *stage, const struct arm *arm)
{
	struct timespec wait = { .tv_nsec = 100 * PR_NS_PER_MS };
	char root[STAGE_PATH_BYTES * 2];

	(void)snprintf(root, sizeof(root), "%s/peers/opensnitch/root", stage_programs());
	if (stage_shell(stage, NULL, NULL, "test -x '%s/usr/bin/opensnitchd'", root) != PR_OK) {
		return PR_ENOENT;
	}
	int ret = stage_shell(
		stage, NULL, NULL,
		"mkdir -p '%s/opensnitch' && cat >'%s/opensnitch/allow.json' <<'END'\n"
		"{\"created\":\"2026-01-01T00:00:00Z\",\"updated\":\"2026-01-01T00:00:00Z\","
		"\"name\":\"allow\",\"enabled\":true,\"precedence\":false,\"action\":\"allow\","
		"\"duration\":\"always\",\"operator\":{\"type\":\"simple\",\"operand\":"
		"\"process.path\",\"sensitive\":false,\"data\":\"%s/portreeve-bench\","
		"\"list\":[]}}\nEND",
		stage_folder(stage), stage_folder(stage), stage_programs());
	if (ret != PR_OK) {
		return ret;
	}
	(void)stage_spawn(
		stage, arm->client, "opensnitch",
		"exec unshare -m sh -c \"mount -t overlay overlay -o lowerdir='%s/etc':/etc "
		"/etc && exec '%s/usr/bin/opensnitchd' -rules-path '%s/opensnitch' "
		"-process-monitor-method proc -queue-num 0 -error\"",
		root, root, stage_folder(stage));
	for (int i = 0; i < PEER_WAIT_MS / 100; i++) {
		if (stage_shell(stage, arm->client, NULL,
		                "iptables-nft -t mangle -S OUTPUT | grep -q NFQUEUE") == PR_OK) {
			return PR_OK;
		}
		(void)nanosleep(&wait, NULL);
	}
	(void)fprintf(stderr,
	              "portreeve-bench: opensnitchd does not start, log: %s/opensnitch.log\n",
	              stage_folder(stage));
	return PR_ENOENT;
}

static int portreeve_at(struct deploy *deploy, const char *space, unsigned host,
                        const char *settings)
{
	char name[STAGE_LABEL_BYTES];

	(void)snprintf(name, sizeof(name), "host-%s", space);
	int ret = deploy_attach(deploy, space, host);
	if (ret != PR_OK) {
		return ret;
	}
	pid_t pid = deploy_agent(deploy, space, name, settings);
	return pid > 0 ? PR_OK : (int)pid;
}

static int portreeve_open(struct deploy *deploy, const struct arm *arm)
{
	int ret = portreeve_at(deploy, arm->client, 10 * arm->number, arm->settings);

	return ret == PR_OK && arm->pair
	               ? portreeve_at(deploy, arm->server, 10 * arm->number + 1, arm->settings)
	               : ret;
}

int arm_open(stage_t *stage, struct deploy *deploy, struct arm *arm)
{
	int ret = place_make(stage, arm);

	if (ret != PR_OK) {
		return ret;
	}
	switch (arm->kind) {
	case ARM_NONE:
		return PR_OK;
	case ARM_ACCEPT_ALL:
	case ARM_BATCHED:
		return accept_open(stage, arm);
	case ARM_OPENSNITCH:
		return opensnitch_open(stage, arm);
	case ARM_PORTREEVE:
		return portreeve_open(deploy, arm);
	}
	return PR_EINVAL;
}

/* ---- one run ---- */

/* The table of flows cannot be made larger inside a namespace. */
static void flows_forget(stage_t *stage, const struct arm *arm)
{
	if (arm->kind >= ARM_OPENSNITCH) {
		stage_try(stage, arm->client, "conntrack -F");
		stage_try(stage, arm->server, "conntrack -F");
	}
}

int arm_run(stage_t *stage, const struct arm *arm, unsigned in_flight, uint64_t duration_ns,
            struct arm_figures *ret_figures, struct traffic_result *total)
{
	struct traffic_plan plan = { .sources = SOURCES,
		                     .in_flight = in_flight,
		                     .duration_ns = duration_ns };
	_cleanup_(pr_free) struct traffic_result *result = calloc(1, sizeof(*result));
	struct bench_times start;

	if (result == NULL) {
		return PR_ENOMEM;
	}
	(void)snprintf(plan.server, sizeof(plan.server), "10.77.%u.1", arm->number);
	(void)snprintf(plan.source, sizeof(plan.source), "10.77.%u.2", arm->number);
	flows_forget(stage, arm);
	bench_times_read(&start);
	int ret = stage_call(stage, arm->client, traffic_client, &plan, result, sizeof(*result));
	if (ret != PR_OK) {
		return ret;
	}
	double busy_us = bench_times_busy_us(&start);
	*ret_figures = (struct arm_figures){
		.rate = (double)result->made_in_time * 1e9 / (double)result->elapsed_ns,
		.p50_us = traffic_histogram_us(&result->latency, 0.50),
		.p99_us = traffic_histogram_us(&result->latency, 0.99),
		.cpu_us = result->made > 0 ? busy_us / (double)result->made : 0,
		.made = result->made,
		.failed = result->failed,
		.steps = result->steps,
	};
	if (total != NULL) {
		total->made += result->made;
		total->failed += result->failed;
		total->steps += result->steps;
		traffic_histogram_merge(&total->latency, &result->latency);
	}
	return PR_OK;
}
