/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The store handle and its databases. For store/ alone. */

#include "store/internal.h"
#include "store/store.h"

enum store_database {
	STORE_DB_META,             /* name -> number: schema, versions, counters */
	STORE_DB_POLICY,           /* revision -> who, when, why, length */
	STORE_DB_POLICY_TEXT,      /* revision -> text */
	STORE_DB_DRAFT,            /* author's id -> draft */
	STORE_DB_ENDPOINT,         /* id -> endpoint or tombstone */
	STORE_DB_ENDPOINT_VERSION, /* version -> id, for those that are there and tombstones */
	STORE_DB_ENDPOINT_AGENT,   /* agent's id, endpoint's id -> nothing */
	STORE_DB_TOMBSTONE,        /* version -> id */
	STORE_DB_PEER,             /* id -> peer */
	STORE_DB_PEER_KEY,         /* public key -> id */
	STORE_DB_VALUE,            /* name -> bytes */
	STORE_DB_NUMBER,           /* name -> number */
	STORE_DB_AUDIT,            /* number -> who changed what */
	_STORE_DB_MAX,
};

struct store {
	struct store_env env;
};

/* Names of numbers in STORE_DB_META. */
#define STORE_META_DIRECTORY "directory" /* version */
#define STORE_META_FLOOR     "floor"     /* version of the last tombstone thrown away */
#define STORE_META_PEERS     "peers"     /* counter */

/** The highest number of a database whose keys are numbers; 0: it is empty. */
uint64_t store_last_number(struct store_txn *txn, enum store_database database);
/** Number of the last revision; 0: none. */
uint64_t store_policy_last(struct store_txn *txn);
