/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>

#include "bench/herd.h"

#define SERVICES 20 /* of Compose, on each host the same */

static void text_set(codec_doc_t *document, unsigned field, const char *format, ...) _printf_(3, 4);

static void text_set(codec_doc_t *document, unsigned field, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	codec_doc_set_text(document, field, text);
}

static codec_doc_t *endpoint_document(const struct herd_agent *agent, unsigned index,
                                      const struct pr_uuid *id, const char *kind)
{
	codec_doc_t *document = codec_doc_new(CODEC_ENDPOINT);

	if (document != NULL) {
		codec_doc_set_uuid(document, CODEC_ENDPOINT_UUID, id);
		codec_doc_set_uuid(document, CODEC_ENDPOINT_HOST, &agent->id);
		codec_doc_set_text(document, CODEC_ENDPOINT_KIND, kind);
		text_set(document, CODEC_ENDPOINT_HOST_NAME, "herd-%u", index);
		codec_doc_set_text(document, CODEC_ENDPOINT_ENFORCED, "observe");
	}
	return document;
}

codec_doc_t *herd_host_document(const struct herd_agent *agent, unsigned index)
{
	codec_doc_t *document = endpoint_document(agent, index, &agent->id, "host");

	if (document != NULL) {
		text_set(document, CODEC_ENDPOINT_NAME, "herd-%u", index);
		codec_doc_addf(document, CODEC_ENDPOINT_ADDRESSES,
		               "global 10.9.%u.%u/16 02:00:00:00:00:01 eth0", index / 250,
		               index % 250 + 1);
	}
	return document;
}

/* An address in the same network as the containers of every other host: 172.18.0.0/16. */
static void container_address(codec_doc_t *document, const struct herd_agent *agent,
                              unsigned number)
{
	char network[PR_UUID_TEXT_BYTES];

	codec_doc_addf(document, CODEC_ENDPOINT_ADDRESSES,
	               "%s 172.18.%u.%u/16 02:42:ac:12:%02x:%02x eth0",
	               pr_uuid_format(&agent->id, network), number / 250, number % 250 + 2,
	               number / 250, number % 250 + 2);
}

static void container_labels(codec_doc_t *document, unsigned number, unsigned change)
{
	codec_doc_addf(document, CODEC_ENDPOINT_LABELS, "com.docker.compose.project=shop");
	codec_doc_addf(document, CODEC_ENDPOINT_LABELS, "com.docker.compose.service=service-%u",
	               number % SERVICES);
	codec_doc_addf(document, CODEC_ENDPOINT_LABELS, "com.docker.compose.container-number=%u",
	               number / SERVICES + 1);
	codec_doc_addf(document, CODEC_ENDPOINT_LABELS,
	               "com.docker.compose.config-hash="
	               "5d41402abc4b2a76b9719d911017c592ae2cbdc98ba3eab1c1d2cda0a5dd%04x",
	               number);
	codec_doc_addf(document, CODEC_ENDPOINT_LABELS, "change=%u", change);
}

codec_doc_t *herd_container_document(const struct herd_agent *agent, unsigned index,
                                     unsigned number, unsigned change)
{
	char container[65];

	(void)snprintf(container, sizeof(container), "%032x%032x", index + 1, number + 1);
	struct pr_uuid id = pr_uuid_of_container(container);
	codec_doc_t *document = endpoint_document(agent, index, &id, "container");
	if (document == NULL) {
		return NULL;
	}
	text_set(document, CODEC_ENDPOINT_NAME, "herd-%u-c-%u", index, number);
	codec_doc_set_text(document, CODEC_ENDPOINT_CONTAINER_ID, container);
	text_set(document, CODEC_ENDPOINT_IMAGE, "registry.example/shop/service-%u:1.2.3",
	         number % SERVICES);
	container_labels(document, number, change);
	container_address(document, agent, number);
	text_set(document, CODEC_ENDPOINT_CGROUP, "/docker/%s", container);
	codec_doc_set_text(document, CODEC_ENDPOINT_PLATFORM, "Linux 6.1.0-18-amd64");
	text_set(document, CODEC_ENDPOINT_MODEL, "%.12s", container);
	codec_doc_set_text(document, CODEC_ENDPOINT_MANUFACTURER, "docker");
	text_set(document, CODEC_ENDPOINT_OS_VERSION, "sha256:%s", container);
	codec_doc_addf(document, CODEC_ENDPOINT_LISTENERS, "tcp/%u %u /usr/sbin/service",
	               8000 + number % SERVICES, 1000 + number);
	codec_doc_set_u64(document, CODEC_ENDPOINT_NAMESPACE, 4026532000 + number);
	return document;
}

codec_doc_t *herd_end_document(uint64_t id, bool full)
{
	codec_doc_t *end = codec_doc_new(CODEC_INVENTORY_END);

	if (end != NULL) {
		codec_doc_set_u64(end, CODEC_INVENTORY_END_ID, id);
		codec_doc_set_u64(end, CODEC_INVENTORY_END_FULL, full);
	}
	return end;
}
