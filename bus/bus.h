/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The bus: CurveZMQ sockets that know who is at the other end. Frames are bytes here; codec/ gives
 * them meaning.
 *
 * A server (ROUTER) admits only keys of its keyring: a ZAP handler of our own, bound before any
 * bind, ZMQ_ZAP_ENFORCE_DOMAIN on, answers from it; the NULL and PLAIN mechanisms are refused. Each
 * received frame carries the peer's UUID and role as the handler named them, checked again against
 * the keyring on every message, so that a revoked key is cut off at once though its session still
 * stands. Routing ids mean nothing. A client (DEALER) pins the server's key.
 *
 * Options everywhere: linger 0, explicit high-water marks, MAXMSGSIZE by the caller. Servers:
 * ROUTER_MANDATORY 1, HANDSHAKE_IVL 3 s, TCP keep-alive after 2 s, dead after 6 s. Clients:
 * heartbeats 2 s / 6 s, HANDSHAKE_IVL 15 s (they also wait to be accepted), reconnect 100 ms to 5
 * s, after a handshake that failed 0.25 s to 10 s, all by chance; IMMEDIATE.
 *
 * Threads: a context, server or client belongs to the thread that made it; the keyring is shared.
 * Never fork after bus_context_new(). One context a process.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/defs.h"
#include "base/id.h"

#define BUS_KEY_BYTES         32
#define BUS_KEY_TEXT_BYTES    41 /* Z85 with the terminator */
#define BUS_SIGNATURE_BYTES   64
#define BUS_SIGN_SECRET_BYTES 64

/* ---- keys ---- */

struct bus_key {
	uint8_t public_key[BUS_KEY_BYTES];
	uint8_t secret_key[BUS_KEY_BYTES];
};

struct bus_sign_key {
	uint8_t public_key[BUS_KEY_BYTES];
	uint8_t secret_key[BUS_SIGN_SECRET_BYTES];
};

/** A new Curve key pair. */
int bus_key_new(struct bus_key *ret_key) _must_check_;
/**
 * Key file: text, one line each `uuid`, `public`, `secret` (Z85). Written 0600 with O_EXCL and
 * fsync; read only if it is a regular file of this user (or root), mode 0600 or tighter, not a
 * symlink.
 * @retval PR_EKEYFILE  Missing, malformed or too open.
 */
int bus_key_save(const char *path, const struct pr_uuid *id,
                 const struct bus_key *key) _must_check_;
int bus_key_load(const char *path, struct pr_uuid *ret_id, struct bus_key *ret_key) _must_check_;

int bus_sign_key_new(struct bus_sign_key *ret_key) _must_check_;
int bus_sign_key_save(const char *path, const struct bus_sign_key *key) _must_check_;
int bus_sign_key_load(const char *path, struct bus_sign_key *ret_key) _must_check_;
/** Ed25519 (libsodium crypto_sign_detached). */
int bus_sign(const struct bus_sign_key *key, const void *data, size_t size_bytes,
             uint8_t ret_signature[static BUS_SIGNATURE_BYTES]) _must_check_;
/** PR_OK or PR_ESIGN. */
int bus_sign_verify(const uint8_t public_key[static BUS_KEY_BYTES], const void *data,
                    size_t size_bytes, const uint8_t *signature,
                    size_t signature_bytes) _must_check_;

/** Z85 text of 32 bytes and back (PR_EINVAL). */
const char *bus_key_format(const uint8_t key[static BUS_KEY_BYTES],
                           char text[static BUS_KEY_TEXT_BYTES]);
int bus_key_parse(const char *text, uint8_t ret_key[static BUS_KEY_BYTES]) _must_check_;

/** Overwrite a secret in memory in a way that is not optimised away. */
void bus_key_wipe(void *secret, size_t size_bytes);

/* ---- who may ---- */

enum bus_role {
	BUS_ROLE_NONE = 0,
	BUS_ROLE_AGENT = 1 << 0,
	BUS_ROLE_WORKER = 1 << 1,
	BUS_ROLE_RECORDER = 1 << 2,
	BUS_ROLE_ADMIN = 1 << 3,
	BUS_ROLE_VIEWER = 1 << 4,
	BUS_ROLE_SUBSCRIBER = 1 << 5,
	BUS_ROLE_ENROLLING = 1 << 6,
	BUS_ROLE_CONTROLLER = 1 << 7,
};

const char *bus_role_name(enum bus_role role);
int bus_role_parse(const char *text, enum bus_role *ret_role) _must_check_;

struct bus_peer {
	struct pr_uuid id;
	enum bus_role role;
	uint8_t public_key[BUS_KEY_BYTES];
	char name[64];
	uint64_t expires_wall_ns; /* 0: never; enrolment tokens have one */
};

