//! What the public-key primitives alone would cost: nobody who uses them can be faster.
//!
//! Also hashing the tree's changed nodes is counted; the key schedule is not.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hpke::aead::AesGcm128;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use crate::contestant::Failure;
use crate::meter::{median, timed};
use crate::roster::Roster;
use crate::sheet::{LIMIT, Sheet, Unit};

/// How often each primitive is timed, and how many of its calls are one sample.
const SAMPLES: usize = 15;
const CALLS: u32 = 20;

/// Milliseconds of one call each.
#[derive(Debug, Clone, Copy)]
pub struct Primitives {
    /// HPKE seals a path secret.
    pub seal: f64,
    /// HPKE opens it.
    pub open: f64,
    /// A key pair is derived.
    pub derive: f64,
    /// Ed25519 signs.
    pub sign: f64,
    /// Ed25519 verifies, strictly, by the bytes of a key.
    pub verify: f64,
    /// SHA-256 of a node of the tree.
    pub hash: f64,
}

impl Primitives {
    /// Times them here and now.
    pub fn measure() -> Result<Self, Failure> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (private, public) = X25519HkdfSha256::derive_keypair(&[5; 32]);
        let signer = SigningKey::from_bytes(&[6; 32]);
        // As it stands in a leaf.
        let (verifier, text) = (signer.verifying_key().to_bytes(), [7; 400]);
        let signature = signer.sign(&text);
        let mut seal = || {
            let mode = OpModeS::Base;
            single_shot_seal::<AesGcm128, HkdfSha256, X25519HkdfSha256, _>(
                &mode, &public, &text, &[8; 32], b"", &mut rng,
            )
        };
        let (encapsulated, sealed) = seal().map_err(|error| error.to_string())?;
        let encapsulated = encapsulated.to_bytes();
        let open = || {
            let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&encapsulated)?;
            let mode = OpModeR::Base;
            single_shot_open::<AesGcm128, HkdfSha256, X25519HkdfSha256>(
                &mode,
                &private,
                &encapsulated,
                &text,
                &sealed,
                b"",
            )
        };
        open().map_err(|error| error.to_string())?;
        Ok(Self {
            seal: one(&mut seal),
            open: one(open),
            derive: one(|| X25519HkdfSha256::derive_keypair(&[9; 32])),
            sign: one(|| signer.sign(&text)),
            verify: one(|| VerifyingKey::from_bytes(&verifier)?.verify_strict(&text, &signature)),
            hash: one(|| Sha256::digest(&text[..144])),
        })
    }

    /// Enters them, and what the rows cannot go below in a room of these devices (EPOCHS 3.3).
    pub fn enter(&self, roster: Roster, sheet: &mut Sheet) {
        let Self { seal, open, derive, sign, verify, hash } = *self;
        let (n, height) = (roster.n, f64::from(roster.height()));
        let devices = f64::from(n);
        let of_path = height * derive + derive + 2.0 * sign + 2.0 * height * hash;
        let blank = f64::from(n - roster.cold());
        // Half of all committers meet the receiver at the root, a quarter one below, and so on: two keys to derive.
        let receive = open + 2.0 * derive + 2.0 * verify + 2.0 * height * hash;
        let times = [
            ("create", devices * (seal + 2.0 * verify)),
            ("join", devices * verify),
            ("rekey-cold/send", blank * seal + of_path),
            ("rekey-cold/receive", receive),
            ("rekey/send", height * seal + of_path),
            ("rekey/receive", receive),
            ("remove/send", height * seal + of_path),
            ("remove/receive", receive),
            ("message/seal", sign),
            ("message/open", verify),
        ];
        for (op, time) in times {
            let (unit, time) = if op.starts_with("message") { (Unit::Us, time * 1e3) } else { (Unit::Ms, time) };
            sheet.put(op, n, LIMIT, unit, time);
        }
    }

    /// Enters the primitives themselves.
    pub fn enter_each(&self, sheet: &mut Sheet) {
        let Self { seal, open, derive, sign, verify, hash } = *self;
        let each = [("seal", seal), ("open", open), ("derive", derive), ("sign", sign), ("verify", verify)];
        for (name, time) in each.into_iter().chain([("hash", hash)]) {
            sheet.put(format!("primitive/{name}"), 1, LIMIT, Unit::Us, time * 1e3);
        }
    }
}

/// Milliseconds of one call.
fn one<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut sample = || timed(|| (0..CALLS).for_each(|_| drop(std::hint::black_box(call())))).1 / f64::from(CALLS);
    median((0..SAMPLES).map(|_| sample()).collect())
}
