/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real program under load on a disk that fills: it lives, says so, and loses nothing. */
#include <sched.h>
#include <sys/mount.h>

#include "tests/recorder/load.h"

/* A number that STATUS tells; UINT64_MAX: it does not. */
static uint64_t status_number(struct fake *fake, bus_client_t *viewer, const char *name)
{
	codec_doc_t *request = codec_doc_new(CODEC_STATUS_GET);
	uint64_t number = UINT64_MAX;
	size_t length = strlen(name);

	codec_doc_set_u64(request, CODEC_STATUS_GET_ID, 1);
	fake_send(fake, viewer, request);
	for (;;) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = fake_doc(fake, viewer, 3000);
		if (doc == NULL || codec_doc_type(doc) != CODEC_STATUS) {
			return number;
		}
		for (size_t i = 0; i < codec_doc_count(doc, CODEC_STATUS_FACTS); i++) {
			const char *fact = codec_doc_item(doc, CODEC_STATUS_FACTS, i);
			if (strncmp(fact, name, length) == 0 && fact[length] == ' ') {
				number = strtoull(fact + length + 1, NULL, 10);
			}
		}
	}
}

static void test_disk(struct fake *fake, const struct bus_key *viewer_key)
{
	static const char zeros[4096];
	char path[PATH_MAX + 32];
	bus_client_t *viewer = fake_client(fake, viewer_key);
	uint64_t full = 0;

	(void)snprintf(path, sizeof(path), "%s/state/filler", fake->base);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	while (write(fd, zeros, sizeof(zeros)) > 0) {
	}
	(void)fake_up(fake, viewer);
	for (unsigned i = 0; i < 200 && full != 1; i++) {
		run_ms(fake, 50);
		full = status_number(fake, viewer, "disk_full");
	}
	ok(full == 1 && fake_log_has(fake, "cannot be stored"),
	   "a full disk is said in status and log");
	uint64_t before = loads[0].acknowledged;
	run_ms(fake, 1500);
	ok(loads[0].acknowledged == before && kill(fake->pid, 0) == 0,
	   "nothing is acknowledged, and it lives");
	ok(ftruncate(fd, 0) == 0 && acknowledged_again(fake, before + 3000),
	   "space is freed: it goes on");
	ok(status_number(fake, viewer, "disk_full") == 0 &&
	           status_number(fake, viewer, "gaps") == 0 && fake_log_has(fake, "stored again"),
	   "and says so, without a gap");
	printf("# dropped while full: %llu events\n",
	       (unsigned long long)status_number(fake, viewer, "events_dropped_full"));
	bus_client_destroy(&viewer);
	close(fd);
	(void)unlink(path);
}

int main(void)
{
	char path[PATH_MAX + 16];
	struct bus_key viewer_key;
	struct fake fake;

	fake_open(&fake);
	(void)snprintf(path, sizeof(path), "%s/state", fake.base);
	(void)mkdir(path, 0700);
	/* In a mount namespace of our own, so that nothing stays behind. */
	if (geteuid() != 0) {
		skip("full disk: mounting a small tmpfs needs root");
	} else if (unshare(CLONE_NEWNS) != 0 ||
	           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	           mount("none", path, "tmpfs", 0, "size=24m,mode=0700") != 0) {
		skip("full disk: cannot mount a tmpfs here: %s", strerror(errno));
	} else {
		load_run(&fake, &viewer_key);
		test_disk(&fake, &viewer_key);
		load_stop();
		judge(&fake, &viewer_key);
		if (tap_failed > 0) {
			fake_log_print(&fake);
		}
		(void)fake_stop(&fake, SIGTERM);
		(void)umount(path);
	}
	fake_close(&fake);
	return tap_done();
}
