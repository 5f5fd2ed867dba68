#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The iotsec program's command line: help, bad input by its name and exit status, files that are too open
# or damaged, registries that are missing, locked, read-only, foreign or served already, clean ends, and
# that no line of the output can be broken by what a peer sends. And a join through a relay, all on one host, with
# the ways in which what follows it can fail.
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
    'manager access' 'manager l2 renew' 'manager poly renew' 'manager poly show' 'manager serve' device relay 'dtls server' 'dtls client'; do
    # shellcheck disable=SC2086  # words of a command
    exits 0 "^usage: iotsec $command" $command --help
done
# What the help of every sending command has to name.
for command in 'manager serve' device relay 'dtls server' 'dtls client'; do
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
exits 2 '^error: USAGE: .*--connection-id' device --connection-id maybe
exits 2 '^error: USAGE: .*--connection-id' dtls client --connection-id link-local
exits 2 '^error: USAGE: .*--rebind-after' dtls client --rebind-after 0
exits 2 '^error: USAGE: .*--relay-handshakes' manager serve a.db --relay-handshakes 0
exits 2 '^error: USAGE: .*--l2-switch-ms' manager serve a.db --l2-switch-ms soon
exits 2 '^error: USAGE: .*--relay: .*often' device --relay often
exits 2 '^error: USAGE: .*--relay-open' device --relay --relay-open 0
exits 2 '^error: USAGE: .*--pairs' device --pairs 1001
exits 2 '^error: USAGE: .*--pairs' device --pairs all
exits 2 '^error: USAGE: .*--share-degree-max' device --share-degree-max 0
exits 2 '^error: USAGE: .*--share-degree-max' device --share-degree-max 256
exits 2 '^error: USAGE: .*--pair-idle' device --pair-idle 0
# what neighbours send to the relay is not for the device itself
exits 2 '^error: USAGE: --listen .*5684.*relay' device --manager '[::1]:1' --id a --psk-file good.psk --relay --listen '[::]:5684'
exits 2 '^error: USAGE: --listen .*7000.*relay' \
    device --manager '[::1]:1' --id a --psk-file good.psk --relay --relay-port 7000 --listen '[fd01::1]:7000'
exits 2 '^error: USAGE: .*--relay$' device --manager '[::1]:1' --id a --psk-file good.psk --relay-open always
exits 2 '^error: USAGE: ' manager l2 nonsense
exits 2 '^error: USAGE: ' manager poly nonsense
exits 2 '^error: USAGE: ' manager poly renew
exits 2 '^error: USAGE: .*--address' manager access a.db
exits 2 '^error: USAGE: .*--interface' relay
exits 2 '^error: USAGE: .*--manager' relay --interface lo
exits 2 '^error: USAGE: .*stateless and stateful' relay --mode sometimes
exits 2 '^error: USAGE: .*--join-port' relay --join-port 0
exits 2 '^error: USAGE: .*--joiners' relay --joiners 251
exits 2 '^error: USAGE: .*--rate' relay --rate 0
exits 2 '^error: USAGE: .*--neighbour-rate' relay --neighbour-rate many
exits 2 '^error: USAGE: .*--open' relay --open never
exits 2 '^error: USAGE: .*--key-file' relay --interface lo --manager '[fd01::1]:1' --mode stateful --key-file a

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
exits 1 '^error: NO_INTERFACE: ' relay --interface nosuchif --manager '[fd01::1]:1'
exits 1 '^error: NO_INTERFACE: ' device --relay --relay-interface nosuchif
exits 1 '^error: BAD_ADDRESS: --manager .*link-local' relay --interface lo --manager '[fe80::1%lo]:5684'
exits 1 '^error: BAD_ADDRESS: --manager .*multicast' relay --interface lo --manager '[ff15::1]:5684'
exits 1 '^error: KEY_FILE: ' relay --interface lo --manager '[fd01::1]:1' --key-file no/such/dir/key
: >open.key
chmod 640 open.key
exits 1 '^error: KEY_FILE: .*chmod' relay --interface lo --manager '[fd01::1]:1' --key-file open.key
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
exits 1 '^error: NO_ACCESS: ' manager l2 renew new.db
for bad in fd01:: fd01::/48 fd01::1/64 10.0.0.0/64 fe80::/64 ff15::/64 fd01::/640; do
    exits 1 '^error: BAD_PREFIX: --prefix' manager access new.db --address '[fd01::1]:5684' --prefix "$bad"
