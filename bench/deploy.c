/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/deploy.h"

#define START_MS    15000
#define POLL_MS     100
#define BRIDGE      "br0"
#define ROWS_A_READ 4096

static int fail(int error, const char *what, const struct deploy *deploy)
{
	(void)fprintf(stderr, "portreeve-bench: %s: %s; logs are in %s\n", what, pr_strerror(error),
	              stage_folder(deploy->stage));
	stage_keep(deploy->stage);
	return error;
}

static int file_write(const struct deploy *deploy, const char *name, const char *format, ...)
	_printf_(3, 4);

static int file_write(const struct deploy *deploy, const char *name, const char *format, ...)
{
	char path[2 * STAGE_PATH_BYTES];
	va_list args;

	(void)snprintf(path, sizeof(path), "%s/%s", stage_folder(deploy->stage), name);
	FILE *file = fopen(path, "we");
	if (file == NULL) {
		return PR_EIO;
	}
	va_start(args, format);
	(void)vfprintf(file, format, args);
	va_end(args);
	return fclose(file) == 0 ? PR_OK : PR_EIO;
}

/* `portreeve WORDS`, as the first administrator. */
static int cli(struct deploy *deploy, char *output, const char *words)
{
	return stage_shell(deploy->stage, DEPLOY_SPACE, output,
	                   "'%s/portreeve' --config '%s/cli/cli.conf' %s", stage_programs(),
	                   stage_folder(deploy->stage), words);
}

static int until(struct deploy *deploy, const char *words)
{
	struct timespec wait = { .tv_nsec = POLL_MS * PR_NS_PER_MS };

	for (int i = 0; i < START_MS / POLL_MS && !stage_interrupted(); i++) {
		if (cli(deploy, NULL, words) == PR_OK) {
			return PR_OK;
		}
		(void)nanosleep(&wait, NULL);
	}
	return PR_ETIMEOUT;
}

/* Join with a token for a role: the daemon reads it from its standard input. */
static int enroll(struct deploy *deploy, const char *space, const char *role, const char *name)
{
	char token[STAGE_OUTPUT_BYTES], words[128];
	const char *folder = stage_folder(deploy->stage);

	(void)snprintf(words, sizeof(words),
	               "enroll --role %s --name %s --json 2>/dev/null | "
	               "sed -n 's/.*\"token\": *\"\\([^\"]*\\)\".*/\\1/p'",
	               role, name);
	int ret = cli(deploy, token, words);
	if (ret != PR_OK) {
		return ret;
	}
	token[strcspn(token, "\n")] = '\0';
	return stage_shell(deploy->stage, space, NULL,
	                   "echo '%s' | '%s/portreeve-%s' --config '%s/%s.conf' --enroll -", token,
	                   stage_programs(), role, folder, name);
}

static pid_t daemon_start(struct deploy *deploy, const char *space, const char *program,
                          const char *name)
{
	return stage_spawn(deploy->stage, space, name,
	                   "exec '%s/portreeve-%s' --config '%s/%s.conf'", stage_programs(),
	                   program, stage_folder(deploy->stage), name);
}

static int recorder_start(struct deploy *deploy)
{
	int ret = file_write(deploy, "recorder.conf",
	                     "state_directory = %s/recorder\nlisten = tcp://0.0.0.0:7401\n"
	                     "map_size = 4G\n",
	                     stage_folder(deploy->stage));
	if (ret == PR_OK) {
		ret = enroll(deploy, DEPLOY_SPACE, "recorder", "recorder");
	}
	if (ret != PR_OK) {
		return fail(ret, "the recorder cannot join", deploy);
	}
	deploy->recorder = daemon_start(deploy, DEPLOY_SPACE, "recorder", "recorder");
	ret = until(deploy, "events -n 1");
	return ret == PR_OK ? PR_OK : fail(ret, "the recorder does not answer", deploy);
}

