/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/view.h"

#define BIT(field) (1U << (field))

/* From the values of a request to classes of rules: all that the request's text is needed for. */

/* Is a field's value there to be compared? If not, its class is none. */
static bool value_known(struct policy_tuple *tuple, enum policy_field field)
{
	uint8_t known = tuple->request->known[field];
	if (!(tuple->image->used & BIT(field)) || POLICY_MUTATED(field)) {
		return false; /* every rule */
	}
	if (known == POLICY_PENDING) {
		tuple->pending |= BIT(field);
		return false; /* every rule, some of them only perhaps */
	}
	tuple->active |= BIT(field);
	return known == POLICY_KNOWN;
}

static void take_port(struct policy_tuple *tuple, enum policy_port_table table)
{
	const policy_image_t *image = tuple->image;
	uint16_t port = tuple->request->port;
	if (image->ports[table] != 0) {
		uint32_t page = POLICY_AT(image, image->ports[table], uint32_t)[port >> 8];
		const struct policy_port *found =
			POLICY_AT(image, page, struct policy_port) + (port & 0xff);
		tuple->classes[POLICY_FIELD_PORT] = found->class_offset;
		tuple->only_by_port = found->only;
	}
}

static void take_service(struct policy_tuple *tuple)
{
	const policy_image_t *image = tuple->image;
	uint8_t proto =
		POLICY_MUTATED(POLICY_FIELD_PROTO) ? POLICY_PROTO_TCP : tuple->request->proto;
	if (!(image->used & BIT(POLICY_FIELD_PROTO))) {
		return;
	}
	tuple->proto = proto;
	tuple->active |= BIT(POLICY_FIELD_PROTO);
	tuple->classes[POLICY_FIELD_PROTO] = image->proto_classes[proto];
	enum policy_port_table table = policy_port_table_of(proto);
	if (table == _POLICY_PORTS_MAX) {
		return;
	}
	if (value_known(tuple, POLICY_FIELD_PORT)) {
		take_port(tuple, table);
	} else if (tuple->active & BIT(POLICY_FIELD_PORT)) {
		tuple->classes[POLICY_FIELD_PORT] = image->proto_whole_classes[proto];
	}
}

static void take_endpoint(struct policy_tuple *tuple, enum policy_field field,
                          enum policy_side side, const struct pr_uuid *id)
{
	const policy_image_t *image = tuple->image;
	tuple->modes[side] = image->default_mode;
	if (!(image->used & BIT(field)) && !image->modes_differ) {
		return;
	}
	bool known = value_known(tuple, field);
	if (tuple->request->known[field] != POLICY_KNOWN) {
		return;
	}
	const struct policy_endpoint_slot *slot = policy_image_slot_find(image, id);
	if (slot != NULL) {
		tuple->modes[side] = (uint8_t)slot->mode;
		tuple->classes[field] = known ? slot->classes[side] : 0;
	}
}

static void take_address(struct policy_tuple *tuple, enum policy_field field, enum policy_side side,
                         const struct pr_addr *addr)
{
	const policy_image_t *image = tuple->image;
	if (value_known(tuple, field)) {
		const struct policy_intervals *intervals =
			pr_addr_is_v4(addr) ? &image->v4[side] : &image->v6[side];
		tuple->classes[field] =
			policy_intervals_find(image, intervals, policy_key_of(addr));
	}
}

static void take_user(struct policy_tuple *tuple, enum policy_field field, enum policy_side side,
                      const struct policy_user *user)
{
	const policy_image_t *image = tuple->image;
	if (!value_known(tuple, field)) {
		return;
	}
	tuple->classes[field] =
		policy_table_find_number(image, &image->users[side].numbers, user->uid);
	if (user->name != NULL && user->name[0] != '\0') {
		tuple->classes[_POLICY_FIELD_MAX + side] =
			policy_table_find_text(image, &image->users[side].texts, user->name);
	}
}

