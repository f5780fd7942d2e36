//! The order of a commit's Remove proposals, which is the caller's (SPEC §7.5).
//!
//! OpenMLS 0.9 gathers the Removes of a commit in a `HashMap` by leaf and writes them as they come out of it, so that
//! equal inputs would give other bytes in every run; none of its interfaces takes an order. Proposals that concern no
//! leaf, however, it keeps in the order given: by a reference that it makes of their bytes, for itself alone. When two
//! have one reference, the later is written in the place of the earlier.
//!
//! So each Remove follows a [`place`], a proposal of a type that no member supports, whose reference is made equal to
//! the Remove's. Nothing of it is on the wire; should OpenMLS ever keep one, it refuses the commit for its type. This
//! holds for commits being made only: a received one must not be able to hide a proposal behind a place.

use openmls::prelude::{CustomProposal, Proposal};

/// A type of the private range (RFC 9420 §17.4).
const TYPE: [u8; 2] = [0xf0, 0xdd];
const REMOVE: [u8; 2] = [0, 3];
/// `HashReferenceInput` up to the proposal: a label, the length of what follows, and OpenMLS's mark.
const LABEL: &[u8] = b"\x1aMLS 1.0 Proposal Reference";
const MARK: &[u8] = b"Internal OpenMLS ProposalRef Label";

/// Stands where the Remove of `leaf` is to stand.
pub(crate) fn place(leaf: u32) -> Proposal {
    Proposal::Custom(Box::new(CustomProposal::new(u16::from_be_bytes(TYPE), leaf.to_be_bytes().to_vec())))
}

/// What is hashed in place of the reference input of a [`place`]: that of its Remove. `None` for all else.
pub(super) fn reference_of_remove(input: &[u8]) -> Option<Vec<u8>> {
    let proposal = input.strip_prefix(LABEL)?.get(1..)?.strip_prefix(MARK)?.strip_prefix(&TYPE)?;
    let leaf = proposal.strip_prefix(&[4])?;
    let mut value = [MARK, &REMOVE].concat();
    value.extend(leaf);
    let mut out = LABEL.to_vec();
    crate::codec::push_vector(&mut out, &value);
    Some(out)
}
