//! Secret values of 32 bytes and the derivations among them.

use std::fmt;

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::codec::push_vector;
use crate::defence;
use crate::id::EpochId;

/// 32 secret bytes: zeroized when dropped, compared in constant time, redacted in `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Exactly 32 bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_) = self;
        f.write_str("Secret(…)")
    }
}

/// `KDF(secret, label, context)`: HKDF-Expand with RFC 9420 §8's label struct, under our own prefix (SPEC §3.6).
pub(crate) fn kdf(secret: &Secret, label: &str, context: &[u8]) -> Secret {
    let mut info = 32u16.to_be_bytes().to_vec();
    push_vector(&mut info, format!("DMLS 1.0 {label}").as_bytes());
    push_vector(&mut info, context);
    let mut out = [0; 32];
    // 32 bytes are a legal output length and a legal key length of HKDF-SHA256: neither step can fail.
    if let Ok(hkdf) = Hkdf::<Sha256>::from_prk(secret.expose()) {
        let _ = hkdf.expand(&info, &mut out);
    }
    Secret::new(out)
}

/// What a merge value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum InputKind {
    /// The single-use merge export of a resolved head.
    Head = 1,
}

/// `M = H("DMLS 1.0 inputs" || vector of (kind, EpochId, value))`, sorted (SPEC §3.5).
pub(crate) fn merge_value(mut inputs: Vec<(InputKind, EpochId, Secret)>) -> Secret {
    if !defence::on("F9") {
        inputs.clear();
    }
    inputs.sort_by_key(|(kind, id, _)| (*kind, *id));
    let mut body = zeroize::Zeroizing::new(Vec::with_capacity(inputs.len() * 65));
    for (kind, id, value) in &inputs {
        body.push(*kind as u8);
        body.extend(id.as_bytes());
        body.extend(value.expose());
    }
    let mut framed = zeroize::Zeroizing::new(b"DMLS 1.0 inputs".to_vec());
    push_vector(&mut framed, &body);
    Secret::new(Sha256::digest(&*framed).into())
}

/// The chain's contribution in PSK version 0: none (SPEC §4.1).
pub(crate) fn no_chain() -> Secret {
    Secret::new([0; 32])
}

/// `psk = KDF(z, "psk", M)`.
pub(crate) fn psk_secret(z: &Secret, m: &Secret) -> Secret {
    kdf(z, "psk", m.expose())
}

/// `KDF(z, "grant", S)`: the PSK under which a grant is sealed. S is the merge value of those resolved heads that its
/// receiver is in (SPEC §3.7).
pub(crate) fn grant_psk(z: &Secret, shared: &Secret) -> Secret {
    if defence::on("C3") { kdf(z, "grant", shared.expose()) } else { kdf(z, "grant", b"") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The label struct is RFC 9420's, byte by byte (SPEC §3.6).
    #[test]
    fn kdf_is_expand_with_label() {
        let secret = Secret::new([7; 32]);
        let info = b"\x00\x20\x0cDMLS 1.0 psk\x03abc";
        let mut expected = [0; 32];
        Hkdf::<Sha256>::from_prk(&[7; 32]).unwrap().expand(info, &mut expected).unwrap();
        assert_eq!(kdf(&secret, "psk", b"abc").expose(), &expected);
        assert_ne!(kdf(&secret, "grant", b"abc"), kdf(&secret, "psk", b"abc"));
    }

    /// The order in which heads were found does not matter, every value does (SPEC §3.5).
    #[test]
    fn the_merge_value_is_sorted_and_takes_in_everything() {
        let input = |id: u8, value: u8| (InputKind::Head, EpochId([id; 32]), Secret::new([value; 32]));
        let m = merge_value(vec![input(1, 1), input(2, 2)]);
        assert_eq!(m, merge_value(vec![input(2, 2), input(1, 1)]));
        assert_ne!(m, merge_value(vec![input(1, 1), input(2, 3)]));
        assert_ne!(m, merge_value(vec![input(1, 2), input(2, 1)]));
        assert_ne!(m, merge_value(vec![input(1, 1)]));
    }
}
