/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
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

/* Interface of a Docker network. */
static void bridge_of(const json_t *item, const char *id, char bridge[static 16])
{
	const char *name =
		text_at(json_object_get(item, "Options"), "com.docker.network.bridge.name");
	if (name[0] != '\0') {
		(void)snprintf(bridge, 16, "%.15s", name);
	} else {
		(void)snprintf(bridge, 16, "br-%.12s", id);
	}
}

/* Podman's default network has the same id on every host. */
static struct pr_uuid scope_of(const struct engine_facts *facts, const char *id)
{
	char text[PR_UUID_TEXT_BYTES + 256];

	if (facts->kind == INVENTORY_DOCKER) {
		return pr_uuid_of_bytes("network", id, strlen(id));
	}
	(void)pr_uuid_format(&facts->host->id, text);
	(void)snprintf(text + PR_UUID_TEXT_BYTES - 1, sizeof(text) - PR_UUID_TEXT_BYTES + 1, "%s",
	               id);
	return pr_uuid_of_bytes("network", text, strlen(text));
}

void container_networks_read(const json_t *list, struct engine_facts *facts)
{
	bool podman = facts->kind == INVENTORY_PODMAN;
	size_t index;
	json_t *item;

	facts->network_count = 0;
	json_array_foreach(list, index, item)
	{
		const char *id = text_at(item, podman ? "id" : "Id");
		const char *name = text_at(item, podman ? "name" : "Name");
		const char *driver = text_at(item, podman ? "driver" : "Driver");
		if (strlen(id) != 64 || facts->network_count == NETWORK_MAX) {
			continue;
		}
		struct network *network = &facts->networks[facts->network_count++];
		*network = (struct network){ .global = strcmp(driver, "macvlan") == 0 ||
			                               strcmp(driver, "ipvlan") == 0,
			                     .scope = scope_of(facts, id) };
		(void)snprintf(network->id, sizeof(network->id), "%s", id);
		(void)snprintf(network->name, sizeof(network->name), "%.128s", name);
		if (strcmp(driver, "bridge") != 0) {
			continue; /* a macvlan's interface is the host's own */
		}
		if (podman) {
			(void)snprintf(network->bridge, sizeof(network->bridge), "%.15s",
			               text_at(item, "network_interface"));
		} else {
			bridge_of(item, id, network->bridge);
		}
	}
}

enum inventory_engine container_engine_read(const json_t *version)
{
	size_t index;
	json_t *item;

	json_array_foreach(json_object_get(version, "Components"), index, item)
	{
		if (strcmp(text_at(item, "Name"), "Podman Engine") == 0) {
			return INVENTORY_PODMAN;
		}
	}
	return INVENTORY_DOCKER;
}

