#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# README.md: its example is examples/embedding/lamp.c, which is built against this build's library and
# joins a domain, as does switch.c beside it; the lines that it shows a device's user do what it says; the files that it and the other documents
# point to exist.
set -euo pipefail

source_dir=${IOTSEC_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
build_dir=${IOTSEC_BUILD_DIR:-$source_dir/build/gcc}
bin=${IOTSEC_BIN:-$build_dir/iotsec}
example=$source_dir/examples/embedding
work=$build_dir/tests/readme

fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

# In a network namespace of its own: a manager, a switch, and the example as a lamp.
run_example() {
    cd "$work"
    umask 077
    rm -f domain.db* ./*.psk ./*.log input
    ip link set lo up
    # A bridge carries multicast between the sockets of one host; `lo` does not.
    ip link add br0 type bridge
    ip link set br0 up
    local address
    for address in fd01::1 fd01::10 fd01::21; do
        ip addr add "$address/64" dev br0 nodad
    done
    "$bin" manager init domain.db
    "$bin" manager group add domain.db 1 --address ff15::101 --port 5683
    "$bin" manager poly renew domain.db
    "$bin" manager device add domain.db switch --group 1 --psk-out switch.psk
    "$bin" manager device add domain.db lamp-1 --group 1 --psk-out lamp-1.psk
    "$bin" manager serve domain.db --listen '[fd01::1]:5684' >manager.log 2>&1 &
    local manager=$! lamp switch
    wait_for manager.log '^serving '
    ./lamp fd01::1 5684 br0 "$(tr -d '\n' <lamp-1.psk)" >lamp.log 2>&1 &
    lamp=$!
    wait_for manager.log '^member-joined id=lamp-1 '
    mkfifo input
    exec 3<>input
    "$bin" device --manager '[fd01::1]:5684' --id switch --psk-file switch.psk --group 1 --interface br0 <input >switch.log 2>&1 &
    switch=$!
    wait_for switch.log '^group-joined '
    printf 'group 1 light on\n' >&3
    wait_for lamp.log '^group 1, sender [0-9]*: light on$'
    kill "$lamp" "$switch" "$manager"
    wait "$lamp" || fail "the example ended with status $?"
    wait "$switch" "$manager" || fail "switch or manager ended with status $?"
}

# device ID ADDRESS: as the README has it, but at an address of its own, since all share a host here.
device() {
    mkfifo "$1.in"
    exec 4<>"$1.in"
    "$bin" device --manager '[fd01::1]:5684' --id "$1" --psk-file "$1.psk" --group 1 --interface br0 --listen "[$2]:5685" \
        <"$1.in" >"$1.log" 2>&1 &
    devices+=("$!")
    wait_for "$1.log" '^joined '
    wait_for "$1.log" '^share '
}

# The two lines for a device's standard input, and what they say is printed.
run_lines() {
    local devices=() command printed
    rm -f ./*.log ./*.in
    "$bin" manager serve domain.db --listen '[fd01::1]:5684' >manager.log 2>&1 &
    devices+=("$!")
    wait_for manager.log '^serving '
    device lamp-1 fd01::21
    device switch fd01::10
    while read -r command; do
        printed=$(sed 's/.*prints: *//; s/sender=[0-9]*/sender=[0-9]*/; s/[][]/\\&/g; s/\\\[0-9\\\]/[0-9]/g' <<<"$command")
        printf '%s\n' "$command" | sed -E 's/  +.*//' >&4
        wait_for lamp-1.log "^$printed\$"
        printf 'ok: %s\n' "$command"
    done < <(sed -nE 's/^    ((group|send) .*prints: .*)/\1/p' "$source_dir/README.md")
    [[ -n ${printed:-} ]] || fail 'the README shows no line for a device'
    kill "${devices[@]}"
    wait "${devices[@]}" || fail "a device or the manager ended with status $?"
}

# The other example, in the switch's place.
run_switch() {
    local devices=()
    rm -f ./*.log ./*.in
    "$bin" manager serve domain.db --listen '[fd01::1]:5684' >manager.log 2>&1 &
    devices+=("$!")
    wait_for manager.log '^serving '
    device lamp-1 fd01::21
    ./switch fd01::1 5684 br0 "$(tr -d '\n' <switch.psk)" >switch.log 2>&1 &
    devices+=("$!")
    wait_for lamp-1.log '^message from=switch addr=.* text="dim slowly"$'
    kill "${devices[@]}"
    wait "${devices[@]}" || fail "the other example, a device or the manager ended with status $?"
    printf 'ok: examples/embedding/switch.c talks to one device alone\n'
}

wait_for() {
    local tries=200
    until grep -qs -e "$2" "$1"; do
        tries=$((tries - 1))
        if [[ $tries == 0 ]]; then
            tail -n 20 "$work"/*.log
            fail "$1 has no line like $2"
        fi
        sleep 0.05
    done
}

if [[ ${1:-} == --inside ]]; then
    run_example
    run_lines
    run_switch
    exit 0
fi

mkdir -p "$work"
# Between the fences of the first C block; the file begins with a header of two lines.
awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' "$source_dir/README.md" >"$work/readme.c"
tail -n +3 "$example/lamp.c" | diff - "$work/readme.c" || fail 'the README shows another program than examples/embedding/lamp.c'
printf 'ok: the README shows examples/embedding/lamp.c\n'

for document in "$source_dir"/*.md "$source_dir"/docs/*.md; do
    while read -r target; do
        [[ -e $(dirname "$document")/$target ]] || fail "$document points to $target, which does not exist"
    done < <(grep -oE '\]\([^)#]+' "$document" | sed 's/^](//' | grep -vE '^[a-z]+:' || [[ $? == 1 ]])
done
printf 'ok: every file that the documents point to exists\n'

crypto=$(sed -n 's/^IotsecMbedTLS_CRYPTO_LIBRARY:FILEPATH=//p' "$build_dir/CMakeCache.txt")
library=$(find "$build_dir" -maxdepth 1 -name 'libiotsec.*' | head -n 1)
for product in lamp switch; do
    "${CC:-cc}" -std=gnu99 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I"$source_dir/include" -I"$build_dir/include" \
        "$example/$product.c" "$example/board_linux.c" "$library" "$crypto" -o "$work/$product"
done
printf 'ok: it compiles without a warning\n'

for way in 'unshare -rn' 'unshare -n'; do
    if $way true 2>/dev/null; then
        $way "$0" --inside
        printf 'ok: it joins a domain and hears its group\n'
        exit 0
    fi
done
fail 'this machine lets us make no network namespace: run it as root, or allow user namespaces'
