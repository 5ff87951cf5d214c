//! Which services the owner wants, whether or not they can be had at the moment (pure). The file of it is read when
//! the peer starts, and written before a change is told to have happened.

use peerup_protocol::service::{Expose, Forward, ServiceName};
use serde::{Deserialize, Serialize};

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) exposed: Vec<Expose>,
    pub(super) forwards: Vec<Forward>,
}

impl Wanted {
    /// With this service in place of one of the same name.
    pub(super) fn with_exposed(&self, expose: &Expose) -> Self {
        let mut next = self.without_exposed(&expose.service);
        next.exposed.push(expose.clone());
        next.exposed.sort();
        next
    }

    pub(super) fn without_exposed(&self, service: &ServiceName) -> Self {
        let mut next = self.clone();
        next.exposed.retain(|known| known.service != *service);
        next
    }

    /// What is exposed under the name.
    pub(super) fn exposed(&self, service: &ServiceName) -> Option<&Expose> {
        self.exposed.iter().find(|known| known.service == *service)
    }

    /// With this forward in place of one of the same port.
    pub(super) fn with_forward(&self, forward: &Forward) -> Self {
        let mut next = self.without_forward(forward.port);
        next.forwards.push(forward.clone());
        next.forwards.sort();
        next
    }

    pub(super) fn without_forward(&self, port: u16) -> Self {
        let mut next = self.clone();
        next.forwards.retain(|known| known.port != port);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(exposed: &[&str], forwards: &[&str]) -> Wanted {
        Wanted {
            exposed: exposed.iter().map(|text| text.parse().unwrap()).collect(),
            forwards: forwards.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_name_and_a_port_stand_once() {
        let one = wanted(&["http=80"], &["9000=http@web"]);
        let two = one
            .with_exposed(&"ssh=22".parse().unwrap())
            .with_exposed(&"http=8080".parse().unwrap())
            .with_forward(&"8000=http@web".parse().unwrap())
            .with_forward(&"9000=ssh@home".parse().unwrap());
        let expected = wanted(
            &["http=8080", "ssh=22"],
            &["8000=http@web", "9000=ssh@home"],
        );
        assert_eq!(two, expected);
        let http = ServiceName::parse("http").unwrap();
        let three = two.without_exposed(&http).without_forward(8000);
        assert_eq!(three, wanted(&["ssh=22"], &["9000=ssh@home"]));
        assert_eq!(three.without_exposed(&http).without_forward(1), three);
    }

    #[test]
    fn the_file_says_what_a_person_would() {
        let wanted = wanted(&["http=8080"], &["9000=http@shop/web"]);
        let json =
            serde_json::json!({"exposed": ["http=8080"], "forwards": ["9000=http@shop/web"]});
        assert_eq!(serde_json::to_value(&wanted).unwrap(), json);
        assert_eq!(serde_json::from_value::<Wanted>(json).unwrap(), wanted);
        let bad = serde_json::json!({"exposed": ["http=0"], "forwards": []});
        serde_json::from_value::<Wanted>(bad).unwrap_err();
    }
}
