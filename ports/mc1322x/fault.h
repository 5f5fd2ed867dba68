/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of the road, with a name. */
#ifndef MC1322X_FAULT_H
#define MC1322X_FAULT_H

#include <stdint.h>

/*
 * Stops everything that could send (interrupts, radio), prints "fault NAME" and resets after ten seconds. From any context.
 * Names are one word of lower-case letters, digits and hyphens: "flash", "provision-absent", "aes-self-test".
 */
void fault(const char *name) __attribute__((noreturn));

/* The same with a number behind the name: "fault NAME 0000beef". */
void fault_at(const char *name, uint32_t value) __attribute__((noreturn));

/* Bytes of the main stack that nothing has used since the start. Faults with "stack" if its end was overwritten. */
uint32_t stack_unused(void);

#endif
