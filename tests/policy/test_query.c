/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file The query language: what matches, what is refused and where. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/query.h"
#include "tests/tap.h"

/* The record that all queries of the table are asked about. */
struct field_value {
	enum policy_query_field field;
	const char *text; /* NULL: number */
	uint64_t number;
	bool address;
};

static const struct field_value values[] = {
	{ POLICY_QUERY_SRC_NAME, "wordpress_apache_1", 0, false },
	{ POLICY_QUERY_DST_NAME, "wordpress_db_1", 0, false },
	{ POLICY_QUERY_SRC_UUID, "5f0c0000-0000-4000-8000-000000000001", 0, false },
	{ POLICY_QUERY_SRC_IP, "172.18.0.3", 0, true },
	{ POLICY_QUERY_SRC_IP, "fd00::3", 0, true },
	{ POLICY_QUERY_DST_IP, "172.18.0.2", 0, true },
	{ POLICY_QUERY_SRC_PORT, NULL, 41000, false },
	{ POLICY_QUERY_DST_PORT, NULL, 3306, false },
	{ POLICY_QUERY_SRC_GROUP, "apache", 0, false },
	{ POLICY_QUERY_SRC_GROUP, "front", 0, false },
	{ POLICY_QUERY_DST_GROUP, "wordpress_db", 0, false },
	{ POLICY_QUERY_SRC_IMAGE, "wordpress:latest", 0, false },
	{ POLICY_QUERY_SRC_KIND, "container", 0, false },
	{ POLICY_QUERY_DST_KIND, "container", 0, false },
	{ POLICY_QUERY_SRC_HOST, "dockersrv", 0, false },
	{ POLICY_QUERY_SRC_CONTAINER, "443ac3097874aa", 0, false },
	{ POLICY_QUERY_SRC_LABEL, "shop", 0, false },
	{ POLICY_QUERY_USER, "www-data", 0, false },
	{ POLICY_QUERY_USER, NULL, 33, false },
	{ POLICY_QUERY_PROCESS, "/usr/sbin/apache2", 0, false },
	{ POLICY_QUERY_PROCESS, "apache2", 0, false },
	{ POLICY_QUERY_PROCESS, "/tmp/\x1b[2J\xe2\x80\xae", 0, false },
	{ POLICY_QUERY_SERVICE, "tcp/3306", 0, false },
	{ POLICY_QUERY_PROTO, "tcp", 0, false },
	{ POLICY_QUERY_PROTO, NULL, 6, false },
	{ POLICY_QUERY_VERDICT, "denied", 0, false },
	{ POLICY_QUERY_MODE, "enforce", 0, false },
	{ POLICY_QUERY_COMMENT, "Allow MySQL server", 0, false },
	{ POLICY_QUERY_LATENCY_US, NULL, 250, false },
	{ POLICY_QUERY_IS, "container", 0, false },
	{ POLICY_QUERY_SEQ, NULL, 0, false },
};

static bool access_value(const void *record, enum policy_query_field field, const char *key,
                         unsigned index, struct policy_query_value *ret_value)
{
	(void)record;
	if (key != NULL && strcmp(key, "Project") != 0 &&
	    strcmp(key, "com.docker.compose.service") != 0) {
		return false;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(values); i++) {
		if (values[i].field != field || index-- > 0) {
			continue;
		}
		ret_value->type = POLICY_QUERY_NUMBER;
		ret_value->number = values[i].number;
		if (values[i].address) {
			ret_value->type = POLICY_QUERY_ADDR;
			return pr_addr_parse(values[i].text, &ret_value->addr) == PR_OK;
		}
		if (values[i].text != NULL) {
			ret_value->type = POLICY_QUERY_TEXT;
			ret_value->text = values[i].text;
		}
		return true;
	}
	return false;
}

