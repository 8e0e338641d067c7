/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Echo between two processes: every frame comes back; round trip and CPU are printed, not judged.
 */

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define HARBOUR_HIGH_WATER 1024
#include "tests/bus/harbour.h"

#define ROUNDS      3000
#define PIPELINED   20000
#define IN_FLIGHT   64
#define FRAME_BYTES 500

static const char stop_text[] = "stop", cpu_text[] = "how much CPU?";

static uint64_t cpu_ns(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * PR_NS_PER_S +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * PR_NS_PER_US;
}

/* The child: echo until told to stop. */
static int serve(int out, const struct bus_key *client_key)
{
	struct harbour h;
	struct bus_frame frame;
	bool stop = false;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	harbour_open(&h, BUS_ROLE_AGENT);
	harbour_enrol(&h, client_key, BUS_ROLE_AGENT, 0);
	if (write(out, h.endpoint, sizeof(h.endpoint)) < 0 ||
	    write(out, h.server_key.public_key, BUS_KEY_BYTES) < 0) {
		return 1;
	}
	while (!stop) {
		struct pollfd item = { .fd = bus_server_fd(h.server), .events = POLLIN };
		while (bus_server_receive(h.server, &frame) == PR_OK) {
			uint64_t used_ns;
			stop = frame.size_bytes == sizeof(stop_text);
			if (frame.size_bytes == sizeof(cpu_text)) {
				used_ns = cpu_ns();
				frame.data = (const uint8_t *)&used_ns;
				frame.size_bytes = sizeof(used_ns);
			}
			(void)!bus_server_send(h.server, &frame.route, frame.data,
			                       frame.size_bytes);
		}
		(void)poll(&item, 1, 1000);
	}
	/* Linger is 0: let the last answer go. */
	(void)poll(NULL, 0, 50);
	harbour_close(&h);
	return tap_failed;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static bool round_trip(bus_client_t *client, const void *data, size_t size_bytes)
{
	const uint8_t *got;
	size_t got_bytes;

	while (bus_client_send(client, data, size_bytes) != PR_OK) {
		harbour_pause();
	}
	return bus_client_wait(client, 3000) == PR_OK &&
	       bus_client_receive(client, &got, &got_bytes) == PR_OK && got_bytes == size_bytes;
}

/* CPU time that the server has used until now. */
static uint64_t server_cpu_ns(bus_client_t *client)
{
	const uint8_t *got;
	size_t got_bytes;
	uint64_t used_ns = 0;

	if (bus_client_send(client, cpu_text, sizeof(cpu_text)) == PR_OK &&
	    bus_client_wait(client, 3000) == PR_OK &&
	    bus_client_receive(client, &got, &got_bytes) == PR_OK && got_bytes == sizeof(used_ns)) {
		memcpy(&used_ns, got, sizeof(used_ns));
	}
	return used_ns;
}

static unsigned pipeline(bus_client_t *client, const void *data, size_t size_bytes)
{
	unsigned sent = 0, received = 0;
	const uint8_t *got;
	size_t got_bytes;

	while (received < PIPELINED) {
		while (sent < PIPELINED && sent - received < IN_FLIGHT &&
		       bus_client_send(client, data, size_bytes) == PR_OK) {
			sent++;
		}
		if (bus_client_wait(client, 3000) != PR_OK) {
			break;
		}
		while (bus_client_receive(client, &got, &got_bytes) == PR_OK) {
			received += got_bytes == size_bytes;
		}
	}
	return received;
}

static void measure(struct harbour *h, const struct bus_key *key)
{
	static uint64_t took_ns[ROUNDS];
	static const char data[FRAME_BYTES];
	unsigned good = 0;
	bus_client_t *client = harbour_client(h, key, h->server_key.public_key);

	ok(harbour_link(h, client, BUS_LINK_UP, 3000), "connected");
	uint64_t start_cpu_ns = server_cpu_ns(client);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t start_ns = pr_clock_monotonic_ns();
		good += round_trip(client, data, sizeof(data));
		took_ns[i] = pr_clock_monotonic_ns() - start_ns;
	}
	uint64_t single_cpu_ns = server_cpu_ns(client);
	qsort(took_ns, ROUNDS, sizeof(took_ns[0]), by_value);
	ok(good == ROUNDS,
	   "%u echoes one at a time: p50 %llu us, p99 %llu us, server CPU %.1f us each", good,
	   (unsigned long long)(took_ns[ROUNDS / 2] / PR_NS_PER_US),
	   (unsigned long long)(took_ns[ROUNDS * 99 / 100] / PR_NS_PER_US),
	   (double)(single_cpu_ns - start_cpu_ns) / ROUNDS / 1e3);
	good = pipeline(client, data, sizeof(data));
	ok(good == PIPELINED, "%u echoes, %d in flight: server CPU %.1f us each", good, IN_FLIGHT,
	   (double)(server_cpu_ns(client) - single_cpu_ns) / PIPELINED / 1e3);
	ok(round_trip(client, stop_text, sizeof(stop_text)), "told to stop");
	bus_client_destroy(&client);
}

int main(void)
{
	struct bus_key key;
	struct harbour h = { 0 };
	int pipe_fds[2], status = 0;

	if (bus_key_new(&key) != PR_OK || pipe(pipe_fds) != 0) {
		return 1;
	}
	(void)fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		/* Its results would mix with ours: its exit status tells. */
		(void)!freopen("/dev/null", "w", stdout);
		_exit(serve(pipe_fds[1], &key));
	}
	(void)close(pipe_fds[1]);
	ok(child > 0 && read(pipe_fds[0], h.endpoint, sizeof(h.endpoint)) > 0 &&
	           read(pipe_fds[0], h.server_key.public_key, BUS_KEY_BYTES) == BUS_KEY_BYTES,
	   "a server in another process");
	ok(bus_context_new(NULL, &h.context) == PR_OK, "a context without servers");
	measure(&h, &key);
	bus_context_destroy(&h.context);
	ok(waitpid(child, &status, 0) == child && status == 0, "it ended well");
	return tap_done();
}
