//! Cryptography that bends what it is given to seal, sign, hash and tag.

use std::sync::{Arc, Mutex};

use openmls::prelude::*;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::{AeadType, ExporterSecret, HashType, HpkeConfig, KemOutput};
use tls_codec::SecretVLBytes;

use super::info::{self, GroupInfoParts};
use crate::codec::push_vector;
use crate::mls::Provider;
use crate::mls::provider::Signer as OwnSigner;

type HonestCrypto<'a> = <Provider<'a> as OpenMlsProvider>::CryptoProvider;

/// Changes a GroupInfo; twice, for its signature and its ciphertext, and twice the same way.
pub(crate) type EditInfo = Arc<dyn Fn(&mut GroupInfoParts) + Send + Sync>;

/// The provider of an operation, with bent cryptography.
pub(super) struct Bent<'p, 'a> {
    honest: &'p Provider<'a>,
    crypto: BentCrypto<'p, 'a>,
}

impl<'p, 'a> Bent<'p, 'a> {
    /// Spoils what is sealed to one of the keys of `poison` and appends `extra` (each a ProposalOrRef) to a commit.
    pub(super) fn over(honest: &'p Provider<'a>, poison: Vec<Vec<u8>>, extra: Vec<Vec<u8>>) -> Self {
        let crypto = BentCrypto {
            honest: honest.crypto(),
            poison,
            extra,
            sealed: Mutex::default(),
            swap: Mutex::default(),
            claimed: None,
            opened: Mutex::default(),
            info: None,
        };
        Self { honest, crypto }
    }

    /// Claims a generation for every message sealed.
    pub(super) fn claiming(mut self, generation: Option<u32>) -> Self {
        self.crypto.claimed = generation;
        self
    }

    /// Lets `edit` change the GroupInfo in a Welcome.
    pub(super) fn informing(mut self, edit: Option<EditInfo>) -> Self {
        self.crypto.info = edit;
        self
    }

    /// What was opened last.
    pub(super) fn opened(&self) -> Vec<u8> {
        self.crypto.opened.lock().map(|opened| opened.clone()).unwrap_or_default()
    }

    /// The poisoned keys to which something was sealed.
    pub(super) fn spoiled(&self) -> Vec<Vec<u8>> {
        self.crypto.sealed.lock().map(|sealed| sealed.clone()).unwrap_or_default()
    }

    /// `bytes` with the proposals that were signed.
    pub(super) fn bend(&self, bytes: &[u8]) -> Vec<u8> {
        self.crypto.bend(bytes)
    }

    /// Signs what [`Self::bend`] makes of a commit.
    pub(super) fn signer<'b>(&'b self, own: &'b OwnSigner) -> BentSigner<'b, 'p, 'a> {
        BentSigner { own, crypto: &self.crypto }
    }
}

impl<'p, 'a> OpenMlsProvider for Bent<'p, 'a> {
    type CryptoProvider = BentCrypto<'p, 'a>;
    type RandProvider = <Provider<'a> as OpenMlsProvider>::RandProvider;
    type StorageProvider = <Provider<'a> as OpenMlsProvider>::StorageProvider;

    fn storage(&self) -> &Self::StorageProvider {
        self.honest.storage()
    }

    fn crypto(&self) -> &Self::CryptoProvider {
        &self.crypto
    }

    fn rand(&self) -> &Self::RandProvider {
        self.honest.rand()
    }
}

pub(super) struct BentCrypto<'p, 'a> {
    honest: &'p HonestCrypto<'a>,
    poison: Vec<Vec<u8>>,
    extra: Vec<Vec<u8>>,
    sealed: Mutex<Vec<Vec<u8>>>,
    /// The commit's proposals as OpenMLS wrote them, and what goes out instead.
    swap: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
    claimed: Option<u32>,
    /// The last plaintext that an AEAD gave.
    opened: Mutex<Vec<u8>>,
    info: Option<EditInfo>,
}

impl BentCrypto<'_, '_> {
    fn bend(&self, bytes: &[u8]) -> Vec<u8> {
        let swap = self.swap.lock().ok().and_then(|swap| swap.clone());
        let Some((old, new)) = swap else { return bytes.to_vec() };
        let Some(at) = bytes.windows(old.len()).position(|window| window == old) else { return bytes.to_vec() };
        [&bytes[..at], &new, &bytes[at + old.len()..]].concat()
    }

    /// Sender data says another generation, a GroupInfo something else; all else stays.
    fn bend_plaintext(&self, plaintext: &[u8]) -> Vec<u8> {
        let mut bent = plaintext.to_vec();
        // `SenderData` (RFC 9420 §6.3.2): leaf, generation, reuse guard. Contents are padded, and longer.
        if let (Some(generation), 12) = (self.claimed, bent.len()) {
            bent[4..8].copy_from_slice(&generation.to_be_bytes());
        }
        if let (Some(edit), Some(mut parts)) = (&self.info, GroupInfoParts::of_signed(plaintext)) {
            let signature = plaintext[parts.tbs().len()..].to_vec();
            edit(&mut parts);
            bent = [parts.tbs(), signature].concat();
        }
        bent
    }

