//! One object that cannot be read must not hide all others of its kind: a list that is read as a whole fails as a
//! whole, for as long as that object is there, and whoever may write one object could stop the operator by it.
//!
//! So objects are read one by one. One that cannot be read counts as not being there, now as after the next start.
//! What is deleted because something else is gone is asked for at the API server first, and there it can't be read
//! either, so nothing is deleted for that.

use std::borrow::Cow;

use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, runtime::watcher};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use watcher::Event;

/// An object, or what is known of one that cannot be read.
#[derive(Debug, Clone)]
pub(crate) enum Guarded<K> {
    /// The object.
    Read(K),
    /// What is known.
    Unreadable(Box<Unreadable>),
}

/// An object that cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unreadable {
    /// Its names, UID and version.
    pub(super) metadata: ObjectMeta,
    /// Why not. It may quote the object.
    pub(super) error: String,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Self::of(text.get()))
    }
}

impl<K: DeserializeOwned> Guarded<K> {
    fn of(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(object) => Self::Read(object),
            Err(error) => without_managers(text).map_or_else(
                || {
                    Self::Unreadable(Box::new(Unreadable {
                        metadata: names(text),
                        error: error.to_string(),
                    }))
                },
                Self::Read,
            ),
        }
    }
}

/// The object without its managers, whose times anybody may set who may write the object. Nobody here looks at them.
fn without_managers<K: DeserializeOwned>(text: &str) -> Option<K> {
    let mut object: Value = serde_json::from_str(text).ok()?;
    object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields")?;
    serde_json::from_value(object).ok()
}

/// What the API server itself writes into the metadata of every object.
fn names(text: &str) -> ObjectMeta {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Names {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Object {
        metadata: Names,
    }
    let Names {
        name,
        namespace,
        uid,
        resource_version,
    } = serde_json::from_str::<Object>(text)
        .unwrap_or_default()
        .metadata;
    ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        ..ObjectMeta::default()
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Unreadable(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Read(object) => object.meta_mut(),
            Self::Unreadable(object) => &mut object.metadata,
        }
    }
}

/// The events of objects that can be read. `known` is the object as it was read last, `tell` is told of each that
/// cannot be read.
pub(super) fn readable<K>(
    events: impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send,
    known: impl Fn(&ObjectMeta) -> Option<K> + Send,
    tell: impl Fn(Unreadable) + Send,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Send,
{
    events.filter_map(move |event| {
        let passed = match event {
            Ok(event) => pass(event, &known, &tell).map(Ok),
            Err(error) => Some(Err(error)),
        };
        std::future::ready(passed)
    })
}

fn pass<K>(
    event: Event<Guarded<K>>,
    known: impl Fn(&ObjectMeta) -> Option<K>,
    tell: impl Fn(Unreadable),
) -> Option<Event<K>> {
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::InitApply(Guarded::Read(object)) => Some(Event::InitApply(object)),
        Event::Apply(Guarded::Read(object)) => Some(Event::Apply(object)),
        Event::Delete(Guarded::Read(object)) => Some(Event::Delete(object)),
        Event::InitApply(Guarded::Unreadable(object)) => {
            tell(*object);
            None
        }
        Event::Apply(Guarded::Unreadable(object)) => {
            let former = known(&object.metadata);
            tell(*object);
            former.map(Event::Delete)
        }
        Event::Delete(Guarded::Unreadable(object)) => known(&object.metadata).map(Event::Delete),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use kube::core::{ObjectList, PartialObjectMeta, WatchEvent};
    use peerup_crds::PairingCode;
    use serde_json::json;

    use super::*;

    /// A year that Kubernetes knows and the operator's clock does not.
    const LATE: &str = "9999-12-31T23:59:59Z";

    fn code(name: &str) -> Value {
        json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCode",
            "metadata": {"name": name, "namespace": "shop", "uid": "u", "resourceVersion": "7"},
            "spec": {"networkRef": {"name": "crew"}},
        })
    }

    fn late(name: &str) -> Value {
        let mut code = code(name);
        code["status"] = json!({"expirationTime": LATE});
        code
    }

    fn managed_late(name: &str) -> Value {
        let mut code = code(name);
        code["metadata"]["managedFields"] = json!([{"manager": "me", "time": LATE}]);
        code
    }

    fn name<K: Resource>(object: &Guarded<K>) -> (&str, bool) {
        let name = object.meta().name.as_deref().unwrap_or_default();
        (name, matches!(object, Guarded::Read(_)))
    }

    #[test]
    fn one_that_cannot_be_read_is_one_of_a_list() {
        let list = json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCodeList", "metadata": {"resourceVersion": "9"},
            "items": [code("a"), late("b"), managed_late("c")],
        })
        .to_string();
        assert!(serde_json::from_str::<ObjectList<PairingCode>>(&list).is_err());
        let read: ObjectList<Guarded<PairingCode>> = serde_json::from_str(&list).unwrap();
        let all: Vec<_> = read.items.iter().map(name).collect();
        assert_eq!(all, [("a", true), ("b", false), ("c", true)]);
        let Guarded::Unreadable(bad) = &read.items[1] else {
            panic!("it was read")
        };
        assert!(bad.error.contains("timestamp"), "{}", bad.error);
        let named = (&bad.metadata.namespace, &bad.metadata.resource_version);
        assert_eq!(named, (&Some("shop".into()), &Some("7".into())));
    }

    #[test]
    fn a_watch_goes_on_after_it() {
        let line = format!(r#"{{"type":"MODIFIED","object":{}}}"#, late("b"));
        let Ok(WatchEvent::Modified(object)) = serde_json::from_str(&line) else {
            panic!("{line}")
        };
        let object: Guarded<PairingCode> = object;
        assert_eq!(name(&object), ("b", false));
        assert_eq!(object.meta().resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn metadata_alone_is_read_without_its_managers() {
        let text = managed_late("a").to_string();
        let read = Guarded::<PartialObjectMeta<PairingCode>>::of(&text);
        assert_eq!(name(&read), ("a", true));
    }

    #[test]
    fn what_is_no_object_at_all_has_no_name() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in ["7", "{}", r#"{"metadata": 7}"#, &deep] {
            assert_eq!(name(&Guarded::<PairingCode>::of(text)), ("", false));
        }
    }

    #[test]
    fn one_that_was_read_before_is_gone() {
        let of = |object: Value| Guarded::<PairingCode>::of(&object.to_string());
        let told = RefCell::new(0);
        let step = |event, known: bool| {
            let known = |meta: &ObjectMeta| {
                let code = serde_json::from_value(code(meta.name.as_deref().unwrap())).unwrap();
                known.then_some(code)
            };
            let passed = pass(event, known, |_| *told.borrow_mut() += 1);
            passed.map(|event| event.to_string())
        };
        let gone = Some("Delete(b)".to_owned());
        assert_eq!(step(Event::Apply(of(late("b"))), true), gone);
        assert_eq!(step(Event::Apply(of(late("b"))), false), None);
        assert_eq!(step(Event::InitApply(of(late("b"))), true), None);
        assert_eq!(*told.borrow(), 3);
        assert_eq!(step(Event::Delete(of(late("b"))), true), gone);
        assert_eq!(step(Event::Delete(of(late("b"))), false), None);
        let read = step(Event::Apply(of(code("a"))), true);
        assert_eq!((read.as_deref(), *told.borrow()), (Some("Apply(a)"), 3));
    }
}
