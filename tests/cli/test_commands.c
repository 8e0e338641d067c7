/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The real program against a fake controller and recorder on the real bus: answers, exit statuses,
 * time limits, following. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"
#include "tests/cli/fake.h"
#include "tests/tap.h"

#define TEXT_BYTES 65536

static char folder[] = "/tmp/portreeve-test-XXXXXX";
static char config_path[64], program[4096];
static char out_text[TEXT_BYTES], err_text[TEXT_BYTES];

static int path_open(const char *name, int flags)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

static void text_read(const char *name, char *text)
{
	int fd = path_open(name, O_RDONLY);
	ssize_t got = fd >= 0 ? read(fd, text, TEXT_BYTES - 1) : 0;

	text[got > 0 ? got : 0] = '\0';
	if (fd >= 0) {
		close(fd);
	}
}

/* Start the program; @p out_fd -1: into the file "out". */
static pid_t program_start(const char *const *words, int out_fd)
{
	const char *argv[32] = { program, "--config", config_path };
	size_t count = 3;
	pid_t pid;

	while (*words != NULL && count < 31) {
		argv[count++] = *words++;
	}
	pid = fork();
	if (pid == 0) {
		int err_fd = path_open("err", O_WRONLY | O_CREAT | O_TRUNC);
		out_fd = out_fd >= 0 ? out_fd : path_open("out", O_WRONLY | O_CREAT | O_TRUNC);
		if (dup2(out_fd, STDOUT_FILENO) < 0 || dup2(err_fd, STDERR_FILENO) < 0) {
			_exit(99);
		}
		(void)execv(program, (char *const *)(uintptr_t)argv);
		_exit(99);
	}
	return pid;
}

static int program_wait(pid_t pid)
{
	int status = 0;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
		return 98;
	}
	text_read("out", out_text);
	text_read("err", err_text);
	return WEXITSTATUS(status);
}

#define RUN(...) program_wait(program_start((const char *const[]){ __VA_ARGS__, NULL }, -1))

static bool config_write(const struct fake *fake)
{
	char key_path[64], server[BUS_KEY_TEXT_BYTES], authority[BUS_KEY_TEXT_BYTES];
	int fd;

	(void)snprintf(key_path, sizeof(key_path), "%s/key", folder);
	(void)snprintf(config_path, sizeof(config_path), "%s/cli.conf", folder);
	fd = open(config_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || (access(key_path, F_OK) != 0 &&
	               bus_key_save(key_path, &fake->client, &fake->client_key) < 0)) {
		return false;
	}
	dprintf(fd,
	        "key = \"%s\"\ncontroller = tcp://127.0.0.1:%u\ncontroller_key = \"%s\"\n"
	        "authority_key = \"%s\"\ntimeout = 1s\n",
	        key_path, fake->controller_port,
	        bus_key_format(fake->controller_key.public_key, server),
	        bus_key_format(fake->authority.public_key, authority));
	return close(fd) == 0;
}

/* ---- answers ---- */

static unsigned lines_of(const char *text)
{
	unsigned count = 0;

	for (; *text != '\0'; text++) {
		count += *text == '\n';
	}
	return count;
}

