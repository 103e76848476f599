//! Looks for secrets in the whole of its own memory, after it has made requests that the host let in.

use guests::prelude::*;

struct Case;

/// Tells whether a text that is masked stands somewhere in memory. The text itself is never put together.
#[expect(unsafe_code, reason = "a guest may read all of its memory, and this one is about what is in there")]
fn in_memory(masked: &[u8]) -> bool {
    // Pages of 64 KiB.
    let end = core::arch::wasm32::memory_size(0) * 65_536;
    // The first byte is at address 0, which is no pointer in Rust; nothing lies there.
    let byte = |at: usize| {
        // SAFETY: every address below the memory's size can be read; the value is used as a number and nothing else.
        unsafe { core::ptr::read_volatile(at as *const u8) }
    };
    (1..end.saturating_sub(masked.len()))
        .any(|at| masked.iter().enumerate().all(|(offset, masked)| byte(at + offset) ^ MASK == *masked))
}

fn bytes(digits: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(digits.get(at..at + 2).unwrap_or_default(), 16).unwrap_or_default();
    (0..digits.len()).step_by(2).map(digit).collect()
}

impl Guest for Case {
    fn describe() -> Description {
        guests::description()
            .auth(Auth::new("bearer", AuthKind::Bearer))
            .auth(Auth::new("key", AuthKind::ApiKey))
            .auth(Auth::new("basic", AuthKind::Basic))
            .auth(Auth::new("client", AuthKind::OAuth2ClientCredentials))
            .auth(Auth::new("refresh", AuthKind::OAuth2RefreshToken))
            .auth(Auth::new("person", AuthKind::OAuth2AuthorizationCode))
            .auth(Auth::new("jwt", AuthKind::OAuth2JwtBearer))
            .auth(Auth::new("hmac", AuthKind::Hmac))
            .auth(Auth::new("aws", AuthKind::AwsSigV4))
    }

    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        if !config.masked.is_empty() {
            // Everything that the host gives is taken into memory, and kept there.
            let response = config.get("/items").send()?;
            let (body, headers) = (response.body(), response.headers());
            let refused = config.get("/refused").send();
            let found = config.masked.iter().map(|masked| in_memory(&bytes(masked)));
            let found: Vec<usize> = found.enumerate().filter(|(_, found)| *found).map(|(number, _)| number).collect();
            let kept = body.len() + headers.len() + usize::from(refused.is_ok());
            let _ = Page::json(json!([{"id": 1, "found": format!("{found:?}"), "kept": kept > 0}]).to_string()).emit();
            return Ok(None);
        }
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
