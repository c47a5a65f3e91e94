"""From a key file to the secrets of the repository.

Implements FORMAT.md §3 (agent keys, recovery keys, passphrases, the key bundle). Config envelopes
come from config.py, which also checks what this file opens.
"""

import base64
import os

import pyrage
from blake3 import blake3

from primitives import SECRETS_MAX, Refused, Secret, decode_cbor, field, require

AGENT = b"BACKSTAY-AGENT-KEY-1-"
AGE = b"AGE-SECRET-KEY-1"
WRAPPED = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")
ERRORS = (pyrage.DecryptError, pyrage.IdentityError, ValueError)


class Keys:
    """What a key file opens. Only recovery keys have identities, which open content."""

    def __init__(self, repository, secrets, identities, recipients):
        self.repository, self.identities, self.recipients = repository, identities, recipients
        self.secrets = [Secret(secret) for secret in secrets]

    def secret(self, number, name):
        if number >= len(self.secrets):
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


def load_keys(path, envelopes):
    """The keys that the file at `path` gives; `-` is a passphrase alone."""
    if path == "-":
        return from_envelopes(envelopes, lambda age: pyrage.passphrase.decrypt(age, passphrase()))
    with open(path, "rb") as file:
        content = file.read()
    if content.startswith(WRAPPED):
        try:
            content = pyrage.passphrase.decrypt(content, passphrase())
        except pyrage.DecryptError as error:
            raise Refused(f"{path}: {error}") from None
    lines = [line.strip() for line in content.splitlines() if not line.startswith(b"#")]
    for line in lines:
        if line.startswith(AGENT):
            return agent_keys(line[len(AGENT) :], path)
    identities = read_identities(content, lines, path)
    return from_envelopes(envelopes, lambda age: pyrage.decrypt(age, identities))


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
    recipient = field(record, 2, str, path)
    return Keys(*repository_and_secrets(record, path), [], [recipient])


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


def from_envelopes(envelopes, decrypt):
    """The keys in the first envelope that opens."""
    for label, age in envelopes:
        try:
            bundle = decrypt(age)
        except pyrage.DecryptError:
            continue
        return bundle_keys(bundle, f"key bundle in envelope {label!r}")
    raise Refused("this key opens no envelope of the repository")


def bundle_keys(bundle, name):
    record = decode_cbor(bundle, name)
    texts = field(record, 2, list, name)
    try:
        identities = [pyrage.x25519.Identity.from_str(text) for text in texts]
    except (*ERRORS, TypeError):
        require(False, name, "has a content identity that is none")
    require(identities, name, "has no content identity")
    recipients = [str(identity.to_public()) for identity in identities]
    return Keys(*repository_and_secrets(record, name), identities, recipients)


def repository_and_secrets(record, name):
    repository = field(record, 0, bytes, name)
    secrets = field(record, 1, list, name)
    require(len(repository) == 16, name, "its repository id is not 16 bytes")
    require(1 <= len(secrets) <= SECRETS_MAX, name, "counts no or too many secrets")
    fit = all(isinstance(secret, bytes) and len(secret) == 32 for secret in secrets)
    require(fit, name, "has a secret that is not 32 bytes")
    return repository, secrets
