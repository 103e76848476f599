//! The `Link` header field (RFC 8288), read as its grammar says.

/// One link of a `Link` header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The target as it was written; relative to the URL of the request.
    pub target: String,
    /// Relation types in lower case.
    pub rels: Vec<String>,
    /// The other parameters, names in lower case, in order.
    pub params: Vec<(String, String)>,
}

impl Link {
    /// Tells whether the link has a relation type, compared without regard to case.
    #[must_use]
    pub fn has_rel(&self, rel: &str) -> bool {
        self.rels.iter().any(|r| r.eq_ignore_ascii_case(rel))
    }
}

/// Reads the value of one `Link` header field. What follows the first mistake is ignored, as are
/// links with an `anchor`, which speak of another resource than the one that was asked for (RFC
/// 8288, section 3.2).
///
/// ```
/// let links = connector_sdk::link::parse(r#"</a,b;c>; rel="next last"; title="x, y"; REV=z"#);
/// assert_eq!(links.len(), 1);
/// assert_eq!(links[0].target, "/a,b;c");
/// assert!(links[0].has_rel("Next") && links[0].has_rel("last"));
/// ```
#[must_use]
pub fn parse(value: &str) -> Vec<Link> {
    let mut input = Input { rest: value };
    let mut links = Vec::new();
    loop {
        // Empty list elements are allowed: RFC 9110, section 5.6.1.
        while input.eat_space_or(',') {}
        match input.link() {
            Some(Some(link)) => links.push(link),
            Some(None) => {}
            None => return links,
        }
        input.space();
        if !input.eat(',') {
            return links;
        }
    }
}

/// Reads the links of every `Link` field among some header fields, in order.
#[must_use]
pub fn from_headers(headers: &[(String, String)]) -> Vec<Link> {
    headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("link")).flat_map(|(_, value)| parse(value)).collect()
}

struct Input<'a> {
    rest: &'a str,
}

impl<'a> Input<'a> {
    /// Reads one link; the outer none is a mistake, the inner one a link about something else.
    fn link(&mut self) -> Option<Option<Link>> {
        if !self.eat('<') {
            return None;
        }
        let (target, rest) = self.rest.split_once('>')?;
        self.rest = rest;
        let mut link = Link { target: target.trim().to_owned(), rels: Vec::new(), params: Vec::new() };
        let mut has_rel = false;
        let mut has_anchor = false;
        loop {
            self.space();
            if !self.eat(';') {
                break;
            }
            self.space();
            let name = self.take_while(is_token).to_ascii_lowercase();
            if name.is_empty() {
                // `;;` and a `;` at the end are seen in the wild and cannot be misread.
                continue;
            }
            self.space();
            let value = if self.eat('=') {
                self.space();
                self.value()?
            } else {
                String::new()
            };
            match name.as_str() {
                // Only the first `rel` counts (section 3.3); `rel*` is another name and no `rel`.
                "rel" if has_rel => {}
                "rel" => {
                    has_rel = true;
                    link.rels = value.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
                }
                "anchor" => has_anchor = true,
                _ => link.params.push((name, value)),
            }
        }
        Some((!has_anchor).then_some(link))
    }

    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            // Looser than a token, for unquoted URLs as relation types.
            return Some(self.take_while(|c| !matches!(c, ' ' | '\t' | ';' | ',' | '"')).to_owned());
        }
        let mut value = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next()? {
                '"' => {
                    self.rest = chars.as_str();
                    return Some(value);
                }
                '\\' => value.push(chars.next()?),
                other => value.push(other),
            }
        }
    }

    fn eat(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn eat_space_or(&mut self, c: char) -> bool {
        let before = self.rest.len();
        self.space();
        self.eat(c) || self.rest.len() < before
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take_while(&mut self, take: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !take(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(value: &str) -> Option<String> {
        parse(value).into_iter().find(|l| l.has_rel("next")).map(|l| l.target)
    }

    #[test]
    fn commas_and_semicolons_inside_a_url_do_not_split_it() {
        let value = r#"<https://a/?ids=1,2;3&x=<y>; rel="prev", <https://a/?ids=4,5;6>; rel="next""#;
        assert_eq!(next(value).unwrap(), "https://a/?ids=4,5;6");
    }

    #[test]
    fn quoted_strings_hide_commas_semicolons_quotes_and_links() {
        let value = r#"</1>; title="a, <b>; rel=\"next\""; rel=prev, </2>; title="x;y"; rel=next"#;
        assert_eq!(next(value).unwrap(), "/2");
        assert_eq!(parse(value)[0].params, [("title".to_owned(), r#"a, <b>; rel="next""#.to_owned())]);
    }

    #[test]
    fn one_rel_may_hold_several_relations_and_only_the_first_rel_counts() {
        assert_eq!(next(r#"</1>; rel="last  next""#).unwrap(), "/1");
        assert_eq!(next("</1>; rel=prev; rel=next"), None);
    }

    #[test]
    fn names_and_relations_are_compared_without_regard_to_case() {
        assert_eq!(next("</1>; REL=NEXT").unwrap(), "/1");
        let headers = [("LINK".to_owned(), "</1>; rel=prev".to_owned()), ("link".to_owned(), "</2>; rel=next".into())];
        assert!(from_headers(&headers)[1].has_rel("next"));
    }

    #[test]
    fn rel_star_is_no_rel_and_an_anchor_speaks_of_something_else() {
        assert_eq!(next("</1>; rel*=UTF-8''next"), None);
        assert_eq!(next(r##"</1>; rel=next; anchor="#other", </2>; rel=next"##).unwrap(), "/2");
    }

    #[test]
    fn space_empty_elements_and_missing_values_are_read_over() {
        assert_eq!(next(" , ,\t< /1 > ; crossorigin ; ; rel = \"next\" ,").unwrap(), "/1");
        assert_eq!(next("</1>; rel=http://a/rel, </2>;rel=next;").unwrap(), "/2");
    }

    #[test]
    fn what_is_no_link_yields_none() {
        for value in ["", "next", "<", "</1", "</1> rel=next", r#"</1>; rel="next"#, "<>", ";;", "</1>; rel"] {
            assert_eq!(next(value), None, "{value:?}");
        }
    }
}
