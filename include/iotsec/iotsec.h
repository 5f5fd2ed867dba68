/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Everything that this build has.
 */
#ifndef IOTSEC_IOTSEC_H
#define IOTSEC_IOTSEC_H

#include "config.h"
#include "csb.h"
#include "dtls.h"
#include "hal.h"
#include "polykey.h"
#include "protocol.h"
#include "record.h"
#include "stats.h"
#include "status.h"
#if IOTSEC_ROLE_DEVICE
#include "device.h"
#endif
#if IOTSEC_ROLE_MANAGER
#include "manager.h"
#endif
#if IOTSEC_ROLE_RELAY
#include "relay.h"
#endif

#endif
