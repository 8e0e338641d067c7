/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/herd.h"

#define EVENTS   64
#define OPEN_MAX 4096 /* questions on the way, of a process */

#define HERD_CHANGE_ID 1000 /* of the end of a changed inventory; and the change's number */

struct member {
	const struct herd_agent *agent;
	unsigned index;
	struct herd_place *place;
	bus_client_t *admin, *workers[DEPLOY_WORKERS];
	bool greeted, known, has_state;
	bool follows; /* counted for the revision that is waited for */
	uint64_t revision, number, connection;
	uint64_t beat_ns;
	uint32_t changed; /* the last change that was told */
};

struct member_wake {
	bus_client_t *client;
	struct member *member;
	bool admin;
};

struct herd_process {
	const struct herd *herd;
	struct herd_place *place;
	bus_context_t *context;
	int epoll_fd;
	struct member members[HERD_A_PROCESS];
	struct member_wake wakes[HERD_A_PROCESS * (1 + DEPLOY_WORKERS)];
	size_t wake_count;
	unsigned first, count;
	unsigned opened; /* members that connect or have connected */
	uint64_t wanted; /* revision */
	/* questions */
	uint64_t begun_ns, asked;
	uint64_t sent_ns[OPEN_MAX];
};
static int client_open(struct herd_process *process, struct member *member, unsigned port,
                       bool admin, bus_client_t **ret_client)
{
	char endpoint[128];
	int heartbeat_ms = (int)(2 * herd_beat_ns(process->herd) / PR_NS_PER_MS);
	struct bus_client_options options = { .endpoint = endpoint,
		                              .server_key = process->herd->server_key,
		                              .key = &member->agent->key,
		                              .frame_max_bytes = admin ? CODEC_DOC_MAX_BYTES
		                                                       : CODEC_FRAME_MAX_BYTES,
		                              .heartbeat_ms = heartbeat_ms,
		                              .waits_for_wake = true };
	struct epoll_event event = { .events = EPOLLIN };

	(void)snprintf(endpoint, sizeof(endpoint), "tcp://" DEPLOY_ADDRESS ":%u", port);
	int ret = bus_client_new(process->context, &options, ret_client);
	if (ret != PR_OK) {
		return ret;
	}
	struct member_wake *wake = &process->wakes[process->wake_count++];
	*wake = (struct member_wake){ *ret_client, member, admin };
	event.data.ptr = wake;
	return epoll_ctl(process->epoll_fd, EPOLL_CTL_ADD, bus_client_fd(*ret_client), &event) == 0
	               ? PR_OK
	               : -errno;
}

static int document_send(struct member *member, codec_doc_t *document)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *owned = document;
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	int ret = owned == NULL ? PR_ENOMEM : codec_doc_encode(owned, &data, &size_bytes);
	if (ret == PR_OK && codec_doc_type(owned) != CODEC_STATE_GET) {
		atomic_fetch_add(&member->place->bytes, size_bytes);
	}
	return ret == PR_OK ? bus_client_send(member->admin, data, size_bytes) : ret;
}

/* HELLO, the inventory of one host and its containers, its end. */
static int greet(struct member *member, unsigned containers)
{
	codec_doc_t *hello = codec_doc_new(CODEC_HELLO);

	if (hello != NULL) {
		codec_doc_set_u64(hello, CODEC_HELLO_ID, 1);
		codec_doc_set_uuid(hello, CODEC_HELLO_UUID, &member->agent->id);
		codec_doc_set_text(hello, CODEC_HELLO_VERSION, "bench");
		codec_doc_set_u64(hello, CODEC_HELLO_EPOCH, 1);
	}
	int ret = document_send(member, hello);
	if (ret == PR_OK) {
		ret = document_send(member, herd_host_document(member->agent, member->index));
	}
	for (unsigned i = 0; i < containers && ret == PR_OK; i++) {
		ret = document_send(member,
		                    herd_container_document(member->agent, member->index, i, 0));
	}
	return ret == PR_OK ? document_send(member, herd_end_document(2, true)) : ret;
}

/* The first agent's first container has another label now: it alone, as an agent tells it. */
static void change_turn(struct herd_process *process, struct member *member)
{
	uint32_t wanted = atomic_load(&process->herd->board->change);

	if (member->index != 0 || wanted == member->changed || !member->known) {
		return;
	}
	if (document_send(member, herd_container_document(member->agent, 0, 0, wanted)) == PR_OK &&
	    document_send(member, herd_end_document(HERD_CHANGE_ID + wanted, false)) == PR_OK) {
		member->changed = wanted;
	}
}

static void beat(struct member *member, uint64_t now_ns, uint64_t beat_ns)
{
	codec_doc_t *get = codec_doc_new(CODEC_STATE_GET);

	if (get != NULL) {
		codec_doc_set_u64(get, CODEC_STATE_GET_ID, 3);
		codec_doc_set_u64(get, CODEC_STATE_GET_NUMBER, member->number);
	}
	if (document_send(member, get) == PR_OK) {
		member->beat_ns = now_ns + beat_ns;
	}
}

