//! What a source says of its cut: the facts that a snapshot keeps beside the tree, so that a
//! restore can judge what it has without reading it.

/// One life of a WAL between two restores. A restore mints a new one: the same segment name with
/// other content is then expected, and within one epoch it is an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub [u8; 16]);

/// The WAL segments of one restore point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalFacts {
    /// The epoch that the segments belong to.
    pub epoch: Epoch,
    /// The epoch that this one was forked from by a restore, and the last segment that was
    /// replayed then.
    pub forked_from: Option<(Epoch, u64)>,
    /// Number of the oldest closed segment; `None` where there is no closed segment yet.
    pub first: Option<u64>,
    /// Number of the newest closed segment.
    pub last: Option<u64>,
    /// Number of the newest segment, closed or not, when the directories' copying began.
    pub floor: Option<u64>,
    /// Missing numbers between `first` and `last`, as inclusive runs.
    pub gaps: Vec<(u64, u64)>,
    /// How segment files are named, so that a restore can place them in the order of their numbers.
    pub naming: SegmentNaming,
}

/// How the number of a segment stands in its file name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SegmentNaming {
    /// What stands before the number.
    pub prefix: String,
    /// What stands after it.
    pub suffix: String,
    /// 10 or 16.
    pub radix: u32,
}

/// Facts of one source in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// A directory.
    Directory {
        /// Whether all files were opened and the listing stood still before bytes were copied.
        pinned: bool,
    },
    /// Closed WAL segments.
    Wal(WalFacts),
}

impl SegmentNaming {
    /// The number of the segment that a file of this name is; `None` for any other file.
    pub fn number(&self, name: &[u8]) -> Option<u64> {
        let digits = name.strip_prefix(self.prefix.as_bytes())?;
        let digits = digits.strip_suffix(self.suffix.as_bytes())?;
        let digits = std::str::from_utf8(digits).ok()?;
        let plain =
            !digits.is_empty() && digits.chars().all(|c| c.is_digit(self.radix.clamp(2, 36)));
        if plain { u64::from_str_radix(digits, self.radix.clamp(2, 36)).ok() } else { None }
    }
}