int deploy_init(stage_t *stage, struct deploy *ret_deploy)
{
	struct deploy deploy = { .stage = stage };
	const char *folder = stage_folder(stage);

	*ret_deploy = deploy;
	int ret = stage_space_add(stage, DEPLOY_SPACE);
	if (ret == PR_OK) {
		ret = stage_shell(stage, DEPLOY_SPACE, NULL,
		                  "ip link add " BRIDGE
		                  " type bridge && ip addr add " DEPLOY_ADDRESS "/24 dev " BRIDGE
		                  " && ip link set " BRIDGE " up");
	}
	if (ret == PR_OK) {
		ret = file_write(&deploy, "controller.conf",
		                 "state_directory = %s/controller\nlisten = 0.0.0.0\n"
		                 "advertise = " DEPLOY_ADDRESS "\nrecorder = tcp://" DEPLOY_ADDRESS
		                 ":7401\nadmin_config = %s/cli/cli.conf\n",
		                 folder, folder);
	}
	if (ret == PR_OK) {
		/* A disk that is slow for seconds makes a figure large, not a run fail. */
		ret = stage_shell(stage, DEPLOY_SPACE, NULL,
		                  "'%s/portreeve-controller' --config '%s/controller.conf' --init "
		                  "&& echo 'timeout = 30s' >>'%s/cli/cli.conf'",
		                  stage_programs(), folder, folder);
	}
	return ret == PR_OK ? PR_OK : fail(ret, "the controller cannot be set up", &deploy);
}

int deploy_attach(struct deploy *deploy, const char *space, unsigned host)
{
	char port[STAGE_LABEL_BYTES + 1], address[32];

	(void)snprintf(port, sizeof(port), "p%s", space);
	(void)snprintf(address, sizeof(address), "10.78.0.%u/24", host);
	return stage_link(
		deploy->stage,
		&(struct stage_end){ .space = space, .device = "ctl0", .address = address },
		&(struct stage_end){ .space = DEPLOY_SPACE, .device = port, .bridge = BRIDGE });
}

int deploy_run(struct deploy *deploy)
{
	deploy->controller = daemon_start(deploy, DEPLOY_SPACE, "controller", "controller");
	int ret = until(deploy, "hosts");
	return ret == PR_OK ? PR_OK : fail(ret, "the controller does not answer", deploy);
}

int deploy_start(stage_t *stage, struct deploy *ret_deploy)
{
	int ret = deploy_init(stage, ret_deploy);

	if (ret == PR_OK) {
		ret = deploy_run(ret_deploy);
	}
	return ret == PR_OK ? recorder_start(ret_deploy) : ret;
}

int deploy_server_key(const struct deploy *deploy, uint8_t ret_key[static BUS_KEY_BYTES])
{
	char path[2 * STAGE_PATH_BYTES];
	struct bus_key key;
	struct pr_uuid id;

	(void)snprintf(path, sizeof(path), "%s/controller/controller.key",
	               stage_folder(deploy->stage));
	int ret = bus_key_load(path, &id, &key);
	if (ret == PR_OK) {
		memcpy(ret_key, key.public_key, BUS_KEY_BYTES);
		bus_key_wipe(&key, sizeof(key));
	}
	return ret;
}

void deploy_store_path(const struct deploy *deploy, char path[static 2 * STAGE_PATH_BYTES])
{
	(void)snprintf(path, 2 * STAGE_PATH_BYTES, "%s/controller/store",
	               stage_folder(deploy->stage));
}

pid_t deploy_agent(struct deploy *deploy, const char *space, const char *name, const char *settings)
{
	char conf[STAGE_LABEL_BYTES + 8], words[256];
	const char *folder = stage_folder(deploy->stage);

	(void)snprintf(conf, sizeof(conf), "%s.conf", name);
	bool engine = settings != NULL && strstr(settings, "docker_socket") != NULL;
	int ret = file_write(deploy, conf,
	                     "state_directory = %s/%s\nname = %s\n%spodman_socket =\n%s", folder,
	                     name, name, engine ? "" : "docker_socket = none\n",
	                     settings != NULL ? settings : "");
	if (ret == PR_OK) {
		ret = enroll(deploy, space, "agent", name);
	}
	if (ret != PR_OK) {
		return fail(ret, "an agent cannot join", deploy);
	}
	pid_t pid = daemon_start(deploy, space, "agent", name);
	(void)snprintf(
		words, sizeof(words),
		"hosts --json | grep '\"name\": *\"%s\"' | grep -q '\"status\": *\"active\"'",
		name);
	ret = until(deploy, words);
	if (ret == PR_OK) {
		/* eBPF is loaded beside its start. */
		(void)snprintf(words, sizeof(words),
		               "status --json | grep '\"agent %s\"' | grep -vq 'being loaded'",
		               name);
		ret = until(deploy, words);
	}
	return ret == PR_OK ? pid : fail(ret, "an agent does not become active", deploy);
}

