/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/owner_parse.h"
#include "tests/tap.h"

#define TAIL "1 2 2 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 "

static void test_stat(void)
{
	uint64_t start = 0;

	ok(owner_stat_parse("7 (cat) R " TAIL "12345 99 88\n", &start) && start == 12345,
	   "start time");
	ok(owner_stat_parse("7 (a) R 1 (b) S " TAIL "777 99\n", &start) && start == 777,
	   "a name that looks like the fields behind it");
	ok(!owner_stat_parse("7 (cat) R 1 2", &start) && !owner_stat_parse("", &start) &&
	           !owner_stat_parse("7 (cat)", &start) && !owner_stat_parse("7 cat R 1", &start),
	   "cut or strange lines");
	ok(!owner_stat_parse("7 (cat) R " TAIL "99999999999999999999999 1", &start),
	   "a number that is too large");
}

static void test_links(void)
{
	uint64_t number = 0;

	ok(owner_link_parse("socket:[4711]", "socket", &number) && number == 4711, "a socket");
	ok(!owner_link_parse("pipe:[4711]", "socket", &number) &&
	           !owner_link_parse("/tmp/socket:[4711]", "socket", &number) &&
	           !owner_link_parse("socket:[4711] (deleted)", "socket", &number) &&
	           !owner_link_parse("socket:[]", "socket", &number) &&
	           !owner_link_parse("socket:[12", "socket", &number),
	   "anything else is none");
}

static void test_raw(void)
{
	struct owner_raw_socket socket = { 0 };
	struct pr_addr local;

	(void)!pr_addr_parse("127.0.0.1", &local);
	ok(owner_raw_parse("   17: 0100007F:0011 00000000:0000 07 00000000:00000000 00:00000000 "
	                   "00000000  1000        0 98765 2 0000000000000000 0",
	                   &socket) &&
	           socket.number == 17 && socket.uid == 1000 && socket.inode == 98765 &&
	           pr_addr_equal(&socket.local, &local),
	   "a raw socket");
	(void)!pr_addr_parse("::1", &local);
	ok(owner_raw_parse("   58: 00000000000000000000000001000000:003A "
	                   "00000000000000000000000000000000:0000 07 00000000:00000000 "
	                   "00:00000000 00000000     0        0 55 2 0 0",
	                   &socket) &&
	           socket.number == 58 && socket.inode == 55 &&
	           pr_addr_equal(&socket.local, &local),
	   "an IPv6 one");
	ok(!owner_raw_parse("", &socket) && !owner_raw_parse("17: 0100:11 00:0 07", &socket) &&
	           !owner_raw_parse("17: 0100007F:0011 00000000:0000 07 0:0 0:0 0", &socket),
	   "cut lines");
}

static void test_texts(void)
{
	char name[33];
	const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			      "bad line\n"
			      ":x:7:7::/:\n"
			      "empty:x::7::/:\n"
			      "www-data:x:33:33:www:/var/www:/usr/sbin/nologin\n"
			      "much:x:4294967300:1::/:\n"
			      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:x:8:8::/:\n"
			      "e\x1b[2J\tx y:x:10:1::/:\n"
			      "r\xe2\x80\xaetoor:x:11:1::/:\n"
			      "an\xff%:x:12:1::/:\n"
			      ":%41:x:13:1::/:\n"
			      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff:x:14:1::/:\n"
			      "nul\0l:x:15:1::/:\n"
			      "last:x:9";

	ok(owner_passwd_find(passwd, sizeof(passwd) - 1, 33, name) && strcmp(name, "www-data") == 0,
	   "a user by number");
	ok(!owner_passwd_find(passwd, sizeof(passwd) - 1, 7, name) &&
	           !owner_passwd_find(passwd, sizeof(passwd) - 1, 4, name) &&
	           !owner_passwd_find(passwd, sizeof(passwd) - 1, 34, name) &&
	           !owner_passwd_find(passwd, sizeof(passwd) - 1, 9, name) &&
	           !owner_passwd_find("", 0, 0, name),
	   "no name, a number that overflows, no such user, a cut line, an empty file");
	ok(!owner_passwd_find(passwd, sizeof(passwd) - 1, 8, name),
	   "a name too long is none: cut, it would be another user's");

	static const struct {
		uint32_t uid;
		const char *name;
	} odd[] = {
		{ 10, "e\x1b[2J\tx y" },
		{ 11, "r\xe2\x80\xaetoor" },
		{ 12, ":an%FF%25" },
		{ 13, NULL },
		{ 14, NULL },
		{ 15, ":nul%00l" },
	};
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		bool found = owner_passwd_find(passwd, sizeof(passwd) - 1, odd[i].uid, name);
		ok(found == (odd[i].name != NULL) && (!found || strcmp(name, odd[i].name) == 0),
		   "user %u, of an odd name, is told exactly or not at all", odd[i].uid);
	}

	ok(owner_uid_map("         0     100000      65536\n", 100033) == 33 &&
	           owner_uid_map("         0          0 4294967295\n", 1000) == 1000 &&
	           owner_uid_map("0 100000 10\n1000 200000 10\n", 200005) == 1005,
	   "users of a user namespace");
	ok(owner_uid_map("0 100000 10\n", 7) == UINT32_MAX && owner_uid_map("", 7) == UINT32_MAX &&
	           owner_uid_map("x", 7) == UINT32_MAX,
	   "not mapped");

	ok(owner_mounts_risky("30 1 0:5 / / rw - ext4 /dev/a rw\n"
	                      "31 30 0:6 / /etc rw shared:1 - fuse.sshfs x rw\n") &&
	           owner_mounts_risky("30 1 0:5 / / rw - nfs4 srv:/ rw\n"),
	   "file systems that may hang");
	ok(!owner_mounts_risky("30 1 0:5 / / rw - overlay overlay rw\n"
	                       "31 30 0:6 / /mnt rw - fuse x rw\n") &&
	           !owner_mounts_risky(""),
	   "elsewhere they do not matter");
}

