/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Positions of document fields, counted from 0 in each message. Included by codec.h alone.
 */

enum codec_doc_field {
#define DOC(NAME, number, name, direction, doc)   CODEC_##NAME##_FIELDS_START = -1,
#define DOC_FIELD(M, NAME, name, kind, unit, doc) CODEC_##M##_##NAME,
#include "codec/msg.def"
};
