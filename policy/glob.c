/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "codec/codec.h"
#include "policy/policy.h"

/* Past one character: `?` stands for a whole one, whatever its bytes. */
static const char *next_character(const char *text)
{
	do {
		text++;
	} while (((unsigned char)*text & 0xc0) == 0x80);
	return text;
}

bool policy_glob_match(const char *pattern, const char *text)
{
	const char *star = NULL, *star_text = NULL;
	while (*text != '\0') {
		if (*pattern == '*') {
			star = ++pattern;
			star_text = text;
		} else if (*pattern == '?') {
			pattern++;
			text = next_character(text);
		} else if (*pattern == *text) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star;
			text = ++star_text;
		} else {
			return false;
		}
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

/* The bytes of a name that is not UTF-8, else the text itself. */
static const char *bytes_of(const char *text, char bytes[static POLICY_PATH_MAX_BYTES + 1])
{
	size_t count = 0;
	if (text[0] != ':' || !codec_bytes_parse(text, bytes, POLICY_PATH_MAX_BYTES, &count)) {
		return text;
	}
	bytes[count] = '\0';
	return bytes;
}

/*
 * Two places to go back to: the last `*` of this run, else the last `**`. A later one makes the
 * earlier one of its kind needless, so the work is bounded by both lengths and there is no
 * recursion.
 */
static bool path_match(const char *pattern, const char *path)
{
	const char *star = NULL, *star_path = NULL;
	const char *deep = NULL, *deep_path = NULL;
	while (*path != '\0') {
		if (pattern[0] == '*' && pattern[1] == '*') {
			pattern += strspn(pattern, "*");
			deep = pattern;
			deep_path = path;
			star = NULL;
		} else if (*pattern == '*') {
			star = ++pattern;
			star_path = path;
		} else if (*pattern == '?' && *path != '/') {
			pattern++;
			path = next_character(path);
		} else if (*pattern == *path) {
			pattern++;
			path++;
		} else if (star != NULL && *star_path != '/') {
			pattern = star;
			path = ++star_path;
		} else if (deep != NULL) {
			pattern = deep;
			path = ++deep_path;
			star = NULL;
		} else {
			return false;
		}
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

bool policy_path_match(const char *pattern, const char *path)
{
	char pattern_bytes[POLICY_PATH_MAX_BYTES + 1], path_bytes[POLICY_PATH_MAX_BYTES + 1];
	return path_match(bytes_of(pattern, pattern_bytes), bytes_of(path, path_bytes));
}
