dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl PR_FUZZER: --enable-fuzzer links fuzz targets with clang's libFuzzer instead of the replayer.
AC_DEFUN([PR_FUZZER], [
	AC_ARG_ENABLE([fuzzer],
		[AS_HELP_STRING([--enable-fuzzer], [link fuzz targets with libFuzzer (needs clang)])],
		[], [enable_fuzzer=no])
	FUZZER_CFLAGS=
	FUZZER_LIBS=
	AS_IF([test "x$enable_fuzzer" != xno], [
		FUZZER_CFLAGS="-fsanitize=fuzzer-no-link"
		FUZZER_LIBS="-fsanitize=fuzzer"
		pr_saved_cflags=$CFLAGS
		CFLAGS="$CFLAGS $FUZZER_LIBS"
		AC_MSG_CHECKING([whether $CC has libFuzzer])
		AC_LINK_IFELSE([AC_LANG_SOURCE([[
			#include <stddef.h>
			#include <stdint.h>
			int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n);
			int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { return !d && n; }]])],
			[AC_MSG_RESULT([yes])], [
			AC_MSG_RESULT([no])
			AC_MSG_ERROR([--enable-fuzzer needs CC=clang and the Debian packages clang and libclang-rt-14-dev])
		])
		CFLAGS=$pr_saved_cflags
	])
	AM_CONDITIONAL([FUZZER], [test "x$enable_fuzzer" != xno])
	AC_SUBST([FUZZER_CFLAGS])
	AC_SUBST([FUZZER_LIBS])
])
