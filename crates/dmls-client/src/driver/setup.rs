//! From a password to a device that others may add: each step may be repeated, so that a crash costs nothing.

use std::sync::Arc;

use dmls::entropy::EntropyError;
use dmls::id::Device;
use dmls_matrix::facts::Endorsement;
use dmls_store::SqliteStore;

use super::flight::Flight;
use super::system::new_device_id;
use super::{
    Client, ClientError, IDENTITY_LABEL, KeySource, Local, MachineError, Note, Observer, PATIENCE, Profile, Session,
    Stage, SystemEntropy,
};
use crate::error::{ApiError, IdentityError, Silence};
use crate::http::{AccessToken, Api};
use crate::identity::{Identity, SelfEndorsement};

/// Who logs in, and where.
pub struct Login<'a> {
    /// Base URL of the homeserver.
    pub homeserver: &'a str,
    /// Local part or full user id.
    pub user: &'a str,
    /// The account's password; secret.
    pub password: &'a str,
    /// What the account's owner will see in lists of devices.
    pub display_name: &'a str,
}

/// How this device stands to its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// User and device.
    pub device: Device,
    /// The device's Ed25519 key, as people compare it.
    pub fingerprint: String,
    /// Whether the account vouches for it, as far as known.
    pub endorsed: bool,
    /// Why not; empty when it does.
    pub reason: &'static str,
}

impl Client {
    /// Logs in as a new device and sets it up, or goes on with a set-up that was interrupted.
    ///
    /// Run the client until [`super::Until::Settled`] afterwards, so that its key packages are published.
    pub async fn login(
        profile: &Profile,
        key: &mut KeySource<'_>,
        login: &Login<'_>,
        observer: Observer,
    ) -> Result<Self, ClientError> {
        let api = Api::new(login.homeserver).map_err(ClientError::Api)?.with_patience(PATIENCE);
        let mut store = profile.open_or_create(key)?;
        let session = match Session::load(&store)? {
            Some(session) if session.stage > Stage::LoggingIn => {
                continue_session(&api, &mut store, session, login).await?
            }
            known => match begin_session(&api, &mut store, known, login).await {
                Err(error) if made_nothing(&error) => {
                    // A profile in which nobody ever logged in is no profile.
                    drop(store);
                    profile.wipe()?;
                    return Err(error);
                }
                done => done?,
            },
        };
        let mut client = Self::assemble(Local::of(profile, store, session)?, observer).await?;
        client.set_up(Some(login.password)).await?;
        Ok(client)
    }

    /// Opens the client of a device that is logged in; goes on with its set-up where that was interrupted.
    pub async fn open(local: Local, observer: Observer) -> Result<Self, ClientError> {
        let mut client = Self::assemble(local, observer).await?;
        if client.local.session.stage < Stage::Ready || !client.local.machine.has_credential() {
            client.set_up(None).await?;
        }
        Ok(client)
    }

    async fn assemble(mut local: Local, observer: Observer) -> Result<Self, ClientError> {
        let api = Api::new(&local.session.homeserver).map_err(ClientError::Api)?;
        let api = api.with_token(local.session.token()?).with_patience(PATIENCE);
        let subkey = local.machine.journal_mut().subkey(IDENTITY_LABEL)?;
        let (dir, session) = (local.profile.identity_dir(), &local.session);
        let identity = Arc::new(Identity::open(&dir, &subkey, &session.user, &session.device).await?);
        let flight = Flight::default();
        Ok(Self {
            local,
            identity,
            api,
            flight,
            observer,
            synced: false,
            refresh_at: None,
            changed: Default::default(),
        })
    }

    async fn set_up(&mut self, password: Option<&str>) -> Result<(), ClientError> {
        if !self.local.machine.has_credential() {
            let request = self.local.machine.credential_request(&mut SystemEntropy)?;
            let signature = self.identity.sign(&request.payload).await?;
            self.local.machine.install_credential(self.identity.ed25519(), signature)?;
            (self.observer)(&Note::SetUp("credential made"));
        }
        if self.local.session.stage < Stage::Published {
            let key = self.local.machine.mls_key().ok_or(ClientError::Machine(MachineError::NoCredential))?;
            self.identity.publish(&self.api, &key.0).await?;
            self.reach(Stage::Published)?;
            (self.observer)(&Note::SetUp("device keys published"));
        }
        match self.identity.endorse_self(&self.api, password).await? {
            SelfEndorsement::Endorsed => (self.observer)(&Note::SetUp("cross-signed")),
            SelfEndorsement::AwaitsApproval => (self.observer)(&Note::SetUp("waits for approval")),
        }
        let own = self.identity.user().to_owned();
        self.local.machine.mark_devices_changed(&[own])?;
        self.reach(Stage::Ready)
    }

