"""Backstay, by the command-line contract of the project's design page.

It backs up with the agent key, which cannot read content, and restores with the recovery key.
"""

NAME = "backstay"
VERSION = ["--version"]
SOURCE = "data"


def environment(bed):
    return {
        "BACKSTAY_REPOSITORY": str(bed.repository),
        "BACKSTAY_CACHE": str(bed.cache / "backstay"),
        "BACKSTAY_KEY_FILE": str(bed.keys / "agent.key"),
    }


def prepare(bed):
    return [["init", "--keys", str(bed.keys)]]


def backup(bed, live, number):
    return ["backup", f"{SOURCE}={live}"]


def restore(bed, live, to, number):
    return ["restore", "latest", "--to", str(to), "--key-file", str(bed.keys / "recovery.key")]


def restored(live, to):
    return to / SOURCE
