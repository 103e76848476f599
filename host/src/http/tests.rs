//! The whole way out, with a scripted transport and a clock that moves only when somebody waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::transport::{Failure, FailureKind, Incoming, Outgoing, Sending};
use super::*;
use crate::auth::Secret;
use crate::event::{Event, Observer};
use crate::http::archive::Entry;
use crate::time::{Time, VirtualClock};

const NOW: u64 = 1_700_000_000_000;
const VALUE: &str = "s3cr:et/+%~-0123";

/// Answers requests in order, and keeps them.
struct Script {
    answers: Mutex<VecDeque<Result<Incoming, Failure>>>,
    seen: Mutex<Vec<Outgoing>>,
}

impl Transport for Script {
    fn send(&self, request: Outgoing, _max_body_bytes: u64) -> Sending<'_> {
        self.seen.lock().unwrap().push(request);
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(std::future::ready(
            answer.unwrap_or_else(|| Err(Failure::new(FailureKind::Broken, "the script is over"))),
        ))
    }
}

#[derive(Default)]
struct Events(Mutex<Vec<Event>>);

impl Observer for Events {
    fn observe(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

struct Bench {
    client: Client,
    script: Arc<Script>,
    clock: VirtualClock,
    events: Arc<Events>,
    placeholder: String,
}

fn bench(answers: Vec<Result<Incoming, Failure>>) -> Bench {
    bench_with(answers, |_| {})
}

fn bench_with(answers: Vec<Result<Incoming, Failure>>, change: impl FnOnce(&mut Config)) -> Bench {
    let script = Arc::new(Script { answers: Mutex::new(answers.into()), seen: Mutex::default() });
    let clock = VirtualClock::starting_at(NOW);
    let events = Arc::new(Events::default());
    let policy =
        Policy::default().described("api.example".parse().unwrap()).described("other.example".parse().unwrap());
    let policy = policy.method(Method::POST);
    let mut config = Config {
        time: Arc::new(clock.clone()),
        observer: events.clone(),
        seed: 7,
        ..Config::new(Arc::new(policy), script.clone())
    };
    let placeholder = config.secrets.insert("auth.token", Secret::new(VALUE));
    change(&mut config);
    Bench { client: Client::new(config), script, clock, events, placeholder }
}

impl Bench {
    async fn get(&self, path: &str) -> Result<Response, Error> {
        self.client.send("repos", Request::get(format!("https://api.example{path}"))).await
    }

    fn sent(&self) -> Vec<String> {
        self.script.seen.lock().unwrap().iter().map(|request| format!("{} {}", request.method, request.url)).collect()
    }

    fn waited_ms(&self) -> u64 {
        self.clock.now_ms() - NOW
    }

    fn events(&self) -> Vec<String> {
        let describe = |event: &Event| match event {
            // One before each answer says nothing that the requests sent don't.
            Event::Requesting { .. } => None,
            Event::Answered { bytes, .. } => Some(format!("answered {bytes}")),
            Event::Retrying { reason, delay, .. } => Some(format!("retrying after {} ms: {reason}", delay.as_millis())),
            Event::Waiting { budget, until_ms, .. } => Some(format!("waiting for {budget} {} ms", until_ms - NOW)),
            other => Some(format!("{other:?}")),
        };
        self.events.0.lock().unwrap().iter().filter_map(describe).collect()
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Incoming, Failure> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(Incoming { status, headers, body: body.into() })
}

fn failure(kind: FailureKind) -> Result<Incoming, Failure> {
    Err(Failure::new(kind, "it failed"))
}

#[tokio::test]
async fn a_response_arrives_with_its_headers_in_order() {
    let bench = bench(vec![answer(200, &[("b", "1"), ("a", "2"), ("b", "3")], "[]")]);
    let response = bench.get("/x?q=1%2C2").await.unwrap();
    assert_eq!(
        (response.status, response.attempts, response.received_bytes, &response.body[..]),
        (200, 1, 2, &b"[]"[..])
    );
    let names: Vec<&str> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["b", "a", "b"]);
    assert_eq!(response.header("B"), Some("1"));
    assert_eq!(bench.sent(), ["GET https://api.example/x?q=1%2C2"]);
    let seen = bench.script.seen.lock().unwrap();
    assert_eq!(seen[0].headers["accept-encoding"], "gzip, br, zstd, deflate");
    assert!(seen[0].headers["user-agent"].to_str().unwrap().starts_with("ingest-host/"));
}

#[tokio::test]
async fn a_refused_request_is_never_sent() {
    let bench = bench(vec![]);
    let error = bench.client.send("repos", Request::get("https://evil.example/")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "request denied: host evil.example is not in the connector's description; to allow it, add --allow-host \
         evil.example (rule host)"
    );
    assert!(bench.sent().is_empty());
}

#[tokio::test]
async fn server_errors_and_broken_connections_are_tried_again() {
    let bench = bench(vec![
        answer(500, &[], "oops"),
        failure(FailureKind::Connect),
        failure(FailureKind::Timeout),
        failure(FailureKind::Broken),
        answer(200, &[], "[]"),
    ]);
    assert_eq!(bench.get("/x").await.unwrap().attempts, 5);
    // Full jitter: at most 500 + 1000 + 2000 + 4000.
    assert!((1..7_500).contains(&bench.waited_ms()), "{}", bench.waited_ms());
}

#[tokio::test]
async fn the_last_failure_is_the_error() {
    let bench = bench(vec![answer(500, &[], "oops"); 9]);
    let Err(Error::Status { status, attempts, excerpt }) = bench.get("/x").await else { panic!() };
    assert_eq!((status, attempts, excerpt.as_str()), (500, 6, "oops"));
    let bench = bench_with(vec![failure(FailureKind::Connect); 9], |config| config.retry.attempts = 2);
    assert_eq!(bench.get("/x").await.unwrap_err().to_string(), "no response: it failed; tried 2 times");
}

#[tokio::test]
async fn other_client_errors_fail_at_once_unless_accepted() {
    let bench = bench(vec![answer(404, &[], "gone"), answer(404, &[], "gone")]);
    let Err(Error::Status { status: 404, attempts: 1, .. }) = bench.get("/x").await else { panic!() };
    let accepting = Request { accept: vec![404], ..Request::get("https://api.example/x") };
    assert_eq!(bench.client.send("repos", accepting).await.unwrap().status, 404);
}

#[tokio::test]
async fn a_post_is_repeated_only_where_nothing_was_done() {
    let post = || Request { method: Method::POST, ..Request::get("https://api.example/x") };
    let bench = bench(vec![failure(FailureKind::Connect), answer(429, &[], ""), answer(500, &[], "")]);
    let Err(Error::Status { status: 500, attempts: 3, .. }) = bench.client.send("repos", post()).await else {
        panic!()
    };
}

#[tokio::test]
async fn a_post_that_only_reads_is_repeated_like_a_get() {
    let post = Request { method: Method::POST, reads: true, ..Request::get("https://api.example/x") };
    let failures = [FailureKind::Timeout, FailureKind::Broken].map(failure);
    let answers = [answer(500, &[], ""), answer(503, &[], ""), answer(200, &[], "[]")];
    let bench = bench(failures.into_iter().chain(answers).collect());
    assert_eq!(bench.client.send("repos", post).await.unwrap().attempts, 5);
}

#[tokio::test]
async fn a_method_that_is_not_granted_is_never_sent() {
    let bench = bench(vec![]);
    let delete = Request { method: Method::DELETE, ..Request::get("https://api.example/x") };
    let error = bench.client.send("repos", delete).await.unwrap_err();
    assert!(matches!(&error, Error::Denied(text) if text.contains("(rule method)")), "{error}");
    assert!(bench.sent().is_empty());
}

fn rejected(response: &Response) -> Rejected<'_> {
    Rejected {
        status: response.status,
        attempts: response.attempts,
        headers: &response.headers,
        budget: &response.budget,
    }
}

#[tokio::test]
async fn a_rejected_response_is_asked_for_again_by_the_hosts_rules() {
    let busy = || answer(200, &[], r#"{"error":"busy"}"#);
    let told = answer(200, &[("retry-after", "7")], r#"{"error":"busy"}"#);
    let bench = bench(vec![busy(), told, answer(200, &[], "[]")]);
    // What pays for it, and so waits, is the budget of its key.
    let headers = vec![("authorization".to_owned(), format!("Bearer {}", bench.placeholder))];
    let request = Request { headers, ..Request::get("https://api.example/x") };
    let first = bench.client.send("repos", &request).await.unwrap();
    assert!(first.budget.starts_with("api.example of key "), "{}", first.budget);
    let second = bench.client.reject("repos", &request, &rejected(&first), "busy", true).await.unwrap();
    let before = bench.waited_ms();
    assert!(before < 500, "{before}");
    let third = bench.client.reject("repos", &request, &rejected(&second), "busy", true).await.unwrap();
    assert_eq!(bench.waited_ms() - before, 7_000);
    assert_eq!((third.attempts, third.body.as_ref()), (3, b"[]".as_slice()));
}

#[tokio::test]
async fn a_rejection_ends_when_it_is_final_or_the_tries_are_used_up() {
    let busy = || answer(200, &[], r#"{"error":"busy"}"#);
    let bench = bench_with(vec![busy(), busy(), busy()], |config| config.retry.attempts = 2);
    let request = Request::get("https://api.example/x");
    let first = bench.client.send("repos", &request).await.unwrap();
    let reason = format!("the key {VALUE} is unknown");
    let error = bench.client.reject("repos", &request, &rejected(&first), &reason, false).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("status 200 after 1 attempts, rejected by the connector: the key {} is unknown", bench.placeholder)
    );
    let second = bench.client.reject("repos", &request, &rejected(&first), "busy", true).await.unwrap();
    let error = bench.client.reject("repos", &request, &rejected(&second), "busy", true).await.unwrap_err();
    assert!(matches!(error, Error::Rejected { attempts: 2, .. }), "{error}");
    assert_eq!(bench.sent().len(), 2);
}

#[tokio::test]
async fn a_host_that_only_fails_is_left_alone() {
    let answers = (0..4).map(|_| failure(FailureKind::Connect)).chain([answer(200, &[], "[]")]).collect();
    let bench = bench_with(answers, |config| {
        config.retry.attempts = 2;
        config.breaker = BreakerRules { failures: 3, rest: Duration::from_secs(30) };
        config.retry.base = Duration::ZERO;
    });
    assert!(bench.get("/x").await.is_err());
    let error = bench.get("/x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no response: api.example failed 3 times in a row and is left alone until Tue, 14 Nov 2023 22:13:50 GMT; run \
         again then (rule breaker)"
    );
    assert_eq!(bench.sent().len(), 3);
    bench.clock.advance(Duration::from_secs(30));
    assert!(bench.get("/x").await.is_err(), "the probe fails, and with it the host");
    assert_eq!(bench.sent().len(), 4);
    bench.clock.advance(Duration::from_secs(60));
    assert!(bench.get("/x").await.is_ok());
}

#[tokio::test]
async fn a_503_without_a_word_pauses_the_whole_budget() {
    let bench = bench_with(vec![answer(503, &[], ""), answer(200, &[], "[]")], |config| config.retry.attempts = 1);
    assert!(bench.get("/x").await.is_err());
    let paused = bench.client.budgets().status("api.example");
    assert_eq!(paused.remaining, Some(0));
    bench.get("/y").await.unwrap();
    assert!((1..=500).contains(&bench.waited_ms()), "{}", bench.waited_ms());
}

#[tokio::test]
async fn retry_after_is_obeyed_exactly() {
    for (value, wait_ms) in [("7", 7_000), ("Tue, 14 Nov 2023 22:14:20 GMT", 60_000), ("0", 0)] {
        let bench = bench(vec![answer(429, &[("retry-after", value)], ""), answer(200, &[], "[]")]);
        bench.get("/x").await.unwrap();
        assert_eq!(bench.waited_ms(), wait_ms, "{value}");
    }
}

#[tokio::test]
async fn a_throttled_answer_pauses_the_whole_budget_and_says_so() {
    let bench = bench_with(vec![answer(429, &[("retry-after", "30")], ""), answer(200, &[], "[]")], |config| {
        config.retry.attempts = 1;
    });
    let Err(Error::Status { status: 429, attempts: 1, .. }) = bench.get("/x").await else { panic!() };
    assert_eq!(bench.waited_ms(), 0);
    bench.get("/y").await.unwrap();
    assert_eq!(bench.waited_ms(), 30_000);
    assert_eq!(bench.events(), ["answered 0", "waiting for api.example 30000 ms", "answered 2"]);
}

#[tokio::test]
async fn a_spent_budget_is_waited_for_before_the_next_request() {
    let spent = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000090")];
    let bench = bench(vec![answer(200, &spent, "[]"), answer(200, &[], "[]")]);
    bench.get("/x").await.unwrap();
    assert_eq!(bench.client.budgets().status("api.example").remaining, Some(0));
    bench.get("/y").await.unwrap();
    assert_eq!(bench.waited_ms(), 90_000);
    assert_eq!(bench.sent().len(), 2);
}

#[tokio::test]
async fn a_403_with_a_spent_budget_is_a_rate_limit() {
    let spent = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000090")];
    let bench = bench(vec![answer(403, &spent, ""), answer(200, &[], "[]")]);
    assert_eq!(bench.get("/x").await.unwrap().attempts, 2);
    assert_eq!(bench.waited_ms(), 90_000);
}

#[tokio::test]
async fn a_wait_beyond_the_limit_says_when_to_come_back() {
    let bench = bench(vec![answer(429, &[("retry-after", "7200")], "")]);
    let error = bench.get("/x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the rate limit of api.example asks to wait longer than --max-wait allows; come back at Wed, 15 Nov 2023 \
         00:13:20 GMT"
    );
    assert!(matches!(bench.get("/y").await, Err(Error::Wait { until_ms, .. }) if until_ms == NOW + 7_200_000));
    assert_eq!(bench.waited_ms(), 0);
}

#[tokio::test]
async fn a_throttled_request_gives_up_only_when_nobody_gets_through() {
    let throttled = || answer(429, &[("retry-after", "1")], "");
    let bench = bench((0..20).map(|_| throttled()).collect());
    let Err(Error::Status { status: 429, attempts: 6, .. }) = bench.get("/x").await else { panic!() };
}

#[tokio::test]
async fn redirects_are_followed_through_the_policy() {
    let bench = bench(vec![
        answer(301, &[("location", "/moved?a=%2C")], ""),
        answer(307, &[("location", "https://other.example/y")], ""),
        answer(302, &[("location", "http://169.254.169.254/latest/meta-data/")], ""),
    ]);
    let request = Request {
        headers: vec![("authorization".to_owned(), format!("Bearer {}", bench.placeholder))],
        ..Request::get("https://api.example/x")
    };
    let error = bench.client.send("repos", request).await.unwrap_err().to_string();
    assert!(error.contains("rule redirect-downgrade"), "{error}");
    let expected = ["GET https://api.example/x", "GET https://api.example/moved?a=%2C", "GET https://other.example/y"];
    assert_eq!(bench.sent(), expected);
    let seen = bench.script.seen.lock().unwrap();
    let credentials: Vec<bool> = seen.iter().map(|request| request.headers.contains_key("authorization")).collect();
    assert_eq!(credentials, [true, true, false]);
}

#[tokio::test]
async fn a_redirect_to_a_metadata_service_is_refused() {
    let bench = bench(vec![answer(302, &[("location", "https://169.254.169.254/latest")], "")]);
    let error = bench.get("/x").await.unwrap_err();
    assert!(matches!(&error, Error::Denied(text) if text.contains("rule host")), "{error}");
    assert_eq!(bench.sent().len(), 1);
}

#[tokio::test]
async fn redirects_without_end_end() {
    let bench = bench((0..30).map(|_| answer(302, &[("location", "/x")], "")).collect());
    let error = bench.get("/x").await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(text) if text.contains("more than 10 redirects")), "{error}");
    assert_eq!(bench.sent().len(), 11);
}

#[tokio::test]
async fn an_accepted_redirect_is_a_response() {
    let bench = bench(vec![answer(301, &[("location", "/y")], "")]);
    let request = Request { accept: vec![301], ..Request::get("https://api.example/x") };
    assert_eq!(bench.client.send("repos", request).await.unwrap().status, 301);
}

#[tokio::test]
async fn secrets_go_to_the_server_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    let echo = format!("{{\"next\":\"https://api.example/x?token=s3cr%3Aet%2F%2B%25~-0123\",\"token\":\"{VALUE}\"}}");
    let bench = bench_with(
        vec![
            answer(200, &[("x-echo", VALUE), ("link", "</x?token=s3cr%3Aet%2F%2B%25~-0123>")], echo.clone()),
            answer(400, &[], echo.clone()),
            Err(Failure::new(FailureKind::Final, format!("can't send {VALUE}"))),
        ],
        |config| config.archive = archive.clone(),
    );
    let request = || Request {
        headers: vec![("authorization".to_owned(), format!("Bearer {}", bench.placeholder))],
        query: vec![("token".to_owned(), bench.placeholder.clone())],
        ..Request::get("https://api.example/x")
    };
    let response = bench.client.send("repos", request()).await.unwrap();
    assert_eq!(response.url.as_str(), "https://api.example/x?token=__secret.auth.token__");
    let body = String::from_utf8(response.body.to_vec()).unwrap();
    let expected =
        "{\"next\":\"https://api.example/x?token=__secret.auth.token__\",\"token\":\"__secret.auth.token__\"}";
    assert_eq!(body, expected);
    assert_eq!(response.header("x-echo"), Some("__secret.auth.token__"));
    let mut texts = vec![format!("{response:?}")];
    for _ in 0..2 {
        let error = bench.client.send("repos", request()).await.unwrap_err();
        texts.push(format!("{error} {error:?}"));
    }
    texts.push(format!("{:?}", bench.script.seen.lock().unwrap()));
    texts.push(format!("{:?}", bench.events()));
    archive.flush().await.unwrap();
    texts.push(std::fs::read_to_string(folder.path().join("manifest.jsonl")).unwrap());
    for text in texts {
        assert!(!text.contains("s3cr"), "{text}");
    }
    assert_eq!(bench.sent()[0], "GET https://api.example/x?token=s3cr%3Aet%2F%2B%25~-0123");

