//! What a restore lacks, and which exit code that is: damage, refusals, shortfalls, and what the snapshot
//! itself has only in part. A person may accept kinds of shortfalls by name; nothing else is ever silent.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::builder::PossibleValue;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::output::{Fields, fields};
use super::show;
use crate::destination::{Shortfall, ShortfallKind};
use crate::restore::{Refusal, Report};

impl clap::ValueEnum for ShortfallKind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Owner => "Owners and groups",
            Self::Mode => "Permission bits",
            Self::Times => "Modification times",
            Self::Xattr => "Extended attributes",
            Self::Acl => "Access control lists",
            Self::Capability => "Capabilities of programs",
            Self::Device => "Devices, which are left out",
            Self::Link => "Hard links, which become copies",
            Self::Flags => "Inode flags, such as immutable",
            Self::Marker => "Entries with the name of the marker, which are left out",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

/// The kinds that were accepted.
pub(super) type Kinds = BTreeSet<ShortfallKind>;

/// Lines for a person.
pub(super) fn text(report: &Report, accepted: &Kinds) -> String {
    let mut text = String::new();
    let refused = &report.refused;
    if refused.count > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} refused:", show::count(refused.count, "entry"));
        let line = |refusal: &Refusal| show::text(&refusal.detail);
        text.push_str(&show::first_lines(refused.listed.iter().map(line)));
    }
    let shortfalls = &report.shortfalls;
    for (kind, count) in &shortfalls.counts {
        let word = if accepted.contains(kind) { " (accepted)" } else { "" };
        let _ = writeln!(text, "{} not restored: {kind}{word}", show::count(*count, "shortfall"));
        let line = |shortfall: &Shortfall| {
            let path = show::path(shortfall.path.as_bytes());
            format!("{path}: {}: {}", show::text(&shortfall.what), show::text(&shortfall.detail))
        };
        let of_kind: Vec<_> = shortfalls.listed.iter().filter(|s| s.kind == *kind).collect();
        text.push_str(&show::first_lines(of_kind.into_iter().map(line)));
    }
    text
}

/// Members of the JSON answer.
pub(super) fn answer(report: &Report, accepted: &Kinds) -> Fields {
    let row = |path: &[u8], more: Value| {
        let mut row = Fields::new();
        show::json_path(&mut row, "path", path);
        row.extend(fields(more));
        Value::Object(row)
    };
    let shortfalls = &report.shortfalls;
    let counts = shortfalls.counts.iter();
    let counts = counts.map(|(kind, count)| (kind.as_str().to_owned(), json!(count)));
    let listed = shortfalls.listed.iter().map(|s| {
        let more = json!({"kind": s.kind.as_str(), "what": s.what, "detail": s.detail});
        row(s.path.as_bytes(), more)
    });
    let refused = &report.refused;
    let refusals = refused.listed.iter();
    let refusals = refusals.map(|r| row(r.path.as_bytes(), json!({"detail": r.detail})));
    fields(json!({
        "refused_count": refused.count,
        "refused": refusals.collect::<Vec<_>>(),
        "shortfall_count": shortfalls.count(),
        "shortfall_counts": counts.collect::<Fields>(),
        "accepted": accepted.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "shortfalls": listed.collect::<Vec<_>>(),
    }))
}

/// The failure that refusals are.
pub(super) fn refused(report: &Report) -> Option<Failure> {
    let first = report.refused.listed.first()?;
    let what = show::count(report.refused.count, "entry");
    Some(Failure::partial(format!(
        "{what} refused by the destination, first: {}; everything else was restored, and the \
         destination stays marked as unfinished: remove the cause and run the same command again, or \
         remove .backstay-restore to leave it so",
        first.detail
    )))
}

/// The failure that shortfalls are, but for those of accepted kinds.
pub(super) fn short(report: &Report, accepted: &Kinds) -> Option<Failure> {
    let shortfalls = &report.shortfalls;
    let counts = |kind: ShortfallKind| !accepted.contains(&kind);
    let count = shortfalls.count_of(counts);
    if count == 0 {
        return None;
    }
    let kinds = shortfalls.counts.keys().filter(|kind| counts(**kind)).map(|kind| kind.as_str());
    let kinds: Vec<&str> = kinds.collect();
    let first = shortfalls.listed.iter().find(|shortfall| counts(shortfall.kind));
    let first = first.map_or_else(String::new, |s| {
        format!(", first: {}: {}: {}", show::path(s.path.as_bytes()), s.what, s.detail)
    });
    let message = format!(
        "{} not restored ({}){first}; --accept {} takes it for success",
        show::count(count, "attribute"),
        kinds.join(", "),
        kinds.join(",")
    );
    Some(Failure::new(Exit::Partial, message))
}
