/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A directory for one test, and what tests of the store share. Not for the product. */

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"

#define TEST_DIR_TEMPLATE "/tmp/portreeve-test-store-XXXXXX"

__attribute__((unused)) static int dir_remove_one(const char *path, const struct stat *status,
                                                  int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

/** Make one, mode 0700. @p path of PATH_MAX. Exits when it cannot. */
__attribute__((unused)) static void dir_make(char path[static PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%s", TEST_DIR_TEMPLATE);
	if (mkdtemp(path) == NULL) {
		perror("mkdtemp");
		exit(99);
	}
}

__attribute__((unused)) static void dir_remove(const char *path)
{
	(void)nftw(path, dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static struct pr_uuid id_of(unsigned number)
{
	return (struct pr_uuid){
		.bytes = { [0] = 0x11, [14] = (uint8_t)(number >> 8), [15] = (uint8_t)number }
	};
}

__attribute__((unused)) static store_t *store_at(const char *path, uint64_t map_bytes)
{
	store_t *store = NULL;
	struct store_options options = { .path = path, .map_bytes = map_bytes };
	int err = store_open(&options, &store);
	if (err != 0) {
		fprintf(stderr, "# store_open: %d\n", err);
	}
	return store;
}
