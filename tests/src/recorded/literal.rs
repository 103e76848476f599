//! The few Python literals that replay files are written in.

/// Reads `[('name', 'value'), …]` or `{'name': 'value', …}`: every text in it, in order.
pub(super) fn texts(line: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\'' || letter == '"' {
            texts.push(text(letter, &mut letters));
        }
    }
    texts
}

fn text(quote: char, letters: &mut std::str::Chars<'_>) -> String {
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
                None => break,
            },
            _ if letter == quote => break,
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::texts;

    #[test]
    fn quotes_of_either_kind_hold_the_other() {
        assert_eq!(
            texts(r#"[('etag', '"5e88"'), ("it's", 'a\'b'), ('n', None)]"#),
            ["etag", "\"5e88\"", "it's", "a'b", "n"]
        );
    }
}
