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

and, where the domain has a polynomial,

    SHARE_STATUS                            -------->
                                            <--------   ACK, and SHARE and REVOKED until all is there
    ACK                                     -------->

    Peer                                                        Another device
    ClientHello + device_identity           -------->
                                            <--------   HelloVerifyRequest (perhaps)
    ClientHello + cookie                    -------->
                                            <--------   ServerHello + device_identity, ServerHelloDone
    ClientKeyExchange, [CCS], Finished      -------->
                                            <--------   [CCS], Finished
    a message                               <------->   a message

or the other way round.

It shares no code with the C library, so that each checks the other, and it is meant to be read: the
parts stand in the order of the document, whose section numbers they name. Standard library, and
python3-cryptography for AES-CCM.

Commands on standard input, one a line:

    group GID TEXT      send TEXT to a group
    join GID            ask for one more group
    leave [GID]         leave a group, or the domain
    status              send a STATUS for every group
    send ID@[ADDR]:PORT TEXT    send TEXT to the device ID, which is expected at this address
    key ID PURPOSE      print the key of a purpose, 1 to 255, that the session with ID brought
    close ID            close the session with ID
    hermit              end the session with the manager, and open no other
    knock ID@[ADDR]:PORT        send one ClientHello, and leave the other end alone with it
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
    share generation=1 degree=31            this generation of the polynomial serves from now on
    revoked generation=1 marks=2            so many evicted devices are refused
    error reason=NOT_FOUND                  the domain has no polynomial (or DEGREE, DECODE: no use of what came)
    peer-open id=lamp generation=1          a session with another device stands
    message from=lamp text="..."            a message of another device
    key id=lamp purpose=1 key=0011...
    peer-failed id=lamp reason=NO_ANSWER    the handshake with it came to nothing, and so did what was to be sent
    peer-refused id=lamp reason=REVOKED     a handshake of somebody who says that he is that device
    peer-closed id=lamp reason=CLOSED
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
import secrets
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
DEVICE_IDENTITY_EXTENSION = 0xFF11
RENEGOTIATION_INFO = 0xFF01
GROUPS_IN_HELLO_MAX = 8

CLOSE_NOTIFY = 0
HANDSHAKE_FAILURE = 40
ILLEGAL_PARAMETER = 47
DECRYPT_ERROR = 51
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
SHARE_STATUS = 15
SHARE = 16
REVOKED = 17

LAYOUTS = {MASTER_KEY: '>BBHIH16s', ACK: '>BBB', STATUS: '>BBHIHB', GROUP_REQUEST: '>BBH', GROUP_LEAVE: '>BBH',
           DOMAIN_LEAVE: '>BB', REFUSED: '>BBHB', EVICTED: '>BB', GROUP_REMOVED: '>BBH', PATH_CHECK: '>BB', MOVED: '>BB',
           SHARE_STATUS: '>BBIIHB'}
PARAMETERS_LAYOUTS = {31: '>BBHI16s5sH', 42: '>BBHI16s16sH'}
ACCESS_LAYOUTS = {45: '>BBI16sHH8s8sHB', 53: '>BBI16sHH8s16sHB'}

SHARE_LAYOUT, REVOKED_LAYOUT = '>BBIBBBB', '>BBIBB'     # and as many elements, or marks, as follow

RESULTS = ['DONE', 'KEYS_FOLLOW', 'CONFLICT', 'NO_ROOM', 'NOT_MEMBER', 'FAILED']
DONE, KEYS_FOLLOW, CONFLICT, NO_ROOM, NOT_MEMBER, FAILED = range(6)
STATUS_CONFLICT = 1
STATUS_COUNTER_LOW = 2
ACCESS_USE = 1
SHARE_GENTLE = 1

# Times and limits (sections 3 and 8)
FLIGHT_TIMER_S, FLIGHT_TIMER_MAX_S = 0.5, 4.0
MESSAGE_TIMER_S, MESSAGE_TIMER_MAX_S = 0.5, 4.0
MESSAGE_ROUNDS = 6
PREVIOUS_KEY_S = 5.0
HINT_DELAY_MAX_S = 0.5
HINT_INTERVAL_S = 2.0
ASK_DELAY_S = 10.0
KEYS_WAIT_S = 10.0
BACKOFF_S, BACKOFF_MAX_S = 10.0, 3600.0
FAR_STEP_INTERVAL_S = 1.0
STEPS_AHEAD_MAX = 16
COUNTER_LOW = 0xFFF00000
COUNTER_END = 0xFFFFFFFF
WINDOW_NUMBERS = 64

# Pairwise keys (section 14)
PRIME = 2 ** 127 - 1
ELEMENT_BYTES = 16
MARK_BYTES = 8
MARKS_MAX = 32
DEGREE_MAX = 255
IDENTITY_BYTES_MAX = 128
GENERATION_BEFORE = 1                   # flag of device_identity
SHARE_OVERLAP_S = 3600
DEVICE_IDLE_S = 300
DEVICE_HANDSHAKE_S = 20
HALF_OPEN_S = 30
HALF_OPEN_MAX = 16
AMPLIFICATION_MAX = 3


class Malformed(Exception):
    """What came does not have the form, or does not offer what, the document asks for."""


class Refused(Malformed):
    """A hello that is in order, but of somebody to whom this device does not talk. The reason has a name."""


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


def derive_exported(master_secret, client_random, server_random):
    return tls_prf(master_secret, b'EXPORTER-iotsec-csb', client_random + server_random, 20)


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
    """The protection of epoch 1, seen from one end."""

    def __init__(self, key_block, own_cid=b'', manager_cid=b'', is_client=True):
        reader = Reader(key_block)
        keys = [AESCCM(reader.take(16), tag_length=TAG_BYTES) for _ in range(2)]
        ivs = [reader.take(4) for _ in range(2)]
        self.write_key, self.read_key = keys if is_client else reversed(keys)
        self.write_iv, self.read_iv = ivs if is_client else reversed(ivs)
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


def read_extensions(reader):
    """What is left of a hello, by type."""
    found = {}
    extensions = Reader(reader.vector(2) if reader else b'')
    reader.end()
    while extensions:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind in found:
            raise Malformed('an extension twice')
        found[kind] = content
    return found


def write_extension(kind, content):
    return struct.pack('>H', kind) + vector(2, content)


class Handshake:
    """What both sides of a handshake have in common. It does no I/O: records go in, datagrams come out of flight()."""

    EARLY_RECORDS_MAX = 8
    IS_CLIENT = True
    TAKES = ()                              # messages

    def __init__(self):
        self.next_sequence = 0              # of epoch 0
        self.incoming = Reassembly()
        self.expected = []
        self.transcript = b''
        self.outgoing = []
        self.session = None                 # exists as soon as there are keys
        self.done = False
        self.held = None                    # what overtook the message that brings the keys
        self.early = []                     # what overtook the other end's Finished
        self.complaint = None               # the last reason for which a message was dropped
        self.refusal = None                 # the reason why this handshake leads to nothing if nothing better comes
        self.alerts = 0                     # received since this flight was sent first
        self.others = 0
        self.bytes_in = self.bytes_out = 0
        self.wrong_finished = False         # one came, and nobody has been told yet

    def may_send(self, _):
        return True

    def derive_keys(self, psk, client_random, server_random, own_cid=b'', manager_cid=b''):
        """All keys; the transcript ends with the ClientKeyExchange."""
        session_hash = hashlib.sha256(self.transcript).digest()
        self.master_secret = tls_prf(premaster_secret(psk), b'extended master secret', session_hash, 48)
        key_block = tls_prf(self.master_secret, b'key expansion', server_random + client_random, 40)
        self.session = Session(key_block, own_cid, manager_cid, self.IS_CLIENT)
        self.exported = derive_exported(self.master_secret, client_random, server_random)

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

    def receive(self, record):
        """True if there is a new flight to send."""
        flight = self.outgoing
        if record.epoch == 0:
            if record.kind == ALERT:
                self.alerts += 1            # anybody can send one, so it ends nothing by itself
                return False
            if record.kind == HANDSHAKE and record.version in (DTLS_1_2, DTLS_1_0):
                self.receive_fragments(record.body, 0)
            if self.session and self.held:
                held, self.held = self.held, None
                self.receive_protected(held)
        elif record.epoch == 1 and self.session:
            self.receive_protected(record)
        elif record.epoch == 1:
            self.held = record
        return self.outgoing is not flight

    def receive_protected(self, record):
        fresh = self.session.window.is_new(record.sequence)
        opened = self.session.open(record)
        if opened is None:
            if fresh and record.kind == HANDSHAKE:
                self.receive_wrong_finished()
            return
        self.others += 1
        if opened[0] == HANDSHAKE:
            self.receive_fragments(opened[1], 1)
        elif len(self.early) < self.EARLY_RECORDS_MAX:
            self.early.append(opened)

    def receive_wrong_finished(self):
        pass

    def receive_fragments(self, data, epoch):
        reader = Reader(data)
        try:
            while reader:
                kind, length, message_seq = reader.number(1), reader.number(3), reader.number(2)
                offset, fragment = reader.number(3), reader.vector(3)
                if (kind == FINISHED) != (epoch == 1) or kind not in self.TAKES:
                    continue
                if kind == HELLO_VERIFY_REQUEST:
                    if offset == 0 and len(fragment) == length:
                        self.receive_hello_verify_request(Reader(fragment))
                    continue
                if message_seq >= self.incoming.next_seq:   # what the other end merely repeats is nothing better
                    self.others += 1
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
                if isinstance(problem, Refused):
                    self.refusal = str(problem)
                self.incoming.forget_head()
                return
            self.incoming.take()


