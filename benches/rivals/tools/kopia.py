"""Kopia: compression `zstd`, which is zstd's default level, set as the global policy."""

NAME = "kopia"
VERSION = ["--version"]


def environment(bed):
    return {
        "KOPIA_PASSWORD": "bench",
        "KOPIA_CONFIG_PATH": str(bed.home / "repository.config"),
        "KOPIA_LOG_DIR": str(bed.home / "logs"),
        "KOPIA_CACHE_DIRECTORY": str(bed.cache / "kopia"),
        "KOPIA_CHECK_FOR_UPDATES": "false",
        "KOPIA_USE_KEYRING": "false",
    }


def prepare(bed):
    where = ["--path", str(bed.repository), "--cache-directory", str(bed.cache / "kopia")]
    return [
        ["repository", "create", "filesystem", *where],
        ["policy", "set", "--global", "--compression=zstd"],
    ]


def backup(bed, live, number):
    return ["snapshot", "create", "--no-progress", str(live)]


def restore(bed, live, to, number):
    return ["snapshot", "restore", "--no-progress", "--snapshot-time=latest", str(live), str(to)]


def restored(live, to):
    return to
