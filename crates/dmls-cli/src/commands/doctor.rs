//! `doctor`: a report without secrets.

use dmls_client::driver::{Checkup, Client, Local};
use dmls_store::FORMAT_VERSION;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Exit, Failure};

/// One line of the report.
struct Finding {
    name: &'static str,
    value: Value,
    good: bool,
}

fn finding(name: &'static str, value: impl Into<Value>, good: bool) -> Finding {
    Finding { name, value: value.into(), good }
}

/// `doctor`
pub async fn doctor(context: &Context) -> Result<(), Failure> {
    let mut findings = vec![
        finding("version", env!("CARGO_PKG_VERSION"), true),
        finding("store_format", FORMAT_VERSION, true),
        finding("profile", context.profile.dir().display().to_string(), true),
    ];
    let kind = context.profile.key_kind()?;
    findings.push(finding("key", kind.map(|kind| kind.to_string()), kind.is_some()));
    let mut logged_out = None;
    match context.local() {
        Ok(local) => look_inside(context, local, &mut findings).await,
        Err(failure) if failure.exit == Exit::NotLoggedIn => {
            findings.push(finding("logged_in", false, false));
            logged_out = Some(failure);
        }
        Err(failure) => return Err(failure),
    }
    print(context, &findings)?;
    match (logged_out, findings.iter().find(|finding| !finding.good)) {
        (Some(failure), _) => Err(failure),
        (None, Some(bad)) => {
            let exit = match bad.name {
                "server_reachable" => Exit::Network,
                "token_valid" => Exit::NotLoggedIn,
                _ => Exit::Failure,
            };
            Err(Failure::new(exit, "not_well", format!("not well: {}", bad.name)))
        }
        (None, None) => Ok(()),
    }
}

async fn look_inside(context: &Context, mut local: Local, findings: &mut Vec<Finding>) {
    let session = local.session();
    findings.extend([
        finding("logged_in", true, true),
        finding("user", session.user.clone(), true),
        finding("device", session.device.clone(), true),
        finding("homeserver", session.homeserver.clone(), true),
    ]);
    let verified = local.machine().journal_mut().verify();
    findings.push(finding(
        "store",
        verified.as_ref().map_or_else(|error| error.code(), |()| "sound"),
        verified.is_ok(),
    ));
    let credential = local.machine().has_credential();
    findings.push(finding("credential", credential, credential));
    if let Ok(rooms) = local.machine().rooms() {
        findings.push(finding("rooms", rooms.len(), true));
        findings.push(finding("unsent", rooms.iter().map(|row| row.unsent).sum::<usize>(), true));
        let troubled: Vec<_> = rooms.iter().filter_map(|row| row.trouble.clone()).collect();
        let good = troubled.is_empty();
        findings.push(finding("troubles", troubled, good));
    }
    let online = local.check_server().await;
    let checkup = match online.token_valid {
        Some(true) => match Client::open(local, context.output.observer()).await {
            Ok(client) => client.checkup().await,
            Err(error) => Checkup { trouble: Some(error.code()), ..online },
        },
        _ => online,
    };
    report(&checkup, findings);
}

fn report(checkup: &Checkup, findings: &mut Vec<Finding>) {
    let Checkup { reachable, newest_version, token_valid, key_packages, can_approve, endorsement, trouble } = checkup;
    findings.extend([
        finding("server_reachable", *reachable, *reachable),
        finding("server_version", newest_version.clone(), true),
        finding("token_valid", *token_valid, *token_valid != Some(false)),
        finding("key_packages", *key_packages, *key_packages != Some(0)),
        finding("endorsed", endorsement.map(str::is_empty), endorsement.is_none_or(str::is_empty)),
        finding("endorsement_reason", *endorsement, true),
        finding("can_approve_others", *can_approve, true),
        finding("trouble", *trouble, trouble.is_none()),
    ]);
}

fn print(context: &Context, findings: &[Finding]) -> Result<(), Failure> {
    let mut object = json!({});
    for finding in findings {
        object[finding.name] = finding.value.clone();
    }
    let paint = context.output.paint;
    context.output.put(object, || {
        let line = |finding: &Finding| {
            let value = match &finding.value {
                Value::String(text) => text.clone(),
                Value::Null => "-".to_owned(),
                other => other.to_string(),
            };
            let value = if finding.good { value } else { paint.red(&value) };
            format!("{:<20} {value}", finding.name)
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}
