#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
Runs `iotsec dtls` against OpenSSL, GnuTLS and mbedTLS over loopback, each as client and as server, and
compares the table of what ran with docs/interop.md.

usage: test_matrix.py [--check | --update] [--row N[-M][,...]] [--jobs N] [--list] [-v]

    --check    (the default) fails when a row fails or docs/interop.md does not say what ran
    --update   writes docs/interop.md
    --row      runs these rows only and looks at no document
    --list     prints the rows and runs nothing
    -v         prints what every program said, of rows that passed too

The program under test is $IOTSEC_BIN (default build/iotsec), the mbedTLS peer lies in
$IOTSEC_BUILD_DIR/tests/interop.
"""
import argparse
import contextlib
import dataclasses
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

SOURCE = pathlib.Path(os.environ.get('IOTSEC_SOURCE_DIR', pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get('IOTSEC_BUILD_DIR', SOURCE / 'build'))
IOTSEC = os.environ.get('IOTSEC_BIN', str(BUILD / 'iotsec'))
MBEDTLS_PEER = str(BUILD / 'tests' / 'interop' / 'mbedtls_peer')
DOCUMENT = SOURCE / 'docs' / 'interop.md'

IDENTITY = 'lamp-17'
PSK = '000102030405060708090a0b0c0d0e0f'
OTHER_PSK = 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff'
OTHER_IDENTITY = 'nobody'

ROW_S = 20           # a row without losses
LOSSY_ROW_S = 90     # the peers' own timers double from one second on
WRONG_PSK_S = 10     # within this a wrong key is named

# What the peers' suite names look like in their output.
SUITES = {
    'CCM_8': dict(iotsec='CCM8', openssl='PSK-AES128-CCM8', gnutls='AES-128-CCM-8', mbedtls='TLS-PSK-WITH-AES-128-CCM-8'),
    'CCM': dict(iotsec='CCM', openssl='PSK-AES128-CCM', gnutls='AES-128-CCM', mbedtls='TLS-PSK-WITH-AES-128-CCM'),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. `role` is the peer's; iotsec is the other one."""
    peer: str
    role: str
    suite: str = 'CCM_8'
    cookie: str = 'yes'      # server's: yes, no; OpenSSL: 'stateless' too; iotsec: off, always, under-load
    ip: int = 6
    loss: str = '-'          # '20 %': iotsec drops; '20 % at the peer': mbedtls_peer drops; both until connected
    case: str = ''           # what is special about the row
    expect: str = 'data both ways'

    @property
    def needs_cid(self):
        """The peer has to know RFC 9146."""
        return self.case.startswith(('Connection ID for', 'Connection IDs both'))


CID_OF_PEER = 'c1d2e3f4'
PORT_CHANGES = ", the client's port changes"
EXPORTER = 'keying material exported'
EXPORTER_LABEL = 'EXPORTER-iotsec-csb'
EXPORTER_BYTES = 20


