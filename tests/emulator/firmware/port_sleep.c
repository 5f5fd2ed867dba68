/* SPDX-License-Identifier: BSD-3-Clause */
/* The port's own start-up, clocks and console, and a program that sleeps with them: no role does, a vendor's may. */
#include "crm.h"
#include "uart.h"

int main(void);

int main(void)
{
    uint32_t before, after;

    uart_start();
    crm_start();
    watchdog_start();
    for (;;) {
        uart_text("awake\n");
        uart_flush();
        before = clock_ms();
        crm_sleep(20000);
        after = clock_ms();
        watchdog_service();
        uart_text("slept ");
        uart_decimal(after - before);
        uart_text("\n");
        uart_flush();
        before = clock_ms();
        while (clock_ms() - before < 1000) {
            idle(100);
        }
    }
}
