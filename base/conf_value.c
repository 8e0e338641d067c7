/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/internal.h"
#include "base/log.h"

struct unit {
	const char *text;
	uint64_t factor;
};

/* Largest first: the printer takes the first that divides. */
static const struct unit duration_units[] = {
	{ "d", 86400 * PR_NS_PER_S },
	{ "h", 3600 * PR_NS_PER_S },
	{ "m", 60 * PR_NS_PER_S },
	{ "s", PR_NS_PER_S },
	{ "ms", PR_NS_PER_MS },
	{ "us", PR_NS_PER_US },
	{ "ns", 1 },
	{ NULL, 0 },
};

static const struct unit size_units[] = {
	{ "T", 1ULL << 40 }, { "G", 1ULL << 30 }, { "M", 1ULL << 20 },
	{ "K", 1ULL << 10 }, { "", 1 },           { NULL, 0 },
};

static const struct unit plain_units[] = { { "", 1 }, { NULL, 0 } };

static const struct unit *units_of(enum pr_conf_type type)
{
	switch (type) {
	case PR_CONF_DURATION:
		return duration_units;
	case PR_CONF_SIZE:
		return size_units;
	default:
		return plain_units;
	}
}

static void *place_of(const struct pr_conf_row *row, void *conf)
{
	return (char *)conf + row->offset;
}

static const void *const_place_of(const struct pr_conf_row *row, const void *conf)
{
	return (const char *)conf + row->offset;
}

static int refuse(char *reason, const char *format, ...) _printf_(2, 3);

static int refuse(char *reason, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(reason, CONF_REASON_BYTES, format, args);
	va_end(args);
	return PR_ECONF;
}

/* The value as shown in a reason: escaped, cut. */
#define SHOWN_BYTES 64
static const char *show(const char *text, char shown[static SHOWN_BYTES])
{
	return pr_log_escape(text, shown, SHOWN_BYTES);
}

static bool take_digits(const char **text_p, uint64_t *ret_number)
{
	const char *text = *text_p;
	unsigned int base = 10;
	uint64_t number = 0;
	bool any = false;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	}
	for (;; text++, any = true) {
		unsigned int digit =
			*text >= '0' && *text <= '9'   ? (unsigned int)(*text - '0')
			: *text >= 'a' && *text <= 'f' ? (unsigned int)(*text - 'a') + 10
			: *text >= 'A' && *text <= 'F' ? (unsigned int)(*text - 'A') + 10
						       : 16;
		if (digit >= base) {
			break;
		}
		if (__builtin_mul_overflow(number, base, &number) ||
		    __builtin_add_overflow(number, digit, &number)) {
			return false;
		}
	}
	*text_p = text;
	*ret_number = number;
	return any;
}

static int refuse_number(const struct pr_conf_row *row, const char *text, char *reason)
{
	char shown[SHOWN_BYTES];

	show(text, shown);
	switch (row->type) {
	case PR_CONF_DURATION:
		return refuse(reason,
		              "%s: '%s' is not a duration: a whole number and one of "
		              "ns, us, ms, s, m, h, d",
		              row->name, shown);
	case PR_CONF_SIZE:
		return refuse(reason,
		              "%s: '%s' is not a size: a whole number of bytes, or with "
		              "one of K, M, G, T",
		              row->name, shown);
	default:
		return refuse(reason, "%s: '%s' is not a whole number", row->name, shown);
	}
}

static int refuse_bounds(const struct pr_conf_row *row, const char *text, char *reason)
{
	char shown[SHOWN_BYTES];
	char bounds[64] = "";
	FILE *out = fmemopen(bounds, sizeof(bounds), "w");

	if (out != NULL) {
		conf_number_print(row->type, row->min, out);
		if (row->max != 0) {
			(void)fputs(" to ", out);
			conf_number_print(row->type, row->max, out);
		} else {
			(void)fputs(" or more", out);
		}
		(void)fclose(out);
	}
	return refuse(reason, "%s: '%s' is out of bounds: %s", row->name, show(text, shown),
	              bounds);
}

