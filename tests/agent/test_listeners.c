/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Real sockets of this process, in a namespace of its own, and in another's. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/inventory/listeners.h"
#include "base/err.h"
#include "tests/tap.h"

static int bound(int type, uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		                    .sin_port = htons(port),
		                    .sin_addr.s_addr = htonl(INADDR_ANY) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    (type == SOCK_STREAM && listen(fd, 1) != 0)) {
		printf("Bail out! no socket on port %u\n", port);
		exit(1);
	}
	return fd;
}

static uint64_t look_of(listeners_t *listeners, pid_t pid, const char *guest,
                        char lines[static 4096])
{
	char path[64];
	codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	size_t used = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	listeners_round_begin(listeners);
	uint64_t mark = listeners_add(listeners, pid != 0 ? path : NULL, guest, doc);
	listeners_round_end(listeners);
	lines[0] = '\0';
	for (size_t i = 0; i < codec_doc_count(doc, CODEC_ENDPOINT_LISTENERS); i++) {
		used += (size_t)snprintf(lines + used, 4096 - used, "%s\n",
		                         codec_doc_item(doc, CODEC_ENDPOINT_LISTENERS, i));
	}
	codec_doc_destroy(&doc);
	return mark;
}

static uint64_t look(listeners_t *listeners, pid_t pid, char lines[static 4096])
{
	return look_of(listeners, pid, NULL, lines);
}

static void test_own(listeners_t *listeners)
{
	char lines[4096], wanted[512];
	int pid = (int)getpid();

	ok(look(listeners, 0, lines) != 0 && lines[0] == '\0', "nobody listens");
	int web = bound(SOCK_STREAM, 8080), dns = bound(SOCK_DGRAM, 53);
	int client = bound(SOCK_DGRAM, 40000);
	uint64_t mark = look(listeners, 0, lines);
	(void)snprintf(wanted, sizeof(wanted),
	               "udp/53 %d test_listeners\ntcp/8080 %d test_listeners\n", pid, pid);
	ok(strcmp(lines, wanted) == 0, "tcp that accepts, udp that is bound, no ephemeral udp");
	ok(look(listeners, 0, lines) == mark, "the same again has the same fingerprint");
	close(web);
	ok(look(listeners, 0, lines) != mark && strstr(lines, "8080") == NULL, "one is gone");
	int again = bound(SOCK_STREAM, 8081);
	(void)look(listeners, 0, lines);
	ok(strstr(lines, "tcp/8081 ") != NULL, "another one is there");
	close(again);
	close(dns);
	close(client);
}

/* A child with a namespace of its own and a listener in it. */
static void test_other(listeners_t *listeners)
{
	char lines[4096], wanted[128], byte;
	int ends[2];
	pid_t child = pipe(ends) == 0 ? fork() : -1;

	if (child == 0) {
		if (unshare(CLONE_NEWNET) != 0) {
			_exit(1);
		}
		(void)bound(SOCK_STREAM, 3306);
		(void)!write(ends[1], "x", 1);
		pause();
		_exit(0);
	}
	ok(child > 0 && read(ends[0], &byte, 1) == 1, "a child in another namespace");
	(void)snprintf(wanted, sizeof(wanted), "tcp/3306 %d test_listeners\n", (int)child);
	uint64_t mark = look(listeners, child, lines);
	ok(mark != 0 && strcmp(lines, wanted) == 0, "its listener");
	ok(look(listeners, 0, lines) != 0 && lines[0] == '\0', "it is not ours");
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	ok(look(listeners, child, lines) == 0 && lines[0] == '\0', "a process that is gone: none");
	ok(look(listeners, 0, lines) != 0, "and we are back at home");
}

/* This process as a container in the host's namespace, told by another thread than looks here. */
static void test_guest(listeners_t *listeners, guests_t *guests)
{
	static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char own[PR_CGROUP_TEXT_BYTES], lines[4096], wanted[128];

	if (!pr_cgroup_own_read(getpid(), id, own, sizeof(own))) {
		tap_skip("this process is in no control group");
		return;
	}
	int web = bound(SOCK_STREAM, 8080);
	(void)snprintf(wanted, sizeof(wanted), "tcp/8080 %d test_listeners\n", (int)getpid());
	(void)look(listeners, 0, lines);
	ok(strcmp(lines, wanted) == 0, "a listener of the host");
	guests_set(guests, id, own);
	(void)look(listeners, 0, lines);
	ok(lines[0] == '\0', "its process is a guest's: it is not the host's");
	ok(look_of(listeners, 0, id, lines) != 0 && strcmp(lines, wanted) == 0,
	   "it is the guest's");
	uint64_t generation = guests_generation(guests);
	guests_set(guests, id, own);
	ok(guests_generation(guests) == generation, "said again: nothing new");
	guests_remove(guests, id);
	guests_remove(guests, id);
	ok(guests_generation(guests) == generation + 1, "it goes, once");
	(void)look(listeners, 0, lines);
	ok(strcmp(lines, wanted) == 0, "the host's again");
	close(web);
}

int main(void)
{
	if (unshare(CLONE_NEWNET) != 0) {
		tap_skip("root is needed for a network namespace");
		return tap_done();
	}
	guests_t *guests = NULL;
	int ret = guests_new(&guests);
	listeners_t *listeners = ret == PR_OK ? listeners_new(guests) : NULL;
	ok(listeners != NULL, "the host's namespace");
	test_own(listeners);
	test_other(listeners);
	test_guest(listeners, guests);
	listeners_destroy(&listeners);
	guests_destroy(&guests);
	return tap_done();
}
