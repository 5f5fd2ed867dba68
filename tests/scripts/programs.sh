# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# For tests that run programs on hosts of their own (network namespaces). Their logs stand in the folder that is current when
# they are started.

# 1 once something was complained of; a test ends with it.
# shellcheck disable=SC2034
status=0
pids=()
declare -A pid=() input=()
trap 'kill -9 "${pids[@]}" 2>/dev/null || true' EXIT

# enter_namespace WHAT: runs the test once more, from its beginning, on a network of its own; or says WHAT for that reason.
enter_namespace() {
    local self enter
    [[ -z ${IOTSEC_IN_NAMESPACE:-} ]] || return 0
    export IOTSEC_IN_NAMESPACE=1
    self=$(realpath "$0")
    for enter in 'unshare -rnmp' 'unshare -nmp'; do
        read -r -a enter <<<"$enter --fork --kill-child --mount-proc"
        if "${enter[@]}" sh -c 'mount -t tmpfs tmpfs /run && ip link add br0 type bridge' 2>/dev/null; then
            exec "${enter[@]}" "$self"
        fi
    done
    printf 'SKIP: %s: this machine lets us make no network namespaces\n' "$1"
    exit 0
}
ok() { printf 'ok: %s\n' "$*"; }
complain() { printf 'FAILED: %s\n' "$*"; status=1; }
die() { printf 'FAILED: %s\n' "$*"; tail -n 12 ./*.log; exit 1; }

# start HOST NAME COMMAND...: in the background; NAME.log is its output, `tell NAME` writes to its input.
start() {
    local host=$1 name=$2 fd
    shift 2
    [[ -p $name.in ]] || mkfifo "$name.in"
    exec {fd}<>"$name.in"
    input[$name]=$fd
    : >"$name.log"
    ip netns exec "$host" "$@" <"$name.in" >>"$name.log" 2>&1 &
    pid[$name]=$!
    pids+=("$!")
}
tell() { printf '%s\n' "$2" >&"${input[$1]}"; }
# said NAME PATTERN [SECONDS]
said() {
    local i
    for ((i = 0; i < ${3:-15} * 20; i++)); do
        grep -qE -- "$2" "$1.log" && return 0
        sleep 0.05
    done
    die "$1 does not say '$2': $(tail -n 2 "$1.log")"
}
stop() {
    local name result
    for name in "$@"; do
        kill "${pid[$name]}"
        result=0
        wait "${pid[$name]}" || result=$?
        [[ $result == 0 ]] || complain "$name ended with status $result: $(tail -n 2 "$name.log")"
    done
}
