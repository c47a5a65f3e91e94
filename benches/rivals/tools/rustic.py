"""rustic: restic's repository format, version 2, zstd level 3."""

NAME = "rustic"
VERSION = ["--version"]


def environment(bed):
    return {
        "RUSTIC_REPOSITORY": str(bed.repository),
        "RUSTIC_PASSWORD": "bench",
        "RUSTIC_CACHE_DIR": str(bed.cache / "rustic"),
        "RUSTIC_NO_PROGRESS": "true",
    }


def prepare(bed):
    return [["init", "--set-version", "2", "--set-compression", "3"]]


def backup(bed, live, number):
    return ["backup", str(live)]


def restore(bed, live, to, number):
    return ["restore", f"latest:{live}", str(to)]


def restored(live, to):
    return to
