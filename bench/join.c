/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/join.h"

#define HOST_FIRST  71 /* 10.78.0.71 and .72 */
#define NETWORK     "172.18"
#define SERVED_PORT 80
#define IN_FLIGHT   8 /* of each way */
#define ATTEMPT_NS  (10 * PR_NS_PER_S)
#define RUN_MOST_NS (120 * PR_NS_PER_S) /* what has not begun by then never does */
#define EVENTS      16

/* What the server says: whom it saw, and when. */
struct answer {
	uint64_t accepted_wall_ns;
	uint8_t address[4];
	uint8_t port[2];
};

uint16_t join_port(enum join_target target)
{
	return target == JOIN_TO_HOST ? 9001 : 8080;
}

uint16_t join_served_port(enum join_target target)
{
	return target == JOIN_TO_HOST ? 9001 : SERVED_PORT;
}

/* ---- in containers and on hosts ---- */

/* A container in which nothing runs yet. */
static void sleeper(const void *plan, int fd)
{
	(void)plan;
	(void)!write(fd, "r", 1);
	for (;;) {
		(void)pause();
	}
}

/* Tells each who connects what was seen of it. */
static void server(const void *plan, int fd)
{
	static const int on = 1;
	struct sockaddr_in name = { .sin_family = AF_INET,
		                    .sin_port = htons(*(const uint16_t *)plan) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener < 0 || bind(listener, (const struct sockaddr *)&name, sizeof(name)) != 0 ||
	    listen(listener, 4096) != 0 || write(fd, "r", 1) != 1) {
		return;
	}
	for (;;) {
		struct answer answer = { 0 };
		socklen_t size_bytes = sizeof(name);
		int peer = accept4(listener, (struct sockaddr *)&name, &size_bytes, SOCK_CLOEXEC);
		if (peer >= 0) {
			answer.accepted_wall_ns = pr_clock_wall_ns();
			memcpy(answer.address, &name.sin_addr, sizeof(answer.address));
			memcpy(answer.port, &name.sin_port, sizeof(answer.port));
			(void)!write(peer, &answer, sizeof(answer));
			(void)close(peer);
		}
	}
}

struct client_plan {
	const struct join *join;
	const struct join_way *way;
};

struct attempt {
	int fd; /* -1: free */
	uint32_t number;
	uint64_t start_ns;
};

struct client {
	struct client_plan plan;
	struct sockaddr_in to;
	struct attempt attempts[IN_FLIGHT];
	int epoll_fd;
	uint32_t begun;
};

static int socket_make(uint32_t number)
{
	static const struct linger reset = { .l_onoff = 1 };
	static const int on = 1;
	struct sockaddr_in from = { .sin_family = AF_INET,
		                    .sin_port = htons((uint16_t)(JOIN_PORT_FIRST + number)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd >= 0 && bind(fd, (const struct sockaddr *)&from, sizeof(from)) == 0 ? fd : -1;
}

static void attempt_begin(struct client *client, unsigned index)
{
	struct attempt *attempt = &client->attempts[index];
	uint32_t number = client->begun++;
	struct epoll_event wanted = { .events = EPOLLIN, .data.u32 = index };

	*attempt = (struct attempt){ .fd = socket_make(number),
		                     .number = number,
		                     .start_ns = pr_clock_monotonic_ns() };
	if (attempt->fd < 0) {
		return;
	}
	client->plan.way->lines[number].begin_wall_ns = pr_clock_wall_ns();
	if ((connect(attempt->fd, (const struct sockaddr *)&client->to, sizeof(client->to)) != 0 &&
	     errno != EINPROGRESS) ||
	    epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, attempt->fd, &wanted) != 0) {
		pr_fd_close(&attempt->fd);
	}
}

/* An answer, a failure, or no time left. */
static void attempt_end(struct client *client, struct attempt *attempt)
{
	struct join_line *line = &client->plan.way->lines[attempt->number];
	struct answer answer;

	if (read(attempt->fd, &answer, sizeof(answer)) == sizeof(answer)) {
		memcpy(line->seen_address, answer.address, sizeof(line->seen_address));
		line->seen_port = (uint16_t)(answer.port[0] << 8 | answer.port[1]);
		line->accepted_wall_ns = answer.accepted_wall_ns;
		line->answered = 1;
	}
	pr_fd_close(&attempt->fd);
}

static bool client_turn(struct client *client)
{
	struct epoll_event events[EVENTS];
	bool busy = false;

	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		struct attempt *attempt = &client->attempts[i];
		if (attempt->fd >= 0 && pr_clock_monotonic_ns() - attempt->start_ns > ATTEMPT_NS) {
			attempt_end(client, attempt);
		}
		if (attempt->fd < 0 && client->begun < client->plan.join->count) {
			attempt_begin(client, i);
		}
		busy |= attempt->fd >= 0;
	}
	int count = busy ? epoll_wait(client->epoll_fd, events, EVENTS, 100) : 0;
	for (int i = 0; i < count; i++) {
		attempt_end(client, &client->attempts[events[i].data.u32]);
	}
	return busy || client->begun < client->plan.join->count;
}

