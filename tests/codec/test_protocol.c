/* SPDX-License-Identifier: GPL-2.0-or-later */

/* doc/protocol.md is what the table says. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "codec/protocol_print.h"
#include "tests/tap.h"

static char *file_read(const char *path, size_t *ret_bytes)
{
	FILE *in = fopen(path, "re");
	char *text = malloc(1 << 20);

	*ret_bytes = in != NULL && text != NULL ? fread(text, 1, 1 << 20, in) : 0;
	if (in != NULL) {
		fclose(in);
	}
	return text;
}

/* Line of the first difference, from 1. */
static unsigned line_differs(const char *a, const char *b)
{
	unsigned line = 1;

	for (; *a != '\0' && *a == *b; a++, b++) {
		line += *a == '\n';
	}
	return line;
}

int main(void)
{
	const char *srcdir = getenv("srcdir");
	char path[4096], preamble[4096];
	_cleanup_(pr_free) char *printed = NULL;
	_cleanup_(pr_free) char *written = NULL;
	size_t printed_bytes = 0, written_bytes = 0;
	FILE *out = open_memstream(&printed, &printed_bytes);

	srcdir = srcdir != NULL ? srcdir : ".";
	(void)snprintf(path, sizeof(path), "%s/doc/protocol.md", srcdir);
	(void)snprintf(preamble, sizeof(preamble), "%s/codec/protocol.md.in", srcdir);
	ok(out != NULL && codec_protocol_print(out, preamble) == PR_OK, "the table prints");
	fclose(out);
	written = file_read(path, &written_bytes);
	if (!ok(printed_bytes == written_bytes && memcmp(printed, written, written_bytes) == 0,
	        "doc/protocol.md is what the table says (else: make protocol-doc)")) {
		written[written_bytes < 1 << 20 ? written_bytes : (1 << 20) - 1] = '\0';
		printf("# differs from line %u on\n", line_differs(printed, written));
	}
	ok(codec_protocol_print(stderr, "/nonexistent") == PR_EIO,
	   "a missing preamble is an error");
	return tap_done();
}
