/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Messages <-> bytes. Pure: no socket, no clock. The table is msg.def; doc/protocol.md is made of
 * it.
 *
 * A frame is a MessagePack array of three: type (uint 16), version (uint 16: major * 256 + minor),
 * body. Hot messages: the body is an array 16 of records, each an array 16 of constant-width
 * elements, so that encoding is a template copy and decoding a masked compare and loads at fixed
 * offsets; any MessagePack reader can read it. TEXTn is a str 8 of exactly n bytes, padded with
 * NUL. Control messages ("documents"): the body is a map of field name -> value; unknown names are
 * skipped, absent ones are zero or empty.
 *
 * A frame must be consumed exactly. A newer major version is PR_EVERS. Everything else that does
 * not fit is PR_EMALF. Documents pass a pre-scan before msgpack-c sees them (count by remaining
 * bytes, depth at most 4, string lengths), so six bytes cannot make us reserve gigabytes.
 * Threads: pure, any thread; one document belongs to one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/id.h"

#define CODEC_VERSION_MAJOR   1
#define CODEC_VERSION_MINOR   0
#define CODEC_FRAME_MAX_BYTES 65536      /* on request, worker and event sockets */
#define CODEC_DOC_MAX_BYTES   (32 << 20) /* on admin sockets: a whole policy */
#define CODEC_BATCH_MAX       64         /* records a frame, of any hot message */
#define CODEC_NO_RULE         UINT32_MAX
#define CODEC_NO_UID          UINT32_MAX
#define CODEC_REVISION_DRAFT  UINT64_MAX

enum codec_type {
#define HOT(NAME, number, name, direction, doc) CODEC_##NAME = (number),
#define DOC(NAME, number, name, direction, doc) CODEC_##NAME = (number),
#include "codec/msg.def"
};

/* Values of the small enumerations on the wire; text by codec_enum_text(). */
/* clang-format off */
#define CODEC_ENUM_LIST(E)                                                                        \
	E(END, NEAR, 0, "near") E(END, FAR, 1, "far") E(END, BOTH, 2, "both")                     \
	E(KNOWN, ABSENT, 0, "absent") E(KNOWN, UNKNOWN, 1, "unknown") E(KNOWN, KNOWN, 2, "known") \
	E(ACTION, DENY, 0, "deny") E(ACTION, ALLOW, 1, "allow") E(ACTION, REJECT, 2, "reject")    \
	E(MODE, OBSERVE, 0, "observe") E(MODE, ENFORCE, 1, "enforce")                             \
	E(REPORTER, INITIATOR, 0, "initiator") E(REPORTER, TERMINATOR, 1, "terminator")           \
	E(REPORTER, BOUNDARY, 2, "boundary")                                                      \
	E(EVENT_VERDICT, DENIED, 0, "denied") E(EVENT_VERDICT, ALLOWED, 1, "allowed")             \
	E(EVENT_VERDICT, REJECTED, 2, "rejected") E(EVENT_VERDICT, WOULD_DENY, 3, "would-deny")   \
	E(DECIDED_BY, WORKER, 0, "worker") E(DECIDED_BY, LEASE, 1, "lease")                       \
	E(DECIDED_BY, OBSERVE, 2, "observe") E(DECIDED_BY, BUILT_IN, 3, "built-in")               \
	E(DECIDED_BY, QUARANTINE, 4, "quarantine")                                                \
	E(DECIDED_BY, LOST_CONTROLLER, 5, "lost-controller")                                      \
	E(DECIDED_BY, DEADLINE, 6, "deadline") E(DECIDED_BY, QUEUE_FULL, 7, "queue-full")         \
	E(DECIDED_BY, BOUNDARY, 8, "boundary")                                                    \
	E(UNKNOWN, NONE, 0, "") E(UNKNOWN, PROCESS_GONE, 1, "process gone before it was read")    \
	E(UNKNOWN, NO_SOCKET, 2, "no socket for this packet")                                     \
	E(UNKNOWN, AMBIGUOUS, 3, "several processes hold the socket")                             \
	E(UNKNOWN, KERNEL, 4, "kernel") E(UNKNOWN, NOT_TRIED, 5, "not tried: too busy")           \
	E(UNKNOWN, NO_NOTICE, 6, "the source's agent said nothing in time")                       \
	E(UNKNOWN, NO_LISTENER, 7, "no process listens there")                                    \
	E(UNKNOWN, MALFORMED, 8, "malformed packet")                                              \
	E(UNKNOWN, NEWBORN, 9, "not told yet, but a new container may have sent: ask again")        \
	E(UNKNOWN, ENDPOINT, 10, "which endpoint of its namespace it is cannot be told")           \
	E(JOIN, BOTH, 0, "both ends") E(JOIN, LATE, 1, "completes a row shown before")            \
	E(JOIN, FAR_UNSEEN, 2, "far end not seen") E(JOIN, NEAR_UNSEEN, 3, "near end not seen")   \
	E(JOIN, FAR_STRANGE, 4, "far end: no agent there")                                        \
	E(JOIN, NEAR_STRANGE, 5, "near end: no agent there")                                      \
	E(JOIN, STOPPED, 6, "stopped at the near end, far end not reached")                       \
	E(JOIN, LOOPBACK, 7, "one report for both ends: within one host or container")            \
	E(JOIN, BOUNDARY, 8, "seen at the boundary, no end reported")                             \
	E(JOIN, NO_ID, 9, "cannot be joined: no worker was asked, so it has no connection id")    \
	E(JOIN, UNTOLD, 10, "cannot be joined: the near end said nothing in time, or several fit") \
	E(JOIN, NEAR_UNKNOWN, 11, "cannot be joined: the near end is not known")                  \
	E(JOIN, SEVERAL_NEAR, 12, "cannot be joined: several near ends fit")                      \
	E(JOIN, SEVERAL_FAR, 13, "cannot be joined: several far ends fit")                        \
	E(JOIN, TAKEN, 14, "cannot be joined: another end was joined to its other end")           \
	E(JOIN, OTHER_SERVICE, 15, "cannot be joined: the ends disagree on protocol or port")     \
	E(JOIN, OTHER_ADDRESS, 16, "cannot be joined: the ends disagree on addresses")            \
	E(JOIN, OTHER_ENDPOINT, 17, "cannot be joined: the ends disagree on who is at them")      \
	E(JOIN, OTHER_TIME, 18, "cannot be joined: the ends are too far apart in time")           \
	E(JOIN, NOT_OWN, 19, "cannot be joined: its agent is not known to have that endpoint")    \
	E(JOIN, CROWDED, 20, "cannot be joined: too many at once")
