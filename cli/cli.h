/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The `portreeve` command, as a library: main() is cli_main(). Inside cli/ and its tests only.
 *
 * A function that returns `int` and is documented so returns an exit status of enum cli_exit, and
 * has then said on cli->err what was wrong, where, and what to do. Data goes to cli->out,
 * everything else to cli->err. Strings of peers are escaped in tables and exact in JSON. Threads:
 * one.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/conf.h"
#include "base/defs.h"
#include "base/id.h"
#include "bus/bus.h"
#include "codec/codec.h"

enum cli_exit {
	CLI_DONE = 0,
	CLI_ERROR = 1,
	CLI_USAGE = 2,
	CLI_NOT_FOUND = 3,
	CLI_DENIED = 4,
	CLI_CONFLICT = 5,
	CLI_UNREACHABLE = 6,
	CLI_NOT_ALLOWED = 10, /* `explain`: the policy does not allow it */
};

struct cli;

/* ---- options and commands (options.c, command.c) ---- */

#define CLI_WORDS_MAX 64

/** Every option of any command. */
struct cli_options {
	const char *config, *since, *until, *limit, *message, *role, *name, *life, *key;
	const char *reason, *confirm_within, *base, *user, *process, *to_user, *to_process, *from,
		*to;
	bool json, wide, follow, denied, joined, force, pending, offline, draft, man, help, version;
	const char *words[CLI_WORDS_MAX]; /* what is no option, without the command's own words */
	size_t word_count;
};

/** Bit of an option in cli_command.options; the order is that of cli_option_rows. */
enum cli_option_id {
	CLI_OPTION_CONFIG,
	CLI_OPTION_JSON,
	CLI_OPTION_HELP,
	CLI_OPTION_VERSION,
	CLI_OPTION_WIDE,
	CLI_OPTION_FOLLOW,
	CLI_OPTION_SINCE,
	CLI_OPTION_UNTIL,
	CLI_OPTION_LIMIT,
	CLI_OPTION_DENIED,
	CLI_OPTION_JOINED,
	CLI_OPTION_MESSAGE,
	CLI_OPTION_FORCE,
	CLI_OPTION_OFFLINE,
	CLI_OPTION_ROLE,
	CLI_OPTION_NAME,
	CLI_OPTION_LIFE,
	CLI_OPTION_PENDING,
	CLI_OPTION_KEY,
	CLI_OPTION_REASON,
	CLI_OPTION_CONFIRM_WITHIN,
	CLI_OPTION_BASE,
	CLI_OPTION_USER,
	CLI_OPTION_PROCESS,
	CLI_OPTION_TO_USER,
	CLI_OPTION_TO_PROCESS,
	CLI_OPTION_FROM,
	CLI_OPTION_TO,
	CLI_OPTION_DRAFT,
	CLI_OPTION_MAN,
	_CLI_OPTION_MAX,
};

struct cli_option {
	const char *name;     /* long form, without the dashes */
	char letter;          /* short form; 0: none */
	const char *argument; /* name shown in help; NULL: a flag */
	const char *doc;
	size_t offset; /* in struct cli_options: const char * or bool */
};

extern const struct cli_option cli_option_rows[_CLI_OPTION_MAX];

/** What a command is about: the parts of the help. */
enum cli_topic {
	CLI_TOPIC_SEE,
	CLI_TOPIC_POLICY,
	CLI_TOPIC_ACT,
	CLI_TOPIC_PEOPLE,
	CLI_TOPIC_SELF,
	_CLI_TOPIC_MAX,
};

/** One row drives dispatch, usage, help, completion and the manual page. */
struct cli_command {
	const char *name, *sub; /* sub NULL: a command of one word */
	const char *arguments;  /* as shown in usage; "" for none */
	const char *summary;
	enum cli_topic topic;
	uint32_t options; /* beside --config, --json, --help: bits by enum cli_option_id */
	unsigned words_min, words_max;
	bool query;                  /* its words are a query: `-user:root` is no option */
	int (*run)(struct cli *cli); /* returns an exit status */
	const char *details;         /* for `help COMMAND`; NULL: none */
};

const struct cli_command *cli_commands(size_t *ret_count);

