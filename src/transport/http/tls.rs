//! Who is believed to be the destination, and as whom goniec speaks to it: authorities of one's own, a client certificate.
//!
//! # What holds
//!
//! * Authorities that are given replace those of the platform: a private destination is not vouched for by the whole world.
//! * What cannot be used is told when it is set, never when a message leaves.
//!
//! # What it does not know
//!
//! Where certificates come from, and connections.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::transport::secret::Secret;

/// How connections are made safe. By default the platform's authorities are believed, and goniec shows no certificate.
#[derive(Debug, Clone)]
pub struct Tls {
    roots: RootCerts,
    client: Option<ClientCert>,
}

impl Tls {
    /// The default.
    #[must_use]
    pub fn new() -> Tls {
        Tls { roots: RootCerts::PlatformVerifier, client: None }
    }

    /// Believes these authorities (PEM) and no others.
    ///
    /// # Errors
    /// There is none in it, or one that cannot be used.
    pub fn authorities(self, pem: &str) -> Result<Tls, String> {
        let certificates = certificates(pem)?;
        let mut store = RootCertStore::empty();
        for (position, certificate) in certificates.iter().enumerate() {
            let added = store.add(certificate.clone());
            added.map_err(|error| format!("certificate {} is no authority: {error}", position + 1))?;
        }
        Ok(Tls { roots: RootCerts::Specific(Arc::new(converted(&certificates))), ..self })
    }

    /// Shows this certificate (PEM, with what leads to its authority) where the destination asks for one.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together. The text does not hold the key.
    pub fn client(self, chain: &str, key: &Secret) -> Result<Tls, String> {
        let certificates = certificates(chain)?;
        let wrong = "the key is no private key in PEM without a password";
        let read = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| wrong)?;
        CertifiedKey::from_der(certificates.clone(), read, &ring::default_provider())
            .map_err(|error| format!("the certificate and the key do not go together: {error}"))?;
        let key = PrivateKey::from_pem(key.expose()).map_err(|_| wrong)?;
        Ok(Tls { client: Some(ClientCert::new_with_certs(&converted(&certificates), key)), ..self })
    }

    /// As the HTTP library takes it.
    pub(super) fn config(&self) -> TlsConfig {
        TlsConfig::builder().root_certs(self.roots.clone()).client_cert(self.client.clone()).build()
    }
}

impl Default for Tls {
    fn default() -> Tls {
        Tls::new()
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = read.map_err(|error| format!("is no PEM: {error}"))?;
    if certificates.is_empty() { Err("holds no certificate in PEM".into()) } else { Ok(certificates) }
}

fn converted(certificates: &[CertificateDer<'static>]) -> Vec<Certificate<'static>> {
    certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}
