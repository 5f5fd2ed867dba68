/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Register addresses and bits of the MC13224V, the ones that this port uses, block by block. Offsets are from the
 * chip's reference manual; where public sources contradict each other, the comment says so.
 */
#ifndef MC1322X_REGS_H
#define MC1322X_REGS_H

#include <stdint.h>

#define REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define REG16(address) (*(volatile uint16_t *)(uintptr_t)(address)) /* ADC and TMR: 16-bit access only */

/* ---- Memory ---- */

#define RAM_START 0x00400000u
#define RAM_BYTES 0x18000u
#define REF_HZ 24000000u /* the crystal that everything but the RTC runs from */

/* ---- GPIO: pads and what drives them ---- */

#define GPIO_BASE 0x80000000u
#define GPIO_FUNC_SEL0 REG32(GPIO_BASE + 0x18) /* pads 0 to 15, two bits each; 1: the pad's first function */
#define GPIO_FUNC_SEL1 REG32(GPIO_BASE + 0x1C) /* pads 16 to 31 */
#define GPIO_DATA_SET1 REG32(GPIO_BASE + 0x4C) /* pads 32 to 63: a one sets the pad */
#define GPIO_DATA_RESET1 REG32(GPIO_BASE + 0x54)
#define GPIO_DIR_SET1 REG32(GPIO_BASE + 0x5C)
#define GPIO_PAD_FUNCTION(pad, function) ((uint32_t)(function) << 2 * ((pad) & 15))
#define PAD_UART1_TX 14
#define PAD_UART1_RX 15

/* ---- CRM: clocks, reset, power ---- */

#define CRM_BASE 0x80003000u
#define CRM_SYS_CNTL REG32(CRM_BASE + 0x00)
#define SYS_JTAG_SECU_OFF (1u << 4)
#define SYS_PWR_SOURCE_XTAL 0x08u /* this bit has no public name; boards and loaders write 0x18 before the regulators */
#define SYS_XTAL32_EXISTS (1u << 5)
#define CRM_WU_CNTL REG32(CRM_BASE + 0x04)
#define WU_RTC_EN (1u << 1)
#define WU_RTC_IEN (1u << 17)
#define CRM_SLEEP_CNTL REG32(CRM_BASE + 0x08)
#define SLEEP_HIBERNATE (1u << 0)
#define SLEEP_RAM_96K (3u << 4)
#define SLEEP_MCU_RET (1u << 6)
#define SLEEP_DIG_PAD_EN (1u << 7)
#define CRM_BS_CNTL REG32(CRM_BASE + 0x0C)
#define BS_EN (1u << 0)
#define BS_WAIT4IRQ (1u << 1)
#define CRM_COP_CNTL REG32(CRM_BASE + 0x10)
#define COP_EN (1u << 0)
#define COP_OUT_INTERRUPT (1u << 1) /* 0: reset */
#define COP_TIMEOUT(steps) ((uint32_t)(steps) << 8) /* of 2^21 / 24 MHz = 87 ms, at most 127 */
#define CRM_COP_SERVICE REG32(CRM_BASE + 0x14)
#define COP_SERVICE_KEY 0xC0DE5AFEu
#define CRM_STATUS REG32(CRM_BASE + 0x18)
#define STATUS_SLEEP_SYNC (1u << 0)
#define STATUS_RTC_WU (1u << 3)
#define STATUS_CAL_DONE (1u << 9)
#define STATUS_VREG_1P8V_RDY (1u << 18)
#define STATUS_VREG_1P5V_RDY (1u << 19)
#define CRM_RTC_COUNT REG32(CRM_BASE + 0x28)
#define CRM_RTC_TIMEOUT REG32(CRM_BASE + 0x2C)
#define CRM_CAL_CNTL REG32(CRM_BASE + 0x34)
#define CAL_EN (1u << 16)
#define CRM_CAL_COUNT REG32(CRM_BASE + 0x38)
#define CRM_RINGOSC_CNTL REG32(CRM_BASE + 0x3C)
#define RINGOSC_EN (1u << 0)
#define CRM_XTAL_CNTL REG32(CRM_BASE + 0x40)
#define CRM_XTAL32_CNTL REG32(CRM_BASE + 0x44)
#define XTAL32_EN (1u << 0)
#define CRM_VREG_CNTL REG32(CRM_BASE + 0x48)

