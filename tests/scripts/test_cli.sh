#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The iotsec program's command line: help, bad input by its name and exit status, files that are too open
# or damaged, registries that are missing, locked, read-only, foreign or served already, clean ends, and
# that no line of the output can be broken by what a peer sends.
set -euo pipefail

iotsec=${IOTSEC_BIN:?the iotsec program}
work=${IOTSEC_BUILD_DIR:?}/tests/cli
rm -rf "$work"
mkdir -p "$work"
cd "$work"
umask 077
status=0
pids=()
trap 'kill -9 "${pids[@]}" 2>/dev/null || true' EXIT

complain() { printf 'FAILED: %s\n' "$*"; status=1; }
ok() { printf 'ok: %s\n' "$*"; }

# exits CODE PATTERN ARGUMENT...: the exit status, and a line of standard error (0: of standard output).
exits() {
    local code=$1 pattern=$2 result=0 stream=err
    shift 2
    timeout 20 "$iotsec" "$@" >out 2>err </dev/null || result=$?
    [[ $code == 0 ]] && stream=out
    if [[ $result != "$code" ]]; then
        complain "exit status $result instead of $code: iotsec $* ($(tail -n 1 err))"
    elif ! grep -qE -- "$pattern" "$stream"; then
        complain "no '$pattern' in: iotsec $* ($(tail -n 1 "$stream"))"
    elif [[ $code != 0 && $(grep -c '^error: ' err) != 1 ]]; then
        complain "not one error line: iotsec $*"
    else
        ok "iotsec $*"
    fi
}
# wait_for FILE PATTERN
wait_for() {
    local i
    for ((i = 0; i < 200; i++)); do
        grep -qE -- "$2" "$1" 2>/dev/null && return 0
        sleep 0.05
    done
    complain "'$2' does not come in $1: $(tail -n 2 "$1")"
    return 1
}
# ends NAME PID: by SIGTERM, with exit status 0.
ends() {
    local result=0
    kill -TERM "$2"
    wait "$2" || result=$?
    if [[ $result == 0 ]]; then ok "$1 ends cleanly"; else complain "$1 ended with status $result"; fi
}

key=000102030405060708090a0b0c0d0e0f
printf '%s\n' "$key" >good.psk

# ---- Help and version ----

exits 0 '^usage: iotsec COMMAND' --help
exits 0 '^iotsec [0-9]+\.[0-9]+\.[0-9]+$' --version
exits 0 '^iotsec [0-9]' dtls client --version
exits 0 'manager serve DB' manager --help
for command in 'manager init' 'manager list' 'manager group add' 'manager group remove' 'manager group renew' 'manager device add' \
    'manager device evict' 'manager device readmit' 'manager device remove' 'manager device allow' 'manager device deny' \
    'manager serve' device 'dtls server' 'dtls client'; do
    # shellcheck disable=SC2086  # words of a command
    exits 0 "^usage: iotsec $command" $command --help
done
# What the help of every sending command has to name.
for command in 'manager serve' device 'dtls server' 'dtls client'; do
    for option in --loss --seed --loss-until-connected --link-payload --keylog -v --help --version; do
        # shellcheck disable=SC2086
        grep -qE "^  $option( |\$)" <<<"$("$iotsec" $command --help)" || complain "iotsec $command --help does not name $option"
    done
done

# ---- The command line ----

exits 2 '^error: USAGE: '
exits 2 '^error: USAGE: ' nonsense
exits 2 '^error: USAGE: ' manager
exits 2 '^error: USAGE: ' manager nonsense
exits 2 '^error: USAGE: ' manager device nonsense
exits 2 '^error: USAGE: ' manager init
exits 2 '^error: USAGE: ' manager init a.db b.db
exits 2 '^error: USAGE: ' manager serve
exits 2 '^error: USAGE: .*--listen' manager serve a.db
exits 2 '^error: USAGE: ' dtls
exits 2 '^error: USAGE: .*--connect' dtls client
exits 2 '^error: USAGE: .*--psk-identity' dtls client --connect '[::1]:1'
exits 2 '^error: USAGE: .*--psk-file' dtls client --connect '[::1]:1' --psk-identity a
exits 2 '^error: USAGE: .*--no-such' dtls client --no-such
exits 2 '^error: USAGE: .*needs a value' dtls client --connect
exits 2 '^error: USAGE: .*takes no value' dtls client --require-ems=yes
exits 2 '^error: USAGE: .*--cipher' dtls client --cipher ROT13
exits 2 '^error: USAGE: .*--cookie' dtls server --cookie maybe
exits 2 '^error: USAGE: .*--loss' dtls client --loss 1.5
exits 2 '^error: USAGE: .*--loss' dtls client --loss 120%
exits 2 '^error: USAGE: .*--loss' dtls client --loss some
exits 2 '^error: USAGE: .*--seed' dtls client --seed -1
exits 2 '^error: USAGE: .*--link-payload' dtls client --link-payload 63
exits 2 '^error: USAGE: .*--timeout' dtls client --timeout 0
exits 2 '^error: USAGE: .*--timeout' dtls client --timeout nan
exits 2 '^error: USAGE: .*--crash-at' manager serve a.db --crash-at 3
exits 2 '^error: USAGE: .*--manager' device
exits 2 '^error: USAGE: .*--id' device --manager '[::1]:1'
exits 2 '^error: USAGE: .*twice' device --group 1 --group 1

