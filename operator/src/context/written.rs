//! What the API server answered to our own writes, until the stores have heard of them: what is decided from a store
//! that is behind is written twice, or in vain. Pure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{Resource, ResourceExt as _};

/// No store is behind for so long; whoever is gone meanwhile is forgotten.
const KEPT: Duration = Duration::from_secs(60);
/// So many may be kept without a look whose time is over.
const MANY: usize = 256;

/// Objects of one kind, by UID, as they were last written.
#[derive(Debug)]
pub struct Written<K>(Arc<Mutex<HashMap<String, Last<K>>>>);

/// An object, and when it was written.
type Last<K> = (Arc<K>, Instant);

impl<K> Clone for Written<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Written<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Resource> Written<K> {
    /// Keeps an object as the API server answered it.
    pub fn put(&self, mut object: K, now: Instant) {
        object.meta_mut().managed_fields = None;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MANY {
            all.retain(|_, (_, since)| now.duration_since(*since) < KEPT);
        }
        all.insert(object.uid().unwrap_or_default(), (Arc::new(object), now));
    }

    /// The object of a store, or as it was written if the store has not heard of that.
    #[must_use]
    pub fn newest(&self, stored: Arc<K>) -> Arc<K> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = stored.uid().unwrap_or_default();
        let Some((written, _)) = all.get(&uid) else {
            return stored;
        };
        if is_older(&*stored, &**written) {
            return written.clone();
        }
        all.remove(&uid);
        stored
    }
}

/// Versions of one object are numbers that grow (Kubernetes API concepts, "Resource versions"); what is no number says
/// nothing.
fn is_older<K: Resource>(one: &K, other: &K) -> bool {
    let number = |object: &K| object.resource_version()?.parse::<u64>().ok();
    matches!((number(one), number(other)), (Some(one), Some(other)) if one < other)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(uid: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object
    }

    #[test]
    fn what_was_written_counts_until_the_store_has_heard_of_it() {
        let written = Written::default();
        let seen = |version: &str| {
            let newest = written.newest(Arc::new(object("a", version)));
            newest.resource_version().unwrap()
        };
        assert_eq!(seen("9"), "9", "nothing was written");
        written.put(object("a", "10"), Instant::now());
        assert_eq!([seen("9"), seen("9"), seen("x")], ["10", "10", "x"]);
        assert_eq!(
            seen("9"),
            "9",
            "a store that says what is no number is believed"
        );

        written.put(object("a", "10"), Instant::now());
        assert_eq!(seen("10"), "10");
        assert_eq!(seen("9"), "9", "it is forgotten once the store knows it");
        written.put(object("a", "10"), Instant::now());
        let other = written.newest(Arc::new(object("b", "9")));
        assert_eq!(other.uid().unwrap(), "b");
    }

    #[test]
    fn those_that_nobody_asks_for_are_forgotten() {
        let (written, start) = (Written::default(), Instant::now());
        for number in 0..MANY {
            written.put(object(&number.to_string(), "1"), start);
        }
        let len = |written: &Written<ConfigMap>| written.0.lock().unwrap().len();
        written.put(object("new", "1"), start + KEPT - Duration::from_secs(1));
        assert_eq!(len(&written), MANY + 1);
        written.put(object("newer", "1"), start + KEPT);
        assert_eq!(len(&written), 2);
    }
}