/* ---- UART1 ---- */

#define UART1_BASE 0x80005000u
#define UART_UCON REG32(UART1_BASE + 0x00)
#define UCON_TXE (1u << 0)
#define UCON_RXE (1u << 1)
#define UCON_MTXR (1u << 13) /* 1: the transmitter's interrupt is masked */
#define UCON_MRXR (1u << 14)
#define UART_USTAT REG32(UART1_BASE + 0x04)
#define USTAT_FE (1u << 2)
#define USTAT_ROE (1u << 4)
#define UART_UDATA REG32(UART1_BASE + 0x08)
#define UART_URXCON REG32(UART1_BASE + 0x0C) /* read: bytes waiting; write: how many raise the interrupt */
#define UART_UTXCON REG32(UART1_BASE + 0x10) /* read: free places; write: how many raise the interrupt */
#define UART_FIFO_BYTES 32u
#define UART_LEVEL_MASK 0x3Fu
#define UART_UBRCNT REG32(UART1_BASE + 0x18)

/* ---- ASM: the AES module. Word i of a register of 16 bytes is its bytes 4i to 4i + 3, the first the highest ---- */

#define ASM_BASE 0x80008000u
#define ASM_KEY REG32(ASM_BASE + 0x00) /* the first of four, here and below; cannot be read */
#define ASM_DATA REG32(ASM_BASE + 0x10)
#define ASM_CTR REG32(ASM_BASE + 0x20)
#define ASM_CTR_RESULT REG32(ASM_BASE + 0x30)
#define ASM_CBC_RESULT REG32(ASM_BASE + 0x40)
#define ASM_CONTROL0 REG32(ASM_BASE + 0x50) /* strobes */
#define ASM_START (1u << 24)
#define ASM_LOAD_MAC (1u << 26)
#define ASM_CLEAR_IRQ (1u << 31)
#define ASM_CONTROL1 REG32(ASM_BASE + 0x54)
#define ASM_ON (1u << 0)
#define ASM_NORMAL_MODE (1u << 1) /* 0: a key of the boot ROM's */
#define ASM_BYPASS (1u << 2)
#define ASM_CBC_MODE (1u << 24)
#define ASM_CTR_MODE (1u << 25)
#define ASM_SELF_TEST (1u << 26)
#define ASM_MASK_IRQ (1u << 31)
#define ASM_STATUS REG32(ASM_BASE + 0x58)
#define ASM_DONE (1u << 24)
#define ASM_TEST_PASS (1u << 25)
#define ASM_MAC REG32(ASM_BASE + 0x60)

/* ---- MACA: the radio. Its clock has to be on before anything but MACA_RESET is touched ---- */

