//! Both engines on the same epochs, by nothing but what is public: OpenMLS, and beside it ours.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::RwLock;

use dmls::device::Credential;
use dmls::hazmat::{Follower, Leaf};
use dmls::id::{Device, EpochId, SignatureKey};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _, VLBytes};
use openmls::prelude::{
    BasicCredential, Member, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProposalStore, PublicGroup,
    StagedCommit,
};
use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use sha2::{Digest as _, Sha256};

/// An epoch as both engines have it.
pub struct Epoch {
    theirs: PublicGroup,
    /// Where OpenMLS keeps it: a copy of this is the only way to go on from one epoch twice.
    storage: MemoryStorage,
    /// `None` where our engine refused its commit.
    ours: Option<Follower>,
    /// Whose leaves they are by OpenMLS's tree; `None` for a credential that is none of ours.
    pub devices: Vec<Option<Device>>,
}

/// What both engines say of one commit.
pub struct Verdicts {
    /// The epoch that it makes, by OpenMLS; or why it makes none.
    pub theirs: Result<EpochId, String>,
    /// Whether our engine, without secrets, takes it too; `None` where it does not have the base.
    pub ours: Option<Result<(), String>>,
    /// In what the engines differ about the new epoch.
    pub differences: Vec<&'static str>,
}

/// All epochs of a room that OpenMLS came to.
#[derive(Default)]
pub struct Room {
    crypto: RustCrypto,
    epochs: BTreeMap<EpochId, Epoch>,
}

fn text(error: impl Display) -> String {
    error.to_string()
}

impl Room {
    /// The epoch of this id.
    pub fn get(&self, id: &EpochId) -> Option<&Epoch> {
        self.epochs.get(id)
    }

    /// Another epoch with the same number: what is made on one is nothing on the other.
    ///
    /// Epochs that differ in nothing but their confirmation tags are one epoch for all who have no secrets.
    pub fn other(&self, id: &EpochId) -> Option<EpochId> {
        let here = self.get(id)?.theirs.group_context();
        let differs = |(_, epoch): &(&EpochId, &Epoch)| {
            let there = epoch.theirs.group_context();
            here.epoch() == there.epoch() && here != there
        };
        self.epochs.iter().find(differs).map(|(other, _)| *other)
    }

    /// Begins with a GroupInfo that has its tree inside; gives the epoch's id.
    ///
    /// # Errors
    /// Why it is none.
    pub fn enter(&mut self, info: &[u8]) -> Result<EpochId, String> {
        let (theirs, storage) = self.door(info)?;
        let ours = Follower::read(info, None).map_err(text)?;
        if let Some(what) = differences(&theirs, &ours).first() {
            return Err(format!("the engines differ in {what} of a GroupInfo"));
        }
        let id = id_of(&theirs);
        self.epochs.insert(id, Epoch::new(theirs, storage, Some(ours)));
        Ok(id)
    }

    /// The epoch of a GroupInfo, and what is public of it, as members of ours store it.
    ///
    /// # Errors
    /// Why OpenMLS takes it for none.
    pub fn look(&self, info: &[u8]) -> Result<(EpochId, Vec<u8>), String> {
        let (group, _) = self.door(info)?;
        Ok((id_of(&group), public(&group)))
    }

    fn door(&self, info: &[u8]) -> Result<(PublicGroup, MemoryStorage), String> {
        let MlsMessageBodyIn::GroupInfo(info) = MlsMessageIn::tls_deserialize_exact(info).map_err(text)?.extract()
        else {
            return Err("no GroupInfo".to_owned());
        };
        let tree = info.extensions().ratchet_tree().ok_or("no ratchet tree")?.ratchet_tree().clone();
        let (storage, proposals) = (MemoryStorage::default(), ProposalStore::new());
        let (group, _) = PublicGroup::from_external(&self.crypto, &storage, tree, info, proposals).map_err(text)?;
        Ok((group, storage))
    }

    /// What both engines say of a commit on `base`; the epoch that it makes by OpenMLS is known from now on. `None` if
    /// the base is not.
    pub fn take(&mut self, base: &EpochId, commit: &[u8]) -> Option<Verdicts> {
        let (verdicts, epoch) = self.judge(base, commit)?;
        // A commit that was posted twice, or that differs only in what members alone can check, makes no second epoch.
        if let (Ok(id), Some(epoch)) = (&verdicts.theirs, epoch) {
            self.epochs.entry(*id).or_insert(epoch);
        }
        Some(verdicts)
    }

    /// As [`Self::take`], and nothing is known of it afterwards.
    pub fn ask(&self, base: &EpochId, commit: &[u8]) -> Option<Verdicts> {
        self.judge(base, commit).map(|(verdicts, _)| verdicts)
    }

