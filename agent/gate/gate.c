/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/gate/internal.h"
#include "base/clock.h"
#include "base/err.h"

#define ROUNDS_A_TURN 4 /* receives, before everybody else gets a turn */
#define RESEND_NS     (10 * PR_NS_PER_MS)

static const struct gate_counter_row counter_rows[] = {
#define X(name, unit, doc) { #name, (unit), (doc), offsetof(struct gate_counters, name) },
	GATE_COUNTER_LIST(X)
#undef X
};

const struct gate_counter_row *gate_counter_rows(size_t *ret_count)
{
	*ret_count = PR_ARRAY_LEN(counter_rows);
	return counter_rows;
}

void gate_config_default(struct gate_config *config)
{
	*config = (struct gate_config){
		.mark_mask = 0x30000000,
		.mark_allow = 0x10000000,
		.mark_reject = 0x20000000,
		.deadline_ns = 5 * PR_NS_PER_S,
		.pending_max = 8192,
		.pending_namespace_max = 4096,
		.decided_max = 16384,
		.decided_ns = 2 * PR_NS_PER_S,
	};
}

static bool config_fits(const struct gate_config *config)
{
	bool marks = config->mark_allow != 0 && config->mark_reject != 0 &&
	             config->mark_allow != config->mark_reject &&
	             (config->mark_allow & ~config->mark_mask) == 0 &&
	             (config->mark_reject & ~config->mark_mask) == 0;
	return marks && config->deadline_ns != 0 && config->pending_max != 0 &&
	       config->pending_namespace_max != 0 && config->decided_max != 0;
}

int gate_new(const struct gate_config *config, const struct gate_kernel *kernel,
             const struct gate_attribution *attribution, const struct gate_outlet *outlet,
             gate_t **ret_gate)
{
	uint64_t secrets[2];

	if (!config_fits(config)) {
		return PR_EINVAL;
	}
	if (getrandom(secrets, sizeof(secrets), 0) != sizeof(secrets)) {
		return PR_EIO;
	}
	_cleanup_(gate_destroy) gate_t *gate = calloc(1, sizeof(*gate));
	if (gate == NULL) {
		return PR_ENOMEM;
	}
	gate->config = *config;
	gate->kernel = *kernel;
	gate->attribution = *attribution;
	gate->outlet = *outlet;
	int error = pending_new(config->pending_max, secrets, &gate->pending);
	if (error == PR_OK) {
		error = decided_new(config->decided_max, secrets, &gate->decided);
	}
	gate->sources = calloc(GATE_SOURCES_MAX, sizeof(*gate->sources));
	if (error == PR_OK && gate->sources == NULL) {
		error = PR_ENOMEM;
	}
	if (error != PR_OK) {
		return error;
	}
	gate->now_ns = kernel->now_ns(kernel->context);
	gate->lost_since_ns = gate->now_ns;
	*ret_gate = take_ptr(gate);
	return PR_OK;
}

void gate_destroy(gate_t **gate_p)
{
	gate_t *gate = *gate_p;
	if (gate == NULL) {
		return;
	}
	for (uint32_t slot = 0; slot < PART_NAMESPACE_MAX; slot++) {
		gate_namespace_remove(gate, slot);
	}
	decided_destroy(&gate->decided);
	pending_destroy(&gate->pending);
	free(gate->sources);
	free(gate);
	*gate_p = NULL;
}

/* ------------------------------------------------------------------ namespaces and endpoints */

static uint32_t endpoint_find(const gate_t *gate, const struct pr_uuid *id)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		if (gate->endpoints[i].used && pr_uuid_equal(&gate->endpoints[i].id, id)) {
			return i;
		}
	}
	return ENDPOINT_NONE;
}

/* Whose the namespace is: one that is no guest; the host comes before its guests. */
static uint32_t primary_of_slot(const gate_t *gate, uint32_t slot)
{
	uint32_t found = ENDPOINT_NONE;

	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		const struct gate_endpoint *endpoint = &gate->endpoints[i];
		if (!endpoint->used || endpoint->slot != slot) {
			continue;
		}
		if (!endpoint->guest) {
			return i;
		}
		found = found == ENDPOINT_NONE ? i : found;
	}
	return found;
}

static uint32_t endpoint_free(const gate_t *gate)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		if (!gate->endpoints[i].used) {
			return i;
		}
	}
	return ENDPOINT_NONE;
}

bool gate_endpoint_is_ours(const gate_t *gate, const struct pr_uuid *id)
{
	return endpoint_find(gate, id) != ENDPOINT_NONE;
}

