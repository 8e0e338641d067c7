/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/inventory/internal.h"
#include "base/addr.h"

/* First line of a small file; "" when there is none. */
static void line_read(const char *path, char *text, size_t size_bytes)
{
	text[0] = '\0';
	FILE *file = fopen(path, "re");
	if (file == NULL) {
		return;
	}
	if (fgets(text, (int)size_bytes, file) == NULL) {
		text[0] = '\0';
	}
	text[strcspn(text, "\n")] = '\0';
	(void)fclose(file);
}

/* Value of "key<separator>value" in a file of such lines; quotes are taken off. */
static void value_read(const char *path, const char *key, char separator, char *text,
                       size_t size_bytes)
{
	char line[512];
	text[0] = '\0';
	FILE *file = fopen(path, "re");
	if (file == NULL) {
		return;
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) != 0) {
			continue;
		}
		const char *value = strchr(line, separator);
		if (value == NULL) {
			continue;
		}
		value += 1 + strspn(value + 1, " \t\"");
		(void)snprintf(text, size_bytes, "%.*s", (int)strcspn(value, "\"\n"), value);
		break;
	}
	(void)fclose(file);
}

void host_facts_read(struct host_facts *facts)
{
	struct utsname names;
	struct stat namespace;

	facts->namespace = stat("/proc/thread-self/ns/net", &namespace) == 0 ? namespace.st_ino : 0;

	if (facts->name[0] == '\0' && gethostname(facts->name, sizeof(facts->name) - 1) != 0) {
		facts->name[0] = '\0';
	}
	if (uname(&names) == 0) {
		(void)snprintf(facts->platform, sizeof(facts->platform), "%s %s", names.sysname,
		               names.release);
	}
	value_read("/proc/cpuinfo", "model name", ':', facts->processor, sizeof(facts->processor));
	value_read("/etc/os-release", "NAME=", '=', facts->os, sizeof(facts->os));
	value_read("/etc/os-release", "VERSION_ID=", '=', facts->os_version,
	           sizeof(facts->os_version));
	line_read("/sys/class/dmi/id/sys_vendor", facts->manufacturer, sizeof(facts->manufacturer));
	line_read("/sys/class/dmi/id/product_name", facts->model, sizeof(facts->model));
}

/* Networks of the engines, whose bridges scope addresses; or one scope for all. */
struct scopes {
	const struct engine_facts *const *engines;
	size_t engine_count;
	const char *all; /* NULL: by interface */
};

/* Scope of an interface: a container network's bridge, else the world. */
static void scope_of(const struct scopes *scopes, const char *interface,
                     char scope[static PR_UUID_TEXT_BYTES])
{
	for (size_t i = 0; scopes->all == NULL && i < scopes->engine_count; i++) {
		const struct engine_facts *facts = scopes->engines[i];
		for (size_t j = 0; j < facts->network_count; j++) {
			if (strcmp(facts->networks[j].bridge, interface) == 0) {
				(void)pr_uuid_format(&facts->networks[j].scope, scope);
				return;
			}
		}
	}
	(void)snprintf(scope, PR_UUID_TEXT_BYTES, "%s",
	               scopes->all != NULL ? scopes->all : "global");
}

static void mac_of(const struct ifaddrs *list, const char *interface, char mac[static 18])
{
	(void)snprintf(mac, 18, "-");
	for (const struct ifaddrs *item = list; item != NULL; item = item->ifa_next) {
		if (item->ifa_addr == NULL || item->ifa_addr->sa_family != AF_PACKET ||
		    strcmp(item->ifa_name, interface) != 0) {
			continue;
		}
		const struct sockaddr_ll *link = (const struct sockaddr_ll *)item->ifa_addr;
		if (link->sll_halen == 6) {
			const unsigned char *b = link->sll_addr;
			(void)snprintf(mac, 18, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2],
			               b[3], b[4], b[5]);
		}
		return;
	}
}

