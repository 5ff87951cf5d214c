//! The local API of a peer that is not on this machine: a command whose standard input and output are the socket. In
//! the pod it is [`bridge`] that stands at the other end.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Join, join};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::timeout;

use super::client::{ClientError, connect};

/// Longest text that a command may say on standard error.
const MAX_ERRORS: u64 = 4096;
/// How long a command may take to say why nothing comes of it.
const END: Duration = Duration::from_secs(5);

/// A command that is under way; it ends at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    child: Child,
    errors: Receiver,
}

impl Tunnel {
    /// Starts the command; the stream ends with it.
    pub(super) fn open(command: &[String]) -> io::Result<(Self, Join<Receiver, Sender>)> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let stream = join(
            Receiver::from_owned_fd(output.into())?,
            Sender::from_owned_fd(input.into())?,
        );
        let errors = Receiver::from_owned_fd(errors.into())?;
        Ok((Self { child, errors }, stream))
    }

    /// Why nothing came: what the command said on standard error, or else what was seen here.
    pub(super) async fn why(mut self, error: &io::Error) -> String {
        let mut said = Vec::new();
        let mut errors = (&mut self.errors).take(MAX_ERRORS);
        let heard = errors.read_to_end(&mut said);
        // What came in time counts.
        let _ = timeout(END, heard).await;
        match String::from_utf8_lossy(&said).trim() {
            "" => error.to_string(),
            said => said.to_owned(),
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Carries one call between a stream, usually standard input and output, and the peer that runs on a state directory.
///
/// # Errors
/// When no peer of this user runs there, or one of both breaks.
pub async fn bridge(
    state: &Path,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> Result<(), ClientError> {
    let (stream, shown) = connect(state).await?;
    let failed = |source| ClientError::Io {
        path: shown.clone(),
        source,
    };
    let (mut from_peer, mut to_peer) = stream.into_split();
    let asked = async {
        tokio::io::copy(&mut input, &mut to_peer).await?;
        // The peer ends the call, not the end of the questions.
        std::future::pending::<io::Result<()>>().await
    };
    let answered = async {
        tokio::io::copy(&mut from_peer, &mut output).await?;
        output.flush().await
    };
    tokio::select! {
        asked = asked => asked.map_err(failed),
        answered = answered => answered.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{Client, title};
    use crate::state::{Access, Store};

    fn shell(script: &str) -> Client {
        Client::through(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    async fn refused(client: Client) -> String {
        client.status().await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_the_command_says_is_told() {
        let said = refused(shell(
            "cat >/dev/null & echo 'pods \"web\" not found' >&2; exit 1",
        ))
        .await;
        assert!(said.ends_with("pods \"web\" not found"), "{said}");
        assert!(said.starts_with("sh -c "), "{said}");
        let silent = refused(shell("exit 0")).await;
        assert!(silent.len() > "sh -c exit 0: ".len(), "{silent}");
        let missing = Client::through(vec!["/no/such/program".to_owned()]);
        assert!(refused(missing).await.contains("No such file"));
        refused(Client::through(Vec::new())).await;
    }

    #[tokio::test]
    async fn an_answer_comes_over_the_commands_output() {
        let body = r#"{"title":"Busy","status":409,"type":""}"#;
        let answer = format!(
            r"HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        // The answer comes after the question.
        let client = shell(&format!("read -r line; printf '%b' '{answer}'"));
        match client.status().await {
            Err(ClientError::Refused(problem)) => assert_eq!(problem.title, title::BUSY),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_bridge_needs_a_peer() {
        let dir =
            std::env::temp_dir().join(format!("peerup-bridge-{:016x}", rand::random::<u64>()));
        let store = Store::open(&dir, Access::Refuse).unwrap();
        drop(store);
        let (near, far) = tokio::io::duplex(64);
        let (input, output) = tokio::io::split(near);
        let ended = bridge(&dir, input, output).await;
        assert!(
            matches!(ended, Err(ClientError::NotRunning(_))),
            "{ended:?}"
        );
        drop(far);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
