/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may reach somebody, and whom may he reach? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/who.h"

#define SERVICES_BYTES 2048
#define NAME_BYTES     256

struct reach {
	struct call *call;
	struct draft_view view;
	struct who from, to;
	/* rows of one pair and rule, gathered into one answer */
	struct policy_reach_row row;
	bool open;
	char services[SERVICES_BYTES];
	int ret;
};

static void reach_done(struct reach *reach)
{
	who_done(&reach->from);
	who_done(&reach->to);
	draft_view_done(&reach->view);
}

static void user_add(char *text, size_t room, const char *word,
                     const struct policy_user_match *match)
{
	char user[POLICY_NAME_MAX_BYTES + 8];
	size_t used = strlen(text);

	if (match->kind != POLICY_USER_ANY && policy_user_format(match, user, sizeof(user)) >= 0) {
		(void)snprintf(text + used, room - used, "%s%s %s", used > 0 ? " " : "", word,
		               user);
	}
}

static void process_add(char *text, size_t room, const char *word,
                        const struct policy_process_match *match)
{
	size_t used = strlen(text);

	if (match->path != NULL) {
		(void)snprintf(text + used, room - used, "%s%s %s", used > 0 ? " " : "", word,
		               match->path);
	}
}

static void condition_format(const struct reach *reach, char *text, size_t room)
{
	const struct policy_rule *rule =
		policy_model_rule_find(reach->view.model, reach->row.rule, NULL);

	text[0] = '\0';
	if (!reach->row.conditional) {
		return;
	}
	if (rule != NULL) {
		user_add(text, room, "user", &rule->user);
		process_add(text, room, "process", &rule->process);
		user_add(text, room, "to-user", &rule->to_user);
		process_add(text, room, "to-process", &rule->to_process);
	}
	if (text[0] == '\0') {
		(void)snprintf(text, room, "not what an earlier rule denies");
	}
}

static int row_send(struct reach *reach)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = call_doc(reach->call, CODEC_REACH);
	char name[NAME_BYTES], condition[2 * POLICY_PATH_MAX_BYTES + 256];
	const struct policy_reach_row *row = &reach->row;

	if (answer == NULL) {
		return PR_ENOMEM;
	}
	condition_format(reach, condition, sizeof(condition));
	codec_doc_set_text(answer, CODEC_REACH_SRC,
	                   who_format(&reach->from, row->source, name, sizeof(name)));
	codec_doc_set_uuid(answer, CODEC_REACH_SRC_UUID, &reach->from.ends[row->source].id);
	codec_doc_set_text(answer, CODEC_REACH_DST,
	                   who_format(&reach->to, row->destination, name, sizeof(name)));
	codec_doc_set_uuid(answer, CODEC_REACH_DST_UUID, &reach->to.ends[row->destination].id);
	codec_doc_set_text(answer, CODEC_REACH_SERVICES, reach->services);
	codec_doc_set_u64(answer, CODEC_REACH_RULE, row->rule);
	codec_doc_set_text(answer, CODEC_REACH_CONDITION, condition);
	reach->call->sent++;
	return call_send(reach->call, answer);
}

static void service_add(struct reach *reach, const struct policy_reach_row *row)
{
	struct policy_service service = {
		.whole = row->whole, .proto = row->proto, .first = row->first, .last = row->last
	};
	size_t used = strlen(reach->services);
	char text[64] = "other protocols";

	if (!row->other_protocols) {
		(void)policy_services_format(&service, 1, text, sizeof(text));
	}
	if (used + strlen(text) + 2 < SERVICES_BYTES) {
		(void)snprintf(reach->services + used, SERVICES_BYTES - used, "%s%s",
		               used > 0 ? " " : "", text);
	}
}

static bool continues(const struct reach *reach, const struct policy_reach_row *row)
{
	const struct policy_reach_row *open = &reach->row;

	return reach->open && open->source == row->source &&
	       open->destination == row->destination && open->rule == row->rule &&
	       open->conditional == row->conditional &&
	       strlen(reach->services) < SERVICES_BYTES - 64;
}

static bool row_take(void *arg, const struct policy_reach_row *row)
{
	struct reach *reach = arg;

	if (!continues(reach, row)) {
		if (reach->open) {
			reach->ret = row_send(reach);
		}
		reach->row = *row;
		reach->open = true;
		reach->services[0] = '\0';
	}
	service_add(reach, row);
	return reach->ret == PR_OK;
}

static int reach_run(struct call *call, struct reach *reach)
{
	int ret = policy_reach_run(reach->view.model, reach->view.image, reach->from.ends,
	                           reach->from.count, reach->to.ends, reach->to.count,
	                           call->admin->now_wall_ns, row_take, reach);

	if (ret == PR_ETOOBIG) {
		return call_fail(call, ret,
		                 "more than %u combinations of endpoints and services: name one "
		                 "endpoint or a smaller group",
		                 POLICY_REACH_TRIES_MAX);
	}
	ret = ret == PR_OK ? reach->ret : ret;
	if (ret == PR_OK && reach->open) {
		ret = row_send(reach);
	}
	return ret == PR_OK ? call_end(call, true) : ret;
}

int admin_reach_get(struct call *call)
{
	_cleanup_(pr_free) struct reach *reach = calloc(1, sizeof(*reach));
	const char *from = codec_doc_text(call->document, CODEC_REACH_GET_FROM);
	const char *to = codec_doc_text(call->document, CODEC_REACH_GET_TO);

	if (reach == NULL) {
		return PR_ENOMEM;
	}
	reach->call = call;
	if (from[0] == '\0' && to[0] == '\0') {
		return call_fail(call, PR_EINVAL, "say --from or --to whom");
	}
	int ret = draft_view_open(call, codec_doc_u64(call->document, CODEC_REACH_GET_DRAFT) != 0,
	                          &reach->view);
	if (ret == PR_OK) {
		ret = who_find(call, &reach->view, from, &reach->from);
	}
	if (ret == PR_OK) {
		ret = who_find(call, &reach->view, to, &reach->to);
	}
	if (ret == PR_OK) {
		ret = reach_run(call, reach);
	}
	reach_done(reach);
	return ret;
}
