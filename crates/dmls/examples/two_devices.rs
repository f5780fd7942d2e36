//! Two devices in one process: Alice makes a group and adds Bob, who reads what she says.
#![allow(clippy::print_stdout)]

use std::{error::Error, sync::Arc};

use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::effect::{Applied, Publish, Verdict};
use dmls::entropy::{Entropy, EntropyError};
use dmls::group::{Group, Orders, Settings};
use dmls::id::{Device, GroupId, Locator, Timestamp};
use dmls::input::{DesiredDevice, Input, Welcome};
use dmls::package::KeyPackages;
use dmls_store::MemoryStore;
use ed25519_dalek::Signer;

struct Os;

impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

/// A device whose long-term key vouches for its MLS key.
fn device(user: &str) -> Result<Arc<OwnDevice>, Box<dyn Error>> {
    let long_term = ed25519_dalek::SigningKey::from_bytes(&SigningKey::generate(&mut Os)?.to_bytes());
    let (device, key) = (Device::new(user, "PHONE"), SigningKey::generate(&mut Os)?);
    let signature = long_term.sign(&Credential::payload(&device, &key.public(), 0)).to_bytes();
    Ok(Arc::new(OwnDevice::new(key, device, long_term.verifying_key().to_bytes(), 0, signature)?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (alice, bob, now) = (device("alice")?, device("bob")?, Timestamp(0));
    let (mut alices_store, mut bobs_store, mut packages) = <(MemoryStore, MemoryStore, KeyPackages)>::default();
    let mut alices = Group::new(GroupId::new("tea"), alice.clone(), Settings::default());
    let mut bobs = Group::new(GroupId::new("tea"), bob.clone(), Settings::default());
    // Who may read is for the host to say; here it is these two.
    let fact = |own: &OwnDevice| (own.device().clone(), DesiredDevice { key: own.key(), joined: Locator::default() });
    let both = Input::Desired([fact(&alice), fact(&bob)].into_iter().collect());
    let package = packages.generate(&bob, 1, false, &mut Os)?.persist(&mut bobs_store)?.remove(0);

    alices.create(now, &mut Os)?.persist(&mut alices_store)?;
    alices.handle(both.clone(), now, &mut Os)?.persist(&mut alices_store)?;
    let orders = Orders { packages: vec![(bob.device().clone(), package.bytes)], update: false };
    let made = alices.carry_out(orders, now, &mut Os)?.persist(&mut alices_store)?;
    let Some(Publish::Commit(mut commit)) = made.publish.into_iter().next() else { return Err("no commit".into()) };
    let (epoch, locator, out) = (commit.epoch.id, Locator("first".into()), commit.welcomes.remove(0));
    let bytes = out.bytes.to_vec();
    let welcome = Welcome { bytes, commit: commit.bytes, locator, epoch, base: out.base, grant: out.grant };
    bobs.handle(both, now, &mut Os)?.persist(&mut bobs_store)?;
    bobs.join(welcome, &mut packages, now, &mut Os)?.persist(&mut bobs_store)?;

    let sealed = alices.seal(&mut |_| b"Good morning".to_vec(), now, &mut Os)?.persist(&mut alices_store)?;
    let (bytes, locator, from) = (sealed.bytes, Locator("second".into()), "alice".into());
    let message = Input::Message { bytes, locator, from, commit: None };
    let outcome = bobs.handle(message, now, &mut Os)?.persist(&mut bobs_store)?;
    let Verdict::Applied(Applied::Message(read)) = outcome.verdict else { return Err("bob cannot read".into()) };
    println!("bob reads of {}: {}", read.device, str::from_utf8(&read.plaintext)?);
    Ok(())
}