class ClientHandshake(Handshake):
    """The client's side. What a hello carries besides depends on whom it goes to."""

    TAKES = (SERVER_HELLO, HELLO_VERIFY_REQUEST, SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE, FINISHED)

    def __init__(self, identity, psk, client_random=None, own_cid=None):
        super().__init__()
        self.identity = identity
        self.psk = psk
        self.own_cid = own_cid              # None: no Connection IDs; empty: one for the manager only
        self.manager_cid = b''
        self.random = client_random or os.urandom(32)
        self.cookie = None
        self.expected = [SERVER_HELLO]
        self.write_client_hello()

    # For the two kinds of client

    def own_extension(self):
        raise NotImplementedError

    def receive_own_extension(self, content):
        raise NotImplementedError

    # What is sent

    def write_client_hello(self):
        body = struct.pack('>H', DTLS_1_2) + self.random
        body += vector(1, b'') + vector(1, self.cookie or b'')
        body += vector(2, struct.pack('>HH', PSK_WITH_AES_128_CCM_8, EMPTY_RENEGOTIATION_INFO_SCSV))
        body += vector(1, b'\0')
        extensions = write_extension(EXTENDED_MASTER_SECRET, b'')
        if self.own_cid is not None:
            extensions += write_extension(CONNECTION_ID, vector(1, self.own_cid))
        extensions += write_extension(*self.own_extension())
        body += vector(2, extensions)
        hello = make_handshake(CLIENT_HELLO, 0 if self.cookie is None else 1, body)
        self.transcript = hello             # an earlier hello and the HelloVerifyRequest do not count
        self.outgoing = [(HANDSHAKE, 0, hello)]

    def write_finished(self):
        """ClientKeyExchange, [ChangeCipherSpec], Finished, and all keys."""
        message_seq = 1 if self.cookie is None else 2
        key_exchange = make_handshake(CLIENT_KEY_EXCHANGE, message_seq, vector(2, self.identity))
        self.transcript += key_exchange
        self.derive_keys(self.psk, self.random, self.server_random, self.read_cid, self.manager_cid)

        finished = make_handshake(FINISHED, message_seq + 1, self.verify_data(b'client finished'))
        self.transcript += finished
        self.outgoing = [(HANDSHAKE, 0, key_exchange), (CHANGE_CIPHER_SPEC, 0, b'\1'), (HANDSHAKE, 1, finished)]
        self.alerts = self.others = 0

    # What is received

    def verdict(self):
        """Why this leads to nothing, as far as it seems by now."""
        if self.session:
            return 'WRONG_PSK' if self.alerts and not self.others else None
        return self.refusal

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
        found = read_extensions(body)
        if found.pop(EXTENDED_MASTER_SECRET, None) != b'':
            raise Malformed('no extended master secret')
        if found.pop(RENEGOTIATION_INFO, None) != b'\0':
            raise Malformed('no secure renegotiation')
        own = found.pop(self.own_extension()[0], None)
        manager_cid, read_cid = b'', b''
        if self.own_cid is not None and CONNECTION_ID in found:
            answer = Reader(found.pop(CONNECTION_ID))
            manager_cid, read_cid = answer.vector(1), self.own_cid
            answer.end()
        if found:
            raise Malformed('an extension that was not offered')
        self.receive_own_extension(own)
        self.server_random = server_random
        self.manager_cid, self.read_cid = manager_cid, read_cid


class JoinHandshake(ClientHandshake):
    """With a manager (section 4)."""

    def __init__(self, identity, psk, groups, client_random=None, own_cid=None):
        self.groups = groups
        super().__init__(identity, psk, client_random, own_cid)

    def own_extension(self):
        return GROUP_REQUEST_EXTENSION, b''.join(group.to_bytes(2, 'big') for group in self.groups)

    def receive_own_extension(self, content):
        if content != b'':
            raise Malformed('not a domain manager')


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


# ---- Pairwise keys (section 14) ----------------------------------------------------------------

def point_of(identity):
    return int.from_bytes(hashlib.sha256(b'iotsec point' + identity).digest(), 'big') % PRIME


def mark_of(identity):
    return point_of(identity).to_bytes(ELEMENT_BYTES, 'big')[:MARK_BYTES]


def evaluate(coefficients, x):
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % PRIME
    return value


def pair_keys(share, own, other):
    """(PSK, TGK) of two devices, from the share of one of them."""
    return derive_pair_keys(evaluate(share.elements, point_of(other)), share.generation, own, other)


def derive_pair_keys(value, generation, own, other):
    key = value.to_bytes(ELEMENT_BYTES, 'big')
    context = generation.to_bytes(4, 'big') + b''.join(vector(1, identity) for identity in sorted((own, other)))
    return hmac_sha256(key, b'iotsec pair psk' + context), hmac_sha256(key, b'iotsec pair tgk' + context)[:16]


def derive_purpose_key(tgk, cs_id, csb_id_and_rand):
    return p_hash(tgk, TEK_CONSTANT + bytes([cs_id]) + csb_id_and_rand, 16)


class Share:
    """A share of one generation of the polynomial, perhaps not whole yet, and who was evicted since."""

    def __init__(self, generation, degree=None):
        self.generation = generation
        self.degree = degree
        self.gentle = False                 # the generation before may serve for a while longer
        self.elements = []
        self.marks = []
        self.wanted = 0                     # so many marks there are

    def is_whole(self):
        return self.degree is not None and len(self.elements) == self.degree + 1 and len(self.marks) >= self.wanted


