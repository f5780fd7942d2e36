//! OpenMLS's storage interface over one view.

use std::cell::RefCell;

use openmls_traits::storage::{CURRENT_VERSION as V, StorageProvider, traits as t};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::encoding::{bytes, decode, encode, timeless};
use super::psk::{self, PskSource};
use super::view::View;

/// A storage operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StorageError {
    /// OpenMLS handed over a value that CBOR cannot express.
    #[error("a value cannot be encoded")]
    Encode,
    /// A stored value does not have the shape that OpenMLS expects.
    #[error("a stored value cannot be decoded")]
    Decode,
    /// PSKs are given to a provider, never stored.
    #[error("PSKs are not stored")]
    PskNotKept,
}

/// What kind of value a key of a view names: its first byte. The numbers are part of the stored format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Slot {
    GroupConfig = 1,
    OwnLeafNodes = 2,
    Proposals = 3,
    Tree = 4,
    InterimTranscriptHash = 5,
    Context = 6,
    ConfirmationTag = 7,
    GroupState = 8,
    MessageSecrets = 9,
    ResumptionPsks = 10,
    OwnLeafIndex = 11,
    EpochSecrets = 12,
    ExportTree = 13,
    EpochKeyPairs = 14,
    /// Key pairs of pending own leaves, by public key.
    EncryptionKeyPair = 15,
    SignatureKeyPair = 32,
    KeyPackage = 33,
}

impl Slot {
    /// Whether values under this first byte belong to the device and not to a group.
    pub(super) fn of_device(first: u8) -> bool {
        first >= Self::SignatureKeyPair as u8
    }
}

/// The overlay: a view that this operation alone writes to.
pub(crate) struct Storage {
    view: RefCell<View>,
    psks: PskSource,
}

impl Storage {
    pub(super) fn over(view: View) -> Self {
        Self { view: RefCell::new(view), psks: PskSource::Nothing }
    }

    pub(super) fn answer_psk(&mut self, psks: PskSource) {
        self.psks = psks;
    }

    pub(super) fn into_view(self) -> View {
        self.view.into_inner()
    }

    /// Deletes the export tree. What is left of it after an export would be of no use, and in no fixed order.
    pub(super) fn forget_exporter(&self, group_id: &impl Serialize) -> Result<(), StorageError> {
        self.delete(Slot::ExportTree, group_id)
    }

    /// Turns a group's secrets so that they seal for another leaf.
    #[cfg(dmls_mutants)]
    pub(super) fn become_leaf(&self, group_id: &impl Serialize, leaf: crate::id::LeafIndex) -> Option<()> {
        let key = key(Slot::MessageSecrets, group_id).ok()?;
        let turned = crate::mls::bent::secrets_of(self.view.borrow().get(&key)?, leaf)?;
        self.view.borrow_mut().put(&key, turned);
        self.put(Slot::OwnLeafIndex, group_id, &leaf).ok()
    }

    fn put(&self, slot: Slot, parts: &impl Serialize, value: &(impl Serialize + ?Sized)) -> Result<(), StorageError> {
        let (key, value) = (key(slot, parts)?, encode(value)?);
        self.view.borrow_mut().put(&key, value);
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, slot: Slot, parts: &impl Serialize) -> Result<Option<T>, StorageError> {
        self.view.borrow().get(&key(slot, parts)?).map(decode).transpose()
    }

    fn delete(&self, slot: Slot, parts: &impl Serialize) -> Result<(), StorageError> {
        self.view.borrow_mut().delete(&key(slot, parts)?);
        Ok(())
    }

    fn queue(&self, group_id: &impl Serialize) -> Result<Queue, StorageError> {
        Ok(self.get(Slot::Proposals, group_id)?.unwrap_or_default())
    }

    fn queue_without(&self, group_id: &impl Serialize, reference: &impl Serialize) -> Result<Queue, StorageError> {
        let (mut queue, reference) = (self.queue(group_id)?, bytes(reference)?);
        queue.retain(|(queued, _)| *queued != reference);
        Ok(queue)
    }
}

/// References and proposals in the order in which they were queued.
type Queue = Vec<(ByteBuf, ByteBuf)>;

