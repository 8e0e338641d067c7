/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Part of policy.h: the text form and the model, and whom a group means. Included by policy.h
 * alone, which has the whole.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/id.h"

/* ---- limits: a text beyond one of them is refused with the limit named ---- */

#define POLICY_TEXT_MAX_BYTES    (32U * 1024 * 1024)
#define POLICY_LINE_MAX_BYTES    4096U
#define POLICY_LINES_MAX         400000U
#define POLICY_RULES_MAX         100000U
#define POLICY_RULE_NUMBER_MAX   999999999U
#define POLICY_GROUPS_MAX        10000U
#define POLICY_USERGROUPS_MAX    1000U
#define POLICY_MEMBERS_MAX       200000U /* members and selectors of all groups together */
#define POLICY_NAME_MAX_BYTES    64U     /* group, usergroup, user, owner */
#define POLICY_VALUE_MAX_BYTES   255U    /* selector value, host name */
#define POLICY_PATH_MAX_BYTES    1024U
#define POLICY_COMMENT_MAX_BYTES 255U
#define POLICY_SERVICES_MAX      64U     /* ranges in one rule */
#define POLICY_SERVICES_ALL_MAX  500000U /* ranges in the whole text */
#define POLICY_LIFELINES_MAX     16U
#define POLICY_EXPECTS_MAX       10000U
#define POLICY_ENDPOINTS_MAX     200000U
#define POLICY_IMAGE_MAX_BYTES   (256U * 1024 * 1024)
#define POLICY_ERRORS_MAX        100U
#define POLICY_MESSAGE_BYTES     224U

/* Where Compose writes down what it made a container for. */
#define POLICY_COMPOSE_PROJECT_LABEL "com.docker.compose.project"
#define POLICY_COMPOSE_SERVICE_LABEL "com.docker.compose.service"

#define POLICY_LAST_KNOWN_DEFAULT_S 600U     /* lost last-known without a line: 10 minutes */
#define POLICY_LAST_KNOWN_MAX_S     2592000U /* 30 days */

/* ---- errors of a text ---- */

struct policy_error {
	uint32_t line;                      /* 1 is the first */
	uint32_t column;                    /* 1 is the first; counts characters, not bytes */
	char message[POLICY_MESSAGE_BYTES]; /* one line, printable, with a suggestion where there is
	                                       one */
};

struct policy_errors {
	size_t count; /* filled in items, in order of lines */
	size_t total; /* found in the text; more than count if there are over POLICY_ERRORS_MAX */
	struct policy_error items[POLICY_ERRORS_MAX];
};

/* ---- model ---- */

enum policy_mode { POLICY_OBSERVE, POLICY_ENFORCE };

/** Ordered by strictness. */
enum policy_lost_kind { POLICY_LOST_ALLOW, POLICY_LOST_LAST_KNOWN, POLICY_LOST_DENY };

struct policy_lost {
	enum policy_lost_kind kind;
	uint32_t last_known_s; /* only for POLICY_LOST_LAST_KNOWN: then deny */
};

enum policy_action { POLICY_DENY, POLICY_REJECT, POLICY_ALLOW };

enum policy_status { POLICY_ENABLED, POLICY_DISABLED, POLICY_STAGED };

enum policy_line_kind {
	POLICY_LINE_BLANK, /* blank or only a comment */
	POLICY_LINE_MODE,
	POLICY_LINE_LOST,
	POLICY_LINE_LIFELINE,
	POLICY_LINE_GROUP,
	POLICY_LINE_USERGROUP,
	POLICY_LINE_RULE,
	POLICY_LINE_EXPECT,
	_POLICY_LINE_MAX,
};

enum policy_operand_kind {
	POLICY_OPERAND_ANY,
	POLICY_OPERAND_GROUP,    /* name, group */
	POLICY_OPERAND_ENDPOINT, /* endpoint */
	POLICY_OPERAND_HOST,     /* name: the host endpoint of exactly this name */
	POLICY_OPERAND_PREFIX,   /* prefix: matches the address, whoever has it */
};

/** What stands after `from` and `to`. */
struct policy_operand {
	enum policy_operand_kind kind;
	uint32_t group;   /* index for policy_model_group() */
	const char *name; /* NULL unless GROUP or HOST */
	struct pr_uuid endpoint;
	struct pr_prefix prefix;
};

enum policy_user_kind { POLICY_USER_ANY, POLICY_USER_NAME, POLICY_USER_UID, POLICY_USER_GROUP };

/** What stands after `user` and `to-user`. */
struct policy_user_match {
	enum policy_user_kind kind;
	uint32_t uid;       /* UID */
	uint32_t usergroup; /* GROUP: index for policy_model_usergroup() */
	uint32_t line;      /* of a usergroup's member: where it stands, from 1; else 0 */
	const char *name;   /* NAME, GROUP (without the @); NULL otherwise */
};

