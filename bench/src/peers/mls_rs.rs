//! mls-rs, with its Rust cryptography.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mls_rs::client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider, WithMlsRules};
use mls_rs::group::{CommitOutput, ExportedTree, ReceivedMessage};
use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules};
use mls_rs::{CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use crate::contestant::{Agreed, Contestant, Failure, InLine, Made, one_after_the_other};
use crate::roster::{Number, Roster, credential};

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

type Config = WithMlsRules<
    DefaultMlsRules,
    WithCryptoProvider<RustCryptoProvider, WithIdentityProvider<BasicIdentityProvider, BaseConfig>>,
>;

/// A room that mls-rs keeps.
pub struct MlsRs {
    members: BTreeMap<Number, Member>,
    packages: Vec<Vec<u8>>,
    welcome: Vec<u8>,
    tree: Vec<u8>,
}

struct Member {
    client: Client<Config>,
    group: Option<Group<Config>>,
}

fn client(number: Number) -> Result<Client<Config>, Failure> {
    let crypto = RustCryptoProvider::default();
    let suite = crypto.cipher_suite_provider(SUITE).ok_or("mls-rs lacks the suite")?;
    let (secret, public) = suite.signature_key_generate()?;
    let identity = SigningIdentity::new(BasicCredential::new(credential(number)).into_credential(), public);
    let options = CommitOptions::new().with_path_required(true).with_ratchet_tree_extension(false);
    let builder = Client::builder().identity_provider(BasicIdentityProvider).crypto_provider(crypto);
    let builder = builder.mls_rules(DefaultMlsRules::new().with_commit_options(options));
    Ok(builder.signing_identity(identity, secret, SUITE).build())
}

impl Member {
    fn group(&mut self) -> Result<&mut Group<Config>, Failure> {
        self.group.as_mut().ok_or_else(|| "not in the group".into())
    }

    fn draft(&mut self, adds: &[Vec<u8>], gone: Option<Number>) -> Result<CommitOutput, Failure> {
        let mut builder = self.group()?.commit_builder();
        for package in adds {
            builder = builder.add_member(MlsMessage::from_bytes(package)?)?;
        }
        if let Some(gone) = gone {
            builder = builder.remove_member(gone)?;
        }
        Ok(builder.build()?)
    }

    fn adopt(&mut self) -> Result<(), Failure> {
        self.group()?.apply_pending_commit()?;
        Ok(())
    }

    fn process(&mut self, bytes: &[u8]) -> Result<ReceivedMessage, Failure> {
        Ok(self.group()?.process_incoming_message(MlsMessage::from_bytes(bytes)?)?)
    }
}

impl MlsRs {
    fn member(&mut self, number: Number) -> Result<&mut Member, Failure> {
        self.members.get_mut(&number).ok_or_else(|| "no actor".into())
    }

    fn made(commit: &CommitOutput) -> Result<Made, Failure> {
        Ok(Made { bytes: commit.commit_message.to_bytes()?, beside: 0 })
    }
}

impl Contestant for MlsRs {
    const WHO: &'static str = "mls-rs";

    fn prepare(roster: Roster) -> Result<Self, Failure> {
        let actors = roster.actors();
        let (mut members, mut packages) = (BTreeMap::new(), Vec::new());
        for number in 0..roster.n {
            let client = client(number)?;
            let none = ExtensionList::default;
            packages.push(client.generate_key_package_message(none(), none(), None)?.to_bytes()?);
            if actors.contains(&number) {
                members.insert(number, Member { client, group: None });
            }
        }
        Ok(Self { members, packages, welcome: Vec::new(), tree: Vec::new() })
    }

    fn add(&mut self, numbers: Range<Number>) -> Result<Made, Failure> {
        let creator = self.members.get_mut(&0).ok_or("no creator")?;
        if creator.group.is_none() {
            let (id, none) = (b"!room:server.example.org".to_vec(), ExtensionList::default);
            creator.group = Some(creator.client.create_group_with_id(id, none(), none(), None)?);
        }
        let adds = self.packages.get(numbers.start as usize..numbers.end as usize).unwrap_or_default();
        let commit = creator.draft(adds, None)?;
        creator.adopt()?;
        self.welcome = commit.welcome_messages.first().ok_or("no Welcome")?.to_bytes()?;
        self.tree = creator.group()?.export_tree().to_bytes()?;
        Ok(Made { beside: self.welcome.len() + self.tree.len(), ..Self::made(&commit)? })
    }

    fn join(&mut self, number: Number) -> Result<(), Failure> {
        let member = self.members.get_mut(&number).ok_or("no actor")?;
        let tree = ExportedTree::from_bytes(&self.tree)?;
        let (group, _) = member.client.join_group(Some(tree), &MlsMessage::from_bytes(&self.welcome)?, None)?;
        member.group = Some(group);
        Ok(())
    }

    fn rekey(&mut self, number: Number) -> Result<Made, Failure> {
        let made = self.draft(number)?;
        self.adopt(number)?;
        Ok(made)
    }

    fn remove(&mut self, number: Number, gone: Number) -> Result<Made, Failure> {
        let member = self.member(number)?;
        let commit = member.draft(&[], Some(gone))?;
        member.adopt()?;
        Self::made(&commit)
    }

    fn take(&mut self, number: Number, made: &Made) -> Result<(), Failure> {
        match self.member(number)?.process(&made.bytes)? {
            ReceivedMessage::Commit(_) => Ok(()),
            _ => Err("not a commit".into()),
        }
    }

    fn concur(
        &mut self,
        committers: &[Number],
        actors: &BTreeSet<Number>,
        observer: Number,
    ) -> Result<Agreed, Failure> {
        one_after_the_other(self, committers, actors, observer)
    }

    fn seal(&mut self, number: Number, text: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(self.member(number)?.group()?.encrypt_application_message(text, Vec::new())?.to_bytes()?)
    }

    fn open(&mut self, number: Number, _from: Number, message: &[u8]) -> Result<Vec<u8>, Failure> {
        match self.member(number)?.process(message)? {
            ReceivedMessage::ApplicationMessage(message) => Ok(message.data().to_vec()),
            _ => Err("not a message".into()),
        }
    }

    fn state(&mut self, number: Number) -> Result<Vec<u8>, Failure> {
        Ok(self.member(number)?.group()?.epoch_authenticator()?.as_bytes().to_vec())
    }
}

impl InLine for MlsRs {
    fn draft(&mut self, number: Number) -> Result<Made, Failure> {
        Self::made(&self.member(number)?.draft(&[], None)?)
    }

    fn adopt(&mut self, number: Number) -> Result<(), Failure> {
        self.member(number)?.adopt()
    }

    fn discard(&mut self, number: Number) -> Result<(), Failure> {
        self.member(number)?.group()?.clear_pending_commit();
        Ok(())
    }
}
