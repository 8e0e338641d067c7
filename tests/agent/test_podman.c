/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Debian's Podman 4.3.1 said: podman.json, recorded from its service. */
#include <stdlib.h>
#include <string.h>

#include "agent/inventory/internal.h"
#include "base/err.h"
#include "tests/tap.h"

static json_t *recorded;
static struct host_facts host = { .name = "podsrv" };
static struct engine_facts facts = { .host = &host, .kind = INVENTORY_PODMAN };

static const json_t *said(const char *what)
{
	return json_object_get(recorded, what);
}

static bool load(void)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/tests/agent/podman.json",
	               srcdir != NULL ? srcdir : ".");
	recorded = json_load_file(path, 0, NULL);
	return recorded != NULL;
}

static const struct network *network(const char *name)
{
	for (size_t i = 0; i < facts.network_count; i++) {
		if (strcmp(facts.networks[i].name, name) == 0) {
			return &facts.networks[i];
		}
	}
	return NULL;
}

static void test_engine(void)
{
	json_t *docker = json_loads("{\"Components\":[{\"Name\":\"Engine\"}]}", 0, NULL);

	ok(container_engine_read(said("version")) == INVENTORY_PODMAN, "it says that it is Podman");
	ok(container_engine_read(docker) == INVENTORY_DOCKER &&
	           container_engine_read(NULL) == INVENTORY_DOCKER,
	   "Docker does not");
	json_decref(docker);
}

static void test_networks(void)
{
	static struct engine_facts other;
	const struct host_facts elsewhere = { .id = { { 7 } } };

	container_networks_read(said("networks"), &facts);
	ok(facts.network_count == 2, "two networks");
	ok(network("podman") != NULL && strcmp(network("podman")->bridge, "podman0") == 0 &&
	           !network("podman")->global,
	   "the default one, with its bridge");
	ok(network("appnet") != NULL && strcmp(network("appnet")->bridge, "podman1") == 0,
	   "one that was made, with its bridge");
	other = (struct engine_facts){ .host = &elsewhere, .kind = INVENTORY_PODMAN };
	container_networks_read(said("networks"), &other);
	ok(other.network_count == 2 &&
	           !pr_uuid_equal(&other.networks[0].scope, &facts.networks[0].scope),
	   "the default network has the same id everywhere, and another scope on each host");
}

static void address_wanted(const char *name, const char *rest, char *text, size_t size_bytes)
{
	char scope[PR_UUID_TEXT_BYTES];

	(void)snprintf(text, size_bytes, "%s %s", pr_uuid_format(&network(name)->scope, scope),
	               rest);
}

/* One that runs, with this name and this one address. */
static void test_up(const char *what, const char *net, const char *rest)
{
	struct inventory_change change;
	char wanted[256];
	const json_t *json = said(what);
	const char *container = json_string_value(json_object_get(json, "Id"));
	struct pr_uuid id = pr_uuid_of_container(container);

	int ret = container_read(json, &facts, &change);
	ok(ret == PR_OK && change.kind == INVENTORY_UP && change.pid > 1 && !change.host_network &&
	           !change.joined && pr_uuid_equal(&change.id, &id) &&
	           strcmp(change.container_id, container) == 0,
	   "%s: up, UUID of its full id", what);
	if (ret != PR_OK || change.kind != INVENTORY_UP) {
		return;
	}
	const codec_doc_t *doc = change.endpoint;
	ok(strcmp(codec_doc_text(doc, CODEC_ENDPOINT_NAME), what) == 0 &&
	           strcmp(codec_doc_text(doc, CODEC_ENDPOINT_CONTAINER_ID), container) == 0 &&
	           strcmp(codec_doc_text(doc, CODEC_ENDPOINT_IMAGE),
	                  "localhost/prt-busybox:latest") == 0 &&
	           strcmp(codec_doc_text(doc, CODEC_ENDPOINT_MANUFACTURER), "podman") == 0,
	   "%s: name, id, image, whose", what);
	address_wanted(net, rest, wanted, sizeof(wanted));
	ok(codec_doc_count(doc, CODEC_ENDPOINT_ADDRESSES) == 1 &&
	           strcmp(codec_doc_item(doc, CODEC_ENDPOINT_ADDRESSES, 0), wanted) == 0,
	   "%s: address, scoped by the network that it is on", what);
	inventory_change_done(&change);
}

