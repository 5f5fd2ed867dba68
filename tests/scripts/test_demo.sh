#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The demo shows what it says, with the program of this build ($IOTSEC_BIN).
set -euo pipefail

cd "${IOTSEC_SOURCE_DIR:-$(dirname "$0")/../..}"
exec scripts/demo --no-install </dev/null
