/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/controller/scenario.h"
#include "tests/tap.h"

struct play play;

void play_fatal(const char *what)
{
	(void)printf("Bail out! %s:%zu: %s\n", play.file, play.line, what);
	exit(1);
}

struct pr_uuid play_id_of(const char *name)
{
	return pr_uuid_of_bytes("test", name, strlen(name));
}

/* ---- the worker's world ---- */

static int take_verdicts(void *arg, const struct bus_route *route, const void *data,
                         size_t size_bytes)
{
	static struct codec_verdict verdicts[CODEC_BATCH_MAX];
	size_t count = 0;

	(void)arg;
	(void)route;
	if (codec_records_decode(CODEC_VERDICT, data, size_bytes, verdicts, &count) != PR_OK) {
		play_fatal("the worker sent something that is no verdict");
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < play.asked_count; j++) {
			if (play.asked[j].id == verdicts[i].id) {
				play.asked[j].answered = true;
				play.asked[j].verdict = verdicts[i];
			}
		}
	}
	return PR_OK;
}

static struct worker_sight look(void *arg, uint64_t directory_wanted)
{
	(void)arg;
	(void)directory_wanted;
	return (struct worker_sight){ .directory = play.directory,
		                      .image = play.image,
		                      .quarantine = &play.quarantine };
}

void play_worker_restart(void)
{
	struct worker_ops ops = { .send = take_verdicts, .look = look };

	worker_destroy(&play.worker);
	play.worker = worker_new(&ops, 4711);
	if (play.worker == NULL) {
		play_fatal("out of memory");
	}
}

void play_reset(void)
{
	play_worker_restart();
	policy_image_destroy(&play.image);
	directory_destroy(&play.directory);
	play.directory = directory_new();
	play.place_count = play.asked_count = 0;
	play.quarantine = (struct quarantine_set){ .items = play.isolated };
	play.now_ns = PR_NS_PER_S;
	play.revision = 0;
	if (play.directory == NULL) {
		play_fatal("out of memory");
	}
}

/* ---- endpoints ---- */

struct place *play_place_of(const char *name)
{
	for (size_t i = 0; i < play.place_count; i++) {
		if (strcmp(play.places[i].name, name) == 0) {
			return &play.places[i];
		}
	}
	play_fatal("no such endpoint");
	return NULL;
}

static void place_put(const struct place *place)
{
	bool host = strcmp(place->name, place->host) == 0;
	struct directory_endpoint endpoint = {
		.policy = { .id = play_id_of(place->name),
		            .kind = host ? POLICY_HOST : POLICY_CONTAINER,
		            .name = place->name,
		            .host_id = play_id_of(place->host),
		            .host_name = host ? NULL : place->host },
		.agent = play_id_of(place->host),
		.namespace_inode = place->namespace_inode,
		.addresses = place->addresses,
		.address_count = place->address_count,
	};

	if (directory_put(play.directory, &endpoint) != PR_OK) {
		play_fatal("directory");
	}
}

void play_address_add(struct place *place, const char *scope, const char *address)
{
	char text[160], id[PR_UUID_TEXT_BYTES];
	struct pr_uuid network = play_id_of(scope);

	if (strcmp(scope, "global") != 0) {
		scope = pr_uuid_format(&network, id);
	}
	(void)snprintf(text, sizeof(text), "%s %s", scope, address);
	if (place->address_count == ADDRESSES_MAX ||
	    directory_address_parse(text, &place->addresses[place->address_count++]) != PR_OK) {
		play_fatal("address");
	}
	place_put(place);
}

struct place *play_place_new(const char *name, const char *host, uint64_t namespace_inode)
{
	struct place *place = &play.places[play.place_count++];

	if (play.place_count == PR_ARRAY_LEN(play.places)) {
		play_fatal("too many endpoints");
	}
	*place = (struct place){ .namespace_inode = namespace_inode };
	(void)snprintf(place->name, sizeof(place->name), "%s", name);
	(void)snprintf(place->host, sizeof(place->host), "%s", host);
	place_put(place);
	return place;
}

/* ---- policy ---- */

void play_policy_set(const char *text)
{
	static struct policy_errors errors;
	policy_model_t *model = NULL;
	struct policy_endpoint *endpoints = NULL;
	size_t count = 0;

	if (policy_text_parse(text, strlen(text), &errors, &model) != PR_OK) {
		play_fatal(errors.count > 0 ? errors.items[0].message : "policy");
	}
	policy_image_destroy(&play.image);
	if (directory_policy_endpoints(play.directory, &endpoints, &count) != PR_OK ||
	    policy_image_compile(model, endpoints, count, ++play.revision, &play.image) != PR_OK) {
		play_fatal("compile");
	}
	policy_model_destroy(&model);
	free(endpoints);
}
