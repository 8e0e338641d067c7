/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The judge of tests that ask who is at both ends of a connection: a client whose own log says
 * which source port it opened and how the server saw it. Static and alone, to run in any container.
 *
 *   port_log serve PORT
 *   port_log open ADDRESS PORT FIRST COUNT
 *
 * The server answers each connection with its peer's address and port. The client opens COUNT
 * connections one after the other, from source port FIRST on (0: the kernel's choice), and prints a
 * line for each: own address, own port, address and port that the server saw ("- -": no answer
 * within 3 s). All stay open to the end.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define BETWEEN_US 10000
#define STAY_US    500000

static void name_print(const struct sockaddr_in6 *name, char *text, size_t size_bytes)
{
	char address[INET6_ADDRSTRLEN] = "?";

	inet_ntop(AF_INET6, &name->sin6_addr, address, sizeof(address));
	(void)snprintf(text, size_bytes, "%s %u",
	               IN6_IS_ADDR_V4MAPPED(&name->sin6_addr) ? address + 7 : address,
	               ntohs(name->sin6_port));
}

static int serve(unsigned long port)
{
	struct sockaddr_in6 name = { .sin6_family = AF_INET6, .sin6_port = htons((in_port_t)port) };
	int one = 1;
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0 || listen(fd, 1024) != 0) {
		perror("serve");
		return 1;
	}
	for (;;) {
		char text[80];
		socklen_t size_bytes = sizeof(name);
		int peer = accept(fd, (struct sockaddr *)&name, &size_bytes);
		if (peer < 0) {
			continue;
		}
		name_print(&name, text, sizeof(text));
		(void)!write(peer, text, strlen(text));
		(void)close(peer);
	}
}

/* The server's word in @p text; false: none. */
static int ask(const struct sockaddr_in6 *to, in_port_t own_port, char *own, char *text,
               size_t size_bytes)
{
	struct sockaddr_in6 name = { .sin6_family = AF_INET6, .sin6_port = htons(own_port) };
	struct timeval limit = { .tv_sec = 3 };
	socklen_t name_bytes = sizeof(name);
	int one = 1;
	ssize_t got = -1;
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0) {
		int connected = connect(fd, (const struct sockaddr *)to, sizeof(*to));
		(void)getsockname(fd, (struct sockaddr *)&name, &name_bytes);
		name_print(&name, own, size_bytes);
		got = connected == 0 ? read(fd, text, size_bytes - 1) : -1;
	}
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

static int open_all(const char *address, const char *port, unsigned long first, unsigned long count)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6 };
	char text[80], own[80];

	(void)snprintf(text, sizeof(text), "%s%s",
	               strchr(address, ':') != NULL ? "" : "::ffff:", address);
	if (inet_pton(AF_INET6, text, &to.sin6_addr) != 1) {
		(void)fprintf(stderr, "no address: %s\n", address);
		return 1;
	}
	to.sin6_port = htons((in_port_t)strtoul(port, NULL, 10));
	for (unsigned long i = 0; i < count; i++) {
		(void)snprintf(own, sizeof(own), "- -");
		int good =
			ask(&to, first == 0 ? 0 : (in_port_t)(first + i), own, text, sizeof(text));
		(void)printf("%s %s\n", own, good ? text : "- -");
		(void)usleep(BETWEEN_US);
	}
	(void)fflush(stdout);
	(void)usleep(STAY_US); /* so that the owner of each can be found */
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0) {
		return serve(strtoul(argv[2], NULL, 10));
	}
	if (argc == 6 && strcmp(argv[1], "open") == 0) {
		return open_all(argv[2], argv[3], strtoul(argv[4], NULL, 10),
		                strtoul(argv[5], NULL, 10));
	}
	(void)fprintf(stderr, "usage: port_log serve PORT | open ADDRESS PORT FIRST COUNT\n");
	return 2;
}
