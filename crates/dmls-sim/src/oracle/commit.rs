//! What a commit says to everybody: who made it on which epoch, who comes and who goes (RFC 9420 §12.4, SPEC §2.3).

use super::bytes::Bytes;

/// (user, device).
pub(super) type Name = (String, String);

/// A leaf that a commit puts into the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewLeaf {
    pub(super) device: Name,
    /// Signature key: under which identity it speaks.
    pub(super) signer: Vec<u8>,
    /// HPKE public key: which private key opens what is sealed to the leaf.
    pub(super) key: Vec<u8>,
}

/// A PublicMessage with a commit, as far as anybody can read it.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    /// The committer's leaf; `None` for an external commit.
    pub(super) sender: Option<usize>,
    pub(super) base: [u8; 32],
    /// Base and leaf of the points that it carries (SPEC §4.1); nothing for a PSK of another form.
    pub(super) points: Vec<Option<([u8; 32], usize)>>,
    /// Devices that are removed with the cause named.
    pub(super) caused: Vec<Name>,
    pub(super) resolves: Vec<[u8; 32]>,
    /// Leaves of the base that M was sealed to.
    pub(super) granted: Vec<usize>,
    pub(super) removes: Vec<usize>,
    pub(super) adds: Vec<NewLeaf>,
    /// The committer's own new leaf.
    pub(super) path: NewLeaf,
}

/// Reads an MLSMessage; `None` for anything but a public commit of this protocol.
pub(super) fn read(message: &[u8]) -> Option<Commit> {
    let mut bytes = Bytes(message);
    if bytes.number(2)? != 1 || bytes.number(2)? != 1 {
        return None;
    }
    bytes.vector()?; // group
    bytes.number(8)?; // epoch number
    let sender = match bytes.number(1)? {
        1 => Some(usize::try_from(bytes.number(4)?).ok()?),
        4 => None,
        _ => return None,
    };
    let signed = bytes.vector()?;
    if bytes.number(1)? != 3 {
        return None;
    }
    let mut proposals = Bytes(bytes.vector()?);
    let mut made = Made::default();
    while !proposals.is_empty() {
        read_proposal(&mut proposals, &mut made)?;
    }
    let Made { removes, adds, points } = made;
    if bytes.number(1)? != 1 {
        return None;
    }
    let path = read_leaf(&mut bytes)?;
    let Signed { base, resolves, caused, granted } = read_signed(signed)?;
    Some(Commit { sender, base, points, caused, resolves, granted, removes, adds, path })
}

/// What its proposals do.
#[derive(Default)]
struct Made {
    removes: Vec<usize>,
    adds: Vec<NewLeaf>,
    points: Vec<Option<([u8; 32], usize)>>,
}

fn read_proposal(bytes: &mut Bytes<'_>, made: &mut Made) -> Option<()> {
    if bytes.number(1)? != 1 {
        return None;
    }
    match bytes.number(2)? {
        1 => {
            bytes.number(4)?; // version, ciphersuite
            bytes.vector()?; // init key
            made.adds.push(read_leaf(bytes)?);
            bytes.skip_vectors(2)
        }
        3 => {
            made.removes.push(usize::try_from(bytes.number(4)?).ok()?);
            Some(())
        }
        4 => {
            let external = bytes.number(1)? == 1;
            made.points.push(external.then_some(()).and_then(|()| read_point(bytes.vector()?)));
            external.then_some(()).and_then(|()| bytes.skip_vectors(1))
        }
        6 => bytes.skip_vectors(1),
        _ => None,
    }
}

/// A PSK id of SPEC §4.1: base and leaf.
fn read_point(id: &[u8]) -> Option<([u8; 32], usize)> {
    let mut bytes = Bytes(id);
    (bytes.take(5)? == b"dmls1" && bytes.number(1)? == 0).then_some(())?;
    Some((bytes.id()?, usize::try_from(bytes.number(4)?).ok()?))
}