class Shares:
    """What this device has of the domain's polynomials."""

    def __init__(self, degree_max=DEGREE_MAX, overlap_s=SHARE_OVERLAP_S):
        self.degree_max = degree_max
        self.overlap_s = overlap_s
        self.forget()

    def forget(self):
        self.in_use = None
        self.previous = None
        self.previous_until = 0.0
        self.coming = None
        self.old_marks = []                 # of a generation that never came to be used
        self.hopeless = 0                   # up to this generation, no more is taken

    def usable(self, now):
        """The shares that serve, the newest first."""
        previous = self.previous if now < self.previous_until else None
        return [share for share in (self.in_use, previous) if share]

    def of_generation(self, generation, now):
        return next((share for share in self.usable(now) if share.generation == generation), None)

    def is_revoked(self, identity, now):
        mark = mark_of(identity)
        known = self.usable(now) + ([self.coming] if self.coming else [])
        return mark in self.old_marks or any(mark in share.marks for share in known)

    def status(self):
        """The fields of SHARE_STATUS."""
        newer = self.coming or self.in_use
        return (self.in_use.generation if self.in_use else 0, self.coming.generation if self.coming else 0,
                len(self.coming.elements) if self.coming else 0, len(newer.marks) if newer else 0)

    def lacks_something(self):
        return bool(self.coming or self.in_use and len(self.in_use.marks) < self.in_use.wanted)

    def end_older(self):
        """Of two generations. If the newer one is still coming, none serves until it is whole."""
        if self.coming:
            self.in_use = None
        self.previous = None
        self.old_marks = []

    def newest(self, generation):
        """What is known of this generation, if it is the newest one or becomes that now; else None."""
        newest = self.coming or self.in_use
        if not newest or generation > newest.generation:
            if self.coming:
                self.old_marks += self.coming.marks
            self.previous = None
            newest = self.coming = Share(generation)
        return newest if newest.generation == generation else None

    def receive_share(self, generation, degree, first, revoked, flags, elements):
        """The result to acknowledge with, or None if something is missing."""
        if generation <= self.hopeless:
            return NO_ROOM
        share = self.newest(generation)
        if share is None or share is self.in_use:
            return DONE
        if degree > self.degree_max or share.degree not in (None, degree):
            self.forget()
            self.hopeless = generation
            return NO_ROOM
        share.wanted = max(share.wanted, revoked)
        held = len(share.elements)
        if first > held:
            return None
        if first + len(elements) <= held:
            return DONE
        values = [int.from_bytes(element, 'big') for element in elements]
        if any(value >= PRIME for value in values):
            return FAILED
        share.degree = degree
        share.elements += values[held - first:]
        share.gentle = bool(flags & SHARE_GENTLE)
        return DONE

    def receive_revoked(self, generation, first, revoked, marks):
        """Likewise."""
        if generation <= self.hopeless:
            return NO_ROOM
        share = self.newest(generation)
        if share is None:
            return DONE
        share.wanted = max(share.wanted, revoked)
        held = len(share.marks)
        if first > held:
            return None
        new = marks[held - first:]
        older = self.old_marks + [mark for old in (self.previous, self.coming and self.in_use) if old for mark in old.marks]
        if len([mark for mark in older if mark not in share.marks + new]) + held + len(new) > MARKS_MAX:
            self.end_older()
        share.marks += new
        return DONE

    def begin_use(self, now):
        """True if what was coming is whole, and serves from now on."""
        if not self.coming or not self.coming.is_whole():
            return False
        self.previous, self.in_use, self.coming = self.in_use, self.coming, None
        if self.previous:
            self.previous.marks += self.old_marks
        self.old_marks = []
        if not self.in_use.gentle or self.previous and self.previous.generation != self.in_use.generation - 1:
            self.previous = None
        self.previous_until = now + self.overlap_s
        return True


def write_device_identity(generation, flags, identity):
    return generation.to_bytes(4, 'big') + bytes([flags]) + identity


def read_device_identity(content):
    reader = Reader(content)
    generation, flags = reader.number(4), reader.number(1)
    if not generation or not 1 <= len(reader) <= IDENTITY_BYTES_MAX:
        raise Malformed('device_identity')
    return generation, flags, reader.data


class DeviceClient(ClientHandshake):
    """With another device, as the client."""

    def __init__(self, identity, other, shares, name=None, stubborn=False):
        self.name = name or identity        # in the hello; a liar has two
        self.stubborn = stubborn            # goes on under another generation
        self.other = other
        self.shares = {share.generation: share for share in shares}
        self.generation = None
        super().__init__(identity, None)

    def own_extension(self):
        newest = max(self.shares)
        flags = GENERATION_BEFORE if newest - 1 in self.shares else 0
        return DEVICE_IDENTITY_EXTENSION, write_device_identity(newest, flags, self.name)

    def receive_own_extension(self, content):
        generation, _, identity = read_device_identity(content or b'')
        if identity != self.other:
            raise Refused('PEER_IDENTITY')
        if self.stubborn:
            generation = max(self.shares)
        if generation not in self.shares:
            raise Refused('GENERATION')
        self.generation = generation
        self.psk, self.tgk = pair_keys(self.shares[generation], self.identity, self.other)


class ClientHello:
    """What a client has sent, in one piece. The cookie covers all of it but itself."""

    def __init__(self, record):
        reader = Reader(record.body)
        kind, length, self.message_seq = reader.number(1), reader.number(3), reader.number(2)
        offset, body = reader.number(3), reader.vector(3)
        if kind != CLIENT_HELLO or offset or len(body) != length or record.version not in (DTLS_1_2, DTLS_1_0):
            raise Malformed('no whole ClientHello')
        self.sequence = record.sequence
        self.whole = make_handshake(kind, self.message_seq, body)

        reader = Reader(body)
        version = reader.number(2)
        self.random = reader.take(32)
        session_id = reader.vector(1)
        self.cookie = reader.vector(1)
        self.uncooked = body[:2 + 32 + 1 + len(session_id)] + reader.data
        suites = reader.vector(2)
        self.suites = [int.from_bytes(suites[at:at + 2], 'big') for at in range(0, len(suites), 2)]
        compressions = reader.vector(1)
        self.extensions = read_extensions(reader)
        self.is_acceptable = (version == DTLS_1_2 and PSK_WITH_AES_128_CCM_8 in self.suites and 0 in compressions and
                              self.extensions.get(EXTENDED_MASTER_SECRET) == b'' and
                              (EMPTY_RENEGOTIATION_INFO_SCSV in self.suites or
                               self.extensions.get(RENEGOTIATION_INFO) == b'\0'))

    def identity(self):
        """(generation, flags, identity), or None without device_identity."""
        content = self.extensions.get(DEVICE_IDENTITY_EXTENSION)
        return None if content is None else read_device_identity(content)


class DeviceServer(Handshake):
    """With another device, as the server. Who is refused meets a random key, and sees no other difference."""

    IS_CLIENT = False
    TAKES = (CLIENT_KEY_EXCHANGE, FINISHED)

    def __init__(self, identity, hello, shares, is_revoked, name=None):
        super().__init__()
        self.identity = identity
        self.hello = hello
        self.proved = False                 # the client receives where it sends from
        self.told = False                   # the application knows that this was refused
        self.hello_refusal = None
        self.next_sequence = hello.sequence
        self.incoming.next_seq = hello.message_seq + 1
        self.random = os.urandom(32)
        self.share = None
        self.generation = None
        self.other = None

        body = struct.pack('>H', DTLS_1_2) + self.random + vector(1, b'') + struct.pack('>HB', PSK_WITH_AES_128_CCM_8, 0)
        extensions = write_extension(RENEGOTIATION_INFO, b'\0') + write_extension(EXTENDED_MASTER_SECRET, b'')
        named = hello.identity()
        if named is None:
            self.hello_refusal = 'UNKNOWN_IDENTITY'
        else:
            offered, flags, self.other = named
            wanted = [offered, offered - 1] if flags & GENERATION_BEFORE else [offered]
            self.share = next((share for generation in wanted for share in shares if share.generation == generation), None)
            self.generation = (self.share or shares[0]).generation
            if is_revoked(self.other):
                self.hello_refusal = 'REVOKED'
            elif not self.share:
                self.hello_refusal = 'GENERATION'
            extensions += write_extension(DEVICE_IDENTITY_EXTENSION,
                                          write_device_identity(self.generation, 0, name or identity))
        server_hello = make_handshake(SERVER_HELLO, hello.message_seq, body + vector(2, extensions))
        server_hello_done = make_handshake(SERVER_HELLO_DONE, hello.message_seq + 1, b'')
        self.transcript = self.after_hello = hello.whole + server_hello + server_hello_done
        self.outgoing = [(HANDSHAKE, 0, server_hello), (HANDSHAKE, 0, server_hello_done)]
        self.refusal = self.hello_refusal
        self.expected = [CLIENT_KEY_EXCHANGE]

    @staticmethod
    def verdict():
        return None                         # a server waits for the end of its time

    def may_send(self, count):
        """Who has not proved its address is sent three times what it sent itself, at most."""
        if not self.proved and self.bytes_out + count > AMPLIFICATION_MAX * self.bytes_in:
            return False
        self.bytes_out += count
        return True

    def receive_message(self, kind, body):
        whole = make_handshake(kind, self.incoming.next_seq, body.data)
        if kind == CLIENT_KEY_EXCHANGE:
            identity = body.vector(2)
            body.end()
            self.refusal = self.hello_refusal or (None if identity == self.other else 'PEER_IDENTITY')
            psk, self.tgk = (os.urandom(32), None) if self.refusal else pair_keys(self.share, self.identity, self.other)
            self.transcript += whole
            self.derive_keys(psk, self.hello.random, self.random)
            self.expected = [FINISHED]
        elif kind == FINISHED:
            if not hmac.compare_digest(body.data, self.verify_data(b'client finished')):
                raise Malformed('wrong verify_data')
            self.transcript += whole
            finished = make_handshake(FINISHED, self.incoming.next_seq, self.verify_data(b'server finished'))
            self.outgoing = [(CHANGE_CIPHER_SPEC, 0, b'\1'), (HANDSHAKE, 1, finished)]
            self.proved = self.done = True

    def receive_wrong_finished(self):
        """Another key, or somebody has forged a message before it: the client's next try may be better."""
        self.wrong_finished = True
        self.session = None
        self.transcript = self.after_hello
        self.incoming = Reassembly()
        self.incoming.next_seq = self.hello.message_seq + 1
        self.expected = [CLIENT_KEY_EXCHANGE]


