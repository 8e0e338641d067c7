/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

#include "codec/codec.h"

const char *codec_event_id_format(const struct pr_uuid *agent, uint64_t seq,
                                  char text[static CODEC_EVENT_TEXT_BYTES])
{
	char id[PR_UUID_TEXT_BYTES];

	(void)snprintf(text, CODEC_EVENT_TEXT_BYTES, "%s-%" PRIu64, pr_uuid_format(agent, id), seq);
	return text;
}

const char *codec_connection_format(uint64_t connection, char text[static CODEC_EVENT_TEXT_BYTES])
{
	text[0] = '\0';
	if (connection != 0) {
		(void)snprintf(text, CODEC_EVENT_TEXT_BYTES, "%016" PRIx64, connection);
	}
	return text;
}

const char *codec_proto_format(uint8_t proto, char text[static CODEC_EVENT_TEXT_BYTES])
{
	static const struct {
		uint8_t proto;
		const char *name;
	} names[] = { { IPPROTO_TCP, "tcp" },
		      { IPPROTO_UDP, "udp" },
		      { IPPROTO_ICMP, "icmp" },
		      { IPPROTO_ICMPV6, "icmp6" } };

	(void)snprintf(text, CODEC_EVENT_TEXT_BYTES, "%u", proto);
	for (size_t i = 0; i < PR_ARRAY_LEN(names); i++) {
		if (names[i].proto == proto) {
			(void)snprintf(text, CODEC_EVENT_TEXT_BYTES, "%s", names[i].name);
		}
	}
	return text;
}

const char *codec_service_format(uint8_t proto, uint16_t dst_port,
                                 char text[static CODEC_EVENT_TEXT_BYTES])
{
	char name[CODEC_EVENT_TEXT_BYTES];

	switch (proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		dst_port /= 256;
		break;
	default:
		(void)snprintf(text, CODEC_EVENT_TEXT_BYTES, "proto/%u", proto);
		return text;
	}
	(void)snprintf(text, CODEC_EVENT_TEXT_BYTES, "%.8s/%u", codec_proto_format(proto, name),
	               dst_port);
	return text;
}
