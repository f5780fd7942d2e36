//! OpenMLS, with its Rust cryptography and its storage in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ed25519_dalek::{Signer as _, SigningKey};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::*;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::{Signer, SignerError};

use crate::contestant::{Agreed, Contestant, Failure, InLine, Made, one_after_the_other};
use crate::roster::{Number, Roster, credential};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// A room that OpenMLS keeps.
pub struct OpenMls {
    members: BTreeMap<Number, Member>,
    packages: Vec<Vec<u8>>,
    welcome: Vec<u8>,
    tree: Vec<u8>,
}

struct Member {
    provider: OpenMlsRustCrypto,
    keys: Keys,
    credential: CredentialWithKey,
    group: Option<MlsGroup>,
}

struct Keys(SigningKey);

impl Signer for Keys {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl Member {
    fn new(number: Number) -> Self {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let keys = Keys(SigningKey::from_bytes(&seed));
        let credential = CredentialWithKey {
            credential: BasicCredential::new(credential(number)).into(),
            signature_key: keys.0.verifying_key().to_bytes().to_vec().into(),
        };
        Self { provider: OpenMlsRustCrypto::default(), keys, credential, group: None }
    }

    fn package(&self) -> Result<Vec<u8>, Failure> {
        let builder = KeyPackage::builder().key_package_lifetime(Lifetime::init(0, u64::MAX));
        let package = builder.build(SUITE, &self.provider, &self.keys, self.credential.clone())?;
        Ok(MlsMessageOut::from(package.key_package().clone()).tls_serialize_detached()?)
    }

    fn group(&mut self) -> Result<&mut MlsGroup, Failure> {
        self.group.as_mut().ok_or_else(|| "not in the group".into())
    }

    fn create(&mut self) -> Result<(), Failure> {
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(SUITE)
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(false)
            .lifetime(Lifetime::init(0, u64::MAX))
            .build();
        let id = GroupId::from_slice(b"!room:server.example.org");
        let group = MlsGroup::new_with_group_id(&self.provider, &self.keys, &config, id, self.credential.clone())?;
        self.group = Some(group);
        Ok(())
    }

    fn join(&mut self, welcome: &[u8], tree: &[u8]) -> Result<(), Failure> {
        let MlsMessageBodyIn::Welcome(welcome) = message(welcome)?.extract() else { return Err("no Welcome".into()) };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(false)
            .build();
        let tree = RatchetTreeIn::tls_deserialize_exact(tree)?;
        let builder = StagedWelcome::build_from_welcome(&self.provider, &config, welcome)?;
        let staged = builder.with_ratchet_tree(tree).skip_lifetime_validation().build()?;
        self.group = Some(staged.into_group(&self.provider)?);
        Ok(())
    }

    /// A commit that is pending, and its Welcome.
    fn draft(&mut self, adds: Vec<KeyPackage>, gone: Option<Number>) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
        let group = self.group.as_mut().ok_or("not in the group")?;
        let builder = group.commit_builder().consume_proposal_store(false).propose_adds(adds);
        let builder = builder.propose_removals(gone.map(LeafNodeIndex::new)).force_self_update(true);
        let builder = builder.load_psks(self.provider.storage())?;
        let built = builder.build(self.provider.rand(), self.provider.crypto(), &self.keys, |_| true)?;
        let bundle = built.stage_commit(&self.provider)?;
        let welcome = bundle.to_welcome_msg().map(|welcome| welcome.tls_serialize_detached()).transpose()?;
        Ok((bundle.commit().tls_serialize_detached()?, welcome))
    }

    fn adopt(&mut self) -> Result<(), Failure> {
        let group = self.group.as_mut().ok_or("not in the group")?;
        Ok(group.merge_pending_commit(&self.provider)?)
    }

    fn process(&mut self, bytes: &[u8]) -> Result<ProcessedMessageContent, Failure> {
        let group = self.group.as_mut().ok_or("not in the group")?;
        let message = message(bytes)?.try_into_protocol_message()?;
        Ok(group.process_message(&self.provider, message)?.into_content())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let ProcessedMessageContent::StagedCommitMessage(staged) = self.process(bytes)? else {
            return Err("not a commit".into());
        };
        let group = self.group.as_mut().ok_or("not in the group")?;
        Ok(group.merge_staged_commit(&self.provider, *staged)?)
    }
}