/// The leaf in a KeyPackage (RFC 9420 §10), bare or as an MLSMessage.
pub(super) fn leaf_of_package(package: &[u8]) -> Option<NewLeaf> {
    let mut bytes = Bytes(package);
    bytes.number(2)?; // version
    // An MLSMessage names its kind, 5, and repeats the version; a KeyPackage goes on with its ciphersuite, 1.
    if bytes.number(2)? == 5 {
        bytes.number(4)?;
    }
    bytes.vector()?; // init key
    read_leaf(&mut bytes)
}

/// RFC 9420 §7.2.
fn read_leaf(bytes: &mut Bytes<'_>) -> Option<NewLeaf> {
    let key = bytes.vector()?.to_vec();
    let signer = bytes.vector()?.to_vec();
    if bytes.number(2)? != 1 {
        return None;
    }
    let mut identity = Bytes(bytes.vector()?);
    identity.number(1)?;
    let device = (identity.text()?, identity.text()?);
    bytes.skip_vectors(5)?; // capabilities
    match bytes.number(1)? {
        1 => drop(bytes.take(16)?),
        2 => {}
        3 => drop(bytes.vector()?),
        _ => return None,
    }
    bytes.skip_vectors(2)?; // extensions, signature
    Some(NewLeaf { device, signer, key })
}

/// A commit's `authenticated_data` (SPEC §2.3).
struct Signed {
    base: [u8; 32],
    resolves: Vec<[u8; 32]>,
    caused: Vec<Name>,
    granted: Vec<usize>,
}

fn read_signed(signed: &[u8]) -> Option<Signed> {
    let mut bytes = Bytes(signed);
    if bytes.number(1)? != 2 {
        return None;
    }
    let base = read_reference(&mut bytes)?;
    let mut heads = Bytes(bytes.vector()?);
    let mut resolves = Vec::new();
    while !heads.is_empty() {
        resolves.push(read_reference(&mut heads)?);
    }
    bytes.take(64)?; // membership, policy
    let mut changes = Bytes(bytes.vector()?);
    let mut caused = Vec::new();
    while !changes.is_empty() {
        let removal = changes.number(1)? == 2;
        let device = (changes.text()?, changes.text()?);
        if !changes.vector()?.is_empty() && removal {
            caused.push(device);
        }
    }
    let mut grants = Bytes(bytes.vector()?);
    let mut granted = Vec::new();
    while !grants.is_empty() {
        granted.push(usize::try_from(grants.number(4)?).ok()?);
        grants.number(8)?; // serial
        grants.skip_vectors(2)?;
    }
    Some(Signed { base, resolves, caused, granted })
}

/// The id of an EpochRef.
fn read_reference(bytes: &mut Bytes<'_>) -> Option<[u8; 32]> {
    let id = bytes.id()?;
    bytes.skip_vectors(1)?;
    Some(id)
}

/// The epoch and the count that a message's sender signed (SPEC §2.9).
pub(super) fn read_message(message: &[u8]) -> Option<([u8; 32], u64)> {
    let mut bytes = Bytes(message);
    if bytes.number(2)? != 1 || bytes.number(2)? != 2 {
        return None;
    }
    bytes.vector()?;
    bytes.number(8)?;
    bytes.number(1)?;
    let mut signed = Bytes(bytes.vector()?);
    signed.number(1)?;
    Some((signed.id()?, signed.number(4)?))
}

/// The sealed content of a message (RFC 9420 §6.3.1).
pub(super) fn read_ciphertext(message: &[u8]) -> Option<&[u8]> {
    let mut bytes = Bytes(message);
    bytes.number(4)?; // version, wire format
    bytes.vector()?;
    bytes.number(8)?;
    bytes.number(1)?;
    bytes.skip_vectors(2)?; // authenticated data, sealed sender data
    bytes.vector()
}