static void test_reads(void)
{
	ok(RUN("status") == 0 && strstr(out_text, "1 host (1 active), 1 container,") != NULL &&
	           strstr(out_text, "controller  revision  42") != NULL &&
	           strstr(out_text, "recorder    rss       3.0 MiB") != NULL,
	   "status: counts, controller, recorder");
	ok(RUN("status", "--json") == 0 &&
	           strcmp(out_text, "{\"service\":\"controller\",\"facts\":{\"revision\":42,"
	                            "\"rss_bytes\":3145728,\"state\":\"all is well\"}}\n"
	                            "{\"service\":\"recorder\",\"facts\":{\"revision\":42,"
	                            "\"rss_bytes\":3145728,\"state\":\"all is well\"}}\n") == 0,
	   "status --json: an object a service, numbers as numbers");
	ok(RUN("hosts") == 0 && strstr(out_text, "\ndockersrv ") < strstr(out_text, "\napache(C) "),
	   "hosts: a host stands in front of its containers");
	ok(RUN("hosts", "APA", "--json") == 0 && strstr(out_text, "\"name\":\"apache\"") != NULL &&
	           strstr(out_text, "\"kind\":\"host\"") == NULL,
	   "hosts WORD filters");
	ok(RUN("hosts", "xyz") == 3 && out_text[0] == '\0', "hosts WORD that fits nothing: 3");
	ok(RUN("show", "apache") == 0 && strstr(out_text, "Name           apache(C)\n") != NULL,
	   "show");
	ok(RUN("show", "nobody") == 3 && strstr(err_text, "no endpoint is called") != NULL,
	   "not found: 3");
	ok(RUN("show", "two") == 2 && strstr(err_text, "  a detail\\x1b[2J") != NULL,
	   "ambiguous: 2, with the candidates, escaped");
	ok(RUN("policy", "export") == 0 &&
	           strcmp(out_text, "mode observe default\n# \033[2J\n") == 0 &&
	           err_text[0] == '\0',
	   "policy export into a file is exact");
	ok(RUN("policy", "show", "7", "--json") == 0 &&
	           strstr(out_text, "{\"revision\":7,\"draft\":false,") == out_text,
	   "policy show REVISION --json");
	ok(RUN("policy", "list", "9") == 0 && strncmp(out_text, "RULE  ACTION  USER ", 19) == 0 &&
	           lines_of(out_text) == 4 && strstr(out_text, "\n10    allow   -") != NULL &&
	           strstr(out_text, "/usr/sbin/apache2 > /usr/sbin/mariadbd  enabled") != NULL &&
	           strstr(out_text, "deny    7 ") != NULL && strstr(out_text, "expired") != NULL &&
	           strstr(out_text, "=HYPERLINK") != NULL,
	   "policy list: %s", out_text);
	ok(RUN("policy", "list", "9", "--json") == 0 && lines_of(out_text) == 3 &&
	           strstr(out_text, "{\"rule\":10,\"action\":\"allow\",\"user\":null,") ==
	                   out_text &&
	           strstr(out_text, "\"service\":\"tcp/22,2200-2299\"") != NULL &&
	           strstr(out_text, "\"status\":\"disabled\"") != NULL,
	   "policy list --json: %s", out_text);
	ok(RUN("policy", "list") == 1 && strstr(err_text, "policy export") != NULL,
	   "a policy that this version cannot read is said: %s", err_text);
	ok(RUN("policy", "log") == 0 && strstr(out_text, "\n42 ") < strstr(out_text, "\n41 "),
	   "policy log");
}

static void test_changes(void)
{
	int fd = path_open("policy", O_WRONLY | O_CREAT | O_TRUNC);
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/policy", folder);
	dprintf(fd, "mode observe default\nrule 10 alow from any to any any\n");
	close(fd);
	ok(RUN("policy", "import", path) == 1 && strstr(err_text, "/policy:2:9: ") != NULL &&
	           out_text[0] == '\0',
	   "a policy with an error: file, line and column, 1");
	fd = path_open("policy", O_WRONLY | O_CREAT | O_TRUNC);
	dprintf(fd, "mode observe default\n");
	close(fd);
	ok(RUN("policy", "import", path) == 0 && strcmp(out_text, "imported\n") == 0, "import");
	ok(RUN("policy", "commit", path) == 2 && strstr(err_text, "-m") != NULL,
	   "a commit without a reason: 2");
	ok(RUN("policy", "commit", "-m", "why", path) == 5 &&
	           strstr(err_text, "somebody committed meanwhile") != NULL,
	   "a conflict: 5");
	ok(RUN("policy", "commit", "-m", "why", "--force", "--json") == 0 &&
	           strcmp(out_text, "{\"ok\":true,\"text\":null,\"revision\":43}\n") == 0,
	   "a commit with --force --json");
	ok(RUN("mode", "enforce", "default") == 0 &&
	           strcmp(out_text, "mode enforce of default\n") == 0,
	   "mode enforce default");
	ok(RUN("mode", "web", "enforce") == 0 && strcmp(out_text, "mode enforce of web\n") == 0,
	   "mode web enforce");
	ok(RUN("mode", "web", "learn") == 2, "a mode that is none: 2");
	ok(RUN("enroll") == 4 && strstr(err_text, "role viewer") != NULL,
	   "refused by role, without an id: 4");
	ok(RUN("enroll", "--role", "king") == 2, "a role that is none: 2");
	ok(RUN("policy", "show", "/nonexistent") == 2, "a revision that is none: 2");
	ok(RUN("policy", "check", "/nonexistent") == 1, "a file that is none: 1");
}

