/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "controller/directory_internal.h"

#define BUCKETS_MIN 64

static uint64_t hash_text(uint64_t hash, const char *text)
{
	/* With its terminator, so that neighbouring texts cannot run together. */
	return hash_bytes(hash, text != NULL ? text : "", text != NULL ? strlen(text) + 1 : 1);
}

static uint64_t fingerprint_of(const struct policy_endpoint *endpoint)
{
	uint64_t hash = hash_id(&endpoint->id);

	hash = hash_bytes(hash, &endpoint->kind, sizeof(endpoint->kind));
	hash = hash_text(hash, endpoint->name);
	hash = hash_text(hash, endpoint->image);
	hash = hash_text(hash, endpoint->cgroup);
	hash = hash_bytes(hash, endpoint->host_id.bytes, sizeof(endpoint->host_id.bytes));
	hash = hash_text(hash, endpoint->host_name);
	for (size_t i = 0; i < endpoint->label_count; i++) {
		hash = hash_text(hash, endpoint->labels[i].key);
		hash = hash_text(hash, endpoint->labels[i].value);
	}
	return hash;
}

directory_t *directory_new(void)
{
	_cleanup_(directory_destroy) directory_t *directory = calloc(1, sizeof(*directory));

	if (directory == NULL) {
		return NULL;
	}
	directory->node_buckets = BUCKETS_MIN;
	directory->nodes = calloc(directory->node_buckets, sizeof(struct node *));
	directory->spaces = calloc(directory->node_buckets, sizeof(struct node *));
	directory->link_buckets = BUCKETS_MIN;
	directory->links = calloc(directory->link_buckets, sizeof(struct link *));
	if (directory->nodes == NULL || directory->spaces == NULL || directory->links == NULL) {
		return NULL;
	}
	return take_ptr(directory);
}

void directory_destroy(directory_t **directory_p)
{
	directory_t *directory = *directory_p;

	if (directory == NULL) {
		return;
	}
	if (directory->nodes != NULL && directory->spaces != NULL && directory->links != NULL) {
		directory_clear(directory);
	}
	free(directory->nodes);
	free(directory->spaces);
	free(directory->links);
	free(directory);
	*directory_p = NULL;
}

/* ---- making a node: one allocation that holds everything ---- */

struct arena {
	char *at; /* NULL: only measure */
	size_t used_bytes;
};

static const char *arena_text(struct arena *arena, const char *text)
{
	if (text == NULL) {
		return NULL;
	}
	size_t size_bytes = strlen(text) + 1;
	char *copy = arena->at != NULL ? arena->at + arena->used_bytes : NULL;

	arena->used_bytes += size_bytes;
	return copy != NULL ? memcpy(copy, text, size_bytes) : NULL;
}

/* Texts of @p from; with room in the arena, the copies go to @p to. */
static void copy_texts(struct arena *arena, const struct policy_endpoint *from,
                       struct policy_endpoint *to, struct policy_label *labels)
{
	to->name = arena_text(arena, from->name);
	to->image = arena_text(arena, from->image);
	to->compose_project = arena_text(arena, from->compose_project);
	to->compose_service = arena_text(arena, from->compose_service);
	to->cgroup = arena_text(arena, from->cgroup);
	to->host_name = arena_text(arena, from->host_name);
	for (size_t i = 0; i < from->label_count; i++) {
		const char *key = arena_text(arena, from->labels[i].key);
		const char *value = arena_text(arena, from->labels[i].value);
		if (labels != NULL) {
			labels[i] = (struct policy_label){ .key = key, .value = value };
		}
	}
}

static struct node *node_new(const struct directory_endpoint *endpoint)
{
	struct arena arena = { 0 };
	struct policy_endpoint measured = endpoint->policy;
	size_t address_count = endpoint->stopped ? 0 : endpoint->address_count;

	copy_texts(&arena, &endpoint->policy, &measured, NULL);
	size_t links_at = sizeof(struct node);
	size_t labels_at = links_at + address_count * sizeof(struct link);
	size_t addresses_at =
		labels_at + endpoint->policy.label_count * sizeof(struct policy_label);
	size_t texts_at = addresses_at + address_count * sizeof(struct directory_address);
	char *memory = calloc(1, texts_at + arena.used_bytes);
	if (memory == NULL) {
		return NULL;
	}
	struct node *node = (struct node *)(void *)memory;
	struct policy_label *labels = (void *)(memory + labels_at);
	struct directory_address *addresses = (void *)(memory + addresses_at);

