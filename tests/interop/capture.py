# SPDX-License-Identifier: BSD-3-Clause
"""Datagrams into pcap files, without capture rights: a forwarder that keeps what it passes on."""
import select
import socket
import struct
import threading
import time

LINKTYPE_RAW = 101  # packets begin with the IP header


def checksum(data):
    if len(data) % 2:
        data += b'\0'
    total = sum(struct.unpack(f'>{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv6_udp(source, destination, payload):
    """One IPv6 packet; the ends are (address, port)."""
    source_ip = socket.inet_pton(socket.AF_INET6, source[0])
    destination_ip = socket.inet_pton(socket.AF_INET6, destination[0])
    length = 8 + len(payload)
    udp = struct.pack('>HHHH', source[1], destination[1], length, 0) + payload
    pseudo = source_ip + destination_ip + struct.pack('>IHBB', length, 0, 0, socket.IPPROTO_UDP)
    value = checksum(pseudo + udp) or 0xFFFF
    udp = udp[:6] + struct.pack('>H', value) + udp[8:]
    return struct.pack('>IHBB', 6 << 28, length, socket.IPPROTO_UDP, 64) + source_ip + destination_ip + udp


def write_pcap(path, packets):
    """`packets` are (seconds, bytes)."""
    with open(path, 'wb') as file:
        file.write(struct.pack('<IHHiIII', 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_RAW))
        for when, packet in packets:
            file.write(struct.pack('<IIII', int(when), int(when % 1 * 1e6), len(packet), len(packet)) + packet)


class Forwarder:
    """Passes datagrams between one client and the server at `server`, an IPv6 (address, port); listens at `own`."""

    def __init__(self, server, own='::1'):
        self.server = server
        self.packets = []
        self.front = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.front.bind((own, 0))
        self.back = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.back.bind((own, 0))
        self.port = self.front.getsockname()[1]
        self.client = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.is_set():
            ready, _, _ = select.select([self.front, self.back], [], [], 0.1)
            for end in ready:
                datagram, sender = end.recvfrom(65535)
                if end is self.front:
                    self.client = sender[:2]
                    self.packets.append((time.time(), ipv6_udp(self.client, self.server, datagram)))
                    self.back.sendto(datagram, self.server)
                elif self.client:
                    self.packets.append((time.time(), ipv6_udp(self.server, self.client, datagram)))
                    self.front.sendto(datagram, self.client)

    def stop(self):
        self.stopping.set()
        self.thread.join()
        self.front.close()
        self.back.close()
