/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "controller/directory.h"

#define ADDRESS_TEXT_BYTES 80
#define V4_BITS_OFFSET     96

/* Copy the next word of a line; false when there is none or it is too long. */
static bool next_word(const char **at, char *word, size_t size_bytes)
{
	size_t length;

	while (**at == ' ') {
		(*at)++;
	}
	length = strcspn(*at, " ");
	if (length == 0 || length >= size_bytes) {
		return false;
	}
	memcpy(word, *at, length);
	word[length] = '\0';
	*at += length;
	return true;
}

static int bits_parse(const char *text, bool v4, uint8_t *ret_bits)
{
	unsigned bits = 0;
	size_t length = strlen(text);

	if (length == 0 || length > 3) {
		return PR_EINVAL;
	}
	for (size_t i = 0; i < length; i++) {
		if (!isdigit((unsigned char)text[i])) {
			return PR_EINVAL;
		}
		bits = bits * 10 + (unsigned)(text[i] - '0');
	}
	if (bits > (v4 ? 32U : 128U)) {
		return PR_EINVAL;
	}
	*ret_bits = (uint8_t)(bits + (v4 ? V4_BITS_OFFSET : 0));
	return PR_OK;
}

int directory_address_parse(const char *text, struct directory_address *ret_address)
{
	struct directory_address address = { .bits = 128 };
	char scope[PR_UUID_TEXT_BYTES];
	char prefix[ADDRESS_TEXT_BYTES];
	const char *at = text;

	if (!next_word(&at, scope, sizeof(scope)) || !next_word(&at, prefix, sizeof(prefix))) {
		return PR_EINVAL;
	}
	address.global = strcmp(scope, "global") == 0;
	if (!address.global && pr_uuid_parse(scope, &address.network) != PR_OK) {
		return PR_EINVAL;
	}
	char *slash = strchr(prefix, '/');
	if (slash != NULL) {
		*slash = '\0';
	}
	if (pr_addr_parse(prefix, &address.addr) != PR_OK) {
		return PR_EINVAL;
	}
	if (slash != NULL &&
	    bits_parse(slash + 1, pr_addr_is_v4(&address.addr), &address.bits) != PR_OK) {
		return PR_EINVAL;
	}
	*ret_address = address;
	return PR_OK;
}

/* An endpoint message taken apart; texts borrowed from the document, labels split in a copy. */
struct parsed {
	struct directory_endpoint endpoint;
	struct directory_address *addresses;
	struct policy_label *labels;
	char *label_text;
};

static void parsed_done(struct parsed *parsed)
{
	free(parsed->addresses);
	free(parsed->labels);
	free(parsed->label_text);
}

static int parse_labels(const codec_doc_t *document, struct parsed *parsed)
{
	size_t count = codec_doc_count(document, CODEC_ENDPOINT_LABELS);
	size_t total_bytes = 1;

	for (size_t i = 0; i < count; i++) {
		total_bytes += strlen(codec_doc_item(document, CODEC_ENDPOINT_LABELS, i)) + 1;
	}
	parsed->labels = calloc(count + 1, sizeof(*parsed->labels));
	parsed->label_text = calloc(1, total_bytes);
	if (parsed->labels == NULL || parsed->label_text == NULL) {
		return PR_ENOMEM;
	}
	char *at = parsed->label_text;
	struct policy_endpoint *policy = &parsed->endpoint.policy;
	for (size_t i = 0; i < count; i++) {
		const char *item = codec_doc_item(document, CODEC_ENDPOINT_LABELS, i);
		size_t size_bytes = strlen(item) + 1;
		memcpy(at, item, size_bytes);
		char *equals = strchr(at, '=');
		if (equals != NULL) {
			*equals = '\0';
		}
		const char *value = equals != NULL ? equals + 1 : "";
		parsed->labels[i] = (struct policy_label){ .key = at, .value = value };
		if (strcmp(at, POLICY_COMPOSE_PROJECT_LABEL) == 0) {
			policy->compose_project = value;
		} else if (strcmp(at, POLICY_COMPOSE_SERVICE_LABEL) == 0) {
			policy->compose_service = value;
		}
		at += size_bytes;
	}
	policy->labels = parsed->labels;
	policy->label_count = count;
	return PR_OK;
}

