//! Signatures that would count more widely than they should.

use dmls::device::{OwnDevice, SigningKey, verify_strict};
use dmls::group::verify_content;
use dmls::id::{Device, EpochId, LeafIndex, Sequence, SignatureKey};
use ed25519_dalek::Signer as _;

use crate::attack::End;
use crate::core_world::Seeded;

/// The order of the group: what S is to be below (RFC 8032 §5.1.7), little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// I2. The neutral element as a key: with R the same and S zero, one signature is good for everything.
pub fn malleable() -> End {
    let signing = SigningKey::generate(&mut Seeded::new(1)).unwrap();
    let (mut neutral, mut forged) = ([0; 32], [0; 64]);
    (neutral[0], forged[0]) = (1, 1);
    let vouched = OwnDevice::new(signing, Device::new("alice", "NEW"), neutral, 0, forged);
    End::succeeded_if(vouched.is_ok() || raised_scalar_counts())
}

/// The same signature with S + order in place of S.
fn raised_scalar_counts() -> bool {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let mut signature = key.sign(b"said once").to_bytes();
    assert!(verify_strict(&key.verifying_key().to_bytes(), b"said once", &signature));
    let mut carry = 0u16;
    for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    verify_strict(&key.verifying_key().to_bytes(), b"said once", &signature)
}

/// I6. Another protocol has the same key sign bare text.
pub fn other_protocol() -> End {
    let key = ed25519_dalek::SigningKey::from_bytes(&[8; 32]);
    let (public, text) = (SignatureKey(key.verifying_key().to_bytes()), b"a text that means something elsewhere");
    let signature = key.sign(text).to_bytes();
    End::succeeded_if(verify_content(
        dmls::suite::X25519_ED25519,
        &public,
        &EpochId([3; 32]),
        LeafIndex(0),
        Sequence(0),
        text,
        &signature,
    ))
}
