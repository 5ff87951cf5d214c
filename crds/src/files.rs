//! The files that are generated from the custom resources, and where they lie.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::{definitions, reference};

/// First line of generated YAML.
const HEAD: &str = "# Written by peerup-crds; not to be edited.\n";
/// In the chart a definition can be left out, and stays when the chart goes.
const CHART_HEAD: &str = "{{- if .Values.crds.install }}\n";
const CHART_LABELS: &str = "  labels:\n    {{- include \"peerup.labels\" . | nindent 4 }}\n";
const CHART_KEEP: &str = "  annotations:\n    helm.sh/resource-policy: keep\n";

/// A generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path from the top of the repository.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// All generated files.
///
/// # Errors
/// When a definition cannot be written as YAML.
pub fn files() -> Result<Vec<File>, serde_saphyr::ser::Error> {
    let mut files = vec![File {
        path: "docs/reference.md".to_owned(),
        text: reference(),
    }];
    for definition in definitions() {
        let name = &definition.spec.names.plural;
        let yaml = yaml(&definition)?;
        let chart = chart(&yaml);
        files.push(File {
            path: format!("crds/yaml/{name}.yaml"),
            text: format!("{HEAD}{yaml}"),
        });
        files.push(File {
            path: format!("charts/peerup/templates/crds/{name}.yaml"),
            text: chart,
        });
    }
    Ok(files)
}

/// The same definition as a template of the chart.
fn chart(yaml: &str) -> String {
    let marked = yaml.replacen(
        "metadata:\n",
        &format!("metadata:\n{CHART_LABELS}{CHART_KEEP}"),
        1,
    );
    format!("{HEAD}{CHART_HEAD}{marked}{{{{- end }}}}\n")
}

fn yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    let mut value = json!(definition);
    whole_numbers(&mut value);
    serde_saphyr::to_string(&value)
}

/// Bounds have a fraction in the API's types; `5.0` reads badly.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(Ok(whole)) = number.to_string().strip_suffix(".0").map(str::parse::<i64>) {
                *number = whole.into();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