static void test_containers(void)
{
	struct inventory_change change;

	test_up("web", "appnet", "172.30.0.2/24 de:38:d3:16:4e:ae appnet");
	test_up("plain", "podman", "10.88.0.2/16 fa:f2:f3:87:72:4e podman");
	ok(container_read(said("web"), &facts, &change) == PR_OK &&
	           strcmp(codec_doc_item(change.endpoint, CODEC_ENDPOINT_LABELS, 0),
	                  "com.docker.compose.service=web") == 0,
	   "labels");
	inventory_change_done(&change);
	ok(container_read(said("inhost"), &facts, &change) == PR_OK && change.host_network &&
	           !change.joined &&
	           codec_doc_count(change.endpoint, CODEC_ENDPOINT_ADDRESSES) == 0,
	   "in a pod of the host's network");
	inventory_change_done(&change);
	ok(container_read(said("joined"), &facts, &change) == PR_OK && !change.host_network &&
	           change.joined && codec_doc_count(change.endpoint, CODEC_ENDPOINT_ADDRESSES) == 0,
	   "in another container's network: a guest, whose address is not its own");
	inventory_change_done(&change);
	ok(container_read(said("stopping"), &facts, &change) == PR_OK &&
	           change.kind == INVENTORY_UP && change.pid > 1,
	   "asked to stop, its process still at work: up");
	inventory_change_done(&change);
	ok(container_read(said("stopped"), &facts, &change) == PR_OK &&
	           change.kind == INVENTORY_STOPPED &&
	           codec_doc_count(change.endpoint, CODEC_ENDPOINT_ADDRESSES) == 0 &&
	           strcmp(codec_doc_text(change.endpoint, CODEC_ENDPOINT_STATUS), "stopped") == 0,
	   "stopped");
	inventory_change_done(&change);
}

/* Podman's own: the file of a network namespace. */
static void test_file(void)
{
	json_t *json = json_deep_copy(said("web"));
	struct inventory_change change;

	(void)json_object_set_new(json_object_get(json, "HostConfig"), "NetworkMode",
	                          json_string("ns:/run/netns/build"));
	ok(container_read(json, &facts, &change) == PR_OK && !change.host_network && change.joined,
	   "in a namespace by its file: a guest");
	inventory_change_done(&change);
	json_decref(json);
}

static void test_events(void)
{
	unsigned int looks = 0, networks = 0, connected = 0, gone = 0, none = 0, untold = 0;
	char id[65];
	size_t index;
	json_t *event;

	json_array_foreach(said("events"), index, event)
	{
		const char *type = json_string_value(json_object_get(event, "Type"));
		switch (container_event_read(event, INVENTORY_PODMAN, id)) {
		case CONTAINER_NONE:
			none++;
			break;
		case CONTAINER_LOOK:
			looks++;
			break;
		case CONTAINER_NETWORKS:
			networks++;
			connected += strcmp(type, "network") == 0 && strlen(id) == 64;
			break;
		case CONTAINER_ATTACHED:
		case CONTAINER_DETACHED:
		case CONTAINER_DOWN:
			untold++;
			break;
		case CONTAINER_GONE:
			gone++;
			break;
		}
	}
	/* 8 deaths, a rename, a pause and its end; 8 starts and a connect; creations, preparations,
	 * stops, clean-ups, and the word that a restart begins. */
	ok(looks == 11 && networks == 9 && gone == 7 && none == 19,
	   "events: %u looks, %u with networks, %u removed, %u of no interest", looks, networks,
	   gone, none);
	ok(untold == 0, "of its containers all is asked, as Docker's end and beginning are not");
	ok(connected == 1, "the one that was connected to a network is named");
}

int main(void)
{
	if (!load()) {
		printf("Bail out! no recording\n");
		return EXIT_FAILURE;
	}
	test_engine();
	test_networks();
	test_containers();
	test_file();
	test_events();
	json_decref(recorded);
	return tap_done();
}
