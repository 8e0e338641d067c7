/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attribution when there is much of it: storms, crowds, batches, bounds, and what it costs. */
#include "tests/agent/owner_stage.h"

#define STORM_TOTAL   2000
#define STORM_LONG    4 /* processes that connect again and again */
#define STORM_AT_ONCE 12
#define CROWD         64

/* ---------------------------------------------------------------------------------- the storm */

static uint64_t cpu_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * PR_NS_PER_S + (uint64_t)now.tv_nsec;
}

struct tally {
	unsigned int asked, right, unknown, wrong;
	uint64_t hit_ns, search_ns;
	unsigned int hits, searches;
};

static void judge(const struct report *report, struct tally *tally)
{
	struct owner_counters before;
	struct owner_counters after;

	owner_counters(owner, &before);
	uint64_t start_ns = cpu_ns();
	struct part_owner found = initiator(&report->flow, report->uid);
	uint64_t took_ns = cpu_ns() - start_ns;
	owner_counters(owner, &after);
	tally->asked++;
	if (found.unknown != CODEC_UNKNOWN_NONE) {
		tally->unknown++;
		tally->wrong += found.exe[0] != '\0' || found.pid != 0;
		return;
	}
	if (!is_program(&found, report->pid, (int)report->program) || found.uid != report->uid) {
		tally->wrong++;
		printf("# wrong: pid %u for %d, '%s', user %u for %u\n", found.pid, report->pid,
		       found.exe, found.uid, report->uid);
	} else {
		tally->right++;
	}
	if (after.owner_by_hint > before.owner_by_hint) {
		tally->hits++;
		tally->hit_ns += took_ns;
	} else {
		tally->searches++;
		tally->search_ns += took_ns;
	}
}

static pid_t storm_start(int report_fd, int number, int count, long life_us)
{
	char program[4];
	char amount[8];
	char first[8];
	char life[16];
	const char *argv[] = {
		programs[number % PROGRAM_COUNT], "client", program, amount, first, life, NULL
	};

	(void)snprintf(program, sizeof(program), "%d", number % PROGRAM_COUNT);
	(void)snprintf(amount, sizeof(amount), "%d", count);
	(void)snprintf(first, sizeof(first), "%d", number);
	(void)snprintf(life, sizeof(life), "%ld", life_us);
	return start(number % PROGRAM_COUNT, report_fd, -1, (uid_t)(number % 5 * 1000), argv);
}

/* Half of the connections come from processes that live for one, between 0 and 80 ms. */
static void test_storm(void)
{
	struct tally tally = { 0 };
	int pipes[2];
	int running = 0;
	int started = STORM_TOTAL / 2;
	struct report report;

	(void)!pipe2(pipes, O_NONBLOCK);
	(void)fcntl(pipes[1], F_SETFL, 0);
	for (int i = 0; i < STORM_LONG; i++) {
		(void)storm_start(pipes[1], i * (STORM_TOTAL / 2 / STORM_LONG),
		                  STORM_TOTAL / 2 / STORM_LONG, 2000);
		running++;
	}
	uint64_t end_ns = pr_clock_monotonic_ns() + 60 * PR_NS_PER_S;
	while ((running > 0 || started < STORM_TOTAL) && pr_clock_monotonic_ns() < end_ns) {
		struct pollfd wait = { .fd = pipes[0], .events = POLLIN };
		while (running < STORM_AT_ONCE + STORM_LONG && started < STORM_TOTAL) {
			(void)storm_start(pipes[1], started, 1, started % 9 * 10000L);
			started++;
			running++;
		}
		(void)poll(&wait, 1, 10);
		while (read(pipes[0], &report, sizeof(report)) == sizeof(report)) {
			judge(&report, &tally);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0) {
			running--;
		}
	}
	while (read(pipes[0], &report, sizeof(report)) == sizeof(report)) {
		judge(&report, &tally);
	}
	ok(tally.asked == STORM_TOTAL, "%u of %d connections asked about", tally.asked,
	   STORM_TOTAL);
	ok(tally.wrong == 0, "%u right, %u unknown (ended before), %u wrong", tally.right,
	   tally.unknown, tally.wrong);
	ok(tally.right > tally.asked / 10,
	   "many are known while they live, however busy the machine is");
	printf("# by hint: %u, %llu us each; by search: %u, %llu us each\n", tally.hits,
	       (unsigned long long)(tally.hits ? tally.hit_ns / tally.hits / 1000 : 0),
	       tally.searches,
	       (unsigned long long)(tally.searches ? tally.search_ns / tally.searches / 1000 : 0));
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}

static void measure(const char *what, bool listening, const struct part_flow *flow)
{
	enum { TIMES = 1000 };
	uint64_t start_ns = cpu_ns();
	unsigned int known = 0;

	for (int i = 0; i < TIMES; i++) {
		struct part_owner found = listening ? listener(flow) : initiator(flow, 0);
		known += found.unknown == CODEC_UNKNOWN_NONE;
	}
	printf("# %s: %.1f us of CPU a look-up, %u of %d known\n", what,
	       (double)(cpu_ns() - start_ns) / TIMES / 1000.0, known, TIMES);
}

