/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What inventory, authority and keeper say, and what the book makes of it: a journal of its calls.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/book.h"
#include "base/err.h"
#include "tests/tap.h"

#define JOURNAL_BYTES 4096

static char journal[JOURNAL_BYTES];
static book_t *book;

static struct pr_uuid id_of(uint8_t number)
{
	return (struct pr_uuid){ { [0] = 0x70, [15] = number } };
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	va_list args;
	size_t used = strlen(journal);

	va_start(args, format);
	(void)vsnprintf(journal + used, sizeof(journal) - used, format, args);
	va_end(args);
}

static void on_order(void *context, const struct part_order *order)
{
	unsigned int number = order->endpoint.bytes[15];
	const char *mode = order->mode == CODEC_MODE_ENFORCE ? "enforce" : "observe";

	(void)context;
	if (order->kind == PART_ORDER_WATCH) {
		if (order->path[0] != '\0') {
			note("watch %u %s at %s.%llu; ", number, mode, order->path,
			     (unsigned long long)order->inode);
			return;
		}
		note("watch %u %s%s%s pid %d.%llu; ", number, mode, order->is_host ? " host" : "",
		     order->guest ? " guest" : "", (int)order->pid,
		     (unsigned long long)order->start_ticks);
	} else if (order->kind == PART_ORDER_MODE) {
		note("mode %u %s; ", number, mode);
	} else if (order->kind == PART_ORDER_FORGET) {
		note("forget %u; ", number);
	} else {
		note("other order; ");
	}
}

static void on_endpoint(void *context, const codec_doc_t *endpoint)
{
	const char *enforced = codec_doc_text(endpoint, CODEC_ENDPOINT_ENFORCED);

	(void)context;
	note("say %s '%s'; ", codec_doc_text(endpoint, CODEC_ENDPOINT_NAME),
	     enforced != NULL ? enforced : "");
}

static void on_gone(void *context, const struct pr_uuid *id, bool removed)
{
	(void)context;
	note("%s %u; ", removed ? "removed" : "stopped", id->bytes[15]);
}

static void on_complete(void *context)
{
	(void)context;
	note("complete; ");
}

static void on_lost(void *context, const struct part_lost *lost)
{
	(void)context;
	note("lost %u %d; ", lost->endpoint.bytes[15], (int)lost->mode);
}

static const struct book_outlet outlet = {
	.order = on_order,
	.endpoint = on_endpoint,
	.gone = on_gone,
	.complete = on_complete,
	.lost = on_lost,
};

/* Did just this happen since the last time? */
static bool happened(const char *wanted)
{
	bool same = strcmp(journal, wanted) == 0;

	if (!same) {
		printf("# got:    %s\n# wanted: %s\n", journal, wanted);
	}
	journal[0] = '\0';
	return same;
}

/* With so many sources of the inventory: the host, and engines. */
static void begin(size_t sources)
{
	struct pr_uuid host = id_of(1);

	book_destroy(&book);
	journal[0] = '\0';
	ok(book_new(&host, sources, &outlet, &book) == PR_OK && book_count(book) == 1,
	   "a book with the host in it");
	book_start(book);
	ok(happened("watch 1 observe host pid 0.0; "), "the host is watched from the start");
}

static void tell(struct inventory_change change, const char *name)
{
	if (name != NULL) {
		change.endpoint = codec_doc_new(CODEC_ENDPOINT);
		codec_doc_set_text(change.endpoint, CODEC_ENDPOINT_NAME, name);
	}
	book_inventory(book, &change);
}

static void synced(uint8_t source)
{
	tell((struct inventory_change){ .kind = INVENTORY_SYNCED, .source = source }, NULL);
}

static void up(uint8_t number, int32_t pid, uint64_t start_ticks, const char *name)
{
	tell((struct inventory_change){ .kind = INVENTORY_UP,
	                                .source = 1,
	                                .id = id_of(number),
	                                .pid = pid,
	                                .start_ticks = start_ticks },
	     name);
}

static void stopped(uint8_t number, const char *name)
{
	tell((struct inventory_change){ .kind = INVENTORY_STOPPED,
	                                .source = 1,
	                                .id = id_of(number) },
	     name);
}

