//! Logs as `restore`, `snapshots` and `ls` tell of them: which segments, how far a replay gets, and which
//! life of the log they are of.

use serde_json::{Value, json};

use super::failure::Failure;
use super::show;
use crate::facts::WalFacts;
use crate::restore::{RestoredWal, timeline_id};

/// What is restored of a log, for people.
pub(super) fn restored_line(log: &RestoredWal) -> String {
    let naming = &log.facts.naming;
    let source = show::text(&log.source);
    let runs: Vec<String> = log.runs.iter().map(|run| naming.shown_run(*run)).collect();
    let timeline = log.timeline();
    if runs.is_empty() {
        return format!("WAL {source} (timeline {timeline}): no closed segment");
    }
    let later = match log.later {
        0 => String::new(),
        count => format!(", {count} of them from later snapshots"),
    };
    format!("WAL {source} (timeline {timeline}): {}{later}", runs.join(", "))
}

/// The same for programs.
pub(super) fn restored_row(log: &RestoredWal) -> Value {
    json!({
        "source": log.source,
        "timeline": log.timeline(),
        "first_segment": log.first(),
        "last_segment": log.last(),
        "reached_segment": log.reached,
        "asked_segment": log.asked,
        "floor_segment": log.facts.floor,
        "later_segments": log.later,
        "gaps": log.gaps,
        "short": log.short,
    })
}

/// What a replay of the log lacks.
pub(super) fn lacking(log: &RestoredWal) -> Option<Failure> {
    let naming = &log.facts.naming;
    let source = show::text(&log.source);
    let reached = log.reached.map_or_else(
        || "has no segment".to_owned(),
        |reached| format!("ends with segment {}", naming.shown(reached)),
    );
    if let Some(short) = &log.short {
        let asked = log.asked.map_or_else(String::new, |asked| {
            format!(", though {} was asked for", naming.shown(asked))
        });
        return Some(Failure::partial(format!("WAL {source} {reached}{asked}: {short}")));
    }
    let gap = naming.shown_run(*log.gaps.first()?);
    Some(Failure::partial(format!(
        "WAL {source} lacks {gap}: a replay {reached}; an older or newer snapshot may have more"
    )))
}

/// What a snapshot has of a log, for people.
pub(super) fn stored_line(facts: &WalFacts) -> String {
    let naming = &facts.naming;
    let segments = match (facts.first, facts.last) {
        (Some(first), Some(last)) => naming.shown_run((first, last)),
        _ => "no closed segment".to_owned(),
    };
    let floor = facts.floor.map(|floor| format!(", floor {}", naming.shown(floor)));
    let gaps: Vec<String> = facts.gaps.iter().take(3).map(|gap| naming.shown_run(*gap)).collect();
    let missing =
        if gaps.is_empty() { String::new() } else { format!(", missing {}", gaps.join(", ")) };
    let timeline = timeline_id(facts.timeline);
    format!("{segments}{}{missing}, timeline {timeline}", floor.unwrap_or_default())
}

/// The same for programs.
pub(super) fn stored_row(facts: &WalFacts) -> Value {
    let (forked_from, forked_after) = match facts.forked_from {
        Some((timeline, after)) => (Some(timeline_id(timeline)), Some(after)),
        None => (None, None),
    };
    json!({
        "first_segment": facts.first,
        "last_segment": facts.last,
        "floor_segment": facts.floor,
        "ceiling_segment": facts.ceiling,
        "gaps": facts.gaps,
        "timeline": timeline_id(facts.timeline),
        "forked_from_timeline": forked_from,
        "forked_after_segment": forked_after,
        "segments": facts.naming.to_string(),
    })
}
