/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRC-32C, eight bytes a step. Source: M. E. Kounavis and F. L. Berry, "A Systematic Approach to
 * Building High Performance Software-Based CRC Generators", 2005.
 */
#include <endian.h>
#include <string.h>

#include "agent/speaker/spool.h"

#define POLYNOMIAL 0x82f63b78U /* Castagnoli's, reflected */
#define SLICES     8

/* tables[n][b]: what byte b does when n more bytes follow it. */
static uint32_t tables[SLICES][256];

static void tables_make(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;
		for (int bit = 0; bit < 8; bit++) {
			value = (value >> 1) ^ ((value & 1) != 0 ? POLYNOMIAL : 0);
		}
		tables[0][i] = value;
	}
	for (uint32_t i = 0; i < 256; i++) {
		for (int slice = 1; slice < SLICES; slice++) {
			uint32_t before = tables[slice - 1][i];
			tables[slice][i] = tables[0][before & 0xff] ^ (before >> 8);
		}
	}
}

static uint32_t eight_add(uint32_t crc, const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	word = le64toh(word) ^ crc;
	crc = 0;
	for (int i = 0; i < SLICES; i++) {
		crc ^= tables[SLICES - 1 - i][(word >> (8 * i)) & 0xff];
	}
	return crc;
}

uint32_t spool_crc(uint32_t crc, const void *data, size_t size_bytes)
{
	const uint8_t *at = data;

	if (tables[0][1] == 0) {
		tables_make();
	}
	crc = ~crc;
	for (; size_bytes >= SLICES; size_bytes -= SLICES, at += SLICES) {
		crc = eight_add(crc, at);
	}
	for (; size_bytes > 0; size_bytes--) {
		crc = tables[0][(crc ^ *at++) & 0xff] ^ (crc >> 8);
	}
	return ~crc;
}