static void down(uint8_t number, enum inventory_kind kind)
{
	tell((struct inventory_change){ .kind = kind, .id = id_of(number) }, NULL);
}

static void engine(bool is_up)
{
	tell((struct inventory_change){ .kind = INVENTORY_ENGINE, .source = 1, .engine_up = is_up },
	     NULL);
}

static bool report(enum part_report_kind kind, uint8_t number, uint8_t mode, const char *text)
{
	struct part_report said = { .kind = kind, .endpoint = id_of(number), .mode = mode };

	(void)snprintf(said.text, sizeof(said.text), "%s", text);
	return book_report(book, &said);
}

static void test_containers(void)
{
	begin(2);
	tell((struct inventory_change){ .kind = INVENTORY_HOST, .id = id_of(1) }, "host");
	ok(happened("say host ''; "), "the host is named; the list is not complete yet");
	up(2, 20, 200, "web");
	ok(happened("say web ''; watch 2 observe pid 20.200; "), "up: said and watched");
	ok(book_count(book) == 2, "and counted");
	struct pr_uuid web = id_of(2);
	struct book_container container = { 0 };
	ok(book_container(book, &web, &container) && container.pid == 20 &&
	           container.start_ticks == 200,
	   "its process is known");
	up(2, 20, 200, "web");
	ok(happened("say web ''; "), "the same again: said, not watched again");
	up(2, 21, 210, "web");
	ok(happened("say web ''; forget 2; watch 2 observe pid 21.210; "),
	   "another process: the old namespace is forgotten first");
	up(2, 21, 211, "web");
	ok(happened("say web ''; forget 2; watch 2 observe pid 21.211; "),
	   "a number used again is another process");
	tell(
		(struct inventory_change){
			.kind = INVENTORY_UP, .id = id_of(3), .pid = 30, .host_network = true },
		"agent-like");
	ok(happened("say agent-like ''; watch 3 observe host guest pid 30.0; "),
	   "in the host's namespace: watched there");
	down(3, INVENTORY_DOWN);
	ok(happened("forget 3; stopped 3; "), "until it stops");
	down(2, INVENTORY_DOWN);
	ok(happened("forget 2; stopped 2; ") && book_count(book) == 1, "down");
	ok(!book_container(book, &web, &container), "no process of it is known any more");
	down(2, INVENTORY_GONE);
	ok(happened("removed 2; "), "removed after it had stopped");
	up(2, 22, 220, "web");
	ok(happened("say web ''; watch 2 observe pid 22.220; "), "up again");
	down(2, INVENTORY_GONE);
	ok(happened("forget 2; removed 2; "), "removed while it ran");
	tell((struct inventory_change){ .kind = INVENTORY_COMING, .source = 1, .id = id_of(4) },
	     "soon");
	ok(happened("say soon ''; ") && book_count(book) == 2,
	   "about to run: said, not watched yet");
	up(4, 40, 400, "soon");
	ok(happened("say soon ''; watch 4 observe pid 40.400; "), "then it runs");
	tell((struct inventory_change){ .kind = INVENTORY_COMING, .source = 1, .id = id_of(4) },
	     "late");
	ok(happened(""), "old news of one that runs");
	down(4, INVENTORY_DOWN);
	ok(happened("forget 4; stopped 4; "), "down");
	tell((struct inventory_change){ .kind = INVENTORY_COMING, .source = 1, .id = id_of(4) },
	     "again");
	down(4, INVENTORY_DOWN);
	ok(happened("say again ''; stopped 4; "), "about to run, but its start failed");
	stopped(5, "old");
	ok(happened("say old ''; ") && book_count(book) == 1 &&
	           !book_container(book, &(struct pr_uuid){ { [0] = 0x70, [15] = 5 } }, &container),
	   "one that does not run is said, and is nobody's process");
	tell((struct inventory_change){ .kind = INVENTORY_COMING, .source = 1, .id = id_of(5) },
	     "old");
	ok(happened("stopped 5; say old ''; ") && book_count(book) == 2,
	   "about to run: as new as one that nobody knew");
	up(5, 50, 500, "old");
	ok(happened("say old ''; watch 5 observe pid 50.500; "), "then it runs");
	stopped(5, "old");
	ok(happened("forget 5; say old ''; "), "stopped: no longer watched, still said");
	up(5, 51, 510, "old");
	ok(happened("stopped 5; say old ''; watch 5 observe pid 51.510; "), "and up again");
	stopped(5, "old");
	down(5, INVENTORY_GONE);
	ok(happened("forget 5; say old ''; removed 5; ") && book_count(book) == 1, "removed");
	down(9, INVENTORY_DOWN);
	ok(happened(""), "one that nobody knew stops: nothing");
	down(1, INVENTORY_DOWN);
	ok(happened("") && book_count(book) == 1, "the host never goes");
}