static int parse_addresses(const codec_doc_t *document, struct parsed *parsed)
{
	size_t count = codec_doc_count(document, CODEC_ENDPOINT_ADDRESSES);

	parsed->addresses = calloc(count + 1, sizeof(*parsed->addresses));
	if (parsed->addresses == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		const char *line = codec_doc_item(document, CODEC_ENDPOINT_ADDRESSES, i);
		if (directory_address_parse(line, &parsed->addresses[i]) != PR_OK) {
			return PR_EMALF;
		}
	}
	parsed->endpoint.addresses = parsed->addresses;
	parsed->endpoint.address_count = count;
	return PR_OK;
}

static const char *text_or_null(const codec_doc_t *document, unsigned field)
{
	const char *text = codec_doc_text(document, field);

	return text[0] != '\0' ? text : NULL;
}

static int parse_kind(const codec_doc_t *document, struct policy_endpoint *policy,
                      const char **ret_reason)
{
	const char *kind = codec_doc_text(document, CODEC_ENDPOINT_KIND);

	if (strcmp(kind, "host") == 0) {
		policy->kind = POLICY_HOST;
	} else if (strcmp(kind, "container") == 0) {
		policy->kind = POLICY_CONTAINER;
	} else {
		*ret_reason = "kind is neither host nor container";
		return PR_EMALF;
	}
	if (pr_uuid_is_null(&policy->id) || pr_uuid_is_null(&policy->host_id)) {
		*ret_reason = "uuid or host is missing";
		return PR_EMALF;
	}
	if (policy->kind == POLICY_HOST && !pr_uuid_equal(&policy->id, &policy->host_id)) {
		*ret_reason = "a host lives on itself: host is not its uuid";
		return PR_EMALF;
	}
	return PR_OK;
}

static int parse(const codec_doc_t *document, struct parsed *parsed, const char **ret_reason)
{
	struct policy_endpoint *policy = &parsed->endpoint.policy;

	*ret_reason = "not an endpoint message";
	if (codec_doc_type(document) != CODEC_ENDPOINT) {
		return PR_EMALF;
	}
	policy->id = codec_doc_uuid(document, CODEC_ENDPOINT_UUID);
	policy->host_id = codec_doc_uuid(document, CODEC_ENDPOINT_HOST);
	policy->name = text_or_null(document, CODEC_ENDPOINT_NAME);
	policy->image = text_or_null(document, CODEC_ENDPOINT_IMAGE);
	policy->cgroup = text_or_null(document, CODEC_ENDPOINT_CGROUP);
	int ret = parse_kind(document, policy, ret_reason);
	if (ret != PR_OK) {
		return ret;
	}
	if (policy->kind == POLICY_CONTAINER) {
		policy->host_name = text_or_null(document, CODEC_ENDPOINT_HOST_NAME);
	}
	parsed->endpoint.namespace_inode = codec_doc_u64(document, CODEC_ENDPOINT_NAMESPACE);
	parsed->endpoint.stopped =
		strcmp(codec_doc_text(document, CODEC_ENDPOINT_STATUS), "stopped") == 0;
	*ret_reason = "too many addresses or labels";
	if (codec_doc_count(document, CODEC_ENDPOINT_ADDRESSES) > DIRECTORY_ADDRESSES_MAX ||
	    codec_doc_count(document, CODEC_ENDPOINT_LABELS) > DIRECTORY_LABELS_MAX) {
		return PR_EMALF;
	}
	*ret_reason = "an address is not SCOPE ADDRESS/BITS MAC INTERFACE";
	ret = parse_addresses(document, parsed);
	if (ret != PR_OK) {
		return ret;
	}
	*ret_reason = "out of memory";
	return parse_labels(document, parsed);
}

int directory_put_document(directory_t *directory, const struct pr_uuid *agent,
                           const codec_doc_t *document)
{
	_cleanup_(parsed_done) struct parsed parsed = { 0 };
	const char *reason = NULL;
	int ret = parse(document, &parsed, &reason);

	if (ret != PR_OK) {
		return ret;
	}
	parsed.endpoint.agent = *agent;
	return directory_put(directory, &parsed.endpoint);
}

int directory_document_check(const codec_doc_t *document, const char **ret_reason)
{
	_cleanup_(parsed_done) struct parsed parsed = { 0 };

	return parse(document, &parsed, ret_reason);
}
