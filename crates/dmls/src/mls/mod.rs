//! The only module that names the MLS library.
//!
//! Each epoch lives in a [`View`] of its own: an operation copies the view, works on the copy and hands the result
//! back (SPEC §7.4). So a failure leaves nothing behind, a retained epoch never holds a pending commit, and forks cannot mix.

#[cfg(dmls_mutants)]
pub(crate) mod bent;
mod build;
mod facts;
mod join;
mod message;
#[cfg(test)]
pub(crate) mod poison;
mod process;
pub(crate) mod provider;

use openmls::prelude::*;

use crate::defence;
use crate::device::OwnDevice;
use crate::error::{GroupError, Reason};

pub(crate) use build::{Built, CommitPlan, add_candidate, commit, create, key_package};
pub(crate) use facts::EpochFacts;
pub(crate) use join::{join_externally, join_welcome, open_welcome_grant, package_references, seal_welcome_grant};
#[cfg(dmls_mutants)]
pub(crate) use message::OpenedFrame;
pub(crate) use message::{OpenFailure, open, seal};
pub(crate) use openmls::prelude::KeyPackage as Package;
pub(crate) use process::{ProcessFailure, Processed, check_without_psk, open_grant, process, seal_grant};
pub(crate) use provider::{Provider, View};

/// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 (RFC 9420 §17.1).
pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
/// Component whose single-use export is the merge value of an epoch (SPEC §3.4).
const MERGE_COMPONENT: u16 = 0x8d02;
/// Plaintexts are padded to a multiple of this many bytes.
const PADDING: usize = 64;
/// Messages of one sender may be this many generations late or early.
const GENERATION_WINDOW: u32 = 1_000;

/// Lifetimes are policy, never a lock-out: a clock that is wrong by years must not end a group (SPEC §5.5).
fn lifetime() -> Lifetime {
    Lifetime::init(0, if defence::on("X7") { u64::MAX } else { 90 * 24 * 3_600 })
}

fn create_config() -> MlsGroupCreateConfig {
    let ahead = if defence::on("I9") { GENERATION_WINDOW } else { u32::MAX };
    MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .use_ratchet_tree_extension(true)
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(if defence::on("C9") { 0 } else { 5 })
        .number_of_resumption_psks(0)
        .padding_size(if defence::on("I10") { PADDING } else { 0 })
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(GENERATION_WINDOW, ahead))
        .lifetime(lifetime())
        .build()
}

fn join_config() -> MlsGroupJoinConfig {
    create_config().join_config().clone()
}

fn credential_with_key(own: &OwnDevice) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(own.credential().encode()).into(),
        signature_key: own.key().0.to_vec().into(),
    }
}

fn signer(own: &OwnDevice) -> &provider::Signer {
    own.signing().signer()
}

/// The group inside a view.
fn load(provider: &Provider<'_>, group: &[u8]) -> Result<MlsGroup, GroupError> {
    if let Some(read) = provider.take_group() {
        return Ok(read);
    }
    MlsGroup::load(openmls_traits::OpenMlsProvider::storage(provider), &GroupId::from_slice(group))
        .ok()
        .flatten()
        .ok_or(GroupError::Mls("the epoch's state cannot be read"))
}

/// Refuses what was made with failed randomness, whatever the library made of it (SPEC §6.3).
fn checked<T>(provider: &Provider<'_>, value: T) -> Result<T, GroupError> {
    if provider.entropy_failed() { Err(GroupError::Entropy(crate::entropy::EntropyError)) } else { Ok(value) }
}

fn encode(message: &impl tls_codec::Serialize) -> Result<Vec<u8>, GroupError> {
    message.tls_serialize_detached().map_err(|_| GroupError::Mls("message cannot be encoded"))
}

fn decode(bytes: &[u8]) -> Result<MlsMessageIn, Reason> {
    <MlsMessageIn as tls_codec::Deserialize>::tls_deserialize_exact(bytes).map_err(|_| Reason::Malformed)
}

/// What the leaves of these devices would be read as, for tests of that reading.
#[cfg(test)]
pub(crate) fn members_of(devices: &[&OwnDevice]) -> Result<Vec<crate::members::Leaf>, Reason> {
    let member = |(index, own): (u32, &&OwnDevice)| {
        let CredentialWithKey { credential, signature_key } = credential_with_key(own);
        Member::new(LeafNodeIndex::new(index), Vec::new(), signature_key.as_slice().to_vec(), credential)
    };
    facts::leaves((0..).zip(devices).map(member))
}