/* clang-format on */

enum codec_enum_value {
#define E(SET, NAME, value, text) CODEC_##SET##_##NAME = (value),
	CODEC_ENUM_LIST(E)
#undef E
};

enum codec_enum_set {
	CODEC_SET_END,
	CODEC_SET_KNOWN,
	CODEC_SET_ACTION,
	CODEC_SET_MODE,
	CODEC_SET_REPORTER,
	CODEC_SET_EVENT_VERDICT,
	CODEC_SET_DECIDED_BY,
	CODEC_SET_UNKNOWN,
	CODEC_SET_JOIN,
};

/** Text of a value of a set; "?" for one that is not in it. Static. */
const char *codec_enum_text(enum codec_enum_set set, unsigned value);
/** Value by text; PR_ENOENT. */
int codec_enum_parse(enum codec_enum_set set, const char *text, unsigned *ret_value) _must_check_;

/* One struct a hot message: struct codec_request, codec_verdict, codec_event, codec_event_ack,
 * codec_notice. Text fields are NUL-terminated here (one byte longer than on the wire). */
#define CODEC_C_U8(name)      uint8_t name
#define CODEC_C_U16(name)     uint16_t name
#define CODEC_C_U32(name)     uint32_t name
#define CODEC_C_U64(name)     uint64_t name
#define CODEC_C_UUID(name)    struct pr_uuid name
#define CODEC_C_ADDR(name)    struct pr_addr name
#define CODEC_C_TEXT32(name)  char name[33]
#define CODEC_C_TEXT128(name) char name[129]

#include "codec/hot.h"

/** The notice of a near end, with the wire as its request has it. */
struct codec_notice codec_notice_of(const struct codec_request *request, uint64_t connection);

/**
 * Bytes that somebody chose freely (a file's name, a user's) as a text: as they are where they are
 * UTF-8 without NUL and do not begin with ":". Else ":" and the bytes, of which each that is no
 * such text, and "%", is "%XX", two upper-case hex digits. Different bytes give different texts.
 *
 * @return  false: it does not fit @p size_bytes (at least 2, with the terminator); text is empty.
 */
