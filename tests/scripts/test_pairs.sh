#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Pairwise keys between hosts (network namespaces on one link): shares that are handed out, also by a manager that dies in
# the middle and goes on where it was; private messages with and without a manager; somebody else at an address, and nobody;
# a new polynomial with and without an overlap; idle sessions; devices without pairwise keys; an evicted device that never
# hears of its eviction.
#
#   manager fd01::1, one fd01::11, two fd01::12, three fd01::13, four fd01::14 -- br0
set -euo pipefail

iotsec=${IOTSEC_BIN:?the iotsec program}
work=${IOTSEC_BUILD_DIR:?}/tests/pairs
eavesdrop=$(realpath "${IOTSEC_SOURCE_DIR:-$(dirname "$0")/../..}")/scripts/eavesdrop

. "$(dirname "$0")/programs.sh"
enter_namespace 'no pairwise key was tested'

rm -rf "$work"
mkdir -p "$work"
cd "$work"
umask 077

# ---- Hosts ----

declare -A address=([manager]=fd01::1 [one]=fd01::11 [two]=fd01::12 [three]=fd01::13 [four]=fd01::14)
mount -t tmpfs tmpfs /run
mkdir /run/netns
ip link add br0 type bridge mcast_snooping 0
ip link set br0 up
for host in "${!address[@]}"; do
    ip netns add "$host"
    ip -n "$host" link set lo up
    ip link add "v-$host" type veth peer name eth0 netns "$host"
    ip link set "v-$host" master br0 up
    ip netns exec "$host" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad'
    ip -n "$host" link set eth0 up
    ip -n "$host" address add "${address[$host]}/64" dev eth0 nodad
    ip -n "$host" address add "10.1.0.${address[$host]#fd01::}/24" dev eth0
done
# not one that it chooses by itself
ip -n two address add fd01::112/64 dev eth0 nodad preferred_lft 0

serve() { start manager manager "$iotsec" manager serve domain.db --listen '[fd01::1]:5684' "$@"; said manager '^serving '; }
# device NAME ID OPTION...: on the host of that name.
device() {
    local name=$1 id=$2
    shift 2
    start "$name" "$name" "$iotsec" device --manager '[fd01::1]:5684' --id "$id" --psk-file "$name.psk" -v \
        --listen '[::]:5685' --status-interval 1 --timeout 4 "$@"
}
# at NAME: where that host's device is.
at() { printf '[%s]:5685' "${address[$1]}"; }
# not_said NAME PATTERN
not_said() { if grep -E -- "$2" "$1.log"; then complain "$1 said that"; fi; }
# times NAME PATTERN: how often it was said.
times() { grep -cE -- "$2" "$1.log" || [[ $? == 1 ]]; }
# What counts from here on: the old log goes to NAME-before.log.
forget() {
    local name
    for name in "$@"; do
        cat "$name.log" >>"$name-before.log"
        : >"$name.log"
    done
}
# everybody_has GENERATION: and the manager knows it.
everybody_has() {
    local id
    for id in one two three '"a '; do
        said manager "^share id=$id.*generation=$1\$"
    done
}
killed() {
    kill -9 "${pid[$1]}"
    wait "${pid[$1]}" 2>/dev/null || true
}
# Datagrams with key messages that the manager has sent to `one` so far.
key_messages() { grep -cE '^fd01::1 fd01::11 plain ([0-9]+,)*28' link.txt || [[ $? == 1 ]]; }

"$iotsec" manager init domain.db >/dev/null
for id in one two three; do
    "$iotsec" manager device add domain.db "$id" --psk-out "$id.psk" >/dev/null
done
odd='a "b"@[x]:1 '"\\"
"$iotsec" manager device add domain.db "$odd" --psk-out four.psk >/dev/null
: >watch.log
: >link.txt
"$eavesdrop" watch v-manager 5684 link.txt >>watch.log 2>&1 &
pids+=("$!")
said watch '^watching'

# ---- A manager that dies while it hands a share out ----

