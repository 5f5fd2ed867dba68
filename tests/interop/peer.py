#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A joining device and group member, written from docs/protocol.md alone.

    Peer                                                        Manager
    ClientHello + group_request             -------->
                                            <--------   HelloVerifyRequest (perhaps)
    ClientHello + cookie                    -------->
                                            <--------   ServerHello + group_request, ServerHelloDone
    ClientKeyExchange, [CCS], Finished      -------->
                                            <--------   [CCS], Finished, MASTER_KEY, PARAMETERS
    ACK                                     -------->
    an empty group record to the group      - - - - ->  the other members

and, where the manager has access parameters, with --configure-address:

                                            <--------   ACCESS
    ACK                                     -------->
    MOVED, from its own address             -------->   the same session, known by its Connection ID
                                            <--------   PATH_CHECK
    ACK                                     -------->

It shares no code with the C library, so that each checks the other, and it is meant to be read: the
parts stand in the order of the document, whose section numbers they name. Standard library, and
python3-cryptography for AES-CCM.

Commands on standard input, one a line:

    group GID TEXT      send TEXT to a group
    join GID            ask for one more group
    leave [GID]         leave a group, or the domain
    status              send a STATUS for every group
    rebind              go on from another port, and say nothing of it
    quit                end the session and the program; the membership stays (so does end of input)

Events on standard output, one a line:

    connected                               a session with the manager stands
    joined                                  the first keys have come
    group-joined gid=1 sender=3 key=0x101   member of a group, with this sender ID
    group gid=1 sender=2 text="..."         a group message
    group-key gid=1 key=0x200               a newer key: a step or a generation
    status gid=1 result=DONE                the manager's answer to a STATUS
    refused gid=1 reason=2                  the manager gives no keys (gid=0: no admission at all)
    access l2=1 use=1 prefix=fd01:: ...     access parameters
    moved                                   the session has moved to this device's own address
    error reason=NOT_MOVED                  it has not, and goes on from the old one
    group-left gid=1, left, group-removed gid=1, evicted, disconnected
    error reason=NO_ANSWER                  and exit status 1, if the join came to nothing
"""

import argparse
import csv
import hashlib
import heapq
import hmac
import ipaddress
import itertools
import json
import os
import random
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM


# ---- Numbers -----------------------------------------------------------------------------------

# Content types (section 2)
CHANGE_CIPHER_SPEC = 20
ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23
WITH_CONNECTION_ID = 25
MASTER_KEY_DATA = 28
SECURITY_PARAMETERS_DATA = 29

DTLS_1_2 = 0xFEFD
DTLS_1_0 = 0xFEFF
HEADER_BYTES = 13
TAG_BYTES = 8
FIRST_GROUP_EPOCH = 256

# Handshake messages, cipher suites and extensions (section 3)
CLIENT_HELLO = 1
SERVER_HELLO = 2
HELLO_VERIFY_REQUEST = 3
SERVER_KEY_EXCHANGE = 12
SERVER_HELLO_DONE = 14
CLIENT_KEY_EXCHANGE = 16
FINISHED = 20

PSK_WITH_AES_128_CCM_8 = 0xC0A8
EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF

EXTENDED_MASTER_SECRET = 23
CONNECTION_ID = 54
GROUP_REQUEST_EXTENSION = 0xFF10
RENEGOTIATION_INFO = 0xFF01
GROUPS_IN_HELLO_MAX = 8

CLOSE_NOTIFY = 0
WARNING, FATAL = 1, 2

# Key-management messages (section 5)
MASTER_KEY = 1
PARAMETERS = 2
PARAMETERS_EVICTION = 3
ACK = 4
STATUS = 5
GROUP_REQUEST = 6
GROUP_LEAVE = 7
DOMAIN_LEAVE = 8
REFUSED = 9
EVICTED = 10
GROUP_REMOVED = 11
ACCESS = 12
PATH_CHECK = 13
MOVED = 14

LAYOUTS = {MASTER_KEY: '>BBHIH16s', ACK: '>BBB', STATUS: '>BBHIHB', GROUP_REQUEST: '>BBH', GROUP_LEAVE: '>BBH',
           DOMAIN_LEAVE: '>BB', REFUSED: '>BBHB', EVICTED: '>BB', GROUP_REMOVED: '>BBH', PATH_CHECK: '>BB', MOVED: '>BB'}
PARAMETERS_LAYOUTS = {31: '>BBHI16s5sH', 42: '>BBHI16s16sH'}
ACCESS_LAYOUTS = {45: '>BBI16sHH8s8sHB', 53: '>BBI16sHH8s16sHB'}

RESULTS = ['DONE', 'KEYS_FOLLOW', 'CONFLICT', 'NO_ROOM', 'NOT_MEMBER', 'FAILED']
DONE, KEYS_FOLLOW, CONFLICT, NO_ROOM, NOT_MEMBER, FAILED = range(6)
STATUS_CONFLICT = 1
STATUS_COUNTER_LOW = 2
ACCESS_USE = 1

# Times and limits (sections 3 and 8)
FLIGHT_TIMER_S, FLIGHT_TIMER_MAX_S = 0.5, 4.0
MESSAGE_TIMER_S, MESSAGE_TIMER_MAX_S = 0.5, 4.0
MESSAGE_ROUNDS = 6
PREVIOUS_KEY_S = 5.0
HINT_DELAY_MAX_S = 0.5
HINT_INTERVAL_S = 2.0
ASK_DELAY_S = 10.0
BACKOFF_S, BACKOFF_MAX_S = 10.0, 3600.0
FAR_STEP_INTERVAL_S = 1.0
STEPS_AHEAD_MAX = 16
COUNTER_LOW = 0xFFF00000
COUNTER_END = 0xFFFFFFFF
WINDOW_NUMBERS = 64


class Malformed(Exception):
    """What came does not have the form, or does not offer what, the document asks for."""


class Reader:
    """Takes bytes from the front, and never more than there are."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def take(self, count):
        if count > len(self.data):
            raise Malformed('truncated')
        head, self.data = self.data[:count], self.data[count:]
        return head

    def number(self, count):
        return int.from_bytes(self.take(count), 'big')

    def vector(self, length_bytes):
        return self.take(self.number(length_bytes))

    def end(self):
        if self.data:
            raise Malformed('bytes left over')


def vector(length_bytes, data):
    return len(data).to_bytes(length_bytes, 'big') + data


# ---- Keys (sections 3 and 6) -------------------------------------------------------------------

def hmac_sha256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def p_hash(key, label, length):
    """RFC 5246's P_hash, and RFC 3830's P with HMAC-SHA-256: they are the same function."""
    out, a = b'', label
    while len(out) < length:
        a = hmac_sha256(key, a)
        out += hmac_sha256(key, a + label)
    return out[:length]


def tls_prf(secret, label, seed, length):
    return p_hash(secret, label + seed, length)


def premaster_secret(psk):
    return vector(2, bytes(len(psk))) + vector(2, psk)


TEK_CONSTANT = bytes.fromhex('2AD01C64')
STEP_CONSTANT = bytes.fromhex('197A9E97')


def csb_label(constant, group, rand):
    cs_id = b'\x01'
    csb_id = group.to_bytes(4, 'big')
    return constant + cs_id + csb_id + rand


def derive_tek(tgk, group, rand):
    return p_hash(tgk, csb_label(TEK_CONSTANT, group, rand), 16)


def derive_next_tgk(tgk, group, rand, next_number):
    return p_hash(tgk, csb_label(STEP_CONSTANT, group, rand) + next_number.to_bytes(4, 'big'), 16)


# ---- Records (section 2) -----------------------------------------------------------------------

Record = namedtuple('Record', 'kind version epoch sequence body cid', defaults=[b''])


