/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes what three nodes in a line send to a capture file, for test_net_tshark.py, and prints which frames belong to what:
 *
 *     NAME FIRST LAST
 *
 * usage: net_pcap FILE
 */
#include "rig.h"

static unsigned frames;

static void step(const char *name)
{
    unsigned before = frames;
    unsigned i;

    rig_run(300);
    frames = 0;
    for (i = 0; i < RIG_NODES; i++) {
        frames += rig.nodes[i].net.stats.frames_out;
    }
    printf("%s %u %u\n", name, before + 1, frames);
}

int main(int argc, char **argv)
{
    static uint8_t large[200];
    struct iotsec_addr to;
    uint8_t eui64[8];
    size_t i;

    if (argc != 2) {
        fprintf(stderr, "usage: net_pcap FILE\n");
        return EXIT_FAILURE;
    }
    for (i = 0; i < sizeof large; i++) {
        large[i] = (uint8_t)i;
    }
    rig_start(1);
    rig.now = 1000;
    rig.pcap = fopen(argv[1], "wb");
    if (rig.pcap == NULL) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }

    /* a joiner, in the clear */
    rig_eui64(1, eui64);
    net_join_through(&rig.nodes[2].net, eui64);
    to = rig_link_local(1, RIG_JOIN_PORT);
    (void)rig_say(2, &to, "may I?");
    step("joiner");
    net_join_through(&rig.nodes[2].net, NULL);
    rig_line(3);
    net_join_open(&rig.nodes[1].net, true);
    to = rig_link_local(2, RIG_PORT);
    (void)net_send(&rig.nodes[1].net, RIG_JOIN_PORT, &to, large, sizeof large);
    step("answer");
    net_join_open(&rig.nodes[1].net, false);

    /* members, under the key */
    to = rig_link_local(1, RIG_PORT);
    (void)rig_say(2, &to, "near");
    step("near");
    to = rig_address(0, RIG_PORT);
    (void)rig_say(2, &to, "over hops");
    step("up");
    to = rig_address(2, 0xF0B1);
    (void)net_send(&rig.nodes[0].net, 0xF0B0, &to, large, sizeof large);
    step("down");
    to = rig_group(5, 0x42, RIG_PORT);
    (void)rig_say(2, &to, "everybody");
    step("group");
    rig.nodes[0].config.level = NET_ENC_MIC_64;
    rig.nodes[1].config.level = NET_ENC_MIC_64;
    to = rig_link_local(1, RIG_PORT);
    (void)rig_say(0, &to, "longer MIC");
    step("mic64");
    net_set_address(&rig.nodes[0].net, RIG_PAN, NET_NO_SHORT_ADDRESS, rig_prefix);
    net_set_address(&rig.nodes[1].net, RIG_PAN, NET_NO_SHORT_ADDRESS, rig_prefix);
    to = rig_address(0, RIG_PORT);
    (void)rig_say(1, &to, "EUI-64");
    step("eui64");
    return fclose(rig.pcap) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
