#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
tshark, which knows nothing of us, reads what we send: handshakes as DTLS 1.2 without an error, application
data decrypted with the PSK and with our key log, a whole join with group records, the CoAP requests
that a group gets, and what two devices say to each other.

usage: test_tshark.py

Needs no capture rights: a forwarder writes down what passes. The group part needs an interface that
carries multicast, so everything runs in a network namespace of its own. The program under test is
$IOTSEC_BIN (default build/iotsec).
"""
import os
import pathlib
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

from capture import Forwarder, ipv6_udp, write_pcap

SOURCE = pathlib.Path(__file__).resolve().parents[2]
IOTSEC = os.environ.get('IOTSEC_BIN', str(SOURCE / 'build' / 'iotsec'))
IDENTITY = 'lamp-17'
PSK = '000102030405060708090a0b0c0d0e0f'
GROUP = ('ff15::101', 5683)
OURS = 'fd01::1'

DEVICE_IDENTITY = 0xFF11
EXPERT_WARN = 0x600000  # tshark's severities: comment, chat, note, warning, error
HELLO_VERIFIED = [1, 3, 1, 2, 14, 16]  # handshake types in the clear: ClientHello to ClientKeyExchange
HELLO = [1, 2, 14, 16]


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)
    print(f'ok: {what}', flush=True)


# ---- tshark ----

def fields(pcap, names, port, *options):
    """One list of values a packet: what tshark found in these fields."""
    argv = ['tshark', '-r', str(pcap), '-d', f'udp.port=={port},dtls', '-T', 'fields', '-E', 'occurrence=a']
    for name in names:
        argv += ['-e', name]
    done = subprocess.run(argv + list(options), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f'tshark: {done.stderr.strip()}')
    return [line.split('\t') for line in done.stdout.splitlines()]


def numbers(packets):
    return [int(value, 0) for packet in packets for field in packet for value in field.split(',') if value]


def messages(pcap, port, *options):
    """The types of the handshake messages, each once: a slow machine makes the ends repeat theirs."""
    seen = {}
    names = ['udp.srcport', 'dtls.handshake.message_seq', 'dtls.handshake.type']
    for source, sequences, types in fields(pcap, names, port, *options):
        for sequence, kind in zip(sequences.split(','), types.split(',')):
            if kind:
                seen[source, sequence, kind] = int(kind)
    return list(seen.values())


def check_clean(pcap, port, what):
    packets = fields(pcap, ['frame.protocols', '_ws.malformed', '_ws.expert.severity', '_ws.expert.message'], port)
    for protocols, malformed, severity, message in packets:
        if ':dtls' not in protocols or malformed or any(int(s) >= EXPERT_WARN for s in severity.split(',') if s):
            raise Failed(f'{what}: tshark objects: {protocols} {malformed} {message}')
    check(packets, f'{what}: {len(packets)} datagrams, all of them DTLS without a warning')


# ---- Our programs ----

class Program:
    """A child process; its lines go to a file, which is read again for every question."""

    def __init__(self, folder, name, *arguments):
        self.path = folder / f'{name}.log'
        self.name = name
        with open(self.path, 'w', encoding='utf-8') as log:
            self.process = subprocess.Popen([IOTSEC, *arguments], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)

    def wait_for(self, pattern, seconds=15):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            match = re.search(pattern, self.path.read_text(encoding='utf-8'), re.M)
            if match:
                return match
            time.sleep(0.02)
        raise Failed(f'{self.name} has not said {pattern!r}, but:\n{self.path.read_text(encoding="utf-8")}')

    def tell(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdin.close()


def run(*arguments):
    done = subprocess.run([IOTSEC, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f'iotsec {" ".join(arguments)}: {done.stderr.strip()}')


# ---- A session between two ends ----

def session(folder, name, cipher, cookie, handshake, *client_options, server_options=()):
    secret = 'only for those who hold the key'
    keylog = folder / f'{name}.keys'
    server = Program(folder, f'{name}-server', 'dtls', 'server', '--listen', '[::1]:0', '--psk-identity', IDENTITY,
                     '--psk', PSK, '--cipher', cipher, '--cookie', cookie, '--keylog', str(keylog), *server_options)
    port = int(server.wait_for(r'^listening addr=\[::1\]:(\d+)$').group(1))
    forwarder = Forwarder(('::1', port))
    client = subprocess.run([IOTSEC, 'dtls', 'client', '--connect', f'[::1]:{forwarder.port}', '--psk-identity', IDENTITY,
                             '--psk', PSK, '--wait', '200', *client_options],
                            input=secret + '\n', capture_output=True, text=True, timeout=30, check=False)
    server.wait_for('^closed ')
    server.stop()
    forwarder.stop()
    if client.stdout != secret + '\n':
        raise Failed(f'{name}: the echo was {client.stdout!r}, {client.stderr}')
    pcap = folder / f'{name}.pcap'
    write_pcap(pcap, forwarder.packets)

    check_clean(pcap, port, name)
    types = messages(pcap, port)
    check(types == handshake, f'{name}: the handshake messages are {handshake}')
    versions = set(numbers(fields(pcap, ['dtls.record.version'], port)))
    # HelloVerifyRequest alone carries DTLS 1.0's number (RFC 6347, section 4.2.1).
    check(versions == ({0xFEFD, 0xFEFF} if 3 in handshake else {0xFEFD}), f'{name}: the records are DTLS 1.2')
    suite = numbers(fields(pcap, ['dtls.handshake.ciphersuite'], port, '-Y', 'dtls.handshake.type == 2'))
    check(set(suite) == {0xC0A8 if cipher == 'CCM8' else 0xC0A4}, f'{name}: the server took {cipher}')
    for means, option in (('the PSK', f'dtls.psk:{PSK}'), ('our key log', f'tls.keylog_file:{keylog}')):
        types = messages(pcap, port, '-o', option)
        check(types == handshake + [20, 20], f'{name}: with {means} it reads both Finished')
        data = [packet[0] for packet in fields(pcap, ['data.data'], port, '-o', option) if packet[0]]
        check(data == [(secret + '\n').encode().hex()] * 2, f'{name}: with {means} it reads the message and its echo')
        alerts = numbers(fields(pcap, ['dtls.alert_message.desc'], port, '-o', option))
        check(alerts and set(alerts) == {0}, f'{name}: with {means} it reads close_notify')
    return pcap, port


def session_with_cid(folder):
    """tshark learns the ID's length from the hellos, and finds the real type of a record when it can decrypt it."""
    name = 'Connection ID'
    pcap, port = session(folder, name, 'CCM8', 'off', HELLO, '--connection-id', 'on', server_options=['--connection-id', 'on'])
    lengths = numbers(fields(pcap, ['dtls.connection_id_length'], port))
    check(set(lengths) == {0, 2}, f'{name}: the client asks for one, of no bytes for itself; the server takes one of two')
    records = fields(pcap, ['udp.srcport', 'dtls.record.epoch', 'dtls.record.special_type', 'dtls.record.connection_id'], port)
    given = next(packet for packet in fields(pcap, ['dtls.connection_id'], port) if packet[0])[0]
    of_client = [record for record in records if int(record[0]) != port and '1' in record[1].split(',')]
    kinds_and_ids = {pair for _, _, kinds, cids in of_client for pair in zip(kinds.split(','), cids.split(','))}
    check(kinds_and_ids == {('25', given)},
          f'{name}: each protected record of the client has type 25 and the ID')
    check(not any(kind for source, _, kind, _ in records if int(source) == port), f'{name}: none of the server has')
    psk = ('-o', f'dtls.psk:{PSK}')
    kinds = fields(pcap, ['udp.srcport', 'dtls.record.content_type'], port, *psk)
    inside = [value for source, values in kinds if int(source) != port for value in values.split(',')]
    check({'22', '23', '21'} <= set(inside), f'{name}: decrypted, they are Finished, data and close_notify')


