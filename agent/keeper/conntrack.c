/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

#define CHANGES_MAX   64
#define CHANGE_BYTES  512
#define PROBE_PAYLOAD "portreeve: is connection tracking on?"
#define STATUS_ALIVE  (IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED)

struct tuple {
	struct pr_addr source, destination;
	uint16_t source_port, destination_port;
	uint8_t protocol;
};

/* Attributes of one nest by type; entries above the bound are skipped. */
struct attributes {
	const struct nlattr *at[32];
};

static int attributes_take(const struct nlattr *attr, void *arg)
{
	struct attributes *found = arg;
	uint16_t type = mnl_attr_get_type(attr);
	if (type < PR_ARRAY_LEN(found->at)) {
		found->at[type] = attr;
	}
	return MNL_CB_OK;
}

static bool attr_address(const struct nlattr *attr, bool v6, struct pr_addr *ret_addr)
{
	if (attr == NULL || mnl_attr_get_payload_len(attr) != (v6 ? 16 : 4)) {
		return false;
	}
	if (v6) {
		memcpy(ret_addr->bytes, mnl_attr_get_payload(attr), 16);
	} else {
		*ret_addr = pr_addr_from_v4(mnl_attr_get_u32(attr));
	}
	return true;
}

static uint16_t attr_port(const struct nlattr *attr)
{
	return attr == NULL || mnl_attr_get_payload_len(attr) != 2 ? 0
	                                                           : ntohs(mnl_attr_get_u16(attr));
}

static bool tuple_parse(const struct nlattr *nest, bool v6, struct tuple *ret_tuple)
{
	struct attributes top = { 0 };
	struct attributes ip = { 0 };
	struct attributes proto = { 0 };
	struct tuple tuple = { 0 };

	if (nest == NULL) {
		return false;
	}
	(void)mnl_attr_parse_nested(nest, attributes_take, &top);
	if (top.at[CTA_TUPLE_IP] == NULL || top.at[CTA_TUPLE_PROTO] == NULL) {
		return false;
	}
	(void)mnl_attr_parse_nested(top.at[CTA_TUPLE_IP], attributes_take, &ip);
	(void)mnl_attr_parse_nested(top.at[CTA_TUPLE_PROTO], attributes_take, &proto);
	if (proto.at[CTA_PROTO_NUM] == NULL ||
	    !attr_address(ip.at[v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC], v6, &tuple.source) ||
	    !attr_address(ip.at[v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST], v6, &tuple.destination)) {
		return false;
	}
	tuple.protocol = mnl_attr_get_u8(proto.at[CTA_PROTO_NUM]);
	tuple.source_port = attr_port(proto.at[CTA_PROTO_SRC_PORT]);
	tuple.destination_port = attr_port(proto.at[CTA_PROTO_DST_PORT]);
	*ret_tuple = tuple;
	return true;
}

/* ------------------------------------------------------------------------- marks of all entries */

struct mark_walk {
	struct keeper *keeper;
	const struct flow_context *context; /* NULL: every entry that has our bits */
	uint32_t value;
	keeper_flow_fn on_flow;
	void *arg;
	char *data; /* changes not sent yet */
	size_t used;
	struct nlmsghdr *last;
	uint32_t sequence_first, count;
	int hard_error;
};

static void change_failed(uint32_t index, int error, void *arg)
{
	struct mark_walk *walk = arg;
	(void)index;
	if (error != PR_ENOENT && walk->hard_error == PR_OK) {
		walk->hard_error = error; /* an entry that ended meanwhile is no failure */
	}
}

static int changes_send(struct mark_walk *walk)
{
	struct netlink_batch batch = { .sequence_first = walk->sequence_first,
		                       .count = walk->count,
		                       .on_error = change_failed,
		                       .arg = walk };
	if (walk->count == 0) {
		return PR_OK;
	}
	walk->last->nlmsg_flags |= NLM_F_ACK;
	int error = netlink_transact(walk->keeper->change, walk->data, walk->used, &batch);
	walk->used = 0;
	walk->count = 0;
	if (error != PR_OK && batch.first_error == PR_OK) {
		return error;
	}
	return walk->hard_error;
}

