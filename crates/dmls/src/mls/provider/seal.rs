//! HPKE (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM, base and PSK mode.
//!
//! Each seal draws the 32 bytes of its ephemeral key beforehand, so a failing source is an error and never a key.

use ::hpke::aead::AesGcm128;
use ::hpke::kdf::HkdfSha256;
use ::hpke::kem::X25519HkdfSha256;
use ::hpke::rand_core::{CryptoRng, RngCore};
use ::hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable, setup_receiver, setup_sender};
use zeroize::Zeroizing;

use super::random::draw32;
use crate::entropy::{Entropy, EntropyError};

type Suite = X25519HkdfSha256;
type PublicKey = <Suite as Kem>::PublicKey;
type PrivateKey = <Suite as Kem>::PrivateKey;
type Encapped = <Suite as Kem>::EncappedKey;

/// Why sealing or opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    /// No randomness for the ephemeral key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A key, encapsulated key or PSK that HPKE refuses.
    #[error("a key that HPKE refuses")]
    Key,
    /// The ciphertext does not belong to these inputs.
    #[error("the ciphertext does not open")]
    Open,
}

/// An encapsulated key and a ciphertext with its tag.
pub(crate) type Sealed = (Vec<u8>, Vec<u8>);

/// Seals in base mode (RFC 9180 §5.1.1).
pub(crate) fn hpke_seal(
    entropy: &mut dyn Entropy,
    recipient: &[u8],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    let ikm = draw32(entropy)?;
    #[cfg(dmls_mutants)]
    if crate::stand_in::in_use() {
        return noted(recipient, info, super::stand_in::seal(&ikm, recipient, info, aad, (b"", b""), plaintext));
    }
    noted(recipient, info, seal(&OpModeS::Base, ikm, recipient, info, aad, plaintext))
}

/// In the test build each use of a key is written down.
#[cfg_attr(not(dmls_mutants), allow(unused_variables))]
fn noted(recipient: &[u8], info: &[u8], sealed: Result<Sealed, SealError>) -> Result<Sealed, SealError> {
    #[cfg(dmls_mutants)]
    if let Ok((enc, ciphertext)) = &sealed {
        crate::seals::note(crate::seals::here().as_ref(), &[recipient, info, enc], b"", ciphertext);
    }
    sealed
}

/// Opens in base mode (RFC 9180 §5.1.1).
pub(crate) fn hpke_open(
    private: &[u8],
    enc: &[u8],
    ciphertext: &[u8],
    info: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    #[cfg(dmls_mutants)]
    if crate::stand_in::in_use() {
        return super::stand_in::open(private, enc, ciphertext, info, aad, (b"", b""));
    }
    open(&OpModeR::Base, private, enc, ciphertext, info, aad)
}

/// Seals in PSK mode (RFC 9180 §5.1.2); `psk` holds at least 32 bytes of entropy, `psk_id` is not empty.
pub(crate) fn hpke_psk_seal(
    entropy: &mut dyn Entropy,
    recipient: &[u8],
    info: &[u8],
    aad: &[u8],
    psk: &[u8],
    psk_id: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    let (bundle, ikm) = (bundle(psk, psk_id)?, draw32(entropy)?);
    #[cfg(dmls_mutants)]
    if crate::stand_in::in_use() {
        return noted(recipient, info, super::stand_in::seal(&ikm, recipient, info, aad, (psk, psk_id), plaintext));
    }
    noted(recipient, info, seal(&OpModeS::Psk(bundle), ikm, recipient, info, aad, plaintext))
}

/// Opens in PSK mode (RFC 9180 §5.1.2).
pub(crate) fn hpke_psk_open(
    private: &[u8],
    enc: &[u8],
    ciphertext: &[u8],
    info: &[u8],
    aad: &[u8],
    psk: &[u8],
    psk_id: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let bundle = bundle(psk, psk_id)?;
    #[cfg(dmls_mutants)]
    if crate::stand_in::in_use() {
        return super::stand_in::open(private, enc, ciphertext, info, aad, (psk, psk_id));
    }
    open(&OpModeR::Psk(bundle), private, enc, ciphertext, info, aad)
}

