//! Objects that someone put into the store who had no right to: configs, checkpoints, commit registers.
//! They never change who can read what is written, and keep nobody from reading what is there.

use std::fs;
use std::sync::Arc;

use backstay::class::Class;
use backstay::repo::Repository;
use backstay::repo::catalog::Wanted;
use backstay::repo::config::{Bundle, Config, Envelope, envelope_for};
use backstay::repo::envelope::{Identity, Recipient};
use backstay::repo::id::SessionId;
use backstay::repo::layout::{self, Place};
use backstay::repo::secret::{Secret, Secrets};
use backstay::store::Store;
use backstay::{check, keys};
use bytes::Bytes;

use super::scene::{
    KeyTexts, backup, directory, init, objects, open, recall, registers, scratch, store_of,
    try_backup, try_open,
};

/// A repository with a snapshot.
struct Victim {
    store: Arc<dyn Store>,
    keys: KeyTexts,
    tree: tempfile::TempDir,
}

impl Victim {
    async fn new() -> Self {
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let tree = scratch();
        fs::write(tree.path().join("file"), "content").unwrap();
        let victim = Self { store, keys, tree };
        backup(&victim.agent().await, victim.tree.path()).await;
        victim
    }

    async fn agent(&self) -> Repository {
        open(&self.store, 2, &self.keys.agent).await
    }

    async fn owner(&self) -> Repository {
        open(&self.store, 3, &self.keys.recovery).await
    }

    /// Puts what a thief can write who knows `secrets`: a bundle of his own, sealed to the real owner,
    /// whose recipient stands in every config.
    async fn put_forged(&self, generation: u64, secrets: &Secrets, own: &Identity, feature: bool) {
        let owner = self.owner().await;
        let mut config = owner.config().clone();
        let identities = vec![own.clone()];
        let bundle = Bundle { repository: owner.id(), secrets: secrets.clone(), identities };
        for envelope in &mut config.envelopes {
            let recipients: Vec<_> =
                envelope.recipients.iter().map(|text| Recipient::parse(text).unwrap()).collect();
            *envelope = envelope_for(&bundle, &envelope.label, &recipients).unwrap();
        }
        config.read_features.extend(feature.then(|| "time-travel".to_owned()));
        config.generation = generation;
        config.sign(own);
        self.put_config(generation, config, secrets).await;
    }

    async fn put_config(&self, generation: u64, mut config: Config, secrets: &Secrets) {
        config.generation = generation;
        let id = self.owner().await.id();
        let object = config.to_object(id, secrets.newest_number(), secrets.newest());
        self.store.create(&layout::config(generation), vec![object]).await.unwrap();
    }

    /// A config as the owner would write it.
    async fn put_signed(&self, generation: u64, mut config: Config) {
        let bundle = self.owner().await.bundle().unwrap();
        config.generation = generation;
        config.sign(bundle.newest_identity().unwrap());
        self.put_config(generation, config, &bundle.secrets).await;
    }

    /// The same keys and tree.
    fn again(&self) -> Self {
        Self { store: Arc::clone(&self.store), keys: self.keys.clone(), tree: scratch() }
    }

    /// Reading works with both keys, writing with none, and no key is made for the thief.
    async fn holds(&self, forged: u64) {
        let name = layout::config(forged).to_string();
        let (owner, agent) = (self.owner().await, self.agent().await);
        assert_eq!(owner.recipient().as_str(), agent.recipient().as_str());
        let snapshot = owner.catalog().await.unwrap().find(&Wanted::Latest).await.unwrap();
        assert_eq!(recall(&owner, &snapshot).await.len(), 2);
        assert_eq!(agent.catalog().await.unwrap().snapshots().await.unwrap().snapshots.len(), 1);
        for repository in [&owner, &agent] {
            let refused = try_backup(repository, &[directory(self.tree.path())]).await.unwrap_err();
            assert_eq!(refused.class(), Class::Damaged);
            assert!(refused.to_string().contains(&name), "{refused}");
        }
        assert!(keys::agent_key(&owner).contains("BACKSTAY-AGENT-KEY"));
        assert_eq!(keys::agent_key(&owner).as_str(), self.keys.agent);
        let refused = keys::rotate_agent_key(&owner, None).await.unwrap_err();
        assert!(refused.to_string().contains(&name), "{refused}");
        let report = check::run(&owner, check::Options::default(), Arc::default()).await.unwrap();
        assert!(report.findings.iter().any(|finding| finding.object == name));
    }
}

fn secrets(all: &[[u8; 32]]) -> Secrets {
    Secrets::new(all.iter().map(|bytes| Secret(*bytes)).collect()).unwrap()
}

