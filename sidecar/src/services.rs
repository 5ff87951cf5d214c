//! Services that the pod's annotations ask for. What can't be is said in the log and in the status; the pod runs on.

use std::fmt::Display;

use peerup_agent::{Board, Handle};
use peerup_protocol::service::{Expose, Forward};

/// Exposes and forwards, from the start of the agent until its end. A list with a wrong entry is left aside whole.
pub(crate) async fn begin(handle: &Handle, board: &Board, expose: &str, forward: &str) {
    let exposed = Expose::parse_list(expose);
    for one in read("PEERUP_EXPOSE", board, exposed) {
        let text = one.to_string();
        if let Err(error) = handle.expose(one).await {
            say(board, "PEERUP_EXPOSE", format_args!("{text}: {error}"));
        }
    }
    let forwarded = Forward::parse_list(forward);
    for one in read("PEERUP_FORWARD", board, forwarded) {
        let text = one.to_string();
        if let Err(error) = handle.forward(one).await {
            say(board, "PEERUP_FORWARD", format_args!("{text}: {error}"));
        }
    }
}

fn read<T>(variable: &str, board: &Board, list: Result<Vec<T>, impl Display>) -> Vec<T> {
    list.unwrap_or_else(|error| {
        say(board, variable, error);
        Vec::new()
    })
}

fn say(board: &Board, variable: &str, problem: impl Display) {
    let problem = format!("{variable}: {problem}");
    tracing::error!(problem, "service is left aside");
    board.update(|status| status.services.problems.push(problem));
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::path::PathBuf;
    use std::sync::Arc;

    use jiff::Timestamp;
    use peerup_agent::{
        Access, Agent, Config, Metrics, ServiceLimits, Source, Status, Store, fresh_seed,
    };

    use super::*;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// What the status says after these settings; without a network they are there all the same.
    async fn begun(expose: &str, forward: &str) -> peerup_agent::status::Services {
        let name = format!("peerup-sidecar-{:016x}", rand::random::<u64>());
        let dir = Scratch(std::env::temp_dir().join(name));
        let store = Store::open(&dir.0, Access::Refuse).unwrap();
        let board = Board::new(Status::starting(Timestamp::now()));
        let agent = Agent::start(Config {
            seed: fresh_seed(),
            stored: None,
            source: Source::Stored,
            listen: Vec::new(),
            patience: std::time::Duration::ZERO,
            board: board.clone(),
            metrics: Metrics::new().unwrap(),
            store: Arc::new(store),
            limits: ServiceLimits::default(),
        });
        begin(&agent.handle(), &board, expose, forward).await;
        let services = board.status().services;
        agent.shutdown().await;
        services
    }

    fn free_port() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn what_is_asked_for_is_there() {
        let port = free_port();
        let expose = "http=8080, ssh=127.0.0.1:22";
        let services = begun(expose, &format!("{port}=http@shop/web")).await;
        assert_eq!(services.exposed, Expose::parse_list(expose).unwrap());
        assert_eq!(services.forwards.len(), 1);
        assert_eq!(services.problems, Vec::<String>::new());
        assert_eq!(begun("", "").await, Default::default());
    }

    #[tokio::test]
    async fn a_bad_value_is_said_and_the_rest_works() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let services = begun("http", &format!("{port}=http@web,{}=http@web", free_port())).await;
        assert_eq!((services.exposed.len(), services.forwards.len()), (0, 1));
        let [expose, forward] = services.problems.as_slice() else {
            panic!("{:?}", services.problems)
        };
        assert!(
            expose.starts_with("PEERUP_EXPOSE: expected service=port"),
            "{expose}"
        );
        let expected =
            format!("PEERUP_FORWARD: {port}=http@web: cannot listen on 127.0.0.1:{port}");
        assert!(forward.starts_with(&expected), "{forward}");
    }
}
