//! Every variation of the five paginations that `rest` reads by configuration alone.

use serde_json::json;
use tests::{
    mock::{
        Action, Change, Cycle, Endpoint, RetryAfter, Rule, Total,
        cursor::{Cursor, End, Place},
        keyset::{Compare, Keyset},
        link::{By, Link},
        offset::Offset,
        page::Page,
    },
    variation::{Variation, judge},
};

/// What follows a read that ended by itself and does not add up.
const KEPT: &str = "its records are kept but not to be believed; the next run reads them again and replaces them";

/// Why three or four pages behind the first, found by counting, are no proof.
const COUNTED: [&str; 2] = [
    "its pages are counted: a record that moved across one of the 3 borders between them, because another was deleted \
     meanwhile, would be missing unseen",
    "its pages are counted: a record that moved across one of the 4 borders between them, because another was deleted \
     meanwhile, would be missing unseen",
];

/// Where pages should begin with the last record of the page before, and one did not.
const MISSED: &str =
    "1 page did not begin with the last record of the page before: the listing shifted while it was read";

const NOTHING: &str =
    "the stream has no primary key and the API gives no total, so lost or doubled records would not be seen";
const AGAIN_60: &str = "it was read again, since the listing shifted: 59 records came, and the API says that there are 100; 1 page \
                        did not begin with the last record of the page before: the listing shifted while it was read";
const AGAIN_88: &str = "it was read again, since the listing shifted: 88 records came, and the API says that there are 100; 1 page \
                        did not begin with the last record of the page before: the listing shifted while it was read";

#[test]
fn page_numbers() -> anyhow::Result<()> {
    let by_page = json!({"page": {"size_param": "per_page", "size": 30}});
    let to_the_empty_page =
        ["page=1&per_page=30", "page=2&per_page=30", "page=3&per_page=30", "page=4&per_page=30", "page=5&per_page=30"];
    judge(&[
        Variation::new("to the first empty page", Page::default(), by_page.clone()).requests(&to_the_empty_page)
            .unproven(&COUNTED[..1]),
        Variation::new(
            "from 0",
            Page { first: 0, ..Page::default() },
            json!({"page": {"first": 0, "size_param": "per_page", "size": 30}}),
        )
        .requests(&["page=0&per_page=30", "page=1&per_page=30", "page=2&per_page=30", "page=3&per_page=30", "page=4&per_page=30"])
        .unproven(&COUNTED[..1]),
        Variation::new(
            "with other names and the API's own size",
            Page { page: "p", ..Page::default() },
            json!({"page": {"page_param": "p"}}),
        )
        .requests(&["p=1", "p=2", "p=3", "p=4", "p=5"])
        .unproven(&COUNTED[1..]),
        Variation::new(
            "of a list that never shifts",
            Page { page: "p", ..Page::default() },
            json!({"page": {"page_param": "p"}}),
        )
        .set("never_shifts", json!(true)),
        Variation::new("of a list that fits on the first page", Page::default(), by_page.clone())
            .with(|endpoint| endpoint.records(29))
            .requests(&["page=1&per_page=30", "page=2&per_page=30"]),
        Variation::new("of a list that fits on the first page by the total", Page::default(), json!({"page": {}}))
            .with(|endpoint| endpoint.records(30))
            .total(Total::Body)
            .requests(&["page=1", "page=2"]),
        Variation::new(
            "with a number of pages that is checked by one more",
            Page::default(),
            json!({"page": {"size_param": "per_page", "size": 30, "total_pages": "/total_pages"}}),
        )
        .with(|endpoint| endpoint.total(Total::Pages))
        .requests(&to_the_empty_page)
        .unproven(&COUNTED[..1]),
        Variation::new(
            "with a number of pages that is trusted",
            Page::default(),
            json!({"page": {"size_param": "per_page", "size": 30, "total_pages": "/total_pages", "trust_total": true}}),
        )
        .with(|endpoint| endpoint.total(Total::Pages))
        .requests(&["page=1&per_page=30", "page=2&per_page=30", "page=3&per_page=30", "page=4&per_page=30"])
        .unproven(&COUNTED[..1]),
        Variation::new("bare arrays", Page { bare: true, ..Page::default() }, by_page.clone())
            .bare()
            .unproven(&COUNTED[..1]),
        Variation::new(
            "a 404 in the place of an empty page",
            Page::default(),
            json!({"page": {"size_param": "per_page", "size": 30, "end_statuses": [404]}}),
        )
        .fault(Rule::always(Action::Status(404, RetryAfter::None)).containing("page=5"))
        .unproven(&COUNTED[..1]),
        Variation::new("a last page that comes again", Page { clamp: true, ..Page::default() }, by_page.clone())
            .begins_again("the API gave the same page again, so that reading would go in a circle: GET BASE/items?page=5&per_page=30"),
        Variation::new("a short page in the middle that hides records", Page::default(), by_page)
            .total(Total::Body)
            .fault(Rule::on(1, Action::Short(20)).containing("page=2"))
            .records((1..=50).chain(61..=100))
            .incomplete(&["90 records came, and the API says that there are 100", COUNTED[0], KEPT]),
    ])
}

