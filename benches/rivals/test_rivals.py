"""Tests of the race's own judgement: a benchmark that is wrong is worse than none.

    python3 -m unittest discover benches/rivals
"""

import os
import random
import tempfile
import unittest
from pathlib import Path

import datasets
import huge
import report
import verify
from datasets import database, random_bytes, small_files
from datasets.swap import swap_identifiers
from measure import Command, ToolFailed, launch
from steps import CHANGED, FIRST, RESTORE, Figures
from targets import judge


def figures(wall_s=1.0, sync_s=0.0, peak_mib=50.0, repository_mib=10.0, new_mib=None):
    return Figures(wall_s, wall_s + sync_s, wall_s, peak_mib, repository_mib, new_mib)


class Scratch(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)

    def directory(self, name: str) -> Path:
        path = self.place / name
        path.mkdir()
        return path


class Judging(unittest.TestCase):
    def test_the_best_rival_of_each_figure_counts(self):
        rows = {"backstay": figures(1.0), "restic": figures(4.0), "borg": figures(2.5, repository_mib=9.0)}
        found = {one.figure: one for one in judge("source", FIRST, rows, {})}
        self.assertEqual((found["wall_s"].against_name, found["wall_s"].ratio), ("borg", 0.4))
        self.assertTrue(found["wall_s"].passed)
        self.assertFalse(found["repository_mib"].passed)

    def test_restore_is_judged_with_its_sync(self):
        rows = {"backstay": figures(1.0), "restic": figures(0.5, sync_s=1.5)}
        found = {one.figure: one.ratio for one in judge("small", RESTORE, rows, {})}
        self.assertEqual(found["wall_sync_s"], 0.5)
        self.assertNotIn("wall_s", found)

    def test_changed_pages_are_held_against_what_they_compress_to(self):
        rows = {"backstay": figures(new_mib=3.0), "restic": figures(new_mib=30.0)}
        found = judge("database", CHANGED, rows, {"compressed_bytes": 2 << 20})
        ratios = [(one.ratio, one.passed) for one in found if one.figure == "new_mib"]
        self.assertEqual(ratios, [(0.1, True), (1.5, False)])

    def test_nothing_is_claimed_without_both_sides(self):
        self.assertEqual(judge("source", FIRST, {"restic": figures()}, {}), [])
        alone = judge("source", FIRST, {"backstay": figures()}, {})
        self.assertEqual([one.figure for one in alone], ["peak_mib"])

    def test_a_tool_that_failed_once_has_no_median(self):
        good = {"failures": {}, "steps": {step: {"restic": figures(1)} for step in report.STEPS}}
        bad = {"failures": {"restic": "x"}, "steps": {step: {} for step in report.STEPS}}
        rounds = [{"facts": {}, "changed": {}} | one for one in (good, bad)]
        result = report.medians(rounds)
        self.assertEqual((result["steps"][FIRST], result["failures"]), ({}, {"restic": "x"}))


class Verifying(Scratch):
    def tree(self, name: str) -> Path:
        root = self.directory(name)
        (root / "d").mkdir()
        (root / "d/f").write_bytes(b"content")
        (root / "l").symlink_to("d/f")
        os.utime(root / "d/f", ns=(1, 5_000_000_123))
        return root

    def test_equal_trees_are_equal(self):
        self.assertIsNone(verify.difference(self.tree("a"), self.tree("b")))

    def test_every_kind_of_difference_is_found(self):
        original = self.tree("a")
        spoil = {
            "missing": lambda root: (root / "l").unlink(),
            "not in the source": lambda root: (root / "more").touch(),
            "mode": lambda root: (root / "d/f").chmod(0o600),
            "time": lambda root: os.utime(root / "d/f", ns=(1, 5_000_000_124)),
            "elsewhere": lambda root: ((root / "l").unlink(), (root / "l").symlink_to("d")),
            "bytes became": lambda root: (root / "d/f").write_bytes(b"longer content"),
            "content": self.flip,
        }
        for word, act in spoil.items():
            with self.subTest(word):
                restored = self.tree(word)
                act(restored)
                self.assertIn(word, verify.difference(original, restored) or "nothing")

    @staticmethod
    def flip(root: Path) -> None:
        (root / "d/f").write_bytes(b"cOntent")
        os.utime(root / "d/f", ns=(1, 5_000_000_123))


