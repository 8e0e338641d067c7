/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Memory of handshakes: ours in front of libsodium's, wiped, guarded, used again, bounded. */

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>

#include "tests/bus/harbour.h"

#define MANY 200

static struct bus_secret_counters counters_now(void)
{
	struct bus_secret_counters counters;

	bus_secret_counters(&counters);
	return counters;
}

static bool all_zero(const uint8_t *data, size_t size_bytes)
{
	uint8_t any = 0;

	for (size_t i = 0; i < size_bytes; i++) {
		any |= data[i];
	}
	return any == 0;
}

static void test_again(void)
{
	uint8_t *first = sodium_malloc(144);
	struct bus_secret_counters before = counters_now();

	memset(first, 0x5a, 144);
	sodium_free(first);
	ok(counters_now().spares == before.spares + 1, "what is freed is kept");
	uint8_t *second = sodium_malloc(144);
	ok(second == first && counters_now().reused == before.reused + 1 &&
	           counters_now().spares == before.spares,
	   "and given out again");
	ok(all_zero(second, 144), "wiped");
	uint8_t *other = sodium_malloc(145);
	ok(other != NULL && other != first, "another size is another block");
	sodium_free(other);
	sodium_free(second);
	sodium_free(NULL);
	ok(sodium_malloc(0) == NULL && sodium_malloc(SIZE_MAX) == NULL, "no size, too much");
}

static void test_bounds(void)
{
	static void *blocks[MANY];
	unsigned good = 0;

	for (unsigned i = 0; i < MANY; i++) {
		blocks[i] = sodium_malloc(300);
		good += blocks[i] != NULL;
	}
	size_t before = counters_now().spares;
	for (unsigned i = 0; i < MANY; i++) {
		sodium_free(blocks[i]);
	}
	ok(good == MANY && counters_now().spares - before == 32,
	   "of 200 blocks of a size 32 are kept");
	for (unsigned i = 0; i < MANY; i++) {
		blocks[i] = sodium_malloc(1000 + i);
	}
	for (unsigned i = 0; i < MANY; i++) {
		sodium_free(blocks[i]);
	}
	ok(counters_now().spares - before <= 32 + 16, "and of 200 sizes no more than 16");
}

/* In a child that must die of it. */
static bool dies(void (*deed)(uint8_t *data), int wanted)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		(void)signal(SIGABRT, SIG_DFL);
		sodium_free(sodium_malloc(64)); /* what comes now is a used one */
		deed(sodium_malloc(64));
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       (wanted == 0 || WTERMSIG(status) == wanted);
}

static void overrun(uint8_t *data)
{
	((volatile uint8_t *)data)[64] = 1;
}

static void underrun(uint8_t *data)
{
	for (int i = 1; i <= 16; i++) {
		((volatile uint8_t *)data)[-i] = 1;
	}
	sodium_free(data);
}

static void twice(uint8_t *data)
{
	sodium_free(data);
	sodium_free(data);
}

/* libzmq's handshakes take theirs from here. */
static void test_handshakes(void)
{
	struct harbour h;
	struct bus_key key;

	harbour_open(&h, BUS_ROLE_AGENT);
	ok(bus_key_new(&key) == PR_OK, "a key");
	harbour_enrol(&h, &key, BUS_ROLE_AGENT, 0);
	struct bus_secret_counters before = counters_now();
	for (unsigned i = 0; i < 10; i++) {
		bus_client_t *client = harbour_client(&h, &key, h.server_key.public_key);
		ok(harbour_ask(&h, client, "hello", 3000) == PR_OK, "handshake %u", i);
		bus_client_destroy(&client);
	}
	struct bus_secret_counters after = counters_now();
	ok(after.reused - before.reused > 20 && after.made - before.made < 20,
	   "10 handshakes made %llu blocks and used %llu again",
	   (unsigned long long)(after.made - before.made),
	   (unsigned long long)(after.reused - before.reused));
	harbour_close(&h);
}

int main(void)
{
	ok(sodium_init() >= 0, "libsodium");
	test_again();
	ok(dies(overrun, SIGSEGV),
	   "a byte behind a block that was used again is a page nobody may touch");
	ok(dies(underrun, SIGABRT), "bytes written in front of it end the program");
	ok(dies(twice, SIGABRT), "so does freeing it twice");
	test_handshakes();
	test_bounds();
	return tap_done();
}
