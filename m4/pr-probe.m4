dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl PR_PROBE_CFLAG(FLAG, VARIABLE): append FLAG to VARIABLE if the compiler takes it silently.
AC_DEFUN([PR_PROBE_CFLAG], [
	AS_VAR_PUSHDEF([cache], [pr_cv_cflag_$1])
	AC_CACHE_CHECK([whether $CC takes $1], [cache], [
		pr_saved_cflags=$CFLAGS
		CFLAGS="$CFLAGS -Werror $1"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <stdio.h>]], [[puts("");]])],
			[AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
		CFLAGS=$pr_saved_cflags
	])
	AS_VAR_IF([cache], [yes], [$2="$$2 $1"])
	AS_VAR_POPDEF([cache])
])

dnl PR_PROBE_LDFLAG(FLAG, VARIABLE): the same for a flag of the link step.
AC_DEFUN([PR_PROBE_LDFLAG], [
	AS_VAR_PUSHDEF([cache], [pr_cv_ldflag_$1])
	AC_CACHE_CHECK([whether $CC links with $1], [cache], [
		pr_saved_ldflags=$LDFLAGS
		LDFLAGS="$LDFLAGS -Werror $1"
		AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <stdio.h>]], [[puts("");]])],
			[AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
		LDFLAGS=$pr_saved_ldflags
	])
	AS_VAR_IF([cache], [yes], [$2="$$2 $1"])
	AS_VAR_POPDEF([cache])
])
