//! `host inspect`.

use std::sync::Arc;

use clap::Args;
use host::auth::{Parameter, Scheme};
use host::engine::cache::Outcome;
use host::run::OpenError;
use serde_json::Value;

use super::args::{ConnectorArgs, LimitArgs};
use super::print::Out;
use super::progress::{Progress, Style};
use super::{CliError, Exit, units};

/// Arguments of `host inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    connector: ConnectorArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what a connector is, without running a request.
pub(crate) async fn inspect(args: InspectArgs, out: &mut Out) -> Result<Exit, CliError> {
    let observer = Arc::new(Progress::new(Style::Lines { verbose: false }));
    let described = args.connector.describe(&args.limits, observer).await?;
    let description = described.description();
    let summary = described.connector().summary();
    let wants = described.wants()?;
    let schema: Value = serde_json::from_str(&description.config_schema).unwrap_or_default();
    let schemes = Scheme::read(&description.auth).map_err(|reason| CliError::from(OpenError::Scheme(reason)))?;
    if args.json {
        let value = serde_json::json!({
            "name": description.name, "version": description.version, "summary": description.summary,
            "docs_url": description.docs_url, "hosts": description.hosts, "methods": wants.methods, "secrets": wants.secrets, "limits": wants.limits,
            "config_schema": schema,
            "auth": schemes.iter().map(scheme_json).collect::<Vec<_>>(),
            "file": summary.path, "bytes": summary.bytes, "digest": summary.digest,
            "imports": summary.imports, "exports": summary.exports, "core_instances": summary.core_instances,
        });
        out.line(serde_json::to_string_pretty(&value).unwrap_or_default())?;
        return Ok(Exit::Complete);
    }
    out.line(format!("{} {}: {}", description.name, description.version, description.summary))?;
    if let Some(url) = &description.docs_url {
        out.line(format!("documentation  {url}"))?;
    }
    out.line(format!("file           {} ({})", summary.path.display(), units::bytes(summary.bytes)))?;
    out.line(format!("sha-256        {}", summary.digest))?;
    out.line(format!(
        "compiled code  {}",
        match described.connector().cache_outcome() {
            Some(Outcome::Hit) => "from the cache",
            Some(Outcome::Miss) => "made now, and kept",
            Some(Outcome::Damaged) => "made again: what was in the cache was damaged",
            None => "made now",
        }
    ))?;
    out.line(format!("reaches        {}", description.hosts.join(", ")))?;
    out.line(format!("methods        {}", wants.methods.join(", ")))?;
    if !wants.limits.is_empty() {
        out.line(format!("keeps to       {}", wants.limits.join(", ")))?;
    }
    out.line("")?;
    out.line("Configuration (* required)")?;
    let mut rows = Vec::new();
    properties(&schema, &schema, "", 0, &mut rows);
    if rows.is_empty() {
        out.line("none")?;
    } else {
        out.table(&["key", "type", "default", "meaning"], &rows)?;
    }
    if !schemes.is_empty() {
        out.line("")?;
        out.line("Authentication: auth.SCHEME.KEY (* required)")?;
        let rows: Vec<Vec<String>> = schemes.iter().flat_map(scheme_rows).collect();
        out.table(&["key", "type", "default", "meaning"], &rows)?;
    }
    for (title, names) in [("Imports", &summary.imports), ("Exports", &summary.exports)] {
        out.line("")?;
        out.line(title)?;
        for name in names {
            out.line(format!("  {name}"))?;
        }
    }
    Ok(Exit::Complete)
}

fn scheme_rows(scheme: &Scheme) -> Vec<Vec<String>> {
    let row = |parameter: &Parameter| {
        let fixed = scheme.fixed.get(parameter.name).map(String::as_str);
        let required = if parameter.required && fixed.is_none() { "*" } else { "" };
        let kind = match (parameter.choices.is_empty(), parameter.secret) {
            (false, _) => parameter.choices.join(" | "),
            (true, true) => "secret".to_owned(),
            (true, false) => "string".to_owned(),
        };
        vec![
            format!("auth.{}.{}{required}", scheme.name, parameter.name),
            kind,
            fixed.unwrap_or(parameter.default).to_owned(),
            parameter.meaning.to_owned(),
        ]
    };
    scheme.kind.parameters().iter().map(row).collect()
}

fn scheme_json(scheme: &Scheme) -> Value {
    let parameters = scheme.kind.parameters();
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|parameter| {
            let default = scheme.fixed.get(parameter.name).map_or(parameter.default, String::as_str);
            serde_json::json!({
                "name": parameter.name, "secret": parameter.secret, "required": parameter.required,
                "default": default, "choices": parameter.choices, "meaning": parameter.meaning,
            })
        })
        .collect();
    serde_json::json!({"name": scheme.name, "signs_in": scheme.kind.signs_in(), "parameters": parameters})
}

/// Lists the properties of a schema, those inside of others with dots.
fn properties(root: &Value, schema: &Value, prefix: &str, depth: usize, rows: &mut Vec<Vec<String>>) {
    /// Deeper ones are better read in the schema itself (`--json`).
    const MAX_DEPTH: usize = 4;
    let schema = resolve(root, schema);
    let required = |name: &str| {
        schema.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|one| one == name))
    };
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        // What stands beside a reference is about this property; what it refers to is about all that do.
        let (own, property) = (property, resolve(root, property));
        let either = |key: &str| own.get(key).or_else(|| property.get(key));
        let text = |key: &str| either(key).and_then(Value::as_str).unwrap_or_default();
        let key = format!("{prefix}{name}");
        let secret = if property.get("writeOnly") == Some(&Value::Bool(true)) { "secret " } else { "" };
        rows.push(vec![
            format!("{key}{}", if required(name) { "*" } else { "" }),
            format!("{secret}{}", kind(root, property)),
            either("default").map(ToString::to_string).unwrap_or_default(),
            first_sentence(if text("description").is_empty() { text("title") } else { text("description") }),
        ]);
        if depth < MAX_DEPTH {
            properties(root, property, &format!("{key}."), depth + 1, rows);
            if let Some(items) = property.get("items") {
                properties(root, items, &format!("{key}[]."), depth + 1, rows);
            }
        }
    }
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

fn kind(root: &Value, property: &Value) -> String {
    let choice = |values: &[Value]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    if let Some(values) = property.get("enum").and_then(Value::as_array) {
        return choice(values);
    }
    if let Some(value) = property.get("const") {
        return value.to_string();
    }
    match property.get("type") {
        Some(Value::String(name)) if name == "array" => {
            let items = property.get("items").map(|items| kind(root, resolve(root, items)));
            items.map_or("array".to_owned(), |items| format!("array of {items}"))
        }
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | "),
        _ => {
            let branches = ["oneOf", "anyOf"].iter().find_map(|name| property.get(name)).and_then(Value::as_array);
            let named = branches.into_iter().flatten().map(|branch| {
                let branch = resolve(root, branch);
                branch.get("title").and_then(Value::as_str).map_or_else(|| kind(root, branch), str::to_owned)
            });
            let named: Vec<String> = named.collect();
            if named.is_empty() { "any".to_owned() } else { named.join(" | ") }
        }
    }
}

fn first_sentence(text: &str) -> String {
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    text.get(..end).unwrap_or(text).replace('\n', " ")
}