static void test_cost(void)
{
	struct part_flow flow;
	int fd = end_listen(world.left, SOCK_STREAM, "0.0.0.0", 8090);
	pid_t holder = sleeper_start(0, fd);
	(void)close(fd);
	flow = (struct part_flow){ .proto = IPPROTO_TCP,
		                   .src_port = 40000,
		                   .dst_port = 8090,
		                   .src = address("10.99.0.2"),
		                   .dst = address("10.99.0.1") };
	measure("listener, hit", true, &flow);
	end_process(holder);
	fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4100, &flow);
	holder = sleeper_start(1, fd);
	(void)close(fd);
	measure("TCP client, hit", false, &flow);
	end_process(holder);
	measure("TCP client that ended (the longest search)", false, &flow);
	fd = half_open(world.left, SOCK_DGRAM, "10.99.0.7", 4100, &flow);
	holder = sleeper_start(1, fd);
	(void)close(fd);
	measure("connected UDP, hit", false, &flow);
	end_process(holder);
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(5353) };
	fd = world_socket(world.left, AF_INET, SOCK_DGRAM, 0);
	(void)bind(fd, (const struct sockaddr *)&here, sizeof(here));
	holder = sleeper_start(1, fd);
	(void)close(fd);
	flow.src_port = 5353;
	measure("unconnected UDP, hit", false, &flow);
	end_process(holder);
}

static void test_budget(void)
{
	struct owner_config config;
	struct part_flow flow;
	owner_t *poor = NULL;
	struct part_owner found;
	int diag = diag_open();

	owner_config_default(&config);
	config.second_budget_ns = 0;
	int fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4200, &flow);
	(void)!owner_new(&config, &poor);
	(void)!owner_namespace_add(poor, SLOT, space_inode(world.left), diag, 0);
	owner_initiator(poor, SLOT, &flow, 0, &found);
	ok(found.unknown == CODEC_UNKNOWN_NOT_TRIED && found.uid == 0,
	   "no time left in this second: not tried, the kernel's word for the user stays");
	owner_destroy(&poor);
	owner_config_default(&config);
	config.reads_max = 40;
	(void)!owner_new(&config, &poor);
	(void)!owner_namespace_add(poor, SLOT, space_inode(world.left), diag, 0);
	owner_initiator(poor, SLOT, &flow, 0, &found);
	ok(found.unknown == CODEC_UNKNOWN_NOT_TRIED, "too much to read: not tried");
	struct owner_counters counters;
	owner_counters(poor, &counters);
	ok(counters.owner_reads <= 42 && counters.owner_not_tried == 1, "%u reads",
	   (unsigned int)counters.owner_reads);
	owner_initiator(poor, 9, &flow, 0, &found);
	ok(found.unknown == CODEC_UNKNOWN_NOT_TRIED, "a namespace that nobody added");
	owner_destroy(&poor);
	(void)close(fd);
	(void)close(diag);
}

/* A process with many sockets is looked at once, not once for each of them. */
static void test_crowd(void)
{
	const char *argv[] = { programs[2], "crowd", "2", "64", "6000", NULL };
	struct report reports[CROWD];
	struct owner_counters before, after;
	unsigned int right = 0;
	int pipes[2];

	(void)!pipe(pipes);
	pid_t pid = start(2, pipes[1], -1, 0, argv);
	(void)close(pipes[1]);
	for (int i = 0; i < CROWD; i++) {
		(void)!read(pipes[0], &reports[i], sizeof(reports[i]));
	}
	(void)initiator(&reports[0].flow, 0); /* whoever it is, it was seen a moment ago */
	owner_begin(owner);
	owner_counters(owner, &before);
	for (int i = 0; i < CROWD; i++) {
		struct part_owner found = initiator(&reports[(i * 29 + 7) % CROWD].flow, 0);
		right += is_program(&found, pid, 2);
	}
	owner_counters(owner, &after);
	ok(right == CROWD, "%u of %d sockets of one process", right, CROWD);
	unsigned int reads = (unsigned int)(after.owner_reads - before.owner_reads);
	ok(reads <= 5 * CROWD, "%u reads for %d questions", reads, CROWD);
	end_process(pid);
	struct part_owner found = initiator(&reports[5].flow, 0);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE && found.exe[0] == '\0',
	   "after its end: gone, whatever was remembered");
	(void)close(pipes[0]);
}

/* One reading of the program holds for the packets received before it, and not for later ones. */
static void test_batch(void)
{
	struct part_flow flow;
	int fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 6200, &flow);
	const char *argv[] = { programs[0], "become", programs[1], NULL };
	sigset_t set;
	char link[64], exe[PATH_MAX] = "";

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	pid_t pid = start(0, -1, fd, 0, argv);
	(void)close(fd);
	pause_ms(30);
	owner_begin(owner);
	struct part_owner found = initiator(&flow, 0);
	ok(is_program(&found, pid, 0), "the program that connected (unknown %u)", found.unknown);
	(void)kill(pid, SIGUSR1);
	(void)snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	for (int i = 0; i < 100 && strcmp(exe, programs[1]) != 0; i++) {
		pause_ms(10);
		memset(exe, 0, sizeof(exe));
		(void)!readlink(link, exe, sizeof(exe) - 1);
	}
	found = initiator(&flow, 0);
	ok(is_program(&found, pid, 0), "it is another one now; of the same batch: as before");
	owner_begin(owner);
	found = initiator(&flow, 0);
	ok(is_program(&found, pid, 1), "of the next batch: the new one");
	end_process(pid);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	owner_stage_play(argc, argv);
	if (!owner_stage_open(NULL)) {
		return tap_done();
	}
	test_budget();
	test_crowd();
	test_batch();
	test_storm();
	test_cost();
	owner_stage_close();
	return tap_done();
}
