/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT "admin"
#define NUMBER_NAME   "controller.services"
#define LINES_NAME    "controller.services.lines"
#define OFFER_PREFIX  "controller.offer." /* and the controller's UUID */
#define OFFERS_NAME   "controller.offers" /* rises with every change of one */
#define LINE_BYTES    256
#define ADDRESS_BYTES 80

int admin_address_parse(const char *endpoint, struct pr_addr *ret_addr, uint16_t *ret_port)
{
	char address[ADDRESS_BYTES];
	const char *at = endpoint;

	if (strncmp(at, "tcp://", 6) != 0) {
		return PR_EINVAL;
	}
	at += 6;
	const char *colon = strrchr(at, ':');
	if (colon == NULL || (size_t)(colon - at) >= sizeof(address)) {
		return PR_EINVAL;
	}
	bool bracket = *at == '[' && colon > at + 1 && colon[-1] == ']';
	size_t length = (size_t)(colon - at) - (bracket ? 2 : 0);
	memcpy(address, at + (bracket ? 1 : 0), length);
	address[length] = '\0';
	unsigned port = 0;
	size_t digits = 0;
	for (const char *digit = colon + 1; isdigit((unsigned char)*digit) && digits < 6; digit++) {
		port = port * 10 + (unsigned)(*digit - '0');
		digits++;
	}
	if (digits == 0 || colon[1 + digits] != '\0' || port == 0 || port > UINT16_MAX) {
		return PR_EINVAL;
	}
	struct pr_addr addr;
	int ret = pr_addr_parse(address, &addr);
	if (ret != PR_OK) {
		return PR_EINVAL;
	}
	*ret_addr = addr;
	*ret_port = (uint16_t)port;
	return PR_OK;
}

/* tcp://ADDRESS:PORT, with brackets where the address has colons. */
static void service_line(const char *address, unsigned port, const uint8_t *key,
                         const struct pr_uuid *id, char line[static LINE_BYTES])
{
	char key_text[BUS_KEY_TEXT_BYTES], id_text[PR_UUID_TEXT_BYTES];
	bool bracket = strchr(address, ':') != NULL;

	(void)snprintf(line, LINE_BYTES, "tcp://%s%s%s:%u %s %s", bracket ? "[" : "", address,
	               bracket ? "]" : "", port, bus_key_format(key, key_text),
	               pr_uuid_format(id, id_text));
}

static bool newest_recorder(void *arg, const struct store_peer *peer)
{
	struct store_peer *best = arg;

	if (peer->status == STORE_PEER_APPROVED &&
	    strcmp(peer->role, bus_role_name(BUS_ROLE_RECORDER)) == 0 &&
	    (pr_uuid_is_null(&best->id) || peer->created_wall_ns > best->created_wall_ns)) {
		*best = *peer;
	}
	return true;
}

/* ---- what each controller on this store offers ---- */

static void own_name(const struct admin *admin, char name[static LINE_BYTES])
{
	char id[PR_UUID_TEXT_BYTES];

	(void)snprintf(name, LINE_BYTES, OFFER_PREFIX "%s",
	               pr_uuid_format(&admin->setup.keys->id, id));
}

/* This controller's own part of the directory. */
static codec_doc_t *own_offer(const struct admin *admin)
{
	const struct controller_conf *conf = admin->setup.conf;
	const struct controller_keys *keys = admin->setup.keys;
	codec_doc_t *offer = codec_doc_new(CODEC_SERVICES);
	char line[LINE_BYTES];

	if (offer == NULL) {
		return NULL;
	}
	service_line(conf->advertise, (unsigned)conf->port, keys->curve.public_key, &keys->id,
	             line);
	codec_doc_add_text(offer, CODEC_SERVICES_CONTROLLERS, line);
	for (unsigned i = 0; i < conf->workers; i++) {
		struct pr_uuid id = controller_worker_id(&keys->id, i);
		service_line(conf->advertise, (unsigned)conf->worker_port + i,
		             keys->curve.public_key, &id, line);
		codec_doc_add_text(offer, CODEC_SERVICES_WORKERS, line);
	}
	codec_doc_add_text(offer, CODEC_SERVICES_RECORDERS, conf->recorder);
	return offer;
}

