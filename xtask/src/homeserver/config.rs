//! Synapse's configuration files. They are written as JSON, which is YAML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value, json};

use super::error::Error;
use super::names::ServerNumber;
use super::paths::{self, Layout, ServerFiles};
use super::random::random_bytes;
use super::record::{RateLimits, Record, ServerPorts};

/// Writes all that `server` needs to start, except its certificate.
pub(super) fn write(layout: &Layout, record: &Record, server: ServerNumber, ports: ServerPorts) -> Result<(), Error> {
    let files = layout.server(server);
    write_signing_key(&files)?;
    paths::write(&files.log_config(), logging(&files).to_string().as_bytes())?;
    let mut config = base(server, ports, record);
    config.extend(storage(layout, &files));
    config.extend(federation(ports));
    if record.rate_limits == RateLimits::Raised {
        config.extend(raised_rate_limits());
    }
    paths::write(&files.config(), format!("{:#}", Value::Object(config)).as_bytes())
}

/// The server keeps its first signing key: the others know it.
fn write_signing_key(files: &ServerFiles) -> Result<(), Error> {
    if files.signing_key().exists() {
        return Ok(());
    }
    let seed = STANDARD_NO_PAD.encode(random_bytes::<32>()?);
    paths::write_whole(&files.signing_key(), format!("ed25519 a_test {seed}\n").as_bytes())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn base(server: ServerNumber, ports: ServerPorts, record: &Record) -> Map<String, Value> {
    object(json!({
        "server_name": server.to_string(),
        "public_baseurl": format!("http://127.0.0.1:{}/", ports.client),
        "listeners": [
            { "port": ports.client, "bind_addresses": ["127.0.0.1"], "type": "http", "resources": [{ "names": ["client"] }] },
            { "port": ports.federation, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": true,
              "resources": [{ "names": ["federation"] }] },
        ],
        "registration_shared_secret": record.registration_secret.expose(),
        "macaroon_secret_key": record.macaroon_secret.expose(),
        "form_secret": record.macaroon_secret.expose(),
        "bcrypt_rounds": 4,
        "report_stats": false,
        "presence": { "enabled": false },
        "user_directory": { "enabled": false },
        "url_preview_enabled": false,
        "default_room_version": "12",
        "max_event_delay_duration": "24h",
    }))
}

fn storage(layout: &Layout, files: &ServerFiles) -> Map<String, Value> {
    object(json!({
        "database": { "name": "sqlite3", "args": { "database": files.database() } },
        "media_store_path": files.media(),
        "signing_key_path": files.signing_key(),
        "tls_certificate_path": files.certificate(),
        "tls_private_key_path": files.key(),
        "federation_custom_ca_list": [layout.ca()],
        "log_config": files.log_config(),
    }))
}

/// Short retries, so that the federation is soon whole after a heal: by default the first retry is after ten minutes.
fn federation(ports: ServerPorts) -> Map<String, Value> {
    object(json!({
        "https_proxy": format!("http://127.0.0.1:{}", ports.proxy),
        "no_proxy_hosts": [],
        "ip_range_blocklist": [],
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "federation": {
            "destination_min_retry_interval": "1s",
            "destination_retry_multiplier": 1,
            "destination_max_retry_interval": "2s",
            "max_long_retry_delay": "1s",
        },
    }))
}

fn raised_rate_limits() -> Map<String, Value> {
    let high = json!({ "per_second": 100_000, "burst_count": 100_000 });
    let mut limits = object(json!({
        "rc_login": { "address": high, "account": high, "failed_attempts": high },
        "rc_joins": { "local": high, "remote": high },
        "rc_invites": { "per_room": high, "per_user": high, "per_issuer": high },
        "rc_presence": { "per_user": high },
        "rc_federation": { "window_size": 1000, "sleep_limit": 100_000, "sleep_delay": 1, "reject_limit": 100_000,
                           "concurrent": 100 },
        "federation_rr_transactions_per_room_per_second": 100_000,
        "remote_media_download_per_second": "1G",
        "remote_media_download_burst_count": "10G",
    }));
    for name in [
        "rc_message",
        "rc_registration",
        "rc_registration_token_validity",
        "rc_admin_redaction",
        "rc_joins_per_room",
        "rc_key_requests",
        "rc_3pid_validation",
        "rc_third_party_invite",
        "rc_media_create",
        "rc_delayed_event_mgmt",
        "rc_room_creation",
        "rc_reports",
        "rc_user_directory",
        "rc_profile",
    ] {
        limits.insert(name.to_owned(), high.clone());
    }
    limits
}

fn logging(files: &ServerFiles) -> Value {
    json!({
        "version": 1,
        "formatters": { "line": { "format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s" } },
        "handlers": { "file": { "class": "logging.FileHandler", "formatter": "line", "filename": files.log() } },
        "root": { "level": "WARNING", "handlers": ["file"] },
        "disable_existing_loggers": false,
    })
}
