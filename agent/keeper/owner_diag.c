/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sock_diag messages. Pure; the exchange is owner_socket.c's. */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/keeper/owner_parse.h"

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

_Static_assert(sizeof(struct request) <= OWNER_DIAG_REQUEST_BYTES, "room for a request");

static void address_put(__be32 *to, const struct pr_addr *address, bool v4)
{
	if (v4) {
		to[0] = pr_addr_to_v4(address);
	} else {
		memcpy(to, address->bytes, sizeof(address->bytes));
	}
}

size_t owner_diag_write(const struct owner_query *query, uint8_t *data)
{
	bool v4 = query->dump ? !query->v6 : pr_addr_is_v4(&query->local);
	/* UDP's exact look-up has the two ends the other way round ("historical reasons"). */
	bool swapped = query->proto != IPPROTO_TCP && !query->dump;
	struct request request = {
		.header = { .nlmsg_len = sizeof(request),
		            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		            .nlmsg_flags =
		                    (uint16_t)(NLM_F_REQUEST | (query->dump ? NLM_F_DUMP : 0)),
		            .nlmsg_seq = query->sequence },
		.body = { .sdiag_family = v4 ? AF_INET : AF_INET6,
		          .sdiag_protocol = query->proto,
		          .idiag_states = UINT32_MAX,
		          .id = { .idiag_if = query->dump ? 0 : query->interface,
		                  .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } } },
	};
	struct inet_diag_sockid *id = &request.body.id;

	id->idiag_sport = htons(swapped ? query->remote_port : query->local_port);
	id->idiag_dport = htons(swapped ? query->local_port : query->remote_port);
	if (!query->dump) {
		address_put(swapped ? id->idiag_dst : id->idiag_src, &query->local, v4);
		address_put(swapped ? id->idiag_src : id->idiag_dst, &query->remote, v4);
	}
	memcpy(data, &request, sizeof(request));
	return sizeof(request);
}

static struct pr_addr address_get(uint8_t family, const __be32 *from)
{
	struct pr_addr address;
	if (family == AF_INET) {
		return pr_addr_from_v4(from[0]);
	}
	memcpy(address.bytes, from, sizeof(address.bytes));
	return address;
}

static struct owner_socket socket_of(const struct inet_diag_msg *message)
{
	return (struct owner_socket){
		.local = address_get(message->idiag_family, message->id.idiag_src),
		.remote = address_get(message->idiag_family, message->id.idiag_dst),
		.local_port = ntohs(message->id.idiag_sport),
		.remote_port = ntohs(message->id.idiag_dport),
		.uid = message->idiag_uid,
		.inode = message->idiag_inode,
		.cookie = { message->id.idiag_cookie[0], message->id.idiag_cookie[1] },
		.state = message->idiag_state,
	};
}

enum owner_diag_state owner_diag_read(const uint8_t *data, size_t size_bytes, size_t *offset_p,
                                      uint32_t sequence, struct owner_socket *ret_socket)
{
	struct nlmsghdr header;
	struct inet_diag_msg message;

	if (*offset_p > size_bytes || size_bytes - *offset_p < sizeof(header)) {
		return OWNER_DIAG_END;
	}
	const uint8_t *start = data + *offset_p;
	size_t left = size_bytes - *offset_p;
	memcpy(&header, start, sizeof(header));
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > left) {
		*offset_p = size_bytes;
		return OWNER_DIAG_END;
	}
	size_t step = NLMSG_ALIGN((size_t)header.nlmsg_len);
	*offset_p += step < left ? step : left;
	if (header.nlmsg_seq != sequence) {
		return OWNER_DIAG_SKIP;
	}
	if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
		return OWNER_DIAG_NONE;
	}
	if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    header.nlmsg_len < NLMSG_HDRLEN + sizeof(message)) {
		return OWNER_DIAG_SKIP;
	}
	memcpy(&message, start + NLMSG_HDRLEN, sizeof(message));
	if (message.idiag_family != AF_INET && message.idiag_family != AF_INET6) {
		return OWNER_DIAG_SKIP;
	}
	*ret_socket = socket_of(&message);
	return OWNER_DIAG_SOCKET;
}
