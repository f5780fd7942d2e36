//! The machine: everything one device does in all its rooms, without IO.

use dmls::effect::EpochInfo;
use dmls::entropy::Entropy;
use dmls::id::{Device, SignatureKey, Timestamp};
use dmls::journal::Journal;
use serde_json::Value;

use crate::error::Error;
use crate::facts::UserDevices;
use crate::id::{MessageId, RequestId, RoomId};
use crate::request::{Failure, OutgoingRequest, Response};
use crate::sync::SyncInput;
use crate::view::{MemberRow, MessageRow, Report, RoomRow};

/// What the device's own Ed25519 key is to sign, so that it vouches for the MLS key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRequest {
    /// The bytes to be signed by the device key.
    pub payload: Vec<u8>,
    /// The MLS signature public key, to be published in the signed device keys.
    pub mls_key: SignatureKey,
}

/// Times and limits, with the defaults of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// How long a device of D waits for a Welcome before it joins by external commit, in milliseconds.
    pub external_join_after: u64,
    /// How many one-time key packages are kept on the server.
    pub key_packages: u64,
    /// Below how many they are refilled.
    pub refill_below: u64,
    /// Bytes of MLSMessage that fit into one room event.
    pub event_limit: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { external_join_after: 20_000, key_packages: 50, refill_below: 25, event_limit: 47_000 }
    }
}

/// Where raw room events were got from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The timeline, oldest first.
    Timeline,
    /// Paging backwards, newest first.
    Backwards,
}

/// One device's DMLS in all its rooms.
///
/// **The loop of a host**: take in a sync with [`Machine::receive_sync`]; then, until it is empty, carry out every
/// request of [`Machine::outgoing_requests`] and hand each answer to [`Machine::mark_request_as_sent`] or
/// [`Machine::mark_request_as_failed`]; sync again, at the latest when [`Machine::next_wake`] says so.
///
/// Every call is one or more transactions of the journal; a request is handed out only after everything it depends on
/// is stored. After a store error nothing of the affected room stays in memory.
pub struct Machine<J: Journal> {
    journal: J,
}

#[allow(unused_variables, clippy::todo)]
impl<J: Journal> Machine<J> {
    /// Opens the machine of `device` on its journal, with default [`Parameters`].
    pub fn open(journal: J, device: Device) -> Result<Self, Error<J::Error>> {
        Self::open_with(journal, device, Parameters::default())
    }

    /// Opens the machine with other parameters.
    pub fn open_with(journal: J, device: Device, parameters: Parameters) -> Result<Self, Error<J::Error>> {
        todo!()
    }

    /// Closes the machine and gives the journal back.
    pub fn into_journal(self) -> J {
        self.journal
    }

    /// The journal, for the host's own tables.
    pub fn journal_mut(&mut self) -> &mut J {
        &mut self.journal
    }

    /// This device.
    pub fn device(&self) -> &Device {
        todo!()
    }

    // --- account ---

    /// The MLS key and what the device key must sign for it; makes and stores the key at the first call.
    pub fn credential_request(&mut self, entropy: &mut dyn Entropy) -> Result<CredentialRequest, Error<J::Error>> {
        todo!()
    }

    /// Installs the device key's signature over [`CredentialRequest::payload`]; needed before anything is encrypted.
    pub fn install_credential(&mut self, device_ed25519: [u8; 32], signature: [u8; 64]) -> Result<(), Error<J::Error>> {
        todo!()
    }

    /// Whether a credential is installed.
    pub fn has_credential(&self) -> bool {
        todo!()
    }

    /// The MLS signature public key, once made.
    pub fn mls_key(&self) -> Option<SignatureKey> {
        todo!()
    }

    // --- in ---

    /// Takes in one sync answer and stores its position last; replaying it changes nothing.
    ///
    /// Bad rooms, events and to-device messages are reported, never an error; only the store can fail this call.
    pub fn receive_sync(
        &mut self,
        sync: SyncInput,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        todo!()
    }

    /// The position of the last sync that was taken in whole.
    pub fn sync_position(&self) -> Option<&str> {
        todo!()
    }

    /// Takes in raw room events from elsewhere.
    pub fn receive_room_events(
        &mut self,
        room: &RoomId,
        events: &[Value],
        source: Source,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        todo!()
    }

    /// Takes in current state events of a room.
    pub fn receive_room_state(
        &mut self,
        room: &RoomId,
        events: &[Value],
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        todo!()
    }

    /// Takes in the verified devices of one user: the newest answer of that user's server.
    pub fn receive_device_facts(
        &mut self,
        facts: UserDevices,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        todo!()
    }

    /// Marks the devices of users as out of date, as if a sync had said so.
    pub fn mark_devices_changed(&mut self, users: &[String]) -> Result<(), Error<J::Error>> {
        todo!()
    }

    // --- out ---

    /// Does what is due in every room and lists what is to be asked of the homeserver now.
    ///
    /// A request is listed again until it is marked; within a room, ordered requests come one at a time. Call it again
    /// after marking, until it gives nothing.
    pub fn outgoing_requests(
        &mut self,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<OutgoingRequest>, Error<J::Error>> {
        todo!()
    }

    /// Takes in the answer to a request; an unknown id is ignored.
    pub fn mark_request_as_sent(
        &mut self,
        id: &RequestId,
        response: Response,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        todo!()
    }

    /// Takes in that a request was refused or could not be sent; it comes again later, or is given up for good.
    pub fn mark_request_as_failed(
        &mut self,
        id: &RequestId,
        failure: Failure,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        todo!()
    }

    /// When [`Machine::outgoing_requests`] should be called again although nothing comes in.
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        todo!()
    }

    /// Whether nothing is to be sent now and nothing comes due within `horizon_ms`.
    ///
    /// Call it after [`Machine::outgoing_requests`] gave nothing.
    pub fn idle(&self, now: Timestamp, horizon_ms: u64) -> bool {
        todo!()
    }

    // --- rooms ---

    /// State events for `POST /createRoom` (`initial_state`).
    pub fn initial_state() -> Vec<Value> {
        todo!()
    }

    /// This user created the room: makes its genesis epoch. Calling it again changes nothing.
    pub fn room_created(
        &mut self,
        room: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Error<J::Error>> {
        todo!()
    }

    /// Keeps a message durably, to be sent as soon as it may be; returns at once.
    pub fn send(
        &mut self,
        room: &RoomId,
        event_type: &str,
        content: Value,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<MessageId, Error<J::Error>> {
        todo!()
    }

    /// Asks for a rekey: a commit with a fresh leaf as soon as this device may commit.
    pub fn update_now(&mut self, room: &RoomId, now: Timestamp) -> Result<(), Error<J::Error>> {
        todo!()
    }

    // --- reading ---

    /// All known rooms.
    pub fn rooms(&mut self) -> Result<Vec<RoomRow>, Error<J::Error>> {
        todo!()
    }

    /// All messages of a room, oldest first.
    pub fn messages(&mut self, room: &RoomId) -> Result<Vec<MessageRow>, Error<J::Error>> {
        todo!()
    }

    /// One of this device's own messages.
    pub fn own_message(&mut self, room: &RoomId, id: &MessageId) -> Result<Option<MessageRow>, Error<J::Error>> {
        todo!()
    }

    /// The devices of all joined users and all leaves of the canonical head.
    pub fn members(&mut self, room: &RoomId) -> Result<Vec<MemberRow>, Error<J::Error>> {
        todo!()
    }

    /// All known epochs of a room, parents before children.
    pub fn log(&mut self, room: &RoomId) -> Result<Vec<EpochInfo>, Error<J::Error>> {
        todo!()
    }
}