/** The keys that this process admits; a table behind a lock, empty: nobody. Threads: any. */
typedef struct bus_keyring bus_keyring_t;

bus_keyring_t *bus_keyring_new(void);
void bus_keyring_destroy(bus_keyring_t **keyring_p);
/** Add or replace by public key. */
int bus_keyring_put(bus_keyring_t *keyring, const struct bus_peer *peer) _must_check_;
/** Remove by public key; messages of its live sessions are dropped from now on. */
void bus_keyring_remove(bus_keyring_t *keyring, const uint8_t public_key[static BUS_KEY_BYTES]);
/** Replace the whole content. */
int bus_keyring_replace(bus_keyring_t *keyring, const struct bus_peer *peers,
                        size_t count) _must_check_;
/** PR_OK or PR_ENOENT (also when expired). */
int bus_keyring_find(bus_keyring_t *keyring, const uint8_t public_key[static BUS_KEY_BYTES],
                     struct bus_peer *ret_peer) _must_check_;

/* ---- context ---- */

typedef struct bus_context bus_context_t;

/**
 * A zmq context with our ZAP handler running on @p keyring (NULL: this process has no servers).
 * Signals must be blocked before (threads inherit the mask). Raises RLIMIT_NOFILE to its hard
 * limit: a thousand half-open connections need a thousand descriptors.
 */
int bus_context_new(bus_keyring_t *keyring, bus_context_t **ret_context) _must_check_;
void bus_context_destroy(bus_context_t **context_p);

struct bus_context_counters {
	/* The self-test of each server is one zap_refused_key. */
	uint64_t zap_admitted, zap_refused_key, zap_refused_role, zap_refused_mechanism;
	uint64_t zap_malformed;
};
void bus_context_counters(const bus_context_t *context, struct bus_context_counters *ret_counters);
/**
 * Ids of the threads that carry this process's bytes: they begin with the first socket, and are
 * found once they run and have named themselves. Source: the names that libzmq gives them, in
 * /proc. @return How many, 0 if they cannot be found.
 */
size_t bus_io_threads(pid_t *threads, size_t capacity);

/* ---- server ---- */

typedef struct bus_server bus_server_t;

/** Where to send an answer; valid while the peer stays connected. */
struct bus_route {
	uint8_t bytes[16];
	uint8_t size_bytes;
};

struct bus_server_options {
	const char *endpoint; /* "tcp://0.0.0.0:7400"; port 0 ("tcp://127.0.0.1:*"): any */
	const struct bus_key *key;
	unsigned roles; /* bits of enum bus_role that this port admits */
	size_t frame_max_bytes;
	int high_water_mark; /* messages each way per peer; 0: 1024 */
};

/**
 * Bind. Then a self-test connects with a throw-away key and must be refused, else PR_EPERM and
 * nothing serves.
 * @retval PR_EBUSY  Address in use.
 */
int bus_server_new(bus_context_t *context, const struct bus_server_options *options,
                   bus_server_t **ret_server) _must_check_;
void bus_server_destroy(bus_server_t **server_p);
/** The port bound. */
unsigned bus_server_port(const bus_server_t *server);
/**
 * Descriptor for poll (edge-triggered by nature: after it is readable, and after every send, call
 * bus_server_receive() until PR_EAGAIN).
 */
int bus_server_fd(const bus_server_t *server);

/** A received frame; bytes borrowed until the next receive on this server. */
struct bus_frame {
	struct bus_route route;
	struct bus_peer peer; /* as the keyring has it now */
	char address[64];     /* peer's IP address */
	const uint8_t *data;
	size_t size_bytes;
};

/**
 * Call at least once a second: sessions whose key was removed, has expired or lost its role are cut
 * here (and in bus_server_send()), idle ones too.
 * Next frame of a peer whose key stands in the keyring with a role that this port admits. Frames of
 * others, multi-part messages and too large ones are dropped and counted.
 * @retval PR_EAGAIN  Nothing waits.
 */
int bus_server_receive(bus_server_t *server, struct bus_frame *ret_frame) _must_check_;
/**
 * Send without blocking.
 * @retval PR_EUNREACH  The peer has gone.
 * @retval PR_EAGAIN    The peer's queue is full; nothing was sent.
 */
int bus_server_send(bus_server_t *server, const struct bus_route *route, const void *data,
                    size_t size_bytes) _must_check_;

struct bus_server_counters {
	uint64_t received, sent, refused_role, revoked, malformed, send_failed;
	/*
	 * TCP connections, and those whose handshake succeeded. The others were refused (keys are
	 * counted by the context), spoke another protocol or mechanism, broke off, or are at it.
	 */
	uint64_t accepted, handshakes;
};
void bus_server_counters(bus_server_t *server, struct bus_server_counters *ret_counters);

/* ---- client ---- */

