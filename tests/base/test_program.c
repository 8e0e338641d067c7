/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/program.h"
#include "tests/tap.h"

struct sample {
	uint64_t port;
	char *key;
};

static const struct pr_conf_row rows[] = {
	{ "port", PR_CONF_UINT, offsetof(struct sample, port), 1, 65535, "7400", NULL, NULL,
	  "Where to listen." },
	{ "key", PR_CONF_KEYFILE, offsetof(struct sample, key), 0, 0, "", NULL, NULL, "Key." },
};

static const char *arg_count;
static const char *arg_once;
static const struct pr_program_option options[] = {
	{ "count", "N", "how many", &arg_count },
	{ "once", NULL, "only once", &arg_once },
};

static const struct pr_program program = {
	.name = "portreeve-nobody",
	.summary = "A program of a test.",
	.rows = rows,
	.row_count = PR_ARRAY_LEN(rows),
	.options = options,
	.option_count = PR_ARRAY_LEN(options),
};

static char output[8192];

/* Run pr_program_start() with stdout and stderr going to @p output. */
static enum pr_program_next start(char **argv)
{
	struct sample conf = { 0 };
	char name[] = "/tmp/test_program.XXXXXX";
	int argc = 0;
	int fd = mkstemp(name);
	int out = dup(STDOUT_FILENO);
	int err = dup(STDERR_FILENO);

	while (argv[argc] != NULL) {
		argc++;
	}
	arg_count = NULL;
	arg_once = NULL;
	(void)fflush(stdout);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	enum pr_program_next next = pr_program_start(&program, argc, argv, &conf);
	(void)fflush(stdout);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(err, STDERR_FILENO);
	ssize_t length = pread(fd, output, sizeof(output) - 1, 0);
	output[length > 0 ? length : 0] = '\0';
	pr_conf_done(rows, PR_ARRAY_LEN(rows), &conf);
	(void)unlink(name);
	(void)close(fd);
	(void)close(out);
	(void)close(err);
	return next;
}

#define START(...) start((char *[]){ (char *)"p", ##__VA_ARGS__, NULL })
#define WORD(text) ((char *)(text))

static void test_options(void)
{
	ok(START() == PR_PROGRAM_RUN && output[0] == '\0', "no option: run, say nothing");
	ok(START(WORD("--count"), WORD("3"), WORD("--once")) == PR_PROGRAM_RUN &&
	           arg_count != NULL && strcmp(arg_count, "3") == 0 && arg_once != NULL,
	   "a program's own options");
	ok(START(WORD("--count=4")) == PR_PROGRAM_RUN && strcmp(arg_count, "4") == 0, "with '='");
	ok(START(WORD("--help")) == PR_PROGRAM_DONE &&
	           strstr(output, "Usage: portreeve-nobody [options]") != NULL &&
	           strstr(output, "--count N") != NULL && strstr(output, "--config FILE") != NULL,
	   "--help");
	ok(START(WORD("--version")) == PR_PROGRAM_DONE &&
	           strstr(output, "portreeve-nobody " PACKAGE_VERSION "\n") != NULL &&
	           strstr(output, "sanitizers") != NULL,
	   "--version says how it was built");
	ok(START(WORD("--sample-config")) == PR_PROGRAM_DONE &&
	           strstr(output, "#port = 7400\n") != NULL,
	   "--sample-config");
	ok(START(WORD("--dump-config")) == PR_PROGRAM_DONE &&
	           strcmp(output, "port = 7400\nkey =\n") == 0,
	   "--dump-config");
}

static void test_usage(void)
{
	ok(START(WORD("--conut")) == PR_PROGRAM_USAGE &&
	           strcmp(output, "portreeve-nobody: unknown option '--conut', see --help\n") == 0,
	   "unknown option");
	ok(START(WORD("--count")) == PR_PROGRAM_USAGE &&
	           strstr(output, "option needs a value: '--count'") != NULL,
	   "value missing");
	ok(START(WORD("--once=1")) == PR_PROGRAM_USAGE &&
	           strstr(output, "option takes no value: '--once=1'") != NULL,
	   "value too many");
	ok(START(WORD("here")) == PR_PROGRAM_USAGE &&
	           strstr(output, "unexpected argument 'here'") != NULL,
	   "argument");
	ok(START(WORD("-v")) == PR_PROGRAM_USAGE, "short option");
}

static void test_config(void)
{
	char name[] = "/tmp/test_program.XXXXXX";
	int fd = mkstemp(name);
	static const char text[] = "port = 1\nkey = /nonexistent/key\n";

	ok(START(WORD("--config"), WORD("/nonexistent/x")) == PR_PROGRAM_ERROR &&
	           strstr(output, "portreeve-nobody: /nonexistent/x: cannot open") != NULL,
	   "a file that is not there stops the start");
	ok(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "wrote a file");
	ok(START(WORD("--config"), name) == PR_PROGRAM_ERROR &&
	           strstr(output, ":2: key: key file '/nonexistent/key' does not exist") != NULL,
	   "so does a missing key file, named with its line");
	ok(START(WORD("--config"), name, WORD("--dump-config")) == PR_PROGRAM_DONE &&
	           strstr(output, "port = 1\nkey = /nonexistent/key\n") != NULL,
	   "which does not hinder the dump");
	mode_t mask = umask(077);
	ok(mask == 077, "files of ours are for us alone");
	(void)close(fd);
	(void)unlink(name);
}

static void test_signals(void)
{
	_cleanup_(pr_fd_close) int fd = pr_program_signals(false);
	struct signalfd_siginfo info;

	ok(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, "a descriptor, closed on exec");
	ok(read(fd, &info, sizeof(info)) < 0, "nothing yet, and it does not block");
	(void)raise(SIGTERM);
	ok(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGTERM,
	   "SIGTERM is read, not delivered");
	(void)raise(SIGHUP);
	ok(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGHUP, "SIGHUP");
	(void)raise(SIGPIPE);
	ok(read(fd, &info, sizeof(info)) < 0, "SIGPIPE is ignored");
}

static void test_notify(void)
{
	static const char name[] = "@portreeve-test-notify";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_(pr_fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	char path[64];
	char text[64] = "";

	(void)snprintf(path, sizeof(path), "%s-%d", name, (int)getpid());
	memcpy(address.sun_path + 1, path + 1, strlen(path) - 1);
	ok(fd >= 0 && bind(fd, (struct sockaddr *)&address,
	                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) == 0,
	   "a service manager listens");
	(void)unsetenv("NOTIFY_SOCKET");
	pr_program_notify("READY=1");
	ok(recv(fd, text, sizeof(text) - 1, 0) < 0, "not told without NOTIFY_SOCKET");
	(void)setenv("NOTIFY_SOCKET", path, 1);
	pr_program_notify("READY=1");
	ok(recv(fd, text, sizeof(text) - 1, 0) == 7 && strcmp(text, "READY=1") == 0, "told");
	(void)setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
	pr_program_notify("READY=1");
	(void)setenv("NOTIFY_SOCKET", "relative", 1);
	pr_program_notify("READY=1");
	ok(true, "nobody there is no harm");
}

int main(void)
{
	test_options();
	test_usage();
	test_config();
	test_signals();
	test_notify();
	return tap_done();
}
