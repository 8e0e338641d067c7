/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of bus/ share. Never included outside of bus/ and its tests. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/bus.h"

/* ---- tunables ---- */

/** Every number that the bus depends on. */
struct bus_tunables {
	int handshake_ms;         /* a server's, from accepted TCP connection to admitted peer */
	int client_handshake_ms;  /* a client's: it also waits until it is accepted */
	int connect_ms;           /* until TCP stands */
	int heartbeat_ms;         /* between pings of an idle connection */
	int heartbeat_timeout_ms; /* without an answer: the connection is cut */
	int reconnect_ms;         /* first wait of a client; all of its waits differ by chance */
	int reconnect_max_ms;     /* longest wait */
	int backlog;              /* of listen(2) */
	int leave_ms;             /* how long bus_client_leave() puts a look off */
	int high_water_mark;      /* messages per peer and way, when the caller names none */
	int linger_ms;            /* what waits unsent when a socket is closed */
	int self_test_ms;         /* the throw-away key must be refused within this time */
	int refused_retry_ms;     /* a refused client tries again after this time */
	int failed_retry_ms;      /* after a handshake that failed otherwise, the first time */
	int failed_retry_max_ms;  /* and the longest */
	int frame_overhead_bytes; /* of CURVE, on top of a frame */
	int frame_least_bytes;    /* handshake commands must fit under any limit */
	size_t routes_max;        /* connections that a server remembers */
};

extern const struct bus_tunables bus_tunables;

/* ---- errors and sockets (socket.c) ---- */

/** The one translation of zmq's errors: the present zmq_errno() as a negative code of ours. */
int bus_zmq_error(void) _must_check_;

/** Set an integer option; @p ret keeps the first failure, so that a sequence needs one check. */
void bus_option_set(void *socket, int option, int value, int *ret);
void bus_option_set_bytes(void *socket, int option, const void *value, size_t size_bytes, int *ret);

/** Options that servers and clients share. */
void bus_options_common(void *socket, const char *endpoint, size_t frame_max_bytes,
                        int high_water_mark, int *ret);

/** Those of a server; those of a client, with any random number. */
void bus_options_server(void *socket, int *ret);
void bus_options_client(void *socket, uint64_t chance, int heartbeat_ms, int *ret);

/** Only TCP has CURVE: inproc and ipc would carry frames of nobody. */
bool bus_endpoint_valid(const char *endpoint);

/* ---- socket monitor (monitor.c) ---- */

enum bus_monitor_event {
	BUS_MONITOR_NONE,
	BUS_MONITOR_UP,
	BUS_MONITOR_DOWN,
	BUS_MONITOR_REFUSED,      /* closed in the handshake: wrong key of either side */
	BUS_MONITOR_REFUSED_AUTH, /* the other side's ZAP handler said no */
	BUS_MONITOR_ACCEPTED,     /* server: a TCP connection, before its handshake */
};

/** Watch a client's socket. @p ret_monitor is a PAIR socket that the caller closes. */
int bus_monitor_open(void *context, void *socket, void **ret_monitor) _must_check_;
/** Watch a server's socket: only ACCEPTED and UP. */
int bus_monitor_open_server(void *context, void *socket, void **ret_monitor) _must_check_;
enum bus_monitor_event bus_monitor_next(void *monitor);
void bus_monitor_close(void *socket, void **monitor_p);

/* ---- keyring ---- */

/** Changes with every put, remove and replace. Threads: any. */
uint64_t bus_keyring_generation(const bus_keyring_t *keyring);
/** First expiry of a key after @p after_ns of wall time, UINT64_MAX if there is none. */
uint64_t bus_keyring_next_expiry_ns(bus_keyring_t *keyring, uint64_t after_ns);

/* ---- ZAP: RFC 27, https://rfc.zeromq.org/spec/27/ ---- */

#define ZAP_ENDPOINT        "inproc://zeromq.zap.01"
#define ZAP_FRAMES          7 /* of a CURVE request, without the delimiter */
#define ZAP_ID_MAX_BYTES    255
#define ZAP_DOMAIN_BYTES    32
#define ZAP_USER_ID_BYTES   (2 * BUS_KEY_BYTES + 1)
#define ZAP_FRAME_MAX_BYTES 255

struct zap_frame {
	const uint8_t *data;
	size_t size_bytes;
};

enum zap_result {
	ZAP_ADMITTED,
	ZAP_REFUSED_KEY,
	ZAP_REFUSED_ROLE,
	ZAP_REFUSED_MECHANISM,
	ZAP_MALFORMED,
};

struct zap_answer {
	enum zap_result result;
	const char *status; /* "200", "400" or "500" */
	const char *text;
	char user_id[ZAP_USER_ID_BYTES]; /* hex of the peer's key, empty unless admitted */
	uint8_t request_id[ZAP_ID_MAX_BYTES];
	size_t request_id_bytes;
};

