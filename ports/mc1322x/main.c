/* SPDX-License-Identifier: BSD-3-Clause */
/* What every board does first, whatever its role: say who it is. */
#include <stddef.h>

#include <iotsec/config.h>

#include "app.h"
#include "console.h"
#include "crm.h"
#include "fault.h"
#include "flash.h"
#include "provision.h"
#include "uart.h"

int main(void);

int main(void)
{
    static struct provision provision;
    static const char roles[][8] = { "", "manager", "device", "lamp", "switch" };
    const char *failed;

    uart_start();
    crm_start();
    watchdog_start();
    uart_text("\n");
    out_begin("boot");
    out_word("version", IOTSEC_VERSION_STRING);
    out_word("image", IMAGE_NAME);
    out_end();
    if (flash_start() != 0) {
        fault("flash");
    }
    failed = provision_load(&provision);
    if (failed != NULL) {
        fault(failed);
    }
    out_begin("identity");
    out_bytes("id", provision.identity, provision.identity_len);
    out_word("role", roles[provision.role]);
    out_octets("eui64", provision.eui64, sizeof provision.eui64);
    out_uint("channel", provision.channel);
    out_hex("pan", provision.pan);
    out_end();
    if ((provision.role == ROLE_MANAGER) != IMAGE_MANAGER) {
        fault("provision-role"); /* the other image is meant */
    }
#if IMAGE_MANAGER
    manager_run(&provision);
#else
    device_run(&provision);
#endif
}
