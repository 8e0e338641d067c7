/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <string.h>

#include "agent/keeper/owner_parse.h"
#include "codec/codec.h"

#define STAT_FIELD_START 22
#define NAME_BYTES       33

/* Decimal digits, bounded; moves @p text_p behind them. */
static bool number_take(const char **text_p, uint64_t *ret_number)
{
	const char *text = *text_p;
	uint64_t number = 0;

	if (!isdigit((unsigned char)*text)) {
		return false;
	}
	for (; isdigit((unsigned char)*text); text++) {
		uint64_t digit = (uint64_t)(*text - '0');
		if (number > (UINT64_MAX - digit) / 10) {
			return false;
		}
		number = number * 10 + digit;
	}
	*text_p = text;
	*ret_number = number;
	return true;
}

static const char *blanks_skip(const char *text)
{
	while (*text == ' ' || *text == '\t') {
		text++;
	}
	return text;
}

bool owner_stat_parse(const char *text, uint64_t *ret_start_ticks)
{
	const char *at = strrchr(text, ')');
	uint64_t number = 0;

	if (at == NULL || at[1] != ' ' || at[2] == '\0' || at[3] != ' ') {
		return false;
	}
	at += 4;
	for (int field = 4; field <= STAT_FIELD_START; field++) {
		at += *at == '-';
		if (!number_take(&at, &number) || *at++ != ' ') {
			return false;
		}
	}
	*ret_start_ticks = number;
	return true;
}

bool owner_link_parse(const char *text, const char *kind, uint64_t *ret_number)
{
	size_t length = strlen(kind);

	if (strncmp(text, kind, length) != 0 || text[length] != ':' || text[length + 1] != '[') {
		return false;
	}
	const char *at = text + length + 2;
	uint64_t number;
	if (!number_take(&at, &number) || strcmp(at, "]") != 0) {
		return false;
	}
	*ret_number = number;
	return true;
}

/* ------------------------------------------------------------------------------ /proc/net */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "0100007F:1A2B" or 32 digits: words in host order, as the kernel prints them. */
static bool raw_address_take(const char **text_p, struct pr_addr *ret_addr, uint16_t *ret_number)
{
	const char *text = *text_p;
	uint8_t bytes[16];
	size_t count = 0;
	unsigned int number = 0;

	for (; hex_digit(text[0]) >= 0 && hex_digit(text[1]) >= 0; text += 2) {
		if (count == sizeof(bytes)) {
			return false;
		}
		bytes[count++] = (uint8_t)(hex_digit(text[0]) * 16 + hex_digit(text[1]));
	}
	if ((count != 4 && count != 16) || *text++ != ':') {
		return false;
	}
	for (size_t word = 0; word < count; word += 4) {
		uint32_t value = ((uint32_t)bytes[word] << 24) | ((uint32_t)bytes[word + 1] << 16) |
		                 ((uint32_t)bytes[word + 2] << 8) | bytes[word + 3];
		memcpy(&bytes[word], &value, sizeof(value));
	}
	for (; hex_digit(*text) >= 0; text++) {
		number = number * 16 + (unsigned int)hex_digit(*text);
		if (number > UINT16_MAX) {
			return false;
		}
	}
	if (count == 4) {
		uint32_t v4;
		memcpy(&v4, bytes, sizeof(v4));
		*ret_addr = pr_addr_from_v4(v4);
	} else {
		memcpy(ret_addr->bytes, bytes, sizeof(bytes));
	}
	*ret_number = (uint16_t)number;
	*text_p = text;
	return true;
}

static const char *word_skip(const char *text)
{
	text = blanks_skip(text);
	while (*text != '\0' && *text != ' ' && *text != '\t' && *text != '\n') {
		text++;
	}
	return blanks_skip(text);
}