/* Put it where the other controllers find it; nothing is written when it stands there already. */
int admin_services_offer(struct admin *admin)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *offer = own_offer(admin);
	_cleanup_(pr_free) uint8_t *data = NULL, *old = NULL;
	size_t size_bytes = 0, old_bytes = 0;
	char name[LINE_BYTES];
	uint64_t number = 0;

	if (offer == NULL) {
		return PR_ENOMEM;
	}
	own_name(admin, name);
	int ret = codec_doc_encode(offer, &data, &size_bytes);
	if (ret == PR_OK && store_value_get(admin->setup.store, name, &old, &old_bytes) == PR_OK &&
	    old_bytes == size_bytes && memcmp(old, data, size_bytes) == 0) {
		return PR_OK;
	}
	if (ret == PR_OK) {
		ret = store_value_put(admin->setup.store, name, data, size_bytes);
	}
	return ret == PR_OK ? store_number_next(admin->setup.store, OFFERS_NAME, &number) : ret;
}

void admin_services_withdraw(struct admin *admin)
{
	char name[LINE_BYTES];
	uint64_t number = 0;

	own_name(admin, name);
	if (store_value_delete(admin->setup.store, name) != PR_OK ||
	    store_number_next(admin->setup.store, OFFERS_NAME, &number) != PR_OK) {
		log_warn("the directory goes on naming this controller");
	}
}

struct gathering {
	codec_doc_t *services;
	char recorder[LINE_BYTES]; /* address that the first offer names */
};

static void copy_lines(codec_doc_t *to, const codec_doc_t *from, unsigned field)
{
	for (size_t i = 0; i < codec_doc_count(from, field); i++) {
		codec_doc_add_text(to, field, codec_doc_item(from, field, i));
	}
}

static bool gather_offer(void *arg, const char *name, const uint8_t *data, size_t size_bytes)
{
	struct gathering *gathering = arg;
	_cleanup_(codec_doc_destroy) codec_doc_t *offer = NULL;

	if (codec_doc_decode(data, size_bytes, &offer) != PR_OK ||
	    codec_doc_type(offer) != CODEC_SERVICES) {
		log_error("what a controller offers cannot be read: %s, left out", name);
		return true;
	}
	copy_lines(gathering->services, offer, CODEC_SERVICES_CONTROLLERS);
	copy_lines(gathering->services, offer, CODEC_SERVICES_WORKERS);
	if (gathering->recorder[0] == '\0' &&
	    codec_doc_count(offer, CODEC_SERVICES_RECORDERS) > 0) {
		(void)snprintf(gathering->recorder, sizeof(gathering->recorder), "%s",
		               codec_doc_item(offer, CODEC_SERVICES_RECORDERS, 0));
	}
	return true;
}

/* In order of the controllers' UUIDs: every one of them comes to the same lines. */
static int services_lines(struct admin *admin, codec_doc_t *services)
{
	struct gathering gathering = { .services = services };
	struct store_peer recorder = { 0 };
	char line[3 * LINE_BYTES];

	int ret = store_value_list(admin->setup.store, OFFER_PREFIX, gather_offer, &gathering);
	if (ret == PR_OK) {
		ret = store_peer_list(admin->setup.store, newest_recorder, &recorder);
	}
	if (ret == PR_OK && !pr_uuid_is_null(&recorder.id)) {
		char key_text[BUS_KEY_TEXT_BYTES], id_text[PR_UUID_TEXT_BYTES];
		(void)snprintf(line, sizeof(line), "%s %s %s", gathering.recorder,
		               bus_key_format(recorder.public_key, key_text),
		               pr_uuid_format(&recorder.id, id_text));
		codec_doc_add_text(services, CODEC_SERVICES_RECORDERS, line);
	}
	return ret;
}

