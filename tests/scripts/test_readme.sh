#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# README.md: its example is examples/embedding/lamp.c, which is built against this build's library and
# joins a domain; the files that it and the other documents point to exist.
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
    ip addr add fd01::1/64 dev br0 nodad
    "$bin" manager init domain.db
    "$bin" manager group add domain.db 1 --address ff15::101 --port 5683
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
"${CC:-cc}" -std=gnu99 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I"$source_dir/include" -I"$build_dir/include" \
    "$example/lamp.c" "$example/board_linux.c" "$library" "$crypto" -o "$work/lamp"
printf 'ok: it compiles without a warning\n'

for way in 'unshare -rn' 'unshare -n'; do
    if $way true 2>/dev/null; then
        $way "$0" --inside
        printf 'ok: it joins a domain and hears its group\n'
        exit 0
    fi
done
fail 'this machine lets us make no network namespace: run it as root, or allow user namespaces'
