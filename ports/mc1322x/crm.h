/* SPDX-License-Identifier: BSD-3-Clause */
/* Power, clocks, time, waiting and the watchdog. */
#ifndef MC1322X_CRM_H
#define MC1322X_CRM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Regulators (flash, AES module and radio need them), then the 32 kHz crystal as the RTC's clock. Call once, first
 * thing. Every wait in it is bounded; what does not come up is a named fault.
 */
void crm_start(void);

/*
 * Milliseconds since crm_start, modulo 2^32. Never steps back, counts through idle() and sleep. The RTC below it wraps
 * after 36 h: something has to call this at least once a day, and idle() does. Any context.
 */
uint32_t clock_ms(void);

/* The same in microseconds, in steps of 30.5 us (one RTC clock). Wraps after 71 minutes. */
uint32_t clock_us(void);

/* Busy for at least `us` microseconds; interrupts are served meanwhile, and lengthen it. */
void clock_wait_us(uint32_t us);

/*
 * Waits until an interrupt has been handled since the last idle() returned, at most `ms` milliseconds. An interrupt
 * between the caller's last look at its queues and this call is not missed: idle() then returns at once. Everything keeps
 * running, the radio too.
 */
void idle(uint32_t ms);

/*
 * Powers the chip down for `ms` milliseconds, at most a day: RAM and RTC are kept, the console and the radio stop.
 * The caller has switched the radio off; UART and interrupts come back as they were.
 */
void crm_sleep(uint32_t ms);

/* Once started, the chip resets unless watchdog_service() is called every 10 s. Not called from interrupts. */
void watchdog_start(void);
void watchdog_service(void);

/* Does not return: the chip restarts as from power-on, at most a tenth of a second later. */
void crm_reset(void) __attribute__((noreturn));

#endif