# ---- Key-management messages (section 5) -------------------------------------------------------

def parse_message(content_type, data):
    """(kind, message number, fields), or None for anything that a device does not take."""
    if len(data) < 2:
        return None
    kind = data[0]
    if (content_type == MASTER_KEY_DATA) != (kind in (MASTER_KEY, ACCESS, SHARE)):
        return None
    if kind in (SHARE, REVOKED):
        return parse_list(kind, data, *((SHARE_LAYOUT, ELEMENT_BYTES) if kind == SHARE else (REVOKED_LAYOUT, MARK_BYTES)))
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


def parse_list(kind, data, layout, item_bytes):
    """Some fields, and behind them one or more items of a size."""
    fields, items = data[:struct.calcsize(layout)], data[struct.calcsize(layout):]
    if not items or len(items) % item_bytes:
        return None
    _, number, *fields = struct.unpack(layout, fields)
    generation, *_, first, revoked = fields[:4] if kind == SHARE else fields
    count = first + len(items) // item_bytes
    if not generation or revoked > MARKS_MAX or count > (fields[1] + 1 if kind == SHARE else revoked):
        return None
    if kind == SHARE and not fields[1]:
        return None
    return kind, number, [*fields, [items[at:at + item_bytes] for at in range(0, len(items), item_bytes)]]


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

    def __init__(self, kind, gid, fields):
        self.kind = kind
        self.gid = gid
        self.fields = fields                # or a function that returns them, when it is this message's turn
        self.number = None                  # from then on
        self.data = None
        self.rounds = 0
        self.interval = MESSAGE_TIMER_S
        self.timer = None


class Run:
    """A handshake under way with somebody: sends its flights, and repeats them until something better comes. In the end it
    calls over(reason), with None for success."""

    REPEATS = 3                             # that brought nothing better, before it gives up

    def __init__(self, peer, handshake, address, seconds, over):
        self.peer = peer
        self.handshake = handshake
        self.address = address
        self.over = over
        self.timer = None
        self.deadline = peer.timers.after(seconds, lambda: self.end(handshake.verdict() or 'NO_ANSWER'))
        self.start_flight()

    def start_flight(self):
        self.interval = FLIGHT_TIMER_S
        self.hopeless = 0
        self.sent_at = time.monotonic()
        self.send()
        self.wait()

    def wait(self):
        self.timer = self.peer.timers.after(self.interval * random.uniform(0.88, 1.12), self.repeat)
        self.interval = min(self.interval * 1.25, FLIGHT_TIMER_MAX_S)

    def send(self):
        self.sent_at = time.monotonic()
        datagram = self.handshake.flight()
        if self.handshake.may_send(len(datagram)):
            self.peer.send(datagram, self.address)

    def repeat(self):
        if self.handshake.verdict():
            self.hopeless += 1
            if self.hopeless > self.REPEATS:
                self.end(self.handshake.verdict())
                return
        self.send()
        self.wait()

    def repeat_at_once(self):
        """For a client that says the same again; not oftener than the timer."""
        if time.monotonic() >= self.sent_at + FLIGHT_TIMER_S:
            self.send()

    def receive(self, record):
        is_new = self.handshake.receive(record)
        if self.handshake.done:
            if is_new:
                self.send()
            self.end(None)
        elif is_new:
            self.peer.timers.cancel(self.timer)
            self.start_flight()

    def end(self, reason):
        self.stop()
        self.over(reason)

    def stop(self):
        self.peer.timers.cancel(self.timer)
        self.peer.timers.cancel(self.deadline)


def place(address):
    return bare(address[0]), address[1]


def printable(identity):
    return identity.decode(errors='backslashreplace') if identity else '-'


class DeviceSession:
    """A session with another device."""

    def __init__(self, identity, address, handshake):
        self.identity = identity
        self.address = address
        self.handshake = handshake          # a server's last flight is repeated
        self.protection = handshake.session
        self.generation = handshake.generation
        self.tgk = handshake.tgk
        self.exported = handshake.exported  # CSB_ID and RAND
        self.heard = handshake.IS_CLIENT    # whether the other end is known to have our last flight
        self.flight_at = self.used_at = time.monotonic()

    def purpose_key(self, cs_id):
        return derive_purpose_key(self.tgk, cs_id, self.exported)


