//! The signed bookkeeping: `authenticated_data` of commits and messages, PSK ids, EpochIds (SPEC §2).

use sha2::{Digest, Sha256};
use tls_codec::{TlsDeserialize, TlsSerialize, TlsSize, VLBytes};

use crate::codec::push_vector;
use crate::device::OwnDevice;
use crate::effect::EpochRef;
use crate::error::Reason;
use crate::id::{Device, EpochId, GroupId, LeafIndex, Locator, Sequence, SignatureKey};
use crate::input::BaseProof;
use crate::suite::Suite;

/// First byte of every `authenticated_data`.
const VERSION: u8 = 2;
/// Version 0 of the PSK id: no chain.
const PSK_VERSION: u8 = 0;
const PSK_PREFIX: &[u8] = b"dmls1";
/// At most as many heads are named as a room may have.
const MAX_RESOLVES: usize = 64;
/// At most this many short head ids go into a message.
pub(crate) const MAX_HEAD_IDS: usize = 8;

#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
struct WireDevice {
    user: VLBytes,
    device: VLBytes,
}

impl WireDevice {
    fn of(device: &Device) -> Self {
        Self { user: device.user.as_bytes().into(), device: device.device.as_bytes().into() }
    }

    fn parse(&self) -> Result<Device, Reason> {
        Ok(Device::new(text(&self.user)?, text(&self.device)?))
    }
}

fn text(bytes: &VLBytes) -> Result<String, Reason> {
    String::from_utf8(bytes.as_slice().to_vec()).map_err(|_| Reason::Malformed)
}

#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
struct WireEpochRef {
    id: [u8; 32],
    event_id: VLBytes,
}

impl WireEpochRef {
    fn of(epoch: &EpochRef) -> Self {
        Self { id: epoch.id.0, event_id: epoch.locator.0.as_bytes().into() }
    }

    fn parse(&self) -> Result<EpochRef, Reason> {
        Ok(EpochRef { id: EpochId(self.id), locator: Locator(text(&self.event_id)?) })
    }
}

/// Whether a justified change adds or removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A device comes.
    Add,
    /// A device goes.
    Remove,
}

/// The event that justifies an add or a remove; empty when a device list does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Justification {
    /// Which way.
    pub change: Change,
    /// Whose leaf.
    pub device: Device,
    /// The room event.
    pub event: Locator,
}

#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
struct WireJustification {
    change: u8,
    device: WireDevice,
    event: VLBytes,
}

/// M for one kept member that is not in every merged head, sealed to its leaf key (SPEC §3.7).
#[derive(Debug, Clone, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct Grant {
    /// Whose leaf in the base.
    pub leaf: u32,
    /// Which leaf of that device it is sealed to.
    pub serial: u64,
    /// HPKE's encapsulated key.
    pub enc: VLBytes,
    /// M, sealed.
    pub sealed: VLBytes,
}

/// A commit's `authenticated_data` (SPEC §2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitData {
    /// What it is made on.
    pub base: EpochRef,
    /// The heads that it merges, ascending by id.
    pub resolves: Vec<EpochRef>,
    /// Digest of D.
    pub membership: [u8; 32],
    /// Digest of the room policy; zero.
    pub policy: [u8; 32],
    /// Each add and remove with its cause.
    pub changes: Vec<Justification>,
    /// M, for those who cannot compute it.
    pub grants: Vec<Grant>,
}

#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
struct WireCommitData {
    base: WireEpochRef,
    resolves: Vec<WireEpochRef>,
    membership: [u8; 32],
    policy: [u8; 32],
    changes: Vec<WireJustification>,
    grants: Vec<Grant>,
}

impl Grant {
    /// As an answer to whoever asks for M (SPEC §3.9).
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        decode(bytes)
    }
}

impl CommitData {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let wire = WireCommitData {
            base: WireEpochRef::of(&self.base),
            resolves: self.resolves.iter().map(WireEpochRef::of).collect(),
            membership: self.membership,
            policy: self.policy,
            changes: self.changes.iter().map(wire_change).collect(),
            grants: self.grants.clone(),
        };
        encode(&wire)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let wire: WireCommitData = decode(bytes)?;
        let resolves = wire.resolves.iter().map(WireEpochRef::parse).collect::<Result<Vec<_>, _>>()?;
        let data = Self {
            base: wire.base.parse()?,
            resolves,
            membership: wire.membership,
            policy: wire.policy,
            changes: wire.changes.iter().map(parse_change).collect::<Result<_, _>>()?,
            grants: wire.grants,
        };
        data.check_resolves().map(|()| data)
    }

    /// Sorted by id, no repetition, base excluded.
    fn check_resolves(&self) -> Result<(), Reason> {
        let sorted = self.resolves.windows(2).all(|pair| pair[0].id < pair[1].id);
        let apart = self.resolves.iter().all(|head| head.id != self.base.id);
        if sorted && apart && self.resolves.len() <= MAX_RESOLVES { Ok(()) } else { Err(Reason::BadResolves) }
    }
}

