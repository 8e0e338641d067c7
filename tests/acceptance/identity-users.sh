#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Users: a rule on a group of users lets one in and not the other, one on the server's user lets one
# server be reached and not the other, judged by the servers' own logs; who was seen where is counted,
# over a kill of the recorder; who is logged in is shown; users of a container whose engine gives it
# numbers of its own (--userns-remap).
. "$(dirname "$0")/lib.sh"
lib_start users

pr() { lib_pr "$@" >"$lib_data/out" 2>"$lib_data/err"; }
said() { cat "$lib_data/out" "$lib_data/err"; }
says() { said | grep -qF -- "$1"; }

# cli has users that this machine does not: a passwd of its own, in a mount namespace.
as_cli() { nsenter --mount="$lib_run/cli.mnt" --net="/run/netns/prt-$lib_name-cli" "$@"; }
as() { # UID COMMAND...
	local uid=$1
	shift
	as_cli setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
}
odd=$(printf '=ev\342\200\256il')
users_make() {
	(
		cat /etc/passwd
		printf '%s:x:%s:%s::/:/bin/sh\n' ana 7601 7601 ben 7602 7602 "$odd" 7603 7603 web 7604 7604
	) >"$lib_data/passwd"
	chmod 0644 "$lib_data/passwd"
	mkdir -p "$lib_run/mounts"
	mount --bind "$lib_run/mounts" "$lib_run/mounts"
	mount --make-private "$lib_run/mounts"
	: >"$lib_run/mounts/cli"
	unshare --mount="$lib_run/mounts/cli" mount --bind "$lib_data/passwd" /etc/passwd
	ln -sf mounts/cli "$lib_run/cli.mnt"
}

server() { # NAME UID PORT: a server on srv whose log has each request
	lib_spawn "$1" nsenter --mount="$lib_run/cli.mnt" --net="/run/netns/prt-$lib_name-srv" \
		setpriv --reuid "$2" --regid "$2" --clear-groups \
		/usr/bin/python3 -u -m http.server "$3" --directory "$lib_source/doc"
	lib_until 5 lib_in srv curl -s -o /dev/null "http://127.0.0.1:$3/up" ||
		bail "no server on $3: see $lib_data/$1.log"
}
asks() { as "$1" curl -s -o /dev/null -m 2 "http://192.168.7.2:$2/$3"; } # UID PORT MARK
came() { grep -q "GET /$2 " "$lib_data/$1.log"; }                        # SERVER MARK
# Only in: a request by each of two users arrives from the one and not from the other.
seen_of() { # USER [FIELD]: a field of its row at cli
	lib_pr users "$1" --json 2>/dev/null | grep '"type":"seen"' | grep '"host":"cli"' |
		sed -n "s/.*\"${2:-connections}\":\([0-9]*\).*/\1/p"
}

lib_host ctl 1
lib_host srv 2
lib_host cli 3
users_make
lib_controller ctl
lib_recorder ctl
lib_mounts_cli=$lib_run/cli.mnt
lib_mounts_srv=$lib_run/cli.mnt
lib_agent srv
lib_agent cli
server page 7604 8000
server mine 7604 8001
server roots 0 8002

# --- a group of users, change by change ---
pr usergroup create ops member ana
ok $? "usergroup create: $(said)"
says 'undo: portreeve policy rm usergroup ops'
ok $? "says how to undo it"
pr policy add allow user ops from cli to srv tcp/8000
[ $? -eq 1 ] && says 'write @ops'
ok $? "its name without the mark is refused: $(head -n 1 "$lib_data/err")"
cat >"$lib_data/policy" <<-END
	mode  observe default
	group ends select name cli select name srv
	mode  enforce group ends
	usergroup ops member ana
	usergroup servers member web
	usergroup empty
	rule 10 allow user @ops from ends to ends tcp/8000
	rule 20 allow from ends to ends tcp/8001,8002 to-user @servers
	rule 30 allow user @empty from ends to ends any
END
lib_commit "$lib_data/policy" 'users'
lib_until 10 lib_enforced cli && lib_until 10 lib_enforced srv
ok $? "both hosts are in enforce"

asks 7601 8000 ana-1
asks 7602 8000 ben-1
asks 0 8000 root-1
came page ana-1
ok $? "the member gets the page, says the server"
! came page ben-1 && ! came page root-1
ok $? "another user does not, nor does root"
pr explain cli srv tcp/8000 --user ana
[ $? -eq 0 ] && says 'user ana is in @ops by line 4: usergroup ops member ana'
ok $? "explain says by which line"
pr explain cli srv tcp/8000 --user ben
is $? 10 "and that the other is none"

# --- one more, by number, and out again ---
pr usergroup create ops member 7602
pr policy commit -m 'ben, too'
ok $? "a member more, by number"
lib_until 5 lib_settled
asks 7602 8000 ben-2
came page ben-2
ok $? "he gets the page"
pr usergroup members ops
is "$(awk 'NR > 1 { print $1 }' "$lib_data/out" | tr '\n' ' ')" 'ana 7602 ' "usergroup members"
pr policy rm usergroup ops
[ $? -eq 1 ] && says 'unknown usergroup "ops"'
ok $? "a usergroup that a rule names does not go"
lib_commit "$lib_data/policy" 'without ben'
asks 7602 8000 ben-3
! came page ben-3
ok $? "out of the group he does not get it any more"
lib_pr audit --json -n 1 2>/dev/null | grep -q '"reason":"without ben".*"undo":"portreeve policy rollback'
ok $? "the audit log has it, and how to undo it"

