#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Devices of two makes, peer.py and the iotsec program, that refuse each other: who lies about its identity, has no generation
in common, or is evicted; and sessions that end in silence. IOTSEC_BIN names the program to test.
"""

import secrets

from test_pairs import Domain, check_no_message_twice, stopwatch, tell, tell_both_ways
from test_peer import PATIENCE_S, Program, main


def check_generations(domain, alpha, kilo, step):
    """One that hears no more from the manager, and others, who do."""
    recluse, mule = domain.start('peer', 'recluse'), domain.start('peer', 'mule', '--stubborn')
    domain.expect_shares(recluse, mule)
    recluse.program.say('hermit')
    mule.program.say('hermit')
    known = domain.generation
    tell_both_ways(alpha, recluse, 'before')
    domain.renew('--degree', 31)
    domain.expect_shares(alpha, kilo)
    tell_both_ways(alpha, recluse, 'in the old session')
    for one in (alpha, kilo):
        position = recluse.position()
        one.close(recluse)
        tell_both_ways(one, recluse, 'under the generation before')
        recluse.program.expect(f'^peer-open id={one.name} generation={known}$', 5, position)
        recluse.close(one)
        tell_both_ways(recluse, one, 'under the generation before, the other way')
    step('whoever has missed a renewal is talked to under the generation before')

    domain.renew()
    domain.expect_shares(alpha, kilo)
    alpha.program.expect('^peer-closed reason=GENERATION id=recluse', 5)
    kilo.program.expect('^peer-closed id=recluse reason=GENERATION', 5)
    for one, other, event in ((alpha, recluse, 'reason=GENERATION id=recluse'), (kilo, recluse, 'id=recluse reason=GENERATION'),
                              (recluse, alpha, 'id=alpha reason=GENERATION'), (recluse, kilo, 'id=kilo reason=GENERATION')):
        one.send(other, 'too old')
        one.program.expect(f'^peer-failed {event}', 15)
        other.program.never('too old')
    for device in (alpha, kilo):            # who goes on all the same gets no further
        mule.send(device, 'too old')
        mule.program.expect(f'^peer-failed id={device.name} reason=WRONG_PSK', 15)
        device.program.expect('^peer-refused (id=mule )?reason=GENERATION', 5)
        device.program.never('too old')
    tell_both_ways(alpha, kilo, 'under the newest')
    step('without a generation in common there is no session')


def devices_refuse(iotsec, folder):
    step = stopwatch()
    domain = Domain(iotsec, folder, ['alpha', 'kilo', 'lossy-p', 'zulu', 'fibber', 'mirror', 'mule', 'outcast', 'recluse'])
    # One of the iotsec devices stands before the peers in the order of identities, one behind them.
    alpha, zulu = domain.start('iotsec', 'alpha'), domain.start('iotsec', 'zulu')
    kilo, lossy_p = domain.start('peer', 'kilo'), domain.start('peer', 'lossy-p', '--loss', '0.2', '--seed', '6')
    everyone = [alpha, zulu, kilo, lossy_p]
    domain.expect_shares(*everyone)
    tell_both_ways(alpha, kilo, 'at first')

    # Lies.
    fibber = domain.start('peer', 'fibber', '--hello-identity', 'zulu')
    mirror = domain.start('peer', 'mirror', '--hello-identity', 'alpha')
    domain.expect_shares(fibber, mirror)
    fibber.send(alpha, 'zulu says hello')
    alpha.program.expect('^peer-refused reason=PEER_IDENTITY .*id=(fibber|zulu)', 10)
    fibber.program.expect('^peer-failed id=alpha reason=WRONG_PSK', 15)
    fibber.send(kilo, 'zulu says hello')
    kilo.program.expect('^peer-refused id=zulu reason=PEER_IDENTITY', 10)
    alpha.send(zulu, 'for zulu alone', at=fibber)
    alpha.program.expect('^peer-failed reason=WRONG_PSK id=zulu', 15)
    alpha.send(fibber, 'for whom?')
    alpha.program.expect('^peer-failed reason=PEER_IDENTITY id=fibber', 15)
    mirror.send(alpha, 'alpha says hello')
    alpha.program.expect('^peer-refused reason=PEER_IDENTITY id=alpha', 10)
    for device in (alpha, kilo):
        device.program.never('says hello')
    for device in (fibber, mirror):
        device.program.never('for zulu alone|for whom')
    stranger = Program('mirror', iotsec, 'dtls', 'client', '--connect', alpha.address, '--psk-identity', 'zulu', '--psk',
                       secrets.token_hex(32))
    alpha.program.expect('^peer-refused reason=UNKNOWN_IDENTITY', 10)
    stranger.ends(1, 15)
    stranger = Program('mirror', iotsec, 'dtls', 'client', '--connect', kilo.address, '--psk-identity', 'zulu', '--psk',
                       secrets.token_hex(32))
    kilo.program.expect('^peer-refused id=- reason=UNKNOWN_IDENTITY', 10)
    stranger.ends(1, 15)
    step('who names two identities, the other end\'s own, or none, is refused')

    check_generations(domain, alpha, kilo, step)

    # An evicted device that keeps its share.
    outcast = domain.start('peer', 'outcast', '--keep-share')
    domain.expect_shares(outcast)
    tell_both_ways(alpha, outcast, 'before the eviction')
    tell_both_ways(kilo, outcast, 'before the eviction')
    domain.evict(outcast)
    outcast.program.expect('^evicted', PATIENCE_S)
    alpha.program.expect('^peer-closed reason=REVOKED id=outcast', PATIENCE_S)
    kilo.program.expect('^peer-closed id=outcast reason=REVOKED', PATIENCE_S)
    lossy_p.program.expect(rf'^revoked generation={domain.generation} marks=1', PATIENCE_S)
    for device, refused in ((alpha, 'reason=REVOKED id=outcast'), (kilo, 'id=outcast reason=REVOKED')):
        position = outcast.position()
        outcast.send(device, 'let me in')
        device.program.expect(f'^peer-refused {refused}', 10)
        outcast.program.expect(f'^peer-failed id={device.name} reason=WRONG_PSK', 15, position)
        device.program.never('let me in')
    alpha.send(outcast, 'are you there?')
    alpha.program.expect('^refused what=send reason=REVOKED', 5)
    kilo.send(outcast, 'are you there?')
    kilo.program.expect('^error reason=REVOKED', 5)
    step('the evicted one still has its share, and is refused by all')

    # Silence.
    alpha.program.process.terminate()
    alpha.program.ends(0, 5)
    alpha = domain.start('iotsec', 'alpha', '--pair-idle', '2')
    domain.expect_shares(alpha)
    mark = kilo.position()
    tell(alpha, kilo, 'before a silence')
    alpha.program.expect('^peer-closed reason=TIMEOUT id=kilo', 10)
    kilo.program.expect('^peer-closed id=alpha reason=CLOSED', 5, mark)
    tell_both_ways(kilo, alpha, 'after a silence')
    step('an idle session is closed, and another one opened when there is something to say')
    check_no_message_twice([*everyone, alpha, fibber, mirror, outcast])


if __name__ == '__main__':
    main(__file__, devices_refuse, 'devices of both makes refuse each other for the right reasons')
