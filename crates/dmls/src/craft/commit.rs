//! Commits with anything in them.

use std::rc::Rc;

use super::{GroupInfoParts, State};
use crate::device::OwnDevice;
use crate::effect::{EpochRef, GroupInfo, OutgoingCommit, OutgoingWelcome};
use crate::entropy::Entropy;
use crate::error::GroupError;
use crate::group::{grant_context, welcome_info};
use crate::id::{Device, EpochId, LeafIndex, Locator};
use crate::members::Leaf;
use crate::mls::bend::{self, BentPlan, EditInfo};
use crate::mls::{Package, Recipient};
use crate::secret::{InputKind, Secret, grant_psk, merge_value, no_chain, psk_secret};
use crate::wire::{self, Change, CommitData, Grant, Justification, PskId};

type Edit<'a, T> = Rc<dyn Fn(&mut T) + 'a>;

/// A commit in the making. Untouched it is what an honest member would make.
#[derive(Clone)]
pub struct Commit<'a> {
    base: &'a State,
    resolves: Vec<&'a State>,
    adds: Vec<(Vec<u8>, Locator)>,
    removes: Vec<(Device, Locator)>,
    data: Vec<Edit<'a, CommitData>>,
    point: Option<Edit<'a, PskId>>,
    points: usize,
    foreign: Option<Vec<u8>>,
    merge_value: Option<Secret>,
    ungranted: Vec<Device>,
    misgranted: Vec<Device>,
    poison: Vec<Device>,
    path: bool,
    extra: Vec<Vec<u8>>,
    identity: Option<&'a OwnDevice>,
    info: Option<EditInfo>,
}

/// A commit that was made, and what its maker holds then.
pub struct Made {
    /// All that an honest device would publish of it.
    pub commit: OutgoingCommit,
    /// The epoch that it makes, as its maker holds it.
    pub state: State,
    /// The epoch that it is made on, whatever it says.
    pub on: EpochId,
    /// Whose ciphertexts of the path do not open: those that were chosen, and those who share a subtree with them.
    pub poisoned: Vec<Device>,
}

impl<'a> Commit<'a> {
    /// A commit on `base`.
    pub fn on(base: &'a State) -> Self {
        Self {
            base,
            resolves: Vec::new(),
            adds: Vec::new(),
            removes: Vec::new(),
            data: Vec::new(),
            point: None,
            points: 1,
            foreign: None,
            merge_value: None,
            ungranted: Vec::new(),
            misgranted: Vec::new(),
            poison: Vec::new(),
            path: true,
            extra: Vec::new(),
            identity: None,
            info: None,
        }
    }