    let reader = Archive::read(folder.path()).unwrap();
    let bodies = reader.bodies();
    let mut seen = Vec::new();
    for entry in reader {
        let Entry::Exchange(exchange) = entry.unwrap() else { panic!() };
        assert_eq!(exchange.request.headers[0].1, "Bearer __secret.auth.token__");
        let body = exchange.body.as_ref().map(|body| bodies.load_decoded(body, 1 << 20).unwrap());
        seen.push((exchange.status, exchange.redacted, body.is_some_and(|body| body == expected), exchange.error));
    }
    let error = Some("can't send __secret.auth.token__".to_owned());
    assert_eq!(seen, [(Some(200), true, true, None), (Some(400), true, true, None), (None, false, false, error)]);
}

#[tokio::test]
async fn a_compressed_echo_of_a_secret_is_redacted_too() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    let body = zstd::encode_all(format!("\"{VALUE}\"").as_bytes(), 1).unwrap();
    let zstd = [("content-encoding", "zstd")];
    let cut = Err(Failure {
        kind: FailureKind::Final,
        text: "cut".to_owned(),
        partial: Some(Box::new(answer(200, &zstd, body[..body.len() - 3].to_vec()).unwrap())),
    });
    let bench = bench_with(vec![answer(200, &zstd, body), cut], |config| config.archive = archive.clone());
    assert_eq!(bench.get("/x").await.unwrap().body, "\"__secret.auth.token__\"");
    bench.get("/x").await.unwrap_err();
    archive.flush().await.unwrap();
    let reader = Archive::read(folder.path()).unwrap();
    let bodies = reader.bodies();
    let exchanges: Vec<_> = reader
        .map(|entry| match entry.unwrap() {
            Entry::Exchange(exchange) => exchange,
            Entry::Note(_) => panic!(),
        })
        .collect();
    let body = exchanges[0].body.as_ref().unwrap();
    assert_eq!(
        (body.encoding.as_str(), bodies.load(body).unwrap()),
        ("identity", Bytes::from("\"__secret.auth.token__\""))
    );
    assert!(exchanges[1].redacted && exchanges[1].body.is_none());
}

