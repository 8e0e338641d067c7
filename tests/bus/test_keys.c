/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "bus/internal.h"
#include "tests/tap.h"

static char folder[] = "/tmp/prt-keys-XXXXXX";
static char path[128];

static void file_write(const char *text, mode_t mode)
{
	(void)unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ok(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) &&
	           fchmod(fd, mode) == 0 && close(fd) == 0,
	   "a key file is written by hand");
}

static bool load_refused(void)
{
	struct pr_uuid id;
	struct bus_key key;
	return bus_key_load(path, &id, &key) == PR_EKEYFILE;
}

static void test_text(void)
{
	struct bus_key key;
	uint8_t back[BUS_KEY_BYTES], untouched[BUS_KEY_BYTES];
	char text[BUS_KEY_TEXT_BYTES];

	ok(bus_key_new(&key) == PR_OK, "a new key pair");
	ok(strlen(bus_key_format(key.public_key, text)) == 40, "40 characters of text");
	ok(bus_key_parse(text, back) == PR_OK && memcmp(back, key.public_key, sizeof(back)) == 0,
	   "and back");
	memset(back, 7, sizeof(back));
	memcpy(untouched, back, sizeof(back));
	text[5] = ' ';
	ok(bus_key_parse(text, back) == PR_EINVAL, "a blank inside is refused");
	text[5] = (char)0x80;
	ok(bus_key_parse(text, back) == PR_EINVAL, "a byte above 127 is refused");
	memset(text, '#', 40);
	ok(bus_key_parse(text, back) == PR_EINVAL, "a group over 2^32 is refused");
	text[39] = '\0';
	ok(bus_key_parse(text, back) == PR_EINVAL, "39 characters are refused");
	ok(bus_key_parse("", back) == PR_EINVAL, "none is refused");
	ok(memcmp(back, untouched, sizeof(back)) == 0, "the result is untouched on failure");
	bus_key_wipe(&key, sizeof(key));
	static const struct bus_key zero;
	ok(memcmp(&key, &zero, sizeof(key)) == 0, "a wiped key is gone");
}

static void test_file(void)
{
	struct pr_uuid id = pr_uuid_new(), id_back;
	struct bus_key key, key_back;
	struct stat info;

	ok(bus_key_new(&key) == PR_OK && bus_key_save(path, &id, &key) == PR_OK, "saved");
	ok(stat(path, &info) == 0 && (info.st_mode & 07777) == 0600, "mode 0600");
	ok(bus_key_save(path, &id, &key) == PR_EEXIST, "never over an existing file");
	ok(bus_key_load(path, &id_back, &key_back) == PR_OK && pr_uuid_equal(&id, &id_back) &&
	           memcmp(&key, &key_back, sizeof(key)) == 0,
	   "loaded again");
	ok(chmod(path, 0640) == 0 && load_refused(), "readable by the group: refused");
	ok(chmod(path, 0604) == 0 && load_refused(), "readable by others: refused");
	ok(chmod(path, 0400) == 0 && !load_refused(), "0400 is fine");

	char link_path[160];
	(void)snprintf(link_path, sizeof(link_path), "%s.link", path);
	ok(symlink(path, link_path) == 0 &&
	           bus_key_load(link_path, &id_back, &key_back) == PR_EKEYFILE,
	   "a symlink is refused");
	ok(bus_key_save(link_path, &id, &key) < 0, "nothing is saved through a symlink");
	(void)unlink(link_path);
	ok(mkfifo(link_path, 0600) == 0 &&
	           bus_key_load(link_path, &id_back, &key_back) == PR_EKEYFILE,
	   "a FIFO is refused and does not hold us");
	(void)unlink(link_path);
	ok(bus_key_load(folder, &id_back, &key_back) == PR_EKEYFILE, "a folder is refused");
	ok(bus_key_load("/nonexistent/key", &id_back, &key_back) == PR_EKEYFILE, "missing");
	ok(bus_key_save("/nonexistent/key", &id, &key) == PR_ENOENT, "no folder to save in");
	if (geteuid() == 0) {
		ok(chown(path, 12345, 0) == 0 && load_refused(), "of another user: refused");
		ok(chown(path, 0, 0) == 0 && !load_refused(), "of root: fine");
	} else {
		skip("owner of a key file: needs root");
	}
	(void)unlink(path);
}

/* The file's text with one line changed: 0 head, 1 uuid, 2 public, 3 secret. */
static void test_malformed(void)
{
	struct pr_uuid id = pr_uuid_new();
	struct bus_key key, other;
	char public_text[41], secret_text[41], other_text[41], id_text[PR_UUID_TEXT_BYTES];
	char text[2048];

	ok(bus_key_new(&key) == PR_OK && bus_key_new(&other) == PR_OK, "two keys");
	bus_key_format(key.public_key, public_text);
	bus_key_format(key.secret_key, secret_text);
	bus_key_format(other.public_key, other_text);
	pr_uuid_format(&id, id_text);

	const struct {
		const char *what, *id, *public_key, *secret_key, *tail;
		bool good;
	} cases[] = {
		{ "whole", id_text, public_text, secret_text, "", true },
		{ "with a comment at the end", id_text, public_text, secret_text, "# x\n", true },
		{ "public key of another", id_text, other_text, secret_text, "", false },
		{ "no uuid value", "", public_text, secret_text, "", false },
		{ "null uuid", "00000000-0000-0000-0000-000000000000", public_text, secret_text, "",
		  false },
		{ "short secret", id_text, public_text, "abc", "", false },
		{ "empty line", id_text, public_text, secret_text, "\n", false },
		{ "unknown line", id_text, public_text, secret_text, "role admin\n", false },
		{ "no newline at the end", id_text, public_text, secret_text, "# x", false },
		{ "very long value", id_text, public_text,
		  "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
		  "0000000000000000000000000000000000000000000000000000000000000000000000000000000"
		  "0",
		  "", false },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		(void)snprintf(text, sizeof(text), "uuid %s\npublic %s\nsecret %s\n%s", cases[i].id,
		               cases[i].public_key, cases[i].secret_key, cases[i].tail);
		file_write(text, 0600);
		ok(load_refused() != cases[i].good, "%s", cases[i].what);
	}
	(void)snprintf(text, sizeof(text), "uuid %s\nuuid %s\npublic %s\nsecret %s\n", id_text,
	               id_text, public_text, secret_text);
	file_write(text, 0600);
	ok(load_refused(), "a line twice");
	(void)snprintf(text, sizeof(text), "uuid %s\npublic %s\n", id_text, public_text);
	file_write(text, 0600);
	ok(load_refused(), "a line missing");
	file_write("", 0600);
	ok(load_refused(), "an empty file");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	file_write(text, 0600);
	ok(load_refused(), "too large");
}

int main(void)
{
	if (mkdtemp(folder) == NULL) {
		return 1;
	}
	(void)snprintf(path, sizeof(path), "%s/key", folder);
	test_text();
	test_file();
	test_malformed();
	(void)unlink(path);
	(void)rmdir(folder);
	return tap_done();
}
