//! Log-in, log-out, devices.

use std::time::Duration;

use dmls_client::driver::{Client, Standing, Until};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::{Login, Logout, Time};
use crate::context::Context;
use crate::failure::Failure;
use crate::{secrets, show};

/// `login`
pub async fn login(mut context: Context, login: Login) -> Result<(), Failure> {
    if login.ask_passphrase && !context.profile.exists() {
        context.use_passphrase(secrets::ask_new_passphrase()?);
    }
    let password = password(&login)?;
    let wanted = dmls_client::driver::Login {
        homeserver: &login.homeserver,
        user: &login.user,
        password: &password,
        display_name: &login.device_name,
    };
    let mut key = |kind| context.key(kind);
    let mut client = Client::login(&context.profile, &mut key, &wanted, context.output.observer()).await?;
    client.run(Until::Settled, Some(Duration::from_secs(login.time.timeout))).await?;
    let standing = client.standing().await?;
    let homeserver = client.local().session().homeserver.clone();
    client.into_local().purge()?;
    tell_login(&context, &standing, &homeserver)
}

fn password(login: &Login) -> Result<Zeroizing<String>, Failure> {
    match &login.password_file {
        Some(path) => secrets::from_file(path, "password"),
        None => secrets::ask(&format!("Password of {}: ", login.user)).map_err(|error| {
            Failure::usage(format!("the password cannot be asked for ({error}): give --password-file"))
        }),
    }
}

fn tell_login(context: &Context, standing: &Standing, homeserver: &str) -> Result<(), Failure> {
    let Standing { device, fingerprint, endorsed, reason } = standing;
    let object = json!({
        "user": device.user,
        "device": device.device,
        "homeserver": homeserver,
        "fingerprint": fingerprint,
        "endorsed": endorsed,
        "reason": reason,
    });
    let paint = context.output.paint;
    context
        .output
        .put(object, || format!("logged in as {}, device {}", paint.bold(&device.user), paint.bold(&device.device)))?;
    if !endorsed {
        context.output.hint(&format!(
            "Nobody lets this device read before you approve it. On an approved device of yours:\n  \
             dmls devices approve {} --fingerprint {fingerprint}",
            device.device
        ));
    }
    Ok(())
}

/// `logout`
pub async fn logout(context: &Context, wanted: &Logout) -> Result<(), Failure> {
    let local = context.local()?;
    let session = local.session();
    let (user, device) = (session.user.clone(), session.device.clone());
    if wanted.force {
        // One attempt for politeness; what it brings does not matter.
        let told = local.logout().await;
        if told.is_err() {
            context.output.warn("the homeserver could not be told; remove the device there by other means");
            context.local()?.erase()?;
        }
    } else {
        local.logout().await?;
    }
    let object = json!({ "user": user, "device": device });
    context.output.put(object, || format!("logged out {user}, device {device}"))
}

/// `devices`
pub async fn devices(context: &Context) -> Result<(), Failure> {
    let mut client = context.client().await?;
    let rows = client.devices().await?;
    let (user, this) = (client.identity().user().to_owned(), client.identity().device().to_owned());
    let fingerprint = client.identity().ed25519_fingerprint();
    let paint = context.output.paint;
    context.output.words(&format!("This device is {this}, with the fingerprint {}", paint.bold(&fingerprint)))?;
    for row in &rows {
        let object = show::own_device(&user, row, &this);
        context.output.put(object, || show::own_device_words(row, &this, paint))?;
    }
    Ok(client.local().purge()?)
}

/// `devices approve`
pub async fn approve(context: &Context, device: &str, fingerprint: &str, time: Time) -> Result<(), Failure> {
    let mut client = context.client().await?;
    client.approve(device, fingerprint).await?;
    // So that the new device is let into the rooms.
    client.run(Until::Settled, Some(Duration::from_secs(time.timeout))).await?;
    client.local().purge()?;
    let object = json!({ "user": client.identity().user(), "device": device, "endorsed": true });
    context.output.put(object, || format!("approved {device}"))
}