fn raw(secrets: &Secrets) -> Vec<[u8; 32]> {
    secrets.raw().map(|secret| secret.0).collect()
}

#[tokio::test]
async fn configs_of_someone_who_may_only_write_are_passed_over() {
    for count in [1, 2, 40] {
        let victim = Victim::new().await;
        let own = Identity::generate();
        for generation in 1..=count {
            victim.put_forged(generation, &secrets(&[[7; 32]]), &own, false).await;
        }
        victim.holds(count).await;
    }
}

#[tokio::test]
async fn a_thief_of_an_agent_key_cannot_slip_in_his_own_identity() {
    let victim = Victim::new().await;
    let real = victim.agent().await.secrets().clone();
    let own = Identity::generate();
    for generation in 1..=2 {
        victim.put_forged(generation, &real, &own, false).await;
    }
    // The agent knows these secrets and has its recipient pinned; the owner sees what happened.
    let owner = victim.owner().await;
    assert_eq!(keys::agent_key(&owner).as_str(), victim.keys.agent);
    let refused = keys::rotate_agent_key(&owner, None).await.unwrap_err();
    assert!(refused.to_string().contains("someone replaced them"), "{refused}");
    assert_eq!(victim.agent().await.recipient().as_str(), owner.recipient().as_str());
}

/// The tag of an object can be made with an agent key, the envelopes be copied. What names the recipients
/// to whom the next change of keys seals everything can not.
#[tokio::test]
async fn a_thief_of_an_agent_key_cannot_add_himself_to_the_recipients() {
    let victim = Victim::new().await;
    let agent = victim.agent().await;
    let thief = Identity::generate();
    let his = thief.recipient().unwrap().as_str().to_owned();
    let genuine = victim.owner().await.config().clone();
    let mut more_recipients = genuine.clone();
    more_recipients.envelopes[0].recipients.push(his.clone());
    let mut more_envelopes = genuine.clone();
    let sealed = b"junk".to_vec();
    more_envelopes.envelopes.push(Envelope { label: "b".into(), recipients: vec![his], sealed });
    let mut unsigned = more_recipients.clone();
    unsigned.owner_tag = None;
    let mut signed_by_thief = more_recipients.clone();
    signed_by_thief.generation = 1;
    signed_by_thief.sign(&thief);
    for forged in [more_recipients, more_envelopes, unsigned, signed_by_thief, genuine] {
        let victim =
            Victim { store: store_of(objects(&*victim.store).await).await, ..victim.again() };
        victim.put_config(1, forged, &agent.secrets().clone()).await;
        let owner = victim.owner().await;
        assert_eq!(owner.config().generation, 0);
        let refused = keys::rotate_agent_key(&owner, None).await.unwrap_err();
        assert!(refused.to_string().contains(layout::config(1).as_str()), "{refused}");
    }
}

#[tokio::test]
async fn a_newer_repository_is_not_hidden_by_rubbish() {
    let victim = Victim::new().await;
    let owner = victim.owner().await;
    let mut newer = owner.config().clone();
    newer.read_features.push("time-travel".into());
    victim.put_signed(1, newer).await;
    let key = layout::config(2);
    victim.store.create(&key, vec![Bytes::from_static(b"rubbish")]).await.unwrap();
    let refused = try_open(&victim.store, super::scene::later(1), &victim.keys.recovery).await;
    assert_eq!(refused.unwrap_err().class(), Class::Newer);
}

#[tokio::test]
async fn a_later_change_of_keys_still_counts_after_a_forged_one() {
    let victim = Victim::new().await;
    let owner = victim.owner().await;
    victim.put_forged(1, &secrets(&[[7; 32]]), &Identity::generate(), false).await;
    // As if written by one who did not look.
    victim.put_signed(2, owner.config().clone()).await;
    assert_eq!(victim.owner().await.config().generation, 2);
    victim.owner().await.check_writable().unwrap();
}

#[tokio::test]
async fn a_rotated_out_agent_key_neither_writes_nor_rules() {
    let victim = Victim::new().await;
    let old = victim.agent().await.secrets().clone();
    let new = keys::rotate_agent_key(&victim.owner().await, None).await.unwrap();
    // It still lists what it could list before.
    let agent = victim.agent().await;
    assert_eq!(agent.catalog().await.unwrap().snapshots().await.unwrap().snapshots.len(), 1);
    let refused = try_backup(&agent, &[directory(victim.tree.path())]).await.unwrap_err();
    assert_eq!(refused.class(), Class::Denied);
    assert!(refused.to_string().contains("rotated"), "{refused}");
    // What is written with the new key it cannot read, and says so.
    let fresh = open(&victim.store, 5, &new).await;
    fs::write(victim.tree.path().join("more"), "so that there is an index, too").unwrap();
    backup(&fresh, victim.tree.path()).await;
    let all = agent.catalog().await.unwrap().snapshots().await.unwrap();
    assert_eq!((all.snapshots.len(), all.unreadable.len()), (1, 1));
    assert!(agent.catalog().await.unwrap().find(&Wanted::Latest).await.is_ok());
    let report = check::run(&agent, check::Options::default(), Arc::default()).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // With it a config can be tagged, but not so that anyone believes it.
    let config = victim.owner().await.config().clone();
    victim.put_config(2, config, &old).await;
    assert_eq!(victim.owner().await.config().generation, 1);
    let fresh = open(&victim.store, 6, &new).await;
    assert_eq!((fresh.config().generation, raw(fresh.secrets()).len()), (1, 2));
}

