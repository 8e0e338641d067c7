/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zmq.h>

#include "base/err.h"
#include "bus/internal.h"

#define STOP_ENDPOINT "inproc://bus-zap-stop"

/* A request with more frames than this is read to its end and malformed. */
#define FRAMES_MAX 16

struct request {
	zmq_msg_t messages[FRAMES_MAX];
	struct zap_frame frames[FRAMES_MAX];
	size_t count;
	bool too_long;
};

static int receive_retry(zmq_msg_t *message, void *socket)
{
	int got;

	do {
		got = zmq_msg_recv(message, socket, 0);
	} while (got < 0 && zmq_errno() == EINTR);
	return got;
}

static int request_receive(void *socket, struct request *request)
{
	zmq_msg_t spare;
	bool more = true;

	*request = (struct request){ 0 };
	while (more) {
		request->too_long = request->too_long || request->count == FRAMES_MAX;
		zmq_msg_t *message =
			request->too_long ? &spare : &request->messages[request->count];
		(void)zmq_msg_init(message);
		if (receive_retry(message, socket) < 0) {
			(void)zmq_msg_close(message);
			return bus_zmq_error();
		}
		more = zmq_msg_more(message);
		if (request->too_long) {
			(void)zmq_msg_close(&spare);
			continue;
		}
		struct zap_frame *frame = &request->frames[request->count++];
		frame->data = zmq_msg_data(message);
		frame->size_bytes = zmq_msg_size(message);
	}
	return PR_OK;
}

static void request_done(struct request *request)
{
	for (size_t i = 0; i < request->count; i++) {
		(void)zmq_msg_close(&request->messages[i]);
	}
}

/* RFC 27, "The ZAP reply". A reply that cannot be sent leaves the peer out, so nobody waits. */
static void answer_send(void *socket, const struct zap_answer *answer)
{
	const struct zap_frame frames[] = {
		{ (const uint8_t *)"1.0", 3 },
		{ answer->request_id, answer->request_id_bytes },
		{ (const uint8_t *)answer->status, strlen(answer->status) },
		{ (const uint8_t *)answer->text, strlen(answer->text) },
		{ (const uint8_t *)answer->user_id, strlen(answer->user_id) },
		{ (const uint8_t *)"", 0 },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(frames); i++) {
		int flags = i + 1 < PR_ARRAY_LEN(frames) ? ZMQ_SNDMORE : 0;
		if (zmq_send(socket, frames[i].data, frames[i].size_bytes, flags) < 0) {
			return;
		}
	}
}

static void answer_count(bus_context_t *context, enum zap_result result)
{
	_Atomic uint64_t *counters[] = {
		[ZAP_ADMITTED] = &context->admitted,
		[ZAP_REFUSED_KEY] = &context->refused_key,
		[ZAP_REFUSED_ROLE] = &context->refused_role,
		[ZAP_REFUSED_MECHANISM] = &context->refused_mechanism,
		[ZAP_MALFORMED] = &context->malformed,
	};

	atomic_fetch_add_explicit(counters[result], 1, memory_order_relaxed);
}

static void request_answer(bus_context_t *context)
{
	struct request request;
	struct zap_answer answer;

	if (request_receive(context->zap_socket, &request) == PR_OK) {
		/* Too long: no frames at all is malformed as well. */
		context->decide(request.frames, request.too_long ? 0 : request.count,
		                context->keyring, &answer);
		answer_count(context, answer.result);
		answer_send(context->zap_socket, &answer);
	}
	request_done(&request);
}

static void *zap_run(void *arg)
{
	bus_context_t *context = arg;
	zmq_pollitem_t items[] = {
		{ .socket = context->zap_inside, .events = ZMQ_POLLIN },
		{ .socket = context->zap_socket, .events = ZMQ_POLLIN },
	};

	(void)pthread_setname_np(pthread_self(), "bus-zap");
	for (;;) {
		if (zmq_poll(items, PR_ARRAY_LEN(items), -1) < 0) {
			if (zmq_errno() == EINTR) {
				continue;
			}
			break;
		}
		if (items[0].revents != 0) {
			break;
		}
		if (items[1].revents != 0) {
			request_answer(context);
		}
	}
	(void)zmq_close(context->zap_socket);
	(void)zmq_close(context->zap_inside);
	return NULL;
}

