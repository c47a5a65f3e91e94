"""Facts that are not as FORMAT.md §10 has them, for the self-test alone.

`FACTS` are kinds of sources and their facts, each with a part of what the reader has to say of it.
"""

LOG = {0: bytes(16), 4: [], 5: "", 6: ".wal", 7: 10}
DIRECTORIES = [
    ({}, "key 0"),
    ({0: False, 1: "text"}, "key 1"),
    ({0: False, 1: [1]}, "pattern that is no text"),
    ({0: False, 2: 1}, "key 2"),
    ({0: False, 3: [[1]]}, "no list of pairs"),
]
LOGS = [
    ({0: bytes(15)}, "timeline that is none"),
    ({1: 1}, "first segment without a last"),
    ({1: 2, 2: 1}, "first segment without a last, or after it"),
    ({9: -1}, "below 0"),
    ({4: [[2, 1]]}, "ends before it starts"),
    ({7: 8}, "the numbering 8"),
    ({8: [bytes(16)]}, "fork that is none"),
    ({8: [bytes(15), 1]}, "timeline that is none"),
    ({10: [bytes(15)]}, "timeline that is none"),
    ({10: [bytes(16)] * 65}, "too many earlier"),
    ({12: b""}, "timeline that is none"),
]
FACTS = [("directory", facts, what) for facts, what in DIRECTORIES]
FACTS += [("wal", LOG | facts, what) for facts, what in LOGS]
