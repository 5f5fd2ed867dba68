#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Devices that talk to each other, some of them peer.py (test_peer.py has more on it) and some the iotsec program, under
polynomials of several degrees and generations. IOTSEC_BIN names the program to test.
"""

import time

from test_peer import GROUP, GROUP_ADDRESS, GROUP_PORT, PATIENCE_S, PEER, PORT, Failure, Program, main, make_bridge, make_host, run

HOME = 'fd01::40'
UNICAST_PORT = 5690


class Device:
    """A program that is a device, and how it is reached."""

    def __init__(self, program, address):
        self.program = program
        self.name = program.host
        self.address = f'[{address}]:{UNICAST_PORT}'

    def send(self, other, text, at=None):
        self.program.say(f'send {other.name}@{(at or other).address} {text}')

    def close(self, other):
        self.program.say(f'close {other.name}')

    def position(self):
        return len(self.program.lines)


def tell(speaker, listener, text):
    """A message may get lost, like those to a group: it is said until it was heard, in other words."""
    for attempt in range(1, 26):
        speaker.send(listener, f'{text} {attempt}')
        try:
            listener.program.expect(rf'^message from={speaker.name} .*text="{text} \d+"', 0.8)
            return
        except Failure:
            pass
    raise Failure(f'{listener.name} did not hear "{text}" from {speaker.name}')


def tell_both_ways(one, other, text):
    tell(one, other, f'{text}, {one.name} to {other.name}')
    tell(other, one, f'{text}, {other.name} to {one.name}')


def check_no_message_twice(devices):
    for device in devices:
        lines = [line for _, line in device.program.lines if line.startswith('message ')]
        for line in lines:
            if lines.count(line) > 1:
                raise Failure(f'{device.name} delivered twice: {line}')


class Domain:
    """A domain with a polynomial."""

    def __init__(self, iotsec, folder, names):
        self.iotsec = iotsec
        self.folder = folder
        self.database = folder / 'pairs.db'
        self.generation = 0
        self.addresses = {name: f'fd01::{number}' for number, name in enumerate(names, 41)}
        make_bridge()
        make_host('home', HOME)
        for name, address in self.addresses.items():
            make_host(name, address)
        run(iotsec, 'manager', 'init', self.database)
        run(iotsec, 'manager', 'group', 'add', self.database, GROUP, '--address', GROUP_ADDRESS, '--port', GROUP_PORT)
        for name in names:
            run(iotsec, 'manager', 'device', 'add', self.database, name, '--psk-out', folder / f'{name}.pairs',
                '--group', GROUP)
        self.renew('--degree', 1)
        Program('home', iotsec, 'manager', 'serve', self.database, '--listen', f'[{HOME}]:{PORT}')

    def start(self, kind, name, *more):
        program = [self.iotsec, 'device', '-v'] if kind == 'iotsec' else [PEER, '--verbose']
        return Device(Program(name, *program, '--manager', f'[{HOME}]:{PORT}', '--id', name, '--psk-file',
                              self.folder / f'{name}.pairs', '--group', GROUP, '--interface', 'eth0',
                              '--listen', f'[::]:{UNICAST_PORT}', *more), self.addresses[name])

    def renew(self, *options):
        run(self.iotsec, 'manager', 'poly', 'renew', self.database, *options)
        self.generation += 1

    def expect_shares(self, *devices):
        for device in devices:
            device.program.expect(rf'^share generation={self.generation}\b', PATIENCE_S)

    def evict(self, device):
        run(self.iotsec, 'manager', 'device', 'evict', self.database, device.name)


def stopwatch():
    began = time.monotonic()

    def step(text):
        print(f'{time.monotonic() - began:6.2f} s  {text}', flush=True)

    return step


def devices_talk(iotsec, folder):
    step = stopwatch()
    domain = Domain(iotsec, folder, ['alpha', 'kilo', 'lossy-i', 'lossy-p', 'zulu'])
    # One of the iotsec devices stands before the peers in the order of identities, one behind them.
    alpha, zulu, lossy_i = (domain.start('iotsec', name, *more) for name, *more in
                            (('alpha',), ('zulu',), ('lossy-i', '--loss', '0.2', '--seed', '5')))
    kilo, lossy_p = domain.start('peer', 'kilo'), domain.start('peer', 'lossy-p', '--loss', '0.2', '--seed', '6')
    everyone = [alpha, zulu, lossy_i, kilo, lossy_p]
    domain.expect_shares(*everyone)
    step('all have their share of a polynomial of degree 1')
    pairs = [(alpha, kilo), (kilo, zulu), (lossy_p, alpha), (zulu, lossy_p), (lossy_i, kilo), (kilo, lossy_p)]
    for one, other in pairs:
        tell_both_ways(one, other, 'at first')
    step('each kind of pair has talked both ways, also with a fifth of the datagrams lost')

    # Another identity than the expected one: nothing is said to it.
    for speaker, expected, at in ((alpha, zulu, kilo), (kilo, zulu, alpha)):
        speaker.send(expected, 'not for you', at=at)
        speaker.program.expect(rf'^peer-failed (id={expected.name} )?reason=PEER_IDENTITY\b', 15)
        at.program.never('not for you')
    step('who sits at another device\'s address is not told anything')

    for one, other in ((alpha, kilo), (kilo, zulu)):
        for attempt in range(5):
            one.close(other)
            one.program.expect(rf'^(peer-)?closed id={other.name}\b', 5)
            time.sleep(0.1)
            marks = one.position(), other.position()
            one.send(other, f'both at once {attempt}')
            other.send(one, f'both at once {attempt}')
            one.program.expect(rf'^message from={other.name} .*at once {attempt}"', 10, marks[0])
            other.program.expect(rf'^message from={one.name} .*at once {attempt}"', 10, marks[1])
            tell_both_ways(one, other, f'after both at once {attempt}')
    step('both at once, five times with the peer before and behind the other in the order')

    # Who begins while somebody else has begun has to show its address.
    for one, other in ((alpha, kilo), (kilo, alpha)):
        one.close(other)
        lossy_p.program.say(f'knock {other.name}@{other.address}')
        lossy_p.program.say(f'knock {other.name}@{other.address}')
        time.sleep(0.3)
        tell(one, other, 'with a cookie')
    if not kilo.program.noted(r'a cookie for'):
        raise Failure('kilo asked nobody for a cookie')
    if not kilo.program.noted(rf' < {alpha.address[1:-6]} {UNICAST_PORT} 16fe[fd][fd]0000.{{12}}....03'):
        raise Failure('kilo was asked for no cookie')
    step('a cookie is wanted while somebody else\'s handshake is half open')

    # A polynomial with an overlap, and one without, while they talk.
    domain.renew('--degree', 31)
    tell_both_ways(alpha, kilo, 'while it is renewed')
    domain.expect_shares(*everyone)
    for one, other in pairs:
        tell_both_ways(one, other, 'under degree 31')
    alpha.program.never('peer-closed .*GENERATION')
    step('a gentle renewal, to degree 31: sessions go on')
    alpha.close(kilo)
    alpha.program.expect('^closed id=kilo', 5)
    marks = alpha.position(), kilo.position()
    tell_both_ways(kilo, alpha, 'in a new session')
    kilo.program.expect('^peer-open id=alpha generation=2$', 5, marks[1])
    domain.renew('--degree', 255, '--no-overlap')
    tell_both_ways(alpha, kilo, 'while it is renewed again')
    domain.expect_shares(*everyone)
    for device, other in ((alpha, kilo), (kilo, alpha)):    # one of them is the first to close, and the other one hears it
        device.program.expect(f'^peer-closed (id={other.name} )?reason=(GENERATION|CLOSED)', 5)
    if not any(device.program.find('^peer-closed .*GENERATION') for device in (alpha, kilo)):
        raise Failure('nobody has closed a session because of its generation')
    for one, other in pairs:
        tell_both_ways(one, other, 'under degree 255')
    kilo.program.expect('^peer-open id=alpha generation=3$', 5)
    step('a renewal without an overlap, to degree 255: sessions end, and others begin')

    # A device that was killed comes back with nothing, where it was.
    alpha.program.process.kill()
    alpha.program.process.wait()
    alpha = domain.start('iotsec', 'alpha')
    domain.expect_shares(alpha)
    tell_both_ways(alpha, kilo, 'after a restart')
    step('a device that had lost everything has taken its session\'s place')
    check_no_message_twice([*everyone, alpha])


if __name__ == '__main__':
    main(__file__, devices_talk, 'devices of both makes talk to each other')