/* sl local remote st tx:rx tr:tm retrnsmt uid timeout inode ... */
bool owner_raw_parse(const char *line, struct owner_raw_socket *ret_socket)
{
	struct owner_raw_socket socket = { 0 };
	uint16_t remote_number;
	uint64_t uid = 0;
	uint64_t inode = 0;

	const char *at = word_skip(line);
	if (!raw_address_take(&at, &socket.local, &socket.number)) {
		return false;
	}
	at = blanks_skip(at);
	if (!raw_address_take(&at, &socket.remote, &remote_number)) {
		return false;
	}
	for (int word = 0; word < 4; word++) {
		at = word_skip(at);
	}
	if (!number_take(&at, &uid) || uid > UINT32_MAX) {
		return false;
	}
	at = word_skip(blanks_skip(at));
	if (!number_take(&at, &inode)) {
		return false;
	}
	socket.uid = (uint32_t)uid;
	socket.inode = inode;
	*ret_socket = socket;
	return true;
}

/* ------------------------------------------------------------------------ other small texts */

uint32_t owner_uid_map(const char *text, uint32_t outside)
{
	while (*text != '\0') {
		uint64_t inside;
		uint64_t first;
		uint64_t count;
		text = blanks_skip(text);
		if (!number_take(&text, &inside)) {
			return UINT32_MAX;
		}
		text = blanks_skip(text);
		if (!number_take(&text, &first)) {
			return UINT32_MAX;
		}
		text = blanks_skip(text);
		if (!number_take(&text, &count)) {
			return UINT32_MAX;
		}
		if (outside >= first && outside - first < count) {
			uint64_t mapped = inside + (outside - first);
			return mapped < UINT32_MAX ? (uint32_t)mapped : UINT32_MAX;
		}
		text = strchr(text, '\n');
		if (text == NULL) {
			return UINT32_MAX;
		}
		text++;
	}
	return UINT32_MAX;
}

static bool fs_risky(const char *type)
{
	static const char *const kinds[] = { "fuse", "nfs",  "cifs",   "smb",
		                             "9p",   "ceph", "autofs", "afs" };
	for (size_t i = 0; i < PR_ARRAY_LEN(kinds); i++) {
		if (strncmp(type, kinds[i], strlen(kinds[i])) == 0) {
			return true;
		}
	}
	return false;
}

/* id parent major:minor root MOUNTPOINT options [fields] - TYPE source options */
bool owner_mounts_risky(const char *text)
{
	static const char *const places[] = { "/", "/etc", "/etc/passwd" };

	while (text != NULL && *text != '\0') {
		const char *end = strchr(text, '\n');
		const char *type = strstr(text, " - ");
		const char *point = text;
		for (int word = 0; word < 4; word++) {
			point = word_skip(point);
		}
		for (size_t i = 0; i < PR_ARRAY_LEN(places); i++) {
			size_t length = strlen(places[i]);
			bool here = strncmp(point, places[i], length) == 0 && point[length] == ' ';
			if (here && type != NULL && (end == NULL || type < end) &&
			    fs_risky(type + 3)) {
				return true;
			}
		}
		text = end == NULL ? NULL : end + 1;
	}
	return false;
}

/* name:password:uid:... A name too long is passed over: cut, it would be that of another user. */
bool owner_passwd_find(const char *text, size_t size_bytes, uint32_t uid, char ret_name[static 33])
{
	const char *end = text + size_bytes;

	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		line_end = line_end == NULL ? end : line_end;
		const char *name_end = memchr(text, ':', (size_t)(line_end - text));
		const char *password_end =
			name_end == NULL
				? NULL
				: memchr(name_end + 1, ':', (size_t)(line_end - name_end - 1));
		uint64_t number = 0;
		const char *at = password_end == NULL ? line_end : password_end + 1;
		bool digits = at < line_end;
		for (; at < line_end && *at != ':' && digits; at++) {
			digits = isdigit((unsigned char)*at) && number <= UINT32_MAX;
			number = number * 10 + (uint64_t)(*at - '0');
		}
		if (digits && at < line_end && at > password_end + 1 && number == uid &&
		    name_end > text &&
		    codec_bytes_format(text, (size_t)(name_end - text), ret_name, NAME_BYTES)) {
			return true;
		}
		text = line_end + 1;
	}
	return false;
}