	arena = (struct arena){ .at = memory + texts_at };
	node->endpoint = *endpoint;
	copy_texts(&arena, &endpoint->policy, &node->endpoint.policy, labels);
	node->endpoint.policy.labels = labels;
	node->endpoint.addresses = addresses;
	node->endpoint.address_count = address_count;
	node->fingerprint = fingerprint_of(&node->endpoint.policy);
	node->links = (void *)(memory + links_at);
	node->link_count = address_count;
	for (size_t i = 0; i < address_count; i++) {
		addresses[i] = endpoint->addresses[i];
		node->links[i] = (struct link){ .node = node, .address = &addresses[i] };
	}
	return node;
}

static void space_add(directory_t *directory, struct node *node)
{
	if (has_space(&node->endpoint)) {
		struct node **chain = space_chain(directory, &node->endpoint);
		node->space = *chain;
		*chain = node;
	}
}

static void space_remove(directory_t *directory, struct node *node)
{
	if (!has_space(&node->endpoint)) {
		return;
	}
	struct node **at = space_chain(directory, &node->endpoint);
	while (*at != NULL && *at != node) {
		at = &(*at)->space;
	}
	if (*at == node) {
		*at = node->space;
	}
}

static void grow_nodes(directory_t *directory)
{
	struct node **old = directory->nodes;
	size_t old_buckets = directory->node_buckets;
	struct node **new = calloc(old_buckets * 2, sizeof(struct node *));
	struct node **new_spaces = calloc(old_buckets * 2, sizeof(struct node *));

	if (new == NULL || new_spaces == NULL) {
		free(new);
		free(new_spaces);
		return; /* longer chains, nothing worse */
	}
	free(directory->spaces);
	directory->spaces = new_spaces;
	directory->nodes = new;
	directory->node_buckets = old_buckets * 2;
	for (size_t i = 0; i < old_buckets; i++) {
		for (struct node *node = old[i], *next; node != NULL; node = next) {
			struct node **chain = node_chain(directory, &node->endpoint.policy.id);
			next = node->next;
			node->next = *chain;
			*chain = node;
			space_add(directory, node);
		}
	}
	free(old);
}

static void grow_links(directory_t *directory)
{
	struct link **old = directory->links;
	size_t old_buckets = directory->link_buckets;
	struct link **new = calloc(old_buckets * 2, sizeof(struct link *));

	if (new == NULL) {
		return;
	}
	directory->links = new;
	directory->link_buckets = old_buckets * 2;
	for (size_t i = 0; i < old_buckets; i++) {
		for (struct link *link = old[i], *next; link != NULL; link = next) {
			struct link **chain =
				link_chain(directory, link_scope(link), &link->address->addr);
			next = link->next;
			link->next = *chain;
			*chain = link;
		}
	}
	free(old);
}

static void links_remove(directory_t *directory, struct node *node)
{
	for (size_t i = 0; i < node->link_count; i++) {
		struct link *link = &node->links[i];
		struct link **at = link_chain(directory, link_scope(link), &link->address->addr);
		while (*at != NULL && *at != link) {
			at = &(*at)->next;
		}
		if (*at == link) {
			*at = link->next;
			directory->link_count--;
		}
	}
}

static void links_add(directory_t *directory, struct node *node)
{
	for (size_t i = 0; i < node->link_count; i++) {
		struct link *link = &node->links[i];
		struct link **chain = link_chain(directory, link_scope(link), &link->address->addr);
		link->next = *chain;
		*chain = link;
		directory->link_count++;
	}
	while (directory->link_count > directory->link_buckets) {
		size_t before = directory->link_buckets;
		grow_links(directory);
		if (directory->link_buckets == before) {
			return;
		}
	}
}

/* ---- births ---- */

void directory_time_set(directory_t *directory, uint64_t now_ns)
{
	directory->now_ns = now_ns;
}

static struct node *node_find(const directory_t *directory, const struct pr_uuid *id)
{
	for (struct node *node = *node_chain(directory, id); node != NULL; node = node->next) {
		if (pr_uuid_equal(&node->endpoint.policy.id, id)) {
			return node;
		}
	}
	return NULL;
}