/// Seals with the ephemeral key derived from `ikm`.
pub(super) fn seal(
    mode: &OpModeS<'_, Suite>,
    ikm: Zeroizing<[u8; 32]>,
    recipient: &[u8],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    let recipient = PublicKey::from_bytes(recipient).map_err(|_| SealError::Key)?;
    let mut drawn = Drawn::new(ikm);
    let (enc, mut context) = setup_sender::<AesGcm128, HkdfSha256, Suite, _>(mode, &recipient, info, &mut drawn)
        .map_err(|_| SealError::Key)?;
    drawn.check()?;
    let ciphertext = context.seal(plaintext, aad).map_err(|_| SealError::Key)?;
    Ok((enc.to_bytes().to_vec(), ciphertext))
}

/// Encapsulates and exports (RFC 9180 §5.3).
pub(super) fn seal_export(
    ikm: Zeroizing<[u8; 32]>,
    recipient: &[u8],
    info: &[u8],
    exporter_context: &[u8],
    length: usize,
) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), SealError> {
    let recipient = PublicKey::from_bytes(recipient).map_err(|_| SealError::Key)?;
    let mut drawn = Drawn::new(ikm);
    let (enc, context) = setup_sender::<AesGcm128, HkdfSha256, Suite, _>(&OpModeS::Base, &recipient, info, &mut drawn)
        .map_err(|_| SealError::Key)?;
    drawn.check()?;
    let mut out = Zeroizing::new(vec![0; length]);
    context.export(exporter_context, &mut out).map_err(|_| SealError::Key)?;
    Ok((enc.to_bytes().to_vec(), out))
}

fn open(
    mode: &OpModeR<'_, Suite>,
    private: &[u8],
    enc: &[u8],
    ciphertext: &[u8],
    info: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut context = receiver(mode, private, enc, info)?;
    context.open(ciphertext, aad).map(Zeroizing::new).map_err(|_| SealError::Open)
}

/// Decapsulates and exports (RFC 9180 §5.3).
pub(super) fn open_export(
    private: &[u8],
    enc: &[u8],
    info: &[u8],
    exporter_context: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let context = receiver(&OpModeR::Base, private, enc, info)?;
    let mut out = Zeroizing::new(vec![0; length]);
    context.export(exporter_context, &mut out).map_err(|_| SealError::Key)?;
    Ok(out)
}

/// `DeriveKeyPair` (RFC 9180 §7.1.3): private and public key.
pub(super) fn derive_key_pair(ikm: &[u8]) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
    let (private, public) = Suite::derive_keypair(ikm);
    let private = Zeroizing::new(<[u8; 32]>::from(private.to_bytes()));
    (Zeroizing::new(private.to_vec()), public.to_bytes().to_vec())
}

type Receiver = ::hpke::aead::AeadCtxR<AesGcm128, HkdfSha256, Suite>;

fn receiver(mode: &OpModeR<'_, Suite>, private: &[u8], enc: &[u8], info: &[u8]) -> Result<Receiver, SealError> {
    let private = PrivateKey::from_bytes(private).map_err(|_| SealError::Key)?;
    let enc = Encapped::from_bytes(enc).map_err(|_| SealError::Key)?;
    setup_receiver(mode, &private, &enc, info).map_err(|_| SealError::Key)
}

/// HPKE itself only asks that both or neither be empty; in PSK mode neither may be.
fn bundle<'a>(psk: &'a [u8], psk_id: &'a [u8]) -> Result<PskBundle<'a>, SealError> {
    if psk.len() < 32 || psk_id.is_empty() {
        return Err(SealError::Key);
    }
    PskBundle::new(psk, psk_id).map_err(|_| SealError::Key)
}

/// Hands out 32 bytes drawn beforehand, once, through an interface that cannot fail.
struct Drawn {
    bytes: Zeroizing<[u8; 32]>,
    used: usize,
    overdrawn: bool,
}

impl Drawn {
    fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self { bytes, used: 0, overdrawn: false }
    }

    /// Fails if more was asked for than was drawn: what came of it must not be used.
    fn check(&self) -> Result<(), SealError> {
        if self.overdrawn { Err(SealError::Entropy(EntropyError)) } else { Ok(()) }
    }
}

impl RngCore for Drawn {
    fn next_u32(&mut self) -> u32 {
        let mut out = [0; 4];
        self.fill_bytes(&mut out);
        u32::from_le_bytes(out)
    }

    fn next_u64(&mut self) -> u64 {
        let mut out = [0; 8];
        self.fill_bytes(&mut out);
        u64::from_le_bytes(out)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        let end = self.used.saturating_add(out.len());
        match self.bytes.get(self.used..end) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => self.overdrawn = true,
        }
        self.used = end;
    }
}

impl CryptoRng for Drawn {}
