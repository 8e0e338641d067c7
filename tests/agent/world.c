/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/agent/world.h"

static _Noreturn void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

uint64_t world_now_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

const char *world_missing(void)
{
	if (geteuid() != 0) {
		return "not root: rules of a namespace cannot be tested";
	}
	if (access("/usr/sbin/ip", X_OK) != 0 && access("/sbin/ip", X_OK) != 0) {
		return "no ip program (iproute2)";
	}
	return NULL;
}

static void *space_make(void *arg)
{
	int *fd = arg;
	*fd = unshare(CLONE_NEWNET) == 0 ? open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
	                                 : -1;
	return NULL;
}

static int space_new(void)
{
	int fd = -1;
	pthread_t thread;
	if (pthread_create(&thread, NULL, space_make, &fd) != 0) {
		die("pthread_create");
	}
	(void)pthread_join(thread, NULL);
	if (fd < 0) {
		die("a network namespace cannot be made");
	}
	return fd;
}

int world_run(int space, const char *const *argv)
{
	int status = 0;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		if (setns(space, CLONE_NEWNET) != 0 || dup2(2, 1) < 0) {
			_exit(126);
		}
		(void)setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
		(void)execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		die("fork");
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* A process inside a namespace, because ip(8) takes only a pid or a name. Inside when this returns:
 * before, ip(8) would give the interface to our own namespace.
 */
static pid_t space_hold(int space)
{
	int ready[2];
	char byte = 0;

	if (pipe2(ready, O_CLOEXEC) != 0) {
		die("pipe");
	}
	pid_t pid = fork();
	if (pid == 0) {
		if (setns(space, CLONE_NEWNET) != 0 || write(ready[1], &byte, 1) != 1) {
			_exit(1);
		}
		for (;;) {
			(void)pause();
		}
	}
	(void)close(ready[1]);
	if (pid < 0 || read(ready[0], &byte, 1) != 1) {
		die("setns");
	}
	(void)close(ready[0]);
	return pid;
}

static int end_up(int space, const char *interface, const char *v4, const char *v6)
{
	return RUN(space, "ip", "link", "set", "lo", "up") |
	       RUN(space, "ip", "addr", "add", v4, "dev", interface) |
	       RUN(space, "ip", "addr", "add", v6, "dev", interface, "nodad") |
	       RUN(space, "ip", "link", "set", interface, "up");
}

int world_open(struct world *world)
{
	char pid_text[16];

	world->left = space_new();
	world->right = space_new();
	(void)snprintf(world->left_path, sizeof(world->left_path), "/proc/self/fd/%d", world->left);
	pid_t pid = space_hold(world->right);
	(void)snprintf(pid_text, sizeof(pid_text), "%d", (int)pid);
	int status = RUN(world->left, "ip", "link", "add", "prt-l", "type", "veth", "peer", "name",
	                 "prt-r", "netns", pid_text);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	status |= end_up(world->left, "prt-l", "10.99.0.1/24", "fd99::1/64");
	status |= end_up(world->right, "prt-r", "10.99.0.2/24", "fd99::2/64");
	struct timespec moment = {
		.tv_nsec = 200000000
	}; /* link-local addresses, multicast reports */
	(void)nanosleep(&moment, NULL);
	return status;
}

void world_close(struct world *world)
{
	(void)close(world->left);
	(void)close(world->right);
}

struct inside {
	int space;
	int family, type, protocol;
	const char *path;
	int fd;
};

static void *inside_run(void *arg)
{
	struct inside *inside = arg;
	if (setns(inside->space, CLONE_NEWNET) == 0) {
		inside->fd = inside->path != NULL
		                     ? open(inside->path, O_RDONLY | O_CLOEXEC)
		                     : socket(inside->family, inside->type | SOCK_CLOEXEC,
		                              inside->protocol);
	}
	return NULL;
}

static int inside_open(struct inside *inside)
{
	pthread_t thread;
	inside->fd = -1;
	if (pthread_create(&thread, NULL, inside_run, inside) != 0) {
		die("pthread_create");
	}
	(void)pthread_join(thread, NULL);
	return inside->fd;
}

int world_socket(int space, int family, int type, int protocol)
{
	struct inside inside = {
		.space = space, .family = family, .type = type, .protocol = protocol
	};
	if (inside_open(&inside) < 0) {
		die("socket");
	}
	return inside.fd;
}

void world_read(int space, const char *path, char *text, size_t size_bytes)
{
	struct inside inside = { .space = space, .path = path };
	int fd = inside_open(&inside);
	ssize_t got = fd < 0 ? 0 : read(fd, text, size_bytes - 1);
	text[got > 0 ? got : 0] = '\0';
	if (fd >= 0) {
		(void)close(fd);
	}
}

/* --------------------------------------------------------------------------------------- ends */

socklen_t end_address(const char *ip, uint16_t port, struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	if (inet_pton(AF_INET6, ip, &v6->sin6_addr) != 1) {
		die(ip);
	}
	return sizeof(*v6);
}

int end_listen(int space, int type, const char *ip, uint16_t port)
{
	struct sockaddr_storage address;
	socklen_t size = end_address(ip, port, &address);
	int yes = 1;
	int fd = world_socket(space, address.ss_family, type, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&address, size) != 0 ||
	    (type == SOCK_STREAM && listen(fd, 64) != 0)) {
		die("bind");
	}
	return fd;
}

