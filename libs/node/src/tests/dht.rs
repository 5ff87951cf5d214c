//! The namespaced DHT through a relay.

use super::support::{Running, befriend};
use crate::DhtError;

#[tokio::test]
async fn a_record_is_kept_under_its_own_peer_id_and_found() {
    let relay = Running::relay().await;
    let (a, b) = (Running::peer().await, Running::peer().await);
    for peer in [&a, &b] {
        befriend(peer, &relay, relay.tcp()).await;
        peer.node
            .reserve(relay.id(), relay.tcp()[0].clone())
            .await
            .unwrap();
    }
    assert_eq!(b.node.find(a.id()).await.unwrap(), Vec::<Vec<u8>>::new());
    a.node.publish(b"first".to_vec()).await.unwrap();
    a.node.publish(b"second".to_vec()).await.unwrap();
    assert_eq!(b.node.find(a.id()).await.unwrap(), vec![b"second".to_vec()]);
    assert_eq!(a.node.publish(vec![0; 5000]).await, Err(DhtError::TooLong));
}

#[tokio::test]
async fn without_a_relay_it_says_so() {
    let a = Running::peer().await;
    assert_eq!(a.node.publish(b"x".to_vec()).await, Err(DhtError::NoRelay));
    let b = Running::peer().await;
    assert_eq!(a.node.find(b.id()).await, Err(DhtError::NoRelay));
}
