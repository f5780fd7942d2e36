//! Keys and sealing: everything that reaches the file goes through here.

use std::fmt;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::StoreError;

/// Length of an XChaCha20-Poly1305 nonce.
pub(crate) const NONCE: usize = 24;
/// Length of a Poly1305 tag.
pub(crate) const TAG: usize = 16;

/// A nonce, drawn at random for each sealing.
pub(crate) type Nonce = [u8; NONCE];

/// Draws a nonce; 192 random bits do not repeat.
pub(crate) fn nonce() -> Result<Nonce, StoreError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce)?;
    Ok(nonce)
}

/// A 32-byte secret key.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(crate) fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    pub(crate) fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    pub(crate) fn from_slice(slice: &[u8]) -> Result<Self, StoreError> {
        let bytes = <[u8; 32]>::try_from(slice).map_err(|_| StoreError::WrongKey)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Zeroizing<[u8; 32]> {
        self.0
    }

    /// `HKDF-Expand(self, "dmls-store v1 " || purpose || 0x00 || label, 32)` (RFC 5869).
    pub(crate) fn derive(&self, purpose: &str, label: &str) -> Result<Self, StoreError> {
        let info = [b"dmls-store v1 ", purpose.as_bytes(), &[0], label.as_bytes()];
        let mut out = Zeroizing::new([0; 32]);
        let expand = Hkdf::<Sha256>::from_prk(self.as_bytes()).map_err(|_| defect("HKDF"))?;
        expand.expand_multi_info(&info, out.as_mut()).map_err(|_| defect("HKDF"))?;
        Ok(Self(out))
    }

    /// Seals `plain`: ciphertext and tag. `bound` is not stored; the same must be given to open.
    pub(crate) fn seal(&self, nonce: &Nonce, bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        // Room for the tag from the start: growing would leave a copy of the plaintext behind.
        let mut sealed = Vec::with_capacity(plain.len() + TAG);
        sealed.extend_from_slice(plain);
        let cipher = XChaCha20Poly1305::new(self.as_bytes().into());
        cipher.encrypt_in_place(XNonce::from_slice(nonce), bound, &mut sealed).map_err(|_| StoreError::TooLarge)?;
        Ok(sealed)
    }

    /// Opens what [`Secret::seal`] made; nothing if anything differs.
    pub(crate) fn open(&self, nonce: &Nonce, bound: &[u8], sealed: Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(sealed);
        let cipher = XChaCha20Poly1305::new(self.as_bytes().into());
        cipher.decrypt_in_place(XNonce::from_slice(nonce), bound, &mut *plain).ok()?;
        Some(plain)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// The keys of one store, all derived from its master key.
#[derive(Debug)]
pub(crate) struct Keys {
    master: Secret,
    name: Secret,
    value: Secret,
    state: Secret,
    digest: Secret,
}

/// Where a record stands: its row, and the nonce of its last writing, which no other writing shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    pub(crate) row: i64,
    pub(crate) stamp: Nonce,
}

impl Keys {
    pub(crate) fn new(master: Secret) -> Result<Self, StoreError> {
        Ok(Self {
            name: master.derive("name", "")?,
            value: master.derive("value", "")?,
            state: master.derive("state", "")?,
            digest: master.derive("digest", "")?,
            master,
        })
    }

    pub(crate) fn master(&self) -> &Secret {
        &self.master
    }

    pub(crate) fn subkey(&self, label: &str) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        Ok(self.master.derive("subkey", label)?.into_bytes())
    }

    /// Seals a table name and key for the row.
    pub(crate) fn seal_name(&self, slot: &Slot, table: &str, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.name.seal(&slot.stamp, &slot.row.to_be_bytes(), &name(table, key)?)
    }

    /// Opens a table name and key.
    pub(crate) fn open_name(&self, slot: &Slot, sealed: Vec<u8>) -> Option<(String, Vec<u8>)> {
        let plain = self.name.open(&slot.stamp, &slot.row.to_be_bytes(), sealed)?;
        let (len, rest) = plain.split_first()?;
        let (table, key) = rest.split_at_checked(usize::from(*len))?;
        Some((String::from_utf8(table.to_vec()).ok()?, key.to_vec()))
    }

    /// Seals a record for its row, table and key.
    pub(crate) fn seal_value(&self, slot: &Slot, table: &str, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.value.seal(&slot.stamp, &bound_value(slot, table, key)?, value)
    }

    /// Opens a record.
    pub(crate) fn open_value(
        &self,
        slot: &Slot,
        table: &str,
        key: &[u8],
        sealed: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let opened = self.value.open(&slot.stamp, &bound_value(slot, table, key)?, sealed);
        opened.ok_or_else(|| StoreError::corrupt(table))
    }

    /// Seals the state of the store, bound to its header: nonce, ciphertext, tag.
    pub(crate) fn seal_state(&self, header_hash: &[u8; 32], state: &[u8]) -> Result<Vec<u8>, StoreError> {
        let nonce = nonce()?;
        let mut out = nonce.to_vec();
        out.extend(self.state.seal(&nonce, header_hash, state)?);
        Ok(out)
    }

    /// Opens the state of the store.
    pub(crate) fn open_state(&self, header_hash: &[u8; 32], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        self.state.open(nonce, header_hash, sealed.to_vec())
    }

    /// `HMAC-SHA-256(digest key, row || stamp)`: what one record adds to the digest of all.
    pub(crate) fn element(&self, slot: &Slot) -> Result<[u8; 32], StoreError> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.digest.as_bytes()).map_err(|_| defect("HMAC"))?;
        mac.update(&slot.row.to_be_bytes());
        mac.update(&slot.stamp);
        Ok(mac.finalize().into_bytes().into())
    }
}

/// `len(table) as u8 || table || key`.
fn name(table: &str, key: &[u8]) -> Result<Vec<u8>, StoreError> {
    let len = u8::try_from(table.len()).map_err(|_| StoreError::TooLarge)?;
    Ok([&[len], table.as_bytes(), key].concat())
}

/// `row || len(table) as u8 || table || key`.
fn bound_value(slot: &Slot, table: &str, key: &[u8]) -> Result<Vec<u8>, StoreError> {
    Ok([&slot.row.to_be_bytes(), name(table, key)?.as_slice()].concat())
}

fn defect(what: &str) -> StoreError {
    StoreError::Defect(what.to_owned())
}