def all_rows():
    rows = []
    # The product: everything that both ends offer.
    for peer in ('openssl', 'gnutls', 'mbedtls'):
        for role in ('client', 'server'):
            if role == 'client':
                cookies = ('off', 'always', 'under-load')
            else:
                # openssl s_server always asks for a cookie; with -listen it keeps no state before it.
                cookies = {'openssl': ('yes', 'stateless'), 'gnutls': ('yes',), 'mbedtls': ('yes', 'no')}[peer]
            for suite in SUITES:
                for cookie in cookies:
                    for loss in ('-', '20 %'):
                        for ip in (6, 4):
                            rows.append(Row(peer, role, suite, cookie, ip, loss))
    # The other end's loss: the last flight is lost too, which our own stops short of.
    for role, cookies in (('client', ('off', 'always')), ('server', ('no', 'yes'))):
        for cookie in cookies:
            rows.append(Row('mbedtls', role, cookie=cookie, loss='20 % at the peer'))

    def special(peer, role, case, expect='data both ways', cookie=None):
        if cookie is None:
            cookie = 'always' if role == 'client' else 'yes'
        rows.append(Row(peer, role, cookie=cookie, case=case, expect=expect))

    for peer in ('openssl', 'gnutls', 'mbedtls'):
        for role in ('client', 'server'):
            special(peer, role, 'peer without extended master secret')
    # A server that refuses a hello keeps no state of it and has no name to give: the peer gets the alert.
    for peer in ('openssl', 'gnutls', 'mbedtls'):
        special(peer, 'client', 'peer without extended master secret, which iotsec requires', 'handshake_failure')
        special(peer, 'server', 'peer without extended master secret, which iotsec requires', 'NO_EMS')
    for role in ('client', 'server'):
        special('gnutls', role, 'peer without RFC 5746 signalling')
    special('gnutls', 'client', 'peer without RFC 5746 signalling, which iotsec requires', 'handshake_failure')
    special('gnutls', 'server', 'peer without RFC 5746 signalling, which iotsec requires', 'NO_RENEGOTIATION_INFO')
    special('gnutls', 'client', 'hello without any extension')
    special('gnutls', 'client', 'hello without any extension, which iotsec refuses', 'handshake_failure')
    special('openssl', 'server', 'session tickets enabled')
    special('openssl', 'client', 'max_fragment_length 512')
    special('openssl', 'server', 'max_fragment_length 512')
    for role in ('client', 'server'):
        special('mbedtls', role, 'max_fragment_length 512')
    special('mbedtls', 'server', 'handshake messages in fragments')
    for peer in ('openssl', 'gnutls', 'mbedtls'):
        for role in ('client', 'server'):
            special(peer, role, 'wrong PSK', 'WRONG_PSK')
    # Who does not know an identity looks as if it had another key: the client cannot tell.
    for peer in ('gnutls', 'mbedtls'):
        special(peer, 'server', 'identity unknown to the server', 'WRONG_PSK')
    for peer in ('openssl', 'gnutls', 'mbedtls'):
        special(peer, 'client', 'identity unknown to the server', 'UNKNOWN_IDENTITY')
    # Connection IDs: the server's alone, as our client wants it, and both ends'; the client's address changes under way.
    for role in ('client', 'server'):
        cases = ['Connection ID for the server'] + ['Connection IDs both ways'] * (role == 'client')
        for case in cases:
            special('mbedtls', role, case)
            special('mbedtls', role, case + PORT_CHANGES)
            rows.append(Row('mbedtls', role, 'CCM', 'always' if role == 'client' else 'no', case=case + PORT_CHANGES))
            rows.append(Row('mbedtls', role, cookie='off' if role == 'client' else 'yes', loss='20 %', case=case))
    for peer in ('openssl', 'gnutls', 'mbedtls'):
        special(peer, 'server', 'Connection ID offered, and not taken')
        special(peer, 'client', 'Connection IDs allowed, and not offered')
    # gnutls-serv and mbedTLS 2.28 have no way to export any.
    for peer, role in (('openssl', 'client'), ('openssl', 'server'), ('gnutls', 'client')):
        special(peer, role, EXPORTER)
    rows.append(Row('openssl', 'client', 'CCM', 'off', case=EXPORTER))
    rows.append(Row('openssl', 'client', cookie='off', loss='20 %', case=EXPORTER))
    return rows


class RowFailed(Exception):
    pass