/** What stands after `process` and `to-process`. */
struct policy_process_match {
	const char *path; /* NULL: any */
	bool glob;        /* `*` and `?` do not cross a slash, `**` does */
};

/** One range of a service list. */
struct policy_service {
	bool any;             /* every protocol and port: the rest is 0 */
	bool whole;           /* the whole protocol, port or not */
	uint8_t proto;        /* IP protocol number */
	uint16_t first, last; /* ports, or ICMP types (0..255); 0 if whole */
};

struct policy_rule {
	uint32_t number; /* 1..POLICY_RULE_NUMBER_MAX; evaluation is in this order */
	enum policy_action action;
	enum policy_status status;
	struct policy_user_match user, to_user;
	struct policy_process_match process, to_process;
	struct policy_operand source, destination;
	const struct policy_service *services;
	size_t service_count;     /* at least 1 */
	uint64_t expires_wall_ns; /* from then on the rule is skipped; 0: never */
	const char *owner;        /* NULL: none */
	const char *comment;      /* NULL: none */
};

/** Flow that quarantine, lost mode and rules never cut. */
struct policy_lifeline {
	struct policy_operand source, destination;
	const struct policy_service *services;
	size_t service_count;
};

/** `expect allow from X to Y SERVICE`: kept, run at commit. */
struct policy_expect {
	bool allow;
	struct policy_operand source, destination;
	const struct policy_service *services;
	size_t service_count;
	struct policy_user_match user, to_user;
	struct policy_process_match process, to_process; /* never a glob */
};

enum policy_selector_kind {
	POLICY_SELECT_NAME,
	POLICY_SELECT_IMAGE,
	POLICY_SELECT_LABEL, /* key */
	POLICY_SELECT_COMPOSE_PROJECT,
	POLICY_SELECT_COMPOSE_SERVICE,
	POLICY_SELECT_HOST,
	POLICY_SELECT_CGROUP,
	POLICY_SELECT_KIND, /* "host" or "container" */
	_POLICY_SELECT_MAX,
};

struct policy_selector {
	enum policy_selector_kind kind;
	const char *key;   /* label key; NULL otherwise */
	const char *value; /* glob: `*` any run, `?` one character */
};

/** One way to be in a group: a member, or a `select` whose selectors must all match. */
struct policy_group_term {
	uint32_t selector_count; /* 0: it is a member */
	const struct policy_selector *selectors;
	struct pr_uuid member;
};

/** A group: the union of the terms of all its lines. */
struct policy_group {
	const char *name;
	const struct policy_group_term *terms;
	size_t term_count;
	uint32_t line; /* of its first line */
};

struct policy_usergroup {
	const char *name;
	const struct policy_user_match *members; /* NAME or UID */
	size_t member_count;
	uint32_t line;
};

struct policy_mode_line {
	enum policy_mode mode;
	const char *group; /* NULL: default */
	uint32_t group_index;
};

struct policy_lost_line {
	struct policy_lost lost;
	const char *group; /* NULL: default */
	uint32_t group_index;
};

/** One line of the text. */
struct policy_line {
	enum policy_line_kind kind;
	uint32_t size_bytes;
	const char *text; /* as it was written, without the newline; not NUL-terminated */
	union {
		const struct policy_mode_line *mode;
		const struct policy_lost_line *lost;
		const struct policy_lifeline *lifeline;
		const struct policy_rule *rule;
		const struct policy_expect *expect;
		uint32_t group; /* GROUP: index for policy_model_group(), USERGROUP: for
		                   _usergroup() */
	};
};

typedef struct policy_model policy_model_t;

/**
 * Parse a policy text. All of it is read, so that all errors are found at once; a text with any
 * error gives no model.
 *
 * @param text        Borrowed for the call. Need not end in NUL or newline.
 * @param errors      Always filled; count is 0 on success.
 * @param ret_model   Caller owns it.
 *
 * @retval PR_OK
 * @retval PR_EPOLICY  See @p errors.
 * @retval PR_ENOMEM
 */
int policy_text_parse(const char *text, size_t size_bytes, struct policy_errors *errors,
                      policy_model_t **ret_model) _must_check_;

void policy_model_destroy(policy_model_t **model_p);

/**
 * The text of a model, byte for byte as it was parsed (NUL-terminated). Caller frees it.
 * @retval PR_OK
 * @retval PR_ENOMEM
 */
int policy_text_format(const policy_model_t *model, char **ret_text,
                       size_t *ret_size_bytes) _must_check_;

size_t policy_model_line_count(const policy_model_t *model);
/** Line @p index, from 0. NULL beyond the end. Valid as long as the model. */
const struct policy_line *policy_model_line(const policy_model_t *model, size_t index);

