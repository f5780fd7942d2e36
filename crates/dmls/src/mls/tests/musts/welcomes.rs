//! Welcomes.

use std::cell::Cell;

use super::Scene;
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::{Bend, Forged, external_psk, package_with, secret_of};
use crate::mls::tests::invite::{Invite, ratchet_tree};
use crate::mls::tests::world::{Chance, SUITE};
use crate::mls::wire::{GroupInfo, GroupSecrets, PathSecret, PreSharedKeyId, PskKind, Welcome};
use crate::mls::{Invitation, OwnPackage, Plan, Refusal};
use crate::secret::Secret;

/// A newcomer, and the commit that adds it.
struct Entry {
    scene: Scene,
    package: OwnPackage,
    forged: Forged,
}

impl Entry {
    fn new() -> Self {
        let scene = Scene::new();
        let (_, package) = scene.newcomer("new");
        let add = [package.wire.clone()];
        let forged = scene.forge(Bend { adds: &add, ..Bend::none() });
        let entry = Self { scene, package, forged };
        assert_eq!(entry.enter(Invite::none()), None);
        entry
    }

    fn welcome(&self, invite: Invite<'_>) -> Vec<u8> {
        self.scene.forger().welcome(&self.forged, &self.package, invite)
    }

    fn open(&self, welcome: &[u8]) -> Result<Invitation, Refusal> {
        Invitation::open(SUITE, welcome, &self.package)
    }

    fn enter(&self, invite: Invite<'_>) -> Option<Refusal> {
        self.open(&self.welcome(invite)).and_then(|invitation| invitation.enter(&self.scene.psk, None)).err()
    }

    #[track_caller]
    fn refused(&self, invite: Invite<'_>, refusal: Refusal) {
        assert_eq!(self.enter(invite), Some(refusal));
    }
}

/// MLS M141.
#[test]
fn a_welcome_of_another_suite_is_refused() {
    let entry = Entry::new();
    for suite in [0, 2, 0x0a0a] {
        let invite = Invite { welcome: &|welcome| welcome.suite = suite, ..Invite::none() };
        entry.refused(invite, Refusal::Unsupported(Feature::Suite));
    }
}

/// MLS M142.
#[test]
fn a_welcome_for_nobody_here_is_refused() {
    let entry = Entry::new();
    let (_, other) = entry.scene.newcomer("other");
    let reference = other.reference();
    let for_other = |welcome: &mut Welcome| welcome.secrets[0].new_member = reference[..].into();
    entry.refused(Invite { welcome: &for_other, ..Invite::none() }, Refusal::NotForUs);
    entry.refused(Invite { welcome: &|welcome| welcome.secrets.clear(), ..Invite::none() }, Refusal::NotForUs);
    // Two entries for one package: no two newcomers may come into different epochs by which one they try.
    let twice = |welcome: &mut Welcome| {
        let again = welcome.secrets[0].clone();
        welcome.secrets.push(again);
    };
    entry.refused(Invite { welcome: &twice, ..Invite::none() }, Refusal::Malformed);
    let beside = |welcome: &mut Welcome| {
        let mut for_other = welcome.secrets[0].clone();
        for_other.new_member = reference[..].into();
        welcome.secrets.insert(0, for_other);
    };
    assert_eq!(entry.enter(Invite { welcome: &beside, ..Invite::none() }), None);
}

/// MLS M143.
#[test]
fn a_welcome_with_anothers_group_info_is_refused() {
    let entry = Entry::new();
    let other = entry.welcome(Invite { info: &|info| info.extensions.truncate(2), ..Invite::none() });
    assert_eq!(entry.open(&other).err(), None);
    let flip = |welcome: &mut Welcome| {
        let mut info = welcome.encrypted_group_info.as_slice().to_vec();
        info[0] ^= 1;
        welcome.encrypted_group_info = info.into();
    };
    assert_eq!(
        entry.open(&entry.welcome(Invite { welcome: &flip, ..Invite::none() })).err(),
        Some(Refusal::Ciphertext)
    );
    for invite in [
        Invite { label: "UpdatePathNode", ..Invite::none() },
        Invite { sealed_for: &|context| context.clear(), ..Invite::none() },
        Invite { sealed_for: &|context| context.push(0), ..Invite::none() },
    ] {
        assert_eq!(entry.open(&entry.welcome(invite)).err(), Some(Refusal::Ciphertext));
    }
}