/**
 * Find the command and read its options.
 * @retval 0..  Exit status: CLI_DONE, or CLI_USAGE after a line on @p err.
 */
int cli_options_parse(int argc, const char *const *argv, FILE *err, struct cli_options *ret_options,
                      const struct cli_command **ret_command) _must_check_;
/** Usage of one command or (NULL) of all. */
void cli_help_print(FILE *out, const struct cli_command *command);

const char *cli_topic_title(enum cli_topic topic);
/** "policy log [options]": as in usage lines. */
void cli_usage_format(const struct cli_command *command, char *text, size_t size_bytes);
/** The manual page, portreeve(1) (manual.c). */
void cli_manual_print(FILE *out);

/* ---- times (time.c) ---- */

/**
 * A moment: "90s", "15m", "2h", "3d", "1w" (ago), "today", "yesterday", "15:40", a date, RFC 3339.
 * Words and clock times are local time; a clock time is the last one before now. PR_EINVAL.
 */
int cli_time_parse(const char *text, uint64_t now_wall_ns, uint64_t *ret_wall_ns) _must_check_;
/** A length of time in seconds: "90s", "15m", "2h", "3d", "1w". PR_EINVAL. */
int cli_duration_parse(const char *text, uint64_t *ret_s) _must_check_;

#define CLI_TIME_BYTES 40

/* ---- tables for people (table.c) ---- */

/** What the receiver of the output can show. */
struct cli_style {
	bool terminal; /* truncate, short times */
	bool color;
	bool utf8;
	unsigned columns; /* width of the terminal; 0: no end */
	uint64_t now_wall_ns;
};

/** From the environment: isatty, NO_COLOR, TERM, the locale. */
struct cli_style cli_style_of(FILE *out);

/** Local time on a terminal, with the date unless it is today's; ISO elsewhere; "-" for 0. */
const char *cli_time_format(const struct cli_style *style, uint64_t wall_ns,
                            char text[static CLI_TIME_BYTES]);

enum cli_tint { CLI_PLAIN, CLI_GOOD, CLI_BAD, CLI_WARN, CLI_MUTED };

struct cli_column {
	const char *title;
	unsigned most; /* characters on a terminal; 0: as long as it is */
};

typedef struct cli_table cli_table_t;

/** @p columns and @p style are borrowed. NULL: out of memory. */
cli_table_t *cli_table_new(const struct cli_style *style, FILE *out,
                           const struct cli_column *columns, size_t count);
void cli_table_destroy(cli_table_t **table_p);
/** The next cell, row by row; control characters are escaped. An empty text is shown as "-". */
void cli_table_cell(cli_table_t *table, enum cli_tint tint, const char *format, ...) _printf_(3, 4);
/**
 * As pr_log_escape() shows it, whole. Takes @p text, which is malloc'd, and gives one to free; NULL
 * when memory is out.
 */
char *cli_text_escape(char *text);
/** Cut in place to at most @p most characters (0: all), the last of them a mark. */
void cli_text_cut(char *text, size_t most);
/**
 * Rows will come one by one, after the titles: make the columns as wide as they will usually be.
 * The first one shows times. @param usual  Characters of each column; NULL: as their titles.
 */
void cli_table_widen(cli_table_t *table, const unsigned *usual);
/** Print the rows so far, with the titles the first time. Widths only grow. */
void cli_table_flush(cli_table_t *table);

/* ---- events (event.c) ---- */

struct cli_event {
	const codec_doc_t *row; /* EVENT_ROW, borrowed, as the texts are */
	struct codec_event event;
	struct pr_uuid agent;
	const char *rule_comment;
};

/** PR_EMALF: not one event. */
int cli_event_read(const codec_doc_t *row, struct cli_event *ret_event) _must_check_;
/** New reference; NULL: out of memory. */
json_t *cli_event_json(const struct cli_event *event);
extern const struct cli_column cli_event_columns[];
extern const unsigned cli_event_usual[]; /* characters of each, for cli_table_widen() */
size_t cli_event_column_count(bool wide);
void cli_event_cells(const struct cli_event *event, const struct cli_style *style, bool wide,
                     cli_table_t *table);

#define CLI_CELL_BYTES 512

