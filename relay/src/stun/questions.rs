//! Questions to other relays: which address they see at one of our ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use peerup_protocol::stun::{Response, TransactionId, canonical, request};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Port, Stun};
use crate::egress::Leave;

/// How long one try waits; there are [`TRIES`].
const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: usize = 3;
/// Questions at once; two are asked at a time.
const MAX_OPEN: usize = 8;

/// Those that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Questions(Mutex<BTreeMap<TransactionId, Question>>);

#[derive(Debug)]
struct Question {
    asked: SocketAddr,
    reply: oneshot::Sender<SocketAddr>,
}

impl Questions {
    fn open(&self, transaction: TransactionId, question: Question) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = open.len() < MAX_OPEN;
        if fits {
            open.insert(transaction, question);
        }
        fits
    }

    fn close(&self, transaction: &TransactionId) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(transaction);
    }

    /// Takes an answer to an open question, from whom was asked; false for everything else.
    pub(super) fn answered(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_empty() {
            return false;
        }
        let Ok(response) = Response::decode(datagram) else {
            return false;
        };
        let asked = open.get(&response.transaction).map(|open| open.asked);
        if asked != Some(canonical(from)) {
            return false;
        }
        let question = open.remove(&response.transaction);
        if let (Some(question), Ok(mapped)) = (question, response.result) {
            let _ = question.reply.send(canonical(mapped));
        }
        true
    }
}

impl Stun {
    /// How the STUN service `to` sees our two ports, primary first.
    pub(crate) async fn seen_by(&self, to: SocketAddr) -> Option<[SocketAddr; 2]> {
        let [primary, alternate] = &self.sockets;
        let (primary, alternate) = tokio::join!(self.ask(primary, to), self.ask(alternate, to));
        Some([primary?, alternate?])
    }

    async fn ask(&self, port: &Port, to: SocketAddr) -> Option<SocketAddr> {
        for _ in 0..TRIES {
            let transaction: TransactionId = rand::random();
            let (reply, answer) = oneshot::channel();
            if !self
                .questions
                .open(transaction, Question { asked: to, reply })
            {
                return None;
            }
            let answer = if port.send_to(to, Leave::Any, &request(&transaction)) {
                timeout(PATIENCE, answer).await.ok().and_then(Result::ok)
            } else {
                None
            };
            self.questions.close(&transaction);
            if answer.is_some() {
                return answer;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use peerup_protocol::stun::server::{Local, answer};

    use super::*;

    #[test]
    fn only_whoever_was_asked_answers_and_once() {
        let questions = Questions::default();
        let (reply, mut answered) = oneshot::channel();
        let asked: SocketAddr = "11.0.0.2:3478".parse().unwrap();
        assert!(questions.open([7; 12], Question { asked, reply }));
        let local = Local {
            origin: asked,
            other: asked,
        };
        let seen: SocketAddr = "11.0.0.1:3478".parse().unwrap();
        let good = answer(&request(&[7; 12]), seen, &local).unwrap().bytes;
        let other = answer(&request(&[8; 12]), seen, &local).unwrap().bytes;
        for (from, datagram) in [
            ("11.0.0.3:3478", &good[..]),
            ("11.0.0.2:3479", &good),
            ("11.0.0.2:3478", &other),
            ("11.0.0.2:3478", b"nonsense"),
            ("11.0.0.2:3478", &request(&[7; 12])),
        ] {
            assert!(
                !questions.answered(from.parse().unwrap(), datagram),
                "{from}"
            );
        }
        answered.try_recv().unwrap_err();
        let mapped = "[::ffff:11.0.0.2]:3478".parse().unwrap();
        assert!(questions.answered(mapped, &good));
        assert_eq!(answered.try_recv(), Ok(seen));
        assert!(!questions.answered(asked, &good), "no question is open");
    }

    #[test]
    fn open_questions_are_bounded() {
        let questions = Questions::default();
        let asked: SocketAddr = "11.0.0.2:3478".parse().unwrap();
        let opened = (0..=u8::MAX).filter(|number| {
            let (reply, _) = oneshot::channel();
            questions.open([*number; 12], Question { asked, reply })
        });
        assert_eq!(opened.count(), MAX_OPEN);
    }
}
