//! What the MLS library stands on: cryptography, the caller's randomness and one epoch's values.
//!
//! A [`Provider`] works on a private copy of a [`View`]. What OpenMLS writes or deletes shows only in
//! [`Provider::into_view`]; the view it was made over stays as it is, so a retained parent survives its children.

mod crypto;
mod encoding;
pub(crate) mod order;
mod psk;
mod random;
mod seal;
pub(crate) mod sign;
#[cfg(dmls_mutants)]
mod stand_in;
mod storage;
mod view;

#[cfg(test)]
pub(crate) mod tests;

use openmls::prelude::MlsGroup;
use openmls_traits::OpenMlsProvider;

use crate::entropy::Entropy;
use crate::secret::Secret;
use crypto::Crypto;
use random::Random;
use storage::Storage;

pub(crate) use seal::{hpke_open, hpke_psk_open, hpke_psk_seal, hpke_seal};
pub(crate) use sign::Signer;
pub(crate) use view::View;

/// OpenMLS's provider over a private copy of a view.
pub(crate) struct Provider<'a> {
    crypto: Crypto,
    random: Random<'a>,
    storage: Storage,
    origin: view::ReadGroup,
}

impl<'a> Provider<'a> {
    /// A provider that starts from what `view` holds and draws on `entropy`.
    pub(crate) fn over(view: &View, entropy: &'a mut dyn Entropy) -> Self {
        let random = Random::new(entropy);
        Self {
            crypto: Crypto::new(random.seed()),
            random,
            storage: Storage::over(view.clone()),
            origin: view.read().clone(),
        }
    }

    /// Answers every external PSK id of ours (it starts with `dmls1`) with `secret`; no view ever holds a PSK.
    pub(crate) fn with_psk(mut self, secret: Secret) -> Self {
        self.storage.answer_psk(psk::PskSource::Ours(secret));
        self
    }

    /// Answers external PSK ids from a list, for ids that are not ours.
    #[cfg(any(test, dmls_mutants))]
    pub(crate) fn with_external_psks(mut self, psks: Vec<(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)>) -> Self {
        self.storage.answer_psk(psk::PskSource::Listed(psks));
        self
    }

    /// What is sealed to these keys will not open.
    #[cfg(test)]
    pub(super) fn spoiling(mut self, keys: Vec<Vec<u8>>) -> Self {
        self.crypto.spoil(keys);
        self
    }

    /// Makes commits whose Remove proposals stand where [`order::place`] put them.
    pub(crate) fn in_order(mut self) -> Self {
        self.crypto.keep_order();
        self
    }

    /// Takes the group's exporter out of the storage, once all that may be derived from it was.
    pub(crate) fn forget_exporter(&self, group: &openmls::prelude::GroupId) -> Result<(), storage::StorageError> {
        self.storage.forget_exporter(group)
    }

    /// The group that was last read from the view, if nothing has used it since.
    pub(crate) fn take_group(&self) -> Option<MlsGroup> {
        self.origin.take()
    }

    /// Gives a group back that was looked at and not changed.
    pub(crate) fn give_back(&self, group: MlsGroup) {
        self.origin.put(group);
    }

    /// Turns a group's secrets so that they seal for another leaf.
    #[cfg(dmls_mutants)]
    pub(crate) fn become_leaf(&self, group: &openmls::prelude::GroupId, leaf: crate::id::LeafIndex) -> Option<()> {
        self.storage.become_leaf(group, leaf)
    }

    /// What the storage holds now.
    pub(crate) fn into_view(self) -> View {
        self.storage.into_view()
    }

    /// What the storage holds now, which is what `group` is.
    pub(crate) fn into_view_of(self, group: MlsGroup) -> View {
        let view = self.storage.into_view();
        view.read().put(group);
        view
    }

    /// The generation under which the message was sealed that was opened with this.
    pub(crate) fn generation(&self) -> Option<u32> {
        self.crypto.generation()
    }

    /// Whether the caller's source failed when it was needed: whatever was made must be thrown away.
    pub(crate) fn entropy_failed(&self) -> bool {
        self.random.failed() || self.crypto.failed()
    }
}

impl<'a> OpenMlsProvider for Provider<'a> {
    type CryptoProvider = Crypto;
    type RandProvider = Random<'a>;
    type StorageProvider = Storage;

    fn storage(&self) -> &Self::StorageProvider {
        &self.storage
    }

    fn crypto(&self) -> &Self::CryptoProvider {
        &self.crypto
    }

    fn rand(&self) -> &Self::RandProvider {
        &self.random
    }
}
