//! What a group takes in.

use imbl::OrdMap;

use crate::id::{Device, EpochId, Locator, SignatureKey};

/// What the host knows of one device that may read now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DesiredDevice {
    /// The MLS signature key in its owner's cross-signed device keys.
    pub key: SignatureKey,
    /// The event that made the owner a joined member; justifies an add.
    pub joined: Locator,
}

/// D: the devices that, as far as this device knows, the room says may read now (SPEC §5).
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Desired {
    /// The devices.
    pub devices: OrdMap<Device, DesiredDevice>,
}

impl FromIterator<(Device, DesiredDevice)> for Desired {
    fn from_iter<T: IntoIterator<Item = (Device, DesiredDevice)>>(devices: T) -> Self {
        Self { devices: devices.into_iter().collect() }
    }
}

impl Desired {
    /// Takes out all devices but those that `stays` is true of.
    pub fn retain(&mut self, stays: impl Fn(&Device) -> bool) {
        let gone: Vec<_> = self.devices.keys().filter(|device| !stays(device)).cloned().collect();
        for device in gone {
            self.devices.remove(&device);
        }
    }

    /// The devices of one user.
    pub fn of_user<'a>(&'a self, user: &str) -> impl Iterator<Item = (&'a Device, &'a DesiredDevice)> {
        let from = self.devices.range(Device::new(user, "")..);
        from.take_while({
            let user = user.to_owned();
            move |(device, _)| device.user == user
        })
    }

    /// Whether any device of this user may read.
    pub fn has_user(&self, user: &str) -> bool {
        self.of_user(user).next().is_some()
    }
}

/// A Welcome with all that its receiver needs to check it.
#[derive(Clone)]
pub struct Welcome {
    /// The MLSMessage that holds the Welcome.
    pub bytes: Vec<u8>,
    /// The commit that made the epoch, as found in the room.
    pub commit: Vec<u8>,
    /// Where the commit was found.
    pub locator: Locator,
    /// What the sender says the epoch is; computed anew, never believed.
    pub epoch: EpochId,
    /// The base's public transcript, with which the commit's place in the DAG is checked.
    pub base: BaseProof,
    /// The PSK inputs, sealed to the key package's init key.
    pub grant: Vec<u8>,
}

/// Public transcript values of an epoch: with a commit on it they give the child's EpochId (RFC 9420 §8.2).
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct BaseProof {
    /// `confirmed_transcript_hash`; empty for a genesis epoch.
    #[serde(with = "serde_bytes")]
    pub confirmed_transcript_hash: Vec<u8>,
    /// `confirmation_tag`.
    #[serde(with = "serde_bytes")]
    pub confirmation_tag: Vec<u8>,
}

/// One thing that happened. Every input gets exactly one verdict, whichever way it came (SPEC §6).
#[derive(Clone)]
#[non_exhaustive]
pub enum Input {
    /// The desired devices are now these.
    Desired(Desired),
    /// `event` ended the membership of `user` (leave, kick, ban): what justifies removals.
    Departed {
        /// Whose membership.
        user: String,
        /// The membership event.
        event: Locator,
    },
    /// A commit or external commit, from the room or from a member's reply: it authenticates itself.
    Commit {
        /// The MLSMessage.
        bytes: Vec<u8>,
        /// Where it was found.
        locator: Option<Locator>,
        /// Who brought it, for the caps.
        from: String,
    },
    /// An application message.
    Message {
        /// The MLSMessage.
        bytes: Vec<u8>,
        /// Where it was found.
        locator: Locator,
        /// The user that the room says sent it; a message that another user's device sealed is refused.
        from: String,
        /// Where the commit of its epoch is to be found, by the sender's word.
        commit: Option<Locator>,
    },
    /// A device asks to be added anew: it authenticates itself.
    Ask {
        /// What [`Publish::Ask`](crate::effect::Publish::Ask) gave.
        bytes: Vec<u8>,
        /// The user that the room says sent it.
        from: String,
    },
    /// The server took this device's own commit.
    Published {
        /// The epoch it made.
        epoch: EpochId,
        /// Where it can be found.
        locator: Locator,
    },
    /// The server refused this device's own commit for good: the epoch is nobody's.
    Abandoned {
        /// The epoch it would have made.
        epoch: EpochId,
    },
    /// A member answered with the merge inputs of a commit (M).
    MergeReply {
        /// The epoch that the commit makes.
        epoch: EpochId,
        /// M, sealed to this device; believed only as far as the confirmation tag checks it.
        value: zeroize::Zeroizing<Vec<u8>>,
        /// Who answered, over an authenticated channel.
        from: Device,
    },
    /// A member lacks the merge inputs of a commit (M).
    MergeRequest {
        /// The epoch that the commit makes.
        epoch: EpochId,
        /// Who asks, over an authenticated channel.
        from: Device,
    },
    /// A member lacks commits.
    CommitRequest {
        /// The epochs they make.
        epochs: Vec<EpochId>,
        /// Who asks.
        from: Device,
    },
    /// Time passed, and the host is in touch with the network: deadlines are looked at. A host that is out of touch
    /// does not tick, for what waits is not given up for want of what nobody could tell.
    Tick,
}
