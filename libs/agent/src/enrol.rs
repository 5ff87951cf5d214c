//! How a peer becomes a member: a pod asks the operator for a code, then a code is redeemed at one of its relays.

use std::time::Duration;

use peerup_node::Node;
use peerup_node::pair::{self, InviteError, PairError};
use peerup_operator_client::OperatorClient;
use peerup_pairing::join::Joined;
use peerup_protocol::SigningKey;
use peerup_protocol::api::Settings;
use peerup_protocol::code::{Code, CodeError, CodeKind};
use peerup_protocol::id::PeerName;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use crate::agent::{AgentError, Source};
use crate::backoff::Backoff;
use crate::clock;
use crate::membership::Membership;
use crate::session::Session;
use crate::status::{Board, Status};

/// How long a pod is without any relay before it asks whether its network is still the same.
const STRANDED: Duration = Duration::from_secs(30);
/// Longest time for one call of the operator, retries included.
const CALL: Duration = Duration::from_secs(20);

/// What the operator gives a pod.
#[derive(Debug)]
pub(crate) struct Attested {
    pub(crate) code: Code,
    pub(crate) name: PeerName,
    pub(crate) settings: Settings,
}

/// Asks the operator until it gives a code.
pub(crate) async fn attest(operator: &OperatorClient, key: &SigningKey, board: &Board) -> Attested {
    let mut backoff = Backoff::default();
    loop {
        let problem = match attest_once(operator, key).await {
            Ok(attested) => {
                board.update(|status| status.problem = None);
                return attested;
            }
            Err(problem) => problem,
        };
        let pause = backoff.after_failure(rand::random());
        tracing::warn!(problem, ?pause, "no code from the operator");
        board.update(|status| status.problem = Some(problem));
        tokio::time::sleep(pause).await;
    }
}

async fn attest_once(operator: &OperatorClient, key: &SigningKey) -> Result<Attested, String> {
    let answer = operator
        .attest(key, Instant::now() + CALL)
        .await
        .map_err(|error| error.to_string())?;
    let code = Code::parse(answer.code.expose())
        .map_err(|error: CodeError| format!("the operator's code is not understood: {error}"))?;
    Ok(Attested {
        code,
        name: answer.name,
        settings: answer.settings,
    })
}

/// Returns when the operator gives codes of another network: the former one was deleted and made again under its
/// name. It is asked only while no relay has been connected for a while; other peers than pods can't know.
pub(crate) async fn replaced(session: &Session, source: &Source) {
    let Source::Attested(operator) = source else {
        return std::future::pending().await;
    };
    let mut board = session.board.watch();
    let mut backoff = Backoff::default();
    loop {
        let is_connected = |status: &Status| status.relays.iter().any(|relay| relay.connected);
        let connected = tokio::time::timeout(STRANDED, board.wait_for(is_connected))
            .await
            .is_ok();
        if connected {
            backoff.reset();
            let _ = board.wait_for(|status| !is_connected(status)).await;
            continue;
        }
        match attest_once(operator, &session.key).await {
            Ok(attested) if attested.code.net != session.membership().net() => {
                tracing::warn!("the network was made anew");
                return;
            }
            Ok(_) => (),
            Err(problem) => tracing::info!(
                problem,
                "no relay is connected, and no code from the operator"
            ),
        }
        tokio::time::sleep(backoff.after_failure(rand::random())).await;
    }
}

/// Attempts that nobody answers, with growing pauses, for as long as patience lasts.
struct Tries {
    end: Instant,
    backoff: Backoff,
}

impl Tries {
    fn new(patience: Duration) -> Self {
        Self {
            end: Instant::now() + patience,
            backoff: Backoff::default(),
        }
    }

    /// Waits until it is time for the next one; false when that would be too late.
    async fn again(&mut self) -> bool {
        let next = Instant::now() + self.backoff.after_failure(rand::random());
        let in_time = next < self.end;
        if in_time {
            tokio::time::sleep_until(next).await;
        }
        in_time
    }
}

/// Redeems a code, or an invite of a member, as long as `patience` lasts while nobody answers.
pub(crate) async fn redeem(
    node: &Node,
    key: &SigningKey,
    code: &Code,
    name: &PeerName,
    patience: Duration,
) -> Result<Membership, AgentError> {
    match code.kind {
        CodeKind::Group => pair(node, key, code, name, patience).await,
        CodeKind::Invite => be_invited(node, code, name, patience).await,
    }
}

/// Asks the inviter, through one of its relays or another; once it has answered, there is one attempt.
async fn be_invited(
    node: &Node,
    code: &Code,
    name: &PeerName,
    patience: Duration,
) -> Result<Membership, AgentError> {
    let mut tries = Tries::new(patience);
    loop {
        match pair::redeem_invite(node, code, name, clock::now).await {
            Ok(invited) => return Ok(Membership::guest(node.peer_id(), code, invited)),
            Err(error @ (InviteError::Failed | InviteError::Answer(_))) => {
                tracing::warn!(%error, "the inviter answered and let nobody in");
                return Err(AgentError::PairingFailed);
            }
            Err(error @ InviteError::Random) => return Err(AgentError::Node(error.to_string())),
            Err(
                error @ (InviteError::Busy
                | InviteError::Dial(_)
                | InviteError::Open(_)
                | InviteError::NoWay),
            ) => tracing::info!(%error, "the inviter does not answer"),
        }
        if !tries.again().await {
            return Err(AgentError::NoInviter);
        }
    }
}

/// Redeems the code at one of its relays. Relays that do not answer, or are busy, are asked again, in any order,
/// for as long as `patience` lasts; once a relay has answered, there is one attempt.
async fn pair(
    node: &Node,
    key: &SigningKey,
    code: &Code,
    name: &PeerName,
    patience: Duration,
) -> Result<Membership, AgentError> {
    let mut tries = Tries::new(patience);
    let mut code = code.clone();
    loop {
        code.responders.shuffle(&mut rand::rng());
        match pair::pair(node, &code, key, name, clock::now).await {
            Ok(paired) => return membership(node, &code, paired.joined),
            Err(error @ (PairError::Failed | PairError::Answer(_))) => {
                tracing::warn!(%error, "a relay answered and did not admit");
                return Err(AgentError::PairingFailed);
            }
            Err(error @ PairError::Random) => return Err(AgentError::Node(error.to_string())),
            Err(
                error @ (PairError::Busy
                | PairError::Dial(_)
                | PairError::Open(_)
                | PairError::NoResponder),
            ) => {
                tracing::info!(%error, "no relay answered");
            }
        }
        if !tries.again().await {
            return Err(AgentError::NoRelay);
        }
    }
}

fn membership(node: &Node, code: &Code, joined: Joined) -> Result<Membership, AgentError> {
    let (namespace, relays) = (code.namespace.clone(), code.responders.clone());
    let me = node.peer_id();
    Membership::new(
        me,
        joined.network_key,
        namespace,
        joined.signed,
        relays,
        clock::now(),
    )
    .map_err(|error| {
        tracing::warn!(%error, "the relay's record is not accepted");
        AgentError::PairingFailed
    })
}
