/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that find out whether the models are as unkind as they say. Each waits for a case's name on its console. */
#ifndef CHIP_BOARD_H
#define CHIP_BOARD_H

#include <stddef.h>
#include <stdint.h>

#define R32(address) (*(volatile uint32_t *)(address))
#define R16(address) (*(volatile uint16_t *)(address))
#define R8(address) (*(volatile uint8_t *)(address))

#define GPIO 0x80000000u
#define CRM 0x80003000u
#define MACA 0x80004000u
#define UART1 0x80005000u
#define TMR 0x80007000u
#define ASM 0x80008000u
#define MODEM 0x80009000u
#define ITC 0x80020000u

struct chip_case {
    const char *name;
    void (*run)(void);
};
extern const struct chip_case chip_cases[]; /* ends with a NULL name */

extern volatile uint32_t irq_total, fiq_total;
extern void (*irq_hook)(void);
extern uint32_t exception_base; /* what an exception's return address is told from */

void cpsr_set(uint32_t value); /* control bits */
#define INTERRUPTS_ON() cpsr_set(0x1f)
#define INTERRUPTS_OFF() cpsr_set(0xdf)
void rom_data_init(void);

void put(const char *text);
void put_hex(uint32_t value);
void say(const char *name, uint32_t value); /* "name 0000002a" */
uint8_t get_byte(void);
void wait_us(uint32_t us);                  /* about */
void regulators_up(void);
void crystal_up(void);
uint32_t rtc(void);
void flash_ready(void);
void on_exception(uint32_t which, uint32_t lr);
void on_irq(void);
void on_fiq(void);
int main(void);

#endif