bool codec_bytes_format(const void *bytes, size_t count, char *text, size_t size_bytes);
/**
 * The bytes that such a text stands for. False: more than @p size_bytes, or "%" without two such
 * digits behind a ":"; bytes may have been written.
 */
bool codec_bytes_parse(const char *text, char *bytes, size_t size_bytes,
                       size_t *ret_count) _must_check_;

/**
 * Put a path into a text of at most @p size_bytes with the terminator, as codec_bytes_format();
 * what does not begin with "/" in the second form, too. Where it does not fit: "#" and the UUIDv5
 * of the path.
 */
void codec_path_set(char *text, size_t size_bytes, const char *path);

/** Type of a frame without reading on. PR_EMALF, PR_EVERS. */
int codec_frame_type(const uint8_t *data, size_t size_bytes,
                     enum codec_type *ret_type) _must_check_;

/** Bytes of one record of a hot message on the wire; 0 for a type that is not hot. */
size_t codec_record_bytes(enum codec_type type);

/**
 * Encode records of a hot message into one frame.
 *
 * @param records  Array of the type's struct.
 * @param count    1..CODEC_BATCH_MAX (and what fits CODEC_FRAME_MAX_BYTES).
 * @param data     Room for CODEC_FRAME_MAX_BYTES, or codec_frame_bytes(type, count).
 * @retval PR_ETOOBIG  Too many records or too little room.
 */
int codec_records_encode(enum codec_type type, const void *records, size_t count, uint8_t *data,
                         size_t size_bytes, size_t *ret_bytes) _must_check_;
size_t codec_frame_bytes(enum codec_type type, size_t count);
/**
 * Append the records of one frame to another of the same hot type, without decoding them.
 *
 * @param frame_bytes  Of the frame so far; 0: it is empty. Grows.
 * @retval PR_ETOOBIG  They do not fit one frame: send what is there first. Nothing was changed.
 * @retval PR_EMALF    Not a frame of that type.
 */
int codec_records_join(enum codec_type type, uint8_t frame[static CODEC_FRAME_MAX_BYTES],
                       size_t *frame_bytes, const uint8_t *more, size_t more_bytes) _must_check_;

/**
 * Decode a frame of a hot message.
 *
 * @param records    Room for CODEC_BATCH_MAX structs of the type.
 * @param ret_count  1..CODEC_BATCH_MAX.
 * @retval PR_EMALF  Not exactly such a frame; an enumeration out of range; text not terminated by
 *                   NUL padding; records may have been written.
 * @retval PR_EVERS
 */
int codec_records_decode(enum codec_type type, const uint8_t *data, size_t size_bytes,
                         void *records, size_t *ret_count) _must_check_;

/* ---- texts of an event that every program writes in the same way ---- */

#define CODEC_EVENT_TEXT_BYTES 64

/** An event's id, "AGENT-SEQ": the agent's UUID and its number. Returns @p text. */
const char *codec_event_id_format(const struct pr_uuid *agent, uint64_t seq,
                                  char text[static CODEC_EVENT_TEXT_BYTES]);
/** A connection's id: 16 hex digits; "" for 0, which is none. Returns @p text. */
const char *codec_connection_format(uint64_t connection, char text[static CODEC_EVENT_TEXT_BYTES]);
/** "tcp", "udp", "icmp", "icmp6", else the number. Returns @p text. */
const char *codec_proto_format(uint8_t proto, char text[static CODEC_EVENT_TEXT_BYTES]);
/** As policy writes it: "tcp/80", "icmp/8" (the type), "proto/47". Returns @p text. */
const char *codec_service_format(uint8_t proto, uint16_t dst_port,
                                 char text[static CODEC_EVENT_TEXT_BYTES]);

/* ---- documents ---- */

typedef struct codec_doc codec_doc_t;

/* Fields by position in their message: CODEC_ENDPOINT_NAME and so on. */
#include "codec/docfields.h"

/** New, empty document of a control message type. NULL: out of memory. */
codec_doc_t *codec_doc_new(enum codec_type type);
void codec_doc_destroy(codec_doc_t **doc_p);
enum codec_type codec_doc_type(const codec_doc_t *doc);

/* Setters copy. Errors (out of memory, too large) are sticky and returned by codec_doc_encode(). */
void codec_doc_set_u64(codec_doc_t *doc, unsigned field, uint64_t value); /* also BOOL */
void codec_doc_set_text(codec_doc_t *doc, unsigned field, const char *text);
void codec_doc_set_uuid(codec_doc_t *doc, unsigned field, const struct pr_uuid *id);
void codec_doc_set_blob(codec_doc_t *doc, unsigned field, const void *data, size_t size_bytes);
void codec_doc_add_text(codec_doc_t *doc, unsigned field, const char *text); /* TEXTS: append */
void codec_doc_addf(codec_doc_t *doc, unsigned field, const char *format, ...) _printf_(3, 4);

