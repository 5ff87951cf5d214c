//! The network's DHT: relays keep it, peers put one record each under their
//! PeerId and ask for others'. The roster is the truth, this the fallback.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

use std::{collections::HashMap, time::Duration};

use libp2p::{
    PeerId, StreamProtocol,
    kad::{
        self, BucketInserts, GetRecordOk, InboundRequest, Mode, ProgressStep, QueryId, QueryResult,
        Quorum, Record, RecordKey, StoreInserts,
        store::{MemoryStore, MemoryStoreConfig, RecordStore},
    },
};
use tokio::sync::oneshot;

use crate::{config::Role, node::DhtError};

const MAX_RECORDS: usize = 4096;
/// Most bytes of a value.
const MAX_VALUE: usize = 4096;
/// Queries of this node at once.
const MAX_QUERIES: usize = 32;
/// Values that one query collects.
const MAX_VALUES: usize = 9;
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

type Reply<T> = oneshot::Sender<Result<T, DhtError>>;
type Kad = kad::Behaviour<MemoryStore>;

/// Kademlia whose table is filled by hand, with relays only.
pub(crate) fn behaviour(id: PeerId, name: StreamProtocol, role: &Role) -> Kad {
    let store = MemoryStore::with_config(
        id,
        MemoryStoreConfig {
            max_records: MAX_RECORDS,
            max_value_bytes: MAX_VALUE,
            ..MemoryStoreConfig::default()
        },
    );
    let mut config = kad::Config::new(name);
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_periodic_bootstrap_interval(None);
    let mut kad = Kad::with_config(id, store, config);
    // Otherwise any confirmed external address, such as a reservation's, makes it a server.
    kad.set_mode(Some(match role {
        Role::Peer => Mode::Client,
        Role::Relay(_) => Mode::Server,
    }));
    kad
}

/// Keeps a member's record if it is under the member's own PeerId; whether it was kept.
pub(crate) fn keep(kad: &mut Kad, request: InboundRequest) -> bool {
    match request {
        InboundRequest::PutRecord {
            source,
            record: Some(record),
            ..
        } => record.key == key(&source) && kad.store_mut().put(record).is_ok(),
        InboundRequest::AddProvider { .. } => false,
        InboundRequest::PutRecord { record: None, .. }
        | InboundRequest::FindNode { .. }
        | InboundRequest::GetProvider { .. }
        | InboundRequest::GetRecord { .. } => true,
    }
}

/// The queries of this node that somebody waits for.
#[derive(Default)]
pub(crate) struct Queries {
    puts: HashMap<QueryId, Reply<()>>,
    gets: HashMap<QueryId, Get>,
}

struct Get {
    values: Vec<Vec<u8>>,
    reply: Reply<Vec<Vec<u8>>>,
}

impl Queries {
    pub(crate) fn publish(&mut self, kad: &mut Kad, own: PeerId, value: Vec<u8>, reply: Reply<()>) {
        if self.full() {
            let _ = reply.send(Err(DhtError::Busy));
            return;
        }
        let record = Record {
            key: key(&own),
            value,
            publisher: Some(own),
            expires: None,
        };
        match kad.put_record(record, Quorum::One) {
            Ok(query) => {
                self.puts.insert(query, reply);
            }
            Err(_) => {
                let _ = reply.send(Err(DhtError::TooLong));
            }
        }
    }

    pub(crate) fn find(&mut self, kad: &mut Kad, peer: &PeerId, reply: Reply<Vec<Vec<u8>>>) {
        if self.full() {
            let _ = reply.send(Err(DhtError::Busy));
            return;
        }
        self.gets.insert(
            kad.get_record(key(peer)),
            Get {
                values: Vec::new(),
                reply,
            },
        );
    }

    /// A query came further.
    pub(crate) fn on_progress(&mut self, id: QueryId, result: QueryResult, step: &ProgressStep) {
        match result {
            QueryResult::PutRecord(result) => {
                if let Some(reply) = self.puts.remove(&id) {
                    let _ = reply.send(result.map(drop).map_err(|_| DhtError::NoRelay));
                }
            }
            QueryResult::GetRecord(result) => self.on_record(id, result, step.last),
            _ => {}
        }
    }

    fn on_record(
        &mut self,
        id: QueryId,
        result: Result<GetRecordOk, kad::GetRecordError>,
        last: bool,
    ) {
        let Some(Get { values, .. }) = self.gets.get_mut(&id) else {
            return;
        };
        if let Ok(GetRecordOk::FoundRecord(found)) = &result
            && values.len() < MAX_VALUES
            && !values.contains(&found.record.value)
        {
            values.push(found.record.value.clone());
        }
        if !last {
            return;
        }
        if let Some(Get { values, reply }) = self.gets.remove(&id) {
            let nobody = match result {
                Ok(_) => false,
                Err(kad::GetRecordError::NotFound { closest_peers, .. }) => {
                    closest_peers.is_empty()
                }
                Err(_) => values.is_empty(),
            };
            let _ = reply.send(if nobody {
                Err(DhtError::NoRelay)
            } else {
                Ok(values)
            });
        }
    }

    fn full(&self) -> bool {
        self.puts.len() + self.gets.len() >= MAX_QUERIES
    }
}

fn key(peer: &PeerId) -> RecordKey {
    RecordKey::new(&peer.to_bytes())
}
