/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program in the real kernel: who begins a connection, judged by what the clients say. */
#include <linux/sched.h>
#include <sys/prctl.h>

#include "tests/agent/owner_stage.h"

static origin_t *origin;

/* ------------------------------------------------------------------------------- the clients */

/* What a client does after connect(), before anybody asks. */
enum afterwards {
	STAYS,
	ENDS,
	BECOMES_ANOTHER,
	PASSES_IT_ON,
};

struct seen {
	struct report report;
	char exe[PATH_MAX]; /* as /proc said before connect() */
	uint64_t start_ticks;
};

static void exe_read(char exe[static PATH_MAX])
{
	ssize_t got = readlink("/proc/self/exe", exe, PATH_MAX - 1);
	exe[got > 0 ? got : 0] = '\0';
}

static uint64_t start_read(void)
{
	char text[1024];
	unsigned long long ticks = 0;
	FILE *file = fopen("/proc/self/stat", "re");
	size_t got = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;

	text[got] = '\0';
	const char *at = strrchr(text, ')');
	for (int field = 2; at != NULL && field < 22; field++) {
		at = strchr(at + 1, ' ');
	}
	ticks = at != NULL ? strtoull(at, NULL, 10) : 0;
	if (file != NULL) {
		fclose(file);
	}
	return ticks;
}

/* Give the socket to a child that is not ours any more, and keep none. */
static void pass_on(int fd)
{
	const char *argv[] = { programs[2], "sleep", NULL };

	if (fork() == 0) {
		(void)fcntl(fd, F_SETFD, 0);
		(void)execv(programs[2], (char *const *)argv);
		_exit(1);
	}
	(void)close(fd);
}

/* Send a datagram by a socket that is not connected; its port is chosen then. */
static int datagram(const char *ip, uint16_t port, struct part_flow *flow)
{
	struct sockaddr_storage to;
	struct sockaddr_storage from;
	socklen_t bytes = end_address(ip, port, &to);
	socklen_t from_bytes = sizeof(from);
	int fd = socket(to.ss_family, SOCK_DGRAM, 0);

	(void)sendto(fd, "x", 1, 0, (const struct sockaddr *)&to, bytes);
	(void)getsockname(fd, (struct sockaddr *)&from, &from_bytes);
	*flow = (struct part_flow){ .proto = IPPROTO_UDP, .outbound = true, .dst_port = port };
	flow->dst = address_of(&to, &port);
	flow->src = address_of(&from, &flow->src_port);
	flow->src = address(to.ss_family == AF_INET ? "10.99.0.1" : "fd99::1");
	return fd;
}

/* Nobody listens on the loopback interface: refused before connect() returns, or taken back. */
static int refused(const char *how, const char *ip, uint16_t port, struct part_flow *flow)
{
	struct sockaddr_storage to, from;
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	bool back = strcmp(how, "back") == 0;
	socklen_t bytes = end_address(back ? "10.99.0.7" : ip, port, &to);
	socklen_t from_bytes = sizeof(from);
	int fd = socket(to.ss_family, SOCK_STREAM | (back ? SOCK_NONBLOCK : 0), 0);

	if (strcmp(how, "bound") == 0) {
		struct sockaddr_storage here;
		socklen_t here_bytes = end_address(ip, (uint16_t)(port + 10000), &here);
		(void)bind(fd, (const struct sockaddr *)&here, here_bytes);
	}
	(void)connect(fd, (const struct sockaddr *)&to, bytes);
	if (strcmp(how, "again") == 0) {
		struct sockaddr_storage other;
		bytes = end_address(ip, (uint16_t)(port + 1), &other);
		(void)getsockname(fd, (struct sockaddr *)&from, &from_bytes);
		(void)connect(fd, (const struct sockaddr *)&other, bytes);
	} else if (back) {
		(void)getsockname(fd, (struct sockaddr *)&from, &from_bytes);
		(void)connect(fd, &nowhere, sizeof(nowhere));
	} else {
		(void)getsockname(fd, (struct sockaddr *)&from, &from_bytes);
	}
	*flow = (struct part_flow){ .proto = IPPROTO_TCP, .outbound = true, .dst_port = port };
	flow->dst = address_of(&to, &port);
	(void)address_of(&from, &flow->src_port);
	flow->src = back ? address("10.99.0.1") : flow->dst;
	return fd;
}