static void state_take(struct member *member, const codec_doc_t *document)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *state = NULL;
	size_t size_bytes = 0;
	const uint8_t *body = codec_doc_blob(document, CODEC_STATE_BODY, &size_bytes);

	if (codec_doc_decode(body, size_bytes, &state) == PR_OK &&
	    codec_doc_type(state) == CODEC_AGENT_STATE) {
		member->number = codec_doc_u64(state, CODEC_AGENT_STATE_NUMBER);
		member->revision = codec_doc_u64(state, CODEC_AGENT_STATE_REVISION);
		member->has_state = true;
	}
}

static void count_ready(struct herd_process *process, struct member *member, bool before)
{
	if (!before && member->known && member->has_state) {
		/* Once: what is known stays known over a new session. */
		atomic_fetch_add(&process->place->ready, 1);
	}
	if (process->wanted > 0 && !member->follows && member->revision >= process->wanted) {
		member->follows = true;
		atomic_fetch_add(&process->place->followed, 1);
	}
}

static void admin_take(struct herd_process *process, struct member *member)
{
	const uint8_t *data;
	size_t size_bytes;
	bool before = member->known && member->has_state;

	while (bus_client_receive(member->admin, &data, &size_bytes) == PR_OK) {
		_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
		if (codec_doc_decode(data, size_bytes, &document) != PR_OK) {
			continue;
		}
		if (codec_doc_type(document) != CODEC_OK) {
			atomic_fetch_add(&member->place->bytes, size_bytes);
		}
		if (codec_doc_type(document) == CODEC_STATE) {
			state_take(member, document);
		} else if (codec_doc_type(document) == CODEC_INVENTORY_ACK) {
			uint64_t id = codec_doc_u64(document, CODEC_INVENTORY_ACK_ID);
			member->known = true;
			if (id > HERD_CHANGE_ID) {
				atomic_store(&process->herd->board->changed,
				             (uint32_t)(id - HERD_CHANGE_ID));
			}
		}
	}
	count_ready(process, member, before);
}

static void worker_take(struct herd_process *process, bus_client_t *client)
{
	struct codec_verdict verdicts[CODEC_BATCH_MAX];
	const uint8_t *data;
	size_t size_bytes, count;

	while (bus_client_receive(client, &data, &size_bytes) == PR_OK) {
		if (codec_records_decode(CODEC_VERDICT, data, size_bytes, verdicts, &count) !=
		    PR_OK) {
			continue;
		}
		for (size_t i = 0; i < count; i++) {
			uint64_t sent_ns = process->sent_ns[verdicts[i].id % OPEN_MAX];
			traffic_histogram_add(&process->place->latency,
			                      pr_clock_monotonic_ns() - sent_ns);
		}
		atomic_fetch_add(&process->place->answered, count);
	}
}

/* One question of the next agent; the open loop's due time is its start. */
static void ask(struct herd_process *process, uint64_t due_ns)
{
	struct member *member = &process->members[process->asked % process->opened];
	uint64_t id = ++process->asked;
	uint8_t frame[4096];
	size_t size_bytes = 0;
	struct codec_request request = { .id = id,
		                         .end = CODEC_END_NEAR,
		                         .held = 1,
		                         .proto = 6,
		                         .reporter = member->agent->id,
		                         .src = pr_addr_from_v4(htonl(0x0a090001)),
		                         .src_port = (uint16_t)(1024 + id % 60000),
		                         .dst = pr_addr_from_v4(htonl(0x0a4d0001)),
		                         .dst_port = 443,
		                         .from_state = CODEC_KNOWN_KNOWN,
		                         .from_uid = 1000,
		                         .from_user = "user",
		                         .from_exe = "/usr/bin/program",
		                         .to_uid = CODEC_NO_UID };

	request.wire_src = request.src;
	request.wire_dst = request.dst;
	request.wire_dst_port = request.dst_port;
	process->sent_ns[id % OPEN_MAX] = due_ns;
	if (codec_records_encode(CODEC_REQUEST, &request, 1, frame, sizeof(frame), &size_bytes) ==
	            PR_OK &&
	    bus_client_send(member->workers[id % DEPLOY_WORKERS], frame, size_bytes) == PR_OK) {
		atomic_fetch_add(&process->place->asked, 1);
	}
}

static void questions_turn(struct herd_process *process, uint64_t now_ns)
{
	uint32_t rate = atomic_load(&process->herd->board->rate);

	if (rate == 0 || process->opened == 0) {
		process->begun_ns = 0;
		return;
	}
	if (process->begun_ns == 0) {
		process->begun_ns = now_ns;
		process->asked = 0;
	}
	for (;;) {
		uint64_t due_ns = process->begun_ns + process->asked * PR_NS_PER_S / rate;
		if (due_ns > now_ns) {
			return;
		}
		ask(process, due_ns);
	}
}