static void client_run(const void *plan, int fd)
{
	struct client client = { .plan = *(const struct client_plan *)plan,
		                 .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
	const struct join_way *way = client.plan.way;

	client.to = (struct sockaddr_in){ .sin_family = AF_INET,
		                          .sin_port = htons(join_port(way->target)) };
	(void)inet_pton(AF_INET, client.plan.join->hosts[1 - way->host].address,
	                &client.to.sin_addr);
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		client.attempts[i].fd = -1;
	}
	uint64_t end_ns = pr_clock_monotonic_ns() + RUN_MOST_NS;
	while (client.epoll_fd >= 0 && pr_clock_monotonic_ns() < end_ns && client_turn(&client)) {
	}
	(void)!write(fd, "d", 1);
}

/* ---- two hosts ---- */

/* As Docker does it: a bridge, masqueraded, and a published port. */
static int host_make(struct deploy *deploy, struct join_host *host, unsigned number)
{
	int ret = stage_space_add(deploy->stage, host->space);

	if (ret == PR_OK) {
		ret = deploy_attach(deploy, host->space, HOST_FIRST + number);
	}
	if (ret != PR_OK) {
		return ret;
	}
	return stage_shell(
		deploy->stage, host->space, NULL,
		"ip link add " ENGINE_BRIDGE " type bridge && ip addr add " NETWORK
		".0.1/16 dev " ENGINE_BRIDGE " && ip link set " ENGINE_BRIDGE " up && "
		"sysctl -q -w net.ipv4.ip_forward=1 && "
		"iptables-nft -t nat -A POSTROUTING -s " NETWORK ".0.0/16 ! -o " ENGINE_BRIDGE
		" -j MASQUERADE && iptables-nft -t nat -A PREROUTING -p tcp --dport %u -m addrtype "
		"--dst-type LOCAL -j DNAT --to-destination " NETWORK ".0.%u:%u",
		join_port(JOIN_TO_PUBLISHED), 2 + JOIN_CLIENTS, SERVED_PORT);
}

static int container_make(struct deploy *deploy, struct join_host *host, unsigned index)
{
	static const uint16_t port = SERVED_PORT;
	struct engine_container *container = &host->engine.containers[index];
	char address[32], device[16];

	(void)snprintf(container->id, sizeof(container->id), "%02x%062x", host->space[1],
	               index + 1);
	(void)snprintf(container->name, sizeof(container->name), "%s%u", host->space, index + 1);
	(void)snprintf(container->address, sizeof(container->address), NETWORK ".0.%u", index + 2);
	(void)snprintf(address, sizeof(address), "%s/16", container->address);
	(void)snprintf(device, sizeof(device), "v%u", index);
	int ret = stage_space_add(deploy->stage, container->name);
	if (ret == PR_OK) {
		ret = stage_link(
			deploy->stage,
			&(struct stage_end){
				.space = container->name, .device = "eth0", .address = address },
			&(struct stage_end){
				.space = host->space, .device = device, .bridge = ENGINE_BRIDGE });
	}
	if (ret == PR_OK) {
		ret = stage_shell(deploy->stage, container->name, NULL,
		                  "ip route add default via " NETWORK ".0.1");
	}
	if (ret != PR_OK) {
		return ret;
	}
	container->pid = index < JOIN_CLIENTS
	                         ? stage_serve(deploy->stage, container->name, sleeper, NULL)
	                         : stage_serve(deploy->stage, container->name, server, &port);
	return container->pid > 0 ? PR_OK : (int)container->pid;
}