static int begin(const char *how, const char *ip, uint16_t port, struct part_flow *flow)
{
	if (strcmp(how, "send") == 0) {
		return datagram(ip, port, flow);
	}
	if (strcmp(how, "tcp") == 0 || strcmp(how, "udp") == 0) {
		return half_open(-1, strcmp(how, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM, ip, port,
		                 flow);
	}
	return refused(how, ip, port, flow);
}

/* origin PROGRAM IP PORT AFTERWARDS: one connection, told to fd 9. */
static _Noreturn void origin_main(char **argv)
{
	struct seen seen = { .report = { .uid = getuid(),
		                         .program = (uint32_t)strtoul(argv[2], NULL, 10) } };
	long port = strtol(argv[4], NULL, 10);
	long next = strtol(argv[5], NULL, 10);

	/* Nobody may be misled by these. */
	(void)prctl(PR_SET_NAME, "sshd");
	argv[0][0] = 'X';
	exe_read(seen.exe);
	seen.start_ticks = start_read();
	int fd = begin(argv[7], argv[3], (uint16_t)port, &seen.report.flow);
	if (strcmp(argv[7], "udp") == 0) {
		(void)send(fd, "x", 1, 0);
	}
	seen.report.pid = getpid();
	if (next == PASSES_IT_ON) {
		pass_on(fd);
	}
	(void)!write(9, &seen, sizeof(seen));
	if (next == BECOMES_ANOTHER) {
		const char *other[] = { programs[1], "sleep", NULL };
		(void)snprintf(programs[1], sizeof(programs[1]), "%s", argv[6]);
		(void)execv(programs[1], (char *const *)other);
	}
	if (next == STAYS) {
		for (;;) {
			(void)pause();
		}
	}
	_exit(0);
}

/* Start one; what it says comes back. */
/* Or "udp", connected, "send", not connected, or how it is refused(). */
static const char *kind = "tcp";

static pid_t client(int program, const char *ip, uint16_t port, enum afterwards next,
                    struct seen *ret_seen)
{
	char port_text[16];
	char next_text[16];
	const char *argv[] = { programs[program], "origin",    "0",  ip,  port_text,
		               next_text,         programs[1], kind, NULL };
	int pipes[2];

	(void)snprintf(port_text, sizeof(port_text), "%u", port);
	(void)snprintf(next_text, sizeof(next_text), "%d", next);
	(void)!pipe(pipes);
	pid_t pid = start(program, pipes[1], -1, 0, argv);
	(void)close(pipes[1]);
	if (read(pipes[0], ret_seen, sizeof(*ret_seen)) != sizeof(*ret_seen)) {
		ret_seen->report.pid = 0;
	}
	(void)close(pipes[0]);
	if (next == ENDS || next == PASSES_IT_ON) {
		(void)waitpid(pid, NULL, 0);
	} else if (next == BECOMES_ANOTHER) {
		pause_ms(50);
	}
	return pid;
}

static uint64_t noted(void)
{
	struct owner_counters counters;
	owner_counters(owner, &counters);
	return counters.owner_by_origin;
}

static bool is_seen(const struct part_owner *found, const struct seen *seen)
{
	char exe[129];

	codec_path_set(exe, sizeof(exe), seen->exe);
	return found->unknown == CODEC_UNKNOWN_NONE && found->pid == (uint32_t)seen->report.pid &&
	       found->start_ticks == seen->start_ticks && found->uid == seen->report.uid &&
	       strcmp(found->exe, exe) == 0;
}

/* --------------------------------------------------------------------------------- the tests */

static void test_afterwards(void)
{
	static const struct {
		enum afterwards next;
		const char *what;
	} rows[] = {
		{ STAYS, "stays" },
		{ ENDS, "ended before the question" },
		{ BECOMES_ANOTHER, "executed another program with the socket open" },
		{ PASSES_IT_ON, "ended, and another process holds its socket" },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		struct seen seen;
		uint64_t before = noted();
		pid_t pid = client(0, "10.99.0.7", (uint16_t)(2000 + i), rows[i].next, &seen);
		struct part_owner found = initiator(&seen.report.flow, 0);
		ok(is_seen(&found, &seen) && strcmp(found.user, "root") == 0 &&
		           noted() == before + 1,
		   "a client that %s: pid %u, %s, user '%s' (unknown %u)", rows[i].what, found.pid,
		   found.exe, found.user, found.unknown);
		if (rows[i].next == STAYS || rows[i].next == BECOMES_ANOTHER) {
			end_process(pid);
		}
	}
}

/* Executable, control groups and user are known from before: nothing is read. */
static void test_reads(void)
{
	struct owner_counters before;
	struct owner_counters after;
	struct seen seen;
	pid_t pid = client(0, "10.99.0.7", 2090, STAYS, &seen);

	(void)initiator(&seen.report.flow, 0);
	end_process(pid);
	pid = client(0, "10.99.0.7", 2091, STAYS, &seen);
	owner_counters(owner, &before);
	struct part_owner found = initiator(&seen.report.flow, 0);
	owner_counters(owner, &after);
	ok(is_seen(&found, &seen) && found.place == PART_PLACE_MAIN &&
	           after.owner_reads == before.owner_reads,
	   "a program seen before costs no look into /proc: %u",
	   (unsigned int)(after.owner_reads - before.owner_reads));
	end_process(pid);
}

/* Sent again, after the first was answered: the same process by its socket, or nobody. */
static void test_again(void)
{
	struct seen seen;
	pid_t pid = client(0, "10.99.0.7", 2100, BECOMES_ANOTHER, &seen);
	struct part_owner first = initiator(&seen.report.flow, 0);
	struct part_owner again = initiator(&seen.report.flow, 0);

	ok(is_seen(&first, &seen) && is_seen(&again, &seen),
	   "a second packet of a live socket: the same process, not what it has become");
	struct part_owner other_user = initiator(&seen.report.flow, 4711);
	ok(other_user.unknown != CODEC_UNKNOWN_NONE,
	   "a packet of another user with the same addresses is not that process's");
	end_process(pid);
	again = initiator(&seen.report.flow, 0);
	ok(again.unknown == CODEC_UNKNOWN_PROCESS_GONE && again.exe[0] == '\0',
	   "and one after its end is nobody's (unknown %u)", again.unknown);
}

static void test_families(void)
{
	static const char *const ips[] = { "10.99.0.7", "fd99::7", "127.0.0.1" };

	for (size_t i = 0; i < PR_ARRAY_LEN(ips); i++) {
		struct seen seen;
		uint64_t before = noted();
		(void)client(0, ips[i], (uint16_t)(2200 + i), ENDS, &seen);
		struct part_owner found = initiator(&seen.report.flow, 0);
		ok(is_seen(&found, &seen) && noted() == before + 1, "to %s (unknown %u)", ips[i],
		   found.unknown);
	}
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(99) };
	struct sockaddr_storage from;
	socklen_t bytes = sizeof(from);
	struct part_flow flow = {
		.proto = IPPROTO_TCP, .outbound = true, .dst = address("10.99.0.7"), .dst_port = 99
	};
	int fd = world_socket(world.left, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	(void)inet_pton(AF_INET6, "::ffff:10.99.0.7", &to.sin6_addr);
	(void)connect(fd, (const struct sockaddr *)&to, sizeof(to));
	(void)getsockname(fd, (struct sockaddr *)&from, &bytes);
	flow.src = address_of(&from, &flow.src_port);
	uint64_t before = noted();
	struct part_owner found = initiator(&flow, 0);
	ok(is_me(&found) && noted() == before + 1, "IPv4 from an IPv6 socket (unknown %u)",
	   found.unknown);
	(void)close(fd);
}

/* The kernel has forgotten where such a socket went, before anybody asks. */
static void test_refused(void)
{
	static const struct {
		const char *kind, *ip;
		enum afterwards next;
		const char *what;
	} rows[] = {
		{ "refused", "127.0.0.1", ENDS, "refused, ended" },
		{ "refused", "127.0.0.1", STAYS, "refused, stays" },
		{ "refused", "::1", ENDS, "refused, IPv6, ended" },
		{ "refused", "127.0.0.1", PASSES_IT_ON, "refused, passed on" },
		{ "bound", "127.0.0.1", ENDS, "bound beforehand, refused, ended" },
		{ "bound", "127.0.0.1", STAYS, "bound beforehand, refused, stays" },
		{ "again", "127.0.0.1", ENDS, "refused, tried another, ended" },
		{ "again", "127.0.0.1", STAYS, "refused, tried another, stays" },
		{ "back", "10.99.0.7", ENDS, "taken back, ended" },
		{ "back", "10.99.0.7", STAYS, "taken back, stays" },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		struct seen seen;
		uint64_t before = noted();
		kind = rows[i].kind;
		pid_t pid = client(0, rows[i].ip, (uint16_t)(2700 + 2 * i), rows[i].next, &seen);
		struct part_owner found = initiator(&seen.report.flow, 0);
		ok(seen.report.flow.src_port != 0 && is_seen(&found, &seen) &&
		           noted() == before + 1,
		   "%s: %s (unknown %u)", rows[i].what, found.exe, found.unknown);
		if (rows[i].next == STAYS) {
			end_process(pid);
		}
	}
	kind = "tcp";
}

/* One process after the other with the same addresses: each its own. */
static void test_port_again(void)
{
	unsigned right = 0;

	kind = "bound";
	for (int i = 0; i < 8; i++) {
		struct seen seen;
		(void)client(i % 2, "127.0.0.1", 2800, ENDS, &seen);
		struct part_owner found = initiator(&seen.report.flow, 0);
		right += is_seen(&found, &seen);
	}
	ok(right == 8, "the same addresses by eight processes in turn: %u right", right);
	kind = "tcp";
}

static void test_datagrams(void)
{
	static const struct {
		const char *kind, *ip;
		enum afterwards next;
		const char *what;
	} rows[] = {
		{ "udp", "10.99.0.7", STAYS, "connected, stays" },
		{ "udp", "fd99::7", STAYS, "connected, IPv6" },
		{ "udp", "10.99.0.7", ENDS, "connected, ended before the question" },
		{ "udp", "fd99::7", ENDS, "connected, IPv6, ended" },
		{ "udp", "10.99.0.7", BECOMES_ANOTHER, "connected, then another program" },
		{ "udp", "10.99.0.7", PASSES_IT_ON, "connected, ended, passed on" },
		{ "send", "10.99.0.7", STAYS, "not connected, stays" },
		{ "send", "fd99::7", STAYS, "not connected, IPv6" },
		{ "send", "10.99.0.7", BECOMES_ANOTHER, "not connected, another program" },
		{ "send", "10.99.0.7", ENDS, "not connected, ended" },
		{ "send", "fd99::7", ENDS, "not connected, IPv6, ended" },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		struct seen seen;
		uint64_t before = noted();
		kind = rows[i].kind;
		pid_t pid = client(0, rows[i].ip, (uint16_t)(2500 + i), rows[i].next, &seen);
		struct part_owner found = initiator(&seen.report.flow, 0);
		ok(is_seen(&found, &seen) && noted() == before + 1,
		   "a datagram, %s: %s (unknown %u)", rows[i].what, found.exe, found.unknown);
		if (rows[i].next == STAYS || rows[i].next == BECOMES_ANOTHER) {
			end_process(pid);
		}
	}
	kind = "tcp";
}

/* Two processes send by one socket: the note says nothing, /proc as it was before. */
static void test_shared_socket(void)
{
	struct part_flow flow;
	uint64_t before = noted();
	int fd = half_open(world.left, SOCK_DGRAM, "10.99.0.7", 2600, &flow);

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		struct sockaddr_storage to;
		socklen_t bytes = end_address("10.99.0.7", 2600, &to);
		(void)connect(fd, (const struct sockaddr *)&to, bytes);
		for (;;) {
			(void)pause();
		}
	}
	pause_ms(50);
	struct part_owner found = initiator(&flow, 0);
	ok(noted() == before, "a socket that two processes connected: not by a note (unknown %u)",
	   found.unknown);
	end_process(pid);
	(void)close(fd);
}