    /// Learns the proposals from the content that is about to be signed.
    fn learn(&self, content: &[u8]) {
        let Some(proposals) = proposals_of(content) else { return };
        let (mut old, mut new) = (Vec::new(), Vec::new());
        push_vector(&mut old, &proposals);
        push_vector(&mut new, &[proposals, self.extra.concat()].concat());
        if let Ok(mut swap) = self.swap.lock() {
            *swap = Some((old, new));
        }
    }
}

/// The proposals of a commit by a member, from its FramedContentTBS (RFC 9420 §6.1).
fn proposals_of(content: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = content.split_at_checked(4)?; // version, wire format
    let (_, rest) = VLBytes::tls_deserialize_bytes(rest).ok()?; // group id
    let (_, rest) = rest.split_at_checked(8 + 1 + 4)?; // epoch, sender
    let (_, rest) = VLBytes::tls_deserialize_bytes(rest).ok()?; // authenticated data
    let (&kind, rest) = rest.split_first()?;
    let (proposals, _) = VLBytes::tls_deserialize_bytes(rest).ok()?;
    (kind == 3).then(|| proposals.into())
}

/// Signs bent content.
pub(super) struct BentSigner<'b, 'p, 'a> {
    own: &'b OwnSigner,
    crypto: &'b BentCrypto<'p, 'a>,
}

impl Signer for BentSigner<'_, '_, '_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        let refuse = |_| SignerError::SigningError;
        let (label, rest) = VLBytes::tls_deserialize_bytes(payload).map_err(refuse)?;
        if let (Some(edit), info::LABEL) = (&self.crypto.info, label.as_slice()) {
            let (tbs, _) = VLBytes::tls_deserialize_bytes(rest).map_err(refuse)?;
            let (mut parts, _) = GroupInfoParts::tls_deserialize_bytes(tbs.as_slice()).map_err(refuse)?;
            edit(&mut parts);
            return Signer::sign(self.own, &parts.to_be_signed());
        }
        if self.crypto.extra.is_empty() || label.as_slice() != b"MLS 1.0 FramedContentTBS" {
            return Signer::sign(self.own, payload);
        }
        let (content, _) = VLBytes::tls_deserialize_bytes(rest).map_err(refuse)?;
        self.crypto.learn(content.as_slice());
        let mut bent = Vec::new();
        push_vector(&mut bent, label.as_slice());
        push_vector(&mut bent, &self.crypto.bend(content.as_slice()));
        Signer::sign(self.own, &bent)
    }

    fn signature_scheme(&self) -> SignatureScheme {
        self.own.signature_scheme()
    }
}

impl OpenMlsCrypto for BentCrypto<'_, '_> {
    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        self.honest.supports(ciphersuite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.honest.supported_ciphersuites()
    }

    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.honest.hkdf_extract(hash, salt, ikm)
    }

    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.honest.hmac(hash, key, &self.bend(message))
    }

    fn hkdf_expand(&self, hash: HashType, prk: &[u8], info: &[u8], len: usize) -> Result<SecretVLBytes, CryptoError> {
        self.honest.hkdf_expand(hash, prk, info, len)
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.honest.hash(hash, &self.bend(data))
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.honest.aead_encrypt(alg, key, &self.bend_plaintext(data), nonce, aad)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let plaintext = self.honest.aead_decrypt(alg, key, ct_tag, nonce, aad)?;
        if let Ok(mut opened) = self.opened.lock() {
            opened.clone_from(&plaintext);
        }
        Ok(plaintext)
    }

    fn signature_key_gen(&self, alg: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        self.honest.signature_key_gen(alg)
    }

    fn verify_signature(&self, alg: SignatureScheme, data: &[u8], pk: &[u8], sig: &[u8]) -> Result<(), CryptoError> {
        self.honest.verify_signature(alg, data, pk, sig)
    }

    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.honest.sign(alg, data, key)
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let mut sealed = self.honest.hpke_seal(config, pk_r, info, aad, ptxt)?;
        if self.poison.iter().any(|key| key == pk_r) {
            let mut spoiled: Vec<u8> = sealed.ciphertext.into();
            spoiled.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            sealed.ciphertext = spoiled.into();
            if let Ok(mut keys) = self.sealed.lock() {
                keys.push(pk_r.to_vec());
            }
        }
        Ok(sealed)
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk_r: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.honest.hpke_open(config, input, sk_r, info, aad)
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        self.honest.hpke_setup_sender_and_export(config, pk_r, info, context, length)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        sk_r: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        self.honest.hpke_setup_receiver_and_export(config, enc, sk_r, info, context, length)
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        self.honest.derive_hpke_keypair(config, ikm)
    }
}
