/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Who is logged in on this host, by its utmp file. What stands in it is not trusted: programs of
 * the group utmp write it, a crash leaves it behind, and a cut file is one, too. Threads: any.
 * Source: utmp(5).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec.h"

#define SESSIONS_FILE_MAX_BYTES (1U << 20) /* what is behind is not read */
#define SESSIONS_MAX            64U        /* more are left out */
#define SESSIONS_MAX_BYTES      8192U      /* of all lines together */

/**
 * Add the sessions of a file's content to an ENDPOINT document, as its table has them, and what
 * they lack. Pure.
 *
 * @param alive  Does a process of this number live? A session without one is left out.
 */
void sessions_parse(const void *data, size_t size_bytes, bool (*alive)(int32_t pid),
                    codec_doc_t *endpoint);

/** The same of a file. One that is not there, or cannot be read, is said in the document. */
void sessions_add(const char *path, codec_doc_t *endpoint);
