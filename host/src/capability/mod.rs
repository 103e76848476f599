//! What a connector can do: one module an interface of the contract.
//!
//! Each module holds the state of its interface (`HttpCtx`), a borrowed view of it that implements the generated `Host`
//! trait, and nothing of wasmtime's linker beyond `add_to_linker`. So each can be tested without a component.

pub mod clock;
pub mod heard;
pub mod http;
pub mod log;
pub mod output;
pub mod rate_limit;
pub mod storage;
pub mod wasi;
