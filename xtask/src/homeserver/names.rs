//! Names and numbers of instances, servers and users.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// The most servers that an instance can have.
const MOST_SERVERS: u8 = 9;

/// The name of an instance, which is also its directory's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceName(String);

impl InstanceName {
    /// Makes a name that no other process uses now: `stem` and the process's number.
    ///
    /// # Errors
    /// [`Error::InstanceName`] if `stem` is not 1 to 30 of a-z, 0-9 and '-'.
    pub fn unique(stem: &str) -> Result<Self, Error> {
        format!("{stem}-{}", std::process::id()).parse()
    }

    /// Gives the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 40 || !text.bytes().all(allowed) {
            return Err(Error::InstanceName(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many servers an instance has, 1 to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct ServerCount(u8);

impl ServerCount {
    /// One server.
    pub const ONE: Self = Self(1);
    /// Two servers.
    pub const TWO: Self = Self(2);
    /// Three servers.
    pub const THREE: Self = Self(3);

    /// As many as there can be.
    pub(super) const MOST: Self = Self(MOST_SERVERS);

    /// Gives all servers of an instance of this size.
    pub fn servers(self) -> impl Iterator<Item = ServerNumber> {
        (1..=self.0).map(ServerNumber)
    }

    /// Finds out that `server` is one of an instance of this size.
    pub(super) fn check(self, server: ServerNumber) -> Result<usize, Error> {
        if server.0 > self.0 {
            return Err(Error::UnknownServer { server, count: self });
        }
        Ok(server.index())
    }
}

impl TryFrom<u8> for ServerCount {
    type Error = Error;

    fn try_from(count: u8) -> Result<Self, Error> {
        if count == 0 || count > MOST_SERVERS {
            return Err(Error::ServerCount(count));
        }
        Ok(Self(count))
    }
}

impl FromStr for ServerCount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::try_from(text.parse().unwrap_or(0))
    }
}

impl From<ServerCount> for u8 {
    fn from(count: ServerCount) -> Self {
        count.0
    }
}

impl fmt::Display for ServerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A server of an instance; written `hs1.test`, read also from `hs1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerNumber(u8);

impl ServerNumber {
    /// The first server, `hs1.test`.
    pub const HS1: Self = Self(1);
    /// The second server, `hs2.test`.
    pub const HS2: Self = Self(2);
    /// The third server, `hs3.test`.
    pub const HS3: Self = Self(3);

    /// Gives the server's place among all, from 0.
    pub(super) fn index(self) -> usize {
        usize::from(self.0.saturating_sub(1))
    }

    /// Gives the short name, such as `hs1`.
    #[must_use]
    pub fn short(self) -> String {
        format!("hs{}", self.0)
    }
}

impl FromStr for ServerNumber {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let short = text.strip_suffix(".test").unwrap_or(text);
        match short.strip_prefix("hs").map(str::as_bytes) {
            Some([digit @ b'1'..=b'9']) => Ok(Self(digit - b'0')),
            _ => Err(Error::ServerName(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ServerNumber {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ServerNumber> for String {
    fn from(server: ServerNumber) -> Self {
        server.to_string()
    }
}

impl fmt::Display for ServerNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hs{}.test", self.0)
    }
}

/// A registered user's full id, such as `@alice:hs1.test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserId(String);

impl UserId {
    /// Takes the id that a server gave.
    pub(super) fn from_server(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// Gives the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_short_and_long() -> Result<(), Error> {
        assert_eq!("hs2".parse::<ServerNumber>()?, ServerNumber::HS2);
        assert_eq!("hs2.test".parse::<ServerNumber>()?, ServerNumber::HS2);
        for wrong in ["", "hs", "hs0", "hs10", "hs1.tes", "xhs1", "hs-1"] {
            assert!(wrong.parse::<ServerNumber>().is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn instance_names_cannot_leave_their_directory() {
        for wrong in ["", "..", "a/b", "A", "a b"] {
            assert!(wrong.parse::<InstanceName>().is_err(), "{wrong}");
        }
        assert!("e2e-1".parse::<InstanceName>().is_ok());
    }

    #[test]
    fn counts_are_bounded() {
        assert!("0".parse::<ServerCount>().is_err());
        assert!("10".parse::<ServerCount>().is_err());
        assert_eq!("2".parse::<ServerCount>().ok(), Some(ServerCount::TWO));
    }
}
