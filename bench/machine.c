/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/bench.h"

#define LOOK_MS     300
#define BUSY_OTHERS 0.15

static char mark[64];

/* Source: proc(5), /proc/stat: user nice system idle iowait irq softirq steal. */
void bench_times_read(struct bench_times *ret_times)
{
	uint64_t field[8] = { 0 };
	FILE *file = fopen("/proc/stat", "re");

	*ret_times = (struct bench_times){ .wall_ns = pr_clock_monotonic_ns() };
	if (file == NULL) {
		return;
	}
	if (fscanf(file,
	           "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
	           " %" SCNu64 " %" SCNu64,
	           &field[0], &field[1], &field[2], &field[3], &field[4], &field[5], &field[6],
	           &field[7]) == 8) {
		ret_times->busy = field[0] + field[1] + field[2] + field[5] + field[6];
		ret_times->idle = field[3] + field[4];
		ret_times->steal = field[7];
	}
	(void)fclose(file);
}

double bench_times_stolen(const struct bench_times *start)
{
	struct bench_times now;
	bench_times_read(&now);
	uint64_t stolen = now.steal - start->steal;
	uint64_t all = stolen + now.busy - start->busy + now.idle - start->idle;
	return all > 0 ? (double)stolen / (double)all : 0;
}

double bench_times_busy_us(const struct bench_times *start)
{
	struct bench_times now;
	bench_times_read(&now);
	return (double)(now.busy - start->busy) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static void cpu_model(char *text, size_t size_bytes)
{
	char line[256];
	FILE *file = fopen("/proc/cpuinfo", "re");

	(void)snprintf(text, size_bytes, "unknown CPU");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		const char *colon = strchr(line, ':');
		if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
			(void)snprintf(text, size_bytes, "%.*s", (int)strcspn(colon + 2, "\n"),
			               colon + 2);
			break;
		}
	}
	if (file != NULL) {
		(void)fclose(file);
	}
}

void bench_machine_say(const struct bench_config *config)
{
	struct timespec wait = { .tv_nsec = LOOK_MS * PR_NS_PER_MS };
	struct utsname name = { 0 };
	struct bench_times start;
	char model[128];
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	bench_times_read(&start);
	(void)nanosleep(&wait, NULL);
	double stolen = bench_times_stolen(&start);
	double others = bench_times_busy_us(&start) / 1e3 / LOOK_MS / (double)cores;
	(void)uname(&name);
	cpu_model(model, sizeof(model));
	bench_say(config,
	          "%ld cores, %s, Linux %s, %.1f %% steal and %.0f %% load before the start", cores,
	          model, name.release, 100 * stolen, 100 * others);
	mark[0] = '\0';
	if (cores < 2) {
		(void)snprintf(mark, sizeof(mark), "ONE CORE");
		bench_say(config, "one core: both ends and the firewall take turns on it");
	} else if (others > BUSY_OTHERS) {
		(void)snprintf(mark, sizeof(mark), "MACHINE BUSY: %.0f %%", 100 * others);
		bench_say(config, "something else is at work here: figures are marked");
	}
}

const char *bench_machine_mark(void)
{
	return mark;
}
