/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Many agents that are not there: each has a key of its own, a CurveZMQ connection to the admin
 * service and one to every worker, says hello, tells its inventory, beats and asks as an agent
 * does. They live in processes of HERD_A_PROCESS agents; what they see is added up on a board that
 * all processes share.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "bench/deploy.h"
#include "bench/stage.h"
#include "bench/traffic.h"
#include "bus/bus.h"
#include "codec/codec.h"

#define HERD_A_PROCESS     100
#define HERD_PROCESSES_MAX 100
/**
 * Heartbeats a second of all: what two cores can simulate beside the controller. A larger herd is
 * eased: rarer heartbeats, low priority, few that connect at a time.
 */
#define HERD_BEATS   2000
#define HERD_NICE    10
#define HERD_JOINING 3 /* agents of a process that connect at the same time */

struct herd_agent {
	struct pr_uuid id;
	struct bus_key key;
};

/** One process's part of the board; only it writes, but for the orders. */
struct herd_place {
	_Atomic uint32_t ready;    /* agents with a state and their inventory acknowledged */
	_Atomic uint32_t followed; /* agents whose state is of revision or later */
	_Atomic uint64_t asked, answered;
	_Atomic uint64_t bytes; /* of frames with the admin service, but for idle heartbeats */
	struct traffic_histogram latency; /* of answers while asking */
};

struct herd_board {
	_Atomic uint64_t revision; /* order: count who has it */
	_Atomic uint32_t rate;     /* order: questions a second of each process; 0: none */
	_Atomic uint32_t change;   /* order: the first agent tells this change of a container */
	_Atomic uint32_t changed;  /* the last one that the controller has acknowledged */
	struct herd_place places[HERD_PROCESSES_MAX];
};

struct herd {
	stage_t *stage;
	struct herd_board *board;
	struct herd_agent *agents;
	unsigned count;
	unsigned containers; /* of each agent; 0, unless set before herd_start() */
	uint8_t server_key[BUS_KEY_BYTES];
};

/** Keys of @p count agents, put into the controller's store, each with one endpoint, its host. */
int herd_new(struct deploy *deploy, unsigned count, struct herd *ret_herd) _must_check_;
/** The same with all that it needs: a controller, not started yet, and a namespace linked to it. */
int herd_set_up(stage_t *stage, const char *space, unsigned count, struct deploy *ret_deploy,
                struct herd *ret_herd) _must_check_;
void herd_done(struct herd *herd);
/** Start all processes in a namespace: they connect at once. */
int herd_start(struct herd *herd, const char *space) _must_check_;

/** Between the heartbeats of an agent: 1 s, or more in a herd over HERD_BEATS. */
uint64_t herd_beat_ns(const struct herd *herd);
/** Agents that connect at the same time. */
unsigned herd_joining(const struct herd *herd);
uint32_t herd_ready(const struct herd *herd);
uint32_t herd_followed(const struct herd *herd);
/** Of documents sent and received by all, but for STATE_GET and the OK that nothing is new. */
uint64_t herd_bytes(const struct herd *herd);

/* ---- herd_process.c: one process of the herd ---- */

struct herd_plan {
	const struct herd *herd;
	unsigned first, count;
};

/** For stage_serve(), with a struct herd_plan: the life of the process. */
void herd_process_run(const void *plan_data, int fd);
/** Agents of one process that connect at the same time. */
unsigned herd_joining_max(const struct herd *herd);

/* ---- herd_inventory.c: what an agent tells of its host, as large as a real one's ---- */

codec_doc_t *herd_host_document(const struct herd_agent *agent, unsigned index);
/** Its name is herd-INDEX-c-NUMBER; @p change shows in a label. */
codec_doc_t *herd_container_document(const struct herd_agent *agent, unsigned index,
                                     unsigned number, unsigned change);
codec_doc_t *herd_end_document(uint64_t id, bool full);