bool directory_is_new(const directory_t *directory, const struct pr_uuid *id, uint64_t now_ns)
{
	const struct node *node = node_find(directory, id);

	if (node == NULL || node->new_ns == 0) {
		return false;
	}
	bool coming = node->endpoint.policy.kind == POLICY_CONTAINER &&
	              node->endpoint.namespace_inode == 0 && !node->endpoint.stopped;
	return now_ns - node->new_ns <= (coming ? DIRECTORY_COMING_NS : DIRECTORY_NEW_NS);
}

static void birth_note(directory_t *directory, const struct node *before, struct node *node)
{
	const struct directory_endpoint *endpoint = &node->endpoint;

	node->new_ns = before != NULL ? before->new_ns : 0;
	if (endpoint->policy.kind == POLICY_HOST || endpoint->stopped ||
	    (before != NULL && !before->endpoint.stopped &&
	     before->endpoint.namespace_inode == endpoint->namespace_inode)) {
		return;
	}
	node->new_ns = directory->now_ns;
	struct node *host = node_find(directory, &endpoint->policy.host_id);
	if (host != NULL) {
		host->new_ns = directory->now_ns;
	}
}

/* ---- putting and removing ---- */

int directory_put(directory_t *directory, const struct directory_endpoint *endpoint)
{
	struct node *node = node_new(endpoint);

	if (node == NULL) {
		return PR_ENOMEM;
	}
	birth_note(directory, node_find(directory, &endpoint->policy.id), node);
	directory_remove(directory, &endpoint->policy.id);
	if (directory->node_count >= directory->node_buckets) {
		grow_nodes(directory);
	}
	struct node **chain = node_chain(directory, &endpoint->policy.id);
	node->next = *chain;
	*chain = node;
	directory->node_count++;
	directory->fingerprint += node->fingerprint;
	space_add(directory, node);
	links_add(directory, node);
	return PR_OK;
}

void directory_remove(directory_t *directory, const struct pr_uuid *id)
{
	for (struct node **at = node_chain(directory, id); *at != NULL; at = &(*at)->next) {
		struct node *node = *at;
		if (pr_uuid_equal(&node->endpoint.policy.id, id)) {
			*at = node->next;
			space_remove(directory, node);
			links_remove(directory, node);
			directory->fingerprint -= node->fingerprint;
			directory->node_count--;
			free(node);
			return;
		}
	}
}

void directory_clear(directory_t *directory)
{
	for (size_t i = 0; i < directory->node_buckets; i++) {
		for (struct node *node = directory->nodes[i], *next; node != NULL; node = next) {
			next = node->next;
			free(node);
		}
		directory->nodes[i] = directory->spaces[i] = NULL;
	}
	memset(directory->links, 0, directory->link_buckets * sizeof(struct link *));
	directory->node_count = 0;
	directory->link_count = 0;
	directory->fingerprint = 0;
}

size_t directory_count(const directory_t *directory)
{
	return directory->node_count;
}

const struct directory_endpoint *directory_find(const directory_t *directory,
                                                const struct pr_uuid *id)
{
	const struct node *node = node_find(directory, id);

	return node != NULL ? &node->endpoint : NULL;
}

void directory_each(const directory_t *directory,
                    bool (*visit)(void *arg, const struct directory_endpoint *endpoint), void *arg)
{
	for (size_t i = 0; i < directory->node_buckets; i++) {
		for (struct node *node = directory->nodes[i]; node != NULL; node = node->next) {
			if (!visit(arg, &node->endpoint)) {
				return;
			}
		}
	}
}

uint64_t directory_policy_fingerprint(const directory_t *directory)
{
	return directory->fingerprint;
}

int directory_policy_endpoints(const directory_t *directory, struct policy_endpoint **ret_endpoints,
                               size_t *ret_count)
{
	struct policy_endpoint *endpoints = calloc(directory->node_count + 1, sizeof(*endpoints));
	size_t count = 0;

	if (endpoints == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < directory->node_buckets; i++) {
		for (struct node *node = directory->nodes[i]; node != NULL; node = node->next) {
			endpoints[count++] = node->endpoint.policy;
		}
	}
	*ret_endpoints = endpoints;
	*ret_count = count;
	return PR_OK;
}
