/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/program.h"

#define CONFIG_FOLDER "/etc/portreeve"
#define NAME_PREFIX   "portreeve-"

/* What the common options asked for. */
struct request {
	const char *config;
	const char *help;
	const char *version;
	const char *dump;
	const char *sample;
	const char *man;
};

#define COMMON_OPTIONS 6

static void common_options(struct request *request,
                           struct pr_program_option options[static COMMON_OPTIONS])
{
	const struct pr_program_option common[COMMON_OPTIONS] = {
		{ "config", "FILE", "read the configuration from FILE", &request->config },
		{ "dump-config", NULL, "print every value in force and exit", &request->dump },
		{ "sample-config", NULL, "print a commented sample file and exit",
		  &request->sample },
		{ "man", NULL, "print the manual page and exit", &request->man },
		{ "version", NULL, "print the version and exit", &request->version },
		{ "help", NULL, "print this text and exit", &request->help },
	};
	memcpy(options, common, sizeof(common));
}

static void print_option(const struct pr_program_option *option)
{
	char left[48];

	(void)snprintf(left, sizeof(left), "--%s%s%s", option->name,
	               option->argument != NULL ? " " : "",
	               option->argument != NULL ? option->argument : "");
	(void)printf("  %-24s %s\n", left, option->doc);
}

static void print_help(const struct pr_program *program, const struct pr_program_option *common)
{
	(void)printf("Usage: %s [options]\n%s\n\nOptions:\n", program->name, program->summary);
	for (size_t i = 0; i < program->option_count; i++) {
		print_option(&program->options[i]);
	}
	for (size_t i = 0; i < COMMON_OPTIONS; i++) {
		print_option(&common[i]);
	}
}

static void man_option(const struct pr_program_option *option)
{
	char tag[64];

	(void)snprintf(tag, sizeof(tag), "--%s%s%s", option->name,
	               option->argument != NULL ? " " : "",
	               option->argument != NULL ? option->argument : "");
	pr_man_item(stdout, tag, option->doc);
}

static void print_man(const struct pr_program *program, const struct pr_program_option *common)
{
	char usage[96], path[96];
	const char *name = program->name;
	bool tool = strcmp(name, NAME_PREFIX "bench") == 0;

	(void)snprintf(usage, sizeof(usage), "%s%s [options]", name, tool ? " SUITE" : "");
	(void)snprintf(path, sizeof(path), CONFIG_FOLDER "/%s.conf", name + strlen(NAME_PREFIX));
	pr_man_begin(stdout, name, tool ? '1' : '8', program->summary);
	pr_man_synopsis(stdout, usage);
	pr_man_examples(stdout, program->examples, program->example_count);
	pr_man_section(stdout, "OPTIONS");
	for (size_t i = 0; i < program->option_count; i++) {
		man_option(&program->options[i]);
	}
	for (size_t i = 0; i < COMMON_OPTIONS; i++) {
		man_option(&common[i]);
	}
	pr_man_conf(stdout, program->rows, program->row_count, path);
	pr_man_section(stdout, "SEE ALSO");
	(void)fputs(".BR portreeve (1)\n", stdout);
}

/* Does @p word (without dashes) name this option? Sets the text after '=' or NULL. */
static bool names_option(const struct pr_program_option *option, const char *word,
                         const char **ret_argument)
{
	size_t length = strlen(option->name);

	if (strncmp(word, option->name, length) != 0 ||
	    (word[length] != '\0' && word[length] != '=')) {
		return false;
	}
	*ret_argument = word[length] == '=' ? word + length + 1 : NULL;
	return true;
}

static const struct pr_program_option *find_option(const struct pr_program_option *options,
                                                   size_t count, const char *word,
                                                   const char **ret_argument)
{
	for (size_t i = 0; i < count; i++) {
		if (names_option(&options[i], word, ret_argument)) {
			return &options[i];
		}
	}
	return NULL;
}

static int refuse_usage(const struct pr_program *program, const char *what, const char *word)
{
	(void)fprintf(stderr, "%s: %s '%s', see --help\n", program->name, what, word);
	return PR_EINVAL;
}