def make_record(kind, epoch, sequence, body, version=DTLS_1_2, cid=b''):
    return struct.pack('>BHH', kind, version, epoch) + sequence.to_bytes(6, 'big') + cid + vector(2, body)


def split_datagram(datagram, own_cid=b''):
    """The records of a datagram. One that runs beyond the end of the datagram ends it, as does one with an ID of a
    length that nobody can know."""
    reader = Reader(datagram)
    try:
        while reader:
            kind = reader.number(1)
            if kind == WITH_CONNECTION_ID and not own_cid:
                return
            yield Record(kind, version=reader.number(2), epoch=reader.number(2), sequence=reader.number(6),
                         cid=reader.take(len(own_cid)) if kind == WITH_CONNECTION_ID else b'', body=reader.vector(2))
    except Malformed:
        pass


def record_aad(kind, epoch, sequence, plaintext_length):
    return struct.pack('>H6sBHH', epoch, sequence.to_bytes(6, 'big'), kind, DTLS_1_2, plaintext_length)


def record_aad_cid(cid, epoch, sequence, plaintext_length):
    return (b'\xff' * 8 + struct.pack('>BBBHH', WITH_CONNECTION_ID, len(cid), WITH_CONNECTION_ID, DTLS_1_2, epoch) +
            sequence.to_bytes(6, 'big') + cid + struct.pack('>H', plaintext_length))


class Window:
    """Which of the last 64 numbers have been seen. First ask, then verify the tag, then mark."""

    def __init__(self, first=0):
        self.first = first                  # whatever lies below this counts as seen
        self.highest = first - 1
        self.seen = set()

    def is_new(self, number):
        return number >= self.first and number > self.highest - WINDOW_NUMBERS and number not in self.seen

    def mark(self, number):
        self.highest = max(self.highest, number)
        self.seen = {n for n in self.seen | {number} if n > self.highest - WINDOW_NUMBERS}


class Session:
    """The protection of epoch 1, seen from the client."""

    def __init__(self, key_block, own_cid=b'', manager_cid=b''):
        reader = Reader(key_block)
        self.write_key = AESCCM(reader.take(16), tag_length=TAG_BYTES)
        self.read_key = AESCCM(reader.take(16), tag_length=TAG_BYTES)
        self.write_iv = reader.take(4)
        self.read_iv = reader.take(4)
        self.own_cid = own_cid              # what the manager puts into its records, and what it wants in ours
        self.manager_cid = manager_cid
        self.next_sequence = 0
        self.window = Window()

    def seal(self, kind, plaintext):
        sequence, self.next_sequence = self.next_sequence, self.next_sequence + 1
        explicit = (1).to_bytes(2, 'big') + sequence.to_bytes(6, 'big')
        cid = self.manager_cid
        if cid:
            plaintext += bytes([kind])
            kind = WITH_CONNECTION_ID
            aad = record_aad_cid(cid, 1, sequence, len(plaintext))
        else:
            aad = record_aad(kind, 1, sequence, len(plaintext))
        sealed = self.write_key.encrypt(self.write_iv + explicit, plaintext, aad)
        return make_record(kind, 1, sequence, explicit + sealed, cid=cid)

    def open(self, record):
        """(real type, plaintext) of a record; None if it is no good or has been here before."""
        plaintext_length = len(record.body) - 8 - TAG_BYTES
        if record.version != DTLS_1_2 or plaintext_length < 0 or not self.window.is_new(record.sequence):
            return None
        if record.cid != self.own_cid:      # a session with an ID takes no record without it
            return None
        explicit, sealed = record.body[:8], record.body[8:]
        if record.cid:
            aad = record_aad_cid(record.cid, record.epoch, record.sequence, plaintext_length)
        else:
            aad = record_aad(record.kind, record.epoch, record.sequence, plaintext_length)
        try:
            plaintext = self.read_key.decrypt(self.read_iv + explicit, sealed, aad)
        except InvalidTag:
            return None
        self.window.mark(record.sequence)
        if not record.cid:
            return record.kind, plaintext
        plaintext = plaintext.rstrip(b'\0')  # the type is the last byte that is not zero
        return (plaintext[-1], plaintext[:-1]) if plaintext else None


# ---- Handshake (sections 3 and 4) --------------------------------------------------------------

def make_handshake(kind, message_seq, body):
    length = len(body).to_bytes(3, 'big')
    return bytes([kind]) + length + message_seq.to_bytes(2, 'big') + bytes(3) + length + body


class Reassembly:
    """Puts the fragments of handshake messages together, in whatever order they come."""

    MESSAGE_BYTES_MAX = 2048
    MESSAGES_AHEAD_MAX = 4

    def __init__(self):
        self.next_seq = 0
        self.messages = {}

    def add(self, kind, message_seq, length, offset, fragment):
        if not self.next_seq <= message_seq < self.next_seq + self.MESSAGES_AHEAD_MAX:
            return
        if length > self.MESSAGE_BYTES_MAX or offset + len(fragment) > length:
            return
        known = self.messages.get(message_seq)
        if known is None or known[0] != kind or len(known[1]) != length:
            known = self.messages[message_seq] = (kind, bytearray(length), bytearray(length))
        end = offset + len(fragment)
        known[1][offset:end] = fragment
        known[2][offset:end] = b'\1' * len(fragment)

    def head(self):
        """(kind, body) of the next message in order when it is whole, else None."""
        kind, body, have = self.messages.get(self.next_seq, (None, b'', b'\0'))
        return (kind, bytes(body)) if all(have) else None

    def take(self):
        self.messages.pop(self.next_seq)
        self.next_seq += 1

    def forget_head(self):
        self.messages.pop(self.next_seq)


