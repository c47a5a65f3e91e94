"""restic: repository version 2, compression `auto`, which is zstd's default level."""

NAME = "restic"
VERSION = ["version"]


def environment(bed):
    return {
        "RESTIC_REPOSITORY": str(bed.repository),
        "RESTIC_PASSWORD": "bench",
        "RESTIC_CACHE_DIR": str(bed.cache / "restic"),
    }


def prepare(bed):
    return [["init", "--repository-version", "2"]]


def backup(bed, live, number):
    return ["backup", "--compression", "auto", str(live)]


def restore(bed, live, to, number):
    return ["restore", "latest", "--target", str(to)]


def restored(live, to):
    return to / live.relative_to("/")