/// MLS M144.
#[test]
fn a_welcome_that_does_not_open_is_refused() {
    let entry = Entry::new();
    let invitation = entry.open(&entry.welcome(Invite::none())).unwrap();
    let wrong = Chance::new("wrong").secret();
    assert_eq!(invitation.enter(&wrong, None).err(), Some(Refusal::Ciphertext));
    assert!(invitation.enter(&entry.scene.psk, None).is_ok());
    let flip = |bytes: &mut Vec<u8>| bytes[1] ^= 1;
    entry.refused(Invite { secrets_bytes: &flip, ..Invite::none() }, Refusal::Ciphertext);
}

/// MLS M145.
#[test]
fn a_welcome_with_other_psks_is_refused() {
    let entry = Entry::new();
    let with = |psks: &[PreSharedKeyId]| {
        let secrets = |secrets: &mut GroupSecrets| secrets.psks = psks.to_vec();
        entry.enter(Invite { secrets: &secrets, ..Invite::none() })
    };
    let own = entry.forged.psks[0].clone();
    assert_eq!(with(std::slice::from_ref(&own)), None);
    assert_eq!(with(&[]), Some(Refusal::Psk));
    assert_eq!(with(&[own.clone(), own.clone()]), Some(Refusal::Psk));
    for length in [0, 31, 33] {
        assert_eq!(with(&[external_psk(b"psk", &vec![7; length])]), Some(Refusal::Psk));
    }
    let kind = PskKind::Resumption { usage: 1, group_id: b"room"[..].into(), epoch: 1 };
    let resumption = PreSharedKeyId { kind, nonce: own.nonce.clone() };
    assert_eq!(with(&[resumption]), Some(Refusal::Unsupported(Feature::ResumptionPsk)));
    // The right number of another id: then the tag is another epoch's.
    assert_eq!(with(&[external_psk(b"other", own.nonce.as_slice())]), Some(Refusal::ConfirmationTag));
}

/// MLS M146.
#[test]
fn a_welcome_without_a_tree_is_not_joined() {
    let entry = Entry::new();
    let without = |info: &mut GroupInfo| drop(info.extensions.remove(1));
    let invitation = entry.open(&entry.welcome(Invite { info: &without, ..Invite::none() })).unwrap();
    assert_eq!(invitation.enter(&entry.scene.psk, None).err(), Some(Refusal::Tree));
    let (own, other) = (entry.forged.tree.export(), entry.scene.members[0].epoch.tree().export());
    assert!(invitation.enter(&entry.scene.psk, Some(&own)).is_ok());
    assert_eq!(invitation.enter(&entry.scene.psk, Some(&other)).err(), Some(Refusal::TreeHash));
    // Both are there: the one that is handed in counts.
    let invitation = entry.open(&entry.welcome(Invite::none())).unwrap();
    assert_eq!(invitation.enter(&entry.scene.psk, Some(&other)).err(), Some(Refusal::TreeHash));
    let bend = |info: &mut GroupInfo| info.extensions[1] = ratchet_tree(other.clone());
    entry.refused(Invite { info: &bend, ..Invite::none() }, Refusal::TreeHash);
}

/// MLS M147.
#[test]
fn a_welcome_without_ones_leaf_is_refused() {
    let entry = Entry::new();
    let (person, package) = entry.scene.newcomer("twin");
    let (_, other) = package_with(&person, &mut entry.scene.chance(), |_| {});
    // The same device by another package: its leaf has another key.
    let forged = entry.scene.forge(Bend { adds: &[other], ..Bend::none() });
    let welcome = entry.scene.forger().welcome(&forged, &package, Invite::none());
    let entered = Invitation::open(SUITE, &welcome, &package).unwrap().enter(&entry.scene.psk, None);
    assert_eq!(entered.err(), Some(Refusal::NotForUs));
    // Another device altogether.
    let welcome = entry.welcome(Invite { welcome: &|_| {}, ..Invite::none() });
    let reference = package.reference();
    assert_eq!(Invitation::open(SUITE, &welcome, &package).err(), Some(Refusal::NotForUs));
    let key = crate::mls::crypto::PublicKey::parse(SUITE, package.wire.init_key.as_slice()).unwrap();
    let sealed = Cell::new(None);
    let secrets = |bytes: &mut Vec<u8>| sealed.set(Some(bytes.clone()));
    let for_twin = |welcome: &mut Welcome| {
        let context = welcome.encrypted_group_info.as_slice().to_vec();
        let content = sealed.take().unwrap();
        let mut chance = Chance::new("twin");
        let again = crate::mls::crypto::seal(SUITE, &key, "Welcome", &context, &content, &mut chance).unwrap();
        welcome.secrets[0].encrypted_group_secrets = again;
        welcome.secrets[0].new_member = reference[..].into();
    };
    let welcome = entry.welcome(Invite { secrets_bytes: &secrets, welcome: &for_twin, ..Invite::none() });
    let entered = Invitation::open(SUITE, &welcome, &package).unwrap().enter(&entry.scene.psk, None);
    assert_eq!(entered.err(), Some(Refusal::NotForUs));
}