    fn reach(&mut self, stage: Stage) -> Result<(), ClientError> {
        self.local.session.stage = stage;
        self.local.session.save(self.local.machine.journal_mut())
    }

    /// How this device stands to its account, by the newest answer that was taken in.
    pub async fn standing(&self) -> Result<Standing, ClientError> {
        let device = Device::new(self.identity.user(), self.identity.device());
        let facts = self.identity.device_facts(&device).await?;
        let endorsement = facts.map_or(Endorsement::NotCrossSigned, |facts| facts.endorsement);
        Ok(Standing {
            device,
            fingerprint: self.identity.ed25519_fingerprint(),
            endorsed: endorsement == Endorsement::Endorsed,
            reason: endorsement.reason(),
        })
    }
}

/// Logs in; the device id is stored first, so that a repetition after a crash makes no second device.
async fn begin_session(
    api: &Api,
    store: &mut SqliteStore,
    known: Option<Session>,
    login: &Login<'_>,
) -> Result<Session, ClientError> {
    let same = |known: &Session| known.homeserver == login.homeserver && known.user == login.user;
    let mut session = match known.filter(same) {
        Some(session) => session,
        None => {
            let failed = |_: EntropyError| ClientError::Machine(MachineError::Entropy(EntropyError));
            let session = Session {
                homeserver: login.homeserver.to_owned(),
                user: login.user.to_owned(),
                device: new_device_id().map_err(failed)?,
                token: None,
                stage: Stage::LoggingIn,
            };
            session.save(store)?;
            session
        }
    };
    take_token(api, store, &mut session, login, Stage::LoggedIn).await?;
    Ok(session)
}

/// The profile has a session already: goes on with it if it is this user's.
async fn continue_session(
    api: &Api,
    store: &mut SqliteStore,
    mut session: Session,
    login: &Login<'_>,
) -> Result<Session, ClientError> {
    let local_part = session.user.trim_start_matches('@').split(':').next().unwrap_or_default();
    let same_user = session.user == login.user || local_part == login.user;
    let same_server = Api::new(&session.homeserver).is_ok_and(|known| known.homeserver() == api.homeserver());
    if !same_user || !same_server {
        return Err(ClientError::LoggedInAlready { user: session.user.clone() });
    }
    match api.with_token(session.token()?).whoami().await {
        Ok(_) => Ok(session),
        Err(ApiError::TokenExpired { soft_logout: true }) => {
            let stage = session.stage;
            take_token(api, store, &mut session, login, stage).await?;
            Ok(session)
        }
        Err(error) => Err(error.into()),
    }
}

async fn take_token(
    api: &Api,
    store: &mut SqliteStore,
    session: &mut Session,
    login: &Login<'_>,
    stage: Stage,
) -> Result<(), ClientError> {
    let given = api.login(login.user, login.password, Some(&session.device), Some(login.display_name)).await?;
    let token = AccessToken::new(given.token.expose());
    *session = Session {
        homeserver: session.homeserver.clone(),
        user: given.user,
        device: given.device,
        token: Some(token),
        stage,
    };
    session.save(store)
}

/// Whether it is certain that a failed first log-in made no device on the homeserver.
fn made_nothing(error: &ClientError) -> bool {
    match error {
        ClientError::Api(ApiError::Unreachable(silence)) => *silence == Silence::Connect,
        ClientError::Api(ApiError::Refused { status, .. }) => *status < 500,
        ClientError::Api(ApiError::LimitExceeded { .. } | ApiError::BadRequest(_)) => true,
        _ => false,
    }
}

/// Whether the account's owner must give the password once more for the set-up to go on.
pub(super) fn wants_password(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Api(ApiError::NeedsAuth(_)) | ClientError::Identity(IdentityError::Api(ApiError::NeedsAuth(_)))
    )
}