size_t policy_model_rule_count(const policy_model_t *model);
/** The rule at place @p index in order of numbers, from 0. NULL beyond the end. */
const struct policy_rule *policy_model_rule(const policy_model_t *model, size_t index);
/** Rule by number and, if @p ret_line is not NULL, the index of its line. NULL: none. */
const struct policy_rule *policy_model_rule_find(const policy_model_t *model, uint32_t number,
                                                 size_t *ret_line);

size_t policy_model_group_count(const policy_model_t *model);
const struct policy_group *policy_model_group(const policy_model_t *model, size_t index);
/** NULL: none. */
const struct policy_group *policy_model_group_find(const policy_model_t *model, const char *name);
size_t policy_model_usergroup_count(const policy_model_t *model);
const struct policy_usergroup *policy_model_usergroup(const policy_model_t *model, size_t index);
/** NULL: none. */
const struct policy_usergroup *policy_model_usergroup_find(const policy_model_t *model,
                                                           const char *name);

/** Change some lines of a text: remove @p remove_count lines from @p line on, put @p text there. */
struct policy_edit {
	size_t line;         /* index from 0; the line count appends */
	size_t remove_count; /* 0: insert only */
	const char *text; /* NULL: remove only; lines separated by newline, the last may lack it */
};

/**
 * Make a new model from @p model with one edit. The old one stays as it is. Lines that are not
 * edited keep their bytes.
 *
 * @retval PR_OK
 * @retval PR_EPOLICY  See @p errors; the lines are those of the new text.
 * @retval PR_EINVAL   Lines out of range.
 * @retval PR_ENOMEM
 */
int policy_model_edit(const policy_model_t *model, const struct policy_edit *edit,
                      struct policy_errors *errors, policy_model_t **ret_model) _must_check_;

/**
 * A rule in canonical form, one line without newline, for editors that change a field.
 * @param size_bytes  POLICY_LINE_MAX_BYTES + 1 always suffices for a rule that came from a text.
 * @return Length, or a negative error (PR_ETOOBIG).
 */
int policy_rule_format(const struct policy_rule *rule, char *text, size_t size_bytes) _must_check_;

/** "ana", "1000", "@ops"; "" for any. @return length or PR_ETOOBIG. */
int policy_user_format(const struct policy_user_match *user, char *text, size_t size_bytes);

/** "any", a group's name, a UUID, "host NAME" or a prefix. @return length or PR_ETOOBIG. */
int policy_operand_format(const struct policy_operand *operand, char *text, size_t size_bytes);

/** "tcp/80,443 udp/53". @return length or PR_ETOOBIG. */
int policy_services_format(const struct policy_service *services, size_t count, char *text,
                           size_t size_bytes);

/** "allow", "deny", "reject". */
const char *policy_action_name(enum policy_action action);
/** "observe", "enforce". */
const char *policy_mode_name(enum policy_mode mode);
/** "enabled", "disabled", "staged". */
const char *policy_status_name(enum policy_status status);
/** "allow", "last-known", "deny". */
const char *policy_lost_name(enum policy_lost_kind kind);

/**
 * Glob of names, images and labels: `*` any run, `?` one character. Linear space, no recursion.
 */
bool policy_glob_match(const char *pattern, const char *text);
/**
 * Glob of paths: `*` and `?` stop at a slash, `**` does not. What is not UTF-8 is compared as the
 * bytes that its text stands for (codec_bytes_parse()).
 */
bool policy_path_match(const char *pattern, const char *path);

/**
 * The word of @p words nearest to @p word, for "did you mean". NULL if none is near.
 */
const char *policy_suggest(const char *word, const char *const *words, size_t count);

/* ---- endpoints, as the identity directory knows them ---- */

enum policy_endpoint_kind { POLICY_HOST, POLICY_CONTAINER };

struct policy_label {
	const char *key;
	const char *value;
};

/** Text fields: NULL or "" is "has none", which no selector matches. */
struct policy_endpoint {
	struct pr_uuid id;
	enum policy_endpoint_kind kind;
	const char *name;
	const char *image;
	const char *compose_project;
	const char *compose_service;
	const char *cgroup;
	struct pr_uuid host_id; /* the host it runs on; a host's own id */
	const char *host_name;  /* NULL for a host: its name */
	const struct policy_label *labels;
	size_t label_count;
};

/** Does an endpoint belong to a group? Straight from the model, for previews and tests. */
bool policy_group_matches(const struct policy_group *group, const struct policy_endpoint *endpoint);

/* ---- users, as an agent knows them ---- */

struct policy_user {
	uint32_t uid;
	const char *name; /* NULL or "": only the uid is known */
};

/** The first member of a usergroup that a user is; NULL: none. Straight from the model. */
const struct policy_user_match *policy_usergroup_member(const struct policy_usergroup *usergroup,
                                                        const struct policy_user *user);
