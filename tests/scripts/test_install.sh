#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Installs the library, moves the result, and builds examples/vendor-firmware against it: by
# find_package, by pkg-config, as a subproject, and for the ARM chip.
set -euo pipefail

source_dir=${IOTSEC_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
build_dir=${IOTSEC_BUILD_DIR:-$source_dir/build/gcc}
cc=${CC:-cc}
example=$source_dir/examples/vendor-firmware
work=$build_dir/tests/install
rm -rf "$work"
mkdir -p "$work"

step() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        printf 'ok: %s\n' "$name"
    else
        cat "$work/log"
        printf 'FAILED: %s\n' "$name"
        exit 1
    fi
}

# The build around this test has built the library already.
step 'install' cmake --install "$build_dir" --prefix "$work/first"
mv "$work/first" "$work/moved"
prefix=$work/moved
[[ -f $prefix/include/iotsec/build_config.h && -f $prefix/include/iotsec/iotsec.h ]] || { echo 'FAILED: headers'; exit 1; }
if grep -rnF -e "$source_dir/src" -e "$source_dir/include" -e "$work/first" "$prefix" --include='*.cmake' --include='*.pc' --include='*.h'; then
    echo 'FAILED: the installed files name the source tree or the place they were moved from'
    exit 1
fi
mbedtls_root=$(sed -n 's/^IOTSEC_MBEDTLS_ROOT:PATH=//p' "$build_dir/CMakeCache.txt")

step 'find_package: configure' cmake -S "$example" -B "$work/package" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF
step 'find_package: build' cmake --build "$work/package"
step 'find_package: run' "$work/package/firmware"

pc_dir=$(dirname "$(find "$prefix" -name iotsec.pc)")
step 'pkg-config knows it' env PKG_CONFIG_PATH="$pc_dir" pkg-config --print-errors --exists 'iotsec >= 0.1.0'
read -r -a cflags < <(PKG_CONFIG_PATH=$pc_dir pkg-config --cflags iotsec)
read -r -a libs < <(PKG_CONFIG_PATH=$pc_dir pkg-config --libs iotsec)
if [[ -n $mbedtls_root ]]; then
    cflags+=("-I$mbedtls_root/include")
fi
step 'pkg-config: build' "$cc" -std=c99 -Wall -Wextra -Werror "${cflags[@]}" "$example/firmware.c" "$example/board_host.c" \
    -o "$work/by-pkg-config" "${libs[@]}"
step 'pkg-config: run' "$work/by-pkg-config"

mkdir "$work/parent"
cat >"$work/parent/CMakeLists.txt" <<PARENT
cmake_minimum_required(VERSION 3.16)
project(parent LANGUAGES C)
add_subdirectory("$source_dir" iotsec)
add_executable(firmware "$example/firmware.c" "$example/board_host.c")
target_link_libraries(firmware PRIVATE iotsec::iotsec)
PARENT
step 'subproject: configure' cmake -S "$work/parent" -B "$work/sub" -DCMAKE_C_COMPILER="$cc" "-DIOTSEC_MBEDTLS_ROOT=$mbedtls_root"
step 'subproject: build' cmake --build "$work/sub" --target firmware
step 'subproject: run' "$work/sub/firmware"
if [[ -e $work/sub/iotsec/tests ]]; then
    echo 'FAILED: a subproject configures our tests'
    exit 1
fi

if ! command -v arm-none-eabi-gcc >/dev/null; then
    echo 'FAILED: arm-none-eabi-gcc is missing; scripts/install-deps arm brings it'
    exit 1
fi
toolchain=$source_dir/cmake/arm7tdmi.cmake
step 'ARM: configure the library' cmake -S "$source_dir" -B "$work/arm-library" -DCMAKE_TOOLCHAIN_FILE="$toolchain" \
    -DCMAKE_BUILD_TYPE=MinSizeRel -DCMAKE_INSTALL_PREFIX="$work/arm" -DIOTSEC_ROLE_MANAGER=OFF -DIOTSEC_DTLS_SERVER=OFF \
    -DIOTSEC_WERROR=ON -DIOTSEC_USER_CONFIG_FILE="$example/iotsec_config.h"
step 'ARM: build the library' cmake --build "$work/arm-library"
step 'ARM: install the library' cmake --install "$work/arm-library"
step 'ARM: configure the firmware' cmake -S "$example" -B "$work/arm-firmware" -DCMAKE_TOOLCHAIN_FILE="$toolchain" \
    -DCMAKE_BUILD_TYPE=MinSizeRel "-Diotsec_DIR=$work/arm/lib/cmake/iotsec"
step 'ARM: build the firmware' cmake --build "$work/arm-firmware"

# Linked together, nothing but the vendor's drivers, the C library's mem* and the compiler's helpers is missing.
step 'ARM: link' arm-none-eabi-gcc -mcpu=arm7tdmi-s -mthumb -nostdlib -Wl,--gc-sections -Wl,-e,main \
    -Wl,--unresolved-symbols=ignore-all -Wl,-u,main -Wl,-Map="$work/firmware.map" -Wl,--emit-relocs \
    "$work/arm-firmware/libfirmware.a" "$work/arm/lib/libiotsec.a" -o "$work/firmware.elf"
missing=$(arm-none-eabi-nm --undefined-only "$work/firmware.elf" | awk '{print $NF}')
other=$(grep -vE '^(hw_[a-z0-9_]+|mem(cpy|set|move|cmp)|strlen|__aeabi_[a-z0-9]+|__gnu_thumb1_case_[a-z]+)$' <<<"$missing" || [[ $? == 1 ]])
if [[ -n $other || $missing != *hw_aes_encrypt* ]]; then
    printf 'FAILED: the ARM firmware needs: %s\n' "${other:-nothing, not even its AES}"
    exit 1
fi
printf 'ok: the ARM firmware needs only its drivers\n'
arm-none-eabi-size "$work/firmware.elf"