static int parse_number(const struct pr_conf_row *row, const char *text, void *place, char *reason)
{
	const struct unit *unit = units_of(row->type);
	const char *rest = text;
	uint64_t number;

	if (!take_digits(&rest, &number)) {
		return refuse_number(row, text, reason);
	}
	while (unit->text != NULL && strcmp(unit->text, rest) != 0) {
		unit++;
	}
	bool bare_zero = number == 0 && *rest == '\0';
	if (unit->text == NULL && !bare_zero) {
		return refuse_number(row, text, reason);
	}
	if (!bare_zero && __builtin_mul_overflow(number, unit->factor, &number)) {
		return refuse_bounds(row, text, reason);
	}
	if (number < row->min || (row->max != 0 && number > row->max)) {
		return refuse_bounds(row, text, reason);
	}
	memcpy(place, &number, sizeof(number));
	return PR_OK;
}

static int parse_bool(const struct pr_conf_row *row, const char *text, void *place, char *reason)
{
	char shown[SHOWN_BYTES];
	bool yes = strcmp(text, "yes") == 0;

	if (!yes && strcmp(text, "no") != 0) {
		return refuse(reason, "%s: '%s' is neither yes nor no", row->name,
		              show(text, shown));
	}
	memcpy(place, &yes, sizeof(yes));
	return PR_OK;
}

static int parse_enum(const struct pr_conf_row *row, const char *text, void *place, char *reason)
{
	char shown[SHOWN_BYTES];
	char all[128] = "";

	for (int i = 0; row->choices[i] != NULL; i++) {
		if (strcmp(row->choices[i], text) == 0) {
			memcpy(place, &i, sizeof(i));
			return PR_OK;
		}
		size_t used = strlen(all);
		(void)snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? ", " : "",
		               row->choices[i]);
	}
	return refuse(reason, "%s: '%s' is not one of: %s", row->name, show(text, shown), all);
}

static int parse_uuid(const struct pr_conf_row *row, const char *text, void *place, char *reason)
{
	char shown[SHOWN_BYTES];
	struct pr_uuid id;

	if (pr_uuid_parse(text, &id) != PR_OK) {
		return refuse(reason, "%s: '%s' is not a UUID", row->name, show(text, shown));
	}
	memcpy(place, &id, sizeof(id));
	return PR_OK;
}

static int parse_text(const struct pr_conf_row *row, const char *text, void *place, char *reason)
{
	char shown[SHOWN_BYTES];

	if (row->type != PR_CONF_STRING && text[0] != '/') {
		return refuse(reason, "%s: '%s' is not an absolute path", row->name,
		              show(text, shown));
	}
	char *copy = strdup(text);
	if (copy == NULL) {
		return PR_ENOMEM;
	}
	memcpy(place, &copy, sizeof(copy));
	return PR_OK;
}

static int parse_item(const char *text, struct pr_conf_list *list)
{
	char **items = reallocarray(list->items, list->count + 1, sizeof(*items));
	if (items == NULL) {
		return PR_ENOMEM;
	}
	list->items = items;
	items[list->count] = strdup(text);
	if (items[list->count] == NULL) {
		return PR_ENOMEM;
	}
	list->count++;
	return PR_OK;
}

int conf_value_parse(const struct pr_conf_row *row, const char *text, void *conf,
                     char reason[static CONF_REASON_BYTES])
{
	void *place = place_of(row, conf);

	switch (row->type) {
	case PR_CONF_BOOL:
		return parse_bool(row, text, place, reason);
	case PR_CONF_UINT:
	case PR_CONF_DURATION:
	case PR_CONF_SIZE:
		return parse_number(row, text, place, reason);
	case PR_CONF_STRING:
	case PR_CONF_PATH:
	case PR_CONF_KEYFILE:
		return parse_text(row, text, place, reason);
	case PR_CONF_ENUM:
		return parse_enum(row, text, place, reason);
	case PR_CONF_UUID:
		return parse_uuid(row, text, place, reason);
	case PR_CONF_LIST:
		return parse_item(text, place);
	}
	return refuse(reason, "%s: a type that the table does not know", row->name);
}