class Program:
    """A child process whose lines are collected as they come."""

    def __init__(self, name, argv, env=None, directory=None):
        self.name = name
        self.argv = argv
        self.lines = []
        self.news = threading.Condition()
        self.closed = False
        try:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                            env=dict(os.environ, **(env or {})), cwd=directory)
        except OSError as error:
            raise RowFailed(f'cannot start {argv[0]}: {error.strerror}') from error
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.decode('utf-8', 'replace').rstrip('\r\n'))
                self.news.notify_all()
        with self.news:
            self.closed = True
            self.news.notify_all()

    def wait_for(self, pattern, deadline, what=None):
        """The first line that matches, whenever it came."""
        expression = re.compile(pattern)
        seen = 0
        with self.news:
            while True:
                for line in self.lines[seen:]:
                    match = expression.search(line)
                    if match:
                        return match
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if self.closed:
                    raise RowFailed(f'{self.name} ended without {what or repr(pattern)}')
                if left <= 0:
                    raise RowFailed(f'{self.name} has not said {what or repr(pattern)} in time')
                self.news.wait(left)

    def says(self, pattern):
        with self.news:
            return any(re.search(pattern, line) for line in self.lines)

    def tell(self, line):
        try:
            self.process.stdin.write(line.encode() + b'\n')
            self.process.stdin.flush()
        except OSError as error:
            raise RowFailed(f'{self.name} takes no input any more') from error

    def end_input(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def wait_end(self, deadline):
        """The exit status of a program that ends by itself."""
        try:
            status = self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise RowFailed(f'{self.name} has not ended in time') from error
        self.reader.join(5)
        return status

    def stop(self):
        """Ends it if it still runs; the exit status."""
        self.end_input()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(5)
        self.process.stdout.close()
        return self.process.returncode


class Ports:
    """Free ports: below the range that the system gives to clients, and none twice."""
    lock = threading.Lock()
    given = set()

    @classmethod
    def take(cls):
        while True:
            port = random.randrange(20000, 32000)
            with cls.lock:
                if port in cls.given:
                    continue
                cls.given.add(port)
            try:
                for family, address in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
                    with socket.socket(family, socket.SOCK_DGRAM) as probe:
                        if family == socket.AF_INET6:
                            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                        probe.bind((address, port))
            except OSError:
                continue
            return port


def seed_of(number):
    return str(1000 + number)


class Bench:
    """What a row's programs are started with."""

    def __init__(self, row, number, folder):
        self.row = row
        self.number = number
        self.folder = folder
        self.port = Ports.take()
        self.host = '::1' if row.ip == 6 else '127.0.0.1'
        self.end = f'[{self.host}]:{self.port}' if row.ip == 6 else f'{self.host}:{self.port}'
        self.suite = SUITES[row.suite]
        # The peer has the right secrets, unless the row is about wrong ones; iotsec always has its own.
        self.peer_psk = OTHER_PSK if row.case == 'wrong PSK' else PSK
        unknown = row.case == 'identity unknown to the server'
        self.client_identity = OTHER_IDENTITY if unknown else IDENTITY
        self.server_identity = IDENTITY

    # ---- iotsec ----

    def iotsec(self):
        if self.row.role == 'client':
            argv = [IOTSEC, 'dtls', 'server', '--listen', self.end, '--psk-identity', self.server_identity,
                    '--cookie', self.row.cookie]
        else:
            argv = [IOTSEC, 'dtls', 'client', '--connect', self.end, '--psk-identity', self.client_identity]
        argv += ['--psk', PSK, '--cipher', self.suite['iotsec']]
        if self.row.loss == '20 %':
            argv += ['--loss', '0.2', '--seed', seed_of(self.number), '--loss-until-connected']
            if self.row.role == 'server':
                argv += ['--timeout', '60']  # a stock server repeats after 1, 2, 4, 8 s, and only by its timer
        for what, option in (('extended master secret', '--require-ems'), ('RFC 5746', '--require-renegotiation-info'),
                             ('any extension', '--refuse-plain-hello')):
            if re.search(f'without {what}.*, which iotsec (requires|refuses)', self.row.case):
                argv += [option]
        if self.row.case.startswith('max_fragment_length') and self.row.role == 'server':
            argv += ['--max-fragment-length', '512']
        if self.row.case.startswith('Connection ID'):
            argv += ['--connection-id', 'on']
            if self.row.case.endswith(PORT_CHANGES) and self.row.role == 'server':
                argv += ['--rebind-after', '1']
        if self.row.case == EXPORTER:
            argv += ['--exporter']
        return Program('iotsec', argv)

    # ---- OpenSSL ----

    def openssl(self):
        case = self.row.case
        common = ['-dtls1_2', '-cipher', f"{self.suite['openssl']}:@SECLEVEL=0", '-psk', self.peer_psk]
        if case == EXPORTER:                # -brief would leave it out
            common += ['-keymatexport', EXPORTER_LABEL, '-keymatexportlen', str(EXPORTER_BYTES)]
        else:
            common += ['-brief']
        if self.row.role == 'client':
            argv = ['openssl', 's_client', '-connect', self.end, '-psk_identity', self.client_identity, '-nocommands']
            if case == 'max_fragment_length 512':
                argv += ['-maxfraglen', '512']
        else:
            argv = ['openssl', 's_server', '-accept', self.end, '-psk_identity', self.server_identity, '-nocert',
                    '-naccept', '1']
            if case != 'session tickets enabled':
                argv += ['-no_ticket']
            if self.row.cookie == 'stateless':
                argv += ['-listen']
        env = {}
        if 'without extended master secret' in case:
            # 3.0 has no option for it, only a configuration file.
            configuration = self.folder / 'openssl.cnf'
            configuration.write_text('openssl_conf = init\n[init]\nssl_conf = modules\n[modules]\nsystem_default = tls\n'
                                     '[tls]\nOptions = -ExtendedMasterSecret\n')
            env['OPENSSL_CONF'] = str(configuration)
        return Program('openssl', argv + common, env)

    # ---- GnuTLS ----

    def gnutls(self):
        case = self.row.case
        priority = f"NONE:+VERS-DTLS1.2:+PSK:+{self.suite['gnutls']}:+AEAD:+SIGN-ALL:+COMP-NULL"
        if 'without extended master secret' in case:
            priority += ':%NO_SESSION_HASH'
        if 'without RFC 5746' in case:
            priority += ':%DISABLE_SAFE_RENEGOTIATION'
        if 'hello without any extension' in case:
            priority += ':%NO_EXTENSIONS'
        if self.row.role == 'client':
            argv = ['gnutls-cli', '--udp', '--priority', priority, '--pskusername', self.client_identity,
                    '--pskkey', self.peer_psk, '--port', str(self.port), self.host]
            if case == EXPORTER:
                argv += [f'--keymatexport={EXPORTER_LABEL}', f'--keymatexportsize={EXPORTER_BYTES}']
            return Program('gnutls', argv)
        secrets = self.folder / 'psk.txt'
        secrets.write_text(f'{self.server_identity}:{self.peer_psk}\n')
        return Program('gnutls', ['gnutls-serv', '--udp', '--echo', '--port', str(self.port), '--pskpasswd', str(secrets),
                                  '--priority', priority])

    # ---- mbedTLS ----

    def mbedtls(self):
        case = self.row.case
        identity = self.client_identity if self.row.role == 'client' else self.server_identity
        argv = [MBEDTLS_PEER, self.row.role, f'address={self.host}', f'port={self.port}', f'identity={identity}',
                f'psk={self.peer_psk}', f"cipher={self.suite['iotsec']}"]
        if self.row.role == 'server':
            argv += ['cookie=' + ('on' if self.row.cookie == 'yes' else 'off')]
        if 'without extended master secret' in case:
            argv += ['ems=off']
        if case == 'max_fragment_length 512' and self.row.role == 'client':
            argv += ['mfl=512']
        if case == 'handshake messages in fragments':
            argv += ['mtu=90']
        if self.row.needs_cid:
            own = self.row.role == 'server' or 'both ways' in case
            argv += ['cid=' + (CID_OF_PEER if own else 'empty')]
            if case.endswith(PORT_CHANGES) and self.row.role == 'client':
                argv += ['rebind=1']
        if self.row.loss == '20 % at the peer':
            argv += ['loss=0.2', f'seed={seed_of(self.number)}']
        return Program('mbedtls', argv)

    def peer(self):
        return {'openssl': self.openssl, 'gnutls': self.gnutls, 'mbedtls': self.mbedtls}[self.row.peer]()


# What the programs print when they are ready, when a session stands, and when it was closed by the other end.
READY = {
    'iotsec': r'^listening\b',
    'openssl': None,  # says nothing with -brief
    'gnutls': r'listening on IPv6 .*done',
    'mbedtls': r'^listening$',
}
CONNECTED = {
    ('iotsec', 'client'): r'^connected\b',
    ('iotsec', 'server'): r'^connected\b',
    ('openssl', 'client'): r'^CONNECTION ESTABLISHED|^Keying material exporter:',
    ('openssl', 'server'): r'^Ciphersuite: |^Keying material exporter:',
    ('gnutls', 'client'): r'^- Handshake was completed',
    ('gnutls', 'server'): None,  # says nothing until data comes
    ('mbedtls', 'client'): r'^established suite=',
    ('mbedtls', 'server'): r'^established suite=',
}


def wait_until_bound(program, bench, deadline):
    """For servers that do not say when they listen. Trying to bind the port could come in their way."""
    table = pathlib.Path('/proc/net/udp6' if bench.row.ip == 6 else '/proc/net/udp')
    while time.monotonic() < deadline:
        if re.search(rf'^\s*\d+: [0-9A-F]+:{bench.port:04X} ', table.read_text(encoding='ascii'), re.M):
            return
        if program.process.poll() is not None:
            raise RowFailed(f'{program.name} ended before it listened')
        time.sleep(0.02)
    raise RowFailed(f'{program.name} does not listen')


def suite_line(program, suite):
    """What a program prints of the suite in use, None where it prints nothing."""
    return {
        'iotsec': rf"\bcipher={suite['iotsec']}\b",
        'openssl': rf"^Ciphersuite: {suite['openssl']}$|\b(?i:cipher) is {suite['openssl']}$",
        'gnutls': rf"^- Description: .*\({suite['gnutls']}\)$",
        'mbedtls': rf"^established suite={suite['mbedtls']}$",
    }[program]


def run_row(number, row):
    """Raises RowFailed; returns the programs for their logs."""
    programs = []
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='iotsec-interop-')))
        bench = Bench(row, number, folder)

        def started(program):
            programs.append(program)
            stack.callback(program.stop)
            return program

        try:
            exchange(bench, started)
        except RowFailed as failure:
            failure.programs = programs
            raise
    return programs


