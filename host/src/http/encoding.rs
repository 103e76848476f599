//! Content codings: what a body was encoded with on its way, undone, without ever holding more than the limit.

use std::io::{self, Cursor, Read};

use bytes::Bytes;

/// What the host can decode, as it says to servers.
pub const ACCEPT_ENCODING: &str = "gzip, br, zstd, deflate";

/// One coding a body is usual, two happen behind a careless proxy; a long list is an attack.
const MAX_CODINGS: usize = 4;
/// Window of a zstd frame, as a power of two: 8 MiB, the most that a server may use (RFC 9659).
const MAX_ZSTD_WINDOW_LOG: u32 = 23;
/// Bytes that are decoded between two looks at the limit.
const CHUNK: usize = 64 * 1024;

/// Why a body can't be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It becomes larger than the limit, in bytes.
    #[error("the decoded body is larger than the limit of {0} bytes")]
    TooLarge(u64),
    /// The server used a coding that it was not offered.
    #[error("the body's encoding is unknown: {0:?}")]
    Unknown(String),
    /// The encoded data is damaged or cut short.
    #[error("the body is no whole {0}")]
    Corrupt(&'static str, #[source] io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings of a body in the order in which they were applied, as Content-Encoding lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codings(Vec<Coding>);

impl Codings {
    /// Reads the values of every Content-Encoding header.
    ///
    /// # Errors
    /// [`DecodeError::Unknown`] for a coding that the host can't undo, or too many of them.
    pub fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Result<Self, DecodeError> {
        let mut codings = Vec::new();
        for name in values.flat_map(|value| value.split(',')).map(str::trim) {
            codings.push(match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                _ => return Err(DecodeError::Unknown(name.to_owned())),
            });
            if codings.len() > MAX_CODINGS {
                return Err(DecodeError::Unknown(format!("more than {MAX_CODINGS} encodings")));
            }
        }
        Ok(Self(codings))
    }

    /// Tells whether the body was sent as it is.
    pub fn is_identity(&self) -> bool {
        self.0.is_empty()
    }

    /// Undoes the codings, the last one first.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] as soon as more than `max_bytes` come out of any of them.
    pub fn decode(&self, body: &Bytes, max_bytes: u64) -> Result<Bytes, DecodeError> {
        let mut body = body.clone();
        if body.is_empty() {
            // The answer to HEAD, and 304, name a coding without a body.
            return Ok(body);
        }
        for coding in self.0.iter().rev() {
            body = Bytes::from(undo(*coding, &body, max_bytes)?);
        }
        Ok(body)
    }
}

fn undo(coding: Coding, body: &[u8], max_bytes: u64) -> Result<Vec<u8>, DecodeError> {
    match coding {
        Coding::Gzip => read(flate2::read::MultiGzDecoder::new(body), "gzip", body.len(), max_bytes),
        Coding::Deflate if is_zlib(body) => {
            read(flate2::read::ZlibDecoder::new(body), "deflate", body.len(), max_bytes)
        }
        // Some servers leave out the zlib wrapper that RFC 9110 asks for.
        Coding::Deflate => read(flate2::read::DeflateDecoder::new(body), "deflate", body.len(), max_bytes),
        Coding::Brotli => read(brotli_decompressor::Decompressor::new(body, CHUNK), "br", body.len(), max_bytes),
        Coding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(Cursor::new(body)).and_then(|mut decoder| {
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Ok(decoder)
            });
            read(decoder.map_err(|error| DecodeError::Corrupt("zstd", error))?, "zstd", body.len(), max_bytes)
        }
    }
}

/// RFC 1950, section 2.2: method 8, and a header that is a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) * 256 + u16::from(*flg)).is_multiple_of(31))
}

