/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/herd.h"
#include "store/store.h"

/* ---- keys and store ---- */

static struct store_peer peer_of(const struct herd_agent *agent, unsigned index)
{
	struct store_peer peer = { .id = agent->id,
		                   .role = "agent",
		                   .status = STORE_PEER_APPROVED,
		                   .created_wall_ns = pr_clock_wall_ns() };

	memcpy(peer.public_key, agent->key.public_key, sizeof(peer.public_key));
	(void)snprintf(peer.name, sizeof(peer.name), "herd-%u", index);
	return peer;
}

/* In one write: ten thousand would wait for the disk for a minute. */
static int agents_register(struct deploy *deploy, struct herd *herd)
{
	char path[2 * STAGE_PATH_BYTES];
	const struct store_options options = { .path = path };
	_cleanup_(pr_free) struct store_peer *peers = calloc(herd->count, sizeof(*peers));
	store_t *store = NULL;
	int ret = peers != NULL ? PR_OK : PR_ENOMEM;

	for (unsigned i = 0; i < herd->count && ret == PR_OK; i++) {
		herd->agents[i].id = pr_uuid_new();
		ret = bus_key_new(&herd->agents[i].key);
		if (ret == PR_OK) {
			peers[i] = peer_of(&herd->agents[i], i);
		}
	}
	deploy_store_path(deploy, path);
	if (ret == PR_OK) {
		ret = store_open(&options, &store);
	}
	if (ret == PR_OK) {
		ret = store_peers_put(store, peers, herd->count);
	}
	store_destroy(&store);
	return ret;
}

int herd_new(struct deploy *deploy, unsigned count, struct herd *ret_herd)
{
	struct herd herd = { .stage = deploy->stage, .count = count };

	if (count == 0 || count > HERD_A_PROCESS * HERD_PROCESSES_MAX) {
		return PR_EINVAL;
	}
	herd.agents = calloc(count, sizeof(*herd.agents));
	herd.board = mmap(NULL, sizeof(*herd.board), PROT_READ | PROT_WRITE,
	                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (herd.board == MAP_FAILED) {
		herd.board = NULL;
	}
	*ret_herd = herd;
	if (herd.agents == NULL || herd.board == NULL) {
		return PR_ENOMEM;
	}
	int ret = deploy_server_key(deploy, ret_herd->server_key);
	return ret == PR_OK ? agents_register(deploy, ret_herd) : ret;
}

int herd_set_up(stage_t *stage, const char *space, unsigned count, struct deploy *ret_deploy,
                struct herd *ret_herd)
{
	int ret = deploy_init(stage, ret_deploy);

	if (ret == PR_OK) {
		ret = stage_space_add(stage, space);
	}
	if (ret == PR_OK) {
		ret = deploy_attach(ret_deploy, space, 2);
	}
	return ret == PR_OK ? herd_new(ret_deploy, count, ret_herd) : ret;
}

void herd_done(struct herd *herd)
{
	if (herd->board != NULL) {
		(void)munmap(herd->board, sizeof(*herd->board));
	}
	free(herd->agents);
	*herd = (struct herd){ 0 };
}

uint64_t herd_beat_ns(const struct herd *herd)
{
	return PR_NS_PER_S * (herd->count > HERD_BEATS ? herd->count / HERD_BEATS : 1);
}

unsigned herd_joining_max(const struct herd *herd)
{
	return herd->count > HERD_BEATS ? HERD_JOINING : HERD_A_PROCESS;
}

unsigned herd_joining(const struct herd *herd)
{
	unsigned processes = (herd->count + HERD_A_PROCESS - 1) / HERD_A_PROCESS;
	unsigned joining = herd_joining_max(herd) * processes;

	return joining < herd->count ? joining : herd->count;
}

/* ---- processes and their board ---- */

int herd_start(struct herd *herd, const char *space)
{
	for (unsigned first = 0; first < herd->count; first += HERD_A_PROCESS) {
		struct herd_plan plan = { .herd = herd, .first = first };
		plan.count =
			herd->count - first < HERD_A_PROCESS ? herd->count - first : HERD_A_PROCESS;
		pid_t pid = stage_serve(herd->stage, space, herd_process_run, &plan);
		if (pid < 0) {
			return (int)pid;
		}
	}
	return PR_OK;
}

uint32_t herd_ready(const struct herd *herd)
{
	uint32_t sum = 0;
	for (unsigned i = 0; i < HERD_PROCESSES_MAX; i++) {
		sum += atomic_load(&herd->board->places[i].ready);
	}
	return sum;
}

uint32_t herd_followed(const struct herd *herd)
{
	uint32_t sum = 0;
	for (unsigned i = 0; i < HERD_PROCESSES_MAX; i++) {
		sum += atomic_load(&herd->board->places[i].followed);
	}
	return sum;
}

uint64_t herd_bytes(const struct herd *herd)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < HERD_PROCESSES_MAX; i++) {
		sum += atomic_load(&herd->board->places[i].bytes);
	}
	return sum;
}
