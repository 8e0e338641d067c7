dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl PR_SUMMARY: what was configured, for the end of configure and for --version.
AC_DEFUN([PR_SUMMARY], [
	pr_summary="compiler $CC, sanitizers $enable_sanitizers, fuzzer $enable_fuzzer, hardening $enable_hardening"
	AC_DEFINE_UNQUOTED([PR_CONFIGURE_SUMMARY], ["$pr_summary"],
		[Choices made by configure, shown by --version])
])
