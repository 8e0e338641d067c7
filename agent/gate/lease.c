/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/gate/internal.h"

bool gate_lease_find(const gate_t *gate, const struct codec_request *request,
                     struct codec_verdict *ret_verdict)
{
	(void)gate;
	(void)request;
	(void)ret_verdict;
	return false;
}