uint32_t gate_endpoint_index(const gate_t *gate, uint32_t slot, const struct part_owner *owner)
{
	const struct gate_space *space = gate->spaces[slot];
	uint32_t index = ENDPOINT_NONE;

	switch (owner->place) {
	case PART_PLACE_MAIN:
		/* Guests whose host went are equals: what is of none of them is nobody's. */
		return space->endpoints > 1 && gate->endpoints[space->primary].guest
		               ? ENDPOINT_NONE
		               : space->primary;
	case PART_PLACE_CONTAINER:
		if (pr_uuid_equal(&gate->endpoints[space->primary].id, &owner->container)) {
			return space->primary; /* alone, mostly */
		}
		index = endpoint_find(gate, &owner->container);
		return index != ENDPOINT_NONE && gate->endpoints[index].slot == slot
		               ? index
		               : ENDPOINT_NONE;
	default:
		return ENDPOINT_NONE;
	}
}

struct pr_uuid gate_endpoint_of(const gate_t *gate, uint32_t slot, const struct part_owner *owner)
{
	uint32_t index = ENDPOINT_NONE;

	if (slot < PART_NAMESPACE_MAX && gate->spaces[slot] != NULL) {
		index = gate_endpoint_index(gate, slot, owner);
	}
	return index != ENDPOINT_NONE ? gate->endpoints[index].id : (struct pr_uuid){ { 0 } };
}

bool gate_space_enforced(const gate_t *gate, uint32_t slot)
{
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		const struct gate_endpoint *endpoint = &gate->endpoints[i];
		if (endpoint->used && endpoint->slot == slot &&
		    endpoint->mode == CODEC_MODE_ENFORCE) {
			return true;
		}
	}
	return false;
}

static int endpoint_put(gate_t *gate, const struct part_namespace *space)
{
	uint32_t index = endpoint_find(gate, &space->endpoint);

	if (index != ENDPOINT_NONE && gate->endpoints[index].slot != space->slot) {
		gate_endpoint_remove(gate, &space->endpoint); /* restarted: a new namespace */
		index = ENDPOINT_NONE;
	}
	if (index == ENDPOINT_NONE) {
		index = endpoint_free(gate);
		if (index == ENDPOINT_NONE) {
			return PR_ENOSPC;
		}
		gate->endpoints[index] = (struct gate_endpoint){ .id = space->endpoint,
			                                         .slot = space->slot,
			                                         .lost = PART_LOST_LAST_KNOWN,
			                                         .used = true };
		gate->spaces[space->slot]->endpoints++;
	}
	gate->endpoints[index].mode = space->mode;
	gate->endpoints[index].guest = space->guest;
	gate->spaces[space->slot]->primary = primary_of_slot(gate, space->slot);
	return PR_OK;
}

static bool has_descriptors(const struct part_namespace *space)
{
	return space->descriptors.queue >= 0 || space->descriptors.log >= 0 ||
	       space->descriptors.diag >= 0 || space->descriptors.conntrack >= 0;
}

static int space_make(gate_t *gate, const struct part_namespace *space)
{
	if (gate->spaces[space->slot] != NULL) {
		return PR_OK;
	}
	struct gate_space *added = calloc(1, sizeof(*added));
	if (added == NULL) {
		return PR_ENOMEM;
	}
	added->primary = ENDPOINT_NONE;
	added->is_host = space->is_host;
	gate->spaces[space->slot] = added;
	return PR_OK;
}

static void descriptors_close(const struct part_namespace *space)
{
	struct part_descriptors descriptors = space->descriptors;
	pr_fd_close(&descriptors.queue);
	pr_fd_close(&descriptors.log);
	pr_fd_close(&descriptors.diag);
	pr_fd_close(&descriptors.conntrack);
}

int gate_namespace_add(gate_t *gate, const struct part_namespace *space)
{
	bool fresh = space->slot < PART_NAMESPACE_MAX && gate->spaces[space->slot] == NULL;
	int error = space->slot < PART_NAMESPACE_MAX ? space_make(gate, space) : PR_EINVAL;

	if (error == PR_OK) {
		error = endpoint_put(gate, space);
	}
	if (error != PR_OK) {
		descriptors_close(space);
	} else if (has_descriptors(space)) {
		error = gate->kernel.attach(gate->kernel.context, space);
	}
	if (error != PR_OK && fresh) {
		gate_namespace_remove(gate, space->slot);
	}
	decided_expire(gate->decided);
	return error;
}

void gate_mode_set(gate_t *gate, const struct pr_uuid *endpoint, uint8_t mode)
{
	uint32_t index = endpoint_find(gate, endpoint);
	if (index != ENDPOINT_NONE && gate->endpoints[index].mode != mode) {
		gate->endpoints[index].mode = mode;
		decided_expire(gate->decided);
	}
}

void gate_lost_set(gate_t *gate, const struct part_lost *lost)
{
	uint32_t index = endpoint_find(gate, &lost->endpoint);
	if (index != ENDPOINT_NONE) {
		gate->endpoints[index].lost = lost->mode;
	}
}

