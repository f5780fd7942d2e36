//! Coming into a group: by Welcome or by external commit.

use openmls::prelude::*;
use openmls_traits::storage::StorageProvider as _;
use zeroize::Zeroizing;

use super::build::{Built, group_info};
use super::facts;
use super::process::Staged;
use super::{Provider, View, checked, credential_with_key, encode, join_config, signer};
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::secret::Secret;

fn welcome_of(bytes: &[u8]) -> Result<openmls::messages::Welcome, Reason> {
    match super::decode(bytes)?.extract() {
        MlsMessageBodyIn::Welcome(welcome) => Ok(welcome),
        _ => Err(Reason::WrongKind),
    }
}

/// The KeyPackageRefs that a Welcome is for.
pub(crate) fn package_references(bytes: &[u8]) -> Result<Vec<[u8; 32]>, Reason> {
    let welcome = welcome_of(bytes)?;
    let references = welcome.secrets().iter().map(|secrets| secrets.new_member());
    Ok(references.filter_map(|reference| reference.as_slice().try_into().ok()).collect())
}

/// Opens the PSK inputs of a Welcome with the init key of the key package it is for (SPEC §3.8).
pub(crate) fn open_welcome_grant(packages: &View, reference: &[u8; 32], grant: &[u8], info: &[u8]) -> Option<Secret> {
    let (enc, sealed) = grant.split_at_checked(32)?;
    let mut none = NoEntropy;
    let provider = Provider::over(packages, &mut none);
    let bundle: KeyPackageBundle =
        provider.storage().key_package(&KeyPackageRefBytes::of(reference)?).ok().flatten()?;
    let key = Zeroizing::new(bundle.init_private_key().to_vec());
    let value = super::provider::hpke_open(&key, enc, sealed, info, b"").ok()?;
    Secret::parse(&value)
}

/// Seals M for an added device to its init key.
pub(crate) fn seal_welcome_grant(
    package: &KeyPackage,
    info: &[u8],
    value: &Secret,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, GroupError> {
    let key = package.hpke_init_key().as_slice();
    let (mut out, sealed) = super::provider::hpke_seal(entropy, key, info, b"", value.expose())
        .map_err(|_| GroupError::Mls("the grant cannot be sealed"))?;
    out.extend(sealed);
    Ok(out)
}

/// Joins by Welcome on a copy of the package view, so that a failure uses nothing up.
pub(crate) fn join_welcome(
    packages: &View,
    group: &[u8],
    bytes: &[u8],
    psk: Secret,
    entropy: &mut dyn Entropy,
) -> Result<Staged, Reason> {
    let welcome = welcome_of(bytes)?;
    let provider = Provider::over(packages, entropy).with_psk(psk);
    let staged = StagedWelcome::build_from_welcome(&provider, &join_config(), welcome)
        .map_err(|_| Reason::Forged)?
        .skip_lifetime_validation()
        .build()
        .map_err(|_| Reason::Forged)?;
    if staged.group_context().group_id().as_slice() != group {
        return Err(Reason::OtherGroup);
    }
    let mut mls = staged.into_group(&provider).map_err(|_| Reason::Forged)?;
    let leaves = facts::leaves(mls.members())?;
    let facts = facts::take(&provider, &mut mls, leaves).map_err(|_| Reason::BadCredential)?;
    checked(&provider, ()).map_err(|_| Reason::Forged)?;
    let view = provider.into_view_of(mls).without_packages();
    Ok(Staged { view, facts })
}

/// Joins by external commit (RFC 9420 §12.4.3.2); whether an old leaf of this device was removed by it.
pub(crate) fn join_externally(
    group: &[u8],
    info: &[u8],
    own: &OwnDevice,
    authenticated_data: Vec<u8>,
    entropy: &mut dyn Entropy,
) -> Result<(Built, bool), GroupError> {
    let refuse = GroupError::GroupInfo;
    let MlsMessageBodyIn::GroupInfo(info) = super::decode(info).map_err(refuse)?.extract() else {
        return Err(refuse(Reason::WrongKind));
    };
    if info.group_id().as_slice() != group {
        return Err(refuse(Reason::OtherGroup));
    }
    let provider = Provider::over(&View::default(), entropy);
    let mut replaced = false;
    // The only removal of an external commit is that of the leaf with this device's own key.
    let look = |queued: &QueuedProposal| {
        replaced |= matches!(queued.proposal(), Proposal::Remove(_));
        true
    };
    let (mut mls, bundle) = MlsGroup::external_commit_builder()
        .with_config(join_config())
        .with_aad(authenticated_data)
        .skip_lifetime_validation()
        .build_group(&provider, info, credential_with_key(own))
        .map_err(|_| refuse(Reason::Forged))?
        .load_psks(provider.storage())
        .map_err(|_| GroupError::Mls("the external commit cannot be built"))?
        .build(provider.rand(), provider.crypto(), signer(own), look)
        .map_err(|_| GroupError::Mls("the external commit cannot be built"))?
        .finalize(&provider)
        .map_err(|_| GroupError::Mls("the external commit cannot be staged"))?;
    let leaves = facts::leaves(mls.members()).map_err(refuse)?;
    let facts = facts::take(&provider, &mut mls, leaves)?;
    let (bytes, group_info) = (encode(bundle.commit())?, group_info(&provider, &mls, own)?);
    checked(&provider, ())?;
    Ok((Built { bytes, welcome: None, group_info, view: provider.into_view_of(mls), facts }, replaced))
}

/// For operations that need no randomness.
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&mut self, _out: &mut [u8]) -> Result<(), crate::entropy::EntropyError> {
        Err(crate::entropy::EntropyError)
    }
}

struct KeyPackageRefBytes;

impl KeyPackageRefBytes {
    /// OpenMLS makes a KeyPackageRef only by decoding one.
    fn of(reference: &[u8; 32]) -> Option<openmls::ciphersuite::hash_ref::KeyPackageRef> {
        let mut framed = Vec::new();
        crate::codec::push_vector(&mut framed, reference);
        <openmls::ciphersuite::hash_ref::KeyPackageRef as tls_codec::Deserialize>::tls_deserialize_exact(&framed).ok()
    }
}