/// The slot's byte, then the key's parts in CBOR.
fn key(slot: Slot, parts: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, StorageError> {
    let mut key = encode(parts)?;
    key.insert(0, slot as u8);
    Ok(key)
}

impl StorageProvider<V> for Storage {
    type Error = StorageError;

    fn write_mls_join_config<G: t::GroupId<V>, T: t::MlsGroupJoinConfig<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::GroupConfig, group_id, value)
    }

    fn mls_group_join_config<G: t::GroupId<V>, T: t::MlsGroupJoinConfig<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::GroupConfig, group_id)
    }

    fn delete_group_config<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::GroupConfig, group_id)
    }

    fn write_tree<G: t::GroupId<V>, T: t::TreeSync<V>>(&self, group_id: &G, value: &T) -> Result<(), StorageError> {
        self.put(Slot::Tree, group_id, value)
    }

    fn tree<G: t::GroupId<V>, T: t::TreeSync<V>>(&self, group_id: &G) -> Result<Option<T>, StorageError> {
        self.get(Slot::Tree, group_id)
    }

    fn delete_tree<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::Tree, group_id)
    }

    fn write_interim_transcript_hash<G: t::GroupId<V>, T: t::InterimTranscriptHash<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::InterimTranscriptHash, group_id, value)
    }

    fn interim_transcript_hash<G: t::GroupId<V>, T: t::InterimTranscriptHash<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::InterimTranscriptHash, group_id)
    }

    fn delete_interim_transcript_hash<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::InterimTranscriptHash, group_id)
    }

    fn write_context<G: t::GroupId<V>, T: t::GroupContext<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::Context, group_id, value)
    }

    fn group_context<G: t::GroupId<V>, T: t::GroupContext<V>>(&self, group_id: &G) -> Result<Option<T>, StorageError> {
        self.get(Slot::Context, group_id)
    }

    fn delete_context<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::Context, group_id)
    }

    fn write_confirmation_tag<G: t::GroupId<V>, T: t::ConfirmationTag<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::ConfirmationTag, group_id, value)
    }

    fn confirmation_tag<G: t::GroupId<V>, T: t::ConfirmationTag<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::ConfirmationTag, group_id)
    }

    fn delete_confirmation_tag<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::ConfirmationTag, group_id)
    }

    fn write_group_state<T: t::GroupState<V>, G: t::GroupId<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::GroupState, group_id, value)
    }

    fn group_state<T: t::GroupState<V>, G: t::GroupId<V>>(&self, group_id: &G) -> Result<Option<T>, StorageError> {
        self.get(Slot::GroupState, group_id)
    }

    fn delete_group_state<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::GroupState, group_id)
    }

    fn write_message_secrets<G: t::GroupId<V>, T: t::MessageSecrets<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        let key = key(Slot::MessageSecrets, group_id)?;
        self.view.borrow_mut().put(&key, timeless(encode(value)?));
        Ok(())
    }

    fn message_secrets<G: t::GroupId<V>, T: t::MessageSecrets<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::MessageSecrets, group_id)
    }

    fn delete_message_secrets<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::MessageSecrets, group_id)
    }

    fn write_resumption_psk_store<G: t::GroupId<V>, T: t::ResumptionPskStore<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::ResumptionPsks, group_id, value)
    }

    fn resumption_psk_store<G: t::GroupId<V>, T: t::ResumptionPskStore<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::ResumptionPsks, group_id)
    }

    fn delete_all_resumption_psk_secrets<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::ResumptionPsks, group_id)
    }

    fn write_own_leaf_index<G: t::GroupId<V>, T: t::LeafNodeIndex<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::OwnLeafIndex, group_id, value)
    }

    fn own_leaf_index<G: t::GroupId<V>, T: t::LeafNodeIndex<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::OwnLeafIndex, group_id)
    }

    fn delete_own_leaf_index<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::OwnLeafIndex, group_id)
    }

    fn write_group_epoch_secrets<G: t::GroupId<V>, T: t::GroupEpochSecrets<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::EpochSecrets, group_id, value)
    }

    fn group_epoch_secrets<G: t::GroupId<V>, T: t::GroupEpochSecrets<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::EpochSecrets, group_id)
    }

    fn delete_group_epoch_secrets<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::EpochSecrets, group_id)
    }

    fn write_application_export_tree<G: t::GroupId<V>, T: t::ApplicationExportTree<V>>(
        &self,
        group_id: &G,
        value: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::ExportTree, group_id, value)
    }

    fn application_export_tree<G: t::GroupId<V>, T: t::ApplicationExportTree<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::ExportTree, group_id)
    }

    fn delete_application_export_tree<G: t::GroupId<V>, T: t::ApplicationExportTree<V>>(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete(Slot::ExportTree, group_id)
    }

    fn append_own_leaf_node<G: t::GroupId<V>, T: t::LeafNode<V>>(
        &self,
        group_id: &G,
        leaf_node: &T,
    ) -> Result<(), StorageError> {
        let mut nodes: Vec<ByteBuf> = self.get(Slot::OwnLeafNodes, group_id)?.unwrap_or_default();
        nodes.push(bytes(leaf_node)?);
        self.put(Slot::OwnLeafNodes, group_id, &nodes)
    }

    fn own_leaf_nodes<G: t::GroupId<V>, T: t::LeafNode<V>>(&self, group_id: &G) -> Result<Vec<T>, StorageError> {
        let nodes: Vec<ByteBuf> = self.get(Slot::OwnLeafNodes, group_id)?.unwrap_or_default();
        nodes.iter().map(|node| decode(node)).collect()
    }

    fn delete_own_leaf_nodes<G: t::GroupId<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::OwnLeafNodes, group_id)
    }

    fn queue_proposal<G: t::GroupId<V>, R: t::ProposalRef<V>, T: t::QueuedProposal<V>>(
        &self,
        group_id: &G,
        proposal_ref: &R,
        proposal: &T,
    ) -> Result<(), StorageError> {
        let mut queue = self.queue_without(group_id, proposal_ref)?;
        queue.push((bytes(proposal_ref)?, bytes(proposal)?));
        self.put(Slot::Proposals, group_id, &queue)
    }

    fn queued_proposal_refs<G: t::GroupId<V>, R: t::ProposalRef<V>>(
        &self,
        group_id: &G,
    ) -> Result<Vec<R>, StorageError> {
        self.queue(group_id)?.iter().map(|(reference, _)| decode(reference)).collect()
    }

    fn queued_proposals<G: t::GroupId<V>, R: t::ProposalRef<V>, T: t::QueuedProposal<V>>(
        &self,
        group_id: &G,
    ) -> Result<Vec<(R, T)>, StorageError> {
        let queue = self.queue(group_id)?;
        queue.iter().map(|(reference, proposal)| Ok((decode(reference)?, decode(proposal)?))).collect()
    }

    fn remove_proposal<G: t::GroupId<V>, R: t::ProposalRef<V>>(
        &self,
        group_id: &G,
        proposal_ref: &R,
    ) -> Result<(), StorageError> {
        let queue = self.queue_without(group_id, proposal_ref)?;
        self.put(Slot::Proposals, group_id, &queue)
    }

    fn clear_proposal_queue<G: t::GroupId<V>, R: t::ProposalRef<V>>(&self, group_id: &G) -> Result<(), StorageError> {
        self.delete(Slot::Proposals, group_id)
    }

    fn write_signature_key_pair<K: t::SignaturePublicKey<V>, T: t::SignatureKeyPair<V>>(
        &self,
        public_key: &K,
        pair: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::SignatureKeyPair, public_key, pair)
    }

    fn signature_key_pair<K: t::SignaturePublicKey<V>, T: t::SignatureKeyPair<V>>(
        &self,
        public_key: &K,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::SignatureKeyPair, public_key)
    }

    fn delete_signature_key_pair<K: t::SignaturePublicKey<V>>(&self, public_key: &K) -> Result<(), StorageError> {
        self.delete(Slot::SignatureKeyPair, public_key)
    }

    fn write_encryption_key_pair<K: t::EncryptionKey<V>, T: t::HpkeKeyPair<V>>(
        &self,
        public_key: &K,
        pair: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::EncryptionKeyPair, public_key, pair)
    }

    fn encryption_key_pair<T: t::HpkeKeyPair<V>, K: t::EncryptionKey<V>>(
        &self,
        public_key: &K,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::EncryptionKeyPair, public_key)
    }

    fn delete_encryption_key_pair<K: t::EncryptionKey<V>>(&self, public_key: &K) -> Result<(), StorageError> {
        self.delete(Slot::EncryptionKeyPair, public_key)
    }

    fn write_encryption_epoch_key_pairs<G: t::GroupId<V>, E: t::EpochKey<V>, T: t::HpkeKeyPair<V>>(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
        key_pairs: &[T],
    ) -> Result<(), StorageError> {
        self.put(Slot::EpochKeyPairs, &(group_id, epoch, leaf_index), key_pairs)
    }

    fn encryption_epoch_key_pairs<G: t::GroupId<V>, E: t::EpochKey<V>, T: t::HpkeKeyPair<V>>(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<Vec<T>, StorageError> {
        Ok(self.get(Slot::EpochKeyPairs, &(group_id, epoch, leaf_index))?.unwrap_or_default())
    }

    fn delete_encryption_epoch_key_pairs<G: t::GroupId<V>, E: t::EpochKey<V>>(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<(), StorageError> {
        self.delete(Slot::EpochKeyPairs, &(group_id, epoch, leaf_index))
    }

    fn write_key_package<K: t::HashReference<V>, T: t::KeyPackage<V>>(
        &self,
        hash_ref: &K,
        key_package: &T,
    ) -> Result<(), StorageError> {
        self.put(Slot::KeyPackage, hash_ref, key_package)
    }

    fn key_package<K: t::HashReference<V>, T: t::KeyPackage<V>>(
        &self,
        hash_ref: &K,
    ) -> Result<Option<T>, StorageError> {
        self.get(Slot::KeyPackage, hash_ref)
    }

    fn delete_key_package<K: t::HashReference<V>>(&self, hash_ref: &K) -> Result<(), StorageError> {
        self.delete(Slot::KeyPackage, hash_ref)
    }

    /// Refused: a PSK is answered from the provider, so that no view can ever hold one.
    fn write_psk<K: t::PskId<V>, T: t::PskBundle<V>>(&self, _psk_id: &K, _psk: &T) -> Result<(), StorageError> {
        Err(StorageError::PskNotKept)
    }

    fn psk<T: t::PskBundle<V>, K: t::PskId<V>>(&self, psk_id: &K) -> Result<Option<T>, StorageError> {
        psk::bundle(&self.psks, psk_id)
    }

    fn delete_psk<K: t::PskId<V>>(&self, _psk_id: &K) -> Result<(), StorageError> {
        Ok(())
    }
}
