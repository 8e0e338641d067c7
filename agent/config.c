/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config.h"
#include "base/clock.h"
#include "base/err.h"

static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };

#define ROW(name_, type_, field, min_, max_, fallback_, unit_, doc_)                              \
	{                                                                                         \
		.name = (name_), .type = (type_), .offset = offsetof(struct agent_config, field), \
		.min = (min_), .max = (max_), .fallback = (fallback_), .unit = (unit_),           \
		.doc = (doc_)                                                                     \
	}

const struct pr_conf_row agent_config_rows[] = {
	ROW("state_directory", PR_CONF_PATH, state_directory, 0, 0, "/var/lib/portreeve/agent",
	    NULL, "Key, what the controller said, and events on their way. Made 0700."),
	ROW("name", PR_CONF_STRING, name, 0, 0, "", NULL,
	    "Name of this host in policy and tables. Empty: the system's host name."),
	ROW("controller", PR_CONF_LIST, controllers, 0, 8, "", NULL,
	    "A controller's admin port and its key: tcp://ADDRESS:PORT KEY. May be repeated. "
	    "Empty: the one that --enroll spoke to."),
	ROW("authority_key", PR_CONF_STRING, authority_key, 0, 0, "", NULL,
	    "Key that signs directory and state. Empty: the one that --enroll was told."),
	ROW("source", PR_CONF_STRING, source, 0, 0, "", NULL,
	    "Address to connect from. Empty: the kernel's choice."),
	ROW("docker_socket", PR_CONF_STRING, docker_socket, 0, 0, "/var/run/docker.sock", NULL,
	    "The Docker engine's socket; none: no engine on this host."),
	ROW("podman_socket", PR_CONF_LIST, podman_sockets, 0, INVENTORY_PODMAN_MAX,
	    "/run/podman/podman.sock", NULL,
	    "Socket of `podman system service` or of Debian's podman.socket. May be repeated. "
	    "Empty: no such engine. One that is not there is tried again, as Docker's is."),
	ROW("namespace", PR_CONF_LIST, namespaces, 0, INVENTORY_NAMESPACE_MAX, "", NULL,
	    "A network namespace that is an endpoint of its own: NAME PATH, for example build "
	    "/run/netns/build. May be repeated. With the word global behind: its addresses mean "
	    "the same on every host."),
	ROW("utmp", PR_CONF_STRING, utmp, 0, 0, "/var/run/utmp", NULL,
	    "Where login sessions are read; none: they are not."),
	ROW("queue", PR_CONF_UINT, queue, 0, 65535, "7400", NULL,
	    "NFQUEUE number in every namespace."),
	ROW("log_group", PR_CONF_UINT, log_group, 1, 65535, "7400", NULL,
	    "NFLOG group in every namespace."),
	ROW("mark_mask", PR_CONF_UINT, mark_mask, 1, UINT32_MAX, "0x30000000", NULL,
	    "Bits of packet and connection marks that are ours. No other program may use them."),
	ROW("mark_allow", PR_CONF_UINT, mark_allow, 1, UINT32_MAX, "0x10000000", NULL,
	    "Within mark_mask: the flow was allowed."),
	ROW("mark_reject", PR_CONF_UINT, mark_reject, 1, UINT32_MAX, "0x20000000", NULL,
	    "Within mark_mask: the packet is to be refused with RST or ICMP."),
	ROW("deadline", PR_CONF_DURATION, deadline_ns, PR_NS_PER_S / 2, 60 * PR_NS_PER_S, "5s",
	    "ms", "A held packet waits no longer; then the group's lost-controller mode decides."),
	ROW("copy_size", PR_CONF_SIZE, copy_bytes, 128, 4096, "256", "bytes",
	    "Of each packet that is looked at."),
	ROW("receive_buffer", PR_CONF_SIZE, receive_buffer_bytes, 1 << 16, 1 << 28, "8M", "bytes",
	    "Bound of the kernel's buffer for each queue and log socket."),
	ROW("spool_size", PR_CONF_SIZE, spool_bytes, 1 << 20, 1ULL << 36, "256M", "bytes",
	    "Events kept on disk while no recorder takes them. Beyond it the newest are lost and "
	    "counted."),
	ROW("questions", PR_CONF_UINT, questions_max, 64, 1 << 20, "16384", NULL,
	    "Connections that may wait for an answer at once. Beyond it they are denied and "
	    "counted."),
	{ .name = "ebpf",
	  .type = PR_CONF_BOOL,
	  .offset = offsetof(struct agent_config, ebpf),
	  .fallback = "yes",
	  .doc = "Note in the kernel who begins a connection. no: look for the process in /proc "
	         "alone." },
	{ .name = "share_cpu",
	  .type = PR_CONF_BOOL,
	  .offset = offsetof(struct agent_config, share_cpu),
	  .fallback = "yes",
	  .doc = "Decide on one CPU while there is little to do: answers come sooner. no: the "
	         "kernel chooses." },
	{ .name = "log_level",
	  .type = PR_CONF_ENUM,
	  .offset = offsetof(struct agent_config, log_level),
	  .fallback = "info",
	  .choices = log_levels,
	  .doc = "What is logged." },
};

