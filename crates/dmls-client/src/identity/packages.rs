//! Key packages on the homeservers, as one-time and fallback keys of an algorithm of our own (SPEC §6).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dmls::id::Device;
use dmls_matrix::{NAMESPACE, SUITE};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::{Identity, lanes, user_id};
use crate::error::{ApiError, IdentityError};
use crate::http::Api;

/// Devices in one `/keys/claim`.
const BATCH: usize = 200;
/// What the own homeserver may need on top of waiting for a remote one.
const OVERHEAD: Duration = Duration::from_secs(20);

/// Algorithm name of key packages among one-time keys.
pub fn key_package_algorithm() -> String {
    format!("{NAMESPACE}.key_package.{SUITE}")
}

/// A key package that the homeserver gave out; not yet verified.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedPackage {
    /// Whose it is to be.
    pub device: Device,
    /// Its key id without the algorithm: the key package's reference.
    pub reference: String,
    /// Its value as uploaded.
    pub value: Value,
}

/// What one homeserver gave for a claim.
#[derive(Debug)]
pub struct ServerClaim {
    /// The homeserver of the devices.
    pub server: String,
    /// The packages; devices without one have none left. `Err` if the homeserver did not answer.
    pub packages: Result<Vec<ClaimedPackage>, ApiError>,
}

/// A claim under way at several homeservers, each on its own. Dropping it gives up.
#[derive(Debug)]
pub struct Claims(JoinSet<ServerClaim>);

impl Claims {
    /// The next homeserver's answer, as they come; `None` after the last.
    pub async fn next(&mut self) -> Option<ServerClaim> {
        loop {
            match self.0.join_next().await? {
                Ok(claim) => return Some(claim),
                Err(_) => continue,
            }
        }
    }
}

/// Everything that a claim brought.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The packages.
    pub packages: Vec<ClaimedPackage>,
    /// Homeservers that did not answer.
    pub failed_servers: BTreeSet<String>,
}

impl Identity {
    /// Uploads key packages as `(reference, value)`; returns how many unclaimed keys of each algorithm there now are.
    ///
    /// The same reference with the same value may be uploaded again. The device keys' owner hears nothing of it.
    pub async fn upload_key_packages(
        &self,
        api: &Api,
        one_time: &[(String, Value)],
        fallback: Option<&(String, Value)>,
    ) -> Result<BTreeMap<String, u64>, IdentityError> {
        let algorithm = key_package_algorithm();
        let named = |(reference, value): &(String, Value)| (format!("{algorithm}:{reference}"), value.clone());
        let one_time: Map<_, _> = one_time.iter().map(named).collect();
        let mut body = json!({ "one_time_keys": one_time });
        if let Some(fallback) = fallback {
            body["fallback_keys"] = Value::Object(Map::from_iter([named(fallback)]));
        }
        let path = ["_matrix", "client", "v3", "keys", "upload"];
        let answer = api.call_repeatable(Method::POST, &path, &[], Some(&body)).await?;
        let counts = answer["one_time_key_counts"].as_object().ok_or(ApiError::BadAnswer("one_time_key_counts"))?;
        Ok(counts.iter().filter_map(|(kind, count)| Some((kind.clone(), count.as_u64()?))).collect())
    }

    /// Begins to claim one key package for each device, at each homeserver apart: a dead one delays only its own users.
    pub fn start_claim(&self, api: &Api, devices: &[Device], timeout: Duration) -> Result<Claims, IdentityError> {
        let mut servers: BTreeMap<String, Vec<Device>> = BTreeMap::new();
        for device in devices {
            let server = user_id(&device.user)?.server_name().to_string();
            servers.entry(server).or_default().push(device.clone());
        }
        let mut patience = api.patience();
        patience.attempt = patience.attempt.max(timeout + OVERHEAD);
        let api = api.with_patience(patience);
        let (mut claims, lanes) = (JoinSet::new(), lanes());
        for (server, devices) in servers {
            for batch in devices.chunks(BATCH) {
                let (api, lanes, server, devices) = (api.clone(), lanes.clone(), server.clone(), batch.to_vec());
                claims.spawn(async move {
                    let _lane = lanes.acquire().await;
                    let packages = claim_batch(&api, &server, &devices, timeout).await;
                    ServerClaim { server, packages }
                });
            }
        }
        Ok(Claims(claims))
    }