#[tokio::test]
async fn every_attempt_and_hop_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    let bench = bench_with(
        vec![
            answer(500, &[], "oops"),
            answer(302, &[("location", "/y")], ""),
            failure(FailureKind::Connect),
            answer(200, &[], "[]"),
        ],
        |config| config.archive = archive.clone(),
    );
    bench.get("/x").await.unwrap();
    archive.flush().await.unwrap();
    let lines: Vec<_> = Archive::read(folder.path())
        .unwrap()
        .map(|entry| match entry.unwrap() {
            Entry::Exchange(exchange) => {
                (exchange.seq, exchange.hop, exchange.attempt, exchange.status, exchange.request.url)
            }
            Entry::Note(_) => panic!(),
        })
        .collect();
    let url = |path: &str| format!("https://api.example{path}");
    let expected = [
        (1, 0, 1, Some(500), url("/x")),
        (2, 0, 2, Some(302), url("/x")),
        (3, 1, 1, None, url("/y")),
        (4, 1, 2, Some(200), url("/y")),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_damaged_encoded_body_is_tried_again_and_a_bomb_is_not() {
    let gzip = [("content-encoding", "gzip")];
    let bench = bench_with(
        vec![
            answer(200, &gzip, "no gzip"),
            answer(200, &[("content-encoding", "zstd")], zstd::encode_all(&vec![0_u8; 5_000_000][..], 1).unwrap()),
            answer(200, &[("content-encoding", "rot13")], "x"),
        ],
        |config| config.max_body_bytes = 1_000_000,
    );
    assert!(matches!(bench.get("/x").await, Err(Error::TooLarge(1_000_000))));
    assert_eq!(bench.sent().len(), 2);
    let error = bench.get("/x").await.unwrap_err().to_string();
    assert!(error.contains("rot13"), "{error}");
}

#[tokio::test]
async fn an_excerpt_is_short_and_whole() {
    let bench = bench(vec![answer(400, &[], "é".repeat(3_000))]);
    let Err(Error::Status { excerpt, .. }) = bench.get("/x").await else { panic!() };
    assert_eq!(excerpt, "é".repeat(512));
    let bench = self::bench(vec![answer(400, &[], format!("a{}", "é".repeat(3_000)))]);
    let Err(Error::Status { excerpt, .. }) = bench.get("/x").await else { panic!() };
    assert_eq!(excerpt.len(), 1023);
}

/// Answers when it is told to, so that requests are under way together.
struct Held {
    inside: AtomicUsize,
    most: AtomicUsize,
    open: tokio::sync::Semaphore,
}

struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Transport for Held {
    fn send(&self, _request: Outgoing, _max_body_bytes: u64) -> Sending<'_> {
        Box::pin(async move {
            self.most.fetch_max(self.inside.fetch_add(1, SeqCst) + 1, SeqCst);
            let _inside = Inside(&self.inside);
            self.open.acquire().await.unwrap().forget();
            answer(200, &[], "[]")
        })
    }
}

