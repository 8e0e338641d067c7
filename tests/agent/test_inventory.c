/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utmp.h>

#include "agent/inventory/internal.h"
#include "base/err.h"
#include "tests/tap.h"

#define ID   "03680ebef3a67e61a88def997b3a27f2c5a71cb5a0b528d7c7d8c076d93e4b4f"
#define NET  "2341bfaadfcfc45fdbe281147256f24ca92a791e4cf0b1078658a71b731b015b"
#define NET2 "9341bfaadfcfc45fdbe281147256f24ca92a791e4cf0b1078658a71b731b015b"

static const char networks_json[] = "[{\"Id\":\"" NET "\",\"Driver\":\"bridge\",\"Options\":{}},"
				    "{\"Id\":\"" NET2 "\",\"Driver\":\"macvlan\"},"
				    "{\"Id\":\"short\",\"Driver\":\"bridge\"},{\"Driver\":3},7]";

static const char running_json[] =
	"{\"Id\":\"" ID "\",\"Name\":\"/web\",\"Image\":\"sha256:5c0\","
	"\"State\":{\"Running\":true,\"Pid\":17681},\"HostConfig\":{\"NetworkMode\":\"appnet\"},"
	"\"Config\":{\"Image\":\"nginx:1\",\"Labels\":{\"com.docker.compose.service\":\"web\","
	"\"odd\":5,\"esc\":\"\\u001b[31m\"}},\"NetworkSettings\":{\"Networks\":{"
	"\"appnet\":{\"NetworkID\":\"" NET "\",\"IPAddress\":\"172.30.0.2\",\"IPPrefixLen\":24,"
	"\"MacAddress\":\"02:42:ac:1e:00:02\",\"GlobalIPv6Address\":\"\"},"
	"\"wide\":{\"NetworkID\":\"" NET2 "\",\"IPAddress\":\"192.0.2.9\",\"IPPrefixLen\":24}}}}";

static int read_text(const char *text, const struct engine_facts *facts,
                     struct inventory_change *ret_change)
{
	json_t *json = json_loads(text, 0, NULL);
	int ret = container_read(json, facts, ret_change);
	json_decref(json);
	return ret;
}

static void test_networks(struct engine_facts *facts)
{
	json_t *json = json_loads(networks_json, 0, NULL);
	container_networks_read(json, facts);
	json_decref(json);
	ok(facts->network_count == 2, "networks: malformed entries are left out");
	ok(strcmp(facts->networks[0].bridge, "br-2341bfaadfcf") == 0, "networks: bridge name");
	ok(facts->networks[1].global && facts->networks[1].bridge[0] == '\0',
	   "networks: macvlan addresses are global");
}

static void test_running(const struct engine_facts *facts)
{
	struct inventory_change change;
	char want[256], scope[PR_UUID_TEXT_BYTES];
	struct pr_uuid id = pr_uuid_of_container(ID), net = pr_uuid_of_bytes("network", NET, 64);

	ok(read_text(running_json, facts, &change) == PR_OK && change.kind == INVENTORY_UP,
	   "running container is up");
	ok(change.pid == 17681 && !change.host_network && pr_uuid_equal(&change.id, &id),
	   "its pid, network mode and UUID");
	const codec_doc_t *doc = change.endpoint;
	ok(strcmp(codec_doc_text(doc, CODEC_ENDPOINT_NAME), "web") == 0, "name without the slash");
	ok(strcmp(codec_doc_text(doc, CODEC_ENDPOINT_MODEL), "03680ebef3a6") == 0 &&
	           strcmp(codec_doc_text(doc, CODEC_ENDPOINT_MANUFACTURER), "docker") == 0,
	   "model, and whose");
	ok(strcmp(codec_doc_text(doc, CODEC_ENDPOINT_HOST_NAME), "dockersrv") == 0, "its host");
	ok(codec_doc_count(doc, CODEC_ENDPOINT_LABELS) == 2, "labels that are text, two of three");
	ok(codec_doc_count(doc, CODEC_ENDPOINT_ADDRESSES) == 2,
	   "two addresses, empty one left out");
	(void)snprintf(want, sizeof(want), "%s 172.30.0.2/24 02:42:ac:1e:00:02 appnet",
	               pr_uuid_format(&net, scope));
	ok(strcmp(codec_doc_item(doc, CODEC_ENDPOINT_ADDRESSES, 0), want) == 0,
	   "bridge address is scoped by its network");
	ok(strcmp(codec_doc_item(doc, CODEC_ENDPOINT_ADDRESSES, 1), "global 192.0.2.9/24 - wide") ==
	           0,
	   "macvlan address is global");
	inventory_change_done(&change);
	ok(change.endpoint == NULL, "done frees the document");
}