class Devices:
    """This device and the others (section 14)."""

    def __init__(self, peer, options):
        self.peer = peer
        self.identity = peer.identity
        self.name = options.hello_identity.encode() if options.hello_identity else None
        self.stubborn = options.stubborn
        self.idle_s = options.device_idle
        self.shares = Shares(options.degree_max, options.share_overlap)
        self.cookie_secret = os.urandom(32)
        self.sessions = {}                  # by identity
        self.clients = {}                   # runs, by identity
        self.servers = {}                   # runs, by place
        self.queues = {}                    # address and messages, by identity

    # Shares

    def receive_share(self, kind, fields):
        """The result to acknowledge with, None for none."""
        if kind == SHARE:
            hopeless = self.shares.hopeless
            result = self.shares.receive_share(*fields)
            if result == NO_ROOM and hopeless != self.shares.hopeless:
                self.peer.event('error', reason='DEGREE')
            elif result == FAILED:
                self.peer.event('error', reason='DECODE')
        else:
            before = self.shares.status()
            result = self.shares.receive_revoked(*fields)
        if self.shares.begin_use(time.monotonic()):
            share = self.shares.in_use
            self.peer.event('share', generation=share.generation, degree=share.degree)
            self.peer.timers.after(self.shares.overlap_s, self.drop_unserved)
        elif kind == REVOKED and self.shares.status() != before:
            newer = self.shares.coming or self.shares.in_use
            self.peer.event('revoked', generation=newer.generation, marks=len(newer.marks))
        self.drop_unserved()
        return result

    def why_not(self, identity, generation):
        """Why there must be no session with somebody under a generation, None if there may be."""
        now = time.monotonic()
        if self.shares.is_revoked(identity, now):
            return 'REVOKED'
        return None if self.shares.of_generation(generation, now) else 'GENERATION'

    def drop_unserved(self):
        for session in list(self.sessions.values()):
            if reason := self.why_not(session.identity, session.generation):
                self.close(session, reason)
        for identity, run in list(self.clients.items()):
            if self.shares.is_revoked(identity, time.monotonic()):
                run.end('REVOKED')

    def forget(self):
        self.shares = Shares(self.shares.degree_max, self.shares.overlap_s)
        for run in [*self.clients.values(), *self.servers.values()]:
            run.stop()
        self.clients, self.servers, self.queues = {}, {}, {}
        for session in list(self.sessions.values()):
            self.close(session, 'CLOSED')

    # Messages

    def send(self, identity, address, data):
        now = time.monotonic()
        if identity == self.identity or self.peer.is_managers(address):
            self.peer.event('error', reason='ARGUMENT')
        elif not self.shares.in_use:
            self.peer.event('error', reason='NO_SHARE')
        elif self.shares.is_revoked(identity, now):
            self.peer.event('error', reason='REVOKED')
        elif (session := self.sessions.get(identity)) and place(session.address) == place(address):
            self.transmit(session, data)
        else:
            self.queues.setdefault(identity, (address, []))[1].append(data)
            self.open(identity)

    def transmit(self, session, data):
        datagram = b''
        now = time.monotonic()
        if not session.heard and now >= session.flight_at + FLIGHT_TIMER_S:
            datagram, session.flight_at = session.handshake.flight(), now
        session.used_at = now
        self.peer.send(datagram + session.protection.seal(APPLICATION_DATA, data), session.address)

    def purpose_key(self, identity, cs_id):
        session = self.sessions.get(identity)
        if session is None:
            self.peer.event('error', reason='NOT_FOUND')
        else:
            self.peer.event('key', id=printable(identity), purpose=cs_id, key=session.purpose_key(cs_id).hex())

    def close(self, session, reason):
        """The other end is told."""
        self.peer.send(session.protection.seal(ALERT, bytes([WARNING, CLOSE_NOTIFY])), session.address)
        self.has_ended(session, reason)

    def has_ended(self, session, reason):
        del self.sessions[session.identity]
        self.peer.event('peer-closed', id=printable(session.identity), reason=reason)

    def close_if_idle(self, session):
        if self.sessions.get(session.identity) is not session:
            return
        left = session.used_at + self.idle_s - time.monotonic()
        if left <= 0:
            self.close(session, 'TIMEOUT')
        else:
            self.peer.timers.after(left, lambda: self.close_if_idle(session))

    # Handshakes as the client

    def new_client(self, identity):
        return DeviceClient(self.identity, identity, self.shares.usable(time.monotonic()), self.name, self.stubborn)

    def open(self, identity):
        """A handshake with whoever something is queued for."""
        address = self.queues[identity][0]
        if identity in self.clients:
            return
        incoming = self.servers.get(place(address))
        if self.identity < identity and incoming and incoming.handshake.other == identity:
            if incoming.handshake.proved:
                return                      # that one is waited for
            incoming.stop()
            del self.servers[place(address)]
        handshake = self.new_client(identity)
        self.clients[identity] = Run(self.peer, handshake, address, DEVICE_HANDSHAKE_S,
                                     lambda reason: self.client_over(identity, reason))

    def client_over(self, identity, reason):
        run = self.clients.pop(identity)
        reason = reason or self.why_not(identity, run.handshake.generation)
        if reason:
            self.queues.pop(identity, None)
            self.peer.event('peer-failed', id=printable(identity), reason=reason)
        else:
            self.stands(identity, run)

    def knock(self, identity, address):
        if self.shares.in_use:
            self.peer.send(self.new_client(identity).flight(), address)

    # Handshakes as the server

    def cookie(self, origin, hello):
        return hmac_sha256(self.cookie_secret, repr(place(origin)).encode() + hello.uncooked)[:8]

    def receive_hello(self, record, origin):
        shares = self.shares.usable(time.monotonic())
        where = place(origin)
        hello = ClientHello(record)
        if not shares:
            return
        if not hello.is_acceptable:
            self.alert(hello, HANDSHAKE_FAILURE, origin)
            return
        try:
            named = hello.identity()
        except Malformed:
            self.alert(hello, ILLEGAL_PARAMETER, origin)
            return
        other = named and named[2]
        own_run = self.clients.get(other)
        if other == self.identity or own_run and self.identity < other and place(own_run.address) == where:
            return

        known = self.servers.get(where)
        if known and known.handshake.hello.whole == hello.whole:
            known.handshake.bytes_in += HEADER_BYTES + len(record.body)
            known.repeat_at_once()
            return
        proved = hmac.compare_digest(hello.cookie, self.cookie(origin, hello))
        known_here = [*self.sessions.values(), *self.clients.values()]
        suspicious = self.servers or any(place(one.address) == where for one in known_here)
        if not proved and (suspicious or hello.cookie):
            cookie = self.cookie(origin, hello)
            verify = make_handshake(HELLO_VERIFY_REQUEST, 0, DTLS_1_0.to_bytes(2, 'big') + vector(1, cookie))
            self.peer.log('a cookie for', *where)
            self.peer.send(make_record(HANDSHAKE, 0, record.sequence, verify, DTLS_1_0), origin)
            return
        if known:
            known.stop()
        elif len(self.servers) >= HALF_OPEN_MAX:
            return
        handshake = DeviceServer(self.identity, hello, shares,
                                 lambda identity: self.shares.is_revoked(identity, time.monotonic()), self.name)
        handshake.proved = proved
        handshake.bytes_in = HEADER_BYTES + len(record.body)
        if handshake.refusal == 'GENERATION':   # an honest client does not go on
            self.refused(handshake)
        self.servers[where] = Run(self.peer, handshake, origin, HALF_OPEN_S, lambda reason: self.server_over(where, reason))

    def alert(self, hello, description, origin):
        self.peer.send(make_record(ALERT, 0, hello.sequence, bytes([FATAL, description])), origin)

    def refused(self, handshake):
        if not handshake.told:
            handshake.told = True
            self.peer.event('peer-refused', id=printable(handshake.other), reason=handshake.refusal or 'WRONG_PSK')

    def server_over(self, where, reason):
        run = self.servers.pop(where)
        identity = run.handshake.other
        if reason is None:
            self.stands(identity, run)
        if identity in self.queues and identity not in self.sessions:
            self.open(identity)             # it had waited

    # Both

    def stands(self, identity, run):
        session = DeviceSession(identity, run.address, run.handshake)
        self.sessions[identity] = session
        self.peer.event('peer-open', id=printable(identity), generation=session.generation)
        if reason := self.why_not(identity, session.generation):
            self.close(session, reason)
            return
        other_run = self.clients.get(identity)
        if other_run and place(other_run.address) == place(run.address):
            other_run.stop()
            del self.clients[identity]
        self.close_if_idle(session)
        address, messages = self.queues.get(identity, (None, []))
        if address and place(address) == place(run.address):
            del self.queues[identity]
            for data in messages:
                self.transmit(session, data)
        for kind, plaintext in run.handshake.early:
            self.receive_content(session, kind, plaintext)

    def receive(self, datagram, origin):
        for record in split_datagram(datagram):
            try:
                if record.epoch == 0 and record.kind == HANDSHAKE and record.body[:1] == bytes([CLIENT_HELLO]):
                    self.receive_hello(record, origin)
                elif record.epoch < 2:
                    self.receive_record(record, origin)
            except Malformed as problem:
                self.peer.log('dropped:', problem)

    def receive_record(self, record, origin):
        where = place(origin)
        for session in [session for session in self.sessions.values() if place(session.address) == where]:
            opened = session.protection.open(record) if record.epoch == 1 else None
            if opened:
                self.receive_content(session, *opened)
                return
        runs = [run for run in self.clients.values() if place(run.address) == where]
        for run in runs + [run for run in (self.servers.get(where),) if run]:
            before = run.handshake.others
            run.handshake.bytes_in += HEADER_BYTES + len(record.body)
            run.receive(record)
            if run.handshake.wrong_finished:
                run.handshake.wrong_finished = False
                self.refused(run.handshake)
                run.peer.send(make_record(ALERT, 0, run.handshake.next_sequence, bytes([FATAL, DECRYPT_ERROR])), origin)
                run.handshake.next_sequence += 1
            if record.epoch == 1 and run.handshake.others != before:
                return

    def receive_content(self, session, kind, plaintext):
        now = time.monotonic()
        if kind == HANDSHAKE:
            is_finished = not session.handshake.IS_CLIENT and plaintext[:1] == bytes([FINISHED])
            if is_finished and now >= session.flight_at + FLIGHT_TIMER_S:
                session.flight_at = now
                self.peer.send(session.handshake.flight(), session.address)
            return
        session.heard, session.used_at = True, now
        if kind == ALERT and len(plaintext) == 2 and (plaintext[0] == FATAL or plaintext[1] == CLOSE_NOTIFY):
            if self.sessions.get(session.identity) is session:
                self.has_ended(session, 'CLOSED' if plaintext[1] == CLOSE_NOTIFY else 'ALERT')
        elif kind == APPLICATION_DATA and plaintext:
            text = json.dumps(plaintext.decode(errors='replace'), ensure_ascii=False)
            self.peer.event('message', **{'from': printable(session.identity)}, text=text)


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
        self.manager = options.manager
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
        self.join = None                    # a handshake with the manager, while it runs
        self.session = None
        self.pending = []                   # the first one is under way
        self.next_message = 0
        self.share_timer = None
        self.share_delay = ASK_DELAY_S
        self.l2 = (0, 0)                    # number, flag: what this session has installed
        self.old_way = None                 # to the manager, while it is not sure that the new one works
        self.home = None                    # the manager's own address, for the next session
        self.has_joined = False
        self.evicted = False
        self.reconnect_delay = 0.0
        self.reconnect_timer = None
        self.hermit = False
        self.keep_share = options.keep_share
        self.exit_status = None
        self.devices = Devices(self, options)

        self.open_socket(options.listen)
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
            self.devices.forget()
            self.disconnect()

    # Datagrams

    def open_socket(self, own=('::', 0)):
        """One socket to talk to the manager and to send to the groups; each group has one more, to listen."""
        if self.socket:
            self.selector.unregister(self.socket)
            self.socket.close()
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.interface)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
        self.socket.bind(own)
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
            if not self.is_managers(origin):
                self.devices.receive(datagram, origin)
                continue
            for record in split_datagram(datagram, self.own_cid or b''):
                if self.join:
                    self.join.receive(record)
                elif self.session and record.epoch == 1:
                    self.receive_session(record)

    def is_managers(self, address):
        return place(address) in [place(way) for way in (self.manager, self.old_way) if way]

    # The session: a handshake, and another one when the manager has not answered for long

    def connect(self):
        wanted = [gid for gid, group in self.groups.items() if group.key is None]
        self.session = None
        self.l2, self.old_way = (0, 0), None
        self.manager = self.home or self.manager
        handshake = JoinHandshake(self.identity, self.psk, wanted[:GROUPS_IN_HELLO_MAX], own_cid=self.own_cid)
        self.join = Run(self, handshake, self.manager, self.handshake_timeout, self.join_over)

    def join_over(self, reason):
        handshake, self.join = self.join.handshake, None
        if reason is None:
            self.session = handshake.session
            self.connected([gid for gid in self.groups if gid not in handshake.groups])
            for kind, plaintext in handshake.early:
                self.receive_content(kind, plaintext)
        elif self.has_joined:
            self.reconnect_later()
        else:
            if handshake.complaint:
                self.log('the last message dropped:', handshake.complaint)
            self.event('error', reason=reason)
            self.exit_status = 1

    def connected(self, not_in_hello):
        self.event('connected')
        unsaid, self.pending = self.pending, []
        for old in unsaid:
            self.timers.cancel(old.timer)
            if old.kind in (GROUP_LEAVE, DOMAIN_LEAVE):
                self.tell(old.kind, old.gid)
        for gid in not_in_hello:
            if self.groups[gid].key:
                self.send_status(gid)
            else:
                self.tell(GROUP_REQUEST, gid)
        self.tell_share_status()            # the last one, since the keys of groups are what most wait for
        for group in self.groups.values():
            if not group.key:
                self.ask_later(group)

    def reconnect_later(self):
        """Opens a new session: at once, then after 10 s, doubling up to an hour."""
        if self.session:
            self.session = None
            self.event('disconnected')
        if self.evicted or self.hermit or self.join or self.reconnect_timer:
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

    def become_hermit(self):
        self.hermit = True
        self.disconnect()
        for old in self.pending:
            self.timers.cancel(old.timer)
        self.pending = []

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

    # Messages to the manager, one at a time, repeated until they are acknowledged

    def tell(self, kind, gid=None, fields=()):
        """A new message takes the place of an older one of its kind about the same group."""
        self.drop_pending([old for old in self.pending if (old.kind, old.gid) == (kind, gid)])
        if kind == MOVED:                   # does not wait, since the others may not get through before it
            for old in self.pending:
                self.timers.cancel(old.timer)
                old.timer = old.number = old.data = None
            self.pending.insert(0, Pending(kind, gid, fields))
        else:
            self.pending.append(Pending(kind, gid, fields))
        self.send_pending()

    def drop_pending(self, old_ones):
        for old in old_ones:
            self.timers.cancel(old.timer)
            self.pending.remove(old)

    def send_pending(self):
        """The first one, if it is not under way already."""
        if not self.pending or self.pending[0].timer:
            return
        pending = self.pending[0]
        if self.session and pending.kind == MOVED and pending.rounds == MESSAGE_ROUNDS:
            self.drop_pending([pending])
            self.manager, self.old_way = self.old_way, None
            self.event('error', reason='NOT_MOVED')
            self.send_pending()
            return
        if self.session is None or pending.rounds == MESSAGE_ROUNDS:
            self.reconnect_later()
            return
        if pending.data is None:
            pending.number = self.next_message
            self.next_message = (pending.number + 1) % 256
            values = pending.fields() if callable(pending.fields) else pending.fields
            values = values if pending.gid is None else (pending.gid, *values)
            pending.data = struct.pack(LAYOUTS[pending.kind], pending.kind, pending.number, *values)
        self.send_message(pending.data)
        pending.rounds += 1

        def due():
            pending.timer = None
            self.send_pending()
        pending.timer = self.timers.after(pending.interval, due)
        pending.interval = min(pending.interval * 1.5, MESSAGE_TIMER_MAX_S)

    def send_message(self, data):
        self.log('> message', data.hex())
        self.send(self.session.seal(SECURITY_PARAMETERS_DATA, data), self.manager)

    def acknowledge(self, number, result):
        self.send_message(struct.pack(LAYOUTS[ACK], ACK, number, result))

    def send_status(self, gid):
        group = self.groups[gid]
        flags = (STATUS_CONFLICT if group.conflict else 0) | (STATUS_COUNTER_LOW if group.counter >= COUNTER_LOW else 0)
        self.tell(STATUS, gid, (group.key.number, group.sender, flags))

    def tell_share_status(self):
        self.tell(SHARE_STATUS, None, self.devices.shares.status)

    def ask_for_share(self, delay=None):
        """Later: when what was announced should have come, or less and less often."""
        self.timers.cancel(self.share_timer)
        if delay is None:
            delay = random.uniform(self.share_delay / 2, self.share_delay)
            self.share_delay = min(2 * self.share_delay, BACKOFF_MAX_S)

        def due():
            self.share_timer = None
            if not self.evicted:
                self.tell_share_status()
        self.share_timer = self.timers.after(delay, due)

    def routine_status(self):
        for gid, group in self.groups.items():
            if group.key:
                self.send_status(gid)
        self.tell_share_status()
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
        elif kind in (SHARE, REVOKED):
            result = self.devices.receive_share(kind, fields)
            if result is None:
                self.tell_share_status()
            else:
                self.acknowledge(number, result)
            if result == DONE:
                self.share_delay = ASK_DELAY_S
            if self.devices.shares.lacks_something():
                self.ask_for_share(None if result == FAILED else KEYS_WAIT_S)
            else:
                self.timers.cancel(self.share_timer)
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
                if not self.keep_share:
                    self.devices.forget()
                self.event('evicted')

    def receive_ack(self, number, result):
        if not self.pending or self.pending[0].number != number:
            return
        pending = self.pending[0]
        self.drop_pending([pending])
        self.send_pending()
        group = self.groups.get(pending.gid)
        if pending.kind == STATUS:
            self.event('status', gid=pending.gid, result=RESULTS[result] if result < len(RESULTS) else result)
            if group and group.key and result == NOT_MEMBER:
                group.wipe()
                self.tell(GROUP_REQUEST, pending.gid)
                self.ask_later(group)
            elif group and result == FAILED:
                self.ask_later(group)
        elif pending.kind == SHARE_STATUS:
            if result == NOT_MEMBER:
                self.event('error', reason='NOT_FOUND')
            elif result == KEYS_FOLLOW:
                self.ask_for_share(KEYS_WAIT_S)
            elif result == FAILED:
                self.ask_for_share()
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
            self.devices.forget()
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
        self.drop_pending([old for old in self.pending if old.gid == gid])
        self.send_pending()
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

    def command(self, name, whom='0', text=''):
        if name in ('send', 'knock', 'key', 'close'):
            self.command_to_device(name, whom, text)
            return
        gid = int(whom)
        group = self.groups.get(gid)
        if name == 'quit':
            self.exit_status = 0
        elif name == 'hermit':
            self.become_hermit()
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
            self.devices.forget()
            self.tell(DOMAIN_LEAVE)
        else:
            raise ValueError(name)

    def command_to_device(self, name, whom, text):
        identity, _, address = whom.partition('@')
        identity = identity.encode()
        if name == 'send':
            self.devices.send(identity, resolve(address), text.encode())
        elif name == 'knock':
            self.devices.knock(identity, resolve(address))
        elif name == 'key':
            self.devices.purpose_key(identity, int(text))
        elif identity in self.devices.sessions:
            self.devices.close(self.devices.sessions[identity], 'CLOSED')