# ---- Addresses, identities, groups ----

for bad in 5684 ::1:5684 '[::1]' '[::1]:0' '[::1]:65536' localhost:5684 '[fe80::1]:5684' '[fe80::1%nosuchif]:1' '[ff15::1]:1' '[::]:1'; do
    exits 1 '^error: BAD_ADDRESS: --connect' dtls client --connect "$bad"
done
exits 1 '^error: ADDRESS_NOT_HERE: ' dtls server --listen '[2001:db8::1]:5684' --psk-identity a --psk-file good.psk
exits 1 '^error: BAD_IDENTITY: ' dtls client --psk-identity ''
exits 1 '^error: BAD_IDENTITY: ' dtls client --psk-identity "$(printf 'a%.0s' {1..129})"
exits 1 '^error: BAD_IDENTITY: ' dtls client --psk-identity $'a\nb'
exits 1 '^error: BAD_IDENTITY: ' dtls client --psk-identity $'a\xff'
exits 1 '^error: BAD_GROUP: ' device --group 0
exits 1 '^error: BAD_GROUP: ' device --group 65536
exits 1 '^error: NO_INTERFACE: ' device --manager '[::1]:1' --id a --psk-file good.psk --interface nosuchif
exits 1 '^error: KEYLOG: ' dtls client --connect '[::1]:1' --psk-identity a --psk-file good.psk --keylog no/such/dir

# ---- Keys ----

exits 1 '^error: BAD_PSK: ' dtls client --psk 00
exits 1 '^error: BAD_PSK: ' dtls client --psk "${key}0"
exits 1 '^error: BAD_PSK: ' dtls client --psk "$(printf '0%.0s' {1..130})"
exits 1 '^error: PSK_FILE: ' dtls client --psk-file no-such-file
exits 1 '^error: PSK_FILE: ' dtls client --psk-file .
printf '%s\n%s\n' "$key" "$key" >two-lines.psk
exits 1 '^error: BAD_PSK: ' dtls client --psk-file two-lines.psk
for mode in 644 640 604 620; do
    printf '%s\n' "$key" >open.psk
    chmod "$mode" open.psk
    exits 1 "^error: PSK_FILE_MODE: .*$mode" dtls client --psk-file open.psk
done
"$iotsec" dtls client --psk "$key" >out 2>err || true
grep -q '^warning: PSK_ON_COMMAND_LINE: ' err || complain 'no warning about a key on the command line'

# ---- Registries ----

