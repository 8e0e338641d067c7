/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/view.h"

#define BIT(field) (1U << (field))

static struct policy_class_view class_view(const policy_image_t *image, uint32_t class_offset)
{
	if (class_offset == 0) {
		return (struct policy_class_view){ 0 };
	}
	const uint64_t *summary = POLICY_AT(image, class_offset, uint64_t);
	const uint32_t *ranks = (const uint32_t *)(summary + image->block_count);
	return (struct policy_class_view){
		.summary = summary,
		.ranks = ranks,
		.words = (const uint64_t *)(ranks + (image->block_count + 1) / 2 * 2),
	};
}

/* Only rules that do not name the field, until a class is added. */
static struct policy_field_view *field_any(struct policy_views *views, enum policy_field field)
{
	const policy_image_t *image = views->image;
	struct policy_field_view *view = &views->fields[field];
	view->any = POLICY_AT(image, image->any[field], uint64_t);
	view->any_summary = view->any + image->word_count;
	return view;
}

/* Is a field's value there to be compared? If not, its view is made without one. */
static bool value_known(struct policy_views *views, enum policy_field field, bool has_value)
{
	uint8_t known = views->request->known[field];
	if (!(views->image->used & BIT(field)) || POLICY_MUTATED(field)) {
		return false; /* every rule */
	}
	if (known == POLICY_PENDING) {
		views->pending |= BIT(field);
		return false; /* every rule, some of them only perhaps */
	}
	(void)field_any(views, field);
	return known == POLICY_KNOWN && has_value;
}

static void set_class(struct policy_views *views, enum policy_field field, unsigned which,
                      uint32_t class_offset)
{
	views->fields[field].classes[which] = class_view(views->image, class_offset);
}

static void make_service(struct policy_views *views)
{
	const policy_image_t *image = views->image;
	uint8_t proto = views->request->proto;
	if (POLICY_MUTATED(POLICY_FIELD_PROTO)) {
		proto = POLICY_PROTO_TCP;
	}
	if (!(image->used & BIT(POLICY_FIELD_PROTO))) {
		return;
	}
	(void)field_any(views, POLICY_FIELD_PROTO);
	set_class(views, POLICY_FIELD_PROTO, 0, image->proto_classes[proto]);
	views->whole = class_view(image, image->proto_whole_classes[proto]);
	if (!(image->used & BIT(POLICY_FIELD_PORT)) || POLICY_MUTATED(POLICY_FIELD_PORT)) {
		return;
	}
	enum policy_port_table table = policy_port_table_of(proto);
	if (table == _POLICY_PORTS_MAX) {
		return;
	}
	uint8_t known = views->request->known[POLICY_FIELD_PORT];
	if (known == POLICY_PENDING) {
		views->pending |= BIT(POLICY_FIELD_PORT);
		return;
	}
	(void)field_any(views, POLICY_FIELD_PORT);
	if (known == POLICY_KNOWN) {
		struct policy_key key = { .low = views->request->port };
		set_class(views, POLICY_FIELD_PORT, 0,
		          policy_intervals_find(image, &image->ports[table], key));
	} else {
		views->fields[POLICY_FIELD_PORT].classes[0] = views->whole;
	}
}

static void make_endpoint(struct policy_views *views, enum policy_field field,
                          enum policy_side side, const struct pr_uuid *id)
{
	const policy_image_t *image = views->image;
	if (views->request->known[field] == POLICY_KNOWN && !pr_uuid_is_null(id)) {
		views->endpoints[side] = policy_image_endpoint_find(image, id);
	}
	if (value_known(views, field, views->endpoints[side] != NULL)) {
		set_class(views, field, 0, views->endpoints[side]->classes[side]);
	}
}

static void make_address(struct policy_views *views, enum policy_field field, enum policy_side side,
                         const struct pr_addr *addr)
{
	const policy_image_t *image = views->image;
	if (value_known(views, field, true)) {
		const struct policy_intervals *intervals =
			pr_addr_is_v4(addr) ? &image->v4[side] : &image->v6[side];
		set_class(views, field, 0,
		          policy_intervals_find(image, intervals, policy_key_of(addr)));
	}
}

