"""Borg 1.x: `repokey-blake2`, `--compression zstd,3`.

Borg restores into the directory it is started in, so it is started in the destination. Its relation
to the repository is kept out of the cache directory: losing the cache is not losing its trust.
"""

NAME = "borg"
VERSION = ["--version"]


def environment(bed):
    return {
        "BORG_REPO": str(bed.repository),
        "BORG_PASSPHRASE": "bench",
        "BORG_BASE_DIR": str(bed.home),
        "BORG_CACHE_DIR": str(bed.cache / "borg"),
        "BORG_CONFIG_DIR": str(bed.home / "borg-config"),
        "BORG_SECURITY_DIR": str(bed.home / "borg-security"),
    }


def prepare(bed):
    return [["init", "--encryption", "repokey-blake2"]]


def backup(bed, live, number):
    return ["create", "--compression", "zstd,3", f"::{number}", str(live)]


def restore(bed, live, to, number):
    return ["extract", f"::{number}"]


def restored(live, to):
    return to / live.relative_to("/")