fn read(mut decoder: impl Read, name: &'static str, encoded: usize, max_bytes: u64) -> Result<Vec<u8>, DecodeError> {
    // JSON shrinks to a fifth or less; a wrong guess costs one reallocation.
    let guess = encoded.saturating_mul(6).min(usize::try_from(max_bytes).unwrap_or(usize::MAX)).min(16 * 1024 * 1024);
    let mut decoded = Vec::with_capacity(guess);
    loop {
        let chunk = decoder.by_ref().take(CHUNK as u64).read_to_end(&mut decoded);
        if decoded.len() as u64 > max_bytes {
            return Err(DecodeError::TooLarge(max_bytes));
        }
        match chunk {
            Ok(0) => return Ok(decoded),
            Ok(_) => {}
            Err(error) => return Err(DecodeError::Corrupt(name, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn brotli(data: &[u8]) -> Vec<u8> {
        let mut encoded = Vec::new();
        brotli::CompressorWriter::new(&mut encoded, 4096, 5, 20).write_all(data).unwrap();
        encoded
    }

    fn decode(names: &str, body: &[u8], max_bytes: u64) -> Result<Vec<u8>, DecodeError> {
        let codings = Codings::parse(std::iter::once(names))?;
        codings.decode(&Bytes::copy_from_slice(body), max_bytes).map(|body| body.to_vec())
    }

    #[test]
    fn every_coding_that_is_offered_is_decoded() {
        let data = b"some text, some text, some text".repeat(5_000);
        let zstd = zstd::encode_all(&data[..], 1).unwrap();
        for (names, body) in [
            ("identity", data.clone()),
            ("", data.clone()),
            ("gzip", gzip(&data)),
            ("X-GZIP", gzip(&data)),
            ("deflate", zlib(&data)),
            ("deflate", deflate(&data)),
            ("br", brotli(&data)),
            ("zstd", zstd.clone()),
            ("gzip, br", brotli(&gzip(&data))),
            ("zstd,identity,gzip", gzip(&zstd)),
        ] {
            assert_eq!(decode(names, &body, 1 << 20).unwrap(), data, "{names}");
        }
    }

    #[test]
    fn all_members_of_a_gzip_body_and_all_frames_of_a_zstd_body_are_decoded() {
        let members = [gzip(b"one "), gzip(b"two "), gzip(b"three")].concat();
        assert_eq!(decode("gzip", &members, 100).unwrap(), b"one two three");
        let frames = [zstd::encode_all(&b"one "[..], 1).unwrap(), zstd::encode_all(&b"two"[..], 1).unwrap()].concat();
        assert_eq!(decode("zstd", &frames, 100).unwrap(), b"one two");
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let zeros = vec![0; 50_000_000];
        let nested = gzip(&gzip(&zeros));
        for (names, body) in [
            ("gzip", gzip(&zeros)),
            ("deflate", deflate(&zeros)),
            ("br", brotli(&zeros)),
            ("zstd", zstd::encode_all(&zeros[..], 1).unwrap()),
            ("gzip, gzip", nested),
        ] {
            assert!(matches!(decode(names, &body, 1_000_000), Err(DecodeError::TooLarge(1_000_000))), "{names}");
        }
    }

    #[test]
    fn exactly_the_limit_is_allowed() {
        assert_eq!(decode("gzip", &gzip(&[7; 1000]), 1000).unwrap().len(), 1000);
        assert!(decode("gzip", &gzip(&[7; 1001]), 1000).is_err());
    }

    #[test]
    fn a_cut_body_is_an_error() {
        let data: Vec<u8> = (0..20_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (names, body) in [
            ("gzip", gzip(&data)),
            ("deflate", zlib(&data)),
            ("br", brotli(&data)),
            ("zstd", zstd::encode_all(&data[..], 1).unwrap()),
        ] {
            let cut = &body[..body.len() - 9];
            assert!(matches!(decode(names, cut, 1 << 20), Err(DecodeError::Corrupt(..))), "{names}");
            assert!(matches!(
                decode(names, b"<html>not encoded at all</html>", 1 << 20),
                Err(DecodeError::Corrupt(..))
            ));
        }
    }

    #[test]
    fn unknown_and_endless_codings_are_refused() {
        assert!(matches!(decode("rot13", b"x", 10), Err(DecodeError::Unknown(_))));
        assert!(matches!(decode("gzip,gzip,gzip,gzip,gzip", b"x", 10), Err(DecodeError::Unknown(_))));
    }

    #[test]
    fn an_empty_body_needs_no_decoding() {
        assert_eq!(decode("gzip", b"", 10).unwrap(), b"");
    }
}
