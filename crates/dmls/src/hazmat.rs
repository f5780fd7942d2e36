//! The MLS group (RFC 9420) below everything that this crate adds: for its own benchmarks, fuzz targets and attacks.
//!
//! Unstable: no promise of this crate covers it. Nothing here forks, merges, resolves or stores, PSKs are whatever the
//! caller says, and who is a member is not looked at. Build on [`group`](crate::group) instead.

use std::collections::HashMap;

use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::mls::{
    Door, Draft, Entered, Epoch, Invitation, MakeError, Maker, OwnDraft, OwnPackage, Package, Plan, Public, Ratchets,
    Refusal, Tree,
};
use crate::secret::Secret;
use crate::suite::{Signer, X25519_ED25519};

/// Why something was refused, or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Fault(#[from] MakeError);

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.into())
    }
}

/// A PSK's id and value.
pub type Psk<'a> = (&'a [u8], &'a [u8; 32]);

/// A device that makes leaves, commits and messages.
pub struct Actor {
    signer: Box<dyn Signer>,
    identity: Vec<u8>,
}

impl Actor {
    /// What this device signs with, and its credential.
    pub fn new(device: &OwnDevice) -> Self {
        let signer = X25519_ED25519.signer(&device.signing().to_bytes());
        Self { signer, identity: device.maker().identity.to_vec() }
    }

    fn maker(&self) -> Maker<'_> {
        Maker { suite: X25519_ED25519, signer: &*self.signer, identity: &self.identity, serial: None }
    }

    /// A fresh key package.
    ///
    /// # Errors
    /// If randomness fails.
    pub fn package(&self, entropy: &mut dyn Entropy) -> Result<OwnKeyPackage, Fault> {
        Ok(OwnKeyPackage(OwnPackage::make(&self.maker(), false, entropy).map_err(MakeError::from)?))
    }

    /// A group with this device alone in it.
    ///
    /// # Errors
    /// If randomness fails.
    pub fn create(&self, group: &[u8], entropy: &mut dyn Entropy) -> Result<Member, Fault> {
        Ok(Epoch::create(group, &self.maker(), entropy)?.into())
    }
}

/// A key package with its private keys.
#[derive(Debug, Clone)]
pub struct OwnKeyPackage(OwnPackage);

impl OwnKeyPackage {
    /// What is published of it.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.bytes()
    }
}

/// Checks another device's key package.
///
/// # Errors
/// Why it is none.
pub fn read_package(bytes: &[u8]) -> Result<KeyPackage, Fault> {
    Ok(KeyPackage(Package::read(X25519_ED25519, bytes)?))
}

/// Another device's key package, checked.
#[derive(Debug, Clone)]
pub struct KeyPackage(Package);

/// Checks a ratchet tree by its own rules.
///
/// # Errors
/// Why no group has such a tree.
pub fn read_tree(group: &[u8], bytes: &[u8]) -> Result<RatchetTree, Fault> {
    Ok(RatchetTree(Tree::import(X25519_ED25519, group, bytes)?))
}

/// A ratchet tree that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatchetTree(Tree);

impl RatchetTree {
    /// The tree hash.
    pub fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }

    /// The tree as it is sent.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.export()
    }
}

/// Comes in by Welcome; the tree if it is not inside.
///
/// # Errors
/// Why it leads into no group.
pub fn join(welcome: &[u8], package: &OwnKeyPackage, psk: &[u8; 32], tree: Option<&[u8]>) -> Result<Member, Fault> {
    let invitation = Invitation::open(X25519_ED25519, welcome, &package.0)?;
    Ok(invitation.enter(&Secret::new(*psk), tree)?.into())
}

