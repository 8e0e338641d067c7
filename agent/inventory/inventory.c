/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/inventory/internal.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/process.h"

#define LOG_COMPONENT "inventory"
#include "base/log.h"

#define REFRESH_MS       2000
#define REFUSED_RETRY_MS 10000
#define REFUSED_MAX      64

/* A running container with a network of its own. */
struct running {
	struct running *next;
	char id[65];
	pid_t pid;
	uint64_t listeners; /* fingerprint of what was sent */
};

struct item {
	struct item *next;
	struct inventory_change change;
};

struct inventory {
	pthread_t thread;
	bool started;
	int change_fd, stop_fd; /* eventfds */
	pthread_mutex_t lock;   /* of head and tail */
	struct item *head, **tail;

	/* the thread's own from here on */
	char *socket_path, *utmp_path;
	struct host_facts facts;
	uint8_t *host_bytes; /* last host document sent, to see a change */
	size_t host_size_bytes;
	bool engine_up, engine_said;
	listeners_t *listeners;
	struct running *running;
	uint64_t refreshed_ns;
	char refused[REFUSED_MAX][65]; /* ids of containers whose pages cannot be used */
	size_t refused_count;
	uint64_t refused_ns; /* when they were looked at last */
};

static void eventfd_raise(int fd)
{
	uint64_t one = 1;
	(void)!write(fd, &one, sizeof(one));
}

/* Takes the change's document. Out of memory here loses nothing for good: the next list says it. */
static void change_push(inventory_t *inventory, const struct inventory_change *change)
{
	struct item *item = calloc(1, sizeof(*item));
	if (item == NULL) {
		struct inventory_change lost = *change;
		inventory_change_done(&lost);
		return;
	}
	item->change = *change;
	(void)pthread_mutex_lock(&inventory->lock);
	*inventory->tail = item;
	inventory->tail = &item->next;
	(void)pthread_mutex_unlock(&inventory->lock);
	eventfd_raise(inventory->change_fd);
}

static void engine_say(inventory_t *inventory, bool up, const char *what, int error)
{
	if (inventory->engine_said && inventory->engine_up == up) {
		return;
	}
	struct inventory_change change = { .kind = INVENTORY_ENGINE, .engine_up = up };
	if (!up) {
		(void)snprintf(change.text, sizeof(change.text), "%s: %s", what,
		               pr_strerror(error));
	}
	inventory->engine_said = true;
	inventory->engine_up = up;
	change_push(inventory, &change);
}

/* Sends the host's document when it differs from the last one. */
static void host_refresh(inventory_t *inventory)
{
	uint8_t *bytes = NULL;
	size_t size_bytes = 0;
	if (inventory->listeners != NULL && listeners_lost(inventory->listeners)) {
		return;
	}
	codec_doc_t *doc = host_endpoint(&inventory->facts);
	if (doc != NULL && inventory->listeners != NULL) {
		(void)listeners_add(inventory->listeners, 0, doc);
	}
	if (doc != NULL && inventory->utmp_path[0] != '\0') {
		sessions_add(inventory->utmp_path, doc);
	} else if (doc != NULL) {
		codec_doc_set_text(doc, CODEC_ENDPOINT_SESSIONS_LACK,
		                   "not read: the agent's configuration says utmp = none");
	}
	if (doc == NULL || codec_doc_encode(doc, &bytes, &size_bytes) != PR_OK) {
		codec_doc_destroy(&doc);
		return;
	}
	if (size_bytes == inventory->host_size_bytes &&
	    memcmp(bytes, inventory->host_bytes, size_bytes) == 0) {
		free(bytes);
		codec_doc_destroy(&doc);
		return;
	}
	free(inventory->host_bytes);
	inventory->host_bytes = bytes;
	inventory->host_size_bytes = size_bytes;
	change_push(inventory, &(struct inventory_change){ .kind = INVENTORY_HOST,
	                                                   .id = inventory->facts.id,
	                                                   .endpoint = doc });
}

static void process_facts_add(struct inventory_change *change)
{
	char path[64];
	struct stat namespace;

	change->start_ticks = pr_process_start_ticks(change->pid);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)change->pid);
	if (stat(path, &namespace) == 0) {
		codec_doc_set_u64(change->endpoint, CODEC_ENDPOINT_NAMESPACE, namespace.st_ino);
	}
}

/* ---- running containers ---- */

