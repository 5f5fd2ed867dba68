#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
tshark, which knows nothing of us, reads the frames of the MC1322x's network layer: IEEE 802.15.4 with its security, given the
key, 6LoWPAN's compression, fragments and broadcast header, IPv6, UDP and its checksum.

usage: test_net_tshark.py

$IOTSEC_BUILD_DIR (default build/) has tests/mc1322x/net_pcap, which writes the frames.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('IOTSEC_BUILD_DIR', SOURCE / 'build'))
KEY = 'c0c1c2c3c4c5c6c7c8c9cacbcccdcecf'
PREFIX = 'fd00:0:0:1::/64'
FIELDS = ['wpan.security', 'wpan.aux_sec.sec_level', 'wpan.aux_sec.key_index', 'wpan.ack_request', 'wpan.src64', 'wpan.dst64',
          'wpan.dst16', 'ipv6.src', 'ipv6.dst', 'ipv6.hlim', 'udp.srcport', 'udp.dstport', 'udp.checksum.status', 'udp.payload',
          '6lowpan.bcast.seqnum', '6lowpan.frag.size', '_ws.malformed', '_ws.expert.severity']
CHECKSUM_GOOD = '1'

LARGE = bytes(range(200)).hex()
EUI = ['00:50:c2:ff:fe:a8:dd:1%d' % node for node in range(3)]
LINK = ['fe80::250:c2ff:fea8:dd1%d' % node for node in range(3)]
SHORT = ['fd00::1:0:ff:fe00:10%d' % (node + 1) for node in range(3)]
LONG = ['fd00::1:250:c2ff:fea8:dd1%d' % node for node in range(3)]

# step: security level, source and target, ports, payload, frames, and for each hop sender, receiver (None: all) and hop limit
STEPS = {
    'joiner': (0, LINK[2], LINK[1], 5683, 5684, b'may I?'.hex(), 1, [(2, 1, 64)]),
    'answer': (0, LINK[1], LINK[2], 5684, 5683, LARGE, 3, [(1, 2, 64)]),
    'near': (5, LINK[2], LINK[1], 5683, 5683, b'near'.hex(), 1, [(2, 1, 64)]),
    'up': (5, SHORT[2], SHORT[0], 5683, 5683, b'over hops'.hex(), 1, [(2, 1, 64), (1, 0, 63)]),
    'down': (5, SHORT[0], SHORT[2], 0xF0B0, 0xF0B1, LARGE, 3, [(0, 1, 64), (1, 2, 63)]),
    'group': (5, SHORT[2], 'ff05::42', 5683, 5683, b'everybody'.hex(), 1, [(2, None, 64), (1, None, 63), (0, None, 62)]),
    'mic64': (6, LINK[0], LINK[1], 5683, 5683, b'longer MIC'.hex(), 1, [(0, 1, 64)]),
    'eui64': (6, LONG[1], LONG[0], 5683, 5683, b'EUI-64'.hex(), 1, [(1, 0, 64)]),
}


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def dissect(pcap, key):
    """One dictionary a frame."""
    argv = ['tshark', '-r', str(pcap), '-o', f'uat:ieee802154_keys:"{key}","1","No hash"', '-o', f'6lowpan.context0:{PREFIX}',
            '-o', 'udp.check_checksum:TRUE', '--disable-protocol', 'coap', '-T', 'fields']
    for field in FIELDS:
        argv += ['-e', field]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f'tshark: {done.stderr.strip()}')
    return [dict(zip(FIELDS, line.split('\t'))) for line in done.stdout.splitlines()]


def expect(frame, where, **fields):
    for name, value in fields.items():
        name = name.replace('__', '.')
        check(frame[name] == str(value), f'{where}: {name} is {frame[name]!r}, not {str(value)!r}')


def check_step(name, frames):
    level, source, target, source_port, target_port, payload, pieces, hops = STEPS[name]
    check(len(frames) == pieces * len(hops), f'{name}: {len(frames)} frames')
    sequences = set()
    for number, frame in enumerate(frames):
        where = f'{name}, frame {number + 1}'
        sender, receiver, hop_limit = hops[number // pieces]
        last = number % pieces == pieces - 1
        expect(frame, where, wpan__security=1 if level else 0, wpan__src64=EUI[sender], _ws__malformed='',
               **{'_ws.expert.severity': ''})
        if level:
            expect(frame, where, **{'wpan.aux_sec.sec_level': f'0x{level:02x}', 'wpan.aux_sec.key_index': '0x01'})
        if receiver is None:
            expect(frame, where, wpan__dst16='0xffff', wpan__ack_request=0)
            sequences.add(frame['6lowpan.bcast.seqnum'])
        else:
            expect(frame, where, wpan__dst64=EUI[receiver], wpan__ack_request=1)
        if pieces > 1 and number % pieces == 0:
            expect(frame, where, **{'6lowpan.frag.size': 48 + len(payload) // 2})
        if last:  # the one in which tshark puts the fragments together
            expect(frame, where, ipv6__src=source, ipv6__dst=target, ipv6__hlim=hop_limit, udp__srcport=source_port,
                   udp__dstport=target_port, udp__payload=payload, **{'udp.checksum.status': CHECKSUM_GOOD})
    check(name != 'group' or len(sequences) == 1 and '' not in sequences, f'{name}: sequence numbers {sequences}')
    print(f'ok: {name}, frames: {len(frames)}', flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        pcap = pathlib.Path(folder) / 'air.pcap'
        done = subprocess.run([BUILD / 'tests' / 'mc1322x' / 'net_pcap', pcap], capture_output=True, text=True, check=False)
        check(done.returncode == 0, f'net_pcap: {done.stderr.strip()}')
        steps = [line.split() for line in done.stdout.splitlines()]
        check([name for name, _, _ in steps] == list(STEPS), f'net_pcap has written {steps}')
        frames = dissect(pcap, KEY)
        check(len(frames) == int(steps[-1][2]), f'tshark sees {len(frames)} frames')
        for name, first, last in steps:
            check_step(name, frames[int(first) - 1:int(last)])
        # without the key there is nothing to see of what is secured
        for frame in dissect(pcap, KEY[2:] + 'c0'):
            check(frame['wpan.security'] == '0' or frame['ipv6.src'] == '', 'tshark reads a frame without the key')
        print('ok: without the key nothing', flush=True)


if __name__ == '__main__':
    try:
        main()
    except Failed as failure:
        sys.exit(f'FAILED: {failure}')