#define LISTED(state)                                                                            \
	"{\"Id\":\"" ID "\",\"Names\":[\"/web\"],\"Image\":\"nginx:1\",\"State\":\"" state "\"," \
	"\"ImageID\":\"sha256:5c0\",\"Labels\":{\"com.docker.compose.service\":\"web\"},"        \
	"\"HostConfig\":{\"NetworkMode\":\"appnet\"}}"

/* Known by name, image and labels, without an address, from the list or an inspection. */
static void is_stopped(int ret, struct inventory_change *change, const char *what)
{
	const codec_doc_t *doc = change->endpoint;

	ok(ret == PR_OK && change->kind == INVENTORY_STOPPED && change->pid == 0 &&
	           strcmp(change->container_id, ID) == 0 &&
	           strcmp(codec_doc_text(doc, CODEC_ENDPOINT_STATUS), "stopped") == 0 &&
	           strcmp(codec_doc_text(doc, CODEC_ENDPOINT_NAME), "web") == 0 &&
	           strcmp(codec_doc_text(doc, CODEC_ENDPOINT_IMAGE), "nginx:1") == 0 &&
	           codec_doc_count(doc, CODEC_ENDPOINT_LABELS) == 1 &&
	           codec_doc_count(doc, CODEC_ENDPOINT_ADDRESSES) == 0,
	   "%s is there, stopped, without an address", what);
	inventory_change_done(change);
}

#define INSPECTED(state)                                                                          \
	"{\"Id\":\"" ID "\",\"Name\":\"/web\",\"State\":{\"Running\":false,\"Pid\":0,\"Status\":" \
	"\"" state "\"},\"Config\":{\"Image\":\"nginx:1\",\"Labels\":{\"a\":\"b\"}},"             \
	"\"NetworkSettings\":{\"Networks\":{\"appnet\":{\"NetworkID\":\"" NET "\",\"IPAddress\":" \
	"\"172.30.0.2\",\"IPPrefixLen\":24}}}}"

static void test_stopped(const struct engine_facts *facts)
{
	struct inventory_change change;

	int ret = read_text(INSPECTED("exited"), facts, &change);
	is_stopped(ret, &change, "one that has ended");
	ret = read_text(INSPECTED("created"), facts, &change);
	is_stopped(ret, &change, "one that never ran");
	ret = read_text(INSPECTED("restarting"), facts, &change);
	is_stopped(ret, &change, "one that waits for its engine to start it again");
	ok(read_text(INSPECTED("removing"), facts, &change) == PR_OK &&
	           change.kind == INVENTORY_DOWN && change.endpoint == NULL,
	   "one that is being removed is down");
	json_t *listed = json_loads(LISTED("exited"), 0, NULL);
	ret = container_listed_read(listed, NULL, facts, INVENTORY_STOPPED, &change);
	is_stopped(ret, &change, "one of the list");
	json_decref(listed);
}

static void test_others(const struct engine_facts *facts)
{
	struct inventory_change change;

	ok(read_text("{\"Id\":\"" ID "\",\"State\":{\"Running\":false,\"Pid\":0}}", facts,
	             &change) == PR_OK &&
	           change.kind == INVENTORY_DOWN && change.endpoint == NULL,
	   "one that does not run, and is not said to be there, is down");
	test_stopped(facts);
	ok(read_text("{\"Id\":\"" ID "\",\"State\":{\"Running\":true,\"Pid\":5},"
	             "\"HostConfig\":{\"NetworkMode\":\"host\"}}",
	             facts, &change) == PR_OK &&
	           change.host_network,
	   "host network is told");
	inventory_change_done(&change);
	ok(read_text("{\"Id\":\"x\",\"State\":{}}", facts, &change) == PR_EMALF, "short id");
	ok(read_text("{\"Id\":\"" ID "\"}", facts, &change) == PR_EMALF, "no state");
	ok(read_text("[]", facts, &change) == PR_EMALF, "not an object");
}

static int read_coming(const char *listed_text, const char *networks_text,
                       const struct engine_facts *facts, struct inventory_change *ret_change)
{
	json_t *listed = json_loads(listed_text, 0, NULL);
	json_t *networks = json_loads(networks_text, 0, NULL);
	int ret = container_listed_read(listed, networks, facts, INVENTORY_COMING, ret_change);

	json_decref(listed);
	json_decref(networks);
	return ret;
}

