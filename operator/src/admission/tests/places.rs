//! Where the operator's own configuration lets pods have a sidecar.

use super::*;

#[test]
fn namespaces_that_are_excluded_or_not_served_get_no_sidecar() {
    let all = json!({"allowedNamespaces": {"from": "All"}});
    let open = [network("shop", "main", all)];
    let asked = |namespace: &str, places: Places| {
        let home = Home {
            name: namespace.to_owned(),
            ..enabled()
        };
        let settings = Settings {
            places,
            ..settings()
        };
        inject::decide(&annotated("shop/main"), &home, &open, &settings, CA)
    };
    let excluded = || Places {
        excluded: vec!["batch".to_owned()],
        ..Places::default()
    };
    let served = || Places {
        served: vec!["shop".to_owned(), "apps".to_owned()],
        ..Places::default()
    };
    for (namespace, places, expected) in [
        ("apps", excluded(), None),
        ("batch", excluded(), Some(Reason::SystemNamespace)),
        ("apps", served(), None),
        ("batch", served(), Some(Reason::NamespaceNotServed)),
    ] {
        let verdict = asked(namespace, places);
        let reason = match verdict.decision {
            Decision::Skip(reason) => Some(reason),
            Decision::Patch(_) => None,
        };
        assert_eq!(reason, expected, "{namespace}");
        assert_eq!(verdict.warnings.len(), usize::from(expected.is_some()));
    }
}
