/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Small files replaced whole, and the note of numbers. */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/speaker/keep.h"
#include "agent/speaker/numbers.h"
#include "base/err.h"
#include "tests/tap.h"

static char folder[] = "/tmp/prt-keep-XXXXXX";
static char path[128];

static bool loaded(keep_t *keep, const char *want)
{
	uint8_t *data = NULL;
	size_t size_bytes = 0;
	bool same = keep_load(keep, KEEP_STATE, &data, &size_bytes) == PR_OK &&
	            size_bytes == strlen(want) && memcmp(data, want, size_bytes) == 0;
	free(data);
	return same;
}

static void test_files(void)
{
	keep_t *keep = NULL;
	uint8_t *data = NULL;
	size_t size_bytes;
	uint64_t ticket = 0;
	struct stat info;

	ok(keep_open(folder, &keep) == PR_OK, "a folder");
	ok(keep_load(keep, KEEP_STATE, &data, &size_bytes) == PR_ENOENT, "nothing kept yet");
	ok(keep_put(keep, KEEP_STATE, "one", 3, &ticket) == PR_OK &&
	           keep_wait(keep, KEEP_STATE, ticket, 5000) == PR_OK &&
	           keep_written(keep, KEEP_STATE) == ticket,
	   "written");
	ok(stat(path, &info) == 0 && (info.st_mode & 07777) == 0600, "root's alone");
	ok(loaded(keep, "one"), "read again");
	for (unsigned i = 0; i < 100; i++) {
		char text[16];
		int length = snprintf(text, sizeof(text), "version %u", i);
		(void)!keep_put(keep, KEEP_STATE, text, (size_t)length, &ticket);
	}
	ok(keep_wait(keep, KEEP_STATE, ticket, 5000) == PR_OK && loaded(keep, "version 99"),
	   "the last of many wins");
	(void)!keep_put(keep, KEEP_STATE, "at the end", 10, &ticket);
	keep_destroy(&keep);
	ok(keep_open(folder, &keep) == PR_OK && loaded(keep, "at the end"),
	   "what waits at the end is written");
	ok(chmod(path, 0640) == 0 && keep_load(keep, KEEP_STATE, &data, &size_bytes) == PR_EACCES,
	   "a file that others can read is not used");
	(void)unlink(path);
	ok(symlink("/etc/hostname", path) == 0 &&
	           keep_load(keep, KEEP_STATE, &data, &size_bytes) == PR_EACCES,
	   "nor a symlink");
	ok(keep_put(keep, KEEP_STATE, "new", 3, &ticket) == PR_OK &&
	           keep_wait(keep, KEEP_STATE, ticket, 5000) == PR_OK && loaded(keep, "new"),
	   "which is replaced, not followed");
	keep_destroy(&keep);
	ok(chmod(folder, 0755) == 0 && keep_open(folder, &keep) == PR_EACCES,
	   "a folder open to others is refused");
	ok(chmod(folder, 0700) == 0 && keep_open("/nonexistent", &keep) == PR_EACCES, "or none");
}

static void test_unwritable(void)
{
	keep_t *keep = NULL;
	uint64_t ticket = 0;
	char beside[160];

	ok(keep_open(folder, &keep) == PR_OK, "a folder");
	(void)snprintf(beside, sizeof(beside), "%s.new", path);
	ok(mkdir(beside, 0700) == 0, "the new file cannot be made");
	ok(keep_put(keep, KEEP_STATE, "late", 4, &ticket) == PR_OK &&
	           keep_wait(keep, KEEP_STATE, ticket, 300) == PR_ETIMEOUT && keep_errors(keep) > 0,
	   "not written, counted");
	ok(rmdir(beside) == 0 && keep_wait(keep, KEEP_STATE, ticket, 5000) == PR_OK &&
	           loaded(keep, "late"),
	   "tried again until it works");
	ok(mkdir(beside, 0700) == 0 && keep_put(keep, KEEP_STATE, "never", 5, &ticket) == PR_OK,
	   "once more, at the end");
	keep_destroy(&keep);
	ok(keep == NULL, "the end does not wait for ever");
	(void)rmdir(beside);
}

static void test_numbers(void)
{
	struct numbers numbers = { .reserved = 32768, .next = 17, .boot = pr_uuid_new() }, back;
	struct pr_uuid other = pr_uuid_new(), none = { 0 };
	char text[NUMBERS_TEXT_BYTES];
	uint64_t first, empty;
	unsigned accepted = 0;

	size_t size_bytes = numbers_format(&numbers, text);
	ok(numbers_parse(text, size_bytes, &back) == PR_OK && back.reserved == 32768 &&
	           back.next == 17 && !back.clean && pr_uuid_equal(&back.boot, &numbers.boot),
	   "a note and back");
	for (size_t cut = 0; cut < size_bytes; cut++) {
		accepted += numbers_parse(text, cut, &back) == PR_OK;
	}
	ok(accepted == 0, "a cut note is refused");
	text[size_bytes] = 'x';
	ok(numbers_parse(text, size_bytes + 1, &back) == PR_EMALF, "a longer one as well");
	numbers_resume(&numbers, &numbers.boot, &first, &empty);
	ok(first <= 1 && empty == 32769, "killed: the spool knows the next number");
	numbers_resume(&numbers, &other, &first, &empty);
	ok(first == 32769 && empty == 32769, "machine crashed: behind the reservation");
	numbers.boot = none;
	numbers_resume(&numbers, &none, &first, &empty);
	ok(first == 32769, "unknown run of the machine: the same");
	numbers.clean = true;
	numbers_resume(&numbers, &other, &first, &empty);
	ok(first == 17 && empty == 17, "clean end: the number noted");
	other = numbers_boot();
	ok(!pr_uuid_is_null(&other), "this machine's run has a name");
}

int main(void)
{
	if (mkdtemp(folder) == NULL) {
		return 1;
	}
	(void)snprintf(path, sizeof(path), "%s/state", folder);
	test_files();
	test_unwritable();
	test_numbers();
	(void)unlink(path);
	(void)rmdir(folder);
	return tap_done();
}
