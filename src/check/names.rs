//! The first level: listings, and what the small objects say of packs.

use futures::TryStreamExt as _;

use crate::check::{Check, Condition};
use crate::class::Class;
use crate::repo;
use crate::repo::index::{TABLE_HEADER_BYTES, TableHeader};
use crate::repo::layout::{self, Place};
use crate::repo::session::{Register, head_for_reading, read_register};
use crate::repo::snapshot::Checkpoint;
use crate::store::{Key, Object};

/// Largest index table page run that is read at a time.
const PAGES_AT_A_TIME: u64 = 256;

impl Check<'_> {
    /// Lists everything and reads the small objects.
    pub(super) async fn names(&mut self) -> Result<(), repo::Error> {
        let repository = self.repository.clone();
        let mut registers = Vec::new();
        let mut tables = Vec::new();
        let mut sessions = 0u64;
        let mut listing = repository.store().list("");
        while let Some(object) = listing.try_next().await? {
            let name = object.key.as_str();
            if layout::is_probe(&object.key) {
                continue;
            }
            if let Some(pack) = layout::parse_pack(&object.key) {
                self.packs.insert(pack, Condition::Listed(object.size_bytes));
                self.report.packs += 1;
                self.report.pack_bytes += object.size_bytes;
            } else if let Some(place) = Place::parse(&object.key) {
                if name.starts_with(layout::SNAPSHOT) {
                    registers.push(place);
                } else {
                    sessions += 1;
                }
            } else if layout::parse_index(&object.key).is_some() {
                tables.push(object);
            } else if layout::parse_config(&object.key).is_none()
                && layout::parse_checkpoint(&object.key).is_none()
            {
                self.report.strangers.push(name.to_owned());
            }
        }
        drop(listing);
        tracing::debug!(sessions, tables = tables.len(), "listed");
        let (head, unreadable) = head_for_reading(&repository).await?;
        // A key from before a rotation cannot read what came after; that is no damage.
        for (key, error) in unreadable.into_iter().filter(|(_, error)| error.is_loss()) {
            self.found(key.as_str(), error.to_string());
        }
        if let Some(error @ repo::Error::Damaged { object, .. }) = &repository.overruled() {
            self.found(object, error.to_string());
        }
        for place in registers {
            self.register(&place, &head).await?;
        }
        for table in tables {
            self.table(&table).await?;
        }
        Ok(())
    }

    async fn register(&mut self, place: &Place, head: &Checkpoint) -> Result<(), repo::Error> {
        if !head.is_valid(place.session, place.checkpoint) {
            return Ok(());
        }
        match read_register(self.repository, place).await {
            Ok(Register::Snapshot(snapshot)) => {
                self.report.snapshots += 1;
                for pack in &snapshot.packs {
                    self.expect_pack(pack.id, pack.length_bytes, Some(&snapshot.short_id()));
                }
                self.snapshots.push(*snapshot);
            }
            Ok(Register::Aborted(_)) => {}
            Err(error) if self.is_of_newer_key(&error) => {}
            Err(error) if error.is_unreadable() => {
                let id: String = place.session.to_string().chars().take(8).collect();
                let finding = self.found(place.register_key().as_str(), error.to_string());
                finding.snapshots.insert(id);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A key from before a rotation cannot read what came after; that is no damage. What the store refuses
    /// to hand out is something else.
    fn is_of_newer_key(&self, error: &repo::Error) -> bool {
        let key_is_old = |overruled: repo::Error| overruled.class() == Class::Denied;
        matches!(error, repo::Error::Denied(_))
            && self.repository.overruled().is_some_and(key_is_old)
    }

    /// Compares what something says of a pack with the listing.
    fn expect_pack(&mut self, id: repo::id::PackId, length_bytes: u64, snapshot: Option<&str>) {
        let reason = match self.packs.get(&id) {
            Some(Condition::Listed(found)) if *found == length_bytes => return,
            Some(Condition::Listed(found)) => {
                format!(
                    "has {found} bytes instead of {length_bytes}: it was cut off or overwritten"
                )
            }
            Some(Condition::Lost(reason) | Condition::Torn(_, reason)) => reason.clone(),
            None => "is missing".to_owned(),
        };
        self.packs.insert(id, Condition::Lost(reason.clone()));
        let finding = self.found(layout::pack(id).as_str(), reason);
        finding.snapshots.extend(snapshot.map(ToOwned::to_owned));
    }

    /// Reads an index table: it is only a hint, but damage to it is damage.
    async fn table(&mut self, object: &Object) -> Result<(), repo::Error> {
        match self.read_table(object).await {
            Ok(()) => Ok(()),
            Err(error) if self.is_of_newer_key(&error) => Ok(()),
            Err(error) if error.is_unreadable() => {
                self.found(object.key.as_str(), format!("{error}; costs space, never data"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn read_table(&mut self, object: &Object) -> Result<(), repo::Error> {
        let repository = self.repository;
        let store = repository.store();
        let key: &Key = &object.key;
        let head = store.get_range(key, 0..TABLE_HEADER_BYTES).await?;
        let header = TableHeader::parse(repository.id(), repository.secrets(), key, &head)?;
        if header.table_bytes() != object.size_bytes {
            return Err(repo::Error::damaged(key, "its length is not what its header says"));
        }
        let pages = header.pack_pages();
        let mut page = 0;
        while page < pages.end {
            let end = pages.end.min(page + u32::try_from(PAGES_AT_A_TIME).unwrap_or(1));
            let first = header.page_range(page).start;
            let bytes = store.get_range(key, first..header.page_range(end - 1).end).await?;
            for number in page..end {
                let range = header.page_range(number);
                let at = crate::units::to_usize(range.start - first);
                let length = crate::units::to_usize(range.end - range.start);
                let sealed = bytes.get(at..at + length).unwrap_or_default();
                if number < pages.start {
                    header.check_page(key, number, sealed)?;
                    continue;
                }
                for pack in header.packs_of(key, number, sealed)? {
                    // A pack that was collected since is no damage: the table is a hint.
                    if self.packs.contains_key(&pack.id) {
                        self.expect_pack(pack.id, pack.pack_bytes, None);
                    }
                }
            }
            page = end;
        }
        Ok(())
    }
}