#[tokio::test]
async fn requests_in_flight_are_bounded_and_a_dropped_one_gives_its_place_back() {
    let held = Arc::new(Held { inside: 0.into(), most: 0.into(), open: tokio::sync::Semaphore::new(0) });
    let policy = Arc::new(Policy::default().described("api.example".parse().unwrap()));
    let client = Client::new(Config { max_in_flight: 3, ..Config::new(policy, held.clone()) });
    let send = || {
        let client = client.clone();
        tokio::spawn(async move { client.send("repos", Request::get("https://api.example/x")).await.map(|_| ()) })
    };
    let tasks: Vec<_> = (0..10).map(|_| send()).collect();
    while held.inside.load(SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    for task in &tasks[..3] {
        task.abort();
    }
    held.open.add_permits(7);
    for task in tasks.into_iter().skip(3) {
        task.await.unwrap().unwrap();
    }
    assert_eq!(held.most.load(SeqCst), 3);
}

/// Lets so many requests through a second for each token, and answers 429 to others, as an honest server does.
struct Limited {
    clock: VirtualClock,
    windows: Mutex<BTreeMap<String, (u64, u32)>>,
    limit: u32,
    tells: bool,
    refused: AtomicUsize,
}

impl Transport for Limited {
    fn send(&self, request: Outgoing, _max_body_bytes: u64) -> Sending<'_> {
        let token = request.headers.get("authorization").map(|token| token.to_str().unwrap().to_owned());
        let mut windows = self.windows.lock().unwrap();
        let window = windows.entry(token.unwrap_or_default()).or_default();
        let now_ms = self.clock.now_ms();
        let second = now_ms / 1_000;
        if window.0 != second {
            *window = (second, 0);
        }
        let allowed = window.1 < self.limit;
        if allowed {
            window.1 += 1;
        } else {
            self.refused.fetch_add(1, SeqCst);
        }
        let remaining = (self.limit - window.1).to_string();
        let reset = (second + 1).to_string();
        let headers = [("x-ratelimit-remaining", remaining.as_str()), ("x-ratelimit-reset", reset.as_str())];
        let answer = match (allowed, self.tells) {
            (true, true) => answer(200, &headers, "[]"),
            (true, false) => answer(200, &[], "[]"),
            (false, _) => answer(429, &[("retry-after", "1")], ""),
        };
        Box::pin(async move {
            // As long on its way as it takes the others to be sent.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            answer
        })
    }
}