# ---- The program -------------------------------------------------------------------------------

def resolve(text):
    """[ADDR]:PORT to a socket address."""
    match = re.fullmatch(r'\[(.+)\]:(\d+)', text)
    if not match:
        raise ValueError(f'not [ADDR]:PORT: {text}')
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


def vectors(name):
    lines = (Path(__file__).parent.parent / 'vectors' / f'{name}.csv').read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith('#')))
    equal(rows != [], True, f'vectors in {name}.csv')
    return rows


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
    handshake = JoinHandshake(b'lamp-in-hallway', bytes(range(16)), [7], client_random=hello[27:59])
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


def check_pair_example(text):
    """Everything that the example of section 14 computes, from its coefficients and randoms."""
    found = {}
    for label, digits in re.findall(r'^(\S[^\n]*):\n((?:    [0-9a-f ]+\n)+)', text, re.M):
        found.setdefault(label.split(',')[0], []).append(bytes.fromhex(digits))

    lamp, switch = b'lamp-in-hallway', b'switch-at-door'
    a = {(int(i), int(j)): int.from_bytes(found[f'a[{i}][{j}]'][0], 'big')
         for i, j in re.findall(r'^a\[(\d)\]\[(\d)\]:$', text, re.M)}
    equal(sorted(a), [(i, j) for i in range(3) for j in range(i + 1)], 'coefficients of the example')
    for number, (own, other) in enumerate(((lamp, switch), (switch, lamp))):
        x = point_of(own)
        equal(x.to_bytes(ELEMENT_BYTES, 'big'), found['x'][number], f'point of {own}')
        share = Share(1, 2)
        share.elements = [evaluate([a[max(i, j), min(i, j)] for i in range(3)], x) for j in range(3)]
        equal([element.to_bytes(ELEMENT_BYTES, 'big') for element in share.elements],
              [found[f'share[{j}]'][number] for j in range(3)], f'share of {own}')
        equal(evaluate(share.elements, point_of(other)).to_bytes(ELEMENT_BYTES, 'big'), found['K'][0], 'K of the example')
        equal(pair_keys(share, own, other), (found['PSK'][0], found['TGK'][0]), 'keys of the example')
    randoms = [found[hello][0][27:59] for hello in ('ClientHello', 'ServerHello')]
    bundle = derive_exported(found['now the master secret is'][0], *randoms)
    equal(bundle, found['CSB_ID'][0] + found['RAND'][0], 'bundle of the example')
    equal(derive_purpose_key(found['TGK'][0], 2, bundle), found['key(2)'][0], 'key of the purpose 2')
    master_secret = tls_prf(premaster_secret(found['PSK'][0]), b'extended master secret', found['session_hash'][0], 48)
    equal(master_secret, found['now the master secret is'][0], 'master secret of the example')