#[tokio::test]
async fn features_count_only_under_a_right_tag() {
    let victim = Victim::new().await;
    let owner = victim.owner().await;
    let mut config = owner.config().clone();
    config.read_features.push("time-travel".into());
    victim.put_config(1, config.clone(), &secrets(&[[7; 32]])).await;
    victim.holds(1).await;
    // Nor under the tags of a bundle of one's own.
    victim.put_forged(2, &secrets(&[[7; 32]]), &Identity::generate(), true).await;
    victim.holds(2).await;
    victim.put_signed(3, config).await;
    for key in [&victim.keys.recovery, &victim.keys.agent] {
        let refused = try_open(&victim.store, super::scene::later(1), key).await.unwrap_err();
        assert!(refused.to_string().contains("time-travel"), "{refused}");
        assert_eq!(refused.class(), Class::Newer);
    }
}

#[tokio::test]
async fn a_format_that_nobody_can_vouch_for_is_refused_by_name() {
    let victim = Victim::new().await;
    let mut config = victim.owner().await.config().clone();
    config.format = 2;
    victim.put_config(1, config, &secrets(&[[7; 32]])).await;
    for key in [&victim.keys.recovery, &victim.keys.agent] {
        let refused = try_open(&victim.store, super::scene::later(1), key).await.unwrap_err();
        assert_eq!(refused.class(), Class::Newer);
        assert!(refused.to_string().contains(layout::config(1).as_str()), "{refused}");
        assert!(refused.to_string().contains("move it away"), "{refused}");
    }
}

#[tokio::test]
async fn a_checkpoint_of_rubbish_stops_writers_only() {
    let victim = Victim::new().await;
    let key = layout::checkpoint(9);
    victim.store.create(&key, vec![Bytes::from_static(b"rubbish")]).await.unwrap();
    let owner = victim.owner().await;
    let snapshot = owner.catalog().await.unwrap().find(&Wanted::Latest).await.unwrap();
    assert_eq!(recall(&owner, &snapshot).await.len(), 2);
    let refused = try_backup(&owner, &[directory(victim.tree.path())]).await.unwrap_err();
    assert_eq!(refused.class(), Class::Damaged);
    assert!(refused.to_string().contains(key.as_str()), "{refused}");
    let report = check::run(&owner, check::Options::default(), Arc::default()).await.unwrap();
    assert!(report.findings.iter().any(|finding| finding.object == key.as_str()));
}

#[tokio::test]
async fn a_register_of_rubbish_costs_a_backup_only_its_parent() {
    let victim = Victim::new().await;
    let real = registers(&*victim.store).await[0];
    let place = Place { sequence: real.sequence + 1, session: SessionId([9; 12]), ..real };
    // Sealed with a secret that there is not, as far as its header tells: anyone can write that.
    let real_object = victim.store.get(&real.register_key(), u64::MAX).await.unwrap();
    let mut claims = real_object[..80].to_vec();
    claims[10] = 200;
    victim.store.create(&place.register_key(), vec![claims.into()]).await.unwrap();
    let place = Place { session: SessionId([8; 12]), ..place };
    let rubbish = vec![Bytes::from_static(b"rubbish")];
    victim.store.create(&place.register_key(), rubbish).await.unwrap();
    let report = backup(&victim.agent().await, victim.tree.path()).await;
    assert_eq!(report.snapshot.parent, Some(real.session));
    let owner = victim.owner().await;
    let latest = owner.catalog().await.unwrap().find(&Wanted::Latest).await.unwrap();
    assert_eq!(latest.id, report.snapshot.id);
    let all = owner.catalog().await.unwrap().snapshots().await.unwrap();
    assert_eq!((all.snapshots.len(), all.unreadable.len()), (2, 2));
    let report = check::run(&owner, check::Options::default(), Arc::default()).await.unwrap();
    assert_eq!(report.findings.len(), 2);
}
