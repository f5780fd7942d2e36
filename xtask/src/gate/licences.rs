//! `cargo xtask licences`: whether this may be given away under its own licence with all it is built from.

use super::error::Error;
use super::metadata::Metadata;
use super::spdx;
use super::table::Table;

/// Licences whose conditions a binary can meet by naming them.
const ALLOWED: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Every dependency's licence expression can be satisfied from the allowed ones.
///
/// # Errors
/// [`Error::Findings`] lists the others.
pub fn licences() -> Result<String, Error> {
    let metadata = Metadata::read()?;
    let mut findings = Table::new(&["package", "version", "licence"]);
    let mut count = 0;
    for package in metadata.foreign() {
        count += 1;
        let stated = package.license.as_deref().unwrap_or_default();
        if !spdx::satisfied(stated, &|licence| ALLOWED.contains(&licence)) {
            let shown = if stated.is_empty() { "(none stated)" } else { stated };
            findings.push(&[&package.name, &package.version, shown]);
        }
    }
    if findings.is_empty() {
        return Ok(format!("{count} dependencies under allowed licences"));
    }
    Err(Error::Findings { what: "licences that are not on the list of allowed ones".to_owned(), table: findings })
}
