#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Relays between hosts (network namespaces), stateless and stateful: a join two hops away from the manager by hosts
# that own nothing but a link-local address, and the move to the address they get, as the manager's link sees it;
# relays that are killed in the middle of a join; joining closed; a neighbour that floods; a new link-layer key after
# an eviction; the hook that sets an address up.
#
#   manager fd01::1 -- eth0 near eth1 -- br1 -- eth0 far eth1 -- eth0 joiner
#                                        noisy
set -euo pipefail

iotsec=${IOTSEC_BIN:?the iotsec program}
work=${IOTSEC_BUILD_DIR:?}/tests/relay
eavesdrop=$(realpath "${IOTSEC_SOURCE_DIR:-$(dirname "$0")/../..}")/scripts/eavesdrop

. "$(dirname "$0")/programs.sh"
enter_namespace 'no relay was tested'

rm -rf "$work"
mkdir -p "$work"
cd "$work"
umask 077

# ---- Hosts ----

# connect HOST INTERFACE LINK-LOCAL
connect() {
    ip netns exec "$1" sh -c "echo 0 >/proc/sys/net/ipv6/conf/$2/accept_dad"
    ip -n "$1" link set "$2" addrgenmode none up
    ip -n "$1" address add "$3/64" dev "$2" nodad
}
mount -t tmpfs tmpfs /run
mkdir /run/netns
for host in manager near far joiner noisy; do
    ip netns add "$host"
    ip -n "$host" link set lo up
done
ip link add br1 type bridge mcast_snooping 0
ip link set br1 up
ip link add eth0 netns manager type veth peer name eth0 netns near
ip link add eth1 netns far type veth peer name eth0 netns joiner
for end in near:eth1 far:eth0 noisy:eth0; do
    ip link add "${end%:*}-1" type veth peer name "${end#*:}" netns "${end%:*}"
    ip link set "${end%:*}-1" master br1 up
done
connect manager eth0 fe80::1
connect near eth0 fe80::2
connect near eth1 fe80::2
connect far eth0 fe80::3
connect far eth1 fe80::3
connect joiner eth0 fe80::4
connect noisy eth0 fe80::5
ip -n manager address add fd01::1/64 dev eth0 nodad
ip -n near address add fd01::2/64 dev eth0 nodad
for host in near far; do
    ip netns exec "$host" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
done
# The way out, of no use without an address of one's own, and the ways back to those that they will have.
ip -n far route add fd01::1/128 via fe80::2 dev eth0
ip -n joiner route add fd01::1/128 via fe80::3 dev eth0
for suffix in 3 4; do
    ip -n manager route add "fd01::$suffix/128" via fe80::2 dev eth0
done
ip -n near route add fd01::3/128 dev eth1
ip -n near route add fd01::4/128 via fe80::3 dev eth1
ip -n far route add fd01::4/128 dev eth1
# What a test before left there.
forget_addresses() {
    local host
    for host in far joiner; do
        ip -n "$host" address flush dev eth0 scope global
    done
}
owns_link_local_only() {
    [[ $(ip -n "$1" -oneline -6 address show dev eth0 | wc -l) == 1 ]] || die "$1 has more than a link-local address"
}

# ---- Programs ----

kill_9() {
    kill -9 "${pid[$1]}"
    wait "${pid[$1]}" 2>/dev/null || true
}
serve() {
    start manager manager "$iotsec" manager serve domain.db --listen '[fd01::1]:5684' -v "$@"
    said manager '^serving '
}
# relay MODE [OPTION...]
relay() {
    local mode=$1
    shift
    start near near "$iotsec" relay --interface eth1 --manager '[fd01::1]:5684' --mode "$mode" "$@"
    said near '^relaying '
}
# device HOST RELAY [OPTION...]
device() {
    start "$1" "$1" "$iotsec" device --manager "[$2%eth0]:5684" --id "$1" --psk-file "$1.psk" --group 1 --interface eth0 \
        --l2-key-file "$1.l2" "${@:3}"
}
watch() {
    rm -f link.txt
    start near watch "$eavesdrop" watch eth0 5684 link.txt
    said watch '^watching'
}
unwatch() {
    kill "${pid[watch]}"
    wait "${pid[watch]}" 2>/dev/null || true
}
# has_line FILE REGEX
has_line() {
    local i
    for ((i = 0; i < 200; i++)); do
        grep -qE -- "$2" "$1" 2>/dev/null && return 0
        sleep 0.05
    done
    die "no '$2' in $1: $(cat "$1")"
}
l2_index() { "$iotsec" manager list domain.db | sed -n 's/^access .* l2-index=\([0-9]*\).*/\1/p'; }
drops() { tail -n 1 <(sed -n "s/^stats of=relay .*drop\\.$2=\\([0-9]*\\).*/\\1/p" "$1.log"); }