static void change_put(struct mark_walk *walk, uint8_t family, const struct attributes *entry)
{
	static const uint16_t identity[] = { CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE };
	uint32_t sequence = ++walk->keeper->sequence;

	if (walk->count == 0) {
		walk->sequence_first = sequence;
	}
	struct nlmsghdr *message = netlink_header(walk->data + walk->used, NFNL_SUBSYS_CTNETLINK,
	                                          IPCTNL_MSG_CT_NEW, 0, family, 0, sequence);
	for (size_t i = 0; i < PR_ARRAY_LEN(identity); i++) {
		const struct nlattr *attr = entry->at[identity[i]];
		if (attr != NULL) {
			mnl_attr_put(message, attr->nla_type, mnl_attr_get_payload_len(attr),
			             mnl_attr_get_payload(attr));
		}
	}
	mnl_attr_put_u32(message, CTA_MARK, htonl(walk->value));
	mnl_attr_put_u32(message, CTA_MARK_MASK, htonl(walk->keeper->config.mark_mask));
	walk->used += MNL_ALIGN(message->nlmsg_len);
	walk->last = message;
	walk->count++;
}

static uint8_t entry_tcp_state(const struct attributes *entry)
{
	struct attributes info = { 0 };
	struct attributes tcp = { 0 };

	if (entry->at[CTA_PROTOINFO] == NULL) {
		return TCP_CONNTRACK_NONE;
	}
	(void)mnl_attr_parse_nested(entry->at[CTA_PROTOINFO], attributes_take, &info);
	if (info.at[CTA_PROTOINFO_TCP] == NULL) {
		return TCP_CONNTRACK_NONE;
	}
	(void)mnl_attr_parse_nested(info.at[CTA_PROTOINFO_TCP], attributes_take, &tcp);
	return tcp.at[CTA_PROTOINFO_TCP_STATE] == NULL
	               ? TCP_CONNTRACK_NONE
	               : mnl_attr_get_u8(tcp.at[CTA_PROTOINFO_TCP_STATE]);
}

static void entry_report(const struct mark_walk *walk, const struct attributes *entry,
                         const struct tuple *forth, const struct tuple *back)
{
	uint8_t tcp_state = entry_tcp_state(entry);
	struct keeper_flow flow = {
		.source = forth->source,
		.source_port = forth->source_port,
		.destination = back->source, /* after DNAT */
		.destination_port = back->source_port,
		.protocol = forth->protocol,
		.outbound = flows_address_local(walk->context, &forth->source),
	};

	if (walk->on_flow == NULL || tcp_state == TCP_CONNTRACK_TIME_WAIT ||
	    tcp_state == TCP_CONNTRACK_CLOSE) {
		return;
	}
	/* Picked up in mid-stream, conntrack's direction is a guess: the listener knows better. */
	uint16_t local_port = flow.outbound ? flow.source_port : flow.destination_port;
	bool inbound = flows_port_listening(walk->context, local_port);
	bool inside = flow.outbound && flows_address_local(walk->context, &flow.destination);
	if (flow.protocol == IPPROTO_TCP && !walk->keeper->about.conntrack_before &&
	    (inside ? inbound && !flows_port_listening(walk->context, flow.destination_port)
	            : inbound == flow.outbound)) {
		struct keeper_flow swapped = flow;
		swapped.source = flow.destination;
		swapped.source_port = flow.destination_port;
		swapped.destination = flow.source;
		swapped.destination_port = flow.source_port;
		swapped.outbound = inside || !flow.outbound;
		flow = swapped;
	}
	walk->on_flow(&flow, walk->arg);
}

static int entry_take(const struct nlmsghdr *message, void *arg)
{
	struct mark_walk *walk = arg;
	struct attributes entry = { 0 };
	struct tuple forth;
	struct tuple back;
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	bool v6 = header->nfgen_family == AF_INET6;

	(void)mnl_attr_parse(message, sizeof(*header), attributes_take, &entry);
	if (!tuple_parse(entry.at[CTA_TUPLE_ORIG], v6, &forth) ||
	    !tuple_parse(entry.at[CTA_TUPLE_REPLY], v6, &back)) {
		return PR_OK;
	}
	uint32_t mark =
		entry.at[CTA_MARK] == NULL ? 0 : ntohl(mnl_attr_get_u32(entry.at[CTA_MARK]));
	uint32_t ours = mark & walk->keeper->config.mark_mask;
	if (walk->context != NULL) {
		/* What is only forwarded is not this namespace's to decide. */
		if (!flows_address_local(walk->context, &forth.source) &&
		    !flows_address_local(walk->context, &back.source)) {
			return PR_OK;
		}
		entry_report(walk, &entry, &forth, &back);
	}
	if (ours == walk->value) {
		return PR_OK;
	}
	change_put(walk, header->nfgen_family, &entry);
	return walk->count == CHANGES_MAX ? changes_send(walk) : PR_OK;
}

