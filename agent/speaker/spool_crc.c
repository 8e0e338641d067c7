/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/speaker/spool.h"

uint32_t spool_crc(uint32_t crc, const void *data, size_t size_bytes)
{
	static uint32_t table[256];
	const uint8_t *at = data;

	if (table[1] == 0) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;
			for (int bit = 0; bit < 8; bit++) {
				value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78U : 0);
			}
			table[i] = value;
		}
	}
	crc = ~crc;
	while (size_bytes-- > 0) {
		crc = table[(crc ^ *at++) & 0xff] ^ (crc >> 8);
	}
	return ~crc;
}