exits 1 '^error: BAD_PREFIX: ' manager init new.db --prefix fd01::
exits 1 '^error: BAD_PREFIX: ' manager init new.db --prefix 10.0.0.0/8
exits 1 '^error: REGISTRY_UNREADABLE: ' manager init no/such/dir/new.db
[[ ! -e new.db ]] || complain 'a refused init left a file'
exits 0 '^registry-created path=new.db prefix=fd01::/64$' manager init new.db --prefix fd01::/64
[[ $(stat -c %a new.db) == 600 ]] || complain "the registry's mode is $(stat -c %a new.db)"
exits 1 '^error: REGISTRY_EXISTS: ' manager init new.db
exits 1 '^error: REGISTRY_MISSING: ' manager list missing.db
exits 1 '^error: REGISTRY_MISSING: ' manager serve missing.db --listen '[::1]:0'
exits 1 '^error: REGISTRY_UNREADABLE: ' manager list .
exits 1 '^error: NO_SUCH_GROUP: ' manager device add new.db lamp1 --group 1
exits 0 '^queued what=group-add gid=1 address=ff15::101 port=5683$' manager group add new.db 1 --address ff15::101 --port 5683
exits 1 '^error: GROUP_EXISTS: ' manager group add new.db 1 --address ff15::102 --port 5683
exits 1 '^error: GROUP_EXISTS: group 1 ' manager group add new.db 2 --address ff15::101 --port 5683
exits 1 '^error: BAD_GROUP: ' manager group add new.db 0 --address ff15::102 --port 5683
exits 1 '^error: BAD_ADDRESS: ' manager group add new.db 2 --address fd01::1 --port 5683
exits 2 '^error: USAGE: .*--port' manager group add new.db 2 --address ff15::102 --port 0
exits 2 '^error: USAGE: .*--address' manager group add new.db 2
exits 1 '^error: NO_SUCH_GROUP: ' manager group remove new.db 2
exits 1 '^error: NO_SUCH_GROUP: ' manager group renew new.db 2
exits 0 '^device-added id=lamp1 number=1 psk=[0-9a-f]{32}$' manager device add new.db lamp1 --group 1
exits 1 '^error: DEVICE_EXISTS: ' manager device add new.db lamp1
exits 0 '^device-added id=lamp2 number=2$' manager device add new.db lamp2 --psk-file good.psk
exits 0 '^device-added id="light switch" number=3 psk-file=switch.psk$' manager device add new.db 'light switch' --psk-out switch.psk
[[ $(stat -c %a switch.psk) == 600 ]] || complain 'a key file that others can read was made'
exits 1 '^error: PSK_FILE: ' manager device add new.db lamp3 --psk-out switch.psk
exits 1 '^error: NO_SUCH_DEVICE: ' manager device evict new.db nobody
exits 1 '^error: NOT_EVICTED: ' manager device readmit new.db lamp1
exits 0 '^queued what=evict id=lamp1$' manager device evict new.db lamp1
exits 0 '^queued what=readmit id=lamp1$' manager device readmit new.db lamp1
exits 0 '^queued what=remove id=lamp2$' manager device remove new.db lamp2
exits 1 '^error: NO_SUCH_DEVICE: ' manager device remove new.db lamp2
exits 1 '^error: NOT_ALLOWED: ' manager device deny new.db 'light switch' 1
exits 0 '^allowed id="light switch" gid=1$' manager device allow new.db 'light switch' 1
"$iotsec" manager list new.db >listed
if grep -qi -e "$key" -e psk listed; then complain 'list shows keys'; else ok 'list shows no key'; fi

cp new.db open.db
chmod 640 open.db
exits 1 '^error: REGISTRY_MODE: ' manager list open.db
: >empty.db
exits 1 '^error: REGISTRY_SCHEMA: ' manager list empty.db
head -c 8192 /dev/urandom >junk.db
exits 1 '^error: REGISTRY_CORRUPT: ' manager list junk.db
cp new.db torn.db
printf 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' | dd of=torn.db bs=1 seek=8192 conv=notrunc status=none
sum=$(sha256sum <torn.db)
exits 1 '^error: REGISTRY_CORRUPT: ' manager serve torn.db --listen '[::1]:0'
exits 1 '^error: REGISTRY_CORRUPT: ' manager device add torn.db lamp9
[[ $(sha256sum <torn.db) == "$sum" ]] || complain 'a damaged registry was written to'
python3 - <<'PYTHON'
import sqlite3
for name, change in (("later.db", "PRAGMA user_version = 99"), ("foreign.db", "PRAGMA application_id = 1")):
    open(name, "wb").write(open("new.db", "rb").read())
    db = sqlite3.connect(name)
    db.execute(change)
    db.commit()
    db.close()
PYTHON
exits 1 '^error: REGISTRY_SCHEMA: .*99' manager list later.db
exits 1 '^error: REGISTRY_SCHEMA: ' manager list foreign.db

