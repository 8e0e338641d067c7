/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * What a controller needs with many endpoints and rules: `test_footprint [ENDPOINTS RULES]`, 1,000
 * and 10,000 without. Fills a store, starts the daemon on it, and prints the resident memory of
 * each of its processes, how long a process takes to read and compile it all, and how long one
 * decision takes. Prints figures, asserts none of them.
 */

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"
#include "controller/decide.h"
#include "controller/view.h"
#include "store/store.h"
#include "tests/tap.h"

#define DECISIONS 200000

static char folder[64], program[4096], conf_path[128], log_path[128];

static void must(bool good, const char *what)
{
	if (!good) {
		(void)printf("Bail out! %s\n", what);
		exit(1);
	}
}

static pid_t spawn(const char *option)
{
	pid_t pid = fork();

	if (pid == 0) {
		int out = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		(void)dup2(out, 1);
		(void)dup2(out, 2);
		(void)execl(program, program, "--config", conf_path, option, (char *)NULL);
		_exit(127);
	}
	must(pid > 0, "fork");
	return pid;
}

static const char *log_read(char log[static 8192])
{
	int fd = open(log_path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, log, 8191) : 0;

	pr_fd_close(&fd);
	log[got > 0 ? got : 0] = '\0';
	return log;
}

static bool log_has(const char *text)
{
	char log[8192];

	return strstr(log_read(log), text) != NULL;
}

static void log_print(void)
{
	char log[8192], *rest = log;
	const char *line;

	(void)log_read(log);
	while ((line = strsep(&rest, "\n")) != NULL) {
		(void)printf("# %s\n", line);
	}
}

/* ---- filling ---- */

static struct pr_uuid host_id(unsigned host)
{
	return pr_uuid_of_bytes("test", &host, sizeof(host));
}

static codec_doc_t *endpoint_doc(unsigned index, unsigned host, struct pr_uuid *ret_id)
{
	codec_doc_t *document = codec_doc_new(CODEC_ENDPOINT);
	struct pr_uuid id_of_host = host_id(host);
	char container[65];

	must(document != NULL, "memory");
	(void)snprintf(container, sizeof(container), "%064x", index);
	*ret_id = index % 50 == 0 ? id_of_host : pr_uuid_of_container(container);
	codec_doc_set_uuid(document, CODEC_ENDPOINT_UUID, ret_id);
	codec_doc_set_uuid(document, CODEC_ENDPOINT_HOST, &id_of_host);
	codec_doc_addf(document, CODEC_ENDPOINT_LISTENERS, "tcp/%u 4251 /usr/sbin/apache2", 80);
	if (index % 50 == 0) {
		codec_doc_set_text(document, CODEC_ENDPOINT_KIND, "host");
		codec_doc_addf(document, CODEC_ENDPOINT_ADDRESSES,
		               "global 10.1.%u.%u/16 02:00:00:00:00:01 eth0", host / 250,
		               host % 250 + 1);
	} else {
		codec_doc_set_text(document, CODEC_ENDPOINT_KIND, "container");
		codec_doc_set_text(document, CODEC_ENDPOINT_CONTAINER_ID, container);
		codec_doc_set_text(document, CODEC_ENDPOINT_IMAGE, "wordpress:latest");
		codec_doc_addf(document, CODEC_ENDPOINT_ADDRESSES,
		               "aaaaaaaa-0000-4000-8000-000000000001 172.18.0.%u/16 "
		               "02:42:ac:12:00:03 eth0",
		               index % 50 + 1);
		for (unsigned label = 0; label < 8; label++) {
			codec_doc_addf(document, CODEC_ENDPOINT_LABELS,
			               "org.example.label.%u=value-%u", label, index);
		}
		codec_doc_addf(document, CODEC_ENDPOINT_LABELS, "com.docker.compose.service=svc%u",
		               index % 200);
	}
	char name[64];
	(void)snprintf(name, sizeof(name), "endpoint-%u", index);
	codec_doc_set_text(document, CODEC_ENDPOINT_NAME, name);
	(void)snprintf(name, sizeof(name), "host-%u", host);
	codec_doc_set_text(document, CODEC_ENDPOINT_HOST_NAME, name);
	return document;
}

