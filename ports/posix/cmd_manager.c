/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd.h"

#include "output.h"

int cmd_manager(int count, char **list)
{
    (void)count;
    (void)list;
    return fail("UNSUPPORTED", "not built yet");
}
