//! An invite redeemed over real swarms, through a relay, and those who should not redeem it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use peerup_pairing::{
    invite::{Ask, Decision, Invited, Invites, Lookup, Offer, Sponsor},
    membership::Guests,
};
use peerup_protocol::{
    PeerId, SigningKey,
    api::RefusalReason,
    code::Code,
    frame::{GuestRequest, GuestResponse},
    id::{GroupId, PeerName, Serial, Slot},
    secret::Secret,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    guests::{inviter, member, soon},
    support::{DEADLINE, Running, namespace, net, now},
};
use crate::{
    Event, Protocol,
    pair::{self, Ends, Host, InviteError, InviteVerdict},
};

const GROUP: GroupId = GroupId([5; 8]);

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

/// An inviter's book, with one open invite.
struct Home {
    key: SigningKey,
    book: Mutex<(Invites, Guests)>,
    /// Grants that were given.
    given: AtomicUsize,
}

impl Home {
    fn of(inviter: &Running) -> Arc<Self> {
        let mut invites = Invites::new();
        invites
            .open(GROUP, Secret::new([1; 16]), 600, now())
            .unwrap();
        Arc::new(Self {
            key: inviter.key(),
            book: Mutex::new((invites, Guests::new(net(), inviter.id()))),
            given: AtomicUsize::new(0),
        })
    }

    fn waiting(&self) -> usize {
        self.book.lock().unwrap().0.waiting(now()).count()
    }
}

impl Host for Home {
    fn lookup(&self, group: &GroupId, slot: Slot) -> Lookup {
        self.book.lock().unwrap().0.lookup(group, slot, now())
    }

    async fn redeem(
        &self,
        group: GroupId,
        slot: Slot,
        guest: PeerId,
        request: GuestRequest,
    ) -> Result<GuestResponse, RefusalReason> {
        let mut book = self.book.lock().unwrap();
        let (invites, guests) = &mut *book;
        let request = &request;
        let ask = Ask {
            group,
            slot,
            guest,
            request,
        };
        let sponsor = Sponsor {
            net: net(),
            key: &self.key,
            serial: Serial(7),
            lifetime: 60,
            taken: &BTreeSet::new(),
        };
        match invites.redeem(guests, ask, sponsor, now()) {
            Decision::Grant(grant) => {
                self.given.fetch_add(1, Ordering::SeqCst);
                let inviter = name("home");
                Ok(GuestResponse { inviter, grant })
            }
            Decision::Refuse(refused) => Err(refused.refused),
        }
    }

    fn failed(&self, group: &GroupId, reason: RefusalReason) {
        self.book.lock().unwrap().0.failed(group, reason, now());
    }
}

/// Answers whoever comes as a guest.
fn serve(mut inviter: Running, home: Arc<Home>) -> mpsc::Receiver<InviteVerdict> {
    let (verdicts, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(event) = inviter.events.recv().await {
            let Event::Inbound {
                peer,
                connection,
                protocol: Protocol::Invite,
                mut stream,
                ..
            } = event
            else {
                continue;
            };
            let (node, home, verdicts) =
                (inviter.node.clone(), Arc::clone(&home), verdicts.clone());
            tokio::spawn(async move {
                let ends = Ends {
                    net: net(),
                    namespace: namespace(),
                    responder: node.peer_id(),
                    joiner: peer,
                };
                let enter = |pool| node.enter(connection, pool);
                let verdict = pair::accept_invite(&mut stream, &ends, &*home, enter).await;
                node.close_connection(connection).await;
                let _ = verdicts.send(verdict).await;
            });
        }
    });
    receiver
}

/// The code of the invite, as its text is read.
fn code(relays: &[&Running], inviter: PeerId, secret: u8) -> Code {
    let addresses = relays.iter().flat_map(|relay| {
        let circuit = relay.circuit(inviter).remove(0).to_string();
        circuit
            .rsplit_once("/p2p/")
            .map(|(way, _)| way.parse().unwrap())
    });
    let offer = Offer {
        net: net(),
        namespace: namespace(),
        inviter,
        group: GROUP,
        secret: Secret::new([secret; 16]),
        not_after: now() + 600,
        addresses: addresses.collect(),
    };
    Code::parse(offer.into_code().to_text().expose()).unwrap()
}

async fn redeem(guest: &Running, code: &Code) -> Result<Invited, InviteError> {
    let name = name("laptop");
    let redeemed = pair::redeem_invite(&guest.node, code, &name, now);
    timeout(DEADLINE, redeemed).await.unwrap()
}

#[tokio::test]
async fn an_invite_makes_a_guest_through_the_relay() {
    let relay = Running::relay().await;
    let a = inviter(&relay).await;
    let (home, code) = (Home::of(&a), code(&[&relay], a.id(), 1));
    let inviter = a.id();
    let mut verdicts = serve(a, Arc::clone(&home));
    let guest = Running::peer().await;
    let invited = redeem(&guest, &code).await.unwrap();
    assert_eq!(invited.inviter, name("home"));
    assert_eq!(
        (invited.grant.sponsor, invited.grant.guest),
        (inviter, guest.id())
    );
    assert_eq!(invited.grant.name, name("laptop"));
    let verdict = verdicts.recv().await.unwrap();
    assert!(
        matches!(verdict, InviteVerdict::Invited(response) if response.grant == invited.signed)
    );
    assert_eq!(home.waiting(), 0, "nobody else has to come through");
    // Nothing is left over: neither connections nor a relay that is believed.
    let state = guest.state(|s| s.connections.tcp + s.gated.tcp == 0).await;
    assert_eq!(state.admitted, 0);
}

