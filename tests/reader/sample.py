"""A small repository that uses every form of the document, for the self-test.

`build` writes it with its keys and returns what a restore has to give; the same always, though ids,
salts and session secrets differ each time. One such repository is kept in sample/.
"""

import os
import shutil

import pyrage
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from author import SEGMENT, Author
from files import database, entry, file, paged, pages_source, plain_files, special
from odd_files import look_linked, not_looked_at, segments
from entry import DIRECTORY
from primitives import keyed_hash
from writer import Repository

PASSPHRASE = "correct horse battery staple"
FIRST, SECOND = (keyed_hash(bytes(32), name) for name in (b"secret 0", b"secret 1"))


class Sample:
    """The repository below `folder`, its keys, and the sessions that count."""

    def __init__(self, folder):
        self.folder = folder
        self.repository = Repository(os.path.join(folder, "repository"), [FIRST, SECOND])
        self.identities = [pyrage.x25519.Identity.generate() for _ in range(2)]
        self.recipients = [one.to_public() for one in self.identities]
        self.write_keys()
        self.write_configs()
        self.expected = {}
        self.write_sessions()

    def write_key(self, name, content):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(content)

    def write_keys(self):
        recovery = pyrage.x25519.Identity.generate()
        text = f"# a test key: it opens nothing but this sample\n{recovery}\n".encode()
        self.write_key("recovery.key", text)
        self.write_key("recovery-wrapped.key", pyrage.passphrase.encrypt(text, PASSPHRASE))
        ssh = Ed25519PrivateKey.generate()
        openssh = serialization.PrivateFormat.OpenSSH
        private = ssh.private_bytes(
            serialization.Encoding.PEM, openssh, serialization.NoEncryption()
        )
        public = ssh.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        self.write_key("recovery.ssh", private)
        self.write_key("agent.key", self.repository.agent_key(2, self.recipients[1]))
        self.write_key("agent-old.key", self.repository.agent_key(1, self.recipients[0]))
        self.write_key("passphrase", PASSPHRASE.encode() + b"\n")
        self.people = [recovery.to_public(), pyrage.ssh.Recipient.from_str(public.decode())]
        self.names = [str(recovery.to_public()), public.decode()]

    def write_configs(self):
        """Two generations: the second adds a secret, a content identity and an envelope."""
        for generation in (0, 1):
            count = generation + 1
            bundle = self.repository.bundle(count, self.identities[:count])
            people = pyrage.encrypt(bundle, self.people)
            envelopes = [{0: "people", 1: self.names, 2: people}]
            if generation:
                age = pyrage.passphrase.encrypt(bundle, PASSPHRASE)
                envelopes.insert(0, {0: "passphrase", 1: [], 2: age})
            owner = self.identities[count - 1]
            self.repository.config(
                generation, generation, envelopes, self.recipients[:count], owner
            )

    def session(self, number, job, sequence, checkpoint, host="host"):
        recipient = self.recipients[number]
        return Author(self.repository, number, job, sequence, checkpoint, recipient, host)

    def write_sessions(self):
        first = self.full_backup()
        self.gone = self.small_backup("sample", 2, "is removed by checkpoint 2")
        self.late = self.small_backup("other", 1, "came too late for checkpoint 2")
        self.small_backup("sample", 3, "never commits", False)
        self.small_backup("sample", 4, None)
        before = self.repository.checkpoint(1)
        lists = {"k3": 1, "k4": 1, "k6": [self.gone.id], "k9": [first.id]}
        self.repository.checkpoint(2, before, **lists)
        self.repository.put("checkpoint/.tmp-0", b"unfinished")
        self.second_backup(first)
        self.backup_without_policy()
        self.first = first

    def commit(self, author, finished, **changes):
        author.close()
        author.index()
        author.commit(author.sources, finished, **changes)
        self.expected[author.id.hex()] = author.expected

    def full_backup(self):
        author = self.session(0, "sample", 1, 0)
        author.source("files", special() + plain_files(author) + look_linked(author))
        author.maps = pages_source(author)
        self.commit(author, 1_700_000_000 * 10**9)
        return author

    def small_backup(self, job, sequence, text, commit=True):
        """A session that does not count; without a text an abort record stands in its place."""
        author = self.session(0, job, sequence, 0)
        data = (text or "aborted").encode()
        author.source("small", [(entry("", DIRECTORY), None), file(author, "why", data)])
        author.close()
        if text is None:
            author.abort()
        elif commit:
            author.commit(author.sources, 1_700_000_001 * 10**9)
        return author

    def second_backup(self, first):
        """With the second secret: overlays of the first one's maps, and what was not looked at. The
        clock went back since the first one."""
        author = self.session(1, "sample", 5, 2)
        old, new = database(1), database(2)
        parts = (old[:SEGMENT], new[:SEGMENT]), (old[SEGMENT:], new[SEGMENT:])
        maps = [author.overlay(full, *pair) for full, pair in zip(first.maps, parts, strict=True)]
        root = entry("", DIRECTORY), None
        author.source("pages", [root, paged("database", new, maps)])
        facts = {0: True, 1: ["excluded", "*.tmp"], 2: True, 3: [[0, 5], [2**64 - 1, 0]]}
        author.source("partial", not_looked_at(author), facts=facts)
        author.sources[1] |= {7: 1, 8: [{0: b"lost", 1: "unreadable", 2: "test"}], 9: True}
        self.commit(author, 1_699_999_900 * 10**9, k5=first.id, k8=True)

    def backup_without_policy(self):
        """A series of its own on another host, with a log."""
        author = self.session(1, "\0log\0small", 1, 2, "other-host")
        segments(author)
        author.source("small", [(entry("", DIRECTORY), None), file(author, "why", b"it counts")])
        self.commit(author, 1_700_000_200 * 10**9)


def build(folder):
    if os.path.isdir(folder):
        shutil.rmtree(folder)
    os.makedirs(folder)
    return Sample(folder)
