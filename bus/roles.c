/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/err.h"
#include "bus/bus.h"

static const struct {
	enum bus_role role;
	const char *name;
} roles[] = {
	{ BUS_ROLE_AGENT, "agent" },         { BUS_ROLE_WORKER, "worker" },
	{ BUS_ROLE_RECORDER, "recorder" },   { BUS_ROLE_ADMIN, "admin" },
	{ BUS_ROLE_VIEWER, "viewer" },       { BUS_ROLE_SUBSCRIBER, "subscriber" },
	{ BUS_ROLE_ENROLLING, "enrolling" }, { BUS_ROLE_CONTROLLER, "controller" },
};

const char *bus_role_name(enum bus_role role)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(roles); i++) {
		if (roles[i].role == role) {
			return roles[i].name;
		}
	}
	return "none";
}

int bus_role_parse(const char *text, enum bus_role *ret_role)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(roles); i++) {
		if (strcmp(roles[i].name, text) == 0) {
			*ret_role = roles[i].role;
			return PR_OK;
		}
	}
	return PR_EINVAL;
}
