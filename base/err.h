/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Error codes of the whole tree. One list, three uses: enum, name, message.
 *
 * 0 is success, every failure is negative. Codes that are an errno keep its value, so a system
 * call's failure travels as -errno without translation. Own codes start at -1000.
 */

#include <errno.h>

/* clang-format off */
#define PR_ERR_LIST(X)                                                                \
	X(PR_ENOMEM,    -ENOMEM,       "out of memory")                               \
	X(PR_EINVAL,    -EINVAL,       "invalid argument")                            \
	X(PR_ENOENT,    -ENOENT,       "no such record")                              \
	X(PR_EEXIST,    -EEXIST,       "already exists")                              \
	X(PR_ENOSPC,    -ENOSPC,       "no space left: the store or its disk is full") \
	X(PR_EPERM,     -EPERM,        "operation not permitted")                     \
	X(PR_EACCES,    -EACCES,       "permission denied")                           \
	X(PR_EAGAIN,    -EAGAIN,       "not now, try again")                          \
	X(PR_EBUSY,     -EBUSY,        "in use by another program")                   \
	X(PR_EIO,       -EIO,          "input or output error")                       \
	X(PR_ENOTSUP,   -EOPNOTSUPP,   "not supported by this kernel")                \
	X(PR_EUNREACH,  -EHOSTUNREACH, "peer is not reachable")                       \
	X(PR_ETOOBIG,   -EMSGSIZE,     "larger than the limit")                       \
	X(PR_EMALF,     -1000,         "malformed message")                           \
	X(PR_EVERS,     -1001,         "unsupported protocol version")                \
	X(PR_ETIMEOUT,  -1002,         "peer did not answer in time")                 \
	X(PR_EROLE,     -1003,         "this key's role may not do that")             \
	X(PR_ESIGN,     -1004,         "signature does not verify")                   \
	X(PR_EOLD,      -1005,         "older than what is already known")            \
	X(PR_ECONFLICT, -1006,         "changed by somebody else meanwhile")          \
	X(PR_EPOLICY,   -1007,         "policy has errors")                           \
	X(PR_EKEYFILE,  -1008,         "key file is missing, malformed or too open")  \
	X(PR_ECONF,     -1009,         "configuration has errors")                    \
	X(PR_ECORRUPT,  -1010,         "stored data is corrupt")                      \
	X(PR_EEXPIRED,  -1011,         "expired")                                     \
	X(PR_EAMBIG,    -1012,         "ambiguous name")
/* clang-format on */

enum pr_err {
	PR_OK = 0,
#define X(name, value, text) name = (value),
	PR_ERR_LIST(X)
#undef X
};

/** Message for a code: own text, else strerror() of the errno. Never NULL, thread safe. */
const char *pr_strerror(int err);

/** Symbolic name ("PR_EMALF"), or "errno" for a code that is not in the list. */
const char *pr_err_name(int err);