def exchange(bench, started):
    row = bench.row
    now = time.monotonic()
    deadline = now + (ROW_S if row.loss == '-' else LOSSY_ROW_S)
    start_server, start_client = bench.peer, bench.iotsec
    if row.role == 'client':
        start_server, start_client = start_client, start_server

    server = started(start_server())
    if READY[server.name]:
        server.wait_for(READY[server.name], now + 10, 'that it listens')
    else:
        wait_until_bound(server, bench, now + 10)
    client = started(start_client())
    ours, peer = (server, client) if row.role == 'client' else (client, server)

    if row.expect != 'data both ways':
        expect_refusal(row, ours, peer)
        return

    # An established session, with the suite of this row at both ends.
    for end, role in ((client, 'client'), (server, 'server')):
        if CONNECTED[end.name, role]:
            end.wait_for(CONNECTED[end.name, role], deadline, 'that it is connected')
            end.wait_for(suite_line(end.name, bench.suite), deadline, 'the suite of this row')
    ems = 'no' if re.search('without (extended master secret|any extension)', row.case) else 'yes'
    cid = 'yes' if row.needs_cid else 'no'
    if not ours.says(rf'^connected\b.* ems={ems} cid={cid}$'):
        raise RowFailed(f'iotsec does not say ems={ems} cid={cid}')

    if row.needs_cid:
        # iotsec's own have two bytes, and only when it is the server.
        own = CID_OF_PEER if row.role == 'server' or 'both ways' in row.case else ''
        given = '[0-9a-f]{4}' if row.role == 'client' else ''
        peer.wait_for(f'^connection-id own={own} peer={given}$', deadline, 'the Connection IDs of this row')

    if row.case == EXPORTER:
        exported = ours.wait_for(rf'^exported label={EXPORTER_LABEL} data=([0-9a-f]+)$', deadline, 'what it exports').group(1)
        theirs = peer.wait_for(r'(?i:keying|- key) material: ([0-9A-Fa-f]+)$', deadline, 'what it exports').group(1)
        if exported != theirs.lower() or len(exported) != 2 * EXPORTER_BYTES:
            raise RowFailed(f'iotsec exports {exported}, {peer.name} {theirs}')

    # Short, long, and a last one after the other end's timers had a chance to do harm.
    # gnutls-serv reads 128 bytes at a time and would answer a longer record with several.
    for index, size in enumerate((0, 100 if server.name == 'gnutls' else 400, 1)):
        # Without -brief, some first letters are commands to openssl; m is none.
        text = f'message {index} of row {bench.number} ' + 'x' * size
        text = text.rstrip()
        arrives = re.escape(text) + '$'
        client.tell(text)
        if server.name == 'openssl':
            # s_server has no echo that works for DTLS: what it printed is typed back.
            server.wait_for(arrives, deadline, f'message {index}')
            server.tell(text)
        client.wait_for(arrives, deadline, f'the answer to message {index}')

    if row.case.endswith(PORT_CHANGES):
        client.wait_for('^rebound\\b', deadline, 'that its port has changed')
        server.wait_for('^moved\\b', deadline, 'that the client has another port')

    # The client closes, the server sees it.
    client.end_input()
    status = client.wait_end(min(deadline, time.monotonic() + 10))
    if status != 0:
        raise RowFailed(f'{client.name} ended with status {status}')
    if server.name == 'iotsec':
        server.wait_for(r'^closed\b', min(deadline, time.monotonic() + 5), 'that the session was closed')
        if server.stop() != 0:
            raise RowFailed(f'iotsec ended with status {server.process.returncode} after SIGTERM')
    elif server.name in ('mbedtls', 'openssl'):
        if server.wait_end(min(deadline, time.monotonic() + 5)) != 0:
            raise RowFailed(f'{server.name} ended with status {server.process.returncode}')