#[test]
fn offsets() -> anyhow::Result<()> {
    let by_offset = json!({"offset": {"limit": 30}});
    let plain = json!({"offset": {"limit": 30, "overlap": false}});
    let to_the_empty_page =
        ["offset=0&limit=30", "offset=30&limit=30", "offset=60&limit=30", "offset=90&limit=30", "offset=100&limit=30"];
    // Each page begins with the last record of the page before.
    let to_the_last_record =
        ["offset=0&limit=30", "offset=29&limit=30", "offset=58&limit=30", "offset=87&limit=30", "offset=99&limit=30"];
    judge(&[
        Variation::new("without a total", Offset::default(), by_offset.clone()).requests(&to_the_last_record),
        Variation::new("without a total and a key", Offset::default(), by_offset.clone())
            .set("primary_key", json!([]))
            .requests(&to_the_last_record)
            .unproven(&[NOTHING]),
        Variation::new("a total, and no key", Offset::default(), by_offset.clone())
            .set("primary_key", json!([]))
            .total(Total::Body)
            .requests(&to_the_last_record),
        Variation::new("without an overlap", Offset::default(), plain.clone())
            .requests(&to_the_empty_page)
            .unproven(&COUNTED[..1]),
        Variation::new("with a total in a header", Offset::default(), by_offset.clone())
            .total(Total::Header)
            .requests(&to_the_last_record),
        Variation::new("bare arrays with a total in a header", Offset { bare: true, ..Offset::default() }, by_offset.clone())
            .bare()
            .total(Total::Header),
        Variation::new(
            "with a total that is trusted",
            Offset { offset: "skip", limit: "top", ..Offset::default() },
            json!({"offset": {"offset_param": "skip", "limit_param": "top", "limit": 30, "trust_total": true}}),
        )
        .total(Total::Body)
        .requests(&["skip=0&top=30", "skip=29&top=30", "skip=58&top=30", "skip=87&top=30"]),
        Variation::new("a wish that the API cuts down", Offset::default(), json!({"offset": {"limit": 500}}))
            .total(Total::Body),
        Variation::new("a short page in the middle is no end", Offset::default(), by_offset.clone())
            .fault(Rule::on(2, Action::Short(3)))
            .requests(&[
                "offset=0&limit=30",
                "offset=29&limit=30",
                "offset=31&limit=30",
                "offset=60&limit=30",
                "offset=89&limit=30",
                "offset=99&limit=30",
            ]),
        Variation::new("a last page that would come again", Offset { clamp: true, ..Offset::default() }, by_offset.clone())
            .requests(&to_the_last_record),
        Variation::new("a last page that comes again", Offset { clamp: true, ..Offset::default() }, plain.clone())
            .records((1..=100).chain(71..=100))
            .begins_again("the API gave the same page again, so that reading would go in a circle: GET BASE/items?offset=130&limit=30"),
        Variation::new("an empty page while the total says more", Offset::default(), by_offset.clone())
            .total(Total::Body)
            .fault(Rule::always(Action::Short(0)).containing("offset=58"))
            .records(1..=59)
            .incomplete(&[AGAIN_60, "59 records came, and the API says that there are 100", MISSED, KEPT]),
        Variation::new("an empty page in the middle, and no total", Offset::default(), by_offset.clone())
            .fault(Rule::on(1, Action::Short(0)).containing("offset=58"))
            .repaired(&[&format!("it was read again, since the listing shifted: {MISSED}")]),
        Variation::new("an empty page in the middle for good, and no total", Offset::default(), by_offset.clone())
            .fault(Rule::always(Action::Short(0)).containing("offset=58"))
            .records(1..=59)
            .incomplete(&[&format!("it was read again, since the listing shifted: {MISSED}"), MISSED, KEPT]),
        Variation::new("an API that goes no further than it likes", Offset { cap: Some(60), ..Offset::default() }, by_offset.clone())
            .total(Total::Body)
            .records(1..=88)
            .incomplete(&[AGAIN_88, "88 records came, and the API says that there are 100", MISSED, KEPT]),
        Variation::new("an API that goes no further than it likes, and says no total", Offset { cap: Some(60), ..Offset::default() }, by_offset.clone())
            .records(1..=88)
            .incomplete(&[&format!("it was read again, since the listing shifted: {MISSED}"), MISSED, KEPT]),
        Variation::new("a total that is wrong all the time", Offset::default(), by_offset.clone())
            .total(Total::Body)
            .fault(Rule::always(Action::Total(5)))
            .incomplete(&["100 records came, and the API says that there are 105", KEPT]),
        Variation::new("a total that changes and comes back", Offset::default(), by_offset.clone())
            .total(Total::Body)
            .set("in_flight", json!(1))
            .fault(Rule::on(1, Action::Total(-1)))
            .unproven(&["the API's total changed from 99 to 100 during the read"]),
        Variation::new("inserts in front during the read", Offset::default(), by_offset.clone())
            .with(|endpoint| endpoint.change(2, Change::InsertFront(2)))
            .repaired(&[&format!("it was read again, since the listing shifted: {MISSED}; 3 primary keys came more than once: the \
                         listing shifted while it was read, or repeats itself")]),
        Variation::new("deletions in front during the read, and no total", Offset::default(), by_offset.clone())
            .with(|endpoint| endpoint.change(2, Change::DeleteFront(2)))
            .repaired(&[&format!("it was read again, since the listing shifted: {MISSED}")]),
        Variation::new("deletions in front, as many additions behind, and an equal total", Offset::default(), by_offset.clone())
            .total(Total::Body)
            .set("in_flight", json!(1))
            .with(|endpoint| endpoint.change(2, Change::DeleteFront(2)).change(2, Change::Append(2)))
            .repaired(&[&format!("it was read again, since the listing shifted: 101 records came, and the API says that there \
                                  are 100; {MISSED}")]),
        Variation::new("the same without an overlap", Offset::default(), plain.clone())
            .total(Total::Body)
            .set("in_flight", json!(1))
            .with(|endpoint| endpoint.change(2, Change::DeleteFront(2)).change(2, Change::Append(2)))
            .records((1..=60).chain(63..=102))
            .unproven(&COUNTED[..1]),
        Variation::new("a total that falls and rises again", Offset::default(), plain.clone())
            .total(Total::Body)
            .set("in_flight", json!(1))
            .with(|endpoint| endpoint.change(2, Change::DeleteFront(1)).change(3, Change::Append(1)))
            .unproven(&[
                &format!("it was read again, since the listing shifted: the API's total fell from 100 to 99 during the read, and \
                          what moved up may be missing; {}", COUNTED[0]),
                COUNTED[0],
            ]),
        Variation::new("deletions in front during the read", Offset::default(), by_offset.clone())
            .total(Total::Body)
            .set("in_flight", json!(1))
            .with(|endpoint| endpoint.change(2, Change::DeleteFront(2)))
            .repaired(&["it was read again, since the listing shifted: the API's total fell from 100 to 98 during the read, \
                         and what moved up may be missing; 99 records came, and the API says that there are 98; 1 page did not begin with the last record of the page before: the \
                         listing shifted while it was read"]),
        Variation::new("deletions in front during both readings", Offset::default(), by_offset.clone())
            .total(Total::Body)
            .set("in_flight", json!(1))
            .with(|endpoint| endpoint.change(2, Change::DeleteFront(2)).change(7, Change::DeleteFront(3)))
            .records((1..=59).chain(61..=100))
            .incomplete(&[
                "it was read again, since the listing shifted: the API's total fell from 100 to 98 during the read, and what \
                 moved up may be missing; 99 records came, and the API says that there are 98; 1 page did not begin with the \
                 last record of the page before: the listing shifted while it was read",
                "the API's total fell from 98 to 95 during the read, and what moved up may be missing",
                "96 records came, and the API says that there are 95",
                MISSED,
                KEPT,
            ]),
        Variation::new("a record that is listed twice", Offset::default(), by_offset)
            .before(Change::Repeat { id: 7, at: 50 })
            .incomplete(&[
                "it was read again, since the listing shifted: 1 primary key came more than once: the listing shifted while \
                 it was read, or repeats itself",
                "1 primary key came more than once: the listing shifted while it was read, or repeats itself",
                KEPT,
            ]),
    ])
}

