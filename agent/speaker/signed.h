/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What the authority signs: an agent's state and the directory of services. Checked here, whole or
 * not at all: one malformed line refuses the document. Pure.
 */

#include "agent/speaker/speaker.h"

#define SIGNED_RECORDERS_MAX 16
#define SIGNED_MODES_MAX     65536

struct services {
	uint64_t number;
	size_t controller_count, worker_count, recorder_count;
	struct speaker_service controllers[SPEAKER_CONTROLLERS_MAX];
	struct speaker_service workers[SPEAKER_WORKERS_MAX];
	struct speaker_service recorders[SIGNED_RECORDERS_MAX];
};

/**
 * Take a STATE document.
 * @param ret_state  Caller frees with signed_state_done().
 * @retval PR_ESIGN   Not signed with @p authority_key.
 * @retval PR_EPERM   For another agent.
 * @retval PR_EOLD    Older than @p held_number.
 * @retval PR_EEXIST  The one that is held.
 * @retval PR_EMALF
 */
int signed_state_take(const codec_doc_t *document, const uint8_t *authority_key,
                      const struct pr_uuid *agent, uint64_t held_number,
                      struct speaker_state *ret_state) _must_check_;
void signed_state_done(struct speaker_state *state);

/** Take a DIRECTORY document. Errors as above. */
int signed_services_take(const codec_doc_t *document, const uint8_t *authority_key,
                         uint64_t held_number, struct services *ret_services) _must_check_;

/** "tcp://ADDRESS:PORT Z85-KEY UUID". PR_EMALF. */
int signed_service_parse(const char *line, struct speaker_service *ret_service) _must_check_;
/** "tcp://ADDRESS:PORT" of a literal address. PR_EMALF. */
int signed_endpoint_parse(const char *endpoint, struct pr_addr *ret_addr,
                          uint16_t *ret_port) _must_check_;
/**
 * "IN|OUT ADDRESS/BITS PROTO/PORT" or PROTO/FIRST-LAST; ADDRESS/BITS, PORT and PROTO/PORT may be
 * `any`. PR_EMALF.
 */
int signed_lifeline_parse(const char *line, struct part_lifeline *ret_lifeline) _must_check_;
/** "UUID MODE LOST SECONDS". PR_EMALF. */
int signed_mode_parse(const char *line, struct speaker_mode *ret_mode) _must_check_;
