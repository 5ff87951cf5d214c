//! The agent's life: one cycle is one membership, from a code (or a stored record) until the record ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use peerup_node::{Event, Multiaddr, Node, Role};
use peerup_operator_client::OperatorClient;
use peerup_protocol::SigningKey;
use peerup_protocol::api::Settings;
use peerup_protocol::code::Code;
use peerup_protocol::id::{DhtNamespace, NetworkId, PeerName};
use peerup_protocol::names::ProtocolNames;
use peerup_protocol::secret::Secret;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::enrol;
use crate::handle::Handle;
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::services::ServiceLimits;
use crate::session::Session;
use crate::shared::Shared;
use crate::state::Store;
use crate::status::{Board, Phase};
use crate::{contacts, direct, guard, inbound, link, measure, own_id};

/// What an agent is started with.
#[derive(Debug)]
pub struct Config {
    /// Seed of the identity key.
    pub seed: Secret<32>,
    /// A membership from the state directory, used first. Under [`Source::Attested`] only while its record holds.
    pub stored: Option<Membership>,
    /// Where a membership comes from when there is none.
    pub source: Source,
    /// Where to listen; see [`crate::listen_on`].
    pub listen: Vec<Multiaddr>,
    /// How long relays that do not answer are asked to redeem a code; a pod asks for a fresh code then.
    pub patience: Duration,
    /// Where the status is written.
    pub board: Board,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the membership is kept.
    pub store: Arc<Store>,
    /// How much is carried for services.
    pub limits: ServiceLimits,
}

/// Where a membership comes from.
#[derive(Debug)]
pub enum Source {
    /// A pod: the operator gives a code for this key, again and again, for ever.
    Attested(OperatorClient),
    /// A person's code or an invite, redeemed once under this name.
    Code(Box<Code>, PeerName),
    /// Only from the state directory.
    Stored,
}

/// Why an agent ended by itself. An attested one never does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// Nobody at the addresses of the code answered.
    #[error(
        "no relay of this network answered; is this machine online, and is the relay reachable from it?"
    )]
    NoRelay,
    /// The inviter was not reached.
    #[error("the inviter was not reached; is this machine online, and does the invite still wait?")]
    NoInviter,
    /// The relay did not accept the code; it never says why.
    #[error("pairing failed")]
    PairingFailed,
    /// The record has expired or was revoked, and no new one could be had.
    #[error(
        "the membership has ended: it was revoked, or expired and was not renewed; ask for a new code"
    )]
    Ended,
    /// The network could not be set up on this machine.
    #[error("{0}")]
    Node(String),
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    shared: Arc<Shared>,
    stop: CancellationToken,
    ended: watch::Receiver<Option<AgentError>>,
    task: JoinHandle<()>,
}

impl Agent {
    /// Starts an agent on the current tokio runtime.
    #[must_use]
    pub fn start(config: Config) -> Self {
        let stop = CancellationToken::new();
        let (told, ended) = watch::channel(None);
        let shared = Arc::new(Shared::new(
            SigningKey::from_bytes(config.seed.expose()),
            config.board.clone(),
            config.metrics.clone(),
            Arc::clone(&config.store),
            config.limits,
        ));
        let life = Life {
            shared: Arc::clone(&shared),
            settings: watch::Sender::new(measure::default_settings(&config.source)),
            config,
            stop: stop.clone(),
        };
        let task = tokio::spawn(async move {
            if let Some(error) = life.run().await {
                told.send_replace(Some(error));
            }
        });
        Self {
            shared,
            stop,
            ended,
            task,
        }
    }

    /// What asks this agent for something while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    /// Waits until a relay has accepted the membership for the first time.
    ///
    /// # Errors
    /// When the agent ends before.
    pub async fn joined(&self) -> Result<(), AgentError> {
        let mut board = self.shared.board.watch();
        tokio::select! {
            _ = board.wait_for(|status| status.joined_time.is_some()) => Ok(()),
            error = self.ended() => Err(error),
        }
    }

