/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/id.h"
#include "tests/tap.h"

struct sample {
	bool enabled;
	uint64_t queue;
	uint64_t deadline_ns;
	uint64_t spool_bytes;
	char *name;
	char *state;
	char *key;
	int mode;
	struct pr_uuid host;
	struct pr_conf_list controllers;
	struct pr_conf_list skip;
};

static const char *const modes[] = { "observe", "enforce", NULL };

/* clang-format off */
#define AT(field) offsetof(struct sample, field)
static const struct pr_conf_row rows[] = {
	{ "enabled", PR_CONF_BOOL, AT(enabled), 0, 0, "yes", NULL, NULL, "Whether." },
	{ "queue", PR_CONF_UINT, AT(queue), 1, 65535, "7000", NULL, NULL, "First queue number." },
	{ "deadline", PR_CONF_DURATION, AT(deadline_ns), 1000000, 60000000000, "5s", NULL, "ms",
	  "How long a packet is held." },
	{ "spool", PR_CONF_SIZE, AT(spool_bytes), 4096, 0, "64M", NULL, NULL, "Bound of the spool." },
	{ "name", PR_CONF_STRING, AT(name), 0, 0, "", NULL, NULL, "Name shown to people." },
	{ "state", PR_CONF_PATH, AT(state), 0, 0, "/var/lib/x", NULL, NULL, "Folder for state." },
	{ "key", PR_CONF_KEYFILE, AT(key), 0, 0, "", NULL, NULL, "Secret key." },
	{ "mode", PR_CONF_ENUM, AT(mode), 0, 0, "observe", modes, NULL, "What is done." },
	{ "host", PR_CONF_UUID, AT(host), 0, 0, "", NULL, NULL, "Host's UUID." },
	{ "controller", PR_CONF_LIST, AT(controllers), 1, 3, NULL, NULL, NULL, "Where to ask." },
	{ "skip", PR_CONF_LIST, AT(skip), 0, 0, "lo, docker0", NULL, NULL, "Interfaces left alone." },
};
/* clang-format on */
#define COUNT PR_ARRAY_LEN(rows)

static char folder[] = "/tmp/test_conf.XXXXXX";
static char conf_path[64];
static struct pr_conf_error error;

static void write_file(const char *path, const char *text, size_t size_bytes, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, size_bytes) != (ssize_t)size_bytes || fchmod(fd, mode) != 0) {
		ok(false, "cannot write %s", path);
	}
	pr_fd_close(&fd);
}

static int load_bytes(struct sample *conf, const char *text, size_t size_bytes)
{
	memset(conf, 0, sizeof(*conf));
	memset(&error, 0, sizeof(error));
	write_file(conf_path, text, size_bytes, 0600);
	return pr_conf_load(rows, COUNT, conf_path, conf, &error);
}

static int load(struct sample *conf, const char *text)
{
	return load_bytes(conf, text, strlen(text));
}

static void test_defaults(void)
{
	struct sample conf;

	ok(load(&conf, "controller = a\n") == PR_OK, "only what is required: %s", error.text);
	ok(conf.enabled && conf.queue == 7000 && conf.deadline_ns == 5000000000 &&
	           conf.spool_bytes == 64 << 20 && conf.mode == 0,
	   "defaults of numbers");
	ok(conf.name == NULL && conf.key == NULL && strcmp(conf.state, "/var/lib/x") == 0 &&
	           pr_uuid_is_null(&conf.host),
	   "defaults of texts; none is NULL or zero");
	ok(conf.skip.count == 2 && strcmp(conf.skip.items[0], "lo") == 0 &&
	           strcmp(conf.skip.items[1], "docker0") == 0,
	   "default of a list");
	pr_conf_done(rows, COUNT, &conf);
	ok(conf.state == NULL && conf.skip.count == 0 && conf.skip.items == NULL, "done frees");
	pr_conf_done(rows, COUNT, &conf);
	memset(&conf, 0, sizeof(conf));
	ok(pr_conf_load(rows, COUNT, NULL, &conf, &error) == PR_ECONF &&
	           strcmp(error.text, "defaults: controller is required: Where to ask.") == 0,
	   "without a file, a required name is missing: %s", error.text);
	pr_conf_done(rows, COUNT, &conf);
}