bool cli_event_has_ports(uint8_t proto);
/** Of the process; "" for one of which only its UUID is known. */
const char *cli_event_process(const struct codec_event *event);
json_t *cli_event_src_json(const struct cli_event *event);
json_t *cli_event_dst_json(const struct cli_event *event);
/** A name with its mark, else the address. */
void cli_event_end_format(const struct cli_event *event, bool src,
                          char text[static CLI_CELL_BYTES]);
/** "?" and false: not known. */
bool cli_event_user_format(const struct codec_event *event, char text[static CLI_CELL_BYTES]);
bool cli_event_process_format(const struct codec_event *event, char text[static CLI_CELL_BYTES]);
/** "#20 comment"; false: no rule but what else decided. */
bool cli_event_rule_format(const struct cli_event *event, char text[static CLI_CELL_BYTES]);
enum cli_tint cli_event_verdict(uint8_t verdict, const struct cli_style *style,
                                const char **ret_glyph, const char **ret_word);
void cli_event_addr_cell(const struct codec_event *event, const struct pr_addr *addr, uint16_t port,
                         cli_table_t *table);

/* ---- connections with both ends (joined.c) ---- */

struct cli_joined {
	struct cli_event near_end, far_end;
	bool has_near, has_far; /* one at least */
	unsigned join;          /* CODEC_JOIN_* */
};

/** PR_EMALF: not a joined row. The row is borrowed. */
int cli_joined_read(const codec_doc_t *row, struct cli_joined *ret_joined) _must_check_;
/** The one that tells of the source, of the destination: its own end if that is there. */
const struct cli_event *cli_joined_src(const struct cli_joined *joined);
const struct cli_event *cli_joined_dst(const struct cli_joined *joined);
/** Time of its earlier end. */
uint64_t cli_joined_time_wall_ns(const struct cli_joined *joined);
/** What is missing, in a word or two and in a sentence; "": nothing. */
const char *cli_joined_missing(const struct cli_joined *joined, const char **ret_sentence);
/** tcp/8000, or tcp/8000>80 where the far end's port is another. */
void cli_joined_service_format(const struct cli_joined *joined, char text[static CLI_CELL_BYTES]);
/** Verdicts: one if they are the same. @p glyphs: without words. */
enum cli_tint cli_joined_verdict_format(const struct cli_joined *joined,
                                        const struct cli_style *style, bool glyphs,
                                        char text[static CLI_CELL_BYTES]);
/** Rules: one if they are the same. */
void cli_joined_rule_format(const struct cli_joined *joined, char text[static CLI_CELL_BYTES]);
/** New reference; NULL: out of memory. */
json_t *cli_joined_json(const struct cli_joined *joined);
/** The columns that fit the style. */
const struct cli_column *cli_joined_columns(const struct cli_style *style, bool wide,
                                            size_t *ret_count);
void cli_joined_cells(const struct cli_joined *joined, const struct cli_style *style, bool wide,
                      cli_table_t *table);

/* ---- from an accepted connection to the one that was opened for it (hop.c) ---- */

#define CLI_HOP_NS      (10 * PR_NS_PER_S) /* between accepting and opening */
#define CLI_HOP_ONCE_NS PR_NS_PER_S        /* the same of one who passes on at once */

/** A process at its end of a connection: one that it accepted, or opened. */
struct cli_hop {
	struct pr_uuid endpoint, agent;
	uint64_t time_wall_ns; /* of its packet */
	uint64_t latency_ns;   /* it waited for its verdict */
	uint32_t pid;          /* 0: not known */
	const char *exe;       /* empty: not known; borrowed */
	const void *of;        /* the connection */
	bool accepted, opened; /* neither: nothing is known of it, or it was denied */
};

enum cli_hop_kind { CLI_HOP_NONE, CLI_HOP_PROGRAM, CLI_HOP_PROCESS };

/**
 * Which accepted connections may have led to an opened one?
 * @param hops   At one endpoint, in order of time.
 * @param opened Index of it in @p hops.
 * @param fits   Filled, true for each that may have.
 * @param ret_count  How many.
 */
