"""From a key file to the secrets of the repository.

Implements FORMAT.md §3 (agent keys, recovery keys, passphrases, the key bundle). Envelopes come from
config.py, which also checks what this file opens.
"""

import base64
import os

import pyrage
from blake3 import blake3

from primitives import SCRYPT_LOG2_MAX, SECRETS_MAX, Refused, Secret, decode_cbor, field, require

AGENT = b"BACKSTAY-AGENT-KEY-1-"
AGE = b"AGE-SECRET-KEY-1"
WRAPPED = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")
ERRORS = (pyrage.DecryptError, pyrage.IdentityError, ValueError)


class Keys:
    """What a key file opens. Only recovery keys have identities, which open content."""

    def __init__(self, repository, secrets, identities=()):
        self.repository, self.raw_secrets, self.raw_identities = repository, secrets, identities
        self.secrets = [Secret(secret) for secret in secrets]
        self.identities = [pyrage.x25519.Identity.from_str(text) for text in identities]

    def secret(self, number, name):
        """A recovery key has all secrets, so what names another is damaged."""
        if number >= len(self.secrets):
            require(not self.identities, name, f"names repository secret {number}: there is none")
            raise Refused(f"{name} needs repository secret {number}, which is not in this key")
        return self.secrets[number]

    def open_session(self, sealed, name):
        """The session secret of a data pack."""
        if not self.identities:
            raise Refused("this is an agent key: it shows names, but content needs a recovery key")
        try:
            secret = pyrage.decrypt(sealed, self.identities)
        except pyrage.DecryptError as error:
            require(False, name, f"its session secret does not open: {error}")
        require(len(secret) == 32, name, "its session secret is not 32 bytes")
        return secret


class KeyFile:
    """What a person holds; `-` is a passphrase without a file."""

    def __init__(self, path):
        self.path, self.agent, self.decrypt = path, None, unwrap
        if path == "-":
            return
        with open(path, "rb") as file:
            content = file.read()
        if content.startswith(WRAPPED):
            content = unwrap(content)
        lines = [line.strip() for line in content.splitlines() if not line.startswith(b"#")]
        for line in lines:
            if line.startswith(AGENT):
                self.agent = agent_keys(line[len(AGENT) :], path)
                return
        identities = read_identities(content, lines, path)
        self.decrypt = lambda age: pyrage.decrypt(age, identities)

    def open(self, envelopes):
        """The keys: those of an agent, or in the first envelope that opens."""
        if self.agent:
            return self.agent
        for label, age in envelopes:
            try:
                bundle = self.decrypt(age)
            except (pyrage.DecryptError, Refused):
                continue
            return bundle_keys(bundle, f"key bundle in envelope {label!r}")
        raise Refused(f"{self.path}: this key opens no envelope of the repository")


def unwrap(age):
    """The plaintext of an age file with one scrypt stanza, binary or armored."""
    try:
        armored = age.startswith(b"-----")
        binary = base64.b64decode(b"".join(age.splitlines()[1:-1])) if armored else age
        _, arrow, kind, _, work = binary[:200].split(maxsplit=5)[:5]
        wrapped = (arrow, kind) == (b"->", b"scrypt") and int(work) <= SCRYPT_LOG2_MAX
    except ValueError:
        wrapped = False
    if not wrapped:
        raise Refused("this is not wrapped with a passphrase, or with too much work")
    try:
        return pyrage.passphrase.decrypt(age, passphrase())
    except pyrage.DecryptError as error:
        raise Refused(f"the passphrase does not open this: {error}") from None


def passphrase():
    if "BACKSTAY_PASSPHRASE" not in os.environ:
        raise Refused("set BACKSTAY_PASSPHRASE to open this key")
    return os.environ["BACKSTAY_PASSPHRASE"]


def agent_keys(text, path):
    try:
        raw = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        raise Refused(f"{path}: the agent key is not base64url") from None
    payload, checksum = raw[:-4], raw[-4:]
    if blake3(payload).digest()[:4] != checksum:
        raise Refused(f"{path}: the agent key has a wrong checksum")
    record = decode_cbor(payload, path)
    field(record, 2, str, path)  # to whom a writer seals
    return Keys(*repository_and_secrets(record, path))


def read_identities(content, lines, path):
    try:
        if b"PRIVATE KEY-----" in content:
            return [pyrage.ssh.Identity.from_buffer(content)]
        found = [line.decode() for line in lines if line.startswith(AGE)]
        identities = [pyrage.x25519.Identity.from_str(line) for line in found]
    except ERRORS as error:
        raise Refused(f"{path}: {error}") from None
    if not identities:
        raise Refused(f"{path}: neither an agent key, nor an age identity, nor an SSH key")
    return identities


def bundle_keys(bundle, name):
    record = decode_cbor(bundle, name)
    identities = field(record, 2, list, name)
    require(identities, name, "has no content identity")
    try:
        return Keys(*repository_and_secrets(record, name), identities)
    except (*ERRORS, TypeError):
        require(False, name, "has a content identity that is none")


def repository_and_secrets(record, name):
    repository = field(record, 0, bytes, name)
    secrets = field(record, 1, list, name)
    require(len(repository) == 16, name, "its repository id is not 16 bytes")
    require(1 <= len(secrets) <= SECRETS_MAX, name, "counts no or too many secrets")
    fit = all(isinstance(secret, bytes) and len(secret) == 32 for secret in secrets)
    require(fit, name, "has a secret that is not 32 bytes")
    return repository, secrets