static const char full[] = "# a comment\n"
			   "\n"
			   "  enabled=no   # behind a value\n"
			   "queue = 0x1f\n"
			   "\tdeadline\t=\t1500ms\n"
			   "spool = 1G\n"
			   "name = \" a \\\"b\\\" \\\\ # c \"  # quoted\n"
			   "state = /a b/c#d\n"
			   "mode = enforce\n"
			   "host = 5f0c1d2e-0000-4000-8000-00000000000a\n"
			   "controller = tcp://192.0.2.1:7400\n"
			   "controller = tcp://192.0.2.2:7400\n"
			   "skip =\n";

static void test_values(void)
{
	struct sample conf;
	char text[PR_UUID_TEXT_BYTES];

	ok(load(&conf, full) == PR_OK, "every type: %s", error.text);
	ok(!conf.enabled && conf.queue == 31 && conf.mode == 1, "bool, hexadecimal, enum");
	ok(conf.deadline_ns == 1500000000 && conf.spool_bytes == 1 << 30, "duration, size");
	ok(conf.name != NULL && strcmp(conf.name, " a \"b\" \\ # c ") == 0, "quoted text");
	ok(conf.state != NULL && strcmp(conf.state, "/a b/c#d") == 0,
	   "'#' inside a word is no comment");
	ok(strcmp(pr_uuid_format(&conf.host, text), "5f0c1d2e-0000-4000-8000-00000000000a") == 0,
	   "UUID");
	ok(conf.controllers.count == 2 &&
	           strcmp(conf.controllers.items[1], "tcp://192.0.2.2:7400") == 0,
	   "a list in order");
	ok(conf.skip.count == 0, "a list emptied");
	pr_conf_done(rows, COUNT, &conf);
	ok(load(&conf, "controller = a\nmode = enforce") == PR_OK && conf.mode == 1,
	   "the last line needs no end");
	pr_conf_done(rows, COUNT, &conf);
}

struct refusal {
	const char *text; /* before it stands: controller = a */
	size_t line;
	const char *reason;
};

static void test_refusals(void)
{
	static const struct refusal cases[] = {
		{ "qeue = 1", 2, "unknown name 'qeue': did you mean 'queue'?" },
		{ "colour = red", 2, "unknown name 'colour': --sample-config lists the names" },
		{ "a\xe2\x80\xae = 1", 2,
		  "unknown name 'a\\u{202e}': --sample-config lists the names" },
		{ "Queue = 1", 2, "unknown name 'Queue': did you mean 'queue'?" },
		{ "= 1", 2, "unknown name '': --sample-config lists the names" },
		{ "\n\nqueue", 4, "not of the form: name = value" },
		{ "[section]", 2, "not of the form: name = value" },
		{ "queue =", 2, "queue: needs a value" },
		{ "queue = # none", 2, "queue: needs a value" },
		{ "queue = 1\nqueue = 2", 3, "queue: given twice, first in line 2" },
		{ "queue = x", 2, "queue: 'x' is not a whole number" },
		{ "queue = 1.5", 2, "queue: '1.5' is not a whole number" },
		{ "queue = -1", 2, "queue: '-1' is not a whole number" },
		{ "queue = 0x", 2, "queue: '0x' is not a whole number" },
		{ "queue = 7 7", 2, "queue: '7 7' is not a whole number" },
		{ "queue = 18446744073709551616", 2,
		  "queue: '18446744073709551616' is not a whole number" },
		{ "queue = 0", 2, "queue: '0' is out of bounds: 1 to 65535" },
		{ "queue = 65536", 2, "queue: '65536' is out of bounds: 1 to 65535" },
		{ "deadline = 5", 2,
		  "deadline: '5' is not a duration: a whole number and one of ns, us, ms, s, m, h, "
		  "d" },
		{ "deadline = 5 s", 2,
		  "deadline: '5 s' is not a duration: a whole number and one of ns, us, ms, s, m, "
		  "h, d" },
		{ "deadline = 61s", 2, "deadline: '61s' is out of bounds: 1ms to 1m" },
		{ "deadline = 999999999999d", 2,
		  "deadline: '999999999999d' is out of bounds: 1ms to 1m" },
		{ "spool = 64X", 2,
		  "spool: '64X' is not a size: a whole number of bytes, or with one of K, M, G, "
		  "T" },
		{ "spool = 1K", 2, "spool: '1K' is out of bounds: 4K or more" },
		{ "spool = 99999999999T", 2, "spool: '99999999999T' is out of bounds: 4K or more" },
		{ "enabled = true", 2, "enabled: 'true' is neither yes nor no" },
		{ "mode = deny", 2, "mode: 'deny' is not one of: observe, enforce" },
		{ "host = 5f0c", 2, "host: '5f0c' is not a UUID" },
		{ "state = var/lib", 2, "state: 'var/lib' is not an absolute path" },
		{ "key = ../key", 2, "key: '../key' is not an absolute path" },
		{ "name = \"a", 2, "the quote is not closed, or text follows it" },
		{ "name = \"a\" b", 2, "the quote is not closed, or text follows it" },
		{ "name = a\x01", 2, "control character \\x01 in column 9" },
		{ "name = a\r", 2, "control character \\x0d in column 9" },
		{ "controller = b\ncontroller = c\ncontroller = d", 4,
		  "controller: given 4 times, allowed are 1 to 3" },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		struct sample conf;
		char text[512];
		char wanted[512];
		(void)snprintf(text, sizeof(text), "controller = a\n%s\n", cases[i].text);
		(void)snprintf(wanted, sizeof(wanted), "%s:%zu: %s", conf_path, cases[i].line,
		               cases[i].reason);
		int ret = load(&conf, text);
		ok(ret == PR_ECONF && strcmp(error.text, wanted) == 0, "refused: %s",
		   cases[i].reason);
		if (strcmp(error.text, wanted) != 0) {
			printf("# got: %s\n", error.text);
		}
		pr_conf_done(rows, COUNT, &conf);
	}
}

