"""Reads numbers and strings one after the other.

Implements the types of FORMAT.md §1. Nothing is read past the end, and nothing allocated for what is
not there.
"""

from primitives import CHUNK_MAX, Damage, require


class Cursor:
    """Reads numbers and strings from bytes, and never past their end."""

    def __init__(self, data, name):
        self.data, self.name, self.at = data, name, 0

    def require(self, truth, what):
        require(truth, self.name, what)

    def take(self, length):
        self.require(length <= len(self.data) - self.at, "ends early")
        self.at += length
        return self.data[self.at - length : self.at]

    def u8(self):
        return self.take(1)[0]

    def var(self):
        number = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                self.require(number < 1 << 64, "has a number over 64 bits")
                return number
        raise Damage(self.name, "has a number of more than 10 bytes")

    def svar(self):
        number = self.var()
        return (number >> 1) ^ -(number & 1)

    def count(self, most=CHUNK_MAX):
        """How many of something follow; each takes a byte at least."""
        number = self.var()
        self.require(number <= min(most, len(self.data) - self.at), "counts too many")
        return number

    def bytes(self, most=CHUNK_MAX):
        length = self.var()
        self.require(length <= most, "has too long a string")
        return bytes(self.take(length))

    def text(self):
        try:
            return self.bytes().decode()
        except UnicodeDecodeError:
            raise Damage(self.name, "has text that is not UTF-8") from None

    def end(self):
        self.require(self.at == len(self.data), "goes on after its end")
