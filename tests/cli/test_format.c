/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What people and programs read: event rows, endpoints, tables. */

#include <stdlib.h>

#include "cli/cli.h"
#include "tests/cli/sample.h"
#include "tests/tap.h"

static const struct cli_style plain = { .now_wall_ns = 1795476245123000000ULL };
static const struct cli_style colored = { .terminal = true,
	                                  .color = true,
	                                  .utf8 = true,
	                                  .columns = 100,
	                                  .now_wall_ns = 1795476245123000000ULL };

static char *json_text(const struct codec_event *record, void (*change)(codec_doc_t *row))
{
	_cleanup_(codec_doc_destroy) codec_doc_t *row = sample_row(record);
	struct cli_event event;
	json_t *object;
	char *text;

	if (change != NULL) {
		change(row);
	}
	if (cli_event_read(row, &event) < 0) {
		return strdup("unreadable");
	}
	object = cli_event_json(&event);
	text = object != NULL ? json_dumps(object, JSON_COMPACT) : strdup("null");
	json_decref(object);
	return text;
}

static bool json_is(const struct codec_event *record, void (*change)(codec_doc_t *row),
                    const char *wanted)
{
	_cleanup_(pr_free) char *text = json_text(record, change);
	bool same = strcmp(text, wanted) == 0;

	if (!same) {
		printf("# got    %s\n# wanted %s\n", text, wanted);
	}
	return same;
}

static void forget_names(codec_doc_t *row)
{
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_NAME, "");
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_KIND, "external");
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_HOST, "");
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_CONTAINER_ID, "");
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_IMAGE, "");
	codec_doc_set_text(row, CODEC_EVENT_ROW_RULE_COMMENT, "");
}

static void hostile_names(codec_doc_t *row)
{
	codec_doc_set_text(row, CODEC_EVENT_ROW_SRC_NAME, "a\033[2Jb\"\n\u202e");
}

static void test_json(void)
{
	struct codec_event event = sample_event(17);

	ok(json_is(&event, NULL,
	           "{\"id\":\"5f0cbf16-6a3e-4a58-9e7c-0d6a3c1c7a11-17\","
	           "\"agent\":\"5f0cbf16-6a3e-4a58-9e7c-0d6a3c1c7a11\",\"seq\":17,"
	           "\"time\":\"2026-11-23T23:24:05.123Z\",\"reporter\":\"terminator\","
	           "\"proto\":\"tcp\",\"src\":{\"ip\":\"172.18.0.3\",\"port\":45678,"
	           "\"endpoint\":\"11111111-2222-4333-8444-555555555555\","
	           "\"name\":\"wordpress_apache_1\",\"kind\":\"container\",\"host\":\"dockersrv\","
	           "\"container_id\":\"aa11\",\"image\":\"wordpress:6\"},"
	           "\"dst\":{\"ip\":\"172.18.0.2\",\"port\":3306,"
	           "\"endpoint\":\"66666666-7777-4888-9999-aaaaaaaaaaaa\","
	           "\"name\":\"wordpress_db_1\",\"kind\":\"container\",\"host\":\"dockersrv\","
	           "\"container_id\":\"bb22\",\"image\":\"mysql:8\"},\"translated\":null,"
	           "\"service\":\"tcp/3306\",\"user\":{\"uid\":999,\"name\":\"mysql\"},"
	           "\"process\":{\"pid\":4711,\"name\":\"mysqld\",\"exe\":\"/usr/sbin/mysqld\"},"
	           "\"unknown\":null,\"verdict\":\"allowed\",\"mode\":\"enforce\",\"rule\":20,"
	           "\"rule_comment\":\"Allow MySQL server\",\"revision\":42,"
	           "\"decided_by\":\"worker\",\"latency_us\":217,"
	           "\"connection\":\"000000001234abcd\"}"),
	   "every key of an event, in order");

	event.src = sample_addr("2001:db8::7");
	event.src_endpoint = (struct pr_uuid){ 0 };
	event.translated = sample_addr("192.0.2.10");
	event.translated_port = 8000;
	event.uid = CODEC_NO_UID;
	event.user[0] = '\0';
	event.pid = 0;
	event.exe[0] = '\0';
	event.unknown = CODEC_UNKNOWN_PROCESS_GONE;
	event.verdict = CODEC_EVENT_VERDICT_WOULD_DENY;
	event.mode = CODEC_MODE_OBSERVE;
	event.rule = CODEC_NO_RULE;
	event.decided_by = CODEC_DECIDED_BY_OBSERVE;
	event.connection = 0;
	ok(json_is(&event, forget_names,
	           "{\"id\":\"5f0cbf16-6a3e-4a58-9e7c-0d6a3c1c7a11-17\","
	           "\"agent\":\"5f0cbf16-6a3e-4a58-9e7c-0d6a3c1c7a11\",\"seq\":17,"
	           "\"time\":\"2026-11-23T23:24:05.123Z\",\"reporter\":\"terminator\","
	           "\"proto\":\"tcp\",\"src\":{\"ip\":\"2001:db8::7\",\"port\":45678,"
	           "\"endpoint\":null,\"name\":null,\"kind\":\"external\",\"host\":null,"
	           "\"container_id\":null,\"image\":null},"
	           "\"dst\":{\"ip\":\"172.18.0.2\",\"port\":3306,"
	           "\"endpoint\":\"66666666-7777-4888-9999-aaaaaaaaaaaa\","
	           "\"name\":\"wordpress_db_1\",\"kind\":\"container\",\"host\":\"dockersrv\","
	           "\"container_id\":\"bb22\",\"image\":\"mysql:8\"},"
	           "\"translated\":{\"ip\":\"192.0.2.10\",\"port\":8000},"
	           "\"service\":\"tcp/3306\",\"user\":{\"uid\":null,\"name\":null},"
	           "\"process\":{\"pid\":null,\"name\":null,\"exe\":null},"
	           "\"unknown\":\"process gone before it was read\",\"verdict\":\"would-deny\","
	           "\"mode\":\"observe\",\"rule\":null,\"rule_comment\":null,\"revision\":42,"
	           "\"decided_by\":\"observe\",\"latency_us\":217,\"connection\":null}"),
	   "what is not known is null, never missing");

	event = sample_event(1);
	_cleanup_(pr_free) char *text = json_text(&event, hostile_names);
	ok(strstr(text, "\"name\":\"a\\u001B[2Jb\\\"\\n\u202e\"") != NULL,
	   "a hostile name is exact in JSON");
	event.proto = 1;
	event.dst_port = 8 * 256;
	_cleanup_(pr_free) char *ping = json_text(&event, NULL);
	ok(strstr(ping, "\"proto\":\"icmp\"") != NULL && strstr(ping, "\"port\":null") != NULL &&
	           strstr(ping, "\"service\":\"icmp/8\"") != NULL,
	   "a ping has a type and no ports");
}