async fn flood(limit: u32, tells: bool, keys: usize) -> usize {
    let clock = VirtualClock::starting_at(NOW);
    let limited =
        Arc::new(Limited { clock: clock.clone(), windows: Mutex::default(), limit, tells, refused: 0.into() });
    let policy = Arc::new(Policy::default().described("api.example".parse().unwrap()));
    let mut config = Config { time: Arc::new(clock), ..Config::new(policy, limited.clone()) };
    if keys > 0 {
        hour_tests::let_in(&mut config, keys);
    }
    let client = Client::new(config);
    let send = || {
        let client = client.clone();
        tokio::spawn(async move { client.send("repos", Request::get("https://api.example/x")).await })
    };
    send().await.unwrap().unwrap();
    let tasks: Vec<_> = (0..100).map(|_| send()).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    limited.refused.load(SeqCst)
}

#[tokio::test]
async fn requests_in_flight_together_do_not_overdraw_a_budget_that_the_server_tells() {
    assert_eq!(flood(30, true, 0).await, 0);
}

#[tokio::test]
async fn all_get_through_a_tight_limit_that_the_server_does_not_tell() {
    assert!(flood(1, false, 0).await > 0);
}

#[tokio::test]
async fn all_get_through_the_tight_limits_of_several_keys() {
    for keys in 2..5 {
        assert!(flood(1, false, keys).await > 0);
    }
}