static void test_drafts(void)
{
	ok(RUN("policy", "add", "allow", "from", "any", "to", "web", "tcp/80", "comment",
	       "a \"b\" \\") == 0 &&
	           strcmp(out_text, "add|allow from any to web tcp/80 comment "
	                            "\"a \\\"b\\\" \\\\\"|0|0\n") == 0,
	   "policy add: words with blanks go in quotes: %s", out_text);
	ok(RUN("policy", "add", "rule 5 allow from any to any any comment \"x y\"") == 0 &&
	           strcmp(out_text, "add|rule 5 allow from any to any any comment \"x y\"|0|0\n") ==
	                   0,
	   "one word is the line as it is");
	ok(RUN("policy", "rm", "5", "6") == 0 && strcmp(out_text, "rm||5|0\nrm||6|0\n") == 0,
	   "policy rm, twice");
	ok(RUN("policy", "rm", "five") == 2, "a number that is none: 2");
	ok(RUN("policy", "rm", "group", "web") == 0 && strcmp(out_text, "rm-group|web|0|0\n") == 0,
	   "policy rm group");
	ok(RUN("policy", "mv", "5", "7") == 0 && strcmp(out_text, "mv||5|7\n") == 0, "policy mv");
	ok(RUN("policy", "disable", "5") == 0 && strcmp(out_text, "disable||5|0\n") == 0,
	   "policy disable");
	ok(RUN("group", "create", "web", "select", "name", "w*") == 0 &&
	           strcmp(out_text, "add|group web select name w*|0|0\n") == 0,
	   "group create");
	ok(RUN("usergroup", "create", "ops", "member", "ana,", "ben") == 0 &&
	           strcmp(out_text, "add|usergroup ops member ana, ben|0|0\n") == 0,
	   "usergroup create: %s", out_text);
	ok(RUN("policy", "rm", "usergroup", "ops") == 0 &&
	           strcmp(out_text, "rm-usergroup|ops|0|0\n") == 0,
	   "policy rm usergroup");
	ok(RUN("policy", "rm", "usergroup") == 2, "without a name: 2");
	ok(RUN("policy", "diff") == 0 &&
	           strstr(out_text, "--- revision 41\n+++ draft\n") == out_text &&
	           strstr(out_text, "\n-# \\x1b[2J\n+# draft\n") != NULL,
	   "policy diff, escaped: %s", out_text);
	ok(RUN("policy", "commit", "-m", "why") == 5 && strstr(out_text, "+++ draft") != NULL,
	   "a conflict shows both sides");
	ok(RUN("policy", "commit", "-m", "why", "--confirm-within", "soon") == 2,
	   "a time that is none: 2");
	ok(RUN("policy", "import", "/dev/null", "--base", "x") == 2, "a base that is none: 2");
	ok(RUN("policy", "discard") == 0 && strstr(out_text, " --base 41") != NULL,
	   "policy discard: %s", out_text);
	const char *kept = strstr(out_text, "/tmp/portreeve-");
	char path[64];
	ok(kept != NULL && sscanf(kept, "%63s", path) == 1 && unlink(path) == 0,
	   "and its copy is there");
}