/* The path is what /proc says: over mounts, in another root, and after the file has gone. */
static void test_paths(void)
{
	static const char *const what[] = { "bound elsewhere", "under another root", "unlinked" };

	for (int i = 0; i < 3; i++) {
		char place[PATH_MAX + 32];
		struct seen seen;
		struct part_owner found;
		(void)snprintf(place, sizeof(place), "%s/place-%d", folder, i);
		(void)mkdir(place, 0755);
		bool mounted = mount("tmpfs", place, "tmpfs", 0, "mode=755") == 0;
		char kept[PATH_MAX + 16];
		memcpy(kept, programs[0], sizeof(kept));
		(void)snprintf(programs[0], sizeof(programs[0]), "%.4000s/tool", place);
		bool copied = file_copy(kept, programs[0]);
		if (i == 0) {
			char deep[PATH_MAX + 64];
			(void)snprintf(deep, sizeof(deep), "%.4000s/a-rather-long-name-of-a-folder",
			               place);
			(void)mkdir(deep, 0755);
			(void)mount(place, deep, NULL, MS_BIND, NULL);
			(void)snprintf(programs[0], sizeof(programs[0]), "%.4080s/tool", deep);
		}
		uint64_t before = noted();
		pid_t pid =
			client(0, "10.99.0.7", (uint16_t)(2300 + i), i == 2 ? STAYS : ENDS, &seen);
		if (i == 2) {
			end_process(pid);
			(void)rename(programs[0], kept); /* fails over mounts: it only goes */
			(void)unlink(programs[0]);
		}
		found = initiator(&seen.report.flow, 0);
		ok(mounted && copied && is_seen(&found, &seen) && noted() == before + 1,
		   "a program %s: %s, wanted %s", what[i], found.exe, seen.exe);
		if (i == 0) {
			*strrchr(programs[0], '/') = '\0';
			(void)umount2(programs[0], MNT_DETACH);
		}
		memcpy(programs[0], kept, sizeof(kept));
		(void)umount2(place, MNT_DETACH);
		(void)rmdir(place);
	}
}