# ---- A join and a group ----

def listen_to_group():
    end = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.bind(('::', GROUP[1]))
    index = struct.pack('@I', socket.if_nametoindex('br0'))
    end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, GROUP[0]) + index)
    return end


def heard(end, seconds):
    packets = []
    until = time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([end], [], [], max(0, until - time.monotonic()))
        if not ready:
            return packets
        datagram, sender = end.recvfrom(65535)
        packets.append((time.time(), ipv6_udp(sender[:2], GROUP, datagram)))


def check_pair(folder, switch, lamp):
    """A session between two devices, through a forwarder: dissected, and with a device's key log decrypted."""
    name, secret = 'pair', 'for the lamp alone'
    port = int(lamp.wait_for(r'^started id=lamp addr=\[::\]:(\d+)$').group(1))
    forwarder = Forwarder((OURS, port), OURS)
    for device in (switch, lamp):
        device.wait_for('^share generation=1$')
    switch.tell(f'send lamp@[{OURS}]:{forwarder.port} {secret}')
    lamp.wait_for(rf'^message from=switch .*text="{secret}"')
    switch.tell('close lamp')
    lamp.wait_for('^peer-closed reason=CLOSED id=switch ')
    forwarder.stop()
    pcap = folder / 'pair.pcap'
    write_pcap(pcap, forwarder.packets)

    check_clean(pcap, port, name)
    types = messages(pcap, port)
    check(types in (HELLO, HELLO_VERIFIED), f'{name}: the handshake messages are {types}')
    for kind, who in ((1, 'switch'), (2, 'lamp')):
        found = fields(pcap, ['dtls.handshake.extension.type', 'dtls.handshake.extension.data'], port,
                       '-Y', f'dtls.handshake.type == {kind}')
        check(found and all(str(DEVICE_IDENTITY) in kinds.split(',') for kinds, _ in found),
              f'{name}: message {kind} has device_identity')
        wanted = f'{1:08x}00' + who.encode().hex()
        check(all(wanted in data.split(',') for _, data in found), f'{name}: it names generation 1 and {who}')
    keys = ('-o', f'tls.keylog_file:{folder / "switch.keys"}')
    check(messages(pcap, port, *keys) == types + [20, 20], f'{name}: with the key log it reads both Finished')
    for options, expected in (((), []), (keys, [secret.encode().hex()])):
        data = [packet[0] for packet in fields(pcap, ['data.data'], port, *options) if packet[0]]
        check(data == expected, f'{name}: {"with the key log it reads the message" if options else "without it, none"}')
    alerts = numbers(fields(pcap, ['dtls.alert_message.desc'], port, *keys))
    check(alerts and set(alerts) == {0}, f'{name}: and close_notify')


