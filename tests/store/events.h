/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Rows for tests of the history. Not for the product. */

#include "store/history.h"
#include "tests/store/dir.h"

__attribute__((unused)) static struct store_row row_of(uint64_t seq, uint64_t time_wall_ns)
{
	struct store_row row = {
		.event = { .seq = seq,
		           .time_wall_ns = time_wall_ns,
		           .latency_us = 321,
		           .proto = 6,
		           .src = { { [10] = 0xff, 0xff, 172, 18, 0, 3 } },
		           .src_port = 40000,
		           .dst = { { [10] = 0xff, 0xff, 172, 18, 0, 4 } },
		           .dst_port = 3306,
		           .uid = 33,
		           .user = "www-data",
		           .pid = 4242,
		           .exe = "/usr/sbin/apache2",
		           .verdict = CODEC_EVENT_VERDICT_ALLOWED,
		           .mode = CODEC_MODE_ENFORCE,
		           .rule = 20,
		           .revision = 7,
		           .connection = seq * 31 },
		.src = { .name = "apache",
		         .kind = "container",
		         .container_id =
		                 "77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c",
		         .image = "httpd:2.4",
		         .host = "dockersrv" },
		.dst = { .name = "mysql",
		         .kind = "container",
		         .container_id =
		                 "5f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b2",
		         .image = "mysql:8",
		         .host = "dockersrv" },
		.rule_comment = "Allow MySQL server",
	};
	return row;
}

__attribute__((unused)) static store_history_t *
history_at(const struct store_history_options *options)
{
	store_history_t *history = NULL;
	int err = store_history_open(options, &history);
	if (err != 0) {
		fprintf(stderr, "# store_history_open: %d\n", err);
	}
	return history;
}

/** Append @p count events of an agent from @p first on; the error of the append. */
__attribute__((unused)) static int append(store_history_t *history, unsigned agent, uint64_t first,
                                          size_t count, struct store_batch *ret_batch)
{
	struct store_row *rows = calloc(count, sizeof(*rows));
	for (size_t i = 0; i < count; i++) {
		rows[i] = row_of(first + i, (first + i) * 1000 + agent);
	}
	struct store_batch batch = { .agent = id_of(agent), .rows = rows, .count = count };
	int err = store_history_append(history, &batch, 1);
	if (ret_batch != NULL) {
		*ret_batch = batch;
		ret_batch->rows = NULL;
	}
	free(rows);
	return err;
}
