#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Join proxies and registrars of other make. A stateless proxy and a small registrar in Python (join_proxy.py) speak
draft-ietf-anima-constrained-join-proxy's array form:

    iotsec device, peer.py --- join_proxy.py proxy --- iotsec manager      both join, move, and leave the proxy behind
    iotsec dtls client --- iotsec relay --- join_proxy.py registrar --- openssl s_server
    iotsec dtls client --- iotsec relay (stateful) --- openssl s_server
    openssl s_client --- join_proxy.py proxy --- iotsec dtls server --relayed

Who joins has a link-local address alone until it has joined. IOTSEC_BIN names the program to test.
"""

import secrets
import shutil
import time
from pathlib import Path

from test_peer import (Failure, GROUP, GROUP_ADDRESS, GROUP_PORT, MANAGER, PEER, PORT, Program, check_no_duplicates, main,
                       make_bridge, make_host, run, talk)

PROXY_SCRIPT = Path(__file__).resolve().parent / 'join_proxy.py'
PROXY = 'fe80::2'
IDENTITY = 'lamp-17'
PSK = '000102030405060708090a0b0c0d0e0f'


def inside(host, *command):
    return run('ip', 'netns', 'exec', host, *command)


def connect(host, interface, link_local):
    inside(host, 'sh', '-c', f'echo 0 >/proc/sys/net/ipv6/conf/{interface}/accept_dad')
    run('ip', '-n', host, 'link', 'set', interface, 'addrgenmode', 'none', 'up')
    run('ip', '-n', host, 'address', 'add', f'{link_local}/64', 'dev', interface, 'nodad')


def make_network():
    """manager --- eth0 proxy eth1 --- lamp, peer"""
    make_bridge()
    make_host('manager', MANAGER)
    make_host('proxy', 'fd01::2')
    run('ip', 'link', 'add', 'br1', 'type', 'bridge', 'mcast_snooping', '0')
    run('ip', 'link', 'set', 'br1', 'up')
    joiners = {'lamp': 0x11, 'peer': 0x12}
    for host, interface in (('proxy', 'eth1'), ('lamp', 'eth0'), ('peer', 'eth0')):
        if host != 'proxy':
            run('ip', 'netns', 'add', host)
            run('ip', '-n', host, 'link', 'set', 'lo', 'up')
        run('ip', 'link', 'add', f'{host}-1', 'type', 'veth', 'peer', 'name', interface, 'netns', host)
        run('ip', 'link', 'set', f'{host}-1', 'master', 'br1', 'up')
        connect(host, interface, PROXY if host == 'proxy' else f'fe80::{joiners[host]:x}')
    inside('proxy', 'sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding')
    for host, identifier in joiners.items():
        run('ip', '-n', host, 'route', 'add', f'{MANAGER}/128', 'via', PROXY, 'dev', 'eth0')
        run('ip', '-n', 'manager', 'route', 'add', f'fd01::{identifier:x}/128', 'via', 'fd01::2')
        run('ip', '-n', 'proxy', 'route', 'add', f'fd01::{identifier:x}/128', 'dev', 'eth1')


def end(*programs):
    for program in programs:
        program.process.terminate()
        program.process.wait(5)


# ---- A proxy that is not ours ------------------------------------------------------------------

def join_through_proxy(iotsec, folder, step):
    database = folder / 'domain.db'
    run(iotsec, 'manager', 'init', database)
    run(iotsec, 'manager', 'access', database, '--address', f'[{MANAGER}]:{PORT}', '--prefix', 'fd01::/64', '--pan', '0xbeef')
    run(iotsec, 'manager', 'group', 'add', database, GROUP, '--address', GROUP_ADDRESS, '--port', GROUP_PORT)
    psk_files = {}
    for name in ('lamp', 'peer'):
        psk_files[name] = folder / f'{name}.psk'
        psk_files[name].touch(0o600)
        psk_files[name].write_text(secrets.token_hex(16) + '\n')
        run(iotsec, 'manager', 'device', 'add', database, name, '--psk-file', psk_files[name], '--group', GROUP)
    manager = Program('manager', iotsec, 'manager', 'serve', database, '--listen', f'[{MANAGER}]:{PORT}', '--cookie', 'always')
    manager.expect('^serving ', 5)
    proxy = Program('proxy', PROXY_SCRIPT, 'proxy', f'[::]:{PORT}', 'eth1', f'[{MANAGER}]:{PORT}')
    proxy.expect('^proxy listens', 5)

    common = ['--manager', f'[{PROXY}%eth0]:{PORT}', '--group', GROUP, '--interface', 'eth0', '--configure-address']
    lamp = Program('lamp', iotsec, 'device', '--id', 'lamp', '--psk-file', psk_files['lamp'], *common)
    peer = Program('peer', PEER, '--id', 'peer', '--psk-file', psk_files['peer'], '--verbose', '--connection-id', 'c0ffee',
                   *common)
    for name, program, identifier in (('lamp', lamp, 0x11), ('peer', peer, 0x12)):
        program.expect(rf'^group-joined gid={GROUP} ', 15)
        manager.expect(rf'^device-joined id={name} .*via=relay', 5)
        program.expect('^moved', 15)
        manager.expect(rf'^moved id={name} addr=\[fd01::{identifier:x}\]:', 5)
    access = peer.expect(r'^access l2=1 index=1 use=1 l2_key=(\w{32}) pan=0xbeef short=\w+ prefix=fd01:: '
                         rf'manager=\[{MANAGER}\]:{PORT}$', 1)
    lamp.expect('^access prefix=fd01::/64 address=fd01::11 pan=0xbeef ', 1)
    step('a device and the independent peer have joined through a foreign proxy, and moved')

    # From here on the proxy is of no use to anybody.
    end(proxy)
    if proxy.find('^dropped'):
        raise Failure('the manager sent the proxy something that it does not know')
    passed = len(proxy.lines)
    talk(lamp, [peer], 'from lamp')
    talk(peer, [lamp], 'from peer')
    peer.say('status')
    peer.expect(rf'^status gid={GROUP} result=DONE$', 10)
    step('the proxy has gone, and they go on')

    # Another port, without a word: the manager follows when it has heard of the device, and tells it a new key there.
    count = len(manager.lines)
    peer.say('rebind')
    peer.say('status')
    manager.expect(r'^moved id=peer addr=\[fd01::12\]:', 10, count)
    run(iotsec, 'manager', 'device', 'evict', database, 'lamp')
    lamp.expect('^evicted', 5)
    peer.expect(rf'^group-key gid={GROUP} key=0x2\w\w$', 10)
    renewed = peer.expect(r'^access l2=2 index=2 use=1 l2_key=(\w{32}) ', 10)
    if renewed[1] == access[1]:
        raise Failure('the L2 key after an eviction is the one before')
    if peer.find('^disconnected') or peer.find('NOT_MOVED') or len([1 for _, line in peer.lines if line == 'connected']) != 1:
        raise Failure('the peer needed a second session')
    for program in (lamp, peer):
        check_no_duplicates(program)
    if len(proxy.lines) != passed:
        raise Failure('the proxy was used after the move')
    step('a peer that changed its port got new keys after an eviction, in the same session')
    end(lamp, peer, manager)


# ---- A registrar that is not ours --------------------------------------------------------------

def openssl(port):
    server = Program('manager', 'openssl', 's_server', '-dtls1_2', '-accept', f'[::]:{port}', '-cipher',
                     'PSK-AES128-CCM8:@SECLEVEL=0', '-psk', PSK, '-psk_identity', IDENTITY, '-nocert', '-no_ticket', '-quiet')
    deadline = time.monotonic() + 5
    while f':{port:04X} ' not in inside('manager', 'cat', '/proc/net/udp6'):
        if time.monotonic() > deadline:
            raise Failure('openssl s_server does not listen')
        time.sleep(0.05)
    return server


def through_relay(iotsec, server, text):
    # Who only talks gives its events to standard error.
    client = Program('lamp', 'sh', '-c', 'exec "$@" 2>&1', 'sh', iotsec, 'dtls', 'client', '--connect',
                     f'[{PROXY}%eth0]:{PORT}', '--psk-identity', IDENTITY, '--psk', PSK)
    client.expect('^connected ', 10)
    client.say(f'{text} to the server')
    server.expect(f'{text} to the server$', 5)
    server.say(f'{text} to the client')
    client.expect(f'{text} to the client$', 5)
    end(client)


def relay_to_registrar(iotsec, step):
    server = openssl(7001)
    registrar = Program('manager', PROXY_SCRIPT, 'registrar', f'[::]:{PORT}', '[::1]:7001')
    registrar.expect('^registrar listens', 5)
    relay = Program('proxy', iotsec, 'relay', '--interface', 'eth1', '--manager', f'[{MANAGER}]:{PORT}', '--open', 'always')
    relay.expect('^relay-open', 5)
    through_relay(iotsec, server, 'wrapped')
    headers = {line.split()[1] for _, line in registrar.lines if line.startswith(('up ', 'down '))}
    if registrar.find('^dropped') or len(headers) != 1:
        raise Failure('the relay changes its headers, or sends something else')
    end(relay, registrar, server)
    step('our relay works with a registrar that is not ours')

    server = openssl(7002)
    relay = Program('proxy', iotsec, 'relay', '--interface', 'eth1', '--manager', f'[{MANAGER}]:7002', '--open', 'always',
                    '--mode', 'stateful')
    relay.expect('^relay-open', 5)
    through_relay(iotsec, server, 'plain')
    end(relay, server)
    step('and, stateful, with a server that knows nothing of relays')


def proxy_to_server(iotsec, step):
    server = Program('manager', iotsec, 'dtls', 'server', '--listen', f'[::]:{PORT}', '--psk-identity', IDENTITY, '--psk', PSK,
                     '--cookie', 'always', '--relayed')
    server.expect('^listening ', 5)
    proxy = Program('proxy', PROXY_SCRIPT, 'proxy', f'[::]:{PORT}', 'eth1', f'[{MANAGER}]:{PORT}')
    proxy.expect('^proxy listens', 5)
    client = Program('lamp', 'openssl', 's_client', '-dtls1_2', '-connect', f'[{PROXY}%eth0]:{PORT}', '-cipher',
                     'PSK-AES128-CCM8:@SECLEVEL=0', '-psk', PSK, '-psk_identity', IDENTITY, '-quiet')
    server.expect('^connected .*via=relay', 10)
    client.say('through a proxy')
    client.expect('^through a proxy$', 5)
    end(client, proxy, server)
    step('a foreign client reaches our server through a foreign proxy')


# ---- The test ----------------------------------------------------------------------------------

def scenario(iotsec, folder):
    began = time.monotonic()

    def step(text):
        print(f'{time.monotonic() - began:6.2f} s  {text}', flush=True)

    make_network()
    step('hosts are up')
    join_through_proxy(iotsec, folder, step)
    if shutil.which('openssl') is None:
        print('SKIP: openssl is not installed')
        return
    relay_to_registrar(iotsec, step)
    proxy_to_server(iotsec, step)


if __name__ == '__main__':
    main(__file__, scenario, 'foreign proxies and registrars work with iotsec')
