//! A private certificate authority and the certificates of the servers.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::error::Error;
use super::names::{ServerCount, ServerNumber};
use super::paths::{self, Layout};

/// Makes a certificate authority, writes its and every server's files, and gives the TLS side of the switch.
pub(super) fn create(layout: &Layout, count: ServerCount) -> Result<TlsAcceptor, Error> {
    let authority = authority().map_err(keys)?;
    paths::write(&layout.ca(), authority.pem().as_bytes())?;
    for server in count.servers() {
        let (certificate, key) = issue(&authority, &[server]).map_err(keys)?;
        let files = layout.server(server);
        paths::write(&files.certificate(), certificate.pem().as_bytes())?;
        paths::write(&files.key(), key.serialize_pem().as_bytes())?;
    }
    let all: Vec<ServerNumber> = count.servers().collect();
    let (certificate, key) = issue(&authority, &all).map_err(keys)?;
    acceptor(&certificate, &key)
}

fn keys(error: rcgen::Error) -> Error {
    Error::Keys(error.to_string())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "test homeservers");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn issue(
    authority: &CertifiedIssuer<'static, KeyPair>,
    servers: &[ServerNumber],
) -> Result<(Certificate, KeyPair), rcgen::Error> {
    let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((certificate, key))
}

/// The provider is named because a build with two of them in it has no default.
fn acceptor(certificate: &Certificate, key: &KeyPair) -> Result<TlsAcceptor, Error> {
    let tls = |error: tokio_rustls::rustls::Error| Error::Keys(error.to_string());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .map_err(tls)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
