/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What the program in the kernel (origin.bpf.c) and the agent (origin.c) share: memory that the
 * program writes and the agent reads, with no system call between them.
 *
 * A place is written under its sequence number: odd while somebody writes it, another even number
 * afterwards. A reader copies it and believes the copy only if the number is even and the same
 * before and after.
 */

#ifndef __bpf__
#include <stdint.h>
#endif

#define ORIGIN_WAYS           8 /* places that a key may be in */
#define ORIGIN_BUCKETS        512
#define ORIGIN_ENTRIES        (ORIGIN_BUCKETS * ORIGIN_WAYS)
#define ORIGIN_SOCKET_BUCKETS 512
#define ORIGIN_SOCKETS        (ORIGIN_SOCKET_BUCKETS * ORIGIN_WAYS)
#define ORIGIN_WAITING_WORDS  (ORIGIN_ENTRIES / 64)
#define ORIGIN_BUSY           65536
#define ORIGIN_PROGRAM_WAYS   4
#define ORIGIN_PROGRAMS       512
#define ORIGIN_WATCHED        4096 /* a namespace's place is found from its cookie */
#define ORIGIN_WATCHED_TRIES  8

#define ORIGIN_NAME_BYTES  256 /* of one component of a path, its NUL included */
#define ORIGIN_PATH_BYTES  512 /* where the last component may begin */
#define ORIGIN_PATH_DEPTH  24
#define ORIGIN_GROUP_BYTES 256
#define ORIGIN_GROUP_DEPTH 8
#define ORIGIN_HOLDERS     16
#define ORIGIN_GROUPS      2 /* one of the old hierarchies, and the unified one */

/**
 * One connection that a watched namespace began, and the process that began it; or a datagram
 * socket and the process that sends by it. Of the latter the addresses are not noted.
 */
struct origin_entry {
	uint32_t sequence;
	uint32_t pid; /* thread group, in the first pid namespace */
	uint64_t netns_cookie;
	/* A closed datagram socket: what is 0 may be anything. */
	uint8_t src[16], dst[16]; /* IPv4 mapped into ::ffff:0:0/96 */
	uint16_t src_port, dst_port;
	uint32_t uid;           /* of the socket */
	uint64_t start_boot_ns; /* of the process: with pid, who it is */
	uint64_t time_ns;       /* CLOCK_MONOTONIC */
	uint64_t socket_cookie;
	uint64_t program_id; /* of struct origin_program; 0: none was written */
	uint32_t program_at;
	uint32_t mount_namespace; /* where its user's name is to be looked up: inode, */
	uint64_t root_inode;      /* and root directory there */
	uint32_t root_device;
	uint8_t proto;
	uint8_t shared; /* a datagram socket: several processes send by it */
	uint8_t unused[2];
	/* UDP: address space of the process, another after it executes a program. TCP: the number
	 * of the socket's next byte when it was noted. */
	uint64_t memory;
	uint64_t socket; /* where it is in the kernel, if the note has no addresses yet */
};

/** Which places of a bucket may hold a key, in one cache line. */
struct origin_bucket {
	uint32_t tags[ORIGIN_WAYS];   /* of the keys; 0: none */
	uint32_t turn;                /* the place that a new key takes */
	uint16_t places[ORIGIN_WAYS]; /* of flows: which entries theirs are */
	uint32_t unused[3];
};

/** An executable, as one mount shows it, in one control group: of many processes the same. */
struct origin_program {
	uint32_t sequence;
	uint32_t device;
	uint64_t id; /* of this writing; never 0 */
	uint64_t inode, changed_ns, mount, group_id[ORIGIN_GROUPS];
	uint64_t time_ns; /* last written */
	uint32_t path_bytes, group_bytes[ORIGIN_GROUPS];
	uint8_t deleted; /* unlinked since */
	uint8_t partial; /* the path is deeper or longer than there is room */
	uint8_t group_partial[ORIGIN_GROUPS];
	uint8_t unused[4];
	/* Names from the file upwards, each with its NUL; then room for a name that begins last. */
	char path[ORIGIN_PATH_BYTES + ORIGIN_NAME_BYTES];
	char group[ORIGIN_GROUPS][ORIGIN_GROUP_BYTES + ORIGIN_NAME_BYTES];
};

/** A process, and the number that a socket had in it. */
struct origin_holder {
	int32_t folder_fd; /* of the agent: its folder in /proc */
	int32_t socket_fd;
};

/** Which socket would take this flow, and do these processes hold it? */
struct origin_question {
	uint64_t netns_cookie;
	uint64_t socket_cookie; /* the one that is known to take it; 0: find it */
	int32_t space_fd;       /* of the agent: a socket of the namespace */
	uint16_t src_port, dst_port;
	uint8_t src[16], dst[16];
	uint8_t proto;
	uint8_t v4;
	uint8_t unused[2];
	uint32_t holder_count;
	struct origin_holder holders[ORIGIN_HOLDERS];
};

struct origin_answer {
	uint64_t socket_cookie; /* 0: no answer */
	uint64_t socket_inode;
	uint64_t references; /* descriptors of it in all processes, and uses at this moment */
	uint32_t candidates; /* sockets that may take it; all else is said of one only */
	uint32_t uid;
	uint32_t holders; /* bits: it holds the socket */
	uint32_t unused;
	uint64_t executed[ORIGIN_HOLDERS]; /* another number after it executes a program */
};

struct origin_counts {
	uint64_t begun;     /* connections noted, with no addresses yet */
	uint64_t unused[7]; /* the rest is written on another CPU */
	uint64_t written;   /* connections noted with their addresses, and datagram sockets */
	uint64_t crowded;   /* not noted: all places of the key were being written */
	uint64_t programs;  /* executables noted */
};
