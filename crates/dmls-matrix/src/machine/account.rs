//! This device's MLS key and credential (SPEC §6.8).

use std::sync::Arc;

use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::entropy::Entropy;
use dmls::id::{Device, SignatureKey};
use dmls::journal::{Durable, Journal, Records};
use dmls::package::KeyPackages;
use dmls::suite::Suite;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{CredentialRequest, Machine};
use crate::error::Error;
use crate::table;

const KEY: &[u8] = b"device";
/// A device never changes its MLS key, so it never needs a second generation.
const GENERATION: u32 = 1;

/// The stored form. Secret.
#[derive(Serialize, Deserialize)]
struct AccountRecord {
    device: Device,
    #[serde(with = "serde_bytes")]
    seed: Vec<u8>,
    own: Option<serde_bytes::ByteBuf>,
}

/// What this device has of its identity.
pub(super) struct Account {
    pub(super) device: Device,
    suite: &'static dyn Suite,
    seed: Option<Zeroizing<[u8; 32]>>,
    pub(super) own: Option<Arc<OwnDevice>>,
}

impl Account {
    pub(super) fn load<R: Records>(
        device: Device,
        suite: &'static dyn Suite,
        records: &R,
    ) -> Result<Self, Error<R::Error>> {
        let damaged = || Error::Damaged(table::ACCOUNT.0);
        let stored: Option<AccountRecord> = table::get(records, &[], table::ACCOUNT, KEY)?;
        let Some(AccountRecord { device: stored, seed, own }) = stored else {
            return Ok(Self { device, suite, seed: None, own: None });
        };
        if stored != device {
            return Err(Error::OtherDevice(stored));
        }
        let seed = Zeroizing::new(seed);
        let seed: [u8; 32] = seed.as_slice().try_into().map_err(|_| damaged())?;
        let own = own.map(|record| OwnDevice::from_record_in(suite, &record)).transpose().map_err(|_| damaged())?;
        own.iter().try_for_each(|own| own.load_serial(records))?;
        Ok(Self { device, suite, seed: Some(Zeroizing::new(seed)), own: own.map(Arc::new) })
    }

    fn write(&self, seed: &[u8; 32], own: Option<&OwnDevice>) -> dmls::journal::Write {
        let own = own.map(|own| serde_bytes::ByteBuf::from(own.to_record().to_vec()));
        let record = AccountRecord { device: self.device.clone(), seed: seed.to_vec(), own };
        table::put(table::ACCOUNT, KEY.to_vec(), &record)
    }

    /// Its record, once there is a key.
    #[cfg(dmls_mutants)]
    pub(super) fn record(&self) -> Option<dmls::journal::Write> {
        Some(self.write(self.seed.as_ref()?, self.own.as_deref()))
    }

    fn key(&self) -> Option<SignatureKey> {
        self.seed.as_ref().map(|seed| SigningKey::from_bytes_in(self.suite, seed).public())
    }
}

impl<J: Journal> Machine<J> {
    /// The MLS key and what the device key must sign for it; makes and stores the key at the first call.
    pub fn credential_request(&mut self, entropy: &mut dyn Entropy) -> Result<CredentialRequest, Error<J::Error>> {
        self.recover()?;
        if self.account.seed.is_none() {
            let seed = SigningKey::generate_in(self.account.suite, entropy)?.to_bytes();
            let write = self.account.write(&seed, None);
            Durable::new(vec![write], ()).persist(&mut self.journal).map_err(Error::Store)?;
            self.store()?;
            self.account.seed = Some(seed);
        }
        let mls_key = self.account.key().ok_or(Error::NoCredential)?;
        Ok(CredentialRequest { payload: Credential::payload(&self.account.device, &mls_key, GENERATION), mls_key })
    }

    /// Installs the device key's signature over [`CredentialRequest::payload`]; needed before anything is encrypted.
    pub fn install_credential(&mut self, device_ed25519: [u8; 32], signature: [u8; 64]) -> Result<(), Error<J::Error>> {
        self.recover()?;
        let seed = self.account.seed.as_ref().ok_or(Error::NoCredential)?;
        let (signing, device) = (SigningKey::from_bytes_in(self.account.suite, seed), self.account.device.clone());
        let own = OwnDevice::new(signing, device, device_ed25519, GENERATION, signature);
        let own = own.map_err(|_| Error::BadCredential)?;
        own.load_serial(&self.journal)?;
        let write = self.account.write(seed, Some(&own));
        let mut writes = vec![write];
        self.facts.track(&self.account.device.user, &mut writes);
        Durable::new(writes, ()).persist(&mut self.journal).map_err(Error::Store)?;
        self.store()?;
        self.account.own = Some(Arc::new(own));
        self.packages = KeyPackages::load(&self.journal)?;
        Ok(())
    }

    /// Whether a credential is installed.
    pub fn has_credential(&self) -> bool {
        self.account.own.is_some()
    }

    /// The MLS signature public key, once made.
    pub fn mls_key(&self) -> Option<SignatureKey> {
        self.account.key()
    }

    /// This device.
    pub fn device(&self) -> &Device {
        &self.account.device
    }

    pub(super) fn own(&self) -> Result<Arc<OwnDevice>, Error<J::Error>> {
        self.account.own.clone().ok_or(Error::NoCredential)
    }
}
