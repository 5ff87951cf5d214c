//! Certificates in use: servers and clients that believe each other, and those that must not.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router, routing::get};
use peerup_serve::Limits;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    authority::{Authority, LEAF_LIFE},
    listener::{self, Caller},
    material::Material,
    rotation::Authorities,
};

const LIMITS: Limits = Limits {
    connections: 8,
    per_source: 4,
    handshake: Duration::from_secs(5),
    idle: Duration::from_secs(30),
    life: Duration::from_secs(60),
    grace: Duration::from_secs(1),
};

fn now() -> u64 {
    crate::clock::now()
}

fn names() -> Vec<String> {
    vec![
        "peerup-operator.peerup-system.svc".to_owned(),
        "127.0.0.1".to_owned(),
    ]
}

fn authorities() -> Authorities {
    Authorities::first(Authority::make(now()).unwrap())
}

/// A server that says whether it takes the caller for a replica; answers its port and how to stop it.
async fn server(material: &Material) -> (u16, tokio_util::sync::DropGuard) {
    server_with(material.api.clone(), LIMITS).await
}

async fn server_with(
    config: Arc<rustls::ServerConfig>,
    limits: Limits,
) -> (u16, tokio_util::sync::DropGuard) {
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route(
        "/",
        get(|Extension(caller): Extension<Caller>| async move {
            format!("replica: {}", caller.is_replica)
        }),
    );
    tokio::spawn(listener::serve(
        listener,
        move || Some(config.clone()),
        router,
        limits,
        stop.clone(),
    ));
    (port, stop.drop_guard())
}

async fn connect(
    port: u16,
    client: Arc<rustls::ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(client).connect(name, stream).await
}

async fn ask(port: u16, client: Arc<rustls::ClientConfig>, name: &str) -> std::io::Result<String> {
    let mut stream = connect(port, client, name).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn anonymous(material: &Material) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(material.bundle.as_bytes())
    {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn replicas_know_each_other_and_strangers_are_strangers() {
    let authorities = authorities();
    let (one, two) = (
        Material::mint(&authorities, &names(), now()).unwrap(),
        Material::mint(&authorities, &names(), now()).unwrap(),
    );
    let (port, _stop) = server(&one).await;
    for name in ["127.0.0.1", "peerup-operator.peerup-system.svc"] {
        assert!(
            ask(port, two.client.clone(), name)
                .await
                .unwrap()
                .ends_with("replica: true"),
            "{name}"
        );
    }
    assert!(
        ask(port, anonymous(&one), "127.0.0.1")
            .await
            .unwrap()
            .ends_with("replica: false")
    );
    assert!(
        ask(port, two.client.clone(), "other.svc").await.is_err(),
        "another name"
    );
    let foreign = Material::mint(&self::authorities(), &names(), now()).unwrap();
    assert!(
        ask(port, foreign.client.clone(), "127.0.0.1")
            .await
            .is_err(),
        "another authority"
    );
}

#[tokio::test]
async fn during_a_rotation_old_and_new_leaves_are_believed() {
    let first = authorities();
    let old = Material::mint(&first, &names(), now()).unwrap();
    let announced = first.announce(Authority::make(now() + 1).unwrap());
    let between = Material::mint(&announced, &names(), now()).unwrap();
    assert_eq!(
        between.authority, old.authority,
        "an announced authority does not sign"
    );
    let promoted = Material::mint(&announced.promote(), &names(), now()).unwrap();
    for (server_side, client_side) in [(&between, &promoted), (&promoted, &between)] {
        let (port, _stop) = server(server_side).await;
        assert!(
            ask(port, client_side.client.clone(), "127.0.0.1")
                .await
                .unwrap()
                .ends_with("replica: true")
        );
    }
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_and_when_authorities_change() {
    let authorities = authorities();
    let material = Material::mint(&authorities, &names(), now()).unwrap();
    let end = material.leaf_not_after;
    assert!(material.is_current(&authorities, now()));
    assert!(material.is_current(&authorities, end - LEAF_LIFE / 3 - 1));
    assert!(!material.is_current(&authorities, end - LEAF_LIFE / 3));
    assert!(
        !material.is_current(
            &authorities
                .clone()
                .announce(Authority::make(now()).unwrap()),
            now()
        )
    );
    assert!(!material.is_current(&self::authorities(), now()));
}

#[tokio::test]
async fn one_source_gets_only_its_share() {
    let material = Material::mint(&authorities(), &names(), now()).unwrap();
    let (port, _stop) = server(&material).await;
    let mut idle = Vec::new();
    for _ in 0..LIMITS.per_source {
        idle.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let mut over = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(
        over.read(&mut [0; 1]).await.unwrap_or(0),
        0,
        "closed at once"
    );
    drop(idle);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while ask(port, material.client.clone(), "127.0.0.1")
        .await
        .is_err()
    {
        assert!(tokio::time::Instant::now() < deadline, "places come back");
        tokio::task::yield_now().await;
    }
}

/// Says one byte after the other and never comes to an end.
async fn drips(mut stream: impl AsyncRead + AsyncWrite + Unpin, words: &[u8]) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut left = words.iter().cycle();
    let mut heard = [0; 64];
    loop {
        tokio::select! {
            read = stream.read(&mut heard) => match read {
                Ok(0) | Err(_) => return,
                // what is said to somebody who is closed
                Ok(_) => {}
            },
            _ = ticks.tick() => {
                let byte = left.next().copied().into_iter().collect::<Vec<_>>();
                let said = async { stream.write_all(&byte).await?; stream.flush().await };
                if said.await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Who says nothing, or little by little, before TLS, in it, or before the end of a request's head.
#[tokio::test]
async fn whoever_is_slow_is_closed_and_gives_its_place_back() {
    let material = Material::mint(&authorities(), &names(), now()).unwrap();
    let limits = Limits {
        handshake: Duration::from_secs(3),
        ..LIMITS
    };
    let (port, _stop) = server_with(material.api.clone(), limits).await;
    let client = || anonymous(&material);
    let plain = async || TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let secure = async || connect(port, client(), "127.0.0.1").await.unwrap();
    let all = async {
        tokio::join!(
            drips(plain().await, b""),
            // the head of a TLS record that promises 16 KiB
            drips(plain().await, b"\x16\x03\x01\x40\x00"),
            drips(secure().await, b""),
            drips(secure().await, b"GET / HTTP/1.1\r\nx: y"),
        )
    };
    let closed = tokio::time::timeout(Duration::from_secs(30), all).await;
    closed.expect("everybody is closed");
    let answer = ask(port, client(), "127.0.0.1").await.unwrap();
    assert!(answer.ends_with("replica: false"), "{answer}");
}

#[tokio::test]
async fn the_webhook_speaks_http_1_only() {
    let material = Material::mint(&authorities(), &names(), now()).unwrap();
    let (port, _stop) = server_with(material.webhook.clone(), LIMITS).await;
    let offering = |protocols: &[&str]| {
        let mut client = (*anonymous(&material)).clone();
        client.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        connect(port, Arc::new(client), "127.0.0.1")
    };
    offering(&["h2"]).await.unwrap_err();
    let stream = offering(&["h2", "http/1.1"]).await.unwrap();
    let chosen = stream.get_ref().1.alpn_protocol();
    assert_eq!(chosen, Some(b"http/1.1".as_slice()));
}