static void running_remove(inventory_t *inventory, const char *id)
{
	for (struct running **at = &inventory->running; *at != NULL; at = &(*at)->next) {
		if (strcmp((*at)->id, id) == 0) {
			struct running *gone = *at;
			*at = gone->next;
			free(gone);
			return;
		}
	}
}

/* Out of memory: its listeners are not followed until it is listed again. */
static void running_put(inventory_t *inventory, const char *id, pid_t pid, uint64_t listeners)
{
	running_remove(inventory, id);
	struct running *running = calloc(1, sizeof(*running));
	if (running != NULL) {
		(void)snprintf(running->id, sizeof(running->id), "%s", id);
		running->pid = pid;
		running->listeners = listeners;
		running->next = inventory->running;
		inventory->running = running;
	}
}

static void running_done(inventory_t *inventory)
{
	while (inventory->running != NULL) {
		struct running *gone = inventory->running;
		inventory->running = gone->next;
		free(gone);
	}
}

/* The listeners of a container's own namespace. */
static void container_listeners(inventory_t *inventory, const char *id,
                                const struct inventory_change *change)
{
	if (change->kind != INVENTORY_UP || change->host_network || inventory->listeners == NULL) {
		running_remove(inventory, id);
		return;
	}
	running_put(inventory, id, change->pid,
	            listeners_add(inventory->listeners, change->pid, change->endpoint));
}

/* ---- containers whose page cannot be used ---- */

/* False: it is not among them, and with @p add there is no room for it. */
static bool refused_set(inventory_t *inventory, const char *id, bool add)
{
	size_t at = 0;

	while (at < inventory->refused_count && strcmp(inventory->refused[at], id) != 0) {
		at++;
	}
	bool known = at < inventory->refused_count;
	if (known && !add) {
		memcpy(inventory->refused[at], inventory->refused[--inventory->refused_count],
		       sizeof(inventory->refused[at]));
	} else if (!known && add && at < REFUSED_MAX) {
		(void)snprintf(inventory->refused[at], sizeof(inventory->refused[at]), "%s", id);
		inventory->refused_count++;
	}
	return known;
}

/* The others go on. Said once; looked at again now and then, and at the engine's next word of it.
 */
static bool container_refuse(inventory_t *inventory, const char *id, int error)
{
	if (error != PR_EMALF && error != PR_ETOOBIG && error != PR_EIO) {
		return false; /* the engine's own trouble */
	}
	if (!refused_set(inventory, id, true)) {
		log_warn("container %.12s: what the Docker engine says of it is not usable: %s; it "
		         "stays as it was known, or unknown",
		         id, pr_strerror(error));
	}
	return true;
}

static int container_refresh(inventory_t *inventory, docker_t *docker, const char *id)
{
	char path[128];
	json_t *inspected = NULL;
	struct inventory_change change;

	if (strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64) {
		return PR_OK;
	}
	(void)snprintf(path, sizeof(path), "/containers/%s/json", id);
	int ret = docker_get(docker, path, &inspected);
	if (ret == PR_ENOENT) { /* gone between event and look */
		(void)refused_set(inventory, id, false);
		change_push(inventory,
		            &(struct inventory_change){ .kind = INVENTORY_GONE,
		                                        .id = pr_uuid_of_container(id) });
		return PR_OK;
	}
	if (ret == PR_OK) {
		ret = container_read(inspected, &inventory->facts, &change);
		json_decref(inspected);
	}
	if (ret != PR_OK) {
		return container_refuse(inventory, id, ret) ? PR_OK : ret;
	}
	(void)refused_set(inventory, id, false);
	if (change.kind == INVENTORY_UP) {
		process_facts_add(&change);
	}
	container_listeners(inventory, id, &change);
	change_push(inventory, &change);
	return PR_OK;
}

static int containers_look(inventory_t *inventory, docker_t *docker)
{
	char id[65];
	int ret = PR_OK;

	/* A refresh takes the container out of the list and puts it in front: next stays. */
	for (struct running *at = inventory->running; at != NULL && ret == PR_OK;) {
		struct running *next = at->next;
		uint64_t now = listeners_look(inventory->listeners, at->pid);
		if (now != 0 && now != at->listeners) {
			(void)snprintf(id, sizeof(id), "%s", at->id);
			ret = container_refresh(inventory, docker, id);
		}
		at = next;
	}
	return ret;
}

