//! Devices, members and chance for tests: equal seeds play equal games.
#![allow(clippy::unwrap_used)]

use sha2::{Digest, Sha256};

use crate::device::{OwnDevice, SigningKey};
use crate::entropy::{Entropy, EntropyError};
use crate::id::{Device, SignatureKey};
use crate::secret::Secret;
use crate::suite::{Signer, Suite, X25519_ED25519};

use super::super::message::Opened;
use super::super::{
    Door, Draft, Entered, Epoch, Invitation, Made, Maker, OwnPackage, Package, Plan, Ratchets, Refusal,
};

/// The suite of all tests here.
pub(super) static SUITE: &dyn Suite = X25519_ED25519;

/// Reproducible randomness.
pub(super) struct Chance([u8; 32]);

impl Chance {
    pub(super) fn new(seed: &str) -> Self {
        Self(Sha256::digest(seed).into())
    }

    pub(super) fn bytes(&mut self) -> [u8; 32] {
        self.0 = Sha256::digest(self.0).into();
        Sha256::digest([&self.0[..], b"out"].concat()).into()
    }

    /// A number below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let [a, b, c, d, ..] = self.bytes();
        u32::from_be_bytes([a, b, c, d]) as usize % count
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn secret(&mut self) -> Secret {
        Secret::new(self.bytes())
    }
}

impl Entropy for Chance {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(32) {
            let bytes = self.bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

/// Who somebody is: a signature key, and what its basic credential says.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) seed: [u8; 32],
    pub(super) content: Vec<u8>,
}

impl Identity {
    /// A device, vouched for by its own key.
    pub(super) fn device(name: &str, chance: &mut Chance) -> Self {
        let seed = chance.bytes();
        Self::device_with(name, seed, chance)
    }

    /// A device with this signature key.
    pub(super) fn device_with(name: &str, seed: [u8; 32], chance: &mut Chance) -> Self {
        let device_seed = chance.bytes();
        let (device, own) = (Device::new("@user:example.org", name), SUITE.signer(&device_seed));
        let payload = crate::device::Credential::payload(&device, &SignatureKey(SUITE.signer(&seed).public()), 0);
        let signing = SigningKey::from_bytes(&seed);
        let own = OwnDevice::new(signing, device, own.public(), 0, own.sign(&payload)).unwrap();
        Self { seed, content: own.maker().identity.to_vec() }
    }

    /// Somebody whose credential means nothing to us.
    pub(super) fn stranger(name: &str, chance: &mut Chance) -> Self {
        Self { seed: chance.bytes(), content: name.as_bytes().to_vec() }
    }

    pub(super) fn signer(&self) -> Box<dyn Signer> {
        SUITE.signer(&self.seed)
    }
}

/// A device of ours, outside of any group.
pub(super) struct Person {
    pub(super) identity: Identity,
    signer: Box<dyn Signer>,
}

impl Person {
    pub(super) fn new(name: &str, chance: &mut Chance) -> Self {
        Self::of(Identity::device(name, chance))
    }

    pub(super) fn of(identity: Identity) -> Self {
        let signer = identity.signer();
        Self { identity, signer }
    }

    pub(super) fn maker(&self) -> Maker<'_> {
        Maker { suite: SUITE, signer: &*self.signer, identity: &self.identity.content, serial: Some(1) }
    }

    pub(super) fn package(&self, last_resort: bool, chance: &mut Chance) -> OwnPackage {
        OwnPackage::make(&self.maker(), last_resort, chance).unwrap()
    }

    pub(super) fn found(self, group: &[u8], chance: &mut Chance) -> Member {
        let entered = Epoch::create(group, &self.maker(), chance).unwrap();
        Member::new(self, entered)
    }

    /// Joins by Welcome.
    pub(super) fn join(self, package: &OwnPackage, welcome: &[u8], tree: Option<&[u8]>, psk: &Secret) -> Member {
        let invitation = Invitation::open(SUITE, welcome, package).unwrap();
        let entered = invitation.enter(psk, tree).unwrap();
        Member::new(self, entered)
    }