int conntrack_mark_all(struct keeper *keeper, uint32_t value, const struct flow_context *context,
                       keeper_flow_fn on_flow, void *arg)
{
	char buffer[128] __attribute__((aligned(8)));
	struct mark_walk walk = {
		.keeper = keeper, .context = context, .value = value, .on_flow = on_flow, .arg = arg
	};

	_cleanup_(pr_free) char *data = malloc((CHANGES_MAX + 1) * CHANGE_BYTES);
	if (data == NULL) {
		return PR_ENOMEM;
	}
	walk.data = data;
	struct nlmsghdr *message = netlink_header(buffer, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET,
	                                          NLM_F_DUMP, AF_UNSPEC, 0, ++keeper->sequence);
	int error = netlink_ask(keeper->conntrack, message, entry_take, &walk);
	return error != PR_OK ? error : changes_send(&walk);
}

/* ----------------------------------------------------------------------------- single entries */

static void tuple_put(struct nlmsghdr *message, uint16_t type, const struct tuple *tuple)
{
	bool v4 = pr_addr_is_v4(&tuple->source);
	struct nlattr *top = mnl_attr_nest_start(message, type);
	struct nlattr *ip = mnl_attr_nest_start(message, CTA_TUPLE_IP);

	if (v4) {
		mnl_attr_put_u32(message, CTA_IP_V4_SRC, pr_addr_to_v4(&tuple->source));
		mnl_attr_put_u32(message, CTA_IP_V4_DST, pr_addr_to_v4(&tuple->destination));
	} else {
		mnl_attr_put(message, CTA_IP_V6_SRC, 16, tuple->source.bytes);
		mnl_attr_put(message, CTA_IP_V6_DST, 16, tuple->destination.bytes);
	}
	mnl_attr_nest_end(message, ip);
	struct nlattr *proto = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(message, CTA_PROTO_NUM, tuple->protocol);
	mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(tuple->source_port));
	mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(tuple->destination_port));
	mnl_attr_nest_end(message, proto);
	mnl_attr_nest_end(message, top);
}

static void tcp_info_put(struct nlmsghdr *message, bool opening)
{
	/* The sequence numbers are unknown: windows must not be judged. */
	static const struct nf_ct_tcp_flags liberal = {
		.flags = IP_CT_TCP_FLAG_BE_LIBERAL | IP_CT_TCP_FLAG_SACK_PERM,
		.mask = IP_CT_TCP_FLAG_BE_LIBERAL | IP_CT_TCP_FLAG_SACK_PERM
	};
	struct nlattr *info = mnl_attr_nest_start(message, CTA_PROTOINFO);
	struct nlattr *tcp = mnl_attr_nest_start(message, CTA_PROTOINFO_TCP);

	mnl_attr_put_u8(message, CTA_PROTOINFO_TCP_STATE,
	                opening ? TCP_CONNTRACK_SYN_SENT : TCP_CONNTRACK_ESTABLISHED);
	mnl_attr_put(message, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof(liberal), &liberal);
	mnl_attr_put(message, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(liberal), &liberal);
	mnl_attr_nest_end(message, tcp);
	mnl_attr_nest_end(message, info);
}

static int flow_put(struct keeper *keeper, const struct keeper_flow *flow, uint32_t timeout_s,
                    bool opening, bool create)
{
	char buffer[1024] __attribute__((aligned(8)));
	struct tuple forth = { flow->source, flow->destination, flow->source_port,
		               flow->destination_port, flow->protocol };
	struct tuple back = { flow->destination, flow->source, flow->destination_port,
		              flow->source_port, flow->protocol };
	uint16_t flags = create ? NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK : NLM_F_ACK;
	uint8_t family = pr_addr_is_v4(&flow->source) ? AF_INET : AF_INET6;

	struct nlmsghdr *message = netlink_header(buffer, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW,
	                                          flags, family, 0, ++keeper->sequence);
	tuple_put(message, CTA_TUPLE_ORIG, &forth);
	if (create) {
		tuple_put(message, CTA_TUPLE_REPLY, &back);
		mnl_attr_put_u32(message, CTA_STATUS,
		                 htonl(opening ? IPS_CONFIRMED : STATUS_ALIVE));
	}
	mnl_attr_put_u32(message, CTA_TIMEOUT, htonl(timeout_s));
	mnl_attr_put_u32(message, CTA_MARK, htonl(keeper->config.mark_allow));
	mnl_attr_put_u32(message, CTA_MARK_MASK, htonl(keeper->config.mark_mask));
	if (flow->protocol == IPPROTO_TCP) {
		tcp_info_put(message, opening);
	}
	return netlink_ask(keeper->change, message, NULL, NULL);
}