/* The number in force for these lines: the last one, or the next if they differ from the last. */
static int services_number(struct admin *admin, const uint8_t *lines, size_t lines_bytes,
                           uint64_t *ret_number)
{
	store_t *store = admin->setup.store;
	_cleanup_(pr_free) uint8_t *old = NULL;
	size_t old_bytes = 0;

	int ret = store_value_get(store, LINES_NAME, &old, &old_bytes);
	if (ret == PR_OK && old_bytes == lines_bytes && memcmp(old, lines, lines_bytes) == 0) {
		ret = store_number_get(store, NUMBER_NAME, ret_number);
		if (ret != PR_OK || *ret_number != 0) {
			return ret;
		}
	}
	if (ret != PR_OK && ret != PR_ENOENT) {
		return ret;
	}
	/* The number first: if we end between the two, it only rises once more. */
	ret = store_number_next(store, NUMBER_NAME, ret_number);
	return ret == PR_OK ? store_value_put(store, LINES_NAME, lines, lines_bytes) : ret;
}

static int services_sign(struct admin *admin, const codec_doc_t *services, uint64_t number)
{
	uint8_t signature[BUS_SIGNATURE_BYTES];
	_cleanup_(pr_free) uint8_t *body = NULL;
	size_t body_bytes = 0;

	int ret = codec_doc_encode(services, &body, &body_bytes);
	if (ret == PR_OK) {
		ret = bus_sign(&admin->setup.keys->authority, body, body_bytes, signature);
	}
	if (ret != PR_OK) {
		return ret;
	}
	free(admin->services_body);
	admin->services_body = take_ptr(body);
	admin->services_bytes = body_bytes;
	memcpy(admin->services_signature, signature, sizeof(signature));
	admin->services_number = number;
	return PR_OK;
}

int admin_services_refresh(struct admin *admin)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *services = codec_doc_new(CODEC_SERVICES);
	_cleanup_(pr_free) uint8_t *lines = NULL;
	size_t lines_bytes = 0;
	uint64_t number = 0;

	if (services == NULL) {
		return PR_ENOMEM;
	}
	int ret = services_lines(admin, services);
	if (ret == PR_OK) {
		ret = codec_doc_encode(services, &lines, &lines_bytes);
	}
	if (ret == PR_OK) {
		ret = services_number(admin, lines, lines_bytes, &number);
	}
	if (ret != PR_OK || number == admin->services_number) {
		return ret;
	}
	codec_doc_set_u64(services, CODEC_SERVICES_NUMBER, number);
	ret = services_sign(admin, services, number);
	if (ret == PR_OK) {
		admin->generation++; /* lifelines name the services */
		admin_services_push(admin);
	}
	return ret;
}

/* Another controller came, went, or was quicker. */
int admin_services_look(struct admin *admin)
{
	uint64_t offers = 0, number = 0;

	int ret = store_number_get(admin->setup.store, OFFERS_NAME, &offers);
	if (ret == PR_OK) {
		ret = store_number_get(admin->setup.store, NUMBER_NAME, &number);
	}
	if (ret != PR_OK || (offers == admin->offers_number && number == admin->services_number)) {
		return ret;
	}
	admin->offers_number = offers;
	return admin_services_refresh(admin);
}

static codec_doc_t *directory_document(const struct admin *admin, uint64_t id)
{
	codec_doc_t *document = codec_doc_new(CODEC_DIRECTORY);

	if (document != NULL) {
		codec_doc_set_u64(document, CODEC_DIRECTORY_ID, id);
		codec_doc_set_blob(document, CODEC_DIRECTORY_BODY, admin->services_body,
		                   admin->services_bytes);
		codec_doc_set_blob(document, CODEC_DIRECTORY_SIGNATURE, admin->services_signature,
		                   sizeof(admin->services_signature));
	}
	return document;
}

static void push_one(struct admin *admin, struct session *session)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
	unsigned wants = BUS_ROLE_AGENT | BUS_ROLE_RECORDER | BUS_ROLE_SUBSCRIBER;

	if ((session->role & wants) == 0) {
		return;
	}
	document = directory_document(admin, 0);
	if (document != NULL) {
		session_send_doc(admin, session, document);
	}
}

void admin_services_push(struct admin *admin)
{
	sessions_each(admin, push_one);
}

int admin_directory_get(struct call *call)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document =
		directory_document(call->admin, call->id);

	return call_send(call, document);
}
