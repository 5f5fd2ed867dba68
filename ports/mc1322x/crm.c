/* SPDX-License-Identifier: BSD-3-Clause */
#include "crm.h"

#include "fault.h"
#include "itc.h"
#include "regs.h"

#define VREG_BYPASSED 0x0F04u /* buck regulator bypassed, the others off */
#define VREG_RUNNING 0x0FF8u  /* 1.5 V and 1.8 V on: flash, AES module and radio */
#define VREG_SETTLE_US 15000u
#define VREG_WAIT_US 100000u
#define XTAL_TRIM 0x02EF1F52u /* 24 MHz: 4 pF on, coarse 11, fine 7, bias 0x1F; of the Econotag. Another board: measure it */
#define RTC_HZ 32768u         /* a watch crystal. One public source has 32000: compare with the 24 MHz on a new board */
#define RTC_START_US 2000000u /* such crystals take up to a second */
#define IDLE_MAX_MS 5000u     /* half of the watchdog's time */
#define COP_STEPS_10S 115u
#define SLEEP_WAIT_US 10000u

/* start.S; masks interrupts in the processor, where WAIT4IRQ still sees them */
uint32_t cpu_lock(void);
void cpu_unlock(uint32_t saved);

static struct {
    uint32_t count; /* of the RTC, as last seen */
    uint32_t ms;
    uint32_t rest;  /* of a millisecond, in 1/4096 */
} now;

/* ---- Time ---- */

/* 1000 / 32768 = 125 / 4096: whole seconds first, so that all fits in 32 bits. */
static void clock_advance(void)
{
    uint32_t count = CRM_RTC_COUNT;
    uint32_t passed = count - now.count;

    if (passed >> 31 != 0) {
        return; /* a count that was read while it changed */
    }
    now.count = count;
    now.ms += passed / RTC_HZ * 1000;
    now.rest += passed % RTC_HZ * 125;
    now.ms += now.rest >> 12;
    now.rest &= 4095;
}

uint32_t clock_ms(void)
{
    uint32_t saved = irq_lock();
    uint32_t ms;

    clock_advance();
    ms = now.ms;
    irq_unlock(saved);
    return ms;
}

uint32_t clock_us(void)
{
    uint32_t saved = irq_lock();
    uint32_t us;

    clock_advance();
    us = now.ms * 1000 + (now.rest * 125 >> 9);
    irq_unlock(saved);
    return us;
}

void clock_wait_us(uint32_t us)
{
    uint32_t turns = us * (REF_HZ / 4000000u);

    if (turns == 0) {
        return;
    }
    /* a subtraction and a taken branch: one and three cycles */
    __asm__ volatile(".syntax unified\n1:\tsubs %0, #1\n\tbne 1b" : "+l"(turns) : : "cc");
}

/* ---- Power ---- */

static void regulators_start(void)
{
    uint32_t left = VREG_WAIT_US / 10;

    CRM_VREG_CNTL = VREG_BYPASSED;
    clock_wait_us(VREG_SETTLE_US);
    CRM_VREG_CNTL = VREG_RUNNING;
    while ((CRM_STATUS & (STATUS_VREG_1P5V_RDY | STATUS_VREG_1P8V_RDY)) != (STATUS_VREG_1P5V_RDY | STATUS_VREG_1P8V_RDY)) {
        if (left-- == 0) {
            fault("regulators");
        }
        clock_wait_us(10);
    }
}

/* The crystal is not asked whether it is there: it is told (XTAL32_EXISTS), and then the count moves or does not. */
static void rtc_start(void)
{
    uint32_t left = RTC_START_US / 100;
    uint32_t first;

    CRM_RINGOSC_CNTL &= ~RINGOSC_EN;
    CRM_XTAL32_CNTL |= XTAL32_EN;
    CRM_SYS_CNTL |= SYS_XTAL32_EXISTS;
    first = CRM_RTC_COUNT;
    while (CRM_RTC_COUNT == first) {
        if (left-- == 0) {
            fault("rtc");
        }
        clock_wait_us(100);
    }
    now.count = CRM_RTC_COUNT;
}

/* Once a wait has ended. The event takes two of the RTC's clocks to clear, so its interrupt goes first. */
static void rtc_woke(void)
{
    CRM_WU_CNTL &= ~(WU_RTC_EN | WU_RTC_IEN);
    CRM_STATUS = STATUS_RTC_WU;
}

void crm_start(void)
{
    CRM_SYS_CNTL = SYS_JTAG_SECU_OFF | SYS_PWR_SOURCE_XTAL;
    CRM_XTAL_CNTL = XTAL_TRIM; /* untrimmed, the radio's first transmission ends in an unlocked PLL */
    regulators_start();
    rtc_start();
    irq_handler_set(IRQ_CRM, rtc_woke);
    irq_enable(IRQ_CRM);
}

/* ---- Waiting ---- */

static void rtc_wake_in(uint32_t ms)
{
    CRM_RTC_TIMEOUT = ms / 1000 * RTC_HZ + ms % 1000 * RTC_HZ / 1000 + 1;
    CRM_WU_CNTL |= WU_RTC_EN | WU_RTC_IEN;
}

void idle(uint32_t ms)
{
    static uint32_t seen;
    uint32_t began = clock_ms();

    (void)stack_unused();
    if (ms > IDLE_MAX_MS) {
        ms = IDLE_MAX_MS;
    }
    if (irq_count() == seen && ms != 0) {
        rtc_wake_in(ms);
        do {
            uint32_t saved = cpu_lock();

            if (irq_count() == seen) {
                /* Stops the processor until an interrupt is pending, masked or not. Nobody has verified that in public; if it
                 * does nothing, this loop spins, and all is well but the current. */
                CRM_BS_CNTL = BS_EN | BS_WAIT4IRQ;
            }
            cpu_unlock(saved);
        } while (irq_count() == seen && clock_ms() - began < ms);
    }
    seen = irq_count();
}

/* The handshake: asked for, acknowledged by SLEEP_SYNC, and taken by clearing that; the same once more after waking. */
static void sleep_sync(void)
{
    uint32_t left = SLEEP_WAIT_US / 10;

    while ((CRM_STATUS & STATUS_SLEEP_SYNC) == 0) {
        if (left-- == 0) {
            fault("sleep");
        }
        clock_wait_us(10);
    }
    CRM_STATUS = STATUS_SLEEP_SYNC;
}

void crm_sleep(uint32_t ms)
{
    uint32_t saved = irq_lock();
    uint32_t watchdog = CRM_COP_CNTL;

    (void)clock_ms();
    CRM_COP_CNTL = 0; /* nothing says whether it counts on meanwhile */
    CRM_VREG_CNTL = VREG_BYPASSED; /* with the radio's regulators on the chip would restart instead of waking */
    rtc_wake_in(ms);
    CRM_SLEEP_CNTL = SLEEP_HIBERNATE | SLEEP_RAM_96K | SLEEP_MCU_RET | SLEEP_DIG_PAD_EN;
    sleep_sync();
    sleep_sync();
    rtc_woke();
    regulators_start();
    CRM_COP_CNTL = watchdog;
    irq_unlock(saved);
}

/* ---- Watchdog ---- */

void watchdog_start(void)
{
    CRM_COP_CNTL = COP_TIMEOUT(COP_STEPS_10S) | COP_EN;
    watchdog_service();
}

void watchdog_service(void)
{
    CRM_COP_SERVICE = COP_SERVICE_KEY;
}

void crm_reset(void)
{
    (void)cpu_lock();
    CRM_COP_CNTL = COP_TIMEOUT(1) | COP_EN;
    for (;;) {
    }
}
