/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Orders to a keeper that takes some and then says that it is busy. */
#include "agent/outbox.h"
#include "base/err.h"
#include "tests/tap.h"

static unsigned int room; /* orders that the keeper still takes */
static int refusal = PR_EAGAIN;
static unsigned int taken, in_order;

/* Stands in for the keeper's thread. */
int keeper_thread_order(keeper_thread_t *thread, const struct part_order *order)
{
	(void)thread;
	if (room == 0) {
		return refusal;
	}
	room--;
	in_order += order->pid == (int32_t)taken;
	taken++;
	return PR_OK;
}

static int put(outbox_t *outbox, int32_t number)
{
	struct part_order order = { .kind = PART_ORDER_WATCH, .pid = number };
	int ret = outbox_put(outbox, &order);
	order.pid = -1; /* it was copied */
	return ret;
}

int main(void)
{
	outbox_t *outbox = NULL;
	bool good = true;

	ok(outbox_new(&outbox) == PR_OK && outbox_empty(outbox), "empty at first");
	outbox_send(outbox, NULL);
	ok(taken == 0, "nothing to send");
	for (int32_t i = 0; i < 1000; i++) {
		good = good && put(outbox, i) == PR_OK;
	}
	ok(good && !outbox_empty(outbox), "a thousand orders wait");
	outbox_send(outbox, NULL);
	ok(taken == 0 && !outbox_empty(outbox), "a busy keeper takes none, none is lost");
	room = 300;
	outbox_send(outbox, NULL);
	ok(taken == 300 && !outbox_empty(outbox), "it takes some");
	good = put(outbox, 1000) == PR_OK;
	room = 5000;
	outbox_send(outbox, NULL);
	ok(good && taken == 1001 && in_order == 1001 && outbox_empty(outbox),
	   "then all, each once and in order: %u of %u", in_order, taken);
	good = put(outbox, 1001) == PR_OK;
	outbox_send(outbox, NULL);
	ok(good && in_order == 1002 && outbox_empty(outbox), "emptied, it takes orders again");
	room = 0;
	refusal = PR_EIO;
	good = put(outbox, 0) == PR_OK;
	outbox_send(outbox, NULL);
	ok(good && !outbox_empty(outbox), "a keeper that has ended takes none");
	outbox_destroy(&outbox);
	ok(outbox == NULL, "destroyed with an order inside");
	outbox_destroy(&outbox);
	return tap_done();
}
