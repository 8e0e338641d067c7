/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * Plays tests/scenario/NAME.scn: endpoints, policy and requests in, verdicts out, through a
 * worker's real frames with a fake clock. The language is in tests/scenario/README.md.
 */

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "controller/worker.h"
#include "tests/tap.h"

#define WORDS_MAX     32
#define LINE_BYTES    1024
#define ASKED_MAX     64
#define ADDRESSES_MAX 16
#define START_WALL_NS (1800000000ULL * PR_NS_PER_S)

struct place {
	char name[32], host[32];
	uint64_t namespace_inode;
	struct directory_address addresses[ADDRESSES_MAX];
	size_t address_count;
};

struct asked {
	char name[32];
	uint64_t id;
	bool answered;
	struct codec_verdict verdict;
};

static struct {
	const char *file;
	size_t line;
	char title[256];
	directory_t *directory;
	policy_image_t *image;
	struct quarantine isolated[8];
	struct quarantine_set quarantine;
	worker_t *worker;
	struct place places[64];
	size_t place_count;
	struct asked asked[ASKED_MAX];
	size_t asked_count;
	uint64_t now_ns, revision;
} play;

static void fatal(const char *what)
{
	(void)printf("Bail out! %s:%zu: %s\n", play.file, play.line, what);
	exit(1);
}

static struct pr_uuid id_of(const char *name)
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
		fatal("the worker sent something that is no verdict");
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

/* Another process takes the place of the worker: it knows directory and policy, and no flow. */
static void worker_restart(void)
{
	struct worker_ops ops = { .send = take_verdicts, .look = look };

	worker_destroy(&play.worker);
	play.worker = worker_new(&ops, 4711);
	if (play.worker == NULL) {
		fatal("out of memory");
	}
}

static void play_reset(void)
{
	worker_restart();
	policy_image_destroy(&play.image);
	directory_destroy(&play.directory);
	play.directory = directory_new();
	play.place_count = play.asked_count = 0;
	play.quarantine = (struct quarantine_set){ .items = play.isolated };
	play.now_ns = PR_NS_PER_S;
	play.revision = 0;
	if (play.directory == NULL) {
		fatal("out of memory");
	}
}

/* ---- endpoints ---- */

static struct place *place_of(const char *name)
{
	for (size_t i = 0; i < play.place_count; i++) {
		if (strcmp(play.places[i].name, name) == 0) {
			return &play.places[i];
		}
	}
	fatal("no such endpoint");
	return NULL;
}

static void place_put(const struct place *place)
{
	bool host = strcmp(place->name, place->host) == 0;
	struct directory_endpoint endpoint = {
		.policy = { .id = id_of(place->name),
		            .kind = host ? POLICY_HOST : POLICY_CONTAINER,
		            .name = place->name,
		            .host_id = id_of(place->host),
		            .host_name = host ? NULL : place->host },
		.agent = id_of(place->host),
		.namespace_inode = place->namespace_inode,
		.addresses = place->addresses,
		.address_count = place->address_count,
	};

	if (directory_put(play.directory, &endpoint) != PR_OK) {
		fatal("directory");
	}
}

static void add_address(struct place *place, const char *scope, const char *address)
{
	char text[160], id[PR_UUID_TEXT_BYTES];
	struct pr_uuid network = id_of(scope);

	if (strcmp(scope, "global") != 0) {
		scope = pr_uuid_format(&network, id);
	}
	(void)snprintf(text, sizeof(text), "%s %s", scope, address);
	if (place->address_count == ADDRESSES_MAX ||
	    directory_address_parse(text, &place->addresses[place->address_count++]) != PR_OK) {
		fatal("address");
	}
	place_put(place);
}

static struct place *place_new(const char *name, const char *host, uint64_t namespace_inode)
{
	struct place *place = &play.places[play.place_count++];

	if (play.place_count == PR_ARRAY_LEN(play.places)) {
		fatal("too many endpoints");
	}
	*place = (struct place){ .namespace_inode = namespace_inode };
	(void)snprintf(place->name, sizeof(place->name), "%s", name);
	(void)snprintf(place->host, sizeof(place->host), "%s", host);
	place_put(place);
	return place;
}

/* ---- policy ---- */