enum cli_hop_kind cli_hop_causes(const struct cli_hop *hops, size_t count, size_t opened,
                                 bool *fits, size_t *ret_count);

/* ---- endpoints and peers (endpoint.c) ---- */

/** One object on one line, not flushed. False: out of memory or not written. */
bool cli_endpoint_json_print(const codec_doc_t *endpoint, FILE *out);
extern const struct cli_column cli_endpoint_columns[];
size_t cli_endpoint_column_count(bool wide);
void cli_endpoint_cells(const codec_doc_t *endpoint, const struct cli_style *style, bool wide,
                        cli_table_t *table);
/** The page of one endpoint. */
void cli_endpoint_print(const codec_doc_t *endpoint, const struct cli_style *style, FILE *out);

/* ---- login sessions (logins.c) ---- */

#define CLI_SESSION_BYTES 257

/** A line of ENDPOINT's sessions, its words as the host has them. */
struct cli_session_line {
	char user[CLI_SESSION_BYTES], line[CLI_SESSION_BYTES], from[CLI_SESSION_BYTES];
	uint64_t pid, since_wall_ns;
};
void cli_session_read(const char *line, struct cli_session_line *ret_session);
json_t *cli_sessions_json(const codec_doc_t *endpoint);
/** The sessions of hosts, of one user or (NULL) all, and what the hosts do not tell. False: not
 * written, or out of memory. */
bool cli_sessions_show(struct cli *cli, codec_doc_t *const *hosts, size_t count, const char *name,
                       size_t *ret_shown);

/* ---- JSON helpers (json.c) ---- */

/** null for an empty text. */
json_t *cli_json_text(const char *text);
json_t *cli_json_uuid(const struct pr_uuid *id);
json_t *cli_json_time(uint64_t wall_ns);
json_t *cli_json_texts(const codec_doc_t *doc, unsigned field);
/** One line, not flushed; takes the reference. False: out of memory or not written. */
bool cli_json_print(json_t *object, FILE *out);
/**
 * Without an object, for lists of ten thousand that are too slow to make. Nothing is put behind.
 * The first takes the reference; an empty text is null; the last prints BEFORE as it is, then the
 * text. False: out of memory or not written.
 */
bool cli_json_value_print(json_t *value, FILE *out);
bool cli_json_text_print(const char *text, FILE *out);
bool cli_json_member_print(const char *before, const char *text, FILE *out);

/* ---- configuration (config.c) ---- */

struct cli_config {
	char *key;
	struct pr_conf_list controllers;
	char *controller_key, *authority_key;
	uint64_t timeout_ns;
};

extern const struct pr_conf_row cli_config_rows[];
extern const size_t cli_config_row_count;

#define CLI_PATH_BYTES 4096

/** Where the configuration is read from; an exit status. */
int cli_config_find(struct cli *cli, char path[static CLI_PATH_BYTES]) _must_check_;
/** ~/.config/portreeve/NAME. PR_ENOENT: no home. */
int cli_config_home(const char *name, char path[static CLI_PATH_BYTES]) _must_check_;

/* ---- talking (session.c) ---- */

struct cli_peer {
	bus_client_t *client;
	char what[192];       /* "controller tcp://..." */
	uint64_t patience_ns; /* silence allowed while the connection stands, beyond the time limit
	                       */
};

struct cli_session {
	struct cli_config config;
	char config_path[CLI_PATH_BYTES];
	bool configured;
	struct pr_uuid id;
	struct bus_key key;
	bus_context_t *context;
	struct cli_peer controller, recorder;
	uint64_t next_request;
};

struct cli {
	FILE *out, *err;
	struct cli_style style;
	struct cli_options options;
	const struct cli_command *command;
	struct cli_session session;
	bool absent_is_fine; /* an answer "no such ..." is CLI_NOT_FOUND and not said */
};

/** Error line "portreeve: ..." on cli->err; evaluates to the status given. */
int cli_fail(struct cli *cli, enum cli_exit status, const char *format, ...) _printf_(3, 4);
/** A note for people on cli->err. */
void cli_note(struct cli *cli, const char *format, ...) _printf_(2, 3);
/** Exit status of an error code. */
enum cli_exit cli_exit_of(int error);

