/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"

#define SYSTEM_CONFIG "/etc/portreeve/cli.conf"

const struct pr_conf_row cli_config_rows[] = {
	{ .name = "key",
	  .type = PR_CONF_KEYFILE,
	  .offset = offsetof(struct cli_config, key),
	  .doc = "Curve key of this administrator or viewer, written by `portreeve join`." },
	{ .name = "controller",
	  .type = PR_CONF_LIST,
	  .offset = offsetof(struct cli_config, controllers),
	  .min = 1,
	  .max = 8,
	  .doc = "Address of a controller, tcp://ADDRESS:7400, and behind a blank its key where "
	         "that is another than controller_key. May be repeated: the first that answers is "
	         "asked." },
	{ .name = "controller_key",
	  .type = PR_CONF_STRING,
	  .offset = offsetof(struct cli_config, controller_key),
	  .doc = "The controllers' public Curve key, 40 characters of Z85." },
	{ .name = "authority_key",
	  .type = PR_CONF_STRING,
	  .offset = offsetof(struct cli_config, authority_key),
	  .doc = "Public Ed25519 key that signs the directory of services, 40 characters of "
	         "Z85." },
	{ .name = "timeout",
	  .type = PR_CONF_DURATION,
	  .offset = offsetof(struct cli_config, timeout_ns),
	  .min = 100 * PR_NS_PER_MS,
	  .max = 600 * PR_NS_PER_S,
	  .fallback = "5s",
	  .unit = "ms",
	  .doc = "How long an answer is waited for." },
};
const size_t cli_config_row_count = PR_ARRAY_LEN(cli_config_rows);

int cli_config_home(const char *name, char path[static CLI_PATH_BYTES])
{
	const char *base = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	int size_bytes;

	if (base != NULL && base[0] == '/') {
		size_bytes = snprintf(path, CLI_PATH_BYTES, "%s/portreeve/%s", base, name);
	} else if (home != NULL && home[0] == '/') {
		size_bytes = snprintf(path, CLI_PATH_BYTES, "%s/.config/portreeve/%s", home, name);
	} else {
		return PR_ENOENT;
	}
	return size_bytes < CLI_PATH_BYTES ? PR_OK : PR_ENOENT;
}

int cli_config_find(struct cli *cli, char path[static CLI_PATH_BYTES])
{
	if (cli->options.config != NULL) {
		if (access(cli->options.config, R_OK) != 0) {
			return cli_fail(cli, CLI_ERROR, "%s: %s", cli->options.config,
			                pr_strerror(-errno));
		}
		(void)snprintf(path, CLI_PATH_BYTES, "%s", cli->options.config);
		return CLI_DONE;
	}
	(void)snprintf(path, CLI_PATH_BYTES, "%s", SYSTEM_CONFIG);
	if (access(path, R_OK) == 0) {
		return CLI_DONE;
	}
	if (cli_config_home("cli.conf", path) == PR_OK && access(path, R_OK) == 0) {
		return CLI_DONE;
	}
	return cli_fail(
		cli, CLI_ERROR,
		"no configuration: neither %s nor ~/.config/portreeve/cli.conf can be "
		"read; let an administrator run `portreeve enroll --role viewer` (or admin) "
		"and run `portreeve join TOKEN` here",
		SYSTEM_CONFIG);
}