/* Rules with a pattern are taken in whole and compared one by one when they come up. */
static void take_process(struct policy_tuple *tuple, enum policy_field field, enum policy_side side,
                         const char *path)
{
	const struct policy_values *processes = &tuple->image->processes[side];
	if (value_known(tuple, field) && path != NULL && path[0] != '\0') {
		tuple->classes[field] =
			policy_table_find_text(tuple->image, &processes->texts, path) |
			POLICY_PATTERNS_TOO;
	}
}

void policy_tuple_make(const policy_image_t *image, const struct policy_request *request,
                       struct policy_tuple *ret_tuple)
{
	struct policy_tuple *tuple = ret_tuple;
	uint32_t used = image->used;
	*tuple = (struct policy_tuple){ .image = image, .request = request };
	take_service(tuple);
	take_endpoint(tuple, POLICY_FIELD_SOURCE, POLICY_SIDE_SOURCE, &request->source);
	take_endpoint(tuple, POLICY_FIELD_DESTINATION, POLICY_SIDE_DESTINATION,
	              &request->destination);
	if (!(used & POLICY_FIELDS_RARER)) {
		return;
	}
	take_address(tuple, POLICY_FIELD_SOURCE_ADDR, POLICY_SIDE_SOURCE, &request->source_addr);
	take_address(tuple, POLICY_FIELD_DESTINATION_ADDR, POLICY_SIDE_DESTINATION,
	             &request->destination_addr);
	take_user(tuple, POLICY_FIELD_USER, POLICY_SIDE_SOURCE, &request->user);
	take_user(tuple, POLICY_FIELD_TO_USER, POLICY_SIDE_DESTINATION, &request->to_user);
	take_process(tuple, POLICY_FIELD_PROCESS, POLICY_SIDE_SOURCE, request->process);
	take_process(tuple, POLICY_FIELD_TO_PROCESS, POLICY_SIDE_DESTINATION, request->to_process);
}

/* ---- few rules ---- */

static void few_add(struct policy_few *few, uint32_t rule)
{
	uint32_t place = few->count;
	for (; place > 0 && few->rules[place - 1] >= rule; place--) {
		if (few->rules[place - 1] == rule) {
			return;
		}
	}
	for (uint32_t i = few->count++; i > place; i--) {
		few->rules[i] = few->rules[i - 1];
	}
	few->rules[place] = rule;
}

/* Does a field leave few? @p ret_few is then filled. */
static bool field_few(const struct policy_tuple *tuple, unsigned field, struct policy_few *ret_few)
{
	const policy_image_t *image = tuple->image;
	uint32_t classes[] = { image->any_classes[field],
		               tuple->classes[field] & ~POLICY_PATTERNS_TOO,
		               policy_tuple_other(tuple, field) };
	uint32_t count = 0;
	for (size_t i = 0; i < PR_ARRAY_LEN(classes); i++) {
		count += policy_class_count(image, classes[i]);
		if (count > POLICY_FEW) {
			return false;
		}
	}
	ret_few->field = field;
	ret_few->count = 0;
	for (size_t i = 0; i < PR_ARRAY_LEN(classes) && count > 0; i++) {
		uint32_t more = policy_class_count(image, classes[i]);
		for (uint32_t j = 0; j < more; j++) {
			few_add(ret_few, policy_class_rule(image, classes[i], j));
		}
	}
	return true;
}

bool policy_tuple_few_of_all(const struct policy_tuple *tuple, struct policy_few *ret_few)
{
	uint32_t fields = tuple->active;
	if (fields & BIT(POLICY_FIELD_PORT)) {
		fields &= ~BIT(POLICY_FIELD_PROTO); /* the port's class has only its rules */
	}
	for (; fields != 0; fields &= fields - 1) {
		if (field_few(tuple, (unsigned)__builtin_ctz(fields), ret_few)) {
			return true;
		}
	}
	return false;
}