"$iotsec" manager init domain.db >/dev/null
"$iotsec" manager access domain.db --address '[fd01::1]:5684' --prefix fd01::/64 --pan 0xbeef >/dev/null
"$iotsec" manager group add domain.db 1 --address ff15::101 --port 5683 >/dev/null
for id in far joiner; do
    "$iotsec" manager device add domain.db "$id" --group 1 --psk-out "$id.psk" >/dev/null
done

# moved_silently HOST ADDRESS RELAY FORM: the manager's link saw a handshake from the relay, none from the address.
moved_silently() {
    local at
    # 22: a handshake message; 25: a record with a Connection ID.
    grep -qE "^$3 fd01::1 $4 22" link.txt || die "no handshake in what $3 relays"
    # A stateful relay's own session and what it relays look alike; nothing was relayed there yet.
    grep "^$2 fd01::1 plain " link.txt >own.txt || die "nothing came from $2"
    if grep -vE '^[^ ]+ [^ ]+ plain 25(,25)*$' own.txt; then
        die "$2 sent something else than records with a Connection ID"
    fi
    at=$(grep -n -m 1 "^$2 fd01::1 plain " link.txt)
    if tail -n "+${at%%:*}" link.txt | grep -E "fd01::1 $2 plain (.*,)?(20|22)(,|$)"; then
        die "the manager answered $2 with a handshake"
    fi
}

# ---- Two hops ----

for mode in stateless stateful; do
    form=plain
    [[ $mode == stateful ]] || form=relayed
    forget_addresses
    serve --cookie always
    watch
    relay "$mode" --open always
    owns_link_local_only far
    device far fe80::2 --configure-address --relay "$mode" --relay-interface eth1 --relay-open always
    said far '^moved address=fd01::3 '
    said far '^group-joined gid=1 '
    said far '^relay-open '
    said manager '^moved id=far addr=\[fd01::3\]:'
    moved_silently far fd01::3 fd01::2 "$form"
    owns_link_local_only joiner
    # Nothing that it sends to the manager gets there yet.
    ip netns exec joiner python3 -c 'import socket
socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(bytes(20), ("fd01::1", 5684))'
    device joiner fe80::3 --configure-address
    said joiner '^access prefix=fd01::/64 address=fd01::4 pan=0xbeef '
    said joiner '^moved address=fd01::4 '
    said joiner '^group-joined gid=1 '
    said manager '^moved id=joiner addr=\[fd01::4\]:'
    if [[ $mode == stateless ]]; then
        [[ $(grep -cE '^device-joined .*via=relay' manager.log) == 2 ]] || die 'the manager does not say via=relay twice'
    elif grep -E 'via=relay' manager.log; then
        die 'a stateful relay should not be seen'
    fi
    moved_silently joiner fd01::4 fd01::3 "$form"
    if grep -E '^fe80::4 | plain 0$' link.txt; then
        die 'the joiner has reached the manager before it had joined'
    fi
    ok "$mode: two hops, and both go on from their own addresses without a handshake"
    unwatch

    # Whoever has moved does without the relays.
    stop near
    next=$(($(l2_index) + 1))
    "$iotsec" manager l2 renew domain.db >/dev/null
    for host in far joiner; do
        has_line "$host.l2" "^index=$next key=[0-9a-f]{32} use=yes"
    done
    ok "$mode: a new link-layer key reaches them where they are now"
    stop joiner far manager
done

# ---- A relay that is killed in the middle of a join ----

for mode in stateless stateful; do
    options=(--open always)
    [[ $mode == stateful ]] || options+=(--key-file relay.key)
    forget_addresses
    # The manager looks the key up, and so the relay dies while the handshake is half done.
    serve --psk-delay 1500
    watch
    relay "$mode" "${options[@]}"
    device far fe80::2 --configure-address
    # 20: ChangeCipherSpec, in the device's last flight
    has_line link.txt '^fd01::2 fd01::1 [a-z]* .*20'
    kill_9 near
    relay "$mode" "${options[@]}"
    began=$SECONDS
    said far '^group-joined gid=1 ' 60
    said far '^moved '
    [[ $(grep -c '^device-joined id=far ' manager.log) == 1 ]] || complain "$mode: the device had to join twice"
    # by its key and its port the manager knows the relay's joiners again
    [[ $mode == stateful ]] || ! grep -q '^moved id=far addr=\[fd01::2\]' manager.log ||
        complain 'the restarted relay was another one to the manager'
    ok "$mode: a relay was killed in mid-join; it took $((SECONDS - began)) s more, and one handshake"
    unwatch
    stop far near manager