/** Read the configuration and the key, start the bus. An exit status. */
int cli_session_open(struct cli *cli) _must_check_;
/** Connect with any key; the caller says what it is in peer->what. An exit status. */
int cli_peer_open(struct cli *cli, const char *endpoint, const uint8_t *server_key,
                  const struct bus_key *key, size_t frame_max_bytes,
                  struct cli_peer *peer) _must_check_;
/** Connections, made when first asked for: the first controller that answers; the recorder that
 * the signed directory names. An exit status. */
int cli_controller_get(struct cli *cli, struct cli_peer **ret_peer) _must_check_;
int cli_recorder_get(struct cli *cli, struct cli_peer **ret_peer) _must_check_;
void cli_session_done(struct cli_session *session);

/** Called for each item of a list; may take the document. False: stop (out of memory). */
typedef bool (*cli_visit_fn)(void *arg, codec_doc_t **item_p);

/**
 * Send a request under a new id and wait for its answer: OK or END, or without @p visit any first
 * document. An ERROR is said on cli->err. An exit status.
 *
 * @param visit       Gets what comes before END; NULL: the first answer is the last.
 * @param ret_answer  The last document; may be NULL. Caller destroys.
 */
int cli_ask(struct cli *cli, struct cli_peer *peer, codec_doc_t *request, cli_visit_fn visit,
            void *arg, codec_doc_t **ret_answer) _must_check_;
/** Is this an answer to the request of this id? */
bool cli_answers(const codec_doc_t *doc, uint64_t id);
/** Send when the connection stands, at most the time limit. An exit status. */
int cli_send(struct cli *cli, struct cli_peer *peer, const codec_doc_t *request) _must_check_;
/** Say an ERROR document; its exit status. */
int cli_refused(struct cli *cli, const codec_doc_t *error) _must_check_;

/* ---- commands: each returns an exit status ---- */

/* request.c: takes @p request, which may be NULL */
/** Ask the controller for one answer. */
int cli_controller_ask(struct cli *cli, codec_doc_t *request,
                       codec_doc_t **ret_answer) _must_check_;
/** Ask it for a list. */
int cli_controller_list(struct cli *cli, codec_doc_t *request, cli_visit_fn visit,
                        void *arg) _must_check_;
/** Say the controller's OK: what was done and how to undo it. @p number_name in JSON; may be NULL.
 */
int cli_done_say(struct cli *cli, const codec_doc_t *answer, const char *number_name,
                 const char *fallback);
/** -n. */
int cli_limit_read(struct cli *cli, uint64_t *ret_limit) _must_check_;
int cli_rule_number(struct cli *cli, const char *text, uint64_t *ret_number) _must_check_;
/** Name the committer's own connections in a request. */
void cli_connections_add(codec_doc_t *request, unsigned field);

/* policy_edit.c */
#define CLI_LINE_BYTES 8192 /* a line of policy, every byte with a backslash */
/**
 * Words of the command line as a line of policy: those with blanks in quotes. One word alone is the
 * line as it is. @p first stands in front; NULL: nothing.
 */
int cli_words_join(struct cli *cli, const char *first, const char *const *words, size_t count,
                   char line[static CLI_LINE_BYTES]) _must_check_;

/* file.c */
/** All of a file ("-": standard input), terminated, malloc'd; without NUL bytes inside. */
int cli_file_read(struct cli *cli, const char *path, char **ret_text,
                  size_t *ret_bytes) _must_check_;
/** Make a file of the user's own with a text in it. */
int cli_file_make(struct cli *cli, const char *text, char path[static CLI_PATH_BYTES]) _must_check_;

/* program.c */
/** A file without a name that holds a text; shown to programs as /proc/self/fd/N. Negative errno.
 */
int cli_text_fd(const char *text) _must_check_;
/**
 * Run a program and take its output. An exit status of ours; the program's own in @p ret_exit.
 * @param ret_output  NULL: it keeps our terminal. Else malloc'd text.
 */
int cli_program_run(struct cli *cli, const char *const *argv, int *ret_exit,
                    char **ret_output) _must_check_;

