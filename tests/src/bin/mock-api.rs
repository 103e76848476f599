//! The mock API for use by hand: `mock-api --records 100000 --paging link`, then read from it.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use tests::mock::{
    Action, Api, Budget, Encoding, Endpoint, Paging, RetryAfter, Rule, Shape, Total,
    cursor::{self, Cursor},
    keyset::{self, Keyset},
    link::{self, Link},
    offset::Offset,
    page::Page,
};

/// Serves generated records behind any pagination on 127.0.0.1.
#[derive(Parser)]
struct Arguments {
    /// Port; a free one by default.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Path of the listing.
    #[arg(long, default_value = "/items")]
    path: String,
    /// How many records there are.
    #[arg(long, default_value_t = 1000)]
    records: u32,
    /// How records are handed out.
    #[arg(long, value_enum, default_value_t = Way::Offset)]
    paging: Way,
    /// Largest page, and the page without a wish.
    #[arg(long, default_value_t = 100)]
    page_size: usize,
    /// Records of 2 KB instead of 150 bytes.
    #[arg(long)]
    large: bool,
    /// So many neighbours share one `updated_at`.
    #[arg(long, default_value_t = 1)]
    ties: u32,
    /// Where the total stands.
    #[arg(long, value_enum, default_value_t = Count::None)]
    total: Count,
    /// Compresses what clients accept.
    #[arg(long)]
    compress: bool,
    /// Pause before every answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Memory for pages that stay built, in MiB.
    #[arg(long, default_value_t = 0)]
    prebuilt_mib: usize,
    /// Requests in a minute.
    #[arg(long)]
    per_minute: Option<u32>,
    /// A fault at the nth request: `NTH=503`, `429`, `cut`, `hang-up`, `truncate`, `html`, `error`,
    /// `empty`, `short` or `drip`; `every-NTH=…` repeats it.
    #[arg(long, value_name = "NTH=WHAT")]
    fault: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    Offset,
    Page,
    Cursor,
    CursorHeader,
    CursorUrl,
    Keyset,
    KeysetAtLeast,
    Link,
    LinkToken,
}

#[derive(Clone, Copy, ValueEnum)]
enum Count {
    None,
    Body,
    Header,
    Pages,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let endpoint = Endpoint::new(&arguments.path, paging(arguments.paging))
        .records(arguments.records)
        .ties(arguments.ties)
        .shape(if arguments.large { Shape::Large } else { Shape::Small })
        .page_size(arguments.page_size, arguments.page_size)
        .latency(Duration::from_millis(arguments.latency_ms))
        .prebuilt(arguments.prebuilt_mib << 20)
        .total(match arguments.total {
            Count::None => Total::None,
            Count::Body => Total::Body,
            Count::Header => Total::Header,
            Count::Pages => Total::Pages,
        });
    let mut builder = Api::builder().port(arguments.port).endpoint(endpoint);
    if arguments.compress {
        builder = builder.encoding(Encoding::Negotiate);
    }
    if let Some(limit) = arguments.per_minute {
        builder = builder.budget(Budget::new(limit, Duration::from_secs(60)));
    }
    for fault in &arguments.fault {
        builder = builder.fault(rule(fault)?);
    }
    let api = builder.start().context("the server does not start")?;
    say(&api.url(&arguments.path))?;
    api.wait();
    Ok(())
}

/// The first line on stdout is where to read; scripts wait for it.
fn say(url: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{url}")?;
    out.flush()
}

fn paging(way: Way) -> Paging {
    match way {
        Way::Offset => Offset::default().into(),
        Way::Page => Page::default().into(),
        Way::Cursor => Cursor::default().into(),
        Way::CursorHeader => Cursor { place: cursor::Place::Header, ..Cursor::default() }.into(),
        Way::CursorUrl => Cursor { place: cursor::Place::Url, ..Cursor::default() }.into(),
        Way::Keyset => Keyset::default().into(),
        Way::KeysetAtLeast => Keyset { compare: keyset::Compare::AtLeast, ..Keyset::default() }.into(),
        Way::Link => Link::default().into(),
        Way::LinkToken => Link { by: link::By::Token, ..Link::default() }.into(),
    }
}

fn rule(text: &str) -> anyhow::Result<Rule> {
    let (when, what) = text.split_once('=').with_context(|| format!("a fault is NTH=WHAT: {text}"))?;
    let action = match what {
        "cut" => Action::Cut(100),
        "hang-up" => Action::HangUp,
        "truncate" => Action::Truncate(100),
        "html" => Action::Html,
        "error" => Action::ErrorBody,
        "empty" => Action::EmptyObject,
        "short" => Action::Short(1),
        "drip" => Action::Drip(1024, Duration::from_millis(10)),
        status => match status.parse() {
            Ok(429) => Action::Status(429, RetryAfter::Seconds(1)),
            Ok(status) => Action::Status(status, RetryAfter::None),
            Err(_) => bail!("not a fault: {what}"),
        },
    };
    let number = |text: &str| text.parse().with_context(|| format!("not a number: {text}"));
    Ok(match when.strip_prefix("every-") {
        Some(nth) => Rule::every(number(nth)?, action),
        None => Rule::on(number(when)?, action),
    })
}
