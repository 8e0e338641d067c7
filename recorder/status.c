/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "recorder/daemon.h"

#define AGENTS_SHOWN 200 /* so that the answer stays within a frame */

struct agents {
	codec_doc_t *doc;
	uint64_t count, gaps, lost, duplicates, late;
};

static void fact(codec_doc_t *doc, const char *name, uint64_t value)
{
	codec_doc_addf(doc, CODEC_STATUS_FACTS, "%s %" PRIu64, name, value);
}

static bool on_agent(void *arg, const struct store_agent *state)
{
	struct agents *agents = arg;
	char id[PR_UUID_TEXT_BYTES];

	agents->count++;
	agents->gaps += state->gap_count;
	agents->lost += state->lost_count;
	agents->duplicates += state->duplicate_count;
	agents->late += state->late_count;
	if (agents->count > AGENTS_SHOWN) {
		return true;
	}
	(void)pr_uuid_format(&state->id, id);
	codec_doc_addf(agents->doc, CODEC_STATUS_FACTS, "seq.%s %" PRIu64, id, state->last_seq);
	codec_doc_addf(agents->doc, CODEC_STATUS_FACTS, "gap.%s %" PRIu64, id, state->gap_count);
	if (state->lost_count != 0) {
		codec_doc_addf(agents->doc, CODEC_STATUS_FACTS, "lost.%s %" PRIu64, id,
		               state->lost_count);
	}
	return true;
}

static uint64_t resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file == NULL) {
		return 0;
	}
	if (fscanf(file, "%*u %llu", &pages) != 1) {
		pages = 0;
	}
	(void)fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void facts_of_history(struct daemon *daemon, codec_doc_t *doc)
{
	struct store_history_stats stats;

	if (store_history_stats(daemon->history, &stats) != PR_OK) {
		return;
	}
	fact(doc, "events", stats.events);
	fact(doc, "history_bytes", stats.bytes);
	fact(doc, "history_file_bytes", stats.file_bytes);
	fact(doc, "history_max_bytes", stats.map_bytes);
	fact(doc, "events_deleted", stats.deleted);
	fact(doc, "rows_corrupt", stats.corrupt);
	fact(doc, "oldest_wall_ns", stats.oldest_wall_ns);
	fact(doc, "newest_wall_ns", stats.newest_wall_ns);
	fact(doc, "users", stats.users);
	fact(doc, "users_refused", stats.users_refused);
}

static void facts_of_ingest(struct daemon *daemon, codec_doc_t *doc)
{
	const struct recorder_ingest_counters *counters = recorder_ingest_counters(daemon->ingest);

	fact(doc, "disk_full", daemon->commit_err == PR_ENOSPC);
	fact(doc, "store_refuses", recorder_ingest_blocked(daemon->ingest));
	fact(doc, "events_waiting", recorder_ingest_waiting(daemon->ingest));
	fact(doc, "event_frames", counters->frames);
	fact(doc, "events_received", counters->events);
	fact(doc, "events_committed", counters->committed);
	fact(doc, "commits", counters->commits);
	fact(doc, "commits_failed", counters->commits_failed);
	fact(doc, "events_dropped_full", counters->dropped_full);
	fact(doc, "events_dropped_ahead", counters->dropped_ahead);
	fact(doc, "events_dropped_refused", counters->dropped_refused);
	fact(doc, "users_foreign", counters->users_foreign);
	fact(doc, "frames_malformed", counters->malformed + daemon->counters.malformed);
}

static void facts_of_readers(struct daemon *daemon, codec_doc_t *doc)
{
	struct recorder_answers_counters answers;
	struct bus_context_counters zap;
	struct bus_server_counters server;
	struct recorder_link_state link;

	recorder_answers_counters(daemon->answers, &answers);
	fact(doc, "requests_open", answers.open);
	fact(doc, "followers", answers.following);
	fact(doc, "rows_sent", answers.rows_sent);
	fact(doc, "rows_lost_by_followers", answers.rows_lost);
	fact(doc, "connections_joined", answers.joined);
	fact(doc, "connections_one_end", answers.singles);
	fact(doc, "joins_refused", answers.joins_refused);
	bus_server_counters(daemon->server, &server);
	fact(doc, "frames_refused_role", daemon->counters.role + server.refused_role);
	fact(doc, "frames_revoked", server.revoked);
	fact(doc, "frames_dropped", server.malformed);
	fact(doc, "handshakes_failed", server.accepted - server.handshakes);
	bus_context_counters(daemon->context, &zap);
	fact(doc, "sessions_admitted", zap.zap_admitted);
	fact(doc, "sessions_refused",
	     zap.zap_refused_key + zap.zap_refused_role + zap.zap_refused_mechanism +
	             zap.zap_malformed);
	recorder_link_state(daemon->link, &link);
	fact(doc, "controller_up", link.up);
	fact(doc, "keys_age_s",
	     link.answered_ns == 0 ? UINT64_MAX
	                           : (daemon->now_ns - link.answered_ns) / PR_NS_PER_S);
	fact(doc, "keys", link.peers);
	fact(doc, "names", recorder_names_count(daemon->names));
	fact(doc, "names_refused", daemon->counters.names_refused);
}

void daemon_status_send(struct daemon *daemon, const struct bus_frame *frame, uint64_t id)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_STATUS);
	_cleanup_(codec_doc_destroy) codec_doc_t *end = codec_doc_new(CODEC_END);
	struct agents agents = { .doc = doc };

	if (doc == NULL || end == NULL) {
		return;
	}
	codec_doc_set_u64(doc, CODEC_STATUS_ID, id);
	codec_doc_set_text(doc, CODEC_STATUS_SERVICE, "recorder");
	fact(doc, "uptime_s", (daemon->now_ns - daemon->started_ns) / PR_NS_PER_S);
	fact(doc, "memory_bytes", resident_bytes());
	facts_of_history(daemon, doc);
	facts_of_ingest(daemon, doc);
	facts_of_readers(daemon, doc);
	(void)!store_history_agents(daemon->history, on_agent, &agents);
	fact(doc, "agents", agents.count);
	fact(doc, "gaps", agents.gaps);
	fact(doc, "lost", agents.lost);
	fact(doc, "duplicates", agents.duplicates);
	fact(doc, "late", agents.late);
	daemon_doc_send(daemon, &frame->route, doc);
	codec_doc_set_u64(end, CODEC_END_ID, id);
	codec_doc_set_u64(end, CODEC_END_COUNT, 1);
	codec_doc_set_u64(end, CODEC_END_COMPLETE, 1);
	daemon_doc_send(daemon, &frame->route, end);
}
