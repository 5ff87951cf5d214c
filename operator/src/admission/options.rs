//! What a pod asks for in its `peerup.dev/…` annotations, and what is wrong with them.
//!
//! A value that is not understood is left out with a warning: an annotation never breaks a pod.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use peerup_crds::{ContainerMode, Hold, LogLevel, Resources, names::annotations};
use peerup_protocol::{
    id::PeerName,
    service::{Expose, Forward},
};

use super::quantity;

/// Reason, in metrics and events, for a sidecar that is not as its pod asks.
pub const DEGRADED: &str = "Degraded";

/// What the annotations of one pod ask for; `None` is "as the network says".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `peerup.dev/image`, found among the allowed images.
    pub image: Option<String>,
    /// `peerup.dev/log-level`.
    pub log_level: Option<LogLevel>,
    /// `peerup.dev/container-mode`.
    pub mode: Option<ContainerMode>,
    /// `peerup.dev/hold`.
    pub hold: Option<Hold>,
    /// `peerup.dev/expose`, found to be a list of services.
    pub expose: Option<String>,
    /// `peerup.dev/forward`, found to be a list of forwards.
    pub forward: Option<String>,
    /// `peerup.dev/{cpu,memory}-{request,limit}`, each a quantity that was read.
    pub resources: Resources,
}

/// What is wrong with a value, or what was expected.
type Complaint = Cow<'static, str>;

/// Reads the annotations of a pod; the second part says for each unknown or bad one what was expected.
pub fn read(given: &BTreeMap<String, String>, allowed_images: &[String]) -> (Options, Vec<String>) {
    let (mut options, mut warnings) = (Options::default(), Vec::new());
    for (key, value) in given
        .iter()
        .filter(|(key, _)| key.starts_with(annotations::PREFIX))
    {
        if let Err(expected) = set(&mut options, key, value, allowed_images) {
            warnings.push(format!(
                "annotation {}={}: {}",
                clip(key),
                clip(value),
                printable(&expected)
            ));
        }
    }
    (options, warnings)
}

fn set(
    options: &mut Options,
    key: &str,
    value: &str,
    allowed_images: &[String],
) -> Result<(), Complaint> {
    let Resources { requests, limits } = &mut options.resources;
    match key {
        annotations::NETWORK | annotations::STATUS => {}
        annotations::NAME => peer_name(value)?,
        annotations::IMAGE => options.image = Some(image(value, allowed_images)?),
        annotations::LOG_LEVEL => options.log_level = Some(log_level(value)?),
        annotations::CONTAINER_MODE => options.mode = Some(mode(value)?),
        annotations::HOLD => options.hold = Some(hold(value)?),
        annotations::EXPOSE => options.expose = services(value, Expose::parse_list)?,
        annotations::FORWARD => options.forward = services(value, Forward::parse_list)?,
        annotations::CPU_REQUEST => amount(requests, "cpu", value)?,
        annotations::CPU_LIMIT => amount(limits, "cpu", value)?,
        annotations::MEMORY_REQUEST => amount(requests, "memory", value)?,
        annotations::MEMORY_LIMIT => amount(limits, "memory", value)?,
        _ => return Err("unknown annotation, ignored".into()),
    }
    Ok(())
}

fn peer_name(value: &str) -> Result<(), &'static str> {
    PeerName::parse(value)
        .and_then(|name| name.check_request())
        .map_err(
            |_| "must be a lower-case DNS label of at most 59 characters; the pod's name is used",
        )
}

fn image(value: &str, allowed: &[String]) -> Result<String, &'static str> {
    if is_allowed(value, allowed) {
        Ok(value.to_owned())
    } else {
        Err(
            "must be an image that the operator's --allowed-images permits; the network's image is used",
        )
    }
}

fn log_level(value: &str) -> Result<LogLevel, &'static str> {
    match value {
        "error" => Ok(LogLevel::Error),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        _ => Err("must be error, warn, info, debug or trace; the network's level is used"),
    }
}

fn mode(value: &str) -> Result<ContainerMode, &'static str> {
    match value {
        "native" => Ok(ContainerMode::Native),
        "container" => Ok(ContainerMode::Container),
        _ => Err("must be native or container; the network's mode is used"),
    }
}

fn hold(value: &str) -> Result<Hold, &'static str> {
    match value {
        "none" => Ok(Hold::None),
        "started" => Ok(Hold::Started),
        "joined" => Ok(Hold::Joined),
        _ => Err("must be none, started or joined; the network's setting is used"),
    }
}

/// The same text, if it is a list; none if the list is empty.
fn services<T, E: std::fmt::Display>(
    value: &str,
    parse: impl FnOnce(&str) -> Result<Vec<T>, E>,
) -> Result<Option<String>, Complaint> {
    match parse(value) {
        Ok(entries) => Ok((!entries.is_empty()).then(|| value.trim().to_owned())),
        Err(error) => Err(format!("ignored: {error}").into()),
    }
}

