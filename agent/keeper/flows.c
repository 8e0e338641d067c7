/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

#define TCP_TIMEOUT_S         432000 /* conntrack's own for an established connection */
#define TCP_CLOSING_TIMEOUT_S 300
#define UDP_TIMEOUT_S         120
#define TCP_SYN_RECV_NEW      12 /* TCP_NEW_SYN_RECV, not in the library's header */
#define STATE_BIT(state)      (1U << (state))

#define STATES_LIVE                                                                        \
	(STATE_BIT(TCP_ESTABLISHED) | STATE_BIT(TCP_SYN_SENT) | STATE_BIT(TCP_SYN_RECV) |  \
	 STATE_BIT(TCP_FIN_WAIT1) | STATE_BIT(TCP_FIN_WAIT2) | STATE_BIT(TCP_CLOSE_WAIT) | \
	 STATE_BIT(TCP_LAST_ACK) | STATE_BIT(TCP_CLOSING) | STATE_BIT(TCP_SYN_RECV_NEW))

/* ------------------------------------------------------------------------------------ context */

static int address_take(const struct nlmsghdr *message, void *arg)
{
	struct flow_context *context = arg;
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	const struct nlattr *best = NULL;

	if (message->nlmsg_type != RTM_NEWADDR) {
		return PR_OK;
	}
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		/* On a point-to-point link IFA_ADDRESS is the peer's. */
		if (mnl_attr_get_type(attr) == IFA_LOCAL ||
		    (mnl_attr_get_type(attr) == IFA_ADDRESS && best == NULL)) {
			best = attr;
		}
	}
	size_t want = header->ifa_family == AF_INET ? 4 : 16;
	if (best == NULL || mnl_attr_get_payload_len(best) != want) {
		return PR_OK;
	}
	if (context->address_count == context->address_room) {
		size_t room = context->address_room == 0 ? 32 : context->address_room * 2;
		struct pr_addr *more = realloc(context->addresses, room * sizeof(*more));
		if (more == NULL) {
			return PR_ENOMEM;
		}
		context->addresses = more;
		context->address_room = room;
	}
	struct pr_addr *addr = &context->addresses[context->address_count++];
	if (want == 4) {
		*addr = pr_addr_from_v4(mnl_attr_get_u32(best));
	} else {
		memcpy(addr->bytes, mnl_attr_get_payload(best), 16);
	}
	return PR_OK;
}

static int addresses_load(struct keeper *keeper, struct flow_context *context)
{
	char buffer[64] __attribute__((aligned(8)));
	int error = PR_EINTR;

	for (int i = 0; i < 10 && error == PR_EINTR; i++) {
		context->address_count = 0;
		struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
		message->nlmsg_type = RTM_GETADDR;
		message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		message->nlmsg_seq = ++keeper->sequence;
		struct ifaddrmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
		header->ifa_family = AF_UNSPEC;
		error = netlink_ask(keeper->route, message, address_take, context);
	}
	return error;
}

