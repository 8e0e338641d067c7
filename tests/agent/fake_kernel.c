/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/err.h"
#include "tests/agent/fake_kernel.h"

static uint64_t now_ns(void *context)
{
	return ((struct fake_kernel *)context)->now_ns;
}

static uint64_t wall_ns(void *context)
{
	return ((struct fake_kernel *)context)->wall_ns;
}

static int no_fd(void *context)
{
	(void)context;
	return -1;
}

static int attach(void *context, const struct part_namespace *space)
{
	(void)space;
	((struct fake_kernel *)context)->slots_attached++;
	return PR_OK;
}

static void detach(void *context, uint32_t slot)
{
	(void)slot;
	((struct fake_kernel *)context)->slots_detached++;
}

static size_t receive(void *context, struct gate_datagram *datagrams, size_t capacity)
{
	struct fake_kernel *kernel = context;
	size_t count = 0;

	while (count < capacity && kernel->datagram_first < kernel->datagram_count) {
		datagrams[count++] = kernel->datagrams[kernel->datagram_first++];
	}
	if (kernel->datagram_first == kernel->datagram_count && count == 0) {
		kernel->datagram_first = 0;
		kernel->datagram_count = 0;
	}
	return count;
}

static bool held_take(struct fake_kernel *kernel, uint32_t slot, uint32_t id)
{
	for (size_t i = 0; i < kernel->held_count; i++) {
		if (kernel->held[i].slot == slot && kernel->held[i].id == id) {
			kernel->held[i] = kernel->held[--kernel->held_count];
			return true;
		}
	}
	return false;
}

static int send_verdicts(void *context, uint32_t slot, const uint8_t *data, size_t size_bytes)
{
	struct fake_kernel *kernel = context;
	struct verdict_seen seen[GATE_RECEIVE_MAX * 4];

	if (kernel->send_fails) {
		return -ENOBUFS;
	}
	int count = verdicts_read(data, size_bytes, seen, GATE_RECEIVE_MAX * 4);
	kernel->sends++;
	kernel->bad_send = kernel->bad_send || count < 0;
	for (int i = 0; i < count && kernel->verdict_count < FAKE_VERDICTS_MAX; i++) {
		kernel->verdicts[kernel->verdict_count++] = (struct fake_verdict){
			.slot = slot, .seen = seen[i], .held = held_take(kernel, slot, seen[i].id)
		};
	}
	return PR_OK;
}

static int original(void *context, const struct part_flow *seen, struct part_flow *ret_original)
{
	const struct fake_kernel *kernel = context;
	(void)seen;
	if (!kernel->has_original) {
		return PR_ENOENT;
	}
	*ret_original = kernel->original;
	return PR_OK;
}

static int translated(void *context, const struct part_flow *sent, struct part_flow *ret_wire,
                      bool *ret_closed)
{
	const struct fake_kernel *kernel = context;
	(void)sent;
	if (!kernel->has_wire) {
		return PR_ENOENT;
	}
	*ret_wire = kernel->wire;
	*ret_closed = kernel->wire_closed;
	return PR_OK;
}

static bool is_local(void *context, const struct pr_addr *address)
{
	const struct fake_kernel *kernel = context;
	return !pr_addr_equal(address, &kernel->foreign);
}

void fake_kernel_init(struct fake_kernel *kernel, struct gate_kernel *ret_table)
{
	*kernel =
		(struct fake_kernel){ .now_ns = 1000000000ULL, .wall_ns = 1700000000000000000ULL };
	*ret_table = (struct gate_kernel){
		.context = kernel,
		.now_ns = now_ns,
		.wall_ns = wall_ns,
		.fd = no_fd,
		.attach = attach,
		.detach = detach,
		.receive = receive,
		.send = send_verdicts,
		.original = original,
		.translated = translated,
		.is_local = is_local,
	};
}

void fake_kernel_arrive_raw(struct fake_kernel *kernel, uint32_t slot, enum gate_source source,
                            enum gate_datagram_state state, const struct bytes *datagram)
{
	size_t at = kernel->datagram_count++;

	if (datagram != NULL) {
		kernel->buffers[at] = *datagram;
	} else {
		kernel->buffers[at].size_bytes = 0;
	}
	kernel->datagrams[at] =
		(struct gate_datagram){ .slot = slot,
		                        .source = source,
		                        .state = state,
		                        .data = kernel->buffers[at].data,
		                        .size_bytes = kernel->buffers[at].size_bytes };
}

void fake_kernel_arrive(struct fake_kernel *kernel, uint32_t slot, const struct message_spec *spec,
                        const struct bytes *packet)
{
	struct bytes datagram = { 0 };

	message_build(spec, packet, &datagram);
	if (!spec->copy && kernel->held_count < FAKE_VERDICTS_MAX) {
		kernel->held[kernel->held_count].slot = slot;
		kernel->held[kernel->held_count++].id = spec->id;
	}
	fake_kernel_arrive_raw(kernel, slot, spec->copy ? GATE_SOURCE_LOG : GATE_SOURCE_QUEUE,
	                       GATE_DATAGRAM_WHOLE, &datagram);
}
