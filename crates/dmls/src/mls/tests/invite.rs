//! Welcomes and GroupInfos by a maker that keeps to no rule, like the commits of `forge.rs`.

use super::forge::{Forged, Forger, secret_of};
use super::world::{Chance, SUITE};
use crate::mls::OwnPackage;
use crate::mls::crypto;
use crate::mls::make::{INFO_LABEL, WELCOME_LABEL, info_content};
use crate::mls::schedule::{Joiner, psk_secret};
use crate::mls::tree::Place;
use crate::mls::wire::{
    EncryptedGroupSecrets, Extension, GroupInfo, GroupSecrets, PathSecret, Welcome, WireFormat, encode, extension_type,
    message, push_vector,
};
use crate::secret::Secret;
use crate::suite::Signer;

/// What is bent of a Welcome, in the order in which it is made.
#[derive(Clone, Copy)]
pub(super) struct Invite<'a> {
    pub(super) secrets: &'a dyn Fn(&mut GroupSecrets),
    /// GroupInfo before it is signed.
    pub(super) info: &'a dyn Fn(&mut GroupInfo),
    pub(super) signer: Option<&'a dyn Signer>,
    pub(super) signed_info: &'a dyn Fn(&mut GroupInfo),
    pub(super) info_bytes: &'a dyn Fn(&mut Vec<u8>),
    pub(super) secrets_bytes: &'a dyn Fn(&mut Vec<u8>),
    pub(super) label: &'a str,
    /// To what the secrets are bound besides the label.
    pub(super) sealed_for: &'a dyn Fn(&mut Vec<u8>),
    pub(super) welcome: &'a dyn Fn(&mut Welcome),
}

impl Invite<'_> {
    pub(super) fn none() -> Self {
        Self {
            secrets: &|_| {},
            info: &|_| {},
            signer: None,
            signed_info: &|_| {},
            info_bytes: &|_| {},
            secrets_bytes: &|_| {},
            label: WELCOME_LABEL,
            sealed_for: &|_| {},
            welcome: &|_| {},
        }
    }
}

/// The extension with an external key.
pub(super) fn external_pub(key: &[u8]) -> Extension {
    let mut data = Vec::new();
    push_vector(&mut data, key);
    Extension { extension_type: extension_type::EXTERNAL_PUB, data: data.into() }
}

/// The extension with a tree.
pub(super) fn ratchet_tree(tree: Vec<u8>) -> Extension {
    Extension { extension_type: extension_type::RATCHET_TREE, data: tree.into() }
}

pub(super) fn sign_info(info: &mut GroupInfo, signer: &dyn Signer) {
    info.signature = crypto::sign(signer, INFO_LABEL, &info_content(info))[..].into();
}

impl Forger<'_> {
    /// The Welcome of a commit for one newcomer.
    pub(super) fn welcome(&self, forged: &Forged, package: &OwnPackage, invite: Invite<'_>) -> Vec<u8> {
        let mut chance = Chance::new("welcome");
        let newcomer = forged.tree.leaf_of_signature_key(&self.key_of(package)).unwrap();
        let meeting = Place::meeting(newcomer, forged.committer);
        let path_secret = forged.path_secrets.iter().find(|(place, _)| *place == meeting);
        let path_secret = path_secret.map(|(_, secret)| PathSecret { path_secret: secret.expose()[..].into() });
        let joiner_secret = forged.joiner.0.expose()[..].into();
        let mut secrets = GroupSecrets { joiner_secret, path_secret, psks: forged.psks.clone() };
        (invite.secrets)(&mut secrets);
        let joiner = Secret::parse(secrets.joiner_secret.as_slice());
        let joiner = Joiner(joiner.unwrap_or_else(|| forged.joiner.0.clone()));
        let psks: Vec<_> = secrets.psks.iter().map(|id| (id.clone(), &self.psk.expose()[..])).collect();
        let member = joiner.with_psk(&psk_secret(&psks));
        let mut info = encode(&self.info(forged, invite));
        (invite.info_bytes)(&mut info);
        let sealed_info = member.welcome_key().seal(SUITE, b"", info);
        let mut content = encode(&secrets);
        (invite.secrets_bytes)(&mut content);
        let key = crypto::PublicKey::parse(SUITE, package.wire.init_key.as_slice()).unwrap();
        let mut sealed_for = sealed_info.clone();
        (invite.sealed_for)(&mut sealed_for);
        let sealed = crypto::seal(SUITE, &key, invite.label, &sealed_for, &content, &mut chance).unwrap();
        let new_member = package.reference()[..].into();
        let secrets = vec![EncryptedGroupSecrets { new_member, encrypted_group_secrets: sealed }];
        let mut welcome = Welcome { suite: SUITE.number(), secrets, encrypted_group_info: sealed_info.into() };
        (invite.welcome)(&mut welcome);
        message(WireFormat::Welcome, &welcome)
    }

    fn key_of(&self, package: &OwnPackage) -> [u8; 32] {
        package.wire.leaf.signature_key.as_slice().try_into().unwrap()
    }

    /// The GroupInfo of the epoch that a commit makes.
    pub(super) fn info(&self, forged: &Forged, invite: Invite<'_>) -> GroupInfo {
        let external = secret_of(forged).secrets().external_key(SUITE).public;
        let mut info = GroupInfo {
            context: forged.context.clone(),
            extensions: vec![external_pub(external.as_slice()), ratchet_tree(forged.tree.export())],
            confirmation_tag: forged.tag.clone().into(),
            signer: forged.committer,
            signature: Vec::new().into(),
        };
        (invite.info)(&mut info);
        sign_info(&mut info, invite.signer.unwrap_or(self.person.maker().signer));
        (invite.signed_info)(&mut info);
        info
    }

    /// The same as an MLSMessage.
    pub(super) fn info_message(&self, forged: &Forged, invite: Invite<'_>) -> Vec<u8> {
        message(WireFormat::GroupInfo, &self.info(forged, invite))
    }
}