static void test_edit(void)
{
	char editor[64], *kept;

	(void)snprintf(editor, sizeof(editor), "%s/editor", folder);
	int fd = path_open("editor", O_WRONLY | O_CREAT | O_TRUNC);
	dprintf(fd, "#!/bin/sh\necho '# edited' >>\"$1\"\n");
	close(fd);
	(void)chmod(editor, 0700);
	(void)setenv("VISUAL", editor, 1);
	ok(RUN("policy", "edit") == 0 && strstr(out_text, "+# edited\n") != NULL &&
	           strstr(out_text, "imported\n") != NULL,
	   "policy edit: %s", out_text);
	(void)setenv("VISUAL", "true", 1);
	ok(RUN("policy", "edit") == 0 && out_text[0] == '\0' &&
	           strstr(err_text, "nothing was changed") != NULL,
	   "an editor that changes nothing");
	(void)setenv("VISUAL", "false", 1);
	ok(RUN("policy", "edit") == 1 && strstr(err_text, "status 1") != NULL,
	   "an editor that fails: 1");
	kept = strstr(err_text, "/tmp/portreeve-");
	if (kept != NULL) {
		kept[strcspn(kept, "\n")] = '\0';
		(void)unlink(kept);
	}
	(void)unsetenv("VISUAL");
}

static void test_questions(void)
{
	ok(RUN("explain", "a", "b", "tcp/1") == 10 &&
	           strstr(out_text, "rule 10 allow \\x1b[2J\n     no: another source, port\n"
	                            "     user ana is in @ops\\x1b[2J\n") != NULL &&
	           strstr(out_text, "in observe it passes all the same") != NULL,
	   "explain, denied: 10: %s", out_text);
	ok(RUN("explain", "a", "b", "tcp/1", "--process", "allowed", "--json") == 0 &&
	           strstr(out_text, "{\"verdict\":\"allowed\",\"rule\":null") == out_text &&
	           strstr(out_text, "\\u001B[2J") != NULL,
	   "allowed: 0, exact in JSON: %s", out_text);
	ok(RUN("explain", "a", "b", "tcp/1", "--process", "depends") == 10 &&
	           strstr(out_text, "--process") != NULL,
	   "depends: 10, and on what");
	ok(RUN("explain", "a", "b") == 2, "a service is missing: 2");
	ok(RUN("reach", "--to", "db_1") == 0 && strstr(out_text, "=cmd\\x1b[2J") != NULL &&
	           strstr(out_text, "user ana") != NULL,
	   "reach, hostile names inert: %s", out_text);
	ok(RUN("reach", "--to", "db_1", "--json") == 0 &&
	           strstr(out_text, "\"src\":\"=cmd\\u001B[2J\"") != NULL,
	   "exact in JSON");
	ok(RUN("reach") == 2, "nobody is named: 2");
	ok(RUN("audit") == 0 && strstr(out_text, "because\\x1b[2J") != NULL &&
	           strstr(out_text, "portreeve policy rollback 6") != NULL,
	   "audit: %s", out_text);
	ok(RUN("audit", "--json") == 0 && strstr(out_text, "{\"number\":7,") == out_text,
	   "in JSON");
	ok(RUN("audit", "-n", "x") == 2, "a limit that is none: 2");
	ok(RUN("group", "list") == 0 && strstr(out_text, "web    3        2      default") != NULL,
	   "group list: %s", out_text);
	ok(RUN("group", "list", "--json") == 0 &&
	           strstr(out_text, "\"lines\":[\"group web select name web*\"]") != NULL,
	   "in JSON");
	ok(RUN("usergroup", "list") == 0 &&
	           strstr(out_text, "@ops       2        2      usergroup ops member") != NULL,
	   "usergroup list: %s", out_text);
	ok(RUN("usergroup", "members", "ops") == 0 &&
	           strcmp(out_text, "USER        LINE\nana\\x1b[2J  3\n1000        4\n") == 0,
	   "usergroup members, hostile names inert: %s", out_text);
	ok(RUN("usergroup", "members", "@empty") == 0 && strstr(err_text, "no members") == NULL &&
	           RUN("usergroup", "members", "empty") == 0 &&
	           strstr(err_text, "no members") != NULL,
	   "an empty one is said");
	ok(RUN("usergroup", "members", "ops", "--json") == 0 &&
	           strstr(out_text, "\"members\":[{\"user\":\"ana\\u001B[2J\",\"line\":3},") !=
	                   NULL,
	   "exact in JSON: %s", out_text);
}

