#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""peer.py, an implementation of docs/protocol.md that shares no code with the library, in one domain
with the iotsec program: it joins, reads and sends group messages, sees a device evicted and goes on,
without losses and with a fifth of its datagrams dropped; then one peer leaves and one is evicted.

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


# ---- The whole ---------------------------------------------------------------------------------

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


if __name__ == '__main__':
    main(__file__, self_tested, 'peer.py and iotsec understand each other')
