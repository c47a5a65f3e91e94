"""A repository with one key, in which the self-test commits one crime at a time."""

import os

import pyrage

from author import Author
from writer import Repository


class Court:
    def __init__(self, place, run, **config):
        self.place, self.run = place, run
        self.key, identity = os.path.join(place, "key"), pyrage.x25519.Identity.generate()
        with open(self.key, "w", encoding="utf-8") as file:
            file.write(str(identity))
        self.recipient = identity.to_public()
        secrets = [bytes([number]) * 32 for number in range(config.pop("secrets", 1))]
        self.repository = Repository(os.path.join(place, "repository"), secrets)
        other = config.pop("id", self.repository.id)
        bundle = self.repository.bundle(len(secrets), [identity])
        bundle = bundle.replace(self.repository.id, other)
        self.config(0, bundle, identity, **config)
        self.author = Author(self.repository, 0, "job", 1, 0, self.recipient)

    def config(self, generation, bundle, owner, **changes):
        sealed = pyrage.encrypt(bundle, [self.recipient])
        envelope = {0: "one", 1: [str(self.recipient)], 2: sealed}
        envelope |= changes.pop("envelope", {})
        self.repository.config(generation, 0, [envelope], [owner.to_public()], owner, **changes)

    def commit(self, sources, **changes):
        self.author.close()
        self.author.commit(sources, 1, **changes)

    def judge(self, what, wanted=6, command="check"):
        code, _, errors = self.run(command, os.path.join(self.place, "repository"), self.key)
        assert code == wanted and what in errors, (what, code, errors)
