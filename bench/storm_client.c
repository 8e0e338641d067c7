/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One program of a storm (storm.h): static and small, for it is started and forked for each
 * connection. storm-client WORD ..., see the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/storm.h"

#define HOLDER_WORD  "storm-holder"
#define SLEEPER_WORD "storm-sleeper"
#define UID_FIRST    2000
#define UIDS         4
#define PID_FIRST    100
#define PIDS         8 /* process numbers of one worker, and connections that it has open */
#define STAY_NS      500000
#define KINDS        20
#define STAYS_MAX    4 /* connections of a process that stays */

static void sleep_ns(long ns)
{
	struct timespec wait = { .tv_nsec = ns };
	(void)nanosleep(&wait, NULL);
}

static enum storm_kind kind_of(uint32_t number)
{
	/* Other programs and users take turns at other steps: every kind meets all of them. */
	static const enum storm_kind kinds[KINDS] = {
		STORM_ENDS,
		STORM_ENDS_AT_ONCE,
		STORM_BECOMES_ANOTHER,
		STORM_ENDS,
		STORM_BECOMES_ANOTHER_AT_ONCE,
		STORM_ENDS_AT_ONCE,
		STORM_PASSES_IT_ON,
	};
	return kinds[number / STORM_PROGRAMS % KINDS];
}

/* ------------------------------------------------------------------------------------ a worker */

struct worker {
	struct storm_plan plan;
	unsigned program;
	struct storm_line *log;
	int programs[STORM_PROGRAMS]; /* O_PATH of the copies */
	int holder;                   /* takes sockets that are passed on */
	char **argv;
	pid_t pids[PIDS]; /* 0: free */
};

/* In the machine's numbers: /proc is that of the first namespace. */
static uint32_t own_pid(void)
{
	char text[16] = "";
	(void)!readlink("/proc/self", text, sizeof(text) - 1);
	return (uint32_t)strtoul(text, NULL, 10);
}

static void become(const struct worker *worker, unsigned program, const char *word)
{
	const char *argv[] = { "sshd: root", word, NULL };
	const char *environment[] = { NULL };

	(void)syscall(SYS_execveat, worker->programs[program % STORM_PROGRAMS], "", argv,
	              environment, AT_EMPTY_PATH);
}

static void pass_on(const struct worker *worker, int socket)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec byte = { .iov_base = control, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &byte,
		                  .msg_iovlen = 1,
		                  .msg_control = control,
		                  .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &socket, sizeof(socket));
	(void)sendmsg(worker->holder, &message, MSG_DONTWAIT);
}

/* Its own source address and port; resets when it closes, so that nothing waits. */
static int socket_make(const struct worker *worker, uint32_t number, bool waits)
{
	static const struct linger reset = { .l_onoff = 1 };
	static const int one = 1;
	const uint8_t *first = worker->plan.source;
	uint8_t address[4] = { first[0], first[1], first[2],
		               (uint8_t)(first[3] + number / STORM_PORTS) };
	struct sockaddr_in from = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)(STORM_PORT_FIRST + number % STORM_PORTS)),
	};
	int fd = socket(AF_INET, SOCK_STREAM | (waits ? 0 : SOCK_NONBLOCK), 0);

	memcpy(&from.sin_addr, address, sizeof(address));
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return bind(fd, (const struct sockaddr *)&from, sizeof(from)) == 0 ? fd : -1;
}

/* What is said of a connection, before it is begun. */
static void line_write(struct storm_line *line, const struct worker *worker, enum storm_kind kind,
                       uint32_t pid, uid_t uid)
{
	line->pid = pid;
	line->program = (uint8_t)worker->program;
	line->kind = (uint8_t)kind;
	line->uid = uid;
}

/* Begin a connection; its socket. */
static int begin(const struct worker *worker, uint32_t number, bool waits)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(worker->plan.port) };
	int fd = socket_make(worker, number, waits);

	(void)inet_pton(AF_INET, worker->plan.server, &to.sin_addr);
	worker->log[number].made =
		fd >= 0 && (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 ||
	                    errno == EINPROGRESS);
	return fd;
}

/* One life: @count connections, numbered in steps. */
static _Noreturn void client_main(const struct worker *worker, uint32_t first, unsigned count)
{
	enum storm_kind kind = kind_of(first);
	uid_t uid = UID_FIRST + first / 7 % UIDS;
	uint32_t pid = own_pid();
	bool waits = kind != STORM_ENDS_AT_ONCE && kind != STORM_BECOMES_ANOTHER_AT_ONCE;
	int fd = -1;

	(void)prctl(PR_SET_NAME, "systemd");
	(void)memset(worker->argv[0], 'x', strlen(worker->argv[0]));
	if (setresuid(uid, uid, uid) != 0) {
		_exit(1);
	}
	for (unsigned i = 0; i < count; i++) {
		uint32_t number = first + i * STORM_PROGRAMS;
		line_write(&worker->log[number], worker, kind, pid, uid);
		fd = begin(worker, number, waits);
	}
	switch (kind) {
	case STORM_BECOMES_ANOTHER:
	case STORM_BECOMES_ANOTHER_AT_ONCE:
		become(worker, worker->program + 1, SLEEPER_WORD);
		break;
	case STORM_PASSES_IT_ON:
		pass_on(worker, fd);
		break;
	case STORM_STAYS:
		sleep_ns(STAY_NS);
		break;
	default:
		break;
	}
	_exit(0);
}