static void test_listing(void)
{
	begin(2);
	up(2, 20, 200, "a");
	up(3, 30, 300, "b");
	up(4, 40, 400, "c");
	stopped(5, "d");
	journal[0] = '\0';
	synced(1);
	ok(happened("") && book_count(book) == 4, "all named: the host's part is missing");
	synced(0);
	ok(happened("complete; ") && book_count(book) == 4, "complete, none goes");
	engine(false);
	ok(happened("complete; ") && book_count(book) == 4,
	   "the engine is away: nobody goes, the host is all there is to tell");
	engine(true);
	ok(happened(""), "it is back: its listing will tell");
	up(3, 30, 300, "b");
	ok(happened("say b ''; "), "one is still there");
	synced(1);
	ok(happened("stopped 5; forget 4; stopped 4; forget 2; stopped 2; complete; "),
	   "the others have gone meanwhile");
	ok(book_count(book) == 2, "host and one remain: %zu", book_count(book));
	for (uint8_t i = 10; i < 210; i++) {
		up(i, i, i, "many");
	}
	ok(book_count(book) == 202, "there is room for many: %zu", book_count(book));

	begin(1);
	tell((struct inventory_change){ .kind = INVENTORY_HOST, .id = id_of(1) }, "host");
	synced(0);
	ok(happened("say host ''; complete; "), "without an engine the host alone is complete");
}

static void up_from(uint8_t source, uint8_t number, const char *name)
{
	tell((struct inventory_change){ .kind = INVENTORY_UP,
	                                .source = source,
	                                .id = id_of(number),
	                                .pid = number },
	     name);
}

/* Each engine's listing speaks of its own containers alone. */
static void test_sources(void)
{
	begin(3);
	up_from(1, 2, "docker");
	up_from(2, 3, "podman");
	journal[0] = '\0';
	synced(1);
	ok(happened("") && book_count(book) == 3, "one engine's list is not the whole");
	synced(0);
	ok(happened(""), "nor with the host's");
	tell((struct inventory_change){ .kind = INVENTORY_ENGINE, .source = 2 }, NULL);
	ok(happened("complete; ") && book_count(book) == 3,
	   "one that is away has nothing to add, and what it named stays");
	synced(1);
	ok(happened("complete; ") && book_count(book) == 3,
	   "the other's new list takes nothing of it away");
	synced(2);
	ok(happened("forget 3; stopped 3; complete; "), "its own does, when it is back");
	up_from(2, 2, "twice");
	tell((struct inventory_change){ .kind = INVENTORY_ENGINE, .source = 1 }, NULL);
	journal[0] = '\0';
	synced(1);
	ok(happened("complete; ") && book_count(book) == 2,
	   "one that both name is whose named it last");
	tell((struct inventory_change){ .kind = INVENTORY_COMING, .source = 1, .id = id_of(5) },
	     "soon");
	journal[0] = '\0';
	synced(2);
	ok(happened("complete; ") && book_count(book) == 3,
	   "nor one of it that is only about to run");
	tell((struct inventory_change){ .kind = INVENTORY_ENGINE, .source = 1 }, NULL);
	journal[0] = '\0';
	synced(1);
	ok(strstr(journal, "stopped 5; ") != NULL, "which its own next list does");
	up_from(1, 2, "twice");
	journal[0] = '\0';
	up_from(3, 9, "nobody's");
	ok(happened("") && book_count(book) == 2, "a source that there is not");
	book_t *none = NULL;
	struct pr_uuid host = id_of(1);
	ok(book_new(&host, 0, &outlet, &none) == PR_EINVAL &&
	           book_new(&host, INVENTORY_SOURCE_MAX + 1, &outlet, &none) == PR_EINVAL,
	   "too few sources, too many");
}