static const struct {
	const char *query;
	bool matches;
} asked[] = {
	{ "", true },
	{ "   ", true },
	{ "verdict:denied", true },
	{ "verdict:deny", true },
	{ "verdict:allowed", false },
	{ "verdict:allowed,denied", true },
	{ "VERDICT", false },
	{ "verdict:DENIED", true },
	{ "-verdict:denied", false },
	{ "NOT verdict:denied", false },
	{ "NOT NOT verdict:denied", true },
	{ "--verdict:denied", true },
	{ "- verdict:allowed", true },
	{ "verdict:denied dst.port:3306 -user:root", true },
	{ "verdict:denied AND dst.port:3306", true },
	{ "verdict:denied dst.port:22", false },
	{ "dst.port:22 OR dst.port:3306", true },
	{ "dst.port:22 OR dst.port:23", false },
	{ "verdict:allowed dst.port:3306 OR user:33", true },
	{ "verdict:allowed (dst.port:3306 OR user:33)", false },
	{ "(verdict:denied)(user:33)", true },
	{ "-(dst.port:22 OR user:root)", true },
	{ "port:3306", true },
	{ "port:41000", false },
	{ "src.port:41000", true },
	{ "host.port:41000", true },
	{ "port:1-3306", true },
	{ "port:3307-", false },
	{ "port:80,3000-4000", true },
	{ "port>3306", false },
	{ "port>=3306", true },
	{ "port<3306", false },
	{ "port<=3306", true },
	{ "seq<0", false },
	{ "seq<=0", true },
	{ "latency_us>100", true },
	{ "rule:none", true },
	{ "rule:10", false },
	{ "rule:1,none", true },
	{ "-rule:none", false },
	{ "unknown:none", true },
	{ "user:none", false },
	{ "user:33", true },
	{ "user:30-40", true },
	{ "user:www-data", true },
	{ "user:WWW-*", true },
	{ "user:www", false },
	{ "proto:tcp", true },
	{ "proto:6", true },
	{ "proto:17", false },
	{ "service:tcp/3306", true },
	{ "proc:apache2", true },
	{ "proc:/usr/sbin/apache2", true },
	{ "process:*/apache?", true },
	{ "process:apache", false },
	{ "process:\"/tmp/\\x1b[2J\\u{202E}\"", true },
	{ "process:\"/tmp/\\\\x1b[2J\\u{202e}\"", false },
	{ "process:\"/usr/sb\\in/apache2\"", true },
	{ "apache", true },
	{ "APACHE", true },
	{ "mysql", false },
	{ "172.18", true },
	{ "172.18.0.0/16", true },
	{ "172.19.0.0/16", false },
	{ "fd00::3", true },
	{ "fd00::/16", true },
	{ "ip:fd00::3", true },
	{ "ip:172.18.0.0/16", true },
	{ "ip:172.18.0.3/16", true },
	{ "ip:172.18.0.*", true },
	{ "ip:10.0.0.0/8,172.18.0.2", true },
	{ "src.ip:172.18.0.2", false },
	{ "src.ip:::/0", true },
	{ "dst.ip:::/0", false },
	{ "name:wordpress_db_1", true },
	{ "name:wordpress*", true },
	{ "name:wordpress", false },
	{ "src.name:wordpress_db_1", false },
	{ "host.name:wordpress_db_1", true },
	{ "src:wordpress_apache_1", true },
	{ "dst:wordpress_apache_1", false },
	{ "host:wordpress_apache_1", true },
	{ "src:5f0c0000", true },
	{ "src:443ac3097874", true },
	{ "src:443a", false },
	{ "src:172.18.0.0/24", true },
	{ "src:wordpress_apache", false },
	{ "uuid:5f0c0000-0000", true },
	{ "container:443ac3", true },
	{ "container:443ac", false },
	{ "group:front", true },
	{ "group:front,back", true },
	{ "dst.group:front", false },
	{ "src.host:dockersrv", true },
	{ "label.Project:shop", true },
	{ "label.Other:shop", false },
	{ "compose.service:shop", true },
	{ "src.compose.service:sh*", true },
	{ "host.compose.service:web", false },
	{ "dst.compose.service:shop", false },
	{ "compose.project:shop", false },
	{ "label.Other:none", true },
	{ "dst.label.Project:none", true },
	{ "image:wordpress:latest", true },
	{ "image:\"wordpress:latest\"", true },
	{ "comment:\"allow mysql server\"", true },
	{ "comment:\"allow mysql*\"", false },
	{ "comment:allow*", true },
	{ "kind:container", true },
	{ "is:container", true },
	{ "is:host", false },
	{ "mode:enforce", true },
	{ "\"apache_1\"", true },
	{ "orange OR apache", true },
	{ "ORange", false },
};

