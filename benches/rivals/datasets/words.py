"""Seeded text that compresses about as prose and configuration do, without repeating whole lines.

Words are drawn one at a time from a vocabulary with Zipf's frequencies. Building files from a stock
of ready lines would be faster and wrong: any tool that compresses many files together would find
the same lines again and look better than it is.
"""

import itertools
import random

VOCABULARY_WORDS = 6000
LINE_WORDS = 11
ONSETS = "b c d f g h j k l m n p r s t v w br cl dr fl gr pl pr sh st th tr".split()
VOWELS = "a e i o u ai ea ee io ou".split()
CODAS = ["", "", "", "n", "r", "s", "t", "l", "nd", "st", "rm"]


class Words:
    """A vocabulary and a random source; two of the same seed write the same text."""

    def __init__(self, seed: str):
        self.rng = random.Random(seed)
        # One vocabulary for all seeds: changed files speak the language of the first ones.
        spelling = random.Random("backstay/words")
        self.words = [self.spell(spelling) for _ in range(VOCABULARY_WORDS)]
        frequencies = (1 / (rank + 2.7) for rank in range(VOCABULARY_WORDS))
        self.cumulative = list(itertools.accumulate(frequencies))

    @staticmethod
    def spell(rng: random.Random) -> str:
        """One pronounceable word of one to three syllables."""
        count = rng.choice((1, 2, 2, 3))
        return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(count))

    def text(self, size_bytes: int) -> bytes:
        """Exactly `size_bytes` of lines such as a log or a configuration file has."""
        # The mean word is longer than four letters, so this many always suffice.
        drawn = self.rng.choices(self.words, cum_weights=self.cumulative, k=size_bytes // 4 + 16)
        lines = []
        have_bytes = 0
        for start in range(0, len(drawn), LINE_WORDS):
            line = f"{drawn[start]}_{self.rng.randrange(10_000)}: {' '.join(drawn[start + 1 : start + LINE_WORDS])}\n"
            lines.append(line)
            have_bytes += len(line)
            if have_bytes >= size_bytes:
                break
        text = "".join(lines).encode()
        assert len(text) >= size_bytes, "the vocabulary's words are too short"
        return text[:size_bytes]