static void test_files(void)
{
	static char long_line[5000];
	struct sample conf = { 0 };

	ok(load_bytes(&conf, "controller = a\nname = a\0b\n", 26) == PR_ECONF &&
	           strstr(error.text, ":2: control character \\x00 in column 9") != NULL,
	   "a NUL byte: %s", error.text);
	pr_conf_done(rows, COUNT, &conf);
	memset(long_line, 'a', sizeof(long_line) - 1);
	ok(load(&conf, long_line) == PR_ECONF && strstr(error.text, ":1: longer than") != NULL,
	   "a long line: %s", error.text);
	pr_conf_done(rows, COUNT, &conf);
	ok(load(&conf, "") == PR_ECONF && strstr(error.text, "controller is required") != NULL,
	   "an empty file: %s", error.text);
	pr_conf_done(rows, COUNT, &conf);
	ok(pr_conf_load(rows, COUNT, "/nonexistent/x.conf", &conf, &error) == PR_ECONF &&
	           strncmp(error.text, "/nonexistent/x.conf: cannot open: ", 34) == 0,
	   "no such file: %s", error.text);
	pr_conf_done(rows, COUNT, &conf);
	ok(pr_conf_load(rows, COUNT, folder, &conf, &error) == PR_ECONF &&
	           strstr(error.text, "cannot read: ") != NULL,
	   "a folder: %s", error.text);
	pr_conf_done(rows, COUNT, &conf);
}

static void expect_key(const char *path, int wanted, const char *reason)
{
	struct sample conf;
	char text[256];

	(void)snprintf(text, sizeof(text), "controller = a\n\nkey = %s\n", path);
	int ret = load(&conf, text);
	ok(ret == wanted, "key file %s: %s", path, ret == PR_OK ? "good" : error.text);
	if (wanted != PR_OK) {
		ok(strstr(error.text, ":3: key: key file '") != NULL &&
		           strstr(error.text, reason) != NULL,
		   "said with line and reason: %s", reason);
	}
	pr_conf_done(rows, COUNT, &conf);
}

