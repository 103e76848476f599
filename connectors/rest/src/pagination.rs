//! Paginators from configuration.

use connector_sdk::Result;
use connector_sdk::pages::{Capped, Cursor, Keyset, LinkHeader, Offset, PageNumber, Paginator, Single};

use crate::config::{
    CursorConfig, Incremental, KeysetConfig, LinkConfig, OffsetConfig, PageConfig, Pagination, StreamConfig,
};

/// Builds the paginator of a stream.
pub(crate) fn build(stream: &StreamConfig) -> Result<Box<dyn Paginator>> {
    let capped = stream.cap.zip(stream.incremental.as_ref()).zip(stream.primary_key.first());
    if let Some(((cap, incremental), tie)) = capped {
        return Ok(match &stream.pagination {
            Some(Pagination::Offset(offset)) => windows(by_offset(offset), cap, incremental, tie),
            Some(Pagination::Page(page)) => windows(by_page(page), cap, incremental, tie),
            Some(Pagination::Link(link)) => windows(by_link(link), cap, incremental, tie),
            _ => return Err(connector_sdk::Error::config("cap goes with pagination by offset, page or link")),
        });
    }
    Ok(match &stream.pagination {
        None => Box::new(Single),
        Some(Pagination::Offset(offset)) => Box::new(by_offset(offset)),
        Some(Pagination::Page(page)) => Box::new(by_page(page)),
        Some(Pagination::Cursor(cursor)) => Box::new(by_cursor(cursor)?),
        Some(Pagination::Keyset(keyset)) => Box::new(by_keyset(keyset)),
        Some(Pagination::Link(link)) => Box::new(by_link(link)),
    })
}

/// Reads beyond the API's cap, by starting anew from the last value.
fn windows<P: Paginator + Clone + 'static>(
    pages: P,
    cap: u64,
    incremental: &Incremental,
    tie: &str,
) -> Box<dyn Paginator> {
    let from = incremental.param.as_deref().unwrap_or_default();
    Box::new(Capped::new(pages, cap, &incremental.cursor_field, tie, from).format(&incremental.format))
}

fn by_offset(config: &OffsetConfig) -> Offset {
    let mut offset = Offset::new(config.offset_param.as_str(), config.limit_param.as_str(), config.limit);
    offset = offset.first(config.first);
    if config.step_by_limit {
        offset = offset.step_by_limit();
    }
    if !config.overlap {
        offset = offset.without_overlap();
    }
    if config.trust_total {
        offset = offset.trust_total();
    }
    config.end_statuses.iter().fold(offset, |offset, status| offset.end_status(*status))
}

fn by_page(config: &PageConfig) -> PageNumber {
    let mut page = PageNumber::new(config.page_param.as_str()).first(config.first);
    if let Some(param) = &config.size_param {
        page = page.size(param.as_str(), config.size);
    }
    if let Some(source) = &config.total_pages {
        page = page.total_pages(source.as_str());
    }
    if config.trust_total {
        page = page.trust_total();
    }
    config.end_statuses.iter().fold(page, |page, status| page.end_status(*status))
}

fn by_cursor(cursor: &CursorConfig) -> Result<Cursor> {
    let mut paginator = match (&cursor.token, &cursor.param, &cursor.url) {
        (Some(token), Some(param), _) if cursor.already_encoded => Cursor::encoded_token(token.as_str(), param),
        (Some(token), Some(param), _) => Cursor::token(token.as_str(), param.as_str()),
        (_, _, Some(url)) => Cursor::url(url.as_str()),
        _ => return Err(connector_sdk::Error::config("pagination.cursor needs a token or a url")),
    };
    for name in &cursor.keep_query {
        paginator = paginator.keep_query(name);
    }
    if let Some(source) = &cursor.has_more {
        paginator = paginator.has_more(source.as_str());
    }
    Ok(cursor.end_tokens.iter().fold(paginator, |paginator, token| paginator.end_token(token)))
}

fn by_keyset(config: &KeysetConfig) -> Keyset {
    let (field, param) = (config.field.as_str(), config.param.as_str());
    let mut keyset = match (&config.tie_breaker, &config.tie_breaker_param) {
        (Some(tie), Some(tie_param)) => Keyset::pair(field, tie, param, tie_param.as_str()),
        (Some(tie), None) => {
            let limit_param = config.limit_param.as_deref().unwrap_or("limit");
            Keyset::inclusive(field, tie, param, limit_param, config.limit.unwrap_or(100))
        }
        _ => Keyset::unique(field, param),
    };
    if let (Some(param), Some(limit)) = (&config.limit_param, config.limit) {
        keyset = keyset.limit(param.as_str(), limit);
    }
    match &config.has_more {
        Some(source) => keyset.has_more(source.as_str()),
        None => keyset,
    }
}

fn by_link(link: &LinkConfig) -> LinkHeader {
    let paginator = LinkHeader::rel(&link.rel);
    link.keep_query.iter().fold(paginator, |paginator, name| paginator.keep_query(name))
}