static void *pair_new(void *zmq, bool bind)
{
	int ret = PR_OK;
	void *socket = zmq_socket(zmq, ZMQ_PAIR);
	if (socket == NULL) {
		return NULL;
	}
	bus_option_set(socket, ZMQ_LINGER, 0, &ret);
	if (ret != PR_OK ||
	    (bind ? zmq_bind(socket, STOP_ENDPOINT) : zmq_connect(socket, STOP_ENDPOINT)) != 0) {
		(void)zmq_close(socket);
		return NULL;
	}
	return socket;
}

/* The handler is bound here, before anybody can bind a server to this context. */
static int zap_start(bus_context_t *context)
{
	sigset_t all, before;
	int ret = PR_OK;

	context->zap_inside = pair_new(context->zmq, true);
	context->zap_stop = pair_new(context->zmq, false);
	context->zap_socket = zmq_socket(context->zmq, ZMQ_REP);
	if (context->zap_inside == NULL || context->zap_stop == NULL ||
	    context->zap_socket == NULL) {
		return bus_zmq_error();
	}
	bus_option_set(context->zap_socket, ZMQ_LINGER, 0, &ret);
	if (ret == PR_OK && zmq_bind(context->zap_socket, ZAP_ENDPOINT) != 0) {
		ret = bus_zmq_error();
	}
	if (ret != PR_OK) {
		return ret;
	}
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(&context->zap_thread, NULL, zap_run, context);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code != 0) {
		return -code;
	}
	context->zap_runs = true;
	return PR_OK;
}

/* A thousand strangers at the door need a thousand descriptors. */
static void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int bus_context_new_with(bus_keyring_t *keyring, zap_decide_fn *decide, bus_context_t **ret_context)
{
	bus_secret_use();
	if (sodium_init() < 0) {
		return PR_EIO;
	}
	_cleanup_(bus_context_destroy) bus_context_t *context = calloc(1, sizeof(*context));
	if (context == NULL) {
		return PR_ENOMEM;
	}
	context->keyring = keyring;
	context->decide = decide;
	context->zmq = zmq_ctx_new();
	if (context->zmq == NULL) {
		return bus_zmq_error();
	}
	descriptors_raise();
	if (keyring != NULL) {
		int ret = zap_start(context);
		if (ret != PR_OK) {
			return ret;
		}
	}
	*ret_context = take_ptr(context);
	return PR_OK;
}

int bus_context_new(bus_keyring_t *keyring, bus_context_t **ret_context)
{
	return bus_context_new_with(keyring, zap_reply, ret_context);
}

static void socket_close(void **socket_p)
{
	if (*socket_p != NULL) {
		(void)zmq_close(*socket_p);
		*socket_p = NULL;
	}
}

void bus_context_zap_stop(bus_context_t *context)
{
	if (context->zap_runs) {
		(void)zmq_send(context->zap_stop, "", 0, 0);
		(void)pthread_join(context->zap_thread, NULL);
		context->zap_runs = false;
		/* The thread closed them. */
		context->zap_socket = NULL;
		context->zap_inside = NULL;
	}
	socket_close(&context->zap_socket);
	socket_close(&context->zap_inside);
	socket_close(&context->zap_stop);
}

void bus_context_destroy(bus_context_t **context_p)
{
	bus_context_t *context = *context_p;
	if (context == NULL) {
		return;
	}
	/* zmq would wait for them for ever. */
	assert(context->sockets == 0);
	if (context->zmq != NULL) {
		bus_context_zap_stop(context);
		while (zmq_ctx_term(context->zmq) != 0 && zmq_errno() == EINTR) {
		}
	}
	free(context);
	*context_p = NULL;
}

void bus_context_counters(const bus_context_t *context, struct bus_context_counters *ret_counters)
{
	*ret_counters = (struct bus_context_counters){
		.zap_admitted = atomic_load(&context->admitted),
		.zap_refused_key = atomic_load(&context->refused_key),
		.zap_refused_role = atomic_load(&context->refused_role),
		.zap_refused_mechanism = atomic_load(&context->refused_mechanism),
		.zap_malformed = atomic_load(&context->malformed),
	};
}