fn wire_change(change: &Justification) -> WireJustification {
    WireJustification {
        change: match change.change {
            Change::Add => 1,
            Change::Remove => 2,
        },
        device: WireDevice::of(&change.device),
        event: change.event.0.as_bytes().into(),
    }
}

fn parse_change(wire: &WireJustification) -> Result<Justification, Reason> {
    let change = match wire.change {
        1 => Change::Add,
        2 => Change::Remove,
        _ => return Err(Reason::Malformed),
    };
    Ok(Justification { change, device: wire.device.parse()?, event: Locator(text(&wire.event)?) })
}

/// The epoch a device left and how many messages it sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct Left {
    /// Which.
    pub epoch: [u8; 32],
    /// How many.
    pub sent: u32,
}

/// A message's `authenticated_data` (SPEC §2.9).
#[derive(Debug, Clone, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct MessageData {
    /// The EpochId.
    pub epoch: [u8; 32],
    /// The sender's count in the epoch.
    pub sequence: u32,
    /// How many heads the sender knows.
    pub heads: u16,
    /// The beginnings of some of their ids.
    pub head_ids: Vec<[u8; 8]>,
    /// Where the sender was before.
    pub left: Option<Left>,
}

impl MessageData {
    /// `heads` are all heads that the sender knows; the first ones are named.
    pub(crate) fn new<'a>(
        epoch: EpochId,
        sequence: Sequence,
        heads: impl ExactSizeIterator<Item = &'a EpochId>,
        left: Option<Left>,
    ) -> Self {
        Self {
            epoch: epoch.0,
            sequence: sequence.0,
            heads: u16::try_from(heads.len()).unwrap_or(u16::MAX),
            head_ids: heads.take(MAX_HEAD_IDS).map(EpochId::short).collect(),
            left,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let data: Self = decode(bytes)?;
        if data.head_ids.len() > MAX_HEAD_IDS { Err(Reason::Malformed) } else { Ok(data) }
    }

    pub(crate) fn epoch(&self) -> EpochId {
        EpochId(self.epoch)
    }

    pub(crate) fn sequence(&self) -> Sequence {
        Sequence(self.sequence)
    }

    pub(crate) fn head_ids(&self) -> &[[u8; 8]] {
        &self.head_ids
    }
}

/// An ask: a device wants to be added anew, by this key package (SPEC §2.10).
#[derive(Debug, Clone, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct AskData {
    group: VLBytes,
    /// The MLSMessage.
    package: VLBytes,
    /// By the signature key of the package's leaf.
    signature: VLBytes,
}

impl AskData {
    pub(crate) fn signed(group: &GroupId, package: Vec<u8>, own: &OwnDevice) -> Self {
        let (group, package): (VLBytes, VLBytes) = (group.as_bytes().into(), package.into());
        let signature = own.signing().sign(&asked(&group, &package));
        Self { group, package, signature: signature[..].into() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        decode(bytes)
    }

    pub(crate) fn group(&self) -> &[u8] {
        self.group.as_slice()
    }

    pub(crate) fn package(&self) -> &[u8] {
        self.package.as_slice()
    }

    /// Key packages are handed out to anybody; only their device asks by one.
    pub(crate) fn is_signed_by(&self, key: &SignatureKey, suite: &dyn Suite) -> bool {
        let Ok(signature) = self.signature.as_slice().try_into() else { return false };
        suite.verify(&key.0, &asked(&self.group, &self.package), signature)
    }
}

/// What the signature of an ask covers.
fn asked(group: &VLBytes, package: &VLBytes) -> Vec<u8> {
    let mut out = b"DMLS 1.0 ask".to_vec();
    [group, package].into_iter().for_each(|part| push_vector(&mut out, part.as_slice()));
    out
}

fn encode<T: tls_codec::Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + value.tls_serialized_len());
    out.push(VERSION);
    // Plain structs of bounded size into memory cannot fail.
    let _ = value.tls_serialize(&mut out);
    out
}

