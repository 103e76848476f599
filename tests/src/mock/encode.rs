//! Content encodings.

use std::io::{self, Write};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    #[default]
    Identity,
    /// The best of what the request accepts: zstd, br, gzip, in this order.
    Negotiate,
    /// gzip, always.
    Gzip,
    /// Brotli, always.
    Brotli,
    /// Zstandard, always.
    Zstd,
    /// The header says gzip, the body is none.
    FalseGzip,
}

impl Encoding {
    /// The encoding that a request with this `Accept-Encoding` gets.
    pub(super) fn choose(self, accept: Option<&str>) -> Self {
        if self != Self::Negotiate {
            return self;
        }
        let accepts = |name: &str| {
            accept.unwrap_or_default().split(',').any(|one| one.split(';').next().is_some_and(|one| one.trim() == name))
        };
        [("zstd", Self::Zstd), ("br", Self::Brotli), ("gzip", Self::Gzip)]
            .into_iter()
            .find_map(|(name, encoding)| accepts(name).then_some(encoding))
            .unwrap_or(Self::Identity)
    }

    /// The value of `Content-Encoding`.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity | Self::Negotiate => None,
            Self::Gzip | Self::FalseGzip => Some("gzip"),
            Self::Brotli => Some("br"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The body, compressed.
    pub(super) fn encode(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity | Self::Negotiate | Self::FalseGzip => Ok(body.to_vec()),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 3, 20);
                encoder.write_all(body)?;
                Ok(encoder.into_inner())
            }
            Self::Zstd => zstd::encode_all(body, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_a_say_in_negotiation_only() {
        let chosen = |accept| Encoding::Negotiate.choose(Some(accept));
        assert_eq!(chosen("gzip, br;q=0.8"), Encoding::Brotli);
        assert_eq!(chosen("gzip"), Encoding::Gzip);
        assert_eq!(chosen("identity"), Encoding::Identity);
        assert_eq!(Encoding::Zstd.choose(None), Encoding::Zstd);
    }
}
