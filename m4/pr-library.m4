dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl PR_LIBRARY(NAME, PKG-CONFIG MODULE, DEBIAN PACKAGE): sets NAME_CFLAGS and NAME_LIBS, or notes
dnl the package. PR_PROGRAM does so for a program. PR_LIBRARIES_DONE then stops once, naming everything to install.
AC_DEFUN([PR_LIBRARY], [
	AC_REQUIRE([PKG_PROG_PKG_CONFIG])
	PKG_CHECK_MODULES([$1], [$2], [], [
		pr_missing="$pr_missing $3"
		AC_MSG_WARN([$2 not found: install the Debian package $3])
	])
	PR_LIBRARIES_CFLAGS="$PR_LIBRARIES_CFLAGS $$1_CFLAGS"
])

dnl PR_PROGRAM(NAME, PROGRAM, DEBIAN PACKAGE): sets NAME, or notes the package.
AC_DEFUN([PR_PROGRAM], [
	AC_PATH_PROG([$1], [$2], [], [$PATH:/usr/sbin:/sbin])
	AS_IF([test "x$$1" = x], [
		pr_missing="$pr_missing $3"
		AC_MSG_WARN([$2 not found: install the Debian package $3])
	])
])

AC_DEFUN([PR_LIBRARIES_DONE], [
	AS_IF([test "x$pr_missing" != x],
		[AC_MSG_ERROR([libraries or programs are missing, run: apt-get install --no-install-recommends$pr_missing])])
	AC_SUBST([PR_LIBRARIES_CFLAGS])
])