static void space(uint64_t inode, const char *name)
{
	tell((struct inventory_change){ .kind = INVENTORY_UP,
	                                .id = id_of(2),
	                                .inode = inode,
	                                .path = strdup("/run/netns/build") },
	     name);
}

static void test_namespaces(void)
{
	begin(1);
	space(7, "build");
	ok(happened("say build ''; watch 2 observe at /run/netns/build.7; "),
	   "a named namespace is watched by its file");
	space(7, "build");
	ok(happened("say build ''; "), "its addresses have changed: said, not watched again");
	space(8, "build");
	ok(happened("say build ''; forget 2; watch 2 observe at /run/netns/build.8; "),
	   "another one under that name: the same endpoint, watched anew");
	(void)report(PART_REPORT_FAILED, 2, 0, "gone");
	journal[0] = '\0';
	book_turn(book, 10000000000);
	ok(happened("watch 2 observe at /run/netns/build.8; "), "what failed is ordered again");
	down(2, INVENTORY_DOWN);
	ok(happened("forget 2; stopped 2; ") && book_count(book) == 1, "it has gone");
}

static void test_state(void)
{
	struct speaker_mode modes[] = {
		{ .endpoint = id_of(2),
		  .mode = CODEC_MODE_ENFORCE,
		  .lost = { .endpoint = id_of(2), .mode = PART_LOST_DENY } },
		{ .endpoint = id_of(3),
		  .mode = CODEC_MODE_ENFORCE,
		  .lost = { .endpoint = id_of(3), .mode = PART_LOST_ALLOW } },
	};
	struct speaker_state state = { .default_mode = CODEC_MODE_OBSERVE,
		                       .modes = modes,
		                       .mode_count = 2 };

	begin(2);
	up(2, 20, 200, "web");
	book_state(book, &state);
	ok(strstr(journal, "mode 1") == NULL && strstr(journal, "mode 2 enforce") != NULL,
	   "the host does not leave enforce before its guests are known");
	journal[0] = '\0';
	synced(0);
	ok(happened(""), "nor when one of the sources has named them");
	synced(1);
	ok(happened("mode 1 observe; complete; "), "then it does");
	synced(1);
	ok(happened("complete; "), "once");
	book_state(book, &state);
	char wanted[256];
	(void)snprintf(wanted, sizeof(wanted),
	               "lost 2 %d; lost 3 %d; mode 1 observe; mode 2 enforce; ",
	               (int)PART_LOST_DENY, (int)PART_LOST_ALLOW);
	ok(happened(wanted), "each endpoint's mode is ordered, also when it is the same again");
	up(3, 30, 300, "db");
	ok(happened("say db ''; watch 3 enforce pid 30.300; "),
	   "one that comes later comes into its mode");
	up(4, 40, 400, "new");
	ok(happened("say new ''; watch 4 observe pid 40.400; "), "or into the default");
	state.mode_count = 0;
	state.default_mode = CODEC_MODE_ENFORCE;
	book_state(book, &state);
	ok(happened("mode 1 enforce; mode 2 enforce; mode 3 enforce; mode 4 enforce; "),
	   "a new default goes to all that are not named");
	memset(modes, 0xff, sizeof(modes));
	up(5, 50, 500, "late");
	ok(happened("say late ''; watch 5 enforce pid 50.500; "), "the state was copied");
	tell((struct inventory_change){ .kind = INVENTORY_UP,
	                                .id = id_of(6),
	                                .pid = 60,
	                                .host_network = true,
	                                .container_id = "abc" },
	     "inside");
	ok(happened("say inside ''; watch 6 enforce host guest pid 60.0; "),
	   "one in the host's namespace is watched there, as a guest");
	struct book_container container = { 0 };
	struct pr_uuid six = id_of(6), host = id_of(1), nobody = id_of(99);
	ok(book_container(book, &six, &container) && container.pid == 60 &&
	           strcmp(container.container_id, "abc") == 0 &&
	           !book_container(book, &host, &container) &&
	           !book_container(book, &nobody, &container),
	   "its first process is told, the host has none");
	tell(
		(struct inventory_change){
			.kind = INVENTORY_UP, .id = id_of(7), .pid = 70, .joined = true },
		"joined");
	ok(happened("say joined ''; watch 7 enforce guest pid 70.0; "),
	   "and so is one in another container's");
	state.default_mode = CODEC_MODE_OBSERVE;
	book_state(book, &state);
	ok(strstr(journal, "mode 6 observe") != NULL, "each has its own mode");
}