# A share of 4096 bytes takes 32 messages, of which this manager loses many.
serve --loss 30%
device one one --timeout 20
said one '^joined ' 60
said one '^no-share reason=NOT_FOUND$' 60
tell one "send two@$(at two) too early"
said one '^refused what=send reason=NO_SHARE id=two '
ok 'a domain without a polynomial has no shares'
"$iotsec" manager poly renew domain.db --degree 255 >/dev/null
said manager '^poly generation=1 degree=255 overlap=yes reason=CANCELLED$'
before=$(key_messages)
for ((i = 0; i < 1200; i++)); do
    (($(key_messages) < before + 20)) || break
    sleep 0.05
done
killed manager
not_said one '^share '
not_said manager '^share '
sent=$(key_messages)
((sent >= before + 20)) || complain 'no share was handed out'
forget manager
serve
said one '^share generation=1$' 60
said manager '^share id=one generation=1$'
rest=$(($(key_messages) - sent))
if ((rest > 0 && rest < 28)); then ok "a new manager goes on where the old one died: $rest of 32 messages were left"; else
    complain "$rest messages were sent after a manager had died, of 32"; fi
stop one
said manager '^device-gone reason=CLOSED id=one$'

# ---- Private messages ----

for name in one two three; do
    device "$name" "$name"
done
device four "$odd"
for name in one two three four; do
    said "$name" '^share generation=1$'
done
everybody_has 1
forget manager
tell one "send two@$(at two) hello \"you\""
said two '^message from=one addr=\[fd01::11\]:5685 text="hello \\"you\\"" data='
said one '^peer-open id=two addr=\[fd01::12\]:5685$'
said two '^peer-open id=one addr=\[fd01::11\]:5685$'
tell two "send one@$(at one) well"
said one '^message from=two addr=\[fd01::12\]:5685 text="well"'
[[ $(times one '^peer-open ') == 1 && $(times two '^peer-open ') == 1 ]] || complain 'an answer opened another session'
ok 'a message and its answer in one session'
# in quotes, as it is printed
tell two 'send "a \"b\"@[x]:1 \\"@[fd01::14]:5685 to you'
said four '^message from=two addr=\[fd01::12\]:5685 text="to you"'
tell four "send two@$(at two) from me"
said two '^message from="a \\"b\\"@\[x\]:1 \\\\" addr=\[fd01::14\]:5685 text="from me"'
ok 'an identity with everything that could be mistaken for something else'
for name in one three; do not_said "$name" 'to you|from me'; done
not_said manager '.'

tell one "send three@$(at two) a secret"
said one '^peer-failed reason=PEER_IDENTITY id=three addr=\[fd01::12\]:5685$' 30
for name in two three; do not_said "$name" 'a secret'; done
ok 'another member at the address gets nothing'
tell one 'send two@[fd01::99]:5685 anybody'
said one '^peer-failed reason=NO_ANSWER id=two addr=\[fd01::99\]:5685$' 30
ok 'nobody at the address'
# From any address of its to any other one: the session goes to where it was sent for last.
tell one 'send two@10.1.0.12:5685 over IPv4'
said two '^message from=one addr=10\.1\.0\.11:5685 text="over IPv4"'
tell two 'send one@10.1.0.11:5685 well again'
said one '^message from=two addr=10\.1\.0\.12:5685 text="well again"'
tell one 'send two@[fd01::112]:5685 by another door'
said two '^message from=one addr=\[fd01::11\]:5685 text="by another door"'
ok 'IPv4, and a host with two addresses'
# Both at once.
tell one 'close two'
said one '^closed id=two$'
said two '^peer-closed reason=CLOSED id=one '
forget one two
tell one "send two@$(at two) from one"
tell two "send one@$(at one) from two"
said one '^message from=two .*text="from two"'
said two '^message from=one .*text="from one"'
tell one "send two@$(at two) and again"
said two '^message from=one .*text="and again"'
ok 'both at once'
# What cannot be sent.
forget one
while IFS='|' read -r line pattern; do
    tell one "$line"
    said one "^refused what=${line%% *} reason=$pattern"
    forget one