def expect_refusal(row, ours, peer):
    """Our end names the reason in time, and the peer never believes that it is connected."""
    deadline = time.monotonic() + WRONG_PSK_S
    if ours.name != 'iotsec':
        raise AssertionError('ours is iotsec')
    if row.role == 'server':
        ours.wait_for(rf'^error: {row.expect}: ', deadline, f'"error: {row.expect}: "')
        if ours.wait_end(deadline) == 0:
            raise RowFailed('iotsec ended with status 0')
    elif row.expect == 'handshake_failure':
        peer.wait_for({'openssl': r'SSL alert number 40$', 'gnutls': r'Received alert \[40\]',
                       'mbedtls': r'^failed at=handshake code=-0x7780 '}[peer.name], deadline, 'that it got the alert')
    else:
        ours.wait_for(rf'^handshake-failed\b.*\breason={row.expect}\b', deadline,
                      f'"handshake-failed ... reason={row.expect}"')
    connected = CONNECTED[peer.name, row.role]
    if connected and peer.says(connected):
        raise RowFailed(f'{peer.name} believes that it is connected')
    if ours.says(CONNECTED['iotsec', 'client']):
        raise RowFailed('iotsec believes that it is connected')


# ---- The table ----

NAMES = {'openssl': 'OpenSSL', 'gnutls': 'GnuTLS', 'mbedtls': 'mbedTLS'}
TOOLS = {('openssl', 'client'): 'openssl s_client', ('openssl', 'server'): 'openssl s_server',
         ('gnutls', 'client'): 'gnutls-cli', ('gnutls', 'server'): 'gnutls-serv',
         ('mbedtls', 'client'): 'mbedtls_peer client', ('mbedtls', 'server'): 'mbedtls_peer server'}


