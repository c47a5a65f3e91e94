"""Writes objects of a repository, for the self-test alone.

The other side of keys.py, objects.py and index.py: FORMAT.md §2 to §5, §11 to §13. It does what
it is told, so that the self-test can also have it write what the document forbids.
"""

import base64
import os

import cbor2
import pyrage
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from primitives import MAGIC, ZERO_NONCE, Secret, keyed_hash, string, var
from store import inverted


def little(number, length):
    return number.to_bytes(length, "little")


def svar(number):
    return var(2 * number if number >= 0 else -2 * number - 1)


def lane(secret, job, host):
    """The name of a series: one job on one host."""
    return keyed_hash(secret.names, string(job.encode()) + string(host.encode()), 16).hex()


def texts(list_of_texts):
    return var(len(list_of_texts)) + b"".join(string(text.encode()) for text in list_of_texts)


def owner_tag(identity, record):
    said = var(record[1]) + b"".join(texts(record[key]) for key in (3, 4, 5))
    said += var(len(record[6]))
    for one in record[6]:
        said += string(one[0].encode()) + texts(one[1]) + string(one[2])
    said += texts(record[7])
    key = blake3(identity.encode(), derive_key_context="backstay.dev format 1 owner").digest()
    return keyed_hash(key, said)


def seal(key, nonce, aad, data):
    return AESGCM(key).encrypt(nonce, data, aad)


class Repository:
    def __init__(self, directory, raw_secrets):
        self.directory, self.id = directory, os.urandom(16)
        self.raw, self.secrets = raw_secrets, [Secret(raw) for raw in raw_secrets]
        self.contents = []

    def put(self, name, data):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.write(data)

    def bundle(self, secrets, identities):
        texts = [str(identity) for identity in identities]
        return cbor2.dumps({0: self.id, 1: self.raw[:secrets], 2: texts})

    def config(self, generation, number, envelopes, recipients, owner, **changes):
        """`owner` is the newest content identity; `changes` overwrites keys, as in `k0=2`."""
        record = {0: 1, 1: generation, 2: 10**18 + generation, 3: [], 4: [], 5: []}
        record |= {6: envelopes, 7: [str(one) for one in recipients], 8: "A", 99: "skip me"}
        record[9] = owner_tag(str(owner), record)
        record |= {int(key[1:]): value for key, value in changes.items()}
        data = MAGIC + bytes([8, 1, number, 0]) + self.id + cbor2.dumps(record)
        mac = keyed_hash(self.secrets[number].config, data)
        self.put(f"config/{inverted(generation)}", data + mac)

    def agent_key(self, secrets, recipient):
        payload = cbor2.dumps({0: self.id, 1: self.raw[:secrets], 2: str(recipient)})
        text = base64.urlsafe_b64encode(payload + blake3(payload).digest()[:4]).rstrip(b"=")
        return b"# a test key\nBACKSTAY-AGENT-KEY-1-" + text + b"\n"

    def sealed(self, name, kind, number, record):
        header = MAGIC + bytes([kind, 1, number, 0]) + self.id + os.urandom(32)
        key = keyed_hash(self.secrets[number].metadata, b"object" + header[28:])
        data = header + seal(key, ZERO_NONCE, header + name.encode(), cbor2.dumps(record))
        self.put(name, data)
        return data

    def checkpoint(self, number, before=b"", **lists):
        record = {0: number, 1: blake3(before).digest() if before else b"", 2: 10**18}
        record |= {3: 0, 4: 0, 5: 0, 6: [], 7: [], 8: [], 9: [], 10: []}
        record |= {int(key[1:]): value for key, value in lists.items()}
        return self.sealed(f"checkpoint/{inverted(number)}", 6, 0, record)


class Session:
    """One session, which announces itself, and what it writes."""

    def __init__(self, repository, number, job, sequence, checkpoint, recipient, host="host"):
        self.repository, self.number = repository, number
        self.job, self.host = job, host
        self.id, self.checkpoint = os.urandom(12), checkpoint
        self.secret, self.packs = os.urandom(32), []
        self.age = pyrage.encrypt(self.secret, [recipient])
        tail = f"{inverted(sequence)}-{checkpoint:016x}-{self.id.hex()}"
        place = f"{lane(repository.secrets[0], job, host)}/{tail}"
        self.register = f"snapshot/{place}"
        record = {0: self.id, 1: 10**18, 2: host, 3: "writer.py 1"}
        repository.sealed(f"session/{place}", 3, number, record)

    def commit(self, sources, finished, **changes):
        packs = [(pack.id, len(pack.data), blake3(pack.data).digest()) for pack in self.packs]
        record = {0: self.id, 1: self.job, 2: self.host, 3: finished - 10**9, 4: finished}
        record |= {6: self.checkpoint, 7: sources, 8: False, 9: "writer.py 1", 10: packs}
        record |= {11: {"made": "for a test"}, 12: self.number, 99: "skip me"}
        record |= {int(key[1:]): value for key, value in changes.items()}
        self.repository.sealed(self.register, 4, self.number, record)

    def abort(self):
        record = {0: self.id, 1: 10**18, 2: "a newer session took over"}
        self.repository.sealed(self.register, 5, self.number, record)

    def index(self, log=9, entry_pages=3):
        """A table of all that this session wrote."""
        found = sorted(
            (id, number, place)
            for number, pack in enumerate(self.packs)
            for place, id in enumerate(id for *_, chunks in pack.frames for _, id in chunks)
        )
        page, room = 1 << log, ((1 << log) - 18) // 16
        pages = [[] for _ in range(entry_pages)]
        for id, number, place in found:
            at = int.from_bytes(id[:8], "big") * entry_pages >> 64
            while len(pages[at % entry_pages]) == room:
                at += 1
            pages[at % entry_pages].append(id[:8] + little(number, 4) + little(place, 4))
        packs = [one.id + one.where for one in self.packs]
        room = (page - 18) // 40
        pages += [packs[n : n + room] for n in range(0, len(packs), room)] or [[]]
        header = MAGIC + bytes([7, 1, self.number, log]) + self.repository.id + os.urandom(32)
        header += little(entry_pages, 4) + little(len(pages) - entry_pages, 4)
        header += little(len(found), 8) + little(len(packs), 4)
        key = keyed_hash(self.repository.secrets[self.number].metadata, b"index" + header[28:60])
        name, body = f"index/{self.id.hex()}-0000", b""
        for number, items in enumerate(pages):
            plain = (little(len(items), 2) + b"".join(items)).ljust(page - 16, b"\0")
            body += seal(key, little(number, 4) + bytes(8), header + name.encode(), plain)
        self.repository.put(name, header + body)
