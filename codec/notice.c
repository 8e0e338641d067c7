/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "codec/codec.h"

struct codec_notice codec_notice_of(const struct codec_request *request, uint64_t connection)
{
	struct codec_notice notice = {
		.id = request->id,
		.directory = request->directory,
		.proto = request->proto,
		.reporter = request->reporter,
		.wire_src = request->wire_src,
		.wire_src_port = request->src_port,
		.wire_dst = request->wire_dst,
		.wire_dst_port = request->wire_dst_port,
		.from_state = request->from_state,
		.from_uid = request->from_uid,
		.connection = connection,
		.attempt = request->attempt,
	};

	memcpy(notice.from_user, request->from_user, sizeof(notice.from_user));
	memcpy(notice.from_exe, request->from_exe, sizeof(notice.from_exe));
	return notice;
}
