/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager's registry (iotsec/manager.h) in the store: up to 32 devices, 4 groups, 48 memberships.
 *
 * What transactions change is one structure, kept in memory and in pages of the store. A commit writes each page that
 * differs into the one of its two slots that is not in use, and then a root that names the slots in use from now on: a power
 * cut before the root leaves everything old, behind it everything is new. A device's name and key have a slot of their own.
 */
#ifndef MC1322X_REGISTRY_H
#define MC1322X_REGISTRY_H

#include <stdint.h>

#include <iotsec/manager.h>

#define REGISTRY_DEVICES 32u /* numbered from 1 */
#define REGISTRY_GROUPS 4u
#define REGISTRY_MEMBERS 48u
#define REGISTRY_DEVICE_GROUPS 4u
#define REGISTRY_IDENTITY_MAX 32u
#define REGISTRY_PSK_MAX 32u

/* As it stands in the store. Secret. */
struct registry_device {
    uint8_t identity_len; /* 0: nobody */
    uint8_t psk_len;
    uint8_t group_count;
    uint8_t reserved;
    uint16_t groups[REGISTRY_DEVICE_GROUPS]; /* that it may be in */
    uint8_t identity[REGISTRY_IDENTITY_MAX];
    uint8_t psk[REGISTRY_PSK_MAX];
};

/* The functions for iotsec_manager_config. */
extern const struct iotsec_registry registry_functions;

/* Reads the registry. What cannot be read is a fault. Behind node_start(). */
void registry_start(void);

/* Reads a device; returns 0 if there is none of that number. The caller wipes it. */
int registry_device(uint32_t number, struct registry_device *device);
/* The number of the device with an identity; 0: there is none. */
uint32_t registry_find(const uint8_t *identity, size_t len);
/* Adds a device: its number, or 0: no place is free, or the store did not take it. */
uint32_t registry_add(const struct registry_device *device);
int registry_is_evicted(uint32_t number);
/* Lets an evicted device in again. IOTSEC_OK or IOTSEC_ERR_REGISTRY. */
enum iotsec_status registry_readmit(uint32_t number);

/* The L2 keys, as they stand; number 0: none yet. */
const struct iotsec_registry_access *registry_access(void);

#endif
