//! The state of every pair of servers' link.

use tokio::sync::watch;

use super::error::Error;
use super::names::{ServerCount, ServerNumber};
use super::status::{LinkState, LinkStatus};

/// Two different servers, the lower first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair(pub(super) ServerNumber, pub(super) ServerNumber);

impl Pair {
    /// Orders two servers.
    pub(super) fn new(a: ServerNumber, b: ServerNumber) -> Result<Self, Error> {
        match a.cmp(&b) {
            std::cmp::Ordering::Less => Ok(Self(a, b)),
            std::cmp::Ordering::Greater => Ok(Self(b, a)),
            std::cmp::Ordering::Equal => Err(Error::SameServer(a)),
        }
    }
}

/// The state of every pair of servers' link; who forwards bytes watches it.
#[derive(Debug)]
pub(super) struct Links {
    count: ServerCount,
    pairs: Vec<(Pair, watch::Sender<LinkState>)>,
}

impl Links {
    /// Makes all links, up.
    pub(super) fn new(count: ServerCount) -> Self {
        let pairs = count.servers().flat_map(|a| count.servers().filter(move |b| a < *b).map(move |b| Pair(a, b)));
        let pairs = pairs.map(|pair| (pair, watch::Sender::new(LinkState::Up))).collect();
        Self { count, pairs }
    }

    fn find(&self, a: ServerNumber, b: ServerNumber) -> Result<&watch::Sender<LinkState>, Error> {
        self.count.check(a)?;
        self.count.check(b)?;
        let pair = Pair::new(a, b)?;
        let found = self.pairs.iter().find(|(candidate, _)| *candidate == pair);
        found.map(|(_, link)| link).ok_or(Error::UnknownServer { server: pair.1, count: self.count })
    }

    /// Changes the state of the link of two servers, in both directions.
    pub(super) fn set(&self, a: ServerNumber, b: ServerNumber, state: LinkState) -> Result<(), Error> {
        self.find(a, b)?.send_replace(state);
        Ok(())
    }

    /// Watches the state of the link of two servers.
    pub(super) fn watch(&self, a: ServerNumber, b: ServerNumber) -> Result<watch::Receiver<LinkState>, Error> {
        Ok(self.find(a, b)?.subscribe())
    }

    /// Gives the state of all links.
    pub(super) fn status(&self) -> Vec<LinkStatus> {
        let status = |(pair, link): &(Pair, watch::Sender<LinkState>)| LinkStatus {
            a: pair.0,
            b: pair.1,
            state: *link.borrow(),
        };
        self.pairs.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_the_same_from_both_ends() -> Result<(), Error> {
        let links = Links::new(ServerCount::THREE);
        links.set(ServerNumber::HS3, ServerNumber::HS1, LinkState::Cut)?;
        let states: Vec<LinkState> = links.status().iter().map(|link| link.state).collect();
        assert_eq!(states, [LinkState::Up, LinkState::Cut, LinkState::Up]);
        Ok(())
    }

    #[test]
    fn unknown_servers_have_no_link() {
        let links = Links::new(ServerCount::TWO);
        let result = links.set(ServerNumber::HS1, ServerNumber::HS3, LinkState::Cut);
        assert!(matches!(result, Err(Error::UnknownServer { .. })));
        let result = links.set(ServerNumber::HS1, ServerNumber::HS1, LinkState::Cut);
        assert!(matches!(result, Err(Error::SameServer(_))));
    }
}