static int diag_dump(struct keeper *keeper, uint8_t family, uint8_t protocol, uint32_t states,
                     netlink_message_fn fn, void *arg)
{
	char buffer[256] __attribute__((aligned(8)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	message->nlmsg_seq = ++keeper->sequence;
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(message, sizeof(*request));
	request->sdiag_family = family;
	request->sdiag_protocol = protocol;
	request->idiag_states = states;
	return netlink_ask(keeper->diag, message, fn, arg);
}

static int listener_take(const struct nlmsghdr *message, void *arg)
{
	struct flow_context *context = arg;
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);
	uint16_t port = ntohs(socket->id.idiag_sport);

	if (mnl_nlmsg_get_payload_len(message) >= sizeof(*socket)) {
		context->listening[port / 8] |= (uint8_t)(1U << (port % 8));
	}
	return PR_OK;
}

int flows_context_load(struct keeper *keeper, struct flow_context *context)
{
	int error = addresses_load(keeper, context);
	if (error == PR_OK) {
		error = diag_dump(keeper, AF_INET, IPPROTO_TCP, STATE_BIT(TCP_LISTEN),
		                  listener_take, context);
	}
	if (error == PR_OK) {
		error = diag_dump(keeper, AF_INET6, IPPROTO_TCP, STATE_BIT(TCP_LISTEN),
		                  listener_take, context);
	}
	return error;
}

void flows_context_done(struct flow_context *context)
{
	free(context->addresses);
	context->addresses = NULL;
	context->address_count = 0;
	context->address_room = 0;
}

bool flows_address_local(const struct flow_context *context, const struct pr_addr *addr)
{
	if (pr_addr_is_loopback(addr)) {
		return true;
	}
	for (size_t i = 0; i < context->address_count; i++) {
		if (pr_addr_equal(&context->addresses[i], addr)) {
			return true;
		}
	}
	return false;
}

bool flows_port_listening(const struct flow_context *context, uint16_t port)
{
	return (context->listening[port / 8] & (1U << (port % 8))) != 0;
}

/* ------------------------------------------------------------------------------------ sockets */

struct inject_walk {
	struct keeper *keeper;
	const struct flow_context *context;
	uint8_t protocol;
	keeper_flow_fn on_flow;
	void *arg;
};

static struct pr_addr diag_address(const struct inet_diag_msg *socket, const __be32 *words)
{
	struct pr_addr addr;

	if (socket->idiag_family == AF_INET) {
		return pr_addr_from_v4(words[0]);
	}
	memcpy(addr.bytes, words, sizeof(addr.bytes));
	return addr;
}

static int socket_take(const struct nlmsghdr *message, void *arg)
{
	struct inject_walk *walk = arg;
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*socket) || socket->id.idiag_dport == 0) {
		return PR_OK;
	}
	struct pr_addr local = diag_address(socket, socket->id.idiag_src);
	struct pr_addr remote = diag_address(socket, socket->id.idiag_dst);
	uint16_t local_port = ntohs(socket->id.idiag_sport);
	uint16_t remote_port = ntohs(socket->id.idiag_dport);
	bool tcp = walk->protocol == IPPROTO_TCP;
	bool inbound = tcp && flows_port_listening(walk->context, local_port);
	bool whole = socket->idiag_state == TCP_ESTABLISHED;
	struct keeper_flow flow = {
		.source = inbound ? remote : local,
		.source_port = inbound ? remote_port : local_port,
		.destination = inbound ? local : remote,
		.destination_port = inbound ? local_port : remote_port,
		.protocol = walk->protocol,
		.outbound = !inbound || flows_address_local(walk->context, &remote),
		.from_socket = true,
	};
	uint32_t timeout_s = !tcp ? UDP_TIMEOUT_S : whole ? TCP_TIMEOUT_S : TCP_CLOSING_TIMEOUT_S;

	int error = conntrack_inject(walk->keeper, &flow, timeout_s,
	                             socket->idiag_state == TCP_SYN_SENT);
	if (error == PR_EEXIST) {
		/* Known, marked and reported already, or the other end of a loopback flow. */
		if (!tcp || !whole || walk->keeper->about.conntrack_before) {
			return PR_OK;
		}
		error = conntrack_refresh(walk->keeper, &flow, timeout_s);
		return error == PR_ENOENT ? PR_OK : error;
	}
	if (error == PR_OK && walk->on_flow != NULL) {
		walk->on_flow(&flow, walk->arg);
	}
	return error;
}

static int sockets_inject(struct keeper *keeper, const struct flow_context *context,
                          keeper_flow_fn on_flow, void *arg)
{
	static const struct {
		uint8_t family, protocol;
		uint32_t states;
	} dumps[] = {
		{ AF_INET, IPPROTO_TCP, STATES_LIVE },
		{ AF_INET6, IPPROTO_TCP, STATES_LIVE },
		{ AF_INET, IPPROTO_UDP, STATE_BIT(TCP_ESTABLISHED) },
		{ AF_INET6, IPPROTO_UDP, STATE_BIT(TCP_ESTABLISHED) },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(dumps); i++) {
		struct inject_walk walk = { .keeper = keeper,
			                    .context = context,
			                    .protocol = dumps[i].protocol,
			                    .on_flow = on_flow,
			                    .arg = arg };
		int error = diag_dump(keeper, dumps[i].family, dumps[i].protocol, dumps[i].states,
		                      socket_take, &walk);
		/* A kernel without udp_diag or IPv6 has nothing to tell there. */
		if (error != PR_OK && !(error == PR_ENOENT && i > 0)) {
			return error;
		}
	}
	return PR_OK;
}

int flows_pass(struct keeper *keeper, keeper_flow_fn on_flow, void *arg,
               struct keeper_error *ret_error)
{
	struct flow_context *context = calloc(1, sizeof(*context));
	const char *step = "out of memory";
	int error = context == NULL ? PR_ENOMEM : PR_OK;

	if (error == PR_OK) {
		step = "addresses and listeners cannot be listed";
		error = flows_context_load(keeper, context);
	}
	if (error == PR_OK) {
		step = "live conntrack entries cannot be marked";
		error = conntrack_mark_all(keeper, keeper->config.mark_allow, context, on_flow,
		                           arg);
	}
	if (error == PR_OK) {
		step = "live sockets cannot be given conntrack entries";
		error = sockets_inject(keeper, context, on_flow, arg);
	}
	if (context != NULL) {
		flows_context_done(context);
	}
	free(context);
	return error == PR_OK ? PR_OK
	                      : keeper_fail(ret_error, error, "%s: %s", step, pr_strerror(error));
}