def domain(folder):
    registry = str(folder / 'domain.db')
    run('manager', 'init', registry, '--prefix', 'fd01::/64')
    run('manager', 'group', 'add', registry, '1', '--address', GROUP[0], '--port', str(GROUP[1]))
    run('manager', 'poly', 'renew', registry)
    for name in ('switch', 'lamp'):
        run('manager', 'device', 'add', registry, name, '--group', '1', '--psk-out', str(folder / f'{name}.psk'))
    manager = Program(folder, 'manager', 'manager', 'serve', registry, '--listen', '[::]:0')
    port = int(manager.wait_for(r'^serving addr=.*:(\d+)$').group(1))
    group = listen_to_group()
    programs, forwarders = [manager], []
    for name in ('switch', 'lamp'):
        forwarder = Forwarder((OURS, port), OURS)
        forwarders.append(forwarder)
        device = Program(folder, name, 'device', '-v', '--manager', f'[{OURS}]:{forwarder.port}', '--id', name, '--psk-file',
                         str(folder / f'{name}.psk'), '--group', '1', '--interface', 'br0',
                         '--keylog', str(folder / f'{name}.keys'))
        programs.append(device)
        device.wait_for('^group-joined gid=1 ')
    switch, lamp = programs[1:]
    # The lamp's key is newer; its first record carries the switch along.
    switch.wait_for('^group-key gid=1 ')
    switch.tell('coap 1 put /light on')
    sent = switch.wait_for(r'^sent gid=1 bytes=(\d+) data=([0-9a-f]+)$')
    received = lamp.wait_for(r'^group gid=1 sender=(\d+) coap="NON PUT /light" payload="on" data=([0-9a-f]+)$')
    check(sent.group(2) == received.group(2), 'group: the lamp received what the switch sent')
    records = heard(group, 1)
    check_pair(folder, switch, lamp)
    for program in reversed(programs):
        program.stop()
    for forwarder in forwarders:
        forwarder.stop()
    group.close()

    for name, forwarder in zip(('switch', 'lamp'), forwarders):
        pcap = folder / f'{name}.pcap'
        write_pcap(pcap, forwarder.packets)
        check_clean(pcap, port, f'join of the {name}')
        types = messages(pcap, port)
        check(types in (HELLO, HELLO_VERIFIED), f'join of the {name}: the handshake messages are {types}')
    pcap = folder / 'group.pcap'
    write_pcap(pcap, records)
    check_clean(pcap, GROUP[1], 'group')
    for content, epoch, sequence in fields(pcap, ['dtls.record.content_type', 'dtls.record.epoch',
                                                  'dtls.record.sequence_number'], GROUP[1]):
        # The 48 bits of the sequence number are sender ID and counter.
        if int(content) != 23 or int(epoch) < 256 or not 1 <= int(sequence) >> 32 <= 65534:
            raise Failed(f'group: record of type {content}, epoch {epoch}, sequence {sequence}')
    check(records, 'group: application data of epochs above 255, each with a sender ID')

    # What the lamp decrypted, as if it had come without protection.
    pcap = folder / 'coap.pcap'
    write_pcap(pcap, [(time.time(), ipv6_udp((OURS, 40000), GROUP, bytes.fromhex(received.group(2))))])
    packets = fields(pcap, ['frame.protocols', '_ws.malformed', 'coap.version', 'coap.type', 'coap.code',
                            'coap.opt.uri_path'], 1)
    protocols, malformed, version, kind, code, path = packets[0]
    check(':coap' in protocols and not malformed, 'the payload is CoAP')
    check((version, kind, code, path) == ('1', '1', '3', 'light'), 'it is version 1, NON, PUT, /light')
    text = subprocess.run(['tshark', '-r', str(pcap), '-V'], capture_output=True, text=True, check=False).stdout
    check(re.search(r'Line-based text data: text/plain.*\n\s+on$', text, re.M), 'it says "on", as plain text')


