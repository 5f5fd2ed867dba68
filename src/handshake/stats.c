/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/stats.h>

const char *iotsec_drop_name(enum iotsec_drop drop)
{
    /* no default: the compiler then names a reason that is missing here */
    switch (drop) {
    case IOTSEC_DROP_MALFORMED:
        return "malformed";
    case IOTSEC_DROP_VERSION:
        return "version";
    case IOTSEC_DROP_NO_SESSION:
        return "no_session";
    case IOTSEC_DROP_EPOCH:
        return "epoch";
    case IOTSEC_DROP_AUTH:
        return "auth";
    case IOTSEC_DROP_REPLAY:
        return "replay";
    case IOTSEC_DROP_UNEXPECTED:
        return "unexpected";
    case IOTSEC_DROP_PLAINTEXT:
        return "plaintext";
    case IOTSEC_DROP_COOKIE:
        return "cookie";
    case IOTSEC_DROP_NO_ROOM:
        return "no_room";
    case IOTSEC_DROP_AMPLIFICATION:
        return "amplification";
    case IOTSEC_DROP_TOO_LONG:
        return "too_long";
    case IOTSEC_DROP_MULTICAST:
        return "multicast";
    case IOTSEC_DROP_NO_GROUP:
        return "no_group";
    case IOTSEC_DROP_UNKNOWN_SENDER:
        return "unknown_sender";
    case IOTSEC_DROP_BEHIND:
        return "behind";
    case IOTSEC_DROP_UNREACHABLE:
        return "unreachable";
    case IOTSEC_DROP_OWN:
        return "own";
    case IOTSEC_DROP_RELAY:
        return "relay";
    case IOTSEC_DROP_NOT_ALLOWED:
        return "not_allowed";
    case IOTSEC_DROP_COUNT:
        break;
    }
    return "unknown";
}
