//! Where relays are reached: inside the cluster by their pods' names, outside as Services and nodes say. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use peerup_crds::{PeerNetwork, ServiceType, names, relays};
use peerup_protocol::{Multiaddr, relay_address::purpose};

use crate::pods::Pod;

/// Ports of one relay as seen from somewhere; a port that is not offered there is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    tcp: Option<u16>,
    quic: Option<u16>,
    stun: Option<u16>,
    stun_alternate: Option<u16>,
}

/// Most addresses of one relay.
const MAX: usize = peerup_protocol::record::MAX_RELAY_ADDRESSES;

/// Names of the ports of a relay's Service.
pub(crate) const TCP: &str = "tcp";
/// See [`TCP`].
pub(crate) const QUIC: &str = "quic";
/// See [`TCP`].
pub(crate) const STUN: &str = "stun";
/// See [`TCP`].
pub(crate) const STUN_ALTERNATE: &str = "stun-alternate";

/// The DNS name of a relay's pod.
fn inside_host(namespace: &str, network: &str, ordinal: u8, cluster_domain: &str) -> String {
    let relay = names::relay_replica(network, ordinal);
    let host = relays::inside_host(namespace, network, &relay);
    format!("{host}{cluster_domain}")
}

/// All addresses of a relay: inside ones first; the advertised outside ones, else those that the cluster shows.
pub(crate) fn all(
    network: &PeerNetwork,
    ordinal: u8,
    domain: &str,
    service: Option<&Service>,
    pod: Option<&Pod>,
) -> Vec<Multiaddr> {
    let namespace = network.namespace().unwrap_or_default();
    let inside = Ports {
        tcp: Some(names::ports::PEER),
        quic: Some(names::ports::PEER),
        stun: Some(names::ports::STUN),
        stun_alternate: Some(names::ports::STUN_ALTERNATE),
    };
    let mut all = at(
        &format!(
            "dns4/{}",
            inside_host(&namespace, &network.name_any(), ordinal, domain)
        ),
        inside,
    );
    let managed = &network.spec.relay.managed;
    match managed
        .advertise_addresses
        .iter()
        .find(|advertised| advertised.ordinal == ordinal)
    {
        Some(advertised) => all.extend(
            advertised
                .addresses
                .iter()
                .filter_map(|text| usable(text).ok()),
        ),
        None => all.extend(shown(managed.service.type_, service, pod)),
    }
    all.truncate(MAX);
    all
}

/// What the cluster shows of a relay's outside.
fn shown(type_: ServiceType, service: Option<&Service>, pod: Option<&Pod>) -> Vec<Multiaddr> {
    let Some(service) = service else {
        return Vec::new();
    };
    match type_ {
        ServiceType::ClusterIP => Vec::new(),
        ServiceType::NodePort => {
            let host_ips = pod.map(|pod| pod.host_ips.as_slice()).unwrap_or_default();
            let hosts = host_ips.iter().filter_map(|host| ip_host(host));
            hosts
                .flat_map(|host| at(&host, ports(service, |port| port.node_port)))
                .collect()
        }
        ServiceType::LoadBalancer => {
            let balancer = service
                .status
                .as_ref()
                .and_then(|status| status.load_balancer.as_ref());
            let hosts = balancer
                .and_then(|balancer| balancer.ingress.as_ref())
                .into_iter()
                .flatten()
                .filter_map(|ingress| {
                    let name = ingress.hostname.as_ref().filter(|name| !name.is_empty());
                    ingress
                        .ip
                        .as_deref()
                        .and_then(ip_host)
                        .or_else(|| name.map(|name| format!("dns4/{name}")))
                });
            hosts
                .flat_map(|host| at(&host, ports(service, |port| Some(port.port))))
                .collect()
        }
    }
}

/// Where the pod itself is dialled, if it has an address.
pub(crate) fn of_pod(pod: &Pod) -> Option<Vec<Multiaddr>> {
    let port = Some(names::ports::PEER);
    let ports = Ports {
        tcp: port,
        quic: port,
        stun: None,
        stun_alternate: None,
    };
    Some(at(&ip_host(pod.ip.as_deref()?)?, ports))
}

fn ip_host(text: &str) -> Option<String> {
    match text.parse().ok()? {
        IpAddr::V4(ip) => Some(format!("ip4/{ip}")),
        IpAddr::V6(ip) => Some(format!("ip6/{ip}")),
    }
}

fn ports(
    service: &Service,
    number: impl Fn(&k8s_openapi::api::core::v1::ServicePort) -> Option<i32>,
) -> Ports {
    let list = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let named = |name: &str| {
        let port = list?
            .iter()
            .find(|port| port.name.as_deref() == Some(name))?;
        u16::try_from(number(port)?).ok().filter(|port| *port > 0)
    };
    Ports {
        tcp: named(TCP),
        quic: named(QUIC),
        stun: named(STUN),
        stun_alternate: named(STUN_ALTERNATE),
    }
}

