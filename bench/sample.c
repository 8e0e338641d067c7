/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "bench/sample.h"
#include "codec/codec.h"
#include "store/store.h"

struct sample_rule sample_rule_of(unsigned i, unsigned ports)
{
	return (struct sample_rule){ .from = i % SAMPLE_GROUPS,
		                     .to = (i * 7 + i / SAMPLE_GROUPS) % SAMPLE_GROUPS,
		                     .port = 1 + i % ports };
}

void sample_policy_write(FILE *out, unsigned rules, unsigned ports, bool denies)
{
	(void)fputs("mode enforce default\n", out);
	for (unsigned i = 0; i < SAMPLE_GROUPS; i++) {
		(void)fprintf(out, "group g%u select name e%u*\n", i, i);
	}
	for (unsigned i = 0; i < rules; i++) {
		struct sample_rule rule = sample_rule_of(i, ports);
		(void)fprintf(out, "rule %u %s from g%u to g%u tcp/%u\n", i + 1,
		              denies && i % 3 == 0 ? "deny" : "allow", rule.from, rule.to,
		              rule.port);
	}
}

char *sample_policy_text(unsigned rules, unsigned variant)
{
	char *text = NULL;
	size_t size_bytes;
	FILE *out = open_memstream(&text, &size_bytes);

	if (out == NULL) {
		return NULL;
	}
	sample_policy_write(out, rules - 1, rules, true);
	(void)fprintf(out, "rule %u allow from any to 10.77.0.0/16 tcp/443 comment \"bench %u\"\n",
	              rules, variant);
	return fclose(out) == 0 ? text : NULL;
}

static int endpoint_encode(const struct pr_uuid *agent, unsigned index,
                           struct store_endpoint *ret_endpoint)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = codec_doc_new(CODEC_ENDPOINT);
	char container[65], name[32];
	uint8_t *data = NULL;

	if (document == NULL) {
		return PR_ENOMEM;
	}
	(void)snprintf(container, sizeof(container), "%064x", index);
	(void)snprintf(name, sizeof(name), "e%u", index);
	ret_endpoint->id = index == 0 ? *agent : pr_uuid_of_container(container);
	codec_doc_set_uuid(document, CODEC_ENDPOINT_UUID, &ret_endpoint->id);
	codec_doc_set_uuid(document, CODEC_ENDPOINT_HOST, agent);
	codec_doc_set_text(document, CODEC_ENDPOINT_KIND, index == 0 ? "host" : "container");
	codec_doc_set_text(document, CODEC_ENDPOINT_CONTAINER_ID, index == 0 ? "" : container);
	codec_doc_set_text(document, CODEC_ENDPOINT_NAME, name);
	codec_doc_set_text(document, CODEC_ENDPOINT_IMAGE, "bench:latest");
	codec_doc_addf(document, CODEC_ENDPOINT_ADDRESSES,
	               "global 10.200.%u.%u/16 02:42:ac:12:00:03 eth0", index / 250, index % 250);
	int ret = codec_doc_encode(document, &data, &ret_endpoint->size_bytes);
	ret_endpoint->data = data;
	return ret;
}

int sample_endpoints_store(struct deploy *deploy, const struct pr_uuid *agent, unsigned count)
{
	char path[2 * STAGE_PATH_BYTES];
	const struct store_options options = { .path = path };
	struct store_endpoint *endpoints = calloc(count, sizeof(*endpoints));
	struct store_change change;
	store_t *store = NULL;

	deploy_store_path(deploy, path);
	int ret = endpoints == NULL ? PR_ENOMEM : store_open(&options, &store);
	for (unsigned i = 0; i < count && ret == PR_OK; i++) {
		ret = endpoint_encode(agent, i, &endpoints[i]);
	}
	if (ret == PR_OK) {
		ret = store_endpoint_replace(store, agent, endpoints, count, 1, &change);
	}
	for (unsigned i = 0; endpoints != NULL && i < count; i++) {
		free((void *)(uintptr_t)endpoints[i].data);
	}
	free(endpoints);
	store_destroy(&store);
	return ret;
}
