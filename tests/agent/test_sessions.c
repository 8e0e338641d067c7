/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file utmp files: what a login writes, and what nobody should: hostile names, cut, endless, no
 * file at all. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utmp.h>

#include "agent/inventory/sessions.h"
#include "base/defs.h"
#include "base/err.h"
#include "tests/tap.h"

static bool alive(int32_t pid)
{
	return pid != 666;
}

static struct utmp record_of(short type, int pid, const char *user, const char *line,
                             const char *host)
{
	struct utmp record = { .ut_type = type, .ut_pid = pid };

	record.ut_tv.tv_sec = 1795476245;
	memcpy(record.ut_user, user, strnlen(user, sizeof(record.ut_user)));
	memcpy(record.ut_line, line, strnlen(line, sizeof(record.ut_line)));
	memcpy(record.ut_host, host, strnlen(host, sizeof(record.ut_host)));
	return record;
}

static const char *parsed(const void *data, size_t size_bytes, const char **ret_lack)
{
	static char text[65536];
	static codec_doc_t *doc;
	size_t used = 0;

	codec_doc_destroy(&doc);
	doc = codec_doc_new(CODEC_ENDPOINT);
	sessions_parse(data, size_bytes, alive, doc);
	text[0] = '\0';
	for (size_t i = 0; i < codec_doc_count(doc, CODEC_ENDPOINT_SESSIONS); i++) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s\n",
		                         codec_doc_item(doc, CODEC_ENDPOINT_SESSIONS, i));
	}
	*ret_lack = codec_doc_text(doc, CODEC_ENDPOINT_SESSIONS_LACK);
	return text;
}

static void test_good(void)
{
	const struct utmp records[] = {
		record_of(BOOT_TIME, 0, "reboot", "~", "6.1.0"),
		record_of(USER_PROCESS, 100, "ana", "pts/0", "192.0.2.7"),
		record_of(DEAD_PROCESS, 101, "ben", "pts/1", ""),
		record_of(USER_PROCESS, 102, "ben", "tty1", ""),
		record_of(USER_PROCESS, 666, "ghost", "pts/2", ""),
		record_of(USER_PROCESS, 0, "nobody", "pts/3", ""),
	};
	const char *lack = NULL;
	const char *text = parsed(records, sizeof(records), &lack);

	ok(strcmp(text, "1795476245 100 pts/0 ana 192.0.2.7\n1795476245 102 tty1 ben -\n") == 0,
	   "sessions that live, and nothing else: %s", text);
	ok(lack[0] == '\0', "nothing is lacking");
	ok(parsed(NULL, 0, &lack)[0] == '\0' && lack[0] == '\0', "an empty file: nobody");
}

static void test_hostile(void)
{
	struct utmp records[] = {
		record_of(USER_PROCESS, 1, "a b\033[2J%", "-", "=cmd()"),
		record_of(USER_PROCESS, 2, "\xe2\x80\xae", "\n", ""),
		record_of(USER_PROCESS, 3, "", "pts/9", ""),
	};
	const char *lack = NULL;
	const char *text = parsed(records, sizeof(records), &lack);

	ok(strcmp(text, "1795476245 1 %2D a%20b%1B[2J%25 =cmd()\n"
	                "1795476245 2 %0A %E2%80%AE -\n") == 0,
	   "names are kept, and cannot make words or lines of their own: %s", text);
	memset(records[0].ut_user, 'u', sizeof(records[0].ut_user));
	memset(records[0].ut_line, 1, sizeof(records[0].ut_line));
	memset(records[0].ut_host, 2, sizeof(records[0].ut_host));
	text = parsed(records, sizeof(records[0]), &lack);
	ok(strstr(text, " uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu %02") != NULL && strlen(text) < 512,
	   "fields without an end are read to their width");
}

static void test_bounds(void)
{
	struct utmp *many = calloc(1000, sizeof(*many));
	const char *lack = NULL;
	const char *text;
	size_t lines = 0;

	if (many == NULL) {
		exit(99);
	}
	for (size_t i = 0; i < 1000; i++) {
		many[i] = record_of(USER_PROCESS, 10 + (int)i, "ana", "pts/0", "");
		many[i].ut_pid += many[i].ut_pid >= 666;
	}
	text = parsed(many, 1000 * sizeof(*many), &lack);
	for (const char *at = text; *at != '\0'; at++) {
		lines += *at == '\n';
	}
	ok(lines == SESSIONS_MAX && strstr(lack, "936 more are left out") != NULL,
	   "more than %u are left out, and counted: %s", SESSIONS_MAX, lack);
	text = parsed(many, sizeof(*many) + 100, &lack);
	ok(strstr(text, "10 pts/0 ana -\n") != NULL && strstr(lack, "the file is cut") != NULL,
	   "a cut file: what is whole, and that it is cut: %s", lack);
	ok(parsed(many, 7, &lack)[0] == '\0' && strstr(lack, "has 7 of") != NULL,
	   "one that ends in its first record");
	memset(many, 0xff, 1000 * sizeof(*many));
	ok(parsed(many, 1000 * sizeof(*many), &lack)[0] == '\0', "ones are no records");
	free(many);
}

static void test_files(void)
{
	char folder[] = "/tmp/portreeve-test-XXXXXX", path[64];
	codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	const struct utmp own = record_of(USER_PROCESS, (int)getpid(), "ana", "pts/0", "");

	if (mkdtemp(folder) == NULL) {
		exit(99);
	}
	(void)snprintf(path, sizeof(path), "%s/utmp", folder);
	sessions_add(path, doc);
	ok(strstr(codec_doc_text(doc, CODEC_ENDPOINT_SESSIONS_LACK), "utmp: there is none") != NULL,
	   "no file is said: %s", codec_doc_text(doc, CODEC_ENDPOINT_SESSIONS_LACK));
	sessions_add(folder, doc);
	ok(strstr(codec_doc_text(doc, CODEC_ENDPOINT_SESSIONS_LACK), "not a file") != NULL,
	   "a folder is said");
	if (mkfifo(path, 0600) != 0) {
		exit(99);
	}
	sessions_add(path, doc);
	ok(strstr(codec_doc_text(doc, CODEC_ENDPOINT_SESSIONS_LACK), "not a file") != NULL,
	   "a pipe does not hold us up");
	(void)unlink(path);
	_cleanup_(pr_fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, &own, sizeof(own)) != sizeof(own)) {
		exit(99);
	}
	sessions_add(path, doc);
	ok(codec_doc_count(doc, CODEC_ENDPOINT_SESSIONS) == 1 &&
	           codec_doc_text(doc, CODEC_ENDPOINT_SESSIONS_LACK)[0] == '\0',
	   "a file with us in it");
	codec_doc_destroy(&doc);
	doc = codec_doc_new(CODEC_ENDPOINT);
	if (ftruncate(fd, 64L << 20) != 0) {
		exit(99);
	}
	sessions_add(path, doc);
	ok(codec_doc_count(doc, CODEC_ENDPOINT_SESSIONS) == 1 &&
	           strstr(codec_doc_text(doc, CODEC_ENDPOINT_SESSIONS_LACK), "larger") != NULL,
	   "of a file of 64 MiB the beginning is read, and that is said");
	codec_doc_destroy(&doc);
	(void)unlink(path);
	(void)rmdir(folder);
}

int main(void)
{
	const char *lack = NULL;

	test_good();
	test_hostile();
	test_bounds();
	test_files();
	(void)parsed(NULL, 0, &lack);
	return tap_done();
}