static void test_key_files(void)
{
	static const mode_t open_modes[] = { 0604, 0640, 0620, 0602, 0700, 0644, 0777 };
	char key[64];
	char link_path[64];

	(void)snprintf(key, sizeof(key), "%s/key", folder);
	(void)snprintf(link_path, sizeof(link_path), "%s/link", folder);
	expect_key(key, PR_EKEYFILE, "does not exist");
	write_file(key, "secret\n", 7, 0600);
	expect_key(key, PR_OK, "");
	(void)chmod(key, 0400);
	expect_key(key, PR_OK, "");
	for (size_t i = 0; i < PR_ARRAY_LEN(open_modes); i++) {
		char reason[64];
		(void)snprintf(reason, sizeof(reason), "has mode %04o: run chmod 0600 on it",
		               open_modes[i]);
		(void)chmod(key, open_modes[i]);
		expect_key(key, PR_EKEYFILE, reason);
	}
	(void)chmod(key, 0600);
	ok(symlink(key, link_path) == 0, "made a symbolic link");
	expect_key(link_path, PR_EKEYFILE, "is a symbolic link");
	(void)unlink(link_path);
	expect_key(folder, PR_EKEYFILE, "is not a regular file");
	ok(mkfifo(link_path, 0600) == 0, "made a FIFO, which must not hold us");
	expect_key(link_path, PR_EKEYFILE, "is not a regular file");
	(void)unlink(link_path);
	if (geteuid() == 0) {
		ok(chown(key, 12345, 0) == 0, "gave the key away");
		expect_key(key, PR_EKEYFILE, "belongs to uid 12345, not to us (uid 0)");
	} else {
		skip("a key of another owner needs root to make");
	}
	(void)unlink(key);
}

static char *printed(const struct sample *conf, bool sample)
{
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);

	if (sample) {
		pr_conf_sample(rows, COUNT, "portreeve-test", out);
	} else {
		pr_conf_dump(rows, COUNT, conf, out);
	}
	(void)fclose(out);
	return text;
}

static void expect_dump_round_trip(const char *text)
{
	struct sample conf;
	struct sample again;

	ok(load(&conf, text) == PR_OK, "loads: %s", error.text);
	char *first = printed(&conf, false);
	ok(load(&again, first) == PR_OK, "its dump loads: %s", error.text);
	char *second = printed(&again, false);
	ok(strcmp(first, second) == 0, "and dumps the same:\n# %.60s...", first);
	free(first);
	free(second);
	pr_conf_done(rows, COUNT, &conf);
	pr_conf_done(rows, COUNT, &again);
}

static void test_dump(void)
{
	struct sample conf;

	expect_dump_round_trip(full);
	expect_dump_round_trip("controller = a\n");
	expect_dump_round_trip("controller = \"\"\nname = \"#\"\nspool = 4097\n");
	ok(load(&conf, full) == PR_OK, "loads");
	char *text = printed(&conf, false);
	ok(strstr(text, "deadline = 1500ms\n") != NULL && strstr(text, "spool = 1G\n") != NULL &&
	           strstr(text, "mode = enforce\n") != NULL && strstr(text, "skip =\n") != NULL &&
	           strstr(text, "name = \" a \\\"b\\\" \\\\ # c \"\n") != NULL &&
	           strstr(text, "key =\n") != NULL,
	   "units, words, quotes and none");
	free(text);
	pr_conf_done(rows, COUNT, &conf);
}

/* A sample with every setting made active (required ones given a value) loads. */
static void test_sample(void)
{
	struct sample conf = { 0 };
	char *text = printed(&conf, true);
	ok(load(&conf, text) == PR_ECONF && strstr(error.text, "controller is required") != NULL,
	   "as it is, it says nothing but what is required");
	pr_conf_done(rows, COUNT, &conf);
	ok(strstr(text, "# First queue number.\n# number, 1 to 65535\n#queue = 7000\n") != NULL,
	   "doc, bounds and default");
	ok(strstr(text, "# one of observe, enforce\n") != NULL &&
	           strstr(text, "#skip = lo\n#skip = docker0\n") != NULL &&
	           strstr(text, "required\n#controller =\n") != NULL,
	   "choices, list items, required");
	for (char *at = text; (at = strstr(at, "\n#")) != NULL; at++) {
		if (at[2] != ' ') {
			at[1] = ' ';
		}
	}
	char *whole = NULL;
	ok(asprintf(&whole, "controller = a\n%s", text) > 0 && load(&conf, whole) == PR_OK,
	   "with every comment sign taken off it loads: %s", error.text);
	ok(conf.queue == 7000 && conf.skip.count == 2, "with the defaults");
	pr_conf_done(rows, COUNT, &conf);
	free(whole);
	free(text);
}

int main(void)
{
	if (mkdtemp(folder) == NULL) {
		ok(false, "cannot make %s", folder);
		return tap_done();
	}
	(void)snprintf(conf_path, sizeof(conf_path), "%s/x.conf", folder);
	test_defaults();
	test_values();
	test_refusals();
	test_files();
	test_key_files();
	test_dump();
	test_sample();
	(void)unlink(conf_path);
	(void)rmdir(folder);
	return tap_done();
}