static size_t size_of(enum pr_conf_type type)
{
	switch (type) {
	case PR_CONF_BOOL:
		return sizeof(bool);
	case PR_CONF_ENUM:
		return sizeof(int);
	case PR_CONF_UUID:
		return sizeof(struct pr_uuid);
	case PR_CONF_STRING:
	case PR_CONF_PATH:
	case PR_CONF_KEYFILE:
		return sizeof(char *);
	case PR_CONF_LIST:
		return sizeof(struct pr_conf_list);
	default:
		return sizeof(uint64_t);
	}
}

void conf_value_clear(const struct pr_conf_row *row, void *conf)
{
	void *place = place_of(row, conf);

	if (row->type == PR_CONF_LIST) {
		struct pr_conf_list *list = place;
		while (list->count > 0) {
			free(list->items[--list->count]);
		}
		free(list->items);
	} else if (size_of(row->type) == sizeof(char *) && row->type >= PR_CONF_STRING &&
	           row->type <= PR_CONF_KEYFILE) {
		pr_free(place);
	}
	memset(place, 0, size_of(row->type));
}

bool conf_value_is_none(const struct pr_conf_row *row, const void *conf)
{
	static const char zero[sizeof(struct pr_conf_list) + sizeof(struct pr_uuid)];
	return memcmp(const_place_of(row, conf), zero, size_of(row->type)) == 0;
}

void conf_text_print(const char *text, FILE *out)
{
	size_t length = strlen(text);
	bool plain = length > 0 && strpbrk(text, "\"#") == NULL && text[0] != ' ' &&
	             text[0] != '\t' && text[length - 1] != ' ' && text[length - 1] != '\t';

	if (plain) {
		(void)fputs(text, out);
		return;
	}
	(void)fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\') {
			(void)fputc('\\', out);
		}
		(void)fputc(*text, out);
	}
	(void)fputc('"', out);
}

void conf_number_print(enum pr_conf_type type, uint64_t number, FILE *out)
{
	const struct unit *unit = units_of(type);

	if (number == 0) {
		(void)fputc('0', out);
		return;
	}
	while (number % unit->factor != 0) {
		unit++;
	}
	(void)fprintf(out, "%" PRIu64 "%s", number / unit->factor, unit->text);
}

void conf_value_print(const struct pr_conf_row *row, const void *conf, FILE *out)
{
	const void *place = const_place_of(row, conf);
	char text[PR_UUID_TEXT_BYTES];
	const char *string;
	uint64_t number;

	switch (row->type) {
	case PR_CONF_BOOL:
		(void)fputs(*(const bool *)place ? "yes" : "no", out);
		break;
	case PR_CONF_UINT:
	case PR_CONF_DURATION:
	case PR_CONF_SIZE:
		memcpy(&number, place, sizeof(number));
		conf_number_print(row->type, number, out);
		break;
	case PR_CONF_STRING:
	case PR_CONF_PATH:
	case PR_CONF_KEYFILE:
		memcpy(&string, place, sizeof(string));
		conf_text_print(string != NULL ? string : "", out);
		break;
	case PR_CONF_ENUM:
		(void)fputs(row->choices[*(const int *)place], out);
		break;
	case PR_CONF_UUID:
		(void)fputs(pr_uuid_format(place, text), out);
		break;
	case PR_CONF_LIST:
		break;
	}
}

int conf_key_file_check(const char *path, char reason[static CONF_REASON_BYTES])
{
	struct stat info;
	/* Not blocking: a FIFO in its place must not hold the start. */
	_cleanup_(pr_fd_close) int fd =
		open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0) {
		const char *why = errno == ELOOP ? "is a symbolic link" : pr_strerror(-errno);
		if (errno == ENOENT) {
			why = "does not exist";
		}
		(void)refuse(reason, "key file '%.150s' %s", path, why);
		return PR_EKEYFILE;
	}
	if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
		(void)refuse(reason, "key file '%.150s' is not a regular file", path);
		return PR_EKEYFILE;
	}
	if (info.st_uid != geteuid()) {
		(void)refuse(reason, "key file '%.150s' belongs to uid %u, not to us (uid %u)",
		             path, info.st_uid, geteuid());
		return PR_EKEYFILE;
	}
	if ((info.st_mode & 0177) != 0) {
		(void)refuse(reason, "key file '%.150s' has mode %04o: run chmod 0600 on it", path,
		             info.st_mode & 07777);
		return PR_EKEYFILE;
	}
	return PR_OK;
}