/// Comes in by external commit through this GroupInfo; the tree if it is not inside.
///
/// # Errors
/// If the GroupInfo is none, or randomness fails.
pub fn join_externally(
    info: &[u8],
    tree: Option<&[u8]>,
    psk: Option<Psk<'_>>,
    actor: &Actor,
    entropy: &mut dyn Entropy,
) -> Result<Made, Fault> {
    let (id, psk) = (psk.map(|(id, _)| id.to_vec()), psk.map(|(_, psk)| Secret::new(*psk)));
    let draft = Door::read(X25519_ED25519, info, tree)?.draft(id, Vec::new(), &actor.maker(), entropy)?;
    made(draft, psk.as_ref(), actor, entropy)
}

fn made(draft: OwnDraft, psk: Option<&Secret>, actor: &Actor, entropy: &mut dyn Entropy) -> Result<Made, Fault> {
    let made = draft.finish(psk, &actor.maker(), entropy)?;
    Ok(Made { commit: made.bytes, welcome: made.welcome, member: made.entered.into() })
}

/// Where newcomers have the tree from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WelcomeTree {
    /// In the Welcome.
    Inside,
    /// From elsewhere: the Welcome is small then, and soon made for many.
    Beside,
}

/// An own commit, and where it leads.
#[derive(Debug, Clone)]
pub struct Made {
    /// The commit.
    pub commit: Vec<u8>,
    /// For all that it adds.
    pub welcome: Option<Vec<u8>>,
    /// The maker in the next epoch.
    pub member: Member,
}

/// An epoch as one member holds it, with its ratchets.
#[derive(Debug, Clone)]
pub struct Member {
    epoch: Epoch,
    ratchets: Ratchets,
}

impl From<Entered> for Member {
    fn from(entered: Entered) -> Self {
        Self { epoch: entered.epoch, ratchets: entered.ratchets }
    }
}

impl Member {
    /// Its leaf.
    pub fn leaf(&self) -> u32 {
        self.epoch.own()
    }

    /// The tree hash.
    pub fn tree_hash(&self) -> [u8; 32] {
        self.epoch.tree().hash()
    }

    /// The ratchet tree as it is sent.
    pub fn tree(&self) -> Vec<u8> {
        self.epoch.tree().export()
    }

    /// The signed GroupInfo.
    pub fn group_info(&self, actor: &Actor, with_tree: bool) -> Vec<u8> {
        self.epoch.group_info(&actor.maker(), with_tree)
    }

    /// What is public of its epoch.
    pub fn public(&self) -> Follower {
        Follower(self.epoch.public().clone())
    }

    /// Makes a commit.
    ///
    /// # Errors
    /// If a leaf is not there, a package does not go, or randomness fails.
    pub fn commit(
        &self,
        adds: &[KeyPackage],
        removes: &[u32],
        psk: Psk<'_>,
        actor: &Actor,
        entropy: &mut dyn Entropy,
    ) -> Result<Made, Fault> {
        self.commit_with(adds, removes, psk, WelcomeTree::Inside, actor, entropy)
    }

    /// Makes a commit, and says where the tree will be of those that it adds.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn commit_with(
        &self,
        adds: &[KeyPackage],
        removes: &[u32],
        psk: Psk<'_>,
        tree: WelcomeTree,
        actor: &Actor,
        entropy: &mut dyn Entropy,
    ) -> Result<Made, Fault> {
        let adds = adds.iter().map(|package| package.0.clone()).collect();
        let (removes, psk_id) = (removes.to_vec(), psk.0.to_vec());
        let plan = Plan { adds, removes, psk_id, authenticated_data: Vec::new() };
        let mut draft = self.epoch.draft(plan, &actor.maker(), entropy)?;
        if tree == WelcomeTree::Beside {
            draft.leave_tree_beside();
        }
        made(draft, Some(&Secret::new(*psk.1)), actor, entropy)
    }

    /// Reads another's commit as far as that is possible without its PSK.
    ///
    /// # Errors
    /// Why it is no commit on this epoch.
    pub fn read(&self, commit: &[u8]) -> Result<Received, Fault> {
        Ok(Received(self.epoch.read(commit)?))
    }

    /// Seals a message.
    ///
    /// # Errors
    /// If randomness fails.
    pub fn seal(
        &mut self,
        authenticated: &[u8],
        text: &[u8],
        actor: &Actor,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, Fault> {
        let (turn, sealed) = self.epoch.seal(&self.ratchets, &actor.maker(), authenticated, text, entropy)?;
        self.ratchets.advance(turn);
        Ok(sealed)
    }

    /// Opens a message; gives the sender's leaf and the text.
    ///
    /// # Errors
    /// Why it is no message of this epoch.
    pub fn open(&mut self, message: &[u8]) -> Result<(u32, Vec<u8>), Fault> {
        let opened = self.epoch.open_message(&self.ratchets, message)?;
        self.ratchets.advance(opened.turn);
        Ok((opened.sender, opened.plaintext.to_vec()))
    }
}