# Another program holds it locked: commands say so after a while, and nothing is lost.
python3 - >holder.log <<'PYTHON' &
import sqlite3, sys, time
db = sqlite3.connect("new.db", isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(60)
PYTHON
holder=$!
pids+=("$holder")
wait_for holder.log locked
exits 1 '^error: REGISTRY_BUSY: ' manager device add new.db lamp4
exits 0 '^device id="light switch"' manager list new.db
kill "$holder"
wait "$holder" 2>/dev/null || true
exits 0 '^device-added id=lamp4' manager device add new.db lamp4

# Read-only: a mount says so even to root.
if unshare --user --map-root-user --mount true 2>/dev/null; then
    mkdir -p ro
    cp new.db ro/ro.db
    for command in 'list ro/ro.db' 'serve ro/ro.db --listen [::1]:0' 'device add ro/ro.db lamp5' 'init ro/new.db'; do
        # shellcheck disable=SC2016
        unshare --user --map-root-user --mount sh -c 'mount --bind ro ro && mount -o remount,bind,ro ro && exec "$0" manager $1' \
            "$iotsec" "$command" >out 2>err </dev/null && complain "manager $command on a read-only file system succeeded"
        if grep -q '^error: REGISTRY_READ_ONLY: ' err; then ok "read-only: manager $command"; else
            complain "read-only: manager $command: $(cat err)"; fi
    done
fi

# ---- Servers ----

"$iotsec" manager serve new.db --listen '[::1]:0' >manager.log 2>&1 &
manager=$!
pids+=("$manager")
wait_for manager.log '^serving addr='
manager_addr=$(sed -n 's/^serving addr=//p' manager.log)
exits 1 "^error: REGISTRY_LOCKED: .*$manager" manager serve new.db --listen '[::1]:0'
exits 1 '^error: REGISTRY_LOCKED: ' manager serve ../cli/new.db --listen '[::1]:0' # the same by another name
ln -s new.db link.db
exits 1 '^error: REGISTRY_LOCKED: ' manager serve link.db --listen '[::1]:0'
cp new.db second.db
exits 1 '^error: ADDRESS_IN_USE: ' manager serve second.db --listen "$manager_addr"
# wishes from before it ran are done, and new ones are carried out while the command waits
if "$iotsec" manager list new.db | grep '^queued'; then complain 'wishes are left'; fi
exits 0 '^device id=lamp1 number=1 evicted=no' manager list new.db
if grep -q '^device id=lamp2' out; then complain 'lamp2 is still there'; fi
begun=$(date +%s%N)
exits 0 '^evicted id=lamp1$' manager device evict new.db lamp1
(($(date +%s%N) - begun < 1000000000)) || complain 'an eviction took longer than a second'
exits 0 '^readmitted id=lamp1$' manager device readmit new.db lamp1
exits 0 '^group-added gid=7 ' manager group add new.db 7 --address 239.1.2.3 --port 5000
exits 0 '^group gid=7 address=239.1.2.3 port=5000 key=0x100 ' manager list new.db
exits 0 '^group-renewed gid=7$' manager group renew new.db 7
exits 0 '^group-removed gid=7$' manager group remove new.db 7
# a group of an ID that was used goes on above where the old one ended
exits 0 '^group-added gid=7 ' manager group add new.db 7 --address ff15::7 --port 5000
exits 0 '^group gid=7 address=ff15::7 port=5000 key=0x300 ' manager list new.db
# after an old copy of the registry: above what was in use
exits 1 '^error: BAD_KEY_NUMBER: ' manager group renew new.db 7 --above 0x5g
exits 1 '^error: BAD_KEY_NUMBER: ' manager group renew new.db 7 --above 0x100000000
exits 0 '^group-renewed gid=7$' manager group renew new.db 7 --above 0x1234
exits 0 '^group gid=7 address=ff15::7 port=5000 key=0x1300 ' manager list new.db
exits 0 '^removed id=lamp4$' manager device remove new.db lamp4
exits 0 '^device-added id=lamp4 number=5 ' manager device add new.db lamp4

# Ways in which a join fails, each by its name.
device=(device --manager "$manager_addr" --id lamp4)
exits 1 '^error: WRONG_PSK: ' "${device[@]}" --psk-file good.psk
exits 1 '^error: WRONG_PSK: ' device --manager "$manager_addr" --id $'nobody "here"' --psk-file good.psk
wait_for manager.log '^unknown-identity id="nobody \\"here\\""$'
wait_for manager.log '^join-failed reason=WRONG_PSK id=lamp4 '
exits 0 '^evicted id="light switch"$' manager device evict new.db 'light switch'
exits 1 '^error: NOT_AUTHORISED: ' device --manager "$manager_addr" --id 'light switch' --psk-file switch.psk
exits 1 '^error: NO_ANSWER: ' "${device[@]}" --manager '[::1]:9' --psk-file good.psk --timeout 1.5
ends 'the manager' "$manager"
wait_for manager.log '^stopped$'
exits 0 '^registry .* served=no' manager list new.db
[[ ! -e new.db-wal ]] || complain 'the database was not closed'

# A registry that is taken away under the server: it says so and ends, rather than write where nobody finds it.
cp new.db gone.db
"$iotsec" manager serve gone.db --listen '[::1]:0' >gone.log 2>&1 &
gone=$!
pids+=("$gone")
wait_for gone.log '^serving'
rm gone.db
result=0
wait "$gone" || result=$?
if [[ $result == 1 ]] && grep -q '^error: REGISTRY_MISSING: ' gone.log; then ok 'a registry that vanishes is noticed'; else
    complain "a registry vanished: status $result, $(tail -n 1 gone.log)"; fi

"$iotsec" dtls server --listen '[::1]:0' --psk-identity dev --psk-file good.psk -v >server.log 2>&1 &
server=$!
pids+=("$server")
wait_for server.log '^listening addr='
server_addr=$(sed -n 's/^listening addr=//p' server.log)
client=(dtls client --connect "$server_addr" --psk-identity dev --wait 200)
exits 1 '^error: ADDRESS_IN_USE: ' dtls server --listen "$server_addr" --psk-identity dev --psk-file good.psk
printf '%s0\n' "${key%?}" >wrong.psk
exits 1 '^error: WRONG_PSK: ' "${client[@]}" --psk-file wrong.psk
exits 1 '^error: WRONG_PSK: ' "${client[@]}" --psk-identity $'a "b" \\c' --psk-file good.psk
wait_for server.log '^unknown-identity id="a \\"b\\" \\\\c"$'
exits 1 '^error: NO_KEY_MANAGEMENT: ' device --manager "$server_addr" --id dev --psk-file good.psk
exits 1 '^error: NO_ANSWER: ' dtls client --connect 127.0.0.1:9 --psk-identity dev --psk-file good.psk --timeout 1
# What goes in comes back, all of it, whatever it is.
head -c 20000 /dev/urandom >random.in
timeout 20 "$iotsec" "${client[@]}" --psk-file good.psk <random.in >random.out 2>err || complain "client: $(tail -n 1 err)"
if cmp -s random.in random.out; then ok 'echo of 20000 random bytes'; else complain 'the echo differs'; fi
yes 'a line of some length that is not empty' 2>/dev/null | head -n 3000 >lines.in || true
timeout 20 "$iotsec" "${client[@]}" --psk-file good.psk <lines.in >lines.out 2>err || complain "client: $(tail -n 1 err)"
if cmp -s lines.in lines.out; then ok 'echo of 3000 lines'; else complain "$(wc -l <lines.out) of 3000 lines came back"; fi
printf 'no end' | timeout 20 "$iotsec" "${client[@]}" --psk-file good.psk --cipher CCM --keylog keys.log >out 2>err || complain 'client'
[[ $(cat out) == 'no end' ]] || complain 'a last line without an end is lost'
grep -q 'cipher=CCM ' err || complain '--cipher CCM was not used'
grep -qE '^CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}$' keys.log || complain 'no key log'
[[ $(stat -c %a keys.log) == 600 ]] || complain 'the key log can be read by others'
for seed in 1 2 3 4 5; do
    printf 'through the storm\n' | timeout 20 "$iotsec" "${client[@]}" --psk-file good.psk --loss 30% --seed "$seed" \
        --loss-until-connected >out 2>err || complain "client with loss, seed $seed: $(tail -n 1 err)"
    [[ $(cat out) == 'through the storm' ]] || complain "no echo with loss, seed $seed"
done
ok 'five handshakes at 30 % loss'
# Ctrl-C while the client is connected: a clean end, and the server is told.
mkfifo client.in
"$iotsec" "${client[@]}" --psk-file good.psk <client.in >client.log 2>&1 &
pid=$!
pids+=("$pid")
exec 9>client.in
wait_for client.log '^connected '
kill -INT "$pid"
result=0
wait "$pid" || result=$?
[[ $result == 0 ]] || complain "a client ended with status $result on SIGINT"
"$iotsec" "${client[@]}" --psk-file good.psk <client.in >left.log 2>&1 &
pid=$!
pids+=("$pid")
wait_for left.log '^connected '
ends 'the DTLS server' "$server"
result=0
wait "$pid" || result=$?
if [[ $result == 1 ]] && grep -q '^error: CLOSED: ' left.log; then ok 'a client hears that the server ends'; else
    complain "a client whose server ended: status $result, $(tail -n 1 left.log)"; fi
grep -q '^stats of=dtls' server.log || complain '-v printed no counters'

exit "$status"
