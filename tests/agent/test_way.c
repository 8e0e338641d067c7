/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file From where a service is reached, in a namespace with addresses that come and go. */

#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/speaker/internal.h"
#include "tests/tap.h"

static bool ip(const char *line)
{
	char text[256];
	char *words[16], *rest = text;
	size_t count = 0;
	int status = 1;

	(void)snprintf(text, sizeof(text), "ip %s", line);
	while (count < 15 && (words[count] = strsep(&rest, " ")) != NULL) {
		count++;
	}
	words[count] = NULL;
	pid_t child = fork();
	if (child == 0) {
		(void)execvp("ip", words);
		_exit(127);
	}
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static bool source_is(const char *endpoint, const char *wanted)
{
	struct pr_addr source;
	char text[PR_ADDR_TEXT_BYTES];

	return way_source(endpoint, &source) && strcmp(pr_addr_format(&source, text), wanted) == 0;
}

int main(void)
{
	const char *four = "tcp://192.0.2.1:7400", *six = "tcp://[2001:db8::1]:7400";
	struct pr_addr source;

	if (unshare(CLONE_NEWNET) != 0) {
		tap_skip("root is needed for a network namespace");
		return tap_done();
	}
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int fd = way_open(epoll_fd);
	ok(fd >= 0 && !way_changed(fd), "nothing has changed yet");
	ok(!way_source(four, &source), "no way without an address");
	ok(ip("link add prt0 type veth peer name prt1") && ip("link set prt0 up") &&
	           ip("link set prt1 up") && ip("address add 192.0.2.36/24 dev prt0"),
	   "an address");
	ok(way_changed(fd) && !way_changed(fd), "is a change, once");
	ok(source_is(four, "192.0.2.36"), "from which a service is reached");
	ok(ip("address flush dev prt0") && ip("address add 198.51.100.36/24 dev prt0") &&
	           ip("route add default dev prt0"),
	   "another network");
	ok(way_changed(fd) && source_is(four, "198.51.100.36"), "another address");
	ok(ip("address add 2001:db8::36/64 dev prt0 nodad") && source_is(six, "2001:db8::36"),
	   "IPv6, too");
	ok(!way_source("tcp://host:7400", &source) && !way_source("192.0.2.1:7400", &source) &&
	           !way_source("tcp://", &source) && !way_source("", &source) &&
	           !way_source("tcp://[]:1", &source),
	   "what is no endpoint has no way");
	close(fd);
	close(epoll_fd);
	return tap_done();
}
