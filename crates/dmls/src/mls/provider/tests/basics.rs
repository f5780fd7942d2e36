//! crypto-basics, psk-free parts of welcome, deserialization.
//!
//! What OpenMLS 0.9.2 offers publicly runs through it: RefHash (`HashReference`), SignWithLabel (`Signable`,
//! `Verifiable`). ExpandWithLabel, DeriveSecret, DeriveTreeSecret and EncryptWithLabel are private there: their label
//! structs (RFC 9420 §5.1, §8, §9) are written here and the cryptography is the provider's; the passive clients run
//! OpenMLS's own.
//!
//! Not reachable on the public API, because the types are private to OpenMLS and its state cannot be built from the
//! parts that the vectors give: key-schedule, secret-tree, message-protection, psk_secret, transcript-hashes,
//! tree-math, tree-operations, tree-validation, treekem. The passive clients go through all of these: 200 epochs of
//! random operations fail at the first wrong byte of any of them.

use openmls::ciphersuite::hash_ref::HashReference;
use openmls::prelude::*;
use openmls_traits::types::{HpkeAeadType, HpkeConfig, HpkeKdfType, HpkeKemType};
use tls_codec::{Serialize as _, VLByteSlice, VLBytes};

use super::passive::{WelcomeKeys, member_config};
use super::{Hex, Seeded, vectors};
use crate::mls::SUITE;
use crate::mls::provider::{Provider, Signer, View};

#[derive(serde::Deserialize)]
struct CryptoBasics {
    ref_hash: RefHash,
    expand_with_label: Expand,
    derive_secret: Derive,
    derive_tree_secret: DeriveTree,
    sign_with_label: SignWithLabel,
    encrypt_with_label: Encrypt,
}

#[derive(serde::Deserialize)]
struct RefHash {
    label: String,
    value: Hex,
    out: Hex,
}

#[derive(serde::Deserialize)]
struct Expand {
    secret: Hex,
    label: String,
    context: Hex,
    length: u16,
    out: Hex,
}

#[derive(serde::Deserialize)]
struct Derive {
    secret: Hex,
    label: String,
    out: Hex,
}

#[derive(serde::Deserialize)]
struct DeriveTree {
    secret: Hex,
    label: String,
    generation: u32,
    length: u16,
    out: Hex,
}

#[derive(serde::Deserialize)]
struct SignWithLabel {
    r#priv: Hex,
    r#pub: Hex,
    content: Hex,
    label: String,
    signature: Hex,
}

#[derive(serde::Deserialize)]
struct Encrypt {
    r#priv: Hex,
    r#pub: Hex,
    label: String,
    context: Hex,
    plaintext: Hex,
    kem_output: Hex,
    ciphertext: Hex,
}

fn config() -> HpkeConfig {
    HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::AesGcm128)
}

fn with_provider<T>(run: impl FnOnce(&Provider<'_>) -> T) -> T {
    let mut entropy = Seeded::new("basics");
    run(&Provider::over(&View::default(), &mut entropy))
}

fn basics() -> Vec<CryptoBasics> {
    vectors("crypto-basics.json").unwrap_or_default()
}

fn labelled(label: &str, content: &[u8]) -> Vec<u8> {
    let label = format!("MLS 1.0 {label}");
    let mut out = VLByteSlice(label.as_bytes()).tls_serialize_detached().unwrap();
    out.extend(VLByteSlice(content).tls_serialize_detached().unwrap());
    out
}

/// `ExpandWithLabel` (RFC 9420 §8).
fn expand(secret: &[u8], label: &str, context: &[u8], length: u16) -> Vec<u8> {
    let info = [&length.to_be_bytes()[..], &labelled(label, context)].concat();
    with_provider(|p| {
        p.crypto().hkdf_expand(HashType::Sha2_256, secret, &info, length.into()).unwrap().as_slice().to_vec()
    })
}

#[test]
fn ref_hash() {
    for RefHash { label, value, out } in basics().into_iter().map(|v| v.ref_hash) {
        let hash = with_provider(|p| HashReference::new(&value.0, SUITE, p.crypto(), label.as_bytes()).unwrap());
        assert_eq!(hash.as_slice(), out.0);
    }
}

#[test]
fn expand_and_derive() {
    for v in basics() {
        let e = v.expand_with_label;
        assert_eq!(expand(&e.secret.0, &e.label, &e.context.0, e.length), e.out.0);
        let d = v.derive_secret;
        assert_eq!(expand(&d.secret.0, &d.label, b"", 32), d.out.0);
        let t = v.derive_tree_secret;
        assert_eq!(expand(&t.secret.0, &t.label, &t.generation.to_be_bytes(), t.length), t.out.0);
    }
}

/// Labelled content for OpenMLS's own SignWithLabel and VerifyWithLabel.
struct Content<'a>(&'a SignWithLabel, Signature);