#[tokio::test]
async fn the_same_guest_comes_again_and_gets_the_same_grant() {
    let relay = Running::relay().await;
    let a = inviter(&relay).await;
    let (home, code) = (Home::of(&a), code(&[&relay], a.id(), 1));
    let _verdicts = serve(a, Arc::clone(&home));
    let guest = Running::peer().await;
    let first = redeem(&guest, &code).await.unwrap();
    let second = redeem(&guest, &code).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(home.given.load(Ordering::SeqCst), 2);
    assert_eq!(home.book.lock().unwrap().1.stored().count(), 1);
}

#[tokio::test]
async fn another_guest_and_a_wrong_secret_get_the_same_silence() {
    let relay = Running::relay().await;
    let a = inviter(&relay).await;
    let (right, wrong) = (code(&[&relay], a.id(), 1), code(&[&relay], a.id(), 2));
    let home = Home::of(&a);
    let mut verdicts = serve(a, Arc::clone(&home));
    let guest = Running::peer().await;
    redeem(&guest, &right).await.unwrap();
    verdicts.recv().await.unwrap();
    for (code, reason) in [
        (&right, RefusalReason::Used),
        (&wrong, RefusalReason::BadMac),
    ] {
        let started = Instant::now();
        let thief = Running::peer().await;
        let error = redeem(&thief, code).await.unwrap_err();
        assert!(matches!(error, InviteError::Failed), "{error:?}");
        assert_eq!(error.to_string(), "pairing failed");
        assert!(started.elapsed() >= Duration::from_secs(3));
        assert_eq!(
            verdicts.recv().await.unwrap(),
            InviteVerdict::Failed(reason)
        );
    }
}

#[tokio::test]
async fn three_wrong_codes_close_an_invite_for_its_guest_too() {
    let relay = Running::relay().await;
    let a = inviter(&relay).await;
    let (right, wrong) = (code(&[&relay], a.id(), 1), code(&[&relay], a.id(), 2));
    let home = Home::of(&a);
    let mut verdicts = serve(a, Arc::clone(&home));
    for _ in 0..3 {
        let thief = Running::peer().await;
        redeem(&thief, &wrong).await.unwrap_err();
        let verdict = verdicts.recv().await.unwrap();
        assert_eq!(verdict, InviteVerdict::Failed(RefusalReason::BadMac));
    }
    assert_eq!(home.waiting(), 0);
    let guest = Running::peer().await;
    let error = redeem(&guest, &right).await.unwrap_err();
    assert!(matches!(error, InviteError::Failed), "{error:?}");
    let verdict = verdicts.recv().await.unwrap();
    assert_eq!(verdict, InviteVerdict::Failed(RefusalReason::Burned));
    assert_eq!(home.given.load(Ordering::SeqCst), 0);
}

/// A code of the network is none of the inviter's, whatever its group is called.
#[tokio::test]
async fn an_inviter_answers_invites_only() {
    let relay = Running::relay().await;
    let a = inviter(&relay).await;
    let mut group = code(&[&relay], a.id(), 1);
    group.kind = peerup_protocol::code::CodeKind::Group;
    let home = Home::of(&a);
    let mut verdicts = serve(a, Arc::clone(&home));
    let guest = Running::peer().await;
    let error = redeem(&guest, &group).await.unwrap_err();
    assert!(matches!(error, InviteError::Failed), "{error:?}");
    let verdict = verdicts.recv().await.unwrap();
    assert_eq!(verdict, InviteVerdict::Failed(RefusalReason::UnknownGroup));
    assert_eq!(home.waiting(), 1, "and counts nothing");
}

#[tokio::test]
async fn a_relay_that_is_gone_is_passed_over() {
    let (gone, relay) = (Running::relay().await, Running::relay().await);
    gone.node.shutdown().await;
    let a = inviter(&relay).await;
    let code = code(&[&gone, &relay], a.id(), 1);
    let home = Home::of(&a);
    let _verdicts = serve(a, home);
    let guest = Running::peer().await;
    redeem(&guest, &code).await.unwrap();
    let relays = pair::relays_of_invite(&code);
    let known: Vec<_> = relays.iter().map(|relay| relay.peer).collect();
    assert_eq!(known, [gone.id(), relay.id()]);
    assert_eq!(relays[1].addresses, relay.tcp());
}

/// A relay that answers in the inviter's place has no way to: the inviter is proved by its connection.
#[tokio::test]
async fn nobody_else_answers_for_the_inviter() {
    let relay = Running::relay().await;
    let (a, b) = (inviter(&relay).await, member(&relay).await);
    b.node.invite(b.id(), soon()).await;
    relay.node.invite(b.id(), soon()).await;
    let mut code = code(&[&relay], b.id(), 1);
    code.responders[0].peer = a.id();
    let way = relay.circuit(b.id());
    code.responders[0].addresses = way;
    let home = Home::of(&b);
    let _verdicts = serve(b, Arc::clone(&home));
    let guest = Running::peer().await;
    let error = redeem(&guest, &code).await.unwrap_err();
    assert!(matches!(error, InviteError::Dial(_)), "{error:?}");
    assert_eq!(home.given.load(Ordering::SeqCst), 0);
}
