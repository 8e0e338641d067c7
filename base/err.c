/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/err.h"

const char *pr_strerror(int err)
{
	switch (err) {
	case PR_OK:
		return "ok";
#define X(name, value, text) \
	case name:           \
		return text;
		PR_ERR_LIST(X)
#undef X
	default:
		break;
	}
	const char *text = strerrordesc_np(-err);
	return text != NULL ? text : "unknown error";
}

const char *pr_err_name(int err)
{
	switch (err) {
	case PR_OK:
		return "PR_OK";
#define X(name, value, text) \
	case name:           \
		return #name;
		PR_ERR_LIST(X)
#undef X
	default:
		return "errno";
	}
}