static void make_user(struct policy_views *views, enum policy_field field, enum policy_side side,
                      const struct policy_user *user)
{
	const policy_image_t *image = views->image;
	if (!value_known(views, field, true)) {
		return;
	}
	set_class(views, field, 0,
	          policy_table_find_number(image, &image->users[side].numbers, user->uid));
	if (user->name != NULL && user->name[0] != '\0') {
		set_class(views, field, 1,
		          policy_table_find_text(image, &image->users[side].texts, user->name));
	}
}

/* Rules with a pattern are taken in whole and compared one by one when they come up. */
static void make_process(struct policy_views *views, enum policy_field field, enum policy_side side,
                         const char *path)
{
	const policy_image_t *image = views->image;
	if (!value_known(views, field, path != NULL && path[0] != '\0')) {
		return;
	}
	set_class(views, field, 0,
	          policy_table_find_text(image, &image->processes[side].texts, path));
	set_class(views, field, 1, image->processes[side].patterns);
}

void policy_views_make(const policy_image_t *image, const struct policy_request *request,
                       uint64_t now_wall_ns, struct policy_views *ret_views)
{
	struct policy_views *views = ret_views;
	*views = (struct policy_views){ .image = image,
		                        .request = request,
		                        .now_wall_ns = now_wall_ns };
	make_service(views);
	make_endpoint(views, POLICY_FIELD_SOURCE, POLICY_SIDE_SOURCE, &request->source);
	make_endpoint(views, POLICY_FIELD_DESTINATION, POLICY_SIDE_DESTINATION,
	              &request->destination);
	make_address(views, POLICY_FIELD_SOURCE_ADDR, POLICY_SIDE_SOURCE, &request->source_addr);
	make_address(views, POLICY_FIELD_DESTINATION_ADDR, POLICY_SIDE_DESTINATION,
	             &request->destination_addr);
	make_user(views, POLICY_FIELD_USER, POLICY_SIDE_SOURCE, &request->user);
	make_user(views, POLICY_FIELD_TO_USER, POLICY_SIDE_DESTINATION, &request->to_user);
	make_process(views, POLICY_FIELD_PROCESS, POLICY_SIDE_SOURCE, request->process);
	make_process(views, POLICY_FIELD_TO_PROCESS, POLICY_SIDE_DESTINATION, request->to_process);
}

uint32_t policy_views_pattern_mismatch(const struct policy_views *views, uint32_t index)
{
	const struct policy_image_rule *rule = policy_views_rule(views, index);
	const struct policy_request *request = views->request;
	uint32_t fields = 0;
	if (rule->process != 0 && !(views->pending & BIT(POLICY_FIELD_PROCESS)) &&
	    !POLICY_MUTATED(POLICY_FIELD_PROCESS) &&
	    (request->process == NULL ||
	     !policy_path_match(POLICY_AT(views->image, rule->process, char), request->process))) {
		fields |= BIT(POLICY_FIELD_PROCESS);
	}
	if (rule->to_process != 0 && !(views->pending & BIT(POLICY_FIELD_TO_PROCESS)) &&
	    !POLICY_MUTATED(POLICY_FIELD_TO_PROCESS) &&
	    (request->to_process == NULL ||
	     !policy_path_match(POLICY_AT(views->image, rule->to_process, char),
	                        request->to_process))) {
		fields |= BIT(POLICY_FIELD_TO_PROCESS);
	}
	return fields;
}

uint32_t policy_views_pending(const struct policy_views *views, uint32_t index)
{
	uint32_t fields = policy_views_rule(views, index)->constrained & views->pending;
	bool whole = policy_class_word(&views->whole, index / 64) >> index % 64 & 1;
	if (fields & BIT(POLICY_FIELD_PORT) && whole) {
		fields &= ~BIT(POLICY_FIELD_PORT);
	}
	return fields;
}
