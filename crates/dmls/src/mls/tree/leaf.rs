//! Leaves whose signature and rules were checked.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tls_codec::Size;

use super::super::Refusal;
use super::super::crypto::{self, Hash, PublicKey};
use super::super::refusal::Feature;
use super::super::wire::{
    BASIC, Capabilities, Credential, Extension, LeafNode, LeafSource, VERSION, decode, encode, extension_type,
    push_vector,
};
use crate::id::Device;
use crate::suite::{Signer, Suite, Verifier};

/// A leaf node that was checked: its bytes, which are hashed, stored and sent as they are, and what is asked for often.
#[derive(Clone)]
pub(crate) struct Leaf(Arc<Parts>);

struct Parts {
    bytes: Box<[u8]>,
    encryption_key: PublicKey,
    signature_key: [u8; 32],
    /// The same, decoded when its owner first speaks: most leaves never do.
    verifier: OnceLock<Option<Box<dyn Verifier>>>,
    parent_hash: Option<Hash>,
    source: Source,
    device: Option<Device>,
    serial: Option<u64>,
}

/// Where a leaf came from (RFC 9420 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A key package, which its device may have made long before.
    Package,
    /// An Update, which this profile does not have.
    Update,
    /// Its device's own commit.
    Commit,
}

/// Where a leaf is found, which says what its source must be (RFC 9420 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// In a key package.
    Package,
    /// In the path of a commit, for this leaf of this group.
    Path { group: &'a [u8], index: u32 },
    /// In a tree that somebody else vouches for.
    Tree { group: &'a [u8], index: u32 },
}

/// What makes a device's leaves: its keys and what it says of itself.
pub(crate) struct Maker<'a> {
    pub(crate) suite: &'static dyn Suite,
    pub(crate) signer: &'a dyn Signer,
    /// The content of the basic credential.
    pub(crate) identity: &'a [u8],
    /// Which of its device's leaves the next one is; only who makes leaves has it.
    pub(crate) serial: Option<u64>,
}

impl Maker<'_> {
    /// A signed leaf node, which lists what is supported (MLS M61); `place` is missing in key packages.
    pub(crate) fn leaf_node(&self, key: &PublicKey, source: LeafSource, place: Option<(&[u8], u32)>) -> LeafNode {
        let mut node = LeafNode {
            encryption_key: key.as_slice().into(),
            signature_key: self.signer.public()[..].into(),
            credential: Credential { credential_type: BASIC, identity: self.identity.into() },
            capabilities: Capabilities {
                versions: vec![VERSION],
                suites: vec![self.suite.number()],
                extensions: vec![extension_type::SERIAL, extension_type::LAST_RESORT],
                proposals: Vec::new(),
                credentials: vec![BASIC],
            },
            source,
            extensions: self.serial.map(serial_extension).into_iter().collect(),
            signature: Vec::new().into(),
        };
        let signature = crypto::sign(self.signer, LABEL, &signed_content(&node, &encode(&node), place));
        node.signature = signature[..].into();
        node
    }
}

fn serial_extension(serial: u64) -> Extension {
    Extension { extension_type: extension_type::SERIAL, data: serial.to_be_bytes()[..].into() }
}

/// What the serial extension of a leaf says, if it has one.
fn serial_of(node: &LeafNode) -> Result<Option<u64>, Refusal> {
    let found = node.extensions.iter().find(|extension| extension.extension_type == extension_type::SERIAL);
    let number = |extension: &Extension| extension.data.as_slice().try_into().map(u64::from_be_bytes);
    found.map(number).transpose().map_err(|_| Refusal::Extension)
}

const LABEL: &str = "LeafNodeTBS";

/// `LeafNodeTBS` (RFC 9420 §7.2): the leaf without its signature, and its place unless it is in a key package.
fn signed_content(node: &LeafNode, bytes: &[u8], place: Option<(&[u8], u32)>) -> Vec<u8> {
    let mut out = bytes[..bytes.len() - node.signature.tls_serialized_len()].to_vec();
    if let Some((group, index)) = place {
        push_vector(&mut out, group);
        out.extend(index.to_be_bytes());
    }
    out
}

impl Leaf {
    /// Checks a leaf node that came from outside (RFC 9420 §7.3), but for what depends on the tree around it.
    pub(crate) fn check(suite: &dyn Suite, node: &LeafNode, found: Found<'_>) -> Result<Self, Refusal> {
        check_source(&node.source, found)?;
        check_capabilities(suite, node)?;
        check_extensions(&node.extensions, &node.capabilities)?;
        let leaf = Self::parse(suite, node)?;
        // MLS M50, M51.
        let place = match (found, &node.source) {
            (Found::Package, _) | (_, LeafSource::KeyPackage { .. }) => None,
            (Found::Path { group, index } | Found::Tree { group, index }, _) => Some((group, index)),
        };
        let content = signed_content(node, leaf.bytes(), place);
        crypto::verify(suite, leaf.signature_key(), LABEL, &content, node.signature.as_slice())?;
        Ok(leaf)
    }