/* About to run: the same document as when it runs, made of other answers. */
static void test_coming(const struct engine_facts *facts)
{
	static const char networks[] =
		"[{\"Id\":\"" NET "\",\"Name\":\"appnet\",\"Containers\":{\"" ID "\":{"
		"\"IPv4Address\":\"172.30.0.2/24\",\"IPv6Address\":\"\","
		"\"MacAddress\":\"02:42:ac:1e:00:02\"},\"other\":{\"IPv4Address\":\"172.30.0.3/"
		"24\"}}},"
		"{\"Id\":\"" NET2 "\",\"Name\":\"wide\",\"Containers\":{\"" ID "\":{"
		"\"IPv4Address\":\"192.0.2.9/24\"}}},{\"Name\":3},7,"
		"{\"Id\":\"x\",\"Name\":\"odd\",\"Containers\":{\"" ID
		"\":{\"IPv4Address\":\"7\"}}}]";
	struct inventory_change coming, running;

	ok(read_coming(LISTED("created"), networks, facts, &coming) == PR_OK &&
	           coming.kind == INVENTORY_COMING && !coming.host_network,
	   "a container that is created may be about to run");
	ok(read_text(running_json, facts, &running) == PR_OK, "running");
	static const unsigned same[] = { CODEC_ENDPOINT_NAME, CODEC_ENDPOINT_IMAGE,
		                         CODEC_ENDPOINT_CONTAINER_ID, CODEC_ENDPOINT_OS_VERSION,
		                         CODEC_ENDPOINT_KIND };
	size_t differ = !pr_uuid_equal(&coming.id, &running.id);
	for (size_t i = 0; i < PR_ARRAY_LEN(same); i++) {
		differ += strcmp(codec_doc_text(coming.endpoint, same[i]),
		                 codec_doc_text(running.endpoint, same[i])) != 0;
	}
	differ += codec_doc_count(coming.endpoint, CODEC_ENDPOINT_ADDRESSES) != 2;
	for (size_t i = 0; i < codec_doc_count(coming.endpoint, CODEC_ENDPOINT_ADDRESSES); i++) {
		differ +=
			strcmp(codec_doc_item(coming.endpoint, CODEC_ENDPOINT_ADDRESSES, i),
		               codec_doc_item(running.endpoint, CODEC_ENDPOINT_ADDRESSES, i)) != 0;
	}
	ok(differ == 0, "name, image, addresses as when it runs (%zu differ)", differ);
	ok(codec_doc_count(coming.endpoint, CODEC_ENDPOINT_LABELS) == 1, "and its label");
	inventory_change_done(&coming);
	inventory_change_done(&running);
	ok(read_coming(LISTED("exited"), "[]", facts, &coming) == PR_OK,
	   "one that ran before, too");
	inventory_change_done(&coming);
	ok(read_coming(LISTED("running"), networks, facts, &coming) == PR_ENOENT,
	   "one that runs already is not");
	ok(read_coming(LISTED("removing"), networks, facts, &coming) == PR_OK &&
	           coming.kind == INVENTORY_DOWN && coming.endpoint == NULL,
	   "one that is being removed is down");
	ok(read_coming("{\"Id\":\"" ID "\",\"State\":\"created\"}", networks, facts, &coming) ==
	           PR_EMALF,
	   "no name");
	ok(read_coming("{}", "{}", facts, &coming) == PR_EMALF, "nothing");
	ok(container_listed_read(NULL, NULL, facts, INVENTORY_COMING, &coming) == PR_EMALF,
	   "no answer");
}

static enum container_news news_of(const char *text, char id[static 65])
{
	json_t *json = json_loads(text, 0, NULL);
	enum container_news news = container_event_read(json, INVENTORY_DOCKER, id);
	json_decref(json);
	return news;
}

static void test_events(void)
{
	char id[65];

	ok(news_of("{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"" ID "\"}}",
	           id) == CONTAINER_LOOK &&
	           strcmp(id, ID) == 0,
	   "event: start");
	ok(news_of("{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" ID "\"}}",
	           id) == CONTAINER_DOWN &&
	           strcmp(id, ID) == 0,
	   "event: it ends");
	ok(news_of("{\"Type\":\"container\",\"Action\":\"destroy\",\"Actor\":{\"ID\":\"" ID "\"}}",
	           id) == CONTAINER_GONE,
	   "event: destroy");
	ok(news_of("{\"Type\":\"container\",\"Action\":\"exec_die\",\"Actor\":{\"ID\":\"" ID "\"}}",
	           id) == CONTAINER_NONE,
	   "event: a process inside ends");
	ok(news_of("{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"../x\"}}",
	           id) == CONTAINER_NONE,
	   "event: no id");
	ok(news_of("{\"Type\":\"network\",\"Action\":\"connect\",\"Actor\":{\"ID\":\"" NET "\","
	           "\"Attributes\":{\"container\":\"" ID "\"}}}",
	           id) == CONTAINER_ATTACHED &&
	           strcmp(id, ID) == 0,
	   "event: connected to a network, perhaps about to run");
	ok(news_of("{\"Type\":\"network\",\"Action\":\"disconnect\",\"Actor\":{\"ID\":\"" NET "\","
	           "\"Attributes\":{\"container\":\"" ID "\"}}}",
	           id) == CONTAINER_DETACHED &&
	           strcmp(id, ID) == 0,
	   "event: disconnected from one");
	ok(news_of("{\"Type\":\"network\",\"Action\":\"create\",\"Actor\":{\"ID\":\"" NET "\"}}",
	           id) == CONTAINER_NETWORKS &&
	           id[0] == '\0',
	   "event: a network is made");
	ok(news_of("[]", id) == CONTAINER_NONE && news_of("{}", id) == CONTAINER_NONE,
	   "event: not one");
}

