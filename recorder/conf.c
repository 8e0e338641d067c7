/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/defs.h"
#include "recorder/conf.h"

static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };

/* clang-format off */
const struct pr_conf_row recorder_conf_rows[] = {
	{ "state_directory", PR_CONF_PATH, offsetof(struct recorder_conf, state_directory), 0, 0,
	  "/var/lib/portreeve/recorder", NULL, NULL,
	  "Where keys, copies of what the controller said and the history are kept. Made 0700 when absent." },
	{ "listen", PR_CONF_STRING, offsetof(struct recorder_conf, listen), 0, 0,
	  "tcp://0.0.0.0:7401", NULL, NULL, "Where agents and readers connect to." },
	{ "key_file", PR_CONF_KEYFILE, offsetof(struct recorder_conf, key_file), 0, 0, "", NULL, NULL,
	  "This recorder's own key. Empty: `key` in the state directory, made by --enroll." },
	{ "controller", PR_CONF_LIST, offsetof(struct recorder_conf, controllers), 0, 8, "", NULL, NULL,
	  "A controller's admin port and server key: `tcp://ADDRESS:PORT KEY`. May be repeated. "
	  "Empty: the one that --enroll spoke to." },
	{ "authority_key", PR_CONF_STRING, offsetof(struct recorder_conf, authority_key), 0, 0, "", NULL,
	  NULL, "Key that signs directories. Empty: the one that --enroll was told." },
	{ "map_size", PR_CONF_SIZE, offsetof(struct recorder_conf, map_bytes), 4ULL << 20, 64ULL << 40,
	  "64G", NULL, "bytes", "Upper bound of the history's file. It grows as needed and never shrinks." },
	{ "keep_size", PR_CONF_SIZE, offsetof(struct recorder_conf, keep_bytes), 0, 64ULL << 40, "4G",
	  NULL, "bytes", "Beyond it the oldest events are deleted: 4G are about 8 million events. "
	  "0: three quarters of map_size." },
	{ "keep_events", PR_CONF_UINT, offsetof(struct recorder_conf, keep_events), 0, UINT64_MAX, "0",
	  NULL, "events", "Beyond it the oldest events are deleted. 0: no bound." },
	{ "user", PR_CONF_STRING, offsetof(struct recorder_conf, user), 0, 0, "", NULL, NULL,
	  "User to become when started by root; empty: stay. Capabilities are dropped in any case." },
	{ "log_level", PR_CONF_ENUM, offsetof(struct recorder_conf, log_level), 0, 0, "info", log_levels,
	  NULL, "What is logged." },
};
/* clang-format on */

const size_t recorder_conf_row_count = PR_ARRAY_LEN(recorder_conf_rows);
