#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# usage: tests/scripts/test_restart.sh
#
# The domain manager dies by SIGKILL right before and right after every commit of a run in which two
# devices join, one is evicted, a third joins late and a group gets a new key. It is started again, and
# everybody has to come back without being told: the members hold the same key, hear each other, the
# evicted device does not and is revoked, everybody has a share of the one polynomial, and no sender ID was handed out twice
# within a generation.
set -euo pipefail

iotsec=${IOTSEC_BIN:?the iotsec program}
work=${IOTSEC_BUILD_DIR:?}/tests/restart
last_commit=10 # more than the run has: a run without a crash ends the search
at_once=4
self=$(realpath "$0")

# ---- One run: test_restart.sh CASE, inside a network namespace of its own ----

fail() { printf 'FAILED: %s: %s\n' "$crash" "$*"; touch "$dir/failed"; exit 1; }
# said FILE PATTERN SECONDS: waits until a line of FILE matches.
said() {
    local i
    for ((i = 0; i < $3 * 20; i++)); do
        if grep -qE -- "$2" "$1"; then
            return 0
        fi
        sleep 0.05
        revive
    done
    return 1
}
serve() {
    "$iotsec" manager serve domain.db --listen '[::1]:5684' "$@" >>manager.log 2>&1 &
    manager=$!
}
# The manager is started again as soon as it is seen dead.
revive() {
    if ! kill -0 "$manager" 2>/dev/null; then
        wait "$manager" 2>/dev/null || true
        if [[ ! -e crashed ]]; then
            touch crashed
            serve -v
        elif [[ ! -e stopping ]]; then
            fail "the restarted manager ended: $(tail -n 1 manager.log)"
        fi
    fi
}
device() {
    local id=$1
    mkfifo "$id.in"
    : >"$id.log"
    "$iotsec" device --manager '[::1]:5684' --id "$id" --psk-file "../base/$id.psk" --group 1 --interface veth0 \
        --status-interval 1 -v <"$id.in" >"$id.log" 2>&1 &
    pids+=($!)
    # held open, else the device reads the end of its input
    exec {fd}>"$id.in"
    input[$id]=$fd
}
key_of() { sed -nE 's/.* gid=1 sender=[0-9]+ key=(0x[0-9a-f]+)$/\1/p' "$1.log" | tail -n 1; }