/* More labels than there is room for: the short ones stay, wherever they stand. */
static void test_labels(const struct engine_facts *facts)
{
	static char large[200000], middle[4001];
	struct inventory_change change;
	json_t *page = json_loads(running_json, 0, NULL);
	json_t *labels = json_object_get(json_object_get(page, "Config"), "Labels");
	char name[32];
	bool tier = false, kept_large = false;

	memset(large, 'x', sizeof(large) - 1);
	memset(middle, 'y', sizeof(middle) - 1);
	json_object_clear(labels);
	(void)json_object_set_new(labels, "too-large", json_string(large));
	large[65536] = '\0';
	(void)json_object_set_new(labels, "large", json_string(large));
	for (unsigned i = 0; i < 50; i++) {
		(void)snprintf(name, sizeof(name), "fill%u", i);
		(void)json_object_set_new(labels, name, json_string(middle));
	}
	(void)json_object_set_new(labels, "tier", json_string("front"));
	ok(container_read(page, facts, &change) == PR_OK && change.kind == INVENTORY_UP &&
	           codec_doc_count(change.endpoint, CODEC_ENDPOINT_LABELS) == 52,
	   "a label of 195 KiB is left out, one of 64 KiB is not");
	inventory_change_done(&change);
	for (unsigned i = 50; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "fill%u", i);
		(void)json_object_set_new(labels, name, json_string(middle));
	}
	ok(container_read(page, facts, &change) == PR_OK, "300 of 4,000 bytes more");
	size_t total = 0, count = codec_doc_count(change.endpoint, CODEC_ENDPOINT_LABELS);
	for (size_t i = 0; i < count; i++) {
		const char *label = codec_doc_item(change.endpoint, CODEC_ENDPOINT_LABELS, i);
		total += strlen(label);
		tier |= strcmp(label, "tier=front") == 0;
		kept_large |= strncmp(label, "large=", 6) == 0;
	}
	ok(total <= 512 << 10 && tier && !kept_large, "bounded, and the short one is there");
	inventory_change_done(&change);
	json_decref(page);
}

/* Does the host come to be told with so many sessions, and a lack or none? 10 s at most. */
static bool told(inventory_t *inventory, size_t sessions, bool lack)
{
	for (unsigned i = 0; i < 10000; i++) {
		struct inventory_change change;
		while (inventory_next(inventory, &change) == PR_OK) {
			const codec_doc_t *doc = change.endpoint;
			bool good = change.kind == INVENTORY_HOST &&
			            codec_doc_count(doc, CODEC_ENDPOINT_SESSIONS) == sessions &&
			            (codec_doc_text(doc, CODEC_ENDPOINT_SESSIONS_LACK)[0] !=
			             '\0') == lack;
			inventory_change_done(&change);
			if (good) {
				return true;
			}
		}
		(void)poll(NULL, 0, 1);
	}
	return false;
}

/* Who logs in or out is told by the next look; what did not change is not sent. */
static void test_sessions(void)
{
	char path[] = "/tmp/portreeve-test-XXXXXX";
	struct utmp record = { .ut_type = USER_PROCESS, .ut_pid = getpid(), .ut_user = "ana" };
	const struct inventory_options options = { .utmp = path, .agent_version = "1" };
	_cleanup_(inventory_destroy) inventory_t *inventory = NULL;
	int fd = mkstemp(path);

	if (fd < 0 || inventory_start(&options, &inventory) != PR_OK) {
		ok(false, "inventory starts");
		return;
	}
	ok(told(inventory, 0, false), "nobody is in");
	ok(write(fd, &record, sizeof(record)) == sizeof(record) && told(inventory, 1, false),
	   "who logs in is told");
	ok(unlink(path) == 0 && told(inventory, 0, true), "and that the file has gone");
	close(fd);
}

int main(void)
{
	static const struct host_facts host = { .name = "dockersrv" };
	static struct engine_facts facts = { .host = &host };
	test_networks(&facts);
	test_running(&facts);
	test_others(&facts);
	test_coming(&facts);
	test_events();
	test_labels(&facts);
	test_sessions();
	return tap_done();
}
