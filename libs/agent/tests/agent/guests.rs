//! One member invites somebody who is none: what the two can do with each other, and what the guest can't do with
//! anybody else.

use std::net::SocketAddr;
use std::sync::Arc;

use peerup_agent::membership::Stored;
use peerup_agent::status::{Role, Status};
use peerup_agent::{
    Access, AgentError, Handle, Invitation, InviteError, InviteState, MeasureError, Source, Store,
};
use peerup_node::member::{self, ConnectError, MemberError, Membership, Presented, Standing};
use peerup_node::{Multiaddr, Node, PeerId};
use peerup_pairing::membership::Refusal;
use peerup_protocol::code::Code;
use peerup_protocol::grade::Path as Way;
use peerup_protocol::id::PeerName;
use peerup_protocol::names::ProtocolNames;
use peerup_protocol::record::{Flags, Signed};
use peerup_protocol::secret::CodeSecret;
use peerup_protocol::service::{Expose, Forward};

use super::relay::{FakeRelay, Network};
use super::second::within_a_second;
use super::wait::found;
use super::{Peer, Scratch, is_connected, programs, sees};

const GUESTS: Flags = Flags {
    guests: true,
    access_default_deny: false,
    verification_required: false,
    stale_refused: false,
};

/// A network that allows guests, with a member.
struct World {
    network: Arc<Network>,
    relay: FakeRelay,
    dir: Scratch,
    home: Peer,
}

async fn world() -> World {
    let network = Network::new(3600);
    network.switch(GUESTS);
    let relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let home = Peer::join(&dir.0, network.code(0), "home");
    home.until("joined", is_connected).await;
    World {
        network,
        relay,
        dir,
        home,
    }
}

impl World {
    fn host(&self) -> Handle {
        self.home.agent.handle()
    }

    async fn invite(&self) -> Invitation {
        invite(&self.host()).await
    }

    /// A guest that has met its sponsor.
    async fn guest(&self, dir: &Scratch) -> Peer {
        let invitation = self.invite().await;
        let guest = Peer::join(&dir.0, code(&invitation), "laptop");
        self.meet(&guest).await;
        guest
    }

    async fn meet(&self, guest: &Peer) {
        guest
            .until("meets its sponsor", |status| {
                is_connected(status) && sees(status, "home", Way::Relayed)
            })
            .await;
        self.home
            .until("meets its guest", |status| {
                sees(status, "laptop", Way::Relayed)
            })
            .await;
    }
}

/// Opens an invite as soon as a relay holds a reservation and has told that guests are allowed.
async fn invite(host: &Handle) -> Invitation {
    found("an invite", async || match host.invite(600).await {
        Ok(invitation) => Some(invitation),
        Err(InviteError::NoRelay(_) | InviteError::NotAllowed) => None,
        Err(error) => panic!("{error}"),
    })
    .await
}

fn code(invitation: &Invitation) -> Code {
    Code::parse(invitation.code.expose()).unwrap()
}

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

async fn expose(peer: &Peer, service: &str, port: u16) {
    let expose: Expose = format!("{service}={port}").parse().unwrap();
    peer.agent.handle().expose(expose).await.unwrap();
}

async fn forward(peer: &Peer, to: &str) -> SocketAddr {
    let mut forward: Forward = format!("1={to}").parse().unwrap();
    forward.port = 0;
    peer.agent.handle().forward(forward).await.unwrap()
}

