/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Any bytes as a frame from an agent to a worker. */

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "controller/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static directory_t *directory;
static policy_image_t *image;
static worker_t *worker;
static struct pr_uuid host;
static uint64_t now_ns = PR_NS_PER_S;

/* What a worker sends must be readable, whatever it was sent. */
static int check_sent(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	static struct codec_verdict verdicts[CODEC_BATCH_MAX];
	enum codec_type type = 0;
	size_t count = 0;

	(void)arg;
	(void)route;
	if (codec_frame_type(data, size_bytes, &type) != PR_OK ||
	    (type == CODEC_VERDICT &&
	     codec_records_decode(type, data, size_bytes, verdicts, &count) != PR_OK)) {
		abort();
	}
	return PR_OK;
}

static struct worker_sight look(void *arg, uint64_t directory_wanted)
{
	(void)arg;
	(void)directory_wanted;
	return (struct worker_sight){ .directory = directory, .image = image };
}

static void start(void)
{
	static const char text[] = "mode enforce default\nrule 10 allow user root from any to any "
				   "tcp/80 process /usr/bin/*\n";
	static struct policy_errors errors;
	struct worker_ops ops = { .send = check_sent, .look = look };
	struct directory_address address = { .global = true, .bits = 120 };
	policy_model_t *model = NULL;

	pr_log_set_level(PR_LOG_ERROR);
	memset(host.bytes, 0x11, sizeof(host.bytes));
	struct directory_endpoint endpoint = {
		.policy = { .id = host, .host_id = host, .kind = POLICY_HOST, .name = "alpha" },
		.agent = host,
		.addresses = &address,
		.address_count = 1,
	};
	directory = directory_new();
	worker = worker_new(&ops, 1);
	if (directory == NULL || worker == NULL ||
	    pr_addr_parse("192.0.2.1", &address.addr) != PR_OK ||
	    directory_put(directory, &endpoint) != PR_OK ||
	    policy_text_parse(text, strlen(text), &errors, &model) != PR_OK ||
	    policy_image_compile(model, &endpoint.policy, 1, 1, &image) != PR_OK) {
		abort();
	}
	policy_model_destroy(&model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	if (worker == NULL) {
		start();
	}
	struct bus_frame frame = {
		.peer = { .id = host, .role = BUS_ROLE_AGENT },
		.route = { .bytes = { 1 }, .size_bytes = 4 },
		.data = data,
		.size_bytes = size_bytes,
	};
	now_ns += PR_NS_PER_MS;
	worker_frame(worker, &frame, now_ns, now_ns);
	worker_turn_end(worker, now_ns, now_ns);
	return 0;
}
