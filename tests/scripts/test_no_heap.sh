#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# From the object files: the library calls no allocator, no stdio and no operating system, has no
# writable data, and every name that it exports starts with iotsec_.
set -euo pipefail

source_dir=${IOTSEC_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
build_dir=${IOTSEC_BUILD_DIR:-$source_dir/build/gcc}
cc=${CC:-cc}
work=$build_dir/tests/no_heap
rm -rf "$work"
mkdir -p "$work/include/iotsec"
# mbedTLS' headers are where the surrounding build found them.
mbedtls=()
mbedtls_include=$(sed -n 's/^IotsecMbedTLS_INCLUDE_DIR:PATH=//p' "$build_dir/CMakeCache.txt")
if [[ -n $mbedtls_include && $mbedtls_include != /usr/include ]]; then
    mbedtls=(-isystem "$mbedtls_include")
fi
cp "$build_dir/include/iotsec/"*.h "$work/include/iotsec/"

status=0
complain() { printf '%s: %s\n' "$1" "$2"; status=1; }

# What C itself, its compiler and mbedTLS' block cipher and hash may be called for. The PSA provider is
# the documented exception from "no heap": PSA keeps its state in places of its own.
# (clang makes bcmp of a memcmp whose order does not matter.)
allowed='^(mem(cpy|set|move|cmp)|bcmp|strlen|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|iotsec_[a-z0-9_]+|mbedtls_(aes|sha256|platform_zeroize)[a-z0-9_]*)$'
allowed_psa='^(psa_[a-z0-9_]+)$'

count=0
for source in "$source_dir"/src/*/*.c; do
    name=${source#"$source_dir"/src/}
    object=$work/${name//\//_}.o
    case $name in
    hal/crypto_mbedtls.c) grep -q 'define IOTSEC_WITH_MBEDTLS 1' "$work/include/iotsec/build_config.h" || continue ;;
    hal/crypto_psa.c) grep -q 'define IOTSEC_WITH_PSA 1' "$work/include/iotsec/build_config.h" || continue ;;
    esac
    # -fno-pic: constant tables of pointers are then plain constants, as in firmware.
    "$cc" -std=c99 -O2 -fno-pic -fno-pie "${mbedtls[@]}" -I"$work/include" -I"$source_dir/include" \
        -I"$source_dir/src" -c "$source" -o "$object"
    count=$((count + 1))

    while read -r symbol; do
        if [[ $symbol =~ $allowed || ( $name == hal/crypto_psa.c && $symbol =~ $allowed_psa ) ]]; then
            continue
        fi
        complain "$name" "calls $symbol"
    done < <(nm --undefined-only "$object" | awk '{print $NF}')

    while read -r symbol; do
        [[ $symbol == iotsec_* ]] || complain "$name" "exports $symbol"
    done < <(nm --defined-only --extern-only "$object" | awk '{print $NF}')

    # Types b, d, s, g and C live in writable memory, in either case.
    while read -r symbol; do
        complain "$name" "has the writable object $symbol"
    done < <(nm --defined-only "$object" | awk '$2 ~ /^[bBdDsSgGC]$/ {print $NF}')
    writable=$(size -A "$object" | awk '$1 ~ /^\.(data|bss|tdata|tbss)/ && $1 !~ /^\.data\.rel\.ro/ {sum += $2} END {print sum + 0}')
    [[ $writable == 0 ]] || complain "$name" "has $writable writable bytes"
done
[[ $count -gt 0 ]] || complain src 'no sources'

# The archive that was built must hold the same names: a macro may change them.
if [[ -f $build_dir/libiotsec.a ]]; then
    while read -r symbol; do
        # Coverage and sanitizers export helpers of their own, with a reserved name.
        [[ $symbol == iotsec_* || $symbol == __* ]] || complain libiotsec.a "exports $symbol"
    done < <(nm --defined-only --extern-only "$build_dir/libiotsec.a" 2>/dev/null | awk 'NF == 3 {print $3}')
fi
printf '%s object files checked\n' "$count"
exit "$status"
