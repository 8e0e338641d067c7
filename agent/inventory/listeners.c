/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/inventory/listeners.h"
#include "base/cgroup.h"
#include "base/err.h"

#define LOG_COMPONENT "inventory"
#include "base/log.h"

#define KNOWN_MAX           16384 /* sockets of the whole host */
#define EPHEMERAL_UDP_FIRST 32768
#define RECEIVE_BYTES       32768
#define WAIT_S              2
#define PROCESS_BYTES       64
#define LINE_BYTES          (PROCESS_BYTES + 40)

/* A socket and who holds it; pid 0: nobody that can be seen (the kernel). */
struct known {
	uint64_t inode;
	pid_t pid;
	bool looked_for, seen;
	char process[PROCESS_BYTES];
	char guest[PR_CGROUP_ID_BYTES]; /* whose it is; empty: no guest's */
};

/* One socket of the namespace that is being looked at. */
struct found {
	uint64_t inode;
	uint8_t proto;
	uint16_t port;
};

struct listeners {
	int host_fd; /* the host's network namespace */
	struct known *known;
	size_t known_count, known_room;
	struct found found[LISTENERS_MAX];
	size_t found_count;
	guests_t *guests;
	uint64_t guests_generation; /* when holders were looked for */
	bool lost;                  /* the thread could not come back: never again */
};

listeners_t *listeners_new(guests_t *guests)
{
	listeners_t *listeners = calloc(1, sizeof(*listeners));

	if (listeners != NULL) {
		listeners->guests = guests;
		listeners->host_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		if (listeners->host_fd < 0) {
			free(listeners);
			return NULL;
		}
	}
	return listeners;
}

void listeners_destroy(listeners_t **listeners_p)
{
	if (*listeners_p != NULL) {
		pr_fd_close(&(*listeners_p)->host_fd);
		free((*listeners_p)->known);
		free(*listeners_p);
		*listeners_p = NULL;
	}
}

/* ---- guests ---- */

/* Who holds what was seen before has to be looked at again when there are others. */
static void guests_follow(listeners_t *listeners)
{
	uint64_t generation = guests_generation(listeners->guests);

	if (generation == listeners->guests_generation) {
		return;
	}
	listeners->guests_generation = generation;
	for (size_t i = 0; i < listeners->known_count; i++) {
		struct known *known = &listeners->known[i];
		*known = (struct known){ .inode = known->inode, .seen = known->seen };
	}
}

static void guest_read(const listeners_t *listeners, int process,
                       char guest[static PR_CGROUP_ID_BYTES])
{
	char text[PR_CGROUP_TEXT_BYTES];
	size_t used = 0;

	guest[0] = '\0';
	if (listeners->guests_generation == 0) {
		return; /* there never was one */
	}
	_cleanup_(pr_fd_close) int fd = openat(process, "cgroup", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && used < sizeof(text) - 1) {
		ssize_t got = read(fd, text + used, sizeof(text) - 1 - used);
		if (got <= 0) {
			break;
		}
		used += (size_t)got;
	}
	text[used] = '\0';
	guests_find(listeners->guests, text, guest);
}

/* ---- what the kernel says ---- */

static int socket_take(const struct nlmsghdr *message, void *arg)
{
	listeners_t *listeners = arg;
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*socket) ||
	    listeners->found_count == LISTENERS_MAX) {
		return MNL_CB_OK;
	}
	uint16_t port = ntohs(socket->id.idiag_sport);
	bool udp = socket->idiag_state != TCP_LISTEN;
	if (port != 0 && (!udp || (socket->id.idiag_dport == 0 && port < EPHEMERAL_UDP_FIRST))) {
		listeners->found[listeners->found_count++] =
			(struct found){ .inode = socket->idiag_inode,
			                .proto = udp ? IPPROTO_UDP : IPPROTO_TCP,
			                .port = port };
	}
	return MNL_CB_OK;
}

static int dump(listeners_t *listeners, struct mnl_socket *netlink, uint8_t family, uint8_t proto)
{
	char buffer[RECEIVE_BYTES];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	unsigned port = mnl_socket_get_portid(netlink);
	int ret = MNL_CB_OK;

	message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	message->nlmsg_seq = (uint32_t)(family * 256U + proto);
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(message, sizeof(*request));
	request->sdiag_family = family;
	request->sdiag_protocol = proto;
	request->idiag_states = 1U << (proto == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
	unsigned sequence = message->nlmsg_seq;
	if (mnl_socket_sendto(netlink, message, message->nlmsg_len) < 0) {
		return -errno;
	}
	while (ret == MNL_CB_OK) {
		ssize_t got = mnl_socket_recvfrom(netlink, buffer, sizeof(buffer));
		if (got < 0) {
			return -errno;
		}
		ret = mnl_cb_run(buffer, (size_t)got, sequence, port, socket_take, listeners);
	}
	return ret == MNL_CB_STOP ? PR_OK : -errno;
}

static int dump_all(listeners_t *listeners)
{
	static const struct {
		uint8_t family, proto;
	} asked[] = { { AF_INET, IPPROTO_TCP },
		      { AF_INET6, IPPROTO_TCP },
		      { AF_INET, IPPROTO_UDP },
		      { AF_INET6, IPPROTO_UDP } };
	const struct timeval patience = { .tv_sec = WAIT_S };
	struct mnl_socket *netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int ret = PR_OK;

	if (netlink == NULL) {
		return -errno;
	}
	if (mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(netlink), SOL_SOCKET, SO_RCVTIMEO, &patience,
	               sizeof(patience)) != 0) {
		ret = -errno;
	}
	for (size_t i = 0; ret == PR_OK && i < PR_ARRAY_LEN(asked); i++) {
		ret = dump(listeners, netlink, asked[i].family, asked[i].proto);
	}
	(void)mnl_socket_close(netlink);
	return ret;
}