/* policy_text.c, policy_file.c, for their kin */
/** Print the difference of two texts. @p ret_differ may be NULL. */
int cli_diff_print(struct cli *cli, const char *old_label, const char *old_text,
                   const char *new_label, const char *new_text, bool *ret_differ) _must_check_;
/** Behind a refused commit: what the other did, and what the draft does. */
int cli_policy_conflict_show(struct cli *cli);
/** Read a text, say its errors. */
int cli_policy_text_check(struct cli *cli, const char *path, const char *text, size_t size_bytes,
                          size_t *ret_rules) _must_check_;
/** Make a text the draft. @param base  0: the revision in force. */
int cli_policy_import(struct cli *cli, const char *text, uint64_t base,
                      codec_doc_t **ret_answer) _must_check_;

/* hosts.c */
/** Ask for endpoints and print them; @p nobody is said if there are none. Takes the request. */
int cli_endpoints_list(struct cli *cli, codec_doc_t *request, const char *nobody) _must_check_;

/* policy.c, for its kin */
/** "draft", a number; NULL: 0, the one in force. */
int cli_revision_read(struct cli *cli, const char *text, uint64_t *ret_revision) _must_check_;
int cli_policy_fetch(struct cli *cli, uint64_t revision, codec_doc_t **ret_policy) _must_check_;
/** The policy that the first word names: "draft", a revision, nothing: the one in force. */
int cli_policy_get(struct cli *cli, codec_doc_t **ret_policy) _must_check_;
/** A note on which policy this is, by whom and why. */
void cli_policy_say(struct cli *cli, const codec_doc_t *policy);

int cli_run_status(struct cli *cli);
int cli_run_hosts(struct cli *cli);
int cli_run_show(struct cli *cli);
int cli_run_group_members(struct cli *cli);
/* events.c, for its kin */
#define CLI_SEARCH_NS (120 * PR_NS_PER_S) /* a search may find nothing for so long */
/** The words as a query, checked. */
int cli_query_make(struct cli *cli, char *text, size_t room);

int cli_run_events(struct cli *cli);
int cli_run_users(struct cli *cli);
int cli_run_trace(struct cli *cli);
int cli_run_policy_check(struct cli *cli);
int cli_run_policy_list(struct cli *cli);
int cli_run_policy_show(struct cli *cli);
int cli_run_policy_import(struct cli *cli);
int cli_run_policy_export(struct cli *cli);
int cli_run_policy_commit(struct cli *cli);
int cli_run_policy_log(struct cli *cli);
int cli_run_policy_rollback(struct cli *cli);
int cli_run_policy_edit(struct cli *cli);
int cli_run_policy_add(struct cli *cli);
int cli_run_policy_rm(struct cli *cli);
int cli_run_policy_mv(struct cli *cli);
int cli_run_policy_enable(struct cli *cli);
int cli_run_policy_disable(struct cli *cli);
int cli_run_policy_stage(struct cli *cli);
int cli_run_policy_diff(struct cli *cli);
int cli_run_policy_rebase(struct cli *cli);
int cli_run_policy_confirm(struct cli *cli);
int cli_run_policy_discard(struct cli *cli);
int cli_run_group_list(struct cli *cli);
int cli_run_group_create(struct cli *cli);
int cli_run_group_preview(struct cli *cli);
int cli_run_usergroup_list(struct cli *cli);
int cli_run_usergroup_create(struct cli *cli);
int cli_run_usergroup_members(struct cli *cli);
int cli_run_explain(struct cli *cli);
int cli_run_reach(struct cli *cli);
int cli_run_audit(struct cli *cli);
int cli_run_quarantine(struct cli *cli);
int cli_run_release(struct cli *cli);
int cli_run_remove(struct cli *cli);
int cli_run_mode(struct cli *cli);
int cli_run_enroll(struct cli *cli);
int cli_run_join(struct cli *cli);
int cli_run_agent_list(struct cli *cli);
int cli_run_agent_approve(struct cli *cli);
int cli_run_agent_revoke(struct cli *cli);
int cli_run_help(struct cli *cli);
int cli_run_version(struct cli *cli);
int cli_run_completion(struct cli *cli);

/** The whole program. Streams are borrowed. Returns the exit status. */
int cli_main(int argc, const char *const *argv, FILE *out, FILE *err);
