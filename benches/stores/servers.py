"""The servers of a run: SeaweedFS, sshd and the long line. All listen on 127.0.0.1 only, have keys of
their own, and end with this process, however that ends.
"""

import http.client
import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from find import ROOT

# Waits for the end of its standard input, which comes with the end of the run, be it killed; then ends
# the server and its children, which have a group of their own.
SUPERVISOR = """
log=$1; shift
setsid "$@" </dev/null >"$log" 2>&1 &
group=$!
cat >/dev/null
kill -9 "-$group"
"""
# A cold server on a busy machine was seen to take 19 seconds.
PATIENCE_S = 120
POLL_S = 0.1
BUCKET = "backstay"
ACCESS_KEY = "bench-access-key"
SECRET_KEY = "bench-secret-key"
REGION = "us-east-1"


class NoServer(Exception):
    """A server is absent or does not start; the message says which, and what to do."""


@contextmanager
def supervised(argv: list[str], log: Path) -> Iterator[None]:
    """Runs a server until the block ends."""
    command = ["sh", "-c", SUPERVISOR, "supervisor", str(log), *argv]
    supervisor = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        supervisor.stdin.close()
        supervisor.wait()


def wait_until(is_ready, what: str, log: Path) -> None:
    """Asks again and again: these servers tell nobody when they are ready."""
    end = time.monotonic() + PATIENCE_S
    while not is_ready():
        if time.monotonic() > end:
            tail = log.read_text(errors="replace")[-500:] if log.exists() else ""
            raise NoServer(f"{what} did not start within {PATIENCE_S} s: {tail}")
        time.sleep(POLL_S)


def free_ports(count: int) -> list[int]:
    """Free ports; the one above each is free as well."""
    held, ports = [], []
    while len(ports) < count:
        first, second = socket.socket(), socket.socket()
        held += [first, second]
        first.bind(("127.0.0.1", 0))
        try:
            second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        except (OSError, OverflowError):
            continue
        ports.append(first.getsockname()[1])
    for one in held:
        one.close()
    return ports


def program(name: str, places: list[str], advice: str) -> str:
    """A server's program."""
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))
    if not found:
        raise NoServer(f"{name} is absent: {advice}")
    return found


@dataclass
class Seaweed:
    """A running S3 server with an empty bucket."""

    port: int
    root: Path

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What lets a client in, by the server's own port or that of a proxy."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }


@contextmanager
def seaweed(root: Path) -> Iterator[Seaweed]:
    """SeaweedFS with its data below `root`, which must not hold another one's."""
    weed = program("weed", [str(ROOT / ".tools/venv/bin")], "tests/run installs it")
    root.mkdir(parents=True)
    actions = ["Admin", "Read", "Write", "List"]
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    identities = [{"name": "bench", "credentials": credentials, "actions": actions}]
    config = root / "s3.json"
    config.write_text(json.dumps({"identities": identities}))
    ports = dict(zip(("master", "volume", "filer", "s3"), free_ports(4)))
    argv = [weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    argv += ["-volume.max=200", "-master.volumeSizeLimitMB=1024", f"-dir={root}", f"-s3.config={config}"]
    # Without catalogues, whose ports are the same for every server.
    argv += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    for name, port in ports.items():
        argv += [f"-{name}.port={port}", f"-{name}.port.grpc={port + 1}"]
    log = root / "log"
    with supervised(argv, log):
        filer = ports["filer"]
        wait_until(lambda: answers(ports["s3"], "GET", "/healthz"), "SeaweedFS", log)
        # A directory under /buckets is a bucket.
        wait_until(lambda: answers(filer, "POST", f"/buckets/{BUCKET}/"), "SeaweedFS", log)
        # The first object makes the volumes, which takes a moment that nobody shall pay for.
        wait_until(lambda: answers(filer, "PUT", f"/buckets/{BUCKET}/first", b"x"), "SeaweedFS", log)
        yield Seaweed(ports["s3"], root)


def answers(port: int, method: str, path: str, body: bytes = b"") -> bool:
    """Whether a request succeeds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body=body or None)
        return connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass
class Sshd:
    """A running sshd: one user, one key, one host key."""

    port: int
    user: str
    key: Path
    host_key: str
    root: Path

    def known_hosts(self, port: int) -> Path:
        """A file that knows this server at `port`, which may be a proxy's."""
        path = self.root / f"known_hosts-{port}"
        path.write_text(f"[127.0.0.1]:{port} {self.host_key}\n")
        return path

    def options(self, port: int) -> list[str]:
        """Options of OpenSSH's own clients, which shall see nothing of the user's set-up."""
        words = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts(port),
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "Port": port,
            "User": self.user,
        }
        return ["-F", "none", *(word for pair in words.items() for word in ("-o", "=".join(map(str, pair))))]


# One cipher for all, and the fastest: what is compared is what clients make of a line.
SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {root}/host_key
AuthorizedKeysFile {root}/user_key.pub
Ciphers aes256-gcm@openssh.com
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
Subsystem sftp internal-sftp
"""


@contextmanager
def sshd(root: Path) -> Iterator[Sshd]:
    """OpenSSH's server for the user who runs this."""
    server = program("sshd", ["/usr/sbin"], "install openssh-server")
    root.mkdir(parents=True)
    if os.geteuid() == 0:
        # Where it separates privileges; a package makes it only when its service starts.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "user_key"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(root / name)]
        subprocess.run(keygen, check=True)
    [port] = free_ports(1)
    config = root / "sshd_config"
    config.write_text(SSHD_CONFIG.format(port=port, root=root))
    log = root / "log"
    user = pwd.getpwuid(os.geteuid()).pw_name
    host_key = " ".join((root / "host_key.pub").read_text().split()[:2])
    with supervised([server, "-D", "-e", "-f", str(config)], log):
        wait_until(lambda: connects(port), "sshd", log)
        yield Sshd(port, user, root / "user_key", host_key, root)


def connects(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


DELAY_LINE = ROOT / "target/release/examples/delay-line"
BASELINE = ROOT / "target/release/examples/store-baseline"
HOW_TO_BUILD = "cargo build --release --examples"


def example(path: Path) -> str:
    """A program of this benchmark's own, from where cargo puts it."""
    target = os.environ.get("CARGO_TARGET_DIR")
    path = Path(target) / path.relative_to(ROOT / "target") if target else path
    if not path.is_file():
        raise NoServer(f"{path.name} is absent: {HOW_TO_BUILD}")
    return str(path)


@contextmanager
def delay_line(port: int, one_way_ms: float) -> Iterator[int]:
    """A port that leads to `port`, each way taking so long."""
    argv = [example(DELAY_LINE), f"127.0.0.1:{port}", str(one_way_ms)]
    line = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield int(line.stdout.readline())
    finally:
        line.stdin.close()
        line.wait()
        line.stdout.close()
