//! A code redeemed over real swarms.

use std::sync::Arc;

use peerup_protocol::{
    api::{FailureRequest, IssuedRecord, LookupRequest, RedeemRequest, RefusalReason},
    code::{Code, CodeKind, Responder},
    derive::code_hash,
    id::{GroupId, PeerName, Slot},
    secret::Secret,
};

use super::support::{Card, Running, namespace, net, network_key, now, record};
use crate::{
    Event, Protocol, member,
    pair::{self, Desk, Ends, Lookup, PairError, Verdict},
};

/// An operator that knows one code and redeems it for anybody.
struct Operator {
    salt: Secret<32>,
}

impl Desk for Operator {
    async fn lookup(&self, _: LookupRequest) -> Lookup {
        Lookup::Known {
            salt: self.salt.clone(),
            attested: false,
        }
    }

    async fn redeem(&self, request: RedeemRequest) -> Result<IssuedRecord, RefusalReason> {
        let signed = record(request.peer_id, 5, now() + 100);
        Ok(IssuedRecord {
            record: signed.bytes,
            signature: signed.signature,
            network_public_key: network_key().verifying_key().to_bytes(),
        })
    }

    async fn failure(&self, _: FailureRequest) {}
}

fn code(relay: &Running, secret: u8) -> Code {
    Code {
        kind: CodeKind::Group,
        net: net(),
        group: GroupId([3; 8]),
        slot: Slot(0),
        secret: Secret::new([secret; 16]),
        namespace: namespace(),
        not_after: u32::MAX,
        responders: vec![Responder {
            peer: relay.id(),
            addresses: relay.tcp(),
        }],
    }
}

fn serve(mut relay: Running, salt: Secret<32>) -> tokio::sync::mpsc::Receiver<Verdict> {
    let (verdicts, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        let desk = Operator { salt };
        let card = Arc::new(Card::relay(&relay));
        while let Some(event) = relay.events.recv().await {
            let Event::Inbound {
                peer,
                connection,
                protocol,
                mut stream,
                ..
            } = event
            else {
                continue;
            };
            let node = &relay.node;
            if protocol == Protocol::Pair {
                let ends = Ends {
                    net: net(),
                    namespace: namespace(),
                    responder: relay.id(),
                    joiner: peer,
                };
                let enter = |pool| node.enter(connection, pool);
                let admit = || node.admit(peer);
                let verdict = pair::respond(&mut stream, &ends, &desk, enter, admit).await;
                if !matches!(verdict, Verdict::Joined(_)) {
                    node.close_connection(connection).await;
                }
                verdicts.send(verdict).await.unwrap();
            } else {
                member::serve(node, &mut stream, peer, connection, card.as_ref())
                    .await
                    .unwrap();
            }
        }
    });
    receiver
}

#[tokio::test]
async fn a_code_makes_a_member_that_connects() {
    let relay = Running::relay().await;
    let peer = Running::peer().await;
    let code = code(&relay, 1);
    let salt = Secret::new(code_hash(&code.net, &code.group, code.slot, &code.secret));
    let (id, addresses) = (relay.id(), relay.tcp());
    let card = Card::member(&peer, 1, &[&relay]);
    let mut verdicts = serve(relay, salt);
    let name = PeerName::parse("laptop").unwrap();
    let paired = pair::pair(&peer.node, &code, &peer.key(), &name, now)
        .await
        .unwrap();
    assert_eq!(
        (paired.joined.record.peer, paired.responder),
        (peer.id(), id)
    );
    assert!(matches!(verdicts.recv().await.unwrap(), Verdict::Joined(_)));
    card.shows(paired.joined.signed);
    let connection = member::connect(&peer.node, &card, id, addresses)
        .await
        .unwrap();
    peer.node
        .open_on(connection, Protocol::Roster)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_wrong_code_fails_without_a_reason_and_the_connection_closes() {
    let relay = Running::relay().await;
    let mut peer = Running::peer().await;
    let (wrong, right) = (code(&relay, 2), code(&relay, 1));
    let salt = Secret::new(code_hash(
        &right.net,
        &right.group,
        right.slot,
        &right.secret,
    ));
    let id = relay.id();
    let mut verdicts = serve(relay, salt);
    let name = PeerName::parse("laptop").unwrap();
    let failed = pair::pair(&peer.node, &wrong, &peer.key(), &name, now)
        .await
        .unwrap_err();
    assert_eq!(failed.to_string(), "pairing failed");
    assert!(matches!(failed, PairError::Failed));
    assert_eq!(
        verdicts.recv().await.unwrap(),
        Verdict::Failed(RefusalReason::BadMac)
    );
    assert_eq!(peer.disconnected(id).await, 0);
}
