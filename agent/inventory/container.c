/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/inventory/internal.h"
#include "base/addr.h"
#include "base/err.h"

#define LABEL_MAX       4096
#define LABEL_MAX_BYTES (128U << 10)
/* Of all: with the rest of the document it fits the frame of an agent, 1 MiB. */
#define LABELS_MAX_BYTES (512U << 10)

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

void container_networks_read(const json_t *list, struct host_facts *facts)
{
	size_t index;
	json_t *item;

	facts->network_count = 0;
	json_array_foreach(list, index, item)
	{
		const char *id = text_at(item, "Id");
		const char *driver = text_at(item, "Driver");
		if (strlen(id) != 64 || facts->network_count == NETWORK_MAX) {
			continue;
		}
		struct network *network = &facts->networks[facts->network_count++];
		*network = (struct network){ .global = strcmp(driver, "macvlan") == 0 ||
			                               strcmp(driver, "ipvlan") == 0 };
		(void)snprintf(network->id, sizeof(network->id), "%s", id);
		if (strcmp(driver, "bridge") != 0) {
			continue;
		}
		const char *name =
			text_at(json_object_get(item, "Options"), "com.docker.network.bridge.name");
		if (name[0] != '\0') {
			(void)snprintf(network->bridge, sizeof(network->bridge), "%.15s", name);
		} else {
			(void)snprintf(network->bridge, sizeof(network->bridge), "br-%.12s", id);
		}
	}
}

static const struct network *network_find(const struct host_facts *facts, const char *id)
{
	for (size_t i = 0; i < facts->network_count; i++) {
		if (strcmp(facts->networks[i].id, id) == 0) {
			return &facts->networks[i];
		}
	}
	return NULL;
}

static void add_address(codec_doc_t *doc, const char *scope, const char *address,
                        json_int_t prefix_bits, const char *mac, const char *name)
{
	struct pr_addr parsed;
	if (pr_addr_parse(address, &parsed) != PR_OK) {
		return;
	}
	codec_doc_addf(doc, CODEC_ENDPOINT_ADDRESSES, "%s %s/%d %s %s", scope, address,
	               (int)prefix_bits, mac[0] != '\0' ? mac : "-", name);
}

static void add_addresses(codec_doc_t *doc, const json_t *networks, const struct host_facts *facts)
{
	const char *name;
	json_t *item;

	json_object_foreach((json_t *)networks, name, item)
	{
		const char *id = text_at(item, "NetworkID");
		const struct network *network = network_find(facts, id);
		char scope[PR_UUID_TEXT_BYTES] = "global";
		if (network == NULL || !network->global) {
			struct pr_uuid scope_id = pr_uuid_of_bytes("network", id, strlen(id));
			(void)pr_uuid_format(&scope_id, scope);
		}
		const char *mac = text_at(item, "MacAddress");
		/* A network's name may hold spaces? The engine refuses them; a list field may not.
		 */
		const char *shown = strchr(name, ' ') == NULL ? name : "-";
		add_address(doc, scope, text_at(item, "IPAddress"),
		            json_integer_value(json_object_get(item, "IPPrefixLen")), mac, shown);
		add_address(doc, scope, text_at(item, "GlobalIPv6Address"),
		            json_integer_value(json_object_get(item, "GlobalIPv6PrefixLen")), mac,
		            shown);
	}
}

/* Short ones first: who fills the room with long ones cannot push out those that policy selects. */
static void add_labels(codec_doc_t *doc, const json_t *labels)
{
	static const size_t classes_bytes[] = { 0, 256, 4096, LABEL_MAX_BYTES };
	const char *key;
	json_t *value;
	size_t count = 0, used_bytes = 0;

	for (size_t i = 1; i < PR_ARRAY_LEN(classes_bytes); i++) {
		json_object_foreach((json_t *)labels, key, value)
		{
			const char *text = json_string_value(value);
			size_t size_bytes = text != NULL ? strlen(key) + strlen(text) + 2 : 0;
			if (size_bytes <= classes_bytes[i - 1] || size_bytes > classes_bytes[i] ||
			    count == LABEL_MAX || used_bytes + size_bytes > LABELS_MAX_BYTES) {
				continue;
			}
			count++;
			used_bytes += size_bytes;
			codec_doc_addf(doc, CODEC_ENDPOINT_LABELS, "%s=%s", key, text);
		}
	}
}

static codec_doc_t *endpoint_of(const json_t *inspected, const struct host_facts *facts,
                                const struct pr_uuid *id)
{
	codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	if (doc == NULL) {
		return NULL;
	}
	const char *container_id = text_at(inspected, "Id");
	const char *name = text_at(inspected, "Name");
	const json_t *config = json_object_get(inspected, "Config");
	char model[13];
	(void)snprintf(model, sizeof(model), "%.12s", container_id);

	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, id);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_HOST, &facts->id);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, "container");
	codec_doc_set_text(doc, CODEC_ENDPOINT_NAME, name[0] == '/' ? name + 1 : name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_HOST_NAME, facts->name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_CONTAINER_ID, container_id);
	codec_doc_set_text(doc, CODEC_ENDPOINT_IMAGE, text_at(config, "Image"));
	codec_doc_set_text(doc, CODEC_ENDPOINT_OS_VERSION, text_at(inspected, "Image"));
	codec_doc_set_text(doc, CODEC_ENDPOINT_MODEL, model);
	codec_doc_set_text(doc, CODEC_ENDPOINT_MANUFACTURER, "docker");
	codec_doc_set_text(doc, CODEC_ENDPOINT_PLATFORM, facts->platform);
	codec_doc_set_text(doc, CODEC_ENDPOINT_PROCESSOR, facts->processor);
	codec_doc_set_text(doc, CODEC_ENDPOINT_VERSION, facts->version);
	add_labels(doc, json_object_get(config, "Labels"));
	add_addresses(doc,
	              json_object_get(json_object_get(inspected, "NetworkSettings"), "Networks"),
	              facts);
	return doc;
}

int container_read(const json_t *inspected, const struct host_facts *facts,
                   struct inventory_change *ret_change)
{
	const char *container_id = text_at(inspected, "Id");
	const json_t *state = json_object_get(inspected, "State");
	const char *mode = text_at(json_object_get(inspected, "HostConfig"), "NetworkMode");
	if (strlen(container_id) != 64 || !json_is_object(state)) {
		return PR_EMALF;
	}

	struct inventory_change change = {
		.kind = INVENTORY_DOWN,
		.id = pr_uuid_of_container(container_id),
		.pid = (int32_t)json_integer_value(json_object_get(state, "Pid")),
		.host_network = strcmp(mode, "host") == 0,
	};
	if (json_is_true(json_object_get(state, "Running")) && change.pid > 0) {
		change.kind = INVENTORY_UP;
		change.endpoint = endpoint_of(inspected, facts, &change.id);
		if (change.endpoint == NULL) {
			return PR_ENOMEM;
		}
	}
	*ret_change = change;
	return PR_OK;
}
