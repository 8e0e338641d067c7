/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A full disk: nothing is acknowledged, nothing is lost, and it goes on when there is room. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "tests/recorder/port.h"
#include "tests/tap.h"

#define S PR_NS_PER_S

static int disk_fill(const char *path)
{
	static const char zeros[4096];
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	while (write(fd, zeros, sizeof(zeros)) > 0) {
	}
	return fd;
}

static void test_full(struct port *port)
{
	char filler[PATH_MAX + 16];
	uint64_t next = 1, now = 100 * S;
	int err = PR_OK;

	(void)snprintf(filler, sizeof(filler), "%s/filler", port->base);
	port_stores_open(port, 1ULL << 30);
	ok(port_events(port, 1, next, 64, now) == PR_OK &&
	           recorder_ingest_commit(port->ingest, now, now) == PR_OK,
	   "there is room at first");
	next += 64;
	int fd = disk_fill(filler);
	for (unsigned i = 0; i < 100 && err == PR_OK; i++) {
		(void)!port_events(port, 1, next, 64, now);
		err = recorder_ingest_commit(port->ingest, now, now);
		next += 64;
	}
	uint64_t committed = port->acknowledged;
	ok(err == PR_ENOSPC && recorder_ingest_blocked(port->ingest) && committed == next - 65,
	   "the disk is full: not acknowledged");
	ok(recorder_ingest_waiting(port->ingest) == 64 &&
	           recorder_ingest_due_ns(port->ingest) == now + RECORDER_RETRY_NS,
	   "what was collected is kept, to be tried again");
	uint64_t acks = port->acks;
	ok(port_events(port, 1, next, 64, now) == PR_OK && port->acks == acks &&
	           recorder_ingest_counters(port->ingest)->dropped_full == 64,
	   "what comes meanwhile is left to the agent, and counted");
	ok(recorder_ingest_commit(port->ingest, now + S, now) == PR_ENOSPC, "still full");
	(void)!ftruncate(fd, 0);
	now += 60 * S;
	ok(recorder_ingest_commit(port->ingest, now, now) == PR_OK &&
	           port->acknowledged == next - 1 && !recorder_ingest_blocked(port->ingest),
	   "there is room: what was kept is committed and acknowledged");
	ok(port_events(port, 1, next + 64, 64, now) == PR_OK && port->acknowledged == next - 1 &&
	           recorder_ingest_waiting(port->ingest) == 0,
	   "a frame behind the one left out is not taken before it");
	ok(port_events(port, 1, next, 64, now) == PR_OK &&
	           port_events(port, 1, next + 64, 64, now) == PR_OK &&
	           recorder_ingest_commit(port->ingest, now, now) == PR_OK &&
	           port_state(port, 1).gap_count == 0 && port_state(port, 1).stored == next + 127,
	   "the agent goes back, and there is no gap");
	port_stores_close(port);
	close(fd);
}

int main(void)
{
	struct port port = { .acks = 0 };

	dir_make(port.base);
	/* In a mount namespace of our own, so that nothing stays behind. */
	if (geteuid() != 0) {
		skip("full disk: mounting a small tmpfs needs root");
	} else if (unshare(CLONE_NEWNS) != 0 ||
	           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	           mount("none", port.base, "tmpfs", 0, "size=2m,mode=0700") != 0) {
		skip("full disk: cannot mount a tmpfs here: %s", strerror(errno));
	} else {
		test_full(&port);
		(void)umount(port.base);
	}
	dir_remove(port.base);
	return tap_done();
}
