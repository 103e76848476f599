//! The generated records: row `n` always has the same text.

use std::io::Write;

use super::time;

/// How large a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Seven fields, about 150 bytes.
    #[default]
    Small,
    /// Some forty fields like a repository's of GitHub, about 2 KB, some nested, some null, some with
    /// escapes and characters outside ASCII.
    Large,
}

/// One row as the data set knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Identifier, from 1.
    pub id: u32,
    /// Seconds since the Unix epoch of its last change.
    pub updated_at: i64,
    /// How often it was edited since it was generated.
    pub edits: u32,
}

const WORDS: [&str; 16] = [
    "river", "stone", "lantern", "cedar", "orbit", "velvet", "copper", "meadow", "signal", "harbor", "ember", "quartz",
    "willow", "summit", "canvas", "drift",
];

/// Writes the JSON text of a row to the end of `out`; `parent` becomes a field of its own.
pub fn write(shape: Shape, row: Row, parent: Option<&str>, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail; the result carries nothing.
    let _ = match shape {
        Shape::Small => small(row, out),
        Shape::Large => large(row, out),
    };
    if let Some(parent) = parent {
        out.extend_from_slice(b",\"parent\":");
        let _ = serde_json::to_writer(&mut *out, parent);
    }
    out.push(b'}');
}

/// The JSON text of a row.
#[must_use]
pub fn text(shape: Shape, row: Row, parent: Option<&str>) -> String {
    let mut out = Vec::new();
    write(shape, row, parent, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn word(n: u32) -> &'static str {
    WORDS.get(n as usize % WORDS.len()).copied().unwrap_or("river")
}

fn small(Row { id, updated_at, edits }: Row, out: &mut Vec<u8>) -> std::io::Result<()> {
    write!(
        out,
        r#"{{"id":{id},"name":"item-{id:07}","updated_at":"{}","group":"g{}","owner":{{"id":{},"login":"{}"}},"tags":["{}","{}"],"body":"{} {} {edits}""#,
        time::rfc3339(updated_at),
        id % 10,
        id % 97,
        word(id),
        word(id / 3),
        word(id / 7),
        word(id / 2),
        word(id / 5),
    )
}

fn large(row: Row, out: &mut Vec<u8>) -> std::io::Result<()> {
    small(row, out)?;
    let Row { id, updated_at, .. } = row;
    let (owner, name) = (word(id), word(id / 11));
    write!(
        out,
        concat!(
            r#","node_id":"R_{id:012x}","full_name":"{owner}/{name}-{id}","private":false,"fork":{fork},"description":{description},"#,
            r#""created_at":"{created}","pushed_at":"{pushed}","size":{size},"stars":{stars},"watchers":{stars},"ratio":{ratio:.3},"#,
            r#""language":{language},"archived":{archived},"disabled":false,"open_issues":{issues},"forks":{forks},"visibility":"public","#,
            r#""default_branch":"main","homepage":null,"mirror_url":null,"has_issues":true,"has_wiki":{fork},"has_pages":false,"#,
            r#""topics":["{a}","{b}","{c}"],"license":{{"key":"mit","name":"MIT License","spdx_id":"MIT","url":"https://api.example/licenses/mit"}},"#,
            r#""permissions":{{"admin":false,"maintain":false,"push":{fork},"triage":{fork},"pull":true}}"#
        ),
        id = id,
        owner = owner,
        name = name,
        fork = id.is_multiple_of(5),
        // Escapes, quotes and characters of two to four bytes, now and then.
        description = match id % 8 {
            0 => "null".to_owned(),
            1 => r#""naïve \"quoted\" text\nwith a line, a tab\t and 🦀""#.to_owned(),
            _ => format!(r#""{} {} {}, {} {}""#, word(id), word(id / 2), word(id / 4), word(id / 8), word(id / 16)),
        },
        created = time::rfc3339(updated_at - 86_400),
        pushed = time::rfc3339(updated_at - 60),
        size = id.wrapping_mul(37) % 100_000,
        stars = id.wrapping_mul(7) % 5_000,
        ratio = f64::from(id % 1000) / 7.0,
        language = if id.is_multiple_of(9) { "null".to_owned() } else { format!("\"{}\"", word(id / 6)) },
        archived = id.is_multiple_of(50),
        issues = id % 300,
        forks = id % 120,
        a = word(id / 3),
        b = word(id / 9),
        c = word(id / 27),
    )?;
    for link in [
        "html",
        "forks",
        "keys",
        "teams",
        "hooks",
        "events",
        "branches",
        "contributors",
        "languages",
        "commits",
        "releases",
        "deployments",
    ] {
        write!(out, r#","{link}_url":"https://api.example/repos/{owner}/{name}-{id}/{link}{{/number}}""#)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row { id: 1_234_567, updated_at: time::START, edits: 0 };

    #[test]
    fn records_are_json_of_the_promised_size() -> anyhow::Result<()> {
        for (shape, bytes) in [(Shape::Small, 130..200), (Shape::Large, 1700..2300)] {
            for id in 1..200 {
                let text = text(shape, Row { id: 1_000_000 + id, ..ROW }, None);
                let value: serde_json::Value = serde_json::from_str(&text)?;
                assert_eq!(value["id"], 1_000_000 + id);
                assert!(bytes.contains(&text.len()), "{shape:?} has {} bytes", text.len());
            }
        }
        Ok(())
    }

    #[test]
    fn a_parent_becomes_a_field() -> anyhow::Result<()> {
        let value: serde_json::Value = serde_json::from_str(&text(Shape::Small, ROW, Some("a/b \"c\"")))?;
        assert_eq!(value["parent"], "a/b \"c\"");
        Ok(())
    }
}