static void test_row_damage(void)
{
	struct codec_event event = sample_event(1);
	_cleanup_(codec_doc_destroy) codec_doc_t *row = sample_row(&event);
	struct cli_event read;

	ok(cli_event_read(row, &read) == PR_OK && read.event.dst_port == 3306, "a row is read");
	codec_doc_set_blob(row, CODEC_EVENT_ROW_EVENT, "short", 5);
	ok(cli_event_read(row, &read) == PR_EMALF, "a row whose event is no frame is malformed");
}

static char *table_text(const struct cli_style *style, const struct codec_event *record,
                        void (*change)(codec_doc_t *row), bool wide)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *row = sample_row(record);
	_cleanup_(cli_table_destroy) cli_table_t *table = NULL;
	struct cli_event event;
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);

	if (change != NULL) {
		change(row);
	}
	table = cli_table_new(style, out, cli_event_columns, cli_event_column_count(wide));
	if (cli_event_read(row, &event) == PR_OK) {
		cli_event_cells(&event, style, wide, table);
	}
	cli_table_flush(table);
	fclose(out);
	return text;
}

/* One after the other, as they happen: the titles stand over what comes later. */
static void test_table_followed(void)
{
	struct codec_event event = sample_event(17);
	_cleanup_(codec_doc_destroy) codec_doc_t *row = sample_row(&event);
	struct cli_event shown;
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);
	cli_table_t *table =
		cli_table_new(&plain, out, cli_event_columns, cli_event_column_count(false));

	forget_names(row);
	cli_table_widen(table, cli_event_usual);
	cli_table_flush(table);
	ok(cli_event_read(row, &shown) == PR_OK, "an event comes");
	cli_event_cells(&shown, &plain, false, table);
	cli_table_flush(table);
	cli_table_destroy(&table);
	(void)fclose(out);
	ok(strcmp(text,
	          "TIME                      SOURCE              TARGET              SERVICE   "
	          "USER      PROCESS     STATUS        RULE\n"
	          "2026-11-23T23:24:05.123Z  172.18.0.3          wordpress_db_1(C)   tcp/3306  "
	          "mysql     mysqld      + ALLOWED     #20\n") == 0,
	   "and stands below the titles");
	if (tap_failed > 0) {
		printf("# %s", text);
	}
	free(text);
}