def columns(number, row):
    return [str(number), TOOLS[row.peer, row.role], row.suite, row.cookie, f'IPv{row.ip}', row.loss, row.case or '-',
            row.expect]


def version_line():
    found = []
    for argv, pattern in ((['openssl', 'version'], r'^(OpenSSL \S+)'), (['gnutls-cli', '--version'], r'^gnutls-cli (\S+)'),
                          ([MBEDTLS_PEER, 'version'], r'^(mbedTLS \S+)')):
        text = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        match = re.search(pattern, text, re.M)
        if match:
            found.append(match.group(1) if ' ' in match.group(1) else f'GnuTLS {match.group(1)}')
    return 'Last written with ' + ', '.join(found) + '.'


VERSIONS = re.compile(r'^Last written with .*$', re.M)


def document(rows):
    lines = [
        '<!-- SPDX-License-Identifier: BSD-3-Clause -->',
        '<!-- Written by tests/interop/test_matrix.py --update; the test compares it with what ran. -->',
        '# Who completes a handshake with iotsec',
        '',
        'Every row was run over loopback: `iotsec dtls server` against the peer as client, `iotsec dtls client` against',
        'the peer as server. "data both ways" means: both ends report a session with the row\'s suite (`gnutls-serv` reports',
        'nothing), three messages of up to 400 bytes are sent by the client, echoed by the server and compared, and the client\'s',
        'close_notify is seen.',
        'A name in capitals means that iotsec gives that reason within 10 s and neither end is connected; `handshake_failure`',
        'that the peer got that alert and neither end is connected.',
        '',
        '- *Cookie*: what the server does. `off`, `always` and `under-load` are values of iotsec\'s `--cookie`. `openssl',
        '  s_server` always asks for a cookie; `stateless` is its `-listen`. `gnutls-serv` always asks for one.',
        '- *Loss*: datagrams dropped in each direction until connected, by iotsec (`--loss 0.2`) or by the peer.',
        '- `mbedtls_peer` is tests/interop/mbedtls_peer.c, linked from mbedTLS alone. Rows "Connection ID for" and "Connection',
        '  IDs both ways" run with mbedTLS 3.6 and are left out with 2.28, which knows a draft of RFC 9146 with another extension',
        '  number and another AAD, and is built without it in Debian. All other rows run with both.',
        '- *the client\'s port changes* after the first message; the other two arrive, and are echoed to the new port.',
        '- *keying material exported*: besides, both ends export the same 20 bytes (RFC 5705) under the label of',
        '  docs/protocol.md, section 14; `gnutls-serv` and mbedTLS 2.28 have no way to.',
        '',
        'Handshakes without extended master secret or RFC 5746 signalling, and hellos without extensions, are accepted by',
        '`iotsec dtls` by default and refused with `--require-ems`, `--require-renegotiation-info` and `--refuse-plain-hello`.',
        '',
        version_line(),
        '',
        '| No | Peer | Suite | Cookie | IP | Loss | Case | Result |',
        '|---:|---|---|---|---|---|---|---|',
    ]
    lines += ['| ' + ' | '.join(columns(number, row)) + ' |' for number, row in enumerate(rows, 1)]
    return '\n'.join(lines) + '\n'


