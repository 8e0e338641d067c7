/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ping and raw sockets: no sock_diag on every kernel, so /proc/PID/net of a process inside. */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/owner_internal.h"

#define TABLE_BYTES 65536

struct wanted {
	const struct part_flow *flow;
	bool ping;    /* number is an echo's id; else an IP protocol */
	bool sending; /* a socket that writes its own IP header sends any protocol */
};

static bool address_fits(const struct pr_addr *of_socket, const struct pr_addr *of_packet)
{
	static const struct pr_addr any6;
	return pr_addr_equal(of_socket, &any6) ||
	       (pr_addr_is_v4(of_socket) && pr_addr_to_v4(of_socket) == 0) ||
	       pr_addr_equal(of_socket, of_packet);
}

static bool socket_fits(const struct owner_raw_socket *socket, const struct wanted *wanted)
{
	const struct part_flow *flow = wanted->flow;
	const struct pr_addr *local = wanted->sending ? &flow->src : &flow->dst;
	const struct pr_addr *remote = wanted->sending ? &flow->dst : &flow->src;

	if (wanted->ping) {
		return socket->number == flow->src_port && address_fits(&socket->local, local);
	}
	bool number =
		socket->number == flow->proto || (wanted->sending && socket->number == IPPROTO_RAW);
	/* Its own header may name any source address. */
	return number && address_fits(&socket->remote, remote) &&
	       (wanted->sending || address_fits(&socket->local, local));
}

static void table_take(owner_t *owner, int32_t pid, const char *table, const struct wanted *wanted,
                       struct owner_sockets *ret_sockets)
{
	static char text[TABLE_BYTES];
	char name[48];

	(void)snprintf(name, sizeof(name), "%d/net/%s", pid, table);
	if (!owner_proc_read(owner, owner->proc, name, text, sizeof(text))) {
		return;
	}
	char *rest = strchr(text, '\n'); /* behind the heading */
	for (char *line = rest == NULL ? NULL : strsep(&rest, "\n"); line != NULL;
	     line = strsep(&rest, "\n")) {
		struct owner_raw_socket socket;
		if (ret_sockets->count == OWNER_SOCKETS_MAX) {
			return;
		}
		if (!owner_raw_parse(line, &socket) || !socket_fits(&socket, wanted) ||
		    socket.inode == 0 || socket.inode > UINT32_MAX) {
			continue;
		}
		ret_sockets->items[ret_sockets->count++] = (struct owner_socket){
			.local = socket.local,
			.remote = socket.remote,
			.uid = socket.uid,
			.inode = (uint32_t)socket.inode,
		};
	}
}

/*
 * fib_trie: "|-- ADDRESS" and then, for one of our own, "/32 host LOCAL". if_inet6: 32 digits
 * first.
 */
bool owner_address_local(owner_t *owner, uint32_t slot, const struct pr_addr *address)
{
	static char text[TABLE_BYTES];
	int32_t pid = owner_space_pid(owner, slot);
	bool v4 = pr_addr_is_v4(address);
	char wanted[PR_ADDR_TEXT_BYTES + 8] = "";
	char name[48];

	(void)snprintf(name, sizeof(name), "%d/net/%s", pid, v4 ? "fib_trie" : "if_inet6");
	if (pid == 0 || !owner_proc_read(owner, owner->proc, name, text, sizeof(text))) {
		return false;
	}
	if (v4) {
		char address_text[PR_ADDR_TEXT_BYTES];
		(void)snprintf(wanted, sizeof(wanted), "-- %s\n",
		               pr_addr_format(address, address_text));
	} else {
		for (size_t i = 0; i < sizeof(address->bytes); i++) {
			(void)snprintf(wanted + 2 * i, 3, "%02x", address->bytes[i]);
		}
	}
	for (const char *at = strstr(text, wanted); at != NULL; at = strstr(at + 1, wanted)) {
		const char *next = strchr(at, '\n');
		if (!v4) {
			return true;
		}
		if (next != NULL &&
		    strncmp(next + 1 + strspn(next + 1, " "), "/32 host LOCAL", 14) == 0) {
			return true;
		}
	}
	return false;
}

void owner_sockets_raw(owner_t *owner, uint32_t slot, const struct part_flow *flow, bool sending,
                       struct owner_sockets *ret_sockets)
{
	int32_t pid = owner_space_pid(owner, slot);
	bool v4 = pr_addr_is_v4(&flow->dst);
	bool icmp = flow->proto == (v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	struct wanted wanted = { .flow = flow, .sending = sending };

	*ret_sockets = (struct owner_sockets){ 0 };
	if (pid == 0) {
		return;
	}
	if (icmp && sending) {
		wanted.ping = true;
		table_take(owner, pid, v4 ? "icmp" : "icmp6", &wanted, ret_sockets);
		wanted.ping = false;
	}
	if (ret_sockets->count == 0) {
		table_take(owner, pid, v4 ? "raw" : "raw6", &wanted, ret_sockets);
	}
}