/// QUIC first, since it is the better one; a plain UDP address is STUN, primary before alternate.
fn at(host: &str, ports: Ports) -> Vec<Multiaddr> {
    let texts = [
        ports.quic.map(|port| format!("/{host}/udp/{port}/quic-v1")),
        ports.tcp.map(|port| format!("/{host}/tcp/{port}")),
        ports.stun.map(|port| format!("/{host}/udp/{port}")),
        ports
            .stun_alternate
            .map(|port| format!("/{host}/udp/{port}")),
    ];
    texts
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// An advertised address that peers can use, or what is wrong with it.
fn usable(text: &str) -> Result<Multiaddr, String> {
    let example = "/dns4/relay.example.com/tcp/4001";
    let Ok(address) = text.parse::<Multiaddr>() else {
        let problem = format!("advertised address {text} must be a multiaddr such as {example}");
        return Err(problem);
    };
    if purpose(&address).is_none() {
        return Err(format!(
            "advertised address {text} must be a host (ip4, ip6, dns4 or dns6) with tcp, quic-v1, or udp for STUN, such as {example}"
        ));
    }
    Ok(address)
}

/// What is wrong with an advertised address, if anything.
pub(crate) fn problem(text: &str) -> Option<String> {
    usable(text).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(service: &str) -> PeerNetwork {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
            "metadata": {"name": "main", "namespace": "shop"},
            "spec": {"relay": {"managed": {"service": {"type": service}}}},
        }))
        .unwrap()
    }

    fn service() -> Service {
        serde_json::from_value(serde_json::json!({
            "spec": {"ports": [
                {"name": "tcp", "port": 4001, "nodePort": 30001}, {"name": "quic", "port": 4001, "nodePort": 30002},
                {"name": "stun", "port": 3478, "nodePort": 30003}, {"name": "stun-alternate", "port": 3479, "nodePort": 30004}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}, {"hostname": "lb.example.com"}]}},
        }))
        .unwrap()
    }

    fn pod() -> Pod {
        serde_json::from_value(
            serde_json::json!({"status": {"hostIPs": [{"ip": "10.1.0.4"}, {"ip": "fd00::4"}]}}),
        )
        .unwrap()
    }

    fn outside(network: &PeerNetwork, service: Option<&Service>, pod: Option<&Pod>) -> Vec<String> {
        let texts: Vec<_> = all(network, 0, "cluster.local", service, pod)
            .iter()
            .map(ToString::to_string)
            .collect();
        let (inside, outside) = texts.split_at(4);
        let host = "/dns4/main-relay-0.main-relays.shop.svc.cluster.local";
        let expected = ["/udp/4001/quic-v1", "/tcp/4001", "/udp/3478", "/udp/3479"]
            .map(|end| format!("{host}{end}"));
        assert_eq!(inside, expected);
        outside.to_vec()
    }

    #[test]
    fn every_kind_of_service_has_its_addresses() {
        let quad = |host: &str, ports: [u16; 4]| {
            let [quic, tcp, stun, alternate] = ports;
            [
                format!("/udp/{quic}/quic-v1"),
                format!("/tcp/{tcp}"),
                format!("/udp/{stun}"),
                format!("/udp/{alternate}"),
            ]
            .map(|end| format!("/{host}{end}"))
        };
        assert_eq!(
            outside(&network("ClusterIP"), Some(&service()), Some(&pod())),
            Vec::<String>::new()
        );
        let node = [30002, 30001, 30003, 30004];
        let expected = [quad("ip4/10.1.0.4", node), quad("ip6/fd00::4", node)].concat();
        assert_eq!(
            outside(&network("NodePort"), Some(&service()), Some(&pod())),
            expected
        );
        assert_eq!(
            outside(&network("NodePort"), Some(&service()), None),
            Vec::<String>::new()
        );
        let balanced = [4001, 4001, 3478, 3479];
        let expected = [
            quad("ip4/203.0.113.7", balanced),
            quad("dns4/lb.example.com", balanced),
        ]
        .concat();
        assert_eq!(
            outside(&network("LoadBalancer"), Some(&service()), None),
            expected
        );
        assert_eq!(
            outside(&network("LoadBalancer"), None, None),
            Vec::<String>::new()
        );
    }

    #[test]
    fn advertised_addresses_replace_what_the_cluster_shows() {
        let mut network = network("NodePort");
        network.spec.relay.managed.advertise_addresses = vec![peerup_crds::AdvertisedAddresses {
            ordinal: 0,
            addresses: vec![
                "/dns4/relay.example.com/tcp/443".to_owned(),
                "nonsense".to_owned(),
                "/dns/relay.example.com/tcp/443".to_owned(),
            ],
        }];
        assert_eq!(
            outside(&network, Some(&service()), Some(&pod())),
            ["/dns4/relay.example.com/tcp/443"]
        );
    }

    #[test]
    fn problems_of_advertised_addresses_are_told() {
        for good in [
            "/dns4/a.example/tcp/1",
            "/ip4/1.2.3.4/udp/1/quic-v1",
            "/ip6/::1/udp/3478",
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in [
            "relay.example.com:4001",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/udp/1/quic",
            "/dns4/x",
            "/dns/a.example/tcp/1",
            "/dns4/a.example/tcp/1/ws",
        ] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
