//! The CA bundle that the operator's certificate must come from: file and text, both trusted, the file read
//! again at each use and the HTTP client made anew when its content changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::LocalError;

/// Largest CA file read; a ConfigMap can hold no more.
const MAX_BUNDLE: u64 = 1024 * 1024;

/// Keeps one HTTP client for the bundle as it is now.
#[derive(Debug)]
pub(crate) struct Trust {
    file: Option<PathBuf>,
    text: Option<String>,
    connect_timeout: Duration,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    file: Option<Vec<u8>>,
    client: reqwest::Client,
}

impl Trust {
    pub(crate) const fn new(
        file: Option<PathBuf>,
        text: Option<String>,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            file,
            text,
            connect_timeout,
            made: Mutex::new(None),
        }
    }

    /// The client that trusts exactly the present bundle; its connections end with a changed bundle.
    pub(crate) async fn client(&self) -> Result<reqwest::Client, LocalError> {
        let file = self.read_file().await?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref()
            && made.file == file
        {
            return Ok(made.client.clone());
        }
        let roots = roots(file.as_deref(), self.text.as_deref())?;
        if roots.is_empty() {
            return Err(self.nothing());
        }
        let client = http_client(roots, self.connect_timeout)?;
        *made = Some(Made {
            file,
            client: client.clone(),
        });
        Ok(client)
    }

    fn nothing(&self) -> LocalError {
        LocalError::Trust(match &self.file {
            Some(path) => format!("no certificate in {}", path.display()),
            None => "no certificate in the settings".to_owned(),
        })
    }

    /// A file that does not exist (yet) is like an empty one: the text may be enough.
    async fn read_file(&self) -> Result<Option<Vec<u8>>, LocalError> {
        let Some(path) = &self.file else {
            return Ok(None);
        };
        let too_long = |length: u64| length > MAX_BUNDLE;
        match tokio::fs::metadata(path).await {
            Ok(meta) if too_long(meta.len()) => Err(LocalError::Trust(format!(
                "{} has more than {MAX_BUNDLE} bytes",
                path.display()
            ))),
            Ok(_) => match tokio::fs::read(path).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) => Err(LocalError::Trust(format!("{}: {error}", path.display()))),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LocalError::Trust(format!("{}: {error}", path.display()))),
        }
    }
}

fn roots(file: Option<&[u8]>, text: Option<&str>) -> Result<RootCertStore, LocalError> {
    let mut roots = RootCertStore::empty();
    for pem in file.into_iter().chain(text.map(str::as_bytes)) {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| LocalError::Trust(format!("not PEM: {error}")))?;
            roots
                .add(certificate)
                .map_err(|error| LocalError::Trust(error.to_string()))?;
        }
    }
    Ok(roots)
}

/// How long a connection is kept that nobody uses: for the calls of one moment, as there may be ten thousand sidecars,
/// and less than the operator keeps it.
const IDLE: Duration = Duration::from_secs(5);

/// HTTP/1.1 on purpose: a connection that hangs takes one call with it, not all.
fn http_client(roots: RootCertStore, connect: Duration) -> Result<reqwest::Client, LocalError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| LocalError::Client(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("peerup/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| LocalError::Client(error.to_string()))
}
