/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/privilege.h"
#include "base/program.h"
#include "controller/process.h"

#define LOG_COMPONENT   "controller"
#define CHILDREN_MAX    (CONTROLLER_WORKERS_MAX + 1)
#define BACK_OFF_MIN_NS (100 * PR_NS_PER_MS)
#define BACK_OFF_MAX_NS (5 * PR_NS_PER_S)
#define SETTLED_NS      (10 * PR_NS_PER_S) /* lived that long: the next end is a new story */
#define STOP_NS         (5 * PR_NS_PER_S)

/* Child 0 is the admin service, child 1 + i is worker i. */
struct child {
	pid_t pid; /* 0: not running */
	uint64_t started_ns;
	uint64_t restart_ns; /* when to start it again */
	uint64_t back_off_ns;
};

struct supervisor {
	struct process process;
	struct child children[CHILDREN_MAX];
	unsigned count, serving;
	int signal_fd, ready_read_fd;
	int hint_fds[CONTROLLER_WORKERS_MAX];
	bool ready;  /* all served once */
	bool failed; /* a child ended before that */
	bool stopping;
	uint64_t stop_ns;
	pid_t own_pid;
};

static const char *child_name(unsigned index, char text[static 32])
{
	if (index == 0) {
		return "admin service";
	}
	(void)snprintf(text, 32, "worker %u", index - 1);
	return text;
}

/* In the child: nothing of the supervisor's may stay. */
static void child_run(struct supervisor *supervisor, unsigned index) __attribute__((noreturn));

static void child_run(struct supervisor *supervisor, unsigned index)
{
	/* If the supervisor is killed, nobody would restart or stop us. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != supervisor->own_pid) {
		_exit(EXIT_FAILURE);
	}
	pr_fd_close(&supervisor->signal_fd);
	pr_fd_close(&supervisor->ready_read_fd);
	int status = index == 0 ? process_admin(&supervisor->process)
	                        : process_worker(&supervisor->process, index - 1);
	exit(status);
}

static void child_start(struct supervisor *supervisor, unsigned index, uint64_t now_ns)
{
	struct child *child = &supervisor->children[index];
	char name[32];

	pid_t pid = fork();
	if (pid == 0) {
		child_run(supervisor, index);
	}
	if (pid < 0) {
		log_error("cannot start %s: %s, trying again", child_name(index, name),
		          pr_strerror(-errno));
		child->restart_ns = now_ns + BACK_OFF_MAX_NS;
		return;
	}
	child->pid = pid;
	child->started_ns = now_ns;
	if (index == 0) {
		supervisor->process.shared->admin_starts++;
	} else {
		supervisor->process.shared->workers[index - 1].starts++;
	}
}

static void say_ended(const char *name, int status, uint64_t back_off_ns)
{
	if (WIFSIGNALED(status)) {
		log_warn("%s was ended by signal %d (%s), starting it again in %llu ms", name,
		         WTERMSIG(status), strsignal(WTERMSIG(status)),
		         (unsigned long long)(back_off_ns / PR_NS_PER_MS));
	} else {
		log_warn("%s ended with status %d, starting it again in %llu ms", name,
		         WEXITSTATUS(status), (unsigned long long)(back_off_ns / PR_NS_PER_MS));
	}
}

static void child_ended(struct supervisor *supervisor, unsigned index, int status, uint64_t now_ns)
{
	struct child *child = &supervisor->children[index];
	char name[32];

	child->pid = 0;
	if (supervisor->stopping) {
		return;
	}
	if (!supervisor->ready) {
		log_error("%s did not start, giving up", child_name(index, name));
		supervisor->failed = true;
		return;
	}
	if (child->back_off_ns == 0 || now_ns - child->started_ns > SETTLED_NS) {
		child->back_off_ns = BACK_OFF_MIN_NS;
	} else {
		child->back_off_ns *= 2;
	}
	if (child->back_off_ns > BACK_OFF_MAX_NS) {
		child->back_off_ns = BACK_OFF_MAX_NS;
	}
	child->restart_ns = now_ns + child->back_off_ns;
	say_ended(child_name(index, name), status, child->back_off_ns);
}

static void reap(struct supervisor *supervisor, uint64_t now_ns)
{
	int status = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < supervisor->count; i++) {
			if (supervisor->children[i].pid == pid) {
				child_ended(supervisor, i, status, now_ns);
			}
		}
	}
}

static void stop_children(struct supervisor *supervisor, int signal_number)
{
	for (unsigned i = 0; i < supervisor->count; i++) {
		if (supervisor->children[i].pid > 0) {
			(void)kill(supervisor->children[i].pid, signal_number);
			/* A frozen child hears SIGTERM only when it goes on. */
			(void)kill(supervisor->children[i].pid, SIGCONT);
		}
	}
}