/* The packets of a namespace need somebody: its last endpoint stays until the namespace goes. */
void gate_endpoint_remove(gate_t *gate, const struct pr_uuid *endpoint)
{
	uint32_t index = endpoint_find(gate, endpoint);
	if (index == ENDPOINT_NONE) {
		return;
	}
	uint32_t slot = gate->endpoints[index].slot;
	struct gate_space *space = gate->spaces[slot];
	if (space->endpoints < 2) {
		return;
	}
	gate->endpoints[index].used = false;
	space->endpoints--;
	space->primary = primary_of_slot(gate, slot);
	decided_expire(gate->decided);
}

static void end_question(gate_t *gate, struct pending_question *question)
{
	bool held = pending_holds(question);
	struct gate_outcome outcome = gate_outcome_own(
		gate, &question->request, held ? CODEC_ACTION_DENY : CODEC_ACTION_ALLOW,
		held ? CODEC_DECIDED_BY_DEADLINE : CODEC_DECIDED_BY_OBSERVE);
	gate->counters.questions_ended++;
	gate->outlet.drop(gate->outlet.context, question->request.id);
	gate_settle(gate, question, &outcome);
}

void gate_namespace_remove(gate_t *gate, uint32_t slot)
{
	if (slot >= PART_NAMESPACE_MAX || gate->spaces[slot] == NULL) {
		return;
	}
	for (struct pending_question *question = pending_find_slot(gate->pending, slot);
	     question != NULL; question = pending_find_slot(gate->pending, slot)) {
		end_question(gate, question);
	}
	gate_flush(gate);
	gate->kernel.detach(gate->kernel.context, slot);
	for (uint32_t i = 0; i < PART_NAMESPACE_MAX; i++) {
		if (gate->endpoints[i].used && gate->endpoints[i].slot == slot) {
			gate->endpoints[i].used = false;
		}
	}
	gate->counters.verdicts_unsent +=
		gate->spaces[slot]->verdicts.size_bytes / GATE_VERDICT_BYTES;
	free(gate->spaces[slot]);
	gate->spaces[slot] = NULL;
	decided_expire(gate->decided);
}

/* --------------------------------------------------------------------------------- turning */

void gate_controller_set(gate_t *gate, bool reachable)
{
	if (gate->reachable && !reachable) {
		gate->lost_since_ns = gate->kernel.now_ns(gate->kernel.context);
	}
	gate->reachable = reachable;
}

void gate_decided_forget(gate_t *gate)
{
	decided_expire(gate->decided);
}

int gate_fd(const gate_t *gate)
{
	return gate->kernel.fd(gate->kernel.context);
}

uint64_t gate_timeout_ns(const gate_t *gate)
{
	const struct pending_question *oldest = pending_oldest(gate->pending);
	uint64_t due_ns = gate_sources_due_ns(gate);

	if (gate->dirty_count > 0 && gate->now_ns + RESEND_NS < due_ns) {
		due_ns = gate->now_ns + RESEND_NS;
	}
	if (oldest != NULL && oldest->asked_ns + gate->config.deadline_ns < due_ns) {
		due_ns = oldest->asked_ns + gate->config.deadline_ns;
	}
	return due_ns;
}

static bool receive(gate_t *gate)
{
	struct gate_datagram datagrams[GATE_RECEIVE_MAX];

	for (int round = 0; round < ROUNDS_A_TURN; round++) {
		size_t count =
			gate->kernel.receive(gate->kernel.context, datagrams, GATE_RECEIVE_MAX);
		if (count == 0) {
			return false;
		}
		gate->now_ns = gate->kernel.now_ns(gate->kernel.context);
		gate->wall_ns = gate->kernel.wall_ns(gate->kernel.context);
		if (gate->attribution.begin != NULL) {
			gate->attribution.begin(gate->attribution.context);
		}
		for (size_t i = 0; i < count; i++) {
			gate_datagram_take(gate, &datagrams[i]);
		}
		if (count < GATE_RECEIVE_MAX) {
			return false; /* what waits elsewhere shows in gate_fd() */
		}
	}
	return true;
}

static void expire(gate_t *gate)
{
	struct pending_question *question = pending_oldest(gate->pending);

	if (question == NULL) {
		return;
	}
	gate->now_ns = gate->kernel.now_ns(gate->kernel.context);
	while (question != NULL && question->asked_ns + gate->config.deadline_ns <= gate->now_ns) {
		gate->counters.questions_late++;
		gate->outlet.drop(gate->outlet.context, question->request.id);
		gate_settle_lost(gate, question);
		question = pending_oldest(gate->pending);
	}
}

bool gate_turn(gate_t *gate)
{
	bool more = receive(gate);
	expire(gate);
	gate_flush(gate);
	return more;
}

uint32_t gate_pending(const gate_t *gate)
{
	return pending_count(gate->pending);
}

const struct completeness *gate_completeness(const gate_t *gate)
{
	return &gate->completeness;
}

void gate_counters(const gate_t *gate, struct gate_counters *ret_counters)
{
	*ret_counters = gate->counters;
}