#[test]
fn cursors() -> anyhow::Result<()> {
    let by_token = json!({"cursor": {"token": "/next", "param": "cursor"}});
    let at = |place| Cursor { place, ..Cursor::default() };
    let until = |end| Cursor { end, ..Cursor::default() };
    judge(&[
        Variation::new("a token in the body", Cursor::default(), by_token.clone()).requests(&[
            "",
            "cursor=k%2B%2F30%3D30",
            "cursor=k%2B%2F60%3D60",
            "cursor=k%2B%2F90%3D90",
        ]),
        Variation::new("a token deep in the body", at(Place::Nested), json!({"cursor": {"token": "/meta/paging/next", "param": "cursor"}})),
        Variation::new("a token in a header", at(Place::Header), json!({"cursor": {"token": "X-Next-Cursor", "param": "cursor"}})),
        Variation::new("a URL in the body", at(Place::Url), json!({"cursor": {"url": "/next"}})),
        Variation::new("a relative URL in the body", at(Place::RelativeUrl), json!({"cursor": {"url": "/next"}})),
        Variation::new("a URL in a header", at(Place::HeaderUrl), json!({"cursor": {"url": "Next-Page"}})),
        Variation::new("a token in the body of a POST", Cursor::default(), json!({"cursor": {"token": "/next", "param": "/cursor"}}))
            .with(Endpoint::post)
            .set("method", json!("POST"))
            .set("body", json!({"limit": 40}))
            .with(|endpoint| endpoint.page_size(30, 40))
            .bodies(&[
                r#"{"limit":40}"#,
                r#"{"cursor":"k+/40=40","limit":40}"#,
                r#"{"cursor":"k+/80=80","limit":40}"#,
            ]),
        Variation::new("null at the end", until(End::Null), by_token.clone()),
        Variation::new("an empty text at the end", until(End::Empty), by_token.clone()),
        Variation::new("an empty page at the end", until(End::EmptyPage), by_token.clone()),
        Variation::new(
            "has_more",
            until(End::HasMore),
            json!({"cursor": {"token": "/next", "param": "cursor", "has_more": "/has_more"}}),
        ),
        Variation::new("a short page in the middle is no end", Cursor::default(), by_token.clone())
            .fault(Rule::on(2, Action::Short(3))),
        Variation::new("an empty page in the middle is no end", Cursor::default(), by_token.clone())
            .fault(Rule::on(2, Action::Short(0))),
        Variation::new("inserts during the read shift nothing", Cursor::default(), by_token.clone())
            .with(|endpoint| endpoint.change(2, Change::InsertFront(2)))
            .records(1..=100),
        Variation::new(
            "a token that leads to the same page",
            Cursor { cycle: Some(Cycle { at: 1, length: 1 }), ..Cursor::default() },
            by_token.clone(),
        )
        .records(1..=30)
        .begins_again("the API gave the same cursor again, so that reading would go in a circle: k+/30=30"),
        Variation::new(
            "tokens in a circle",
            Cursor { cycle: Some(Cycle { at: 2, length: 2 }), ..Cursor::default() },
            by_token.clone(),
        )
        .records(1..=60)
        .begins_again("the API gave the same cursor again, so that reading would go in a circle: k+/30=30"),
        Variation::new(
            "a page that comes again under another token",
            Cursor { cycle: Some(Cycle { at: 2, length: 2 }), fresh: true, ..Cursor::default() },
            by_token,
        )
        .records(1..=90)
        .begins_again("the API gave the same page again, so that reading would go in a circle: GET BASE/items?cursor=k%2B%2F30%3D30~3"),
    ])
}

