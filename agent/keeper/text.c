/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

const char *const counter_names[_COUNTER_MAX] = {
#define X(name, doc) #name,
	KEEPER_COUNTER_LIST(X)
#undef X
};

const char *const counter_docs[_COUNTER_MAX] = {
#define X(name, doc) doc,
	KEEPER_COUNTER_LIST(X)
#undef X
};

static const char *const state_names[_KEEPER_STATE_MAX] = {
	[KEEPER_NONE] = "none",
	[KEEPER_OBSERVE] = "observe",
	[KEEPER_PREPARE] = "prepare",
	[KEEPER_ENFORCE] = "enforce",
};

int keeper_fail(struct keeper_error *ret_error, int code, const char *format, ...)
{
	if (ret_error != NULL) {
		va_list args;
		va_start(args, format);
		(void)vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
		va_end(args);
	}
	return code;
}

void keeper_error_clear(struct keeper_error *error)
{
	if (error != NULL) {
		error->text[0] = '\0';
	}
}

int about_format(const struct about *about, char *text, size_t size_bytes)
{
	int length =
		snprintf(text, size_bytes,
	                 "v1 state=%s priority=%" PRId32 ",%" PRId32 " mark=%" PRIx32 ",%" PRIx32
	                 ",%" PRIx32 " queue=%u conntrack=%d loose=%d",
	                 state_names[about->state], about->priority, about->priority_save,
	                 about->mark_mask, about->mark_allow, about->mark_reject,
	                 about->queue_first, about->conntrack_before ? 1 : 0, about->loose_before);
	return length > 0 && (size_t)length < size_bytes ? PR_OK : PR_ETOOBIG;
}

int about_parse(const char *text, struct about *ret_about)
{
	struct about about = { .state = KEEPER_NONE };
	char state[16];
	unsigned int queue;
	int conntrack;
	int end = 0;

	int fields = sscanf(text,
	                    "v1 state=%15[a-z] priority=%" SCNd32 ",%" SCNd32 " mark=%" SCNx32
	                    ",%" SCNx32 ",%" SCNx32 " queue=%5u conntrack=%1d loose=%2d%n",
	                    state, &about.priority, &about.priority_save, &about.mark_mask,
	                    &about.mark_allow, &about.mark_reject, &queue, &conntrack,
	                    &about.loose_before, &end);
	if (fields != 9 || text[end] != '\0' || queue > UINT16_MAX || conntrack < 0) {
		return PR_EMALF;
	}
	about.queue_first = (uint16_t)queue;
	about.conntrack_before = conntrack != 0;
	for (int i = KEEPER_OBSERVE; i < _KEEPER_STATE_MAX; i++) {
		if (strcmp(state, state_names[i]) == 0) {
			about.state = (enum keeper_state)i;
			*ret_about = about;
			return PR_OK;
		}
	}
	return PR_EMALF;
}