done
exits 1 '^error: BAD_ADDRESS: --address .*link-local' manager access new.db --address '[fe80::1%lo]:5684'
exits 1 '^error: BAD_ADDRESS: --address .*multicast' manager access new.db --address '[ff15::1]:5684'
exits 1 '^error: BAD_ADDRESS: --address .*nobody' manager access new.db --address '[::]:5684'
for bad in 65536 0x10000 0x beef -1 ''; do
    exits 1 '^error: BAD_PAN: ' manager access new.db --address '[fd01::1]:5684' --pan "$bad"
done
exits 0 '^queued what=access manager=\[fd01::1\]:5684 prefix=fd01::/64 pan=0xbeef$' \
    manager access new.db --address '[fd01::1]:5684' --pan 0xbeef
exits 0 '^queued what=l2-renew$' manager l2 renew new.db
exits 0 '^queued what=access manager=\[fd01::1\]:5684 prefix=fd01::/64 pan=0xbeef$' manager list new.db
exits 1 '^error: NO_POLYNOMIAL: ' manager poly show new.db
for bad in 0 256 t -1 '' 31.0 4294967297; do
    exits 1 '^error: BAD_DEGREE: ' manager poly renew new.db --degree "$bad"
done
exits 0 '^queued what=poly-renew degree=31 overlap=yes$' manager poly renew new.db
exits 0 '^queued what=poly-renew degree=255 overlap=no$' manager poly renew new.db --degree 255 --no-overlap
exits 0 '^queued what=poly-renew degree=255 overlap=yes$' manager poly renew new.db # as it will be
exits 0 '^queued what=poly-renew degree=5 overlap=yes$' manager poly renew new.db --degree 5
exits 0 '^queued what=poly-renew degree=255 overlap=no$' manager list new.db
exits 0 '^registry-created' manager init wide.db --prefix fd01::/48
exits 1 "^error: BAD_PREFIX: the registry's" manager access wide.db --address '[fd01::1]:5684'
exits 0 '^queued what=access manager=192.0.2.1:5684 prefix=none pan=0xffff$' \
    manager access wide.db --address 192.0.2.1:5684 --prefix ::/64
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
# Two identities of one point: nobody knows such, so another hand has put it there.
python3 - <<'PYTHON'
import hashlib, sqlite3
db = sqlite3.connect("new.db")
point = int.from_bytes(hashlib.sha256(b"iotsec point" + b"twin").digest(), "big") % (2**127 - 1)
db.execute("UPDATE device SET point = ? WHERE identity = CAST('light switch' AS BLOB)", (point.to_bytes(16, "big"),))
db.commit()
db.close()
PYTHON
exits 1 '^error: IDENTITY_COLLISION: twin: .*light switch' manager device add new.db twin --psk-out twin.psk
[[ ! -e twin.psk ]] || complain 'a refused device left a key'
"$iotsec" manager list new.db >listed
if grep -q 'id=twin' listed; then complain 'a refused device was added'; fi
# The first layout had no access parameters, the second one no polynomial: such registries are brought up to date, but not
# under an old server's feet.
python3 - <<'PYTHON'
import sqlite3
older = "DROP INDEX device_point; ALTER TABLE device DROP COLUMN point; DROP TABLE poly; DROP TABLE revoked;"
for name, change in (("first.db", older + "DROP TABLE access; DELETE FROM wanted; PRAGMA user_version = 1"),
                     ("layout-2.db", older + "DELETE FROM wanted WHERE kind > 9; PRAGMA user_version = 2")):
    open(name, "wb").write(open("new.db", "rb").read())
    db = sqlite3.connect(name)
    db.executescript(change)
    db.close()