#[test]
fn keysets() -> anyhow::Result<()> {
    let inclusive = json!({"keyset": {"field": "updated_at", "param": "after", "tie_breaker": "id", "inclusive": true,
                                      "limit_param": "limit", "limit": 30}});
    let at_least = || Keyset { compare: Compare::AtLeast, ..Keyset::default() };
    let by_time = json!({"keyset": {"field": "updated_at", "param": "after"}});
    judge(&[
        Variation::new(
            "by an id that is unique",
            Keyset { by_id: true, ..Keyset::default() },
            json!({"keyset": {"field": "id", "param": "after_id"}}),
        )
        .requests(&["", "after_id=30", "after_id=60", "after_id=90", "after_id=100"]),
        Variation::new(
            "by time and id",
            Keyset::default(),
            json!({"keyset": {"field": "updated_at", "param": "after", "tie_breaker": "id", "tie_breaker_param": "after_id"}}),
        )
        .with(|endpoint| endpoint.ties(7)),
        Variation::new("from a time on, with ties across every border", at_least(), inclusive.clone())
            .with(|endpoint| endpoint.ties(7)),
        Variation::new("from a time on, with as many ties as fit on a page", at_least(), inclusive.clone())
            .with(|endpoint| endpoint.ties(29)),
        Variation::new("from a time on, with more ties than fit on a page", at_least(), inclusive)
            .with(|endpoint| endpoint.ties(50))
            .records(1..=30)
            .incomplete(&["the API's answer is not what it should be: at least 30 records share one value of \"/updated_at\" and \
                           fill a page, so that the others cannot be reached; ask for larger pages or page by another field; \
                           the value is \"2024-01-01T00:00:00Z\""]),
        Variation::new("after a time, where the API itself loses ties", Keyset { compare: Compare::Later, ..Keyset::default() }, by_time)
            .with(|endpoint| endpoint.ties(7))
            .total(Total::Body)
            .records((1..=30).chain(36..=65).chain(71..=100))
            .incomplete(&["90 records came, and the API says that there are 100", KEPT]),
    ])
}