static int dump_run(void *arg)
{
	return dump_all(arg);
}

int listeners_visit(listeners_t *listeners, const char *path, int (*fn)(void *arg), void *arg)
{
	if (listeners->lost) {
		return PR_EPERM;
	}
	_cleanup_(pr_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) {
		return -errno;
	}
	int ret = fn(arg);
	if (setns(listeners->host_fd, CLONE_NEWNET) != 0) {
		listeners->lost = true;
		log_error("cannot come back into the host's network namespace: %s; listeners and "
		          "addresses of this host stay as they were: restart the agent",
		          pr_strerror(-errno));
		ret = PR_EPERM;
	}
	return ret;
}

/* Sockets belong to the namespace that they were made in: there, look, and back. */
static int namespace_dump(listeners_t *listeners, const char *path)
{
	listeners->found_count = 0;
	if (path != NULL) {
		return listeners_visit(listeners, path, dump_run, listeners);
	}
	return listeners->lost ? PR_EPERM : dump_all(listeners);
}

/* ---- who holds a socket ---- */

static int known_compare(const void *a, const void *b)
{
	uint64_t left = ((const struct known *)a)->inode, right = ((const struct known *)b)->inode;

	return (left > right) - (left < right);
}

static struct known *known_find(const listeners_t *listeners, uint64_t inode)
{
	struct known key = { .inode = inode };

	return listeners->known_count > 0 ? bsearch(&key, listeners->known, listeners->known_count,
	                                            sizeof(key), known_compare)
	                                  : NULL;
}

/* Note the sockets of this look. True: one of them is new. */
static bool known_update(listeners_t *listeners)
{
	bool fresh = false;
	size_t before = listeners->known_count;

	for (size_t i = 0; i < listeners->found_count; i++) {
		struct known key = { .inode = listeners->found[i].inode, .seen = true };
		struct known *known = before > 0 ? bsearch(&key, listeners->known, before,
		                                           sizeof(key), known_compare)
		                                 : NULL;
		if (known != NULL) {
			known->seen = true;
			fresh |= !known->looked_for;
			continue;
		}
		if (listeners->known_count == listeners->known_room) {
			size_t room = listeners->known_room != 0 ? 2 * listeners->known_room : 64;
			struct known *grown =
				room <= KNOWN_MAX ? realloc(listeners->known, room * sizeof(*grown))
						  : NULL;
			if (grown == NULL) {
				break;
			}
			listeners->known = grown;
			listeners->known_room = room;
		}
		listeners->known[listeners->known_count++] = key;
		fresh = true;
	}
	if (listeners->known_count > before) {
		qsort(listeners->known, listeners->known_count, sizeof(*listeners->known),
		      known_compare);
	}
	return fresh;
}

/* The program's name, exactly; cut between characters where it is too long. */
static void process_name(char *path, char process[static PROCESS_BYTES])
{
	static const char deleted[] = " (deleted)";
	char *slash = strrchr(path, '/');
	char *name = slash != NULL ? slash + 1 : path;
	size_t length = strlen(name);

	if (length >= sizeof(deleted) &&
	    strcmp(name + length - (sizeof(deleted) - 1), deleted) == 0) {
		length -= sizeof(deleted) - 1;
	}
	while (!codec_bytes_format(name, length, process, PROCESS_BYTES)) {
		do {
			length--;
		} while (length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80);
	}
}

static void process_read(int folder, char process[static PROCESS_BYTES])
{
	char path[PATH_MAX];
	ssize_t got = readlinkat(folder, "exe", path, sizeof(path) - 1);

	if (got <= 0) {
		(void)snprintf(process, PROCESS_BYTES, "-");
		return;
	}
	path[got] = '\0';
	process_name(path, process);
}

