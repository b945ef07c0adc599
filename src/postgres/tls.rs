//! TLS to PostgreSQL: who is trusted, and what of a certificate is checked.
//!
//! It never connects without a check of the chain, and never falls back to plain text.

use super::password::shown_to_others;
use super::url::{ClientCertificate, Target, TlsMode};
use crate::model::fault::Fault;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What makes the TLS side of a connection. With `TlsMode::Disable` it is handed to the driver all the same, and never used.
pub fn connector(target: &Target, mode: TlsMode) -> Result<MakeRustlsConnect, Fault> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3");
    let builder = match mode {
        TlsMode::Disable => builder.with_root_certificates(RootCertStore::empty()),
        TlsMode::VerifyFull => builder.with_root_certificates(roots(target)?),
        TlsMode::VerifyCa => {
            if target.ca_file.is_none() {
                return Err(Fault::fatal("tls_ca_missing", "verify the server's certificate by verify-ca")
                    .with_remedy("Name the authority in sslrootcert (target.ca_file), or use verify-full."));
            }
            let verifier = Arc::new(ChainVerifier::new(roots(target)?, provider)?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let config = match &target.client_certificate {
        Some(files) if mode != TlsMode::Disable => {
            let (chain, key) = client_certificate(files)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unreadable(&files.key).with_source(error))?
        }
        Some(_) | None => builder.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

/// The authorities of the named file and no others, else the system's.
fn roots(target: &Target) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    match &target.ca_file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unreadable(path).with_source(error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let fault = Fault::fatal("tls_ca_missing", "find the system's certificate authorities")
                    .with_remedy("Install the package ca-certificates, or name a file in sslrootcert.");
                return Err(match found.errors.into_iter().next() {
                    Some(error) => fault.with_source(error),
                    None => fault,
                });
            }
        }
    }
    Ok(roots)
}

fn client_certificate(
    files: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Fault> {
    let metadata = files.key.metadata().map_err(|error| unreadable(&files.key).with_source(error))?;
    if shown_to_others(&metadata) {
        return Err(Fault::fatal("tls_key_exposed", format!("use the private key {}", files.key.display()))
            .with_remedy(format!("Others may read it: run `chmod 0600 {}`.", files.key.display())));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable(&files.key).with_source(error))?;
    Ok((certificates(&files.certificate)?, key))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path).with_source(error))?;
    if certificates.is_empty() { Err(unreadable(path)) } else { Ok(certificates) }
}

fn unreadable(path: &Path) -> Fault {
    Fault::fatal("tls_file_unreadable", format!("use {} for TLS", path.display()))
        .with_remedy("The file must exist, be readable, and hold PEM text of the right kind.")
}

/// Checks everything but the name.
#[derive(Debug)]
struct ChainVerifier(Arc<WebPkiServerVerifier>);

impl ChainVerifier {
    fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<ChainVerifier, Fault> {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(ChainVerifier)
            .map_err(|error| {
                Fault::fatal("tls_ca_missing", "verify certificates by verify-ca").with_source(error)
            })
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is the last thing that is looked at: this error means that all else was good.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
