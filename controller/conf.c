/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "controller/internal.h"

#define ROW(name_, type_, field, min_, max_, fallback_, unit_, doc_)                             \
	{                                                                                        \
		.name = (name_), .type = (type_),                                                \
		.offset = offsetof(struct controller_conf, field), .min = (min_), .max = (max_), \
		.fallback = (fallback_), .unit = (unit_), .doc = (doc_)                          \
	}

const struct pr_conf_row controller_conf_rows[] = {
	ROW("state_directory", PR_CONF_PATH, state_directory, 0, 0, "/var/lib/portreeve/controller",
	    NULL, "Keys and store. Made 0700 by --init."),
	ROW("share", PR_CONF_PATH, share, 0, 0, "", NULL,
	    "state_directory of a controller on this machine whose store and authority this one "
	    "uses, beside it; empty: its own. recorder must be the same in both."),
	ROW("listen", PR_CONF_STRING, listen, 0, 0, "0.0.0.0", NULL,
	    "Address that all ports are bound to."),
	ROW("advertise", PR_CONF_STRING, advertise, 0, 0, "127.0.0.1", NULL,
	    "Address under which agents, recorder and CLI reach this controller. Goes into tokens "
	    "and the signed directory."),
	ROW("port", PR_CONF_UINT, port, 1, 65535, "7400", NULL,
	    "Enrolment, directory and administration."),
	ROW("worker_port", PR_CONF_UINT, worker_port, 1, 65535, "7410", NULL,
	    "Of worker 0; worker N listens on worker_port + N."),
	ROW("workers", PR_CONF_UINT, workers, 1, CONTROLLER_WORKERS_MAX, "2", NULL,
	    "Worker processes. Changing it moves flows to other workers for a moment."),
	ROW("recorder", PR_CONF_STRING, recorder, 0, 0, "tcp://127.0.0.1:7401", NULL,
	    "Where the enrolled recorder listens. Goes into the signed directory."),
	ROW("map_size", PR_CONF_SIZE, map_bytes, 1 << 20, 1ULL << 40, "1G", NULL,
	    "Upper bound of the store. Disk is used as it fills."),
	ROW("user", PR_CONF_STRING, user, 0, 0, "", NULL,
	    "User to become when started by root; empty: stay. Capabilities are dropped in any "
	    "case."),
	ROW("admin_config", PR_CONF_STRING, admin_config, 0, 0, "", NULL,
	    "Where --init writes the first administrator's CLI configuration, with the key beside "
	    "it; empty: admin.conf in state_directory."),
};

const size_t controller_conf_row_count = PR_ARRAY_LEN(controller_conf_rows);

static int explain(struct pr_conf_error *ret_error, const char *name, const char *value,
                   const char *expected)
{
	(void)snprintf(ret_error->text, sizeof(ret_error->text), "%s = %.200s: %s", name, value,
	               expected);
	return PR_ECONF;
}

int controller_conf_check(const struct controller_conf *conf, struct pr_conf_error *ret_error)
{
	struct pr_addr addr;
	uint16_t port = 0;

	if (pr_addr_parse(conf->listen, &addr) != PR_OK) {
		return explain(ret_error, "listen", conf->listen, "not an IP address");
	}
	if (pr_addr_parse(conf->advertise, &addr) != PR_OK) {
		return explain(ret_error, "advertise", conf->advertise, "not an IP address");
	}
	struct pr_addr v4_any = pr_addr_from_v4(0), v6_any = { 0 };
	if (pr_addr_equal(&addr, &v4_any) || pr_addr_equal(&addr, &v6_any)) {
		return explain(ret_error, "advertise", conf->advertise,
		               "nobody can connect to that: give the address that agents see");
	}
	if (admin_address_parse(conf->recorder, &addr, &port) != PR_OK) {
		return explain(ret_error, "recorder", conf->recorder,
		               "not of the form tcp://ADDRESS:PORT");
	}
	if (conf->worker_port + conf->workers - 1 > UINT16_MAX) {
		return explain(ret_error, "workers", "too many",
		               "the last port would be over 65535");
	}
	if (conf->port >= conf->worker_port && conf->port < conf->worker_port + conf->workers) {
		return explain(ret_error, "port", "taken", "it is one of the workers' ports");
	}
	if (conf->admin_config != NULL && conf->admin_config[0] != '/') {
		return explain(ret_error, "admin_config", conf->admin_config,
		               "not an absolute path");
	}
	return PR_OK;
}
