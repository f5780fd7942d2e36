//! What a group is, record by record: for tests that hold a group in memory against what its store would give back.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::Group;
use crate::id::EpochId;
use crate::journal::{Table, Write};
use crate::members::Members;

/// The hash of every record, by table and key.
pub type Portrait = BTreeMap<(Table, Vec<u8>), [u8; 32]>;

/// The portrait that these writes make.
pub fn portrait(writes: &[Write]) -> Portrait {
    let mut portrait = Portrait::new();
    for write in writes {
        let (table, key) = write.place();
        match write {
            Write::Put { value, .. } => portrait.insert((table, key.to_vec()), Sha256::digest(value).into()),
            Write::Delete { .. } => portrait.remove(&(table, key.to_vec())),
        };
    }
    portrait
}

impl Group {
    /// All records that the group would write now.
    pub fn portrait(&self) -> Portrait {
        let mut writes = vec![self.group_record(), self.desired_record()];
        writes.extend(self.departures.keys().filter_map(|event| self.departure_record(event)));
        writes.extend(self.dag.past().pages().map(|page| self.page_record(page)));
        writes.extend(self.floor_records(&Members::default()));
        writes.extend(self.dag.past().newest.keys().filter_map(|device| self.newest_record(device)));
        writes.extend(self.dag.epochs().filter_map(|epoch| self.epoch_record(&epoch.id)));
        writes.extend(self.traffic.keys().filter_map(|id| self.traffic_record(id)));
        writes.extend(self.commit_bytes.iter().map(|(id, bytes)| self.commit_record(id, bytes)));
        writes.extend(self.pending.iter().map(|(_, waiting)| self.waiting_record(waiting)));
        writes.extend(self.closed.values().map(|closed| self.closed_record(closed)));
        writes.extend(self.asks.keys().filter_map(|key| self.ask_record(key)));
        writes.extend(self.held.records());
        portrait(&writes)
    }

    /// Hashes of the merge exports of all held epochs (SPEC §3.4): whoever holds an epoch has the same one.
    pub fn exports(&self) -> BTreeMap<EpochId, [u8; 32]> {
        let export = |secret: &crate::secret::Secret| {
            Sha256::new_with_prefix("dmls test build: export").chain_update(secret.expose()).finalize().into()
        };
        self.dag.epochs().filter_map(|epoch| Some((epoch.id, epoch.merge_export.as_ref().map(export)?))).collect()
    }
}
