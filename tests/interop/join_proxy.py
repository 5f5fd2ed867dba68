#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Both ends of draft-ietf-anima-constrained-join-proxy's stateless messages, made by nobody of iotsec: with them any
such proxy can stand before our domain manager, and any such registrar behind our relay.

usage: join_proxy.py proxy [ADDR]:PORT INTERFACE [ADDR]:PORT   a join proxy: listens on its interface, and talks to the
                                                                domain manager or registrar at the second address
       join_proxy.py registrar [ADDR]:PORT [ADDR]:PORT          listens for proxies, and hands what they wrapped to a
                                                                plain DTLS server: each header is a client to it

The proxy's header has 5 bytes, which mean something to it alone: 3 of the joiner's address, and its port. What else it
has to know it keeps. Both print a line for each datagram that they pass on.
"""
import re
import select
import socket
import sys

HEADER_BYTES = 5


def resolve(text):
    address, port = re.fullmatch(r'\[(.+)\]:(\d+)', text).groups()
    return socket.getaddrinfo(address, int(port), socket.AF_INET6, socket.SOCK_DGRAM)[0][4]


def udp(address):
    end = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    end.bind(address)
    return end


def wrap(header, content):
    """A CBOR array of two byte strings, with the shortest heads."""
    def string(data):
        size = len(data)
        return (bytes([0x40 + size]) if size < 24 else bytes([0x58, size]) if size < 256 else
                b'\x59' + size.to_bytes(2, 'big')) + data
    return b'\x82' + string(header) + string(content)


def unwrap(message):
    """(header, content), or None for anything else, longer heads than needed among it."""
    def string(data):
        kind, size, data = data[0] >> 5, data[0] & 31, data[1:]
        if kind != 2 or size > 25:
            raise ValueError
        if size >= 24:
            size, data = int.from_bytes(data[:size - 23], 'big'), data[size - 23:]
        if size > len(data):
            raise ValueError
        return data[:size], data[size:]
    try:
        if message[0] != 0x82:
            return None
        header, rest = string(message[1:])
        content, rest = string(rest)
    except (IndexError, ValueError):
        return None
    return (header, content) if not rest and wrap(header, content) == message else None


def proxy(listen, interface, manager):
    joiners = udp((*listen[:3], socket.if_nametoindex(interface)))
    upstream = udp(('::', 0))
    known = {}
    print('proxy listens', flush=True)
    while True:
        for end in select.select([joiners, upstream], [], [])[0]:
            datagram, origin = end.recvfrom(65535)
            if end is joiners:
                ip = socket.inet_pton(socket.AF_INET6, origin[0].partition('%')[0])
                header = ip[-3:] + origin[1].to_bytes(2, 'big')
                known[header] = origin
                upstream.sendto(wrap(header, datagram), manager)
                print(f'up header={header.hex()} bytes={len(datagram)}', flush=True)
            else:
                parts = unwrap(datagram)
                if origin[:2] == manager[:2] and parts and parts[0] in known:
                    joiners.sendto(parts[1], known[parts[0]])
                    print(f'down header={parts[0].hex()} bytes={len(parts[1])}', flush=True)
                else:
                    print(f'dropped {datagram.hex()}', flush=True)


def registrar(listen, server):
    front = udp(listen)
    ends = {}                               # of (proxy, header), a socket as which they are a client
    print('registrar listens', flush=True)
    while True:
        for end in select.select([front, *ends.values()], [], [])[0]:
            datagram, origin = end.recvfrom(65535)
            if end is front:
                parts = unwrap(datagram)
                if parts is None:
                    print(f'dropped {datagram.hex()}', flush=True)
                    continue
                key = origin, parts[0]
                if key not in ends:
                    ends[key] = udp(('::', 0))
                ends[key].sendto(parts[1], server)
                print(f'up header={parts[0].hex()} bytes={len(parts[1])}', flush=True)
            else:
                origin, header = next(key for key, value in ends.items() if value is end)
                front.sendto(wrap(header, datagram), origin)
                print(f'down header={header.hex()} bytes={len(datagram)}', flush=True)


def main():
    if len(sys.argv) == 5 and sys.argv[1] == 'proxy':
        proxy(resolve(sys.argv[2]), sys.argv[3], resolve(sys.argv[4]))
    elif len(sys.argv) == 4 and sys.argv[1] == 'registrar':
        registrar(resolve(sys.argv[2]), resolve(sys.argv[3]))
    else:
        sys.exit(__doc__.strip())


if __name__ == '__main__':
    main()
