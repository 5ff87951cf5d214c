//! What the tests share: an Internet, and a network with two relays on it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use peerup_tests::lab::internet::Internet;
use peerup_tests::lab::namespace::Namespace;
use peerup_tests::lab::peer::Peer;
use peerup_tests::lab::relay::{self, Relay};
use peerup_tests::light::Light;
use peerup_tests::network::Network;
use peerup_tests::operator::{Home, Operator, opted_in};
use serde_json::json;

/// Shared by all tests. Fields are dropped in order: programs before the machines that they are on.
pub(crate) struct World {
    pub(crate) relays: [Relay; 2],
    pub(crate) internet: Internet,
    network: Network,
    operator: Operator,
    codes: AtomicU32,
}

impl World {
    /// Starts all of it and waits until both relays serve.
    pub(crate) async fn new() -> Result<Self> {
        relay::management()?;
        let internet = Internet::new()?;
        let mut relays = [Relay::machine(&internet, 0)?, Relay::machine(&internet, 1)?];
        let light = Light::shared()?;
        let client = light.client().await?;
        let namespace = opted_in(&client, "lab").await?;
        let home = Home::new(light, &client, &[&namespace]).await?;
        let operator = home.start_at(relay::OPERATOR).await?;
        let network = Network::new(&client, &namespace, "main");
        let advertised = relays
            .iter()
            .map(Relay::advertised)
            .collect::<Result<Vec<_>>>()?;
        network
            .create(json!({
                "relay": { "managed": { "replicas": 2, "advertiseAddresses": advertised } },
                "reachability": {
                    "probePeriodSeconds": 5, "reportPeriodSeconds": 5,
                    "stabilizationSeconds": 5, "offlineAfterSeconds": 10,
                },
            }))
            .await?;
        for relay in &mut relays {
            relay.start(&network, &home).await?;
        }
        network.set_up().await?;
        Ok(Self {
            relays,
            internet,
            network,
            operator,
            codes: AtomicU32::new(0),
        })
    }

    /// A peer on this machine, which joins with a code of its own.
    pub(crate) async fn join(&self, machine: &Namespace) -> Result<Peer> {
        let number = self.codes.fetch_add(1, Ordering::Relaxed);
        let name = format!("code-{number}");
        let codes = self.network.codes(&name, json!({})).await?;
        Peer::join(machine, codes.first().context("no code")?).await
    }

    /// Ends all; the logs are kept where they are of use.
    pub(crate) fn end(self, well: bool) -> Result<()> {
        let Some(directory) = std::env::var_os("PEERUP_LAB_DIRECTORY").map(PathBuf::from) else {
            return Ok(());
        };
        let _ = fs::remove_dir_all(&directory); // of a run before
        if well {
            return Ok(());
        }
        fs::create_dir_all(&directory)?;
        let [first, second] = &self.relays;
        for (name, text) in [
            ("operator.log", self.operator.program.output()),
            ("relay-0.log", first.output()),
            ("relay-1.log", second.output()),
        ] {
            fs::write(directory.join(name), text)?;
        }
        println!("logs: {}", directory.display());
        Ok(())
    }
}
