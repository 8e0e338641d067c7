/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Events on disk: order, numbers, holes, ends of runs at any place, damage. */

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/speaker/spool.h"
#include "base/err.h"
#include "tests/tap.h"

#define SEGMENT_BYTES 2000

static char folder[] = "/tmp/prt-spool-XXXXXX";

static void folder_clear(void)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}

static unsigned segments(char *last, size_t last_bytes)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, NULL, alphasort);
	unsigned found = 0;

	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.') {
			found++;
			if (last != NULL) {
				(void)snprintf(last, last_bytes, "%s/%s", folder,
				               entries[i]->d_name);
			}
		}
		free(entries[i]);
	}
	free(entries);
	return found;
}

static spool_t *spool_make(uint64_t max_bytes, uint64_t first_seq, uint64_t empty_seq)
{
	const struct spool_options options = { .folder = folder,
		                               .max_bytes = max_bytes,
		                               .segment_bytes = SEGMENT_BYTES,
		                               .first_seq = first_seq,
		                               .empty_seq = empty_seq };
	spool_t *spool = NULL;
	int ret = spool_open(&options, &spool);
	if (ret != PR_OK) {
		ok(false, "a spool opens: %s", pr_strerror(ret));
		exit(tap_done());
	}
	return spool;
}

/* A frame whose bytes follow from its number. */
static int append(spool_t *spool, uint32_t count)
{
	uint8_t data[150];

	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = (uint8_t)(spool_next_seq(spool) * 7 + i);
	}
	return spool_append(spool, count, data, sizeof(data));
}

static bool frame_good(const struct spool_frame *frame)
{
	for (size_t i = 0; i < frame->size_bytes; i++) {
		if (frame->data[i] != (uint8_t)(frame->first_seq * 7 + i)) {
			return false;
		}
	}
	return frame->size_bytes == 150;
}

struct tally {
	uint64_t events, lost, next;
	unsigned frames;
	bool good; /* no number twice, none without a word, bytes as written */
};

/* Send everything. */
static struct tally drain(spool_t *spool, uint64_t from)
{
	struct tally tally = { .next = from, .good = true };
	struct spool_frame frame;

	while (spool_peek(spool, &frame) == PR_OK && tally.frames < 100000) {
		tally.good = tally.good && frame.first_seq == tally.next &&
		             (frame.lost || frame_good(&frame));
		if (!tally.good) {
			printf("# frame %" PRIu64 "+%u lost %d, expected %" PRIu64 "\n",
			       frame.first_seq, frame.count, frame.lost, tally.next);
			break;
		}
		tally.next = frame.first_seq + frame.count;
		tally.events += frame.lost ? 0 : frame.count;
		tally.lost += frame.lost ? frame.count : 0;
		tally.frames++;
		spool_advance(spool);
	}
	return tally;
}

static void test_order(void)
{
	spool_t *spool = spool_make(1 << 20, 0, 0);
	struct spool_frame frame;

	ok(spool_next_seq(spool) == 1, "numbers begin at 1");
	ok(spool_peek(spool, &frame) == PR_EAGAIN, "nothing waits");
	ok(append(spool, 3) == PR_OK && append(spool, 2) == PR_OK && spool_next_seq(spool) == 6,
	   "two frames of five events");
	ok(spool_peek(spool, &frame) == PR_OK && frame.first_seq == 1 && frame.count == 3 &&
	           frame_good(&frame),
	   "the first comes first");
	ok(spool_peek(spool, &frame) == PR_OK && frame.first_seq == 1, "until it was sent");
	ok(append(spool, 1) == PR_OK && spool_peek(spool, &frame) == PR_OK && frame_good(&frame),
	   "also when another is written meanwhile");
	spool_advance(spool);
	ok(spool_sent_seq(spool) == 3, "sent up to 3");
	struct tally tally = drain(spool, 4);
	ok(tally.good && tally.events == 3 && tally.lost == 0, "then the others");
	ok(spool_peek(spool, &frame) == PR_EAGAIN, "then none");
	spool_rewind(spool);
	tally = drain(spool, 1);
	ok(tally.good && tally.events == 6, "again from the first that is not acknowledged");
	ok(spool_acknowledge(spool, 4) == PR_OK, "4 is acknowledged, in the middle of a frame");
	spool_rewind(spool);
	tally = drain(spool, 4);
	ok(tally.good && tally.events == 3, "its frame is sent again, the one before is not");
	ok(spool_acknowledge(spool, 2) == PR_OK && spool_acknowledged_seq(spool) == 4,
	   "an older acknowledgement changes nothing");
	ok(spool_acknowledge(spool, UINT64_MAX) == PR_EMALF, "nonsense is refused");
	spool_destroy(&spool);
	folder_clear();
}

