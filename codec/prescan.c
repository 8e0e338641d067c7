/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"
#include "codec/internal.h"

/* One object's head: bytes of the head, bytes of content behind it, and objects inside it. */
struct head {
	uint64_t head_bytes, content_bytes, inside;
	bool container;
};

/* 0xc0..0xdf: what follows the first byte. Length fields count bytes, except in lists and maps. */
enum shape { BAD, PLAIN, BYTES, LIST, MAP };
static const struct {
	uint8_t shape, length_bytes, extra_bytes;
} shapes[32] = {
	[0x00] = { PLAIN, 0, 0 },  [0x01] = { BAD, 0, 0 },   [0x02] = { PLAIN, 0, 0 },
	[0x03] = { PLAIN, 0, 0 },  [0x04] = { BYTES, 1, 0 }, [0x05] = { BYTES, 2, 0 },
	[0x06] = { BYTES, 4, 0 },  [0x07] = { BYTES, 1, 1 }, [0x08] = { BYTES, 2, 1 },
	[0x09] = { BYTES, 4, 1 },  [0x0a] = { PLAIN, 0, 4 }, [0x0b] = { PLAIN, 0, 8 },
	[0x0c] = { PLAIN, 0, 1 },  [0x0d] = { PLAIN, 0, 2 }, [0x0e] = { PLAIN, 0, 4 },
	[0x0f] = { PLAIN, 0, 8 },  [0x10] = { PLAIN, 0, 1 }, [0x11] = { PLAIN, 0, 2 },
	[0x12] = { PLAIN, 0, 4 },  [0x13] = { PLAIN, 0, 8 }, [0x14] = { PLAIN, 0, 2 },
	[0x15] = { PLAIN, 0, 3 },  [0x16] = { PLAIN, 0, 5 }, [0x17] = { PLAIN, 0, 9 },
	[0x18] = { PLAIN, 0, 17 }, [0x19] = { BYTES, 1, 0 }, [0x1a] = { BYTES, 2, 0 },
	[0x1b] = { BYTES, 4, 0 },  [0x1c] = { LIST, 2, 0 },  [0x1d] = { LIST, 4, 0 },
	[0x1e] = { MAP, 2, 0 },    [0x1f] = { MAP, 4, 0 },
};

static bool head_read_long(const uint8_t *at, size_t left_bytes, struct head *head)
{
	uint8_t shape = shapes[at[0] - 0xc0].shape;
	uint8_t length_bytes = shapes[at[0] - 0xc0].length_bytes;
	uint64_t length = 0;

	if (shape == BAD || left_bytes < 1U + length_bytes) {
		return false;
	}
	for (unsigned i = 0; i < length_bytes; i++) {
		length = length << 8 | at[1 + i];
	}
	head->head_bytes = 1U + length_bytes;
	head->content_bytes = shapes[at[0] - 0xc0].extra_bytes;
	head->container = shape == LIST || shape == MAP;
	if (head->container) {
		head->inside = shape == MAP ? 2 * length : length;
	} else {
		head->content_bytes += length;
	}
	return true;
}

static bool head_read(const uint8_t *at, size_t left_bytes, struct head *ret_head)
{
	struct head head = { .head_bytes = 1 };

	if (at[0] >= 0xc0 && at[0] < 0xe0) {
		if (!head_read_long(at, left_bytes, &head)) {
			return false;
		}
	} else if (at[0] >= 0xa0 && at[0] < 0xc0) {
		head.content_bytes = at[0] & 0x1f;
	} else if (at[0] >= 0x80 && at[0] < 0xa0) {
		head.container = true;
		head.inside = (at[0] & 0xfU) * (at[0] < 0x90 ? 2U : 1U);
	}
	/* Every object inside takes a byte at least. */
	if (head.content_bytes + head.inside > left_bytes - head.head_bytes) {
		return false;
	}
	*ret_head = head;
	return true;
}

int codec_prescan(const uint8_t *data, size_t size_bytes)
{
	uint64_t missing[CODEC_DEPTH_MAX + 1] = { 1 }; /* objects still to come, per level */
	size_t depth = 0, at = 0;

	for (uint32_t objects = 0; objects < CODEC_OBJECTS_MAX; objects++) {
		struct head head;

		while (missing[depth] == 0) {
			if (depth == 0) {
				return at == size_bytes ? PR_OK : PR_EMALF;
			}
			depth--;
		}
		if (at == size_bytes || !head_read(data + at, size_bytes - at, &head)) {
			return PR_EMALF;
		}
		missing[depth]--;
		at += head.head_bytes + head.content_bytes;
		if (head.container) {
			if (depth == CODEC_DEPTH_MAX) {
				return PR_EMALF;
			}
			missing[++depth] = head.inside;
		}
	}
	return PR_EMALF;
}
