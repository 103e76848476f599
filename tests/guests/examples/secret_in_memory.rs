//! Looks for secrets in the whole of its own memory after every call: each one that the host makes, and each one that it makes
//! of the host. What it finds, it writes to the log.

use std::time::Duration;

use connector_sdk::{clock, log, rate_limit, storage};
use guests::prelude::*;

/// The configuration of all cases. It is none of those that share `Connection`, since `check` is one of its calls as well.
#[derive(Deserialize)]
#[serde(transparent)]
struct Case(Config);

/// Texts to look for, each byte of them masked. The texts themselves are never put together.
struct Needles {
    masked: Vec<Vec<u8>>,
    /// The needles that begin with a byte, which is where most of a memory is left behind.
    begin: Box<[Vec<usize>; 256]>,
}

impl Needles {
    fn of(config: &Config) -> Self {
        let masked: Vec<Vec<u8>> = config.masked.iter().map(|digits| bytes(digits)).collect();
        let mut begin = Box::new([const { Vec::new() }; 256]);
        for (number, needle) in masked.iter().enumerate() {
            if let Some(first) = needle.first() {
                begin[usize::from(first ^ MASK)].push(number);
            }
        }
        Self { masked, begin }
    }

    /// The numbers of those that stand somewhere in memory.
    #[expect(unsafe_code, reason = "a guest may read all of its memory, and this one is about what is in there")]
    fn found(&self) -> Vec<usize> {
        // Pages of 64 KiB.
        let end = core::arch::wasm32::memory_size(0) * 65_536;
        // The first byte is at address 0, which is no pointer in Rust; nothing lies there.
        let byte = |at: usize| {
            // SAFETY: every address below the memory's size can be read; the value is used as a number and nothing else.
            unsafe { core::ptr::read_volatile(at as *const u8) }
        };
        let mut found = vec![false; self.masked.len()];
        for at in 1..end {
            for number in &self.begin[usize::from(byte(at))] {
                let needle = &self.masked[*number];
                let here = at + needle.len() <= end
                    && needle.iter().enumerate().all(|(offset, masked)| byte(at + offset) ^ MASK == *masked);
                found[*number] |= here;
            }
        }
        (0..found.len()).filter(|number| found[*number]).collect()
    }

    /// Says what is there after a call.
    fn look(&self, call: &str) {
        if !self.masked.is_empty() {
            log::write(log::Level::Warn, &format!("after {call}: {:?}", self.found()), &[]);
        }
    }

    /// The same, and hands the call's result on.
    fn after<T>(&self, call: &str, result: T) -> T {
        self.look(call);
        result
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(digits.get(at..at + 2).unwrap_or_default(), 16).unwrap_or_default();
    (0..digits.len()).step_by(2).map(digit).collect()
}

impl Connector for Case {
    fn describe() -> Description {
        guests::description()
            .auth(Auth::new("bearer", AuthKind::Bearer))
            .auth(Auth::new("key", AuthKind::ApiKey))
            .auth(Auth::new("basic", AuthKind::Basic))
            .auth(Auth::new("client", AuthKind::OAuth2ClientCredentials))
            .auth(Auth::new("refresh", AuthKind::OAuth2RefreshToken))
            .auth(Auth::new("person", AuthKind::OAuth2AuthorizationCode))
            .auth(Auth::new("device", AuthKind::OAuth2DeviceCode))
            .auth(Auth::new("jwt", AuthKind::OAuth2JwtBearer))
            .auth(Auth::new("hmac", AuthKind::Hmac))
            .auth(Auth::new("aws", AuthKind::AwsSigV4))
    }

    fn check(&self) -> Result<()> {
        let needles = Needles::of(&self.0);
        needles.look("check");
        needles.after("check-request", self.0.get("/items").send()).map(drop)?;
        Ok(())
    }

    fn streams(&self) -> Result<Vec<Stream>> {
        Needles::of(&self.0).look("streams");
        Ok(vec![Stream::new("items").primary_key(["id"])])
    }

    fn partitions(&self, _stream: &str, _since: Option<&str>) -> Result<Vec<Partition>> {
        Needles::of(&self.0).look("partitions");
        Ok(Vec::new())
    }

    fn read(&self, _: &Read) -> Result<Option<String>> {
        let config = &self.0;
        if config.masked.is_empty() {
            return healthy();
        }
        let needles = Needles::of(config);
        needles.look("read");
        // Everything that the host gives is taken into memory, and kept there until the last search.
        let response = needles.after("send", config.get("/items").send())?;
        let pending = needles.after("start", config.get("/items").start());
        let second = needles.after("wait", pending.wait())?;
        let status = needles.after("status", response.status());
        let header = needles.after("header", response.header("content-type"));
        let headers = needles.after("headers", response.headers());
        let length = needles.after("length", response.len(""))?;
        let text = needles.after("json", response.json_text(""))?;
        let body = needles.after("body", response.body());
        let refused = needles.after("refused", config.get("/refused").send());
        let said = refused.as_ref().err().map(ToString::to_string);
        let rejected = needles.after("reject", second.reject("it is not good", false));
        rate_limit::acquire("own", 1);
        needles.look("acquire");
        rate_limit::observe("own", rate_limit::Budget::default());
        needles.look("observe");
        let budget = needles.after("budget", rate_limit::status("own"));
        let now = needles.after("now", clock::now_ms());
        clock::sleep(Duration::from_millis(1));
        needles.look("sleep");
        let kept = format!("{status} {header:?} {headers:?} {length:?} {text:?} {said:?} {budget:?} {now}");
        needles.after("set", storage::set("kept", &kept))?;
        let back: Option<String> = needles.after("get", storage::get("kept"))?;
        needles.after("delete", storage::delete("kept"))?;
        log::write(log::Level::Debug, &kept, &[]);
        needles.look("log");
        let page = Page::json(json!([{"id": 1, "kept": kept, "bytes": body.len()}]).to_string());
        let _ = needles.after("emit", page.emit());
        let _ = needles.after("select", Page::select(response, "/records").emit());
        let kept = back.is_some() || rejected.is_ok();
        needles.look("end");
        Ok(kept.then(|| "the end".to_owned()))
    }
}

connector_sdk::export!(Case);
