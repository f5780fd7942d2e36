//! Sending what the machine wants sent.

use matrix_sdk_crypto::types::requests::{AnyOutgoingRequest, OutgoingRequest, ToDeviceRequest};
use ruma::api::client::keys::claim_keys;
use ruma::api::client::keys::upload_signatures::v3::Response as SignaturesUploaded;
use ruma::api::client::to_device::send_event_to_device::v3 as to_device;
use ruma::{TransactionId, UserId};

use super::query::ask;
use super::{Identity, Queried, olm_error, store_error};
use crate::error::IdentityError;
use crate::http::Api;

/// Answers make further requests (an upload's answer: more one-time keys), but not for ever.
const ROUNDS: usize = 3;

impl Identity {
    /// Sends the machine's requests: its one-time keys, queries for changed users, repair of Olm channels.
    ///
    /// Remote homeservers that do not answer delay it by some seconds and are named; they are no error.
    pub async fn pump(&self, api: &Api) -> Result<Queried, IdentityError> {
        let _turn = self.queries.lock().await;
        let mut queried = Queried::default();
        for _ in 0..ROUNDS {
            let mut requests = self.machine.outgoing_requests().await.map_err(store_error)?;
            requests.retain(|request| !Self::is_first_upload(request.request()));
            if requests.is_empty() {
                break;
            }
            for request in requests {
                self.send_one(api, &request, &mut queried).await?;
            }
        }
        self.repair_channels(api).await?;
        Ok(queried)
    }

    async fn send_one(&self, api: &Api, request: &OutgoingRequest, queried: &mut Queried) -> Result<(), IdentityError> {
        let id = request.request_id();
        match request.request() {
            AnyOutgoingRequest::KeysUpload(upload) => self.upload(api, id, upload.clone()).await,
            AnyOutgoingRequest::KeysQuery(query) => {
                let answer = ask(api, query.clone()).await?;
                queried.failed_servers.extend(self.receive_query(&id.to_owned(), &answer).await?);
                Ok(())
            }
            AnyOutgoingRequest::KeysClaim(claim) => self.claim(api, id, claim.clone()).await,
            AnyOutgoingRequest::ToDeviceRequest(request) => self.send_to_device(api, id, request).await,
            AnyOutgoingRequest::SignatureUpload(request) => {
                self.upload_signatures(api, request.clone()).await?;
                self.machine.mark_request_as_sent(id, &SignaturesUploaded::new()).await.map_err(olm_error)
            }
            // Verification inside rooms: this client does not begin any.
            AnyOutgoingRequest::RoomMessage(_) => Ok(()),
        }
    }

    async fn send_to_device(
        &self,
        api: &Api,
        id: &TransactionId,
        request: &ToDeviceRequest,
    ) -> Result<(), IdentityError> {
        let (kind, messages) = (request.event_type.clone(), request.messages.clone());
        let typed = to_device::Request::new_raw(kind, request.txn_id.clone(), messages);
        let answer = api.send_ruma(typed, true).await?;
        self.machine.mark_request_as_sent(id, &answer).await.map_err(olm_error)
    }

    /// Claims keys for new Olm channels in the place of broken ones.
    async fn repair_channels(&self, api: &Api) -> Result<(), IdentityError> {
        let none = std::iter::empty::<&UserId>();
        let missing = self.machine.get_missing_sessions(none).await.map_err(store_error)?;
        match missing {
            Some((id, claim)) => self.claim(api, &id, claim).await,
            None => Ok(()),
        }
    }

    pub(super) async fn claim(
        &self,
        api: &Api,
        id: &TransactionId,
        claim: claim_keys::v3::Request,
    ) -> Result<(), IdentityError> {
        let answer = api.send_ruma(claim, true).await?;
        self.machine.mark_request_as_sent(id, &answer).await.map_err(olm_error)
    }
}