PYTHON
chmod 600 first.db layout-2.db
exits 0 '^queued what=access manager=\[fd01::1\]:5684 ' manager list layout-2.db
exits 0 '^queued what=poly-renew degree=31 overlap=yes$' manager poly renew layout-2.db
python3 - >holder.log <<'PYTHON' &
import fcntl, os, time
lock = os.open("first.db.lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.lockf(lock, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
PYTHON
holder=$!
pids+=("$holder")
wait_for holder.log locked
exits 1 '^error: REGISTRY_SCHEMA: .*older program' manager list first.db
kill "$holder"
wait "$holder" 2>/dev/null || true
exits 0 '^device id="light switch"' manager list first.db
exits 1 '^error: NO_ACCESS: ' manager l2 renew first.db

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
exits 0 '^access manager=\[fd01::1\]:5684 prefix=fd01::/64 pan=0xbeef l2-number=[1-9]' manager list new.db
exits 0 '^access-set manager=\[fd01::2\]:5685 prefix=fd02::/64 pan=0x1$' \
    manager access new.db --address '[fd01::2]:5685' --prefix fd02::/64 --pan 1
wait_for manager.log '^access-set manager=\[fd01::2\]:5685 prefix=fd02::/64 pan=0x1$'
exits 0 '^l2-renewed$' manager l2 renew new.db
wait_for manager.log '^l2-key number=[0-9]+ index=[0-9]+ state=handed-out reason=CANCELLED$'
"$iotsec" manager list new.db >listed
if grep '^access ' listed | grep -qE '[0-9a-f]{32}'; then complain 'list shows an L2 key'; else ok 'list shows no L2 key'; fi
# the wishes from before are carried out, in their order
exits 0 '^poly generation=4 degree=5 bytes=336 share-bytes=96 overlap=yes carried=0 revoked=2$' manager poly show new.db
if grep -q '^revoked mark=[0-9a-f]* id=lamp1$' out && grep -qE '^revoked mark=[0-9a-f]{16}$' out; then
    ok 'lamp1, evicted twice, is revoked once, and so is lamp2, which is removed'; else complain "revoked: $(cat out)"; fi
exits 0 '^poly-renewed degree=5 overlap=no$' manager poly renew new.db --no-overlap
wait_for manager.log '^poly generation=5 degree=5 overlap=no reason=CANCELLED$'
exits 0 '^poly-renewed degree=31 overlap=yes$' manager poly renew new.db --degree 31
exits 0 '^poly generation=6 degree=31 bytes=8448 share-bytes=512 overlap=yes carried=0 revoked=0$' manager list new.db
exits 0 '^removed id=lamp4$' manager device remove new.db lamp4
exits 0 '^revoked mark=[0-9a-f]{16}$' manager poly show new.db
exits 0 '^device-added id=lamp4 number=5 ' manager device add new.db lamp4
grep -q '^warning: STILL_REVOKED: lamp4: ' err || complain 'nobody says that lamp4 stays revoked'
exits 0 '^revoked mark=[0-9a-f]{16} id=lamp4$' manager poly show new.db
if grep -qE '[0-9a-f]{17}' out; then complain 'a coefficient is shown'; else ok 'no coefficient is shown'; fi

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

# Access parameters and a next L2 key, with a server that dies before and after the commit: done once, and not lost.
"$iotsec" manager init crash.db >out
crashes() {
    echo 0 >crash.status
    (timeout 20 "$iotsec" manager serve crash.db --listen '[::1]:0' --crash-at "$1" >crash.log 2>&1 || echo $? >crash.status) 2>/dev/null
    [[ $(cat crash.status) == 137 ]] || complain "no crash at $1"
    "$iotsec" manager list crash.db >listed
}
"$iotsec" manager access crash.db --address '[fd01::1]:5684' --prefix fd01::/64 >out
crashes 1b
grep -q '^queued what=access' listed || complain 'a crash before the commit lost the access parameters'
! grep -q '^access' listed || complain 'a crash before the commit left access parameters'
crashes 1a
! grep -q '^queued' listed || complain 'a crash after the commit left the wish'
grep -q '^access manager=\[fd01::1\]:5684 prefix=fd01::/64 pan=0xffff l2-number=1 l2-index=1$' listed || complain 'no access parameters'
"$iotsec" manager l2 renew crash.db >out
crashes 1b
grep -q '^queued what=l2-renew$' listed || complain 'a crash before the commit lost the next L2 key'
crashes 1a
if grep -q '^access .* l2-number=1 l2-index=1 l2-next=2$' listed && ! grep -q '^queued' listed; then
    ok 'access parameters and L2 keys survive crashes'; else complain "after the crashes: $(tail -n 2 listed)"; fi
# A polynomial is there whole, or not at all.
for generation in 1 2; do
    "$iotsec" manager poly renew crash.db --degree 100 >out
    crashes 1b
    grep -q '^queued what=poly-renew degree=100 overlap=yes$' listed || complain 'a crash before the commit lost the polynomial'
    ! grep -q "^poly generation=$generation" listed || complain 'a crash before the commit left a polynomial'
    crashes 1a
    if grep -q "^poly generation=$generation degree=100 bytes=82416 " listed && ! grep -q '^queued' listed; then
        ok "polynomial $generation survives crashes"; else complain "after the crashes: $(tail -n 2 listed)"; fi
done
python3 - <<'PYTHON' || complain 'a polynomial with holes'
import sqlite3
coefficients, = sqlite3.connect("crash.db").execute("SELECT coefficients FROM poly").fetchone()
elements = [coefficients[i:i + 16] for i in range(0, len(coefficients), 16)]
assert len(set(elements)) == len(elements) == 101 * 102 // 2 and all(element[0] < 128 for element in elements)
PYTHON
# The list of the revoked holds 32; one more eviction, and there is a new polynomial, and an empty list.
"$iotsec" manager init many.db >out
"$iotsec" manager poly renew many.db --degree 1 >out
for i in {1..33}; do
    "$iotsec" manager device add many.db "lamp$i" --psk-file good.psk >out
    "$iotsec" manager device evict many.db "lamp$i" >out
done
"$iotsec" manager serve many.db --listen '[::1]:0' >many.log 2>&1 &
many=$!
pids+=("$many")
wait_for many.log '^serving'
wait_for many.log '^poly generation=1 degree=1 overlap=yes reason=CANCELLED$'
wait_for many.log '^poly generation=2 degree=1 overlap=no reason=FULL$'
exits 0 '^poly generation=2 degree=1 bytes=48 share-bytes=32 overlap=no carried=0 revoked=0$' manager poly show many.db
ends 'the manager of many that were evicted' "$many"

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
wait_for server.log '^handshake-failed '
# The session outlives a new port if both have asked for that, and is lost if not.
"$iotsec" dtls server --listen '[::1]:0' --psk-identity dev --psk-file good.psk --connection-id on --relayed >cid.log 2>&1 &
cid=$!
pids+=("$cid")
wait_for cid.log '^listening addr='
cid_addr=$(sed -n 's/^listening addr=//p' cid.log)
moving=(dtls client --connect "$cid_addr" --psk-identity dev --psk-file good.psk --wait 500 --rebind-after 2)
slowly() { for i in 1 2 3 4 5; do echo "line $i"; sleep 0.1; done; }
slowly | timeout 20 "$iotsec" "${moving[@]}" --connection-id on >out 2>err || complain "a client that moves: $(tail -n 1 err)"
if [[ $(cat out) == "$(printf 'line %s\n' 1 2 3 4 5)" ]]; then ok 'a client goes on from another port'; else
    complain "a client that moves: $(tr '\n' '|' <out)"; fi
grep -q '^connected .*cid=yes$' err || complain "no Connection ID: $(grep '^connected' err)"
grep -q '^rebound addr=' err || complain 'the client kept its port'
wait_for cid.log '^connected .*cid=yes$'
wait_for cid.log '^moved addr='
slowly | timeout 20 "$iotsec" "${moving[@]}" --connection-id off >out 2>err || true
if [[ $(cat out) == "$(printf 'line %s\n' 1 2)" ]]; then ok 'without a Connection ID it does not'; else
    complain "a client that moves without a Connection ID: $(tr '\n' '|' <out)"; fi
grep -q '^connected .*cid=no$' err || complain 'a Connection ID that nobody asked for'
ends 'the DTLS server with Connection IDs' "$cid"
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

# ---- Relays ----

mkfifo relay.in
for mode in stateless stateful; do
    "$iotsec" relay --interface lo --manager '[fd01::1]:5684' --mode "$mode" --join-port 25684 <relay.in >relay.log 2>&1 &
    relay=$!
    pids+=("$relay")
    exec 9>relay.in
    wait_for relay.log "^relaying mode=$mode interface=lo port=25684 manager=\\[fd01::1\\]:5684\$"
    exits 1 '^error: ADDRESS_IN_USE: ' relay --interface lo --manager '[fd01::1]:5684' --join-port 25684
    printf 'open 1\n' >&9
    wait_for relay.log '^relay-open seconds=1$'
    wait_for relay.log '^relay-closed$'
    printf 'open always\nopen\nopen 0\nclose now\nclose\nfly\nstats\nrotate\n' >&9
    wait_for relay.log '^relay-open seconds=always$'
    wait_for relay.log '^refused what=rotate reason='
    [[ $(grep -c '^refused what=open reason=USAGE$' relay.log) == 2 ]] || complain 'open takes what it should not'
    [[ $(grep -c '^relay-closed$' relay.log) == 2 ]] || complain 'the relay was not closed'
    grep -q '^refused what=close reason=USAGE$' relay.log || complain 'close takes an argument'
    grep -q '^refused what=fly reason=NO_SUCH_COMMAND$' relay.log || complain 'a relay flies'
    for counter in closed not_link_local not_secured form loop neighbour_rate rate full not_manager header no_entry send; do
        grep -q "^stats of=relay up=0 down=0 .*drop\\.$counter=0" relay.log || complain "a relay's stats have no $counter"
    done
    printf 'quit\n' >&9
    result=0
    wait "$relay" || result=$?
    exec 9>&-
    if [[ $result == 0 && $(grep -c '^stats of=relay' relay.log) == 2 ]]; then ok "a $mode relay's commands"; else
        complain "a $mode relay: status $result, $(tail -n 2 relay.log)"; fi
done

# A relay's key is made once.
for run in 1 2; do
    timeout 20 "$iotsec" relay --interface lo --manager '[fd01::1]:5684' --join-port 25684 --key-file relay.key --exit-on-eof \
        </dev/null >out 2>err || complain "a relay with a key file: $(cat err)"
    sha256sum relay.key >"relay.sum.$run"
done
if cmp -s relay.sum.1 relay.sum.2 && [[ $(stat -c %a relay.key) == 600 ]]; then ok "a relay's key is kept"; else
    complain "a relay's key is not kept"; fi
printf 'damaged' >relay.key
exits 0 '^relaying mode=stateless' relay --interface lo --manager '[fd01::1]:5684' --join-port 25684 --key-file relay.key --exit-on-eof
if [[ $(stat -c %s relay.key) -gt 20 ]]; then ok 'a damaged key is replaced'; else complain 'a damaged key stays'; fi

# From here on in a network of our own: two interfaces that are one link, and the manager behind the relay's.
# shellcheck disable=SC2016
if ! unshare --user --map-root-user --net true 2>/dev/null && ! unshare --net true 2>/dev/null; then
    ok 'SKIPPED: joins through a relay need a network namespace'
    exit "$status"
fi
export -f complain ok exits wait_for ends
export iotsec status
cat >joins.sh <<'JOINS'
set -euo pipefail
pids=()
trap 'kill -9 "${pids[@]}" 2>/dev/null || true' EXIT
ip link set lo up
ip -6 address add fd01::1/128 dev lo nodad
ip link add near type veth peer name far
for interface in near far; do
    echo 0 >/proc/sys/net/ipv6/conf/$interface/accept_dad
    ip link set $interface up
done
for ((i = 0; i < 50; i++)); do
    far=$(ip -6 address show dev far scope link -tentative | sed -n 's/.*inet6 \([^/]*\)\/.*/\1/p')
    near=$(ip -6 address show dev near scope link -tentative | sed -n 's/.*inet6 \([^/]*\)\/.*/\1/p')
    [[ -n $far && -n $near ]] && break
    sleep 0.1
done
own=fd01:${near#fe80:}

"$iotsec" manager init joins.db --prefix fd01::/64 >/dev/null
"$iotsec" manager group add joins.db 1 --address ff15::101 --port 5683 >/dev/null
for id in lamp1 lamp2 lamp3; do
    "$iotsec" manager device add joins.db $id --psk-file good.psk --group 1 >/dev/null
done
"$iotsec" manager access joins.db --address '[fd01::1]:5684' --pan 0xbeef >/dev/null
"$iotsec" manager serve joins.db --listen '[::]:5684' >joins-manager.log 2>&1 &
manager=$!
pids+=("$manager")
wait_for joins-manager.log '^serving'

# join NAME ID OPTION...: a device on `near` whose manager is the relay on `far`; its log is NAME.log.
join() {
    local name=$1 id=$2
    shift 2
    "$iotsec" device --manager "[$far%near]:15684" --id "$id" --psk-file good.psk --group 1 --status-interval 1 "$@" \
        <hold >"$name.log" 2>&1 &
    device=$!
    pids+=("$device")
}
mkfifo hold
exec 8<>hold
for mode in stateless stateful; do
    mkfifo "relay-$mode.in"
    "$iotsec" relay --interface far --manager '[fd01::1]:5684' --mode "$mode" --join-port 15684 \
        <"relay-$mode.in" >"relay-$mode.log" 2>&1 &
    relay=$!
    pids+=("$relay")
    exec 9>"relay-$mode.in"
    wait_for "relay-$mode.log" '^relaying'

    # closed: nothing gets through
    "$iotsec" device --manager "[$far%near]:15684" --id lamp1 --psk-file good.psk --timeout 1 >out 2>err </dev/null || true
    if grep -q '^error: NO_ANSWER: ' err; then ok "$mode: a closed relay"; else complain "$mode: a closed relay: $(cat err)"; fi
    printf 'open always\n' >&9
    wait_for "relay-$mode.log" '^relay-open'

    # neither option: it joins, is told, and stays
    join "$mode-stays" lamp1
    wait_for "$mode-stays.log" '^joined id=lamp1'
    wait_for "$mode-stays.log" "^access prefix=fd01::/64 address=$own pan=0xbeef short=0x[0-9a-f]+ index=1 manager=\\[fd01::1\\]:5684\$"
    ! grep -q '^moved' "$mode-stays.log" || complain "$mode: it moved without an address"
    ends "$mode: a device that stays" "$device"

    # --configure-address without the right to
    if [[ -n $(command -v setpriv) ]] && setpriv --bounding-set=-net_admin true 2>/dev/null; then
        setpriv --bounding-set=-net_admin "$iotsec" device --manager "[$far%near]:15684" --id lamp1 --psk-file good.psk \
            --configure-address <hold >"$mode-denied.log" 2>&1 &
        device=$!
        pids+=("$device")
        wait_for "$mode-denied.log" "^address-failed reason=NOT_PERMITTED address=$own "
        wait_for "$mode-denied.log" '^joined'
        ends "$mode: a device that may not take an address" "$device"
    fi

    # a hook that fails, and one that takes too long, leave it where it is; one that succeeds moves it
    join "$mode-hook-fails" lamp1 --access-hook 'exit 3'
    wait_for "$mode-hook-fails.log" "^address-failed reason=HOOK address=$own detail=\"exit status 3\"\$"
    ends "$mode: a device with a hook that fails" "$device"
    join "$mode-hook" lamp1 --l2-key-file keys.l2 \
        --access-hook 'env | grep ^IOTSEC_ | sort >hook.env; ip -6 address add "$IOTSEC_ADDRESS/64" dev "$IOTSEC_INTERFACE" nodad'
    wait_for "$mode-hook.log" "^moved address=$own manager=\\[fd01::1\\]:5684\$"
    wait_for joins-manager.log "^moved id=lamp1 addr=\\[$own\\]:"
    grep -qx "IOTSEC_ADDRESS=$own" hook.env || complain "$mode: the hook has no address"
    for variable in IOTSEC_PREFIX=fd01::/64 IOTSEC_INTERFACE=near IOTSEC_PAN_ID=0xbeef IOTSEC_MANAGER='\[fd01::1\]:5684' \
        IOTSEC_SHORT_ADDRESS=0x.... IOTSEC_L2_INDEX=1; do
        grep -qx "$variable" hook.env || complain "$mode: the hook has no $variable"
    done
    if grep -qxE 'index=1 key=[0-9a-f]{32} use=yes' keys.l2 && [[ $(stat -c %a keys.l2) == 600 ]]; then
        ok "$mode: the L2 key is in its file"; else complain "$mode: keys.l2: $(cat keys.l2)"; fi
    # the relay is gone, the session is not
    printf 'quit\n' >&9
    wait "$relay" || complain "$mode: the relay's exit status"
    exec 9>&-
    wait_for "relay-$mode.log" '^stats of=relay up=[1-9]'
    sleep 2.5
    ! grep -q '^contact-lost' "$mode-hook.log" || complain "$mode: it cannot do without the relay"
    ends "$mode: a device that moved by a hook" "$device"
    ip -6 address del "$own/64" dev near
done
grep -q '^device-joined .*id=lamp1 .*via=relay$' joins-manager.log || complain 'no join came through a stateless relay'

# A chain: a device that relays, at the manager's own address; one that joins through it, moves, and relays in turn.
mkfifo chain.in
"$iotsec" device --manager '[fd01::1]:5684' --id lamp2 --psk-file good.psk --group 1 --relay --relay-interface far \
    --relay-port 15684 <chain.in >chain-1.log 2>&1 &
first=$!
exec 9>chain.in
wait_for chain-1.log '^relaying mode=stateless interface=far port=15684'
printf 'relay stats\nrelay open never\nrelay close\nrelay open always\n' >&9
wait_for chain-1.log '^stats of=relay up=0 down=0 '
wait_for chain-1.log '^refused what=relay reason=USAGE$'
pids+=("$first")
wait_for chain-1.log '^relay-open seconds=always$'
wait_for chain-1.log '^access prefix=fd01::/64 pan='
! grep -q '^moved\|^address-failed' chain-1.log || complain 'a device with a routable address took another one'
join chain-2 lamp3 --configure-address --relay=stateful --relay-port 15685 --relay-open always
wait_for chain-2.log "^moved address=$own "
wait_for chain-2.log '^relaying mode=stateful interface=near port=15685 manager=\[fd01::1\]:5684$'
wait_for chain-2.log '^relay-open seconds=always$'
"$iotsec" device --manager "[$near%far]:15685" --id lamp1 --psk-file good.psk --group 1 --access-hook 'sleep 60' \
    <hold >chain-3.log 2>&1 &
third=$!
pids+=("$third")
wait_for chain-3.log '^joined id=lamp1'
"$iotsec" manager l2 renew joins.db >/dev/null
wait_for joins-manager.log '^l2-key number=2 index=2 state=handed-out reason=CANCELLED$'
wait_for joins-manager.log '^l2-key number=2 index=2 state=in-use$'
"$iotsec" manager device evict joins.db lamp3 >/dev/null
wait_for chain-2.log '^evicted'
wait_for chain-2.log '^relay-closed$'
wait_for joins-manager.log '^l2-key number=3 index=3 state=handed-out reason=EVICTED$'
for ((i = 0; i < 60; i++)); do
    grep -q '^address-failed' chain-3.log && break
    sleep 0.2
done
if grep -q '^address-failed reason=HOOK_TIMEOUT' chain-3.log; then ok 'a hook that takes too long'; else
    complain "a hook that takes too long: $(tail -n 2 chain-3.log)"; fi
ends 'the last of a chain' "$third"
ends 'the first of a chain' "$first"
exec 9>&-
grep -q '^stats of=relay up=[1-9]' chain-1.log || complain 'the first of a chain relayed nothing'
ends "the relays' manager" "$manager"
exit "$status"
JOINS
if unshare --user --map-root-user --net true 2>/dev/null; then
    unshare --user --map-root-user --net bash joins.sh || status=1
else
    unshare --net bash joins.sh || status=1
fi

exit "$status"
