//! The cryptography of MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 (RFC 9420 §17.1), and of no other suite.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext, HpkeConfig,
    HpkeKdfType, HpkeKemType, HpkeKeyPair, KemOutput, SignatureScheme,
};
use sha2::{Digest, Sha256};
use tls_codec::SecretVLBytes;
use zeroize::{Zeroize, Zeroizing};

use super::order;
use super::seal::{self, SealError};
use super::sign::{Signer, strict_verify};
#[cfg(dmls_mutants)]
use super::stand_in;
use crate::defence;

/// Cryptography with the randomness of one operation.
///
/// OpenMLS wants this part to be `Sync`, and the caller's source is not: one seed is drawn from the source for each
/// operation, and each HPKE seal takes its ephemeral key from `HKDF-Expand(seed, hash of what it seals and for whom)`.
/// OpenMLS seals in several threads at once, so a counter would give different bytes from run to run.
pub(crate) struct Crypto {
    seed: Option<Zeroizing<[u8; 32]>>,
    failed: AtomicBool,
    /// A commit is being made, whose Removes are to stand in the caller's order.
    ordered: bool,
    /// The generation in what was opened first, if that is sender data.
    generation: OnceLock<Option<u32>>,
    /// Chosen when the provider is made: OpenMLS seals in threads of its own.
    #[cfg(dmls_mutants)]
    stand_in: bool,
    /// Uses of keys, if this thread records them.
    #[cfg(dmls_mutants)]
    seals: Option<crate::seals::Record>,
    /// Keys for which seals are spoiled; here and not in the thread, for OpenMLS seals in several.
    #[cfg(test)]
    spoiled: Vec<Vec<u8>>,
}

impl Crypto {
    /// Without a seed everything works except what needs randomness.
    pub(super) fn new(seed: Option<Zeroizing<[u8; 32]>>) -> Self {
        Self {
            seed,
            failed: AtomicBool::new(false),
            ordered: false,
            generation: OnceLock::new(),
            #[cfg(dmls_mutants)]
            stand_in: crate::stand_in::in_use(),
            #[cfg(dmls_mutants)]
            seals: crate::seals::here(),
            #[cfg(test)]
            spoiled: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn spoil(&mut self, keys: Vec<Vec<u8>>) {
        self.spoiled = keys;
    }

    pub(super) fn keep_order(&mut self) {
        self.ordered = true;
    }

    /// Whether randomness was needed and missing.
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The generation under which the message was sealed that was opened with this.
    ///
    /// OpenMLS does not tell it. What it opens first of a PrivateMessage is the `SenderData`: leaf index, generation and
    /// reuse guard, of four bytes each (RFC 9420 §6.3.2).
    pub(super) fn generation(&self) -> Option<u32> {
        self.generation.get().copied().flatten()
    }

    /// 32 secret bytes that no call with other `inputs` gets.
    fn fresh(&self, inputs: [&[u8]; 4]) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
        let missing = || {
            self.failed.store(true, Ordering::Relaxed);
            CryptoError::InsufficientRandomness
        };
        let seed = self.seed.as_ref().ok_or_else(missing)?;
        let mut info = b"DMLS 1.0 fresh".to_vec();
        let mut hash = Sha256::new();
        for input in inputs {
            hash.update((input.len() as u64).to_be_bytes());
            hash.update(input);
        }
        info.extend(hash.finalize());
        let mut out = Zeroizing::new([0; 32]);
        let hkdf = Hkdf::<Sha256>::from_prk(&**seed).map_err(|_| missing())?;
        hkdf.expand(&info, &mut *out).map_err(|_| missing())?;
        Ok(out)
    }
}

/// HPKE, real in every ordinary build.
impl Crypto {
    fn seal(
        &self,
        ikm: Zeroizing<[u8; 32]>,
        recipient: &[u8],
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<seal::Sealed, SealError> {
        #[cfg(dmls_mutants)]
        if self.stand_in {
            return stand_in::seal(&ikm, recipient, info, aad, (b"", b""), plaintext);
        }
        seal::seal(&::hpke::OpModeS::Base, ikm, recipient, info, aad, plaintext)
    }

    fn open(
        &self,
        private: &[u8],
        enc: &[u8],
        ciphertext: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        #[cfg(dmls_mutants)]
        if self.stand_in {
            return stand_in::open(private, enc, ciphertext, info, aad, (b"", b""));
        }
        seal::hpke_open(private, enc, ciphertext, info, aad)
    }

    fn seal_export(
        &self,
        ikm: Zeroizing<[u8; 32]>,
        recipient: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), SealError> {
        #[cfg(dmls_mutants)]
        if self.stand_in {
            return stand_in::seal_export(&ikm, recipient, info, context, length);
        }
        seal::seal_export(ikm, recipient, info, context, length)
    }

    fn open_export(
        &self,
        private: &[u8],
        enc: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        #[cfg(dmls_mutants)]
        if self.stand_in {
            return stand_in::open_export(private, enc, info, context, length);
        }
        seal::open_export(private, enc, info, context, length)
    }

    fn derive_key_pair(&self, ikm: &[u8]) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
        #[cfg(dmls_mutants)]
        if self.stand_in {
            return stand_in::derive_key_pair(ikm);
        }
        seal::derive_key_pair(ikm)
    }
}

fn sha256_only(hash: HashType) -> Result<(), CryptoError> {
    if hash == HashType::Sha2_256 { Ok(()) } else { Err(CryptoError::UnsupportedHashAlgorithm) }
}

fn ed25519_only(scheme: SignatureScheme) -> Result<(), CryptoError> {
    if scheme == SignatureScheme::ED25519 { Ok(()) } else { Err(CryptoError::UnsupportedSignatureScheme) }
}

fn suite_only(config: &HpkeConfig) -> Result<(), CryptoError> {
    match config {
        HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::AesGcm128) => Ok(()),
        _ => Err(CryptoError::UnsupportedCiphersuite),
    }
}