#[test]
fn links() -> anyhow::Result<()> {
    let link = |name, link| Variation::new(name, link, json!({"link": {}})).bare();
    judge(&[
        link("by page number", Link::default())
            .requests(&["", "page=2&per_page=30", "page=3&per_page=30", "page=4&per_page=30"])
            .unproven(&COUNTED[..1]),
        link("by page number, in a list that never shifts", Link::default()).set("never_shifts", json!(true)),
        link("relative", Link { relative: true, ..Link::default() }).unproven(&COUNTED[..1]),
        link("one header a link", Link { repeated: true, ..Link::default() }).unproven(&COUNTED[..1]),
        link("two relations in one, no quotes, spaces and capitals", Link { odd: true, ..Link::default() })
            .unproven(&COUNTED[..1]),
        link("commas, semicolons and quotes in URLs and titles", Link { tricky: true, ..Link::default() })
            .unproven(&COUNTED[..1]),
        link(
            "all of it at once",
            Link { by: By::Token, relative: true, repeated: true, tricky: true, odd: true, ..Link::default() },
        ),
        link("by token", Link { by: By::Token, ..Link::default() }),
        link("to another path", Link { moved: true, ..Link::default() }).unproven(&COUNTED[..1]),
        link("in a circle", Link { cycle: Some(Cycle { at: 2, length: 2 }), ..Link::default() })
            .records(1..=60)
            .begins_again(
                "the API gave the same URL again, so that reading would go in a circle: BASE/items?page=2&per_page=30",
            ),
        link("a short page that hides records, told by a total", Link::default())
            .total(Total::Header)
            .fault(Rule::on(2, Action::Short(3)))
            .records((1..=33).chain(61..=100))
            .incomplete(&["73 records came, and the API says that there are 100", COUNTED[0], KEPT]),
    ])
}