static bool wait_for(int fd, short events, int wait_ms)
{
	struct pollfd wait = { .fd = fd, .events = events };
	return poll(&wait, 1, wait_ms) > 0;
}

int end_connect(int space, int type, const char *ip, uint16_t port, int wait_ms)
{
	struct sockaddr_storage address;
	socklen_t size = end_address(ip, port, &address);
	int fd = world_socket(space, address.ss_family, type | SOCK_NONBLOCK, 0);
	int error = 0;
	socklen_t error_size = sizeof(error);

	if (connect(fd, (struct sockaddr *)&address, size) != 0) {
		if (errno != EINPROGRESS) {
			error = errno;
		} else if (!wait_for(fd, POLLOUT, wait_ms)) {
			error = ETIMEDOUT;
		} else {
			(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
		}
	}
	if (error != 0) {
		(void)close(fd);
		return -error;
	}
	return fd;
}

int end_accept(int listener, int wait_ms)
{
	return wait_for(listener, POLLIN, wait_ms)
	               ? accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)
	               : -1;
}

int end_receive(int fd, void *data, size_t size_bytes, int wait_ms)
{
	if (!wait_for(fd, POLLIN, wait_ms)) {
		return 0;
	}
	ssize_t got = recv(fd, data, size_bytes, MSG_DONTWAIT);
	return got < 0 ? -errno : (int)got;
}

int end_talk(int from, int to, const char *ip, uint16_t port, int wait_ms)
{
	char text[16] = "";
	int result = -EPROTO;
	int listener = end_listen(to, SOCK_STREAM, ip, port);
	int client = end_connect(from, SOCK_STREAM, ip, port, wait_ms);
	int server = -1;

	if (client < 0) {
		(void)close(listener);
		return client;
	}
	server = end_accept(listener, wait_ms);
	if (server >= 0 && send(client, "ask", 3, 0) == 3 &&
	    end_receive(server, text, sizeof(text), wait_ms) == 3 &&
	    send(server, "told", 4, 0) == 4 &&
	    end_receive(client, text, sizeof(text), wait_ms) == 4) {
		result = 0;
	}
	(void)close(client);
	if (server >= 0) {
		(void)close(server);
	}
	(void)close(listener);
	return result;
}

