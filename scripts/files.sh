# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the checks. project_files ROOT: the files of the project, one a line, relative: what git
# tracks or would track; without git (a release tarball) everything but what a build leaves.

project_files() {
	if [ -e "$1/.git" ] &&
		git -c safe.directory='*' -C "$1" ls-files -co --exclude-standard 2>/dev/null; then
		return
	fi
	(cd "$1" && find . \( -name .git -o -name autom4te.cache -o -name build -o -name 'build-*' \
		-o -name _build -o -name _inst -o -name .deps \) -prune -o -type f -print) |
		sed 's,^\./,,' | grep -Ev '\.(o|a|log|trs)$|^(config\.|aclocal|configure~?$|Makefile(\.in)?$)' |
		grep -Ev '^(stamp-h1|libtool|portreeve(-[a-z]+)?$)' || true
}

# project_c_files ROOT: of those, C sources and headers that still exist.
project_c_files() {
	project_files "$1" | grep -E '\.[ch]$' | while IFS= read -r file; do
		[ ! -f "$1/$file" ] || printf '%s\n' "$file"
	done
}
