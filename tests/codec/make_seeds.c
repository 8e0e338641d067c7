/* SPDX-License-Identifier: GPL-2.0-or-later */

/* make_seeds FOLDER: writes the seeds of fuzz_records and fuzz_doc. Run once per change of the
 * table; the seeds are committed. Not a test. */

#include <stdlib.h>

#include "base/err.h"
#include "codec/codec.h"
#include "tests/codec/sample.h"

static int seed_write(const char *folder, const char *target, const char *name, const void *data,
                      size_t size_bytes)
{
	char path[4096];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/fuzz_%s.in/%s", folder, target, name);
	out = fopen(path, "we");
	if (out == NULL || fwrite(data, 1, size_bytes, out) != size_bytes || fclose(out) != 0) {
		perror(path);
		return 1;
	}
	return 0;
}

static int seed_make(const char *folder, const struct codec_message *message)
{
	static uint8_t frame[CODEC_FRAME_MAX_BYTES];
	static struct codec_request record; /* the largest */
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	if (message->hot) {
		sample_record(message, &record);
		return codec_records_encode(message->type, &record, 1, frame, sizeof(frame),
		                            &size_bytes) < 0 ||
		       seed_write(folder, "records", message->name, frame, size_bytes) != 0;
	}
	doc = sample_doc(message);
	return doc == NULL || codec_doc_encode(doc, &data, &size_bytes) < 0 ||
	       seed_write(folder, "doc", message->name, data, size_bytes) != 0;
}

int main(int argc, char **argv)
{
	size_t count = 0;
	const struct codec_message *messages = codec_messages(&count);
	int failed = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: make_seeds FOLDER\n");
		return 2;
	}
	for (size_t i = 0; i < count; i++) {
		failed |= seed_make(argv[1], &messages[i]);
	}
	return failed;
}