static void test_tables(void)
{
	size_t count, missing = 0;
	const struct cli_command *commands = cli_commands(&count);
	char usage[128], wanted[160];

	ok(RUN("help") == 0 &&
	           strstr(out_text, "\nWrite policy, and ask it\n  policy check FILE") != NULL,
	   "help, by what one wants");
	for (size_t i = 0; i < count; i++) {
		cli_usage_format(&commands[i], usage, sizeof(usage));
		(void)snprintf(wanted, sizeof(wanted), "\n  %s ", usage);
		missing += strstr(out_text, wanted) == NULL;
	}
	ok(missing == 0, "every command is in it");
	ok(RUN("help", "--man") == 0 && strstr(out_text, ".TH PORTREEVE 1 ") != NULL &&
	           strstr(out_text, ".SH EXAMPLES") < strstr(out_text, ".SH OPTIONS") &&
	           strstr(out_text, "\\-\\-confirm\\-within TIME") != NULL,
	   "the manual page, examples first");
	ok(RUN("completion", "bash") == 0 &&
	           strstr(out_text, "policy) words='check list show edit") != NULL &&
	           strstr(out_text, "complete -F _portreeve portreeve") != NULL,
	   "completion");
}

static void test_events(void)
{
	ok(RUN("events") == 0 && lines_of(out_text) == 4 &&
	           strstr(err_text, "-- 1204 events not shown") != NULL &&
	           strstr(err_text, "3 events, older ones match too") != NULL,
	   "events: a table, losses and the rest said on stderr");
	ok(RUN("events", "--json", "--denied", "name:web") == 0 && lines_of(out_text) == 3 &&
	           strstr(out_text, "{\"id\":\"5f0cbf16-") == out_text &&
	           strstr(err_text, "older") == NULL,
	   "events --json --denied: an object a line, the query put together");
	ok(RUN("events", "prt:7") == 2 && strstr(err_text, "did you mean \"port\"") != NULL &&
	           strstr(err_text, "at 1") != NULL,
	   "a query error has a place and a suggestion");
	ok(RUN("events", "--since", "soon") == 2, "a time that is none: 2");
}

static void test_users(void)
{
	ok(RUN("users") == 0 && strstr(out_text, "\nana ") != NULL &&
	           strstr(out_text, "\nana ") < strstr(out_text, "\n=www") &&
	           strstr(out_text, "apache(C)  dockersrv  7            2 ") != NULL,
	   "users: newest first, with place and counts: %s", out_text);
	ok(strchr(out_text, '\033') == NULL && strstr(out_text, "\xe2\x80\xae") == NULL &&
	           strstr(out_text, "\\x1b[2J") != NULL,
	   "hostile names are inert");
	ok(strstr(out_text, "\nSessions\nUSER ") != NULL &&
	           strstr(out_text, "ana             dockersrv  pts/0  192.0.2.7  4711") != NULL &&
	           strstr(err_text, "sessions on dockersrv: 3 more are left out") != NULL,
	   "who is logged in, and what the host does not tell: %s", err_text);
	ok(RUN("users", "ana") == 0 && strstr(out_text, "\nPrograms\n") != NULL &&
	           strstr(out_text, "/usr/bin/cu rl ") != NULL &&
	           strstr(out_text, "\nLast connections\n") != NULL &&
	           strstr(out_text, "4711") != NULL && strstr(out_text, "4712") == NULL,
	   "one user: programs, connections, his own sessions");
	ok(RUN("users", "--json") == 0 &&
	           strstr(out_text, "{\"type\":\"seen\",\"uid\":1000,\"user\":\"ana\",") ==
	                   out_text &&
	           strstr(out_text, "\"user\":\"=www\xe2\x80\xae\\u001B[2J\"") != NULL &&
	           strstr(out_text,
	                  "\"user\":\"a b\\u001B[2J%FF\",\"line\":\"-\",\"from\":null,") != NULL &&
	           strstr(out_text, "{\"type\":\"sessions_lack\",\"host\":\"dockersrv\",") != NULL,
	   "in JSON, names exact: %s", out_text);
	ok(RUN("users", "ana", "--json", "-n", "1") == 0 &&
	           strstr(out_text, "\"type\":\"connection\"") != NULL && lines_of(out_text) == 5,
	   "one user in JSON: %s", out_text);
	ok(RUN("users", "nobody") == 3 && strstr(err_text, "no user 'nobody'") != NULL,
	   "one that was never seen: 3");
}

