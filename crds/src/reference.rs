//! The reference: every field of every kind, from the same schemas that the API server gets.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::{definitions, names};

/// Fields whose type is Kubernetes' own and explained there.
const FOREIGN: [&str; 5] = [
    "affinity",
    "conditions",
    "podSelector",
    "selector",
    "tolerations",
];

/// The text of `docs/reference.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = format!(
        "# Custom resources of {}/{}\n\nWritten by `peerup-crds` from the schemas; not to be edited. \
         `kubectl explain` shows the same.\n\n",
        names::GROUP,
        names::VERSION
    );
    for definition in definitions() {
        kind(&mut text, &definition);
    }
    format!("{}\n", text.trim_end())
}

fn kind(text: &mut String, definition: &CustomResourceDefinition) {
    let value = json!(definition);
    let version = &value["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let names = &value["spec"]["names"];
    let columns = words(&version["additionalPrinterColumns"], |column| {
        column["name"].as_str()
    });
    let selectable = words(&version["selectableFields"], |field| {
        field["jsonPath"].as_str()
    });
    section(
        text,
        &format!(
            "## {}\n\n{}\n\n",
            word(&names["kind"]),
            word(&schema["description"])
        ),
    );
    let short = words(&names["shortNames"], Value::as_str);
    for (what, list) in [
        ("Short name", short),
        ("Columns", columns),
        ("Field selectors", selectable),
    ] {
        if !list.is_empty() {
            section(text, &format!("- {what}: {list}\n"));
        }
    }
    rules(text, schema);
    for part in ["spec", "status"] {
        let schema = &schema["properties"][part];
        section(
            text,
            &format!(
                "\n### {} {part}\n\n{}\n\n",
                word(&names["kind"]),
                word(&schema["description"])
            ),
        );
        rules(text, schema);
        section(
            text,
            "\n| field | type | default | meaning |\n|---|---|---|---|\n",
        );
        fields(text, "", schema);
    }
    section(text, "\n");
}

/// One row a field, those of objects and lists of objects beneath them.
fn fields(text: &mut String, prefix: &str, schema: &Value) {
    let required = words(&schema["required"], Value::as_str);
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, property) in properties {
        let path = format!("{prefix}{name}");
        let needed = required
            .split(", ")
            .any(|required| required == format!("`{name}`"));
        let default = match &property["default"] {
            Value::Null if needed => "required".to_owned(),
            Value::Null => String::new(),
            Value::Object(_) => "as below".to_owned(),
            value @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                format!("`{}`", value.to_string().trim_matches('"'))
            }
        };
        let meaning = [
            description(property),
            bounds(property),
            said(property),
            said(&property["items"]),
            said(&property["additionalProperties"]),
        ]
        .concat();
        section(
            text,
            &format!(
                "| `{path}` | {} | {default} | {meaning} |\n",
                type_of(property)
            ),
        );
        if !FOREIGN.contains(&name.as_str()) {
            fields(text, &format!("{path}."), property);
            fields(text, &format!("{path}[]."), &property["items"]);
        }
    }
}

fn type_of(property: &Value) -> String {
    if property["enum"].is_array() {
        return words(&property["enum"], Value::as_str).replace("`, `", "` `");
    }
    let name = property["type"].as_str().unwrap_or("quantity");
    match (name, property["format"].as_str()) {
        ("array", _) => format!("list of {}", type_of(&property["items"])),
        ("object", _) if property["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&property["additionalProperties"]))
        }
        ("string", Some("date-time")) => "time".to_owned(),
        (name, _) => name.to_owned(),
    }
}

fn description(property: &Value) -> String {
    word(&property["description"])
        .replace('\n', " ")
        .replace('|', "\\|")
}

fn bounds(property: &Value) -> String {
    let bound = |name: &str| property[name].as_f64();
    match (bound("minimum"), bound("maximum"), bound("maxItems")) {
        (Some(minimum), Some(maximum), _) => format!(" {minimum} to {maximum}."),
        (_, _, Some(items)) => format!(" At most {items}."),
        (Some(_) | None, Some(_) | None, None) => String::new(),
    }
}

/// What the rules of a field say.
fn said(property: &Value) -> String {
    let mut text = String::new();
    for rule in property["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        section(&mut text, &format!(" *{}.*", word(&rule["message"])));
    }
    text
}

fn rules(text: &mut String, schema: &Value) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        section(text, &format!("- *{}*\n", word(&rule["message"])));
    }
}

fn words<'a>(list: &'a Value, word: impl Fn(&'a Value) -> Option<&'a str>) -> String {
    let words = list.as_array().into_iter().flatten().filter_map(word);
    words
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn section(text: &mut String, more: &str) {
    // writing to a String cannot fail
    let _ = text.write_str(more);
}