class Handshake:
    """The client's side of one handshake. It does no I/O: records go in, datagrams come out of flight()."""

    EARLY_RECORDS_MAX = 8

    def __init__(self, identity, psk, groups, client_random=None, own_cid=None):
        self.identity = identity
        self.psk = psk
        self.groups = groups
        self.own_cid = own_cid              # None: no Connection IDs; empty: one for the manager only
        self.manager_cid = b''
        self.random = client_random or os.urandom(32)
        self.cookie = None
        self.next_sequence = 0              # of epoch 0
        self.incoming = Reassembly()
        self.expected = [SERVER_HELLO]
        self.transcript = b''
        self.session = None                 # exists from the ServerHelloDone on
        self.done = False
        self.early = []                     # what overtook the server's Finished
        self.complaint = None               # the last reason for which a message was dropped
        self.alerts = 0                     # received since this flight was sent first
        self.others = 0
        self.write_client_hello()

    # What is sent

    def write_client_hello(self):
        body = struct.pack('>H', DTLS_1_2) + self.random
        body += vector(1, b'') + vector(1, self.cookie or b'')
        body += vector(2, struct.pack('>HH', PSK_WITH_AES_128_CCM_8, EMPTY_RENEGOTIATION_INFO_SCSV))
        body += vector(1, b'\0')
        wanted = b''.join(group.to_bytes(2, 'big') for group in self.groups)
        extensions = struct.pack('>H', EXTENDED_MASTER_SECRET) + vector(2, b'')
        if self.own_cid is not None:
            extensions += struct.pack('>H', CONNECTION_ID) + vector(2, vector(1, self.own_cid))
        extensions += struct.pack('>H', GROUP_REQUEST_EXTENSION) + vector(2, wanted)
        body += vector(2, extensions)
        hello = make_handshake(CLIENT_HELLO, 0 if self.cookie is None else 1, body)
        self.transcript = hello             # an earlier hello and the HelloVerifyRequest do not count
        self.outgoing = [(HANDSHAKE, 0, hello)]

    def write_finished(self):
        """ClientKeyExchange, [ChangeCipherSpec], Finished, and all keys."""
        message_seq = 1 if self.cookie is None else 2
        key_exchange = make_handshake(CLIENT_KEY_EXCHANGE, message_seq, vector(2, self.identity))
        self.transcript += key_exchange

        session_hash = hashlib.sha256(self.transcript).digest()
        self.master_secret = tls_prf(premaster_secret(self.psk), b'extended master secret', session_hash, 48)
        key_block = tls_prf(self.master_secret, b'key expansion', self.server_random + self.random, 40)
        self.session = Session(key_block, self.read_cid, self.manager_cid)

        finished = make_handshake(FINISHED, message_seq + 1, self.verify_data(b'client finished'))
        self.transcript += finished
        self.outgoing = [(HANDSHAKE, 0, key_exchange), (CHANGE_CIPHER_SPEC, 0, b'\1'), (HANDSHAKE, 1, finished)]
        self.alerts = self.others = 0

    def verify_data(self, label):
        return tls_prf(self.master_secret, label, hashlib.sha256(self.transcript).digest(), 12)

    def flight(self):
        """The current flight as one datagram; a repeated message gets a record with a new number."""
        datagram = b''
        for kind, epoch, body in self.outgoing:
            if epoch == 0:
                datagram += make_record(kind, 0, self.next_sequence, body)
                self.next_sequence += 1
            else:
                datagram += self.session.seal(kind, body)
        return datagram

    # What is received

    def receive(self, record):
        """True if there is a new flight to send."""
        flight = self.outgoing
        if record.epoch == 0:
            if record.kind == ALERT:
                self.alerts += 1            # anybody can send one, so it ends nothing by itself
                return False
            self.others += 1
            if record.kind == HANDSHAKE and record.version in (DTLS_1_2, DTLS_1_0):
                self.receive_fragments(record.body, 0)
        elif record.epoch == 1 and self.session:
            opened = self.session.open(record)
            if opened and opened[0] == HANDSHAKE:
                self.others += 1
                self.receive_fragments(opened[1], 1)
            elif opened and len(self.early) < self.EARLY_RECORDS_MAX:
                self.early.append(opened)
        return self.outgoing is not flight

    def receive_fragments(self, data, epoch):
        reader = Reader(data)
        try:
            while reader:
                kind, length, message_seq = reader.number(1), reader.number(3), reader.number(2)
                offset, fragment = reader.number(3), reader.vector(3)
                if (kind == FINISHED) != (epoch == 1):
                    continue
                if kind == HELLO_VERIFY_REQUEST:
                    if offset == 0 and len(fragment) == length:
                        self.receive_hello_verify_request(Reader(fragment))
                    continue
                self.incoming.add(kind, message_seq, length, offset, fragment)
        except Malformed as problem:
            self.complaint = str(problem)
        self.receive_messages()

    def receive_messages(self):
        while not self.done and (message := self.incoming.head()):
            kind, body = message
            try:
                if kind not in self.expected:
                    raise Malformed(f'handshake message {kind} out of place')
                self.receive_message(kind, Reader(body))
            except Malformed as problem:
                # Epoch 0 is open to everybody: drop it, and wait for a better one.
                self.complaint = str(problem)
                self.incoming.forget_head()
                return
            self.incoming.take()

    def receive_message(self, kind, body):
        whole = make_handshake(kind, self.incoming.next_seq, body.data)
        if kind == SERVER_HELLO:
            self.receive_server_hello(body)
            self.transcript += whole
            self.expected = [SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE]
        elif kind == SERVER_KEY_EXCHANGE:   # a hint which PSK to take; there is but one
            body.vector(2)
            body.end()
            self.transcript += whole
            self.expected = [SERVER_HELLO_DONE]
        elif kind == SERVER_HELLO_DONE:
            body.end()
            self.transcript += whole
            self.write_finished()
            self.expected = [FINISHED]
        elif kind == FINISHED:
            if not hmac.compare_digest(body.data, self.verify_data(b'server finished')):
                raise Malformed('wrong verify_data')
            self.done = True

    def receive_hello_verify_request(self, body):
        body.number(2)
        cookie = body.vector(1)
        body.end()
        if self.expected == [SERVER_HELLO] and len(cookie) <= 32 and cookie != self.cookie:
            self.cookie = cookie
            self.incoming = Reassembly()
            self.incoming.next_seq = 1
            self.write_client_hello()

    def receive_server_hello(self, body):
        if body.number(2) != DTLS_1_2:
            raise Malformed('not DTLS 1.2')
        server_random = body.take(32)
        body.vector(1)
        if body.number(2) != PSK_WITH_AES_128_CCM_8 or body.number(1) != 0:
            raise Malformed('a cipher suite or compression that was not offered')
        found = {}
        extensions = Reader(body.vector(2) if body else b'')
        body.end()
        while extensions:
            kind, content = extensions.number(2), extensions.vector(2)
            if kind in found:
                raise Malformed('an extension twice')
            found[kind] = content
        if found.pop(EXTENDED_MASTER_SECRET, None) != b'':
            raise Malformed('no extended master secret')
        if found.pop(RENEGOTIATION_INFO, None) != b'\0':
            raise Malformed('no secure renegotiation')
        if found.pop(GROUP_REQUEST_EXTENSION, None) != b'':
            raise Malformed('not a domain manager')
        manager_cid, read_cid = b'', b''
        if self.own_cid is not None and CONNECTION_ID in found:
            answer = Reader(found.pop(CONNECTION_ID))
            manager_cid, read_cid = answer.vector(1), self.own_cid
            answer.end()
        if found:
            raise Malformed('an extension that was not offered')
        self.server_random = server_random
        self.manager_cid, self.read_cid = manager_cid, read_cid


# ---- Group keys and group records (sections 6 to 8) --------------------------------------------

class GroupKey:
    """A key number with its keys. The steps of a generation share the windows of the senders."""

    def __init__(self, group, number, tgk, rand, windows=None):
        self.group = group
        self.number = number
        self.tgk = tgk
        self.rand = rand
        self.windows = {} if windows is None else windows
        self.tek = AESCCM(derive_tek(tgk, group, rand), tag_length=TAG_BYTES)

    @property
    def epoch(self):
        return self.number & 0xFFFF

    def step(self, count):
        """The key that is count steps further on. There is no way back."""
        tgk = self.tgk
        for number in range(self.number + 1, self.number + count + 1):
            tgk = derive_next_tgk(tgk, self.group, self.rand, number)
        return GroupKey(self.group, self.number + count, tgk, self.rand, self.windows)

    def nonce(self, sequence):
        return struct.pack('>BBHH6s', APPLICATION_DATA, 0, self.group, self.epoch, sequence.to_bytes(6, 'big'))

    def seal(self, sender, counter, plaintext):
        sequence = sender << 32 | counter
        aad = record_aad(APPLICATION_DATA, self.epoch, sequence, len(plaintext))
        return make_record(APPLICATION_DATA, self.epoch, sequence, self.tek.encrypt(self.nonce(sequence), plaintext, aad))

    def open(self, record):
        """The plaintext, possibly empty; None if it is no good or has been here before."""
        sender, counter = record.sequence >> 32, record.sequence & 0xFFFFFFFF
        window = self.windows.get(sender)
        plaintext_length = len(record.body) - TAG_BYTES
        if plaintext_length < 0 or (window and not window.is_new(counter)):
            return None
        aad = record_aad(APPLICATION_DATA, record.epoch, record.sequence, plaintext_length)
        try:
            plaintext = self.tek.decrypt(self.nonce(record.sequence), record.body, aad)
        except InvalidTag:
            return None
        if window is None:                  # what a new sender sent before is not known: it counts as seen
            window = self.windows[sender] = Window(counter)
        window.mark(counter)
        return plaintext