static int member_open(struct herd_process *process)
{
	struct member *member = &process->members[process->opened];
	unsigned index = process->first + process->opened;

	*member = (struct member){ .agent = &process->herd->agents[index],
		                   .index = index,
		                   .place = process->place };
	int ret = client_open(process, member, DEPLOY_ADMIN_PORT, true, &member->admin);
	for (unsigned w = 0; w < DEPLOY_WORKERS && ret == PR_OK; w++) {
		ret = client_open(process, member, DEPLOY_WORKER_PORT + w, false,
		                  &member->workers[w]);
	}
	process->opened += ret == PR_OK;
	return ret;
}

/* All links looked at: a client that failed comes back by the looks of its owner. */
static bool member_connected(const struct member *member)
{
	bool up = bus_client_link(member->admin) == BUS_LINK_UP;

	for (unsigned w = 0; w < DEPLOY_WORKERS; w++) {
		up = bus_client_link(member->workers[w]) == BUS_LINK_UP && up;
	}
	return up;
}

/* In a large herd as many at a time as one of a hundred processes can bring through a handshake. */
static void members_join(struct herd_process *process)
{
	unsigned joining = 0;
	int ret = PR_OK;

	for (unsigned i = 0; i < process->opened; i++) {
		joining += !member_connected(&process->members[i]);
	}
	for (; joining < herd_joining_max(process->herd) && process->opened < process->count &&
	       ret == PR_OK;
	     joining++) {
		ret = member_open(process);
	}
}

static void members_turn(struct herd_process *process, uint64_t now_ns)
{
	uint64_t wanted = atomic_load(&process->herd->board->revision);

	members_join(process);
	for (unsigned i = 0; i < process->opened; i++) {
		struct member *member = &process->members[i];
		if (wanted != process->wanted) {
			member->follows = false;
		}
		bool up = bus_client_link(member->admin) == BUS_LINK_UP;
		/* A new connection is a new session. */
		member->greeted = member->greeted && up &&
		                  bus_client_connection(member->admin) == member->connection;
		member->connection = bus_client_connection(member->admin);
		if (!up) {
			continue;
		}
		if (!member->greeted) {
			member->greeted = greet(member, process->herd->containers) == PR_OK;
		}
		if (member->greeted && now_ns >= member->beat_ns) {
			beat(member, now_ns, herd_beat_ns(process->herd));
		}
		change_turn(process, member);
		if (wanted != process->wanted && member->revision >= wanted) {
			member->follows = true;
			atomic_fetch_add(&process->place->followed, 1);
		}
	}
	process->wanted = wanted;
}

static void wake_take(struct herd_process *process, const struct member_wake *wake)
{
	if (wake->admin) {
		admin_take(process, wake->member);
	} else {
		worker_take(process, wake->client);
	}
}

static void process_loop(struct herd_process *process)
{
	struct epoll_event events[EVENTS];
	uint64_t members_ns = 0;

	for (;;) {
		uint32_t rate = atomic_load(&process->herd->board->rate);
		int count = epoll_wait(process->epoll_fd, events, EVENTS, rate > 0 ? 1 : 20);
		for (int i = 0; i < count; i++) {
			const struct member_wake *wake = events[i].data.ptr;
			bus_client_wake(wake->client);
			wake_take(process, wake);
		}
		uint64_t now_ns = pr_clock_monotonic_ns();
		if (now_ns - members_ns >= 20 * PR_NS_PER_MS) {
			members_ns = now_ns;
			members_turn(process, now_ns);
		}
		questions_turn(process, now_ns);
		/* A send can take a wake-up with it. */
		for (size_t i = 0; i < process->wake_count; i++) {
			if (bus_client_due(process->wakes[i].client)) {
				wake_take(process, &process->wakes[i]);
				(void)bus_client_link(process->wakes[i].client);
			}
		}
	}
}

void herd_process_run(const void *plan_data, int fd)
{
	const struct herd_plan *plan = plan_data;
	struct herd_process *process = calloc(1, sizeof(*process));

	if (process == NULL) {
		return;
	}
	process->herd = plan->herd;
	/* They stand for other machines, which take nothing from the controller's processors. */
	if (process->herd->count > HERD_BEATS) {
		(void)!nice(HERD_NICE);
	}
	process->place = &plan->herd->board->places[plan->first / HERD_A_PROCESS];
	process->first = plan->first;
	process->count = plan->count;
	process->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (process->epoll_fd < 0 || bus_context_new(NULL, &process->context) != PR_OK ||
	    write(fd, "r", 1) != 1) {
		return;
	}
	process_loop(process);
}