static void stop(struct supervisor *supervisor, uint64_t now_ns)
{
	if (!supervisor->stopping) {
		supervisor->stopping = true;
		supervisor->stop_ns = now_ns;
		pr_program_notify("STOPPING=1");
		stop_children(supervisor, SIGTERM);
	}
}

static void take_signals(struct supervisor *supervisor, uint64_t now_ns)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
			log_info("stopping");
			stop(supervisor, now_ns);
		}
	}
	reap(supervisor, now_ns);
}

static void take_ready(struct supervisor *supervisor)
{
	char bytes[64];
	ssize_t got;

	while ((got = read(supervisor->ready_read_fd, bytes, sizeof(bytes))) > 0) {
		supervisor->serving += (unsigned)got;
	}
	if (!supervisor->ready && supervisor->serving >= supervisor->count) {
		const struct controller_conf *conf = supervisor->process.conf;
		supervisor->ready = true;
		log_info("ready: port %llu, %llu workers from port %llu, advertised as %s",
		         (unsigned long long)conf->port, (unsigned long long)conf->workers,
		         (unsigned long long)conf->worker_port, conf->advertise);
		pr_program_notify("READY=1");
	}
}

static bool any_running(const struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->count; i++) {
		if (supervisor->children[i].pid > 0) {
			return true;
		}
	}
	return false;
}

static int restart_due(struct supervisor *supervisor, uint64_t now_ns)
{
	uint64_t next_ns = PR_NS_PER_S;

	for (unsigned i = 0; i < supervisor->count; i++) {
		struct child *child = &supervisor->children[i];
		if (child->pid > 0) {
			continue;
		}
		if (child->restart_ns <= now_ns) {
			child_start(supervisor, i, now_ns);
		} else if (child->restart_ns - now_ns < next_ns) {
			next_ns = child->restart_ns - now_ns;
		}
	}
	return (int)(next_ns / PR_NS_PER_MS) + 1;
}

static void loop(struct supervisor *supervisor)
{
	struct pollfd fds[] = {
		{ .fd = supervisor->signal_fd, .events = POLLIN },
		{ .fd = supervisor->ready_read_fd, .events = POLLIN },
	};

	for (;;) {
		uint64_t now_ns = pr_clock_monotonic_ns();
		int timeout_ms = 100;
		if (supervisor->failed) {
			stop(supervisor, now_ns);
		}
		if (!supervisor->stopping) {
			timeout_ms = restart_due(supervisor, now_ns);
		} else if (!any_running(supervisor)) {
			return;
		} else if (now_ns - supervisor->stop_ns > STOP_NS) {
			log_warn("children did not end in time, killing them");
			supervisor->stop_ns = now_ns;
			stop_children(supervisor, SIGKILL);
		}
		(void)poll(fds, PR_ARRAY_LEN(fds), timeout_ms);
		take_ready(supervisor);
		take_signals(supervisor, pr_clock_monotonic_ns());
	}
}

/* What children share, made before any of them. */
static int prepare(struct supervisor *supervisor)
{
	int ready_fds[2];

	supervisor->own_pid = getpid();
	supervisor->signal_fd = pr_program_signals(true);
	if (supervisor->signal_fd < 0) {
		return supervisor->signal_fd;
	}
	if (pipe2(ready_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		return -errno;
	}
	supervisor->ready_read_fd = ready_fds[0];
	supervisor->process.ready_fd = ready_fds[1];
	for (unsigned i = 0; i < supervisor->process.conf->workers; i++) {
		supervisor->hint_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (supervisor->hint_fds[i] < 0) {
			return -errno;
		}
	}
	supervisor->process.hint_fds = supervisor->hint_fds;
	void *memory = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
	                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		return -errno;
	}
	supervisor->process.shared = memory;
	return PR_OK;
}

int controller_run(const struct controller_conf *conf)
{
	struct controller_keys keys = { 0 };
	struct supervisor supervisor = {
		.process = { .conf = conf, .keys = &keys, .ready_fd = -1 },
		.count = (unsigned)conf->workers + 1,
		.signal_fd = -1,
		.ready_read_fd = -1,
	};

	if (controller_keys_load(conf, &keys) != PR_OK) {
		return EXIT_FAILURE;
	}
	if (pr_privilege_drop(conf->user) != PR_OK) {
		return EXIT_FAILURE;
	}
	int ret = prepare(&supervisor);
	if (ret != PR_OK) {
		log_error("cannot start: %s", pr_strerror(ret));
		return EXIT_FAILURE;
	}
	loop(&supervisor);
	controller_keys_wipe(&keys);
	return supervisor.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
