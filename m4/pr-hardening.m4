dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl PR_HARDENING: on unless --disable-hardening; _FORTIFY_SOURCE is left out under sanitizers.
AC_DEFUN([PR_HARDENING], [
	AC_ARG_ENABLE([hardening],
		[AS_HELP_STRING([--disable-hardening], [leave out compiler and linker hardening])],
		[], [enable_hardening=yes])
	HARDENING_CFLAGS=
	HARDENING_LDFLAGS=
	AS_IF([test "x$enable_hardening" != xno], [
		m4_foreach_w([flag], [-fstack-protector-strong -fstack-clash-protection
			-fcf-protection -fPIE], [PR_PROBE_CFLAG(flag, [HARDENING_CFLAGS])])
		AS_IF([test "x$enable_sanitizers" = xno && test "x$enable_fuzzer" = xno],
			[PR_PROBE_CFLAG([-D_FORTIFY_SOURCE=2], [HARDENING_CFLAGS])])
		m4_foreach([flag], [[-pie], [-Wl,-z,relro], [-Wl,-z,now], [-Wl,-z,noexecstack]],
			[PR_PROBE_LDFLAG(m4_quote(flag), [HARDENING_LDFLAGS])])
	])
	AC_SUBST([HARDENING_CFLAGS])
	AC_SUBST([HARDENING_LDFLAGS])
])
