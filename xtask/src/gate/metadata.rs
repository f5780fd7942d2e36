//! What `cargo metadata` says of packages and their dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use super::cargo;
use super::error::Error;

/// Packages and how they depend on each other, for all platforms.
#[derive(Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    pub(super) target_directory: PathBuf,
    resolve: Resolve,
}

/// Whether the crate `member` has an example, a test, ... of this name.
pub(crate) fn has_target(member: &str, kind: &str, name: &str) -> Result<bool, Error> {
    let metadata = Metadata::read()?;
    let mut members = metadata.members().filter(|package| package.name == member);
    Ok(members.any(|package| package.targets_of(kind).any(|target| target == name)))
}

/// Where cargo builds.
pub(crate) fn target_directory() -> Result<PathBuf, Error> {
    Ok(Metadata::read()?.target_directory)
}

/// One package.
#[derive(Deserialize)]
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Package {
    /// Names of its targets of one kind: `test`, `example`.
    pub(super) fn targets_of(&self, kind: &str) -> impl Iterator<Item = &str> {
        let targets = self.targets.iter().filter(move |target| target.kind.iter().any(|other| other == kind));
        targets.map(|target| target.name.as_str())
    }
}

/// A dependency as a manifest states it.
#[derive(Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) kind: Option<Kind>,
}

/// What a dependency is for; ordinary ones have no kind.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Build,
    Dev,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<Kind>,
}

impl Metadata {
    /// Asks cargo, which must find `Cargo.lock` complete.
    pub(super) fn read() -> Result<Self, Error> {
        let said = cargo::output(cargo::cargo(&["metadata", "--format-version=1", "--locked"]))?;
        serde_json::from_slice(&said).map_err(Error::Metadata)
    }

    /// The packages of this workspace.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The packages of others.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.workspace_members.contains(&package.id))
    }

    /// Names of all packages that `member`, its tests and its examples are built from.
    pub(super) fn tree(&self, member: &Package) -> BTreeSet<&str> {
        let nodes: BTreeMap<&str, &Node> = self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut found = BTreeSet::new();
        let mut work = vec![member.id.as_str()];
        while let Some(id) = work.pop() {
            let edges = nodes.get(id).map(|node| node.deps.as_slice()).unwrap_or_default();
            let built =
                |edge: &&Edge| id == member.id || edge.dep_kinds.iter().any(|kind| kind.kind != Some(Kind::Dev));
            let next = edges.iter().filter(built).map(|edge| edge.pkg.as_str());
            work.extend(next.filter(|id| found.insert(*id)));
        }
        self.packages.iter().filter(|package| found.contains(package.id.as_str())).map(|p| p.name.as_str()).collect()
    }
}
