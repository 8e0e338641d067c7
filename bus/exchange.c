/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/err.h"
#include "bus/bus.h"

#define TURN_MS 200

int bus_client_exchange(bus_client_t *client, const void *request, size_t request_bytes,
                        int timeout_ms, const uint8_t **ret_data, size_t *ret_bytes)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + (uint64_t)timeout_ms * PR_NS_PER_MS;
	int sent = PR_EAGAIN;

	while (pr_clock_monotonic_ns() < end_ns) {
		if (sent == PR_EAGAIN) {
			sent = bus_client_send(client, request, request_bytes);
		}
		if (sent != PR_OK && sent != PR_EAGAIN) {
			return sent;
		}
		int ret = bus_client_wait(client, TURN_MS);
		if (ret == PR_OK) {
			ret = bus_client_receive(client, ret_data, ret_bytes);
		}
		if (ret == PR_OK) {
			return PR_OK;
		}
		if (bus_client_link(client) == BUS_LINK_REFUSED) {
			return PR_EPERM;
		}
	}
	return PR_ETIMEOUT;
}
