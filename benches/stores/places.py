"""The race's contestants at a store instead of a local directory.

What a tool is told beyond what `benches/rivals/tools` tells it: where the repository is, how many
connections it may have, and for restic and rustic how to reach it. Everything else stays as it is there.
"""

import json
import shlex
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import tools
from measure import Command, Taken, launch, take
from servers import BUCKET, Seaweed, Sshd
from tools.bed import Bed


@dataclass
class Place:
    """How one tool reaches one repository."""

    environment: dict[str, str]
    # Come after the subcommand.
    options: list[str] = field(default_factory=list)
    # How many connections Backstay may have; the others' are among their options.
    connections: int | None = None
    # The profile of rustic, which takes a store's options from a file only.
    profile: str = ""


def at_s3(name: str, server: Seaweed, port: int, base: str, connections: int | None) -> Place:
    """A repository under `base` in the bucket, reached through `port`; None leaves connections as they are."""
    environment = server.environment(port)
    endpoint = environment["AWS_ENDPOINT_URL"]
    if name == "restic":
        environment["RESTIC_REPOSITORY"] = f"s3:{endpoint}/{BUCKET}/{base}"
        return Place(environment, ["-o", "s3.bucket-lookup=path", *restic_connections("s3", connections)])
    if name == "rustic":
        environment["RUSTIC_REPOSITORY"] = "opendal:s3"
        options = {
            "bucket": BUCKET,
            "root": f"/{base}",
            "endpoint": endpoint,
            "region": environment["AWS_REGION"],
            "access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
            **({"connections": str(connections)} if connections else {}),
        }
        lines = [f'{key} = "{value}"' for key, value in options.items()]
        return Place(environment, profile="\n".join(["[repository.options]", *lines, ""]))
    environment["BACKSTAY_REPOSITORY"] = f"s3://{BUCKET}/{base}"
    return Place(environment, connections=connections)


def at_sftp(name: str, server: Sshd, port: int, directory: Path, connections: int) -> Place:
    """A repository in `directory` of the server, reached through `port`."""
    if name == "restic":
        command = shlex.join(["ssh", *server.options(port), "127.0.0.1", "-s", "sftp"])
        repository = {"RESTIC_REPOSITORY": f"sftp:{server.user}@127.0.0.1:{directory}"}
        return Place(repository, ["-o", f"sftp.command={command}", *restic_connections("sftp", connections)])
    environment = {
        "BACKSTAY_REPOSITORY": f"sftp://{server.user}@127.0.0.1:{port}{directory}",
        "BACKSTAY_SSH_KEY": str(server.key),
        "BACKSTAY_SSH_KNOWN_HOSTS": str(server.known_hosts(port)),
    }
    return Place(environment, connections=connections)


def restic_connections(backend: str, connections: int | None) -> list[str]:
    return ["-o", f"{backend}.connections={connections}"] if connections else []


@cache
def takes_connections(program: str) -> bool:
    """Whether this Backstay has the option; one that has not is run without, and the report says so."""
    said = subprocess.run([program, "backup", "--help"], capture_output=True, text=True, timeout=30)
    return "--connections" in said.stdout


class Contestant:
    """A tool at its bed, with a repository at a place that may be reached by several ways."""

    def __init__(self, name: str, program: str, root: Path, log: Path):
        self.name = name
        self.tool = tools.ALL[name]
        self.bed = Bed(root / name, program, log)

    def command(self, arguments: list[str], place: Place, directory: Path | None = None) -> Command:
        options = place.options
        if place.connections and takes_connections(self.bed.program):
            options = [*options, "--connections", str(place.connections)]
        environment = self.bed.environment() | self.tool.environment(self.bed) | place.environment
        if place.profile:
            profile = self.bed.home / "config/rustic/rustic.toml"
            profile.parent.mkdir(parents=True, exist_ok=True)
            profile.write_text(place.profile)
        argv = [self.bed.program, arguments[0], *options, *arguments[1:]]
        return Command(argv, environment, directory or self.bed.home)

    def prepare(self, place: Place) -> None:
        """A fresh bed and an empty repository."""
        self.bed.lay()
        for arguments in self.tool.prepare(self.bed):
            launch(self.command(arguments, place), self.bed.log)

    def backup(self, place: Place, paths: list[Path], number: int, written: Path) -> Taken:
        """One backup of all `paths`; what it wrote lies under `written`."""
        arguments = [*self.tool.backup(self.bed, paths[0], number), *map(str, paths[1:])]
        if self.name == "backstay":
            arguments.append("--json")
        return take(self.command(arguments, place), self.bed.log, written)

    def said(self) -> dict:
        """What Backstay answered last."""
        answers = [line for line in self.bed.log.read_text().splitlines() if line.startswith("{")]
        return json.loads(answers[-1])

    def restore(self, place: Place, live: Path, to: Path) -> Taken:
        """The latest snapshot, which holds `live`, into a new directory."""
        to.mkdir(parents=True)
        arguments = self.tool.restore(self.bed, live, to, 0)
        return take(self.command(arguments, place, to), self.bed.log, to)

    def restore_one(self, place: Place, live: Path, name: str, to: Path) -> Taken:
        """One file of the latest snapshot, which holds `live`, into a new directory."""
        to.mkdir(parents=True)
        arguments = {
            "backstay": lambda: self.of_source(self.tool.restore(self.bed, live, to, 0), name),
            "restic": lambda: [*self.tool.restore(self.bed, live, to, 0), "--include", str(live / name)],
            "rustic": lambda: ["restore", f"latest:{live / name}", str(to)],
        }[self.name]()
        return take(self.command(arguments, place, to), self.bed.log, to)

    def of_source(self, arguments: list[str], name: str) -> list[str]:
        """The same restore, of one path of the source."""
        return [f"{word}:{self.tool.SOURCE}/{name}" if word == "latest" else word for word in arguments]