static void policy_set(const char *text)
{
	static struct policy_errors errors;
	policy_model_t *model = NULL;
	struct policy_endpoint *endpoints = NULL;
	size_t count = 0;

	if (policy_text_parse(text, strlen(text), &errors, &model) != PR_OK) {
		fatal(errors.count > 0 ? errors.items[0].message : "policy");
	}
	policy_image_destroy(&play.image);
	if (directory_policy_endpoints(play.directory, &endpoints, &count) != PR_OK ||
	    policy_image_compile(model, endpoints, count, ++play.revision, &play.image) != PR_OK) {
		fatal("compile");
	}
	policy_model_destroy(&model);
	free(endpoints);
}

/* ---- requests ---- */

static const char *value_of(char **words, size_t count, const char *key)
{
	size_t length = strlen(key);

	for (size_t i = 0; i < count; i++) {
		if (strncmp(words[i], key, length) == 0 && words[i][length] == '=') {
			return words[i] + length + 1;
		}
	}
	return NULL;
}

/* "192.0.2.1:80", "[2001:db8::1]:80" or an address alone. */
static void socket_parse(const char *text, struct pr_addr *ret_addr, uint16_t *ret_port)
{
	char address[64];
	const char *colon = strrchr(text, ':');
	bool bracket = text[0] == '[';
	bool has_port = colon != NULL && (bracket || strchr(text, ':') == colon);
	size_t length = has_port ? (size_t)(colon - text) : strlen(text);

	if (length >= sizeof(address)) {
		fatal("address");
	}
	memcpy(address, text + (bracket ? 1 : 0), length - (bracket ? 2 : 0));
	address[length - (bracket ? 2 : 0)] = '\0';
	*ret_port = has_port ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
	if (pr_addr_parse(address, ret_addr) != PR_OK) {
		fatal("address");
	}
}

static uint8_t proto_of(const char *text)
{
	if (text == NULL || strcmp(text, "tcp") == 0) {
		return 6;
	}
	if (strcmp(text, "udp") == 0) {
		return 17;
	}
	return strcmp(text, "icmp") == 0 ? 1 : (uint8_t)strtoul(text, NULL, 10);
}

static uint32_t attempt_parse(char **words, size_t count)
{
	const char *attempt = value_of(words, count, "attempt");

	return attempt != NULL ? (uint32_t)strtoul(attempt, NULL, 10) : 0;
}

static void who_parse(char **words, size_t count, const char *prefix, uint8_t *ret_state,
                      uint32_t *ret_uid, char user[33], char exe[129])
{
	char key[32];
	(void)snprintf(key, sizeof(key), "%s-uid", prefix);
	const char *uid = value_of(words, count, key);
	(void)snprintf(key, sizeof(key), "%s-user", prefix);
	const char *name = value_of(words, count, key);
	(void)snprintf(key, sizeof(key), "%s-exe", prefix);
	const char *path = value_of(words, count, key);

	*ret_uid = uid != NULL ? (uint32_t)strtoul(uid, NULL, 10) : CODEC_NO_UID;
	(void)snprintf(user, 33, "%s", name != NULL ? name : "");
	(void)snprintf(exe, 129, "%s", path != NULL ? path : "");
	*ret_state = uid != NULL || path != NULL ? CODEC_KNOWN_KNOWN : CODEC_KNOWN_UNKNOWN;
}

static struct codec_request request_parse(char **words, size_t count)
{
	struct codec_request request = { .held = 1,
		                         .proto = proto_of(value_of(words, count, "proto")) };
	const char *src = value_of(words, count, "src"), *dst = value_of(words, count, "dst");
	const char *wire_src = value_of(words, count, "wire-src");
	const char *wire_dst = value_of(words, count, "wire-dst");
	uint16_t ignored = 0;
	unsigned end = 0;

	if (codec_enum_parse(CODEC_SET_END, words[2], &end) != PR_OK || src == NULL ||
	    dst == NULL) {
		fatal("ask NAME near|far|both REPORTER src=A:P dst=A:P");
	}
	request.end = (uint8_t)end;
	request.reporter = id_of(words[3]);
	socket_parse(src, &request.src, &request.src_port);
	socket_parse(dst, &request.dst, &request.dst_port);
	socket_parse(wire_src != NULL ? wire_src : src, &request.wire_src, &ignored);
	socket_parse(wire_dst != NULL ? wire_dst : dst, &request.wire_dst, &request.wire_dst_port);
	request.attempt = attempt_parse(words, count);
	who_parse(words, count, "from", &request.from_state, &request.from_uid, request.from_user,
	          request.from_exe);
	who_parse(words, count, "to", &request.to_state, &request.to_uid, request.to_user,
	          request.to_exe);
	if (value_of(words, count, "taker") != NULL) {
		request.to_endpoint = id_of(value_of(words, count, "taker"));
	}
	if (end == CODEC_END_NEAR) {
		request.to_state = CODEC_KNOWN_ABSENT;
	} else if (end == CODEC_END_FAR) {
		request.from_state = CODEC_KNOWN_ABSENT;
	}
	return request;
}