static void test_reports(void)
{
	begin(2);
	(void)report(PART_REPORT_OPENED, 1, CODEC_MODE_OBSERVE, "");
	ok(happened(""), "what holds is kept until the inventory names the host");
	tell((struct inventory_change){ .kind = INVENTORY_HOST, .id = id_of(1) }, "host");
	ok(happened("say host 'observe'; "), "then it is said");
	(void)report(PART_REPORT_MODE, 1, CODEC_MODE_ENFORCE, "");
	ok(happened("say host 'enforce'; "), "a change is said at once");
	(void)report(PART_REPORT_MODE, 1, CODEC_MODE_ENFORCE, "");
	ok(happened(""), "the same again is not");
	(void)report(PART_REPORT_FAILED, 1, 0, "no queue back end");
	ok(happened("say host 'failed: no queue back end'; "), "a failure is said");
	tell((struct inventory_change){ .kind = INVENTORY_HOST, .id = id_of(1) }, "renamed");
	ok(happened("say renamed 'failed: no queue back end'; "), "and stays with a new name");
	(void)report(PART_REPORT_COUNTERS, 1, CODEC_MODE_OBSERVE, "");
	(void)report(PART_REPORT_PASSED, 1, CODEC_MODE_OBSERVE, "");
	(void)report(PART_REPORT_CLOSED, 1, CODEC_MODE_OBSERVE, "");
	ok(happened(""), "other reports say nothing of what holds");
	(void)report(PART_REPORT_FAILED, 7, 0, "of one unknown");
	ok(happened(""), "a report of one that has gone is nothing");
	char longest[PART_TEXT_BYTES];
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	(void)report(PART_REPORT_FAILED, 1, 0, longest);
	ok(strlen(journal) > PART_TEXT_BYTES, "the longest reason fits");
}

static void test_again(void)
{
	const uint64_t s = 1000000000;

	begin(2);
	up(2, 20, 200, "web");
	journal[0] = '\0';
	book_turn(book, 10 * s);
	ok(happened(""), "nothing has failed: nothing is ordered");
	ok(report(PART_REPORT_FAILED, 2, 0, "queue taken"), "a failure is news");
	ok(happened("say web 'failed: queue taken'; "), "and said");
	book_turn(book, 11 * s);
	ok(happened(""), "not at once again");
	book_turn(book, 12 * s);
	ok(happened("watch 2 observe pid 20.200; "), "ordered again after two seconds");
	book_turn(book, 14 * s);
	ok(happened(""), "once, until the keeper has answered");
	ok(!report(PART_REPORT_FAILED, 2, 0, "queue taken"), "the same failure is no news");
	book_turn(book, 16 * s);
	ok(happened("watch 2 observe pid 20.200; "), "but ordered again");
	ok(report(PART_REPORT_FAILED, 2, 0, "marks taken"), "another one is news");
	(void)report(PART_REPORT_OPENED, 2, CODEC_MODE_OBSERVE, "");
	ok(happened("say web 'failed: marks taken'; say web 'observe'; "), "then it holds");
	book_turn(book, 18 * s);
	ok(happened(""), "and is left alone");
	(void)report(PART_REPORT_FAILED, 2, 0, "gone");
	down(2, INVENTORY_DOWN);
	journal[0] = '\0';
	book_turn(book, 20 * s);
	ok(happened(""), "one that has gone is not ordered again");
}

int main(void)
{
	test_containers();
	test_listing();
	test_sources();
	test_namespaces();
	test_state();
	test_reports();
	test_again();
	book_destroy(&book);
	ok(book == NULL, "ended");
	return tap_done();
}
