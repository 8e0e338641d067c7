/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>

#include "agent/gate/decided.h"
#include "agent/gate/pending.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/tap.h"

static const uint64_t secrets[2] = { 0x123456789abcdef1ULL, 0xfedcba9876543211ULL };

static struct gate_key key_of(uint32_t number)
{
	struct gate_tuple tuple = { .family = 4,
		                    .proto = IPPROTO_TCP,
		                    .src_port = (uint16_t)number,
		                    .dst_port = 80,
		                    .tcp_sequence = number >> 16 };
	return gate_key_make(1, &tuple);
}

static int answered;
static uint32_t last_id;
static bool in_order;

static void answer(const struct pending_question *question, const struct pending_packet *packet,
                   void *arg)
{
	(void)arg;
	in_order = in_order && (last_id == 0 || packet->id == last_id + 1);
	last_id = packet->id;
	answered += question->decision.action == CODEC_ACTION_DENY ? 1 : 1000;
}

static void test_hold(void)
{
	pending_t *pending = NULL;
	struct gate_key key = key_of(1);

	ok(pending_new(4, secrets, &pending) == PR_OK, "a table of 4");
	struct pending_question *question = pending_add(pending, &key, 100);
	uint64_t id = question->request.id;
	ok(question != NULL && pending_find(pending, &key) == question &&
	           pending_find_id(pending, id) == question && pending_count_slot(pending, 1) == 1,
	   "a question is found by key and id");
	bool held = true;
	for (uint32_t i = 1; i <= 3; i++) {
		struct pending_packet packet = { .id = i };
		held = held && pending_hold(pending, question, &packet);
	}
	ok(held && pending_holds(question), "three packets wait");
	in_order = true;
	pending_release(pending, question, answer, NULL);
	ok(answered == 3 && in_order, "each is answered once, denied, in order");
	ok(pending_find(pending, &key) == NULL && pending_find_id(pending, id) == NULL &&
	           pending_count(pending) == 0 && pending_oldest(pending) == NULL,
	   "the question is gone");
	question = pending_add(pending, &key, 100);
	ok(question->request.id != id && pending_find_id(pending, id) == NULL,
	   "its id never comes again");
	pending_release(pending, question, answer, NULL);
	pending_destroy(&pending);
}

static void test_bounds(void)
{
	pending_t *pending = NULL;
	struct pending_question *questions[4];

	(void)!pending_new(4, secrets, &pending);
	for (uint32_t i = 0; i < 4; i++) {
		struct gate_key key = key_of(i);
		questions[i] = pending_add(pending, &key, i);
	}
	struct gate_key more = key_of(9);
	ok(pending_add(pending, &more, 9) == NULL, "the fifth question finds no room");
	bool held = true;
	for (uint32_t i = 0; i < 8; i++) {
		held = held &&
		       pending_hold(pending, questions[i % 4], &(struct pending_packet){ .id = i });
	}
	ok(held && !pending_hold(pending, questions[0], &(struct pending_packet){ .id = 9 }),
	   "the ninth packet finds no room");
	ok(pending_oldest(pending) == questions[0], "the oldest is known");
	pending_release(pending, questions[1], answer, NULL);
	pending_release(pending, questions[0], answer, NULL);
	ok(pending_oldest(pending) == questions[2], "and the next oldest");
	ok(pending_add(pending, &more, 9) != NULL, "there is room again");
	while (pending_oldest(pending) != NULL) {
		pending_release(pending, pending_oldest(pending), answer, NULL);
	}
	pending_destroy(&pending);
	ok(pending_new(0, secrets, &pending) == PR_EINVAL, "a table of 0 is refused");
}

/* Random adding and releasing against a plain array. */
static void test_churn(void)
{
	enum { KEYS = 200, CAPACITY = 64 };
	pending_t *pending = NULL;
	bool open[KEYS] = { false };
	bool same = true;
	uint64_t state = 88172645463325252ULL;
	uint32_t count = 0;

	(void)!pending_new(CAPACITY, secrets, &pending);
	for (int i = 0; i < 50000; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		uint32_t number = (uint32_t)(state % KEYS);
		struct gate_key key = key_of(number);
		struct pending_question *question = pending_find(pending, &key);
		same = same && (question != NULL) == open[number];
		if (question != NULL) {
			pending_release(pending, question, answer, NULL);
			open[number] = false;
			count--;
		} else {
			bool added = pending_add(pending, &key, (uint64_t)i) != NULL;
			same = same && added == (count < CAPACITY);
			open[number] = added;
			count += added;
		}
		same = same && pending_count(pending) == count;
	}
	ok(same, "50,000 steps equal a plain array");
	while (pending_oldest(pending) != NULL) {
		pending_release(pending, pending_oldest(pending), answer, NULL);
	}
	pending_destroy(&pending);
}

static void test_decided(void)
{
	decided_t *decided = NULL;
	struct gate_key key = key_of(1);
	struct gate_key later = key_of(1 + (7 << 16)); /* same ports, another sequence number */
	struct decided_outcome deny = { .action = CODEC_ACTION_DENY, .rule = 7, .revision = 3 };
	struct decided_outcome allow = { .action = CODEC_ACTION_ALLOW, .verdict = 1, .rule = 8 };
	struct decided_outcome found;

	ok(decided_new(64, secrets, &decided) == PR_OK, "a table of decided flows");
	ok(!decided_reuse(decided, &key, 1, &found), "empty");
	decided_put(decided, &key, &deny, 1000, 2000);
	ok(decided_reuse(decided, &key, 1999, &found) && found.rule == 7 &&
	           found.action == CODEC_ACTION_DENY,
	   "a repeat gets the same answer");
	ok(!decided_reuse(decided, &key, 2000, &found), "not when its time is over");
	ok(decided_recorded(decided, &key, &deny, 100 * PR_NS_PER_S) &&
	           !decided_recorded(decided, &key, &allow, 100 * PR_NS_PER_S),
	   "the same outcome is recorded once, another one again");
	ok(!decided_recorded(decided, &key, &deny, 200 * PR_NS_PER_S), "forgotten in the end");
	ok(!decided_reuse(decided, &later, 1500, &found),
	   "a new connection from the same port is no repeat");
	decided_put(decided, &key, &allow, 1000, 2000);
	decided_expire(decided);
	ok(!decided_reuse(decided, &key, 1500, &found) &&
	           decided_recorded(decided, &key, &allow, 1500),
	   "after a change nothing is reused, what was recorded stays so");
	for (uint32_t i = 100; i < 10000; i++) {
		struct gate_key other = key_of(i);
		decided_put(decided, &other, &deny, 5000 + i, 1000000);
	}
	struct gate_key last = key_of(9999);
	ok(decided_reuse(decided, &last, 20000, &found), "a full table keeps the newest");
	decided_destroy(&decided);
}

int main(void)
{
	test_hold();
	test_bounds();
	test_churn();
	test_decided();
	return tap_done();
}
