/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Two network namespaces joined by a veth pair, for tests on the real kernel. They have no name, so
 * nothing stays when a test dies. `left` (10.99.0.1, fd99::1) is the one that the keeper manages,
 * `right` (10.99.0.2, fd99::2) plays the world. Needs root.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "agent/keeper/keeper.h"

struct world {
	int left, right; /* descriptors of the namespaces */
	char left_path[64];
};

/** Why the tests of the real kernel cannot run, or NULL. */
const char *world_missing(void);
int world_open(struct world *world);
void world_close(struct world *world);

/** Run a program (no shell) inside a namespace; returns its exit status. */
int world_run(int space, const char *const *argv);
#define RUN(space, ...) world_run(space, (const char *const[]){ __VA_ARGS__, NULL })

/** A socket made inside a namespace. Fails the test program when it cannot. */
int world_socket(int space, int family, int type, int protocol);
/** Whole content of a file as a thread inside the namespace sees it. */
void world_read(int space, const char *path, char *text, size_t size_bytes);

struct end {
	const char *ip;
	uint16_t port;
};

socklen_t end_address(const char *ip, uint16_t port, struct sockaddr_storage *address);
/** Bound (and listening, for SOCK_STREAM) socket. */
int end_listen(int space, int type, const char *ip, uint16_t port);
/** Connected socket within @p wait_ms, or -errno (-ETIMEDOUT: nothing came). */
int end_connect(int space, int type, const char *ip, uint16_t port, int wait_ms);
/** Accepted socket within @p wait_ms, or -1. */
int end_accept(int listener, int wait_ms);
/** Bytes received within @p wait_ms, 0 for none; -errno on a pending error. */
int end_receive(int fd, void *data, size_t size_bytes, int wait_ms);
/** A connection there, one message each way and close. 0, or -errno of the first failure. */
int end_talk(int from, int to, const char *ip, uint16_t port, int wait_ms);
/** One datagram and its answer. Returns the client's port, or -errno. */
int end_datagram(int from, int to, const char *ip, uint16_t port, int wait_ms);
/** One echo request; 0 when the answer came, or -ETIMEDOUT. */
int end_ping(int from, const char *ip, uint16_t id, int wait_ms);

/** Everything that arrives at a namespace's interface, below all its rules. */
struct capture {
	int fd;
};
void capture_open(struct capture *capture, int space, const char *interface);
/**
 * Count IP packets that arrived so far: @p protocol (any: -1), @p port in either place (any: 0).
 * Reads all; outgoing ones are not counted.
 */
struct capture_count {
	unsigned int all;
	unsigned int matched;
	unsigned int reset; /* TCP RST among them */
	unsigned int by_protocol[256];
};
struct capture_count capture_read(struct capture *capture, int protocol, uint16_t port);
void capture_close(struct capture *capture);

/** What the log socket delivered. */
struct copies {
	unsigned int output, input;
	unsigned int by_protocol[256];
	unsigned int overruns;
};
/** Add what waits (up to @p wait_ms of silence) to @p copies. */
void copies_read(int fd, int wait_ms, struct copies *copies);

enum stand_in_verdict {
	STAND_IN_ALLOW,
	STAND_IN_DENY,
	STAND_IN_REJECT,
	STAND_IN_HOLD, /* no answer; stand_in_release() later */
};

/** Stands in for the gate: answers every packet of a queue socket with one verdict. */
struct stand_in {
	int fd;
	const struct keeper_config *config;
	pthread_t thread;
	atomic_int verdict;
	atomic_uint packets;
	atomic_uint overruns;
	atomic_bool stop;
	uint32_t held[1024];
	atomic_uint held_count;
};
void stand_in_start(struct stand_in *gate, int fd, const struct keeper_config *config,
                    enum stand_in_verdict verdict);
/** Ends the thread and closes the socket, as a killed gate would. */
void stand_in_stop(struct stand_in *gate);
void stand_in_release(struct stand_in *gate, enum stand_in_verdict verdict);

/** A TCP stream of numbered words that never stops, and what its receiver noticed. */
struct stream {
	int from, to;
	pthread_t sender, receiver;
	atomic_bool stop;
	atomic_uint_fast64_t received; /* words */
	atomic_uint wrong;             /* out of order: lost or changed data */
	atomic_uint_fast64_t gap_ns;   /* longest silence */
};
/** Takes both descriptors. */
void stream_start(struct stream *stream, int from, int to);
void stream_stop(struct stream *stream);
/** Does it move within @p wait_ms? */
bool stream_alive(struct stream *stream, int wait_ms);
uint64_t world_now_ns(void);
