/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/privilege.h"

#define LOG_COMPONENT    "privilege"
#define CAPABILITIES_MAX 64

static int failed(const char *what)
{
	int err = errno != 0 ? -errno : PR_EPERM;

	log_error("cannot drop privileges: %s: %s", what, pr_strerror(err));
	return err;
}

int pr_privilege_switch(const char *user)
{
	if (user == NULL || user[0] == '\0' || geteuid() != 0) {
		return PR_OK;
	}
	errno = 0;
	const struct passwd *entry = getpwnam(user);
	if (entry == NULL) {
		log_error("user '%s' of the configuration does not exist", user);
		return PR_ENOENT;
	}
	if (initgroups(user, entry->pw_gid) != 0) {
		return failed("initgroups");
	}
	if (setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) != 0) {
		return failed("setresgid");
	}
	if (setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) != 0) {
		return failed("setresuid");
	}
	return PR_OK;
}

/* From here on no execve() can give a capability back. Needs CAP_SETPCAP, so only if we have any.
 */
static int drop_bounding_set(void)
{
	for (int capability = 0; capability < CAPABILITIES_MAX; capability++) {
		int held = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
		if (held > 0 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 &&
		    geteuid() == 0) {
			return failed("PR_CAPBSET_DROP");
		}
	}
	return PR_OK;
}

static int clear_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capset, &header, data) != 0) {
		return failed("capset");
	}
	memset(data, 0xff, sizeof(data));
	if (syscall(SYS_capget, &header, data) != 0) {
		return failed("capget");
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(data); i++) {
		if (data[i].effective != 0 || data[i].permitted != 0) {
			errno = EPERM;
			return failed("capabilities are still there");
		}
	}
	return PR_OK;
}

int pr_privilege_drop(const char *user)
{
	struct rlimit no_core = { 0, 0 };

	int ret = drop_bounding_set();
	if (ret == PR_OK) {
		ret = pr_privilege_switch(user);
	}
	if (ret == PR_OK) {
		ret = clear_capabilities();
	}
	if (ret != PR_OK) {
		return ret;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		return failed("PR_SET_NO_NEW_PRIVS");
	}
	/* Keys are in this memory: no core file, no ptrace by the same user. */
	if (setrlimit(RLIMIT_CORE, &no_core) != 0) {
		return failed("RLIMIT_CORE");
	}
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
		return failed("PR_SET_DUMPABLE");
	}
	return PR_OK;
}