    /// Resolves `heads`, with grants for those who are not in all of them.
    pub fn resolves(mut self, heads: &[&'a State]) -> Self {
        self.resolves = heads.to_vec();
        self.resolves.sort_by_key(|head| head.id());
        self
    }

    /// Adds the device of a key package (an MLSMessage), naming `event` as the cause.
    pub fn add(mut self, package: &[u8], event: Locator) -> Self {
        self.adds.push((package.to_vec(), event));
        self
    }

    /// Removes a device, naming `event` as the cause.
    pub fn remove(mut self, device: &Device, event: Locator) -> Self {
        self.removes.push((device.clone(), event));
        self
    }

    /// Changes the bookkeeping before it is signed.
    pub fn edit(mut self, edit: impl Fn(&mut CommitData) + 'a) -> Self {
        self.data.push(Rc::new(edit));
        self
    }

    /// Changes the PSK id: another's leaf, another base, another's `r`.
    pub fn point(mut self, edit: impl Fn(&mut PskId) + 'a) -> Self {
        self.point = Some(Rc::new(edit));
        self
    }

    /// Carries `count` PSKs in place of one.
    pub fn points(mut self, count: usize) -> Self {
        self.points = count;
        self
    }

    /// Carries an external PSK with an id of its own choosing in place of the one of SPEC §4.1.
    pub fn foreign_psk(mut self, id: &[u8]) -> Self {
        self.foreign = Some(id.to_vec());
        self
    }

    /// Takes another value for M in the key schedule and in all grants.
    pub fn merge_value(mut self, value: [u8; 32]) -> Self {
        self.merge_value = Some(Secret::new(value));
        self
    }

    /// Leaves these out of the grants.
    pub fn ungranted(mut self, devices: &[Device]) -> Self {
        self.ungranted = devices.to_vec();
        self
    }

    /// Grants these a wrong M.
    pub fn misgranted(mut self, devices: &[Device]) -> Self {
        self.misgranted = devices.to_vec();
        self
    }

    /// Makes a path that these cannot open, though its signature holds.
    pub fn poison(mut self, devices: &[Device]) -> Self {
        self.poison = devices.to_vec();
        self
    }

    /// Makes no UpdatePath where MLS does not ask for one.
    pub fn without_path(mut self) -> Self {
        self.path = false;
        self
    }

    /// Carries a GroupContextExtensions proposal that makes its maker an external sender.
    pub fn external_sender(self) -> Self {
        let (mut senders, mut extension, mut body) = (Vec::new(), 5u16.to_be_bytes().to_vec(), Vec::new());
        crate::codec::push_vector(&mut senders, &self.base.own.key().0);
        senders.extend([0, 1]); // a basic credential
        crate::codec::push_vector(&mut senders, self.base.own.maker().identity);
        let mut list = Vec::new();
        crate::codec::push_vector(&mut list, &senders);
        crate::codec::push_vector(&mut extension, &list);
        crate::codec::push_vector(&mut body, &extension);
        self.proposal(7, &body)
    }

    /// Puts another identity under the same key onto the committer's leaf.
    pub fn identity(mut self, identity: &'a OwnDevice) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Changes the GroupInfo in the Welcome, signed all the same; the commit stays as it is.
    pub fn welcome_info(mut self, edit: impl Fn(&mut GroupInfoParts) + Send + Sync + 'static) -> Self {
        self.info = Some(std::sync::Arc::new(edit));
        self
    }

    /// Appends a proposal by value: its type (RFC 9420 §17.4) and body.
    pub fn proposal(mut self, kind: u16, body: &[u8]) -> Self {
        self.extra.push([&[1], &kind.to_be_bytes()[..], body].concat());
        self
    }

    /// Appends a ReInit proposal for a group of the same name.
    pub fn reinit(self) -> Self {
        let mut body = Vec::new();
        crate::codec::push_vector(&mut body, self.base.group.as_bytes());
        body.extend([0, 1, 0, 1, 0]); // MLS 1.0, suite 1, no extensions
        self.proposal(5, &body)
    }

    /// Appends a proposal by reference.
    pub fn reference(mut self, reference: [u8; 32]) -> Self {
        self.extra.push([&[2, 32], &reference[..]].concat());
        self
    }

    /// Makes it. The state it is made from stays as it is.
    pub fn build(&self, entropy: &mut dyn Entropy) -> Result<Made, GroupError> {
        let m = self.merge_value.clone().unwrap_or_else(|| merge_value(self.inputs()));
        let adds = self.adds.iter().map(|(bytes, event)| {
            let package = Package::read(self.base.own.suite(), bytes);
            let package = package.map_err(|refusal| GroupError::GroupInfo(refusal.into()))?;
            Ok((package.member().map_err(GroupError::GroupInfo)?, package, event.clone()))
        });
        let adds = adds.collect::<Result<Vec<_>, GroupError>>()?;
        let mut data = self.bookkeeping(&m, &adds, entropy)?;
        self.data.iter().for_each(|edit| edit(&mut data));
        let plan = BentPlan {
            adds: adds.iter().map(|(_, package, _)| package.clone()).collect(),
            removes: self
                .removes
                .iter()
                .filter_map(|(device, _)| self.base.leaf_of(device))
                .map(|leaf| leaf.0)
                .collect(),
            psks: self.psks(&m, entropy)?,
            authenticated_data: data.encode(),
            path: self.path,
            extra: self.extra.clone(),
            identity: self.identity,
            info: self.info.clone(),
            poison: self.poison.iter().filter_map(|device| self.base.leaf_of(device)).map(|leaf| leaf.0).collect(),
        };
        let base = self.base;
        let built = bend::commit(&base.epoch, &base.own, plan, entropy)?;
        let epoch = built.entered.epoch;
        let mut welcomes = Vec::new();
        for (leaf, package, _) in &adds {
            let Some(bytes) = built.welcome.clone().map(Into::into) else { continue };
            let grant = package.seal_grant(base.own.suite(), &welcome_info(&epoch.id()), &m, entropy)?;
            welcomes.push(OutgoingWelcome { to: leaf.device.clone(), bytes, base: base.proof.clone(), grant });
        }
        let device = |leaf: u32| Some(base.leaves.get(LeafIndex(leaf))?.device.clone());
        let poisoned = built.hit.into_iter().filter_map(device).collect();
        let reference = EpochRef { id: epoch.id(), locator: Locator::default() };
        let state = State {
            group: base.group.clone(),
            own: base.own.clone(),
            desired: base.desired.clone(),
            reference: reference.clone(),
            proof: epoch.proof(),
            leaves: members_of(&epoch)?,
            own_leaf: LeafIndex(epoch.own()),
            merge_export: Some(built.entered.merge_export),
            ratchets: built.entered.ratchets,
            epoch: epoch.clone(),
            sent: 0,
        };
        let commit = OutgoingCommit {
            epoch: reference,
            base: data.base,
            resolves: data.resolves,
            bytes: built.bytes,
            group_info: GroupInfo::of(&epoch, &base.own),
            welcomes,
        };
        Ok(Made { commit, state, on: base.id(), poisoned })
    }

    /// Makes it again and again, at most `tries` times, until it is `wanted`.
    pub fn grind(
        &self,
        tries: usize,
        entropy: &mut dyn Entropy,
        mut wanted: impl FnMut(&Made) -> bool,
    ) -> Result<Option<Made>, GroupError> {
        for _ in 0..tries {
            let made = self.build(entropy)?;
            if wanted(&made) {
                return Ok(Some(made));
            }
        }
        Ok(None)
    }

    fn inputs(&self) -> Vec<(InputKind, EpochId, Secret)> {
        let input = |head: &&State| Some((InputKind::Head, head.id(), head.merge_export.clone()?));
        self.resolves.iter().filter_map(input).collect()
    }

    fn psks(&self, m: &Secret, entropy: &mut dyn Entropy) -> Result<Vec<(Vec<u8>, Secret)>, GroupError> {
        let psk = psk_secret(&no_chain(), m);
        if let Some(id) = &self.foreign {
            return Ok(vec![(id.clone(), psk)]);
        }
        let mut psks = Vec::new();
        for _ in 0..self.points {
            let mut point = PskId { base: self.base.id(), leaf: self.base.own_leaf, r: [0; 32] };
            entropy.fill(&mut point.r)?;
            if let Some(edit) = &self.point {
                edit(&mut point);
            }
            psks.push((point.encode(), psk.clone()));
        }
        Ok(psks)
    }

    fn bookkeeping(
        &self,
        m: &Secret,
        adds: &[(Leaf, Package, Locator)],
        entropy: &mut dyn Entropy,
    ) -> Result<CommitData, GroupError> {
        let resolves: Vec<_> = self.resolves.iter().map(|head| head.reference.clone()).collect();
        let desired = self.base.desired.devices.iter().map(|(device, facts)| (device, &facts.key.0));
        let added = adds.iter().map(|(leaf, _, event)| (Change::Add, &leaf.device, event));
        let removed = self.removes.iter().map(|(device, event)| (Change::Remove, device, event));
        let named = |(change, device, event): (Change, &Device, &Locator)| Justification {
            change,
            device: device.clone(),
            event: event.clone(),
        };
        Ok(CommitData {
            base: self.base.reference.clone(),
            membership: wire::membership_digest(desired),
            policy: [0; 32],
            changes: added.chain(removed).map(named).collect(),
            grants: self.grants(&resolves, m, entropy)?,
            resolves,
        })
    }

    fn grants(&self, resolves: &[EpochRef], m: &Secret, entropy: &mut dyn Entropy) -> Result<Vec<Grant>, GroupError> {
        let base = self.base;
        let has = |head: &State, leaf: &Leaf| head.leaves.is_as_new(leaf);
        let is_there = |head: &State, leaf: &Leaf| head.leaves.keeps(leaf);
        let context = grant_context(&base.reference, resolves);
        let mut grants = Vec::new();
        for leaf in base.leaves.iter().filter(|leaf| leaf.index != base.own_leaf) {
            let kept = self.removes.iter().all(|(device, _)| *device != leaf.device);
            let lacks = self.resolves.iter().any(|head| !is_there(head, leaf));
            let wrong = self.misgranted.contains(&leaf.device);
            if !kept || !(lacks || wrong) || self.ungranted.contains(&leaf.device) {
                continue;
            }
            let value = if wrong { &Secret::new([0x5a; 32]) } else { m };
            let shared = self.resolves.iter().filter(|head| has(head, leaf));
            let shared = shared.filter_map(|head| Some((InputKind::Head, head.id(), head.merge_export.clone()?)));
            let psk = grant_psk(&no_chain(), &merge_value(shared.collect()));
            let key = base.epoch.leaf_key(leaf.index).cloned().ok_or(GroupError::NotInGroup)?;
            let to = Recipient { leaf: leaf.index, serial: leaf.serial, key };
            grants.push(to.seal(base.own.suite(), &context, &psk, value, entropy)?);
        }
        Ok(grants)
    }
}

impl State {
    /// An answer with any M to whoever asks for that of a commit on this epoch: sealed to the leaf that the asker has here.
    pub fn reply(
        &self,
        to: &Device,
        resolves: &[EpochRef],
        value: [u8; 32],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, GroupError> {
        let leaf = self.leaves.leaf_of(to).ok_or(GroupError::NotInGroup)?;
        let key = self.epoch.leaf_key(leaf.index).cloned().ok_or(GroupError::NotInGroup)?;
        let to = Recipient { leaf: leaf.index, serial: leaf.serial, key };
        let psk = grant_psk(&no_chain(), &merge_value(Vec::new()));
        let context = grant_context(&self.reference, resolves);
        Ok(to.seal(self.own.suite(), &context, &psk, &Secret::new(value), entropy)?.encode())
    }
}

/// The members as the tree says; one that took another's name is still there for its maker.
fn members_of(epoch: &crate::mls::Epoch) -> Result<crate::members::Members, GroupError> {
    epoch.tree().vouched_members().map_err(GroupError::GroupInfo)
}