/* ---- when nobody answers ---- */

static void test_unreachable(struct fake *fake, pid_t controller)
{
	uint64_t start_ns = pr_clock_monotonic_ns(), took_ns;

	ok(RUN("show", "silence") == 6 &&
	           strstr(err_text, "has not answered within 1000 ms") != NULL &&
	           strstr(err_text, "may still come into force") != NULL,
	   "a controller that does not answer: 6, and what was asked may come true");
	took_ns = pr_clock_monotonic_ns() - start_ns;
	ok(took_ns >= PR_NS_PER_S && took_ns < 5 * PR_NS_PER_S, "after the time limit");
	kill(controller, SIGKILL);
	waitpid(controller, NULL, 0);
	ok(RUN("hosts") == 6 && out_text[0] == '\0', "no controller: 6");

	struct fake other = *fake;
	ok(bus_key_new(&other.client_key) == PR_OK && fake_controller_start(&other) > 0,
	   "a controller that does not know our key");
	ok(RUN("hosts") == 4 && strstr(err_text, "refuses the key") != NULL, "key refused: 4");
}

static void test_joined(void)
{
	ok(RUN("events", "--joined") == 0 && lines_of(out_text) == 4 &&
	           strstr(out_text, "macuser curl") != NULL &&
	           strstr(out_text, "mysql mariadbd") != NULL &&
	           strcmp(err_text, "3 connections\n") == 0,
	   "events --joined: a row a connection: %s", err_text);
	ok(RUN("events", "--joined", "--json") == 0 && lines_of(out_text) == 3 &&
	           strstr(out_text, "{\"connection\":\"00000000000000a0\",\"joined\":true") ==
	                   out_text,
	   "and as objects");
}

static const char tree[] =
	"mymacbook - macuser - curl[5123]\n"
	"`- tcp/8000  + ALLOWED  2026-11-23T23:24:05.123Z  00000000000000a0  #10\n"
	"   dockersrv - root - docker-proxy[812]\n"
	"   `- tcp/80  + ALLOWED  +1.3 ms, same process  00000000000000a1  #20\n"
	"      wordpress_apache_1(C) on dockersrv - root - apache2[33]\n"
	"      `- tcp/3306  + ALLOWED  +1.3 ms, same program  00000000000000a2  "
	"#30 Allow MySQL server\n"
	"         wordpress_db_1(C) on dockersrv - mysql - mariadbd[77]\n";

static bool out_is(const char *wanted)
{
	if (strcmp(out_text, wanted) != 0) {
		printf("# got\n%s# wanted\n%s", out_text, wanted);
		return false;
	}
	return true;
}

static void test_trace(void)
{
	ok(RUN("trace", "00000000000000a0") == 0 && out_is(tree),
	   "trace: from the client down to the database");
	ok(RUN("trace", "00000000000000a2") == 0 && out_is(tree),
	   "the same from the last connection up");
	ok(RUN("trace", "--json", "00000000000000a1") == 0 && lines_of(out_text) == 3 &&
	           strstr(out_text, "\"depth\":1,\"cause\":\"00000000000000a0\","
	                            "\"link\":\"same process\",\"one_of\":1,") != NULL,
	   "in JSON each names the one that led to it");
	ok(RUN("trace", "00000000000000ff") == 3 &&
	           strstr(err_text, "nothing recorded matches") != NULL,
	   "one that is not recorded: 3");
	ok(RUN("trace", "prt:7") == 2, "a wrong query: 2");
	ok(RUN("trace") == 2, "nothing: 2");
}