def missing_peers():
    missing = []
    for tool, package in (('openssl', 'openssl'), ('gnutls-cli', 'gnutls-bin'), ('gnutls-serv', 'gnutls-bin')):
        if shutil.which(tool) is None:
            missing.append((tool.split('-')[0], f'{tool} is not installed (Debian: {package})'))
    if not os.access(MBEDTLS_PEER, os.X_OK):
        missing.append(('mbedtls', 'mbedtls_peer is not built (Debian: libmbedtls-dev)'))
    return missing


def mbedtls_has_cid():
    if not os.access(MBEDTLS_PEER, os.X_OK):
        return True
    done = subprocess.run([MBEDTLS_PEER, 'version'], capture_output=True, text=True, check=False)
    return 'connection-id yes' in done.stdout


def parse_numbers(text, count):
    numbers = []
    for part in text.split(','):
        first, _, last = part.partition('-')
        numbers += range(int(first), int(last or first) + 1)
    if not all(1 <= number <= count for number in numbers):
        raise SystemExit(f'test_matrix: rows are 1 to {count}')
    return numbers


def print_programs(programs):
    for program in programs:
        print(f'    $ {" ".join(program.argv)}')
        for line in program.lines[-25:]:
            print(f'    {program.name}: {line}')


def main():
    parser = argparse.ArgumentParser(description='interoperability over loopback')
    parser.add_argument('--check', action='store_true')
    parser.add_argument('--update', action='store_true')
    parser.add_argument('--row')
    parser.add_argument('--jobs', type=int, default=6)  # rows mostly wait for timers
    parser.add_argument('--list', action='store_true')
    parser.add_argument('-v', action='store_true')
    options = parser.parse_args()

    rows = all_rows()
    numbered = list(enumerate(rows, 1))
    if options.row:
        chosen = parse_numbers(options.row, len(rows))
        numbered = [(number, rows[number - 1]) for number in chosen]
    if options.list:
        for number, row in numbered:
            print(' | '.join(columns(number, row)))
        return 0
    if not os.access(IOTSEC, os.X_OK):
        print(f'test_matrix: no program at {IOTSEC}; build it, or set IOTSEC_BIN', file=sys.stderr)
        return 1
    absent = missing_peers()
    for _, why in absent:
        print(f'SKIP: {why}')
    numbered = [(number, row) for number, row in numbered if row.peer not in {peer for peer, _ in absent}]
    left_out = []
    if not mbedtls_has_cid():
        left_out = [number for number, row in numbered if row.needs_cid]
        numbered = [(number, row) for number, row in numbered if not row.needs_cid]
        if left_out:
            print(f'left out: rows {", ".join(map(str, left_out))}: this mbedTLS has no RFC 9146 (3.6 has)')

    failed = 0
    lock = threading.Lock()

    def one(item):
        nonlocal failed
        number, row = item
        started = time.monotonic()
        try:
            programs, why = run_row(number, row), None
        except RowFailed as failure:
            programs, why = failure.programs, str(failure)
        with lock:
            seconds = time.monotonic() - started
            print(f"{'FAIL' if why else 'PASS'} {' | '.join(columns(number, row))} ({seconds:.1f} s)", flush=True)
            if why:
                failed += 1
                print(f'    {why}')
            if why or options.v:
                print_programs(programs)

    # Rows with losses take longest: they go first, so that none is left alone at the end.
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, sorted(numbered, key=lambda item: item[1].loss == '-')))
    print(f'{len(numbered) - failed} of {len(numbered)} rows passed')
    if failed:
        return 1
    if options.row or absent:
        return 0

    text = document(rows)
    if options.update and left_out:
        print('docs/interop.md is written where every row runs: with mbedTLS 3.6')
        return 1
    if options.update:
        DOCUMENT.write_text(text)
        print(f'written: {DOCUMENT}')
        return 0
    committed = DOCUMENT.read_text() if DOCUMENT.exists() else ''
    if VERSIONS.sub('', committed) != VERSIONS.sub('', text):
        print('docs/interop.md is not what ran: write it with tests/interop/test_matrix.py --update')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