/// Another's commit, read.
pub struct Received(Draft);

impl Received {
    /// Whether it removes the member that read it.
    pub fn removes_own(&self) -> bool {
        self.0.removes_own()
    }

    /// The id of its PSK.
    pub fn psk_id(&self) -> Option<&[u8]> {
        self.0.psk_id()
    }

    /// The reader in the next epoch.
    ///
    /// # Errors
    /// If the confirmation tag does not hold with this PSK, or the path does not open.
    pub fn finish(&self, psk: Option<&[u8; 32]>) -> Result<Member, Fault> {
        let psk = psk.map(|psk| Secret::new(*psk));
        Ok(self.0.finish(psk.as_ref())?.into())
    }
}

/// Follows a group by what is public.
#[derive(Debug, Clone)]
pub struct Follower(Public);

impl Follower {
    /// The epoch of a GroupInfo; the tree if it is not inside.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(info: &[u8], tree: Option<&[u8]>) -> Result<Self, Fault> {
        Ok(Self(Door::read(X25519_ED25519, info, tree)?.public().clone()))
    }

    /// The epoch that a commit makes.
    ///
    /// # Errors
    /// Why it is no commit on this epoch.
    pub fn follow(&self, commit: &[u8]) -> Result<Self, Fault> {
        Ok(Self(self.0.read(commit)?.into_public()))
    }

    /// The tree hash.
    pub fn tree_hash(&self) -> [u8; 32] {
        self.0.tree().hash()
    }

    /// The ratchet tree as it is sent.
    pub fn tree(&self) -> Vec<u8> {
        self.0.tree().export()
    }

    /// The members, in the order of their leaves.
    pub fn members(&self) -> Vec<Leaf> {
        let leaves = self.0.tree().leaves().into_iter();
        let seat = |(index, leaf): (u32, &crate::mls::Leaf)| {
            let credential = leaf.node().ok()?.credential.identity.as_slice().to_vec();
            let (signature_key, encryption_key) = (*leaf.signature_key(), leaf.encryption_key().as_slice().to_vec());
            Some(Leaf { index, credential, signature_key: signature_key.to_vec(), encryption_key })
        };
        leaves.filter_map(seat).collect()
    }
}

/// A member as a tree has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its place.
    pub index: u32,
    /// The content of its basic credential.
    pub credential: Vec<u8>,
    /// What it signs with.
    pub signature_key: Vec<u8>,
    /// What is sealed to it.
    pub encryption_key: Vec<u8>,
}

/// Trees as they are stored.
#[derive(Default)]
pub struct Forest {
    forest: crate::mls::Forest,
    records: HashMap<[u8; 32], Vec<u8>>,
}

impl Forest {
    /// Stores a member's tree; gives how many bytes that took.
    pub fn plant(&mut self, member: &Member) -> usize {
        let new = self.forest.plant(member.epoch.tree());
        let written = new.iter().map(|record| record.name.len() + record.bytes.len()).sum();
        self.records.extend(new.into_iter().map(|record| (record.name, record.bytes)));
        written
    }

    /// Lets a tree go that was planted.
    pub fn fell(&mut self, member: &Member) {
        for name in self.forest.fell(member.epoch.tree()) {
            self.records.remove(&name);
        }
    }

    /// How many nodes are stored.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
