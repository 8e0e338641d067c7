/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an engine says of containers, networks and events. */
#include <stdlib.h>
#include <string.h>

#include "agent/inventory/internal.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	static const struct host_facts host = { .name = "fuzz" };
	static struct engine_facts facts = { .host = &host };
	struct inventory_change change;
	char id[65];
	json_t *json = json_loadb((const char *)data, size_bytes, 0, NULL);

	if (json == NULL) {
		return 0;
	}
	facts.kind = size_bytes % 2 == 0 ? INVENTORY_DOCKER : INVENTORY_PODMAN;
	(void)container_engine_read(json);
	container_networks_read(json, &facts);
	if (container_event_read(json, facts.kind, id) == CONTAINER_GONE && strlen(id) != 64) {
		abort();
	}
	enum inventory_kind kind = size_bytes % 3 == 0 ? INVENTORY_STOPPED : INVENTORY_COMING;
	if (container_listed_read(json, json, &facts, kind, &change) == PR_OK) {
		if ((change.kind == kind) != (change.endpoint != NULL)) {
			abort();
		}
		inventory_change_done(&change);
	}
	if (container_read(json, &facts, &change) == PR_OK) {
		if ((change.kind != INVENTORY_DOWN) != (change.endpoint != NULL) ||
		    (change.kind == INVENTORY_UP && change.pid <= 0)) {
			abort();
		}
		if (change.endpoint != NULL) {
			uint8_t *bytes = NULL;
			size_t encoded_bytes;
			if (codec_doc_encode(change.endpoint, &bytes, &encoded_bytes) == PR_OK) {
				codec_doc_t *back = NULL;
				/* What we would send must be what a controller takes. */
				if (codec_doc_decode(bytes, encoded_bytes, &back) != PR_OK) {
					abort();
				}
				codec_doc_destroy(&back);
			}
			free(bytes);
		}
		inventory_change_done(&change);
	}
	json_decref(json);
	return 0;
}
