/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <cap-ng.h>
#include <linux/capability.h>
#include <sys/prctl.h>

#include "agent/internal.h"
#include "base/err.h"

int agent_privilege_drop(struct agent_problem *ret_problem)
{
	/* Rules and queues; setns; other processes' descriptors and executables. */
	static const unsigned kept[] = { CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE,
		                         CAP_DAC_READ_SEARCH };
	static const char *const names[] = { "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE",
		                             "CAP_DAC_READ_SEARCH" };

	if (capng_get_caps_process() != 0) {
		return agent_fail(ret_problem, PR_EPERM, "cannot read own capabilities");
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(kept); i++) {
		if (capng_have_capability(CAPNG_EFFECTIVE, kept[i]) == 0) {
			return agent_fail(ret_problem, PR_EPERM,
			                  "%s is missing: start the agent as root", names[i]);
		}
	}
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < PR_ARRAY_LEN(kept); i++) {
		if (capng_update(
			    CAPNG_ADD,
			    (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET),
			    kept[i]) != 0) {
			return agent_fail(ret_problem, PR_EPERM, "%s cannot be kept", names[i]);
		}
	}
	if (capng_apply(CAPNG_SELECT_BOTH) != 0) {
		return agent_fail(ret_problem, PR_EPERM, "cannot drop capabilities");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		return agent_fail(ret_problem, PR_EPERM, "cannot set no_new_privs");
	}
	return PR_OK;
}