typedef struct bus_client bus_client_t;

struct bus_client_options {
	const char *endpoint;      /* "tcp://192.0.2.1:7400" */
	const uint8_t *server_key; /* BUS_KEY_BYTES, pinned */
	const struct bus_key *key;
	size_t frame_max_bytes;
	int high_water_mark; /* 0: 1024 */
	int heartbeat_ms;    /* 0: 2000; without an answer it is cut after three of them */
	/* Source address to bind ("192.0.2.7"); NULL: the kernel's choice. */
	const char *source;
	/*
	 * For a loop that watches the descriptor: nothing is looked at (and no system call spent)
	 * before bus_client_wake() says that it is readable.
	 */
	bool waits_for_wake;
};

/** Starts to connect; returns at once. */
int bus_client_new(bus_context_t *context, const struct bus_client_options *options,
                   bus_client_t **ret_client) _must_check_;
void bus_client_destroy(bus_client_t **client_p);
/**
 * As bus_server_fd(); also readable when the link comes or goes. Itself an epoll descriptor, the
 * client's own.
 */
int bus_client_fd(const bus_client_t *client);
/** The descriptor is readable. */
void bus_client_wake(bus_client_t *client);
/**
 * Something may wait that the descriptor no longer tells of: a send takes wake-ups with it. Whoever
 * sends must receive (and look at the link) until this is false before going to sleep.
 */
bool bus_client_due(const bus_client_t *client);
/**
 * After a receive, and if no answer is awaited: look for more within 20 ms, or after the next
 * send. Until a receive has come to PR_EAGAIN, zmq does not make the descriptor readable;
 * to get there is two system calls, which whoever has something urgent in hand can do without.
 */
void bus_client_leave(bus_client_t *client);
/** When bus_client_due() becomes true by itself; UINT64_MAX: never. */
uint64_t bus_client_look_ns(const bus_client_t *client);
/** Borrowed until the next receive. PR_EAGAIN when nothing waits. */
int bus_client_receive(bus_client_t *client, const uint8_t **ret_data,
                       size_t *ret_bytes) _must_check_;
/** PR_EAGAIN: not connected yet or queue full; nothing was sent. */
int bus_client_send(bus_client_t *client, const void *data, size_t size_bytes) _must_check_;
/**
 * Block until a frame waits. For command-line use.
 * @retval PR_ETIMEOUT
 * @retval PR_EPERM     The server refused our key just now (it is tried again each second).
 */
int bus_client_wait(bus_client_t *client, int timeout_ms) _must_check_;

/**
 * One request, one answer: send as soon as the link stands, then block until a frame comes. For
 * enrolment and command lines.
 *
 * @param ret_data  Borrowed until the next receive.
 * @retval PR_OK
 * @retval PR_EPERM     The server does not admit this key, or its own key is another.
 * @retval PR_ETIMEOUT  Nobody answered.
 */
int bus_client_exchange(bus_client_t *client, const void *request, size_t request_bytes,
                        int timeout_ms, const uint8_t **ret_data, size_t *ret_bytes) _must_check_;

enum bus_link {
	BUS_LINK_CONNECTING, /* also while reconnecting */
	BUS_LINK_UP,         /* handshake succeeded */
	BUS_LINK_REFUSED,    /* the last handshake failed: key not admitted or wrong server key */
};
/** From the socket's monitor; cheap. */
enum bus_link bus_client_link(bus_client_t *client);
/** Rises with every handshake: a link that went and came between two looks is another connection.
 */
uint64_t bus_client_connection(const bus_client_t *client);

/* ---- enrolment token ---- */

/** What `portreeve enroll` prints and a newcomer needs. */
struct bus_token {
	char endpoint[128]; /* tcp://ADDRESS:PORT of a controller */
	uint8_t server_key[BUS_KEY_BYTES];
	struct bus_key key; /* one-time pair, known to ZAP under role enrolling */
	enum bus_role role; /* to be given */
	uint64_t expires_wall_ns;
};

#define BUS_TOKEN_TEXT_BYTES 512

/** "portreeve-1-" and URL-safe base64 of a checked form. */
int bus_token_format(const struct bus_token *token,
                     char text[static BUS_TOKEN_TEXT_BYTES]) _must_check_;
/** PR_EINVAL: not a token, damaged, or of a newer form. */
int bus_token_parse(const char *text, struct bus_token *ret_token) _must_check_;

/* ---- which worker ---- */

/**
 * Rendezvous hash: order @p worker_ids by weight for @p key; ret_order[0] is asked first, the next
 * after 300 ms. Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
 * IEEE/ACM ToN 6(1), 1998 (highest random weight).
 */
void bus_rendezvous_order(uint64_t key, const struct pr_uuid *worker_ids, size_t count,
                          unsigned *ret_order);
