#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Roles and features compile out, wrong combinations are refused by a sentence that names them, and
# both ways to bring a configuration of one's own work.
set -euo pipefail

source_dir=${IOTSEC_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
cc=${CC:-cc}
work=${IOTSEC_BUILD_DIR:-$source_dir/build/gcc}/tests/config
rm -rf "$work"
mkdir -p "$work"
flags=(-std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I"$source_dir/include" -I"$source_dir/src")
status=0
complain() { printf 'FAILED: %s\n' "$*"; status=1; }

# compiles NAME FLAG...: every source but the providers, and a file that includes every public header.
compiles() {
    local name=$1 source failures=0
    shift
    for source in "$source_dir"/src/*/*.c "$work/headers.c"; do
        case $source in
        */crypto_mbedtls.c | */crypto_psa.c) continue ;;
        esac
        "$cc" "${flags[@]}" "$@" -fsyntax-only "$source" || failures=$((failures + 1))
    done
    if [[ $failures == 0 ]]; then
        printf 'ok: %s\n' "$name"
    else
        complain "$name: $failures files"
    fi
}
# value NAME FLAG...: what the preprocessor makes of IOTSEC_NAME.
value() {
    local name=$1
    shift
    printf '#include <iotsec/config.h>\nresult IOTSEC_%s\n' "$name" |
        "$cc" -std=c99 -I"$source_dir/include" "$@" -E -P - | sed -n 's/^result //p'
}
# refused SENTENCE FLAG...
refused() {
    local sentence=$1 output
    shift
    if output=$(printf '#include <iotsec/config.h>\n' | "$cc" -std=c99 -I"$source_dir/include" "$@" -E -P - 2>&1 >/dev/null); then
        complain "accepted: $*"
    elif ! grep -qF -- "$sentence" <<<"$output"; then
        complain "refused, but without the words '$sentence': $*"
    else
        printf 'ok: refused %s\n' "$*"
    fi
}
expect() {
    if [[ $2 == "$3" ]]; then
        printf 'ok: %s\n' "$1"
    else
        complain "$1: expected '$3', got '$2'"
    fi
}