class Group:
    """A group that this device wants, and once its keys have come, is a member of."""

    def __init__(self, gid):
        self.gid = gid
        self.sender = None
        self.counter = 0
        self.conflict = False
        self.address = None                 # (multicast address, port)
        self.socket = None
        self.half = None                    # of a pair of key messages, while it waits for its partner
        self.hint_timer = None
        self.hint_time = None
        self.ask_timer = None
        self.ask_delay = ASK_DELAY_S
        self.far_step_time = None
        self.wipe()

    def wipe(self):
        """The keys. The sender ID stays with its counter: should it come back, the counter goes on."""
        self.key = None
        self.previous = None
        self.previous_until = 0.0
        self.half = None
        self.conflict = False

    def install(self, key, sender, address, eviction, now):
        if sender != self.sender:
            self.sender, self.counter = sender, 0
        self.address = address
        self.move_to(key, now)
        if eviction:
            self.previous = None
        self.conflict = False

    def move_to(self, key, now):
        self.previous, self.previous_until = self.key, now + PREVIOUS_KEY_S
        self.key = key
        self.ask_delay = ASK_DELAY_S

    def seal(self, plaintext):
        counter, self.counter = self.counter, self.counter + 1
        return self.key.seal(self.sender, counter, plaintext)

    def receive(self, record, now):
        """One row of section 8's first table: ('deliver', plaintext), ('hint', None), ('ask', None) or ('drop', None)."""
        drop = ('drop', None)
        sender = record.sequence >> 32
        if record.version != DTLS_1_2 or not 1 <= sender <= 65534 or sender == self.sender:
            return drop

        for key in (self.key, self.previous if now < self.previous_until else None):
            if key and record.epoch == key.epoch:
                plaintext = key.open(record)
                return drop if plaintext is None else ('deliver', plaintext)

        if record.epoch >> 8 != self.key.epoch >> 8:
            return 'ask', None
        ahead = (record.epoch & 0xFF) - (self.key.epoch & 0xFF)
        if ahead < 0:
            return 'hint', None
        if ahead > STEPS_AHEAD_MAX:
            return 'ask', None
        if ahead > 1:
            if self.far_step_time is not None and now < self.far_step_time + FAR_STEP_INTERVAL_S:
                return drop
            self.far_step_time = now
        key = self.key.step(ahead)
        plaintext = key.open(record)
        if plaintext is None:
            return drop
        self.move_to(key, now)
        return 'deliver', plaintext


# ---- Key-management messages (section 5) -------------------------------------------------------

def parse_message(content_type, data):
    """(kind, message number, fields), or None for anything that a device does not take."""
    if len(data) < 2:
        return None
    kind = data[0]
    if (content_type == MASTER_KEY_DATA) != (kind in (MASTER_KEY, ACCESS)):
        return None
    if kind in (PARAMETERS, PARAMETERS_EVICTION):
        layout = PARAMETERS_LAYOUTS.get(len(data))
    elif kind == ACCESS:
        layout = ACCESS_LAYOUTS.get(len(data))
    elif kind in (MASTER_KEY, ACK, REFUSED, EVICTED, GROUP_REMOVED, PATH_CHECK):
        layout = LAYOUTS[kind]
    else:
        return None
    if layout is None or struct.calcsize(layout) != len(data):
        return None
    _, number, *fields = struct.unpack(layout, data)
    return kind, number, fields


def unpack_address(data):
    """Five bytes stand for ffXY::gggg:gggg: the byte XY and the last four."""
    if len(data) == 5:
        data = b'\xff' + data[:1] + bytes(10) + data[1:]
    return ipaddress.IPv6Address(data)


# ---- The device (section 8) --------------------------------------------------------------------

class Timers:
    """Calls that are due later."""

    def __init__(self):
        self.heap = []
        self.order = itertools.count()

    def after(self, seconds, call):
        timer = [time.monotonic() + seconds, next(self.order), call]
        heapq.heappush(self.heap, timer)
        return timer

    @staticmethod
    def cancel(timer):
        if timer:
            timer[2] = None

    def run(self):
        """Calls what is due, and returns the seconds until the next."""
        while self.heap:
            wait = self.heap[0][0] - time.monotonic()
            if wait > 0:
                return wait
            call = heapq.heappop(self.heap)[2]
            if call:
                call()
        return None


class Pending:
    """A message to the manager that has not been acknowledged yet."""

    def __init__(self, kind, gid, data):
        self.kind = kind
        self.gid = gid
        self.data = data
        self.rounds = 0
        self.interval = MESSAGE_TIMER_S
        self.timer = None