    /// Waits until the agent ends by itself; for ever after [`Agent::shutdown`].
    pub async fn ended(&self) -> AgentError {
        let mut ended = self.ended.clone();
        let told = ended
            .wait_for(Option::is_some)
            .await
            .map(|told| told.clone());
        match told {
            Ok(Some(error)) => error,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Closes all connections and ports and stops.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.shared.services.shutdown().await;
        if let Err(error) = self.task.await {
            tracing::error!(%error, "agent task failed");
        }
    }
}

/// How a cycle ended.
enum End {
    Stopped,
    Lapsed,
    Failed(AgentError),
}

/// What a cycle begins with.
enum Way {
    Member(Box<Membership>),
    Pair(Box<Code>, PeerName),
}

impl Way {
    fn network(&self) -> (NetworkId, DhtNamespace) {
        match self {
            Self::Member(membership) => (membership.net(), membership.namespace().clone()),
            Self::Pair(code, _) => (code.net, code.namespace.clone()),
        }
    }
}

struct Life {
    shared: Arc<Shared>,
    settings: watch::Sender<Settings>,
    config: Config,
    stop: CancellationToken,
}

impl Life {
    /// Cycles until told to stop; why it ended otherwise.
    async fn run(mut self) -> Option<AgentError> {
        let board = self.config.board.clone();
        board.update(|status| status.peer_id = Some(own_id(&self.config.seed).to_string()));
        let mut backoff = Backoff::default();
        loop {
            let stop = self.stop.clone();
            let way = tokio::select! {
                way = self.way() => way,
                () = stop.cancelled() => return None,
            };
            let error = match self.cycle(way, &mut backoff).await {
                End::Stopped => return None,
                End::Lapsed => AgentError::Ended,
                End::Failed(error) => error,
            };
            board.update(|status| status.lapse(self.problem(&error)));
            let Source::Attested(_) = self.config.source else {
                return Some(error);
            };
            let pause = backoff.after_failure(rand::random());
            tracing::warn!(%error, ?pause, "membership is asked for again");
            tokio::select! {
                () = tokio::time::sleep(pause) => (),
                () = stop.cancelled() => return None,
            }
        }
    }

    fn problem(&self, error: &AgentError) -> String {
        match (error, &self.config.source) {
            (AgentError::Ended, Source::Attested(_)) => {
                "the membership has ended; the operator is asked for another one".to_owned()
            }
            (error, _) => error.to_string(),
        }
    }

    /// The stored membership first, then the source; an attested one is asked until it answers.
    async fn way(&mut self) -> Result<Way, AgentError> {
        let attested = matches!(self.config.source, Source::Attested(_));
        if let Some(stored) = self.config.stored.take()
            && (!attested || stored.holds(crate::clock::now()))
        {
            return Ok(Way::Member(Box::new(stored)));
        }
        match &self.config.source {
            Source::Attested(operator) => {
                self.config
                    .board
                    .update(|status| status.phase = Phase::Attesting);
                let attested = enrol::attest(operator, &self.shared.key, &self.config.board).await;
                self.settings.send_replace(attested.settings);
                Ok(Way::Pair(Box::new(attested.code), attested.name))
            }
            Source::Code(code, name) => Ok(Way::Pair(code.clone(), name.clone())),
            Source::Stored => Err(AgentError::Ended),
        }
    }

    async fn cycle(&self, way: Result<Way, AgentError>, backoff: &mut Backoff) -> End {
        let way = match way {
            Ok(way) => way,
            Err(error) => return End::Failed(error),
        };
        let (net, namespace) = way.network();
        let started = peerup_node::start(peerup_node::Config {
            seed: self.config.seed.clone(),
            names: ProtocolNames::new(&net, &namespace),
            role: Role::Peer,
            listen: self.config.listen.clone(),
        });
        let (node, events) = match started {
            Ok(started) => started,
            Err(error) => return End::Failed(AgentError::Node(error.to_string())),
        };
        let end = tokio::select! {
            end = self.live(node.clone(), events, way, backoff) => end,
            () = self.stop.cancelled() => End::Stopped,
        };
        node.shutdown().await;
        end
    }

    async fn live(
        &self,
        node: Node,
        mut events: mpsc::Receiver<Event>,
        way: Way,
        backoff: &mut Backoff,
    ) -> End {
        let membership = match way {
            Way::Member(membership) => *membership,
            Way::Pair(code, name) => {
                self.config
                    .board
                    .update(|status| status.phase = Phase::Pairing);
                let patience = self.config.patience;
                let paired = tokio::select! {
                    paired = enrol::redeem(&node, &self.shared.key, &code, &name, patience) => paired,
                    never = ignore(&mut events) => match never {},
                };
                match paired {
                    Ok(membership) => membership,
                    Err(error) => return End::Failed(error),
                }
            }
        };
        backoff.reset();
        let config = &self.config;
        let session = Arc::new(Session::new(
            node,
            Arc::clone(&self.shared),
            matches!(config.source, Source::Attested(_)),
            membership,
        ));
        session.save().await;
        let _present = self.shared.enter(&session);
        self.shared.services.begin(&self.shared).await;
        let end = tokio::select! {
            () = inbound::run(&session, events) => End::Failed(AgentError::Node("the network stack ended".to_owned())),
            () = guard::run(&session) => End::Lapsed,
            () = enrol::replaced(&session, &config.source) => End::Lapsed,
            never = session.keep_saved() => match never {},
            never = session.keep_shown() => match never {},
            never = link::run(&session) => match never {},
            never = contacts::run(&session) => match never {},
            never = direct::run(&session) => match never {},
            never = measure::run(&session, &config.source, &self.settings) => match never {},
        };
        session.save().await;
        end
    }
}

/// Before there is a membership nobody has anything to say; but unread events would stop the network.
async fn ignore(events: &mut mpsc::Receiver<Event>) -> Infallible {
    while events.recv().await.is_some() {}
    std::future::pending().await
}
