//! Hands over thousands of fields that all lie at the same place: little memory here, gigabytes there.

use guests::prelude::*;

#[expect(unsafe_code, reason = "no safe binding makes two texts of one place")]
mod raw {
    #[cfg(target_family = "wasm")]
    #[link(wasm_import_module = "ingest:connector/log@0.1.0")]
    unsafe extern "C" {
        #[link_name = "write"]
        fn write(level: i32, message: *const u8, length: usize, fields: *const [usize; 4], count: usize);
    }

    #[cfg(not(target_family = "wasm"))]
    unsafe fn write(_: i32, _: *const u8, _: usize, _: *const [usize; 4], _: usize) {}

    /// Logs `count` fields whose names and values are all `text`.
    pub(crate) fn log(text: &str, count: usize) {
        let (place, length) = (text.as_ptr() as usize, text.len());
        let fields = vec![[place, length, place, length]; count];
        // SAFETY: the contract's form of a list of pairs of texts; all of them are `text`, which outlives the call.
        unsafe { write(2, text.as_ptr(), length, fields.as_ptr(), fields.len()) }
    }
}

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        raw::log(&"x".repeat(1 << 20), 10_000);
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
