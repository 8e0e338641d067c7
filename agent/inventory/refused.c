/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/inventory/internal.h"

bool refused_set(struct refused *refused, const char *id, bool add)
{
	size_t at = 0;

	while (at < refused->count && strcmp(refused->ids[at], id) != 0) {
		at++;
	}
	bool known = at < refused->count;
	if (known && !add) {
		memcpy(refused->ids[at], refused->ids[--refused->count], sizeof(refused->ids[at]));
	} else if (!known && add && at < REFUSED_MAX) {
		(void)snprintf(refused->ids[at], sizeof(refused->ids[at]), "%s", id);
		refused->count++;
	}
	return known;
}
