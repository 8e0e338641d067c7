/* SPDX-License-Identifier: GPL-2.0-or-later */

/* protocol_doc PREAMBLE: prints doc/protocol.md. For `make protocol-doc`. */

#include "base/err.h"
#include "codec/protocol_print.h"

int main(int argc, char **argv)
{
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: protocol_doc PREAMBLE\n");
		return 2;
	}
	ret = codec_protocol_print(stdout, argv[1]);
	if (ret < 0) {
		fprintf(stderr, "protocol_doc: %s: %s\n", argv[1], pr_strerror(ret));
		return 1;
	}
	return 0;
}
