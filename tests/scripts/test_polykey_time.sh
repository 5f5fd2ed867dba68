#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Which instructions of src/polykey run, in which order and how many, depends neither on a share nor on an identity. From traces
# of every instruction: on this machine under valgrind's tool lackey, where the addresses of data are compared as well, and of
# Thumb code for ARM7TDMI-S under qemu-arm, with the lengths of the factors: that processor's multiplier takes a step for each byte
# of one of the two, but not for upper bytes that are all zeros or all ones.
set -euo pipefail

source_dir=${IOTSEC_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
build_dir=${IOTSEC_BUILD_DIR:-$source_dir/build/gcc}
cc=${CC:-cc}
work=$build_dir/tests/polykey_time
rm -rf "$work"
mkdir -p "$work"
shares=7      # rows of polykey_time.c with the same identities
identities=3  # rows with others; one row with another degree follows

for tool in valgrind qemu-arm arm-none-eabi-gcc; do
    if ! command -v "$tool" >/dev/null; then
        printf 'SKIP: %s is missing; run scripts/install-deps test arm\n' "$tool"
        exit 0
    fi
done

status=0
complain() { printf '%s\n' "$*"; status=1; }

# build PREFIX CC OBJCOPY FLAG...: the program, with the code of src/polykey in a section of its own.
build() {
    local prefix=$1 compiler=$2 objcopy=$3
    shift 3
    local source objects=()
    for source in "$source_dir"/src/polykey/*.c "$source_dir"/src/hal/crypto.c "$source_dir"/src/base/bytes.c \
        "$source_dir"/tests/scripts/polykey_time.c; do
        local object=$prefix-${source##*/}.o
        "$compiler" -std=c99 "$@" -I"$source_dir/include" -I"$source_dir/src" -c "$source" -o "$object"
        if [[ $source == */polykey/* ]]; then
            "$objcopy" --rename-section .text=polykey "$object"
        fi
        objects+=("$object")
    done
    "$compiler" "$@" "${link[@]}" "${objects[@]}" -o "$prefix"
}

# section PROGRAM TOOL_PREFIX: where its section polykey begins, and how long it is.
section() { read -r size first < <("${2}objdump" -h "$1" | awk '$2 == "polykey" {print $3, $4}'); }

# cut_trace PROGRAM TOOL_PREFIX: the trace on stdin ("I ADDRESS", then "D ..." for each datum), as far as it is within the section, into
# one file of instructions and one with data for each call of iotsec_polykey_keys.
cut_trace() {
    local size first entry
    section "$1" "$2"
    entry=$("${2}nm" "$1" | awk '$3 == "iotsec_polykey_keys" {print $1}')
    awk -v prefix="$1" -v first="${first: -8}" -v end="$(printf '%08x' $((0x$first + 0x$size)))" -v entry="${entry: -8}" '
        $1 == "I" {
            inside = $2 >= first && $2 < end
            if ($2 == entry) { row++; print "begins" >(prefix "." row ".data") }
            if (inside && row) { print $2 >(prefix "." row ".code"); print $2 >(prefix "." row ".data") }
        }
        $1 == "D" && inside && row { print $2, $3 >(prefix "." row ".data") }'
}

# compare NAME PREFIX
compare() {
    local name=$1 prefix=$2 row rows=$((shares + identities)) count
    count=$(wc -l <"$prefix.1.code")
    if [[ ! -f $prefix.$((rows + 1)).code || -f $prefix.$((rows + 2)).code || $count -lt 3000 ]]; then
        complain "$name: no trace"
        return
    fi
    for ((row = 2; row <= rows; row++)); do
        cmp -s "$prefix.1.code" "$prefix.$row.code" ||
            complain "$name: row $row takes another way than row 1 ($(wc -l <"$prefix.$row.code") instructions, $count)"
        if [[ $row -le $shares ]]; then
            cmp -s "$prefix.1.data" "$prefix.$row.data" || complain "$name: row $row uses other addresses, or factors of other lengths, than row 1"
        fi
    done
    if cmp -s "$prefix.1.code" "$prefix.$((rows + 1)).code"; then
        complain "$name: another degree looks the same"
    fi
    printf '%s: %s instructions in each of %s rows\n' "$name" "$count" "$rows"
}

for level in -Os -O2 -O3; do
    prefix=$work/host$level
    link=(-static)
    build "$prefix" "$cc" objcopy "$level" -fno-pie
    # "I  00401234,5" and " L 1ffeffe7e8,8", " S ...", " M ..."
    valgrind --tool=lackey --trace-mem=yes --log-file="$prefix.log" "$prefix" </dev/null || complain 'the program fails'
    sed -nE 's/^I +0*([0-9a-f]{8}),.*/I \1/p; s/^ ([LSM]) +([0-9a-f]+),.*/D \1 \2/p' "$prefix.log" |
        cut_trace "$prefix" ''
    rm "$prefix.log"
    compare "$cc $level" "$prefix"
done

prefix=$work/thumb
link=(--specs=rdimon.specs)
build "$prefix" arm-none-eabi-gcc arm-none-eabi-objcopy -mcpu=arm7tdmi-s -mthumb -Os
one=(-singlestep)
if qemu-arm --help | grep -q -- -one-insn-per-tb; then
    one=(-one-insn-per-tb)
fi
section "$prefix" arm-none-eabi-
# "Trace 0: 0x7f1234567890 [00000000/00008034/00000110/ff000000]", then the registers before it, "R00=00000001 R01=..."
qemu-arm -cpu ti925t "${one[@]}" -d exec,cpu,nochain -dfilter "0x$first+0x$size" -D "$prefix.log" "$prefix" </dev/null ||
    complain 'the program fails on ARM'
arm-none-eabi-objdump -d -j polykey "$prefix" | sed -nE 's/^ *([0-9a-f]+):.*\bmuls?\s+r([0-9]), r([0-9]).*/\1 \2 \3/p' >"$prefix.muls"
[[ -s $prefix.muls ]] || complain 'no multiplications in the Thumb code'
awk '
    function steps(v) {
        return v ~ /^(000000|ffffff)/ ? 1 : v ~ /^(0000|ffff)/ ? 2 : v ~ /^(00|ff)/ ? 3 : 4
    }
    FILENAME != "-" { at = sprintf("%8s", $1); gsub(/ /, "0", at); left[at] = $2; right[at] = $3; next }
    /^Trace/ { split($4, field, "/"); address = field[2]; print "I", address }
    address in left && /^R0[04]=/ {
        for (i = 1; i <= 4; i++) { split($i, field, "="); value[substr(field[1], 3) + 0] = field[2] }
        if (/^R04=/) { print "D", steps(value[left[address]]), steps(value[right[address]]) }
    }' "$prefix.muls" - <"$prefix.log" | cut_trace "$prefix" arm-none-eabi-
rm "$prefix.log"
compare 'Thumb -Os' "$prefix"
exit "$status"