static int refused_look(inventory_t *inventory, docker_t *docker, uint64_t now_ns)
{
	char id[65];
	int ret = PR_OK;

	if (now_ns - inventory->refused_ns < REFUSED_RETRY_MS * PR_NS_PER_MS) {
		return PR_OK;
	}
	inventory->refused_ns = now_ns;
	/* From behind: one that is taken out makes room for the last one. */
	for (size_t i = inventory->refused_count; i > 0 && ret == PR_OK; i--) {
		(void)snprintf(id, sizeof(id), "%s", inventory->refused[i - 1]);
		ret = container_refresh(inventory, docker, id);
	}
	return ret;
}

/* What no event tells: addresses, listeners. */
static int refresh(inventory_t *inventory, docker_t *docker)
{
	uint64_t now_ns = pr_clock_monotonic_ns();
	int ret = PR_OK;

	if (now_ns - inventory->refreshed_ns < REFRESH_MS * PR_NS_PER_MS) {
		return PR_OK;
	}
	inventory->refreshed_ns = now_ns;
	if (inventory->listeners == NULL) {
		host_refresh(inventory);
		return PR_OK;
	}
	listeners_round_begin(inventory->listeners);
	host_refresh(inventory);
	if (docker != NULL) {
		ret = containers_look(inventory, docker);
	}
	if (docker != NULL && ret == PR_OK) {
		ret = refused_look(inventory, docker, now_ns);
	}
	listeners_round_end(inventory->listeners);
	return ret;
}

static int networks_refresh(inventory_t *inventory, docker_t *docker)
{
	json_t *networks = NULL;
	int ret = docker_get(docker, "/networks", &networks);
	if (ret != PR_OK) {
		return ret;
	}
	container_networks_read(networks, &inventory->facts);
	json_decref(networks);
	host_refresh(inventory);
	return PR_OK;
}

static int list_all(inventory_t *inventory, docker_t *docker)
{
	size_t index;
	json_t *item, *list = NULL;

	int ret = networks_refresh(inventory, docker);
	if (ret == PR_OK) {
		ret = docker_get(docker, "/containers/json", &list);
	}
	if (ret == PR_OK && !json_is_array(list)) {
		json_decref(list);
		ret = PR_EMALF;
	}
	if (ret != PR_OK) {
		return ret;
	}
	json_array_foreach(list, index, item)
	{
		const char *id = json_string_value(json_object_get(item, "Id"));
		ret = id != NULL ? container_refresh(inventory, docker, id) : PR_OK;
		if (ret != PR_OK) {
			break;
		}
	}
	json_decref(list);
	if (ret == PR_OK) {
		change_push(inventory, &(struct inventory_change){ .kind = INVENTORY_SYNCED });
	}
	return ret;
}

static int event_handle(inventory_t *inventory, docker_t *docker, const json_t *event)
{
	const char *type = json_string_value(json_object_get(event, "Type"));
	const char *action = json_string_value(json_object_get(event, "Action"));
	const json_t *actor = json_object_get(event, "Actor");
	const char *id = json_string_value(json_object_get(actor, "ID"));
	if (type == NULL || action == NULL || id == NULL) {
		return PR_OK;
	}
	if (strcmp(type, "network") == 0) {
		const char *container = json_string_value(
			json_object_get(json_object_get(actor, "Attributes"), "container"));
		int ret = networks_refresh(inventory, docker);
		return ret == PR_OK && container != NULL
		               ? container_refresh(inventory, docker, container)
		               : ret;
	}
	if (strcmp(action, "destroy") == 0 && strlen(id) == 64) {
		running_remove(inventory, id);
		change_push(inventory,
		            &(struct inventory_change){ .kind = INVENTORY_GONE,
		                                        .id = pr_uuid_of_container(id) });
		return PR_OK;
	}
	static const char *const looked_at[] = { "start", "die", "rename", "pause", "unpause" };
	for (size_t i = 0; i < PR_ARRAY_LEN(looked_at); i++) {
		if (strcmp(action, looked_at[i]) == 0) {
			return container_refresh(inventory, docker, id);
		}
	}
	return PR_OK;
}

static bool stop_asked(const inventory_t *inventory, int timeout_ms)
{
	struct pollfd stop = { .fd = inventory->stop_fd, .events = POLLIN };
	return poll(&stop, 1, timeout_ms) > 0;
}

