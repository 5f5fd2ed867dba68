#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""peer.py, an implementation of docs/protocol.md that shares no code with the library, in one domain
with the iotsec program: it joins, reads and sends group messages, sees a device evicted and goes on,
without losses and with a fifth of its datagrams dropped; then one peer leaves and one is evicted. In a second
domain devices talk to each other, under polynomials of several degrees and generations, and with some that lie.

Every party runs on a host of its own: a network namespace on one bridge. The namespaces belong to a user
namespace, so that nobody needs to be root. IOTSEC_BIN names the program to test.
"""

import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEER = HERE / 'peer.py'
INSIDE = 'IOTSEC_TEST_PEER_INSIDE'

MANAGER = 'fd01::1'
PORT = 5684
GROUP = 1
GROUP_ADDRESS = 'ff15::101'
GROUP_PORT = 5683

PATIENCE_S = 30         # with whom drops a fifth: seven attempts in a row may fail, which is rare, and no fault


class Failure(Exception):
    pass


# ---- Hosts -------------------------------------------------------------------------------------

def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=20, check=False)
    if result.returncode:
        raise Failure(f'{" ".join(str(word) for word in command)}: exit {result.returncode}\n{result.stdout}{result.stderr}')
    return result.stdout


def enter_namespaces(script):
    """Runs a file again, as root of its own users, network, mounts and processes."""
    environment = dict(os.environ, **{INSIDE: '1'})
    command = ['unshare', '-rnmp', '--fork', '--kill-child', '--mount-proc', sys.executable, script]
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except FileNotFoundError:
        raise Failure('unshare (util-linux) is missing') from None


def make_bridge():
    run('mount', '-t', 'tmpfs', 'tmpfs', '/run')
    os.mkdir('/run/netns')
    # Without snooping the bridge needs no multicast router to learn who listens.
    run('ip', 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0')
    run('ip', 'link', 'set', 'br0', 'up')


def make_host(name, address):
    run('ip', 'netns', 'add', name)
    run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    run('ip', 'link', 'set', name, 'master', 'br0', 'up')
    inside = ('ip', 'netns', 'exec', name)
    run(*inside, 'sh', '-c', 'echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad')    # detection takes two seconds
    run(*inside, 'ip', 'address', 'add', f'{address}/64', 'dev', 'eth0', 'nodad')
    run(*inside, 'ip', 'link', 'set', 'eth0', 'up')
    run(*inside, 'ip', 'link', 'set', 'lo', 'up')


# ---- Programs ----------------------------------------------------------------------------------

class Program:
    """A process on a host: takes lines, and remembers the lines that it prints."""

    everyone = []

    def __init__(self, host, *command):
        self.host = host
        self.lines = []
        self.errors = tempfile.TemporaryFile('w+')
        self.news = threading.Condition()
        self.process = subprocess.Popen(['ip', 'netns', 'exec', host, *(str(word) for word in command)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        threading.Thread(target=self.listen, daemon=True).start()
        Program.everyone.append(self)

    def listen(self):
        started = time.monotonic()
        for line in self.process.stdout:
            with self.news:
                self.lines.append((time.monotonic() - started, line.rstrip('\n')))
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    def say(self, line):
        try:
            self.process.stdin.write(line + '\n')
            self.process.stdin.flush()
        except OSError:
            raise Failure(f'{self.host} has ended: it takes no "{line}"') from None

    def find(self, pattern, start=0):
        return next((match for _, line in self.lines[start:] if (match := re.search(pattern, line))), None)

    def expect(self, pattern, seconds, start=0):
        """The first line that matches, as soon as it is there."""
        with self.news:
            if not self.news.wait_for(lambda: self.find(pattern, start), seconds):
                raise Failure(f'{self.host} did not print /{pattern}/ within {seconds} s')
            return self.find(pattern, start)

    def never(self, pattern, start=0):
        if match := self.find(pattern, start):
            raise Failure(f'{self.host} should not have printed "{match.string}"')

    def noted(self, pattern):
        """Whether standard error has it; the program goes on writing where it is."""
        descriptor = self.errors.fileno()
        return re.search(pattern, os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors='replace'), re.M)

    def ends(self, status, seconds):
        try:
            got = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f'{self.host} did not end within {seconds} s') from None
        if got != status:
            raise Failure(f'{self.host} ended with {got} instead of {status}')

    def log(self):
        self.errors.seek(0)
        errors = self.errors.read().splitlines()
        return '\n'.join([f'--- {self.host}: {len(self.lines)} lines, exit status {self.process.poll()}'] +
                         [f'{when:8.3f} {line}' for when, line in self.lines[-60:]] +
                         [f'--- {self.host}: end of standard error'] * bool(errors) + errors[-40:])


def talk(speaker, listeners, text):
    """The speaker says something until all have heard it, each time in other words: a group message is sent once,
    and may get lost."""
    waiting = {listener: None for listener in listeners}
    for attempt in range(1, 16):
        speaker.say(f'group {GROUP} {text} {attempt}')
        deadline = time.monotonic() + 0.7
        while time.monotonic() < deadline and any(not heard_it for heard_it in waiting.values()):
            for listener in waiting:
                waiting[listener] = listener.find(rf'^group gid={GROUP} .*text="{text} \d+"$')
            time.sleep(0.02)
        if all(waiting.values()):
            return waiting
    deaf = ', '.join(listener.host for listener, heard_it in waiting.items() if not heard_it)
    raise Failure(f'{deaf} did not hear "{text}" from {speaker.host}')


def check_no_duplicates(program):
    texts = [line for _, line in program.lines if line.startswith('group ')]
    for line in texts:
        if texts.count(line) > 1:
            raise Failure(f'{program.host} delivered twice: {line}')


# ---- The test ----------------------------------------------------------------------------------

def scenario(iotsec, folder):
    began = time.monotonic()

    def step(text):
        print(f'{time.monotonic() - began:6.2f} s  {text}', flush=True)

    make_bridge()
    hosts = ['manager', 'lamp', 'switch', 'peer', 'lossy', 'liar']
    for number, name in enumerate(hosts, 1):
        make_host(name, f'fd01::{number}')
    step('hosts are up')

    database = folder / 'domain.db'
    run(iotsec, 'manager', 'init', database)
    run(iotsec, 'manager', 'group', 'add', database, GROUP, '--address', GROUP_ADDRESS, '--port', GROUP_PORT)
    psk_files = {}
    for name in hosts[1:]:
        psk_files[name] = folder / f'{name}.psk'
        psk_files[name].touch(0o600)
        psk_files[name].write_text(secrets.token_hex(16) + '\n')
        run(iotsec, 'manager', 'device', 'add', database, name, '--psk-file', psk_files[name], '--group', GROUP)
    psk_files['liar'].write_text(secrets.token_hex(16) + '\n')

    def device(name):
        return Program(name, iotsec, 'device', '--manager', f'[{MANAGER}]:{PORT}', '--id', name,
                       '--psk-file', psk_files[name], '--group', GROUP, '--interface', 'eth0')

    def peer(name, *more):
        return Program(name, PEER, '--manager', f'[{MANAGER}]:{PORT}', '--id', name, '--psk-file', psk_files[name],
                       '--group', GROUP, '--interface', 'eth0', '--verbose', *more)

    Program('manager', iotsec, 'manager', 'serve', database, '--listen', f'[{MANAGER}]:{PORT}', '--cookie', 'always')
    lamp, switch = device('lamp'), device('switch')
    lamp.expect('^joined', 10)
    switch.expect('^joined', 10)
    step('two devices have joined')

    clean, lossy, liar = peer('peer'), peer('lossy', '--loss', '0.2', '--seed', '7'), peer('liar')
    first = clean.expect(rf'^group-joined gid={GROUP} sender=(\d+) key=0x(\w+)$', 10)
    lossy.expect(rf'^group-joined gid={GROUP} ', PATIENCE_S)
    step(f'both peers have joined, one as sender {first[1]} under key 0x{first[2]}')

    everyone = [lamp, switch, clean, lossy]
    for speaker in everyone:
        listeners = [program for program in everyone if program is not speaker]
        talk(speaker, listeners, f'from {speaker.host}')
        step(f'{speaker.host} is heard by all')
    said = clean.find(rf'^group gid={GROUP} sender=(\d+) text="from lossy')[1]
    if f'sender={said} ' not in lossy.find('^group-joined .*')[0]:
        raise Failure(f'lossy sends as {said}, which the manager did not assign')

    clean.say('status')
    lossy.say('status')
    for program in (clean, lossy):
        program.expect(rf'^status gid={GROUP} result=DONE$', PATIENCE_S)
    liar.expect('^error reason=WRONG_PSK$', 15)
    liar.ends(1, 2)
    step('the manager agrees with both; a peer with a wrong key has found out')

    run(iotsec, 'manager', 'device', 'evict', database, 'switch')
    switch.expect('^evicted', 5)
    for program in (clean, lossy):
        program.expect(rf'^group-key gid={GROUP} key=0x2\w\w$', PATIENCE_S)
    step('the switch is evicted, and the peers have keys of another generation')

    remaining = [lamp, clean, lossy]
    for speaker in remaining:
        talk(speaker, [program for program in remaining if program is not speaker], f'later from {speaker.host}')
        step(f'{speaker.host} is heard by the others')
    if switch.find('later from'):
        raise Failure('the switch was evicted and still reads')

    clean.say('leave')
    clean.expect('^left$', 10)
    clean.ends(0, 2)
    lossy.expect(rf'^group-key gid={GROUP} key=0x3\w\w$', PATIENCE_S)
    run(iotsec, 'manager', 'device', 'evict', database, 'lossy')
    lossy.expect('^evicted$', PATIENCE_S)
    step('one peer has left, one was evicted')

    for program in everyone:
        check_no_duplicates(program)


# ---- Devices among themselves ------------------------------------------------------------------

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


def devices_talk(iotsec, folder):
    began = time.monotonic()

    def step(text):
        print(f'{time.monotonic() - began:6.2f} s  {text}', flush=True)

    names = ['alpha', 'kilo', 'lossy-i', 'lossy-p', 'zulu', 'fibber', 'mirror', 'mule', 'outcast', 'recluse']
    domain = Domain(iotsec, folder, names)
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


def run_scenario(script, scenario, done):
    """Runs a scenario on hosts of its own, with the program that IOTSEC_BIN names. Returns the exit status."""
    iotsec = os.environ.get('IOTSEC_BIN')
    if not iotsec or not os.access(iotsec, os.X_OK):
        print(f'FAILED: IOTSEC_BIN does not name the iotsec program: {iotsec}')
        return 1
    if INSIDE not in os.environ:
        return enter_namespaces(script)
    with tempfile.TemporaryDirectory(prefix='iotsec-interop-') as folder:
        try:
            scenario(Path(iotsec).resolve(), Path(folder))
        except Exception:
            for program in Program.everyone:
                print(program.log())
            raise
        finally:
            for program in Program.everyone:
                program.process.terminate()
    print(done)
    return 0


def main(script, scenario, done):
    try:
        sys.exit(run_scenario(script, scenario, done))
    except Failure as failure:
        print(f'FAILED: {failure}')
        sys.exit(1)


def self_tested(iotsec, folder):
    print(run(PEER, '--self-test'), end='', flush=True)
    scenario(iotsec, folder)
    for program in Program.everyone:
        program.process.terminate()
    Program.everyone.clear()
    devices_talk(iotsec, folder)


if __name__ == '__main__':
    main(__file__, self_tested, 'peer.py and iotsec understand each other')