static struct asked *asked_of(const char *name)
{
	for (size_t i = 0; i < play.asked_count; i++) {
		if (strcmp(play.asked[i].name, name) == 0) {
			return &play.asked[i];
		}
	}
	return NULL;
}

static void frame_give(enum codec_type type, const void *record, struct pr_uuid agent)
{
	static uint8_t data[CODEC_FRAME_MAX_BYTES];
	size_t size_bytes = 0;

	if (codec_records_encode(type, record, 1, data, sizeof(data), &size_bytes) != PR_OK) {
		fatal("encode");
	}
	struct bus_frame frame = { .peer = { .id = agent, .role = BUS_ROLE_AGENT },
		                   .data = data,
		                   .size_bytes = size_bytes };
	frame.route.size_bytes = 1;
	worker_frame(play.worker, &frame, play.now_ns, START_WALL_NS + play.now_ns);
	worker_turn_end(play.worker, play.now_ns, START_WALL_NS + play.now_ns);
}

static struct pr_uuid agent_parse(char **words, size_t count, const char *reporter)
{
	const char *agent = value_of(words, count, "agent");

	return id_of(agent != NULL ? agent : place_of(reporter)->host);
}

static void do_ask(char **words, size_t count)
{
	struct asked *asked = asked_of(words[1]);
	struct codec_request request = request_parse(words, count);

	if (asked == NULL) {
		asked = &play.asked[play.asked_count++];
		*asked = (struct asked){ .id = play.asked_count };
		(void)snprintf(asked->name, sizeof(asked->name), "%s", words[1]);
	}
	asked->answered = false; /* the same name again is the same request again */
	request.id = asked->id;
	frame_give(CODEC_REQUEST, &request, agent_parse(words, count, words[3]));
}

/* notice ID REPORTER src=A:P dst=A:P ...: of the near end that asked as ID, if it did. */
static void do_notice(char **words, size_t count)
{
	const struct asked *asked = asked_of(words[1]);
	const char *src = value_of(words, count, "src"), *dst = value_of(words, count, "dst");
	struct codec_notice notice = {
		.id = asked != NULL ? asked->id : 1000,
		.connection = asked != NULL ? asked->verdict.connection : 0,
		.proto = proto_of(value_of(words, count, "proto")),
		.reporter = id_of(words[2]),
	};

	if (src == NULL || dst == NULL) {
		fatal("notice ID REPORTER src=A:P dst=A:P");
	}
	socket_parse(src, &notice.wire_src, &notice.wire_src_port);
	socket_parse(dst, &notice.wire_dst, &notice.wire_dst_port);
	notice.attempt = attempt_parse(words, count);
	who_parse(words, count, "from", &notice.from_state, &notice.from_uid, notice.from_user,
	          notice.from_exe);
	frame_give(CODEC_NOTICE, &notice, agent_parse(words, count, words[2]));
}

/* ---- expectations ---- */

static bool endpoint_is(const struct pr_uuid *id, const char *name)
{
	struct pr_uuid expected = id_of(name);

	return strcmp(name, "none") == 0 ? pr_uuid_is_null(id) : pr_uuid_equal(id, &expected);
}