class Measuring(Scratch):
    def test_memory_and_time_of_a_grandchild_count(self):
        script = "python3 -c 'x = bytearray(200 << 20)'; true"
        taken = launch(Command(["sh", "-c", script], dict(os.environ)), self.place / "log")
        self.assertGreater(taken.peak_mib, 200)
        self.assertGreater(taken.wall_s, 0)

    def test_our_own_memory_does_not_count(self):
        ballast = bytearray(150 << 20)
        taken = launch(Command(["true"], dict(os.environ)), self.place / "log")
        self.assertLess(taken.peak_mib, 30)
        self.assertEqual(len(ballast), 150 << 20)

    def test_a_failure_carries_the_end_of_the_log(self):
        with self.assertRaisesRegex(ToolFailed, "ended with 3.*no such luck"):
            launch(Command(["sh", "-c", "echo no such luck; exit 3"], dict(os.environ)), self.place / "log")


class Data(Scratch):
    def test_one_seed_makes_one_tree_and_one_change(self):
        for made in (random_bytes, small_files):
            trees = [self.directory(f"{made.NAME}-{number}") for number in range(2)]
            for tree in trees:
                made.make(tree, 0.001)
                made.change(tree, 0.001, 1)
                for path in tree.rglob("*"):
                    os.utime(path, ns=(1, 1))
            self.assertIsNone(verify.difference(*trees), made.NAME)

    def test_insertions_lengthen_the_file_and_keep_the_rest(self):
        tree = self.directory("random")
        random_bytes.make(tree, 0.001)
        before = (tree / "random.bin").read_bytes()
        random_bytes.change(tree, 0.001, 1)
        after = (tree / "random.bin").read_bytes()
        self.assertEqual(len(after), len(before) + 2000)
        self.assertEqual((after[:1000], after[-1000:]), (before[:1000], before[-1000:]))

    def test_three_percent_of_pages_change_and_no_more(self):
        tree = self.directory("database")
        (tree / "base/1").mkdir(parents=True)
        (tree / "base/1/10").write_bytes(bytes(8192 * 1000))
        (tree / "base/1/10_fsm").write_bytes(bytes(8192))
        self.assertEqual(database.change(tree, 1.0, 24)["changed_pages"], 30)
        content = (tree / "base/1/10").read_bytes()
        changed = [page for page in range(1000) if any(content[page * 8192 : (page + 1) * 8192])]
        self.assertEqual(len(changed), 30)
        self.assertFalse(any((tree / "base/1/10_fsm").read_bytes()))

    def test_swapped_source_keeps_its_shape(self):
        line = b"    let total_bytes = count_bytes(first_file);\n"
        text = swap_identifiers(line * 50, random.Random(1))
        self.assertNotEqual(text, line * 50)
        self.assertEqual((len(text), text.count(b"\n")), (len(line) * 50, 50))

    def test_a_kept_set_is_not_made_again(self):
        first = datasets.ensure("small", 0.001, self.place)
        self.assertEqual(datasets.ensure("small", 0.001, self.place), first)


class Giant(Scratch):
    def test_moved_holes_and_changed_data_are_found(self):
        for name in ("a", "b"):
            self.directory(name)
            huge.make_sparse(self.place / name / "data", 0.001)
        a, b = self.place / "a/data", self.place / "b/data"
        huge.same_data(a, b)
        with (b / "sparse.bin").open("r+b") as file:
            os.pwrite(file.fileno(), b"x", next(huge.extents(file))[0] + 5)
        with self.assertRaises(ToolFailed):
            huge.same_data(a, b)


if __name__ == "__main__":
    unittest.main()
