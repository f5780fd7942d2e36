//! What was posted in a run of the simulator, and what its devices say of it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls::effect::EpochInfo;
use dmls::group::inspect_commit;
use dmls::id::{Device, EpochId};
use dmls::journal::{Records as _, Table};
use dmls_matrix::RoomId;
use dmls_sim::client::Client;
use dmls_sim::run::run_watched;
use dmls_sim::script::{ROOM, Script};
use dmls_sim::trace::{Fact, Name, Trace};
use dmls_sim::world::World;
use openmls::group::GroupContext;
use openmls::prelude::tls_codec::Deserialize as _;
use serde_json::Value;

/// Where devices store the epochs that they hold, each under its id.
const HELD: Table = Table("dmls.secrets");
/// Version and digest, before what a record says.
const HEAD: usize = 33;
/// A confirmation tag.
const TAG: usize = 32;

/// A commit, or what is said to be one, as it was posted.
#[derive(Debug, Clone)]
pub struct Sent {
    pub event_id: String,
    /// The copy of a device that posted it.
    pub name: Name,
    pub bytes: Vec<u8>,
    /// The epoch that it is made on; `None` if our side cannot read it.
    pub base: Option<EpochId>,
    /// The GroupInfo beside it.
    pub info: Option<Vec<u8>>,
}

/// The members of an epoch, as a device shows them.
#[derive(Debug, Clone)]
pub struct Readers {
    pub name: Name,
    pub epoch: EpochId,
    pub devices: Vec<Device>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// GroupInfos of first epochs.
    pub roots: BTreeMap<EpochId, Vec<u8>>,
    pub sent: Vec<Sent>,
    /// What is public of an epoch, as a device that holds it has stored it.
    pub held: BTreeMap<(Name, EpochId), Vec<u8>>,
    /// Records of held epochs of which nothing can be read.
    pub unreadable: usize,
    /// The epoch that each device says the commit of an event makes.
    pub taken: BTreeMap<String, Vec<(Name, EpochInfo)>>,
    /// What devices said against an event.
    pub refused: BTreeMap<String, BTreeSet<String>>,
    pub readers: Vec<Readers>,
    /// Events that some device was given.
    pub shown: BTreeSet<String>,
    /// Copies of devices that nobody malicious has.
    pub honest: BTreeSet<Name>,
    /// How much of the trace was looked at.
    read: usize,
}

/// Runs a script and watches it.
///
/// # Errors
/// If it breaks off.
pub fn watch(script: &Script) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let outcome = run_watched(script, &mut |_, world| seen.look(world)).map_err(|broken| broken.to_string())?;
    seen.conclude(&outcome.trace);
    Ok(seen)
}

/// What a record of a held epoch says that is public, and its epoch number.
fn public(record: &[u8]) -> Option<(Vec<u8>, u64)> {
    let body = record.get(HEAD..)?;
    let mut rest = body;
    let context = GroupContext::tls_deserialize(&mut rest).ok()?;
    Some((body.get(..body.len() - rest.len() + TAG)?.to_vec(), context.epoch().as_u64()))
}

impl Seen {
    fn look(&mut self, world: &World) {
        for (name, client) in world.clients() {
            self.look_at(name, client);
        }
        let entries = &world.trace().entries;
        for entry in entries.iter().skip(self.read) {
            if let Fact::Posted { event_id, name, content, .. } = &entry.fact {
                self.sent.extend(sent(world, event_id, name, content));
            }
        }
        self.read = entries.len();
    }

    /// Epochs are held for a while only: the records are read while they are there.
    fn look_at(&mut self, name: &Name, client: &Client) {
        let records = client.journal().scan(HELD, &[]).unwrap_or_default();
        for (key, record) in records {
            let Some(id) = key.last_chunk::<32>().copied().map(EpochId) else { continue };
            let place = (name.clone(), id);
            if self.held.contains_key(&place) {
                continue;
            }
            let Some((public, number)) = public(&record) else {
                self.unreadable += 1;
                continue;
            };
            self.held.insert(place, public);
            // The first epoch has no commit; who made it can show it.
            if number == 0 && !self.roots.contains_key(&id) {
                let group = client.stored_group(&RoomId::from(ROOM)).ok();
                let info = group.and_then(|group| group.group_info(&id));
                self.roots.extend(info.map(|info| (id, info.bytes())));
            }
        }
    }

    fn conclude(&mut self, trace: &Trace) {
        for (_, fact) in trace.facts() {
            match fact {
                Fact::Told { remark, .. } => {
                    let Some(event) = remark.event_id.clone() else { continue };
                    self.refused.entry(event).or_default().insert(remark.code.clone());
                }
                Fact::Took { event_id, .. } => drop(self.shown.insert(event_id.clone())),
                // Who makes a commit may say that it is on another epoch.
                Fact::Forged { event_id, on, .. } => {
                    let forged = self.sent.iter_mut().filter(|sent| sent.event_id == *event_id);
                    forged.for_each(|sent| sent.base = Some(*on));
                }
                _ => {}
            }
        }
        self.honest = trace.ends.iter().filter(|(_, end)| end.honest).map(|(name, _)| name.clone()).collect();
        for (name, end) in &trace.ends {
            let Some(view) = end.views.get(&RoomId::from(ROOM)) else { continue };
            for info in &view.log {
                self.taken.entry(info.epoch.locator.0.clone()).or_default().push((name.clone(), info.clone()));
            }
            let readers = view.readers.iter();
            self.readers.extend(readers.map(|(epoch, devices)| Readers {
                name: name.clone(),
                epoch: *epoch,
                devices: devices.clone(),
            }));
        }
    }
}

/// What holds a PublicMessage, by its first bytes.
fn sent(world: &World, event_id: &str, name: &Name, content: &Value) -> Option<Sent> {
    let bytes = STANDARD_NO_PAD.decode(content["ciphertext"].as_str()?).ok()?;
    bytes.starts_with(&[0, 1, 0, 1]).then_some(())?;
    let base = inspect_commit(&bytes).ok().map(|header| header.base.id);
    let info = content["group_info"]["url"].as_str().and_then(|url| world.net.medium(url));
    let info = info.map(<[u8]>::to_vec);
    Some(Sent { event_id: event_id.to_owned(), name: name.clone(), bytes, base, info })
}