/* Podman refers to a network by name where Docker does by id. */
static const struct network *network_find(const struct engine_facts *facts, const char *reference)
{
	for (size_t i = 0; i < facts->network_count; i++) {
		const struct network *network = &facts->networks[i];
		bool named =
			facts->kind == INVENTORY_PODMAN && strcmp(network->name, reference) == 0;
		if (named || strcmp(network->id, reference) == 0) {
			return network;
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

static void add_addresses(codec_doc_t *doc, const json_t *networks,
                          const struct engine_facts *facts)
{
	const char *name;
	json_t *item;

	json_object_foreach((json_t *)networks, name, item)
	{
		const char *id = text_at(item, "NetworkID");
		const struct network *network = network_find(facts, id);
		char scope[PR_UUID_TEXT_BYTES] = "global";
		if (network == NULL || !network->global) {
			struct pr_uuid scope_id =
				network != NULL ? network->scope : scope_of(facts, id);
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

static codec_doc_t *endpoint_of(const json_t *inspected, const struct engine_facts *facts,
                                const struct inventory_change *change)
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

	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, &change->id);
	host_part_set(doc, facts->host);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, "container");
	codec_doc_set_text(doc, CODEC_ENDPOINT_NAME, name[0] == '/' ? name + 1 : name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_CONTAINER_ID, container_id);
	codec_doc_set_text(doc, CODEC_ENDPOINT_IMAGE, text_at(config, "Image"));
	codec_doc_set_text(doc, CODEC_ENDPOINT_OS_VERSION, text_at(inspected, "Image"));
	codec_doc_set_text(doc, CODEC_ENDPOINT_MODEL, model);
	codec_doc_set_text(doc, CODEC_ENDPOINT_MANUFACTURER,
	                   facts->kind == INVENTORY_PODMAN ? "podman" : "docker");
	add_labels(doc, json_object_get(config, "Labels"));
	if (change->kind == INVENTORY_STOPPED) {
		codec_doc_set_text(doc, CODEC_ENDPOINT_STATUS, "stopped");
	}
	/* Podman tells a guest's host's as its own. */
	if (change->kind != INVENTORY_STOPPED && !change->host_network && !change->joined) {
		add_addresses(
			doc,
			json_object_get(json_object_get(inspected, "NetworkSettings"), "Networks"),
			facts);
	}
	return doc;
}

/* Has it a network of its own, by the engine's word? Podman's "ns:" is a file of a namespace. */
static bool is_joined(const char *mode)
{
	static const char *const others[] = { "container:", "ns:" };

	for (size_t i = 0; i < PR_ARRAY_LEN(others); i++) {
		if (strncmp(mode, others[i], strlen(others[i])) == 0) {
			return true;
		}
	}
	return false;
}

/* @said: the engine's answer of it. */
static struct inventory_change change_of(enum inventory_kind kind, const char *container_id,
                                         const json_t *said)
{
	const char *mode = text_at(json_object_get(said, "HostConfig"), "NetworkMode");
	struct inventory_change change = {
		.kind = kind,
		.id = pr_uuid_of_container(container_id),
		.host_network = strcmp(mode, "host") == 0,
		.joined = is_joined(mode),
	};

	(void)snprintf(change.container_id, sizeof(change.container_id), "%s", container_id);
	return change;
}

static bool is_one_of(const char *word, const char *const *words)
{
	for (; *words != NULL; words++) {
		if (strcmp(word, *words) == 0) {
			return true;
		}
	}
	return false;
}

/* It does not run, and it is not on its way out either. */
static bool is_stopped(const char *state)
{
	static const char *const states[] = { "created",    "exited",     "stopped",
		                              "configured", "restarting", NULL };

	return is_one_of(state, states);
}

int container_read(const json_t *inspected, const struct engine_facts *facts,
                   struct inventory_change *ret_change)
{
	const char *container_id = text_at(inspected, "Id");
	const json_t *state = json_object_get(inspected, "State");
	if (strlen(container_id) != 64 || !json_is_object(state)) {
		return PR_EMALF;
	}

	struct inventory_change change = change_of(INVENTORY_DOWN, container_id, inspected);
	change.pid = (int32_t)json_integer_value(json_object_get(state, "Pid"));
	/* Podman's "stopping" does not run, it says, but its process has up to 10 s to end. */
	bool runs = json_is_true(json_object_get(state, "Running")) ||
	            strcmp(text_at(state, "Status"), "stopping") == 0;
	if (runs && change.pid > 0) {
		change.kind = INVENTORY_UP;
	} else if (change.pid <= 0 && is_stopped(text_at(state, "Status"))) {
		change.kind = INVENTORY_STOPPED;
	}
	if (change.kind != INVENTORY_DOWN) {
		change.endpoint = endpoint_of(inspected, facts, &change);
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

int container_listed_read(const json_t *listed, const json_t *networks,
                          const struct engine_facts *facts, enum inventory_kind kind,
                          struct inventory_change *ret_change)
{
	const char *container_id = text_at(listed, "Id");
	const char *state = text_at(listed, "State");
	const char *name = json_string_value(json_array_get(json_object_get(listed, "Names"), 0));

	if (strlen(container_id) != 64 || name == NULL) {
		return PR_EMALF;
	}
	if (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0 ||
	    strcmp(state, "restarting") == 0) {
		return PR_ENOENT;
	}
	if (!is_stopped(state)) {
		*ret_change = (struct inventory_change){ .kind = INVENTORY_DOWN,
			                                 .id = pr_uuid_of_container(container_id) };
		return PR_OK;
	}
	json_t *inspected =
		json_pack("{s:s, s:s, s:s, s:{s:s, s:O*}, s:{s:o}}", "Id", container_id, "Name",
	                  name, "Image", text_at(listed, "ImageID"), "Config", "Image",
	                  text_at(listed, "Image"), "Labels", json_object_get(listed, "Labels"),
	                  "NetworkSettings", "Networks", networks_of(networks, container_id));
	struct inventory_change change = change_of(kind, container_id, listed);
	if (inspected != NULL) {
		change.endpoint = endpoint_of(inspected, facts, &change);
	}
	json_decref(inspected);
	if (change.endpoint == NULL) {
		return PR_ENOMEM;
	}
	*ret_change = change;
	return PR_OK;
}

/* ---- events ---- */

static bool is_id(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* Docker names the container beside the network, Podman in its place. */
static enum container_news network_event(const json_t *actor, const char *action,
                                         enum inventory_engine kind, char ret_id[static 65])
{
	static const char *const attached[] = { "connect", "disconnect", NULL };
	const char *id = text_at(json_object_get(actor, "Attributes"), "container");

	if (kind == INVENTORY_PODMAN && is_one_of(action, attached)) {
		id = text_at(actor, "ID");
	}
	if (is_id(id)) {
		memcpy(ret_id, id, 65);
	}
	if (kind == INVENTORY_PODMAN || ret_id[0] == '\0') {
		return CONTAINER_NETWORKS;
	}
	return strcmp(action, "connect") == 0 ? CONTAINER_ATTACHED : CONTAINER_DETACHED;
}

enum container_news container_event_read(const json_t *event, enum inventory_engine kind,
                                         char ret_id[static 65])
{
	static const char *const removed[] = { "destroy", "remove", NULL };
	static const char *const looked_at[] = { "start", "die",     "died", "rename",
		                                 "pause", "unpause", NULL };
	const json_t *actor = json_object_get(event, "Actor");
	const char *type = text_at(event, "Type");
	const char *action = text_at(event, "Action");
	const char *id = text_at(actor, "ID");

	ret_id[0] = '\0';
	if (strcmp(type, "network") == 0) {
		return network_event(actor, action, kind, ret_id);
	}
	if (strcmp(type, "container") != 0 || !is_id(id)) {
		return CONTAINER_NONE;
	}
	memcpy(ret_id, id, 65);
	if (is_one_of(action, removed)) {
		return CONTAINER_GONE;
	}
	if (kind == INVENTORY_DOCKER && strcmp(action, "die") == 0) {
		return CONTAINER_DOWN;
	}
	/* Podman says nothing of a network that is made. */
	if (kind == INVENTORY_PODMAN && strcmp(action, "start") == 0) {
		return CONTAINER_NETWORKS;
	}
	return is_one_of(action, looked_at) ? CONTAINER_LOOK : CONTAINER_NONE;
}