/* How many connections the life that begins with this one makes. */
static unsigned connections_of(uint32_t first, unsigned long count)
{
	unsigned made = 1;

	while (kind_of(first) == STORM_STAYS && made < STAYS_MAX &&
	       first + made * STORM_PROGRAMS < count &&
	       kind_of(first + made * STORM_PROGRAMS) == STORM_STAYS) {
		made++;
	}
	return made;
}

/* A process with this very number, which the last one that had it has left. */
static pid_t child_start(pid_t pid)
{
	pid_t numbers[] = { pid };
	struct clone_args arguments = { .exit_signal = SIGCHLD,
		                        .set_tid = (uint64_t)(uintptr_t)numbers,
		                        .set_tid_size = 1 };
	return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

static void child_wait(struct worker *worker)
{
	pid_t pid = wait(NULL);
	for (unsigned i = 0; i < PIDS; i++) {
		if (worker->pids[i] == pid) {
			worker->pids[i] = 0;
		}
	}
}

static unsigned slot_free(struct worker *worker)
{
	for (;;) {
		for (unsigned i = 0; i < PIDS; i++) {
			if (worker->pids[i] == 0) {
				return i;
			}
		}
		child_wait(worker);
	}
}

/* Another program keeps what it is given for a moment. */
static void holder_start(struct worker *worker)
{
	int ends[2];

	(void)!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
	if (fork() == 0) {
		(void)dup2(ends[1], 0);
		become(worker, worker->program + 3, HOLDER_WORD);
		_exit(1);
	}
	(void)close(ends[1]);
	worker->holder = ends[0];
}

static _Noreturn void holder_main(void)
{
	for (;;) {
		char control[CMSG_SPACE(sizeof(int))], data;
		struct iovec byte = { .iov_base = &data, .iov_len = 1 };
		struct msghdr message = { .msg_iov = &byte,
			                  .msg_iovlen = 1,
			                  .msg_control = control,
			                  .msg_controllen = sizeof(control) };
		int fd;
		if (recvmsg(0, &message, MSG_CMSG_CLOEXEC) <= 0) {
			_exit(0);
		}
		const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
			memcpy(&fd, CMSG_DATA(head), sizeof(fd));
			sleep_ns(STAY_NS);
			(void)close(fd);
		}
	}
}

static struct storm_line *log_open(const char *folder, unsigned long count)
{
	char path[STORM_PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%.256s/" STORM_LOG, folder);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *map = mmap(NULL, count * sizeof(struct storm_line), PROT_READ | PROT_WRITE,
	                 MAP_SHARED, fd, 0);
	(void)close(fd);
	return map != MAP_FAILED ? map : NULL;
}

/* storm-worker FOLDER SERVER SOURCE COUNT PROGRAM PORT */
static _Noreturn void worker_main(char **argv)
{
	struct worker worker = { .program = (unsigned)strtoul(argv[6], NULL, 10), .argv = argv };
	unsigned long count = strtoul(argv[5], NULL, 10);

	(void)snprintf(worker.plan.folder, sizeof(worker.plan.folder), "%s", argv[2]);
	(void)snprintf(worker.plan.server, sizeof(worker.plan.server), "%s", argv[3]);
	(void)inet_pton(AF_INET, argv[4], worker.plan.source);
	worker.plan.port = (uint16_t)strtoul(argv[7], NULL, 10);
	worker.log = log_open(worker.plan.folder, count);
	for (unsigned i = 0; i < STORM_PROGRAMS; i++) {
		char path[STORM_PATH_BYTES];
		(void)snprintf(path, sizeof(path), STORM_PROGRAM, worker.plan.folder, i);
		worker.programs[i] = open(path, O_PATH | O_CLOEXEC);
	}
	if (worker.log == NULL) {
		_exit(1);
	}
	holder_start(&worker);
	for (unsigned long i = worker.program; i < count;) {
		unsigned made = connections_of((uint32_t)i, count);
		unsigned slot = slot_free(&worker);
		pid_t number = (pid_t)(PID_FIRST + worker.program * PIDS + slot);
		pid_t pid = child_start(number);
		if (pid == 0) {
			client_main(&worker, (uint32_t)i, made);
		}
		worker.pids[slot] = pid > 0 ? pid : 0;
		i += made * STORM_PROGRAMS;
	}
	(void)close(worker.holder);
	while (wait(NULL) > 0) {
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc == 8 && strcmp(argv[1], STORM_WORD) == 0) {
		worker_main(argv);
	}
	if (argc == 2 && strcmp(argv[1], HOLDER_WORD) == 0) {
		holder_main();
	}
	if (argc == 2 && strcmp(argv[1], SLEEPER_WORD) == 0) {
		sleep_ns(STAY_NS);
		return 0;
	}
	(void)fputs("a part of portreeve-bench attribution\n", stderr);
	return 2;
}
