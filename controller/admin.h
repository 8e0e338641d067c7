/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The admin service without its sockets: enrolment, directory of services, inventory, agents'
 * states, policy, peers, status. The only writer of the store.
 *
 * One table says who may send what (admin_rows); everything else is answered with an error.
 *
 * Threads: one at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "bus/bus.h"
#include "codec/codec.h"
#include "controller/authority.h"
#include "controller/controller.h"
#include "controller/shared.h"
#include "store/store.h"

#define ADMIN_HEARD_NS          (5 * PR_NS_PER_S) /* an agent silent for longer is not active */
#define ADMIN_AGENT_FRAME_BYTES (1U << 20)        /* of a peer that is no admin */

/** Who knocked at the admin port in vain. */
struct admin_doors {
	uint64_t refused; /* handshakes, by key, role or mechanism */
	uint64_t failed;  /* connections without a good handshake, the refused among them */
	uint64_t revoked; /* messages and sessions of revoked keys */
	uint64_t dropped; /* messages that are too large or have several parts */
};

/** What the admin service needs of the world. */
struct admin_ops {
	void *arg;
	/** As bus_server_send(). */
	int (*send)(void *arg, const struct bus_route *route, const void *data, size_t size_bytes);
	/** The store has changed: workers should look. */
	void (*changed)(void *arg);
	/** Figures of the port, for `status`; may be NULL. */
	void (*doors)(void *arg, struct admin_doors *ret_doors);
};

struct admin_setup {
	struct admin_ops ops;
	store_t *store; /* writable */
	struct authority authority;
	bus_keyring_t *keyring; /* kept equal to the store's approved peers and tokens */
	const struct controller_conf *conf;
	const struct controller_keys *keys;
	const struct shared *shared; /* NULL: no figures of workers */
};

typedef struct admin admin_t;

/** Everything in @p setup is borrowed until admin_destroy(). */
int admin_new(const struct admin_setup *setup, uint64_t now_ns, uint64_t now_wall_ns,
              admin_t **ret_admin) _must_check_;
/** Before a stop that was asked for: other controllers on this store take this one out of the
 * directory. One that dies stays in it, for it will be back. */
void admin_leave(admin_t *admin);
void admin_destroy(admin_t **admin_p);

/** Take one frame and answer it. */
void admin_frame(admin_t *admin, const struct bus_frame *frame, uint64_t now_ns,
                 uint64_t now_wall_ns);

/**
 * After the frames of a turn, and at least every admin_tick_ms(): push what has changed, send what
 * waited, and the housekeeping of each minute.
 */
void admin_tick(admin_t *admin, uint64_t now_ns, uint64_t now_wall_ns);
/** How long the loop may sleep before the next admin_tick(). */
int admin_tick_ms(const admin_t *admin);

/** Fill a keyring from the store: approved peers whose role is in @p roles, and tokens. */
int admin_keyring_fill(store_t *store, unsigned roles, bus_keyring_t *keyring) _must_check_;

/** For tests: who may send a message. 0: nobody. */
unsigned admin_roles_of(enum codec_type type);