/* Does a verdict have this property? */
static bool holds(const struct codec_verdict *verdict, const char *key, const char *value)
{
	if (strcmp(key, "rule") == 0) {
		return verdict->rule ==
		       (strcmp(value, "none") == 0 ? CODEC_NO_RULE : strtoul(value, NULL, 10));
	}
	if (strcmp(key, "staged") == 0) {
		return verdict->staged_rule ==
		       (strcmp(value, "none") == 0 ? CODEC_NO_RULE : strtoul(value, NULL, 10));
	}
	if (strcmp(key, "mode") == 0) {
		return strcmp(codec_enum_text(CODEC_SET_MODE, verdict->mode), value) == 0;
	}
	if (strcmp(key, "by") == 0) {
		return strcmp(codec_enum_text(CODEC_SET_DECIDED_BY, verdict->decided_by), value) ==
		       0;
	}
	if (strcmp(key, "source") == 0) {
		return endpoint_is(&verdict->src_endpoint, value);
	}
	if (strcmp(key, "destination") == 0) {
		return endpoint_is(&verdict->dst_endpoint, value);
	}
	if (strcmp(key, "revision") == 0) {
		return verdict->revision == strtoull(value, NULL, 10);
	}
	if (strcmp(key, "unknown") == 0) {
		return verdict->unknown ==
		       (strcmp(value, "no-notice") == 0  ? CODEC_UNKNOWN_NO_NOTICE
		        : strcmp(value, "endpoint") == 0 ? CODEC_UNKNOWN_ENDPOINT
		        : strcmp(value, "newborn") == 0  ? CODEC_UNKNOWN_NEWBORN
		                                         : CODEC_UNKNOWN_NONE);
	}
	const struct asked *other = asked_of(value);
	if (other == NULL) {
		fatal("expect: no such key or request");
	}
	if (strcmp(key, "connection") == 0) {
		return verdict->connection == other->verdict.connection;
	}
	if (strcmp(key, "other-connection") == 0) {
		return verdict->connection != other->verdict.connection;
	}
	fatal("expect: no such key");
	return false;
}

static bool word_holds(const struct asked *asked, char *word)
{
	const struct codec_verdict *verdict = &asked->verdict;
	char *equals = strchr(word, '=');

	if (strcmp(word, "waits") == 0) {
		return !asked->answered;
	}
	if (!asked->answered) {
		return false;
	}
	if (strcmp(word, "final") == 0 || strcmp(word, "provisional") == 0) {
		return verdict->final == (word[0] == 'f');
	}
	if (equals == NULL) {
		return strcmp(codec_enum_text(CODEC_SET_ACTION, verdict->action), word) == 0;
	}
	*equals = '\0';
	bool good = holds(verdict, word, equals + 1);
	*equals = '=';
	return good;
}

static void do_expect(char **words, size_t count)
{
	const struct asked *asked = asked_of(words[1]);

	if (asked == NULL) {
		fatal("expect: no such request");
	}
	for (size_t i = 2; i < count; i++) {
		ok(word_holds(asked, words[i]), "%s:%zu: %s: %s: %s", play.file, play.line,
		   play.title, words[1], words[i]);
	}
}

/* counter NAME VALUE: one of decide.h's. */
static void do_counter(char **words)
{
	const struct decide_counters *counters = &worker_counters(play.worker)->decide;
	static const char *const names[] = {
#define X(name, doc) #name,
		DECIDE_COUNTER_LIST(X)
#undef X
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(names); i++) {
		if (strcmp(names[i], words[1]) == 0) {
			uint64_t value;
			memcpy(&value, (const uint64_t *)counters + i, sizeof(value));
			ok(value == strtoull(words[2], NULL, 10), "%s:%zu: %s: %s is %llu",
			   play.file, play.line, play.title, words[1], (unsigned long long)value);
			return;
		}
	}
	fatal("no such counter");
}

/* ---- lines ---- */

static void do_wait(const char *text)
{
	play.now_ns += strtoull(text, NULL, 10) * PR_NS_PER_MS;
	worker_turn_end(play.worker, play.now_ns, START_WALL_NS + play.now_ns);
}

static int by_id(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pr_uuid));
}

/* "quarantine NAME [MS]": for so long from the start of the scenario's clock. */
static void do_quarantine(char **words, size_t count)
{
	struct quarantine *item = &play.isolated[play.quarantine.count++];

	if (play.quarantine.count > PR_ARRAY_LEN(play.isolated)) {
		fatal("too many in quarantine");
	}
	*item = (struct quarantine){ .id = id_of(words[1]) };
	if (count == 3) {
		item->until_wall_ns = START_WALL_NS + strtoull(words[2], NULL, 10) * PR_NS_PER_MS;
	}
	qsort(play.isolated, play.quarantine.count, sizeof(*play.isolated), by_id);
}