# --- the server's user ---
asks 7602 8001 own-1
asks 7602 8002 other-1
came mine own-1
ok $? "the server of the user that the rule names is reached"
! came roots other-1
ok $? "another user's server is not"
pr explain cli srv tcp/8001 --to-user web
[ $? -eq 0 ] && says 'to-user web is in @servers by line 5'
ok $? "explain --to-user"
pr reach --to srv --from cli
says 'to-user @servers' && says 'user @ops'
ok $? "reach names the conditions"

# --- who was seen where ---
asks 7603 8000 odd-1
counted() { [ "$(seen_of ana)" = 1 ] && [ "$(seen_of ben)" = 5 ] && [ -n "$(seen_of "$odd")" ]; }
lib_until 5 counted
ok $? "connections are counted by user: ana $(seen_of ana), ben $(seen_of ben)"
is "$(seen_of ben denied)" 2 "so are those that were denied"
is "$(seen_of ana uid)" 7601 "with the number"
pr users
says ana && says 'web ' && ! grep -q "$(printf '\342\200\256')" "$lib_data/out"
ok $? "portreeve users shows them, hostile names inert"
lib_pr users --json 2>/dev/null | grep -qF "\"user\":\"$odd\""
ok $? "and exact in JSON"
pr users ana
says '/curl ' && says 'tcp/8000' && says 'Last connections'
ok $? "one user: programs and last connections"
pr users eve
is $? 3 "one that nobody saw: 3"
before=$(lib_pr users --json 2>/dev/null | grep '"type":"seen"' | sort)
lib_stop recorder KILL
lib_recorder_run
lib_until 10 lib_pr events -n 1
is "$(lib_pr users --json 2>/dev/null | grep '"type":"seen"' | sort)" "$before" \
	"killed and started anew, the recorder says the same"

# --- who is logged in ---
pr users
says 'sessions on cli: /var/run/utmp' || says 'Sessions'
ok $? "a host without a record of logins says so: $(head -n 1 "$lib_data/err")"
echo "utmp = $lib_data/utmp" >>"$lib_data/agent-cli.conf"
lib_stop agent-cli
as_cli /usr/bin/python3 - "$lib_data/utmp" $$ <<-'END'
	import struct, sys
	record = struct.pack('=hxxi32s4s32s256shhiii4i20s', 7, int(sys.argv[2]), b'pts/0', b'p0', b'ana',
	                     b'192.0.2.7', 0, 0, 0, 1795476245, 0, 0, 0, 0, 0, b'')
	assert len(record) == 384
	open(sys.argv[1], 'wb').write(record + b'cut')
END
lib_agent_run cli
session() { lib_pr users ana --json 2>/dev/null | grep '"type":"session"' | grep -q '"from":"192.0.2.7"'; }
lib_until 10 session
ok $? "a login session is shown"
lib_pr users --json 2>/dev/null | grep '"type":"sessions_lack","host":"cli"' | grep -q 'the file is cut'
ok $? "that its file is cut, too"
: >"$lib_data/utmp"
no_session() { ! session; }
lib_until 5 no_session
ok $? "it goes when the user has logged out"

# --- a container with numbers of its own ---
remapped_make() { # an engine on rem whose containers' users are 100000 and on
	lib_host rem 4
	echo nobody:100000:65536 >"$lib_data/subid"
	: >"$lib_run/mounts/rem"
	# shellcheck disable=SC2016
	unshare --mount="$lib_run/mounts/rem" sh -c \
		'mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid' subid "$lib_data/subid" ||
		bail "no /etc/subuid to hide"
	lib_mounts_rem=$lib_run/mounts/rem
	lib_engine rem --userns-remap=nobody:nogroup
	lib_docker rem run -d --name box prt-busybox sleep 1000 >/dev/null || bail "no container"
	lib_agent rem "$lib_run/rem.docker"
	lib_until 15 lib_observed box || bail "box is not watched: see $lib_data/agent-rem.log"
}
inside() { # USER MARK: of the container, for the page
	printf 'GET /%s HTTP/1.0\r\n\r\n' "$2" |
		lib_docker rem exec -i -u "$1" box nc -w 2 192.168.7.2 8000 >/dev/null 2>&1
}
user_seen() { # NAME UID VERDICT: the container's end of a connection
	lib_pr events -n 100 --json 2>/dev/null | python3 -c '
import json, sys
sys.exit(not any(e["reporter"] == "initiator" and e["src"]["name"] == "box" and e["verdict"] == sys.argv[3]
                 and (e["user"]["name"], e["user"]["uid"]) == (sys.argv[1], int(sys.argv[2]))
                 for e in map(json.loads, sys.stdin)))' "$@"
}
# The whole path to an image must be open to the container's root, who is nobody to the machine.
if ! setpriv --reuid 100000 --regid 100000 --clear-groups test -x "$lib_data"; then
	skip "--userns-remap: $lib_data is not open to everybody"
	exit
fi
remapped_make
is "$(awk '{ print $2 }' "/proc/$(lib_docker rem inspect -f '{{.State.Pid}}' box)/uid_map")" 100000 \
	"a container of an engine with --userns-remap: root is 100000"
printf 'group box select name box\nmode enforce group box\nrule 40 allow user www from box to ends tcp/8000\n' \
	>>"$lib_data/policy"
lib_commit "$lib_data/policy" 'www in the container'
lib_until 10 lib_enforced box
inside www box-www
inside root box-root
came page box-www
ok $? "its user www gets the page, by the name in the container"
! came page box-root
ok $? "its root does not"
lib_until 5 user_seen www 100033 allowed && lib_until 5 user_seen root 100000 denied
ok $? "events have the container's names, and the host's numbers"