/* Getters borrow from the document; absent: 0, "", null UUID, no items. Never NULL text. */
uint64_t codec_doc_u64(const codec_doc_t *doc, unsigned field);
const char *codec_doc_text(const codec_doc_t *doc, unsigned field);
struct pr_uuid codec_doc_uuid(const codec_doc_t *doc, unsigned field);
const uint8_t *codec_doc_blob(const codec_doc_t *doc, unsigned field, size_t *ret_bytes);
size_t codec_doc_count(const codec_doc_t *doc, unsigned field);
const char *codec_doc_item(const codec_doc_t *doc, unsigned field, size_t index);

/**
 * Encode. @p ret_data is malloc'd; caller frees.
 * @retval PR_ENOMEM
 * @retval PR_ETOOBIG  Over CODEC_DOC_MAX_BYTES.
 */
int codec_doc_encode(const codec_doc_t *doc, uint8_t **ret_data, size_t *ret_bytes) _must_check_;

/**
 * The same with the fields of an encoded document of the same type in front, which is not decoded:
 * for sending on what is stored with a word of one's own.
 * @param before  As codec_doc_encode() made it; none of its fields may be set in @p doc.
 * @retval PR_EMALF  It is not such a document.
 */
int codec_doc_encode_behind(const codec_doc_t *doc, const uint8_t *before, size_t before_bytes,
                            uint8_t **ret_data, size_t *ret_bytes) _must_check_;

/**
 * Decode a control message. Caller destroys.
 * @retval PR_EMALF  Also for text with NUL inside or invalid UTF-8, a key twice, a wrong type.
 * @retval PR_EVERS
 * @retval PR_ENOMEM
 */
int codec_doc_decode(const uint8_t *data, size_t size_bytes, codec_doc_t **ret_doc) _must_check_;

/**
 * May the agent of @p host speak for it? ENDPOINT messages: of the host itself, and of what lives
 * there under the UUID that follows from its container id or, without one, from host and name.
 */
bool codec_endpoint_is_of(const codec_doc_t *endpoint, const struct pr_uuid *host);

/* ---- joining: what agent, recorder and command line send with a one-time token ---- */

/** The answer to a newcomer. */
struct codec_joined {
	char role[16];             /* given */
	uint8_t authority_key[32]; /* Ed25519, public */
	bool pending;              /* waits for approval */
	char refusal[256];         /* why not, for people; empty: welcome */
};

/** Encode ENROLL. @p ret_data is malloc'd. */
int codec_join_encode(const struct pr_uuid *id, const uint8_t public_key[static 32],
                      const char *name, uint8_t **ret_data, size_t *ret_bytes) _must_check_;

/**
 * Decode what came back.
 * @retval PR_OK      Welcome.
 * @retval PR_EACCES  Refused; see refusal.
 * @retval PR_EMALF   Neither ENROLLED nor ERROR, or without a key.
 */
int codec_join_decode(const uint8_t *data, size_t size_bytes,
                      struct codec_joined *ret_joined) _must_check_;

/* ---- the table, for printers and documents ---- */

enum codec_kind {
	CODEC_KIND_U8,
	CODEC_KIND_U16,
	CODEC_KIND_U32,
	CODEC_KIND_U64,
	CODEC_KIND_BOOL,
	CODEC_KIND_UUID,
	CODEC_KIND_ADDR,
	CODEC_KIND_TEXT32,
	CODEC_KIND_TEXT128,
	CODEC_KIND_TEXT,
	CODEC_KIND_BLOB,
	CODEC_KIND_TEXTS,
};

struct codec_field {
	const char *name;
	enum codec_kind kind;
	size_t offset; /* in the hot struct; 0 in documents */
	const char *unit, *doc;
};

struct codec_message {
	enum codec_type type;
	bool hot;
	const char *name, *direction, *doc;
	const struct codec_field *fields;
	size_t field_count;
	size_t struct_bytes; /* hot: sizeof the struct */
};

/** All messages in order of number. */
const struct codec_message *codec_messages(size_t *ret_count);
/** NULL when unknown. */
const struct codec_message *codec_message_find(enum codec_type type);