/* What follows the line "== NAME FILE" of tests/agent/remapped, up to the next of that kind. */
static const char *remapped_part(const char *name, const char *part)
{
	static char text[4096];
	char path[PATH_MAX], line[2048], head[64];
	const char *source = getenv("srcdir");
	bool here = false;

	text[0] = '\0';
	(void)snprintf(head, sizeof(head), "== %s %s\n", name, part);
	(void)snprintf(path, sizeof(path), "%s/tests/agent/remapped",
	               source != NULL ? source : ".");
	FILE *file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		size_t used = strlen(text);
		if (strncmp(line, "== ", 3) == 0) {
			here = strcmp(line, head) == 0;
		} else if (here) {
			(void)snprintf(text + used, sizeof(text) - used, "%s", line);
		}
	}
	if (file != NULL) {
		(void)fclose(file);
	}
	return text;
}

/* A container of a dockerd with --userns-remap, as user 33, as /proc showed it to the host. */
static void remapped_is(const char *container, uint32_t root, const char *why)
{
	char name[33] = "";
	unsigned int uid = 0;

	(void)sscanf(remapped_part(container, "status"), "Uid: %u", &uid);
	ok(uid == root + 33, "%s: user %u of the host", why, uid);
	uint32_t inside = owner_uid_map(remapped_part(container, "uid_map"), uid);
	const char *passwd = remapped_part(container, "passwd");
	ok(inside == 33 && owner_passwd_find(passwd, strlen(passwd), inside, name) &&
	           strcmp(name, "www") == 0,
	   "%s: %u inside, called %s there", why, inside, name);
	inside = owner_uid_map(remapped_part(container, "uid_map"), root);
	passwd = remapped_part(container, "passwd");
	ok(inside == 0 && owner_passwd_find(passwd, strlen(passwd), inside, name) &&
	           strcmp(name, "root") == 0,
	   "%s: %u is its root", why, root);
	const char *mounts = remapped_part(container, "mountinfo");
	ok(strstr(mounts, " / / ") != NULL && !owner_mounts_risky(mounts),
	   "%s: its password file may be read", why);
}

static void test_remapped(void)
{
	remapped_is("remapped", 165536, "--userns-remap");
	remapped_is("of-host", 0, "--userns host beside it");
	ok(owner_uid_map(remapped_part("remapped", "uid_map"), 0) == UINT32_MAX &&
	           owner_uid_map(remapped_part("remapped", "uid_map"), 33) == UINT32_MAX &&
	           owner_uid_map(remapped_part("remapped", "uid_map"), 165536 + 65536) ==
	                   UINT32_MAX,
	   "the host's own users are nobody inside");
}

static void test_diag(void)
{
	uint8_t data[512];
	struct owner_socket socket = { 0 };
	struct owner_query query = {
		.proto = IPPROTO_TCP, .local_port = 1, .remote_port = 2, .sequence = 9
	};
	struct {
		struct nlmsghdr header;
		struct inet_diag_msg body;
	} answer = {
		.header = { .nlmsg_len = sizeof(answer), .nlmsg_type = 20, .nlmsg_seq = 9 },
		.body = { .idiag_family = AF_INET,
		          .idiag_state = 2,
		          .idiag_inode = 77,
		          .idiag_uid = 1000 },
	};
	size_t offset = 0;

	(void)!pr_addr_parse("192.0.2.1", &query.local);
	(void)!pr_addr_parse("192.0.2.2", &query.remote);
	ok(owner_diag_write(&query, data) ==
	           sizeof(struct nlmsghdr) + sizeof(struct inet_diag_req_v2),
	   "a request");
	memcpy(data, &answer, sizeof(answer));
	ok(owner_diag_read(data, sizeof(answer), &offset, 9, &socket) == OWNER_DIAG_SOCKET &&
	           socket.inode == 77 && socket.uid == 1000 && offset == sizeof(answer),
	   "an answer");
	offset = 0;
	ok(owner_diag_read(data, sizeof(answer), &offset, 8, &socket) == OWNER_DIAG_SKIP,
	   "of another request");
	bool never = true;
	for (size_t cut = 0; cut < sizeof(answer); cut++) {
		offset = 0;
		never = never &&
		        owner_diag_read(data, cut, &offset, 9, &socket) != OWNER_DIAG_SOCKET;
	}
	ok(never, "cut anywhere it is none");
}

int main(void)
{
	test_stat();
	test_links();
	test_raw();
	test_texts();
	test_remapped();
	test_diag();
	return tap_done();
}