fn aead(alg: AeadType, key: &[u8]) -> Result<Aes128Gcm, CryptoError> {
    if alg != AeadType::Aes128Gcm {
        return Err(CryptoError::UnsupportedAeadAlgorithm);
    }
    Aes128Gcm::new_from_slice(key).map_err(|_| CryptoError::InvalidLength)
}

/// AES-GCM panics on a nonce of another length than 96 bits.
fn nonce(bytes: &[u8]) -> Result<[u8; 12], CryptoError> {
    bytes.try_into().map_err(|_| CryptoError::InvalidLength)
}

/// Copies a digest-sized output and wipes the original.
fn secret(mut bytes: impl AsMut<[u8]>) -> SecretVLBytes {
    let bytes = bytes.as_mut();
    let out = SecretVLBytes::from(&*bytes);
    bytes.zeroize();
    out
}

fn hpke_failure(error: SealError, otherwise: CryptoError) -> CryptoError {
    match error {
        SealError::Entropy(_) => CryptoError::InsufficientRandomness,
        SealError::Key | SealError::Open => otherwise,
    }
}

impl OpenMlsCrypto for Crypto {
    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        if ciphersuite == crate::mls::SUITE { Ok(()) } else { Err(CryptoError::UnsupportedCiphersuite) }
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        vec![crate::mls::SUITE]
    }

    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        sha256_only(hash)?;
        Ok(secret(Hkdf::<Sha256>::extract(Some(salt), ikm).0))
    }

    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        sha256_only(hash)?;
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).map_err(|_| CryptoError::InvalidLength)?;
        Ok(secret(mac.chain_update(message).finalize().into_bytes()))
    }

    fn hkdf_expand(
        &self,
        hash: HashType,
        prk: &[u8],
        info: &[u8],
        okm_len: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        sha256_only(hash)?;
        let hkdf = Hkdf::<Sha256>::from_prk(prk).map_err(|_| CryptoError::HkdfOutputLengthInvalid)?;
        let mut okm = vec![0; okm_len];
        hkdf.expand(info, &mut okm).map_err(|_| CryptoError::HkdfOutputLengthInvalid)?;
        Ok(okm.into())
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        sha256_only(hash)?;
        let place = if self.ordered { order::reference_of_remove(data) } else { None };
        Ok(Sha256::digest(place.as_deref().unwrap_or(data)).to_vec())
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce_bytes: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (aead, nonce) = (aead(alg, key)?, nonce(nonce_bytes)?);
        let sealed = aead.encrypt(&Nonce::from(nonce), Payload { msg: data, aad });
        let sealed = sealed.map_err(|_| CryptoError::CryptoLibraryError)?;
        #[cfg(dmls_mutants)]
        crate::seals::note(self.seals.as_ref(), &[key], &nonce, &sealed);
        Ok(sealed)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce_bytes: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (aead, nonce) = (aead(alg, key)?, nonce(nonce_bytes)?);
        let opened = aead.decrypt(&Nonce::from(nonce), Payload { msg: ct_tag, aad });
        let opened = opened.map_err(|_| CryptoError::AeadDecryptionError)?;
        self.generation.get_or_init(|| match opened.as_slice() {
            [_, _, _, _, generation @ .., _, _, _, _] => generation.try_into().ok().map(u32::from_be_bytes),
            _ => None,
        });
        Ok(opened)
    }

    fn signature_key_gen(&self, alg: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        // Signature keys belong to the device and are made by it; two calls here could only give one key.
        ed25519_only(alg)?;
        Err(CryptoError::UnsupportedSignatureScheme)
    }

    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        ed25519_only(alg)?;
        let key = pk.try_into().map_err(|_| CryptoError::InvalidPublicKey)?;
        let signature = signature.try_into().map_err(|_| CryptoError::InvalidSignature)?;
        #[cfg(dmls_mutants)]
        if self.stand_in {
            return if stand_in::verify(key, data, signature) { Ok(()) } else { Err(CryptoError::InvalidSignature) };
        }
        if strict_verify(key, data, signature) || !defence::on("I1") {
            Ok(())
        } else {
            Err(CryptoError::InvalidSignature)
        }
    }

    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        ed25519_only(alg)?;
        let seed = key.try_into().map_err(|_| CryptoError::InvalidLength)?;
        Ok(Signer::from_seed(seed).sign(data).to_vec())
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        suite_only(&config)?;
        #[cfg(test)]
        let info = if self.spoiled.iter().any(|key| key == pk_r) { b"spoiled" } else { info };
        let ikm = self.fresh([pk_r, info, aad, ptxt])?;
        let sealed = self.seal(ikm, pk_r, info, aad, ptxt);
        let (enc, ciphertext) = sealed.map_err(|error| hpke_failure(error, CryptoError::HpkeEncryptionError))?;
        #[cfg(dmls_mutants)]
        crate::seals::note(self.seals.as_ref(), &[pk_r, info, &enc], b"", &ciphertext);
        Ok(HpkeCiphertext { kem_output: enc.into(), ciphertext: ciphertext.into() })
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk_r: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        suite_only(&config)?;
        let (enc, ciphertext) = (input.kem_output.as_slice(), input.ciphertext.as_slice());
        let mut plaintext = self
            .open(sk_r, enc, ciphertext, info, aad)
            .map_err(|error| hpke_failure(error, CryptoError::HpkeDecryptionError))?;
        Ok(std::mem::take(&mut *plaintext))
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        suite_only(&config)?;
        let ikm = self.fresh([pk_r, info, exporter_context, b"export"])?;
        let (enc, mut exported) = self
            .seal_export(ikm, pk_r, info, exporter_context, exporter_length)
            .map_err(|error| hpke_failure(error, CryptoError::SenderSetupError))?;
        Ok((enc, std::mem::take(&mut *exported).into()))
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        sk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        suite_only(&config)?;
        let mut exported = self
            .open_export(sk_r, enc, info, exporter_context, exporter_length)
            .map_err(|error| hpke_failure(error, CryptoError::ReceiverSetupError))?;
        Ok(std::mem::take(&mut *exported).into())
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        suite_only(&config)?;
        let (mut private, public) = self.derive_key_pair(ikm);
        Ok(HpkeKeyPair { private: std::mem::take(&mut *private).into(), public })
    }
}