impl Signable for &Content<'_> {
    type SignedOutput = Signature;

    fn unsigned_payload(&self) -> Result<Vec<u8>, tls_codec::Error> {
        Ok(self.0.content.0.clone())
    }

    fn label(&self) -> &str {
        &self.0.label
    }
}

struct Verified;

impl VerifiedStruct for Verified {}

impl Verifiable for Content<'_> {
    type VerifiedStruct = Verified;

    fn unsigned_payload(&self) -> Result<Vec<u8>, tls_codec::Error> {
        Ok(self.0.content.0.clone())
    }

    fn signature(&self) -> &Signature {
        &self.1
    }

    fn label(&self) -> &str {
        &self.0.label
    }

    fn verify(self, crypto: &impl OpenMlsCrypto, pk: &OpenMlsSignaturePublicKey) -> Result<Verified, SignatureError> {
        self.verify_no_out(crypto, pk).map(|()| Verified)
    }
}

fn public_key(bytes: &[u8]) -> OpenMlsSignaturePublicKey {
    OpenMlsSignaturePublicKey::new(bytes.to_vec().into(), SignatureScheme::ED25519).unwrap()
}

#[test]
fn sign_with_label() {
    for v in basics().into_iter().map(|v| v.sign_with_label) {
        let signer = Signer::from_seed(v.r#priv.0.as_slice().try_into().unwrap());
        assert_eq!(signer.public().as_slice(), v.r#pub.0);
        let given = Content(&v, Signature::from(v.signature.0.clone()));
        let made = Signable::sign(&given, &signer).unwrap();
        assert_eq!(made, given.1, "Ed25519 is deterministic");
        let verify =
            |content: Content<'_>| with_provider(|p| content.verify(p.crypto(), &public_key(&v.r#pub.0)).is_ok());
        assert!(verify(given));
        let mut broken = v.signature.0.clone();
        broken[40] ^= 1;
        assert!(!verify(Content(&v, broken.into())));
    }
}

#[test]
fn encrypt_with_label() {
    for v in basics().into_iter().map(|v| v.encrypt_with_label) {
        let info = labelled(&v.label, &v.context.0);
        let input = HpkeCiphertext { kem_output: v.kem_output.0.into(), ciphertext: v.ciphertext.0.into() };
        let open =
            |input: &HpkeCiphertext| with_provider(|p| p.crypto().hpke_open(config(), input, &v.r#priv.0, &info, b""));
        assert_eq!(open(&input).unwrap(), v.plaintext.0);
        let again = with_provider(|p| p.crypto().hpke_seal(config(), &v.r#pub.0, &info, b"", &v.plaintext.0)).unwrap();
        assert_eq!(open(&again).unwrap(), v.plaintext.0);
    }
}

#[test]
fn no_two_seals_of_an_operation_share_an_ephemeral_key() {
    let public = [9; 32];
    let outputs: Vec<_> = with_provider(|p| {
        let seal = |text: u8| p.crypto().hpke_seal(config(), &public, b"", b"", &[text]).unwrap().kem_output;
        (0..100).map(seal).collect()
    });
    let distinct: std::collections::BTreeSet<_> = outputs.iter().collect();
    assert_eq!(distinct.len(), 100);
    // OpenMLS seals in several threads: the order of the seals must not show.
    with_provider(|p| {
        let seal = |text: u8| p.crypto().hpke_seal(config(), &public, b"", b"", &[text]).unwrap().ciphertext;
        let (forth, mut back): (Vec<_>, Vec<_>) = ((0..9).map(seal).collect(), (0..9).rev().map(seal).collect());
        back.reverse();
        assert_eq!(forth, back);
    });
}

/// No other suite and none of its parts: no downgrade.
#[test]
fn other_algorithms_are_refused() {
    let other = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
    let kem = HpkeConfig(HpkeKemType::DhKemP256, HpkeKdfType::HkdfSha256, HpkeAeadType::AesGcm128);
    let chacha = HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::ChaCha20Poly1305);
    with_provider(|p| {
        let c = p.crypto();
        assert_eq!((c.supports(SUITE), c.supported_ciphersuites()), (Ok(()), vec![SUITE]));
        assert!(c.supports(other).is_err());
        assert!(c.hash(HashType::Sha2_384, b"").is_err());
        assert!(c.hmac(HashType::Sha2_512, b"", b"").is_err());
        assert!(c.aead_encrypt(AeadType::ChaCha20Poly1305, &[0; 32], b"", &[0; 12], b"").is_err());
        assert!(c.aead_encrypt(AeadType::Aes256Gcm, &[0; 32], b"", &[0; 12], b"").is_err());
        assert!(c.sign(SignatureScheme::ECDSA_SECP256R1_SHA256, b"", &[1; 32]).is_err());
        assert!(c.derive_hpke_keypair(kem, &[1; 32]).is_err());
        assert!(c.derive_hpke_keypair(chacha, &[1; 32]).is_err());
    });
}

#[derive(serde::Deserialize)]
struct WelcomeVector {
    init_priv: Hex,
    signer_pub: Hex,
    key_package: Hex,
    welcome: Hex,
}

/// The GroupSecrets and GroupInfo of the Welcome open and the GroupInfo's signature verifies. The vector's tree is
/// unknown and its confirmation tag cannot be read before joining; the passive clients check both.
#[test]
fn welcome() {
    for v in vectors::<WelcomeVector>("welcome.json").unwrap_or_default() {
        let keys = WelcomeKeys { key_package: v.key_package.0, init: v.init_priv.0, encryption: vec![0; 32] };
        let mut entropy = Seeded::new("welcome");
        let provider = Provider::over(&keys.view(), &mut entropy);
        let MlsMessageBodyIn::Welcome(welcome) = super::messages::message(&v.welcome.0).extract() else { panic!() };
        let processed = ProcessedWelcome::new_from_welcome(&provider, &member_config(), welcome).unwrap();
        let info = processed.unverified_group_info().clone();
        assert!(info.clone().verify(provider.crypto(), &public_key(&[9; 32])).is_err());
        let _: openmls::messages::group_info::GroupInfo =
            info.verify(provider.crypto(), &public_key(&v.signer_pub.0)).unwrap();
    }
}

#[derive(serde::Deserialize)]
struct VectorHeader {
    vlbytes_header: Hex,
    length: usize,
}

/// Variable-size vector headers (RFC 9420 §2.1.2).
#[test]
fn deserialization() {
    for v in vectors::<VectorHeader>("deserialization.json").unwrap_or_default() {
        let header = &v.vlbytes_header.0;
        assert_eq!(tls_codec::vlen::read_length(&mut header.as_slice()).unwrap(), (v.length, header.len()));
        if v.length < 1 << 20 {
            let bytes = [header.clone(), vec![7; v.length]].concat();
            let decoded = <VLBytes as tls_codec::Deserialize>::tls_deserialize_exact(&bytes).unwrap();
            assert_eq!(decoded.as_slice(), vec![7; v.length]);
            assert_eq!(decoded.tls_serialize_detached().unwrap(), bytes);
        }
    }
}
