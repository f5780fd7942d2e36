//! Whose leaves they are: what our credentials say, and that their owners signed it (SPEC §5.1, §5.3).

use super::{Draft, Entered, Epoch, Leaf, Package, Source, Tree};
use crate::device::Credential;
use crate::error::Reason;
use crate::id::{EpochId, LeafIndex, SignatureKey};
use crate::input::BaseProof;
use crate::members::{Leaf as Member, Members};
use crate::wire;

/// One leaf as a member, whose credential was checked when it came.
fn member(index: u32, leaf: &Leaf) -> Result<Member, Reason> {
    Ok(Member {
        index: LeafIndex(index),
        device: leaf.device().ok_or(Reason::BadCredential)?.clone(),
        key: SignatureKey(*leaf.signature_key()),
        serial: leaf.serial().ok_or(Reason::BadCredential)?,
        of_package: leaf.source() == Source::Package,
    })
}

/// One leaf as a member; the device's own key must vouch for its signature key (MLS M52).
fn vouched(index: u32, leaf: &Leaf) -> Result<Member, Reason> {
    let node = leaf.node().map_err(|_| Reason::BadCredential)?;
    let key = SignatureKey(*leaf.signature_key());
    Credential::parse(node.credential.identity.as_slice(), &key).map_err(|_| Reason::BadCredential)?;
    member(index, leaf)
}

impl Package {
    /// Whose key package it is.
    pub(crate) fn member(&self) -> Result<Member, Reason> {
        vouched(u32::MAX, self.leaf())
    }
}

impl Tree {
    /// The members of a tree that was not seen before: every credential is checked.
    pub(crate) fn vouched_members(&self) -> Result<Members, Reason> {
        self.leaves().into_iter().map(|(index, leaf)| vouched(index, leaf)).collect()
    }
}

impl Draft {
    /// The committer.
    pub(crate) fn committing_member(&self) -> Result<Member, Reason> {
        let (index, leaf) = self.committer()?;
        if self.is_external() { vouched(index, leaf) } else { member(index, leaf) }
    }

    /// Who is added; their credentials are checked.
    pub(crate) fn added_members(&self) -> Result<Vec<Member>, Reason> {
        self.added().iter().map(|(index, leaf)| vouched(*index, leaf)).collect()
    }

    /// Who is removed.
    pub(crate) fn removed_members(&self) -> Result<Vec<Member>, Reason> {
        self.removed().iter().map(|(index, leaf)| member(*index, leaf)).collect()
    }

    /// The members of the epoch that it makes on one with these.
    pub(crate) fn members_after(&self, before: &Members) -> Result<Members, Reason> {
        let new = self.added().iter().map(|(index, leaf)| member(*index, leaf)).collect::<Result<Vec<_>, _>>()?;
        let gone = self.removed().iter().map(|(index, _)| LeafIndex(*index));
        Ok(before.with(gone, new.into_iter().chain([self.committing_member()?])))
    }
}

impl Entered {
    /// The members of an epoch of this device's own making, on one with these: it removed those in the places `gone`, and
    /// added these packages.
    pub(crate) fn members_after<'a>(
        &self,
        before: &Members,
        gone: impl IntoIterator<Item = LeafIndex>,
        added: impl IntoIterator<Item = &'a Package>,
    ) -> Result<Members, Reason> {
        let tree = self.epoch.tree();
        let place = |package: &Package| package.leaf().device().and_then(|device| tree.leaf_of(device));
        let places = added.into_iter().filter_map(place).chain([self.epoch.own()]);
        let leaf = |index| tree.leaf(index).ok_or(Reason::BadCredential).and_then(|leaf| member(index, leaf));
        Ok(before.with(gone, places.map(leaf).collect::<Result<Vec<_>, _>>()?))
    }
}

impl Epoch {
    /// The epoch's public transcript (RFC 9420 §8.2).
    pub(crate) fn proof(&self) -> BaseProof {
        BaseProof {
            confirmed_transcript_hash: self.public.context.confirmed_transcript_hash.as_slice().to_vec(),
            confirmation_tag: self.public.tag.to_vec(),
        }
    }

    /// Its EpochId (SPEC §2.1).
    pub(crate) fn id(&self) -> EpochId {
        wire::epoch_id(self.public.context.group_id.as_slice(), &self.proof())
    }

    /// The group that it belongs to: whoever wants another one does not go on (MLS M137).
    pub(crate) fn group(&self) -> &[u8] {
        self.public.context.group_id.as_slice()
    }
}