/* What is not watched is not noted. */
static void test_elsewhere(void)
{
	struct origin_counts before;
	struct origin_counts after;
	struct part_flow flow;

	origin_counts(origin, &before);
	int fd = half_open(world.right, SOCK_STREAM, "10.99.0.1", 2400, &flow);
	origin_counts(origin, &after);
	ok(fd >= 0 && before.begun == after.begun && before.written == after.written,
	   "another namespace: not noted");
	(void)close(fd);
	owner_namespace_remove(owner, SLOT);
	fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 2401, &flow);
	origin_counts(origin, &after);
	ok(fd >= 0 && before.begun == after.begun && before.written == after.written,
	   "one that was given back: not any more");
	(void)close(fd);
	ok(owner_namespace_add(owner, SLOT, space_inode(world.left), resident_diag, resident) == 0,
	   "and again");
}

/* A kernel that takes no program: of somebody without any capability. */
static void test_not_taken(void)
{
	struct {
		int ret;
		char why[ORIGIN_WHY_BYTES];
	} said = { .ret = 0 };
	int pipe_fds[2];

	if (pipe(pipe_fds) != 0) {
		ok(false, "a pipe");
		return;
	}
	pid_t pid = fork();
	if (pid == 0) {
		origin_t *none = NULL;
		bool dropped =
			setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0;
		said.ret = dropped ? origin_new(&none, said.why) : 1;
		_exit(write(pipe_fds[1], &said, sizeof(said)) == sizeof(said) ? 0 : 1);
	}
	(void)close(pipe_fds[1]);
	bool got = read(pipe_fds[0], &said, sizeof(said)) == sizeof(said);
	(void)close(pipe_fds[0]);
	(void)waitpid(pid, NULL, 0);
	ok(got && said.ret < 0 &&
	           strstr(said.why, "does not take the eBPF programs: Operation not permitted") !=
	                   NULL &&
	           strchr(said.why, '\n') == NULL,
	   "a kernel that takes no program: %s", said.why);
}

int main(int argc, char **argv)
{
	char why[ORIGIN_WHY_BYTES] = "";

	if (argc > 7 && strcmp(argv[1], "origin") == 0) {
		origin_main(argv);
	}
	owner_stage_play(argc, argv);
	if (world_missing() != NULL) {
		skip("%s", world_missing());
		return tap_done();
	}
	if (!ok(origin_new(&origin, why) == 0, "the kernel takes the program%s%s",
	        why[0] != '\0' ? ": " : "", why) ||
	    !owner_stage_open(origin)) {
		return tap_done();
	}
	test_afterwards();
	test_reads();
	test_again();
	test_families();
	test_refused();
	test_port_again();
	test_datagrams();
	test_shared_socket();
	test_paths();
	test_elsewhere();
	test_not_taken();
	owner_stage_close();
	origin_destroy(&origin);
	return tap_done();
}