static void fill_endpoints(store_t *store, unsigned count)
{
	for (unsigned host = 0; host * 50 < count; host++) {
		struct store_endpoint endpoints[50];
		struct store_change change;
		struct pr_uuid agent = host_id(host);
		size_t filled = 0;
		for (unsigned i = host * 50; i < count && filled < 50; i++, filled++) {
			uint8_t *data = NULL;
			codec_doc_t *document = endpoint_doc(i, host, &endpoints[filled].id);
			must(codec_doc_encode(document, &data, &endpoints[filled].size_bytes) ==
			             PR_OK,
			     "encode");
			endpoints[filled].data = data;
			codec_doc_destroy(&document);
		}
		must(store_endpoint_replace(store, &agent, endpoints, filled, 1, &change) == PR_OK,
		     "endpoints");
		for (size_t i = 0; i < filled; i++) {
			free((void *)(uintptr_t)endpoints[i].data);
		}
	}
}

static void fill_policy(store_t *store, unsigned rules)
{
	size_t size_bytes = 0;
	char *text = NULL, author[] = "test", message[] = "many rules";
	FILE *out = open_memstream(&text, &size_bytes);
	uint64_t head = 0;

	must(out != NULL, "memory");
	(void)fprintf(out, "mode enforce default\n");
	for (unsigned group = 0; group < 200; group++) {
		(void)fprintf(out, "group g%u select compose.service svc%u\n", group, group);
	}
	for (unsigned rule = 1; rule <= rules; rule++) {
		(void)fprintf(
			out, "rule %u %s %s%u from g%u to %s%u%s tcp/%u,%u%s comment \"rule %u\"\n",
			rule * 10, rule % 7 == 0 ? "deny" : "allow",
			rule % 5 == 0 ? "user u" : "user ", rule % 300, rule % 200,
			rule % 3 == 0 ? "10." : "g", rule % 3 == 0 ? rule % 250 : (rule * 7) % 200,
			rule % 3 == 0 ? ".0.0/16" : "", 1000 + rule % 4000, 20 + rule % 80,
			rule % 4 == 0 ? " process /usr/bin/program" : "", rule);
	}
	(void)fclose(out);
	struct store_revision revision = {
		.author = author, .message = message, .text = text, .text_bytes = size_bytes
	};
	must(store_policy_head(store, &head) == PR_OK, "head");
	must(store_policy_commit(store, head, &revision, NULL, &head) == PR_OK, "commit");
	(void)printf("# policy text: %zu KiB\n", size_bytes / 1024);
	free(text);
}

/* ---- measuring ---- */

static double ms_since(uint64_t start_ns)
{
	return (double)(pr_clock_monotonic_ns() - start_ns) / (double)PR_NS_PER_MS;
}

static void measure_decisions(const struct view *view)
{
	flow_table_t *flows = flow_table_new(FLOW_COUNT_MAX, 1);
	struct decide_counters counters = { .requests = 0 };
	struct pr_uuid agent = host_id(0);
	struct codec_request request = { .end = CODEC_END_NEAR,
		                         .proto = 6,
		                         .reporter = agent,
		                         .from_state = CODEC_KNOWN_KNOWN,
		                         .from_uid = 33 };
	struct codec_verdict verdict;

	must(flows != NULL && pr_addr_parse("10.1.0.1", &request.src) == PR_OK &&
	             pr_addr_parse("10.1.0.2", &request.dst) == PR_OK,
	     "request");
	request.wire_src = request.src;
	request.wire_dst = request.dst;
	uint64_t start_ns = pr_clock_monotonic_ns();
	for (unsigned i = 0; i < DECISIONS; i++) {
		struct decide_context context = {
			.directory = view->directory,
			.flows = flows,
			.image = view->image,
			.counters = &counters,
			.now_ns = start_ns + i * 1000ULL,
			.now_wall_ns = 1,
		};
		request.id = i;
		request.src_port = (uint16_t)i;
		request.dst_port = request.wire_dst_port = (uint16_t)(1000 + i % 4000);
		(void)decide_request(&context, &request, &agent, true, &verdict);
	}
	(void)printf("# one near end decided: %.2f us\n", ms_since(start_ns) * 1000 / DECISIONS);
	ok(counters.requests == DECISIONS, "%u decisions", DECISIONS);
	flow_table_destroy(&flows);
}