def enter_namespace():
    """Starts this script again, in a network namespace."""
    for way in (['unshare', '-rn'], ['unshare', '-n']):
        if subprocess.run(way + ['true'], capture_output=True, check=False).returncode == 0:
            os.execvp(way[0], way + [sys.executable, __file__, '--inside'])
    print('test_tshark: this machine lets us make no network namespace: run it as root, or allow user namespaces')
    return 1


def main():
    if not os.access(IOTSEC, os.X_OK):
        print(f'test_tshark: no program at {IOTSEC}; build it, or set IOTSEC_BIN')
        return 1
    if shutil.which('tshark') is None:
        print('SKIP: tshark is not installed')
        return 0
    if sys.argv[1:] != ['--inside']:
        return enter_namespace()
    # A bridge carries multicast between the sockets of one host; `lo` does not.
    for command in ('link set lo up', 'link add br0 type bridge', 'link set br0 up', f'addr add {OURS}/64 dev br0 nodad'):
        subprocess.run(['ip', *command.split()], check=True)
    with tempfile.TemporaryDirectory(prefix='iotsec-tshark-') as name:
        folder = pathlib.Path(name)
        try:
            session(folder, 'CCM_8 with cookie', 'CCM8', 'always', HELLO_VERIFIED)
            session(folder, 'CCM_8', 'CCM8', 'off', HELLO)
            session(folder, 'CCM', 'CCM', 'off', HELLO)
            # Every record in a datagram of its own.
            session(folder, 'small datagrams', 'CCM8', 'off', HELLO, '--link-payload', '64')
            session_with_cid(folder)
            session(folder, 'max_fragment_length', 'CCM8', 'off', HELLO, '--max-fragment-length', '512')
            domain(folder)
        except Failed as failure:
            print(f'FAILED: {failure}')
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