{
    printf '/* generated */\n'
    for header in "$source_dir"/include/iotsec/*.h; do
        printf '#include <iotsec/%s>\n' "$(basename "$header")"
    done
    printf 'int headers_compile;\n'
} >"$work/headers.c"
# Each header stands alone, and in C++ too.
for header in "$source_dir"/include/iotsec/*.h; do
    printf '#include <iotsec/%s>\nint header_compiles;\n' "$(basename "$header")" >"$work/one.c"
    "$cc" "${flags[@]}" -fsyntax-only "$work/one.c" || complain "$(basename "$header") does not compile alone"
done

device=(-DIOTSEC_ROLE_MANAGER=0 -DIOTSEC_DTLS_SERVER=0)
no_pairs=(-DIOTSEC_PAIRWISE=0)
small=(-DIOTSEC_SUITE_CCM=0 -DIOTSEC_MAX_FRAGMENT_LENGTH=0 -DIOTSEC_KEYLOG=0 -DIOTSEC_PERSIST=0)
no_relay=(-DIOTSEC_ROLE_RELAY=0)
no_cid=(-DIOTSEC_CONNECTION_ID=0)
no_access=(-DIOTSEC_ACCESS=0)
not_relayed=(-DIOTSEC_RELAYED=0)
one_link=("${no_relay[@]}" "${no_cid[@]}" "${no_access[@]}" "${not_relayed[@]}")
pairs=(-DIOTSEC_ROLE_MANAGER=0 -DIOTSEC_PAIRWISE=1)
compiles 'everything'
compiles 'device only' "${device[@]}"
compiles 'smallest device' "${device[@]}" "${small[@]}"
compiles 'device that is a server to its peers' -DIOTSEC_ROLE_MANAGER=0
compiles 'manager only' -DIOTSEC_ROLE_DEVICE=0 -DIOTSEC_DTLS_CLIENT=0
compiles 'smallest manager' -DIOTSEC_ROLE_DEVICE=0 -DIOTSEC_DTLS_CLIENT=0 "${small[@]}"
compiles 'records and client alone' -DIOTSEC_ROLE_DEVICE=0 "${device[@]}"
compiles 'smallest device on the manager'\''s link' "${device[@]}" "${small[@]}" "${one_link[@]}"
compiles 'smallest manager of one link' -DIOTSEC_ROLE_DEVICE=0 -DIOTSEC_DTLS_CLIENT=0 "${small[@]}" "${one_link[@]}"
compiles 'everything on one link' "${one_link[@]}"
compiles 'relay alone, with the client' -DIOTSEC_ROLE_DEVICE=0 "${device[@]}" "${small[@]}" "${no_cid[@]}" "${no_access[@]}"
compiles 'relay alone, with the server' -DIOTSEC_ROLE_DEVICE=0 -DIOTSEC_ROLE_MANAGER=0 -DIOTSEC_DTLS_CLIENT=0 "${no_access[@]}"
compiles 'device that relays' "${device[@]}" "${small[@]}"
compiles 'device that does not relay' "${device[@]}" "${no_relay[@]}"
compiles 'no Connection IDs' "${no_cid[@]}"
compiles 'no Connection IDs, device' "${device[@]}" "${no_cid[@]}"
compiles 'no Connection IDs, manager' -DIOTSEC_ROLE_DEVICE=0 -DIOTSEC_DTLS_CLIENT=0 "${no_cid[@]}"
compiles 'no access parameters' "${no_access[@]}"
compiles 'no access parameters, device' "${device[@]}" "${no_access[@]}"
compiles 'no access parameters, manager' -DIOTSEC_ROLE_DEVICE=0 -DIOTSEC_DTLS_CLIENT=0 "${no_access[@]}"
compiles 'neither access parameters nor Connection IDs' "${no_cid[@]}" "${no_access[@]}"
compiles 'a manager that nobody relays to' "${not_relayed[@]}"
compiles 'a manager that nobody relays to, without access parameters' "${not_relayed[@]}" "${no_access[@]}"
compiles 'relayed, without Connection IDs' -DIOTSEC_RELAYED=1 "${no_cid[@]}"
compiles 'a server that is no manager, behind relays' -DIOTSEC_ROLE_MANAGER=0 -DIOTSEC_RELAYED=1
compiles 'long Connection IDs' -DIOTSEC_CID_MAX=254
compiles 'short Connection IDs' -DIOTSEC_CID_MAX=2
compiles 'no pairwise keys' "${no_pairs[@]}"
compiles 'no pairwise keys, manager' -DIOTSEC_ROLE_DEVICE=0 -DIOTSEC_DTLS_CLIENT=0 "${no_pairs[@]}"
compiles 'no pairwise keys, device that is a server' -DIOTSEC_ROLE_MANAGER=0 "${no_pairs[@]}"
compiles 'no pairwise keys on one link' "${one_link[@]}" "${no_pairs[@]}"
compiles 'pairwise keys, device on one link' "${pairs[@]}" "${one_link[@]}" "${small[@]}"
compiles 'pairwise keys, device that relays' "${pairs[@]}" "${small[@]}"
compiles 'pairwise keys, without access parameters' "${pairs[@]}" "${no_access[@]}"
compiles 'pairwise keys, small tables' "${pairs[@]}" -DIOTSEC_IDENTITY_MAX=16 -DIOTSEC_PSK_MAX=32 -DIOTSEC_FLIGHT_BYTES=160 \
    -DIOTSEC_SHARE_CHUNK_MAX=1 -DIOTSEC_HANDSHAKE_SCRATCH_BYTES=24 -DIOTSEC_GROUPS_PER_HELLO=1
compiles 'large chunks' -DIOTSEC_SHARE_CHUNK_MAX=15
compiles 'small chunks' -DIOTSEC_SHARE_CHUNK_MAX=1
compiles 'small tables' "${no_pairs[@]}" -DIOTSEC_IDENTITY_MAX=16 -DIOTSEC_PSK_MAX=16 -DIOTSEC_FLIGHT_BYTES=160 \
    -DIOTSEC_REASSEMBLY_BYTES=160 -DIOTSEC_REASSEMBLY_MESSAGES=2 -DIOTSEC_HELD_RECORD_BYTES=64 \
    -DIOTSEC_GROUPS_PER_HELLO=1 -DIOTSEC_HANDSHAKE_SCRATCH_BYTES=4
compiles 'small tables, no Connection IDs' -DIOTSEC_HELD_RECORD_BYTES=61 "${no_cid[@]}"
compiles 'no more room for pieces than it takes' -DIOTSEC_REASSEMBLY_BYTES=255
compiles 'large tables' -DIOTSEC_IDENTITY_MAX=255 -DIOTSEC_PSK_MAX=255 -DIOTSEC_FLIGHT_BYTES=4096 \
    -DIOTSEC_REASSEMBLY_BYTES=4096 -DIOTSEC_REASSEMBLY_MESSAGES=8 -DIOTSEC_HELD_RECORD_BYTES=1024 \
    -DIOTSEC_GROUPS_PER_HELLO=32 -DIOTSEC_HANDSHAKE_SCRATCH_BYTES=66

refused 'IOTSEC_ROLE_DEVICE needs IOTSEC_DTLS_CLIENT' -DIOTSEC_DTLS_CLIENT=0
refused 'IOTSEC_ROLE_MANAGER needs IOTSEC_DTLS_SERVER' -DIOTSEC_DTLS_SERVER=0
refused 'IOTSEC_RELAYED needs IOTSEC_DTLS_SERVER' "${device[@]}" -DIOTSEC_RELAYED=1
refused 'IOTSEC_PAIRWISE needs IOTSEC_DTLS_SERVER' "${device[@]}" -DIOTSEC_PAIRWISE=1
refused 'IOTSEC_PSK_MAX must be 32 or more' -DIOTSEC_PSK_MAX=31
refused 'IOTSEC_HANDSHAKE_SCRATCH_BYTES must be 24 or more' -DIOTSEC_HANDSHAKE_SCRATCH_BYTES=23
refused 'at least one of IOTSEC_DTLS_CLIENT and IOTSEC_DTLS_SERVER' \
    -DIOTSEC_ROLE_DEVICE=0 -DIOTSEC_ROLE_MANAGER=0 -DIOTSEC_DTLS_CLIENT=0 -DIOTSEC_DTLS_SERVER=0
for limits in IDENTITY_MAX:0:256 PSK_MAX:15:256 FLIGHT_BYTES:159:4097 REASSEMBLY_BYTES:159:4097 \
    REASSEMBLY_MESSAGES:1:9 HELD_RECORD_BYTES:63:1025 GROUPS_PER_HELLO:0:33 SHARE_CHUNK_MAX:0:16 CID_MAX:1:255 AES_CONTEXT_BYTES:8:20 \
    SHA256_CONTEXT_BYTES:96:108; do
    IFS=: read -r name low high <<<"$limits"
    refused "IOTSEC_$name must" "-DIOTSEC_$name=$low"
    refused "IOTSEC_$name must" "-DIOTSEC_$name=$high"
done
refused 'IOTSEC_HANDSHAKE_SCRATCH_BYTES must hold' -DIOTSEC_HANDSHAKE_SCRATCH_BYTES=17
refused 'must hold a Finished in pieces' "${device[@]}" "${no_pairs[@]}" "${not_relayed[@]}" -DIOTSEC_REASSEMBLY_BYTES=160 -DIOTSEC_HELD_RECORD_BYTES=135
refused 'must hold a ClientKeyExchange in pieces' -DIOTSEC_REASSEMBLY_BYTES=254

# The build's own file, the one that replaces it, and the one that is read after it.
mkdir -p "$work/built/iotsec"
printf '#define IOTSEC_PSK_MAX 32\n#define IOTSEC_IDENTITY_MAX 64\n' >"$work/built/iotsec/build_config.h"
printf '#define IOTSEC_PSK_MAX 48\n' >"$work/replace.h"
printf '#undef IOTSEC_IDENTITY_MAX\n#define IOTSEC_IDENTITY_MAX 20\n' >"$work/append.h"
built=(-I"$work/built")
replace=("-DIOTSEC_CONFIG_FILE=\"$work/replace.h\"")
append=("-DIOTSEC_USER_CONFIG_FILE=\"$work/append.h\"")
expect 'default' "$(value PSK_MAX)" 64
expect 'relayed where there is a manager' "$(value RELAYED)" 1
expect 'and nowhere else' "$(value RELAYED -DIOTSEC_ROLE_MANAGER=0)" 0
expect 'pairwise keys where there is a server' "$(value PAIRWISE)" 1
expect 'and not without one' "$(value PAIRWISE "${device[@]}")" 0
expect 'build_config.h is read' "$(value PSK_MAX "${built[@]}")" 32
expect 'IOTSEC_CONFIG_FILE replaces it' "$(value PSK_MAX "${built[@]}" "${replace[@]}")" 48
expect 'all of it' "$(value IDENTITY_MAX "${built[@]}" "${replace[@]}")" 128
expect 'IOTSEC_USER_CONFIG_FILE is read after it' "$(value IDENTITY_MAX "${built[@]}" "${append[@]}")" 20
expect 'and leaves the rest' "$(value PSK_MAX "${built[@]}" "${append[@]}")" 32

# CMake's options reach the header that is installed, the user's file included.
printf '#define IOTSEC_FLIGHT_BYTES 400\n' >"$work/site.h"
if cmake -S "$source_dir" -B "$work/cmake" -DCMAKE_C_COMPILER="$cc" -DIOTSEC_WITH_MBEDTLS=OFF -DIOTSEC_WITH_PSA=OFF \
    -DIOTSEC_BUILD_TOOLS=OFF -DIOTSEC_BUILD_TESTS=OFF -DIOTSEC_ROLE_MANAGER=OFF -DIOTSEC_DTLS_SERVER=OFF \
    -DIOTSEC_ROLE_RELAY=OFF -DIOTSEC_CONNECTION_ID=OFF -DIOTSEC_ACCESS=OFF -DIOTSEC_PAIRWISE=OFF -DIOTSEC_KEYLOG=OFF \
    -DIOTSEC_WERROR=ON -DIOTSEC_USER_CONFIG_FILE="$work/site.h" >"$work/cmake.log" 2>&1 &&
    cmake --build "$work/cmake" >>"$work/cmake.log" 2>&1; then
    printf 'ok: CMake without providers, tools and tests\n'
else
    tail -n 40 "$work/cmake.log"
    complain 'CMake without providers, tools and tests'
fi
generated=(-I"$work/cmake/include")
expect 'option OFF' "$(value KEYLOG "${generated[@]}")" 0
for option in ROLE_RELAY CONNECTION_ID ACCESS PAIRWISE; do
    expect "option $option OFF" "$(value "$option" "${generated[@]}")" 0
done
expect 'option ON' "$(value PERSIST "${generated[@]}")" 1
expect 'user file through CMake' "$(value FLIGHT_BYTES "${generated[@]}")" 400

# A role that is switched off takes the program along, not the build down.
if cmake -S "$source_dir" -B "$work/role" -DCMAKE_C_COMPILER="$cc" -DIOTSEC_BUILD_TESTS=OFF -DIOTSEC_ROLE_MANAGER=OFF \
    -DIOTSEC_WERROR=ON >"$work/role.log" 2>&1 && cmake --build "$work/role" >>"$work/role.log" 2>&1 &&
    grep -q 'the program .* left out' "$work/role.log"; then
    printf 'ok: CMake with a role switched off\n'
else
    tail -n 40 "$work/role.log"
    complain 'CMake with a role switched off'
fi
exit "$status"
