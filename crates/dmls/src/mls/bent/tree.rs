//! Which keys of a ratchet tree a leaf can open with.

use openmls::prelude::MlsGroup;
use tls_codec::{Deserialize as _, Serialize as _, TlsDeserialize, TlsSize, VLBytes};

use crate::id::LeafIndex;

/// `Node` (RFC 9420 §7.8).
#[derive(TlsDeserialize, TlsSize)]
#[repr(u8)]
enum Node {
    #[tls_codec(discriminant = 1)]
    Leaf(LeafNode),
    #[tls_codec(discriminant = 2)]
    Parent(ParentNode),
}

#[derive(TlsDeserialize, TlsSize)]
struct LeafNode {
    key: VLBytes,
    _signature_key: VLBytes,
    _credential: (u16, VLBytes),
    _capabilities: ((VLBytes, VLBytes, VLBytes), (VLBytes, VLBytes)),
    _source: Source,
    _extensions: VLBytes,
    _signature: VLBytes,
}

#[derive(TlsDeserialize, TlsSize)]
#[repr(u8)]
enum Source {
    #[tls_codec(discriminant = 1)]
    KeyPackage((u64, u64)),
    #[tls_codec(discriminant = 2)]
    Update,
    #[tls_codec(discriminant = 3)]
    Commit(VLBytes),
}

#[derive(TlsDeserialize, TlsSize)]
struct ParentNode {
    key: VLBytes,
    _parent_hash: VLBytes,
    unmerged_leaves: Vec<u32>,
}

/// The public keys of the nodes whose private keys the device at `leaf` may hold: its leaf and the parents above it.
pub(super) fn keys_of(group: &MlsGroup, leaf: LeafIndex) -> Vec<Vec<u8>> {
    let tree = group.export_ratchet_tree().tls_serialize_detached().unwrap_or_default();
    let nodes = <Vec<Option<Node>>>::tls_deserialize_exact(&tree).unwrap_or_default();
    let above = std::iter::successors(Some(leaf.0 * 2), |at| Some(parent(*at))).take_while(|at| *at < 1 << 24);
    let held = above.filter_map(|at| match nodes.get(at as usize)?.as_ref()? {
        Node::Leaf(node) => Some(node.key.as_slice().to_vec()),
        Node::Parent(node) => (!node.unmerged_leaves.contains(&leaf.0)).then(|| node.key.as_slice().to_vec()),
    });
    held.collect()
}

/// RFC 9420, Appendix C; above the root it goes on as if the tree were larger.
fn parent(node: u32) -> u32 {
    let level = node.trailing_ones();
    (node | (1 << level)) & !(1 << (level + 1))
}
