//! Messages with anything in them, under anybody's name.

use super::State;
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::id::{Device, LeafIndex, Sequence};
use crate::mls::bend::{self, BentMessage};
use crate::wire::MessageData;

/// An application message in the making. Untouched it is the next that an honest member would send.
pub struct Message {
    state: State,
    data: MessageData,
    authenticated_data: Option<Vec<u8>>,
    plaintext: Vec<u8>,
    skip: u32,
    generation: Option<u32>,
    leaf: LeafIndex,
    signature: Option<Vec<u8>>,
}

impl Message {
    /// A message of one's own in the epoch of `state`.
    pub fn of(state: &State, plaintext: &[u8]) -> Self {
        Self {
            data: MessageData::new(state.id(), Sequence(state.sent), [state.id()].iter(), None),
            authenticated_data: None,
            plaintext: plaintext.to_vec(),
            skip: 0,
            generation: None,
            leaf: state.own_leaf,
            signature: None,
            state: state.clone(),
        }
    }

    /// Another member's message, with its signature, under its sender's next generation. `state` must not have opened it.
    pub fn overheard(state: &State, bytes: &[u8]) -> Result<Self, GroupError> {
        let mut state = state.clone();
        let heard = bend::overhear(&state.epoch, &mut state.ratchets, bytes);
        let heard = heard.ok_or(GroupError::Refused(Reason::Forged))?;
        Ok(Self {
            data: MessageData::parse(&heard.authenticated_data).map_err(GroupError::GroupInfo)?,
            authenticated_data: None,
            plaintext: heard.plaintext,
            skip: 0,
            generation: None,
            leaf: LeafIndex(heard.leaf),
            signature: Some(heard.signature),
            state,
        })
    }

    /// Changes what is authenticated: epoch, sequence, heads, what was left.
    pub fn edit(mut self, edit: impl FnOnce(&mut MessageData)) -> Self {
        edit(&mut self.data);
        self
    }

    /// Authenticates these bytes in place of the struct of SPEC §2.9.
    pub fn authenticated_data(mut self, bytes: &[u8]) -> Self {
        self.authenticated_data = Some(bytes.to_vec());
        self
    }

    /// Says something else; a signature that was overheard does not cover it.
    pub fn content(mut self, plaintext: &[u8]) -> Self {
        self.plaintext = plaintext.to_vec();
        self
    }

    /// Lets `count` generations pass unused.
    pub fn skip(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// Claims another generation than it was sealed with.
    pub fn generation(mut self, generation: u32) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Is sealed as if by `device`; only an overheard signature is that member's.
    pub fn as_member(mut self, device: &Device) -> Result<Self, GroupError> {
        self.leaf = self.state.leaf_of(device).ok_or(GroupError::GroupInfo(Reason::NotInEpoch))?;
        Ok(self)
    }

    /// Seals it: its bytes, and its maker's state afterwards (of no use for messages by the maker if made for another).
    pub fn build(self, entropy: &mut dyn Entropy) -> Result<(Vec<u8>, State), GroupError> {
        let message = BentMessage {
            authenticated_data: self.authenticated_data.unwrap_or_else(|| self.data.encode()),
            plaintext: self.plaintext,
            skip: self.skip,
            generation: self.generation,
            leaf: self.leaf.0,
            signature: self.signature,
        };
        let mut state = self.state;
        let bytes = bend::seal(&state.epoch, &mut state.ratchets, &state.own, message, entropy)?;
        Ok((bytes, State { sent: state.sent + 1, ..state }))
    }
}