static unsigned mask_bits(const struct sockaddr *mask)
{
	unsigned bits = 0;
	const uint8_t *bytes;
	size_t count;

	if (mask == NULL) {
		return 0;
	}
	if (mask->sa_family == AF_INET) {
		bytes = (const uint8_t *)&((const struct sockaddr_in *)mask)->sin_addr;
		count = 4;
	} else {
		bytes = (const uint8_t *)&((const struct sockaddr_in6 *)mask)->sin6_addr;
		count = 16;
	}
	for (size_t i = 0; i < count; i++) {
		bits += (unsigned)__builtin_popcount(bytes[i]);
	}
	return bits;
}

static bool address_of(const struct sockaddr *from, struct pr_addr *ret_addr)
{
	if (from == NULL) {
		return false;
	}
	if (from->sa_family == AF_INET) {
		*ret_addr = pr_addr_from_v4(((const struct sockaddr_in *)from)->sin_addr.s_addr);
		return true;
	}
	if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from;
		memcpy(ret_addr->bytes, &six->sin6_addr, sizeof(ret_addr->bytes));
		/* Link-local addresses mean nothing beyond their link. */
		return !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr);
	}
	return false;
}

static void add_addresses(codec_doc_t *doc, const struct scopes *scopes)
{
	struct ifaddrs *list;

	if (getifaddrs(&list) != 0) {
		return;
	}
	for (const struct ifaddrs *item = list; item != NULL; item = item->ifa_next) {
		struct pr_addr addr;
		char scope[PR_UUID_TEXT_BYTES], mac[18], text[PR_ADDR_TEXT_BYTES];
		if ((item->ifa_flags & IFF_LOOPBACK) != 0 || !address_of(item->ifa_addr, &addr)) {
			continue;
		}
		scope_of(scopes, item->ifa_name, scope);
		mac_of(list, item->ifa_name, mac);
		codec_doc_addf(doc, CODEC_ENDPOINT_ADDRESSES, "%s %s/%u %s %s", scope,
		               pr_addr_format(&addr, text), mask_bits(item->ifa_netmask), mac,
		               item->ifa_name);
	}
	freeifaddrs(list);
}

void host_addresses_add(codec_doc_t *doc, const char *scope)
{
	const struct scopes scopes = { .all = scope };

	add_addresses(doc, &scopes);
}

void host_part_set(codec_doc_t *doc, const struct host_facts *facts)
{
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_HOST, &facts->id);
	codec_doc_set_text(doc, CODEC_ENDPOINT_HOST_NAME, facts->name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_PLATFORM, facts->platform);
	codec_doc_set_text(doc, CODEC_ENDPOINT_PROCESSOR, facts->processor);
	codec_doc_set_text(doc, CODEC_ENDPOINT_VERSION, facts->version);
}

codec_doc_t *host_endpoint(const struct host_facts *facts,
                           const struct engine_facts *const *engines, size_t engine_count)
{
	const struct scopes scopes = { .engines = engines, .engine_count = engine_count };
	codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	struct stat namespace;
	if (doc == NULL) {
		return NULL;
	}
	host_part_set(doc, facts);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, &facts->id);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, "host");
	codec_doc_set_text(doc, CODEC_ENDPOINT_NAME, facts->name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_IMAGE, facts->os);
	codec_doc_set_text(doc, CODEC_ENDPOINT_OS_VERSION, facts->os_version);
	codec_doc_set_text(doc, CODEC_ENDPOINT_MODEL, facts->model);
	codec_doc_set_text(doc, CODEC_ENDPOINT_MANUFACTURER, facts->manufacturer);
	if (stat("/proc/thread-self/ns/net", &namespace) == 0) {
		codec_doc_set_u64(doc, CODEC_ENDPOINT_NAMESPACE, namespace.st_ino);
	}
	add_addresses(doc, &scopes);
	return doc;
}
