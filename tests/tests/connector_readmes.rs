//! Every configuration in the connectors' READMEs is one that the connector accepts.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use tests::{program::host, transcript::Scene};

/// The blocks of a README that are fenced as YAML.
fn blocks(connector: &str) -> anyhow::Result<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../connectors").join(connector).join("README.md");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let fenced = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    Ok(fenced.map(|(block, _)| block.to_owned()).collect())
}

/// Whole configurations, made of a block that may hold only a part of one, or several parts to choose from.
fn configurations(block: &str) -> Vec<String> {
    let stream = "streams:\n  - name: items\n    path: items\n";
    if block.contains("base_url:") {
        return vec![block.to_owned()];
    }
    let mut parts: Vec<String> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match parts.last_mut() {
            Some(part) if line.starts_with(' ') => *part += &format!("    {line}\n"),
            _ => parts.push(format!("{line}\n")),
        }
    }
    let whole = |part: &String| {
        let part = if part.starts_with("auth:") {
            format!("{part}{stream}")
        } else {
            format!("{stream}    {part}    method: POST\n")
        };
        format!("base_url: https://api.example.com\n{part}")
    };
    parts.iter().map(whole).collect()
}

/// A key of the curve P-256 that opens nothing, made for this test.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGYbI+cwPt/Z0fcUO\n\
    uWVVtlipPEqQHqVv214LmQnSDPWhRANCAASMrLBuWoYrSgqPNtbGDAgkX9IKyGHE\n\
    s0iPzJzZuBeoxIUEamfDG1tE61WwVrqtS00aWHOFY45QISMT1+TjTh5u\n\
    -----END PRIVATE KEY-----";

#[test]
fn every_example_is_accepted() -> anyhow::Result<()> {
    let mut examples = 0;
    for block in blocks("rest")? {
        for configuration in configurations(&block) {
            let scene = Scene::new()?;
            let file = scene.file("api.yaml", &configuration)?;
            let mut command = host(&["streams", "rest", "--config", &file])?;
            for name in ["API_TOKEN", "TOKEN", "TOKEN_1", "TOKEN_2", "KEY", "PASSWORD", "S", "R", "KINTO_AUTHORIZATION"]
            {
                command.env(name, "0123456789abcdef");
            }
            command.env("PEM", PEM);
            let output = command.output()?;
            ensure!(output.status.success(), "{configuration}\n{}", String::from_utf8_lossy(&output.stderr));
            examples += 1;
        }
    }
    ensure!(examples > 15, "{examples} examples were found");
    Ok(())
}
