//! `kubectl peerup peers`: who is in the networks, and how well each can be reached.

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use peerup_crds::names::conditions;
use peerup_crds::{Peer, PeerState};
use serde::Serialize;

use super::cluster::{Cluster, refused};
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct PeersArgs {
    /// Only those of this PeerNetwork
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One member, as it is shown.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    network: String,
    name: String,
    /// `A` to `F`, with `?` when the last report is old.
    grade: Option<String>,
    path: Option<&'static str>,
    /// The reason of the condition, if it holds.
    verified: Option<String>,
    /// `<namespace>/<pod>` of a pod.
    pod: Option<String>,
    revoked: bool,
    credential_expiration_time: Option<Timestamp>,
    grade_reason: Option<String>,
    #[serde(rename = "peerID")]
    peer_id: String,
}

/// Prints them, those that are hard to reach first.
pub(super) async fn show(cluster: &Cluster, args: PeersArgs) -> Result<(), Failure> {
    let api: Api<Peer> = if args.all_namespaces {
        Api::all(cluster.client.clone())
    } else {
        cluster.api()
    };
    let which = args.network.map_or_else(ListParams::default, |network| {
        ListParams::default().fields(&format!("spec.networkRef.name={network}"))
    });
    let peers = api.list(&which).await.map_err(refused("list the Peers"))?;
    let mut rows: Vec<_> = peers.iter().map(row).collect();
    rows.sort_by(|a, b| {
        let by = |row: &Row| (row.namespace.clone(), row.network.clone(), row.name.clone());
        by(a).cmp(&by(b))
    });
    if args.json {
        let text = serde_json::to_string_pretty(&rows)
            .map_err(|error| Failure::Unexpected(error.to_string()))?;
        println!("{text}");
    } else if rows.is_empty() {
        eprintln!("no peers");
    } else {
        print!("{}", table(&rows, args.all_namespaces));
    }
    Ok(())
}

fn row(peer: &Peer) -> Row {
    let status = peer.status.clone().unwrap_or_default();
    let condition = |type_: &str| status.conditions.iter().find(|one| one.type_ == type_);
    let stale = condition(conditions::REACHABLE).is_some_and(|one| one.status == "Unknown");
    let verified = condition(conditions::VERIFIED).filter(|one| one.status == "True");
    let pod = peer.spec.pod_ref.as_ref();
    Row {
        namespace: peer.namespace().unwrap_or_default(),
        network: peer.spec.network_ref.name.clone(),
        name: peer.spec.display_name.clone(),
        grade: status
            .grade
            .map(|grade| format!("{grade}{}", if stale { "?" } else { "" })),
        path: status.path.map(|path| path.as_str()),
        verified: verified.map(|one| one.reason.clone()),
        pod: pod.map(|pod| format!("{}/{}", pod.namespace, pod.name)),
        revoked: peer.spec.state == PeerState::Revoked,
        credential_expiration_time: status.credential_expiration_time.map(|time| time.0),
        grade_reason: status.grade_reason,
        peer_id: peer.spec.peer_id.clone(),
    }
}

fn table(rows: &[Row], with_namespace: bool) -> String {
    let dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let mut lines = vec![
        [
            "NAMESPACE",
            "NETWORK",
            "NAME",
            "GRADE",
            "PATH",
            "VERIFIED",
            "POD",
            "REASON",
        ]
        .map(str::to_owned),
    ];
    lines.extend(rows.iter().map(|row| {
        let verified = if row.revoked {
            "revoked".to_owned()
        } else {
            dash(row.verified.as_deref())
        };
        [
            row.namespace.clone(),
            row.network.clone(),
            row.name.clone(),
            dash(row.grade.as_deref()),
            dash(row.path),
            verified,
            dash(row.pod.as_deref()),
            printable(&dash(row.grade_reason.as_deref())),
        ]
    }));
    let skip = usize::from(!with_namespace);
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..8).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).skip(skip);
        let padded: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// A reason comes from the peer: nothing in it may move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn peer(name: &str, status: serde_json::Value) -> Peer {
        serde_json::from_value(json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer",
            "metadata": {"name": format!("crew.{name}"), "namespace": "shop"},
            "spec": {
                "networkRef": {"name": "crew"}, "peerID": "12D3KooW", "serial": "00000000000000ff",
                "type": "External", "method": "Code", "displayName": name,
                "pairingCodeRef": {"name": "team", "slot": 0},
            },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_table_says_who_is_there_and_how() {
        let condition = |type_: &str, status: &str, reason: &str| {
            json!({"type": type_, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let known = json!({
            "grade": "C", "gradeReason": "a NAT\u{1b}[2J", "path": "Direct",
            "conditions": [condition("Verified", "True", "Attested"), condition("Reachable", "Unknown", "ReportStale")],
        });
        let rows = [row(&peer("laptop", known)), row(&peer("pi", json!({})))];
        let expected = "\
NETWORK   NAME     GRADE   PATH     VERIFIED   POD   REASON
crew      laptop   C?      Direct   Attested   -     a NAT [2J
crew      pi       -       -        -          -     -
";
        assert_eq!(table(&rows, false), expected);
        assert!(table(&rows, true).starts_with("NAMESPACE   NETWORK"));
    }

    #[test]
    fn a_revoked_peer_is_not_called_verified() {
        let mut peer = peer("laptop", json!({}));
        peer.spec.state = PeerState::Revoked;
        assert!(table(&[row(&peer)], false).contains("revoked"));
    }
}
