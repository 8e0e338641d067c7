/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "policy/internal.h"

#define DAY_NS (86400 * PR_NS_PER_S)

/* Text being written; sticky when it is full. */
struct writer {
	char *text;
	size_t size_bytes;
	size_t used_bytes;
	bool full;
};

static void put(struct writer *writer, const char *format, ...) _printf_(2, 3);

static void put(struct writer *writer, const char *format, ...)
{
	if (writer->full) {
		return;
	}
	va_list args;
	va_start(args, format);
	size_t room = writer->size_bytes - writer->used_bytes;
	int bytes = vsnprintf(writer->text + writer->used_bytes, room, format, args);
	va_end(args);
	if (bytes < 0 || (size_t)bytes >= room) {
		writer->full = true;
		return;
	}
	writer->used_bytes += (size_t)bytes;
}

static int done(const struct writer *writer)
{
	return writer->full ? PR_ETOOBIG : (int)writer->used_bytes;
}

static struct writer writer_on(char *text, size_t size_bytes)
{
	if (size_bytes > 0) {
		text[0] = '\0';
	}
	return (struct writer){ .text = text, .size_bytes = size_bytes, .full = size_bytes == 0 };
}

static void put_quoted(struct writer *writer, const char *text)
{
	char shown[POLICY_ESCAPE_BYTES];
	put(writer, "\"");
	while (*text != '\0') {
		text += policy_escape_format(text, shown);
		put(writer, "%s", shown);
	}
	put(writer, "\"");
}

/* In quotes only where it must be: spaces, quotes, a leading #, nothing at all, escapes. */
static void put_value(struct writer *writer, const char *text)
{
	if (text[0] == '\0' || text[0] == '#' || strpbrk(text, " \t\"\\") != NULL ||
	    policy_text_is_hostile(text)) {
		put_quoted(writer, text);
	} else {
		put(writer, "%s", text);
	}
}

static void put_operand(struct writer *writer, const struct policy_operand *operand)
{
	char uuid[PR_UUID_TEXT_BYTES], addr[PR_ADDR_TEXT_BYTES];
	switch (operand->kind) {
	case POLICY_OPERAND_ANY:
		put(writer, "any");
		break;
	case POLICY_OPERAND_GROUP:
		put(writer, "%s", operand->name);
		break;
	case POLICY_OPERAND_ENDPOINT:
		put(writer, "%s", pr_uuid_format(&operand->endpoint, uuid));
		break;
	case POLICY_OPERAND_HOST:
		put(writer, "host ");
		put_value(writer, operand->name);
		break;
	case POLICY_OPERAND_PREFIX:
		put(writer, "%s", pr_prefix_format(&operand->prefix, addr));
		break;
	}
}

static void put_protocol(struct writer *writer, const struct policy_service *service)
{
	bool ports = service->proto == POLICY_PROTO_TCP || service->proto == POLICY_PROTO_UDP;
	bool icmp = service->proto == POLICY_PROTO_ICMP || service->proto == POLICY_PROTO_ICMP6;
	if (ports) {
		put(writer, service->proto == POLICY_PROTO_TCP ? "tcp" : "udp");
	} else if (icmp) {
		put(writer, service->proto == POLICY_PROTO_ICMP ? "icmp" : "icmp6");
	} else {
		put(writer, "proto/%u", service->proto);
	}
}

static void put_services(struct writer *writer, const struct policy_service *services, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct policy_service *service = &services[i];
		bool goes_on = i > 0 && !service->whole && !service->any &&
		               !services[i - 1].whole && !services[i - 1].any &&
		               services[i - 1].proto == service->proto;
		if (i > 0 && !goes_on) {
			put(writer, " ");
		}
		if (service->any) {
			put(writer, "any");
			continue;
		}
		if (!goes_on) {
			put_protocol(writer, service);
		}
		if (!service->whole) {
			put(writer, "%c%u", goes_on ? ',' : '/', service->first);
			if (service->last != service->first) {
				put(writer, "-%u", service->last);
			}
		}
	}
}

static void put_user_value(struct writer *writer, const struct policy_user_match *user)
{
	if (user->kind == POLICY_USER_UID) {
		put(writer, "%u", user->uid);
	} else if (user->kind == POLICY_USER_GROUP) {
		put(writer, "%c%s", POLICY_USERGROUP_MARK, user->name);
	} else if (user->kind == POLICY_USER_NAME) {
		put_value(writer, user->name);
	}
}

static void put_user(struct writer *writer, const char *word, const struct policy_user_match *user)
{
	if (user->kind == POLICY_USER_ANY) {
		return;
	}
	put(writer, " %s ", word);
	put_user_value(writer, user);
}

static void put_process(struct writer *writer, const char *word,
                        const struct policy_process_match *process)
{
	if (process->path != NULL) {
		put(writer, " %s ", word);
		put_value(writer, process->path);
	}
}

static void put_expires(struct writer *writer, uint64_t wall_ns)
{
	char text[PR_CLOCK_TEXT_BYTES];
	if (wall_ns == 0) {
		return;
	}
	(void)pr_clock_format(wall_ns, text);
	if (wall_ns % DAY_NS == 0) {
		text[strcspn(text, "T")] = '\0';
	}
	put(writer, " expires %s", text);
}

int policy_rule_format(const struct policy_rule *rule, char *text, size_t size_bytes)
{
	struct writer writer = writer_on(text, size_bytes);
	put(&writer, "rule %u %s%s", rule->number, rule->status == POLICY_STAGED ? "staged " : "",
	    policy_action_name(rule->action));
	put_user(&writer, "user", &rule->user);
	put(&writer, " from ");
	put_operand(&writer, &rule->source);
	put(&writer, " to ");
	put_operand(&writer, &rule->destination);
	put(&writer, " ");
	put_services(&writer, rule->services, rule->service_count);
	put_process(&writer, "process", &rule->process);
	put_user(&writer, "to-user", &rule->to_user);
	put_process(&writer, "to-process", &rule->to_process);
	put_expires(&writer, rule->expires_wall_ns);
	if (rule->owner != NULL) {
		put(&writer, " owner ");
		put_value(&writer, rule->owner);
	}
	if (rule->comment != NULL) {
		put(&writer, " comment ");
		put_quoted(&writer, rule->comment);
	}
	if (rule->status == POLICY_DISABLED) {
		put(&writer, " disabled");
	}
	return done(&writer);
}

int policy_user_format(const struct policy_user_match *user, char *text, size_t size_bytes)
{
	struct writer writer = writer_on(text, size_bytes);
	put_user_value(&writer, user);
	return done(&writer);
}

int policy_operand_format(const struct policy_operand *operand, char *text, size_t size_bytes)
{
	struct writer writer = writer_on(text, size_bytes);
	put_operand(&writer, operand);
	return done(&writer);
}

int policy_services_format(const struct policy_service *services, size_t count, char *text,
                           size_t size_bytes)
{
	struct writer writer = writer_on(text, size_bytes);
	put_services(&writer, services, count);
	return done(&writer);
}
