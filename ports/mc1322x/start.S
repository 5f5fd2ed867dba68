/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The boot ROM copies the image to the start of RAM and enters it there in ARM state. Its exception vectors point to the first
 * eight words, and its services call through four places of the first 256 bytes, where a return has to be; what follows them
 * up to 0x800 is theirs.
 */
        .syntax unified
        .cpu    arm7tdmi
        .equ    ROM_DATA_INIT, 0x000108d0         /* ARM code, unlike the services behind it */
        .equ    STACK_PAINT, 0x5afe57ac         /* fault.c knows it too */

        .section .vectors, "ax"                 /* "ax": or the linker would not see that branches change the instruction set */
        .arm
        .global _start
_start: b       reset
        b       undefined
        b       supervisor
        b       prefetch
        b       data
        nop
        b       irq
        b       fiq

        .thumb
        .org    0x20
        bx      lr
        .org    0x60
        bx      lr
        .org    0xa0
        bx      lr
        .org    0xe0
        bx      lr
        .org    0x800

        .arm
reset:  msr     cpsr_c, #0xdb                   /* undefined; IRQ and FIQ masked, as in all that follow */
        ldr     sp, =__stack_undefined
        msr     cpsr_c, #0xd7                   /* abort */
        ldr     sp, =__stack_abort
        msr     cpsr_c, #0xd1                   /* FIQ */
        ldr     sp, =__stack_fiq
        msr     cpsr_c, #0xd3                   /* supervisor */
        ldr     sp, =__stack_supervisor
        msr     cpsr_c, #0xd2                   /* IRQ */
        ldr     sp, =__stack_irq
        msr     cpsr_c, #0xdf                   /* system */
        ldr     sp, =__stack_top

        ldr     r0, =__bss_start
        ldr     r1, =__bss_end
        mov     r2, #0
1:      cmp     r0, r1
        strlo   r2, [r0], #4
        blo     1b
        ldr     r1, =__stack_top                /* nothing is on it yet */
        ldr     r2, =STACK_PAINT
2:      cmp     r0, r1
        strlo   r2, [r0], #4
        blo     2b

        ldr     r0, =ROM_DATA_INIT              /* it goes through the modes, hence their stacks */
        mov     lr, pc
        bx      r0
        msr     cpsr_c, #0x5f                   /* system, IRQ on */
        ldr     r0, =main
        mov     lr, pc
        bx      r0
3:      b       3b

        /* Exceptions do not return: their number and place go to fault.c, on the main stack from its top. */
undefined:
        mov     r0, #0
        b       exception
supervisor:
        mov     r0, #1
        b       exception
prefetch:
        mov     r0, #2
        b       exception
data:   mov     r0, #3
        b       exception
fiq:    mov     r0, #4
exception:
        mov     r1, lr
        msr     cpsr_c, #0xdf
        ldr     sp, =__stack_top
        ldr     r2, =fault_exception
        bx      r2

irq:    sub     lr, lr, #4
        stmfd   sp!, {r0-r3, r12, lr}
        ldr     r0, =irq_dispatch
        mov     lr, pc
        bx      r0
        ldmfd   sp!, {r0-r3, r12, pc}^          /* with the status register, so back to Thumb too */
        .ltorg

        /* What Thumb cannot do: uint32_t cpu_lock(void), void cpu_unlock(uint32_t). */
        .section .text.cpu, "ax"
        .arm
        .global cpu_lock
        .type   cpu_lock, %function
cpu_lock:
        mrs     r0, cpsr
        orr     r1, r0, #0x80
        msr     cpsr_c, r1
        bx      lr
        .global cpu_unlock
        .type   cpu_unlock, %function
cpu_unlock:
        msr     cpsr_c, r0
        bx      lr