fn message(bytes: &[u8]) -> Result<MlsMessageIn, Failure> {
    Ok(MlsMessageIn::tls_deserialize_exact(bytes)?)
}

impl OpenMls {
    fn member(&mut self, number: Number) -> Result<&mut Member, Failure> {
        self.members.get_mut(&number).ok_or_else(|| "no actor".into())
    }

    fn made(bytes: Vec<u8>) -> Made {
        Made { bytes, beside: 0 }
    }
}

impl Contestant for OpenMls {
    const WHO: &'static str = "openmls";

    /// What it takes to add many at once grows with the square of their number.
    fn batch(n: u32) -> u32 {
        if n > 2_000 { 500 } else { n }
    }

    fn prepare(roster: Roster) -> Result<Self, Failure> {
        let actors = roster.actors();
        let (mut members, mut packages) = (BTreeMap::new(), Vec::new());
        for number in 0..roster.n {
            let member = Member::new(number);
            packages.push(member.package()?);
            if actors.contains(&number) {
                members.insert(number, member);
            }
        }
        Ok(Self { members, packages, welcome: Vec::new(), tree: Vec::new() })
    }

    fn add(&mut self, numbers: Range<Number>) -> Result<Made, Failure> {
        let range = numbers.start as usize..numbers.end as usize;
        let packages: Vec<_> = self.packages.get(range).unwrap_or_default().to_vec();
        let creator = self.member(0)?;
        if creator.group.is_none() {
            creator.create()?;
        }
        let mut adds = Vec::new();
        for package in packages {
            let MlsMessageBodyIn::KeyPackage(package) = message(&package)?.extract() else {
                return Err("no key package".into());
            };
            adds.push(package.validate(creator.provider.crypto(), ProtocolVersion::Mls10)?);
        }
        let (bytes, welcome) = creator.draft(adds, None)?;
        creator.adopt()?;
        let tree = creator.group()?.export_ratchet_tree().tls_serialize_detached()?;
        self.welcome = welcome.ok_or("no Welcome")?;
        self.tree = tree;
        Ok(Made { bytes, beside: self.welcome.len() + self.tree.len() })
    }

    fn join(&mut self, number: Number) -> Result<(), Failure> {
        let member = self.members.get_mut(&number).ok_or("no actor")?;
        member.join(&self.welcome, &self.tree)
    }

    fn rekey(&mut self, number: Number) -> Result<Made, Failure> {
        let made = self.draft(number)?;
        self.adopt(number)?;
        Ok(made)
    }

    fn remove(&mut self, number: Number, gone: Number) -> Result<Made, Failure> {
        let member = self.member(number)?;
        let (bytes, _) = member.draft(Vec::new(), Some(gone))?;
        member.adopt()?;
        Ok(Self::made(bytes))
    }

    fn take(&mut self, number: Number, made: &Made) -> Result<(), Failure> {
        self.member(number)?.take(&made.bytes)
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
        let Member { provider, keys, group, .. } = self.member(number)?;
        let group = group.as_mut().ok_or("not in the group")?;
        Ok(group.create_message(provider, keys, text)?.tls_serialize_detached()?)
    }

    fn open(&mut self, number: Number, _from: Number, message: &[u8]) -> Result<Vec<u8>, Failure> {
        match self.member(number)?.process(message)? {
            ProcessedMessageContent::ApplicationMessage(content) => Ok(content.into_bytes()),
            _ => Err("not a message".into()),
        }
    }

    fn state(&mut self, number: Number) -> Result<Vec<u8>, Failure> {
        Ok(self.member(number)?.group()?.epoch_authenticator().as_slice().to_vec())
    }
}

impl InLine for OpenMls {
    fn draft(&mut self, number: Number) -> Result<Made, Failure> {
        Ok(Self::made(self.member(number)?.draft(Vec::new(), None)?.0))
    }

    fn adopt(&mut self, number: Number) -> Result<(), Failure> {
        self.member(number)?.adopt()
    }

    fn discard(&mut self, number: Number) -> Result<(), Failure> {
        let member = self.member(number)?;
        let group = member.group.as_mut().ok_or("not in the group")?;
        Ok(group.clear_pending_commit(member.provider.storage())?)
    }
}