    /// Joins by external commit; gives that, too.
    pub(super) fn join_externally(
        self,
        door: Door,
        psk: Option<(&[u8], &Secret)>,
        chance: &mut Chance,
    ) -> (Member, Vec<u8>) {
        let id = psk.map(|(id, _)| id.to_vec());
        let draft = door.draft(id, b"external".to_vec(), &self.maker(), chance).unwrap();
        let made = draft.finish(psk.map(|(_, psk)| psk), &self.maker(), chance).unwrap();
        (Member::new(self, made.entered), made.bytes)
    }
}

/// A device of ours in a group.
pub(super) struct Member {
    pub(super) person: Person,
    pub(super) epoch: Epoch,
    pub(super) ratchets: Ratchets,
    pub(super) merge_export: Secret,
}

impl Member {
    fn new(person: Person, entered: Entered) -> Self {
        let Entered { epoch, ratchets, merge_export } = entered;
        Self { person, epoch, ratchets, merge_export }
    }

    pub(super) fn enter(&mut self, entered: Entered) {
        self.epoch = entered.epoch;
        self.ratchets = entered.ratchets;
        self.merge_export = entered.merge_export;
    }

    /// Makes a commit without entering what it makes.
    pub(super) fn commit(&self, plan: Plan, psk: &Secret, chance: &mut Chance) -> Made {
        let draft = self.epoch.draft(plan, &self.person.maker(), chance).unwrap();
        draft.finish(Some(psk), &self.person.maker(), chance).unwrap()
    }

    /// Takes another's commit in; whether this device is still in the group.
    pub(super) fn take(&mut self, commit: &[u8], psk: &Secret) -> bool {
        let draft = self.epoch.read(commit).unwrap();
        if draft.removes_own() {
            return false;
        }
        let entered = finish(&draft, psk).unwrap();
        self.enter(entered);
        true
    }

    pub(super) fn seal(&mut self, authenticated: &[u8], text: &[u8], chance: &mut Chance) -> Vec<u8> {
        let sealed = self.epoch.seal(&self.ratchets, &self.person.maker(), authenticated, text, chance);
        let (turn, bytes) = sealed.unwrap();
        self.ratchets.advance(turn);
        bytes
    }

    /// The sender's leaf and the text.
    pub(super) fn open(&mut self, bytes: &[u8]) -> (u32, Vec<u8>) {
        let Opened { turn, sender, plaintext } = self.epoch.open_message(&self.ratchets, bytes).unwrap();
        self.ratchets.advance(turn);
        (sender, plaintext.to_vec())
    }

    pub(super) fn info(&self, with_tree: bool) -> Vec<u8> {
        self.epoch.group_info(&self.person.maker(), with_tree)
    }
}

/// Finishes with the PSK if the commit has one.
pub(super) fn finish(draft: &Draft, psk: &Secret) -> Result<Entered, Refusal> {
    draft.finish(draft.psk_id().map(|_| psk))
}

/// A group of ours with this many members, and how it came about.
pub(super) fn group(count: usize, chance: &mut Chance) -> Vec<Member> {
    let mut founder = Person::new("0", chance).found(b"room", chance);
    let people: Vec<Person> = (1..count).map(|n| Person::new(&n.to_string(), chance)).collect();
    let packages: Vec<OwnPackage> = people.iter().map(|person| person.package(false, chance)).collect();
    let adds = packages.iter().map(|package| Package::read(SUITE, &package.bytes()).unwrap()).collect();
    let psk = chance.secret();
    let made = founder.commit(Plan { adds, psk_id: b"first".to_vec(), ..Plan::default() }, &psk, chance);
    founder.enter(made.entered);
    let mut members = vec![founder];
    for (person, package) in people.into_iter().zip(&packages) {
        members.push(person.join(package, made.welcome.as_ref().unwrap(), None, &psk));
    }
    members
}