int end_datagram(int from, int to, const char *ip, uint16_t port, int wait_ms)
{
	char text[16];
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	int result = -ETIMEDOUT;
	int server = end_listen(to, SOCK_DGRAM, ip, port);
	int client = end_connect(from, SOCK_DGRAM, ip, port, wait_ms);

	if (client >= 0 && send(client, "ask", 3, 0) == 3 && wait_for(server, POLLIN, wait_ms) &&
	    recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&peer, &size) == 3 &&
	    sendto(server, "told", 4, 0, (struct sockaddr *)&peer, size) == 4) {
		int got = end_receive(client, text, sizeof(text), wait_ms);
		result = got == 4 ? ntohs(((struct sockaddr_in *)&peer)->sin_port) : result;
	} else if (client >= 0) {
		int got = end_receive(client, text, sizeof(text), 0);
		result = got < 0 ? got : result;
	}
	(void)close(server);
	if (client >= 0) {
		(void)close(client);
	}
	return result;
}

static uint16_t checksum(const void *data, size_t size_bytes)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;
	for (size_t i = 0; i + 1 < size_bytes; i += 2) {
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	}
	while (sum >> 16 != 0) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return htons((uint16_t)~sum);
}

int end_ping(int from, const char *ip, uint16_t id, int wait_ms)
{
	struct sockaddr_storage address;
	socklen_t size = end_address(ip, 0, &address);
	bool v6 = address.ss_family == AF_INET6;
	struct icmphdr echo = { .type = v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO };
	uint8_t answer[256];
	int fd = world_socket(from, address.ss_family, SOCK_RAW | SOCK_NONBLOCK,
	                      v6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP);
	uint64_t end_ns = world_now_ns() + (uint64_t)wait_ms * 1000000ULL;
	int result = -ETIMEDOUT;

	echo.un.echo.id = htons(id);
	echo.un.echo.sequence = htons(1);
	echo.checksum = v6 ? 0 : checksum(&echo, sizeof(echo));
	if (sendto(fd, &echo, sizeof(echo), 0, (struct sockaddr *)&address, size) < 0) {
		result = -errno;
		end_ns = 0;
	}
	while (world_now_ns() < end_ns) {
		int got = end_receive(fd, answer, sizeof(answer), 10);
		size_t skip = v6 ? 0 : 20;
		if (got < (int)(skip + sizeof(echo))) {
			continue;
		}
		struct icmphdr reply;
		memcpy(&reply, answer + skip, sizeof(reply));
		if (reply.type == (v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) &&
		    reply.un.echo.id == htons(id)) {
			result = 0;
			break;
		}
	}
	(void)close(fd);
	return result;
}

/* ------------------------------------------------------------------------------------ capture */

void capture_open(struct capture *capture, int space, const char *interface)
{
	struct ifreq request = { 0 };
	int size = 8 << 20;

	capture->fd = world_socket(space, AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(capture->fd, SIOCGIFINDEX, &request) != 0) {
		die("interface");
	}
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
		                       .sll_protocol = htons(ETH_P_ALL),
		                       .sll_ifindex = request.ifr_ifindex };
	(void)setsockopt(capture->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(capture->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		die("capture");
	}
}

struct capture_count capture_read(struct capture *capture, int protocol, uint16_t port)
{
	struct capture_count count = { 0 };
	uint8_t packet[2048] = { 0 };
	struct sockaddr_ll from;

	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t got = recvfrom(capture->fd, packet, sizeof(packet), MSG_DONTWAIT,
		                       (struct sockaddr *)&from, &size);
		if (got < 0) {
			return count;
		}
		if (from.sll_pkttype == PACKET_OUTGOING || got < 20) {
			continue;
		}
		bool v6 = packet[0] >> 4 == 6;
		size_t header = v6 ? 40 : (size_t)(packet[0] & 15) * 4;
		int found = v6 ? packet[6] : packet[9];
		uint16_t ports[2];
		memcpy(ports, packet + header, sizeof(ports));
		count.all++;
		count.by_protocol[found]++;
		if ((protocol < 0 || protocol == found) &&
		    (port == 0 || ports[0] == htons(port) || ports[1] == htons(port))) {
			count.matched++;
			count.reset += found == IPPROTO_TCP && (packet[header + 13] & 4) != 0;
		}
	}
}

void capture_close(struct capture *capture)
{
	(void)close(capture->fd);
}
