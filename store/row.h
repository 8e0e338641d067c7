/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file One event with its names as a stored value. For store/ alone. */

#include "store/history.h"
#include "store/internal.h"

void store_row_write(struct store_writer *writer, const struct store_row *row);

/** The row where a cursor stands; texts borrowed from the map. PR_ECORRUPT. */
int store_row_read(const struct store_cursor *cursor, struct store_row *ret_row);