static void do_endpoint(char **words, size_t count)
{
	if (strcmp(words[0], "host") == 0 && count >= 3) {
		struct place *place = place_new(words[1], words[1], 1);
		for (size_t i = 2; i < count; i++) {
			add_address(place, "global", words[i]);
		}
	} else if (strcmp(words[0], "network") == 0 && count == 4) {
		add_address(place_of(words[1]), words[2], words[3]);
	} else if ((strcmp(words[0], "container") == 0 || strcmp(words[0], "born") == 0) &&
	           count >= 5) {
		directory_time_set(play.directory, words[0][0] == 'b' ? play.now_ns : 0);
		struct place *place = place_new(words[1], words[2], 100 + play.place_count);
		for (size_t i = 3; i + 1 < count; i += 2) {
			add_address(place, words[i], words[i + 1]);
		}
	} else if (strcmp(words[0], "lives-with") == 0 && count == 3) {
		const struct place *with = place_of(words[2]);
		(void)place_new(words[1], with->host, with->namespace_inode);
	} else {
		fatal("unknown line");
	}
}

static void do_line(char **words, size_t count)
{
	if (strcmp(words[0], "ask") == 0 && count >= 6) {
		do_ask(words, count);
	} else if (strcmp(words[0], "notice") == 0 && count >= 5) {
		do_notice(words, count);
	} else if (strcmp(words[0], "restart") == 0 && count == 1) {
		worker_restart();
	} else if (strcmp(words[0], "counter") == 0 && count == 3) {
		do_counter(words);
	} else if (strcmp(words[0], "expect") == 0 && count >= 3) {
		do_expect(words, count);
	} else if (strcmp(words[0], "wait") == 0 && count == 2) {
		do_wait(words[1]);
	} else if (strcmp(words[0], "quarantine") == 0 && (count == 2 || count == 3)) {
		do_quarantine(words, count);
	} else if (strcmp(words[0], "release") == 0 && count == 1) {
		play.quarantine.count = 0;
	} else if (strcmp(words[0], "gone") == 0 && count == 2) {
		struct pr_uuid id = id_of(words[1]);
		directory_remove(play.directory, &id);
	} else {
		do_endpoint(words, count);
	}
}

/* Read the lines of a policy up to "end". */
static void read_policy(FILE *file)
{
	static char text[65536];
	char line[LINE_BYTES];
	size_t used = 0;

	while (fgets(line, sizeof(line), file) != NULL && strcmp(line, "end\n") != 0) {
		size_t length = strlen(line);
		play.line++;
		if (used + length >= sizeof(text)) {
			fatal("policy too long");
		}
		memcpy(text + used, line, length + 1);
		used += length;
	}
	play.line++;
	text[used] = '\0';
	policy_set(text);
}

static size_t split(char *line, char **words)
{
	size_t count = 0;
	char *save = NULL;

	for (char *word = strtok_r(line, " \t\n", &save); word != NULL && count < WORDS_MAX;
	     word = strtok_r(NULL, " \t\n", &save)) {
		if (word[0] == '#') {
			break;
		}
		words[count++] = word;
	}
	return count;
}

static unsigned play_file(const char *folder, const char *name)
{
	char path[8192], line[LINE_BYTES];
	char *words[WORDS_MAX];
	unsigned scenarios = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "r");
	play.file = name;
	play.line = 0;
	if (file == NULL) {
		fatal("cannot be read");
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		play.line++;
		if (strncmp(line, "scenario ", 9) == 0) {
			play_reset();
			(void)snprintf(play.title, sizeof(play.title), "%.*s",
			               (int)strcspn(line + 9, "\n"), line + 9);
			scenarios++;
			continue;
		}
		size_t count = split(line, words);
		if (count == 1 && strcmp(words[0], "policy") == 0) {
			read_policy(file);
		} else if (count > 0) {
			do_line(words, count);
		}
	}
	(void)fclose(file);
	return scenarios;
}

static int is_scenario(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot != NULL && strcmp(dot, ".scn") == 0;
}

int main(void)
{
	const char *srcdir = getenv("srcdir");
	struct dirent **entries = NULL;
	char folder[4096];
	unsigned scenarios = 0;

	(void)snprintf(folder, sizeof(folder), "%s/tests/scenario", srcdir != NULL ? srcdir : ".");
	int count = scandir(folder, &entries, is_scenario, alphasort);
	for (int i = 0; i < count; i++) {
		scenarios += play_file(folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	ok(scenarios >= 30, "%u scenarios in %s", scenarios, folder);
	worker_destroy(&play.worker);
	policy_image_destroy(&play.image);
	directory_destroy(&play.directory);
	return tap_done();
}
