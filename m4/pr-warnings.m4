dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl PR_WARNINGS: warnings that this compiler knows, in WARNING_CFLAGS. -Werror is given at make
dnl time (make CFLAGS='-O2 -g -Werror'), never here: it would break the probes.
AC_DEFUN([PR_WARNINGS], [
	WARNING_CFLAGS=
	m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
		-Wold-style-definition -Wformat=2 -Wpointer-arith -Wwrite-strings -Wvla
		-Wimplicit-fallthrough -Wredundant-decls -Wlogical-op -Wduplicated-cond
		-Wdate-time], [PR_PROBE_CFLAG(flag, [WARNING_CFLAGS])])
	AC_SUBST([WARNING_CFLAGS])
])