#define MACA_BASE 0x80004000u
#define MACA_RESET REG32(MACA_BASE + 0x04)
#define MACA_RESET_RST (1u << 0)
#define MACA_RESET_CLKON (1u << 1)
#define MACA_RANDOM REG32(MACA_BASE + 0x08) /* a shift register, no entropy */
#define MACA_CONTROL REG32(MACA_BASE + 0x0C)
#define MACA_SEQ_NOP 0u
#define MACA_SEQ_ABORT 1u
#define MACA_SEQ_TX 3u
#define MACA_SEQ_RX 4u
#define MACA_MODE_CCA (1u << 3) /* one look at the channel before sending, without slots */
#define MACA_ASAP (1u << 9)
#define MACA_PROMISCUOUS (1u << 11) /* 0: addresses are filtered, and frames that ask for it acknowledged */
#define MACA_PRECOUNT(n) ((uint32_t)(n) << 16)
#define MACA_STATUS REG32(MACA_BASE + 0x10)
#define MACA_CODE(status) ((status) & 15u)
#define MACA_CODE_OK 0u
#define MACA_CODE_BUSY 2u
#define MACA_CODE_NO_ACK 5u
#define MACA_TMREN REG32(MACA_BASE + 0x40)
#define MACA_TMRDIS REG32(MACA_BASE + 0x44)
#define MACA_TMR_CPL (1u << 1)
#define MACA_TMR_SFT (1u << 2)
#define MACA_CLK REG32(MACA_BASE + 0x48) /* 250 kHz */
#define MACA_CPLCLK REG32(MACA_BASE + 0x50)
#define MACA_SFTCLK REG32(MACA_BASE + 0x54)
#define MACA_SLOTOFFSET REG32(MACA_BASE + 0x64)
#define MACA_DMARX REG32(MACA_BASE + 0x80)
#define MACA_DMATX REG32(MACA_BASE + 0x84)
#define MACA_TXLEN REG32(MACA_BASE + 0x8C)
#define MACA_TXSEQNR REG32(MACA_BASE + 0x90)
#define MACA_GETRXLVL REG32(MACA_BASE + 0x98)
#define MACA_IRQ REG32(MACA_BASE + 0xC0)
#define MACA_CLRIRQ REG32(MACA_BASE + 0xC4)
#define MACA_MASKIRQ REG32(MACA_BASE + 0xCC) /* 1: may interrupt */
#define MACA_IRQ_ACPL (1u << 0)
#define MACA_IRQ_DI (1u << 2)
#define MACA_IRQ_RST (1u << 4)
#define MACA_IRQ_SFT (1u << 10)
#define MACA_IRQ_FLT (1u << 11)
#define MACA_IRQ_CRC (1u << 12)
#define MACA_IRQ_CM (1u << 13)
#define MACA_IRQ_SYNC (1u << 14)
#define MACA_MACPANID REG32(MACA_BASE + 0x100)
#define MACA_MAC16ADDR REG32(MACA_BASE + 0x104)
#define MACA_MAC64HI REG32(MACA_BASE + 0x108)
#define MACA_MAC64LO REG32(MACA_BASE + 0x10C)
#define MACA_CLKDIV REG32(MACA_BASE + 0x114)
#define MACA_WARMUP REG32(MACA_BASE + 0x118)
#define MACA_FRAMESYNC0 REG32(MACA_BASE + 0x124)
#define MACA_TXACKDELAY REG32(MACA_BASE + 0x140)
#define MACA_RXACKDELAY REG32(MACA_BASE + 0x144)
#define MACA_EOFDELAY REG32(MACA_BASE + 0x148)
#define MACA_CCADELAY REG32(MACA_BASE + 0x14C)
#define MACA_RXEND REG32(MACA_BASE + 0x150)
#define MACA_TXCCADELAY REG32(MACA_BASE + 0x154)

/* ---- Modem, transceiver and their power: registers without public meaning, written by radio_init.c ---- */

#define MODEM_BASE 0x80009000u
#define RF_BASE 0x8000A000u

/* ---- ITC: interrupts ---- */

#define ITC_BASE 0x80020000u
#define ITC_INTENNUM REG32(ITC_BASE + 0x08)
#define ITC_INTDISNUM REG32(ITC_BASE + 0x0C)
#define ITC_INTENABLE REG32(ITC_BASE + 0x10)
#define ITC_INTTYPE REG32(ITC_BASE + 0x14)
#define ITC_INTFRC REG32(ITC_BASE + 0x34)
#define ITC_NIPEND REG32(ITC_BASE + 0x38)

/* ---- The boot ROM's services (Thumb entry points, AAPCS) ---- */

#define ROM_DATA_INIT 0x000108D0u /* ARM code, called by start.S; the others are Thumb */
#define ROM_NVM_DETECT 0x00006CB9u
#define ROM_NVM_READ 0x00006D69u
#define ROM_NVM_ERASE 0x00006E05u
#define ROM_NVM_WRITE 0x00006EC5u
#define ROM_NVM_SETSVAR 0x00007085u

#endif
