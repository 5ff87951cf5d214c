//! Settings of a relay: flags, each also an environment variable, as the operator's StatefulSet sets them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use peerup_protocol::VerifyingKey;
use peerup_protocol::id::DhtNamespace;

/// Peerup's relay: joins peers that cannot reach each other, pairs newcomers, answers STUN.
#[derive(Debug, Clone, Parser)]
#[command(args_override_self = true)]
#[command(name = "peerup-relay", version, about)]
pub struct Config {
    /// Network served, `<namespace>/<name>`; for logs.
    #[arg(long, env = "PEERUP_NETWORK")]
    pub network: String,
    /// The network's DHT namespace.
    #[arg(long, env = "PEERUP_DHT_NAMESPACE", value_parser = namespace)]
    pub dht_namespace: DhtNamespace,
    /// The network's public key, 64 hex digits.
    #[arg(long, env = "PEERUP_NETWORK_PUBLIC_KEY", value_parser = public_key)]
    pub network_public_key: VerifyingKey,
    /// The operator's API, `https://host:port`.
    #[arg(long, env = "PEERUP_OPERATOR_URL")]
    pub operator_url: String,
    /// CA bundle that the operator's certificate must come from; read again when it changes.
    #[arg(long, env = "PEERUP_OPERATOR_CA_FILE")]
    pub operator_ca_file: PathBuf,
    /// Projected service account token; read again at each call.
    #[arg(long, env = "PEERUP_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// Seed of this relay's identity, 32 raw bytes.
    #[arg(long, env = "PEERUP_KEY_FILE")]
    pub key_file: PathBuf,
    /// Where the last lists are kept, so that members are admitted while the operator is down.
    #[arg(long, env = "PEERUP_STATE_DIR")]
    pub state_dir: PathBuf,
    /// Host name or IP address under which the cluster reaches this relay.
    #[arg(long, env = "PEERUP_INSIDE_HOST")]
    pub inside_host: String,
    /// Reservations at most.
    #[arg(long, env = "PEERUP_MAX_RESERVATIONS", default_value_t = 1024)]
    pub max_reservations: usize,
    /// Circuits at most.
    #[arg(long, env = "PEERUP_MAX_CIRCUITS", default_value_t = 1024)]
    pub max_circuits: usize,
    /// Longest life of a circuit in seconds; 0: unlimited.
    #[arg(long, env = "PEERUP_CIRCUIT_TIMEOUT_SECONDS", default_value_t = 0)]
    pub circuit_timeout_seconds: u32,
    /// Most bytes of a circuit, both directions together; 0: unlimited.
    #[arg(long, env = "PEERUP_CIRCUIT_DATA_LIMIT", default_value_t = 0)]
    pub circuit_data_limit: u64,
    /// Newcomers that pair at the same time at most.
    #[arg(long, env = "PEERUP_MAX_PROBATIONARY_PEERS", default_value_t = 10)]
    pub max_probationary_peers: usize,
    /// Longest time of a newcomer's connection in seconds.
    #[arg(long, env = "PEERUP_PROBATION_TIMEOUT_SECONDS", default_value_t = 15)]
    pub probation_timeout_seconds: u32,
    /// Port of libp2p, TCP and UDP (QUIC).
    #[arg(long, env = "PEERUP_LISTEN_PORT", default_value_t = 4001)]
    pub listen_port: u16,
    /// The two UDP ports of STUN, primary first.
    #[arg(long, env = "PEERUP_STUN_PORTS", value_parser = stun_ports, default_value = "3478,3479")]
    pub stun_ports: StunPorts,
    /// Where /metrics, /livez and /readyz are served, plain HTTP.
    #[arg(long, env = "PEERUP_HTTP_LISTEN", default_value = "0.0.0.0:9465")]
    pub http_listen: SocketAddr,
    /// Log filter, as `info` or `peerup_relay=debug`.
    #[arg(long, env = "PEERUP_LOG", default_value = "info")]
    pub log: String,
    /// Log format.
    #[arg(long, env = "PEERUP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The two STUN ports; the second is what `OTHER-ADDRESS` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StunPorts {
    /// Ordinary port.
    pub primary: u16,
    /// Alternate port.
    pub alternate: u16,
}

fn namespace(text: &str) -> Result<DhtNamespace, String> {
    DhtNamespace::parse(text).map_err(|error| error.to_string())
}

fn public_key(text: &str) -> Result<VerifyingKey, String> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|_| "must be 64 hex digits")?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| "must be 64 hex digits")?;
    VerifyingKey::from_bytes(&bytes).map_err(|error| format!("must be an Ed25519 key: {error}"))
}

fn stun_ports(text: &str) -> Result<StunPorts, String> {
    let expected = "must be two different ports, as 3478,3479";
    let (primary, alternate) = text.split_once(',').ok_or(expected)?;
    let ports = StunPorts {
        primary: primary.trim().parse().map_err(|_| expected)?,
        alternate: alternate.trim().parse().map_err(|_| expected)?,
    };
    if ports.primary == ports.alternate && ports.primary != 0 {
        return Err(expected.to_owned());
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Config, clap::Error> {
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let needed = [
            "peerup-relay",
            "--network=shop/crew",
            "--dht-namespace=crew",
            "--operator-url=https://localhost:9444",
            "--operator-ca-file=/ca",
            "--token-file=/token",
            "--key-file=/seed",
            "--state-dir=/state",
            "--inside-host=localhost",
        ];
        let key = format!("--network-public-key={key}");
        let all = needed
            .into_iter()
            .chain([&*key])
            .chain(more.iter().copied());
        Config::try_parse_from(all)
    }

    #[test]
    fn what_has_a_usual_value_may_be_left_out() {
        let config = parse(&[]).unwrap();
        let ports = StunPorts {
            primary: 3478,
            alternate: 3479,
        };
        assert_eq!((config.listen_port, config.stun_ports), (4001, ports));
        assert_eq!(config.max_probationary_peers, 10);
    }

    #[test]
    fn bad_values_are_refused_with_their_rule() {
        for (flag, rule) in [
            ("--stun-ports=3478", "two different ports"),
            ("--stun-ports=3478,3478", "two different ports"),
            ("--network-public-key=00", "64 hex digits"),
            ("--dht-namespace=Crew", "lower-case"),
        ] {
            let error = parse(&[flag]).unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
    }
}