static void descriptor_look(listeners_t *listeners, int process, pid_t pid, int folder,
                            const char *name)
{
	char text[64];
	unsigned long long inode = 0;
	ssize_t got = readlinkat(folder, name, text, sizeof(text) - 1);

	if (got <= 0) {
		return;
	}
	text[got] = '\0';
	if (sscanf(text, "socket:[%llu]", &inode) != 1) {
		return;
	}
	struct known *known = known_find(listeners, inode);
	if (known != NULL && !known->looked_for && known->pid == 0) {
		known->pid = pid;
		process_read(process, known->process);
		guest_read(listeners, process, known->guest);
	}
}

static void process_look(listeners_t *listeners, int proc, const char *name)
{
	const struct dirent *entry;
	_cleanup_(pr_fd_close) int process =
		openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int fds = process >= 0 ? openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *folder = fds >= 0 ? fdopendir(fds) : NULL;

	if (folder == NULL) {
		if (fds >= 0) {
			close(fds);
		}
		return;
	}
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] != '.') {
			descriptor_look(listeners, process, (pid_t)strtol(name, NULL, 10),
			                dirfd(folder), entry->d_name);
		}
	}
	(void)closedir(folder);
}

static void processes_look(listeners_t *listeners)
{
	const struct dirent *entry;
	DIR *proc = opendir("/proc");

	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') {
			process_look(listeners, dirfd(proc), entry->d_name);
		}
	}
	if (proc != NULL) {
		(void)closedir(proc);
	}
	for (size_t i = 0; i < listeners->known_count; i++) {
		listeners->known[i].looked_for = true;
	}
}

/* A socket outlives the process that was seen with it, when another holds it too. */
static void dead_forget(listeners_t *listeners)
{
	char path[64];

	for (size_t i = 0; i < listeners->found_count; i++) {
		struct known *known = known_find(listeners, listeners->found[i].inode);
		if (known == NULL || known->pid == 0) {
			continue;
		}
		(void)snprintf(path, sizeof(path), "/proc/%d", (int)known->pid);
		if (access(path, F_OK) != 0) {
			*known = (struct known){ .inode = known->inode, .seen = true };
		}
	}
}

void listeners_round_begin(listeners_t *listeners)
{
	for (size_t i = 0; i < listeners->known_count; i++) {
		listeners->known[i].seen = false;
	}
}

void listeners_round_end(listeners_t *listeners)
{
	size_t kept = 0;

	for (size_t i = 0; i < listeners->known_count; i++) {
		if (listeners->known[i].seen) {
			listeners->known[kept++] = listeners->known[i];
		}
	}
	listeners->known_count = kept;
}

/* ---- lines ---- */

static int found_compare(const void *a, const void *b)
{
	const struct found *left = a, *right = b;
	int order = (int)left->port - (int)right->port;

	order = order != 0 ? order : (int)left->proto - (int)right->proto;
	return order != 0 ? order : (left->inode > right->inode) - (left->inode < right->inode);
}

static void line_format(const listeners_t *listeners, const struct found *found,
                        char line[static LINE_BYTES])
{
	const struct known *known = known_find(listeners, found->inode);
	const char *proto = found->proto == IPPROTO_TCP ? "tcp" : "udp";

	if (known == NULL || known->pid == 0) {
		(void)snprintf(line, LINE_BYTES, "%s/%u - -", proto, found->port);
	} else {
		(void)snprintf(line, LINE_BYTES, "%s/%u %d %s", proto, found->port, (int)known->pid,
		               known->process);
	}
}

static bool is_of(const listeners_t *listeners, const struct found *found, const char *guest)
{
	const struct known *known = known_find(listeners, found->inode);

	return strcmp(known != NULL ? known->guest : "", guest != NULL ? guest : "") == 0;
}

static uint64_t hash_add(uint64_t hash, const char *text)
{
	for (; *text != '\0'; text++) {
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3ULL;
	}
	return (hash ^ '\n') * 0x100000001b3ULL;
}

uint64_t listeners_add(listeners_t *listeners, const char *path, const char *guest,
                       codec_doc_t *endpoint)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	char line[LINE_BYTES], last[LINE_BYTES] = "";
	int ret = namespace_dump(listeners, path);

	if (ret != PR_OK) {
		return 0;
	}
	guests_follow(listeners);
	dead_forget(listeners);
	if (known_update(listeners)) {
		processes_look(listeners);
	}
	qsort(listeners->found, listeners->found_count, sizeof(*listeners->found), found_compare);
	for (size_t i = 0; i < listeners->found_count; i++) {
		if (!is_of(listeners, &listeners->found[i], guest)) {
			continue;
		}
		line_format(listeners, &listeners->found[i], line);
		if (strcmp(line, last) != 0) {
			hash = hash_add(hash, line);
			if (endpoint != NULL) {
				codec_doc_add_text(endpoint, CODEC_ENDPOINT_LISTENERS, line);
			}
			memcpy(last, line, sizeof(last));
		}
	}
	return hash != 0 ? hash : 1;
}

bool listeners_lost(const listeners_t *listeners)
{
	return listeners->lost;
}

uint64_t listeners_look(listeners_t *listeners, const char *path, const char *guest)
{
	return listeners_add(listeners, path, guest, NULL);
}
