//! The module: our RFC 9420 group as values (`dmls::hazmat`), without the core that forks, merges and stores.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::entropy::Entropy;
use dmls::hazmat::{self, Actor, OwnKeyPackage, Psk, WelcomeTree};
use dmls::id::Device;
use ed25519_dalek::Signer;

use crate::contestant::{Agreed, Contestant, Failure, Made};
use crate::meter::timed;
use crate::roster::{Number, Roster, names};
use crate::seeded::Seeded;
use crate::sheet::MODULE;

const GROUP: &[u8] = b"!room:server.example.org";
/// An id as long as the core's, and a value that everybody knows.
const PSK: Psk<'static> = (&[7; 69], &[8; 32]);

/// A room whose epochs are values: whoever takes in a commit has the epoch before it as well.
pub struct Module {
    members: BTreeMap<Number, Member>,
    packages: BTreeMap<Number, Vec<u8>>,
    /// That of the last commit, and the tree beside it.
    welcome: Vec<u8>,
    tree: Vec<u8>,
}

struct Member {
    actor: Actor,
    package: OwnKeyPackage,
    epoch: Option<hazmat::Member>,
    rng: Seeded,
}

impl Member {
    fn new(number: Number) -> Result<Self, Failure> {
        let mut rng = Seeded::of(number);
        let actor = Actor::new(&own_device(number, &mut rng)?);
        let package = actor.package(&mut rng)?;
        Ok(Self { actor, package, epoch: None, rng })
    }

    fn epoch(&self) -> Result<&hazmat::Member, Failure> {
        self.epoch.as_ref().ok_or_else(|| "not in the group".into())
    }

    fn commit(&mut self, adds: &[hazmat::KeyPackage], removes: &[u32]) -> Result<hazmat::Made, Failure> {
        let epoch = self.epoch.as_ref().ok_or("not in the group")?;
        Ok(epoch.commit_with(adds, removes, PSK, WelcomeTree::Beside, &self.actor, &mut self.rng)?)
    }

    /// The epoch that a commit makes; this one stays as it is.
    fn child(&self, commit: &[u8]) -> Result<hazmat::Member, Failure> {
        Ok(self.epoch()?.read(commit)?.finish(Some(PSK.1))?)
    }

    /// Commits, and goes on in the new epoch.
    fn advance(&mut self, removes: &[u32]) -> Result<Made, Failure> {
        let made = self.commit(&[], removes)?;
        self.epoch = Some(made.member);
        Ok(Made { bytes: made.commit, beside: 0 })
    }
}

/// The device of a number, as its user's own key vouches for it.
pub(crate) fn own_device(number: Number, rng: &mut dyn Entropy) -> Result<OwnDevice, Failure> {
    let (user, device) = names(number);
    let (device, signing) = (Device::new(user, device), SigningKey::generate(rng)?);
    let vouching = ed25519_dalek::SigningKey::from_bytes(&SigningKey::generate(rng)?.to_bytes());
    let signature = vouching.sign(&Credential::payload(&device, &signing.public(), 0)).to_bytes();
    Ok(OwnDevice::new(signing, device, vouching.verifying_key().to_bytes(), 0, signature)?)
}

impl Module {
    fn member(&mut self, number: Number) -> Result<&mut Member, Failure> {
        self.members.get_mut(&number).ok_or_else(|| "no actor".into())
    }

    /// Everybody reads every child of the base but its own, and then goes on in the first one.
    fn read_all(&mut self, children: &[(Number, hazmat::Made)], reader: Number) -> Result<f64, Failure> {
        let member = self.member(reader)?;
        let (mut spent, mut next) = (0.0, None);
        for (at, (from, made)) in children.iter().enumerate() {
            let child = if *from == reader {
                made.member.clone()
            } else {
                let (child, time) = timed(|| member.child(&made.commit));
                spent += time;
                child?
            };
            next = if at == 0 { Some(child) } else { next };
        }
        member.epoch = next;
        Ok(spent)
    }
}

impl Contestant for Module {
    const WHO: &'static str = MODULE;

    fn prepare(roster: Roster) -> Result<Self, Failure> {
        let actors = roster.actors();
        let (mut members, mut packages) = (BTreeMap::new(), BTreeMap::new());
        for number in 0..roster.n {
            let member = Member::new(number)?;
            packages.insert(number, member.package.bytes());
            if actors.contains(&number) {
                members.insert(number, member);
            }
        }
        Ok(Self { members, packages, welcome: Vec::new(), tree: Vec::new() })
    }

    fn add(&mut self, numbers: Range<Number>) -> Result<Made, Failure> {
        let Self { members, packages, .. } = self;
        let creator = members.get_mut(&0).ok_or("no creator")?;
        if creator.epoch.is_none() {
            creator.epoch = Some(creator.actor.create(GROUP, &mut creator.rng)?);
        }
        let bytes = packages.range(numbers).map(|(_, bytes)| bytes);
        let adds = bytes.map(|bytes| hazmat::read_package(bytes)).collect::<Result<Vec<_>, _>>()?;
        let made = creator.commit(&adds, &[])?;
        self.tree = made.member.tree();
        creator.epoch = Some(made.member);
        self.welcome = made.welcome.ok_or("no Welcome")?;
        Ok(Made { bytes: made.commit, beside: self.welcome.len() + self.tree.len() })
    }

    fn join(&mut self, number: Number) -> Result<(), Failure> {
        let member = self.members.get_mut(&number).ok_or("no actor")?;
        member.epoch = Some(hazmat::join(&self.welcome, &member.package, PSK.1, Some(&self.tree))?);
        Ok(())
    }

    fn rekey(&mut self, number: Number) -> Result<Made, Failure> {
        self.member(number)?.advance(&[])
    }

    fn remove(&mut self, number: Number, gone: Number) -> Result<Made, Failure> {
        self.member(number)?.advance(&[gone])
    }

    fn take(&mut self, number: Number, made: &Made) -> Result<(), Failure> {
        let member = self.member(number)?;
        member.epoch = Some(member.child(&made.bytes)?);
        Ok(())
    }

    /// It merges nothing: what is counted is that all read all children of one base.
    fn concur(
        &mut self,
        committers: &[Number],
        actors: &BTreeSet<Number>,
        observer: Number,
    ) -> Result<Agreed, Failure> {
        let mut children = Vec::new();
        for number in committers {
            children.push((*number, self.member(*number)?.commit(&[], &[])?));
        }
        let mut agreed = Agreed { bytes: children.iter().map(|(_, made)| made.commit.len()).sum(), receive: 0.0 };
        for number in actors {
            let spent = self.read_all(&children, *number)?;
            agreed.receive += if *number == observer { spent } else { 0.0 };
        }
        Ok(agreed)
    }

    fn seal(&mut self, number: Number, text: &[u8]) -> Result<Vec<u8>, Failure> {
        let Member { actor, epoch, rng, .. } = self.member(number)?;
        Ok(epoch.as_mut().ok_or("not in the group")?.seal(b"", text, actor, rng)?)
    }

    fn open(&mut self, number: Number, from: Number, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let epoch = self.member(number)?.epoch.as_mut().ok_or("not in the group")?;
        let (sender, text) = epoch.open(message)?;
        if sender == from { Ok(text) } else { Err("from another sender".into()) }
    }

    fn state(&mut self, number: Number) -> Result<Vec<u8>, Failure> {
        Ok(self.member(number)?.epoch()?.tree_hash().to_vec())
    }
}
