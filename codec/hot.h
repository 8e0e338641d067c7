/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The structs of hot messages, made from msg.def. Included by codec.h alone. */

#define CODEC_SKIP(name, kind)
#define CODEC_TAKE(name, kind)                    CODEC_C_##kind(name);
#define HOT_FIELD(M, NAME, name, kind, unit, doc) CODEC_IN_##M(name, kind)

#define CODEC_IN_REQUEST   CODEC_TAKE
#define CODEC_IN_VERDICT   CODEC_SKIP
#define CODEC_IN_EVENT     CODEC_SKIP
#define CODEC_IN_EVENT_ACK CODEC_SKIP
#define CODEC_IN_NOTICE    CODEC_SKIP
struct codec_request {
#include "codec/msg.def"
};

#undef CODEC_IN_REQUEST
#undef CODEC_IN_VERDICT
#define CODEC_IN_REQUEST                          CODEC_SKIP
#define CODEC_IN_VERDICT                          CODEC_TAKE
#define HOT_FIELD(M, NAME, name, kind, unit, doc) CODEC_IN_##M(name, kind)
struct codec_verdict {
#include "codec/msg.def"
};

#undef CODEC_IN_VERDICT
#undef CODEC_IN_EVENT
#define CODEC_IN_VERDICT                          CODEC_SKIP
#define CODEC_IN_EVENT                            CODEC_TAKE
#define HOT_FIELD(M, NAME, name, kind, unit, doc) CODEC_IN_##M(name, kind)
struct codec_event {
#include "codec/msg.def"
};

#undef CODEC_IN_EVENT
#undef CODEC_IN_EVENT_ACK
#define CODEC_IN_EVENT                            CODEC_SKIP
#define CODEC_IN_EVENT_ACK                        CODEC_TAKE
#define HOT_FIELD(M, NAME, name, kind, unit, doc) CODEC_IN_##M(name, kind)
struct codec_event_ack {
#include "codec/msg.def"
};

#undef CODEC_IN_EVENT_ACK
#undef CODEC_IN_NOTICE
#define CODEC_IN_EVENT_ACK                        CODEC_SKIP
#define CODEC_IN_NOTICE                           CODEC_TAKE
#define HOT_FIELD(M, NAME, name, kind, unit, doc) CODEC_IN_##M(name, kind)
struct codec_notice {
#include "codec/msg.def"
};

#undef CODEC_IN_REQUEST
#undef CODEC_IN_VERDICT
#undef CODEC_IN_EVENT
#undef CODEC_IN_EVENT_ACK
#undef CODEC_IN_NOTICE
#undef CODEC_SKIP
#undef CODEC_TAKE