fn decode<T: tls_codec::Deserialize + tls_codec::Size>(bytes: &[u8]) -> Result<T, Reason> {
    let (&version, body) = bytes.split_first().ok_or(Reason::Malformed)?;
    if version != VERSION {
        return Err(Reason::UnknownVersion);
    }
    T::tls_deserialize_exact(body).map_err(|_| Reason::Malformed)
}

/// `"dmls1" || version || EpochId_base || leaf || r` (SPEC §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PskId {
    /// The base of the commit.
    pub base: EpochId,
    /// The committer's leaf.
    pub leaf: LeafIndex,
    /// Fresh randomness.
    pub r: [u8; 32],
}

impl PskId {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = PSK_PREFIX.to_vec();
        out.push(PSK_VERSION);
        out.extend(self.base.as_bytes());
        out.extend(self.leaf.0.to_be_bytes());
        out.extend(self.r);
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let rest = bytes.strip_prefix(PSK_PREFIX).ok_or(Reason::BadPsk)?;
        let (&version, rest) = rest.split_first().ok_or(Reason::BadPsk)?;
        if version != PSK_VERSION {
            return Err(Reason::UnknownVersion);
        }
        let rest: &[u8; 68] = rest.try_into().map_err(|_| Reason::BadPsk)?;
        let (mut base, mut leaf, mut r) = ([0; 32], [0; 4], [0; 32]);
        base.copy_from_slice(&rest[..32]);
        leaf.copy_from_slice(&rest[32..36]);
        r.copy_from_slice(&rest[36..]);
        Ok(Self { base: EpochId(base), leaf: LeafIndex(u32::from_be_bytes(leaf)), r })
    }
}

/// `EpochId = H("DMLS 1.0 epoch" || group_id<V> || confirmed_transcript_hash<V> || confirmation_tag<V>)` (SPEC §2.1).
pub(crate) fn epoch_id(group: &[u8], proof: &BaseProof) -> EpochId {
    let mut out = b"DMLS 1.0 epoch".to_vec();
    let tag = if crate::defence::on("C19") { &proof.confirmation_tag[..] } else { &[] };
    for part in [group, &proof.confirmed_transcript_hash, tag] {
        push_vector(&mut out, part);
    }
    EpochId(Sha256::digest(&out).into())
}

/// Digest of a set of devices, as signed in `membership`.
pub(crate) fn membership_digest<'a>(devices: impl Iterator<Item = (&'a Device, &'a [u8; 32])>) -> [u8; 32] {
    let mut out = b"DMLS 1.0 membership".to_vec();
    for (device, key) in devices {
        push_vector(&mut out, device.user.as_bytes());
        push_vector(&mut out, device.device.as_bytes());
        out.extend(key);
    }
    Sha256::digest(&out).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Version 0 is the only one, and every field has its length (SPEC §4.1).
    #[test]
    fn psk_ids_are_read_as_written() {
        let id = PskId { base: EpochId([3; 32]), leaf: LeafIndex(258), r: [4; 32] };
        let bytes = id.encode();
        assert_eq!(bytes.len(), 74);
        assert_eq!(PskId::parse(&bytes), Ok(id));
        let mut newer = bytes.clone();
        newer[5] = 1;
        assert_eq!(PskId::parse(&newer), Err(Reason::UnknownVersion));
        for end in 0..bytes.len() {
            assert_eq!(PskId::parse(&bytes[..end]), Err(Reason::BadPsk), "cut at {end}");
        }
        assert_eq!(PskId::parse(&[bytes.as_slice(), &[0]].concat()), Err(Reason::BadPsk));
    }

    /// `resolves` is sorted, without repetition and without the base (SPEC §2.3).
    #[test]
    fn resolves_have_one_form() {
        let named = |id: u8| EpochRef { id: EpochId([id; 32]), locator: Locator::default() };
        let data = |resolves: Vec<EpochRef>| CommitData {
            base: named(5),
            resolves,
            membership: [0; 32],
            policy: [0; 32],
            changes: Vec::new(),
            grants: Vec::new(),
        };
        let good = data(vec![named(1), named(2)]);
        assert_eq!(CommitData::parse(&good.encode()), Ok(good));
        let ascending = |count: u8| (10..10 + count).map(named).collect::<Vec<_>>();
        let many = data(ascending(64));
        assert_eq!(CommitData::parse(&many.encode()), Ok(many));
        for bad in [vec![named(2), named(1)], vec![named(1), named(1)], vec![named(5)], ascending(65)] {
            assert_eq!(CommitData::parse(&data(bad).encode()), Err(Reason::BadResolves));
        }
    }
}
