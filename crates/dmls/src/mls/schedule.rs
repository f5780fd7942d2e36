//! The key schedule (RFC 9420 §8), one type a stage.

use super::Refusal;
use super::crypto::{AeadKey, Hash, KeyPair, derive, expand, extract, extract_bytes, mac, mac_holds};
use super::wire::{PreSharedKeyId, encode};
use crate::secret::Secret;
use crate::suite::Suite;

/// Component whose single-use export is the merge value of an epoch (SPEC §3.4).
const MERGE_COMPONENT: u16 = 0x8d02;

/// `joiner_secret`: what a Welcome carries.
pub(super) struct Joiner(pub(super) Secret);

impl Joiner {
    /// From the base's init secret, the path's commit secret and the new epoch's GroupContext.
    pub(super) fn new(init: &Secret, commit: &Secret, context: &[u8]) -> Self {
        Self(expand(&extract(init, commit), "joiner", context))
    }

    pub(super) fn with_psk(&self, psk: &Secret) -> Member {
        Member(extract(&self.0, psk))
    }
}

/// `member_secret`: what the PSK makes of a joiner's secret.
pub(super) struct Member(Secret);

impl Member {
    /// Key and nonce of a Welcome's GroupInfo.
    pub(super) fn welcome_key(&self) -> AeadKey {
        AeadKey::derive(&derive(&self.0, "welcome"), b"")
    }

    pub(super) fn epoch(&self, context: &[u8]) -> EpochSecret {
        EpochSecret(expand(&self.0, "epoch", context))
    }
}

/// `epoch_secret`: everything of an epoch is derived from it, and then it goes.
pub(super) struct EpochSecret(pub(super) Secret);

/// What an epoch keeps of its secrets: no exporter secret and no resumption PSK are ever derived.
#[derive(Clone, Debug)]
pub(super) struct Secrets {
    pub(super) sender_data: Secret,
    pub(super) membership: Secret,
    pub(super) external: Secret,
    pub(super) init: Secret,
}

impl EpochSecret {
    pub(super) fn secrets(&self) -> Secrets {
        Secrets {
            sender_data: derive(&self.0, "sender data"),
            membership: derive(&self.0, "membership"),
            external: derive(&self.0, "external"),
            init: derive(&self.0, "init"),
        }
    }

    /// The root of the secret tree.
    pub(super) fn encryption(&self) -> Secret {
        derive(&self.0, "encryption")
    }

    pub(super) fn confirmation_tag(&self, confirmed_transcript_hash: &[u8]) -> Hash {
        mac(&derive(&self.0, "confirm"), confirmed_transcript_hash)
    }

    /// MLS M18, M150.
    pub(super) fn check_tag(&self, confirmed_transcript_hash: &[u8], tag: &[u8]) -> Result<(), Refusal> {
        let holds = mac_holds(&derive(&self.0, "confirm"), confirmed_transcript_hash, tag);
        if holds { Ok(()) } else { Err(Refusal::ConfirmationTag) }
    }

    /// The single-use export (draft-ietf-mls-extensions, safe exporter): one component's leaf of the exporter tree, the
    /// rest of which is never kept.
    pub(super) fn merge_export(&self) -> Secret {
        let side = |bit: u16| if MERGE_COMPONENT >> bit & 1 == 1 { &b"right"[..] } else { &b"left"[..] };
        let root = derive(&self.0, "application_export");
        (0..16).rev().fold(root, |node, bit| expand(&node, "tree", side(bit)))
    }
}

impl Secrets {
    /// The key pair to which external commits encapsulate (RFC 9420 §8.3).
    pub(super) fn external_key(&self, suite: &dyn Suite) -> KeyPair {
        KeyPair::derive(suite, &self.external)
    }
}

/// The label of RFC 9420 §8.3's export.
pub(super) const EXTERNAL_INIT: &[u8] = b"MLS 1.0 external init secret";

/// `psk_secret` of these PSKs, in their order (RFC 9420 §8.4); 32 zero bytes for none.
pub(super) fn psk_secret(psks: &[(PreSharedKeyId, &[u8])]) -> Secret {
    let count = u16::try_from(psks.len()).unwrap_or(u16::MAX);
    let mut secret = Secret::new([0; 32]);
    for ((id, psk), index) in psks.iter().zip(0u16..) {
        let mut label = encode(id);
        label.extend(index.to_be_bytes());
        label.extend(count.to_be_bytes());
        let input = expand(&extract_bytes(&Secret::new([0; 32]), psk), "derived psk", &label);
        secret = extract(&input, &secret);
    }
    secret
}
