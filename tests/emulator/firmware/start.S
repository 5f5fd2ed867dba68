/* SPDX-License-Identifier: BSD-3-Clause */
/* The least that a program of the emulator's own tests needs: vectors, patch slots, a stack for each mode, cleared .bss. */
        .syntax unified
        .cpu    arm7tdmi
        .section .vectors, "ax"
        .arm
        .global _start
_start:
        b       reset
        b       undefined
        b       .
        b       prefetch_abort
        b       data_abort
        nop
        b       irq
        b       fiq
        .org    0x20
        .global patch_slots
patch_slots:
        .irp    slot, 0x20, 0x60, 0xa0, 0xe0
        .org    \slot
        .hword  0x4770 /* bx lr, Thumb */
        .endr
        .org    0x800
reset:
        ldr     r0, =stacks_end
        .irp    mode, 0xd1, 0xd2, 0xd7, 0xdb, 0xd3
        msr     cpsr_c, #\mode
        mov     sp, r0
        sub     r0, r0, #512
        .endr
        msr     cpsr_c, #0xdf
        mov     sp, r0
        ldr     r0, =bss_start
        ldr     r1, =bss_end
        mov     r2, #0
1:      cmp     r0, r1
        strlo   r2, [r0], #4
        blo     1b
        ldr     r0, =main
        mov     lr, pc
        bx      r0
        b       .

irq:    sub     lr, lr, #4
        stmfd   sp!, {r0-r3, r12, lr}
        ldr     r0, =on_irq
        mov     lr, pc
        bx      r0
        ldmfd   sp!, {r0-r3, r12, pc}^

fiq:    sub     lr, lr, #4
        stmfd   sp!, {r0-r3, r12, lr}
        ldr     r0, =on_fiq
        mov     lr, pc
        bx      r0
        ldmfd   sp!, {r0-r3, r12, pc}^

undefined:
        mov     r0, #1
        b       report
prefetch_abort:
        mov     r0, #2
        b       report
data_abort:
        mov     r0, #3
report: mov     r1, lr
        msr     cpsr_c, #0xdf
        ldr     r2, =on_exception
        bx      r2

        /* What Thumb code cannot do itself. */
        .global cpsr_set
        .type   cpsr_set, %function
cpsr_set:
        msr     cpsr_c, r0
        bx      lr
        .global rom_data_init
        .type   rom_data_init, %function
rom_data_init:
        push    {r4, lr}
        ldr     r12, =0x108d0
        mov     lr, pc
        bx      r12
        pop     {r4, lr}
        bx      lr
        .ltorg