static void test_table(void)
{
	struct codec_event event = sample_event(17);
	_cleanup_(pr_free) char *text = table_text(&plain, &event, NULL, false);

	ok(strcmp(text,
	          "TIME                      SOURCE                 TARGET             SERVICE   "
	          "USER   PROCESS  STATUS     RULE\n"
	          "2026-11-23T23:24:05.123Z  wordpress_apache_1(C)  wordpress_db_1(C)  tcp/3306  "
	          "mysql  mysqld   + ALLOWED  #20 Allow MySQL server\n") == 0,
	   "a row in a pipe: ISO time, no colour, aligned, containers marked");
	if (tap_failed > 0) {
		printf("# %s", text);
	}

	_cleanup_(pr_free) char *shown = table_text(&colored, &event, NULL, false);
	ok(strstr(shown, "\033[32m\u2713 ALLOWED\033[0m") != NULL,
	   "on a terminal the status is green");
	ok(strstr(shown, "2026-11-23T") == NULL, "and the time is short");

	event.verdict = CODEC_EVENT_VERDICT_DENIED;
	event.rule = CODEC_NO_RULE;
	_cleanup_(pr_free) char *denied = table_text(&plain, &event, hostile_names, false);
	ok(strstr(denied, "x DENIED") != NULL && strstr(denied, "default") != NULL,
	   "denied by default");
	ok(strchr(denied, '\033') == NULL && strstr(denied, "\\x1b[2J") != NULL &&
	           strstr(denied, "\u202e") == NULL,
	   "control and direction characters of a name are escaped in the table");

	_cleanup_(pr_free) char *wide = table_text(&plain, &event, forget_names, true);
	ok(strstr(wide, "172.18.0.3:45678") != NULL && strstr(wide, "172.18.0.2:3306") != NULL &&
	           strstr(wide, "-17\n") != NULL,
	   "wide: addresses, ports and the id");
	ok(strstr(wide, "  172.18.0.3  ") != NULL, "an end without a name is its address");
}

static void test_cells(void)
{
	static const struct cli_column columns[] = { { "A", 5 }, { "B", 0 } };
	struct cli_style narrow = { .terminal = true, .columns = 20 };
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);
	_cleanup_(cli_table_destroy) cli_table_t *table = cli_table_new(&narrow, out, columns, 2);

	cli_table_cell(table, CLI_PLAIN, "\u00e4\u00f6\u00fc%s", "12345");
	cli_table_cell(table, CLI_PLAIN, "%s", "a text longer than the terminal");
	cli_table_cell(table, CLI_PLAIN, "%s", "");
	cli_table_cell(table, CLI_PLAIN, "%s", "x");
	cli_table_flush(table);
	fclose(out);
	ok(strcmp(text, "A      B\n\u00e4\u00f6\u00fc1~  a text longe~\n-      x\n") == 0,
	   "on a terminal cells are cut by characters and the last at its edge");
	free(text);
}

static void test_endpoint(void)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = sample_endpoint("apache", "container");
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);
	json_t *object;

	cli_endpoint_print(doc, &plain, out);
	fclose(out);
	ok(strstr(text, "apache(C)") != NULL &&
	           strstr(text, "Image          wordpress:6\n") != NULL &&
	           strstr(text, "eth0") != NULL && strstr(text, "apache2") != NULL &&
	           strstr(text, "Groups         apache,web\n") != NULL,
	   "the page of a container");
	free(text);

	out = open_memstream(&text, &size_bytes);
	ok(cli_endpoint_json_print(doc, out) && fclose(out) == 0, "an endpoint is printed as JSON");
	object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	ok(json_is_object(object) && json_object_size(object) == 25 &&
	           text[size_bytes - 1] == '\n' && strchr(text, '\n') == text + size_bytes - 1,
	   "which is one object on one line");
	ok(strstr(text, "\"kind\":\"container\",\"name\":\"apache\",\"host\":\"dockersrv\"") !=
	                   NULL &&
	           strstr(text, "\"groups\":[\"apache\",\"web\"]") != NULL &&
	           strstr(text, "{\"scope\":\"global\",\"address\":\"172.18.0.3/16\","
	                        "\"ip\":\"172.18.0.3\",\"mask\":\"255.255.0.0\","
	                        "\"mac\":\"02:42:ac:12:00:03\",\"interface\":\"eth0\"}") != NULL &&
	           strstr(text,
	                  "{\"service\":\"tcp/"
	                  "80\",\"port\":80,\"pid\":\"4711\",\"process\":\"apache2\"}") != NULL,
	   "an endpoint in JSON: %s", text);
	json_decref(object);
	free(text);

	out = open_memstream(&text, &size_bytes);
	cli_table_t *table =
		cli_table_new(&plain, out, cli_endpoint_columns, cli_endpoint_column_count(false));
	cli_endpoint_cells(doc, &plain, false, table);
	cli_table_flush(table);
	cli_table_destroy(&table);
	fclose(out);
	ok(strstr(text, "apache(C)  active  enforce  172.18.0.3  dockersrv") != NULL,
	   "a line of hosts, without loopback");
	free(text);
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	test_json();
	test_row_damage();
	test_table();
	test_table_followed();
	test_cells();
	test_endpoint();
	return tap_done();
}