fn role(status: &Status, name: &str) -> Option<Role> {
    let found = status.peers.iter().find(|peer| peer.name == name);
    found.map(|peer| peer.role)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_and_its_sponsor_use_each_others_services_through_the_relay() {
    let world = world().await;
    let dir = Scratch::new();
    let guest = world.guest(&dir).await;
    let status = guest.board.status();
    let own = status.membership.as_ref().unwrap();
    assert_eq!(
        (own.name.as_str(), own.sponsor.as_deref()),
        ("laptop", Some("home"))
    );
    assert_eq!(role(&status, "home"), Some(Role::Sponsor));
    let at_home = world.home.board.status();
    assert_eq!(role(&at_home, "laptop"), Some(Role::Guest));

    expose(&world.home, "echo", programs::echo().await).await;
    expose(&guest, "count", programs::count().await).await;
    let echo = forward(&guest, "echo@home").await;
    assert_eq!(programs::talk(echo, b"hello").await, b"hello");
    let count = forward(&world.home, "count@laptop").await;
    assert_eq!(programs::talk(count, b"hello").await, b"5 bytes");
    guest.agent.handle().ping(&name("home")).await.unwrap();
    world.host().ping(&name("laptop")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_learns_nobody_and_reports_nothing() {
    let world = world().await;
    let dirs = [Scratch::new(), Scratch::new()];
    let third = Peer::join(&dirs[0].0, world.network.code(1), "third");
    third.knows("home").await;
    let guest = world.guest(&dirs[1]).await;
    world
        .home
        .until("knows both", |status| {
            role(status, "third") == Some(Role::Member) && role(status, "laptop").is_some()
        })
        .await;
    let status = guest.board.status();
    let known: Vec<_> = status.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(known, ["home"]);
    assert_eq!(world.network.guests(), [guest.id]);
    assert_eq!(
        world.network.asked().len(),
        2,
        "the two members ask for the roster"
    );
    assert!(world.network.report_of(&guest.id).is_none());
    let measured = guest.agent.handle().measure().await;
    assert!(matches!(measured, Err(MeasureError::Guest)), "{measured:?}");
    let refused = guest.agent.handle().invite(60).await;
    assert!(matches!(refused, Err(InviteError::Guest)), "{refused:?}");
}

/// A guest's node with a program that believes everybody.
struct Greedy {
    grant: Signed,
    node: Node,
}

impl Membership for Greedy {
    fn presented(&self) -> Presented {
        Presented {
            credential: self.grant.clone(),
            revocations: None,
        }
    }

    fn check(&self, _: &PeerId, _: &Signed) -> Result<Standing, Refusal> {
        Ok(Standing::Admitted)
    }

    fn learn(&self, _: Signed) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Greedy {
    /// In place of the guest that lives in the directory.
    fn start(world: &World, dir: &Scratch) -> Self {
        let store = Store::open(&dir.0, Access::Refuse).unwrap();
        let seed = store.identity(peerup_agent::fresh_seed()).unwrap();
        let stored = store.membership::<Stored>().unwrap().unwrap();
        let me = peerup_agent::own_id(&seed);
        let membership = stored.restore(me, super::relay::now()).unwrap();
        let (node, mut events) = peerup_node::start(peerup_node::Config {
            seed,
            names: ProtocolNames::new(&world.network.net(), &Network::namespace()),
            role: peerup_node::Role::Peer,
            listen: Vec::new(),
        })
        .unwrap();
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        Self {
            grant: membership.credential().clone(),
            node,
        }
    }

    async fn connect(&self, to: PeerId, ways: Vec<Multiaddr>) -> Result<(), ConnectError> {
        member::connect(&self.node, self, to, ways).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_member_refuses_a_guest() {
    let world = world().await;
    let dirs = [Scratch::new(), Scratch::new()];
    let third = Peer::join(&dirs[0].0, world.network.code(1), "third");
    third.until("joined", is_connected).await;
    let guest = world.guest(&dirs[1]).await;
    guest.agent.shutdown().await;
    let greedy = Greedy::start(&world, &dirs[1]);
    let relay = world.network.code(0).responders.remove(0);
    greedy
        .connect(relay.peer, relay.addresses.clone())
        .await
        .unwrap();
    let circuit = |to: PeerId| -> Vec<Multiaddr> {
        let way = format!(
            "{}/p2p/{}/p2p-circuit/p2p/{to}",
            relay.addresses[0], relay.peer
        );
        vec![way.parse().unwrap()]
    };
    let (third, home) = (third.id, world.home.id);
    let refused = greedy.connect(third, circuit(third)).await;
    assert!(
        matches!(refused, Err(ConnectError::Member(MemberError::Frame(_)))),
        "the other side closes: {refused:?}"
    );
    greedy.connect(home, circuit(home)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_lets_one_guest_in() {
    let world = world().await;
    let invitation = world.invite().await;
    assert_eq!(
        world.host().invite_state(&invitation.id).unwrap(),
        InviteState::Open
    );
    let dirs = [Scratch::new(), Scratch::new()];
    let guest = Peer::join(&dirs[0].0, code(&invitation), "laptop");
    world.meet(&guest).await;
    assert_eq!(
        world.host().invite_state(&invitation.id).unwrap(),
        InviteState::Used(name("laptop"))
    );
    // The code is of no use any more, whether or not strangers come through because of another one.
    let late = Peer::hasty(&dirs[1].0, code(&invitation), "thief");
    assert_eq!(late.ended().await, AgentError::NoInviter);
    late.agent.shutdown().await;
    let _other = world.invite().await;
    let late = Peer::hasty(&dirs[1].0, code(&invitation), "thief");
    assert_eq!(late.ended().await, AgentError::PairingFailed);
    assert_eq!(world.network.guests(), [guest.id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_wrong_codes_close_an_invite_and_a_withdrawn_one_is_closed() {
    let world = world().await;
    let invitation = world.invite().await;
    for _ in 0..3 {
        let mut wrong = code(&invitation);
        wrong.secret = CodeSecret::new(rand::random());
        let dir = Scratch::new();
        let thief = Peer::join(&dir.0, wrong, "thief");
        assert_eq!(thief.ended().await, AgentError::PairingFailed);
    }
    assert_eq!(
        world.host().invite_state(&invitation.id).unwrap(),
        InviteState::Failed
    );
    let withdrawn = world.invite().await;
    assert!(world.host().withdraw(&withdrawn.id).await.unwrap());
    assert!(!world.host().withdraw(&withdrawn.id).await.unwrap());
    assert_eq!(
        world.host().invite_state(&withdrawn.id).unwrap(),
        InviteState::Withdrawn
    );
    for closed in [invitation, withdrawn] {
        let dir = Scratch::new();
        let guest = Peer::hasty(&dir.0, code(&closed), "laptop");
        assert_eq!(guest.ended().await, AgentError::NoInviter);
    }
    assert_eq!(world.network.guests(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_sent_away_loses_its_sponsor_at_once_and_for_good() {
    let world = world().await;
    let dir = Scratch::new();
    let guest = world.guest(&dir).await;
    let unknown = world.host().revoke_guest(&name("nobody")).await;
    assert!(matches!(unknown, Err(InviteError::NoGuest(_))));
    world.host().revoke_guest(&name("laptop")).await.unwrap();
    let gone = guest.until("sponsor is gone", |status| sees(status, "home", Way::None));
    within_a_second(gone).await.unwrap();
    world
        .home
        .until("guest is gone", |status| role(status, "laptop").is_none())
        .await;
    // Nor does it come back when its sponsor does.
    let World {
        network,
        relay: _relay,
        dir: home,
        home: peer,
    } = world;
    peer.agent.shutdown().await;
    let again = Peer::start(&home.0, Source::Stored);
    again.until("joined", is_connected).await;
    let refused = again.agent.handle().ping(&name("laptop")).await;
    refused.unwrap_err();
    assert_eq!(network.guests(), [guest.id], "the relay does not know");
    guest.agent.handle().ping(&name("home")).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guest_and_sponsor_meet_again_after_both_were_restarted() {
    let world = world().await;
    let dir = Scratch::new();
    let guest = world.guest(&dir).await;
    let id = guest.id;
    guest.agent.shutdown().await;
    let World {
        network,
        relay,
        dir: home,
        home: peer,
    } = world;
    peer.agent.shutdown().await;
    let world = World {
        home: Peer::start(&home.0, Source::Stored),
        network,
        relay,
        dir: home,
    };
    let again = Peer::start(&dir.0, Source::Stored);
    world.meet(&again).await;
    assert_eq!(again.id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_without_guests_says_who_may_change_that_and_keeps_none() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let dirs = [Scratch::new(), Scratch::new()];
    let home = Peer::join(&dirs[0].0, network.code(0), "home");
    home.until("joined", is_connected).await;
    let refused = home.agent.handle().invite(60).await.unwrap_err();
    assert!(matches!(refused, InviteError::NotAllowed));
    assert!(refused.to_string().contains("spec.pairing.guests"));
    network.switch(GUESTS);
    let [dir, guest_dir] = dirs;
    let world = World {
        network,
        relay,
        dir,
        home,
    };
    let guest = world.guest(&guest_dir).await;
    world.network.switch(Flags::default());
    guest
        .until("sponsor is gone", |status| sees(status, "home", Way::None))
        .await;
    guest.agent.handle().ping(&name("home")).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_cannot_be_stored_is_not_given() {
    let world = world().await;
    let invitation = world.invite().await;
    // Where the file would be written beside its place.
    std::fs::create_dir_all(world.dir.0.join("guests.new").join("x")).unwrap();
    let dir = Scratch::new();
    let guest = Peer::join(&dir.0, code(&invitation), "laptop");
    assert_eq!(guest.ended().await, AgentError::PairingFailed);
    assert!(!world.dir.0.join("guests.json").exists());
    assert_eq!(role(&world.home.board.status(), "laptop"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_invite_is_told_to_a_relay_that_comes_back() {
    let World {
        network,
        relay,
        dir,
        home,
    } = world().await;
    let invitation = invite(&home.agent.handle()).await;
    relay.node.shutdown().await;
    home.until("relay is gone", |status| {
        status.relays.iter().all(|relay| !relay.connected)
    })
    .await;
    let relay = FakeRelay::start(&network).await;
    home.until("reserved again", is_connected).await;
    let world = World {
        network,
        relay,
        dir,
        home,
    };
    let guest_dir = Scratch::new();
    let guest = Peer::join(&guest_dir.0, code(&invitation), "laptop");
    world.meet(&guest).await;
}

/// Somebody who could be taken for a member is called otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_gets_no_members_name() {
    let world = world().await;
    let dirs = [Scratch::new(), Scratch::new()];
    let third = Peer::join(&dirs[0].0, world.network.code(1), "third");
    third.until("joined", is_connected).await;
    world.home.knows("third").await;
    let invitation = world.invite().await;
    let guest = Peer::join(&dirs[1].0, code(&invitation), "third");
    guest.until("joined", is_connected).await;
    let own = guest.board.status().membership.unwrap();
    assert_eq!(own.name, "third-2");
}