run_case() {
    dir=$work/$crash
    mkdir -p "$dir"
    cd "$dir"
    declare -gA input=()
    pids=()
    trap 'kill -9 "${pids[@]}" "$manager" 2>/dev/null || true' EXIT
    ip link set lo up
    ip link add veth0 type veth peer name veth1
    echo 0 >/proc/sys/net/ipv6/conf/veth0/accept_dad
    ip link set veth0 up
    ip link set veth1 up
    ip address add fd00::1/64 dev veth0 nodad
    cp ../base/domain.db .

    serve -v --crash-at "$crash"
    device lamp1
    said lamp1.log '^group-joined' 40 || fail "lamp1 did not join: $(tail -n 2 lamp1.log)"
    device lamp2
    said lamp2.log '^group-joined' 40 || fail "lamp2 did not join: $(tail -n 2 lamp2.log)"
    "$iotsec" manager device evict domain.db lamp2 >>commands.log
    said lamp2.log '^evicted' 40 || fail "lamp2 was not evicted: $(tail -n 2 lamp2.log)"
    device lamp3
    said lamp3.log '^group-joined' 40 || fail "lamp3 did not join: $(tail -n 2 lamp3.log)"
    "$iotsec" manager group renew domain.db 1 >>commands.log
    "$iotsec" manager group add domain.db 2 --address ff15::102 --port 5683 >>commands.log
    said manager.log '^group-added gid=2' 10 || said manager.log '^serving' 10
    revive

    # Everybody holds the key that the registry has, and they hear each other.
    local i key
    for ((i = 0; i < 600; i++)); do
        key=$("$iotsec" manager list domain.db | sed -n 's/^group gid=1 .* key=\([^ ]*\) .*/\1/p')
        [[ -n $key && $(key_of lamp1) == "$key" && $(key_of lamp3) == "$key" ]] && break
        sleep 0.05
        revive
    done
    [[ $(key_of lamp1) == "$key" ]] || fail "lamp1 has $(key_of lamp1) and the registry $key"
    [[ $(key_of lamp3) == "$key" ]] || fail "lamp3 has $(key_of lamp3) and the registry $key"
    echo 'group 1 from-one' >&"${input[lamp1]}"
    echo 'group 1 from-three' >&"${input[lamp3]}"
    said lamp3.log 'text="from-one"' 5 || fail 'lamp3 did not hear lamp1'
    said lamp1.log 'text="from-three"' 5 || fail 'lamp1 did not hear lamp3'
    if grep -q 'text=' lamp2.log; then
        fail 'lamp2 heard what was said after its eviction'
    fi
    "$iotsec" manager list domain.db >list.log
    grep -q '^device id=lamp2 .* evicted=yes' list.log || fail 'lamp2 is not evicted'
    if grep -q '^queued' list.log; then
        fail "a wish was left: $(grep '^queued' list.log)"
    fi
    grep -q '^group gid=2 ' list.log || fail 'group 2 is missing'
    "$iotsec" manager poly show domain.db >poly.log || fail 'the polynomial is missing'
    grep -q '^poly generation=1 .* revoked=1$' poly.log || fail "another polynomial: $(head -n 1 poly.log)"
    grep -q '^revoked .* id=lamp2$' poly.log || fail 'lamp2 is not revoked'
    said lamp1.log '^share generation=1$' 10 || fail 'lamp1 has no share'
    said lamp3.log '^share generation=1$' 10 || fail 'lamp3 has no share'

    # Clean ends, and what the devices counted: a replay would be a number used twice.
    touch stopping
    kill "${pids[@]}" "$manager"
    for pid in "${pids[@]}" "$manager"; do
        wait "$pid" || fail 'a process did not end cleanly'
    done
    if grep -hE '^stats of=device .*drop\.replay' lamp*.log; then
        fail 'a group record came twice'
    fi
    if grep -hoE '^group-joined .*' lamp*.log | sed -E 's/.*sender=([0-9]+) key=0x([0-9a-f]*)[0-9a-f]{2}$/\2 \1/' |
        sort | uniq -d | grep .; then
        fail 'a sender ID was handed out twice (generation, sender)'
    fi
    # next-sender is above every sender ID that was ever seen in this generation
    local next generation sender
    next=$(sed -n 's/^group gid=1 .* next-sender=\([0-9]*\) .*/\1/p' list.log)
    generation=${key%??}
    while read -r sender; do
        ((sender < next)) || fail "sender $sender is in use and the registry would hand it out again"
    done < <(grep -hoE "gid=1 sender=[0-9]+ key=${generation}[0-9a-f]{2}\$" lamp*.log | sed -E 's/.*sender=([0-9]+) .*/\1/')
    if [[ -e crashed ]]; then
        printf 'ok: %s\n' "$crash"
    else
        touch "$dir/survived"
    fi
    exit 0
}

if [[ $# == 1 ]]; then
    crash=$1
    run_case
fi

# ---- All of them ----

rm -rf "$work"
mkdir -p "$work/base"
cd "$work/base"
"$iotsec" manager init domain.db >/dev/null
"$iotsec" manager group add domain.db 1 --address ff15::101 --port 5683 >/dev/null
"$iotsec" manager poly renew domain.db --degree 7 >/dev/null
for id in lamp1 lamp2 lamp3; do
    "$iotsec" manager device add domain.db "$id" --group 1 --psk-out "$id.psk" >/dev/null
done
cd "$work"

isolate=(unshare --user --map-root-user --net)
if ! "${isolate[@]}" true 2>/dev/null; then
    isolate=(unshare --net)
fi
cases=()
for ((n = 1; n <= last_commit; n++)); do
    cases+=("${n}b" "${n}a")
done
printf '%s\n' "${cases[@]}" | xargs -P "$at_once" -I CASE sh -c "\"\$@\" CASE >CASE.out 2>&1 || touch CASE.bad" sh \
    "${isolate[@]}" "$self"
status=0
crashes=0
for crash in "${cases[@]}"; do
    cat "$work/$crash.out"
    if [[ -e $work/$crash.bad || -e $work/$crash/failed ]]; then
        tail -n 12 "$work/$crash"/*.log
        status=1
    elif [[ ! -e $work/$crash/survived ]]; then
        crashes=$((crashes + 1))
    fi
done
if [[ ! -e $work/${last_commit}a/survived ]]; then
    printf 'FAILED: the run has %d commits or more: raise last_commit\n' "$last_commit"
    status=1
fi
if ((crashes < 10)); then
    printf 'FAILED: only %d runs crashed\n' "$crashes"
    status=1
fi
printf '%d crashes survived\n' "$crashes"
exit "$status"
