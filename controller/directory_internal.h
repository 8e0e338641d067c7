/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What directory.c and directory_lookup.c share. directory.h documents the whole. */

#include <string.h>

#include "controller/directory.h"

/* An address of a node, in the chain of its scope and address. */
struct link {
	struct link *next;
	struct node *node;
	const struct directory_address *address;
};

struct node {
	struct directory_endpoint endpoint;
	struct node *next;  /* in the chain of its id */
	struct node *space; /* next in the chain of its network namespace */
	uint64_t fingerprint;
	uint64_t new_ns; /* when it came, or its newest container; 0: long ago */
	struct link *links;
	size_t link_count;
};

struct directory {
	struct node **nodes;
	struct node **spaces; /* as many chains */
	size_t node_buckets, node_count;
	struct link **links;
	size_t link_buckets, link_count;
	uint64_t now_ns;      /* of what is put; 0: nobody knows */
	uint64_t fingerprint; /* sum over the nodes, so order does not matter */
};

/* FNV-1a: only trusted agents' data is hashed here, and chains are compared in full. */
static inline uint64_t hash_bytes(uint64_t hash, const void *data, size_t size_bytes)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size_bytes; i++) {
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	}
	return hash ^ (hash >> 29);
}

#define HASH_START 0xcbf29ce484222325ULL

static inline uint64_t hash_id(const struct pr_uuid *id)
{
	return hash_bytes(HASH_START, id->bytes, sizeof(id->bytes));
}

static inline uint64_t hash_address(const struct pr_uuid *scope_host, const struct pr_addr *addr)
{
	uint64_t hash = HASH_START;

	if (scope_host != NULL) {
		hash = hash_bytes(hash, scope_host->bytes, sizeof(scope_host->bytes));
	}
	return hash_bytes(hash, addr->bytes, sizeof(addr->bytes));
}

/* ---- chains ---- */

static inline struct link **link_chain(const directory_t *directory,
                                       const struct pr_uuid *scope_host, const struct pr_addr *addr)
{
	return &directory->links[hash_address(scope_host, addr) & (directory->link_buckets - 1)];
}

static inline const struct pr_uuid *link_scope(const struct link *link)
{
	return link->address->global ? NULL : &link->node->endpoint.policy.host_id;
}

static inline struct node **node_chain(const directory_t *directory, const struct pr_uuid *id)
{
	return &directory->nodes[hash_id(id) & (directory->node_buckets - 1)];
}

static inline struct node **space_chain(const directory_t *directory,
                                        const struct directory_endpoint *endpoint)
{
	uint64_t hash = hash_id(&endpoint->policy.host_id);

	hash = hash_bytes(hash, &endpoint->namespace_inode, sizeof(endpoint->namespace_inode));
	return &directory->spaces[hash & (directory->node_buckets - 1)];
}

/* Nobody whose namespace is not known, or who is not there, lives with anybody. */
static inline bool has_space(const struct directory_endpoint *endpoint)
{
	return endpoint->namespace_inode != 0 && !endpoint->stopped;
}
