/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * Replays a fuzz target without libFuzzer: every file of $srcdir/tests/fuzz/NAME.in and NAME.repro,
 * then mutations of the seeds, bounded in count and time, the same at each run. A crash ends the
 * program and the input that caused it is left as NAME.crash in the current folder.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/defs.h"
#include "tests/tap.h"

#define MUTATED_RUNS_MAX 20000
#define MUTATED_TIME_NS  (2 * PR_NS_PER_S)
#define INPUT_MAX_BYTES  (64 * 1024)
#define SEEDS_MAX        4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

struct input {
	size_t size_bytes;
	uint8_t *data;
};

static struct input seeds[SEEDS_MAX];
static size_t seed_count;
static struct input current; /* what runs now, for the crash file */
static char crash_path[256];

/* Of the sanitizers' run time; absent without them. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* Only calls that are safe in a signal handler. */
static void keep_input(void)
{
	int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && current.size_bytes > 0) {
		(void)!write(fd, current.data, current.size_bytes);
	}
}

static void on_crash(int signal_number)
{
	keep_input();
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* A copy of exactly the input's size, so that a sanitizer sees a read behind it. */
static void run_one(const uint8_t *data, size_t size_bytes)
{
	current.data = malloc(size_bytes > 0 ? size_bytes : 1);
	if (current.data == NULL) {
		abort();
	}
	if (size_bytes > 0) {
		memcpy(current.data, data, size_bytes);
	}
	current.size_bytes = size_bytes;
	(void)LLVMFuzzerTestOneInput(current.data, size_bytes);
	pr_free(&current.data);
}

static bool read_file(const char *path, struct input *ret_input)
{
	_cleanup_(pr_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat info;

	if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) ||
	    info.st_size > INPUT_MAX_BYTES) {
		return false;
	}
	struct input input = { .size_bytes = (size_t)info.st_size };
	input.data = malloc(input.size_bytes + 1);
	if (input.data == NULL ||
	    read(fd, input.data, input.size_bytes) != (ssize_t)input.size_bytes) {
		pr_free(&input.data);
		return false;
	}
	*ret_input = input;
	return true;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Run every file of a folder once and keep it as a seed. */
static void replay_folder(const char *folder)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, not_hidden, by_name);

	for (int i = 0; i < count; i++) {
		char path[4096];
		struct input input = { 0 };
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (ok(read_file(path, &input), "%s is readable, at most 64 KiB",
		       entries[i]->d_name)) {
			run_one(input.data, input.size_bytes);
			ok(true, "%s", entries[i]->d_name);
		}
		if (seed_count < SEEDS_MAX && input.data != NULL) {
			seeds[seed_count++] = input;
		} else {
			free(input.data);
		}
		free(entries[i]);
	}
	free(entries);
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
static uint64_t next_random(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15ULL;
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}

static size_t below(size_t limit)
{
	return limit == 0 ? 0 : (size_t)(next_random() % limit);
}

/* One change: flip, set, cut, grow, copy within, or splice another seed's tail. */
static size_t mutate_once(uint8_t *data, size_t size_bytes)
{
	static const uint8_t edges[] = { 0x00, 0x01, 0x7f, 0x80, 0xc0, 0xdf, 0xff, ' ', '\n' };
	size_t at = below(size_bytes);

	if (size_bytes == 0) {
		data[0] = (uint8_t)next_random();
		return 1;
	}
	switch (next_random() % 7) {
	case 0:
		data[at] ^= (uint8_t)(1U << below(8));
		return size_bytes;
	case 1:
		data[at] = (uint8_t)next_random();
		return size_bytes;
	case 2:
		data[at] = edges[below(sizeof(edges))];
		return size_bytes;
	case 3:
		return at;
	case 4: {
		size_t grow = 1 + below(64);
		if (size_bytes + grow > INPUT_MAX_BYTES) {
			return size_bytes;
		}
		memmove(data + at + grow, data + at, size_bytes - at);
		memset(data + at, edges[below(sizeof(edges))], grow);
		return size_bytes + grow;
	}
	case 5: {
		size_t from = below(size_bytes);
		size_t longest = size_bytes - (at > from ? at : from);
		memmove(data + at, data + from, below(longest + 1));
		return size_bytes;
	}
	default: {
		const struct input *other = &seeds[below(seed_count)];
		size_t skipped = below(other->size_bytes);
		size_t tail = other->size_bytes - skipped;
		if (tail > INPUT_MAX_BYTES - at) {
			tail = INPUT_MAX_BYTES - at;
		}
		if (tail > 0) {
			memcpy(data + at, other->data + skipped, tail);
		}
		return at + tail;
	}
	}
}

static unsigned int run_mutations(void)
{
	static uint8_t data[INPUT_MAX_BYTES];
	uint64_t end_ns = pr_clock_monotonic_ns() + MUTATED_TIME_NS;
	unsigned int runs = 0;

	while (runs < MUTATED_RUNS_MAX && pr_clock_monotonic_ns() < end_ns) {
		const struct input *seed = &seeds[below(seed_count)];
		size_t size_bytes = seed->size_bytes;
		memcpy(data, seed->data, size_bytes);
		for (size_t left = 1 + below(4); left > 0; left--) {
			size_bytes = mutate_once(data, size_bytes);
		}
		run_one(data, size_bytes);
		runs++;
	}
	return runs;
}

static void catch_crashes(void)
{
	if (__sanitizer_set_death_callback != NULL) {
		__sanitizer_set_death_callback(keep_input);
	} else {
		signal(SIGSEGV, on_crash);
		signal(SIGBUS, on_crash);
		signal(SIGFPE, on_crash);
	}
	signal(SIGABRT, on_crash);
	signal(SIGALRM, on_crash);
	alarm(60); /* a hang is a failure too */
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	const char *srcdir = getenv("srcdir");
	char folder[4096];
	(void)argc;

	name = name != NULL ? name + 1 : argv[0];
	srcdir = srcdir != NULL ? srcdir : ".";
	(void)snprintf(crash_path, sizeof(crash_path), "%s.crash", name);
	catch_crashes();

	run_one(NULL, 0);
	ok(true, "empty input");
	(void)snprintf(folder, sizeof(folder), "%s/tests/fuzz/%s.in", srcdir, name);
	replay_folder(folder);
	ok(seed_count > 0, "there are seeds in tests/fuzz/%s.in", name);
	(void)snprintf(folder, sizeof(folder), "%s/tests/fuzz/%s.repro", srcdir, name);
	replay_folder(folder);
	if (seed_count > 0) {
		unsigned int runs = run_mutations();
		ok(runs > 0, "mutated runs: %u", runs);
	}
	while (seed_count > 0) {
		free(seeds[--seed_count].data);
	}
	return tap_done();
}
