dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl PR_SANITIZERS: --enable-sanitizers[=LIST], default list address,undefined.
AC_DEFUN([PR_SANITIZERS], [
	AC_ARG_ENABLE([sanitizers],
		[AS_HELP_STRING([--enable-sanitizers@<:@=LIST@:>@],
			[build with sanitizers (default list: address,undefined)])],
		[], [enable_sanitizers=no])
	AS_IF([test "x$enable_sanitizers" = xyes], [enable_sanitizers=address,undefined])
	SANITIZER_FLAGS=
	AS_IF([test "x$enable_sanitizers" != xno], [
		SANITIZER_FLAGS="-fsanitize=$enable_sanitizers -fno-sanitize-recover=all"
		SANITIZER_FLAGS="$SANITIZER_FLAGS -fno-omit-frame-pointer"
		pr_saved_cflags=$CFLAGS
		CFLAGS="$CFLAGS $SANITIZER_FLAGS"
		AC_MSG_CHECKING([whether $CC builds with $enable_sanitizers sanitizers])
		AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes])], [
			AC_MSG_RESULT([no])
			AC_MSG_ERROR([$CC cannot link with -fsanitize=$enable_sanitizers (clang needs the Debian package libclang-rt-14-dev)])
		])
		CFLAGS=$pr_saved_cflags
	])
	AC_SUBST([SANITIZER_FLAGS])
])