static void measure_view(const char *path)
{
	struct store_options options = { .path = path, .read_only = true };
	store_t *store = NULL;
	struct view view;

	must(store_open(&options, &store) == PR_OK, "store");
	must(view_init(&view, store, authority_of_store(store)) == PR_OK, "view");
	uint64_t start_ns = pr_clock_monotonic_ns();
	ok(view_refresh(&view, NULL) == PR_OK && view.image != NULL, "all of it compiles");
	(void)printf("# read, parse and compile all: %.1f ms; %zu endpoints, %llu rules, image %zu "
	             "KiB\n",
	             ms_since(start_ns), directory_count(view.directory),
	             (unsigned long long)view.rule_count,
	             policy_image_size_bytes(view.image) / 1024);
	view.fingerprint++; /* as if groups may have changed */
	start_ns = pr_clock_monotonic_ns();
	ok(view_refresh(&view, NULL) == PR_OK && view.counters.compiles == 2, "compile again");
	(void)printf("# compile alone, after a change of endpoints: %.1f ms\n", ms_since(start_ns));
	measure_decisions(&view);
	view_done(&view);
	store_destroy(&store);
}

static unsigned long rss_kib(pid_t pid, unsigned long *ret_anonymous)
{
	char path[64], line[256];
	unsigned long kib = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "VmRSS:", 6) == 0) {
			kib = strtoul(line + 6, NULL, 10);
		} else if (strncmp(line, "RssAnon:", 8) == 0) {
			*ret_anonymous = strtoul(line + 8, NULL, 10);
		}
	}
	if (file != NULL) {
		(void)fclose(file);
	}
	return kib;
}

static pid_t parent_of(pid_t pid)
{
	char path[64], line[512];
	pid_t parent = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "r");
	if (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		const char *close = strrchr(line, ')');
		parent = close != NULL ? (pid_t)strtol(close + 4, NULL, 10) : 0;
	}
	if (file != NULL) {
		(void)fclose(file);
	}
	return parent;
}

/* Children in order of pid: admin service, then the workers. */
static void print_memory(pid_t supervisor)
{
	unsigned long anonymous = 0;
	unsigned children = 0;
	DIR *proc = opendir("/proc");
	struct dirent *entry = NULL;

	must(proc != NULL, "/proc");
	unsigned long kib = rss_kib(supervisor, &anonymous);
	(void)printf("# supervisor: resident %.1f MiB\n", (double)kib / 1024);
	while ((entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid <= 0 || parent_of(pid) != supervisor) {
			continue;
		}
		kib = rss_kib(pid, &anonymous);
		(void)printf("# child %u: resident %.1f MiB, of it %.1f MiB its own, the rest "
		             "mapped files\n",
		             children++, (double)kib / 1024, (double)anonymous / 1024);
	}
	(void)closedir(proc);
	ok(children == 3, "an admin service and two workers run");
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
	(void)info;
	(void)kind;
	(void)walk;
	return remove(path);
}

static void run_daemon(void)
{
	int status = 0;
	pid_t pid = spawn(NULL);

	for (unsigned i = 0; i < 1000 && !log_has("ready: "); i++) {
		(void)usleep(10000);
	}
	if (!ok(log_has("ready: "), "the daemon gets ready")) {
		log_print();
	}
	(void)usleep(300000);
	print_memory(pid);
	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "and ends");
}

int main(int argc, char **argv)
{
	unsigned endpoints = argc > 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000;
	unsigned rules = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10000;
	const char *builddir = getenv("builddir");
	char store_path[128];
	store_t *store = NULL;

	(void)snprintf(folder, sizeof(folder), "/tmp/portreeve-test-XXXXXX");
	must(mkdtemp(folder) != NULL, "folder");
	(void)snprintf(program, sizeof(program), "%s/portreeve-controller",
	               builddir != NULL ? builddir : ".");
	(void)snprintf(conf_path, sizeof(conf_path), "%s/controller.conf", folder);
	(void)snprintf(log_path, sizeof(log_path), "%s/log", folder);
	(void)snprintf(store_path, sizeof(store_path), "%s/state/store", folder);
	/* Below the ports that the kernel gives to others meanwhile. */
	unsigned port = 10000 + (unsigned)getpid() % 500 * 20;
	FILE *file = fopen(conf_path, "w");
	must(file != NULL, "configuration");
	(void)fprintf(file,
	              "state_directory = %s/state\nlisten = 127.0.0.1\nport = %u\n"
	              "worker_port = %u\n",
	              folder, port, port + 10);
	(void)fclose(file);
	int status = 0;
	must(waitpid(spawn("--init"), &status, 0) > 0 && status == 0, "--init");
	struct store_options options = { .path = store_path };
	must(store_open(&options, &store) == PR_OK, "store");
	fill_endpoints(store, endpoints);
	fill_policy(store, rules);
	store_destroy(&store);
	run_daemon();
	measure_view(store_path);
	(void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return tap_done();
}