/* Everybody serves the policy in force, and where it says enforce the kernel does. */
static const char settled[] =
	"#!/bin/sh\n"
	"portreeve() { '%s/portreeve' --config '%s/cli/cli.conf' \"$@\"; }\n"
	"r=$(portreeve policy log --json | sed -n '1s/.*\"revision\": *\\([0-9]*\\).*/\\1/p')\n"
	"[ -n \"$r\" ] || exit 1\n"
	"portreeve status --json | grep -o '\"revision\": *[0-9]*' | grep -qv \"[^0-9]$r\\$\" && "
	"exit 1\n"
	"portreeve hosts --json | grep '\"status\":\"active\"' | grep '\"mode\":\"enforce\"' |\n"
	"\tgrep -qv '\"enforced\":\"enforce\"' && exit 1\n"
	"exit 0\n";

int deploy_commit_only(struct deploy *deploy, const char *policy)
{
	char words[2 * STAGE_PATH_BYTES], output[STAGE_OUTPUT_BYTES] = "";

	int ret = file_write(deploy, "policy", "%s", policy);
	(void)snprintf(words, sizeof(words), "policy commit -m bench --force '%s/policy'",
	               stage_folder(deploy->stage));
	if (ret == PR_OK) {
		ret = cli(deploy, output, words);
	}
	if (ret != PR_OK) {
		(void)fputs(output, stderr);
	}
	return ret == PR_OK ? PR_OK : fail(ret, "the policy is not taken", deploy);
}

int deploy_commit(struct deploy *deploy, const char *policy)
{
	char words[2 * STAGE_PATH_BYTES];
	const char *folder = stage_folder(deploy->stage);

	int ret = deploy_commit_only(deploy, policy);
	if (ret == PR_OK) {
		ret = file_write(deploy, "settled.sh", settled, stage_programs(), folder);
	}
	if (ret != PR_OK) {
		return ret;
	}
	(void)snprintf(words, sizeof(words), "--version >/dev/null; sh '%s/settled.sh'", folder);
	ret = until(deploy, words);
	return ret == PR_OK ? PR_OK : fail(ret, "the policy is not in force everywhere", deploy);
}

int deploy_events_count(struct deploy *deploy, const char *query, uint64_t *ret_count)
{
	struct timespec wait = { .tv_sec = 1 };
	char output[STAGE_OUTPUT_BYTES], words[512];
	uint64_t before = UINT64_MAX;

	(void)snprintf(words, sizeof(words), "events '%s' --json -n 0 2>/dev/null | wc -l", query);
	for (int i = 0; i < 30 && !stage_interrupted(); i++) {
		int ret = cli(deploy, output, words);
		if (ret != PR_OK) {
			return fail(ret, "events cannot be counted", deploy);
		}
		*ret_count = strtoull(output, NULL, 10);
		if (*ret_count == before) {
			return PR_OK;
		}
		before = *ret_count;
		(void)nanosleep(&wait, NULL);
	}
	return PR_ETIMEOUT;
}

int deploy_history_each(const stage_t *stage, bool (*visit)(void *arg, const struct store_row *row),
                        void *arg)
{
	char path[2 * STAGE_PATH_BYTES];
	const struct store_history_options options = { .path = path, .read_only = true };
	const struct store_range range = { 0 };
	struct store_position position = { .set = false };
	store_history_t *history = NULL;
	bool more = true;

	(void)snprintf(path, sizeof(path), "%s/recorder/history", stage_folder(stage));
	int ret = store_history_open(&options, &history);
	while (ret == PR_OK && more) {
		ret = store_history_read(history, &range, ROWS_A_READ, &position, visit, arg,
		                         &more);
	}
	store_history_destroy(&history);
	return ret;
}
