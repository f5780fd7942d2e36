//! The header of a store: which key opens it, and the master key sealed under that key.

use std::fmt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::key::{Key, KeyFile, Passphrase};
use crate::seal::{NONCE, Nonce, Secret, TAG, nonce};

/// The version of the file format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"dmlsstor";
const SALT: usize = 16;
/// Magic, version, kind, three Argon2id parameters, salt, nonce: everything before the sealed master key.
const BOUND: usize = 8 + 4 + 1 + 12 + SALT + NONCE;
const SEALED: usize = 32 + TAG;
const LEN: usize = BOUND + SEALED + 32;

/// Which kind of key opens a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum KeyKind {
    /// The key file in the profile directory.
    File,
    /// A passphrase.
    Passphrase,
    /// A key that the caller keeps.
    Raw,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "key file",
            Self::Passphrase => "passphrase",
            Self::Raw => "raw key",
        })
    }
}

impl KeyKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Passphrase => 2,
            Self::Raw => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::File, Self::Passphrase, Self::Raw].into_iter().find(|kind| kind.to_byte() == byte)
    }
}

/// Cost of Argon2id (RFC 9106); all zero for keys that need no stretching.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    const NONE: Self = Self { memory_kib: 0, passes: 0, lanes: 0 };
    /// The second recommended choice of RFC 9106 §4: 64 MiB, 3 passes, 4 lanes.
    const RECOMMENDED: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// A damaged or planted header must not make the program eat all memory.
    const MOST: Self = Self { memory_kib: 1024 * 1024, passes: 64, lanes: 64 };

    fn for_kind(kind: KeyKind) -> Self {
        if kind == KeyKind::Passphrase { Self::RECOMMENDED } else { Self::NONE }
    }

    fn is_sane(self) -> bool {
        self.memory_kib <= Self::MOST.memory_kib && self.passes <= Self::MOST.passes && self.lanes <= Self::MOST.lanes
    }
}

/// The header as stored: parsed and undamaged, not yet opened.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Header {
    kind: KeyKind,
    cost: Cost,
    salt: [u8; SALT],
    nonce: Nonce,
    bytes: [u8; LEN],
}

impl Header {
    /// Seals `master` under `key`.
    pub(crate) fn seal(master: &Secret, key: &Key, dir: &Path) -> Result<Self, StoreError> {
        let kind = key.kind();
        let cost = Cost::for_kind(kind);
        let nonce = nonce()?;
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt)?;
        let bound = bound(kind, cost, &salt, &nonce);
        let wrapping = match key {
            Key::File => KeyFile::of(dir).read_or_create()?,
            _ => wrapping_key(key, cost, &salt, dir)?,
        };
        let sealed = wrapping.seal(&nonce, &bound, master.as_bytes())?;
        let hash = Sha256::new().chain_update(&bound).chain_update(&sealed).finalize();
        let mut bytes = [0; LEN];
        let parts = bound.iter().chain(&sealed).chain(&hash);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        Ok(Self { kind, cost, salt, nonce, bytes })
    }

    /// Parses a stored header and checks that it is undamaged.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::parse_fields(bytes).ok_or_else(|| StoreError::corrupt("(header)"))
    }

    fn parse_fields(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; LEN] = bytes.try_into().ok()?;
        let (content, hash) = bytes.split_at(LEN - 32);
        if Sha256::digest(content).as_slice() != hash {
            return None;
        }
        let rest = content.strip_prefix(MAGIC)?;
        let (version, rest) = take_u32(rest)?;
        let (&kind, rest) = rest.split_first()?;
        let (memory_kib, rest) = take_u32(rest)?;
        let (passes, rest) = take_u32(rest)?;
        let (lanes, rest) = take_u32(rest)?;
        let (&salt, rest) = rest.split_first_chunk::<SALT>()?;
        let (&nonce, _) = rest.split_first_chunk::<NONCE>()?;
        let cost = Cost { memory_kib, passes, lanes };
        (version == FORMAT_VERSION && cost.is_sane()).then_some(())?;
        Some(Self { kind: KeyKind::from_byte(kind)?, cost, salt, nonce, bytes })
    }

    /// Opens the master key with `key`.
    pub(crate) fn open(&self, key: &Key, dir: &Path) -> Result<Secret, StoreError> {
        if key.kind() != self.kind {
            return Err(StoreError::WrongKeyKind { stored: self.kind, given: key.kind() });
        }
        let wrapping = wrapping_key(key, self.cost, &self.salt, dir)?;
        let sealed = self.bytes[BOUND..BOUND + SEALED].to_vec();
        match wrapping.open(&self.nonce, &self.bytes[..BOUND], sealed) {
            Some(master) => Secret::from_slice(&master),
            None if self.kind == KeyKind::Passphrase => Err(StoreError::WrongPassphrase),
            None => Err(StoreError::WrongKey),
        }
    }

    pub(crate) fn kind(&self) -> KeyKind {
        self.kind
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The last field: SHA-256 of all fields before it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.bytes[LEN - 32..]);
        hash
    }
}

fn bound(kind: KeyKind, cost: Cost, salt: &[u8; SALT], nonce: &Nonce) -> Vec<u8> {
    [
        MAGIC.as_slice(),
        &FORMAT_VERSION.to_be_bytes(),
        &[kind.to_byte()],
        &cost.memory_kib.to_be_bytes(),
        &cost.passes.to_be_bytes(),
        &cost.lanes.to_be_bytes(),
        salt,
        nonce,
    ]
    .concat()
}

/// The key that seals the master key.
fn wrapping_key(key: &Key, cost: Cost, salt: &[u8; SALT], dir: &Path) -> Result<Secret, StoreError> {
    match key {
        Key::File => KeyFile::of(dir).read(),
        Key::Raw(bytes) => Ok(Secret::new(bytes.clone())),
        Key::Passphrase(passphrase) => stretch(passphrase, cost, salt),
    }
}

/// `Argon2id(passphrase, salt, cost)`, version 0x13, 32 bytes (RFC 9106).
fn stretch(passphrase: &Passphrase, cost: Cost, salt: &[u8; SALT]) -> Result<Secret, StoreError> {
    let damaged = |_| StoreError::corrupt("(header)");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(damaged)?;
    let mut out = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.as_bytes(), salt, out.as_mut()).map_err(damaged)?;
    Ok(Secret::new(out))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (value, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*value), rest))
}
