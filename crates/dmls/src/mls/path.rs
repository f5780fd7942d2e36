//! TreeKEM (RFC 9420 §7.4-§7.6): a path is made by its owner, checked by everybody, opened by members.

use super::Refusal;
use super::crypto::{self, KeyPair, PublicKey, SealError, derive, draw};
use super::tree::{Found, Leaf, Maker, Place, Step, Tree};
use super::wire::{HpkeCiphertext, LeafSource, UpdatePath, UpdatePathNode};
use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;
use crate::suite::Suite;

/// The private keys that a member holds on its direct path, by height; its leaf's is at 0.
///
/// **Invariant**: each is the other half of the public key that stands at its place in the tree it goes with.
#[derive(Clone, Debug, Default)]
pub(super) struct PathKeys(Vec<Option<KeyPair>>);

impl PathKeys {
    pub(super) fn of_leaf(pair: KeyPair) -> Self {
        Self(vec![Some(pair)])
    }

    pub(super) fn set(&mut self, height: u32, pair: KeyPair) {
        let height = height as usize;
        if self.0.len() <= height {
            self.0.resize(height + 1, None);
        }
        self.0[height] = Some(pair);
    }

    pub(super) fn get(&self, height: u32) -> Option<&KeyPair> {
        self.0.get(height as usize)?.as_ref()
    }

    /// What is held, by height.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &KeyPair)> {
        (0u32..).zip(&self.0).filter_map(|(height, pair)| Some((height, pair.as_ref()?)))
    }

    /// Without the keys whose public halves no longer stand above leaf `own` (MLS M130).
    pub(super) fn standing_in(&self, tree: &Tree, own: u32) -> Self {
        let mut kept = Self::default();
        for (height, pair) in self.iter() {
            if tree.key(Place::above(own, height)) == Some(&pair.public) {
                kept.set(height, pair.clone());
            }
        }
        kept
    }
}

/// A path made by its owner, not yet sealed to anybody.
pub(super) struct OwnPath {
    pub(super) keys: PathKeys,
    /// Path secrets, bottom up.
    pub(super) secrets: Vec<(Place, Secret)>,
    pub(super) commit_secret: Secret,
    leaf: super::wire::LeafNode,
    steps: Vec<(Step, PublicKey)>,
}

impl OwnPath {
    /// Renews the path of leaf `own` in `tree` (RFC 9420 §7.5).
    pub(super) fn make(
        tree: &mut Tree,
        own: u32,
        maker: &Maker<'_>,
        group: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<Self, MakeError> {
        let leaf_pair = KeyPair::derive(maker.suite, &draw(entropy)?);
        let mut secret = draw(entropy)?;
        let steps = tree.filtered_path(own);
        let (mut secrets, mut keys, mut publics) = (Vec::new(), PathKeys::of_leaf(leaf_pair.clone()), Vec::new());
        for step in &steps {
            let pair = KeyPair::derive(maker.suite, &derive(&secret, "node"));
            publics.push(pair.public.clone());
            keys.set(step.place.height, pair);
            let next = derive(&secret, "path");
            secrets.push((step.place, std::mem::replace(&mut secret, next)));
        }
        let (parents, parent_hash) = Tree::plan_path(&steps, &publics)?;
        let parent_hash = parent_hash.map_or(Vec::new(), |hash| hash.to_vec()).into();
        let leaf = maker.leaf_node(&leaf_pair.public, LeafSource::Commit { parent_hash }, Some((group, own)));
        tree.set_path(own, Leaf::parse(maker.suite, &leaf)?, &parents)?;
        let steps = steps.into_iter().zip(publics).collect();
        Ok(Self { keys, secrets, commit_secret: secret, leaf, steps })
    }

    /// Seals the path's secrets to all beside it but the leaves in `new`; `context` is the new epoch's GroupContext as
    /// far as it is known (RFC 9420 §7.6).
    pub(super) fn seal(
        &self,
        suite: &dyn Suite,
        context: &[u8],
        new: &[u32],
        entropy: &mut dyn Entropy,
    ) -> Result<UpdatePath, MakeError> {
        let mut nodes = Vec::with_capacity(self.steps.len());
        for ((step, key), (_, secret)) in self.steps.iter().zip(&self.secrets) {
            let mut path_secret: Vec<HpkeCiphertext> = Vec::new();
            for target in step.targets(new) {
                let sealed = crypto::seal(suite, &target.key, PATH_LABEL, context, secret.expose(), entropy)?;
                path_secret.push(sealed);
            }
            nodes.push(UpdatePathNode { encryption_key: key.as_slice().into(), path_secret });
        }
        Ok(UpdatePath { leaf: self.leaf.clone(), nodes })
    }
}

const PATH_LABEL: &str = "UpdatePathNode";

/// Why a commit or a Welcome could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MakeError {
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// What was to be put in does not go there.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<SealError> for MakeError {
    /// A key that stands in a tree was checked when it came there, so that it can be sealed to.
    fn from(error: SealError) -> Self {
        match error {
            SealError::Entropy(error) => Self::Entropy(error),
            SealError::Suite(_) => Self::Refused(Refusal::PublicKey),
        }
    }
}