    /// A leaf node of our own, or one that was checked before.
    pub(crate) fn parse(suite: &dyn Suite, node: &LeafNode) -> Result<Self, Refusal> {
        let parent_hash = match &node.source {
            LeafSource::Commit { parent_hash } => optional_hash(parent_hash.as_slice())?,
            LeafSource::KeyPackage { .. } | LeafSource::Update => None,
        };
        let identity = node.credential.identity.as_slice();
        Ok(Self(Arc::new(Parts {
            bytes: encode(node).into(),
            encryption_key: PublicKey::parse(suite, node.encryption_key.as_slice())?,
            signature_key: node.signature_key.as_slice().try_into().map_err(|_| Refusal::Signature)?,
            verifier: OnceLock::new(),
            parent_hash,
            source: match &node.source {
                LeafSource::KeyPackage { .. } => Source::Package,
                LeafSource::Update => Source::Update,
                LeafSource::Commit { .. } => Source::Commit,
            },
            serial: serial_of(node)?,
            device: crate::device::Credential::read(identity).ok().map(|credential| credential.device().clone()),
        })))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// All fields.
    pub(crate) fn node(&self) -> Result<LeafNode, Refusal> {
        decode(self.bytes())
    }

    pub(crate) fn encryption_key(&self) -> &PublicKey {
        &self.0.encryption_key
    }

    pub(crate) fn signature_key(&self) -> &[u8; 32] {
        &self.0.signature_key
    }

    /// Verifies a message of its owner: for all of them the key is decoded once. `signed` has its label.
    pub(crate) fn verify(&self, suite: &dyn Suite, signed: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        let signature: &[u8; 64] = signature.try_into().map_err(|_| Refusal::Signature)?;
        let verifier = self.0.verifier.get_or_init(|| suite.verifier(self.signature_key()));
        let holds = verifier.as_ref().is_some_and(|verifier| verifier.verify(signed, signature));
        if holds { Ok(()) } else { Err(Refusal::Signature) }
    }

    /// Of a leaf from a commit, unless its path was empty.
    pub(crate) fn parent_hash(&self) -> Option<&Hash> {
        self.0.parent_hash.as_ref()
    }

    pub(crate) fn source(&self) -> Source {
        self.0.source
    }

    /// Which of its device's leaves it is: all of ours say so.
    pub(crate) fn serial(&self) -> Option<u64> {
        self.0.serial
    }

    /// Whose leaf it says it is, if its credential is one of ours.
    pub(crate) fn device(&self) -> Option<&Device> {
        self.0.device.as_ref()
    }
}

/// All else follows from the bytes.
impl PartialEq for Leaf {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Leaf {}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leaf({:?}, {} bytes)", self.device(), self.bytes().len())
    }
}

/// Empty, or the length of a hash (MLS M7).
pub(super) fn optional_hash(bytes: &[u8]) -> Result<Option<Hash>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    bytes.try_into().map(Some).map_err(|_| Refusal::ParentHash)
}

fn check_source(source: &LeafSource, found: Found<'_>) -> Result<(), Refusal> {
    let fits = match found {
        // MLS M62.
        Found::Package => matches!(source, LeafSource::KeyPackage { .. }),
        // MLS M63.
        Found::Path { .. } => matches!(source, LeafSource::Commit { .. }),
        Found::Tree { .. } => true,
    };
    if fits { Ok(()) } else { Err(Refusal::LeafSource) }
}

/// The leaf supports what every group of ours uses: this version, this suite (MLS M55), basic credentials
/// (MLS M53, M54). What else it supports makes no difference (MLS M58).
fn check_capabilities(suite: &dyn Suite, node: &LeafNode) -> Result<(), Refusal> {
    if node.credential.credential_type != BASIC {
        return Err(Refusal::Unsupported(Feature::Credential));
    }
    let capabilities = &node.capabilities;
    let complete = capabilities.versions.contains(&VERSION)
        && capabilities.suites.contains(&suite.number())
        && capabilities.credentials.contains(&BASIC);
    if complete { Ok(()) } else { Err(Refusal::Capabilities) }
}

/// Extensions of a leaf or its package may be unknown (MLS M59) where they are listed (MLS M56).
pub(crate) fn check_extensions(extensions: &[Extension], capabilities: &Capabilities) -> Result<(), Refusal> {
    no_type_twice(extensions)?;
    let listed = |extension: &Extension| {
        let kind = extension.extension_type;
        kind <= extension_type::LAST_DEFAULT || capabilities.extensions.contains(&kind)
    };
    if extensions.iter().all(listed) { Ok(()) } else { Err(Refusal::Capabilities) }
}

/// No list of extensions has a type twice (RFC 9420 §13.4; MLS M57).
pub(crate) fn no_type_twice(extensions: &[Extension]) -> Result<(), Refusal> {
    let mut types: Vec<u16> = extensions.iter().map(|extension| extension.extension_type).collect();
    types.sort_unstable();
    if types.windows(2).all(|pair| pair[0] != pair[1]) { Ok(()) } else { Err(Refusal::Extension) }
}
