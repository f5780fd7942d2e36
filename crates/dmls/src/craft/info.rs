//! GroupInfos that say something else, with a signature that holds.

use tls_codec::{Deserialize as _, DeserializeBytes as _, Serialize as _, TlsDeserialize, TlsDeserializeBytes};
use tls_codec::{TlsSerialize, TlsSize, VLBytes};

use crate::codec::push_vector;
use crate::suite::Signer;

/// `GroupInfoTBS` (RFC 9420 §12.4.3).
#[derive(Debug, Clone, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsDeserializeBytes, TlsSize)]
pub struct GroupInfoParts {
    /// 1: MLS 1.0.
    pub version: u16,
    /// 1: the one suite there is.
    pub suite: u16,
    /// The group.
    pub group_id: Vec<u8>,
    /// The epoch's number.
    pub epoch: u64,
    /// What the ratchet tree hashes to.
    pub tree_hash: Vec<u8>,
    /// The transcript up to the commit.
    pub confirmed_transcript_hash: Vec<u8>,
    /// Extensions of the group, encoded.
    pub group_extensions: Vec<u8>,
    /// Extensions of the GroupInfo, encoded: the ratchet tree, the external key.
    pub extensions: Vec<u8>,
    /// The epoch's tag.
    pub confirmation_tag: Vec<u8>,
    /// Whose leaf signs.
    pub signer: u32,
}

const LABEL: &[u8] = b"MLS 1.0 GroupInfoTBS";
/// `MLSMessage` of wire format mls_group_info.
const HEADER: &[u8] = &[0, 1, 0, 4];

impl GroupInfoParts {
    /// The parts of an MLSMessage that holds a GroupInfo.
    pub(crate) fn of_message(bytes: &[u8]) -> Option<Self> {
        Self::of_signed(bytes.strip_prefix(HEADER)?)
    }

    /// The parts of a GroupInfo with its signature.
    fn of_signed(bytes: &[u8]) -> Option<Self> {
        let (parts, signature) = Self::tls_deserialize_bytes(bytes).ok()?;
        VLBytes::tls_deserialize_exact(signature).ok().map(|_| parts)
    }

    /// An MLSMessage that holds them, signed.
    pub(crate) fn sign(&self, signer: &dyn Signer) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        out.extend(self.tbs());
        push_vector(&mut out, &signer.sign(&self.to_be_signed()));
        out
    }

    /// What the signature covers (RFC 9420 §5.1.2).
    fn to_be_signed(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        push_vector(&mut payload, LABEL);
        push_vector(&mut payload, &self.tbs());
        payload
    }

    fn tbs(&self) -> Vec<u8> {
        self.tls_serialize_detached().unwrap_or_default()
    }
}