static void test_segments(void)
{
	spool_t *spool = spool_make(1 << 20, 0, 0);

	for (unsigned i = 0; i < 200; i++) {
		(void)!append(spool, 1);
	}
	unsigned before = segments(NULL, 0);
	ok(before > 10, "200 frames in %u segments", before);
	struct tally tally = drain(spool, 1);
	ok(tally.good && tally.events == 200, "read through all of them");
	ok(spool_acknowledge(spool, 150) == PR_OK && segments(NULL, 0) < before / 2,
	   "those that are acknowledged are deleted: %u left", segments(NULL, 0));
	spool_rewind(spool);
	tally = drain(spool, 151);
	ok(tally.good && tally.events == 50, "the rest is still there");
	ok(spool_acknowledge(spool, 200) == PR_OK && segments(NULL, 0) == 1,
	   "the last stays: it knows the next number");
	ok(append(spool, 1) == PR_OK && drain(spool, 201).events == 1, "and goes on");
	spool_destroy(&spool);

	spool = spool_make(1 << 20, 0, 0);
	ok(spool_next_seq(spool) == 202, "a new run goes on with the next number");
	spool_destroy(&spool);
	spool = spool_make(1 << 20, 0, 0);
	ok(spool_next_seq(spool) == 202, "as often as one likes");
	spool_destroy(&spool);
	folder_clear();
}

static void test_full(void)
{
	spool_t *spool = spool_make(20000, 0, 0);
	unsigned dropped = 0;
	struct tally tally;

	for (unsigned i = 0; i < 500; i++) {
		dropped += append(spool, 5) == PR_ENOSPC ? 5 : 0;
	}
	ok(dropped > 1000 && spool_next_seq(spool) == 2501, "full: %u of 2500 dropped", dropped);
	ok(spool_bytes(spool) <= 20000 + 200, "the bound holds: %" PRIu64 " bytes",
	   spool_bytes(spool));
	tally = drain(spool, 1);
	ok(tally.good && tally.lost == dropped && tally.events == 2500 - dropped,
	   "the newest were dropped, and that is said");
	ok(spool_acknowledge(spool, tally.events) == PR_OK && append(spool, 5) == PR_OK,
	   "room again");
	tally = drain(spool, 2501);
	ok(tally.good && tally.events == 5 && tally.lost == 0, "and on it goes");
	spool_lose(spool, 7);
	ok(append(spool, 1) == PR_OK, "7 dropped by the caller, one more");
	tally = drain(spool, 2506);
	ok(tally.good && tally.lost == 7 && tally.events == 1, "said in order");
	spool_destroy(&spool);
	spool = spool_make(20000, 0, 0);
	tally = drain(spool, 1 + 2500 - dropped);
	spool_destroy(&spool);
	folder_clear();
	ok(spool == NULL, "closed");
}

/* A run that ends at any byte of the last frames. */
static void test_cut(void)
{
	char path[512];
	unsigned good = 0, cuts = 0;

	for (unsigned cut = 1; cut < 3 * 174; cut += 13) {
		struct stat info;
		spool_t *spool = spool_make(1 << 20, 0, 0);
		for (unsigned i = 0; i < 5; i++) {
			(void)!append(spool, 2);
		}
		spool_destroy(&spool);
		(void)segments(path, sizeof(path));
		if (stat(path, &info) != 0 || truncate(path, info.st_size - cut) != 0) {
			break;
		}
		spool = spool_make(1 << 20, 0, 0);
		unsigned whole = 5 - (cut + 173) / 174;
		uint64_t next = spool_next_seq(spool);
		struct tally tally = drain(spool, 1);
		bool first = tally.good && tally.events == 2 * whole && next == 2 * whole + 1;
		(void)!append(spool, 1);
		tally = drain(spool, next);
		good += first && tally.good && tally.events == 1;
		cuts++;
		spool_destroy(&spool);
		folder_clear();
	}
	ok(cuts == 41 && good == cuts, "cut at %u places: whole frames stay, writing goes on",
	   cuts);
}