int conntrack_inject(struct keeper *keeper, const struct keeper_flow *flow, uint32_t timeout_s,
                     bool opening)
{
	return flow_put(keeper, flow, timeout_s, opening, true);
}

int conntrack_refresh(struct keeper *keeper, const struct keeper_flow *flow, uint32_t timeout_s)
{
	return flow_put(keeper, flow, timeout_s, false, false);
}

/* -------------------------------------------------------------------------------------- probe */

struct probe {
	bool v6;
	bool sent;
	struct tuple tuple;
};

/* One datagram to ourselves over loopback: if anything tracks, an entry of it is there after. */
static int probe_send(void *arg)
{
	struct probe *probe = arg;
	struct sockaddr_in6 to[2];
	struct sockaddr_in6 name = { .sin6_family = AF_INET6 };
	_cleanup_(pr_fd_close) int a = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	_cleanup_(pr_fd_close) int b = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (probe->v6) {
		name.sin6_addr = in6addr_loopback;
	} else {
		struct pr_addr local = pr_addr_from_v4(htonl(INADDR_LOOPBACK));
		memcpy(&name.sin6_addr, local.bytes, sizeof(local.bytes));
	}
	int fds[2] = { a, b };
	for (int i = 0; i < 2; i++) {
		socklen_t size = sizeof(to[i]);
		if (fds[i] < 0 || bind(fds[i], (const struct sockaddr *)&name, sizeof(name)) != 0 ||
		    getsockname(fds[i], (struct sockaddr *)&to[i], &size) != 0) {
			return PR_OK; /* no such family here */
		}
	}
	if (sendto(a, PROBE_PAYLOAD, strlen(PROBE_PAYLOAD), 0, (const struct sockaddr *)&to[1],
	           sizeof(to[1])) < 0) {
		return PR_OK; /* loopback is down */
	}
	memcpy(probe->tuple.source.bytes, &name.sin6_addr, 16);
	probe->tuple.destination = probe->tuple.source;
	probe->tuple.source_port = ntohs(to[0].sin6_port);
	probe->tuple.destination_port = ntohs(to[1].sin6_port);
	probe->tuple.protocol = IPPROTO_UDP;
	probe->sent = true;
	return PR_OK;
}

static int probe_family(struct keeper *keeper, bool v6, bool *ret_active)
{
	char buffer[512] __attribute__((aligned(8)));
	struct probe probe = { .v6 = v6 };

	*ret_active = false;
	int error = netns_run(keeper->namespace_fd, probe_send, &probe);
	if (error != PR_OK || !probe.sent) {
		return error;
	}
	for (int i = 0; i < 2; i++) {
		/* First look, then take it away again. */
		uint8_t type = i == 0 ? IPCTNL_MSG_CT_GET : IPCTNL_MSG_CT_DELETE;
		struct nlmsghdr *message =
			netlink_header(buffer, NFNL_SUBSYS_CTNETLINK, type, NLM_F_ACK,
		                       v6 ? AF_INET6 : AF_INET, 0, ++keeper->sequence);
		tuple_put(message, CTA_TUPLE_ORIG, &probe.tuple);
		error = netlink_ask(keeper->change, message, NULL, NULL);
		if (error != PR_OK) {
			return error == PR_ENOENT ? PR_OK : error;
		}
		*ret_active = true;
	}
	return PR_OK;
}

int conntrack_probe(struct keeper *keeper, bool *ret_active)
{
	bool active4 = false;
	bool active6 = false;

	/* A rule of an inet table switches both families on, so both must be on already. */
	int error = probe_family(keeper, false, &active4);
	if (error == PR_OK && active4) {
		error = probe_family(keeper, true, &active6);
	}
	if (error == PR_OK) {
		*ret_active = active4 && active6;
	}
	return error;
}