const size_t agent_config_row_count = PR_ARRAY_LEN(agent_config_rows);

static int podman_check(const struct pr_conf_list *sockets, struct pr_conf_error *ret_error)
{
	for (size_t i = 0; i < sockets->count; i++) {
		const char *path = sockets->items[i];
		bool again = false;
		for (size_t j = 0; j < i; j++) {
			again = again || strcmp(path, sockets->items[j]) == 0;
		}
		if (path[0] != '/' || again) {
			(void)snprintf(ret_error->text, sizeof(ret_error->text),
			               "podman_socket '%.200s' %s", path,
			               again ? "is given twice" : "must be an absolute path");
			return PR_ECONF;
		}
	}
	return PR_OK;
}

static int namespaces_check(const struct pr_conf_list *lines, struct pr_conf_error *ret_error)
{
	struct inventory_namespace *named = calloc(lines->count + 1, sizeof(*named));
	const char *why = "";
	int ret = named != NULL ? PR_OK : PR_ENOMEM;

	for (size_t i = 0; ret == PR_OK && i < lines->count; i++) {
		ret = inventory_namespace_read(lines->items[i], &named[i], &why);
		for (size_t j = 0; ret == PR_OK && j < i; j++) {
			bool name = strcmp(named[j].name, named[i].name) == 0;
			if (name || strcmp(named[j].path, named[i].path) == 0) {
				why = name ? "has a name that is given twice"
				           : "has a path that is given twice";
				ret = PR_EINVAL;
			}
		}
		if (ret != PR_OK) {
			(void)snprintf(ret_error->text, sizeof(ret_error->text),
			               "namespace '%.300s' %s", lines->items[i], why);
		}
	}
	free(named);
	return ret == PR_EINVAL ? PR_ECONF : ret;
}

int agent_config_check(const struct agent_config *config, struct pr_conf_error *ret_error)
{
	const char *wrong = NULL;
	uint64_t both = config->mark_allow | config->mark_reject;

	if ((both & ~config->mark_mask) != 0) {
		wrong = "mark_allow and mark_reject must lie within mark_mask";
	} else if ((config->mark_allow & config->mark_reject) != 0) {
		wrong = "mark_allow and mark_reject must be different bits";
	} else if (config->docker_socket[0] != '/' && strcmp(config->docker_socket, "none") != 0) {
		wrong = "docker_socket must be an absolute path, or none";
	} else if (config->utmp[0] != '/' && strcmp(config->utmp, "none") != 0) {
		wrong = "utmp must be an absolute path, or none";
	} else if (config->name != NULL && strlen(config->name) > 200) {
		wrong = "name must be at most 200 bytes";
	}
	if (wrong != NULL) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text), "%s", wrong);
		return PR_ECONF;
	}
	int ret = podman_check(&config->podman_sockets, ret_error);
	return ret == PR_OK ? namespaces_check(&config->namespaces, ret_error) : ret;
}

struct inventory_options agent_config_inventory(const struct agent_config *config)
{
	return (struct inventory_options){
		.docker_socket = config->docker_socket[0] == '/' ? config->docker_socket : "",
		.podman_sockets = (const char *const *)config->podman_sockets.items,
		.podman_count = config->podman_sockets.count,
		.namespaces = (const char *const *)config->namespaces.items,
		.namespace_count = config->namespaces.count,
		.utmp = config->utmp[0] == '/' ? config->utmp : "",
	};
}
