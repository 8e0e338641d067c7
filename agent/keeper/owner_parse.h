/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Attribution's readers: texts of /proc, password files, sock_diag messages. Pure and bounded: a
 * container may write what it likes into its own password file and names.
 * Source: proc(5), proc_net(5), passwd(5), user_namespaces(7), sock_diag(7),
 * linux/inet_diag.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/part.h"
#include "base/defs.h"

/* ---- /proc ---- */

/** Start time of /proc/PID/stat; the program's name before it may hold anything, ") " too. */
bool owner_stat_parse(const char *text, uint64_t *ret_start_ticks);

/** Number of a link such as "socket:[123]" or "net:[4026531840]"; false: another link. */
bool owner_link_parse(const char *text, const char *kind, uint64_t *ret_number);

/** A line of /proc/net/{icmp,icmp6,raw,raw6}. */
struct owner_raw_socket {
	struct pr_addr local, remote;
	uint16_t number; /* icmp: the echo id; raw: the IP protocol */
	uint32_t uid;
	uint64_t inode;
};
bool owner_raw_parse(const char *line, struct owner_raw_socket *ret_socket);

/** User id inside a user namespace, by /proc/PID/uid_map; UINT32_MAX: not mapped. */
uint32_t owner_uid_map(const char *text, uint32_t outside);

/** Does /proc/PID/mountinfo put a file system over /, /etc or /etc/passwd that may never answer? */
bool owner_mounts_risky(const char *text);

/* ---- password files ---- */

/**
 * Name of @p uid in a password file, by codec_bytes_format(); one that does not fit is passed over.
 * False: there is none, and @p ret_name is empty or as it was.
 */
bool owner_passwd_find(const char *text, size_t size_bytes, uint32_t uid, char ret_name[static 33]);

/* ---- sock_diag ---- */

#define OWNER_DIAG_REQUEST_BYTES 128

struct owner_socket {
	struct pr_addr local, remote;
	uint16_t local_port, remote_port;
	uint32_t uid;
	uint32_t inode; /* 0: nobody holds it any more */
	uint32_t cookie[2];
	uint8_t state; /* TCP_ESTABLISHED... of netinet/tcp.h */
};

#define OWNER_STATE_LISTEN 10

/** What to look for. */
struct owner_query {
	uint8_t proto; /* TCP, UDP, UDP-Lite */
	struct pr_addr local, remote;
	uint16_t local_port, remote_port; /* remote_port 0: any (a listener) */
	uint32_t interface;
	bool dump; /* every socket with this local port */
	bool v6;   /* dump: of this family */
	uint32_t sequence;
};

/** Write a request. Returns its length. */
size_t owner_diag_write(const struct owner_query *query, uint8_t *data);

enum owner_diag_state {
	OWNER_DIAG_SOCKET, /* one socket in @p ret_socket */
	OWNER_DIAG_NONE,   /* no such socket; or the end of a dump */
	OWNER_DIAG_SKIP,   /* a message of another request: read on */
	OWNER_DIAG_END,    /* nothing (readable) is left in the datagram */
};
/** Read the next message of a datagram. */
enum owner_diag_state owner_diag_read(const uint8_t *data, size_t size_bytes, size_t *offset_p,
                                      uint32_t sequence, struct owner_socket *ret_socket);
