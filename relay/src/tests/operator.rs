//! A stand-in for the operator, over real TLS on loopback: one network, one code, no Kubernetes. It checks each
//! call's signature as the operator does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::serve::Listener;
use peerup_pairing::join;
use peerup_protocol::api::{
    FailureRequest, IssuedRecord, Limits, LookupAnswer, LookupRequest, OutsideReport,
    PresenceAnswer, PresenceRequest, RELAY_SIGNATURE_HEADER, RedeemAnswer, RedeemRequest,
    RefusalReason, Refused, RelaySignature, RenewAnswer, RenewRequest, ReportRequest, RosterAnswer,
    path,
};
use peerup_protocol::code::Code;
use peerup_protocol::derive::{code_hash, code_key};
use peerup_protocol::frame::JoinRequest;
use peerup_protocol::id::{DhtNamespace, NetworkId, PeerName, Serial, Slot};
use peerup_protocol::record::{
    Flags, MemberRecord, Method as Joining, NetworkDocument, Relay, Revocations, Signed,
};
use peerup_protocol::{Multiaddr, PeerId, SigningKey, message};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::now;

pub(super) const TOKEN: &str = "a.b.c";

/// What the operator knows, and what it has been told.
pub(super) struct Book {
    /// Answers nothing but 503.
    pub(super) down: bool,
    /// Status with which renewals are refused.
    pub(super) no_renewal: Option<StatusCode>,
    /// Answers 503 to failures.
    pub(super) failures_down: bool,
    pub(super) code: Option<Code>,
    pub(super) used_by: Option<PeerId>,
    /// Whom it refuses, and why, although their request is good.
    pub(super) refused: BTreeMap<PeerId, RefusalReason>,
    pub(super) members: Vec<MemberRecord>,
    pub(super) revoked: Vec<Serial>,
    pub(super) lookups: usize,
    pub(super) failures: Vec<FailureRequest>,
    /// Calls about failures, answered or not.
    pub(super) failure_calls: usize,
    pub(super) presence: Vec<PresenceRequest>,
    pub(super) reports: Vec<OutsideReport>,
    pub(super) outside: Vec<Multiaddr>,
    pub(super) limits: Limits,
    /// Whether the network allows guests.
    pub(super) guests: bool,
    pub(super) epoch: u64,
    pub(super) run: u64,
}

#[derive(Clone)]
pub(super) struct Operator {
    pub(super) url: String,
    pub(super) ca: String,
    pub(super) key: SigningKey,
    relay: SigningKey,
    book: Arc<Mutex<Book>>,
    seq: watch::Sender<u64>,
}

impl Operator {
    pub(super) async fn start(relay: SigningKey) -> Self {
        let (ca, acceptor) = certificates();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let operator = Self {
            url: format!("https://localhost:{}", tcp.local_addr().unwrap().port()),
            ca,
            key: SigningKey::from_bytes(&[9; 32]),
            relay,
            book: Arc::new(Mutex::new(Book {
                down: false,
                no_renewal: None,
                failures_down: false,
                code: None,
                used_by: None,
                refused: BTreeMap::new(),
                members: Vec::new(),
                revoked: Vec::new(),
                lookups: 0,
                failures: Vec::new(),
                failure_calls: 0,
                presence: Vec::new(),
                reports: Vec::new(),
                outside: Vec::new(),
                limits: Limits {
                    max_reservations: 16,
                    max_circuits: 16,
                    circuit_timeout_seconds: 0,
                    circuit_data_limit: 0,
                    max_probationary_peers: 10,
                    probation_timeout_seconds: 15,
                },
                guests: false,
                epoch: 1,
                run: 77,
            })),
            seq: watch::Sender::new(1),
        };
        let router = Router::new().fallback(serve).with_state(operator.clone());
        tokio::spawn(async move { axum::serve(Tls { tcp, acceptor }, router).await });
        operator
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Changes the roster; long polls answer.
    pub(super) fn change(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book());
        self.seq.send_modify(|seq| *seq += 1);
    }

    pub(super) fn net(&self) -> NetworkId {
        NetworkId::of(&self.key.verifying_key())
    }

    pub(super) fn namespace() -> DhtNamespace {
        DhtNamespace::parse("crew").unwrap()
    }

    pub(super) fn record(&self, peer: PeerId, serial: u64, seconds: u64) -> MemberRecord {
        MemberRecord {
            net: self.net(),
            serial: Serial(serial),
            peer,
            name: PeerName::parse("laptop").unwrap(),
            subject: String::new(),
            method: Joining::Code,
            issued: now(),
            not_after: now() + seconds,
        }
    }

    pub(super) fn sign(&self, record: &MemberRecord) -> Signed {
        Signed::sign(&self.key, record.encode())
    }

    fn revocations(&self, book: &Book) -> Signed {
        let list = Revocations {
            net: self.net(),
            epoch: book.epoch,
            issued: now(),
            serials: book.revoked.iter().copied().collect(),
        };
        Signed::sign(&self.key, list.encode())
    }

    fn document(&self, book: &Book) -> Signed {
        let document = NetworkDocument {
            net: self.net(),
            epoch: book.epoch,
            issued: now(),
            namespace: Self::namespace(),
            cluster: "local".to_owned(),
            flags: Flags {
                guests: book.guests,
                ..Flags::default()
            },
            relays: vec![Relay {
                peer: peerup_protocol::id::peer_id(&self.relay.verifying_key()),
                addresses: Vec::new(),
            }],
            access: Vec::new(),
        };
        Signed::sign(&self.key, document.encode())
    }