    fn judge(&self, base: &EpochId, commit: &[u8]) -> Option<(Verdicts, Option<Epoch>)> {
        let base = self.epochs.get(base)?;
        let ours = base.ours.as_ref().map(|ours| ours.follow(commit).map_err(text));
        let told = ours.as_ref().map(|ours| ours.as_ref().map(drop).map_err(Clone::clone));
        let ours = ours.and_then(Result::ok);
        Some(match self.stage(base, commit).and_then(|staged| after(base, staged)) {
            Err(why) => (Verdicts { theirs: Err(why), ours: told, differences: Vec::new() }, None),
            Ok((theirs, storage)) => {
                let differences = ours.as_ref().map(|ours| differences(&theirs, ours)).unwrap_or_default();
                let verdicts = Verdicts { theirs: Ok(id_of(&theirs)), ours: told, differences };
                (verdicts, Some(Epoch::new(theirs, storage, ours)))
            }
        })
    }

    fn stage(&self, base: &Epoch, commit: &[u8]) -> Result<StagedCommit, String> {
        let message = MlsMessageIn::tls_deserialize_exact(commit).map_err(text)?;
        let message = message.try_into_protocol_message().map_err(text)?;
        match base.theirs.process_message(&self.crypto, message).map_err(text)?.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => Ok(*staged),
            _ => Err("no commit".to_owned()),
        }
    }
}

impl Epoch {
    fn new(theirs: PublicGroup, storage: MemoryStorage, ours: Option<Follower>) -> Self {
        let devices = theirs.members().map(|member| device(&member)).collect();
        Self { theirs, storage, ours, devices }
    }

    /// GroupContext and confirmation tag, as members of ours store them.
    pub fn public(&self) -> Vec<u8> {
        public(&self.theirs)
    }
}

/// Whether OpenMLS can make anything of these bytes.
///
/// # Errors
/// Why it cannot.
pub fn read(message: &[u8]) -> Result<(), String> {
    MlsMessageIn::tls_deserialize_exact(message).map(drop).map_err(text)
}

/// The state after a commit; the one before it stays.
fn after(base: &Epoch, commit: StagedCommit) -> Result<(PublicGroup, MemoryStorage), String> {
    let values = base.storage.values.read().map_err(text)?.clone();
    let storage = MemoryStorage { values: RwLock::new(values) };
    let mut group = PublicGroup::load(&storage, base.theirs.group_id()).map_err(text)?.ok_or("it was not stored")?;
    group.merge_commit(&storage, commit).map_err(text)?;
    Ok((group, storage))
}

/// SPEC §2.1, from what OpenMLS says of the epoch.
fn id_of(group: &PublicGroup) -> EpochId {
    let context = group.group_context();
    let mut hash = Sha256::new().chain_update(b"DMLS 1.0 epoch");
    for part in [context.group_id().as_slice(), context.confirmed_transcript_hash()] {
        hash.update(VLBytes::new(part.to_vec()).tls_serialize_detached().unwrap_or_default());
    }
    hash.update(tag(group));
    EpochId(hash.finalize().into())
}

/// The confirmation tag, with its length before it.
fn tag(group: &PublicGroup) -> Vec<u8> {
    group.confirmation_tag().tls_serialize_detached().unwrap_or_default()
}

fn public(group: &PublicGroup) -> Vec<u8> {
    let mut out = group.group_context().tls_serialize_detached().unwrap_or_default();
    out.extend(tag(group).iter().skip(1));
    out
}

/// In what both engines' trees differ.
fn differences(theirs: &PublicGroup, ours: &Follower) -> Vec<&'static str> {
    let members: Option<Vec<Leaf>> = theirs.members().map(leaf).collect();
    let tree = theirs.export_ratchet_tree().tls_serialize_detached().unwrap_or_default();
    let found = [
        ("the members", members.as_ref() == Some(&ours.members())),
        ("the tree", tree == ours.tree()),
        ("the tree hash", theirs.group_context().tree_hash() == ours.tree_hash()),
    ];
    found.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect()
}

fn leaf(member: Member) -> Option<Leaf> {
    let credential = BasicCredential::try_from(member.credential).ok()?.identity().to_vec();
    let Member { index, encryption_key, signature_key, .. } = member;
    Some(Leaf { index: index.u32(), credential, signature_key, encryption_key })
}

fn device(member: &Member) -> Option<Device> {
    let credential = BasicCredential::try_from(member.credential.clone()).ok()?;
    let key = SignatureKey(member.signature_key.as_slice().try_into().ok()?);
    Some(Credential::parse(credential.identity(), &key).ok()?.device().clone())
}
