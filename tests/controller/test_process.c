/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * The daemon itself, on loopback ports of its own: first start, enrolment, inventory, questions,
 * policy that takes effect, workers that are killed or frozen, revocation, errors at start.
 */

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "bus/bus.h"
#include "codec/codec.h"
#include "tests/tap.h"

#define ANSWER_MS 5000

static char folder[64], program[4096], conf_path[128], log_path[128];
static unsigned port;
static pid_t daemon_pid;
static bus_context_t *context;
static uint8_t controller_key[BUS_KEY_BYTES], authority_key[BUS_KEY_BYTES];

static void must(bool good, const char *what)
{
	if (!good) {
		(void)printf("Bail out! %s\n", what);
		if (daemon_pid > 0) {
			(void)kill(daemon_pid, SIGTERM);
		}
		exit(1);
	}
}

/* ---- the daemon ---- */

static void write_conf(const char *user)
{
	FILE *file = fopen(conf_path, "w");

	must(file != NULL, "configuration");
	(void)fprintf(file,
	              "state_directory = %s/state\nlisten = 127.0.0.1\nadvertise = 127.0.0.1\n"
	              "port = %u\nworker_port = %u\nrecorder = tcp://127.0.0.1:%u\n",
	              folder, port, port + 10, port + 1);
	if (user != NULL) {
		(void)fprintf(file, "user = %s\n", user);
	}
	(void)fclose(file);
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

static int run(const char *option)
{
	int status = 0;

	must(waitpid(spawn(option), &status, 0) > 0, "wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool log_has(const char *text)
{
	static char log[262144];
	int fd = open(log_path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, log, sizeof(log) - 1) : 0;

	pr_fd_close(&fd);
	log[got > 0 ? got : 0] = '\0';
	return strstr(log, text) != NULL;
}

static void log_clear(void)
{
	must(truncate(log_path, 0) == 0, "log");
}

static bool log_wait(const char *text, unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 100; i++) {
		if (log_has(text)) {
			return true;
		}
		(void)usleep(10000);
	}
	return false;
}

static void daemon_start(void)
{
	log_clear();
	daemon_pid = spawn(NULL);
	must(log_wait("ready: ", 10), "the daemon does not get ready");
}

static int daemon_stop(void)
{
	int status = 0;

	(void)kill(daemon_pid, SIGTERM);
	must(waitpid(daemon_pid, &status, 0) > 0, "wait");
	daemon_pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- talking ---- */

static bus_client_t *connect_to(unsigned to_port, const struct bus_key *key)
{
	char endpoint[64];
	struct bus_client_options options = { .endpoint = endpoint,
		                              .server_key = controller_key,
		                              .key = key,
		                              .frame_max_bytes = CODEC_DOC_MAX_BYTES };
	bus_client_t *client = NULL;

	(void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", to_port);
	must(bus_client_new(context, &options, &client) == PR_OK, "client");
	return client;
}

/* PR_EAGAIN while it connects. */
static void send_bytes(bus_client_t *client, const void *data, size_t size_bytes)
{
	for (unsigned i = 0; i < 200; i++) {
		if (bus_client_send(client, data, size_bytes) == PR_OK) {
			return;
		}
		(void)usleep(10000);
	}
}

static void say(bus_client_t *client, codec_doc_t *document)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	must(codec_doc_encode(document, &data, &size_bytes) == PR_OK, "encode");
	send_bytes(client, data, size_bytes);
	codec_doc_destroy(&document);
}

static void wait_for(bus_client_t *client, int timeout_ms)
{
	/* Refused clients return at once: do not spin. */
	if (bus_client_wait(client, timeout_ms) != PR_OK) {
		(void)usleep(1000);
	}
}

/* The next document of a type, within a time; others are skipped. */
static codec_doc_t *hear(bus_client_t *client, enum codec_type type, int timeout_ms)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + (uint64_t)timeout_ms * PR_NS_PER_MS;
	const uint8_t *data = NULL;
	size_t size_bytes = 0;

	while (pr_clock_monotonic_ns() < end_ns) {
		codec_doc_t *document = NULL;
		if (bus_client_receive(client, &data, &size_bytes) != PR_OK) {
			wait_for(client, 10);
			continue;
		}
		if (codec_doc_decode(data, size_bytes, &document) == PR_OK &&
		    codec_doc_type(document) == type) {
			return document;
		}
		codec_doc_destroy(&document);
	}
	return NULL;
}

/* Ask and forget the answer; true: it came and was of that type. */
static bool ask(bus_client_t *client, codec_doc_t *document, enum codec_type type)
{
	say(client, document);
	_cleanup_(codec_doc_destroy) codec_doc_t *got = hear(client, type, ANSWER_MS);
	return got != NULL;
}

static struct bus_token token_new(bus_client_t *admin, const char *role)
{
	codec_doc_t *want = codec_doc_new(CODEC_TOKEN_NEW);
	struct bus_token token = { .role = BUS_ROLE_NONE };

	codec_doc_set_text(want, CODEC_TOKEN_NEW_ROLE, role);
	codec_doc_set_u64(want, CODEC_TOKEN_NEW_APPROVED, 1);
	say(admin, want);
	_cleanup_(codec_doc_destroy) codec_doc_t *got = hear(admin, CODEC_OK, ANSWER_MS);
	must(got != NULL && bus_token_parse(codec_doc_text(got, CODEC_OK_TEXT), &token) == PR_OK,
	     "token");
	return token;
}

static struct pr_uuid enroll(bus_client_t *admin, const char *name, struct bus_key *ret_key)
{
	struct bus_token token = token_new(admin, "agent");
	struct pr_uuid id = pr_uuid_new();
	codec_doc_t *want = codec_doc_new(CODEC_ENROLL);

	must(bus_key_new(ret_key) == PR_OK, "key");
	codec_doc_set_uuid(want, CODEC_ENROLL_UUID, &id);
	codec_doc_set_blob(want, CODEC_ENROLL_PUBLIC_KEY, ret_key->public_key, BUS_KEY_BYTES);
	codec_doc_set_text(want, CODEC_ENROLL_NAME, name);
	_cleanup_(bus_client_destroy) bus_client_t *enrolling = connect_to(port, &token.key);
	ok(ask(enrolling, want, CODEC_ENROLLED), "'%s' enrols over the wire", name);
	return id;
}

static uint64_t inventory(bus_client_t *agent, const struct pr_uuid *id, const char *name,
                          const char *address)
{
	codec_doc_t *hello = codec_doc_new(CODEC_HELLO);
	codec_doc_t *host = codec_doc_new(CODEC_ENDPOINT);
	codec_doc_t *end = codec_doc_new(CODEC_INVENTORY_END);

	codec_doc_set_uuid(hello, CODEC_HELLO_UUID, id);
	say(agent, hello);
	codec_doc_set_uuid(host, CODEC_ENDPOINT_UUID, id);
	codec_doc_set_uuid(host, CODEC_ENDPOINT_HOST, id);
	codec_doc_set_text(host, CODEC_ENDPOINT_KIND, "host");
	codec_doc_set_text(host, CODEC_ENDPOINT_NAME, name);
	codec_doc_addf(host, CODEC_ENDPOINT_ADDRESSES, "global %s/24 - eth0", address);
	say(agent, host);
	codec_doc_set_u64(end, CODEC_INVENTORY_END_FULL, 1);
	say(agent, end);
	_cleanup_(codec_doc_destroy) codec_doc_t *ack = hear(agent, CODEC_INVENTORY_ACK, ANSWER_MS);
	ok(ack != NULL, "the inventory of '%s' is acknowledged", name);
	return ack != NULL ? codec_doc_u64(ack, CODEC_INVENTORY_ACK_DIRECTORY) : 0;
}

/* Ask a worker about tcp/PORT to an address outside; false: no verdict in time. */
static bool decide(bus_client_t *worker, const struct pr_uuid *reporter, uint64_t directory,
                   uint16_t to_port, int timeout_ms, struct codec_verdict *ret_verdict)
{
	static uint64_t id;
	static struct codec_verdict verdicts[CODEC_BATCH_MAX];
	uint8_t data[2048];
	const uint8_t *got = NULL;
	size_t size_bytes = 0, count = 0;
	struct codec_request request = { .id = ++id,
		                         .directory = directory,
		                         .held = 1,
		                         .proto = 6,
		                         .reporter = *reporter,
		                         .src_port = 40000,
		                         .dst_port = to_port,
		                         .wire_dst_port = to_port };

	must(pr_addr_parse("192.0.2.1", &request.src) == PR_OK &&
	             pr_addr_parse("198.51.100.1", &request.dst) == PR_OK,
	     "address");
	request.wire_src = request.src;
	request.wire_dst = request.dst;
	must(codec_records_encode(CODEC_REQUEST, &request, 1, data, sizeof(data), &size_bytes) ==
	             PR_OK,
	     "encode");
	send_bytes(worker, data, size_bytes);
	uint64_t end_ns = pr_clock_monotonic_ns() + (uint64_t)timeout_ms * PR_NS_PER_MS;
	while (pr_clock_monotonic_ns() < end_ns) {
		if (bus_client_receive(worker, &got, &size_bytes) != PR_OK) {
			wait_for(worker, 5);
			continue;
		}
		/* One frame may answer a question of before, too. */
		if (codec_records_decode(CODEC_VERDICT, got, size_bytes, verdicts, &count) !=
		    PR_OK) {
			continue;
		}
		for (size_t i = 0; i < count; i++) {
			if (verdicts[i].id == id) {
				*ret_verdict = verdicts[i];
				return true;
			}
		}
	}
	return false;
}

static void policy(bus_client_t *admin, const char *text)
{
	codec_doc_t *import = codec_doc_new(CODEC_POLICY_IMPORT);
	codec_doc_t *commit = codec_doc_new(CODEC_POLICY_COMMIT);

	codec_doc_set_text(import, CODEC_POLICY_IMPORT_TEXT, text);
	must(ask(admin, import, CODEC_OK), "import");
	codec_doc_set_text(commit, CODEC_POLICY_COMMIT_MESSAGE, "test");
	must(ask(admin, commit, CODEC_OK), "commit");
}

/* Process id of a worker, from the status that people see. */
static pid_t worker_pid(bus_client_t *admin, const char *name)
{
	pid_t pid = 0;

	say(admin, codec_doc_new(CODEC_STATUS_GET));
	for (;;) {
		_cleanup_(codec_doc_destroy) codec_doc_t *status = hear(admin, CODEC_STATUS, 500);
		if (status == NULL) {
			return pid;
		}
		if (strcmp(codec_doc_text(status, CODEC_STATUS_SERVICE), name) != 0) {
			continue;
		}
		for (size_t i = 0; i < codec_doc_count(status, CODEC_STATUS_FACTS); i++) {
			const char *fact = codec_doc_item(status, CODEC_STATUS_FACTS, i);
			if (strncmp(fact, "pid ", 4) == 0) {
				pid = (pid_t)strtol(fact + 4, NULL, 10);
			}
		}
	}
}

/* ---- tests ---- */

static void test_start_errors(void)
{
	char path[128];

	ok(run(NULL) == 1 && log_has("--init"), "no keys: it does not start, and says what to do");
	ok(run("--init") == 0, "--init");
	ok(run("--init") == 0 && log_has("kept "), "--init again keeps what is there");
	(void)snprintf(path, sizeof(path), "%s/state/authority.key", folder);
	must(chmod(path, 0644) == 0, "chmod");
	log_clear();
	ok(run(NULL) == 1 && log_has("authority.key") && log_has("0600"),
	   "a key that others can read: it does not start");
	must(chmod(path, 0600) == 0, "chmod");
	(void)snprintf(path, sizeof(path), "%s/state", folder);
	must(chmod(path, 0755) == 0, "chmod");
	ok(run(NULL) == 1 && log_has("others may enter"), "nor with a folder that is open");
	must(chmod(path, 0700) == 0, "chmod");
}

/* The keys that the CLI's configuration names. */
static void read_admin_conf(struct bus_key *ret_key)
{
	char path[128], line[512];
	struct pr_uuid id;

	(void)snprintf(path, sizeof(path), "%s/state/admin.key", folder);
	must(bus_key_load(path, &id, ret_key) == PR_OK, "admin.key");
	(void)snprintf(path, sizeof(path), "%s/state/admin.conf", folder);
	FILE *file = fopen(path, "r");
	must(file != NULL, "admin.conf");
	while (fgets(line, sizeof(line), file) != NULL) {
		char *quote = strchr(line, '"');
		if (quote == NULL || strlen(quote) < 42) {
			continue;
		}
		quote[41] = '\0';
		if (strncmp(line, "controller_key", 14) == 0) {
			must(bus_key_parse(quote + 1, controller_key) == PR_OK, "controller_key");
		} else if (strncmp(line, "authority_key", 13) == 0) {
			must(bus_key_parse(quote + 1, authority_key) == PR_OK, "authority_key");
		}
	}
	(void)fclose(file);
}

static void test_roles(const struct bus_key *admin_key, const struct bus_key *agent_key)
{
	_cleanup_(bus_client_destroy) bus_client_t *intruder = connect_to(port + 10, admin_key);
	_cleanup_(bus_client_destroy) bus_client_t *climber = connect_to(port, agent_key);
	codec_doc_t *commit = codec_doc_new(CODEC_POLICY_COMMIT);
	struct pr_uuid id = pr_uuid_new();
	struct codec_verdict verdict;

	ok(!decide(intruder, &id, 0, 80, 500, &verdict),
	   "an administrator's key gets no verdict from a worker");
	codec_doc_set_text(commit, CODEC_POLICY_COMMIT_MESSAGE, "mine now");
	say(climber, commit);
	_cleanup_(codec_doc_destroy) codec_doc_t *error = hear(climber, CODEC_ERROR, ANSWER_MS);
	ok(error != NULL && strcmp(codec_doc_text(error, CODEC_ERROR_CODE), "PR_EROLE") == 0,
	   "an agent's key cannot commit");
}

/* Milliseconds from a commit until this worker answers under it. */
static void test_commit_time(bus_client_t *admin, bus_client_t *worker, const struct pr_uuid *id,
                             uint64_t directory)
{
	struct codec_verdict verdict = { .revision = 0 };

	ok(decide(worker, id, directory, 80, ANSWER_MS, &verdict) &&
	           verdict.action == CODEC_ACTION_DENY && verdict.mode == CODEC_MODE_OBSERVE,
	   "the first policy: deny, in observe");
	uint64_t before = verdict.revision;
	policy(admin, "mode enforce default\nrule 10 allow from host alpha to any tcp/80\n");
	uint64_t start_ns = pr_clock_monotonic_ns();
	do {
		must(decide(worker, id, directory, 80, ANSWER_MS, &verdict), "verdict");
	} while (verdict.revision == before &&
	         pr_clock_monotonic_ns() - start_ns < 5 * PR_NS_PER_S);
	uint64_t took_ms = (pr_clock_monotonic_ns() - start_ns) / PR_NS_PER_MS;
	ok(verdict.revision == before + 1 && verdict.action == CODEC_ACTION_ALLOW &&
	           verdict.rule == 10,
	   "the next revision is in force");
	(void)printf("# a worker serves a new revision %llu ms after its commit\n",
	             (unsigned long long)took_ms);
	ok(decide(worker, id, directory, 81, ANSWER_MS, &verdict) &&
	           verdict.action == CODEC_ACTION_DENY && verdict.mode == CODEC_MODE_ENFORCE,
	   "and denies the rest");
}

static void test_worker_faults(bus_client_t *admin, bus_client_t *first, bus_client_t *second,
                               const struct pr_uuid *id, uint64_t directory)
{
	struct codec_verdict verdict;
	pid_t pid = worker_pid(admin, "worker 0");

	must(pid > 1, "pid of worker 0");
	(void)kill(pid, SIGSTOP);
	ok(!decide(first, id, directory, 80, 300, &verdict), "a frozen worker is silent");
	ok(decide(second, id, directory, 80, ANSWER_MS, &verdict) &&
	           verdict.action == CODEC_ACTION_ALLOW,
	   "the other one answers");
	policy(admin, "mode enforce default\n# beside a frozen worker\n"
	              "rule 10 allow from host alpha to any tcp/80\n");
	ok(true, "policy can be committed meanwhile");
	(void)kill(pid, SIGCONT);
	ok(decide(first, id, directory, 80, ANSWER_MS, &verdict), "it goes on when it is woken");
	(void)kill(pid, SIGKILL);
	ok(log_wait("worker 0 was ended by signal 9", 5), "a killed worker is said");
	ok(decide(first, id, directory, 80, ANSWER_MS, &verdict) || /* lost with the old process */
	           decide(first, id, directory, 80, ANSWER_MS, &verdict),
	   "and started again: it answers on the same port");
}

static void test_revocation(bus_client_t *admin, bus_client_t *worker, const struct pr_uuid *id,
                            uint64_t directory)
{
	codec_doc_t *revoke = codec_doc_new(CODEC_PEER_SET);
	struct codec_verdict verdict;

	codec_doc_set_text(revoke, CODEC_PEER_SET_NAME, "alpha");
	codec_doc_set_text(revoke, CODEC_PEER_SET_STATUS, "revoked");
	uint64_t start_ns = pr_clock_monotonic_ns();
	must(ask(admin, revoke, CODEC_OK), "revoke");
	while (bus_client_link(worker) == BUS_LINK_UP &&
	       pr_clock_monotonic_ns() - start_ns < 3 * PR_NS_PER_S) {
		(void)usleep(1000);
	}
	uint64_t took_ms = (pr_clock_monotonic_ns() - start_ns) / PR_NS_PER_MS;
	ok(took_ms < 1000, "a revoked agent's live session is cut within 1 s");
	(void)printf("# a worker cuts a revoked session %llu ms after the answer\n",
	             (unsigned long long)took_ms);
	ok(!decide(worker, id, directory, 80, 300, &verdict), "and gets no verdict");
}

static void test_admin_killed(const struct bus_key *admin_key, bus_client_t *admin)
{
	pid_t pid = worker_pid(admin, "controller");
	_cleanup_(bus_client_destroy) bus_client_t *again = NULL;

	must(pid > 1, "pid of the admin service");
	(void)kill(pid, SIGKILL);
	ok(log_wait("admin service was ended by signal 9", 5), "a killed admin service is said");
	again = connect_to(port, admin_key);
	ok(ask(again, codec_doc_new(CODEC_POLICY_GET), CODEC_POLICY),
	   "and serves the last revision again");
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
	(void)info;
	(void)kind;
	(void)walk;
	return remove(path);
}

static void test_running(void)
{
	struct bus_key admin_key, agent_key;

	read_admin_conf(&admin_key);
	daemon_start();
	must(bus_context_new(NULL, &context) == PR_OK, "context");
	bus_client_t *admin = connect_to(port, &admin_key);
	ok(ask(admin, codec_doc_new(CODEC_POLICY_GET), CODEC_POLICY),
	   "the administrator is admitted");
	ok(run(NULL) == 1 && log_has("cannot listen on"),
	   "a second one on the same ports gives up");
	struct pr_uuid id = enroll(admin, "alpha", &agent_key);
	bus_client_t *agent = connect_to(port, &agent_key);
	uint64_t directory = inventory(agent, &id, "alpha", "192.0.2.1");
	bus_client_t *first = connect_to(port + 10, &agent_key);
	bus_client_t *second = connect_to(port + 11, &agent_key);
	test_roles(&admin_key, &agent_key);
	test_commit_time(admin, first, &id, directory);
	test_worker_faults(admin, first, second, &id, directory);
	test_revocation(admin, second, &id, directory);
	test_admin_killed(&admin_key, admin);
	ok(daemon_stop() == 0, "SIGTERM: a clean end");
	bus_client_destroy(&first);
	bus_client_destroy(&second);
	bus_client_destroy(&agent);
	bus_client_destroy(&admin);
	bus_context_destroy(&context);
}

/* Does a process have this line in its status? */
static bool status_has(pid_t pid, const char *expected)
{
	char path[64], line[256];
	bool found = false;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		found |= strncmp(line, expected, strlen(expected)) == 0;
	}
	if (file != NULL) {
		(void)fclose(file);
	}
	return found;
}

static void test_user(void)
{
	if (geteuid() != 0) {
		skip("only root can start it as another user");
		return;
	}
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/state", folder);
	(void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	must(chmod(folder, 0755) == 0, "chmod");
	write_conf("nobody");
	ok(run("--init") == 0, "--init for another user");
	daemon_start();
	ok(status_has(daemon_pid, "Uid:\t65534\t65534\t65534"), "it is that user");
	ok(status_has(daemon_pid, "CapPrm:\t0000000000000000") &&
	           status_has(daemon_pid, "CapBnd:\t0000000000000000") &&
	           status_has(daemon_pid, "NoNewPrivs:\t1"),
	   "without any capability, and cannot get one");
	ok(daemon_stop() == 0, "and ends");
	write_conf("nobody-of-this-name");
	log_clear();
	ok(run(NULL) == 1 && log_has("does not exist"), "a user that does not exist: no start");
}

int main(void)
{
	const char *builddir = getenv("builddir");

	(void)snprintf(folder, sizeof(folder), "/tmp/portreeve-test-XXXXXX");
	must(mkdtemp(folder) != NULL, "folder");
	(void)snprintf(program, sizeof(program), "%s/portreeve-controller",
	               builddir != NULL ? builddir : ".");
	(void)snprintf(conf_path, sizeof(conf_path), "%s/controller.conf", folder);
	(void)snprintf(log_path, sizeof(log_path), "%s/log", folder);
	port = 20000 + (unsigned)getpid() % 500 * 20;
	(void)signal(SIGPIPE, SIG_IGN);
	write_conf(NULL);
	test_start_errors();
	test_running();
	test_user();
	(void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return tap_done();
}