/* The recorder anew, with other connections. */
static void test_recorder_swap(struct fake *fake, pid_t *recorder, bool busy)
{
	(void)kill(*recorder, SIGKILL);
	(void)waitpid(*recorder, NULL, 0);
	fake->busy = busy;
	*recorder = fake_recorder_start(fake);
	ok(*recorder > 0, "another recorder");
}

/* A second visitor in the same moment: what cannot be known is said. */
static void test_trace_busy(void)
{
	ok(RUN("trace", "00000000000000a2") == 0 &&
	           strstr(out_text, "2 accepted connections may have led to this one:\n"
	                            "  ? dockersrv - root - docker-proxy[812]\n") == out_text &&
	           strstr(out_text,
	                  "\nwordpress_apache_1(C) on dockersrv - www-data - apache2[40]\n"
	                  "`- tcp/3306") != NULL,
	   "up: as far as it is certain, then what may be");
	ok(strchr(out_text, '\033') == NULL && strstr(out_text, "  ? evil\\x1b[2J") != NULL,
	   "names from elsewhere are shown inert");
	ok(RUN("trace", "00000000000000a0") == 0 &&
	           strstr(out_text, "tcp/80  + ALLOWED  +1.3 ms, same process, one of 2  "
	                            "00000000000000a1") != NULL &&
	           strstr(out_text, "tcp/3306  + ALLOWED  +1.3 ms, same program, one of 2") != NULL,
	   "down: one of two");
}

static void test_forged(struct fake *fake)
{
	struct fake other = *fake;
	pid_t pid;

	other.forged = true;
	other.controller_port = 0;
	pid = fake_controller_start(&other);
	ok(pid > 0 && config_write(&other), "a controller whose directory is not signed");
	ok(RUN("events") == 4 && strstr(err_text, "not signed") != NULL && out_text[0] == '\0',
	   "it is refused: 4");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	(void)config_write(fake);
}

/* ---- follow ---- */

struct reader {
	int fd;
	char text[TEXT_BYTES];
	size_t used;
};

/* Read until an event of this number came, 10 s at most. */
static bool follow_until(struct reader *reader, unsigned seq)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + 10 * PR_NS_PER_S;
	char wanted[32];

	(void)snprintf(wanted, sizeof(wanted), "\"seq\":%u,", seq);
	while (strstr(reader->text, wanted) == NULL && pr_clock_monotonic_ns() < end_ns) {
		struct pollfd fd = { .fd = reader->fd, .events = POLLIN };
		if (poll(&fd, 1, 200) > 0) {
			ssize_t got = read(reader->fd, reader->text + reader->used,
			                   sizeof(reader->text) - reader->used - 1);
			if (got <= 0) {
				return false;
			}
			reader->used += (size_t)got;
			reader->text[reader->used] = '\0';
		}
	}
	return strstr(reader->text, wanted) != NULL;
}

/* Every number once, without a hole, in order. */
static bool each_once(const char *text, unsigned *ret_count)
{
	unsigned seq = 0;

	for (const char *at = text; (at = strstr(at, "\"seq\":")) != NULL; at++) {
		if (strtoul(at + 6, NULL, 10) != ++seq) {
			return false;
		}
	}
	*ret_count = seq;
	return true;
}

