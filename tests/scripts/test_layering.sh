#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The rooms of src/ include each other downwards only, nothing there includes a port or a header of an
# operating system, and every source file names its licence.
set -euo pipefail

cd "${IOTSEC_SOURCE_DIR:-$(dirname "$0")/../..}"
status=0
complain() { printf '%s\n' "$*"; status=1; }

# Rooms that a room's files may include, besides its own. Not upwards, no circles.
allowed_rooms() {
    case $1 in
    base) ;;
    hal) printf 'base' ;;
    record) printf 'base hal' ;;
    amikey | polykey) printf 'base hal' ;;
    handshake) printf 'base hal record' ;;
    access) printf 'base hal record handshake amikey polykey' ;;
    *) return 1 ;;
    esac
}
# Public headers follow the same arrows. The remaining ones belong to no room.
room_of_header() {
    case $1 in
    record.h) printf 'record' ;;
    dtls.h) printf 'handshake' ;;
    csb.h) printf 'amikey' ;;
    polykey.h) printf 'polykey' ;;
    device.h | manager.h | relay.h | iotsec.h) printf 'access' ;;
    esac
}
# The freestanding part of C99, and string.h for mem*.
standard='^(stdbool|stddef|stdint|limits|string)\.h$'

count=0
for file in src/*/*.[ch]; do
    room=${file#src/}
    room=${room%%/*}
    if ! rooms=$(allowed_rooms "$room"); then
        complain "$file: src/$room is no room of the house"
        continue
    fi
    count=$((count + 1))
    while read -r include; do
        target=''
        case $include in
        \<iotsec/*\> | \"iotsec/*\")
            header=${include:8:-1}
            [[ -f include/iotsec/$header ]] || complain "$file: includes $include, which does not exist"
            target=$(room_of_header "$header")
            ;;
        \<*\>)
            header=${include:1:-1}
            case $file:$header in
            src/hal/crypto_mbedtls.*:mbedtls/* | src/hal/crypto_psa.*:psa/* | src/hal/crypto_psa.*:mbedtls/*) ;;
            *) [[ $header =~ $standard ]] || complain "$file: includes $include, which is not of freestanding C99" ;;
            esac
            ;;
        *)
            header=${include:1:-1}
            if [[ -f src/$room/$header ]]; then
                target=$room
            elif [[ -f src/$header ]]; then
                target=${header%%/*}
            elif [[ -f $(dirname "$file")/$header ]]; then
                path=$(realpath --relative-to=src "$(dirname "$file")/$header")
                target=${path%%/*}
            else
                complain "$file: includes $include, which is not below src/"
            fi
            ;;
        esac
        if [[ -n $target && $target != "$room" && " $rooms " != *" $target "* ]]; then
            complain "$file: src/$room includes $include of src/$target"
        fi
    done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]*[>"]).*/\1/p' "$file")
done
[[ $count -gt 0 ]] || complain 'src: no sources'

# A public header includes its neighbours by their bare name, downwards too.
for file in include/iotsec/*.h; do
    own=$(room_of_header "$(basename "$file")")
    [[ -n $own ]] || own=base
    rooms=$(allowed_rooms "$own")
    while read -r header; do
        target=$(room_of_header "$header")
        if [[ -n $target && $target != "$own" && " $rooms " != *" $target "* ]]; then
            complain "$file: includes $header of src/$target"
        fi
    done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]*)".*/\1/p' "$file")
done

# Sources by their name, and scripts by their first line. Data (corpora, vectors, JSON) has no comments.
while read -r file; do
    [[ -f $file ]] || continue
    case $file in
    tests/fuzz/corpus/* | LICENSE | *.json | .gitignore) continue ;;
    *.c | *.h | *.S | *.ld | *.py | *.sh | *.cmake | *.in | */CMakeLists.txt | CMakeLists.txt | Doxyfile) ;;
    *) [[ $(head -c 2 "$file" | tr -d '\0') == '#!' ]] || continue ;;
    esac
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' || complain "$file: no SPDX line"
done < <(git ls-files --cached --others --exclude-standard 2>/dev/null ||
    find . -path ./build -prune -o -type f -printf '%P\n')

printf '%s files of src checked\n' "$count"
exit "$status"
