//! Every object's name, made and parsed here and nowhere else. FORMAT.md §2.

use data_encoding::HEXLOWER;

use crate::repo::id::{Lane, PackId, SessionId};
use crate::store::Key;

/// Prefix of all generations of the config.
pub const CONFIG: &str = "config/";
/// Prefix of all checkpoints.
pub const CHECKPOINT: &str = "checkpoint/";
/// Prefix of all sessions.
pub const SESSION: &str = "session/";
/// Prefix of all commit registers.
pub const SNAPSHOT: &str = "snapshot/";
/// Prefix of all packs.
pub const PACK: &str = "pack/";
/// Prefix of all index tables.
pub const INDEX: &str = "index/";
/// Prefix of what probes of the store leave: no part of a repository.
pub const PROBE: &str = crate::store::PROBE_PREFIX;

fn inverted(number: u64) -> String {
    format!("{:016x}", u64::MAX - number)
}

/// Exactly `digits` lower-case digits: `from_str_radix` alone would let a sign and capitals pass.
fn parse_hex(text: &str, digits: usize) -> Option<u64> {
    let sound =
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if sound { u64::from_str_radix(text, 16).ok() } else { None }
}

fn parse_inverted(text: &str) -> Option<u64> {
    parse_hex(text, 16).map(|number| u64::MAX - number)
}

/// Name of a generation of the config.
pub fn config(generation: u64) -> Key {
    Key::new(format!("{CONFIG}{}", inverted(generation)))
}

/// The generation that a config object's name states.
pub fn parse_config(key: &Key) -> Option<u64> {
    parse_inverted(key.as_str().strip_prefix(CONFIG)?)
}

/// Name of a checkpoint.
pub fn checkpoint(number: u64) -> Key {
    Key::new(format!("{CHECKPOINT}{}", inverted(number)))
}

/// The number that a checkpoint's name states.
pub fn parse_checkpoint(key: &Key) -> Option<u64> {
    parse_inverted(key.as_str().strip_prefix(CHECKPOINT)?)
}

/// What a session and its commit register are both called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The series of snapshots.
    pub lane: Lane,
    /// Place in the series, from 1.
    pub sequence: u64,
    /// The newest checkpoint when the session began.
    pub checkpoint: u64,
    /// The session, later the snapshot.
    pub session: SessionId,
}

impl Place {
    fn name(&self, prefix: &str) -> Key {
        let Self { lane, sequence, checkpoint, session } = self;
        Key::new(format!("{prefix}{lane}/{}-{checkpoint:016x}-{session}", inverted(*sequence)))
    }

    /// Name of the session's announcement.
    pub fn session_key(&self) -> Key {
        self.name(SESSION)
    }

    /// Name of the commit register: here the snapshot or an abort record is put.
    pub fn register_key(&self) -> Key {
        self.name(SNAPSHOT)
    }

    /// Parses the name of a session or of a commit register.
    pub fn parse(key: &Key) -> Option<Self> {
        let name = key.as_str();
        let rest = name.strip_prefix(SNAPSHOT).or_else(|| name.strip_prefix(SESSION))?;
        let (lane, tail) = rest.split_once('/')?;
        let mut parts = tail.split('-');
        let place = Self {
            lane: Lane::from_hex(lane)?,
            sequence: parse_inverted(parts.next()?)?,
            checkpoint: parse_hex(parts.next()?, 16)?,
            session: SessionId::from_hex(parts.next()?)?,
        };
        parts.next().is_none().then_some(place)
    }
}

/// Prefix of a lane's sessions.
pub fn sessions_of(lane: Lane) -> String {
    format!("{SESSION}{lane}/")
}

/// Prefix of a lane's commit registers.
pub fn snapshots_of(lane: Lane) -> String {
    format!("{SNAPSHOT}{lane}/")
}

/// Name of a pack.
pub fn pack(id: PackId) -> Key {
    let hex = id.to_string();
    let (session, rest) = hex.split_at(24);
    let (number, rest) = rest.split_at(8);
    Key::new(format!("{PACK}{session}/{number}-{rest}"))
}

/// Prefix of the packs of a session.
pub fn packs_of(session: SessionId) -> String {
    format!("{PACK}{session}/")
}

/// The id that a pack's name states.
pub fn parse_pack(key: &Key) -> Option<PackId> {
    let rest = key.as_str().strip_prefix(PACK)?;
    let (session, rest) = rest.split_once('/')?;
    let (number, rest) = rest.split_once('-')?;
    if session.len() != 24 || number.len() != 8 {
        return None;
    }
    PackId::from_hex(&format!("{session}{number}{rest}"))
}

/// Prefix of what one probe makes. No folder of its own: a directory would stay behind, once for each probe.
pub fn probes_of(run: [u8; 12]) -> String {
    format!("{PROBE}{}-", HEXLOWER.encode(&run))
}

/// Prefix of probes' objects that are made once and found again, by those who may not delete.
pub fn kept_probes(of: &str) -> String {
    format!("{PROBE}{of}-")
}

/// Whether a probe made this: its content means nothing.
pub fn is_probe(key: &Key) -> bool {
    key.as_str().starts_with(PROBE)
}

/// Name of the `n`-th index table of a session.
pub fn index(session: SessionId, n: u16) -> Key {
    Key::new(format!("{INDEX}{session}-{n:04x}"))
}

/// The session and number that an index table's name states.
pub fn parse_index(key: &Key) -> Option<(SessionId, u16)> {
    let (session, n) = key.as_str().strip_prefix(INDEX)?.split_once('-')?;
    let n = u16::try_from(parse_hex(n, 4)?).ok()?;
    Some((SessionId::from_hex(session)?, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_newest_sorts_first() {
        let place =
            Place { lane: Lane([1; 16]), sequence: 7, checkpoint: 3, session: SessionId([9; 12]) };
        assert_eq!(Place::parse(&place.session_key()), Some(place));
        assert_eq!(Place::parse(&place.register_key()), Some(place));
        assert!(Place { sequence: 8, ..place }.register_key() < place.register_key());

        let id = PackId::new(SessionId([9; 12]), 258, [7; 7], 1);
        assert_eq!(parse_pack(&pack(id)), Some(id));
        assert_eq!(pack(id).as_str(), "pack/090909090909090909090909/00000102-0707070707070701");
        assert_eq!(parse_index(&index(SessionId([2; 12]), 10)), Some((SessionId([2; 12]), 10)));
        assert!(is_probe(&Key::new(format!("{}a", probes_of([3; 12])))) && !is_probe(&pack(id)));
        assert_eq!(parse_config(&config(5)), Some(5));
        assert_eq!(parse_checkpoint(&checkpoint(0)), Some(0));
    }

    #[test]
    fn strangers_are_not_parsed() {
        let index = |n: &str| format!("index/020202020202020202020202-{n}");
        for name in ["pack/x/y", "pack/", "snapshot/a/b-c-d", "config/1", "index/é-0000"]
            .map(String::from)
            .into_iter()
            .chain([index("+001"), index("00AB"), index("1"), index("00001")])
        {
            let key = Key::new(name);
            assert!(parse_pack(&key).is_none() && parse_index(&key).is_none());
            assert!(Place::parse(&key).is_none() && parse_config(&key).is_none());
        }
    }
}
