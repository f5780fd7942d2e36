//! Requests on their way: each once, all at the same time, so that a slow homeserver delays only its own answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use dmls_matrix::RequestId;
use dmls_matrix::facts::UserDevices;
use dmls_matrix::request::{OutgoingRequest, Request};
use serde_json::Value;
use tokio::task::JoinSet;

use super::carry::{Carried, carry, waits_for_others, word};
use crate::error::{ApiError, IdentityError};
use crate::http::Api;
use crate::identity::{Identity, Queried};

/// Requests at the same time that wait for other homeservers, and others: neither keeps the other waiting.
const MAX: usize = 24;

/// What came in.
pub(super) enum Arrival {
    /// The answer to a request of the machine.
    Answer { id: RequestId, kind: Kind, carried: Carried },
    /// The answer to a sync.
    Sync(Result<Value, ApiError>),
    /// The identity's own requests were carried out.
    Pumped(Result<Queried, IdentityError>),
    /// Devices that were asked for without an occasion.
    Refreshed(Result<Vec<UserDevices>, IdentityError>),
}

/// What is worth remembering of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) word: &'static str,
    /// It waits for other homeservers.
    pub(super) remote: bool,
    /// It is a key query.
    query: bool,
    /// It changes something that others will see.
    pub(super) sends: bool,
}

impl Kind {
    fn of(request: &Request) -> Self {
        Self {
            word: word(request),
            remote: waits_for_others(request),
            query: matches!(request, Request::KeysQuery { .. }),
            sends: matches!(request, Request::RoomEvent { .. } | Request::StateEvent { .. } | Request::ToDevice { .. }),
        }
    }
}

/// All that is under way; dropping it gives up.
#[derive(Default)]
pub(super) struct Flight {
    tasks: JoinSet<Arrival>,
    requests: BTreeMap<RequestId, Kind>,
    syncing: bool,
    pumping: bool,
    refreshing: bool,
}

impl Flight {
    /// Starts a request unless it is on its way; its kind if it was started.
    pub(super) fn start(&mut self, api: &Api, identity: &Arc<Identity>, outgoing: OutgoingRequest) -> Option<Kind> {
        let OutgoingRequest { id, request } = outgoing;
        let kind = Kind::of(&request);
        let alike = self.requests.values().filter(|other| other.remote == kind.remote).count();
        if self.requests.contains_key(&id) || alike >= MAX {
            return None;
        }
        self.requests.insert(id.clone(), kind);
        let (api, identity) = (api.clone(), identity.clone());
        self.tasks.spawn(async move { Arrival::Answer { id, kind, carried: carry(api, identity, request).await } });
        Some(kind)
    }

    /// Starts a sync unless one is on its way.
    pub(super) fn start_sync(&mut self, sync: impl Future<Output = Result<Value, ApiError>> + Send + 'static) {
        if !self.syncing {
            self.syncing = true;
            self.tasks.spawn(async move { Arrival::Sync(sync.await) });
        }
    }

    /// Starts the identity's own requests, once no query of the machine is left that may spare them; whether it did.
    pub(super) fn start_pump(&mut self, api: &Api, identity: &Arc<Identity>) -> bool {
        if self.pumping || self.requests.values().any(|kind| kind.query) {
            return false;
        }
        self.pumping = true;
        let (api, identity) = (api.clone(), identity.clone());
        self.tasks.spawn(async move { Arrival::Pumped(identity.pump(&api).await) });
        true
    }

    /// Starts a round of key queries unless one is on its way.
    pub(super) fn start_refresh(
        &mut self,
        refresh: impl Future<Output = Result<Vec<UserDevices>, IdentityError>> + Send + 'static,
    ) {
        if !self.refreshing {
            self.refreshing = true;
            self.tasks.spawn(async move { Arrival::Refreshed(refresh.await) });
        }
    }

    /// The next arrival; never, when nothing is under way.
    pub(super) async fn next(&mut self) -> Arrival {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(arrival)) => {
                    self.forget(&arrival);
                    return arrival;
                }
                // A task that panicked or was aborted: the machine lists its request again at the next start.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn forget(&mut self, arrival: &Arrival) {
        match arrival {
            Arrival::Answer { id, .. } => drop(self.requests.remove(id)),
            Arrival::Sync(_) => self.syncing = false,
            Arrival::Pumped(_) => self.pumping = false,
            Arrival::Refreshed(_) => self.refreshing = false,
        }
    }

    /// Whether a sync is on its way.
    pub(super) fn is_syncing(&self) -> bool {
        self.syncing
    }

    /// Whether no request of machine or identity is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && !self.pumping && !self.refreshing
    }

    /// Whether all that is on its way waits for other homeservers.
    pub(super) fn only_remote(&self) -> bool {
        self.requests.values().all(|kind| kind.remote)
    }
}
