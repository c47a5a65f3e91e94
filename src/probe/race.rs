//! Writers that race for one key: what everything rests on where two might disagree.

use bytes::Bytes;
use futures::future::join_all;

use super::{Error, Probe};
use crate::store;
use crate::store::Key;

/// Writers of one key.
const RACERS: u8 = 16;
/// Races.
const ROUNDS: u8 = 5;
/// What each writes.
const CONTENT_BYTES: usize = 1_000;

/// How one race ended, in words if not as it should.
type Broken = Option<String>;

/// What is said of a store where every race had one winner.
pub(super) fn honoured() -> String {
    format!("of {RACERS} writers who raced for a key exactly one won, in each of {ROUNDS} races")
}

fn content(racer: u8) -> Bytes {
    Bytes::from(vec![racer; CONTENT_BYTES])
}

impl Probe<'_> {
    /// Races, and a writer who comes long after. Answers what is broken, a sentence each.
    pub(super) async fn race(&mut self) -> Result<Vec<String>, Error> {
        let mut broken: Vec<String> = Vec::new();
        let mut lost = 0;
        let mut taken = None;
        for round in 0..ROUNDS {
            let key = self.key(format!("race-{round}"));
            if let Some(reason) = self.one_race(&key).await? {
                lost += 1;
                if broken.is_empty() {
                    broken.push(reason);
                }
            }
            taken = Some(key);
        }
        for reason in &mut broken {
            *reason = format!("in {lost} of {ROUNDS} races {reason}");
        }
        if let Some(key) = &taken {
            broken.extend(self.late_writer(key).await?);
        }
        Ok(broken)
    }

    async fn one_race(&self, key: &Key) -> Result<Broken, Error> {
        let racers = (0..RACERS).map(|racer| async move {
            (racer, self.store.create(key, vec![content(racer)]).await)
        });
        let mut winners = Vec::new();
        for (racer, outcome) in join_all(racers).await {
            match outcome {
                Ok(()) => winners.push(racer),
                Err(store::Error::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let found = self.written(key, CONTENT_BYTES).await?;
        let first = (0..RACERS).find(|racer| found == content(*racer));
        Ok(match (first, winners.as_slice()) {
            (None, _) => {
                return Err(self.unusable(format!(
                    "{RACERS} writers raced for a key, and what is stored is of none of them"
                )));
            }
            (Some(first), [winner]) if first == *winner => None,
            (_, []) => Some(format!("none of {RACERS} writers of one key was told that it won")),
            (_, [_]) => Some(format!(
                "one of {RACERS} writers of one key was told that it won, and the bytes of another \
                 are stored"
            )),
            (_, winners) => Some(format!(
                "{} of {RACERS} writers of one key were told that they won: put-if-absent is not \
                 honoured",
                winners.len()
            )),
        })
    }

    /// Someone who writes when the race is long over.
    async fn late_writer(&self, key: &Key) -> Result<Broken, Error> {
        match self.store.create(key, vec![content(RACERS)]).await {
            Err(store::Error::Exists { .. }) => Ok(None),
            Ok(()) => Ok(Some(
                "a second writer, who came when a key was taken, was told that it won".to_owned(),
            )),
            Err(error) => Err(error.into()),
        }
    }
}