    /// Claims one key package for each device and waits for all homeservers, dead ones up to `timeout`.
    ///
    /// An error only if the own homeserver answers nothing at all, or refuses.
    pub async fn claim_key_packages(
        &self,
        api: &Api,
        devices: &[Device],
        timeout: Duration,
    ) -> Result<Claimed, IdentityError> {
        let mut claims = self.start_claim(api, devices, timeout)?;
        let (mut claimed, mut silent, mut any) = (Claimed::default(), None, false);
        while let Some(claim) = claims.next().await {
            match claim.packages {
                Ok(packages) => {
                    any = true;
                    claimed.packages.extend(packages);
                }
                Err(error) if error.is_temporary() => {
                    claimed.failed_servers.extend([claim.server]);
                    match error {
                        ApiError::Refused { .. } => any = true,
                        own_homeserver => silent = silent.or(Some(own_homeserver)),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        match silent {
            Some(error) if !any => Err(error.into()),
            _ => Ok(claimed),
        }
    }
}

async fn claim_batch(
    api: &Api,
    server: &str,
    devices: &[Device],
    timeout: Duration,
) -> Result<Vec<ClaimedPackage>, ApiError> {
    let algorithm = key_package_algorithm();
    let mut wanted: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for device in devices {
        wanted.entry(&device.user).or_default().insert(&device.device, &algorithm);
    }
    let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let body = json!({ "timeout": timeout, "one_time_keys": wanted });
    let path = ["_matrix", "client", "v3", "keys", "claim"];
    let mut answer = api.call_repeatable(Method::POST, &path, &[], Some(&body)).await?;
    if let Some(failure) = answer["failures"].get(server) {
        return Err(remote_failure(failure));
    }
    let keys = &mut answer["one_time_keys"];
    Ok(devices.iter().filter_map(|device| take(keys, device, &algorithm)).collect())
}

/// The key of a device that was asked for; anything else in the answer does not count.
fn take(keys: &mut Value, device: &Device, algorithm: &str) -> Option<ClaimedPackage> {
    let given = keys.get_mut(&device.user)?.get_mut(&device.device)?.as_object_mut()?;
    given.iter_mut().find_map(|(id, value)| {
        let reference = id.strip_prefix(algorithm)?.strip_prefix(':')?.to_owned();
        Some(ClaimedPackage { device: device.clone(), reference, value: value.take() })
    })
}

/// The homeserver's note about a remote one that it could not ask.
fn remote_failure(failure: &Value) -> ApiError {
    let status = failure["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(503);
    ApiError::Refused {
        status: status.max(500),
        errcode: failure["errcode"].as_str().unwrap_or_default().to_owned(),
        message: failure["message"].as_str().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use dmls::id::Device;
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::take;
    use crate::error::IdentityError;
    use crate::http::{Api, Patience};
    use crate::identity::Identity;

    /// The own homeserver's silence is not blamed on others.
    #[tokio::test]
    async fn nothing_is_claimed_offline() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::open(dir.path(), &Zeroizing::new([1; 32]), "@a:hs1.test", "A").await.unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let api = Api::new(&format!("http://127.0.0.1:{port}")).unwrap();
        let api = api.with_patience(Patience { offline: Duration::ZERO, ..Patience::default() });
        let bob = Device::new("@b:hs2.test", "B");
        let claimed = identity.claim_key_packages(&api, std::slice::from_ref(&bob), Duration::ZERO).await;
        assert!(matches!(claimed, Err(IdentityError::Api(error)) if error.code() == "unreachable"));
        let queried = identity.query(&api, &[&bob.user]).await;
        assert!(matches!(queried, Err(IdentityError::Api(error)) if error.code() == "unreachable"));
        assert_eq!(identity.facts(&bob.user).await.unwrap(), None);
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let device = Device::new("@a:b", "D");
        let mut keys = json!({ "@a:b": { "D": { "other:1": "x", "alg:2": "y" }, "E": { "alg:3": "z" } } });
        let taken = take(&mut keys, &device, "alg").map(|package| (package.reference, package.value));
        assert_eq!(taken, Some(("2".to_owned(), json!("y"))));
        let mut keys = json!({ "@a:b": { "D": { "algo:2": "y" } } });
        assert_eq!(take(&mut keys, &device, "alg"), None);
        assert_eq!(take(&mut json!({}), &device, "alg"), None);
    }
}