class Peer:
    def __init__(self, options):
        self.identity = options.id.encode()
        self.psk = read_psk(options.psk_file)
        self.verbose = options.verbose
        self.loss = options.loss
        self.dice = random.Random(options.seed)
        self.handshake_timeout = options.timeout
        self.status_interval = options.status_interval
        self.interface = socket.if_nametoindex(options.interface)
        self.interface_name = options.interface
        self.manager = resolve(options.manager)
        self.configure_address = options.configure_address
        self.own_cid = {'off': None, 'on': b''}.get(options.connection_id)
        if options.connection_id == 'link-local':
            self.own_cid = b'' if ipaddress.IPv6Address(bare(self.manager[0])).is_link_local else None
        elif options.connection_id not in ('off', 'on'):
            self.own_cid = bytes.fromhex(options.connection_id)

        self.timers = Timers()
        self.selector = selectors.DefaultSelector()
        self.socket = None
        self.groups = {gid: Group(gid) for gid in options.group}
        self.handshake = None
        self.session = None
        self.pending = {}                   # by message number
        self.next_message = 0
        self.l2 = (0, 0)                    # number, flag: what this session has installed
        self.old_way = None                 # to the manager, while it is not sure that the new one works
        self.home = None                    # the manager's own address, for the next session
        self.has_joined = False
        self.evicted = False
        self.reconnect_delay = 0.0
        self.reconnect_timer = None
        self.exit_status = None

        self.open_socket()
        self.input = b''
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self.receive_commands)

    def run(self):
        self.connect()
        self.timers.after(self.status_interval, self.routine_status)
        try:
            while True:
                wait = self.timers.run()
                if self.exit_status is not None:
                    return self.exit_status
                for key, _ in self.selector.select(wait):
                    key.data()
        except KeyboardInterrupt:
            return 0
        finally:
            self.disconnect()

    # Datagrams

    def open_socket(self):
        """One socket to talk to the manager and to send to the groups; each group has one more, to listen."""
        if self.socket:
            self.selector.unregister(self.socket)
            self.socket.close()
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.interface)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
        self.socket.bind(('::', 0))
        self.socket.setblocking(False)
        self.selector.register(self.socket, selectors.EVENT_READ, self.receive_unicast)

    def log(self, *words):
        if self.verbose:
            print(f'{time.monotonic():.3f}', *words, file=sys.stderr, flush=True)

    def lost(self):
        return self.dice.random() < self.loss

    def send(self, datagram, address):
        lost = self.lost()
        self.log('lost >' if lost else '>', address[0], address[1], datagram.hex())
        if not lost:
            try:
                self.socket.sendto(datagram, address)
            except OSError as problem:      # as good as lost: whatever matters is repeated
                self.log('not sent:', problem)

    def receive(self, sock):
        """The datagrams that are waiting, with their origin."""
        while True:
            try:
                datagram, origin = sock.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError as problem:      # an ICMP error; anybody can send one
                self.log('receive:', problem)
                continue
            lost = self.lost()
            self.log('lost <' if lost else '<', origin[0], origin[1], datagram.hex())
            if not lost:
                yield datagram, origin

    def receive_unicast(self):
        for datagram, origin in self.receive(self.socket):
            ways = [(bare(way[0]), way[1]) for way in (self.manager, self.old_way) if way]
            if (bare(origin[0]), origin[1]) not in ways:
                continue
            for record in split_datagram(datagram, self.own_cid or b''):
                if self.handshake:
                    self.receive_handshake(record)
                elif self.session and record.epoch == 1:
                    self.receive_session(record)

    # The session: a handshake, and another one when the manager has not answered for long

    def connect(self):
        wanted = [gid for gid, group in self.groups.items() if group.key is None]
        self.session = None
        self.l2, self.old_way = (0, 0), None
        self.manager = self.home or self.manager
        self.handshake = Handshake(self.identity, self.psk, wanted[:GROUPS_IN_HELLO_MAX], own_cid=self.own_cid)
        self.start_flight()
        self.handshake_deadline = self.timers.after(self.handshake_timeout, lambda: self.handshake_failed('NO_ANSWER'))

    def start_flight(self):
        self.flight_interval = FLIGHT_TIMER_S
        self.flight_repeats = -1
        self.send_flight()

    def send_flight(self):
        """Sends or repeats the flight, and sets the timer."""
        handshake = self.handshake
        if handshake.session and self.flight_repeats >= 3 and handshake.alerts and not handshake.others:
            self.handshake_failed('WRONG_PSK')
            return
        self.send(handshake.flight(), self.manager)
        self.flight_repeats += 1
        self.flight_timer = self.timers.after(self.flight_interval * random.uniform(0.88, 1.12), self.send_flight)
        self.flight_interval = min(self.flight_interval * 1.25, FLIGHT_TIMER_MAX_S)

    def end_handshake(self):
        self.timers.cancel(self.flight_timer)
        self.timers.cancel(self.handshake_deadline)
        handshake, self.handshake = self.handshake, None
        return handshake

    def handshake_failed(self, reason):
        handshake = self.end_handshake()
        if self.has_joined:
            self.reconnect_later()
            return
        if handshake.complaint:
            self.log('the last message dropped:', handshake.complaint)
        self.event('error', reason=reason)
        self.exit_status = 1

    def receive_handshake(self, record):
        if self.handshake.receive(record):
            self.timers.cancel(self.flight_timer)
            self.start_flight()
        if self.handshake.done:
            handshake = self.end_handshake()
            self.session = handshake.session
            self.connected([gid for gid in self.groups if gid not in handshake.groups])
            for kind, plaintext in handshake.early:
                self.receive_content(kind, plaintext)

    def connected(self, not_in_hello):
        self.event('connected')
        unsaid, self.pending = self.pending, {}
        for old in unsaid.values():
            self.timers.cancel(old.timer)
            if old.kind in (GROUP_LEAVE, DOMAIN_LEAVE):
                self.tell(old.kind, old.gid)
        for gid in not_in_hello:
            if self.groups[gid].key:
                self.send_status(gid)
            else:
                self.tell(GROUP_REQUEST, gid)
        for group in self.groups.values():
            if not group.key:
                self.ask_later(group)

    def reconnect_later(self):
        """Opens a new session: at once, then after 10 s, doubling up to an hour."""
        if self.session:
            self.session = None
            self.event('disconnected')
        if self.evicted or self.handshake or self.reconnect_timer:
            return

        def due():
            self.reconnect_timer = None
            self.connect()
        self.reconnect_timer = self.timers.after(self.reconnect_delay, due)
        self.reconnect_delay = min(max(2 * self.reconnect_delay, BACKOFF_S), BACKOFF_MAX_S)

    def disconnect(self):
        if self.session:
            self.send(self.session.seal(ALERT, bytes([WARNING, CLOSE_NOTIFY])), self.manager)
            self.session = None

    def receive_session(self, record):
        opened = self.session.open(record) if self.session else None
        if opened:
            self.receive_content(*opened)

    def receive_content(self, kind, plaintext):
        if kind == ALERT and len(plaintext) == 2:
            if plaintext[0] == FATAL or plaintext[1] == CLOSE_NOTIFY:
                self.log('alert', plaintext.hex())
                self.reconnect_delay = max(self.reconnect_delay, BACKOFF_S)
                self.reconnect_later()
        elif kind in (MASTER_KEY_DATA, SECURITY_PARAMETERS_DATA):
            self.log('< message', plaintext.hex())
            message = parse_message(kind, plaintext)
            if message:
                self.reconnect_delay = 0.0
                self.receive_message(*message)

    # Messages to the manager, repeated until they are acknowledged

    def tell(self, kind, gid=None, *fields):
        """A new message takes the place of an older one of its kind about the same group."""
        for number, old in list(self.pending.items()):
            if (old.kind, old.gid) == (kind, gid):
                self.timers.cancel(old.timer)
                del self.pending[number]
        number = self.next_message
        self.next_message = (number + 1) % 256
        values = fields if gid is None else (gid, *fields)
        self.pending[number] = Pending(kind, gid, struct.pack(LAYOUTS[kind], kind, number, *values))
        self.send_pending(number)

    def send_pending(self, number):
        pending = self.pending[number]
        pending.timer = None
        if self.session and pending.kind == MOVED and pending.rounds == MESSAGE_ROUNDS:
            del self.pending[number]
            self.manager, self.old_way = self.old_way, None
            self.event('error', reason='NOT_MOVED')
            return
        if self.session is None or pending.rounds == MESSAGE_ROUNDS:
            self.reconnect_later()
            return
        self.send_message(pending.data)
        pending.rounds += 1
        pending.timer = self.timers.after(pending.interval, lambda: self.send_pending(number))
        pending.interval = min(pending.interval * 1.5, MESSAGE_TIMER_MAX_S)

    def send_message(self, data):
        self.log('> message', data.hex())
        self.send(self.session.seal(SECURITY_PARAMETERS_DATA, data), self.manager)

    def acknowledge(self, number, result):
        self.send_message(struct.pack(LAYOUTS[ACK], ACK, number, result))

    def send_status(self, gid):
        group = self.groups[gid]
        flags = (STATUS_CONFLICT if group.conflict else 0) | (STATUS_COUNTER_LOW if group.counter >= COUNTER_LOW else 0)
        self.tell(STATUS, gid, group.key.number, group.sender, flags)

    def routine_status(self):
        for gid, group in self.groups.items():
            if group.key:
                self.send_status(gid)
        self.timers.after(self.status_interval, self.routine_status)

    def ask_later(self, group):
        """A STATUS, or for a group without keys another request, some time later, and less and less often."""
        if group.ask_timer:
            return

        def due():
            group.ask_timer = None
            if self.groups.get(group.gid) is not group:
                return
            if group.key:
                self.send_status(group.gid)
            else:
                self.tell(GROUP_REQUEST, group.gid)
                self.ask_later(group)
        # A member waits for a random time, lest all ask at once; whoever waits for its keys, for the whole of it.
        delay = random.uniform(0, group.ask_delay) if group.key else group.ask_delay
        group.ask_timer = self.timers.after(delay, due)
        group.ask_delay = min(2 * group.ask_delay, BACKOFF_MAX_S)

    # Messages from the manager

    def receive_message(self, kind, number, fields):
        if kind == ACK:
            self.receive_ack(number, *fields)
        elif kind in (MASTER_KEY, PARAMETERS, PARAMETERS_EVICTION):
            self.receive_key_half(kind, number, fields)
        elif kind == ACCESS:
            self.receive_access(number, *fields)
        else:                               # a PATH_CHECK asks for nothing but this
            self.acknowledge(number, DONE)
            if kind == REFUSED:
                self.receive_refused(*fields)
            elif kind == GROUP_REMOVED:
                if self.forget_group(fields[0]):
                    self.event('group-removed', gid=fields[0])
            elif kind == EVICTED and not self.evicted:
                self.evicted = True
                self.forget_everything()
                self.event('evicted')

    def receive_ack(self, number, result):
        pending = self.pending.pop(number, None)
        if pending is None:
            return
        self.timers.cancel(pending.timer)
        group = self.groups.get(pending.gid)
        if pending.kind == STATUS:
            self.event('status', gid=pending.gid, result=RESULTS[result] if result < len(RESULTS) else result)
            if group and group.key and result == NOT_MEMBER:
                group.wipe()
                self.tell(GROUP_REQUEST, pending.gid)
                self.ask_later(group)
            elif group and result == FAILED:
                self.ask_later(group)
        elif pending.kind == GROUP_LEAVE:
            self.event('group-left', gid=pending.gid)
        elif pending.kind == DOMAIN_LEAVE:
            self.event('left')
            self.exit_status = 0
        elif pending.kind == MOVED:
            self.old_way = None
            self.event('moved')

    def receive_refused(self, gid, reason):
        if gid == 0:
            self.forget_everything()
            self.event('refused', gid=0, reason=reason)
            self.exit_status = 1
        elif self.forget_group(gid):
            self.event('refused', gid=gid, reason=reason)

    # Access parameters (section 13)

    def receive_access(self, number, l2_number, l2_key, pan_id, short_address, prefix, manager, port, flags):
        if (l2_number, flags & ACCESS_USE) > self.l2:
            self.l2 = l2_number, flags & ACCESS_USE
            if len(manager) == 8:
                manager = prefix + manager
            self.home = (str(ipaddress.IPv6Address(manager)), port, 0, 0)
            self.event('access', l2=l2_number, index=1 + (l2_number - 1) % 255, use=flags & ACCESS_USE, l2_key=l2_key.hex(),
                       pan=hex(pan_id), short=hex(short_address), prefix=ipaddress.IPv6Address(prefix + bytes(8)),
                       manager=f'[{self.home[0]}]:{port}')
            self.acknowledge(number, DONE)
            if self.configure_address and prefix != bytes(8):
                self.take_address(prefix)
        else:
            self.acknowledge(number, DONE)

    def take_address(self, prefix):
        """An address of one's own, and the move to it if the manager can know the session again."""
        address = ipaddress.IPv6Address(prefix + interface_identifier(self.interface_name))
        subprocess.run(['ip', '-6', 'address', 'replace', f'{address}/128', 'dev', self.interface_name, 'nodad'], check=True)
        if self.session.manager_cid and self.manager[:2] != self.home[:2]:
            self.old_way, self.manager = self.manager, self.home
            self.tell(MOVED)

    def receive_key_half(self, kind, number, fields):
        gid, key_number = fields[:2]
        group = self.groups.get(gid)
        if group is None:
            self.acknowledge(number, NO_ROOM)
            return
        if group.key and key_number <= group.key.number:
            if kind == MASTER_KEY and key_number == group.key.number and fields[3] != group.key.tgk:
                group.conflict = True
                self.acknowledge(number, CONFLICT)
                self.ask_later(group)
            else:
                self.acknowledge(number, DONE)
            return

        if not group.half or group.half[2][1] < key_number or group.half[:2] == (kind, number):
            group.half = (kind, number, fields)
            return
        partner_kind, partner_number, partner_fields = group.half
        if (partner_number, partner_fields[1]) != (number, key_number) or MASTER_KEY not in (kind, partner_kind):
            if partner_fields[1] == key_number:
                group.half = (kind, number, fields)     # the same keys, said anew
            return
        group.half = None
        try:
            if kind == MASTER_KEY:
                self.install(group, fields, partner_fields, partner_kind == PARAMETERS_EVICTION)
            else:
                self.install(group, partner_fields, fields, kind == PARAMETERS_EVICTION)
        except OSError as problem:
            self.log('cannot listen:', problem)
            self.acknowledge(number, FAILED)
        else:
            self.acknowledge(number, DONE)

    def install(self, group, master_key, parameters, eviction):
        """Both halves of a pair are here."""
        gid, key_number, sender, tgk = master_key
        _, _, rand, address, port = parameters
        address = (str(unpack_address(address)), port)
        self.listen(group, address)

        newcomer = group.key is None
        same_sender = group.sender == sender
        key = GroupKey(gid, key_number, tgk, rand)
        if group.key and group.key.number >> 8 == key_number >> 8:
            key.windows = group.key.windows
        group.install(key, sender, address, eviction, time.monotonic())
        self.timers.cancel(group.ask_timer)
        group.ask_timer = None
        if not self.has_joined:
            self.has_joined = True
            self.event('joined')
        if newcomer:
            self.event('group-joined', gid=gid, sender=sender, key=hex(key_number))
        elif same_sender:
            self.event('group-key', gid=gid, key=hex(key_number))
        else:
            self.event('group-key', gid=gid, key=hex(key_number), sender=sender)
        if newcomer or not same_sender:
            self.hint_later(group)          # the announcement: with it the others move to this step

    # Groups

    def listen(self, group, address):
        if group.socket:
            if address == group.address:
                return
            self.stop_listening(group)
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Bound to the group's own address: another group may have the same port.
        sock.bind((*address, 0, self.interface))
        membership = socket.inet_pton(socket.AF_INET6, address[0]) + struct.pack('@I', self.interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        sock.setblocking(False)
        group.socket = sock
        self.selector.register(sock, selectors.EVENT_READ, lambda: self.receive_multicast(group))

    def stop_listening(self, group):
        if group.socket:
            self.selector.unregister(group.socket)
            group.socket.close()
            group.socket = None

    def receive_multicast(self, group):
        for datagram, _ in self.receive(group.socket):
            for record in split_datagram(datagram):
                if record.kind == APPLICATION_DATA and record.epoch >= FIRST_GROUP_EPOCH and group.key:
                    self.receive_group_record(group, record)

    def receive_group_record(self, group, record):
        before = group.key
        action, plaintext = group.receive(record, time.monotonic())
        self.log('group', group.gid, f'epoch {record.epoch:#x}', f'sequence {record.sequence:012x}', action)
        if group.key is not before:
            self.event('group-key', gid=group.gid, key=hex(group.key.number))
        if action == 'hint':
            self.hint_later(group)
        elif action == 'ask':
            self.ask_later(group)
        elif action == 'deliver':
            if record.epoch == group.key.epoch:
                self.cancel_hint(group)     # whoever needed it has heard this record
            if plaintext:
                text = json.dumps(plaintext.decode(errors='replace'), ensure_ascii=False)
                self.event('group', gid=group.gid, sender=record.sequence >> 32, text=text)

    def send_group(self, group, plaintext):
        if group.counter == COUNTER_END:
            self.event('error', reason='COUNTER_END')
            return
        self.cancel_hint(group)
        self.send(group.seal(plaintext), (*group.address, 0, self.interface))
        if group.counter == COUNTER_LOW:
            self.send_status(group.gid)

    def hint_later(self, group):
        """An empty record, from which whoever is behind learns of this step."""
        now = time.monotonic()
        if group.hint_timer or (group.hint_time is not None and now < group.hint_time + HINT_INTERVAL_S):
            return

        def due():
            group.hint_time = time.monotonic()
            self.send_group(group, b'')
        group.hint_timer = self.timers.after(random.uniform(0, HINT_DELAY_MAX_S), due)

    def cancel_hint(self, group):
        self.timers.cancel(group.hint_timer)
        group.hint_timer = None

    def forget_group(self, gid):
        group = self.groups.pop(gid, None)
        if group:
            self.stop_listening(group)
            self.cancel_hint(group)
            self.timers.cancel(group.ask_timer)
            group.wipe()
        for number, old in list(self.pending.items()):
            if old.gid == gid:
                self.timers.cancel(old.timer)
                del self.pending[number]
        return group

    def forget_everything(self):
        for gid in list(self.groups):
            self.forget_group(gid)

    # Commands and events

    def event(self, name, **details):
        print(name, *(f'{key}={value}' for key, value in details.items()), flush=True)

    def receive_commands(self):
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            self.exit_status = 0
            return
        *lines, self.input = (self.input + data).split(b'\n')
        for line in lines:
            try:
                self.command(*line.decode().split(' ', 2))
            except (ValueError, TypeError):
                self.event('error', reason='BAD_COMMAND')

    def command(self, name, gid='0', text=''):
        gid = int(gid)
        group = self.groups.get(gid)
        if name == 'quit':
            self.exit_status = 0
        elif name == 'status':
            for gid, group in self.groups.items():
                if group.key:
                    self.send_status(gid)
        elif name == 'rebind':
            self.open_socket()
        elif name == 'group':
            if group and group.key:
                self.send_group(group, text.encode())
            else:
                self.event('error', reason='NOT_MEMBER')
        elif name == 'join' and gid:
            if not group and not self.evicted:
                self.groups[gid] = Group(gid)
                self.tell(GROUP_REQUEST, gid)
                self.ask_later(self.groups[gid])
        elif name == 'leave' and gid:
            if self.forget_group(gid):
                self.tell(GROUP_LEAVE, gid)
        elif name == 'leave':
            self.forget_everything()
            self.tell(DOMAIN_LEAVE)
        else:
            raise ValueError(name)


# ---- The program -------------------------------------------------------------------------------

def resolve(text):
    """[ADDR]:PORT to a socket address."""
    match = re.fullmatch(r'\[(.+)\]:(\d+)', text)
    if not match:
        sys.exit(f'error: BAD_ARGUMENT: not [ADDR]:PORT: {text}')
    return socket.getaddrinfo(match[1], int(match[2]), socket.AF_INET6, socket.SOCK_DGRAM)[0][4]


def bare(address):
    """Without the interface that link-local addresses have behind them."""
    return address.partition('%')[0]


def interface_identifier(name):
    """The last 8 bytes of the interface's link-local address."""
    for line in Path('/proc/net/if_inet6').read_text().splitlines():
        digits, _, _, _, _, interface = line.split()
        if interface == name and digits.startswith('fe80'):
            return bytes.fromhex(digits)[8:]
    sys.exit(f'error: BAD_ARGUMENT: {name} has no link-local address')


def read_psk(path):
    """One line of hexadecimal digits."""
    return bytes.fromhex(Path(path).read_text())


def equal(got, expected, what):
    if got != expected:
        show = [value.hex() if isinstance(value, bytes) else repr(value) for value in (got, expected)]
        sys.exit(f'self-test: {what}: {show[0]} instead of {show[1]}')


def check_example(text):
    """Runs the join of section 11, and sends and takes the same bytes."""
    blocks = re.findall(r'^(\S[^\n]*):\n((?:    [0-9a-f ]+\n)+)', text, re.M)
    records = {}
    for label, digits in blocks:
        records.setdefault(label.split(',')[0], []).append(bytes.fromhex(digits))
    announcement, message = (bytes.fromhex(digits) for digits in re.findall(r'^    (17fefd[0-9a-f ]+)$', text, re.M))

    def example(label, number=0):
        if len(records.get(label, [])) <= number:
            sys.exit(f'self-test: the example has no {label}')
        return records[label][number]

    def receive(label, number=0):
        return next(split_datagram(example(label, number)))

    hello = example('ClientHello')
    handshake = Handshake(b'lamp-in-hallway', bytes(range(16)), [7], client_random=hello[27:59])
    equal(handshake.flight(), hello, 'ClientHello of the example')
    equal(handshake.receive(receive('ServerHello')), False, 'ServerHello of the example')
    equal(handshake.receive(receive('ServerHelloDone')), True, 'ServerHelloDone of the example')
    equal(handshake.master_secret, example('now the master secret is'), 'master secret of the example')
    equal(handshake.flight(), example('ClientKeyExchange') + example('ChangeCipherSpec') + example('Finished'),
          'last flight of the example')
    handshake.receive(receive('Finished', 1))
    equal(handshake.done, True, 'Finished of the example')

    session = handshake.session
    kind, number, (gid, key_number, sender, tgk) = parse_message(*session.open(receive('MASTER_KEY')))
    equal((kind, gid, key_number, sender), (MASTER_KEY, 7, 0x101, 1), 'MASTER_KEY of the example')
    kind, partner, fields = parse_message(*session.open(receive('PARAMETERS_EVICTION')))
    rand, address, port = fields[2:]
    equal((kind, partner, fields[:2]), (PARAMETERS_EVICTION, number, [7, 0x101]), 'PARAMETERS_EVICTION of the example')
    equal((str(unpack_address(address)), port), ('ff15::7', 0x1633), 'address of the example')
    ack = session.seal(SECURITY_PARAMETERS_DATA, struct.pack(LAYOUTS[ACK], ACK, number, DONE))
    equal(ack, example('ACK'), 'ACK of the example')

    equal(rand, example('RAND'), 'RAND of the example')
    equal(tgk, example('TGK(0x101)'), 'TGK of the example')
    equal(derive_next_tgk(example('TGK(0x100)'), gid, rand, 0x101), tgk, 'step of the example')
    equal(derive_tek(tgk, gid, rand), example('TEK(0x101)'), 'TEK of the example')
    member, other = Group(gid), Group(gid)
    member.install(GroupKey(gid, key_number, tgk, rand), sender, None, True, 0)
    other.install(GroupKey(gid, 0x100, example('TGK(0x100)'), rand), 9, None, True, 0)
    for text, sealed in ((b'', announcement), (b'hello', message)):
        equal(member.seal(text), sealed, 'group record of the example')
        equal(other.receive(next(split_datagram(sealed)), 0), ('deliver', text), 'group record of the example')


def self_test():
    """Published vectors, the example and the sizes of the document, and a handshake's worth of small rules."""
    # RFC 3610, packet vector 1
    sealed = AESCCM(bytes(range(0xC0, 0xD0)), tag_length=8).encrypt(
        bytes.fromhex('00000003020100A0A1A2A3A4A5'), bytes(range(8, 31)), bytes(range(8)))
    equal(sealed.hex(), '588c979a61c663d2f066d0c2c0f989806d5f6b61dac384' '17e8d12cfdf926e0', 'AES-CCM')

    # A vector for TLS 1.2's PRF with SHA-256 that went round on the IETF's TLS list
    equal(tls_prf(bytes.fromhex('9bbe436ba940f017b17652849a71db35'), b'test label',
                  bytes.fromhex('a0ba9f936cda311827a6f796ffd5198c'), 32).hex(),
          'e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a', 'TLS PRF')

    vectors = Path(__file__).parent.parent / 'vectors' / 'mikey_prf.csv'
    checked = 0
    with vectors.open() as lines:
        for row in csv.DictReader(line for line in lines if not line.startswith('#')):
            tgk, expected = bytes.fromhex(row['tgk']), bytes.fromhex(row['out'])
            if row['prf'] == '1' and len(tgk) == 16:
                label = b''.join(bytes.fromhex(row[name]) for name in ('constant', 'cs_id', 'csb_id', 'rand'))
                equal(p_hash(tgk, label, len(expected)), expected, row['key'])
                checked += 1
    equal(checked > 0, True, 'vectors in mikey_prf.csv')

    document = Path(__file__).parent.parent.parent / 'docs' / 'protocol.md'
    check_example(document.read_text().partition('<!-- example begins -->')[2])

    # Sizes
    handshake = Handshake(b'x' * 15, bytes(16), [1])
    equal(len(handshake.flight()), 81, 'ClientHello')
    equal(handshake.receive(Record(HANDSHAKE, DTLS_1_0, 0, 0, make_handshake(
        HELLO_VERIFY_REQUEST, 0, bytes.fromhex('feff') + vector(1, bytes(8))))), True, 'HelloVerifyRequest')
    equal(len(handshake.flight()), 89, 'ClientHello with a cookie')
    hello = make_handshake(SERVER_HELLO, 1, bytes.fromhex('fefd') + bytes(32) + b'\0' + bytes.fromhex('c0a8') + b'\0' +
                           vector(2, bytes.fromhex('00170000' 'ff01000100' 'ff100000')))
    equal(len(hello), 78 - HEADER_BYTES, 'ServerHello')
    body = hello[12:]
    for offset in (40, 0, 20):              # in fragments, the last one first
        part = body[offset:offset + (20 if offset < 40 else 40)]
        equal(handshake.receive(Record(HANDSHAKE, DTLS_1_2, 0, 1, hello[:6] + offset.to_bytes(3, 'big') +
                                       vector(3, part))), False, 'fragment')
    equal(handshake.receive(Record(HANDSHAKE, DTLS_1_2, 0, 2, make_handshake(SERVER_HELLO_DONE, 2, b''))), True,
          'ServerHelloDone')
    equal(len(handshake.flight()), 109, 'ClientKeyExchange, ChangeCipherSpec and Finished')
    equal(len(handshake.session.seal(SECURITY_PARAMETERS_DATA, struct.pack(LAYOUTS[ACK], ACK, 0, DONE))), 32, 'ACK')
    equal({kind: struct.calcsize(layout) for kind, layout in LAYOUTS.items()},
          {MASTER_KEY: 26, ACK: 3, STATUS: 11, GROUP_REQUEST: 4, GROUP_LEAVE: 4, DOMAIN_LEAVE: 2, REFUSED: 5,
           EVICTED: 2, GROUP_REMOVED: 4, PATH_CHECK: 2, MOVED: 2}, 'messages')
    equal([struct.calcsize(layout) for layout in PARAMETERS_LAYOUTS.values()], list(PARAMETERS_LAYOUTS), 'PARAMETERS')
    equal([struct.calcsize(layout) for layout in ACCESS_LAYOUTS.values()], list(ACCESS_LAYOUTS), 'ACCESS')
    equal(str(unpack_address(bytes.fromhex('1500000101'))), 'ff15::101', 'address')

    # Connection IDs
    def record(data, own_cid=b''):
        return next(split_datagram(data, own_cid), None)
    hello = Handshake(b'x' * 15, bytes(16), [1], own_cid=b'').flight()
    equal(len(hello), 86, 'ClientHello with a Connection ID')
    equal(hello[-11:].hex(), '0036000100' 'ff1000020001', 'its last extensions')
    device, manager = Session(bytes(40), b'', b'\1\2'), Session(bytes(40), b'\1\2', b'')
    sealed = device.seal(SECURITY_PARAMETERS_DATA, b'\x0e\0')
    equal(sealed[:17].hex(), '19fefd' '0001000000000000' '0102' '0013' '0001', 'record with a Connection ID')
    equal(record(sealed), None, 'an ID of unknown length')
    equal(device.open(record(sealed, b'\1\2')), None, 'an ID where none was agreed')
    equal(manager.open(record(manager.seal(SECURITY_PARAMETERS_DATA, b'\x0e\0'))), None, 'no ID where one was agreed')
    equal(manager.open(record(sealed[:12] + b'\3' + sealed[13:], b'\1\2')), None, 'another ID')
    equal(manager.open(record(sealed, b'\1\2')), (SECURITY_PARAMETERS_DATA, b'\x0e\0'), 'its content')
    equal(manager.open(record(sealed, b'\1\2')), None, 'its replay')
    explicit = bytes.fromhex('0001' '000000000007')
    padded = b'hi' + bytes([APPLICATION_DATA]) + bytes(5)
    sealed = device.write_key.encrypt(bytes(4) + explicit, padded, record_aad_cid(b'\1\2', 1, 7, len(padded)))
    padded = Record(WITH_CONNECTION_ID, DTLS_1_2, 1, 7, explicit + sealed, b'\1\2')
    equal(manager.open(padded), (APPLICATION_DATA, b'hi'), 'padding')

    # Windows
    window = Window(100)
    equal([window.is_new(n) for n in (99, 100, 101)], [False, True, True], 'window at its start')
    window.mark(100)
    window.mark(170)
    equal([window.is_new(n) for n in (100, 106, 107, 169, 170, 171)], [False, False, True, True, False, True], 'window')

    # Two members, one of them behind
    ahead, behind = Group(1), Group(1)
    key = GroupKey(1, 0x100, bytes(range(16)), bytes(16))
    behind.install(key, 1, None, False, 0)
    ahead.install(key.step(2), 2, None, False, 0)
    ahead.key.windows = {}
    message = record(ahead.seal(b'hello'))
    equal(behind.receive(message._replace(body=bytes(len(message.body))), 0), ('drop', None), 'forged step')
    equal(behind.key.number, 0x100, 'key after a forged step')
    equal(behind.receive(message, 0.5), ('drop', None), 'a far step too soon after another')
    equal(behind.receive(message, 1), ('deliver', b'hello'), 'step')
    equal(behind.key.number, 0x102, 'key after a step')
    equal(behind.receive(message, 1), ('drop', None), 'replay')
    equal(ahead.receive(record(key.seal(1, 0, b'late')), 0), ('hint', None), 'an old step')
    equal(behind.receive(record(key.seal(3, 0, b'late')), 5), ('deliver', b'late'), 'the previous key in time')
    equal(behind.receive(record(key.seal(3, 1, b'late')), 7), ('hint', None), 'the previous key too late')
    stranger = GroupKey(1, 0x200, bytes(16), bytes(16))
    equal(behind.receive(record(stranger.seal(3, 2, b'new')), 7), ('ask', None), 'another generation')
    print('self-test ok')


def parse_arguments():
    parser = argparse.ArgumentParser(description='A joining device and group member; reads commands on standard input.')
    parser.add_argument('--manager', metavar='[ADDR]:PORT', help='the domain manager')
    parser.add_argument('--id', help='PSK identity')
    parser.add_argument('--psk-file', metavar='FILE', help='PSK in hexadecimal digits')
    parser.add_argument('--group', metavar='GID', type=int, action='append', default=[], help='a group to join; may be repeated')
    parser.add_argument('--interface', metavar='IF', help='network interface for multicast')
    parser.add_argument('--timeout', metavar='S', type=float, default=30, help='seconds that a handshake may take')
    parser.add_argument('--status-interval', metavar='S', type=float, default=3600,
                        help='seconds between routine STATUS messages')
    parser.add_argument('--connection-id', metavar='WHICH', default='link-local',
                        help='off, on, link-local (only if the manager\'s address is), or what the manager is to write into '
                             'its records, in hex')
    parser.add_argument('--configure-address', action='store_true',
                        help='take an address of the prefix that the manager tells, and move the session there')
    parser.add_argument('--loss', metavar='P', type=float, default=0, help='drop datagrams both ways, with this probability')
    parser.add_argument('--seed', type=int, help='of the losses')
    parser.add_argument('--verbose', '-v', action='store_true', help='every datagram on standard error')
    parser.add_argument('--self-test', action='store_true',
                        help='check the cryptography and some rules against known answers, and end')
    options = parser.parse_args()
    if not options.self_test:
        for name in ('manager', 'id', 'psk_file', 'interface'):
            if getattr(options, name) is None:
                parser.error(f'--{name.replace("_", "-")} is missing')
    return options


def main():
    options = parse_arguments()
    if options.self_test:
        self_test()
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return Peer(options).run()


if __name__ == '__main__':
    sys.exit(main())
