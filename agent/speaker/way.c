/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way to a service: which of this host's addresses the kernel would send from. A connection
 * whose address has gone looks alive for minutes, for nothing comes back to say otherwise; the
 * kernel tells of changed addresses and routes at once.
 * Source: rtnetlink(7).
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/speaker/internal.h"

#define LOG_COMPONENT "speaker"
#include "base/log.h"

int way_open(int epoll_fd)
{
	struct sockaddr_nl groups = { .nl_family = AF_NETLINK,
		                      .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
		                                   RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE };
	struct epoll_event event = { .events = EPOLLIN };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&groups, sizeof(groups)) != 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
		log_warn("changes of addresses cannot be followed: %s; after one, connections are "
		         "noticed to be dead later",
		         pr_strerror(-errno));
		if (fd >= 0) {
			close(fd);
		}
		return -1;
	}
	return fd;
}

/* What it says does not matter, only that it says something; an overflow is something, too. */
bool way_changed(int fd)
{
	char buffer[8192];
	bool any = false;

	for (;;) {
		ssize_t got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (got < 0 && errno != ENOBUFS && errno != EINTR) {
			return any;
		}
		any = true;
	}
}

static socklen_t socket_address(const struct pr_addr *addr, uint16_t port,
                                struct sockaddr_storage *to)
{
	memset(to, 0, sizeof(*to));
	if (pr_addr_is_v4(addr)) {
		struct sockaddr_in *four = (struct sockaddr_in *)to;
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		memcpy(&four->sin_addr, addr->bytes + 12, 4);
		return sizeof(*four);
	}
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	memcpy(&six->sin6_addr, addr->bytes, 16);
	return sizeof(*six);
}

/* A UDP socket that is connected sends nothing, but the kernel chooses an address for it. */
bool way_source(const char *endpoint, struct pr_addr *ret_source)
{
	struct sockaddr_storage to, own = { 0 };
	socklen_t own_bytes = sizeof(own);
	struct pr_addr addr;
	uint16_t port = 0;

	if (signed_endpoint_parse(endpoint, &addr, &port) != PR_OK) {
		return false;
	}
	socklen_t bytes = socket_address(&addr, port, &to);
	_cleanup_(pr_fd_close) int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, bytes) != 0 ||
	    getsockname(fd, (struct sockaddr *)&own, &own_bytes) != 0) {
		return false; /* no way now: the next change may bring one */
	}
	if (own.ss_family == AF_INET) {
		*ret_source = pr_addr_from_v4(((const struct sockaddr_in *)&own)->sin_addr.s_addr);
	} else {
		memcpy(ret_source->bytes, &((const struct sockaddr_in6 *)&own)->sin6_addr, 16);
	}
	return true;
}