static int ends_soon(pid_t pid)
{
	int status = 0;

	for (unsigned i = 0; i < 150; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
		}
		usleep(20000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 97;
}

static void test_follow_joined(void)
{
	static struct reader reader;
	int ends[2];

	if (!ok(pipe2(ends, O_CLOEXEC) == 0, "a pipe")) {
		return;
	}
	pid_t pid = program_start(
		(const char *const[]){ "events", "-f", "--joined", "--json", NULL }, ends[1]);
	close(ends[1]);
	reader.fd = ends[0];
	ok(follow_until(&reader, 5), "events -f --joined");
	kill(pid, SIGINT);
	ok(ends_soon(pid) == 0, "SIGINT ends it with 0");
	(void)follow_until(&reader, 1000); /* what is left in the pipe */
	unsigned count = lines_of(reader.text);
	ok(count == 3 && strstr(reader.text, "\"missing\":\"far end not seen\"") != NULL &&
	           strstr(reader.text, "\"missing\":null,\"late\":true") != NULL,
	   "a late end completes its row, and no row comes twice: %u", count);
	close(ends[0]);
}

static void test_follow(struct fake *fake, pid_t *recorder)
{
	static struct reader reader;
	unsigned count = 0;
	int ends[2];
	pid_t pid;

	if (!ok(pipe2(ends, O_CLOEXEC) == 0, "a pipe")) {
		return;
	}
	pid = program_start((const char *const[]){ "events", "-f", "--json", NULL }, ends[1]);
	close(ends[1]);
	reader.fd = ends[0];
	ok(follow_until(&reader, 6), "events -f: the first ones, then what comes");
	kill(*recorder, SIGKILL);
	waitpid(*recorder, NULL, 0);
	while (follow_until(&reader, 1) && each_once(reader.text, &count) &&
	       follow_until(&reader, count + 1) && count < 1000) {
		/* what still was under way */
		struct pollfd fd = { .fd = reader.fd, .events = POLLIN };
		if (poll(&fd, 1, 300) == 0) {
			break;
		}
	}
	(void)each_once(reader.text, &count);
	fake->first_seq = count > 2 ? count - 1 : 1; /* two that were shown already */
	*recorder = fake_recorder_start(fake);
	ok(*recorder > 0 && follow_until(&reader, count + 4),
	   "it goes on after a restart of the recorder");
	bool once = each_once(reader.text, &count);
	ok(once, "every event once, in order: %u", count);
	kill(pid, SIGINT);
	ok(ends_soon(pid) == 0, "SIGINT ends it with 0");
	text_read("err", err_text);
	ok(strstr(err_text, "is gone; waiting") != NULL && strstr(err_text, "is back") != NULL,
	   "the break is said on stderr");
	close(ends[0]);
}

static void test_broken_pipe(void)
{
	int ends[2];
	pid_t pid;

	if (!ok(pipe2(ends, O_CLOEXEC) == 0, "a pipe")) {
		return;
	}
	pid = program_start((const char *const[]){ "events", "-f", NULL }, ends[1]);
	close(ends[1]);
	usleep(500000);
	close(ends[0]);
	ok(ends_soon(pid) == 0, "events -f ends with 0 when nobody reads it any more");
}

int main(void)
{
	const char *builddir = getenv("builddir");
	static struct fake fake;
	pid_t controller, recorder;
	char command[128];

	(void)snprintf(program, sizeof(program), "%s/portreeve", builddir != NULL ? builddir : ".");
	setenv("TZ", "UTC", 1);
	setenv("LC_ALL", "C", 1);
	unsetenv("NO_COLOR");
	if (!ok(mkdtemp(folder) != NULL && fake_init(&fake), "a folder and keys")) {
		return tap_done();
	}
	recorder = fake_recorder_start(&fake);
	controller = fake_controller_start(&fake);
	ok(recorder > 0 && controller > 0 && config_write(&fake), "a controller and a recorder");
	test_reads();
	test_changes();
	test_drafts();
	test_edit();
	test_questions();
	test_tables();
	test_events();
	test_users();
	test_joined();
	test_trace();
	test_recorder_swap(&fake, &recorder, true);
	test_trace_busy();
	test_recorder_swap(&fake, &recorder, false);
	test_forged(&fake);
	test_follow_joined();
	test_follow(&fake, &recorder);
	test_broken_pipe();
	test_unreachable(&fake, controller);
	for (const char *const *name = (const char *const[]){ "out", "err", "key", "cli.conf",
	                                                      "policy", "editor", NULL };
	     *name != NULL; name++) {
		(void)snprintf(command, sizeof(command), "%s/%s", folder, *name);
		(void)unlink(command);
	}
	ok(rmdir(folder) == 0, "nothing is left behind");
	return tap_done();
}
