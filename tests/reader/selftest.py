"""Proves the reader on a repository of its own making.

    selftest.py              writes the sample anew in a temporary place, reads it, damages it
    selftest.py --all        the same with every damage, not one in eleven
    selftest.py --write DIR  writes the sample there, with a manifest of what it has to give

Also reads sample/, which was written once and is kept. Needs no root, but with it does more: owners
and devices are then compared too.
"""

import contextlib
import io
import json
import os
import sys
import tempfile

import crimes
import damage
import restore
from compare import ROOT, compare, manifest, named, troubled
from sample import PASSPHRASE, build

HERE = os.path.dirname(os.path.abspath(__file__))
KEYS = ("recovery.ssh", "recovery-wrapped.key", "-")


def run(*arguments):
    """Exit code, output and errors of the reader."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = restore.main(list(arguments))
    return code, out.getvalue(), err.getvalue()


def restores(folder, stated, key="recovery.key"):
    """All snapshots of the sample come back as the manifest says."""
    repository = os.path.join(folder, "repository")
    key = key if key == "-" else os.path.join(folder, key)
    for snapshot, sources in stated.items():
        with tempfile.TemporaryDirectory() as to:
            code, _, errors = run(repository, key, snapshot, to)
            for name, files in sources.items():
                compare(os.path.join(to, name), files)
            entries = [one for files in sources.values() for one in files]
            assert all(named(one, errors) for one in entries), errors
            assert code == (3 if errors else 0), errors
            assert not ROOT or len(errors.splitlines()) <= sum(map(troubled, entries)), errors
            assert sorted(os.listdir(to)) == sorted(sources)


def selections(folder):
    """The ways to say what to restore, and what an agent key may not."""
    repository, key, agent = (
        os.path.join(folder, name) for name in ("repository", "recovery.key", "agent.key")
    )
    expected = {
        "latest:pages": ["database"],
        "latest:partial/changed": ["changed"],
        "latest:files/deep/er": ["fifo", "loop", "socket", "tty"],
        "latest:files/deep/zipped": ["zipped"],
    }
    for words, names in expected.items():
        with tempfile.TemporaryDirectory() as to:
            code, _, errors = run(repository, key, words, to)
            assert code == (3 if "warning" in errors else 0), errors
            assert set(os.listdir(to)) <= set(names) | {"tty", "loop"}, words
        code, listed, _ = run("ls", repository, agent, words)
        assert code == 0 and all(name in listed for name in names), words
    for words in ("latest:none", "latest:pages/none", "00", "latest:sample:pages"):
        assert run("ls", repository, key, words)[0] == 2, words
    listed = run("list", repository, agent)[1]
    assert len(listed.splitlines()) == 3 and "log, small on host other-host" in listed, listed
    assert "log (segments 9 to c without 7, a, timeline 00010203)" in listed, listed
    code, _, errors = run("ls", repository, agent, "latest")
    assert code == 2 and "job sample on host host" in errors and "on host other-host" in errors
    listed = run("ls", repository, agent, "latest:partial")[1]
    words = ["?", "unknown (not stored)", "excluded (left out)", "unlisted (not stored)"]
    assert all(word in listed for word in words), listed
    code, _, errors = run(repository, agent, "latest", os.path.join(folder, "none"))
    assert code == 2 and "agent key" in errors
    code, _, errors = run("list", repository, os.path.join(folder, "agent-old.key"))
    assert code == 2 and "repository secret 1" in errors
    assert run("list", repository, __file__)[0] == 2


def main(arguments):
    os.environ["BACKSTAY_PASSPHRASE"] = PASSPHRASE
    if arguments[:1] == ["--write"]:
        sample = build(arguments[1])
        with open(os.path.join(arguments[1], "manifest.json"), "w", encoding="utf-8") as file:
            json.dump(manifest(sample.expected), file, indent=1)
        return
    with open(os.path.join(HERE, "sample", "manifest.json"), encoding="utf-8") as file:
        restores(os.path.join(HERE, "sample"), json.load(file))
    with tempfile.TemporaryDirectory() as place:
        folder = os.path.join(place, "sample")
        stated = manifest(build(folder).expected)
        restores(folder, stated)
        for key in KEYS:
            restores(folder, dict(list(stated.items())[-1:]), key)
        selections(folder)
        repository = os.path.join(folder, "repository")
        for key in ("recovery.key", "agent.key"):
            assert run("check", repository, os.path.join(folder, key))[0] == 0
        share = 1 if arguments == ["--all"] else 11
        print(damage.damage_everything(folder, run, share), "damages found")
        print(damage.exceed_limits(folder, run), "objects found too large")
    print(crimes.break_every_rule(run), "broken rules found")


if __name__ == "__main__":
    main(sys.argv[1:])
