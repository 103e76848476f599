//! The server that a request goes to, and in what words its failures are told.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use url::Url;

use super::address::AddressRefused;
use super::proxy::Proxy;
use super::transport::{Failure, FailureKind, Incoming, Options};

/// The server that a request goes to, for error texts.
pub(super) struct Server {
    pub(super) name: String,
    port: u16,
    /// The proxy on the way to it.
    pub(super) proxy: Option<String>,
    /// Whether the proxy shows a certificate too.
    two_certificates: bool,
}

impl Server {
    pub(super) fn of(url: &Url, proxy: Option<&Proxy>) -> Self {
        Self {
            name: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
            proxy: proxy.map(Proxy::name),
            two_certificates: proxy.is_some_and(Proxy::is_https),
        }
    }

    pub(super) fn silent(&self, limit: Duration) -> Failure {
        Failure::new(FailureKind::Timeout, format!("{} sent nothing for {} s", self.name, seconds(limit)))
    }

    pub(super) fn endless(&self, limit: Duration) -> Failure {
        Failure::new(
            FailureKind::Timeout,
            format!("{} did not finish its answer within {} s", self.name, seconds(limit)),
        )
    }

    pub(super) fn too_large(&self, limit: u64, partial: Incoming) -> Failure {
        let text = format!("the answer of {} is larger than {limit} bytes", self.name);
        Failure { kind: FailureKind::TooLarge(limit), text, partial: Some(Box::new(partial)) }
    }

    pub(super) fn failure(&self, error: &reqwest::Error, options: &Options) -> Failure {
        let Self { name, port, proxy, .. } = self;
        let mut deepest = String::new();
        let mut source: Option<&(dyn StdError + 'static)> = error.source();
        while let Some(error) = source {
            if let Some(refused) = inside::<AddressRefused>(error) {
                return Failure::new(FailureKind::Denied, refused.to_string());
            }
            if let Some(tls) = inside::<rustls::Error>(error) {
                return self.tls_failure(tls);
            }
            deepest = error.to_string();
            source = error.source();
        }
        let limit = seconds(options.connect_timeout);
        if let (Some(proxy), true) = (proxy, error.is_connect()) {
            if deepest.contains("proxy authorization required") {
                return Failure::new(FailureKind::Final, proxy_wants_credentials(proxy));
            }
            let why = if error.is_timeout() { format!("within {limit} s") } else { format!("({deepest})") };
            let text = format!(
                "no connection to {name}:{port} by way of the proxy {proxy} {why}; check that the proxy runs and lets this \
                 through, or leave it out with --no-proxy {name}"
            );
            return Failure::new(FailureKind::Connect, text);
        }
        if error.is_connect() && error.is_timeout() {
            return Failure::new(FailureKind::Connect, format!("no connection to {name}:{port} within {limit} s"));
        }
        if error.is_connect() {
            let text = if error.is_dns() {
                format!("the name {name} leads nowhere ({deepest}); check the name and the network")
            } else {
                format!(
                    "no connection to {name}:{port} ({deepest}); check that the server runs and that the port is right"
                )
            };
            return Failure::new(FailureKind::Connect, text);
        }
        if error.is_builder() {
            return Failure::new(FailureKind::Invalid, format!("the request can't be sent ({deepest})"));
        }
        Failure::new(FailureKind::Broken, format!("the answer of {name} broke off or is not HTTP ({deepest})"))
    }

    fn tls_failure(&self, error: &rustls::Error) -> Failure {
        use rustls::CertificateError::{
            Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
        };
        let Self { name, port, .. } = self;
        let name = match &self.proxy {
            Some(proxy) if self.two_certificates => &format!("{name} or of the proxy {proxy}"),
            _ => name,
        };
        let text = match error {
            rustls::Error::InvalidCertificate(UnknownIssuer) => {
                format!(
                    "no authority that is trusted here has signed the certificate of {name}; to trust its own, add --ca-file"
                )
            }
            rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
                format!("the certificate of {name} has expired")
            }
            rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
                format!("the certificate that {name} shows is for another host")
            }
            rustls::Error::InvalidMessage(_) => {
                format!("{name} does not speak TLS on port {port}; its URL may have to start with http://")
            }
            rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(
                rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13
                | rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => {
                format!(
                    "{name} speaks no TLS 1.2 or 1.3 on port {port}, and what is older is not safe; ask its operator for one of \
                     them"
                )
            }
            error => format!("TLS on the way to {}:{port} failed ({error})", self.name),
        };
        Failure::new(FailureKind::Final, text)
    }
}

pub(super) fn proxy_wants_credentials(proxy: &str) -> String {
    format!(
        "the proxy {proxy} asks for credentials, or refuses those that it has; write USER:PASSWORD@ before its host"
    )
}

/// Finds an error of a type in an error or in the I/O errors that wrap it: an I/O error does not name the error inside it
/// as its source, but that one's source.
fn inside<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut error = error;
    loop {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        error = error.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
