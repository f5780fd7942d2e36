//! PSKs, given to a provider for one operation and never stored.

use openmls::schedule::Psk;
use openmls_traits::storage::{CURRENT_VERSION, traits};
use serde::Serialize;
use tls_codec::SecretVLBytes;

use super::encoding::{decode, encode};
use super::storage::StorageError;
use crate::secret::Secret;

/// What the external PSK ids of ours start with.
const OURS: &[u8] = b"dmls1";

/// Where the answers for external PSK ids come from.
pub(super) enum PskSource {
    /// No PSK is known.
    Nothing,
    /// One secret for every id of ours.
    Ours(Secret),
    /// Ids and secrets of test vectors, or of a member's own choosing.
    #[cfg(any(test, dmls_mutants))]
    Listed(Vec<(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)>),
}

impl PskSource {
    fn answer(&self, id: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Ours(secret) if id.starts_with(OURS) => Some(secret.expose()),
            #[cfg(any(test, dmls_mutants))]
            Self::Listed(psks) => psks.iter().find(|(known, _)| known == id).map(|(_, secret)| secret.as_slice()),
            Self::Nothing | Self::Ours(_) => None,
        }
    }
}

/// OpenMLS's `PskBundle`, which it keeps to itself; a test of this module pins its layout.
#[derive(Serialize)]
struct Bundle {
    secret: BundleSecret,
}

#[derive(Serialize)]
struct BundleSecret {
    value: SecretVLBytes,
}

/// The bundle for an external PSK id, or `None` for ids of other kinds and unknown ids.
pub(super) fn bundle<T: traits::PskBundle<CURRENT_VERSION>>(
    source: &PskSource,
    id: &impl Serialize,
) -> Result<Option<T>, StorageError> {
    let Psk::External(id) = decode(&encode(id)?)? else { return Ok(None) };
    let Some(secret) = source.answer(id.psk_id()) else { return Ok(None) };
    let bundle = Bundle { secret: BundleSecret { value: SecretVLBytes::from(secret) } };
    decode(&encode(&bundle)?).map(Some)
}