def draw_shares(generation, degree, identities):
    """Shares of a polynomial of this generation, as a manager makes them."""
    rows = [[secrets.randbelow(PRIME) for _ in range(row + 1)] for row in range(degree + 1)]
    shares = []
    for identity in identities:
        share = Share(generation, degree)
        share.elements = [evaluate([rows[max(i, j)][min(i, j)] for i in range(degree + 1)], point_of(identity))
                          for j in range(degree + 1)]
        shares.append(share)
    return shares


def chunk(share, first, count, revoked=0, flags=0):
    elements = [value.to_bytes(ELEMENT_BYTES, 'big') for value in share.elements[first:first + count]]
    return share.generation, share.degree, first, revoked, flags, elements


def check_shares():
    """Section 14's table, and what goes with it."""
    ids = [b'lamp', b'switch', b'lamp-2']
    drawn = {generation: draw_shares(generation, 5, ids) for generation in (1, 2, 3, 4)}
    for generation, (lamp, switch, lamp_2) in drawn.items():
        equal(pair_keys(lamp, ids[0], ids[1]), pair_keys(switch, ids[1], ids[0]), f'keys of generation {generation}')
        equal(pair_keys(lamp, ids[0], ids[2]) == pair_keys(lamp_2, ids[2], ids[1]), False, 'keys of different pairs')
    share = drawn[2][0]
    shares = Shares(5)

    def take(*arguments, **names):
        result = shares.receive_share(*chunk(*arguments, **names))
        return result, shares.begin_use(0), shares.status()
    mark, other_mark = mark_of(b'lamp-2'), mark_of(b'switch')
    equal(take(share, 1, 2), (None, False, (0, 2, 0, 0)), 'a share that does not begin at its beginning')
    equal(take(share, 0, 3), (DONE, False, (0, 2, 3, 0)), 'the first part')
    equal(take(share, 0, 3), (DONE, False, (0, 2, 3, 0)), 'its copy')
    equal(take(share, 4, 1), (None, False, (0, 2, 3, 0)), 'a gap')
    bad = chunk(share, 3, 1)[:-1] + ([PRIME.to_bytes(16, 'big')],)
    equal((shares.receive_share(*bad), shares.status()), (FAILED, (0, 2, 3, 0)), 'an element that is none')
    equal(take(drawn[1][0], 0, 6), (DONE, False, (0, 2, 3, 0)), 'an older one than the one that is coming')
    equal(take(share, 3, 3, revoked=1), (DONE, False, (0, 2, 6, 0)), 'the rest, but there is a mark')
    equal(shares.receive_revoked(2, 1, 2, [mark]), None, 'a mark too far on')
    equal(shares.receive_revoked(1, 0, 1, [mark]), DONE, 'a mark of an older generation')
    equal((shares.receive_revoked(2, 0, 2, [mark]), shares.begin_use(0), shares.status()), (DONE, False, (0, 2, 6, 1)),
          'one of two marks')
    equal((shares.receive_revoked(2, 0, 2, [mark, bytes(8)]), shares.begin_use(0), shares.status()), (DONE, True, (2, 0, 0, 2)),
          'the other')
    equal([shares.is_revoked(identity, 0) for identity in ids], [False, False, True], 'who is revoked')
    equal(take(drawn[1][0], 0, 6), (DONE, False, (2, 0, 0, 2)), 'an older share')
    equal(take(drawn[3][0], 0, 6, flags=SHARE_GENTLE), (DONE, True, (3, 0, 0, 0)), 'a gentle renewal')
    equal([known.generation for known in shares.usable(3599)], [3, 2], 'which serve')
    equal((shares.is_revoked(ids[2], 3599), shares.is_revoked(ids[2], 3600)), (True, False), 'a mark of the generation before')
    equal((shares.receive_revoked(3, 0, 2, [other_mark]), shares.receive_revoked(3, 0, 2, [other_mark, mark]), shares.status()),
          (DONE, DONE, (3, 0, 0, 2)), 'a mark that came before, and another')
    equal(shares.is_revoked(ids[1], 0), True, 'who is revoked later')
    equal(take(drawn[4][0], 0, 6), (DONE, True, (4, 0, 0, 0)), 'a renewal')
    equal([known.generation for known in shares.usable(0)], [4], 'what serves')
    equal((shares.receive_revoked(5, 0, 1, [mark]), shares.status()), (DONE, (4, 5, 0, 1)), 'a mark before the first element')
    equal((take(draw_shares(6, 5, ids)[0], 0, 2), shares.is_revoked(ids[2], 0)), ((DONE, False, (4, 6, 2, 0)), True),
          'a mark of a generation that was overtaken')
    equal(take(draw_shares(6, 4, ids)[0], 2, 1), (NO_ROOM, False, (0, 0, 0, 0)), 'another degree')
    equal(take(draw_shares(6, 5, ids)[0], 0, 6), (NO_ROOM, False, (0, 0, 0, 0)), 'its generation from then on')
    equal(take(draw_shares(7, 6, ids)[0], 0, 3), (NO_ROOM, False, (0, 0, 0, 0)), 'a degree too high')
    equal(take(draw_shares(8, 5, ids)[0], 0, 6), (DONE, True, (8, 0, 0, 0)), 'a later one that fits')
    marks = [bytes([number]) * MARK_BYTES for number in range(MARKS_MAX)]
    equal(shares.receive_revoked(8, 0, 3, [marks[0], b'one more', b'and more']), DONE, 'three marks')
    equal(take(draw_shares(9, 5, ids)[0], 0, 1), (DONE, False, (8, 9, 1, 0)), 'a renewal that begins')
    equal((shares.receive_revoked(9, 0, 32, marks[:20]), shares.status()), (DONE, (8, 9, 1, 20)), 'room for marks')
    equal((shares.receive_revoked(9, 15, 32, marks[15:30]), shares.status()), (DONE, (8, 9, 1, 30)), 'one that both have counts once')
    equal((shares.receive_revoked(9, 30, 32, marks[30:]), shares.status()), (DONE, (0, 9, 1, 32)), 'none for more')

    header = struct.pack(SHARE_LAYOUT, SHARE, 1, 2, 5, 4, 0, 0)
    equal([parse_message(MASTER_KEY_DATA, header + bytes(count)) is None for count in (0, 15, 16, 17, 32, 48)],
          [True, True, False, True, False, True], 'lengths of SHARE')
    header = struct.pack(REVOKED_LAYOUT, REVOKED, 1, 2, 1, 3)
    equal([parse_message(SECURITY_PARAMETERS_DATA, header + bytes(count)) is None for count in (0, 7, 8, 16, 24)],
          [True, True, False, False, True], 'lengths of REVOKED')
    equal(parse_message(SECURITY_PARAMETERS_DATA, struct.pack(SHARE_LAYOUT, SHARE, 1, 2, 5, 4, 0, 0) + bytes(16)), None,
          'SHARE under another content type')