static int agent_start(struct deploy *deploy, struct join_host *host)
{
	char settings[160], path[2 * STAGE_PATH_BYTES];
	struct bus_key key;

	(void)snprintf(settings, sizeof(settings), "docker_socket = %s\n", host->engine.socket);
	pid_t pid = deploy_agent(deploy, host->space, host->space, settings);
	if (pid < 0) {
		return (int)pid;
	}
	(void)snprintf(path, sizeof(path), "%s/%s/agent.key", stage_folder(deploy->stage),
	               host->space);
	int ret = bus_key_load(path, &host->agent, &key);
	bus_key_wipe(&key, sizeof(key));
	return ret;
}

static int host_start(struct deploy *deploy, struct join_host *host, unsigned number)
{
	static const uint16_t port = 9001;
	int ret;

	(void)snprintf(host->space, sizeof(host->space), "j%c", 'a' + number);
	(void)snprintf(host->address, sizeof(host->address), "10.78.0.%u", HOST_FIRST + number);
	(void)snprintf(host->engine.socket, sizeof(host->engine.socket), "%.90s/%s.docker",
	               stage_folder(deploy->stage), host->space);
	(void)snprintf(host->engine.network, sizeof(host->engine.network), "%064x", 'a' + number);
	ret = host_make(deploy, host, number);
	for (unsigned i = 0; i < ENGINE_CONTAINERS && ret == PR_OK; i++) {
		ret = container_make(deploy, host, i);
	}
	if (ret == PR_OK) {
		pid_t pid = stage_serve(deploy->stage, host->space, server, &port);
		ret = pid > 0 ? PR_OK : (int)pid;
	}
	if (ret == PR_OK) {
		pid_t pid = stage_serve(deploy->stage, host->space, engine_serve, &host->engine);
		ret = pid > 0 ? PR_OK : (int)pid;
	}
	return ret == PR_OK ? agent_start(deploy, host) : ret;
}

int join_new(struct deploy *deploy, uint32_t count, struct join *ret_join)
{
	struct join *join = ret_join;
	int ret = PR_OK;

	*join = (struct join){ .stage = deploy->stage, .count = count };
	if (count == 0 || count > JOIN_LINES_MAX) {
		return PR_EINVAL;
	}
	for (unsigned i = 0; i < PR_ARRAY_LEN(join->ways); i++) {
		void *lines = mmap(NULL, count * sizeof(struct join_line), PROT_READ | PROT_WRITE,
		                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (lines == MAP_FAILED) {
			return PR_ENOMEM;
		}
		join->ways[i] = (struct join_way){ .host = i % JOIN_HOSTS,
			                           .client = i / JOIN_HOSTS % JOIN_CLIENTS,
			                           .target = i / JOIN_HOSTS / JOIN_CLIENTS,
			                           .lines = lines };
	}
	for (unsigned i = 0; i < JOIN_HOSTS && ret == PR_OK; i++) {
		ret = host_start(deploy, &join->hosts[i], i);
	}
	return ret;
}

void join_done(struct join *join)
{
	for (unsigned i = 0; i < PR_ARRAY_LEN(join->ways); i++) {
		if (join->ways[i].lines != NULL) {
			(void)munmap(join->ways[i].lines, join->count * sizeof(struct join_line));
		}
	}
	*join = (struct join){ 0 };
}

int join_run(struct join *join)
{
	struct client_plan plans[PR_ARRAY_LEN(join->ways)];
	int fds[PR_ARRAY_LEN(join->ways)];
	pid_t pids[PR_ARRAY_LEN(join->ways)];
	int ret = PR_OK;

	for (unsigned i = 0; i < PR_ARRAY_LEN(join->ways); i++) {
		const struct join_way *way = &join->ways[i];
		const struct join_host *host = &join->hosts[way->host];
		plans[i] = (struct client_plan){ .join = join, .way = way };
		fds[i] = -1;
		pids[i] = stage_fork(join->stage, host->engine.containers[way->client].name,
		                     client_run, &plans[i], &fds[i]);
		ret = pids[i] < 0 ? (int)pids[i] : ret;
	}
	for (unsigned i = 0; i < PR_ARRAY_LEN(join->ways); i++) {
		char done;
		if (pids[i] > 0) {
			ret = read(fds[i], &done, 1) == 1 ? ret : PR_EIO;
			stage_stop(join->stage, pids[i]);
		}
		pr_fd_close(&fds[i]);
	}
	return ret;
}
