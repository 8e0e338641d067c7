#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A policy as people live with it: two administrators, drafts, names, trials, conflicts, roll-backs,
# questions. Two hosts with real servers; what `explain` and `reach` say is held against what real
# clients get.
# shellcheck disable=SC2016
. "$(dirname "$0")/lib.sh"
lib_start plife
export TMPDIR=$lib_data # where drafts are kept

pr() { lib_pr "$@" >"$lib_data/out" 2>"$lib_data/err"; }
said() { cat "$lib_data/out" "$lib_data/err"; } # both streams of the last command
says() { said | grep -qF -- "$1"; }
bob() { lib_in ctl "$lib_build/portreeve" --config "$lib_data/bob.conf" "$@" >"$lib_data/out" 2>"$lib_data/err"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
undo_of() { said | sed -n 's/.*undo: portreeve //p'; }

# Does a client of a host get the page, and does the receiver see it?
gets() { # HOST PORT
	lib_in "$1" curl -s -m 1 "http://192.168.7.2:$2/policy.md" 2>/dev/null | grep -q 'The policy'
}

settled() { lib_until 5 lib_settled; }

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_host climate 4
lib_controller ctl
lib_recorder ctl
lib_agent srv
lib_agent cli
lib_agent climate
for port in 8000 8001 8002 8003; do
	lib_spawn "web-$port" nsenter --net="/run/netns/prt-$lib_name-srv" \
		busybox httpd -f -p "$port" -h "$lib_source/doc"
done
lib_in ctl "$lib_build/portreeve" --config "$lib_data/bob.conf" join "$(lib_token admin bob)" \
	--key "$lib_data/bob.key" --name bob >"$lib_data/join.log" 2>&1
ok $? "a second administrator joins"

# --- a draft, change by change ---
pr policy add allow from cli to srv tcp/8000 comment "the page"
ok $? "policy add makes a draft: $(said)"
says 'undo: portreeve policy rm 10'
ok $? "and says how to undo it"
pr policy list draft
is "$(awk '$1 == 10 { print $4, $5, $6, $8 }' "$lib_data/out")" 'cli srv tcp/8000 enabled' \
	"names in a rule became UUIDs, and are shown as names"
lib_pr policy export draft 2>/dev/null | grep -q 'from [0-9a-f-]\{36\} to [0-9a-f-]\{36\} tcp/8000'
ok $? "the text has UUIDs"
pr policy add allow from clim to srv tcp/8002
ok $? "a unique part of a name will do"
pr policy add allow from cl to srv tcp/8003
[ $? -ne 0 ] && says cli && says climate
ok $? "an ambiguous one lists the candidates"
pr policy add allow from cil to srv tcp/8003
[ $? -eq 3 ] && says "did you mean 'cli'"
ok $? "a wrong one is told what may be meant: $(head -n 1 "$lib_data/err")"
pr policy add alow from cli to srv tcp/8003
[ $? -eq 1 ] && says 'unknown word "alow"'
ok $? "a wrong line is refused"
pr group create servers select name srv
pr policy add expect allow from cli to servers tcp/8000
ok $? "a group and an expect line"
for change in 'disable 10' 'stage 10' 'mv 10 15'; do
	lib_pr policy export draft 2>/dev/null >"$lib_data/before"
	# shellcheck disable=SC2086
	pr policy $change
	undo=$(undo_of)
	# shellcheck disable=SC2086
	pr $undo
	lib_pr policy export draft 2>/dev/null >"$lib_data/after"
	cmp -s "$lib_data/before" "$lib_data/after" && [ -n "$undo" ]
	ok $? "policy $change, then $undo: the text is as it was"
done
lib_pr policy export draft 2>/dev/null >"$lib_data/before"
pr policy rm 10
says "undo: portreeve policy add 'rule 10 allow"
ok $? "policy rm says the whole line back"
bash -c "$(undo_of | sed "s#^#$lib_build/portreeve --config $lib_data/cli/cli.conf #; s#^#nsenter --net=/run/netns/prt-plife-ctl #")" \
	>/dev/null 2>&1
lib_pr policy export draft 2>/dev/null >"$lib_data/after"
cmp -s "$lib_data/before" "$lib_data/after"
ok $? "and a shell that runs it undoes it"
pr policy diff
says '+rule 10 allow' && says '--- revision 1'
ok $? "policy diff shows what the draft changes"
gets cli 8001
ok $? "nothing is in force yet"

# --- edit in an editor ---
printf '#!/bin/sh\nsed -i "s/^mode .*/mode  enforce default/" "$1"\n' >"$lib_data/editor"
chmod 0755 "$lib_data/editor"
EDITOR=$lib_data/editor pr policy edit
says '+mode  enforce default'
ok $? "policy edit runs \$EDITOR and shows the difference"
printf '#!/bin/sh\necho nonsense >>"$1"\n' >"$lib_data/editor"
EDITOR=$lib_data/editor pr policy edit
[ $? -ne 0 ] && says 'nonsense' && says 'your text is kept'
ok $? "a text with errors is no draft, and is not lost"

# --- commit on trial ---
pr policy commit
is $? 2 "no commit without a reason"
pr policy commit -m 'the page only' --confirm-within 3s
ok $? "a commit on trial: $(said)"
begin=$(now_ms)
settled
gets cli 8000 && ! gets cli 8001
ok $? "it bites: 8000 is allowed, 8001 is not"
pr policy add deny from any to any tcp/9
pr policy commit -m 'in between'
[ $? -ne 0 ] && says 'on trial'
ok $? "while it is on trial nothing else is committed"
gone_back() { gets cli 8001; }
lib_until 8 gone_back
took=$(($(now_ms) - begin))
[ "$took" -lt 6000 ]
ok $? "unconfirmed it goes back by itself (after $took ms)"
lib_pr policy log --json 2>/dev/null | head -n 1 | grep -q 'not confirmed in time'
ok $? "policy log says so"
pr policy import <(lib_pr policy export 2 2>/dev/null)
pr policy commit -m 'the page only' --confirm-within 3s
pr policy confirm
ok $? "policy confirm: $(said)"
sleep 4
gets cli 8000 && ! gets cli 8001
ok $? "confirmed it stays"

# --- a test in the policy ---
pr policy disable 10
pr policy commit -m 'break it'
[ $? -ne 0 ] && says 'expected allow' && says 'tcp/8000'
ok $? "a commit whose expect line fails is refused"
gets cli 8000
ok $? "and nothing has changed"
pr policy discard
says 'undo: portreeve policy import'
ok $? "policy discard keeps a copy"
undo=$(undo_of)
# shellcheck disable=SC2086
pr $undo
lib_pr policy export draft 2>/dev/null | grep -q '^rule 10 .*disabled'
ok $? "from which it can be undone"
pr policy discard

# --- two editors ---
pr policy add allow from cli to srv tcp/8001
bob policy add 50 allow from climate to srv tcp/8003
bob policy commit -m "bob's"
ok $? "bob commits"
pr policy commit -m 'too late'
[ $? -eq 5 ] && says '+rule 50 allow' && says 'tcp/8001'
ok $? "the second commit is refused with what both did"
lib_pr policy export draft 2>/dev/null | grep -q 'tcp/8001'
ok $? "and the draft is not lost"
pr policy rebase
ok $? "policy rebase: $(said)"
pr policy commit -m 'merged'
settled
gets cli 8001 && gets climate 8003
ok $? "then both changes are in force"
pr policy add 60 deny from cli to srv tcp/8001
bob policy add 60 deny from climate to srv tcp/8001
bob policy commit -m "bob's again"
pr policy rebase
[ $? -eq 5 ] && says 'end the merge in'
ok $? "two rules of one number are left to be merged by hand"
pr policy discard

# --- questions, held against what clients get ---
wrong=0
asked=0
for host in cli climate; do
	for port in 8000 8001 8002 8003; do
		pr explain "$host" srv "tcp/$port"
		verdict=$?
		gets "$host" "$port"
		got=$?
		[ "$((verdict == 0))" = "$((got == 0))" ] || wrong=$((wrong + 1))
		[ "$verdict" = 0 ] || [ "$verdict" = 10 ] || wrong=$((wrong + 1))
		asked=$((asked + 1))
	done
done
is "$wrong of $asked" '0 of 8' "explain says what clients get, with exit status 0 or 10"
pr explain cli srv tcp/8000
says '=> rule 10 allow'
ok $? "and names the rule"
pr explain climate srv tcp/8000
says 'no: another source' && says 'the default denies'
ok $? "or why none matches"
pr explain external servers tcp/8000
is $? 10 "nobody enrolled may not"
pr reach --to srv
is "$(awk 'NR > 1 { print $1, $3 }' "$lib_data/out" | sort | tr '\n' ' ')" \
	'cli tcp/8000 cli tcp/8001 climate tcp/8002 climate tcp/8003 ' \
	"reach --to lists exactly what clients get"
pr reach --from climate
is "$(awk 'NR > 1 { print $2, $3 }' "$lib_data/out" | sort | tr '\n' ' ')" \
	'srv tcp/8002 srv tcp/8003 ' "reach --from too"
pr policy add 5 allow user nobody from climate to srv tcp/8001
pr explain climate srv tcp/8001 --draft
[ $? -eq 10 ] && says depends
ok $? "a rule on a user: it depends"
pr explain climate srv tcp/8001 --draft --user nobody
is $? 0 "for that user it is allowed"
pr explain climate srv tcp/8001 --draft --user root
is $? 10 "for another it is not"
pr reach --to srv --draft
says 'user nobody'
ok $? "reach names the condition"
pr policy discard

# --- groups ---
pr group preview select name 'cli*'
is "$(awk 'NR > 1 { print $1 }' "$lib_data/out" | sort | tr '\n' ' ')" 'cli climate ' \
	"group preview"
pr group list
is "$(awk '$1 == "servers" { print $2 }' "$lib_data/out")" 1 "group list counts members"
pr group members servers
is "$(awk 'NR > 1 { print $1 }' "$lib_data/out")" srv "group members"

# --- what would cut oneself off ---
pr policy add lifeline from 192.168.7.0/24 to servers tcp/2222
pr policy commit -m 'a way in'
lib_pr policy export 2>/dev/null | grep -v '^lifeline' >"$lib_data/policy"
pr policy commit -m 'without it' "$lib_data/policy"
[ $? -eq 4 ] && says 'lifeline from 192.168.7.0/24'
ok $? "a commit that takes out a lifeline is refused"
SSH_CONNECTION='192.168.7.9 40000 192.168.7.2 22' pr mode enforce default
[ $? -eq 4 ] && says 'your own connection'
ok $? "so is what cuts the committer's own SSH session"
SSH_CONNECTION='192.168.7.9 40000 192.168.7.2 2222' pr mode observe default
ok $? "a session that it does not cut is no hindrance"
pr policy commit -m 'without it' --force "$lib_data/policy"
ok $? "--force does it"

# --- round trip, roll-back ---
lib_pr policy export 2>/dev/null >"$lib_data/one"
sed 's/comment "the page"/comment "=cmd()|the page" # \xc3\xa4\xe2\x82\xac/' "$lib_data/one" >"$lib_data/two"
pr policy import "$lib_data/two"
lib_pr policy export draft 2>/dev/null >"$lib_data/three"
cmp -s "$lib_data/two" "$lib_data/three" && ! cmp -s "$lib_data/one" "$lib_data/two"
ok $? "export, edit, import, export is byte-equal"
pr policy commit -m 'a remark'
lib_pr policy list --json 2>/dev/null | grep -q '"comment":"=cmd()|the page"'
ok $? "a comment like a formula is exact in JSON"
printf 'mode  observe default\nrule 1 allow from any to any tcp/1 comment "\033[2J"\n' >"$lib_data/esc"
pr policy import "$lib_data/esc"
[ $? -eq 1 ] && ! said | grep -q "$(printf '\033')"
ok $? "an escape sequence is refused, and not echoed"
pr policy rollback 1
says 'undo: portreeve policy rollback'
ok $? "roll back to the first revision: $(said)"
revision=$(lib_pr policy log --json 2>/dev/null | sed -n '1s/.*"revision": *\([0-9]*\).*/\1/p')
printf 'mode  observe default\ngroup gone select name nobody-here\nrule 1 allow from gone to any tcp/1\n' >"$lib_data/gone"
pr policy commit -m 'a group' "$lib_data/gone"
pr policy rollback "$revision"
pr policy rollback $((revision + 1))
[ $? -eq 0 ] && says 'groups without a member now: 1 (gone)'
ok $? "a roll-back to groups whose members are gone says so"

# --- the log of changes ---
lib_pr audit --json -n 0 2>/dev/null >"$lib_data/audit"
is "$(sed -n 's/.*"number":\([0-9]*\).*/\1/p' "$lib_data/audit" | sort -n | awk '{ if ($1 != NR) bad = 1 } END { print (NR >= 15 && !bad) }')" \
	1 "the audit log has no holes"
commits=$(grep -c '"action":"\(commit\|rollback\|mode\|go-back\)"' "$lib_data/audit")
revisions=$(lib_pr policy log --json 2>/dev/null | wc -l)
is "$commits" $((revisions - 1)) "every revision but the first has its entry"
grep '"name":"bob"' "$lib_data/audit" | grep -q "bob's"
ok $? "with key and reason"
! grep '"action":"commit"' "$lib_data/audit" | grep -qv '"undo":"portreeve policy rollback'
ok $? "and how to undo it"

# --- large ---
awk 'BEGIN { print "mode  observe default"; for (i = 1; i <= 100000; i++)
	printf "rule %d allow from 10.%d.%d.0/24 to any tcp/%d\n", i, i / 256 % 256, i % 256, 1 + i % 60000 }' \
	>"$lib_data/large"
begin=$(now_ms)
pr policy import "$lib_data/large"
status=$?
took=$(($(now_ms) - begin))
[ $status -eq 0 ] && [ "$took" -le 5000 ]
ok $? "100,000 rules are imported in $took ms (limit 5000)"
echo 'rule 100001 allow from any to any tcp/1' >>"$lib_data/large"
begin=$(now_ms)
pr policy import "$lib_data/large"
[ $? -eq 1 ] && says 100000
ok $? "one more is refused with the limit named, after $(($(now_ms) - begin)) ms: $(tail -n 2 "$lib_data/err" | head -n 1)"
pr policy discard