fn amount(
    list: &mut BTreeMap<String, Quantity>,
    resource: &str,
    value: &str,
) -> Result<(), &'static str> {
    if quantity::milli(value).is_none() {
        return Err("must be a quantity such as 50m or 64Mi; the network's setting is used");
    }
    list.insert(resource.to_owned(), Quantity(value.to_owned()));
    Ok(())
}

/// Whether one of the globs covers the image. Pods can't have one with spaces around it, even where all are allowed.
pub fn is_allowed(image: &str, globs: &[String]) -> bool {
    image.trim() == image && globs.iter().any(|glob| matches(glob, image))
}

/// Whether `*`, standing for any text, makes `glob` equal to `text`.
fn matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A message that may hold a stranger's text, without anything that a terminal would obey.
fn printable(text: &str) -> String {
    let escaped = |c: char| {
        if c.is_ascii() && !c.is_ascii_control() {
            c.to_string()
        } else {
            c.escape_default().to_string()
        }
    };
    text.chars().map(escaped).collect()
}

/// Text of a stranger, short and without control characters, for a message.
pub fn clip(text: &str) -> String {
    text.chars()
        .take(64)
        .flat_map(char::escape_default)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> (Options, Vec<String>) {
        let annotations = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        read(
            &annotations,
            &[
                "registry.example/peerup-*".to_owned(),
                "local/exact:1".to_owned(),
            ],
        )
    }

    #[test]
    fn every_known_annotation_is_read() {
        let (options, warnings) = of(&[
            ("peerup.dev/network", "shop/mesh"),
            ("peerup.dev/status", "anything"),
            ("peerup.dev/name", "web"),
            ("peerup.dev/image", "local/exact:1"),
            ("peerup.dev/log-level", "debug"),
            ("peerup.dev/container-mode", "container"),
            ("peerup.dev/hold", "joined"),
            ("peerup.dev/expose", " http=8080, ssh=127.0.0.1:22"),
            ("peerup.dev/forward", "9000=http@shop/web,9001=http@web"),
            ("peerup.dev/cpu-request", "5m"),
            ("peerup.dev/cpu-limit", "1"),
            ("peerup.dev/memory-request", "16Mi"),
            ("peerup.dev/memory-limit", "1e8"),
            ("example.com/other", "kept out of this"),
        ]);
        assert_eq!(warnings, Vec::<String>::new());
        let list = |pairs: [(&str, &str); 2]| {
            pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), Quantity(v.to_owned())))
                .collect()
        };
        assert_eq!(
            options,
            Options {
                image: Some("local/exact:1".into()),
                log_level: Some(LogLevel::Debug),
                mode: Some(ContainerMode::Container),
                hold: Some(Hold::Joined),
                expose: Some("http=8080, ssh=127.0.0.1:22".into()),
                forward: Some("9000=http@shop/web,9001=http@web".into()),
                resources: Resources {
                    requests: list([("cpu", "5m"), ("memory", "16Mi")]),
                    limits: list([("cpu", "1"), ("memory", "1e8")]),
                },
            }
        );
    }

    #[test]
    fn each_bad_value_is_named_and_left_out() {
        for (key, value) in [
            ("image", "evil.example/root"),
            ("image", "registry.example/peerup-a "),
            ("log-level", "peerup=trace"),
            ("container-mode", "Native"),
            ("hold", "forever"),
            ("cpu-request", "-1"),
            ("memory-limit", "lots"),
            ("name", "Not A Name"),
            ("expose", "http=eighty"),
            ("expose", "http=80,http=81"),
            ("forward", "http@web"),
            ("forward", "9000=http@a/b/c"),
            ("allow", "http=laptop"),
        ] {
            let (options, warnings) = of(&[(&format!("peerup.dev/{key}"), value)]);
            assert_eq!(options, Options::default(), "{key}");
            assert_eq!(warnings.len(), 1, "{key}");
            assert!(
                warnings[0].starts_with(&format!("annotation peerup.dev/{key}={value}: ")),
                "{}",
                warnings[0]
            );
        }
    }

    #[test]
    fn a_warning_repeats_little_and_nothing_unprintable() {
        for key in ["peerup.dev/hold", "peerup.dev/expose", "peerup.dev/forward"] {
            let (_, warnings) = of(&[(key, &"é\u{202e}\u{0}\n".repeat(100))]);
            let plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_control();
            assert!(warnings[0].bytes().all(plain), "{}", warnings[0]);
            assert!(warnings[0].len() < 2000, "{}", warnings[0].len());
        }
    }

    #[test]
    fn an_empty_list_is_none() {
        let given = [("peerup.dev/expose", ""), ("peerup.dev/forward", " ")];
        assert_eq!(of(&given), (Options::default(), Vec::new()));
    }

    #[test]
    fn globs_stand_for_any_text_and_nothing_else() {
        for (glob, text, expected) in [
            ("a/b:1", "a/b:1", true),
            ("a/b:1", "a/b:12", false),
            ("a/*", "a/b/c:1", true),
            ("a/*:1", "a/b:2", false),
            ("*", "anything", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(glob, text), expected, "{glob} {text}");
        }
    }
}
