//! The keys of a policy of `backstay.dev/v1`. What is not in these tables is an error.

use super::shape::{Field, Shape, Table};

/// The only `apiVersion` so far.
pub(super) const API_VERSION: &str = "backstay.dev/v1";
/// The only `kind` so far.
pub(super) const KIND: &str = "Policy";
/// zstd's levels that need no special window when reading.
const LEVELS: Shape = Shape::Integer(1, 19);

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, required: true, about }
}

const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { required: false, ..required(name, shape, about) }
}

const fn table(fields: &'static [Field]) -> Table {
    Table { fields, one_of: &[], later: &[] }
}

/// A whole document.
pub(super) static DOCUMENT: Table = table(&[
    required("apiVersion", Shape::Word(&[API_VERSION]), API_VERSION),
    required("kind", Shape::Word(&[KIND]), KIND),
    required("metadata", Shape::Mapping(&METADATA), "the policy's name"),
    required("spec", Shape::Mapping(&SPEC), "what is backed up, and how"),
]);

static METADATA: Table =
    table(&[required("name", Shape::Text, "the policy's name, at most 255 bytes")]);

static SPEC: Table = Table {
    fields: &[
        optional(
            "repository",
            Shape::Text,
            "where snapshots go: a path or URL; -r and BACKSTAY_REPOSITORY come before it",
        ),
        optional(
            "host",
            Shape::Text,
            "the host that snapshots are filed under; by default the machine's own name",
        ),
        required("sources", Shape::Mappings(&SOURCE), "what is backed up, a list"),
        optional(
            "exclude",
            Shape::Texts,
            "patterns, as in .gitignore, left out of every directory",
        ),
        optional(
            "excludeCaches",
            Shape::Flag,
            "leave out directories with a CACHEDIR.TAG, unless a directory says otherwise",
        ),
        optional("compression", Shape::Mapping(&COMPRESSION), "how hard data is compressed"),
        optional("memory", Shape::Size, "the most memory that a backup may take, such as 256MiB"),
        optional(
            "limits",
            Shape::Mapping(&LIMITS),
            "what backups may use of the line to the store",
        ),
        optional("ssh", Shape::Mapping(&SSH), "files for a repository behind sftp://"),
        optional(
            "prices",
            Shape::Mapping(&PRICES),
            "what the provider asks, for the estimate in reports",
        ),
        optional(
            "labels",
            Shape::Labels,
            "texts that each snapshot carries, by which snapshots are found",
        ),
    ],
    one_of: &[],
    later: &["schedule", "retention", "objectives", "hooks", "drill", "notify"],
};

/// A speed, or `off`, which YAML 1.1 tools make `false`.
const RATE: Shape = Shape::Either(&[Shape::Rate, Shape::False]);

static LIMITS: Table = table(&[
    optional("upload", RATE, "to the store, each second, such as 10MiB or 80Mbit; or off"),
    optional("download", RATE, "from the store, each second, such as 10MiB or 80Mbit; or off"),
    optional(
        "connections",
        Shape::Integer(1, 256),
        "connections at a time; by default 16, and 4 over SSH",
    ),
    optional(
        "retryFor",
        Shape::Time,
        "how long after its first failure a request is still tried again; by default 5m",
    ),
]);

static SSH: Table = table(&[
    optional(
        "key",
        Shape::Text,
        "the file of the private key; if relative, from the policy file's directory",
    ),
    optional(
        "knownHosts",
        Shape::Text,
        "the file of known hosts; if relative, from the policy file's directory",
    ),
]);

/// A provider's price list: in a policy, and in a file of its own.
pub(super) static PRICES: Table = table(&[
    required("currency", Shape::Text, "what the amounts are of, such as USD"),
    optional("perThousand", Shape::Mapping(&REQUESTS), "of 1,000 requests of each kind"),
    optional("perGiB", Shape::Mapping(&TRANSFER), "of a GiB on its way"),
    optional("perGiBMonth", Shape::Price, "of a GiB that is kept for a month"),
]);

static REQUESTS: Table = table(&[
    optional("put", Shape::Price, "requests that create an object"),
    optional("get", Shape::Price, "requests that read"),
    optional("list", Shape::Price, "requests for a page of a listing"),
    optional("delete", Shape::Price, "requests that remove an object"),
]);

static TRANSFER: Table = table(&[
    optional("upload", Shape::Price, "to the store"),
    optional("download", Shape::Price, "from the store"),
]);

static COMPRESSION: Table = table(&[required(
    "level",
    Shape::Either(&[LEVELS, Shape::Word(&["off"]), Shape::False]),
    "a zstd level from 1 to 19, or off",
)]);

static SOURCE: Table = Table {
    fields: &[
        required("name", Shape::Text, "the name under which snapshots keep the source"),
        optional("directory", Shape::Mapping(&DIRECTORY), "a directory with all below it"),
        optional("wal", Shape::Mapping(&WAL), "closed segments of a write-ahead log"),
    ],
    one_of: &["directory", "wal"],
    later: &[],
};

static DIRECTORY: Table = table(&[
    required("path", Shape::Text, "the directory; if relative, from the policy file's directory"),
    optional("exclude", Shape::Texts, "patterns, as in .gitignore, after those of spec.exclude"),
    optional("excludeCaches", Shape::Flag, "leave out directories with a CACHEDIR.TAG"),
    optional("oneFileSystem", Shape::Flag, "do not enter other file systems"),
    optional(
        "pin",
        Shape::Flag,
        "hold all files open before the first is copied; by default only where a WAL names this",
    ),
    optional("cutter", Shape::Text, "how files are cut: auto, whole, pages 8KiB, cdc 1MiB"),
    optional(
        "allowEmpty",
        Shape::Flag,
        "accept an empty directory where the last snapshot had files",
    ),
]);

static WAL: Table = table(&[
    required(
        "path",
        Shape::Text,
        "the directory of the segments; if relative, from the policy file's directory",
    ),
    required(
        "segments",
        Shape::Text,
        "how segments are named: {number}.wal, {number:hex}.wal, or 00000001{number:postgresql}",
    ),
    required(
        "closed",
        Shape::Either(&[Shape::Word(&["allButNewest"]), Shape::Mapping(&CLOSED)]),
        "how a closed segment is known",
    ),
    optional(
        "settle",
        Shape::Time,
        "how long a segment must stand still to count as closed; by default 200ms",
    ),
    optional("allowEmpty", Shape::Flag, "accept a log without a segment"),
    optional(
        "directory",
        Shape::Text,
        "the name of the directory source that this WAL is replayed into",
    ),
]);

static CLOSED: Table = Table {
    fields: &[
        optional(
            "renamed",
            Shape::Mapping(&RENAMED),
            "an open segment has a suffix that it loses when it is closed",
        ),
        optional("marker", Shape::Mapping(&MARKER), "a closed segment has a marker file beside it"),
    ],
    one_of: &["renamed", "marker"],
    later: &[],
};

static RENAMED: Table = table(&[required(
    "openSuffix",
    Shape::Text,
    "what an open segment's name ends with, such as .open",
)]);

static MARKER: Table = table(&[required(
    "suffix",
    Shape::Text,
    "what the marker's name has after the segment's, such as .ready",
)]);
