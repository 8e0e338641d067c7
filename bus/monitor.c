/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "base/err.h"
#include "bus/internal.h"

#define SERVER_EVENTS (ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
#define EVENTS                                                                   \
	(ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |  \
	 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | \
	 ZMQ_EVENT_DISCONNECTED)

static int monitor_open(void *context, void *socket, int events, void **ret_monitor)
{
	char name[64];
	int ret = PR_OK;

	(void)snprintf(name, sizeof(name), "inproc://bus-monitor-%p", socket);
	if (zmq_socket_monitor(socket, name, events) != 0) {
		return bus_zmq_error();
	}
	void *monitor = zmq_socket(context, ZMQ_PAIR);
	if (monitor == NULL) {
		return bus_zmq_error();
	}
	bus_option_set(monitor, ZMQ_LINGER, 0, &ret);
	/* No bound: zmq's I/O thread would wait at a full one. These events are rare. */
	bus_option_set(monitor, ZMQ_RCVHWM, 0, &ret);
	if (ret == PR_OK && zmq_connect(monitor, name) != 0) {
		ret = bus_zmq_error();
	}
	if (ret != PR_OK) {
		(void)zmq_close(monitor);
		return ret;
	}
	*ret_monitor = monitor;
	return PR_OK;
}

int bus_monitor_open(void *context, void *socket, void **ret_monitor)
{
	return monitor_open(context, socket, EVENTS, ret_monitor);
}

int bus_monitor_open_server(void *context, void *socket, void **ret_monitor)
{
	return monitor_open(context, socket, SERVER_EVENTS, ret_monitor);
}

static enum bus_monitor_event event_translate(unsigned number, unsigned value)
{
	switch (number) {
	case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
		return BUS_MONITOR_UP;
	case ZMQ_EVENT_ACCEPTED:
		return BUS_MONITOR_ACCEPTED;
	case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
		return value == 400 ? BUS_MONITOR_REFUSED_AUTH : BUS_MONITOR_REFUSED;
	case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
	case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		return BUS_MONITOR_REFUSED;
	default:
		return BUS_MONITOR_DOWN;
	}
}

enum bus_monitor_event bus_monitor_next(void *monitor)
{
	uint8_t head[6]; /* 16 bits event, 32 bits value, in the machine's order */
	char address[256];
	uint16_t number;
	uint32_t value;

	if (zmq_recv(monitor, head, sizeof(head), ZMQ_DONTWAIT) != (int)sizeof(head)) {
		return BUS_MONITOR_NONE;
	}
	(void)zmq_recv(monitor, address, sizeof(address), ZMQ_DONTWAIT);
	memcpy(&number, head, sizeof(number));
	memcpy(&value, head + sizeof(number), sizeof(value));
	return event_translate(number, value);
}

void bus_monitor_close(void *socket, void **monitor_p)
{
	if (*monitor_p == NULL) {
		return;
	}
	(void)zmq_socket_monitor(socket, NULL, 0);
	(void)zmq_close(*monitor_p);
	*monitor_p = NULL;
}