done <<'LINES'
send|USAGE detail="write ID@
send two|USAGE detail="write ID@
send two hello|USAGE detail="write ID@
send two@[fd01::12]:5685|USAGE id=two detail="the text is missing"
send two@[fd01::12] hello|BAD_ADDRESS id=two detail="a colon and the port have to follow
send two@192.0.2.1 hello|BAD_ADDRESS id=two detail="the port is missing
send two@fd01::12:5685 hello|BAD_ADDRESS id=two detail="an IPv6 address with a port needs brackets
send two@[ff02::1]:5685 hello|BAD_ADDRESS id=two detail="this is a multicast address"
send @[fd01::12]:5685 hello|BAD_IDENTITY detail="the identity is missing"
send "two@[fd01::12]:5685 hello|BAD_IDENTITY .*detail="the closing quote is missing"
send "two"[fd01::12]:5685 hello|USAGE id=two detail="write ID@
send one@[fd01::11]:5685 hello|BAD_IDENTITY id=one detail="this is our own identity"
send two@[fd01::1]:5684 hello|ARGUMENT id=two detail="this is the address of the domain manager
close|BAD_IDENTITY detail="the identity is missing"
close nobody|NOT_FOUND id=nobody detail="there is no session with it"
close two two|USAGE id=two detail=
LINES
tell one "send two@$(at two) $(printf 'x%.0s' {1..2000})"
said one '^refused what=send reason=TOO_LONG id=two detail='
ok 'lines that cannot be carried out'

# ---- A new polynomial ----

forget one two three manager
"$iotsec" manager poly renew domain.db --degree 15 >/dev/null
for name in one two three; do
    said "$name" '^share generation=2$'
done
for i in {1..100}; do
    [[ -s domain.db-wal ]] || break
    sleep 0.05
done
[[ ! -s domain.db-wal ]] || complain 'old coefficients may still stand in the log of changes'
said manager '^poly generation=2 degree=15 overlap=yes reason=CANCELLED$'
tell one "send two@$(at two) still the old way"
said two '^message from=one .*text="still the old way"'
not_said one '^peer-'
tell one "send three@$(at three) the new way"
said three '^message from=one .*text="the new way"'
ok 'with an overlap sessions go on'
"$iotsec" manager poly renew domain.db --no-overlap >/dev/null
said manager '^poly generation=3 degree=15 overlap=no reason=CANCELLED$'
for name in one two three; do
    said "$name" '^share generation=3$'
    said "$name" '^peer-closed reason=(GENERATION|CLOSED|ALERT) '
done
grep -q '^peer-closed reason=GENERATION' one.log two.log || complain 'nobody closed a session for its generation'
forget one two
tell one "send two@$(at two) a new session"
said two '^message from=one .*text="a new session"'
opened=$SECONDS
ok 'without one they end, and the next message opens another'
everybody_has 3
stop four

# ---- Without pairwise keys, and with less room ----

forget manager
device four "$odd" --pairs 0
said four '^joined '
tell four "send two@$(at two) hello"
said four '^refused what=send reason=UNSUPPORTED id=two '
tell two 'send "a \"b\"@[x]:1 \\"@[fd01::14]:5685 are you there'
said two '^peer-failed reason=NO_ANSWER ' 30
not_said four 'are you there|^peer|share'
not_said manager '^share'
ok 'a device without pairwise keys is silent'
stop four
device four "$odd" --share-degree-max 14
said four '^no-share reason=DEGREE( |$)'
said manager '^share-refused reason=DEGREE .*generation=3$'
ok 'a device without room for the degree'
stop four
device four "$odd" --pair-idle 1
said four '^share generation=3$'
forget two
tell two 'send "a \"b\"@[x]:1 \\"@[fd01::14]:5685 and then nothing'
said four '^message from=two '
said four '^peer-closed reason=TIMEOUT id=two '
said two '^peer-closed reason=CLOSED '
ok 'an idle session is closed'

