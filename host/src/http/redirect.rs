//! Where a redirect leads, and what of the request may go there (RFC 9110, section 15.4).

use ::http::Method;

use super::Error;
use super::credentials::header_holds_secret;
use super::policy::Denial;
use super::request::Template;
use crate::auth::Secrets;

/// Redirects that are followed in a row. The Fetch standard allows 20; an API that needs more than a few is broken.
pub(super) const MAX_REDIRECTS: u32 = 10;

/// Headers that are credentials even where the connector wrote them itself.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "cookie2"];
/// Headers that describe a body and go with it.
const OF_BODY: [&str; 5] = ["content-type", "content-encoding", "content-language", "content-location", "digest"];

/// Tells whether an answer is a redirect that is followed.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Makes the request that follows a redirect. `location` is redacted, so a secret that the server repeats in it is a
/// placeholder again.
pub(super) fn follow(template: &Template, status: u16, location: &str, secrets: &Secrets) -> Result<Template, Error> {
    let mut url = template
        .url
        .join(location)
        .map_err(|error| Error::Unreachable(format!("{} redirects to a malformed URL: {error}", template.url)))?;
    if url.fragment().is_some() {
        url.set_fragment(None);
    }
    if template.url.scheme() == "https" && url.scheme() != "https" {
        let text = format!("a redirect leads from https to {}", url.scheme());
        return Err(Error::Denied(Denial::new("redirect-downgrade", text).to_string()));
    }
    let mut next = Template { url, ..template.clone() };
    // Clients have always sent GET after these, and RFC 9110 has given in.
    let to_get = match status {
        301 | 302 => template.method == Method::POST,
        303 => template.method != Method::HEAD,
        _ => false,
    };
    if to_get {
        next.method = Method::GET;
        next.body = None;
        next.headers.retain(|(name, _)| !OF_BODY.contains(&name.as_str()));
    }
    if next.url.origin() != template.url.origin() {
        leave_origin(&mut next, secrets)?;
    }
    Ok(next)
}

/// Takes everything out that only the first server should have.
fn leave_origin(next: &mut Template, secrets: &Secrets) -> Result<(), Error> {
    next.headers.retain(|(name, value)| !CREDENTIALS.contains(&name.as_str()) && !header_holds_secret(value, secrets));
    if let Some(query) = next.url.query().filter(|query| secrets.stand_in(query.as_bytes())) {
        let kept: Vec<&str> = query.split('&').filter(|pair| !secrets.stand_in(pair.as_bytes())).collect();
        let kept = kept.join("&");
        next.url.set_query(if kept.is_empty() { None } else { Some(&kept) });
    }
    if next.body.as_ref().is_some_and(|body| secrets.stand_in(body)) {
        // Without its body it would be another request; better none than that.
        let text =
            format!("a redirect to {} would carry a secret in its body", next.url.origin().ascii_serialization());
        return Err(Error::Denied(Denial::new("redirect-secret", text).to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;
    use crate::http::Request;
    use crate::http::request::Bases;
    use bytes::Bytes;

    fn secrets() -> Secrets {
        let secrets = Secrets::default();
        secrets.insert("k", Secret::new("0123456789"));
        secrets
    }

    fn request(method: Method, url: &str) -> Template {
        let headers = [
            ("authorization", "token x"),
            ("cookie", "a=b"),
            ("x-key", "__secret.k__"),
            ("accept", "application/json"),
            ("content-type", "application/json"),
        ];
        let request = Request {
            method,
            body: Some(Bytes::from_static(b"{}")),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Request::get(url)
        };
        Template::of(&request, 1024, &Bases::default()).unwrap()
    }

    #[test]
    fn methods_follow_rfc_9110() {
        for (status, method, then, body) in [
            (301, Method::GET, Method::GET, true),
            (301, Method::POST, Method::GET, false),
            (302, Method::POST, Method::GET, false),
            (301, Method::PUT, Method::PUT, true),
            (303, Method::PUT, Method::GET, false),
            (303, Method::HEAD, Method::HEAD, true),
            (307, Method::POST, Method::POST, true),
            (308, Method::POST, Method::POST, true),
        ] {
            let next = follow(&request(method.clone(), "https://a.example/x"), status, "/y", &secrets()).unwrap();
            assert_eq!((next.method, next.body.is_some()), (then, body), "{status} {method}");
            assert_eq!(next.headers.iter().any(|(name, _)| name == "content-type"), body, "{status} {method}");
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let from = request(Method::GET, "https://a.example/x");
        let names = |location: &str| -> Vec<String> {
            let next = follow(&from, 302, location, &secrets()).unwrap();
            next.headers.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("/y").len(), 5);
        assert_eq!(names("https://a.example:443/y").len(), 5);
        for other in ["https://b.example/y", "https://a.example:8443/y", "//sub.a.example/y"] {
            assert_eq!(names(other), ["accept", "content-type"], "{other}");
        }
    }

    #[test]
    fn a_secret_in_the_location_is_left_out_for_another_origin() {
        let from = request(Method::GET, "https://a.example/x");
        let url = |location: &str| follow(&from, 302, location, &secrets()).unwrap().url.to_string();
        assert_eq!(url("/y?k=__secret.k__&n=1"), "https://a.example/y?k=__secret.k__&n=1");
        assert_eq!(url("https://b.example/y?k=__secret.k__&n=%2C1#f"), "https://b.example/y?n=%2C1");
        assert_eq!(url("https://b.example/y?k=__secret.k__"), "https://b.example/y");
    }

    #[test]
    fn a_body_with_a_secret_does_not_go_to_another_origin() {
        let mut from = request(Method::POST, "https://a.example/x");
        from.body = Some(Bytes::from_static(b"{\"k\":\"__secret.k__\"}"));
        assert!(follow(&from, 307, "/y", &secrets()).is_ok());
        let error = follow(&from, 307, "https://b.example/y", &secrets()).unwrap_err().to_string();
        assert!(error.contains("redirect-secret"), "{error}");
    }

    #[test]
    fn https_does_not_become_http() {
        let error = follow(&request(Method::GET, "https://a.example/x"), 302, "http://a.example/x", &secrets());
        assert!(error.unwrap_err().to_string().contains("redirect-downgrade"));
        assert!(follow(&request(Method::GET, "http://a.example/x"), 302, "https://a.example/x", &secrets()).is_ok());
    }
}
