//! Probes of the store as `init`, `check` and `store test` tell of them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::progress::Sample;
use super::show;
use crate::class::Class;
use crate::probe::{self, Error, Options, Report};
use crate::repo::Repository;
use crate::store::{Store, StoreClass};
use crate::{check, store};

/// With more packs, a listing of them had several pages.
const PAGE_OBJECTS: u64 = 1_000;

/// Probes, while a person watches that something happens.
pub(super) async fn run(
    store: &dyn Store,
    options: Options,
    context: &Context,
    out: &Output,
) -> Result<Report, Error> {
    let work = probe::run(store, context.world(), options);
    let sample = || Sample { bytes: 0, words: "probing the store".to_owned() };
    out.progress().clone().watch(work, None, sample).await
}

/// For people: the class and why it is that, what it costs, and what stays.
pub(super) fn brief(report: &Report) -> String {
    let first = report.findings.first().map_or("", String::as_str);
    let mut text = format!("store class {}: {}\n", report.class, show::text(first));
    add_remarks(&mut text, report);
    text
}

/// For people: the class and all that was seen.
pub(super) fn full(report: &Report) -> String {
    let mut text = format!("store class {}\n", report.class);
    for finding in &report.findings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}", show::text(finding));
    }
    add_remarks(&mut text, report);
    text
}

fn add_remarks(text: &mut String, report: &Report) {
    if let Some(cost) = report.class.cost() {
        let _ = writeln!(text, "  {cost}");
    }
    if report.left_objects > 0 {
        let objects = show::count(report.left_objects, "object");
        let _ = writeln!(text, "  the probe left {objects} below probe/, which may go at any time");
    }
}

/// For programs.
pub(super) fn answer(report: &Report) -> Value {
    json!({
        "class": report.class.as_str(),
        "findings": report.findings,
        "class_cost": report.class.cost(),
        "deletion": report.deletion.as_str(),
        "left_objects": report.left_objects,
    })
}

/// What the store was found to honour when the repository was made.
pub(super) fn promised(repository: &Repository) -> Option<StoreClass> {
    repository.config().promised_class()
}

/// What came of the probe of a check.
#[derive(Debug)]
pub(super) enum Probed {
    /// Nobody wanted it.
    Off,
    /// It could not be: this credential writes nothing.
    Not(String),
    /// It was made.
    Done(Report),
    /// The store cannot hold a repository, or failed.
    Failed(Failure),
}

impl Probed {
    /// Probes the store of a repository that was checked.
    pub(super) async fn of(
        repository: &Repository,
        report: &check::Report,
        context: &Context,
        out: &Output,
    ) -> Self {
        // Every pack that a snapshot names was in that listing, so it was complete.
        let is_listed = report.findings.is_empty() && report.packs > PAGE_OBJECTS;
        let options = Options { skip_listing: is_listed };
        let place = repository.store().place();
        match run(repository.store(), options, context, out).await {
            Ok(report) => Self::Done(report),
            Err(error) if may_not_write(&error) => Self::Not(Failure::from(error).message().into()),
            Err(error @ Error::Unusable { .. }) => {
                Self::Failed(Failure::new(Exit::NotVerified, error.to_string()))
            }
            Err(error) => Self::Failed(Failure::from(error).at(Some(&place))),
        }
    }

    /// What is wrong with the store.
    pub(super) fn failure(&self, repository: &Repository) -> Option<Failure> {
        match self {
            Self::Off | Self::Not(_) => None,
            Self::Failed(failure) => Some(failure.clone()),
            Self::Done(report) => {
                let promised = promised(repository).filter(|class| report.class > *class)?;
                let first = report.findings.first().map_or("", String::as_str);
                let cost = report.class.cost().unwrap_or_default();
                Some(Failure::new(
                    Exit::NotVerified,
                    format!(
                        "the store is of class {} now, and was of class {promised} when the \
                         repository was made: {first}; {cost}",
                        report.class
                    ),
                ))
            }
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        match self {
            // What failed is told by its failure.
            Self::Off | Self::Failed(_) => String::new(),
            Self::Not(reason) => format!("store not probed: {reason}\n"),
            Self::Done(report) => brief(report),
        }
    }

    /// For programs.
    pub(super) fn answer(&self) -> Value {
        match self {
            Self::Off => Value::Null,
            Self::Not(reason) => json!({"not_probed": reason}),
            Self::Failed(failure) => json!({"failed": failure.message()}),
            Self::Done(report) => answer(report),
        }
    }
}

/// Whether a probe failed for want of a right, or of space, and not by what the store is.
fn may_not_write(error: &Error) -> bool {
    let Error::Store(error) = error else {
        return false;
    };
    let is_write =
        matches!(error, store::Error::Failed { action: "create", .. } | store::Error::Place { .. });
    is_write && matches!(error.class(), Class::Denied | Class::Full)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::probe::Deletion;
    use crate::repo::InitOptions;
    use crate::store::{Key, MemoryStore};
    use crate::world::World;

    async fn repository(store_class: Option<StoreClass>) -> Repository {
        let options = InitOptions { store_class, ..InitOptions::default() };
        let store = Arc::new(MemoryStore::new());
        Repository::init(store, World::still(1), options).await.unwrap().0
    }

    fn report(class: StoreClass) -> Report {
        let findings = vec!["in 5 of 5 races 16 of 16 writers won".to_owned()];
        Report { class, findings, deletion: Deletion::Denied, left_objects: 13 }
    }

    #[tokio::test]
    async fn a_store_that_became_worse_is_not_verified() {
        use StoreClass::{A, B};
        for (promised, found, exit) in [
            (Some(A), A, None),
            (Some(A), B, Some(Exit::NotVerified)),
            (Some(B), B, None),
            (Some(B), A, None),
            (None, B, None),
        ] {
            let repository = repository(promised).await;
            let failure = Probed::Done(report(found)).failure(&repository);
            assert_eq!(failure.as_ref().map(Failure::exit), exit, "{promised:?} {found}");
            if let Some(failure) = failure {
                let message = failure.message();
                assert!(message.contains("class B now, and was of class A"), "{message}");
                assert!(
                    message.contains("16 of 16 writers won; what class B costs: "),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn what_b_costs_and_what_stays_is_said() {
        for (text, start) in [
            (full(&report(StoreClass::B)), "store class B\n  in 5 of 5 races"),
            (brief(&report(StoreClass::B)), "store class B: in 5 of 5 races"),
        ] {
            assert!(text.starts_with(start), "{text}");
            assert!(text.contains("\n  what class B costs: one collector only"), "{text}");
            assert!(text.contains("\n  the probe left 13 objects below probe/"), "{text}");
        }
        let answer = answer(&report(StoreClass::B));
        assert_eq!((&answer["class"], &answer["deletion"]), (&"B".into(), &"denied".into()));
        assert!(
            answer["class_cost"].as_str().unwrap().contains("backups and restores are as safe")
        );
    }

    #[test]
    fn what_may_not_be_written_is_told_from_what_fails() {
        let failed = |action, class| {
            let (key, source) = (Key::new("probe/a"), "no".into());
            Error::Store(store::Error::Failed { action, key, class, source })
        };
        assert!(may_not_write(&failed("create", Class::Denied)));
        assert!(may_not_write(&failed("create", Class::Full)));
        assert!(!may_not_write(&failed("create", Class::Transient)));
        assert!(!may_not_write(&failed("list", Class::Denied)));
        let (place, saw) = ("x".to_owned(), "y".to_owned());
        assert!(!may_not_write(&Error::Unusable { place, saw }));
    }
}