static const struct {
	const char *query;
	size_t position;
	const char *message;
} refused[] = {
	{ "x prt:1", 3, "unknown field \"prt\", did you mean \"port\"?" },
	{ "compose.servce:1", 1,
	  "unknown field \"compose.servce\", did you mean \"compose.service\"?" },
	{ "src.prt:1", 1, "unknown field \"src.prt\", did you mean \"port\"?" },
	{ "zzzzzzzzz:1", 1, "unknown field \"zzzzzzzzz\"" },
	{ "verdict:denid", 9, "\"denid\" is no verdict, did you mean \"denied\"?" },
	{ "is:old", 4, "\"old\" is no is" },
	{ "port:http", 6, "\"http\" is not a number or range like 1024-2048" },
	{ "port:5-4", 6, "\"5-4\" is not a number or range like 1024-2048" },
	{ "port:99999999999999999999", 6,
	  "\"99999999999999999999\" is not a number or range like 1024-2048" },
	{ "port:", 6, "a value is missing after \"port\"" },
	{ "port:80,", 9, "a value is missing after \"port\"" },
	{ "port>x", 6, "\"x\" is not a number" },
	{ "name>3", 5, "\"name\" is not a number: only \":\" may follow it" },
	{ "ip:300.1.1.1", 4, "\"300.1.1.1\" is not an address or prefix" },
	{ "ip:10.0.0.0/33", 4, "\"10.0.0.0/33\" is not an address or prefix" },
	{ "(a", 1, "the parenthesis is not closed" },
	{ "a)", 2, "this parenthesis closes nothing" },
	{ "()", 2, "a term is missing" },
	{ "a OR", 5, "a term is missing" },
	{ "OR a", 1, "a term is missing" },
	{ "a AND OR b", 7, "a term is missing" },
	{ "a AND", 6, "a term is missing" },
	{ "-", 2, "a term is missing" },
	{ "name:\"x", 6, "quotes are not closed" },
	{ "\"\"", 1, "a word is empty" },
	{ "a\033[31m", 2, "control or invisible character U+001B is not allowed" },
	{ "a\xff", 2, "byte 0xff is not valid UTF-8" },
	{ "\xe2\x80\xae", 1, "control or invisible character U+202E is not allowed" },
};

static void test_asked(void)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(asked); i++) {
		_cleanup_(policy_query_destroy) policy_query_t *query = NULL;
		struct policy_query_error error = { 0 };
		int err = policy_query_parse(asked[i].query, &error, &query);
		ok(err == PR_OK &&
		           policy_query_match(query, access_value, NULL) == asked[i].matches,
		   "`%s` %s%s", asked[i].query, asked[i].matches ? "matches" : "does not match",
		   err == PR_OK ? "" : error.message);
	}
}

static void test_refused(void)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(refused); i++) {
		_cleanup_(policy_query_destroy) policy_query_t *query = NULL;
		struct policy_query_error error = { 0 };
		int err = policy_query_parse(refused[i].query, &error, &query);
		bool good = err == PR_EINVAL && query == NULL &&
		            error.position == refused[i].position &&
		            strcmp(error.message, refused[i].message) == 0;
		if (!ok(good, "refused at %zu: %s", refused[i].position, refused[i].message)) {
			printf("# %d at %zu: %s\n", err, error.position, error.message);
		}
	}
}

static void test_limits(void)
{
	static char text[POLICY_QUERY_MAX_BYTES * 2];
	_cleanup_(policy_query_destroy) policy_query_t *query = NULL;
	_cleanup_(policy_query_destroy) policy_query_t *deep = NULL;
	memset(text, '(', POLICY_QUERY_DEPTH_MAX + 1);
	ok(policy_query_parse(text, NULL, &query) == PR_EINVAL, "too many parentheses are refused");
	memset(text, '(', POLICY_QUERY_DEPTH_MAX);
	text[POLICY_QUERY_DEPTH_MAX] = 'a';
	memset(text + POLICY_QUERY_DEPTH_MAX + 1, ')', POLICY_QUERY_DEPTH_MAX);
	text[POLICY_QUERY_DEPTH_MAX * 2 + 1] = '\0';
	ok(policy_query_parse(text, NULL, &deep) == PR_OK, "as many as allowed are not");
	for (size_t i = 0; i < (POLICY_QUERY_TERMS_MAX + 1) * 2; i += 2) {
		memcpy(text + i, "a ", 3);
	}
	ok(policy_query_parse(text, NULL, &query) == PR_EINVAL, "too many terms are refused");
	memset(text, '-', POLICY_QUERY_MAX_BYTES);
	text[POLICY_QUERY_MAX_BYTES] = '\0';
	ok(policy_query_parse(text, NULL, &query) == PR_EINVAL, "4,096 minus signs are refused");
	memset(text, 'a', POLICY_QUERY_MAX_BYTES + 1);
	text[POLICY_QUERY_MAX_BYTES + 1] = '\0';
	ok(policy_query_parse(text, NULL, &query) == PR_EINVAL, "a long query is refused");
}

static void test_uses(void)
{
	_cleanup_(policy_query_destroy) policy_query_t *query = NULL;
	ok(policy_query_parse("-(user:root OR src.name:x)", NULL, &query) == PR_OK &&
	           policy_query_uses(query, POLICY_QUERY_USER) &&
	           policy_query_uses(query, POLICY_QUERY_SRC_NAME) &&
	           !policy_query_uses(query, POLICY_QUERY_DST_NAME),
	   "a query tells which fields it uses");
}

int main(void)
{
	test_asked();
	test_refused();
	test_limits();
	test_uses();
	return tap_done();
}