# ---- Evicted, and it does not know ----

tell three "send two@$(at two) one of you"
said two '^message from=three '
kill -STOP "${pid[three]}"
# Nothing from the manager reaches it any more.
ip -n manager route add unreachable fd01::13/128
forget one two three manager
"$iotsec" manager device evict domain.db three >/dev/null
"$iotsec" manager poly show domain.db >show.out
grep -q '^poly generation=3 .*revoked=1$' show.out || complain "no revocation: $(cat show.out)"
grep -q '^revoked mark=[0-9a-f]\{16\} id=three$' show.out || complain "no mark: $(cat show.out)"
said two '^peer-closed reason=REVOKED id=three '
for id in one two '"a '; do
    said manager "^share id=$id.*generation=3\$" # and the revocation with it
done
tell one "send three@$(at three) hello"
said one '^refused what=send reason=REVOKED id=three '
kill -CONT "${pid[three]}"
tell three "send one@$(at one) let me in"
said one '^peer-refused reason=REVOKED id=three addr=\[fd01::13\]:5685$'
said three '^peer-failed reason=WRONG_PSK id=one ' 30
tell three "send two@$(at two) let me in"
said two '^peer-refused reason=REVOKED id=three '
for name in one two four; do not_said "$name" 'let me in'; done
ok 'an evicted device is refused by those who know'
tell one "send two@$(at two) we go on"
said two '^message from=one .*text="we go on"'
# With an overlap it has a share that still serves: it stays revoked.
forget one two
"$iotsec" manager poly renew domain.db >/dev/null
said one '^share generation=4$'
said two '^share generation=4$'
"$iotsec" manager poly show domain.db >show.out
grep -q '^poly generation=4 .*overlap=yes .*revoked=1$' show.out || complain "the revoked are forgotten: $(cat show.out)"
tell one "send three@$(at three) hello"
said one '^refused what=send reason=REVOKED id=three '
tell three "send one@$(at one) let me in"
said one '^peer-refused reason=REVOKED id=three '
said three '^peer-failed reason=WRONG_PSK id=one ' 30
not_said one 'let me in'
ok 'also after a new polynomial, as long as the old one serves'
# told at last, it forgets its share
ip -n manager route del unreachable fd01::13/128
said three '^evicted ' 60
tell three "send one@$(at one) let me in"
said three '^refused what=send reason=NO_SHARE id=one '
kill "${pid[three]}"
"$iotsec" manager device readmit domain.db three 2>readmit.err >/dev/null
grep -q '^warning: STILL_REVOKED: three: ' readmit.err || complain 'nobody says that it stays revoked'
ok 'and has no share when it hears of it'

# ---- A device that has lost its sessions ----

# A loss is not believed in the first 10 s of a session.
while ((SECONDS < opened + 11)); do sleep 0.1; done
forget one two
killed two
device two two
said two '^share generation=4$'
tell one "send two@$(at two) into a session that is lost"
said one '^peer-open id=two '
tell one "send two@$(at two) into another one"
said two '^message from=one .*text="into another one"'
not_said two 'that is lost'
not_said one '^peer-(closed|failed)'
ok 'a device that was killed says that it has lost its session, and gets another one'

# ---- Without a manager ----

forget one two four
killed manager
tell two 'close one'
said two '^closed id=one$'
said one '^peer-closed reason=CLOSED id=two '
tell one "send two@$(at two) nobody else is here"
said two '^message from=one .*text="nobody else is here"'
tell four "send one@$(at one) but us"
said one '^message from="a .*text="but us"'
ok 'no manager is needed to open a session'
stop four
said one '^peer-closed reason=CLOSED id="a '
ok 'who ends says so to others'
stop one two
if grep -hE '[0-9a-f]{64}' ./*.log show.out | grep -vE ' data=|^[0-9a-f: ]*plain'; then
    complain 'something long and secret was printed'
fi
exit "$status"