/// MLS M148.
#[test]
fn a_welcome_with_a_wrong_path_secret_is_refused() {
    let entry = Entry::new();
    let with = |secret: &Secret| {
        let secrets = |secrets: &mut GroupSecrets| {
            secrets.path_secret = Some(PathSecret { path_secret: secret.expose()[..].into() });
        };
        entry.enter(Invite { secrets: &secrets, ..Invite::none() })
    };
    let secrets = &entry.forged.path_secrets;
    assert_eq!(with(&secrets[2].1), None);
    assert_eq!(with(&Chance::new("random").secret()), Some(Refusal::PathKey));
    // That of the node below, and of the one above.
    assert_eq!(with(&secrets[1].1), Some(Refusal::PathKey));
    assert_eq!(with(&crate::mls::crypto::derive(&secrets[2].1, "path")), Some(Refusal::PathKey));
}

/// MLS M149.
#[test]
fn a_welcome_without_a_path_secret_is_refused() {
    let entry = Entry::new();
    entry.refused(Invite { secrets: &|secrets| secrets.path_secret = None, ..Invite::none() }, Refusal::NoPath);
}

/// MLS M150.
#[test]
fn a_welcome_with_a_wrong_tag_is_refused() {
    let entry = Entry::new();
    for length in [0, 31, 33] {
        let bend = |info: &mut GroupInfo| {
            let mut tag = info.confirmation_tag.as_slice().to_vec();
            tag.resize(length, 0);
            info.confirmation_tag = tag.into();
        };
        entry.refused(Invite { info: &bend, ..Invite::none() }, Refusal::ConfirmationTag);
    }
    let flip = |info: &mut GroupInfo| {
        let mut tag = info.confirmation_tag.as_slice().to_vec();
        tag[31] ^= 1;
        info.confirmation_tag = tag.into();
    };
    entry.refused(Invite { info: &flip, ..Invite::none() }, Refusal::ConfirmationTag);
}

fn holds(record: &[u8], secret: &Secret) -> bool {
    record.windows(32).any(|part| part == secret.expose())
}

/// MLS M151.
#[test]
fn a_joined_epoch_keeps_no_joiner_secret() {
    let entry = Entry::new();
    let invitation = entry.open(&entry.welcome(Invite::none())).unwrap();
    let entered = invitation.enter(&entry.scene.psk, None).unwrap();
    let record = entered.epoch.record();
    let epoch = secret_of(&entry.forged);
    assert!(holds(&record, &epoch.secrets().membership));
    for secret in [&entry.forged.joiner.0, &epoch.0, &entry.package.init, &entry.scene.psk, &epoch.encryption()] {
        assert!(!holds(&record, secret));
    }
    for (_, secret) in &entry.forged.path_secrets {
        assert!(!holds(&record, secret));
    }
    // The key of its leaf goes on to be used.
    assert!(holds(&record, &entry.package.leaf));
}

/// A Welcome of ours is for all newcomers, each with its own path secret.
#[test]
fn one_welcome_is_for_all_newcomers() {
    let scene = Scene::new();
    let newcomers: Vec<_> = ["one", "two", "three"].into_iter().map(|name| scene.newcomer(name)).collect();
    let adds = newcomers.iter().map(|(_, package)| crate::mls::tests::forge::read(&package.wire)).collect();
    let plan = Plan { adds, psk_id: b"psk".to_vec(), ..Plan::default() };
    let made = scene.members[0].commit(plan, &scene.psk, &mut scene.chance());
    let welcome = made.welcome.unwrap();
    for (person, package) in newcomers {
        let member = person.join(&package, &welcome, None, &scene.psk);
        assert_eq!(member.epoch.public().context, made.entered.epoch.public().context);
    }
}