done

# ---- Joining closed ----

forget_addresses
serve
relay stateless
device far fe80::2 --timeout 3
said far '^error: NO_ANSWER: '
tell near stats
said near '^stats of=relay '
[[ $(drops near closed) -gt 0 ]] || complain 'the relay does not say that joining was closed'
: >near.log
tell near 'open 300'
said near '^relay-open seconds=300'
device far fe80::2 --configure-address
said far '^moved '
tell near close
said near '^relay-closed'
tell near 'open 1'
said near '^relay-open seconds=1'
said near '^relay-closed' 5
ok 'nobody joins while joining is closed, and the relay says why'
stop far near manager

# ---- A neighbour that floods ----

forget_addresses
serve
watch
relay stateless --open always
start noisy flood python3 -c 'import socket, time
end = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
relay = ("fe80::2", 5684, 0, socket.if_nametoindex("eth0"))
print("flooding", flush=True)
while True:
    for _ in range(20):
        end.sendto(b"\x16\xfe\xfd" + bytes(60), relay)
    time.sleep(0.02)'
said flood '^flooding'
began=$SECONDS
sleep 1
device far fe80::2 --configure-address
# One neighbour in sixteen shares the flooder's bucket, hardly gets through, and has another one within 30 s: it may have to
# begin a second time.
for ((i = 0; i < 240; i++)); do
    ! grep -q '^moved ' far.log || break
    kill -0 "${pid[far]}" 2>/dev/null || device far fe80::2 --configure-address
    sleep 0.5
done
said far '^moved ' 1
sleep 1
kill "${pid[flood]}"
wait "${pid[flood]}" 2>/dev/null || true
tell near stats
said near '^stats of=relay '
up=$(sed -n 's/^stats of=relay up=\([0-9]*\) .*/\1/p' near.log)
[[ $(drops near neighbour_rate) -gt 500 ]] || complain "the relay dropped $(drops near neighbour_rate) of a flood"
# 24 at once and 8 a second, twice when the buckets change; a join, and a slow machine
[[ $up -lt $((200 + 20 * (SECONDS - began))) ]] || complain "the relay passed on $up datagrams of a flood"
ok "a neighbour floods: $(drops near neighbour_rate) dropped, $up passed on, and another one joins meanwhile"
unwatch
stop far near manager

# ---- A link-layer key that an evicted device does not get ----

forget_addresses
serve
relay stateless --open always
device far fe80::2 --configure-address --relay stateless --relay-interface eth1 --relay-open always
said far '^relay-open '
device joiner fe80::3 --configure-address
said joiner '^moved '
said joiner '^group-joined '
next=$(($(l2_index) + 1))
"$iotsec" manager device evict domain.db joiner >/dev/null
said joiner '^evicted '
has_line far.l2 "^index=$next key=[0-9a-f]{32} use=yes"
key=$(sed -n "s/^index=$next key=\([0-9a-f]*\) .*/\1/p" far.l2)
tell joiner 'join 1'
said joiner '^error: NOT_AUTHORISED: '
if grep -rs -- "$key" joiner.l2 joiner.log; then
    complain 'an evicted device got the next link-layer key'
fi
ok 'an eviction makes a new link-layer key, which the evicted device does not get'
"$iotsec" manager device readmit domain.db joiner >/dev/null
stop far near manager

# ---- The hook ----

forget_addresses
serve
relay stateless --open always
# shellcheck disable=SC2016  # the hook's shell expands them
device far fe80::2 --access-hook 'env | grep "^IOTSEC_[A-Z0-9_]*=" >hook.txt
    ip -6 address add "$IOTSEC_ADDRESS/128" dev "$IOTSEC_INTERFACE" nodad'
said far '^moved address=fd01::3 '
for line in IOTSEC_ADDRESS=fd01::3 IOTSEC_PREFIX=fd01::/64 IOTSEC_INTERFACE=eth0 IOTSEC_PAN_ID=0xbeef \
    'IOTSEC_MANAGER=\[fd01::1\]:5684' "IOTSEC_L2_INDEX=$next"; do
    grep -qx -- "$line" hook.txt || complain "the hook had no $line in its environment"
done
stop far
forget_addresses
device far fe80::2 --access-hook 'exit 3'
said far '^group-joined gid=1 '
said far '^address-failed reason=HOOK address=fd01::3 '
"$iotsec" manager l2 renew domain.db >/dev/null
has_line far.l2 "^index=$((next + 1)) key=[0-9a-f]{32} use=yes"
if grep '^moved' far.log; then
    complain 'a device moved to an address that its hook could not set up'
fi
ok 'a hook sets the address up; where it cannot, the session stays with the relay'
stop far near manager
exit "$status"
