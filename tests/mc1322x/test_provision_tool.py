#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The tool `provision`: what it writes, byte for byte, and that it refuses what no board should get, without printing a key."""
import os
import pathlib
import stat
import struct
import subprocess
import sys
import tempfile
import zlib

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TOOL = SOURCE / 'ports' / 'mc1322x' / 'provision'
PSK = '5ec2e7000102030405060708090a0b0c'
SECRET = '5eed' * 16
IMAGE = bytearray(0x900)
for at in (0x20, 0x60, 0xA0, 0xE0):
    IMAGE[at:at + 2] = b'\x70\x47'
IMAGE[0x8ff] = 0xEE

failures = []


def check(name, condition, *what):
    if not condition:
        failures.append(name)
        print('FAILED: %s: %s' % (name, ' '.join(map(str, what))))


def run(folder, *options, stdin=''):
    return subprocess.run([str(TOOL), *options], cwd=folder, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)


BASE = {'--image': 'fw.bin', '--out': 'out.bin', '--role': 'lamp', '--identity': 'lamp-7', '--eui64': '00:05:c2:00:00:00:00:09',
        '--channel': '15', '--pan': 'abcd', '--psk': PSK, '--secret': SECRET, '--group': '257'}
MANAGER = {'--role': 'manager', '--identity': 'dm', '--psk': None, '--group': None, '--prefix': 'fd00:1::/64'}


def options(**changes):
    merged = dict(BASE)
    for name, value in changes.items():
        merged['--' + name.replace('_', '-')] = value
    return [word for name, value in merged.items() if value is not None for word in (name, value)]


def manager(**changes):
    base = {name[2:].replace('-', '_'): value for name, value in MANAGER.items()}
    return options(**dict(base, **changes))


def sector(fields):
    content = b'IOTP' + b'\x01\x00' + struct.pack('<H', len(fields)) + fields
    return content + struct.pack('<I', zlib.crc32(content))


LAMP = (b'\x01\x06lamp-7' + b'\x03\x20' + bytes.fromhex(SECRET) + b'\x04\x08\x00\x05\xc2\x00\x00\x00\x00\x09' +
        b'\x05\x01\x03' + b'\x06\x01\x0f' + b'\x07\x02\xcd\xab' + b'\x02\x10' + bytes.fromhex(PSK) + b'\x0a\x02\x01\x01')
DM = (b'\x01\x02dm' + b'\x03\x20' + bytes.fromhex(SECRET) + b'\x04\x08\x00\x05\xc2\x00\x00\x00\x00\x09' + b'\x05\x01\x01' +
      b'\x06\x01\x0f' + b'\x07\x02\xcd\xab' + b'\x08\x02\x00\x01' + b'\x09\x08\xfd\x00\x00\x01\x00\x00\x00\x00')

