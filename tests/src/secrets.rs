//! Secrets, and whether something of them is to be found where it should not be.

use anyhow::ensure;

use crate::connection::Connection;

/// What changes the bytes of a text that a guest is to look for in its own memory.
const MASK: u8 = 0x5a;

/// The forms in which a secret would be found: plain, percent-encoded, Base64 and hex.
#[must_use]
pub fn forms(secret: &str) -> Vec<String> {
    let escaped = |keep: &str, small: bool| -> String {
        secret
            .bytes()
            .map(|byte| {
                let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.as_bytes().contains(&byte);
                match (plain, small) {
                    (true, _) => char::from(byte).to_string(),
                    (false, true) => format!("%{byte:02x}"),
                    (false, false) => format!("%{byte:02X}"),
                }
            })
            .collect()
    };
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms =
        vec![secret.to_owned(), escaped("", false), escaped("/:+", false), escaped("", true), hex.to_uppercase(), hex];
    // Base64 depends on where in a text it stands; what is in the middle is the same.
    for before in 0..3 {
        let text = base64(&[vec![0; before], secret.as_bytes().to_vec()].concat());
        let whole = text.trim_end_matches('=');
        let from = (before * 8_usize).div_ceil(6);
        forms.push(whole[from..(before + secret.len()) * 8 / 6].to_owned());
    }
    forms
}

/// Base64 with padding, RFC 4648.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number =
            chunk.iter().chain(&[0, 0]).take(3).fold(0_usize, |number, byte| (number << 8) | usize::from(*byte));
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * place)) & 63]));
        }
    }
    text
}

/// Searches everything that a run leaves and says.
///
/// # Errors
///
/// Where a secret is found, or a file can't be read.
pub fn leaves_nothing(connection: &Connection, secret: &str, said: &str) -> anyhow::Result<()> {
    for form in forms(secret) {
        let found = connection.files_with(&form)?;
        ensure!(found.is_empty(), "{form} is in {found:?}");
        ensure!(!said.contains(&form), "{form} is said: {said}");
    }
    Ok(())
}

/// Hides a text from whoever looks for it, as guests undo it (`guests::MASK`).
#[must_use]
pub fn masked(text: &str) -> String {
    text.bytes().map(|byte| format!("{:02x}", byte ^ MASK)).collect()
}
