#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The program between two hosts (network namespaces on one wire): link-local and IPv4 managers, a manager
# with two addresses, IPv4 groups, groups that share a port, key look-ups that are answered late, kept
# state, and a device that is killed.
set -euo pipefail

iotsec=${IOTSEC_BIN:?the iotsec program}
work=${IOTSEC_BUILD_DIR:?}/tests/network
programs=$(realpath "$(dirname "$0")")/programs.sh

if [[ -z ${IOTSEC_IN_NAMESPACE:-} ]]; then
    export IOTSEC_IN_NAMESPACE=1
    self=$(realpath "$0")
    if unshare --user --map-root-user --net --mount true 2>/dev/null; then
        exec unshare --user --map-root-user --net --mount "$self"
    fi
    exec unshare --net --mount "$self"
fi

rm -rf "$work"
mkdir -p "$work"
cd "$work"
umask 077
. "$programs"

# ---- Two hosts ----

mount -t tmpfs tmpfs /run
mkdir /run/netns
for host in here there; do
    ip netns add "$host"
done
ip link add eth0 netns here type veth peer name eth0 netns there
for host in here there; do
    ip netns exec "$host" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad'
    ip -n "$host" link set lo up
    ip -n "$host" link set eth0 up
done
ip -n here address add fd01::1/64 dev eth0 nodad
ip -n here address add fd01::2/64 dev eth0 nodad
ip -n here address add 10.1.0.1/24 dev eth0
ip -n there address add fd01::11/64 dev eth0 nodad
ip -n there address add 10.1.0.11/24 dev eth0
link_local=$(ip -n here -6 address show dev eth0 scope link | sed -n 's/.*inet6 \([^/]*\)\/.*/\1/p')

serve() { start here manager "$iotsec" manager serve domain.db --listen '[::]:5684' -v "$@"; said manager '^serving '; }
# device HOST NAME MANAGER GROUP... -- OPTION...
device() {
    local host=$1 name=$2 address=$3 groups=()
    shift 3
    while [[ $# -gt 0 && $1 != -- ]]; do
        groups+=(--group "$1")
        shift
    done
    [[ $# -eq 0 ]] || shift
    start "$host" "$name" "$iotsec" device --manager "$address" --id "$name" --psk-file "$name.psk" -v "${groups[@]}" "$@"
}

"$iotsec" manager init domain.db >/dev/null
"$iotsec" manager group add domain.db 1 --address ff15::101 --port 5683 >/dev/null
"$iotsec" manager group add domain.db 2 --address ff15::102 --port 5683 >/dev/null
"$iotsec" manager group add domain.db 3 --address 239.1.2.3 --port 5683 >/dev/null
for id in one two three; do
    "$iotsec" manager device add domain.db "$id" --group 1 --group 2 --group 3 --psk-out "$id.psk" >/dev/null
done

# ---- Every kind of address; groups that share a port ----

serve --cookie always
device there one "[$link_local%eth0]:5684" 1 2
device there two '10.1.0.1:5684' 1 3
device here three '[fd01::2]:5684' 2 3 -- --interface eth0
for name in one two three; do
    said "$name" '^joined '
done
ok "joined by a link-local address, by IPv4, and by the manager's second address"
sleep 2 # the steps that the joins made become known by hints
tell one 'group 1 one-in-1'
tell one 'group 2 one-in-2'
tell two 'group 3 two-in-3'
tell three 'group 3 three-in-3'
said two 'gid=1 .*text="one-in-1"'
said three 'gid=2 .*text="one-in-2"'
said three 'gid=3 .*text="two-in-3"'
said two 'gid=3 .*text="three-in-3"'
tell two 'coap 1 put /light/1?fade=2 50%'
said one 'gid=1 .*coap="NON PUT /light/1\?fade=2" payload="50%"'
if grep -q 'one-in-2' two.log || grep -q 'one-in-1' three.log; then
    complain 'a group was heard by who is not in it'
fi
ok 'groups on one port, IPv4 groups'
stop one two three
for name in one two three; do
    if grep -E '^stats of=device .*(drop\.(auth|replay|no_group|malformed))' "$name.log"; then
        complain "$name dropped something"
    fi
done
stop manager

# ---- Late look-ups, a device that is killed ----

serve --psk-delay 700
device there one '[fd01::1]:5684' 1
said one '^joined '
ok 'a key that was looked up late'
device there two '[fd01::1]:5684' 1
said two '^joined '
sleep 2
tell one 'group 1 before'
said two 'text="before"'
kill -9 "${pid[one]}"
wait "${pid[one]}" 2>/dev/null || true
mv one.log one-before.log
device there one '[fd01::1]:5684' 1
said one '^joined '
before=$(sed -n 's/^group-joined .* sender=\([0-9]*\) .*/\1/p' one-before.log)
after=$(sed -n 's/^group-joined .* sender=\([0-9]*\) .*/\1/p' one.log)
[[ $before != "$after" ]] || complain "a device that was killed got its sender ID $before again"
sleep 2
tell one 'group 1 after'
said two 'text="after"'
ok 'a device that was killed comes back with another sender ID'
stop one two manager

# ---- Kept state ----

serve
device there one '[fd01::1]:5684' 1 -- --state one.state
device there two '[fd01::1]:5684' 1 -- --status-interval 1
said one '^joined '
said two '^joined '
sleep 2
tell one 'group 1 first'
said two 'text="first"'
[[ $(stat -c %a one.state) == 700 ]] || complain 'the state can be read by others'
start there thief "$iotsec" device --manager '[fd01::1]:5684' --id one --psk-file one.psk --state one.state
said thief '^error: STATE_LOCKED: '
kill -9 "${pid[one]}" "${pid[manager]}"
wait "${pid[one]}" "${pid[manager]}" 2>/dev/null || true
start there thief "$iotsec" device --manager '[fd01::1]:5684' --id two --psk-file two.psk --state one.state
said thief '^error: STATE_OTHER_DEVICE: '
mv one.log one-before.log
device there one '[fd01::1]:5684' 1 -- --state one.state --timeout 2
said one '^join-failed reason=NO_ANSWER'
tell one 'group 1 without-a-manager'
said two 'text="without-a-manager"'
ok 'kept keys work without a manager'
mv manager.log manager-before.log
serve
said one '^joined ' 40
said two '^contact$' 40
# A restored key may have been used while this device was away: what comes under it could be a replay.
tell two 'group 1 perhaps-a-replay'
sleep 0.5
if grep -q 'perhaps-a-replay' one.log; then
    complain 'a device delivered what came under its restored key'
fi
"$iotsec" manager group renew domain.db 1 >/dev/null
said one '^group-key '
said two '^group-key .*key=0x200'
tell two 'group 1 hello-again'
said one 'text="hello-again"'
tell one 'group 1 once-more'
said two 'text="once-more"'
ok 'and everybody comes back to the manager'
stop one two
if grep -E '^stats of=device .*(drop\.(auth|replay))' two.log; then
    complain 'a counter was used twice'
fi
printf 'x' | dd of=one.state/slot-0001 bs=1 seek=20 conv=notrunc status=none
device there one '[fd01::1]:5684' 1 -- --state one.state
said one '^group-joined '
ok 'a damaged slot costs a join, and no more'
tell one leave
said one '^left reason=OK'
result=0
wait "${pid[one]}" || result=$?
[[ $result == 0 ]] || complain "leaving ended with status $result"
said manager '^member-left .*id=one'
stop manager
exit "$status"