static int parse_options(const struct pr_program *program, const struct pr_program_option *common,
                         int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		const char *argument = NULL;
		if (strncmp(word, "--", 2) != 0) {
			return refuse_usage(program, "unexpected argument", word);
		}
		const struct pr_program_option *option =
			find_option(common, COMMON_OPTIONS, word + 2, &argument);
		if (option == NULL) {
			option = find_option(program->options, program->option_count, word + 2,
			                     &argument);
		}
		if (option == NULL) {
			return refuse_usage(program, "unknown option", word);
		}
		if (option->argument == NULL) {
			if (argument != NULL) {
				return refuse_usage(program, "option takes no value:", word);
			}
			*option->value = "";
			continue;
		}
		if (argument == NULL && i + 1 < argc) {
			argument = argv[++i];
		}
		if (argument == NULL) {
			return refuse_usage(program, "option needs a value:", word);
		}
		*option->value = argument;
	}
	return PR_OK;
}

/* Given on the command line, else the usual place if there is a file, else defaults only. */
static const char *config_path(const struct pr_program *program, const struct request *request,
                               char *path, size_t size_bytes)
{
	const char *name = program->name;
	size_t prefix = strlen(NAME_PREFIX);

	if (request->config != NULL) {
		return request->config;
	}
	if (strncmp(name, NAME_PREFIX, prefix) == 0) {
		name += prefix;
	}
	(void)snprintf(path, size_bytes, CONFIG_FOLDER "/%s.conf", name);
	return access(path, F_OK) == 0 ? path : NULL;
}

static enum pr_program_next load_config(const struct pr_program *program,
                                        const struct request *request, void *conf)
{
	struct pr_conf_error error = { "" };
	char path[256];
	int ret = pr_conf_load(program->rows, program->row_count,
	                       config_path(program, request, path, sizeof(path)), conf, &error);

	if (ret != PR_OK) {
		(void)fprintf(stderr, "%s: %s\n", program->name, error.text);
	}
	/* Key files are judged last: all values are there, and showing them starts nothing. */
	if (request->dump != NULL && (ret == PR_OK || ret == PR_EKEYFILE)) {
		pr_conf_dump(program->rows, program->row_count, conf, stdout);
		return PR_PROGRAM_DONE;
	}
	return ret == PR_OK ? PR_PROGRAM_RUN : PR_PROGRAM_ERROR;
}

enum pr_program_next pr_program_start(const struct pr_program *program, int argc, char **argv,
                                      void *conf)
{
	struct request request = { 0 };
	struct pr_program_option common[COMMON_OPTIONS];

	(void)umask(077);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	common_options(&request, common);
	if (parse_options(program, common, argc, argv) != PR_OK) {
		return PR_PROGRAM_USAGE;
	}
	if (request.help != NULL) {
		print_help(program, common);
		return PR_PROGRAM_DONE;
	}
	if (request.version != NULL) {
		(void)printf("%s %s\n%s\n", program->name, PACKAGE_VERSION, PR_CONFIGURE_SUMMARY);
		return PR_PROGRAM_DONE;
	}
	if (request.man != NULL) {
		print_man(program, common);
		return PR_PROGRAM_DONE;
	}
	if (request.sample != NULL) {
		pr_conf_sample(program->rows, program->row_count, program->name, stdout);
		return PR_PROGRAM_DONE;
	}
	return load_config(program, &request, conf);
}

int pr_program_signals(bool children)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	if (children) {
		(void)sigaddset(&set, SIGCHLD);
	}
	if (sigaction(SIGPIPE, &ignore, NULL) != 0) {
		return -errno;
	}
	int ret = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (ret != 0) {
		return -ret;
	}
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd >= 0 ? fd : -errno;
}

void pr_program_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (path == NULL || (path[0] != '/' && path[0] != '@')) {
		return;
	}
	size_t length = strlen(path);
	if (length >= sizeof(address.sun_path)) {
		return;
	}
	memcpy(address.sun_path, path, length);
	if (path[0] == '@') {
		address.sun_path[0] = '\0'; /* an abstract name */
	}
	_cleanup_(pr_fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return;
	}
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
	             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}