/// Checks another's path by what is public and puts it into the tree (RFC 9420 §12.4.2); gives its steps.
///
/// `new` are the leaves that the same commit added, ascending: nothing is sealed to them.
pub(super) fn take(
    suite: &dyn Suite,
    tree: &mut Tree,
    sender: u32,
    path: &UpdatePath,
    group: &[u8],
    new: &[u32],
) -> Result<Vec<Step>, Refusal> {
    // MLS M128.
    let leaf = Leaf::check(suite, &path.leaf, Found::Path { group, index: sender })?;
    let keys = path.nodes.iter().map(|node| PublicKey::parse(suite, node.encryption_key.as_slice()));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let steps = tree.filtered_path(sender);
    let (parents, parent_hash) = Tree::plan_path(&steps, &keys)?;
    // MLS M123.
    if leaf.parent_hash() != parent_hash.as_ref() {
        return Err(Refusal::ParentHash);
    }
    // MLS M119; leaves that are new are not counted (MLS M120).
    let counts_fit = steps.iter().zip(&path.nodes).all(|(step, node)| step.target_count(new) == node.path_secret.len());
    if !counts_fit {
        return Err(Refusal::Ciphertexts);
    }
    tree.set_path(sender, leaf, &parents)?;
    Ok(steps)
}

/// Opens a path with what leaf `own` holds; gives the keys that it holds then, and the commit secret (RFC 9420 §7.6).
///
/// `tree` is the tree with the path in it, `keys` go with the tree before.
#[allow(clippy::too_many_arguments)]
pub(super) fn open(
    suite: &dyn Suite,
    own: u32,
    keys: &PathKeys,
    tree: &Tree,
    sender: u32,
    path: &UpdatePath,
    steps: &[Step],
    context: &[u8],
    new: &[u32],
) -> Result<(PathKeys, Secret), Refusal> {
    let meeting = Place::meeting(own, sender);
    let at = steps.iter().position(|step| step.place == meeting).ok_or(Refusal::PathClosed)?;
    let targets = steps[at].targets(new);
    let held = |place: Place| if place.covers(own) { keys.get(place.height) } else { None };
    let sealed = targets.iter().zip(&path.nodes[at].path_secret);
    let mut readable = sealed.filter_map(|(target, sealed)| Some((held(target.place)?, sealed)));
    let (pair, sealed) = readable.next().ok_or(Refusal::PathClosed)?;
    // MLS M122.
    let opened = crypto::open(suite, &pair.private, PATH_LABEL, context, sealed).map_err(|_| Refusal::PathClosed)?;
    let secret = Secret::parse(&opened).ok_or(Refusal::PathClosed)?;
    let mut after = keys.standing_in(tree, own);
    let places: Vec<Place> = steps[at..].iter().map(|step| step.place).collect();
    let commit_secret = climb(suite, &places, secret, tree, &mut after)?;
    Ok((after, commit_secret))
}

/// From a path secret up to the commit secret; every key must be the one that stands in the tree (MLS M121).
pub(super) fn climb(
    suite: &dyn Suite,
    places: &[Place],
    mut secret: Secret,
    tree: &Tree,
    keys: &mut PathKeys,
) -> Result<Secret, Refusal> {
    for place in places {
        let pair = KeyPair::derive(suite, &derive(&secret, "node"));
        if tree.key(*place) != Some(&pair.public) {
            return Err(Refusal::PathKey);
        }
        keys.set(place.height, pair);
        secret = derive(&secret, "path");
    }
    Ok(secret)
}