/** Decides a request. Pure but for the keyring's lock and, for keys that expire, the clock. */
typedef void zap_decide_fn(const struct zap_frame *frames, size_t count, bus_keyring_t *keyring,
                           struct zap_answer *ret_answer);
zap_decide_fn zap_reply;

/** The domain names the roles that a port admits: "portreeve/3". */
void zap_domain_format(unsigned roles, char text[static ZAP_DOMAIN_BYTES]);
/** Key of a User-Id. */
int zap_user_id_parse(const char *text, uint8_t ret_key[static BUS_KEY_BYTES]) _must_check_;

/* ---- context ---- */

struct bus_context {
	void *zmq;
	bus_keyring_t *keyring;
	zap_decide_fn *decide;
	pthread_t zap_thread;
	bool zap_runs;
	void *zap_socket; /* REP, belongs to the thread once it runs */
	void *zap_inside; /* PAIR, the thread's end of the stop signal */
	void *zap_stop;   /* PAIR, our end */
	unsigned sockets; /* servers and clients alive */
	_Atomic uint64_t admitted, refused_key, refused_role, refused_mechanism, malformed;
};

/** As bus_context_new() with another handler: for tests of the self-test. */
int bus_context_new_with(bus_keyring_t *keyring, zap_decide_fn *decide,
                         bus_context_t **ret_context) _must_check_;
/** End the ZAP thread; from then on nobody is admitted. */
void bus_context_zap_stop(bus_context_t *context);

/* ---- memory of handshakes (secret.c) ---- */

struct bus_secret_counters {
	uint64_t made, reused; /* blocks taken from libsodium, from the spares */
	size_t spares;
};
/** Threads: any. */
void bus_secret_counters(struct bus_secret_counters *ret_counters);
/** Called by who makes a context, so that the linker takes the file. */
void bus_secret_use(void);

/* ---- self-test (selftest.c) ---- */

/**
 * Connect to @p endpoint with a key made for this and seen by nobody.
 * @retval PR_OK     The ZAP handler refused it.
 * @retval PR_EPERM  Admitted, or no answer.
 */
int bus_self_test(bus_context_t *context, const char *endpoint,
                  const uint8_t server_key[static BUS_KEY_BYTES]) _must_check_;

/* ---- connections of a server (routes.c) ---- */

typedef struct routes routes_t;

#define ROUTE_BYTES 5 /* as libzmq makes them: 0 and four bytes */

struct route_entry {
	uint32_t number; /* of the routing id */
	int fd;          /* of the connection, as the last message told; not ours to close */
	uint8_t public_key[BUS_KEY_BYTES];
	uint8_t peer[28]; /* struct sockaddr_in or _in6 of the other end */
	uint8_t peer_bytes;
	bool used;
};

routes_t *routes_new(size_t max);
void routes_destroy(routes_t **routes_p);
/** Remember; the descriptor's other end is asked once. PR_ENOSPC when full of living ones. */
int routes_put(routes_t *routes, uint32_t number, int fd,
               const uint8_t public_key[static BUS_KEY_BYTES]) _must_check_;
struct route_entry *routes_find(routes_t *routes, uint32_t number);
void routes_remove(routes_t *routes, uint32_t number);
/** Close the connection under an entry, if its descriptor still is that connection; forget it. */
void routes_cut(routes_t *routes, uint32_t number);
/** Cut every entry for which @p stays is false. Returns how many. */
size_t routes_sweep(routes_t *routes, bool (*stays)(const struct route_entry *entry, void *arg),
                    void *arg);
size_t routes_count(const routes_t *routes);

/* ---- text of key files (keys.c, sign.c), pure: for the fuzzer ---- */

int bus_key_text_parse(const char *text, size_t size_bytes, struct pr_uuid *ret_id,
                       struct bus_key *ret_key) _must_check_;
int bus_sign_key_text_parse(const char *text, size_t size_bytes,
                            struct bus_sign_key *ret_key) _must_check_;

/* ---- key files (keyfile.c) ---- */

#define KEY_FILE_MAX_BYTES 1024

/** One line of a key file: a name, a blank and a value. */
struct key_line {
	const char *name;
	uint8_t *value; /* Z85 of size_bytes; a UUID when size_bytes is PR_UUID_BYTES */
	size_t size_bytes;
};

/** Every line exactly once, in any order; lines that start with # are skipped. */
int key_lines_parse(const char *text, size_t size_bytes, const struct key_line *lines,
                    size_t count) _must_check_;
int key_lines_save(const char *path, const struct key_line *lines, size_t count) _must_check_;
/** Read a file after the checks of owner, mode and kind. */
int key_file_read(const char *path, char text[static KEY_FILE_MAX_BYTES],
                  size_t *ret_bytes) _must_check_;