# Options, and what the message has to say.
REFUSED = [
    ('no image', options(image='nothing.bin'), "--image: cannot read 'nothing.bin'"),
    ('foreign image', options(image='zeros.bin'), 'no firmware for this chip'),
    ('image cut short', options(image='short.bin'), 'is cut short'),
    ('image too long', options(image='long.bin'), 'before the store begins'),
    ('no folder', options(out='no/out.bin'), "--out: cannot write 'no/out.bin'"),
    ('role', options(role='relay'), '--role'),
    ('no role', options(role=None), '--role'),
    ('empty identity', options(identity=''), '--identity: has 0 bytes'),
    ('long identity', options(identity='x' * 33), '--identity: has 33 bytes'),
    ('short EUI-64', options(eui64='00:05:c2:00:00:00:09'), '--eui64: has 7 bytes instead of 8'),
    ('zero EUI-64', options(eui64='0' * 16), "nobody's address"),
    ('EUI-64 of letters', options(eui64='zz' * 8), '--eui64: not an even number'),
    ('channel 10', options(channel='10'), '--channel'),
    ('channel 27', options(channel='27'), '--channel'),
    ('channel word', options(channel='x'), '--channel'),
    ('broadcast PAN', options(pan='ffff'), '--pan'),
    ('no PSK', options(psk=None), '--psk: every device needs its own'),
    ('short PSK', options(psk=PSK[:-2]), '--psk: has 15 bytes'),
    ('long PSK', options(psk=PSK * 3), '--psk: has 48 bytes'),
    ('PSK of half a digit', options(psk=PSK[:-1]), '--psk: not an even number'),
    ('PSK twice', options(psk_file='psk'), '--psk and --psk-file are both given'),
    ('no PSK file', options(psk=None, psk_file='nothing'), '--psk-file: cannot read'),
    ('short secret', options(secret=SECRET[:-2]), '--secret: has 31 bytes'),
    ('lamp without group', options(group=None), '--group: a lamp needs one'),
    ('group 0', options(group='0'), '--group'),
    ('group 65536', options(group='65536'), '--group'),
    ('lamp with prefix', options(prefix='fd00:1::/64'), '--prefix: a device gets its own'),
    ('lamp with short address', options(short_address='0100'), '--short-address: a device gets its own'),
    ('manager with PSK', manager(psk=PSK), '--psk: a manager has none'),
    ('manager with group', manager(group='1'), '--group: a manager has none'),
    ('manager without prefix', manager(prefix=None), '--prefix: a manager needs'),
    ('prefix of 48 bits', manager(prefix='fd00:1::/48'), '--prefix'),
    ('prefix with host bits', manager(prefix='fd00:1::1/64'), '--prefix'),
    ('link-local prefix', manager(prefix='fe80::/64'), '--prefix'),
    ('multicast prefix', manager(prefix='ff02::/64'), '--prefix'),
    ('short address of nobody', manager(short_address='fffe'), '--short-address'),
    ('unknown option', options() + ['--colour', 'red'], '--colour'),
    ('abbreviated option', options() + ['--sec', SECRET], '--sec'),
]


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        headed = b'OKOK' + struct.pack('<I', len(IMAGE)) + bytes(IMAGE)
        (folder / 'fw.bin').write_bytes(headed)
        (folder / 'raw.bin').write_bytes(IMAGE)
        (folder / 'short.bin').write_bytes(headed[:-1])
        (folder / 'zeros.bin').write_bytes(bytes(5000))
        (folder / 'long.bin').write_bytes(bytes(IMAGE) + bytes(24 * 4096))
        (folder / 'psk').write_text(PSK + '\n')

        for what, words, fields in (('lamp', options(), LAMP), ('raw image', options(image='raw.bin'), LAMP),
                                    ('PSK from a file', options(psk=None, psk_file='psk'), LAMP),
                                    ('manager', manager(), DM), ('manager with address', manager(short_address='0100'), DM)):
            done = run(folder, *words)
            check(what, done.returncode == 0, done.stderr)
            flash = (folder / 'out.bin').read_bytes()
            check(what, len(flash) == 0x20000, len(flash))
            check(what, flash[:len(headed)] == headed and set(flash[len(headed):0x1E000]) == {0xFF}, 'image')
            want = sector(fields)
            check(what, flash[0x1E000:0x1E000 + len(want)] == want, flash[0x1E000:0x1E100].hex())
            check(what, set(flash[0x1E000 + len(want):0x1F000]) == {0xFF}, 'rest of the sector')
            check(what, struct.unpack('<I', flash[0x1F000:0x1F004])[0] == 0xABC, 'calibration')
            check(what, PSK not in done.stdout + done.stderr and SECRET not in done.stdout + done.stderr, 'a key is printed')
            check(what, stat.S_IMODE(os.stat(str(folder / 'out.bin')).st_mode) == 0o600, 'others may read the keys')

        # Without one, a secret is drawn, and never the same one.
        drawn = set()
        for _ in range(3):
            check('secret', run(folder, *options(secret=None)).returncode == 0)
            drawn.add((folder / 'out.bin').read_bytes()[0x1E008 + 8 + 2:][:32])
        check('secret', len(drawn) == 3, drawn)
        done = run(folder, *options(psk=None, psk_file='-'), stdin=PSK)
        check('PSK from the input', done.returncode == 0, done.stderr)

        before = (folder / 'out.bin').read_bytes()
        for what, words, message in REFUSED:
            done = run(folder, *words)
            check(what, done.returncode == 1, done.returncode, done.stdout)
            check(what, done.stderr.startswith('provision: ') and done.stderr.count('\n') == 1, done.stderr)
            check(what, message in done.stderr, done.stderr)
            check(what, PSK[:-2] not in done.stderr and SECRET[:-2] not in done.stderr, 'a key is printed')
            check(what, (folder / 'out.bin').read_bytes() == before, 'the old file is gone')
    print('%d refusals, %d failures' % (len(REFUSED), len(failures)))
    return 1 if failures else 0


sys.exit(main())
