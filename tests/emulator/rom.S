/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands in the place of the chip's ROM: the services that firmware calls, at their documented addresses, each handed
 * on to the model through a mailbox that no chip has. Nothing of the real ROM is in here.
 *
 * Mailbox at 0x80030000: words 0 to 4 arguments, word 5 the service (starts it), word 6 the answer.
 */
        .syntax unified
        .cpu arm7tdmi
        .arm
        .org 0
        /* A jump to 0 starts the chip anew; exceptions never come this way, the emulator enters RAM's vectors itself. */
        ldr     r4, =0x80030000
        mov     r5, #9
        str     r5, [r4, #20]
1:      b       1b
        .ltorg

        .thumb
        .macro service address, number
        .org    \address
        push    {r4, r5, lr}
        movs    r5, #\number
        b       handed_on
        .endm

        .org    0x6c00
handed_on:
        ldr     r4, mailbox
        str     r0, [r4, #0]
        str     r1, [r4, #4]
        str     r2, [r4, #8]
        str     r3, [r4, #12]
        ldr     r0, [sp, #12]
        str     r0, [r4, #16]
        str     r5, [r4, #20]
        ldr     r0, [r4, #24]
        pop     {r4, r5}
        pop     {r1}
        bx      r1
        .align  2
mailbox:
        .word   0x80030000

        service 0x6cb8, 1 /* nvm_detect */
        service 0x6d68, 2 /* nvm_read */
        service 0x6e04, 3 /* nvm_erase */
        service 0x6ec4, 4 /* nvm_write */
        service 0x6f84, 5 /* nvm_verify */
        service 0x7084, 6 /* nvm_setsvar */

        .org    0xe04c    /* the link quality of the frame that was received last: of AAPCS leaf form */
        ldr     r1, lqi_mailbox
        movs    r0, #8
        str     r0, [r1, #20]
        ldr     r0, [r1, #24]
        bx      lr
        .align  2
lqi_mailbox:
        .word   0x80030000

        /* Visits every mode and uses its stack, as the real one does: a mode without a stack shows here. */
        .arm
        .org    0x108d0
        mrs     r12, cpsr
        .irp    mode, 0xd1, 0xd2, 0xd3, 0xd7, 0xdb
        msr     cpsr_c, #\mode
        push    {r0, r1, r2, r3}
        pop     {r0, r1, r2, r3}
        .endr
        msr     cpsr_c, r12
        ldr     r1, =0x80030000
        mov     r0, #7
        str     r0, [r1, #20]
        ldr     r0, [r1, #24]
        bx      lr
        .ltorg