def check_devices():
    """Handshakes between devices, without a network."""
    ids = [b'lamp', b'switch']
    lamp, switch = draw_shares(7, 3, ids)
    before, _ = draw_shares(6, 3, ids)
    later, _ = draw_shares(8, 3, ids)

    def shake(client, shares=(switch,), revoked=False, name=None):
        """Records to and fro, each in a datagram of its own, until nobody has anything to say."""
        server = DeviceServer(b'switch', ClientHello(next(split_datagram(client.flight()))), shares, lambda _: revoked, name)
        flight, ends = server.flight(), (client, server)
        for _ in range(4):
            news = [ends[0].receive(record) for record in split_datagram(flight)]
            if not any(news):
                break
            flight, ends = ends[0].flight(), ends[::-1]
        return server

    client = DeviceClient(b'lamp', b'switch', [lamp])
    server = shake(client)
    equal((client.done, server.done, client.generation), (True, True, 7), 'a handshake of two devices')
    equal(server.exported, client.exported, 'what it exports')
    equal([client.session.open(record) for record in split_datagram(server.session.seal(APPLICATION_DATA, b'hello'))],
          [(APPLICATION_DATA, b'hello')], 'a message')
    ends = [DeviceSession(name, ('::1', 1), handshake) for name, handshake in ((b'switch', client), (b'lamp', server))]
    equal(ends[0].purpose_key(3), ends[1].purpose_key(3), 'the key of a purpose')
    equal(ends[0].purpose_key(3) == ends[0].purpose_key(4), False, 'keys of two purposes')

    client = DeviceClient(b'lamp', b'switch', [later, lamp])
    equal((shake(client).done, client.generation), (True, 7), 'a server of the generation before')
    client = DeviceClient(b'lamp', b'switch', [lamp, before])
    equal((shake(client).done, client.generation), (True, 7), 'a client that knows the generation before')
    client = DeviceClient(b'lamp', b'switch', [later])
    equal((shake(client).hello_refusal, client.verdict()), ('GENERATION', 'GENERATION'), 'no generation in common')
    client = DeviceClient(b'lamp', b'window', [lamp])
    shake(client)
    equal((client.session, client.verdict()), (None, 'PEER_IDENTITY'), 'another device')
    client = DeviceClient(b'lamp', b'window', [lamp])
    equal((shake(client, name=b'window').done, client.generation), (False, 7), 'a server that lies')
    client = DeviceClient(b'lamp', b'switch', [lamp], name=b'window')
    equal((shake(client).refusal, client.done), ('PEER_IDENTITY', False), 'a client that lies')
    client = DeviceClient(b'lamp', b'switch', [lamp])
    equal((shake(client, revoked=True).refusal, client.done), ('REVOKED', False), 'an evicted client')
    client = JoinHandshake(b'lamp', bytes(32), [])
    equal(shake(client).refusal, 'UNKNOWN_IDENTITY', 'a hello without device_identity')
    equal((client.complaint, client.done), ('not a domain manager', False), 'its answer')
    stranger = draw_shares(7, 3, ids)[0]
    client = DeviceClient(b'lamp', b'switch', [stranger])
    server = shake(client)
    equal((server.wrong_finished, server.refusal, server.done), (True, None, False), 'another polynomial')
    equal(client.done, False, 'the client of another polynomial')


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

    checked = 0
    for row in vectors('mikey_prf'):
        tgk, expected = bytes.fromhex(row['tgk']), bytes.fromhex(row['out'])
        if row['prf'] == '1' and len(tgk) == 16:
            label = b''.join(bytes.fromhex(row[name]) for name in ('constant', 'cs_id', 'csb_id', 'rand'))
            equal(p_hash(tgk, label, len(expected)), expected, row['key'])
            checked += 1
    equal(checked > 0, True, 'vectors in mikey_prf.csv')
    for row in vectors('handshake_keys'):
        inputs = [bytes.fromhex(row[name]) for name in ('master', 'client_random', 'server_random')]
        equal(derive_exported(*inputs), bytes.fromhex(row['exported']), 'what a handshake exports')
    for row in vectors('csb_steps'):
        csb = int(row['csb_id']).to_bytes(4, 'big') + bytes.fromhex(row['rand'])
        key = derive_purpose_key(bytes.fromhex(row['tgk']), int(row['cs_id']), csb)
        equal(key, bytes.fromhex(row['key']), 'the key of a purpose')
    for row in vectors('pairwise_points'):
        equal(point_of(bytes.fromhex(row['identity'])), int(row['point'], 16), f"point of {row['identity']}")
    for row in vectors('pairwise_keys'):
        ids = [bytes.fromhex(row[name]) for name in ('identity1', 'identity2')]
        keys = derive_pair_keys(int(row['value'], 16), int(row['generation']), *ids)
        equal(keys, (bytes.fromhex(row['psk']), bytes.fromhex(row['tgk'])), f"keys of {row['identity1']}, {row['identity2']}")

    document = Path(__file__).parent.parent.parent / 'docs' / 'protocol.md'
    check_example(document.read_text().partition('<!-- example begins -->')[2].partition('<!-- example ends -->')[0])
    check_pair_example(document.read_text().partition('<!-- pair example begins -->')[2].partition('<!-- pair example ends -->')[0])

    # Sizes
    handshake = JoinHandshake(b'x' * 15, bytes(16), [1])
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
           EVICTED: 2, GROUP_REMOVED: 4, PATH_CHECK: 2, MOVED: 2, SHARE_STATUS: 13}, 'messages')
    equal([struct.calcsize(layout) for layout in PARAMETERS_LAYOUTS.values()], list(PARAMETERS_LAYOUTS), 'PARAMETERS')
    equal([struct.calcsize(layout) for layout in ACCESS_LAYOUTS.values()], list(ACCESS_LAYOUTS), 'ACCESS')
    equal(str(unpack_address(bytes.fromhex('1500000101'))), 'ff15::101', 'address')

    # Connection IDs
    def record(data, own_cid=b''):
        return next(split_datagram(data, own_cid), None)
    hello = JoinHandshake(b'x' * 15, bytes(16), [1], own_cid=b'').flight()
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

    check_shares()
    check_devices()
    print('self-test ok')


def parse_arguments():
    parser = argparse.ArgumentParser(description='A joining device and group member; reads commands on standard input.')
    parser.add_argument('--manager', metavar='[ADDR]:PORT', type=resolve, help='the domain manager')
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
    parser.add_argument('--listen', metavar='[ADDR]:PORT', type=resolve, default=('::', 0), help='own address (default [::]:0)')
    parser.add_argument('--degree-max', metavar='T', type=int, default=DEGREE_MAX, help='room for a polynomial of this degree')
    parser.add_argument('--share-overlap', metavar='S', type=float, default=SHARE_OVERLAP_S,
                        help='seconds that the share of the generation before may serve')
    parser.add_argument('--device-idle', metavar='S', type=float, default=DEVICE_IDLE_S,
                        help='seconds until an idle session with another device is closed')
    parser.add_argument('--hello-identity', metavar='ID', help='say another identity in hellos to devices than one has: a lie')
    parser.add_argument('--stubborn', action='store_true', help='go on with a device that has no share of our generation')
    parser.add_argument('--keep-share', action='store_true', help='keep the share after an eviction: disobedience')
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
