/* SPDX-License-Identifier: BSD-3-Clause */
/* Key-management messages: what decodes is encoded again, and has to be the same bytes. */
#include "amikey/keymgmt.h"

#include "script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t types[] = { IOTSEC_CONTENT_MASTER_KEY_DATA, IOTSEC_CONTENT_SECURITY_PARAMETERS,
                                     IOTSEC_CONTENT_APPLICATION_DATA };
    uint8_t *copy = malloc(size != 0 ? size : 1);
    uint8_t *out = malloc(size + 1); /* more elements may have come than are ever sent */
    size_t i;

    script_check(copy != NULL && out != NULL);
    if (size != 0) {
        memcpy(copy, data, size);
    }
    for (i = 0; i < sizeof types; i++) {
        struct iotsec_km_message message;
        size_t len;
        size_t room;

        if (iotsec_km_decode(&message, types[i], copy, size) != IOTSEC_OK) {
            continue;
        }
        script_check(types[i] == iotsec_km_content_type(message.kind));
        script_check(iotsec_km_encode(&message, out, size, &len) == IOTSEC_OK);
#if IOTSEC_PAIRWISE
        /* a view into the message, and of all that is left of it */
        script_check(message.tail == NULL ||
                     message.tail + message.count * (message.kind == IOTSEC_KM_SHARE ? IOTSEC_POLY_ELEMENT_BYTES
                                                                                     : IOTSEC_REVOKED_BYTES) == copy + size);
        script_check((message.tail != NULL) == (message.kind == IOTSEC_KM_SHARE || message.kind == IOTSEC_KM_REVOKED));
#endif
        /* an address that could be short may have come long */
        script_check(len == size ? memcmp(out, copy, len) == 0 : (len == 31 && size == 42) || (len == 45 && size == 53));
        for (room = 0; room < len; room++) {
            uint8_t *small = malloc(room != 0 ? room : 1);
            size_t written;

            script_check(small != NULL);
            script_check(iotsec_km_encode(&message, small, room, &written) != IOTSEC_OK);
            free(small);
        }
    }
    free(out);
    free(copy);
    return 0;
}