/* Any byte of a segment in the middle changes. */
static void test_damage(void)
{
	char path[512] = "";
	unsigned good = 0, runs = 0;

	for (unsigned at = 0; at < 1500; at += 37) {
		spool_t *spool = spool_make(1 << 20, 0, 0);
		for (unsigned i = 0; i < 40; i++) {
			(void)!append(spool, 1);
		}
		spool_destroy(&spool);
		(void)snprintf(path, sizeof(path), "%s/%020d.events", folder, 13);
		int fd = open(path, O_RDWR);
		uint8_t byte = 0;
		bool changed = pread(fd, &byte, 1, at) == 1;
		byte ^= 0x55;
		changed = changed && pwrite(fd, &byte, 1, at) == 1;
		(void)close(fd);
		spool = spool_make(1 << 20, 0, 0);
		struct tally tally = drain(spool, 1);
		good += changed && tally.good && tally.next == 41 && tally.lost > 0 &&
		        tally.events >= 27 && tally.events + tally.lost == 40 &&
		        spool_corrupt(spool) > 0;
		runs++;
		spool_destroy(&spool);
		folder_clear();
	}
	ok(good == runs, "%u damaged segments: what cannot be read is reported as lost", runs);
}

/* Damage while we run, in the segment that is written to. */
static void test_damage_live(void)
{
	char path[512];
	spool_t *spool = spool_make(1 << 20, 0, 0);

	for (unsigned i = 0; i < 5; i++) {
		(void)!append(spool, 1);
	}
	(void)segments(path, sizeof(path));
	int fd = open(path, O_RDWR);
	ok(fd >= 0 && pwrite(fd, "garbage!", 8, 174 * 2 + 30) == 8, "the disk forgets");
	(void)close(fd);
	struct tally tally = drain(spool, 1);
	ok(tally.good && tally.events == 2 && tally.lost == 3, "what follows is lost, and said");
	(void)!append(spool, 1);
	tally = drain(spool, 6);
	ok(tally.good && tally.events == 1, "new events are not");
	spool_destroy(&spool);
	folder_clear();
}

static void test_numbers(void)
{
	spool_t *spool = spool_make(1 << 20, 1, 500);
	ok(spool_next_seq(spool) == 500, "an empty folder begins where it is told");
	(void)!append(spool, 5);
	spool_destroy(&spool);
	spool = spool_make(1 << 20, 1000, 1000);
	ok(spool_next_seq(spool) == 1000, "numbers below a reservation are not used again");
	(void)!append(spool, 5);
	struct tally tally = drain(spool, 500);
	ok(tally.good && tally.events == 10 && tally.lost == 495, "those left out are reported");
	spool_destroy(&spool);
	spool = spool_make(1 << 20, 1000, 1000);
	ok(spool_next_seq(spool) == 1005, "nor is one wasted when the spool knows more");
	tally = drain(spool, 500);
	ok(tally.good && tally.lost == 495, "and the hole is still there after a restart");
	ok(spool_acknowledge(spool, 5000) == PR_EOLD && spool_next_seq(spool) == 5001,
	   "a recorder that knows more moves us on");
	(void)!append(spool, 1);
	tally = drain(spool, 5001);
	ok(tally.good && tally.events == 1 && tally.lost == 0, "without a false loss");
	spool_destroy(&spool);

	/* A number that an unused, trailing reservation left out is said without an event. */
	folder_clear();
	spool = spool_make(1 << 20, 0, 0);
	(void)!append(spool, 1);
	spool_destroy(&spool);
	spool = spool_make(1 << 20, 100, 100);
	tally = drain(spool, 1);
	ok(tally.good && tally.events == 1 && tally.lost == 98, "also when none follows yet");
	spool_destroy(&spool);
	folder_clear();
}

static void test_foreign(void)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/notes.txt", folder);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	(void)close(fd);
	(void)snprintf(path, sizeof(path), "%s/00000000000000000000.events", folder);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	(void)close(fd);
	spool_t *spool = spool_make(1 << 20, 0, 0);
	ok(append(spool, 1) == PR_OK && drain(spool, 1).events == 1, "files of others do not harm");
	ok(spool_corrupt(spool) == 1, "one that looks like ours is counted");
	spool_destroy(&spool);
	folder_clear();
	ok(spool_crc(0, "123456789", 9) == 0xe3069283, "CRC-32C's check value");
}

int main(void)
{
	if (mkdtemp(folder) == NULL) {
		return 1;
	}
	test_order();
	test_segments();
	test_full();
	test_cut();
	test_damage();
	test_damage_live();
	test_numbers();
	test_foreign();
	folder_clear();
	(void)rmdir(folder);
	return tap_done();
}
