/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory/internal.h"
#include "base/addr.h"
#include "base/err.h"

#define LABEL_MAX       256
#define LABEL_MAX_BYTES 4096

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

static void add_labels(codec_doc_t *doc, const json_t *labels)
{
	const char *key;
	json_t *value;
	size_t count = 0;

	json_object_foreach((json_t *)labels, key, value)
	{
		const char *text = json_string_value(value);
		if (text == NULL || count == LABEL_MAX ||
		    strlen(key) + strlen(text) + 1 > LABEL_MAX_BYTES) {
			continue;
		}
		count++;
		codec_doc_addf(doc, CODEC_ENDPOINT_LABELS, "%s=%s", key, text);
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
		.joined = strncmp(mode, "container:", sizeof("container:") - 1) == 0,
	};
	(void)snprintf(change.container_id, sizeof(change.container_id), "%s", container_id);
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

/* "172.17.0.2/16" -> its parts, where the engine's inspection has them. */
static void address_split(json_t *to, const char *address_key, const char *bits_key,
                          const char *address)
{
	const char *slash = strchr(address, '/');
	int length = slash != NULL ? (int)(slash - address) : 0;

	(void)json_object_set_new(to, address_key, json_stringn(address, (size_t)length));
	(void)json_object_set_new(to, bits_key,
	                          json_integer(slash != NULL ? strtol(slash + 1, NULL, 10) : 0));
}

/* The container's addresses in its networks, as an inspection would tell them. */
static json_t *networks_of(const json_t *networks, const char *container_id)
{
	json_t *all = json_object();
	size_t index;
	json_t *network;

	json_array_foreach(networks, index, network)
	{
		const json_t *end =
			json_object_get(json_object_get(network, "Containers"), container_id);
		json_t *one = json_pack("{s:s, s:s}", "NetworkID", text_at(network, "Id"),
		                        "MacAddress", text_at(end, "MacAddress"));
		if (one == NULL) {
			continue;
		}
		address_split(one, "IPAddress", "IPPrefixLen", text_at(end, "IPv4Address"));
		address_split(one, "GlobalIPv6Address", "GlobalIPv6PrefixLen",
		              text_at(end, "IPv6Address"));
		(void)json_object_set_new(all, text_at(network, "Name"), one);
	}
	return all;
}

int container_coming_read(const json_t *listed, const json_t *networks,
                          const struct host_facts *facts, struct inventory_change *ret_change)
{
	const char *container_id = text_at(listed, "Id");
	const char *state = text_at(listed, "State");
	const char *name = json_string_value(json_array_get(json_object_get(listed, "Names"), 0));
	const char *mode = text_at(json_object_get(listed, "HostConfig"), "NetworkMode");

	if (strlen(container_id) != 64 || name == NULL) {
		return PR_EMALF;
	}
	if (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0 ||
	    strcmp(state, "restarting") == 0) {
		return PR_ENOENT;
	}
	if (strcmp(state, "created") != 0 && strcmp(state, "exited") != 0) {
		*ret_change = (struct inventory_change){ .kind = INVENTORY_DOWN,
			                                 .id = pr_uuid_of_container(container_id) };
		return PR_OK;
	}
	json_t *inspected =
		json_pack("{s:s, s:s, s:s, s:{s:s, s:O*}, s:{s:o}}", "Id", container_id, "Name",
	                  name, "Image", text_at(listed, "ImageID"), "Config", "Image",
	                  text_at(listed, "Image"), "Labels", json_object_get(listed, "Labels"),
	                  "NetworkSettings", "Networks", networks_of(networks, container_id));
	struct inventory_change change = {
		.kind = INVENTORY_COMING,
		.id = pr_uuid_of_container(container_id),
		.host_network = strcmp(mode, "host") == 0,
		.endpoint = NULL,
	};
	if (inspected != NULL) {
		change.endpoint = endpoint_of(inspected, facts, &change.id);
	}
	json_decref(inspected);
	if (change.endpoint == NULL) {
		return PR_ENOMEM;
	}
	*ret_change = change;
	return PR_OK;
}
