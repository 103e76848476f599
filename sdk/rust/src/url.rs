//! URLs as text: resolving references (RFC 3986) and appending queries, and nothing else.

/// Resolves a reference against a base URL, as RFC 3986, section 5.2, says (the strict way).
///
/// ```
/// use connector_sdk::url::resolve;
/// assert_eq!(resolve("https://a.example/v1/issues?page=1", "?page=2"), "https://a.example/v1/issues?page=2");
/// assert_eq!(resolve("https://a.example/v1/issues", "/v2/issues"), "https://a.example/v2/issues");
/// ```
#[must_use]
pub fn resolve(base: &str, reference: &str) -> String {
    let base = Parts::of(base);
    let mut target = Parts::of(reference);
    let path;
    if target.scheme.is_some() || target.authority.is_some() {
        path = without_dots(target.path);
    } else if target.path.is_empty() {
        path = base.path.to_owned();
        target.query = target.query.or(base.query);
        target.authority = base.authority;
    } else {
        path = if target.path.starts_with('/') {
            without_dots(target.path)
        } else if base.authority.is_some() && base.path.is_empty() {
            without_dots(&format!("/{}", target.path))
        } else {
            let folder = base.path.rfind('/').map_or("", |end| base.path.get(..=end).unwrap_or(""));
            without_dots(&format!("{folder}{}", target.path))
        };
        target.authority = base.authority;
    }
    let mut out = String::with_capacity(reference.len() + path.len() + 16);
    if let Some(scheme) = target.scheme.or(base.scheme) {
        out.push_str(scheme);
        out.push(':');
    }
    if let Some(authority) = target.authority {
        out.push_str("//");
        out.push_str(authority);
    }
    out.push_str(&path);
    if let Some(query) = target.query {
        out.push('?');
        out.push_str(query);
    }
    if let Some(fragment) = target.fragment {
        out.push('#');
        out.push_str(fragment);
    }
    out
}

/// Appends query parameters to a URL, percent-encoding names and values once and leaving what the
/// URL already has untouched.
#[must_use]
pub fn append_query(url: &str, query: &[(String, String)]) -> String {
    let (head, fragment) = url.split_once('#').map_or((url, None), |(head, fragment)| (head, Some(fragment)));
    let mut out = head.to_owned();
    for (name, value) in query {
        push_separator(&mut out);
        encode_into(&mut out, name);
        out.push('=');
        encode_into(&mut out, value);
    }
    if let Some(fragment) = fragment {
        out.push('#');
        out.push_str(fragment);
    }
    out
}

/// Appends a query parameter whose value is percent-encoded already.
#[must_use]
pub fn append_encoded(url: &str, name: &str, encoded: &str) -> String {
    let mut out = url.split('#').next().unwrap_or(url).to_owned();
    push_separator(&mut out);
    encode_into(&mut out, name);
    out.push('=');
    out.push_str(encoded);
    out
}

/// Percent-encodes one segment of a path.
#[must_use]
pub fn encode_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text);
    out
}

/// Tells whether a URL's query has a parameter of that name.
#[must_use]
pub fn has_query(url: &str, name: &str) -> bool {
    let mut encoded = String::with_capacity(name.len());
    encode_into(&mut encoded, name);
    let query = Parts::of(url).query.unwrap_or("");
    query.split('&').filter_map(|pair| pair.split('=').next()).any(|n| n == name || n == encoded)
}

fn push_separator(out: &mut String) {
    if !out.contains('?') {
        out.push('?');
    } else if !out.ends_with(['?', '&']) {
        out.push('&');
    }
}

fn encode_into(out: &mut String, text: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}

/// The five components of RFC 3986, section 3; an absent one differs from an empty one.
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let (rest, fragment) = split_optional(url, '#');
        let (rest, query) = split_optional(rest, '?');
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, after)) if is_scheme(scheme) => (Some(scheme), after),
            _ => (None, rest),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(after) => {
                let end = after.find('/').unwrap_or(after.len());
                let (authority, path) = after.split_at(end);
                (Some(authority), path)
            }
            None => (None, rest),
        };
        Self { scheme, authority, path, query, fragment }
    }
}

fn split_optional(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(head, tail)| (head, Some(tail)))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Removes `.` and `..` segments (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // A dot segment at the end stands for a folder: its slash stays.
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let joined = kept.join("/");
    if absolute { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_normal_example_of_rfc_3986_section_5_4_1_resolves() {
        let base = "http://a/b/c/d;p?q";
        for (reference, target) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("g?y#s", "http://a/b/c/g?y#s"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y#s"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
        ] {
            assert_eq!(resolve(base, reference), target, "{reference:?}");
        }
    }

    #[test]
    fn every_abnormal_example_of_rfc_3986_section_5_4_2_resolves() {
        let base = "http://a/b/c/d;p?q";
        for (reference, target) in [
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g#s/./x"),
            ("g#s/../x", "http://a/b/c/g#s/../x"),
            ("http:g", "http:g"),
        ] {
            assert_eq!(resolve(base, reference), target, "{reference:?}");
        }
    }

    #[test]
    fn a_base_without_a_path_takes_a_relative_path_as_its_own() {
        assert_eq!(resolve("https://a", "g"), "https://a/g");
        assert_eq!(resolve("https://a?x=1", "?y=2"), "https://a?y=2");
    }

    #[test]
    fn a_query_is_appended_encoded_once_and_before_the_fragment() {
        let query = [("a b".to_owned(), "1&2".to_owned()), ("c".to_owned(), "%2C~ü".to_owned())];
        assert_eq!(append_query("http://a/?x=1#f", &query), "http://a/?x=1&a%20b=1%262&c=%252C~%C3%BC#f");
        assert_eq!(append_encoded("http://a/", "next", "a%2Cb"), "http://a/?next=a%2Cb");
    }

    #[test]
    fn a_query_parameter_is_found_by_its_whole_name() {
        assert!(has_query("http://a/?x=1&page=2", "page"));
        assert!(!has_query("http://a/page?xpage=2#page=1", "page"));
    }
}