    fn is_down(&self, path: &str) -> bool {
        let mut book = self.book();
        let is_failure = path == path::FAILURE;
        book.failure_calls += usize::from(is_failure);
        book.down || (is_failure && book.failures_down)
    }

    fn is_genuine(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
        let header = headers[RELAY_SIGNATURE_HEADER].to_str().unwrap();
        let signed: RelaySignature = header.parse().unwrap();
        let message = message::relay_call(
            method.as_str(),
            uri.path_and_query().unwrap().as_str(),
            signed.time,
            TOKEN.as_bytes(),
            body,
        );
        let key = self.relay.verifying_key();
        message::verify(&key, &message, &signed.signature).is_ok()
    }

    fn lookup(&self, request: &LookupRequest) -> Option<LookupAnswer> {
        let mut book = self.book();
        book.lookups += 1;
        let code = book.code.as_ref()?;
        (request.group == code.group && request.slot == code.slot).then(|| LookupAnswer {
            salt: code_hash(&code.net, &code.group, code.slot, &code.secret),
            attested: request.slot == Slot::ATTESTED,
        })
    }

    fn redeem(&self, request: RedeemRequest) -> RedeemAnswer {
        let code = self.book().code.clone().unwrap();
        let peer = request.peer_id;
        let public = code_key(&code.net, &code.group, code.slot, &code.secret).verifying_key();
        let join = JoinRequest {
            name: request.name,
            proof: request.proof,
            identity: request.identity,
        };
        join::verify_request(&code.net, &code.group, code.slot, &peer, &join, &public).unwrap();
        let used = self.book().used_by.is_some_and(|other| other != peer);
        let refused = self.book().refused.get(&peer).copied();
        if let Some(refused) = refused.or(used.then_some(RefusalReason::Used)) {
            return RedeemAnswer::Refused(Refused {
                refused,
                counted: true,
            });
        }
        let record = self.record(peer, 5, 3600);
        self.change(|book| {
            book.used_by = Some(peer);
            book.members.push(record.clone());
        });
        let signed = self.sign(&record);
        RedeemAnswer::Record(IssuedRecord {
            record: signed.bytes,
            signature: signed.signature,
            network_public_key: self.key.verifying_key().to_bytes(),
        })
    }

    fn renew(&self, request: &RenewRequest) -> Option<RenewAnswer> {
        let known = self
            .book()
            .members
            .iter()
            .find(|member| member.peer == request.peer_id)?
            .clone();
        let signed = self.sign(&self.record(known.peer, known.serial.0, 7200));
        Some(RenewAnswer {
            record: signed.bytes,
            signature: signed.signature,
        })
    }

    async fn roster(&self, query: &str) -> RosterAnswer {
        let mut seq = self.seq.subscribe();
        let asked = format!("run={}&seq=", self.book().run);
        if let Some(known) = query.strip_prefix(&asked) {
            let known: u64 = known.parse().unwrap();
            let news = seq.wait_for(|seq| *seq != known);
            let _ = tokio::time::timeout(Duration::from_secs(20), news).await;
        }
        let book = self.book();
        RosterAnswer {
            run: book.run,
            seq: *self.seq.borrow(),
            full: true,
            records: book
                .members
                .iter()
                .map(|member| self.sign(member))
                .collect(),
            gone: Vec::new(),
            revocations: self.revocations(&book),
            network_document: self.document(&book),
        }
    }

    fn presence(&self, request: PresenceRequest) -> PresenceAnswer {
        let mut book = self.book();
        book.presence.push(request);
        PresenceAnswer {
            addresses: book.outside.clone(),
            limits: book.limits,
        }
    }
}

type Reply = (StatusCode, String);

async fn serve(
    State(operator): State<Operator>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    if operator.is_down(uri.path()) {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    if !operator.is_genuine(&method, &uri, &headers, &body) {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    match uri.path() {
        path::LOOKUP => found(operator.lookup(&read(&body))),
        path::REDEEM => found(Some(operator.redeem(read(&body)))),
        path::RENEW => {
            let refused = operator.book().no_renewal;
            refused.map_or_else(
                || found(operator.renew(&read(&body))),
                |status| (status, String::new()),
            )
        }
        path::PRESENCE => found(Some(operator.presence(read(&body)))),
        path::ROSTER => found(Some(operator.roster(uri.query().unwrap()).await)),
        path::FAILURE => {
            operator.book().failures.push(read(&body));
            (StatusCode::OK, "{}".to_owned())
        }
        path::REPORT => {
            if let ReportRequest::Outside(report) = read(&body) {
                operator.book().reports.push(report);
            }
            (StatusCode::OK, SETTINGS.to_owned())
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    }
}

const SETTINGS: &str = r#"{"settings":{"scope":"Internet","internalCIDRs":[],"probePeriodSeconds":60,
"reportPeriodSeconds":30,"offlineAfterSeconds":90,"stabilizationSeconds":60}}"#;

fn read<T: for<'de> serde::Deserialize<'de>>(body: &[u8]) -> T {
    serde_json::from_slice(body).unwrap()
}

fn found(answer: Option<impl serde::Serialize>) -> Reply {
    answer.map_or((StatusCode::NOT_FOUND, String::new()), |answer| {
        (StatusCode::OK, serde_json::to_string(&answer).unwrap())
    })
}

fn certificates() -> (String, TlsAcceptor) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (ca, TlsAcceptor::from(Arc::new(config)))
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
