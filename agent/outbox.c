/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "agent/outbox.h"
#include "base/err.h"

struct item {
	struct item *next;
	struct part_order order;
};

struct outbox {
	struct item *head, **tail;
};

int outbox_new(outbox_t **ret_outbox)
{
	outbox_t *outbox = calloc(1, sizeof(*outbox));
	if (outbox == NULL) {
		return PR_ENOMEM;
	}
	outbox->tail = &outbox->head;
	*ret_outbox = outbox;
	return PR_OK;
}

static void head_drop(outbox_t *outbox)
{
	struct item *item = outbox->head;
	outbox->head = item->next;
	if (outbox->head == NULL) {
		outbox->tail = &outbox->head;
	}
	free(item);
}

void outbox_destroy(outbox_t **outbox_p)
{
	outbox_t *outbox = *outbox_p;
	if (outbox == NULL) {
		return;
	}
	while (outbox->head != NULL) {
		head_drop(outbox);
	}
	free(outbox);
	*outbox_p = NULL;
}

int outbox_put(outbox_t *outbox, const struct part_order *order)
{
	struct item *item = calloc(1, sizeof(*item));
	if (item == NULL) {
		return PR_ENOMEM;
	}
	item->order = *order;
	*outbox->tail = item;
	outbox->tail = &item->next;
	return PR_OK;
}

bool outbox_empty(const outbox_t *outbox)
{
	return outbox->head == NULL;
}

void outbox_send(outbox_t *outbox, keeper_thread_t *keeper)
{
	while (outbox->head != NULL && keeper_thread_order(keeper, &outbox->head->order) == PR_OK) {
		head_drop(outbox);
	}
}