/* One connection to the engine, from the stream's opening to its end. */
static int engine_follow(inventory_t *inventory)
{
	_cleanup_(docker_destroy) docker_t *docker = NULL;
	int ret = docker_open(inventory->socket_path, &docker);
	if (ret == PR_OK) {
		ret = docker_events_open(docker);
	}
	if (ret == PR_OK) {
		ret = list_all(inventory, docker);
	}
	if (ret == PR_OK) {
		engine_say(inventory, true, "", PR_OK);
	}
	while (ret == PR_OK && !stop_asked(inventory, 0)) {
		json_t *event = NULL;
		ret = docker_events_next(docker, inventory->stop_fd, REFRESH_MS, &event);
		if (ret == PR_OK && event != NULL) {
			ret = event_handle(inventory, docker, event);
		}
		json_decref(event);
		if (ret == PR_OK) {
			ret = refresh(inventory, docker);
		}
	}
	return ret;
}

static void *inventory_run(void *arg)
{
	inventory_t *inventory = arg;

	/* The host's document waits for the first answer of the engine, or for its silence: before
	 * that, addresses of container bridges would pass for addresses of the world. */
	host_facts_read(&inventory->facts);
	inventory->listeners = listeners_new();
	bool engine = inventory->socket_path[0] != '\0';
	do {
		int ret = engine ? engine_follow(inventory) : PR_OK;
		if (ret != PR_OK) {
			engine_say(inventory, false, inventory->socket_path, ret);
			log_debug("engine at %s: %s, trying again", inventory->socket_path,
			          pr_strerror(ret));
		}
		inventory->refreshed_ns = 0;
		(void)refresh(inventory, NULL);
	} while (!stop_asked(inventory, INVENTORY_RETRY_MS));
	running_done(inventory);
	listeners_destroy(&inventory->listeners);
	return NULL;
}

int inventory_start(const struct inventory_options *options, inventory_t **ret_inventory)
{
	_cleanup_(inventory_destroy) inventory_t *inventory = calloc(1, sizeof(*inventory));
	if (inventory == NULL) {
		return PR_ENOMEM;
	}
	inventory->tail = &inventory->head;
	inventory->facts.id = options->host;
	(void)snprintf(inventory->facts.version, sizeof(inventory->facts.version), "%s",
	               options->agent_version);
	(void)snprintf(inventory->facts.name, sizeof(inventory->facts.name), "%s",
	               options->host_name != NULL ? options->host_name : "");
	(void)pthread_mutex_init(&inventory->lock, NULL);
	inventory->change_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	inventory->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	inventory->socket_path =
		strdup(options->docker_socket != NULL ? options->docker_socket : "");
	inventory->utmp_path = strdup(options->utmp != NULL ? options->utmp : "");
	if (inventory->utmp_path == NULL || inventory->change_fd < 0 || inventory->stop_fd < 0 ||
	    inventory->socket_path == NULL) {
		return PR_ENOMEM;
	}
	int ret = pthread_create(&inventory->thread, NULL, inventory_run, inventory);
	if (ret != 0) {
		return -ret;
	}
	inventory->started = true;
	*ret_inventory = take_ptr(inventory);
	return PR_OK;
}

void inventory_destroy(inventory_t **inventory_p)
{
	inventory_t *inventory = *inventory_p;
	struct inventory_change change;
	if (inventory == NULL) {
		return;
	}
	if (inventory->started) {
		eventfd_raise(inventory->stop_fd);
		(void)pthread_join(inventory->thread, NULL);
	}
	while (inventory_next(inventory, &change) == PR_OK) {
		inventory_change_done(&change);
	}
	pr_fd_close(&inventory->change_fd);
	pr_fd_close(&inventory->stop_fd);
	(void)pthread_mutex_destroy(&inventory->lock);
	free(inventory->host_bytes);
	free(inventory->socket_path);
	free(inventory->utmp_path);
	free(inventory);
	*inventory_p = NULL;
}

int inventory_fd(const inventory_t *inventory)
{
	return inventory->change_fd;
}

int inventory_next(inventory_t *inventory, struct inventory_change *ret_change)
{
	uint64_t count;

	(void)pthread_mutex_lock(&inventory->lock);
	struct item *item = inventory->head;
	if (item != NULL) {
		inventory->head = item->next;
		if (inventory->head == NULL) {
			inventory->tail = &inventory->head;
		}
	} else {
		(void)!read(inventory->change_fd, &count, sizeof(count));
	}
	(void)pthread_mutex_unlock(&inventory->lock);
	if (item == NULL) {
		return PR_EAGAIN;
	}
	*ret_change = item->change;
	free(item);
	return PR_OK;
}

void inventory_change_done(struct inventory_change *change)
{
	codec_doc_destroy(&change->endpoint);
}
